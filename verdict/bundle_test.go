// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"strings"
	"testing"
)

func TestBundleRoundTrip(t *testing.T) {
	for name, b := range map[string]Bundle{
		"whole":            {Verdict: []byte("a.b.c"), Evidence: []byte(`{"x":["a/b","AQ"]}`), EvidenceType: "application/cmw+json"},
		"no declared type": {Verdict: []byte("a.b.c"), Evidence: []byte{0xa0}},
		"no evidence":      {Verdict: []byte("a.b.c")},
	} {
		raw, err := EncodeBundle(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeBundle(raw)
		if err != nil || !bytes.Equal(got.Verdict, b.Verdict) || !bytes.Equal(got.Evidence, b.Evidence) || got.EvidenceType != b.EvidenceType {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := EncodeBundle(Bundle{Evidence: []byte("x")}); err == nil {
		t.Error("a bundle without a verdict was made")
	}
}

func TestDecodeBundleRefuses(t *testing.T) {
	good, err := EncodeBundle(Bundle{Verdict: []byte("a.b.c"), Evidence: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"other type":      strings.Replace(string(good), BundleType, "tag:x,2026:y", 1),
		"other label":     strings.Replace(string(good), `"verdict"`, `"other"`, 1),
		"other indicator": strings.Replace(string(good), `,8]`, `,4]`, 1),
		"other profile":   strings.Replace(string(good), "2023:veraison", "2024:veraison", 1),
		"trailing":        string(good) + "x",
		"empty":           "",
	} {
		if bad == string(good) {
			t.Fatalf("%s: nothing changed in %s", name, good)
		}
		if _, err := DecodeBundle([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
