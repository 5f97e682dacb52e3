// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
)

// bindings are machines that are tied together in every way that there is.
func bindings() []Description {
	out := []Description{
		{Name: "ak", VTPM: VTPM{Key: "p256"}, Binding: BindAK},
		{Name: "lead-nitro", CPU: CPU{Kind: string(KindNitro)}, Binding: BindLead},
		{Name: "trustee-snp", CPU: CPU{Kind: string(KindSNP)}, Binding: BindTrustee},
	}
	for _, b := range []string{BindCommitment, BindNonce, BindTrustee, BindITA, BindLead, BindEvent} {
		out = append(out, Description{Name: b, Binding: b})
	}
	for i := range out {
		out[i].GPUs.Count, out[i].PSA.Count = 2, 1
	}
	return out
}

// keysOf are the keys that may sign the composites of a machine.
type keysOf []crypto.PublicKey

// VerificationKeys implements evidence.KeyFinder.
func (k keysOf) VerificationKeys([]byte, string) []crypto.PublicKey { return k }

// treeOf asks a machine and reads its answer with the keys of its trust file.
func treeOf(tb testing.TB, m *Machine, f Format) *evidence.Tree {
	tb.Helper()
	raw, _, err := m.Evidence(testNonce, f)
	if err != nil {
		tb.Fatal(err)
	}
	file, err := m.Trust()
	if err != nil {
		tb.Fatal(err)
	}
	roots, err := trust.ParseRoots(file)
	if err != nil {
		tb.Fatal(err)
	}
	tree, err := evidence.Parse(raw, evidence.Options{Keys: keysOf(roots.Attesters.Attesters(testNow))})
	if err != nil {
		tb.Fatal(err)
	}
	return tree
}

