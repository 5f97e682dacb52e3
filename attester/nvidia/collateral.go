// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/assize/assize/attester/pki"
)

// Reasons of revocation (RFC 5280, section 5.3.1).
const (
	reasonKeyCompromise = 1
	reasonHold          = 6
)

const (
	ocspLife  = 24 * time.Hour
	crlNumber = 1
	crlLife   = 30 * 24 * time.Hour
)

var (
	oidBasicOCSP   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidOCSPNonce   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidOCSPNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidOCSPSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 9}
	oidECDSASHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidSHA1        = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
)

// OCSPQuery asks for the status of one certificate of a chain.
type OCSPQuery struct {
	// Position of the certificate: 1..3 in a device chain (NVIDIA's service is
	// not asked about the leaf, which the device made), 0..2 in a RIM chain.
	Position int
	// Hash names the certificate in the answer: crypto.SHA1 or crypto.SHA384,
	// zero means the latter.
	Hash crypto.Hash
	// Nonce comes back in the answer if there is one.
	Nonce []byte
	// At is the time of the answer, which is good for a day; zero means
	// Options.Now.
	At time.Time
}

// OCSP answers as the service that the certificates name would: an
// OCSPResponse in DER (RFC 6960), signed by a responder that the issuer of the
// certificate delegated.
func (d *Device) OCSP(q OCSPQuery) ([]byte, error) {
	if q.Position < posDevice || q.Position >= posRoot {
		return nil, fmt.Errorf("nvidia: position %d, expected %d..%d", q.Position, posDevice, posRoot-1)
	}
	return d.OCSPService(nil).about(q, d.now)
}

// OCSP is the same for a certificate of the RIM chain.
func (r *RIMSigner) OCSP(q OCSPQuery) ([]byte, error) {
	if last := len(r.path) - 2; q.Position < 0 || q.Position > last {
		return nil, fmt.Errorf("nvidia: position %d, expected 0..%d", q.Position, last)
	}
	return r.OCSPService(nil).about(q, r.now)
}

// Endorsements are what a verifier needs beside the evidence, by file name: the
// signed manifests, OCSP answers without a nonce for the certificates 1 to 3 and for
// all of the manifests' but the root, and the revocation lists that the
// certificates 2 and 3 name. Devices with the same vendor and Now have the same
// bytes under the same name, but for faults of manifests; a nil value is a file that
// a fault withholds, also where another device has it.
func (d *Device) Endorsements() (map[string][]byte, error) {
	common, err := once(d.shared, sharedKey{d.vendor, "endorsements of " + d.model.vbiosRIM(d.model.current), d.now}, d.commonEndorsements)
	if err != nil {
		return nil, err
	}
	out := maps.Clone(common)
	if err := d.answers(out, d.OCSPService(nil), posDevice, posDevice); err != nil {
		return nil, err
	}
	if d.status == OCSPRefused {
		out[answerFile(d.path[posDevice].Cert)] = nil
	}
	if d.rimFault == RIMHonest {
		return out, nil
	}
	honest, err := d.honestManifests()
	if err != nil {
		return nil, err
	}
	for _, m := range honest {
		out[m.File()] = nil
	}
	faulty, err := d.Manifests()
	if err != nil {
		return nil, err
	}
	for _, m := range faulty {
		out[m.File()] = m.Raw
	}
	return out, d.signerAnswers(out, d.rimFault)
}

// commonEndorsements are those that do not depend on the device.
func (d *Device) commonEndorsements() (map[string][]byte, error) {
	out := map[string][]byte{}
	if err := d.answers(out, d.OCSPService(nil), posProvisioner, posFamily); err != nil {
		return nil, err
	}
	manifests, err := d.honestManifests()
	if err != nil {
		return nil, err
	}
	for _, m := range manifests {
		out[m.File()] = m.Raw
	}
	for _, list := range []struct {
		position int
		file     string
	}{{posRoot, rootCRL}, {posFamily, d.model.crl}} {
		der, err := d.path[list.position].CRL(crlNumber, d.now.Add(-time.Hour), d.now.Add(crlLife))
		if err != nil {
			return nil, err
		}
		out["nvidia-"+list.file] = der
	}
	return out, d.signerAnswers(out, RIMHonest)
}

