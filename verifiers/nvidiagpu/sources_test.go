// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

const (
	simulatedDriver = "NV_GPU_DRIVER_GH100_590.12"
	simulatedVBIOS  = "NV_GPU_VBIOS_G520_0200_885_9600A50001"
)

// said are an operator's values for measurements of a fake, of which those at some
// indices are others.
func said(f *fake, model string, indices []int, others ...int) refvalues.Entry {
	e := f.values(model, indices...)
	for _, v := range e.Values {
		if slices.Contains(others, int(v.Key.(uint64))) {
			v.Digests[0].Value[0] ^= 1
		}
	}
	return e
}

// TestSources: an operator's CoRIMs, NVIDIA's manifests in XML, and which of them
// counts. Nothing is proven by a part of one and a part of another.
func TestSources(t *testing.T) {
	early, late := append(span(0, 6), span(8, 12)...), append([]int{7}, span(13, 63)...)
	all := span(0, 63)
	for _, c := range []struct {
		name     string
		o        nvidia.Options
		without  string
		policy   string
		device   func(f *fake)
		operator func(f *fake) []refvalues.Entry
		want     verdict.Claim
		code     string
		words    string
	}{
		{name: "manifests alone", want: 3},
		{name: "operator alone, of the chip", without: ".xml", operator: func(f *fake) []refvalues.Entry { return []refvalues.Entry{said(f, "GH100", all)} }, want: 3},
		{name: "both", operator: func(f *fake) []refvalues.Entry { return []refvalues.Entry{said(f, "GH100", all)} }, want: 3},
		{name: "operator has other releases of the chip", operator: func(f *fake) []refvalues.Entry { return []refvalues.Entry{said(f, "GH100", all, 3)} }, want: 3},
		{name: "operator contradicts this VBIOS", operator: func(f *fake) []refvalues.Entry {
			return []refvalues.Entry{said(f, simulatedVBIOS, early, 3)}
		}, want: 96, code: "measurement-mismatch", words: "measurement 3"},
		{name: "operator contradicts this driver", operator: func(f *fake) []refvalues.Entry {
			return []refvalues.Entry{said(f, simulatedDriver, late, 30), said(f, simulatedVBIOS, early)}
		}, want: 96, code: "measurement-mismatch", words: "measurement 30"},
		{name: "driver by the operator, VBIOS by a manifest", without: simulatedDriver, operator: func(f *fake) []refvalues.Entry {
			return []refvalues.Entry{said(f, simulatedDriver, late)}
		}, want: 33, code: "no-reference-values", words: "there is no manifest " + simulatedDriver},
		{name: "VBIOS by the operator, driver by a manifest", without: simulatedVBIOS, operator: func(f *fake) []refvalues.Entry {
			return []refvalues.Entry{said(f, simulatedVBIOS, early)}
		}, want: 33, code: "no-reference-values", words: "there is no manifest " + simulatedVBIOS},
		{name: "manifest of another age, operator knows the chip", o: nvidia.Options{RIM: nvidia.RIMVintage},
			operator: func(f *fake) []refvalues.Entry { return []refvalues.Entry{said(f, "GH100", all)} }, want: 96, code: "measurement-mismatch", words: "another issue may match"},
		{name: "manifest of another age, operator knows the manifests", o: nvidia.Options{RIM: nvidia.RIMVintage}, operator: func(f *fake) []refvalues.Entry {
			return []refvalues.Entry{said(f, simulatedDriver, late), said(f, simulatedVBIOS, early)}
		}, want: 3},
		{name: "manifest of another age beside the right one", o: nvidia.Options{RIM: nvidia.RIMVintage}, policy: "beside", want: 3},
		{name: "altered manifest beside the right one", o: nvidia.Options{RIM: nvidia.RIMAltered}, policy: "beside", want: 3},
		{name: "revoked signer beside a good one", o: nvidia.Options{RIM: nvidia.RIMExpired}, policy: "beside", want: 3},
		{name: "altered manifest, operator knows", o: nvidia.Options{RIM: nvidia.RIMAltered},
			operator: func(f *fake) []refvalues.Entry { return []refvalues.Entry{said(f, "GH100", all)} }, want: 3},
		{name: "other firmware", device: func(f *fake) { f.Blocks[2].Value[0] ^= 1 }, want: 96, code: "measurement-mismatch", words: "measurement 2 ("},
		{name: "other firmware, operator knows it by chip alone", device: func(f *fake) { f.Blocks[2].Value[0] ^= 1 },
			operator: func(f *fake) []refvalues.Entry { return []refvalues.Entry{said(f, "GH100", all)} }, want: 96, code: "measurement-mismatch"},
		{name: "other index 9 and another", device: func(f *fake) { f.Blocks[2].Value[0] ^= 1 }, o: nvidia.Options{RIM: nvidia.RIMVintage}, want: 96, code: "measurement-mismatch", words: "measurement 2 ("},
		{name: "tolerated in both", policy: "tolerated_mismatches: [2, 30]", device: func(f *fake) { f.Blocks[2].Value[0] ^= 1 }, want: 32, code: "measurement-mismatch"},
		{name: "tolerated of the operator", without: ".xml", policy: "tolerated_mismatches: [2, 30]",
			operator: func(f *fake) []refvalues.Entry { return []refvalues.Entry{said(f, "GH100", all, 2, 30)} }, want: 32, code: "measurement-mismatch"},
		{name: "one more than tolerated of the operator", without: ".xml", policy: "tolerated_mismatches: [2, 30]",
			operator: func(f *fake) []refvalues.Entry { return []refvalues.Entry{said(f, "GH100", all, 2, 3, 30)} }, want: 96, code: "measurement-mismatch"},
		{name: "missing is not tolerated", policy: "tolerated_mismatches: [12]", device: func(f *fake) {
			f.Blocks = slices.DeleteFunc(f.Blocks, func(b nvidiatest.Block) bool { return b.Index == 13 })
		}, want: 96, code: "measurement-mismatch", words: "missing"},
		{name: "engine off", device: func(f *fake) { f.with(opaqueNVDEC0, []byte{0x55}); f.Blocks[35].Value = bytes.Repeat([]byte{9}, 48) }, want: 3},
		{name: "engine on", device: func(f *fake) { f.with(opaqueNVDEC0, []byte{0xAA}); f.Blocks[35].Value = bytes.Repeat([]byte{9}, 48) }, want: 96, code: "measurement-mismatch", words: "measurement 35"},
		{name: "engine in no known state", device: func(f *fake) { f.with(opaqueNVDEC0, []byte{1}) }, want: 96, code: "measurement-mismatch", words: "its engine is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := simulate(t, c.o)
			if c.without != "" {
				m.without(c.without)
			}
			if c.policy == "beside" {
				c.policy = ""
				honest := simulate(t, nvidia.Options{})
				for name, raw := range honest.files {
					if _, there := m.files[name]; there && strings.HasSuffix(name, ".xml") {
						m.files["a/"+name] = raw
					} else {
						m.files[name] = raw
					}
				}
			}
			f := hybrid(t, m)
			if c.device != nil && c.operator == nil {
				c.device(f)
			}
			in := m.input(simulatedAt)
			if c.operator != nil {
				if c.device != nil {
					c.device(f)
				}
				in.References = indexAt(t, simulatedAt, c.operator(f)...)
			}
			in.Evidence, in.Nonce = f.Leaf(), f.Nonce
			policy := strings.TrimSuffix("hopper_memory_encrypted: true, revocation: optional, "+c.policy, ", ")
			a, err := m.trusting("parameters: {"+policy+"}\n", f).Appraise(t.Context(), in)
			if err != nil || a.Vector[verdict.Executables] != c.want || (a.Status() == verdict.TierAffirming) != (c.want == 3) {
				t.Fatalf("%s %v %v", vectorOf(a), a.Reasons, err)
			}
			if c.code != "" && !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == c.code && strings.Contains(r.Detail, c.words) }) {
				t.Errorf("no reason %s with %q: %v", c.code, c.words, a.Reasons)
			}
			want := map[verdict.Claim]any{3: "success", 33: "not-run"}[c.want]
			if want == nil {
				want = "fail"
			}
			if a.Claims["measres"] != want || (a.Claims["secboot"] == true) != (c.want == 3) || (a.Claims["dbgstat"] != nil) != (c.want == 3) {
				t.Errorf("measres %v, secboot %v, dbgstat %v", a.Claims["measres"], a.Claims["secboot"], a.Claims["dbgstat"])
			}
			if (a.Claims["not-compared"] != nil) != (c.name == "engine off") {
				t.Errorf("not compared: %v", a.Claims["not-compared"])
			}
		})
	}
}

