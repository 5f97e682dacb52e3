// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/trust"
)

// A key that is published to check reference values can sign nothing else, where
// somebody takes its set for one of leads, verifiers or attesters.
func TestPublicSetOfAuthor(t *testing.T) {
	s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := publicSet(s.Key("ACME", nil, trust.RoleAuthor))
	if err != nil {
		t.Fatal(err)
	}
	set, err := trust.ParseJWKS(raw)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	_, lead := set.Lead(s.KID(), now)
	_, verifier := set.Verifier(s.KID(), "intel-tdx", now)
	if lead || verifier || len(set.Attesters(now)) > 0 {
		t.Errorf("lead %t, verifier %t, %d attesters", lead, verifier, len(set.Attesters(now)))
	}
	file := `{"kind":"assize-corim-trust","authorities":[{"name":"ACME","profiles":["*"],"scopes":[{"vendor":"ACME"}],"keys":` + string(raw) + `}]}`
	if _, err := corim.ParseTrust([]byte(file)); err != nil {
		t.Error(err)
	}
}
