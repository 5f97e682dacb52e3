// SPDX-License-Identifier: Apache-2.0

package main

// intakeMutants are about partial results.
func intakeMutants() []mutant {
	const intake = "verdict/intake.go"
	return []mutant{
		in("MV-29 TH-3 MV-45 MV-44 MV-23 TH-1", "the signature of a result need not verify", "trust/jwt.go",
			"if err := verifier.Verify(key.Public, h.input, h.signature); err != nil {", "if err := verifier.Verify(key.Public, h.input, h.signature); err != nil && false {"),
		neverCase("MV-29", "a result is not older than the session", intake, "in.Now.Sub(h.issued) > in.MaxAge"),
		neverCase("MV-29", "a result is not from the future", intake, "h.issued.After(in.Now.Add(in.Skew))"),
		neverCase("MV-29", "a result ends when it says", intake, "!h.expires.IsZero() && in.Now.After(h.expires.Add(in.Skew))"),
		in("MV-29 MV-33", "a result is about the component that was asked for", intake,
			"if _, ok := h.submods[string(want.Label)]; !ok || want.Label == \"\" {", "for label := range h.submods {\n\t\twant.Label = evidence.Path(label)\n\t}\n\tif false {").
			and(intake, "\"github.com/assize/assize/internal/limits\"", "\"github.com/assize/assize/evidence\"\n\t\"github.com/assize/assize/internal/limits\""),
		never("MV-29 TH-2", "a result is about the evidence that was sent", intake,
			"subtle.ConstantTimeCompare(digest[:], want.Evidence[:]) != 1"),
		in("MV-29 MV-33", "a result repeats the request", intake, "{\"assize.scheme\", want.Scheme}, {\"assize.request\", want.Request},", "{\"assize.scheme\", want.Scheme},"),
		never("MV-33 TH-4", "a result of another session is refused, for its evidence, request or challenge", intake,
			"subtle.ConstantTimeCompare(digest[:], want.Evidence[:]) != 1").
			and(intake, "{\"assize.scheme\", want.Scheme}, {\"assize.request\", want.Request},", "{\"assize.scheme\", want.Scheme},").
			and(intake, "if subtle.ConstantTimeCompare([]byte(stated), []byte(encodeNonce(want.Nonce))) != 1 {", "if false {").
			and(intake, "if a.Freshness == FreshnessFresh && (", "if false && ("),
		in("MV-29", "a result is of the scheme that was asked", intake, "{\"assize.scheme\", want.Scheme}, {\"assize.request\", want.Request},", "{\"assize.request\", want.Request},"),
		never("MV-29", "a result judged the media type that was sent", intake,
			"canonicalType(p.mediaType) != canonicalType(want.MediaType)"),
		never("MV-29", "a result is for the time that was asked for", intake,
			"formatTime(p.verified) != formatTime(want.VerificationTime)"),
		never("MV-25 MV-26 MV-29", "a result answers the challenge that was given", intake,
			"subtle.ConstantTimeCompare([]byte(stated), []byte(encodeNonce(want.Nonce))) != 1"),
		never("MV-29", "a result names the rule of its challenge", intake, "p.nonceRule != want.NonceRule"),
		in("MV-29", "who says fresh has seen the challenge", intake, "if a.Freshness == FreshnessFresh && (", "if false && ("),
		never("MV-29", "a status is no better than its own vector", intake, "allowed.WorseThan(p.status)"),
		in("MV-28", "a result that says fresh has seen the challenge when it is signed", "verdict/partial.go",
			"if len(i.Nonce) == 0 || !bytes.Equal(i.Nonce, a.NonceSeen) {", "if len(i.Nonce) == 0 || !bytes.Equal(i.Nonce, i.Nonce) {"),
		never("MV-28", "a result is signed only with all that identifies it", "verdict/partial.go",
			"f.value == \"\""),
	}
}

