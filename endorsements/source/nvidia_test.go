// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/check"
	"github.com/assize/assize/endorsements/source"
)

// shared spares making the vendor's certificates more than once.
var shared nvidia.Shared

// year is that of the simulated device.
var year = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// services hand out manifests and answer about certificates as NVIDIA's do.
type services struct {
	vendor
	dev       *nvidia.Device
	manifests map[string]endorsements.Manifest
}

// device is a simulated one with its services. Answers about certificates are
// made for the time at which they are asked for.
func device(t *testing.T) *services {
	t.Helper()
	d, err := nvidia.NewGPU(nvidia.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: year, Shared: &shared})
	if err != nil {
		t.Fatal(err)
	}
	all, err := d.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := d.RIMSigner()
	if err != nil {
		t.Fatal(err)
	}
	s := &services{dev: d, manifests: map[string]endorsements.Manifest{}}
	for _, m := range all {
		if s.manifests[m.ID], err = endorsements.ParseManifest(m.File(), m.ID, m.Raw); err != nil {
			t.Fatal(err)
		}
	}
	answers := map[endorsements.Item]func() ([]byte, error){}
	for position := 0; position < 3; position++ {
		answers[statusOf(t, signer.Chain()[position], signer.Chain()[position+1])] = func() ([]byte, error) {
			return signer.OCSP(nvidia.OCSPQuery{Position: position, At: time.Now()})
		}
		answers[statusOf(t, d.Chain()[position+1], d.Chain()[position+2])] = func() ([]byte, error) {
			return d.OCSP(nvidia.OCSPQuery{Position: position + 1, At: time.Now()})
		}
	}
	s.answer = func(_ context.Context, i endorsements.Item) ([]byte, error) {
		if m, ok := s.manifests[i.RIM]; ok && i.Kind == endorsements.ItemNVRIM {
			return m.EncodeReply()
		}
		if f := answers[i]; f != nil {
			return f()
		}
		return nil, status(404, 0)
	}
	return s
}

// needs are those of the device: its manifests and the status of its chain.
func (s *services) needs(t *testing.T) []endorsements.Need {
	t.Helper()
	var out []endorsements.Need
	for id := range s.manifests {
		out = append(out, endorsements.Need{Kind: endorsements.NeedNVIDIARIM, RIM: id})
	}
	slices.SortFunc(out, func(a, b endorsements.Need) int { return strings.Compare(a.RIM, b.RIM) })
	for position := 1; position <= 3; position++ {
		n, err := endorsements.OCSPNeed(s.dev.Chain()[position], s.dev.Chain()[position+1])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

func nvidiaOnly(s *services, change func(*source.Options)) func(*source.Options) {
	return func(o *source.Options) {
		o.Services = map[endorsements.Vendor]source.Service{endorsements.VendorNVIDIA: {Fetcher: s}}
		if change != nil {
			change(o)
		}
	}
}

// inYear runs a test in the year of the simulated device.
func inYear(t *testing.T, f func(t *testing.T, s *services)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(year))
		f(t, device(t))
	})
}

func items(b *endorsements.Bundle, kind endorsements.ItemKind) (n int) {
	for st := range b.Statements() {
		if st.Item.Kind == kind {
			n++
		}
	}
	return n
}

// With a manifest comes the status of who signed it, in the same call; a day later
// all of it is asked for again.
func TestManifestsBringTheStatusOfTheirSigners(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		roots, err := v.dev.Roots()
		if err != nil {
			t.Fatal(err)
		}
		checker, err := check.New(roots...)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, nil, nvidiaOnly(v, func(o *source.Options) { o.Check = checker.Document }))
		needs, rims := v.needs(t), len(v.manifests)
		b, err := s.Ensure(t.Context(), needs)
		if err != nil || items(b, endorsements.ItemNVRIM) != rims || items(b, endorsements.ItemNVOCSP) != 6 || v.takes() != rims+6 {
			t.Fatalf("%d manifests, %d responses, %v", items(b, endorsements.ItemNVRIM), items(b, endorsements.ItemNVOCSP), err)
		}
		if again, err := s.Ensure(t.Context(), needs); err != nil || again != b || v.takes() != 0 {
			t.Errorf("asked again: %v", err)
		}
		time.Sleep(24*time.Hour - time.Minute) // still good, and about to end
		if _, err := s.Ensure(t.Context(), needs); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := v.takes(); n != rims+6 {
			t.Errorf("%d documents were asked for again, expected %d", n, rims+6)
		}
		time.Sleep(time.Hour)
		if b, err = s.Ensure(t.Context(), needs); err != nil || items(b, endorsements.ItemNVOCSP) != 6 || v.takes() != 0 {
			t.Errorf("a day later: %v", err)
		}
	})
}

