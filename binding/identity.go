// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// KindIdentity says that two components claim to be the same device.
const KindIdentity = "identity-collision"

func identityChecker() Checker {
	return Checker{
		Kind: KindIdentity, Strength: StrengthNone, Origin: "-",
		Needs:    "identities of devices in verified results",
		Compares: "the identities of every component with those of every other one; TEEs that are different ones on one platform share that of the platform",
		find:     identityCollision,
	}
}

// identityCollision refuses one device that answers under two labels.
func identityCollision(c *composite) ([]verdict.Binding, []verdict.Cap) {
	holders := map[string][]*node{}
	var edges []verdict.Binding
	var caps []verdict.Cap
	for _, p := range c.parts {
		hit := map[evidence.Path]bool{}
		for _, id := range p.devices() {
			for _, other := range holders[id] {
				if other == p || hit[other.Label] || onePlatform(other, p) == id {
					continue
				}
				hit[other.Label] = true
				edges = append(edges, verdict.Binding{From: p.Label, To: other.Label, Kind: KindIdentity, Strength: StrengthNone, Status: StatusBroken,
					Compared: "the identities in the verified results of both", Expected: "identities that differ", Observed: id})
				caps = append(caps, capped(verdict.TierContraindicated, verdict.Reason{
					Code:     verdict.ReasonDuplicateIdentity,
					Detail:   fmt.Sprintf("%s and %s are the same device (%s)", other.Label, p.Label, id),
					Expected: "a device of its own under every label", Observed: id, Source: "identities in verified results",
				}))
				break // the first one that it is tells enough
			}
			holders[id] = append(holders[id], p)
		}
	}
	return edges, caps
}

// devices are the identities that any verifier of a component found.
func (p *node) devices() []string {
	var out []string
	for _, a := range p.all {
		out = append(out, a.Facts.Device...)
	}
	return out
}
