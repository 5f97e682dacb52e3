// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// between is the text of the one element of that name.
func between(tb testing.TB, s, element string) string {
	tb.Helper()
	m := regexp.MustCompile("<ds:"+element+">([^<]*)</ds:"+element+">").FindAllStringSubmatch(s, -1)
	if len(m) == 0 {
		tb.Fatalf("no %s", element)
	}
	return m[0][1]
}

func wide(order binary.AppendByteOrder, s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

// TestHostileSpelling has documents that one parser could read as another does not.
func TestHostileSpelling(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	good := string(f.sign(content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)), resource(9, value(9))), nil))
	swap := func(old, by string) string { return strings.Replace(good, old, by, 1) }
	const identity = "<SoftwareIdentity"
	const malformed, unsupported, broken = verdict.ReasonMalformed, verdict.ReasonUnsupported, verdict.ReasonSignatureInvalid
	for _, c := range []struct{ name, doc, want string }{
		{"UTF-16 with its mark", "\xff\xfe" + wide(binary.LittleEndian, good), malformed},
		{"UTF-16, big end first", "\xfe\xff" + wide(binary.BigEndian, good), malformed},
		{"UTF-16 without a mark", wide(binary.LittleEndian, good), malformed},
		{"NUL", swap("\n", "\x00"), malformed},
		{"overlong UTF-8", swap("Measurement_9", "Measurement\xc1\x9f9"), malformed},
		{"surrogate in UTF-8", swap("Measurement_9", "Measurement\xed\xa0\x809"), malformed},
		{"form feed", swap("\n", "\f"), malformed},
		{"upper case", strings.ReplaceAll(good, "SoftwareIdentity", "SOFTWAREIDENTITY"), unsupported},
		{"xml:base", swap(identity, identity+` xml:base="http://example.com/"`), broken},
		{"xml:id", swap(identity, identity+` xml:id="a"`), broken},
		{"xml:space", swap("<ns0:Payload", `<ns0:Payload xml:space="preserve"`), broken},
		{"xml:base in the signature", swap("<ds:Signature ", `<ds:Signature xml:base="x" `), unsupported},
		{"xml:lang in SignedInfo", swap("<ds:SignedInfo", `<ds:SignedInfo xml:lang="en"`), broken + unsupported},
		{"another meaning of xml", swap(identity, identity+` xmlns:xml="urn:x"`), malformed},
		{"another meaning of xmlns", swap(identity, identity+` xmlns:xmlns="urn:x"`), malformed},
		{"default namespace cancelled for the signature", swap("<ds:Signature ", `<ds:Signature xmlns="" `), broken},
		{"default namespace of the signature", swap("<ds:Signature ", `<ds:Signature xmlns="`+sign+`" `), broken},
		{"prefix redefined in SignedInfo", swap("<ds:SignedInfo>", `<ds:SignedInfo xmlns:ns2="urn:x">`), broken},
		{"prefix of values redefined", swap("<ns0:Resource", `<ns0:Resource xmlns:ns2="urn:x"`), broken},
		{"prefix of elements redefined", swap("<ns0:Payload", `<ns0:Payload xmlns:ns0="urn:x"`), broken},
		{"prefix that nobody declares", swap("<ns0:Payload", `<ns0:Payload zz:a="b"`), broken},
		{"payload under the default namespace", strings.NewReplacer("<ns0:Payload", "<Payload", "</ns0:Payload", "</Payload").Replace(good), broken},
		{"two payloads, the other first", swap("<ns0:Payload>", "<ns0:Payload>"+evil+"</ns0:Payload><ns0:Payload>"), broken},
		{"identity in the payload", swap("<ns0:Payload>", "<ns0:Payload>"+identity+"></SoftwareIdentity>"), broken},
		{"signature in the signature", swap("<ds:KeyInfo>", `<ds:Signature></ds:Signature><ds:KeyInfo>`), unsupported},
		{"manifest of references", swap("</ds:Signature>", "<ds:Object><ds:Manifest></ds:Manifest></ds:Object></ds:Signature>"), unsupported},
		{"key info twice", swap("</ds:KeyInfo>", "</ds:KeyInfo><ds:KeyInfo></ds:KeyInfo>"), unsupported},
		{"reference of a key", swap("<ds:KeyInfo>", `<ds:KeyInfo><ds:RetrievalMethod URI="http://example.com/"></ds:RetrievalMethod>`), unsupported},
		{"SignedInfo twice", swap("<ds:SignatureValue>", "<ds:SignedInfo></ds:SignedInfo><ds:SignatureValue>"), unsupported},
		{"another SignedInfo first", swap("<ds:SignedInfo>", "<ds:SignedInfo></ds:SignedInfo><ds:SignedInfo>"), unsupported},
		{"value by two prefixes", strings.Replace(good, "ns2:Hash0=", `xmlns:nsz="`+hash+`" nsz:Hash0="`+value(0xee)+`" ns2:Hash0=`, 1), broken + malformed},
		{"text after the signature", strings.Replace(good, "</ds:Signature>", "</ds:Signature>text", 1), broken},
		{"end tag of another element", swap("</ns0:Entity>", "</ns1:Entity>"), malformed},
		{"tag in a value", swap(`"Measurement_9"`, `"Measurement<9"`), malformed},
		{"end of CDATA", swap("<ns0:Payload>", "<ns0:Payload>]]>"), malformed},
		{"attribute without a value", swap("<ns0:Payload>", "<ns0:Payload a>"), malformed},
		{"attribute without quotes", swap(`index="9"`, `index=9`), malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.doc == good {
				t.Fatal("nothing was changed")
			}
			m, err := v.Verify([]byte(c.doc))
			if err == nil {
				t.Fatalf("accepted as %s", m)
			}
			if got := code(t, err); !strings.Contains(c.want, got) {
				t.Errorf("%v, expected %s", err, c.want)
			}
		})
	}
}

