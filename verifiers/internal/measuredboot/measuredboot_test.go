// SPDX-License-Identifier: Apache-2.0

package measuredboot

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/eventlog"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func machine(change func(*tcgtpm.Options)) *tcgtpm.Device {
	o := tcgtpm.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now, Image: "test"}
	if change != nil {
		change(&o)
	}
	return must(tcgtpm.New(o))
}

// boot is what a quote of the machine covers.
func boot(d *tcgtpm.Device) Boot { return Boot{Bank: crypto.SHA256, PCRs: d.PCRs(), Log: d.EventLog()} }

// marked is the judge with a policy in which one row lowers file-system to 34, so
// that a test sees whether the row was applied.
func marked(finding string) Judge {
	d := appraisal.Defaults{Scheme: "test", Findings: Findings("x-"), Parameters: Defaults()}
	for i := range d.Findings {
		if d.Findings[i].Name == "x-"+finding {
			d.Findings[i].Effect = maps.Clone(d.Findings[i].Effect)
			d.Findings[i].Effect[verdict.FileSystem] = 34
			d.Findings[i].Code = verdict.ReasonPolicy
		}
	}
	return Judge{Policy: must(d.Policy()), Prefix: "x-", Parameters: Defaults()}
}

func judge() Judge { return marked("") }

// entry is the reference value of a machine, changed.
func entry(d *tcgtpm.Device, change func(map[uint64][]refvalues.Digest)) refvalues.Entry {
	e := must(refvalues.TPM(d.Measurements()))
	if change != nil {
		change(e.Values[0].Registers)
	}
	return e
}

func document(id string, e ...refvalues.Entry) refvalues.Document {
	return refvalues.Document{ID: id, TagID: id, Profile: refvalues.Profile, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0), Entries: e}
}

func index(docs ...refvalues.Document) *corim.Index {
	return must(must(refvalues.NewAuthor("author", now)).Index(now, docs...))
}

func unsigned(d refvalues.Document) *corim.Index {
	raw := must(refvalues.Unsigned(d))
	return must(corim.NewIndex(must(corim.Load(raw, corim.Options{Unsigned: true, Now: now}))))
}

// without are the registers of a boot but for some.
func without(b Boot, pcrs ...int) Boot {
	b.PCRs = maps.Clone(b.PCRs)
	for _, i := range pcrs {
		delete(b.PCRs, i)
	}
	return b
}

func with(b Boot, pcr int, value []byte) Boot {
	b.PCRs = maps.Clone(b.PCRs)
	b.PCRs[pcr] = value
	return b
}

func appraise(j Judge, b Boot, x *corim.Index) verdict.Appraisal {
	a := verdict.Appraisal{Claims: map[string]any{}}
	j.EventLog(&a, b)
	if c := j.References(&a, b, References{Index: x, Time: now}); c != nil {
		a.Claims["reference_values"] = c
	}
	return a
}

// keep keeps the registers that a document is to name.
func keep(pcrs ...uint64) func(map[uint64][]refvalues.Digest) {
	return func(m map[uint64][]refvalues.Digest) {
		maps.DeleteFunc(m, func(pcr uint64, _ []refvalues.Digest) bool { return !slices.Contains(pcrs, pcr) })
	}
}

func flip(pcrs ...uint64) func(map[uint64][]refvalues.Digest) {
	return func(m map[uint64][]refvalues.Digest) {
		for _, pcr := range pcrs {
			d := slices.Clone(m[pcr])
			for i := range d {
				d[i].Value = bytes.Clone(d[i].Value)
				d[i].Value[0] ^= 1
			}
			m[pcr] = d
		}
	}
}

// banks replaces the values by those of another bank.
func banks(alg string) func(map[uint64][]refvalues.Digest) {
	return func(m map[uint64][]refvalues.Digest) {
		for pcr := range m {
			v := sha512.Sum384([]byte{byte(pcr)})
			m[pcr] = []refvalues.Digest{{Alg: alg, Value: v[:]}}
		}
	}
}

type testCase struct {
	name                       string
	boot                       Boot
	index                      *corim.Index
	judge                      func(*Judge)
	executables, configuration verdict.Claim
	findings                   []string
}

