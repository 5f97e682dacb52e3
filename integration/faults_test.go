// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// rogue is a verifier that answers as the test says, after the real node did.
type rogue func(ctx context.Context, r verifiers.Request, token []byte) ([]byte, verdict.Tier, error)

// behind puts a rogue before the GPU's real node.
func behind(f rogue) func(*machine, string) fabric.Appraiser {
	return func(m *machine, scheme string) fabric.Appraiser {
		if scheme != "nvidia-gpu" {
			return m.node
		}
		return appraiserFunc(func(ctx context.Context, r verifiers.Request) ([]byte, verdict.Tier, error) {
			token, _, err := m.node.Appraise(ctx, r)
			if err != nil {
				return nil, verdict.TierNone, err
			}
			return f(ctx, r, token)
		})
	}
}

type appraiserFunc func(context.Context, verifiers.Request) ([]byte, verdict.Tier, error)

func (f appraiserFunc) Appraise(ctx context.Context, r verifiers.Request) ([]byte, verdict.Tier, error) {
	return f(ctx, r)
}

// claims rewrites the claims of a PAR and signs them again with the same key.
func claims(t *testing.T, s *trust.Signer, token []byte, edit func(string) string) []byte {
	t.Helper()
	key := s.Key("x", []string{"x"}, trust.RoleVerifier)
	raw, _, err := trust.VerifyJWT(token, func(string) (trust.Key, bool) { return key, true })
	must(t, err)
	out, err := s.SignJWT([]byte(edit(string(raw))))
	must(t, err)
	return out
}

// TestBadVerifiers: whatever one verifier does, its component gets a named
// reason and no verdict, the other keeps its own, and the whole is not good.
func TestBadVerifiers(t *testing.T) {
	foreign, err := trust.GenerateSigner("ES256", rand.Reader)
	must(t, err)
	var old []byte
	var m *machine
	resigned := func(edit func(string) string) rogue {
		return func(_ context.Context, _ verifiers.Request, token []byte) ([]byte, verdict.Tier, error) {
			return claims(t, m.signers["nvidia-gpu"], token, edit), verdict.TierAffirming, nil
		}
	}
	for _, c := range []struct {
		name, code string
		serve      func(*machine, string) fabric.Appraiser
	}{
		{"down", verdict.ReasonUnreachable, func(m *machine, scheme string) fabric.Appraiser {
			if scheme == "nvidia-gpu" {
				return nil
			}
			return m.node
		}},
		{"slow", verdict.ReasonTimeout, behind(func(ctx context.Context, _ verifiers.Request, _ []byte) ([]byte, verdict.Tier, error) {
			<-ctx.Done()
			return nil, verdict.TierNone, ctx.Err()
		})},
		{"panics", verdict.ReasonMalfunction, behind(func(context.Context, verifiers.Request, []byte) ([]byte, verdict.Tier, error) {
			panic("as asked")
		})},
		{"refuses", verdict.ReasonRefused, behind(func(context.Context, verifiers.Request, []byte) ([]byte, verdict.Tier, error) {
			return nil, verdict.TierNone, &verifiers.Refusal{Code: 403, Text: "no"}
		})},
		{"garbage", verdict.ReasonBadPAR, behind(func(context.Context, verifiers.Request, []byte) ([]byte, verdict.Tier, error) {
			return []byte("garbage"), verdict.TierAffirming, nil
		})},
		{"foreign key", verdict.ReasonBadPARSignature, behind(func(_ context.Context, _ verifiers.Request, token []byte) ([]byte, verdict.Tier, error) {
			key := m.signers["nvidia-gpu"].Key("x", []string{"x"}, trust.RoleVerifier)
			raw, _, err := trust.VerifyJWT(token, func(string) (trust.Key, bool) { return key, true })
			if err != nil {
				return nil, verdict.TierNone, err
			}
			out, err := foreign.SignJWT(raw)
			return out, verdict.TierWarning, err
		})},
		{"another scheme's key", verdict.ReasonBadPARSignature, behind(func(_ context.Context, _ verifiers.Request, token []byte) ([]byte, verdict.Tier, error) {
			key := m.signers["nvidia-gpu"].Key("x", []string{"x"}, trust.RoleVerifier)
			raw, _, err := trust.VerifyJWT(token, func(string) (trust.Key, bool) { return key, true })
			if err != nil {
				return nil, verdict.TierNone, err
			}
			out, err := m.signers["intel-tdx"].SignJWT(raw)
			return out, verdict.TierWarning, err
		})},
		{"replays an old result", verdict.ReasonPARSubject, behind(func(_ context.Context, _ verifiers.Request, token []byte) ([]byte, verdict.Tier, error) {
			if old == nil {
				old = token
			}
			return old, verdict.TierWarning, nil
		})},
		{"another nonce", verdict.ReasonPARNonce, behind(func(ctx context.Context, r verifiers.Request, _ []byte) ([]byte, verdict.Tier, error) {
			r.Nonce = bytes.Repeat([]byte{1}, 32)
			return m.node.Appraise(ctx, r)
		})},
		{"no nonce", verdict.ReasonPARNonce, behind(func(ctx context.Context, r verifiers.Request, _ []byte) ([]byte, verdict.Tier, error) {
			r.Nonce = nil
			return m.node.Appraise(ctx, r)
		})},
		{"another label", verdict.ReasonPARSubject, behind(func(ctx context.Context, r verifiers.Request, _ []byte) ([]byte, verdict.Tier, error) {
			r.Label = "gpu/1"
			return m.node.Appraise(ctx, r)
		})},
		{"stale", verdict.ReasonPARStale, behind(resigned(func(s string) string { return setInteger(t, s, "iat", time.Now().Add(-time.Hour).Unix()) }))},
		{"status better than its vector", verdict.ReasonLyingPAR, behind(resigned(func(s string) string {
			return strings.Replace(s, `"ear.status":"warning"`, `"ear.status":"affirming"`, 1)
		}))},
	} {
		t.Run(c.name, func(t *testing.T) {
			old = nil
			m = assemble(t, func(mm *machine, scheme string) fabric.Appraiser { m = mm; return c.serve(mm, scheme) })
			r := request(t)
			first, err := m.lead.Appraise(context.Background(), r)
			must(t, err)
			if c.name == "replays an old result" {
				first, err = m.lead.Appraise(context.Background(), r)
				must(t, err)
			}
			cpu, gpu := first.Components[0], first.Components[1]
			if gpu.Tier() != verdict.TierNone || len(gpu.Reasons) != 1 || gpu.Reasons[0].Code != c.code {
				t.Errorf("gpu/0: %s %v, want none and %s", gpu.Tier(), gpu.Reasons, c.code)
			}
			if cpu.Tier() != verdict.TierWarning || cpu.Partial.IsZero() {
				t.Errorf("cpu: %s %v", cpu.Tier(), cpu.Reasons)
			}
			if first.Outcome.Tier != verdict.TierNone {
				t.Errorf("the whole: %s", first.Outcome.Tier)
			}
			again, err := verdict.VerifyResult(first.Token, verdict.Intake{Now: time.Now()}, m.anchors)
			must(t, err)
			if again.Outcome.Tier != verdict.TierNone {
				t.Errorf("the signed verdict: %s", again.Outcome.Tier)
			}
		})
	}
}

