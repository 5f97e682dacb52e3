// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"slices"

	"github.com/assize/assize/verdict"
)

// KindPlatform says that two CPU TEEs are different ones on the same platform: an
// SGX enclave beside a TD, for example (decision D-101).
const KindPlatform = "same-platform"

// kindIntelPlatform is the kind of identity that all TEEs of one platform share.
const kindIntelPlatform = "intel-platform"

// instanceRegisters tell TEEs of one scheme apart: what is measured when one is
// made, and what it cannot change itself.
var instanceRegisters = []string{"mrtd", "mrconfigid", "mrenclave"}

func platformChecker() Checker {
	return Checker{
		Kind: KindPlatform, Strength: StrengthStrong, Origin: OriginHardware, Mutual: true,
		Needs:    "two CPU TEEs below Intel's certificates of platforms, of two schemes or with different launch measurements",
		Compares: "the platform identities (PPID) in the certificates of the keys that signed",
		find:     samePlatform,
	}
}

// samePlatform joins CPU TEEs with the first one on their platform.
func samePlatform(c *composite) ([]verdict.Binding, []verdict.Cap) {
	var all []*node
	var edges []verdict.Binding
	for _, p := range c.parts {
		if p.Class != verdict.ClassCPU || len(p.platforms) == 0 {
			continue
		}
		if all != nil {
			e := verdict.Binding{From: p.Label, To: all[0].Label, Kind: KindPlatform, Strength: StrengthNone, Status: StatusAbsent,
				Compared: "the identities of the platforms in the certificates of both", Expected: all[0].platforms[0], Observed: p.platforms[0]}
			if i := slices.IndexFunc(all, func(a *node) bool { return onePlatform(a, p) != "" }); i >= 0 {
				id := onePlatform(all[i], p)
				e.To, e.Status, e.Strength, e.Origin, e.Expected, e.Observed = all[i].Label, StatusBound, StrengthStrong, OriginHardware, id, id
			}
			edges = append(edges, e)
		}
		all = append(all, p)
	}
	return edges, nil
}

// onePlatform is the identity of the platform on which two components are
// different CPU TEEs, "" if that is not so or if nobody can tell.
func onePlatform(a, b *node) string {
	if a.Class != verdict.ClassCPU || b.Class != verdict.ClassCPU || !otherInstance(a, b) {
		return ""
	}
	for _, id := range a.platforms {
		if slices.Contains(b.platforms, id) {
			return id
		}
	}
	return ""
}

// otherInstance: two TEEs cannot be one that answers twice. They are of different
// schemes, or every verifier of both found what they were launched with, and that
// differs.
func otherInstance(a, b *node) bool {
	if a.Scheme != b.Scheme {
		return a.Scheme != "" && b.Scheme != ""
	}
	if len(a.all) == 0 || len(b.all) == 0 {
		return false
	}
	for _, x := range a.all {
		for _, y := range b.all {
			differ := func(r string) bool {
				v, w := x.Facts.Registers[r], y.Facts.Registers[r]
				return v != "" && w != "" && v != w
			}
			if !slices.ContainsFunc(instanceRegisters, differ) {
				return false
			}
		}
	}
	return true
}
