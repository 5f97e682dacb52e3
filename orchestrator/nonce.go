// SPDX-License-Identifier: Apache-2.0

package orchestrator

import "crypto/subtle"

// sameNonce compares two challenges in constant time.
func sameNonce(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
