// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"github.com/assize/assize/attester/internal/dcap"
	"github.com/assize/assize/attester/pki"
)

// fmspc is the family, model, stepping and platform of the simulated server;
// Intel gave this number to no platform.
var fmspc = [6]byte{0xa5, 0x51, 0x2e, 0, 0, 0}

// Security version numbers. A platform is at one of the levels of its
// collateral; see newTCBInfo.
type tcb struct {
	dcap.TCB
	// tee is TEE_TCB_SVN: minor and major version of the TDX module, late
	// microcode, zeros.
	tee [16]byte
}

var (
	currentTCB  = tcb{TCB: dcap.TCB{SGX: [16]byte{3, 3, 2, 2, 4, 1, 0, 5}, PCESVN: 13}, tee: [16]byte{6, 1, 3}}
	outdatedTCB = tcb{TCB: dcap.TCB{SGX: [16]byte{2, 2, 2, 2, 3, 1, 0, 5}, PCESVN: 13}, tee: [16]byte{4, 1, 2}}
	// ancientTCB exists only as a level of the collateral.
	ancientTCB = tcb{TCB: dcap.TCB{SGX: outdatedTCB.SGX, PCESVN: 5}, tee: outdatedTCB.tee}
)

// The TD quoting enclave: product number and security version.
const (
	qeProduct = 2
	qeSVN     = 7
)

// newPCK issues the PCK certificate of the platform.
func newPCK(a dcap.Authorities, o *Options, level tcb) (*pki.Authority, error) {
	return a.PCK(dcap.Platform{
		Device: o.Device, Kind: "intel-tdx", CA: dcap.PlatformCA, FMSPC: fmspc, TCB: level.TCB, Now: o.Now, Expired: o.Expired,
	})
}
