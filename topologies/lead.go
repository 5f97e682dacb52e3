// SPDX-License-Identifier: Apache-2.0

package topologies

// lead plans the hierarchical pattern (draft-ietf-rats-multi-verifier): every
// operand is appraised at once, and this node combines and signs. A bare
// "lead" takes every component that was submitted.
func (s *scope) lead(e Expr, required bool) (Expr, error) {
	if e.Args == nil {
		out := Expr{Head: Lead, Pos: e.Pos}
		for _, c := range s.in.Components {
			if _, taken := s.owned[c.Label]; taken {
				continue
			}
			s.own(c, e, required)
			out.Args = append(out.Args, Expr{Head: Label, Pattern: string(c.Label), Pos: e.Pos})
		}
		return out, nil
	}
	return s.args(e, required)
}
