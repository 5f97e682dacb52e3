// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/samples"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome of one command line.
type outcome struct {
	code     int
	out, err string
}

// assize runs a command line with a state directory of its own.
func assize(t *testing.T, state string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out, errOut bytes.Buffer
	code := run(ctx, append([]string{"--state-dir", state}, args...), strings.NewReader(""), &out, &errOut)
	return outcome{code, out.String(), errOut.String()}
}

func write(t *testing.T, name string, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sample(t *testing.T) string {
	t.Helper()
	item, err := samples.Composite()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := evidence.EncodeJSON(item)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "sample.cmw", raw)
}

func gpuNonce() string { return "gpu=" + hex.EncodeToString(samples.GPUNonce()) }

type document struct {
	Verdict struct {
		Tier    string
		Reasons []struct{ Code, Detail string }
	}
	Topology   string
	Components map[string]struct {
		Tier, Scheme, Freshness string
		TrustVector             map[string]int `json:"trust_vector"`
		Reasons                 []struct{ Code, Detail string }
		Claims                  map[string]any
	}
}

func parse(t *testing.T, o outcome) document {
	t.Helper()
	schema, err := schemas.Load(schemas.Verdict)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON([]byte(o.out)); err != nil {
		t.Errorf("the verdict does not fit its schema: %v\n%s", err, o.out)
	}
	var d document
	if err := json.Unmarshal([]byte(o.out), &d); err != nil {
		t.Fatalf("%v: %s %s", err, o.out, o.err)
	}
	return d
}

func TestAppraiseSample(t *testing.T) {
	state := t.TempDir()
	o := assize(t, state, "appraise", sample(t), "--component-nonce", gpuNonce(), "-o", "json")
	d := parse(t, o)
	if o.code != exitWarning || d.Verdict.Tier != "warning" || d.Topology != "lead(cpu, gpu/0)" {
		t.Fatalf("exit %d: %s", o.code, o.out)
	}
	if gpu := d.Components["gpu/0"]; gpu.Scheme != "nvidia-gpu" || gpu.Freshness != "fresh" || gpu.TrustVector["executables"] != 33 {
		t.Errorf("gpu/0: %+v", gpu)
	}
	if cpu := d.Components["cpu"]; cpu.Scheme != "intel-tdx" || cpu.Freshness != "not-established" {
		t.Errorf("cpu: %+v", cpu)
	}
	text := assize(t, state, "appraise", sample(t))
	for _, want := range []string{"WARNING", "├─ cpu  intel-tdx  warning", "gpu/0  nvidia-gpu", "µs", "verifier ", "unbound-component"} {
		if !strings.Contains(text.out, want) {
			t.Errorf("the text lacks %q:\n%s", want, text.out)
		}
	}
}

