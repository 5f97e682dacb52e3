// SPDX-License-Identifier: Apache-2.0

package dcap_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// TestRenew: what is in both bundles is not verified again, what is in one alone
// does not count in the other, and the old verifier stays as it was.
func TestRenew(t *testing.T) {
	m := tdx(t)
	q := parse(t, m.Quote())
	first := m.Collateral()
	v := verifier(t, m, bundle(t, first))
	p, _, f := v.VerifyQuote(q)
	if f != nil {
		t.Fatal(f)
	}
	same := v.Renew(bundle(t, first))
	if !same.Shares(v) || same.Chains() != 1 {
		t.Error("what was verified was verified again")
	}
	if fresh := verifier(t, m, bundle(t, first)); fresh.Shares(v) {
		t.Error("the test cannot tell")
	}
	m.TCB["tcbEvaluationDataNumber"] = 21
	m.SetLevels(dcaptest.PlatformLevel(4, 13, "UpToDate"), dcaptest.PlatformLevel(3, 13, "OutOfDate"))
	m.RevokePCK = true
	both := v.Renew(bundle(t, first, m.Collateral()))
	if j := both.Judge(q, p, m.Now, 0); j.TCB == nil || j.TCB.Status != dcap.OutOfDate || j.Revoked == "" {
		t.Errorf("the newer one does not count: %s", j)
	}
	for name, back := range map[string]*dcap.Verifier{"the old one": v, "renewed back": both.Renew(bundle(t, first))} {
		if j := back.Judge(q, p, m.Now, 0); j.TCB == nil || j.TCB.Status != dcap.UpToDate || j.Revoked != "" {
			t.Errorf("%s: %s", name, j)
		}
	}
	if j := both.Renew(nil).Judge(q, p, m.Now, 0); j.TCB != nil || len(j.Complaints) != 0 {
		t.Errorf("without a bundle: %s", j)
	}
}

// TestRenewFlaws: a flaw of a statement is that of a bundle, not of the statement.
func TestRenewFlaws(t *testing.T) {
	m := tdx(t)
	q := parse(t, m.Quote())
	good := m.Collateral()
	m.RevokeSigning = true
	bad := m.Collateral()
	v := verifier(t, m, bundle(t, bad, good))
	p, _, f := v.VerifyQuote(q)
	if f != nil {
		t.Fatal(f)
	}
	if j := v.Judge(q, p, m.Now, 0); j.TCB != nil {
		t.Errorf("a revoked signer counts: %s", j)
	}
	if j := v.Renew(bundle(t, good)).Judge(q, p, m.Now, 0); j.TCB == nil {
		t.Errorf("the revocation outlives its bundle: %s", j)
	}
	if j := v.Renew(bundle(t, good)).Renew(bundle(t, good, bad)).Judge(q, p, m.Now, 0); j.TCB != nil {
		t.Errorf("a revoked signer counts again: %s", j)
	}
}

