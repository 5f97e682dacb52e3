// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/corim/comid"
	vendored "github.com/veraison/corim/corim"
	"github.com/veraison/corim/extensions"
	_ "github.com/veraison/corim/profiles/cca" // registers Arm's rules
	_ "github.com/veraison/corim/profiles/psa"

	"github.com/assize/assize/internal/vectors"
)

var testTime = time.Date(2023, 6, 1, 0, 0, 0, 0, time.UTC)

// exampleProfiles are those of the examples of veraison/corim.
var exampleProfiles = []Profile{{ID: "http://example.com/test-profile"}, {ID: "http://example.com/example-profile"}, {ID: "2.16.840.1.113741.1.15.6"}}

// wrap makes a CoRIM of a CoMID.
func wrap(t testing.TB, raw []byte) []byte {
	t.Helper()
	enc, err := encoding()
	if err != nil {
		t.Fatal(err)
	}
	out, err := enc.Marshal(cbor.Tag{Number: TagCorim, Content: members{0: "wrapped", 1: []any{cbor.Tag{Number: TagComid, Content: raw}}}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// recorded lists all recorded CoRIMs and CoMIDs, the latter wrapped, by name.
func recorded(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	dir := vectors.Dir(t)
	for _, pattern := range []string{
		"cca/veraison-services/corim-*.cbor", "psa/veraison-services/corim/corim-*.cbor", "snp/veraison-services/corim-*.cbor",
		"corim/veraison-corim/corim/testcases/*.cbor", "corim/veraison-corim/profiles/*/testcases/*.cbor", "corim/veraison-corim/comid/testcases/*.cbor",
	} {
		files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(f)
			if strings.HasPrefix(name, "comid") {
				raw = wrap(t, raw)
			}
			if name == "no-profile.cbor" || strings.HasPrefix(name, "cca-") || strings.HasPrefix(name, "psa-") {
				name = filepath.Base(filepath.Dir(filepath.Dir(f))) + "/" + name
			}
			out[name] = raw
		}
	}
	return out
}

// refused says of the recorded documents that must be refused what the error
// has to say.
var refused = map[string]string{
	"corim-cca-platform-bad-no-class.cbor":            "attest key 0: class has no implementation id",
	"corim-cca-platform-bad-refval-cryptokeys.cbor":   "cryptokeys are not one signer id",
	"corim-cca-platform-bad-refval-instance.cbor":     "reference value names an instance",
	"corim-cca-platform-bad-refval-mkey-string.cbor":  `measurement key "cca.bad-component" is not`,
	"corim-cca-platform-bad-refval-mkey.cbor":         "measurement key 7 is not a text",
	"corim-cca-platform-bad-refval-no-digests.cbor":   "no digests of a software component",
	"corim-cca-platform-bad-refval-no-mkey.cbor":      "measurement key anonymous is not a text",
	"corim-cca-platform-bad-refval-no-raw-value.cbor": "no raw value of the platform configuration",
	"corim-cca-platform-bad-ta-cert.cbor":             "tag 555 is not a public key",
	"corim-cca-platform-bad-ta-instance.cbor":         "instance is not a UEID",
	"corim-cca-platform-bad-ta-no-instance.cbor":      "instance is not a UEID",
	"corim-cca-realm-bad-instance.cbor":               "realm is not identified by its initial measurement",
	"corim-cca-realm-bad-no-instance.cbor":            "realm is not identified by its initial measurement: class id none",
	"corim-cca-realm-bad-no-integ-regs.cbor":          "cca.rim has 0 digests",
	"corim-cca-realm-bad-no-raw-value.cbor":           "no raw value of cca.rpv",
	"corim-cca-realm-bad-no-rim.cbor":                 "no cca.rim",
	"corim-psa-bad-class.cbor":                        "class has no implementation id",
	"corim-psa-bad-instance.cbor":                     "instance is not a UEID",
	"corim-psa-bad-refval-instance.cbor":              "reference value names an instance",
	"corim-psa-bad-refval-mkey.cbor":                  "measurement key 6 is not a text",
	"corim-psa-bad-refval-mval.cbor":                  "no digests",
	"corim-psa-bad-ta-cert.cbor":                      "tag 555 is not a public key",
	"corim-psa-bad-ta-no-instance.cbor":               "instance is not a UEID",
	"corim-sevsnp-bad-refval-key.cbor":                "measurement key 1.3.6.1.4.1.3704.3.1 is not a number",
	"corim-sevsnp-bad-refval-no-key.cbor":             "measurement key anonymous is not a number",
	"corim-sevsnp-bad-ta-no-model.cbor":               "class without a model",
	"corim-sevsnp-bad-ta-no-vendor.cbor":              "without a vendor",
	"cca/cca-platform-invalid-digests.cbor":           "sha-256 digest has 31 bytes",
	"cca/cca-platform-invalid-impl-id.cbor":           "no implementation id of 32 bytes",
	"cca/cca-realm-invalid-missing-rim.cbor":          "no cca.rim",
	"cca/cca-realm-invalid-rim-size.cbor":             "realm is not identified by its initial measurement",
	"psa/psa-invalid-impl-id.cbor":                    "no implementation id of 32 bytes",
	"psa/psa-invalid-attest-key.cbor":                 "2 keys, not one",
	"comid-domain-dep.cbor":                           "cyclic trust dependency",
}

func TestRecordedDocuments(t *testing.T) {
	all := recorded(t)
	for name := range refused {
		if all[name] == nil {
			t.Errorf("%s is not there", name)
		}
	}
	var accepted []*Document
	for name, raw := range all {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "signed-") {
				d, err := Parse(raw)
				if err != nil || d.Signature == nil || d.Signature.Signer != "ACME Ltd signing key" {
					t.Fatalf("%+v, %v", d, err)
				}
				reencode(t, d)
				return
			}
			d, err := Load(raw, Options{Unsigned: true, Now: testTime, Profiles: exampleProfiles})
			if want, bad := refused[name]; bad {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("%v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.Signed() || !bytes.Equal(d.Raw, raw) {
				t.Error("said to be signed, or bytes changed")
			}
			reencode(t, d)
			accepted = append(accepted, d)
		})
	}
	if len(accepted) < 35 {
		t.Errorf("%d documents accepted", len(accepted))
	}
	if _, err := NewIndex(accepted...); err != nil {
		t.Error(err)
	}
}

