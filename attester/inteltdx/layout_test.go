// SPDX-License-Identifier: Apache-2.0

package inteltdx_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/abi"
	"github.com/google/go-tdx-guest/pcs"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/google/go-tdx-guest/verify"

	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/vectors"
)

// getter serves the collateral of a device to go-tdx-guest.
type getter struct{ set endorsements.IntelCollateral }

func (g getter) Get(u string) (map[string][]string, []byte, error) {
	object := func(name string, raw []byte, sig string) []byte {
		return []byte(`{"` + name + `":` + string(raw) + `,"signature":"` + sig + `"}`)
	}
	head := func(key string, chain []byte) map[string][]string {
		return map[string][]string{http.CanonicalHeaderKey(key): {url.QueryEscape(string(chain))}}
	}
	switch {
	case strings.Contains(u, "/tdx/certification/v4/tcb?"):
		return head(pcs.TcbInfoIssuerChainPhrase, g.set.TCBInfoIssuerChain), object("tcbInfo", g.set.TCBInfo, g.set.TCBInfoSignature), nil
	case strings.Contains(u, "/qe/identity"):
		return head(pcs.SgxQeIdentityIssuerChainPhrase, g.set.QEIdentityChain), object("enclaveIdentity", g.set.QEIdentity, g.set.QEIdentitySignature), nil
	case strings.Contains(u, "/pckcrl?"):
		return head(pcs.SgxPckCrlIssuerChainPhrase, g.set.PCKCRLIssuerChain), g.set.PCKCRL, nil
	case u == "https://certificates.simulated-vendor.invalid/SimulatedRootCA.der":
		return nil, g.set.RootCACRL, nil
	}
	return nil, nil, fmt.Errorf("unexpected %s", u)
}

// libraryVerify is go-tdx-guest with collateral and revocation lists.
func libraryVerify(tb testing.TB, o inteltdx.Options) error {
	tb.Helper()
	d := newDevice(tb, o)
	parsed, err := abi.QuoteToProto(quote(tb, d, reportData("n")))
	if err != nil {
		tb.Fatal(err)
	}
	sets := bundle(tb, d).IntelTDX(d.FMSPC())
	if len(sets) != 1 {
		tb.Fatalf("%d sets for %s", len(sets), d.FMSPC())
	}
	pool := x509.NewCertPool()
	pool.AddCert(d.Root())
	return verify.TdxQuote(parsed, &verify.Options{
		GetCollateral: true, CheckRevocations: true, Getter: getter{sets[0]}, TrustedRoots: pool,
		Now: &verify.TimeSet{PckCertChain: o.Now, TcbInfo: o.Now, QeIdentity: o.Now, PckCrl: o.Now, RootCaCrl: o.Now},
	})
}

// TestLibrary has another implementation verify the quotes of every form.
// Debugging and measurements are nothing that it judges.
func TestLibrary(t *testing.T) {
	for form, q := range forms {
		for name, c := range map[string]struct {
			set  func(*inteltdx.Options)
			want string
		}{
			"honest":       {func(*inteltdx.Options) {}, ""},
			"measurement":  {func(o *inteltdx.Options) { o.Measurement = true }, ""},
			"debug":        {func(o *inteltdx.Options) { o.Debug = true }, ""},
			"outdated":     {func(o *inteltdx.Options) { o.OutdatedTCB = true }, "OutOfDate"},
			"revoked":      {func(o *inteltdx.Options) { o.Revoked = true }, "revoked"},
			"expired":      {func(o *inteltdx.Options) { o.Expired = true }, "expired"},
			"wrong signer": {func(o *inteltdx.Options) { o.WrongSigner = true }, "QE Report Data"},
		} {
			o := options()
			o.Quote = q
			c.set(&o)
			err := libraryVerify(t, o)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s %s: %v, expected %q", form, name, err, c.want)
			}
		}
	}
}

// TestLibraryFields has the library read what the device put in.
func TestLibraryFields(t *testing.T) {
	for form, q := range forms {
		o := options()
		o.Quote = q
		d := newDevice(t, o)
		parsed, err := abi.QuoteToProto(quote(t, d, reportData("n")))
		if err != nil {
			t.Fatal(form, err)
		}
		var body interface {
			GetMrTd() []byte
			GetMrSeam() []byte
			GetRtmrs() [][]byte
			GetReportData() []byte
		}
		switch p := parsed.(type) {
		case *pb.QuoteV4:
			body = p.GetTdQuoteBody()
		case *pb.QuoteV5:
			body = p.GetTdQuoteBodyDescriptor().GetTdQuoteBodyV5()
		}
		want := map[string][]byte{}
		for _, m := range d.Measurements() {
			want[m.Name] = m.Digest
		}
		got := map[string][]byte{"mrtd": body.GetMrTd(), "mrseam": body.GetMrSeam()}
		for i, r := range body.GetRtmrs() {
			got[fmt.Sprintf("rtmr%d", i)] = r
		}
		for name, v := range got {
			if !bytes.Equal(v, want[name]) || len(v) != inteltdx.RegisterSize {
				t.Errorf("%s: %s is %x, expected %x", form, name, v, want[name])
			}
		}
		if len(got) != 6 || !bytes.Equal(body.GetReportData(), reportData("n")) {
			t.Errorf("%s: report data %x, %d registers", form, body.GetReportData(), len(got)-2)
		}
	}
}

