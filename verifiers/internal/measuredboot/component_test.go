// SPDX-License-Identifier: Apache-2.0

package measuredboot

import (
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/verdict"
)

// TestMeasuredComponents: what a TPM holds of the evidence of components counts in
// PCR 15 alone, and of a log that replays.
func TestMeasuredComponents(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	event := []byte(`{"assize.component":"gpu/0","sha256":"` + digest + `"}`)
	want := []verdict.Commitment{{Subject: "gpu/0", Object: verdict.ObjectEvidence, Alg: verdict.AlgSHA256, Digest: digest, Via: "event-log", Origin: verdict.OriginMeasured}}
	for name, c := range map[string]struct {
		pcr  int
		data []byte
		want []verdict.Commitment
		bad  bool
	}{
		"PCR 15": {15, event, want, false}, "PCR 14": {14, event, nil, false}, "out of form": {15, append(event[:len(event):len(event)], 'x'), nil, true},
	} {
		d := machine(func(o *tcgtpm.Options) { o.Events = []tcgtpm.Event{{PCR: c.pcr, Type: 6, Data: c.data}} })
		a := appraise(judge(), boot(d), nil)
		if !reflect.DeepEqual(a.Facts.Commitments, c.want) {
			t.Errorf("%s: %+v", name, a.Facts.Commitments)
		}
		if said := a.Claims["event_log"].(map[string]any); (said["components_refused"] != nil) != c.bad {
			t.Errorf("%s: %v", name, said)
		}
		b := boot(d)
		b.PCRs[15] = make([]byte, len(b.PCRs[15]))
		b.PCRs[15][0] = 1
		if a = appraise(judge(), b, nil); a.Facts.Commitments != nil {
			t.Errorf("%s, and another register: %+v", name, a.Facts.Commitments)
		}
	}
}
