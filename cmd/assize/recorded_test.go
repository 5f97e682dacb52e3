// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

// recordedStack is everything that "assize appraise --endorsements" runs, with
// the collateral of all recordings, and with documents that state the keys of
// Arm's tokens and nothing else.
func recordedStack(t *testing.T) *stack {
	t.Helper()
	dir := t.TempDir()
	for name, file := range map[string]string{
		"tdx-b0c06f.json": "tdx/dcap-qvl/tdx_quote_collateral.json", "tdx-90c06f.json": "tdx/dcap-qvl/tdx_quote_outdated_collateral.json",
		"tdx-50806f.json": "tdx/assembled/collateral_50806f000000_2023-07.json", "sgx.json": "sgx/dcap-qvl/sgx_quote_collateral.json",
		"a.pem": "snp/go-sev-guest/vcek.testcer", "b.pem": "snp/microsoft/milan_vcek.pem", "c.pem": "snp/microsoft/turin_vcek.pem",
		"d.pem": "snp/trustee/test-vcek.der", "e.pem": "snp/trustee/test-vlek.der",
	} {
		raw := vectors.Read(t, file)
		if block, _ := pem.Decode(raw); block == nil && strings.HasSuffix(name, ".pem") {
			raw = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.StateDir, c.Endorsements = t.TempDir(), dir
	var log bytes.Buffer
	r := role{name: "appraise", lead: true, oneShot: true, references: fixed{recordedKeys(t)}}
	s, err := start(t.Context(), c, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), r, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(context.Background()); err != nil {
			t.Error(err)
		}
		if log.Len() > 0 {
			t.Errorf("logged: %s", log.String())
		}
	})
	return s
}

