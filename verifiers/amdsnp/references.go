// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/reference"
)

// Class identifiers of AMD's profile (draft-deeglaze-amd-sev-snp-corim-profile):
// a guest whose report a VCEK, respectively a VLEK has signed.
const (
	classByChip     = "1.3.6.1.4.1.3704.3.1"
	classByProvider = "1.3.6.1.4.1.3704.3.2"
)

// Measurement keys of AMD's profile.
const (
	keyVersion           = 0
	keyGuestSVN          = 1
	keyPolicy            = 2
	keyFamilyID          = 3
	keyImageID           = 4
	keyVMPL              = 5
	keyCurrentTCB        = 6
	keyPlatformInfo      = 7
	keyReportData        = 640
	keyMeasurement       = 641
	keyHostData          = 642
	keyIDKeyDigest       = 643
	keyAuthorKeyDigest   = 644
	keyReportID          = 645
	keyReportIDMA        = 646
	keyReportedTCB       = 647
	keyCPUIDFamily       = 648
	keyCPUIDModel        = 649
	keyCPUIDStepping     = 650
	keyChipID            = 3328
	keyCommittedTCB      = 3329
	keyCurrentVersion    = 3330
	keyCommittedVersion  = 3936
	keyLaunchTCB         = 3968
	schemeDecimal        = 4     // of the CoSWID registry (RFC 9393)
	schemeSemanticNumber = 16384 // semver
)

// notCompared are the keys that deployed documents (profile of 2024) fill with
// what one report happened to say, and that no reader of them compares: version
// of the report, platform, per-boot fields, chip, and firmware versions. What
// they say of the guest counts, its policy included.
var notCompared = []uint64{
	keyVersion, keyCurrentTCB, keyPlatformInfo, keyReportData, keyReportID, keyReportIDMA,
	keyChipID, keyCommittedTCB, keyCurrentVersion, keyCommittedVersion,
}

// maxDeployed is how many documents of that kind are tried for one report.
const maxDeployed = 4

// environments are the names of a guest in reference values, alternatives: the
// class with the chip or the provider, and the class with MEASUREMENT, as
// Veraison's samples have it. A document without an instance fits all of them.
func environments(r *report, k *vek) []corim.Environment {
	dotted, instance := classByChip, r.chipID()
	if k.kind == kindVLEK {
		dotted, instance = classByProvider, []byte(k.cspID)
	}
	id, _ := corim.OID(dotted)
	class := corim.Class{ID: id}
	out := []corim.Environment{{Class: class, Instance: corim.TaggedBytes(corim.TagBytes, r.measurement())}}
	if k.kind == kindVLEK || !r.chipMasked() {
		out = append([]corim.Environment{{Class: class, Instance: corim.TaggedBytes(corim.TagBytes, instance)}}, out...)
	}
	return out
}

// field is one field of the report, how reference values speak of it, and the
// claim that it belongs to.
type field struct {
	key   uint64
	name  string
	claim verdict.ClaimName
	value func(*report) corim.Values
}

func digestValue(get func(*report) []byte) func(*report) corim.Values {
	return func(r *report) corim.Values {
		return corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: get(r)}}}
	}
}

func rawValue(get func(*report) []byte) func(*report) corim.Values {
	return func(r *report) corim.Values {
		return corim.Values{Raw: &corim.RawValue{Tag: corim.TagBytes, Value: get(r)}}
	}
}

func tcbValue(get func(*report) tcbBytes) func(*report) corim.Values {
	return func(r *report) corim.Values {
		b := get(r)
		return corim.Values{SVN: &corim.SVN{Value: binary.LittleEndian.Uint64(b[:])}}
	}
}

func firmwareValue(get func(*report) firmware) func(*report) corim.Values {
	return func(r *report) corim.Values {
		return corim.Values{Version: &corim.Version{Text: get(r).String(), Scheme: schemeSemanticNumber}}
	}
}

// numberValue is a number as raw-int, and as the bytes of the report.
func numberValue(at, size int) func(*report) corim.Values {
	return func(r *report) corim.Values {
		b := r.raw[at : at+size]
		var n int64
		for i, c := range b {
			n |= int64(c) << (8 * i)
		}
		return corim.Values{Raw: &corim.RawValue{Tag: corim.TagBytes, Value: b}, Range: corim.IntValue(n)}
	}
}

