// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/assize/assize/internal/strictjson"
	"github.com/assize/assize/verdict"
)

// componentPrefix begins the data of an event by which the software of a machine
// measures the evidence of another component of its composite (decision D-95).
const componentPrefix = `{"assize.component":`

// maxComponentName bounds the label in such an event, in bytes.
const maxComponentName = 256

// componentDigests are the members that may state a digest of the evidence.
var componentDigests = []struct {
	member, alg string
	size        int
}{{"sha256", verdict.AlgSHA256, 32}, {"sha384", verdict.AlgSHA384, 48}}

// Components are the digests of the evidence of other components that software
// measured into one register: events whose whole data are a JSON object of texts
// with "assize.component", the label in the composite, and "sha256", "sha384" or
// both, the digests of the bytes of that evidence in lower-case hexadecimal.
// Further members are ignored. A later event about a label replaces an earlier
// one, also where it cannot be read: evidence was collected anew. refused says of
// which events nothing is used, and why.
func (m *Matched) Components(register uint32) (out []verdict.Commitment, refused []string) {
	last := map[string][]verdict.Commitment{}
	var labels []string
	for _, p := range m.Events() {
		if p.Index != register || !p.Whole || !bytes.HasPrefix(p.Data, []byte(componentPrefix)) {
			continue
		}
		label, list, err := readComponent(p.Data)
		if err != nil {
			refused = append(refused, fmt.Sprintf("event %d: %v", p.Number, err))
		}
		if label == "" {
			continue
		}
		if !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
		last[label] = list
	}
	for _, label := range labels {
		out = append(out, last[label]...)
	}
	return out, refused
}

// Software is the value that a run-time register of a confidential guest had before
// the events of Components at its end. These are data of one session, and no
// software: a value that says what runs cannot include them. Nil where there are
// none, or where anything else was measured behind the first of them. An event with
// further members is something else: whatever known software measures before it runs
// it, a manifest in JSON for example, could have these two as well.
func (m *Matched) Software(register uint32) []byte {
	value := make([]byte, m.alg.Size())
	found := false
	for _, p := range m.Events() {
		if p.Index != register || !p.Extends() {
			continue
		}
		if m.component(&p) {
			found = true
			continue
		}
		if found {
			return nil
		}
		var next [maxDigest]byte
		value = slices.Clone(m.alg.sum(&next, slices.Concat(value, p.Digest)))
	}
	if !found {
		return nil
	}
	return value
}

// component: the event is one of Components, can be read, and says nothing else.
func (m *Matched) component(p *Proven) bool {
	if !p.Whole || !bytes.HasPrefix(p.Data, []byte(componentPrefix)) {
		return false
	}
	_, digests, err := readComponent(p.Data)
	if err != nil {
		return false
	}
	members, err := strictjson.Members(p.Data)
	return err == nil && len(members) == 1+len(digests)
}

// readComponent reads the data of one event. The label is there with an error too
// if it can be read.
func readComponent(data []byte) (label string, out []verdict.Commitment, err error) {
	members, err := strictjson.Members(data)
	if err != nil {
		return "", nil, err
	}
	text := func(member string) (string, error) {
		var s *string
		if err := json.Unmarshal(members[member], &s); err != nil || s == nil {
			return "", fmt.Errorf("%q is no text", member)
		}
		return *s, nil
	}
	if label, err = text("assize.component"); err != nil {
		return "", nil, err
	}
	if label == "" || len(label) > maxComponentName {
		return "", nil, fmt.Errorf("label of %d bytes", len(label))
	}
	for _, d := range componentDigests {
		if _, ok := members[d.member]; !ok {
			continue
		}
		s, err := text(d.member)
		if err != nil {
			return label, nil, err
		}
		if raw, err := hex.DecodeString(s); err != nil || len(raw) != d.size || hex.EncodeToString(raw) != s {
			return label, nil, fmt.Errorf("%q is no digest of %d bytes", d.member, d.size)
		}
		out = append(out, verdict.Commitment{
			Subject: label, Object: verdict.ObjectEvidence, Alg: d.alg, Digest: s, Via: "event-log", Origin: verdict.OriginMeasured,
		})
	}
	if out == nil {
		return label, nil, fmt.Errorf("no digest of the evidence of %.64q", label)
	}
	return label, out, nil
}
