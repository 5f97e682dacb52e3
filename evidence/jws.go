// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/assize/assize/evidence/internal/jsonscan"
)

// jwsAlgs are the JOSE algorithms that we accept.
var jwsAlgs = map[string]jwa.SignatureAlgorithm{
	"ES256": jwa.ES256(), "ES384": jwa.ES384(), "ES512": jwa.ES512(),
	"PS256": jwa.PS256(), "PS384": jwa.PS384(), "PS512": jwa.PS512(),
	"EdDSA": jwa.EdDSA(), "Ed25519": jwa.EdDSAEd25519(),
}

const (
	jwsSkipDepth = 8
	jwsMembers   = 64
)

// jwsParts are the members of a JWS in their original text.
type jwsParts struct {
	protected, payload, signature []byte // base64url text
	header                        *jwsHeader
}

// jwsHeader is what we read of a protected or unprotected header.
type jwsHeader struct {
	alg, cty, kid string
	has           map[string]bool
}

// jwsMessage parses the signed CMW in the value of n: compact or flattened
// JSON serialization (decision D-06; CMW-39, CMW-40).
func (p *parser) jwsMessage(n *Node, f frame) (*Node, error) {
	parts, err := readJWS(n.value, f)
	if err != nil {
		return nil, err
	}
	text, ok := jsonscan.AppendBase64(nil, parts.protected, base64.RawURLEncoding)
	if !ok {
		return nil, f.fail("CMW-39", -1, "JWS protected header is not canonical base64url")
	}
	h, err := readJWSHeader(&jsonscan.Scanner{Buf: text}, true)
	if err != nil {
		return nil, f.wrapAs("CMW-39", err)
	}
	kid, err := h.merge(parts.header, f)
	if err != nil {
		return nil, err
	}
	alg, ok := jwsAlgs[h.alg]
	if !ok {
		return nil, f.fail("CMW-39", -1, "JWS alg %.32q is not accepted", h.alg)
	}
	mt, err := p.mediaType([]byte(h.cty), f, -1)
	if err != nil || mt.Base != TypeCMWJSON {
		return nil, f.fail("CMW-39", -1, "JWS cty %.64q is not %s", h.cty, TypeCMWJSON)
	}
	payload, ok := jsonscan.AppendBase64(nil, parts.payload, base64.RawURLEncoding)
	if !ok {
		return nil, f.fail("CMW-39", -1, "JWS payload is not canonical base64url")
	}
	if _, ok := jsonscan.AppendBase64(nil, parts.signature, base64.RawURLEncoding); !ok {
		return nil, f.fail("CMW-39", -1, "JWS signature is not canonical base64url")
	}
	compact := bytes.Join([][]byte{parts.protected, parts.payload, parts.signature}, []byte{'.'})
	n.signer, err = p.verifySignature(kid, h.alg, f, func(pub crypto.PublicKey) error {
		return verifyJWS(compact, payload, alg, pub)
	})
	if err != nil {
		return nil, err
	}
	f.signer, f.notCMW, f.base = n.signer, "CMW-40", 0
	child, err := p.jsonMessage(payload, f)
	if err != nil {
		return nil, err
	}
	return child, p.checkCollectionParam(mt, child, f)
}

func verifyJWS(compact, payload []byte, alg jwa.SignatureAlgorithm, pub crypto.PublicKey) error {
	got, err := jws.Verify(compact, jws.WithCompact(), jws.WithKey(alg, pub))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, payload) {
		return errors.New("evidence: verified payload differs from the decoded one")
	}
	return nil
}

func readJWS(raw []byte, f frame) (*jwsParts, error) {
	if len(raw) > 0 && firstByte(raw) == '{' {
		return readFlattened(raw, f)
	}
	// Four are enough to see that there are too many.
	parts := bytes.SplitN(raw, []byte{'.'}, 4)
	if len(parts) != 3 {
		return nil, f.fail("CMW-39", 0, "compact JWS has not three parts")
	}
	if len(parts[1]) == 0 {
		return nil, f.fail("CMW-39", 0, "payload is detached")
	}
	return &jwsParts{protected: parts[0], payload: parts[1], signature: parts[2]}, nil
}

func readFlattened(raw []byte, f frame) (*jwsParts, error) {
	s := &jsonscan.Scanner{Buf: raw}
	parts := &jwsParts{}
	err := s.Object(jwsMembers, func(name string) (err error) {
		switch name {
		case "protected":
			parts.protected, err = s.Text()
		case "payload":
			parts.payload, err = s.Text()
		case "signature":
			parts.signature, err = s.Text()
		case "header":
			parts.header, err = readJWSHeader(s, false)
		default:
			err = &jsonscan.Error{Offset: s.Pos, Detail: "member that a flattened JWS does not have"}
		}
		return err
	})
	if err != nil {
		return nil, f.wrapAs("CMW-39", err)
	}
	if err := s.End(); err != nil {
		return nil, f.wrapAs("CMW-03", err)
	}
	if len(parts.protected) == 0 || len(parts.payload) == 0 || parts.signature == nil {
		return nil, f.fail("CMW-39", 0, "flattened JWS without protected header, payload or signature")
	}
	return parts, nil
}

// readJWSHeader reads one header object; alone means that nothing may follow.
func readJWSHeader(s *jsonscan.Scanner, alone bool) (*jwsHeader, error) {
	h := &jwsHeader{has: make(map[string]bool, 4)}
	err := s.Object(jwsMembers, func(name string) error {
		h.has[name] = true
		var dst *string
		switch name {
		case "alg":
			dst = &h.alg
		case "cty":
			dst = &h.cty
		case "kid":
			dst = &h.kid
		default:
			return s.Skip(jwsSkipDepth)
		}
		text, err := s.Text()
		*dst = string(text)
		return err
	})
	if err == nil && alone {
		err = s.End()
	}
	return h, err
}

// merge checks the protected header h against the unprotected one and returns
// the key id.
func (h *jwsHeader) merge(u *jwsHeader, f frame) ([]byte, error) {
	for _, name := range []string{"alg", "cty"} {
		if !h.has[name] {
			return nil, f.fail("CMW-39", -1, "JWS %s is missing", name)
		}
	}
	if u == nil {
		u = &jwsHeader{}
	}
	for _, name := range []string{"crit", "b64"} {
		if h.has[name] || u.has[name] {
			return nil, f.fail("CMW-39", -1, "JWS %s is not supported", name)
		}
	}
	for name := range u.has {
		if h.has[name] || name == "alg" || name == "cty" {
			return nil, f.fail("CMW-39", -1, "JWS header %.32q is not protected, or there twice", name)
		}
	}
	switch {
	case h.has["kid"]:
		return []byte(h.kid), nil
	case u.has["kid"]:
		return []byte(u.kid), nil
	}
	return nil, nil
}
