// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

const (
	// schemeSwitch is the scheme of the devices in the middle of an interconnect,
	// schemeGPU that of those around it.
	schemeSwitch = "nvidia-nvswitch"
	schemeGPU    = "nvidia-gpu"
	// boardGPUs and boardSwitches are what a board in protected PCIe has: NVIDIA
	// supports the mode for a whole board only. A device that is not up when the
	// switches sign their lists is in none of them, and may come up later.
	boardGPUs     = 8
	boardSwitches = 4
	// maxLinks bounds the links of one fabric that become edges: far above any
	// machine, where one board has 32. A composite can hold a device many times, and
	// the verdict on it has to stay one that can be signed.
	maxLinks = 4096
	// maxNamed is how many devices or links one reason names.
	maxNamed = 32
)

// fabric is a set of devices that are joined by what they say of each other,
// members and links in the order of labels.
type fabric struct {
	members []*member
	links   []link
	// unknown are named identities that no component has, with who names them.
	unknown map[string][]*member
}

// fabrics takes the devices of a composite apart, in the order of first labels.
func fabrics(parts []verdict.Component) []*fabric {
	all, holders := members(parts)
	of := map[*member]*fabric{}
	for _, m := range all {
		of[m] = &fabric{members: []*member{m}, unknown: map[string][]*member{}}
	}
	named := map[string]*member{}
	for _, m := range all {
		for _, id := range m.peers() {
			if first := named[id]; first != nil {
				join(of, first, m) // also where nobody is the device that both name
			}
			named[id] = m
			for _, h := range holders[id] {
				join(of, m, h)
			}
			if len(holders[id]) == 0 {
				f := of[m]
				f.unknown[id] = append(f.unknown[id], m)
			}
		}
	}
	var out []*fabric
	for _, m := range all {
		if f := of[m]; !slices.Contains(out, f) && (len(f.members) > 1 || len(m.peers()) > 0 || m.required()) {
			f.order(parts)
			out = append(out, f)
		}
	}
	return out
}

// members are the components about which something was verified, and, by every
// identity that is named, those of them that have it.
func members(parts []verdict.Component) (all []*member, holders map[string][]*member) {
	holders = map[string][]*member{}
	for i := range parts {
		m := &member{c: &parts[i], views: views(parts[i])}
		if len(m.views) == 0 {
			continue
		}
		all = append(all, m)
		for _, id := range m.peers() {
			holders[id] = nil
		}
	}
	for _, m := range all {
		for _, id := range m.ids() {
			if list, ok := holders[id]; ok {
				holders[id] = append(list, m)
			}
		}
	}
	return all, holders
}

// join makes one fabric of two.
func join(of map[*member]*fabric, a, b *member) {
	to, from := of[a], of[b]
	if to == from {
		return
	}
	for _, m := range from.members {
		of[m] = to
	}
	to.members = append(to.members, from.members...)
	for id, who := range from.unknown {
		to.unknown[id] = append(to.unknown[id], who...)
	}
}

// order puts the members in the order of the components and finds the links.
func (f *fabric) order(parts []verdict.Component) {
	at := make(map[evidence.Path]int, len(parts))
	for i, c := range parts {
		at[c.Label] = i
	}
	slices.SortFunc(f.members, func(a, b *member) int { return at[a.c.Label] - at[b.c.Label] })
	for i, a := range f.members {
		for _, b := range f.members[i:] {
			state := pairNone
			if a != b {
				state = pair(a, b)
			} else if slices.ContainsFunc(a.peers(), a.has) {
				state = pairBroken // a device that names itself
			}
			if state != pairNone {
				f.links = append(f.links, newLink(a, b, state))
			}
		}
	}
}

// newLink lets a link lead from a device to a switch.
func newLink(a, b *member, state int) link {
	if a.isSwitch() && !b.isSwitch() {
		a, b = b, a
	}
	return link{a, b, state}
}

