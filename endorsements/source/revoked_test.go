// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"context"
	"crypto"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/source"
)

// statuses are what the answers in a bundle say, sorted.
func statuses(t *testing.T, b *endorsements.Bundle) string {
	t.Helper()
	var out []string
	for _, d := range b.OCSPResponses() {
		a, err := endorsements.ParseOCSP(d.Raw)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a.Status)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// answer is one about certificate 1, now.
func answer(t *testing.T, d *nvidia.Device, fault nvidia.OCSPFault) ([]byte, error) {
	t.Helper()
	request, err := ocsp.CreateRequest(d.Chain()[1], d.Chain()[2], &ocsp.RequestOptions{Hash: crypto.SHA384})
	if err != nil {
		return nil, err
	}
	return d.OCSPService(map[int]nvidia.OCSPFault{1: fault}).Answer(request, time.Now())
}

// A revocation is not forgotten because somebody says something better later: a
// verifier that has both knows what to make of it. It stays over a restart, too.
func TestRevocationIsNotForgotten(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		dir := t.TempDir()
		needs := v.needs(t)[len(v.manifests):][:1]
		says := nvidia.OCSPHonest
		v.set(nil, func(context.Context, endorsements.Item) ([]byte, error) {
			return answer(t, v.dev, says)
		})
		s := open(t, nil, nvidiaOnly(v, func(o *source.Options) { o.Dir = dir }))
		for k, c := range []struct {
			fault nvidia.OCSPFault
			want  string
		}{
			{nvidia.OCSPHonest, "good"}, {nvidia.OCSPHonest, "good"}, {nvidia.OCSPRevoked, "revoked"}, {nvidia.OCSPHonest, "good revoked"},
			{nvidia.OCSPUnknown, "revoked unknown"}, {nvidia.OCSPRevoked, "revoked"}, {nvidia.OCSPHonest, "good revoked"},
		} {
			says = c.fault
			for range 2 { // the first begins, the second has it
				if _, err := s.Ensure(t.Context(), needs); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			if got := statuses(t, s.Bundle()); got != c.want {
				t.Errorf("%d: %s, expected %s", k, got, c.want)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != len(strings.Fields(c.want)) {
				t.Errorf("%d: %d files, %v", k, len(files), err)
			}
			for range 2 {
				other := open(t, nil, func(o *source.Options) { o.Dir = dir })
				if got := statuses(t, other.Bundle()); got != c.want {
					t.Errorf("%d: %s after a restart, expected %s", k, got, c.want)
				}
			}
			time.Sleep(24*time.Hour + time.Minute)
		}
	})
}

// Both go when there is no room.
func TestRevocationsAreBounded(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		dir := t.TempDir()
		needs := v.needs(t)[len(v.manifests):]
		honest := v.answer
		v.set(nil, func(context.Context, endorsements.Item) ([]byte, error) {
			return answer(t, v.dev, nvidia.OCSPRevoked)
		})
		s := open(t, nil, nvidiaOnly(v, func(o *source.Options) { o.Dir, o.MaxItems = dir, 1 }))
		if _, err := s.Ensure(t.Context(), needs[:1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		v.set(nil, honest)
		for _, n := range needs[:2] {
			if _, err := s.Ensure(t.Context(), []endorsements.Need{n}); err != nil {
				t.Fatal(err)
			}
		}
		files, err := os.ReadDir(dir)
		if got := statuses(t, s.Bundle()); got != "good" || err != nil || len(files) != 1 {
			t.Errorf("%s, %d files, %v", got, len(files), err)
		}
	})
}

// An answer of tomorrow proves nothing today, and would be newer than any other
// for ever.
func TestStatusOfTheFuture(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		needs := v.needs(t)[len(v.manifests):][:1]
		honest := v.answer
		v.set(nil, func(context.Context, endorsements.Item) ([]byte, error) {
			return v.dev.OCSP(nvidia.OCSPQuery{Position: 1, At: time.Now().AddDate(5, 0, 0)})
		})
		s := open(t, nil, nvidiaOnly(v, nil))
		if b, err := s.Ensure(t.Context(), needs); err == nil || items(b, endorsements.ItemNVOCSP) != 0 {
			t.Errorf("%d answers, %v", items(b, endorsements.ItemNVOCSP), err)
		}
		v.set(nil, honest)
		time.Sleep(2 * time.Hour)
		if b, err := s.Ensure(t.Context(), needs); err != nil || items(b, endorsements.ItemNVOCSP) != 1 {
			t.Errorf("when it is back: %d answers, %v", items(b, endorsements.ItemNVOCSP), err)
		}
	})
}
