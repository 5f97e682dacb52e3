// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/internal/vectors"
)

// layout is what must agree: codes and lengths of messages, with the repeated
// certificate exchanges folded and certificate lengths (names differ) left out.
func layout(n negotiated, c challenged) []message {
	var out []message
	for _, m := range slices.Concat(n.Messages, c.Messages) {
		if m.Code == 0x02 {
			m.Length = 0
		}
		m.Param1, m.Param2 = m.Param1&0xf0, 0 // slots differ
		if m.Code == 0x01 || m.Code == 0x82 || m.Code == 0x02 || m.Code == 0x83 {
			m.Param1 = 0
		}
		if slices.Contains(out, m) {
			continue
		}
		out = append(out, m)
	}
	return out
}

func TestSameLayoutAsReferenceResponder(t *testing.T) {
	for name, o := range map[string]spdm.Options{
		"v11-p384":       {Version: spdm.Version11, Slots: []uint8{0, 1}},
		"v12-p256":       {Version: spdm.Version12, Suite: spdm.SuiteP256, Slots: []uint8{0, 1}},
		"v12-p384":       {Version: spdm.Version12, Slots: []uint8{0, 1}},
		"v13-p384":       {Version: spdm.Version13, MultiKey: true, Slots: []uint8{0, 1, 4}},
		"v13-p384-mh512": {Version: spdm.Version13, MultiKey: true, MeasurementHash: crypto.SHA512, Slots: []uint8{0, 1, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			file := func(f string) []byte { return vectors.Read(t, "spdm/"+name+"/"+f) }
			vca := file("vca.bin")
			n, err := walkVCA(vca)
			if err != nil {
				t.Fatal(err)
			}
			m, err := walkMeasurements(n, slices.Concat(file("measurements-req.bin"), file("measurements-rsp.bin")))
			if err != nil {
				t.Fatal(err)
			}
			auth := file("challenge-rsp.bin")
			c, err := walkChallenge(n, slices.Concat(file("m1.bin")[len(vca):], auth[len(auth)-n.signatureSize():]))
			if err != nil {
				t.Fatal(err)
			}
			dev := device(t, o)
			ours := open(t, evidence(t, dev), 0)

			if got, want := layout(ours.n, ours.ch), layout(n, c); !reflect.DeepEqual(got, want) {
				t.Errorf("messages\n ours %+v\n DMTF %+v", got, want)
			}
			if ours.n.MeasHash != n.MeasHash || ours.n.Asym != n.Asym || ours.n.Hash != n.Hash || ours.n.Other != n.Other {
				t.Errorf("algorithms: ours %+v, DMTF %+v", ours.n, n)
			}
			for i, table := range n.Tables {
				if ours.n.Tables[i][0] != table[0] || (table[0]>>8 != 4 && ours.n.Tables[i] != table) {
					t.Errorf("table %d: ours %04x, DMTF %04x", i, ours.n.Tables[i], table)
				}
			}
			compareBlocks(t, ours.m, m)
			if len(ours.c[10].([]byte)) != len(c.Digests) || !bytes.Equal(ours.c[10].([]byte)[:4], c.Digests[:4]) {
				t.Errorf("DIGESTS: ours %x, DMTF %x", ours.c[10], c.Digests)
			}
			if tail := 4 + 3*n.hashSize(); n.Other&0x10 != 0 && !bytes.Equal(c.Digests[tail+3:], ours.c[10].([]byte)[tail+3:]) {
				t.Errorf("certificate models and key usages: %x", ours.c[10].([]byte)[tail:])
			}
			certs, err := chainCerts(n, file("certchain-slot0.bin"))
			if err != nil {
				t.Fatal(err)
			}
			compareLeaves(t, ours.leaf(), certs[len(certs)-1])
		})
	}
}

