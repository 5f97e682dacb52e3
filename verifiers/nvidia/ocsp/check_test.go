// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
)

// Every fault of the simulated service, with every digest, at every position of a
// device chain and of a chain of reference values.
func TestStatusOfSimulatedChains(t *testing.T) {
	d := device(t, nil)
	rim, err := d.RIMSigner()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fault nvidia.OCSPFault
		want  Status
		why   string
	}{
		{nvidia.OCSPHonest, Good, ""},
		{nvidia.OCSPRevoked, Revoked, "for reason 1"},
		{nvidia.OCSPHold, Hold, "for reason 6"},
		{nvidia.OCSPUnknown, Unknown, "does not know"},
		{nvidia.OCSPStale, Stale, "ended at 2026-06-01T11:00:00Z"},
		{nvidia.OCSPEarly, Stale, "not valid yet"},
		{nvidia.OCSPEndless, Good, ""}, // with a nonce
		{nvidia.OCSPWrongResponder, Invalid, "signature"},
		{nvidia.OCSPNoUsage, Invalid, "id-kp-OCSPSigning"},
		{nvidia.OCSPNoCheckMissing, Invalid, "id-pkix-ocsp-nocheck"},
		{nvidia.OCSPResponderExpired, Invalid, "is valid from"},
		{nvidia.OCSPForged, Invalid, "signature"},
		{nvidia.OCSPOtherNonce, Invalid, "nonce"},
		{nvidia.OCSPNoNonce, Invalid, "nonce"},
		{nvidia.OCSPOtherCertificate, Missing, "no OCSP response"},
		{nvidia.OCSPRefused, Missing, "no OCSP response"},
	} {
		for _, k := range []struct {
			service func(map[int]nvidia.OCSPFault) *nvidia.OCSPService
			chain   []*x509.Certificate
			from    int
		}{{d.OCSPService, d.Chain(), DeviceFrom}, {rim.OCSPService, rim.Chain(), RIMFrom}} {
			position := k.from + int(c.fault)%3
			for _, h := range hashes {
				set := fetched(t, k.service(map[int]nvidia.OCSPFault{position: c.fault}), k.chain, k.from, h.hash, nonce, now)
				for _, r := range NewChecker(8).Check(set, k.chain, now, nonce, Policy{From: k.from}) {
					want, why := Good, ""
					if r.Position == position {
						want, why = c.want, c.why
					}
					expect(t, r, want, why)
					authorised := r.Status != Missing && !strings.Contains(r.Why, "id-kp") && !strings.Contains(r.Why, "signature")
					if authorised != (r.Responder != "" && r.ResponderSHA256 != "" && r.Delegated && !r.ThisUpdate.IsZero() && !r.ProducedAt.IsZero()) {
						t.Errorf("fault %d: %+v", c.fault, r)
					}
				}
			}
		}
	}
}

// What NVIDIA's service says about a serial number that it does not know depends
// on the issuer; about another issuer it says nothing.
func TestUnknownSerialNumbers(t *testing.T) {
	d := device(t, nil)
	other := device(t, func(o *nvidia.Options) { o.Device = pki.NewSeed("another device") })
	rim, err := d.RIMSigner()
	if err != nil {
		t.Fatal(err)
	}
	set := fetched(t, d.OCSPService(nil), other.Chain(), 1, crypto.SHA384, nil, now)
	if r := NewChecker(8).Check(set, other.Chain(), now, nil, Policy{From: DeviceFrom}); !AllGood(r) {
		t.Errorf("device: %+v", r)
	}
	signer := rim.Chain()
	fake := *signer[0]
	fake.SerialNumber = big.NewInt(1)
	strange := append([]*x509.Certificate{&fake}, signer[1:]...)
	set = fetched(t, rim.OCSPService(nil), strange, 0, crypto.SHA1, nil, now)
	expect(t, NewChecker(8).Check(set, strange, now, nil, Policy{})[0], Unknown, "does not know")
	if set = fetched(t, d.OCSPService(nil), signer, 0, crypto.SHA1, nil, now); set.Len() != 0 {
		t.Errorf("%d answers about another issuer", set.Len())
	}
}