// parts of a quote that real ones have in common.
type parts struct {
	header, body, qe, auth, chain []byte
	descriptor                    []byte
	outer, inner                  int
	lengthOK                      bool
	padding                       int
	zeros                         bool
}

func split(tb testing.TB, raw []byte) parts {
	tb.Helper()
	le := binary.LittleEndian
	p := parts{header: raw[:48]}
	off, size := 48, 584
	if raw[0] == 5 {
		p.descriptor = raw[48:54]
		off, size = 54, int(le.Uint32(raw[50:]))
	}
	p.body = raw[off : off+size]
	n := int(le.Uint32(raw[off+size:]))
	sd := raw[off+size+4:]
	p.padding = len(sd) - n
	p.zeros = len(bytes.Trim(sd[n:], "\x00")) == 0
	sd = sd[:n]
	p.outer = int(le.Uint16(sd[128:]))
	p.lengthOK = int(le.Uint32(sd[130:])) == len(sd)-134
	cd := sd[134:]
	p.qe = cd[:384]
	auth := int(le.Uint16(cd[448:]))
	p.auth = cd[450 : 450+auth]
	cd = cd[450+auth:]
	p.inner = int(le.Uint16(cd))
	p.lengthOK = p.lengthOK && int(le.Uint32(cd[2:])) == len(cd)-6
	p.chain = cd[6:]
	return p
}

// realQuotes are recorded ones by form; those of the module are always there.
func realQuotes(t *testing.T) map[string][]byte {
	out := map[string][]byte{"v4": testdata.RawQuote, "v5 1.5": testdata.RawQuoteV5}
	t.Run("recorded", func(t *testing.T) { out["v4 padded"] = vectors.Read(t, "tdx/dcap-qvl/tdx_quote") })
	return out
}

// TestLayout compares with quotes of real platforms.
func TestLayout(t *testing.T) {
	for name, recorded := range realQuotes(t) {
		form := strings.TrimSuffix(name, " padded")
		o := options()
		o.Quote = forms[form]
		sim, real := split(t, quote(t, newDevice(t, o), reportData("n"))), split(t, recorded)
		if !bytes.Equal(sim.header[:28], real.header[:28]) || !bytes.Equal(sim.header[44:], real.header[44:]) {
			t.Errorf("%s: header %x, real %x", name, sim.header, real.header)
		}
		if !bytes.Equal(sim.descriptor, real.descriptor) || len(sim.body) != len(real.body) {
			t.Errorf("%s: body %x of %d bytes, real %x of %d", name, sim.descriptor, len(sim.body), real.descriptor, len(real.body))
		}
		// MRSIGNERSEAM, SEAMATTRIBUTES, MRCONFIGID to MROWNERCONFIG, MRSERVICETD.
		for _, r := range [][2]int{{3, 16}, {64, 120}, {184, 328}, {587, 600}, {600, 648}} {
			if r[1] <= len(sim.body) && !bytes.Equal(sim.body[r[0]:r[1]], real.body[r[0]:r[1]]) {
				t.Errorf("%s: body bytes %d to %d: %x, real %x", name, r[0], r[1], sim.body[r[0]:r[1]], real.body[r[0]:r[1]])
			}
		}
		// MISCSELECT and ATTRIBUTES, signer and product, everything reserved.
		for _, r := range [][2]int{{16, 64}, {96, 258}, {260, 320}, {352, 384}} {
			if !bytes.Equal(sim.qe[r[0]:r[1]], real.qe[r[0]:r[1]]) {
				t.Errorf("%s: QE report bytes %d to %d: %x, real %x", name, r[0], r[1], sim.qe[r[0]:r[1]], real.qe[r[0]:r[1]])
			}
		}
		if sim.outer != 6 || sim.inner != 5 || real.outer != 6 || real.inner != 5 || !sim.lengthOK || !real.lengthOK {
			t.Errorf("%s: certification data %d and %d, real %d and %d", name, sim.outer, sim.inner, real.outer, real.inner)
		}
		// The oldest of the recorded quotes has other bytes than zeros behind it.
		if !bytes.Equal(sim.auth, real.auth) || !sim.zeros || sim.padding != real.padding && name != "v4" {
			t.Errorf("%s: authentication data %x, %d bytes of padding, real %x, %d", name, sim.auth, sim.padding, real.auth, real.padding)
		}
		if d := len(sim.chain) - len(real.chain); d < -200 || d > 200 {
			t.Errorf("%s: chain of %d bytes, real %d", name, len(sim.chain), len(real.chain))
		}
		if name != "v4" && !bytes.HasSuffix(sim.chain, []byte("-----END CERTIFICATE-----\n\x00")) || bytes.HasSuffix(real.chain, []byte("\x00")) != (name != "v4") {
			t.Errorf("%s: chain ends in %q, real %q", name, sim.chain[len(sim.chain)-8:], real.chain[len(real.chain)-8:])
		}
		certificates(t, name, sim.chain, real.chain)
	}
}

