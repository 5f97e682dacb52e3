// SPDX-License-Identifier: Apache-2.0

package topologies

// optional plans its operands as parts that may be missing: without a verdict
// they cap the composite at warning, contraindicated they still decide it.
func (s *scope) optional(e Expr, _ bool) (Expr, error) {
	return s.args(e, false)
}
