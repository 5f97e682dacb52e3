// SPDX-License-Identifier: Apache-2.0

package inteltdx_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/internal/vectors"
)

type logEvent struct {
	register, kind uint32
	digest, data   []byte
}

// readLog parses an event log whose only algorithm is SHA-384, without any code
// of the package under test.
func readLog(raw []byte) (specID []byte, events []logEvent, err error) {
	var failed error
	take := func(n int) []byte {
		if n < 0 || n > len(raw) {
			failed = errors.New("log is cut short")
			return make([]byte, 64)
		}
		v := raw[:n]
		raw = raw[n:]
		return v
	}
	u32 := func() uint32 { return binary.LittleEndian.Uint32(take(4)) }
	first := logEvent{register: u32(), kind: u32(), digest: take(20)}
	specID = take(int(u32()))
	if first.kind != 3 || len(bytes.Trim(first.digest, "\x00")) != 0 {
		return nil, nil, fmt.Errorf("first record %+v", first)
	}
	for failed == nil && len(raw) > 0 && !bytes.HasPrefix(raw, []byte{0xff, 0xff, 0xff, 0xff}) {
		e := logEvent{register: u32(), kind: u32()}
		if n, alg := u32(), binary.LittleEndian.Uint16(take(2)); failed == nil && (n != 1 || alg != 0xc) {
			return nil, nil, fmt.Errorf("event %d has %d digests, the first of algorithm %#x", len(events), n, alg)
		}
		e.digest = take(48)
		e.data = take(int(u32()))
		events = append(events, e)
	}
	return specID, events, failed
}

// replay extends from zero; register 0 is MRTD.
func replay(events []logEvent) (rtmr [4][]byte, err error) {
	for i := range rtmr {
		rtmr[i] = make([]byte, 48)
	}
	for i, e := range events {
		if e.register < 1 || e.register > 4 {
			return rtmr, fmt.Errorf("event %d is for register %d", i, e.register)
		}
		v := sha512.Sum384(append(rtmr[e.register-1], e.digest...))
		rtmr[e.register-1] = v[:]
	}
	return rtmr, nil
}

func quoted(tb testing.TB, raw []byte) (rtmr [4][]byte) {
	body := split(tb, raw).body
	for i := range rtmr {
		rtmr[i] = body[328+48*i : 376+48*i]
	}
	return rtmr
}

// TestRecordedLog: the replay of this test holds for a real machine, so what it
// says of simulated ones counts.
func TestRecordedLog(t *testing.T) {
	specID, events, err := readLog(vectors.Read(t, "tdx/go-tdx-guest/ccel/ccel_data.dat"))
	if err != nil {
		t.Fatal(err)
	}
	have, err := replay(events)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range quoted(t, vectors.Read(t, "tdx/go-tdx-guest/ccel/cos-113-tdx-quote.dat")) {
		if !bytes.Equal(have[i], want) {
			t.Errorf("RTMR%d is %x, quoted %x", i, have[i], want)
		}
	}
	_, simulated, err := readLog(newDevice(t, options()).EventLog())
	if err != nil {
		t.Fatal(err)
	}
	if own, _, _ := readLog(newDevice(t, options()).EventLog()); !bytes.Equal(own, specID) {
		t.Errorf("first record %x, recorded %x", own, specID)
	}
	// Every kind of event that is simulated happens in reality, in the same
	// register, and with a digest over the same part of it.
	type place struct{ register, kind uint32 }
	hashed := func(e logEvent, raw []byte) bool { d := sha512.Sum384(raw); return bytes.Equal(d[:], e.digest) }
	rule := func(e logEvent) string {
		switch {
		case hashed(e, e.data):
			return "data"
		case e.kind == 0x80000002:
			if n := binary.LittleEndian.Uint64(e.data[16:]); hashed(e, e.data[32+2*n:]) {
				return "contents of the variable"
			}
		}
		return "something else"
	}
	rules := map[place]string{}
	for _, e := range events {
		rules[place{e.register, e.kind}] = rule(e)
	}
	for _, e := range simulated {
		if want, ok := rules[place{e.register, e.kind}]; !ok || rule(e) != want {
			t.Errorf("event type %#x in register %d: digest over %s, recorded %q", e.kind, e.register, rule(e), want)
		}
	}
}

// TestReplay: the log gives exactly the registers of quote and reference values.
func TestReplay(t *testing.T) {
	o := options()
	o.Events = []inteltdx.Event{
		{RTMR: 3, Type: 0x80000000, Data: []byte("app-compose\x00digest")},
		{RTMR: 3, Type: 0xd, Data: []byte("shown"), Measured: []byte("measured")},
		{RTMR: 2, Type: 0xd, Data: []byte("initrd")},
		{RTMR: 3, Type: 0x80000000},
	}
	for form, q := range forms {
		o.Quote = q
		d := newDevice(t, o)
		_, events, err := readLog(d.EventLog())
		if err != nil {
			t.Fatal(err)
		}
		have, err := replay(events)
		if err != nil {
			t.Fatal(err)
		}
		want := quoted(t, quote(t, d, reportData("n")))
		for i := range have {
			if !bytes.Equal(have[i], want[i]) {
				t.Errorf("%s: RTMR%d is %x, quoted %x", form, i, have[i], want[i])
			}
		}
		last := events[len(events)-len(o.Events):]
		for i, e := range o.Events {
			measured := e.Data
			if e.Measured != nil {
				measured = e.Measured
			}
			digest := sha512.Sum384(measured)
			if g := last[i]; g.register != uint32(e.RTMR)+1 || g.kind != e.Type || !bytes.Equal(g.data, e.Data) || !bytes.Equal(g.digest, digest[:]) {
				t.Errorf("event %d is %+v", i, g)
			}
		}
	}
}

// TestReplayOfFaults: RTMR3 is zero without events, registers set outright
// have a log only if they are what the events give, and a flipped register
// disagrees with its log.
func TestReplayOfFaults(t *testing.T) {
	o := options()
	plain := newDevice(t, o)
	var registers [4][]byte
	for _, m := range plain.Measurements() {
		var i int
		if n, _ := fmt.Sscanf(m.Name, "rtmr%d", &i); n == 1 {
			registers[i] = m.Digest
		}
	}
	if len(bytes.Trim(registers[3], "\x00")) != 0 {
		t.Errorf("RTMR3 is %s", hex.EncodeToString(registers[3]))
	}
	o.RTMR = registers
	if !bytes.Equal(newDevice(t, o).EventLog(), plain.EventLog()) {
		t.Error("no log for the registers that the events give")
	}
	for i := range o.RTMR {
		o.RTMR = registers
		o.RTMR[i] = bytes.Repeat([]byte{9}, 48)
		if newDevice(t, o).EventLog() != nil {
			t.Errorf("a log that does not give RTMR%d", i)
		}
	}
	o = options()
	o.Measurement = true
	d := newDevice(t, o)
	_, events, err := readLog(d.EventLog())
	if err != nil {
		t.Fatal(err)
	}
	have, _ := replay(events)
	for i, q := range quoted(t, quote(t, d, reportData("n"))) {
		if bytes.Equal(have[i], q) == (i == 2) {
			t.Errorf("RTMR%d: replayed %x, quoted %x", i, have[i], q)
		}
	}
}