// certificates compares the structure of two chains.
func certificates(t *testing.T, name string, sim, real []byte) {
	t.Helper()
	for i, kind := range []string{"leaf", "CA", "root"} {
		var a, b *pem.Block
		a, sim = pem.Decode(sim)
		b, real = pem.Decode(real)
		if a == nil || b == nil {
			t.Fatalf("%s: no certificate %d", name, i)
		}
		x, y := shape(t, a.Bytes), shape(t, b.Bytes)
		if !slices.Equal(x, y) {
			for j := range min(len(x), len(y)) {
				if x[j] != y[j] {
					t.Fatalf("%s: %s differs at element %d: %s, real %s", name, kind, j, x[j], y[j])
				}
			}
			t.Errorf("%s: %s has %d elements, real %d", name, kind, len(x), len(y))
		}
		cert, err := x509.ParseCertificate(a.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range append(cert.Subject.Organization, cert.Issuer.Organization...) {
			if n != "Assize Simulation" {
				t.Errorf("%s: %s names %q", name, kind, n)
			}
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
		switch {
		case v.IsCompound:
			out = append(append(append(out, id+"{"), shape(tb, v.Bytes)...), "}")
			continue
		case v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOID:
			id += fmt.Sprintf(" %x", v.Bytes)
		case v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOctetString && extension:
			out = append(append(out, id+"{"), shape(tb, v.Bytes)...)
			id = "}"
		case v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOctetString:
			id += fmt.Sprintf(" %d bytes", len(v.Bytes))
		}
		// An octet string behind an OID of 2.5.29 or of the SGX extension
		// itself wraps another structure.
		if v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOID {
			extension = bytes.HasPrefix(v.Bytes, []byte{0x55, 0x1d}) || hex.EncodeToString(v.Bytes) == "2a864886f84d010d01"
		}
		out = append(out, id)
	}
	return out
}

// TestCollateralForm compares names and kinds of all members with what Intel
// publishes.
func TestCollateralForm(t *testing.T) {
	d := newDevice(t, options())
	set := bundle(t, d).IntelTDX(d.FMSPC())[0]
	paths := func(raw []byte) []string {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		var out []string
		walk("", v, &out)
		slices.Sort(out)
		return slices.Compact(out)
	}
	value := func(raw []byte, name string) []byte {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		return m[name]
	}
	if a, b := paths(set.TCBInfo), paths(value(testdata.TcbInfoBodyV5, "tcbInfo")); !reflect.DeepEqual(a, b) {
		t.Errorf("TCB info has %v, Intel's %v", a, b)
	}
	if a, b := paths(set.QEIdentity), paths(value(testdata.QeIdentityBody, "enclaveIdentity")); !reflect.DeepEqual(a, b) {
		t.Errorf("QE identity has %v, Intel's %v", a, b)
	}
	files, err := d.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range files {
		if !strings.HasPrefix(name, "intel-tdx-"+d.FMSPC()) {
			t.Errorf("file %s", name)
		}
		recorded := vectors.Read(t, "tdx/dcap-qvl/tdx_quote_collateral.json")
		if a, b := paths(raw), paths(recorded); !reflect.DeepEqual(a, b) {
			t.Errorf("set has %v, recorded %v", a, b)
		}
	}
}

func walk(prefix string, v any, out *[]string) {
	switch v := v.(type) {
	case map[string]any:
		for name, m := range v {
			walk(prefix+"/"+name, m, out)
		}
	case []any:
		for _, e := range v {
			walk(prefix+"[]", e, out)
		}
	default:
		*out = append(*out, fmt.Sprintf("%s %T", prefix, v))
	}
}

// TestRevocationLists: only the fault puts a certificate on a list.
func TestRevocationLists(t *testing.T) {
	for _, revoked := range []bool{false, true} {
		o := options()
		o.Revoked = revoked
		d := newDevice(t, o)
		set := bundle(t, d).IntelTDX(d.FMSPC())[0]
		leaf, _ := pem.Decode(split(t, quote(t, d, reportData("n"))).chain)
		cert, err := x509.ParseCertificate(leaf.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for name, der := range map[string][]byte{"PCK": set.PCKCRL, "root": set.RootCACRL} {
			list, err := x509.ParseRevocationList(der)
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			if revoked && name == "PCK" {
				want = 1
			}
			if len(list.RevokedCertificateEntries) != want || want == 1 && list.RevokedCertificateEntries[0].SerialNumber.Cmp(cert.SerialNumber) != 0 {
				t.Errorf("%s list, revoked %v: %v", name, revoked, list.RevokedCertificateEntries)
			}
			if list.ThisUpdate.After(o.Now) || list.NextUpdate.Before(o.Now.Add(24*time.Hour)) || list.Number.Int64() != 1 || len(list.AuthorityKeyId) != 20 {
				t.Errorf("%s list: %s to %s, number %v", name, list.ThisUpdate, list.NextUpdate, list.Number)
			}
		}
	}
}