func TestVerdictVerify(t *testing.T) {
	state, file := t.TempDir(), sample(t)
	bundle := assize(t, state, "appraise", file, "--component-nonce", gpuNonce(), "-o", "bundle")
	ear := assize(t, state, "appraise", file, "--component-nonce", gpuNonce(), "-o", "ear")
	jwks := write(t, "jwks.json", []byte(assize(t, state, "keys", "jwks").out))
	stranger := write(t, "stranger.json", []byte(assize(t, t.TempDir(), "keys", "jwks").out))
	leadOnly := write(t, "lead.json", []byte(assize(t, state, "keys", "jwks", "--only", "lead").out))
	verify := func(raw, trust string, more ...string) outcome {
		return assize(t, state, append([]string{"verdict", "verify", write(t, "v", []byte(raw)), "--trust", trust}, more...)...)
	}
	for name, raw := range map[string]string{"bundle": bundle.out, "ear": ear.out} {
		if o := verify(raw, jwks); o.code != exitWarning || !strings.Contains(o.out, "2 of 2 components") {
			t.Errorf("%s: exit %d %s %s", name, o.code, o.out, o.err)
		}
		for who, trust := range map[string]string{"a stranger's keys": stranger, "the lead's key alone": leadOnly} {
			if o := verify(raw, trust); o.code != exitFailed {
				t.Errorf("%s passes under %s: exit %d", name, who, o.code)
			}
		}
	}
	if o := verify(bundle.out, jwks, "--nonce", "0011223344556677"); o.code != exitFailed {
		t.Errorf("a verdict without that nonce passes: %d", o.code)
	}
	if o := verify(bundle.out, jwks, "--nonce", ""); o.code != exitUsage {
		t.Errorf("an empty --nonce switches the check off: %d", o.code)
	}
	for expr, code := range map[string]int{"lead(cpu, gpu)": exitWarning, "lead(cpu, gpu, nic)": exitFailed, "": exitUsage, "lead(": exitUsage} {
		if o := verify(bundle.out, jwks, "--topology", expr); o.code != code {
			t.Errorf("--topology %q: exit %d, want %d: %s", expr, o.code, code, o.err)
		}
	}
	if o := verify(ear.out, jwks, "--require-evidence"); o.code != exitFailed {
		t.Errorf("a verdict without its evidence passes: %d", o.code)
	}
	if o := verify(bundle.out, jwks, "--require-evidence"); o.code != exitWarning {
		t.Errorf("a bundle with its evidence: %d %s", o.code, o.err)
	}
	if o := verify(ear.out, jwks, "--at", "2099-01-01T00:00:00Z"); o.code != exitFailed {
		t.Errorf("an expired verdict passes: %d", o.code)
	}
	if o := assize(t, state, "verdict", "verify", file); o.code != exitUsage {
		t.Errorf("without --trust: %d", o.code)
	}
	other := assize(t, state, "appraise", file, "-o", "bundle")
	if o := verify(swapVerdict(t, other.out, ear.out, file), jwks); o.code != exitWarning {
		t.Errorf("the same evidence under another verdict of ours: %d %s", o.code, o.err)
	}
}

// swapVerdict puts another verdict into a bundle.
func swapVerdict(t *testing.T, bundle, ear, _ string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(bundle), &m); err != nil {
		t.Fatal(err)
	}
	rec := m["verdict"].([]any)
	rec[1] = b64([]byte(strings.TrimSpace(ear)))
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestBundleOfOtherEvidence(t *testing.T) {
	state := t.TempDir()
	bundle := assize(t, state, "appraise", sample(t), "-o", "bundle")
	jwks := write(t, "jwks.json", []byte(assize(t, state, "keys", "jwks").out))
	var m map[string]any
	if err := json.Unmarshal([]byte(bundle.out), &m); err != nil {
		t.Fatal(err)
	}
	item, err := samples.Composite()
	if err != nil {
		t.Fatal(err)
	}
	cbor, err := evidence.EncodeCBOR(item)
	if err != nil {
		t.Fatal(err)
	}
	m["evidence"].([]any)[1] = b64(cbor)
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if o := assize(t, state, "verdict", "verify", write(t, "b", raw), "--trust", jwks); o.code != exitFailed {
		t.Errorf("exit %d: %s", o.code, o.out)
	}
}

