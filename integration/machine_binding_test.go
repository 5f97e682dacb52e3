// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/sha3"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
	"github.com/assize/assize/verifiers/appraisal"
	core "github.com/assize/assize/verifiers/spdm"
)

// theEdge is the edge of a kind from a part, nil if there is none.
func theEdge(res *verdict.Result, from evidence.Path, kind string) *verdict.Binding {
	i := slices.IndexFunc(res.Bindings, func(b verdict.Binding) bool { return b.From == from && b.Kind == kind })
	if i < 0 {
		return nil
	}
	return &res.Bindings[i]
}

// machineBinding is one check on a simulated machine.
type machineBinding struct {
	kind, state string // see theStates
	what        string
	d           attester.Description
	label       evidence.Path
	faults      []attester.Fault
	unknown     attester.Kind // no reference values
	edge        string
	tier        verdict.Tier
	code        string
}

// machineBindings are the checks on simulated machines, in their states. Two TEEs on
// one platform, and layers of one device, have tables of their own below. What no
// machine has is in the tests of package binding: an event log that leaves a part out.
func machineBindings() []machineBinding {
	gpu := attester.GPUs{Count: 1, Kind: "blackwell"}
	described := func(name string, change func(*attester.Description)) attester.Description {
		d := attester.Description{Name: "bind-" + name, GPUs: gpu, Binding: name}
		if change != nil {
			change(&d)
		}
		return d
	}
	commitment := described(attester.BindCommitment, nil)
	trustee, ita := described(attester.BindTrustee, nil), described(attester.BindITA, nil)
	signed, event := described(attester.BindLead, nil), described(attester.BindEvent, nil)
	nitro := described(attester.BindLead, func(d *attester.Description) { d.Name, d.CPU.Kind = "bind-lead-nitro", string(attester.KindNitro) })
	nonce := described(attester.BindNonce, nil)
	ak := described(attester.BindAK, func(d *attester.Description) { d.VTPM.Key, d.GPUs = "p256", attester.GPUs{} })
	devices := described(attester.BindNonce, func(d *attester.Description) {
		d.Name, d.GPUs, d.Devices = "bind-devices", attester.GPUs{}, attester.Devices{Count: 1, TDISP: true}
	})
	arm := devices
	arm.CPU.Kind = string(attester.KindCCA)
	board := described(attester.BindCommitment, func(d *attester.Description) {
		d.Name, d.GPUs, d.Switches = "bind-board", attester.GPUs{Count: 8}, attester.Set{Count: 4}
	})
	fault := func(label string, kind attester.FaultKind) []attester.Fault {
		return []attester.Fault{{Label: evidence.Path(label), Kind: kind}}
	}
	const (
		app, weak, measured = "bound strong application", "bound nonce application", "bound strong measured"
		ofNonce, none, bad  = "bound nonce", "absent none", "broken none"
		worst, warning, ok  = verdict.TierContraindicated, verdict.TierWarning, verdict.TierAffirming
	)
	unbound, broken, feeble := verdict.ReasonUnboundComponent, verdict.ReasonBindingBroken, verdict.ReasonBindingWeak
	return []machineBinding{
		{binding.KindNonce, stateBound, "bound", nonce, "gpu/0", nil, "", ofNonce, warning, unbound},
		{binding.KindNonce, stateAbsent, "absent", nonce, "gpu/0", fault("gpu/0", attester.StaleNonce), "", none, worst, unbound},
		{binding.KindNonce, stateForged, "a relay", nonce, "gpu/0", fault("gpu/0", attester.ForeignMachine), "", ofNonce, warning, unbound},
		{binding.KindDerivedNonce, stateBound, "bound", ita, "gpu/0", nil, "", ofNonce, warning, unbound},
		{binding.KindDerivedNonce, stateAbsent, "absent", ita, "gpu/0", fault("gpu/0", attester.StaleNonce), "", none, worst, unbound},
		{binding.KindDerivedNonce, stateForged, "a relay", ita, "gpu/0", fault("gpu/0", attester.ForeignMachine), "", ofNonce, warning, unbound},

		{binding.KindReportData, stateBound, "bound", commitment, "gpu/0", nil, "", app, ok, verdict.ReasonApplicationBound},
		{binding.KindReportData, stateBroken, "a foreign GPU", commitment, "gpu/0", fault("gpu/0", attester.ForeignMachine), "", bad + " application", worst, broken},
		{binding.KindReportData, stateBroken, "another session", commitment, "gpu/0", fault("gpu/0", attester.Relayed), "", bad + " application", worst, broken},
		{binding.KindReportData, stateAbsent, "absent", commitment, "gpu/0", fault("cpu", attester.WrongSigner), "", none + " application", worst, verdict.ReasonBindingAbsent},
		{binding.KindReportData, stateAbsent, "not declared", commitment, "gpu/0", fault("cpu", attester.Unbound), "", "", warning, unbound},
		{binding.KindReportData, stateForged, "forged", commitment, "gpu/0", nil, attester.KindTDX, weak, warning, feeble},
		{binding.KindReportData, stateBound, "bound as Trustee does", trustee, "", nil, "", app, ok, verdict.ReasonApplicationBound},
		{binding.KindReportData, stateBroken, "a foreign GPU, as Trustee does", trustee, "", fault("additional-evidence/nvidia/0", attester.ForeignMachine), "", bad + " application", worst, broken},
		{binding.KindReportData, stateForged, "forged, as Trustee does", trustee, "", nil, attester.KindTDX, weak, warning, feeble},
		{binding.KindReportData, stateAbsent, "as Intel's authority does", ita, "gpu/0", nil, "", "", warning, unbound},

		{binding.KindAttestedKey, stateBound, "bound", ak, "vtpm", nil, "", app, warning, verdict.ReasonApplicationBound},
		{binding.KindAttestedKey, stateBroken, "a foreign TPM", ak, "vtpm", fault("vtpm", attester.ForeignMachine), "", bad, worst, broken},
		{binding.KindAttestedKey, stateAbsent, "absent", func() attester.Description { d := ak; d.Binding = attester.BindNonce; return d }(), "vtpm", nil, "", "", warning, unbound},
		{binding.KindAttestedKey, stateForged, "forged", ak, "vtpm", nil, attester.KindTDX, weak, warning, feeble},

		{binding.KindLeadSignature, stateBound, "bound", signed, "gpu/0", nil, "", app, ok, verdict.ReasonApplicationBound},
		{binding.KindLeadSignature, stateBound, "of Nitro", nitro, "gpu/0", nil, "", app, ok, verdict.ReasonApplicationBound},
		{binding.KindLeadSignature, stateBroken, "a foreign GPU", signed, "gpu/0", fault("gpu/0", attester.ForeignMachine), "", bad, worst, broken},
		{binding.KindLeadSignature, stateBroken, "another session", signed, "gpu/0", fault("gpu/0", attester.Relayed), "", bad, worst, broken},
		{binding.KindLeadSignature, stateBroken, "a foreign CPU", signed, "gpu/0", fault("cpu", attester.ForeignMachine), "", bad, worst, broken},
		{binding.KindLeadSignature, stateAbsent, "absent", signed, "gpu/0", fault("cpu", attester.Unbound), "", none, warning, unbound},
		{binding.KindLeadSignature, stateAbsent, "a foreign GPU beside Nitro, which does not say what its key is for", nitro, "gpu/0", fault("gpu/0", attester.ForeignMachine), "", none, warning, unbound},
		{binding.KindLeadSignature, stateForged, "forged", signed, "gpu/0", nil, attester.KindTDX, weak, warning, feeble},

		{binding.KindMeasuredEvent, stateBound, "bound", event, "gpu/0", nil, "", measured, ok, ""},
		{binding.KindMeasuredEvent, stateBroken, "a foreign GPU", event, "gpu/0", fault("gpu/0", attester.ForeignMachine), "", bad, worst, broken},
		{binding.KindMeasuredEvent, stateBroken, "another session", event, "gpu/0", fault("gpu/0", attester.Relayed), "", bad, worst, broken},
		{binding.KindMeasuredEvent, stateAbsent, "absent", event, "gpu/0", fault("cpu", attester.Unbound), "", "", warning, unbound},
		{binding.KindMeasuredEvent, stateForged, "forged", event, "gpu/0", nil, attester.KindTDX, "bound nonce measured", warning, feeble},

		{binding.KindTSM, stateBound, "bound", devices, "nic/0", nil, "", measured, ok, ""},
		{binding.KindTSM, stateBroken, "another interface", devices, "nic/0", fault("nic/0", attester.ReportSwapped), "", bad, worst, broken},
		{binding.KindTSM, stateAbsent, "absent", arm, "nic/0", nil, "", none, warning, unbound},
		{binding.KindTSM, stateForged, "forged", devices, "nic/0", nil, attester.KindTDX, "bound nonce measured", warning, feeble},

		{binding.KindInterconnect, stateBound, "bound", board, "gpu/7", nil, "", "bound strong hardware", ok, ""},
		{binding.KindInterconnect, stateBroken, "another board", board, "gpu/7", fault("gpu/7", attester.ForeignLinks), "", bad + " hardware", worst, broken},
		{binding.KindInterconnect, stateAbsent, "absent", board, "gpu/7", fault("gpu/7", attester.WrongSigner), "", "", worst, ""},
		{binding.KindInterconnect, stateForged, "software plays no part", board, "gpu/7", nil, attester.KindTDX, "bound strong hardware", warning, feeble},

		{binding.KindIdentity, stateAbsent, "absent", board, "gpu/7", nil, "", "", ok, ""},
		{binding.KindIdentity, stateBroken, "one GPU twice", board, "gpu/7", fault("gpu/6", attester.Duplicate), "", bad, worst, verdict.ReasonDuplicateIdentity},
	}
}

