// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

var (
	machineTime  = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	machineNonce = []byte("0123456789abcdef0123456789abcdef")
)

// judge is a lead with all schemes in its own process, at the machine's time.
type judge struct {
	lead    *orchestrator.Orchestrator
	anchors *trust.Anchors
	schemes *verifiers.Set
	// simulated: the lead was told so. Nobody else was.
	simulated bool
}

// newJudge trusts the roots and uses the endorsements of a machine, or those of
// nobody. more are further keys that may sign composites.
func newJudge(t testing.TB, m *attester.Machine, trusted bool, more ...crypto.PublicKey) *judge {
	t.Helper()
	return judgeWith(t, m, trusted, nil, more...)
}

// judgeWith is newJudge with reference values, nil for none.
func judgeWith(t testing.TB, m *attester.Machine, trusted bool, x *corim.Index, more ...crypto.PublicKey) *judge {
	t.Helper()
	if !trusted {
		return judgeOf(t, verifiers.Deps{}, x, nil)
	}
	deps, lead := filesOf(t, m, func(string) bool { return true })
	return judgeOf(t, deps, x, append(more, lead...))
}

// filesOf is what a machine comes with: its roots and the endorsements among which
// its name chooses, and the keys that sign its composites.
func filesOf(t testing.TB, m *attester.Machine, chosen func(file string) bool) (verifiers.Deps, leadKeys) {
	t.Helper()
	raw, err := m.Trust()
	must(t, err)
	roots, err := trust.ParseRoots(raw)
	must(t, err)
	files, err := m.Endorsements()
	must(t, err)
	maps.DeleteFunc(files, func(name string, _ []byte) bool { return !chosen(name) })
	bundle, err := load(files)
	must(t, err)
	return verifiers.Deps{ExtraRoots: roots.Schemes, Endorsements: bundle}, roots.Attesters.Attesters(machineTime)
}

// judgeOf is a judge with everything that its verifiers have been given.
func judgeOf(t testing.TB, deps verifiers.Deps, x *corim.Index, keys leadKeys) *judge {
	t.Helper()
	return judgeTold(t, deps, x, keys, false)
}

// judgeTold is judgeOf with a lead that was told whether machines are simulated.
func judgeTold(t testing.TB, deps verifiers.Deps, x *corim.Index, keys leadKeys, simulated bool) *judge {
	t.Helper()
	set, err := all.Set()
	must(t, err)
	clock := func() time.Time { return machineTime }
	signers := map[string]*trust.Signer{}
	var results []trust.Key
	for _, sc := range set.Schemes() {
		signers[sc.Name], err = trust.GenerateSigner(trust.ES256, rand.Reader)
		must(t, err)
		results = append(results, signers[sc.Name].Key(sc.Name, []string{sc.Name}, trust.RoleVerifier))
	}
	lead, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	must(t, err)
	anchors, err := trust.NewAnchors(append(results, lead.Key("lead", nil, trust.RoleLead))...)
	must(t, err)
	id := verdict.Identity{Developer: "https://example.com", Build: "test"}
	no := verifiers.NodeOptions{Set: set, Deps: deps, Identity: id, Signers: signers, Clock: clock}
	if x != nil {
		no.References = book{x}
	}
	node, err := verifiers.NewNode(no)
	must(t, err)
	o := orchestrator.Options{
		Schemes: set, Appraiser: verifiers.Local{Node: node}, Anchors: anchors, Signer: lead, Identity: id, Clock: clock, Rand: rand.Reader, Simulated: simulated,
		Route: func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} },
	}
	if keys != nil {
		o.LeadKeys = keys
	}
	orch, err := orchestrator.New(o)
	must(t, err)
	return &judge{orch, anchors, set, simulated}
}

// leadKeys may sign composites.
type leadKeys []crypto.PublicKey

// VerificationKeys implements evidence.KeyFinder.
func (k leadKeys) VerificationKeys([]byte, string) []crypto.PublicKey { return k }

// load reads endorsements as from a folder.
func load(files map[string][]byte) (*endorsements.Bundle, error) {
	dir := fstest.MapFS{}
	for name, raw := range files {
		dir[name] = &fstest.MapFile{Data: raw, Mode: fs.FileMode(0o644)}
	}
	b, _, err := endorsements.Load(dir)
	return b, err
}

