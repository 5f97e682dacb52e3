// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-tpm/tpm2"

	"github.com/assize/assize/attester/pki"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func device(tb testing.TB, change func(*Options)) *Device {
	tb.Helper()
	o := Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now, Image: "test"}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func nonce() []byte { return pki.NewSeed("nonce").Bytes(64) }

// leaf is the evidence as the profile describes it, read without our types.
type leaf struct {
	Quote          []byte                       `cbor:"quote"`
	Signature      []byte                       `cbor:"signature"`
	PCRs           map[string]map[uint64][]byte `cbor:"pcrs"`
	AKPublic       []byte                       `cbor:"ak_public"`
	AKCertificates [][]byte                     `cbor:"ak_certificate"`
	EventLog       []byte                       `cbor:"event_log"`
}

func leafOf(tb testing.TB, d *Device) leaf {
	tb.Helper()
	raw, err := d.Evidence(nonce())
	if err != nil {
		tb.Fatal(err)
	}
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField}.DecMode()
	if err != nil {
		tb.Fatal(err)
	}
	var l leaf
	if err := mode.Unmarshal(raw, &l); err != nil {
		tb.Fatal(err)
	}
	return l
}

// parse reads a structure with go-tpm and wants the same bytes back.
func parse[T tpm2.Marshallable, P interface {
	*T
	tpm2.Unmarshallable
}](tb testing.TB, raw []byte) *T {
	tb.Helper()
	out, err := tpm2.Unmarshal[T, P](raw)
	if err != nil {
		tb.Fatal(err)
	}
	if again := tpm2.Marshal(*out); !bytes.Equal(again, raw) {
		tb.Fatalf("go-tpm writes %x, we wrote %x", again, raw)
	}
	return out
}

// signed says whether the quote verifies with ak_public by go-tpm.
func signed(tb testing.TB, l leaf) error {
	tb.Helper()
	pub, err := tpm2.Pub(*parse[tpm2.TPMTPublic](tb, l.AKPublic))
	if err != nil {
		tb.Fatal(err)
	}
	sig := parse[tpm2.TPMTSignature](tb, l.Signature)
	digest := sha256.Sum256(l.Quote)
	switch key := pub.(type) {
	case *rsa.PublicKey:
		s, err := sig.Signature.RSASSA()
		if err != nil {
			tb.Fatal(err)
		}
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], s.Sig.Buffer)
	case *ecdsa.PublicKey:
		s, err := sig.Signature.ECDSA()
		if err != nil {
			tb.Fatal(err)
		}
		r, t := new(big.Int).SetBytes(s.SignatureR.Buffer), new(big.Int).SetBytes(s.SignatureS.Buffer)
		if !ecdsa.Verify(key, digest[:], r, t) {
			return errors.New("ECDSA signature")
		}
		return nil
	}
	tb.Fatalf("a %T", pub)
	return nil
}

// chained says whether the AK certificate leads to the root at now.
func chained(tb testing.TB, d *Device, l leaf) error {
	tb.Helper()
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(d.Root())
	var certs []*x509.Certificate
	for _, der := range l.AKCertificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			tb.Fatal(err)
		}
		certs = append(certs, c)
		middle.AddCert(c)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// revoked says whether the issuer's list names the AK certificate.
func revoked(tb testing.TB, d *Device, l leaf) bool {
	tb.Helper()
	files, err := d.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	ak, err := x509.ParseCertificate(l.AKCertificates[0])
	if err != nil {
		tb.Fatal(err)
	}
	found := false
	for name, issuer := range map[string]*x509.Certificate{"tcg-tpm-ak-ca-crl.der": d.authorities.issuer.Cert, "tcg-tpm-root-ca-crl.der": d.Root()} {
		list, err := x509.ParseRevocationList(files[name])
		if err != nil {
			tb.Fatal(err)
		}
		if err := list.CheckSignatureFrom(issuer); err != nil || now.Before(list.ThisUpdate) || now.After(list.NextUpdate) {
			tb.Fatalf("%s: %v, %s to %s", name, err, list.ThisUpdate, list.NextUpdate)
		}
		for _, e := range list.RevokedCertificateEntries {
			found = found || issuer == d.authorities.issuer.Cert && e.SerialNumber.Cmp(ak.SerialNumber) == 0
		}
	}
	return found
}

