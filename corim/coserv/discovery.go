// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/trust"
)

// Names of the HTTP binding.
const (
	// DiscoveryPath is where the discovery document is.
	DiscoveryPath = "/.well-known/coserv-configuration"
	// Endpoint is the name of the request-response interface in it, and
	// EndpointPath where we offer that, as in the examples of the draft.
	Endpoint     = "CoSERVRequestResponse"
	EndpointPath = "/endorsement-distribution/v1/coserv/{query}"
	// QueryVariable is what the query replaces.
	QueryVariable = "{query}"

	TypeDiscoveryJSON = "application/coserv-discovery+json"
	TypeDiscoveryCBOR = "application/coserv-discovery+cbor"
)

// MediaType is TypeSigned or TypeUnsigned with the parameter profile.
func MediaType(base, profile string) string { return base + `; profile="` + profile + `"` }

// ParseMediaType splits what MediaType makes. The profile is "" if absent.
func ParseMediaType(s string) (base, profile string, err error) {
	base, params, err := mime.ParseMediaType(s)
	if err != nil {
		return "", "", fmt.Errorf("coserv: media type: %w", err)
	}
	return base, params["profile"], nil
}

// Capability is a profile and what there is for it.
type Capability struct {
	// MediaType has the profile as parameter.
	MediaType string
	// Artifacts are "source", "collected", "rims".
	Artifacts []string
}

// Discovery is what a service says about itself.
type Discovery struct {
	// Version is a semantic version.
	Version      string
	Capabilities []Capability
	// Endpoints are URL paths by the name of the interface.
	Endpoints map[string]string
	// Keys verify results. They come over the network with the results: whoever
	// asks needs another reason to believe in them.
	Keys []corim.SigningKey
}

const (
	maxDiscovery   = 1 << 20
	maxDiscovered  = 1024 // capabilities, endpoints, keys
	depthDiscovery = 8
)

type jsonCapability struct {
	MediaType string   `json:"media-type"`
	Artifacts []string `json:"artifact-support"`
}

