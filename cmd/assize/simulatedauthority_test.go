// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// Tokens of Arm have no roots: what makes a simulated machine pass is the authority
// whose documents name its key. The verdict says so, and without --trust it is no
// better than a warning.
func TestSimulatedAuthority(t *testing.T) {
	dir, state := filepath.Join(t.TempDir(), "cca"), t.TempDir()
	if o := assize(t, state, "simulate", "--machine", "cca", "--nonce", simNonce, "-o", dir); o.code != 0 {
		t.Fatal(o.err)
	}
	args := []string{"appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--corim", dir, "--corim-trust", filepath.Join(dir, "corim-trust.json")}
	for _, c := range []struct {
		more []string
		code int
	}{{nil, exitWarning}, {[]string{"--trust", filepath.Join(dir, "trust.json")}, exitAffirming}} {
		o := assize(t, state, append(args, c.more...)...)
		if o.code != c.code || !strings.Contains(o.out, "extra-roots") || !strings.Contains(o.out, "authority of simulated machines") {
			t.Errorf("%v: %d %s %s", c.more, o.code, o.out, o.err)
		}
	}
}
