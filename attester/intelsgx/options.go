// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/attester/internal/dcap"
	"github.com/assize/assize/attester/pki"
)

// Sizes in bytes.
const (
	// ReportDataSize is the size of the data that a quote carries for its caller;
	// Evidence takes no other.
	ReportDataSize = 64
	// MeasurementSize is the size of MRENCLAVE and MRSIGNER.
	MeasurementSize = 32
	// ConfigIDSize is the size of CONFIGID.
	ConfigIDSize = 64
)

// Quote selects a format of quotes.
type Quote int

// Forms of quotes. The zero value is what SGX platforms make by themselves.
const (
	// V3 is format 3, which is only for SGX.
	V3 Quote = iota
	// V4 is format 4 with TEE type 0.
	V4
	// V5 is format 5 with body type 1.
	V5
)

// Flags of ATTRIBUTES that Options.Attributes is made of (Intel SDM volume 3D,
// ATTRIBUTES).
const (
	FlagInit          = 1 << 0
	FlagMode64        = 1 << 2
	FlagProvisionKey  = 1 << 4
	FlagEINITTokenKey = 1 << 5
	FlagKSS           = 1 << 7
)

// NotSupported as a status stands for a platform or a quoting enclave that is
// below every level of its collateral.
const NotSupported = "NotSupported"

// Statuses are what Options.Status may be, besides "": those of Intel's TCB levels,
// and NotSupported.
func Statuses() []string {
	return append(QEStatuses(), dcap.SWHardening, dcap.Configuration, dcap.ConfigurationSW, dcap.OutOfDateConfig)
}

// QEStatuses are what Options.QEStatus may be, besides "".
func QEStatuses() []string {
	return []string{dcap.UpToDate, dcap.OutOfDate, dcap.Revoked, NotSupported}
}

// Options describe one platform with one enclave. Vendor, Device and Now are
// mandatory; every other zero value is an honest machine.
type Options struct {
	// Vendor is the seed of the authorities: machines with one vendor have one
	// root and one quoting enclave.
	Vendor pki.Seed
	// Device is the seed of the platform (PPID, PCK key, attestation key) and of
	// the enclave on it.
	Device pki.Seed
	// Now is when the evidence is made, between 2020 and 2048: certificates and
	// collateral are valid then.
	Now time.Time

	// Quote is the form of the quotes.
	Quote Quote
	// Processor lets the PCK Processor CA issue the PCK certificate: a platform
	// with one package. Otherwise it is the PCK Platform CA.
	Processor bool
	// MRENCLAVE and MRSIGNER are 32 bytes each; nil: they follow from Device.
	MRENCLAVE, MRSIGNER []byte
	// ProdID and SVN are ISVPRODID and ISVSVN.
	ProdID, SVN uint16
	// Attributes are all flags of the enclave, DEBUG excepted; 0 means FlagInit and
	// FlagMode64.
	Attributes uint64
	// XFRM is the other half of ATTRIBUTES; 0 means x87, SSE, AVX and AVX-512.
	XFRM       uint64
	MiscSelect uint32
	// ConfigID (64 bytes or nil for zero), ConfigSVN, ExtProdID and FamilyID (16
	// bytes or nil) are of enclaves with FlagKSS.
	ConfigID            []byte
	ConfigSVN           uint16
	ExtProdID, FamilyID []byte

	// Debug sets ATTRIBUTES.DEBUG of the enclave, QEDebug that of the quoting
	// enclave.
	Debug, QEDebug bool
	// Status is the status of the platform's level in its collateral, one of
	// Statuses; "" is up to date. QEStatus is that of the quoting enclave, one of
	// QEStatuses.
	Status, QEStatus string
	// OutdatedTCB gives the platform the microcode of the second TCB level in its
	// collateral, which is out of date.
	OutdatedTCB bool
	// Revoked puts the PCK certificate on the revocation list of its CA, and
	// RevokedCA that CA on the list of the root.
	Revoked, RevokedCA bool
	// Expired lets the PCK certificate end one day before Now.
	Expired bool
	// WrongSigner signs quotes with a key, and shows that key, which the report
	// of the quoting enclave does not commit to.
	WrongSigner bool
	// OtherQE lets somebody else than Intel sign the quoting enclave.
	OtherQE bool
	// Measurement flips the lowest bit of MRENCLAVE in quotes. Measurements stay
	// honest.
	Measurement bool
}

func (o *Options) check() error {
	if y := o.Now.UTC().Year(); y < 2020 || y > 2048 {
		return fmt.Errorf("intelsgx: simulated time %s is not between 2020 and 2048", o.Now.UTC().Format(time.RFC3339))
	}
	if o.Quote < V3 || o.Quote > V5 {
		return fmt.Errorf("intelsgx: unknown form of quotes %d", o.Quote)
	}
	for _, f := range []struct {
		name string
		v    []byte
		size int
	}{
		{"MRENCLAVE", o.MRENCLAVE, MeasurementSize}, {"MRSIGNER", o.MRSIGNER, MeasurementSize}, {"CONFIGID", o.ConfigID, ConfigIDSize},
		{"ISVEXTPRODID", o.ExtProdID, 16}, {"ISVFAMILYID", o.FamilyID, 16},
	} {
		if len(f.v) != 0 && len(f.v) != f.size {
			return fmt.Errorf("intelsgx: %s has %d bytes, expected %d", f.name, len(f.v), f.size)
		}
	}
	if o.Status != "" && !slices.Contains(Statuses(), o.Status) {
		return fmt.Errorf("intelsgx: unknown TCB status %q of a platform", o.Status)
	}
	if o.QEStatus != "" && !slices.Contains(QEStatuses(), o.QEStatus) {
		return fmt.Errorf("intelsgx: unknown TCB status %q of a quoting enclave", o.QEStatus)
	}
	if o.OutdatedTCB && o.Status != "" && o.Status != dcap.OutOfDate {
		return fmt.Errorf("intelsgx: an outdated TCB with the status %s", o.Status)
	}
	return nil
}
