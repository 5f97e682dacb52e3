// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"encoding/hex"
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// rimNames are the middles of NVIDIA's names of claims about manifests.
var rimNames = map[rim.Kind]string{rim.Driver: "driver-rim-", rim.VBIOS: "vbios-rim-", rim.BIOS: "bios-rim-"}

// maxManifestClaims is how many manifests are described.
const maxManifestClaims = 8

// manifestClaims are the claims about the manifests in XML, under NVIDIA's names.
// Of a check that did not run there is no claim; only that nothing was fetched is
// said always.
func (p *Proof) manifestClaims(s *sources, e Expected, a *verdict.Appraisal) {
	var list []any
	for _, t := range slices.Concat(s.tags.used, s.tags.tags) {
		if len(list) < maxManifestClaims && !slices.ContainsFunc(list, func(c any) bool { return c.(map[string]any)["sha256"] == hex.EncodeToString(t.Digest[:]) }) {
			list = append(list, t.claim())
		}
	}
	if list != nil {
		a.Claims["manifests"] = list
	}
	for _, n := range e.needs() {
		p.rimClaims(s.tags, n, a)
	}
	if spoke := s.manifests != nil && s.manifests.speaks(); len(s.tags.tags) == 0 && (spoke || len(s.left) > 0) {
		for _, n := range e.needs() { // one document for all of them
			prefix := p.kind.Prefix + rimNames[n.kind]
			a.Claims[prefix+"fetched"] = true
			a.Claims[prefix+"signature-verified"] = spoke || !slices.ContainsFunc(s.left, func(l left) bool { return l.flaw == flawInvalid || l.flaw == flawExpired })
			a.Claims[prefix+"measurements-available"] = spoke
		}
	}
	c := s.tags.out
	if c == nil {
		return
	}
	if len(e.needs()) > 1 && len(c.Absent) == 0 {
		a.Claims[p.kind.Prefix+"vbios-index-no-conflict"] = len(c.Conflicts) == 0
	}
	if list := c.Mismatches(); len(list) > 0 && a.Claims["measres"] == "fail" {
		a.Claims["x-nvidia-mismatch-measurement-records"] = records(list)
	}
}

// rimClaims are those about one manifest: the one that was compared with, else the
// first that may be it.
func (p *Proof) rimClaims(c *tagComparison, n need, a *verdict.Appraisal) {
	prefix := p.kind.Prefix + rimNames[n.kind]
	var t *tag
	used := slices.IndexFunc(c.used, func(t *tag) bool { return t.manifest.Kind == n.kind })
	if used >= 0 {
		t = c.used[used]
	} else if i := slices.IndexFunc(c.tags, func(t *tag) bool {
		return t.err == nil && t.manifest.Kind == n.kind || t.err != nil && t.speaksOf(n)
	}); i >= 0 {
		t = c.tags[i]
	}
	a.Claims[prefix+"fetched"] = t != nil
	if t == nil {
		return
	}
	a.Claims[prefix+"signature-verified"] = t.err == nil
	if t.err != nil {
		return
	}
	a.Claims[prefix+"schema-validated"] = true // rim reads nothing of another structure
	a.Claims[prefix+"version-match"] = used >= 0 || p.fits(t, n)
	a.Claims[prefix+"measurements-available"] = used >= 0
	a.Claims[prefix+"cert-chain"] = t.chainClaim()
}

// fits tells whether a manifest that was not compared with is of the device.
func (p *Proof) fits(t *tag, n need) bool {
	d := p.device(Expected{Switch: n.kind == rim.BIOS, Driver: n.version, VBIOS: n.version})
	return len(rim.Compare(d, []*rim.Manifest{t.manifest}).Used) == 1
}

// records are NVIDIA's records of measurements that differ.
func records(list []rim.Finding) []any {
	var out []any
	for _, f := range list {
		source := "Firmware"
		if f.Manifest.Kind == rim.Driver {
			source = "Driver"
		}
		r := map[string]any{
			"index": f.Index, "goldenSize": len(f.Expected[0]), "goldenValue": hex.EncodeToString(f.Expected[0]),
			"runtimeSize": len(f.Seen), "runtimeValue": hex.EncodeToString(f.Seen), "measurementSource": source,
		}
		if f.State == rim.Missing {
			r["runtimeSize"], r["runtimeValue"] = 0, "NA"
		}
		out = append(out, r)
	}
	return out
}
