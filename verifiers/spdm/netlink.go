// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"slices"
)

// KernelType is the type of an object in the dump of device evidence by Linux
// (generic netlink families "pci-tsm" and "device-evidence"). Types 0 to 7 are the
// certificate chains of the slots of that number.
type KernelType uint32

// The types behind the chains.
const (
	KernelVCA          KernelType = 8
	KernelMeasurements KernelType = 9
	KernelReport       KernelType = 10
)

// KernelObject is one object of a dump, whose value may come in several messages.
type KernelObject struct {
	Type KernelType
	// Generation counts what may change the objects of a device, such as another
	// lock of its interface. The older family has none: it is 0 everywhere then.
	Generation uint64
	// Length is the length of the whole value in bytes, 0 if it is not told, as by
	// the older family.
	Length uint32
	// Chunks are the pieces of the value in order.
	Chunks [][]byte
}

// MaxKernelChunks bounds the pieces of one object.
const MaxKernelChunks = 4096

// FromKernel makes evidence of the objects of one dump: of one device, of one
// generation, each type once, values whole. name and nonce are what the collector
// calls the device, and asked with. The objects are the fields of the container:
// types 0 to 7 are the chains under key 5, 8 is key 4, 9 is key 6 and 10 is key 8.
// The measurements are as the kernel gave them, see Complete.
func FromKernel(name string, nonce []byte, objects []KernelObject) (*Evidence, error) {
	e := &Evidence{Device: name, Nonce: nonce, Chains: map[uint8][]byte{}}
	seen := map[KernelType]bool{}
	for i, o := range objects {
		switch {
		case o.Type > KernelReport:
			return nil, refuse(StageContainer, KindUnsupported, "kernel", "object of type %d, expected 0 to %d", o.Type, KernelReport)
		case seen[o.Type]:
			return nil, refuse(StageContainer, KindMalformed, "kernel", "object of type %d twice", o.Type)
		case i > 0 && o.Generation != objects[0].Generation:
			return nil, differ(StageContainer, KindContradiction, "kernel", "generation of the objects, which changed while they were read", objects[0].Generation, o.Generation)
		}
		seen[o.Type] = true
		value, err := o.value()
		if err != nil {
			return nil, err
		}
		switch o.Type {
		case KernelVCA:
			e.VCA = value
		case KernelMeasurements:
			e.Measurements = value
		case KernelReport:
			e.Report = value
		default:
			e.Chains[uint8(o.Type)] = value
		}
	}
	return e, nil
}

// most is the limit of an object in bytes.
func (t KernelType) most() int {
	switch t {
	case KernelVCA:
		return MaxVCA
	case KernelMeasurements:
		return MaxTranscript
	case KernelReport:
		return MaxReport
	}
	return MaxChain
}

// value joins the chunks.
func (o *KernelObject) value() ([]byte, error) {
	if len(o.Chunks) > MaxKernelChunks {
		return nil, refuse(StageContainer, KindMalformed, "kernel", "object of type %d in %d pieces, at most %d", o.Type, len(o.Chunks), MaxKernelChunks)
	}
	n := 0
	for _, c := range o.Chunks {
		if n += len(c); n > o.Type.most() {
			return nil, refuse(StageContainer, KindMalformed, "kernel", "object of type %d is longer than %d bytes", o.Type, o.Type.most())
		}
	}
	switch {
	case n == 0:
		return nil, refuse(StageContainer, KindMalformed, "kernel", "object of type %d is empty", o.Type)
	case o.Length != 0 && n != int(o.Length):
		return nil, differ(StageContainer, KindMalformed, "kernel", "length of an object", int(o.Length), n)
	}
	return bytes.Join(o.Chunks, nil), nil
}

// completions are the attributes of a request that asks for a signature: with it
// alone, raw bit streams, new measurements, and both.
var completions = [...]byte{1, 3, 5, 7}

