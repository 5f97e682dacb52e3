// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assize/assize/corim/coserv"
)

func TestCorimQueryUsage(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(keys, []byte(`{"keys":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	base := []string{"corim", "query", "--url", "http://127.0.0.1:1", "--keys", keys}
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"nothing selected": {nil, exitUsage},
		"two sorts":        {[]string{"--vendor", "A", "--instance", "text:x"}, exitUsage},
		"model alone":      {[]string{"--model", "A"}, exitUsage},
		"no type of value": {[]string{"--class-id", "x"}, exitUsage},
		"no OID":           {[]string{"--class-id", "oid:x"}, exitUsage},
		"short UUID":       {[]string{"--class-id", "uuid:00"}, exitUsage},
		"no hexadecimal":   {[]string{"--group", "bytes:xy"}, exitUsage},
		"no kind":          {[]string{"--rim", "x"}, exitUsage},
		"artifact type":    {[]string{"--vendor", "A", "--type", "x"}, exitUsage},
		"result type":      {[]string{"--vendor", "A", "--result", "x"}, exitUsage},
		"time-out":         {[]string{"--vendor", "A", "--timeout", "0s"}, exitUsage},
		"empty value":      {[]string{"--vendor", ""}, exitUsage},
		"no keys in set":   {[]string{"--vendor", "A"}, exitFailed},
	} {
		if o := assize(t, t.TempDir(), append(base, c.args...)...); o.code != c.want {
			t.Errorf("%s: exit %d, want %d: %s", name, o.code, c.want, o.err)
		}
	}
}

func TestCorimQueryValues(t *testing.T) {
	for s, want := range map[string]string{
		"oid:1.3.6.1": "1.3.6.1", "bytes:00ff": "560(00ff)", "text:AB": "560(4142)",
		"uuid:31fb5abf-023e-4992-aa4e-95f9c1503bfa": "37(31fb5abf023e4992aa4e95f9c1503bfa)",
	} {
		if v, err := parseTyped("x", s); err != nil || v.String() != want {
			t.Errorf("%s: %s, %v", s, v, err)
		}
	}
	for s, uuid := range map[string]bool{"corim:31fb5abf-023e-4992-aa4e-95f9c1503bfa": true, "comid:a:b": false, "coswid:31fb5abf023e4992aa4e95f9c1503bfa": false} {
		rim, err := parseRIM(s)
		if err != nil || (rim.ID.Text == "") != uuid || !strings.HasSuffix(s, ":"+rim.ID.String()) {
			t.Errorf("%s: %+v, %v", s, rim, err)
		}
	}
	if r, err := parseRIM("coswid:x"); err != nil || r.Kind != coserv.Coswid {
		t.Errorf("%+v, %v", r, err)
	}
}
