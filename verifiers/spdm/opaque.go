// SPDX-License-Identifier: Apache-2.0

package spdm

// OpaqueElement is one element of opaque data in format 1. The data are signed,
// but only a known registry and vendor give them a meaning.
type OpaqueElement struct {
	// Registry is the standards body or vendor registry of Vendor (0 DMTF, 1 TCG,
	// 2 USB, 3 PCI-SIG, 4 IANA, ...).
	Registry uint8
	Vendor   []byte
	Data     []byte
}

// ParseOpaque parses opaque data in format 1 (DSP0274 1.2, general opaque data):
// count, three reserved bytes, then elements padded with zeros to four bytes.
func ParseOpaque(b []byte) ([]OpaqueElement, error) {
	r := newReader(StageMeasurements, "opaque", b, MaxOpaque)
	n := int(r.u8("number of elements"))
	r.zero(3, "reserved bytes of opaque data")
	out := make([]OpaqueElement, 0, min(n, len(b)/4))
	for range n {
		if r.err != nil {
			break
		}
		e := OpaqueElement{Registry: r.u8("registry")}
		e.Vendor = r.bytes(int(r.u8("vendor id length")), "vendor id")
		e.Data = r.bytes(int(r.u16("element length")), "element")
		r.zero(-r.at&3, "padding of an opaque element")
		out = append(out, e)
	}
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return out, nil
}

// parseOpaqueField reads length and data of an opaque field and checks the data
// against the negotiated format. Without a format there must be no data.
func parseOpaqueField(r *reader, v *VCA) []byte {
	at := r.at
	n := int(r.u16("opaque length"))
	if n > MaxOpaque {
		r.fail(KindMalformed, at, MaxOpaque, n, "opaque data are too long")
	}
	if n != 0 && v.Version >= Version12 && v.OpaqueFormat == OpaqueNone {
		r.fail(KindMalformed, at, 0, n, "opaque data although no format was negotiated")
	}
	data := r.bytes(n, "opaque data")
	if r.err == nil && n != 0 && v.OpaqueFormat == OpaqueFormat1 {
		if _, err := ParseOpaque(data); err != nil {
			inner := *err.(*Error)
			inner.Stage, inner.Object, inner.Offset = r.stage, r.object, inner.Offset+at+2
			r.err = &inner
		}
	}
	return data
}
