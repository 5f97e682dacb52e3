// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Document is one signed document as it was loaded. Nobody has checked its
// signature.
type Document struct {
	// Name is where it came from, for messages.
	Name string
	// Raw is shared and must not be changed.
	Raw []byte
	// Digest is the SHA-256 of Raw.
	Digest [32]byte
}

// ManifestFormat is how a manifest is written.
type ManifestFormat string

// Formats of manifests.
const (
	// ManifestSWID: a SWID tag (ISO/IEC 19770-2) with an XML signature, which
	// NVIDIA's service calls TCG.
	ManifestSWID ManifestFormat = "swid"
	// ManifestCoRIM: a CoRIM in a COSE_Sign1 with x5chain.
	ManifestCoRIM ManifestFormat = "corim"
)

// Manifest is a signed reference integrity manifest (RIM) that lay in a bundle.
type Manifest struct {
	Document
	// ID is the identifier in NVIDIA's RIM service, from a reply of the service or
	// from the name of the file; "" if nobody says it. It is not signed: what a
	// manifest is of is in what it says.
	ID     string
	Format ManifestFormat
	// chain are the certificates beside the signature as they stand there.
	chain []*x509.Certificate
}

// OCSPResponses are the OCSP responses (DER, RFC 6960) in the order in which they
// were loaded, each once.
func (b *Bundle) OCSPResponses() []Document {
	if b == nil {
		return nil
	}
	return slices.Clone(b.ocsp)
}

// Manifests are the signed manifests in the order in which they were loaded. The
// same bytes occur once for each identifier.
func (b *Bundle) Manifests() []Manifest {
	if b == nil {
		return nil
	}
	return slices.Clone(b.manifests)
}

// Chain are the certificates beside the signature, in their order and not
// verified. They are shared and must not be changed.
func (m Manifest) Chain() []*x509.Certificate { return slices.Clone(m.chain) }

