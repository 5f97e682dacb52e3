// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// checkedTag is a manifest in XML whose signature was checked.
type checkedTag struct {
	manifest *rim.Manifest
	err      error
}

// tag is one manifest that may be of the device, at the time of an appraisal.
type tag struct {
	endorsements.Manifest
	*checkedTag
	revocation *revocation
	// expired says which certificate is not valid, "" if all are.
	expired string
}

// tags verifies the manifests that may be of a device.
func (p *Proof) tags(e Expected) []*tag {
	var out []*tag
	for _, m := range p.verifier.store.candidates(e.Manifests(), []string{e.Driver, e.VBIOS}) {
		t := &tag{Manifest: m, checkedTag: p.verifier.tag(m)}
		if t.err == nil {
			t.revocation = p.verifier.revocation(t.manifest.Chain(), p.Time, p.verifier.params.manifestPolicy())
			if err := t.manifest.ValidAt(p.Time); err != nil {
				t.expired = err.Error()
			}
		}
		out = append(out, t)
	}
	return out
}

// tag verifies a manifest once, by its bytes: what is behind an identifier
// changes.
func (v *Verifier) tag(m endorsements.Manifest) *checkedTag {
	if known, ok := v.tagCache.Get(m.Digest); ok {
		return known
	}
	out := &checkedTag{}
	out.manifest, out.err = v.rims.Verify(m.Raw)
	v.tagCache.Put(m.Digest, out)
	return out
}

// flaw is why a manifest is not compared with, or costs something if it is.
type flaw string

// Flaws from light to grave. The first three can match.
const (
	flawless    flaw = ""
	flawUnknown flaw = findManifestUnknown
	flawHoldTol flaw = findManifestHoldTol
	flawLapsed  flaw = findExpiryTolerated
	flawExpired flaw = findManifestExpired
	flawHold    flaw = findManifestHold
	flawRevoked flaw = findManifestRevoked
	flawInvalid flaw = findManifestInvalid
)

var gravity = []flaw{flawless, flawUnknown, flawHoldTol, flawLapsed, flawExpired, flawHold, flawRevoked, flawInvalid}

// usable tells whether a manifest with this flaw is compared with.
func (f flaw) usable() bool { return slices.Index(gravity, f) <= slices.Index(gravity, flawLapsed) }

// flaw is the gravest of a manifest, and why.
func (t *tag) flaw(params *Parameters) (flaw, string) {
	if t.err != nil {
		return flawInvalid, fmt.Sprintf("%s: %v", t.Name, t.err)
	}
	say := func(why string) string { return fmt.Sprintf("%s: %s", t.manifest, why) }
	if why := t.revocation.in(isRevoked); why != "" {
		return flawRevoked, say(why)
	}
	if why := t.revocation.in(isHeld); why != "" {
		return flawHold, say(why)
	}
	if t.expired != "" {
		if params.ManifestExpiry == strict {
			return flawExpired, say(t.expired)
		}
		return flawLapsed, say(t.expired)
	}
	if why := t.revocation.in(isTolerated); why != "" {
		return flawHoldTol, say(why)
	}
	if why := t.revocation.in(isOpen); why != "" && params.ManifestRevocation == required {
		return flawUnknown, say("the revocation status of its signer is not known: " + why)
	}
	return flawless, ""
}

// cost is a finding about a manifest that matches, and why.
type cost struct{ finding, why string }

// costs are all flaws of a manifest that matches.
func (t *tag) costs(params *Parameters) []cost {
	out := t.revocation.costs(t.manifest.String(), params)
	if t.expired != "" {
		out = append(out, cost{findExpiryTolerated, t.manifest.String() + ": " + t.expired})
	}
	return out
}

// costs are what the status of a signer costs a manifest that matches.
func (r *revocation) costs(what string, params *Parameters) (out []cost) {
	if why := r.in(isTolerated); why != "" {
		out = append(out, cost{findManifestHoldTol, what + ": " + why})
	}
	if why := r.in(isOpen); why != "" && params.ManifestRevocation == required {
		out = append(out, cost{findManifestUnknown, what + ": the revocation status of its signer is not known: " + why})
	}
	return out
}

