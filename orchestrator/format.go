// SPDX-License-Identifier: Apache-2.0

package orchestrator

import "github.com/assize/assize/verdict"

// Sign gives a verdict of this orchestrator in another format, signed by its key
// and as long valid. In the format that the verdict has, it is the token that is
// there. A *verdict.FormatError means that the format does not fit the machine.
func (o *Orchestrator) Sign(r *verdict.Result, f verdict.Format) ([]byte, error) {
	if f == verdict.FormatP23JWT {
		return r.Token, nil
	}
	return verdict.SignFormat(o.o.Signer, r, f, o.o.Lifetime)
}