func cases() []testCase {
	d := machine(nil)
	b := boot(d)
	all := index(document("all", entry(d, nil)))
	zero := make([]byte, 32)
	const proven, provenConfig = "software-proven", "configuration-proven"
	boot3, bad, unproven, unseen := verdict.ClaimApprovedBoot, verdict.ClaimContraindicate, verdict.ClaimUnrecognized, verdict.ClaimNoVisibility
	firmware := []uint64{0, 2, 4, 7}
	list := []testCase{
		{name: "all known", boot: b, index: all, executables: boot3, configuration: 2, findings: []string{proven, provenConfig}},
		{name: "no reference values", boot: b, executables: unproven, configuration: unseen, findings: []string{"software-unknown", "configuration-unknown"}},
		{name: "of software alone", boot: b, index: index(document("a", entry(d, keep(0, 2, 4, 8, 9, 11, 12, 13)))), executables: boot3, configuration: unseen,
			findings: []string{proven, "configuration-unknown"}},
		{name: "of configuration alone", boot: b, index: index(document("a", entry(d, keep(7, 14)))), executables: unproven, configuration: 2,
			findings: []string{"software-unknown", provenConfig}},
		{name: "of the firmware alone", boot: b, index: index(document("a", entry(d, keep(firmware...)))), executables: unproven, configuration: unseen,
			findings: []string{"software-unknown"}},
		{name: "mixture of two machines", boot: b, index: index(document("a", entry(d, flip(4))), document("b", entry(d, flip(9)))), executables: bad, configuration: bad},
		{name: "another setting of the firmware", boot: b, index: index(document("a", entry(d, flip(1)))), executables: unproven, configuration: bad,
			findings: []string{"configuration-mismatch", "software-partial"}},
		{name: "another bank", boot: b, index: index(document("a", entry(d, banks("sha-384")))), executables: unproven, configuration: unseen, findings: []string{"software-unknown", "configuration-unknown"}},
		{name: "unsigned", boot: b, index: unsigned(document("a", entry(d, nil))), executables: unproven, configuration: unseen,
			findings: []string{"software-unsigned", "configuration-unsigned"}},
		{name: "unsigned, where these count", boot: b, index: unsigned(document("a", entry(d, nil))), judge: func(j *Judge) { j.Unsigned = true },
			executables: boot3, configuration: 2, findings: []string{proven, provenConfig}},
		{name: "another bank for one machine, this bank for another", boot: b, index: index(document("a", entry(d, banks("sha-384"))), document("b", entry(d, flip(4, 7)))),
			executables: bad, configuration: bad, findings: []string{"software-mismatch", "configuration-mismatch"}},
		{name: "no software to be proven but of which a value speaks", boot: b, index: index(document("a", entry(d, keep(1)))),
			judge: func(j *Judge) { j.Parameters.Executables = []int{20}; j.Parameters.Configuration = nil }, executables: unproven, configuration: 2,
			findings: []string{"software-unknown"}},
		{name: "event log of another machine", boot: Boot{b.Bank, b.PCRs, machine(func(o *tcgtpm.Options) { o.Image = "other" }).EventLog()}, index: all,
			executables: boot3, configuration: verdict.ClaimUnsafe, findings: []string{"event-log-mismatch"}},
		{name: "event log that is none", boot: Boot{b.Bank, b.PCRs, []byte("log")}, index: all, executables: boot3, configuration: verdict.ClaimUnsafe,
			findings: []string{"event-log-malformed"}},
		{name: "empty event log", boot: Boot{b.Bank, b.PCRs, []byte{}}, index: all, executables: boot3, configuration: verdict.ClaimUnsafe,
			findings: []string{"event-log-malformed"}},
		{name: "Secure Boot off", boot: boot(machine(func(o *tcgtpm.Options) { o.SecureBootOff = true })),
			index: index(document("a", entry(d, func(m map[uint64][]refvalues.Digest) {
				m[7] = []refvalues.Digest{{Alg: "sha-256", Value: machine(func(o *tcgtpm.Options) { o.SecureBootOff = true }).PCRs()[7]}}
			}))), executables: boot3, configuration: verdict.ClaimUnsafe,
			findings: []string{"secure-boot-off"}},
	}
	for _, pcr := range []int{0, 2, 4, 9} {
		i := uint64(pcr)
		list = append(list,
			testCase{name: "other software in PCR " + string(rune('0'+pcr)), boot: b, index: index(document("a", entry(d, flip(i)))), executables: bad,
				findings: []string{"software-mismatch", "configuration-partial"}, configuration: unseen},
			testCase{name: "quote without PCR " + string(rune('0'+pcr)), boot: without(b, pcr), index: index(document("a", entry(d, func(m map[uint64][]refvalues.Digest) { delete(m, i) }))),
				executables: unproven, configuration: 2, findings: []string{"software-registers-not-quoted"}},
			testCase{name: "zero in PCR " + string(rune('0'+pcr)), boot: with(Boot{Bank: b.Bank, PCRs: b.PCRs}, pcr, zero), index: all, executables: bad, configuration: unseen},
		)
	}
	list = append(list,
		testCase{name: "quote without PCR 7", boot: without(b, 7), index: index(document("a", entry(d, func(m map[uint64][]refvalues.Digest) { delete(m, 7) }))),
			executables: boot3, configuration: unseen, findings: []string{"configuration-registers-not-quoted"}},
		testCase{name: "other policy in PCR 7", boot: b, index: index(document("a", entry(d, flip(7)))), executables: unproven, configuration: bad,
			findings: []string{"configuration-mismatch", "software-partial"}},
		// The firmware's registers are never empty: a value of zero needs proof, too.
		testCase{name: "zero in PCR 2, of which nobody speaks", boot: with(Boot{Bank: b.Bank, PCRs: b.PCRs}, 2, zero), index: index(document("a", entry(d, func(m map[uint64][]refvalues.Digest) { delete(m, 2) }))),
			executables: unproven, configuration: 2, findings: []string{"software-unknown"}},
		testCase{name: "zero in PCR 9, of which nobody speaks", boot: with(Boot{Bank: b.Bank, PCRs: b.PCRs}, 9, zero), index: index(document("a", entry(d, func(m map[uint64][]refvalues.Digest) { delete(m, 9) }))),
			executables: boot3, configuration: 2, findings: []string{proven}},
		testCase{name: "something in PCR 13, of which nobody speaks", boot: with(Boot{Bank: b.Bank, PCRs: b.PCRs}, 13, bytes.Repeat([]byte{1}, 32)),
			index: index(document("a", entry(d, func(m map[uint64][]refvalues.Digest) { delete(m, 13) }))), executables: unproven, configuration: 2, findings: []string{"software-unknown"}},
		// What is not quoted is not zero.
		testCase{name: "quote without PCR 23, of which a value of zero is stated", boot: without(b, 23), index: index(document("a", entry(d, func(m map[uint64][]refvalues.Digest) {
			m[23] = []refvalues.Digest{{Alg: "sha-256", Value: zero}}
		}))), executables: unproven, configuration: unseen, findings: []string{"software-partial", "configuration-partial"}},
		// Of a register that needs no proof, a value that is stated must be right.
		testCase{name: "stated and other in PCR 10", boot: with(Boot{Bank: b.Bank, PCRs: b.PCRs}, 10, bytes.Repeat([]byte{1}, 32)),
			index: index(document("a", entry(d, func(m map[uint64][]refvalues.Digest) {
				m[10] = []refvalues.Digest{{Alg: "sha-256", Value: bytes.Repeat([]byte{2}, 32)}}
			}))), executables: bad, configuration: unseen, findings: []string{"software-mismatch"}},
		testCase{name: "firmware that measured no state", boot: stateless(d), index: nil, executables: unproven, configuration: unseen, findings: []string{"firmware-state-unclear"}},
	)
	return list
}

