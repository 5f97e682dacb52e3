// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

func TestRecordedFolders(t *testing.T) {
	signatures := 0
	for _, r := range recordings(t) {
		t.Run(r.name, func(t *testing.T) {
			v, err := ParseVCA(r.evidence().VCA)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(v.Raw, vectors.Read(t, "spdm/"+r.name+"/vca.bin")) || v.Version.String() != r.expected.Version {
				t.Fatal("negotiation messages", v.Version)
			}
			r.checkChains(t, v)
			signed := func(s signatureOf) bool { return strings.HasPrefix(s.Type, "measurements") }
			switch {
			case len(r.expected.Signatures) == 0:
				r.checkAlias(t)
			case !slices.ContainsFunc(r.expected.Signatures, signed):
				r.checkUnsigned(t, v)
			default:
				signatures += r.checkSignatures(t, v)
			}
		})
	}
	if !t.Failed() && signatures < 40 {
		t.Fatalf("only %d signatures were verified", signatures)
	}
}

func (r *recorded) checkChains(t *testing.T, v *VCA) {
	t.Helper()
	for slot, raw := range r.chains {
		c, err := ParseChain(raw, v)
		if err != nil {
			t.Fatal(err)
		}
		want := r.expected.Chains[fmt.Sprint(slot)]
		if len(c.DER) != len(want.Certs) || hex.EncodeToString(c.RootHash) != want.Root || hex.EncodeToString(v.BaseHash.sum(raw)) != want.Digest {
			t.Fatalf("chain %d: %d certificates, root hash %x", slot, len(c.DER), c.RootHash)
		}
		for i, p := range want.Certs {
			if !bytes.Equal(c.DER[i], raw[p.Offset:p.Offset+p.Length]) {
				t.Fatalf("chain %d: certificate %d", slot, i)
			}
		}
	}
}

// checkAlias: nothing is signed in these recordings. The chain of slot 0 is a
// good alias chain; in slot 1 the leaf carries the hardware identity OID.
func (r *recorded) checkAlias(t *testing.T) {
	t.Helper()
	e := r.evidence()
	e.Chains = map[uint8][]byte{0: r.chains[0]}
	_, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
	if got := wantKind(t, err, KindMissing); got.Stage != StageMeasurements {
		t.Fatal(got)
	}
	e.Chains = map[uint8][]byte{1: r.chains[1]}
	_, err = through(t, e, Expect{Anchors: r.anchors, Time: at})
	if got := wantKind(t, err, KindCertificate); got.Stage != StageLeaf {
		t.Fatal(got)
	}
}

func (r *recorded) checkUnsigned(t *testing.T, v *VCA) {
	t.Helper()
	e := r.evidence()
	e.Measurements = r.record(false).Pending()
	if len(e.Measurements) == 0 || len(e.Challenge) == 0 {
		t.Fatal("nothing recorded")
	}
	_, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
	wantKind(t, err, KindUnsigned)
	if _, err := ParseMeasurementTranscript(e.Measurements, v); KindOf(err) != KindUnsigned {
		t.Fatal(err)
	}
	// The challenge is signed all the same.
	c, err := ParseChallengeTranscript(e.Challenge, v)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ParseChain(r.chains[0], v)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckSignature(v, chain.Leaf().PublicKey, PurposeChallenge, c.Response.Signature, c.M1(v)...); err != nil {
		t.Fatal(err)
	}
}