func TestExitCodes(t *testing.T) {
	state, file := t.TempDir(), sample(t)
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"no arguments", exitUsage, nil},
		{"empty nonce", exitUsage, []string{"appraise", file, "--nonce", ""}},
		{"empty topology", exitUsage, []string{"appraise", file, "--topology", ""}},
		{"empty optional", exitUsage, []string{"appraise", file, "--optional", ""}},
		{"one nonce for two files", exitUsage, []string{"appraise", file, file, "--nonce", "0011223344556677"}},
		{"topology in a file", exitNone, []string{"appraise", file, "--topology", "@" + write(t, "topology", []byte("lead(cpu, gpu, nic)\n"))}},
		{"topology in a file by its path", exitNone, []string{"appraise", file, "--topology", write(t, "topology", []byte("lead(cpu, gpu, nic)\n"))}},
		{"topology in no file", exitUsage, []string{"appraise", file, "--topology", "@no-such-file"}},
		{"unknown command", exitUsage, []string{"frobnicate"}},
		{"unknown flag", exitUsage, []string{"appraise", "--frobnicate", file}},
		{"no file", exitUsage, []string{"appraise"}},
		{"bad output", exitUsage, []string{"appraise", file, "-o", "xml"}},
		{"bad nonce", exitUsage, []string{"appraise", file, "--nonce", "00"}},
		{"bad component nonce", exitUsage, []string{"appraise", file, "--component-nonce", "gpu"}},
		{"bad time", exitUsage, []string{"appraise", file, "--at", "yesterday"}},
		{"bad topology", exitUsage, []string{"appraise", file, "--topology", "lead("}},
		{"no such file", exitFailed, []string{"appraise", "no-such-file"}},
		{"no CMW", exitFailed, []string{"appraise", write(t, "x", []byte("hello"))}},
		{"truncated", exitFailed, []string{"appraise", write(t, "x", []byte(`{"a":["b/c","AQ"]`))}},
		{"nonce for nobody", exitFailed, []string{"appraise", file, "--component-nonce", "nic=0011223344556677"}},
		{"wrong nonce", exitContraindicated, []string{"appraise", file, "--component-nonce", "gpu=" + strings.Repeat("00", 32)}},
		{"nobody's media type", exitNone, []string{"appraise", write(t, "x", []byte(`{"a":["b/c","AQ",4]}`))}},
		{"missing component", exitNone, []string{"appraise", file, "--topology", "lead(cpu, gpu, nic)"}},
		{"optional component", exitWarning, []string{"appraise", file, "--topology", "lead(cpu, gpu, optional(nic))"}},
		{"a cascade in a circle", exitFailed, []string{"appraise", file, "--topology", "cascade(cpu@a, gpu@b, nic@a)"}},
		{"keys without sub-command", exitUsage, []string{"keys"}},
		{"key of nobody", exitUsage, []string{"keys", "new", "nobody"}},
		{"unknown algorithm", exitUsage, []string{"keys", "new", "lead", "--alg", "none"}},
		{"verifier without NATS", exitUsage, []string{"verifier"}},
		{"unknown configuration", exitFailed, []string{"--config", write(t, "c.yaml", []byte("listen: 1\nfrob: 2\n")), "appraise", file}},
		{"version", 0, []string{"version"}},
		{"version as JSON", 0, []string{"version", "-o", "json"}},
	} {
		if o := assize(t, state, c.args...); o.code != c.code {
			t.Errorf("%s: exit %d, want %d: %s", c.name, o.code, c.code, o.err)
		}
	}
}

func TestMalformedNamesThePlace(t *testing.T) {
	o := assize(t, t.TempDir(), "appraise", write(t, "x", []byte(`{"a":["b/c","AQ"],"gpu":{"x":["b/c",1]}}`)))
	if o.code != exitFailed || !strings.Contains(o.err, "gpu/x") || !strings.Contains(o.err, "36") {
		t.Errorf("exit %d: %s", o.code, o.err)
	}
}

