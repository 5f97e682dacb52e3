// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/vectors"
)

// prefixes are the 100 signed bytes, written out by hand from DSP0274.
var prefixes = map[string]string{
	"12m": "dmtf-spdm-v1.2.*dmtf-spdm-v1.2.*dmtf-spdm-v1.2.*dmtf-spdm-v1.2.*\x00\x00\x00\x00\x00\x00responder-measurements signing",
	"13m": "dmtf-spdm-v1.3.*dmtf-spdm-v1.3.*dmtf-spdm-v1.3.*dmtf-spdm-v1.3.*\x00\x00\x00\x00\x00\x00responder-measurements signing",
	"12c": "dmtf-spdm-v1.2.*dmtf-spdm-v1.2.*dmtf-spdm-v1.2.*dmtf-spdm-v1.2.*\x00\x00\x00\x00responder-challenge_auth signing",
	"13c": "dmtf-spdm-v1.3.*dmtf-spdm-v1.3.*dmtf-spdm-v1.3.*dmtf-spdm-v1.3.*\x00\x00\x00\x00responder-challenge_auth signing",
}

func digestOf(h crypto.Hash, b []byte) []byte {
	w := h.New()
	w.Write(b)
	return w.Sum(nil)
}

func (n negotiated) hash() crypto.Hash {
	return map[uint32]crypto.Hash{1: crypto.SHA256, 2: crypto.SHA384}[n.Hash]
}

// verifies says whether sig covers the transcript; kind is "m" or "c".
func verifies(n negotiated, kind string, transcript, sig []byte, leaf *x509.Certificate) error {
	pub, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || len(sig) != n.signatureSize() {
		return fmt.Errorf("key %T, signature of %d bytes", leaf.PublicKey, len(sig))
	}
	digest := digestOf(n.hash(), transcript)
	if n.Version >= 0x12 {
		prefix := prefixes[fmt.Sprintf("%x%s", n.Version, kind)]
		if len(prefix) != 100 {
			return fmt.Errorf("prefix of %d bytes", len(prefix))
		}
		digest = digestOf(n.hash(), append([]byte(prefix), digest...))
	}
	r, s := new(big.Int).SetBytes(sig[:len(sig)/2]), new(big.Int).SetBytes(sig[len(sig)/2:])
	if !ecdsa.Verify(pub, digest, r, s) {
		return errors.New("signature does not verify")
	}
	return nil
}

func l1(n negotiated, vca []byte, transcript []byte, m measured) []byte {
	if n.Version < 0x12 {
		return transcript[:m.Signed]
	}
	return slices.Concat(vca, transcript[:m.Signed])
}

// chainCerts reads a chain structure.
func chainCerts(n negotiated, chain []byte) ([]*x509.Certificate, error) {
	head := 4 + n.hashSize()
	if len(chain) < head || u16(chain) != len(chain) || chain[2] != 0 || chain[3] != 0 {
		return nil, fmt.Errorf("chain of %d bytes", len(chain))
	}
	certs, err := x509.ParseCertificates(chain[head:])
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(chain[4:head], digestOf(n.hash(), certs[0].Raw)) {
		return nil, errors.New("root hash does not match")
	}
	return certs, nil
}

