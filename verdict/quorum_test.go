// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
)

// answer is a result of one of several verifiers.
func answer(kid string, t Tier) Partial {
	return Partial{token: []byte("token of " + kid), label: "nic", kid: kid, status: t}
}

// group is a component with the answers of redundant verifiers.
func group(quorum, asked int, all ...Partial) Component {
	c := Component{Label: "nic", Required: true, Quorum: quorum, Asked: asked}
	SetPartials(&c, all)
	return c
}

// noAnswer stands for a verifier that is silent.
const noAnswer = Tier(127)

// answers calls f for every choice of n verifiers: silent, or with a tier.
func answers(n int, f func([]Tier)) {
	if n == 0 {
		f(nil)
		return
	}
	answers(n-1, func(tiers []Tier) {
		for _, t := range append([]Tier{noAnswer}, allTiers...) {
			f(append(slices.Clone(tiers), t))
		}
	})
}

func groupOf(quorum int, tiers []Tier) Component {
	var all []Partial
	for i, t := range tiers {
		if t != noAnswer {
			all = append(all, answer(fmt.Sprint("k", i), t))
		}
	}
	return group(quorum, len(tiers), all...)
}

// wantRedundant is the rule in another form: by asking what is there.
func wantRedundant(quorum int, tiers []Tier) Tier {
	count := func(t Tier) (n int) {
		for _, x := range tiers {
			if x == t {
				n++
			}
		}
		return n
	}
	silent := count(noAnswer)
	switch {
	case silent == len(tiers):
		return TierNone
	case count(TierContraindicated) > 0:
		return TierContraindicated
	case count(TierNone) > 0, len(tiers)-silent < quorum:
		return TierNone
	case count(TierWarning) > 0, silent > 0:
		return TierWarning
	}
	return TierAffirming
}

// TestRedundantTiers goes through all answers of up to four verifiers and all
// quorums.
func TestRedundantTiers(t *testing.T) {
	for n := 1; n <= 4; n++ {
		for quorum := 1; quorum <= n; quorum++ {
			answers(n, func(tiers []Tier) {
				c := groupOf(quorum, tiers)
				if got, want := c.Tier(), wantRedundant(quorum, tiers); got != want {
					t.Fatalf("%d of %v: %s instead of %s", quorum, tiers, got, want)
				}
				if err := c.checkQuorum(); err != nil {
					t.Fatalf("%d of %v: %v", quorum, tiers, err)
				}
				if bare := c; len(c.Reasons) > 0 { // the rule does not rest on what the lead says
					if bare.Reasons = nil; bare.Tier() != c.Tier() {
						t.Fatalf("%d of %v: %s without reasons", quorum, tiers, bare.Tier())
					}
				}
				if c.Tier() != c.Partial.Status() && len(c.Reasons) == 0 {
					t.Fatalf("%d of %v: no reason", quorum, tiers)
				}
				redundancyIsMonotone(t, quorum, tiers)
			})
		}
	}
}

// redundancyIsMonotone: no answer that is worse, or not there, makes the
// component better, except that to suppress one worse than warning can lift it
// to warning; never to affirming.
func redundancyIsMonotone(t *testing.T, quorum int, tiers []Tier) {
	t.Helper()
	was := groupOf(quorum, tiers).Tier()
	for i, x := range tiers {
		if x == noAnswer {
			continue
		}
		worse := slices.Clone(tiers)
		for _, y := range allTiers {
			if worse[i] = y; y.WorseThan(x) && was.WorseThan(groupOf(quorum, worse).Tier()) {
				t.Fatalf("%d of %v: worse with %v", quorum, worse, tiers)
			}
		}
		worse[i] = noAnswer
		got := groupOf(quorum, worse).Tier()
		if got == TierAffirming {
			t.Fatalf("%d of %v: affirming with an answer missing", quorum, worse)
		}
		if (x == TierAffirming || x == TierWarning) && was.WorseThan(got) {
			t.Fatalf("%d of %v: suppressing %s gives %s instead of %s", quorum, tiers, x, got, was)
		}
	}
	// One verifier more who is asked never gives better than his answer.
	for _, y := range append([]Tier{noAnswer}, allTiers...) {
		got := groupOf(quorum, append(slices.Clone(tiers), y)).Tier()
		if y == noAnswer && got == TierAffirming || y != noAnswer && y.WorseThan(got) {
			t.Fatalf("%d of %v and %d: %s", quorum, tiers, y, got)
		}
	}
}

