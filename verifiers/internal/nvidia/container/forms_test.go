// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// parts are those of the recorded GPU.
func parts(tb testing.TB) *Device {
	tb.Helper()
	d, err := Decode(sample(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func rec(typ string, value []byte) string {
	return `["` + typ + `","` + base64.RawURLEncoding.EncodeToString(value) + `"]`
}

// itemMembers are those of an item of the recorded GPU, each "name":value.
func itemMembers(tb testing.TB) map[string]string {
	d := parts(tb)
	return map[string]string{
		labelType: `"` + itemType + `"`, labelEvidence: rec(typeTranscript, d.Report), labelCertificate: rec(typeCertificate, d.Chain),
		labelNonce: rec(typeNonce, d.Nonce), labelHints: rec(typeHints, []byte(`{"fwversion":"96.00.5E.00.01","site":"x"}`)),
	}
}

// object writes members, those with an empty value left out, and more behind them.
func object(members map[string]string, more ...string) []byte {
	var out []string
	for _, name := range itemLabels {
		if members[name] != "" {
			out = append(out, `"`+name+`":`+members[name])
		}
	}
	return []byte("{" + strings.Join(append(out, more...), ",") + "}")
}

func quoted(b []byte) string { return `"` + base64.StdEncoding.EncodeToString(b) + `"` }

// nvgpu is Intel's form of the recorded GPU; more are further members.
func nvgpu(tb testing.TB, more ...string) string {
	d := parts(tb)
	list := []string{`"gpu_nonce":"` + hex.EncodeToString(d.Nonce) + `"`, `"arch":"hopper"`,
		`"evidence_list":[{"evidence":` + quoted(d.Report) + `,"certificate":` + quoted(d.Chain) + `}]`}
	return "{" + strings.Join(append(list, more...), ",") + "}"
}

// one splits a leaf of one device and reads it.
func one(tb testing.TB, base string, raw []byte) *Device {
	tb.Helper()
	values, err := Split(base, raw)
	if err != nil || len(values) != 1 {
		tb.Fatalf("%d components, %v", len(values), err)
	}
	arch, err := Arch(values[0])
	if err != nil {
		tb.Fatal(err)
	}
	d, err := Decode(values[0])
	if err != nil || arch != d.Arch {
		tb.Fatalf("%q, %+v, %v", arch, d, err)
	}
	// A part is a leaf again, of one part: its verifier routes it for itself.
	again, err := Split(base, values[0])
	if err != nil || len(again) != 1 || !bytes.Equal(again[0], values[0]) {
		tb.Fatalf("a component is %d components, %v", len(again), err)
	}
	return d
}

// Every form says the same about one device.
func TestForms(t *testing.T) {
	want := parts(t)
	members := itemMembers(t)
	forms := map[string]*Device{
		"array": one(t, MediaType, sample(t)), "alias": one(t, MediaTypeAlias, sample(t)),
		"named array":  one(t, MediaType, []byte(` { "nv-gpu-evidence" : `+string(sample(t))+` } `)),
		"item":         one(t, ItemType, object(members)),
		"nvgpu":        one(t, NVGPUType, []byte(nvgpu(t))),
		"nvgpu inside": one(t, NVGPUType, []byte(`{"nvgpu":`+nvgpu(t)+`}`)),
	}
	if d := forms["item"]; d.Hints.Firmware != "96.00.5E.00.01" || !reflect.DeepEqual(d.Unknown, []string{"hints.site"}) {
		t.Errorf("hints %+v, unknown %q", d.Hints, d.Unknown)
	} else {
		d.Hints, d.Unknown = Hints{}, nil
	}
	for name, d := range forms {
		if !reflect.DeepEqual(d, want) {
			t.Errorf("%s: %s, nonce %x, report of %d, chain of %d, %+v", name, d.Arch, d.Nonce, len(d.Report), len(d.Chain), d.Hints)
		}
	}
	members[labelNonce], members[labelHints] = "", ""
	if d := one(t, ItemType, object(members)); d.Nonce != nil || d.Hints != (Hints{}) || d.Unknown != nil {
		t.Errorf("without nonce and hints: %x %+v %q", d.Nonce, d.Hints, d.Unknown)
	}
}

func TestItem(t *testing.T) {
	report, chain := parts(t).Report, parts(t).Chain
	for name, c := range map[string]struct{ label, value string }{
		"no type": {labelType, ""}, "another type": {labelType, `"tag:nvidia.com,2026:evidence-item/v2"`}, "type that is no text": {labelType, "1"},
		"no evidence": {labelEvidence, ""}, "evidence of a token": {labelEvidence, rec("application/eat+cwt", report)}, "empty": {labelEvidence, rec(typeTranscript, nil)},
		"no certificate": {labelCertificate, ""}, "DER": {labelCertificate, rec("application/pkix-cert", chain)}, "no PEM": {labelCertificate, rec(typeCertificate, []byte("x"))},
		"broken certificate": {labelCertificate, rec(typeCertificate, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))},
		"too large":          {labelEvidence, rec(typeTranscript, make([]byte, MaxReport+1))}, "chain too large": {labelCertificate, rec(typeCertificate, append(bytes.Clone(chain), make([]byte, MaxChain)...))},
		"short nonce": {labelNonce, rec(typeNonce, make([]byte, NonceSize-1))}, "long nonce": {labelNonce, rec(typeNonce, make([]byte, NonceSize+1))},
		"nonce in hexadecimal": {labelNonce, `["application/octet-stream","` + strings.Repeat("ab", NonceSize) + `"]`}, "nonce of another type": {labelNonce, rec(typeHints, make([]byte, NonceSize))},
		"padded": {labelNonce, `["application/octet-stream","` + base64.URLEncoding.EncodeToString(make([]byte, NonceSize)) + `"]`}, "indicator": {labelNonce, strings.TrimSuffix(rec(typeNonce, make([]byte, NonceSize)), "]") + ",4]"},
		"one element": {labelNonce, `["application/octet-stream"]`}, "a text": {labelNonce, `"x"`}, "an object": {labelNonce, `{}`}, "null": {labelHints, "null"}, "a number": {labelNonce, `["application/octet-stream",1]`},
		"trailing bits": {labelHints, `["application/json","e31"]`}, "line break": {labelHints, "[\"application/json\",\"e3\\n0\"]"}, "standard alphabet": {labelHints, `["application/json","+/8"]`},
	} {
		members := itemMembers(t)
		members[c.label] = c.value
		raw := object(members)
		if d, err := Decode(raw); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
		if _, err := Arch(raw); err == nil || errors.Is(err, ErrUnsupported) != slices.Contains([]string{"evidence of a token", "DER", "nonce of another type"}, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, more := range map[string]string{
		"unknown label": `"log":` + rec(typeHints, []byte("{}")), "label twice": `"nonce":` + rec(typeNonce, make([]byte, NonceSize)),
		"escaped": `"\u006eonce":` + rec(typeNonce, make([]byte, NonceSize)), "other case": `"Nonce":` + rec(typeNonce, make([]byte, NonceSize)),
	} {
		if d, err := Decode(object(itemMembers(t), more)); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for _, raw := range [][]byte{append(object(itemMembers(t)), '1'), slices.Concat([]byte("["), object(itemMembers(t)), []byte("]"))} {
		if _, err := Decode(raw); err == nil {
			t.Errorf("%.9s: accepted", raw)
		}
	}
	for _, raw := range []string{"[]", "[{}]", "x", ""} {
		if _, err := Split(ItemType, []byte(raw)); err == nil {
			t.Errorf("%q is an item", raw)
		}
	}
}

func TestHints(t *testing.T) {
	with := func(hints string) (*Device, error) {
		members := itemMembers(t)
		members[labelHints] = rec(typeHints, []byte(hints))
		return Decode(object(members))
	}
	for _, good := range []string{`{}`, `{"fwversion":"1"}`, `{"version":"1","arch":"x"}`, ` {"a":null , "b":1.5,"c":true}` + "\n"} {
		if _, err := with(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		`[]`, `"x"`, `{"fwversion":1}`, `{"fwversion":""}`, `{"fwversion":"a b"}`, `{"fwversion":"\u00e9"}`, `{"fwversion":"` + strings.Repeat("1", maxPrintable+1) + `"}`,
		`{"fwversion":"1","fwversion":"1"}`, `{"FwVersion":"1"}`, `{"a":1,"a":1}`, `{"a":{}}`, `{"a":[]}`, `{"":1}`, `{}x`, `{"a":1,}`, `{"a"}`, `{`,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}`, `{"a":"` + strings.Repeat("x", maxHints) + `"}`,
	} {
		if d, err := with(bad); err == nil {
			t.Errorf("%.60s: %+v", bad, d.Hints)
		}
	}
}

func TestNVGPU(t *testing.T) {
	val, iat := []byte("value"), []byte("issued")
	sum := sha256.Sum256(append(slices.Clone(val), iat...))
	nonce := `"verifier_nonce":{"val":` + quoted(val) + `,"iat":` + quoted(iat) + `,"signature":` + quoted([]byte("s")) + `}`
	bound := strings.Replace(nvgpu(t, nonce), hex.EncodeToString(parts(t).Nonce), strings.ToUpper(hex.EncodeToString(sum[:])), 1)
	if d := one(t, NVGPUType, []byte(bound)); !bytes.Equal(d.Nonce, sum[:]) {
		t.Errorf("nonce %x", d.Nonce)
	}
	// Without val or iat the client draws a nonce of its own.
	one(t, NVGPUType, []byte(nvgpu(t, `"verifier_nonce":{"val":"","iat":"","signature":""}`)))
	versioned := strings.Replace(nvgpu(t), `[{`, `[{"firmware_version":"97.00.F3.00.07",`, 1)
	if d := one(t, NVGPUType, []byte(versioned)); d.Hints.Firmware != "97.00.F3.00.07" {
		t.Errorf("hints %+v", d.Hints)
	}
	whole := nvgpu(t)
	for name, raw := range map[string]string{
		"another nonce": nvgpu(t, nonce), "nonce that is a text": nvgpu(t, `"verifier_nonce":"x"`), "nonce without iat": nvgpu(t, `"verifier_nonce":{"val":"","signature":""}`),
		"nonce with more": nvgpu(t, `"verifier_nonce":{"val":"","iat":"","signature":"","x":1}`), "null": nvgpu(t, `"verifier_nonce":null`), "unknown": nvgpu(t, `"x":1`), "arch twice": nvgpu(t, `"arch":"hopper"`),
		"no arch": strings.Replace(whole, `"arch":"hopper",`, "", 1), "number for arch": strings.Replace(whole, `"hopper"`, "1", 1), "long arch": strings.Replace(whole, `hopper`, strings.Repeat("x", maxArch+1), 1),
		"base64 nonce": strings.Replace(whole, hex.EncodeToString(parts(t).Nonce), base64.StdEncoding.EncodeToString(parts(t).Nonce), 1), "short nonce": strings.Replace(whole, hex.EncodeToString(parts(t).Nonce), "00", 1),
		"nonce not hexadecimal": strings.Replace(whole, hex.EncodeToString(parts(t).Nonce), strings.Repeat("x", 64), 1),
		"nvgpu beside":          `{"nvgpu":` + whole + `,"arch":"hopper"}`, "nvgpu twice inside": `{"nvgpu":{"nvgpu":` + whole + `}}`, "empty": "{}", "no list": `{"gpu_nonce":"` + strings.Repeat("0", 64) + `","arch":"hopper"}`,
		"empty list": `{"gpu_nonce":"` + strings.Repeat("0", 64) + `","arch":"hopper","evidence_list":[]}`, "data behind": whole + "1", "named array": `{"nv-gpu-evidence":` + string(sample(t)) + `}`,
	} {
		if values, err := Split(NVGPUType, []byte(raw)); err == nil {
			t.Errorf("%s: %d components", name, len(values))
		}
	}
	// A form is not that of another type.
	if _, err := Split(MediaType, []byte(whole)); err == nil {
		t.Error("Intel's form under the type of the array")
	}
}

// One bad device does not hide the others, and none is made of two.
func TestNVGPUDevices(t *testing.T) {
	d := parts(t)
	good := `{"evidence":` + quoted(d.Report) + `,"certificate":` + quoted(d.Chain) + `}`
	raw := `{"gpu_nonce":"` + hex.EncodeToString(d.Nonce) + `","arch":"hopper","evidence_list":[` + strings.Join([]string{
		good, `{ }`, `null`, `"x"`, `[1]`, `{"arch":"LS10",` + good[1:], `{"nonce":"x",` + good[1:], good,
	}, ",") + `]}`
	values, err := Split(NVGPUType, []byte(raw))
	if err != nil || len(values) != 8 {
		t.Fatalf("%d components, %v", len(values), err)
	}
	for i, v := range values {
		if _, err := Decode(v); (err == nil) != (i == 0 || i == 7) {
			t.Errorf("device %d: %v", i, err)
		}
	}
}

// A service key is refused and never repeated.
func TestServiceKeyIsRefused(t *testing.T) {
	const key = "nvapi-very-secret"
	for _, raw := range []string{nvgpu(t, `"nras_apikey":"`+key+`"`), `{"nvgpu":` + nvgpu(t, `"nras_apikey":"`+key+`"`) + `}`, nvgpu(t, `"nras_apikey":""`), nvgpu(t, `"nras\u005fapikey":"`+key+`"`)} {
		values, err := Split(NVGPUType, []byte(raw))
		if err == nil || values != nil {
			t.Fatalf("%d components", len(values))
		}
		if strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "credential") {
			t.Errorf("%v", err)
		}
	}
}

func TestNamedArray(t *testing.T) {
	array := string(sample(t))
	for _, raw := range []string{
		`{}`, `{"nv-gpu-evidence":` + array + `,"x":1}`, `{"nv-gpu-evidence":` + array + `,"nv-gpu-evidence":` + array + `}`, `{"nv-gpu-evidence":{}}`, `{"nv-gpu-evidence":[]}`,
		`{"nv-gpu-evidence":` + array + `}x`, `{"NV-GPU-evidence":` + array + `}`, `{"nv-gpu-evidence":{"nv-gpu-evidence":` + array + `}}`,
	} {
		if values, err := Split(MediaType, []byte(raw)); err == nil {
			t.Errorf("%.40s: %d components", raw, len(values))
		}
	}
}

// Whatever is split can be split again, and what is routed is what is read.
func FuzzForms(f *testing.F) {
	f.Add(MediaType, sample(f))
	f.Add(MediaType, []byte(`{"nv-gpu-evidence":`+string(sample(f))+`}`))
	f.Add(ItemType, object(itemMembers(f)))
	f.Add(NVGPUType, []byte(nvgpu(f)))
	f.Add(NVGPUType, []byte(`{"nvgpu":`+nvgpu(f, `"verifier_nonce":{"val":"","iat":"","signature":""}`)+`}`))
	f.Fuzz(func(t *testing.T, base string, raw []byte) {
		values, err := Split(base, raw)
		if err != nil {
			return
		}
		if len(values) == 0 || !Many(base) && len(values) != 1 {
			t.Fatalf("%d components", len(values))
		}
		for _, v := range values {
			again, err := Split(base, v)
			if err != nil || len(again) != 1 || !bytes.Equal(again[0], v) {
				t.Fatalf("component %q is %d components, %v", v, len(again), err)
			}
			arch, err := Arch(v)
			d, bad := Decode(v)
			if bad == nil && err == nil && arch != d.Arch {
				t.Fatalf("routed by %q, read as %q", arch, d.Arch)
			}
		}
	})
}
