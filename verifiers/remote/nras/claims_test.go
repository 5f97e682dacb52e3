// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"crypto/rand"
	"reflect"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

const g = "x-nvidia-gpu-"

// Every claim that is asked for costs something when it is wrong, and when it is
// not there.
func TestClaims(t *testing.T) {
	leaf := gpu(t, nil)
	set := func(name string, v any) func(nrastest.Claims) { return func(c nrastest.Claims) { c[name] = v } }
	drop := func(name string) func(nrastest.Claims) { return func(c nrastest.Claims) { delete(c, name) } }
	chain := func(claim, name string, v any) func(nrastest.Claims) {
		return func(c nrastest.Claims) { c[claim].(nrastest.Claims)[name] = v }
	}
	const status, ocsp, why = "x-nvidia-cert-status", "x-nvidia-cert-ocsp-status", "x-nvidia-cert-revocation-reason"
	const report, driver, vbios = g + "attestation-report-cert-chain", g + "driver-rim-cert-chain", g + "vbios-rim-cert-chain"
	bad, warn := verdict.TierContraindicated, verdict.TierWarning
	for _, c := range []struct {
		name string
		edit func(nrastest.Claims)
		code string
		tier verdict.Tier
	}{
		{"measres fail", set("measres", "fail"), verdict.ReasonMeasurementMismatch, bad},
		{"measres comparison-fail", set("measres", "comparison-fail"), verdict.ReasonMeasurementMismatch, bad},
		{"measres in another case", set("measres", "Success"), verdict.ReasonMeasurementMismatch, bad},
		{"measres not-run", set("measres", "not-run"), verdict.ReasonClaimNotAsserted, warn},
		{"no measres", drop("measres"), verdict.ReasonClaimNotAsserted, warn},
		{"measres bool", set("measres", true), verdict.ReasonClaimNotAsserted, warn},
		{"mismatch records", set(claimMismatches, []any{nrastest.Claims{"index": 9, "measurementSource": "Firmware"}}), verdict.ReasonMeasurementMismatch, bad},
		{"odd mismatch records", set(claimMismatches, "x"), verdict.ReasonMeasurementMismatch, bad},
		{"debug", set("dbgstat", "enabled"), verdict.ReasonDebug, bad},
		{"debug permanently", set("dbgstat", "disabled-permanently"), verdict.ReasonDebug, bad},
		{"no dbgstat", drop("dbgstat"), verdict.ReasonClaimNotAsserted, warn},
		{"dbgstat null", set("dbgstat", nil), verdict.ReasonClaimNotAsserted, warn},
		{"secboot", set("secboot", false), verdict.ReasonConfiguration, bad},
		{"secboot text", set("secboot", "true"), verdict.ReasonConfiguration, bad},
		{"secboot null", set("secboot", nil), verdict.ReasonClaimNotAsserted, warn},
		{"parsed", set(g+"attestation-report-parsed", false), verdict.ReasonMalformed, bad},
		{"no parsed", drop(g + "attestation-report-parsed"), verdict.ReasonClaimNotAsserted, warn},
		{"signature", set(g+"attestation-report-signature-verified", false), verdict.ReasonSignatureInvalid, bad},
		{"no signature", drop(g + "attestation-report-signature-verified"), verdict.ReasonClaimNotAsserted, warn},
		{"nonce", set(g+"attestation-report-nonce-match", false), verdict.ReasonNonceMismatch, bad},
		{"no nonce", drop(g + "attestation-report-nonce-match"), verdict.ReasonNonceNotEstablished, warn},
		{"fwid", set(g+"attestation-report-cert-chain-fwid-match", false), verdict.ReasonIdentityMismatch, bad},
		{"no fwid", set(g+"attestation-report-cert-chain-fwid-match", nil), verdict.ReasonClaimNotAsserted, warn},
		{"arch", set(g+"arch-check", false), verdict.ReasonIdentityMismatch, bad},
		{"no arch", drop(g + "arch-check"), verdict.ReasonClaimNotAsserted, warn},
		{"chain invalid", chain(report, status, "invalid"), verdict.ReasonChainInvalid, bad},
		{"chain expired", chain(report, status, "expired"), verdict.ReasonExpired, bad},
		{"chain revoked", chain(report, status, "revoked"), verdict.ReasonRevoked, bad},
		{"chain without status", chain(report, status, nil), verdict.ReasonClaimNotAsserted, warn},
		{"OCSP revoked", chain(report, ocsp, "revoked"), verdict.ReasonRevoked, bad},
		{"OCSP unknown", chain(report, ocsp, "unknown"), verdict.ReasonRevocationUnknown, warn},
		{"OCSP missing", chain(report, ocsp, nil), verdict.ReasonRevocationUnknown, warn},
		{"hold", chain(report, why, "certificateHold"), verdict.ReasonRevoked, bad},
		{"OCSP nonce", chain(report, "x-nvidia-cert-ocsp-nonce-matches", false), verdict.ReasonRevocationUnknown, warn},
		{"no chain", drop(report), verdict.ReasonClaimNotAsserted, warn},
		{"chain as in claims 2.0", set(report, true), verdict.ReasonClaimNotAsserted, warn},
		{"driver manifest", set(g+"driver-rim-fetched", false), verdict.ReasonNoReferenceValues, warn},
		{"driver manifest's signature", set(g+"driver-rim-signature-verified", false), verdict.ReasonCollateralInvalid, bad},
		{"driver manifest's version", set(g+"driver-rim-version-match", false), verdict.ReasonNoReferenceValues, warn},
		{"driver measurements", set(g+"driver-rim-measurements-available", false), verdict.ReasonNoReferenceValues, warn},
		{"driver manifest's schema", set(g+"driver-rim-schema-validated", false), verdict.ReasonCollateralInvalid, bad},
		{"driver manifest's chain", chain(driver, status, "invalid"), verdict.ReasonCollateralInvalid, bad},
		{"driver manifest's signer ended", chain(driver, status, "expired"), verdict.ReasonExpired, warn},
		{"driver manifest's signer revoked", chain(driver, ocsp, "revoked"), verdict.ReasonRevoked, bad},
		{"driver manifest's signer unknown", chain(driver, ocsp, "unknown"), verdict.ReasonRevocationUnknown, warn},
		{"no driver chain", drop(driver), verdict.ReasonClaimNotAsserted, warn},
		{"no VBIOS manifest", drop(g + "vbios-rim-fetched"), verdict.ReasonClaimNotAsserted, warn},
		{"VBIOS manifest's signature", set(g+"vbios-rim-signature-verified", false), verdict.ReasonCollateralInvalid, bad},
		{"VBIOS manifest's version", set(g+"vbios-rim-version-match", false), verdict.ReasonNoReferenceValues, warn},
		{"VBIOS measurements", set(g+"vbios-rim-measurements-available", nil), verdict.ReasonClaimNotAsserted, warn},
		{"VBIOS manifest's chain", chain(vbios, status, "revoked"), verdict.ReasonRevoked, bad},
		{"conflict", set(g+"vbios-index-no-conflict", false), verdict.ReasonReferenceConflict, bad},
		{"no conflict", drop(g + "vbios-index-no-conflict"), verdict.ReasonClaimNotAsserted, warn},
		{"warning", set("x-nvidia-attestation-warning", "THE CERTIFICATE HCC RIM L4 Signer IS REVOKED WITH THE STATUS AS 'CERTIFICATE_HOLD'."), verdict.ReasonRevoked, warn},
		{"odd warning", set("x-nvidia-attestation-warning", []any{"x"}), verdict.ReasonRevoked, warn},
		{"code 4003", set(claimDetails, nrastest.Claims{"code": 4003}), verdict.ReasonNonceMismatch, bad},
		{"code 4007", set(claimDetails, nrastest.Claims{"code": 4007}), verdict.ReasonChainInvalid, bad},
		{"code 4010", set(claimDetails, nrastest.Claims{"code": 4010}), verdict.ReasonNonceMismatch, bad},
		{"code 4013", set(claimDetails, nrastest.Claims{"code": "4013", "message": "m"}), verdict.ReasonSignatureInvalid, bad},
		{"code 4014", set(claimDetails, nrastest.Claims{"code": 4014}), verdict.ReasonChainInvalid, bad},
		{"code 4015", set(claimDetails, nrastest.Claims{"code": 4015}), verdict.ReasonCollateralInvalid, bad},
		{"code 5013", set(claimDetails, nrastest.Claims{"code": 5013}), verdict.ReasonCollateralInvalid, bad},
		{"another code", set(claimDetails, nrastest.Claims{"code": 4999}), verdict.ReasonPolicy, bad},
		{"no code", set(claimDetails, nrastest.Claims{}), verdict.ReasonPolicy, bad},
		{"odd details", set(claimDetails, "x"), verdict.ReasonPolicy, bad},
	} {
		s := nrastest.New(t, rand.Reader, clock)
		c.edit(s.Device)
		a := appraise(t, verifierOf(t, s, "nvidia-gpu", "HOPPER", nil), input(leaf))
		if a.Status() != c.tier || !has(a, c.code) { // although the overall result is positive
			t.Errorf("%s: %s %v", c.name, a.Status(), a.Reasons)
		}
		if a.Vector[verdict.Hardware].Tier() == bad && !reflect.DeepEqual(a.Facts, verdict.Facts{}) {
			t.Errorf("%s: facts %+v", c.name, a.Facts)
		}
	}
}

