// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hf/nitrite"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// The pinned root is the one whose SHA-256 AWS documents.
func TestPinnedRoot(t *testing.T) {
	const digest = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"
	block, rest := pem.Decode([]byte(awsRootPEM))
	if block == nil || len(bytes.TrimSpace(rest)) != 0 {
		t.Fatal("pinned root is not one PEM certificate")
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(block.Bytes)); got != digest {
		t.Errorf("pinned root has SHA-256 %s, expected %s", got, digest)
	}
	if theirs, _ := pem.Decode([]byte(nitrite.DefaultCARoots)); theirs == nil || !bytes.Equal(theirs.Bytes, block.Bytes) {
		t.Error("pinned root differs from the library's")
	}
}

type recorded struct {
	file, module, pcr0 string
	at                 time.Time
	nonce              string
	userData           string
	publicKey          bool
	debug              bool
}

func recordings() []recorded {
	at := func(s string) time.Time { t, _ := time.Parse(time.RFC3339, s); return t }
	return []recorded{
		{file: "attestdoc_sample_prod_doc.bin", module: "i-078824548edcf6519-enc01784234ec227b58", pcr0: "2d151586", at: at("2021-03-17T22:01:55Z")},
		{file: "attestdoc_sample_prod_doc_with_publickey.bin", module: "i-0a6d65e7122308898-enc017846bcd2f820da", pcr0: "672cd3c9", at: at("2021-03-24T16:10:41Z"), publicKey: true},
		{file: "attester_sample_attestation_doc_full.bin", module: "i-0e4fe5de7ee5abe78-enc018d3cadd7d66279", pcr0: "00000000", at: at("2024-01-24T18:14:25Z"),
			nonce: "Nonce\n", userData: "Hello World!\n", publicKey: true, debug: true},
		{file: "attester_sample_prod_doc.bin", module: "i-07ceff4b3ab54305f-enc018aba0189375080", pcr0: "0f0b6b3e", at: at("2023-09-21T23:09:57Z"), userData: "Hello World!\n"},
	}
}

func (r recorded) read(tb testing.TB) []byte { return vectors.Read(tb, "nitro/anjuna/"+r.file) }

// oracle asks the library, which panics on what it does not know.
func oracle(raw []byte, at time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	_, err = nitrite.Verify(raw, nitrite.VerifyOptions{CurrentTime: at})
	return err
}

// Every recorded document: as its provenance says, at exactly its time.
func TestRecorded(t *testing.T) {
	for _, r := range recordings() {
		t.Run(r.file, func(t *testing.T) {
			raw := r.read(t)
			v := newTest(t, verifiers.Deps{})
			if err := oracle(raw, r.at.Add(time.Second)); err != nil {
				t.Fatalf("the library: %v", err)
			}
			a := appraise(t, v, input(raw, []byte(r.nonce), r.at))
			want := verdict.Vector{verdict.InstanceIdentity: 2, verdict.Configuration: 2, verdict.Executables: 33, verdict.Hardware: 2, verdict.RuntimeOpaque: 2}
			tier, reasons := verdict.TierWarning, "no-reference-values nonce-not-established"
			if r.debug {
				want[verdict.Configuration], want[verdict.RuntimeOpaque] = 96, 96
				tier, reasons = verdict.TierContraindicated, "debug-enabled no-reference-values"
			}
			if a.Vector != want || a.Status() != tier || codes(a) != reasons || a.PolicyID != Name {
				t.Errorf("%v %s %v", a.Vector, a.Status(), a.Reasons)
			}
			if fresh := a.Freshness == verdict.FreshnessFresh; fresh != (r.nonce != "") || string(a.NonceSeen) != r.nonce {
				t.Errorf("%s, nonce %q", a.Freshness, a.NonceSeen)
			}
			if a.Facts.Device[0] != "aws-nitro:"+r.module || !strings.HasPrefix(a.Facts.Registers["pcr0"], r.pcr0) || len(a.Facts.Registers) != 16 ||
				a.Facts.ReportData != hex.EncodeToString([]byte(r.userData)) || (len(a.Facts.Keys) == 1) != r.publicKey {
				t.Errorf("%+v", a.Facts)
			}
			if a.Claims["trust_basis"] != "hypervisor-rooted" || len(a.Claims["revocation"].(map[string]any)) != 2 {
				t.Errorf("%v", a.Claims)
			}
		})
	}
}

