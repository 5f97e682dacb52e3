// SPDX-License-Identifier: Apache-2.0

package dcap

import "crypto/ecdsa"

// What tests look at from outside.
const (
	PEMBegin      = pemBegin
	PEMEnd        = pemEnd
	PEMBlank      = pemBlank
	MaxComplaints = maxComplaints
)

// SplitPEM is splitPEM.
func SplitPEM(raw []byte) ([][]byte, error) { return splitPEM(raw) }

// VerifyP256 is verifyP256.
func VerifyP256(key *ecdsa.PublicKey, msg, sig []byte) bool { return verifyP256(key, msg, sig) }

// Merge is Status.merge.
func Merge(platform, part Status) Status { return platform.merge(part) }

// DecodeTCBInfo decodes a TCB info and returns its id.
func DecodeTCBInfo(raw []byte) (id string, err error) {
	var t tcbInfo
	if err := collateralNames().decode(raw, &t); err != nil {
		return "", err
	}
	_ = t.check(TDX)
	_ = t.check(SGX)
	return t.ID, nil
}

// KnownMember says whether a member of collateral has this name.
func KnownMember(name string) bool { return collateralNames()[fold(name)] == name }

// Chains is the number of PCK chains that are remembered.
func (v *Verifier) Chains() int { return v.chains.Len() }

// Held counts what the verifier has: platforms with TCB info, QE identities, CAs
// with CRLs, and faults.
func (v *Verifier) Held() [4]int {
	return [4]int{len(v.store.tcb), len(v.store.qe), len(v.store.crls), len(v.store.faults)}
}

// Shares says whether two verifiers hold the same verified TCB infos and QE
// identities, not only equal ones.
func (v *Verifier) Shares(o *Verifier) bool {
	for fmspc, list := range v.store.tcb {
		for i, s := range list {
			if other := o.store.tcb[fmspc]; len(other) != len(list) || other[i].info != s.info {
				return false
			}
		}
	}
	for i, s := range v.store.qe {
		if len(o.store.qe) != len(v.store.qe) || o.store.qe[i].id != s.id {
			return false
		}
	}
	return true
}
