// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/attester/refvalues"
)

// What --corim accepts, and what becomes of a verdict without it.
func TestAppraiseCorim(t *testing.T) {
	state, dir := t.TempDir(), filepath.Join(t.TempDir(), "m")
	if o := assize(t, state, "simulate", "--machine", "cpu", "--nonce", simNonce, "-o", dir); o.code != 0 || !strings.Contains(o.out, "--corim-trust") {
		t.Fatalf("%d %s %s", o.code, o.out, o.err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	signed, trust := at("reference-values/intel-tdx.corim"), at("corim-trust.json")
	d, _ := attester.BuiltIn("cpu")
	m, err := attester.New(attester.Options{Machine: d, Now: time.Now().Truncate(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := m.ReferenceValues()
	if err != nil {
		t.Fatal(err)
	}
	docs, err := m.ReferenceDocuments()
	if err != nil {
		t.Fatal(err)
	}
	old := *docs[attester.KindTDX]
	old.NotBefore, old.NotAfter = time.Now().AddDate(0, 0, -2), time.Now().AddDate(0, 0, -1)
	expired, err := m.SignReference(attester.KindTDX, old)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := refvalues.NewAuthor("stranger", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := refvalues.Signed(*docs[attester.KindTDX], stranger.Signer)
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	for name, raw := range map[string][]byte{
		"plain/a.corim": plain["intel-tdx.corim"], "expired/a.corim": expired, "foreign/a.corim": foreign, "bad/a.corim": []byte("x"),
		"empty/readme.txt": []byte("nothing"), "trust.json": []byte(`{"kind":"assize-corim-trust","authorities":[]}`),
	} {
		if err := os.MkdirAll(filepath.Join(other, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(other, name) }
	base := []string{"appraise", at("evidence.cmw"), "--nonce", simNonce, "--endorsements", dir}
	for _, c := range []struct {
		name string
		args []string
		code int
		out  string // in output or log
	}{
		{"file", []string{"--corim", signed, "--corim-trust", trust}, exitAffirming, "executables 2"},
		{"folder", []string{"--corim", dir, "--corim-trust", trust}, exitAffirming, "executables 2"},
		{"none", nil, exitWarning, "no-reference-values"},
		{"no trust", []string{"--corim", dir}, exitUsage, "--corim-trust"},
		{"trust alone", []string{"--corim-trust", trust}, exitUsage, "--corim"},
		{"unsigned alone", []string{"--corim-unsigned"}, exitUsage, "--corim"},
		{"trust of nobody", []string{"--corim", dir, "--corim-trust", in("trust.json")}, exitFailed, "without an authority"},
		{"roots for authorities", []string{"--corim", dir, "--corim-trust", at("trust.json")}, exitFailed, "not a file of authorities"},
		{"no such file", []string{"--corim", in("nothing"), "--corim-trust", trust}, exitFailed, "nothing"},
		{"folder without documents", []string{"--corim", in("empty"), "--corim-trust", trust}, exitFailed, "*.corim"},
		{"unsigned file", []string{"--corim", in("plain/a.corim"), "--corim-trust", trust}, exitFailed, "not signed"},
		{"unsigned in a folder", []string{"--corim", in("plain"), "--corim-trust", trust}, exitWarning, "not signed"},
		{"unsigned, read", []string{"--corim", in("plain"), "--corim-unsigned"}, exitAffirming, "unsigned-reference-values"},
		{"expired", []string{"--corim", in("expired"), "--corim-trust", trust}, exitWarning, "do not hold at"},
		{"expired file", []string{"--corim", in("expired/a.corim"), "--corim-trust", trust}, exitFailed, "not valid at this time"},
		{"by a stranger", []string{"--corim", in("foreign"), "--corim-trust", trust}, exitWarning, "not signed by a trusted authority"},
		{"no document", []string{"--corim", in("bad"), "--corim-trust", trust}, exitWarning, "reference values not used"},
		{"two folders", []string{"--corim", in("expired"), "--corim", dir, "--corim-trust", trust}, exitAffirming, "executables 2"},
	} {
		o := assize(t, state, slices.Concat(base, []string{"--trust", at("trust.json")}, c.args)...)
		if o.code != c.code || !strings.Contains(o.out+o.err, c.out) {
			t.Errorf("%s: %d, want %d and %q: %s %s", c.name, o.code, c.code, c.out, o.out, o.err)
		}
	}
	// Nobody's machine is not made good by its own reference values.
	if o := assize(t, state, append(base, "--corim", dir, "--corim-trust", trust)...); o.code != exitContraindicated || !strings.Contains(o.out, "unknown-root") {
		t.Errorf("without --trust: %d %s %s", o.code, o.out, o.err)
	}
}
