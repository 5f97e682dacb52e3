// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// checkFolder holds one folder to what it says of itself: negotiation, chains, and
// every signature with the octets that it covers.
func (r *recorded) checkFolder(t *testing.T, v *VCA) {
	t.Helper()
	if given := r.file(t, "vca.bin"); given != nil && !bytes.Equal(v.Raw, given) {
		t.Fatalf("negotiation of %d bytes, vca.bin has %d", len(v.Raw), len(given))
	}
	r.checkNegotiation(t, v)
	r.checkChains(t, v)
	for _, s := range r.expected.Signatures {
		if !s.known() {
			t.Fatalf("signature of type %q", s.Type)
		}
		r.checkSignature(t, s)
	}
	switch pending := r.record(false).Pending(); {
	case len(r.expected.Signatures) == 0:
		r.checkUnproven(t, v)
	case len(pending) > 0 && !slices.ContainsFunc(r.expected.Signatures, func(s signatureOf) bool { return !s.challenge() }):
		r.checkUnsigned(t, v, pending)
	}
}

// plainName makes names of algorithms comparable.
func plainName(s string) string {
	s = strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
	return strings.NewReplacer("eddsaed", "ed", "eddsa", "ed").Replace(s)
}

func (r *recorded) checkNegotiation(t *testing.T, v *VCA) {
	t.Helper()
	x := &r.expected
	meas := v.MeasurementHash.String()
	if v.MeasurementHash == 0 {
		meas = ""
	}
	for _, c := range [][2]string{{v.Version.String(), x.Version}, {v.BaseHash.String(), x.BaseHash}, {v.BaseAsym.String(), x.BaseAsym}, {meas, x.Meas}} {
		seen, want := plainName(c[0]), plainName(c[1])
		if seen != want && !(seen == "raw" && strings.HasPrefix(want, "raw")) && !(seen == "" && want == "none") {
			t.Fatalf("%q was negotiated, expected %q", c[0], c[1])
		}
	}
	if n := v.BaseAsym.SignatureSize(); x.SignatureSize != 0 && n != x.SignatureSize {
		t.Fatalf("signatures of %d bytes, expected %d", n, x.SignatureSize)
	}
}

func (r *recorded) checkChains(t *testing.T, v *VCA) {
	t.Helper()
	if len(r.chains) == 0 || len(r.chains) != len(r.expected.Chains) {
		t.Fatalf("%d chains, expected %d", len(r.chains), len(r.expected.Chains))
	}
	for slot, raw := range r.chains {
		c, err := ParseChain(raw, v)
		if err != nil {
			t.Fatal(err)
		}
		want := r.expected.Chains[fmt.Sprint(slot)]
		if len(c.DER) != len(want.Certs) || hex.EncodeToString(c.RootHash) != want.Root || hex.EncodeToString(v.BaseHash.sum(raw)) != want.Digest {
			t.Fatalf("chain %d: %d certificates, root hash %x", slot, len(c.DER), c.RootHash)
		}
		if first := bytes.Equal(v.BaseHash.sum(c.DER[0]), c.RootHash); want.RootIsFirst != nil && first != *want.RootIsFirst {
			t.Fatalf("chain %d: the first certificate is the root: %t", slot, first)
		}
		for i, p := range want.Certs {
			sum := sha256.Sum256(c.DER[i])
			if !bytes.Equal(c.DER[i], raw[p.Offset:p.Offset+p.Length]) || p.SHA256 != "" && hex.EncodeToString(sum[:]) != p.SHA256 {
				t.Fatalf("chain %d: certificate %d", slot, i)
			}
			if n := len(r.der[slot]); n != 0 && (n != len(c.DER) || !bytes.Equal(r.der[slot][i], c.DER[i])) {
				t.Fatalf("chain %d: certificate %d is not that of its file", slot, i)
			}
		}
	}
}

