// SPDX-License-Identifier: Apache-2.0

package intelsgx_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/vectors"
)

func options() intelsgx.Options {
	return intelsgx.Options{
		Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC),
	}
}

func newDevice(tb testing.TB, o intelsgx.Options) *intelsgx.Device {
	tb.Helper()
	d, err := intelsgx.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func reportData(text string) []byte { return pki.NewSeed(text).Bytes(intelsgx.ReportDataSize) }

func quote(tb testing.TB, d *intelsgx.Device, data []byte) []byte {
	tb.Helper()
	raw, err := d.Evidence(data)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// parts of a quote that real ones have in common.
type parts struct {
	header, descriptor, body, qe, auth, chain []byte
	wrapped, lengthOK                         bool
	padding                                   int
}

func split(raw []byte) parts {
	le := binary.LittleEndian
	p := parts{header: raw[:48], wrapped: raw[0] > 3}
	off := 48
	if raw[0] == 5 {
		p.descriptor = raw[48:54]
		off = 54
	}
	p.body = raw[off : off+384]
	n := int(le.Uint32(raw[off+384:]))
	sd := raw[off+388:]
	p.padding = len(sd) - n
	sd = sd[128:n]
	p.lengthOK = true
	if p.wrapped {
		p.lengthOK = le.Uint16(sd) == 6 && int(le.Uint32(sd[2:])) == len(sd)-6
		sd = sd[6:]
	}
	p.qe = sd[:384]
	auth := int(le.Uint16(sd[448:]))
	p.auth = sd[450 : 450+auth]
	sd = sd[450+auth:]
	p.lengthOK = p.lengthOK && le.Uint16(sd) == 5 && int(le.Uint32(sd[2:])) == len(sd)-6
	p.chain = sd[6:]
	return p
}

// TestLayout compares with a quote of a real platform.
func TestLayout(t *testing.T) {
	o := options()
	o.Processor = true
	sim, real := split(quote(t, newDevice(t, o), reportData("n"))), split(vectors.Read(t, "sgx/dcap-qvl/sgx_quote"))
	if !bytes.Equal(sim.header[:8], real.header[:8]) || !bytes.Equal(sim.header[12:28], real.header[12:28]) || !bytes.Equal(sim.header[44:], real.header[44:]) {
		t.Errorf("header %x, real %x", sim.header, real.header)
	}
	if sim.padding != real.padding || !sim.lengthOK || !real.lengthOK || !bytes.Equal(sim.auth, real.auth) {
		t.Errorf("padding %d, real %d; authentication data %x", sim.padding, real.padding, sim.auth)
	}
	// Everything between CPUSVN and REPORTDATA but the two measurements.
	for _, r := range [][2]int{{16, 64}, {96, 128}, {160, 320}} {
		if !bytes.Equal(sim.body[r[0]:r[1]], real.body[r[0]:r[1]]) {
			t.Errorf("body bytes %d to %d: %x, real %x", r[0], r[1], sim.body[r[0]:r[1]], real.body[r[0]:r[1]])
		}
	}
	// MISCSELECT and ATTRIBUTES, signer and product, everything reserved.
	for _, r := range [][2]int{{16, 64}, {96, 258}, {260, 320}, {352, 384}} {
		if !bytes.Equal(sim.qe[r[0]:r[1]], real.qe[r[0]:r[1]]) {
			t.Errorf("QE report bytes %d to %d: %x, real %x", r[0], r[1], sim.qe[r[0]:r[1]], real.qe[r[0]:r[1]])
		}
	}
	if !bytes.HasSuffix(sim.chain, []byte("-----END CERTIFICATE-----\n\x00")) || !bytes.HasSuffix(real.chain, []byte("-----END CERTIFICATE-----\n\x00")) {
		t.Error("chains end differently")
	}
	a, b := sim.chain, real.chain
	for _, kind := range []string{"leaf", "CA", "root"} {
		var x, y *pem.Block
		x, a = pem.Decode(a)
		y, b = pem.Decode(b)
		if x == nil || y == nil || !slices.Equal(shape(t, x.Bytes), shape(t, y.Bytes)) {
			t.Errorf("%s has another structure than the real one", kind)
		}
	}
}

// shape lists tags, object identifiers and lengths of octet strings of a DER
// structure in depth, extensions included.
func shape(tb testing.TB, der []byte) (out []string) {
	tb.Helper()
	extension := false
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			tb.Fatal(err)
		}
		der = rest
		id := fmt.Sprintf("%d/%d", v.Class, v.Tag)
		universal := v.Class == asn1.ClassUniversal
		switch {
		case v.IsCompound:
			out = append(append(append(out, id+"{"), shape(tb, v.Bytes)...), "}")
			continue
		case universal && v.Tag == asn1.TagOID:
			id += fmt.Sprintf(" %x", v.Bytes)
			extension = bytes.HasPrefix(v.Bytes, []byte{0x55, 0x1d}) || hex.EncodeToString(v.Bytes) == "2a864886f84d010d01"
		case universal && v.Tag == asn1.TagOctetString && extension:
			out = append(append(out, id+"{"), shape(tb, v.Bytes)...)
			id = "}"
		case universal && v.Tag == asn1.TagOctetString:
			id += fmt.Sprintf(" %d bytes", len(v.Bytes))
		}
		out = append(out, id)
	}
	return out
}