// recordedKeys are the keys of recorded tokens of Arm's, in documents that the test
// vouches for: of Veraison's, what they state, and of the firmware models, that of
// their emulator.
func recordedKeys(t *testing.T) *corim.Index {
	t.Helper()
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	var docs []*corim.Document
	add := func(d *corim.Document) {
		raw, err := corim.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		d, err = believed(raw, "test", now)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	for _, name := range []string{"cca/veraison-services/corim-cca-platform-valid.cbor", "psa/veraison-services/corim/corim-psa-valid.cbor"} {
		d, err := corim.Parse(vectors.Read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range d.Tags {
			tag.Comid.Reference = nil
		}
		d.Tags = slices.DeleteFunc(d.Tags, func(tag corim.Tag) bool { return len(tag.Comid.AttestKeys) == 0 })
		d.Entities, d.Dependents = nil, nil
		add(d)
	}
	key := corim.TaggedText(corim.TagPKIXKey, string(vectors.Read(t, "cca/ccatoken/cca_platform.pub")))
	for i, token := range [][]byte{vectors.Read(t, "cca/ccatoken/cca_token.cbor"), vectors.Read(t, "cca/ratsd/ex-basic-arm-cca.outblob.cbor")} {
		id := fmt.Sprintf("firmware model %d", i)
		add(&corim.Document{ID: corim.ID{Text: id}, Profile: corim.ProfileCCAPlatform, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
			Identity: corim.TagIdentity{ID: corim.ID{Text: id + " key"}}, AttestKeys: []corim.KeyTriple{{Environment: platformOf(t, token), Keys: []corim.Typed{key}}},
		}}}})
	}
	x, err := corim.NewIndex(docs...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// platformOf finds implementation and instance in a token: claims 2396 and 256,
// byte strings of 32 and 33 bytes.
func platformOf(t *testing.T, token []byte) corim.Environment {
	t.Helper()
	find := func(head string, n int) []byte {
		at := bytes.Index(token, []byte(head))
		if at < 0 {
			t.Fatal("no platform in the token")
		}
		return token[at+len(head):][:n]
	}
	return corim.Environment{
		Class:    corim.Class{ID: corim.TaggedBytes(corim.TagBytes, find("\x19\x09\x5c\x58\x20", 32))},
		Instance: corim.TaggedBytes(corim.TagUEID, find("\x19\x01\x00\x58\x21", 33)),
	}
}

// one is a composite of one leaf.
func one(t *testing.T, mediaType string, raw []byte) []byte {
	t.Helper()
	mt, err := evidence.ParseMediaType(mediaType)
	if err != nil {
		t.Fatal(err)
	}
	out, err := evidence.EncodeCBOR(evidence.Collection("tag:example.com,2026:recorded",
		evidence.Entry{Label: "part", Item: evidence.Record(mt, raw, evidence.IndEvidence)}))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Media types of recorded leaves.
const (
	typeTDXQuote = "application/vnd.assize.tdx-quote"
	typeSGXQuote = "application/vnd.assize.sgx-quote"
	typeSNP      = "application/vnd.assize.snp-report"
	typeTSM      = "application/vnd.veraison.tsm-report+json"
	typeCCA      = `application/eat-collection; profile="http://arm.com/CCA-SSD/1.0.0"`
	typePSA      = "application/psa-attestation-token"
	typeNitro    = "application/vnd.assize.nitro-document"
	typeAzure    = "application/vnd.assize.azure-cvm+json"
	typeTPM      = "application/vnd.assize.tpm-evidence+cbor"
)

// recording is one row of a PROVENANCE table, and what a verdict must say of it.
type recording struct {
	// file may end in "[:n]", for the first n bytes.
	file, mediaType, at string
	// from is where in the file the challenge is, if it is not 0.
	from int
	// nonce is the challenge, "behind HEAD" for the 64 bytes behind a head, "hex
	// PREFIX" for the 48 bytes in hexadecimal digits that begin so, or "" for none.
	nonce  string
	tier   string // of the part, and so of the whole
	fresh  verdict.Freshness
	claims string // hardware, configuration, executables, runtime-opaque, instance-identity
	codes  string
}

// veraisonNonce is the challenge in Veraison's SNP report.
const veraisonNonce = "MIDBNH28iioisjPyxxxxxxxxxxxxxxxxMIDBNH28iioisjPyxxxxxxxxxxxxxxxx"

// Where the challenge begins in quotes and reports.
const (
	tdxV4From, tdxV5From, sgxFrom, snpFrom = 568, 574, 368, 0x50
	challengeSize                          = 64
)

var recordings = []recording{
	{"tdx/dcap-qvl/tdx_quote", typeTDXQuote, "2025-07-01T00:00:00Z", tdxV4From, "",
		"warning", verdict.FreshnessFresh, "2 2 33 2 0", "no-reference-values"},
	{"tdx/dcap-qvl/tdx_quote", typeTDXQuote, "2025-07-20T00:00:00Z", tdxV4From, "",
		"warning", verdict.FreshnessFresh, "32 2 33 2 0", "collateral-invalid no-reference-values"},
	{"tdx/go-tdx-guest/quote_v5_sample.dat", typeTDXQuote, "2026-03-01T00:00:00Z", tdxV5From, "",
		"warning", verdict.FreshnessFresh, "2 2 33 2 0", "no-reference-values"},
	{"tdx/dcap-qvl/tdx_quote_outdated", typeTDXQuote, "2026-03-01T00:00:00Z", tdxV5From, "",
		"contraindicated", verdict.FreshnessFresh, "97 2 33 2 0", "no-reference-values tcb-not-supported"},
	{"tdx/trustee/tdx_quote_5.dat", typeTDXQuote, "2026-03-01T00:00:00Z", tdxV5From, "", // with a service TD
		"contraindicated", verdict.FreshnessFresh, "97 32 33 2 0", "configuration no-reference-values tcb-not-supported"},
	{"tdx/dcap-qvl/tdx-quote.hex", typeTDXQuote, "2025-07-01T00:00:00Z", tdxV4From, "",
		"contraindicated", verdict.FreshnessFresh, "97 2 33 2 0", "no-reference-values tcb-not-supported"},
	{"tdx/dcap-qvl/quote-from-tappd.hex", typeTDXQuote, "2025-07-01T00:00:00Z", tdxV4From, "",
		"contraindicated", verdict.FreshnessFresh, "97 2 33 2 0", "no-reference-values tcb-not-supported"},
	{"tdx/go-tdx-guest/tdx_prod_quote_SPR_E4.dat[:4935]", typeTDXQuote, "2023-07-01T00:00:00Z", tdxV4From, "",
		"contraindicated", verdict.FreshnessFresh, "97 32 33 2 0", "configuration no-reference-values tcb-not-supported"},
	{"tdx/go-tdx-guest/tdx_prod_quote_SPR_E4.dat", typeTDXQuote, "2023-07-01T00:00:00Z", tdxV4From, "", // text stands behind it
		"contraindicated", verdict.FreshnessNotEstablished, "99 99 99 99 99", "malformed-evidence"},
	{"tdx/go-tdx-guest/ccel/cos-113-tdx-quote.dat", typeTDXQuote, "2025-07-01T00:00:00Z", tdxV4From, "",
		"warning", verdict.FreshnessFresh, "32 2 33 2 0", "no-collateral no-reference-values"},

	{"sgx/dcap-qvl/sgx_quote", typeSGXQuote, "2025-07-01T00:00:00Z", sgxFrom, "",
		"warning", verdict.FreshnessFresh, "32 32 33 2 0", "no-reference-values tcb-configuration-needed"},

	{"snp/go-sev-guest/attestation.bin", typeSNP, "2026-07-01T00:00:00Z", snpFrom, "",
		"contraindicated", verdict.FreshnessFresh, "32 96 33 96 2", "configuration debug-enabled no-reference-values tcb-out-of-date"},
	{"snp/microsoft/milan_attestation_report.bin", typeSNP, "2026-07-01T00:00:00Z", snpFrom, "", // with HOST_DATA
		"warning", verdict.FreshnessFresh, "2 36 33 2 2", "no-reference-values"},
	{"snp/microsoft/turin_attestation_report.bin", typeSNP, "2026-07-01T00:00:00Z", snpFrom, "",
		"warning", verdict.FreshnessFresh, "2 36 33 2 2", "no-reference-values"},
	{"snp/trustee/test-report.bin", typeSNP, "2026-07-01T00:00:00Z", snpFrom, "",
		"warning", verdict.FreshnessFresh, "32 32 33 2 2", "configuration no-reference-values tcb-configuration-needed tcb-out-of-date"},
	{"snp/trustee/test-vlek-report.bin", typeSNP, "2025-06-01T00:00:00Z", snpFrom, "", // VMPL 1
		"contraindicated", verdict.FreshnessFresh, "32 96 33 2 97", "configuration no-reference-values tcb-configuration-needed tcb-out-of-date"},
	{"snp/veraison-services/sevsnp-tsm-report.json", typeTSM, "2026-07-01T00:00:00Z", 0, veraisonNonce,
		"warning", verdict.FreshnessFresh, "2 2 33 2 2", "no-reference-values"},

	{"cca/ccatoken/cca_token.cbor", typeCCA, "2026-07-01T00:00:00Z", 0, strings.Repeat("\xab", 64),
		"warning", verdict.FreshnessFresh, "2 36 33 2 2", "no-reference-values"},
	{"cca/veraison-services/cca-good.cbor", typeCCA, "2026-07-01T00:00:00Z", 0, "behind \x0a\x58\x40",
		"warning", verdict.FreshnessFresh, "2 36 33 2 2", "no-reference-values"},
	{"cca/ratsd/ex-basic-arm-cca.outblob.cbor", typeCCA, "2026-07-01T00:00:00Z", 0, "behind \x0a\x58\x40",
		"warning", verdict.FreshnessFresh, "2 36 33 2 2", "no-reference-values"},
	{"cca/ratsd/ex-basic-arm-cca.json", typeTSM, "2026-07-01T00:00:00Z", 0, "",
		"warning", verdict.FreshnessNotEstablished, "2 36 33 2 2", "no-reference-values nonce-not-established"},
	{"cca/psa/psa-evidence.cbor", typePSA, "2026-07-01T00:00:00Z", 0, "",
		"warning", verdict.FreshnessNotEstablished, "2 2 33 2 2", "no-reference-values nonce-not-established"},

	{"nitro/anjuna/attestdoc_sample_prod_doc.bin", typeNitro, "2021-03-17T22:01:55Z", 0, "",
		"warning", verdict.FreshnessNotEstablished, "2 2 33 2 2", "no-reference-values nonce-not-established"},
	{"nitro/anjuna/attestdoc_sample_prod_doc.bin", typeNitro, "2021-03-18T22:01:55Z", 0, "",
		"contraindicated", verdict.FreshnessNotEstablished, "99 99 99 99 99", "expired"},
	{"nitro/anjuna/attestdoc_sample_prod_doc_with_publickey.bin", typeNitro, "2021-03-24T16:10:41Z", 0, "",
		"warning", verdict.FreshnessNotEstablished, "2 2 33 2 2", "no-reference-values nonce-not-established"},
	{"nitro/anjuna/attester_sample_attestation_doc_full.bin", typeNitro, "2024-01-24T18:14:25Z", 0, "", // its nonce has 6 bytes, too few for a session
		"contraindicated", verdict.FreshnessNotEstablished, "2 96 33 96 2", "debug-enabled no-reference-values nonce-not-established"},
	{"nitro/anjuna/attester_sample_prod_doc.bin", typeNitro, "2023-09-21T23:09:57Z", 0, "",
		"warning", verdict.FreshnessNotEstablished, "2 2 33 2 2", "no-reference-values nonce-not-established"},

	{"vtpm/trustee/az-snp-vtpm/evidence-v0.json", typeAzure, "2026-07-01T00:00:00Z", 0, "",
		"warning", verdict.FreshnessNotEstablished, "2 36 33 2 2", "no-reference-values nonce-not-established"},
	{"vtpm/trustee/az-snp-vtpm/evidence-v1.json", typeAzure, "2026-07-01T00:00:00Z", 0, "challenge",
		"warning", verdict.FreshnessFresh, "2 36 33 2 2", "no-reference-values"},
	{"vtpm/trustee/az-snp-vtpm/evidence-v1.json", typeAzure, "2026-07-01T00:00:00Z", 0, "another challenge",
		"contraindicated", verdict.FreshnessMismatch, "2 36 33 2 2", "no-reference-values nonce-mismatch"},
	{"vtpm/trustee/az-snp-vtpm/evidence-v2.json", typeAzure, "2026-07-01T00:00:00Z", 0, "hex 982f5c6e",
		"warning", verdict.FreshnessFresh, "2 36 33 2 2", "no-reference-values"},

	{"vtpm/go-tpm-tools/attestations/gce-cos-85-no-nonce.pb", typeTPM, "2021-09-01T00:00:00Z", 0, "",
		"warning", verdict.FreshnessNotEstablished, "0 36 33 0 32", "no-reference-values nonce-not-established revocation-unknown"},
	{"vtpm/go-tpm-tools/attestations/gce-cos-85-nonce9009.pb", typeTPM, "2021-09-01T00:00:00Z", 0, "", // its nonce has 2 bytes
		"warning", verdict.FreshnessNotEstablished, "0 36 33 0 32", "no-reference-values nonce-not-established revocation-unknown"},
	{"vtpm/go-tpm-tools/attestations/gce-cos-85-nonce9009.pb", typeTPM, "2051-09-01T00:00:00Z", 0, "",
		"contraindicated", verdict.FreshnessNotEstablished, "99 99 99 99 99", "expired"},
}

// Every recording of a CPU TEE, a TPM or an Arm device says what its PROVENANCE
// table says, through the whole program: one composite of one leaf each.
func TestRecordings(t *testing.T) {
	s := recordedStack(t)
	for _, r := range recordings {
		t.Run(r.file+"@"+r.at, func(t *testing.T) { r.check(t, s) })
	}
}

func (r *recording) read(t *testing.T) []byte {
	t.Helper()
	name, size, cut := strings.Cut(r.file, "[:")
	raw := vectors.Read(t, name)
	var err error
	switch {
	case cut:
		n, err := strconv.Atoi(strings.TrimSuffix(size, "]"))
		if err != nil {
			t.Fatal(err)
		}
		return raw[:n]
	case strings.HasSuffix(name, ".hex"):
		if raw, err = hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(raw)), "0x")); err != nil {
			t.Fatal(err)
		}
	case strings.HasSuffix(name, ".pb"):
		return ofGoogle(t, raw)
	}
	return raw
}

