// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// replayJSON is what a replay says.
type replayJSON struct {
	Reproduced  bool
	Tier, Was   string
	Signature   string
	Differences []struct{ Component, What, Then, Now string }
}

func replay(t *testing.T, state string, args ...string) (int, replayJSON, string) {
	t.Helper()
	code, out := status(t, append([]string{"appraise", "--state-dir", state, "--log-level", "ERROR", "-o", "json", "--replay"}, args...)...)
	var r replayJSON
	if strings.HasPrefix(out, "{") {
		// An error of the program may stand behind it.
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return code, r, out
}

// One process makes a verdict and goes away; another one, which has neither its keys
// nor its files, comes to the same from the bundle alone, and says what would be
// otherwise later.
func TestReplayInAnotherProcess(t *testing.T) {
	dir, state := filepath.Join(t.TempDir(), "m"), t.TempDir()
	const nonce = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	for _, machine := range []struct {
		args []string
		tier string
		code int
	}{
		{[]string{"--machine", "hgx"}, "affirming", 0},
		{[]string{"--machine", "cpu-gpu", "--fault", "gpu/0:foreign-machine"}, "contraindicated", 4},
	} {
		if code, out := status(t, append([]string{"simulate", "--nonce", nonce, "-o", dir}, machine.args...)...); code != 0 {
			t.Fatal(out)
		}
		code, out := status(t, "appraise", filepath.Join(dir, "evidence.cmw"), "--state-dir", state, "--log-level", "ERROR", "--nonce", nonce,
			"--trust", filepath.Join(dir, "trust.json"), "--endorsements", filepath.Join(dir, "endorsements"),
			"--corim", dir, "--corim-trust", filepath.Join(dir, "corim-trust.json"), "-o", "bundle", "--include", "all")
		if code != machine.code {
			t.Fatalf("%v: %d %.500s", machine.args, code, out)
		}
		file := filepath.Join(t.TempDir(), "bundle.json")
		must(t, os.WriteFile(file, []byte(out), 0o600))
		roots := filepath.Join(t.TempDir(), "roots.json")
		must(t, os.Rename(filepath.Join(dir, "trust.json"), roots))
		must(t, os.RemoveAll(dir))

		code, r, out := replay(t, t.TempDir(), file, "--trust", roots, "--require-same")
		if code != machine.code || !r.Reproduced || r.Tier != machine.tier || r.Signature != "unknown" {
			t.Errorf("%v: %d %s", machine.args, code, out)
		}
		code, r, out = replay(t, t.TempDir(), file, "--trust", roots, "--at", "2099-01-01T00:00:00Z")
		if code != 4 || r.Reproduced || r.Was != machine.tier || len(r.Differences) == 0 {
			t.Errorf("%v: %d %s", machine.args, code, out)
		}
		if code, r, out = replay(t, t.TempDir(), file); code != 4 || r.Reproduced {
			t.Errorf("%v without roots: %d %s", machine.args, code, out)
		}
		if code, _, out = replay(t, t.TempDir(), file, "--trust", roots, "--at", "2099-01-01T00:00:00Z", "--require-same"); code != 1 {
			t.Errorf("%v with --require-same: %d %s", machine.args, code, out)
		}
	}
}
