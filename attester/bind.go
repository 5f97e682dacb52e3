// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/evidence"
)

// Where a machine of BindTrustee has its parts: Trustee's clients know a member
// for NVIDIA's GPUs, everything else is in ours.
const (
	trusteeNVIDIA = evidence.LabelAdditionalEvidence + "/nvidia"
	trusteeCMW    = evidence.LabelAdditionalEvidence + "/cmw/"
)

// subject is what the CPU TEE speaks about: everything else as its agent
// collected it.
type subject struct {
	leaves []Leaf
	// parts are the devices one by one.
	parts []Leaf
}

func (s *subject) digests() map[evidence.Path]evidence.LeafDigest {
	out := make(map[evidence.Path]evidence.LeafDigest, len(s.leaves))
	for _, l := range s.leaves {
		out[l.Path] = sha512.Sum384(l.Value)
	}
	return out
}

// elsewhere is what the CPU TEE of another machine speaks about.
func (m *Machine) elsewhere() subject {
	text := `"` + hex.EncodeToString(m.seed.Sub("foreign").Bytes(32)) + `"`
	l := Leaf{m.path("gpu"), KindGPU, evidence.MediaType{Base: nvidia.MediaType}, []byte(text)}
	one := l
	one.Path = l.Path.Index(0)
	return subject{[]Leaf{l}, []Leaf{one}}
}

// binds reports whether the CPU TEE commits to anything in this session.
func (m *Machine) binds(how string, s session) bool {
	return m.d.Binding == how && !s.plain && (m.cpu == nil || !m.cpu.faults[Unbound])
}

// declare says in the composite by which convention of others it is bound, and
// makes the challenges follow it.
func (m *Machine) declare(c *Composite, s *session) error {
	var convention string
	var raw []byte
	var err error
	switch {
	case m.binds(BindTrustee, *s):
		convention, c.Type = evidence.ConventionTrustee, evidence.BoundTrusteeCollection
		raw, err = m.trusteeRuntime(s.nonce)
	case m.binds(BindITA, *s):
		convention, c.Type = evidence.ConventionITA, evidence.BoundITACollection
		raw, err = m.itaRuntime(s.nonce)
	default:
		return nil
	}
	if err == nil {
		s.data, err = evidence.ParseRuntimeData(convention, raw)
	}
	if err != nil {
		return fmt.Errorf("attester: runtime data: %w", err)
	}
	c.Leaves = append(c.Leaves, Leaf{Path: evidence.LabelRuntimeData, Type: evidence.MediaType{Base: evidence.TypeRuntimeData}, Value: raw})
	return nil
}

// jwk is a P-256 key (RFC 7518, section 6.2).
func jwk(key *ecdsa.PublicKey, more map[string]any) (map[string]any, error) {
	point, err := key.Bytes() // 4, x, y (SEC 1, section 2.3.3)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"kty": "EC", "crv": "P-256",
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:])}
	for name, v := range more {
		out[name] = v
	}
	return out, nil
}

// trusteeRuntime has the key to which secrets for the guest are wrapped.
func (m *Machine) trusteeRuntime(nonce []byte) ([]byte, error) {
	key, err := m.seed.Sub("tee-pubkey").ECDSA(elliptic.P256())
	if err != nil {
		return nil, err
	}
	pub, err := jwk(&key.PublicKey, map[string]any{"alg": "ECDH-ES+A256KW"})
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"nonce": nonce, "tee-pubkey": pub})
}

// itaRuntime has the nonce as the authority would have issued and signed it.
func (m *Machine) itaRuntime(nonce []byte) ([]byte, error) {
	return json.Marshal(map[string]any{
		"verifier_nonce": map[string]any{
			"val": nonce, "iat": []byte(m.now.UTC().Format(time.RFC3339)), "signature": m.seed.Sub("ita", "signature").Bytes(384),
		},
		"user_data": m.seed.Sub("ita", "user data").Bytes(32),
	})
}

// additionalEvidence is the text of that name with all leaves below its label,
// nil without any.
func additionalEvidence(leaves []Leaf) ([]byte, error) {
	var members [][]byte
	rest := &branch{}
	for _, l := range leaves {
		if l.Path == trusteeNVIDIA {
			members = append(members, append([]byte(`"nvidia":`), l.Value...))
			continue
		}
		if name, ok := strings.CutPrefix(string(l.Path), trusteeCMW); ok {
			if err := rest.add(strings.Split(name, "/"), evidence.Record(l.Type, l.Value, evidence.IndEvidence)); err != nil {
				return nil, fmt.Errorf("attester: leaf %s: %w", l.Path, err)
			}
		}
	}
	if rest.names != nil {
		cmw, err := evidence.EncodeJSON(rest.item(""))
		if err != nil {
			return nil, err
		}
		members = append(members, append([]byte(`"cmw":`), cmw...))
	}
	if members == nil {
		return nil, nil
	}
	return append(append([]byte("{"), bytes.Join(members, []byte(","))...), '}'), nil
}

// trusteeItem is the composite with additional evidence as one text.
func (c *Composite) trusteeItem() (evidence.Item, error) {
	text, err := additionalEvidence(c.Leaves)
	if err != nil {
		return evidence.Item{}, err
	}
	out := Composite{Type: c.Type}
	for _, l := range c.Leaves {
		if !l.Path.Under(evidence.LabelAdditionalEvidence) {
			out.Leaves = append(out.Leaves, l)
		}
	}
	if text != nil {
		out.Leaves = append(out.Leaves, Leaf{Path: evidence.LabelAdditionalEvidence, Type: evidence.MediaType{Base: evidence.TypeAdditionalEvidence}, Value: text})
	}
	return out.nested()
}

// componentEvent is the event by which the software of a TD measures the evidence
// of a part into RTMR3 (decision D-95).
func componentEvent(l Leaf) inteltdx.Event {
	short, long := sha256.Sum256(l.Value), sha512.Sum384(l.Value)
	text := fmt.Sprintf(`{"assize.component":%q,"sha256":%q,"sha384":%q}`, string(l.Path), hex.EncodeToString(short[:]), hex.EncodeToString(long[:]))
	return inteltdx.Event{RTMR: 3, Type: eventTag, Data: []byte(text)}
}

// measuring is the CPU TEE after its software has measured what it collected: the
// register is another one in every session.
func (m *Machine) measuring(w *workshop, k knobs, about subject) (device, error) {
	events := m.events
	for _, l := range about.parts {
		events = append(events[:len(events):len(events)], componentEvent(l))
	}
	d, _, err := w.cpu(k, events)
	return d, err
}

// leadKeyID says of a key in runtime data that it signs composites (decision D-128).
const leadKeyID = "AssizeLeadPub"

// keyed is a TD whose runtime data hold the key that signs composites, and the
// challenge, in the form in which Azure's paravisor writes a vTPM's key: the report
// data are their SHA-256, and zeros.
type keyed struct {
	device
	key  *ecdsa.PublicKey
	wrap func(quote, runtime []byte) ([]byte, error)
}

// Evidence implements device.
func (k keyed) Evidence(challenge []byte) ([]byte, error) {
	key, err := jwk(k.key, map[string]any{"kid": leadKeyID, "key_ops": []string{"sign"}})
	if err != nil {
		return nil, err
	}
	runtime, err := json.Marshal(map[string]any{"keys": []any{key}, "user-data": strings.ToUpper(hex.EncodeToString(challenge))})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(runtime)
	quote, err := k.device.Evidence(append(sum[:], make([]byte, inteltdx.ReportDataSize-len(sum))...))
	if err != nil {
		return nil, err
	}
	return k.wrap(quote, runtime)
}
