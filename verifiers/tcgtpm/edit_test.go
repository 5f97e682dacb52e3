// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"

	fx "github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/attester/refvalues"
	sim "github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/corim"
)

func hexSum(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

// edited is CBOR evidence with changed members.
func edited(tb testing.TB, raw []byte, change func(map[string]any)) []byte {
	tb.Helper()
	var m map[string]any
	if err := fx.Unmarshal(raw, &m); err != nil {
		tb.Fatal(err)
	}
	change(m)
	out, err := fx.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// keyDocument has the reference values of a device and names its key.
func keyDocument(tb testing.TB, d *sim.Device, change func(*corim.KeyTriple)) *corim.Document {
	tb.Helper()
	raw, err := refvalues.Unsigned(document(entry(tb, d)))
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := corim.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	key := corim.TaggedText(corim.TagPKIXKey, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: d.AKCertificate().RawSubjectPublicKeyInfo})))
	k := corim.KeyTriple{Environment: environment(), Keys: []corim.Typed{key}}
	if change != nil {
		change(&k)
	}
	doc.Tags[0].Comid.AttestKeys = append(doc.Tags[0].Comid.AttestKeys, k)
	return doc
}

// keyIndex is a set with that document, for which an author stands.
func keyIndex(tb testing.TB, d *sim.Device, change func(*corim.KeyTriple)) *corim.Index {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", now)
	if err != nil {
		tb.Fatal(err)
	}
	key := corim.SigningKey{ID: []byte("k"), Public: author.Signer.Key.Public()}
	author.Authority.Keys = append(author.Authority.Keys, key)
	return loaded(tb, keyDocument(tb, d, change), func(raw []byte) (*corim.Document, error) {
		return corim.LoadVouched(raw, corim.Vouching{Authority: author.Authority, Key: key, Validity: corim.Period{NotAfter: now.AddDate(1, 0, 0)}}, corim.Options{Now: now})
	})
}

func unsignedKeyIndex(tb testing.TB, d *sim.Device) *corim.Index {
	tb.Helper()
	return loaded(tb, keyDocument(tb, d, nil), func(raw []byte) (*corim.Document, error) {
		return corim.Load(raw, corim.Options{Unsigned: true, Now: now})
	})
}

func loaded(tb testing.TB, d *corim.Document, load func([]byte) (*corim.Document, error)) *corim.Index {
	tb.Helper()
	raw, err := corim.Encode(d)
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := load(raw)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := corim.NewIndex(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}