// fields are what reference values may speak about. What is not here makes a
// triple that names it hold never.
var fields = []field{
	{keyMeasurement, "MEASUREMENT", verdict.Executables, digestValue((*report).measurement)},
	{keyGuestSVN, "GUEST_SVN", verdict.Executables, func(r *report) corim.Values {
		return corim.Values{SVN: &corim.SVN{Value: uint64(r.guestSVN())}}
	}},
	{keyReportData, "REPORT_DATA", verdict.Executables, rawValue((*report).reportData)},
	{keyReportID, "REPORT_ID", verdict.Executables, rawValue((*report).reportID)},
	{keyReportIDMA, "REPORT_ID_MA", verdict.Executables, rawValue((*report).reportIDMA)},
	{keyPolicy, "POLICY", verdict.Configuration, func(r *report) corim.Values {
		v := rawValue(func(r *report) []byte { return r.raw[0x08:0x10] })(r)
		v.Flags = &corim.Flags{Known: 1 << corim.FlagDebug}
		if r.policy()&policyDebug != 0 {
			v.Flags.Value = 1 << corim.FlagDebug
		}
		return v
	}},
	{keyFamilyID, "FAMILY_ID", verdict.Configuration, rawValue((*report).familyID)},
	{keyImageID, "IMAGE_ID", verdict.Configuration, rawValue((*report).imageID)},
	{keyVMPL, "VMPL", verdict.Configuration, numberValue(0x30, 4)},
	{keyPlatformInfo, "PLATFORM_INFO", verdict.Configuration, rawValue(func(r *report) []byte { return r.raw[0x40:0x48] })},
	{keyHostData, "HOST_DATA", verdict.Configuration, rawValue((*report).hostData)},
	{keyIDKeyDigest, "ID_KEY_DIGEST", verdict.Configuration, digestValue((*report).idKeyDigest)},
	{keyAuthorKeyDigest, "AUTHOR_KEY_DIGEST", verdict.Configuration, digestValue((*report).authorKeyDigest)},
	{keyVersion, "VERSION", verdict.Hardware, func(r *report) corim.Values {
		return corim.Values{Version: &corim.Version{Text: fmt.Sprint(r.version), Scheme: schemeDecimal}}
	}},
	{keyCurrentTCB, "CURRENT_TCB", verdict.Hardware, tcbValue((*report).currentTCB)},
	{keyReportedTCB, "REPORTED_TCB", verdict.Hardware, tcbValue((*report).reportedTCB)},
	{keyCPUIDFamily, "CPUID family", verdict.Hardware, numberValue(0x188, 1)},
	{keyCPUIDModel, "CPUID model", verdict.Hardware, numberValue(0x189, 1)},
	{keyCPUIDStepping, "CPUID stepping", verdict.Hardware, numberValue(0x18a, 1)},
	{keyChipID, "CHIP_ID", verdict.Hardware, rawValue((*report).chipID)},
	{keyCommittedTCB, "COMMITTED_TCB", verdict.Hardware, tcbValue((*report).committedTCB)},
	{keyCurrentVersion, "current firmware", verdict.Hardware, firmwareValue((*report).currentFirmware)},
	{keyCommittedVersion, "committed firmware", verdict.Hardware, firmwareValue((*report).committedFirmware)},
	{keyLaunchTCB, "LAUNCH_TCB", verdict.Hardware, tcbValue((*report).launchTCB)},
}

// items are the measurements of a report. Before version 3 it has no CPUID, so
// a document that demands one does not hold.
func items(r *report) []reference.Item {
	out := make([]reference.Item, 0, len(fields))
	for _, f := range fields {
		if (f.key == keyCPUIDFamily || f.key == keyCPUIDModel || f.key == keyCPUIDStepping) && r.version < cpuidVersion {
			continue
		}
		out = append(out, reference.Item{Name: f.name, Key: corim.NumberKey(f.key), Value: f.value(r)})
	}
	return out
}

// comparison is one report and what it is compared with.
type comparison struct {
	list      []corim.Environment
	query     reference.Query
	excluded  []string // names of fields that were not compared
	reference *reference.Report
	// strict is the comparison of all fields, guest the digest of MEASUREMENT.
	strict *reference.Report
	guest  []byte
}

