// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/internal/vectors"
)

// moduleVector reads test data of the library, which a plain clone has, too.
func moduleVector(t *testing.T, name string) []byte {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/veraison/corim").Output()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func ptr[T any](v T) *T { return &v }

// roadRunner is the example corim-1 and comid-1 of the draft.
func roadRunner(t *testing.T) Document {
	return Document{
		ID: "284e6c3e-5d9f-4f6b-851f-5a4247f243a7", TagID: "3f06af63-a93c-11e4-9797-00505690773f",
		Creator: "ACME Inc.", CreatorURI: "https://acme.example",
		Entries: []Entry{{
			Environment: Environment{
				ClassID: "67b28b6c-34cc-40a1-9117-ab5b05911e37",
				Vendor:  "ACME Inc.", Model: "ACME RoadRunner", Layer: ptr(uint64(1)),
			},
			Values: []Value{{
				Version: "1.0.0", VersionScheme: SchemeSemver,
				Digests: []Digest{{"sha-256", unhex(t, "44aa336af4cb14a879432e53dd6571c7fa9bccafb75f488259262d6ea3a4d91b")}},
			}},
		}},
	}
}

func comidBytes(t *testing.T, d Document) []byte {
	t.Helper()
	mode, err := encoding()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := d.comid(mode)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestDraftExamples(t *testing.T) {
	want := moduleVector(t, "comid/testcases/comid-1.cbor")
	if got := comidBytes(t, roadRunner(t)); !bytes.Equal(got, want) {
		t.Errorf("comid-1\n got %x\nwant %x", got, want)
	}
	want = vectors.Read(t, "corim/veraison-corim/corim/testcases/corim-1.cbor")
	got, err := Unsigned(roadRunner(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("corim-1\n got %x\nwant %x", got, want)
	}

	d := roadRunner(t)
	chip := unhex(t, "9f71ec4d223f4f899d532ed6ff6ecbbb4a62cb386ba24c204c9371ce5e3b9291713fe96b9b413d8842968ebb1fa4cf1920d0c5e9f872776a1e826f2851ecdb47")
	d.Entries[0].Environment = Environment{Instance: chip}
	d.Entries[0].Values[0].Digests = nil
	want = vectors.Read(t, "corim/veraison-corim/comid/testcases/comid-opaque-instance-id.cbor")
	if got := comidBytes(t, d); !bytes.Equal(got, want) {
		t.Errorf("comid-opaque-instance-id\n got %x\nwant %x", got, want)
	}
}

// Profiles are written as in published CoRIMs, at the end and with tag 32.
func TestPublishedProfile(t *testing.T) {
	d := roadRunner(t)
	d.Profile = "tag:amd.com,2024:snp-corim-profile"
	got, err := Unsigned(d)
	if err != nil {
		t.Fatal(err)
	}
	want := vectors.Read(t, "snp/veraison-services/corim-sevsnp-valid.cbor")
	n := 4 + 1 + len(d.Profile) // key, tag, length
	if !bytes.Equal(got[len(got)-n:], want[len(want)-n:]) {
		t.Errorf("ends %x, want %x", got[len(got)-n:], want[len(want)-n:])
	}
}

// AMD's sample has the class, the measurement and the TCB in our form.
func TestPublishedSNP(t *testing.T) {
	want := content(t, vectors.Read(t, "snp/veraison-services/corim-sevsnp-valid.cbor"))
	sample := triples(t, want[uint64(1)].([]any)[0].(cbor.Tag).Content.([]byte))[0]
	chip := bytes.Repeat([]byte{1}, 64)
	e, err := AMDSNP([]amdsnp.Measurement{
		{Name: "measurement", MKey: 641, Alg: "sha-384", Digest: unhex(t, "7699e6ac12ccdfd1dfac70e649ce1f046cb2afbb003438f4cdddfe2ccbe182fa5ffbe8dcdb930454324e10c52c788980")},
		{Name: "reported-tcb", MKey: 647, Raw: []byte{0x0a, 0, 0, 0, 0, 0, 0x17, 0x54}},
	}, chip)
	if err != nil {
		t.Fatal(err)
	}
	d := roadRunner(t)
	d.Entries = []Entry{e}
	ours := decode(t, triples(t, comidBytes(t, d))[0]).([]any)
	theirs := decode(t, sample).([]any)
	if got, want := ours[0].(map[any]any)[uint64(0)], theirs[0].(map[any]any)[uint64(0)]; !reflect.DeepEqual(got, want) {
		t.Errorf("class %v, want %v", got, want)
	}
	if got, want := shape(ours[0]), shape(theirs[0]); !reflect.DeepEqual(got, want) {
		t.Errorf("environment %v, want %v", got, want)
	}
	// The sample has an exact TCB (552) where the profile has the lowest (553).
	found := 0
	for _, o := range ours[1].([]any) {
		for _, m := range theirs[1].([]any) {
			got, want := o.(map[any]any), m.(map[any]any)
			if got[uint64(0)] != want[uint64(0)] {
				continue
			}
			if svn, ok := got[uint64(1)].(map[any]any)[uint64(1)].(cbor.Tag); ok {
				got[uint64(1)].(map[any]any)[uint64(1)] = cbor.Tag{Number: svn.Number - 1, Content: svn.Content}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("value %v, want %v", got, want)
			}
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 keys are in the sample", found)
	}
}

// triples gives the reference-value triples of a concise-mid-tag, as bytes.
func triples(t *testing.T, comid []byte) [][]byte {
	t.Helper()
	var tag struct {
		Triples struct {
			Reference []cbor.RawMessage `cbor:"0,keyasint"`
		} `cbor:"4,keyasint"`
	}
	if err := cbor.Unmarshal(comid, &tag); err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, r := range tag.Triples.Reference {
		out = append(out, r)
	}
	return out
}

// The first and the third triple of the draft's example for raw values are the
// two forms that we write.
func TestDraftRawValues(t *testing.T) {
	d := roadRunner(t)
	env := d.Entries[0].Environment
	d.Entries = []Entry{
		{env, []Value{{Raw: unhex(t, "12345678")}}},
		{env, []Value{{Raw: unhex(t, "12340000"), RawMask: unhex(t, "ffff0000")}}},
	}
	got := triples(t, comidBytes(t, d))
	want := triples(t, vectors.Read(t, "corim/veraison-corim/comid/testcases/comid-raw-value.cbor"))
	if len(got) != 2 || !bytes.Equal(got[0], want[0]) || !bytes.Equal(got[1], want[2]) {
		t.Errorf("raw values\n got %x\nwant %x", got, want)
	}
}

// shape replaces every text, byte string and number by its type, but keeps
// keys and tags.
func shape(v any) any {
	switch v := v.(type) {
	case map[any]any:
		out := map[any]any{}
		for k, e := range v {
			out[k] = shape(e)
		}
		return out
	case []any:
		var out []any
		for _, e := range v {
			out = append(out, shape(e))
		}
		return out
	case cbor.Tag:
		return cbor.Tag{Number: v.Number, Content: shape(v.Content)}
	}
	return reflect.TypeOf(v).String()
}

func decode(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := cbor.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// register finds integrity register 0 of the only triple.
func register(t *testing.T, comid []byte) any {
	t.Helper()
	var triple struct {
		_   struct{} `cbor:",toarray"`
		Env any
		Ms  []struct {
			Value struct {
				Registers map[any]any `cbor:"14,keyasint"`
			} `cbor:"1,keyasint"`
		}
	}
	if err := cbor.Unmarshal(triples(t, comid)[0], &triple); err != nil {
		t.Fatal(err)
	}
	return triple.Ms[0].Value.Registers[uint64(0)].([]any)[0]
}

func TestDraftRegisters(t *testing.T) {
	d := roadRunner(t)
	v := d.Entries[0].Values[0]
	d.Entries[0].Values = []Value{{Registers: map[uint64][]Digest{0: v.Digests}}}
	got := register(t, comidBytes(t, d))
	want := register(t, vectors.Read(t, "corim/veraison-corim/comid/testcases/comid-integrity-registers.cbor"))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("register 0: %v, want %v", got, want)
	}
}

// The library's own signed document has the same headers, except for the key
// identifier, which is optional, and for the chain.
func TestSignedShape(t *testing.T) {
	s := signer(t)
	s.URI = "https://acme.example"
	ours, err := Signed(roadRunner(t), s)
	if err != nil {
		t.Fatal(err)
	}
	var got, want cose.Sign1Message
	if err := got.UnmarshalCBOR(ours); err != nil {
		t.Fatal(err)
	}
	if err := want.UnmarshalCBOR(moduleVector(t, "corim/testcases/signed-good-corim.cbor")); err != nil {
		t.Fatal(err)
	}
	delete(want.Headers.Protected, cose.HeaderLabelKeyID)
	delete(got.Headers.Protected, cose.HeaderLabelX5Chain)
	for label, w := range want.Headers.Protected {
		g := got.Headers.Protected[label]
		if label == headerCorimMeta {
			g, w = shape(decode(t, g.([]byte))), shape(decode(t, w.([]byte)))
		}
		if label == int64(cose.HeaderLabelAlgorithm) {
			continue
		}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("header %v: %v, want %v", label, g, w)
		}
	}
	if len(got.Headers.Protected) != len(want.Headers.Protected) || len(got.Headers.Unprotected) != 0 {
		t.Errorf("headers %v, want %v", got.Headers.Protected, want.Headers.Protected)
	}
	if ours[0] != 0xd2 || !bytes.HasPrefix(got.Payload, want.Payload[:3]) {
		t.Errorf("begins %x, payload %x", ours[:1], got.Payload[:3])
	}
}
