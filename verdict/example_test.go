// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// A lead signs what a verifier found out about a machine of one component, and
// whoever knows the two keys reads it.
func ExampleVerifyResult() {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	nonce := []byte("0123456789abcdef0123456789abcdef")
	token, anchors, err := signed(nonce, now)
	if err != nil {
		fmt.Println(err)
		return
	}

	r, err := verdict.VerifyResult(token, verdict.Intake{Now: now}, anchors)
	if err != nil {
		fmt.Println("not to be believed:", err)
		return
	}
	fmt.Println(r.Outcome.Tier, r.HasNonce(nonce))
	for _, c := range r.Components {
		fmt.Println(c.Label, c.Scheme, c.Tier(), c.Partial.Appraisal().Freshness)
	}

	_, err = verdict.VerifyResult(token, verdict.Intake{Now: now.Add(time.Hour)}, anchors)
	fmt.Println(err)
	// Output:
	// affirming true
	// cpu intel-tdx affirming fresh
	// verdict: aar-stale: issued at 2026-06-01T12:00:00Z, older than 2m30s
}

// signed is what a verifier and a lead do.
func signed(nonce []byte, now time.Time) ([]byte, *trust.Anchors, error) {
	verifier, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	lead, err := trust.GenerateSigner(trust.EdDSA, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	anchors, err := trust.NewAnchors(
		verifier.Key("TDX verifier", []string{"intel-tdx"}, trust.RoleVerifier),
		lead.Key("lead", nil, trust.RoleLead),
	)
	if err != nil {
		return nil, nil, err
	}
	id := verdict.Identity{Developer: "https://example.com", Build: "1.0.0"}
	found := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: nonce}
	found.Vector[verdict.Hardware] = verdict.ClaimApproved
	about := verdict.Component{
		Label: "cpu", Scheme: "intel-tdx", MediaType: "application/vnd.example.quote", Class: verdict.ClassCPU, Required: true,
		Request: "00112233445566778899aabbccddeeff", Nonce: nonce, NonceRule: "same", Evidence: sha256.Sum256([]byte("a quote")),
	}
	partial, err := verdict.SignPartial(verifier, verdict.Issue{
		Verifier: id, Label: about.Label, Scheme: about.Scheme, MediaType: about.MediaType, Request: about.Request,
		Nonce: about.Nonce, NonceRule: about.NonceRule, Evidence: about.Evidence, IssuedAt: now,
	}, found)
	if err != nil {
		return nil, nil, err
	}
	about.Partial, err = verdict.VerifyPartial(partial, verdict.Expect{
		Label: about.Label, Scheme: about.Scheme, MediaType: about.MediaType, Request: about.Request,
		Nonce: about.Nonce, NonceRule: about.NonceRule, Evidence: about.Evidence,
	}, verdict.Intake{Now: now}, anchors)
	if err != nil {
		return nil, nil, err
	}
	r := &verdict.Result{Verifier: id, Time: now, Topology: "lead(cpu)", Nonce: nonce, Components: []verdict.Component{about}}
	r.Outcome = verdict.Combine(r.Components, r.Caps)
	token, err := verdict.SignResult(lead, r, 0)
	return token, anchors, err
}
