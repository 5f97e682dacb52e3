// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/assize/assize/attester/nvidia"
)

func TestChainsAsRecorded(t *testing.T) {
	o := options("c")
	o.Arch = nvidia.Blackwell
	sameCertificates(t, gpu(t, o).Chain(), parse(t, recordings(t, blackwell)[0].Certificate), false)
	sameCertificates(t, gpu(t, options("c")).Chain(), parse(t, recordings(t, ppcieDir+"gpu_evidence.json")[0].Certificate), false)
	sameCertificates(t, nvswitch(t, options("c")).Chain(), parse(t, recordings(t, ppcieDir+"switch_evidence.json")[0].Certificate), false)
}

// sameCertificates compares what a parser shows and the order in which it is
// written: names but for the maker's, validity, extensions.
func sameCertificates(t *testing.T, got, want []*x509.Certificate, sizesDiffer bool) {
	t.Helper()
	if len(got) != 5 || len(want) != 5 {
		t.Fatalf("%d certificates, recorded %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if i < 4 && g.Subject.CommonName != w.Subject.CommonName || len(g.Subject.SerialNumber) != len(w.Subject.SerialNumber) || !slices.Equal(attributes(g), attributes(w)) {
			t.Errorf("certificate %d: subject %s, recorded %s", i, g.Subject, w.Subject)
		}
		if !g.NotBefore.Equal(w.NotBefore) || !g.NotAfter.Equal(w.NotAfter) || g.SignatureAlgorithm != w.SignatureAlgorithm || g.KeyUsage != w.KeyUsage ||
			len(g.SerialNumber.Bytes()) != len(w.SerialNumber.Bytes()) || g.Version != w.Version {
			t.Errorf("certificate %d: %s..%s, recorded %s..%s", i, g.NotBefore, g.NotAfter, w.NotBefore, w.NotAfter)
		}
		if !reflect.DeepEqual(g.OCSPServer, w.OCSPServer) || !reflect.DeepEqual(g.CRLDistributionPoints, w.CRLDistributionPoints) {
			t.Errorf("certificate %d: OCSP %v, CRL %v", i, g.OCSPServer, g.CRLDistributionPoints)
		}
		if len(g.Extensions) != len(w.Extensions) {
			t.Fatalf("certificate %d: %d extensions, recorded %d", i, len(g.Extensions), len(w.Extensions))
		}
		for j, e := range g.Extensions {
			f := w.Extensions[j]
			if !e.Id.Equal(f.Id) || e.Critical != f.Critical || len(e.Value) != len(f.Value) && !sizesDiffer {
				t.Errorf("certificate %d: extension %d is %v, %d bytes, recorded %v, %d", i, j, e.Id, len(e.Value), f.Id, len(f.Value))
			}
			if constant := e.Id.String(); (constant == "2.5.29.15" || constant == "2.5.29.19") && !bytes.Equal(e.Value, f.Value) {
				t.Errorf("certificate %d: extension %v is %x, recorded %x", i, e.Id, e.Value, f.Value)
			}
		}
	}
	for _, c := range [][]*x509.Certificate{got, want} {
		leaf, id := c[0].SerialNumber.Bytes(), c[0].SubjectKeyId
		if leaf[0] != id[0]&0x3F|0x40 || !bytes.Equal(leaf[1:], id[1:]) || fmt.Sprintf("%X", leaf) != c[0].Subject.SerialNumber ||
			fmt.Sprintf("%X", c[1].SerialNumber) != c[1].Subject.SerialNumber {
			t.Errorf("serial numbers %x, %x; names %s, %s", leaf, c[1].SerialNumber, c[0].Subject, c[1].Subject)
		}
	}
}

// attributes are types and string types of a subject, in order.
func attributes(c *x509.Certificate) (out []string) {
	for b := c.RawSubject[2:]; len(b) > 0; b = b[2+int(b[1]):] {
		// SET, SEQUENCE, OID of three bytes, string
		out = append(out, fmt.Sprintf("%x %x", b[4:9], b[9]))
	}
	return out
}

// Debug is one bit of the DICE flags.
func TestDebugFlag(t *testing.T) {
	info := func(debug bool) []byte {
		o := options("f")
		o.Arch, o.Debug = nvidia.Blackwell, debug
		return tcbInfo(t, gpu(t, o).Chain()[0])
	}
	flags := func(info []byte) []byte { return info[bytes.LastIndex(info, []byte{0x87, 5, 0})+3:][:4] }
	honest, faulty := info(false), info(true)
	if !bytes.Equal(flags(honest), []byte{0x80, 0, 0, 1}) || !bytes.Equal(flags(faulty), []byte{0x90, 0, 0, 1}) {
		t.Errorf("flags %x, with debug %x", flags(honest), flags(faulty))
	}
	flags(faulty)[0] ^= 0x10
	if !bytes.Equal(honest, faulty) {
		t.Error("debug changed more than one bit")
	}
}

// Honest DiceTcbInfo is the recorded one but for the digest in it.
func TestTCBInfoAsRecorded(t *testing.T) {
	o := options("f")
	o.Arch = nvidia.Blackwell
	got := tcbInfo(t, gpu(t, o).Chain()[0])
	want := tcbInfo(t, parse(t, recordings(t, blackwell)[0].Certificate)[0])
	at := bytes.Index(want, []byte{4, 48}) + 2
	copy(want[at:], got[at:at+48])
	if !bytes.Equal(got, want) {
		t.Errorf("%x, recorded with our digest %x", got, want)
	}
}

// tcbInfo is a copy of the extension DiceTcbInfo.
func tcbInfo(t *testing.T, leaf *x509.Certificate) []byte {
	t.Helper()
	for _, e := range leaf.Extensions {
		if e.Id.String() == "2.23.133.5.4.1.1" {
			return bytes.Clone(e.Value)
		}
	}
	t.Fatal("no DiceTcbInfo")
	return nil
}
