// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assize/assize/internal/strictjson"
)

// Bounds of the parts of an Intel set, far above what Intel publishes.
const (
	maxIntelJSON = 1 << 20
	intelSigHex  = 128 // r||s of ECDSA P-256 in hexadecimal digits
	fmspcHex     = 12
)

// intelParts are the members of a set, by part. The first member of each part
// names it.
var intelParts = [][]string{
	{"tcb_info", "tcb_info_signature", "tcb_info_issuer_chain"},
	{"qe_identity", "qe_identity_signature", "qe_identity_issuer_chain"},
	{"pck_crl", "pck_crl_issuer_chain"},
	{"root_ca_crl"},
}

// looksLikeIntel says whether a file claims to be an Intel collateral set or a
// part of one: a JSON object in which the first member of a part is named.
func looksLikeIntel(raw []byte) bool {
	if !looksLikeObject(raw) {
		return false
	}
	return slices.ContainsFunc(intelParts, func(p []string) bool { return bytes.Contains(raw, []byte(`"`+p[0]+`"`)) })
}

func looksLikeObject(raw []byte) bool {
	t := bytes.TrimLeft(raw, " \t\r\n")
	return len(t) > 0 && t[0] == '{'
}

// parseIntel reads one set: a JSON object whose members are strings, each
// exactly once: all nine, or those of one part. The member
// pck_certificate_chain, which some tools add, is accepted and not used: the
// chain in the quote counts. Any other member is an error, since nobody could
// say what it was meant to change.
func parseIntel(name string, raw []byte) (IntelCollateral, error) {
	members, err := stringMembers(raw)
	if err != nil {
		return IntelCollateral{}, err
	}
	delete(members, "pck_certificate_chain")
	if err := checkMembers(members); err != nil {
		return IntelCollateral{}, err
	}
	c := IntelCollateral{
		Name: name, TCBInfoSignature: members["tcb_info_signature"], QEIdentitySignature: members["qe_identity_signature"],
		TCBInfo: part(members["tcb_info"]), QEIdentity: part(members["qe_identity"]),
		TCBInfoIssuerChain: part(members["tcb_info_issuer_chain"]), QEIdentityChain: part(members["qe_identity_issuer_chain"]),
		PCKCRLIssuerChain: part(members["pck_crl_issuer_chain"]),
	}
	return c.finish(members["pck_crl"], members["root_ca_crl"])
}