// claim is a manifest in the claims of an appraisal.
func (t *tag) claim() map[string]any {
	c := map[string]any{"name": t.Name, "sha256": hex.EncodeToString(t.Digest[:]), "verified": t.err == nil}
	if t.ID != "" {
		c["id"] = t.ID
	}
	if t.err != nil {
		return c
	}
	c["kind"], c["product"], c["version"] = string(t.manifest.Kind), t.manifest.Product, t.manifest.Version
	c["signer"], c["signer_not_before"] = t.manifest.Signer(), stamp(t.manifest.Issued())
	if r := t.revocation.claims(); r != nil {
		c["revocation"] = r
	}
	return c
}

// chainClaim is NVIDIA's object about the chain of a manifest.
func (t *tag) chainClaim() map[string]any {
	_, until := t.manifest.Window()
	c := map[string]any{"x-nvidia-cert-status": "valid", "x-nvidia-cert-expiration-date": stamp(until)}
	if t.expired != "" {
		c["x-nvidia-cert-status"] = "expired"
	}
	t.revocation.describe(c)
	return c
}

// tagComparison is what manifests in XML say about a device.
type tagComparison struct {
	tags []*tag
	// out is the comparison with all that may count, nil if there is none.
	out *rim.Comparison
	// used are the manifests of out.
	used []*tag
	// otherBoard are manifests of this version under the identifier of another board.
	otherBoard []*rim.Manifest
}

// device is what rim compares.
func (p *Proof) device(e Expected) rim.Device {
	d := rim.Device{Chip: p.Chain.ID.Family, Switch: e.Switch, Driver: e.Driver, VBIOS: e.VBIOS, Engine: rim.Engine(e.State)}
	for _, b := range p.Report.Blocks {
		d.Measurements = append(d.Measurements, rim.Measurement{
			Index: int(b.Index) - 1, Raw: b.Type&rawValue != 0 || len(b.Value) != digestSize, Value: b.Value,
		})
	}
	return d
}

// byTags compares with the manifests in XML. All that may count are asked, because a
// later issue takes back what an earlier one said, also while the status of its
// signer is not known. If they match, the match rests on those that cost least.
func (p *Proof) byTags(e Expected) *tagComparison {
	c := &tagComparison{tags: p.tags(e)}
	if len(c.tags) == 0 {
		return c
	}
	d := p.device(e)
	all := c.upTo(flawLapsed, p.verifier.params)
	if len(all) > 0 {
		c.out = rim.Compare(d, all)
	}
	for _, most := range []flaw{flawless, flawUnknown, flawHoldTol} {
		list := c.upTo(most, p.verifier.params)
		if !c.matched() || len(list) == len(all) {
			break
		}
		if cheaper := rim.Compare(d, list); cheaper.Matched() {
			c.out = cheaper
			break
		}
	}
	if c.out == nil {
		return c
	}
	if c.out.Mismatched() {
		p.setAside(c, d, e)
	}
	for _, m := range c.out.Used {
		c.used = append(c.used, c.find(m))
	}
	return c
}

// setAside compares once more without manifests of a VBIOS that lay under the
// identifier of another board and do not match: which board a manifest is of is not
// signed, and boards with one version differ. What a name says is never enough for
// a match; here it turns something that differs into something that is missing.
func (p *Proof) setAside(c *tagComparison, d rim.Device, e Expected) {
	other := func(m *rim.Manifest) bool {
		t := c.find(m)
		return m.Kind == rim.VBIOS && t.ID != "" && e.VBIOSID != "" && !strings.EqualFold(t.ID, e.VBIOSID)
	}
	if !slices.ContainsFunc(c.out.Mismatches(), func(f rim.Finding) bool { return other(f.Manifest) }) {
		return
	}
	list := c.upTo(flawLapsed, p.verifier.params)
	for _, m := range list {
		if other(m) {
			c.otherBoard = append(c.otherBoard, m)
		}
	}
	list = slices.DeleteFunc(list, other)
	c.out = nil
	if len(list) > 0 {
		c.out = rim.Compare(d, list)
	}
}

