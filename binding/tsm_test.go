// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

const (
	certs, vca, meas = verdict.ObjectCertificates, verdict.ObjectVCA, verdict.ObjectMeasurements
	report, tsm, key = verdict.ObjectReport, verdict.ObjectTSM, verdict.ObjectPublicKey
)

// digestText is a SHA-384 that stands for something.
func digestText(of string) string { return fmt.Sprintf("%096x", of) }

// tdi is what a verifier says of a device under TDISP: "name=what" objects.
func tdi(t *testing.T, label string, objects ...string) verdict.Component {
	t.Helper()
	return partWith(t, label, "device", "same", isFresh, func(a *verdict.Appraisal) {
		a.Vector[verdict.Configuration] = verdict.ClaimApproved
		a.Facts.RelayRequired = true
		for _, o := range objects {
			name, what, _ := strings.Cut(o, "=")
			a.Facts.Objects = append(a.Facts.Objects, verdict.Object{Name: name, Alg: verdict.AlgSHA384, Digest: digestText(what)})
		}
	})
}

// holder is a CPU TEE whose evidence holds "subject object=what" digests.
func holder(t *testing.T, rule string, executables verdict.Claim, origin string, digests ...string) verdict.Component {
	t.Helper()
	return partWith(t, "cpu", "cpu-tee", rule, isFresh, func(a *verdict.Appraisal) {
		a.Vector[verdict.Executables] = executables
		for _, d := range digests {
			subject, o, _ := strings.Cut(d, " ")
			name, what, _ := strings.Cut(o, "=")
			a.Facts.Commitments = append(a.Facts.Commitments, verdict.Commitment{
				Subject: subject, Object: name, Alg: verdict.AlgSHA384, Digest: digestText(what), Via: "event-log", Origin: origin})
		}
	})
}

// tsmOutcome is what the two checks of this file say.
func tsmOutcome(parts ...verdict.Component) string {
	list, k := Check(Input{Components: parts})
	own := slices.DeleteFunc(slices.Clone(list), func(e verdict.Binding) bool { return e.Kind != KindTSM })
	k = slices.DeleteFunc(k, func(c verdict.Cap) bool { return c.Reason.Code == verdict.ReasonUnboundComponent })
	var open []string
	for label, why := range Unauthenticated(parts) {
		for _, one := range why {
			open = append(open, string(label)+":"+one.Code)
		}
	}
	slices.Sort(open)
	return strings.Join([]string{edges(own), caps(k), strings.Join(open, " ")}, " | ")
}

