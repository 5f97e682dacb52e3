// SPDX-License-Identifier: Apache-2.0

package evidence

import "github.com/assize/assize/evidence/internal/jsonscan"

type objectKind uint8

const (
	objectCMW objectKind = iota
	objectRatsd
	objectJWS
)

const sniffDepth = 16

// sniffObject tells a JSON collection from a legacy ratsd token and a
// flattened JWS by the first member that decides: entries of a collection are
// arrays or objects, the members of the others are text. Anything doubtful is
// a collection, whose decoder then says what is wrong.
func sniffObject(raw []byte) objectKind {
	s := &jsonscan.Scanner{Buf: raw}
	if s.Expect('{') != nil {
		return objectCMW
	}
	for first := true; ; first = false {
		if more, err := s.More('}', first); err != nil || !more {
			return objectCMW
		}
		name, err := s.Text()
		if err != nil || s.Expect(':') != nil {
			return objectCMW
		}
		kind, decided := sniffMember(string(name), s.Peek())
		if decided || s.Skip(sniffDepth) != nil {
			return kind
		}
	}
}

func sniffMember(name string, value byte) (objectKind, bool) {
	switch value {
	case '"':
		switch name {
		case "eat_profile", "eat_nonce", JWTClaimName:
			return objectRatsd, true
		case "protected", "payload", "signature":
			return objectJWS, true
		case CollectionTypeKey:
			return objectCMW, true
		}
	case '[':
		return objectCMW, true
	case '{':
		return objectCMW, name != adjustMap && name != "header"
	}
	return objectCMW, false
}
