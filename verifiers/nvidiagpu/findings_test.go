// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	shared "github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/assize/assize/verifiers/nvidia/ocsp"
)

// asked puts the answer about a certificate of a chain in place of the one that is
// there.
func (m *machine) asked(chain []*x509.Certificate, service *nvidia.OCSPService, position int, at time.Time) *machine {
	m.tb.Helper()
	request, err := ocsp.Request(chain[position], chain[position+1], crypto.SHA384, nil)
	if err != nil {
		m.tb.Fatal(err)
	}
	der, err := service.Answer(request, at)
	if err != nil {
		m.tb.Fatal(err)
	}
	m.files[fmt.Sprintf("nvidia-ocsp-%x.der", chain[position].SerialNumber.Bytes())] = der
	return m
}

// device and signer give one certificate of the device chain, or of the signer of
// manifests, a fault at the service.
func (m *machine) device(position int, fault nvidia.OCSPFault) *machine {
	return m.asked(m.gpu.Chain(), m.gpu.OCSPService(map[int]nvidia.OCSPFault{position: fault}), position, simulatedAt)
}

func (m *machine) signer(position int, fault nvidia.OCSPFault) *machine {
	m.tb.Helper()
	s, err := m.gpu.RIMSigner()
	if err != nil {
		m.tb.Fatal(err)
	}
	return m.asked(s.Chain(), s.OCSPService(map[int]nvidia.OCSPFault{position: fault}), position, simulatedAt)
}

// hybrid is a fake with the firmware of a simulated Hopper, so that the manifests
// of that are its own. Its chain may sign revocation lists.
func hybrid(tb testing.TB, m *machine) *fake {
	tb.Helper()
	f := newFake(tb)
	for _, c := range f.Templates {
		c.NotBefore, c.NotAfter = simulatedAt.AddDate(-1, 0, 0), simulatedAt.AddDate(1, 0, 0)
	}
	f.Blocks = nil
	for i := range 64 {
		f.Blocks = append(f.Blocks, nvidiatest.Block{Index: uint8(i + 1), Type: 1, Value: make([]byte, 48)})
	}
	for _, v := range m.gpu.Measurements() {
		index, err := strconv.Atoi(v.Name)
		if err != nil {
			tb.Fatal(err)
		}
		f.Blocks[index].Value = bytes.Clone(v.Digest)
	}
	f.with(shared.OpaqueVBIOS, []byte{0, 0xA5, 0, 0x96, 1, 0, 0, 0}).with(opaqueProject, []byte("G520\x00"))
	f.with(opaqueProjectSKU, []byte("0200\x00")).with(opaqueChipSKU, []byte("885\x00"))
	for _, c := range f.Templates[1:] {
		c.KeyUsage |= x509.KeyUsageCRLSign
	}
	return f
}

// trusting is the verifier of a machine that believes the root of a fake, too.
func (m *machine) trusting(policy string, f *fake) *shared.Verifier {
	m.tb.Helper()
	roots, err := m.gpu.Roots()
	if err != nil {
		m.tb.Fatal(err)
	}
	d := verifiers.Deps{Endorsements: m.bundle(), ExtraRoots: map[string][]*x509.Certificate{Name: append(roots, f.Root()...)}}
	if policy != "" {
		d.Policies = policyOf(m.tb, strings.TrimSuffix(strings.TrimPrefix(policy, "parameters: {"), "}\n"))
	}
	return newTest(m.tb, d).(*shared.Verifier)
}

// crl adds a revocation list by the issuer of a certificate of a fake.
func (m *machine) crl(f *fake, name string, of int, age time.Duration, critical bool, reasons ...int) {
	m.tb.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: simulatedAt.Add(-age), NextUpdate: simulatedAt.Add(-age + time.Hour)}
	for _, r := range reasons {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: f.Certs[of].SerialNumber, RevocationTime: simulatedAt.Add(-age), ReasonCode: r,
		})
	}
	if critical {
		list.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, f.Certs[of+1], f.Keys[of+1])
	if err != nil {
		m.tb.Fatal(err)
	}
	m.files[name] = der
}

