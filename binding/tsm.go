// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// KindTSM says that the signed evidence of the CPU TEE holds digests of a device
// under TDISP: those that its security manager has, measured by the software that
// took the device in (decision D-80).
const KindTSM = "tsm-digest"

// identifying are the objects that are one device's own: with one of them equal,
// the others in the same commitment are about this device.
var identifying = []string{verdict.ObjectCertificates, verdict.ObjectPublicKey, verdict.ObjectMeasurements}

// unsigned are the objects under no signature of the device.
var unsigned = []string{verdict.ObjectReport, verdict.ObjectTSM, verdict.ObjectTSMState}

// match is how the commitments of one result about the CPU relate to the objects
// of one result about a device.
type match struct {
	// bound are the names of the objects that are equal, none where the commitments
	// do not identify the device.
	bound []string
	// broken names the objects that differ.
	broken []string
	// origin is the least trustworthy of what is equal.
	origin string
	// expected and observed are the digests of the first object that differs, or
	// else of the first that is equal.
	expected, observed string
}

func tsmChecker() Checker {
	return Checker{
		Kind: KindTSM, Strength: StrengthStrong, Origin: "who wrote the digests: application, measured or hardware",
		Needs:    "digests of a device under TDISP in the signed evidence of the root, and digests of the objects of that device",
		Compares: "the digests of certificates, key, negotiation, measurements, interface report and TSM information with those of the device; whose TSM it is with the scheme of the root",
		find:     tsmDigest,
	}
}

// tsmDigest joins devices to the CPU TEE that has their digests in its evidence.
func tsmDigest(c *composite) ([]verdict.Binding, []verdict.Cap) {
	if c.root == nil {
		return nil, nil
	}
	var edges []verdict.Binding
	var caps []verdict.Cap
	for _, p := range c.parts {
		if c.isRoot(p) || !slices.ContainsFunc(p.all, hasObjects) {
			continue
		}
		e, _, found := tsmEdge(c.root, p)
		edges, caps = append(edges, e), append(caps, found...)
	}
	return edges, caps
}

func hasObjects(a verdict.Appraisal) bool { return len(a.Facts.Objects) > 0 }

// tsmEdge is the edge of one device, with the objects that it binds: from all
// results about the CPU and all that were found about the device.
func tsmEdge(root, p *node) (e verdict.Binding, objects []string, caps []verdict.Cap) {
	e = verdict.Binding{From: p.Label, To: root.Label, Kind: KindTSM, Strength: StrengthNone, Status: StatusAbsent,
		Compared: fmt.Sprintf("digests of %s in the evidence of %s with those of its objects", p.Label, root.Label)}
	m := matches(root.all, p.Label, p.all)
	e.Expected, e.Observed = m.expected, m.observed
	source := fmt.Sprintf("signed evidence of %s", root.Label)
	switch host := hostOf(p.all, root.Scheme); {
	case host != "":
		e.Status, e.Expected, e.Observed = StatusBroken, root.Scheme, host
		e.Compared = "the scheme of the CPU TEE with that of the security manager that speaks of the device"
		return e, nil, []verdict.Cap{contradiction(fmt.Sprintf(
			"a security manager of %s speaks of %s, and %s is %s", host, p.Label, root.Label, root.Scheme), root.Scheme, host, source)}
	case len(m.broken) > 0:
		e.Status = StatusBroken
		return e, nil, []verdict.Cap{contradiction(fmt.Sprintf(
			"the evidence of %s holds digests of %s, and these are of something else: %s", root.Label, p.Label, strings.Join(m.broken, ", ")), m.expected, m.observed, source)}
	case len(m.bound) == 0:
		e.Expected, e.Observed = "", ""
		return e, nil, nil
	}
	e.Compared += ": " + strings.Join(m.bound, ", ")
	caps = rated(&e, m.origin, root.all, fmt.Sprintf("the evidence of %s holds digests of %s", root.Label, p.Label))
	return e, m.bound, caps
}

// hostOf is the scheme of a CPU TEE whose security manager speaks of a device, by
// any of its verifiers, if it is another one than that of the root.
func hostOf(found []verdict.Appraisal, root string) string {
	for _, a := range found {
		if h := a.Facts.Host; h != "" && h != root {
			return h
		}
	}
	return ""
}

// matches puts together what all results about the CPU say of all results about
// the device: one of them suffices against the edge, all are needed for it.
func matches(cpu []verdict.Appraisal, label evidence.Path, device []verdict.Appraisal) (out match) {
	first := true
	for _, a := range cpu {
		for _, d := range device {
			m := matchOf(label, a.Facts.Commitments, d.Facts.Objects)
			if first || len(m.broken) > 0 && len(out.broken) == 0 {
				out.expected, out.observed = m.expected, m.observed
			}
			out.broken = sorted(append(out.broken, m.broken...))
			if first {
				out.bound, out.origin = m.bound, m.origin
			}
			first = false
			out.bound = slices.DeleteFunc(slices.Clone(out.bound), func(o string) bool { return !slices.Contains(m.bound, o) })
			out.origin = lesser(out.origin, m.origin)
		}
	}
	if !slices.ContainsFunc(identifying, out.same) {
		out.bound = nil
	}
	return out
}