// TestEveryBindingOfMachines: every check on simulated machines, as it should be,
// contradicted, missing, and written by software that nobody knows.
func TestEveryBindingOfMachines(t *testing.T) {
	leisurely(t)
	for _, c := range machineBindings() {
		t.Run(c.kind+", "+c.what, func(t *testing.T) {
			m := simulated(t, c.d, nil, c.faults...)
			label := c.label
			var topology []string
			for _, p := range m.Parts() {
				topology = append(topology, string(p.Label))
				if label == "" && p.Kind == attester.KindGPU {
					label = p.Label
				}
			}
			deps, lead := filesOf(t, m, func(string) bool { return true })
			res, err := judgeTold(t, deps, referencesWithout(t, m, c.unknown), lead, true).appraise(t, evidenceOf(t, m, attester.CBOR), "lead("+strings.Join(topology, ", ")+")")
			must(t, err)
			if got := bindingTo(res, label, c.kind); got != c.edge {
				t.Errorf("edge %q, expected %q", got, c.edge)
			}
			if codes := reasonCodes(res.Outcome.Reasons); res.Outcome.Tier != c.tier || !strings.Contains(codes, c.code) {
				t.Errorf("%s, expected %s with %q: %v", res.Outcome.Tier, c.tier, c.code, res.Outcome.Reasons)
			}
			checkValues(t, res, theEdge(res, label, c.kind))
		})
	}
}

