// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const authorNonce = "00112233445566778899aabbccddeeff"

// author is a folder with a machine, a key, and what comes of them.
type author struct {
	t     *testing.T
	dir   string
	state string
	last  string // verdict, as it was printed
}

func newAuthor(t *testing.T) *author {
	a := &author{t: t, dir: t.TempDir(), state: t.TempDir()}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write("vendor.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return a
}

func (a *author) path(name string) string { return filepath.Join(a.dir, filepath.FromSlash(name)) }

func (a *author) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// run wants an exit status, and returns what was printed.
func (a *author) run(code int, args ...string) string {
	a.t.Helper()
	got, out := status(a.t, append(args, "--state-dir", a.state)...)
	if got != code {
		a.t.Fatalf("%s: exit status %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
	return out
}

func (a *author) simulate(name, machine string, faults ...string) {
	a.t.Helper()
	args := []string{"simulate", "--machine", machine, "--nonce", authorNonce, "-o", a.path(name)}
	for _, f := range faults {
		args = append(args, "--fault", f)
	}
	a.run(0, args...)
}

// sign signs templates and writes the file of the authority that may say so.
func (a *author) sign(name string, templates ...string) {
	a.t.Helper()
	args := []string{"corim", "sign", "--key", a.path("vendor.pem"), "--name", "ACME", "-o", a.path(name), "--public", a.path("jwks.json")}
	for _, f := range templates {
		args = append(args, a.path(f))
	}
	a.run(0, args...)
	keys, err := os.ReadFile(a.path("jwks.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	a.write("authorities.json", fmt.Sprintf(`{"kind": "assize-corim-trust", "authorities": [{"name": "ACME", "keys": %s,
		"profiles": ["tag:assize.dev,2026:corim#1", ""], "scopes": [{"vendor": "Intel Corporation"}, {"vendor": "NVIDIA"}, {"vendor": "ACME"}]}]}`, keys))
}

// judge appraises a machine with the documents, and returns the verdict.
func (a *author) judge(machine string, docs ...string) verdictJSON {
	a.t.Helper()
	args := []string{
		"appraise", a.path(machine + "/evidence.cmw"), "--nonce", authorNonce, "--trust", a.path(machine + "/trust.json"),
		"--endorsements", a.path(machine + "/endorsements"), "--corim-trust", a.path("authorities.json"), "-o", "json", "--log-level", "error",
	}
	for _, d := range docs {
		args = append(args, "--corim", a.path(d))
	}
	_, out := status(a.t, append(args, "--state-dir", a.state)...)
	a.last = out
	var v verdictJSON
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		a.t.Fatalf("%v:\n%s", err, out)
	}
	return v
}

// The way from a golden machine to a component that is known: evidence, template,
// signature, trust, verdict.
func TestGoldenMachine(t *testing.T) {
	a := newAuthor(t)
	a.simulate("golden", "cpu-gpu")
	out := a.run(0, "corim", "from-evidence", a.path("golden/evidence.cmw"), "--trust", a.path("golden/trust.json"), "-o", a.path("golden.json"))
	if !strings.Contains(out, "cpu: 4 values") || !strings.Contains(out, "gpu/0: ") {
		t.Error(out)
	}
	a.sign("golden.corim", "golden.json")
	a.run(0, "corim", "verify", a.path("golden.corim"), "--trust", a.path("authorities.json"))

	v := a.judge("golden", "golden.corim")
	for label, want := range map[string]float64{"cpu": 2, "gpu/0": 3} {
		c := v.Components[label]
		if claims, _ := c["trust_vector"].(map[string]any); claims["executables"] != want {
			t.Errorf("%s: executables %v, want %v: %s", label, claims["executables"], want, reasons(c))
		}
		if why := reasons(c); strings.Contains(why, "reference-values") || strings.Contains(why, "mismatch") {
			t.Errorf("%s: %s", label, why)
		}
	}
	if v.Components["cpu"]["tier"] != "affirming" {
		t.Errorf("cpu is %v: %s", v.Components["cpu"]["tier"], reasons(v.Components["cpu"]))
	}

	// One other measurement, on the machine that is compared.
	for _, label := range []string{"cpu", "gpu/0"} {
		a.simulate("other", "cpu-gpu", label+":measurement")
		c := a.judge("other", "golden.corim").Components[label]
		if c["tier"] != "contraindicated" || !strings.Contains(reasons(c), "measurement-mismatch") {
			t.Errorf("%s with another measurement is %v: %s", label, c["tier"], reasons(c))
		}
	}
}

// The unsigned form, parts of it, and what people may leave out.
func TestGoldenMachineInParts(t *testing.T) {
	a := newAuthor(t)
	a.simulate("m", "hgx")
	from := func(code int, more ...string) string {
		t.Helper()
		return a.run(code, append([]string{"corim", "from-evidence", a.path("m/evidence.cmw"), "--trust", a.path("m/trust.json")}, more...)...)
	}
	out := from(0, "--component", "gpu", "-o", a.path("gpu.cbor"), "--id", "gpus")
	if !strings.Contains(out, "gpu/7: the same values as one before") || strings.Contains(out, "cpu") {
		t.Error(out)
	}
	a.sign("gpu.corim", "gpu.cbor")
	if v := a.judge("m", "gpu.corim"); strings.Contains(reasons(v.Components["gpu/3"]), "no-reference-values") || !strings.Contains(reasons(v.Components["cpu"]), "no-reference-values") {
		t.Errorf("gpu/3: %s, cpu: %s", reasons(v.Components["gpu/3"]), reasons(v.Components["cpu"]))
	}
	if out = from(0, "--component", "cpu", "--without", "rtmr1", "--with", "mrseam"); !strings.Contains(out, `"mrseam"`) || strings.Contains(out, `"reportdata"`) || !strings.Contains(out, "no reference values for RTMR1") {
		t.Error(out)
	}
	from(2, "--component", "dpu")
	from(2, "--without", "rtmr9")
	from(2, "-o", a.path("golden.txt"))
}

// What does not verify is no reference, and leaves no file behind.
func TestGoldenMachineHasToVerify(t *testing.T) {
	a := newAuthor(t)
	for _, c := range []struct{ fault, why string }{
		{"", "unknown-root"}, // no --trust: nobody knows this machine
		{"gpu/0:wrong-signer", "gpu/0: the evidence proves nothing"},
		{"gpu/0:truncated", "gpu: verifiers: malformed"},
		{"cpu:debug", "debug-enabled"},
	} {
		args := []string{"corim", "from-evidence", a.path("m/evidence.cmw"), "-o", a.path("bad.json")}
		if c.fault == "" {
			a.simulate("m", "cpu-gpu")
		} else {
			a.simulate("m", "cpu-gpu", c.fault)
			args = append(args, "--trust", a.path("m/trust.json"))
		}
		if out := a.run(1, args...); !strings.Contains(out, c.why) {
			t.Errorf("%s: %s", c.fault, out)
		}
		if _, err := os.Stat(a.path("bad.json")); err == nil {
			t.Errorf("%s: there is a template", c.fault)
		}
	}
	// Who knows what they do may take the debug machine; the document cannot make
	// it good.
	out := a.run(0, "corim", "from-evidence", a.path("m/evidence.cmw"), "--trust", a.path("m/trust.json"), "--contraindicated", "-o", a.path("bad.json"))
	if !strings.Contains(out, "CONTRAINDICATED") {
		t.Error(out)
	}
	a.sign("bad.corim", "bad.json")
	if c := a.judge("m", "bad.corim").Components["cpu"]; c["tier"] != "contraindicated" {
		t.Errorf("a TD in debug mode is %v", c["tier"])
	}
}

// Parts that nobody reads yet are named, and the rest is written.
func TestGoldenMachineNamesWhatNobodyReads(t *testing.T) {
	a := newAuthor(t)
	a.write("odd.json", `{}`)
	a.simulate("m", "cpu-gpu")
	raw, err := os.ReadFile(a.path("m/evidence.cmw"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	m["odd"] = json.RawMessage(`["application/vnd.nobody.reads", "AAAA", 4]`)
	delete(m, "__cmwc_t") // the commitment is not to this
	raw, err = json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	a.write("odd.cmw", string(raw))
	out := a.run(0, "corim", "from-evidence", a.path("odd.cmw"), "--trust", a.path("m/trust.json"), "-o", a.path("t.json"))
	if !strings.Contains(out, "odd: left out, no verifier reads application/vnd.nobody.reads yet") || !strings.Contains(out, "cpu: 4 values") {
		t.Error(out)
	}
}

// What an integrator says about a machine reaches the verdict: a part that is
// missing, and what a component depends on.
func TestIntegratorDocument(t *testing.T) {
	a := newAuthor(t)
	a.simulate("m", "cpu-gpu")
	a.write("node.json", `{"corim-id": "node-7", "validity": {"not-after": "2099-01-01T00:00:00Z"}}`)
	a.write("node-comid.json", `{"tag-identity": {"id": "node-7-parts"}, "triples": {
		"membership-triples": [{
			"domain": {"class": {"id": {"type": "bytes", "value": "dGFnOmFzc2l6ZS5kZXYsMjAyNjppbnRlbC10ZHg="}, "vendor": "Intel Corporation", "model": "TDX"}},
			"members": [{"class": {"vendor": "NVIDIA", "model": "GH100"}}, {"class": {"vendor": "NVIDIA", "model": "LS10"}}]
		}],
		"dependency-triples": [{
			"domain": {"class": {"vendor": "NVIDIA", "model": "GH100"}},
			"members": [{"class": {"vendor": "ACME", "model": "BMC"}}]
		}]}}`)
	a.sign("node.corim", "node.json", "node-comid.json")
	v := a.judge("m", "node.corim")
	var whole struct {
		Verdict   struct{ Reasons []map[string]string }
		Reference string `json:"reference_revision"`
	}
	if err := json.Unmarshal([]byte(a.last), &whole); err != nil {
		t.Fatal(err)
	}
	missing := ""
	for _, r := range whole.Verdict.Reasons {
		if r["code"] == "missing-member" {
			missing += r["detail"]
		}
	}
	if !strings.Contains(missing, "LS10") || strings.Contains(missing, "GH100") || !strings.Contains(missing, "node-7/node-7-parts/membership-triples[0] (by ACME), revision "+whole.Reference[:16]) {
		t.Errorf("%q, revision %s", missing, whole.Reference)
	}
	if c := v.Components["gpu/0"]; c["tier"] != "none" || !strings.Contains(reasons(c), "depends-on-none") {
		t.Errorf("gpu/0 is %v: %s", c["tier"], reasons(c))
	}
}

// A relying party with the lead's documents repeats what they demand; with others
// it cannot.
func TestVerifyWithDocuments(t *testing.T) {
	a := newAuthor(t)
	a.simulate("m", "cpu")
	a.run(0, "corim", "from-evidence", a.path("m/evidence.cmw"), "--trust", a.path("m/trust.json"), "-o", a.path("t.json"))
	a.sign("t.corim", "t.json")
	a.run(0, "corim", "from-evidence", a.path("m/evidence.cmw"), "--trust", a.path("m/trust.json"), "--id", "another", "-o", a.path("u.json"))
	a.sign("u.corim", "u.json")
	// Without collateral, which gives a warning: nobody believes an affirming verdict
	// on a simulated machine.
	cmd := exec.Command(binary, "appraise", a.path("m/evidence.cmw"), "--nonce", authorNonce, "--trust", a.path("m/trust.json"),
		"--corim", a.path("t.corim"), "--corim-trust", a.path("authorities.json"), "-o", "bundle", "--state-dir", a.state)
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("%v: %s", err, out)
	}
	a.write("bundle.json", string(out))
	a.write("verdict-keys.json", string(output(t, a.state, "keys", "jwks")))
	verify := []string{"verdict", "verify", a.path("bundle.json"), "--trust", a.path("verdict-keys.json"), "--corim-trust", a.path("authorities.json")}
	if code, text := status(t, append(verify, "--corim", a.path("t.corim"))...); code == 1 || !strings.Contains(text, "verified") {
		t.Errorf("%d %s", code, text)
	}
	for _, docs := range [][]string{{"u.corim"}, {"t.corim", "u.corim"}} {
		args := verify
		for _, d := range docs {
			args = append(args[:len(args):len(args)], "--corim", a.path(d))
		}
		if code, text := status(t, args...); code != 1 || !strings.Contains(text, "revision") {
			t.Errorf("%v: %d %s", docs, code, text)
		}
	}
}

func TestCorimSignRefuses(t *testing.T) {
	a := newAuthor(t)
	a.simulate("m", "cpu")
	a.run(0, "corim", "from-evidence", a.path("m/evidence.cmw"), "--trust", a.path("m/trust.json"), "-o", a.path("t.json"))
	raw, err := os.ReadFile(a.path("t.json"))
	if err != nil {
		t.Fatal(err)
	}
	a.write("more.json", string(raw)+"{}")
	a.write("unknown.json", strings.Replace(string(raw), `"comids"`, `"comid"`, 1))
	a.write("open.pem", "")
	key, err := os.ReadFile(a.path("vendor.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.path("shared.pem"), key, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code int
		args []string
	}{
		"no key":         {2, []string{"--name", "A", a.path("t.json")}},
		"no name":        {2, []string{"--key", a.path("vendor.pem"), a.path("t.json")}},
		"no template":    {2, []string{"--key", a.path("vendor.pem"), "--name", "A"}},
		"key for all":    {1, []string{"--key", a.path("shared.pem"), "--name", "A", a.path("t.json")}},
		"no private key": {1, []string{"--key", a.path("t.json"), "--name", "A", a.path("t.json")}},
		"trailing":       {1, []string{"--key", a.path("vendor.pem"), "--name", "A", a.path("more.json")}},
		"unknown member": {1, []string{"--key", a.path("vendor.pem"), "--name", "A", a.path("unknown.json")}},
		"no CoRIM":       {1, []string{"--key", a.path("vendor.pem"), "--name", "A", a.path("vendor.pem")}},
	} {
		a.run(c.code, append([]string{"corim", "sign", "-o", a.path("out.corim")}, c.args...)...)
		if _, err := os.Stat(a.path("out.corim")); err == nil {
			t.Errorf("%s: there is a document", name)
		}
	}
}
