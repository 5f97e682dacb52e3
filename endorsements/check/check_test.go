// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/check"
	"github.com/assize/assize/internal/vectors"
)

func folder(tb testing.TB, files ...[]byte) *endorsements.Bundle {
	tb.Helper()
	fsys := fstest.MapFS{}
	for n, raw := range files {
		fsys[string(rune('a'+n))] = &fstest.MapFile{Data: raw}
	}
	b, _, err := endorsements.Load(fsys)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func checker(tb testing.TB) *check.Checker {
	tb.Helper()
	c, err := check.New()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Recorded collateral of both vendors holds up to their roots.
func TestRecorded(t *testing.T) {
	b := folder(t,
		vectors.Read(t, "tdx/dcap-qvl/tdx_quote_collateral.json"), vectors.Read(t, "sgx/dcap-qvl/sgx_quote_collateral.json"),
		vectors.Read(t, "tdx/assembled/collateral_50806f000000_2023-07.json"),
		vectors.Read(t, "snp/trustee/test-vcek.der"), vectors.Read(t, "snp/microsoft/turin_vcek.pem"), vectors.Read(t, "snp/microsoft/milan_vcek.pem"),
		vectors.Read(t, "tdx/go-tdx-guest/rootcrl.der"),
	)
	all := checker(t).All(b)
	if len(all) < 14 {
		t.Fatalf("%d documents", len(all))
	}
	roots := map[string]int{}
	for _, r := range all {
		if r.Err != nil {
			t.Errorf("%s of %s: %v", r.Item, r.Name, r.Err)
		}
		roots[r.Root]++
	}
	if len(roots) != 3 || roots["Intel SGX Root CA"] < 10 || roots["ARK-Milan"] != 2 || roots["ARK-Turin"] != 1 {
		t.Errorf("%v", roots)
	}
}

func TestPinnedIntelRoot(t *testing.T) {
	sum := sha256.Sum256(vectorsDER(t))
	if hex.EncodeToString(sum[:]) != "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3" {
		t.Error("not the root that is pinned")
	}
}

func vectorsDER(tb testing.TB) []byte {
	tb.Helper()
	for c := range folder(tb, vectors.Read(tb, "tdx/go-tdx-guest/trusted_root.pem")).Certificates() {
		return c.Raw
	}
	tb.Fatal("no certificate")
	return nil
}

// Every byte of a part that is signed counts.
func TestAlteredDocuments(t *testing.T) {
	b := folder(t, vectors.Read(t, "tdx/dcap-qvl/tdx_quote_collateral.json"))
	for c := range b.AllIntelTDX() {
		for name, change := range map[string]func(*endorsements.IntelCollateral){
			"TCB info": func(c *endorsements.IntelCollateral) { c.TCBInfo = swap(c.TCBInfo, "UpToDate", "UpToData") },
			"QE identity": func(c *endorsements.IntelCollateral) {
				c.QEIdentity = swap(c.QEIdentity, `"isvprodid":2`, `"isvprodid":3`)
			},
			"signature":       func(c *endorsements.IntelCollateral) { c.TCBInfoSignature = c.QEIdentitySignature },
			"PCK CRL":         func(c *endorsements.IntelCollateral) { c.PCKCRL[len(c.PCKCRL)-1] ^= 1 },
			"root CRL":        func(c *endorsements.IntelCollateral) { c.RootCACRL[len(c.RootCACRL)-1] ^= 1 },
			"list of another": func(c *endorsements.IntelCollateral) { c.PCKCRLIssuerChain = c.TCBInfoIssuerChain },
			"a CA that signs": func(c *endorsements.IntelCollateral) { c.TCBInfoIssuerChain = c.PCKCRLIssuerChain },
		} {
			altered := c
			altered.PCKCRL, altered.RootCACRL = bytes.Clone(c.PCKCRL), bytes.Clone(c.RootCACRL)
			change(&altered)
			raw, err := altered.Encode()
			if err != nil {
				t.Fatal(err)
			}
			bad := 0
			for _, r := range checker(t).All(folder(t, raw)) {
				if errors.Is(r.Err, check.ErrSignature) && r.Root == "" {
					bad++
				}
			}
			if bad != 1 {
				t.Errorf("%s: %d documents do not hold", name, bad)
			}
		}
	}
}

func swap(raw []byte, old, new string) []byte {
	return bytes.Replace(raw, []byte(old), []byte(new), 1)
}

// Simulated machines have other roots, which count only when they are given.
func TestExtraRoots(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	tdx, err := inteltdx.New(inteltdx.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	snp, err := amdsnp.New(amdsnp.Options{Vendor: amdsnp.NewVendor(pki.NewSeed("v"), now), Device: pki.NewSeed("d"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	var files [][]byte
	for _, d := range []interface {
		Endorsements() (map[string][]byte, error)
	}{tdx, snp} {
		m, err := d.Endorsements()
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range m {
			files = append(files, raw)
		}
	}
	b := folder(t, files...)
	own, err := check.New(tdx.Root(), snp.Root())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range own.All(b) {
		if n++; r.Err != nil {
			t.Errorf("%s: %v", r.Item, r.Err)
		}
	}
	if n < 6 {
		t.Errorf("%d documents", n)
	}
	for _, r := range checker(t).All(b) {
		if r.Err == nil {
			t.Errorf("%s holds up to a root that nobody gave", r.Item)
		}
	}
	vcek := folder(t, snp.EndorsementKey().Raw)
	item := endorsements.Item{Kind: endorsements.ItemVCEK}
	if err := own.Document(item, vcek); err != nil {
		t.Errorf("with an extra root: %v", err)
	}
	if err := checker(t).Document(item, vcek); !errors.Is(err, check.ErrSignature) {
		t.Errorf("without: %v", err)
	}
	if err := checker(t).Document(item, folder(t)); err == nil {
		t.Error("nothing is a document")
	}
	if _, err := check.New(nil); err == nil {
		t.Error("nil is a root")
	}
}

// Only the certificate that Intel has for that purpose signs TCB info, whatever
// else the root has issued.
func TestSignerHasToBeTheRightOne(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	template := func(cn string, ca bool) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, NotBefore: now, NotAfter: now.AddDate(1, 0, 0),
			IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	root, err := pki.Root(key(), template("Intel SGX Root CA", true))
	if err != nil {
		t.Fatal(err)
	}
	c, err := check.New(root.Cert)
	if err != nil {
		t.Fatal(err)
	}
	for cn, ca := range map[string]bool{"Intel SGX TCB Signing": false, "Intel SGX PCK Certificate": false, "Intel SGX TCB Signing ": false, "Intel SGX PCK Platform CA": true} {
		k := key()
		signer, err := root.Issue(k, template(cn, ca))
		if err != nil {
			t.Fatal(err)
		}
		info := []byte(`{"id":"TDX","fmspc":"50806f000000","issueDate":"2026-11-01T00:00:00Z","nextUpdate":"2026-12-01T00:00:00Z"}`)
		digest := sha256.Sum256(info)
		sig, err := pki.SignFixed(k, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		raw, err := endorsements.IntelCollateral{TCBInfo: info, TCBInfoSignature: hex.EncodeToString(sig), TCBInfoIssuerChain: pki.PEM(signer.Cert, root.Cert)}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		err = c.Document(endorsements.Item{Kind: endorsements.ItemTDXTCB}, folder(t, raw))
		if right := cn == "Intel SGX TCB Signing"; right != (err == nil) {
			t.Errorf("%q: %v", cn, err)
		}
	}
}
