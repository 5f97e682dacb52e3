// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"testing"
)

// through verifies evidence the way a scheme gets it: encoded.
func through(t testing.TB, e *Evidence, x Expect) (*Result, error) {
	t.Helper()
	raw, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	return Verify(decoded, x)
}

// wantKind requires an *Error of the kind.
func wantKind(t testing.TB, err error, k Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != k {
		t.Fatalf("error %v, expected kind %s", err, k)
	}
	return e
}

func TestVerifyVersionsAndAlgorithms(t *testing.T) {
	type variant struct {
		version Version
		asym    BaseAsym
		hash    BaseHash
		meas    MeasurementHash
	}
	var all []variant
	for _, v := range []Version{Version10, Version11, Version12, Version13, Version14} {
		all = append(all, variant{v, ECDSAP384, BaseSHA384, MeasurementSHA384})
	}
	for _, a := range []BaseAsym{RSASSA2048, RSAPSS2048, RSASSA3072, RSAPSS3072, RSASSA4096, RSAPSS4096, ECDSAP256, ECDSAP521, Ed25519} {
		all = append(all, variant{Version12, a, BaseSHA256, MeasurementSHA512}, variant{Version13, a, BaseSHA512, MeasurementSHA256})
	}
	for _, a := range []BaseAsym{RSASSA3072, RSAPSS3072, ECDSAP384, Ed25519} {
		all = append(all, variant{Version13, a, BaseSHA3256, MeasurementSHA3512}, variant{Version14, a, BaseSHA3384, MeasurementSHA3256}, variant{Version12, a, BaseSHA3512, MeasurementSHA3384})
	}
	for _, c := range all {
		t.Run(fmt.Sprintf("%s/%s/%s/%s", c.version, c.asym, c.hash, c.meas), func(t *testing.T) {
			d := newDevice(t, func(d *device) {
				d.version, d.asym, d.hash, d.meas = c.version, c.asym, c.hash, c.meas
				d.multi = c.version >= Version13
				d.large = c.version >= Version14
				if c.version >= Version12 {
					d.data = []byte{1, 0, 0, 0, 3, 2, 1, 0, 3, 0, 'a', 'b', 'c', 0, 0, 0}
				}
			})
			r, err := through(t, d.evidence(t), d.expect())
			if err != nil {
				t.Fatal(err)
			}
			if !r.Fresh || !r.Challenge.Fresh || r.Challenge.Summary != SummaryMatches || !r.DigestsSigned || len(r.Blocks) != 4 ||
				r.Identity.DeviceInfo != "ACME:WIDGET:1" || !r.Identity.HardwareIdentity || r.VCA.BaseAsym != c.asym {
				t.Fatalf("%+v", r)
			}
			if svn, ok := r.Blocks[2].SVN(); !ok || svn != 9 {
				t.Fatal(svn, ok)
			}
		})
	}
}

