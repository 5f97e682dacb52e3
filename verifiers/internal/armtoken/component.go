// SPDX-License-Identifier: Apache-2.0

package armtoken

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/corim"
)

// Component is one software component (RFC 9783, section 4.4.1; CCA has the
// same).
type Component struct {
	// Type is the role, as "BL" or "RMM"; "" if it is not there.
	Type string
	// Value is the digest of 32, 48 or 64 bytes.
	Value []byte
	// Version is "" if it is not there.
	Version string
	// Signer is the digest of the key that verified the component.
	Signer []byte
	// Description names the algorithm in deployed tokens ("sha-256", "SHA256"), "" if
	// it is not there.
	Description string
	// Alg is the algorithm of Value: as Description, else by the size.
	Alg corim.Algorithm
}

// Members of a software component.
const (
	componentType    = 1
	componentValue   = 2
	componentVersion = 4
	componentSigner  = 5
	componentDesc    = 6
)

// Components reads a list of software components, which is not empty. need tells
// whether it has to be there.
func (c *Claims) Components(key int64, need bool) []Component {
	var items []cbor.RawMessage
	if !c.take(key, "software components", 4, need, &items) {
		return nil
	}
	if len(items) == 0 {
		c.Fail("claim %d (software components) is empty", key)
	}
	out := make([]Component, 0, len(items))
	for i, raw := range items {
		one, err := c.d.component(raw)
		if err != nil {
			c.Fail("claim %d (software components): component %d: %w", key, i, err)
			return nil
		}
		out = append(out, one)
	}
	return out
}

func (d *Decoder) component(raw []byte) (Component, error) {
	c := d.Claims(raw)
	out := Component{
		Type:        c.Text(componentType, "measurement type", false),
		Value:       c.Bytes(componentValue, "measurement value", HashSizes()...),
		Version:     c.Text(componentVersion, "version", false),
		Signer:      c.Bytes(componentSigner, "signer id", HashSizes()...),
		Description: c.Text(componentDesc, "measurement description", false),
	}
	if c.err == nil && len(c.Unread()) > 0 {
		c.Fail("unknown members %v", c.Unread())
	}
	if c.err == nil {
		out.Alg, c.err = algorithm(out.Description, len(out.Value))
	}
	return out, c.err
}

// AlgorithmOf is the algorithm of SHA-2 whose digests have that many bytes.
func AlgorithmOf(size int) corim.Algorithm {
	switch size {
	case 32:
		return corim.SHA256
	case 48:
		return corim.SHA384
	}
	return corim.SHA512
}

// algorithm is what a description says, if it names a hash, and it must then
// have the size of the value. The description is free text in older profiles.
func algorithm(description string, size int) (corim.Algorithm, error) {
	name := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(description))
	for _, a := range []corim.Algorithm{corim.SHA256, corim.SHA384, corim.SHA512} {
		if name == strings.ReplaceAll(string(a), "-", "") && AlgorithmOf(size) != a {
			return "", fmt.Errorf("measurement value has %d bytes, and is said to be by %.32q", size, description)
		}
	}
	for _, other := range []string{"sha", "md", "sm3", "blake", "shake"} {
		if strings.HasPrefix(name, other) && name != "sha256" && name != "sha384" && name != "sha512" {
			return "", fmt.Errorf("measurement value is by %.32q, expected sha-256, sha-384 or sha-512", description)
		}
	}
	return AlgorithmOf(size), nil
}

// Describe is the component for people, by its place.
func (c *Component) Describe(i int) string {
	if c.Type == "" {
		return fmt.Sprintf("software component %d", i)
	}
	return fmt.Sprintf("software component %q", c.Type)
}

// Claim is the component for the claims of an appraisal.
func (c *Component) Claim() map[string]any {
	m := map[string]any{
		"measurement_value": hex.EncodeToString(c.Value), "signer_id": hex.EncodeToString(c.Signer), "algorithm": string(c.Alg),
	}
	for name, s := range map[string]string{"measurement_type": c.Type, "version": c.Version, "measurement_description": c.Description} {
		if s != "" {
			m[name] = s
		}
	}
	return m
}

// ComponentClaims are components for the claims of an appraisal.
func ComponentClaims(list []Component) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i].Claim()
	}
	return out
}
