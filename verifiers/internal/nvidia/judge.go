// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// Hardware judges the claim hardware: what cryptography established, the status of
// the certificates and the FWID. signed is the FWID in the report, nil without one;
// absent is the reason to give then, "" if the device needs not report it.
func (p *Proof) Hardware(signed []byte, absent string, a *verdict.Appraisal) {
	p.Find(a, findGenuine, "")
	p.status(a)
	p.listed(a)
	if signed == nil {
		a.Claims["fwid"] = "absent"
		if absent != "" {
			p.Find(a, findFWIDAbsent, "%s", absent)
		}
		return
	}
	match := bytes.Equal(signed, p.Chain.FWID.Digest)
	a.Claims["fwid"] = hex.EncodeToString(signed)
	a.Claims[p.kind.ReportClaim("cert-chain-fwid-match")] = match
	if !match {
		p.Find(a, findFWIDMismatch, "the report has FWID %x…, certificate 0 was issued for %x…", signed[:min(8, len(signed))], p.Chain.FWID.Digest[:8]).
			Against(verdict.Comparison{Expected: hex.EncodeToString(p.Chain.FWID.Digest), Observed: hex.EncodeToString(signed), Source: "certificate 0 of the device"})
	}
}

// Unnamed says that a report does not say what device it is about.
func (p *Proof) Unnamed(a *verdict.Appraisal, why string) { p.Find(a, findFWIDAbsent, "%s", why) }

// listed compares the device with those that are expected.
func (p *Proof) listed(a *verdict.Appraisal) {
	list := p.verifier.params.Devices
	if len(list) == 0 {
		return
	}
	for _, id := range a.Facts.Device {
		if slices.Contains(list, id) {
			p.Find(a, findDeviceListed, "")
			return
		}
	}
	p.Find(a, findDeviceNotListed, "%s is none of the %d devices that are expected", strings.Join(a.Facts.Device, ", "), len(list)).
		Against(ByPolicy(verdict.Alternatives(list, 0), strings.Join(a.Facts.Device, ", ")))
}

// Foreign says that the contents of a report are not those of the device in
// the certificates: what it says about other devices is then no fact.
func (p *Proof) Foreign(a *verdict.Appraisal, format string, args ...any) {
	a.Facts.Peers = nil
	p.Find(a, findForeign, format, args...)
}

// FirmwareState judges the state of the firmware to which the certificate was
// issued: devices are deployed in another.
func (p *Proof) FirmwareState(a *verdict.Appraisal) {
	for _, f := range []struct {
		flag          int
		finding, name string
	}{
		{flagNotSecure, findFirmwareState, "not-secure"}, {flagRecovery, findFirmwareState, "recovery"}, {flagDebug, findDebug, "debug"},
	} {
		if p.Chain.FWID.has(f.flag) {
			delete(a.Claims, "secboot")
			delete(a.Claims, "dbgstat")
			p.Find(a, f.finding, "certificate 0 was issued to firmware in %s state (DiceTcbInfo flags %x)", f.name, p.Chain.FWID.Flags).
				Against(ByPolicy("firmware not in "+f.name+" state", fmt.Sprintf("DiceTcbInfo flags %x", p.Chain.FWID.Flags)))
		}
	}
}

// State is what a device says about its configuration.
type State struct {
	// Proper: the device says that it is in a state that can be affirmed; Why is the
	// finding otherwise, with words. Other findings may come on top.
	Proper bool
	// Listed: versions and mode are on lists of the operator.
	Listed bool
	// Newer says that the opaque data have a version that is not known, "" else;
	// Unreadable are fields that cannot be read.
	Newer      string
	Unreadable []string
}

// Configuration judges the claim configuration. The firmware has to be proven
// before what it says about itself counts. It reports whether it counts.
func (p *Proof) Configuration(c Compared, s State, a *verdict.Appraisal) bool {
	switch {
	case c.Mismatched:
		p.Find(a, findConfigForeign, "configuration: the firmware is not the expected one, so what it says about its state proves nothing")
	case !c.Matched:
		p.Find(a, findConfigUnproven, "configuration: no reference values that count cover all of the firmware (see executables), so it cannot be seen whether debugging is off and in which mode it is")
	case s.Proper && s.Newer == "" && len(s.Unreadable) == 0:
		if s.Listed {
			p.Find(a, findApproved, "")
		}
		p.Find(a, findConfiguration, "")
	}
	if s.Newer != "" {
		p.Find(a, findOpaqueVersion, "%s", s.Newer)
	}
	if len(s.Unreadable) > 0 {
		p.Find(a, findOpaqueUnreadable, "opaque data that cannot be read: %s", strings.Join(s.Unreadable, "; "))
	}
	p.FirmwareState(a)
	return c.Matched && !c.Mismatched
}

