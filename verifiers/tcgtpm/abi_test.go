// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	fx "github.com/fxamacker/cbor/v2"

	sim "github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func inputOf(mt evidence.MediaType, raw []byte) verifiers.Input {
	return verifiers.Input{MediaType: mt, Evidence: raw}
}

// Both forms say the same.
func TestForms(t *testing.T) {
	for name, change := range map[string]func(*sim.Options){
		"all": nil, "some registers": func(o *sim.Options) { o.PCRs = []int{0, 7, 23} }, "no certificate": func(o *sim.Options) { o.Uncertified = true },
	} {
		d := device(t, change)
		text, err := d.EvidenceJSON(nonce())
		if err != nil {
			t.Fatal(err)
		}
		a, f := open(inputOf(asCBOR, leafOf(t, d)))
		if f != nil {
			t.Fatal(f)
		}
		b, f := open(inputOf(asJSON, text))
		if f != nil {
			t.Fatal(f)
		}
		a.signature, b.signature = nil, nil // the same key, not always the same signature
		if !reflect.DeepEqual(a, b) || (a.certs == nil) != (name == "no certificate") {
			t.Errorf("%s: %v\n%v", name, a, b)
		}
	}
}

func TestCBORRefusals(t *testing.T) {
	raw := leafOf(t, device(t, nil))
	pcrs := func(m map[string]any) map[any]any { return m["pcrs"].(map[any]any)["sha256"].(map[any]any) }
	for name, change := range map[string]func(map[string]any){
		"no quote":             func(m map[string]any) { delete(m, "quote") },
		"no signature":         func(m map[string]any) { delete(m, "signature") },
		"no ak_public":         func(m map[string]any) { delete(m, "ak_public") },
		"no pcrs":              func(m map[string]any) { delete(m, "pcrs") },
		"empty quote":          func(m map[string]any) { m["quote"] = []byte{} },
		"empty log":            func(m map[string]any) { m["event_log"] = []byte{} },
		"unknown member":       func(m map[string]any) { m["nonce"] = []byte{1} },
		"another case":         func(m map[string]any) { m["Quote"] = m["quote"]; delete(m, "quote") },
		"quote as a text":      func(m map[string]any) { m["quote"] = "quote" },
		"quote as an array":    func(m map[string]any) { m["quote"] = []int{1, 2} },
		"quote with a tag":     func(m map[string]any) { m["quote"] = fx.Tag{Number: 24, Content: m["quote"]} },
		"certificates, a tag":  func(m map[string]any) { m["ak_certificate"] = fx.Tag{Number: 24, Content: m["ak_certificate"]} },
		"registers, a tag":     func(m map[string]any) { m["pcrs"] = fx.Tag{Number: 24, Content: m["pcrs"]} },
		"quote is too long":    func(m map[string]any) { m["quote"] = make([]byte, 1025) },
		"SHA-1":                func(m map[string]any) { m["pcrs"] = map[string]any{"sha1": pcrs(m)} },
		"no bank":              func(m map[string]any) { m["pcrs"] = map[string]any{} },
		"two banks":            func(m map[string]any) { m["pcrs"] = map[string]any{"sha256": pcrs(m), "sha384": pcrs(m)} },
		"no registers":         func(m map[string]any) { clear(pcrs(m)) },
		"PCR 24":               func(m map[string]any) { p := pcrs(m); p[uint64(24)] = p[uint64(0)] },
		"PCR -1":               func(m map[string]any) { p := pcrs(m); p[int64(-1)] = p[uint64(0)] },
		"PCR in words":         func(m map[string]any) { p := pcrs(m); p["0"] = p[uint64(0)] },
		"PCR as an array":      func(m map[string]any) { pcrs(m)[uint64(0)] = []int{1} },
		"certificate no array": func(m map[string]any) { m["ak_certificate"] = m["ak_certificate"].([]any)[0] },
	} {
		if l, f := open(inputOf(asCBOR, edited(t, raw, change))); f == nil || f.code != verdict.ReasonMalformed {
			t.Errorf("%s: %v %v", name, l, f)
		}
	}
	twice := bytes.Clone(raw)
	twice[0]++ // one member more: the first again
	twice = append(twice, append([]byte("\x65quote"), 0x41, 1)...)
	for name, raw := range map[string][]byte{
		"empty": nil, "array": {0x80}, "null": {0xf6}, "trailing": append(bytes.Clone(raw), 0), "twice": twice, "cut": raw[:len(raw)-1],
		"indefinite": append(append([]byte{0xbf}, raw[1:]...), 0xff), "tag": append([]byte{0xd8, 24}, raw...), "empty map": {0xa0},
	} {
		if l, f := open(inputOf(asCBOR, raw)); f == nil || f.code != verdict.ReasonMalformed {
			t.Errorf("%s: %v %v", name, l, f)
		}
	}
	if _, f := open(inputOf(asCBOR, make([]byte, maxEvidence+1))); f == nil || f.code != verdict.ReasonTooLarge {
		t.Error("no bound")
	}
	if _, f := open(inputOf(evidence.MediaType{Base: "application/cbor"}, raw)); f == nil {
		t.Error("any media type is read")
	}
}

