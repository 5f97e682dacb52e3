// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	sim "github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/eventlog"
)

// leaf is a quote with a log and runtime data, as far as they are given.
func leaf(quote, log []byte, runtime string) []byte {
	b64 := base64.RawURLEncoding.EncodeToString
	out := `{"quote":"` + b64(quote) + `"`
	if log != nil {
		out += `,"cc_eventlog":"` + b64(log) + `"`
	}
	if runtime != "" {
		out += `,"runtime_data":` + runtime
	}
	return []byte(out + "}")
}

func appraiseLeaf(tb testing.TB, v *verifier, raw, nonce []byte, now time.Time) verdict.Appraisal {
	tb.Helper()
	a, err := v.Appraise(context.Background(), verifiers.Input{MediaType: evidence.MediaType{Base: typeJSON}, Evidence: raw, Nonce: nonce, Time: now})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := json.Marshal(a.Claims); err != nil {
		tb.Error(err)
	}
	return a
}

// simulated is a simulated TD with what a verifier has to know about it.
type simulated struct {
	*sim.Device
	v     *verifier
	quote []byte
	nonce []byte
	now   time.Time
}

func simulate(tb testing.TB, device string, events ...sim.Event) *simulated {
	tb.Helper()
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	d, err := sim.New(sim.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed(device), Now: now, Events: events})
	if err != nil {
		tb.Fatal(err)
	}
	s := &simulated{Device: d, nonce: pki.NewSeed("nonce").Bytes(64), now: now}
	if s.quote, err = d.Evidence(s.nonce); err != nil {
		tb.Fatal(err)
	}
	files, err := d.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, raw := range files {
		fsys[name] = &fstest.MapFile{Data: raw}
	}
	b, _, err := endorsements.Load(fsys)
	if err != nil {
		tb.Fatal(err)
	}
	s.v = newTest(tb, verifiers.Deps{Endorsements: b, ExtraRoots: map[string][]*x509.Certificate{Name: {d.Root()}}})
	return s
}

func (s *simulated) appraise(tb testing.TB, log []byte) verdict.Appraisal {
	tb.Helper()
	return appraiseLeaf(tb, s.v, leaf(s.quote, log, ""), s.nonce, s.now)
}

func eventLogClaim(tb testing.TB, a verdict.Appraisal) map[string]any {
	tb.Helper()
	m, ok := a.Claims["event_log"].(map[string]any)
	if !ok {
		tb.Fatalf("no claims about the event log: %v", a.Reasons)
	}
	return m
}

// refused: nothing of a log that was refused is repeated.
func refused(tb testing.TB, what string, a verdict.Appraisal) {
	tb.Helper()
	if a.Claims["event_log"] != nil || a.Facts.Measured != nil {
		tb.Errorf("%s: claims or facts repeat a log that was refused", what)
	}
	if !hasReason(a, verdict.ReasonEventLogMismatch) || a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
		tb.Errorf("%s: %v %v", what, a.Vector, a.Reasons)
	}
}

// The recorded quote of a machine with its log, at a time at which its PCK chain
// was valid. There is no collateral for this platform.
func TestRecordedLog(t *testing.T) {
	quote, log := vectors.Read(t, "tdx/go-tdx-guest/ccel/cos-113-tdx-quote.dat"), vectors.Read(t, "tdx/go-tdx-guest/ccel/ccel_data.dat")
	nonce, v := vectors.Read(t, "tdx/go-tdx-guest/ccel/nonce.dat"), newTest(t, verifiers.Deps{})
	a := appraiseLeaf(t, v, leaf(quote, log, ""), nonce, at("2025-07-01"))
	if a.Freshness != verdict.FreshnessFresh || a.Status() != verdict.TierWarning || hasReason(a, verdict.ReasonEventLogMismatch) {
		t.Errorf("%s %v %v", a.Freshness, a.Vector, a.Reasons)
	}
	// This machine booted without secure boot, which only its log tells.
	if a.Vector[verdict.Hardware] != 32 || a.Vector[verdict.Executables] != 33 || a.Vector[verdict.Configuration] != 32 || a.Vector[verdict.RuntimeOpaque] != 2 {
		t.Errorf("vector %v", a.Vector)
	}
	c := eventLogClaim(t, a)
	line, _ := c["kernel_command_line"].(string)
	if c["events"] != 43 || c["secure_boot"] != false || c["padding_bytes"] != 244043 || !strings.HasPrefix(line, "/syslinux/vmlinuz.A init=") {
		t.Errorf("claims %v", c)
	}
	if len(a.Facts.Measured) != 43 {
		t.Errorf("%d measured events", len(a.Facts.Measured))
	}
	for _, other := range []string{"tdx/trustee/CCEL_data_ovmf", "vtpm/dstack/ccel.bin", "vtpm/go-eventlog/ccel/cos-113-intel-tdx-dupe-separator-unpadded.bin"} {
		refused(t, other, appraiseLeaf(t, v, leaf(quote, vectors.Read(t, other), ""), nonce, at("2025-07-01")))
	}
}

