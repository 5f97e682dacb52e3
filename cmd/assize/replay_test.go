// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verdict"
)

// simulatedRun is a simulated machine with the arguments that appraise it.
type simulatedRun struct {
	state, dir string
	args       []string
}

func newSimulatedRun(t *testing.T, machine string, more ...string) simulatedRun {
	t.Helper()
	r := simulatedRun{state: t.TempDir(), dir: filepath.Join(t.TempDir(), "m")}
	if o := assize(t, r.state, append([]string{"simulate", "--machine", machine, "--nonce", simNonce, "-o", r.dir}, more...)...); o.code != 0 {
		t.Fatal(o.err)
	}
	r.args = []string{
		"appraise", r.path("evidence.cmw"), "--nonce", simNonce, "--trust", r.path("trust.json"), "--endorsements", r.path("endorsements"),
		"--corim", r.dir, "--corim-trust", r.path("corim-trust.json"),
	}
	return r
}

func (r simulatedRun) path(name string) string { return filepath.Join(r.dir, name) }

// bundle appraises the machine and returns the file of a bundle, and the exit status.
func (r simulatedRun) bundle(t *testing.T, more ...string) (string, int) {
	t.Helper()
	o := assize(t, r.state, append(append(slices.Clone(r.args), "-o", "bundle"), more...)...)
	if o.code == exitFailed || o.code == exitUsage || o.out == "" {
		t.Fatalf("%d %s", o.code, o.err)
	}
	return write(t, "bundle.json", []byte(o.out)), o.code
}

// replayed runs a replay whose report has to fit its schema.
func replayed(t *testing.T, state, bundle string, more ...string) (replayReport, outcome) {
	t.Helper()
	o := assize(t, state, append([]string{"appraise", "--replay", bundle, "-o", "json"}, more...)...)
	var r replayReport
	if o.out == "" {
		return r, o
	}
	schema, err := schemas.Load("replay.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON([]byte(o.out)); err != nil {
		t.Errorf("%v\n%s", err, o.out)
	}
	if err := json.Unmarshal([]byte(o.out), &r); err != nil {
		t.Fatal(err)
	}
	return r, o
}

// changed decodes a bundle, has its parts changed so that they still fit one another,
// and writes it.
func changed(t *testing.T, bundle string, change func(b *verdict.Bundle)) string {
	t.Helper()
	raw, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	b, err := verdict.DecodeBundle(bytes.TrimSpace(raw))
	if err != nil {
		t.Fatal(err)
	}
	change(&b)
	if raw, err = verdict.EncodeBundle(b); err != nil {
		t.Fatal(err)
	}
	return write(t, "changed.json", raw)
}

// item is the first one whose kind and name are these; name "" is any.
func item(t *testing.T, b *verdict.Bundle, kind verdict.ItemKind, name string) *verdict.Item {
	t.Helper()
	i := slices.IndexFunc(b.Items, func(i verdict.Item) bool { return i.Kind == kind && (name == "" || i.Name == name) })
	if i < 0 {
		t.Fatalf("no %s %q", kind, name)
	}
	return &b.Items[i]
}

func (r replayReport) has(component, what string) bool {
	return slices.ContainsFunc(r.Differences, func(d difference) bool { return d.Component == component && d.What == what })
}

