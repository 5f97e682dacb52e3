// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// emulatorPolicy is the policy of docs/policies.
func emulatorPolicy(tb testing.TB) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "policies", "spdm-emulator.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// capture is one recorded folder with what it says of itself.
type capture struct {
	*recorded
	meta struct {
		BaseHash string `json:"base_hash"`
		BaseAsym string `json:"base_asym"`
		Meas     string `json:"measurement_hash"`
	}
}

// captures are all folders that are found, whatever their names.
func captures(t *testing.T) (out []capture) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectors.Dir(t), "spdm", "*", "expected.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d folders, %v", len(files), err)
	}
	for _, f := range files {
		c := capture{recorded: recording(t, filepath.Base(filepath.Dir(f)))}
		if err := json.Unmarshal(vectors.Read(t, "spdm/"+c.name+"/expected.json"), &c.meta); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// world is what the verifier is given: all roots among the endorsements, and a
// policy that names them. The second root of a folder vouches for slot 1 alone.
func (c capture) world(tb testing.TB, policy []byte) verifiers.Deps {
	tb.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal(policy, &doc); err != nil {
		tb.Fatal(err)
	}
	params, _ := doc["parameters"].(map[string]any)
	if params == nil {
		params = map[string]any{}
	}
	anchors, _ := params["anchors"].([]any)
	var der [][]byte
	for _, a := range c.anchors {
		der = append(der, a.Certificate.Raw)
		slots := []int{0, 4}
		if a.Slots == 1<<1 {
			slots = []int{1}
		} else if len(anchors) > 0 {
			continue // the policy has it
		}
		params["anchors"] = append(params["anchors"].([]any), map[string]any{"certificate_sha256": certificateDigest(a.Certificate), "slots": slots})
	}
	doc["parameters"] = params
	text, err := yaml.Marshal(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return verifiers.Deps{Endorsements: collateral(tb, der...), Policies: policyOf(tb, string(text))}
}

// plain trusts the roots and changes nothing else.
var plain = []byte("scheme: dmtf-spdm\nfindings: {}\nparameters: {anchors: []}\n")

// references are the reference values of the recorded device.
func (c capture) references(t *testing.T, p *proof) *corim.Index {
	t.Helper()
	list := referencesOf(p.Blocks, p.VCA.MeasurementHash, TypeDeviceMode, TypeManifest)
	if len(list) == 0 { // one index was read, and it is none of these
		return nil
	}
	return indexOf(t, document(t, c.name, true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: list}))
}

// TestVectors appraises every recorded folder, each from its own expected.json.
func TestVectors(t *testing.T) {
	signatures := 0
	for _, c := range captures(t) {
		t.Run(c.name, func(t *testing.T) {
			strict, named := newTest(t, c.world(t, plain)), newTest(t, c.world(t, emulatorPolicy(t)))
			switch {
			case len(c.expected.Signatures) == 0:
				c.unsignedChains(t, strict)
			case !slices.ContainsFunc(c.expected.Signatures, func(s signatureOf) bool { return strings.HasPrefix(s.Type, "measurements") }):
				c.unsigned(t, strict)
				signatures++
			default:
				signatures += c.signed(t, strict, named)
			}
			c.report(t, named)
		})
	}
	if !t.Failed() && signatures < 40 {
		t.Fatalf("only %d signatures were verified", signatures)
	}
}

// unsignedChains: a recording that ends after the certificates proves nothing. A
// chain whose leaf carries the hardware identity in an alias model is refused for
// itself.
func (c capture) unsignedChains(t *testing.T, v *verifier) {
	t.Helper()
	for slot, raw := range c.chains {
		e := c.evidence()
		e.Challenge, e.Chains = nil, map[uint8][]byte{slot: raw}
		if slot != 0 {
			e.Digests = nil
		}
		a, found := appraise(t, v, input(t, e, nil, nil))
		want := findNothingSigned
		if slot == 1 {
			want = findLeaf
		}
		if !slices.Contains(found, want) || a.Status() != verdict.TierContraindicated || a.Claims != nil || len(a.Facts.Device) != 0 {
			t.Fatalf("slot %d: %s %v %s", slot, a.Status(), found, details(a))
		}
	}
}

// unsigned: the device signs its challenge and no measurements.
func (c capture) unsigned(t *testing.T, v *verifier) {
	t.Helper()
	e := c.evidence()
	e.Measurements = c.record(false).Pending()
	for _, s := range c.expected.Signatures {
		a, found := appraise(t, v, input(t, e, unhex(t, s.Nonce), nil))
		if !slices.Contains(found, findUnsigned) || a.Status() != verdict.TierWarning || a.Freshness != verdict.FreshnessFresh ||
			a.Vector[executables] != 33 || a.Vector[config] != 36 || a.Vector[hardware] != 2 || a.Vector[identity] != 2 {
			t.Fatalf("%v %v %s", found, a.Vector, details(a))
		}
		if a, _ := appraise(t, v, input(t, e, bytes.Repeat([]byte{1}, 32), nil)); a.Status() != verdict.TierContraindicated {
			t.Fatal("a challenge with another nonce")
		}
	}
	e.Challenge = nil
	if a, found := appraise(t, v, input(t, e, nil, nil)); !slices.Contains(found, findNothingSigned) || a.Status() != verdict.TierContraindicated {
		t.Fatal(found)
	}
}

// signed walks the signatures: transcript, debug state under both policies.
func (c capture) signed(t *testing.T, strict, named *verifier) (n int) {
	t.Helper()
	outside, inside := c.record(false), c.record(true)
	next := [2]int{}
	for _, s := range c.expected.Signatures {
		e := c.evidence()
		switch s.Type {
		case "challenge":
			n += c.challenge(t, strict, s)
			continue
		case "measurements":
			e.Measurements = outside.Measurements[next[0]]
			next[0]++
		default:
			e.Measurements, e.Challenge = inside.Measurements[next[1]], nil
			next[1]++
		}
		in := input(t, e, unhex(t, s.Nonce), nil)
		p := c.proved(t, strict, e, s)
		in.References = c.references(t, p)
		_, hasMode := p.deviceMode()
		c.judged(t, strict, in, s, hasMode, true)
		c.judged(t, named, in, s, hasMode, false)
		n++
	}
	return n
}

// proved compares transcript and algorithms with expected.json.
func (c capture) proved(t *testing.T, v *verifier, e *Evidence, s signatureOf) *proof {
	t.Helper()
	p, err := v.prove(verifiers.Input{Time: at}, subject{evidence: e})
	if err != nil {
		t.Fatalf("message %d: %v", s.Message, err)
	}
	flat := func(s string) string { return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s)) }
	if p.VCA.Version.String() != c.expected.Version || flat(p.VCA.BaseHash.String()) != flat(c.meta.BaseHash) ||
		flat(p.VCA.MeasurementHash.String()) != flat(c.meta.Meas) || flat(p.VCA.BaseAsym.String()) != flat(c.meta.BaseAsym) {
		t.Fatalf("%v %v %v %v, expected %+v", p.VCA.Version, p.VCA.BaseAsym, p.VCA.BaseHash, p.VCA.MeasurementHash, c.meta)
	}
	l1 := slices.Concat(p.Segments[0].L1(p.VCA)...)
	if len(l1) != s.Length || hex.EncodeToString(p.VCA.BaseHash.sum(l1)) != s.Hash || p.Identity.Slot != s.Slot {
		t.Fatalf("L1 of %d bytes by slot %d, expected %d by %d", len(l1), p.Identity.Slot, s.Length, s.Slot)
	}
	if s.File != "" && !bytes.Equal(l1, vectors.Read(t, "spdm/"+c.name+"/"+s.File)) {
		t.Fatal("L1 differs from ", s.File)
	}
	return p
}

