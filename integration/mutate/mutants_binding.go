// SPDX-License-Identifier: Apache-2.0

package main

// relianceMutants are about who relies on a verdict.
func relianceMutants() []mutant {
	const check, own, rely = "relyingparty/check.go", "relyingparty/own.go", "orchestrator/rely.go"
	return []mutant{
		never("TH-4", "a relying party takes a verdict for its own nonce alone", check, "!o.NoNonce && !lead.HasNonce(o.Nonce)"),
		in("TH-4", "a relying party says how old a verdict may be", check, "o.MaxAge > 0 && age > o.MaxAge {", "false && age > o.MaxAge {"),
		in("TH-1 G-72", "a relying party repeats what follows from the results", check,
			"err := orchestrator.RecheckStated(c.lead, c.o.Schemes)", "err := error(nil)"),
		in("G-73", "a relying party holds a verdict to the evidence that it has", check,
			"err := orchestrator.RecheckEvidence(c.lead, c.o.Schemes, tree)", "err := error(nil)"),
		in("G-73", "that a composite is signed is nobody's word", check,
			"orchestrator.RecheckLeadSignature(c.lead, tree)", "c.lead.Lead != nil, error(nil)"),
		in("G-73", "without the evidence nobody has signed the composite", own, "Unsigned: !c.signed", "Unsigned: false"),
		in("G-73", "what cannot be repeated is a warning", own, "Caps: c.caps(p)", "Caps: nil"),
		in("G-72", "whether simulated machines will do is for the relying party", own, "Simulated: c.o.AllowSimulated, Unsigned", "Simulated: true, Unsigned"),
		in("G-72 MV-42", "a relying party demands what it wants", own, "Requirements: c.o.require()", "Requirements: nil"),
		in("G-72 MV-42", "a relying party judges by its own policy", own, "p := c.o.Policy\n", "p := orchestrator.Policy(nil)\n"),
		in("G-73", "what follows from the evidence is not believed without it", rely,
			"if errors.As(RecheckNonces(r), &needs) {", "if errors.As(RecheckNonces(r), &needs) && false {"),
		in("G-73", "that the CPU commits to others is the lead's word without the evidence", rely, "others != nil {", "others != nil && false {"),
		in("G-73", "to what else the CPU commits has to be said", rely, "hidden != nil {", "hidden != nil && false {"),
		never("G-73", "the key that signed the composite is the one that the verdict names", rely, "*own != *r.Lead"),
		never("G-73", "a composite for another session is said to be", rely,
			"caps == nil || !verdict.Combine(r.Components, append(slices.Clone(r.Caps), caps...)).Tier.WorseThan(r.Outcome.Tier)").
			and(rely, "return errors.New(\"orchestrator: the composite was made for another session nonce, and the verdict does not say so\")", "return nil"),
		in("G-72", "of a lead that does not say simulated none is taken", rely,
			"recheck(r, schemes, saysSimulated(r))", "recheck(r, schemes, true)"),
	}
}