func TestSetPartialsDoesNotDependOnOrder(t *testing.T) {
	all := []Partial{answer("a", TierWarning), answer("b", TierAffirming), answer("c", TierContraindicated), answer("d", TierWarning), {}}
	want := group(2, 4, all...)
	var kids []string
	for _, p := range want.Partials() {
		kids = append(kids, p.kid)
	}
	if strings.Join(kids, " ") != "c a d b" {
		t.Errorf("order %v", kids)
	}
	if len(want.Reasons) != 1 || want.Reasons[0] != (Reason{Code: ReasonDisagreement, Detail: "c: contraindicated, a: warning, d: warning, b: affirming"}) {
		t.Errorf("%v", want.Reasons)
	}
	for range all {
		all = append(all[1:], all[0])
		if got := group(2, 4, all...); !reflect.DeepEqual(got, want) {
			t.Errorf("order changes %+v", got)
		}
	}
	SetPartials(&want, want.Partials())
	if len(want.Reasons) != 1 || len(want.Others) != 3 {
		t.Errorf("again: %+v", want)
	}
}

// One verifier as ever: nothing is added to what the lead says.
func TestSetPartialsOfOneVerifier(t *testing.T) {
	c := Component{Label: "nic", Reasons: []Reason{{Code: ReasonUnexpected}}}
	want := c
	want.Partial = answer("a", TierWarning)
	SetPartials(&c, []Partial{answer("a", TierWarning)})
	if !reflect.DeepEqual(c, want) || c.checkQuorum() != nil || !reflect.DeepEqual(c.Partials(), []Partial{want.Partial}) {
		t.Errorf("%+v", c)
	}
	SetPartials(&c, nil)
	if !c.Partial.IsZero() || c.Partials() != nil || c.Tier() != TierNone {
		t.Errorf("%+v", c)
	}
	// Without a quorum, a second result counts against the component and is
	// refused by those who sign and verify.
	SetPartials(&c, []Partial{answer("a", TierAffirming), answer("b", TierContraindicated)})
	if c.Tier() != TierContraindicated || c.checkQuorum() == nil {
		t.Errorf("%s", c.Tier())
	}
}

func TestSilentVerifiersAreExplained(t *testing.T) {
	c := Component{Label: "nic", Quorum: 2, Asked: 4}
	SetPartials(&c, []Partial{answer("a", TierAffirming), answer("b", TierAffirming)},
		Reason{Code: ReasonTimeout, Detail: "y: no answer"}, Reason{Code: ReasonBusy, Detail: ""})
	want := []Reason{{Code: ReasonQuorumIncomplete, Detail: "2 of 4 verifiers answered, 2 had to: busy; timeout: y: no answer"}}
	if !reflect.DeepEqual(c.Reasons, want) || c.Tier() != TierWarning {
		t.Errorf("%s %v", c.Tier(), c.Reasons)
	}
	c.Reasons = append(c.Reasons, Reason{Code: ReasonExtraRoots})
	SetPartials(&c, c.Partials()[:1], Reason{Code: ReasonRefused})
	want = []Reason{{Code: ReasonExtraRoots}, {Code: ReasonQuorumNotReached, Detail: "1 of 4 verifiers answered, 2 had to: refused"}}
	if !reflect.DeepEqual(c.Reasons, want) || c.Tier() != TierNone {
		t.Errorf("%s %v", c.Tier(), c.Reasons)
	}
	// Nobody could be asked: the reason is another one, and the lead's.
	c = Component{Label: "nic", Quorum: 2, Reasons: []Reason{{Code: ReasonMissingComponent}}}
	SetPartials(&c, nil)
	if len(c.Reasons) != 1 || c.Tier() != TierNone || c.checkQuorum() != nil {
		t.Errorf("%v %v", c.Reasons, c.checkQuorum())
	}
}

