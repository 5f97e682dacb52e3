// SPDX-License-Identifier: Apache-2.0

// Package hcl reads what the paravisor of Azure's confidential VMs (the host
// compatibility layer) puts under the signature of the CPU: its report, as it
// lies in NV index 0x01400001 of the virtual TPM, and in it the runtime data, a
// JSON document with the TPM's keys. Begin with ParseReport or ParseRuntimeData.
//
// The report data of the CPU are the hash of the runtime data, byte for byte, and
// zeros behind it: Report.Commits. Before that holds nothing here is more than a
// claim. What holds then: whoever made the report data chose the document. On
// Azure that is the paravisor, which the CPU's launch measurement covers; in a
// guest without one it is any program that may ask for a report.
package hcl

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/assize/assize/internal/strictjson"
)

// Key ids of the paravisor.
const (
	// AttestationKey signs TPM quotes.
	AttestationKey = "HCLAkPub"
	// EndorsementKey is the TPM's identity.
	EndorsementKey = "HCLEkPub"
)

// LeadKey is the key id of the one key that signs the composites of a machine, in a
// document of the same form that software of a TEE writes (decision D-128).
const LeadKey = "AssizeLeadPub"

const (
	// MaxRuntimeData is the largest document in bytes. Those of Azure have about
	// 1100 and have to fit into an NV index.
	MaxRuntimeData = 16 << 10
	// UserDataSize is the length of user data in bytes.
	UserDataSize = 64

	maxKeys  = 16
	maxText  = 64
	minRSA   = 2048
	maxRSA   = 4096
	maxValue = 1024
)

// RuntimeData is the document.
type RuntimeData struct {
	// Keys are all keys by their id, *rsa.PublicKey of 2048 to 4096 bits or
	// *ecdsa.PublicKey on P-256 or P-384. No id is there twice.
	Keys map[string]crypto.PublicKey
	// UserData are the 64 bytes that a program in the guest wrote into NV index
	// 0x01400002 before it asked for the report; nil if the document has none.
	UserData []byte
	// Configuration is what the paravisor says about the VM.
	Configuration Configuration
}

// Configuration is the member vm-configuration. A field that the document does
// not have is nil or "".
type Configuration struct {
	Console    *bool `json:"console-enabled"`
	SecureBoot *bool `json:"secure-boot"`
	TPM        *bool `json:"tpm-enabled"`
	// ID is a UUID in upper case.
	ID string `json:"vmUniqueId"`
}

// ParseRuntimeData reads the document: one JSON object, no member twice, at least
// one key. Members that it does not know, it passes over, since the paravisor
// adds some from time to time and the hash covers them all.
func ParseRuntimeData(raw []byte) (*RuntimeData, error) {
	if len(raw) > MaxRuntimeData {
		return nil, fmt.Errorf("hcl: runtime data of %d bytes, at most %d", len(raw), MaxRuntimeData)
	}
	m, err := strictjson.Members(raw)
	if err != nil {
		return nil, fmt.Errorf("hcl: runtime data: %w", err)
	}
	r := &RuntimeData{}
	if r.Keys, err = parseKeys(m["keys"]); err != nil {
		return nil, fmt.Errorf("hcl: runtime data: keys: %w", err)
	}
	if v, ok := m["user-data"]; ok {
		if r.UserData, err = userData(v); err != nil {
			return nil, fmt.Errorf("hcl: runtime data: user-data: %w", err)
		}
	}
	if v, ok := m["vm-configuration"]; ok {
		if err := configuration(v, &r.Configuration); err != nil {
			return nil, fmt.Errorf("hcl: runtime data: vm-configuration: %w", err)
		}
	}
	return r, nil
}

// SPKI is the SHA-256 of the SubjectPublicKeyInfo (DER) of a key, in lower-case
// hexadecimal as verdict.CommittedKey has it; "" if there is no such key.
func (r *RuntimeData) SPKI(kid string) string {
	der, err := x509.MarshalPKIXPublicKey(r.Keys[kid])
	if err != nil {
		return ""
	}
	d := sha256.Sum256(der)
	return hex.EncodeToString(d[:])
}

func parseKeys(raw json.RawMessage) (map[string]crypto.PublicKey, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 || len(list) > maxKeys {
		return nil, fmt.Errorf("not a list of 1 to %d keys", maxKeys)
	}
	out := map[string]crypto.PublicKey{}
	for i, v := range list {
		kid, key, err := parseKey(v)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		if out[kid] != nil {
			return nil, fmt.Errorf("key %d: a second key %q", i, kid)
		}
		out[kid] = key
	}
	return out, nil
}

