// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// checkNames are the checks of README.md. Each has at least one case.
var checkNames = []string{
	"A1", "A2", "A3", "A4", "A5", "A6", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9",
	"C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10", "D11", "D12",
}

type claimsOf = map[verdict.ClaimName]verdict.Claim

// situation is a device, its evidence and the verifier, before it is appraised.
type situation struct {
	t      *testing.T
	d      *device
	e      *Evidence
	index  *corim.Index
	nonce  []byte
	anchor *x509.Certificate
	slot   uint8
	// makers are the manufacturers of the anchor, "" for any.
	makers string
	// der are more files of the endorsements.
	der [][]byte
	// raw changes the encoded evidence, restated is what a token restates.
	raw      func([]byte) []byte
	restated func(*Result) []string
}

// checkCase is one fault and what is found.
type checkCase struct {
	check, name string
	opts        []func(*device)
	// blocks changes the blocks before they are signed, edit what was made.
	blocks   func(d *device)
	edit     func(s *situation)
	params   string // more parameters, flow style with two spaces of indentation
	findings string
	finding  string
	claims   claimsOf
	code     string
	words    string
	tier     verdict.Tier
}

// fullBlocks gives a device blocks of all kinds, in the order of their indices.
func fullBlocks(d *device) {
	d.blocks, d.count = nil, 0
	d.digestBlock(1, 0, []byte("rom"))
	d.digestBlock(2, 1, []byte("firmware"))
	d.digestBlock(3, 2, []byte("straps"))
	d.digestBlock(4, 3, []byte("settings"))
	d.rawBlock(5, 0x86, []byte("1.4.2"))
	d.rawBlock(0x10, 0x87, []byte{9, 0, 0, 0, 0, 0, 0, 0})
	d.digestBlock(17, 8, []byte("loaded"))
	d.rawBlock(0xFD, 0x84, []byte("manifest"))
	d.rawBlock(0xFE, 0x85, mode(ModeNormal, 0))
}

func mode(o OperationalMode, d DebugMode) []byte {
	return bytes.Join([][]byte{le32(0x3F), le32(int(o)), le32(0x1F), le32(int(d))}, nil)
}

// replace gives an index another value, in a record that is not signed yet.
func replace(index, kind byte, value []byte) func(*device) {
	return func(d *device) {
		for at := 0; at < len(d.blocks); {
			size := 4 + int(d.blocks[at+2]) + int(d.blocks[at+3])<<8
			if d.blocks[at] == index {
				d.blocks = slices.Concat(d.blocks[:at], block(index, kind, value), d.blocks[at+size:])
				return
			}
			at += size
		}
	}
}

func drop(index byte) func(*device) {
	return func(d *device) {
		for at := 0; at < len(d.blocks); {
			size := 4 + int(d.blocks[at+2]) + int(d.blocks[at+3])<<8
			if d.blocks[at] == index {
				d.blocks = slices.Concat(d.blocks[:at], d.blocks[at+size:])
				d.count--
				return
			}
			at += size
		}
	}
}

// parsed are the blocks of a device.
func (d *device) parsed(tb testing.TB) (out []Block) {
	tb.Helper()
	v := mustVCA(tb, d.vca)
	for r := newReader(StageMeasurements, "record", d.blocks, MaxRecord); r.more(); {
		out = append(out, parseBlock(r, v))
		if r.err != nil {
			tb.Fatal(r.err)
		}
	}
	return out
}

// stated are the reference values of a device in good order.
func (d *device) stated(tb testing.TB) []corim.Measurement {
	return referencesOf(d.parsed(tb), d.meas, TypeDeviceMode, TypeManifest)
}

// situated makes the device of a case; without any change it is affirmed.
func situated(t *testing.T, c checkCase) *situation {
	t.Helper()
	d := newDevice(t, c.opts...)
	fullBlocks(d)
	s := &situation{t: t, d: d, anchor: d.anchor, nonce: d.nonce}
	s.index = indexOf(t, document(t, "release", true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: d.stated(t)}))
	if c.blocks != nil {
		c.blocks(d)
	}
	s.e = d.evidence(t)
	if c.edit != nil {
		c.edit(s)
	}
	return s
}

// appraised runs it.
func (s *situation) appraised(c checkCase) (verdict.Appraisal, []string) {
	s.t.Helper()
	deps := trusting(s.t, s.anchor, s.slot, s.makers, c.params, c.findings)
	deps.Endorsements = collateral(s.t, append([][]byte{s.anchor.Raw}, s.der...)...)
	v := newTest(s.t, deps)
	in := input(s.t, s.e, s.nonce, s.index)
	if s.raw != nil {
		in.Evidence = s.raw(in.Evidence)
	}
	if s.restated == nil {
		return appraise(s.t, v, in)
	}
	var found []string
	v.trace = func(f string) { found = append(found, f) }
	sub := v.read(in.MediaType, in.Evidence)
	sub.restated = s.restated
	return v.judge(in, sub), found
}