// TestManifestOfAnotherBoard: a manifest of this VBIOS version that lay under the
// name of another board is not this device's unless it matches.
func TestManifestOfAnotherBoard(t *testing.T) {
	m := simulate(t, nvidia.Options{RIM: nvidia.RIMVintage})
	m.files["NV_GPU_VBIOS_G520_0205_862_9600A50001.xml"] = m.files[simulatedVBIOS+".xml"]
	delete(m.files, simulatedVBIOS+".xml")
	a := m.appraise("")
	if a.Vector[verdict.Executables] != 33 || !strings.Contains(fmt.Sprint(a.Reasons), "it lay under NV_GPU_VBIOS_G520_0205_862_9600A50001") {
		t.Errorf("%s %v", vectorOf(a), a.Reasons)
	}
	m = simulate(t, nvidia.Options{})
	m.files["NV_GPU_VBIOS_G520_0205_862_9600A50001.xml"] = m.files[simulatedVBIOS+".xml"]
	delete(m.files, simulatedVBIOS+".xml")
	if a = m.appraise(""); a.Vector[verdict.Executables] != 3 {
		t.Errorf("%s %v", vectorOf(a), a.Reasons)
	}
}

// TestMismatchIsExplained: index, name, expected and seen value, manifest with
// digest, identifier and the date of its signer.
func TestMismatchIsExplained(t *testing.T) {
	m := simulate(t, nvidia.Options{RIM: nvidia.RIMVintage})
	a := m.appraise("")
	text := fmt.Sprint(a.Reasons)
	for _, want := range []string{"measurement 9 (", "expected ", "96.00.A5.00.01", "SHA-256 ", "signer of 2026-01-01", "which lay under " + simulatedVBIOS, "with digest "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	records := a.Claims["x-nvidia-mismatch-measurement-records"].([]any)
	r := records[0].(map[string]any)
	if len(records) != 1 || r["index"] != 9 || r["goldenSize"] != 48 || r["runtimeSize"] != 48 || r["measurementSource"] != "Firmware" || r["goldenValue"] == r["runtimeValue"] {
		t.Errorf("%v", records)
	}
}

// corim adds values to the collateral, signed as NVIDIA's manifests are.
func (m *machine) corim(file string, entries ...refvalues.Entry) {
	m.tb.Helper()
	raw, err := refvalues.Unsigned(refvalues.Document{ID: file, TagID: file, Profile: refvalues.Profile, Entries: entries})
	if err != nil {
		m.tb.Fatal(err)
	}
	s, err := m.gpu.RIMSigner()
	if err != nil {
		m.tb.Fatal(err)
	}
	if m.files[file+".corim"], err = corim.Sign(rand.Reader, raw, corim.Signer{Key: s.Key, Chain: s.Chain(), Name: "NVIDIA"}); err != nil {
		m.tb.Fatal(err)
	}
}

// TestCoRIMManifests: NVIDIA's manifests as CoRIMs, beside those in XML.
func TestCoRIMManifests(t *testing.T) {
	early, late := append(span(0, 6), span(8, 12)...), append([]int{7}, span(13, 63)...)
	for _, c := range []struct {
		name    string
		o       nvidia.Options
		without string
		change  func(m *machine, f *fake)
		want    verdict.Claim
		codes   string
	}{
		{name: "both", without: ".xml", change: func(m *machine, f *fake) {
			m.corim("a", said(f, simulatedDriver, late), said(f, simulatedVBIOS, early))
		}, want: 3},
		{name: "two documents", without: ".xml", change: func(m *machine, f *fake) {
			m.corim("a", said(f, simulatedDriver, late))
			m.corim("b", said(f, simulatedVBIOS, early))
		}, want: 3},
		{name: "driver as CoRIM, VBIOS in XML", without: simulatedDriver, change: func(m *machine, f *fake) { m.corim("a", said(f, simulatedDriver, late)) }, want: 33, codes: "no-reference-values"},
		{name: "XML of another age", o: nvidia.Options{RIM: nvidia.RIMVintage}, change: func(m *machine, f *fake) {
			m.corim("a", said(f, simulatedDriver, late), said(f, simulatedVBIOS, early))
		}, want: 3},
		{name: "CoRIM of another age", change: func(m *machine, f *fake) {
			m.corim("a", said(f, simulatedDriver, late), said(f, simulatedVBIOS, early, 9))
		}, want: 3},
		{name: "only a CoRIM of another age", without: ".xml", change: func(m *machine, f *fake) {
			m.corim("a", said(f, simulatedDriver, late), said(f, simulatedVBIOS, early, 9))
		}, want: 96, codes: "measurement-mismatch"},
		{name: "an index in both", without: ".xml", change: func(m *machine, f *fake) {
			m.corim("a", said(f, simulatedDriver, append(late, 5)), said(f, simulatedVBIOS, early))
		}, want: 96, codes: "reference-values-conflict"},
		{name: "an index in both, beside XML", change: func(m *machine, f *fake) {
			m.corim("a", said(f, simulatedDriver, append(late, 5)), said(f, simulatedVBIOS, early))
		}, want: 96, codes: "reference-values-conflict"},
		{name: "of another vendor", without: ".xml", change: func(m *machine, f *fake) {
			e := said(f, "GH100", span(0, 63))
			e.Environment.Vendor = "ACME"
			m.corim("a", e)
		}, want: 33, codes: "no-reference-values"},
		{name: "signer on hold", without: ".xml", change: func(m *machine, f *fake) {
			m.corim("a", said(f, "GH100", span(0, 63)))
			m.signer(1, nvidia.OCSPHold)
		}, want: 96, codes: "revoked"},
		{name: "signer revoked, XML of the same", change: func(m *machine, f *fake) {
			m.corim("a", said(f, "GH100", span(0, 63)))
			m.signer(0, nvidia.OCSPRevoked)
		}, want: 96, codes: "revoked"},
		{name: "signer unknown", without: ".xml", change: func(m *machine, f *fake) {
			m.corim("a", said(f, "GH100", span(0, 63)))
			m.signer(1, nvidia.OCSPUnknown)
		}, want: 32, codes: "revocation-unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := simulate(t, c.o)
			if c.without != "" {
				m.without(c.without)
			}
			f := hybrid(t, m)
			c.change(m, f)
			in := m.input(simulatedAt)
			in.Evidence, in.Nonce = f.Leaf(), f.Nonce
			a, err := m.trusting("parameters: {hopper_memory_encrypted: true, revocation: optional}\n", f).Appraise(t.Context(), in)
			if err != nil || a.Vector[verdict.Executables] != c.want || (a.Status() == verdict.TierAffirming) != (c.want == 3) || c.codes != "" && !slices.Contains(codes(a), c.codes) {
				t.Errorf("%s %v %v", vectorOf(a), a.Reasons, err)
			}
		})
	}
}

