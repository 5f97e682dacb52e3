// SPDX-License-Identifier: Apache-2.0

package dcap_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// edited is the collateral of a machine with one member changed.
func edited(tb testing.TB, m *dcaptest.Machine, name, value string) []byte {
	tb.Helper()
	set := map[string]string{}
	if err := json.Unmarshal(m.Collateral(), &set); err != nil {
		tb.Fatal(err)
	}
	set[name] = value
	raw, err := json.Marshal(set)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// platform verifies the quote of a machine, and returns it with a verifier of what
// the bundle files say.
func platform(tb testing.TB, m *dcaptest.Machine, files ...[]byte) (*dcap.Verifier, *dcap.Quote, *dcap.PCK) {
	tb.Helper()
	q := parse(tb, m.Quote())
	v := verifier(tb, m, bundle(tb, files...))
	p, _, f := v.VerifyQuote(q)
	if f != nil {
		tb.Fatal(f)
	}
	return v, q, p
}

// TestGraceKnowsNoEarly: what is issued in the future does not count in its grace
// period either, which is there where it ends before it begins.
func TestGraceKnowsNoEarly(t *testing.T) {
	const day = 24 * time.Hour
	m := tdx(t)
	_ = m.Quote()
	m.TCBFrom, m.TCBTo = m.Now.Add(5*day), m.Now.Add(-day)
	v, q, p := platform(t, m, m.Collateral())
	if j := v.Judge(q, p, m.Now, 10*day); j.TCB != nil || !strings.Contains(j.String(), "not valid before") {
		t.Errorf("TCB info of the future counts: %s", j)
	}
	if j := v.Judge(q, p, m.Now.Add(6*day), 10*day); j.TCB == nil || len(j.TCB.Grace) == 0 {
		t.Errorf("in grace and issued: %s", j)
	}
}

// TestListBesideAnotherChain: a revocation list that lies beside the chain of another
// CA in one set counts all the same where it lies beside its own.
func TestListBesideAnotherChain(t *testing.T) {
	for _, order := range []string{"wrong first", "right first"} {
		m := tdx(t)
		_ = m.Quote()
		m.RevokePCK = true
		right := m.Collateral()
		set := map[string]string{}
		if err := json.Unmarshal(right, &set); err != nil {
			t.Fatal(err)
		}
		other := m.Issue(dcaptest.ProcessorCA, true, m.Root)
		set["pck_crl_issuer_chain"] = string(dcaptest.PEM(other.Cert, m.Root.Cert))
		wrong, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		files := [][]byte{wrong, right}
		if order == "right first" {
			files = [][]byte{right, wrong}
		}
		v, q, p := platform(t, m, files...)
		if j := v.Judge(q, p, m.Now, 0); j.TCB == nil || j.Revoked == "" {
			t.Errorf("%s: %s, revoked %q", order, j, j.Revoked)
		}
	}
}

// TestListWithoutNextUpdate: nobody can say that a revocation list without a next
// update is the current one, and the complaint says so. What it revokes is revoked.
func TestListWithoutNextUpdate(t *testing.T) {
	m := tdx(t)
	_ = m.Quote()
	raw, err := hex.DecodeString(m.CRL(m.CA, m.PCK.Cert.SerialNumber))
	if err != nil {
		t.Fatal(err)
	}
	var list pkix.CertificateList
	if _, err := asn1.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	list.TBSCertList.NextUpdate, list.TBSCertList.Raw = time.Time{}, nil
	tbs, err := asn1.Marshal(list.TBSCertList)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(tbs)
	signature, err := m.CA.Key.Sign(rand.Reader, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	endless, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, list.SignatureAlgorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	v, q, p := platform(t, m, edited(t, m, "pck_crl", hex.EncodeToString(endless)))
	for _, grace := range []time.Duration{0, 36500 * 24 * time.Hour} {
		if j := v.Judge(q, p, m.Now, grace); j.TCB != nil || j.Revoked == "" || !strings.Contains(j.String(), "no next update") {
			t.Errorf("with grace of %s: %s, revoked %q", grace, j, j.Revoked)
		}
	}
}
