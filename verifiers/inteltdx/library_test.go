// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/abi"
	"github.com/google/go-tdx-guest/pcs"
	"github.com/google/go-tdx-guest/testing/testdata"
	"github.com/google/go-tdx-guest/verify"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
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

// errPanic says that the library panicked.
type errPanic struct{ what any }

func (e errPanic) Error() string { return fmt.Sprintf("panic: %v", e.what) }

// library lets go-tdx-guest verify a quote with collateral, or without if set is
// nil.
func library(raw []byte, set *endorsements.IntelCollateral, root *x509.Certificate, now time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errPanic{p}
		}
	}()
	pool := x509.NewCertPool()
	pool.AddCert(root)
	o := &verify.Options{
		TrustedRoots: pool,
		Now:          &verify.TimeSet{PckCertChain: now, TcbInfo: now, QeIdentity: now, PckCrl: now, RootCaCrl: now},
	}
	if set != nil {
		o.GetCollateral, o.CheckRevocations, o.Getter = true, true, getter{*set}
	}
	return verify.RawTdxQuote(raw, o)
}

// libraryParse lets it parse.
func libraryParse(raw []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errPanic{p}
		}
	}()
	_, err = abi.QuoteToProto(raw)
	return err
}

// platform is a verifier with the collateral and the root for its quotes.
type platform struct {
	name string
	v    *verifier
	set  *endorsements.IntelCollateral
	root *x509.Certificate
	raw  []byte
	now  time.Time
}

// newPlatform takes the only set that a bundle has for the quote's platform.
func newPlatform(tb testing.TB, name string, v *verifier, b *endorsements.Bundle, raw []byte, now time.Time) platform {
	tb.Helper()
	q, err := parseQuote(raw)
	if err != nil {
		tb.Fatal(err)
	}
	p, _, f := v.core.VerifyQuote(q.Quote)
	if f != nil {
		tb.Fatal(f)
	}
	sets := b.IntelTDX(p.FMSPC)
	if len(sets) != 1 {
		tb.Fatalf("%d sets for %s", len(sets), p.FMSPC)
	}
	return platform{name: name, v: v, set: &sets[0], root: p.Root(), raw: raw, now: now}
}

func recordedPlatforms(tb testing.TB) (out []platform) {
	tb.Helper()
	for _, c := range recorded {
		if c.platform == "" {
			continue
		}
		b := bundle(tb, vectors.Read(tb, c.collateral))
		out = append(out, newPlatform(tb, c.quote, newTest(tb, verifiers.Deps{Endorsements: b}), b, readQuote(tb, c.quote), at(c.at)))
	}
	return out
}

func simulatedPlatform(tb testing.TB, name string, m *machine) platform {
	tb.Helper()
	raw := m.Quote()
	b := bundle(tb, m.Collateral())
	return newPlatform(tb, name, newTest(tb, m.deps(b)), b, raw, m.Now)
}

// compare says whether the hardware is good here, and whether the library accepts.
func (p platform) compare(tb testing.TB) (ours bool, theirs error) {
	tb.Helper()
	return appraise(tb, p.v, p.raw, nil, p.now).Vector[verdict.Hardware] == verdict.ClaimApproved, library(p.raw, p.set, p.root, p.now)
}

// TestAgainstLibrary runs go-tdx-guest over the recorded quotes: where it accepts
// with collateral, this scheme must call the hardware good, and the reverse.
func TestAgainstLibrary(t *testing.T) {
	for _, p := range recordedPlatforms(t) {
		if ours, theirs := p.compare(t); ours != (theirs == nil) {
			t.Errorf("%s: good here %v, library %v", p.name, ours, theirs)
		}
	}
	for name, set := range map[string]func(*machine){
		"up to date":      func(*machine) {},
		"format 4":        func(m *machine) { m.Version, m.BodyType = 4, dcap.BodyTD10 },
		"expired":         func(m *machine) { m.TCBTo = m.Now.Add(-time.Hour) },
		"PCK revoked":     func(m *machine) { m.RevokePCK = true },
		"CA revoked":      func(m *machine) { m.RevokeCA = true },
		"module too old":  func(m *machine) { m.Body[0] = 1 },
		"QE signer":       func(m *machine) { m.QE[128] = 0 },
		"component lacks": func(m *machine) { m.SGXSVN[3] = 0 },
		"relaunch":        relaunched("UpToDate"),
		"signature broken": func(m *machine) {
			m.MutateTCB = func(b []byte) []byte { return bytes.Replace(b, []byte(":20"), []byte(":21"), 1) }
		},
	} {
		m := newMachine(t)
		set(m)
		good := name == "up to date" || name == "format 4"
		if ours, theirs := simulatedPlatform(t, name, m).compare(t); ours != good || (theirs == nil) != good {
			t.Errorf("%s: good here %v, library %v", name, ours, theirs)
		}
	}
}

