// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"encoding/hex"
	"math/big"
	"strings"

	"github.com/assize/assize/attester/internal/dcap"
	"github.com/assize/assize/attester/pki"
)

// Family, model, stepping and platform of the simulated machines with several
// packages and with one; Intel gave these numbers to no platform.
var (
	fmspcPlatform  = [6]byte{0xa5, 0x51, 0x2e, 1, 0, 0}
	fmspcProcessor = [6]byte{0xa5, 0x51, 0x2e, 2, 0, 0}
)

// TCB levels: a platform is at the first or the second.
var (
	currentTCB  = dcap.TCB{SGX: [16]byte{11, 11, 2, 2, 4, 1, 12}, PCESVN: 13}
	outdatedTCB = dcap.TCB{SGX: [16]byte{9, 9, 2, 2, 4, 1, 12}, PCESVN: 13}
	// newerTCB exists only as a level, for platforms that are below all levels.
	newerTCB = dcap.TCB{SGX: [16]byte{12, 12, 2, 2, 4, 1, 12}, PCESVN: 13}
)

// The quoting enclave: product number and security version.
const (
	qeProduct = 1
	qeSVN     = 8
)

// qeSigner is the SHA-256 of the key that signs Intel's SGX quoting enclave.
// Verifiers compare it even with simulated roots.
var qeSigner = [32]byte{
	0x8c, 0x4f, 0x57, 0x75, 0xd7, 0x96, 0x50, 0x3e, 0x96, 0x13, 0x7f, 0x77, 0xc6, 0x8a, 0x82, 0x9a,
	0x00, 0x56, 0xac, 0x8d, 0xed, 0x70, 0x14, 0x0b, 0x08, 0x1b, 0x09, 0x44, 0x90, 0xc5, 0x7b, 0xff,
}

func (o *Options) ca() dcap.CA {
	if o.Processor {
		return dcap.ProcessorCA
	}
	return dcap.PlatformCA
}

func (o *Options) fmspc() [6]byte {
	if o.Processor {
		return fmspcProcessor
	}
	return fmspcPlatform
}

// newCollateral makes the set of collateral that judges the platform.
func newCollateral(a dcap.Authorities, o *Options, pck *pki.Authority) ([]byte, error) {
	d := dcap.NewDates(o.Now)
	c := dcap.Collateral{Dates: d, CA: o.ca(), TCBInfo: newTCBInfo(o, d), QEIdentity: newQEIdentity(o, d)}
	if o.Revoked {
		c.RevokedPCK = []*big.Int{pck.Cert.SerialNumber}
	}
	if o.RevokedCA {
		c.RevokedCA = []*big.Int{a.Issuer(o.ca()).Cert.SerialNumber}
	}
	return a.Collateral(c)
}

// No such advisories exist.
const (
	advisoryPlatform = "INTEL-SA-99003"
	advisoryQE       = "INTEL-SA-99004"
	advisoryOld      = "INTEL-SA-99005"
)

// advisories are what a level of that status names.
func advisories(status, of string) []string {
	if status == dcap.UpToDate {
		return nil
	}
	return []string{of}
}

// newTCBInfo has two levels: what honest platforms have, and what those with
// OutdatedTCB have.
func newTCBInfo(o *Options, d dcap.Dates) dcap.TCBInfo {
	f := o.fmspc()
	t := dcap.TCBInfo{
		ID: "SGX", Version: 3, IssueDate: dcap.Timestamp(d.Issue), NextUpdate: dcap.Timestamp(d.Next),
		FMSPC: strings.ToUpper(hex.EncodeToString(f[:])), PCEID: "0000", EvaluationNumber: dcap.EvaluationNumber,
	}
	switch status := o.Status; {
	case status == NotSupported:
		t.Levels = []dcap.Level{dcap.PlatformLevel(newerTCB, d.Good, dcap.UpToDate)}
		return t
	case status == "" || o.OutdatedTCB:
		t.Levels = []dcap.Level{dcap.PlatformLevel(currentTCB, d.Good, dcap.UpToDate)}
	default:
		t.Levels = []dcap.Level{dcap.PlatformLevel(currentTCB, d.Good, status, advisories(status, advisoryPlatform)...)}
	}
	t.Levels = append(t.Levels, dcap.PlatformLevel(outdatedTCB, d.Old, dcap.OutOfDate, advisoryOld, advisoryPlatform))
	return t
}

func newQEIdentity(o *Options, d dcap.Dates) dcap.QEIdentity {
	q := dcap.QEIdentity{
		ID: "QE", Version: 2, IssueDate: dcap.Timestamp(d.Issue), NextUpdate: dcap.Timestamp(d.Next), EvaluationNumber: dcap.EvaluationNumber,
		MiscSelect: "00000000", MiscSelectMask: "FFFFFFFF",
		Attributes: "11000000000000000000000000000000", AttributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
		MRSigner: strings.ToUpper(hex.EncodeToString(qeSigner[:])), ProdID: qeProduct,
	}
	status := o.QEStatus
	if status == NotSupported {
		q.Levels = []dcap.Level{dcap.ISVLevel(qeSVN+1, d.Good, dcap.UpToDate)}
		return q
	}
	if status == "" {
		status = dcap.UpToDate
	}
	q.Levels = []dcap.Level{
		dcap.ISVLevel(qeSVN, d.Good, status, advisories(status, advisoryQE)...),
		dcap.ISVLevel(qeSVN-2, d.Old, dcap.OutOfDate, advisoryQE),
	}
	return q
}
