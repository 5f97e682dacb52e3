// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/strictjson"
)

// Bounds of manifests, far above what NVIDIA publishes.
const (
	maxSWID  = 128 << 10 // bytes
	maxCoRIM = 1 << 20   // bytes
	// maxSignChain is how many certificates may be beside a signature.
	maxSignChain = 8
)

// Names of XML that a manifest is known by (ISO/IEC 19770-2:2015, XML Signature).
const (
	nsSWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	nsDSig = "http://www.w3.org/2000/09/xmldsig#"
)

// Values of rim_format in replies of NVIDIA's service.
const (
	formatTCG   = "TCG"
	formatCoRIM = "CORIM"
)

// coseSign1 begins a COSE_Sign1 with its tag (RFC 9052, section 4.2): tag 18, an
// array of four.
var coseSign1 = []byte{0xd2, 0x84}

// looksLikeSWID says whether a file claims to be a manifest in XML: its root is
// SoftwareIdentity.
func looksLikeSWID(raw []byte) bool {
	if t := bytes.TrimLeft(raw, " \t\r\n"); len(t) == 0 || t[0] != '<' {
		return false
	}
	d := xml.NewDecoder(bytes.NewReader(raw[:min(len(raw), maxSWID)]))
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if root, ok := token.(xml.StartElement); ok {
			return root.Name == xml.Name{Space: nsSWID, Local: "SoftwareIdentity"}
		}
	}
}

func looksLikeCoRIM(raw []byte) bool { return bytes.HasPrefix(raw, coseSign1) }

// looksLikeReply says whether a file claims to be what NVIDIA's RIM service
// answers.
func looksLikeReply(raw []byte) bool {
	return looksLikeObject(raw) && bytes.Contains(raw, []byte(`"rim"`)) && bytes.Contains(raw, []byte(`"rim_format"`))
}

// parseManifest reads a document of one of the forms.
func parseManifest(name, id string, raw []byte) (m Manifest, err error) {
	m = Manifest{Document: Document{Name: name, Raw: raw, Digest: sha256.Sum256(raw)}, ID: id}
	if looksLikeCoRIM(raw) {
		m.Format = ManifestCoRIM
		m.chain, err = coseChain(raw)
	} else {
		m.Format = ManifestSWID
		m.chain, err = xmlChain(raw)
	}
	if err == nil && len(m.chain) == 0 {
		err = errors.New("manifest without the certificate of who signed it")
	}
	return m, err
}

// ParseReply reads a reply of NVIDIA's RIM service: an object with id, rim (a
// manifest in base64), rim_format ("TCG" or "CORIM") and perhaps sha256, the
// SHA-256 of the manifest or of its base64 in hexadecimal, which has to fit then.
// Nothing else in it is read, and nothing of it is signed but the manifest.
func ParseReply(name string, raw []byte) (Manifest, error) {
	members, err := strictjson.Members(raw)
	if err != nil {
		return Manifest{}, err
	}
	text := map[string]string{}
	for _, m := range []string{"id", "rim", "rim_format", "sha256"} {
		var s string
		if v, ok := members[m]; ok && json.Unmarshal(v, &s) != nil {
			return Manifest{}, fmt.Errorf("member %q is not a string", m)
		}
		text[m] = s
	}
	if err := checkRIM(text["id"]); err != nil {
		return Manifest{}, err
	}
	if len(text["rim"]) > base64.StdEncoding.EncodedLen(maxCoRIM) {
		return Manifest{}, fmt.Errorf("manifest of more than %d bytes", maxCoRIM)
	}
	doc, err := base64.StdEncoding.Strict().DecodeString(text["rim"])
	if err != nil {
		return Manifest{}, fmt.Errorf("rim: %w", err)
	}
	if err := checksum(text["sha256"], doc, text["rim"]); err != nil {
		return Manifest{}, err
	}
	switch f := text["rim_format"]; {
	case f == formatTCG && looksLikeSWID(doc), f == formatCoRIM && looksLikeCoRIM(doc):
		return parseManifest(name, text["id"], doc)
	default:
		return Manifest{}, fmt.Errorf("rim_format %.32q, and the manifest is not a signed one of that form", f)
	}
}

// checksum compares the digest of a reply, which guards against accidents only.
// What it is over is not documented: the manifest or its base64.
func checksum(sum string, doc []byte, encoded string) error {
	if sum == "" {
		return nil
	}
	want, err := hex.DecodeString(sum)
	if err != nil || len(want) != sha256.Size {
		return fmt.Errorf("sha256 %.72q is not a SHA-256", sum)
	}
	for _, b := range [][]byte{doc, []byte(encoded)} {
		if got := sha256.Sum256(b); subtle.ConstantTimeCompare(got[:], want) == 1 {
			return nil
		}
	}
	return fmt.Errorf("sha256 is %x…, the manifest has another", want[:8])
}