// compare asks for every environment; what they say are alternatives. What is
// about the class is found by each of them, so a further one counts only where it
// says something better.
func (c *comparison) compare(list []reference.Item) *reference.Report {
	var out *reference.Report
	for _, e := range c.list {
		q := c.query
		q.Environment, q.Items = e, list
		r := reference.Compare(q)
		better := func(f reference.Finding) bool { return f.State > out.Find(f.Name).State }
		switch {
		case out == nil:
			out = r
		case slices.ContainsFunc(r.Findings, better):
			out = reference.Merge(out, r)
		}
	}
	return out
}

// references compares the guest with reference values and sets executables; of
// hardware and configuration it can take away what judge gave.
func (v *verifier) references(a *verdict.Appraisal, in verifiers.Input, r *report, k *vek) {
	list := environments(r, k)
	a.Facts.Environments = reference.Names(list...)
	c := comparison{
		list:  list,
		query: reference.Query{Index: in.References, Time: in.Time, Unsigned: v.unsigned},
		guest: r.measurement(),
	}
	if in.References != nil {
		c.query.Authority = append(c.query.Authority, corim.TaggedBytes(corim.TagPKIXKey, k.cert.RawSubjectPublicKeyInfo))
		for _, cert := range k.chain() {
			c.query.Authority = append(c.query.Authority, corim.Certificate(cert))
		}
	}
	c.strict = c.compare(items(r))
	c.reference = c.strict
	c.deployed(r)
	proofs := map[string]any{}
	v.executables(a, &c, proofs)
	v.hardwareReferences(a, &c, proofs)
	v.configurationReferences(a, &c, r, proofs)
	if claim := c.reference.Claim(proofs); claim != nil {
		a.Claims["reference_values"] = claim
	}
}

// deployed tries documents of the profile of 2024 as they are in use, where the
// measurement is right and something else is not. Their readers write numbers
// big-endian and do not compare some keys (notCompared), so those are asked for
// with the value that the document has. Such a document says what it says of the
// guest, and of nothing else.
func (c *comparison) deployed(r *report) {
	found := c.reference.Find("MEASUREMENT")
	if found.State != reference.Partial {
		return
	}
	var fallback *reference.Report
	var fallbackExcluded []string
	tried := 0
	for _, s := range found.Sources {
		if s.Document().Profile != corim.ProfileSNP2024 {
			fallback = nil
			break
		}
		if tried++; tried > maxDeployed {
			break
		}
		list, excluded := deployedItems(r, tripleOf(s))
		again := c.compare(list)
		f := again.Find("MEASUREMENT")
		if f.State > found.State && slices.Contains(f.Sources, s) {
			c.reference, c.excluded = again, excluded
			return
		}
		if f.State == found.State && fallback == nil {
			fallback, fallbackExcluded = again, excluded
		}
	}
	if fallback != nil { // it does not hold either, and says better why
		c.reference, c.excluded = fallback, fallbackExcluded
	}
}

// tripleOf finds the reference triple of a source, nil if it is none.
func tripleOf(s corim.Source) *corim.ValueTriple {
	for _, t := range s.Document().Tags {
		if t.Comid != nil && t.Comid.Identity == s.Tag() && s.Index < len(t.Comid.Reference) {
			return &t.Comid.Reference[s.Index]
		}
	}
	return nil
}

// deployedItems are the measurements as readers of the profile of 2024 have them:
// numbers big-endian, and with the document's own value what is not compared.
func deployedItems(r *report, t *corim.ValueTriple) (out []reference.Item, excluded []string) {
	if t == nil {
		t = &corim.ValueTriple{}
	}
	out = items(r)
	for i := range out {
		it := &out[i]
		n, _ := it.Key.Number()
		if n == keyPolicy || n == keyVMPL {
			be := slices.Clone(it.Value.Raw.Value)
			slices.Reverse(be)
			it.Value.Raw = &corim.RawValue{Tag: corim.TagBytes, Value: be}
		}
		if !slices.Contains(notCompared, n) {
			continue
		}
		excluded = append(excluded, it.Name)
		for _, m := range t.Measurements {
			if m.Key == it.Key {
				it.Value = shown(m.Value)
				break
			}
		}
	}
	return out, excluded
}

