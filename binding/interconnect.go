// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
)

// KindInterconnect says that two devices name each other, under their
// signatures, by the identities in each other's certificates: a GPU and a switch
// of one board (decision D-77).
const KindInterconnect = "interconnect"

// view is what one verifier proved about one component and its links.
type view struct {
	ids, peers []string
	required   bool
}

// views are the different views of all verifiers of a component. One of them
// suffices against the component, all are needed for it.
func views(c verdict.Component) []view {
	var out []view
	for _, a := range appraisals(c) {
		v := view{ids: sorted(a.Facts.Device), peers: sorted(a.Facts.Peers), required: a.Facts.PeersRequired}
		same := func(w view) bool {
			return w.required == v.required && slices.Equal(w.ids, v.ids) && slices.Equal(w.peers, v.peers)
		}
		if !slices.ContainsFunc(out, same) {
			out = append(out, v)
		}
	}
	return out
}

// lists reports whether this device names the other one. Who has two identities of
// one kind would be two devices, and join two boards: none of them counts
// (decision D-114).
func (v view) lists(w view) bool {
	return slices.ContainsFunc(v.peers, func(id string) bool { return slices.Contains(w.ids, id) && w.only(kindOf(id)) })
}

// only: the device has one identity of this kind.
func (v view) only(kind string) bool {
	n := 0
	for _, id := range v.ids {
		if kindOf(id) == kind {
			n++
		}
	}
	return n == 1
}

// denies reports whether this device names peers, and not the other one, though
// that has an identity by which it would be named.
func (v view) denies(w view) bool {
	return !v.lists(w) && slices.ContainsFunc(v.peers, func(peer string) bool {
		return slices.ContainsFunc(w.ids, func(id string) bool { return kindOf(id) == kindOf(peer) })
	})
}

// kindOf is the kind of an identity, "nvidia-pdi" for example.
func kindOf(id string) string {
	kind, _, _ := strings.Cut(id, ":")
	return kind
}

// member is a component that names peers, has to have them, or is named by one.
type member struct {
	c     *verdict.Component
	views []view
}

// required: some verifier found that the device works with its peers in clear.
func (m *member) required() bool {
	return slices.ContainsFunc(m.views, func(v view) bool { return v.required })
}

// peers are the identities that any verifier found in the list of the device.
func (m *member) peers() []string {
	var out []string
	for _, v := range m.views {
		out = append(out, v.peers...)
	}
	return sorted(out)
}

// ids are the identities that any verifier found.
func (m *member) ids() []string {
	var out []string
	for _, v := range m.views {
		out = append(out, v.ids...)
	}
	return sorted(out)
}

// has reports whether any verifier found this identity.
func (m *member) has(id string) bool {
	return slices.ContainsFunc(m.views, func(v view) bool { return slices.Contains(v.ids, id) })
}

// states of a pair of devices.
const (
	pairNone   = iota // neither names the other
	pairBound         // each names the other, whoever verified them
	pairBroken        // one names the other, which names others instead
	pairOpen          // one names the other, and nothing is heard from that one
)

// pair is the state of two devices. It is broken if it is in the eyes of any
// verifier of the one and any of the other, and bound if it is in those of all.
func pair(a, b *member) int {
	seen := [pairOpen + 1]bool{}
	for _, v := range a.views {
		for _, w := range b.views {
			seen[pairOf(v, w)] = true
		}
	}
	switch {
	case seen[pairBroken]:
		return pairBroken
	case seen[pairOpen], seen[pairBound] && seen[pairNone]:
		return pairOpen
	case seen[pairBound]:
		return pairBound
	}
	return pairNone
}

func pairOf(v, w view) int {
	switch there, back := v.lists(w), w.lists(v); {
	case there && back:
		return pairBound
	case !there && !back:
		return pairNone
	case there && w.denies(v), back && v.denies(w):
		return pairBroken
	}
	return pairOpen
}

func interconnectChecker() Checker {
	return Checker{
		Kind: KindInterconnect, Strength: StrengthStrong, Origin: OriginHardware, Mutual: true,
		Needs:    "devices that sign lists of those with which they are linked, and identities in certificates",
		Compares: "the identities that each device lists with those in the certificate of the other",
		find:     interconnect,
	}
}

// interconnect joins devices that name each other and enforces what follows
// where devices work with one another in clear. It needs no CPU TEE.
func interconnect(c *composite) ([]verdict.Binding, []verdict.Cap) {
	var edges []verdict.Binding
	var caps []verdict.Cap
	parts := c.components
	for _, f := range fabrics(parts) {
		for _, l := range f.links[:min(len(f.links), maxLinks)] {
			edges = append(edges, l.edge())
		}
		caps = append(caps, f.findings(parts)...)
	}
	return edges, caps
}

// Interconnects are the sets of devices among components that work with one
// another in clear, in the order of their first labels, with the rules of Check.
func Interconnects(parts []verdict.Component) []verdict.Interconnect {
	var out []verdict.Interconnect
	for _, f := range fabrics(parts) {
		if f.inClear() {
			out = append(out, f.summary(parts))
		}
	}
	return out
}

// link is a pair of which one names the other.
type link struct {
	a, b  *member
	state int
}

// String names both ends.
func (l link) String() string { return string(l.a.c.Label) + " – " + string(l.b.c.Label) }

func (l link) edge() verdict.Binding {
	e := verdict.Binding{From: l.a.c.Label, To: l.b.c.Label, Kind: KindInterconnect, Strength: StrengthNone, Status: StatusAbsent, Origin: OriginHardware,
		Compared: "the identities that each device lists with those in the certificate of the other"}
	e.Expected, e.Observed = l.values()
	switch l.state {
	case pairBound:
		e.Strength, e.Status = StrengthStrong, StatusBound
	case pairBroken:
		e.Status = StatusBroken
	}
	return e
}

// contradicts says how the two ends of a broken link contradict each other.
func (l link) contradicts() string {
	from, to := l.ends()
	if from == to {
		return fmt.Sprintf("%s names itself", from.c.Label)
	}
	return fmt.Sprintf("%s names %s, which names others", from.c.Label, to.c.Label)
}

// ends are who names whom: the first of the two names the second.
func (l link) ends() (from, to *member) {
	if slices.ContainsFunc(l.a.views, func(v view) bool { return slices.ContainsFunc(l.b.views, v.lists) }) {
		return l.a, l.b
	}
	return l.b, l.a
}

// values are an identity of the device that names the other, which that has to
// list, and what it lists: that identity where the link holds.
func (l link) values() (expected, observed string) {
	from, to := l.ends()
	listed := to.peers()
	var own []string
	for _, id := range from.ids() {
		if slices.Contains(listed, id) {
			return id, id
		}
		if slices.ContainsFunc(listed, func(p string) bool { return kindOf(p) == kindOf(id) }) {
			own = append(own, id)
		}
	}
	if own == nil {
		own = from.ids()
	}
	return some(own, " "), some(listed, " ")
}
