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
	"io"
	"maps"
	"slices"
	"strings"
)

// Bounds of the parts of an Intel set, far above what Intel publishes.
const (
	maxIntelJSON = 1 << 20
	intelSigHex  = 128 // r||s of ECDSA P-256 in hexadecimal digits
	fmspcHex     = 12
)

// looksLikeIntel says whether a file claims to be an Intel collateral set: a
// JSON object in which the member tcb_info is named.
func looksLikeIntel(raw []byte) bool {
	t := bytes.TrimLeft(raw, " \t\r\n")
	return len(t) > 0 && t[0] == '{' && bytes.Contains(raw, []byte(`"tcb_info"`))
}

// parseIntel reads one set: a JSON object with nine members, each a string,
// each exactly once. The member pck_certificate_chain, which some tools add, is
// accepted and not used: the chain in the quote counts. Any other member is an
// error, since nobody could say what it was meant to change.
func parseIntel(name string, raw []byte) (IntelCollateral, error) {
	members, err := stringMembers(raw)
	if err != nil {
		return IntelCollateral{}, err
	}
	c := IntelCollateral{Name: name}
	var tcb, qe, tcbChain, qeChain, crlChain, pckCRL, rootCRL string
	fields := []struct {
		name string
		out  *string
	}{
		{"tcb_info", &tcb},
		{"tcb_info_signature", &c.TCBInfoSignature},
		{"tcb_info_issuer_chain", &tcbChain},
		{"qe_identity", &qe},
		{"qe_identity_signature", &c.QEIdentitySignature},
		{"qe_identity_issuer_chain", &qeChain},
		{"pck_crl", &pckCRL},
		{"pck_crl_issuer_chain", &crlChain},
		{"root_ca_crl", &rootCRL},
	}
	for _, f := range fields {
		v, ok := members[f.name]
		if !ok || v == "" {
			return IntelCollateral{}, fmt.Errorf("member %q is missing or empty", f.name)
		}
		*f.out = v
		delete(members, f.name)
	}
	delete(members, "pck_certificate_chain")
	if len(members) != 0 {
		return IntelCollateral{}, fmt.Errorf("unknown members %q", slices.Sorted(maps.Keys(members)))
	}
	c.TCBInfo, c.QEIdentity = []byte(tcb), []byte(qe)
	c.TCBInfoIssuerChain, c.QEIdentityChain, c.PCKCRLIssuerChain = []byte(tcbChain), []byte(qeChain), []byte(crlChain)
	return c.finish(pckCRL, rootCRL)
}

// finish decodes what is hexadecimal and derives FMSPC and Digest.
func (c IntelCollateral) finish(pckCRL, rootCRL string) (_ IntelCollateral, err error) {
	if c.PCKCRL, err = hex.DecodeString(pckCRL); err != nil {
		return IntelCollateral{}, fmt.Errorf("pck_crl: %w", err)
	}
	if c.RootCACRL, err = hex.DecodeString(rootCRL); err != nil {
		return IntelCollateral{}, fmt.Errorf("root_ca_crl: %w", err)
	}
	for i, s := range []string{c.TCBInfoSignature, c.QEIdentitySignature} {
		if _, err := hex.DecodeString(s); err != nil || len(s) != intelSigHex {
			name := []string{"tcb_info_signature", "qe_identity_signature"}[i]
			return IntelCollateral{}, fmt.Errorf("%s: not %d hexadecimal digits", name, intelSigHex)
		}
	}
	for i, p := range [][]byte{c.TCBInfoIssuerChain, c.QEIdentityChain, c.PCKCRLIssuerChain} {
		if !bytes.HasPrefix(bytes.TrimSpace(p), []byte("-----BEGIN CERTIFICATE-----")) {
			name := []string{"tcb_info_issuer_chain", "qe_identity_issuer_chain", "pck_crl_issuer_chain"}[i]
			return IntelCollateral{}, fmt.Errorf("%s: not PEM certificates", name)
		}
	}
	if c.FMSPC, err = fmspcOf(c.TCBInfo); err != nil {
		return IntelCollateral{}, err
	}
	if _, err := objectMembers(c.QEIdentity); err != nil {
		return IntelCollateral{}, fmt.Errorf("qe_identity: %w", err)
	}
	c.Digest = c.digest()
	return c, nil
}

// fmspcOf reads the FMSPC by which the set is found. Nothing is trusted here:
// the scheme compares it again once the signature was checked.
func fmspcOf(tcbInfo []byte) (string, error) {
	members, err := objectMembers(tcbInfo)
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
	members, err := objectMembers(raw)
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

// objectMembers splits one JSON object into its members and refuses duplicate
// names and anything behind the object: encoding/json would take the last of
// two members where another reader takes the first.
func objectMembers(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("JSON at byte %d: %w", dec.InputOffset(), err)
		}
		name, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("JSON at byte %d: member name expected", dec.InputOffset())
		}
		if _, dup := out[name]; dup {
			return nil, fmt.Errorf("JSON at byte %d: duplicate member %q", dec.InputOffset(), name)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, fmt.Errorf("JSON at byte %d: %w", dec.InputOffset(), err)
		}
		out[name] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("JSON at byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("JSON at byte %d: data behind the object", dec.InputOffset())
	}
	return out, nil
}
