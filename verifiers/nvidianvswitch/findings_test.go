// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	shared "github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/assize/assize/verifiers/nvidia/ocsp"
)

// simulatedAt is when the simulated switches are.
var (
	simulatedAt     = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	simulatedDevice = pki.NewSeed("switch")
	simulatedNonce  = bytes.Repeat([]byte{0x42}, NonceSize)
)

const biosRIM = "NV_SWITCH_BIOS_5612_0002_890_9610730001"

// machine is a simulated switch with its collateral.
type machine struct {
	tb    testing.TB
	sw    *nvidia.Device
	files map[string][]byte
}

func simulate(tb testing.TB, o nvidia.Options) *machine {
	tb.Helper()
	o.Vendor, o.Device, o.Now = pki.NewSeed("vendor"), simulatedDevice, simulatedAt
	sw, err := nvidia.NewSwitch(o)
	if err != nil {
		tb.Fatal(err)
	}
	files, err := sw.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	return &machine{tb: tb, sw: sw, files: files}
}

// asked gives one certificate of a chain a fault at the service.
func (m *machine) asked(chain []*x509.Certificate, service *nvidia.OCSPService, position int) {
	m.tb.Helper()
	request, err := ocsp.Request(chain[position], chain[position+1], crypto.SHA384, nil)
	if err != nil {
		m.tb.Fatal(err)
	}
	der, err := service.Answer(request, simulatedAt)
	if err != nil {
		m.tb.Fatal(err)
	}
	m.files[fmt.Sprintf("nvidia-ocsp-%x.der", chain[position].SerialNumber.Bytes())] = der
}

func device(position int, fault nvidia.OCSPFault) func(*machine) {
	return func(m *machine) {
		m.asked(m.sw.Chain(), m.sw.OCSPService(map[int]nvidia.OCSPFault{position: fault}), position)
	}
}

func signer(position int, fault nvidia.OCSPFault) func(*machine) {
	return func(m *machine) {
		m.tb.Helper()
		s, err := m.sw.RIMSigner()
		if err != nil {
			m.tb.Fatal(err)
		}
		m.asked(s.Chain(), s.OCSPService(map[int]nvidia.OCSPFault{position: fault}), position)
	}
}

// hybrid is a fake with the firmware of a simulated switch.
func hybrid(tb testing.TB, m *machine) *fake {
	tb.Helper()
	f := newFake(tb)
	for _, c := range f.Templates {
		c.NotBefore, c.NotAfter = simulatedAt.AddDate(-1, 0, 0), simulatedAt.AddDate(1, 0, 0)
	}
	f.With(shared.OpaqueVBIOS, []byte("96.10.73.00.01"))
	f.Blocks = nil
	for i := range 31 {
		f.Blocks = append(f.Blocks, nvidiatest.Block{Index: uint8(i + 1), Type: 1, Value: make([]byte, 48)})
	}
	for _, v := range m.sw.Measurements() {
		index, err := strconv.Atoi(v.Name)
		if err != nil {
			tb.Fatal(err)
		}
		f.Blocks[index].Value = bytes.Clone(v.Digest)
	}
	return f
}

// unreadable adds a response that a bundle takes and the verifier cannot read.
func (m *machine) unreadable() {
	m.tb.Helper()
	for name, good := range m.files {
		for i := range min(len(good), 4<<10) {
			odd := bytes.Clone(good)
			odd[i] ^= 1
			if _, err := endorsements.ParseOCSP(odd); err != nil {
				continue
			}
			if _, err := ocsp.Parse(odd); err != nil && strings.HasSuffix(name, ".der") {
				m.files["odd.der"] = odd
				return
			}
		}
	}
	m.tb.Fatal("what a bundle takes can be read")
}

