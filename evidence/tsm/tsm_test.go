// SPDX-License-Identifier: Apache-2.0

package tsm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
)

var (
	asJSON = evidence.MediaType{Base: TypeJSON}
	asCBOR = evidence.MediaType{Base: TypeCBOR}
)

func TestDecodeJSON(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Report
		ok       bool
	}{
		{"least", `{"provider":"tdx_guest","outblob":"AQ"}`, Report{Provider: "tdx_guest", OutBlob: []byte{1}}, true},
		{"newline", `{"provider":"sev_guest\n","outblob":"AQ","auxblob":""}`, Report{Provider: "sev_guest", OutBlob: []byte{1}}, true},
		{"all", ` {"provider":"sev_guest","outblob":"AQ","auxblob":"Ag","manifestblob":"Aw","service_provider":"svsm"} `,
			Report{Provider: "sev_guest", OutBlob: []byte{1}, AuxBlob: []byte{2}, ManifestBlob: []byte{3}, ServiceProvider: "svsm"}, true},
		{"service provider alone", `{"provider":"sev_guest","outblob":"AQ","service_provider":"svsm"}`,
			Report{Provider: "sev_guest", OutBlob: []byte{1}, ServiceProvider: "svsm"}, true},
		{"manifest alone", `{"provider":"p","outblob":"AQ","manifestblob":"AQ"}`, Report{}, false},
		{"no provider", `{"outblob":"AQ"}`, Report{}, false},
		{"empty provider", `{"provider":"\n","outblob":"AQ"}`, Report{}, false},
		{"two newlines", `{"provider":"a\n\n","outblob":"AQ"}`, Report{}, false},
		{"long provider", `{"provider":"` + strings.Repeat("a", 65) + `","outblob":"AQ"}`, Report{}, false},
		{"no outblob", `{"provider":"p"}`, Report{}, false},
		{"empty outblob", `{"provider":"p","outblob":""}`, Report{}, false},
		{"padding", `{"provider":"p","outblob":"AQ=="}`, Report{}, false},
		{"standard alphabet", `{"provider":"p","outblob":"////"}`, Report{}, false},
		{"trailing bits", `{"provider":"p","outblob":"AR"}`, Report{}, false},
		{"newline behind 4k", "{\"provider\":\"p\",\"outblob\":\"AQID\n\"}", Report{}, false},
		{"escaped newline behind 4k", `{"provider":"p","outblob":"AQID\n"}`, Report{}, false},
		{"return in auxblob", "{\"provider\":\"p\",\"outblob\":\"AQ\",\"auxblob\":\"AQID\r\"}", Report{}, false},
		{"unknown", `{"provider":"p","outblob":"AQ","more":"AQ"}`, Report{}, false},
		{"other case", `{"Provider":"p","outblob":"AQ"}`, Report{}, false},
		{"duplicate", `{"provider":"p","outblob":"AQ","outblob":"AQ"}`, Report{}, false},
		{"duplicate escaped", `{"provider":"p","outblob":"AQ","outblo\u0062":"AQ"}`, Report{}, false},
		{"number", `{"provider":"p","outblob":1}`, Report{}, false},
		{"null", `{"provider":null,"outblob":"AQ"}`, Report{}, false},
		{"trailing", `{"provider":"p","outblob":"AQ"}x`, Report{}, false},
		{"array", `[]`, Report{}, false},
		{"empty", ``, Report{}, false},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, asJSON, []byte(c.in), c.want, c.ok) })
	}
}

func check(t *testing.T, mt evidence.MediaType, raw []byte, want Report, ok bool) {
	t.Helper()
	got, err := Decode(mt, raw)
	if ok != (err == nil) {
		t.Fatalf("error %v", err)
	}
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("error %v is no *Error", err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestDecodeCBOR(t *testing.T) {
	const provider, out = "6870726f7669646572", "676f7574626c6f62"
	good := Report{Provider: "tdx", OutBlob: []byte{1}}
	for _, c := range []struct {
		name, in string
		want     Report
		ok       bool
	}{
		{"least", "a2" + provider + "63746478" + out + "4101", good, true},
		{"newline", "a2" + provider + "647464780a" + out + "4101", good, true},
		{"indefinite", "bf" + provider + "63746478" + out + "5f4101ffff", good, true},
		{"duplicate", "a3" + provider + "63746478" + out + "4101" + out + "4101", Report{}, false},
		{"unknown", "a3" + provider + "63746478" + out + "4101" + "6161" + "4101", Report{}, false},
		{"integer key", "a3" + provider + "63746478" + out + "4101" + "01" + "4101", Report{}, false},
		{"text blob", "a2" + provider + "63746478" + out + "6101", Report{}, false},
		{"trailing", "a2" + provider + "63746478" + out + "410100", Report{}, false},
		{"long map", "bbffffffffffffffff" + provider + "63746478" + out + "4101", Report{}, false},
		{"array", "80", Report{}, false},
		{"empty", "", Report{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := hex.DecodeString(c.in)
			if err != nil {
				t.Fatal(err)
			}
			check(t, asCBOR, raw, c.want, c.ok)
		})
	}
	check(t, evidence.MediaType{Base: "application/cbor"}, []byte{0xa0}, Report{}, false)
}

func TestRecorded(t *testing.T) {
	j, err := Decode(asJSON, vectors.Read(t, "snp/veraison-services/sevsnp-tsm-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Decode(asCBOR, vectors.Read(t, "snp/veraison-services/sevsnp-tsm-report.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	if j.Provider != "sev_guest" || c.Provider != "sev_guest" || len(j.OutBlob) != 1184 || len(c.OutBlob) != 1184 {
		t.Errorf("providers %q %q, reports of %d and %d bytes", j.Provider, c.Provider, len(j.OutBlob), len(c.OutBlob))
	}
	if len(j.AuxBlob) == 0 || len(c.AuxBlob) == 0 {
		t.Error("no certificate table")
	}
	cca, err := Decode(asJSON, vectors.Read(t, "ratsd/docs/ex-basic-arm-cca.json"))
	if err != nil {
		t.Fatal(err)
	}
	if cca.Provider != "arm_cca_guest" || !bytes.HasPrefix(cca.OutBlob, []byte{0xd9, 0x01, 0x8f}) {
		t.Errorf("provider %q", cca.Provider)
	}
}

func FuzzTSM(f *testing.F) {
	f.Add(true, []byte(`{"provider":"sev_guest\n","outblob":"AQ","auxblob":"Ag","manifestblob":"Aw","service_provider":"svsm"}`))
	f.Add(false, []byte("\xa2\x68provider\x63tdx\x67outblob\x41\x01"))
	f.Add(false, []byte("\xbf\x68provider\x63tdx\x67outblob\x5f\x41\x01\xff\xff"))
	f.Fuzz(func(t *testing.T, json bool, raw []byte) {
		mt := asCBOR
		if json {
			mt = asJSON
		}
		r, err := Decode(mt, raw)
		if err == nil && (r.Provider == "" || len(r.OutBlob) == 0) {
			t.Errorf("accepted without provider or outblob: %+v", r)
		}
		if err != nil && !reflect.DeepEqual(r, Report{}) {
			t.Error("partial result")
		}
	})
}
