// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// TestKeyAndBytes: who lacks somebody for its key and for bytes beside its signature is
// told both, and to mend one of them mends no more than that.
func TestKeyAndBytes(t *testing.T) {
	nic := func(key bool) verdict.Component {
		return partWith(t, "nic", "device", "same", isFresh, func(a *verdict.Appraisal) {
			a.Facts.SignerSPKI, a.Facts.RelayRequired, a.Facts.KeyRequired = spki("aa"), true, key
		})
	}
	cpu := func(rule string, keys ...verdict.CommittedKey) verdict.Component {
		return partWith(t, "cpu", "cpu-tee", rule, isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables], a.Facts.Keys = verdict.ClaimApproved, keys
		})
	}
	key := committedTo("aa", viaRuntimeData, OriginHardware)
	for _, c := range []struct {
		name  string
		parts []verdict.Component
		want  string
	}{
		{"nothing", []verdict.Component{cpu("same"), nic(true)}, "key-not-vouched-for report-unauthenticated"},
		{"no CPU", []verdict.Component{nic(true)}, "key-not-vouched-for report-unauthenticated"},
		{"the key", []verdict.Component{cpu("same", key), nic(true)}, "report-unauthenticated"},
		{"the bytes", []verdict.Component{cpu(evidence.CommitmentRule), nic(true)}, "key-not-vouched-for"},
		{"both", []verdict.Component{cpu(evidence.CommitmentRule, key), nic(true)}, ""},
		{"one of two verifiers wants the key", []verdict.Component{cpu("same"), together(nic(false), nic(true))}, "key-not-vouched-for report-unauthenticated"},
		{"none of two wants the key", []verdict.Component{cpu("same"), together(nic(false), nic(false))}, "report-unauthenticated"},
	} {
		var codes []string
		for _, why := range Unauthenticated(c.parts)["nic"] {
			codes = append(codes, why.Code)
		}
		if got := strings.Join(codes, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestUnvouchedKeyBindsNothing: what a TPM has measured is no strong edge once the lead
// has taken its good words back, since software could be that TPM; and a root of whose
// own key nobody says anything vouches for no other.
func TestUnvouchedKeyBindsNothing(t *testing.T) {
	measures := func(label, class, scheme string, keyless bool) verdict.Component {
		c := partWith(t, label, class, evidence.CommitmentRule, isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables] = verdict.ClaimApproved
			a.Facts.SignerSPKI, a.Facts.KeyRequired = spki("bb"), keyless
			sum := part(t, "app", "", "same", isFresh).Evidence
			a.Facts.Commitments = []verdict.Commitment{{Subject: "app", Object: verdict.ObjectEvidence, Alg: verdict.AlgSHA256,
				Digest: hex.EncodeToString(sum[:]), Via: "event-log", Origin: OriginMeasured}}
		})
		c.Scheme = scheme
		return c
	}
	judged := func(parts ...verdict.Component) string {
		for label, found := range Unauthenticated(parts) {
			i := slices.IndexFunc(parts, func(c verdict.Component) bool { return c.Label == label })
			parts[i].Reasons = append(parts[i].Reasons, found...)
		}
		list, _ := Check(Input{Components: parts})
		var out []string
		for _, e := range ofKind(list, KindMeasuredEvent) {
			if e.From == "app" && e.Status == StatusBound {
				out = append(out, string(e.To)+":"+e.Strength)
			}
		}
		return strings.Join(out, " ")
	}
	app := part(t, "app", "", "same", isFresh)
	root := partWith(t, "cpu", "cpu-tee", evidence.CommitmentRule, isFresh, func(a *verdict.Appraisal) { a.Vector[verdict.Executables] = verdict.ClaimApproved })
	for _, c := range []struct {
		name  string
		parts []verdict.Component
		want  string
	}{
		{"a TPM", []verdict.Component{app, root, measures("tpm", "device", schemeTPM, false)}, "tpm:strong"},
		{"a TPM of nobody", []verdict.Component{app, root, measures("tpm", "device", schemeTPM, true)}, "tpm:nonce"},
		{"a CPU", []verdict.Component{app, measures("cpu", "cpu-tee", "s", false)}, "cpu:strong"},
		{"a CPU of nobody", []verdict.Component{app, measures("cpu", "cpu-tee", "s", true)}, "cpu:nonce"},
	} {
		if got := judged(c.parts...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	// The reasons change nothing of what is missing: who judges again comes to the same.
	parts := []verdict.Component{measures("cpu", "cpu-tee", "s", true), partWith(t, "nic", "device", "same", isFresh, func(a *verdict.Appraisal) { a.Facts.RelayRequired = true })}
	first := Unauthenticated(parts)
	for i := range parts {
		parts[i].Reasons = first[parts[i].Label]
	}
	if again := Unauthenticated(parts); len(first) != 2 || len(again) != len(first) {
		t.Errorf("%v, and again %v", first, again)
	}
}
