// SPDX-License-Identifier: Apache-2.0

package endorsements_test

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/endorsements"
)

// everything is what the world can see of a bundle, statements in any order.
func everything(b *endorsements.Bundle) []any {
	var statements []string
	for s := range b.Statements() {
		statements = append(statements, fmt.Sprintf("%+v", s))
	}
	slices.Sort(statements)
	var certs, crls []string
	for c := range b.Certificates() {
		certs = append(certs, fmt.Sprintf("%s %x", c.Name, c.Digest))
	}
	for l := range b.RevocationLists() {
		crls = append(crls, fmt.Sprintf("%s %x", l.Name, l.Digest))
	}
	return []any{slices.Collect(b.AllIntelTDX()), certs, crls, b.OCSPResponses(), b.Manifests(), statements}
}

// A bundle and the documents that it is written down as are the same: the order,
// the names, and every signed byte.
func TestDocumentsMakeTheSameBundle(t *testing.T) {
	now := time.Date(2026, 11, 15, 12, 0, 0, 0, time.UTC)
	kinds := [6]int{}
	for _, name := range attester.BuiltIns() {
		d, ok := attester.BuiltIn(name)
		if !ok {
			t.Fatal(name)
		}
		m, err := attester.New(attester.Options{Machine: d, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		files, err := m.Endorsements()
		if err != nil {
			t.Fatal(err)
		}
		dir := fstest.MapFS{}
		for file, raw := range files {
			dir[file] = &fstest.MapFile{Data: raw, Mode: 0o644}
		}
		b, _, err := endorsements.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := b.Documents()
		if err != nil || len(docs) != b.Len() {
			t.Fatalf("%d documents of %d, %v", len(docs), b.Len(), err)
		}
		for _, doc := range docs {
			if sha256.Sum256(doc.Raw) != doc.Digest {
				t.Errorf("%s has another digest", doc.Name)
			}
		}
		if len(docs) == 0 {
			continue // Arm's tokens have none
		}
		again, warnings, err := endorsements.LoadDocuments(docs)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range warnings {
			if w.Kind != endorsements.WarnNoSigner {
				t.Error(w)
			}
		}
		want, got := everything(b), everything(again)
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("%s: %d:\n%v\n%v", name, i, got[i], want[i])
			}
			kinds[i] += reflect.ValueOf(want[i]).Len()
		}
		// A single document that is left out is missed.
		less, _, err := endorsements.LoadDocuments(docs[1:])
		if err != nil || reflect.DeepEqual(everything(less), want) {
			t.Errorf("%s: a document that is not there makes no difference, %v", name, err)
		}
	}
	if kinds[0] == 0 || kinds[3] == 0 || kinds[4] == 0 {
		t.Errorf("kinds of documents that were compared: %v", kinds)
	}
}

func TestLoadDocumentsBounds(t *testing.T) {
	if _, _, err := endorsements.LoadDocuments(make([]endorsements.Document, endorsements.MaxFiles+1)); err == nil {
		t.Error("too many documents are loaded")
	}
	large := make([]byte, endorsements.MaxFile)
	var many []endorsements.Document
	for range endorsements.MaxTotal/endorsements.MaxFile + 1 {
		many = append(many, endorsements.Document{Name: "x", Raw: large})
	}
	if _, _, err := endorsements.LoadDocuments(many); err == nil {
		t.Error("too many bytes are loaded")
	}
	b, warnings, err := endorsements.LoadDocuments([]endorsements.Document{
		{Name: "large", Raw: make([]byte, endorsements.MaxFile+1)}, {Name: "../../etc/passwd", Raw: []byte("root")}, {Name: "empty"},
	})
	if err != nil || b.Len() != 0 || len(warnings) != 3 || warnings[0].Kind != endorsements.WarnTooLarge || warnings[1].Kind != endorsements.WarnNotUnderstood {
		t.Errorf("%v %v", warnings, err)
	}
	if docs, err := (*endorsements.Bundle)(nil).Documents(); docs != nil || err != nil {
		t.Error(docs, err)
	}
}