// A CA of NVIDIA's, or who may only answer for it, signs no manifests.
func TestCoRIMSigners(t *testing.T) {
	for _, c := range []struct {
		name  string
		usage x509.KeyUsage
		ext   []x509.ExtKeyUsage
		ca    bool
		more  []pkix.Extension
		want  verdict.Claim
	}{
		{"signer", x509.KeyUsageDigitalSignature, nil, false, nil, 32}, // of unknown status
		{"responder", x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, false, nil, 33},
		{"CA", x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, nil, true, nil, 33},
		{"for something else", x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement, nil, false, nil, 33},
		{"device", x509.KeyUsageDigitalSignature, nil, false, []pkix.Extension{{Id: []int{2, 23, 133, 5, 4, 1}, Value: []byte{0x30, 0}}}, 33},
	} {
		m := simulate(t, nvidia.Options{}).without(".xml")
		f := hybrid(t, m)
		f.Build()
		key := f.Key(elliptic.P384())
		leaf := f.Issue(&x509.Certificate{
			Subject: pkix.Name{CommonName: "NVIDIA " + c.name}, SerialNumber: big.NewInt(77), NotBefore: simulatedAt.AddDate(0, -1, 0), NotAfter: simulatedAt.AddDate(0, 1, 0),
			KeyUsage: c.usage, ExtKeyUsage: c.ext, IsCA: c.ca, BasicConstraintsValid: true, ExtraExtensions: c.more,
		}, f.Certs[3], &key.PublicKey, f.Keys[3])
		raw, err := refvalues.Unsigned(refvalues.Document{ID: "a", TagID: "a", Profile: refvalues.Profile, Entries: []refvalues.Entry{said(f, "GH100", span(0, 63))}})
		if err != nil {
			t.Fatal(err)
		}
		if m.files["a.corim"], err = corim.Sign(rand.Reader, raw, corim.Signer{Key: key, Chain: []*x509.Certificate{leaf, f.Certs[3]}, Name: "NVIDIA"}); err != nil {
			t.Fatal(err)
		}
		in := m.input(simulatedAt)
		in.Evidence, in.Nonce = f.Leaf(), f.Nonce
		if a, err := m.trusting("", f).Appraise(t.Context(), in); err != nil || a.Vector[verdict.Executables] != c.want {
			t.Errorf("%s: %s %v %v", c.name, vectorOf(a), a.Reasons, err)
		}
	}
}

