// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// TestAnchors: only what the policy names vouches, for the slots that it names.
func TestAnchors(t *testing.T) {
	d, _, in := affirmed(t)
	owner, _, ownerIn := affirmed(t, slotOf(2))
	leaf := issue(t, template("no authority", false), d.anchor, d.anchor.PublicKey, newKey(t, ECDSAP256))
	for _, c := range []struct {
		name    string
		anchors string
		extra   []*x509.Certificate
		der     [][]byte
		in      verifiers.Input
		finding string // "" is accepted
	}{
		{"certificate", "{certificate_sha256: " + certificateDigest(d.anchor) + "}", nil, [][]byte{d.anchor.Raw}, in, ""},
		{"key", "{spki_sha256: " + spkiDigest(d.anchor) + "}", nil, [][]byte{d.anchor.Raw}, in, ""},
		{"another certificate", "{certificate_sha256: " + strings.Repeat("00", 32) + "}", nil, [][]byte{d.anchor.Raw}, in, findUnknownAnchor},
		{"another key", "{spki_sha256: " + strings.Repeat("00", 32) + "}", nil, [][]byte{d.anchor.Raw}, in, findUnknownAnchor},
		{"no certificate", "{spki_sha256: " + spkiDigest(d.anchor) + "}", nil, nil, in, findUnknownAnchor},
		{"no policy", "", nil, [][]byte{d.anchor.Raw}, in, findUnknownAnchor},
		{"no authority", "{certificate_sha256: " + certificateDigest(leaf) + "}", nil, [][]byte{leaf.Raw}, in, findUnknownAnchor},
		{"simulated", "", []*x509.Certificate{d.anchor}, nil, in, ""},
		{"simulated, slot of an owner", "", []*x509.Certificate{owner.anchor}, nil, ownerIn, findSlotAllowed},
		{"simulated, slot named", "{certificate_sha256: " + certificateDigest(owner.anchor) + ", slots: [2]}", []*x509.Certificate{owner.anchor}, nil, ownerIn, ""},
		{"simulated, other slot named", "{certificate_sha256: " + certificateDigest(d.anchor) + ", slots: [2]}", []*x509.Certificate{d.anchor}, nil, in, findSlotAllowed},
		{"slot named", "{certificate_sha256: " + certificateDigest(owner.anchor) + ", slots: [0, 2]}", nil, [][]byte{owner.anchor.Raw}, ownerIn, ""},
		{"slot not named", "{certificate_sha256: " + certificateDigest(owner.anchor) + "}", nil, [][]byte{owner.anchor.Raw}, ownerIn, findSlotAllowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			deps := verifiers.Deps{Endorsements: collateral(t, c.der...), Policies: policyOf(t, "scheme: dmtf-spdm\nparameters: {anchors: ["+c.anchors+"]}\n")}
			if c.extra != nil {
				deps.ExtraRoots = map[string][]*x509.Certificate{Name: c.extra}
			}
			v := newTest(t, deps)
			if missing := c.name == "no authority" || strings.HasPrefix(c.name, "another ") || c.name == "no certificate"; missing != (len(v.absent) == 1) {
				t.Fatal(v.absent)
			}
			a, found := appraise(t, v, c.in)
			if c.finding == "" {
				if a.Status() != verdict.TierAffirming {
					t.Fatalf("%v %s", found, details(a))
				}
			} else if !slices.Contains(found, c.finding) || a.Status() != verdict.TierContraindicated || a.Claims != nil {
				t.Fatalf("%v %s", found, details(a))
			}
		})
	}
}

// TestMakersOfASlot: what one entry allows a root for a slot, another entry does not
// allow it for the next.
func TestMakersOfASlot(t *testing.T) {
	d, _, in := affirmed(t)
	root := "{certificate_sha256: " + certificateDigest(d.anchor)
	deps := verifiers.Deps{Endorsements: collateral(t, d.anchor.Raw), Policies: policyOf(t,
		"scheme: dmtf-spdm\nparameters: {anchors: ["+root+", manufacturers: [SOMEBODY]}, "+root+", slots: [1]}]}\n")}
	if a, found := appraise(t, newTest(t, deps), in); !slices.Contains(found, findManufacturer) || a.Status() != verdict.TierContraindicated {
		t.Fatalf("%v %s", found, details(a))
	}
}

