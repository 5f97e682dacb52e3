// SPDX-License-Identifier: Apache-2.0

package armtoken

// Lifecycle is a security lifecycle claim: the state in the upper byte, what an
// implementation makes of it in the lower one (RFC 9783, section 4.3.1; DEN0137
// has the same numbers for CCA).
type Lifecycle uint16

// State is what a lifecycle stands for.
type State byte

// States. Other numbers are Reserved.
const (
	Reserved State = iota
	Unknown
	AssemblyAndTest
	Provisioning
	Secured
	// OtherDebug: something outside of the root of trust can be debugged (non-PSA RoT
	// debug, non-CCA platform debug).
	OtherDebug
	// RecoverableDebug: the root of trust itself can be.
	RecoverableDebug
	Decommissioned
)

// State is the state of a lifecycle.
func (l Lifecycle) State() State {
	if hi := l >> 8; hi&0xf == 0 && hi <= 0x60 {
		return Unknown + State(hi>>4)
	}
	return Reserved
}

// String names a state as RFC 9783 does.
func (s State) String() string {
	names := [...]string{
		"reserved", "unknown", "assembly-and-test", "rot-provisioning", "secured", "non-rot-debug", "recoverable-rot-debug", "decommissioned",
	}
	return names[s]
}