// EncodeJSON writes the document as JSON. Keys are an array of JWKs, as in the
// draft's example.
func (d Discovery) EncodeJSON() ([]byte, error) {
	out := struct {
		Version      string            `json:"version"`
		Capabilities []jsonCapability  `json:"capabilities"`
		Endpoints    map[string]string `json:"api-endpoints"`
		Keys         []jwk.Key         `json:"result-verification-key,omitempty"`
	}{Version: d.Version, Endpoints: d.Endpoints}
	for _, c := range d.Capabilities {
		out.Capabilities = append(out.Capabilities, jsonCapability(c))
	}
	for _, k := range d.Keys {
		key, err := jwk.Import(k.Public)
		if err == nil {
			err = key.Set(jwk.KeyIDKey, string(k.ID))
		}
		if err != nil {
			return nil, fmt.Errorf("coserv: key %q: %w", k.ID, err)
		}
		alg, err := Algorithm(k.Public)
		if err == nil {
			err = key.Set(jwk.AlgorithmKey, alg.String())
		}
		if err != nil {
			return nil, fmt.Errorf("coserv: key %q: %w", k.ID, err)
		}
		out.Keys = append(out.Keys, key)
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	return raw, d.check()
}

// EncodeCBOR writes the document as CBOR. Keys are an array of COSE keys.
func (d Discovery) EncodeCBOR() ([]byte, error) {
	out := map[int64]any{1: d.Version, 3: d.Endpoints}
	var capabilities, keys []any
	for _, c := range d.Capabilities {
		capabilities = append(capabilities, map[int64]any{1: c.MediaType, 2: c.Artifacts})
	}
	out[2] = capabilities
	for _, k := range d.Keys {
		key, err := cose.NewKeyFromPublic(k.Public)
		if err != nil {
			return nil, fmt.Errorf("coserv: key %q: %w", k.ID, err)
		}
		key.ID = k.ID
		raw, err := key.MarshalCBOR()
		if err != nil {
			return nil, fmt.Errorf("coserv: key %q: %w", k.ID, err)
		}
		keys = append(keys, cbor.RawMessage(raw))
	}
	if keys != nil {
		out[4] = keys
	}
	raw, err := marshal(out)
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	return raw, d.check()
}

// check holds for documents that are written and that are read.
func (d Discovery) check() error {
	switch {
	case d.Version == "":
		return errors.New("coserv: discovery document without a version")
	case len(d.Capabilities) == 0:
		return errors.New("coserv: discovery document without capabilities")
	case len(d.Endpoints) == 0:
		return errors.New("coserv: discovery document without endpoints")
	case len(d.Capabilities) > maxDiscovered || len(d.Endpoints) > maxDiscovered || len(d.Keys) > maxDiscovered:
		return fmt.Errorf("coserv: discovery document: %w", ErrLimit)
	}
	for _, c := range d.Capabilities {
		if _, _, err := ParseMediaType(c.MediaType); err != nil {
			return err
		}
		if len(c.Artifacts) == 0 {
			return fmt.Errorf("coserv: capability %q without artifacts", c.MediaType)
		}
	}
	if path, ok := d.Endpoints[Endpoint]; ok && (!strings.HasSuffix(path, "/"+QueryVariable) || strings.Count(path, "{") != 1) {
		return fmt.Errorf("coserv: endpoint %q does not end with /%s, or has other variables", path, QueryVariable)
	}
	return nil
}

// ParseDiscovery reads a document by its media type, of at most 1 MiB. Members
// that are not known are ignored, and so are keys that cannot be used.
func ParseDiscovery(mediaType string, raw []byte) (*Discovery, error) {
	if len(raw) > maxDiscovery {
		return nil, fmt.Errorf("coserv: discovery document of %d bytes: %w", len(raw), ErrLimit)
	}
	base, _, err := ParseMediaType(mediaType)
	if err != nil {
		return nil, err
	}
	var d *Discovery
	switch base {
	case TypeDiscoveryJSON:
		d, err = discoveryJSON(raw)
	case TypeDiscoveryCBOR:
		d, err = discoveryCBOR(raw)
	default:
		return nil, fmt.Errorf("coserv: %q is not the type of a discovery document", base)
	}
	if err != nil {
		return nil, err
	}
	return d, d.check()
}

func discoveryJSON(raw []byte) (*Discovery, error) {
	if _, err := trust.ParseObject(raw, depthDiscovery); err != nil { // strict: no duplicates
		return nil, fmt.Errorf("coserv: discovery document: %w", err)
	}
	var in struct {
		Version      string            `json:"version"`
		Capabilities []jsonCapability  `json:"capabilities"`
		Endpoints    map[string]string `json:"api-endpoints"`
		Keys         json.RawMessage   `json:"result-verification-key"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("coserv: discovery document: %w", err)
	}
	d := &Discovery{Version: in.Version, Endpoints: in.Endpoints}
	for _, c := range in.Capabilities {
		d.Capabilities = append(d.Capabilities, Capability(c))
	}
	for _, raw := range jwks(in.Keys) {
		if key, err := jwk.ParseKey(raw); err == nil {
			id, _ := key.KeyID()
			var public crypto.PublicKey
			if jwk.Export(key, &public) == nil {
				d.key([]byte(id), public)
			}
		}
	}
	return d, nil
}

// jwks splits an array of keys, or a JWK Set, which the grammar names and the
// example does not show.
func jwks(raw json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if raw == nil || json.Unmarshal(raw, &list) == nil {
		return list
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(raw, &set) != nil {
		return nil
	}
	return set.Keys
}

// key adds a public key that results can be verified with.
func (d *Discovery) key(id []byte, public crypto.PublicKey) {
	if k, ok := public.(*ecdsa.PublicKey); ok {
		if _, err := k.ECDH(); err != nil { // not a point of the curve
			return
		}
	}
	if _, err := Algorithm(public); err == nil {
		d.Keys = append(d.Keys, corim.SigningKey{ID: id, Public: public})
	}
}

func discoveryCBOR(raw []byte) (*Discovery, error) {
	mode, err := decoding()
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	r := reader{mode}
	if len(raw) == 0 || raw[0]>>5 != 5 {
		return nil, errors.New("coserv: discovery document is not a map")
	}
	var in struct {
		Version      string `cbor:"1,keyasint"`
		Capabilities []struct {
			MediaType string   `cbor:"1,keyasint"`
			Artifacts []string `cbor:"2,keyasint"`
		} `cbor:"2,keyasint"`
		Endpoints map[string]string `cbor:"3,keyasint"`
		Keys      []cbor.RawMessage `cbor:"4,keyasint"`
	}
	if err := r.item("discovery document", raw, &in); err != nil {
		return nil, err
	}
	d := &Discovery{Version: in.Version, Endpoints: in.Endpoints}
	for _, c := range in.Capabilities {
		d.Capabilities = append(d.Capabilities, Capability{c.MediaType, c.Artifacts})
	}
	for _, raw := range in.Keys {
		var k cose.Key
		if k.UnmarshalCBOR(raw) != nil {
			continue
		}
		if public, err := k.PublicKey(); err == nil {
			d.key(k.ID, public)
		}
	}
	return d, nil
}
