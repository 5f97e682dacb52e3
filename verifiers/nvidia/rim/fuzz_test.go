// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"crypto/elliptic"
	"os"
	"path/filepath"
	"testing"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// seeds are recorded manifests, if there are any, and a forged one.
func seeds(f *testing.F, by *forger) {
	dir := os.Getenv("ASSIZE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "..", "shared", "evidence")
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		for _, name := range []string{driver550, switchRIM, mockDriver, laterVBIOS, sdk + "incorrect_cert_chain_driver_rim.xml"} {
			f.Add(vectors.Read(f, name))
		}
	}
	f.Add(by.sign(content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)), resource(9, value(9), value(8))), nil))
}

// FuzzVerify: no panic, and what verifies is what a comparison can rely on.
func FuzzVerify(f *testing.F) {
	by := newForger(f, elliptic.P384(), nil)
	seeds(f, by)
	v := by.verifier()
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := v.Verify(raw)
		if err != nil {
			code(t, err)
			return
		}
		check(t, m)
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
