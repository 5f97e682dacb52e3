// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// keyless is a verifier of TPMs that was told to rely on a CPU for their keys: the
// evidence names the key behind the challenge.
type keyless struct{}

func keyText(of string) string { return fmt.Sprintf("%064x", of) }

func (keyless) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	a, err := word{}.Appraise(ctx, in)
	_, key, _ := strings.Cut(string(in.Evidence), " ")
	for _, n := range []verdict.ClaimName{verdict.InstanceIdentity, verdict.Executables, verdict.Configuration} {
		a.Vector[n] = verdict.ClaimApproved
	}
	a.Facts.SignerSPKI, a.Facts.KeyRequired = keyText(key), true
	return a, err
}

// keyHolder is a CPU TEE that commits to keys: "known app:K".
type keyHolder struct{}

func (keyHolder) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	a, err := word{}.Appraise(ctx, in)
	f := strings.Fields(string(in.Evidence))
	a.Vector[verdict.Executables] = verdict.ClaimUnrecognized
	if f[1] == "known" {
		a.Vector[verdict.Executables] = verdict.ClaimApproved
	}
	for _, k := range f[2:] {
		a.Facts.Keys = append(a.Facts.Keys, verdict.CommittedKey{SPKI: keyText(k), Via: "runtime-data", Origin: verdict.OriginApplication})
	}
	return a, err
}

func keyWorld(t *testing.T, change func(*Options)) *world {
	tpm, cpu := testScheme("tcg-tpm", verifiers.ClassDevice), testScheme("holder", verifiers.ClassCPU)
	tpm.New = func(verifiers.Deps) (verifiers.Verifier, error) { return keyless{}, nil }
	cpu.New = func(verifiers.Deps) (verifiers.Verifier, error) { return keyHolder{}, nil }
	return newWorldOf(t, change, append(boundSchemes(), tpm, cpu)...)
}

// TestKeyNeedsTheCPU: a TPM for whose key nobody vouches is good exactly where known
// software of the CPU TEE commits to the key, whatever else binds it, in every form of
// the verdict, and a relying party comes to the same.
func TestKeyNeedsTheCPU(t *testing.T) {
	tpm := entry("tpm", "tcg-tpm", []byte(testNonce+" A"))
	accept, err := policy.Library("accept-nonce-binding")
	check(t, err)
	for _, c := range []struct {
		name             string
		evidence         []byte
		policy           Policy
		component, whole verdict.Tier
	}{
		{"committed to", composite(t, "cpu holder known A", "tpm tcg-tpm A"), nil, verdict.TierAffirming, verdict.TierAffirming},
		{"by software that nobody knows", composite(t, "cpu holder odd A", "tpm tcg-tpm A"), nil, verdict.TierWarning, verdict.TierWarning},
		{"of another machine", composite(t, "cpu holder known B", "tpm tcg-tpm A"), nil, verdict.TierWarning, verdict.TierContraindicated},
		{"the CPU is silent", composite(t, "cpu holder known", "tpm tcg-tpm A"), nil, verdict.TierWarning, verdict.TierWarning},
		{"the CPU is silent, and a policy takes nonces", composite(t, "cpu holder known", "tpm tcg-tpm A"), accept, verdict.TierWarning, verdict.TierWarning},
		{"the CPU commits to its evidence", bound(t, testNonce, []evidence.Entry{tpm}, []evidence.Entry{tpm}), nil, verdict.TierWarning, verdict.TierWarning},
		{"no CPU", composite(t, "tpm tcg-tpm A"), nil, verdict.TierWarning, verdict.TierWarning},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := keyWorld(t, func(o *Options) { o.Policy = c.policy })
			res := w.appraise(t, Request{Evidence: c.evidence, Nonce: []byte(testNonce)})
			got, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
			check(t, err)
			check(t, Recheck(got, w.options.Schemes))
			part := find(t, got, "tpm")
			if part.Tier() != c.component || got.Outcome.Tier != c.whole || told(part, verdict.ReasonKeyNotVouchedFor) != (c.component != verdict.TierAffirming) {
				t.Errorf("%s in %s: %v %v", part.Tier(), got.Outcome.Tier, part.Reasons, got.Outcome.Reasons)
			}
			want := map[string]int{"instance-identity": 2, "executables": 2, "configuration": 2, "hardware": 2}
			if c.component != verdict.TierAffirming {
				want = map[string]int{"instance-identity": 32, "executables": 33, "configuration": 36, "hardware": 2}
			}
			status, vector := flat(t, res.Token, "tpm")
			shown := got.Document().Components["tpm"].TrustVector
			for name, claim := range want {
				if vector[name] != claim || int(shown[name]) != claim || status != c.component.String() {
					t.Errorf("%s: %d and %d in %s, want %d", name, vector[name], shown[name], status, claim)
				}
			}
			own := Rejudge(context.Background(), got, w.options.Schemes, Rejudgement{Policy: accept})
			if tier := find(t, own, "tpm").Tier(); tier != c.component {
				t.Errorf("judged again: %s", tier)
			}
			if c.component == verdict.TierAffirming {
				return
			}
			lie, err := w.resign(t, got, func(r *verdict.Result) {
				for i := range r.Components {
					r.Components[i].Reasons = nil
				}
			})
			if err == nil {
				err = Recheck(lie, w.options.Schemes)
			}
			if err == nil {
				t.Error("a lead can keep silent about it")
			}
		})
	}
}

// TestCollectedKeys: who aggregates results needs nobody's word about a key.
func TestCollectedKeys(t *testing.T) {
	w := keyWorld(t, nil)
	both := w.appraise(t, Request{Evidence: composite(t, "cpu holder known A", "tpm tcg-tpm A"), Nonce: []byte(testNonce)})
	alone := w.appraiseAgain(t, composite(t, "tpm tcg-tpm A"))
	lead, err := topologies.Parse("lead")
	check(t, err)
	for name, c := range map[string]struct {
		results [][]byte
		want    verdict.Tier
	}{
		"alone":             {[][]byte{find(t, both, "tpm").Partial.Token()}, verdict.TierWarning},
		"beside the CPU":    {[][]byte{find(t, both, "tpm").Partial.Token(), find(t, both, "cpu").Partial.Token()}, verdict.TierAffirming},
		"of a lone verdict": {[][]byte{alone.Token, find(t, both, "cpu").Partial.Token()}, verdict.TierAffirming},
	} {
		got, err := CombineCollected(Collected{Topology: lead, Results: c.results, Nonce: []byte(testNonce),
			Anchors: w.anchors, Schemes: w.options.Schemes, Intake: verdict.Intake{Now: time.Now()}})
		check(t, err)
		if part := find(t, got, "tpm"); part.Tier() != c.want {
			t.Errorf("%s: %s %v", name, part.Tier(), part.Reasons)
		}
	}
}
