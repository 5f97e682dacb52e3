// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"path/filepath"
	"strings"
	"testing"
)

// The command that "assize simulate" prints appraises what it wrote, for every
// kind of CPU TEE of which the keys do not take long to make: with its roots and
// documents the machine is affirming, with another challenge it is not.
func TestPrintedCommand(t *testing.T) {
	state := t.TempDir()
	for _, machine := range []string{"cpu", "sgx", "cca", "nitro"} {
		dir := filepath.Join(t.TempDir(), machine)
		code, out := status(t, "simulate", "--machine", machine, "--nonce", authorNonce, "-o", dir, "--state-dir", state)
		_, command, found := strings.Cut(out, "\nassize ")
		if code != 0 || !found {
			t.Fatalf("%s: %d %s", machine, code, out)
		}
		args := append(strings.Fields(command), "--state-dir", state)
		if code, out := status(t, args...); code != 0 || !strings.Contains(out, "AFFIRMING") {
			t.Errorf("%s: %v: %d\n%s", machine, args, code, out)
		}
		for i := range args {
			args[i] = strings.Replace(args[i], authorNonce, strings.Repeat("00", 32), 1)
		}
		if code, out := status(t, args...); code != 4 || !strings.Contains(out, "nonce-mismatch") {
			t.Errorf("%s with another challenge: %d\n%s", machine, code, out)
		}
	}
}