// replays says whether the log leads to the PCRs of the evidence; registers
// without an event must hold their first value.
func replays(tb testing.TB, l leaf) bool {
	tb.Helper()
	events, err := walk(l.EventLog)
	if err != nil {
		tb.Fatal(err)
	}
	values := replayWalked(events)
	for pcr, got := range l.PCRs["sha256"] {
		want := values[uint32(pcr)]
		if want == nil {
			want = make([]byte, 32)
			if pcr >= 17 && pcr <= 22 {
				want = bytes.Repeat([]byte{0xff}, 32)
			}
		}
		if !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

func asMeasured(d *Device, l leaf) bool {
	for _, m := range d.Measurements() {
		pcr, err := strconv.Atoi(m.Name)
		if err != nil || m.Alg != "sha-256" || !bytes.Equal(l.PCRs["sha256"][uint64(pcr)], m.Digest) {
			return false
		}
	}
	return len(d.Measurements()) == len(l.PCRs["sha256"])
}

func TestLibraryReadsQuote(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		pcrs   []int
	}{
		{"P-256", nil, nil},
		{"RSA", func(o *Options) { o.Key = RSA2048 }, nil},
		{"some PCRs", func(o *Options) { o.PCRs = []int{0, 4, 7, 8, 9, 23} }, []int{0, 4, 7, 8, 9, 23}},
		{"one PCR", func(o *Options) { o.PCRs = []int{17} }, []int{17}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := device(t, c.change)
			l := leafOf(t, d)
			a := parse[tpm2.TPMSAttest](t, l.Quote)
			quote, err := a.Attested.Quote()
			if err != nil {
				t.Fatal(err)
			}
			if a.Magic != tpm2.TPMGeneratedValue || a.Type != tpm2.TPMSTAttestQuote || !bytes.Equal(a.ExtraData.Buffer, nonce()) || !bool(a.ClockInfo.Safe) {
				t.Errorf("magic %x, type %x, nonce %x", a.Magic, a.Type, a.ExtraData.Buffer)
			}
			checkSelection(t, quote, l, c.pcrs)
			checkKey(t, d, l, a.QualifiedSigner.Buffer)
			if err := signed(t, l); err != nil {
				t.Error(err)
			}
		})
	}
}

func checkSelection(t *testing.T, quote *tpm2.TPMSQuoteInfo, l leaf, pcrs []int) {
	t.Helper()
	if pcrs == nil {
		for i := range 24 {
			pcrs = append(pcrs, i)
		}
	}
	bits := []byte{0, 0, 0}
	h := sha256.New()
	for _, pcr := range pcrs {
		bits[pcr/8] |= 1 << (pcr % 8)
		h.Write(l.PCRs["sha256"][uint64(pcr)])
	}
	sel := quote.PCRSelect.PCRSelections
	if len(sel) != 1 || sel[0].Hash != tpm2.TPMAlgSHA256 || !bytes.Equal(sel[0].PCRSelect, bits) || len(l.PCRs["sha256"]) != len(pcrs) || len(l.PCRs) != 1 {
		t.Errorf("selection %v, %d PCRs", sel, len(l.PCRs["sha256"]))
	}
	if !bytes.Equal(quote.PCRDigest.Buffer, h.Sum(nil)) {
		t.Error("the digest is not that of the PCRs")
	}
}

