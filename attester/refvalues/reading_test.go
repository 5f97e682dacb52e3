// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/corim"
)

var readingTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// everything is a document with a value of every kind.
func everything(t *testing.T) Document {
	t.Helper()
	snp, err := AMDSNP([]amdsnp.Measurement{
		{Name: "measurement", MKey: 641, Alg: "sha-384", Digest: make([]byte, 48)},
		{Name: "reported-tcb", MKey: 647, Raw: []byte{2, 1, 0, 0, 0, 0, 0, 3}},
	}, make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return Document{
		ID: "everything", TagID: "3f06af63-a93c-11e4-9797-00505690773f", Profile: Profile, Creator: "Vendor", CreatorURI: "https://vendor.example",
		NotBefore: readingTime.AddDate(0, 0, -1), NotAfter: readingTime.AddDate(1, 0, 0),
		Entries: []Entry{snp, {
			Environment: Environment{ClassID: "1.2.3", Vendor: "ACME", Model: "NIC", Layer: ptr(uint64(0)), Index: ptr(uint64(3)), Instance: []byte("serial")},
			Values: []Value{
				{Key: uint64(1), Digests: []Digest{{"sha-384", make([]byte, 48)}, {"sha-256", make([]byte, 32)}}},
				{Key: uint64(254), Debug: ptr(false), Raw: []byte{1, 2}, RawMask: []byte{255, 0}},
				{Key: "tdisp.range.1", Raw: []byte{1, 2, 3, 4, 5, 6}},
				{Key: "v", Version: "1.2", VersionScheme: SchemeSemver, SVN: ptr(uint64(4)), Name: "loader"},
				{Registers: map[uint64][]Digest{0: {{"sha-384", make([]byte, 48)}}, 7: {{"sha-384", make([]byte, 48)}}}},
			},
		}},
	}
}

// What is written here is what package corim reads, signed and not.
func TestReading(t *testing.T) {
	d := everything(t)
	who := signer(t)
	readingTime := who.Chain[0].NotBefore.AddDate(0, 0, 1)
	who.NotBefore, who.NotAfter = readingTime, readingTime.AddDate(0, 1, 0)
	d.NotBefore, d.NotAfter = who.NotBefore, who.NotAfter
	raw, err := Signed(d, who)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := corim.NewTrust([]corim.Authority{{
		Name: "vendor", Roots: []*x509.Certificate{who.Chain[len(who.Chain)-1]}, Profiles: []string{Profile}, Scopes: []corim.Environment{{}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := corim.Load(raw, corim.Options{Trust: trust, Now: readingTime})
	if err != nil {
		t.Fatal(err)
	}
	if doc.Authority.Name != "vendor" || doc.Signature.Signer != who.Name || doc.Profile != corim.ProfileAssize || doc.ID.Text != "everything" {
		t.Errorf("%+v", doc)
	}
	plain, err := Unsigned(d)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := corim.Load(plain, corim.Options{Unsigned: true, Now: readingTime})
	if err != nil {
		t.Fatal(err)
	}
	index, err := corim.NewIndex(doc, unsigned)
	if err != nil {
		t.Fatal(err)
	}
	nic := corim.Environment{
		Class:    corim.Class{ID: corim.TaggedBytes(corim.TagOID, []byte{0x2a, 3}), Vendor: "ACME", Model: "NIC", Layer: corim.Num(0), Index: corim.Num(3)},
		Instance: corim.TaggedBytes(corim.TagBytes, []byte("serial")),
	}
	sha := func(alg corim.Algorithm, n int) []corim.Digest {
		return []corim.Digest{{Alg: alg, Value: make([]byte, n)}}
	}
	name := "loader"
	seen := []corim.Measurement{
		{Key: corim.NumberKey(1), Value: corim.Values{Digests: sha(corim.SHA384, 48)}},
		{Key: corim.NumberKey(254), Value: corim.Values{Flags: &corim.Flags{Known: 1 << corim.FlagDebug}, Raw: &corim.RawValue{Value: []byte{1, 9}}}},
		{Key: corim.TextKey("tdisp.range.1"), Value: corim.Values{Raw: &corim.RawValue{Value: []byte{1, 2, 3, 4, 5, 6}}}},
		{Key: corim.TextKey("v"), Value: corim.Values{Version: &corim.Version{Text: "1.2", Scheme: SchemeSemver}, SVN: &corim.SVN{Value: 4}, Name: &name}},
		{Value: corim.Values{Registers: []corim.Register{
			{ID: corim.NumberKey(0), Digests: sha(corim.SHA384, 48)}, {ID: corim.NumberKey(1), Digests: sha(corim.SHA384, 48)},
			{ID: corim.NumberKey(7), Digests: sha(corim.SHA384, 48)},
		}}},
	}
	q := corim.Query{Environments: []corim.Environment{nic}, Measurements: seen, Time: readingTime}
	r := index.Match(q)
	if r.Worst() != corim.Matched || len(r.Findings[0].Matches) != 2 {
		t.Errorf("%+v", r)
	}
	seen[1].Value.Flags.Value = 1 << corim.FlagDebug
	if r := index.Match(q); r.Findings[1].State != corim.Mismatched || r.Findings[0].State != corim.Partial {
		t.Errorf("in debug mode: %+v", r.Findings)
	}
	if r := index.Match(corim.Query{Environments: q.Environments, Measurements: seen, Time: readingTime.AddDate(2, 0, 0)}); r.Worst() != corim.Unknown {
		t.Errorf("two years later: %+v", r.Findings)
	}
}

// The TCB of a simulated SNP machine is read as eight numbers.
func TestReadingTCB(t *testing.T) {
	plain, err := Unsigned(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := corim.Load(plain, corim.Options{Unsigned: true, Now: readingTime})
	if err != nil {
		t.Fatal(err)
	}
	index, err := corim.NewIndex(doc)
	if err != nil {
		t.Fatal(err)
	}
	env := doc.Tags[0].Comid.Reference[0].Environment
	for tcb, want := range map[uint64]corim.State{
		0x0300000000000102: corim.Matched, 0x0400000000000203: corim.Matched, 0x0400000000000200: corim.Mismatched, 0x0200000000000102: corim.Mismatched,
	} {
		r := index.Match(corim.Query{Environments: []corim.Environment{env}, Time: readingTime, Measurements: []corim.Measurement{
			{Key: corim.NumberKey(641), Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: make([]byte, 48)}}}},
			{Key: corim.NumberKey(647), Value: corim.Values{SVN: &corim.SVN{Value: tcb}}},
		}})
		if r.Findings[1].State != want {
			t.Errorf("%#x: %s, want %s", tcb, r.Findings[1].State, want)
		}
	}
}

// checkReading reads the document with package corim, and compares it with
// evidence that shows what it expects, and then with evidence that does not.
func checkReading(t *testing.T, d Document, profile string) {
	t.Helper()
	d.Profile = profile
	raw, err := Unsigned(d)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := corim.Load(raw, corim.Options{Unsigned: true, Now: d.NotBefore})
	if err != nil {
		t.Fatal(err)
	}
	index, err := corim.NewIndex(doc)
	if err != nil {
		t.Fatal(err)
	}
	triple := doc.Tags[0].Comid.Reference[0]
	var seen []corim.Measurement
	for _, m := range triple.Measurements {
		if s := m.Value.SVN; s != nil {
			m.Value.SVN = &corim.SVN{Value: s.Value}
		}
		if r := m.Value.Raw; r != nil {
			m.Value.Raw = &corim.RawValue{Value: r.Value}
		}
		seen = append(seen, m)
	}
	q := corim.Query{Environments: []corim.Environment{triple.Environment}, Measurements: seen, Time: d.NotBefore}
	if r := index.Match(q); r.Worst() != corim.Matched || len(r.Findings) != len(d.Entries[0].Values) {
		t.Errorf("%+v", r)
	}
	seen[0].Value = corim.Values{SVN: &corim.SVN{}}
	if s := index.Match(q).Findings[0].State; s != corim.Mismatched && seen[0].Key.Set() {
		t.Errorf("another value of %s: %s", seen[0].Key, s)
	}
}