// TestOneKeyIsOneVerifier: whoever answers twice, even under another kid, does
// not fill a quorum, and his worse answer counts.
func TestOneKeyIsOneVerifier(t *testing.T) {
	key, other := make(ed25519.PublicKey, 32), bytes.Repeat(ed25519.PublicKey{1}, 32)
	a, alias, b := answer("a", TierAffirming), answer("alias", TierWarning), answer("b", TierAffirming)
	a.key, alias.key, b.key = key, slices.Clone(key), other
	again := answer("a", TierContraindicated)
	for name, c := range map[string]struct {
		all  []Partial
		want Tier
		kept int
	}{
		"two kids":           {[]Partial{a, alias}, TierNone, 1},
		"one kid":            {[]Partial{a, a}, TierNone, 1},
		"one kid, worse":     {[]Partial{a, again}, TierContraindicated, 1},
		"two kids and a key": {[]Partial{a, b, alias}, TierWarning, 2},
		"two keys":           {[]Partial{a, b}, TierAffirming, 2},
	} {
		got := group(2, 2, c.all...)
		if got.Tier() != c.want || len(got.Partials()) != c.kept {
			t.Errorf("%s: %s with %d results", name, got.Tier(), len(got.Partials()))
		}
		if c.want == TierNone && !strings.HasSuffix(got.Reasons[0].Detail, "which counts once") {
			t.Errorf("%s: %v", name, got.Reasons)
		}
		// The rule does not rest on SetPartials alone.
		got = Component{Label: "nic", Quorum: 2, Asked: 2, Partial: c.all[0], Others: c.all[1:]}
		if got.Tier() != c.want {
			t.Errorf("%s as it came: %s", name, got.Tier())
		}
		got.Asked = 3
		if err := got.checkQuorum(); name != "two keys" && (err == nil || !strings.Contains(err.Error(), "answers twice")) {
			t.Errorf("%s as it came: %v", name, err)
		}
	}
}

// redundant is a component of the lab that three verifiers judged.
func (l *lab) redundant(tb testing.TB, label string, quorum, asked int, all ...Appraisal) Component {
	tb.Helper()
	c := l.component(tb, label, "nvidia-gpu", all[0])
	c.Quorum, c.Asked = quorum, asked
	partials := []Partial{c.Partial}
	for n, a := range all[1:] {
		i := testIssue(label, "nvidia-gpu")
		p, err := VerifyPartial(mustSign(tb, []*trust.Signer{l.gpu2, l.gpu3}[n], i, a), expectOf(i), testIntake(), l.anchors)
		if err != nil {
			tb.Fatal(err)
		}
		partials = append(partials, p)
	}
	SetPartials(&c, partials)
	return c
}

func withHardware(c Claim) Appraisal {
	a := testAppraisal()
	a.Vector[Hardware] = c
	if c.Tier() != TierAffirming {
		a.Fail(ReasonUnknownRoot, "hardware")
	}
	return a
}

// redundantMachine has a CPU, and NICs on which verifiers agree, disagree, and
// do not all answer.
func (l *lab) redundantMachine(tb testing.TB) *Result {
	tb.Helper()
	r := l.machine(tb, 0)
	good, warned, bad := testAppraisal(), withHardware(ClaimUnsafe), withHardware(ClaimUnknownDevice)
	r.Components = append(r.Components,
		l.redundant(tb, "nic/agree", 2, 3, good, good, good),
		l.redundant(tb, "nic/bad", 2, 3, good, bad, warned),
		l.redundant(tb, "nic/few", 3, 3, good, good),
		l.redundant(tb, "nic/some", 2, 3, good, good),
		Component{Label: "nic/silent", Required: true, Quorum: 2, Asked: 2, Reasons: []Reason{{Code: ReasonQuorumNotReached}}},
		Component{Label: "nic/missing", Required: true, Quorum: 2, Reasons: []Reason{{Code: ReasonMissingComponent}}},
	)
	r.Outcome = Combine(r.Components, r.Caps)
	return r
}

// checkRedundancy holds for whatever was accepted.
func checkRedundancy(t *testing.T, c Component) {
	t.Helper()
	keys := map[string]bool{}
	for _, p := range c.Partials() {
		if p.Status().WorseThan(c.Tier()) || keys[p.kid] {
			t.Fatalf("accepted %s for %s of %s", c.Tier(), p.Status(), p.kid)
		}
		keys[p.kid] = true
	}
	if len(keys) < c.Quorum && !c.Tier().WorseThan(TierWarning) || len(keys) < c.Asked && c.Tier() == TierAffirming || c.Quorum == 0 && len(keys) > 1 {
		t.Fatalf("accepted %s with %d answers: %d of %d", c.Tier(), len(keys), c.Quorum, c.Asked)
	}
}

