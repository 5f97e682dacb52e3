// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"crypto/elliptic"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// seeds are recorded manifests, if there are any, and a forged one. It returns
// those that verify, by signer.
func seeds(f *testing.F, by *forger) map[[32]byte]*rim.Manifest {
	good, v := map[[32]byte]*rim.Manifest{}, by.verifier()
	add := func(raw []byte) {
		f.Add(raw)
		if m, err := v.Verify(raw); err == nil {
			good[m.SignerSPKI] = m
		}
	}
	dir := os.Getenv("ASSIZE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "evidence")
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		for _, name := range []string{driver550, switchRIM, mockDriver, laterVBIOS, sdk + "incorrect_cert_chain_driver_rim.xml"} {
			add(vectors.Read(f, name))
		}
	}
	add(by.sign(content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)), resource(9, value(9), value(8))), nil))
	return good
}

// FuzzVerify: no panic, and what verifies is what somebody signed and what a
// comparison can rely on.
func FuzzVerify(f *testing.F) {
	by := newForger(f, elliptic.P384(), nil)
	signed := seeds(f, by)
	v := by.verifier()
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := v.Verify(raw)
		if err != nil {
			code(t, err)
			return
		}
		check(t, m)
		want := signed[m.SignerSPKI]
		if want == nil || m.Kind != want.Kind || m.Product != want.Product || m.Version != want.Version || m.TagID != want.TagID || !reflect.DeepEqual(m.Measurements, want.Measurements) {
			t.Fatalf("nobody signed this: %s", m)
		}
	})
}

// FuzzContent reads whatever could be signed.
func FuzzContent(f *testing.F) {
	f.Add([]byte(content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)), resource(9, value(9), value(8)))))
	f.Add([]byte(content("LS10", "SWITCH", "96.10.55.00.01", resource(30, value(0)))))
	f.Add([]byte(content("GH100", "GPU", "550.144.03")))
	f.Fuzz(func(t *testing.T, octets []byte) {
		m, err := rim.ReadContent(octets)
		if err != nil {
			code(t, err)
			return
		}
		check(t, m)
	})
}

func check(t *testing.T, m *rim.Manifest) {
	last, active := -1, false
	for _, g := range m.Measurements {
		if g.Index <= last || g.Index > rim.MaxIndex || len(g.Values) == 0 || len(g.Values) > rim.MaxAlternatives {
			t.Fatalf("index %d behind %d with %d values", g.Index, last, len(g.Values))
		}
		for _, v := range g.Values {
			if len(v) != rim.DigestSize {
				t.Fatalf("index %d: value of %d bytes", g.Index, len(v))
			}
		}
		last, active = g.Index, active || g.Active
	}
	if !active || m.Kind == "" || m.Version == "" {
		t.Fatalf("%+v", m)
	}
}
