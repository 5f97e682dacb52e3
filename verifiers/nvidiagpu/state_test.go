// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// The flags of the layer, by their bits. Recorded devices have 0x80000001.
func TestFirmwareState(t *testing.T) {
	for _, c := range []struct {
		flags uint32
		codes string
		words string
	}{
		{0x80000001, "", ""},
		{0x88000001, "", ""}, // bit 4, not replay protected
		{0xC0000001, "configuration", "not-secure state"},
		{0xA0000001, "configuration", "recovery state"},
		{0x90000001, "debug-enabled", "debug state"},
		{0xF0000001, "configuration configuration debug-enabled", "not-secure state"},
	} {
		f := newFakeOf(t, "BLACKWELL", "GB100", "GSP", 0x41)
		f.Ext = nvidiatest.TCBInfo(c.flags)
		a := f.appraise()
		if c.codes == "" {
			wantGood(t, a, f.Nonce)
			continue
		}
		if a.Vector[verdict.Configuration] != verdict.ClaimContraindicate || a.Status() != verdict.TierContraindicated ||
			!slices.Equal(extraCodes(a), strings.Fields(c.codes)) || !strings.Contains(fmt.Sprint(a.Reasons), c.words) {
			t.Errorf("flags %x: vector %v, reasons %v", c.flags, a.Vector, a.Reasons)
		}
	}
}

// extraCodes are the reasons that not every appraisal has.
func extraCodes(a verdict.Appraisal) []string {
	return slices.DeleteFunc(codes(a), func(s string) bool { return s == "no-collateral" || s == "no-reference-values" })
}

// Signed by the device, but without a meaning: the field counts as not there
// and is named, and the claims do not contradict the vector.
func TestOpaqueWithoutMeaning(t *testing.T) {
	for typ, v := range map[uint16][]byte{
		nvidia.OpaqueDriver: []byte("../x\x00"), nvidia.OpaqueVBIOS: []byte("96.10.55.00.01"), nvidia.OpaquePDI: make([]byte, 9),
		nvidia.OpaqueVersion: {1}, opaqueFeature: {1}, opaqueProject: []byte("a\x00b"), opaqueBoard: {1}, opaqueNVDEC0: {}, nvidia.OpaqueMSRSCNT: {1},
	} {
		f := newFake(t).with(typ, v)
		a := f.appraise()
		var want verdict.Vector
		want[verdict.Hardware], want[verdict.Configuration], want[verdict.Executables] = 32, 36, 33
		named := fmt.Sprintf("field %d of %d bytes", typ, len(v))
		if a.Vector != want || a.Claims[gpuClaim+"attestation-report-signature-verified"] != true || !slices.Contains(extraCodes(a), "configuration") ||
			!strings.Contains(fmt.Sprint(a.Reasons), named) || a.Facts.Peers != nil {
			t.Errorf("field %d: vector %v, reasons %v", typ, a.Vector, a.Reasons)
		}
		for name, value := range a.Claims {
			if s, ok := value.(string); ok && strings.Contains(s, "../") {
				t.Errorf("claim %s is %q", name, s)
			}
		}
	}
}

// An FWID that is none cannot be the one in the certificate.
func TestOddFWID(t *testing.T) {
	for _, n := range []int{0, 1, 47, 49} {
		a := newFake(t).with(nvidia.OpaqueFWID, bytes.Repeat([]byte{0xF1}, n)).appraise()
		if a.Vector[verdict.Hardware] != 96 || !slices.Equal(extraCodes(a), []string{"identity-mismatch", "configuration"}) ||
			a.Claims[gpuClaim+"attestation-report-cert-chain-fwid-match"] != false {
			t.Errorf("%d bytes: vector %v, reasons %v", n, a.Vector, a.Reasons)
		}
	}
}

// A version that we do not know may give known numbers other sizes and
// meanings: they are unknown then, and only that makes the difference.
func TestNewerOpaqueVersion(t *testing.T) {
	f := newFake(t).with(opaqueFeature, []byte{1, 2, 3, 4}).with(opaqueBoard, []byte{1}).with(nvidia.OpaquePDI, make([]byte, 9)).
		with(opaqueProtectedPCIe, []byte{0xAA}).with(nvidia.OpaqueVersion, []byte{2, 0})
	a := f.appraise()
	if a.Status() != verdict.TierContraindicated || a.Vector[verdict.Configuration] != 96 || a.Vector[verdict.Hardware] != 32 ||
		!slices.Equal(extraCodes(a), []string{"configuration"}) || !strings.Contains(fmt.Sprint(a.Reasons), "version 2") {
		t.Fatalf("vector %v, reasons %v", a.Vector, a.Reasons)
	}
	if want := []any{17, 36, 14, 22, 21}; !reflect.DeepEqual(a.Claims["opaque-unknown"], want) || a.Claims["opaque-version"] != 2 {
		t.Errorf("unknown %v, version %v", a.Claims["opaque-unknown"], a.Claims["opaque-version"])
	}
	for _, name := range []string{"protected-pcie", "feature-flag", "board-id", "project", gpuClaim + "switch-pdis"} {
		if v, ok := a.Claims[name]; ok {
			t.Errorf("claim %s is %v", name, v)
		}
	}
	if a.Claims[gpuClaim+"driver-version"] != "590.12" || a.Claims[gpuClaim+"attestation-report-cert-chain-fwid-match"] != true {
		t.Errorf("claims %v", a.Claims)
	}
	// A version that cannot be read is not taken for an old one.
	a = newFake(t).with(nvidia.OpaqueVersion, []byte{1}).appraise()
	if _, said := a.Claims["opaque-version"]; said || a.Claims["protected-pcie"] != nil || len(a.Claims["opaque-unknown"].([]any)) != 3 ||
		!slices.Equal(extraCodes(a), []string{"configuration"}) {
		t.Errorf("version of one byte: reasons %v, claims %v", a.Reasons, a.Claims)
	}
	// What identifies the firmware is still held against the certificate.
	a = newFake(t).with(nvidia.OpaqueVersion, []byte{2, 0}).with(nvidia.OpaqueFWID, make([]byte, 48)).appraise()
	if a.Vector[verdict.Hardware] != 96 {
		t.Errorf("other FWID: vector %v", a.Vector)
	}
	a = newFake(t).with(nvidia.OpaqueVersion, []byte{2, 0}).with(nvidia.OpaqueFWID, make([]byte, 64)).appraise()
	if a.Vector[verdict.Hardware] != 32 || !slices.Equal(extraCodes(a), []string{"claim-not-asserted", "configuration"}) {
		t.Errorf("FWID of a new form: vector %v, reasons %v", a.Vector, a.Reasons)
	}
}

// A simulated root shows in the claims.
func TestRootIsNamed(t *testing.T) {
	f := newFake(t)
	a := f.appraise()
	if got := a.Claims["root_sha256"]; got != hexSum(f.Certs[rootAt].Raw) || got == pinnedRoot {
		t.Errorf("root %v", got)
	}
}
