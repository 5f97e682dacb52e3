// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/source"
)

// Who waits for his turn sees that the service wants to be left alone meanwhile,
// whoever was told.
func TestRetryAfterForThoseWhoWait(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		begun := time.Now()
		var times []time.Duration
		v := &vendor{answer: func(_ context.Context, i endorsements.Item) ([]byte, error) {
			if times = append(times, time.Since(begun)); len(times) == 1 {
				return nil, status(429, 45*time.Second)
			}
			return nil, status(404, 0)
		}}
		s := open(t, v, func(o *source.Options) {
			o.Services[endorsements.VendorAMD] = source.Service{Fetcher: v, Every: 10 * time.Second, Burst: 1}
		})
		_, err := s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDCRL, Product: "Milan"}, {Kind: endorsements.NeedAMDCRL, Product: "Genoa"}})
		if err == nil || len(times) != 3 || times[1] < 45*time.Second {
			t.Errorf("asked at %v, %v", times, err)
		}
	})
}

// A folder that cannot be written costs nothing but the folder, and is reported.
func TestFolderThatCannotBeWritten(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		dir := filepath.Join(t.TempDir(), "cache")
		var mu sync.Mutex
		var reported []error
		s := open(t, &vendor{have: files}, func(o *source.Options) {
			o.Dir = dir
			o.Report = func(_ endorsements.Item, err error) {
				mu.Lock()
				defer mu.Unlock()
				reported = append(reported, err)
			}
		})
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if b, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil || have(b) != 4 {
			t.Errorf("%d documents, %v", have(b), err)
		}
		if len(reported) != 4 || !errors.Is(reported[0], source.ErrNotKept) || !errors.Is(reported[0], os.ErrNotExist) {
			t.Errorf("%v", reported)
		}
	})
}

// The same document for longer, because who signs it has a new certificate, takes
// the place of the one that ends; one for less long does not.
func TestLongerTakesTheOthersPlace(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		dir := t.TempDir()
		item := endorsements.Item{Kind: endorsements.ItemTDXTCB, FMSPC: fmspc}
		until := func(b *endorsements.Bundle) (at time.Time, n int) {
			for st := range b.Statements() {
				if st.Item == item {
					at, n = st.Until, n+1
				}
			}
			return at, n
		}
		doc, err := endorsements.Parse("it", files[endorsements.ItemTDXTCB])
		if err != nil {
			t.Fatal(err)
		}
		first, _ := until(doc)
		longer := map[endorsements.ItemKind][]byte{}
		for kind, raw := range files {
			longer[kind] = bytes.ReplaceAll(raw, []byte(first.Format("2006-01-02")), []byte(first.AddDate(0, 0, 20).Format("2006-01-02")))
		}
		v := &vendor{have: files}
		s := open(t, v, func(o *source.Options) { o.Dir = dir })
		for k, c := range []struct {
			have map[endorsements.ItemKind][]byte
			want time.Time
		}{{files, first}, {longer, first.AddDate(0, 0, 20)}, {files, first.AddDate(0, 0, 20)}} {
			v.set(c.have, nil)
			for range 2 { // the first begins, the second has it
				if _, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			if got, n := until(s.Bundle()); n != 1 || !got.Equal(c.want) {
				t.Errorf("%d: %d documents, until %s, expected %s", k, n, got, c.want)
			}
			time.Sleep(30 * time.Hour)
		}
		// The folder has that one, too, whatever else lies in it.
		if err := putTCB(dir, files[endorsements.ItemTDXTCB]); err != nil {
			t.Fatal(err)
		}
		again := open(t, nil, func(o *source.Options) { o.Dir = dir })
		if got, n := until(again.Bundle()); n != 1 || !got.Equal(first.AddDate(0, 0, 20)) {
			t.Errorf("from the folder: %d documents, until %s", n, got)
		}
	})
}
