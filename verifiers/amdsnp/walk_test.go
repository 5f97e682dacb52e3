// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// walked is real evidence with all of its certificates.
func walked(tb testing.TB) verifiers.Input {
	report := vectors.Read(tb, "snp/microsoft/milan_attestation_report.bin")
	table := tableOf(map[guid][]byte{
		guidARK: derOf(tb, "snp/microsoft/milan_ark.pem"), guidASK: derOf(tb, "snp/microsoft/milan_ask.pem"), guidVCEK: derOf(tb, "snp/microsoft/milan_vcek.pem"),
	})
	return verifiers.Input{MediaType: evidence.MediaType{Base: typeReport}, Evidence: append(report, table...), Nonce: bytes.Clone(report[0x50:0x90]), Time: at("2026-07-01")}
}

// Whatever byte of real evidence is changed, it is refused as a whole. Only what
// the host may leave out anyway, an entry of the table, makes no difference or
// leaves nothing to verify with.
func TestWalk(t *testing.T) {
	in := walked(t)
	v := newTest(t, verifiers.Deps{})
	if a := appraise(t, v, in); a.Status() != verdict.TierWarning || a.Freshness != verdict.FreshnessFresh {
		t.Fatalf("%v", a.Reasons)
	}
	original := in.Evidence
	ids := reportSize + 4*entrySize
	for i := range original {
		if testing.Short() && i%13 != 0 {
			continue
		}
		if i >= ids && i%3 != 0 && !testing.Verbose() { // certificates: RSA is slow
			continue
		}
		in.Evidence = bytes.Clone(original)
		in.Evidence[i] ^= 1 << (i % 8)
		a := appraise(t, v, in)
		if a.Vector == verdict.AllClaims(verdict.ClaimCryptoFailed) && a.Freshness == verdict.FreshnessNotEstablished {
			continue
		}
		// Identifier of an entry: ARK and ASK are not needed, the VCEK is.
		at := (i - reportSize) % entrySize
		if entry := (i - reportSize) / entrySize; i >= reportSize && entry < 3 && at < 16 && a.Status() != verdict.TierAffirming {
			if entry < 2 && a.Vector[verdict.Hardware] == 2 || entry == 2 && a.Vector[verdict.Hardware] == 97 {
				continue
			}
		}
		t.Errorf("byte %d: %v %v", i, a.Vector, a.Reasons)
	}
	if v.keys.Len() != 1 {
		t.Errorf("%d keys are kept", v.keys.Len())
	}
}

// library says whether go-sev-guest accepts: chain and signature, then what its
// validation holds against the report where nobody asks for more.
func library(raw []byte, now time.Time) (accepted bool) {
	defer func() {
		if recover() != nil { // it panics on some input
			accepted = false
		}
	}()
	attestation, err := abi.ReportCertsToProto(raw)
	if err != nil || len(raw) <= reportSize {
		return false
	}
	roots := map[string][]*trust.AMDRootCerts{}
	for _, p := range pinned {
		r := trust.AMDRootCertsProduct(p.product.String())
		if err := r.FromKDSCertBytes(append(bytes.TrimSpace(p.chainBytes()), '\n')); err != nil {
			return false
		}
		roots[p.product.String()] = append(roots[p.product.String()], r)
	}
	if verify.SnpAttestation(attestation, &verify.Options{DisableCertFetching: true, Now: now, TrustedRoots: roots}) != nil {
		return false
	}
	return validated(attestation)
}

func validated(a *spb.Attestation) bool {
	return validate.SnpAttestation(a, &validate.Options{
		GuestPolicy: abi.SnpPolicy{SMT: true, MigrateMA: true, CXLAllowed: true}, PermitProvisionalFirmware: true,
	}) == nil
}

// accepted is what we call genuine: signature and chain hold, and nothing is
// contraindicated for another reason than the privilege level.
func accepted(a verdict.Appraisal) bool {
	return a.Vector[verdict.Hardware].Tier() != verdict.TierContraindicated && a.Vector[verdict.RuntimeOpaque] == 2 && a.Vector[verdict.Hardware] != 0
}

