// SPDX-License-Identifier: Apache-2.0

// Package nvidia simulates NVIDIA GPUs (Hopper, and Blackwell with GSP or FSP) and NVSwitches
// (LS10) that answer a challenge with the evidence of real ones: an SPDM 1.1
// measurement report and five certificates, of the same layout, sizes and order,
// under authorities of their own. Names, versions and wiring are those of
// recorded devices; keys, digests and serial numbers follow from seeds and are
// worth nothing.
//
//	gpu, err := nvidia.NewGPU(nvidia.Options{Vendor: v, Device: v.Sub("gpu0"), Now: now})
//	object, err := gpu.Evidence(nonce)      // one device
//	leaf := nvidia.Array(object, another)   // what a CMW carries
//
// A verifier believes none of it unless gpu.Root() is given to it as an extra
// root. GPUs and switches of one machine name each other by PDI; PDIOf tells it
// before the devices are made:
//
//	Options{..., Position: 0, Peers: []nvidia.PDI{nvidia.PDIOf(switchSeed)}}
//
// Collateral beside the evidence is in Endorsements: the signed manifests of the
// firmware (Manifests) and OCSP answers; Roots are what a verifier has to trust for
// both. OCSPService answers requests, Measurements are for reference values of
// another form. Item and Input write the collection of NVIDIA's newer SDK.
//
// Faults are made before the report is signed, so that each leaves everything
// else honest. Nothing in a Hopper or LS10 certificate says debug; there,
// Debug shows as the measurements of debug firmware only.
package nvidia

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/assize/assize/attester/pki"
)

const (
	// MediaType is the type of an Array of GPUs, and of switches.
	MediaType = "application/vnd.veraison.nvidia-gpu-evidence+json"
	// NonceSize is the length in bytes of a challenge.
	NonceSize = 32

	digestSize  = 48 // SHA-384
	maxGPUs     = 8
	maxSwitches = 4
)

// PDI is the number by which GPUs and NVSwitches name one another, big-endian
// as in certificate 1.
type PDI [8]byte

// String writes 16 lower-case hexadecimal digits.
func (p PDI) String() string { return hex.EncodeToString(p[:]) }

// PDIOf is the PDI of the device that will be made from a seed.
func PDIOf(device pki.Seed) (p PDI) {
	copy(p[:], device.Sub("pdi").Bytes(len(p)))
	return p
}

// Options describe one device. Vendor is the seed of the authorities and of
// the firmware's measurements: devices with the same vendor seed chain to the
// same root. Device is the seed of what only this device has.
type Options struct {
	Vendor, Device pki.Seed
	// Now is the moment of the evidence: expiry and collateral are made around
	// it. It must lie after the authorities began (2022-03-01, for Blackwell
	// 2023-06-20).
	Now time.Time
	// Arch is Hopper or Blackwell for a GPU; empty means Hopper. A switch takes
	// none, or LS10.
	Arch string
	// H200 is a Hopper on the board of an H200. FSP is a Blackwell whose FSP answers
	// for it, with a transcript of mixed values and no opaque data.
	H200, FSP bool
	// Position is the place on the board: 0..7 of a GPU, 0..3 of a switch. It
	// decides the wiring.
	Position int
	// Peers are the devices at the other side in the order of their positions:
	// of a Hopper GPU up to four switches, which turns protected PCIe on; of a
	// switch up to eight GPUs. Blackwell takes none: no report with links is on
	// record.
	Peers []PDI

	// Debug is debug firmware: the debug flag of DiceTcbInfo on Blackwell, other
	// measurements on Hopper (indices 1, 2, 3, 9) and LS10 (1, 2, 3).
	Debug bool
	// OutdatedTCB is an older driver and VBIOS with their measurements, FWID
	// and attestation key.
	OutdatedTCB bool
	// Revoked and OnHold are the status of certificate 1 at the OCSP service
	// (reasons keyCompromise and certificateHold). Evidence does not show it.
	Revoked, OnHold bool
	// Expired ends certificate 0 a day before Now.
	Expired bool
	// WrongSigner signs the report with a key that no certificate names.
	WrongSigner bool
	// Measurement flips one bit of one measured block.
	Measurement bool
	// OtherMode is a Hopper GPU that says the opposite of what its Peers mean: no
	// protected PCIe and no links although it has switches, or protected PCIe
	// without any.
	OtherMode bool
	// Links is what the device says wrongly about its Peers.
	Links LinkFault
	// Status is what the answer about certificate 1 in Endorsements says or does
	// wrong, beside Revoked and OnHold; OCSPRefused is no answer. Evidence does not
	// show it.
	Status OCSPFault
	// RIM is what is wrong with a manifest in Endorsements.
	RIM RIMFault

	// Shared keeps what this device has in common with others; nil for none.
	Shared *Shared
}