// divergences are all known differences between this scheme and go-tdx-guest at
// the pinned commit, each with a platform that shows it. One that is gone fails the
// test: then it has to leave this list, and whoever relied on it has to know.
var divergences = []struct {
	name string
	// ours and theirs: good here, accepted by the library.
	ours, theirs bool
	set          func(*machine)
}{
	// The name of the intermediate certificate is fixed in the library.
	{"processor CA", true, false, func(m *machine) { m.CA = m.Issue(dcaptest.ProcessorCA, true, m.Root) }},
	// Everything but UpToDate is an error there, if the status of the platform counts
	// at all. Here the hardware is good, and the configuration is not.
	{"configuration needed", true, false, func(m *machine) {
		status("ConfigurationNeeded")(m)
		copy(m.Body[:], []byte{9, 0})
	}},
	// With a versioned TDX module its status replaces that of the platform.
	{"platform out of date", false, true, func(m *machine) { m.PCESVN = 11 }},
	{"platform revoked", false, true, status("Revoked")},
	// Dates of issue are not looked at.
	{"TCB info not yet valid", false, true, func(m *machine) { m.TCBFrom = m.Now.Add(time.Hour) }},
	{"QE identity not yet valid", false, true, func(m *machine) { m.QEID["issueDate"] = m.Now.Add(time.Hour) }},
	{"CRLs not yet valid", false, true, func(m *machine) { m.CRLFrom = m.Now.Add(time.Hour) }},
	// Levels count in the order of the file, which is not checked.
	{"level out of order", false, true, func(m *machine) {
		m.SetLevels(dcaptest.PlatformLevel(2, 11, "UpToDate"), dcaptest.PlatformLevel(3, 13, "OutOfDate"))
	}},
	// Behind the certificates one zero byte and nothing else may stand there; here any
	// number, and white space.
	{"zero bytes behind the certificates", true, false, behind("\x00\x00")},
	{"white space behind the certificates", true, false, behind("\n")},
}

func behind(text string) func(*machine) {
	return func(m *machine) {
		m.Quote()
		m.Chain = append(dcaptest.PEM(m.PCK.Cert, m.CA.Cert, m.Root.Cert), text...)
	}
}

func TestDivergences(t *testing.T) {
	for _, d := range divergences {
		m := newMachine(t)
		d.set(m)
		ours, theirs := simulatedPlatform(t, d.name, m).compare(t)
		if ours != d.ours || (theirs == nil) != d.theirs {
			t.Errorf("%s: good here %v, library %v; expected %v and accepted %v", d.name, ours, theirs, d.ours, d.theirs)
		}
	}
	// Text behind a quote.
	if err := libraryParse(testdata.RawQuote); err != nil {
		t.Errorf("the library refuses what is behind a quote: %v", err)
	}
	if _, err := parseQuote(testdata.RawQuote); err == nil {
		t.Error("text behind a quote is accepted")
	}
	// Lengths that make the library panic.
	v4, v5 := sampleV4(), testdata.RawQuoteV5
	const sig4, sig5 = dcap.HeaderSize + dcap.SizeTD10, dcap.HeaderSize + dcap.DescriptorSize + dcap.SizeTD15
	for name, raw := range map[string][]byte{
		"signature data of 0 bytes": at32(v4, sig4, 0), "QE authentication data": at16(v4, sig4+4+128+6+384+64, 65535), "format 5": at32(v5, sig5, 1<<32-1),
	} {
		if _, panicked := libraryParse(raw).(errPanic); !panicked {
			t.Errorf("%s: the library does not panic any more", name)
		}
		if _, err := parseQuote(raw); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