// VBIOS holds the version of VBIOS or BIOS against the parameters. It reports
// whether it is on the list of those that are accepted.
func (p *Proof) VBIOS(version string, a *verdict.Appraisal) bool {
	params := p.verifier.params
	const hexadecimal = 16
	if least := Minimum(params.MinimumVBIOS, p.Chain.ID.Family, p.Device.Arch); least != "" && Below(version, least, hexadecimal) {
		p.Find(a, findVBIOSOld, "the version of VBIOS or BIOS is %q, at least %s is expected", version, least).Against(ByPolicy("at least "+least, version))
	}
	if Named(params.KnownBadVBIOS, version) {
		p.Find(a, findVBIOSBad, "VBIOS or BIOS %s is known to be bad", version).Against(ByPolicy("none of known_bad_vbios", version))
	}
	if len(params.AllowedVBIOS) == 0 {
		return false
	}
	listed := Named(params.AllowedVBIOS, version)
	if !listed {
		p.Find(a, findVBIOSNotAllowed, "the version of VBIOS or BIOS is %q, which is none of the accepted", version).Against(ByPolicy(verdict.Alternatives(params.AllowedVBIOS, 0), version))
	}
	return listed
}

// Hinted holds a version that nobody has signed against those that are never
// accepted. It satisfies no demand: who hides old firmware says that it is new
// (decision D-88).
func (p *Proof) Hinted(version string, a *verdict.Appraisal) {
	if Named(p.verifier.params.KnownBadVBIOS, version) {
		p.Find(a, findVBIOSBad, "VBIOS or BIOS %s, as its collector says, is known to be bad", version)
	}
}

// ByPolicy is a comparison with what the parameters of the appraisal policy want.
func ByPolicy(expected, observed string) verdict.Comparison {
	return verdict.Comparison{Expected: expected, Observed: observed, Source: verdict.SourceAppraisalPolicy}
}

// Find reports a finding by the policy, and returns its reason (appraisal.Policy.Apply).
func (p *Proof) Find(a *verdict.Appraisal, finding, format string, args ...any) *verdict.Reason {
	p.verifier.trace(finding)
	return p.verifier.policy.Apply(a, finding, fmt.Sprintf(format, args...))
}

// Lower is for findings whose reasons are reported beside.
func (p *Proof) Lower(a *verdict.Appraisal, finding string) {
	p.verifier.trace(finding)
	e := p.verifier.policy.Effect(finding)
	for _, name := range slices.Sorted(maps.Keys(e)) {
		appraisal.Lower(a, name, e[name])
	}
}

// Policy is the policy of the scheme, for its own parameters.
func (p *Proof) Policy() *appraisal.Policy { return p.verifier.policy }

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
	a.FailComparing(verdict.ReasonNonceMismatch, fmt.Sprintf("the report answers nonce %s, expected %s", short(p.Report.Nonce), short(nonce)), verdict.Challenged(nonce, p.Report.Nonce))
}

func short(b []byte) string {
	return fmt.Sprintf("%x… (%d bytes)", b[:min(8, len(b))], len(b))
}

// Wrapper compares the unsigned copies beside the report with the signed
// values, "" for one that the device does not report. A collector whose copy
// differs speaks about another report, so call it last: it overrides every claim.
func (p *Proof) Wrapper(driver, vbios string, a *verdict.Appraisal) {
	lie := func(c verdict.Comparison, code, format string, args ...any) {
		a.Vector = verdict.AllClaims(verdict.ClaimCryptoFailed)
		a.FailComparing(code, fmt.Sprintf(format, args...), c)
	}
	if p.Device.Nonce != nil && subtle.ConstantTimeCompare(p.Device.Nonce, p.Report.Nonce) != 1 {
		lie(verdict.Comparison{Expected: hex.EncodeToString(p.Report.Nonce), Observed: hex.EncodeToString(p.Device.Nonce), Source: verdict.SourceSignedEvidence},
			verdict.ReasonNonceMismatch, "member \"nonce\" says %s, the signed request %s", short(p.Device.Nonce), short(p.Report.Nonce))
	}
	for _, c := range []struct{ name, said, signed string }{
		{"driver_version", p.Device.Driver, driver},
		{"vbios_version", p.Device.VBIOS, vbios},
	} {
		if c.said != "" && c.signed != "" && !strings.EqualFold(c.said, c.signed) {
			lie(verdict.Comparison{Expected: c.signed, Observed: c.said, Source: verdict.SourceSignedEvidence},
				verdict.ReasonIdentityMismatch, "member %q says %q, the signed report %q", c.name, container.Clip(c.said), c.signed)
		}
	}
}