// StatusItems are the OCSP responses that say whether the certificates beside the
// signature are revoked: one for each whose issuer follows it, so none for a root.
func (m Manifest) StatusItems() []Item {
	var out []Item
	for i := 0; i+1 < len(m.chain); i++ {
		n, err := OCSPNeed(m.chain[i], m.chain[i+1])
		if err != nil {
			continue // nobody could be asked about it
		}
		if item := n.ocspItem(); !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

// statement is what a manifest says about itself: it holds while all certificates
// beside its signature do.
func (m Manifest) statement() Statement {
	s := Statement{Item: Item{Kind: ItemNVRIM, RIM: m.ID}, Name: m.Name, Digest: m.Digest}
	for i, c := range m.chain {
		if i == 0 {
			s.From, s.Until = c.NotBefore, c.NotAfter
		}
		s.From, s.Until = later(s.From, c.NotBefore), earlier(s.Until, c.NotAfter)
	}
	return s
}

// addManifest keeps the same bytes once for each identifier, and without an
// identifier only if there is none for them. It is called only while a bundle is
// being made.
func (b *Bundle) addManifest(m Manifest) {
	for i, other := range b.manifests {
		switch {
		case other.Digest != m.Digest:
		case m.ID == "" || other.ID == m.ID:
			return
		case other.ID == "":
			b.manifests[i] = m
			at := slices.IndexFunc(b.statements, func(s Statement) bool { return s.Digest == m.Digest && s.Item == Item{Kind: ItemNVRIM} })
			b.statements[at] = m.statement()
			return
		}
	}
	b.manifests = append(b.manifests, m)
	b.statements = append(b.statements, m.statement())
}

// addOCSP keeps each response once. It is called only while a bundle is being made.
func (b *Bundle) addOCSP(d Document, a OCSPAnswer) {
	if !b.isNew(d.Digest) {
		return
	}
	b.ocsp = append(b.ocsp, d)
	from, until := a.Window()
	b.statements = append(b.statements, Statement{a.Item, d.Name, from, until, d.Digest})
}

const (
	// maxRIM is the length of the longest identifier of a manifest in bytes.
	maxRIM = 128
	// rimPrefix begins every identifier of NVIDIA's service.
	rimPrefix = "NV_"
	// maxSerial is the length of the longest serial number in bytes (RFC 5280,
	// section 4.1.2.2).
	maxSerial = 20
)

// checkRIM compares an identifier with the form that those of NVIDIA's service
// have: capital letters, digits, dots, low lines and, in versions of firmware of
// network cards, hyphens. It becomes part of an address and of the name of a file.
func checkRIM(id string) error {
	bad := strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
	if bad || len(id) > maxRIM || len(id) <= len(rimPrefix) || !strings.HasPrefix(id, rimPrefix) || strings.Contains(id, "..") {
		return fmt.Errorf("%w: RIM %.140q is not an identifier of NVIDIA's RIM service", ErrNeed, id)
	}
	return nil
}

// rimOfFile is the identifier that the name of a file says, "" for none. Local
// stores of NVIDIA's tools have files ID.xml and ID.corim.
func rimOfFile(name string) string {
	base := path.Base(name)
	switch ext := path.Ext(base); ext {
	case ".xml", ".swidtag", ".corim", ".cbor", ".cose":
		base = strings.TrimSuffix(base, ext)
	}
	if checkRIM(base) != nil {
		return ""
	}
	return base
}

// checkOCSP compares the name of a certificate with its form.
func (n Need) checkOCSP() error {
	if !lowerHex(n.IssuerName, 2*sha512.Size384) || !lowerHex(n.IssuerKey, 2*sha512.Size384) {
		return fmt.Errorf("%w: issuer %.16q… %.16q… is not two SHA-384 in lower-case hexadecimal", ErrNeed, n.IssuerName, n.IssuerKey)
	}
	if len(n.Serial) < 2 || len(n.Serial) > 2*maxSerial || !lowerHex(n.Serial, len(n.Serial)) || strings.HasPrefix(n.Serial, "00") {
		return fmt.Errorf("%w: serial number %.44q is not 1 to %d bytes in lower-case hexadecimal, the first not zero", ErrNeed, n.Serial, maxSerial)
	}
	return nil
}

func (n Need) ocspItem() Item {
	return Item{Kind: ItemNVOCSP, IssuerName: n.IssuerName, IssuerKey: n.IssuerKey, Serial: n.Serial}
}

// OCSPNeed asks for the status of a certificate: it is named as a CertID with
// SHA-384 does (RFC 6960, section 4.1.1). Neither certificate has to be verified.
func OCSPNeed(cert, issuer *x509.Certificate) (Need, error) {
	in := cryptobyte.String(issuer.RawSubjectPublicKeyInfo)
	var spki, algorithm cryptobyte.String
	var key []byte
	if !in.ReadASN1(&spki, cbasn1.SEQUENCE) || !spki.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !spki.ReadASN1BitStringAsBytes(&key) {
		return Need{}, fmt.Errorf("%w: the issuer has an unreadable public key", ErrNeed)
	}
	if string(cert.RawIssuer) != string(issuer.RawSubject) || cert.SerialNumber == nil || cert.SerialNumber.Sign() <= 0 {
		return Need{}, fmt.Errorf("%w: the certificate is not of this issuer, or has no positive serial number", ErrNeed)
	}
	name, bits := sha512.Sum384(cert.RawIssuer), sha512.Sum384(key)
	n := Need{
		Kind: NeedNVIDIAOCSP, IssuerName: hex.EncodeToString(name[:]), IssuerKey: hex.EncodeToString(bits[:]),
		Serial: hex.EncodeToString(cert.SerialNumber.Bytes()),
	}
	return n, n.check()
}

// StatusAge is how long an OCSP response without nextUpdate counts as current:
// RFC 6960, section 2.4, lets such a responder have newer information at any
// time, so no time is said in it; a day is what bounds every other document here.
const StatusAge = 24 * time.Hour

// Window is from when to when the answer is current: thisUpdate to nextUpdate, or
// StatusAge without one, and within the certificate of who signed, if that is
// beside it.
func (a OCSPAnswer) Window() (from, until time.Time) {
	from, until = a.ThisUpdate, a.NextUpdate
	if until.IsZero() {
		until = from.Add(StatusAge)
	}
	if c := a.Responder; c != nil {
		from, until = later(from, c.NotBefore), earlier(until, c.NotAfter)
	}
	return from, until
}

// errNoOCSP is of files that are no OCSP responses at all.
var errNoOCSP = errors.New("not an OCSP response")