func (m *machine) verifier(policy string, more ...*x509.Certificate) *shared.Verifier {
	m.tb.Helper()
	fsys := fstest.MapFS{}
	for name, raw := range m.files {
		if raw != nil {
			fsys[name] = &fstest.MapFile{Data: raw}
		}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) > 0 {
		m.tb.Fatal(warnings, err)
	}
	roots, err := m.sw.Roots()
	if err != nil {
		m.tb.Fatal(err)
	}
	d := verifiers.Deps{Endorsements: b, ExtraRoots: map[string][]*x509.Certificate{Name: append(roots, more...)}}
	if policy != "" {
		p, err := defaults().Parse([]byte("scheme: " + Name + "\nparameters: {" + policy + "}\n"))
		if err != nil {
			m.tb.Fatal(err)
		}
		d.Policies = map[string]*appraisal.Policy{Name: p}
	}
	return newTest(m.tb, d).(*shared.Verifier)
}

// TestFindings: every finding that the scheme declares is made, costs what the
// table says, and says why. The vector is hardware, configuration, executables,
// instance-identity.
func TestFindings(t *testing.T) {
	if err := defaults().Check(); err != nil {
		t.Fatal(err)
	}
	const (
		revoked, conf, differs = verdict.ReasonRevoked, verdict.ReasonConfiguration, verdict.ReasonMeasurementMismatch
		open                   = "revocation: optional"
	)
	id := "nvidia-pdi:" + nvidia.PDIOf(simulatedDevice).String()
	type opts = nvidia.Options
	seen := map[string]bool{}
	for _, c := range []struct {
		name, policy         string
		o                    opts
		change               func(m *machine)
		fake                 func(m *machine, f *fake)
		want                 string
		finding, code, words string
	}{
		{name: "nothing", want: "2 3 3 0", finding: "genuine"},
		{name: "match", want: "2 3 3 0", finding: "executables-match"},
		{name: "configuration", want: "2 3 3 0", finding: "configuration-known"},
		{name: "revoked", o: opts{Revoked: true}, want: "96 3 3 0", finding: "revoked", code: revoked, words: "certificate 1"},
		{name: "hold", o: opts{OnHold: true}, want: "96 3 3 0", finding: "certificate-hold", code: revoked},
		{name: "hold tolerated", o: opts{OnHold: true}, policy: "hold_allowed: [1]", want: "32 3 3 0", finding: "certificate-hold-tolerated", code: revoked},
		{name: "no answer", o: opts{Status: nvidia.OCSPRefused}, want: "32 3 3 0", finding: "revocation-unknown", code: verdict.ReasonNoCollateral, words: "certificate 1"},
		{name: "stale", change: device(3, nvidia.OCSPStale), want: "32 3 3 0", finding: "revocation-unknown", code: verdict.ReasonNoCollateral, words: "ended at"},
		{name: "status is optional", o: opts{Status: nvidia.OCSPRefused}, policy: open, want: "2 3 3 0", finding: "revocation-not-required"},
		{name: "list that does not hold", policy: open, fake: func(m *machine, f *fake) {
			f.Build()
			list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: simulatedAt, NextUpdate: simulatedAt}
			issuer := *f.Certs[2]
			issuer.KeyUsage |= x509.KeyUsageCRLSign // which the certificate itself has not
			der, err := x509.CreateRevocationList(rand.Reader, list, &issuer, f.Keys[2])
			if err != nil {
				t.Fatal(err)
			}
			m.files["a.crl"] = der
		}, want: "2 3 3 0", finding: "revocation-list-ignored", code: verdict.ReasonCollateralInvalid, words: "a.crl"},
		{name: "too many answers", policy: "manifest_revocation: optional, " + open, change: func(m *machine) {
			for i := range 17 {
				request, err := ocsp.Request(m.sw.Chain()[1], m.sw.Chain()[2], crypto.SHA384, nil)
				if err != nil {
					t.Fatal(err)
				}
				if m.files[fmt.Sprint(i, ".der")], err = m.sw.OCSPService(nil).Answer(request, simulatedAt.Add(-time.Duration(i+1)*time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
		}, want: "32 3 3 0", finding: "ocsp-responses-unusable", code: verdict.ReasonCollateralInvalid},
		{name: "unreadable beside good ones", change: (*machine).unreadable, want: "2 3 3 0", finding: "ocsp-response-unreadable", code: verdict.ReasonCollateralInvalid, words: "odd.der"},
		{name: "other FWID", policy: open, fake: func(m *machine, f *fake) { f.With(shared.OpaqueFWID, make([]byte, 48)) }, want: "96 3 3 0", finding: "fwid-mismatch", code: verdict.ReasonIdentityMismatch},
		{name: "no PDI in a known form", policy: open, fake: func(m *machine, f *fake) {
			f.With(shared.OpaqueVersion, []byte{2, 0}).With(shared.OpaquePDI, make([]byte, 16))
		}, want: "32 96 3 0", finding: "fwid-absent", code: verdict.ReasonClaimNotAsserted},
		{name: "of another switch", policy: open, fake: func(m *machine, f *fake) { f.With(shared.OpaquePDI, fakeGPUs[0]) }, want: "97 3 3 0", finding: "contents-of-another-device", code: verdict.ReasonIdentityMismatch},
		{name: "expected", policy: "devices: ['" + id + "']", want: "2 3 3 2", finding: "device-listed"},
		{name: "unexpected", policy: "devices: ['nvidia-ueid:1']", want: "2 3 3 97", finding: "device-not-listed", code: verdict.ReasonIdentityMismatch, words: id},

		{name: "no manifest", o: opts{RIM: nvidia.RIMMissing}, want: "2 36 33 0", finding: "executables-unproven", code: verdict.ReasonNoReferenceValues, words: biosRIM},
		{name: "other version", o: opts{RIM: nvidia.RIMOtherVersion}, want: "2 36 33 0", finding: "manifest-missing", code: verdict.ReasonNoReferenceValues, words: biosRIM},
		{name: "altered", o: opts{RIM: nvidia.RIMAltered}, want: "2 36 96 0", finding: "manifest-invalid", code: verdict.ReasonCollateralInvalid},
		{name: "expired", o: opts{RIM: nvidia.RIMExpired}, want: "2 36 33 0", finding: "manifest-expired", code: verdict.ReasonExpired},
		{name: "expiry tolerated", o: opts{RIM: nvidia.RIMExpired}, policy: "manifest_expiry: warn", want: "2 36 32 0", finding: "manifest-expiry-tolerated", code: verdict.ReasonExpired},
		{name: "signer revoked", o: opts{RIM: nvidia.RIMRevoked}, want: "2 36 96 0", finding: "manifest-revoked", code: revoked},
		{name: "signer on hold", change: signer(1, nvidia.OCSPHold), want: "2 36 96 0", finding: "manifest-hold", code: revoked},
		{name: "signer's hold tolerated", change: signer(1, nvidia.OCSPHold), policy: "manifest_hold_allowed: [1]", want: "2 36 32 0", finding: "manifest-hold-tolerated", code: revoked},
		{name: "signer unknown", change: signer(0, nvidia.OCSPUnknown), want: "2 36 32 0", finding: "manifest-revocation-unknown", code: verdict.ReasonRevocationUnknown},
		{name: "mismatch", o: opts{Measurement: true}, want: "2 36 96 0", finding: "measurement-mismatch", code: differs, words: "switch-bios manifest LS10"},
		{name: "firmware differs", o: opts{Measurement: true}, want: "2 36 96 0", finding: "configuration-of-unknown-firmware", code: verdict.ReasonClaimNotAsserted},
		{name: "tolerated", policy: open + ", tolerated_mismatches: [4]", fake: func(m *machine, f *fake) { f.Blocks[4].Value[0] ^= 1 }, want: "2 36 32 0", finding: "measurement-mismatch-tolerated", code: differs},
		{name: "unreferenced", policy: open, fake: func(m *machine, f *fake) {
			f.Blocks = append(f.Blocks, nvidiatest.Block{Index: 32, Type: 1, Value: bytes.Repeat([]byte{3}, 48)})
		}, want: "2 3 3 0", finding: "measurement-unreferenced"},
		{name: "unproven", o: opts{RIM: nvidia.RIMMissing}, want: "2 36 33 0", finding: "configuration-unproven", code: verdict.ReasonNoReferenceValues},
		{name: "recovery", policy: open, fake: func(m *machine, f *fake) { f.Ext = nvidiatest.TCBInfo(0xA0000001) }, want: "2 96 3 0", finding: "firmware-state", code: conf},
		{name: "debug", policy: open, fake: func(m *machine, f *fake) { f.Ext = nvidiatest.TCBInfo(0x90000001) }, want: "2 96 3 0", finding: "firmware-debug", code: verdict.ReasonDebug},
		{name: "version", policy: open, fake: func(m *machine, f *fake) { f.With(shared.OpaqueVersion, []byte{1, 0}) }, want: "2 96 3 0", finding: "opaque-version-unsupported", code: conf},
		{name: "unreadable", policy: open, fake: func(m *machine, f *fake) { f.With(shared.OpaquePosition, []byte{1}) }, want: "2 36 3 0", finding: "opaque-data-unreadable", code: conf},
		{name: "not locked", policy: open, fake: func(m *machine, f *fake) { f.With(shared.OpaqueLock, []byte{0, 0}) }, want: "2 32 3 0", finding: findUnlocked, code: conf},
		{name: "lock not said", policy: open, fake: func(m *machine, f *fake) { f.Without(shared.OpaqueLock) }, want: "2 36 3 0", finding: findLockUnknown, code: conf},
		{name: "approved", policy: "allowed_vbios: ['96.10.73.00.01']", want: "2 2 3 0", finding: "configuration-approved"},
		{name: "old", policy: "minimum_vbios: {LS10: '96.10.73.00.02'}", want: "2 32 3 0", finding: "vbios-below-minimum", code: verdict.ReasonTCBOutOfDate},
		{name: "bad", policy: "known_bad_vbios: ['96.10.73.00.01']", want: "2 96 3 0", finding: "vbios-known-bad", code: verdict.ReasonPolicy},
		{name: "not allowed", policy: "allowed_vbios: ['96.10.73.00.02']", want: "2 32 3 0", finding: "vbios-not-allowed", code: verdict.ReasonPolicy},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := simulate(t, c.o)
			if c.change != nil {
				c.change(m)
			}
			raw, err := m.sw.Evidence(simulatedNonce)
			if err != nil {
				t.Fatal(err)
			}
			in := verifiers.Input{MediaType: evidence.MediaType{Base: MediaType}, Evidence: nvidia.Array(raw), Nonce: simulatedNonce, Time: simulatedAt}
			var roots []*x509.Certificate
			if c.fake != nil {
				f := hybrid(t, m)
				c.fake(m, f)
				in.Evidence, in.Nonce = f.Leaf(), f.Nonce
				roots = f.Root()
			}
			v := m.verifier(c.policy, roots...)
			here := map[string]bool{}
			v.Trace = func(s string) { here[s], seen[s] = true, true }
			a, err := v.Appraise(t.Context(), in)
			got := fmt.Sprint(a.Vector[verdict.Hardware], a.Vector[verdict.Configuration], a.Vector[verdict.Executables], a.Vector[verdict.InstanceIdentity])
			if err != nil || got != c.want || !here[c.finding] || a.Facts.PeersRequired {
				t.Errorf("%s, expected %s and finding %s of %v\n%v %v", got, c.want, c.finding, here, a.Reasons, err)
			}
			if c.code != "" && !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == c.code && strings.Contains(r.Detail, c.words) }) {
				t.Errorf("no reason %s with %q: %v", c.code, c.words, a.Reasons)
			}
			if c.finding == "genuine" && (a.Status() != verdict.TierAffirming || len(a.Reasons) > 0 || a.Claims[switchClaim+"bios-rim-version-match"] != true || a.Claims["measres"] != "success") {
				t.Errorf("%s %v %v", a.Status(), a.Reasons, a.Claims)
			}
		})
	}
	for _, f := range defaults().Findings {
		if !seen[f.Name] {
			t.Errorf("no case has the finding %s", f.Name)
		}
	}
}

// TestNeeds: the manifest of the BIOS and the status of three certificates.
func TestNeeds(t *testing.T) {
	m := simulate(t, nvidia.Options{})
	raw, err := m.sw.Evidence(simulatedNonce)
	if err != nil {
		t.Fatal(err)
	}
	list := Scheme().Needs(evidence.MediaType{Base: MediaType}, nvidia.Array(raw))
	if len(list) != 4 || list[0].RIM != biosRIM || list[3].Kind != endorsements.NeedNVIDIAOCSP {
		t.Errorf("%+v", list)
	}
}
