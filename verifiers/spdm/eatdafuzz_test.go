// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"testing"

	"github.com/assize/assize/verifiers/spdm/eatda"
)

// FuzzToken gives mutated tokens to the conversion. What verifies has to be what
// the device signed, whatever the token says beside it.
func FuzzToken(f *testing.F) {
	devices, _ := fuzzDevices(f)
	var signed [][]byte
	for i, d := range devices {
		e := d.evidence(f)
		e.Report = sampleReport()
		raw, err := EncodeToken(tokenNonce, e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), raw)
		signed = append(signed, e.Measurements)
	}
	for _, raw := range seeds(f, "eat-da/*.hex") {
		f.Add(uint8(0), raw)
	}
	f.Fuzz(func(t *testing.T, i uint8, raw []byte) {
		n := int(i) % len(devices)
		all, err := ConvertToken(raw, eatda.Options{Ranges: true}, devices[n].anchor)
		if err != nil {
			if KindOf(err) == "" {
				t.Fatal(err)
			}
			return
		}
		for _, d := range all {
			if (d.Err == nil) != (d.Evidence != nil) || d.Err != nil && KindOf(d.Err) == "" {
				t.Fatal(d.Err)
			}
			if d.Err != nil {
				continue
			}
			if r, err := Verify(d.Evidence, devices[n].expect()); err == nil && (!bytes.Equal(d.Evidence.Measurements, signed[n]) || !r.Fresh) {
				t.Fatal("accepted what the device did not sign")
			}
		}
	})
}

// FuzzKernel gives mutated measurements of a kernel to Complete.
func FuzzKernel(f *testing.F) {
	devices, _ := fuzzDevices(f)
	for i, d := range devices {
		request := d.getMeasurements(1, 0xFF, d.nonce)
		whole := d.measured(f, request, d.unsigned(d.count, d.blocks))
		f.Add(uint8(i), whole)
		f.Add(uint8(i), whole[len(request):])
		f.Add(uint8(i), append(bytes.Clone(d.vca), whole...))
	}
	f.Fuzz(func(t *testing.T, i uint8, measurements []byte) {
		d := devices[int(i)%len(devices)]
		e := &Evidence{VCA: d.vca, Nonce: d.nonce, Chains: map[uint8][]byte{0: d.chain}, Measurements: measurements}
		full, err := e.Complete()
		if err != nil {
			if KindOf(err) == "" {
				t.Fatal(err)
			}
			return
		}
		if n := len(full.Measurements); full != e && !bytes.HasSuffix(measurements, full.Measurements) && (n <= len(measurements) || !bytes.HasSuffix(full.Measurements, measurements)) {
			_, rest, err := SplitVCA(measurements)
			if err != nil || !bytes.HasSuffix(full.Measurements, rest) {
				t.Fatal("the response is not in what the kernel gave")
			}
		}
		if again, err := full.Complete(); err != nil || again != full {
			t.Fatalf("complete evidence is completed again: %v", err)
		}
	})
}

// BenchmarkToken makes evidence of a token of one device, which Verify then takes.
func BenchmarkToken(b *testing.B) {
	raw, err := EncodeToken(tokenNonce, newDevice(b).evidence(b))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if all, err := ConvertToken(raw, eatda.Options{}); err != nil || all[0].Err != nil {
			b.Fatal(err)
		}
	}
}