// matchOf compares the commitments about one device with its objects. They are
// about it if they name its label, and all of these have to fit; or if they name
// its certificates, key or measurements: who measured it may not know what it is
// called here. Of these, one has to fit: functions of one device have one chain.
// What several of them say is not put together: that would make one interface of
// the report of one function and the TSM information of another.
func matchOf(label evidence.Path, commitments []verdict.Commitment, objects []verdict.Object) match {
	groups := map[string][]verdict.Commitment{}
	for _, c := range commitments {
		groups[c.Subject] = append(groups[c.Subject], c)
	}
	var fits, wrong match
	for _, subject := range slices.Sorted(maps.Keys(groups)) {
		m := compare(groups[subject], objects)
		switch {
		case len(m.broken) > 0 && subject == string(label):
			return match{broken: m.broken, expected: m.expected, observed: m.observed}
		case len(m.broken) > 0:
			if len(m.bound) > 0 {
				wrong.broken, wrong.expected, wrong.observed = append(wrong.broken, m.broken...), m.expected, m.observed
			}
		case m.says(unsigned) > fits.says(unsigned) || m.says(unsigned) == fits.says(unsigned) && len(m.bound) > len(fits.bound):
			fits = m
		}
	}
	if len(fits.bound) > 0 {
		return fits
	}
	return wrong
}

func (m match) same(object string) bool { return slices.Contains(m.bound, object) }

// says counts which of some objects are bound.
func (m match) says(objects []string) (n int) {
	for _, o := range objects {
		if m.same(o) {
			n++
		}
	}
	return n
}

// compare holds one device's commitments to objects, where both are digests by
// one algorithm. What is equal counts only if something of it identifies a device.
func compare(commitments []verdict.Commitment, objects []verdict.Object) (m match) {
	m.origin = OriginHardware
	for _, c := range commitments {
		i := slices.IndexFunc(objects, func(o verdict.Object) bool { return o.Name == c.Object && o.Alg == c.Alg })
		switch {
		case i < 0:
		case objects[i].Digest == c.Digest:
			m.bound, m.origin = append(m.bound, c.Object), lesser(m.origin, c.Origin)
			if m.expected == "" {
				m.expected, m.observed = c.Digest, c.Digest
			}
		default:
			if m.broken == nil {
				m.expected, m.observed = c.Digest, objects[i].Digest
			}
			m.broken = append(m.broken, c.Object)
		}
	}
	if !slices.ContainsFunc(identifying, m.same) {
		m.bound, m.origin = nil, ""
	}
	m.bound = slices.DeleteFunc(sorted(m.bound), func(o string) bool { return slices.Contains(m.broken, o) })
	return m
}

// Unauthenticated are the components with claims that rest on bytes beside their
// signature (Facts.RelayRequired, or such an object), where nothing of the CPU TEE vouches for these
// bytes: neither a strong commitment to the whole evidence of the component in
// report data, made by known software that had it from the security manager, nor
// strong digests of every such object; and those for whose key nobody vouches
// (Facts.KeyRequired), where no strong commitment of the CPU TEE is to that key.
// The reasons say what is missing: one for the key, one for the bytes, or both, since
// neither takes back what the other does (decision D-124).
func Unauthenticated(list []verdict.Component) map[evidence.Path][]verdict.Reason {
	c := newComposite(list, nil)
	out := map[evidence.Path][]verdict.Reason{}
	for _, p := range c.parts {
		if why, open := c.unvouchedKey(p); open {
			out[p.Label] = append(out[p.Label], why)
		}
		if why := c.unvouchedBytes(p); why != "" {
			out[p.Label] = append(out[p.Label], verdict.Reason{Code: verdict.ReasonReportUnauthenticated,
				Detail: "interface report and TSM information are under no signature of the device, and " + why})
		}
	}
	return out
}

// unvouchedBytes says why the bytes beside the signature of a component do not count,
// "" if they do, or if nothing rests on them.
func (c *composite) unvouchedBytes(p *node) string {
	switch {
	case !slices.ContainsFunc(p.all, needsRelay):
		return ""
	case c.root == nil:
		return "no single CPU TEE is there to vouch for what it says of the interface"
	}
	return c.unauthenticated(p)
}

// needsRelay: the verifier says so, or it found objects under no signature and
// should have.
func needsRelay(a verdict.Appraisal) bool {
	return a.Facts.RelayRequired || slices.ContainsFunc(a.Facts.Objects, func(o verdict.Object) bool { return slices.Contains(unsigned, o.Name) })
}

// unauthenticated says why nothing of the CPU TEE vouches for a component, "" if
// something does.
func (c *composite) unauthenticated(p *node) string {
	root := c.root
	e, objects, _ := tsmEdge(root, p)
	if e.Status == StatusBroken {
		return fmt.Sprintf("the evidence of %s has digests of something else", root.Label)
	}
	relayed, _ := reportData(&composite{root: root, parts: []*node{p}})
	if slices.ContainsFunc(relayed, func(e verdict.Binding) bool {
		return e.Status == StatusBound && e.Strength == StrengthStrong
	}) {
		return ""
	}
	if e.Status != StatusBound || e.Strength != StrengthStrong {
		return fmt.Sprintf("%s commits to them neither in its report data nor by measured digests of known software", root.Label)
	}
	need := slices.DeleteFunc(slices.Clone(unsigned), func(name string) bool { return !hasObject(p.all, name) })
	missing := slices.DeleteFunc(slices.Clone(need), func(name string) bool { return slices.Contains(objects, name) })
	switch {
	case len(need) == 0:
		return fmt.Sprintf("the evidence of %s has digests of the device, but what else there is has none to compare with", root.Label)
	case len(missing) > 0:
		return fmt.Sprintf("the evidence of %s has digests of the device, but none of %s", root.Label, strings.Join(missing, ", "))
	}
	return ""
}

// hasObject reports whether any verifier of a component found an object of a name.
func hasObject(found []verdict.Appraisal, name string) bool {
	return slices.ContainsFunc(found, func(a verdict.Appraisal) bool {
		return slices.ContainsFunc(a.Facts.Objects, func(o verdict.Object) bool { return o.Name == name })
	})
}
