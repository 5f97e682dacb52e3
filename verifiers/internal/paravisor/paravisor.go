// SPDX-License-Identifier: Apache-2.0

// Package paravisor judges the evidence of confidential VMs of Azure: what the
// paravisor, which runs beside the guest at the highest privilege, says about
// itself in the CPU's report, and what its virtual TPM says about the guest.
//
//	CPU report ─ REPORT_DATA = hash ─▶ runtime data ─ key ─▶ TPM quote ─▶ PCRs, challenge
//
// Each arrow is checked. The CPU's report measures the paravisor and not the
// guest, so the guest's software is known by the PCRs only; and it holds no
// challenge, so only the quote is fresh. Begin with Open; then a CPU scheme
// verifies its report and calls Bind with REPORT_DATA, then Guest.
package paravisor

import (
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/azure"
	"github.com/assize/assize/verifiers/internal/hcl"
	"github.com/assize/assize/verifiers/internal/measuredboot"
	"github.com/assize/assize/verifiers/internal/tpm"
)

// deviceKind is the kind of identity that the key of a virtual TPM is of its machine.
const deviceKind = "paravisor-ak:"

// Failure is why evidence proves nothing: a reason code and a sentence.
type Failure struct{ Code, Detail string }

// Error implements error.
func (f *Failure) Error() string { return f.Code + ": " + f.Detail }