func (j *judge) appraise(t testing.TB, raw []byte, topology string) (*verdict.Result, error) {
	t.Helper()
	e, err := topologies.Parse(topology)
	must(t, err)
	res, err := j.lead.Appraise(context.Background(), orchestrator.Request{Evidence: raw, Nonce: machineNonce, Topology: &e})
	if err != nil {
		return nil, err
	}
	// What the lead says, a relying party can repeat.
	checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: machineTime}, j.anchors)
	must(t, err)
	err = orchestrator.Recheck(checked, j.schemes)
	if j.simulated && res.Outcome.Tier == verdict.TierAffirming {
		if err == nil {
			t.Error("a relying party believes that a simulated machine is affirming")
		}
		return res, nil
	}
	must(t, err)
	return res, nil
}

// sharedVendors are the authorities of simulated machines for which it does not
// matter whose they are: AMD's keys take seconds to make.
var sharedVendors = sync.OnceValue(func() *attester.Vendors { return attester.NewVendors("", machineTime) })

// simulated makes a machine; vendors are the shared ones if nil.
func simulated(t testing.TB, d attester.Description, vendors *attester.Vendors, faults ...attester.Fault) *attester.Machine {
	t.Helper()
	if vendors == nil {
		vendors = sharedVendors()
	}
	m, err := attester.New(attester.Options{Machine: d, Now: machineTime, Faults: faults, Vendors: vendors})
	must(t, err)
	return m
}

func evidenceOf(t testing.TB, m *attester.Machine, f attester.Format) []byte {
	t.Helper()
	raw, _, err := m.Evidence(machineNonce, f)
	must(t, err)
	return raw
}

