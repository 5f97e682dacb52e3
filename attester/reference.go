// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"fmt"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/attester/tcgtpm"
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

// ReferenceValues are unsigned CoRIMs (CBOR) with what the honest machine
// measures, one per kind of part, by file name. Faults do not change them.
func (m *Machine) ReferenceValues() (map[string][]byte, error) {
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
	out := map[string][]byte{}
	for kind, d := range docs {
		raw, err := refvalues.Unsigned(*d)
		if err != nil {
			return nil, fmt.Errorf("attester: %s: %w", kind, err)
		}
		out[string(kind)+".corim"] = raw
	}
	return out, nil
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