// unreadable adds a response that a bundle takes and the verifier cannot read.
func (m *machine) unreadable() {
	m.tb.Helper()
	good := m.files[fmt.Sprintf("nvidia-ocsp-%x.der", m.gpu.Chain()[1].SerialNumber.Bytes())]
	for i := range good {
		odd := bytes.Clone(good)
		odd[i] ^= 1
		if _, err := ocsp.Parse(odd); err == nil {
			continue
		}
		if _, err := endorsements.ParseOCSP(odd); err == nil {
			m.files["odd.der"] = odd
			return
		}
	}
	m.tb.Fatal("what a bundle takes can be read")
}

// lists adds revocation lists under the name of the issuer of certificate 2, which
// did not sign them.
func (m *machine) lists(n int) {
	m.tb.Helper()
	f := newFake(m.tb)
	f.Build()
	issuer := *f.Certs[3]
	issuer.RawSubject, issuer.KeyUsage = m.gpu.Chain()[3].RawSubject, x509.KeyUsageCRLSign
	for i := range n {
		list := &x509.RevocationList{Number: big.NewInt(int64(i + 1)), ThisUpdate: simulatedAt, NextUpdate: simulatedAt.Add(time.Hour)}
		der, err := x509.CreateRevocationList(rand.Reader, list, &issuer, f.Keys[3])
		if err != nil {
			m.tb.Fatal(err)
		}
		m.files[fmt.Sprintf("%02d.crl", i)] = der
	}
}

type findingCase struct {
	name, policy string
	o            nvidia.Options
	change       func(m *machine)
	// fake, if not nil, is the device in place of the simulated one.
	fake func(m *machine, f *fake)
	want string
	// finding was reported, and code and words are in a reason.
	finding, code, words string
}

