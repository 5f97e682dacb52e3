// SPDX-License-Identifier: Apache-2.0

// Package render prints trees and verdicts for people. Everything that came
// out of evidence is escaped before it reaches a terminal.
package render

import (
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// clean makes text from evidence safe for a terminal: whatever is not
// printable is shown as an escape sequence.
func clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// Tree prints a CMW tree: one line per node with label path, kind, media type,
// indicator, size, SHA-256 of the value, scheme and signer.
func Tree(w io.Writer, t *evidence.Tree, schemes *verifiers.Set) {
	root := t.Root()
	digest := t.Digest()
	fmt.Fprintf(w, "%s %s, %d bytes, sha-256 %s\n", root.Kind(), root.Format(), len(t.Raw()), hex.EncodeToString(digest[:]))
	if rt := t.Ratsd(); rt != nil {
		fmt.Fprintf(w, "ratsd token version %d, nonce %d bytes, adjusted by %q, signed: %t\n", rt.Version, len(rt.Nonce), clean(rt.Function), rt.Signed)
	}
	if root.CollectionType() != "" {
		fmt.Fprintf(w, "type %s\n", clean(root.CollectionType()))
	}
	if len(root.Children()) == 0 {
		leaf(w, root, "", schemes)
		return
	}
	children(w, root, "", schemes)
}

func children(w io.Writer, n *evidence.Node, indent string, schemes *verifiers.Set) {
	list := n.Children()
	for i, c := range list {
		mark, next := "├─ ", indent+"│  "
		if i == len(list)-1 {
			mark, next = "└─ ", indent+"   "
		}
		fmt.Fprintf(w, "%s%s%s  ", indent, mark, clean(string(c.Path())))
		if len(c.Children()) > 0 {
			fmt.Fprintf(w, "%s%s%s\n", c.Kind(), typed(c.CollectionType()), signer(c))
			children(w, c, next, schemes)
			continue
		}
		leaf(w, c, next, schemes)
	}
}

func typed(t string) string {
	if t == "" {
		return ""
	}
	return " " + clean(t)
}

func leaf(w io.Writer, n *evidence.Node, indent string, schemes *verifiers.Set) {
	ind := "-"
	if n.Indicator() != 0 {
		ind = strconv.Itoa(int(n.Indicator()))
	}
	digest := n.Digest()
	fmt.Fprintf(w, "%s  %s\n", n.Kind(), clean(n.MediaType().String()))
	fmt.Fprintf(w, "%s   ind %s, %d bytes, sha-256 %s\n", indent, ind, len(n.Value()), hex.EncodeToString(digest[:]))
	fmt.Fprintf(w, "%s   %s%s\n", indent, scheme(n, schemes), signer(n))
}

func scheme(n *evidence.Node, schemes *verifiers.Set) string {
	if readByLead(n) {
		return "read by the lead"
	}
	parts, split, err := schemes.Parts(n.MediaType(), n.Value())
	if err != nil {
		return "no scheme: " + clean(err.Error())
	}
	if !split {
		return "scheme " + parts[0].Scheme.Name
	}
	count := map[string]int{}
	for _, p := range parts {
		name := p.Scheme.Name
		if p.Err != nil {
			name = "no scheme"
		}
		count[name]++
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(count)) {
		if name == "no scheme" {
			out = append(out, fmt.Sprintf("no scheme for %d device(s)", count[name]))
			continue
		}
		out = append(out, fmt.Sprintf("scheme %s, %d device(s)", name, count[name]))
	}
	return strings.Join(out, "; ")
}

// readByLead: the node says something about the composite, and is no component.
func readByLead(n *evidence.Node) bool {
	return n.Kind() == evidence.KindClaims || n.Leaf() && n.MediaType().Base == verdict.InventoryType && n.Path() != ""
}

func signer(n *evidence.Node) string {
	s := n.Signer()
	if s == nil {
		return ""
	}
	state := "signature NOT verified"
	if s.Verified {
		state = "signed by " + s.Thumbprint
	}
	return ", " + state
}

// Verdict prints a verdict as a tree: tier and reasons of the whole, then every
// component with scheme, tier, time, verifier, vector and reasons.
func Verdict(w io.Writer, r *verdict.Result) {
	fmt.Fprintf(w, "%s  %s\n", strings.ToUpper(r.Outcome.Tier.String()), clean(r.Topology))
	for _, reason := range r.Outcome.Reasons {
		fmt.Fprintf(w, "│  %s\n", reasonText(reason))
	}
	policyLines(w, r)
	for i, c := range r.Components {
		mark, indent := "├─ ", "│  "
		if i == len(r.Components)-1 && len(r.Bindings)+len(r.Interconnects) == 0 {
			mark, indent = "└─ ", "   "
		}
		component(w, c, mark, indent)
	}
	edges := slices.DeleteFunc(slices.Clone(r.Bindings), func(b verdict.Binding) bool { return withinInterconnect(r, b) })
	for n, i := range r.Interconnects {
		mark, indent := "├─ ", "│  "
		if n == len(r.Interconnects)-1 && len(edges) == 0 {
			mark, indent = "└─ ", "   "
		}
		interconnect(w, r, i, mark, indent)
	}
	for i, b := range edges {
		mark := "├─ "
		if i == len(edges)-1 {
			mark = "└─ "
		}
		fmt.Fprintf(w, "%sbinding %s → %s  %s, strength %s: %s\n", mark, clean(string(b.From)), clean(string(b.To)), b.Kind, b.Strength, b.Status)
	}
}

// policyLines say by which policy a verdict was made, where it is more than the
// default, and how it would differ under one that is tried.
func policyLines(w io.Writer, r *verdict.Result) {
	if p := r.Policy; p != nil && (p.ID != "default" || len(p.Accepts)+len(p.Annotations) > 0 || p.Acceptable != verdict.TierAffirming) {
		taken := "not accepted"
		if p.Accepted {
			taken = "accepted"
		}
		fmt.Fprintf(w, "│  policy %s, sha-256 %.16s…: %s by it\n", clean(p.ID), clean(p.Digest), taken)
		for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
			fmt.Fprintf(w, "│     %s: %s\n", clean(key), clean(p.Annotations[key]))
		}
	}
	for _, q := range r.Requirements {
		fmt.Fprintf(w, "│  wanted: %s\n", clean(q.String()))
	}
	d := r.DryRun
	if d == nil {
		return
	}
	name := "no policy"
	if d.Policy != nil {
		name = "policy " + clean(d.Policy.ID)
	}
	fmt.Fprintf(w, "│  dry run, %s: %s instead of %s\n", name, d.Tier, d.Was)
	for _, label := range slices.Sorted(maps.Keys(d.Components)) {
		c := d.Components[label]
		fmt.Fprintf(w, "│     %s: %s instead of %s\n", clean(label), c.Tier, c.Was)
		for _, reason := range c.Reasons {
			fmt.Fprintf(w, "│        + %s\n", reasonText(reason))
		}
	}
	for _, reason := range d.Added {
		fmt.Fprintf(w, "│     + %s\n", reasonText(reason))
	}
	for _, reason := range d.Removed {
		fmt.Fprintf(w, "│     - %s\n", reasonText(reason))
	}
}

