// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/corim"
)

// simulator gives the device inside its wrappers.
func simulator(d device) device {
	switch w := d.(type) {
	case wrapped:
		return w.device
	case tsmSNP:
		return w.Device
	}
	return d
}

// entry is what an honest part of this kind reports.
func (m *Machine) entry(s *slot) (refvalues.Entry, error) {
	switch d := simulator(s.device).(type) {
	case *inteltdx.Device:
		return refvalues.IntelTDX(d.Measurements())
	case *amdsnp.Device:
		return refvalues.AMDSNP(d.Measurements(), nil)
	case *nvidia.Device:
		if s.kind == KindSwitch {
			return refvalues.NVSwitch(d.Measurements())
		}
		return refvalues.NVIDIAGPU(d.Measurements(), map[string]string{"hopper": "HOPPER", "blackwell": "BLACKWELL"}[m.d.GPUs.Kind])
	case *spdm.Device:
		return refvalues.SPDM(d.Identity(), d.Measurements(), d.InterfaceReferences())
	case *tcgtpm.Device:
		return refvalues.TPM(d.Measurements())
	}
	return refvalues.Entry{}, fmt.Errorf("attester: no reference values for %s", s.kind)
}

// ReferenceDocuments are what the honest machine measures, one document per kind
// of part. Faults do not change them.
func (m *Machine) ReferenceDocuments() (map[Kind]*refvalues.Document, error) {
	docs := map[Kind]*refvalues.Document{}
	for _, s := range m.all() {
		e, err := m.entry(s)
		if err != nil {
			return nil, fmt.Errorf("attester: %s: %w", s.label, err)
		}
		d := docs[s.kind]
		if d == nil {
			d = m.document(s.kind)
			docs[s.kind] = d
		}
		d.Entries = append(d.Entries, e)
	}
	return docs, nil
}

// ReferenceValues are the reference documents as CoRIMs that nobody has signed
// (application/rim+cbor), by file name.
func (m *Machine) ReferenceValues() (map[string][]byte, error) {
	return m.references(func(_ Kind, d refvalues.Document) ([]byte, error) { return refvalues.Unsigned(d) })
}

// SignedReferenceValues are the same, signed by the simulated vendors
// (application/rim+cose). ReferenceTrust names these.
func (m *Machine) SignedReferenceValues() (map[string][]byte, error) {
	return m.references(m.SignReference)
}

func (m *Machine) references(encode func(Kind, refvalues.Document) ([]byte, error)) (map[string][]byte, error) {
	docs, err := m.ReferenceDocuments()
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for kind, d := range docs {
		raw, err := encode(kind, *d)
		if err != nil {
			return nil, fmt.Errorf("attester: %s: %w", kind, err)
		}
		out[string(kind)+".corim"] = raw
	}
	return out, nil
}

// ReferenceTrust is the file of the authorities whose reference values the
// machine comes with (schemas/corim-trust.schema.json): the simulated vendor of
// each kind of part, for what it makes and nothing else.
func (m *Machine) ReferenceTrust() ([]byte, error) {
	docs, err := m.ReferenceDocuments()
	if err != nil {
		return nil, err
	}
	var list []corim.Authority
	for _, kind := range slices.Sorted(maps.Keys(docs)) {
		author, err := m.vendors.referenceSigner(kind)
		if err != nil {
			return nil, err
		}
		raw, err := refvalues.Unsigned(*docs[kind])
		if err != nil {
			return nil, err
		}
		d, err := corim.Parse(raw)
		if err != nil {
			return nil, err
		}
		a := author.Authority
		a.Profiles, a.Scopes = []string{d.Profile}, nil
		for _, t := range d.Tags[0].Comid.Reference {
			if e := (corim.Environment{Class: t.Environment.Class}); !slices.Contains(a.Scopes, e) {
				a.Scopes = append(a.Scopes, e)
			}
		}
		list = append(list, a)
	}
	return corim.EncodeTrust("Authorities of the simulated machine "+m.d.Name+". Who trusts them believes anybody's reference values.", list)
}

// referenceSigner is who signs the reference values of a kind of part.
func (v *Vendors) referenceSigner(kind Kind) (*refvalues.Author, error) {
	return refvalues.NewAuthor("Assize simulated "+string(kind)+" vendor "+hex.EncodeToString(v.seed.Sub("reference values").Bytes(4)), v.now)
}

// SignReference signs any document as the simulated vendor of a kind of part
// would, for tests of what such a document can do.
func (m *Machine) SignReference(kind Kind, d refvalues.Document) ([]byte, error) {
	a, err := m.vendors.referenceSigner(kind)
	if err != nil {
		return nil, err
	}
	return refvalues.Signed(d, a.Signer)
}

func (m *Machine) document(kind Kind) *refvalues.Document {
	name := "assize-simulated-" + m.d.Name + "-" + string(kind)
	d := &refvalues.Document{
		ID: name, TagID: name + "-values", Creator: "Assize simulated " + string(kind), Profile: refvalues.Profile,
		NotBefore: m.now.Add(-24 * time.Hour).Truncate(time.Second), NotAfter: m.now.AddDate(1, 0, 0).Truncate(time.Second),
	}
	if kind == KindSNP {
		d.Profile = refvalues.ProfileAMD
	}
	return d
}
