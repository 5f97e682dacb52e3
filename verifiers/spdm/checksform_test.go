// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/assize/assize/verdict"
)

const (
	affirming = verdict.TierAffirming
	warned    = verdict.TierWarning
	refused   = verdict.TierContraindicated
)

var (
	allFailed = claimsOf{hardware: 99, identity: 99, executables: 99, config: 99, opaque: 99, verdict.FileSystem: 99, verdict.StorageOpaque: 99, verdict.SourcedData: 99}
	stranger  = claimsOf{hardware: 97, identity: 97, executables: 0}
)

// list is for brevity.
func list(f ...func(*device)) []func(*device) { return f }

// formCases are checks A.
func formCases(t *testing.T) []checkCase {
	return []checkCase{
		{check: "A1", name: "as it should be", finding: findGenuine, claims: claimsOf{hardware: 2, identity: 2, executables: 3, config: 2, opaque: 0}, tier: affirming},
		{check: "A1", name: "trailing byte", edit: func(s *situation) { s.raw = func(b []byte) []byte { return append(b, 0) } },
			finding: findMalformed, claims: allFailed, code: verdict.ReasonMalformed, words: "container", tier: refused},
		{check: "A1", name: "unknown profile", edit: func(s *situation) {
			s.raw = func(b []byte) []byte { return bytes.Replace(b, []byte("evidence#1"), []byte("evidence#2"), 1) }
		}, finding: findUnsupported, claims: claimsOf{hardware: 97, executables: 0}, code: verdict.ReasonUnsupported, words: "profile", tier: refused},
		{check: "A2", name: "trailing byte", edit: func(s *situation) { s.e.VCA = append(bytes.Clone(s.e.VCA), 0) }, finding: findMalformed, claims: allFailed, code: verdict.ReasonMalformed, words: "vca", tier: refused},
		{check: "A2", name: "old version", opts: list(versionOf(Version11)), finding: findVersion, claims: claimsOf{config: 96, hardware: 2}, code: verdict.ReasonPolicy, words: "SPDM 1.1", tier: refused},
		{check: "A2", name: "old version by choice", opts: list(versionOf(Version11)), params: `  minimum_version: "1.1"`, finding: findMatch, claims: claimsOf{config: 2}, tier: affirming},
		{check: "A2", name: "1.0", opts: list(versionOf(Version10)), params: `  minimum_version: "1.1"`, finding: findVersion, claims: claimsOf{config: 96}, tier: refused},
		{check: "A3", name: "talked down", blocks: func(d *device) { copy(d.vca[10:], le16(0x1300)) }, finding: findDowngrade, claims: claimsOf{config: 32}, code: verdict.ReasonConfiguration, words: "the device offers 1.3", tier: warned},
		{check: "A3", name: "requesters speak no more", blocks: func(d *device) { copy(d.vca[10:], le16(0x1300)) }, params: `  maximum_version: "1.2"`, finding: findMatch, claims: claimsOf{config: 2}, tier: affirming},
		{check: "A3", name: "an alpha version", blocks: func(d *device) { copy(d.vca[10:], le16(0x1301)) }, finding: findMatch, claims: claimsOf{config: 2}, tier: affirming},
		{check: "A4", name: "weak key", opts: list(func(d *device) { d.asym = RSASSA2048 }), finding: findAlgorithm, claims: claimsOf{config: 96}, code: verdict.ReasonPolicy, words: "RSASSA-2048", tier: refused},
		{check: "A4", name: "base hash", params: "  base_hash: [SHA-512]", finding: findAlgorithm, claims: claimsOf{config: 96}, code: verdict.ReasonPolicy, words: "base hash SHA-384", tier: refused},
		{check: "A4", name: "measurement hash", params: "  measurement_hash: [SHA-512]", finding: findAlgorithm, claims: claimsOf{config: 96}, code: verdict.ReasonPolicy, words: "measurement hash SHA-384", tier: refused},
		{check: "A4", name: "SM2", edit: func(s *situation) { s.d.asym = SM2P256; s.d.makeVCA(); s.e.VCA = s.d.vca },
			finding: findUnsupported, claims: claimsOf{hardware: 97, executables: 0}, code: verdict.ReasonUnsupported, words: "SM2", tier: refused},
		{check: "A5", name: "measurements without signature", opts: list(unsigning), finding: findUnsigned, claims: claimsOf{hardware: 2, identity: 2, executables: 33, config: 36}, code: verdict.ReasonClaimNotAsserted, words: "MEAS_CAP 1", tier: warned},
		{check: "A5", name: "no signature asked for", edit: func(s *situation) {
			s.e.Measurements = slices.Concat(s.d.getMeasurements(0, 0xFF, nil), s.d.unsigned(s.d.count, s.d.blocks))
		}, finding: findUnsigned, claims: claimsOf{executables: 33, config: 36}, tier: warned},
		{check: "A5", name: "unsigned, and of a stranger", opts: list(unsigning), edit: func(s *situation) { s.anchor = newOther(t) }, finding: findUnknownAnchor, claims: stranger, tier: refused},
		{check: "A5", name: "nothing signed", opts: list(unsigning), edit: func(s *situation) { s.e.Challenge = nil }, finding: findNothingSigned, claims: stranger, code: verdict.ReasonClaimNotAsserted, tier: refused},
		{check: "A5", name: "no measurements", edit: func(s *situation) { s.e.Measurements, s.e.Challenge = nil, nil }, finding: findNothingSigned, claims: stranger, tier: refused},
		{check: "A6", name: "padding kept", edit: func(s *situation) { s.e.Measurements = append(bytes.Clone(s.e.Measurements), 0) }, finding: findMalformed, claims: allFailed, code: verdict.ReasonMalformed, words: "measurements", tier: refused},
		{check: "A6", name: "an index twice", blocks: func(d *device) { d.rawBlock(0xFE, 0x85, mode(ModeNormal, 0)) }, finding: findMalformed, claims: allFailed, code: verdict.ReasonMalformed, words: "twice", tier: refused},
	}
}