func TestJSONRefusals(t *testing.T) {
	raw, err := device(t, func(o *sim.Options) { o.PCRs = []int{0, 7} }).EvidenceJSON(nonce())
	if err != nil {
		t.Fatal(err)
	}
	if _, f := open(inputOf(asJSON, raw)); f != nil {
		t.Fatal(f)
	}
	text := string(raw)
	for name, c := range map[string][2]string{
		"unknown member":   {`"quote":`, `"extra":1,"quote":`},
		"twice":            {`"quote":`, `"quote":"AA","quote":`},
		"bank twice":       {`{"sha256":`, `{"sha256":{},"sha256":`},
		"PCR twice":        {`"7":`, `"7":"AA","7":`},
		"PCR 07":           {`"7":`, `"07":`},
		"PCR 24":           {`"7":`, `"24":`},
		"PCR -1":           {`"7":`, `"-1":`},
		"PCR +7":           {`"7":`, `"+7":`},
		"padding":          {`"quote":"`, `"quote":"=`},
		"line break":       {`"quote":"`, `"quote":"\n`},
		"number":           {`"quote":"`, `"quote":1,"x":"`},
		"certificates":     {`"ak_certificate":[`, `"ak_certificate":[1,`},
		"no certificates":  {`"ak_certificate":[`, `"ak_certificate":{},"x":[`},
		"standard base64":  {`"event_log":"`, `"event_log":"+/`},
		"pcrs as an array": {`"pcrs":{`, `"pcrs":[],"x":{`},
		"null":             {`"event_log":"`, `"event_log":null,"x":"`},
	} {
		if !strings.Contains(text, c[0]) {
			t.Fatal(name)
		}
		if l, f := open(inputOf(asJSON, []byte(strings.Replace(text, c[0], c[1], 1)))); f == nil || f.code != verdict.ReasonMalformed {
			t.Errorf("%s: %v", name, l)
		}
	}
	for _, raw := range []string{"", "[]", "{}", "null", text + "{}", text[:len(text)-1]} {
		if _, f := open(inputOf(asJSON, []byte(raw))); f == nil {
			t.Errorf("%.20q: accepted", raw)
		}
	}
}

// What the schema and the grammar say is what simulated machines write and what
// is read.
func TestSchema(t *testing.T) {
	s, err := schemas.Load(schemas.TPMEvidence)
	if err != nil {
		t.Fatal(err)
	}
	d := device(t, nil)
	raw, err := d.EvidenceJSON(nonce())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ValidateJSON(raw); err != nil {
		t.Error(err)
	}
	uncertified, err := device(t, func(o *sim.Options) { o.Uncertified = true }).EvidenceJSON(nonce())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ValidateJSON(uncertified); err != nil {
		t.Error(err)
	}
	for _, c := range [][2]string{
		{`"quote":`, `"extra":1,"quote":`}, {`"quote":`, `"quot":`}, {`"signature":`, `"signatur":`}, {`"ak_public":`, `"ak":`}, {`"pcrs":`, `"pcr":`},
		{`"sha256"`, `"sha1"`}, {`"7":`, `"07":`}, {`"7":`, `"24":`}, {`"quote":"`, `"quote":"=`}, {`"ak_certificate":[`, `"ak_certificate":["+",`},
	} {
		if err := s.ValidateJSON([]byte(strings.Replace(string(raw), c[0], c[1], 1))); err == nil {
			t.Errorf("%q for %q is valid", c[1], c[0])
		}
	}
	grammar, err := schemas.Read("tpm-evidence.cddl")
	if err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[wire]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[wire]().Field(i).Tag.Get("cbor"), ",")
		if !strings.Contains(string(grammar), "  "+name+":") && !strings.Contains(string(grammar), "  ? "+name+":") {
			t.Errorf("the grammar does not know %s", name)
		}
	}
	for _, b := range []bankName{"sha256", "sha384", "sha512"} {
		if b.hash() == 0 || !strings.Contains(string(grammar), fmt.Sprintf("%q", string(b))) {
			t.Errorf("bank %s", b)
		}
	}
}

// FuzzEvidence looks for input that panics, or that gets more than a rejection
// without a signature by a key for which somebody vouches.
func FuzzEvidence(f *testing.F) {
	d := device(f, func(o *sim.Options) { o.PCRs = []int{0, 7} })
	raw := leafOf(f, d)
	text, err := d.EvidenceJSON(nonce())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(true, raw)
	f.Add(false, text)
	f.Add(true, []byte{0xa0})
	f.Add(false, []byte(`{"quote":"AA","pcrs":{"sha256":{"0":"AA"}}}`))
	v := newTest(f, deps(f, d))
	honest, fail := open(inputOf(asCBOR, raw))
	if fail != nil {
		f.Fatal(fail)
	}
	f.Fuzz(func(t *testing.T, isCBOR bool, raw []byte) {
		in := inputOf(asJSON, raw)
		if isCBOR {
			in = inputOf(asCBOR, raw)
		}
		in.Time = now
		a, err := v.Appraise(t.Context(), in)
		if err != nil || a.Status() == verdict.TierAffirming || a.Status() == verdict.TierNone || len(a.Reasons) == 0 {
			t.Fatalf("%v %v", err, a)
		}
		if slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return strings.Contains(r.Detail, "panic") }) {
			t.Fatalf("a parser panicked: %v", a.Reasons)
		}
		if a.Vector[verdict.InstanceIdentity] == 2 {
			l, _ := open(in)
			if !bytes.Equal(l.quote, honest.quote) {
				t.Fatal("another quote than the one that was signed")
			}
		}
	})
}
