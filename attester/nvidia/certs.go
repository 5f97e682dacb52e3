// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"github.com/assize/assize/attester/pki"
)

const (
	// maker stands where a real certificate has NVIDIA Corporation.
	maker = "Assize Simulated"
	// Places of the certificates in a device chain.
	posLeaf, posDevice, posProvisioner, posFamily, posRoot = 0, 1, 2, 3, 4

	ocspURL = "http://ocsp.ndis.nvidia.com"
	crlURL  = "http://crl.ndis.nvidia.com/crl/"
	rootCRL = "l1-root.crl"
)

// Key usages as the contents of the extension (RFC 5280, section 4.2.1.3).
var (
	usageSign    = []byte{derBitString, 2, 7, 0x80}
	usageCert    = []byte{derBitString, 2, 2, 0x04}
	usageCertCRL = []byte{derBitString, 2, 1, 0x06}
)

var (
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectKey       = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidAuthorityKey     = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidCRLPoints        = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAuthorityInfo    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	oidOCSP             = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1}
	oidSPDMDevice       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 1} // DMTF, DSP0274
	oidCompositeDevice  = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}           // TCG DICE
	oidTCBInfo          = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}        // TCG DICE
	oidSHA384           = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
)

// forever is the end of validity that RFC 5280 gives devices without one.
var forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// request is a certificate to be made.
type request struct {
	subject     []byte
	serial      *big.Int
	from, until time.Time
	ca          bool
	extensions  []pkix.Extension
}

// keyID is the key identifier: the SHA-1 of the public point.
func keyID(key *ecdsa.PrivateKey) ([]byte, error) {
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	sum := sha1.Sum(point)
	return sum[:], nil
}

// issue makes a certificate, self-signed if there is no issuer. All extensions
// are given, in their order.
func issue(issuer *pki.Authority, key *ecdsa.PrivateKey, r request) (*pki.Authority, error) {
	template := &x509.Certificate{
		RawSubject: r.subject, SerialNumber: r.serial, NotBefore: r.from, NotAfter: r.until,
		SignatureAlgorithm: x509.ECDSAWithSHA384, BasicConstraintsValid: r.ca, IsCA: r.ca, ExtraExtensions: r.extensions,
	}
	if issuer == nil {
		return pki.Root(key, template)
	}
	return issuer.Issue(key, template)
}

func ext(id asn1.ObjectIdentifier, critical bool, value ...[]byte) pkix.Extension {
	var all []byte
	for _, v := range value {
		all = append(all, v...)
	}
	return pkix.Extension{Id: id, Critical: critical, Value: all}
}

// isCA is basic constraints with an optional path length of zero.
func isCA(ca, pathZero bool) pkix.Extension {
	var in []byte
	if ca {
		in = []byte{1, 1, 0xFF}
	}
	if pathZero {
		in = append(in, 2, 1, 0)
	}
	return ext(oidBasicConstraints, true, tlv(derSequence, in))
}

func usage(b []byte) pkix.Extension { return ext(oidKeyUsage, true, b) }

// keyIDs are the subject's and the authority's key identifier.
func keyIDs(subject, authority []byte) []pkix.Extension {
	return []pkix.Extension{
		ext(oidSubjectKey, false, tlv(derOctets, subject)),
		ext(oidAuthorityKey, false, tlv(derSequence, tlv(derContext, authority))),
	}
}

func askOCSP() pkix.Extension {
	return ext(oidAuthorityInfo, false, tlv(derSequence, tlv(derSequence, oid(oidOCSP), tlv(derContext|6, []byte(ocspURL)))))
}

func crlAt(url string) pkix.Extension {
	point := tlv(derConstructed, tlv(derConstructed, tlv(derContext|6, []byte(url))))
	return ext(oidCRLPoints, false, tlv(derSequence, tlv(derSequence, point)))
}

// authority makes a CA below issuer, or a root, with the extensions in front
// of its key identifiers.
func authority(issuer *pki.Authority, seed pki.Seed, r request, front ...pkix.Extension) (*pki.Authority, error) {
	key, err := seed.ECDSA(elliptic.P384())
	if err != nil {
		return nil, err
	}
	id, err := keyID(key)
	if err != nil {
		return nil, err
	}
	above := id
	if issuer != nil {
		above = issuer.Cert.SubjectKeyId
	}
	if r.serial == nil {
		r.serial = seed.Serial()
	}
	r.ca, r.extensions = true, append(front, keyIDs(id, above)...)
	return issue(issuer, key, r)
}