// checkUnproven: nothing is signed in these recordings. A chain is good, and
// proves nothing, or its leaf is refused for itself.
func (r *recorded) checkUnproven(t *testing.T, v *VCA) {
	t.Helper()
	for slot, raw := range r.chains {
		e := r.evidence()
		e.Challenge, e.Chains = nil, map[uint8][]byte{slot: raw}
		_, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
		if r.badLeaf(v, slot) {
			if got := wantKind(t, err, KindCertificate); got.Stage != StageLeaf {
				t.Fatal(got)
			}
		} else if got := wantKind(t, err, KindMissing); got.Stage != StageMeasurements {
			t.Fatal(got)
		}
	}
}

// badLeaf: the leaf has the hardware identity OID although the chains of the device
// are alias chains.
func (r *recorded) badLeaf(v *VCA, slot uint8) bool {
	c, err := ParseChain(r.chains[slot], v)
	oid := []byte{0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0x1c, 0x82, 0x12, 0x02}
	return err == nil && v.Version >= Version12 && v.Responder&(1<<18) != 0 && bytes.Contains(c.DER[len(c.DER)-1], oid)
}

func (r *recorded) checkUnsigned(t *testing.T, v *VCA, pending []byte) {
	t.Helper()
	e := r.evidence()
	e.Measurements = pending
	_, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
	wantKind(t, err, KindUnsigned)
	if _, err := ParseMeasurementTranscript(pending, v); KindOf(err) != KindUnsigned {
		t.Fatal(err)
	}
	req, rsp := r.file(t, "measurements-req.bin"), r.file(t, "measurements-rsp.bin")
	if len(r.expected.Blocks) == 0 || req == nil || rsp == nil {
		return
	}
	g, err := ParseGetMeasurements(req, v)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMeasurements(rsp, v, g)
	if err != nil {
		t.Fatal(err)
	}
	r.sameBlocks(t, m)
}

// covered verifies one signature, alone if it is that of a challenge, and returns
// the octets that it covers.
func (r *recorded) covered(t *testing.T, s signatureOf) (signed, sig []byte, slot uint8) {
	t.Helper()
	e := r.of(t, s)
	nonce := unhex(t, s.Nonce)
	x := Expect{Anchors: r.anchors, Time: at}
	if s.challenge() {
		x.ChallengeNonce = nonce
	} else {
		x.Nonce = nonce
	}
	verify := through
	if s.challenge() && e.Measurements == nil {
		verify = func(_ testing.TB, e *Evidence, x Expect) (*Result, error) { return verifyIdentity(e, x) }
	}
	res, err := verify(t, e, x)
	if err != nil {
		t.Fatalf("%s, message %d: %v", s.Type, s.Message, err)
	}
	if s.challenge() {
		c := res.Challenge.Transcript
		r.checkChallenge(t, s, res)
		return slices.Concat(c.M1(res.VCA)...), c.Response.Signature, res.Identity.Slot
	}
	last := res.Segments[0].Last()
	if !res.Fresh || hex.EncodeToString(res.Nonce) != s.Nonce || s.Responder != "" && hex.EncodeToString(last.Response.Nonce) != s.Responder {
		t.Fatalf("nonce %x", res.Nonce)
	}
	r.checkBlocks(t, s, res)
	return slices.Concat(res.Segments[0].L1(res.VCA)...), last.Response.Signature, res.Identity.Slot
}