// Complete brings the measurements of a collector that passes on what its kernel
// gave it into the one form that Verify takes: requests and responses. Linux
// describes the object as a response, and may put the negotiation, or the request,
// before it. The first two bytes tell: "10 84" begins the negotiation, "1x E0" a
// request, "1x 60" a response.
//
// The request of a bare response is rebuilt with the nonce of the evidence; its
// attributes are not known, and are those of the four possible ones with which the
// signature verifies under the leaf key of the signer's chain. That proves nothing
// about the chain: Verify checks it, and this signature again. If there is none,
// it is KindSignature.
//
// Evidence that is complete is returned as it is; e itself is never changed.
func (e *Evidence) Complete() (*Evidence, error) {
	if len(e.Measurements) < 4 {
		return e, nil
	}
	vca, rest, err := SplitVCA(e.Measurements)
	if err != nil {
		return nil, err
	}
	if vca == nil && Code(rest[1]) != CodeMeasurements {
		return e, nil
	}
	out := *e
	out.Measurements = rest
	switch {
	case vca != nil && len(out.VCA) == 0:
		out.VCA = vca
	case vca != nil && !bytes.Equal(out.VCA, vca):
		return nil, refuse(StageVCA, KindContradiction, "vca", "the negotiation messages before the measurements are not those of the evidence")
	}
	if len(rest) >= 2 && Code(rest[1]) == CodeMeasurements {
		if out.Measurements, err = out.rebuild(rest); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// rebuild puts the request before a response.
func (e *Evidence) rebuild(response []byte) ([]byte, error) {
	v, err := ParseVCA(e.VCA)
	if err != nil {
		return nil, err
	}
	switch {
	case v.Responder.Measurements() != MeasurementsSigned:
		return nil, refuse(StageVCA, KindUnsigned, "vca", "the device does not sign measurements (MEAS_CAP %d)", v.Responder.Measurements())
	case len(e.Nonce) != NonceSize:
		return nil, differ(StageMeasurements, KindMissing, "measurements", "length of the nonce of a request that is not there", NonceSize, len(e.Nonce))
	case len(response) < 4:
		return nil, refuse(StageMeasurements, KindMalformed, "measurements", "a response of %d bytes", len(response))
	}
	slot := response[3] & 0x0F
	raw, ok := e.Chains[slot]
	if !ok {
		return nil, refuse(StageChain, KindSlot, "chain", "slot %d signed, and its chain is not there", slot)
	}
	chain, err := ParseChain(raw, v)
	if err != nil {
		return nil, err
	}
	last := refuse(StageMeasurements, KindSignature, "measurements", "no request that may have been made has an answer with this signature")
	for _, attributes := range completions {
		if attributes != 1 && v.Version < Version12 {
			break // the other attributes are of 1.2
		}
		transcript, err := guess(v, attributes, e.Nonce, slot, response)
		if err != nil {
			return nil, err
		}
		segments, err := ParseMeasurementTranscript(transcript, v)
		if err != nil {
			return nil, err
		}
		if len(segments) != 1 {
			return nil, refuse(StageMeasurements, KindMalformed, "measurements", "more than one response without requests")
		}
		g := &segments[0]
		err = CheckSignature(v, chain.Leaf().PublicKey, PurposeMeasurements, g.Last().Response.Signature, g.L1(v)...)
		if err == nil {
			return transcript, nil
		}
		if KindOf(err) != KindSignature {
			return nil, err
		}
		last.Err = err
	}
	return nil, last
}

// guess writes GET_MEASUREMENTS for all blocks before the response. The context
// of 1.3 is the one that the response echoes, before its signature.
func guess(v *VCA, attributes byte, nonce []byte, slot uint8, response []byte) ([]byte, error) {
	request := append([]byte{byte(v.Version), byte(CodeGetMeasurements), attributes, OperationAll}, nonce...)
	if v.Version >= Version11 {
		request = append(request, slot)
	}
	if v.Version >= Version13 {
		at := len(response) - v.BaseAsym.SignatureSize() - ContextSize
		if at < 4 {
			return nil, refuse(StageMeasurements, KindMalformed, "measurements", "a response of %d bytes", len(response))
		}
		request = append(request, response[at:at+ContextSize]...)
	}
	return slices.Concat(request, response), nil
}
