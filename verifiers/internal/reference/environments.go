// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"encoding/base64"

	"github.com/assize/assize/corim"
)

// Names are environments as verdict.Facts has them.
func Names(list ...corim.Environment) []string {
	out := make([]string, 0, len(list))
	for _, e := range list {
		out = append(out, base64.RawURLEncoding.EncodeToString(corim.EncodeEnvironment(e)))
	}
	return out
}