// LinkFault is what a device says wrongly about the devices linked to it.
type LinkFault int

const (
	// LinksHonest is nothing.
	LinksHonest LinkFault = iota
	// LinkMissing leaves the last peer out.
	LinkMissing
	// LinkRepeated has the first peer in the last one's place.
	LinkRepeated
	// LinksForeign are as many devices of another board.
	LinksForeign
)

// linked are the peers as the device reports them.
func (o Options) linked() []PDI {
	out := slices.Clone(o.Peers)
	last := len(out) - 1
	switch {
	case last < 0:
	case o.Links == LinkMissing:
		out[last] = PDI{}
	case o.Links == LinkRepeated:
		out[last] = out[0]
	case o.Links == LinksForeign:
		for i := range out {
			out[i] = PDIOf(o.Device.Sub("foreign board", strconv.Itoa(i)))
		}
	}
	return out
}

// Device is one simulated GPU or NVSwitch. It is safe for concurrent use.
type Device struct {
	model    model
	pdi      PDI
	vendor   pki.Seed
	seed     pki.Seed
	now      time.Time
	status   OCSPFault // of certificate 1
	rimFault RIMFault
	shared   *Shared
	path     [posRoot + 1]*pki.Authority // leaf first; the leaf's key is not used
	running  firmware
	fwid     []byte
	key      *ecdsa.PrivateKey // of certificate 0
	signer   *ecdsa.PrivateKey // that signs, key unless there is a fault
	expected []Measurement

	message     []byte // request and response without nonces and signature
	responderAt int
	// head, middle and tail are the JSON text around report and nonce.
	head, middle, tail string
}

// Measurement is one reference value: what honest firmware of the current
// version reports.
type Measurement struct {
	// Name is NVIDIA's index in decimal, from 0; the SPDM index is one more.
	Name string
	// Alg is sha-384.
	Alg string
	// Digest has 48 bytes, also where it is all zero.
	Digest []byte
	// RIM is the identifier of the reference values that NVIDIA would publish
	// it in, such as NV_GPU_VBIOS_G520_0200_885_9600A50001.
	RIM string
}

// NewGPU makes a GPU. Keys and certificates are made here, once.
func NewGPU(o Options) (*Device, error) {
	m := hopper()
	switch o.Arch {
	case "", Hopper:
		if o.FSP {
			return nil, errors.New("nvidia: a Hopper with FSP")
		}
		if o.H200 {
			m = h200()
		}
	case Blackwell:
		if m = blackwell(); o.FSP {
			m = fsp()
		}
		if o.H200 {
			return nil, errors.New("nvidia: an H200 is a Hopper")
		}
		if len(o.Peers) > 0 {
			return nil, errors.New("nvidia: a Blackwell GPU with links to switches has no known form")
		}
	default:
		return nil, fmt.Errorf("nvidia: architecture %q, expected %s or %s", o.Arch, Hopper, Blackwell)
	}
	return newDevice(m, o, len(gpuLinks), maxSwitches)
}