// A verdict is reproduced by somebody else with nothing but the bundle: the same
// tiers, claims, reasons and bindings, whatever the verdict is. Nothing is left
// behind: no key, no file.
func TestReplayReproduces(t *testing.T) {
	for name, c := range map[string]struct {
		machine   string
		simulated []string
		appraised []string
		code      int
	}{
		"one GPU":         {"cpu-gpu", nil, nil, exitAffirming},
		"a board":         {"hgx", nil, nil, exitAffirming},
		"signed":          {"cpu-gpu", []string{"--format", "cose"}, nil, exitAffirming},
		"of a foreigner":  {"cpu-gpu", []string{"--fault", "gpu/0:foreign-machine"}, nil, exitContraindicated},
		"a missing GPU":   {"cpu-gpu", nil, []string{"--require", "gpu/*=2"}, exitNone},
		"another policy":  {"cpu-gpu", nil, []string{"--policy", "strict", "--topology", "lead(cpu, gpu/0)"}, exitWarning},
		"edited policy":   {"cpu-gpu", nil, []string{"--evidence-policy", "@"}, exitAffirming},
		"expired":         {"cpu-gpu", nil, []string{"--at", "2027-03-01T00:00:00Z"}, exitWarning},
		"optional, quick": {"cpu-gpu", nil, []string{"--optional", "gpu/*"}, exitAffirming},
		"interfaces":      {"tdisp", nil, nil, exitAffirming},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSimulatedRun(t, c.machine, c.simulated...)
			for i, a := range c.appraised {
				if a == "@" {
					c.appraised[i] = write(t, "tdx.yaml", []byte("scheme: intel-tdx\nfindings: {}\n"))
				}
			}
			file, code := r.bundle(t, append(c.appraised, "--include", "all")...)
			elsewhere := t.TempDir()
			got, o := replayed(t, elsewhere, file, "--trust", r.path("trust.json"), "--require-same")
			if !got.Reproduced || o.code != code || got.Signature != "unknown" || len(got.Missing) > 0 {
				t.Errorf("%d, then %d: %+v %s", o.code, code, got, o.err)
			}
			if code != c.code {
				t.Errorf("exit %d, expected %d", code, c.code)
			}
			if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
				t.Errorf("a replay left %v behind, %v", left, err)
			}
			if got, _ := replayed(t, r.state, file, "--use-included-roots"); !got.Reproduced || got.Signature != "own" || got.Roots[0].Use != rootsIncluded {
				t.Errorf("at home: %+v", got)
			}
			text := assize(t, elsewhere, "appraise", "--replay", file, "--trust", r.path("trust.json"))
			if text.code != code || !strings.Contains(text.out, "reproduced: the same") || !strings.Contains(text.out, "not that any of them is to be trusted") {
				t.Errorf("%d %s", text.code, text.out)
			}
		})
	}
}

// Recorded evidence, with a challenge of its own and a time of its own.
func TestReplayOfRecordedEvidence(t *testing.T) {
	state := t.TempDir()
	o := assize(t, state, "appraise", sample(t), "--component-nonce", gpuNonce(), "--at", "2026-01-01T00:00:00Z", "-o", "bundle", "--include", "all")
	if o.code == exitFailed || o.out == "" {
		t.Fatalf("%d %s", o.code, o.err)
	}
	got, again := replayed(t, t.TempDir(), write(t, "b.json", []byte(o.out)))
	if !got.Reproduced || again.code != o.code || got.AsOf != "2026-01-01T00:00:00Z" || len(got.Roots) > 0 {
		t.Errorf("%d %d %+v %s", o.code, again.code, got, again.err)
	}
}

