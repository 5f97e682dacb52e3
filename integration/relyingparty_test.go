// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stranger is a machine that has the program and the files that it is given: no
// state, no configuration, and no way to anybody.
type stranger struct{ dir string }

func newStranger(t *testing.T, files map[string]string) stranger {
	t.Helper()
	s := stranger{t.TempDir()}
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o400))
	}
	return s
}

// run is the exit status and what was printed. Nothing may be written.
func (s stranger) run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	state := t.TempDir()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{
		"HOME=" + state, "ASSIZE_STATE_DIR=" + state, "OTEL_SDK_DISABLED=true",
		"HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "NATS_URL=nats://127.0.0.1:1",
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	left, err := os.ReadDir(state)
	if must(t, err); len(left) > 0 {
		t.Errorf("%v: left %s behind", args, left[0].Name())
	}
	if exit != nil {
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}

// TestBundleVerifiesOffline: a bundle and a JWK set are all that a relying party
// needs to judge a whole machine by its own policy.
func TestBundleVerifiesOffline(t *testing.T) {
	const nonce = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	state, dir := t.TempDir(), filepath.Join(t.TempDir(), "m")
	at := func(name string) string { return filepath.Join(dir, name) }
	produce := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(binary, append(args, "--state-dir", state, "--log-level", "error")...).Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) || len(out) == 0 {
			t.Fatalf("%v: %v", args, err)
		}
		return string(out)
	}
	produce("simulate", "--machine", "cpu-gpu", "--nonce", nonce, "-o", dir)
	appraise := func(form string) string {
		t.Helper()
		return produce("appraise", at("evidence.cmw"), "--nonce", nonce, "--topology", "lead(cpu, gpu/0)", "--trust", at("trust.json"),
			"--endorsements", at("endorsements"), "--corim", dir, "--corim-trust", at("corim-trust.json"), "-o", form)
	}
	bundle, ear, jwks := appraise("bundle"), appraise("ear"), produce("keys", "jwks")
	own := "package assize\n\nrequire contains {\"label\": \"cpu\"}\n\nrequire contains {\"label\": \"gpu/*\", \"scheme\": \"nvidia-gpu\", \"exactly\": 1}\n"
	s := newStranger(t, map[string]string{"bundle.json": bundle, "ear.jwt": ear, "jwks.json": jwks, "own.rego": own, "none.json": `{"keys":[]}`})
	verify := []string{"verdict", "verify", "bundle.json", "--trust", "jwks.json", "--nonce", nonce}
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"as it is", verify, 3, "warning only here: extra-roots"},
		{"simulated", append(verify, "--allow-simulated"), 0, "AFFIRMING"},
		{"own policy", append(verify, "--allow-simulated", "--policy", "own.rego", "--require-evidence"), 0, "policy own"},
		{"own demand", append(verify, "--allow-simulated", "--require", "nic/*"), 5, "missing-component"},
		{"another nonce", []string{"verdict", "verify", "bundle.json", "--trust", "jwks.json", "--nonce", strings.Repeat("42", 32)}, 1, "nonce-mismatch"},
		{"nobody trusted", []string{"verdict", "verify", "bundle.json", "--trust", "none.json", "--nonce", nonce}, 1, "bad-aar-signature"},
		{"no evidence", []string{"verdict", "verify", "ear.jwt", "--trust", "jwks.json", "--nonce", nonce, "--allow-simulated"}, 3, "without the evidence"},
		{"not without evidence", []string{"verdict", "verify", "ear.jwt", "--trust", "jwks.json", "--nonce", nonce, "--require-evidence"}, 1, ""},
	} {
		if code, out := s.run(t, c.args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit %d, want %d with %q: %s", c.name, code, c.code, c.says, out)
		}
	}
	for i := len(bundle) / 7; i < len(bundle); i += len(bundle) / 7 {
		bad := []byte(bundle)
		bad[i] ^= 1
		one := newStranger(t, map[string]string{"bundle.json": string(bad), "jwks.json": jwks})
		if code, out := one.run(t, append(verify, "--allow-simulated")...); code != 1 {
			t.Errorf("byte %d changed: exit %d: %s", i, code, out)
		}
	}
}