// checkKey wants a restricted signing key that certificate and quote name.
func checkKey(t *testing.T, d *Device, l leaf, qualified []byte) {
	t.Helper()
	public := parse[tpm2.TPMTPublic](t, l.AKPublic)
	a := public.ObjectAttributes
	if !a.Restricted || !a.SignEncrypt || a.Decrypt || !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin {
		t.Errorf("attributes %+v", a)
	}
	name, err := tpm2.ObjectName(public)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(append(tpm2.HandleName(tpm2.TPMRHEndorsement).Buffer, name.Buffer...))
	if !bytes.Equal(qualified, append([]byte{0, 0x0b}, digest[:]...)) {
		t.Errorf("qualified name %x", qualified)
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := d.AKCertificate().PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(key) {
		t.Error("the certificate is of another key")
	}
	if len(d.AKCertificate().UnhandledCriticalExtensions) != 0 || !d.AKCertificate().UnknownExtKeyUsage[0].Equal(oidAKCertificate) {
		t.Error("extensions of the certificate")
	}
}

func TestCallersEvents(t *testing.T) {
	extra := []Event{
		{PCR: 15, Type: EvIPL, Data: []byte("gpu/0"), Measured: []byte("certificate")},
		{PCR: 15, Type: EvIPL, Data: []byte("gpu/1")},
	}
	d := device(t, func(o *Options) { o.Events = extra })
	l := leafOf(t, d)
	if !replays(t, l) || !asMeasured(d, l) {
		t.Error("the caller's events are not in log and registers alike")
	}
	want := make([]byte, 32)
	for _, text := range []string{"certificate", "gpu/1"} {
		m := sha256.Sum256([]byte(text))
		next := sha256.Sum256(append(want, m[:]...))
		want = next[:]
	}
	if !bytes.Equal(l.PCRs["sha256"][15], want) {
		t.Errorf("PCR 15 is %x", l.PCRs["sha256"][15])
	}
}

func TestJSONSaysTheSame(t *testing.T) {
	d := device(t, func(o *Options) { o.PCRs = []int{0, 2, 10} })
	raw, err := d.EvidenceJSON(nonce())
	if err != nil {
		t.Fatal(err)
	}
	var j struct {
		Quote, Signature string
		PCRs             map[string]map[string]string
		AKPublic         string   `json:"ak_public"`
		AKCertificate    []string `json:"ak_certificate"`
		EventLog         string   `json:"event_log"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		t.Fatal(err)
	}
	l := leafOf(t, d)
	text := base64.RawURLEncoding.EncodeToString
	if j.Quote != text(l.Quote) || j.Signature != text(l.Signature) || j.AKPublic != text(l.AKPublic) || j.EventLog != text(l.EventLog) ||
		len(j.AKCertificate) != 2 || j.AKCertificate[0] != text(l.AKCertificates[0]) || j.AKCertificate[1] != text(l.AKCertificates[1]) {
		t.Error("members differ")
	}
	if len(j.PCRs) != 1 || len(j.PCRs["sha256"]) != 3 {
		t.Fatalf("PCRs %v", j.PCRs)
	}
	for pcr, value := range l.PCRs["sha256"] {
		if j.PCRs["sha256"][strconv.FormatUint(pcr, 10)] != text(value) {
			t.Errorf("PCR %d differs", pcr)
		}
	}
}

func TestEvidenceIsDeterministic(t *testing.T) {
	for _, key := range []KeyType{P256, RSA2048} {
		one, two := device(t, func(o *Options) { o.Key = key }), device(t, func(o *Options) { o.Key = key })
		a, err := one.Evidence(nonce())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := two.Evidence(nonce()); err != nil || !bytes.Equal(a, b) {
			t.Error("the same options gave other bytes:", err)
		}
		mode, err := cbor.CoreDetEncOptions().EncMode()
		if err != nil {
			t.Fatal(err)
		}
		var any any
		if err := cbor.Unmarshal(a, &any); err != nil {
			t.Fatal(err)
		}
		if again, err := mode.Marshal(any); err != nil || !bytes.Equal(again, a) {
			t.Error("the encoding is not the deterministic one:", err)
		}
		if !bytes.Equal(one.RuntimeData(), two.RuntimeData()) {
			t.Error("runtime data differ")
		}
		for name, raw := range one.crls {
			if !bytes.Equal(raw, two.crls[name]) {
				t.Errorf("%s differs", name)
			}
		}
	}
	honest := device(t, nil)
	other := device(t, func(o *Options) { o.Device, o.Now = pki.NewSeed("other"), now.AddDate(0, 0, 9) })
	if !honest.Root().Equal(other.Root()) || bytes.Equal(honest.public, other.public) || !asMeasured(honest, leafOf(t, other)) {
		t.Error("two devices of one vendor: other root, same key or other measurements")
	}
	if foreign := device(t, func(o *Options) { o.Vendor = pki.NewSeed("foreign") }); chained(t, honest, leafOf(t, foreign)) == nil {
		t.Error("another vendor's key leads to this root")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Options)
	}{
		{"without a time", func(o *Options) { o.Now = time.Time{} }},
		{"key type", func(o *Options) { o.Key = keyTypes }},
		{"no PCR", func(o *Options) { o.PCRs = []int{} }},
		{"PCR 24", func(o *Options) { o.PCRs = []int{24} }},
		{"PCR -1", func(o *Options) { o.PCRs = []int{-1} }},
		{"PCR 3 at place 1", func(o *Options) { o.PCRs = []int{3, 3} }},
		{"user data", func(o *Options) { o.UserData = make([]byte, 65) }},
		{"event for PCR 24", func(o *Options) { o.Events = []Event{{PCR: 24}} }},
		{"dynamic launch", func(o *Options) { o.Events = []Event{{PCR: 17, Type: EvIPL}} }},
		{"EV_NO_ACTION", func(o *Options) { o.Events = []Event{{PCR: 1, Type: EvNoAction}} }},
		{"bytes of data", func(o *Options) { o.Events = []Event{{PCR: 1, Data: make([]byte, maxEventData+1)}} }},
		{"events, more", func(o *Options) { o.Events = make([]Event, maxEvents+1) }},
	} {
		o := Options{Now: now}
		c.change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	d := device(t, nil)
	for _, size := range []int{0, 8, 64} {
		if _, err := d.Evidence(make([]byte, size)); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Evidence(make([]byte, 65)); err == nil {
		t.Error("a nonce of 65 bytes fits")
	}
	if _, err := d.EvidenceJSON(make([]byte, 65)); err == nil {
		t.Error("a nonce of 65 bytes fits into JSON")
	}
}

func TestRuntimeDataNamesKey(t *testing.T) {
	d := device(t, func(o *Options) { o.Key, o.UserData = RSA2048, []byte{0xab} })
	var doc struct {
		Keys     []map[string]any `json:"keys"`
		UserData string           `json:"user-data"`
	}
	if err := json.Unmarshal(d.RuntimeData(), &doc); err != nil {
		t.Fatal(err)
	}
	n, err := base64.RawURLEncoding.DecodeString(doc.Keys[0]["n"].(string))
	if err != nil {
		t.Fatal(err)
	}
	public := leafOf(t, d).AKPublic
	if doc.Keys[0]["kid"] != "HCLAkPub" || !bytes.Equal(n, public[len(public)-256:]) || doc.Keys[0]["e"] != "AQAB" {
		t.Errorf("keys %v", doc.Keys)
	}
	if doc.UserData != "AB"+strings.Repeat("00", 63) {
		t.Errorf("user data %s", doc.UserData)
	}
	curve := device(t, nil)
	if err := json.Unmarshal(curve.RuntimeData(), &doc); err != nil {
		t.Fatal(err)
	}
	x, err := base64.RawURLEncoding.DecodeString(doc.Keys[0]["x"].(string))
	if err != nil || !bytes.Contains(curve.public, append(binary.BigEndian.AppendUint16(nil, 32), x...)) {
		t.Errorf("x %x: %v", x, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	d := device(t, nil)
	want, err := d.Evidence(nonce())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := d.Evidence(nonce()); err != nil || !bytes.Equal(got, want) {
				t.Error("another answer at the same time:", err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkEvidence(b *testing.B) {
	for name, key := range map[string]KeyType{"P256": P256, "RSA2048": RSA2048} {
		b.Run(name, func(b *testing.B) {
			d := device(b, func(o *Options) { o.Key = key })
			n := nonce()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Evidence(n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