// compareBlocks: blocks that both have are alike, and the responses are
// equally long apart from the blocks that only one has.
func compareBlocks(t *testing.T, ours, theirs measured) {
	t.Helper()
	find := func(m measured, index byte) *walkedBlock {
		for i := range m.Blocks {
			if m.Blocks[i].Index == index {
				return &m.Blocks[i]
			}
		}
		return nil
	}
	common := 0
	for _, b := range theirs.Blocks {
		o := find(ours, b.Index)
		if o == nil {
			if b.Index != 17 || ours.Response.Version >= 0x13 {
				t.Errorf("block %d is missing", b.Index)
			}
			continue
		}
		common++
		if o.Spec != b.Spec || o.Type != b.Type || o.Size != b.Size || o.ValueSize != b.ValueSize {
			t.Errorf("block %d: ours %+v, DMTF %+v", b.Index, *o, b)
		}
	}
	if common < 7 {
		t.Errorf("only %d common blocks", common)
	}
	if v := find(ours, 5); v == nil || v.Type != 0x86 {
		t.Error("no firmware version block")
	}
	if ours.Request != theirs.Request || ours.Response.Param2 != theirs.Response.Param2 || ours.Response.Param1 != theirs.Response.Param1 ||
		ours.Response.Length-len(ours.Record) != theirs.Response.Length-len(theirs.Record) || len(ours.Opaque) != len(theirs.Opaque) {
		t.Errorf("frame: ours %+v %+v, DMTF %+v %+v", ours.Request, ours.Response, theirs.Request, theirs.Response)
	}
}

func extension(c *x509.Certificate, id string) []byte {
	for _, e := range c.Extensions {
		if e.Id.String() == id {
			return e.Value
		}
	}
	return nil
}

// names are the otherName values of a subjectAltName by object identifier.
func names(t testing.TB, c *x509.Certificate) map[string]string {
	t.Helper()
	var all asn1.RawValue
	if rest, err := asn1.Unmarshal(extension(c, "2.5.29.17"), &all); err != nil || len(rest) != 0 {
		t.Fatalf("subjectAltName: %v", err)
	}
	out := map[string]string{}
	for rest := all.Bytes; len(rest) > 0; {
		var n struct {
			ID    asn1.ObjectIdentifier
			Value string `asn1:"utf8,explicit,tag:0"`
		}
		var err error
		if rest, err = asn1.UnmarshalWithParams(rest, &n, "tag:0"); err != nil {
			t.Fatal(err)
		}
		out[n.ID.String()] = n.Value
	}
	return out
}

func compareLeaves(t *testing.T, ours, theirs *x509.Certificate) {
	t.Helper()
	const device = "1.3.6.1.4.1.412.274.1"
	const listed = "1.3.6.1.4.1.412.274.6"
	if a, b := names(t, ours)[device], names(t, theirs)[device]; strings.Count(a, ":") != strings.Count(b, ":") || a == "" {
		t.Errorf("otherName: ours %q, DMTF %q", a, b)
	}
	if !bytes.Equal(extension(ours, listed), extension(theirs, listed)) {
		t.Errorf("SPDM extension: ours %x, DMTF %x", extension(ours, listed), extension(theirs, listed))
	}
	if !bytes.Equal(extension(ours, "2.5.29.19"), extension(theirs, "2.5.29.19")) || ours.IsCA {
		t.Errorf("basic constraints: ours %x, DMTF %x", extension(ours, "2.5.29.19"), extension(theirs, "2.5.29.19"))
	}
	if ours.SignatureAlgorithm != theirs.SignatureAlgorithm || ours.Version != theirs.Version || ours.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		t.Errorf("leaf: %v, version %d, key usage %x", ours.SignatureAlgorithm, ours.Version, ours.KeyUsage)
	}
}

func TestInterfaceReportLayout(t *testing.T) {
	raw := vectors.Read(t, "spdm/v12-p384/tdisp/interface-report.bin")
	theirs, err := walkReport(raw)
	if err != nil {
		t.Fatal(err)
	}
	var ranges []spdm.Range
	for _, r := range theirs.Ranges {
		ranges = append(ranges, spdm.Range{Offset: r.First, Pages: r.Pages, Attributes: uint16(r.Attributes), ID: uint16(r.ID)})
	}
	dev := device(t, spdm.Options{TSM: spdm.TSMTDX, Ranges: ranges})
	ours, err := walkReport(dev.InterfaceReport())
	if err != nil {
		t.Fatal(err)
	}
	if len(dev.InterfaceReport()) != len(raw) || ours.Info != theirs.Info || len(ours.Specific) != len(theirs.Specific) {
		t.Errorf("report of %d bytes, information %04x", len(dev.InterfaceReport()), ours.Info)
	}
	base := ours.Ranges[0].First
	for i, r := range ours.Ranges {
		want := theirs.Ranges[i]
		want.First += base // the reference responder adds no reporting base
		if r != want {
			t.Errorf("range %d: %+v, expected %+v", i, r, want)
		}
	}
}

