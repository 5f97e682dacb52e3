// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// judge turns what the service has signed into findings.
type judge struct {
	kind   kind
	policy *appraisal.Policy
	claims map[string]any // of the device token
	id     *identity      // nil if the evidence alone proves none
	// peersRequired: the device is as good as the devices that it is wired to.
	peersRequired bool
	a             *verdict.Appraisal
}

func (j *judge) find(finding, format string, args ...any) {
	j.policy.Apply(j.a, finding, fmt.Sprintf("NRAS: "+format, args...))
}

// refused reads x-nvidia-error-details and reports whether there are any.
func (j *judge) refused() bool {
	v, there := j.claims[claimDetails]
	if !there || v == nil {
		return false
	}
	details, _ := v.(map[string]any)
	code := plain(details["code"])
	finding, ok := refusals()[code]
	if !ok {
		finding = findRefused
	}
	if finding == findRefusedMismatch {
		j.a.Freshness = verdict.FreshnessMismatch
	}
	j.find(finding, "it refuses the device with code %.16q: %.256q", code, strings.TrimSpace(plain(details["message"])+" "+plain(details["description"])))
	return true
}

// plain is a text or a number as text, "" for anything else.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// text is any value as a short text.
func text(v any) string {
	if s := plain(v); s != "" {
		return s[:min(len(s), 256)]
	}
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("of type %T", v)
}

// hardware is 2 unless a claim says otherwise.
func (j *judge) hardware() {
	appraisal.Lower(j.a, verdict.Hardware, verdict.ClaimApproved)
	k := j.kind
	j.want(k.report("parsed"), findReportUnread, findHardwareOpen)
	j.want(k.report("signature-verified"), findReportSignature, findHardwareOpen)
	j.want(k.report("cert-chain-fwid-match"), findFWID, findHardwareOpen)
	j.want(k.prefix+"arch-check", findArch, findHardwareOpen)
	j.chain(k.report("cert-chain"), chainFindings{findChainInvalid, findChainExpired, findDeviceRevoked, findDeviceStatus, findHardwareOpen})
}

// identity takes what the evidence proves by itself. That it proves nothing costs
// nothing but facts, unless it contradicts itself.
func (j *judge) identity(id *identity, err error) {
	if errors.Is(err, errOther) {
		j.policy.Apply(j.a, findArch, err.Error())
	}
	if j.id = id; err != nil {
		j.id = nil
	}
	backend, _ := j.a.Claims[claimBackend].(map[string]any)
	if backend["own-chain"] = "verified"; err != nil {
		backend["own-chain"] = "not verified: " + err.Error()
	}
}

// firmware is 3, as what is measured is what a device boots and loads.
func (j *judge) firmware() {
	appraisal.Lower(j.a, verdict.Executables, verdict.ClaimApprovedBoot)
	k := j.kind
	switch said, _ := j.claims["measres"].(string); said {
	case "success":
	case "", "not-run", "absent":
		j.find(findFirmwareOpen, "measres is %q", said)
	default:
		j.find(findMeasurements, "measres is %.64q", said)
	}
	if n := j.mismatches(); n != 0 {
		j.find(findMeasurements, "it lists %d measurements that differ%s", n, j.indices())
	}
	for _, m := range k.manifests {
		j.want(k.rim(m, "fetched"), findManifestMissing, findFirmwareOpen)
		j.want(k.rim(m, "signature-verified"), findManifestInvalid, findFirmwareOpen)
		j.want(k.rim(m, "version-match"), findManifestMissing, findFirmwareOpen)
		j.want(k.rim(m, "measurements-available"), findManifestMissing, findFirmwareOpen)
		if v, there := j.claims[k.rim(m, "schema-validated")]; there && v != true { // not every implementation has it
			j.find(findManifestInvalid, "%s is %s", k.rim(m, "schema-validated"), text(v))
		}
		j.chain(k.rim(m, "cert-chain"), chainFindings{findManifestInvalid, findManifestExpired, findManifestRevoked, findManifestStatus, findFirmwareOpen})
	}
	if k.path == "gpu" { // one of the two manifests of a GPU must not speak of what the other does
		j.want(k.prefix+"vbios-index-no-conflict", findManifestConflict, findFirmwareOpen)
	}
}

const claimMismatches = "x-nvidia-mismatch-measurement-records"

// mismatches is the number of records, -1 for a claim of another form.
func (j *judge) mismatches() int {
	v, there := j.claims[claimMismatches]
	if !there || v == nil {
		return 0
	}
	list, ok := v.([]any)
	if !ok {
		return -1
	}
	return len(list)
}

