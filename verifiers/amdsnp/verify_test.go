// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Honest guests of every kind, so that the refusals below are for the reason given.
func TestHonest(t *testing.T) {
	v := newTest(t, deps(nil))
	for name, m := range map[string]*machine{
		"genoa": newMachine(), "turin": newMachine(turin), "vlek": newMachine(vlek), "turin vlek": newMachine(turin, vlek),
		"pem": newMachine(func(m *machine) {
			m.table = map[guid][]byte{guidVCEK: asPEM(m.vek()), guidASK: asPEM(m.pki.ask.cert.Raw), guidARK: append(asPEM(m.pki.ark.cert.Raw), 0, '\n')}
		}),
		"octet string": newMachine(func(m *machine) {
			m.ext = func(e []pkix.Extension) []pkix.Extension {
				e[len(e)-1].Value = append([]byte{4, 64}, chipOfTests...)
				return e
			}
		}),
		"both keys": newMachine(func(m *machine) {
			m.table = map[guid][]byte{guidVCEK: m.vek(), guidVLEK: newMachine(vlek).vek(), guidASK: m.pki.ask.cert.Raw}
		}),
		"bergamo":     newMachine(func(m *machine) { m.edit = func(b []byte) { b[0x189] = 0xa0 } }),
		"turin dense": newMachine(turin, func(m *machine) { m.edit = func(b []byte) { b[0x189] = 0x11 } }),
		"version 2":   newMachine(func(m *machine) { m.edit = func(b []byte) { b[0] = 2; clear(b[0x188:0x18b]) } }),
		"version 4":   newMachine(func(m *machine) { m.edit = func(b []byte) { b[0] = 4 } }),
	} {
		a := appraise(t, v, m.input())
		if a.Vector[verdict.Hardware] != 2 || a.Vector[verdict.Configuration] != 2 || a.Vector[verdict.RuntimeOpaque] != 2 || a.Freshness != verdict.FreshnessFresh {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
		if a.PolicyID != Name || (a.Vector[verdict.InstanceIdentity] == 2) != (m.kind == kindVCEK) {
			t.Errorf("%s: policy %q, vector %v", name, a.PolicyID, a.Vector)
		}
	}
}

// What is refused as a whole, and why. Each row but those about the signature
// itself is signed after the change.
func TestRefused(t *testing.T) {
	set := func(at int, values ...byte) func(*machine) {
		return func(m *machine) { m.edit = func(b []byte) { copy(b[at:], values) } }
	}
	after := func(f func(b []byte)) func(*machine) { return func(m *machine) { m.after = f } }
	swap := func(b []byte) {
		r := bytes.Clone(b[signedSize : signedSize+halfSize])
		copy(b[signedSize:], b[signedSize+halfSize:signedSize+2*halfSize])
		copy(b[signedSize+halfSize:], r)
	}
	table := func(f func(m *machine) map[guid][]byte) func(*machine) {
		return func(m *machine) { m.table = f(m) }
	}
	const (
		malformed, unsupported = verdict.ReasonMalformed, verdict.ReasonUnsupported
		signature, chain       = verdict.ReasonSignatureInvalid, verdict.ReasonChainInvalid
		root, signer           = verdict.ReasonUnknownRoot, verdict.ReasonWrongSigner
		mismatch               = verdict.ReasonIdentityMismatch
	)
	type row struct {
		name   string
		change []func(*machine)
		code   string
		words  string
	}
	rows := []row{
		{"version 1", []func(*machine){set(0, 1)}, unsupported, "version 1"},
		{"version 6", []func(*machine){set(0, 6)}, unsupported, "version 6"},
		{"algorithm 2", []func(*machine){set(0x34, 2)}, unsupported, "SIGNATURE_ALGO 2"},
		{"VMPL 4", []func(*machine){set(0x30, 4)}, malformed, "VMPL 4"},
		{"signer info", []func(*machine){set(0x48, 0x20)}, malformed, "0x48"},
		{"reserved 0x4c", []func(*machine){set(0x4c, 1)}, malformed, "0x4c"},
		{"reserved 0x18b", []func(*machine){set(0x18b, 1)}, malformed, "0x18b"},
		{"CPUID before version 3", []func(*machine){set(0, 2)}, malformed, "0x188"},
		{"reserved 0x1eb", []func(*machine){set(0x1eb, 1)}, malformed, "0x1eb"},
		{"reserved 0x1ef", []func(*machine){set(0x1ef, 1)}, malformed, "0x1ef"},
		{"mitigations in version 3", []func(*machine){set(0x1f8, 1)}, malformed, "0x1f8"},
		{"reserved 0x208", []func(*machine){turin, set(0x208, 1)}, malformed, "0x208"},
		{"reserved 0x29f", []func(*machine){set(0x29f, 1)}, malformed, "0x29f"},
		{"behind the signature", []func(*machine){after(func(b []byte) { b[signedSize+2*halfSize] = 1 })}, malformed, "0x330"},

		{"swapped", []func(*machine){after(swap)}, signature, "does not verify"},
		{"big-endian", []func(*machine){after(func(b []byte) {
			slices.Reverse(b[signedSize : signedSize+scalarSize])
			slices.Reverse(b[signedSize+halfSize : signedSize+halfSize+scalarSize])
		})}, signature, "does not verify"},
		{"49 bytes of R", []func(*machine){after(func(b []byte) { b[signedSize+48] = 1 })}, signature, "more than 48"},
		{"72 bytes of S", []func(*machine){after(func(b []byte) { b[signedSize+2*halfSize-1] = 1 })}, signature, "more than 48"},
		{"R is zero", []func(*machine){after(func(b []byte) { clear(b[signedSize : signedSize+halfSize]) })}, signature, "does not verify"},
		{"no signature", []func(*machine){after(func(b []byte) { clear(b[signedSize:]) })}, signature, "no signature"},
		{"S is n-1 more", []func(*machine){after(func(b []byte) {
			for i := range scalarSize {
				b[signedSize+halfSize+i] = 0xff
			}
		})}, signature, "does not verify"},
		{"changed afterwards", []func(*machine){after(func(b []byte) { b[0x90] ^= 1 })}, signature, "does not verify"},
		{"another key", []func(*machine){func(m *machine) {
			m.table = map[guid][]byte{guidVCEK: m.vek(), guidASK: m.issuer.cert.Raw}
			m.key = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
		}}, signature, "does not verify"},

		{"VCEK, signer says VLEK", []func(*machine){set(0x48, 1<<2)}, signer, "a VLEK signs it, and evidence has the certificate of a VCEK"},
		{"VLEK, signer says VCEK", []func(*machine){vlek, set(0x48, 0)}, signer, "a VCEK signs it, and evidence has the certificate of a VLEK"},
		{"VLEK in the place of a VCEK", []func(*machine){vlek, set(0x48, 0), table(func(m *machine) map[guid][]byte { return map[guid][]byte{guidVCEK: m.vek()} })}, signer, "SEV-VLEK"},
		{"VCEK in the place of a VLEK", []func(*machine){set(0x48, 1<<2), table(func(m *machine) map[guid][]byte { return map[guid][]byte{guidVLEK: m.vek()} })}, signer, "SEV-VCEK"},

		{"forged chain", []func(*machine){func(m *machine) { m.pki, m.issuer = forgedPKI(), &forgedPKI().ask }}, root, "root key (ARK) in evidence"},
		{"forged ASK", []func(*machine){func(m *machine) {
			m.issuer = &forgedPKI().ask
			m.table = map[guid][]byte{guidARK: m.pki.ark.cert.Raw, guidASK: m.issuer.cert.Raw, guidVCEK: m.vek()}
		}}, root, "signing key (ASK) in evidence"},
		{"forged VCEK", []func(*machine){func(m *machine) {
			m.issuer = &forgedPKI().ask
			m.table = map[guid][]byte{guidARK: m.pki.ark.cert.Raw, guidASK: m.pki.ask.cert.Raw, guidVCEK: m.vek()}
		}}, chain, "VCEK certificate"},
		{"forged ARK beside a good chain", []func(*machine){table(func(m *machine) map[guid][]byte {
			return map[guid][]byte{guidARK: forgedPKI().ark.cert.Raw, guidASK: m.pki.ask.cert.Raw, guidVCEK: m.vek()}
		})}, root, "root key (ARK)"},
		{"forged ASK beside a good key", []func(*machine){table(func(m *machine) map[guid][]byte {
			return map[guid][]byte{guidASK: forgedPKI().ask.cert.Raw, guidVCEK: m.vek()}
		})}, root, "signing key (ASK)"},
		{"VEK as ASK", []func(*machine){table(func(m *machine) map[guid][]byte {
			vek := m.vek()
			return map[guid][]byte{guidASK: vek, guidVCEK: vek}
		})}, root, "no name of an AMD signing key"},
		{"ARK as issuer", []func(*machine){func(m *machine) { m.issuer = &m.pki.ark }}, root, ""},
		{"ASVK as issuer of a VCEK", []func(*machine){func(m *machine) { m.issuer = &m.pki.asvk }}, root, "no trusted authority for VCEK"},
		{"ASK of another line", []func(*machine){func(m *machine) {
			m.issuer = &turinPKI().ask
			m.table = map[guid][]byte{guidASK: m.issuer.cert.Raw, guidVCEK: m.vek()}
		}}, root, "no trusted authority for VCEK certificates of Genoa"},
		{"another line's certificate", []func(*machine){func(m *machine) {
			edit := m.edit
			turin(m)
			m.edit = func(b []byte) {
				if edit != nil {
					edit(b)
				}
				copy(b[0x188:], []byte{0x19, 0x11})
			}
		}}, mismatch, "CPUID says Genoa"},
		{"garbage for a certificate", []func(*machine){table(func(m *machine) map[guid][]byte { return map[guid][]byte{guidVCEK: {0x30, 1}} })}, chain, "VCEK certificate"},
		{"garbage for an ASK", []func(*machine){table(func(m *machine) map[guid][]byte { return map[guid][]byte{guidVCEK: m.vek(), guidASK: {0x30, 1}} })}, chain, "ASK"},
		{"bytes behind the certificate", []func(*machine){table(func(m *machine) map[guid][]byte { return map[guid][]byte{guidVCEK: append(m.vek(), 0)} })}, chain, "trailing"},

		{"P-256", []func(*machine){func(m *machine) {
			m.cert = func(c *x509.Certificate) {
				c.PublicKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public()
			}
		}}, chain, "P-384"},
		{"RSA key", []func(*machine){func(m *machine) { m.cert = func(c *x509.Certificate) { c.PublicKey = m.issuer.cert.PublicKey } }}, chain, "P-384"},
		{"authority", []func(*machine){func(m *machine) { m.cert = func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true } }}, chain, "that of an authority"},
		{"another name", []func(*machine){func(m *machine) { m.cert = func(c *x509.Certificate) { c.Subject.CommonName = "SEV-VCEK2" } }}, signer, "SEV-VCEK2"},
		{"PKCS #1", []func(*machine){func(m *machine) { m.cert = func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA384WithRSA } }}, chain, "SHA384-RSAPSS"},
		{"SHA-256", []func(*machine){func(m *machine) { m.cert = func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS } }}, chain, "SHA384-RSAPSS"},
		{"critical extension", []func(*machine){func(m *machine) {
			m.ext = func(e []pkix.Extension) []pkix.Extension {
				return append(e, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
			}
		}}, chain, "critical"},
		{"unknown product", []func(*machine){func(m *machine) { m.name = "Venice" }}, chain, "Venice"},
		{"no chip", []func(*machine){func(m *machine) { m.hwid = nil }}, chain, "names its chip"},
		{"chip of zeros", []func(*machine){func(m *machine) { m.hwid = make([]byte, 64) }}, chain, "zero"},
		{"chip of 32 bytes", []func(*machine){func(m *machine) { m.hwid = chipOfTests[:32] }}, chain, "32 bytes"},
		{"chip of 8 bytes on Genoa", []func(*machine){func(m *machine) { m.hwid = chipOfTests[:8] }}, chain, "8 bytes"},
		{"chip of 64 bytes on Turin", []func(*machine){turin, func(m *machine) { m.hwid = chipOfTests }}, chain, "64 bytes"},
		{"VCEK with a provider", []func(*machine){func(m *machine) { m.csp = "CN=x" }}, chain, "provider"},
		{"VLEK with a chip", []func(*machine){vlek, func(m *machine) { m.hwid = chipOfTests }}, chain, "no chip"},
		{"VLEK without a provider", []func(*machine){vlek, func(m *machine) { m.csp = "" }}, chain, "provider"},

		{"chip, first byte", []func(*machine){set(0x1a0, 1)}, mismatch, "CHIP_ID"},
		{"chip, last byte", []func(*machine){set(0x1df, 1)}, mismatch, "CHIP_ID"},
		{"chip behind its name on Turin", []func(*machine){turin, set(0x1a8, 1)}, mismatch, "CHIP_ID"},
	}
	for i := range 8 {
		rows = append(rows,
			row{fmt.Sprintf("reported TCB %d", i), []func(*machine){set(0x180+i, 0xee)}, mismatch, "REPORTED_TCB"},
			row{fmt.Sprintf("reported TCB %d, Turin", i), []func(*machine){turin, set(0x180+i, 0xee)}, mismatch, "REPORTED_TCB"})
	}
	for _, n := range neededMilan {
		rows = append(rows, row{fmt.Sprintf("without level %d", n), []func(*machine){without(3, n)}, chain, fmt.Sprintf("3.%d is missing", n)})
	}
	for _, n := range neededTurin {
		rows = append(rows, row{fmt.Sprintf("without level %d, Turin", n), []func(*machine){turin, without(3, n)}, chain, fmt.Sprintf("3.%d is missing", n)})
	}
	for _, x := range []struct {
		name  string
		ext   pkix.Extension
		words string
	}{
		{"FMC on Genoa", pkix.Extension{Id: oid(3, 9), Value: []byte{2, 1, 0}}, "no place"},
		{"level 10", pkix.Extension{Id: oid(3, 10), Value: []byte{2, 1, 0}}, "no place"},
	} {
		rows = append(rows, row{x.name, []func(*machine){func(m *machine) {
			m.ext = func(e []pkix.Extension) []pkix.Extension { return append(e, x.ext) }
		}}, chain, x.words})
	}
	for name, value := range map[string][]byte{"256": {2, 2, 1, 0}, "-1": {2, 1, 0xff}, "no INTEGER": {4, 1, 10}, "longer than needed": {2, 2, 0, 10}, "and more": {2, 1, 10, 0}, "nothing": {}} {
		rows = append(rows, row{"level " + name, []func(*machine){func(m *machine) {
			m.ext = func(e []pkix.Extension) []pkix.Extension {
				e[slices.IndexFunc(e, func(e pkix.Extension) bool { return e.Id.Equal(oid(3, 1)) })].Value = value
				return e
			}
		}}, chain, "no INTEGER"})
	}
	for _, c := range rows {
		v := newTest(t, deps(nil))
		a := appraise(t, v, newMachine(c.change...).input())
		expectRejected(t, c.name, a, c.code)
		if len(a.Reasons) == 1 && !strings.Contains(a.Reasons[0].Detail, c.words) {
			t.Errorf("%s: %q lacks %q", c.name, a.Reasons[0].Detail, c.words)
		}
		if v.keys.Len() != 0 {
			t.Errorf("%s: a key that bore nothing out is kept", c.name)
		}
	}
}

