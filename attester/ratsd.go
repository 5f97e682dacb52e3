// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/evidence"
)

// Names of ratsd's two tokens (veraison/ratsd, docs/ratsd-token.cddl).
const (
	// RatsdJSONType and RatsdV2Type are the media types as ratsd spells them.
	RatsdJSONType = `application/eat-ucs+json; eat_profile="` + ratsdJSONProfile + `"`
	RatsdV2Type   = `application/cmw+cbor; cmwct="` + ratsdV2Profile + `"`

	ratsdJSONProfile    = "tag:github.com,2024:veraison/ratsd"
	ratsdJSONCollection = "tag:github.com,2025:veraison/ratsd/cmw"
	ratsdV2Profile      = "tag:github.com,2026:veraison/ratsd/v2"
	ratsdV2Collection   = "tag:github.com,2025:veraison/ratsd/cmw/v2"
	ratsdFunction       = "shake-256"
)

// ratsdLabel is the name of ratsd's sub-attester for a leaf: it has no
// collections inside a collection.
func (m *Machine) ratsdLabel(l Leaf) string {
	name := strings.TrimPrefix(strings.TrimPrefix(string(l.Path), string(m.path(""))), trusteeCMW)
	switch {
	case l.Kind.hasTSM():
		return strings.Replace(name, "cpu", "tsm-report", 1)
	case l.Kind.cpu():
		return strings.Replace(name, "cpu", string(l.Kind), 1)
	case l.Kind == KindGPU:
		return "nv-gpu-evidence"
	case l.Kind == KindSwitch:
		return "nv-switch-evidence"
	case l.Kind == KindTPM:
		return strings.Replace(name, "vtpm", "tpm", 1)
	case l.Kind == KindPSA:
		return "psa-" + name[strings.LastIndexByte(name, '/')+1:]
	}
	return "spdm-" + name[strings.LastIndexByte(name, '/')+1:]
}

// RatsdAttesters are the names of the sub-attesters that the machine has.
func (m *Machine) RatsdAttesters() []string {
	var out []string
	for _, p := range m.Parts() {
		name := m.ratsdLabel(Leaf{Path: p.Label, Kind: p.Kind})
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Ratsd answers a challenge with ratsd's token of a format, with the
// sub-attesters of the selection, or all if it is empty. A name that the
// machine does not have is an error.
func (m *Machine) Ratsd(nonce []byte, f Format, selection []string) ([]byte, time.Duration, error) {
	for _, name := range selection {
		if !slices.Contains(m.RatsdAttesters(), name) {
			return nil, 0, fmt.Errorf("attester: no sub-attester %.64q", name)
		}
	}
	return m.ratsd(nonce, f, selection)
}

func (m *Machine) ratsd(nonce []byte, f Format, selection []string) ([]byte, time.Duration, error) {
	c, err := m.attest(session{nonce: nonce, stretch: true, plain: true, tsm: true})
	if err != nil {
		return nil, 0, err
	}
	var parts []ratsdPart
	for _, l := range c.Leaves {
		name := m.ratsdLabel(l)
		if len(selection) == 0 || slices.Contains(selection, name) {
			parts = append(parts, ratsdPart{name, l.Type, l.Value, l.Kind.nonceSize()})
		}
	}
	if len(parts) == 0 {
		return nil, 0, fmt.Errorf("attester: no sub-attester answers")
	}
	encode := ratsdLegacy
	if f == RatsdV2 {
		encode = ratsdV2
	}
	raw, err := encode(nonce, parts)
	return raw, c.Delay, err
}

// ratsdPart is one entry of a token.
type ratsdPart struct {
	name  string
	media evidence.MediaType
	value []byte
	size  int // of its nonce
}

func ratsdSizes(parts []ratsdPart) map[string]int {
	out := make(map[string]int, len(parts))
	for _, p := range parts {
		out[p.name] = p.size
	}
	return out
}

func ratsdCollection(cmwType string, ind evidence.Indicator, parts []ratsdPart, more ...evidence.Entry) evidence.Item {
	for _, p := range parts {
		more = append(more, evidence.Entry{Label: p.name, Item: evidence.Record(p.media, p.value, ind)})
	}
	return evidence.Collection(cmwType, more...)
}

// ratsdLegacy is the JSON token. It is not signed.
func ratsdLegacy(nonce []byte, parts []ratsdPart) ([]byte, error) {
	cmw, err := evidence.EncodeJSON(ratsdCollection(ratsdJSONCollection, 0, parts))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err = enc.Encode(struct {
		Profile  string         `json:"eat_profile"`
		Nonce    string         `json:"eat_nonce"`
		CMW      string         `json:"cmw"`
		Function string         `json:"vnd.veraison.nonce_adjust_function"`
		Sizes    map[string]int `json:"vnd.veraison.nonce_adjust_map"`
	}{ratsdJSONProfile, base64.StdEncoding.EncodeToString(nonce), base64.StdEncoding.EncodeToString(cmw), ratsdFunction, ratsdSizes(parts)})
	return bytes.TrimRight(out.Bytes(), "\n"), err
}

// ratsdV2 is the COSE token as today's daemon writes it: without a signature,
// in the place of which one zero byte stands.
func ratsdV2(nonce []byte, parts []ratsdPart) ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("attester: %w", err)
	}
	claims, err := mode.Marshal(cbor.Tag{Number: 601, Content: map[int]any{
		265: ratsdV2Profile, 10: nonce, 258: 48482, 270: "ratsd", 271: []string{"1.0.0"},
		-65537: ratsdFunction, -65538: ratsdSizes(parts),
	}})
	if err != nil {
		return nil, fmt.Errorf("attester: %w", err)
	}
	media := evidence.MediaType{Base: "application/eat-ucs+cbor"}.With("eat_profile", ratsdV2Profile)
	payload, err := evidence.EncodeCBOR(ratsdCollection(ratsdV2Collection, evidence.IndEvidence, parts,
		evidence.Entry{Label: "__ratsd", Item: evidence.Record(media, claims, 0)}))
	if err != nil {
		return nil, err
	}
	return mode.Marshal(cbor.Tag{Number: 18, Content: []any{[]byte{}, map[int]any{}, payload, []byte{0}}})
}