// reencode writes what was read and reads it again.
func reencode(t *testing.T, d *Document) {
	t.Helper()
	raw, err := Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := content(again), content(d); !reflect.DeepEqual(got, want) {
		t.Errorf("read again\n got %+v\nwant %+v", got, want)
	}
	twice, err := Encode(again)
	if err != nil || !bytes.Equal(twice, raw) {
		t.Errorf("written again: %x, %v, want %x", twice, err, raw)
	}
}

// content is what a document says, without the bytes and the signature.
func content(d *Document) Document {
	out := *d
	out.Raw, out.Digest, out.Signature, out.Authority = nil, [32]byte{}, nil, nil
	out.accepted, out.window, out.Tags = false, Period{}, nil
	for _, tag := range d.Tags {
		if tag.Comid != nil {
			tag.Raw = nil
		}
		out.Tags = append(out.Tags, tag)
	}
	return out
}

// What the library can read and write says the same to us afterwards.
func TestLibraryRoundTrip(t *testing.T) {
	done := 0
	for name, raw := range recorded(t) {
		d, err := Parse(raw)
		if err != nil || d.Signature != nil {
			continue
		}
		for _, tag := range d.Tags {
			m := comid.NewComid()
			if err := m.RegisterExtensions(extensions.NewMap().Add(comid.ExtTriples, &templateTriples{})); err != nil {
				t.Fatal(err)
			}
			if m.FromCBOR(tag.Raw) != nil {
				continue
			}
			written, err := m.ToCBOR()
			if err != nil {
				continue
			}
			again, err := Parse(wrap(t, written))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			want := *tag.Comid
			got := *again.Tags[0].Comid
			if !reflect.DeepEqual(got, want) {
				if !lossy(t, m, &want) {
					t.Errorf("%s\n got %+v\nwant %+v", name, got, want)
				}
				continue
			}
			done++
		}
	}
	if done < 40 {
		t.Errorf("only %d tags went through the library", done)
	}
}

// lossy tells whether a tag has members that the library drops without an
// extension: those of profiles.
func lossy(t *testing.T, _ *comid.Comid, want *Comid) bool {
	t.Helper()
	for _, e := range want.Entities {
		if e.Extensions != nil {
			return true
		}
	}
	for _, list := range [][]ValueTriple{want.Reference, want.Endorsed} {
		for _, v := range list {
			for _, m := range v.Measurements {
				if m.Value.Extensions != nil {
					return true
				}
			}
		}
	}
	return false
}

// Every document of Arm's profiles that the library's own rules refuse is one
// that we refuse.
func TestLibraryProfiles(t *testing.T) {
	for name, raw := range recorded(t) {
		if strings.HasPrefix(name, "signed-") || strings.HasPrefix(name, "comid") {
			continue
		}
		// The library reads a profile only without its tag.
		plain := bytes.Replace(raw, []byte{3, 0xd8, TagURI}, []byte{3}, 1)
		_, theirs := vendored.UnmarshalAndValidateUnsignedCorimFromCBOR(plain)
		_, ours := Load(raw, Options{Unsigned: true, Now: testTime, Profiles: exampleProfiles})
		if theirs != nil && ours == nil && !strings.Contains(theirs.Error(), "unexpected type for profile") { // an OID
			t.Errorf("%s: the library says %v", name, theirs)
		}
	}
}

func TestCyclicVectorIsTyped(t *testing.T) {
	_, err := Parse(wrap(t, vectors.Read(t, "corim/veraison-corim/comid/testcases/comid-domain-dep.cbor")))
	var cycle *CycleError
	if !errors.As(err, &cycle) || cycle.Kind != Dependency || len(cycle.Path) != 3 || cycle.Path[0] != cycle.Path[2] {
		t.Fatalf("%v", err)
	}
}