// A manifest in the folder of the operator is not fetched; the status of its signers
// is.
func TestManifestOfTheFolder(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		var base []*endorsements.Bundle
		for id, m := range v.manifests {
			b, err := endorsements.Parse(id+".xml", m.Raw)
			if err != nil {
				t.Fatal(err)
			}
			base = append(base, b)
		}
		s := open(t, nil, nvidiaOnly(v, func(o *source.Options) { o.Base = endorsements.Merge(base...) }))
		b, err := s.Ensure(t.Context(), v.needs(t))
		if err != nil || v.takes() != 6 || items(b, endorsements.ItemNVOCSP) != 6 {
			t.Errorf("%d responses, %v", items(b, endorsements.ItemNVOCSP), err)
		}
	})
}

// Without an OCSP service manifests come all the same, and what nobody can be asked
// for is said and not tried.
func TestHalfOfTheServices(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		s := open(t, nil, func(o *source.Options) {
			o.Services = map[endorsements.Vendor]source.Service{endorsements.VendorNVIDIA: {Fetcher: v, Without: []endorsements.ItemKind{endorsements.ItemNVOCSP}}}
		})
		b, err := s.Ensure(t.Context(), v.needs(t))
		if !errors.Is(err, source.ErrOffline) || v.takes() != len(v.manifests) || items(b, endorsements.ItemNVRIM) != len(v.manifests) {
			t.Error(err)
		}
	})
}

// A service that is slow with the manifest costs who waits no more than the time
// they have, and whoever comes later has the status of the signers, too.
func TestSlowManifest(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		quick := v.answer
		v.answer = func(ctx context.Context, i endorsements.Item) ([]byte, error) {
			if i.Kind == endorsements.ItemNVRIM {
				time.Sleep(10 * time.Second)
			}
			return quick(ctx, i)
		}
		s := open(t, nil, nvidiaOnly(v, nil))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		b, err := s.Ensure(ctx, v.needs(t))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 6*time.Second || items(b, endorsements.ItemNVOCSP) != 3 {
			t.Errorf("%d responses after %s, %v", items(b, endorsements.ItemNVOCSP), time.Since(start), err)
		}
		time.Sleep(10 * time.Second)
		if b, err = s.Ensure(t.Context(), v.needs(t)); err != nil || items(b, endorsements.ItemNVOCSP) != 6 {
			t.Errorf("later: %d responses, %v", items(b, endorsements.ItemNVOCSP), err)
		}
	})
}

// What has ended stays, and is said to have ended, when the service is gone; a stale
// answer is no new one.
func TestEndedStatus(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		s := open(t, nil, nvidiaOnly(v, nil))
		needs := v.needs(t)[len(v.manifests):]
		if _, err := s.Ensure(t.Context(), needs); err != nil {
			t.Fatal(err)
		}
		old := v.answer
		v.set(nil, func(context.Context, endorsements.Item) ([]byte, error) { return nil, status(503, 0) })
		time.Sleep(25 * time.Hour)
		b, err := s.Ensure(t.Context(), needs)
		if err == nil || items(b, endorsements.ItemNVOCSP) != 3 {
			t.Errorf("%d responses, %v", items(b, endorsements.ItemNVOCSP), err)
		}
		v.set(nil, func(_ context.Context, i endorsements.Item) ([]byte, error) {
			for position := 1; position <= 3; position++ {
				if statusOf(t, v.dev.Chain()[position], v.dev.Chain()[position+1]) == i {
					return v.dev.OCSP(nvidia.OCSPQuery{Position: position, At: year})
				}
			}
			return nil, status(404, 0)
		})
		time.Sleep(2 * time.Hour)
		if _, err := s.Ensure(t.Context(), needs); !errors.Is(err, source.ErrEnded) {
			t.Errorf("a stale answer: %v", err)
		}
		v.set(nil, old)
		time.Sleep(2 * time.Hour)
		if _, err := s.Ensure(t.Context(), needs); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	})
}

// NVIDIA issues manifests anew behind the same identifier: the one that was fetched
// last takes the place of one of the same signer, in memory and on disk.
func TestReissuedManifest(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		dir := t.TempDir()
		s := open(t, nil, nvidiaOnly(v, func(o *source.Options) { o.Dir = dir }))
		var id string
		for id = range v.manifests {
		}
		need := []endorsements.Need{{Kind: endorsements.NeedNVIDIARIM, RIM: id}}
		b, err := s.Ensure(t.Context(), need)
		if err != nil {
			t.Fatal(err)
		}
		first := b.Manifests()[0]
		// Another document with the same certificates.
		raw := []byte(strings.Replace(string(first.Raw), "</SoftwareIdentity>", " </SoftwareIdentity>", 1))
		second, err := endorsements.ParseManifest("x", id, raw)
		if err != nil || second.Digest == first.Digest {
			t.Fatal(err)
		}
		v.manifests[id] = second
		time.Sleep(24 * time.Hour)
		if _, err := s.Ensure(t.Context(), need); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := s.Bundle().Manifests(); len(got) != 1 || got[0].Digest != second.Digest {
			t.Errorf("%d manifests", len(got))
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range files {
			if strings.HasPrefix(f.Name(), "nvidia-rim-"+id+".") {
				names = append(names, f.Name())
			}
		}
		if len(names) != 1 {
			t.Errorf("%q", names)
		}
		// Another process begins with what is on disk.
		other := open(t, nil, func(o *source.Options) { o.Dir = dir })
		if got := other.Bundle().Manifests(); len(got) != 1 || got[0].Digest != second.Digest || got[0].ID != id {
			t.Errorf("from disk: %d manifests", len(got))
		}
		if _, err := other.Ensure(t.Context(), need); err != nil {
			t.Errorf("from disk: %v", err)
		}
	})
}