// As of another time, the differences are those between two appraisals of the same
// evidence as of the two times, claim by claim.
func TestReplayAtAnotherTime(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu", "--at", "2026-11-20T00:00:00Z")
	const then, later = "2026-11-20T01:00:00Z", "2027-03-01T00:00:00Z"
	file, _ := r.bundle(t, "--at", then, "--include", "all")
	got, o := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json"), "--at", later)
	if got.Reproduced || o.code != exitWarning || got.Was != verdict.TierAffirming || got.Tier != verdict.TierWarning || got.AsOf != later {
		t.Fatalf("%d %+v %s", o.code, got, o.err)
	}
	a := parse(t, assize(t, r.state, append(slices.Clone(r.args), "-o", "json", "--at", then)...))
	b := parse(t, assize(t, r.state, append(slices.Clone(r.args), "-o", "json", "--at", later)...))
	want, seen := map[string]bool{}, map[string]bool{}
	for label, c := range a.Components {
		for claim, v := range c.TrustVector {
			if b.Components[label].TrustVector[claim] != v {
				want[label+" trust "+claim] = true
			}
		}
		for _, why := range b.Components[label].Reasons {
			if !slices.Contains(c.Reasons, why) {
				want[label+" reason "+why.Code] = true
			}
		}
	}
	for _, d := range got.Differences {
		if strings.HasPrefix(d.What, "trust ") || d.Component != "" && strings.HasPrefix(d.What, "reason ") {
			seen[d.Component+" "+d.What] = true
		}
	}
	if len(want) == 0 || !maps.Equal(want, seen) {
		t.Errorf("differences %v, expected %v", seen, want)
	}
	if got.has("", "verification time") || got.has("", "reason "+verdict.ReasonTimeOverridden) {
		t.Errorf("the time that was asked for is a difference: %+v", got.Differences)
	}
	if got.has("cpu", "evidence") || got.has("cpu", "freshness") || !got.has("cpu", "tier") {
		t.Errorf("%+v", got.Differences)
	}
}

// What is not carried is named, and makes a difference; nothing is fetched instead.
func TestReplayOfPartOfIt(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	file, _ := r.bundle(t, "--include", "evidence,policies,references,plan,roots")
	got, o := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json"))
	if got.Reproduced || len(got.Missing) == 0 || !got.has("cpu", "trust hardware") || !got.has("gpu/0", "tier") {
		t.Fatalf("%d %+v %s", o.code, got, o.err)
	}
	for _, m := range got.Missing {
		if m.Kind != verdict.ItemCollateral {
			t.Errorf("missing: %+v", m)
		}
	}
	if text := assize(t, t.TempDir(), "appraise", "--replay", file, "--trust", r.path("trust.json")); !strings.Contains(text.out, "missing, so that the result may differ: collateral intel-") {
		t.Error(text.out)
	}
	if _, o := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json"), "--require-same"); o.code != exitFailed || !strings.Contains(o.err, "not reproduced") {
		t.Errorf("%d %s", o.code, o.err)
	}
	// The policy for whole machines is found by its digest.
	file, _ = r.bundle(t, "--include", "evidence,collateral,references,plan")
	if got, o := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json")); !got.Reproduced || got.Roots[0].Use != rootsGiven || len(got.Missing) > 0 {
		t.Errorf("%+v %s", got, o.err)
	}
	// An edited one is missed.
	own := write(t, "own.rego", []byte("package assize\n\nacceptable := \"warning\"\n"))
	file, _ = r.bundle(t, "--include", "evidence,collateral,references", "--policy", own)
	if got, o := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json")); got.Reproduced || len(got.Missing) != 1 || got.Missing[0].Name != "machine/own" || !got.has("", "policy") {
		t.Errorf("%+v %s", got, o.err)
	}
	// One that the bundle brings is run by whoever signed the verdict, and by who says so.
	file, _ = r.bundle(t, "--include", "all", "--policy", own)
	if _, out := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json")); out.code != exitFailed || out.out != "" || !strings.Contains(out.err, "--use-included-policy") {
		t.Errorf("%d %s%s", out.code, out.out, out.err)
	}
	if got, o := replayed(t, r.state, file, "--trust", r.path("trust.json")); !got.Reproduced {
		t.Errorf("%+v %s", got, o.err)
	}
	if got, o := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json"), "--use-included-policy"); !got.Reproduced {
		t.Errorf("%+v %s", got, o.err)
	}
	if got, o := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json"), "--policy", own); !got.Reproduced {
		t.Errorf("%+v %s", got, o.err)
	}
	for _, kinds := range []string{"", "collateral"} {
		var more []string
		if kinds != "" {
			more = []string{"--include", kinds}
		}
		file, _ = r.bundle(t, more...)
		if _, o := replayed(t, t.TempDir(), file, "--trust", r.path("trust.json")); o.code != exitFailed || o.out != "" || !strings.Contains(o.err, "--include") && !strings.Contains(o.err, "digest only") {
			t.Errorf("%q: %d %s", kinds, o.code, o.err)
		}
	}
}

