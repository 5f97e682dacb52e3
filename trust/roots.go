// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Bounds of a roots file.
const (
	// MaxRoots is the largest roots file in bytes.
	MaxRoots = 4 << 20
	maxRoots = 64 // per scheme

	rootsDepth = 10
	rootsKind  = "assize-extra-roots"
)

// Roots are trust anchors beyond those that this software has built in: for
// simulated machines and test beds, never for production.
type Roots struct {
	// Schemes are root certificates of device vendors by scheme name.
	Schemes map[string][]*x509.Certificate
	// Attesters are keys that may sign whole composites; empty if there are none.
	Attesters *Anchors
}

// ParseRoots reads a roots file strictly: a JSON object with the members
//
//   - kind: "assize-extra-roots"
//   - note: text for people, optional
//   - roots: object of scheme names, each an array of PEM certificates
//   - attesters: a JWK Set as ParseJWKS reads it, optional
//
// Every certificate must be a CA certificate that is signed by its own key. At
// most MaxRoots bytes. The schema is schemas/trust.schema.json.
func ParseRoots(b []byte) (*Roots, error) {
	if len(b) > MaxRoots {
		return nil, fmt.Errorf("trust: roots file of %d bytes, at most %d", len(b), MaxRoots)
	}
	m, err := ParseObject(b, rootsDepth)
	if err != nil {
		return nil, err
	}
	if m["kind"] != rootsKind {
		return nil, fmt.Errorf("trust: not a roots file: kind is not %q", rootsKind)
	}
	r := &Roots{Schemes: map[string][]*x509.Certificate{}}
	for name, v := range m {
		switch name {
		case "kind":
		case "note":
			if _, ok := v.(string); !ok {
				err = errors.New("trust: note of a roots file is not a text")
			}
		case "roots":
			err = r.schemes(v)
		case "attesters":
			r.Attesters, err = attesters(v)
		default:
			err = fmt.Errorf("trust: member %.32q of a roots file is not understood", name)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.Attesters == nil {
		r.Attesters, err = NewAnchors()
	}
	return r, err
}

func (r *Roots) schemes(v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return errors.New("trust: roots is not an object")
	}
	for scheme, v := range m {
		list, ok := v.([]any)
		if !ok || len(list) == 0 || len(list) > maxRoots {
			return fmt.Errorf("trust: roots of %.32q: want an array of 1 to %d certificates", scheme, maxRoots)
		}
		for i, item := range list {
			text, ok := item.(string)
			if !ok {
				return fmt.Errorf("trust: root %d of %.32q is not a text", i, scheme)
			}
			cert, err := parseRoot(text)
			if err != nil {
				return fmt.Errorf("trust: root %d of %.32q: %w", i, scheme, err)
			}
			r.Schemes[scheme] = append(r.Schemes[scheme], cert)
		}
	}
	return nil
}

func parseRoot(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) != 0 || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("not one PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA || cert.CheckSignatureFrom(cert) != nil {
		return nil, fmt.Errorf("%q is not a self-signed CA certificate", cert.Subject)
	}
	return cert, nil
}

// attesters reads the JWK Set inside. It was parsed strictly; ParseJWKS takes
// text, and the numbers in it keep their spelling.
func attesters(v any) (*Anchors, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("trust: attesters: %w", err)
	}
	return ParseJWKS(raw)
}

// EncodeRoots writes a roots file. Certificates of each scheme keep their order.
func EncodeRoots(note string, schemes map[string][]*x509.Certificate, attesters []byte) ([]byte, error) {
	type file struct {
		Kind      string              `json:"kind"`
		Note      string              `json:"note,omitempty"`
		Roots     map[string][]string `json:"roots"`
		Attesters json.RawMessage     `json:"attesters,omitempty"`
	}
	f := file{Kind: rootsKind, Note: note, Roots: map[string][]string{}, Attesters: attesters}
	for name, certs := range schemes {
		for _, c := range certs {
			f.Roots[name] = append(f.Roots[name], string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
		}
	}
	out, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return append(out, '\n'), nil
}