// checkValues: an edge says what was compared, and one that is broken names two
// values, as the reason does.
func checkValues(t *testing.T, res *verdict.Result, e *verdict.Binding) {
	t.Helper()
	switch {
	case e == nil:
		return
	case e.Compared == "", e.Status == binding.StatusBound && (e.Expected == "" || e.Expected != e.Observed):
		t.Errorf("%+v", e)
	case e.Status == binding.StatusBroken:
		named := func(r verdict.Reason) bool { return r.Expected != "" && r.Observed == e.Observed && r.Source != "" }
		if e.Expected == "" || e.Observed == "" || e.Expected == e.Observed || !slices.ContainsFunc(res.Outcome.Reasons, named) {
			t.Errorf("%+v: %v", e, res.Outcome.Reasons)
		}
	}
}

// composed is a composite of leaves that no machine put together.
func composed(t testing.TB, leaves map[string]attester.Leaf) []byte {
	t.Helper()
	var entries []evidence.Entry
	for _, label := range slices.Sorted(maps.Keys(leaves)) {
		l := leaves[label]
		entries = append(entries, evidence.Entry{Label: label, Item: evidence.Record(l.Type, l.Value, evidence.IndEvidence)})
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection(attester.PlainCollection, entries...))
	must(t, err)
	return raw
}

