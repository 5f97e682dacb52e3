// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/x509"
	"slices"
	"testing"
)

// TestDeviceKeys: of a chain, the keys below the hardware identity are those of the
// device alone, and only in an alias chain that has one. No CA of the maker is one.
func TestDeviceKeys(t *testing.T) {
	root := newKey(t, ECDSAP256)
	make1 := func(name string, hardware bool) *x509.Certificate {
		x := template(name, true)
		if hardware {
			x.ExtraExtensions = append(x.ExtraExtensions, spdmExt(t, oidHardwareIdentity))
		}
		return issue(t, x, template("issuer", true), newKey(t, ECDSAP256).Public(), root)
	}
	leaf, alias, device, maker, anchor := make1("leaf", false), make1("alias", false), make1("device", true), make1("maker", false), make1("anchor", false)
	own := []string{spkiDigest(alias), spkiDigest(device)}
	for name, c := range map[string]struct {
		model Model
		path  []*x509.Certificate
		want  []string
	}{
		"alias":                         {ModelAlias, []*x509.Certificate{leaf, alias, device, maker, anchor}, own},
		"device certificate":            {ModelAlias, []*x509.Certificate{leaf, device, maker, anchor}, own[1:]},
		"no hardware identity":          {ModelAlias, []*x509.Certificate{leaf, alias, maker, anchor}, nil},
		"another model":                 {ModelDevice, []*x509.Certificate{leaf, alias, device, maker, anchor}, nil},
		"a root with hardware identity": {ModelAlias, []*x509.Certificate{leaf, alias, device}, nil},
		"nothing between leaf and root": {ModelAlias, []*x509.Certificate{leaf, anchor}, nil},
		"a leaf with the device's oid":  {ModelGeneric, []*x509.Certificate{device, maker, anchor}, nil},
	} {
		if got := (&Identity{Model: c.model, Path: c.path}).deviceKeys(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestHostOfTSM: the facts say of which CPU TEE the security manager is.
func TestHostOfTSM(t *testing.T) {
	s := situated(t, checkCase{edit: locked(goodLock, StateRun)})
	a, _ := appraise(t, newTest(t, trusting(t, s.anchor, 0, "", "", "")), input(t, s.e, s.nonce, nil))
	if want := hosts[s.e.TSM.Kind]; want == "" || a.Facts.Host != want {
		t.Errorf("%q for %s", a.Facts.Host, s.e.TSM.Kind)
	}
	d, v, in := affirmed(t)
	if a, _ := appraise(t, v, in); a.Facts.Host != "" || a.Facts.ChainKeys != nil {
		t.Errorf("%+v of %s", a.Facts, d.version)
	}
}
