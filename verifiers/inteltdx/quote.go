// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// maxQuote is the size in bytes of the largest quote.
const maxQuote = dcap.MaxQuote

// failure is a check that did not hold.
type failure = dcap.Failure

func failf(code, format string, args ...any) *failure { return dcap.Failf(code, format, args...) }

// quote is one parsed TDX quote with the fields of its TD report. All slices are
// views of the evidence.
type quote struct {
	*dcap.Quote
	dcap.TDReport
	// software is RTMR3 before the evidence of other components was measured into it,
	// nil where that was not done (decision D-95).
	software []byte
}

// known is a register as reference values can know it: without what is measured
// anew in every session.
func (q *quote) known(i int) []byte {
	if i == runtimeRegister && q.software != nil {
		return q.software
	}
	return q.RTMR(i)
}

var errOtherTEE = errors.New("not for this scheme")

// unreadable is why a quote is not looked at.
func unreadable(err error) *failure {
	if errors.Is(err, errOtherTEE) {
		return failf(verdict.ReasonUnsupported, "TDX quote: %v", err)
	}
	return failf(verdict.ReasonMalformed, "TDX quote: %v", err)
}

// parseQuote reads a TDX quote of format 4 or 5. Every length is checked before
// the library sees a byte, and both readings must agree.
func parseQuote(raw []byte) (*quote, error) {
	if tee, ok := dcap.Peek(raw); ok && tee != dcap.TDX {
		return nil, fmt.Errorf("%w: this is a quote of %s, not of TDX", errOtherTEE, tee)
	}
	d, err := dcap.Parse(raw)
	if err != nil {
		return nil, err
	}
	q := &quote{Quote: d, TDReport: d.TD()}
	if err := q.crossCheck(raw[:len(raw)-d.Padding]); err != nil {
		return nil, err
	}
	return q, nil
}

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
