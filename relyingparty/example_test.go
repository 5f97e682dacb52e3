// SPDX-License-Identifier: Apache-2.0

package relyingparty_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/assize/assize/policy"
	"github.com/assize/assize/relyingparty"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
)

// A relying party asks for its nonce, with the keys that the verifier publishes.
func ExampleCheck() {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	nonce := []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	token, jwks := fetch(nonce, now)
	schemes, err := all.Set()
	if err != nil {
		fmt.Println(err)
		return
	}

	v, err := relyingparty.Check(context.Background(), token, relyingparty.Options{
		JWKS: jwks, Schemes: schemes, Nonce: nonce, Now: now,
	})
	if err != nil {
		fmt.Println("not to be believed:", err)
		return
	}
	fmt.Println(v.Tier, v.Accepted)

	_, err = relyingparty.Check(context.Background(), token, relyingparty.Options{
		JWKS: jwks, Schemes: schemes, Nonce: []byte("another challenge"), Now: now,
	})
	fmt.Println(err)
	// Output:
	// affirming true
	// relyingparty: nonce-mismatch: the verdict is for another session nonce
}

// A relying party has a policy of its own, and says what has to be there. What the
// lead was content with does not matter then.
func ExampleCheck_policy() {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	nonce := []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	token, jwks := fetch(nonce, now)
	schemes, err := all.Set()
	if err != nil {
		fmt.Println(err)
		return
	}
	own, err := policy.Load("own", []byte(`package assize

composite contains {"tier": "warning", "detail": "we rent machines with a GPU"} if not input.components["gpu/0"]
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	eight := 8

	v, err := relyingparty.Check(context.Background(), token, relyingparty.Options{
		JWKS: jwks, Schemes: schemes, Nonce: nonce, Now: now, Policy: own,
		Require: []verdict.Requirement{{Label: "cpu"}, {Label: "gpu/*", Scheme: "nvidia-gpu", Exactly: &eight}},
	})
	if err != nil {
		fmt.Println("not to be believed:", err)
		return
	}
	fmt.Println("the lead says", v.Lead.Outcome.Tier, "- we say", v.Tier)
	for _, r := range v.Difference().Added {
		fmt.Println(r.Code+":", r.Detail)
	}
	// Output:
	// the lead says affirming - we say none
	// missing-component: wanted exactly 8 of gpu/* by nvidia-gpu (relying-party), there are 0
	// policy: we rent machines with a GPU
}

// fetch stands for the service that appraises: one TDX guest, of which everything is
// as it should be.
func fetch(nonce []byte, now time.Time) (token, jwks []byte) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	verifier, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	must(err)
	lead, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	must(err)
	anchors, err := trust.NewAnchors(verifier.Key("tdx", []string{"intel-tdx"}, trust.RoleVerifier), lead.Key("lead", nil, trust.RoleLead))
	must(err)
	id := verdict.Identity{Developer: "https://example.com", Build: "1.0.0"}
	cpu := verdict.Component{
		Label: "cpu", Scheme: "intel-tdx", MediaType: "application/vnd.veraison.tdx-quote", Class: verdict.ClassCPU, Required: true,
		Request: "00112233445566778899aabbccddeeff", Nonce: nonce, NonceRule: "same", Evidence: sha256.Sum256([]byte("a quote")),
	}
	found := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: nonce, Vector: verdict.AllClaims(verdict.ClaimApproved)}
	partial, err := verdict.SignPartial(verifier, verdict.Issue{
		Verifier: id, Label: cpu.Label, Scheme: cpu.Scheme, MediaType: cpu.MediaType, Request: cpu.Request,
		Nonce: nonce, NonceRule: cpu.NonceRule, Evidence: cpu.Evidence, IssuedAt: now,
	}, found)
	must(err)
	cpu.Partial, err = verdict.VerifyPartial(partial, verdict.Expect{
		Label: cpu.Label, Scheme: cpu.Scheme, MediaType: cpu.MediaType, Request: cpu.Request,
		Nonce: nonce, NonceRule: cpu.NonceRule, Evidence: cpu.Evidence,
	}, verdict.Intake{Now: now}, anchors)
	must(err)
	r := &verdict.Result{Verifier: id, Time: now, Topology: "lead(cpu)", Nonce: nonce, Components: []verdict.Component{cpu}}
	r.Outcome = verdict.Combine(r.Components, r.Caps)
	token, err = verdict.SignResult(lead, r, 0)
	must(err)
	jwks, err = anchors.JWKS()
	must(err)
	return token, jwks
}