// interfaceReport is one with a range of BAR 0 and an MSI-X table in BAR 2.
func interfaceReport(info InterfaceInfo, specific string, ranges ...Range) []byte {
	b := slices.Concat(le2(uint16(info)), make([]byte, 10), le32(len(ranges)))
	for _, g := range ranges {
		b = slices.Concat(b, le32(int(g.FirstPage)), make([]byte, 4), le4(g.Pages), le2(uint16(g.Attributes)), le2(g.ID))
	}
	return slices.Concat(b, le32(len(specific)), []byte(specific))
}

var goodRanges = []Range{{FirstPage: 0x1000, Pages: 16, ID: 0}, {FirstPage: 0x2000, Pages: 1, Attributes: RangeMSIXTable, ID: 2}}

const goodInfo = InterfaceNoFirmwareUpdate | InterfaceDMAWithoutPASID

// assign makes it a device under TDISP of SEV-TIO.
func (s *situation) assign(report []byte, lock LockFlags, state InterfaceState) {
	s.e.Report = report
	s.e.TSM = s.tio(lock, state)
}

// tio is TIO_MSG_TDI_INFO with the digests of the evidence as it is.
func (s *situation) tio(lock LockFlags, state InterfaceState) *TSM {
	sum := func(b []byte) []byte { d := sha512.Sum384(b); return d[:] }
	status := byte(0)
	if state != StateLocked && state != StateRun {
		status = 2
	}
	raw := slices.Concat([]byte{1, 0, 0, 0, 1, 0, 0, 0, status}, make([]byte, 7), le32(3), le32(int(lock)), []byte{1, 1, 2, 1, 0, 0, 0, 0},
		sum(s.e.Chains[s.d.slot]), sum(s.e.Measurements), sum(s.e.Report), le32(1), make([]byte, 12))
	return &TSM{Kind: TSMSEVTIO, Raw: raw, State: &state, LockFlags: &lock}
}

const goodLock = LockNoFirmwareUpdate | LockMSIX

// underTDISP is a good assigned device with a changed report.
func underTDISP(report []byte) func(*situation) {
	return func(s *situation) { s.assign(report, goodLock, StateRun) }
}

func locked(lock LockFlags, state InterfaceState) func(*situation) {
	return func(s *situation) { s.assign(interfaceReport(goodInfo, "", goodRanges...), lock, state) }
}

// unrelied is the row of an operator who relies on no binding of the lead.
const unrelied = "report-unauthenticated: {configuration: 36, runtime-opaque: 32}"

func cmaLeaf(t testing.TB, name string) []func(*device) {
	return []func(*device){leafWith(func(x *x509.Certificate) {
		x.ExtraExtensions[0] = sanOf(t, true, map[string]asn1.ObjectIdentifier{"ACME:WIDGET:1": oidDeviceInfo, name: oidCMA})
	})}
}

func sha384Of(s string) string {
	d := sha512.Sum384([]byte(s))
	return hex.EncodeToString(d[:])
}

// check runs one case.
func (c checkCase) run(t *testing.T) []string {
	t.Helper()
	s := situated(t, c)
	a, found := s.appraised(c)
	if !slices.Contains(found, c.finding) {
		t.Fatalf("found %v, expected %s: %s", found, c.finding, details(a))
	}
	for name, want := range c.claims {
		if a.Vector[name] != want {
			t.Errorf("%s is %d, expected %d: %s", name, a.Vector[name], want, details(a))
		}
	}
	if a.Status() != c.tier {
		t.Errorf("%s, expected %s: %v %s", a.Status(), c.tier, a.Vector, details(a))
	}
	if c.code != "" && !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == c.code && strings.Contains(r.Detail, c.words) }) {
		t.Errorf("no reason %s with %q: %s", c.code, c.words, details(a))
	}
	if c.tier != verdict.TierAffirming && len(a.Reasons) == 0 {
		t.Error("no reason")
	}
	for name, claim := range a.Vector {
		if claim == verdict.ClaimMalfunction {
			t.Errorf("claim %d is a malfunction", name)
		}
	}
	return found
}

