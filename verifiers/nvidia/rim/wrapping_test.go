// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// parts of a signed document: what comes before the signature, the signature,
// what comes behind it.
func split(tb testing.TB, raw []byte) (head, signature, tail string) {
	tb.Helper()
	s := string(raw)
	i, j := strings.Index(s, "<ds:Signature "), strings.Index(s, "</ds:Signature>")+len("</ds:Signature>")
	if i < 0 || j < i {
		tb.Fatal("no signature")
	}
	return s[:i], s[i:j], s[j:]
}

// evil is the resource by which an attacker would like to be measured.
var evil = resource(0, value(0xee))

// TestWrapping moves signed octets about, so that a reader of the whole
// document would read others. All are made from one document that verifies.
func TestWrapping(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	good := f.sign(content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)), resource(9, value(9))), nil)
	if _, err := v.Verify(good); err != nil {
		t.Fatal(err)
	}
	head, sig, tail := split(t, good)
	whole := string(good)
	changed := once(t, head, value(0), value(0xee))
	inside := strings.Replace(whole, ` xmlns="`+swid+`"`, ` xmlns="`+swid+`" Id="signed"`, 1)
	root := head[:strings.Index(head, ">")+1]
	inSig := func(what string) string { return strings.Replace(sig, "</ds:Signature>", what+"</ds:Signature>", 1) }
	const (
		malformed, unsupported, broken = verdict.ReasonMalformed, verdict.ReasonUnsupported, verdict.ReasonSignatureInvalid
	)
	for _, c := range []struct{ name, doc, want string }{
		{"value changed", changed + sig + tail, broken},
		{"resource added", once(t, head, "</ns0:Payload>", evil+"</ns0:Payload>") + sig + tail, broken},
		{"resource outside the payload", head + evil + sig + tail, broken},
		{"resource behind the signature", head + sig + evil + tail, unsupported},
		{"resource in the signature", head + inSig(evil) + tail, unsupported},
		{"resource removed", strings.Replace(head, resource(9, value(9)), "", 1) + sig + tail, broken},
		{"signature moved to the front", root + sig + head[len(root):] + tail, unsupported},
		{"signature moved into the payload", once(t, head, "</ns0:Payload>", sig+"</ns0:Payload>") + tail, unsupported},
		{"signature beside the root", head + tail + sig, malformed},
		{"signature in another element", head + "<x>" + sig + "</x>" + tail, unsupported},
		{"two signatures", head + sig + sig + tail, unsupported},
		{"no signature", head + tail, unsupported},
		{"signature of another namespace", strings.Replace(whole, `xmlns:ds="`+sign, `xmlns:ds="urn:x`, 1), unsupported},
		{"second identity beside", whole + whole, malformed},
		{"second identity first", changed + tail + whole, malformed},
		{"signed one inside another", changed + whole + sig + tail, broken},
		{"signed one inside the signature", changed + inSig("<ds:Object>"+inside+"</ds:Object>") + tail, unsupported},
		{"signed one inside key info", changed + strings.Replace(sig, "</ds:KeyInfo>", whole+"</ds:KeyInfo>", 1) + tail, unsupported},
		{"signed one inside another root", "<x>" + whole + "</x>", unsupported},
		{"other root of the same name", strings.ReplaceAll(whole, swid, "urn:x"), unsupported},
		{"signature of another namespace, its elements not", strings.NewReplacer("<ds:Signature ", `<x:Signature xmlns:x="urn:x" `, "</ds:Signature>", "</x:Signature>").Replace(whole), unsupported},
		{"duplicate ids", strings.Replace(strings.Replace(whole, "<ns0:Payload", `<ns0:Payload Id="a"`, 1), "<ns0:Meta", `<ns0:Meta Id="a"`, 1), broken},
		{"id of the signature", strings.Replace(whole, "<ds:Signature ", `<ds:Signature Id="a" `, 1), unsupported},
		{"id of the reference", strings.Replace(whole, `URI=""`, `URI="" Id="a"`, 1), unsupported},
		{"reference to an id", strings.Replace(inside, `URI=""`, `URI="#signed"`, 1), unsupported},
		{"reference without a URI", strings.Replace(whole, ` URI=""`, ``, 1), unsupported},
		{"reference elsewhere", strings.Replace(whole, `URI=""`, `URI="file:///etc/passwd"`, 1), unsupported},
		{"comment in a value", strings.Replace(whole, "</ds:DigestValue>", "<!-- x --></ds:DigestValue>", 1), malformed},
		{"comment in the content", strings.Replace(whole, "<ns0:Payload>", "<!-- x --><ns0:Payload>", 1), malformed},
		{"comment behind", whole + "<!-- x -->", malformed},
		{"CDATA", strings.Replace(whole, "</ns0:Payload>", "<![CDATA[\n]]></ns0:Payload>", 1), malformed},
		{"processing instruction", strings.Replace(whole, "<ns0:Payload>", "<?x y?><ns0:Payload>", 1), malformed},
		{"declaration", `<?xml version="1.0" encoding="UTF-16"?>` + whole, malformed},
		{"document type", "<!DOCTYPE SoftwareIdentity>" + whole, malformed},
		{"entities", `<!DOCTYPE x [<!ENTITY a "b">]>` + strings.Replace(whole, value(0), "&a;", 1), malformed},
		{"entity", strings.Replace(whole, `"Measurement_9"`, `"&quot;"`, 1), malformed},
		{"character reference", strings.Replace(whole, `"Measurement_9"`, `"Measurement&#95;9"`, 1), malformed},
		{"byte order mark", "\ufeff" + whole, malformed},
		{"not UTF-8", strings.Replace(whole, `"Measurement_9"`, "\"Measurement_\xff\"", 1), malformed},
		{"text before", "x" + whole, malformed},
		{"text behind", whole + "x", malformed},
		{"cut", whole[:len(whole)-4], malformed},
		{"empty", "", malformed},
		{"white space added", strings.Replace(whole, "<ns0:Payload>", "<ns0:Payload> ", 1), broken},
		{"white space removed", strings.Replace(whole, "<ns0:Payload>\n", "<ns0:Payload>", 1), broken},
		{"other prefix", strings.NewReplacer("ns0:", "nsx:", ":ns0", ":nsx").Replace(whole), broken},
		{"namespace added", strings.Replace(whole, "<SoftwareIdentity", `<SoftwareIdentity xmlns:a="urn:a"`, 1), broken},
		{"namespace added to SignedInfo", strings.Replace(whole, "<ds:SignedInfo", `<ds:SignedInfo xmlns:a="urn:a"`, 1), broken},
		{"prefix given another meaning", strings.Replace(whole, "<ns0:Payload", `<ns0:Payload xmlns:ns2="urn:x"`, 1), broken},
		{"attribute twice", strings.Replace(whole, `index="9"`, `index="9" index="9"`, 1), malformed},
		{"text in the signature", strings.Replace(whole, "<ds:KeyInfo>", "x<ds:KeyInfo>", 1), malformed},
		{"key beside the certificates", strings.Replace(whole, "<ds:KeyInfo>", "<ds:KeyInfo><ds:KeyName>x</ds:KeyName>", 1), unsupported},
		{"second X509Data", strings.Replace(whole, "</ds:KeyInfo>", "<ds:X509Data></ds:X509Data></ds:KeyInfo>", 1), unsupported},
		{"attribute that is inherited on the signature", strings.Replace(whole, "<ds:Signature ", `<ds:Signature xml:lang="en" `, 1), unsupported},
		{"attribute that is inherited on the root", strings.Replace(whole, "<SoftwareIdentity ", `<SoftwareIdentity xml:base="urn:x" `, 1), broken},
		{"namespace added to the signature", strings.Replace(whole, "<ds:Signature ", `<ds:Signature xmlns:a="urn:a" `, 1), broken},
		{"no namespace in the payload", strings.Replace(whole, "<ns0:Payload", `<ns0:Payload xmlns=""`, 1), broken},
		{"SignedInfo of another namespace", strings.Replace(whole, "<ds:SignedInfo", `<ds:SignedInfo xmlns:ds="urn:x"`, 1), unsupported},
		{"element in the signature's value", strings.Replace(whole, "</ds:SignatureValue>", "<ds:Object/></ds:SignatureValue>", 1), unsupported},
		{"element in a certificate", strings.Replace(whole, "</ds:X509Certificate>", evil+"</ds:X509Certificate>", 1), unsupported},
		{"second SignedInfo", strings.Replace(whole, "<ds:SignatureValue>", sig[strings.Index(sig, "<ds:SignedInfo"):strings.Index(sig, "</ds:SignedInfo>")]+"</ds:SignedInfo><ds:SignatureValue>", 1), unsupported},
		{"second value first", strings.Replace(whole, "<ds:SignatureValue>", "<ds:SignatureValue>AAAA</ds:SignatureValue><ds:SignatureValue>", 1), unsupported},
		{"signature within the signature", head + inSig(sig) + tail, unsupported},
		{"payload twice", once(t, head, "</ns0:Payload>", "</ns0:Payload><ns0:Payload>"+evil+"</ns0:Payload>") + sig + tail, broken},
		{"name with two prefixes", strings.Replace(whole, "<ns0:Payload>", "<ns0:Payload><ns0:x:Resource/>", 1), malformed + broken},
		{"attribute without a name", strings.Replace(whole, "<ns0:Payload", `<ns0:Payload ns0:="x"`, 1), malformed + broken},
		{"attribute of a namespace that is not declared", strings.Replace(whole, `index="9"`, `nsx:index="7" index="9"`, 1), malformed + broken},
		{"attribute twice under two prefixes", strings.Replace(whole, `index="9"`, `xmlns:p="urn:p" p:index="7" index="9"`, 1), broken},
		{"NUL", strings.Replace(whole, "<ns0:Payload>", "<ns0:Payload>\x00", 1), malformed},
		{"NUL behind", whole + "\x00", malformed},
		{"content behind the root in its name", strings.Replace(whole, tail, "</SoftwareIdentity "+evil+">", 1), malformed},
		{"deep", strings.Repeat("<a>", 17) + strings.Repeat("</a>", 17), malformed},
		{"very deep", strings.Repeat("<a>", 1000), verdict.ReasonTooLarge + malformed},
		{"too many elements", strings.Replace(whole, "<ns0:Payload>", "<ns0:Payload>"+strings.Repeat("<a/>", 2000), 1), verdict.ReasonTooLarge},
		{"too many attributes", strings.Replace(whole, "<ns0:Payload", "<ns0:Payload"+manyAttributes(), 1), verdict.ReasonTooLarge},
		{"too large", whole + strings.Repeat(" ", rim.MaxSize), verdict.ReasonTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.doc == whole {
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

func manyAttributes() string {
	var b strings.Builder
	for i := range 60 {
		b.WriteString(" a" + strings.Repeat("b", i) + `=""`)
	}
	return b.String()
}

// TestSignedForms are signatures that are good as such, but of another form or
// over something else.
func TestSignedForms(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	body := content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)))
	reference := func(s string) string {
		return s[strings.Index(s, "<ds:Reference"):strings.Index(s, "</ds:SignedInfo>")]
	}
	digest := func(s string) string {
		return s[strings.Index(s, "<ds:DigestValue>"):strings.Index(s, "</ds:Reference>")]
	}
	zero := "<ds:DigestValue>" + base64.StdEncoding.EncodeToString(make([]byte, 48)) + "</ds:DigestValue>"
	for _, c := range []struct {
		name string
		edit func(s string) string
		want string
	}{
		{"as NVIDIA signs", func(s string) string { return s }, ""},
		{"white space in SignedInfo", func(s string) string { return "\n" + strings.ReplaceAll(s, "><ds:", ">\n<ds:") }, ""},
		{"two references", func(s string) string {
			return strings.Replace(s, "</ds:SignedInfo>", reference(s)+"</ds:SignedInfo>", 1)
		}, verdict.ReasonUnsupported},
		{"no reference", func(s string) string { return strings.Replace(s, reference(s), "", 1) }, verdict.ReasonUnsupported},
		{"reference to a part", func(s string) string { return once(t, s, `URI=""`, `URI="#a"`) }, verdict.ReasonUnsupported},
		{"type of the reference", func(s string) string { return once(t, s, `URI=""`, `Type="a" URI=""`) }, verdict.ReasonUnsupported},
		{"SHA-256", func(s string) string { return once(t, s, "xmldsig-more#sha384", "xmlenc#sha256") }, verdict.ReasonUnsupported},
		{"ECDSA with SHA-256", func(s string) string { return once(t, s, "ecdsa-sha384", "ecdsa-sha256") }, verdict.ReasonUnsupported},
		{"HMAC", func(s string) string { return once(t, s, "ecdsa-sha384", "hmac-sha384") }, verdict.ReasonUnsupported},
		{"exclusive canonicalisation", func(s string) string { return strings.Replace(s, c14n, "http://www.w3.org/2001/10/xml-exc-c14n#", 1) }, verdict.ReasonUnsupported},
		{"exclusive canonicalisation of the document", func(s string) string {
			i := strings.LastIndex(s, c14n)
			return s[:i] + "http://www.w3.org/2001/10/xml-exc-c14n#" + s[i+len(c14n):]
		}, verdict.ReasonUnsupported},
		{"transforms exchanged", func(s string) string {
			a, b := `<ds:Transform Algorithm="`+sign+`enveloped-signature"></ds:Transform>`, `<ds:Transform Algorithm="`+c14n+`"></ds:Transform>`
			return once(t, s, a+b, b+a)
		}, verdict.ReasonUnsupported},
		{"with comments", func(s string) string { return strings.ReplaceAll(s, c14n, c14n+"#WithComments") }, verdict.ReasonUnsupported},
		{"not enveloped", func(s string) string {
			return once(t, s, `<ds:Transform Algorithm="`+sign+`enveloped-signature"></ds:Transform>`, "")
		}, verdict.ReasonUnsupported},
		{"XPath", func(s string) string {
			return once(t, s, "enveloped-signature\"></ds:Transform>", "enveloped-signature\"></ds:Transform><ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"></ds:Transform>")
		}, verdict.ReasonUnsupported},
		{"XPath for a transform", func(s string) string {
			return strings.Replace(s, sign+"enveloped-signature", "http://www.w3.org/2002/06/xmldsig-filter2", 1)
		}, verdict.ReasonUnsupported},
		{"transform with an argument", func(s string) string {
			return once(t, s, "enveloped-signature\">", "enveloped-signature\"><ds:XPath>x</ds:XPath>")
		}, verdict.ReasonUnsupported},
		{"text in a transform", func(s string) string { return once(t, s, "enveloped-signature\">", "enveloped-signature\">x") }, verdict.ReasonMalformed},
		{"digest of something else", func(s string) string { return once(t, s, digest(s), zero) }, verdict.ReasonSignatureInvalid},
		{"short digest", func(s string) string { return once(t, s, digest(s), "<ds:DigestValue>AAAA</ds:DigestValue>") }, verdict.ReasonMalformed},
		{"digest in loose base64", func(s string) string { return once(t, s, "</ds:DigestValue>", "=</ds:DigestValue>") }, verdict.ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.Verify(f.sign(body, c.edit))
			if got := code(t, err); got != c.want {
				t.Errorf("%v, expected %q", err, c.want)
			}
		})
	}
}

