// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
)

// recording is a recorded quote with the key that signed it.
type recording struct {
	name    string
	ak      crypto.PublicKey
	message []byte
	sig     Signature
	bank    Bank
	extra   []byte
	pcrs    int
}

// octets are bytes in hexadecimal, base64 or as an array of numbers.
type octets []byte

func (o *octets) UnmarshalJSON(raw []byte) error {
	var list []uint16
	if err := json.Unmarshal(raw, &list); err == nil {
		for _, n := range list {
			*o = append(*o, byte(n))
		}
		return nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		text = strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(text)
		b, err = base64.RawStdEncoding.DecodeString(text)
	}
	*o = b
	return err
}

type recordedQuote struct {
	Message   octets   `json:"message"`
	Signature octets   `json:"signature"`
	PCRs      []octets `json:"pcrs"`
}

func (q recordedQuote) bank() Bank {
	b := Bank{Hash: crypto.SHA256, PCRs: map[int][]byte{}}
	for i, v := range q.PCRs {
		b.PCRs[i] = v
	}
	return b
}

// akOf is the key "HCLAkPub" in the runtime data of an Azure paravisor's report.
func akOf(tb testing.TB, report []byte) *rsa.PublicKey {
	tb.Helper()
	var doc struct {
		Keys []struct {
			ID string `json:"kid"`
			E  octets `json:"e"`
			N  octets `json:"n"`
		} `json:"keys"`
	}
	size := binary.LittleEndian.Uint32(report[1232:])
	if err := json.Unmarshal(report[1236:][:size], &doc); err != nil {
		tb.Fatal(err)
	}
	for _, k := range doc.Keys {
		if k.ID == "HCLAkPub" {
			return &rsa.PublicKey{N: new(big.Int).SetBytes(k.N), E: int(new(big.Int).SetBytes(k.E).Int64())}
		}
	}
	tb.Fatal("no attestation key in the report")
	return nil
}

func azure(tb testing.TB, name string, extra string) recording {
	tb.Helper()
	var doc struct {
		Report  octets        `json:"hcl_report"`
		Report0 octets        `json:"report"`
		Quote   recordedQuote `json:"tpm_quote"`
		Quote0  recordedQuote `json:"quote"`
	}
	if err := json.Unmarshal(vectors.Read(tb, "vtpm/trustee/az-snp-vtpm/"+name), &doc); err != nil {
		tb.Fatal(err)
	}
	if doc.Report == nil {
		doc.Report, doc.Quote = doc.Report0, doc.Quote0
	}
	return recording{name, akOf(tb, doc.Report), doc.Quote.Message, RSASSA(doc.Quote.Signature), doc.Quote.bank(), []byte(extra), 24}
}

func recordings(tb testing.TB) []recording {
	tb.Helper()
	v2, err := hex.DecodeString("982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef")
	if err != nil {
		tb.Fatal(err)
	}
	out := []recording{azure(tb, "evidence-v0.json", "challenge"), azure(tb, "evidence-v1.json", "challenge"), azure(tb, "evidence-v2.json", string(v2))}

	const dir = "vtpm/trustee/az-snp-vtpm/"
	ak := akOf(tb, vectors.Read(tb, dir+"hcl-report.bin"))
	var q recordedQuote
	if err := json.Unmarshal(vectors.Read(tb, dir+"tpm-quote-v1.json"), &q); err != nil {
		tb.Fatal(err)
	}
	out = append(out, recording{"tpm-quote-v1.json", ak, q.Message, RSASSA(q.Signature), q.bank(), []byte("challenge"), 24})

	var bare struct {
		AK    octets        `json:"ak_public"`
		Quote recordedQuote `json:"tpm_quote"`
	}
	if err := json.Unmarshal(vectors.Read(tb, "vtpm/trustee/tpm_evidence.json"), &bare); err != nil {
		tb.Fatal(err)
	}
	key, err := x509.ParsePKIXPublicKey(bare.AK)
	if err != nil {
		tb.Fatal(err)
	}
	sig, err := ParseSignature(bare.Quote.Signature)
	if err != nil {
		tb.Fatal(err)
	}
	extra := bare.Quote.Message[44:][:binary.BigEndian.Uint16(bare.Quote.Message[42:])]
	return append(out, recording{"tpm_evidence.json", key, bare.Quote.Message, sig, bare.Quote.bank(), extra, 24})
}

// Every recorded quote holds, for its own challenge, and no other reader reads
// it otherwise; with any byte changed it does not hold.
func TestRecordedQuotes(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.name, func(t *testing.T) {
			q, err := VerifyQuote(r.ak, r.message, r.sig, r.bank)
			if err != nil {
				t.Fatal(err)
			}
			agrees(t, r.message, q)
			if !q.Answers(r.extra) || len(q.Selected) != r.pcrs || q.Bank != crypto.SHA256 {
				t.Errorf("%+v", q)
			}
			for i := range r.message {
				raw := bytes.Clone(r.message)
				raw[i] ^= 1
				if _, err := VerifyQuote(r.ak, raw, r.sig, r.bank); err == nil {
					t.Fatalf("byte %d can be changed", i)
				}
			}
			for pcr := range r.bank.PCRs {
				b := Bank{Hash: r.bank.Hash, PCRs: map[int][]byte{}}
				for i, v := range r.bank.PCRs {
					b.PCRs[i] = bytes.Clone(v)
				}
				b.PCRs[pcr][31] ^= 1
				_, err := VerifyQuote(r.ak, r.message, r.sig, b)
				wants(t, "changed register", err, verdict.ReasonSignatureInvalid, "hash to")
			}
		})
	}
}

// Quotes of which the registers were not recorded, or the key.
func TestRecordedMessages(t *testing.T) {
	raw := vectors.Read(t, "vtpm/dstack/tpm_quote_sample.bin")
	q, err := ParseQuote(raw)
	if err != nil {
		t.Fatal(err)
	}
	agrees(t, raw, q)
	if !q.Answers([]byte{0x12, 0x34, 0x56, 0x78}) || !slices.Equal(q.Selected, []int{0, 1, 2}) || q.Clock.Resets != 16 {
		t.Errorf("%+v", q)
	}

	raw = vectors.Read(t, "vtpm/trustee/az-snp-vtpm/tpm-quote.msg")
	if q, err = ParseQuote(raw); err != nil {
		t.Fatal(err)
	}
	agrees(t, raw, q)
	if !q.Answers([]byte("challenge")) || !slices.Equal(q.Selected, []int{0, 1, 2, 3, 4, 5, 6, 7, 14}) {
		t.Errorf("%+v", q)
	}
}

// BenchmarkVerifyQuote compares the whole check of a quote with that of its
// signature (RSA-2048): the metric x-bare is the ratio.
func BenchmarkVerifyQuote(b *testing.B) {
	f := newFake(b, algRSASSA, algSHA256)
	raw := f.attest()
	sig, registers, ak := f.signature(raw), bank(), f.key.Public()
	const checks = 500
	start := time.Now()
	for range checks {
		if sig.verify(ak, raw) != nil {
			b.Fatal("the signature does not hold")
		}
	}
	bare := float64(time.Since(start).Nanoseconds()) / checks
	b.ReportAllocs()
	for b.Loop() {
		if _, err := VerifyQuote(ak, raw, sig, registers); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/bare, "x-bare")
}
