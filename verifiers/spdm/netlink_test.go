// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"slices"
	"testing"
)

// dump is what a kernel gives of a device, in pieces of n bytes.
func dump(e *Evidence, measurements []byte, n int) []KernelObject {
	out := []KernelObject{{Type: KernelMeasurements, Generation: 3, Length: uint32(len(measurements)), Chunks: pieces(measurements, n)}}
	for slot, chain := range e.Chains {
		out = append(out, KernelObject{Type: KernelType(slot), Generation: 3, Length: uint32(len(chain)), Chunks: pieces(chain, n)})
	}
	if e.VCA != nil {
		out = append(out, KernelObject{Type: KernelVCA, Generation: 3, Length: uint32(len(e.VCA)), Chunks: pieces(e.VCA, n)})
	}
	if e.Report != nil {
		out = append(out, KernelObject{Type: KernelReport, Generation: 3, Length: uint32(len(e.Report)), Chunks: pieces(e.Report, n)})
	}
	return out
}

func pieces(b []byte, n int) (out [][]byte) {
	for c := range slices.Chunk(b, n) {
		out = append(out, c)
	}
	return out
}

// TestKernel sends the three forms of the measurements object through the dump.
func TestKernel(t *testing.T) {
	for name, opts := range map[string][]func(*device){
		"1.0": {versionOf(Version10)}, "1.1": {versionOf(Version11)}, "1.2": nil, "1.3": {versionOf(Version13)}, "1.4": {versionOf(Version14)},
		"opaque": {func(d *device) { d.opaque, d.data = 1, []byte("opaque") }}, "Ed25519": {func(d *device) { d.asym = Ed25519 }},
	} {
		dev := newDevice(t, opts...)
		for _, attributes := range []byte{1, 3, 5, 7} {
			if attributes != 1 && dev.version < Version12 {
				continue
			}
			request := dev.getMeasurements(attributes, 0xFF, dev.nonce)
			whole := dev.measured(t, request, dev.unsigned(dev.count, dev.blocks))
			e := &Evidence{VCA: dev.vca, Chains: map[uint8][]byte{0: dev.chain}}
			for form, object := range map[string][]byte{
				"request and response": whole, "response": whole[len(request):],
				"negotiation before both": slices.Concat(dev.vca, whole), "negotiation before the response": slices.Concat(dev.vca, whole[len(request):]),
			} {
				for _, vca := range [][]byte{dev.vca, nil} {
					if vca == nil && !bytes.HasPrefix(object, dev.vca) {
						continue
					}
					e.VCA = vca
					got, err := FromKernel("pci:0000:01:00.0", dev.nonce, dump(e, object, 100))
					if err != nil {
						t.Fatal(err)
					}
					before := bytes.Clone(got.Measurements)
					full, err := got.Complete()
					if err != nil {
						t.Errorf("%s, attributes %d, %s: %v", name, attributes, form, err)
						continue
					}
					if !bytes.Equal(full.Measurements, whole) || !bytes.Equal(full.VCA, dev.vca) || !bytes.Equal(got.Measurements, before) {
						t.Errorf("%s, attributes %d, %s: %x", name, attributes, form, full.Measurements)
					}
					if r, err := Verify(full, dev.expect()); err != nil || !r.Fresh || r.Recomputed != (attributes&4 != 0) {
						t.Errorf("%s, attributes %d, %s: %v", name, attributes, form, err)
					}
				}
			}
		}
	}
}