// TestOtherSpelling writes the same document in other octets: what is read is
// the same, as it is read from the canonical form.
func TestOtherSpelling(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	good := string(f.sign(content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)), resource(9, value(9))), nil))
	want, err := v.Verify([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{
		"empty elements":       strings.ReplaceAll(good, "></ns0:Resource>", "/>"),
		"single quotes":        strings.ReplaceAll(good, `"`, `'`),
		"order of attributes":  once(t, good, ` corpus="false" name="GH100"`, ` name="GH100" corpus="false"`),
		"namespace repeated":   strings.Replace(good, "<ns0:Payload", `<ns0:Payload xmlns:ns0="`+swid+`"`, 1),
		"white space in tags":  strings.ReplaceAll(good, ` index=`, "\n\tindex  =  "),
		"white space around":   "\n" + good + " \n",
		"CR LF":                strings.ReplaceAll(good, "\n", "\r\n"),
		"white space in value": strings.Replace(good, "</ds:SignatureValue>", "\n </ds:SignatureValue>", 1),
	} {
		if doc == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		m, err := v.Verify([]byte(doc))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(m.Measurements, want.Measurements) || m.Digest == want.Digest {
			t.Errorf("%s: another manifest", name)
		}
	}
}

// TestEveryByte changes bytes all over a manifest of NVIDIA. Whatever is still
// accepted says exactly the same.
func TestEveryByte(t *testing.T) {
	raw := vectors.Read(t, "nvidia/attestation-sdk/testdata/NV_GPU_DRIVER_GH100_550.144.03.xml")
	v := newVerifier(t)
	want, err := v.Verify(raw)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i := 0; i < len(raw); i += 31 {
		b := bytes.Clone(raw)
		b[i] ^= []byte{0x01, 0x20}[i%2]
		m, err := v.Verify(b)
		if err != nil {
			code(t, err)
			continue
		}
		accepted++
		if !reflect.DeepEqual(m.Measurements, want.Measurements) || m.Version != want.Version || m.Kind != want.Kind || m.Product != want.Product ||
			m.SignerSPKI != want.SignerSPKI || m.Root != want.Root {
			t.Errorf("byte %d: accepted as another manifest", i)
		}
	}
	// The root of the document, of which only the key counts, and white space.
	if accepted > 30 {
		t.Errorf("%d changed documents were accepted", accepted)
	}
}