func findingCases() []findingCase {
	const (
		hold, revoked, none = verdict.ReasonRevoked, verdict.ReasonRevoked, verdict.ReasonNoCollateral
		conf, differs       = verdict.ReasonConfiguration, verdict.ReasonMeasurementMismatch
	)
	params := func(s string) string { return "parameters: {" + s + "}\n" }
	bw := nvidia.Options{Arch: nvidia.Blackwell}
	bwWith := func(f func(*nvidia.Options)) nvidia.Options { o := bw; f(&o); return o }
	rim := func(f nvidia.RIMFault) nvidia.Options { return bwWith(func(o *nvidia.Options) { o.RIM = f }) }
	device := func(p int, f nvidia.OCSPFault) func(*machine) { return func(m *machine) { m.device(p, f) } }
	signer := func(p int, f nvidia.OCSPFault) func(*machine) { return func(m *machine) { m.signer(p, f) } }
	quiet := params("hopper_memory_encrypted: true, revocation: optional")
	id := simulateID()
	return []findingCase{
		{name: "nothing", o: bw, want: "2 3 3 2 0", finding: "genuine"},
		{name: "match", o: bw, want: "2 3 3 2 0", finding: "executables-match"},
		{name: "configuration", o: bw, want: "2 3 3 2 0", finding: "configuration-known"},
		{name: "memory", o: bw, want: "2 3 3 2 0", finding: findMemory},
		{name: "isolated", policy: "findings: {memory-isolated: {runtime-opaque: 32}}\n", want: "2 3 3 32 0", finding: findIsolated, code: conf, words: "isolated"},
		{name: "revoked", o: bwWith(func(o *nvidia.Options) { o.Revoked = true }), want: "96 3 3 2 0", finding: "revoked", code: revoked, words: `certificate 1 ("GB100 A01 GSP BROM"): revoked at`},
		{name: "revoked provisioner", o: bw, change: device(2, nvidia.OCSPRevoked), want: "96 3 3 2 0", finding: "revoked", code: revoked, words: "certificate 2"},
		{name: "revoked family", o: bw, policy: params("revocation: optional"), change: device(3, nvidia.OCSPRevoked), want: "96 3 3 2 0", finding: "revoked", code: revoked, words: "certificate 3"},
		{name: "hold", o: bwWith(func(o *nvidia.Options) { o.OnHold = true }), want: "96 3 3 2 0", finding: "certificate-hold", code: hold, words: "reason 6"},
		{name: "hold tolerated elsewhere", policy: params("hold_allowed: [2]"), o: bwWith(func(o *nvidia.Options) { o.OnHold = true }), want: "96 3 3 2 0", finding: "certificate-hold", code: hold},
		{name: "hold tolerated", policy: params("hold_allowed: [1]"), o: bwWith(func(o *nvidia.Options) { o.OnHold = true }), want: "32 3 3 2 0", finding: "certificate-hold-tolerated", code: hold},
		{name: "no answer", o: bwWith(func(o *nvidia.Options) { o.Status = nvidia.OCSPRefused }), want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "certificate 1"},
		{name: "unknown", o: bw, change: device(1, nvidia.OCSPUnknown), want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "does not know"},
		{name: "stale", o: bw, change: device(2, nvidia.OCSPStale), want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "ended at"},
		{name: "early", o: bw, change: device(2, nvidia.OCSPEarly), want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "not valid yet"},
		{name: "forged", o: bw, change: device(3, nvidia.OCSPForged), want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "certificate 3"},
		{name: "wrong responder", o: bw, change: device(1, nvidia.OCSPWrongResponder), want: "32 3 3 2 0", finding: "revocation-unknown", code: none},
		{name: "responder that may be revoked", o: bw, change: device(1, nvidia.OCSPNoCheckMissing), want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "nocheck"},
		{name: "signer's responder that may be revoked", o: bw, change: signer(0, nvidia.OCSPNoCheckMissing), want: "2 36 32 0 0", finding: "manifest-revocation-unknown", code: verdict.ReasonRevocationUnknown, words: "nocheck"},
		{name: "responders that may be revoked, by policy", o: bw, policy: params("ocsp_unchecked_responder: true"), change: func(m *machine) {
			m.device(1, nvidia.OCSPNoCheckMissing).signer(0, nvidia.OCSPNoCheckMissing)
		}, want: "2 3 3 2 0", finding: "genuine"},
		{name: "responder of no use, by policy", o: bw, policy: params("ocsp_unchecked_responder: true"), change: device(1, nvidia.OCSPNoUsage), want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "id-kp-OCSPSigning"},
		{name: "of another certificate", o: bw, change: device(1, nvidia.OCSPOtherCertificate), want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "no OCSP response about it"},
		{name: "too old", o: bw, policy: params("ocsp_max_age_hours: 1"), change: func(m *machine) {
			m.asked(m.gpu.Chain(), m.gpu.OCSPService(nil), 1, simulatedAt.Add(-2*time.Hour))
		}, want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "older than 1h"},
		{name: "no end, of today", o: bw, change: func(m *machine) {
			m.asked(m.gpu.Chain(), m.gpu.OCSPService(map[int]nvidia.OCSPFault{2: nvidia.OCSPEndless}), 2, simulatedAt.Add(-24*time.Hour))
		}, want: "2 3 3 2 0", finding: "genuine"},
		{name: "no end, of yesterday", o: bw, change: func(m *machine) {
			m.asked(m.gpu.Chain(), m.gpu.OCSPService(map[int]nvidia.OCSPFault{2: nvidia.OCSPEndless}), 2, simulatedAt.Add(-25*time.Hour))
		}, want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "does not say until when it holds"},
		{name: "no end, of yesterday, about the signer", o: bw, change: func(m *machine) {
			s, _ := m.gpu.RIMSigner()
			m.asked(s.Chain(), s.OCSPService(map[int]nvidia.OCSPFault{0: nvidia.OCSPEndless}), 0, simulatedAt.Add(-25*time.Hour))
		}, want: "2 36 32 0 0", finding: "manifest-revocation-unknown", code: verdict.ReasonRevocationUnknown, words: "does not say until when it holds"},
		{name: "unreadable beside good ones", o: bw, change: (*machine).unreadable, want: "2 3 3 2 0", finding: "ocsp-response-unreadable", code: verdict.ReasonCollateralInvalid, words: "odd.der"},
		{name: "more lists than are looked at", o: bw, change: func(m *machine) { m.lists(16) }, want: "32 3 3 2 0", finding: "revocation-unknown", code: none, words: "more than 16 revocation lists"},
		{name: "as many lists as are looked at", o: bw, change: func(m *machine) { m.lists(15) }, want: "2 3 3 2 0", finding: "revocation-list-ignored", code: verdict.ReasonCollateralInvalid, words: "14.crl"},
		{name: "status is optional", o: bwWith(func(o *nvidia.Options) { o.Status = nvidia.OCSPRefused }), policy: params("revocation: optional"), want: "2 3 3 2 0", finding: "revocation-not-required"},
		{name: "too many answers", o: bw, policy: params("revocation: optional, manifest_revocation: optional"), change: func(m *machine) {
			for i := range 17 {
				m.device(1, nvidia.OCSPHonest)
				m.asked(m.gpu.Chain(), m.gpu.OCSPService(nil), 1, simulatedAt.Add(-time.Duration(i)*time.Minute))
				name := fmt.Sprintf("nvidia-ocsp-%x.der", m.gpu.Chain()[1].SerialNumber.Bytes())
				m.files[fmt.Sprint(i, ".der")] = m.files[name]
			}
		}, want: "32 3 3 2 0", finding: "ocsp-responses-unusable", code: verdict.ReasonCollateralInvalid, words: "more than 16"},

		{name: "list revokes", policy: quiet, fake: func(m *machine, f *fake) { m.crl(f, "a.crl", 1, 100*time.Hour, false, 1) }, want: "96 3 3 2 0", finding: "revoked", code: revoked, words: "says the list a.crl"},
		{name: "newer list does not take that back", policy: quiet, fake: func(m *machine, f *fake) {
			m.crl(f, "a.crl", 2, 100*time.Hour, false, 1)
			m.crl(f, "b.crl", 2, time.Hour, false)
		}, want: "96 3 3 2 0", finding: "revoked", code: revoked},
		{name: "list holds", policy: quiet, fake: func(m *machine, f *fake) { m.crl(f, "a.crl", 3, time.Hour, false, 6) }, want: "96 3 3 2 0", finding: "certificate-hold", code: hold},
		{name: "newer list lifts a hold", policy: quiet, fake: func(m *machine, f *fake) {
			m.crl(f, "a.crl", 3, 100*time.Hour, false, 6)
			m.crl(f, "b.crl", 3, time.Hour, false)
		}, want: "2 3 3 2 0", finding: "revocation-not-required"},
		{name: "list of another", policy: quiet, fake: func(m *machine, f *fake) {
			m.crl(f, "a.crl", 1, time.Hour, false, 1)
			m.files["a.crl"] = slices.Clone(m.files["a.crl"])
			m.files["a.crl"][len(m.files["a.crl"])-1] ^= 1
		}, want: "2 3 3 2 0", finding: "revocation-list-ignored", code: verdict.ReasonCollateralInvalid, words: "a.crl"},
		{name: "list with a critical extension", policy: quiet, fake: func(m *machine, f *fake) { m.crl(f, "a.crl", 1, time.Hour, true, 1) }, want: "2 3 3 2 0", finding: "revocation-list-ignored",
			code: verdict.ReasonCollateralInvalid, words: "2.5.29.28"},
		{name: "leaf in a list", policy: quiet, fake: func(m *machine, f *fake) { m.crl(f, "a.crl", 0, time.Hour, false, 1) }, want: "2 3 3 2 0", finding: "genuine"},

		{name: "other FWID", policy: quiet, fake: func(m *machine, f *fake) { f.with(shared.OpaqueFWID, make([]byte, 48)) }, want: "96 3 3 2 0", finding: "fwid-mismatch", code: verdict.ReasonIdentityMismatch},
		{name: "no FWID", policy: quiet, fake: func(m *machine, f *fake) { f.Without(shared.OpaqueFWID) }, want: "32 3 3 2 0", finding: "fwid-absent", code: verdict.ReasonClaimNotAsserted},
		{name: "of a switch", policy: quiet, fake: func(m *machine, f *fake) { f.with(shared.OpaqueLock, []byte{1, 0}) }, want: "97 3 3 2 0", finding: "contents-of-another-device", code: verdict.ReasonIdentityMismatch},
		{name: "expected device", o: bw, policy: params("devices: [" + id + "]"), want: "2 3 3 2 2", finding: "device-listed"},
		{name: "unexpected device", o: bw, policy: params("devices: ['nvidia-pdi:0000000000000001']"), want: "2 3 3 2 97", finding: "device-not-listed", code: verdict.ReasonIdentityMismatch},

		{name: "nothing known", o: bw, change: func(m *machine) { m.without(".xml") }, want: "2 36 33 0 0", finding: "executables-unproven", code: verdict.ReasonNoReferenceValues, words: "NV_GPU_VBIOS_G525_0220_886_9700E40011"},
		{name: "no VBIOS manifest", o: rim(nvidia.RIMMissing), want: "2 36 33 0 0", finding: "manifest-missing", code: verdict.ReasonNoReferenceValues, words: "there is no manifest NV_GPU_VBIOS_G525_0220_886_9700E40011"},
		{name: "other version", o: rim(nvidia.RIMOtherVersion), want: "2 36 33 0 0", finding: "manifest-missing", code: verdict.ReasonNoReferenceValues, words: `97.00.88.00.0F`},
		{name: "altered", o: rim(nvidia.RIMAltered), want: "2 36 96 0 0", finding: "manifest-invalid", code: verdict.ReasonCollateralInvalid, words: "NV_GPU_VBIOS_G525_0220_886_9700E40011.xml"},
		{name: "wrong signer", o: rim(nvidia.RIMWrongSigner), want: "2 36 96 0 0", finding: "manifest-invalid", code: verdict.ReasonCollateralInvalid},
		{name: "expired", o: rim(nvidia.RIMExpired), want: "2 36 33 0 0", finding: "manifest-expired", code: verdict.ReasonExpired, words: "is valid from"},
		{name: "expiry tolerated", o: rim(nvidia.RIMExpired), policy: params("manifest_expiry: warn"), want: "2 36 32 0 0", finding: "manifest-expiry-tolerated", code: verdict.ReasonExpired},
		{name: "signer revoked", o: rim(nvidia.RIMRevoked), want: "2 36 96 0 0", finding: "manifest-revoked", code: revoked, words: "certificate 0"},
		{name: "signer's issuer revoked", o: bw, policy: params("manifest_revocation: optional"), change: signer(1, nvidia.OCSPRevoked), want: "2 36 96 0 0", finding: "manifest-revoked", code: revoked, words: "certificate 1"},
		{name: "signer on hold", o: bw, change: signer(0, nvidia.OCSPHold), want: "2 36 96 0 0", finding: "manifest-hold", code: hold},
		{name: "signer's hold tolerated", o: bw, policy: params("manifest_hold_allowed: [0]"), change: signer(0, nvidia.OCSPHold), want: "2 36 32 0 0", finding: "manifest-hold-tolerated", code: hold},
		{name: "signer unknown", o: bw, change: signer(2, nvidia.OCSPUnknown), want: "2 36 32 0 0", finding: "manifest-revocation-unknown", code: verdict.ReasonRevocationUnknown},
		{name: "signer's status is optional", o: bw, policy: params("manifest_revocation: optional"), change: signer(2, nvidia.OCSPUnknown), want: "2 3 3 2 0", finding: "executables-match"},
		{name: "conflict", o: rim(nvidia.RIMConflict), want: "2 36 96 0 0", finding: "manifest-index-conflict", code: verdict.ReasonReferenceConflict, words: "must not overlap"},
		{name: "mismatch", o: bwWith(func(o *nvidia.Options) { o.Measurement = true }), want: "2 36 96 0 0", finding: "measurement-mismatch", code: differs, words: "expected"},
		{name: "firmware differs", o: bwWith(func(o *nvidia.Options) { o.Measurement = true }), want: "2 36 96 0 0", finding: "configuration-of-unknown-firmware", code: verdict.ReasonClaimNotAsserted},
		{name: "vintage", o: nvidia.Options{RIM: nvidia.RIMVintage}, want: "2 36 96 0 0", finding: "manifest-vintage", code: differs, words: "another issue may match"},
		{name: "mismatch tolerated", o: nvidia.Options{RIM: nvidia.RIMVintage}, policy: params("tolerated_mismatches: [9]"), want: "2 36 32 0 0", finding: "measurement-mismatch-tolerated", code: differs},
		{name: "mismatch tolerated, and a manifest missing", o: nvidia.Options{RIM: nvidia.RIMVintage}, policy: params("tolerated_mismatches: [9]"), change: func(m *machine) { m.without("NV_GPU_DRIVER") },
			want: "2 36 32 0 0", finding: "manifest-missing", code: verdict.ReasonNoReferenceValues, words: "NV_GPU_DRIVER_GH100_"},
		{name: "mismatch elsewhere", o: nvidia.Options{RIM: nvidia.RIMVintage}, policy: params("tolerated_mismatches: [8, 10]"), want: "2 36 96 0 0", finding: "manifest-vintage", code: differs},
		{name: "unreferenced", policy: quiet, fake: func(m *machine, f *fake) { f.Blocks[41].Value = bytes.Repeat([]byte{7}, 48) }, want: "2 3 3 2 0", finding: "measurement-unreferenced"},

		{name: "unproven", o: bw, change: func(m *machine) { m.without(".xml") }, want: "2 36 33 0 0", finding: "configuration-unproven", code: verdict.ReasonNoReferenceValues},
		{name: "recovery", policy: quiet, fake: func(m *machine, f *fake) { f.Ext = nvidiatest.TCBInfo(0xA0000001) }, want: "2 96 3 2 0", finding: "firmware-state", code: conf},
		{name: "debug", policy: quiet, fake: func(m *machine, f *fake) { f.Ext = nvidiatest.TCBInfo(0x90000001) }, want: "2 96 3 96 0", finding: "firmware-debug", code: verdict.ReasonDebug},
		{name: "newer version", policy: quiet, fake: func(m *machine, f *fake) { f.with(shared.OpaqueVersion, []byte{2, 0}) }, want: "2 96 3 0 0", finding: "opaque-version-unsupported", code: conf},
		{name: "unreadable", policy: quiet, fake: func(m *machine, f *fake) { f.with(opaqueBoard, []byte{1}) }, want: "2 36 3 0 0", finding: "opaque-data-unreadable", code: conf},
		{name: "no mode", policy: quiet, fake: func(m *machine, f *fake) { f.Without(opaqueFeature) }, want: "2 36 3 0 0", finding: findModeUnknown, code: conf},
		{name: "other mode", o: bw, policy: params("modes: [spt]"), want: "2 32 3 2 0", finding: findModeNotRequired, code: verdict.ReasonPolicy, words: "mpt, expected spt"},
		{name: "lists", o: bw, policy: params("modes: [spt, mpt], allowed_drivers: ['590.48.01'], allowed_vbios: ['97.00.e4.00.11']"), want: "2 2 3 2 0", finding: "configuration-approved"},
		{name: "old VBIOS", o: bw, policy: params("minimum_vbios: {BLACKWELL: '97.00.E4.00.12'}"), want: "2 32 3 2 0", finding: "vbios-below-minimum", code: verdict.ReasonTCBOutOfDate},
		{name: "VBIOS is new enough, of the chip", o: bw, policy: params("minimum_vbios: {BLACKWELL: '98.00', GB100: '97.00.E4.00.0F'}"), want: "2 3 3 2 0", finding: "configuration-known"},
		{name: "bad VBIOS", o: bw, policy: params("known_bad_vbios: ['97.00.E4.00.11']"), want: "2 96 3 2 0", finding: "vbios-known-bad", code: verdict.ReasonPolicy},
		{name: "VBIOS not allowed", o: bw, policy: params("allowed_vbios: ['97.00.E4.00.12']"), want: "2 32 3 2 0", finding: "vbios-not-allowed", code: verdict.ReasonPolicy},
		{name: "old driver", o: bw, policy: params("minimum_driver: {GB100: '590.100'}"), want: "2 32 3 2 0", finding: findDriverOld, code: verdict.ReasonTCBOutOfDate, words: "590.48.01, at least 590.100"},
		{name: "driver is new enough", o: bw, policy: params("minimum_driver: {GB100: '590.9.100', HOPPER: '999'}"), want: "2 3 3 2 0", finding: "configuration-known"},
		{name: "bad driver", o: bw, policy: params("known_bad_drivers: ['590.48.01']"), want: "2 96 3 2 0", finding: findDriverBad, code: verdict.ReasonPolicy},
		{name: "bad driver, written otherwise", o: bw, policy: params("known_bad_drivers: ['590.48.1']"), want: "2 96 3 2 0", finding: findDriverBad, code: verdict.ReasonPolicy},
		{name: "bad driver of another number", o: bw, policy: params("known_bad_drivers: ['590.48', '590.48.10', '590.48.01.1']"), want: "2 3 3 2 0", finding: "configuration-known"},
		{name: "driver not allowed", o: bw, policy: params("allowed_drivers: ['590.48']"), want: "2 32 3 2 0", finding: findDriverNot, code: verdict.ReasonPolicy},
	}
}

