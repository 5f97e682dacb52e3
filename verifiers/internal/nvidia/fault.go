// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"fmt"

	"github.com/assize/assize/verdict"
)

// fault is why nothing in the evidence can be relied upon, with the vector
// that says so. It is a result, not a malfunction.
type fault struct {
	code   string
	vector verdict.Vector
	text   string
	// compared is what was held against what, where that was it.
	compared verdict.Comparison
}

// Error implements error.
func (f *fault) Error() string { return f.text }

// failed is a fault of cryptography or of form: all claims are 99, as AR4SI
// section 2.3.3 asks.
func failed(code, format string, args ...any) *fault {
	return &fault{code: code, vector: verdict.AllClaims(verdict.ClaimCryptoFailed), text: fmt.Sprintf(format, args...)}
}

// unrecognized is a fault of kind: the device is none that this scheme knows.
func unrecognized(code, format string, args ...any) *fault {
	f := &fault{code: code, text: fmt.Sprintf(format, args...)}
	f.vector[verdict.Hardware] = verdict.ClaimUnknownDevice
	return f
}
