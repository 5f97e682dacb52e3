// SPDX-License-Identifier: Apache-2.0

package main

func trustMutants() []mutant {
	const anchors, node, seal = "trust/anchors.go", "trust/node.go", "trust/seal.go"
	return []mutant{
		in("MV-13 MV-50 MV-30", "a verifier's key is for its schemes alone", anchors, "if !ok || !slices.Contains(k.Schemes, scheme) {", "if !ok {"),
		never("MV-30 MV-50", "an anchor ends with its time", anchors, "!k.NotAfter.IsZero() && now.After(k.NotAfter)"),
		never("MV-30", "an anchor has a role", anchors, "len(k.Roles) == 0"),
		never("MV-30", "the algorithm of an anchor is that of its key", anchors, "k.Alg != alg"),
		in("MV-30", "a set of anchors has no private keys", "trust/jwks.go", "if _, bad := m[name]; bad {", "if _, bad := m[name]; bad && false {"),
		in("MV-30", "two nodes have no key in common", node, "if other, taken := owners[id]; taken && other != name {", "if other, taken := owners[id]; taken && other == \"?\" {"),
		in("MV-13", "a key of a node makes results only with the role and the scheme for it", node,
			"if slices.Contains(k.Roles, RoleVerifier) {", "if true {").
			and(anchors, "if !ok || !slices.Contains(k.Schemes, scheme) {", "if !ok {"),
		in("MV-12 MV-22", "the signer of a message is a node with that role, in time", node,
			"k, ok := node.Keys.find(kid, RoleNode, now)", "k, ok := node.Keys.keys[kid]"),
		in("MV-41", "the keys of a node are read from its file", node, "n.Keys, err = nodeKeys(v)", "_, err = nodeKeys(v)"),
		never("MV-30", "a node has a key for messages", node, "!signs"),
		never("MV-39", "a key file that others can read is refused", "cmd/assize/keystore.go", "info.Mode().Perm()&0o077 != 0"),
		in("MV-39", "a key folder that others can write to is refused", "cmd/assize/keystore.go",
			"err != nil || folder.Mode().Perm()&0o022 != 0 {", "err != nil || folder == nil {"),
		in("MV-39", "libraries do not get the private key", "trust/signer.go",
			"h := handle{key: s.key, pub: s.pub}", "if s.key != nil {\n\t\treturn s.key\n\t}\n\th := handle{key: s.key, pub: s.pub}"),
		in("MV-48", "sealed evidence can be opened for its component alone", seal,
			"[]byte(i.Label), i.Nonce, i.Digest[:], []byte(i.To),", "nil, i.Nonce, nil, []byte(i.To),"),
		in("MV-48 MV-38", "what is sealed cannot be read", seal,
			"out, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), context, plain)", "_, _ = public, context\n\tout := append(make([]byte, k.Suite.Overhead()), plain...)").
			and(seal, "plain, err := hpke.Open(p.key, hpke.HKDFSHA256(), hpke.AES256GCM(), context, sealed)", "_ = context\n\tplain := sealed[over:]"),
	}
}