// EncodeReply writes a manifest and its identifier as a reply that Load and
// Parse read.
func (m Manifest) EncodeReply() ([]byte, error) {
	format := formatTCG
	if m.Format == ManifestCoRIM {
		format = formatCoRIM
	}
	out, err := json.Marshal(map[string]string{
		"id": m.ID, "rim": base64.StdEncoding.EncodeToString(m.Raw), "rim_format": format, "sha256": hex.EncodeToString(m.Digest[:]),
	})
	if err != nil {
		return nil, fmt.Errorf("endorsements: %w", err)
	}
	if _, err := ParseReply("", out); err != nil {
		return nil, fmt.Errorf("endorsements: not a reply: %w", err)
	}
	return out, nil
}

// ParseManifest reads a manifest as it is, in XML or COSE, that is known by an
// identifier of NVIDIA's RIM service.
func ParseManifest(name, id string, raw []byte) (Manifest, error) {
	if err := checkRIM(id); err != nil {
		return Manifest{}, err
	}
	if !looksLikeSWID(raw) && !looksLikeCoRIM(raw) {
		return Manifest{}, errors.New("endorsements: neither a SWID tag nor a signed CoRIM")
	}
	m, err := parseManifest(name, id, raw)
	if err != nil {
		return Manifest{}, fmt.Errorf("endorsements: %w", err)
	}
	return m, nil
}

// xmlChain reads a whole document and the certificates in it. What is signed is
// not looked at: that takes the verifier of manifests.
func xmlChain(raw []byte) ([]*x509.Certificate, error) {
	if len(raw) > maxSWID {
		return nil, fmt.Errorf("SWID tag of %d bytes, at most %d", len(raw), maxSWID)
	}
	d := xml.NewDecoder(bytes.NewReader(raw))
	var out []*x509.Certificate
	var text strings.Builder
	depth, roots := 0, 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.Directive:
			return nil, errors.New("document type in a SWID tag")
		case xml.StartElement:
			if depth++; depth == 1 {
				roots++
			}
			text.Reset()
			if roots > 1 {
				return nil, errors.New("more than one root element")
			}
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(t)) > 0 {
				return nil, errors.New("text beside the root element")
			}
			text.Write(t)
		case xml.EndElement:
			depth--
			if t.Name == (xml.Name{Space: nsDSig, Local: "X509Certificate"}) {
				if out, err = addDER(out, text.String()); err != nil {
					return nil, err
				}
			}
			text.Reset()
		}
	}
}

func addDER(list []*x509.Certificate, text string) ([]*x509.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, fmt.Errorf("certificate %d: %w", len(list), err)
	}
	return addCertificate(list, der)
}

func addCertificate(list []*x509.Certificate, der []byte) ([]*x509.Certificate, error) {
	if len(list) == maxSignChain {
		return nil, fmt.Errorf("more than %d certificates", maxSignChain)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate %d: %w", len(list), err)
	}
	return append(list, c), nil
}

// headerX5Chain is the label of x5chain (RFC 9360).
const headerX5Chain = 33

// coseChain reads a COSE_Sign1 and the certificates in x5chain.
func coseChain(raw []byte) ([]*x509.Certificate, error) {
	if len(raw) > maxCoRIM {
		return nil, fmt.Errorf("CoRIM of %d bytes, at most %d", len(raw), maxCoRIM)
	}
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 8, MaxMapPairs: 64, MaxArrayElements: 64}.DecMode()
	if err != nil {
		return nil, err
	}
	var message struct {
		_           struct{} `cbor:",toarray"`
		Protected   []byte
		Unprotected map[any]cbor.RawMessage
		Payload     []byte
		Signature   []byte
	}
	if err := mode.Unmarshal(raw[1:], &message); err != nil {
		return nil, err
	}
	if len(message.Payload) == 0 {
		return nil, errors.New("COSE_Sign1 without a payload")
	}
	protected := map[any]cbor.RawMessage{}
	if err := mode.Unmarshal(message.Protected, &protected); err != nil {
		return nil, fmt.Errorf("protected headers: %w", err)
	}
	chain, there := protected[uint64(headerX5Chain)]
	other, also := message.Unprotected[uint64(headerX5Chain)]
	switch {
	case there && also:
		return nil, errors.New("x5chain is protected and unprotected")
	case also:
		chain = other
	case !there:
		return nil, nil
	}
	var list [][]byte
	var one []byte
	if mode.Unmarshal(chain, &one) == nil {
		list = [][]byte{one}
	} else if err := mode.Unmarshal(chain, &list); err != nil {
		return nil, fmt.Errorf("x5chain: %w", err)
	}
	var out []*x509.Certificate
	for _, der := range list {
		if out, err = addCertificate(out, der); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parseNVIDIA adds what a file holds to a bundle.
func (b *Bundle) parseNVIDIA(name string, raw []byte) error {
	if looksLikeOCSP(raw) {
		a, err := ParseOCSP(raw)
		if err != nil {
			return err
		}
		b.addOCSP(Document{Name: name, Raw: raw, Digest: sha256.Sum256(raw)}, a)
		return nil
	}
	var m Manifest
	var err error
	if looksLikeReply(raw) {
		m, err = ParseReply(name, raw)
	} else {
		m, err = parseManifest(name, rimOfFile(name), raw)
	}
	if err != nil {
		return err
	}
	b.addManifest(m)
	return nil
}