// Another policy on purpose is a difference that is explained.
func TestReplayUnderAnotherPolicy(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	file, _ := r.bundle(t, "--include", "all")
	got, o := replayed(t, t.TempDir(), file, "--use-included-roots", "--policy", "strict")
	if got.Reproduced || o.code != exitWarning || !got.has("", "policy") || !got.has("", "reason policy") || got.has("cpu", "trust hardware") || !strings.Contains(strings.Join(got.Notes, " "), "strict") {
		t.Errorf("%d %+v %s", o.code, got, o.err)
	}
	edited := write(t, "tdx.yaml", []byte("scheme: intel-tdx\nfindings:\n  tcb-up-to-date: {hardware: 32}\n"))
	got, o = replayed(t, t.TempDir(), file, "--use-included-roots", "--evidence-policy", edited)
	if got.Reproduced || o.code != exitWarning || !got.has("cpu", "trust hardware") || !got.has("cpu", "appraisal policy") || got.has("gpu/0", "trust hardware") {
		t.Errorf("%d %+v %s", o.code, got, o.err)
	}
}

// What a bundle brings never makes the exit status better than the verdict in it: who
// makes bundles can exchange what the verdict has no digest of. What the caller says
// does.
func TestReplayIsNoBetterForWhatABundleBrings(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	strict := write(t, "tdx.yaml", []byte("scheme: intel-tdx\nfindings:\n  tcb-up-to-date: {hardware: 32}\n"))
	file, code := r.bundle(t, "--include", "all", "--evidence-policy", strict)
	if code != exitWarning {
		t.Fatal(code)
	}
	const lax = "scheme: intel-tdx\nfindings: {}\n"
	eased := changed(t, file, func(b *verdict.Bundle) {
		i := item(t, b, verdict.ItemPolicies, namedEdited+"intel-tdx")
		*i = verdict.NewItem(i.Kind, i.Name, i.MediaType, []byte(lax))
	})
	got, o := replayed(t, t.TempDir(), eased, "--use-included-roots")
	if o.code != exitWarning || got.Reproduced || got.Tier != verdict.TierAffirming || got.Was != verdict.TierWarning || len(got.Differences) == 0 ||
		!strings.Contains(strings.Join(got.Notes, " "), "exit status is that of the recorded verdict") {
		t.Errorf("%d %+v %s", o.code, got, o.err)
	}
	if got, o := replayed(t, t.TempDir(), eased, "--use-included-roots", "--require-same"); o.code != exitFailed || got.Reproduced {
		t.Errorf("%d %+v", o.code, got)
	}
	own := write(t, "own.yaml", []byte(lax))
	if got, o := replayed(t, t.TempDir(), file, "--use-included-roots", "--evidence-policy", own); o.code != exitAffirming || got.Tier != verdict.TierAffirming || got.Reproduced {
		t.Errorf("by the caller: %d %+v %s", o.code, got, o.err)
	}
}

// Roots that a bundle brings are not believed because it brings them.
func TestReplayBelievesNoIncludedRoots(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	file, _ := r.bundle(t, "--include", "all")
	got, o := replayed(t, t.TempDir(), file)
	if o.code != exitContraindicated || got.Reproduced || got.Roots[0].Use != rootsUnused || !got.has("cpu", "reason "+verdict.ReasonUnknownRoot) {
		t.Errorf("%d %+v", o.code, got)
	}
	other := newSimulatedRun(t, "cpu")
	if _, o := replayed(t, t.TempDir(), file, "--trust", other.path("trust.json")); o.code != exitFailed || !strings.Contains(o.err, "was made without") || o.out != "" {
		t.Errorf("other roots: %d %s", o.code, o.err)
	}
	// A signed composite cannot even be read then.
	signed := newSimulatedRun(t, "cpu-gpu", "--format", "jws")
	file, _ = signed.bundle(t, "--include", "all")
	if _, o := replayed(t, t.TempDir(), file); o.code != exitFailed || !strings.Contains(o.err, "--use-included-roots") {
		t.Errorf("signed: %d %s", o.code, o.err)
	}
}

