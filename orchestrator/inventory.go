// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// isInventory: the leaf says what the machine consists of, and is no component.
func isInventory(leaf *evidence.Node) bool {
	return leaf.MediaType().Base == verdict.InventoryType && leaf.Path() != ""
}

// inventory reads what a composite says that its machine consists of; nil where it
// says nothing.
func inventory(tree *evidence.Tree) (*verdict.Inventory, []verdict.Requirement, error) {
	var found *verdict.Inventory
	var demanded []verdict.Requirement
	for _, leaf := range tree.Leaves() {
		if !isInventory(leaf) {
			continue
		}
		if found != nil {
			return found, nil, errors.New("the composite has two inventories")
		}
		short, long := sha256.Sum256(leaf.Value()), sha512.Sum384(leaf.Value())
		found = &verdict.Inventory{Label: leaf.Path(), SHA256: hex.EncodeToString(short[:]), SHA384: hex.EncodeToString(long[:])}
		var err error
		if demanded, err = verdict.ParseInventory(leaf.Value()); err != nil {
			return found, nil, err
		}
	}
	return found, demanded, nil
}

// stock puts the inventory of a composite into a result. One that cannot be read
// leaves no verdict: nobody knows what it demands.
func stock(r *verdict.Result, tree *evidence.Tree) (demanded []verdict.Requirement, caps []verdict.Cap) {
	var err error
	if r.Inventory, demanded, err = inventory(tree); err != nil {
		return nil, []verdict.Cap{{Tier: verdict.TierNone, Reason: verdict.Reason{Code: verdict.ReasonMalformed, Detail: err.Error()}}}
	}
	return demanded, nil
}

// unvouched caps for an inventory that no signed evidence of the CPU TEE vouches for:
// what it demands holds, but it is not known to be all.
func unvouched(r *verdict.Result) []verdict.Cap {
	if r.Inventory == nil || binding.Vouched(r.Components, *r.Inventory, r.Commitment) != "" {
		return nil
	}
	return []verdict.Cap{{Tier: verdict.TierWarning, Reason: verdict.Reason{
		Code:     verdict.ReasonInventory,
		Detail:   fmt.Sprintf("the inventory %s is in no launch parameter, commitment or measured event of known software", r.Inventory.Label),
		Observed: "sha-384 " + r.Inventory.SHA384,
	}}}
}

// recheckInventory holds what a verdict demands to the inventory in the evidence.
func recheckInventory(r *verdict.Result, tree *evidence.Tree) error {
	found, demanded, err := inventory(tree)
	if err != nil {
		if r.Outcome.Tier != verdict.TierAffirming && r.Outcome.Tier != verdict.TierWarning {
			return nil
		}
		return fmt.Errorf("orchestrator: the inventory in the evidence: %w", err)
	}
	stated := slices.DeleteFunc(slices.Clone(r.Requirements), func(q verdict.Requirement) bool { return q.Source != verdict.SourceLeadEvidence })
	if !reflect.DeepEqual(found, r.Inventory) || len(stated)+len(demanded) > 0 && !reflect.DeepEqual(stated, demanded) {
		return errors.New("orchestrator: the verdict does not demand what the inventory in the evidence says")
	}
	return nil
}