func TestRedundantRoundTrip(t *testing.T) {
	l := newLab(t, trust.ES256)
	r := l.redundantMachine(t)
	token := l.sign(t, r)
	got, err := VerifyResult(token, aarIntake(), l.anchors)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got  %+v\nwant %+v", got, r)
	}
	if again := l.sign(t, got); !bytes.Equal(payload(t, again), payload(t, token)) {
		t.Error("claims are not deterministic")
	}
	schema, err := schemas.Load(schemas.Verdict)
	if err != nil {
		t.Fatal(err)
	}
	d := got.Document()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON(raw); err != nil {
		t.Errorf("%v\n%s", err, raw)
	}
	for label, want := range map[string]string{
		"nic/agree": "affirming 2/3 affirming affirming affirming", "nic/bad": "contraindicated 2/3 contraindicated warning affirming",
		"nic/few": "none 3/3 affirming affirming", "nic/some": "warning 2/3 affirming affirming",
		"nic/silent": "none 2/2", "nic/missing": "none 2/0",
	} {
		c := d.Components[label]
		text := fmt.Sprintf("%s %d/%d", c.Tier, c.Quorum.Required, c.Quorum.Asked)
		for _, a := range c.Quorum.Answers {
			text += " " + a.Tier.String()
		}
		if text != want {
			t.Errorf("%s: %s instead of %s", label, text, want)
		}
	}
	bad := d.Components["nic/bad"]
	if bad.Verifier.KID != l.gpu2.KID() || bad.Quorum.Answers[0].Verifier != *bad.Verifier || bad.TrustVector["hardware"] != ClaimUnknownDevice {
		t.Errorf("%+v", bad)
	}
	if d.Components["cpu"].Quorum != nil {
		t.Error("a quorum of one verifier")
	}
}

// A result without redundancy has no trace of it.
func TestResultWithoutRedundancy(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 2)
	r.Components[0].Others = []Partial{}
	text := string(payload(t, l.sign(t, r)))
	raw, err := json.Marshal(r.Document())
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"witnesses", `"quorum"`, `"asked"`} {
		if strings.Contains(text, word) || strings.Contains(string(raw), word) {
			t.Errorf("%s", word)
		}
	}
}