// upTo are the manifests whose flaw is at most so grave.
func (c *tagComparison) upTo(most flaw, params *Parameters) []*rim.Manifest {
	var out []*rim.Manifest
	for _, t := range c.tags {
		if f, _ := t.flaw(params); slices.Index(gravity, f) <= slices.Index(gravity, most) {
			out = append(out, t.manifest)
		}
	}
	return out
}

func (c *tagComparison) find(m *rim.Manifest) *tag {
	i := slices.IndexFunc(c.tags, func(t *tag) bool { return t.manifest == m })
	return c.tags[i]
}

func (c *tagComparison) matched() bool { return c.out != nil && c.out.Matched() }

// mismatches are what differs from the manifests, none without manifests.
func (c *tagComparison) mismatches() []rim.Finding {
	if c.out == nil {
		return nil
	}
	return c.out.Mismatches()
}

// covers says for which kinds there is a manifest that was compared with.
func (c *tagComparison) covers(k rim.Kind) bool {
	return c.out != nil && slices.ContainsFunc(c.out.Used, func(m *rim.Manifest) bool { return m.Kind == k })
}

// left is a manifest of the device that was not compared with, and why.
type left struct {
	flaw flaw
	why  string
}

// leftOut are, for each kind of manifest that is missing, those of the device that
// could not be used, and, if there is none, what was there instead.
func (p *Proof) leftOut(c *tagComparison, e Expected) (out []left, misfits []string) {
	d := p.device(e)
	for _, need := range e.needs() {
		if c.covers(need.kind) {
			continue
		}
		found := false
		for _, t := range c.tags {
			f, why := t.flaw(p.verifier.params)
			if t.err != nil {
				if t.speaksOf(need) {
					out, found = append(out, left{f, why}), true
				}
				continue
			}
			if t.manifest.Kind != need.kind {
				continue
			}
			if slices.Contains(c.otherBoard, t.manifest) {
				misfits = append(misfits, fmt.Sprintf("%s: it lay under %s, and its values are others", t.manifest, t.ID))
			} else if one := rim.Compare(d, []*rim.Manifest{t.manifest}); len(one.Used) == 1 {
				if !f.usable() {
					out, found = append(out, left{f, why}), true
				}
			} else if len(one.Misfits) == 1 && len(misfits) < maxComplaints {
				misfits = append(misfits, fmt.Sprintf("%s: %s", one.Misfits[0].Manifest, one.Misfits[0].Why))
			}
		}
		if !found {
			out = append(out, left{findManifestMissing, need.id})
		}
	}
	return out, misfits
}

// need is one manifest that a device needs.
type need struct {
	kind    rim.Kind
	id      string
	version string
}

func (e *Expected) needs() []need {
	if e.Switch {
		return []need{{rim.BIOS, e.VBIOSID, e.VBIOS}}
	}
	if e.Transcript != (corim.Environment{}) { // firmware of an FSP, which is in CoRIMs
		return []need{{rim.VBIOS, e.VBIOSID, e.VBIOS}}
	}
	return []need{{rim.Driver, e.DriverID, e.Driver}, {rim.VBIOS, e.VBIOSID, e.VBIOS}}
}

// speaksOf tells whether a document that is not verified calls itself the manifest
// that is needed.
func (t *tag) speaksOf(n need) bool {
	if n.id != "" && strings.EqualFold(t.ID, n.id) {
		return true
	}
	for _, found := range versionText.FindAllSubmatch(t.Raw, maxComplaints) {
		if n.version != "" && strings.EqualFold(string(found[1]), n.version) {
			return true
		}
	}
	return false
}