// policyMutants are about policies for whole machines, and about what has to be
// there.
func policyMutants() []mutant {
	const judged, judge, stated, combine, complete = "orchestrator/policy.go", "orchestrator/judge.go", "verdict/policy.go", "verdict/combine.go", "verdict/complete.go"
	const engine, calls, findings, built = "policy/engine.go", "policy/builtins.go", "policy/findings.go", "policy/built.go"
	return []mutant{
		in("G-66 MV-08", "a policy that fails leaves no verdict", judged,
			"d = policy.Decision{Caps: []verdict.Cap{policyFailed(*r.Policy, err)}}", "_ = policyFailed"),
		in("G-66", "a policy that fails about components leaves no verdict", judged, "caps = append(caps, policyFailed(s, err))", "_ = policyFailed(s, err)"),
		in("MV-08", "what a policy lowers is lower", judged, "parts[i].Lowered = parts[i].Lowered.Lower(f.Lowered)", "_ = f.Lowered"),
		in("G-72", "a policy relaxes nothing but what can be relaxed", stated,
			"case slices.ContainsFunc(p.Accepts, func(code string) bool { return code != ReasonUnboundComponent }):",
			"case false && slices.ContainsFunc(p.Accepts, func(code string) bool { return code != ReasonUnboundComponent }):"),
		in("G-77", "who was not submitted is not there", complete, "return q.matches(c) && c.Evidence != [32]byte{} &&", "return q.matches(c) &&"),
		in("G-76", "nothing of an explanation reaches a terminal unescaped", "cmd/assize/internal/render/render.go",
			"if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {", "if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < len(s) {"),
		in("G-76", "what nobody verified is explained as such", "cmd/assize/explain.go", "\"Not verified: no keys were given (--trust), so whoever made the file may have chosen every word.\"", "\"\""),
		in("MV-08", "a policy judges the whole", judged, "r.Caps = append(r.Caps, d.Caps...)", "_ = d.Caps"),
		in("G-77", "demands of a policy are demands", judged, "r.Requirements = append(r.Requirements, j.policy.Requirements()...)", "_ = j.policy.Requirements"),
		in("PAR-7", "what evidence demands stays", judged, "append(demanded, j.Requirements...)", "append(demanded[:0], j.Requirements...)"),
		in("G-77", "whatever the lead holds against a machine stays", judged, "others: append(lasting(r), j.Caps...)", "others: append(lasting(r)[:0], j.Caps...)"),
		in("MV-08", "what is not there is missed", judge, "caps = append(caps, verdict.Complete(r.Requirements, r.Components)...)", "_ = verdict.Complete"),
		in("G-77", "an inventory that nobody vouches for is not known to be all", judge, "caps = append(caps, unvouched(r)...)", "_ = unvouched"),
		in("G-77", "a verdict demands what the inventory says", "orchestrator/recheck.go", "err := recheckInventory(r, tree);", "err := error(nil);"),
		neverCase("G-72", "no machine is accepted that is worse than acceptable", stated, "p.Accepted && r.Outcome.Tier.WorseThan(p.Acceptable)"),
		in("MV-08", "a good word of a policy counts for nothing", stated, "case c == ClaimNone, c.Tier() == TierAffirming:", "case c == ClaimNone:"),
		in("MV-08", "claims that a policy lowered count", combine, "if claim != ClaimNone {", "if claim != claim {"),
		neverCase("MV-08 G-77", "too few components leave no verdict", complete, "n < least"),
		neverCase("G-77", "too many components are a warning", complete, "n > most"),
		in("G-77", "who nobody expects is a warning", complete, "if extra != nil {", "if extra != nil && len(extra) < 0 {"),
		in("G-77", "evidence does not say who is expected", complete, "return q.Source == SourceLeadEvidence })\n\tif len(knows) == 0 {", "return false })\n\tif len(knows) == 0 {"),
		in("G-66", "a policy asks nobody over the network", calls, "\"time.parse_duration_ns\",", "\"http.send\", \"time.parse_duration_ns\","),
		in("G-66", "a policy has no clock", calls, "\"time.parse_duration_ns\",", "\"time.now_ns\", \"time.parse_duration_ns\","),
		in("G-66", "a policy is stopped", engine, "bounded, stop := context.WithTimeout(ctx, e.budget)", "bounded, stop := context.WithTimeout(ctx, e.budget+time.Hour)"),
		never("G-84", "a policy has so many rules, expressions and values", built, "c.n > c.most"),
		never("G-84", "what rules collect is counted", built, "h.RuleKind() == ast.MultiValue"),
		in("G-84", "no pattern that cannot be counted is unified", built, "if composite(operands[n]) && !scalars(operands[n]) {", "if composite(operands[n]) && !scalars(operands[n]) && false {"),
		in("G-84", "no pattern that cannot be counted stands in brackets", built, "if composite(part) && !scalars(part) {", "if composite(part) && !scalars(part) && false {"),
		never("G-84", "patterns for what a function returns are small", built, "n > maxOpen"),
		in("G-84", "what functions put together is counted", calls, "case *ast.Array, ast.Object: // put together of the operands", "case ast.Object: // put together of the operands"),
		in("G-66", "a finding is about a component that is there", findings,
			"if !slices.ContainsFunc(r.Components, func(c verdict.Component) bool { return c.Label == f.Label }) {",
			"if false && !slices.ContainsFunc(r.Components, func(c verdict.Component) bool { return c.Label == f.Label }) {"),
	}
}

