// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

const (
	// engineIndex is the measurement of the video decoder NVDEC0.
	engineIndex = 35
	// vintageIndex follows something else than the build of a VBIOS; see
	// Comparison.Vintage.
	vintageIndex = 9
)

// Engine is the state of the video decoder NVDEC0 as the report has it. Any
// value that is none of these makes its index one that does not match.
type Engine string

// States of an engine.
const (
	EngineOn  Engine = "on"
	EngineOff Engine = "off"
	// EngineNone: nothing is said, or there is no engine with an index of its own.
	EngineNone Engine = ""
)

// Device is what a verified report says about a device.
type Device struct {
	// Chip is the one in the certificates: "GH100", "LS_10".
	Chip string
	// Switch: the device is an NVSwitch, which has a BIOS and no driver.
	Switch bool
	// Driver and VBIOS are the versions in the report, without the NUL at the end;
	// VBIOS is that of the BIOS of a switch.
	Driver, VBIOS string
	Engine        Engine
	Measurements  []Measurement
}

// Measurement is one measurement of a report.
type Measurement struct {
	// Index is NVIDIA's: the SPDM index less one.
	Index int
	// Raw: the value is no digest, so no golden value is of it.
	Raw   bool
	Value []byte
}

// State is the result of one golden index.
type State string

// States of a Finding.
const (
	Match    State = "match"
	Mismatch State = "mismatch"
	// Missing: the report has no such measurement. That counts as Mismatch does.
	Missing State = "missing"
	// Skipped: the index is that of an engine which is off.
	Skipped State = "skipped"
)

// Finding is what became of one active index of a manifest.
type Finding struct {
	Index    int
	Name     string // as the manifest has it
	State    State
	Manifest *Manifest
	// Expected are the alternatives, Seen the value of the report, nil if Missing.
	Expected [][]byte
	Seen     []byte
	// Why says more about a Mismatch that is not one of values, or "".
	Why string
}

// String is the finding for a reason.
func (f Finding) String() string {
	var want []string
	for _, v := range f.Expected {
		want = append(want, hex.EncodeToString(v[:8])+"…")
	}
	seen := "is not in the report"
	if f.State != Missing {
		seen = fmt.Sprintf("is %x… (%d bytes)", f.Seen[:min(8, len(f.Seen))], len(f.Seen))
	}
	out := fmt.Sprintf("measurement %d (%s): %s: %s, expected %s by %s", f.Index, f.Name, f.State, seen, strings.Join(want, " or "), f.Manifest)
	if f.Why != "" {
		out += ": " + f.Why
	}
	return out
}

// Misfit is a manifest that is not of the device, and why.
type Misfit struct {
	Manifest *Manifest
	Why      string
}

// Comparison is what manifests say about a device.
type Comparison struct {
	// Findings are ascending by index.
	Findings []Finding
	// Conflicts are the indices that are active in two manifests: then neither is
	// to be believed about them, and nothing matches as a whole.
	Conflicts []int
	// Absent are the kinds without which not all is compared.
	Absent []Kind
	// Unreferenced are the indices of measurements that no manifest speaks of and
	// that are not zero. NVIDIA's verifiers pass over them.
	Unreferenced []int
	// Used are the manifests of the findings, Misfits those that are of another
	// chip, kind or version.
	Used    []*Manifest
	Misfits []Misfit
	// Withdrawn are manifests that match and do not count, because a later issue of
	// the same tag contradicts them.
	Withdrawn []*Manifest
}

// Compare compares a device with the manifests that are of it. A driver must
// have exactly the version of its manifest, a VBIOS that but for upper and lower
// case. Of several manifests of one kind the one counts that fits best, but of
// issues of one tag that differ in version or age not one that a later issue contradicts: an
// issue is no way back to values that NVIDIA has corrected. The exception is index 9
// of a VBIOS, see Comparison.Vintage. This protects only where the later issue is
// given, too: what is known to be withdrawn must be revoked or expired. Whether a
// manifest is either is not asked: give only those that may count.
func Compare(d Device, manifests []*Manifest) *Comparison {
	c := new(Comparison)
	var repeated []int
	seen := map[int]Measurement{}
	for _, m := range d.Measurements {
		if _, twice := seen[m.Index]; twice {
			repeated = append(repeated, m.Index)
		}
		seen[m.Index] = m
	}
	candidates := map[Kind][]*Manifest{}
	for _, m := range manifests {
		if why := d.misfit(m); why != "" {
			c.Misfits = append(c.Misfits, Misfit{Manifest: m, Why: why})
			continue
		}
		candidates[m.Kind] = append(candidates[m.Kind], m)
	}
	for _, kind := range d.needs() {
		if len(candidates[kind]) == 0 {
			c.Absent = append(c.Absent, kind)
			continue
		}
		m, findings, withdrawn := d.best(candidates[kind], seen, repeated)
		c.Used, c.Findings, c.Withdrawn = append(c.Used, m), append(c.Findings, findings...), append(c.Withdrawn, withdrawn...)
	}
	slices.SortStableFunc(c.Findings, func(a, b Finding) int { return a.Index - b.Index })
	c.overlaps()
	c.leftOver(d.Measurements)
	return c
}

// needs are the kinds of manifests that together have all golden values.
func (d *Device) needs() []Kind {
	if d.Switch {
		return []Kind{BIOS}
	}
	return []Kind{Driver, VBIOS}
}

