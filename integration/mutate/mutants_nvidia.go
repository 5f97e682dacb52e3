// SPDX-License-Identifier: Apache-2.0

package main

// nvidiaMutants are about the collateral of NVIDIA's devices: manifests, the
// status of certificates, and where both come from.
func nvidiaMutants() []mutant {
	const (
		rim, chain, compare = "verifiers/nvidia/rim/signature.go", "verifiers/nvidia/rim/chain.go", "verifiers/nvidia/rim/compare.go"
		check, authorise    = "verifiers/nvidia/ocsp/check.go", "verifiers/nvidia/ocsp/verify.go"
		core                = "verifiers/internal/nvidia/"
		gpu                 = "verifiers/nvidiagpu/"
		fetch               = "endorsements/nvidia/nvidia.go"
	)
	return []mutant{
		never("G-53", "the signature of a manifest verifies", rim, "!ecdsa.Verify(key, sum[:], r, v)"),
		gone("G-53", "a manifest has the digest that is signed", rim, "got := sha512.Sum384(s.content)", "!bytes.Equal(got[:], s.digest)"),
		in("G-53", "the chain of a manifest ends in a pinned root", chain,
			"if root == nil {", "if root == nil {\n\t\troot = c.certs[last]\n\t}\n\tif root == nil {"),
		neverCase("G-53", "who signs a manifest has no certificate for another purpose", chain, "len(leaf.ExtKeyUsage) > 0 || len(leaf.UnknownExtKeyUsage) > 0"),
		neverCase("G-53", "a manifest is of the chip in the certificates", compare, "m.Product != chip"),
		neverCase("G-53", "a manifest is of the version of the driver in the report", compare, "m.Kind == Driver && m.Version != d.Driver"),
		never("G-53", "an issue of a manifest that a later one contradicts counts no more", compare, "withdrawn(m, list, all)"),
		never("G-79", "the version of a tag says which issue is later", compare, "m.TagID == other.TagID && m.TagVersion != other.TagVersion"),
		in("G-79", "of issues that fit the latest counts", compare, "young == old && !m.supersedes(best)", "young == old"),
		in("G-78", "a node asks services only about what its verifier has proved", "verifiers/renew.go",
			"p, ok := slot.current.Load().verifier.(Prover)", "p, ok := Prover(nil), slot == nil"),
		in("G-78", "services are asked only about devices that a root has certified and that signed", core+"needs.go",
			"p, _, err := v.anchors.establish(raw, at)\n\tif err != nil {\n\t\treturn nil", "p, _, err := v.anchors.establish(raw, at)\n\tif err != nil {\n\t\treturn v.kind.Needs(raw)"),
		never("G-53", "two manifests that speak of one measurement contradict each other", compare,
			"i > 0 && c.Findings[i-1].Index == f.Index && !slices.Contains(c.Conflicts, f.Index)"),
		gone("G-53", "the certificates of a manifest are valid at the time of the appraisal", core+"manifests.go",
			"err := t.manifest.ValidAt(p.Time)", "err != nil"),
		never("G-53", "who signs a manifest in the form of a CoRIM has a certificate for that alone", core+"corims.go",
			"leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0"),

		neverCase("G-54", "a response that says revoked counts", check, "n.proof != nil && r.status == Revoked"),
		neverCase("G-54", "a response counts until its end", check, "!r.next.IsZero() && q.at.After(r.next)"),
		neverCase("G-54", "a response has a greatest age", check, "q.policy.MaxAge < 0 || q.policy.MaxAge > 0 && q.at.Sub(r.this) > q.policy.MaxAge"),
		neverCase("G-54", "who answers for a CA has a certificate for that", authorise, "!slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning)"),
		in("G-54", "a device whose certificate is revoked is contraindicated", core+"revocation.go",
			"{findRevoked, isRevoked}, {findHold, isHeld}", "{findHold, isHeld}"),
		in("G-54", "a device whose status is not known is not affirmed", core+"revocation.go",
			"if why := r.in(isOpen); why != \"\" {\n\t\tfinding := findRevocationUnknown", "if why := r.in(isOpen); why != \"\" && false {\n\t\tfinding := findRevocationUnknown"),
		gone("G-54", "a manifest whose signer is revoked is not compared with", core+"manifests.go", "why := t.revocation.in(isRevoked)", "why != \"\""),

		in("G-55", "the firmware id in the report is that of the certificate", core+"judge.go",
			"match := bytes.Equal(signed, p.Chain.FWID.Digest)", "match := true || bytes.Equal(signed, p.Chain.FWID.Digest)"),
		in("G-55", "a transcript is about the device in the certificates", gpu+"fsp.go", "got != pdi {", "got != pdi && false {"),
		neverCase("G-55", "the report of a switch is about the switch in the certificates", "verifiers/nvidianvswitch/validate.go", `d.pdi != "" && d.pdi != p.Chain.ID.PDI`),
		in("G-56", "a hint of the collector satisfies no least version", gpu+"validate.go", "listed := p.VBIOS(d.vbios, a) &&",
			"if d.vbios == \"\" {\n\t\td.vbios = d.firmware\n\t}\n\tlisted := p.VBIOS(d.vbios, a) &&"),
		never("G-56", "the copy of a version beside the report is compared with the signed one", core+"judge.go",
			"c.said != \"\" && c.signed != \"\" && !strings.EqualFold(c.said, c.signed)"),

		in("G-50", "fetchers follow no redirect", "endorsements/internal/web/web.go", "return http.ErrUseLastResponse }", "return nil }"),
		neverCase("G-51", "an answer about a certificate repeats the nonce of its request", fetch, "subtle.ConstantTimeCompare(a.Nonce, nonce) != 1"),
		neverCase("G-51", "an answer is about the certificate that was asked about", fetch, "a.Item != i"),
		neverCase("G-51", "a reply is the manifest that was asked for", fetch, "m.ID != i.RIM"),
	}
}
