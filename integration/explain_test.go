// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/explain"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verdict"
)

const explainNonce = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// explainedMachine simulates a CPU with a GPU, appraises it, and explains the
// bundle, verified with the keys of the lead.
func explainedMachine(t *testing.T, faults ...string) (tier int, text string, e explain.Explanation) {
	t.Helper()
	state, dir := t.TempDir(), filepath.Join(t.TempDir(), "m")
	at := func(name string) string { return filepath.Join(dir, name) }
	produce := func(file string, args ...string) int {
		t.Helper()
		out, err := exec.Command(binary, append(args, "--state-dir", state, "--log-level", "error")...).Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) || len(out) == 0 {
			t.Fatalf("%v: %v", args, err)
		}
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(at(file), out, 0o600))
		if exit != nil {
			return exit.ExitCode()
		}
		return 0
	}
	args := []string{"simulate", "--machine", "cpu-gpu", "--nonce", explainNonce, "-o", dir}
	for _, f := range faults {
		args = append(args, "--fault", f)
	}
	if code := produce("summary", args...); code != 0 {
		t.Fatalf("simulate: exit %d", code)
	}
	tier = produce("bundle.json", "appraise", at("evidence.cmw"), "--nonce", explainNonce, "--topology", "lead(cpu, gpu/0)", "--trust", at("trust.json"),
		"--endorsements", at("endorsements"), "--corim", dir, "--corim-trust", at("corim-trust.json"), "-o", "bundle")
	produce("jwks.json", "keys", "jwks")
	verify := []string{"explain", at("bundle.json"), "--trust", at("jwks.json"), "--nonce", explainNonce}
	if code := produce("explained", verify...); code != 0 {
		t.Fatalf("explain: exit %d", code)
	}
	raw, err := os.ReadFile(at("explained"))
	must(t, err)
	if code := produce("explained.json", append(verify, "-o", "json")...); code != 0 {
		t.Fatalf("explain as JSON: exit %d", code)
	}
	doc, err := os.ReadFile(at("explained.json"))
	must(t, err)
	s, err := schemas.Load(schemas.Explanation)
	must(t, err)
	must(t, s.ValidateJSON(doc))
	must(t, json.Unmarshal(doc, &e))
	return tier, string(raw), e
}

// A GPU of another machine, validly signed: the verdict refuses it, and the
// explanation names the two digests, the commitment that was expected and the one
// in the CPU's report.
func TestExplainForeignGPU(t *testing.T) {
	tier, text, e := explainedMachine(t, "gpu/0:foreign-machine")
	if tier != 4 || e.Tier != verdict.TierContraindicated || e.Input == nil || !e.Input.Verified {
		t.Errorf("exit %d, %+v", tier, e)
	}
	digest := regexp.MustCompile(`^[0-9a-f]{128}$`)
	var cause *explain.Cause
	for i, c := range e.Causes {
		if c.Code == verdict.ReasonBindingBroken || c.Code == verdict.ReasonBindingAbsent {
			cause = &e.Causes[i]
		}
	}
	if cause == nil || !cause.Blocking || !digest.MatchString(cause.Expected) || !digest.MatchString(cause.Observed) || cause.Expected == cause.Observed ||
		cause.Source == "" || cause.Remedy == "" {
		t.Fatalf("%+v", e.Causes)
	}
	broken := false
	for _, x := range e.Edges {
		broken = broken || x.From == "gpu/0" && x.To == "cpu" && x.Status == "broken" && x.Expected == cause.Expected && x.Observed == cause.Observed
	}
	if !broken {
		t.Errorf("no broken edge with these digests: %+v", e.Edges)
	}
	for _, words := range []string{cause.Expected, cause.Observed, "binding-broken (contraindicated)", "mend", "gpu/0 → cpu", "Verified: signed by"} {
		if !strings.Contains(text, words) {
			t.Errorf("%q is not in\n%s", words, text)
		}
	}
}