// vendor makes the three certificates that all devices of a model share, at
// their places in the chain. They follow from the vendor's seed alone.
func vendor(seed pki.Seed, m model) (path [posRoot + 1]*pki.Authority, err error) {
	path[posRoot], err = authority(nil, seed.Sub("root"), request{
		subject: name(commonName(maker+" NVIDIA Device Identity CA"), organization(maker)), from: day(2021, 11, 5), until: forever,
	}, isCA(true, false), usage(usageCertCRL))
	if err != nil {
		return path, err
	}
	path[posFamily], err = authority(path[posRoot], seed.Sub("family", m.family), request{
		subject: name(commonName(m.family), organization(maker)), from: m.familyBegan, until: forever,
	}, isCA(true, false), usage(usageCertCRL), crlAt(crlURL+rootCRL), askOCSP())
	if err != nil {
		return path, err
	}
	path[posProvisioner], err = authority(path[posFamily], seed.Sub("provisioner", m.provisioner), request{
		subject: name(commonName(m.provisioner), organization(maker), country("US")), from: m.began, until: forever,
	}, isCA(true, false), usage(usageCertCRL), crlAt(crlURL+m.crl), askOCSP())
	return path, err
}

// certify makes the two certificates of the device: its identity, whose serial
// number carries the PDI, and the attestation key of its firmware.
func (d *Device) certify(o Options, fw firmware) error {
	serial := append([]byte{d.model.prefix}, d.pdi[:]...)
	subject := func(number []byte, part string) []byte {
		return name(serialName(number), country("US"), organization(maker), commonName(d.model.title()+" "+part))
	}
	front := []pkix.Extension{isCA(true, false), usage(usageCert)}
	if d.model.ocspOnDevice {
		front = append(front, askOCSP())
	}
	var err error
	d.path[posDevice], err = authority(d.path[posProvisioner], o.Device.Sub("identity"), request{
		subject: subject(serial, "BROM"), serial: new(big.Int).SetBytes(serial), from: d.model.deviceBegan, until: forever,
	}, front...)
	if err != nil {
		return err
	}
	// DICE: another firmware is another layer with another key.
	if d.key, err = o.Device.Sub("attestation key", fw.vbios).ECDSA(elliptic.P384()); err != nil {
		return err
	}
	id, err := keyID(d.key)
	if err != nil {
		return err
	}
	// The serial number is the key identifier with the top bits 01.
	number := append([]byte{id[0]&0x3F | 0x40}, id[1:]...)
	until := forever
	if o.Expired {
		until = o.Now.Add(-24 * time.Hour)
	}
	layer, err := d.layer(o)
	if err != nil {
		return err
	}
	extensions := append([]pkix.Extension{usage(usageSign)}, keyIDs(id, d.path[posDevice].Cert.SubjectKeyId)...)
	d.path[posLeaf], err = issue(d.path[posDevice], d.key, request{
		subject: subject(number, "FMC LF"), serial: new(big.Int).SetBytes(number), from: d.model.deviceBegan, until: until,
		extensions: append(extensions, d.altName(o), layer),
	})
	return err
}

// title is the part that the common names of certificates 0 and 1 share.
func (m model) title() string { return m.chip + " A01 " + m.engine }

// altName names the device as DSP0274 asks: vendor, product and a number,
// which is not the PDI.
func (d *Device) altName(o Options) pkix.Extension {
	text := fmt.Sprintf("NVIDIA:%s:48B02D%X", d.model.chip, o.Device.Sub("board number").Bytes(5))
	other := tlv(derConstructed, oid(oidSPDMDevice), tlv(derConstructed, tlv(derUTF8, []byte(text))))
	return ext(oidSubjectAltName, false, tlv(derSequence, other))
}

// layer is the extension with the FWID of the firmware that holds the key.
func (d *Device) layer(o Options) (pkix.Extension, error) {
	fwid := func(digest []byte) []byte { return tlv(derSequence, oid(oidSHA384), tlv(derOctets, digest)) }
	if !d.model.tcbInfo {
		spki := d.path[posDevice].Cert.RawSubjectPublicKeyInfo
		return ext(oidCompositeDevice, false, tlv(derSequence, []byte{2, 1, 1}, spki, fwid(d.fwid))), nil
	}
	// Flags: notConfigured and fixedWidth as on devices in the field.
	flags := []byte{0, 0x80, 0, 0, 1}
	if o.Debug {
		flags[1] |= 0x80 >> 3
	}
	text := func(tag byte, s string) []byte { return tlv(derContext|tag, []byte(s)) }
	return ext(oidTCBInfo, false, tlv(derSequence,
		text(0, "NVIDIA"), text(1, d.model.title()), text(2, d.model.tcbVersion), text(3, string(rune(d.running.svn))), text(4, "\x00"), text(5, "\x00"),
		tlv(derConstructed|6, fwid(d.fwid), fwid(make([]byte, len(d.fwid)))),
		tlv(derContext|7, flags), text(8, "\xC0"), text(9, "\x00"))), nil
}