// What a bundle brings has to be what the verdict says: nobody can exchange a part
// for another one that fits the manifest, where the verdict knows the part.
func TestReplayRefusesWhatDoesNotBelong(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	file, _ := r.bundle(t, "--include", "all")
	request := func(from, to string) func(b *verdict.Bundle) {
		return func(b *verdict.Bundle) {
			i := item(t, b, verdict.ItemRequest, "request")
			raw := bytes.Replace(i.Value, []byte(from), []byte(to), 1)
			if bytes.Equal(raw, i.Value) {
				t.Fatalf("%q is not in %s", from, i.Value)
			}
			*i = verdict.NewItem(i.Kind, i.Name, i.MediaType, raw)
		}
	}
	replace := func(kind verdict.ItemKind, name, text string) func(b *verdict.Bundle) {
		return func(b *verdict.Bundle) {
			i := item(t, b, kind, name)
			*i = verdict.NewItem(kind, i.Name, i.MediaType, []byte(text))
		}
	}
	remove := func(kind verdict.ItemKind, name string) func(b *verdict.Bundle) {
		return func(b *verdict.Bundle) {
			gone := item(t, b, kind, name).Digest
			b.Items = slices.DeleteFunc(b.Items, func(i verdict.Item) bool { return i.Kind == kind && i.Digest == gone })
		}
	}
	other := newSimulatedRun(t, "cpu-gpu", "--seed", "other")
	foreign, _ := other.bundle(t, "--include", "all")
	var stranger verdict.Bundle
	changed(t, foreign, func(b *verdict.Bundle) { stranger = *b })
	for name, c := range map[string]struct {
		change func(b *verdict.Bundle)
		why    string
	}{
		"another composite": {func(b *verdict.Bundle) {
			b.Evidence, b.EvidenceType, b.Items[0] = stranger.Evidence, stranger.EvidenceType, stranger.Items[0]
		}, "is not what the verdict is about"},
		"another verdict": {func(b *verdict.Bundle) { b.Verdict = stranger.Verdict }, "the recorded verdict"},
		"no keys":         {remove(verdict.ItemRequest, "keys"), "no item"},
		"keys of nobody":  {replace(verdict.ItemRequest, "keys", `{"keys":[]}`), "the recorded verdict"},
		"two requests": {func(b *verdict.Bundle) {
			b.Items = append(b.Items, verdict.NewItem(verdict.ItemRequest, "x", itemRequest, []byte("{}")))
		}, "two items"},
		"another plan":      {replace(verdict.ItemPlan, "plan", "{}"), "is not that of the verdict"},
		"another policy":    {replace(verdict.ItemPolicies, "machine/default", "package assize\n"), "is not that of the verdict"},
		"no policy":         {remove(verdict.ItemPolicies, "machine/default"), "the other one has none"},
		"policy renamed":    {func(b *verdict.Bundle) { item(t, b, verdict.ItemPolicies, "machine/default").Name = "machine/strict" }, "is called"},
		"another challenge": {request(`"nonce":"AAEC`, `"nonce":"BBEC`), "the challenge"},
		"another time":      {request(`"time":"20`, `"time":"19`), "the recorded verdict"},
		"a later time":      {request(`"time":"20`, `"time":"21`), "the times"},
		"verification time": {request(`"topology"`, `"verification_time":"2026-01-01T00:00:00Z","topology"`), "not as this software writes it"},
		"as of then":        {request(`,"nonce"`, `,"verification_time":"2026-01-01T00:00:00Z","nonce"`), "the times"},
		"unknown member":    {request(`"topology"`, `"x":1,"topology"`), "unknown field"},
		"twice":             {request(`"topology"`, `"corim":true,"topology"`), "corim"},
		"other kind":        {request(replayRequestKind, "other"), "kind is not"},
		"no requirement":    {request(`"schemes"`, `"requirements":[{"label":"x","source":"relying-party"}],"schemes"`), "requirement"},
		"two authorities": {func(b *verdict.Bundle) {
			b.Items = append(b.Items, verdict.NewItem(verdict.ItemReferences, "x", itemAuthorities, []byte("{}")))
		}, "two files of authorities"},
		"two sets of roots": {func(b *verdict.Bundle) {
			roots := *item(t, b, verdict.ItemRoots, "roots")
			b.Items = append(b.Items, verdict.NewItem(roots.Kind, "x", itemRoots, append([]byte(" "), roots.Value...)))
		}, "two files of extra roots"},
	} {
		_, o := replayed(t, t.TempDir(), changed(t, file, c.change), "--use-included-roots")
		if o.code != exitFailed || o.out != "" || !strings.Contains(o.err, c.why) {
			t.Errorf("%s: %d %s", name, o.code, o.err)
		}
	}
	// What the verdict does not know by a digest of its own shows in what is said.
	for name, change := range map[string]func(b *verdict.Bundle){
		"a collateral document": remove(verdict.ItemCollateral, ""),
		"the reference values": func(b *verdict.Bundle) {
			b.Items = slices.DeleteFunc(b.Items, func(i verdict.Item) bool { return i.MediaType == itemCorimSigned })
		},
		"the authorities":    remove(verdict.ItemReferences, "authorities"),
		"nobody was trusted": request(`"intel-tdx",`, ``),
		"another topology":   request(`"topology":"lead"`, `"topology":"lead(cpu)"`),
		"a demand":           request(`"schemes"`, `"requirements":[{"label":"nic/*","source":"configuration"}],"schemes"`),
		"another default": func(b *verdict.Bundle) {
			i := item(t, b, verdict.ItemPolicies, "default/intel-tdx")
			*i = verdict.NewItem(i.Kind, i.Name, i.MediaType, []byte("scheme: intel-tdx\nfindings:\n  tcb-up-to-date: {hardware: 32}\n"))
		},
	} {
		got, o := replayed(t, t.TempDir(), changed(t, file, change), "--use-included-roots")
		if o.code == exitFailed || got.Reproduced || len(got.Differences) == 0 {
			t.Errorf("%s makes no difference: %d %+v %s", name, o.code, got, o.err)
		}
	}
	// A default that says the same in other words is the same, and is said.
	got, o := replayed(t, t.TempDir(), changed(t, file, func(b *verdict.Bundle) {
		i := item(t, b, verdict.ItemPolicies, "default/intel-tdx")
		*i = verdict.NewItem(i.Kind, i.Name, i.MediaType, append([]byte("# of another build\n"), i.Value...))
	}), "--use-included-roots")
	if !got.Reproduced || !strings.Contains(strings.Join(got.Notes, " "), "default policy of intel-tdx") {
		t.Errorf("%d %+v %s", o.code, got, o.err)
	}
}

