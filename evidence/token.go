// SPDX-License-Identifier: Apache-2.0

package evidence

import "fmt"

// TypeDeviceToken is the media type of a Device Assignment Token that its lead
// attester has signed (draft-poirier-rats-eat-da), a COSE_Sign1 in the value of a
// leaf. TypeDeviceClaims is that of one without protection of its own, which
// belongs into a signed CMW.
const (
	TypeDeviceToken  = `application/eat+cwt; eat_profile="tag:linaro.org,2025:device#1.0.0"`
	TypeDeviceClaims = `application/eat-ucs+cbor; eat_profile="tag:linaro.org,2025:device#1.0.0"`

	profileDevice = "tag:linaro.org,2025:device#1.0.0"
)

func deviceTokenType() MediaType { return MediaType{Base: typeEATCWT}.With(paramEAT, profileDevice) }

// TokenSigner is who signed the Device Assignment Token in the value of a leaf;
// nil for any other node, and where no trusted key verifies the signature. Such a
// token is no worse than one without signature, so it stays a leaf, and the tree
// has a warning (decision D-79).
func (n *Node) TokenSigner() *Signer { return n.token }

// tokenSigner verifies the signature of a leaf that is such a token. What is no
// COSE_Sign1 at all is left for who appraises it to refuse.
func (p *parser) tokenSigner(n *Node, f frame) {
	if n.media.Base != typeEATCWT || !n.media.Matches(deviceTokenType()) || len(n.value) == 0 || n.value[0] != coseTagHead {
		return
	}
	s, err := p.verifyToken(n.value, f)
	switch {
	case err != nil:
		p.warnings = append(p.warnings, fmt.Sprintf("label %q: the Device Assignment Token counts as unsigned: %v", string(f.path), err))
	case s.Verified:
		n.token = s
	}
}

func (p *parser) verifyToken(value []byte, f frame) (*Signer, error) {
	c, err := readCOSE(value, f)
	if err != nil {
		return nil, err
	}
	for _, l := range []int64{coseLabelAlg, coseLabelCrit} {
		if _, ok := c.headers.Unprotected[l]; ok {
			return nil, f.fail("CMW-39", -1, "COSE header %d is not protected", l)
		}
	}
	if _, ok := c.headers.Protected[coseLabelCrit]; ok {
		return nil, f.fail("CMW-39", -1, "COSE crit is not supported")
	}
	alg, present, err := c.alg(f)
	if err != nil {
		return nil, err
	}
	if !present {
		return nil, f.fail("CMW-39", -1, "COSE alg is missing")
	}
	return p.verifyCOSE(c, alg, f)
}