// TestForms: every form has its header, and its lengths add up; the two CAs are
// told apart.
func TestForms(t *testing.T) {
	for form, version := range map[intelsgx.Quote]byte{intelsgx.V3: 3, intelsgx.V4: 4, intelsgx.V5: 5} {
		for _, processor := range []bool{false, true} {
			o := options()
			o.Quote, o.Processor = form, processor
			d := newDevice(t, o)
			p := split(quote(t, d, reportData("n")))
			if p.header[0] != version || p.header[4] != 0 || !p.lengthOK || p.padding != 0 || !bytes.Equal(p.body[320:], reportData("n")) {
				t.Errorf("version %d: header %x, lengths %v", version, p.header, p.lengthOK)
			}
			if (version == 5) != bytes.Equal(p.descriptor, []byte{1, 0, 0x80, 1, 0, 0}) {
				t.Errorf("version %d: descriptor %x", version, p.descriptor)
			}
			leaf, _ := pem.Decode(p.chain)
			cert, err := x509.ParseCertificate(leaf.Bytes)
			want := map[bool]string{false: "Intel SGX PCK Platform CA", true: "Intel SGX PCK Processor CA"}[processor]
			if err != nil || cert.Issuer.CommonName != want {
				t.Errorf("issuer %q, %v", cert.Issuer.CommonName, err)
			}
		}
	}
}

// TestCollateralForm compares names and kinds of all members with what Intel
// publishes.
func TestCollateralForm(t *testing.T) {
	files, err := newDevice(t, options()).Endorsements()
	if err != nil || len(files) != 1 {
		t.Fatal(err)
	}
	for name, raw := range files {
		b, warnings, err := endorsements.Load(fstest.MapFS{name: &fstest.MapFile{Data: raw}})
		if err != nil || len(warnings) != 0 || b.Len() != 1 {
			t.Fatalf("%v %v", warnings, err)
		}
		var sim, real map[string]string
		if json.Unmarshal(raw, &sim) != nil || json.Unmarshal(vectors.Read(t, "sgx/dcap-qvl/sgx_quote_collateral.json"), &real) != nil {
			t.Fatal("collateral is no object of texts")
		}
		for _, part := range []string{"tcb_info", "qe_identity"} {
			have, want := members(t, sim[part]), members(t, real[part])
			// Intel's SGX files of that year leave out what the components are.
			maps.DeleteFunc(have, func(k string, _ bool) bool {
				return bytes.HasSuffix([]byte(k), []byte("/category")) || bytes.HasSuffix([]byte(k), []byte("/type"))
			})
			if !reflect.DeepEqual(have, want) {
				t.Errorf("%s has %v, Intel's %v", part, have, want)
			}
		}
	}
}

func members(tb testing.TB, text string) map[string]bool {
	tb.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		tb.Fatal(err)
	}
	out := map[string]bool{}
	var walk func(string, any)
	walk = func(prefix string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, m := range v {
				walk(prefix+"/"+name, m)
			}
		case []any:
			for _, e := range v {
				walk(prefix+"[]", e)
			}
		default:
			out[fmt.Sprintf("%s %T", prefix, v)] = true
		}
	}
	walk("", v)
	for k := range out {
		if name, ok := bytes.CutSuffix([]byte(k), []byte(" string")); ok {
			delete(out, k)
			out[string(name)] = true
		}
	}
	return out
}

// TestDeterministic: same options, same bytes; one root with attester/inteltdx.
func TestDeterministic(t *testing.T) {
	a, b := newDevice(t, options()), newDevice(t, options())
	if !bytes.Equal(quote(t, a, reportData("n")), quote(t, b, reportData("n"))) {
		t.Error("the same options give another quote")
	}
	fa, _ := a.Endorsements()
	fb, _ := b.Endorsements()
	if !reflect.DeepEqual(fa, fb) || !reflect.DeepEqual(a.Measurements(), b.Measurements()) {
		t.Error("the same options give other collateral or measurements")
	}
	o := options()
	tdx, err := inteltdx.New(inteltdx.Options{Vendor: o.Vendor, Device: o.Device, Now: o.Now})
	if err != nil || !tdx.Root().Equal(a.Root()) || tdx.FMSPC() == a.FMSPC() {
		t.Error("TDX and SGX of one vendor have two roots, or one FMSPC")
	}
}

func TestOptionsRefused(t *testing.T) {
	for name, set := range map[string]func(*intelsgx.Options){
		"no time":        func(o *intelsgx.Options) { o.Now = time.Time{} },
		"form":           func(o *intelsgx.Options) { o.Quote = 9 },
		"MRENCLAVE":      func(o *intelsgx.Options) { o.MRENCLAVE = make([]byte, 31) },
		"MRSIGNER":       func(o *intelsgx.Options) { o.MRSIGNER = make([]byte, 48) },
		"CONFIGID":       func(o *intelsgx.Options) { o.ConfigID = make([]byte, 32) },
		"family":         func(o *intelsgx.Options) { o.FamilyID = make([]byte, 1) },
		"status":         func(o *intelsgx.Options) { o.Status = "Fine" },
		"QE status":      func(o *intelsgx.Options) { o.QEStatus = "Fine" },
		"two TCB levels": func(o *intelsgx.Options) { o.OutdatedTCB, o.Status = true, "Revoked" },
	} {
		o := options()
		set(&o)
		if _, err := intelsgx.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := newDevice(t, options()).Evidence(make([]byte, 32)); err == nil {
		t.Error("report data of 32 bytes: accepted")
	}
}
