// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestFactsRefused: facts out of form or beyond the bounds are neither signed nor
// taken in.
func TestFactsRefused(t *testing.T) {
	ok, long := strings.Repeat("0a", 32), strings.Repeat("0a", 48)
	key := func(spki, via, origin string) Facts { return Facts{Keys: []CommittedKey{{spki, via, origin}}} }
	event := func(register, digest, content string) Facts {
		return Facts{Measured: []MeasuredEvent{{Register: register, Digest: digest, Content: content}}}
	}
	for name, f := range map[string]Facts{"key": key(ok, "x", OriginHardware), "event": event("a", ok, ""), "long": event("a", long, ok)} {
		if err := f.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, f := range map[string]Facts{
		"short key": key("0a", "x", OriginMeasured), "upper case": key(strings.ToUpper(ok), "x", OriginMeasured),
		"no place": key(ok, "", OriginMeasured), "no origin": key(ok, "x", ""), "odd origin": key(ok, "x", "magic"),
		"no register": event("", ok, ""), "short digest": event("a", "0a", ""), "no digest": event("a", "", ""), "odd content": event("a", ok, "0a"),
		"many devices": {Device: slices.Repeat([]string{"x:1"}, MaxDevices+1)}, "no device": {Device: []string{""}},
		"many peers": {Peers: slices.Repeat([]string{"x:1"}, MaxPeers+1)}, "no peer": {Peers: []string{"x:1", ""}},
		"many chain keys": {ChainKeys: slices.Repeat([]string{ok}, MaxChainKeys+1)}, "short chain key": {ChainKeys: []string{"0a"}}, "no chain key": {ChainKeys: []string{""}},
		"long host":   {Host: strings.Repeat("x", maxHost+1)},
		"many keys":   {Keys: slices.Repeat(key(ok, "x", OriginMeasured).Keys, MaxCommittedKeys+1)},
		"many events": {Measured: slices.Repeat(event("a", ok, "").Measured, MaxMeasuredEvents+1)},
	} {
		if f.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	good := func() obj {
		return obj{
			"keys": []any{obj{"spki": ok, "via": "x", "origin": "measured"}}, "chain_keys": []any{ok}, "host": "arm-cca",
			"measured": []any{obj{"register": "a", "digest": ok, "type": json.Number("7")}},
		}
	}
	if f, err := object(good()).facts(); err != nil || f.Keys[0].SPKI != ok || f.Measured[0].Type != 7 ||
		!slices.Equal(f.ChainKeys, []string{ok}) || f.Host != "arm-cca" {
		t.Fatalf("%+v, %v", f, err)
	}
	for name, change := range map[string]func(keys, events obj, f obj){
		"no spki":       func(k, _, _ obj) { delete(k, "spki") },
		"no via":        func(k, _, _ obj) { delete(k, "via") },
		"no origin":     func(k, _, _ obj) { delete(k, "origin") },
		"no register":   func(_, e, _ obj) { delete(e, "register") },
		"no digest":     func(_, e, _ obj) { delete(e, "digest") },
		"no type":       func(_, e, _ obj) { delete(e, "type") },
		"type below":    func(_, e, _ obj) { e["type"] = json.Number("-1") },
		"type above":    func(_, e, _ obj) { e["type"] = json.Number("4294967296") },
		"content":       func(_, e, _ obj) { e["content"] = true },
		"no object":     func(_, _, f obj) { f["keys"] = []any{"x"} },
		"no list":       func(_, _, f obj) { f["measured"] = "x" },
		"many":          func(_, _, f obj) { f["keys"] = slices.Repeat(f["keys"].([]any), MaxCommittedKeys+1) },
		"peers text":    func(_, _, f obj) { f["peers_required"] = "true" },
		"peers number":  func(_, _, f obj) { f["peers_required"] = json.Number("1") },
		"peers null":    func(_, _, f obj) { f["peers_required"] = nil },
		"chain text":    func(_, _, f obj) { f["chain_keys"] = ok },
		"chain number":  func(_, _, f obj) { f["chain_keys"] = []any{json.Number("1")} },
		"chain of many": func(_, _, f obj) { f["chain_keys"] = slices.Repeat([]any{ok}, MaxChainKeys+1) },
		"odd host":      func(_, _, f obj) { f["host"] = []any{"arm-cca"} },
		"odd registers": func(_, _, f obj) { f["registers"] = []any{} },
	} {
		f := good()
		change(f["keys"].([]any)[0].(obj), f["measured"].([]any)[0].(obj), f)
		if _, err := object(f).facts(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestPeersRequired: what one verifier signed about the peers of a device arrives,
// and what it did not say is not said.
func TestPeersRequired(t *testing.T) {
	for want, in := range map[bool]obj{true: {"peers_required": true, "peers": []any{"x:1"}}, false: {"peers": []any{"x:1"}}} {
		f, err := object(in).facts()
		if err != nil || f.PeersRequired != want || !slices.Equal(f.Peers, []string{"x:1"}) || f.clone().PeersRequired != want {
			t.Errorf("%v: %+v, %v", in, f, err)
		}
	}
	if f, err := object(obj{"peers_required": false}).facts(); err != nil || f.PeersRequired {
		t.Errorf("%+v, %v", f, err)
	}
}