// TestSignatureValue has forms of r||s.
func TestSignatureValue(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	good := string(f.sign(content("GH100", "GPU", "545.00", resource(7, value(7))), nil))
	text := between(t, good, "SignatureValue")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	want, err := v.Verify([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	order := elliptic.P384().Params().N
	r, s := new(big.Int).SetBytes(raw[:48]), new(big.Int).SetBytes(raw[48:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	zero, ones := make([]byte, 48), bytes.Repeat([]byte{0xff}, 48)
	b64 := base64.StdEncoding.EncodeToString
	two := func(a, b []byte) string { return b64(append(bytes.Clone(a), b...)) }
	other := new(big.Int).Sub(order, s).FillBytes(make([]byte, 48))
	for _, c := range []struct{ name, value, want string }{
		{"in two lines", text[:64] + "\r\n" + text[64:], ""},
		{"the other s", two(raw[:48], other), ""}, // the same signature of the same bytes
		{"r is zero", two(zero, raw[48:]), verdict.ReasonSignatureInvalid},
		{"s is zero", two(raw[:48], zero), verdict.ReasonSignatureInvalid},
		{"all zero", two(zero, zero), verdict.ReasonSignatureInvalid},
		{"r is the order", two(order.Bytes(), raw[48:]), verdict.ReasonSignatureInvalid},
		{"s is the order", two(raw[:48], order.Bytes()), verdict.ReasonSignatureInvalid},
		{"all ones", two(ones, ones), verdict.ReasonSignatureInvalid},
		{"r and s exchanged", two(raw[48:], raw[:48]), verdict.ReasonSignatureInvalid},
		{"DER", b64(der), verdict.ReasonUnsupported},
		{"a zero in front", b64(append([]byte{0}, raw...)), verdict.ReasonUnsupported},
		{"a zero behind", b64(append(bytes.Clone(raw), 0)), verdict.ReasonUnsupported},
		{"short", b64(raw[:95]), verdict.ReasonUnsupported},
		{"empty", "", verdict.ReasonUnsupported},
		{"padded", text + "====", verdict.ReasonUnsupported},
		{"hexadecimal", strings.Repeat("ab", 96), verdict.ReasonUnsupported},
		{"no-break space", text[:64] + "\u00a0" + text[64:], verdict.ReasonUnsupported},
		{"URL alphabet", strings.Repeat("-_Ab", 32), verdict.ReasonUnsupported},
	} {
		m, err := v.Verify([]byte(once(t, good, text, c.value)))
		if got := code(t, err); got != c.want {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
		if err == nil && !reflect.DeepEqual(m.Measurements, want.Measurements) {
			t.Errorf("%s: another manifest", c.name)
		}
	}
}

// TestCertificateText has forms of the certificates in a signature.
func TestCertificateText(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	good := string(f.sign(content("GH100", "GPU", "545.00", resource(7, value(7))), nil))
	text := between(t, good, "X509Certificate")
	leaf := f.chain[0].Raw
	b64 := base64.StdEncoding.EncodeToString
	for _, c := range []struct{ name, value, want string }{
		{"lines", strings.Join(regexp.MustCompile(".{1,64}").FindAllString(text, -1), "\n "), ""},
		{"PEM", "-----BEGIN CERTIFICATE-----\n" + text + "\n-----END CERTIFICATE-----", verdict.ReasonMalformed},
		{"bytes behind", b64(append(bytes.Clone(leaf), 0)), verdict.ReasonChainInvalid},
		{"two in one", b64(append(bytes.Clone(leaf), f.chain[1].Raw...)), verdict.ReasonChainInvalid},
		{"cut", b64(leaf[:len(leaf)-1]), verdict.ReasonChainInvalid},
		{"empty", "", verdict.ReasonChainInvalid},
		{"large", b64(make([]byte, 5<<10)), verdict.ReasonMalformed},
		{"the L3", b64(f.chain[1].Raw), verdict.ReasonChainInvalid},
		{"the root", b64(f.chain[2].Raw), verdict.ReasonChainInvalid},
	} {
		if _, err := v.Verify([]byte(once(t, good, text, c.value))); code(t, err) != c.want {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		want  string
	}{
		{"root twice", append(f.chain[:3:3], f.root), verdict.ReasonChainInvalid},
		{"leaf twice", append([]*x509.Certificate{f.chain[0]}, f.chain...), verdict.ReasonChainInvalid},
		{"root first", []*x509.Certificate{f.root, f.chain[0], f.chain[1], f.root}, verdict.ReasonChainInvalid},
		{"seven", append([]*x509.Certificate{f.chain[0], f.chain[1], f.chain[1], f.chain[1], f.chain[1], f.chain[1]}, f.root), verdict.ReasonUnsupported},
	} {
		g := *f
		g.chain = c.chain
		if _, err := v.Verify(g.sign(content("GH100", "GPU", "545.00", resource(7, value(7))), nil)); code(t, err) != c.want {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
}

// TestIssuers has chains whose certificates do not make each other.
func TestIssuers(t *testing.T) {
	body := content("GH100", "GPU", "545.00", resource(7, value(7)))
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}
	leaf := func(edit func(*x509.Certificate)) func(l, m, r *x509.Certificate) {
		return func(l, _, _ *x509.Certificate) { edit(l) }
	}
	middle := func(edit func(*x509.Certificate)) func(l, m, r *x509.Certificate) {
		return func(_, m, _ *x509.Certificate) { edit(m) }
	}
	for _, c := range []struct {
		name string
		edit func(l, m, r *x509.Certificate)
		want string
	}{
		{"good", leaf(func(*x509.Certificate) {}), ""},
		{"issuer is no CA", middle(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }), verdict.ReasonChainInvalid},
		{"issuer signs no certificates", middle(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), verdict.ReasonChainInvalid},
		{"issuer has an unknown critical extension", middle(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{unknown} }), verdict.ReasonChainInvalid},
		{"leaf has an unknown critical extension", leaf(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{unknown} }), verdict.ReasonChainInvalid},
		{"root allows nothing between", func(_, _, r *x509.Certificate) { r.MaxPathLenZero = true }, verdict.ReasonChainInvalid},
		{"leaf is for OCSP responses", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }), verdict.ReasonChainInvalid},
		{"leaf is for a purpose of its own", leaf(func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }), verdict.ReasonChainInvalid},
		{"leaf is that of a device", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}, Value: []byte{5, 0}}}
		}), verdict.ReasonChainInvalid},
		{"leaf of no usage", leaf(func(c *x509.Certificate) { c.KeyUsage = 0 }), verdict.ReasonChainInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &x509.Certificate{Subject: pkix.Name{CommonName: "Test L4"}, KeyUsage: x509.KeyUsageDigitalSignature}
			m, r := authority("Test L3"), authority("Test Root")
			c.edit(l, m, r)
			keys := [3]*ecdsa.PrivateKey{newKey(t, elliptic.P384()), newKey(t, elliptic.P384()), newKey(t, elliptic.P384())}
			root := issue(t, r, &keys[2].PublicKey, r, keys[2])
			l3 := issue(t, m, &keys[1].PublicKey, root, keys[2])
			f := &forger{tb: t, root: root, key: keys[0], chain: []*x509.Certificate{issue(t, l, &keys[0].PublicKey, l3, keys[1]), l3, root}}
			if _, err := f.verifier().Verify(f.sign(body, nil)); code(t, err) != c.want {
				t.Errorf("%v, expected %q", err, c.want)
			}
		})
	}
}