func TestKeys(t *testing.T) {
	state := t.TempDir()
	if o := assize(t, state, "keys", "new", "lead", "--alg", "EdDSA"); o.code != 0 {
		t.Fatal(o.err)
	}
	info, err := os.Stat(filepath.Join(state, "keys", "lead.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	if o := assize(t, state, "keys", "new", "lead"); o.code != exitFailed {
		t.Errorf("an existing key was overwritten: %d", o.code)
	}
	first := assize(t, state, "keys", "jwks").out
	if !strings.Contains(first, `"EdDSA"`) || strings.Contains(first, `"d"`) || !strings.Contains(first, "assize_roles") {
		t.Errorf("JWK set: %s", first)
	}
	if again := assize(t, state, "keys", "jwks").out; again != first {
		t.Error("the same keys give another set")
	}
	if o := assize(t, state, "keys", "new", "lead", "--replace"); o.code != 0 || assize(t, state, "keys", "jwks").out == first {
		t.Error("--replace does not replace")
	}
	if err := os.Chmod(filepath.Join(state, "keys", "lead.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if o := assize(t, state, "keys", "jwks"); o.code != exitFailed || !strings.Contains(o.err, "0600") {
		t.Errorf("a key that others can read is used: %d %s", o.code, o.err)
	}
}

func TestInspect(t *testing.T) {
	state := t.TempDir()
	o := assize(t, state, "inspect", sample(t))
	for _, want := range []string{"collection json", "cpu", "intel-tdx", "sha-256", "1 device(s)", "ind 4"} {
		if !strings.Contains(o.out, want) {
			t.Errorf("lacks %q:\n%s", want, o.out)
		}
	}
	hostile := write(t, "x", []byte(`{"a\u001b[31m":["b/c","AQ"]}`))
	if o := assize(t, state, "inspect", hostile); o.code != exitFailed || strings.Contains(o.out+o.err, "\x1b") {
		t.Errorf("a label reaches the terminal raw: %q", o.out)
	}
}

// TestRecorded is the acceptance case: a quote and a GPU report of real
// hardware with the collateral of their time.
func TestRecorded(t *testing.T) {
	quote := vectors.Read(t, "tdx/dcap-qvl/tdx_quote")
	collateral := vectors.Read(t, "tdx/dcap-qvl/tdx_quote_collateral.json")
	gpu, err := samples.GPUEvidence()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t",
		evidence.Entry{Label: "cpu", Item: evidence.Record(samples.QuoteType, quote, evidence.IndEvidence)},
		evidence.Entry{Label: "gpu", Item: evidence.Record(samples.GPUType, gpu, evidence.IndEvidence)}))
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "c.cbor", raw)
	dir := filepath.Dir(write(t, "intel.json", collateral))
	reportData := hex.EncodeToString(quote[48+520 : 48+584])
	state := t.TempDir()
	o := assize(t, state, "appraise", file, "--at", "2025-07-01T00:00:00Z", "--endorsements", dir, "-o", "json",
		"--component-nonce", gpuNonce(), "--component-nonce", "cpu="+reportData)
	d := parse(t, o)
	if o.code != exitWarning {
		t.Fatalf("exit %d: %s%s", o.code, o.out, o.err)
	}
	if cpu := d.Components["cpu"]; cpu.Freshness != "fresh" || cpu.TrustVector["hardware"] != 2 || cpu.TrustVector["executables"] != 33 {
		t.Errorf("cpu: %+v", cpu)
	}
	if gpu := d.Components["gpu/0"]; gpu.Freshness != "fresh" || gpu.Tier != "warning" {
		t.Errorf("gpu/0: %+v", gpu)
	}
	o = assize(t, state, "appraise", file, "--at", "2025-07-01T00:00:00Z", "-o", "json", "--component-nonce", gpuNonce(), "--component-nonce", "cpu="+reportData)
	if cpu := parse(t, o).Components["cpu"]; cpu.TrustVector["hardware"] != 32 {
		t.Errorf("hardware without collateral: %+v", cpu)
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// TestSignedComposite: a composite that a lead attester signed counts only
// under a key that was configured for attesters.
func TestSignedComposite(t *testing.T) {
	state := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	item, err := samples.Composite()
	if err != nil {
		t.Fatal(err)
	}
	payload, err := evidence.EncodeCBOR(item)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := evidence.SignCOSE(rand.Reader, payload, key, evidence.SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	set := func(name string, role trust.Role) string {
		a, err := trust.NewAnchors(signer.Key("attester", nil, role))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := a.JWKS()
		if err != nil {
			t.Fatal(err)
		}
		return write(t, name, raw)
	}
	file := write(t, "c.cose", signed)
	if o := assize(t, state, "appraise", file, "--attesters", set("a.json", trust.RoleAttester)); o.code != exitWarning {
		t.Errorf("under its key: exit %d %s", o.code, o.err)
	}
	if o := assize(t, state, "appraise", file); o.code != exitFailed {
		t.Errorf("without its key: exit %d", o.code)
	}
	if o := assize(t, state, "appraise", file, "--attesters", set("l.json", trust.RoleLead)); o.code != exitFailed {
		t.Errorf("under a lead verifier's key: exit %d", o.code)
	}
	if o := assize(t, state, "inspect", file); o.code != 0 || !strings.Contains(o.out, "NOT verified") {
		t.Errorf("inspect: exit %d %s", o.code, o.out)
	}
}

// TestLyingLead: the command repeats what the lead had to conclude.
func TestLyingLead(t *testing.T) {
	state := t.TempDir()
	token := strings.TrimSpace(assize(t, state, "appraise", sample(t), "-o", "ear").out)
	raw := assize(t, state, "keys", "jwks").out
	anchors, err := trust.ParseJWKS([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	res, err := verdict.VerifyResult([]byte(token), verdict.Intake{Now: time.Now()}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	lead, err := newKeystore(state).read(leadKey)
	if err != nil {
		t.Fatal(err)
	}
	for i := range res.Components {
		if res.Components[i].Scheme == "nvidia-gpu" { // without a CPU nothing is bound to anything
			res.Components[i].Class = verdict.ClassCPU
		}
	}
	res.Outcome = verdict.Combine(res.Components, res.Caps)
	if _, err := verdict.SignResult(lead, res, time.Minute); err != nil {
		t.Fatal(err)
	}
	o := assize(t, state, "verdict", "verify", write(t, "v", res.Token), "--trust", write(t, "jwks.json", []byte(raw)))
	if o.code != exitFailed || !strings.Contains(o.err, "cpu-tee") {
		t.Errorf("exit %d: %s%s", o.code, o.out, o.err)
	}
}

// A set of keys from elsewhere cannot make itself more than verifiers.
func TestForeignKeysAreVerifiersOnly(t *testing.T) {
	signer, err := trust.GenerateSigner("ES256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	both, err := trust.NewAnchors(signer.Key("x", []string{"intel-tdx"}, trust.RoleVerifier, trust.RoleLead))
	if err != nil {
		t.Fatal(err)
	}
	empty, err := trust.NewAnchors()
	if err != nil {
		t.Fatal(err)
	}
	merged, err := withVerifiers(empty, []*trust.Anchors{both})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := merged.Lead(signer.KID(), time.Now()); ok {
		t.Error("a foreign key became a lead's")
	}
	if _, ok := merged.Verifier(signer.KID(), "intel-tdx", time.Now()); !ok {
		t.Error("it is no verifier any more")
	}
	raw, err := both.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	if o := assize(t, t.TempDir(), "keys", "jwks", write(t, "foreign.json", raw)); o.code != exitFailed {
		t.Errorf("keys jwks merges it: exit %d", o.code)
	}
}

func TestKeyFolderMustBeOurs(t *testing.T) {
	state := t.TempDir()
	if o := assize(t, state, "keys", "new", "lead"); o.code != 0 {
		t.Fatal(o.err)
	}
	if err := os.Chmod(filepath.Join(state, "keys"), 0o777); err != nil {
		t.Fatal(err)
	}
	if o := assize(t, state, "keys", "jwks"); o.code != exitFailed || !strings.Contains(o.err, "0700") {
		t.Errorf("exit %d: %s", o.code, o.err)
	}
}

// Every command explains itself with an example.
func TestHelpHasExamples(t *testing.T) {
	for _, c := range append(newRoot().Commands(), newKeys(&globals{}).Commands()...) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
	}
}
