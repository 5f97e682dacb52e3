// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"slices"

	"github.com/assize/assize/evidence"
)

// Interconnect is what the lead found about devices that sign that they work with
// one another over links in clear: the GPUs and switches of one board in protected
// PCIe (decision D-77). It follows from the facts of verified results alone and
// says nothing that its members do not allow.
type Interconnect struct {
	// Tier is that of the rules and of every member, whichever is worst.
	Tier Tier `json:"tier"`
	// Configuration is the AR4SI claim about the rules: 3 all hold, 32 not the
	// number of devices of such a board, 96 broken or incomplete, 0 where that
	// cannot be told because something has no verdict.
	Configuration Claim `json:"configuration"`
	// Devices and Switches are the members that are components, in the order of
	// their labels: a switch is at one end of each link, a device at the other.
	Devices  []evidence.Path `json:"devices,omitempty"`
	Switches []evidence.Path `json:"switches,omitempty"`
	// Unattested are the identities that members name and that no component has,
	// in the spelling of Facts.Device, sorted.
	Unattested []string `json:"unattested,omitempty"`
	// Reasons say which rules do not hold, and which members are not affirming.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Members are the labels of all devices and switches.
func (i Interconnect) Members() []evidence.Path { return slices.Concat(i.Devices, i.Switches) }

// check holds for every interconnect of a signed result: it names components of
// the result, and neither is it better than one of them nor the whole better
// than it.
func (i Interconnect) check(r *Result) error {
	if len(i.Members()) == 0 {
		return errors.New("an interconnect without members")
	}
	if i.Tier != TierAffirming && len(i.Reasons) == 0 || slices.ContainsFunc(i.Reasons, Reason.empty) {
		return errors.New("an interconnect without reason")
	}
	for _, label := range i.Members() {
		at := slices.IndexFunc(r.Components, func(c Component) bool { return c.Label == label })
		if at < 0 {
			return fmt.Errorf("an interconnect of %q, which is no component", label)
		}
		if t := r.Components[at].Tier(); t.WorseThan(i.Tier) {
			return fmt.Errorf("an interconnect with status %s, but its member %q has %s", i.Tier, label, t)
		}
	}
	if t := i.Configuration.Tier(); t.WorseThan(i.Tier) {
		return fmt.Errorf("an interconnect with status %s, but its configuration is %d", i.Tier, i.Configuration)
	}
	if i.Tier.WorseThan(r.Outcome.Tier) {
		return fmt.Errorf("status %s with an interconnect that is %s", r.Outcome.Tier, i.Tier)
	}
	return nil
}

// interconnects reads what the lead found about links in clear; nil when absent.
func (o object) interconnects() ([]Interconnect, error) {
	list, err := o.objects("assize.interconnects", MaxInterconnects)
	var out []Interconnect
	for _, m := range list {
		one, err := m.interconnect()
		if err != nil {
			return nil, fmt.Errorf("assize.interconnects: %w", err)
		}
		out = append(out, one)
	}
	return out, err
}

// MaxInterconnects bounds the interconnects of one result: each has a component.
const MaxInterconnects = 256

func (o object) interconnect() (i Interconnect, err error) {
	if i.Tier, err = o.tier("tier"); err != nil {
		return i, err
	}
	if i.Configuration, err = o.claim("configuration"); err != nil {
		return i, err
	}
	for name, to := range map[string]*[]evidence.Path{"devices": &i.Devices, "switches": &i.Switches} {
		labels, err := o.texts(name)
		if err != nil {
			return i, err
		}
		for _, label := range labels {
			*to = append(*to, evidence.Path(label))
		}
	}
	if i.Unattested, err = o.texts("unattested"); err != nil {
		return i, err
	}
	i.Reasons, err = o.reasons("reasons")
	return i, err
}
