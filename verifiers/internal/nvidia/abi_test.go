// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"

	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

const recordedNonce = "4cff7f5380ead8fad8ec2c531c110aca4302a88f603792801a8ca29ee151af2e"

// unsigned encodes request and response up to the signature.
func unsigned(nonce []byte, blocks []Block, fields []Field) []byte {
	var b []nvidiatest.Block
	for _, x := range blocks {
		b = append(b, nvidiatest.Block(x))
	}
	var f []nvidiatest.Field
	for _, x := range fields {
		f = append(f, nvidiatest.Field(x))
	}
	return nvidiatest.Unsigned(nonce, b, f)
}

// recorded is the report of a real H100 (driver 545.00).
func recorded(tb testing.TB) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.TrimSpace(string(mocks.AttestationReportData)))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestParseRecordedReport(t *testing.T) {
	raw := recorded(t)
	r, err := ParseReport(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Blocks) != 64 || len(r.Opaque) != 12 || r.Padding != 0 || len(r.Signed)+SignatureSize != len(raw) {
		t.Fatalf("%d blocks, %d fields, padding %d, signed %d of %d", len(r.Blocks), len(r.Opaque), r.Padding, len(r.Signed), len(raw))
	}
	if hex.EncodeToString(r.Nonce) != recordedNonce || !bytes.Equal(append(bytes.Clone(r.Signed), r.Signature...), raw) {
		t.Fatalf("nonce %x", r.Nonce)
	}
	for i, b := range r.Blocks {
		if int(b.Index) != i+1 || b.Type != 1 || len(b.Value) != 48 {
			t.Fatalf("block %d: %+v", i, b)
		}
	}
	driver, ok := Find(r.Opaque, OpaqueDriver)
	if s, err := Text(driver.Value, true); !ok || err != nil || s != "545.00" {
		t.Fatalf("driver %q, %v", s, err)
	}
	if _, ok := Find(r.Opaque, OpaqueFWID); ok {
		t.Fatal("a field that is not there is found")
	}
}

func TestParseRejects(t *testing.T) {
	raw := recorded(t)
	const resp = requestSize
	record := int(raw[resp+5]) | int(raw[resp+6])<<8 | int(raw[resp+7])<<16
	first := resp + responseHeader
	second := first + 55
	opaqueLength := first + record + NonceSize
	for name, change := range map[string]func(b []byte) []byte{
		"empty":                       func([]byte) []byte { return nil },
		"request version":             set(0, 0x12),
		"request code":                set(1, 0xE1),
		"no signature wanted":         set(2, 0),
		"one measurement wanted":      set(3, 1),
		"slot":                        set(36, 1),
		"response version":            set(resp, 0x10),
		"response code":               set(resp+1, 0x7F),
		"response param1":             set(resp+2, 1),
		"response param2":             set(resp+3, 1),
		"no blocks":                   set(resp+4, 0),
		"one block less":              set(resp+4, 63),
		"one block more":              set(resp+4, 65),
		"record one longer":           set(resp+5, raw[resp+5]+1),
		"record far longer":           set(resp+7, 0xFF),
		"index zero":                  set(first, 0),
		"index 255":                   set(first, 255),
		"index twice":                 set(second, 1),
		"not DMTF":                    set(first+1, 2),
		"block size off by one":       set(first+2, 52),
		"value size off by one":       set(first+5, 47),
		"value size of 2^16-3":        set(first+6, 0xFF),
		"opaque one shorter":          set(opaqueLength, raw[opaqueLength]-1),
		"opaque one longer":           set(opaqueLength, raw[opaqueLength]+1),
		"opaque far longer":           set(opaqueLength+1, 0xFF),
		"opaque type twice":           set(opaqueLength+2+12, 6),
		"opaque type invalid":         set(opaqueLength+2, 255),
		"opaque field longer":         set(opaqueLength+5, 0xFF),
		"one byte short":              func(b []byte) []byte { return b[:len(b)-1] },
		"trailing byte":               func(b []byte) []byte { return append(b, 1) },
		"zeros, then a trailing byte": func(b []byte) []byte { return append(b, 0, 0, 1) },
		"too much padding":            func(b []byte) []byte { return append(b, make([]byte, MaxPadding+1)...) },
		"too large":                   func(b []byte) []byte { return make([]byte, MaxReport+1) },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseReport(change(bytes.Clone(raw)))
			if err == nil {
				t.Fatalf("accepted: %d blocks, %d fields", len(r.Blocks), len(r.Opaque))
			}
			if !strings.HasPrefix(err.Error(), "nvidia: ") {
				t.Error(err)
			}
		})
	}
	for n := range raw {
		if _, err := ParseReport(raw[:n]); err == nil {
			t.Fatalf("cut to %d of %d bytes and accepted", n, len(raw))
		}
	}
	for n := 1; n <= MaxPadding; n++ {
		if r, err := ParseReport(append(bytes.Clone(raw), make([]byte, n)...)); err != nil || r.Padding != n {
			t.Errorf("padding of %d: %v", n, err)
		}
	}
}

