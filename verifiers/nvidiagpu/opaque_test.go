// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"strings"
	"testing"

	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"

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