// TestFSPManifests: NVIDIA's CoRIMs for an FSP.
func TestFSPManifests(t *testing.T) {
	fsp := func(f nvidia.RIMFault) nvidia.Options {
		return nvidia.Options{Arch: nvidia.Blackwell, FSP: true, RIM: f}
	}
	for _, c := range []struct {
		name string
		o    nvidia.Options
		want verdict.Claim
		code string
	}{
		{"good", fsp(nvidia.RIMHonest), 3, "configuration"},
		{"missing", fsp(nvidia.RIMMissing), 33, "no-reference-values"},
		{"wrong signer", fsp(nvidia.RIMWrongSigner), 96, "collateral-invalid"},
		{"altered", fsp(nvidia.RIMAltered), 96, "collateral-invalid"},
		{"expired", fsp(nvidia.RIMExpired), 33, "expired"},
		{"revoked", fsp(nvidia.RIMRevoked), 96, "revoked"},
		{"of another version", fsp(nvidia.RIMOtherVersion), 96, "measurement-mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := simulate(t, c.o).appraise("")
			if a.Vector[verdict.Executables] != c.want || !slices.Contains(codes(a), c.code) {
				t.Errorf("%s %v", vectorOf(a), a.Reasons)
			}
			if (a.Claims[gpuClaim+"vbios-rim-signature-verified"] == true) != (c.want == 3 || c.name == "of another version" || c.name == "revoked") || a.Claims[gpuClaim+"driver-rim-fetched"] != nil {
				t.Errorf("claims %v", a.Claims)
			}
		})
	}
	m := simulate(t, fsp(nvidia.RIMHonest))
	v := m.verifier("", m.bundle())
	for _, after := range []time.Duration{40 * 365 * 24 * time.Hour, 0, 40 * 365 * 24 * time.Hour, 0} {
		a, err := v.Appraise(t.Context(), m.input(simulatedAt.Add(after)))
		if err != nil || (a.Vector[verdict.Executables] == 3) != (after == 0) {
			t.Errorf("after %s: %s %v %v", after, vectorOf(a), a.Reasons, err)
		}
	}
}

