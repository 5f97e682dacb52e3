// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/check"
	"github.com/assize/assize/endorsements/source"
)

const fmspc = "a5512e000000"

var need = endorsements.Need{Kind: endorsements.NeedIntelTDX, FMSPC: fmspc, CA: "platform"}

// machine is a simulated one whose collateral is ten days old at now.
func machine(tb testing.TB, now time.Time) (*inteltdx.Device, map[endorsements.ItemKind][]byte) {
	tb.Helper()
	d, err := inteltdx.New(inteltdx.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now})
	if err != nil {
		tb.Fatal(err)
	}
	files, err := d.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	out := map[endorsements.ItemKind][]byte{}
	for name, raw := range files {
		b, err := endorsements.Parse(name, raw)
		if err != nil {
			tb.Fatal(err)
		}
		for c := range b.AllIntelTDX() {
			for kind, part := range map[endorsements.ItemKind]endorsements.IntelCollateral{
				endorsements.ItemTDXTCB:  {TCBInfo: c.TCBInfo, TCBInfoSignature: c.TCBInfoSignature, TCBInfoIssuerChain: c.TCBInfoIssuerChain},
				endorsements.ItemTDXQE:   {QEIdentity: c.QEIdentity, QEIdentitySignature: c.QEIdentitySignature, QEIdentityChain: c.QEIdentityChain},
				endorsements.ItemPCKCRL:  {PCKCRL: c.PCKCRL, PCKCRLIssuerChain: c.PCKCRLIssuerChain},
				endorsements.ItemRootCRL: {RootCACRL: c.RootCACRL},
			} {
				if out[kind], err = part.Encode(); err != nil {
					tb.Fatal(err)
				}
			}
		}
	}
	return d, out
}

// vendor answers from what it has.
type vendor struct {
	mu    sync.Mutex
	have  map[endorsements.ItemKind][]byte
	asked []string
	// answer replaces what it has, if it is not nil.
	answer func(ctx context.Context, i endorsements.Item) ([]byte, error)
}

func (v *vendor) Fetch(ctx context.Context, i endorsements.Item) ([]byte, error) {
	v.mu.Lock()
	v.asked = append(v.asked, i.String())
	answer, raw := v.answer, v.have[i.Kind]
	v.mu.Unlock()
	if answer != nil {
		return answer(ctx, i)
	}
	if raw == nil {
		return nil, status(404, 0)
	}
	return raw, nil
}

func (v *vendor) set(have map[endorsements.ItemKind][]byte, answer func(context.Context, endorsements.Item) ([]byte, error)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.have, v.answer = have, answer
}

// takes returns how often the vendor was asked since the last call.
func (v *vendor) takes() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := len(v.asked)
	v.asked = nil
	return n
}

func status(code int, after time.Duration) error {
	return &endorsements.FetchError{Status: code, RetryAfter: after, Err: fmt.Errorf("status %d", code)}
}

func open(tb testing.TB, v source.Fetcher, change func(*source.Options)) *source.Source {
	tb.Helper()
	o := source.Options{Now: time.Now, Spread: 7}
	if v != nil {
		o.Services = map[endorsements.Vendor]source.Service{endorsements.VendorIntel: {Fetcher: v}, endorsements.VendorAMD: {Fetcher: v}}
	}
	if change != nil {
		change(&o)
	}
	s, err := source.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func have(b *endorsements.Bundle) int {
	n := 0
	for range b.Statements() {
		n++
	}
	return n
}

// What is needed is fetched once, and the bundle is the same until something
// changes.
func TestEnsure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, files := machine(t, time.Now().AddDate(27, 0, 0)) // a bubble begins in 2000
		time.Sleep(time.Until(time.Now().AddDate(27, 0, 0)))
		v := &vendor{have: files}
		s := open(t, v, nil)
		b, err := s.Ensure(t.Context(), []endorsements.Need{need})
		if err != nil || have(b) != 4 || v.takes() != 4 {
			t.Fatalf("%d documents, %v", have(b), err)
		}
		again, err := s.Ensure(t.Context(), []endorsements.Need{need, need})
		if err != nil || again != b || v.takes() != 0 || s.Bundle() != b {
			t.Errorf("asked again, or another bundle: %v", err)
		}
		sgx := need
		sgx.Kind = endorsements.NeedIntelSGX
		b, err = s.Ensure(t.Context(), []endorsements.Need{sgx})
		if err == nil || have(b) != 4 || v.takes() != 2 || !strings.Contains(err.Error(), "intel-sgx-tcb-a5512e000000") {
			t.Errorf("%d documents, %v", have(b), err)
		}
	})
}

// at runs a test in the year of the simulated machines.
func at(t *testing.T, f func(t *testing.T, files map[endorsements.ItemKind][]byte)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 15, 12, 0, 0, 0, time.UTC)))
		_, files := machine(t, time.Now())
		f(t, files)
	})
}

