// SPDX-License-Identifier: Apache-2.0

package main

import "slices"

// spdmMutants are about PCIe devices that answer SPDM.
func spdmMutants() []mutant {
	return slices.Concat(spdmIdentityMutants(), spdmSignatureMutants(), spdmStateMutants(), tdispMutants(), tokenMutants())
}

// spdmIdentityMutants are about anchors, chains, slots and leaf certificates.
func spdmIdentityMutants() []mutant {
	const (
		anchors, identity, verify   = "verifiers/spdm/anchors.go", "verifiers/spdm/identity.go", "verifiers/spdm/verify.go"
		scheme, validate, signature = "verifiers/spdm/scheme.go", "verifiers/spdm/validate.go", "verifiers/spdm/signature.go"
	)
	return []mutant{
		in("G-59", "a root vouches for the slots that it was named for", identity, "a.Certificate != nil && a.Slots>>slot&1 != 0", "a.Certificate != nil"),
		in("G-59", "a root that is named for no slot vouches for slot 0 alone", anchors, "return SlotFactory", "return ^Slots(0)"),
		in("G-59", "a root of a simulated machine vouches for slot 0 alone", anchors, "Anchor{c, SlotFactory}", "Anchor{c, ^Slots(0)}"),
		in("G-59", "a root vouches for the makers that it was named for", validate, "v.when(a, !v.speaksFor(id), findManufacturer", "v.when(a, !v.speaksFor(id) && false, findManufacturer"),
		in("G-59", "of two anchors with one name and key that counts which the root hash names", identity, "if id.Path == nil || named(p[len(p)-1]) {", "if id.Path == nil {"),
		gone("G-59", "the root hash in a chain is that of its root", identity, "want := v.BaseHash.sum(anchor.Raw)", "!bytes.Equal(want, c.RootHash)"),
		in("G-59", "the path to a root leads through every certificate of a chain", identity,
			"len(p) >= 2 && len(p) >= len(want) && len(p) <= len(want)+1 && slices.EqualFunc(p[:len(want)], want, (*x509.Certificate).Equal)", "len(p) >= 2"),
		neverCase("G-59", "a leaf for requesters alone is none of a responder", identity, "requester && !responder"),
		neverCase("G-59", "a leaf is no CA", identity, "x.IsCA"),
		never("G-59", "in the alias model no leaf has the identity of the hardware", identity, "leaf && id.Model == ModelAlias"),
		neverCase("G-59", "a certificate model that nobody signed relaxes no rule", verify, "!s.out.DigestsSigned && d.Model != ModelAlias"),
		in("G-59", "a device with alias certificates has alias certificates", verify, "if c := s.otherModel(); c == ModelAlias || m == ModelGeneric {", "if c := s.otherModel(); m == ModelGeneric {"),
		neverCase("G-59", "the key of a slot may sign measurements", verify, "d.Usage&UsageMeasurement == 0"),
		gone("G-60", "a chain has the digest that the device reports", verify, "want := s.v.BaseHash.sum(chain)", "!bytes.Equal(want, d.Digest)"),
		never("G-59", "the key of a leaf is of the negotiated algorithm", signature, "!fits"),
		in("G-59", "a chain that was verified before is valid at the time", scheme, "ok && id.validAt(x.Time)", "ok"),
		in("G-59", "a chain that was verified before is of the same slot", anchors, "append(out, k.slot, byte(k.model)", "append(out, 0, byte(k.model)"),
		gone("G-59", "a certificate on a revocation list is revoked", "verifiers/spdm/revocation.go",
			"e, ok := checked.revoked[string(c.SerialNumber.Bytes())]", `ok && s.revoked == ""`),
	}
}