// without drops an extension.
func without(arcs ...int) func(*machine) {
	return func(m *machine) {
		m.ext = func(e []pkix.Extension) []pkix.Extension {
			return slices.DeleteFunc(e, func(e pkix.Extension) bool { return e.Id.Equal(oid(arcs...)) })
		}
	}
}

// Signers 2 to 7 are no keys: nobody has signed, or nobody knows who.
func TestSigners(t *testing.T) {
	for n := byte(2); n < 8; n++ {
		m := newMachine(func(m *machine) { m.edit = func(b []byte) { b[0x48] = n<<2 | signerMaskChip } })
		expectRejected(t, fmt.Sprint(n), appraise(t, newTest(t, deps(nil)), m.input()), verdict.ReasonSignatureInvalid)
	}
}

// A cached key is still held against each report.
func TestCachedKey(t *testing.T) {
	v := newTest(t, deps(nil))
	cert := newMachine().vek()
	good := newMachine(func(m *machine) { m.table = map[guid][]byte{guidVCEK: cert, guidASK: m.pki.ask.cert.Raw} })
	if a := appraise(t, v, good.input()); a.Vector[verdict.Hardware] != 2 || v.keys.Len() != 1 {
		t.Fatalf("%v", a.Reasons)
	}
	for name, c := range map[string]struct {
		change func(*machine)
		code   string
	}{
		"chip":      {func(m *machine) { m.edit = func(b []byte) { b[0x1a0] ^= 1 } }, verdict.ReasonIdentityMismatch},
		"TCB":       {func(m *machine) { m.edit = func(b []byte) { b[0x180]++ } }, verdict.ReasonIdentityMismatch},
		"signature": {func(m *machine) { m.after = func(b []byte) { b[0x50] ^= 1 } }, verdict.ReasonSignatureInvalid},
		"in the place of a VLEK": {func(m *machine) {
			m.edit = func(b []byte) { b[0x48] = 1 << 2 }
			m.table = map[guid][]byte{guidVLEK: cert}
		}, verdict.ReasonWrongSigner},
	} {
		m := newMachine(func(m *machine) { m.table = good.table }, c.change)
		expectRejected(t, name, appraise(t, v, m.input()), c.code)
	}
	in := good.input()
	in.Time = now.AddDate(7, 0, 0)
	expectRejected(t, "expired", appraise(t, v, in), verdict.ReasonExpired)
	// An ASK that is not pinned comes with the evidence and is found again.
	in = good.input()
	if a := appraise(t, v, in); a.Vector[verdict.Hardware] != 2 || v.intermediates.Len() != 1 {
		t.Errorf("%v, %d intermediates", a.Reasons, v.intermediates.Len())
	}
}

