// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const templateCorim = `{"corim-id": "node", "validity": {"not-after": "2030-01-01T00:00:00Z"}}`

const templateComid = `{
  "tag-identity": {"id": "node-tag", "version": 2},
  "triples": {
    "membership-triples": [{
      "domain": {"class": {"vendor": "ACME", "model": "node"}},
      "members": [{"class": {"vendor": "ACME", "model": "CPU"}}, {"class": {"vendor": "ACME", "model": "GPU"}}]
    }],
    "dependency-triples": [{
      "domain": {"class": {"vendor": "ACME", "model": "GPU"}},
      "members": [{"class": {"vendor": "ACME", "model": "CPU"}}]
    }],
    "conditional-endorsements": [{
      "conditions": [{
        "environment": {"class": {"vendor": "ACME", "model": "CPU"}},
        "measurements": [{"key": {"type": "uint", "value": 1}, "value": {"svn": {"type": "min-value", "value": 3}}}]
      }],
      "endorsements": [{
        "environment": {"class": {"vendor": "ACME", "model": "node"}},
        "measurements": [{"value": {"name": "trusted"}}]
      }]
    }]
  }
}`

func TestFromTemplates(t *testing.T) {
	raw, err := FromTemplates([]byte(templateCorim), []byte(templateComid))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Load(raw, Options{Unsigned: true, Now: testTime})
	if err != nil {
		t.Fatal(err)
	}
	want := &Comid{
		Identity:   TagIdentity{ID{Text: "node-tag"}, 2},
		Membership: []DomainTriple{{acme("node"), []Environment{acme("CPU"), acme("GPU")}}},
		Dependency: []DomainTriple{{acme("GPU"), []Environment{acme("CPU")}}},
		Conditional: []ConditionalTriple{{
			Conditions:   []ValueTriple{{acme("CPU"), []Measurement{{Key: NumberKey(1), Value: Values{SVN: &SVN{3, true}}}}}},
			Endorsements: []ValueTriple{{acme("node"), []Measurement{claimed("trusted")}}},
		}},
	}
	if !reflect.DeepEqual(d.Tags[0].Comid, want) {
		t.Errorf("%+v\nwant %+v", d.Tags[0].Comid, want)
	}
	for name, c := range map[string][2]string{
		"not JSON": {"{", templateComid}, "no identifier": {"{}", templateComid}, "CoMID is not JSON": {templateCorim, "{"},
		"no triples": {templateCorim, `{"tag-identity": {"id": "x"}, "triples": {}}`},
		"cycle": {templateCorim, strings.Replace(templateComid, `"model": "CPU"}}]
    }],
    "conditional`, `"model": "GPU"}}]
    }],
    "conditional`, 1)},
	} {
		if _, err := FromTemplates([]byte(c[0]), []byte(c[1])); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := FromTemplates([]byte(templateCorim)); err == nil {
		t.Error("no CoMID: accepted")
	}
}

// The templates of the library, which a plain clone has.
func TestLibraryTemplate(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/veraison/corim").Output()
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "corim", "testcases", name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if _, err := FromTemplates(read("corim.json"), read("comid.json")); err != nil {
		t.Error(err)
	}
}
