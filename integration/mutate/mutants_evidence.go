// SPDX-License-Identifier: Apache-2.0

package main

func evidenceMutants() []mutant {
	const parse, signed = "evidence/parse.go", "evidence/signed.go"
	return []mutant{
		in("MV-01 MV-02 MV-15 MV-44 MV-11 MV-27 TH-2", "the signature of a signed message need not verify", signed,
			"if check(pub) != nil {", "if check(pub) != nil && false {"),
		in("MV-01 MV-15 MV-44 MV-12 MV-46", "the key of a signed message need not be known", signed,
			"if p.opt.UnverifiedSignaturesUnsafe {", "if fitting == 0 || p.opt.UnverifiedSignaturesUnsafe { return &Signer{KID: kid, Alg: alg, Verified: true}, nil }\n\tif false {").
			and(signed, "if fitting > 0 {", "if fitting > 0 && false {"),
		in("MV-03", "an unsigned composite is allowed where keys are known", parse,
			"if err := p.ratsdCollection(root); err != nil {",
			"if p.opt.Keys != nil && root.Kind() != KindSigned {\n\t\treturn nil, f.fail(RuleUntrusted, -1, \"not signed\")\n\t}\n\tif err := p.ratsdCollection(root); err != nil {"),
		never("MV-50", "a message has a largest size", parse, "len(raw) > p.lim.Composite"),
		in("MV-50", "a message has a largest number of leaves", parse, "p.count > p.lim.Leaves {", "p.count < 0 {"),
		never("MV-50", "a leaf has a largest size", parse, "size > p.lim.Leaf && !isCMW(mt)"),
		in("MV-27", "the signature of a TDX quote need not verify", "verifiers/internal/dcap/chain.go",
			"return ecdsa.Verify(key,", "return true || ecdsa.Verify(key,"),
		in("MV-27", "the signature of a GPU report need not verify", "verifiers/internal/nvidia/verify.go",
			"return ecdsa.Verify(key,", "return true || ecdsa.Verify(key,"),
		never("MV-28", "a verifier has a key for each of its schemes", "verifiers/node.go",
			"o.Signers[sc.Name] == nil"),
		in("MV-28", "a result is signed with the key of its scheme", "verifiers/node.go",
			"token, err := verdict.SignPartial(n.o.Signers[sc.Name],",
			"signer := n.o.Signers[sc.Name]\n\tfor name, s := range n.o.Signers {\n\t\tif name != sc.Name {\n\t\t\tsigner = s\n\t\t}\n\t}\n\ttoken, err := verdict.SignPartial(signer,"),
		in("MV-49", "a verifier keeps the words of its errors to itself", "verifiers/node.go",
			"return a, &Refusal{Code: 500, Text: \"internal\", err: err}", "return a, &Refusal{Code: 500, Text: err.Error(), err: err}"),
		in("MV-49", "a verifier keeps the words of a panic to itself", "verifiers/node.go",
			"err = &Refusal{Code: 500, Text: \"internal\", err:", "err = &Refusal{Code: 500, Text: fmt.Sprint(p), err:"),
	}
}
