// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

var (
	testTime  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	testNonce = []byte(strings.Repeat("n", 32))
)

// lab makes partial results that are really signed and verified.
type lab struct {
	tb      testing.TB
	signer  *trust.Signer
	anchors *trust.Anchors
}

var labSchemes = []string{"intel-tdx", "amd-snp", "aws-nitro", "dmtf-spdm", "nvidia-gpu", "nvidia-nvswitch", "tcg-tpm"}

func newLab(tb testing.TB) *lab {
	tb.Helper()
	l := &lab{tb: tb}
	var err error
	if l.signer, err = trust.GenerateSigner(trust.EdDSA, rand.Reader); err != nil {
		tb.Fatal(err)
	}
	if l.anchors, err = trust.NewAnchors(l.signer.Key("verifier", labSchemes, trust.RoleVerifier)); err != nil {
		tb.Fatal(err)
	}
	return l
}

// good is an appraisal that holds nothing against a component.
func good(scheme string) verdict.Appraisal {
	a := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: testNonce, PolicyID: "assize:" + scheme + ":1"}
	a.Vector[verdict.InstanceIdentity], a.Vector[verdict.Configuration] = 2, 2
	a.Vector[verdict.Executables], a.Vector[verdict.Hardware] = 2, 2
	a.Claims = map[string]any{}
	for n := range 60 {
		a.Claims[fmt.Sprintf("measurement-%02d", n)] = map[string]any{"index": n, "digest": strings.Repeat("5a", 48), "match": true}
	}
	switch scheme {
	case "nvidia-gpu", "nvidia-nvswitch":
		a.Claims[map[string]string{
			"nvidia-gpu": "x-nvidia-gpu-attestation-report-cert-chain", "nvidia-nvswitch": "x-nvidia-switch-attestation-report-cert-chain",
		}[scheme]] = map[string]any{"x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "good"}
	case "amd-snp", "dmtf-spdm":
		a.Claims["revocation"] = map[string]any{"checked": true}
	case "aws-nitro":
		a.Claims["revocation"] = map[string]any{"root": "not revoked"}
	}
	return a
}

// component is one that a verifier has appraised so.
func (l *lab) component(label, scheme string, a verdict.Appraisal) verdict.Component {
	l.tb.Helper()
	issue := verdict.Issue{
		Verifier: verdict.Identity{Developer: "https://example.com", Build: "cv 1.0"}, Label: evidence.Path(label), Scheme: scheme,
		MediaType: "application/vnd.example", Request: "r-" + label, Nonce: testNonce, NonceRule: "same",
		Evidence: sha256.Sum256([]byte(label)), IssuedAt: testTime, ReferenceRevision: strings.Repeat("ab", 32),
	}
	token, err := verdict.SignPartial(l.signer, issue, a)
	if err != nil {
		l.tb.Fatal(err)
	}
	p, err := verdict.VerifyPartial(token, verdict.Expect{
		Label: issue.Label, Scheme: scheme, Request: issue.Request, Nonce: testNonce, NonceRule: "same", Evidence: issue.Evidence, MediaType: issue.MediaType,
	}, verdict.Intake{Now: testTime}, l.anchors)
	if err != nil {
		l.tb.Fatal(err)
	}
	class := verdict.ClassDevice
	if scheme == "intel-tdx" || scheme == "amd-snp" || scheme == "aws-nitro" {
		class = verdict.ClassCPU
	}
	return verdict.Component{
		Label: issue.Label, Scheme: scheme, MediaType: issue.MediaType, Class: class, Required: true,
		Request: issue.Request, Nonce: testNonce, NonceRule: "same", Evidence: issue.Evidence, Partial: p,
	}
}

// small is a CPU with one GPU that hardware binds to it.
func (l *lab) small() *verdict.Result {
	r := &verdict.Result{
		Time: testTime, Session: "0123456789abcdef", Topology: "lead(cpu, gpu/*)", Nonce: testNonce, Node: "node-a",
		Components: []verdict.Component{l.component("cpu", "intel-tdx", good("intel-tdx")), l.component("gpu/0", "nvidia-gpu", good("nvidia-gpu"))},
		Bindings: []verdict.Binding{
			{From: "gpu/0", To: "cpu", Kind: "common-nonce", Strength: "nonce", Status: "bound"},
			{From: "gpu/0", To: "cpu", Kind: "tsm-digest", Strength: "strong", Status: "bound", Origin: verdict.OriginHardware},
		},
	}
	r.Outcome = verdict.Combine(r.Components, r.Caps)
	return r
}