// interconnect prints what is known about devices that work with one another in
// clear. The edges that hold are counted and not printed one by one.
func interconnect(w io.Writer, r *verdict.Result, i verdict.Interconnect, mark, indent string) {
	bound := 0
	for _, b := range r.Bindings {
		if withinInterconnect(r, b) && slices.Contains(i.Members(), b.From) {
			bound++
		}
	}
	fmt.Fprintf(w, "%sinterconnect in clear  %s  configuration %d, %d devices and %d switches, %d pairs bound\n",
		mark, i.Tier, i.Configuration, len(i.Devices), len(i.Switches), bound)
	for _, side := range []struct {
		name   string
		labels []evidence.Path
	}{{"devices", i.Devices}, {"switches", i.Switches}} {
		var names []string
		for _, label := range side.labels {
			names = append(names, clean(string(label)))
		}
		if names != nil {
			fmt.Fprintf(w, "%s   %s %s\n", indent, side.name, strings.Join(names, ", "))
		}
	}
	if len(i.Unattested) > 0 {
		fmt.Fprintf(w, "%s   not attested %s\n", indent, clean(strings.Join(i.Unattested, ", ")))
	}
	for _, reason := range i.Reasons {
		fmt.Fprintf(w, "%s   %s\n", indent, reasonText(reason))
	}
}