// TestSharedKey: several certificates of a key that the policy names are anchors,
// each for itself.
func TestSharedKey(t *testing.T) {
	d, _, in := affirmed(t)
	x := template("root", true)
	x.NotBefore = at.AddDate(-2, 0, 0)
	again := issue(t, x, x, d.anchor.PublicKey, newKey(t, ECDSAP256))
	deps := verifiers.Deps{Endorsements: collateral(t, again.Raw, d.anchor.Raw), Policies: policyOf(t, "scheme: dmtf-spdm\nparameters: {anchors: [{spki_sha256: "+spkiDigest(d.anchor)+"}]}\n")}
	v := newTest(t, deps)
	if len(v.anchors) != 2 {
		t.Fatal(len(v.anchors))
	}
	if a, found := appraise(t, v, in); a.Status() != verdict.TierAffirming {
		t.Fatalf("%v %s", found, details(a))
	}
	// A chain without root says by its root hash which of the two it means.
	d = newDevice(t, func(d *device) { d.noRoot = true })
	again = issue(t, x, x, d.anchor.PublicKey, newKey(t, ECDSAP256))
	for _, order := range [][]Anchor{{{again, 1}, {d.anchor, 1}}, {{d.anchor, 1}, {again, 1}}} {
		e := d.expect()
		e.Anchors = order
		r, err := Verify(d.evidence(t), e)
		if err != nil || !r.Identity.Path[len(r.Identity.Path)-1].Equal(d.anchor) {
			t.Fatal(err)
		}
	}
	e := d.expect()
	e.Anchors = []Anchor{{again, 1}}
	_, err := Verify(d.evidence(t), e)
	wantKind(t, err, KindRootHash)
}

// TestAnchorWarnings: an anchor for an owner's slots that may name any maker is named,
// and accepted all the same.
func TestAnchorWarnings(t *testing.T) {
	p := defaultParameters()
	digest := func(n int) string { return strings.Repeat(strconv.Itoa(n), 64) }
	p.Anchors = []AnchorParameter{
		{SPKI: digest(0)}, {SPKI: digest(1), Slots: []uint8{0}}, {SPKI: digest(2), Slots: []uint8{0, 4}}, {Certificate: digest(3), Slots: []uint8{7}},
		{SPKI: digest(4), Slots: []uint8{0, 4}, Manufacturers: []string{"ACME"}},
	}
	w := p.Warnings()
	if err := p.Check(); err != nil || len(w) != 2 || !strings.Contains(w[0], "anchors[2] ("+digest(2)+")") || !strings.Contains(w[1], "anchors[3] ("+digest(3)+")") {
		t.Errorf("%v %q", err, w)
	}
}

