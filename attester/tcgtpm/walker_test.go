// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// walked is one event as the walker reads it.
type walked struct {
	pcr, kind uint32
	digests   map[uint16][]byte
	data      []byte
}

// reader takes little-endian fields from the front of a log; it shares nothing
// with the encoder.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)) {
		r.err = fmt.Errorf("%d bytes wanted, %d left", n, len(r.b))
	}
	if r.err != nil {
		return make([]byte, max(0, min(n, 64)))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }

// walk reads a whole crypto-agile log and refuses anything left over.
func walk(log []byte) ([]walked, error) {
	r := &reader{b: log}
	if r.u32() != 0 || r.u32() != 3 || !bytes.Equal(r.take(20), make([]byte, 20)) {
		return nil, fmt.Errorf("the first event is no EV_NO_ACTION of PCR 0")
	}
	spec := &reader{b: r.take(int(r.u32()))}
	if string(spec.take(16)) != "Spec ID Event03\x00" || spec.u32() != 0 || !bytes.Equal(spec.take(2), []byte{0, 2}) {
		return nil, fmt.Errorf("no specification id event of version 2")
	}
	spec.take(2) // errata, size of UINTN
	sizes := make(map[uint16]int)
	for range spec.u32() {
		sizes[spec.u16()] = int(spec.u16())
	}
	spec.take(int(spec.take(1)[0]))
	if spec.err != nil || len(spec.b) != 0 || r.err != nil {
		return nil, fmt.Errorf("specification id event: %v, %v, %d bytes left", spec.err, r.err, len(spec.b))
	}
	var out []walked
	for len(r.b) > 0 && r.err == nil {
		e := walked{pcr: r.u32(), kind: r.u32(), digests: make(map[uint16][]byte)}
		if n := r.u32(); int(n) != len(sizes) {
			return nil, fmt.Errorf("event %d has %d digests, not %d", len(out), n, len(sizes))
		}
		for range sizes {
			alg := r.u16()
			e.digests[alg] = r.take(sizes[alg])
		}
		e.data = r.take(int(r.u32()))
		out = append(out, e)
	}
	return out, r.err
}

// replayWalked extends the SHA-256 digests of a log.
func replayWalked(events []walked) map[uint32][]byte {
	out := make(map[uint32][]byte)
	for _, e := range events {
		if e.kind == 3 {
			continue
		}
		if out[e.pcr] == nil {
			out[e.pcr] = make([]byte, 32)
		}
		next := sha256.Sum256(bytes.Join([][]byte{out[e.pcr], e.digests[0x0b]}, nil))
		out[e.pcr] = next[:]
	}
	return out
}

// measured is what firmware and boot loader hash for the event types whose
// data contain it; nil for the others.
func measured(e walked) []byte {
	switch e.kind {
	case 0x4, 0x8, 0x80000001, 0x80000006, 0x80000007, 0x800000e0:
		return e.data
	case 0x80000002:
		name := binary.LittleEndian.Uint64(e.data[16:])
		return e.data[32+2*name:]
	case 0xd:
		for _, prefix := range []string{"grub_cmd: ", "kernel_cmdline: "} {
			if text, ok := strings.CutPrefix(strings.TrimRight(string(e.data), "\x00"), prefix); ok {
				return []byte(text)
			}
		}
	}
	return nil
}

// follows checks that the digests of a log are made of its data, and returns
// how many could be checked.
func follows(t *testing.T, events []walked) map[uint32]int {
	t.Helper()
	seen := make(map[uint32]int)
	for i, e := range events {
		m := measured(e)
		if m == nil {
			continue
		}
		if d := sha256.Sum256(m); !bytes.Equal(d[:], e.digests[0x0b]) {
			t.Errorf("event %d, type %#x, PCR %d: the digest is not that of %.40q", i, e.kind, e.pcr, m)
		}
		seen[e.kind]++
	}
	return seen
}

// The walker reads real logs with the same rules as ours.
func TestWalkerOnRecordedLogs(t *testing.T) {
	for _, name := range []string{
		"rhel8-uefi.bin", "ubuntu-2104-no-secure-boot.bin", "ubuntu-2404-amd-sevsnp.bin",
		"confidential-gke-debug-251000_eventlog.bin", "eventlogwithsp800155.bin",
	} {
		t.Run(name, func(t *testing.T) {
			events, err := walk(vectors.Read(t, "vtpm/go-tpm-tools/eventlogs/"+name))
			if err != nil {
				t.Fatal(err)
			}
			if seen := follows(t, events); seen[0x4] < 8 || seen[0x80000001] < 5 || seen[0x80000002] == 0 {
				t.Errorf("only %v could be checked", seen)
			}
		})
	}
}

// A recorded attestation has the log and the PCRs that it replays to.
func TestWalkerReplaysRecordedAttestation(t *testing.T) {
	raw := vectors.Read(t, "vtpm/go-tpm-tools/attestations/gce-cos-85-no-nonce.pb")
	start := bytes.Index(raw, []byte("Spec ID Event03\x00")) - 32
	if start < 3 {
		t.Fatal("no log in the attestation")
	}
	size, n := binary.Uvarint(raw[start-3 : start])
	if n != 3 {
		t.Fatal("no length before the log")
	}
	events, err := walk(raw[start : start+int(size)])
	if err != nil {
		t.Fatal(err)
	}
	rest := raw[start+int(size):]
	rest = append(append([]byte{}, raw[:start]...), rest...)
	for pcr, value := range replayWalked(events) {
		if !bytes.Contains(rest, value) {
			t.Errorf("PCR %d: the TPM does not hold %x", pcr, value)
		}
	}
}

// Our log has the events of a real one, made by the same rules.
func TestLogLikeRecorded(t *testing.T) {
	ours, err := walk(device(t, nil).log)
	if err != nil {
		t.Fatal(err)
	}
	seen := follows(t, ours)
	real, err := walk(vectors.Read(t, "vtpm/go-tpm-tools/eventlogs/ubuntu-2404-amd-sevsnp.bin"))
	if err != nil {
		t.Fatal(err)
	}
	registersOf := func(events []walked) map[[2]uint32]bool {
		out := make(map[[2]uint32]bool)
		for _, e := range events {
			out[[2]uint32{e.kind, e.pcr}] = true
		}
		return out
	}
	known := registersOf(real)
	known[[2]uint32{EvEFIFirmwareBlob, 0}] = true // that machine's firmware is not measured by its host
	for pair := range registersOf(ours) {
		if !known[pair] {
			t.Errorf("no real event of type %#x in PCR %d", pair[0], pair[1])
		}
	}
	for _, kind := range []uint32{EvSeparator, EvCRTMVersion, EvIPL, EvEFIVariableConfig, EvEFIVariableBoot, EvEFIGPT, EvEFIAction, EvEFIVariableAuthority} {
		if seen[kind] == 0 {
			t.Errorf("no event of type %#x could be checked", kind)
		}
	}
}