// stateless is a boot whose log replays and has no separator of PCR 7: the log is
// cut in front of it, and the registers are those of the rest.
func stateless(d *tcgtpm.Device) Boot {
	b := boot(d)
	b.Log, b.PCRs = shortened(b)
	return b
}

// TestCases holds each rule: the claims, and the rows by which they came about.
func TestCases(t *testing.T) {
	reached := map[string]bool{}
	for _, c := range cases() {
		j := judge()
		if c.judge != nil {
			c.judge(&j)
		}
		a := appraise(j, c.boot, c.index)
		if a.Vector[verdict.Executables] != c.executables || a.Vector[verdict.Configuration] != c.configuration {
			t.Errorf("%s: executables %d, configuration %d, want %d and %d: %v", c.name, a.Vector[verdict.Executables], a.Vector[verdict.Configuration], c.executables, c.configuration, a.Reasons[:min(3, len(a.Reasons))])
		}
		for name, v := range map[verdict.ClaimName]verdict.Claim{verdict.Hardware: a.Vector[verdict.Hardware], verdict.InstanceIdentity: a.Vector[verdict.InstanceIdentity], verdict.RuntimeOpaque: a.Vector[verdict.RuntimeOpaque]} {
			if v != 0 {
				t.Errorf("%s: %s is %d, of which registers say nothing", c.name, name, v)
			}
		}
		for _, f := range c.findings {
			j := marked(f)
			if c.judge != nil {
				p := j.Policy
				c.judge(&j)
				j.Policy = p
			}
			if a := appraise(j, c.boot, c.index); a.Vector[verdict.FileSystem] != 34 {
				t.Errorf("%s: row %s was not applied: %v", c.name, f, a.Reasons[:min(3, len(a.Reasons))])
			}
			reached[f] = true
		}
	}
	for _, f := range Findings("") {
		if !reached[f.Name] {
			t.Errorf("no case reaches %s", f.Name)
		}
	}
}