// TestNumbers has numbers in forms that one reader could take for others.
func TestNumbers(t *testing.T) {
	for _, s := range []string{"", "+9", "-0", " 9", "9 ", "\t9", "0x9", "1e1", "9.0", "９", "٩", "09", "00", "64", "256", "4294967305", "18446744073709551625", "9\n"} {
		q := strings.NewReplacer("\t", "&#x9;", "\n", "&#xA;").Replace(s)
		for _, attribute := range []string{"index", "alternatives", "size"} {
			c := content("GH100", "GPU", "545.00", regexp.MustCompile(attribute+`="[0-9]+"`).ReplaceAllLiteralString(resource(7, value(7)), attribute+`="`+q+`"`))
			if m, err := rim.ReadContent([]byte(c)); err == nil {
				t.Errorf("%s %q was read as %+v", attribute, s, m.Measurements)
			}
		}
	}
	for _, s := range []string{"TRUE", "true", "1", "yes", " True", "True ", "Ｔrue", "FALSE", "false", "0", ""} {
		c := content("GH100", "GPU", "545.00", resource(7, value(7)), strings.Replace(resource(8, value(8)), `"True"`, strconv.Quote(s), 1))
		if _, err := rim.ReadContent([]byte(c)); code(t, err) != verdict.ReasonMalformed {
			t.Errorf("active %q: %v", s, err)
		}
	}
	many := make([]string, rim.MaxAlternatives+1)
	for i := range many {
		many[i] = value(byte(i))
	}
	if _, err := rim.ReadContent([]byte(content("GH100", "GPU", "545.00", resource(7, many[1:]...)))); err != nil {
		t.Error(err)
	}
	for name, resource := range map[string]string{
		"too many values":          resource(7, many...),
		"number of a value":        strings.Replace(resource(7, value(7)), "Hash0", "Hash00", 1),
		"value of another digest":  strings.Replace(resource(7, value(7)), "ns2:Hash0", `xmlns:x="http://www.w3.org/2001/04/xmlenc#sha256" x:Hash0`, 1),
		"value by two prefixes":    strings.Replace(resource(7, value(7)), "ns2:Hash0", `xmlns:x="`+hash+`" x:Hash0="`+value(8)+`" ns2:Hash0`, 1),
		"index in a namespace":     strings.Replace(resource(7, value(7)), ` index`, ` ns2:index`, 1),
		"index twice, a namespace": strings.Replace(resource(7, value(7)), ` index`, ` ns2:index="8" index`, 1),
		"long value":               resource(7, value(7)+"00"),
		"white space in a value":   resource(7, value(7)+" "),
	} {
		if _, err := rim.ReadContent([]byte(content("GH100", "GPU", "545.00", resource))); code(t, err) != verdict.ReasonMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestErrorsAreShort: what a hostile document says must not fill a verdict.
func TestErrorsAreShort(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	long := strings.Repeat("a", 100<<10)
	good := string(f.sign(content("GH100", "GPU", "545.00", resource(7, value(7))), nil))
	for name, doc := range map[string]string{
		"end tag":     "<" + long + "></b>",
		"root":        "<" + long + "/>",
		"namespace":   `<SoftwareIdentity xmlns="` + long + `"/>`,
		"entity":      "<a b='" + long + "' b='" + long + "'/>",
		"unclosed":    "<" + long + " " + long,
		"bad name":    "<1" + long + "/>",
		"prefix":      strings.Replace(good, "<ds:SignatureValue>", "<ds:"+long+"></ds:"+long+"><ds:SignatureValue>", 1),
		"certificate": strings.Replace(good, "<ds:X509Certificate>", "<ds:X509Certificate>"+long, 1),
	} {
		_, err := v.Verify([]byte(doc))
		if err == nil || len(err.Error()) > 1<<10 {
			t.Errorf("%s: error of %d bytes", name, len(err.Error()))
		}
	}
}