// A bit that is flipped in anything that a bundle carries, and a record that is
// taken out, are refused before anything is appraised.
func TestReplayRefusesFlippedBits(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	file, _ := r.bundle(t, "--include", "all")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		t.Fatal(err)
	}
	records := 0
	for label, entry := range whole {
		var parts []any
		if json.Unmarshal(entry, &parts) != nil {
			continue // the type of the collection
		}
		records++
		value := parts[1].(string)
		at := len(value) / 3
		flipped := byte('A')
		if value[at] == 'A' {
			flipped = 'B'
		}
		bad := maps.Clone(whole)
		parts[1] = value[:at] + string(flipped) + value[at+1:]
		bad[label], _ = json.Marshal(parts)
		gone := maps.Clone(whole)
		delete(gone, label)
		for what, m := range map[string]map[string]json.RawMessage{"flipped": bad, "gone": gone} {
			text, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, o := replayed(t, t.TempDir(), write(t, "bad.json", text), "--use-included-roots"); o.code != exitFailed || o.out != "" || o.err == "" {
				t.Errorf("%s %s: %d %s", label, what, o.code, o.out)
			}
		}
	}
	if records < 15 {
		t.Errorf("%d records", records)
	}
}

// Names in a bundle are never paths.
func TestReplayNamesAreNoPaths(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	file, _ := r.bundle(t, "--include", "all")
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	evil := changed(t, file, func(b *verdict.Bundle) {
		for n := range b.Items {
			i := &b.Items[n]
			switch {
			case i.Kind == verdict.ItemReferences:
				i.Name = "../secret"
			case i.Kind == verdict.ItemCollateral && !strings.Contains(i.Name, "NV_"): // that is the identifier of a manifest
				i.Name = secret
			}
		}
	})
	got, o := replayed(t, state, evil, "--use-included-roots")
	for _, d := range got.Differences {
		if !strings.Contains(d.Now, secret) { // the name of a document, in claims
			t.Errorf("%+v", d)
		}
	}
	if _, err := os.Stat(state); o.code != exitAffirming || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%d %s %v", o.code, o.err, err)
	}
	if raw, err := os.ReadFile(secret); err != nil || string(raw) != "x" {
		t.Error("a file was changed")
	}
}