// Offsets of TIO_MSG_TDI_INFO as Linux reads them.
func TestTDIInfoLayout(t *testing.T) {
	for _, suite := range []spdm.Suite{spdm.SuiteP384, spdm.SuiteP256} {
		dev := device(t, spdm.Options{TSM: spdm.TSMSEVTIO, Suite: suite, Function: 0x4108})
		raw := evidence(t, dev)
		info := rawContainer(t, raw)[9].(map[any]any)
		b := info[uint64(2)].([]byte)
		if len(b) != 192 || info[uint64(1)] != "sev-tio-tdi-info" || info[uint64(3)] != uint64(2) || info[uint64(4)] != uint64(7) {
			t.Fatalf("TSM information %v", info)
		}
		sums, err := dev.Digests(raw)
		if err != nil {
			t.Fatal(err)
		}
		if binary.LittleEndian.Uint64(b) != 0x4108 || u16(b[8:]) != 0 || u32(b[16:]) != 3 || u32(b[20:]) != 7 ||
			b[26] != map[spdm.Suite]byte{spdm.SuiteP384: 2, spdm.SuiteP256: 1}[suite] || b[25] != 1 {
			t.Errorf("head %x", b[:32])
		}
		for at, want := range map[int][]byte{32: sums.Certificates, 80: sums.Measurements, 128: sums.Report} {
			if len(want) != 48 || !bytes.Equal(b[at:at+48], want) {
				t.Errorf("digest at %d: %x, expected %x", at, b[at:at+48], want)
			}
		}
		o := open(t, raw, 0)
		if !bytes.Equal(sums.Measurements, digestOf(crypto.SHA384, o.transcript)) || !bytes.Equal(sums.Certificates, digestOf(crypto.SHA384, o.chain)) ||
			!bytes.Equal(sums.Report, digestOf(crypto.SHA384, o.c[8].([]byte))) || !bytes.Equal(sums.VCA, digestOf(crypto.SHA384, o.c[4].([]byte))) ||
			!bytes.Equal(sums.TSMInfo, digestOf(crypto.SHA384, b)) {
			t.Error("digests are not those of the container's objects")
		}
	}
}

// Records of DEVICE_INFO_DATA as the Linux preview for TDX Connect reads them.
func TestDeviceInfoLayout(t *testing.T) {
	dev := device(t, spdm.Options{TSM: spdm.TSMTDX, Slots: []uint8{0, 2}})
	o := open(t, evidence(t, dev), 0)
	w := &walker{b: o.c[9].(map[any]any)[uint64(2)].([]byte)}
	w.take(4)
	var bodies [][]byte
	for w.err == nil && len(w.b) > 0 {
		head := w.take(24)
		bodies = append(bodies, w.take(u16(head[2:])-24))
		w.take((8 - u16(head[2:])%8) % 8)
	}
	if w.err != nil || len(bodies) != 7 {
		t.Fatalf("%d records, %v", len(bodies), w.err)
	}
	for i, size := range []int{68, 7, 9, 44, -1, 13 + len(o.m.Record), 36} {
		if size >= 0 && len(bodies[i]) != size {
			t.Errorf("record %d has %d bytes, expected %d", i, len(bodies[i]), size)
		}
	}
	certs := &walker{b: bodies[4][4:]}
	for slot := range uint8(8) {
		if got := certs.take(u16(certs.take(2))); !bytes.Equal(got, dev.ChainStructure(slot)) {
			t.Errorf("slot %d: chain of %d bytes", slot, len(got))
		}
	}
	if certs.err != nil || len(certs.b) != 0 || !bytes.Equal(bodies[5][13:], o.m.Record) {
		t.Error("certificates or measurements")
	}
	if c := bodies[3]; c[4] != 0x12 || u32(c[20:]) != o.n.MeasHash || u32(c[24:]) != o.n.Hash || u32(c[28:]) != o.n.Asym {
		t.Errorf("connection %x", c)
	}
}
