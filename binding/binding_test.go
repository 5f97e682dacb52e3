// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

var nonce = []byte("0123456789abcdef0123456789abcdef")

// part makes a component with a verified result: class, freshness, devices.
func part(t *testing.T, label, class, rule string, f verdict.Freshness, devices ...string) verdict.Component {
	t.Helper()
	return partWith(t, label, class, rule, f, func(a *verdict.Appraisal) { a.Facts.Device = devices })
}

func partWith(t testing.TB, label, class, rule string, f verdict.Freshness, change func(*verdict.Appraisal)) verdict.Component {
	t.Helper()
	s, err := trust.GenerateSigner("EdDSA", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	anchors, err := trust.NewAnchors(s.Key("v", []string{"s"}, trust.RoleVerifier))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1750000000, 0)
	c := verdict.Component{
		Label: evidence.Path(label), Scheme: "s", Class: class, Required: true,
		NonceRule: rule, Request: strings.Repeat("0a", 16), Evidence: sha256.Sum256([]byte(label)),
	}
	if f != verdict.FreshnessNotEstablished {
		c.Nonce = nonce
	}
	a := verdict.Appraisal{Freshness: f}
	a.Vector[verdict.Hardware] = verdict.ClaimApproved
	if f == verdict.FreshnessFresh {
		a.NonceSeen = nonce
	}
	change(&a)
	token, err := verdict.SignPartial(s, verdict.Issue{
		Verifier: verdict.Identity{Developer: "d", Build: "b"}, Label: c.Label, Scheme: "s", MediaType: "a/b",
		Request: c.Request, Nonce: c.Nonce, NonceRule: rule, Evidence: c.Evidence, IssuedAt: now, Expires: now.Add(time.Minute),
	}, a)
	if err != nil {
		t.Fatal(err)
	}
	c.Partial, err = verdict.VerifyPartial(token, verdict.Expect{
		Label: c.Label, Scheme: "s", Request: c.Request, Nonce: c.Nonce, NonceRule: rule, Evidence: c.Evidence, MediaType: "a/b",
	}, verdict.Intake{Now: now}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const isFresh, stale, open = verdict.FreshnessFresh, verdict.FreshnessMismatch, verdict.FreshnessNotEstablished

func edges(b []verdict.Binding) string {
	var out []string
	for _, e := range b {
		out = append(out, strings.Join([]string{string(e.From), string(e.To), e.Kind, e.Strength, e.Status}, ":"))
	}
	return strings.Join(out, " ")
}

func caps(c []verdict.Cap) string {
	var out []string
	for _, x := range c {
		out = append(out, x.Tier.String()+":"+x.Reason.Code)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name, edges, caps string
		parts             []verdict.Component
	}{
		{"a lone CPU", "", "", []verdict.Component{part(t, "cpu", "cpu-tee", "same", isFresh)}},
		{"a lone device", "", "warning:unbound-component", []verdict.Component{part(t, "gpu", "device", "same", isFresh)}},
		{"nothing at all", "", "", nil},
		{"one nonce is freshness only", "gpu:cpu:common-nonce:nonce:bound", "warning:unbound-component",
			[]verdict.Component{part(t, "cpu", "cpu-tee", "shake256/64", isFresh), part(t, "gpu", "device", "same", isFresh)}},
		{"a given nonce binds nothing", "gpu:cpu:common-nonce:none:absent", "warning:unbound-component",
			[]verdict.Component{part(t, "cpu", "cpu-tee", "same", isFresh), part(t, "gpu", "device", "given", isFresh)}},
		{"another session", "gpu:cpu:common-nonce:none:absent", "warning:unbound-component",
			[]verdict.Component{part(t, "cpu", "cpu-tee", "same", isFresh), part(t, "gpu", "device", "same", stale)}},
		{"no challenge", "gpu:cpu:common-nonce:none:absent", "warning:unbound-component",
			[]verdict.Component{part(t, "cpu", "cpu-tee", "", open), part(t, "gpu", "device", "", open)}},
		{"no answer", "gpu:cpu:common-nonce:none:absent", "warning:unbound-component",
			[]verdict.Component{part(t, "cpu", "cpu-tee", "same", isFresh), {Label: "gpu", Class: "device"}}},
		{"no root", "", "warning:unbound-component",
			[]verdict.Component{part(t, "a", "device", "same", isFresh), part(t, "b", "device", "same", isFresh)}},
		{"two roots", "", "warning:unbound-component",
			[]verdict.Component{part(t, "a", "cpu-tee", "same", isFresh), part(t, "b", "cpu-tee", "same", isFresh)}},
		{"one device twice", "b:a:identity-collision:none:broken", "contraindicated:duplicate-identity warning:unbound-component",
			[]verdict.Component{part(t, "a", "device", "same", isFresh, "x:1", "y:1"), part(t, "b", "device", "same", isFresh, "x:1", "y:1")}},
		{"two devices", "", "warning:unbound-component",
			[]verdict.Component{part(t, "a", "device", "same", isFresh, "x:1"), part(t, "b", "device", "same", isFresh, "x:2")}},
	} {
		e, k := Check(Input{Components: c.parts})
		if edges(e) != c.edges || caps(k) != c.caps {
			t.Errorf("%s:\n got %s | %s\nwant %s | %s", c.name, edges(e), caps(k), c.edges, c.caps)
		}
	}
}

// Only a path of strong, bound edges to the root takes the cap away.
func TestUnboundFollowsStrongEdges(t *testing.T) {
	c := newComposite([]verdict.Component{{Label: "cpu", Class: "cpu-tee"}, {Label: "gpu"}, {Label: "nic"}}, nil)
	strong := func(from, to, status string) verdict.Binding {
		return verdict.Binding{From: evidence.Path(from), To: evidence.Path(to), Strength: StrengthStrong, Status: status}
	}
	for name, k := range map[string]struct {
		edges []verdict.Binding
		loose int
	}{
		"all bound":       {[]verdict.Binding{strong("nic", "gpu", StatusBound), strong("gpu", "cpu", StatusBound)}, 0},
		"one is loose":    {[]verdict.Binding{strong("gpu", "cpu", StatusBound)}, 1},
		"a broken edge":   {[]verdict.Binding{strong("nic", "gpu", StatusBroken), strong("gpu", "cpu", StatusBound)}, 1},
		"an island":       {[]verdict.Binding{strong("nic", "gpu", StatusBound)}, 1},
		"nonce is no way": {[]verdict.Binding{{From: "gpu", To: "cpu", Strength: StrengthNonce, Status: StatusBound}, {From: "nic", To: "cpu", Strength: StrengthNonce, Status: StatusBound}}, 1},
	} {
		if got := unbound(c.root, c.parts, k.edges, reach(c.root, k.edges), false); len(got) != k.loose {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestMutual: whoever reads a verdict knows the direction of its edges as this package
// does.
func TestMutual(t *testing.T) {
	for _, k := range Checkers() {
		if got := (verdict.Binding{Kind: k.Kind}).Mutual(); got != k.Mutual {
			t.Errorf("%s: mutual is %v here and %v in a verdict", k.Kind, k.Mutual, got)
		}
	}
}

func freshly(c verdict.Component) bool {
	return fresh(newComposite([]verdict.Component{c}, nil).parts[0])
}

// together is one component with the results of redundant verifiers.
func together(parts ...verdict.Component) verdict.Component {
	c := parts[0]
	c.Quorum, c.Asked = len(parts), len(parts)
	var all []verdict.Partial
	for _, p := range parts {
		all = append(all, p.Partial)
	}
	verdict.SetPartials(&c, all)
	return c
}

// TestEveryVerifierCounts: what one of several redundant verifiers found counts
// against a component, and only what all found counts for it, in whatever place
// their results stand.
func TestEveryVerifierCounts(t *testing.T) {
	cpu := part(t, "cpu", "cpu-tee", "same", isFresh)
	gpu := func(f verdict.Freshness, devices ...string) verdict.Component {
		return part(t, "gpu", "device", "same", f, devices...)
	}
	worse := func(devices ...string) verdict.Component { // so that it becomes the first result
		return partWith(t, "gpu", "device", "same", isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Hardware], a.Facts.Device = verdict.ClaimUnsafe, devices
		})
	}
	nic := part(t, "nic", "device", "same", isFresh, "x:1")
	const collision = "contraindicated:duplicate-identity warning:unbound-component"
	for _, c := range []struct {
		name, edges, caps string
		parts             []verdict.Component
	}{
		{"all fresh", "gpu:cpu:common-nonce:nonce:bound", "warning:unbound-component",
			[]verdict.Component{cpu, together(gpu(isFresh), worse())}},
		{"one stale", "gpu:cpu:common-nonce:none:absent", "warning:unbound-component",
			[]verdict.Component{cpu, together(gpu(isFresh), gpu(stale))}},
		{"identity by the better one", "nic:gpu:identity-collision:none:broken", collision,
			[]verdict.Component{together(worse(), gpu(isFresh, "x:1")), nic}},
		{"identity by the worse one", "nic:gpu:identity-collision:none:broken", collision,
			[]verdict.Component{together(gpu(isFresh), worse("x:1")), nic}},
		{"identity by both", "nic:gpu:identity-collision:none:broken", collision,
			[]verdict.Component{together(gpu(isFresh, "x:1"), worse("x:1")), nic}},
		{"identity of its own", "", "warning:unbound-component",
			[]verdict.Component{together(gpu(isFresh, "x:2"), worse("x:2")), nic}},
	} {
		e, k := Check(Input{Components: c.parts})
		if edges(e) != c.edges || caps(k) != c.caps {
			t.Errorf("%s:\n got %s | %s\nwant %s | %s", c.name, edges(e), caps(k), c.edges, c.caps)
		}
	}
	for name, all := range map[string]verdict.Component{"a warning and a good one": together(gpu(isFresh), worse()), "two good ones": together(gpu(isFresh), gpu(isFresh))} {
		if !freshly(all) {
			t.Errorf("%s: not fresh", name)
		}
		all.Others = append(all.Others, part(t, "gpu", "device", "", open).Partial)
		if freshly(all) {
			t.Errorf("%s: fresh although one verifier saw no challenge", name)
		}
	}
}