// rawContainer decodes the container with literal keys, not with the
// generator's type.
func rawContainer(t testing.TB, raw []byte) map[int]any {
	t.Helper()
	var out map[int]any
	if err := cbor.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// opened is evidence taken apart by the walker, signatures not yet checked.
type opened struct {
	c          map[int]any
	n          negotiated
	m          measured
	ch         challenged
	certs      []*x509.Certificate
	l1, m1     []byte
	chain      []byte
	transcript []byte
}

func open(t testing.TB, raw []byte, slot byte) opened {
	t.Helper()
	o := opened{c: rawContainer(t, raw)}
	vca := o.c[4].([]byte)
	o.transcript = o.c[6].([]byte)
	var err error
	check := func(what string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	o.n, err = walkVCA(vca)
	check("VCA")
	o.m, err = walkMeasurements(o.n, o.transcript)
	check("measurements")
	o.l1 = l1(o.n, vca, o.transcript, o.m)
	o.chain = o.c[5].(map[any]any)[uint64(slot)].([]byte)
	o.certs, err = chainCerts(o.n, o.chain)
	check("chain")
	if c, ok := o.c[7].([]byte); ok {
		o.ch, err = walkChallenge(o.n, c)
		check("challenge")
		o.m1 = slices.Concat(vca, c[:o.ch.Signed])
	}
	return o
}

func (o opened) leaf() *x509.Certificate { return o.certs[len(o.certs)-1] }

// signatures checks both signatures and everything that ties them together.
func (o opened) signatures(nonce []byte) error {
	if err := verifies(o.n, "m", o.l1, o.m.Signature, o.leaf()); err != nil {
		return fmt.Errorf("measurements: %w", err)
	}
	if !bytes.Equal(o.m.RequestNonce, nonce) || !bytes.Equal(o.m.Context, o.m.RequestContext) || o.m.Slot != o.m.Response.Param2&15 {
		return errors.New("measurements: nonce, context or slot")
	}
	if o.m1 == nil {
		return nil
	}
	if err := verifies(o.n, "c", o.m1, o.ch.Signature, o.leaf()); err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	h := o.n.hash()
	if !bytes.Equal(o.ch.RequestNonce, nonce) || !bytes.Equal(o.ch.Context, o.ch.RequestContext) || o.ch.RequestSlot != o.ch.ResponseSlot {
		return errors.New("challenge: nonce, context or slot")
	}
	if !bytes.Equal(o.ch.ChainHash, digestOf(h, o.chain)) || !bytes.Equal(o.ch.Summary, digestOf(h, o.m.Record)) {
		return errors.New("challenge: chain hash or summary")
	}
	if !bytes.Equal(o.ch.Chains[o.m.Slot], o.chain) || !bytes.Equal(o.ch.Digests, o.c[10].([]byte)) {
		return errors.New("challenge: chain or digests differ from the container's")
	}
	return nil
}

// The construction above is right: it verifies DMTF's reference responder.
func TestConstructionOnRecordings(t *testing.T) {
	for name, slot := range map[string]string{"v11-p384": "0", "v12-p256": "0", "v12-p384": "0", "v13-p384": "0", "v13-p384-mh512": "0", "v13-p384-slot1": "1"} {
		t.Run(name, func(t *testing.T) {
			file := func(f string) []byte { return vectors.Read(t, "spdm/"+name+"/"+f) }
			vca := file("vca.bin")
			n, err := walkVCA(vca)
			if err != nil {
				t.Fatal(err)
			}
			transcript := slices.Concat(file("measurements-req.bin"), file("measurements-rsp.bin"))
			m, err := walkMeasurements(n, transcript)
			if err != nil {
				t.Fatal(err)
			}
			certs, err := chainCerts(n, file("certchain-slot"+slot+".bin"))
			if err != nil {
				t.Fatal(err)
			}
			leaf := certs[len(certs)-1]
			built := l1(n, vca, transcript, m)
			if !bytes.Equal(built, file("l1.bin")) {
				t.Fatal("L1 differs from the recorded one")
			}
			if err := verifies(n, "m", built, m.Signature, leaf); err != nil {
				t.Error(err)
			}
			m1 := file("m1.bin")
			sig := file("challenge-rsp.bin")
			sig = sig[len(sig)-n.signatureSize():]
			if err := verifies(n, "c", m1, sig, leaf); err != nil {
				t.Error(err)
			}
			c, err := walkChallenge(n, slices.Concat(m1[len(vca):], sig))
			if err != nil || c.Signed != len(m1)-len(vca) || !bytes.Equal(c.Summary, digestOf(n.hash(), m.Record)) {
				t.Errorf("challenge: %v", err)
			}
			built[len(built)-1] ^= 1
			if verifies(n, "m", built, m.Signature, leaf) == nil || verifies(n, "m", m1, sig, leaf) == nil && n.Version >= 0x12 {
				t.Error("a wrong transcript or context verifies")
			}
		})
	}
}
