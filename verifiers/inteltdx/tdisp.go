// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/assize/assize/internal/strictjson"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/eventlog"
)

// devicePrefix begins the data of an event by which the software of a TD measures
// a device that it takes in, into RTMR3 (decision D-80). The data are a JSON object
// of texts: "assize.tdisp" is the label of the device in the composite, or any name
// of it, and these are SHA-384 in lower-case hexadecimal:
//
//	certificates  certificate chain structure (required)
//	measurements  measurement transcript of the time when it was taken in (required)
//	vca           the six messages of the negotiation
//	report        interface report
//	tsm           structure of the TDX module
//	state         state and lock flags of the interface (verdict.ObjectTSMState)
//
// Further members are ignored. A later event of the same name replaces an earlier
// one: the device was taken in again.
const devicePrefix = `{"assize.tdisp":`

// deviceObjects are the members that commit to objects of the device. That of the
// measurements is none: the transcript in its evidence answers another challenge.
var deviceObjects = []struct{ member, object string }{
	{"certificates", verdict.ObjectCertificates}, {"vca", verdict.ObjectVCA},
	{"report", verdict.ObjectReport}, {"tsm", verdict.ObjectTSM}, {"state", verdict.ObjectTSMState},
}

// devices reports the devices that the TD took in. Only RTMR3 counts: into the
// other registers, firmware measures what the host gives it.
func (v *verifier) devices(a *verdict.Appraisal, m *eventlog.Matched, out map[string]any) {
	var names []any
	var refused []any
	last := map[string][]verdict.Commitment{}
	for _, p := range m.Events() {
		if p.Index != logRuntime || !p.Whole || !bytes.HasPrefix(p.Data, []byte(devicePrefix)) {
			continue
		}
		name, list, err := readDevice(p.Data)
		if err != nil { // list is nil, so that no earlier event of that name counts
			refused = append(refused, fmt.Sprintf("event %d: %v", p.Number, err))
		}
		if name == "" {
			continue
		}
		if _, again := last[name]; !again {
			names = append(names, name)
		}
		last[name] = list
	}
	if refused != nil {
		out["tdisp_devices_refused"] = refused
	}
	if names == nil {
		return
	}
	out["tdisp_devices"] = names
	var all []verdict.Commitment
	for _, name := range names {
		all = append(all, last[name.(string)]...)
	}
	if len(all) > verdict.MaxCommitments {
		// Half of them would hide what the other half contradicts.
		out["tdisp_devices_refused"] = append(refused, fmt.Sprintf("%d digests, at most %d", len(all), verdict.MaxCommitments))
		return
	}
	a.Facts.Commitments = all
}

// components adds the evidence of other components that the software of the TD
// measured, into RTMR3 as well (decision D-95).
func (v *verifier) components(a *verdict.Appraisal, m *eventlog.Matched, out map[string]any) {
	list, refused := m.Components(logRuntime)
	if len(a.Facts.Commitments)+len(list) > verdict.MaxCommitments {
		refused, list = append(refused, fmt.Sprintf("%d digests, at most %d", len(list), verdict.MaxCommitments-len(a.Facts.Commitments))), nil
	}
	a.Facts.Commitments = append(a.Facts.Commitments, list...)
	if refused != nil {
		var list []any
		for _, why := range refused {
			list = append(list, why)
		}
		out["components_refused"] = list
	}
}

// readDevice reads the data of one event. The name is there with an error too if it
// can be read.
func readDevice(data []byte) (name string, out []verdict.Commitment, err error) {
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
	if name, err = text("assize.tdisp"); err != nil {
		return "", nil, err
	}
	if name == "" || len(name) > maxDeviceName {
		return "", nil, fmt.Errorf("name of %d bytes", len(name))
	}
	for _, required := range []string{"certificates", "measurements"} {
		if _, ok := members[required]; !ok {
			return name, nil, fmt.Errorf("no %q", required)
		}
	}
	digest := func(member string) (string, error) {
		s, err := text(member)
		if err != nil {
			return "", err
		}
		if raw, err := hex.DecodeString(s); err != nil || len(raw) != 48 || hex.EncodeToString(raw) != s {
			return "", fmt.Errorf("%q is no SHA-384", member)
		}
		return s, nil
	}
	if _, err := digest("measurements"); err != nil {
		return name, nil, err
	}
	for _, o := range deviceObjects {
		if _, ok := members[o.member]; !ok {
			continue
		}
		d, err := digest(o.member)
		if err != nil {
			return name, nil, err
		}
		out = append(out, verdict.Commitment{
			Subject: name, Object: o.object, Alg: verdict.AlgSHA384, Digest: d, Via: "event-log", Origin: verdict.OriginMeasured,
		})
	}
	return name, out, nil
}

// maxDeviceName bounds the name of a device in bytes.
const maxDeviceName = 256