// The honest machine: affirming, and the explanation says what that does not prove.
func TestExplainHonestMachine(t *testing.T) {
	tier, text, e := explainedMachine(t)
	if tier != 0 || e.Tier != verdict.TierAffirming || len(e.Components) != 2 {
		t.Errorf("exit %d, %+v", tier, e)
	}
	for _, c := range e.Causes {
		if c.Blocking {
			t.Errorf("%+v", c)
		}
	}
	for _, words := range []string{"Affirming:", "Not proven", "an application chose the commitment", "roots beyond those of the vendors", "can be relayed"} {
		if !strings.Contains(text, words) {
			t.Errorf("%q is not in\n%s", words, text)
		}
	}
}

// Whatever is wrong with a machine, there is a cause that keeps it from a better
// tier, with a source and with a remedy that is the code's own.
func TestExplainFaults(t *testing.T) {
	list, err := schemas.Reasons()
	must(t, err)
	listed := map[string]schemas.Reason{}
	for _, r := range list {
		listed[r.Code] = r
	}
	d, ok := attester.BuiltIn("cpu-gpu")
	if !ok {
		t.Fatal("no machine")
	}
	for _, c := range []struct {
		label string
		kind  attester.FaultKind
		code  string
		// both: the reason has what was expected and what was seen.
		both bool
	}{
		{"cpu", attester.StaleNonce, verdict.ReasonNonceMismatch, true},
		{"cpu", attester.Debug, verdict.ReasonDebug, true},
		{"cpu", attester.OutdatedTCB, verdict.ReasonTCBOutOfDate, true},
		{"cpu", attester.Expired, verdict.ReasonExpired, true},
		{"cpu", attester.WrongSigner, "", false},
		{"cpu", attester.MeasurementFault, verdict.ReasonMeasurementMismatch, true},
		{"cpu", attester.Revoked, verdict.ReasonRevoked, false},
		{"gpu/0", attester.StaleNonce, verdict.ReasonNonceMismatch, true},
		{"gpu/0", attester.Debug, "", false},
		{"gpu/0", attester.Expired, verdict.ReasonExpired, true},
		{"gpu/0", attester.MeasurementFault, verdict.ReasonMeasurementMismatch, true},
		{"gpu/0", attester.Missing, verdict.ReasonMissingComponent, false},
		{"gpu/0", attester.ForeignMachine, "", false},
		{"gpu/0", attester.Truncated, verdict.ReasonMissingComponent, false},
		{"gpu/0", attester.RIMMissing, "", false},
	} {
		name := c.label + ":" + string(c.kind)
		m := simulated(t, d, nil, attester.Fault{Label: evidence.Path(c.label), Kind: c.kind})
		deps, lead := filesOf(t, m, func(string) bool { return true })
		res, err := judgeTold(t, deps, referencesWithout(t, m, attester.KindGPU), lead, true).appraise(t, evidenceOf(t, m, attester.CBOR), "lead(cpu, gpu/0)")
		must(t, err)
		e, err := explain.Of(res.Document())
		must(t, err)
		if e.Tier == verdict.TierAffirming {
			t.Errorf("%s: %s", name, e.Summary)
			continue
		}
		blocking, found := 0, c.code == ""
		all := e.Causes
		for _, part := range e.Components {
			all = append(all, part.Causes...)
			if part.Tier != verdict.TierAffirming && (len(part.Causes) == 0 || !part.Causes[0].Blocking) {
				t.Errorf("%s: nothing keeps %s from better than %s: %+v", name, part.Label, part.Tier, part.Causes)
			}
		}
		for _, cause := range all {
			r, ok := listed[cause.Code]
			if !ok || cause.Meaning == "" || cause.Source == "" || cause.Remedy == "" || r.Meaning != cause.Meaning {
				t.Errorf("%s: %+v", name, cause)
			}
			if cause.Blocking {
				blocking++
			}
			found = found || cause.Code == c.code && (!c.both || cause.Expected != "" && cause.Observed != "" && cause.Expected != cause.Observed)
		}
		if blocking == 0 || !found {
			t.Errorf("%s: %d causes, wanted %s: %+v", name, blocking, c.code, all)
		}
	}
}