// hgx is a CPU with a board of eight GPUs and four switches, each linked with
// every one of the others' kind.
func (l *lab) hgx() *verdict.Result {
	r := l.small()
	r.Topology = "lead(cpu, gpu/*, nvswitch/*)"
	board := verdict.Interconnect{Tier: verdict.TierAffirming, Configuration: verdict.ClaimApprovedBoot}
	r.Components, r.Bindings = r.Components[:1], nil
	add := func(label, scheme string, list *[]evidence.Path) {
		r.Components = append(r.Components, l.component(label, scheme, good(scheme)))
		*list = append(*list, evidence.Path(label))
		r.Bindings = append(r.Bindings,
			verdict.Binding{From: evidence.Path(label), To: "cpu", Kind: "common-nonce", Strength: "nonce", Status: "bound"},
			verdict.Binding{From: evidence.Path(label), To: "cpu", Kind: "tsm-digest", Strength: "strong", Status: "bound", Origin: verdict.OriginHardware,
				Compared: "the digest of the certificates", Expected: strings.Repeat("ab", 48), Observed: strings.Repeat("ab", 48)},
		)
	}
	for n := range 8 {
		add(fmt.Sprint("gpu/", n), "nvidia-gpu", &board.Devices)
	}
	for n := range 4 {
		add(fmt.Sprint("nvswitch/", n), "nvidia-nvswitch", &board.Switches)
	}
	for _, gpu := range board.Devices {
		for _, sw := range board.Switches {
			r.Bindings = append(r.Bindings, verdict.Binding{From: gpu, To: sw, Kind: "interconnect", Strength: "strong", Status: "bound", Origin: verdict.OriginHardware})
		}
	}
	r.Interconnects = []verdict.Interconnect{board}
	r.Outcome = verdict.Combine(r.Components, r.Caps)
	return r
}

// judged is the tier of a result under a policy, and the policy's decision: what
// the orchestrator does with findings, and no more. Unbound components cap at
// warning unless the policy takes a common nonce.
func judged(tb testing.TB, p *Policy, r *verdict.Result) (verdict.Tier, Decision) {
	tb.Helper()
	again := *r
	again.Components = append([]verdict.Component{}, r.Components...)
	again.Requirements = append(append([]verdict.Requirement{}, r.Requirements...), p.Requirements()...)
	found, err := p.Components(tb.Context(), &again)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range found {
		for i := range again.Components {
			if c := &again.Components[i]; c.Label == f.Label {
				c.Lowered = c.Lowered.Lower(f.Lowered)
				c.Reasons = append(append([]verdict.Reason{}, c.Reasons...), verdict.Reason{Code: Code(f.Tier), Detail: f.Detail})
			}
		}
	}
	caps := append(append([]verdict.Cap{}, r.Caps...), verdict.Complete(again.Requirements, again.Components)...)
	statement := p.Statement()
	root, ok := rootOf(again.Components)
	for i, w := range ways(again.Components, again.Bindings, false) {
		if ok && i == root || w.strength == strengthStrong || w.strength == strengthNonce && statement.Relaxes(verdict.ReasonUnboundComponent) {
			continue
		}
		caps = append(caps, verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{Code: verdict.ReasonUnboundComponent, Detail: string(again.Components[i].Label)}})
	}
	again.Caps = caps
	again.Outcome = verdict.Combine(again.Components, again.Caps)
	d, err := p.Composite(tb.Context(), &again)
	if err != nil {
		tb.Fatal(err)
	}
	return verdict.Combine(again.Components, append(caps, d.Caps...)).Tier, d
}

func mustLibrary(tb testing.TB, name string) *Policy {
	tb.Helper()
	p, err := Library(name)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func mustLoad(tb testing.TB, text string) *Policy {
	tb.Helper()
	p, err := Load("test", []byte("package assize\n"+text))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
