// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// Claims of profile ProfileTDXGPU beside those of ProfileP04.
const (
	tdxGPUBound    = "ear_all_submods_bound"
	tdxGPUEvidence = "ear_evidence_claims"
	tdxGPUReport   = "ear_nvidia_evidence"
	// tdxGPUVerdict is our extension: what tells which verdict this is, and why the
	// whole has its status.
	tdxGPUVerdict = "ear_assize_verdict"
)

// Values of ear_all_submods_bound (see allBound).
const (
	boundTrue    = "true"
	boundFalse   = "false"
	boundUnknown = "unknown"
)

// Schemes of the parts that profile ProfileTDXGPU has names for, and these names.
// All but the first two are followed by a number from 0.
var tdxGPUNames = map[string]string{
	"intel-tdx": "tdx", "tcg-tpm": "cvm_guest", "nvidia-gpu": "gpu_", "nvidia-nvswitch": "nvswitch_",
}

// nvidiaClaims begins the names of NVIDIA's claims about the report of a device.
var nvidiaClaims = map[string]string{
	"nvidia-gpu":      "x-nvidia-gpu-attestation-report-",
	"nvidia-nvswitch": "x-nvidia-switch-attestation-report-",
}

// tdxClaims are the claims about a TDX report by the names that Intel's and
// Microsoft's services give them; all are hexadecimal.
var tdxClaims = []string{
	"mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrconfigid", "mrowner", "mrownerconfig", "mrseam", "mrsignerseam",
	"tee_tcb_svn", "xfam", "report_data",
}

// claimsTDXGPU are the claims by profile ProfileTDXGPU: one appraisal for each
// part under the name that the profile has for it, and a word about whether they
// belong together. What component verifiers signed is not inside.
func (r *Result) claimsTDXGPU(lifetime time.Duration) ([]byte, error) {
	names, err := r.namesTDXGPU()
	if err != nil {
		return nil, err
	}
	submods := make(map[string]any, len(names))
	for i, c := range r.Components {
		if submods[names[i]], err = c.submodTDXGPU(); err != nil {
			return nil, err
		}
	}
	why := map[string]any{"reasons": append([]Reason{}, r.Outcome.Reasons...)}
	for name, text := range map[string]string{"session": r.Session, "topology": r.Topology, "composite_sha256": hexDigest(r.Composite)} {
		if text != "" {
			why[name] = text
		}
	}
	out := map[string]any{
		claimProfile: ProfileTDXGPU, "iat": r.Time.Unix(), "exp": r.Time.Add(lifetime).Unix(), p04VerifierID: r.Verifier,
		p04Status: r.Outcome.Tier.String(), tdxGPUBound: r.allBound(), tdxGPUVerdict: why, claimSubmods: submods,
	}
	if len(r.Nonce) > 0 {
		out[claimNonce] = encodeNonce(r.Nonce)
	}
	return json.Marshal(out)
}

// namesTDXGPU are the names of the components, in their order. A machine other
// than one TDX guest, with or without a virtual TPM, and at least one device of
// NVIDIA's has none.
func (r *Result) namesTDXGPU() ([]string, error) {
	out := make([]string, len(r.Components))
	order := make([]int, len(r.Components))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return compareLabels(r.Components[a].Label, r.Components[b].Label) })
	count := map[string]int{}
	for _, i := range order {
		c := r.Components[i]
		name, ok := tdxGPUNames[c.Scheme]
		if !ok {
			return nil, &FormatError{FormatTDXGPU, fmt.Sprintf("component %q (scheme %q) is none of a TDX guest, a virtual TPM, an NVIDIA GPU or an NVIDIA switch", c.Label, c.Scheme)}
		}
		out[i] = name
		if strings.HasSuffix(name, "_") {
			out[i] += strconv.Itoa(count[name])
		}
		count[name]++
	}
	switch {
	case count["tdx"] != 1:
		return nil, &FormatError{FormatTDXGPU, fmt.Sprintf("the machine has %d TDX guests instead of one", count["tdx"])}
	case count["gpu_"]+count["nvswitch_"] == 0:
		return nil, &FormatError{FormatTDXGPU, "the machine has no NVIDIA device"}
	case count["cvm_guest"] > 1:
		return nil, &FormatError{FormatTDXGPU, fmt.Sprintf("the machine has %d virtual TPMs, at most one", count["cvm_guest"])}
	}
	return out, nil
}

// compareLabels orders labels by their parts, numbers by their value.
func compareLabels(a, b evidence.Path) int {
	return slices.CompareFunc(strings.Split(string(a), "/"), strings.Split(string(b), "/"), func(a, b string) int {
		m, errA := strconv.ParseUint(a, 10, 32)
		n, errB := strconv.ParseUint(b, 10, 32)
		if errA == nil && errB == nil {
			return cmp.Or(cmp.Compare(m, n), cmp.Compare(a, b))
		}
		return cmp.Compare(a, b)
	})
}

