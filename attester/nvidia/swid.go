// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"

	"github.com/assize/assize/attester/pki"
)

// Namespaces and algorithms of NVIDIA's manifests, which are SWID tags
// (ISO/IEC 19770-2:2015) with an XML signature.
const (
	swidSpace  = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	tcgSpace   = "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/"
	hashSpace  = "http://www.w3.org/2001/04/xmlenc#sha384"
	dsigSpace  = "http://www.w3.org/2000/09/xmldsig#"
	dsigMore   = "http://www.w3.org/2001/04/xmldsig-more#"
	c14nMethod = "http://www.w3.org/2006/12/xml-c14n11"

	swidIndices = 64
	swidEnd     = "</SoftwareIdentity>"
)

// golden is what a manifest says about one index.
type golden struct {
	name   string
	active bool
	values [][]byte
}

// swid is the content of a manifest.
type swid struct {
	product, edition, version string
	golden                    [swidIndices]golden
}

// text writes the content as NVIDIA does, byte for byte but for names and values.
func (s swid) text() string {
	var payload strings.Builder
	sum := sha512.New384()
	for i, g := range s.golden {
		state := "False"
		if g.active {
			state = "True"
		}
		fmt.Fprintf(&payload, `        <ns0:Resource type="Measurement" index="%d" active="%s" alternatives="%d"`, i, state, len(g.values))
		for n, v := range g.values {
			fmt.Fprintf(&payload, ` ns2:Hash%d="%x"`, n, v)
		}
		fmt.Fprintf(&payload, ` name="%s" size="%d"/>`+"\n", g.name, digestSize)
	}
	sum.Write([]byte(s.version + payload.String()))
	tag := hex.EncodeToString(sum.Sum(nil))
	return `<SoftwareIdentity xmlns="` + swidSpace + `" xmlns:ns0="` + swidSpace + `" xmlns:ns2="` + hashSpace + `" corpus="false" name="` + s.product +
		`" patch="false" supplemental="false" tagId="` + tag + `" version="1.0" tagVersion="0">
    <ns0:Entity name="NVIDIA Corporation" role="softwareCreator tagCreator"/>
    <ns0:Meta xmlns:ns1="` + tcgSpace + `" colloquialVersion="` + s.version + `" edition="` + s.edition + `" product="` + s.product +
		`" revision="r1" PayloadType="direct" ns1:BindingSpec="RIMIM" ns1:BindingSpecVersion="1.01" ns1:PlatformManufacturerId="5703" ns1:PlatformManufacturerStr="NVIDIA Corporation" ns1:PlatformModel="` +
		s.product + `" ns1:FirmwareManufacturer="NVIDIA Corporation" ns1:FirmwareManufacturerId="5703"/>
    <ns0:Payload xmlns:SHA384="` + hashSpace + `">
` + payload.String() + "    </ns0:Payload>\n" + swidEnd
}

// seal signs a content: enveloped, Canonical XML 1.1, ECDSA with SHA-384 as r||s,
// the chain beside it.
func seal(content string, key *ecdsa.PrivateKey, chain []*x509.Certificate) ([]byte, error) {
	sum, err := canonicalSum(content)
	if err != nil {
		return nil, err
	}
	info := `<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + c14nMethod + `"/><ds:SignatureMethod Algorithm="` + dsigMore + `ecdsa-sha384"/><ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="` +
		dsigSpace + `enveloped-signature"/><ds:Transform Algorithm="` + c14nMethod + `"/></ds:Transforms><ds:DigestMethod Algorithm="` + dsigMore + `sha384"/><ds:DigestValue>` +
		base64.StdEncoding.EncodeToString(sum) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
	signature := func(value string) string {
		var certs strings.Builder
		for _, c := range chain {
			text := strings.TrimPrefix(string(pki.PEM(c)), "-----BEGIN CERTIFICATE-----\n")
			certs.WriteString("<ds:X509Certificate>" + strings.TrimSuffix(text, "-----END CERTIFICATE-----\n") + "</ds:X509Certificate>")
		}
		return `<ds:Signature xmlns:ds="` + dsigSpace + `">` + info + "<ds:SignatureValue>" + value + "</ds:SignatureValue><ds:KeyInfo><ds:X509Data>" +
			certs.String() + "</ds:X509Data></ds:KeyInfo></ds:Signature>" + swidEnd
	}
	body := strings.TrimSuffix(content, swidEnd)
	if sum, err = infoSum(body + signature("")); err != nil {
		return nil, err
	}
	raw, err := pki.SignFixed(key, crypto.SHA384, sum)
	if err != nil {
		return nil, err
	}
	return []byte(body + signature(base64.StdEncoding.EncodeToString(raw)) + "\n\n"), nil
}

// canonicalSum is the SHA-384 of a document without signature.
func canonicalSum(text string) ([]byte, error) {
	root, err := swidRoot(text)
	if err != nil {
		return nil, err
	}
	return sumOf(root)
}

// infoSum is the SHA-384 of the SignedInfo of a document.
func infoSum(text string) ([]byte, error) {
	root, err := swidRoot(text)
	if err != nil {
		return nil, err
	}
	scope := etreeutils.NewDefaultNSContext()
	signature := root.ChildElements()[len(root.ChildElements())-1]
	for _, e := range []*etree.Element{root, signature} {
		if scope, err = scope.SubContext(e); err != nil {
			return nil, fmt.Errorf("nvidia: namespaces: %w", err)
		}
	}
	info, err := etreeutils.NSDetatch(scope, signature.ChildElements()[0])
	if err != nil {
		return nil, fmt.Errorf("nvidia: namespaces: %w", err)
	}
	return sumOf(info)
}

func swidRoot(text string) (*etree.Element, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil {
		return nil, fmt.Errorf("nvidia: own manifest: %w", err)
	}
	if doc.Root() == nil {
		return nil, errors.New("nvidia: own manifest has no root element")
	}
	return doc.Root(), nil
}

func sumOf(e *etree.Element) ([]byte, error) {
	octets, err := dsig.MakeC14N11Canonicalizer().Canonicalize(e)
	if err != nil {
		return nil, fmt.Errorf("nvidia: canonical form: %w", err)
	}
	sum := sha512.Sum384(octets)
	return sum[:], nil
}