// TestFloors: no operator's row turns software or configuration without proof into
// something that is affirmed.
func TestFloors(t *testing.T) {
	d := appraisal.Defaults{Scheme: "test", Findings: Findings(""), Parameters: Defaults()}
	for _, f := range d.Findings {
		for _, c := range []verdict.ClaimName{verdict.Executables, verdict.Configuration} {
			if v, ok := f.Effect[c]; !ok || v.Tier() == verdict.TierAffirming || !strings.HasPrefix(f.Name, "software-") && !strings.HasPrefix(f.Name, "configuration-") {
				continue
			}
			for _, row := range []string{"{}", "{" + c.String() + ": 2}", "{" + c.String() + ": 3}"} {
				if _, err := d.Parse([]byte("scheme: test\nfindings:\n  " + f.Name + ": " + row + "\n")); err == nil {
					t.Errorf("%s: %s is accepted", f.Name, row)
				}
			}
		}
	}
}

// TestTime: documents count from their first to their last day.
func TestTime(t *testing.T) {
	d := machine(nil)
	x := index(document("a", entry(d, nil)))
	for _, c := range []struct {
		at   time.Time
		want verdict.Claim
	}{{now, 3}, {now.Add(-2 * time.Hour), 33}, {now.AddDate(0, 2, 0), 33}, {time.Time{}, 33}} {
		a := verdict.Appraisal{Claims: map[string]any{}}
		proof := judge().References(&a, boot(d), References{Index: x, Time: c.at})
		if a.Vector[verdict.Executables] != c.want || c.want == 3 && proof == nil {
			t.Errorf("%s: %d %v", c.at, a.Vector[verdict.Executables], a.Reasons)
		}
	}
}