// Many that need the same make one request for it, and whoever cannot wait goes
// on without, while it is still being fetched.
func TestSingleFlight(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{}
		v.answer = func(ctx context.Context, i endorsements.Item) ([]byte, error) {
			select {
			case <-time.After(3 * time.Second):
				return files[i.Kind], nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		s := open(t, v, nil)
		var wg sync.WaitGroup
		for n := range 40 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n%2*9)*time.Second)
				defer cancel()
				b, err := s.Ensure(ctx, []endorsements.Need{need})
				if short := n%2 == 0; short && (!errors.Is(err, context.DeadlineExceeded) || have(b) != 0) || !short && (err != nil || have(b) != 4) {
					t.Errorf("%d: %d documents, %v", n, have(b), err)
				}
			})
		}
		wg.Wait()
		if n := v.takes(); n != 4 {
			t.Errorf("asked %d times", n)
		}
	})
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{answer: func(_ context.Context, i endorsements.Item) ([]byte, error) {
			time.Sleep(3 * time.Second)
			return files[i.Kind], nil
		}}
		s := open(t, v, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b, err := s.Ensure(ctx, []endorsements.Need{need}); err == nil || have(b) != 0 {
			t.Errorf("%d documents in no time", have(b))
		}
		time.Sleep(5 * time.Second)
		if have(s.Bundle()) != 4 {
			t.Error("what was being fetched is lost when nobody waits")
		}
	})
}

// A service that is overloaded is asked again, but not before it says so.
func TestRetryAfter(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		begun := time.Now()
		var times []time.Duration
		v := &vendor{answer: func(_ context.Context, i endorsements.Item) ([]byte, error) {
			if times = append(times, time.Since(begun)); len(times) < 3 {
				return nil, status(429, 10*time.Second)
			}
			return nil, status(404, 0)
		}}
		s := open(t, v, nil)
		_, err := s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDCRL, Product: "Milan"}})
		if err == nil || len(times) != 3 || times[1] < 10*time.Second || times[2] < 20*time.Second || times[2] > 40*time.Second {
			t.Errorf("%v, %v", times, err)
		}
	})
	// One that says a longer time is not waited for, and not asked meanwhile.
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{answer: func(context.Context, endorsements.Item) ([]byte, error) { return nil, status(503, 20*time.Minute) }}
		s := open(t, v, nil)
		begun := time.Now()
		for range 3 {
			if _, err := s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDCRL, Product: "Milan"}, {Kind: endorsements.NeedAMDCRL, Product: "Genoa"}}); err == nil {
				t.Error("no error")
			}
			time.Sleep(time.Minute)
		}
		if n := v.takes(); n > 2 || time.Since(begun) > 4*time.Minute {
			t.Errorf("asked %d times in %s", n, time.Since(begun))
		}
		v.set(nil, nil)
		time.Sleep(20 * time.Minute)
		if _, err := s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDCRL, Product: "Milan"}}); err == nil || v.takes() != 1 {
			t.Errorf("not asked again: %v", err)
		}
	})
}

// What a service does not have is not asked for again for a while, longer each
// time; a service that is down neither.
func TestNegativeCache(t *testing.T) {
	for code, most := range map[int]int{404: 49, 400: 49, 500: 3 * 40, 0: 3 * 40} {
		at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
			v := &vendor{answer: func(context.Context, endorsements.Item) ([]byte, error) { return nil, status(code, 0) }}
			s := open(t, v, nil)
			crl := []endorsements.Need{{Kind: endorsements.NeedAMDCRL, Product: "Milan"}}
			for range 24 * 60 { // every minute of a day
				if _, err := s.Ensure(t.Context(), crl); err == nil {
					t.Fatal("no error")
				}
				time.Sleep(time.Minute)
			}
			if n := v.takes(); n > most || n < 10 {
				t.Errorf("%d: asked %d times in a day", code, n)
			}
		})
	}
}

// However much evidence asks for, a service is asked at its rate, and only so much
// waits.
func TestRate(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{}
		s := open(t, v, nil)
		begun := time.Now()
		var wg sync.WaitGroup
		busy := 0
		var mu sync.Mutex
		for n := range 200 {
			wg.Go(func() {
				chip := fmt.Sprintf("%0128x", n+1)
				_, err := s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDVCEK, Product: "Milan", ChipID: chip}})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					t.Error("no error")
				} else if errors.Is(err, source.ErrBusy) {
					busy++
				}
			})
		}
		wg.Wait()
		if n, most := v.takes(), 3+int(time.Since(begun)/(10*time.Second)); n > most || busy < 190 {
			t.Errorf("asked %d times in %s, %d were refused", n, time.Since(begun), busy)
		}
	})
}

