// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"strings"
	"testing"
)

// TestTokenSigner: a token in a record is a leaf, whoever signed it; only a
// trusted key makes a signer of its lead attester.
func TestTokenSigner(t *testing.T) {
	good := sign1(t, map[any]any{int64(1): int64(-8)}, map[any]any{}, []byte{0xa0})
	other := sign1(t, map[any]any{int64(1): int64(-8)}, map[any]any{}, []byte{0xa1, 0, 0})
	copy(other[len(other)-64:], good[len(good)-64:])
	for name, c := range map[string]struct {
		media  string
		value  []byte
		opt    Options
		signed bool
		warns  bool
	}{
		"trusted":            {TypeDeviceToken, good, trustVec(), true, false},
		"nobody is trusted":  {TypeDeviceToken, good, Options{}, false, true},
		"for inspection":     {TypeDeviceToken, good, Options{UnverifiedSignaturesUnsafe: true}, false, false},
		"wrong signature":    {TypeDeviceToken, other, trustVec(), false, true},
		"no algorithm":       {TypeDeviceToken, sign1(t, map[any]any{int64(3): "x"}, map[any]any{}, []byte{0xa0}), trustVec(), false, true},
		"alg not protected":  {TypeDeviceToken, sign1(t, map[any]any{}, map[any]any{int64(1): int64(-8)}, []byte{0xa0}), trustVec(), false, true},
		"crit":               {TypeDeviceToken, sign1(t, map[any]any{int64(1): int64(-8), int64(2): []any{int64(9)}, int64(9): 1}, map[any]any{}, []byte{0xa0}), trustVec(), false, true},
		"crit of alg":        {TypeDeviceToken, sign1(t, map[any]any{int64(1): int64(-8), int64(2): []any{int64(1)}}, map[any]any{}, []byte{0xa0}), trustVec(), false, true},
		"no COSE at all":     {TypeDeviceToken, []byte{0xa0}, trustVec(), false, false},
		"broken COSE":        {TypeDeviceToken, good[:len(good)-1], trustVec(), false, true},
		"without protection": {TypeDeviceClaims, []byte{0xa0}, trustVec(), false, false},
		"another profile":    {`application/eat+cwt; eat_profile="tag:nvidia.com,2026:gpu"`, good, trustVec(), false, false},
		"no profile":         {"application/eat+cwt", good, trustVec(), false, false},
	} {
		mt, err := ParseMediaType(c.media)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := EncodeCBOR(Collection("", Entry{Label: "devices", Item: Record(mt, c.value, IndEvidence)}))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := Parse(raw, c.opt)
		if err != nil || len(tree.Leaves()) != 1 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		leaf := tree.Leaves()[0]
		if s := leaf.TokenSigner(); (s != nil) != c.signed || s != nil && (!s.Verified || s.Thumbprint == "") || leaf.Signer() != nil {
			t.Errorf("%s: signer %+v", name, s)
		}
		if w := tree.Warnings(); (len(w) == 1 && strings.Contains(w[0], "counts as unsigned")) != c.warns {
			t.Errorf("%s: warnings %q", name, w)
		}
	}
}

// TestTokenInSignedCollection: the claims of an unprotected token are under the
// signature of the collection that they stand in.
func TestTokenInSignedCollection(t *testing.T) {
	mt, err := ParseMediaType(TypeDeviceClaims)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := EncodeCBOR(Collection("", Entry{Label: "devices", Item: Record(mt, []byte{0xa0}, IndEvidence)}))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := SignCOSE(nil, payload, vecKey(), SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Parse(raw, trustVec())
	if err != nil {
		t.Fatal(err)
	}
	if s := tree.Leaves()[0].Signer(); s == nil || !s.Verified || tree.Leaves()[0].TokenSigner() != nil {
		t.Errorf("signer %+v", s)
	}
}
