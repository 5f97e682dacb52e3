// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"io/fs"
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

// capture is one recorded folder as the scheme takes it.
type capture struct{ *recorded }

// world is what the verifier is given: all roots among the endorsements, and a
// policy that names them for the slots of which they are.
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
	named, _ := params["anchors"].([]any)
	var der [][]byte
	for _, a := range c.anchors {
		if !slices.ContainsFunc(der, func(raw []byte) bool { return bytes.Equal(raw, a.Certificate.Raw) }) {
			der = append(der, a.Certificate.Raw)
		}
		var slots []int
		for s := range MaxSlots {
			if a.Slots>>s&1 != 0 {
				slots = append(slots, s)
			}
		}
		if slices.ContainsFunc(named, func(n any) bool { return covers(n, a, slots) }) {
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

// covers tells whether an anchor of a policy is this one for all of the slots.
func covers(named any, a Anchor, slots []int) bool {
	n, _ := named.(map[string]any)
	have, _ := n["slots"].([]any)
	return n["spki_sha256"] == spkiDigest(a.Certificate) && !slices.ContainsFunc(slots, func(s int) bool { return !slices.Contains(have, any(s)) })
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

// TestVectors walks every folder that is found, whatever its name, by its own
// expected.json: first the signatures and what they cover, then the appraisal.
func TestVectors(t *testing.T) {
	walked, signatures := recordedNames(t), 0
	for _, name := range walked {
		t.Run(name, func(t *testing.T) {
			r := recording(t, name)
			c := capture{r}
			v, err := ParseVCA(r.record(false).VCA())
			if KindOf(err) == KindUnsupported {
				c.unsupported(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r.checkFolder(t, v)
			strict, named := newTest(t, c.world(t, plain)), newTest(t, c.world(t, emulatorPolicy(t)))
			if len(r.expected.Signatures) == 0 {
				c.unproven(t, strict, v)
			}
			for _, s := range r.expected.Signatures {
				switch e := r.of(t, s); {
				case !s.challenge():
					c.measured(t, strict, named, s)
				case e.Measurements == nil:
					c.unsigned(t, strict, s)
				}
				signatures++
			}
			c.report(t, named)
		})
	}
	if !t.Failed() && len(walked) >= recordedHere && signatures < 40 {
		t.Fatalf("only %d signatures were verified", signatures)
	}
}

// unsupported: algorithms that cannot be computed here are refused as what they
// are, and nothing else is.
func (c capture) unsupported(t *testing.T, err error) {
	t.Helper()
	said := plainName(c.expected.BaseAsym + " " + c.expected.BaseHash + " " + c.expected.Arguments)
	if !slices.ContainsFunc([]string{"sm2", "sm3", "ed448", "mldsa", "slhdsa"}, func(name string) bool { return strings.Contains(said, name) }) {
		t.Fatal(err)
	}
	a, found := appraise(t, newTest(t, c.world(t, plain)), input(t, c.evidence(), nil, nil))
	if !slices.Contains(found, findUnsupported) || a.Status() != verdict.TierContraindicated || a.Claims != nil {
		t.Fatalf("%s %v", a.Status(), found)
	}
}

// unproven: a recording that ends after the certificates proves nothing. A chain
// whose leaf carries the hardware identity in an alias model is refused for itself.
func (c capture) unproven(t *testing.T, v *verifier, vca *VCA) {
	t.Helper()
	for slot, raw := range c.chains {
		e := c.evidence()
		e.Challenge, e.Chains = nil, map[uint8][]byte{slot: raw}
		a, found := appraise(t, v, input(t, e, nil, nil))
		want := findNothingSigned
		if c.badLeaf(vca, slot) {
			want = findLeaf
		}
		if !slices.Contains(found, want) || a.Status() != verdict.TierContraindicated || a.Claims != nil || len(a.Facts.Device) != 0 {
			t.Fatalf("slot %d: %s %v %s", slot, a.Status(), found, details(a))
		}
	}
}

// unsigned: the device signs its challenge and no measurements.
func (c capture) unsigned(t *testing.T, v *verifier, s signatureOf) {
	t.Helper()
	e := c.of(t, s)
	for _, pending := range [][]byte{nil, c.record(false).Pending()} {
		e.Measurements = pending
		a, found := appraise(t, v, input(t, e, unhex(t, s.Nonce), nil))
		old := !slices.Contains(v.params.BaseAsym, asymOf(t, e)) || c.old()
		if !slices.Contains(found, findUnsigned) || (a.Status() != verdict.TierWarning) != old || a.Freshness != verdict.FreshnessFresh ||
			a.Vector[executables] != 33 || !old && a.Vector[config] != 36 || a.Vector[hardware] != 2 || a.Vector[identity] != 2 {
			t.Fatalf("%v %v %s", found, a.Vector, details(a))
		}
		if a, _ := appraise(t, v, input(t, e, bytes.Repeat([]byte{1}, 32), nil)); a.Status() != verdict.TierContraindicated {
			t.Fatal("a challenge with another nonce")
		}
		without := *e
		without.Challenge = nil
		if a, found := appraise(t, v, input(t, &without, nil, nil)); !slices.Contains(found, findNothingSigned) || a.Status() != verdict.TierContraindicated {
			t.Fatal(found)
		}
	}
}

// old tells whether the default policy has no use for the version.
func (c capture) old() bool { return slices.Contains([]string{"1.0", "1.1"}, c.expected.Version) }

func asymOf(t *testing.T, e *Evidence) string {
	t.Helper()
	v, err := ParseVCA(e.VCA)
	if err != nil {
		t.Fatal(err)
	}
	return v.BaseAsym.String()
}

// measured judges one signature of measurements under both policies.
func (c capture) measured(t *testing.T, strict, named *verifier, s signatureOf) {
	t.Helper()
	e := c.of(t, s)
	in := input(t, e, unhex(t, s.Nonce), nil)
	p, err := strict.prove(verifiers.Input{Time: at}, subject{evidence: e})
	if err != nil {
		t.Fatalf("message %d: %v", s.Message, err)
	}
	in.References = c.references(t, p)
	c.judged(t, strict, in, s, p, true)
	c.judged(t, named, in, s, p, false)
}

// judged: the emulator says that debugging is active. That contraindicates it, with
// the reason, unless the policy for emulators is given.
func (c capture) judged(t *testing.T, v *verifier, in verifiers.Input, s signatureOf, p *proof, strict bool) {
	t.Helper()
	a, found := appraise(t, v, in)
	if a.Freshness != verdict.FreshnessFresh || hex.EncodeToString(a.NonceSeen) != s.Nonce || a.Facts.ReportData != s.Nonce ||
		!slices.Equal(a.Facts.Device, identities(p.Identity)) {
		t.Fatalf("%s %x %+v", a.Freshness, a.NonceSeen, a.Facts)
	}
	least, _ := readVersion(v.params.MinimumVersion)
	weak := !slices.Contains(v.params.BaseAsym, p.VCA.BaseAsym.String()) || !slices.Contains(v.params.BaseHash, p.VCA.BaseHash.String()) ||
		!slices.Contains(v.params.MeasurementHash, p.VCA.MeasurementHash.String())
	if slices.Contains(found, findVersion) != (p.VCA.Version < least) || slices.Contains(found, findDowngrade) != (highest(p.VCA.Versions, Version14) > p.VCA.Version) ||
		slices.Contains(found, findAlgorithm) != weak {
		t.Fatal(found)
	}
	mode, told := p.deviceMode()
	active := told && mode.Debug&3 != 0
	if slices.Contains(found, findDebug) != active || slices.Contains(found, findDebugWas) != (told && mode.Debug&^3 != 0) || slices.Contains(found, findModeUnknown) == told {
		t.Fatalf("%v %s", found, details(a))
	}
	switch {
	case weak || p.VCA.Version < least:
		if a.Status() != verdict.TierContraindicated {
			t.Fatalf("%v %s", a.Vector, details(a))
		}
	case !told: // another index was read
		if a.Status() == verdict.TierAffirming {
			t.Fatalf("%v %s", found, details(a))
		}
	case active && strict:
		if a.Status() != verdict.TierContraindicated || a.Vector[hardware] != 96 || a.Vector[opaque] != 96 || !has(a, verdict.ReasonDebug) || !strings.Contains(details(a), "debugging is active: ") {
			t.Fatalf("%v %s", a.Vector, details(a))
		}
	case !active && mode.Operational == ModeNormal:
		if a.Status() == verdict.TierContraindicated {
			t.Fatalf("%v %s", a.Vector, details(a))
		}
	case active:
		if a.Status() != verdict.TierWarning || a.Vector[hardware] != 32 || !has(a, verdict.ReasonDebug) {
			t.Fatalf("%v %s", a.Vector, details(a))
		}
	}
	// All that can be compared is what the reference values say.
	if _, err := (Block{RawBits: true}).Digest(p.VCA.MeasurementHash); err == nil && in.References != nil && told && p.block(1) != nil {
		if !slices.Contains(found, findMatch) || !weak && p.VCA.Version >= least && (a.Vector[executables] != 3 || a.Vector[config] != 2 && !slices.Contains(found, findDowngrade)) {
			t.Fatalf("%v %v %s", found, a.Vector, details(a))
		}
	}
}

// report: a recorded interface report is nobody's word, so its digest and the need
// of a relay are for the lead, and without a relay nothing good is said.
func (c capture) report(t *testing.T, v *verifier) {
	t.Helper()
	if c.expected.TDISP == nil {
		return
	}
	i := slices.IndexFunc(c.expected.Signatures, func(s signatureOf) bool { return !s.challenge() })
	raw, file := c.file(t, cmp.Or(c.expected.TDISP.File, "tdisp/interface-report.bin")), c.reassembled(t)
	if raw == nil {
		raw = file
	}
	if file != nil && !bytes.Equal(file, raw) {
		t.Fatal("the portions are of another report")
	}
	if raw == nil || i < 0 {
		t.Fatal("an interface report is expected, and it or the measurements beside it are not there")
	}
	e := c.of(t, c.expected.Signatures[i])
	e.Challenge, e.Report = nil, raw
	a, found := appraise(t, v, input(t, e, nil, nil))
	claims, _ := a.Claims["interface_report"].(map[string]any)
	if !a.Facts.RelayRequired || a.Vector[config].Tier() == verdict.TierAffirming || a.Vector[opaque].Tier() == verdict.TierAffirming ||
		claims["authenticated"] != leftToLead || a.Status() == verdict.TierAffirming {
		t.Fatalf("%v %v %s", a.Vector, claims, details(a))
	}
	for alg, want := range map[string]string{verdict.AlgSHA256: c.expected.TDISP.SHA256, verdict.AlgSHA384: c.expected.TDISP.SHA384, verdict.AlgSHA512: c.expected.TDISP.SHA512} {
		if want != "" && !slices.Contains(a.Facts.Objects, verdict.Object{Name: verdict.ObjectReport, Alg: alg, Digest: want}) {
			t.Fatalf("%s of the report is not %s: %v", alg, want, a.Facts.Objects)
		}
	}
	if slices.Contains(found, findReport) || slices.Contains(found, findRanges) || slices.Contains(found, findSpecific) {
		t.Fatal(found)
	}
}

// reassembled is the report from the portions that stand beside it, nil without
// any.
func (c capture) reassembled(t *testing.T) []byte {
	t.Helper()
	folder := filepath.Join(vectors.Dir(t), "spdm", c.name, "tdisp")
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	files := below(t, folder, func(file string) bool { return strings.HasSuffix(file, "device_interface_report.bin") })
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	var pairs [][2]*TDISPMessage
	for i, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseTDISP(raw)
		if err != nil {
			t.Fatal(f, err)
		}
		if i%2 == 0 {
			pairs = append(pairs, [2]*TDISPMessage{m, {}})
		} else {
			pairs[len(pairs)-1][1] = m
		}
	}
	if pairs == nil {
		return nil
	}
	out, err := Assemble(pairs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