// So many documents are fetched at once, whatever the rate.
func TestFlights(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{answer: func(ctx context.Context, _ endorsements.Item) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		s := open(t, v, func(o *source.Options) {
			o.Services = map[endorsements.Vendor]source.Service{endorsements.VendorAMD: {Fetcher: v, Every: 1, Burst: 1000}}
		})
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				_, _ = s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDVCEK, Product: "Milan", ChipID: fmt.Sprintf("%0128x", n+1)}})
			})
		}
		time.Sleep(time.Second)
		if n := v.takes(); n != 32 {
			t.Errorf("%d at once", n)
		}
		wg.Wait()
	})
}

// What does not exist is asked for less often than what could not be had.
func TestUnknownDocument(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{}
		s := open(t, v, nil)
		for range 60 {
			if _, err := s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDCRL, Product: "Milan"}}); err == nil {
				t.Fatal("no error")
			}
			time.Sleep(time.Minute)
		}
		if n := v.takes(); n > 2 {
			t.Errorf("asked %d times in an hour", n)
		}
	})
}

// A need that is out of form, and one too many, cause nothing.
func TestHostileNeeds(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{have: files}
		s := open(t, v, nil)
		for _, n := range []endorsements.Need{
			{}, {Kind: "x"}, {Kind: endorsements.NeedIntelTDX, FMSPC: "../../x", CA: "platform"},
			{Kind: endorsements.NeedAMDVCEK, Product: "Milan", ChipID: strings.Repeat("0", 128)}, {Kind: endorsements.NeedAMDCRL, Product: "x"},
		} {
			if b, err := s.Ensure(t.Context(), []endorsements.Need{n}); !errors.Is(err, endorsements.ErrNeed) || b == nil {
				t.Errorf("%+v: %v", n, err)
			}
		}
		if v.takes() != 0 {
			t.Error("something was asked for")
		}
		many := make([]endorsements.Need, 30)
		for k := range many {
			many[k] = endorsements.Need{Kind: endorsements.NeedIntelTDX, FMSPC: fmt.Sprintf("%012x", k), CA: "platform"}
		}
		if _, err := s.Ensure(t.Context(), many); err == nil || v.takes() > 11 {
			t.Errorf("many needs: %v", err)
		}
	})
}

// A document is replaced some days before it ends, while the old one goes on being
// used, and by no older one.
func TestRefresh(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{have: files}
		s := open(t, v, func(o *source.Options) { o.MaxAge = 1000 * time.Hour })
		needs := []endorsements.Need{need}
		b, err := s.Ensure(t.Context(), needs)
		if err != nil || v.takes() != 4 {
			t.Fatal(err)
		}
		time.Sleep(10 * 24 * time.Hour) // 20 of 30 days
		if again, err := s.Ensure(t.Context(), needs); err != nil || again != b || v.takes() != 0 {
			t.Fatalf("asked too early: %v", err)
		}
		_, older := machine(t, time.Now().AddDate(0, 0, -30))
		v.set(older, nil)
		time.Sleep(8 * 24 * time.Hour) // 28 of 30 days
		again, err := s.Ensure(t.Context(), needs)
		if err != nil || again != b {
			t.Fatalf("an appraisal waits for what it does not need: %v", err)
		}
		synctest.Wait()
		if again, err := s.Ensure(t.Context(), needs); err != nil || again != b || v.takes() != 3 {
			t.Fatalf("an older document replaced a newer one: %v", err)
		}
		_, newer := machine(t, time.Now())
		v.set(newer, nil)
		for range 6 { // not all the time
			time.Sleep(time.Hour)
			if _, err := s.Ensure(t.Context(), needs); err != nil {
				t.Fatal(err)
			}
		}
		if n := v.takes(); n != 0 {
			t.Errorf("asked %d times in six hours", n)
		}
		time.Sleep(8 * time.Hour)
		if _, err := s.Ensure(t.Context(), needs); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if again, err = s.Ensure(t.Context(), needs); err != nil || again == b || have(again) != 4 {
			t.Errorf("not replaced: %d, %v", have(again), err)
		}
		for st := range again.Statements() {
			if st.Item.Kind != endorsements.ItemRootCRL && time.Until(st.Until) < 15*24*time.Hour {
				t.Errorf("%s ends %s", st.Item, st.Until)
			}
		}
	})
}

// A document that may have a successor is asked for at least every MaxAge, a
// certificate is not.
func TestMaxAge(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{have: files}
		s := open(t, v, nil)
		for range 48 {
			if _, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		if n := v.takes(); n != 4+2*4 && n != 4+4 {
			t.Errorf("asked %d times in two days", n)
		}
	})
}