// TestCoRIMStatusOfAnyChain: what else stands beside the signature of a manifest, and
// in which order, does not keep anybody from asking whether its signer is revoked.
func TestCoRIMStatusOfAnyChain(t *testing.T) {
	for _, c := range []struct {
		name   string
		chain  func(good []*x509.Certificate, other *x509.Certificate) []*x509.Certificate
		change func(m *machine)
		want   verdict.Claim
		code   string
	}{
		{"another at the end", func(good []*x509.Certificate, other *x509.Certificate) []*x509.Certificate {
			return append(good, other)
		}, func(*machine) {}, 3, ""},
		{"another at the end, no status", func(good []*x509.Certificate, other *x509.Certificate) []*x509.Certificate {
			return append(good, other)
		},
			func(m *machine) { m.signer(0, nvidia.OCSPUnknown) }, 32, "revocation-unknown"},
		{"another at the end, revoked", func(good []*x509.Certificate, other *x509.Certificate) []*x509.Certificate {
			return append(good, other)
		},
			func(m *machine) { m.signer(1, nvidia.OCSPRevoked) }, 96, "revoked"},
		{"another in between, revoked", func(good []*x509.Certificate, other *x509.Certificate) []*x509.Certificate {
			return slices.Insert(good, 1, other)
		}, func(m *machine) { m.signer(1, nvidia.OCSPRevoked) }, 96, "revoked"},
		{"another order", func(good []*x509.Certificate, _ *x509.Certificate) []*x509.Certificate {
			slices.Reverse(good[1:])
			return good
		}, func(m *machine) { m.signer(1, nvidia.OCSPRevoked) }, 96, "revoked"},
	} {
		m := simulate(t, nvidia.Options{}).without(".xml")
		f := hybrid(t, m)
		f.Build()
		s, err := m.gpu.RIMSigner()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := refvalues.Unsigned(refvalues.Document{ID: "a", TagID: "a", Profile: refvalues.Profile, Entries: []refvalues.Entry{said(f, "GH100", span(0, 63))}})
		if err != nil {
			t.Fatal(err)
		}
		chain := c.chain(slices.Clone(s.Chain()), f.Certs[3])
		if m.files["a.corim"], err = corim.Sign(rand.Reader, raw, corim.Signer{Key: s.Key, Chain: chain, Name: "NVIDIA"}); err != nil {
			t.Fatal(err)
		}
		c.change(m)
		in := m.input(simulatedAt)
		in.Evidence, in.Nonce = f.Leaf(), f.Nonce
		a, err := m.trusting("parameters: {hopper_memory_encrypted: true, revocation: optional}\n", f).Appraise(t.Context(), in)
		if err != nil || a.Vector[verdict.Executables] != c.want || c.code != "" && !slices.Contains(codes(a), c.code) {
			t.Errorf("%s: %s %v %v", c.name, vectorOf(a), a.Reasons, err)
		}
	}
}
