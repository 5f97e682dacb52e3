// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/internal/limits"
)

// manyLabels is a JSON collection of n entries.
func manyLabels(n int) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"k%d":["a/b","AQ"]`, i)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func manyLabelsCBOR(n int) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xb9}, uint16(n))
	for i := range n {
		b = append(appendInt(b, int64(i)), 0x82, 0x63, 'a', '/', 'b', 0x41, 1)
	}
	return b
}

// bombs are hostile inputs: want is the rule that stops them.
func bombs() map[string]struct {
	raw  []byte
	o    Options
	want string
} {
	type bomb = struct {
		raw  []byte
		o    Options
		want string
	}
	wide := Options{Limits: limits.Evidence{Labels: 30000, Leaves: 30000}}
	nest := []byte(rec1)
	for i := 0; i < 30; i++ {
		next, err := EncodeJSON(Record(MediaType{Base: TypeCMWJSON}, nest, 0))
		if err != nil || len(next) > 8<<20 {
			break
		}
		nest = next
	}
	const many = 1 << 18
	return map[string]bomb{
		"json depth":            {bytes.Repeat([]byte(`{"a":`), many), Options{}, "limit-depth"},
		"json array depth":      {bytes.Repeat([]byte(`[`), many), Options{}, "CMW-05"},
		"cbor depth":            {bytes.Repeat([]byte{0xa1, 0x61, 'a'}, many), Options{}, "limit-depth"},
		"cbor array depth":      {bytes.Repeat([]byte{0x82}, many), Options{}, "CMW-05"},
		"cbor tag depth":        {bytes.Repeat([]byte{0xda, 0x63, 0x74, 0x01, 0x3d}, many), Options{}, "CMW-33"},
		"embedded depth":        {nest, Options{}, "limit-depth"},
		"20000 members":         {manyLabels(20000), Options{}, "limit-labels"},
		"20000 members cbor":    {manyLabelsCBOR(20000), Options{}, "limit-labels"},
		"20000 members wanted":  {manyLabels(20000), wide, ""},
		"20000 ints wanted":     {manyLabelsCBOR(20000), wide, ""},
		"20000 duplicates":      {[]byte("{" + strings.Repeat(`"a":["a/b","AQ"],`, 20000) + `"a":["a/b","AQ"]}`), wide, "CMW-19"},
		"blanks":                {bytes.Repeat([]byte{' '}, many), Options{}, "syntax"},
		"huge ind":              {[]byte(`["a/b","AQ",1` + strings.Repeat("0", many) + "]"), Options{}, "CMW-13"},
		"huge type":             {[]byte(`["a/` + strings.Repeat("b", many) + `","AQ"]`), Options{}, "limit-media-type"},
		"huge label":            {[]byte(`{"` + strings.Repeat("b", many) + `":["a/b","AQ"]}`), Options{}, "limit-label"},
		"huge blank label":      {[]byte(`{"` + strings.Repeat(" ", many) + `":["a/b","AQ"]}`), Options{}, "CMW-21"},
		"huge value":            {[]byte(`["a/b","` + strings.Repeat("A", 8*many) + `"]`), Options{}, "limit-leaf"},
		"escaped value":         {[]byte(`["a/b","` + strings.Repeat(`\u0041`, many/2) + `"]`), Options{}, ""},
		"chunks":                {append(append([]byte("\x82\x63a/b\x5f"), bytes.Repeat([]byte{0x41, 1}, many/2)...), 0xff), Options{}, ""},
		"empty chunks":          {append(append([]byte("\x82\x63a/b\x5f"), bytes.Repeat([]byte{0x40}, many)...), 0xff), Options{}, "CMW-29"},
		"cose unprotected":      {append([]byte{0xd2, 0x84, 0x40}, bytes.Repeat([]byte{0xa1, 0x01}, many)...), Options{}, "CMW-39"},
		"jws dots":              {append([]byte("e"), bytes.Repeat([]byte{'.'}, many)...), Options{}, "CMW-39"},
		"sniffed object":        {[]byte(`{` + strings.Repeat(`"x":1,`, many) + `"y":1}`), Options{}, "CMW-24"},
		"ratsd skip":            {[]byte(`{"eat_profile":"x","y":` + strings.Repeat("[", many)), Options{}, "ratsd"},
		"64-bit length":         {[]byte("\x82\x63a/b\x5b\xff\xff\xff\xff\xff\xff\xff\xff"), Options{}, "syntax"},
		"64-bit members":        {[]byte("\xbb\xff\xff\xff\xff\xff\xff\xff\xff"), Options{}, "limit-labels"},
		"indefinite definite":   {[]byte("\xbf\x61a\x82\x63a/b\x41\x01"), Options{}, "syntax"},
		"trailing after a tree": {append(manyLabels(200), bytes.Repeat([]byte{'x'}, many)...), Options{}, "CMW-03"},
	}
}

// TestBombs has a bound that only quadratic work can miss, also under the race
// detector; BenchmarkParseBomb has the figures.
func TestBombs(t *testing.T) {
	for name, b := range bombs() {
		t.Run(name, func(t *testing.T) {
			best := time.Hour
			for range 3 { // other processes may disturb one run
				start := time.Now()
				wantRule(t, b.raw, b.o, b.want)
				best = min(best, time.Since(start))
			}
			if best > 5*time.Second {
				t.Errorf("took %v for %d bytes", best, len(b.raw))
			}
		})
	}
}

// machine builds a composite of n leaves of size bytes, in groups of ten where
// n is larger.
func machine(tb testing.TB, n, size int) Item {
	tb.Helper()
	leaf := func(i int) Entry {
		value := make([]byte, size)
		for j := range value {
			value[j] = byte(i*31 + j*7)
		}
		mt := MediaType{Base: "application/vnd.veraison.tsm-report+cbor"}
		return Entry{Label: "device-" + strconv.Itoa(i), Item: Record(mt, value, IndEvidence)}
	}
	var top []Entry
	if n <= 10 {
		for i := range n {
			top = append(top, leaf(i))
		}
		return Collection("tag:example.com,2026:machine", top...)
	}
	for g := range n / 10 {
		var group []Entry
		for i := range 10 {
			group = append(group, leaf(g*10+i))
		}
		top = append(top, Entry{Label: "group-" + strconv.Itoa(g), Item: Collection("", group...)})
	}
	return Collection("tag:example.com,2026:machine", top...)
}

func benchmarkParse(b *testing.B, n int, enc func(Item) ([]byte, error)) {
	raw, err := enc(machine(b, n, 5000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		t, err := Parse(raw, Options{})
		if err != nil || len(t.leaves) != n {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseJSON3x5k(b *testing.B)  { benchmarkParse(b, 3, EncodeJSON) }
func BenchmarkParseJSON70x5k(b *testing.B) { benchmarkParse(b, 70, EncodeJSON) }
func BenchmarkParseCBOR3x5k(b *testing.B)  { benchmarkParse(b, 3, EncodeCBOR) }
func BenchmarkParseCBOR70x5k(b *testing.B) { benchmarkParse(b, 70, EncodeCBOR) }

func BenchmarkEncodeCBOR70x5k(b *testing.B) {
	it := machine(b, 70, 5000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeCBOR(it); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseBomb is the cost of refusing hostile input.
func BenchmarkParseBomb(b *testing.B) {
	for name, bomb := range bombs() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(bomb.raw, bomb.o); (err == nil) != (bomb.want == "") {
					b.Fatal(err)
				}
			}
		})
	}
}
