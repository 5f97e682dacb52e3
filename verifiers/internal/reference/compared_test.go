// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"strings"
	"testing"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

// A reason has both sides of the comparison, and the document that has the value.
func TestReasonsHaveWhatWasCompared(t *testing.T) {
	const doc = "a/a/reference-triples[0]"
	all := map[uint64]byte{0: 10, 1: 11, 2: 12, 3: 13}
	for name, c := range map[string]struct {
		docs                       []*corim.Document
		code                       string
		expected, observed, source string
	}{
		"mismatch": {[]*corim.Document{document(t, "a", true, later, triple{digest("mrtd", 2)})}, verdict.ReasonMeasurementMismatch,
			strings.Repeat("02", 48), strings.Repeat("01", 48), doc},
		"nothing": {nil, verdict.ReasonNoReferenceValues, "a reference value", strings.Repeat("01", 48), "of which none is about it"},
		"partial": {[]*corim.Document{document(t, "a", true, later, triple{digest("mrtd", 1), bank(all), digest("more", 1)})}, verdict.ReasonPartialReference,
			"all measurements of one document", "all but", doc},
		"unsigned": {[]*corim.Document{document(t, "a", false, later, triple{digest("mrtd", 1)})}, verdict.ReasonUnsignedReference,
			"signed", "not signed", doc},
	} {
		q := Query{Environment: acme, Items: seen()[:1], Time: now}
		if c.docs != nil {
			q.Index = index(t, c.docs...)
		}
		r := Compare(q)
		_, reasons := r.Judge(verdict.Executables, r.Findings...)
		if len(reasons) != 1 {
			t.Errorf("%s: %+v", name, reasons)
			continue
		}
		why := reasons[0]
		if why.Code != c.code || !strings.Contains(why.Expected, c.expected) || !strings.Contains(why.Observed, c.observed) || !strings.Contains(why.Source, c.source) {
			t.Errorf("%s: %+v", name, why)
		}
	}
}