func (r *recorded) checkSignatures(t *testing.T, v *VCA) (n int) {
	t.Helper()
	outside, inside := r.record(false), r.record(true)
	next := [2]int{}
	var challenge int
	for _, s := range r.expected.Signatures {
		e := r.evidence()
		x := Expect{Anchors: r.anchors, Time: at, Nonce: unhex(t, s.Nonce)}
		switch s.Type {
		case "challenge":
			x.Nonce, x.ChallengeNonce = nil, unhex(t, s.Nonce)
			e.Challenge = outside.Challenges[challenge]
			challenge++
		case "measurements":
			e.Measurements = outside.Measurements[next[0]]
			next[0]++
		case "measurements-in-session":
			e.Measurements, e.Challenge = inside.Measurements[next[1]], nil
			next[1]++
		default:
			t.Fatal(s.Type)
		}
		res, err := through(t, e, x)
		if err != nil {
			t.Fatalf("%s, message %d: %v", s.Type, s.Message, err)
		}
		var parts [][]byte
		var sig []byte
		if s.Type == "challenge" {
			c := res.Challenge.Transcript
			parts, sig = c.M1(v), c.Response.Signature
			if !res.Challenge.Fresh || hex.EncodeToString(c.Response.Nonce) != s.Responder || hex.EncodeToString(c.Response.SummaryHash) != s.Summary {
				t.Fatalf("challenge: %+v", res.Challenge)
			}
			if s.SummaryAll && s.Type0 == 255 && res.Challenge.Summary != SummaryMatches {
				t.Fatal(res.Challenge.Summary)
			}
		} else {
			last := res.Segments[0].Last()
			parts, sig = res.Segments[0].L1(v), last.Response.Signature
			if !res.Fresh || hex.EncodeToString(res.Nonce) != s.Nonce {
				t.Fatalf("nonce %x", res.Nonce)
			}
		}
		signed := slices.Concat(parts...)
		if s.File != "" && !bytes.Equal(signed, vectors.Read(t, "spdm/"+r.name+"/"+s.File)) {
			t.Fatalf("%s: transcript of %d bytes", s.File, len(signed))
		}
		if len(signed) != s.Length || hex.EncodeToString(v.BaseHash.sum(signed)) != s.Hash || hex.EncodeToString(sig) != s.Signature || res.Identity.Slot != s.Slot {
			t.Fatalf("%s %d: transcript of %d bytes, slot %d", s.Type, s.Message, len(signed), res.Identity.Slot)
		}
		if res.Identity.DeviceInfo != "ACME:WIDGET:1234567890" || !res.Identity.HardwareIdentity || res.Identity.Model != ModelDevice {
			t.Fatalf("%+v", res.Identity)
		}
		r.checkBlocks(t, s.Type, res)
		n++
	}
	return n
}

func (r *recorded) checkBlocks(t *testing.T, kind string, res *Result) {
	t.Helper()
	if len(r.expected.Blocks) == 0 || kind == "measurements-in-session" {
		return
	}
	if len(res.Blocks) != len(r.expected.Blocks) {
		t.Fatalf("%d blocks, expected %d", len(res.Blocks), len(r.expected.Blocks))
	}
	rsp := res.Segments[0].Last().Response.Raw
	for i, want := range r.expected.Blocks {
		b := res.Blocks[i]
		if b.Index != want.Index || b.Type != want.Type || b.RawBits != want.Raw || hex.EncodeToString(b.Value) != want.Value ||
			!bytes.Equal(b.Raw, rsp[want.Offset:want.Offset+want.Length]) {
			t.Fatalf("block %d: %+v", i, b)
		}
		if b.Index == IndexDeviceMode {
			m, ok := b.DeviceMode()
			if !ok || m.Operational != ModeNormal || m.Debug != DebugNonInvasive|DebugInvasiveSinceManufacture || !m.Debug.Active() || m.OperationalCapabilities != 0x3F {
				t.Fatalf("device mode %+v", m)
			}
		}
		if svn, ok := b.SVN(); want.Type == TypeSVN && (!ok || svn != 7) {
			t.Fatal("svn", svn, ok)
		}
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
		if i := slices.IndexFunc(digests, func(d struct {
			Index          uint8
			Type           ValueType
			Raw            bool
			Offset, Length int
			Value          string
		}) bool {
			return d.Index == b.Index && !d.Raw
		}); i >= 0 {
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