// challenge verifies M1 through the scheme: the nonce that counts is that of the
// measurements, so that the challenge alone is judged by what is rebuilt.
func (c capture) challenge(t *testing.T, v *verifier, s signatureOf) int {
	t.Helper()
	p, err := v.prove(verifiers.Input{Time: at}, subject{evidence: c.evidence()})
	if err != nil {
		t.Fatal(err)
	}
	m1 := slices.Concat(p.Challenge.Transcript.M1(p.VCA)...)
	if hex.EncodeToString(p.VCA.BaseHash.sum(m1)) != s.Hash || hex.EncodeToString(p.Challenge.Transcript.Request.Nonce) != s.Nonce {
		t.Fatalf("M1 of %d bytes", len(m1))
	}
	if s.SummaryAll && s.Type0 == 255 && p.Challenge.Summary != SummaryMatches && p.Challenge.Summary != SummaryIncomparable {
		t.Fatal(p.Challenge.Summary)
	}
	return 1
}

// judged: the emulator says that debugging is active. That contraindicates it, with
// the reason, unless the policy for emulators is given.
func (c capture) judged(t *testing.T, v *verifier, in verifiers.Input, s signatureOf, hasMode, strict bool) {
	t.Helper()
	a, found := appraise(t, v, in)
	if a.Freshness != verdict.FreshnessFresh || hex.EncodeToString(a.NonceSeen) != s.Nonce || a.Facts.ReportData != s.Nonce ||
		!slices.Contains(a.Facts.Device, "spdm:ACME:WIDGET:1234567890") {
		t.Fatalf("%s %x %+v", a.Freshness, a.NonceSeen, a.Facts)
	}
	old := strict && slices.Contains([]string{"1.0", "1.1"}, c.expected.Version)
	if slices.Contains(found, findVersion) != old || slices.Contains(found, findDowngrade) || slices.Contains(found, findAlgorithm) {
		t.Fatal(found)
	}
	switch {
	case !hasMode: // another index was read
		if !slices.Contains(found, findModeUnknown) || a.Status() == verdict.TierAffirming {
			t.Fatalf("%v %s", found, details(a))
		}
	case strict:
		if a.Status() != verdict.TierContraindicated || a.Vector[hardware] != 96 || a.Vector[opaque] != 96 || !has(a, verdict.ReasonDebug) ||
			!strings.Contains(details(a), "debugging is active: non-invasive debugging is active") || !slices.Contains(found, findDebug) || !slices.Contains(found, findDebugWas) {
			t.Fatalf("%v %s", a.Vector, details(a))
		}
	default:
		if a.Status() != verdict.TierWarning || a.Vector[hardware] != 32 || !has(a, verdict.ReasonDebug) {
			t.Fatalf("%v %s", a.Vector, details(a))
		}
		if whole := slices.Contains(found, findMatch); whole && (a.Vector[executables] != 3 || a.Vector[config] != 2) {
			t.Fatalf("%v %s", a.Vector, details(a))
		}
	}
	if !strict && len(c.expected.Blocks) > 0 && s.Type == "measurements" && hasMode && len(found) > 0 && !slices.Contains(found, findMatch) && len(c.record(false).Measurements) == 1 {
		t.Fatalf("%v %s", found, details(a))
	}
}