// What has ended stays visible as such, is reported each time, and does not make
// anybody ask all the time.
func TestEnded(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{have: files}
		s := open(t, v, nil)
		if _, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil {
			t.Fatal(err)
		}
		v.set(nil, func(context.Context, endorsements.Item) ([]byte, error) { return nil, status(0, 0) })
		v.takes()
		time.Sleep(25 * 24 * time.Hour)
		for range 10 {
			b, err := s.Ensure(t.Context(), []endorsements.Need{need})
			if have(b) != 4 || err == nil || !strings.Contains(err.Error(), "intel-tdx-tcb") || strings.Contains(err.Error(), "root-crl") {
				t.Fatalf("%d documents, %v", have(b), err)
			}
			time.Sleep(time.Minute)
		}
		if n := v.takes(); n > 60 {
			t.Errorf("asked %d times", n)
		}
		// A service that still has the old one has nothing new either.
		v.set(files, nil)
		time.Sleep(time.Hour)
		if _, err := s.Ensure(t.Context(), []endorsements.Need{need}); !errors.Is(err, source.ErrEnded) {
			t.Errorf("%v", err)
		}
	})
}

// Without a service there is what the folder has, and what it lacks is said.
func TestOffline(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		base, err := endorsements.Parse("tcb", files[endorsements.ItemTDXTCB])
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, nil, func(o *source.Options) { o.Base = base })
		b, err := s.Ensure(t.Context(), []endorsements.Need{need})
		if have(b) != 1 || !errors.Is(err, source.ErrOffline) || strings.Contains(err.Error(), "tcb") {
			t.Errorf("%d documents, %v", have(b), err)
		}
		// With one, only what the folder lacks is fetched.
		v := &vendor{have: files}
		s = open(t, v, func(o *source.Options) { o.Base = base })
		if b, err := s.Ensure(t.Context(), []endorsements.Need{need}); have(b) != 4 || err != nil || v.takes() != 3 {
			t.Errorf("%d documents, %v", have(b), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDCRL, Product: "Milan"}}); !errors.Is(err, source.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// A document that is another one, several, none, or that the check refuses is
// not kept; a fetcher that panics has no document.
func TestRefusedDocuments(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		d, _ := machine(t, time.Now())
		whole, err := d.Endorsements()
		if err != nil {
			t.Fatal(err)
		}
		var set []byte
		for _, raw := range whole {
			set = raw
		}
		for name, answer := range map[string]func(context.Context, endorsements.Item) ([]byte, error){
			"another kind": func(context.Context, endorsements.Item) ([]byte, error) { return files[endorsements.ItemTDXQE], nil },
			"a whole set":  func(context.Context, endorsements.Item) ([]byte, error) { return set, nil },
			"garbage":      func(context.Context, endorsements.Item) ([]byte, error) { return []byte("x"), nil },
			"nothing":      func(context.Context, endorsements.Item) ([]byte, error) { return nil, nil },
			"a panic":      func(context.Context, endorsements.Item) ([]byte, error) { panic("x") },
		} {
			s := open(t, &vendor{answer: answer}, nil)
			if b, err := s.Ensure(t.Context(), []endorsements.Need{{Kind: endorsements.NeedAMDCRL, Product: "Milan"}}); err == nil || have(b) != 0 {
				t.Errorf("%s: %d documents, %v", name, have(b), err)
			}
		}
		// The roots are those of somebody else, the signatures hold.
		strict, err := check.New()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		s := open(t, &vendor{have: files}, func(o *source.Options) { o.Check, o.Dir = strict.Document, dir })
		if b, err := s.Ensure(t.Context(), []endorsements.Need{need}); !errors.Is(err, check.ErrSignature) || have(b) != 0 || len(names(t, dir)) != 0 {
			t.Errorf("%d documents, %v", have(b), err)
		}
	})
}

// A folder that cannot be written makes a cache in memory; one that is none is an
// error.
func TestFolder(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := source.New(source.Options{Now: time.Now, Dir: file}); err == nil {
			t.Error("a file is a folder")
		}
		dir := filepath.Join(t.TempDir(), "gone")
		s := open(t, &vendor{have: files}, func(o *source.Options) { o.Dir = dir })
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if b, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil || have(b) != 4 {
			t.Errorf("%d documents, %v", have(b), err)
		}
	})
	if _, err := source.New(source.Options{}); err == nil {
		t.Error("no clock")
	}
	if _, err := source.New(source.Options{Now: time.Now, Services: map[endorsements.Vendor]source.Service{"intel": {}}}); err == nil {
		t.Error("no fetcher")
	}
}

// Close ends what is on its way.
func TestClose(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		v := &vendor{answer: func(ctx context.Context, _ endorsements.Item) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		s := open(t, v, nil)
		begun := time.Now()
		time.AfterFunc(time.Second, func() { _ = s.Close() })
		if _, err := s.Ensure(t.Context(), []endorsements.Need{need}); err == nil || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}
