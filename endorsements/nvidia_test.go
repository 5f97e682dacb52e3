// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/internal/vectors"
)

const (
	driverRIM = "nvidia/attestation-sdk/testdata/NV_GPU_DRIVER_GH100_550.144.03.xml"
	driverID  = "NV_GPU_DRIVER_GH100_550.144.03"
)

var simNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// simGPU is a simulated device.
func simGPU(tb testing.TB, arch string) *nvidia.Device {
	tb.Helper()
	d, err := nvidia.NewGPU(nvidia.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: simNow, Arch: arch})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func simManifests(tb testing.TB, arch string) []nvidia.Manifest {
	tb.Helper()
	all, err := simGPU(tb, arch).Manifests()
	if err != nil || len(all) == 0 {
		tb.Fatal(len(all), err)
	}
	return all
}

func simOCSP(tb testing.TB, q nvidia.OCSPQuery) []byte {
	tb.Helper()
	raw, err := simGPU(tb, nvidia.Hopper).OCSP(q)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// reply is what NVIDIA's service answers about a manifest, with members changed.
func reply(tb testing.TB, id, format string, doc []byte, change map[string]any) []byte {
	tb.Helper()
	sum := sha256.Sum256(doc)
	members := map[string]any{
		"id": id, "rim": base64.StdEncoding.EncodeToString(doc), "sha256": hex.EncodeToString(sum[:]), "rim_format": format,
		"last_updated": "2025-01-21T20:23:11.000Z", "request_id": "f6a6b0e2-0001", "coev": nil, "coev_sha256": nil,
	}
	for k, v := range change {
		members[k] = v
		if v == "absent" {
			delete(members, k)
		}
	}
	raw, err := json.Marshal(members)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// Recorded manifests of both kinds are found in a folder, with their identifiers as
// far as somebody says them.
func TestManifestsInAFolder(t *testing.T) {
	driver := vectors.Read(t, driverRIM)
	old := vectors.Read(t, "nvidia/nvtrust/samples/1010_0200_882_96005E0001_PROD.swidtag")
	b, w := load(t, fstest.MapFS{
		"a/" + driverID + ".xml": {Data: driver},
		"b/copy.swidtag":         {Data: driver}, // the same once more, nameless
		"old.swidtag":            {Data: old},
		"old.swidtag.txt":        {Data: []byte("read me")},
	})
	if len(w) != 1 || w[0].Kind != WarnNotUnderstood {
		t.Error(w)
	}
	got := b.Manifests()
	if len(got) != 2 || b.Len() != 2 {
		t.Fatalf("%d manifests, %d", len(got), b.Len())
	}
	if m := got[0]; m.ID != driverID || m.Format != ManifestSWID || !bytes.Equal(m.Raw, driver) || m.Digest != sha256.Sum256(driver) || m.Name != "a/"+driverID+".xml" || len(m.Chain()) != 4 {
		t.Errorf("%s %s %s, %d certificates", m.Name, m.ID, m.Format, len(m.Chain()))
	}
	if m := got[1]; m.ID != "" || m.Name != "old.swidtag" {
		t.Errorf("%s %q", m.Name, m.ID)
	}
	statements := slices.Collect(b.Statements())
	if len(statements) != 2 || statements[0].Item != (Item{Kind: ItemNVRIM, RIM: driverID}) || statements[1].Item != (Item{Kind: ItemNVRIM}) {
		t.Fatalf("%+v", statements)
	}
	// The signer's certificate of 550.144.03 is from 2024-12-30 to 2026-12-30, and
	// narrower than those above it but for the issuer's, which ended before.
	if s := statements[0]; s.From.Format(time.DateOnly) != "2024-12-30" || s.Until.Before(s.From) || s.Until.After(time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%s to %s", s.From, s.Until)
	}
	if items := got[0].StatusItems(); len(items) != 3 {
		t.Errorf("status of %d certificates", len(items))
	} else {
		for _, i := range items {
			if err := i.Check(); err != nil {
				t.Error(err)
			}
		}
	}
	var none *Bundle
	if none.Manifests() != nil || none.OCSPResponses() != nil {
		t.Error("nil holds something")
	}
}

// A manifest without an identifier gets the one under which it is loaded elsewhere;
// two identifiers are two manifests.
func TestManifestIdentifiers(t *testing.T) {
	driver := vectors.Read(t, driverRIM)
	one := func(name string, raw []byte) *Bundle {
		b, err := Parse(name, raw)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	nameless, named, other := one("x.xml", driver), one("r.json", reply(t, driverID, "TCG", driver, nil)), one("NV_GPU_OTHER.xml", driver)
	for _, bundles := range [][]*Bundle{{nameless, named, other, named}, {named, nameless, other, nameless}} {
		b := Merge(bundles...)
		ids, items := []string{}, []string{}
		for _, m := range b.Manifests() {
			ids = append(ids, m.ID)
		}
		for s := range b.Statements() {
			items = append(items, s.Item.RIM)
		}
		want := []string{driverID, "NV_GPU_OTHER"}
		if !slices.Equal(ids, want) || !slices.Equal(items, want) {
			t.Errorf("%q, statements %q", ids, items)
		}
	}
	for name, want := range map[string]string{
		"NV_A.xml": "NV_A", "d/NV_A.corim": "NV_A", "NV_A.1.swidtag": "NV_A.1", "NV_A": "NV_A", "nv_a.xml": "", "NV_.xml": "",
		"NV_A b.xml": "", "NV_A..B.xml": "", "GPU.xml": "", "NV_" + strings.Repeat("A", 126) + ".xml": "",
	} {
		if got := rimOfFile(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A reply of the service is the manifest in it.
func TestReplies(t *testing.T) {
	driver := vectors.Read(t, driverRIM)
	text := sha256.Sum256([]byte(base64.StdEncoding.EncodeToString(driver)))
	for name, change := range map[string]map[string]any{
		"whole": nil, "without a digest": {"sha256": "absent"}, "digest of the base64": {"sha256": hex.EncodeToString(text[:])},
		"in capitals": {"sha256": strings.ToUpper(fmt.Sprintf("%x", sha256.Sum256(driver)))}, "more": {"another": map[string]any{"a": 1}}, "coev": {"coev": "2QI7", "coev_sha256": "00"},
	} {
		m, err := ParseReply("r", reply(t, driverID, "TCG", driver, change))
		if err != nil || m.ID != driverID || m.Digest != sha256.Sum256(driver) || m.Format != ManifestSWID {
			t.Errorf("%s: %+v %v", name, m.ID, err)
			continue
		}
		raw, err := m.EncodeReply()
		again, err2 := ParseReply("r", raw)
		if err != nil || err2 != nil || again.ID != m.ID || again.Digest != m.Digest {
			t.Errorf("%s, encoded: %v %v", name, err, err2)
		}
	}
	good := string(reply(t, driverID, "TCG", driver, nil))
	for name, c := range map[string]struct{ raw, want string }{
		"other digest":    {string(reply(t, driverID, "TCG", driver, map[string]any{"sha256": strings.Repeat("ab", 32)})), "has another"},
		"short digest":    {string(reply(t, driverID, "TCG", driver, map[string]any{"sha256": "ab"})), "not a SHA-256"},
		"one bit":         {string(reply(t, driverID, "TCG", driver, map[string]any{"rim": base64.StdEncoding.EncodeToString(append([]byte(" "), driver...))})), "has another"},
		"no id":           {string(reply(t, driverID, "TCG", driver, map[string]any{"id": "absent"})), "not an identifier"},
		"id with a path":  {string(reply(t, "NV_../../x", "TCG", driver, nil)), "not an identifier"},
		"id in small":     {string(reply(t, strings.ToLower(driverID), "TCG", driver, nil)), "not an identifier"},
		"id is a number":  {string(reply(t, driverID, "TCG", driver, map[string]any{"id": 7})), "not a string"},
		"no base64":       {string(reply(t, driverID, "TCG", driver, map[string]any{"rim": "*"})), "base64"},
		"other format":    {string(reply(t, driverID, "CORIM", driver, nil)), "rim_format"},
		"unknown format":  {string(reply(t, driverID, "GENERIC", driver, nil)), "rim_format"},
		"unsigned CoRIM":  {string(reply(t, driverID, "CORIM", []byte{0xd9, 0x01, 0xf5, 0xa0}, nil)), "rim_format"},
		"no document":     {string(reply(t, driverID, "TCG", nil, nil)), "rim_format"},
		"too long":        {string(reply(t, driverID, "TCG", make([]byte, maxCoRIM+4), nil)), "more than"},
		"twice":           {`{"id":"NV_X",` + good[1:], ""},
		"something after": {good + "{}", ""},
	} {
		if _, err := ParseReply("r", []byte(c.raw)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
		if b, w := load(t, fstest.MapFS{"r": {Data: []byte(c.raw)}}); b.Len() != 0 || len(w) != 1 || w[0].Kind != WarnMalformed {
			t.Errorf("%s: %v", name, w)
		}
	}
}

// CoRIMs count with the certificate of who signed them only.
func TestCoRIMManifests(t *testing.T) {
	seed := pki.NewSeed("fsp")
	d, err := nvidia.NewGPU(nvidia.Options{Vendor: seed, Device: seed.Sub("device"), Now: simNow, Arch: nvidia.Blackwell, FSP: true})
	if err != nil {
		t.Fatal(err)
	}
	all, err := d.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	var signed nvidia.Manifest
	for _, m := range all {
		if m.CoRIM {
			signed = m
		}
	}
	if signed.Raw == nil {
		t.Fatal("no simulated device has a manifest that is a CoRIM")
	}
	b, w := load(t, fstest.MapFS{signed.ID + ".corim": {Data: signed.Raw}})
	if got := b.Manifests(); len(w) != 0 || len(got) != 1 || got[0].Format != ManifestCoRIM || got[0].ID != signed.ID || len(got[0].Chain()) == 0 {
		t.Errorf("%+v %v", got, w)
	}
	m, err := ParseReply("r", reply(t, signed.ID, "CORIM", signed.Raw, nil))
	if err != nil || m.Format != ManifestCoRIM {
		t.Error(err)
	}
}

// No half of a manifest is one.
func TestMalformedManifests(t *testing.T) {
	driver := string(vectors.Read(t, driverRIM))
	cut := strings.Index(driver, "<ds:Signature")
	for name, raw := range map[string]string{
		"truncated":       driver[:len(driver)-20],
		"two roots":       driver + driver,
		"text behind":     driver + "x",
		"no signature":    driver[:cut] + "</SoftwareIdentity>",
		"no certificate":  strings.Replace(driver, "<ds:X509Certificate>MII", "<ds:X509Certificate>AAA", 1),
		"document type":   strings.Replace(driver, "<ns0:Entity ", "<!ENTITY x><ns0:Entity ", 1),
		"many":            strings.Replace(driver, "<ds:X509Data>", "<ds:X509Data>"+strings.Repeat(between(driver, "<ds:X509Certificate>", "</ds:X509Certificate>"), 5), 1),
		"too large":       driver + strings.Repeat(" ", maxSWID),
		"COSE, nothing":   "\xd2\x84",
		"COSE, four nils": "\xd2\x84\xf6\xf6\xf6\xf6",
		"COSE, unsigned":  "\xd2\x84\x40\xa0\x41\x00\x40",
		"COSE, two":       "\xd2\x84\x41\xa0\xa2\x18\x21\x40\x18\x21\x40\x41\x00\x40",
	} {
		b, w := load(t, fstest.MapFS{"NV_X.xml": {Data: []byte(raw)}})
		if b.Len() != 0 || len(w) != 1 || w[0].Kind != WarnMalformed {
			t.Errorf("%s: %d documents, %v", name, b.Len(), w)
		}
	}
	for name, raw := range map[string]string{
		"another namespace": strings.Replace(driver, nsSWID, "http://example/", 1), "another root": "<Software/>", "text": "<", "unsigned": "\xd9\x01\xf5\xa0",
	} {
		if b, w := load(t, fstest.MapFS{"NV_X.xml": {Data: []byte(raw)}}); b.Len() != 0 || len(w) != 1 || w[0].Kind != WarnNotUnderstood {
			t.Errorf("%s: %d documents, %v", name, b.Len(), w)
		}
	}
	if _, err := ParseManifest("n", "../x", []byte(driver)); !errors.Is(err, ErrNeed) {
		t.Error(err)
	}
	if _, err := ParseManifest("n", driverID, []byte("{}")); err == nil {
		t.Error("anything is a manifest")
	}
}

func between(s, from, to string) string {
	a := strings.Index(s, from)
	return s[a : a+strings.Index(s[a:], to)+len(to)]
}

// An answer of a simulated service is a statement about the certificate that was
// asked about, and nothing else.
func TestOCSPResponses(t *testing.T) {
	d := simGPU(t, nvidia.Hopper)
	nonce := bytes.Repeat([]byte{7}, 32)
	raw := simOCSP(t, nvidia.OCSPQuery{Position: 1, Nonce: nonce})
	need, err := OCSPNeed(d.Chain()[1], d.Chain()[2])
	if err != nil {
		t.Fatal(err)
	}
	items, err := need.Items()
	if err != nil || len(items) != 1 {
		t.Fatal(items, err)
	}
	a, err := ParseOCSP(raw)
	if err != nil || a.Item != items[0] || a.Status != StatusGood || !bytes.Equal(a.Nonce, nonce) || !a.ThisUpdate.Equal(simNow) || a.Responder == nil {
		t.Fatalf("%+v, %v; expected %+v", a, err, items[0])
	}
	b, w := load(t, fstest.MapFS{"a.der": {Data: raw}, "b.ocsp": {Data: raw}, "c": {Data: simOCSP(t, nvidia.OCSPQuery{Position: 2, Hash: crypto.SHA1})}})
	if len(w) != 0 || len(b.OCSPResponses()) != 2 || b.Len() != 2 {
		t.Fatalf("%d %v", b.Len(), w)
	}
	if got := b.OCSPResponses()[0]; got.Name != "a.der" || !bytes.Equal(got.Raw, raw) || got.Digest != sha256.Sum256(raw) {
		t.Errorf("%+v", got)
	}
	statements := slices.Collect(Merge(b, b).Statements())
	if len(statements) != 2 || statements[0].Item != items[0] || !statements[0].From.Equal(simNow) || !statements[0].Until.Equal(a.NextUpdate) {
		t.Errorf("%+v", statements)
	}
	// What is named by SHA-1 is listed, and answers no need.
	if i := statements[1].Item; len(i.IssuerName) != 40 || i.Check() == nil || i.Vendor() != VendorNVIDIA {
		t.Errorf("%+v", i)
	}
	for fault, want := range map[nvidia.OCSPFault]string{nvidia.OCSPRevoked: StatusRevoked, nvidia.OCSPHold: StatusRevoked, nvidia.OCSPUnknown: StatusUnknown} {
		if a, err := ParseOCSP(answer(t, d, fault)); err != nil || a.Status != want {
			t.Errorf("fault %d: %s %v", fault, a.Status, err)
		}
	}
}

// answer asks a simulated service with a fault about certificate 1.
func answer(t *testing.T, d *nvidia.Device, fault nvidia.OCSPFault) []byte {
	t.Helper()
	d2, err := nvidia.NewGPU(nvidia.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: simNow, Status: fault})
	if err != nil {
		t.Fatal(err)
	}
	files, err := d2.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	serial := hex.EncodeToString(d.Chain()[1].SerialNumber.Bytes())
	for _, raw := range files {
		if a, err := ParseOCSP(raw); err == nil && a.Item.Serial == serial {
			return raw
		}
	}
	t.Fatal("no answer about certificate 1")
	return nil
}

// Without nextUpdate a response is current for a day; with a responder whose
// certificate ends, no longer than that.
func TestOCSPWindow(t *testing.T) {
	d := simGPU(t, nvidia.Hopper)
	a, err := ParseOCSP(answer(t, d, nvidia.OCSPEndless))
	if err != nil || !a.NextUpdate.IsZero() {
		t.Fatal(a.NextUpdate, err)
	}
	if from, until := a.Window(); until.Sub(from) != StatusAge {
		t.Errorf("%s to %s", from, until)
	}
	if a, err = ParseOCSP(answer(t, d, nvidia.OCSPResponderExpired)); err != nil {
		t.Fatal(err)
	}
	if _, until := a.Window(); !until.Equal(a.Responder.NotAfter) || !until.Before(a.NextUpdate) {
		t.Errorf("until %s", until)
	}
}

// What is not exactly one answer is none.
func TestMalformedOCSP(t *testing.T) {
	raw := simOCSP(t, nvidia.OCSPQuery{Position: 1, Nonce: bytes.Repeat([]byte{7}, 32)})
	var refused *OCSPError
	if _, err := ParseOCSP([]byte{0x30, 3, 0x0a, 1, 6}); !errors.As(err, &refused) || refused.Status != 6 {
		t.Error(err)
	}
	cases := map[string][]byte{
		"behind it": append(bytes.Clone(raw), 0), "refused": {0x30, 3, 0x0a, 1, 6}, "nothing": {0x30, 3, 0x0a, 1, 0},
		"too large": append(bytes.Clone(raw), make([]byte, maxOCSP)...),
	}
	for name, der := range cases {
		if _, err := ParseOCSP(der); err == nil {
			t.Errorf("%s is read", name)
		}
		if b, w := load(t, fstest.MapFS{"x.der": {Data: der}}); b.Len() != 0 || len(w) != 1 || w[0].Kind != WarnMalformed {
			t.Errorf("%s: %v", name, w)
		}
	}
	for n := range raw { // no byte of the frame may be lost
		if _, err := ParseOCSP(raw[:n]); err == nil {
			t.Fatalf("the first %d bytes are read", n)
		}
	}
}

// What evidence asks for has one form each: it becomes a path and a file name.
func TestNVIDIANeeds(t *testing.T) {
	h := strings.Repeat("ab", 48)
	for _, good := range []Need{
		{Kind: NeedNVIDIARIM, RIM: driverID}, {Kind: NeedNVIDIARIM, RIM: "NV_SWITCH_BIOS_5612_0002_890_9610550001"},
		{Kind: NeedNVIDIARIM, RIM: "NV_NIC_FIRMWARE_CX7_28.39.4082-LTS_MCX713106AC-CEA"}, {Kind: NeedNVIDIARIM, RIM: "NV_" + strings.Repeat("A", 125)},
		{Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: h, Serial: "01"}, {Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: h, Serial: strings.Repeat("ff", 20)},
	} {
		items, err := good.Items()
		if err != nil || len(items) != 1 || items[0].Check() != nil || items[0].Vendor() != VendorNVIDIA || len(items[0].String()) > 200 {
			t.Errorf("%+v: %v %v", good, items, err)
		}
	}
	for _, bad := range []Need{
		{Kind: NeedNVIDIARIM}, {Kind: NeedNVIDIARIM, RIM: "NV_"}, {Kind: NeedNVIDIARIM, RIM: "NV_A/B"}, {Kind: NeedNVIDIARIM, RIM: "NV_A%2FB"},
		{Kind: NeedNVIDIARIM, RIM: "NV_A?x=1"}, {Kind: NeedNVIDIARIM, RIM: "NV_.."}, {Kind: NeedNVIDIARIM, RIM: "ids"}, {Kind: NeedNVIDIARIM, RIM: "NV_a"},
		{Kind: NeedNVIDIARIM, RIM: "NV_A\x00"}, {Kind: NeedNVIDIARIM, RIM: "NV_" + strings.Repeat("A", 126)}, {Kind: NeedNVIDIARIM, RIM: "NV_Ä"},
		{Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: h}, {Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: h, Serial: "0001"},
		{Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: h, Serial: "00"}, {Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: h, Serial: "1"},
		{Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: h, Serial: "AB"}, {Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: h, Serial: strings.Repeat("ff", 21)},
		{Kind: NeedNVIDIAOCSP, IssuerName: h[2:], IssuerKey: h, Serial: "01"}, {Kind: NeedNVIDIAOCSP, IssuerName: h, IssuerKey: strings.ToUpper(h), Serial: "01"},
	} {
		if items, err := bad.Items(); !errors.Is(err, ErrNeed) || items != nil {
			t.Errorf("%+v: %v %v", bad, items, err)
		}
	}
	a, b := Item{Kind: ItemNVOCSP, IssuerName: h, IssuerKey: h, Serial: "01"}, Item{Kind: ItemNVOCSP, IssuerName: h, IssuerKey: strings.Repeat("cd", 48), Serial: "01"}
	if a.String() == b.String() || strings.ContainsAny(a.String(), "/\\:") {
		t.Error(a, b)
	}
}

func FuzzManifest(f *testing.F) {
	for _, arch := range []string{nvidia.Hopper, nvidia.Blackwell} {
		for _, m := range simManifests(f, arch) {
			f.Add(m.Raw)
			f.Add(reply(f, m.ID, map[bool]string{true: "CORIM", false: "TCG"}[m.CoRIM], m.Raw, nil))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := Parse("NV_X.xml", raw)
		if err != nil {
			return
		}
		for _, m := range b.Manifests() {
			if len(m.Chain()) == 0 || checkRIM(m.ID) != nil || m.Digest != sha256.Sum256(m.Raw) {
				t.Fatalf("half a manifest: %+v", m)
			}
			if _, err := m.EncodeReply(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzOCSP(f *testing.F) {
	for position := 1; position <= 3; position++ {
		f.Add(simOCSP(f, nvidia.OCSPQuery{Position: position}))
		f.Add(simOCSP(f, nvidia.OCSPQuery{Position: position, Hash: crypto.SHA1, Nonce: make([]byte, 32)}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := ParseOCSP(raw)
		if err != nil {
			return
		}
		if a.Status == "" || a.Item.Serial == "" || a.ThisUpdate.IsZero() && a.ThisUpdate.Year() != 1 {
			t.Fatalf("half an answer: %+v", a)
		}
	})
}
