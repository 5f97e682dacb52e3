// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// launched are the registers of a CPU TEE that whoever launched it can set to a
// digest, with the digest that fits.
var launched = map[string]func(verdict.Inventory) string{
	"mrconfigid": func(i verdict.Inventory) string { return i.SHA384 }, // Intel TDX, 48 bytes
	"host_data":  func(i verdict.Inventory) string { return i.SHA256 }, // AMD SEV-SNP, 32 bytes
}

// Vouched says by what the signed evidence of the CPU TEE vouches for an inventory
// of the machine, "" by nothing: a launch parameter is its digest; report data
// commit to it, or an event in a measured log is it, and the software is known. c is
// to what the report data commit, nil for nothing.
//
// It says that this inventory was meant for this machine when it was launched or
// attested. Whoever launches a machine chooses its parameters: an inventory can
// demand something, and excuses nothing.
func Vouched(parts []verdict.Component, i verdict.Inventory, c *evidence.Commitment) string {
	root := newComposite(parts, nil).root
	if root == nil {
		return ""
	}
	all := root.all
	if len(all) == 0 {
		return ""
	}
	for name, digest := range launched {
		if !slices.ContainsFunc(all, func(a verdict.Appraisal) bool { return a.Facts.Registers[name] != digest(i) }) {
			return name
		}
	}
	if slices.ContainsFunc(all, unknownSoftware) {
		return ""
	}
	if c != nil && evidence.CommitsToEvidence(root.NonceRule) && freshness(all) == verdict.FreshnessFresh {
		if digest, ok := c.Leaves[i.Label]; ok && fmt.Sprintf("%x", digest[:]) == i.SHA384 {
			return KindReportData
		}
	}
	for _, a := range all {
		if !slices.ContainsFunc(a.Facts.Measured, func(m verdict.MeasuredEvent) bool { return m.Content == i.SHA256 }) {
			return ""
		}
	}
	return "event-log"
}
