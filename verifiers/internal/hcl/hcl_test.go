// SPDX-License-Identifier: Apache-2.0

package hcl

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/internal/vectors"
)

const snp = "vtpm/trustee/az-snp-vtpm/"

// recorded reads the reports of the recorded machines.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	raw := vectors.Read(t, snp+name)
	if strings.HasSuffix(name, ".bin") {
		return raw
	}
	var m struct {
		Report []int  `json:"report"`
		HCL    string `json:"hcl_report"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	if m.HCL == "" {
		out := make([]byte, len(m.Report))
		for i, n := range m.Report {
			out[i] = byte(n)
		}
		return out
	}
	out, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(m.HCL, "="))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRecordedReports(t *testing.T) {
	zeros := make([]byte, UserDataSize)
	for _, v := range []struct {
		name, id string
		user     []byte
	}{
		{"hcl-report.bin", "911B0EF8-9DBA-48B0-B275-4E4DF2D39252", zeros},
		{"evidence-v0.json", "", zeros},
		{"evidence-v1.json", "26F8BC30-774E-4290-8E7A-535F3B672AEE", zeros},
		{"evidence-v2.json", "7DF7B373-B947-4AAA-96E5-C358F2A03D20", unhex(t, "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef00000000000000000000000000000000")},
	} {
		t.Run(v.name, func(t *testing.T) {
			r, err := ParseReport(recorded(t, v.name))
			if err != nil {
				t.Fatal(err)
			}
			if r.Type != SNP || r.Hash != crypto.SHA256 || len(r.Hardware) != 1184 {
				t.Errorf("type %d, hash %v, %d bytes of hardware report", r.Type, r.Hash, len(r.Hardware))
			}
			// REPORT_DATA is at 0x50 of an SNP report.
			data := bytes.Clone(r.Hardware[0x50:0x90])
			if !r.Commits(data) {
				t.Error("the report data do not commit to the runtime data")
			}
			for i := range data {
				data[i] ^= 1
				if r.Commits(data) {
					t.Errorf("byte %d of the report data changed, and they still commit", i)
				}
				data[i] ^= 1
			}
			d, err := ParseRuntimeData(r.RuntimeData)
			if err != nil {
				t.Fatal(err)
			}
			c := d.Configuration
			if !bytes.Equal(d.UserData, v.user) || v.id != "" && c.ID != v.id || c.SecureBoot == nil || !*c.SecureBoot || c.TPM == nil || !*c.TPM || c.Console == nil {
				t.Errorf("user data %x, configuration %+v", d.UserData, c)
			}
			if len(d.Keys) != 2 || len(d.SPKI(AttestationKey)) != 64 || d.SPKI(EndorsementKey) == d.SPKI(AttestationKey) || d.SPKI("other") != "" {
				t.Errorf("keys %v", d.Keys)
			}
		})
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// simulated is the runtime data of a simulated machine.
func simulated(t testing.TB, kind tcgtpm.KeyType) []byte {
	t.Helper()
	d, err := tcgtpm.New(tcgtpm.Options{
		Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), Key: kind, UserData: []byte("nonce"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d.RuntimeData()
}

func TestSimulatedRuntimeData(t *testing.T) {
	for _, kind := range []tcgtpm.KeyType{tcgtpm.P256, tcgtpm.RSA2048} {
		raw := simulated(t, kind)
		d, err := ParseRuntimeData(raw)
		if err != nil {
			t.Fatal(err)
		}
		if d.SPKI(AttestationKey) == "" || !bytes.HasPrefix(d.UserData, []byte("nonce\x00")) {
			t.Errorf("keys %v, user data %x", d.Keys, d.UserData)
		}
	}
}

func TestCommits(t *testing.T) {
	text := []byte(`{"keys":[]}`)
	sum := sha256.Sum256(text)
	data := append(sum[:], make([]byte, 32)...)
	for _, c := range []struct {
		name string
		h    crypto.Hash
		text string
		data []byte
		want bool
	}{
		{"the hash and zeros", crypto.SHA256, string(text), data, true},
		{"hash alone", crypto.SHA256, string(text), sum[:], true},
		{"other text", crypto.SHA256, `{"keys": []}`, data, false},
		{"something behind the hash", crypto.SHA256, string(text), append(append(sum[:len(sum):len(sum)], make([]byte, 31)...), 1), false},
		{"cut hash", crypto.SHA256, string(text), sum[:31], false},
		{"another hash", crypto.SHA384, string(text), data, false},
		{"a hash that does not fit", crypto.SHA512, string(text), data[:63], false},
		{"no hash", 0, string(text), data, false},
		{"nothing", crypto.SHA256, "", nil, false},
	} {
		if got := Commits(c.h, []byte(c.text), c.data); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestBadReports(t *testing.T) {
	good := recorded(t, "hcl-report.bin")
	put := func(at int, v uint32) []byte {
		out := bytes.Clone(good)
		binary.LittleEndian.PutUint32(out[at:], v)
		return out
	}
	for _, c := range []struct {
		name string
		raw  []byte
		say  string
	}{
		{"empty", nil, "report of 0 bytes"},
		{"header only", good[:32], "report of 32 bytes"},
		{"too large", make([]byte, maxReport+1), "report of 65537 bytes"},
		{"signature", put(0, 0), `expected "HCLA"`},
		{"version", put(4, 2), "version 2"},
		{"size", put(8, 2601), "says that it has 2601"},
		{"status", put(16, 1), "status 1"},
		{"type 3", put(1224, 3), "report type 3"},
		{"hash type 0", put(1228, 0), "hash type 0"},
		{"hash type 4", put(1228, 4), "hash type 4"},
		{"reserved bytes", put(28, 1), "reserved bytes"},
		{"request type 3", put(12, 3), "request type 3"},
		{"request data of version 2", put(1220, 2), "version 2"},
		{"another size of the report", put(8, 2347), "2347 bytes"},
		{"another size of the request data", put(1216, 1131), "request data 1131"},
		{"no runtime data", put(1232, 0), "runtime data of 0 bytes"},
		{"runtime data too long", put(1232, 0xffffffff), "runtime data of 4294967295 bytes"},
		{"runtime data shorter than they are", put(1232, 1000), "expected 2236 and 1020"},
		{"something behind the runtime data", append(bytes.Clone(good), 1), "byte 2600 behind"},
	} {
		if _, err := ParseReport(c.raw); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want %q", c.name, err, c.say)
		}
	}
	if r, err := ParseReport(put(1224, 4)); err != nil || r.Type != TDX {
		t.Errorf("TDX: %v", err)
	}
}

func TestBadRuntimeData(t *testing.T) {
	good := simulated(t, tcgtpm.P256)
	from := func(old, new string) string {
		out := strings.Replace(string(good), old, new, 1)
		if out == string(good) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return out
	}
	rsaPart := func(n, e string) string {
		return `{"keys":[{"kid":"HCLAkPub","kty":"RSA","n":"` + n + `","e":"` + e + `"}]}`
	}
	text := base64.RawURLEncoding.EncodeToString
	modulus := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 256))
	for _, c := range []struct{ name, raw, say string }{
		{"empty", "", "not a JSON object"},
		{"list", "[]", "not a JSON object"},
		{"no keys", "{}", "not a list of 1 to 16"},
		{"empty keys", `{"keys":[]}`, "not a list of 1 to 16"},
		{"seventeen keys", `{"keys":[` + strings.Repeat("{},", 16) + `{}]}`, "not a list of 1 to 16"},
		{"keys twice", from(`{"keys"`, `{"keys":[],"keys"`), "duplicate member"},
		{"two attestation keys", from("HCLEkPub", "HCLAkPub"), `a second key "HCLAkPub"`},
		{"kid twice", from(`"kid":"HCLAkPub"`, `"kid":"HCLAkPub","kid":"x"`), "duplicate member"},
		{"no kid", from(`"kid":"HCLAkPub",`, ""), "kid: not a text"},
		{"kid of 65 bytes", from("HCLAkPub", strings.Repeat("x", 65)), "text of 65 bytes"},
		{"private key", from(`"kty"`, `"d":"AA","kty"`), "private member d"},
		{"key type", from(`"EC"`, `"OKP"`), `key type "OKP"`},
		{"curve", from("P-256", "P-521"), `curve "P-521"`},
		{"coordinate too long", from(`"x":"`, `"x":"AAAA`), "x has 35 bytes"},
		{"not on the curve", `{"keys":[{"kid":"a","kty":"EC","crv":"P-256","x":"` + text(make([]byte, 32)) + `","y":"` + text(make([]byte, 32)) + `"}]}`, "point: "},
		{"user data too short", from(`"user-data":"6E`, `"user-data":"`), "63 bytes"},
		{"user data not hex", from(`"user-data":"6E`, `"user-data":"xx`), "invalid byte"},
		{"configuration", from(`"secure-boot":true`, `"secure-boot":1`), "secure-boot is not true or false"},
		{"configuration twice", from(`"secure-boot":true`, `"secure-boot":true,"secure-boot":false`), "duplicate member"},
		{"behind the object", string(good) + "{}", "data behind"},
		{"too large", string(good) + strings.Repeat(" ", MaxRuntimeData), "at most 16384"},
		{"RSA of 1024 bits", rsaPart(text(bytes.Repeat([]byte{0xff}, 128)), "AQAB"), "modulus of 1024 bits"},
		{"even modulus", rsaPart(text(append(bytes.Repeat([]byte{0xff}, 255), 0xfe)), "AQAB"), "modulus of 2048 bits"},
		{"exponent 1", rsaPart(modulus, "AQ"), "exponent"},
		{"even exponent", rsaPart(modulus, "BA"), "exponent"},
		{"huge exponent", rsaPart(modulus, "AQAAAAAAAAAB"), "exponent"},
		{"leading zero", rsaPart(modulus, "AAEAAQ"), "begins with a zero byte"},
		{"padding", rsaPart(modulus, "AQAB=="), "illegal base64"},
		{"line break", rsaPart(modulus, `AQ\nAB`), "line break"},
	} {
		if _, err := ParseRuntimeData([]byte(c.raw)); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want %q", c.name, err, c.say)
		}
	}
	if _, err := ParseRuntimeData([]byte(rsaPart(modulus, "AQAB"))); err != nil {
		t.Error(err)
	}
	// Members that are new, or in another case, are none of these.
	if d, err := ParseRuntimeData([]byte(from(`"user-data"`, `"User-Data"`))); err != nil || d.UserData != nil {
		t.Errorf("%v, %v", d, err)
	}
}

func FuzzParseRuntimeData(f *testing.F) {
	f.Add(simulated(f, tcgtpm.P256))
	f.Add([]byte(`{"keys":[{"kid":"a","kty":"RSA","n":"AQ","e":"Aw"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := ParseRuntimeData(raw)
		if err != nil {
			return
		}
		for kid := range d.Keys {
			if len(d.SPKI(kid)) != 64 {
				t.Fatalf("key %q has no SPKI", kid)
			}
		}
		again, err := ParseRuntimeData(raw)
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Fatal("read differently the second time")
		}
	})
}

func FuzzParseReport(f *testing.F) {
	f.Add(recorded(f, "hcl-report.bin"))
	f.Add(append([]byte(signature), make([]byte, 2000)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseReport(raw)
		if err != nil {
			return
		}
		if len(r.Hardware) != hardwareSize || len(r.RuntimeData) == 0 || !r.Hash.Available() {
			t.Fatalf("%+v", r)
		}
		r.Commits(raw[:64])
	})
}
