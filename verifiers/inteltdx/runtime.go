// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"crypto"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 of runtime data
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/assize/assize/internal/strictjson"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/hcl"
)

// Conventions for REPORTDATA: what its 64 bytes have to be. The policy names one;
// the bytes never decide.
const (
	// byLeaf is raw64 for a leaf without runtime data and runtimeHash for one with.
	byLeaf = "by-leaf"
	// raw64: the challenge, 64 bytes.
	raw64 = "raw64"
	// padded: the challenge, and zeros behind it.
	padded = "padded"
	// runtimeHash: SHA-256, SHA-384 or SHA-512 of the runtime data as they stand in
	// the leaf, and zeros behind it. The challenge may stand in the member
	// user-data, as on Azure.
	runtimeHash = "hash-runtime-data"
	// jcsPadded: SHA-384 of the runtime data in canonical form (RFC 8785), and
	// zeros. The challenge stands in their member nonce, in base64.
	jcsPadded = "sha384-jcs-padded"
	// nonceData: SHA-512 of the challenge and the runtime data, a text in base64url.
	nonceData = "sha512-nonce-data"
	// nonce32Data: the challenge, 32 bytes, and the SHA-256 of the runtime data, a
	// text in base64url.
	nonce32Data = "nonce32-sha256-data"
)

var conventions = []string{byLeaf, raw64, padded, runtimeHash, jcsPadded, nonceData, nonce32Data}

const reportDataSize = 64

// freshness compares the challenge with REPORTDATA by the convention of the
// policy, all 64 bytes in constant time.
func (v *verifier) freshness(a *verdict.Appraisal, in verifiers.Input, c container, q *quote) {
	f := &freshener{v: v, a: a, nonce: in.Nonce, document: c.runtimeData, data: q.ReportData()}
	convention := v.params.ReportData
	if convention == byLeaf {
		convention = raw64
		if c.runtimeData != nil {
			convention = runtimeHash
		}
	}
	switch convention {
	case runtimeHash:
		f.runtime(f.hashed)
	case jcsPadded:
		f.runtime(f.canonical)
	case nonceData:
		f.derived(sha512NonceData)
	case nonce32Data:
		f.derived(nonce32SHA256Data)
	case padded:
		f.plain(reportDataSize)
	default:
		f.plain(0)
	}
}

// freshener establishes the freshness of one quote.
type freshener struct {
	v        *verifier
	a        *verdict.Appraisal
	nonce    []byte
	document []byte // runtime data, nil without
	data     []byte // REPORTDATA
	want     []byte // REPORTDATA as they were to be, where the challenge gives them alone
}

// unknown: nothing says when the quote was made.
func (f *freshener) unknown(detail string) {
	f.a.Freshness = verdict.FreshnessNotEstablished
	if len(f.nonce) == 0 {
		detail = "no nonce was given, so nothing says when REPORTDATA was made"
	}
	f.a.Fail(verdict.ReasonNonceNotEstablished, detail)
}

// compare judges the challenge that was found in the evidence.
func (f *freshener) compare(seen []byte, detail string) {
	switch {
	case len(f.nonce) == 0:
		f.unknown("")
	case subtle.ConstantTimeCompare(f.nonce, seen) == 1:
		f.fresh()
	default:
		f.a.Freshness = verdict.FreshnessMismatch
		want := f.nonce
		if seen == nil { // the challenge is not told apart from what else is in REPORTDATA
			want, seen = f.want, f.data
		}
		f.a.FailComparing(verdict.ReasonNonceMismatch, detail, verdict.Challenged(want, seen))
	}
}

// fresh says that the challenge is what the evidence answers.
func (f *freshener) fresh() {
	f.a.Freshness, f.a.NonceSeen = verdict.FreshnessFresh, slices.Clone(f.nonce)
}

// plain: REPORTDATA is the challenge itself, with zeros up to size. Without
// padding a shorter challenge never matches: that would be a guess about what the
// attester did.
func (f *freshener) plain(size int) {
	if f.document != nil {
		f.a.Claims["runtime_data"] = "present, not evaluated"
	}
	nonce := f.nonce
	if n := len(nonce); n > 0 && n < size {
		nonce = append(slices.Clone(nonce), make([]byte, size-n)...)
	}
	f.want = nonce
	detail := fmt.Sprintf("REPORTDATA starts with %x, expected %d bytes that start with %x", f.data[:8], len(nonce), nonce[:min(8, len(nonce))])
	switch {
	case len(nonce) > 0 && subtle.ConstantTimeCompare(nonce, f.data) == 1:
		f.fresh()
	default:
		f.compare(nil, detail)
	}
}

// derived: REPORTDATA is made of the challenge and the data, so that one cannot be
// told from the other if it differs.
func (f *freshener) derived(make func(nonce, data []byte) []byte) {
	var data []byte
	if f.document != nil {
		var err error
		if data, err = base64url(f.document); err != nil {
			f.broken(fmt.Sprintf("runtime data are no text in base64url: %v", err))
			return
		}
	}
	want := make(f.nonce, data)
	f.want = want
	if len(f.nonce) > 0 && subtle.ConstantTimeCompare(want, f.data) == 1 {
		f.fresh()
		f.describe(data, f.v.params.ReportData)
		return
	}
	f.compare(nil, fmt.Sprintf("REPORTDATA starts with %x, expected %x by %s of a challenge of %d and data of %d bytes",
		f.data[:8], want[:min(8, len(want))], f.v.params.ReportData, len(f.nonce), len(data)))
}