// platformBinding is a TD beside another one, which runs on that platform with that
// image.
type platformBinding struct {
	state, what     string
	platform, image string
	stranger        bool // whose certificates nobody trusts
	edge            string
	code            string // "!": not this one
	tier            verdict.Tier
}

func platformBindings() []platformBinding {
	const another = "another image"
	loose, twice := verdict.ReasonUnboundComponent, verdict.ReasonDuplicateIdentity
	return []platformBinding{
		{stateBound, "one platform", "one", another, false, "bound strong hardware", "!" + loose, verdict.TierWarning}, // no reference values
		{stateAbsent, "two platforms", "two", another, false, "absent none", loose, verdict.TierWarning},
		{stateAbsent, "one TD twice", "one", "image", false, "absent none", twice, verdict.TierContraindicated},
		{stateForged, "a platform that a program made up", "one", another, true, "", loose, verdict.TierContraindicated},
	}
}

// Two TDs on one platform are parts of one machine; those of two platforms are not,
// and a TD that answers twice is refused. (Simulated enclaves have platforms of
// their own: an enclave beside a TD is in the tests of package binding.)
func TestTwoTEEsOfOnePlatform(t *testing.T) {
	td := func(vendor, platform, image string) *inteltdx.Device {
		mrtd := sha512.Sum384([]byte(image))
		d, err := inteltdx.New(inteltdx.Options{Vendor: pki.NewSeed(vendor), Device: pki.NewSeed(platform), Now: machineTime, MRTD: mrtd[:]})
		must(t, err)
		return d
	}
	one := td("vendor", "one", "image")
	bundle, files := verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{"intel-tdx": {one.Root()}}}, map[string][]byte{}
	for _, c := range platformBindings() {
		vendor := "vendor"
		if c.stranger {
			vendor = "stranger"
		}
		leaf := func(d *inteltdx.Device) attester.Leaf {
			raw, err := d.Evidence(sha3.SumSHAKE256(machineNonce, 64))
			must(t, err)
			of, err := d.Endorsements()
			must(t, err)
			maps.Copy(files, of)
			mt, err := evidence.ParseMediaType(inteltdx.TypeQuote)
			must(t, err)
			return attester.Leaf{Type: mt, Value: raw}
		}
		raw := composed(t, map[string]attester.Leaf{"a": leaf(one), "b": leaf(td(vendor, c.platform, c.image))})
		var err error
		bundle.Endorsements, err = load(files)
		must(t, err)
		res, err := judgeTold(t, bundle, nil, nil, true).appraise(t, raw, "lead(a, b)")
		must(t, err)
		if got := bindingTo(res, "b", binding.KindPlatform); got != c.edge {
			t.Errorf("%s: edge %q", c.what, got)
		}
		code := strings.TrimPrefix(c.code, "!")
		if res.Outcome.Tier != c.tier || strings.Contains(reasonCodes(res.Outcome.Reasons), code) == strings.HasPrefix(c.code, "!") {
			t.Errorf("%s: %s %v", c.what, res.Outcome.Tier, res.Outcome.Reasons)
		}
	}
}

// chainBinding is a slot of an SPDM device beside that of another one or the same.
type chainBinding struct {
	state, what string
	device      string
	wrongSigner bool // with a key that its chain does not have
	edge        string
}

func chainBindings() []chainBinding {
	return []chainBinding{
		{stateBound, "one device", "alias one", false, "bound strong hardware"},
		{stateAbsent, "two devices", "alias two", false, ""},
		{stateForged, "a chain with the key of a program", "alias one", true, ""},
	}
}