func TestReplayUsage(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	file, _ := r.bundle(t, "--include", "all")
	for _, args := range [][]string{
		{"--replay", file, "-o", "ear"}, {"--replay", file, "-o", "bundle"}, {"--replay", file, "-o", "pars"}, {"--replay", file, "-o", "cwt"},
		{"--replay", file, "--nonce", simNonce}, {"--replay", file, "--endorsements", r.dir}, {"--replay", file, "--online"},
		{"--replay", file, "--topology", "lead"}, {"--replay", file, "--corim", r.dir, "--corim-unsigned"}, {"--replay", file, "--include", "all"},
		{"--replay", file, "--require", "gpu/*"}, {"--replay", file, "--optional", "gpu/*"}, {"--replay", file, "--media-type", "a/b"},
		{"--replay", file, "--component-nonce", "gpu/0=" + simNonce}, {"--replay", file, "--dry-run", "strict"},
		{"--replay", file, r.path("evidence.cmw")}, {"--replay", ""}, {"--replay", file, "--at", "yesterday"},
		{"--require-same", r.path("evidence.cmw")}, {"--use-included-roots", r.path("evidence.cmw")},
		{r.path("evidence.cmw"), "--include", "all"}, {r.path("evidence.cmw"), "-o", "json", "--include", "all"},
		{r.path("evidence.cmw"), "-o", "bundle", "--include", "everything"}, {r.path("evidence.cmw"), "-o", "bundle", "--include", "request"},
		{r.path("evidence.cmw"), "-o", "bundle", "--include", ""},
	} {
		if o := assize(t, r.state, append([]string{"appraise"}, args...)...); o.code != exitUsage || o.out != "" {
			t.Errorf("%v: %d %s", args, o.code, o.err)
		}
	}
	for _, bad := range []string{"{}", "[]", "x", `{"__cmwc_t":"tag:github.com,2026:assize/bundle"}`} {
		if o := assize(t, r.state, "appraise", "--replay", write(t, "bad.json", []byte(bad))); o.code != exitFailed {
			t.Errorf("%s: %d %s", bad, o.code, o.err)
		}
	}
	// A relying party verifies a bundle with items as any other one.
	if o := assize(t, r.state, "keys", "jwks"); o.code == 0 {
		jwks := write(t, "jwks.json", []byte(o.out))
		if o := assize(t, r.state, "verdict", "verify", file, "--trust", jwks, "--nonce", simNonce); o.code == exitFailed && !strings.Contains(o.err, "simulated") && !strings.Contains(o.err, "its own results give warning") {
			t.Errorf("%d %s", o.code, o.err)
		}
	}
}