// Without the test roots nothing of theirs is trusted.
func TestExtraRootsAreNeeded(t *testing.T) {
	expectRejected(t, "no extra roots", appraise(t, newTest(t, verifiers.Deps{}), newMachine().input()), verdict.ReasonUnknownRoot)
	short := newMachine(func(m *machine) { m.table = map[guid][]byte{guidVCEK: m.vek()} })
	expectRejected(t, "VCEK alone", appraise(t, newTest(t, verifiers.Deps{}), short.input()), verdict.ReasonUnknownRoot)
	for name, c := range map[string]*x509.Certificate{"nil": nil, "ASK": genoaPKI().ask.cert, "forged name": authorityOf("ARK-Rome", 1, nil).cert} {
		d := deps(nil)
		d.ExtraRoots = map[string][]*x509.Certificate{Name: {c}}
		if _, err := newVerifier(d); err == nil {
			t.Errorf("%s is taken for a root", name)
		}
	}
}

// Chains of AMD are those that the pins name.
func TestPinnedRoots(t *testing.T) {
	rs, err := newRoots(nil)
	if err != nil || len(rs.arks) != 3 || len(rs.chain) != 6 {
		t.Fatalf("%v", err)
	}
	for _, a := range rs.chain {
		if err := certifies(a.root.cert, a.cert, true); err != nil || a.root.product != a.product {
			t.Errorf("%s of %s: %v", a.kind, a.product, err)
		}
		if got, err := rs.authorityOf(a.cert); err != nil || got.kind != a.kind || got.product != a.product {
			t.Errorf("%s of %s is not recognised: %v", a.kind, a.product, err)
		}
	}
	for _, a := range rs.arks {
		if err := certifies(a.cert, a.cert, true); err != nil || a.cert.Subject.CommonName != commonRoot+a.product.String() {
			t.Errorf("%s: %v", a.product, err)
		}
	}
}