func (m *member) isSwitch() bool { return m.c.Scheme == schemeSwitch }

// inClear: a device says that it needs the others, so the rules hold for all.
func (f *fabric) inClear() bool { return slices.ContainsFunc(f.members, (*member).required) }

// rule looks at a fabric in its composite and says what does not hold.
type rule func(parts []verdict.Component) []verdict.Cap

// findings are what the rules say: one for all fabrics, the others for devices
// that work with one another in clear.
func (f *fabric) findings(parts []verdict.Component) []verdict.Cap {
	rules := []rule{f.consistent, f.bounded}
	if f.inClear() {
		rules = append(rules, f.attested, f.once, f.heard, f.mode, f.kinds, f.complete, f.counts, f.tiers)
	}
	var out []verdict.Cap
	for _, r := range rules {
		out = append(out, r(parts)...)
	}
	return out
}

// bounded: a fabric with more links than are looked at is none of any machine.
func (f *fabric) bounded([]verdict.Component) []verdict.Cap {
	if len(f.links) <= maxLinks {
		return nil
	}
	return []verdict.Cap{gap(verdict.TierNone, "the %d devices around %s name each other in %d pairs, at most %d are looked at", len(f.members), f.members[0].c.Label, len(f.links), maxLinks)}
}

// consistent: what one device has signed does not contradict another.
func (f *fabric) consistent([]verdict.Component) []verdict.Cap {
	var out []string
	var expected, observed string // of the first one
	for _, l := range f.links {
		if l.state != pairBroken {
			continue
		}
		if out == nil {
			expected, observed = l.values()
		}
		out = append(out, l.contradicts())
	}
	if out == nil {
		return nil
	}
	return []verdict.Cap{contradiction("what devices have signed about their links does not agree: "+some(out, "; "),
		expected, observed, "identities in the certificates of the devices")}
}

// attested: every device that one names is a component with a verified result,
// and every device names some. What nobody attested carries what is in clear;
// where a component without verdict could be it, nothing is known.
func (f *fabric) attested(parts []verdict.Component) []verdict.Cap {
	var out []verdict.Cap
	add := func(m *member, detail string) {
		if could := f.unjudged(parts, m.otherScheme()); could != "" {
			out = append(out, gap(verdict.TierNone, "%s; what has no verdict could be that: %s", detail, could))
			return
		}
		out = append(out, gap(verdict.TierContraindicated, "%s", detail))
	}
	ids := map[string][]string{} // by who names them
	for _, id := range f.missing() {
		who := whole(f.unknown[id])
		ids[who] = append(ids[who], id)
	}
	for _, who := range slices.Sorted(maps.Keys(ids)) {
		add(f.unknown[ids[who][0]][0], fmt.Sprintf("no component is %s, with which these work over links in clear: %s", some(ids[who], ", "), labels(f.unknown[ids[who][0]])))
	}
	if m := f.members[0]; len(f.members) == 1 && len(m.peers()) == 0 {
		add(m, fmt.Sprintf("%s works over links in clear, names no device at their other ends, and none names it", m.c.Label))
	}
	return out
}

// otherScheme is the scheme of the devices at the other ends of links.
func (m *member) otherScheme() string {
	if m.isSwitch() {
		return schemeGPU
	}
	return schemeSwitch
}

// missing are the identities that no component has.
func (f *fabric) missing() []string {
	return slices.Sorted(maps.Keys(f.unknown))
}

// unjudged are the components that could be the named devices of this scheme that
// no component is: submitted, of the scheme or of one that nobody knows, and
// nothing was found about them. Nothing where these are fewer than those, unless
// one is a leaf that nobody could take apart.
func (f *fabric) unjudged(parts []verdict.Component, scheme string) string {
	var out []string
	open := 0
	for _, who := range f.unknown {
		if who[0].otherScheme() == scheme {
			open++
		}
	}
	for _, c := range parts {
		if c.Evidence == ([sha256.Size]byte{}) || c.Class == verdict.ClassCPU || c.Tier() != verdict.TierNone || found(c) {
			continue
		}
		switch c.Scheme {
		case "":
			open = 0
			fallthrough
		case scheme:
			out = append(out, string(c.Label))
		}
	}
	if len(out) < open {
		return ""
	}
	return some(out, ", ")
}