// TestLooseLists: revocation lists that lie in a bundle by themselves count like
// those of a set.
func TestLooseLists(t *testing.T) {
	for _, tee := range []dcap.TEE{dcap.SGX, dcap.TDX} {
		for name, c := range map[string]struct {
			files   func(*dcaptest.Machine) [][]byte
			revoked bool
		}{
			"root's": {func(m *dcaptest.Machine) [][]byte { return [][]byte{der(t, m.CRL(m.Root, m.CA.Cert.SerialNumber))} }, true},
			"CA's with its certificate": {func(m *dcaptest.Machine) [][]byte {
				return [][]byte{dcaptest.PEM(m.CA.Cert), der(t, m.CRL(m.CA, m.PCK.Cert.SerialNumber))}
			}, true},
			"CA's without a certificate": {func(m *dcaptest.Machine) [][]byte { return [][]byte{der(t, m.CRL(m.CA, m.PCK.Cert.SerialNumber))} }, false},
			"a stranger's": {func(m *dcaptest.Machine) [][]byte {
				s := dcaptest.Signer{Cert: m.CA.Cert, Key: m.NewKey()}
				return [][]byte{dcaptest.PEM(m.CA.Cert), der(t, m.CRL(s, m.PCK.Cert.SerialNumber))}
			}, false},
			"a stranger's with a certificate": {func(m *dcaptest.Machine) [][]byte {
				o := dcaptest.New(t, m.Random, tee)
				return [][]byte{dcaptest.PEM(o.CA.Cert), der(t, m.CRL(o.CA, m.PCK.Cert.SerialNumber))}
			}, false},
		} {
			m := dcaptest.New(t, tdx(t).Random, tee)
			q := parse(t, m.Quote())
			files := append(c.files(m), m.Collateral())
			fsys := fstest.MapFS{}
			for i, f := range files {
				fsys[fmt.Sprint(i)] = &fstest.MapFile{Data: f}
			}
			b, _, err := endorsements.Load(fsys) // it warns of what nobody signed
			if err != nil {
				t.Fatal(err)
			}
			v := verifier(t, m, b)
			p, _, f := v.VerifyQuote(q)
			if f != nil {
				t.Fatal(f)
			}
			if j := v.Judge(q, p, m.Now, 0); j.TCB == nil || (j.Revoked != "") != c.revoked {
				t.Errorf("%s, %s: %s %q", tee, name, j, j.Revoked)
			}
		}
	}
}

