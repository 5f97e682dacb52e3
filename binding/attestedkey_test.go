// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
)

// spki is a digest of a key.
func spki(b string) string { return strings.Repeat(b, 32) }

func committedTo(b, via, origin string) verdict.CommittedKey {
	return verdict.CommittedKey{SPKI: spki(b), Via: via, Origin: origin}
}

// The edge is strong where the CPU's report or measured software commits to the
// key, as good as the software where any program could have written that, broken
// where the machine's TPM has another key, and not there where nobody speaks of
// keys.
func TestAttestedKey(t *testing.T) {
	cpu := func(executables verdict.Claim, keys ...verdict.CommittedKey) verdict.Component {
		return partWith(t, "cpu", "cpu-tee", "same", isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables], a.Facts.Keys = executables, keys
		})
	}
	signed := func(scheme, by string) verdict.Component {
		c := partWith(t, "tpm", "device", "same", isFresh, func(a *verdict.Appraisal) { a.Facts.SignerSPKI = by })
		c.Scheme = scheme
		return c
	}
	tpm := func(by string) verdict.Component { return signed("tcg-tpm", by) }
	quorum := func(parts ...verdict.Component) verdict.Component {
		c := together(parts...)
		c.Scheme = parts[0].Scheme
		return c
	}
	ours, other := committedTo("aa", "runtime-data", OriginMeasured), committedTo("bb", "runtime-data", OriginMeasured)
	ek := committedTo("ee", "service-manifest", OriginHardware)
	byApp := committedTo("aa", "public-key", OriginApplication)
	byChip := committedTo("aa", "public-key", OriginHardware)
	const (
		good   = verdict.ClaimApproved
		odd    = verdict.ClaimUnrecognized
		strong = "tpm:cpu:attested-key:strong:bound"
		weak   = "tpm:cpu:attested-key:nonce:bound"
		broken = "tpm:cpu:attested-key:none:broken"
		absent = "tpm:cpu:attested-key:none:absent"
		loose  = "warning:unbound-component"
		bad    = "contraindicated:binding-broken " + loose
		feeble = "warning:binding-weak " + loose
		told   = "affirming:application-binding-accepted"
	)
	for _, c := range []struct {
		name, edges, caps, origin string
		parts                     []verdict.Component
	}{
		{"measured software wrote it", strong, "", OriginMeasured, []verdict.Component{cpu(good, ours), tpm(spki("aa"))}},
		{"measured software that nobody knows", weak, feeble, OriginMeasured, []verdict.Component{cpu(odd, ours), tpm(spki("aa"))}},
		{"hardware wrote it", strong, "", OriginHardware, []verdict.Component{cpu(odd, byChip), tpm(spki("aa"))}},
		{"known software wrote it", strong, told, OriginApplication, []verdict.Component{cpu(good, byApp), tpm(spki("aa"))}},
		{"unknown software wrote it", weak, feeble, OriginApplication, []verdict.Component{cpu(odd, byApp), tpm(spki("aa"))}},
		{"software that nobody looked at", weak, feeble, OriginApplication, []verdict.Component{cpu(verdict.ClaimNone, byApp), tpm(spki("aa"))}},
		{"in two places, the better one counts", strong, "", OriginHardware, []verdict.Component{cpu(odd, byApp, byChip), tpm(spki("aa"))}},
		{"one of several keys", strong, "", OriginMeasured, []verdict.Component{cpu(good, other, ours), tpm(spki("aa"))}},
		{"another component than a TPM", strong, "", OriginMeasured, []verdict.Component{cpu(good, ours), signed("s", spki("aa"))}},

		{"the TPM of another machine", broken, bad, "", []verdict.Component{cpu(good, other), tpm(spki("aa"))}},
		{"another component has another key", "", loose, "", []verdict.Component{cpu(good, other), signed("s", spki("aa"))}},
		{"the CPU commits to something else", absent, loose, "", []verdict.Component{cpu(good, ek), tpm(spki("aa"))}},
		{"the CPU commits to nothing", "", loose, "", []verdict.Component{cpu(good), tpm(spki("aa"))}},
		{"nobody says who signed", "", loose, "", []verdict.Component{cpu(good, ours), tpm("")}},
		{"nobody answered for the TPM", "", loose, "", []verdict.Component{cpu(good, ours), {Label: "tpm", Scheme: "tcg-tpm", Class: "device"}}},
		{"no CPU", "", loose, "", []verdict.Component{tpm(spki("aa"))}},

		{"both verifiers of the CPU found it", strong, "", OriginMeasured, []verdict.Component{together(cpu(good, ours), cpu(good, ours)), tpm(spki("aa"))}},
		{"the least of what they found", weak, feeble, OriginApplication, []verdict.Component{together(cpu(odd, byChip), cpu(good, byApp)), tpm(spki("aa"))}},
		{"found by the other one", weak, feeble, OriginApplication, []verdict.Component{together(cpu(odd, byApp), cpu(good, byChip)), tpm(spki("aa"))}},
		{"one found no key", absent, loose, "", []verdict.Component{together(cpu(good, byChip), cpu(good)), tpm(spki("aa"))}},
		{"one found another key", broken, bad, "", []verdict.Component{together(cpu(good, ours), cpu(good, other)), tpm(spki("aa"))}},
		{"one does not know the software", weak, feeble, OriginApplication, []verdict.Component{together(cpu(good, byApp), cpu(odd, byApp)), tpm(spki("aa"))}},
		{"one verifier of the TPM found another signer", broken, bad, "", []verdict.Component{cpu(good, ours), quorum(tpm(spki("aa")), tpm(spki("cc")))}},
		{"one verifier of the TPM found no signer", absent, loose, "", []verdict.Component{cpu(good, ours), quorum(tpm(spki("aa")), tpm(""))}},
	} {
		e, k := Check(Input{Components: c.parts})
		var own []verdict.Binding
		for _, x := range e {
			if x.Kind == KindAttestedKey {
				own = append(own, x)
				if x.Origin != c.origin {
					t.Errorf("%s: origin %q, want %q", c.name, x.Origin, c.origin)
				}
			}
		}
		if edges(own) != c.edges || caps(k) != c.caps {
			t.Errorf("%s:\n got %s | %s\nwant %s | %s", c.name, edges(own), caps(k), c.edges, c.caps)
		}
	}
	_, k := Check(Input{Components: []verdict.Component{cpu(good, other, committedTo("dd", "runtime-data", OriginMeasured)), tpm(spki("aa"))}})
	for _, digest := range []string{"aa", "bb", "dd"} {
		if !strings.Contains(k[0].Reason.Detail, spki(digest)) {
			t.Errorf("the reason does not name %s…: %s", digest, k[0].Reason.Detail)
		}
	}
}