func set(at int, v byte) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] = v
		return b
	}
}

// A duplicate that changes no length must be seen by its type alone.
func TestParseRejectsDuplicateFields(t *testing.T) {
	msg := unsigned(make([]byte, NonceSize), []Block{{1, 1, []byte{1}}}, []Field{{7, []byte{1}}, {8, nil}, {7, []byte{1}}})
	if _, err := ParseReport(append(msg, make([]byte, SignatureSize)...)); err == nil || !strings.Contains(err.Error(), "type 7 occurs twice") {
		t.Fatal(err)
	}
}

// Raw and digest values of any length, as newer firmware mixes them.
func TestParseMixedBlocks(t *testing.T) {
	in := []Block{{2, 0x81, []byte{1, 2, 3}}, {1, 0x02, make([]byte, 48)}, {0xFD, 0x83, nil}}
	msg := unsigned(make([]byte, NonceSize), in, nil)
	r, err := ParseReport(append(msg, make([]byte, SignatureSize)...))
	if err != nil || len(r.Blocks) != 3 || r.Blocks[2].Index != 0xFD || !bytes.Equal(r.Blocks[0].Value, in[0].Value) || r.Opaque != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if m := measured(r.Blocks); len(m) != 1 || m["1"] != "010203" {
		t.Fatalf("%v", m)
	}
}

func FuzzReport(f *testing.F) {
	f.Add(recorded(f))
	f.Add(unsigned(make([]byte, NonceSize), []Block{{1, 1, []byte{1}}}, []Field{{6, make([]byte, 8)}, {200, nil}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseReport(raw)
		if err != nil {
			return
		}
		// Everything that was read must encode to what was read.
		msg := unsigned(r.Nonce, r.Blocks, r.Opaque)
		at := len(r.Signed) - NonceSize - 2
		for _, o := range r.Opaque {
			at -= 4 + len(o.Value)
		}
		copy(msg[at:], r.ResponderNonce)
		if !bytes.Equal(msg, r.Signed) || len(r.Signed)+SignatureSize+r.Padding != len(raw) {
			t.Fatalf("parsed %d bytes, %d come back", len(r.Signed), len(msg))
		}
		for _, f := range r.Opaque {
			if s, err := Text(f.Value, false); err == nil && (strings.ContainsAny(s, "/\\%?#\x00\n ") || len(s) > maxText) {
				t.Fatalf("text %q", s)
			}
		}
	})
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{"590.12\x00": "590.12", "A_b-9.": "A_b-9.", "\x00\x00": "", strings.Repeat("x", 64): strings.Repeat("x", 64)} {
		if got, err := Text([]byte(in), false); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"../x", "a\x00b", "a b", "ä", "%41", strings.Repeat("x", 65), "\x80"} {
		if got, err := Text([]byte(in), false); err == nil {
			t.Errorf("%q is %q", in, got)
		}
	}
	if _, err := Text([]byte{0}, true); err == nil {
		t.Error("an empty text passes for one that is required")
	}
}
