// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"fmt"
	"slices"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/armtoken"
	"github.com/assize/assize/verifiers/internal/reference"
)

// Measurement keys of Arm's profiles (corim.ProfileCCAPlatform,
// corim.ProfileCCARealm).
const (
	keyComponent = "cca.software-component"
	keyConfig    = "cca.platform-config"
	keyRIM       = "cca.rim"
	keyREM       = "cca.rem"
	keyRPV       = "cca.rpv"
)

// environment is the platform: implementation id and instance id.
func (p *platform) environment() corim.Environment {
	return armtoken.Device(p.implementation, p.instance)
}

// environment is the realm: its initial measurement is its class.
func (r *realm) environment() corim.Environment {
	return corim.Environment{Class: corim.Class{ID: corim.TaggedBytes(corim.TagBytes, r.rim)}}
}

// items are the measurements of the realm: initial, four extensible ones, and the
// personalization value. Their algorithm is the one with digests of that size:
// deployed tokens state another one now and then.
func (r *realm) items() []reference.Item {
	one := func(name, key string, b []byte) reference.Item {
		return reference.Item{Name: name, Key: corim.TextKey(key), Value: corim.Values{
			Digests: []corim.Digest{{Alg: armtoken.AlgorithmOf(len(b)), Value: b}},
		}}
	}
	out := []reference.Item{one("RIM", keyRIM, r.rim)}
	for i, m := range r.rem {
		out = append(out, one(fmt.Sprintf("REM%d", i), fmt.Sprintf("%s%d", keyREM, i), m))
	}
	return append(out, reference.Item{Name: "RPV", Key: corim.TextKey(keyRPV), Value: corim.Values{
		Raw: &corim.RawValue{Tag: corim.TagBytes, Value: r.rpv},
	}})
}

// references compares platform and realm with reference values. Executables are
// affirming only if both are proven, and nothing exposes the realm's memory.
func (v *verifier) references(a *verdict.Appraisal, in verifiers.Input, t *token, spki []byte) {
	a.Facts.Environments = reference.Names(t.platform.environment(), t.realm.environment())
	var authority []corim.Typed
	if in.References != nil {
		authority = []corim.Typed{corim.TaggedBytes(corim.TagPKIXKey, spki)}
	}
	platform := v.platformReferences(a, in, &t.platform, authority)
	realm, approved := v.realmReferences(a, in, &t.realm, authority)
	if platform == reference.Matched && realm == reference.Matched && a.Vector[verdict.RuntimeOpaque].Tier() == verdict.TierAffirming {
		appraisal.Lower(a, verdict.Executables, approved)
	}
}

// platformReferences judges software and configuration of the platform.
func (v *verifier) platformReferences(a *verdict.Appraisal, in verifiers.Input, p *platform, authority []corim.Typed) reference.State {
	s := armtoken.Software{
		Index: in.References, Environment: p.environment(), Key: keyComponent, Components: p.components,
		Extra: []reference.Item{{Name: "platform configuration", Key: corim.TextKey(keyConfig), Value: corim.Values{
			Raw: &corim.RawValue{Tag: corim.TagBytes, Value: p.config},
		}}},
		Authority: authority, Time: in.Time, Unsigned: v.unsigned, AnySigner: v.parameters.SignerIDs == SignersIgnore,
	}
	r := s.Compare()
	state := s.Judge(v.policy, a, r)
	proofs := map[string]any{}
	if state == reference.Matched {
		proofs[verdict.Executables.String()] = r.Proof(r.Findings[:len(p.components)]...)
	}
	config := r.Findings[len(p.components)]
	if groupConfig.Judge(v.policy, a, r, verdict.Configuration, config) == reference.Matched {
		appraisal.Lower(a, verdict.Configuration, verdict.ClaimApproved)
		proofs[verdict.Configuration.String()] = r.Proof(config)
	}
	if c := r.Claim(proofs); c != nil {
		a.Claims["platform_reference_values"] = c
	}
	return state
}

// realmReferences judges the realm. Its initial measurement must be proven, and
// what else the documents about it state. Where one triple holds as a whole, what
// only others speak of does not matter: triples are alternatives, and who states no
// personalization value accepts any. approved is 2 if the measurements at run time
// are proven too, else 3: what ran at boot is known, no more.
func (v *verifier) realmReferences(a *verdict.Appraisal, in verifiers.Input, realm *realm, authority []corim.Typed) (state reference.State, approved verdict.Claim) {
	r := reference.Compare(reference.Query{
		Index: in.References, Environment: realm.environment(), Items: realm.items(), Authority: authority, Time: in.Time, Unsigned: v.unsigned,
	})
	stated := func(f reference.Finding) bool { return f.State != reference.Unknown }
	if slices.ContainsFunc(r.Records, func(c corim.Record) bool { return v.unsigned || c.Source.Document().Signed() }) {
		stated = func(f reference.Finding) bool { return f.State == reference.Matched }
	}
	need, approved := r.Findings[:1:1], verdict.ClaimApproved
	for _, f := range r.Findings[1 : 1+remCount] {
		if !stated(f) {
			approved = verdict.ClaimApprovedBoot
			continue
		}
		need = append(need, f)
	}
	state = groupRealm.Judge(v.policy, a, r, verdict.Executables, need...)
	if rpv := r.Findings[1+remCount]; stated(rpv) {
		state = min(state, groupPersonalization.Judge(v.policy, a, r, verdict.Executables, rpv))
		need = append(need, rpv)
	}
	proofs := map[string]any{}
	if state == reference.Matched {
		proofs[verdict.Executables.String()] = r.Proof(need...)
	}
	if c := r.Claim(proofs); c != nil {
		a.Claims["realm_reference_values"] = c
	}
	return state, approved
}
