// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// seeds are the recorded files of a name, if the recordings are there.
func seeds(f *testing.F, pattern string) [][]byte {
	f.Helper()
	dir := os.Getenv("ASSIZE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "evidence")
	}
	if os.Getenv("ASSIZE_VECTORS_REQUIRED") != "" {
		dir = vectors.Dir(f)
	}
	files, err := filepath.Glob(filepath.Join(dir, "spdm", pattern))
	if err != nil {
		f.Fatal(err)
	}
	var out [][]byte
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			out = append(out, b)
		}
	}
	return out
}

var fuzzVersions = []Version{Version10, Version11, Version12, Version13, Version14}

// fuzzDevices are devices of every version to parse messages with.
func fuzzDevices(f *testing.F) ([]*device, []*VCA) {
	var devices []*device
	var vcas []*VCA
	for _, version := range fuzzVersions {
		d := newDevice(f, versionOf(version), func(d *device) { d.multi = version >= Version13; d.large = version >= Version14 })
		devices, vcas = append(devices, d), append(vcas, mustVCA(f, d.vca))
	}
	return devices, vcas
}

func FuzzParseVCA(f *testing.F) {
	for _, s := range seeds(f, "v1*/vca.bin") {
		f.Add(s)
	}
	devices, _ := fuzzDevices(f)
	for _, d := range devices {
		f.Add(d.vca)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseVCA(b)
		if err != nil {
			if KindOf(err) == "" {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(v.Raw, b) || v.BaseAsym.SignatureSize() == 0 || v.BaseHash.Size() == 0 {
			t.Fatalf("%+v", v)
		}
	})
}

// FuzzMessages gives the bytes to the parser of every message in every version.
// What is accepted must account for every byte.
func FuzzMessages(f *testing.F) {
	devices, vcas := fuzzDevices(f)
	for i, d := range devices {
		f.Add(uint8(i), d.digests())
		f.Add(uint8(i), d.measurements(f))
		f.Add(uint8(i), d.challenge(f, d.certificates()))
		f.Add(uint8(i), d.certificates())
		f.Add(uint8(i), d.chain)
	}
	for version, folder := range map[uint8]string{1: "v11-p384", 2: "v12-p384", 3: "v13-p384"} {
		for _, name := range []string{"measurements-req.bin", "measurements-rsp.bin", "challenge-req.bin", "challenge-rsp.bin", "certchain-slot0.bin"} {
			for _, s := range seeds(f, folder+"/"+name) {
				f.Add(version, s)
			}
		}
	}
	f.Fuzz(func(t *testing.T, version uint8, b []byte) {
		v := vcas[int(version)%len(vcas)]
		if d, err := ParseDigests(b, v); err == nil && !bytes.Equal(d.Raw, b) {
			t.Fatal("digests")
		}
		if g, err := ParseGetCertificate(b, v); err == nil && !bytes.Equal(g.Raw, b) {
			t.Fatal("get certificate")
		}
		if c, err := ParseCertificate(b, v, &GetCertificate{Length: 0xFFFF}); err == nil && !bytes.Equal(c.Raw, b) {
			t.Fatal("certificate")
		}
		if c, err := ParseChallenge(b, v); err == nil && !bytes.Equal(c.Raw, b) {
			t.Fatal("challenge")
		}
		context := make([]byte, ContextSize)
		if a, err := ParseChallengeAuth(b, v, &Challenge{Summary: SummaryAll, Context: context}); err == nil && !bytes.Equal(a.Raw, b) {
			t.Fatal("challenge auth")
		}
		if g, err := ParseGetMeasurements(b, v); err == nil && !bytes.Equal(g.Raw, b) {
			t.Fatal("get measurements")
		}
		for _, signed := range []bool{false, true} {
			m, err := ParseMeasurements(b, v, &GetMeasurements{Signed: signed, Operation: OperationAll, Context: context})
			if err != nil {
				continue
			}
			n := 0
			for _, x := range m.Blocks {
				n += len(x.Raw)
				x.SVN()
				x.DeviceMode()
			}
			if !bytes.Equal(m.Raw, b) || n != len(m.Record) {
				t.Fatal("measurements")
			}
		}
		if s, err := ParseMeasurementTranscript(b, v); err == nil {
			n := 0
			for _, x := range s {
				n += len(x.Signed) + len(x.Last().Response.Signature)
			}
			if n != len(b) {
				t.Fatal("transcript", n, len(b))
			}
		}
		if c, err := ParseChallengeTranscript(b, v); err == nil && len(c.Signed)+len(c.Response.Signature) != len(b) {
			t.Fatal("challenge transcript")
		}
		if c, err := ParseChain(b, v); err == nil && len(bytes.Join(c.DER, nil))+4+len(c.RootHash) != len(b) {
			t.Fatal("chain")
		}
		_, _ = ParseVendor(b, v.Version)
	})
}

func FuzzReport(f *testing.F) {
	f.Add(sampleReport())
	for _, s := range seeds(f, "v1*/tdisp/interface-report.bin") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseReport(b)
		if err != nil {
			return
		}
		if 20+16*len(p.Ranges)+len(p.Specific) != len(b) {
			t.Fatalf("%+v", p)
		}
		_ = p.CheckRanges()
	})
}

func FuzzTDISP(f *testing.F) {
	for _, s := range seeds(f, "v1*/tdisp/??-*.bin") {
		f.Add(s)
	}
	f.Add([]byte{0x10, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseTDISP(b); err == nil && !bytes.Equal(m.Raw, b) {
			t.Fatal(m)
		}
	})
}

func FuzzLog(f *testing.F) {
	f.Add(sampleLog())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseLog(b)
		if err != nil {
			return
		}
		n := 16
		for _, x := range e {
			n += len(x.Raw)
		}
		if n != len(b) {
			t.Fatal(n, len(b))
		}
	})
}

func FuzzOpaque(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 3, 2, 1, 0, 1, 0, 'x', 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseOpaque(b); err == nil && len(e) != int(b[0]) {
			t.Fatal(e)
		}
	})
}

// FuzzVerify gives mutated containers to the entry point. Only what differs from
// the good evidence in parts that nothing signs may be accepted.
func FuzzVerify(f *testing.F) {
	devices, _ := fuzzDevices(f)
	var signed [][]byte
	for i, d := range devices {
		e := d.evidence(f)
		e.Report = sampleReport()
		raw, err := e.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), raw)
		signed = append(signed, e.Measurements)
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		n := int(i) % len(devices)
		e, err := Decode(b)
		if err != nil {
			return
		}
		r, err := Verify(e, devices[n].expect())
		if err != nil {
			if KindOf(err) == "" {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(e.Measurements, signed[n]) || !r.Fresh {
			t.Fatal("accepted what the device did not sign")
		}
	})
}