// report: a recorded interface report is nobody's word, so its digest and the need
// of a relay are for the lead, and without a relay nothing good is said.
func (c capture) report(t *testing.T, v *verifier) {
	t.Helper()
	file := filepath.Join(vectors.Dir(t), "spdm", c.name, "tdisp", "interface-report.bin")
	if _, err := os.Stat(file); err != nil {
		return
	}
	e := c.evidence()
	e.Challenge, e.Report = nil, vectors.Read(t, "spdm/"+c.name+"/tdisp/interface-report.bin")
	a, found := appraise(t, v, input(t, e, nil, nil))
	claims, _ := a.Claims["interface_report"].(map[string]any)
	if !a.Facts.RelayRequired || !slices.Contains(a.Facts.Objects, verdict.Object{Name: verdict.ObjectReport, Alg: verdict.AlgSHA384, Digest: c.expected.TDISP.SHA384}) || a.Vector[config].Tier() == verdict.TierAffirming || a.Vector[opaque].Tier() == verdict.TierAffirming ||
		claims["authenticated"] != leftToLead || a.Status() == verdict.TierAffirming || claims["sha384"] != c.expected.TDISP.SHA384 {
		t.Fatalf("%v %v %s", a.Vector, claims, details(a))
	}
	if slices.Contains(found, findReport) || slices.Contains(found, findRanges) || slices.Contains(found, findSpecific) {
		t.Fatal(found)
	}
}