// TestDifferential holds the verifier against go-sev-guest, over the recordings
// and thousands of mutations of them. Nothing may be accepted that the library
// refuses, but for what it cannot read: Turin.
func TestDifferential(t *testing.T) {
	rounds := 250
	if os.Getenv("ASSIZE_LONG") != "" {
		rounds = 5000
	}
	random := rand.New(rand.NewPCG(1, 2))
	listed := []string{"turin v5"}
	v := newTest(t, verifiers.Deps{})
	for name, in := range recorded(t) {
		l, f := open(in.MediaType, in.Evidence)
		if f != nil {
			t.Fatal(f)
		}
		c := must(parseTable(l.table)) // the library's validation reads no PEM
		in.MediaType.Base = typeReport
		in.Evidence = slices.Concat(l.report, tableOf(map[guid][]byte{guidVCEK: c.vcek, guidVLEK: c.vlek, guidASK: c.ask, guidARK: c.ark}))
		ours, theirs := accepted(appraise(t, v, in)), library(in.Evidence, in.Time)
		if !ours && theirs || ours && !theirs && !slices.Contains(listed, name) {
			t.Errorf("%s: we %t, the library %t", name, ours, theirs)
		}
		if name == "debug" != (!ours) {
			t.Errorf("%s: accepted %t", name, ours)
		}
		for range rounds {
			changed := in
			changed.Evidence = mutate(random, in.Evidence)
			if a := appraise(t, v, changed); accepted(a) && !slices.Contains(listed, name) && !library(changed.Evidence, in.Time) {
				// The library insists on identifiers and padding that mean nothing.
				if !bytes.Equal(changed.Evidence[:reportSize], in.Evidence[:reportSize]) {
					t.Fatalf("%s: we accept a changed report that the library refuses: %v", name, a.Reasons)
				}
				c, err := parseTable(changed.Evidence[reportSize:])
				was, _ := parseTable(in.Evidence[reportSize:])
				if err != nil || !bytes.Equal(c.vek(kindVCEK), was.vek(kindVCEK)) {
					t.Fatalf("%s: we accept another certificate that the library refuses: %v", name, a.Reasons)
				}
			}
		}
	}
}

// mutate changes evidence in one of several ways.
func mutate(r *rand.Rand, raw []byte) []byte {
	out := bytes.Clone(raw)
	at := r.IntN(len(out))
	if r.IntN(2) == 0 {
		at = r.IntN(min(len(out), reportSize+4*entrySize))
	}
	switch r.IntN(6) {
	case 0:
		out[at] ^= 1 << r.IntN(8)
	case 1:
		out[at] = byte(r.UintN(256))
	case 2:
		return out[:at]
	case 3:
		from := r.IntN(len(out))
		copy(out[at:], raw[from:min(len(raw), from+1+r.IntN(64))])
	case 4:
		return slices.Insert(out, at, byte(r.UintN(256)))
	default:
		clear(out[at:min(len(out), at+1+r.IntN(72))])
	}
	return out
}

// The library reads the fields of a report as we do.
func TestFieldsAgainstLibrary(t *testing.T) {
	for name, in := range recorded(t) {
		l, _ := open(in.MediaType, in.Evidence)
		r, err := parseReport(l.report)
		if err != nil {
			t.Fatal(err)
		}
		p, err := abi.ReportToProto(l.report)
		if err != nil {
			t.Fatal(err)
		}
		launch, current := r.mitigations()
		family, model, stepping, ok := r.cpuid()
		cf, mf := r.currentFirmware(), r.committedFirmware()
		u64 := func(b tcbBytes) uint64 {
			var n uint64
			for i, c := range b {
				n |= uint64(c) << (8 * i)
			}
			return n
		}
		for what, same := range map[string]bool{
			"version": p.Version == r.version, "svn": p.GuestSvn == r.guestSVN(), "policy": p.Policy == r.policy(), "vmpl": p.Vmpl == r.vmpl(),
			"family": bytes.Equal(p.FamilyId, r.familyID()), "image": bytes.Equal(p.ImageId, r.imageID()), "platform": p.PlatformInfo == r.platformInfo(),
			"signer": abi.ReportSigner(p.SignerInfo>>2&7) == abi.ReportSigner(r.signer()), "data": bytes.Equal(p.ReportData, r.reportData()),
			"measurement": bytes.Equal(p.Measurement, r.measurement()), "host": bytes.Equal(p.HostData, r.hostData()),
			"id key": bytes.Equal(p.IdKeyDigest, r.idKeyDigest()), "author key": bytes.Equal(p.AuthorKeyDigest, r.authorKeyDigest()),
			"report id": bytes.Equal(p.ReportId, r.reportID()), "report id ma": bytes.Equal(p.ReportIdMa, r.reportIDMA()), "chip": bytes.Equal(p.ChipId, r.chipID()),
			"current": p.CurrentTcb == u64(r.currentTCB()), "reported": p.ReportedTcb == u64(r.reportedTCB()), "committed": p.CommittedTcb == u64(r.committedTCB()),
			"launch": p.LaunchTcb == u64(r.launchTCB()), "mitigations": p.LaunchMitVector == launch && p.CurrentMitVector == current,
			"cpuid":    !ok && p.Cpuid1EaxFms == 0 || ok && p.Cpuid1EaxFms == abi.FmsToCpuid1Eax(family, model, stepping),
			"firmware": cf == firmware{byte(p.CurrentMajor), byte(p.CurrentMinor), byte(p.CurrentBuild)} && mf == firmware{byte(p.CommittedMajor), byte(p.CommittedMinor), byte(p.CommittedBuild)},
		} {
			if !same {
				t.Errorf("%s: %s differs", name, what)
			}
		}
		if k, f := parseVEK(must(parseTable(l.table)).vek(r.signer()), r.signer()); f != nil || verify.SnpReportSignature(l.report, k.cert) != nil || r.signedBy(k.key) != nil {
			t.Errorf("%s: signature %v", name, f)
		}
	}
}