// found: some verifier found out which device a component is.
func found(c verdict.Component) bool {
	return slices.ContainsFunc(appraisals(c), func(a verdict.Appraisal) bool { return len(a.Facts.Device) > 0 })
}

// once: an identity that is named belongs to one component.
func (f *fabric) once([]verdict.Component) []verdict.Cap {
	var out []verdict.Cap
	first := map[string]*member{}
	for _, m := range f.members {
		ids := m.ids()
		for _, id := range ids {
			if other := first[id]; other != nil {
				out = append(out, verdict.Cap{Tier: verdict.TierContraindicated, Reason: verdict.Reason{
					Code: verdict.ReasonDuplicateIdentity, Detail: fmt.Sprintf("%s and %s are the same device (%s)", other.c.Label, m.c.Label, id)}})
				break
			}
		}
		for _, id := range ids {
			if first[id] == nil {
				first[id] = m
			}
		}
	}
	return out
}

// heard: a device that is named says so too.
func (f *fabric) heard([]verdict.Component) []verdict.Cap {
	var out []string
	for _, l := range f.links {
		if l.state == pairOpen {
			out = append(out, l.String())
		}
	}
	return gaps(verdict.TierNone, "it is not established that these name each other, since one of them, or one of its verifiers, says nothing", out)
}

// mode: every device around the switches says that it works so.
func (f *fabric) mode([]verdict.Component) []verdict.Cap {
	var out []string
	for _, m := range f.members {
		if !m.isSwitch() && slices.ContainsFunc(m.views, func(v view) bool { return !v.required }) {
			out = append(out, string(m.c.Label))
		}
	}
	return gaps(verdict.TierNone, "it is not established that these work in clear as the devices do with which they are linked", out)
}

// kinds: a link joins a device and a switch.
func (f *fabric) kinds([]verdict.Component) []verdict.Cap {
	var out []string
	for _, l := range f.links {
		if l.a.isSwitch() == l.b.isSwitch() {
			out = append(out, l.String())
		}
	}
	return gaps(verdict.TierContraindicated, "a link in clear joins a switch and a device around it, which these are not", out)
}

// complete: every device is linked with every switch, so that the lists of all
// devices are equal, and so are those of all switches.
func (f *fabric) complete([]verdict.Component) []verdict.Cap {
	linked := map[[2]*member]bool{}
	for _, l := range f.links {
		linked[[2]*member{l.a, l.b}] = true
	}
	var out []string
	devices, switches := f.sides()
	for _, d := range devices {
		for _, s := range switches {
			if !linked[[2]*member{d, s}] {
				out = append(out, link{a: d, b: s}.String())
			}
		}
	}
	return gaps(verdict.TierContraindicated, "not all devices of one interconnect in clear name the same switches, or not all switches the same devices; neither names the other", out)
}

// counts: a whole board.
func (f *fabric) counts([]verdict.Component) []verdict.Cap {
	devices, switches := f.sides()
	if len(devices) == boardGPUs && len(switches) == boardSwitches {
		return nil
	}
	return []verdict.Cap{gap(verdict.TierWarning, "the interconnect in clear of %s has this many devices and switches: %d and %d; a board in protected PCIe has %d and %d, and what is not up yet is in no list",
		f.members[0].c.Label, len(devices), len(switches), boardGPUs, boardSwitches)}
}