// A recorded log that is of none of the recorded quotes.
func TestLogOfNoQuote(t *testing.T) {
	log, v := vectors.Read(t, "tdx/trustee/CCEL_data_ovmf"), newTest(t, verifiers.Deps{})
	for _, c := range recorded {
		raw := readQuote(t, c.quote)
		a := appraiseLeaf(t, v, leaf(raw, log, ""), reportDataOf(t, raw), at(c.at))
		refused(t, c.quote, a)
		if a.Freshness != verdict.FreshnessFresh || a.Vector[verdict.RuntimeOpaque] != 2 {
			t.Errorf("%s: %v %v", c.quote, a.Vector, a.Reasons)
		}
	}
}

func TestSimulatedLog(t *testing.T) {
	device := sim.Event{RTMR: 3, Type: 6, Data: []byte(`{"device":"one"}`)}
	s := simulate(t, "machine", device)
	a := s.appraise(t, s.EventLog())
	if a.Vector[verdict.Hardware] != 2 || a.Vector[verdict.Configuration] != 2 || a.Vector[verdict.Executables] != 33 || a.Freshness != verdict.FreshnessFresh {
		t.Fatalf("%v %v", a.Vector, a.Reasons)
	}
	c := eventLogClaim(t, a)
	if c["secure_boot"] != true || c["kernel_command_line"] != "/boot/vmlinuz root=/dev/vda1 ro console=ttyS0" || c["runtime_matched"] != true || c["authorities"] != 1 {
		t.Errorf("claims %v", c)
	}
	content, digest := sha256.Sum256(device.Data), sha512.Sum384(device.Data)
	want := verdict.MeasuredEvent{Register: "rtmr3", Digest: hex.EncodeToString(digest[:]), Content: hex.EncodeToString(content[:]), Type: 6}
	if len(a.Facts.Measured) != c["events"] || a.Facts.Measured[0] != want {
		t.Errorf("first fact %+v, want %+v", a.Facts.Measured[0], want)
	}
	// Padding, and a log without events for RTMR3, are logs of this machine too.
	for name, log := range map[string][]byte{
		"ones": append(s.EventLog(), bytes.Repeat([]byte{0xff}, 200<<10)...), "zeros": append(s.EventLog(), make([]byte, 4096)...),
		"no run time": s.EventLog()[:len(s.EventLog())-len(device.Data)-4-50-12],
	} {
		if a := s.appraise(t, log); eventLogClaim(t, a)["secure_boot"] != true {
			t.Errorf("%s: %v", name, a.Reasons)
		}
	}
	bare := appraise(t, s.v, s.quote, s.nonce, s.now)
	if bare.Claims["event_log"] != nil || bare.Facts.Measured != nil || bare.Vector != a.Vector {
		t.Errorf("a quote alone gives %v, with the log %v", bare.Vector, a.Vector)
	}
}

func TestRefusedLogs(t *testing.T) {
	s := simulate(t, "machine", sim.Event{RTMR: 3, Type: 6, Data: []byte("run time")})
	log := s.EventLog()
	parsed, err := eventlog.Parse(log, eventlog.CC)
	if err != nil {
		t.Fatal(err)
	}
	last := parsed.Events[len(parsed.Events)-1].Offset
	index := func(v uint32) []byte {
		out := bytes.Clone(log)
		binary.LittleEndian.PutUint32(out[last:], v)
		return out
	}
	other := bytes.Clone(log)
	other[last+20] ^= 1 // the digest of the event in RTMR3
	doubled := append(bytes.Clone(log), log[last:]...)
	for name, raw := range map[string][]byte{
		"of another machine":      simulate(t, "another").EventLog(),
		"digest changed":          other,
		"event doubled":           doubled,
		"event for RTMR2":         index(3),
		"event for register 5":    index(5),
		"event for register 2^31": index(1 << 31),
		"last event of RTMR2 cut": log[:parsed.Events[len(parsed.Events)-3].Offset],
		"truncated":               log[:len(log)-1],
		"bytes behind":            append(bytes.Clone(log), 1),
		"empty":                   {},
		"header only":             log[:65],
	} {
		refused(t, name, s.appraise(t, raw))
	}
	// Whoever moves the event to MRTD, which no event extends, has hidden it, and
	// nothing else.
	if a := s.appraise(t, index(0)); eventLogClaim(t, a)["runtime_matched"] != false || a.Facts.Measured[0].Register == "rtmr3" {
		t.Errorf("%v", a.Facts.Measured[0])
	}
}

