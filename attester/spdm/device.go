// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/attester/pki"
)

// ErrNonce says that a nonce is not 32 bytes long, the length of an SPDM
// requester nonce.
var ErrNonce = errors.New("spdm: nonce must be 32 bytes")

// Contexts of the signatures (DSP0274, from 1.2).
const (
	contextMeasurements = "responder-measurements signing"
	contextChallenge    = "responder-challenge_auth signing"
)

// Device is one simulated device. It is immutable and safe for concurrent use.
type Device struct {
	o      Options
	serial string
	// vendor are the authorities that the root belongs to, authorities those that
	// issued the certificates: the same, but for the fault UnknownAnchor.
	vendor, authorities authorities
	leaves              map[uint8]*pki.Authority
	chains              map[uint8][]byte
	key                 crypto.Signer
	nonceKey            []byte
	mode                cbor.EncMode

	vca       []byte
	exchanges []byte // B: digests and certificates
	digestRsp []byte
	honest    []block
	blocks    []block // as reported, with faults
	count     int     // blocks in record
	record    []byte  // of all blocks, in the form that is asked for
	log       []byte  // measurement extension log as reported, 1.3 only

	ranges     []Range
	report     []byte // as the TSM saw it; nil without a TSM
	presented  []byte // as the evidence carries it
	deviceInfo []byte // TDX Connect only
}

// New makes a device: all keys, certificates and messages that no nonce
// changes. The error is ErrOptions for contradictory options.
func New(o Options) (*Device, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	d := &Device{o: o, serial: serialNumber(o), nonceKey: o.Device.Sub("spdm", "responder nonce").Bytes(32)}
	if d.mode, err = encoder(); err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	if err := d.certify(); err != nil {
		return nil, err
	}
	d.vca = vca(o)
	d.digestRsp = digests(o, d.chains)
	d.exchanges = certificateExchanges(o, d.chains, d.digestRsp)
	if o.Version >= Version13 {
		d.log = eventLog(o)
	}
	d.honest = honestBlocks(o, d.log)
	if o.has(Log) {
		d.log = cut(d.log)
	}
	d.blocks = reportedBlocks(o, d.honest)
	forms := make([]block, len(d.blocks))
	for i, b := range d.blocks {
		forms[i] = b.inForm(o.Raw)
	}
	d.record, d.count = malformed(o, forms)
	return d, d.assign()
}

// certify makes the authorities and one chain per slot.
func (d *Device) certify() (err error) {
	if d.vendor, err = newAuthorities(d.o, d.o.Vendor, d.serial); err != nil {
		return err
	}
	if d.authorities = d.vendor; d.o.has(UnknownAnchor) {
		if d.authorities, err = newAuthorities(d.o, d.o.Vendor.Sub("unknown"), d.serial); err != nil {
			return err
		}
	}
	d.leaves, d.chains = map[uint8]*pki.Authority{}, map[uint8][]byte{}
	for _, slot := range d.o.Slots {
		if d.leaves[slot], err = leaf(d.o, d.authorities, slot, d.serial); err != nil {
			return err
		}
		certs := []*x509.Certificate{d.authorities.root.Cert, d.authorities.intermediate.Cert}
		if d.authorities.device != nil {
			certs = append(certs, d.authorities.device.Cert)
		}
		if d.chains[slot], err = chainStructure(d.o, append(certs, d.leaves[slot].Cert)); err != nil {
			return err
		}
	}
	d.key, err = signer(d.o, d.o.Slot)
	return err
}

// assign makes what TDISP adds.
func (d *Device) assign() (err error) {
	if d.o.TSM == "" {
		return nil
	}
	if d.ranges = d.o.Ranges; d.ranges == nil {
		d.ranges = defaultRanges()
	}
	seed := d.o.Device.Sub("spdm", "mmio")
	d.report = d.o.interfaceReport(d.ranges, reportingBase(seed))
	d.presented = d.report
	switch {
	case d.o.ReportSwapped:
		d.presented = d.o.interfaceReport(d.ranges, reportingBase(seed.Sub("twin")))
	case d.o.has(ReportMissing):
		d.presented = nil
	}
	if d.o.TSM == TSMTDX {
		d.deviceInfo, err = deviceInfoData(d.o, d.chains, d.record)
	}
	return err
}

// Evidence answers the nonce (32 bytes, used in both requests) and returns the
// container. The same nonce gives the same bytes. The error is ErrNonce for
// another length.
func (d *Device) Evidence(nonce []byte) ([]byte, error) {
	if len(nonce) != nonceSize {
		return nil, fmt.Errorf("%w, not %d", ErrNonce, len(nonce))
	}
	transcript, err := d.measurements(nonce)
	if err != nil {
		return nil, err
	}
	c := Container{
		Profile: Profile, Name: d.o.Name, Nonce: nonce, VCA: d.vca, Chains: map[uint64][]byte{},
		Measurements: transcript, Report: d.presented, TSM: d.tsmInfo(transcript), Digests: d.digestRsp, MEL: d.log,
	}
	switch {
	case d.o.has(Name):
		c.Name = "spdm:" + maker + ":OTHER:" + d.serial
	case c.Name == "":
		c.Name = "spdm:" + d.Identity()
	}
	for slot, chain := range d.chains {
		if slot != d.o.Slot || !d.o.has(ChainMissing) {
			c.Chains[uint64(slot)] = chain
		}
	}
	if !d.o.NoChallenge {
		if c.Challenge, err = d.challenge(nonce); err != nil {
			return nil, err
		}
	}
	raw, err := d.mode.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	return d.o.disfigured(raw), nil
}

// disfigured is a container that no reader should accept.
func (o Options) disfigured(raw []byte) []byte {
	const indefinite, end = 0xbf, 0xff
	switch {
	case o.has(ContainerTrailing):
		return append(raw, 0)
	case o.has(ContainerDuplicate):
		raw[0]++ // one pair more: key 2 with an empty text
		return append(raw, 2, 0x60)
	case o.has(ContainerIndefinite):
		raw[0] = indefinite
		return append(raw, end)
	}
	return raw
}

// requesterContext is the 8 bytes that SPDM 1.3 adds to both requests and that
// the responses echo; nothing before 1.3.
func (d *Device) requesterContext(purpose string, nonce []byte) []byte {
	if d.o.Version < Version13 {
		return nil
	}
	return d.derive("context "+purpose, nonce)[:8]
}

// derive stands in for the random numbers of device and requester: 32 bytes
// from the device's seed and the nonce.
func (d *Device) derive(purpose string, nonce []byte) []byte {
	mac := hmac.New(sha256.New, d.nonceKey)
	mac.Write([]byte(purpose))
	mac.Write([]byte{0})
	mac.Write(nonce)
	return mac.Sum(nil)
}

// Identity is the DMTF otherName of the device, manufacturer:product:serial.
func (d *Device) Identity() string { return fmt.Sprintf(otherName, maker, d.o.Product, d.serial) }

// VCA is the six negotiation messages, without padding.
func (d *Device) VCA() []byte { return bytes.Clone(d.vca) }

// ChainStructure is the certificate chain of a slot as CERTIFICATE transports
// it: header, root hash, DER from root to leaf. Nil for an empty slot.
func (d *Device) ChainStructure(slot uint8) []byte { return bytes.Clone(d.chains[slot]) }