// bindingMutants are about what joins components to one machine: one for each
// comparison, and the rules of the graph.
func bindingMutants() []mutant {
	const graph, nonce, report, key, lead = "binding/binding.go", "binding/nonce.go", "binding/reportdata.go", "binding/attestedkey.go", "binding/leadsignature.go"
	const interconnect, told, tpm, relays = "binding/interconnect.go", "verdict/unrelayed.go", "verifiers/tcgtpm/scheme.go", "orchestrator/reports.go"
	const events, digests, chain, platform, identity = "binding/eventlog.go", "binding/tsm.go", "binding/dice.go", "binding/platform.go", "binding/identity.go"
	return []mutant{
		in("G-68", "an edge of a common nonce needs that nonce on both sides", nonce, "if fresh(c.root) && fresh(p) {", "if fresh(c.root) || fresh(p) {"),
		in("G-68", "report data that are something else are a contradiction", report, "case verdict.FreshnessMismatch:", "case verdict.Freshness(-1):"),
		in("G-68 G-70", "report data commit to what they say", report, "case verdict.FreshnessFresh:", "case verdict.FreshnessFresh, verdict.FreshnessNotEstablished:"),
		in("G-68 G-69", "a committed key is the one that signed", key, "if k.SPKI == used[0] {", "if k.SPKI != \"\" {"),
		in("G-68", "a TPM of another machine is a contradiction", key, "if len(others) == 0 {", "if len(others) >= 0 {"),
		in("G-69", "the key that signed the whole is the one that the CPU commits to", lead,
			"return len(own) > 0 && !slices.Contains(own, spki)", "return false && len(own) > 0 && !slices.Contains(own, spki)"),
		never("G-68", "measured evidence is the evidence received", events, "m.Digest != e.Observed"),
		in("G-69", "every verifier has to have found the event", events, "found = found && ok", "found = found || ok"),
		in("G-68", "digests of a device are those of its objects", digests, "case objects[i].Digest == c.Digest:", "case objects[i].Digest != \"\":"),
		in("G-69", "equal digests identify a device", digests, "if !slices.ContainsFunc(identifying, m.same) {", "if !slices.ContainsFunc(identifying, m.same) && false {").
			and(digests, "if !slices.ContainsFunc(identifying, out.same) {", "if !slices.ContainsFunc(identifying, out.same) && false {"),
		in("G-71", "a chain joins by keys that are equal", chain, "slices.Contains(a.chain, b.signers[0])", "len(a.chain) > 0"),
		in("G-71", "two TEEs are of one platform only if they say so", platform, "if slices.Contains(b.platforms, id) {", "if len(b.platforms) > 0 {"),
		in("G-71", "TEEs of one platform have launched something else", platform, "|| !otherInstance(a, b) {", "|| !otherInstance(a, b) && false {"),
		in("G-71", "one device under two labels is refused", identity, "if other == p || hit[other.Label] || onePlatform(other, p) == id {", "if true || other == p || hit[other.Label] || onePlatform(other, p) == id {"),
		in("G-69", "what is bound to nothing vouches for nobody", graph, "if e.Mutual() && reached[e.From] && !reached[e.To] {", "if reached[e.From] && !reached[e.To] {"),
		in("G-69", "only strong edges join to the root", graph, "if e.Strength != StrengthStrong || e.Status != StatusBound {", "if e.Status != StatusBound {"),
		in("G-69", "a TD's software names the key that signs its composites", "verifiers/inteltdx/runtime.go", `{hcl.LeadKey, "lead-key"}`, `{hcl.LeadKey, "runtime-data"}`),
		in("G-69", "the key that signs composites is no key of a component", lead, "if !slices.ContainsFunc(a.Facts.Keys, lead) {", "if true || !slices.ContainsFunc(a.Facts.Keys, lead) {"),
		in("G-81", "devices vouch for nobody with keys", key, "if !vouches(holder) || !slices.ContainsFunc(", "if !slices.ContainsFunc("),
		never("G-81", "devices vouch for nobody with what they measured", events, "!vouches(holder)"),
		in("G-81", "layers of a device are of one scheme", chain, "|| i == j || a.Scheme != b.Scheme {", "|| i == j {"),
		in("G-81", "a device with two identities is linked to nobody", interconnect, "slices.Contains(w.ids, id) && w.only(kindOf(id))", "slices.Contains(w.ids, id)"),
		in("G-82", "a verifier that was told to rely on the CPU says so", tpm, "|| good && !w.vouched()", "|| false && good && !w.vouched()"),
		in("G-82", "a key that the CPU has to vouch for is looked for", key, "if !slices.ContainsFunc(p.all, needsKey) {", "if true || !slices.ContainsFunc(p.all, needsKey) {"),
		neverCase("G-82", "the CPU commits to the key of a TPM on whose word it is taken", key, "!found || e.Status != StatusBound").
			and(key, "case e.Strength != StrengthStrong:", "case found && e.Status == StatusBound && e.Strength != StrengthStrong:"),
		neverCase("G-82", "what commits to such a key is known software", key, "e.Strength != StrengthStrong"),
		in("G-82", "what a TPM says with a key for which nobody vouches is not believed", told, "return c.told(ReasonKeyNotVouchedFor) }", "return c.told(ReasonKeyNotVouchedFor) && false }"),
		in("G-82", "no lead keeps silent about a key for which nobody vouches", relays, "if !told(c, why.Code) {", "if !told(c, why.Code) && false {"),
		in("G-82", "who aggregates results looks for the key again", relays,
			"code == verdict.ReasonReportUnauthenticated || code == verdict.ReasonKeyNotVouchedFor", "code == verdict.ReasonReportUnauthenticated"),
		in("MV-08", "what a policy lowered is lowered for binding too", graph, "a.Vector = c.VectorOf(a.Vector)", "_ = c.Lowered"),
	}
}