func der(tb testing.TB, hexadecimal string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(hexadecimal)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestGrace: after its next update collateral counts for as long as grace says, and
// only if there is nothing better; certificates and dates of issue know no grace.
func TestGrace(t *testing.T) {
	const day = 24 * time.Hour
	m := tdx(t)
	q := parse(t, m.Quote())
	v := verifier(t, m, bundle(t, m.Collateral()))
	p, _, f := v.VerifyQuote(q)
	if f != nil {
		t.Fatal(f)
	}
	for _, c := range []struct {
		at           time.Time
		grace        time.Duration
		usable, late bool
	}{
		{m.TCBTo, 0, true, false},
		{m.TCBTo.Add(time.Second), 0, false, false},
		{m.TCBTo.Add(time.Second), day, true, true},
		{m.TCBTo.Add(day), day, true, true},
		{m.TCBTo.Add(day + time.Second), day, false, false},
		{m.TCBFrom, day, true, false},
		{m.TCBFrom.Add(-time.Second), 100 * day, false, false},
		{m.Root.Cert.NotAfter.Add(time.Second), 1000 * day, false, false},
	} {
		j := v.Judge(q, p, c.at, c.grace)
		if (j.TCB != nil) != c.usable || c.usable && (len(j.TCB.Grace) > 0) != c.late {
			t.Errorf("at %s with %s: %s", c.at, c.grace, j)
		}
	}
	// What is in time wins over what is newer and late.
	late := m.Collateral()
	m.TCB["tcbEvaluationDataNumber"] = 19
	m.TCBTo, m.CRLTo = m.TCBTo.Add(10*day), m.CRLTo.Add(10*day)
	m.QEID["nextUpdate"] = m.TCBTo
	v = verifier(t, m, bundle(t, late, m.Collateral()))
	if j := v.Judge(q, p, m.TCBTo, 20*day); j.TCB == nil || j.TCB.EvaluationNumber() != 19 || len(j.TCB.Grace) != 0 {
		t.Errorf("%s", j)
	}
}

// TestPartsOfSets: each part of a set counts for itself, also in a file that holds
// nothing else.
func TestPartsOfSets(t *testing.T) {
	m := tdx(t)
	q := parse(t, m.Quote())
	var whole map[string]string
	if err := json.Unmarshal(m.Collateral(), &whole); err != nil {
		t.Fatal(err)
	}
	part := func(prefix string) []byte {
		out := maps.Clone(whole)
		maps.DeleteFunc(out, func(name, _ string) bool { return !strings.HasPrefix(name, prefix) })
		raw, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	files := [][]byte{part("tcb_info"), part("qe_identity"), part("pck_crl"), part("root_ca_crl")}
	for missing := range 5 {
		var some [][]byte
		for i, f := range files {
			if i != missing {
				some = append(some, f)
			}
		}
		v := verifier(t, m, bundle(t, some...))
		p, _, f := v.VerifyQuote(q)
		if f != nil {
			t.Fatal(f)
		}
		j := v.Judge(q, p, m.Now, 0)
		if (j.TCB != nil) != (missing == 4) || j.TCB == nil && (len(j.Complaints) == 0) != (missing == 0) {
			t.Errorf("without part %d: %s", missing, j)
		}
	}
}

// TestRoots: a nil root is refused, and only roots that were given are trusted.
func TestRoots(t *testing.T) {
	if _, err := dcap.NewVerifier([]*x509.Certificate{nil}, nil, dcap.TDX); err == nil {
		t.Error("a nil root is accepted")
	}
	m := tdx(t)
	q := parse(t, m.Quote())
	v, err := dcap.NewVerifier(nil, nil, dcap.TDX)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, f := v.VerifyQuote(q); f == nil || f.Code != "unknown-root" {
		t.Errorf("a simulated root is trusted: %v", f)
	}
	if block, rest := pem.Decode([]byte(dcap.IntelRoot())); block == nil || len(bytes.TrimSpace(rest)) > 0 {
		t.Error("the pinned root is not one certificate")
	}
}

// TestSGXExtension: an extension with members that are missing, twice, or not what
// they have to be gives no platform.
func TestSGXExtension(t *testing.T) {
	m := tdx(t)
	good := m.SGXExtension()
	var members []asn1.RawValue
	if _, err := asn1.Unmarshal(good.Value, &members); err != nil {
		t.Fatal(err)
	}
	encode := func(list ...asn1.RawValue) []byte {
		raw, err := asn1.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	oid := asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	member := func(n int, value any) asn1.RawValue {
		v, err := asn1.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := asn1.Marshal(struct {
			ID    asn1.ObjectIdentifier
			Value asn1.RawValue
		}{append(oid[:len(oid):len(oid)], n), asn1.RawValue{FullBytes: v}})
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: raw}
	}
	type flag struct {
		ID    asn1.ObjectIdentifier
		Value bool
	}
	smt := flag{append(oid[:len(oid):len(oid)], 7, 3), true}
	for name, c := range map[string]struct {
		value []byte
		ok    bool
	}{
		"as Intel makes it":   {good.Value, true},
		"instance":            {encode(append(members[:5:5], member(6, make([]byte, 16)))...), true},
		"configuration":       {encode(append(members[:5:5], member(7, []flag{smt}))...), true},
		"without a PPID":      {encode(members[1:]...), false},
		"without TCB":         {encode(members[0], members[2], members[3], members[4]), false},
		"without an FMSPC":    {encode(members[0], members[1], members[2], members[4]), false},
		"FMSPC twice":         {encode(append(members, members[3])...), false},
		"FMSPC of 5 bytes":    {encode(members[0], members[1], members[2], member(4, make([]byte, 5)), members[4]), false},
		"FMSPC is a number":   {encode(members[0], members[1], members[2], member(4, 7), members[4]), false},
		"instance of 15":      {encode(append(members[:5:5], member(6, make([]byte, 15)))...), false},
		"TCB is empty":        {encode(members[0], member(2, []flag{}), members[2], members[3]), false},
		"configuration twice": {encode(append(members[:5:5], member(7, []flag{smt, smt}))...), false},
		"data behind":         {append(bytes.Clone(good.Value), 5, 0), false},
		"no sequence":         {[]byte{5, 0}, false},
		"empty":               {nil, false},
	} {
		m := tdx(t)
		ext := m.SGXExtension()
		ext.Value = c.value
		m.PCK = m.Issue(dcaptest.PCK, false, m.CA, ext)
		p, _, f := verifier(t, m, nil).VerifyQuote(parse(t, m.Quote()))
		if (f == nil) != c.ok || f != nil && f.Code != "chain-invalid" {
			t.Errorf("%s: %v", name, f)
		}
		if name == "configuration" && f == nil && (len(p.Configuration) != 1 || !p.Configuration["smt_enabled"]) {
			t.Errorf("%v", p.Configuration)
		}
	}
}