// challengeOf is what a component has to answer by what the composite declares,
// put together as a verifier does it.
func challengeOf(tb testing.TB, tree *evidence.Tree, l Leaf) []byte {
	tb.Helper()
	c := tree.Commitment()
	var out []byte
	var err error
	switch {
	case c != nil && c.Convention != "" && l.Kind.cpu():
		out, err = tree.RuntimeData().Report(testNonce, c.Additional)
	case c != nil && c.Convention != "":
		out, err = tree.RuntimeData().Device(testNonce, l.Kind.nonceSize())
	case c != nil && l.Kind.cpu():
		delete(c.Leaves, l.Path)
		c.Nonce = testNonce
		var sum [evidence.CommitmentSize]byte
		sum, err = c.Sum()
		out = sum[:]
	default:
		out = session{nonce: testNonce}.derive(l.Kind.nonceSize())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestBindingsAreFreshAndDeterministic(t *testing.T) {
	conventions := map[string]string{
		BindCommitment: evidence.ConventionAssize, BindTrustee: evidence.ConventionTrustee, BindITA: evidence.ConventionITA,
	}
	for _, d := range bindings() {
		m := made(t, d)
		one, _, err := m.Evidence(testNonce, CBOR)
		if err != nil {
			t.Fatal(err)
		}
		if two, _, err := made(t, d).Evidence(testNonce, CBOR); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: two runs differ (%v)", d.Name, err)
		}
		w := worldOf(t, m)
		for _, f := range []Format{JSON, CBOR} {
			tree := treeOf(t, m, f)
			if tree.Convention() != conventions[d.Binding] || (tree.LeadSigner() != "") != (d.Binding == BindLead) {
				t.Errorf("%s %s: convention %q, signer %q", d.Name, f, tree.Convention(), tree.LeadSigner())
			}
			var paths []string
			for _, leaf := range tree.Leaves() {
				paths = append(paths, string(leaf.Path()))
				l := Leaf{Path: leaf.Path(), Type: leaf.MediaType(), Value: leaf.Value()}
				for _, p := range m.Parts() {
					if p.Label.Under(l.Path) {
						l.Kind = p.Kind
					}
				}
				if l.Kind == KindGPU { // one of several devices
					l.Value = firstDevice(t, l)
				}
				if a, ok := w.appraise(t, l, challengeOf(t, tree, l)); !ok || a.Freshness != verdict.FreshnessFresh && (d.Binding != BindAK || !l.Kind.cpu()) {
					t.Errorf("%s %s: %s is %v: %v", d.Name, f, l.Path, a.Freshness, a.Reasons)
				}
			}
			want := "cpu gpu psa/0"
			switch d.Binding {
			case BindTrustee:
				want = "additional-evidence/cmw/psa/0 additional-evidence/nvidia cpu"
			case BindAK:
				want += " vtpm"
			}
			if got := strings.Join(paths, " "); got != want {
				t.Errorf("%s: %s", d.Name, got)
			}
		}
	}
}

func firstDevice(tb testing.TB, l Leaf) []byte {
	tb.Helper()
	set, err := all.Set()
	if err != nil {
		tb.Fatal(err)
	}
	parts, split, err := set.Parts(l.Type, l.Value)
	if err != nil || !split {
		tb.Fatalf("%v", err)
	}
	return parts[0].Evidence
}

// What the CPU TEE commits to is what is in the composite, and with a fault on the
// way it is not. The digests are computed here and not by the machine.
func TestBindingsCommit(t *testing.T) {
	foreign := func(label evidence.Path) []Fault { return []Fault{{label, ForeignMachine}} }
	for _, c := range []struct {
		binding string
		faults  []Fault
		holds   bool
	}{
		{BindCommitment, nil, true},
		{BindCommitment, foreign("gpu/1"), false},
		{BindTrustee, nil, true},
		{BindTrustee, foreign(trusteeNVIDIA + "/1"), false},
		{BindTrustee, []Fault{{trusteeNVIDIA + "/0", Duplicate}}, true}, // it was collected so
		{BindTrustee, foreign(trusteeCMW + "psa/0"), false},
		{BindTrustee, foreign("gpu/1"), false}, // by its plain label
		{BindTrustee, foreign("cpu"), false},
		{BindTrustee, []Fault{{"cpu", StaleNonce}}, false},
		{BindTrustee, []Fault{{"cpu", Relayed}}, false},
		{BindITA, nil, true},
		{BindITA, foreign("gpu/1"), true}, // it commits to nothing
		{BindITA, []Fault{{"cpu", StaleNonce}}, false},
		{BindITA, []Fault{{"cpu", Relayed}}, false},
	} {
		m := made(t, Description{Name: c.binding, Binding: c.binding, GPUs: GPUs{Count: 2}, PSA: Set{Count: 1}}, c.faults...)
		tree := treeOf(t, m, CBOR)
		node, ok := tree.Lookup("cpu")
		if !ok {
			t.Fatal("no CPU")
		}
		l := Leaf{Path: "cpu", Kind: KindTDX, Type: node.MediaType(), Value: node.Value()}
		a, _ := worldOf(t, m).appraise(t, l, challengeOf(t, tree, l))
		if (a.Freshness == verdict.FreshnessFresh) != c.holds {
			t.Errorf("%s %v: %v", c.binding, c.faults, a.Freshness)
		}
	}
}

// A machine that does not commit says so and still answers.
func TestUnboundBindings(t *testing.T) {
	for _, b := range []string{BindCommitment, BindTrustee, BindLead, BindEvent} {
		m := made(t, Description{Name: b, Binding: b, GPUs: GPUs{Count: 1}}, Fault{"cpu", Unbound})
		tree := treeOf(t, m, CBOR)
		node, _ := tree.Lookup("cpu")
		l := Leaf{Path: "cpu", Kind: KindTDX, Type: node.MediaType(), Value: node.Value()}
		a, _ := worldOf(t, m).appraise(t, l, session{nonce: testNonce}.derive(64))
		if tree.Convention() != "" || tree.Root().Content().CollectionType() != PlainCollection || a.Freshness != verdict.FreshnessFresh ||
			len(a.Facts.Keys) > 0 || bytes.Contains(eventLogOf(t, node), []byte("assize.component")) {
			t.Errorf("%s: %q %v %v", b, tree.Convention(), a.Freshness, a.Facts.Keys)
		}
	}
	if _, err := New(Options{Machine: Description{Binding: BindITA}, Now: testNow, Faults: []Fault{{"cpu", Unbound}}}); err == nil {
		t.Error("what does not commit cannot be without it")
	}
}

// The key that signs the composite is the one to which the CPU TEE commits, but not
// where something was altered.
func TestLeadSignatureBinding(t *testing.T) {
	for kind, via := range map[Kind]string{KindTDX: "lead-key", KindNitro: "public-key"} {
		for _, c := range []struct {
			faults []Fault
			holds  bool
		}{
			{nil, true},
			{[]Fault{{"gpu/0", ForeignMachine}}, false},
			{[]Fault{{"gpu/0", Relayed}}, false},
			{[]Fault{{"cpu", ForeignMachine}}, false}, // which commits to the key of the other machine
			{[]Fault{{"gpu/0", MeasurementFault}}, true},
		} {
			m := made(t, Description{Name: "lead", CPU: CPU{Kind: string(kind)}, Binding: BindLead, GPUs: GPUs{Count: 1}}, c.faults...)
			tree := treeOf(t, m, CBOR)
			signer := tree.Root().Content().Signer()
			der, err := x509.MarshalPKIXPublicKey(signer.Public)
			if err != nil || !signer.Verified {
				t.Fatalf("%v %v", signer, err)
			}
			sum := sha256.Sum256(der)
			node, _ := tree.Lookup("cpu")
			a, _ := worldOf(t, m).appraise(t, Leaf{Path: "cpu", Kind: kind, Type: node.MediaType(), Value: node.Value()}, session{nonce: testNonce}.derive(64))
			found := slices.ContainsFunc(a.Facts.Keys, func(k verdict.CommittedKey) bool { return k.SPKI == hex.EncodeToString(sum[:]) })
			if len(a.Facts.Keys) != 1 || a.Facts.Keys[0].Via != via || a.Facts.Keys[0].Origin != verdict.OriginApplication || found != c.holds {
				t.Errorf("%s %v: %+v, signed by %x", kind, c.faults, a.Facts.Keys, sum)
			}
		}
	}
}

// eventLogOf is the event log beside a TD's quote, nil without one.
func eventLogOf(tb testing.TB, n *evidence.Node) []byte {
	tb.Helper()
	var leaf struct {
		Log string `json:"cc_eventlog"`
	}
	if json.Unmarshal(n.Value(), &leaf) != nil {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(leaf.Log)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// The log has one event for every other component, with the digests of the bytes
// that the framework makes that component of.
func TestEventBinding(t *testing.T) {
	set, err := all.Set()
	if err != nil {
		t.Fatal(err)
	}
	m := made(t, Description{Name: "event", Binding: BindEvent, GPUs: GPUs{Count: 2}, Devices: Devices{Count: 1, TDISP: true}}, Fault{"gpu/1", ForeignMachine})
	tree := treeOf(t, m, CBOR)
	cpu, _ := tree.Lookup("cpu")
	log := eventLogOf(t, cpu)
	holds := map[string]bool{"gpu/0": true, "gpu/1": false, "nic/0": true}
	for _, leaf := range tree.Leaves() {
		parts, split, err := set.Parts(leaf.MediaType(), leaf.Value())
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range parts {
			label := string(leaf.Path())
			if split {
				label = fmt.Sprintf("%s/%d", label, i)
			}
			short, long := sha256.Sum256(p.Evidence), sha512.Sum384(p.Evidence)
			event := fmt.Sprintf(`{"assize.component":"%s","sha256":"%x","sha384":"%x"}`, label, short, long)
			if got := bytes.Contains(log, []byte(event)); got != holds[label] {
				t.Errorf("%s: in the log %t", label, got)
			}
		}
	}
	if n := bytes.Count(log, []byte(`{"assize.component":`)); n != 3 {
		t.Errorf("%d events", n)
	}
	l := Leaf{Path: "cpu", Kind: KindTDX, Type: cpu.MediaType(), Value: cpu.Value()}
	a, _ := worldOf(t, m).appraise(t, l, session{nonce: testNonce}.derive(64))
	if found, _ := a.Claims["event_log"].(map[string]any); a.Freshness != verdict.FreshnessFresh || found["runtime_matched"] != true {
		t.Errorf("%v %v", a.Freshness, a.Claims["event_log"])
	}
}

func TestBindingsAreSensible(t *testing.T) {
	for _, text := range []string{
		`{"binding":"trustee","layout":"nested"}`, `{"binding":"event","cpu":{"kind":"amd-snp"}}`, `{"binding":"event","cpu":{"form":"raw"}}`,
		`{"binding":"lead-signature","cpu":{"kind":"arm-cca"}}`, `{"binding":"lead"}`,
		`{"binding":"lead-signature","cpu":{"form":"tsm"}}`,
	} {
		if _, err := ParseDescription([]byte(text)); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
	for _, text := range []string{
		`{"binding":"trustee","cpu":{"kind":"none"},"gpus":{"count":1}}`, `{"binding":"ita","layout":"nested"}`,
		`{"binding":"lead-signature","cpu":{"kind":"aws-nitro"},"vtpm":{"key":"p256"}}`, `{"binding":"lead-signature","vtpm":{"key":"p256"}}`, `{"binding":"event"}`,
	} {
		d, err := ParseDescription([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, _, err := made(t, d).Evidence(testNonce, JSON); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for _, f := range []Format{RatsdJSON, RatsdV2} { // which know none of this
			if _, _, err := made(t, d).Evidence(testNonce, f); err != nil {
				t.Errorf("%s %s: %v", text, f, err)
			}
		}
	}
}