// simulateID is the PDI of the simulated Blackwell, as facts have it.
func simulateID() string { return "'nvidia-pdi:" + nvidia.PDIOf(simulatedDevice).String() + "'" }

// TestFindings: every finding that the scheme declares is made, costs what the
// table says, and says why.
func TestFindings(t *testing.T) {
	if err := defaults().Check(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range findingCases() {
		t.Run(c.name, func(t *testing.T) {
			m := simulate(t, c.o)
			if c.change != nil {
				c.change(m)
			}
			here := map[string]bool{}
			var a verdict.Appraisal
			var err error
			run := func(v *shared.Verifier, in verifiers.Input) {
				v.Trace = func(s string) { here[s], seen[s] = true, true }
				a, err = v.Appraise(t.Context(), in)
			}
			if c.fake != nil {
				f := hybrid(t, m)
				c.fake(m, prepared(f, c.name))
				in := m.input(simulatedAt)
				in.Evidence, in.Nonce = f.Leaf(), f.Nonce
				run(m.trusting(c.policy, f), in)
			} else {
				run(m.verifier(c.policy, m.bundle()), m.input(simulatedAt))
			}
			if err != nil || vectorOf(a) != c.want || !here[c.finding] {
				t.Errorf("%s, expected %s and finding %s of %v\n%v %v", vectorOf(a), c.want, c.finding, here, a.Reasons, err)
			}
			if c.code != "" && !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == c.code && strings.Contains(r.Detail, c.words) }) {
				t.Errorf("no reason %s with %q: %v", c.code, c.words, a.Reasons)
			}
		})
	}
	for _, f := range defaults().Findings {
		if !seen[f.Name] {
			t.Errorf("no case has the finding %s", f.Name)
		}
	}
}

// prepared builds the certificates of a fake, which lists need, unless the case
// changes what goes into them.
func prepared(f *fake, name string) *fake {
	if strings.Contains(name, "list") || strings.Contains(name, "newer") {
		f.Build()
	}
	return f
}
