// SPDX-License-Identifier: Apache-2.0

package schemas

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// decoded is the list as a schema sees it.
func decoded(t *testing.T, raw []byte) any {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestReasonList(t *testing.T) {
	list, err := Reasons()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Read(ReasonList)
	if err != nil {
		t.Fatal(err)
	}
	if err := load(t, ReasonSchema).Validate(decoded(t, raw)); err != nil {
		t.Error(err)
	}
	remedies := map[string]string{}
	for _, r := range list {
		if strings.TrimSpace(r.Remedy) == r.Meaning {
			t.Errorf("%s: the remedy is the meaning", r.Code)
		}
		for scheme, text := range r.RemedyFor {
			if r.RemedyIn(scheme) != text || r.RemedyIn("another") != r.Remedy {
				t.Errorf("%s: remedy for %s", r.Code, scheme)
			}
		}
		remedies[r.Remedy] += " " + r.Code
	}
	for text, codes := range remedies {
		if n := len(strings.Fields(codes)); n > 3 {
			t.Errorf("%d codes have one remedy, so it is not about any of them: %s (%s)", n, text, codes)
		}
	}
}

func TestReasonListThatIsNone(t *testing.T) {
	const good = "reasons:\n  - {code: a, ceiling: warning, said_by: [lead], since: 0.1.0, meaning: The evidence is bad today., remedy: Make better evidence then.}\n"
	if list, err := parseReasons([]byte(good)); err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if err := load(t, ReasonSchema).Validate(decoded(t, []byte(good))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"unknown member":  strings.Replace(good, "since:", "sins:", 1),
		"twice":           good + strings.TrimPrefix(good, "reasons:\n"),
		"repeated member": strings.Replace(good, "code: a", "code: a, code: b", 1),
		"no code":         strings.Replace(good, "code: a, ", "", 1),
		"behind":          good + "---\nmore: 1\n",
		"no list":         "reasons: 1\n",
	} {
		if _, err := parseReasons([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, edit := range map[string][2]string{
		"tier":             {"ceiling: warning", "ceiling: good"},
		"nobody":           {"[lead]", "[]"},
		"somebody":         {"[lead]", "[neighbour]"},
		"version":          {"0.1.0", "new"},
		"empty remedy":     {"Make better evidence then.", "''"},
		"no sentence":      {"Make better evidence then.", "make better evidence then"},
		"verifier's price": {"[lead]", "[lead, verifier]"},
		"lead's price":     {"since:", "usual: warning, since:"},
	} {
		text := strings.Replace(good, edit[0], edit[1], 1)
		if text == good || load(t, ReasonSchema).Validate(decoded(t, []byte(text))) == nil {
			t.Errorf("%s: valid", name)
		}
	}
}
