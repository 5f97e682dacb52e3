// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/pcs"
	"github.com/google/go-tdx-guest/verify"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// getter serves one collateral set to go-tdx-guest, without a network.
type getter struct{ set endorsements.IntelCollateral }

func (g getter) Get(u string) (map[string][]string, []byte, error) {
	object := func(name string, raw []byte, sig string) []byte {
		return []byte(`{"` + name + `":` + string(raw) + `,"signature":"` + sig + `"}`)
	}
	head := func(key string, chain []byte) map[string][]string {
		return map[string][]string{http.CanonicalHeaderKey(key): {url.QueryEscape(string(chain))}}
	}
	switch {
	case strings.Contains(u, "/tdx/certification/v4/tcb?"):
		return head(pcs.TcbInfoIssuerChainPhrase, g.set.TCBInfoIssuerChain), object("tcbInfo", g.set.TCBInfo, g.set.TCBInfoSignature), nil
	case strings.Contains(u, "/qe/identity"):
		return head(pcs.SgxQeIdentityIssuerChainPhrase, g.set.QEIdentityChain), object("enclaveIdentity", g.set.QEIdentity, g.set.QEIdentitySignature), nil
	case strings.Contains(u, "/pckcrl?"):
		return head(pcs.SgxPckCrlIssuerChainPhrase, g.set.PCKCRLIssuerChain), g.set.PCKCRL, nil
	}
	return nil, g.set.RootCACRL, nil
}

// TestAgainstLibrary runs go-tdx-guest over the same inputs. Where it accepts
// with collateral, this scheme must call the hardware good, and the reverse,
// except where the library is known to err.
func TestAgainstLibrary(t *testing.T) {
	library := func(raw []byte, set endorsements.IntelCollateral, root *x509.Certificate, now time.Time) error {
		pool := x509.NewCertPool()
		pool.AddCert(root)
		return verify.RawTdxQuote(raw, &verify.Options{
			GetCollateral: true, CheckRevocations: true, Getter: getter{set}, TrustedRoots: pool,
			Now: &verify.TimeSet{PckCertChain: now, TcbInfo: now, QeIdentity: now, PckCrl: now, RootCaCrl: now},
		})
	}
	compare := func(t *testing.T, v *verifier, b *endorsements.Bundle, raw []byte, fmspc string, now time.Time) (ours, theirs bool) {
		t.Helper()
		sets := b.IntelTDX(fmspc)
		if len(sets) != 1 {
			t.Fatalf("%d sets for %s", len(sets), fmspc)
		}
		err := library(raw, sets[0], v.roots[len(v.roots)-1], now)
		a := appraise(t, v, raw, nil, now)
		t.Logf("ours %d %v; library: %v", a.Vector[verdict.Hardware], a.Reasons, err)
		return a.Vector[verdict.Hardware] == 2, err == nil
	}
	for _, c := range recorded {
		if c.platform == "" {
			continue
		}
		t.Run(c.quote, func(t *testing.T) {
			b := bundle(t, vectors.Read(t, c.collateral))
			v := newTest(t, verifiers.Deps{Endorsements: b})
			raw := readQuote(t, c.quote)
			q, err := parseQuote(raw)
			if err != nil {
				t.Fatal(err)
			}
			p, _, f := v.verifyQuote(q)
			if f != nil {
				t.Fatal(f)
			}
			if ours, theirs := compare(t, v, b, raw, p.fmspc, at(c.at)); ours != theirs {
				t.Errorf("affirming here %v, accepted by the library %v", ours, theirs)
			}
		})
	}
	for name, c := range map[string]struct {
		set          func(*machine)
		ours, theirs bool
	}{
		"up to date":      {func(*machine) {}, true, true},
		"format 4":        {func(m *machine) { m.version = 4 }, true, true},
		"PCE out of date": {func(m *machine) { m.pceSVN = 11 }, false, true}, // library: module status replaces platform status
		"not yet valid":   {func(m *machine) { m.tcbFrom = m.now.Add(time.Hour); m.crlFrom = m.tcbFrom.AddDate(0, 0, -1) }, false, true},
		"processor CA":    {func(m *machine) { m.ca = m.issue(cnProcessor, true, m.root) }, true, false},
		"expired":         {func(m *machine) { m.tcbTo = m.now.Add(-time.Hour) }, false, false},
		"PCK revoked":     {func(m *machine) { m.revokePCK = true }, false, false},
		"CA revoked":      {func(m *machine) { m.revokeCA = true }, false, false},
		"module too old":  {func(m *machine) { m.body[0] = 1 }, false, false},
		"QE signer":       {func(m *machine) { m.qe[128] = 0 }, false, false},
		"component lacks": {func(m *machine) { m.sgxSVN[3] = 0 }, false, false},
		"signature broken": {func(m *machine) {
			m.mutateTCB = func(b []byte) []byte { return bytes.Replace(b, []byte(":20"), []byte(":21"), 1) }
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.set(m)
			raw := m.quote()
			b := bundle(t, m.collateral())
			v := newTest(t, m.deps(b))
			ours, theirs := compare(t, v, b, raw, "aabbcc000000", m.now)
			if ours != c.ours || theirs != c.theirs {
				t.Errorf("affirming here %v, accepted by the library %v; expected %v and %v", ours, theirs, c.ours, c.theirs)
			}
		})
	}
}
