// SPDX-License-Identifier: Apache-2.0

package verdict

import "fmt"

// Tier is the trust tier of AR4SI and EAR. The numbers are the wire values of
// EAR; they do not order tiers (see WorseThan).
type Tier int8

// The zero value asserts nothing.
const (
	TierNone            Tier = 0
	TierAffirming       Tier = 2
	TierWarning         Tier = 32
	TierContraindicated Tier = 96
)

// String returns the EAR name: none, affirming, warning or contraindicated.
func (t Tier) String() string {
	switch t {
	case TierNone:
		return "none"
	case TierAffirming:
		return "affirming"
	case TierWarning:
		return "warning"
	case TierContraindicated:
		return "contraindicated"
	}
	return fmt.Sprintf("tier(%d)", int8(t))
}

// ParseTier is the inverse of String; any other word is an error.
func ParseTier(s string) (Tier, error) {
	switch s {
	case "none":
		return TierNone, nil
	case "affirming":
		return TierAffirming, nil
	case "warning":
		return TierWarning, nil
	case "contraindicated":
		return TierContraindicated, nil
	}
	return TierNone, fmt.Errorf("verdict: unknown tier %q", s)
}

// MarshalText implements encoding.TextMarshaler.
func (t Tier) MarshalText() ([]byte, error) {
	if _, err := ParseTier(t.String()); err != nil {
		return nil, err
	}
	return []byte(t.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Tier) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTier(string(b))
	return err
}

// rank orders tiers between components from good to bad (D-16): affirming,
// warning, none, contraindicated. An unknown number is as bad as it gets.
func (t Tier) rank() int {
	switch t {
	case TierAffirming:
		return 0
	case TierWarning:
		return 1
	case TierNone:
		return 2
	}
	return 3
}

// WorseThan reports whether t is worse than u between components (D-16).
func (t Tier) WorseThan(u Tier) bool { return t.rank() > u.rank() }

// Worst returns the worse of two tiers (D-16).
func Worst(t, u Tier) Tier {
	if t.WorseThan(u) {
		return t
	}
	return u
}

// Claim is one AR4SI trustworthiness claim, a signed 8-bit number.
type Claim int8

// Values that mean the same in every claim (AR4SI section 2.3.3).
const (
	ClaimNone           Claim = 0
	ClaimUnexpected     Claim = 1
	ClaimMalfunction    Claim = -1
	ClaimCryptoFailed   Claim = 99
	ClaimApproved       Claim = 2
	ClaimApprovedBoot   Claim = 3
	ClaimUnsafe         Claim = 32
	ClaimUnrecognized   Claim = 33
	ClaimNoVisibility   Claim = 36
	ClaimContraindicate Claim = 96
	ClaimUnknownDevice  Claim = 97
)

// Tier maps a claim value to its tier: standard and private ranges of AR4SI.
// 0, 1 and -1 give TierNone.
func (c Claim) Tier() Tier {
	switch {
	case c >= 96 || c <= -97:
		return TierContraindicated
	case c >= 32 || c <= -33:
		return TierWarning
	case c >= 2 || c <= -2:
		return TierAffirming
	}
	return TierNone
}

// ClaimName is one member of the trustworthiness vector; the number is its
// CBOR key.
type ClaimName uint8

// Members of the trustworthiness vector (AR4SI section 2.3.4).
const (
	InstanceIdentity ClaimName = iota
	Configuration
	Executables
	FileSystem
	Hardware
	RuntimeOpaque
	StorageOpaque
	SourcedData
	numClaims
)

var claimNames = [numClaims]string{
	"instance-identity", "configuration", "executables", "file-system",
	"hardware", "runtime-opaque", "storage-opaque", "sourced-data",
}

// String returns the JSON member name.
func (n ClaimName) String() string {
	if n >= numClaims {
		return fmt.Sprintf("claim(%d)", uint8(n))
	}
	return claimNames[n]
}

// ClaimNames lists all members in the order of their CBOR keys.
func ClaimNames() []ClaimName {
	out := make([]ClaimName, numClaims)
	for i := range out {
		out[i] = ClaimName(i)
	}
	return out
}

// ParseClaimName is the inverse of ClaimName.String.
func ParseClaimName(s string) (ClaimName, error) {
	for n, name := range claimNames {
		if name == s {
			return ClaimName(n), nil
		}
	}
	return 0, fmt.Errorf("verdict: %.32q is not a trustworthiness claim", s)
}

// Vector is a trustworthiness vector indexed by ClaimName.
type Vector [numClaims]Claim

// AllClaims returns a vector with every claim set to c, as AR4SI asks for
// failed cryptography (99) and malfunction (-1).
func AllClaims(c Claim) Vector {
	var v Vector
	for i := range v {
		v[i] = c
	}
	return v
}

// Status is the worst asserted claim: 0 and 1 do not lower it, -1 makes it
// TierNone unless something is contraindicated (D-16, D-39). A vector that
// asserts nothing is TierNone.
func (v Vector) Status() Tier {
	status, asserted := TierAffirming, false
	for _, c := range v {
		switch c {
		case ClaimNone, ClaimUnexpected:
		case ClaimMalfunction:
			status, asserted = Worst(status, TierNone), true
		default:
			status, asserted = Worst(status, c.Tier()), true
		}
	}
	if !asserted {
		return TierNone
	}
	return status
}