func TestKernelRefused(t *testing.T) {
	dev := newDevice(t)
	request := dev.getMeasurements(1, 0xFF, dev.nonce)
	whole := dev.measured(t, request, dev.unsigned(dev.count, dev.blocks))
	response := whole[len(request):]
	e := &Evidence{VCA: dev.vca, Chains: map[uint8][]byte{0: dev.chain}}
	for name, c := range map[string]struct {
		change func(o []KernelObject) []KernelObject
		kind   Kind
	}{
		"another generation": {func(o []KernelObject) []KernelObject { o[1].Generation = 4; return o }, KindContradiction},
		"twice":              {func(o []KernelObject) []KernelObject { return append(o, o[0]) }, KindMalformed},
		"a piece is missing": {func(o []KernelObject) []KernelObject { o[0].Chunks = o[0].Chunks[1:]; return o }, KindMalformed},
		"empty":              {func(o []KernelObject) []KernelObject { o[0].Chunks, o[0].Length = nil, 0; return o }, KindMalformed},
		"type 11":            {func(o []KernelObject) []KernelObject { o[0].Type = 11; return o }, KindUnsupported},
		"too many pieces":    {func(o []KernelObject) []KernelObject { o[0].Chunks = make([][]byte, MaxKernelChunks+1); return o }, KindMalformed},
		"too long": {func(o []KernelObject) []KernelObject {
			o[0].Chunks, o[0].Length = [][]byte{make([]byte, MaxTranscript), {1}}, 0
			return o
		}, KindMalformed},
	} {
		_, err := FromKernel("", nil, c.change(dump(e, response, 64)))
		if KindOf(err) != c.kind {
			t.Errorf("%s: %v, want kind %s", name, err, c.kind)
		}
	}
	changed := bytes.Clone(response)
	changed[20] ^= 1
	forged := bytes.Clone(response)
	forged[len(forged)-1] ^= 1
	for name, c := range map[string]struct {
		change func(e *Evidence)
		kind   Kind
	}{
		"another nonce":    {func(e *Evidence) { e.Nonce = bytes.Repeat([]byte{1}, 32) }, KindSignature},
		"no nonce":         {func(e *Evidence) { e.Nonce = nil }, KindMissing},
		"changed block":    {func(e *Evidence) { e.Measurements = changed }, KindSignature},
		"forged signature": {func(e *Evidence) { e.Measurements = forged }, KindSignature},
		"padding":          {func(e *Evidence) { e.Measurements = append(bytes.Clone(response), 0) }, KindMalformed},
		"cut":              {func(e *Evidence) { e.Measurements = response[:100] }, KindMalformed},
		"no chain":         {func(e *Evidence) { e.Chains = map[uint8][]byte{1: dev.chain} }, KindSlot},
		"no negotiation":   {func(e *Evidence) { e.VCA = nil }, KindMalformed},
		"another negotiation": {func(e *Evidence) {
			e.VCA, e.Measurements = newDevice(t, versionOf(Version13)).vca, slices.Concat(dev.vca, whole)
		}, KindContradiction},
		"negotiation alone": {func(e *Evidence) { e.Measurements = dev.vca }, KindMissing},
		"two responses":     {func(e *Evidence) { e.Measurements = slices.Concat(response, whole) }, KindMalformed},
	} {
		e := &Evidence{VCA: dev.vca, Nonce: dev.nonce, Chains: map[uint8][]byte{0: dev.chain}, Measurements: response}
		c.change(e)
		if _, err := e.Complete(); KindOf(err) != c.kind {
			t.Errorf("%s: %v, want kind %s", name, err, c.kind)
		}
	}
	plain := &Evidence{Measurements: whole}
	if got, err := plain.Complete(); err != nil || got != plain {
		t.Errorf("complete evidence: %v", err)
	}
}

// TestKernelVectors strips captures to what a kernel may give.
func TestKernelVectors(t *testing.T) {
	n, all := 0, recordings(t)
	for _, r := range all {
		e := r.evidence()
		v, err := ParseVCA(e.VCA)
		if err != nil || e.Measurements == nil || v.Responder.Measurements() != MeasurementsSigned {
			continue
		}
		segments, err := ParseMeasurementTranscript(e.Measurements, v)
		if err != nil || len(segments[0].Exchanges) != 1 || segments[0].Last().Request.Operation != OperationAll {
			continue
		}
		request := segments[0].Last().Request
		got, err := FromKernel(r.name, request.Nonce, dump(e, e.Measurements[len(request.Raw):], 4096))
		if err != nil {
			t.Fatal(err)
		}
		full, err := got.Complete()
		if err != nil || !bytes.Equal(full.Measurements, e.Measurements) {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		n++
	}
	if n < 6 && len(all) >= recordedHere {
		t.Errorf("%d captures", n)
	}
}