func (r *recording) challenge(t *testing.T, raw []byte) []byte {
	t.Helper()
	if r.from > 0 {
		return raw[r.from : r.from+challengeSize]
	}
	if head, ok := strings.CutPrefix(r.nonce, "behind "); ok {
		_, rest, found := bytes.Cut(raw, []byte(head))
		if !found {
			t.Fatal("no challenge in the token")
		}
		return rest[:challengeSize]
	}
	if prefix, ok := strings.CutPrefix(r.nonce, "hex "); ok {
		at := bytes.Index(raw, []byte(prefix))
		if at < 0 {
			t.Fatal("no challenge in the quote")
		}
		b, err := hex.DecodeString(string(raw[at:][:96]))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return []byte(r.nonce)
}

func (r *recording) check(t *testing.T, s *stack) {
	t.Helper()
	raw := r.read(t)
	at, err := time.Parse(time.RFC3339, r.at)
	if err != nil {
		t.Fatal(err)
	}
	q := orchestrator.Request{Evidence: one(t, r.mediaType, raw), Time: at}
	if nonce := r.challenge(t, raw); len(nonce) > 0 {
		q.Given = map[evidence.Path][]byte{"part": nonce}
	}
	res, err := s.lead.Appraise(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	c := res.Components[0]
	if c.Partial.IsZero() {
		t.Fatalf("no result: %v", c.Reasons)
	}
	a := c.Partial.Appraisal()
	var codes []string
	for _, why := range a.Reasons {
		codes = append(codes, why.Code)
	}
	slices.Sort(codes)
	v := a.Vector
	claims := fmt.Sprint(v[verdict.Hardware], " ", v[verdict.Configuration], " ", v[verdict.Executables], " ", v[verdict.RuntimeOpaque], " ", v[verdict.InstanceIdentity])
	got := fmt.Sprintf("%s, %s, %s, %s, %s", res.Outcome.Tier, c.Tier(), a.Freshness, claims, strings.Join(slices.Compact(codes), " "))
	if want := fmt.Sprintf("%s, %s, %s, %s, %s", r.tier, r.tier, r.fresh, r.claims, r.codes); got != want {
		t.Errorf("%s\nwant %s\n%v", got, want, a.Reasons)
	}
}