// misfit says why a manifest is not of the device, or "".
func (d *Device) misfit(m *Manifest) string {
	chip := strings.ReplaceAll(d.Chip, "_", "") // certificates have LS_10
	switch {
	case !slices.Contains(d.needs(), m.Kind):
		return "the device has no " + string(m.Kind)
	case m.Product != chip:
		return "the device is a " + d.Chip
	case m.Kind == Driver && m.Version != d.Driver:
		return fmt.Sprintf("the driver is %q", d.Driver)
	case m.Kind != Driver && !strings.EqualFold(m.Version, d.VBIOS):
		return fmt.Sprintf("the VBIOS is %q", d.VBIOS)
	}
	return ""
}

// best is the manifest that counts: of those that are not withdrawn the one with
// the fewest findings against the device, and of these the latest issue. Besides,
// those that are withdrawn and have nothing against the device.
func (d *Device) best(list []*Manifest, seen map[int]Measurement, repeated []int) (*Manifest, []Finding, []*Manifest) {
	all := make([][]Finding, len(list))
	for i, m := range list {
		all[i] = d.compare(m, seen, repeated)
	}
	var best *Manifest
	var findings []Finding
	var gone []*Manifest
	for i, m := range list {
		if withdrawn(m, list, all) {
			if bad(all[i]) == 0 {
				gone = append(gone, m)
			}
			continue
		}
		if best != nil {
			old, young := bad(findings), bad(all[i])
			if young > old || young == old && !m.supersedes(best) {
				continue
			}
		}
		best, findings = m, all[i]
	}
	return best, findings, gone
}

// withdrawn tells whether a later issue of the same tag has something against the
// device other than its vintage: then NVIDIA no longer has the values of m for it,
// though they still match.
func withdrawn(m *Manifest, list []*Manifest, all [][]Finding) bool {
	for i, later := range list {
		if later.TagID == m.TagID && later.supersedes(m) && bad(all[i]) > 0 && !vintage(against(all[i])) {
			return true
		}
	}
	return false
}

// supersedes tells whether a manifest is the later of two issues: a corrected tag has
// a higher version (ISO/IEC 19770-2), and of one version the age of the signer tells.
func (m *Manifest) supersedes(other *Manifest) bool {
	if m.TagID == other.TagID && m.TagVersion != other.TagVersion {
		return m.TagVersion > other.TagVersion
	}
	return m.Issued().After(other.Issued())
}

// against are the findings against the device.
func against(list []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(list), func(f Finding) bool { return f.State == Match || f.State == Skipped })
}

func bad(list []Finding) int { return len(against(list)) }

// vintage tells whether the one finding against a device is the value of index 9
// of its VBIOS.
func vintage(against []Finding) bool {
	return len(against) == 1 && against[0].Index == vintageIndex && against[0].State == Mismatch && against[0].Why == "" && against[0].Manifest.Kind == VBIOS
}

func (d *Device) compare(m *Manifest, seen map[int]Measurement, repeated []int) []Finding {
	var out []Finding
	for _, g := range m.Measurements {
		if !g.Active {
			continue
		}
		f := Finding{Index: g.Index, Name: g.Name, State: Mismatch, Manifest: m, Expected: g.Values}
		got, ok := seen[g.Index]
		f.Seen = got.Value
		engine := !d.Switch && g.Index == engineIndex
		switch {
		case engine && d.Engine == EngineOff:
			f.State = Skipped
		case engine && d.Engine != EngineOn && d.Engine != EngineNone:
			f.Why = fmt.Sprintf("the state of its engine is %q", d.Engine)
		case !ok:
			f.State = Missing
		case slices.Contains(repeated, g.Index):
			f.Why = "the report has it twice"
		case got.Raw:
			f.Why = "the report has a raw value, no digest"
		case slices.ContainsFunc(g.Values, func(v []byte) bool { return bytes.Equal(v, got.Value) }):
			f.State = Match
		}
		out = append(out, f)
	}
	return out
}

// overlaps finds the indices that two of the findings are about.
func (c *Comparison) overlaps() {
	for i, f := range c.Findings {
		if i > 0 && c.Findings[i-1].Index == f.Index && !slices.Contains(c.Conflicts, f.Index) {
			c.Conflicts = append(c.Conflicts, f.Index)
		}
	}
}

func (c *Comparison) leftOver(list []Measurement) {
	for _, m := range list {
		spoken := slices.ContainsFunc(c.Findings, func(f Finding) bool { return f.Index == m.Index })
		if !spoken && slices.ContainsFunc(m.Value, func(b byte) bool { return b != 0 }) {
			c.Unreferenced = append(c.Unreferenced, m.Index)
		}
	}
	slices.Sort(c.Unreferenced)
	c.Unreferenced = slices.Compact(c.Unreferenced)
}

// Mismatches are the findings against the device, Missing ones included.
func (c *Comparison) Mismatches() []Finding { return against(c.Findings) }

// Count is the number of findings in a state.
func (c *Comparison) Count(s State) (n int) {
	for _, f := range c.Findings {
		if f.State == s {
			n++
		}
	}
	return n
}

// Mismatched tells that something differs from its golden values, or manifests contradict
// each other.
func (c *Comparison) Mismatched() bool { return len(c.Mismatches()) > 0 || len(c.Conflicts) > 0 }

// Matched tells that manifests for all of the firmware are there, do not contradict each
// other, and every active index of them matches or is of an engine that is off.
// Of Unreferenced measurements it says nothing.
func (c *Comparison) Matched() bool {
	return len(c.Absent) == 0 && !c.Mismatched() && c.Count(Match) > 0
}

// Vintage tells that all that differs is index 9 of a VBIOS, so probably the manifest is
// an issue of the wrong age. Of that index NVIDIA has signed several values for
// one version of a VBIOS, in manifests with the same identifier. It is still a
// mismatch: look for another issue, and name the one that was used.
func (c *Comparison) Vintage() bool {
	return len(c.Conflicts) == 0 && vintage(c.Mismatches())
}