// The files that a simulated device brings along.
func TestEndorsementFiles(t *testing.T) {
	for _, c := range []struct {
		change func(*nvidia.Options)
		want   Status
	}{
		{nil, Good},
		{func(o *nvidia.Options) { o.Revoked = true }, Revoked},
		{func(o *nvidia.Options) { o.OnHold = true }, Hold},
	} {
		d := device(t, c.change)
		files, err := d.Endorsements()
		if err != nil {
			t.Fatal(err)
		}
		var all []*Response
		for name, der := range files {
			if strings.HasSuffix(name, ".der") {
				all = append(all, parse(t, der))
			}
		}
		results := NewChecker(8).Check(setOf(t, all...), d.Chain(), now, nil, Policy{From: DeviceFrom, MaxAge: day, HoldAllowed: []int{1}})
		if len(results) != 3 || results[0].Status != c.want || results[1].Status != Good || results[2].Status != Good ||
			results[0].Excused != (c.want == Hold) || AllGood(results) != (c.want == Good) {
			t.Errorf("expected %s: %+v", c.want, results)
		}
	}
}

func TestTimes(t *testing.T) {
	w := newWorld(t)
	next := func(d time.Duration) func(*parts) { return func(p *parts) { p.next = tlv(0xA0, at(now.Add(d))) } }
	endless := func(p *parts) { p.next = nil }
	nonced := func(p *parts) { p.extend = nonceExtension(nil, nonce) }
	for _, c := range []struct {
		name   string
		change func(*parts)
		after  time.Duration
		nonce  []byte
		maxAge time.Duration
		want   Status
		why    string
		until  time.Duration
	}{
		{"just made", nil, 0, nil, 0, Good, "", day},
		{"last second", nil, day, nil, 0, Good, "", day},
		{"ended", nil, day + time.Second, nil, 0, Stale, "ended at", 0},
		{"ended, with the nonce", nonced, day + time.Second, nonce, 0, Stale, "ended at", 0},
		{"within the skew of clocks", nil, -time.Minute, nil, 0, Good, "", day},
		{"not valid yet", nil, -time.Minute - time.Second, nil, 0, Stale, "not valid yet", 0},
		{"produced later", func(p *parts) { p.produced = at(now.Add(time.Hour)) }, 0, nil, 0, Stale, "not valid yet", 0},
		{"begins later", func(p *parts) { p.this = at(now.Add(time.Hour)) }, 0, nil, 0, Stale, "not valid yet", 0},
		{"at the age", next(7 * day), time.Hour, nil, time.Hour, Good, "", time.Hour},
		{"too old", next(7 * day), time.Hour + time.Second, nil, time.Hour, Stale, "older than 1h0m0s", 0},
		{"too old, with the nonce", nonced, time.Hour + time.Second, nonce, time.Hour, Stale, "older than", 0},
		{"no age at all", nil, 0, nil, -1, Stale, "older than", 0},
		{"the responder ends first", next(60 * day), 0, nil, 0, Good, "", 30 * day},
		{"endless", endless, 0, nil, 0, Stale, "until when", 0},
		{"endless with an age", endless, time.Hour, nil, time.Hour, Good, "", time.Hour},
		{"endless with the nonce", func(p *parts) { endless(p); nonced(p) }, time.Minute, nonce, 0, Good, "", time.Minute},
		{"nonce", nonced, 0, nonce, 0, Good, "", day},
		{"nonce that nobody asked for", nonced, 0, nil, 0, Good, "", day},
		{"no nonce", nil, 0, nonce, 0, Invalid, "nonce", 0},
		{"shorter nonce", nonced, 0, nonce[:31], 0, Invalid, "nonce", 0},
		{"empty nonce", nil, 0, []byte{}, 0, Invalid, "nonce", 0},
	} {
		r := w.leafStatus(c.after, c.nonce, Policy{MaxAge: c.maxAge}, w.made(c.change))
		expect(t, r, c.want, c.why)
		if c.want == Good && !r.Until.Equal(now.Add(c.until)) || c.want != Good && !r.Until.IsZero() {
			t.Errorf("%s: until %s", c.name, r.Until)
		}
		if r.Nonce != (c.nonce != nil && c.want != Invalid) || r.ThisUpdate.Before(now) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// Which of several responses decides.
func TestChoice(t *testing.T) {
	w := newWorld(t)
	when := func(d time.Duration, status []byte, change func(*parts)) *Response {
		return w.made(func(p *parts) {
			p.this, p.produced, p.next, p.certStatus = at(now.Add(d)), at(now.Add(d)), tlv(0xA0, at(now.Add(d+day))), status
			if change != nil {
				change(p)
			}
		})
	}
	nonced := func(p *parts) { p.extend = nonceExtension(nil, nonce) }
	forged := func(p *parts) { p.signer = key(t, "nobody", elliptic.P384()) }
	good, unknown, held, dead := []byte{0x80, 0}, []byte{0x82, 0}, revoked(now, 6), revoked(now.Add(-90*day), 4)
	bare := revoked(now.Add(-90 * day))
	for _, c := range []struct {
		name  string
		want  Status
		why   string
		nonce []byte
		all   []*Response
	}{
		{"newest good", Good, "", nil, []*Response{when(-2*time.Hour, unknown, nil), when(-time.Hour, good, nil)}},
		{"newest unknown", Unknown, "", nil, []*Response{when(-2*time.Hour, good, nil), when(-time.Hour, unknown, nil)}},
		{"two alike", Unknown, "", nil, []*Response{when(-time.Hour, good, nil), when(-time.Hour, unknown, nil)}},
		{"two alike, other order", Unknown, "", nil, []*Response{when(-time.Hour, unknown, nil), when(-time.Hour, good, nil)}},
		{"newest is forged", Good, "", nil, []*Response{when(0, unknown, forged), when(-time.Hour, good, nil)}},
		{"newest is not valid yet", Good, "", nil, []*Response{when(time.Hour, unknown, nil), when(-time.Hour, good, nil)}},
		{"stale beats invalid", Stale, "ended", nil, []*Response{when(0, good, forged), when(-2*day, good, nil)}},
		{"two stale", Stale, "2026-05-31T06", nil, []*Response{when(-3*day, good, nil), when(-30*time.Hour, good, nil)}},
		{"revoked long ago", Revoked, "does not count for anything better", nil, []*Response{when(-90*day, dead, nil), when(0, good, nil)}},
		{"revoked without a reason", Revoked, "reason 0", nil, []*Response{when(-time.Hour, bare, nil), when(0, good, nil)}},
		{"removed from the list", Revoked, "reason 8", nil, []*Response{when(-time.Hour, revoked(now, 8), nil), when(0, good, nil)}},
		{"revoked for reason -1", Revoked, "reason -1", nil, []*Response{when(-time.Hour, revoked(now, 0xFF), nil), when(0, good, nil)}},
		{"revoked with another nonce", Revoked, "", nonce, []*Response{when(-90*day, dead, nil), when(0, good, nonced)}},
		{"revoked from tomorrow", Revoked, "", nil, []*Response{when(day, dead, nil), when(0, good, nil)}},
		{"revoked by nobody", Good, "", nil, []*Response{when(0, dead, forged), when(0, good, nil)}},
		{"hold", Hold, "", nil, []*Response{when(-time.Hour, good, nil), when(0, held, nil)}},
		{"hold, two alike", Hold, "", nil, []*Response{when(0, good, nil), when(0, held, nil)}},
		{"hold was lifted", Good, "", nil, []*Response{when(-time.Hour, held, nil), when(0, good, nil)}},
		{"hold out of date", Hold, "ended", nil, []*Response{when(-3*day, held, nil)}},
		{"hold out of date, good older", Hold, "", nil, []*Response{when(-3*day, held, nil), when(-4*day, good, nil)}},
		{"hold out of date, good out of date", Hold, "", nil, []*Response{when(-3*day, held, nil), when(-2*day, good, nil)}},
		{"hold with another nonce", Hold, "", nonce, []*Response{when(0, held, nil), when(-time.Hour, good, nonced)}},
		{"hold was lifted, with the nonce", Good, "", nonce, []*Response{when(-time.Hour, held, nil), when(0, good, nonced)}},
		{"hold and revoked", Revoked, "", nil, []*Response{when(0, held, nil), when(-time.Hour, dead, nil)}},
		{"unknown after hold", Unknown, "", nil, []*Response{when(-time.Hour, held, nil), when(0, unknown, nil)}},
		{"good without the nonce is newer", Unknown, "", nonce, []*Response{when(0, good, nil), when(-time.Hour, unknown, nonced)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, w.leafStatus(0, c.nonce, Policy{HoldAllowed: []int{1}}, c.all...), c.want, c.why)
		})
	}
	r := w.leafStatus(0, nil, Policy{HoldAllowed: []int{0}}, when(-90*day, dead, nil))
	if r.Reason != 4 || !r.RevokedAt.Equal(now.Add(-90*day)) || r.Excused {
		t.Errorf("%+v", r)
	}
	if r = w.leafStatus(0, nil, Policy{HoldAllowed: []int{0}}, when(0, held, nil)); !r.Excused || r.Reason != 6 || AllGood([]Result{r}) {
		t.Errorf("%+v", r)
	}
	if r = w.leafStatus(0, nil, Policy{HoldAllowed: []int{1}}, when(0, held, nil)); r.Excused {
		t.Error("on hold at a position where that is not allowed")
	}
}

// A response is about one certificate of one issuer.
func TestOtherCertificates(t *testing.T) {
	w := newWorld(t)
	twin := certificate(t, w.root, key(t, "twin", elliptic.P384()), "ca", nil) // same name, other key
	named := certificate(t, w.root, w.ca.Key, "namesake", nil)                 // same key, other name
	ofTwin, ofNamed := *w.leaf.Cert, *w.leaf.Cert
	ofNamed.RawIssuer = named.Cert.RawSubject
	next := *w.leaf.Cert
	next.SerialNumber = big.NewInt(1)
	for name, r := range map[string]*Response{
		"another key":           w.made(func(p *parts) { p.cert = certIDOf(t, &ofTwin, twin.Cert, crypto.SHA1) }),
		"another name":          w.made(func(p *parts) { p.cert = certIDOf(t, &ofNamed, named.Cert, crypto.SHA256) }),
		"another serial number": w.made(func(p *parts) { p.cert = certIDOf(t, &next, w.ca.Cert, crypto.SHA384) }),
	} {
		if got := w.leafStatus(0, nil, Policy{}, r); got.Status != Missing {
			t.Errorf("%s: %s", name, got.Status)
		}
	}
	mixed := []*x509.Certificate{w.leaf.Cert, w.root.Cert}
	expect(t, NewChecker(1).Check(setOf(t, w.made(nil)), mixed, now, nil, Policy{})[0], Invalid, "not by \"CN=root\"")
	odd := *w.leaf.Cert
	odd.SerialNumber = nil
	expect(t, NewChecker(1).Check(setOf(t, w.made(nil)), []*x509.Certificate{&odd, w.ca.Cert}, now, nil, Policy{})[0], Invalid, "serial number")
}

func TestNothingIsNotGood(t *testing.T) {
	w := newWorld(t)
	c := NewChecker(0)
	for _, chain := range [][]*x509.Certificate{nil, {w.root.Cert}} {
		if r := c.Check(nil, chain, now, nil, Policy{}); len(r) != 0 || AllGood(r) {
			t.Errorf("%+v", r)
		}
	}
	if r := c.Check(setOf(t, w.made(nil)), w.chain(), now, nil, Policy{From: 2}); AllGood(r) {
		t.Errorf("%+v", r)
	}
	if r := c.Check(nil, w.chain(), now, nil, Policy{From: -1}); len(r) != 2 || AllGood(r) || r[0].Status != Missing {
		t.Errorf("%+v", r)
	}
	if r := c.Check(setOf(t, w.made(nil)), w.chain()[:2], time.Time{}, nil, Policy{}); AllGood(r) {
		t.Errorf("without a time: %+v", r)
	}
}

func TestSetBounds(t *testing.T) {
	w := newWorld(t)
	r := w.made(nil)
	if s := setOf(t, r, r, w.made(nil)); s.Len() != 1 || !s.Has(w.leaf.Cert, w.ca.Cert, crypto.SHA384) || s.Has(w.leaf.Cert, w.ca.Cert, crypto.SHA1) ||
		s.Has(w.ca.Cert, w.root.Cert, crypto.SHA384) || s.Has(w.leaf.Cert, w.ca.Cert, crypto.MD5) {
		t.Error("the same bytes count twice, or what is there is not found")
	}
	var none *Set
	if none.Len() != 0 || none.Has(w.leaf.Cert, w.ca.Cert, crypto.SHA1) {
		t.Error("something in nothing")
	}
	var many []*Response
	for i := range MaxPerCertificate + 1 {
		other := *r
		other.digest[0] = byte(i)
		many = append(many, &other)
	}
	if _, err := NewSet(many); err == nil {
		t.Error("more responses about one certificate than allowed")
	}
	many = make([]*Response, 0, MaxResponses+1)
	for i := range MaxResponses + 1 {
		other := &Response{id: certID{hash: crypto.SHA1, serial: string([]byte{byte(i >> 16), byte(i >> 8), byte(i)})}}
		other.digest = [32]byte{byte(i >> 16), byte(i >> 8), byte(i)}
		many = append(many, other)
	}
	if _, err := NewSet(many); err == nil {
		t.Error("more responses than allowed")
	}
	if _, err := NewSet(many[1:]); err != nil {
		t.Error(err)
	}
}

// What is remembered is the signature, not the verdict; what failed is not remembered.
func TestCache(t *testing.T) {
	w := newWorld(t)
	c := NewChecker(2)
	set := setOf(t, w.made(nil))
	for _, s := range []struct {
		after time.Duration
		nonce []byte
		want  Status
	}{{0, nil, Good}, {2 * day, nil, Stale}, {0, nonce, Invalid}, {-day, nil, Stale}, {0, nil, Good}, {31 * day, nil, Invalid}} {
		if r := c.Check(set, w.chain(), now.Add(s.after), s.nonce, Policy{})[0]; r.Status != s.want {
			t.Errorf("%s: %s", s.after, r.Status)
		}
	}
	if c.proofs.Len() != 1 {
		t.Errorf("%d entries", c.proofs.Len())
	}
	forged := setOf(t, w.made(func(p *parts) { p.signer = key(t, "nobody", elliptic.P384()) }))
	expect(t, c.Check(forged, w.chain(), now, nil, Policy{})[0], Invalid, "signature")
	// Another issuer with the same name and another key finds the same response, were it not
	// for its CertID; the memory must not speak for it.
	if c.proofs.Len() != 1 || proofKey(set.byID[w.made(nil).id][0], w.ca.Cert) == proofKey(w.made(nil), w.root.Cert) {
		t.Error("the memory mixes issuers or keeps failures")
	}
	for i := range 5 {
		one := setOf(t, w.made(func(p *parts) { p.produced = at(now.Add(-time.Duration(i) * time.Second)) }))
		c.Check(one, w.chain(), now, nil, Policy{})
	}
	if c.proofs.Len() != 2 {
		t.Errorf("%d entries", c.proofs.Len())
	}
}

func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	c, set := NewChecker(1), setOf(t, w.made(nil), w.made(func(p *parts) { p.this = at(now.Add(-time.Hour)) }))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				if r := c.Check(set, w.chain(), now, nil, Policy{})[0]; r.Status != Good {
					t.Errorf("%+v", r)
				}
			}
		})
	}
	all.Wait()
}

// No change of a bit (two of every byte are tried), and no shorter response, is good
// about anything.
func TestFlipsAndTruncation(t *testing.T) {
	w := newWorld(t)
	raw := w.honest().der(t)
	status := func(der []byte) Status {
		r, err := Parse(der)
		if err != nil {
			return ""
		}
		return NewChecker(1).Check(setOf(t, r), w.chain(), now, nil, Policy{UncheckedResponder: true})[0].Status
	}
	if status(raw) != Good {
		t.Fatal("not good to begin with")
	}
	for i := range raw {
		if _, err := Parse(raw[:i]); err == nil {
			t.Errorf("%d of %d bytes are read", i, len(raw))
		}
		for _, bit := range [2]int{i % 8, (i + 5) % 8} {
			flipped := bytes.Clone(raw)
			flipped[i] ^= 1 << bit
			if s := status(flipped); s != "" && s != Missing && s != Invalid {
				t.Errorf("byte %d, bit %d: %s", i, bit, s)
			}
		}
	}
	if _, err := Parse(append(bytes.Clone(raw), 0)); err == nil {
		t.Error("a byte behind the response")
	}
}