// TestChecks: each check of the table on its own, and every finding is reached.
func TestChecks(t *testing.T) {
	cases := slices.Concat(formCases(t), proofCases(t), measurementCases(t), interfaceCases(t))
	reached := map[string]bool{findListIgnored: false}
	for _, c := range cases {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			for _, f := range c.run(t) {
				reached[f] = true
			}
		})
	}
	for _, name := range checkNames {
		if !slices.ContainsFunc(cases, func(c checkCase) bool { return c.check == name }) {
			t.Errorf("no case for check %s", name)
		}
	}
	for _, f := range policyDefaults().Findings {
		if !reached[f.Name] {
			t.Errorf("finding %s is not reached", f.Name)
		}
	}
}

// TestFloors: what nobody may excuse stays whatever a policy says.
func TestFloors(t *testing.T) {
	d := policyDefaults()
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	floored := 0
	for _, f := range d.Findings {
		_, err := d.Parse([]byte("scheme: dmtf-spdm\nfindings: {" + f.Name + ": {}}\n"))
		if (err != nil) != (len(f.Floor) > 0) {
			t.Errorf("%s: %v", f.Name, err)
		}
		if len(f.Floor) > 0 {
			floored++
		}
	}
	if floored < 40 {
		t.Error(floored)
	}
	// Debugging cannot be made affirming, a wrong signature not a warning.
	for _, row := range []string{"debug-active: {hardware: 2, runtime-opaque: 2}", "signature-invalid: {hardware: 32}", "unknown-anchor: {hardware: 32, instance-identity: 32}", "revoked: {hardware: 32, instance-identity: 32}"} {
		if _, err := d.Parse([]byte("scheme: dmtf-spdm\nfindings: {" + row + "}\n")); err == nil {
			t.Error(row)
		}
	}
	raw, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Parse(raw); err != nil {
		t.Fatal(err)
	}
}

// TestParameters: what an operator cannot mean is refused.
func TestParameters(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for text, ok := range map[string]bool{
		"{}": true, "{revocation: required}": true, "{revocation: maybe}": false, "{minimum_version: \"1.1\"}": true, "{minimum_version: \"1.5\"}": false,
		"{minimum_version: \"1.3\", maximum_version: \"1.2\"}": false, "{base_asym: [ECDSA-P384]}": true, "{base_asym: [SM2-P256]}": false, "{base_hash: [SM3-256]}": false,
		"{measurement_hash: [raw]}": true, "{measurement_hash: [MD5]}": false, "{devices: [\"spdm:A:B:*\"]}": true, "{devices: [\"*\"]}": false, "{devices: [\"spdm:*:B\"]}": false,
		"{cma: [\"\"]}": false, "{measurements: {required: [0]}}": false, "{measurements: {required: [254]}}": true, "{measurements: {minimum_svn: {255: 1}}}": false,
		"{measurements: {allowed_versions: {0: [a]}}}": false, "{measurements: {denied: [" + hash + "]}}": true, "{measurements: {denied: [AB]}}": false,
		"{interface: {ats: maybe}}": false, "{interface: {ats: off}}": true, "{interface: {device_specific: [xx]}}": false, "{anchors: [{}]}": false,
		"{anchors: [{spki_sha256: " + hash + "}]}": true, "{anchors: [{spki_sha256: " + hash + ", certificate_sha256: " + hash + "}]}": false,
		"{anchors: [{spki_sha256: ABCD}]}": false, "{anchors: [{spki_sha256: " + hash + ", slots: [8]}]}": false, "{anchors: [{spki_sha256: " + hash + ", manufacturers: [\"\"]}]}": false,
		"{anchors: [{spki_sha256: " + hash + ", trust: all}]}": false, "{anything: 1}": false,
	} {
		if _, err := policyDefaults().Parse([]byte("scheme: dmtf-spdm\nparameters: " + text + "\n")); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	many := "{anchors: [" + strings.Repeat("{spki_sha256: "+hash+"},", maxAnchors+1) + "]}"
	if _, err := policyDefaults().Parse([]byte("scheme: dmtf-spdm\nparameters: " + many + "\n")); err == nil {
		t.Error("too many anchors")
	}
	if _, err := Scheme().New(verifiers.Deps{Policies: map[string]*appraisal.Policy{Name: {}}}); err == nil {
		t.Error("a policy of another scheme")
	}
	if _, err := Scheme().New(verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {nil}}}); err == nil {
		t.Error("a root that is none")
	}
	v := newTest(t, verifiers.Deps{})
	if _, err := v.Appraise(context.Background(), verifiers.Input{}); err == nil || !strings.Contains(fmt.Sprint(err), "verification time") {
		t.Error(err)
	}
}
