// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/armcca"
	"github.com/assize/assize/attester/awsnitro"
	"github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/psa"
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
	case tsmReport:
		return w.tsmReporter
	case keyed:
		return w.device
	}
	return d
}

// stated is what one document says about one part.
type stated struct {
	kind  Kind // of the document
	entry refvalues.Entry
	keys  []refvalues.KeyEntry
}

// stated are the values of an honest part of this kind, none if there are others.
func (m *Machine) stated(s *slot) ([]stated, error) {
	if d, ok := simulator(s.device).(*armcca.Device); ok {
		return statedCCA(d)
	}
	one := stated{kind: s.kind}
	var err error
	switch d := simulator(s.device).(type) {
	case *inteltdx.Device:
		measured := d.Measurements()
		if m.d.Binding == BindEvent { // no value of RTMR3 is that of every session
			measured = slices.DeleteFunc(measured, func(x inteltdx.Measurement) bool { return x.Name == "rtmr3" })
		}
		one.entry, err = refvalues.IntelTDX(measured)
	case *intelsgx.Device:
		one.entry, err = refvalues.IntelSGX(d.Measurements())
	case *amdsnp.Device:
		if m.d.CPU.Key == "vlek" {
			one.entry, err = refvalues.AMDSNPByProvider(d.Measurements(), simulatedProvider)
			break
		}
		one.entry, err = refvalues.AMDSNP(d.Measurements(), nil)
	case *awsnitro.Device:
		one.entry, err = refvalues.AWSNitro(d.Measurements())
	case *nvidia.Device:
		if s.kind == KindSwitch {
			one.entry, err = refvalues.NVSwitch(d.Measurements())
			break
		}
		switch {
		case m.d.GPUs.Kind == gpuFSP: // its vendor's CoRIM is in the endorsements
			return nil, nil
		case m.d.hopper():
			one.entry, err = refvalues.NVIDIAGPU(d.Measurements(), nvidia.Hopper)
		default:
			one.entry, err = refvalues.NVIDIAGPU(d.Measurements(), nvidia.Blackwell)
		}
	case *spdm.Device:
		one.entry, err = refvalues.SPDM(d.Identity(), d.Measurements(), slices.Concat(d.ConnectionReferences(), d.InterfaceReferences()))
	case *tcgtpm.Device:
		one.entry, err = refvalues.TPM(d.Measurements())
	case *psa.Device:
		var key refvalues.KeyEntry
		one.entry, key, err = refvalues.PSA(d.References())
		one.keys = append(one.keys, key)
	default:
		err = fmt.Errorf("attester: no reference values for %s", s.kind)
	}
	return []stated{one}, err
}

// statedCCA: the vendor of the platform states its software and its key, the owner
// of the realm its measurements.
func statedCCA(d *armcca.Device) ([]stated, error) {
	platform, key, err := refvalues.ArmCCAPlatform(d.Platform())
	if err != nil {
		return nil, err
	}
	realm, err := refvalues.ArmCCARealm(d.Realm())
	return []stated{{KindCCA, platform, []refvalues.KeyEntry{key}}, {KindRealm, realm, nil}}, err
}

// ReferenceDocuments are what the honest machine measures, one document per kind
// of part, and KindRealm beside KindCCA. Faults do not change them.
func (m *Machine) ReferenceDocuments() (map[Kind]*refvalues.Document, error) {
	docs := map[Kind]*refvalues.Document{}
	for _, s := range m.all() {
		list, err := m.stated(s)
		if err != nil {
			return nil, fmt.Errorf("attester: %s: %w", s.label, err)
		}
		for _, one := range list {
			d := docs[one.kind]
			if d == nil {
				d = m.document(one.kind)
				docs[one.kind] = d
			}
			d.Entries, d.Keys = append(d.Entries, one.entry), append(d.Keys, one.keys...)
		}
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
		a.Profiles, a.Scopes, a.Simulated = []string{d.Profile}, nil, true
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
	profiles := map[Kind]string{
		KindSNP: refvalues.ProfileAMD, KindCCA: refvalues.ProfileCCAPlatform, KindRealm: refvalues.ProfileCCARealm, KindPSA: refvalues.ProfilePSA,
	}
	if p, ok := profiles[kind]; ok {
		d.Profile = p
	}
	return d
}