// shown is evidence that a reference value matches.
func shown(want corim.Values) corim.Values {
	if want.SVN != nil {
		want.SVN = &corim.SVN{Value: want.SVN.Value}
	}
	if want.Raw != nil {
		want.Raw = &corim.RawValue{Tag: want.Raw.Tag, Value: want.Raw.Value}
	}
	return want
}

// settle lowers claims by the row of a finding; the reasons are those of the
// comparison, which say more than a row can.
func (v *verifier) settle(a *verdict.Appraisal, finding string, reasons []verdict.Reason) {
	if len(reasons) == 0 {
		v.find(a, finding, "")
		return
	}
	if v.trace != nil {
		v.trace(finding)
	}
	for _, name := range verdict.ClaimNames() {
		if c, ok := v.policy.Effect(finding)[name]; ok {
			appraisal.Lower(a, name, c)
		}
	}
	a.Reasons = append(a.Reasons, reasons...)
}

// executables: MEASUREMENT has to be proven, and whatever else a document says of
// the guest. What runs in a guest whose memory the host can write is known from
// no measurement.
func (v *verifier) executables(a *verdict.Appraisal, c *comparison, proofs map[string]any) {
	need := append([]reference.Finding{c.reference.Find("MEASUREMENT")}, c.stated(verdict.Executables, "MEASUREMENT", "REPORT_DATA", "REPORT_ID", "REPORT_ID_MA")...)
	state, reasons := c.reference.Judge(verdict.Executables, need...)
	opaque := a.Vector[verdict.RuntimeOpaque].Tier() == verdict.TierAffirming
	switch {
	case state == reference.Mismatched:
		v.settle(a, findMismatch, reasons)
	case state != reference.Matched:
		v.settle(a, findUnproven, reasons)
	case !opaque:
		v.settle(a, findUnproven, append(reasons, verdict.Reason{
			Code: verdict.ReasonUnexplained, Detail: "executables: the host can write the guest's memory, so what was launched says nothing about what runs",
		}))
	default:
		v.find(a, findMatch, "")
		a.Reasons = append(a.Reasons, reasons...)
		proofs[verdict.Executables.String()] = c.reference.Proof(need...)
	}
}

// hardwareReferences: nobody has to state anything about chip and firmware, and
// what is stated has to be right. A TCB that is not as stated is one that is out
// of date for the author of the document.
func (v *verifier) hardwareReferences(a *verdict.Appraisal, c *comparison, proofs map[string]any) {
	tcbs := []string{"CURRENT_TCB", "REPORTED_TCB", "COMMITTED_TCB", "LAUNCH_TCB"}
	var old, rest []reference.Finding
	for _, f := range c.stated(verdict.Hardware) {
		if f.State == reference.Mismatched && slices.Contains(tcbs, f.Name) {
			old = append(old, f)
		} else {
			rest = append(rest, f)
		}
	}
	if len(old) > 0 {
		_, reasons := c.reference.Judge(verdict.Hardware, old...)
		for i := range reasons {
			reasons[i].Code = verdict.ReasonTCBOutOfDate
		}
		v.settle(a, findTCBReference, reasons)
	}
	v.optional(a, c, verdict.Hardware, rest, findHardwareMismatch, findHardwareUnproven, proofs)
}

// configurationReferences: HOST_DATA is chosen by the host, so one that is set
// needs a reference value; zero is nothing chosen.
func (v *verifier) configurationReferences(a *verdict.Appraisal, c *comparison, r *report, proofs map[string]any) {
	list := c.stated(verdict.Configuration)
	known := slices.ContainsFunc(list, func(f reference.Finding) bool { return f.Name == "HOST_DATA" })
	if !known && !allZero(r.hostData()) {
		list = append(list, reference.Finding{Name: "HOST_DATA"})
	}
	v.optional(a, c, verdict.Configuration, list, findConfigMismatch, findConfigUnproven, proofs)
}

func (v *verifier) optional(a *verdict.Appraisal, c *comparison, claim verdict.ClaimName, list []reference.Finding, mismatch, unproven string, proofs map[string]any) {
	if len(list) == 0 {
		return
	}
	state, reasons := c.reference.Judge(claim, list...)
	switch state {
	case reference.Matched:
		a.Reasons = append(a.Reasons, reasons...)
		proofs[claim.String()] = c.reference.Proof(list...)
	case reference.Mismatched:
		v.settle(a, mismatch, reasons)
	default:
		v.settle(a, unproven, reasons)
	}
}
