// SPDX-License-Identifier: Apache-2.0

package main

// nodeMutants are about signed and sealed requests to verifiers, introductions,
// records, and the ways that results take.
func nodeMutants() []mutant {
	const guard, protect, exposed, introduce = "verifiers/guard.go", "verifiers/protection.go", "orchestrator/exposed.go", "orchestrator/introduce.go"
	const records, check, ways, places, paths = "orchestrator/audit.go", "audit/check.go", "orchestrator/provenance.go", "orchestrator/places.go", "topologies/paths.go"
	return []mutant{
		in("MV-11", "a lead with a name signs its requests", protect, "if p == nil || !p.signs(c) {", "if p == nil || p.signs(c) || true {"),
		neverCase("MV-12 MV-41", "a guarded verifier refuses what is unsigned", guard, "!signed && g != nil && !g.o.Anyone"),
		in("MV-12", "a request is signed by the node that it names", guard,
			"if name := g.name(o.KID, now); name != o.From {", "if name := g.name(o.KID, now); name == \"?\" {"),
		neverCase("MV-27", "a request is for one verifier", guard, "o.To != \"\" && !slices.Contains(g.o.Names, o.To)"),
		neverCase("MV-12", "a request ends with its time", guard, "now.After(o.Expires.Add(limits.ClockSkew))"),
		in("MV-15 MV-44", "a hop that is shown the composite verifies it", exposed,
			"tree, err := evidence.Parse(env.Evidence, evidence.Options{Limits: o.o.Limits, Keys: o.o.LeadKeys})",
			"tree, err := evidence.Parse(env.Evidence, evidence.Options{Limits: o.o.Limits, UnverifiedSignaturesUnsafe: true})"),
		never("MV-15", "what a hop is to judge is in the composite that it is shown", exposed, "sha256.Sum256(p.Evidence) != c.Digest"),
		in("MV-36", "a node that does not introduce itself gets nothing", introduce,
			"return o.met.wait(ctx, name, keys.Mark(), func() (time.Time, error) { return o.meet(ctx, node) })", "_ = keys.Mark\n\treturn nil"),
		never("MV-36", "the evidence of a node is as good as is required", introduce,
			"tier != verdict.TierAffirming && (tier != verdict.TierWarning || need != verdict.TierWarning)"),
		in("MV-36", "the evidence of a node speaks for all of its keys", introduce,
			"if open := known.Without(a.Keys); len(open) > 0 {", "if open := known.Without(a.Keys); len(open) < 0 {"),
		in("MV-36", "a node answers nobody who has not introduced himself", "orchestrator/answer.go",
			"o.attested(ctx, sender.Name) != nil {", "o.attested(ctx, sender.Name) != nil && false {"),
		in("MV-40", "an appraisal is recorded", "orchestrator/audit.go",
			"return o.auditVerdict(ctx, r, t, time.Since(start), res, err)", "_ = start\n\treturn res, err"),
		in("MV-40 MV-43", "nothing goes out without a record where that is required", records,
			"return fmt.Errorf(\"%w: %w\", ErrAudit, err)", "_ = fmt.Sprint\n\treturn nil"),
		neverCase("MV-40", "a record stands behind the one before it", check, "r.Previous != rep.Head"),
		neverCase("MV-40", "a checkpoint is about the record before it", check, "cp.Head != r.Previous"),
		in("MV-43", "what a node does for others is recorded", "orchestrator/answer.go",
			"return o.auditRelay(ctx, message, t, time.Since(start), answer, err)", "_ = start\n\treturn answer, err"),
		in("MV-24", "every node on the way has signed for it", ways, "if why := r.o.hop(receipts, r.session, request, path[:n]); why != \"\" {",
			"if why := r.o.hop(receipts, r.session, request, path[:n]); why == \"?\" {"),
		never("MV-24 TH-7", "a result that came by another way does not count", "orchestrator/relay.go", "wrong != \"\""),
		in("MV-24", "a relying party looks for the signatures of the nodes on the way", places, "if !signed {", "if false && !signed {"),
		in("MV-13 TH-6", "a relying party that knows the nodes takes results of each at its own place", places,
			"if _, ok := n.Verifiers().Verifier(kid, p.Scheme(), at); !ok {", "if _, ok := n.Verifiers().Verifier(kid, p.Scheme(), at); !ok && false {"),
		never("MV-42", "a relying party refuses ways that its policy does not have", places, "!policy.Allows(string(c.Label), path)"),
		never("MV-42 TH-7", "a node sends nothing by ways that its policy does not have", paths, "len(path) > 1 && !s.in.Paths.Allows(string(st.Label), path)"),
		never("MV-42", "a way of a policy is held to its nodes", paths, "w != anyNode && w != path[i]"),
		in("MV-38 MV-48", "requests are sealed to who has a key", "fabric/caller.go", "if keys = append(keys, nil); sealed {", "if keys = append(keys, nil); sealed && false {"),
		never("MV-48", "nothing is sent without a key where sealing is required", protect, "!ok && p.edge(to).Seal == SealAlways"),
		in("MV-35", "HTTP clients show a certificate where that is configured", "cmd/assize/listen.go",
			"tls.RequireAndVerifyClientCert", "tls.RequestClientCert"),
		in("PAR-7", "a collected result need not be signed by who is trusted", "orchestrator/collected.go",
			"p, err = verdict.VerifyPartial(token, want, c.in.Intake, c.in.Anchors)", "p, err = verdict.Partial{}, nil\n\t\t\t_ = want"),
	}
}
