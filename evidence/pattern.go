// SPDX-License-Identifier: Apache-2.0

package evidence

import "strings"

// Match reports whether a canonical label path is named by a pattern: equal
// label by label, "*" matching any one label, and everything below included.
func Match(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(have) < len(want) {
		return false
	}
	for i, w := range want {
		if w != "*" && w != have[i] {
			return false
		}
	}
	return true
}
