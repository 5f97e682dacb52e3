// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/assize/assize/trust"
	"github.com/nats-io/nats.go"
)

// parcel is a message as it travels to one place.
type parcel struct {
	header nats.Header
	body   []byte
	// exchange opens the answer; nil where the body is not sealed.
	exchange *trust.Exchange
}

// sealed is the same parcel for one place, which alone can read the body.
func (p parcel) sealed(key trust.SealKey, to string) (parcel, error) {
	body, x, err := key.SealRequest(sealInfo(
		first(p.header, HeaderSession), first(p.header, HeaderRequest), first(p.header, HeaderScheme),
		first(p.header, HeaderContentType), to,
	), p.body)
	if err != nil {
		return p, fmt.Errorf("fabric: %w", err)
	}
	out := parcel{header: maps.Clone(p.header), body: body, exchange: x}
	digest := sha256.Sum256(body)
	out.header[HeaderSeal] = []string{key.KID}
	out.header[HeaderDigest] = []string{hex.EncodeToString(digest[:])}
	return out, nil
}

// answer is what an answer to the parcel says. One that is not sealed to a
// sealed parcel is an error: whoever could read the request has answered so.
func (p parcel) answer(data []byte) ([]byte, error) {
	if p.exchange == nil {
		return data, nil
	}
	return p.exchange.OpenAnswer(data)
}

// sealInfo is the context of a sealed body: the headers that do not change from
// one attempt to the next, and the name of the node that it is for.
func sealInfo(session, request, scheme, mediaType, to string) trust.SealInfo {
	return trust.SealInfo{Session: session, Request: request, Scheme: scheme, MediaType: mediaType, To: to}
}

// unsealer opens the bodies that are sealed to one node.
type unsealer struct {
	node string
	keys []*trust.SealPrivate
}

// has reports whether there is a key with this id.
func (u unsealer) has(kid string) bool { return u.find(kid) != nil }

func (u unsealer) find(kid string) *trust.SealPrivate {
	i := slices.IndexFunc(u.keys, func(k *trust.SealPrivate) bool { return k.KID() == kid })
	if i < 0 {
		return nil
	}
	return u.keys[i]
}

// open checks a sealed body against its headers. It returns the body, headers
// whose digest is that of the body, and what the answer is sealed with.
func (u unsealer) open(h requestHeader, sealed []byte) (requestHeader, []byte, *trust.Exchange, Code) {
	key := u.find(h.seal)
	switch {
	case !h.covers(sealed):
		return h, nil, nil, CodeMalformed
	case key == nil:
		return h, nil, nil, CodeUnauthorized
	}
	body, x, err := key.OpenRequest(sealInfo(h.session, h.request, h.scheme, h.mediaType, u.node), sealed)
	if err != nil {
		return h, nil, nil, CodeUnauthorized
	}
	// Who asks again seals again: what makes two requests the same is inside.
	h.digest = sha256.Sum256(body)
	return h, body, x, 0
}

// waiter is who gets an answer, and how it is sealed; nil is not at all.
type waiter struct {
	reply string
	seal  *trust.Exchange
}

// wrap is an answer as the waiter can read it.
func (w waiter) wrap(answer []byte) ([]byte, error) {
	if w.seal == nil {
		return answer, nil
	}
	return w.seal.SealAnswer(rand.Reader, answer)
}