// unsigning is a device that does not sign measurements.
func unsigning(d *device) { d.flags = d.flags&^(3<<3) | 1<<3 }

func newOther(t *testing.T) *x509.Certificate {
	t.Helper()
	key := newKey(t, ECDSAP521)
	x := template("other", true)
	return issue(t, x, x, key.Public(), key)
}

// crl is a revocation list of the issuer that the sim calls middle, or root.
func crl(t *testing.T, s *situation, root bool, until time.Time, serials ...int64) []byte {
	t.Helper()
	c, err := ParseChain(s.e.Chains[s.d.slot], mustVCA(t, s.e.VCA))
	if err != nil {
		t.Fatal(err)
	}
	issuer, key := c.Certificates[len(c.Certificates)-2], newKey(t, ECDSAP384)
	if root {
		issuer, key = s.d.anchor, newKey(t, ECDSAP256)
	}
	own := *issuer
	own.KeyUsage |= x509.KeyUsageCRLSign
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: at.Add(-time.Hour), NextUpdate: until}
	for _, n := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: at.Add(-2 * time.Hour)})
	}
	raw, err := x509.CreateRevocationList(rand.Reader, list, &own, key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// proofCases are checks B.
func proofCases(t *testing.T) []checkCase {
	later := at.Add(time.Hour)
	revoked := claimsOf{identity: 96, hardware: 96, executables: 3}
	return []checkCase{
		{check: "B1", name: "root hash", edit: func(s *situation) {
			c := bytes.Clone(s.e.Chains[0])
			c[4] ^= 1
			s.e.Chains[0], s.e.Challenge = c, nil
		}, finding: findRootHash, claims: allFailed, code: verdict.ReasonChainInvalid, words: "root hash", tier: refused},
		{check: "B1", name: "length", edit: func(s *situation) { s.e.Chains[0], s.e.Challenge = append(bytes.Clone(s.e.Chains[0]), 0), nil }, finding: findMalformed, claims: allFailed, tier: refused},
		{check: "B1", name: "root not in the chain", opts: list(func(d *device) { d.noRoot = true }), finding: findMatch, claims: claimsOf{hardware: 2}, tier: affirming},
		{check: "B2", name: "unknown anchor", edit: func(s *situation) { s.anchor = newOther(t) }, finding: findUnknownAnchor, claims: stranger, code: verdict.ReasonUnknownRoot, words: "anchor", tier: refused},
		{check: "B2", name: "forged certificate", edit: func(s *situation) {
			c := bytes.Clone(s.e.Chains[0])
			c[len(c)-1] ^= 1
			s.e.Chains[0], s.e.Challenge = c, nil
		}, finding: findChain, claims: allFailed, code: verdict.ReasonChainInvalid, words: "not signed by", tier: refused},
		{check: "B2", name: "expired", opts: list(leafWith(func(x *x509.Certificate) { x.NotAfter = at.Add(-time.Second) })), finding: findExpired, claims: allFailed, code: verdict.ReasonExpired, words: "is not valid at 2026", tier: refused},
		{check: "B2", name: "leaf revoked", edit: func(s *situation) { s.der = [][]byte{crl(t, s, false, later, 7)} }, finding: findRevoked, claims: revoked, code: verdict.ReasonRevoked, words: `"leaf"`, tier: refused},
		{check: "B2", name: "issuer revoked", edit: func(s *situation) { s.der = [][]byte{crl(t, s, true, later, 7)} }, finding: findRevoked, claims: revoked, code: verdict.ReasonRevoked, words: `"middle"`, tier: refused},
		{check: "B2", name: "revoked by an old list", edit: func(s *situation) { s.der = [][]byte{crl(t, s, false, at.Add(-time.Minute), 7)} }, finding: findRevoked, claims: revoked, tier: refused},
		{check: "B2", name: "old list", edit: func(s *situation) { s.der = [][]byte{crl(t, s, false, at.Add(-time.Minute), 8)} }, finding: findListIgnored, claims: claimsOf{hardware: 2}, code: verdict.ReasonCollateralInvalid, tier: affirming},
		{check: "B2", name: "no list", params: "  revocation: required", finding: findListMissing, claims: claimsOf{hardware: 32}, code: verdict.ReasonRevocationUnknown, words: "middle", tier: warned},
		{check: "B2", name: "one list of two", params: "  revocation: required", edit: func(s *situation) { s.der = [][]byte{crl(t, s, false, later, 8)} }, finding: findListMissing, claims: claimsOf{hardware: 32}, code: verdict.ReasonRevocationUnknown, words: "root", tier: warned},
		{check: "B2", name: "both lists", params: "  revocation: required", edit: func(s *situation) { s.der = [][]byte{crl(t, s, false, later, 8), crl(t, s, true, later)} }, finding: findGenuine, claims: claimsOf{hardware: 2}, tier: affirming},
		{check: "B3", name: "requester", opts: list(leafWith(func(x *x509.Certificate) { x.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidRequesterAuth} })),
			finding: findLeaf, claims: claimsOf{identity: 99, hardware: 0}, code: verdict.ReasonChainInvalid, words: "requester only", tier: refused},
		{check: "B3", name: "alias with hardware identity", opts: list(func(d *device) { d.flags |= 1 << 18 }), finding: findLeaf, claims: claimsOf{identity: 99}, code: verdict.ReasonChainInvalid, words: "alias", tier: refused},
		{check: "B4", name: "key usage", opts: list(versionOf(Version13), func(d *device) { d.multi, d.usage = true, UsageChallenge }), finding: findSlot, claims: claimsOf{identity: 97, hardware: 0}, code: verdict.ReasonIdentityMismatch, words: "key usage of slot 0", tier: refused},
		{check: "B4", name: "slot of an owner", opts: list(slotOf(2)), finding: findSlotAllowed, claims: stranger, code: verdict.ReasonUnknownRoot, words: "may not vouch for this slot", tier: refused},
		{check: "B4", name: "slot that the policy allows", opts: list(slotOf(2)), edit: func(s *situation) { s.slot = 2 }, finding: findMatch, claims: claimsOf{identity: 2}, tier: affirming},
		{check: "B5", name: "replay", edit: func(s *situation) { s.nonce = bytes.Repeat([]byte{1}, 32) }, finding: findNonce, claims: allFailed, code: verdict.ReasonNonceMismatch, words: "a5a5a5a5a5a5a5a5", tier: refused},
		{check: "B5", name: "short nonce", edit: func(s *situation) { s.nonce = s.nonce[:31] }, finding: findNonce, claims: allFailed, tier: refused},
		{check: "B5", name: "context not echoed", opts: list(versionOf(Version13)), edit: func(s *situation) {
			rsp := s.d.unsigned(s.d.count, s.d.blocks)
			rsp[len(rsp)-1] ^= 1
			s.e.Measurements = s.d.measured(t, s.d.getMeasurements(1, 0xFF, s.d.nonce), rsp)
		}, finding: findNonce, claims: allFailed, code: verdict.ReasonNonceMismatch, words: "context", tier: refused},
		{check: "B6", name: "signature", edit: func(s *situation) { s.e.Measurements[len(s.e.Measurements)-1] ^= 1 }, finding: findSignature, claims: allFailed, code: verdict.ReasonSignatureInvalid, words: "ECDSA-P384", tier: refused},
		{check: "B6", name: "wrong negotiation", edit: func(s *situation) { s.e.VCA, s.e.Challenge = bytes.Clone(s.e.VCA), nil; s.e.VCA[10] ^= 0x10 }, finding: findSignature, claims: allFailed, tier: refused},
		{check: "B7", name: "signature", edit: func(s *situation) { s.e.Challenge[len(s.e.Challenge)-1] ^= 1 }, finding: findSignature, claims: allFailed, code: verdict.ReasonSignatureInvalid, tier: refused},
		{check: "B7", name: "another DIGESTS", edit: func(s *situation) { s.e.Digests = s.d.digests(); s.e.Digests[5] ^= 1 }, finding: findContradiction, claims: allFailed, code: verdict.ReasonMalformed, words: "DIGESTS", tier: refused},
		{check: "B7", name: "old challenge", edit: func(s *situation) {
			s.d.nonce = bytes.Repeat([]byte{1}, 32)
			s.e.Challenge = s.d.challenge(t, slices.Concat(s.d.msg(0x81, 0, 0), s.d.digests(), s.d.certificates()))
		}, finding: findOldChallenge, claims: claimsOf{identity: 32, hardware: 2}, code: verdict.ReasonNonceNotEstablished, words: "0101010101010101", tier: warned},
		{check: "B7", name: "other summary", edit: func(s *situation) {
			replace(2, 1, bytes.Repeat([]byte{9}, 48))(s.d)
			s.e.Challenge = s.d.challenge(t, slices.Concat(s.d.msg(0x81, 0, 0), s.d.digests(), s.d.certificates()))
		}, finding: findSummary, claims: claimsOf{executables: 33}, code: verdict.ReasonMeasurementMismatch, words: "summary hash", tier: warned},
		{check: "B8", name: "another name", edit: func(s *situation) { s.e.Device = "spdm:ACME:WIDGET:2" }, finding: findName, claims: claimsOf{identity: 97}, code: verdict.ReasonIdentityMismatch, words: "ACME:WIDGET:2", tier: refused},
		{check: "B8", name: "its name", edit: func(s *situation) { s.e.Device = "spdm:ACME:WIDGET:1" }, finding: findIdentified, claims: claimsOf{identity: 2}, tier: affirming},
		{check: "B8", name: "no name at all", opts: list(leafWith(func(x *x509.Certificate) { x.ExtraExtensions = nil })), finding: findUnproven, claims: claimsOf{identity: 0, executables: 33}, code: verdict.ReasonNoReferenceValues, words: "no name", tier: warned},
		{check: "B8", name: "listed", params: `  devices: ["spdm:ACME:WIDGET:1"]`, finding: findListed, claims: claimsOf{identity: 2}, tier: affirming},
		{check: "B8", name: "model listed", params: `  devices: ["spdm:ACME:WIDGET:*"]`, finding: findListed, claims: claimsOf{identity: 2}, tier: affirming},
		{check: "B8", name: "not listed", params: `  devices: ["spdm:ACME:WIDGET:12", "spdm:ACME:WID:*", "spdm:ACME:WIDGET:"]`, finding: findNotListed, claims: claimsOf{identity: 97}, code: verdict.ReasonIdentityMismatch, words: "none of the 3", tier: refused},
		{check: "B8", name: "PCIe name", opts: cmaLeaf(t, "Vendor=144D:Device=A80A:CC=010802:REV=01"), params: `  cma: ["Vendor=144D:Device=A80A"]`, finding: findIdentified, claims: claimsOf{identity: 2}, tier: affirming},
		{check: "B8", name: "other PCIe name", opts: cmaLeaf(t, "Vendor=144D:Device=A80AB"), params: `  cma: ["Vendor=144D:Device=A80A"]`, finding: findCMA, claims: claimsOf{identity: 97}, code: verdict.ReasonIdentityMismatch, words: "A80AB", tier: refused},
		{check: "B9", name: "restated otherwise", edit: func(s *situation) {
			s.restated = func(r *Result) []string { return []string{"index 2 is restated as another digest"} }
		}, finding: findRestated, claims: allFailed, code: verdict.ReasonMalformed, words: "index 2", tier: refused},
		{check: "B9", name: "restated rightly", edit: func(s *situation) { s.restated = func(r *Result) []string { return nil } }, finding: findGenuine, claims: claimsOf{hardware: 2}, tier: affirming},
	}
}
