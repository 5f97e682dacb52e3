// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// InventoryType is the media type of a leaf that says what a machine consists of.
// It is JSON (UTF-8, no duplicate members):
//
//	{"components": [{"label": "gpu/*", "scheme": "nvidia-gpu", "exactly": 8}, …]}
//
// with the members of Requirement, but for source. It is no component: the lead
// reads it, and demands what it says (SourceLeadEvidence).
const InventoryType = "application/vnd.assize.inventory+json"

// MaxInventory is the largest inventory in bytes.
const MaxInventory = 64 << 10

// Inventory is where the inventory of a composite stands in it.
type Inventory struct {
	Label evidence.Path `json:"label"`
	// SHA256 and SHA384 are digests of its bytes, hexadecimal: what launch
	// parameters and measured events of a CPU TEE can hold.
	SHA256 string `json:"sha256"`
	SHA384 string `json:"sha384"`
}

// ParseInventory reads an inventory strictly. At least one component is named.
func ParseInventory(raw []byte) ([]Requirement, error) {
	if len(raw) > MaxInventory {
		return nil, fmt.Errorf("verdict: inventory of %d bytes, at most %d", len(raw), MaxInventory)
	}
	m, err := trust.ParseObject(raw, 4)
	if err != nil {
		return nil, fmt.Errorf("verdict: inventory: %w", err)
	}
	if _, ok := m["components"]; !ok || len(m) != 1 {
		return nil, errors.New("verdict: an inventory has one member, components")
	}
	list, err := object(m).objects("components", MaxRequirements)
	if err != nil || len(list) == 0 {
		return nil, errors.Join(errors.New("verdict: an inventory without components"), err)
	}
	out := make([]Requirement, 0, len(list))
	for _, o := range list {
		for name := range o {
			switch name {
			case "label", "scheme", "exactly", "at_least", "optional":
			default:
				return nil, fmt.Errorf("verdict: inventory: a component has no member %.40q", name)
			}
		}
		o["source"] = SourceLeadEvidence
		q, err := o.requirement()
		if err != nil {
			return nil, fmt.Errorf("verdict: inventory: %w", err)
		}
		out = append(out, q)
	}
	return out, nil
}

func (i Inventory) check() error {
	if i.Label == "" || !hexOf(i.SHA256, 32) || !hexOf(i.SHA384, 48) {
		return errors.New("an inventory without label or digests")
	}
	return nil
}

func (o object) inventory(name string) (*Inventory, error) {
	if _, ok := o[name]; !ok {
		return nil, nil
	}
	m, err := o.object(name)
	if err != nil {
		return nil, err
	}
	var i Inventory
	var label string
	for member, to := range map[string]*string{"label": &label, "sha256": &i.SHA256, "sha384": &i.SHA384} {
		if *to, err = m.text(member); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	i.Label = evidence.Path(label)
	return &i, i.check()
}
