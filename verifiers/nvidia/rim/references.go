// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"crypto/x509"
	"encoding/hex"
	"time"

	"github.com/assize/assize/corim"
)

const (
	// vendor is the vendor of all environments that a manifest may speak of.
	vendor = "NVIDIA"
	// authority is the name of who speaks in manifests of either form.
	authority = "NVIDIA reference integrity manifests"
)

// Authority is who signs manifests that are CoRIMs: a chain to a pinned root or
// an extra one, and nothing to say of other vendors. corim.Load verifies them
// (COSE_Sign1 with x5chain) and refuses a profile that it does not know.
func Authority(extra []*x509.Certificate) (corim.Authority, error) {
	a, err := newAnchors(extra)
	if err != nil {
		return corim.Authority{}, err
	}
	out := corim.Authority{
		Name: authority, Profiles: []string{corim.NoProfile, corim.AnyProfile},
		Scopes: []corim.Environment{{Class: corim.Class{Vendor: vendor}}},
	}
	for _, c := range a {
		out.Roots = append(out.Roots, c)
	}
	return out, nil
}

// References makes reference values for the comparison of CoRIMs from the
// manifest: environment vendor NVIDIA, model id; one measurement for each
// alternative of each active index, with the index as key. id is an identifier of
// NVIDIA's RIM service that the manifest Answers. The document holds while all
// certificates are valid, and must hold at now; its errors are those of Answers
// and of corim.LoadVouched.
func (m *Manifest) References(id string, now time.Time) (*corim.Document, error) {
	if err := m.Answers(id); err != nil {
		return nil, err
	}
	env := corim.Environment{Class: corim.Class{Vendor: vendor, Model: id}}
	triple := corim.ValueTriple{Environment: env}
	for _, g := range m.Measurements {
		if !g.Active {
			continue
		}
		for _, v := range g.Values {
			triple.Measurements = append(triple.Measurements, corim.Measurement{
				Key:   corim.NumberKey(uint64(g.Index)),
				Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: v}}},
			})
		}
	}
	// Issues of different age can have the same tagId, and both may be given.
	name := corim.ID{Text: id + " " + hex.EncodeToString(m.Digest[:])}
	raw, err := corim.Encode(&corim.Document{ID: name, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
		Identity:  corim.TagIdentity{ID: name, Version: uint64(m.TagVersion)},
		Reference: []corim.ValueTriple{triple},
	}}}})
	if err != nil {
		return nil, err
	}
	leaf := m.chain.certs[0]
	key := corim.SigningKey{ID: m.SignerSPKI[:], Public: leaf.PublicKey}
	return corim.LoadVouched(raw, corim.Vouching{
		Authority: corim.Authority{Name: authority, Keys: []corim.SigningKey{key}, Profiles: []string{corim.NoProfile}, Scopes: []corim.Environment{env}},
		Key:       key,
		Validity:  corim.Period{NotBefore: m.chain.notBefore, NotAfter: m.chain.notAfter},
	}, corim.Options{Now: now})
}
