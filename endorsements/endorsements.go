// SPDX-License-Identifier: Apache-2.0

// Package endorsements holds collateral of the vendors: signed statements that
// schemes check themselves, loaded once and immutable afterwards. Begin with
// LoadDir.
package endorsements

// Bundle is an immutable set of collateral. The zero value and nil are empty.
type Bundle struct {
	intel []IntelCollateral
}

// IntelCollateral is one set of Intel DCAP collateral, each part byte for byte
// as Intel signed it.
type IntelCollateral struct {
	// Name is where it came from, for messages.
	Name string
	// TCBInfo and QEIdentity are the exact signed JSON values; the signatures
	// are hexadecimal r||s.
	TCBInfo             []byte
	TCBInfoSignature    string
	TCBInfoIssuerChain  []byte // PEM
	QEIdentity          []byte
	QEIdentitySignature string
	QEIdentityChain     []byte // PEM
	PCKCRL              []byte // DER
	PCKCRLIssuerChain   []byte // PEM
	RootCACRL           []byte // DER
	// FMSPC is taken from TCBInfo, lower-case hexadecimal, to find the set.
	FMSPC string
	// Digest is the SHA-256 over all parts; caches are keyed by it.
	Digest [32]byte
}

// IntelTDX returns the sets for one FMSPC (lower-case hexadecimal) in the
// order in which they were loaded.
func (b *Bundle) IntelTDX(fmspc string) []IntelCollateral {
	if b == nil {
		return nil
	}
	var out []IntelCollateral
	for _, c := range b.intel {
		if c.FMSPC == fmspc {
			out = append(out, c)
		}
	}
	return out
}
