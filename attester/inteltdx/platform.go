// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strconv"
	"time"

	"github.com/assize/assize/attester/pki"
)

// fmspc is the family, model, stepping and platform of the simulated server;
// Intel gave this number to no platform.
var fmspc = [6]byte{0xa5, 0x51, 0x2e, 0, 0, 0}

// Security version numbers. A platform is at one of the levels of its
// collateral; see tcbInfo.
type tcb struct {
	sgx    [16]byte // SGX TCB components
	pceSVN int
	// tee is TEE_TCB_SVN: minor and major version of the TDX module, late
	// microcode, zeros.
	tee [16]byte
}

var (
	currentTCB  = tcb{sgx: [16]byte{3, 3, 2, 2, 4, 1, 0, 5}, pceSVN: 13, tee: [16]byte{6, 1, 3}}
	outdatedTCB = tcb{sgx: [16]byte{2, 2, 2, 2, 3, 1, 0, 5}, pceSVN: 13, tee: [16]byte{4, 1, 2}}
	// ancientTCB exists only as a level of the collateral.
	ancientTCB = tcb{sgx: outdatedTCB.sgx, pceSVN: 5, tee: outdatedTCB.tee}
)

// The TD quoting enclave: product number and security version.
const (
	qeProduct = 2
	qeSVN     = 7
)

// newPCK issues the PCK certificate of the platform. Its key and its serial
// number change with the TCB level and with the year, since it is another
// certificate then.
func newPCK(a authorities, o *Options, level tcb) (*pki.Authority, error) {
	from := time.Date(o.Now.UTC().Year()-1, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(7, 0, 0)
	if o.Expired {
		to = o.Now.UTC().Truncate(time.Second).AddDate(0, 0, -1)
		from = to.AddDate(-7, 0, 0)
	}
	ext, err := sgxExtension(o.Device, level)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%x-%d", level.sgx, level.pceSVN)
	return profile{
		cn: cnPCK, from: from, to: to, usage: endEntity, pathLen: notCA, crl: urlPCKCRL, extra: []pkix.Extension{ext},
	}.issue(a.platform, o.Device.Sub("intel-tdx", "pck", name, strconv.FormatInt(to.Unix(), 10)))
}

// sgxExtension is the extension 1.2.840.113741.1.13.1 of a platform with
// several packages: PPID, TCB, PCE ID, FMSPC, SGX type (1, scalable), platform
// instance ID and configuration.
func sgxExtension(device pki.Seed, level tcb) (pkix.Extension, error) {
	type attr struct {
		ID    asn1.ObjectIdentifier
		Value any
	}
	base := asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	oid := func(n ...int) asn1.ObjectIdentifier { return append(base[:len(base):len(base)], n...) }
	var svns []attr
	for i, n := range level.sgx {
		svns = append(svns, attr{oid(2, i+1), int(n)})
	}
	svns = append(svns, attr{oid(2, 17), level.pceSVN}, attr{oid(2, 18), level.sgx[:]})
	// Dynamic platform, cached keys, SMT enabled.
	configuration := []attr{{oid(7, 1), true}, {oid(7, 2), true}, {oid(7, 3), true}}
	seed := device.Sub("intel-tdx", "platform")
	der, err := asn1.Marshal([]attr{
		{oid(1), seed.Sub("ppid").Bytes(16)},
		{oid(2), svns},
		{oid(3), []byte{0, 0}},
		{oid(4), fmspc[:]},
		{oid(5), asn1.Enumerated(1)},
		{oid(6), seed.Sub("instance").Bytes(16)},
		{oid(7), configuration},
	})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("inteltdx: SGX extension: %w", err)
	}
	return pkix.Extension{Id: base, Value: der}, nil
}
