// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/assize/assize/verdict"
)

// judge turns what was proved into an appraisal. No claim of it is affirming:
// there are no reference values and no revocation status here, and affirming
// needs proof.
func judge(p *proof, nonce []byte) verdict.Appraisal {
	a := verdict.Appraisal{NonceSeen: bytes.Clone(p.report.Nonce), Facts: facts(p), Claims: contents(p)}
	hardware(p, &a)
	configuration(p, &a)
	a.Vector[verdict.Executables] = verdict.ClaimUnrecognized
	a.Fail(verdict.ReasonNoReferenceValues, fmt.Sprintf(
		"executables: no reference values (RIM) for driver %s and VBIOS %s of project %s, SKU %s, chip SKU %s",
		orNone(p.details.driver), orNone(p.details.vbios), orNone(p.details.project), orNone(p.details.projectSKU), orNone(p.details.chipSKU)))
	freshness(p, nonce, &a)
	// Last, because it overrides every claim.
	wrapper(p, &a)
	return a
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func hardware(p *proof, a *verdict.Appraisal) {
	a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
	a.Fail(verdict.ReasonNoCollateral, "no OCSP response was given: the revocation status of the device chain is unknown")
	a.Claims["revocation"] = "not checked"
	signed := p.details.fwid
	switch {
	case signed == nil:
		a.Claims["fwid"] = "absent"
		if fwidExpected(p) {
			a.Fail(verdict.ReasonClaimNotAsserted, fmt.Sprintf(
				"the report of driver %s carries no FWID, which drivers have reported since 550", orNone(p.details.driver)))
		}
	case bytes.Equal(signed, p.chain.fwid.digest):
		a.Claims["fwid"] = hex.EncodeToString(signed)
		a.Claims[reportClaim+"cert-chain-fwid-match"] = true
	default:
		a.Claims["fwid"] = hex.EncodeToString(signed)
		a.Claims[reportClaim+"cert-chain-fwid-match"] = false
		a.Vector[verdict.Hardware] = verdict.ClaimContraindicate
		a.Fail(verdict.ReasonIdentityMismatch, fmt.Sprintf("the report has FWID %x…, certificate 0 was issued for %x…",
			signed[:min(8, len(signed))], p.chain.fwid.digest[:8]))
	}
}

// fwidExpected: Hopper drivers before 550 do not report it, nor do reports
// without any opaque data (FSP).
func fwidExpected(p *proof) bool {
	if len(p.report.Opaque) == 0 {
		return false
	}
	major, _, _ := strings.Cut(p.details.driver, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n >= 550 || p.device.arch != "HOPPER"
}

func configuration(p *proof, a *verdict.Appraisal) {
	a.Vector[verdict.Configuration] = verdict.ClaimNoVisibility
	a.Fail(verdict.ReasonNoReferenceValues, "configuration: without reference values (RIM) it cannot be seen whether debugging is off and confidential computing is on")
	if p.details.version > maxOpaqueVersion {
		a.Fail(verdict.ReasonConfiguration, fmt.Sprintf("opaque data of version %d, known up to %d: mode, links and all but driver, VBIOS and FWID are not read",
			p.details.version, maxOpaqueVersion))
	}
	if len(p.details.odd) > 0 {
		a.Fail(verdict.ReasonConfiguration, "opaque data that cannot be read: "+strings.Join(p.details.odd, "; "))
	}
	for _, f := range []struct {
		flag       int
		code, name string
	}{
		{flagNotSecure, verdict.ReasonConfiguration, "not-secure"},
		{flagRecovery, verdict.ReasonConfiguration, "recovery"},
		{flagDebug, verdict.ReasonDebug, "debug"},
	} {
		if p.chain.fwid.has(f.flag) {
			a.Vector[verdict.Configuration] = verdict.ClaimContraindicate
			a.Fail(f.code, fmt.Sprintf("certificate 0 was issued to firmware in %s state (DiceTcbInfo flags %x)", f.name, p.chain.fwid.flags))
		}
	}
}

// freshness is judged by the nonce that the device signed, never by the copy
// of it beside the report.
func freshness(p *proof, nonce []byte, a *verdict.Appraisal) {
	if nonce == nil {
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no challenge was given to compare the requester nonce with")
		return
	}
	fresh := subtle.ConstantTimeCompare(nonce, p.report.Nonce) == 1
	a.Claims[reportClaim+"nonce-match"] = fresh
	if fresh {
		a.Freshness = verdict.FreshnessFresh
		return
	}
	a.Freshness = verdict.FreshnessMismatch
	a.Fail(verdict.ReasonNonceMismatch, fmt.Sprintf("the report answers nonce %s, expected %s", short(p.report.Nonce), short(nonce)))
}

func short(b []byte) string {
	return fmt.Sprintf("%x… (%d bytes)", b[:min(8, len(b))], len(b))
}

// wrapper compares the unsigned copies beside the report with the signed
// values. A collector whose copy differs speaks about another report.
func wrapper(p *proof, a *verdict.Appraisal) {
	lie := func(code, format string, args ...any) {
		a.Vector = verdict.AllClaims(verdict.ClaimCryptoFailed)
		a.Fail(code, fmt.Sprintf(format, args...))
	}
	if subtle.ConstantTimeCompare(p.device.nonce, p.report.Nonce) != 1 {
		lie(verdict.ReasonNonceMismatch, "member \"nonce\" says %s, the signed request %s", short(p.device.nonce), short(p.report.Nonce))
	}
	for _, c := range []struct{ name, said, signed string }{
		{"driver_version", p.device.driver, p.details.driver},
		{"vbios_version", p.device.vbios, p.details.vbios},
	} {
		if c.said != "" && c.signed != "" && !strings.EqualFold(c.said, c.signed) {
			lie(verdict.ReasonIdentityMismatch, "member %q says %q, the signed report %q", c.name, clip(c.said), c.signed)
		}
	}
}
