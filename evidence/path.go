// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"strconv"
	"strings"
)

// Path is a canonical label path (decision D-12): text labels with "~" written
// "~0", "/" written "~1" and a leading "#" written "~2"; integer labels as
// "#<decimal>"; joined with "/". The root is the empty path. Array positions
// are never part of a path, and an integer label never equals a text label.
type Path string

// TextLabel returns the canonical form of one text label.
func TextLabel(s string) string {
	if !strings.ContainsAny(s, "~/#") {
		return s
	}
	s = strings.ReplaceAll(s, "~", "~0")
	s = strings.ReplaceAll(s, "/", "~1")
	if strings.HasPrefix(s, "#") {
		s = "~2" + s[1:]
	}
	return s
}

// IntLabel returns the canonical form of one integer label.
func IntLabel(n int64) string { return "#" + strconv.FormatInt(n, 10) }

// Join appends one canonical label to p.
func (p Path) Join(label string) Path {
	if p == "" {
		return Path(label)
	}
	return p + "/" + Path(label)
}

// Index returns the path of the i-th device of a leaf that carries several.
func (p Path) Index(i int) Path { return p.Join(strconv.Itoa(i)) }

// Under reports whether p equals dir or lies below it.
func (p Path) Under(dir Path) bool {
	return dir == "" || p == dir || strings.HasPrefix(string(p), string(dir)+"/")
}
