// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
)

// evidenceOf is the digest of the evidence that part gives a component.
func evidenceOf(label string) string {
	sum := sha256.Sum256([]byte(label))
	return hex.EncodeToString(sum[:])
}

// measures is a commitment to the evidence of a component.
func measures(label, digest, origin string) verdict.Commitment {
	return verdict.Commitment{Subject: label, Object: verdict.ObjectEvidence, Alg: verdict.AlgSHA256, Digest: digest, Via: "event-log", Origin: origin}
}

// ofKind are the edges of one kind.
func ofKind(list []verdict.Binding, kind string) (out []verdict.Binding) {
	for _, e := range list {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// TestMeasuredEvents: the digest of a component's evidence in an event log joins it
// where the software is known, contradicts where the digest is another, and is
// missed where others have one.
func TestMeasuredEvents(t *testing.T) {
	const (
		good, odd = verdict.ClaimApproved, verdict.ClaimUnrecognized
		strong    = "gpu:cpu:measured-event:strong:bound"
		weak      = "gpu:cpu:measured-event:nonce:bound"
		absent    = "gpu:cpu:measured-event:none:absent"
		brokenOne = "gpu:cpu:measured-event:none:broken"
		loose     = "warning:unbound-component"
		bad       = "contraindicated:binding-broken " + loose
		feeble    = "warning:binding-weak " + loose
		missed    = "warning:binding-absent " + loose
	)
	holds := func(label, class string, executables verdict.Claim, list ...verdict.Commitment) verdict.Component {
		c := partWith(t, label, class, "same", isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables], a.Facts.Commitments = executables, list
		})
		if label == "tpm" {
			c.Scheme = schemeTPM
		}
		return c
	}
	cpu := func(executables verdict.Claim, list ...verdict.Commitment) verdict.Component {
		return holds("cpu", "cpu-tee", executables, list...)
	}
	gpu, nic := part(t, "gpu", "device", "same", isFresh), part(t, "nic", "device", "same", isFresh)
	ours := measures("gpu", evidenceOf("gpu"), OriginMeasured)
	foreign := measures("gpu", evidenceOf("another gpu"), OriginMeasured)
	short := ours
	short.Alg, short.Digest = verdict.AlgSHA384, strings.Repeat("0a", 48)
	for _, c := range []struct {
		name, edges, caps string
		parts             []verdict.Component
	}{
		{"measured by known software", strong, "", []verdict.Component{cpu(good, ours), gpu}},
		{"with another digest that nobody compares", strong, "", []verdict.Component{cpu(good, ours, short), gpu}},
		{"measured by software that nobody knows", weak, feeble, []verdict.Component{cpu(odd, ours), gpu}},
		{"forged by an application", weak, feeble, []verdict.Component{cpu(odd, measures("gpu", evidenceOf("gpu"), OriginApplication)), gpu}},
		{"other evidence", brokenOne, bad, []verdict.Component{cpu(good, foreign), gpu}},
		{"other evidence, and nobody knows the software", brokenOne, bad, []verdict.Component{cpu(odd, foreign), gpu}},
		{"labels swapped", "gpu:cpu:measured-event:none:broken nic:cpu:measured-event:none:broken", "contraindicated:binding-broken " + bad,
			[]verdict.Component{cpu(good, measures("gpu", evidenceOf("nic"), OriginMeasured), measures("nic", evidenceOf("gpu"), OriginMeasured)), gpu, nic}},
		{"something else is measured", absent, missed, []verdict.Component{cpu(good, measures("nic", evidenceOf("nic"), OriginMeasured)), gpu}},
		{"a digest that nobody can compare", absent, missed, []verdict.Component{cpu(good, short), gpu}},
		{"nothing is measured", "", loose, []verdict.Component{cpu(good), gpu}},
		{"one of two verifiers saw it", absent, missed, []verdict.Component{together(cpu(good, ours), cpu(good)), gpu}},
		{"one of two saw another", brokenOne, bad, []verdict.Component{together(cpu(good, ours), cpu(good, foreign)), gpu}},
		{"one of two does not know the software", weak, feeble, []verdict.Component{together(cpu(good, ours), cpu(odd, ours)), gpu}},
		{"by a TPM that hangs in the air", "gpu:tpm:measured-event:strong:bound", loose, []verdict.Component{cpu(good), gpu, holds("tpm", "device", good, ours)}},
		{"a TPM speaks of some", "gpu:tpm:measured-event:strong:bound", loose, []verdict.Component{cpu(good), gpu, nic, holds("tpm", "device", good, ours)}},
		{"a TPM saw other evidence", "gpu:tpm:measured-event:none:broken", bad, []verdict.Component{cpu(good), gpu, holds("tpm", "device", good, foreign)}},
		{"a switch speaks of it", "", loose, []verdict.Component{cpu(good), gpu, holds("switch", "device", good, ours)}},
		{"nobody vouches for the root", "", loose, []verdict.Component{cpu(good), holds("tpm", "device", good, measures("cpu", evidenceOf("cpu"), OriginMeasured))}},
	} {
		list, k := Check(Input{Components: c.parts})
		own := ofKind(list, KindMeasuredEvent)
		if edges(own) != c.edges || caps(k) != c.caps {
			t.Errorf("%s:\n got %s | %s\nwant %s | %s", c.name, edges(own), caps(k), c.edges, c.caps)
		}
	}
	bound := partWith(t, "cpu", "cpu-tee", "same", isFresh, func(a *verdict.Appraisal) {
		a.Vector[verdict.Executables], a.Facts.Keys = good, []verdict.CommittedKey{committedTo("aa", "runtime-data", OriginMeasured)}
	})
	tpm := partWith(t, "tpm", "device", "same", isFresh, func(a *verdict.Appraisal) {
		a.Vector[verdict.Executables], a.Facts.SignerSPKI, a.Facts.Commitments = good, spki("aa"), []verdict.Commitment{ours}
	})
	tpm.Scheme = schemeTPM
	if _, k := Check(Input{Components: []verdict.Component{bound, gpu, tpm}}); caps(k) != "" {
		t.Errorf("what the machine's TPM measured: %s", caps(k))
	}
	list, k := Check(Input{Components: []verdict.Component{cpu(good, foreign), gpu}})
	own := ofKind(list, KindMeasuredEvent)[0]
	if r := k[0].Reason; r.Expected != foreign.Digest || r.Observed != evidenceOf("gpu") || r.Source == "" || own.Expected != r.Expected || own.Observed != r.Observed {
		t.Errorf("%+v, %+v", r, own)
	}
}