func reasonCodes(list []verdict.Reason, without ...string) string {
	var out []string
	for _, r := range list {
		if !slices.Contains(without, r.Code) {
			out = append(out, r.Code)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// Without its roots a simulated machine is nobody: every component that has a
// scheme is contraindicated for its root, or where there is no root, as for Arm's
// tokens, for want of a key that anybody states.
func TestSimulatedEvidenceIsRefusedByDefault(t *testing.T) {
	for _, name := range attester.BuiltIns() {
		d, _ := attester.BuiltIn(name)
		m := simulated(t, d, nil)
		res, err := newJudge(t, m, false).appraise(t, evidenceOf(t, m, attester.CBOR), "lead")
		must(t, err)
		if res.Outcome.Tier != verdict.TierContraindicated {
			t.Errorf("%s: %s", name, res.Outcome.Tier)
		}
		for _, c := range res.Components {
			want := verdict.ReasonUnknownRoot
			switch c.Scheme {
			case "":
				want = verdict.ReasonNoVerifier
			case "arm-cca":
				want = verdict.ReasonNoCollateral
			}
			var got []verdict.Reason
			if !c.Partial.IsZero() {
				got = c.Partial.Appraisal().Reasons
			}
			if !strings.Contains(reasonCodes(append(got, c.Reasons...)), want) {
				t.Errorf("%s: %s: %v %v", name, c.Label, got, c.Reasons)
			}
		}
	}
}

// Without reference values the best honest verdict is a warning that says why:
// nothing knows the software, so the commitment of the CPU is worth no more than
// a nonce. Of Arm's platforms the key is given. NVIDIA's parts come with their
// manifests and are affirming; whether memory is encrypted nobody asserts of a
// Hopper.
func TestHonestMachine(t *testing.T) {
	for _, name := range attester.BuiltIns() {
		d, _ := attester.BuiltIn(name)
		m := simulated(t, d, nil)
		j := judgeWith(t, m, true, statedKeys(t, m))
		for _, f := range attester.Formats() {
			res, err := j.appraise(t, evidenceOf(t, m, f), "lead")
			must(t, err)
			want := verdict.TierWarning
			if res.Outcome.Tier != want {
				t.Errorf("%s %s: %s %v", name, f, res.Outcome.Tier, res.Outcome.Reasons)
			}
			for _, c := range res.Components {
				if c.Partial.IsZero() {
					continue
				}
				want := verdict.TierWarning
				if strings.HasPrefix(c.Scheme, "nvidia-") {
					want = verdict.TierAffirming
				}
				if a := c.Partial.Appraisal(); a.Freshness != verdict.FreshnessFresh || c.Tier() != want {
					t.Errorf("%s %s: %s is %s and %s: %v", name, f, c.Label, c.Tier(), a.Freshness, a.Reasons)
				}
			}
			for _, b := range res.Bindings {
				if b.Status != "bound" && f != attester.RatsdJSON && f != attester.RatsdV2 && !strings.HasPrefix(string(b.From), "nic/") {
					t.Errorf("%s %s: %+v", name, f, b)
				}
			}
		}
	}
}

// A composite that is signed by another key than the CPU committed to is not
// that of this machine, even where the other key may sign composites.
func TestLeadSignatureIsPartOfTheCommitment(t *testing.T) {
	d, _ := attester.BuiltIn("cpu-gpu")
	m := simulated(t, d, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	j := newJudge(t, m, true, key.Public())
	for raw, want := range map[string]verdict.Tier{
		string(evidenceOf(t, m, attester.COSE)): verdict.TierWarning,
		// committed to no signer
		string(signCOSE(t, evidenceOf(t, m, attester.CBOR), key)): verdict.TierContraindicated,
	} {
		res, err := j.appraise(t, []byte(raw), "lead")
		must(t, err)
		if res.Outcome.Tier != want || (want == verdict.TierContraindicated) != strings.Contains(reasonCodes(res.Outcome.Reasons), verdict.ReasonBindingBroken) {
			t.Errorf("%s, want %s: %v", res.Outcome.Tier, want, res.Outcome.Reasons)
		}
	}
}

func signCOSE(t testing.TB, payload []byte, key crypto.Signer) []byte {
	t.Helper()
	raw, err := evidence.SignCOSE(rand.Reader, payload, key, evidence.SignOptions{})
	must(t, err)
	return raw
}

// faultRow is one line of docs/faults.md.
type faultRow struct {
	fault     attester.FaultKind
	kind      attester.Kind
	component string // tier and reasons of the part itself
	verdict   string // tier and reasons of the whole, and of parts that nobody named
	edges     string // what binds it
}

// faultMachines have every kind of part between them. A GPU by itself is a
// Blackwell; Hoppers are on a board. Parts of a board are whole boards, as NVIDIA builds them.
func faultMachines() []attester.Description {
	return []attester.Description{
		{Name: "faults-intel", GPUs: attester.GPUs{Count: 1, Kind: "blackwell"}},
		{Name: "faults", GPUs: attester.GPUs{Count: 8}, Switches: attester.Set{Count: 4}},
		{Name: "faults-devices", Devices: attester.Devices{Count: 2, TDISP: true}, VTPM: attester.VTPM{Key: "p256"}},
		{Name: "faults-amd", CPU: attester.CPU{Kind: string(attester.KindSNP)}, GPUs: attester.GPUs{Count: 1, Kind: "blackwell"}},
		{Name: "faults-arm", CPU: attester.CPU{Kind: string(attester.KindCCA)}, PSA: attester.Set{Count: 2}},
		{Name: "faults-sgx", CPU: attester.CPU{Kind: string(attester.KindSGX)}, GPUs: attester.GPUs{Count: 1, Kind: "blackwell"}},
		{Name: "faults-nitro", CPU: attester.CPU{Kind: string(attester.KindNitro)}, GPUs: attester.GPUs{Count: 1, Kind: "blackwell"}},
	}
}

// lastOfKind are the parts to break, the last of each kind.
func lastOfKind(parts []attester.Part) []attester.Part {
	var out []attester.Part
	for i, p := range parts {
		if !slices.ContainsFunc(parts[i+1:], func(q attester.Part) bool { return q.Kind == p.Kind }) {
			out = append(out, p)
		}
	}
	return out
}

// TestFaultTable runs every fault of every kind of part and compares what comes
// out with what is expected, and with docs/faults.md. Run it with UPDATE_DOCS=1
// to write the file.
func TestFaultTable(t *testing.T) {
	leisurely(t)
	vendors := sharedVendors()
	var rows []faultRow
	seen := map[attester.Kind]bool{}
	for _, d := range faultMachines() {
		honest := simulated(t, d, vendors)
		var topology []string
		for _, p := range honest.Parts() {
			topology = append(topology, string(p.Label))
		}
		expr := "lead(" + strings.Join(topology, ", ") + ")"
		for _, p := range lastOfKind(honest.Parts()) {
			if seen[p.Kind] || p.Kind == attester.KindGPU && d.Switches.Count == 0 { // that of a board is next
				continue
			}
			seen[p.Kind] = true
			rows = append(rows, runFault(t, d, vendors, p, "", expr))
			for _, f := range attester.FaultKinds() {
				if attester.Applies(f, p.Kind) {
					rows = append(rows, runFault(t, d, vendors, p, f, expr))
				}
			}
		}
	}
	for _, r := range rows {
		if want, ok := expected(r.fault, r.kind); !ok || !want.matches(r) {
			t.Errorf("%s × %s: component %q, verdict %q, edges %q, want %+v", r.fault, r.kind, r.component, r.verdict, r.edges, want)
		}
	}
	compareDoc(t, rows)
}

func runFault(t *testing.T, d attester.Description, vendors *attester.Vendors, p attester.Part, f attester.FaultKind, expr string) faultRow {
	t.Helper()
	var faults []attester.Fault
	if f != "" {
		faults = append(faults, attester.Fault{Label: p.Label, Kind: f})
	}
	m := simulated(t, d, vendors, faults...)
	raw, delay, err := m.Evidence(machineNonce, attester.CBOR)
	must(t, err)
	if (f == attester.Slow) != (delay > 0) {
		t.Errorf("%s: delay %s", f, delay)
	}
	row := faultRow{fault: f, kind: p.Kind}
	deps, lead := filesOf(t, m, func(string) bool { return true })
	res, err := judgeTold(t, deps, referencesWithout(t, m, attester.KindGPU, attester.KindSwitch), lead, true).appraise(t, raw, expr)
	if err != nil {
		var malformed *evidence.Error
		if !errors.As(err, &malformed) {
			t.Fatal(err)
		}
		row.component, row.verdict = "–", "message refused: "+malformed.Rule
		return row
	}
	row.verdict = describe(res.Outcome.Tier, reasonCodes(res.Outcome.Reasons, verdict.ReasonComponentTier, verdict.ReasonExtraRoots))
	for _, c := range res.Components {
		list := slices.Clone(c.Reasons)
		if !c.Partial.IsZero() {
			list = append(list, c.Partial.Appraisal().Reasons...)
		}
		text := describe(c.Tier(), reasonCodes(list, verdict.ReasonExtraRoots))
		switch {
		case c.Label == p.Label:
			row.component = text
		case !strings.Contains(expr, string(c.Label)+",") && !strings.Contains(expr, string(c.Label)+")"):
			row.verdict += "; " + string(c.Label) + " is " + text
		}
	}
	row.edges = edgesOf(res, p)
	return row
}

// edgesOf are the edges of a part, of the CPU all.
func edgesOf(res *verdict.Result, p attester.Part) string {
	var out []string
	for _, b := range res.Bindings {
		if b.From == p.Label || b.To == p.Label {
			out = append(out, b.Kind+" "+b.Status)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func describe(t verdict.Tier, codes string) string {
	if codes == "" {
		return t.String()
	}
	return t.String() + ": " + codes
}

// compareDoc holds docs/faults.md to the rows.
func compareDoc(t *testing.T, rows []faultRow) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(faultsHead)
	for _, r := range rows {
		fault := string(r.fault)
		if fault == "" {
			fault = "(honest)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.kind, fault, r.component, r.verdict, r.edges)
	}
	file := filepath.Join("..", "docs", "faults.md")
	if os.Getenv("UPDATE_DOCS") != "" {
		must(t, os.WriteFile(file, b.Bytes(), 0o644))
		return
	}
	have, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/faults.md is not what happens: run UPDATE_DOCS=1 go test ./integration -run TestFaultTable")
	}
}