// A negative overall result is one, whatever the device's claims are; and a
// device that the service refuses need not say who it is.
func TestNegative(t *testing.T) {
	leaf := gpu(t, nil)
	s := nrastest.New(t, rand.Reader, clock)
	s.Overall = false
	a := appraise(t, verifierOf(t, s, "nvidia-gpu", "HOPPER", nil), input(leaf))
	if a.Status() != verdict.TierContraindicated || !has(a, verdict.ReasonPolicy) || a.Vector[verdict.Executables] != verdict.ClaimApprovedBoot {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
	s.Edit = func(_, device nrastest.Claims) {
		clear(device)
		device[claimDetails] = nrastest.Claims{"code": 4010, "httpStatus": 400, "message": "NONCE_NOT_MATCHING", "description": "…"}
	}
	a = appraise(t, verifierOf(t, s, "nvidia-gpu", "HOPPER", nil), input(leaf))
	if a.Status() != verdict.TierContraindicated || a.Freshness != verdict.FreshnessMismatch || !has(a, verdict.ReasonNonceMismatch) || !reflect.DeepEqual(a.Facts, verdict.Facts{}) {
		t.Errorf("%v %v %v", a.Vector, a.Freshness, a.Reasons)
	}
}

func TestPolicy(t *testing.T) {
	for _, name := range Schemes() {
		d, ok := Policy(PolicyName(name))
		if !ok || d.Check() != nil {
			t.Errorf("%s: %v", name, d.Check())
		}
		raw, err := d.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Parse(raw); err != nil {
			t.Error(err)
		}
	}
	if _, ok := Policy("nvidia-gpu"); ok {
		t.Error("the policy has the name of the native scheme")
	}
	d, _ := Policy("nvidia-gpu-nras")
	for _, floored := range []string{"{overall-negative: {hardware: 32}}", "{overall-negative: {}}", "{report-signature-invalid: {hardware: 2}}", "{device-revoked: {}}", "{debug-enabled: {configuration: 32}}", "{measurements-differ: {}}",
		"{service-warning: {}}", "{service-warning: {hardware: 32}}", "{mode-unknown: {}}", "{mode-not-stated: {configuration: 3}}", "{protected-pcie: {}}"} {
		if _, err := d.Parse([]byte("scheme: nvidia-gpu-nras\nfindings: " + floored)); err == nil {
			t.Errorf("%s: accepted", floored)
		}
	}
	p, err := d.Parse([]byte("scheme: nvidia-gpu-nras\nfindings: {switch-unlocked: {}, service-warning: {hardware: 32, executables: 32, instance-identity: 32}}"))
	if err != nil {
		t.Fatal(err)
	}
	s := nrastest.New(t, rand.Reader, clock)
	s.Device["x-nvidia-attestation-warning"] = "on hold"
	sc, err := Backend(native("nvidia-gpu", "HOPPER"), Options{Service: verifierOf(t, s, "nvidia-gpu", "HOPPER", nil).(*Verifier).o.Service, Issuer: s.Issuer})
	if err != nil {
		t.Fatal(err)
	}
	v, err := sc.New(verifiers.Deps{Policies: policies("nvidia-gpu-nras", p)})
	if err != nil {
		t.Fatal(err)
	}
	if a := appraise(t, v, input(gpu(t, nil))); a.Status() != verdict.TierWarning || a.Vector[verdict.InstanceIdentity] != 32 || a.PolicyID != p.ID() {
		t.Errorf("%s %v %s", a.Status(), a.Reasons, a.PolicyID)
	}
}
