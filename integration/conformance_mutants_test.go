// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// MV-22, MV-44: a hop takes nothing over whose verifier it does not know, even
// from a neighbour that it trusts.
func TestMV22EarlierResultsOfStrangers(t *testing.T) {
	for who, want := range map[string]string{
		"nobody": "a=affirming b=affirming c=affirming | warning",
		"n2":     "a=affirming b=affirming c=none | none",
	} {
		f := newFederation(t, options{trusts: func(at, whom string) bool { return at != who || whom != "me" }})
		if got := tiers(f.appraise("cascade(a, b@n1, c@n2)", abc(t))); got != want {
			t.Errorf("%s does not know the verifier of a: %s, want %s", who, got, want)
		}
	}
}

// MV-13: what a node is known by is no verifier's key: neither its key for
// messages nor its lead key makes a result, also for its own component.
func TestMV13OtherKeysOfTheNode(t *testing.T) {
	for what, key := range map[string]func(m *member) *trust.Signer{
		"messages":       func(m *member) *trust.Signer { return m.nodeKey },
		"verdicts":       func(m *member) *trust.Signer { return m.leadKey },
		"another scheme": func(m *member) *trust.Signer { return m.verifiers["cpu"] },
	} {
		f := newFederation(t, options{})
		f.takenOver("n1", func(env *relay.Envelope, a *relay.Answer) {
			for _, c := range env.Components {
				a.Partials = append(a.Partials, f.result(key(f.members["n1"]), c))
			}
		})
		if got := tiers(f.appraise("lead(a, lead(b)@n1)", words(t, wordNonce, "a cpu good", "b dev good"))); got != "a=affirming b=none | none" {
			t.Errorf("the key for %s makes a result: %s", what, got)
		}
	}
}

// MV-04: a record that is no evidence is not appraised, and not left out either.
func TestMV04RecordsThatAreNoEvidence(t *testing.T) {
	mt := evidence.MediaType{Base: "application/vnd.test.dev"}
	for _, ind := range []evidence.Indicator{evidence.IndResults, evidence.IndEvidence | evidence.IndResults} {
		raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t",
			evidence.Entry{Label: "a", Item: evidence.Record(evidence.MediaType{Base: "application/vnd.test.cpu"}, []byte(wordNonce+" good"), evidence.IndEvidence)},
			evidence.Entry{Label: "b", Item: evidence.Record(mt, []byte(wordNonce+" good"), ind)}))
		must(t, err)
		f := newFederation(t, options{})
		res := f.appraise("lead", raw)
		if got := tiers(res); got != "a=affirming b=none | none" || f.asked() != "a@me" {
			t.Errorf("ind %d: %s, asked %s", ind, got, f.asked())
		} else if got := reasonCodes(part(t, res, "b").Reasons); got != verdict.ReasonNoVerifier {
			t.Errorf("ind %d: %s", ind, got)
		}
	}
}

// MV-49: an error that is none of those of a verifier is not repeated.
func TestMV49UnknownErrors(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			if call.Request.Label == "b" {
				return verdict.Partial{}, errors.New("the secret reference value is 42")
			}
			return next.Appraise(context.Background(), call)
		}
		res := f.appraise(topology, abc(t))
		if got := tiers(res); got != "a=affirming b=none c=affirming | none" || strings.Contains(payload(t, res.Token), "secret") {
			t.Errorf("%s: %s %v", name, got, part(t, res, "b").Reasons)
		}
	}
}

// PAR-6: an answer that is missing is missing for a reason, wherever it was to
// come from.
func TestPAR6SilenceHasAReason(t *testing.T) {
	for _, topology := range []string{"parallel(a, b@n1, c@n2)", "parallel(a, b@n1, lead(c)@n2)", "cascade(a, b@n1, c@n2)"} {
		f := newFederation(t, options{})
		f.found("n2", verdict.ClaimNone)
		c := part(t, f.appraise(topology, abc(t)), "c")
		if c.Tier() != verdict.TierNone || !strings.Contains(reasonCodes(c.Reasons), verdict.ReasonTimeout) {
			t.Errorf("%s: %s %v", topology, c.Tier(), c.Reasons)
		}
	}
}

// reworded is a token that says something else, well-formed, under the signature
// of what it said.
func reworded(t testing.TB, token []byte, old, said string) []byte {
	t.Helper()
	part := strings.Split(string(token), ".")
	text := payload(t, token)
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in the token", old)
	}
	part[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(text, old, said, 1)))
	return []byte(strings.Join(part, "."))
}

// MV-29, TH-3: only the signature tells a result that was altered with care from
// one that was not.
func TestMV29SignatureAlone(t *testing.T) {
	for what, change := range map[string]func(token []byte) []byte{
		"signature": other,
		"words":     func(token []byte) []byte { return reworded(t, token, `"build":"`, `"build":"un`) },
	} {
		for name, topology := range heads {
			f := newFederation(t, options{})
			f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
				if call.Request.Label != "b" {
					return next.Appraise(context.Background(), call)
				}
				token, _, err := next.Node.Appraise(context.Background(), call.Request)
				must(t, err)
				p, err := call.Verify(change(token))
				var intake *verdict.IntakeError
				if !errors.As(err, &intake) || intake.Code != verdict.ReasonBadPARSignature {
					t.Errorf("%s, %s: %v", what, name, err)
				}
				return p, err
			}
			if b := part(t, f.appraise(topology, abc(t)), "b"); b.Tier() != verdict.TierNone || !b.Partial.IsZero() {
				t.Errorf("%s, %s: b is %s", what, name, b.Tier())
			}
		}
	}
}

// MV-44, TH-1: the same for the relying party, about the whole and about a
// result in it.
func TestMV44SignatureAlone(t *testing.T) {
	f := newFederation(t, options{})
	res := f.appraise(heads["cascade"], abc(t))
	good := string(part(t, res, "b").Partial.Token())
	lie := strings.Replace(payload(t, res.Token), good, string(other([]byte(good))), 1)
	inside, err := f.members["me"].leadKey.SignJWT([]byte(lie))
	must(t, err)
	for what, c := range map[string]struct {
		token []byte
		code  string
	}{
		"signature": {other(res.Token), verdict.ReasonBadAARSignature},
		"words":     {reworded(t, res.Token, `"build":"`, `"build":"un`), verdict.ReasonBadAARSignature},
		"a result":  {inside, verdict.ReasonBadPARSignature},
	} {
		_, err := verdict.VerifyResult(c.token, verdict.Intake{Now: time.Now()}, f.anchors)
		var denied *verdict.VerifyError
		if !errors.As(err, &denied) || denied.Code != c.code {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
}