// formatMutants are about forms of results, conventions of composites, and bundles
// that are replayed.
func formatMutants() []mutant {
	const p04, cwt, items, replay, rules, judge = "verdict/p04verify.go", "trust/cwt.go", "verdict/bundleitems.go", "cmd/assize/replay.go", "topologies/nonce.go", "orchestrator/judge.go"
	return []mutant{
		never("G-64", "the status that P04 says twice is one", p04, "s.status != r.Outcome.Tier.String()"),
		never("G-64", "the policies that P04 names are that of the verdict", p04, "!reflect.DeepEqual(s.policies, want)"),
		never("G-64", "the topology of P04 is what the bindings give", p04, "!reflect.DeepEqual(s.topology, topology)"),
		in("G-65", "no token has names of two profiles", p04, "if strings.HasPrefix(name, \"ear.\") || strings.HasPrefix(name, \"assize.\") {",
			"if false && strings.HasPrefix(name, \"ear.\") {"),
		never("G-64", "a CWT has no headers that nobody signed", cwt, "len(m.Headers.Unprotected) > 0"),
		in("G-64", "a CWT has one spelling", cwt, "err != nil || !bytes.Equal(again, inner) {", "err != nil || again == nil {"),
		never("G-64", "a header that is not understood is refused", cwt, "!acceptedCOSE(label, v)"),
		in("G-64", "the signature of a CWT need not verify", cwt, "if err := m.Verify(nil, verifier); err != nil {", "if err := m.Verify(nil, verifier); err != nil && false {"),
		in("G-64", "a key verifies its own algorithm alone", cwt, "err != nil || alg != want {", "err != nil || want == 0 {"),
		in("G-75", "runtime data for another session contraindicate", judge, "if d := tree.RuntimeData(); d != nil && nonce != nil && !sameNonce(d.Nonce(), nonce) {",
			"if d := tree.RuntimeData(); d != nil && false {"),
		in("G-75", "Trustee's commitment covers all that is there", rules, "case !path.Under(evidence.LabelAdditionalEvidence):", "case false:"),
		in("G-75", "Trustee's commitment is of the evidence received", rules, "return data.Report(session, c.Additional)", "return data.Report(session, nil)"),
		never("G-74", "replayed evidence is what the verdict signed", replay, "sha256.Sum256(p.bundle.Evidence) != r.Composite"),
		never("G-74", "a plan in a bundle is that of the verdict", replay, "i.Kind == verdict.ItemPlan && i.Digest != r.PlanDigest"),
		neverCase("G-74", "a policy in a bundle is that of the verdict", replay, "machine >= 0 && hex.EncodeToString(p.bundle.Items[machine].Digest[:]) != r.Policy.Digest"),
		never("G-74", "an item has the digest of the manifest", items, "len(n.Value()) != i.Size || sha256.Sum256(n.Value()) != i.Digest"),
		never("G-74", "no item lies beside the manifest", items, "!used[label]"),
		in("G-74", "what is replayed is never a signed verdict", replay, "if output != \"text\" && output != \"json\" {", "if output == \"\" {"),
	}
}
