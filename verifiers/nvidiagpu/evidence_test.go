// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

const (
	pemBegin = "-----BEGIN CERTIFICATE-----"
	pemEnd   = "-----END CERTIFICATE-----"
)

func TestWrapperForm(t *testing.T) {
	f := newFake(t)
	one := string(f.Leaf())
	obj := one[1 : len(one)-1]
	v := newTest(t, f.roots())
	with := func(member string) string { return "[" + obj[:len(obj)-1] + "," + member + "}]" }
	replace := func(old, with string) string { return strings.Replace(one, old, with, 1) }
	var many []string
	for i := range container.MaxUnknown + 1 {
		many = append(many, fmt.Sprintf(`"m%d":1`, i))
	}
	for name, raw := range map[string]string{
		"empty": "", "not JSON": "x", "object": obj, "empty array": "[]", "null": "null", "array of null": "[null]", "array of array": "[[]]",
		"two devices": "[" + obj + "," + obj + "]", "trailing data": one + "x", "trailing array": one + one, "open": one[:len(one)-1],
		"trailing comma": "[" + obj + ",]", "duplicate": with(`"arch":"HOPPER"`), "escaped duplicate": with(`"\u0061rch":"HOPPER"`),
		"unknown twice": with(`"x":1,"x":1`), "unknown object": with(`"x":{}`), "unknown array": with(`"x":[]`), "too many unknown": with(strings.Join(many, ",")),
		"other spelling": with(`"Nonce":"x"`), "empty name": with(`"":1`), "long name": with(`"` + strings.Repeat("x", 65) + `":1`),
		"no arch": replace(`"arch"`, `"arc"`), "no nonce": replace(`"nonce"`, `"once"`), "no evidence": replace(`"evidence"`, `"e"`),
		"no certificate": replace(`"certificate"`, `"c"`), "arch not a string": replace(`"HOPPER"`, `1`), "arch null": replace(`"HOPPER"`, `null`),
		"nonce of 31 bytes": replace(strings.Repeat("07", 32), strings.Repeat("07", 31)), "nonce of 33 bytes": replace(strings.Repeat("07", 32), strings.Repeat("07", 33)),
		"line break in base64": replace(`"evidence":"`, `"evidence":"\n`), "space in base64": replace(`"evidence":"`, `"evidence":" `),
		"not UTF-8": with("\"\xff\":1"),
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, appraise(t, v, []byte(raw), f.Nonce, at), verdict.ReasonMalformed)
		})
	}
}

func TestPEMForm(t *testing.T) {
	f := newFake(t)
	f.Build()
	var text strings.Builder
	for _, c := range f.Certs {
		text.WriteString(pemBegin + "\n" + base64.StdEncoding.EncodeToString(c.Raw) + "\n" + pemEnd + "\n")
	}
	good := text.String()
	v := newTest(t, f.roots())
	try := func(pem string) verdict.Appraisal {
		f.Members = map[string]any{"certificate": base64.StdEncoding.EncodeToString([]byte(pem))}
		return appraise(t, v, f.Wrap(f.Certs[:], f.Report()), f.Nonce, at)
	}
	wantGood(t, try(good), f.Nonce)
	wantGood(t, try("\r\n "+strings.ReplaceAll(good, "\n", "\r\n")+"\t\n"), f.Nonce)
	for name, bad := range map[string]string{
		"text before": "x\n" + good, "text after": good + "x", "text between": strings.Replace(good, pemEnd+"\n", pemEnd+"\nx\n", 1),
		"NUL behind": good + "\x00", "headers": strings.Replace(good, pemBegin+"\n", pemBegin+"\nA: b\n\n", 1),
		"other block": strings.ReplaceAll(good, "CERTIFICATE", "X509 CRL"), "no end": good[:len(good)-len(pemEnd)-1],
		"byte behind DER": strings.Replace(good, base64.StdEncoding.EncodeToString(f.Certs[0].Raw), base64.StdEncoding.EncodeToString(append(slices.Clone(f.Certs[0].Raw), 0)), 1),
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, try(bad), verdict.ReasonMalformed) })
	}
}

func TestSplit(t *testing.T) {
	sc := Scheme()
	mt := evidence.MediaType{Base: MediaType}
	parts, err := sc.Components(mt, []byte(" [ {\"a\" : 1} ,\n[2], \"x\" ]\n"))
	if err != nil || len(parts) != 3 || string(parts[0]) != `[{"a" : 1}]` || string(parts[1]) != `[[2]]` || string(parts[2]) != `["x"]` {
		t.Fatalf("%q, %v", parts, err)
	}
	if parts, err = sc.Components(mt, []byte("["+strings.Repeat("1,", MaxDevices-1)+"1]")); err != nil || len(parts) != MaxDevices {
		t.Fatalf("%d devices: %v", len(parts), err)
	}
	for _, bad := range []string{"", "[]", "{}", "[1", "[1]]", "[1,]", "[1 2]", "[1]1", "[" + strings.Repeat("1,", MaxDevices) + "1]", "[\"\xff\"]"} {
		if parts, err := sc.Components(mt, []byte(bad)); !errors.Is(err, verifiers.ErrMalformed) {
			t.Errorf("%.20q split into %d: %v", bad, len(parts), err)
		}
	}
	if _, err := sc.Components(mt, []byte("["+strings.Repeat(" ", 1<<20)+"1]")); !errors.Is(err, verifiers.ErrMalformed) {
		t.Errorf("oversized leaf: %v", err)
	}
}
