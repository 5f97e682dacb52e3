// SPDX-License-Identifier: Apache-2.0

package main

// interconnectMutants are about devices that work with one another in clear.
func interconnectMutants() []mutant {
	const pairs, board, recheck = "binding/interconnect.go", "binding/fabric.go", "orchestrator/recheck.go"
	rule := func(removes, name string) mutant {
		return in("G-52", removes, board, "f."+name+", ", "")
	}
	return []mutant{
		in("G-52", "two devices are linked only if each names the other", pairs, "case there && back:", "case there || back:"),
		in("G-52", "every device that one names is attested", board, "if len(holders[id]) == 0 {", "if len(holders[id]) < 0 {"),
		rule("a device that is named says so too", "heard"),
		rule("all devices of an interconnect say that they work so", "mode"),
		rule("every device is linked with every switch", "complete"),
		rule("a board in protected PCIe is a whole one", "counts"),
		in("G-52", "devices of an interconnect are as good as the worst", board, "f.counts, f.tiers)", "f.counts)"),
		in("G-52 MV-08", "what links say lowers the verdict", pairs, "caps = append(caps, f.findings(parts)...)", "_ = f.findings(parts)"),
		in("G-52 G-26", "a lead says of an interconnect what its results give", recheck,
			"binding.Interconnects(again.Components)); err != nil {", "binding.Interconnects(again.Components)); err != nil && false {"),
	}
}

// nrasMutants are about the replies of NVIDIA's Remote Attestation Service.
func nrasMutants() []mutant {
	const reply, backend, identity = "verifiers/remote/nras/reply.go", "verifiers/remote/nras/backend.go", "verifiers/remote/nras/identity.go"
	return []mutant{
		in("G-57", "a token of the service is signed with ES384", reply, "return k, ok && k.Alg == trust.ES384", "return k, ok"),
		never("G-57", "a token of the service names the issuer", reply, `!missing("iss") && claims["iss"] != e.issuer`),
		in("G-57", "a token of the service answers the challenge", reply,
			"subtle.ConstantTimeCompare(nonce, e.nonce) != 1 {", "len(nonce) != len(e.nonce) {"),
		in("G-57", "the token of a device is the one in the overall token", reply,
			"subtle.ConstantTimeCompare(want, sum[:]) != 1 {", "len(want) != len(sum) {"),
		in("G-57", "a token of the service is of now", reply, "return e.inTime(times)", "return nil"),
		never("G-57", "a token of the service is about the device in the evidence", backend, "v != c.want"),
		never("G-57", "what the service does not sign is a fact only below a root of this scheme", identity, "!trusted[sha256.Sum256(root.Raw)]"),
	}
}
