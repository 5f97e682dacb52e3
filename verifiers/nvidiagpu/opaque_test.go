// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"

	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// recorded is the report of a real H100 (driver 545.00).
func recorded(tb testing.TB) []byte { return unhex(tb, string(mocks.AttestationReportData)) }

func TestDetailsOfRecordedReport(t *testing.T) {
	r, err := ParseReport(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	d := readDetails(r.Opaque)
	if d.odd != nil || d.foreign != nil || d.driver != "545.00" || d.vbios != "96.00.5E.00.01" || d.project != "1010" || d.projectSKU != "0200" || d.chipSKU != "882" {
		t.Fatalf("%+v", d)
	}
}

// Fields that no known device reports are kept by name, and none is taken for
// another; what has no name is listed.
func TestUnusedFields(t *testing.T) {
	for typ, name := range map[uint16]string{
		1: "cert-issuer-name", 2: "cert-authority-key-identifier", 5: "sku", 7: "manufacturer-id", 8: "tamper-detection", 9: "smc", 10: "vpr", 32: "gpu-link-conn",
	} {
		d := readDetails([]nvidia.Field{{Type: typ, Value: []byte{1, 0xAB}}})
		if !reflect.DeepEqual(d.unused, map[string]string{name: "01ab"}) || d.unknown != nil || d.odd != nil {
			t.Errorf("type %d: %+v", typ, d)
		}
		if d = readDetails([]nvidia.Field{{Type: typ, Value: make([]byte, maxUnused+1)}}); d.unused != nil || len(d.odd) != 1 {
			t.Errorf("type %d of %d bytes: %+v", typ, maxUnused+1, d)
		}
		// Of a newer version nobody knows whether the number still means that.
		newer := []nvidia.Field{{Type: nvidia.OpaqueVersion, Value: []byte{2, 0}}, {Type: typ, Value: []byte{1}}}
		if d = readDetails(newer); d.unused != nil || !slices.Equal(d.unknown, []int{int(typ)}) {
			t.Errorf("type %d of a newer version: %+v", typ, d)
		}
	}
	for _, typ := range []uint16{0, 23, 27, 28, 31, 37, 254, 256, 0xFFFF} {
		if d := readDetails([]nvidia.Field{{Type: typ, Value: []byte{1}}}); d.unused != nil || !slices.Equal(d.unknown, []int{int(typ)}) {
			t.Errorf("type %d: %+v", typ, d)
		}
	}
	f := newFake(t).with(5, []byte("882\x00"))
	if a := f.appraise(); a.Claims["sku"] != "38383200" || a.Claims["opaque-unknown"] != nil {
		t.Errorf("claims %v", a.Claims)
	}
}

// What a report says never becomes a path, a URL or a control character.
func FuzzDetails(f *testing.F) {
	f.Add(recorded(f))
	f.Add(append(nvidiatest.Unsigned(make([]byte, NonceSize), []nvidiatest.Block{{Index: 1, Type: 1, Value: []byte{1}}},
		[]nvidiatest.Field{{Type: 6, Value: make([]byte, 8)}, {Type: 200}}), make([]byte, SignatureSize)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseReport(raw)
		if err != nil {
			return
		}
		d := readDetails(r.Opaque)
		for _, s := range []string{d.driver, d.vbios, d.project, d.projectSKU, d.chipSKU, d.chipInfo} {
			if strings.ContainsAny(s, "/\\%?#\x00\n ") || len(s) > 64 {
				t.Fatalf("text %q", s)
			}
		}
	})
}
