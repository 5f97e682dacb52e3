// SPDX-License-Identifier: Apache-2.0

package main

func topologyMutants() []mutant {
	const plan, cascade, parallel, nonce = "topologies/plan.go", "topologies/cascade.go", "topologies/parallel.go", "topologies/nonce.go"
	return []mutant{
		in("MV-04", "components that no operand names are reported", plan, "\ts.leftovers()\n", ""),
		in("MV-05 MV-06", "the verifier is asked at the site that the label names", plan,
			"st.Candidates = s.in.Route(c.Scheme, e.Node)", "st.Candidates = s.in.Route(c.Scheme, \"\")"),
		in("MV-16 MV-48", "a component belongs to the node of the chain that its place names", plan,
			"s.via.relay+1, s.via.owner, e.Node", "s.via.relay+1, s.relays[s.via.relay].Node, e.Node"),
		never("MV-46", "an expression is carried out at the node that it is placed at", plan,
			"e.Head != Label && e.Node != \"\""),
		never("MV-04", "a component without any verifier is not dispatched", plan,
			"len(st.Candidates) == 0"),
		in("MV-24", "a part of a part belongs to the node that it is placed at", plan,
			"return s.ownedBy(node, inner, required)", "return s.expr(inner, required)"),
		in("MV-14 MV-16 MV-17 MV-21", "a chain is handed on with all that is left of it", cascade,
			"rest.Args = s.held(e.Args[i:], node)", "rest.Args = s.held(e.Args[i:i+1], node)"),
		in("MV-14 MV-21", "the next hop is the node of the next operand", cascade,
			"r, err := s.relayed(node, rest, required, needs)", "r, err := s.relayed(s.nodeOf(e.Args[len(e.Args)-1]), rest, required, needs)"),
		in("MV-18", "what nobody can dispatch is not handed on", cascade, "return e, st.Reason == nil", "return e, true"),
		never("MV-18 TH-7", "a chain that comes back to a node is refused", cascade,
			"slices.Contains(left, node) || node == s.in.Self"),
		in("MV-17", "a hop waits for the results before it", cascade, "needs = append(needs, st.Label)", "_ = needs"),
		in("MV-21", "the node behind a label is read", "topologies/parse.go", "\te.Node = node\n", "\t_ = node\n"),
		in("MV-31", "a challenge is derived from the nonce of the session", nonce,
			"return sha3.SumSHAKE256(session, n), nil", "return sha3.SumSHAKE256(session[:1], n), nil"),
		in("MV-31", "nothing is derived without a session nonce", nonce,
			"if len(session) == 0 {\n\t\treturn nil, fmt.Errorf(\"topologies: no session nonce to apply rule %q to\", rule)\n\t}\n\tif rule", "if false {\n\t\treturn nil, fmt.Errorf(\"topologies: no session nonce to apply rule %q to\", rule)\n\t}\n\tif rule"),
		never("PAR-1 MV-31 MV-32", "a nonce that fits is used as it is", nonce, "sessionLen == nonceSize"),
		in("MV-32", "a node takes the challenges that the sender has derived", plan,
			"if preset, ok := s.in.Preset[c.Label]; ok {", "if preset, ok := s.in.Preset[c.Label]; ok && false {"),
		in("PAR-3", "parts that run side by side do not wait for each other", plan,
			"r, err := s.relayed(node, inner, required, nil)", "var needs []evidence.Path\n\tfor _, st := range s.steps {\n\t\tneeds = append(needs, st.Label)\n\t}\n\tr, err := s.relayed(node, inner, required, needs)"),
		in("PAR-4", "all redundant verifiers have to answer where no quorum is given", parallel,
			"need = len(e.Args)\n", "need = 1\n"),
		in("PAR-4", "a quorum counts", parallel, "st.Quorum, st.Candidates = need, nil", "st.Quorum, st.Candidates = min(need, 1), nil"),
	}
}
