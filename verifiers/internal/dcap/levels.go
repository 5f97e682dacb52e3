// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The first level that is reached counts, so the order of levels is part of
// what they mean. Intel's library sorts them (SGX/TDX DCAP Quote Verification
// Library, TcbLevel); here a file in another order is refused, since sorting
// would hide that somebody meant something else.

// compare orders two levels of a platform: SGX components, then PCE SVN, then
// TDX components, the first difference deciding.
func (l *level) compare(o *level) int {
	bySVN := func(a, b svn) int { return cmp.Compare(*a.SVN, *b.SVN) }
	return cmp.Or(
		slices.CompareFunc(l.TCB.SGX, o.TCB.SGX, bySVN),
		cmp.Compare(*l.TCB.PCESVN, *o.TCB.PCESVN),
		slices.CompareFunc(l.TCB.TDX, o.TCB.TDX, bySVN),
	)
}

// checkPlatformLevels wants complete levels in strictly descending order. For SGX
// the TDX components say nothing and are dropped.
func checkPlatformLevels(ls []level, tee TEE) error {
	missing := func(c svn) bool { return c.SVN == nil }
	components := 16
	if tee == SGX {
		components = 0
	}
	for i := range ls {
		l := &ls[i]
		if tee == SGX {
			l.TCB.TDX = nil
		}
		if l.Status == nil || l.TCB.PCESVN == nil || len(l.TCB.SGX) != 16 || len(l.TCB.TDX) != components ||
			slices.ContainsFunc(l.TCB.SGX, missing) || slices.ContainsFunc(l.TCB.TDX, missing) {
			return fmt.Errorf("level %d is incomplete", i)
		}
		if i > 0 && ls[i-1].compare(l) <= 0 {
			return fmt.Errorf("level %d is not below level %d", i, i-1)
		}
	}
	return nil
}

// checkISVLevels wants complete levels in strictly descending order of their
// ISV SVN, with one of the three statuses that Intel has for them: how any other
// would merge is not said.
func checkISVLevels(ls []level) error {
	for i, l := range ls {
		if l.Status == nil || l.TCB.ISVSVN == nil {
			return fmt.Errorf("level %d is incomplete", i)
		}
		if s := *l.Status; s != UpToDate && s != OutOfDate && s != Revoked {
			return fmt.Errorf("level %d is %s, expected UpToDate, OutOfDate or Revoked", i, s)
		}
		if i > 0 && *ls[i-1].TCB.ISVSVN <= *l.TCB.ISVSVN {
			return fmt.Errorf("level %d with ISV SVN %d is not below level %d with %d",
				i, *l.TCB.ISVSVN, i-1, *ls[i-1].TCB.ISVSVN)
		}
	}
	return nil
}

// checkModules wants complete module identities, each named once: of two with
// one name the first would count.
func checkModules(unversioned module, named []module) error {
	seen := map[string]bool{}
	for i, m := range append([]module{unversioned}, named...) {
		if len(m.MRSigner) != 48 || len(m.Attributes) != 8 || len(m.AttributesMask) != 8 {
			return fmt.Errorf("TDX module %q is incomplete", m.ID)
		}
		if err := checkISVLevels(m.Levels); err != nil {
			return fmt.Errorf("TDX module %q: %w", m.ID, err)
		}
		if i == 0 {
			continue
		}
		id := strings.ToUpper(m.ID)
		if seen[id] {
			return fmt.Errorf("TDX module %q is named twice", m.ID)
		}
		seen[id] = true
	}
	return nil
}
