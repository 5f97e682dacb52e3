// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// TestLeadSignature: the signature around a composite joins its parts to the root
// where the root commits to the key, and nothing where the key is only configured.
func TestLeadSignature(t *testing.T) {
	const (
		good, odd = verdict.ClaimApproved, verdict.ClaimUnrecognized
		strong    = "gpu:cpu:lead-signature:strong:bound"
		weak      = "gpu:cpu:lead-signature:nonce:bound"
		absent    = "gpu:cpu:lead-signature:none:absent"
		brokenOne = "gpu:cpu:lead-signature:none:broken"
		loose     = "warning:unbound-component"
		feeble    = "warning:binding-weak " + loose
		told      = "affirming:application-binding-accepted"
	)
	cpu := func(executables verdict.Claim, keys ...verdict.CommittedKey) verdict.Component {
		return partWith(t, "cpu", "cpu-tee", "same", isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables], a.Facts.Keys = executables, keys
		})
	}
	gpu := part(t, "gpu", "device", "same", isFresh)
	by := func(b string) *verdict.LeadSignature { return &verdict.LeadSignature{SPKI: spki(b), Thumbprint: "t"} }
	app, own := committedTo("aa", "public-key", OriginApplication), committedTo("aa", viaLeadKey, OriginMeasured)
	other := committedTo("bb", viaLeadKey, OriginHardware)
	for _, c := range []struct {
		name, edges, caps string
		lead              *verdict.LeadSignature
		cpu               verdict.Component
	}{
		{"written by known software", strong, told, by("aa"), cpu(good, app)},
		{"forged by an application", weak, feeble, by("aa"), cpu(odd, app)},
		{"measured", strong, "", by("aa"), cpu(good, own)},
		{"measured by software that nobody knows", weak, feeble, by("aa"), cpu(odd, own)},
		{"committed to by hardware, used by known software", strong, "", by("bb"), cpu(good, other)},
		{"committed to by hardware, used by software that nobody knows", weak, feeble, by("bb"), cpu(odd, other)},
		{"committed to by hardware, used by software that nobody looked at", weak, feeble, by("bb"), cpu(verdict.ClaimNone, other)},
		{"a key of the configuration", absent, loose, by("cc"), cpu(good, app)},
		{"a root without keys", absent, loose, by("aa"), cpu(good)},
		{"another key signs here", brokenOne, "contraindicated:binding-broken " + loose, by("aa"), cpu(good, app, other)},
		{"the signature was taken off", absent, loose, nil, cpu(good, own)},
		{"nobody speaks of signatures", "", loose, nil, cpu(good, app)},
		{"one of two verifiers found it", absent, loose, by("aa"), together(cpu(good, app), cpu(good))},
		{"one of two found another key", brokenOne, "contraindicated:binding-broken " + loose, by("aa"), together(cpu(good, own), cpu(good, other))},
		{"no CPU", "", loose, by("aa"), part(t, "nic", "device", "same", isFresh)},
	} {
		list, k := Check(Input{Components: []verdict.Component{c.cpu, gpu}, Lead: c.lead})
		var own []verdict.Binding
		for _, e := range list {
			if e.Kind == KindLeadSignature {
				own = append(own, e)
				if c.lead != nil && e.Observed != c.lead.SPKI {
					t.Errorf("%s: observed %s", c.name, e.Observed)
				}
			}
		}
		if edges(own) != c.edges || caps(k) != c.caps {
			t.Errorf("%s:\n got %s | %s\nwant %s | %s", c.name, edges(own), caps(k), c.edges, c.caps)
		}
	}
	_, k := Check(Input{Components: []verdict.Component{cpu(good, other), gpu}, Lead: by("aa")})
	if r := k[0].Reason; r.Expected != spki("bb") || r.Observed != spki("aa") || r.Source == "" {
		t.Errorf("%+v", r)
	}
	committed := partWith(t, "cpu", "cpu-tee", evidence.CommitmentRule, isFresh, func(*verdict.Appraisal) {})
	if list, _ := Check(Input{Components: []verdict.Component{committed, gpu}, Lead: by("aa")}); len(ofKind(list, KindLeadSignature)) != 0 {
		t.Errorf("the commitment covers the signature: %s", edges(list))
	}
	missing := verdict.Component{Label: "nic", Required: true}
	if list, k := Check(Input{Components: []verdict.Component{cpu(good, app), missing}, Lead: by("aa")}); edges(list) != "nic:cpu:common-nonce:none:absent" || caps(k) != loose {
		t.Errorf("what is not there is signed: %s | %s", edges(list), caps(k))
	}
}

// TestLeadKeyIsNoOtherKey: the key that signs composites is no key of a component. Who
// commits to it commits to no TPM, and does not keep the TPM of another machine from
// being one.
func TestLeadKeyIsNoOtherKey(t *testing.T) {
	lead, public, runtime := committedTo("aa", viaLeadKey, OriginHardware), committedTo("aa", "public-key", OriginHardware), committedTo("bb", viaRuntimeData, OriginHardware)
	for _, c := range []struct {
		name, tpm, app string
		keys           []verdict.CommittedKey
	}{
		{"a key of whatever", "strong:bound", "strong:bound", []verdict.CommittedKey{public}},
		{"the key of the lead", "none:absent", "", []verdict.CommittedKey{lead}},
		{"both", "strong:bound", "strong:bound", []verdict.CommittedKey{lead, public}},
		{"beside that of another TPM", "none:broken", "", []verdict.CommittedKey{lead, runtime}},
	} {
		part := func(label, class, signer string, keys ...verdict.CommittedKey) verdict.Component {
			return partWith(t, label, class, "same", isFresh, func(a *verdict.Appraisal) {
				a.Vector[verdict.Executables], a.Facts.SignerSPKI, a.Facts.Keys = verdict.ClaimApproved, signer, keys
				a.Facts.KeyRequired = label == "tpm"
			})
		}
		parts := []verdict.Component{part("app", "", spki("aa")), part("cpu", "cpu-tee", spki("01"), c.keys...), part("tpm", "device", spki("aa"))}
		parts[2].Scheme = schemeTPM
		list, _ := Check(Input{Components: parts})
		seen := map[evidence.Path]string{}
		for _, e := range ofKind(list, KindAttestedKey) {
			seen[e.From] = e.Strength + ":" + e.Status
		}
		if seen["tpm"] != c.tpm || seen["app"] != c.app {
			t.Errorf("%s: %v", c.name, seen)
		}
	}
}