func (c Component) submodTDXGPU() (map[string]any, error) {
	raw, err := json.Marshal(c.submod())
	if err != nil {
		return nil, err
	}
	in, err := trust.ParseObject(raw, resultDepth)
	if err != nil {
		return nil, err
	}
	d := c.document()
	checked := map[string]any{"assize_label": c.Label, "assize_scheme": c.Scheme, "assize_reasons": d.Reasons}
	if d.Verifier != nil {
		checked["assize_verifier"] = *d.Verifier
	}
	out := map[string]any{p04Status: in[claimStatus], p04Vector: in[claimVector], p04Verifier: checked}
	if id, ok := in[claimPolicyID]; ok {
		out[p04PolicyIDs] = []any{id}
	}
	if prefix, ok := nvidiaClaims[c.Scheme]; ok {
		checked[tdxGPUReport] = c.nvidiaEvidence(prefix)
	}
	if c.Partial.IsZero() {
		return out, nil
	}
	a := c.Partial.Appraisal()
	if len(a.NonceSeen) > 0 {
		// Padding as of a session's nonce.
		out[claimNonce] = base64.URLEncoding.EncodeToString(a.NonceSeen)
	}
	out[tdxGPUEvidence] = a.Claims
	if c.Scheme == "intel-tdx" {
		out[tdxGPUEvidence] = claimsOfTDX(a.Claims)
	}
	if a.Claims == nil {
		delete(out, tdxGPUEvidence)
	}
	return out, nil
}

// nvidiaEvidence says what was verified of the report of a device: nothing, where
// its verifier does not say that it was.
func (c Component) nvidiaEvidence(prefix string) map[string]bool {
	out := map[string]bool{"signature_verified": false, "parsed": false, "nonce_match": false}
	if c.Partial.IsZero() {
		return out
	}
	a := c.Partial.Appraisal()
	said := func(name string) bool { yes, ok := a.Claims[prefix+name].(bool); return ok && yes }
	out["signature_verified"], out["parsed"] = said("signature-verified"), said("parsed")
	out["nonce_match"] = said("nonce-match") && a.Freshness == FreshnessFresh
	return out
}

// claimsOfTDX are the contents of a quote under the names of the profile.
func claimsOfTDX(in map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range tdxClaims {
		if v, ok := in[name].(string); ok {
			out["tdx_"+name] = v
		}
	}
	if attributes, ok := in["td_attributes"].(map[string]any); ok {
		if v, ok := attributes["hex"].(string); ok {
			out["tdx_td_attributes"] = v
		}
	}
	return out
}

// allBound is the word about the whole machine, for the root that the only TDX
// guest is.
//
//   - "true": edges that are strong and bound lead from every other component to the
//     root, no edge is broken, the lead found nothing unbound, and every part, the
//     root included, is affirming or a warning to all verifiers that were asked: a
//     commitment to evidence that is nobody's, or of another session, ties nothing
//     (decision D-127).
//   - "false": an edge is broken, or the lead has looked at a component with a
//     result, for a session with a nonce, and no such edges lead from it; or they
//     do, and a part is contraindicated, or redundant verifiers disagree about it.
//   - "unknown": neither; there is a component about which nothing can be said,
//     because it or the root has no result, no edge names it, there was no nonce,
//     or not every redundant verifier has answered.
func (r *Result) allBound() string {
	if slices.ContainsFunc(r.Bindings, func(b Binding) bool { return b.Status == "broken" }) {
		return boundFalse
	}
	reached := r.reachedFrom(func(c Component) bool { return c.Scheme == "intel-tdx" && !c.Partial.IsZero() })
	word := boundTrue
	for _, c := range r.Components {
		named := slices.ContainsFunc(r.Bindings, func(b Binding) bool { return b.From == c.Label || b.To == c.Label })
		switch {
		case c.Partial.IsZero():
			word = boundUnknown
		case reached[c.Label]:
		case len(reached) == 0, !named, len(r.Nonce) == 0:
			word = boundUnknown
		default:
			return boundFalse
		}
	}
	unbound := func(c Cap) bool { return c.Reason.Code == ReasonUnboundComponent || c.Reason.Code == ReasonNonceBound }
	if word == boundTrue && slices.ContainsFunc(r.Caps, unbound) {
		return boundFalse
	}
	if word == boundTrue {
		return r.allVouched()
	}
	return word
}

// allVouched is boundTrue where what is bound is what it says it is: of evidence that
// its verifiers do not believe, or not all of them, nobody knows whose it is.
func (r *Result) allVouched() string {
	word := boundTrue
	for _, c := range r.Components {
		said := func(code string) bool {
			return slices.ContainsFunc(c.Reasons, func(one Reason) bool { return one.Code == code })
		}
		switch {
		case c.Tier().WorseThan(TierWarning) || said(ReasonDisagreement):
			return boundFalse
		case said(ReasonQuorumIncomplete):
			word = boundUnknown
		}
	}
	return word
}

// reachedFrom are the components from which edges that are strong and bound lead to
// those where start holds; edges at which both ends vouch lead in either direction.
func (r *Result) reachedFrom(start func(Component) bool) map[evidence.Path]bool {
	out := map[evidence.Path]bool{}
	for _, c := range r.Components {
		if start(c) {
			out[c.Label] = true
		}
	}
	for range r.Components {
		for _, b := range r.Bindings {
			if b.strong() && (out[b.To] || b.Mutual() && out[b.From]) {
				out[b.From], out[b.To] = true, true
			}
		}
	}
	return out
}
