// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
)

// workshop is a folder in which an author makes reference values of machines.
type workshop struct {
	t          *testing.T
	dir, state string
}

// goldenVendors are the authorities of golden machines: AMD's keys take seconds to
// make.
var goldenVendors = sync.OnceValue(func() *attester.Vendors { return attester.NewVendors("", time.Now().Truncate(time.Second)) })

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{t, t.TempDir(), t.TempDir()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w.write("acme.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return w
}

func (w *workshop) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

func (w *workshop) write(name string, raw []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), raw, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *workshop) run(code int, args ...string) outcome {
	w.t.Helper()
	o := assize(w.t, w.state, args...)
	if o.code != code {
		w.t.Fatalf("%s: exit status %d, want %d:\n%s%s", strings.Join(args, " "), o.code, code, o.out, o.err)
	}
	return o
}

// machine writes what "assize simulate" writes of a machine file, or of one that is
// built in if description is empty.
func (w *workshop) machine(name, description string, faults ...attester.Fault) {
	w.t.Helper()
	o := attester.Options{Vendors: goldenVendors(), Now: time.Now().Truncate(time.Second), Faults: faults}
	var err error
	if o.Machine, _ = attester.BuiltIn(name); description != "" {
		o.Machine, err = attester.ParseDescription([]byte(description))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := attester.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	nonce, err := hex.DecodeString(simNonce)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, _, err := m.Evidence(nonce, attester.JSON)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := writeMachine(w.path(name), m, map[string][]byte{"evidence.cmw": raw}); err != nil {
		w.t.Fatal(err)
	}
}

// sign signs a template or an unsigned document, and lets its key speak about
// everything.
func (w *workshop) sign(out, template string) {
	w.t.Helper()
	w.run(0, "corim", "sign", "--key", w.path("acme.pem"), "--name", "ACME", "-o", w.path(out), "--public", w.path("jwks.json"), w.path(template))
	keys, err := os.ReadFile(w.path("jwks.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("authorities.json", fmt.Appendf(nil, `{"kind": "assize-corim-trust", "authorities": [{"name": "ACME", "keys": %s, "profiles": ["*"], "scopes": [{"any": true}]}]}`, keys))
}

// keys takes the reference values out of a document, and signs what is left.
func (w *workshop) keys(out, from string) {
	w.t.Helper()
	raw, err := os.ReadFile(w.path(from))
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := corim.Parse(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, tag := range d.Tags {
		tag.Comid.Reference = nil
	}
	if raw, err = corim.Encode(d); err != nil {
		w.t.Fatal(err)
	}
	w.write(out+".cbor", raw)
	w.sign(out, out+".cbor")
}

func (w *workshop) appraise(machine string, docs ...string) document {
	w.t.Helper()
	args := []string{"appraise", w.path(machine + "/evidence.cmw"), "--nonce", simNonce, "--trust", w.path(machine + "/trust.json"),
		"--endorsements", w.path(machine), "-o", "json", "--corim-trust", w.path("authorities.json")}
	for _, d := range docs {
		args = append(args, "--corim", w.path(d))
	}
	return parse(w.t, assize(w.t, w.state, args...))
}

// goldenMachines are what reference values are made of: the part that they make
// affirming, and the documents without which nothing of it is proven.
var goldenMachines = []struct {
	name, file string
	part       string
	keys       string // document with keys of devices
	profile    string
	says       []string // in the template; nil where there is none but CBOR
}{
	{"snp", "", "cpu", "", corim.ProfileSNP, []string{`"value": 641`, `"value": 2`, `"value": 5`}},
	{"vlek", "name: vlek\ncpu: {kind: amd-snp, key: vlek, form: tsm}\n", "cpu", "", corim.ProfileSNP, []string{`"value": 641`}},
	{"sgx", "", "cpu", "", corim.ProfileAssize, []string{`"mrenclave"`, `"isvsvn"`, `"attributes"`}},
	{"nitro", "", "cpu", "", corim.ProfileAssize, []string{`"integrity-registers"`}},
	{"cca", "", "cpu", "arm-cca", corim.ProfileAssize, nil},
	{"boards", "name: boards\ncpu: {kind: none}\npsa: {count: 2}\n", "psa/1", "psa", corim.ProfilePSA, nil},
	{"nics", "name: nics\ncpu: {kind: none}\ndevices: {count: 2, spdm: \"1.3\"}\n", "nic/1", "", corim.ProfileAssize, []string{`"value": 17`, `"value": 5`, `"svn"`}},
	{"guest", "name: guest\nvtpm: {key: p256}\n", "vtpm", "", corim.ProfileAssize, []string{`"integrity-registers"`}},
}

// The way from a golden machine to a part that is known, for every scheme that is
// not TDX or NVIDIA's: evidence, template, signature, verdict. Another measurement
// is then a mismatch.
func TestGoldenParts(t *testing.T) {
	for _, c := range goldenMachines {
		t.Run(c.name, func(t *testing.T) {
			w := newWorkshop(t)
			w.machine(c.name, c.file)
			golden := map[bool]string{true: "golden.cbor", false: "golden.json"}[c.says == nil]
			from := []string{"corim", "from-evidence", w.path(c.name + "/evidence.cmw"), "--trust", w.path(c.name + "/trust.json"), "--component", c.part}
			var docs []string
			if c.keys != "" {
				if o := assize(t, w.state, from...); o.code != exitFailed || !strings.Contains(o.err, "no-collateral") {
					t.Errorf("without its key: %d %s", o.code, o.err)
				}
				w.keys("keys.corim", c.name+"/reference-values/"+c.keys+".corim")
				from = append(from, "--corim", w.path("keys.corim"), "--corim-trust", w.path("authorities.json"))
				docs = append(docs, "keys.corim")
				if o := assize(t, w.state, from...); o.code != exitFailed || !strings.Contains(o.err, "-o FILE.cbor") {
					t.Errorf("as a template: %d %s", o.code, o.err)
				}
			}
			if o := w.run(0, append(from, "-o", w.path(golden))...); strings.Contains(o.err, "no reference values for") {
				t.Error(o.err)
			}
			raw, err := os.ReadFile(w.path(golden))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.says {
				if !strings.Contains(string(raw), want) {
					t.Errorf("the template lacks %s:\n%s", want, raw)
				}
			}
			w.sign("golden.corim", golden)
			if o := w.run(0, "corim", "show", w.path("golden.corim")); !strings.Contains(o.out, c.profile) {
				t.Errorf("want profile %s: %s", c.profile, o.out)
			}
			if before := w.appraise(c.name, append(docs, "golden.corim")[0:max(1, len(docs))]...).Components[c.part]; c.keys != "" && before.Tier != "warning" {
				t.Errorf("with its key alone: %s %v", before.Tier, before.Reasons)
			}
			if after := w.appraise(c.name, append(docs, "golden.corim")...).Components[c.part]; after.Tier != "affirming" {
				t.Errorf("%s %v %v", after.Tier, after.TrustVector, after.Reasons)
			}
			w.machine(c.name, c.file, attester.Fault{Label: evidence.Path(c.part), Kind: attester.MeasurementFault})
			bad := w.appraise(c.name, append(docs, "golden.corim")...).Components[c.part]
			if says := fmt.Sprint(bad.Reasons); bad.Tier == "affirming" || !strings.Contains(says, "measurement-mismatch") {
				t.Errorf("with another measurement: %s %s", bad.Tier, says)
			}
		})
	}
}

// What people leave out or add: an SGX product in any release, the TCB of a chip.
func TestGoldenSelection(t *testing.T) {
	w := newWorkshop(t)
	from := func(machine, golden string, more ...string) {
		w.run(0, append([]string{"corim", "from-evidence", w.path(machine + "/evidence.cmw"), "--trust", w.path(machine + "/trust.json"), "-o", w.path(golden + ".json")}, more...)...)
		w.sign(golden+".corim", golden+".json")
	}
	w.machine("sgx", "")
	from("sgx", "product", "--without", "mrenclave")
	if c := w.appraise("sgx", "product.corim").Components["cpu"]; c.Tier != "affirming" {
		t.Errorf("without MRENCLAVE: %s %v", c.Tier, c.Reasons)
	}
	from("sgx", "partly", "--without", "mrenclave", "--without", "isvsvn")
	if c := w.appraise("sgx", "partly.corim").Components["cpu"]; c.TrustVector["executables"] != 33 {
		t.Errorf("without ISVSVN: %v %v", c.TrustVector, c.Reasons)
	}
	w.machine("nitro", "")
	from("nitro", "image", "--without", "pcr2")
	if c := w.appraise("nitro", "image.corim").Components["cpu"]; c.TrustVector["executables"] != 33 || !strings.Contains(fmt.Sprint(c.Reasons), "PCR2") {
		t.Errorf("without PCR2: %v %v", c.TrustVector, c.Reasons)
	}
	for _, args := range [][]string{{"--without", "pcr24"}, {"--with", "mrtd"}} {
		o := assize(t, w.state, append([]string{"corim", "from-evidence", w.path("nitro/evidence.cmw"), "--trust", w.path("nitro/trust.json")}, args...)...)
		if o.code != exitUsage || !strings.Contains(o.err, args[1]) {
			t.Errorf("%v: %d %s", args, o.code, o.err)
		}
	}
	w.machine("snp", "")
	from("snp", "tcb", "--with", "reported-tcb")
	if c := w.appraise("snp", "tcb.corim").Components["cpu"]; c.Tier != "affirming" {
		t.Errorf("with its TCB: %s %v", c.Tier, c.Reasons)
	}
	w.machine("snp", "", attester.Fault{Label: "cpu", Kind: attester.OutdatedTCB})
	if c := w.appraise("snp", "tcb.corim").Components["cpu"]; c.TrustVector["hardware"] != 32 || c.TrustVector["executables"] != 33 {
		t.Errorf("with an older one: %v %v", c.TrustVector, c.Reasons)
	}
}

// Of the documents that state keys nothing else is used: what they say of the
// software must not hide that the new values leave something out.
func TestGoldenKeysOnly(t *testing.T) {
	w := newWorkshop(t)
	w.machine("cca", "")
	o := w.run(0, "corim", "from-evidence", w.path("cca/evidence.cmw"), "--corim", w.path("cca"), "--corim-trust", w.path("cca/corim-trust.json"),
		"--without", "cca.software-component", "-o", w.path("golden.cbor"))
	if !strings.Contains(o.err, "no reference values for software component") {
		t.Errorf("what was left out is not missed: %s", o.err)
	}
	for _, args := range [][]string{{"--corim", w.path("cca")}, {"--corim", ""}, {"--corim-trust", w.path("cca/corim-trust.json")}} {
		if o := assize(t, w.state, append([]string{"corim", "from-evidence", w.path("cca/evidence.cmw")}, args...)...); o.code != exitUsage {
			t.Errorf("%v: %d %s", args, o.code, o.err)
		}
	}
	// A key that nobody has signed for is none.
	w.write("unsigned.cbor", unsignedOf(t, w.path("cca/reference-values/arm-cca.corim")))
	if o := assize(t, w.state, "corim", "from-evidence", w.path("cca/evidence.cmw"), "--corim", w.path("unsigned.cbor"), "--corim-unsigned"); o.code != exitFailed || !strings.Contains(o.err, "nobody has signed") {
		t.Errorf("%d %s", o.code, o.err)
	}
}

// unsignedOf is what was signed, without the signature.
func unsignedOf(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := corim.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = corim.Encode(d); err != nil {
		t.Fatal(err)
	}
	return raw
}

// The recorded VM of Azure, known by what its own evidence says: the paravisor by
// the CPU's report, and the guest by the registers of its virtual TPM. The golden
// machine is this machine, so nothing else can be right.
func TestGoldenAzureVM(t *testing.T) {
	w := newWorkshop(t)
	w.write("vm.cmw", one(t, typeAzure, vectors.Read(t, "vtpm/trustee/az-snp-vtpm/evidence-v1.json")))
	const at = "2026-07-01T00:00:00Z"
	o := w.run(0, "corim", "from-evidence", w.path("vm.cmw"), "--at", at, "-o", w.path("vm.json"))
	if strings.Count(o.err, "part: ") != 2 || !strings.Contains(o.err, "(amd-snp)") || strings.Contains(o.err, "no reference values") {
		t.Error(o.err)
	}
	w.sign("vm.corim", "vm.json")
	for nonce, want := range map[string]string{"challenge": "affirming", "another one": "contraindicated"} {
		d := parse(t, assize(t, w.state, "appraise", w.path("vm.cmw"), "--at", at, "--component-nonce", "part="+hex.EncodeToString([]byte(nonce)),
			"--corim", w.path("vm.corim"), "--corim-trust", w.path("authorities.json"), "-o", "json"))
		if c := d.Components["part"]; c.Tier != want || c.TrustVector["executables"] != 3 || c.TrustVector["configuration"] != 2 {
			t.Errorf("%s: %s %v %v", nonce, c.Tier, c.TrustVector, c.Reasons)
		}
	}
}