// Responses about made-up serial numbers do not push out anything else.
func TestResponsesDoNotEvictOthers(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		s := open(t, nil, nvidiaOnly(v, func(o *source.Options) { o.MaxItems = 4 }))
		needs := v.needs(t)
		var err error
		for _, n := range append(slices.Clone(needs), needs[len(v.manifests):]...) {
			if _, err = s.Ensure(t.Context(), []endorsements.Need{n}); err != nil {
				t.Fatal(err)
			}
		}
		b := s.Bundle()
		if items(b, endorsements.ItemNVRIM) != 1 || items(b, endorsements.ItemNVOCSP) != 3 {
			t.Errorf("%d manifests, %d responses", items(b, endorsements.ItemNVRIM), items(b, endorsements.ItemNVOCSP))
		}
	})
}

// The status of a whole board is asked for at once, and from then on ten times in a
// second; what is beyond the places of the vendor is refused.
func TestRateOfNVIDIA(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		v.set(nil, func(context.Context, endorsements.Item) ([]byte, error) { return nil, status(404, 0) })
		s := open(t, nil, nvidiaOnly(v, nil))
		digest := strings.Repeat("ab", 48)
		var busy atomic.Int32
		ask := func(serials ...int) {
			var needs []endorsements.Need
			for _, n := range serials {
				needs = append(needs, endorsements.Need{Kind: endorsements.NeedNVIDIAOCSP, IssuerName: digest, IssuerKey: digest, Serial: fmt.Sprintf("01%06x", n)})
			}
			if _, err := s.Ensure(t.Context(), needs); errors.Is(err, source.ErrBusy) {
				busy.Add(1)
			}
		}
		for n := range 40 {
			go ask(n)
		}
		synctest.Wait()
		if n := v.takes(); n != 32 {
			t.Errorf("%d at once", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := v.takes(); n != 8 || busy.Load() != 0 {
			t.Errorf("%d in the next second, %d refused", n, busy.Load())
		}
		for n := range 200 {
			go ask(100 + n)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := busy.Load(); n < 40 || n > 72 {
			t.Errorf("%d of 200 are refused", n)
		}
	})
}

func statusOf(t *testing.T, cert, issuer *x509.Certificate) endorsements.Item {
	t.Helper()
	n, err := endorsements.OCSPNeed(cert, issuer)
	if err != nil {
		t.Fatal(err)
	}
	of, err := n.Items()
	if err != nil {
		t.Fatal(err)
	}
	return of[0]
}

// Whoever is beside a manifest: one call asks for no more than sixteen answers about
// them, however many manifests it needs.
func TestSignersAreBounded(t *testing.T) {
	inYear(t, func(t *testing.T, v *services) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		asked := map[endorsements.Item]bool{}
		serial := int64(0)
		v.set(nil, func(_ context.Context, i endorsements.Item) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			if i.Kind != endorsements.ItemNVRIM {
				asked[i] = true
				return nil, status(404, 0)
			}
			text := `<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" xmlns:d="http://www.w3.org/2000/09/xmldsig#">`
			for range 8 {
				serial++
				c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "anybody"}, NotBefore: year, NotAfter: year.AddDate(1, 0, 0)}
				der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
				if err != nil {
					return nil, err
				}
				text += "<d:X509Certificate>" + base64.StdEncoding.EncodeToString(der) + "</d:X509Certificate>"
			}
			m, err := endorsements.ParseManifest("x", i.RIM, []byte(text+"</SoftwareIdentity>"))
			if err != nil {
				return nil, err
			}
			return m.EncodeReply()
		})
		s := open(t, nil, nvidiaOnly(v, nil))
		var needs []endorsements.Need
		for n := range 4 {
			needs = append(needs, endorsements.Need{Kind: endorsements.NeedNVIDIARIM, RIM: fmt.Sprintf("NV_GPU_DRIVER_GH100_%d", n)})
		}
		b, err := s.Ensure(t.Context(), needs)
		if err == nil || items(b, endorsements.ItemNVRIM) != 4 || len(asked) != 16 {
			t.Errorf("%d manifests, %d answers were asked for, %v", items(b, endorsements.ItemNVRIM), len(asked), err)
		}
	})
}