// part is nil for what is not there.
func part(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// checkMembers wants all members of a set, or those of one part.
func checkMembers(members map[string]string) error {
	wanted := slices.Concat(intelParts...)
	for _, p := range intelParts {
		if _, ok := members[p[0]]; ok && len(members) <= len(p) {
			wanted = p
		}
	}
	left := maps.Clone(members)
	for _, name := range wanted {
		if members[name] == "" {
			return fmt.Errorf("member %q is missing or empty", name)
		}
		delete(left, name)
	}
	if len(left) != 0 {
		return fmt.Errorf("unknown members %q", slices.Sorted(maps.Keys(left)))
	}
	return nil
}

// Encode writes the set, or the one part that it has, as a file that Load and
// Parse read.
func (c IntelCollateral) Encode() ([]byte, error) {
	members := map[string]string{}
	for name, v := range map[string]string{
		"tcb_info": string(c.TCBInfo), "tcb_info_signature": c.TCBInfoSignature, "tcb_info_issuer_chain": string(c.TCBInfoIssuerChain),
		"qe_identity": string(c.QEIdentity), "qe_identity_signature": c.QEIdentitySignature, "qe_identity_issuer_chain": string(c.QEIdentityChain),
		"pck_crl": hex.EncodeToString(c.PCKCRL), "pck_crl_issuer_chain": string(c.PCKCRLIssuerChain), "root_ca_crl": hex.EncodeToString(c.RootCACRL),
	} {
		if v != "" {
			members[name] = v
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(members); err != nil {
		return nil, fmt.Errorf("endorsements: %w", err)
	}
	if _, err := parseIntel("", out.Bytes()); err != nil {
		return nil, fmt.Errorf("endorsements: not a set: %w", err)
	}
	return out.Bytes(), nil
}

// finish decodes what is hexadecimal, checks the form of the parts that are
// there, and derives FMSPC and Digest.
func (c IntelCollateral) finish(pckCRL, rootCRL string) (_ IntelCollateral, err error) {
	if c.PCKCRL, err = hexPart("pck_crl", pckCRL); err != nil {
		return IntelCollateral{}, err
	}
	if c.RootCACRL, err = hexPart("root_ca_crl", rootCRL); err != nil {
		return IntelCollateral{}, err
	}
	if c.TCBInfo != nil {
		if err := checkSigned("tcb_info", c.TCBInfoSignature, c.TCBInfoIssuerChain); err != nil {
			return IntelCollateral{}, err
		}
		if c.FMSPC, err = fmspcOf(c.TCBInfo); err != nil {
			return IntelCollateral{}, err
		}
	}
	if c.QEIdentity != nil {
		if err := checkSigned("qe_identity", c.QEIdentitySignature, c.QEIdentityChain); err != nil {
			return IntelCollateral{}, err
		}
		if _, err := strictjson.Members(c.QEIdentity); err != nil {
			return IntelCollateral{}, fmt.Errorf("qe_identity: %w", err)
		}
	}
	if c.PCKCRL != nil {
		if err := checkChain("pck_crl", c.PCKCRLIssuerChain); err != nil {
			return IntelCollateral{}, err
		}
	}
	c.Digest = c.digest()
	return c, nil
}

func hexPart(name, s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	out, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

func checkSigned(name, signature string, chain []byte) error {
	if _, err := hex.DecodeString(signature); err != nil || len(signature) != intelSigHex {
		return fmt.Errorf("%s_signature: not %d hexadecimal digits", name, intelSigHex)
	}
	return checkChain(name, chain)
}

func checkChain(name string, chain []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(chain), []byte("-----BEGIN CERTIFICATE-----")) {
		return fmt.Errorf("%s_issuer_chain: not PEM certificates", name)
	}
	return nil
}

// fmspcOf reads the FMSPC by which the set is found. Nothing is trusted here:
// the scheme compares it again once the signature was checked.
func fmspcOf(tcbInfo []byte) (string, error) {
	members, err := strictjson.Members(tcbInfo)
	if err != nil {
		return "", fmt.Errorf("tcb_info: %w", err)
	}
	var s string
	if err := json.Unmarshal(members["fmspc"], &s); err != nil {
		return "", errors.New("tcb_info: fmspc is missing or not a string")
	}
	if b, err := hex.DecodeString(s); err != nil || len(s) != fmspcHex || len(b) == 0 {
		return "", fmt.Errorf("tcb_info: fmspc is not %d hexadecimal digits", fmspcHex)
	}
	return strings.ToLower(s), nil
}

// digest hashes all parts, each behind its length, so that no two different
// sets have the same input.
func (c IntelCollateral) digest() (d [32]byte) {
	h := sha256.New()
	for _, p := range [][]byte{
		c.TCBInfo, []byte(strings.ToLower(c.TCBInfoSignature)), c.TCBInfoIssuerChain,
		c.QEIdentity, []byte(strings.ToLower(c.QEIdentitySignature)), c.QEIdentityChain,
		c.PCKCRL, c.PCKCRLIssuerChain, c.RootCACRL,
	} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	h.Sum(d[:0])
	return d
}

// stringMembers decodes an object all of whose members are strings; null
// counts as absent.
func stringMembers(raw []byte) (map[string]string, error) {
	members, err := strictjson.Members(raw)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(members))
	for name, v := range members {
		if string(v) == "null" {
			continue
		}
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return nil, fmt.Errorf("member %q is not a string", name)
		}
		if len(s) > maxIntelJSON {
			return nil, fmt.Errorf("member %q has %d bytes, at most %d", name, len(s), maxIntelJSON)
		}
		out[name] = s
	}
	return out, nil
}
