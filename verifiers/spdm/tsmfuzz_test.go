// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"testing"

	attester "github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/verifiers/spdm"
)

// TestTSMStructure: every byte of the three structures is accounted for. What is
// reserved is zero, what is an enumeration is known, no byte may be missing and
// none added.
func TestTSMStructure(t *testing.T) {
	sev, r := assigned(t)
	devinfo, _ := assigned(t, tdx)
	cca := realm(vdevInfo(r, 0, crypto.SHA256))
	for _, s := range []*spdm.TSM{sev, devinfo, cca} {
		if _, err := spdm.ParseTSM(s); err != nil {
			t.Fatalf("%s: %v", s.Kind, err)
		}
		for n := range len(s.Raw) {
			cut := &spdm.TSM{Kind: s.Kind, Raw: s.Raw[:n:n]}
			if info, err := spdm.ParseTSM(cut); err == nil && !(s == sev && n == 176 && *info.Bound) {
				t.Fatalf("%s: %d of %d bytes accepted", s.Kind, n, len(s.Raw))
			} else if err != nil && spdm.KindOf(err) == "" {
				t.Fatal(err)
			}
		}
		if _, err := spdm.ParseTSM(&spdm.TSM{Kind: s.Kind, Raw: append(bytes.Clone(s.Raw), 0)}); err == nil {
			t.Errorf("%s: a byte behind it accepted", s.Kind)
		}
	}
	for _, c := range []struct {
		name string
		t    *spdm.TSM
		kind spdm.Kind
	}{
		{"CCA flags", with(cca, 0, 8), spdm.KindMalformed},
		{"CCA slot", with(cca, 8, 8), spdm.KindMalformed},
		{"CCA slot of 64 bits", with(cca, 15, 1), spdm.KindMalformed},
		{"CCA hash", with(cca, 0x10, 3), spdm.KindUnsupported},
		{"CCA behind the hash", with(cca, 0x11, 1), spdm.KindMalformed},
		{"CCA TDISP version", with(cca, 0x30, 0x20), spdm.KindUnsupported},
		{"CCA state", with(cca, 0x38, 4), spdm.KindMalformed},
		{"CCA behind the state", with(cca, 0x3F, 1), spdm.KindMalformed},
		{"CCA behind a digest", with(cca, 0x40+32, 1), spdm.KindMalformed},
		{"CCA end", with(cca, 511, 1), spdm.KindMalformed},
		{"CCA behind the virtual SMMU", with(cca, 0x190, 1), spdm.KindMalformed},
		{"SEV-TIO status", with(sev, 8, 3), spdm.KindMalformed},
		{"SEV-TIO behind the status", with(sev, 10, 1), spdm.KindMalformed},
		{"SEV-TIO behind the status, end", with(sev, 15, 1), spdm.KindMalformed},
		{"SEV-TIO flags", with(sev, 16, 7), spdm.KindMalformed},
		{"SEV-TIO lock flags", with(sev, 20, 0x27), spdm.KindMalformed},
		{"SEV-TIO high lock flags", with(sev, 23, 1), spdm.KindMalformed},
		{"SEV-TIO key exchange", with(sev, 24, 2), spdm.KindUnsupported},
		{"SEV-TIO encryption", with(sev, 25, 2), spdm.KindUnsupported},
		{"SEV-TIO signature", with(sev, 26, 3), spdm.KindUnsupported},
		{"SEV-TIO hash", with(sev, 27, 2), spdm.KindUnsupported},
		{"SEV-TIO key schedule", with(sev, 28, 1), spdm.KindUnsupported},
		{"SEV-TIO end", with(sev, 191, 1), spdm.KindMalformed},
		{"TDX record type", with(devinfo, 4, 5), spdm.KindMalformed},
		{"TDX record length", with(devinfo, 6, 27, 0), spdm.KindMalformed},
		{"TDX a shorter record", with(devinfo, 6, 90, 0), spdm.KindMalformed},
		{"TDX a longer record", with(devinfo, 6, 96, 0), spdm.KindMalformed},
		{"TDX reserved", with(devinfo, 8, 1), spdm.KindMalformed},
	} {
		if _, err := spdm.ParseTSM(c.t); spdm.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %s", c.name, err, c.kind)
		}
	}
}

// TestRevisionsOfTDIInfo: the older revision is told apart where it can be.
func TestRevisionsOfTDIInfo(t *testing.T) {
	sev, r := assigned(t)
	head := func(b ...byte) *spdm.TSM { return unsaid(with(with(sev, 0, make([]byte, 16)...), 0, b...)) }
	short := func(s *spdm.TSM) *spdm.TSM { return &spdm.TSM{Kind: s.Kind, Raw: s.Raw[:176]} }
	for _, c := range []struct {
		name, want string
		t          *spdm.TSM
	}{
		{"newer, bound", "", head(1, 0, 0, 0, 0, 0, 0, 1)},
		{"newer, unbound", "tsm-unbound", head(1, 0, 0, 0, 0, 0, 0, 0, 2)},
		{"either, bound", "", head(8, 1)},
		{"older, unbound, or newer, bound", "tsm-malformed", head(8, 1, 2)},
		{"older, invalid, or newer, bound", "tsm-malformed", head(8, 1, 1)},
		{"newer, bound, a segment", "", head(8, 1, 3)},
		{"short, bound", "", short(head(8, 1))},
		{"short, unbound", "tsm-unbound", short(head(8, 1, 2))},
		{"short, no status", "tsm-malformed", short(head(8, 1, 3))},
		{"short, reserved", "tsm-malformed", short(head(8, 1, 0, 0, 1))},
	} {
		if got := checks(spdm.CheckTSM(c.t, r)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if info, err := spdm.ParseTSM(short(head(8, 1))); err != nil || info.ReportCount != nil {
		t.Errorf("%+v, %v", info, err)
	}
	if info, err := spdm.ParseTSM(sev); err != nil || info.ReportCount == nil || *info.ReportCount != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

// FuzzTSM gives bytes to every parser and compares what is accepted with a
// device. Neither may panic, nothing accepted may have a digest of zeros.
func FuzzTSM(f *testing.F) {
	sev, r := assigned(f)
	devinfo, _ := assigned(f, func(o *attester.Options) { o.TSM = attester.TSMTDX })
	kinds := []string{spdm.TSMCCA, spdm.TSMSEVTIO, spdm.TSMTDX, "other"}
	f.Add(uint8(0), vdevInfo(r, 0, crypto.SHA256))
	f.Add(uint8(1), sev.Raw)
	f.Add(uint8(1), sev.Raw[:176])
	f.Add(uint8(2), devinfo.Raw)
	f.Add(uint8(3), []byte{1})
	f.Fuzz(func(t *testing.T, kind uint8, raw []byte) {
		s := &spdm.TSM{Kind: kinds[int(kind)%len(kinds)], Raw: raw}
		info, err := spdm.ParseTSM(s)
		found := spdm.CheckTSM(s, r)
		if err != nil {
			if spdm.KindOf(err) == "" || len(found) != 1 {
				t.Fatalf("%v: %v", err, found)
			}
			return
		}
		for _, d := range info.Digests {
			if len(d.Value) != d.Hash.Size() || bytes.Equal(d.Value, make([]byte, len(d.Value))) {
				t.Fatalf("%+v", d)
			}
		}
		if s.Kind == spdm.TSMTDX && info.Device == nil || s.Kind == spdm.TSMSEVTIO && info.Bound == nil || s.Kind == spdm.TSMCCA && info.State == nil {
			t.Fatalf("%+v", info)
		}
	})
}
