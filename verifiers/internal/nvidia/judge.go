// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// Hardware judges the claim hardware: it is a warning at best, because there
// is no revocation status. signed is the FWID in the report, nil without one;
// absent is the reason to give then, "" if the device needs not report it.
func (p *Proof) Hardware(signed []byte, absent string, a *verdict.Appraisal) {
	a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
	a.Fail(verdict.ReasonNoCollateral, "no OCSP response was given: the revocation status of the device chain is unknown")
	a.Claims["revocation"] = "not checked"
	if signed == nil {
		a.Claims["fwid"] = "absent"
		if absent != "" {
			a.Fail(verdict.ReasonClaimNotAsserted, absent)
		}
		return
	}
	match := bytes.Equal(signed, p.Chain.FWID.Digest)
	a.Claims["fwid"] = hex.EncodeToString(signed)
	a.Claims[p.kind.ReportClaim("cert-chain-fwid-match")] = match
	if !match {
		a.Vector[verdict.Hardware] = verdict.ClaimContraindicate
		a.Fail(verdict.ReasonIdentityMismatch, fmt.Sprintf("the report has FWID %x…, certificate 0 was issued for %x…",
			signed[:min(8, len(signed))], p.Chain.FWID.Digest[:8]))
	}
}

// Foreign says that the contents of a report are not those of the device in
// the certificates: what it says about other devices is then no fact.
func Foreign(a *verdict.Appraisal, format string, args ...any) {
	a.Vector[verdict.Hardware], a.Facts.Peers = verdict.ClaimUnknownDevice, nil
	a.Fail(verdict.ReasonIdentityMismatch, fmt.Sprintf(format, args...))
}

// FirmwareState contraindicates a device whose certificate was issued to
// firmware that is not in the state in which devices are deployed.
func (p *Proof) FirmwareState(a *verdict.Appraisal) {
	for _, f := range []struct {
		flag       int
		code, name string
	}{
		{flagNotSecure, verdict.ReasonConfiguration, "not-secure"},
		{flagRecovery, verdict.ReasonConfiguration, "recovery"},
		{flagDebug, verdict.ReasonDebug, "debug"},
	} {
		if p.Chain.FWID.has(f.flag) {
			a.Vector[verdict.Configuration] = verdict.ClaimContraindicate
			a.Fail(f.code, fmt.Sprintf("certificate 0 was issued to firmware in %s state (DiceTcbInfo flags %x)", f.name, p.Chain.FWID.Flags))
		}
	}
}

// Freshness is judged by the nonce that the device signed, never by the copy
// of it beside the report.
func (p *Proof) Freshness(nonce []byte, a *verdict.Appraisal) {
	if nonce == nil {
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no challenge was given to compare the requester nonce with")
		return
	}
	fresh := subtle.ConstantTimeCompare(nonce, p.Report.Nonce) == 1
	a.Claims[p.kind.ReportClaim("nonce-match")] = fresh
	if fresh {
		a.Freshness = verdict.FreshnessFresh
		return
	}
	a.Freshness = verdict.FreshnessMismatch
	a.Fail(verdict.ReasonNonceMismatch, fmt.Sprintf("the report answers nonce %s, expected %s", short(p.Report.Nonce), short(nonce)))
}

func short(b []byte) string {
	return fmt.Sprintf("%x… (%d bytes)", b[:min(8, len(b))], len(b))
}

// Wrapper compares the unsigned copies beside the report with the signed
// values, "" for one that the device does not report. A collector whose copy
// differs speaks about another report, so call it last: it overrides every claim.
func (p *Proof) Wrapper(driver, vbios string, a *verdict.Appraisal) {
	lie := func(code, format string, args ...any) {
		a.Vector = verdict.AllClaims(verdict.ClaimCryptoFailed)
		a.Fail(code, fmt.Sprintf(format, args...))
	}
	if subtle.ConstantTimeCompare(p.Device.Nonce, p.Report.Nonce) != 1 {
		lie(verdict.ReasonNonceMismatch, "member \"nonce\" says %s, the signed request %s", short(p.Device.Nonce), short(p.Report.Nonce))
	}
	for _, c := range []struct{ name, said, signed string }{
		{"driver_version", p.Device.Driver, driver},
		{"vbios_version", p.Device.VBIOS, vbios},
	} {
		if c.said != "" && c.signed != "" && !strings.EqualFold(c.said, c.signed) {
			lie(verdict.ReasonIdentityMismatch, "member %q says %q, the signed report %q", c.name, container.Clip(c.said), c.signed)
		}
	}
}