// A log that was changed anywhere never makes the verdict better, and shows no
// digest that was not measured.
func TestFlippedLog(t *testing.T) {
	s := simulate(t, "machine", sim.Event{RTMR: 3, Type: 6, Data: []byte("run time")})
	log := s.EventLog()
	honest := s.appraise(t, log)
	digests := map[string]bool{}
	for _, m := range honest.Facts.Measured {
		digests[m.Register+m.Digest+m.Content], digests[m.Register+m.Digest] = true, true
	}
	for i := 0; i < len(log); i += 3 {
		changed := bytes.Clone(log)
		changed[i] ^= 1 << (i % 8)
		a := s.appraise(t, changed)
		if honest.Status().WorseThan(a.Status()) || a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
			t.Fatalf("byte %d: %v is better than %v", i, a.Vector, honest.Vector)
		}
		for _, m := range a.Facts.Measured {
			if !digests[m.Register+m.Digest+m.Content] {
				t.Fatalf("byte %d: %+v was never measured", i, m)
			}
		}
		if c, ok := a.Claims["event_log"].(map[string]any); ok && c["secure_boot"] != nil && c["secure_boot"] != true {
			t.Fatalf("byte %d: secure boot is off", i)
		}
	}
}

// crafted is a machine whose registers are what a log gives.
func crafted(t *testing.T, events ...[2]string) (*machine, []byte) {
	t.Helper()
	le := binary.LittleEndian
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 12, 0, 48, 0, 0)
	log := le.AppendUint32(le.AppendUint32(nil, 1), 3)
	log = append(le.AppendUint32(append(log, make([]byte, 20)...), uint32(len(spec))), spec...)
	for _, e := range events {
		var index uint32
		if _, err := fmt.Sscan(e[0], &index); err != nil {
			t.Fatal(err)
		}
		d := sha512.Sum384([]byte(e[1]))
		log = le.AppendUint32(le.AppendUint32(le.AppendUint32(log, index), 0x80000001), 1)
		log = append(le.AppendUint16(log, 12), d[:]...)
		log = append(le.AppendUint32(log, uint32(len(e[1]))), e[1]...)
	}
	l, err := eventlog.Parse(log, eventlog.CC)
	if err != nil {
		t.Fatal(err)
	}
	values, err := l.Replay(eventlog.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	for i := range uint32(registerCount) {
		copy(m.Body[328+48*i:], make([]byte, 48))
		copy(m.Body[328+48*i:], values[i+1])
	}
	return m, log
}

// variable is a UEFI_VARIABLE_DATA of EFI_GLOBAL_VARIABLE.
func variable(name, data string) string {
	out, _ := hex.DecodeString("61dfe48bca93d211aa0d00e098032b8c")
	out = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(out, uint64(len(name))), uint64(len(data)))
	for _, c := range name {
		out = append(out, byte(c), 0)
	}
	return string(append(out, data...))
}

const zeroes = "\x00\x00\x00\x00"

// firm is a policy in which one finding has an effect that no other has, so that
// it can be seen whether it was reported.
func firm(tb testing.TB, finding, parameters string) map[string]*appraisal.Policy {
	tb.Helper()
	row := "sourced-data: 96"
	if finding == "runtime-data-mismatch" { // has a floor in all claims
		row = "all"
		var b strings.Builder
		for n := range verdict.AllClaims(96) {
			fmt.Fprintf(&b, "%s: 96, ", verdict.ClaimName(n))
		}
		row = strings.TrimSuffix(b.String(), ", ")
	}
	p, err := defaults().Parse([]byte(fmt.Sprintf("scheme: intel-tdx\nfindings:\n  %s: {%s}\nparameters: {%s}\n", finding, row, parameters)))
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]*appraisal.Policy{Name: p}
}