func failf(code, format string, args ...any) *Failure {
	return &Failure{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Machine is one leaf, taken apart.
type Machine struct {
	*azure.Leaf
	// HCL is the paravisor's report; its Hardware is the CPU's.
	HCL *hcl.Report
	// set by Bind
	runtime *hcl.RuntimeData
	key     crypto.PublicKey
	spki    string
	quote   *tpm.Quote
}

// Open reads a leaf of the given TEE, azure.TEESNP or azure.TEETDX. Nothing is
// verified.
func Open(raw []byte, tee string) (*Machine, *Failure) {
	l, err := azure.Parse(raw)
	if err != nil {
		return nil, failf(verdict.ReasonMalformed, "%v", err)
	}
	report, err := hcl.ParseReport(l.Report)
	if err != nil {
		return nil, failf(verdict.ReasonMalformed, "%v", err)
	}
	want := map[string]hcl.ReportType{azure.TEESNP: hcl.SNP, azure.TEETDX: hcl.TDX}[tee]
	if l.TEE != tee || report.Type != want {
		return nil, failf(verdict.ReasonMalformed, "the leaf is one of %s and the paravisor's report of type %d, expected %s and %d", l.TEE, report.Type, tee, want)
	}
	return &Machine{Leaf: l, HCL: report}, nil
}

// Bind checks that the CPU's report, whose signature holds, commits to the key
// that has signed the quote, and enters what follows into the appraisal: the
// challenge that the quote answers, the key, the registers. A failure means that
// the parts are not those of one machine.
func (m *Machine) Bind(a *verdict.Appraisal, reportData, nonce []byte) *Failure {
	if !m.HCL.Commits(reportData) {
		return failf(verdict.ReasonBindingBroken, "the CPU's report data begin with %x, which is no %s of the paravisor's runtime data with zeros behind it",
			reportData[:min(8, len(reportData))], m.HCL.Hash)
	}
	var err error
	if m.runtime, err = hcl.ParseRuntimeData(m.HCL.RuntimeData); err != nil {
		return failf(verdict.ReasonMalformed, "%v", err)
	}
	if m.key = m.runtime.Keys[hcl.AttestationKey]; m.key == nil {
		return failf(verdict.ReasonMalformed, "the runtime data have no key %s", hcl.AttestationKey)
	}
	m.spki = m.runtime.SPKI(hcl.AttestationKey)
	if m.quote, err = tpm.VerifyQuote(m.key, m.Message, tpm.RSASSA(m.Signature), m.bank()); err != nil {
		return refused(err)
	}
	a.Facts.ReportData = hex.EncodeToString(reportData)
	a.Facts.Keys = append(a.Facts.Keys, verdict.CommittedKey{SPKI: m.spki, Via: "runtime-data", Origin: verdict.OriginMeasured})
	// Not the spelling of a TPM's own evidence: that may be another component of this
	// machine, signed by the same key, and is no second machine.
	a.Facts.Device = append(a.Facts.Device, deviceKind+m.spki)
	if a.Facts.Registers == nil {
		a.Facts.Registers = map[string]string{}
	}
	for name, v := range m.boot().Registers() {
		a.Facts.Registers[name] = v
	}
	a.Claims["paravisor"] = m.claims()
	m.freshness(a, nonce)
	return nil
}

func refused(err error) *Failure {
	var e *tpm.Error
	if errors.As(err, &e) {
		return failf(e.Code, "quote of the virtual TPM: %s", e.Detail)
	}
	return failf(verdict.ReasonMalformed, "quote of the virtual TPM: %v", err)
}

func (m *Machine) bank() tpm.Bank {
	b := tpm.Bank{Hash: crypto.SHA256, PCRs: make(map[int][]byte, azure.PCRs)}
	for i, v := range m.PCRs {
		b.PCRs[i] = v
	}
	return b
}

// boot is what the quote covers.
func (m *Machine) boot() measuredboot.Boot {
	b := m.bank()
	return measuredboot.Boot{Bank: b.Hash, PCRs: b.PCRs, Log: m.EventLog}
}

// freshness compares the whole of extraData with the nonce.
func (m *Machine) freshness(a *verdict.Appraisal, nonce []byte) {
	seen := m.quote.ExtraData
	a.NonceSeen = append([]byte(nil), seen...)
	switch {
	case len(nonce) == 0:
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, so nothing says when the TPM made its quote")
	case m.quote.Answers(nonce):
		a.Freshness = verdict.FreshnessFresh
	default:
		a.Freshness = verdict.FreshnessMismatch
		a.FailComparing(verdict.ReasonNonceMismatch, fmt.Sprintf("extraData of the quote has %d bytes that start with %x, expected %d bytes that start with %x",
			len(seen), seen[:min(8, len(seen))], len(nonce), nonce[:min(8, len(nonce))]), verdict.Challenged(nonce, seen))
	}
}

// Guest judges the guest by the registers and the event log. The leaf must be
// bound, and the claim executables already say whether reference values know what
// the CPU launched.
func (m *Machine) Guest(a *verdict.Appraisal, j measuredboot.Judge, in verifiers.Input) {
	launched(a)
	b := m.boot()
	j.EventLog(a, b)
	if on := m.runtime.Configuration.SecureBoot; on != nil && !*on {
		j.SecureBootOff(a, "the paravisor says that UEFI Secure Boot is off")
	}
	if c := j.References(a, b, measuredboot.References{Index: in.References, Time: in.Time}); c != nil {
		a.Claims["guest_reference_values"] = c
	}
}

// launched takes the commitment to the TPM's key for one of measured software only
// where reference values know what was launched. Other software could be anything,
// a guest without paravisor for example, whose programs write what they like.
func launched(a *verdict.Appraisal) {
	if a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
		return
	}
	for i := range a.Facts.Keys {
		a.Facts.Keys[i].Origin = verdict.OriginApplication
	}
}

// claims renders what the paravisor and its TPM say.
func (m *Machine) claims() map[string]any {
	digest := sha256.Sum256(m.HCL.RuntimeData)
	c := m.runtime.Configuration
	out := map[string]any{
		"evidence_version":    m.Version,
		"runtime_data_sha256": hex.EncodeToString(digest[:]),
		"ak_spki_sha256":      m.spki,
		"extra_data":          hex.EncodeToString(m.quote.ExtraData),
		"tpm_firmware":        fmt.Sprintf("%016x", m.quote.Firmware),
		"tpm_clock": map[string]any{
			"milliseconds": strconv.FormatUint(m.quote.Clock.Milliseconds, 10), // more than JSON numbers hold
			"resets":       int(m.quote.Clock.Resets), "restarts": int(m.quote.Clock.Restarts), "safe": m.quote.Clock.Safe,
		},
	}
	if m.runtime.UserData != nil {
		out["user_data"] = hex.EncodeToString(m.runtime.UserData)
	}
	if c.ID != "" {
		out["vm_id"] = c.ID
	}
	for name, b := range map[string]*bool{"secure_boot": c.SecureBoot, "console_enabled": c.Console, "tpm_enabled": c.TPM} {
		if b != nil {
			out[name] = *b
		}
	}
	return out
}
