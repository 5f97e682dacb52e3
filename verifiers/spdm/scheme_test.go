// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// collateral is a bundle of certificates and revocation lists in DER.
func collateral(tb testing.TB, der ...[]byte) *endorsements.Bundle {
	tb.Helper()
	files := fstest.MapFS{}
	for i, raw := range der {
		files[fmt.Sprintf("%03d.der", i)] = &fstest.MapFile{Data: raw}
	}
	b, warnings, err := endorsements.Load(files)
	if err != nil || len(warnings) > 0 {
		tb.Fatal(err, warnings)
	}
	return b
}

func policyOf(tb testing.TB, text string) map[string]*appraisal.Policy {
	tb.Helper()
	p, err := policyDefaults().Parse([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]*appraisal.Policy{Name: p}
}

func certificateDigest(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// trusting is a policy that trusts a root for a slot and for manufacturers. more
// are lines of parameters, findings members of findings in flow style.
func trusting(tb testing.TB, root *x509.Certificate, slot uint8, makers, more, findings string) verifiers.Deps {
	tb.Helper()
	text := fmt.Sprintf("scheme: dmtf-spdm\nfindings: {%s}\nparameters:\n  anchors: [{certificate_sha256: %s, slots: [%d], manufacturers: [%s]}]\n%s", findings, certificateDigest(root), slot, makers, more)
	return verifiers.Deps{Endorsements: collateral(tb, root.Raw), Policies: policyOf(tb, text)}
}

func newTest(tb testing.TB, d verifiers.Deps) *verifier {
	tb.Helper()
	v, err := newVerifier(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// appraise appraises and tells which findings were made.
func appraise(tb testing.TB, v *verifier, in verifiers.Input) (verdict.Appraisal, []string) {
	tb.Helper()
	own := *v
	var found []string
	own.trace = func(f string) { found = append(found, f) }
	a, err := own.Appraise(context.Background(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return a, found
}

func input(tb testing.TB, e *Evidence, nonce []byte, x *corim.Index) verifiers.Input {
	tb.Helper()
	raw, err := e.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return verifiers.Input{MediaType: evidence.MediaType{Base: MediaType}, Evidence: raw, Nonce: nonce, Time: at, References: x}
}

var referenceKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

// document is reference values that an authority vouches for, or that nobody does.
func document(tb testing.TB, id string, signed bool, triples ...corim.ValueTriple) *corim.Document {
	tb.Helper()
	until := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &corim.Comid{Identity: corim.TagIdentity{ID: corim.ID{Text: id}}, Reference: triples}
	raw, err := corim.Encode(&corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: c}}, Validity: corim.Period{NotAfter: until}})
	if err != nil {
		tb.Fatal(err)
	}
	key := corim.SigningKey{ID: []byte("k"), Public: referenceKey().Public()}
	var d *corim.Document
	if signed {
		d, err = corim.LoadVouched(raw, corim.Vouching{
			Authority: corim.Authority{Name: "author", Keys: []corim.SigningKey{key}, Profiles: []string{corim.AnyProfile}, Scopes: []corim.Environment{{}}},
			Key:       key, Validity: corim.Period{NotAfter: until},
		}, corim.Options{Now: at})
	} else {
		d, err = corim.Load(raw, corim.Options{Unsigned: true, Now: at})
	}
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func indexOf(tb testing.TB, docs ...*corim.Document) *corim.Index {
	tb.Helper()
	x, err := corim.NewIndex(docs...)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func envOf(vendor, model string) corim.Environment {
	return corim.Environment{Class: corim.Class{Vendor: vendor, Model: model}}
}

// referencesOf states what blocks say, but for those of the given types.
func referencesOf(blocks []Block, hash MeasurementHash, without ...ValueType) (out []corim.Measurement) {
	for _, b := range blocks {
		if slices.Contains(without, b.Type) {
			continue
		}
		m := corim.Measurement{Key: corim.NumberKey(uint64(b.Index))}
		switch svn, ok := b.SVN(); {
		case ok:
			m.Value.SVN = &corim.SVN{Value: svn, Minimum: true}
		case b.RawBits && b.Type > TypeFirmwareConfig:
			m.Value.Raw = raw(b.Value)
		default:
			d, err := b.Digest(hash)
			if err != nil {
				continue
			}
			m.Value.Digests = []corim.Digest{{Alg: baseAlgorithm(hash.base()), Value: d}}
		}
		out = append(out, m)
	}
	return out
}

func has(a verdict.Appraisal, code string) bool {
	return slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == code })
}

func details(a verdict.Appraisal) string {
	var b bytes.Buffer
	for _, r := range a.Reasons {
		fmt.Fprintf(&b, "%s: %s\n", r.Code, r.Detail)
	}
	return b.String()
}

// TestPolicies reads the policies of docs/policies.
func TestPolicies(t *testing.T) {
	s := situated(t, checkCase{edit: locked(goodLock, StateRun)})
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "policies", "spdm-tdisp.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := fmt.Sprintf("parameters:\n  anchors: [{certificate_sha256: %s}]\n", certificateDigest(s.anchor))
	strict := newTest(t, verifiers.Deps{Endorsements: collateral(t, s.anchor.Raw), Policies: policyOf(t, string(text)+anchors)})
	in := input(t, s.e, s.nonce, s.index)
	a, _ := appraise(t, strict, in)
	if a.Status() != verdict.TierWarning || a.Vector[config] != 36 || a.Vector[opaque] != 32 || !has(a, verdict.ReasonReportUnauthenticated) || !a.Facts.RelayRequired {
		t.Fatalf("%v %s %+v", a.Vector, details(a), a.Facts)
	}
	a, _ = appraise(t, newTest(t, trusting(t, s.anchor, 0, "", "", "")), in)
	if a.Status() != verdict.TierAffirming || len(a.Reasons) != 0 || !a.Facts.RelayRequired {
		t.Fatalf("%s %+v", details(a), a.Facts)
	}
	emulator := newTest(t, verifiers.Deps{Policies: policyOf(t, string(emulatorPolicy(t)))})
	if len(emulator.absent) != 4 || emulator.params.MinimumVersion != "1.1" {
		t.Fatal(emulator.absent)
	}
}
