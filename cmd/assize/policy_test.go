// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// policyRun runs one "assize policy" command line.
func policyRun(t *testing.T, in string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"policy"}, args...), strings.NewReader(in), &o, &e)
	return code, o.String(), e.String()
}

func TestPolicyCommand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mine := write("mine.rego", "# Ours. More.\npackage assize\n\nrequire contains {\"label\": \"gpu/*\", \"exactly\": 2}\n\nacceptable := \"warning\"\n")
	write("mine_test.rego", "package assize_test\n\nimport data.assize\n\ntest_a if assize.acceptable == \"warning\"\n\ntest_b if count(assize.require) == 1\n")
	bad := write("bad.rego", "package assize\n\ncomposite contains {\"tier\": \"warn\", \"detail\": \"d\"}\n")
	other := t.TempDir()
	failing := filepath.Join(other, "failing.rego")
	for path, text := range map[string]string{
		failing: "package assize\n\nacceptable := \"warning\"\n",
		filepath.Join(other, "failing_test.rego"): "package assize_test\n\nimport data.assize\n\ntest_a if assize.acceptable == \"affirming\"\n\ntest_b := 1\n\ntest_c if assize.acceptable\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, in string
		args     []string
		code     int
		want     string
	}{
		{"list", "", []string{"list"}, 0, "warn-is-ok"},
		{"show", "", []string{"show", "hgx-8"}, 0, "package assize"},
		{"show nothing", "", []string{"show", "nothing"}, 2, "no policy"},
		{"check", "", []string{"check", mine, "strict"}, 0, "exactly 2 of gpu/* (policy)"},
		{"check input", "package assize\nacceptable := \"warning\"\n", []string{"check", "-"}, 0, "acceptable  warning"},
		{"check bad", "", []string{"check", bad}, 1, "line 3: \"warn\" is no tier"},
		{"check nothing", "", []string{"check"}, 2, "wants"},
		{"check output", "", []string{"check", mine, "-o", "xml"}, 2, "xml"},
		{"test library", "", []string{"test"}, 0, " 0 failed"},
		{"test file", "", []string{"test", mine}, 0, "2 passed, 0 failed"},
		{"test folder", "", []string{"test", other}, 1, "1 passed, 2 failed"},
		{"test failing", "", []string{"test", failing}, 1, "FAIL failing: test_a (line 5)"},
		{"test without tests", "", []string{"test", bad}, 1, "no tests"},
		{"test nothing", "", []string{"test", "nothing"}, 2, "no policy"},
		{"nothing", "", nil, 2, "sub-command"},
	} {
		code, out, errOut := policyRun(t, c.in, c.args...)
		if code != c.code || !strings.Contains(out+errOut, c.want) {
			t.Errorf("%s: exit %d, want %d with %q\n%s%s", c.name, code, c.code, c.want, out, errOut)
		}
	}
	_, out, _ := policyRun(t, "", "check", mine, "-o", "json")
	var lines []map[string]any
	if err := json.Unmarshal([]byte(out), &lines); err != nil || len(lines) != 1 || lines[0]["id"] != "mine" || lines[0]["about"] != "Ours" {
		t.Errorf("%v: %s", err, out)
	}
}
