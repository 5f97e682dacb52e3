// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Every byte of a manifest: with another one in its place, the manifest is refused,
// or the byte is one of those in the signature's element that mean nothing (white
// space in base64, the root that is pinned anyway) and all is as before. It takes
// every ninth byte, and every one where ASSIZE_LONG is set.
func TestEveryManifestByteFlip(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	when := day(t, "2024-01-15")
	driver, vbios := bundleOf(t, mockDriver), vectors.Read(t, mockVBIOS)
	base := newTest(t, verifiers.Deps{Endorsements: driver, Policies: policyOf(t, statusAside)})
	with := func(raw []byte) verdict.Appraisal {
		t.Helper()
		b, err := endorsements.Parse("v.xml", raw)
		if err != nil {
			b = nil // not even kept: what is left is the driver's
		}
		v, err := base.(verifiers.Renewer).Renew(endorsements.Merge(driver, b))
		if err != nil {
			t.Fatal(err)
		}
		return appraise(t, v, leaf, nonce, when)
	}
	good := with(vbios)
	if good.Vector[verdict.Executables] != verdict.ClaimApprovedBoot {
		t.Fatal(good.Vector, good.Reasons)
	}
	from, to := bytes.Index(vbios, []byte("<ds:Signature ")), bytes.LastIndex(vbios, []byte("</ds:Signature>"))
	if from < 0 || to < from {
		t.Fatal("no signature in the manifest")
	}
	step := 9
	if os.Getenv("ASSIZE_LONG") != "" {
		step = 1
	}
	same := 0
	flipEach(t, len(vbios), step, func(i int, bit byte) {
		bad := bytes.Clone(vbios)
		bad[i] ^= bit
		a := with(bad)
		if a.Vector[verdict.Executables] == verdict.ClaimApprovedBoot {
			if same++; i < from || i >= to || a.Vector != good.Vector {
				t.Fatalf("byte %d (%q) is not covered: %v", i, vbios[i], a.Vector)
			}
			return
		}
		if e := a.Vector[verdict.Executables]; e != verdict.ClaimUnrecognized && e != verdict.ClaimContraindicate || len(differing(a)) > 0 {
			t.Fatalf("byte %d: executables %d, compared %v, %v", i, e, differing(a), a.Reasons)
		}
	})
	// The copy of the root is a fifteenth of the document.
	if same > len(vbios)/step/10 {
		t.Errorf("%d flips change nothing", same)
	}
	t.Logf("%d flips change nothing", same)
}

// Documents that carry what NVIDIA has signed, and beside it the values that would
// make another device pass. None of them is a manifest, whatever it is called.
func TestWrappedManifests(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	when := day(t, "2024-01-15")
	whole := string(vectors.Read(t, prodVBIOS))
	from, to := strings.Index(whole, "<ds:Signature "), strings.LastIndex(whole, "</ds:Signature>")+len("</ds:Signature>")
	head, signature, tail := whole[:from], whole[from:to], whole[to:]
	changed := head
	r, err := ParseReport(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []int{1, 2, 3, 9} { // what the device does not match
		changed = goldenValue(t, changed, index, hex.EncodeToString(r.Blocks[index].Value))
	}
	evil := changed[strings.Index(changed, "<ns0:Resource"):]
	evil = evil[:strings.Index(evil, "/>")+2]
	bundle := func(doc string) (*endorsements.Bundle, bool) {
		b, warnings, err := endorsements.Load(fstest.MapFS{
			mockVBIOSID + ".xml": {Data: []byte(doc)}, "driver.xml": {Data: vectors.Read(t, mockDriver)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b, len(warnings) == 0
	}
	b, _ := bundle(whole)
	if a := appraiseIn(t, b, statusAside, leaf, nonce, when); !slices.Equal(differing(a), []int{1, 2, 3, 9}) {
		t.Fatalf("as it was signed: %v, %v", differing(a), a.Reasons)
	}
	for name, doc := range map[string]string{
		"values changed":                       changed + signature + tail,
		"without a signature":                  changed + tail,
		"signed one behind":                    changed + tail + whole,
		"signed one in front":                  whole + changed + tail,
		"signed one inside":                    changed + whole + signature + tail,
		"signed one in an object":              changed + strings.Replace(signature, "</ds:KeyInfo>", "</ds:KeyInfo><ds:Object>"+whole+"</ds:Object>", 1) + tail,
		"signed one in the key info":           changed + strings.Replace(signature, "</ds:KeyInfo>", whole+"</ds:KeyInfo>", 1) + tail,
		"both in another root":                 "<x>" + changed + tail + whole + "</x>",
		"two signatures":                       changed + signature + signature + tail,
		"resource behind the signature":        head + signature + evil + tail,
		"resource in the signature":            head + strings.Replace(signature, "</ds:Signature>", evil+"</ds:Signature>", 1) + tail,
		"reference to an id":                   changed + strings.Replace(signature, `URI=""`, `URI="#signed"`, 1) + tail,
		"another transform":                    changed + strings.Replace(signature, "#enveloped-signature", "#base64", 1) + tail,
		"no certificates":                      head + signature[:strings.Index(signature, "<ds:KeyInfo>")] + "</ds:Signature>" + tail,
		"signature of the driver's manifest":   changed + signatureOf(t, mockDriver) + tail,
		"signature of a later issue, contents": head + signatureOf(t, laterVBIOS) + tail,
	} {
		t.Run(name, func(t *testing.T) {
			if doc == whole {
				t.Fatal("nothing was changed")
			}
			b, kept := bundle(doc)
			a := appraiseIn(t, b, statusAside, leaf, nonce, when)
			e := a.Vector[verdict.Executables]
			switch {
			case len(differing(a)) > 0:
				t.Fatalf("it was compared with: %v", a.Reasons)
			case kept && (e != verdict.ClaimContraindicate || !slices.Contains(codes(a), verdict.ReasonCollateralInvalid)):
				t.Fatalf("executables %d, %v", e, a.Reasons)
			case !kept && (e != verdict.ClaimUnrecognized || !slices.Contains(codes(a), verdict.ReasonNoReferenceValues)):
				t.Fatalf("not loaded: executables %d, %v", e, a.Reasons)
			}
		})
	}
}

func signatureOf(t *testing.T, file string) string {
	t.Helper()
	doc := string(vectors.Read(t, file))
	return doc[strings.Index(doc, "<ds:Signature "):strings.LastIndex(doc, "</ds:Signature>")] + "</ds:Signature>"
}

// goldenValue puts a value into the resource with an index, in place of its first.
func goldenValue(t *testing.T, doc string, index int, value string) string {
	t.Helper()
	for rest, at := doc, 0; ; {
		i := strings.Index(rest, "<ns0:Resource")
		if i < 0 {
			t.Fatalf("no resource %d", index)
		}
		end := i + strings.Index(rest[i:], ">")
		if e := rest[i:end]; strings.Contains(e, ` index="`+strconv.Itoa(index)+`"`) {
			h := strings.Index(e, `Hash0="`)
			if h < 0 {
				t.Fatalf("no value in %s", e)
			}
			h += i + len(`Hash0="`) + at
			return doc[:h] + value + doc[h+len(value):]
		}
		rest, at = rest[end:], at+end
	}
}
