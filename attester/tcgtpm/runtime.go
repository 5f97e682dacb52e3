// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// sizeUserData is the length of user data in bytes.
const sizeUserData = 64

// jwk is a public key (RFC 7517) with its members in the order in which the
// paravisor writes them.
type jwk struct {
	ID    string   `json:"kid"`
	Ops   []string `json:"key_ops"`
	Type  string   `json:"kty"`
	E     string   `json:"e,omitempty"`
	N     string   `json:"n,omitempty"`
	Curve string   `json:"crv,omitempty"`
	X     string   `json:"x,omitempty"`
	Y     string   `json:"y,omitempty"`
}

// configuration is the vm-configuration of the paravisor.
type configuration struct {
	Console    bool   `json:"console-enabled"`
	SecureBoot bool   `json:"secure-boot"`
	TPM        bool   `json:"tpm-enabled"`
	ID         string `json:"vmUniqueId"`
}

// RuntimeData is the JSON document by which Azure's paravisor binds the TPM to
// the CPU: the report data of the CPU report begin with its SHA-256 and end in
// zeros. It carries the attestation key as "HCLAkPub" and the endorsement key
// as "HCLEkPub".
func (d *Device) RuntimeData() []byte { return slices.Clone(d.runtime) }

func runtimeData(o *Options, ak crypto.Signer) ([]byte, error) {
	ek, err := derive(o.Device.Sub("ek"), o.Key)
	if err != nil {
		return nil, err
	}
	var keys [2]jwk
	if keys[0], err = publicJWK("HCLAkPub", "sign", ak.Public()); err != nil {
		return nil, err
	}
	if keys[1], err = publicJWK("HCLEkPub", "encrypt", ek.Public()); err != nil {
		return nil, err
	}
	var user [sizeUserData]byte
	copy(user[:], o.UserData)
	id := strings.ToUpper(hex.EncodeToString(o.Device.Sub("vm").Bytes(16)))
	out, err := json.Marshal(struct {
		Keys          [2]jwk        `json:"keys"`
		Configuration configuration `json:"vm-configuration"`
		UserData      string        `json:"user-data"`
	}{
		keys,
		configuration{SecureBoot: true, TPM: true, ID: strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")},
		strings.ToUpper(hex.EncodeToString(user[:])),
	})
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: runtime data: %w", err)
	}
	return out, nil
}

func publicJWK(id, op string, pub crypto.PublicKey) (jwk, error) {
	text := base64.RawURLEncoding.EncodeToString
	switch key := pub.(type) {
	case *rsa.PublicKey:
		return jwk{ID: id, Ops: []string{op}, Type: "RSA", E: text(big.NewInt(int64(key.E)).Bytes()), N: text(key.N.Bytes())}, nil
	case *ecdsa.PublicKey:
		x, y, err := point(key)
		if err != nil {
			return jwk{}, err
		}
		if op == "encrypt" {
			op = "deriveBits"
		}
		return jwk{ID: id, Ops: []string{op}, Type: "EC", Curve: "P-256", X: text(x), Y: text(y)}, nil
	}
	return jwk{}, fmt.Errorf("tcgtpm: no JWK for a %T", pub)
}