// spdmSignatureMutants are about what the device signs.
func spdmSignatureMutants() []mutant {
	const verify, signature, judge, transcript = "verifiers/spdm/verify.go", "verifiers/spdm/signature.go", "verifiers/spdm/judge.go", "verifiers/spdm/transcript.go"
	return []mutant{
		never("G-60", "the signature of a device verifies", signature, "!valid"),
		in("G-60", "the signing prefix is that of the negotiated version", signature, `'0'+byte(v>>4), '.', '0'+byte(v&0x0F), '.', '*')`, `'1', '.', '2', '.', '*')`),
		in("G-60", "the signing prefix is for one purpose", signature, "out = out[:PrefixSize-len(p)] // the array is zero", `p = "responder-measurements signing"; out = out[:PrefixSize-len(p)]`),
		in("G-60", "the signature of a challenge is looked at", verify, "c.M1(s.v)...); err != nil {", "c.M1(s.v)...); err != nil && false {"),
		in("G-60", "the signature of measurements is looked at", verify, "g.L1(s.v)...); err != nil {", "g.L1(s.v)...); err != nil && false {"),
		in("G-60", "the signed nonce is the challenge", judge, "if subtle.ConstantTimeCompare(n, p.in.Nonce) != 1 {", "if len(n) != len(p.in.Nonce) {"),
		in("G-60", "a signed challenge of another time is not fresh", judge, "p.Challenge.Fresh = subtle.ConstantTimeCompare(n, p.in.Nonce) == 1", "p.Challenge.Fresh = true"),
		gone("G-60", "all measurements are signed by one slot", verify, "got := g.Last().Request.Slot", "got != s.slot"),
		gone("G-60", "challenge and measurements are signed by one slot", verify, "got := s.challenge.Request.Slot", "got != s.slot"),
		gone("G-60", "a challenge is about the chain of its slot", verify, "want := s.v.BaseHash.sum(s.out.Objects.Chain)", "!bytes.Equal(want, c.Response.ChainHash)"),
		in("G-60", "certificates that a challenge read are those of the chain", verify, "err := c.checkChains(s.v, s.e.Chains); err != nil {", "err := c.checkChains(s.v, s.e.Chains); err != nil && false {"),
		never("G-60", "every measurement is under a signature", transcript, "len(current.Exchanges) != 0"),
		gone("G-60", "one index has one block", verify, "seen := byIndex[b.Index]", "seen != nil && !bytes.Equal(seen.Raw, b.Raw)"),
		never("G-60", "no byte follows a message", "verifiers/spdm/reader.go", "r.err == nil && r.at != len(r.b)"),
	}
}

// spdmStateMutants are about measurements and what a device says of its state.
func spdmStateMutants() []mutant {
	const validate, table, references = "verifiers/spdm/validate.go", "verifiers/spdm/table.go", "verifiers/spdm/references.go"
	return []mutant{
		in("G-61", "a record that is not signed is no fact", "verifiers/spdm/verify.go", "\ts.out.Objects.Measurements = nil\n", ""),
		in("G-61", "a device that signs no measurements is found", validate, "v.find(a, findUnsigned,", "_ = fmt.Sprint(findUnsigned,"),
		in("G-80", "a reading of measurements that may not be whole is found", validate, "v.when(a, !p.whole(), findMissing", "v.when(a, false, findMissing"),
		in("G-61", "active debugging is found", validate, "v.when(a, m.Debug.Active(), findDebug", "v.when(a, m.Debug.Active() && false, findDebug"),
		in("G-61", "no policy affirms a device that is being debugged", table,
			"Effect: effect{hardware: bad, opaque: bad}, Floor: effect{hardware: warn, opaque: warn},", "Effect: effect{hardware: bad, opaque: bad},"),
		in("G-61", "debugging since reset is found", validate, "v.when(a, m.Debug&^(DebugNonInvasive|DebugInvasive) != 0, findDebugWas", "v.when(a, false, findDebugWas"),
		in("G-61", "an operational mode that is not normal is found", validate, "v.when(a, m.Operational != ModeNormal, findMode", "v.when(a, m.Operational&ModeNormal == 0, findMode"),
		in("G-61", "measurements that changed while they were read are found", validate, "v.when(a, p.Change == ChangeDetected, findChanged", "v.when(a, false, findChanged"),
		never("G-61", "a change is not forgotten for a later response", "verifiers/spdm/verify.go", "out.Change != ChangeDetected").
			and("verifiers/spdm/verify.go", "\t\tout.Nonce = last.Request.Nonce", "\t\tout.Nonce, out.Change = last.Request.Nonce, last.Response.Change"),
		neverCase("G-61", "what firmware says of its state counts only if the firmware is proven", references,
			"a.Vector[executables].Tier() != verdict.TierAffirming && a.Vector[executables].Tier() != verdict.TierNone"),
	}
}

