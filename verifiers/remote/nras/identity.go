// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/verifiers/internal/nvidia"
)

// rootSHA256 is the SHA-256 of "NVIDIA Device Identity CA", valid 2021-11-05 ..
// 9999-12-31.
const rootSHA256 = "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"

// chainLength is the number of certificates of a device, the root included.
const chainLength = 5

// roots are the certificates, by SHA-256, in which a chain may end for what is in
// the evidence to count as a fact.
type roots map[[32]byte]bool

func newRoots(extra []*x509.Certificate) roots {
	out := roots{}
	var pinned [32]byte
	_, _ = hex.Decode(pinned[:], []byte(rootSHA256)) // a constant; a test reads it
	out[pinned] = true
	for _, c := range extra {
		out[sha256.Sum256(c.Raw)] = true
	}
	return out
}

// identity is what the evidence proves without the service: the report is signed
// by a key that a root has certified for this device.
type identity struct {
	signer string   // SHA-256 of the SubjectPublicKeyInfo of certificate 0
	pdi    string   // 16 hexadecimal digits
	peers  []string // PDIs that the report lists, in the spelling of facts
}

// identify verifies the device chain at time t and reads the links. The service
// signs neither PDI nor peers, and its word for the ueid says nothing about the
// rest of what was sent, so nothing of it becomes a fact without this.
func (k kind) identify(d *device, trusted roots, t time.Time) (*identity, error) {
	if len(d.certs) != chainLength {
		return nil, fmt.Errorf("%d certificates, expected %d", len(d.certs), chainLength)
	}
	root := d.certs[chainLength-1]
	if !trusted[sha256.Sum256(root.Raw)] {
		return nil, fmt.Errorf("the chain ends in %.64q, which is no root of this scheme", root.Subject.CommonName)
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: t, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	o.Roots.AddCert(root)
	for _, c := range d.certs[1 : chainLength-1] {
		o.Intermediates.AddCert(c)
	}
	chains, err := d.certs[0].Verify(o)
	if err != nil {
		return nil, err
	}
	inOrder := func(chain []*x509.Certificate) bool {
		return slices.EqualFunc(chain, d.certs, func(a, b *x509.Certificate) bool { return bytes.Equal(a.Raw, b.Raw) })
	}
	if !slices.ContainsFunc(chains, inOrder) { // the names in certificate 1 must be those of the issuer
		return nil, errors.New("the certificates verify only in another order")
	}
	id := &identity{}
	spki := sha256.Sum256(d.certs[0].RawSubjectPublicKeyInfo)
	id.signer = hex.EncodeToString(spki[:])
	serial := d.certs[1].SerialNumber.Bytes()
	if len(serial) != 1+nvidia.PDISize || !slices.Contains(k.prefixes, serial[0]) || !strings.EqualFold(d.certs[1].Subject.SerialNumber, hex.EncodeToString(serial)) {
		return nil, fmt.Errorf("certificate 1 has serial number %x, which is none of a %s", serial, k.noun)
	}
	id.pdi = hex.EncodeToString(serial[1:])
	id.peers, err = k.peers(d.report, id.pdi)
	return id, err
}

// errOther: the report and the certificates are of two devices.
var errOther = errors.New("the report is about a device with another PDI")

// peers reads the PDIs of the devices at the other ends of the links: little-endian
// in the report of a GPU, one for each link; big-endian in that of a switch, which
// also names itself.
func (k kind) peers(r *nvidia.Report, own string) ([]string, error) {
	version, _ := number(r.Opaque, nvidia.OpaqueVersion)
	versioned := hasOpaque(r.Opaque, nvidia.OpaqueVersion)
	if k.path == "gpu" {
		f, ok := nvidia.Find(r.Opaque, nvidia.OpaquePDI)
		if !ok || versioned && version != versionKnown || len(f.Value)%nvidia.PDISize != 0 {
			return nil, nil
		}
		return pdis(f.Value, binary.LittleEndian), nil
	}
	self, ok := nvidia.Find(r.Opaque, nvidia.OpaquePDI)
	if !ok || hex.EncodeToString(self.Value) != own {
		return nil, errOther
	}
	f, ok := nvidia.Find(r.Opaque, nvidia.OpaqueGPUs)
	if !ok || versioned || len(f.Value) < 8*nvidia.PDISize {
		return nil, nil
	}
	return pdis(f.Value[:8*nvidia.PDISize], binary.BigEndian), nil
}

// pdis reads a list without empty places and repetitions.
func pdis(list []byte, order binary.ByteOrder) []string {
	var out []string
	for v := range slices.Chunk(list, nvidia.PDISize) {
		if n := order.Uint64(v); n != 0 {
			if name := nvidia.PDIName(fmt.Sprintf("%016x", n)); !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