// setInteger replaces one top-level integer of a JSON object.
func setInteger(t *testing.T, s, name string, v int64) string {
	t.Helper()
	var m map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(s), &m))
	raw, err := json.Marshal(v)
	must(t, err)
	m[name] = raw
	out, err := json.Marshal(m)
	must(t, err)
	return string(out)
}

// TestBadEvidence: truncated, foreign and oversized leaves cost their own
// component its verdict, with the reason, and nothing else.
func TestBadEvidence(t *testing.T) {
	m := assemble(t, nil)
	good := request(t)
	tree, err := evidence.Parse(good.Evidence, evidence.Options{})
	must(t, err)
	cpu, _ := tree.Lookup("cpu")
	gpu, _ := tree.Lookup("gpu")
	for _, c := range []struct {
		name  string
		media evidence.MediaType
		raw   []byte
		label string
		tier  verdict.Tier
		code  string
	}{
		{"truncated in JSON", gpu.MediaType(), gpu.Value()[:len(gpu.Value())/2], "gpu", verdict.TierNone, verdict.ReasonMalformed},
		{"empty array", gpu.MediaType(), []byte("[]"), "gpu", verdict.TierNone, verdict.ReasonMalformed},
		{"one bit in the report", gpu.MediaType(), flip(gpu.Value(), len(gpu.Value())*3/4), "gpu/0", verdict.TierContraindicated, ""},
		{"unknown media type", evidence.MediaType{Base: "application/vnd.example.gpu"}, gpu.Value(), "gpu", verdict.TierNone, verdict.ReasonNoVerifier},
		{"a quote under the GPU's type", gpu.MediaType(), cpu.Value(), "gpu", verdict.TierNone, verdict.ReasonMalformed},
		{"a quote as a second CPU", cpu.MediaType(), cpu.Value()[:600], "gpu", verdict.TierContraindicated, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := good
			r.Given = map[evidence.Path][]byte{"cpu": good.Given["cpu"]}
			r.Evidence, err = evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t",
				evidence.Entry{Label: "cpu", Item: evidence.Record(cpu.MediaType(), cpu.Value(), evidence.IndEvidence)},
				evidence.Entry{Label: "gpu", Item: evidence.Record(c.media, c.raw, evidence.IndEvidence)}))
			must(t, err)
			res, err := m.lead.Appraise(context.Background(), r)
			must(t, err)
			first, second := res.Components[0], res.Components[1]
			if string(second.Label) != c.label || second.Tier() != c.tier {
				t.Fatalf("%s: %s %v", second.Label, second.Tier(), second.Reasons)
			}
			if c.code != "" && (len(second.Reasons) != 1 || second.Reasons[0].Code != c.code) {
				t.Errorf("reasons %v, want %s", second.Reasons, c.code)
			}
			if c.code == "" && len(second.Partial.Appraisal().Reasons) == 0 {
				t.Error("no reason")
			}
			if first.Tier() != verdict.TierWarning || first.Evidence != sha256.Sum256(cpu.Value()) {
				t.Errorf("cpu: %s", first.Tier())
			}
			if !res.Outcome.Tier.WorseThan(verdict.TierWarning) {
				t.Errorf("the whole: %s", res.Outcome.Tier)
			}
		})
	}
}

func flip(raw []byte, at int) []byte {
	out := bytes.Clone(raw)
	out[at] ^= 1
	return out
}