// aggregateMutants are about the verdict on the whole.
func aggregateMutants() []mutant {
	const combine, quorum, aar, verify, part = "verdict/combine.go", "verdict/quorum.go", "verdict/aar.go", "verdict/aarverify.go", "verdict/aarcomponent.go"
	return []mutant{
		in("MV-08", "a cap lowers the verdict", combine, "capped = Worst(capped, c.Tier.known())", "_ = c.Tier.known()"),
		in("MV-08", "a reason of the lead lowers its component", combine, "t = Worst(t, ReasonCeiling(r.Code))", "_ = r"),
		in("MV-08 PAR-7", "a bad component lowers the verdict", combine, "sourced = Worst(sourced, c.effect())", "_ = sourced"),
		in("MV-09", "what the lead says stands in the signed verdict", aar, "Caps: append([]Cap{}, r.Caps...)", "Caps: []Cap{}"),
		in("MV-09", "results stand in the verdict as they were signed", aar,
			"out = append(out, c.Partial.token...) // base64url and dots", "out = append(out, \"e30\"...)"),
		in("MV-10", "the verdict is in the bundle", "verdict/bundle.go", "b.Verdict, evidence.IndResults", "b.Evidence, evidence.IndResults"),
		in("MV-10", "the verdict goes to whoever asked", "api/api.go", "\ts.remember(w, r, a)\n\ts.answer(w, r, forms, a)\n", "\ts.remember(w, r, a)\n\t_ = forms\n"),
		in("MV-23 MV-50", "a key signs for its role alone", "trust/anchors.go", "if !ok || !slices.Contains(k.Roles, role) {", "if !ok {"),
		in("MV-23", "a verdict ends with its time", verify, "if why := in.stale(h, in.IgnoreAge); why != \"\" {", "if why := in.stale(h, in.IgnoreAge); why == \"?\" {"),
		in("TH-1 MV-44 MV-45", "a verdict is no better than its results and caps", aar,
			"if why := r.Outcome.betterThan(Combine(r.Components, r.Caps)); why != \"\" {", "if why := r.Outcome.betterThan(Combine(r.Components, r.Caps)); why == \"?\" {"),
		in("TH-1 MV-44 MV-45", "a flat copy is what the result in the verdict says", part, "if !reflect.DeepEqual(want, flat) {", "if !reflect.DeepEqual(want, want) {"),
		never("TH-1 MV-44 MV-45", "components, results and copies in a verdict are the same set", part,
			"len(v.head.submods) != len(statements)+1"),
		never("TH-1", "a component is asked with the nonce of the session where its rule says so", aar,
			"c.NonceRule == ruleSame && !c.Partial.IsZero() && !slices.Equal(c.Nonce, r.Nonce)"),
		in("PAR-5 PAR-7", "the worst of redundant answers counts", quorum, "t = Worst(t, p.status.known())", "_ = p.status.known()"),
		in("PAR-5", "disagreement of redundant verifiers is said", quorum,
			"out = append(out, Reason{Code: ReasonDisagreement, Detail: strings.Join(tiers, \", \")})", "_ = strings.Join(tiers, \", \")"),
		never("PAR-5", "a signed verdict may not leave disagreement out", quorum,
			"!slices.ContainsFunc(c.Reasons, func(s Reason) bool { return s.Code == r.Code })"),
		in("PAR-4 PAR-6 PAR-7", "too few redundant answers are none", quorum, "case n == 0, n < c.Quorum:", "case n == 0:").
			and(quorum, "case n < min(c.Quorum, c.Asked):", "case n < 0:"),
		in("PAR-4 PAR-6 PAR-7", "a redundant answer that is missing caps at warning", quorum, "case n < c.Asked:\n\t\treturn Worst(t, TierWarning)", "case n < 0:\n\t\treturn Worst(t, TierWarning)").
			and(quorum, "case n < c.Asked:\n\t\tr.Code = ReasonQuorumIncomplete", "case n < 0:\n\t\tr.Code = ReasonQuorumIncomplete"),
		neverCase("PAR-5 PAR-4", "a verifier that answers twice counts once", quorum,
			"slices.ContainsFunc(c.Partials(), p.sameVerifier)"),
		never("PAR-5", "a signed verdict names no verifier twice", quorum,
			"slices.ContainsFunc(all[:i], p.sameVerifier)"),
		in("PAR-6", "a silent verifier is explained", quorum,
			"r.Detail += \": \" + strings.Join(why, \"; \")", "_ = strings.Join(why, \"; \")"),
	}
}
