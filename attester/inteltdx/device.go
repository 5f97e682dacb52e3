// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"github.com/assize/assize/attester/internal/dcap"
	"github.com/assize/assize/attester/pki"
)

// Device is one simulated trust domain on its platform. It is immutable and
// safe for concurrent use.
type Device struct {
	root       *x509.Certificate
	quotes     *dcap.Quotes
	log        []byte
	collateral []byte
	honest     *measurements
}

// measurements are the fields of a TD report that say what runs, 48 bytes each
// and honest.
type measurements struct {
	seam, td, configID, owner, ownerConfig []byte
	rtmr                                   [registers][]byte
}

// Measurement is one honest reference value: exactly one of Digest and Raw is
// set.
type Measurement struct {
	// Name is the register in lower case, as in Intel's specifications: mrtd,
	// rtmr0 to rtmr3, mrseam, mrsignerseam, mrconfigid, mrowner, mrownerconfig,
	// tee_tcb_svn.
	Name string
	// Alg is "sha-384" (IANA Named Information name) for digests, "" for others.
	Alg    string
	Digest []byte
	// Raw is a value that is not a digest, or not known to be one.
	Raw []byte
}

// New makes keys, certificates and collateral, about ten signatures. It returns
// an error for options out of range.
func New(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	level := currentTCB
	if o.OutdatedTCB {
		level = outdatedTCB
	}
	a, err := dcap.NewAuthorities(o.Vendor)
	if err != nil {
		return nil, err
	}
	pck, err := newPCK(a, &o, level)
	if err != nil {
		return nil, err
	}
	log, replayed, err := newEventLog(&o)
	if err != nil {
		return nil, err
	}
	m, err := newMeasurements(&o, replayed)
	if err != nil {
		return nil, err
	}
	d := &Device{root: a.Root.Cert, honest: m}
	if replayed.matches(m.rtmr) {
		d.log = log
	}
	if d.quotes, err = newQuotes(&o, level, m, pck, pki.PEM(pck.Cert, a.Platform.Cert, a.Root.Cert)); err != nil {
		return nil, err
	}
	d.collateral, err = newCollateral(a, &o, pck)
	return d, err
}

// newMeasurements takes what the options set and derives the rest.
func newMeasurements(o *Options, replayed *bank) (*measurements, error) {
	zero := make([]byte, RegisterSize)
	m := &measurements{seam: o.Vendor.Sub("intel-tdx", "mrseam").Bytes(RegisterSize)}
	type entry struct {
		name         string
		out          *[]byte
		v, otherwise []byte
	}
	all := []entry{
		{"MRTD", &m.td, o.MRTD, o.Device.Sub("intel-tdx", "mrtd").Bytes(RegisterSize)},
		{"MRCONFIGID", &m.configID, o.MRConfigID, zero},
		{"MROWNER", &m.owner, o.MROwner, zero},
		{"MROWNERCONFIG", &m.ownerConfig, o.MROwnerConfig, zero},
	}
	for i := range registers {
		all = append(all, entry{fmt.Sprintf("RTMR%d", i), &m.rtmr[i], o.RTMR[i], replayed[i][:]})
	}
	for _, e := range all {
		var err error
		if *e.out, err = field(e.name, e.v, e.otherwise); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Evidence returns a signed quote with the report data, which must have 64
// bytes: whoever has a shorter nonce decides how it is extended.
func (d *Device) Evidence(reportData []byte) ([]byte, error) {
	if len(reportData) != ReportDataSize {
		return nil, fmt.Errorf("inteltdx: report data has %d bytes, expected %d", len(reportData), ReportDataSize)
	}
	return d.quotes.Quote(reportData)
}

// Root is the certificate that a trust file lists; it is shared, not a copy.
func (d *Device) Root() *x509.Certificate { return d.root }

// FMSPC is the platform's family, model, stepping and custom SKU as 12 lower
// case hexadecimal digits; collateral is found by it.
func (d *Device) FMSPC() string { return hex.EncodeToString(fmspc[:]) }

// Endorsements is the platform's collateral: TCB info, QE identity and both
// revocation lists with their issuer chains in one JSON object. The name
// contains FMSPC and content, so that machines whose collateral differs can
// share a folder, and machines with the same collateral share the file.
func (d *Device) Endorsements() (map[string][]byte, error) {
	sum := sha256.Sum256(d.collateral)
	name := fmt.Sprintf("intel-tdx-%s-%x.json", d.FMSPC(), sum[:4])
	return map[string][]byte{name: bytes.Clone(d.collateral)}, nil
}

// EventLog is the event log of the boot: TCG2 crypto-agile with one SHA-384
// digest per event and without the padding of the ACPI table's area. Its replay
// gives RTMR0 to RTMR3 (flipped bits of the fault Measurement excepted). It is
// nil if Options.RTMR set a register to something that the events do not give:
// such a machine has no honest log.
func (d *Device) EventLog() []byte { return bytes.Clone(d.log) }

// Measurements are the honest values, also where a fault shows others:
// registers as digests; fields that the host or the owner chooses, and security
// version numbers, raw. The security versions are those of the newest TCB level.
func (d *Device) Measurements() []Measurement {
	digest := func(name string, v []byte) Measurement {
		return Measurement{Name: name, Alg: "sha-384", Digest: bytes.Clone(v)}
	}
	raw := func(name string, v []byte) Measurement { return Measurement{Name: name, Raw: bytes.Clone(v)} }
	out := []Measurement{digest("mrtd", d.honest.td)}
	for i, r := range d.honest.rtmr {
		out = append(out, digest(fmt.Sprintf("rtmr%d", i), r))
	}
	return append(out,
		digest("mrseam", d.honest.seam), raw("mrsignerseam", make([]byte, RegisterSize)),
		raw("mrconfigid", d.honest.configID), raw("mrowner", d.honest.owner), raw("mrownerconfig", d.honest.ownerConfig),
		raw("tee_tcb_svn", currentTCB.tee[:]))
}
