// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verdict"
)

type revocationCase struct {
	name     string
	change   []func(*machine)
	files    func() [][]byte
	policy   string
	hardware verdict.Claim
	codes    []string
	words    string
	checked  bool
}

func revocationCases() []revocationCase {
	from, to := now.AddDate(0, 0, -1), now.AddDate(0, 6, 0)
	one := func(by func() *ca, from, to time.Time, serials ...int64) func() [][]byte {
		return func() [][]byte { return [][]byte{list(by(), from, to, nil, serials...)} }
	}
	ark := func() *ca { return &genoaPKI().ark }
	const required = "parameters: {revocation: required}\n"
	revoked, invalid, missing := verdict.ReasonRevoked, verdict.ReasonCollateralInvalid, verdict.ReasonRevocationUnknown
	return []revocationCase{
		{name: "no list", files: func() [][]byte { return nil }, hardware: 2},
		{name: "no list, required", files: func() [][]byte { return nil }, policy: required, hardware: 32, codes: []string{missing}, words: "Genoa"},
		{name: "empty list", files: one(ark, from, to), policy: required, hardware: 2, checked: true},
		{name: "another serial", files: one(ark, from, to, 3, 77), policy: required, hardware: 2, checked: true},
		{name: "ASK revoked", files: one(ark, from, to, 2), hardware: 96, codes: []string{revoked}, words: "SEV-Genoa, serial 2", checked: true},
		{name: "ASVK revoked, VLEK", change: []func(*machine){vlek}, files: one(ark, from, to, 3), hardware: 96, codes: []string{revoked}, words: "SEV-VLEK-Genoa", checked: true},
		{name: "VCEK revoked by its issuer", files: func() [][]byte {
			return [][]byte{list(&genoaPKI().ask, from, to, nil, 0), genoaPKI().ask.cert.Raw}
		}, hardware: 96, codes: []string{revoked}, words: "SEV-VCEK, serial 0"},
		{name: "list of the issuer is none of the root", files: func() [][]byte {
			return [][]byte{list(&genoaPKI().ask, from, to, nil, 5), genoaPKI().ask.cert.Raw}
		}, policy: required, hardware: 32, codes: []string{missing}},
		{name: "serial 0 on the list of the root", files: one(ark, from, to, 0), policy: required, hardware: 2, checked: true},
		{name: "expired", files: one(ark, from, from.Add(time.Hour)), hardware: 2, codes: []string{invalid}, words: "holds from"},
		{name: "expired, required", files: one(ark, from, from.Add(time.Hour)), policy: required, hardware: 32, codes: []string{invalid, missing}},
		{name: "expired and revoked", files: one(ark, from, from.Add(time.Hour), 2), hardware: 96, codes: []string{revoked, invalid}},
		{name: "not yet valid", files: one(ark, now.Add(time.Hour), to), policy: required, hardware: 32, codes: []string{invalid, missing}},
		{name: "forged", files: one(func() *ca { return &forgedPKI().ark }, from, to, 2), hardware: 2, codes: []string{invalid}},
		{name: "forged, required", files: one(func() *ca { return &forgedPKI().ark }, from, to), policy: required, hardware: 32, codes: []string{invalid, missing}},
		{name: "another line", files: one(func() *ca { return &turinPKI().ark }, from, to, 2), policy: required, hardware: 32, codes: []string{missing}},
		{name: "PKCS #1", files: func() [][]byte {
			return [][]byte{list(ark(), from, to, func(l *x509.RevocationList) { l.SignatureAlgorithm = x509.SHA384WithRSA })}
		}, hardware: 2, codes: []string{invalid}, words: "SHA384-RSAPSS"},
		{name: "critical extension", files: func() [][]byte {
			return [][]byte{list(ark(), from, to, func(l *x509.RevocationList) {
				l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
			})}
		}, policy: required, hardware: 32, codes: []string{invalid, missing}, words: "critical extension"},
		{name: "old and new", files: func() [][]byte {
			return [][]byte{list(ark(), from.AddDate(-1, 0, 0), from.AddDate(0, -6, 0), nil), list(ark(), from, to, nil)}
		}, policy: required, hardware: 2, codes: []string{invalid}, checked: true},
		{name: "revoked by one of two", files: func() [][]byte {
			return [][]byte{list(ark(), from, to, nil), list(ark(), from.Add(-time.Hour), to, nil, 2)}
		}, hardware: 96, codes: []string{revoked}, checked: true},
	}
}

func TestRevocation(t *testing.T) {
	for _, c := range revocationCases() {
		v := newTest(t, withPolicy(t, deps(bundle(t, c.files()...)), c.policy))
		for range 2 { // also with the key in the cache
			a := appraise(t, v, newMachine(c.change...).input())
			got := slices.DeleteFunc(codes(a), func(s string) bool { return s == verdict.ReasonNoReferenceValues })
			if a.Vector[verdict.Hardware] != c.hardware || !slices.Equal(got, c.codes) {
				t.Errorf("%s: hardware %d %v, want %d %v\n%v", c.name, a.Vector[verdict.Hardware], got, c.hardware, c.codes, a.Reasons)
			}
			if !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return strings.Contains(r.Detail, c.words) }) {
				t.Errorf("%s: no %q in %v", c.name, c.words, a.Reasons)
			}
			if checked := a.Claims["revocation"].(map[string]any)["checked"]; checked != c.checked {
				t.Errorf("%s: checked is %v", c.name, checked)
			}
		}
	}
}

// A list without a date of the next update holds at no time.
func TestListWithoutEnd(t *testing.T) {
	l := &revocationList{name: "a", list: &x509.RevocationList{ThisUpdate: now.AddDate(0, 0, -1)}}
	if why := l.outside(now); !strings.Contains(why, "next update") {
		t.Errorf("%q", why)
	}
}

// The newest list that holds is the one that is shown.
func TestNewestList(t *testing.T) {
	from, to := now.AddDate(0, 0, -9), now.AddDate(0, 6, 0)
	b := bundle(t, list(&genoaPKI().ark, from, to, nil), list(&genoaPKI().ark, from.AddDate(0, 0, 5), to, func(l *x509.RevocationList) { l.Number = big.NewInt(2) }), list(&genoaPKI().ark, from.AddDate(0, 0, 1), to, nil))
	a := appraise(t, newTest(t, deps(b)), newMachine().input())
	if got := a.Claims["revocation"].(map[string]any)["this_update"]; got != from.AddDate(0, 0, 5).Format(time.RFC3339) {
		t.Errorf("%v", got)
	}
}