// indices names the first of them.
func (j *judge) indices() string {
	list, _ := j.claims[claimMismatches].([]any)
	var out []string
	for _, v := range list[:min(len(list), 8)] {
		m, _ := v.(map[string]any)
		out = append(out, fmt.Sprintf("%.8s (%.16s)", plain(m["index"]), plain(m["measurementSource"])))
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

// state is 3 if debugging is disabled, the boot was secure, and the mode, which
// is read from the report, protects data.
func (j *judge) state(d *device) {
	appraisal.Lower(j.a, verdict.Configuration, verdict.ClaimApprovedBoot) // 3: no known vulnerabilities
	j.want("secboot", findSecureBoot, findStateOpen)
	switch said, there := j.claims["dbgstat"]; {
	case said == "disabled":
	case !there || said == nil:
		j.find(findStateOpen, "dbgstat is not stated")
	default:
		j.find(findDebug, "dbgstat is %.64q", plain(said))
	}
	finding, detail := j.kind.mode(d.report)
	switch {
	case finding == findProtectedPCIe && j.id != nil && len(j.id.peers) > 0:
		j.peersRequired = true // whoever judges the machine holds it to that
	case finding == findProtectedPCIe:
		j.policy.Apply(j.a, finding, detail+", and which switches are there is not proved here")
	case finding != "":
		j.policy.Apply(j.a, finding, detail)
	}
}

// want asks for a claim that is true: another value, and none, are findings.
func (j *judge) want(claim, wrong, open string) {
	switch v, there := j.claims[claim]; {
	case v == true:
	case !there || v == nil:
		j.find(open, "%s is not stated", claim)
	default:
		j.find(wrong, "%s is %s", claim, text(v))
	}
}

// chainFindings are those of one certificate chain.
type chainFindings struct{ invalid, expired, revoked, status, open string }

// chain reads a certificate-chain object of claims version 3.0.
func (j *judge) chain(claim string, f chainFindings) {
	m, ok := j.claims[claim].(map[string]any)
	if !ok {
		j.find(f.open, "%s is not stated", claim)
		return
	}
	switch status := plain(m["x-nvidia-cert-status"]); status {
	case "valid":
	case "expired":
		j.find(f.expired, "%s is expired (%.40s)", claim, plain(m["x-nvidia-cert-expiration-date"]))
	case "revoked":
		j.find(f.revoked, "%s is revoked", claim)
	case "":
		j.find(f.open, "%s has no status", claim)
	default:
		j.find(f.invalid, "%s is %.64q", claim, status)
	}
	why := m["x-nvidia-cert-revocation-reason"]
	switch status := plain(m["x-nvidia-cert-ocsp-status"]); {
	case status == "revoked" || why != nil:
		j.find(f.revoked, "%s: OCSP status %.32q, reason %.64q", claim, status, plain(why))
	case status != "good":
		j.find(f.status, "%s: OCSP status %.32q", claim, status)
	}
	for _, name := range []string{"x-nvidia-cert-ocsp-nonce-matches", "x-nvidia-cert-ocsp-response-valid"} { // of some implementations
		if v, there := m[name]; there && v != nil && v != true {
			j.find(f.status, "%s: %s is %s", claim, name, text(v))
		}
	}
}

// warning: the service says why a result is doubtful although it is positive.
func (j *judge) warning() {
	if v, there := j.claims["x-nvidia-attestation-warning"]; there && v != nil && v != "" {
		j.find(findWarning, "it warns: %.256q", text(v))
	}
}

// freshness is what the service found in the report for the nonce that it was
// given, and signed. It was given that of the report, which asked has been
// compared with; asked is nil if there was no challenge.
func (j *judge) freshness(asked []byte, d *device) {
	claim := j.kind.report("nonce-match")
	matched := j.claims[claim] == true
	switch {
	case j.claims[claim] == false:
		j.find(findReportNonce, "%s is false", claim)
		j.a.Freshness = verdict.FreshnessMismatch
	case asked == nil:
		j.a.Freshness = verdict.FreshnessNotEstablished
		j.a.Fail(verdict.ReasonNonceNotEstablished, "no challenge was given to compare the requester nonce with")
	case !matched:
		j.a.Freshness = verdict.FreshnessNotEstablished
		j.a.Fail(verdict.ReasonNonceNotEstablished, "NRAS: "+claim+" is not stated")
	default:
		j.a.Freshness = verdict.FreshnessFresh
	}
	if matched && j.claims[j.kind.report("signature-verified")] == true {
		j.a.NonceSeen = append([]byte(nil), d.report.Nonce...)
	}
}

// facts are what the service has signed and found nothing wrong with, and what
// chain and signature in the evidence prove besides.
func (j *judge) facts(d *device) {
	if j.a.Vector[verdict.Hardware].Tier() == verdict.TierContraindicated {
		return
	}
	j.a.Facts.Device = []string{"nvidia-ueid:" + d.ueid} // equal to the claim ueid, see statement.about
	if j.a.NonceSeen != nil {
		j.a.Facts.ReportData = hex.EncodeToString(j.a.NonceSeen)
	}
	if j.id != nil {
		j.a.Facts.Device = append(j.a.Facts.Device, nvidia.PDIName(j.id.pdi))
		j.a.Facts.SignerSPKI, j.a.Facts.Peers, j.a.Facts.PeersRequired = j.id.signer, j.id.peers, j.peersRequired
	}
}

// contents are the claims about the device that the service has signed, under
// its names.
func contents(claims map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range claims {
		switch name {
		case "measres", "secboot", "dbgstat", "hwmodel", "ueid", "oemid", "eat_nonce":
		default:
			if !strings.HasPrefix(name, "x-nvidia-") {
				continue
			}
		}
		out[name] = value(v)
	}
	return out
}

// value is a value as claims of results hold it.
func value(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		return v.String()
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = value(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[name] = value(e)
		}
		return out
	}
	return v
}