// Every finding about what lies beside a quote is reported by some evidence, and
// by none of the others.
func TestLogFindings(t *testing.T) {
	off, offLog := crafted(t, [2]string{"1", variable("SecureBoot", "\x00")}, [2]string{"1", zeroes})
	two, twoLog := crafted(t, [2]string{"1", variable("SecureBoot", "\x01")}, [2]string{"1", zeroes}, [2]string{"1", zeroes})
	none, noneLog := crafted(t, [2]string{"1", "nothing about it"}, [2]string{"1", zeroes})
	for _, c := range []struct {
		finding, reason string
		m               *machine
		log             []byte
		runtime         string
		want            verdict.Claim // of the claim that the finding has by default
		claim           verdict.ClaimName
	}{
		{"secure-boot-off", verdict.ReasonConfiguration, off, offLog, "", 32, verdict.Configuration},
		{"secure-boot-unknown", verdict.ReasonConfiguration, two, twoLog, "", 36, verdict.Configuration},
		{"secure-boot-unknown", verdict.ReasonConfiguration, none, noneLog, "", 36, verdict.Configuration},
		{"event-log-mismatch", verdict.ReasonEventLogMismatch, off, twoLog, "", 33, verdict.Executables},
		{"event-log-malformed", verdict.ReasonEventLogMismatch, off, []byte("log"), "", 33, verdict.Executables},
		{"no-event-log", verdict.ReasonPolicy, off, nil, "", 2, verdict.RuntimeOpaque},
		{"runtime-data-mismatch", verdict.ReasonBindingBroken, off, offLog, `{"keys":[]}`, 99, verdict.Hardware},
	} {
		raw := leaf(c.m.Quote(), c.log, c.runtime)
		for _, f := range logFindings() {
			d := c.m.deps(bundle(t, c.m.Collateral()))
			d.Policies = firm(t, f.Name, "")
			a := appraiseLeaf(t, newTest(t, d), raw, c.m.Body[520:584], c.m.Now)
			seen := a.Vector[verdict.SourcedData] == 96
			if want := f.Name == c.finding; seen != want && !(c.log == nil && f.Name == "no-event-log") {
				t.Errorf("%s: finding %s reported %t, want %t: %v", c.finding, f.Name, seen, want, a.Reasons)
			}
			if f.Name == c.finding && !hasReason(a, c.reason) {
				t.Errorf("%s: %v, want %s", c.finding, a.Reasons, c.reason)
			}
		}
		a := appraiseLeaf(t, newTest(t, c.m.deps(bundle(t, c.m.Collateral()))), raw, c.m.Body[520:584], c.m.Now)
		if a.Vector[c.claim] != c.want || a.Status() == verdict.TierAffirming {
			t.Errorf("%s: %s is %d, want %d: %v", c.finding, c.claim, a.Vector[c.claim], c.want, a.Reasons)
		}
	}
}

// The state of the firmware is refused, and the log still replays.
func TestUnknownStateKeepsFacts(t *testing.T) {
	m, log := crafted(t, [2]string{"1", variable("SecureBoot", "\x01")}, [2]string{"1", zeroes}, [2]string{"1", zeroes})
	a := appraiseLeaf(t, newTest(t, m.deps(nil)), leaf(m.Quote(), log, ""), m.Body[520:584], m.Now)
	if c := eventLogClaim(t, a); c["secure_boot"] != nil || c["events"] != 3 || len(a.Facts.Measured) != 3 {
		t.Errorf("claims %v", c)
	}
}

// Long texts and many events stay within bounds, those of devices first.
func TestBoundsOfLogs(t *testing.T) {
	events := [][2]string{}
	for i := range verdict.MaxMeasuredEvents {
		events = append(events, [2]string{"1", fmt.Sprint("event ", i)})
	}
	events = append(events, [2]string{"2", "SPDM Device Sec2 data"}, [2]string{"4", "run time"})
	m, log := crafted(t, events...)
	a := appraiseLeaf(t, newTest(t, m.deps(nil)), leaf(m.Quote(), log, ""), m.Body[520:584], m.Now)
	c := eventLogClaim(t, a)
	if len(a.Facts.Measured) != verdict.MaxMeasuredEvents || c["events_not_in_facts"] != 2 || c["events"] != len(events) || c["device_events"] != 1 {
		t.Errorf("%d facts, claims %v", len(a.Facts.Measured), c)
	}
	if got := []string{a.Facts.Measured[0].Register, a.Facts.Measured[1].Register, a.Facts.Measured[2].Register}; !reflect.DeepEqual(got, []string{"rtmr1", "rtmr3", "rtmr0"}) {
		t.Errorf("order %v", got)
	}
}

// BenchmarkEvents is a hot appraisal without and with a recorded event log. The
// metric x-without is the ratio of the second to the first.
func BenchmarkEvents(b *testing.B) {
	quote, log := vectors.Read(b, "tdx/go-tdx-guest/ccel/cos-113-tdx-quote.dat"), vectors.Read(b, "tdx/go-tdx-guest/ccel/ccel_data.dat")
	v, nonce, now := newTest(b, verifiers.Deps{}), vectors.Read(b, "tdx/go-tdx-guest/ccel/nonce.dat"), at("2025-07-01")
	bare, full := leaf(quote, nil, ""), leaf(quote, log, "")
	without := timePer(200, func() { appraiseLeaf(b, v, bare, nonce, now) })
	b.ReportAllocs()
	for b.Loop() {
		appraiseLeaf(b, v, full, nonce, now)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/without, "x-without")
}
