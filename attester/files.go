// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/trust"
)

// Trust is the roots file of the machine: the test roots of its vendors by
// scheme, NVIDIA's with that of its manifests (none for kinds whose keys stand in reference values), and the key of its lead attester (schemas/trust.schema.json).
func (m *Machine) Trust() ([]byte, error) {
	roots := map[string][]*x509.Certificate{}
	for _, s := range m.all() {
		list, err := rootsOf(s.device)
		if err != nil {
			return nil, fmt.Errorf("attester: %s: %w", s.label, err)
		}
		name := string(s.kind)
		for _, root := range list {
			if root != nil && !slices.ContainsFunc(roots[name], root.Equal) {
				roots[name] = append(roots[name], root)
			}
		}
	}
	keys := []trust.Key{m.lead.signer.Key("simulated lead attester "+m.d.Name, nil, trust.RoleAttester)}
	if m.d.Binding == BindLead {
		keys = append(keys, m.other.signer.Key("simulated lead attester of another machine", nil, trust.RoleAttester))
	}
	anchors, err := trust.NewAnchors(keys...)
	if err != nil {
		return nil, err
	}
	jwks, err := anchors.JWKS()
	if err != nil {
		return nil, err
	}
	return trust.EncodeRoots("Test roots of the simulated machine "+m.d.Name+". Who trusts them trusts anybody.", roots, jwks)
}

// rootsOf are the roots of a device: one, or with that of its reference values.
func rootsOf(d device) ([]*x509.Certificate, error) {
	if d, ok := d.(interface {
		Roots() ([]*x509.Certificate, error)
	}); ok {
		return d.Roots()
	}
	return []*x509.Certificate{d.Root()}, nil
}

// Endorsements are the collateral, certificates, revocation lists, revocation
// answers and NVIDIA's manifests of all parts, by file name. Parts of a kind share
// most of it: where the fault of one is about a manifest, all get the faulty one.
func (m *Machine) Endorsements() (map[string][]byte, error) {
	out := map[string][]byte{}
	about := func(s *slot) bool { return s.knobs().rim != nvidia.RIMHonest }
	slots := m.all()
	slices.SortStableFunc(slots, func(a, b *slot) int { return order(about(a)) - order(about(b)) })
	for _, s := range slots {
		files, err := s.device.Endorsements()
		if err != nil {
			return nil, fmt.Errorf("attester: %s: %w", s.label, err)
		}
		for name, raw := range files {
			if raw == nil {
				delete(out, name)
				continue
			}
			if was, taken := out[name]; taken && !bytes.Equal(was, raw) && !about(s) {
				return nil, fmt.Errorf("attester: %s: another part has an endorsement of the name %s", s.label, name)
			}
			out[name] = raw
		}
	}
	return out, nil
}

// order sorts what has a property behind what has it not.
func order(has bool) int {
	if has {
		return 1
	}
	return 0
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
	values, err := m.SignedReferenceValues()
	if err != nil || len(values) == 0 { // GPUs with FSP alone have theirs in the endorsements
		return out, err
	}
	if out["corim-trust.json"], err = m.ReferenceTrust(); err != nil {
		return nil, err
	}
	for name, raw := range values {
		out["reference-values/"+name] = raw
	}
	return out, nil
}
