// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"slices"

	"github.com/assize/assize/verdict"
)

// KindKeyChain says that a key that certifies the signer of one component, and that
// exists in one device alone, signed another component or certifies its signer as
// well: layers of one device (DICE, SPDM alias certificates).
const KindKeyChain = "key-chain"

func chainChecker() Checker {
	return Checker{
		Kind: KindKeyChain, Strength: StrengthStrong, Origin: OriginHardware, Mutual: true,
		Needs:    "two components of one scheme, and a verified chain with keys that a device has alone: SPDM devices with alias certificates",
		Compares: "the keys (SHA-256 of SubjectPublicKeyInfo) of the device's part of one chain with the signer of another component, and with those of its chain",
		find:     keyChain,
	}
}

// keyChain joins components of one device. A key of the maker certifies many
// devices and is in no such list (verdict.Facts.ChainKeys).
func keyChain(c *composite) ([]verdict.Binding, []verdict.Cap) {
	var edges []verdict.Binding
	for i, a := range c.parts {
		for j, b := range c.parts {
			key := ""
			if len(b.signers) == 1 && isKey(b.signers[0]) && slices.Contains(a.chain, b.signers[0]) {
				key = b.signers[0]
			} else if at := slices.IndexFunc(b.chain, func(k string) bool { return slices.Contains(a.chain, k) }); at >= 0 && i < j {
				key = b.chain[at]
			}
			// Who verifies one kind of device says nothing about another (decision D-114).
			if key == "" || i == j || a.Scheme != b.Scheme {
				continue
			}
			edges = append(edges, verdict.Binding{From: a.Label, To: b.Label, Kind: KindKeyChain, Strength: StrengthStrong, Status: StatusBound, Origin: OriginHardware,
				Compared: "the keys in the device's own part of the certificate chain with the signer of the other component and with those of its chain",
				Expected: key, Observed: key})
		}
	}
	return edges, nil
}