// NewSwitch makes an NVSwitch of the LS10 kind.
func NewSwitch(o Options) (*Device, error) {
	if o.Arch != "" && o.Arch != LS10 {
		return nil, fmt.Errorf("nvidia: switch of architecture %q, expected %s", o.Arch, LS10)
	}
	return newDevice(nvswitch(), o, len(switchPorts), maxGPUs)
}

func newDevice(m model, o Options, positions, peers int) (*Device, error) {
	if err := o.check(m, positions, peers); err != nil {
		return nil, err
	}
	d := &Device{model: m, pdi: PDIOf(o.Device), vendor: o.Vendor.Sub("nvidia"), seed: o.Device, now: o.Now, status: o.Status, rimFault: o.RIM, shared: o.Shared}
	switch {
	case o.Revoked:
		d.status = OCSPRevoked
	case o.OnHold:
		d.status = OCSPHold
	}
	fw := m.current
	if o.OutdatedTCB {
		fw = m.outdated
	}
	d.fwid, d.running = d.fwidOf(fw), fw
	var err error
	d.path, err = once(o.Shared, sharedKey{d.vendor, "authorities of " + m.title(), time.Time{}}, func() ([posRoot + 1]*pki.Authority, error) { return vendor(d.vendor, m) })
	if err != nil {
		return nil, err
	}
	if err := d.certify(o, fw); err != nil {
		return nil, err
	}
	if d.signer = d.key; o.WrongSigner {
		if d.signer, err = o.Device.Sub("key of nobody").ECDSA(elliptic.P384()); err != nil {
			return nil, err
		}
	}
	if err := d.prepare(o, fw); err != nil {
		return nil, err
	}
	d.expected = d.reference()
	return d, nil
}

func (o Options) check(m model, positions, peers int) error {
	switch {
	case o.Now.Before(m.began):
		return fmt.Errorf("nvidia: the authorities of %s began at %s, after %s", m.arch, m.began.Format(time.DateOnly), o.Now.Format(time.DateOnly))
	case o.Position < 0 || o.Position >= positions:
		return fmt.Errorf("nvidia: position %d, expected 0..%d", o.Position, positions-1)
	case len(o.Peers) > peers:
		return fmt.Errorf("nvidia: %d peers, at most %d", len(o.Peers), peers)
	case o.Revoked && (o.OnHold || o.Status != OCSPHonest) || o.OnHold && o.Status != OCSPHonest:
		return errors.New("nvidia: more than one status of the certificate")
	case o.OtherMode && m.arch != Hopper:
		return fmt.Errorf("nvidia: no mode of %s is simulated but one", m.arch)
	case o.Links != LinksHonest && len(o.Peers) == 0:
		return errors.New("nvidia: a fault of links without peers")
	case o.RIM == RIMVintage && m.forms != nil:
		return fmt.Errorf("nvidia: no issues of manifests of an FSP are known")
	case o.RIM == RIMConflict && m.late == nil:
		return fmt.Errorf("nvidia: one manifest of %s cannot contradict itself", m.arch)
	}
	for i, p := range o.Peers {
		if p == (PDI{}) || slices.Contains(o.Peers[:i], p) {
			return fmt.Errorf("nvidia: peer %d with PDI %s, which is zero or occurs twice", i, p)
		}
	}
	return nil
}

// prepare makes everything of the evidence that does not depend on the nonce.
func (d *Device) prepare(o Options, fw firmware) error {
	data := d.gpuOpaque
	switch {
	case d.model.arch == LS10:
		data = d.switchOpaque
	case d.model.forms != nil:
		data = func(Options, firmware) ([]byte, error) { return nil, nil }
	}
	fields, err := data(o, fw)
	if err != nil {
		return fmt.Errorf("nvidia: opaque data: %w", err)
	}
	values := d.values(fw)
	d.disturb(values, o, fw)
	d.message, d.responderAt = message(d.model.forms, values, fields)

	chain := base64.StdEncoding.EncodeToString(pki.PEM(d.Chain()...))
	d.head = `{"arch":"` + d.model.arch + `","certificate":"` + chain + `",`
	d.tail = `","version":"1.0"}`
	if fw.driver != "" {
		d.head += `"driver_version":"` + fw.driver + `",`
	}
	if d.model.arch != LS10 {
		d.tail = `","vbios_version":"` + fw.vbios + d.tail
	}
	d.head += `"evidence":"`
	d.middle = `","nonce":"`
	return nil
}