// tiers: what is in clear is as good as the worst that sees it. That also holds
// for a member that the composite as such could do without.
func (f *fabric) tiers([]verdict.Component) []verdict.Cap {
	var out []verdict.Cap
	for _, t := range []struct {
		tier verdict.Tier
		code string
	}{
		{verdict.TierWarning, verdict.ReasonDependsOnWarning}, {verdict.TierNone, verdict.ReasonDependsOnNone},
		{verdict.TierContraindicated, verdict.ReasonDependsOnBad},
	} {
		var who []*member
		for _, m := range f.members {
			if m.c.Tier() == t.tier {
				who = append(who, m)
			}
		}
		if len(who) > 0 && len(f.members) > 1 {
			out = append(out, verdict.Cap{Tier: t.tier, Reason: verdict.Reason{Code: t.code, Detail: fmt.Sprintf(
				"%s: all %d devices of the interconnect in clear depend on it", labels(who), len(f.members))}})
		}
	}
	return out
}

// sides are the devices around the switches, and these.
func (f *fabric) sides() (devices, switches []*member) {
	for _, m := range f.members {
		if m.isSwitch() {
			switches = append(switches, m)
			continue
		}
		devices = append(devices, m)
	}
	return devices, switches
}

// summary is what a verdict says about the whole fabric.
func (f *fabric) summary(parts []verdict.Component) verdict.Interconnect {
	i := verdict.Interconnect{Tier: verdict.TierAffirming, Configuration: verdict.ClaimApprovedBoot, Unattested: f.missing()}
	devices, switches := f.sides()
	for _, m := range devices {
		i.Devices = append(i.Devices, m.c.Label)
	}
	for _, m := range switches {
		i.Switches = append(i.Switches, m.c.Label)
	}
	rules := verdict.TierAffirming
	for _, c := range f.findings(parts) {
		i.Tier = verdict.Worst(i.Tier, c.Tier)
		if !depends(c.Reason.Code) {
			rules = verdict.Worst(rules, c.Tier)
		}
		i.Reasons = append(i.Reasons, c.Reason)
	}
	for _, m := range f.members {
		i.Tier = verdict.Worst(i.Tier, m.c.Tier()) // also that of a lone device
	}
	i.Configuration = configurationOf(rules)
	return i
}

// depends: the reason is about how good a member is, not about the rules.
func depends(code string) bool {
	return slices.Contains([]string{verdict.ReasonDependsOnWarning, verdict.ReasonDependsOnNone, verdict.ReasonDependsOnBad}, code)
}

// configurationOf is the AR4SI claim about the rules.
func configurationOf(rules verdict.Tier) verdict.Claim {
	switch rules {
	case verdict.TierAffirming:
		return verdict.ClaimApprovedBoot
	case verdict.TierWarning:
		return verdict.ClaimUnsafe
	case verdict.TierNone:
		return verdict.ClaimNone
	}
	return verdict.ClaimContraindicate
}

func gap(t verdict.Tier, format string, args ...any) verdict.Cap {
	return verdict.Cap{Tier: t, Reason: verdict.Reason{Code: verdict.ReasonInterconnect, Detail: fmt.Sprintf(format, args...)}}
}

// gaps is one finding about several devices or links, and none about nothing.
func gaps(t verdict.Tier, what string, about []string) []verdict.Cap {
	if len(about) == 0 {
		return nil
	}
	return []verdict.Cap{gap(t, "%s: %s", what, some(about, ", "))}
}

// labels are those of members in a reason.
func labels(who []*member) string { return some(names(who), ", ") }

// whole are the labels of all, to tell one set of members from another.
func whole(who []*member) string { return strings.Join(names(who), ", ") }

func names(who []*member) []string {
	out := make([]string, 0, len(who))
	for _, m := range who {
		out = append(out, string(m.c.Label))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// some joins the first of a list for a reason, and says how many there are besides.
func some(list []string, separator string) string {
	if len(list) <= maxNamed {
		return strings.Join(list, separator)
	}
	return fmt.Sprintf("%s%sand %d more", strings.Join(list[:maxNamed], separator), separator, len(list)-maxNamed)
}