func (r *recorded) checkSignature(t *testing.T, s signatureOf) {
	t.Helper()
	signed, sig, slot := r.covered(t, s)
	if given := r.file(t, s.File); given != nil && !bytes.Equal(signed, given) {
		t.Fatalf("%s: transcript of %d bytes", s.File, len(signed))
	}
	v, err := ParseVCA(r.of(t, s).VCA)
	if err != nil {
		t.Fatal(err)
	}
	if len(signed) != s.Length || hex.EncodeToString(v.BaseHash.sum(signed)) != s.Hash || hex.EncodeToString(sig) != s.Signature || slot != s.Slot {
		t.Fatalf("%s %d: transcript of %d bytes, slot %d", s.Type, s.Message, len(signed), slot)
	}
	// Another purpose, and one octet more or less, are not what was signed.
	leaf, err := ParseChain(r.chains[slot], v)
	if err != nil {
		t.Fatal(err)
	}
	key, purpose, other := leaf.Leaf().PublicKey, PurposeMeasurements, PurposeChallenge
	if s.challenge() {
		purpose, other = other, purpose
	}
	for name, err := range map[string]error{
		"another purpose": CheckSignature(v, key, other, sig, signed), "padding": CheckSignature(v, key, purpose, sig, signed, []byte{0}),
		"an octet less": CheckSignature(v, key, purpose, sig, signed[:len(signed)-1]),
	} {
		if KindOf(err) != KindSignature && !(name == "another purpose" && v.Version < Version12) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func (r *recorded) checkChallenge(t *testing.T, s signatureOf, res *Result) {
	t.Helper()
	c := res.Challenge.Transcript
	if !res.Challenge.Fresh || hex.EncodeToString(c.Request.Nonce) != s.Nonce || hex.EncodeToString(c.Response.SummaryHash) != s.Summary || int(c.Request.Summary) != s.Type0 ||
		s.Responder != "" && hex.EncodeToString(c.Response.Nonce) != s.Responder || s.ChainHash != "" && hex.EncodeToString(c.Response.ChainHash) != s.ChainHash {
		t.Fatalf("challenge: %+v", res.Challenge)
	}
	if s.SummaryAll == nil || s.Type0 != 255 || len(res.Segments) == 0 || res.Challenge.Summary == SummaryIncomparable {
		return
	}
	if (res.Challenge.Summary == SummaryMatches) != *s.SummaryAll {
		t.Fatal(res.Challenge.Summary)
	}
}

// checkBlocks compares the blocks of the first response outside of a session.
func (r *recorded) checkBlocks(t *testing.T, s signatureOf, res *Result) {
	t.Helper()
	i := slices.IndexFunc(r.expected.Signatures, func(o signatureOf) bool { return o.Type == "measurements" })
	if len(r.expected.Blocks) == 0 || i < 0 || r.expected.Signatures[i].Message != s.Message {
		return
	}
	r.sameBlocks(t, res.Segments[0].Last().Response)
}

func (r *recorded) sameBlocks(t *testing.T, rsp *Measurements) {
	t.Helper()
	if len(rsp.Blocks) != len(r.expected.Blocks) {
		t.Fatalf("%d blocks, expected %d", len(rsp.Blocks), len(r.expected.Blocks))
	}
	if w := r.expected.Record; w != nil && !bytes.Equal(rsp.Record, rsp.Raw[w.Offset:w.Offset+w.Length]) {
		t.Fatalf("record of %d bytes, expected %+v", len(rsp.Record), w)
	}
	for i, want := range r.expected.Blocks {
		b := rsp.Blocks[i]
		if b.Index != want.Index || b.Type != want.Type || b.RawBits != want.Raw || hex.EncodeToString(b.Value) != want.Value ||
			!bytes.Equal(b.Raw, rsp.Raw[want.Offset:want.Offset+want.Length]) {
			t.Fatalf("block %d: %+v", i, b)
		}
	}
}

// TestRecordedContents: what the emulator's own recordings hold beyond what they
// say of themselves.
func TestRecordedContents(t *testing.T) {
	r := recording(t, "v13-p384")
	res, err := through(t, r.evidence(), Expect{Anchors: r.anchors, Time: at})
	if err != nil {
		t.Fatal(err)
	}
	if id := res.Identity; id.DeviceInfo != "ACME:WIDGET:1234567890" || !id.HardwareIdentity || id.Model != ModelDevice {
		t.Errorf("%+v", id)
	}
	seen := 0
	for _, b := range res.Blocks {
		if m, ok := b.DeviceMode(); ok {
			seen++
			if m.Operational != ModeNormal || m.Debug != DebugNonInvasive|DebugInvasiveSinceManufacture || !m.Debug.Active() || m.OperationalCapabilities != 0x3F {
				t.Errorf("device mode %+v", m)
			}
		}
		if svn, ok := b.SVN(); ok {
			seen++
			if svn != 7 {
				t.Error("svn", svn)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d of device mode and version number", seen)
	}
}

// TestRecordedSegments puts all signed responses of one connection into one
// transcript: each has its own nonce, so no single one is expected.
func TestRecordedSegments(t *testing.T) {
	r := recording(t, "v12-p384-onebyone")
	rec := r.record(false)
	e := r.evidence()
	e.Measurements = slices.Concat(rec.Measurements...)
	res, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
	if err != nil || len(res.Segments) != 9 || len(res.Blocks) != 8 || res.Fresh {
		t.Fatal(res, err)
	}
	_, err = through(t, e, Expect{Anchors: r.anchors, Time: at, Nonce: res.Nonce})
	wantKind(t, err, KindNonce)
}

// TestRecordedSlotSwap uses the chain of another slot for a signature.
func TestRecordedSlotSwap(t *testing.T) {
	r := recording(t, "v12-p384")
	x := Expect{Anchors: r.anchors, Time: at}
	e := r.evidence()
	e.Challenge, e.Digests = nil, nil
	e.Chains = map[uint8][]byte{0: r.chains[1]}
	_, err := through(t, e, x) // slot 1's root may not vouch for slot 0
	wantKind(t, err, KindUnknownAnchor)
	e.Chains = map[uint8][]byte{1: r.chains[0]}
	_, err = through(t, e, x)
	wantKind(t, err, KindSlot)
	e = r.evidence()
	e.Chains = map[uint8][]byte{0: r.chains[1], 1: r.chains[0]}
	_, err = through(t, e, x)
	wantKind(t, err, KindContradiction) // DIGESTS knows better
	e = r.evidence()
	e.Measurements = r.record(true).Measurements[1] // signed by slot 1
	_, err = through(t, e, x)
	wantKind(t, err, KindSlot)
	for i := range x.Anchors {
		x.Anchors[i].Slots = 0
	}
	_, err = through(t, r.evidence(), x)
	wantKind(t, err, KindUnknownAnchor)
}

func TestRecordedEKU(t *testing.T) {
	r := recording(t, "v12-p384")
	v, err := ParseVCA(r.evidence().VCA)
	if err != nil {
		t.Fatal(err)
	}
	root := vectors.Read(t, "spdm/roots/ecp384-ca.der")
	middle := vectors.Read(t, "spdm/extra-certs/ecp384-intermediate.der")
	for _, c := range []struct {
		leaf string
		ok   bool
	}{{"ecp384-responder-req_eku", false}, {"ecp384-responder-rsp_eku", true}, {"ecp384-responder-req_rsp_eku", true}} {
		leaf := vectors.Read(t, "spdm/extra-certs/"+c.leaf+".der")
		body := slices.Concat(v.BaseHash.sum(root), root, middle, leaf)
		raw := append(append(le16(4+len(body)), 0, 0), body...)
		e := &Evidence{VCA: v.Raw, Chains: map[uint8][]byte{0: raw}}
		_, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
		if c.ok {
			wantKind(t, err, KindMissing) // the chain holds; nothing is signed
		} else if got := wantKind(t, err, KindCertificate); got.Stage != StageLeaf {
			t.Fatal(got)
		}
	}
}

func TestRecordedExpired(t *testing.T) {
	r := recording(t, "v12-rsassa3072")
	v, err := ParseVCA(r.evidence().VCA)
	if err != nil {
		t.Fatal(err)
	}
	der := vectors.Read(t, "spdm/extra-certs/rsa3072-expired-chain.der")
	certs, err := x509.ParseCertificates(der)
	if err != nil {
		t.Fatal(err)
	}
	body := append(v.BaseHash.sum(certs[0].Raw), der...)
	e := &Evidence{VCA: v.Raw, Chains: map[uint8][]byte{0: append(append(le16(4+len(body)), 0, 0), body...)}}
	_, err = through(t, e, Expect{Anchors: []Anchor{{certs[0], SlotFactory}}, Time: at})
	wantKind(t, err, KindExpired)
	_, err = through(t, r.evidence(), Expect{Anchors: r.anchors, Time: at.AddDate(20, 0, 0)})
	wantKind(t, err, KindExpired)
	_, err = through(t, r.evidence(), Expect{Anchors: r.anchors, Time: at.AddDate(-20, 0, 0)})
	wantKind(t, err, KindExpired)
}

// TestRecordedLog rebuilds the log of the recorded device; index 17 is its
// hash-extend value.
func TestRecordedLog(t *testing.T) {
	for _, name := range []string{"v13-p384", "v13-p384-mh512", "v12-p256"} {
		r := recording(t, name)
		e := r.evidence()
		e.Log = sampleLog()
		res, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
		if err != nil || len(res.Log) != 3 {
			t.Fatal(res, err)
		}
		e.Log[len(e.Log)-1] ^= 1
		_, err = through(t, e, Expect{Anchors: r.anchors, Time: at})
		wantKind(t, err, KindContradiction)
	}
}

func sampleLog() []byte {
	entry := func(n int, kind byte, value []byte) []byte {
		return slices.Concat(le32(n), []byte{17, 0, 0, 0, kind}, le16(len(value)), value)
	}
	body := slices.Concat(entry(1, 0x89, []byte("ROM")), entry(2, 0x89, []byte("Boot FW")), entry(3, 0x86, le32(0x0100030A)))
	return slices.Concat(le32(3), le32(len(body)), make([]byte, 8), body)
}

// TestRecordedBytes flips bytes of recorded signed octets.
func TestRecordedBytes(t *testing.T) {
	r := recording(t, "v13-p384-slot1")
	e := r.evidence()
	x := Expect{Anchors: r.anchors, Time: at}
	if _, err := Verify(e, x); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"measurements": e.Measurements, "challenge": e.Challenge, "vca": e.VCA} {
		for i := 0; i < len(b); i += 5 {
			if testing.Short() && i%13 != 0 { // a sample under the race detector
				continue
			}
			b[i] ^= 0x80
			if _, err := Verify(e, x); err == nil {
				t.Fatalf("byte %d of %s", i, name)
			}
			b[i] ^= 0x80
		}
	}
}

// TestRecordedRawBits: the raw bit streams of one recording hash to the digests
// of another.
func TestRecordedRawBits(t *testing.T) {
	r, digests := recording(t, "v13-p384-onebyone-raw"), recording(t, "v13-p384").expected.Blocks
	e := r.evidence()
	e.Measurements = slices.Concat(r.record(false).Measurements...)
	res, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, b := range res.Blocks {
		got, err := b.Digest(res.VCA.MeasurementHash)
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(digests, func(d blockOf) bool { return d.Index == b.Index && !d.Raw }); i >= 0 {
			checked++
			if hex.EncodeToString(got) != digests[i].Value {
				t.Fatalf("index %d: %x", b.Index, got)
			}
		}
	}
	if checked != 5 {
		t.Fatal(checked)
	}
	if _, err := (Block{RawBits: true}).Digest(MeasurementSM3); KindOf(err) != KindUnsupported {
		t.Fatal(err)
	}
}

// TestRecordedRecord parses a measurement record that stands alone.
func TestRecordedRecord(t *testing.T) {
	record := vectors.Read(t, "spdm/sample-measurement-record-sha512.bin")
	d := newDevice(t, func(d *device) { d.meas = MeasurementSHA512 })
	d.blocks, d.count = record, 7
	r, err := Verify(d.evidence(t), d.expect())
	if err != nil || len(r.Blocks) != 7 {
		t.Fatal(r, err)
	}
}