// withinInterconnect: the edge holds and joins two members of one interconnect.
func withinInterconnect(r *verdict.Result, b verdict.Binding) bool {
	return b.Kind == binding.KindInterconnect && b.Status == binding.StatusBound && slices.ContainsFunc(r.Interconnects, func(i verdict.Interconnect) bool {
		return slices.Contains(i.Members(), b.From) && slices.Contains(i.Members(), b.To)
	})
}

func component(w io.Writer, c verdict.Component, mark, indent string) {
	name := c.Scheme
	if name == "" {
		name = clean(c.MediaType)
	}
	if !c.Required {
		name += " (optional)"
	}
	fmt.Fprintf(w, "%s%s  %s  %s  %d µs\n", mark, clean(string(c.Label)), name, c.Tier(), c.Duration.Microseconds())
	if !c.Partial.IsZero() {
		a := c.Partial.Appraisal()
		id, kid := c.Partial.Verifier()
		fmt.Fprintf(w, "%s   verifier %s %s, key %s\n", indent, clean(id.Developer), clean(id.Build), kid)
		fmt.Fprintf(w, "%s   %s, freshness %s\n", indent, vector(c.Vector()), a.Freshness)
		if strings.Contains(a.PolicyID, ":") { // the defaults are named by the scheme alone
			fmt.Fprintf(w, "%s   appraisal policy %s\n", indent, clean(a.PolicyID))
		}
		if rev := c.Partial.ReferenceRevision(); rev != "" {
			fmt.Fprintf(w, "%s   reference values of revision %s\n", indent, rev)
		}
		for _, reason := range a.Reasons {
			fmt.Fprintf(w, "%s   %s\n", indent, reasonText(reason))
		}
	}
	if c.Quorum > 0 {
		fmt.Fprintf(w, "%s   %s\n", indent, quorum(c))
	}
	if text := way(c); text != "" {
		fmt.Fprintf(w, "%s   %s\n", indent, text)
	}
	for _, reason := range c.Reasons {
		fmt.Fprintf(w, "%s   %s\n", indent, reasonText(reason))
	}
}

// way says through which nodes a component was handed and where its verifiers
// were asked; nothing where the lead asked its own.
func way(c verdict.Component) string {
	var out []string
	if n := len(c.Path); n > 0 {
		out = append(out, "by way of "+clean(strings.Join(verdict.Names(c.Path), " > "))+", led by "+clean(c.Path[n-1].Node))
	}
	if c.Site != "" {
		out = append(out, "asked at "+clean(c.Site))
	}
	if len(c.Sites) > 0 {
		out = append(out, "asked at "+clean(strings.Join(c.Sites, ", ")))
	}
	return strings.Join(out, ", ")
}

// quorum says what redundant verifiers answered, the worst first.
func quorum(c verdict.Component) string {
	out := fmt.Sprintf("quorum %d of %d", c.Quorum, c.Asked)
	sep := ": "
	for _, p := range c.Partials() {
		_, kid := p.Verifier()
		out += fmt.Sprintf("%s%s by key %s", sep, p.Status(), clean(kid))
		sep = ", "
	}
	if silent := c.Asked - len(c.Partials()); silent > 0 {
		out += fmt.Sprintf("%s%d without an answer", sep, silent)
	}
	return out
}

func vector(v verdict.Vector) string {
	var out []string
	for _, n := range verdict.ClaimNames() {
		if v[n] != 0 {
			out = append(out, fmt.Sprintf("%s %d", n, v[n]))
		}
	}
	if len(out) == 0 {
		return "asserts nothing"
	}
	return strings.Join(out, ", ")
}

func reasonText(r verdict.Reason) string {
	if r.Detail == "" {
		return clean(r.Code)
	}
	return clean(r.Code) + ": " + clean(r.Detail)
}