// TestTSMDigest: bound, broken, absent and forged, each with what it means for the
// interface report.
func TestTSMDigest(t *testing.T) {
	const (
		good, odd, silent = verdict.ClaimApproved, verdict.ClaimUnrecognized, verdict.ClaimNone
		strong            = "nic:cpu:tsm-digest:strong:bound"
		weak              = "nic:cpu:tsm-digest:nonce:bound"
		absent            = "nic:cpu:tsm-digest:none:absent"
		brokenEdge        = "nic:cpu:tsm-digest:none:broken"
		badCap, weakCap   = "contraindicated:binding-broken", "warning:binding-weak"
		open              = "nic:report-unauthenticated"
	)
	nic := tdi(t, "nic", certs+"=A", vca+"=V", meas+"=M", report+"=R")
	full := tdi(t, "nic", certs+"=A", report+"=R", tsm+"=T")
	cpu := func(executables verdict.Claim, origin string, digests ...string) verdict.Component {
		return holder(t, "same", executables, origin, digests...)
	}
	measured := func(digests ...string) verdict.Component { return cpu(good, OriginMeasured, digests...) }
	worse := partWith(t, "cpu", "cpu-tee", "same", isFresh, func(a *verdict.Appraisal) { // so that it becomes the first result
		a.Vector[verdict.Hardware], a.Vector[verdict.Executables] = verdict.ClaimContraindicate, odd
		for name, what := range map[string]string{certs: "A", report: "R"} {
			a.Facts.Commitments = append(a.Facts.Commitments, verdict.Commitment{
				Subject: "nic", Object: name, Alg: verdict.AlgSHA384, Digest: digestText(what), Via: "token", Origin: OriginHardware})
		}
	})
	for _, c := range []struct {
		name, want string
		parts      []verdict.Component
	}{
		{"the first of two says hardware", weak + " | " + weakCap + " | " + open, []verdict.Component{
			together(worse, cpu(odd, OriginMeasured, "nic "+certs+"=A", "nic "+report+"=R")), nic}},
		{"measured by known software", strong + " |  | ", []verdict.Component{measured("nic "+certs+"=A", "nic "+report+"=R"), nic}},
		{"negotiation too", strong + " |  | ", []verdict.Component{measured("nic "+certs+"=A", "nic "+vca+"=V", "nic "+report+"=R"), nic}},
		{"by the key", brokenEdge + " | " + badCap + " | " + open, []verdict.Component{measured("nic "+certs+"=B", "nic "+report+"=R"), nic}},
		{"under another name", strong + " |  | ", []verdict.Component{measured("pci "+certs+"=A", "pci "+report+"=R"), nic}},
		{"a function of a device with two", strong + " |  | ", []verdict.Component{measured("f0 "+certs+"=A", "f0 "+report+"=Q", "f1 "+certs+"=A", "f1 "+report+"=R"), nic}},
		{"no function of the device", brokenEdge + " | " + badCap + " | " + open, []verdict.Component{measured("f0 "+certs+"=A", "f0 "+report+"=Q", "f1 "+certs+"=A", "f1 "+report+"=P"), nic}},
		{"the name counts before the chain", brokenEdge + " | " + badCap + " | " + open, []verdict.Component{measured("a "+certs+"=A", "a "+report+"=R", "nic "+certs+"=B", "nic "+report+"=R"), nic}},
		{"another report", brokenEdge + " | " + badCap + " | " + open, []verdict.Component{measured("nic "+certs+"=A", "nic "+report+"=X"), nic}},
		{"another negotiation", brokenEdge + " | " + badCap + " | " + open, []verdict.Component{measured("nic "+certs+"=A", "nic "+vca+"=X", "nic "+report+"=R"), nic}},
		{"no report", strong + " |  | " + open, []verdict.Component{measured("nic "+certs+"=A", "nic "+vca+"=V"), nic}},
		{"no TSM information", strong + " |  | " + open, []verdict.Component{measured("nic "+certs+"=A", "nic "+report+"=R"), full}},
		{"report of one function, TSM information of another", strong + " |  | " + open, []verdict.Component{
			measured("f0 "+certs+"=A", "f0 "+report+"=R", "f1 "+certs+"=A", "f1 "+tsm+"=T"), full}},
		{"one of two names has everything", strong + " |  | ", []verdict.Component{
			measured("f0 "+certs+"=A", "f0 "+vca+"=V", "f0 "+meas+"=M", "nic "+certs+"=A", "z "+certs+"=A", "z "+report+"=R", "z "+tsm+"=T"), full}},
		{"words beside the structure that nobody measured", strong + " |  | " + open, []verdict.Component{
			measured("nic "+certs+"=A", "nic "+report+"=R", "nic "+tsm+"=T"), tdi(t, "nic", certs+"=A", report+"=R", tsm+"=T", verdict.ObjectTSMState+"=S")}},
		{"everything", strong + " |  | ", []verdict.Component{measured("nic "+certs+"=A", "nic "+report+"=R", "nic "+tsm+"=T"), full}},
		{"other TSM information", brokenEdge + " | " + badCap + " | " + open, []verdict.Component{measured("nic "+certs+"=A", "nic "+report+"=R", "nic "+tsm+"=X"), full}},
		{"TSM information alone", strong + " |  | ", []verdict.Component{measured("nic "+certs+"=A", "nic "+tsm+"=T"), tdi(t, "nic", certs+"=A", tsm+"=T")}},
		{"an unsigned object without digest", strong + " |  | " + open, []verdict.Component{measured("nic "+certs+"=A", "nic "+report+"=R"), tdi(t, "nic", certs+"=A")}},
		{"a report of nobody", absent + " |  | " + open, []verdict.Component{measured("nic " + report + "=R"), nic}},
		{"a negotiation of nobody", absent + " |  | " + open, []verdict.Component{measured("nic "+vca+"=V", "nic "+report+"=R"), nic}},
		{"by measurements", strong + " |  | ", []verdict.Component{measured("nic "+meas+"=M", "nic "+report+"=R"), nic}},
		{"another device", absent + " |  | " + open, []verdict.Component{measured("gpu "+certs+"=B", "gpu "+report+"=Q"), nic}},
		{"another device with this report", absent + " |  | " + open, []verdict.Component{measured("gpu "+certs+"=B", "gpu "+report+"=R"), nic}},
		{"nothing", absent + " |  | " + open, []verdict.Component{measured(), nic}},
		{"by hardware", strong + " |  | ", []verdict.Component{cpu(odd, OriginHardware, "nic "+certs+"=A", "nic "+report+"=R"), nic}},
		{"by an application that is known", strong + " | affirming:application-binding-accepted | ", []verdict.Component{cpu(good, OriginApplication, "nic "+certs+"=A", "nic "+report+"=R"), nic}},
		{"forged by an application", weak + " | " + weakCap + " | " + open, []verdict.Component{cpu(odd, OriginApplication, "nic "+certs+"=A", "nic "+report+"=R"), nic}},
		{"by an application that nobody looked at", weak + " | " + weakCap + " | " + open, []verdict.Component{cpu(silent, OriginApplication, "nic "+certs+"=A", "nic "+report+"=R"), nic}},
		{"measured by software that nobody knows", weak + " | " + weakCap + " | " + open, []verdict.Component{cpu(odd, OriginMeasured, "nic "+certs+"=A", "nic "+report+"=R"), nic}},
		{"no CPU", " |  | " + open, []verdict.Component{nic}},
		{"two CPUs", " |  | " + open, []verdict.Component{measured("nic "+certs+"=A", "nic "+report+"=R"), part(t, "cpv", "cpu-tee", "same", isFresh), nic}},
		{"one of two verifiers of the CPU saw another log", brokenEdge + " | " + badCap + " | " + open, []verdict.Component{
			together(measured("nic "+certs+"=A", "nic "+report+"=R"), measured("nic "+certs+"=A", "nic "+report+"=X")), nic}},
		{"one of two verifiers of the CPU saw no log", absent + " |  | " + open, []verdict.Component{
			together(measured("nic "+certs+"=A", "nic "+report+"=R"), measured()), nic}},
		{"one of two verifiers of the CPU does not know the software", weak + " | " + weakCap + " | " + open, []verdict.Component{
			together(measured("nic "+certs+"=A", "nic "+report+"=R"), cpu(odd, OriginMeasured, "nic "+certs+"=A", "nic "+report+"=R")), nic}},
		{"one of two says hardware", weak + " | " + weakCap + " | " + open, []verdict.Component{
			together(cpu(odd, OriginHardware, "nic "+certs+"=A", "nic "+report+"=R"), cpu(odd, OriginMeasured, "nic "+certs+"=A", "nic "+report+"=R")), nic}},
		{"the verifiers of the CPU have different objects", absent + " |  | " + open, []verdict.Component{
			together(measured("nic "+certs+"=A", "nic "+report+"=R"), measured("nic "+meas+"=M", "nic "+report+"=R")), nic}},
		{"one of two verifiers of the device saw another report", brokenEdge + " | " + badCap + " | " + open, []verdict.Component{
			measured("nic "+certs+"=A", "nic "+report+"=R"), together(nic, tdi(t, "nic", certs+"=A", report+"=X"))}},
		{"one of two verifiers of the device has no digest of the report", strong + " |  | " + open, []verdict.Component{
			measured("nic "+certs+"=A", "nic "+report+"=R"), together(nic, tdi(t, "nic", certs+"=A"))}},
	} {
		if got := tsmOutcome(c.parts...); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestMeasuredRelay: a commitment to the whole evidence of a device vouches for
// its interface report exactly where the software that made it is known.
func TestMeasuredRelay(t *testing.T) {
	nic := tdi(t, "nic", certs+"=A", report+"=R", tsm+"=T")
	relay := func(f verdict.Freshness, executables verdict.Claim) verdict.Component {
		return partWith(t, "cpu", "cpu-tee", evidence.CommitmentRule, f, func(a *verdict.Appraisal) { a.Vector[verdict.Executables] = executables })
	}
	silent := partWith(t, "nic", "device", "same", isFresh, func(a *verdict.Appraisal) { a.Facts.Objects = nic.Partial.Appraisal().Facts.Objects })
	missing := nic
	missing.Evidence = [32]byte{}
	plain := partWith(t, "nic", "device", "same", isFresh, func(*verdict.Appraisal) {})
	for _, c := range []struct {
		name string
		cpu  verdict.Component
		nic  verdict.Component
		open bool
	}{
		{"known software", relay(isFresh, verdict.ClaimApproved), nic, false},
		{"unknown software", relay(isFresh, verdict.ClaimUnrecognized), nic, true},
		{"software that nobody looked at", relay(isFresh, verdict.ClaimNone), nic, true},
		{"another commitment", relay(stale, verdict.ClaimApproved), nic, true},
		{"no challenge", relay(open, verdict.ClaimApproved), nic, true},
		{"no commitment", holder(t, "same", verdict.ClaimApproved, ""), nic, true},
		{"not committed to", relay(isFresh, verdict.ClaimApproved), missing, true},
		{"one of two does not know the software", together(relay(isFresh, verdict.ClaimApproved), relay(isFresh, verdict.ClaimUnrecognized)), nic, true},
		{"digests of something else", partWith(t, "cpu", "cpu-tee", evidence.CommitmentRule, isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables] = verdict.ClaimApproved
			a.Facts.Commitments = []verdict.Commitment{{Subject: "nic", Object: report, Alg: verdict.AlgSHA384, Digest: digestText("X"), Via: "x", Origin: OriginMeasured}}
		}), nic, true},
		{"no such claims", holder(t, "same", verdict.ClaimApproved, ""), plain, false},
		{"a verifier that does not say what it needs", holder(t, "same", verdict.ClaimApproved, ""), silent, true},
		{"one of two verifiers has such claims", holder(t, "same", verdict.ClaimApproved, ""), together(plain, nic), true},
	} {
		got := Unauthenticated([]verdict.Component{c.cpu, c.nic, part(t, "other", "device", "same", isFresh)})
		if _, is := got["nic"]; is != c.open || len(got) > 1 {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestDigestAlgorithms: what is compared are digests by one algorithm.
func TestDigestAlgorithms(t *testing.T) {
	short := strings.Repeat("0", 64)
	device := partWith(t, "nic", "device", "same", isFresh, func(a *verdict.Appraisal) {
		a.Facts.Objects = []verdict.Object{{Name: certs, Alg: verdict.AlgSHA384, Digest: digestText("A")}, {Name: certs, Alg: verdict.AlgSHA256, Digest: short}}
	})
	for _, c := range []struct{ alg, digest, want string }{
		{verdict.AlgSHA256, short, "strong:bound"}, {verdict.AlgSHA384, digestText("A"), "strong:bound"},
		{verdict.AlgSHA384, digestText("B"), "none:broken"}, {verdict.AlgSHA512, strings.Repeat("0", 128), "none:absent"},
	} {
		cpu := partWith(t, "cpu", "cpu-tee", "same", isFresh, func(a *verdict.Appraisal) {
			a.Facts.Commitments = []verdict.Commitment{{Subject: "nic", Object: certs, Alg: c.alg, Digest: c.digest, Via: "x", Origin: OriginHardware}}
		})
		if got := tsmOutcome(cpu, device); !strings.HasPrefix(got, "nic:cpu:tsm-digest:"+c.want+" ") {
			t.Errorf("%s: %s", c.alg, got)
		}
	}
}

// TestTSMDigestIsMonotone: taking digests away from a CPU or a device whose edge
// is good, or spoiling one, never makes anything better.
func TestTSMDigestIsMonotone(t *testing.T) {
	rank := func(parts ...verdict.Component) int {
		switch got := tsmOutcome(parts...); {
		case strings.Contains(got, "broken"):
			return 3
		case strings.Contains(got, "unauthenticated") && !strings.Contains(got, "strong"):
			return 2
		case strings.Contains(got, "unauthenticated"):
			return 1
		}
		return 0
	}
	r := rand.New(rand.NewPCG(7, 8))
	names := []string{certs, vca, meas, report, tsm, key}
	for range 300 {
		var digests, objects []string
		for _, n := range names {
			if r.IntN(3) > 0 {
				objects = append(objects, n+"="+n)
			}
			if r.IntN(3) > 0 {
				digests = append(digests, []string{"nic ", "pci "}[r.IntN(2)]+n+"="+n)
			}
		}
		executables := []verdict.Claim{verdict.ClaimApproved, verdict.ClaimUnrecognized}[r.IntN(2)]
		nic := tdi(t, "nic", objects...)
		before := rank(holder(t, "same", executables, OriginMeasured, digests...), nic)
		if len(digests) == 0 {
			continue
		}
		i := r.IntN(len(digests))
		fewer := slices.Delete(slices.Clone(digests), i, i+1)
		if after := rank(holder(t, "same", executables, OriginMeasured, fewer...), nic); after < before {
			t.Fatalf("without %s: %d, before %d (%q, %q)", digests[i], after, before, digests, objects)
		}
		spoilt := slices.Clone(digests)
		spoilt[i] += "!"
		if after := rank(holder(t, "same", executables, OriginMeasured, spoilt...), nic); after < before {
			t.Fatalf("with another %s: %d, before %d (%q, %q)", digests[i], after, before, digests, objects)
		}
		if after := rank(holder(t, "same", verdict.ClaimUnrecognized, OriginMeasured, digests...), nic); after < before {
			t.Fatalf("by unknown software: %d, before %d", after, before)
		}
	}
}