// parseKey reads one JWK (RFC 7517, RFC 7518 section 6).
func parseKey(raw json.RawMessage) (string, crypto.PublicKey, error) {
	m, err := strictjson.Members(raw)
	if err != nil {
		return "", nil, err
	}
	kid, err := text(m["kid"], maxText)
	if err != nil {
		return "", nil, fmt.Errorf("kid: %w", err)
	}
	for _, private := range []string{"d", "p", "q", "k"} {
		if m[private] != nil {
			return "", nil, fmt.Errorf("%q has the private member %s", kid, private)
		}
	}
	kty, err := text(m["kty"], maxText)
	if err != nil {
		return "", nil, fmt.Errorf("%q: kty: %w", kid, err)
	}
	var key crypto.PublicKey
	switch kty {
	case "RSA":
		key, err = rsaKey(m)
	case "EC":
		key, err = ecKey(m)
	default:
		err = fmt.Errorf("key type %q", kty)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%q: %w", kid, err)
	}
	return kid, key, nil
}

func rsaKey(m map[string]json.RawMessage) (*rsa.PublicKey, error) {
	n, err := number(m["n"])
	if err != nil {
		return nil, fmt.Errorf("n: %w", err)
	}
	e, err := number(m["e"])
	if err != nil {
		return nil, fmt.Errorf("e: %w", err)
	}
	N, E := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if b := N.BitLen(); b < minRSA || b > maxRSA || N.Bit(0) == 0 {
		return nil, fmt.Errorf("modulus of %d bits, expected an odd one of %d to %d", b, minRSA, maxRSA)
	}
	if !E.IsInt64() || E.Int64() < 3 || E.Int64() >= 1<<31 || E.Bit(0) == 0 {
		return nil, errors.New("exponent is even, or not from 3 to 2^31-1")
	}
	return &rsa.PublicKey{N: N, E: int(E.Int64())}, nil
}

func ecKey(m map[string]json.RawMessage) (*ecdsa.PublicKey, error) {
	name, err := text(m["crv"], maxText)
	if err != nil {
		return nil, fmt.Errorf("crv: %w", err)
	}
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}[name]
	if curve == nil {
		return nil, fmt.Errorf("curve %q", name)
	}
	point := []byte{4} // uncompressed (SEC 1, section 2.3.3)
	for _, c := range []string{"x", "y"} {
		b, err := base64URL(m[c])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
		if len(b) != (curve.Params().BitSize+7)/8 {
			return nil, fmt.Errorf("%s has %d bytes", c, len(b))
		}
		point = append(point, b...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("point: %w", err)
	}
	return key, nil
}

// number is a Base64urlUInt: as many bytes as needed.
func number(raw json.RawMessage) ([]byte, error) {
	b, err := base64URL(raw)
	if err == nil && (len(b) == 0 || b[0] == 0) {
		err = errors.New("empty, or begins with a zero byte")
	}
	return b, err
}

// text is a JSON string of 1 to most bytes.
func text(raw json.RawMessage, most int) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", errors.New("not a text")
	}
	if *s == "" || len(*s) > most {
		return "", fmt.Errorf("text of %d bytes, expected 1 to %d", len(*s), most)
	}
	return *s, nil
}

func base64URL(raw json.RawMessage) ([]byte, error) {
	s, err := text(raw, maxValue)
	if err != nil {
		return nil, err
	}
	if bytes.ContainsAny([]byte(s), "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func userData(raw json.RawMessage) ([]byte, error) {
	s, err := text(raw, 2*UserDataSize)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(s)
	if err == nil && len(b) != UserDataSize {
		err = fmt.Errorf("%d bytes, expected %d", len(b), UserDataSize)
	}
	return b, err
}

// configuration goes by members, since encoding/json takes names in any case.
func configuration(raw json.RawMessage, c *Configuration) error {
	m, err := strictjson.Members(raw)
	if err != nil {
		return err
	}
	for name, to := range map[string]**bool{"console-enabled": &c.Console, "secure-boot": &c.SecureBoot, "tpm-enabled": &c.TPM} {
		v, ok := m[name]
		if !ok {
			continue
		}
		b := string(v) == "true"
		if !b && string(v) != "false" {
			return fmt.Errorf("%s is not true or false", name)
		}
		*to = &b
	}
	if v, ok := m["vmUniqueId"]; ok {
		if c.ID, err = text(v, maxText); err != nil {
			return fmt.Errorf("vmUniqueId: %w", err)
		}
	}
	return nil
}
