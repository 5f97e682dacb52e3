// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/assize/assize/trust"
)

// Trust is the roots file of the machine: the test roots of its vendors by
// scheme (none for kinds whose keys stand in reference values), and the key of its lead attester (schemas/trust.schema.json).
func (m *Machine) Trust() ([]byte, error) {
	roots := map[string][]*x509.Certificate{}
	for _, s := range m.all() {
		root := s.device.Root()
		name := string(s.kind)
		if root != nil && !slices.ContainsFunc(roots[name], root.Equal) {
			roots[name] = append(roots[name], root)
		}
	}
	anchors, err := trust.NewAnchors(m.signer.Key("simulated lead attester "+m.d.Name, nil, trust.RoleAttester))
	if err != nil {
		return nil, err
	}
	jwks, err := anchors.JWKS()
	if err != nil {
		return nil, err
	}
	return trust.EncodeRoots("Test roots of the simulated machine "+m.d.Name+". Who trusts them trusts anybody.", roots, jwks)
}

// Endorsements are the collateral, certificates, revocation lists and
// revocation answers of all parts, by file name.
func (m *Machine) Endorsements() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, s := range m.all() {
		files, err := s.device.Endorsements()
		if err != nil {
			return nil, fmt.Errorf("attester: %s: %w", s.label, err)
		}
		for name, raw := range files {
			if was, taken := out[name]; taken && !bytes.Equal(was, raw) {
				return nil, fmt.Errorf("attester: %s: another part has an endorsement of the name %s", s.label, name)
			}
			out[name] = raw
		}
	}
	return out, nil
}

// Files are what goes with the evidence, by path: "trust.json" for --trust,
// "corim-trust.json" for --corim-trust, and the folders "endorsements" and
// "reference-values", whose documents are signed.
func (m *Machine) Files() (map[string][]byte, error) {
	raw, err := m.Trust()
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{"trust.json": raw}
	endorsed, err := m.Endorsements()
	if err != nil {
		return nil, err
	}
	for name, raw := range endorsed {
		out["endorsements/"+name] = raw
	}
	if out["corim-trust.json"], err = m.ReferenceTrust(); err != nil {
		return nil, err
	}
	values, err := m.SignedReferenceValues()
	if err != nil {
		return nil, err
	}
	for name, raw := range values {
		out["reference-values/"+name] = raw
	}
	return out, nil
}
