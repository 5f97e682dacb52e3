// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// TestOwnersAreUsedUp: a site that was asked once brings one result, however many
// keys its verifiers have.
func TestOwnersAreUsedUp(t *testing.T) {
	now, digest, request := time.Now(), sha256.Sum256([]byte("evidence")), "00112233445566778899aabbccddeeff"
	want := verdict.Expect{
		Label: "b", Scheme: "dev", Request: request, Nonce: []byte(testNonce), NonceRule: "same",
		Evidence: digest, MediaType: "application/vnd.test.dev",
	}
	var keys []trust.Key
	var tokens [][]byte
	for range 2 {
		s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
		check(t, err)
		token, err := verdict.SignPartial(s, verdict.Issue{
			Verifier: verdict.Identity{Developer: "https://test.example", Build: "test"}, Label: want.Label, Scheme: want.Scheme,
			MediaType: want.MediaType, Request: request, Nonce: want.Nonce, NonceRule: want.NonceRule, Evidence: digest,
			IssuedAt: now, Expires: now.Add(time.Minute),
		}, verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: want.Nonce})
		check(t, err)
		keys, tokens = append(keys, s.Key("v", []string{"dev"}, trust.RoleVerifier)), append(tokens, token)
	}
	site := mustAnchors(t, keys...)
	for asked, ok := range map[int]bool{1: false, 2: true} {
		own := make(owners, asked)
		for i := range own {
			own[i] = site
		}
		if _, err := own.verify(tokens[0], want, verdict.Intake{Now: now}); err != nil {
			t.Fatal(err)
		}
		if _, err := own.verify(tokens[1], want, verdict.Intake{Now: now}); (err == nil) != ok {
			t.Errorf("asked %d times, the second result: %v", asked, err)
		}
	}
}