// signerAnswers are those about the signer of manifests.
func (d *Device) signerAnswers(out map[string][]byte, fault RIMFault) error {
	signer, err := d.rimSigner(fault)
	if err != nil {
		return err
	}
	var faults map[int]OCSPFault
	if fault == RIMRevoked {
		faults = map[int]OCSPFault{0: OCSPRevoked}
	}
	return d.answers(out, signer.OCSPService(faults), 0, len(signer.path)-2)
}

// answers puts those about the certificates at some positions in out.
func (d *Device) answers(out map[string][]byte, s *OCSPService, first, last int) error {
	for i := first; i <= last; i++ {
		der, err := s.about(OCSPQuery{Position: i}, d.now)
		if err != nil {
			return err
		}
		out[answerFile(s.path[i].Cert)] = der
	}
	return nil
}

func answerFile(cert *x509.Certificate) string {
	return "nvidia-ocsp-" + hex.EncodeToString(cert.SerialNumber.Bytes()) + ".der"
}

// about answers without a request.
func (s *OCSPService) about(q OCSPQuery, now time.Time) ([]byte, error) {
	if q.At.IsZero() {
		q.At = now
	}
	if q.Hash == 0 {
		q.Hash = crypto.SHA384
	}
	if q.Hash != crypto.SHA1 && q.Hash != crypto.SHA384 {
		return nil, fmt.Errorf("nvidia: OCSP with %v, expected SHA-1 or SHA-384", q.Hash)
	}
	cert, issuer := s.path[q.Position].Cert, s.path[q.Position+1]
	name, key, err := issuerHashes(issuer.Cert, q.Hash)
	if err != nil {
		return nil, err
	}
	r := reply{
		request: &ocsp.Request{HashAlgorithm: q.Hash, IssuerNameHash: name, IssuerKeyHash: key, SerialNumber: cert.SerialNumber},
		nonce:   q.Nonce, fault: s.faults[q.Position], at: q.At.UTC().Truncate(time.Second),
	}
	return r.sign(s.seed, issuer)
}

// issuerHashes are how a request names an issuer: digests of its subject and key.
func issuerHashes(issuer *x509.Certificate, hash crypto.Hash) (name, point []byte, err error) {
	key, ok := issuer.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, nil, fmt.Errorf("nvidia: issuer %q without an ECDSA key", issuer.Subject)
	}
	raw, err := key.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("nvidia: %w", err)
	}
	digest := func(b []byte) []byte {
		h := hash.New()
		h.Write(b)
		return h.Sum(nil)
	}
	return digest(issuer.RawSubject), digest(raw), nil
}

// delegate makes the responder of an issuer: an end entity for OCSP signing,
// which needs no revocation check of its own.
func delegate(seed pki.Seed, issuer *pki.Authority) (*pki.Authority, *ecdsa.PrivateKey, error) {
	key, err := seed.ECDSA(elliptic.P384())
	if err != nil {
		return nil, nil, err
	}
	id, err := keyID(key)
	if err != nil {
		return nil, nil, err
	}
	subject := strings.TrimPrefix(issuer.Cert.Subject.CommonName, maker+" ")
	a, err := issue(issuer, key, request{
		subject: name(commonName(maker+" OCSP of "+subject), organization(maker)),
		serial:  seed.Serial(), from: issuer.Cert.NotBefore, until: issuer.Cert.NotAfter,
		extensions: append([]pkix.Extension{
			isCA(false, false), usage(usageSign), ext(oidExtKeyUsage, true, tlv(derSequence, oid(oidOCSPSigning))), ext(oidOCSPNoCheck, false, tlv(derNull)),
		}, keyIDs(id, issuer.Cert.SubjectKeyId)...),
	})
	return a, key, err
}