// tdispMutants are about interface reports and who vouches for them.
func tdispMutants() []mutant {
	const (
		face, check, edge = "verifiers/spdm/interface.go", "verifiers/spdm/tsmcheck.go", "binding/tsm.go"
		log               = "verifiers/inteltdx/tdisp.go"
	)
	return []mutant{
		in("G-62", "a policy that wants no interface report without a relay is obeyed", face,
			"v.when(a, len(v.policy.Effect(findUnauthenticated)) > 0, findUnauthenticated", "v.when(a, false, findUnauthenticated"),
		in("G-62", "claims that rest on an interface report need a relay", face, "a.Facts.RelayRequired = true", "a.Facts.RelayRequired = false"),
		never("G-62", "digests of the security manager are those of the device", check, "!slices.ContainsFunc(forms, func(f []byte) bool { return bytes.Equal(hashOf(d.Hash, f), d.Value) })"),
		in("G-62", "an interface that is not bound is found", check, "if c.info.Bound != nil && !*c.info.Bound {", "if c.info.Bound != nil && !*c.info.Bound && false {"),
		never("G-62", "an interface is locked or running", check, "s != nil && *s != StateLocked && *s != StateRun"),
		in("G-62", "who says that a lock is off is believed", face, "case *l&f == 0:\n\t\t\treturn bitOff", "case *l&f == 0:"),
		in("G-62", "ranges are inside of the address space and do not overlap", face, "if err := r.CheckRanges(); err != nil {", "if err := r.CheckRanges(); err != nil && false {"),

		in("G-58", "a digest of something else contraindicates", edge, "case len(m.broken) > 0:\n\t\te.Status = StatusBroken", "case len(m.broken) > 0 && false:\n\t\te.Status = StatusBroken"),
		in("G-58", "digests that name a label are about that component", edge, "case len(m.broken) > 0 && subject == string(label):", "case false && subject == string(label):"),
		in("G-58", "digests are about a device only if one of them identifies it", edge,
			"if !slices.ContainsFunc(identifying, m.same) {\n\t\tm.bound, m.origin", "if false {\n\t\tm.bound, m.origin"),
		in("G-58", "the origin of an edge is that of its least digest", edge, "m.bound, m.origin = append(m.bound, c.Object), lesser(m.origin, c.Origin)", "m.bound, m.origin = append(m.bound, c.Object), OriginHardware"),
		neverCase("G-58 G-69", "digests count only if the software that measured them is known", "binding/binding.go", "slices.ContainsFunc(all, unknownSoftware)"),
		neverCase("G-58", "digests of a device vouch for a report only if one of them is of it", edge, "len(missing) > 0"),
		in("G-58", "the lead says of every report whether something vouches for it", "orchestrator/execute.go", "requireRelays(c.parts)", ""),
		never("G-58", "a relying party finds a report of which the lead says nothing", "orchestrator/reports.go", "!told(c, why.Code)"),
		in("G-58", "nothing good is said of the configuration of an interface without a relay", "verdict/unrelayed.go", "v[Configuration] = ClaimNoVisibility", "_ = ClaimNoVisibility"),
		in("G-58", "nothing good is said of the memory of an interface without a relay", "verdict/unrelayed.go", "v[RuntimeOpaque] = ClaimNone", "_ = ClaimNone"),
		in("G-58", "only what is measured into RTMR3 commits to a device", log, "p.Index != logRuntime || !p.Whole", "!p.Whole"),
		in("G-58", "only events that are measured as a whole commit to a device", log, "p.Index != logRuntime || !p.Whole", "p.Index != logRuntime"),
		in("G-58", "the last event about a device counts", log, "last[name] = list", "last[name] = append(last[name], list...)"),
	}
}

// tokenMutants are about Device Assignment Tokens.
func tokenMutants() []mutant {
	const check, token, scheme = "verifiers/spdm/eatdacheck.go", "verifiers/spdm/eatda.go", "verifiers/spdm/eatdascheme.go"
	return []mutant{
		gone("G-63", "what a token restates is what the device signed", "verifiers/spdm/judge.go", "lies := s.restated(p.Result)", "len(lies) > 0"),
		never("G-63", "a device in a token is called what its certificate calls it", token, "!slices.Contains(names, c.d.Name)"),
		in("G-63", "every measurement in a token is under the signature of its device", check,
			"c.contradict(\"measurement %d is not under the device's signature\", b.Index)", ""),
		neverCase("G-63", "a measurement in a token has the signed value", check, "!bytes.Equal(signed.Value, b.Value)"),
		neverCase("G-63", "a measurement in a token is of the signed type", check, "signed.Type != ValueType(b.Type)"),
		never("G-63", "the slot in a token is that of the request", check, "s.Slot != slot"),
		never("G-63", "the requester nonce in a token is the signed one", check, "!bytes.Equal(s.Requester, requester)"),
		gone("G-63", "the signing prefix in a token is that of the version", check, "want := Prefix(c.v.Version, p)", "want != nil && !bytes.Equal(s.Prefix, want)"),
		in("G-63", "the negotiation in a token is the signed one", token, "} else if !bytes.Equal(c.e.VCA, vca) {", "} else if false && !bytes.Equal(c.e.VCA, vca) {"),
		gone("G-63", "no certificate is that of two devices of a token", "verifiers/spdm/eatda/token.go", "other, dup := seen[string(leaf)]", "dup && other != d.Name"),
		neverCase("G-63", "a device without SPDM has no verdict", scheme, "d.Legacy != nil"),
	}
}