func sha512NonceData(nonce, data []byte) []byte { return sum(crypto.SHA512, nonce, data) }

// nonce32SHA256Data is nil for a challenge of another size.
func nonce32SHA256Data(nonce, data []byte) []byte {
	if len(nonce) != reportDataSize/2 {
		return nil
	}
	return append(slices.Clone(nonce), sum(crypto.SHA256, data)...)
}

func sum(h crypto.Hash, parts ...[]byte) []byte {
	d := h.New()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(nil)
}

// runtime: REPORTDATA commit to the runtime data, in which the challenge may
// stand. read checks the commitment and goes on only where it holds.
func (f *freshener) runtime(read func()) {
	if f.document == nil {
		f.unknown(fmt.Sprintf("by the policy REPORTDATA are a hash of runtime data (%s), and none came with the quote", f.v.params.ReportData))
		return
	}
	read()
}

// broken: the leaf says that REPORTDATA are something that they are not.
func (f *freshener) broken(detail string) {
	f.a.Freshness = verdict.FreshnessNotEstablished
	f.v.policy.Apply(f.a, "runtime-data-mismatch", detail)
}

// describe names data to which REPORTDATA commit in the claims.
func (f *freshener) describe(data []byte, how string) map[string]any {
	d := sha256.Sum256(data)
	out := map[string]any{"sha256": hex.EncodeToString(d[:]), "bytes": len(data), "commitment": how}
	f.a.Claims["runtime_data"] = out
	return out
}

// hashed is the convention runtimeHash.
func (f *freshener) hashed() {
	hashes := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}
	i := slices.IndexFunc(hashes, func(h crypto.Hash) bool { return hcl.Commits(h, f.document, f.data) })
	if i < 0 {
		f.broken(fmt.Sprintf("REPORTDATA starts with %x, which is no SHA-256 (%x…), SHA-384 or SHA-512 of the runtime data with zeros behind it",
			f.data[:8], sum(crypto.SHA256, f.document)[:8]))
		return
	}
	claim := f.describe(f.document, hashes[i].String())
	doc, err := hcl.ParseRuntimeData(f.document)
	if err != nil {
		f.unknown(fmt.Sprintf("REPORTDATA is the %s of the runtime data, in which nothing is known to be the challenge (%v)", hashes[i], err))
		return
	}
	f.keys(doc)
	for name, b := range map[string]*bool{
		"secure_boot": doc.Configuration.SecureBoot, "console_enabled": doc.Configuration.Console, "tpm_enabled": doc.Configuration.TPM,
	} {
		if b != nil {
			claim[name] = *b
		}
	}
	f.userData(doc.UserData, hashes[i])
}

// keys lists the attestation key of a virtual TPM, and the key that signs the
// composites of the machine (decision D-128). In a TD without a paravisor any
// program that may ask for a quote chooses REPORTDATA, and from the quote nobody can
// tell whether there is one.
func (f *freshener) keys(doc *hcl.RuntimeData) {
	for _, k := range []struct{ kid, via string }{{hcl.AttestationKey, "runtime-data"}, {hcl.LeadKey, "lead-key"}} {
		if spki := doc.SPKI(k.kid); spki != "" {
			f.a.Facts.Keys = append(f.a.Facts.Keys, verdict.CommittedKey{SPKI: spki, Via: k.via, Origin: verdict.OriginApplication})
		}
	}
}

// userData: the challenge may be what a program wrote there, with zeros behind it.
// Anything else there is not taken for another challenge: programs may use the
// field for other things.
func (f *freshener) userData(user []byte, h crypto.Hash) {
	want := make([]byte, hcl.UserDataSize)
	copy(want, f.nonce)
	set := slices.ContainsFunc(f.nonce, func(b byte) bool { return b != 0 })
	if set && len(f.nonce) <= len(want) && subtle.ConstantTimeCompare(want, user) == 1 {
		f.fresh()
		return
	}
	f.unknown(fmt.Sprintf("REPORTDATA is the %s of the runtime data, which hold keys and not this challenge: only the owner of a key can answer it, as a TPM does", h))
}

// canonical is the convention jcsPadded.
func (f *freshener) canonical() {
	text, err := canonicalJSON(f.document)
	if err != nil {
		f.broken(fmt.Sprintf("runtime data have no canonical form: %v", err))
		return
	}
	if !hcl.Commits(crypto.SHA384, text, f.data) {
		f.broken(fmt.Sprintf("REPORTDATA starts with %x, expected %x, the SHA-384 of the runtime data in canonical form", f.data[:8], sum(crypto.SHA384, text)[:8]))
		return
	}
	f.describe(f.document, jcsPadded)
	members, err := strictjson.Members(f.document)
	if err != nil || members["nonce"] == nil {
		f.unknown("REPORTDATA is the SHA-384 of the runtime data, which have no member nonce")
		return
	}
	var stated string
	if err := json.Unmarshal(members["nonce"], &stated); err == nil {
		var seen []byte
		if seen, err = base64.StdEncoding.Strict().DecodeString(stated); err == nil {
			f.compare(seen, fmt.Sprintf("the runtime data hold a nonce of %d bytes that starts with %x, expected %d bytes that start with %x",
				len(seen), seen[:min(8, len(seen))], len(f.nonce), f.nonce[:min(8, len(f.nonce))]))
			return
		}
	}
	f.unknown("the member nonce of the runtime data is no text in base64")
}