// reference lists what honest firmware reports, where reference values would
// cover it: all indices of a VBIOS or BIOS, and those of the driver that are
// measured.
func (d *Device) reference() []Measurement {
	fw := d.model.current
	if d.model.forms != nil {
		return nil
	}
	var out []Measurement
	for i, v := range d.values(fw) {
		rim := d.model.rimOf(fw, i)
		if rim != d.model.vbiosRIM(fw) && !slices.Contains(fw.measured, i) {
			continue
		}
		out = append(out, Measurement{Name: strconv.Itoa(i), Alg: "sha-384", Digest: v, RIM: rim})
	}
	return out
}

// Evidence answers a challenge of NonceSize bytes with the JSON object of one
// device; Array joins objects into evidence. It assembles and signs only.
func (d *Device) Evidence(nonce []byte) ([]byte, error) {
	report, err := d.Report(nonce)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(d.head)+base64.StdEncoding.EncodedLen(len(report))+len(d.middle)+2*NonceSize+len(d.tail))
	out = append(out, d.head...)
	out = base64.StdEncoding.AppendEncode(out, report)
	out = append(out, d.middle...)
	out = hex.AppendEncode(out, nonce)
	return append(out, d.tail...), nil
}

// Report is the signed SPDM request and response alone.
func (d *Device) Report(nonce []byte) ([]byte, error) {
	if len(nonce) != NonceSize {
		return nil, fmt.Errorf("nvidia: nonce of %d bytes, expected %d", len(nonce), NonceSize)
	}
	report := make([]byte, len(d.message), len(d.message)+2*digestSize)
	copy(report, d.message)
	copy(report[nonceAt:], nonce)
	copy(report[d.responderAt:], d.seed.Sub("responder nonce", string(nonce)).Bytes(responderLen))
	sum := sha512.Sum384(report)
	signature, err := pki.SignFixed(d.signer, crypto.SHA384, sum[:])
	if err != nil {
		return nil, err
	}
	return append(report, signature...), nil
}

// Array joins the objects of several devices into one JSON array.
func Array(objects ...[]byte) []byte {
	n := 1
	for _, o := range objects {
		n += len(o) + 1
	}
	out := append(make([]byte, 0, n+1), '[')
	for i, o := range objects {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, o...)
	}
	return append(out, ']')
}

// PDI is the device's identity, as in certificate 1.
func (d *Device) PDI() PDI { return d.pdi }

// UEID is the serial number of certificate 0 in decimal, which NVIDIA's claim
// ueid carries.
func (d *Device) UEID() string { return d.path[posLeaf].Cert.SerialNumber.String() }

// Chain are the five certificates, leaf first.
func (d *Device) Chain() []*x509.Certificate { return certificates(d.path[:]) }

// Root is the device root that a trust file lists. The root of reference
// values is another one, at the end of RIMSigner's chain.
func (d *Device) Root() *x509.Certificate { return d.path[posRoot].Cert }

// Measurements are the reference values of the current firmware, none with an FSP:
// its manifest is a CoRIM as it is. A fault does not change them. The digests must not be changed.
func (d *Device) Measurements() []Measurement { return slices.Clone(d.expected) }

func certificates(path []*pki.Authority) []*x509.Certificate {
	out := make([]*x509.Certificate, len(path))
	for i, a := range path {
		out[i] = a.Cert
	}
	return out
}