// aliased signs a result with a key that anchors know by a second kid as well.
func aliased(t *testing.T, key ed25519.PrivateKey, token []byte) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"alias","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(payload(t, token))
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// A lead that signs what it likes cannot make the answers of redundant verifiers
// look better, or more, than they are.
func TestRedundancyForgeries(t *testing.T) {
	l := fixedLab(t)
	second := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{4}, 32)) // of l.gpu2
	var err error
	l.anchors, err = trust.Merge(l.anchors, mustAnchors(t, trust.Key{
		KID: "alias", Public: second.Public(), Alg: trust.EdDSA, Roles: []trust.Role{trust.RoleVerifier}, Schemes: []string{"nvidia-gpu"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	good := l.sign(t, l.redundantMachine(t))
	sign := func(s *trust.Signer, change func(*Issue)) string {
		i := testIssue("nic/some", "nvidia-gpu")
		change(&i)
		return string(mustSign(t, s, i, testAppraisal()))
	}
	as := func(*Issue) {}
	first := func(c obj, label string) any { return c[claimPartials].(obj)[label] }
	others := func(c obj, label string) []any { return c[claimWitnesses].(obj)[label].([]any) }
	subs := func(c obj) obj { return c[claimSubmods].(obj) }
	statement := func(c obj, label string) obj {
		return subs(c)[compositeLabel].(obj)[claimPolicy].(obj)["assize.components"].(obj)[label].(obj)
	}
	add := func(c obj, label string, more ...any) {
		c[claimWitnesses].(obj)[label] = append(others(c, label), more...)
	}
	for _, c := range []struct {
		name, code, label string
		change            func(c obj)
	}{
		{"unchanged", "", "", func(c obj) {}},
		{"an answer more that the lead does not count", "", "", func(c obj) { add(c, "nic/some", sign(l.gpu3, as)) }},
		{"an answer more", "", "", func(c obj) {
			add(c, "nic/some", sign(l.gpu3, as))
			subs(c)["nic/some"].(obj)[claimStatus] = "affirming"
			delete(statement(c, "nic/some"), "reasons")
		}},
		{"the better one first", ReasonLyingAAR, "nic/bad", func(c obj) {
			bad, list := first(c, "nic/bad"), others(c, "nic/bad")
			c[claimPartials].(obj)["nic/bad"], list[1] = list[1], bad
		}},
		{"a better status", ReasonLyingAAR, "nic/bad", func(c obj) { subs(c)["nic/bad"].(obj)[claimStatus] = "warning" }},
		{"the bad answer dropped", ReasonLyingAAR, "nic/bad", func(c obj) {
			c[claimPartials].(obj)["nic/bad"] = others(c, "nic/bad")[0]
			c[claimWitnesses].(obj)["nic/bad"] = others(c, "nic/bad")[1:]
		}},
		{"a silent answer as affirming", ReasonLyingAAR, "nic/some", func(c obj) {
			subs(c)["nic/some"].(obj)[claimStatus] = "affirming"
			delete(statement(c, "nic/some"), "reasons")
		}},
		{"too few as warning", ReasonLyingAAR, "nic/few", func(c obj) { subs(c)["nic/few"].(obj)[claimStatus] = "warning" }},
		{"the same token twice", ReasonLyingAAR, "nic/some", func(c obj) { add(c, "nic/some", first(c, "nic/some")) }},
		{"the same key twice", ReasonLyingAAR, "nic/some", func(c obj) {
			add(c, "nic/some", sign(l.gpu2, func(i *Issue) { i.IssuedAt = i.IssuedAt.Add(1e9) }))
		}},
		{"the same key by another kid", ReasonLyingAAR, "nic/some", func(c obj) {
			add(c, "nic/some", aliased(t, second, []byte(sign(l.gpu2, as))))
		}},
		{"more answers than asked", ReasonBadAAR, "nic/agree", func(c obj) {
			add(c, "nic/agree", aliased(t, second, []byte(sign(l.gpu2, func(i *Issue) { i.Label = "nic/agree" }))))
		}},
		{"of another request", ReasonPARSubject, "nic/some", func(c obj) { add(c, "nic/some", sign(l.gpu3, func(i *Issue) { i.Request = "x" })) }},
		{"of other evidence", ReasonPARSubject, "nic/some", func(c obj) { add(c, "nic/some", sign(l.gpu3, func(i *Issue) { i.Evidence[0] ^= 1 })) }},
		{"of another component", ReasonPARSubject, "nic/some", func(c obj) { add(c, "nic/some", others(c, "nic/agree")[0]) }},
		{"of another type", ReasonPARSubject, "nic/some", func(c obj) { add(c, "nic/some", sign(l.gpu3, func(i *Issue) { i.MediaType = "x/y" })) }},
		{"of another rule", ReasonPARNonce, "nic/some", func(c obj) { add(c, "nic/some", sign(l.gpu3, func(i *Issue) { i.NonceRule = "given" })) }},
		{"of another time", ReasonPARSubject, "nic/some", func(c obj) { add(c, "nic/some", sign(l.gpu3, func(i *Issue) { i.VerificationTime = testTime })) }},
		{"stale", ReasonPARStale, "nic/some", func(c obj) {
			add(c, "nic/some", sign(l.gpu3, func(i *Issue) { i.IssuedAt = i.IssuedAt.Add(-1e12) }))
		}},
		{"of a verifier for another scheme", ReasonBadPARSignature, "nic/some", func(c obj) { add(c, "nic/some", sign(l.cpu, as)) }},
		{"of the lead", ReasonBadPARSignature, "nic/some", func(c obj) { add(c, "nic/some", sign(l.lead, as)) }},
		{"no token", ReasonBadPAR, "nic/some", func(c obj) { add(c, "nic/some", "x") }},
		{"a number", ReasonBadAAR, "nic/some", func(c obj) { add(c, "nic/some", 1) }},
		{"no list", ReasonBadAAR, "nic/some", func(c obj) { c[claimWitnesses].(obj)["nic/some"] = "x" }},
		{"null", ReasonBadAAR, "nic/some", func(c obj) { c[claimWitnesses].(obj)["nic/some"] = nil }},
		{"an empty list", ReasonBadAAR, "nic/agree", func(c obj) { c[claimWitnesses].(obj)["nic/agree"] = []any{} }},
		{"witnesses list", ReasonBadAAR, "", func(c obj) { c[claimWitnesses] = []any{} }},
		{"unknown label", ReasonBadAAR, "nic/7", func(c obj) { c[claimWitnesses].(obj)["nic/7"] = others(c, "nic/some") }},
		{"all witnesses gone", ReasonLyingAAR, "nic/agree", func(c obj) { delete(c, claimWitnesses) }},
		{"without a first result", ReasonLyingAAR, "nic/agree", func(c obj) { delete(c[claimPartials].(obj), "nic/agree") }},
		{"for one verifier", ReasonBadAAR, "cpu", func(c obj) { c[claimWitnesses].(obj)["cpu"] = []any{first(c, "cpu")} }},
		{"quorum forgotten", ReasonLyingAAR, "nic/agree", func(c obj) { delete(statement(c, "nic/agree"), "quorum") }},
		{"quorum and asked forgotten", ReasonBadAAR, "nic/bad", func(c obj) {
			delete(statement(c, "nic/bad"), "quorum")
			delete(statement(c, "nic/bad"), "asked")
		}},
		{"fewer asked", ReasonLyingAAR, "nic/few", func(c obj) { statement(c, "nic/few")["asked"] = 2 }},
		{"smaller quorum", ReasonLyingAAR, "nic/few", func(c obj) { statement(c, "nic/few")["quorum"] = 2 }},
		{"asked without quorum", ReasonLyingAAR, "cpu", func(c obj) { statement(c, "cpu")["asked"] = 2 }},
		{"negative quorum", ReasonBadAAR, "cpu", func(c obj) { statement(c, "cpu")["quorum"] = -1 }},
		{"huge quorum", ReasonBadAAR, "nic/silent", func(c obj) { statement(c, "nic/silent")["quorum"] = MaxAsked + 1 }},
		{"quorum text", ReasonBadAAR, "nic/silent", func(c obj) { statement(c, "nic/silent")["quorum"] = "2" }},
		{"nobody asked, but answers", ReasonBadAAR, "nic/agree", func(c obj) { delete(statement(c, "nic/agree"), "asked") }},
		{"disagreement unsaid", ReasonLyingAAR, "nic/bad", func(c obj) { delete(statement(c, "nic/bad"), "reasons") }},
		{"silence unsaid", ReasonLyingAAR, "nic/some", func(c obj) { delete(statement(c, "nic/some"), "reasons") }},
		{"too few unsaid", ReasonLyingAAR, "nic/silent", func(c obj) { delete(statement(c, "nic/silent"), "reasons") }},
	} {
		claims, err := trust.ParseObject(payload(t, good), 32)
		if err != nil {
			t.Fatal(err)
		}
		c.change(claims)
		raw, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.lead.SignJWT(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = VerifyResult(token, aarIntake(), l.anchors)
		checkDenied(t, c.name, err, c.code, c.label)
	}
}

func mustAnchors(t *testing.T, keys ...trust.Key) *trust.Anchors {
	t.Helper()
	a, err := trust.NewAnchors(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSignResultRefusesRedundancy(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	for name, change := range map[string]func(c *Component){
		"better one first": func(c *Component) { c.Partial, c.Others[1] = c.Others[1], c.Partial },
		"twice":            func(c *Component) { c.Others[1] = c.Others[0] },
		"one more":         func(c *Component) { c.Asked = 2 },
		"no quorum":        func(c *Component) { c.Quorum = 0 },
		"too many":         func(c *Component) { c.Asked = MaxAsked + 1 },
		"negative":         func(c *Component) { c.Quorum, c.Asked = -1, -1 },
		"quorum of more":   func(c *Component) { c.Quorum = 4 },
		"no first":         func(c *Component) { c.Partial = Partial{} },
		"an empty one":     func(c *Component) { c.Others[1] = Partial{} },
		"reason left out":  func(c *Component) { c.Reasons = nil },
		"other request":    func(c *Component) { c.Others[1].request = "x" },
		"other rule":       func(c *Component) { c.Others[1].nonceRule = "given" },
		"other time":       func(c *Component) { c.Others[1].verified = testTime },
		"other label":      func(c *Component) { c.Others[1].label = "x" },
	} {
		r := l.machine(t, 0)
		r.Components = append(r.Components, l.redundant(t, "nic", 2, 3, testAppraisal(), withHardware(ClaimUnknownDevice), withHardware(ClaimUnsafe)))
		r.Outcome = Combine(r.Components, r.Caps)
		l.sign(t, r)
		change(&r.Components[1])
		r.Outcome = Combine(r.Components, r.Caps)
		if _, err := SignResult(l.lead, r, 0); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}
