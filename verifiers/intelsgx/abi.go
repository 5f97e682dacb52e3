// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// Flags of ATTRIBUTES (Intel SDM volume 3D, section ATTRIBUTES).
const (
	flagInit          = 1 << 0
	flagDebug         = 1 << 1
	flagMode64        = 1 << 2
	flagProvisionKey  = 1 << 4
	flagEINITTokenKey = 1 << 5
	flagCET           = 1 << 6
	flagKSS           = 1 << 7
	flagAEXNotify     = 1 << 10

	flagsKnown = uint64(flagInit | flagDebug | flagMode64 | flagProvisionKey | flagEINITTokenKey | flagCET | flagKSS | flagAEXNotify)

	// xfrmFixed must be set: x87 and SSE state, without which no enclave starts.
	xfrmFixed = uint64(0x3)
)

var flagNames = []struct {
	bit  uint64
	name string
}{
	{flagInit, "INIT"}, {flagDebug, "DEBUG"}, {flagMode64, "MODE64BIT"}, {flagProvisionKey, "PROVISIONKEY"},
	{flagEINITTokenKey, "EINITTOKEN_KEY"}, {flagCET, "CET"}, {flagKSS, "KSS"}, {flagAEXNotify, "AEXNOTIFY"},
}

// enclave is the report body of a quote with the numbers in it.
type enclave struct {
	dcap.EnclaveReport
	flags, xfrm uint64
	misc        uint32
}

// open parses the evidence, which is the quote.
func open(raw []byte) (*dcap.Quote, enclave, *dcap.Failure) {
	q, err := dcap.Parse(raw)
	if err != nil {
		return nil, enclave{}, dcap.Failf(verdict.ReasonMalformed, "SGX quote: %v", err)
	}
	if q.TEE != dcap.SGX {
		return nil, enclave{}, dcap.Failf(verdict.ReasonUnsupported, "this is a quote of %s version %d; this scheme appraises quotes of SGX", q.TEE, q.Version)
	}
	return q, newEnclave(q.Enclave()), nil
}

func newEnclave(r dcap.EnclaveReport) enclave {
	return enclave{
		EnclaveReport: r,
		flags:         binary.LittleEndian.Uint64(r.Attributes()), xfrm: binary.LittleEndian.Uint64(r.Attributes()[8:]),
		misc: binary.LittleEndian.Uint32(r.MiscSelect()),
	}
}

// reserved names the first field that the processor leaves zero and that is not:
// what this build reads as nothing may mean something.
func (e enclave) reserved() string {
	for _, f := range [][2]int{{21, 32}, {96, 128}, {160, 192}, {262, 304}} {
		if !dcap.AllZero(e.EnclaveReport[f[0]:f[1]]) {
			return fmt.Sprintf("reserved bytes %d to %d of the report are not zero", f[0], f[1]-1)
		}
	}
	if e.EnclaveReport[20] != 0 && e.flags&flagCET == 0 {
		return "CET_ATTRIBUTES are set without CET"
	}
	return ""
}

// separation says which fields of key separation and sharing are set; nil if
// none is.
func (e enclave) separation() (set []string) {
	for _, f := range []struct {
		name string
		zero bool
	}{
		{"CONFIGID", dcap.AllZero(e.ConfigID())}, {"CONFIGSVN", e.ConfigSVN() == 0},
		{"ISVEXTPRODID", dcap.AllZero(e.ExtProdID())}, {"ISVFAMILYID", dcap.AllZero(e.FamilyID())},
	} {
		if !f.zero {
			set = append(set, f.name)
		}
	}
	return set
}

// setFlags lists the flags that are set; unknown ones as "bit <n>".
func (e enclave) setFlags() []any {
	names := []any{}
	for _, n := range flagNames {
		if e.flags&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	for r := e.flags &^ flagsKnown; r != 0; r &= r - 1 {
		names = append(names, fmt.Sprintf("bit %d", bits.TrailingZeros64(r)))
	}
	return names
}