// TestVerifyFlippedByte flips every byte of what is signed, one at a time.
// Nothing may be accepted, whatever fails first.
func TestVerifyFlippedByte(t *testing.T) {
	for _, v := range []Version{Version11, Version13} {
		d := newDevice(t, versionOf(v))
		good := d.evidence(t)
		parts := map[string][]byte{"measurements": good.Measurements, "challenge": good.Challenge, "vca": good.VCA, "chain": good.Chains[0]}
		for name, part := range parts {
			step := 1
			if name == "challenge" || name == "chain" {
				step = 7 // all bytes are the same to a signature; path validation is slow
			}
			for i := 0; i < len(part); i += step {
				if testing.Short() && i%13 != 0 { // a sample under the race detector
					continue
				}
				part[i] ^= 0x01
				_, err := Verify(good, d.expect())
				part[i] ^= 0x01
				if err == nil {
					t.Fatalf("%s: byte %d of %s flipped and accepted", v, i, name)
				}
				if KindOf(err) == "" {
					t.Fatalf("%s byte %d: error without a kind: %v", name, i, err)
				}
			}
		}
		if _, err := Verify(good, d.expect()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyTruncatedAndTrailing(t *testing.T) {
	d := newDevice(t, versionOf(Version13), func(d *device) { d.multi = true })
	good := d.evidence(t)
	good.Digests = d.digests()
	good.Report = sampleReport()
	if _, err := Verify(good, d.expect()); err != nil {
		t.Fatal(err)
	}
	set := map[string]func(*Evidence, []byte){
		"vca":          func(e *Evidence, b []byte) { e.VCA = b },
		"measurements": func(e *Evidence, b []byte) { e.Measurements = b },
		"challenge":    func(e *Evidence, b []byte) { e.Challenge = b },
		"digests":      func(e *Evidence, b []byte) { e.Digests = b },
		"report":       func(e *Evidence, b []byte) { e.Report = b },
		"chain":        func(e *Evidence, b []byte) { e.Chains = map[uint8][]byte{0: b} },
	}
	parts := map[string][]byte{"vca": good.VCA, "measurements": good.Measurements, "challenge": good.Challenge, "digests": good.Digests,
		"report": good.Report, "chain": good.Chains[0]}
	for name, part := range parts {
		for n := range len(part) {
			if n > 300 && n < len(part)-300 && n%13 != 0 {
				continue
			}
			e := *good
			set[name](&e, part[:n:n])
			if _, err := Verify(&e, d.expect()); err == nil {
				t.Fatalf("%s cut to %d of %d bytes and accepted", name, n, len(part))
			}
		}
		for _, tail := range [][]byte{{0}, {0, 0}, {0, 0, 0}, {1}} {
			e := *good
			set[name](&e, append(bytes.Clone(part), tail...))
			if _, err := Verify(&e, d.expect()); err == nil {
				t.Fatalf("%s with %d bytes behind and accepted", name, len(tail))
			}
		}
	}
}

func TestVerifyWrongContextOrTranscript(t *testing.T) {
	for _, v := range []Version{Version11, Version12, Version13} {
		d := newDevice(t, versionOf(v))
		m := append(d.getMeasurements(1, 0xFF, d.nonce), d.unsigned(d.count, d.blocks)...)
		l1, other := append(bytes.Clone(d.vca), m...), m
		if v < Version12 {
			l1, other = other, l1
		}
		sign := map[string][]byte{
			"vca added before 1.2 or left out after": d.sign(t, "responder-measurements signing", other),
			"padding kept":                           d.sign(t, "responder-measurements signing", append(bytes.Clone(l1), 0)),
		}
		if v >= Version12 {
			sign["context of a challenge"] = d.sign(t, "responder-challenge_auth signing", l1)
			wrong := *d
			wrong.version = v ^ 1
			sign["prefix of another version"] = wrong.sign(t, "responder-measurements signing", l1)
			wrong.version = Version11
			sign["no prefix"] = wrong.sign(t, "responder-measurements signing", l1)
		}
		e := d.evidence(t)
		for name, sig := range sign {
			e.Measurements = append(bytes.Clone(m), sig...)
			_, err := Verify(e, d.expect())
			if KindOf(err) != KindSignature {
				t.Fatalf("%s, %s: %v", v, name, err)
			}
		}
		e.Measurements = append(bytes.Clone(m), d.sign(t, "responder-measurements signing", l1)...)
		if _, err := Verify(e, d.expect()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyNonces(t *testing.T) {
	d := newDevice(t)
	e := d.evidence(t)
	x := d.expect()
	x.Nonce = bytes.Repeat([]byte{1}, NonceSize)
	_, err := Verify(e, x)
	if got := wantKind(t, err, KindNonce); got.Stage != StageMeasurements {
		t.Fatal(got)
	}
	x = d.expect()
	x.ChallengeNonce = bytes.Repeat([]byte{1}, NonceSize)
	_, err = Verify(e, x)
	if got := wantKind(t, err, KindNonce); got.Stage != StageChallenge {
		t.Fatal(got)
	}
	x.Nonce, x.ChallengeNonce = nil, nil
	r, err := Verify(e, x)
	if err != nil || r.Fresh || r.Challenge.Fresh || !bytes.Equal(r.Nonce, d.nonce) {
		t.Fatal(r, err)
	}
	x.Nonce = []byte{1}
	_, err = Verify(e, x)
	wantKind(t, err, KindMalformed)
	// Without a time nothing is verified, least of all at the present.
	_, err = Verify(e, Expect{Anchors: d.expect().Anchors})
	wantKind(t, err, KindMissing)
	// One stale segment among fresh ones is a replay.
	stale := *d
	stale.nonce = bytes.Repeat([]byte{9}, NonceSize)
	e.Measurements = append(stale.measurements(t), d.measurements(t)...)
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindNonce)
}

func TestVerifyContextEcho(t *testing.T) {
	d := newDevice(t, versionOf(Version13))
	m := append(d.getMeasurements(1, 0xFF, d.nonce), d.unsigned(d.count, d.blocks)...)
	m[len(m)-1] ^= 1
	e := d.evidence(t)
	e.Measurements = d.measured(t, m)
	_, err := Verify(e, d.expect())
	wantKind(t, err, KindNonce)
}

// TestVerifyHashConfusion uses the digest length of the wrong hash selection.
func TestVerifyHashConfusion(t *testing.T) {
	d := newDevice(t, func(d *device) { d.meas = MeasurementSHA512 })
	d.blocks, d.count = nil, 0
	wrong := *d
	wrong.meas = MeasurementSHA384 // the length of the base hash
	wrong.digestBlock(1, 0, []byte("rom"))
	e := d.evidence(t)
	e.Measurements = wrong.measurements(t)
	_, err := Verify(e, d.expect())
	wantKind(t, err, KindMalformed)
	if MeasurementSHA256.Size() != 32 || MeasurementSHA384.Size() != 48 || MeasurementRaw.Size() != 0 || BaseSHA256.Size() != 32 || BaseHash(MeasurementSHA256).Size() != 48 {
		t.Fatal("the two hash registries are shifted by one")
	}
}

func TestVerifyUnsigned(t *testing.T) {
	d := newDevice(t)
	e := d.evidence(t)
	e.Measurements = append(d.getMeasurements(0, 0xFF, nil), d.unsigned(d.count, d.blocks)...)
	_, err := Verify(e, d.expect())
	wantKind(t, err, KindUnsigned)
	// Signed first, unsigned behind.
	e.Measurements = append(d.measurements(t), e.Measurements...)
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindUnsigned)
	no := newDevice(t, func(d *device) { d.flags = 1<<1 | 1<<2 | 1<<3 })
	_, err = Verify(no.evidence(t), no.expect())
	wantKind(t, err, KindUnsigned)
	e.Measurements = nil
	_, err = Verify(e, d.expect())
	if got := wantKind(t, err, KindMissing); got.Stage != StageMeasurements {
		t.Fatal(got)
	}
}

// TestVerifyAccumulated covers unsigned exchanges by a later signature.
func TestVerifyAccumulated(t *testing.T) {
	d := newDevice(t, versionOf(Version13))
	one := block(1, 1, bytes.Repeat([]byte{1}, 48))
	two := block(2, 1, bytes.Repeat([]byte{2}, 48))
	count := d.unsigned(0, nil)
	count[2] = 2
	other := block(1, 1, bytes.Repeat([]byte{9}, 48))
	e := d.evidence(t)
	e.Challenge = nil
	e.Measurements = d.measured(t, d.getMeasurements(0, 0, nil), count, d.getMeasurements(0, 1, nil), d.unsigned(1, one),
		d.getMeasurements(1, 2, d.nonce), d.unsigned(1, two))
	r, err := through(t, e, d.expect())
	if err != nil || len(r.Blocks) != 2 || r.Total != 2 || len(r.Segments) != 1 {
		t.Fatal(r, err)
	}
	// The same index with other contents in one transcript.
	e.Measurements = d.measured(t, d.getMeasurements(0, 1, nil), d.unsigned(1, one), d.getMeasurements(1, 1, d.nonce), d.unsigned(1, other))
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	// The answer has another index than the request.
	e.Measurements = d.measured(t, d.getMeasurements(1, 1, d.nonce), d.unsigned(1, two))
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindMalformed)
	// Fewer blocks than announced.
	e.Measurements = d.measured(t, d.getMeasurements(0, 0, nil), count, d.getMeasurements(1, 0xFF, d.nonce), d.unsigned(1, one))
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	// Signatures by two slots.
	second := *d
	second.slot = 2
	e.Measurements = append(d.measurements(t), second.measurements(t)...)
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindSlot)
	// Nothing measured.
	e.Measurements = d.measured(t, d.getMeasurements(1, 0xFF, d.nonce), d.unsigned(0, nil))
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindMissing)
}

// TestCheckSignature gives keys and lengths that only a caller could get wrong.
func TestCheckSignature(t *testing.T) {
	for _, asym := range []BaseAsym{RSASSA2048, RSAPSS3072, ECDSAP256, ECDSAP384, ECDSAP521, Ed25519} {
		d := newDevice(t, func(d *device) { d.asym = asym })
		v := mustVCA(t, d.vca)
		sig := d.sign(t, "responder-measurements signing", []byte("message"))
		check := func(key crypto.PublicKey, sig []byte) error {
			return CheckSignature(v, key, PurposeMeasurements, sig, []byte("mess"), []byte("age"))
		}
		if err := check(d.key.Public(), sig); err != nil {
			t.Fatal(asym, err)
		}
		for _, other := range []BaseAsym{RSASSA2048, RSAPSS3072, ECDSAP256, ECDSAP384, ECDSAP521, Ed25519} {
			if other != asym {
				wantKind(t, check(newKey(t, other).Public(), sig), KindCertificate)
			}
		}
		wantKind(t, check(nil, sig), KindCertificate)
		wantKind(t, check(d.key.Public(), sig[1:]), KindSignature)
		wantKind(t, check(d.key.Public(), nil), KindSignature)
		// The same numbers in wider fields.
		half := len(sig) / 2
		wide := append(append([]byte{0}, sig[:half]...), append([]byte{0}, sig[half:]...)...)
		wantKind(t, check(d.key.Public(), wide), KindSignature)
		wantKind(t, check(d.key.Public(), make([]byte, len(sig))), KindSignature)
	}
}

func TestVerifyObjects(t *testing.T) {
	d := newDevice(t)
	e := d.evidence(t)
	r, err := Verify(e, d.expect())
	if err != nil {
		t.Fatal(err)
	}
	got := r.Objects.Digest(crypto.SHA384)
	if !bytes.Equal(got.Chain, d.sum(d.chain)) || !bytes.Equal(got.VCA, d.sum(d.vca)) || !bytes.Equal(got.Measurements, d.sum(e.Measurements)) || got.Report != nil {
		t.Fatalf("%x", got)
	}
}

func sampleReport() []byte {
	b := append([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, le32(1)...)
	b = append(b, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0)
	return append(append(b, le32(3)...), 'a', 'b', 'c')
}