// A document holds at its own time and while its certificate lives, and never
// at a later "now".
func TestRecordedTimes(t *testing.T) {
	for _, r := range recordings() {
		raw := r.read(t)
		v := newTest(t, verifiers.Deps{})
		for _, c := range []struct {
			at    time.Time
			words string // "": not rejected
		}{
			{r.at, ""},
			{r.at.Add(90 * time.Minute), ""},
			{r.at.Add(4 * time.Hour), "more than 180 minutes before"},
			{r.at.AddDate(0, 0, 1), "more than 180 minutes before"},
			{now, "more than 180 minutes before"},
			{r.at.Add(-30 * time.Second), ""}, // clocks differ
			{r.at.Add(-2 * time.Minute), "which is after"},
		} {
			a := appraise(t, v, input(raw, []byte(r.nonce), c.at))
			if c.words != "" {
				expectRejected(t, fmt.Sprint(r.file, c.at), a, verdict.ReasonExpired, c.words)
			} else if codes(a) == verdict.ReasonExpired {
				t.Errorf("%s at %s: %v", r.file, c.at, a.Reasons)
			}
		}
		if err := oracle(raw, now); err == nil {
			t.Error("the library accepts an old document")
		}
	}
}

// With reference values for what was recorded, the production documents lack
// nothing but a nonce; debug stays debug though its zeros are "expected".
func TestRecordedWithReferences(t *testing.T) {
	for _, r := range recordings() {
		raw := r.read(t)
		v := newTest(t, verifiers.Deps{})
		in := input(raw, []byte(r.nonce), r.at)
		in.References = indexOf(t, r.at, pcrsOf(t, raw, 0, 1, 2))
		a := appraise(t, v, in)
		switch {
		case r.debug && (a.Status() != verdict.TierContraindicated || a.Vector[verdict.Executables] != 33 || codes(a) != verdict.ReasonDebug):
			t.Errorf("%s: %v %v", r.file, a.Vector, a.Reasons)
		case !r.debug && (a.Vector.Status() != verdict.TierAffirming || a.Vector[verdict.Executables] != 3 || codes(a) != verdict.ReasonNonceNotEstablished):
			t.Errorf("%s: %v %v", r.file, a.Vector, a.Reasons)
		}
	}
}

// No byte of a real document can change without it being refused.
func TestEveryByteCounts(t *testing.T) {
	r := recordings()[1]
	raw := r.read(t)
	v := newTest(t, verifiers.Deps{})
	in := input(raw, nil, r.at)
	in.References = indexOf(t, r.at, pcrsOf(t, raw, 0, 1, 2))
	if a := appraise(t, v, in); a.Vector.Status() != verdict.TierAffirming {
		t.Fatalf("%v %v", a.Vector, a.Reasons)
	}
	for i := range raw {
		if testing.Short() && i%13 != 0 {
			continue
		}
		in.Evidence = bytes.Clone(raw)
		in.Evidence[i] ^= 1 << (i % 8)
		if a := appraise(t, v, in); a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || len(a.Reasons) != 1 {
			t.Fatalf("byte %d: %v %v", i, a.Vector, a.Reasons)
		}
	}
}

// A flipped byte of the signature, in the words of the domain.
func TestFlippedSignature(t *testing.T) {
	for _, r := range recordings() {
		raw := bytes.Clone(r.read(t))
		raw[len(raw)-1] ^= 1
		expectRejected(t, r.file, appraise(t, newTest(t, verifiers.Deps{}), input(raw, nil, r.at)), verdict.ReasonSignatureInvalid, "not signed by the key")
		if err := oracle(raw, r.at.Add(time.Second)); err == nil {
			t.Error("the library accepts it")
		}
	}
}