// TestRevocationLists: what makes a list none.
func TestRevocationLists(t *testing.T) {
	d, _, in := affirmed(t)
	s := &situation{t: t, d: d, e: d.evidence(t)}
	chain, err := ParseChain(d.chain, mustVCA(t, d.vca))
	if err != nil {
		t.Fatal(err)
	}
	listOf := func(edit func(*x509.RevocationList), stranger bool) []byte {
		list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: at.Add(-time.Hour), NextUpdate: at.Add(time.Hour),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: at.Add(-time.Hour)}}}
		edit(list)
		k, issuer := newKey(t, ECDSAP384), *chain.Certificates[1]
		if stranger {
			k = newKey(t, ECDSAP521)
			issuer.PublicKey = k.Public()
		}
		raw, err := x509.CreateRevocationList(rand.Reader, list, &issuer, k)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, c := range map[string]struct {
		raw     []byte
		revoked bool
		ignored bool
	}{
		"revoked":       {listOf(func(*x509.RevocationList) {}, false), true, false},
		"on hold":       {listOf(func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = 6 }, false), true, false},
		"removed":       {listOf(func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = 8 }, false), false, false},
		"of a stranger": {listOf(func(*x509.RevocationList) {}, true), false, true},
		"critical, unknown": {listOf(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, false), false, true},
		"from tomorrow": {listOf(func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = at.Add(time.Hour), at.Add(2*time.Hour) }, false), true, true},
		"of the root":   {crl(t, s, true, at.Add(time.Hour), 9), false, false},
	} {
		deps := trusting(t, d.anchor, 0, "", "", "")
		deps.Endorsements = collateral(t, d.anchor.Raw, c.raw)
		a, found := appraise(t, newTest(t, deps), in)
		if slices.Contains(found, findRevoked) != c.revoked || slices.Contains(found, findListIgnored) != c.ignored || (a.Status() == verdict.TierAffirming) == c.revoked {
			t.Errorf("%s: %v %s", name, found, details(a))
		}
	}
	// More lists of one issuer than are looked at prove nothing.
	deps := trusting(t, d.anchor, 0, "", "  revocation: required", "")
	der := [][]byte{d.anchor.Raw, crl(t, s, true, at.Add(time.Hour))}
	for i := range maxPerIssuer + 1 {
		der = append(der, listOf(func(l *x509.RevocationList) { l.Number, l.RevokedCertificateEntries = big.NewInt(int64(i)), nil }, false))
	}
	deps.Endorsements = collateral(t, der...)
	a, found := appraise(t, newTest(t, deps), in)
	if !slices.Contains(found, findListMissing) || !strings.Contains(details(a), fmt.Sprintf("more than %d lists", maxPerIssuer)) {
		t.Errorf("%v %s", found, details(a))
	}
}

// TestClaimsAreBounded: what a device says may be long, and claims are not.
func TestClaimsAreBounded(t *testing.T) {
	d := newDevice(t)
	d.blocks, d.count = nil, 0
	for i := range byte(200) {
		d.rawBlock(i+1, 0x84, []byte(strings.Repeat("\x01A", 100)))
	}
	e := d.evidence(t)
	e.Challenge = nil
	var many []Range
	for i := range uint64(500) {
		many = append(many, Range{FirstPage: 2 * i, Pages: 1, ID: 9})
	}
	e.Report = interfaceReport(goodInfo, strings.Repeat("x", 4000), many...)
	e.TSM = &TSM{Kind: strings.Repeat("k", 200), Raw: []byte{1}}
	a, _ := appraise(t, newTest(t, trusting(t, d.anchor, 0, "", "", "")), input(t, e, d.nonce, nil))
	if n := len(fmt.Sprint(a.Claims)); n > 64<<10 {
		t.Errorf("claims of %d bytes", n)
	}
	for _, r := range a.Reasons {
		if len(r.Detail) > 4<<10 {
			t.Errorf("a reason of %d bytes", len(r.Detail))
		}
	}
}

// TestChainKey: whatever the verification of a chain depends on tells two
// remembered ones apart.
func TestChainKey(t *testing.T) {
	base := chainKey{[]byte("chain"), 1, ModelDevice, &VCA{Version: Version12, BaseAsym: ECDSAP256, BaseHash: BaseSHA256}}
	same := base
	if !bytes.Equal(base.bytes(), same.bytes()) {
		t.Fatal("one chain has two keys")
	}
	for name, change := range map[string]func(*chainKey, *VCA){
		"bytes": func(k *chainKey, _ *VCA) { k.raw = []byte("chaim") }, "slot": func(k *chainKey, _ *VCA) { k.slot = 2 },
		"model": func(k *chainKey, _ *VCA) { k.model = ModelAlias }, "version": func(_ *chainKey, v *VCA) { v.Version = Version13 },
		"algorithm": func(_ *chainKey, v *VCA) { v.BaseAsym = ECDSAP384 }, "hash": func(_ *chainKey, v *VCA) { v.BaseHash = BaseSHA384 },
	} {
		k, v := base, *base.vca
		k.vca = &v
		if change(&k, &v); bytes.Equal(k.bytes(), base.bytes()) {
			t.Error(name)
		}
	}
}
