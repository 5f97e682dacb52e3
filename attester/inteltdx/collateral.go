// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/hex"
	"math/big"
	"strings"

	"github.com/assize/assize/attester/internal/dcap"
	"github.com/assize/assize/attester/pki"
)

// newCollateral makes the set of collateral that judges the platform.
func newCollateral(a dcap.Authorities, o *Options, pck *pki.Authority) ([]byte, error) {
	d := dcap.NewDates(o.Now)
	c := dcap.Collateral{Dates: d, CA: dcap.PlatformCA, TCBInfo: newTCBInfo(d), QEIdentity: newQEIdentity(d)}
	if o.Revoked {
		c.RevokedPCK = []*big.Int{pck.Cert.SerialNumber}
	}
	return a.Collateral(c)
}

// newTCBInfo has three levels: what honest platforms have, what those with
// OutdatedTCB have, and one far below.
func newTCBInfo(d dcap.Dates) dcap.TCBInfo {
	advisories := []string{"INTEL-SA-99001", "INTEL-SA-99002"} // no such advisories exist
	intel := func(id string, levels ...dcap.Level) dcap.Module {
		return dcap.Module{ID: id, MRSigner: strings.Repeat("0", 2*RegisterSize), Attributes: strings.Repeat("0", 16),
			AttributesMask: strings.Repeat("F", 16), Levels: levels}
	}
	unversioned := intel("")
	return dcap.TCBInfo{
		ID: "TDX", Version: 3, IssueDate: dcap.Timestamp(d.Issue), NextUpdate: dcap.Timestamp(d.Next),
		FMSPC: strings.ToUpper(hex.EncodeToString(fmspc[:])), PCEID: "0000", EvaluationNumber: dcap.EvaluationNumber,
		Module: &unversioned,
		Modules: []dcap.Module{
			intel("TDX_03", dcap.ISVLevel(3, d.Good, dcap.UpToDate)),
			intel("TDX_01", dcap.ISVLevel(int(currentTCB.tee[0]), d.Good, dcap.UpToDate),
				dcap.ISVLevel(int(outdatedTCB.tee[0]), d.Old, dcap.OutOfDate, advisories...)),
		},
		Levels: []dcap.Level{
			currentTCB.level(dcap.PlatformLevel(currentTCB.TCB, d.Good, dcap.UpToDate)),
			outdatedTCB.level(dcap.PlatformLevel(outdatedTCB.TCB, d.Old, dcap.OutOfDate, advisories...)),
			ancientTCB.level(dcap.PlatformLevel(ancientTCB.TCB, d.Ancient, dcap.OutOfDate, append([]string{"INTEL-SA-99000"}, advisories...)...)),
		},
	}
}

func newQEIdentity(d dcap.Dates) dcap.QEIdentity {
	return dcap.QEIdentity{
		ID: "TD_QE", Version: 2, IssueDate: dcap.Timestamp(d.Issue), NextUpdate: dcap.Timestamp(d.Next), EvaluationNumber: dcap.EvaluationNumber,
		MiscSelect: "00000000", MiscSelectMask: "FFFFFFFF",
		Attributes: "11000000000000000000000000000000", AttributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
		MRSigner: strings.ToUpper(hex.EncodeToString(qeSigner[:])), ProdID: qeProduct,
		Levels: []dcap.Level{dcap.ISVLevel(4, d.Good, dcap.UpToDate)},
	}
}

// level adds the TDX components.
func (t tcb) level(l dcap.Level) dcap.Level {
	const host, tdx = "OS/VMM", "TDX Module"
	tee := make([]dcap.Component, 16)
	copy(tee, []dcap.Component{{Category: host, Type: tdx}, {Category: host, Type: tdx}, {Category: host, Type: "TDX Late Microcode Update"}})
	for i := range tee {
		tee[i].SVN = int(t.tee[i])
	}
	// The first two say something only about modules without a version of their
	// own, for which Intel's files ask for 5.
	tee[0].SVN, tee[1].SVN = 5, 0
	l.TCB.TDX = tee
	return l
}