// TestEventLogFacts: events are facts only where the log replays to what is quoted.
func TestEventLogFacts(t *testing.T) {
	d := machine(nil)
	b := boot(d)
	a := appraise(judge(), b, nil)
	said, ok := a.Claims["event_log"].(map[string]any)
	if !ok || len(a.Facts.Measured) == 0 || said["secure_boot"] != true || said["kernel_command_line"] == nil {
		t.Fatalf("%v", a.Claims["event_log"])
	}
	for _, e := range a.Facts.Measured {
		if e.Content == "" && e.Digest == "" {
			t.Errorf("%+v", e)
		}
	}
	for name, c := range map[string]struct {
		boot Boot
		said any
	}{
		"none":               {Boot{b.Bank, b.PCRs, nil}, "absent"},
		"of another machine": {Boot{b.Bank, b.PCRs, machine(func(o *tcgtpm.Options) { o.Image = "other" }).EventLog()}, "not used"},
		"truncated":          {Boot{b.Bank, b.PCRs, b.Log[:len(b.Log)-1]}, "not used"},
		"tampered":           {boot(machine(func(o *tcgtpm.Options) { o.LogTampered = true })), "not used"},
		"bank it lacks":      {Boot{crypto.SHA512, map[int][]byte{0: make([]byte, 64)}, b.Log}, "not used"},
	} {
		if a := appraise(judge(), c.boot, nil); !reflect.DeepEqual(a.Claims["event_log"], c.said) || a.Facts.Measured != nil {
			t.Errorf("%s: %v, %d events", name, a.Claims["event_log"], len(a.Facts.Measured))
		}
	}
	// A register that the log does not explain and need not: its events are no facts.
	j := judge()
	j.Parameters.EventLog = []int{7}
	other := with(b, 4, bytes.Repeat([]byte{1}, 32))
	for _, e := range appraise(j, other, nil).Facts.Measured {
		if e.Register == "pcr4" {
			t.Fatalf("an event of PCR 4, which is quoted otherwise: %+v", e)
		}
	}
}

func TestParameters(t *testing.T) {
	if err := Defaults().Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Parameters){
		"no executables":   func(p *Parameters) { p.Executables = nil },
		"PCR 24":           func(p *Parameters) { p.Executables = append(p.Executables, 24) },
		"negative":         func(p *Parameters) { p.Configuration = []int{-1} },
		"twice":            func(p *Parameters) { p.EventLog = []int{7, 7} },
		"twice executable": func(p *Parameters) { p.Executables = []int{4, 4} },
	} {
		p := Defaults()
		change(&p)
		if p.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	d := appraisal.Defaults{Scheme: "test", Findings: Findings("vtpm-"), Parameters: Defaults()}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
}

// FuzzEventLog: no log panics, makes a claim affirming, or is used although it does
// not replay.
func FuzzEventLog(f *testing.F) {
	d := machine(nil)
	b := boot(d)
	f.Add(b.Log)
	f.Add(b.Log[:len(b.Log)/2])
	f.Add(machine(func(o *tcgtpm.Options) { o.LogTampered = true }).EventLog())
	short, _ := shortened(b)
	f.Add(short)
	j := judge()
	f.Fuzz(func(t *testing.T, log []byte) {
		b := b
		b.Log = log
		a := verdict.Appraisal{Claims: map[string]any{}}
		j.EventLog(&a, b)
		if a.Vector.Status() == verdict.TierAffirming || len(a.Facts.Measured) > verdict.MaxMeasuredEvents {
			t.Fatalf("%v", a.Vector)
		}
		if _, used := a.Claims["event_log"].(map[string]any); used != (len(a.Reasons) == 0) && used && a.Vector[verdict.Configuration] == 0 {
			t.Fatalf("%v %v", a.Claims, a.Reasons)
		}
	})
}

// shortened is the log of a boot without its events of PCR 7, and the registers to
// which that replays.
func shortened(b Boot) ([]byte, map[int][]byte) {
	log, pcrs := cut(b.Log, policyRegister)
	out := maps.Clone(b.PCRs)
	for pcr := range out {
		if pcr < 17 || pcr > 22 {
			out[pcr] = make([]byte, sha256.Size)
		}
	}
	maps.Copy(out, pcrs)
	return log, out
}

// cut takes the events of a register out of a log.
func cut(raw []byte, register uint32) ([]byte, map[int][]byte) {
	l := must(eventlog.Parse(raw, eventlog.TPM))
	out := bytes.Clone(raw[:l.Events[0].Offset])
	for i, e := range l.Events {
		end := len(raw) - l.Padding
		if i+1 < len(l.Events) {
			end = l.Events[i+1].Offset
		}
		if e.Index != register {
			out = append(out, raw[e.Offset:end]...)
		}
	}
	pcrs := map[int][]byte{}
	for i, v := range must(must(eventlog.Parse(out, eventlog.TPM)).Replay(eventlog.SHA256)) {
		pcrs[int(i)] = v
	}
	return out, pcrs
}