// Two slots of one SPDM device with alias certificates are layers of one device, by
// the key of the device; slots of two devices are not.
func TestLayersOfOneDevice(t *testing.T) {
	device := func(seed string, wrongSigner bool) *spdm.Device {
		d, err := spdm.New(spdm.Options{
			Version: spdm.Version13, Alias: true, MultiKey: true, Slots: []uint8{0, 3}, WrongSigner: wrongSigner,
			Vendor: pki.NewSeed("alias vendor"), Device: pki.NewSeed(seed), Now: machineTime,
		})
		must(t, err)
		return d
	}
	one := device("alias one", false)
	mt, err := evidence.ParseMediaType(spdm.MediaType)
	must(t, err)
	leaf := func(d *spdm.Device) attester.Leaf {
		raw, err := d.Evidence(machineNonce)
		must(t, err)
		return attester.Leaf{Type: mt, Value: raw}
	}
	files := map[string][]byte{}
	for i, d := range []*spdm.Device{one, device("alias two", false)} {
		of, err := d.Endorsements()
		must(t, err)
		for name, raw := range of {
			files[fmt.Sprint(i, name)] = raw
		}
	}
	bundle, err := load(files)
	must(t, err)
	deps := verifiers.Deps{Endorsements: bundle, ExtraRoots: map[string][]*x509.Certificate{core.Name: {one.Root()}}}
	for _, c := range chainBindings() {
		res, err := judgeTold(t, deps, nil, nil, true).appraise(t, composed(t, map[string]attester.Leaf{"a": leaf(one), "b": leaf(device(c.device, c.wrongSigner))}), "lead(a, b)")
		must(t, err)
		if keys := factsOf(t, res, "a").Facts.ChainKeys; len(keys) != 1 {
			t.Errorf("%s: keys of the chain %v: %v", c.what, keys, factsOf(t, res, "a").Reasons)
		}
		if got := bindingTo(res, "a", binding.KindKeyChain); got != c.edge {
			t.Errorf("%s: edge %q", c.what, got)
		}
	}
}

// TestKeyOfTheMachinesTPM: where the operator of the verifier relies on the CPU for
// the key of a TPM whose certificate nobody trusts, the TPM is good if the software of
// the CPU, which is known, commits to that key, and in no other case. (The report of
// that CPU holds no challenge, so the whole is a warning all the same.)
func TestKeyOfTheMachinesTPM(t *testing.T) {
	set, err := all.Set()
	must(t, err)
	sc, _ := set.Lookup("tcg-tpm")
	relies, err := sc.Policy.Parse([]byte("scheme: tcg-tpm\nfindings: {key-not-vouched-for: {instance-identity: 2}, key-unknown-root: {instance-identity: 2}}\n"))
	must(t, err)
	for _, c := range []struct {
		name, binding string
		faults        []attester.Fault
		unknown       attester.Kind
		tier, whole   verdict.Tier
	}{
		{"committed to", attester.BindAK, nil, "", verdict.TierAffirming, verdict.TierWarning},
		{"by software that nobody knows", attester.BindAK, nil, attester.KindTDX, verdict.TierWarning, verdict.TierWarning},
		{"of another machine", attester.BindAK, []attester.Fault{{Label: "vtpm", Kind: attester.ForeignMachine}}, "", verdict.TierWarning, verdict.TierContraindicated},
		{"its evidence is committed to", attester.BindCommitment, nil, "", verdict.TierWarning, verdict.TierWarning},
		{"nonces", attester.BindNonce, nil, "", verdict.TierWarning, verdict.TierWarning},
	} {
		d := attester.Description{Name: "key-" + c.binding, Binding: c.binding}
		d.VTPM.Key = "p256"
		m := simulated(t, d, nil, c.faults...)
		deps, lead := filesOf(t, m, func(string) bool { return true })
		deps.Policies = map[string]*appraisal.Policy{"tcg-tpm": relies}
		delete(deps.ExtraRoots, "tcg-tpm")
		res, err := judgeTold(t, deps, referencesWithout(t, m, c.unknown), lead, true).appraise(t, evidenceOf(t, m, attester.CBOR), "lead")
		must(t, err)
		i := slices.IndexFunc(res.Components, func(p verdict.Component) bool { return p.Label == "vtpm" })
		p := res.Components[i]
		if p.Tier() != c.tier || res.Outcome.Tier != c.whole {
			t.Errorf("%s: %s in %s: %v %v %v", c.name, p.Tier(), res.Outcome.Tier, p.Reasons, p.Partial.Appraisal().Reasons, res.Outcome.Reasons)
		}
	}
}
