// SPDX-License-Identifier: Apache-2.0

package paravisor

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	vm "github.com/assize/assize/attester/azure"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/azure"
	"github.com/assize/assize/verifiers/internal/hcl"
	"github.com/assize/assize/verifiers/internal/measuredboot"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

var challenge = bytes.Repeat([]byte{0x5a}, 64)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func tpmOf(device string) *tcgtpm.Device {
	return must(tcgtpm.New(tcgtpm.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed(device), Now: now, Key: tcgtpm.RSA2048, Image: "azure"}))
}

// Two TPMs, whose keys are slow to derive, and a CPU.
var (
	own   = sync.OnceValue(func() *tcgtpm.Device { return tpmOf("own") })
	other = sync.OnceValue(func() *tcgtpm.Device { return tpmOf("other") })
	cpu   = sync.OnceValue(func() *amdsnp.Device {
		vendor := amdsnp.NewVendor(pki.NewSeed("paravisor"), now)
		return must(amdsnp.New(amdsnp.Options{Vendor: vendor, Device: pki.NewSeed("cpu"), Now: now, Product: amdsnp.Genoa, Image: "azure"}))
	})
)

// leaf is the evidence of a machine of CPU and TPM.
func leaf(o vm.Options) []byte {
	o.SNP, o.TPM = cpu(), own()
	return must(must(vm.New(o)).Evidence(challenge))
}

// machine is one that was opened, with the REPORT_DATA that commit to its runtime
// data.
func machine(tb testing.TB) (*Machine, []byte) {
	tb.Helper()
	m, f := Open(leaf(vm.Options{EventLog: true}), azure.TEESNP)
	if f != nil {
		tb.Fatal(f)
	}
	return m, dataOf(m.HCL)
}

func dataOf(r *hcl.Report) []byte {
	out := make([]byte, 64)
	h := r.Hash.New()
	h.Write(r.RuntimeData)
	h.Sum(out[:0])
	return out
}

func appraised() *verdict.Appraisal { return &verdict.Appraisal{Claims: map[string]any{}} }

func spki(d *tcgtpm.Device) string {
	sum := sha256.Sum256(must(x509.MarshalPKIXPublicKey(d.AKCertificate().PublicKey)))
	return hex.EncodeToString(sum[:])
}

func TestBind(t *testing.T) {
	m, data := machine(t)
	a := appraised()
	if f := m.Bind(a, data, challenge); f != nil {
		t.Fatal(f)
	}
	key := spki(own())
	if a.Freshness != verdict.FreshnessFresh || !bytes.Equal(a.NonceSeen, challenge) || a.Facts.ReportData != hex.EncodeToString(data) {
		t.Errorf("%s, nonce %x, report data %s", a.Freshness, a.NonceSeen, a.Facts.ReportData)
	}
	if want := []verdict.CommittedKey{{SPKI: key, Via: "runtime-data", Origin: verdict.OriginMeasured}}; !slices.Equal(a.Facts.Keys, want) {
		t.Errorf("keys %v", a.Facts.Keys)
	}
	// A TPM that answers for itself calls itself tpm-ak:<key>, and is no second machine.
	if want := []string{"paravisor-ak:" + key}; !slices.Equal(a.Facts.Device, want) {
		t.Errorf("device %v", a.Facts.Device)
	}
	for pcr, value := range own().PCRs() {
		if name := "pcr" + strconv.Itoa(pcr); a.Facts.Registers[name] != hex.EncodeToString(value) {
			t.Errorf("%s is %q", name, a.Facts.Registers[name])
		}
	}
	if said := a.Claims["paravisor"].(map[string]any); said["ak_spki_sha256"] != key || said["secure_boot"] != true || said["user_data"] == nil {
		t.Errorf("claims %v", said)
	}
	if len(a.Reasons) != 0 || a.Vector != (verdict.Vector{}) {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}

// runtimeWith is the document of the own TPM with its members changed.
func runtimeWith(change func(map[string]any)) []byte {
	var m map[string]any
	if err := json.Unmarshal(own().RuntimeData(), &m); err != nil {
		panic(err)
	}
	change(m)
	return must(json.Marshal(m))
}

// TestBindRefuses has a case for each arrow between CPU and challenge: each is
// accepted as soon as its rule is taken out.
func TestBindRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *Machine, data *[]byte)
		code   string
		words  string
	}{
		{"runtime data of another machine", func(m *Machine, _ *[]byte) {
			foreign(m)
		}, verdict.ReasonBindingBroken, "no SHA-256 of the paravisor's runtime data"},
		{"report data with a tail", func(_ *Machine, data *[]byte) { (*data)[63] = 1 }, verdict.ReasonBindingBroken, "zeros"},
		{"report data of the hash alone", func(_ *Machine, data *[]byte) { *data = (*data)[:31] }, verdict.ReasonBindingBroken, ""},
		{"no report data", func(_ *Machine, data *[]byte) { *data = nil }, verdict.ReasonBindingBroken, ""},
		{"zero report data", func(_ *Machine, data *[]byte) { *data = make([]byte, 64) }, verdict.ReasonBindingBroken, ""},
		{"hash of another size", func(m *Machine, _ *[]byte) { m.HCL.Hash = crypto.SHA384 }, verdict.ReasonBindingBroken, "SHA-384"},
		{"no hash", func(m *Machine, _ *[]byte) { m.HCL.Hash = 0 }, verdict.ReasonBindingBroken, ""},
		{"runtime data that are no document", rewrite([]byte("{}")), verdict.ReasonMalformed, "keys"},
		{"two keys of one id", rewrite(runtimeWith(func(m map[string]any) {
			keys := m["keys"].([]any)
			m["keys"] = append(keys, keys[0])
		})), verdict.ReasonMalformed, "a second key"},
		{"no attestation key", rewrite(runtimeWith(func(m map[string]any) { m["keys"] = m["keys"].([]any)[1:] })), verdict.ReasonMalformed, "no key HCLAkPub"},
		{"the endorsement key as attestation key", rewrite(runtimeWith(func(m map[string]any) {
			key := m["keys"].([]any)[1].(map[string]any)
			key["kid"] = "HCLAkPub"
			m["keys"] = []any{key}
		})), verdict.ReasonSignatureInvalid, "attestation key"},
		{"quote of another TPM", func(m *Machine, _ *[]byte) { m.Message, m.Signature = must2(other().Quote(challenge)) }, verdict.ReasonSignatureInvalid, "does not verify"},
		{"message changed", func(m *Machine, _ *[]byte) { m.Message[len(m.Message)-1] ^= 1 }, verdict.ReasonSignatureInvalid, "does not verify"},
		{"signature changed", func(m *Machine, _ *[]byte) { m.Signature[0] ^= 1 }, verdict.ReasonSignatureInvalid, "does not verify"},
		{"no signature", func(m *Machine, _ *[]byte) { m.Signature = nil }, verdict.ReasonSignatureInvalid, "does not verify"},
		{"register changed", func(m *Machine, _ *[]byte) { m.PCRs[4][0] ^= 1 }, verdict.ReasonSignatureInvalid, "registers hash to"},
		{"registers changed over", func(m *Machine, _ *[]byte) { m.PCRs[4], m.PCRs[9] = m.PCRs[9], m.PCRs[4] }, verdict.ReasonSignatureInvalid, "registers hash to"},
		{"register cut off", func(m *Machine, _ *[]byte) { m.PCRs[4] = m.PCRs[4][:31] }, verdict.ReasonMalformed, "PCR 4 has 31 bytes"},
		{"register empty", func(m *Machine, _ *[]byte) { m.PCRs[4] = nil }, verdict.ReasonMalformed, "PCR 4 has 0 bytes"},
		{"a quote of some registers", func(m *Machine, _ *[]byte) {
			few := must(tcgtpm.New(tcgtpm.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("own"), Now: now, Key: tcgtpm.RSA2048, Image: "azure", PCRs: []int{0, 2, 4}}))
			m.Message, m.Signature = must2(few.Quote(challenge))
		}, verdict.ReasonSignatureInvalid, "24 registers are presented, 3 are quoted"},
		{"no quote at all", func(m *Machine, _ *[]byte) { m.Message = []byte("TPMS_ATTEST") }, verdict.ReasonMalformed, "magic"},
	} {
		m, data := machine(t)
		c.change(m, &data)
		a := appraised()
		f := m.Bind(a, data, challenge)
		if f == nil || f.Code != c.code || !strings.Contains(f.Detail, c.words) {
			t.Errorf("%s: %v, want %s … %s", c.name, f, c.code, c.words)
		}
		if len(a.Facts.Keys) != 0 || len(a.Facts.Device) != 0 || a.Freshness == verdict.FreshnessFresh || a.NonceSeen != nil || len(a.Claims) != 0 {
			t.Errorf("%s: refused, and left %+v", c.name, a)
		}
	}
}

// foreign replaces everything but the CPU's report by that of another machine.
func foreign(m *Machine) {
	m.HCL.RuntimeData = other().RuntimeData()
	m.Message, m.Signature = must2(other().Quote(challenge))
	for i, v := range other().PCRs() {
		m.PCRs[i] = v
	}
}

// rewrite puts other runtime data in, to which the CPU's report commits.
func rewrite(raw []byte) func(*Machine, *[]byte) {
	return func(m *Machine, data *[]byte) {
		m.HCL.RuntimeData = raw
		*data = dataOf(m.HCL)
	}
}

// must2 is a quote and its bare signature.
func must2(message, signature []byte, err error) ([]byte, []byte) {
	if err != nil {
		panic(err)
	}
	return message, signature[6:]
}

// TestFreshness compares the whole of extraData.
func TestFreshness(t *testing.T) {
	for _, c := range []struct {
		name  string
		nonce []byte
		want  verdict.Freshness
		code  string
	}{
		{"the challenge", challenge, verdict.FreshnessFresh, ""},
		{"another one", bytes.Repeat([]byte{0x5b}, 64), verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		{"its beginning", challenge[:32], verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		{"one byte more", append(slices.Clone(challenge), 0), verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		{"none", nil, verdict.FreshnessNotEstablished, verdict.ReasonNonceNotEstablished},
		{"an empty one", []byte{}, verdict.FreshnessNotEstablished, verdict.ReasonNonceNotEstablished},
	} {
		m, data := machine(t)
		a := appraised()
		if f := m.Bind(a, data, c.nonce); f != nil {
			t.Fatal(f)
		}
		if a.Freshness != c.want || !bytes.Equal(a.NonceSeen, challenge) || (c.code == "") != (len(a.Reasons) == 0) || c.code != "" && a.Reasons[0].Code != c.code {
			t.Errorf("%s: %s %v", c.name, a.Freshness, a.Reasons)
		}
	}
	// A quote without a challenge answers none.
	m, data := machine(t)
	m.Message, m.Signature = must2(own().Quote(nil))
	for _, nonce := range [][]byte{nil, {}, challenge} {
		a := appraised()
		if f := m.Bind(a, data, nonce); f != nil || a.Freshness == verdict.FreshnessFresh {
			t.Errorf("a quote without challenge, %d bytes expected: %v %s", len(nonce), f, a.Freshness)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	raw := leaf(vm.Options{})
	edit := func(at int, b byte) []byte {
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		report := must(vm.New(vm.Options{SNP: cpu(), TPM: own()})).Report()
		report[at] = b
		m["hcl_report"] = base64.RawURLEncoding.EncodeToString(report)
		return must(json.Marshal(m))
	}
	for _, c := range []struct {
		name, tee string
		raw       []byte
	}{
		{"not a leaf", azure.TEESNP, []byte("{}")},
		{"not the paravisor's report", azure.TEESNP, edit(0, 'h')},
		{"report of a trust domain", azure.TEESNP, edit(1224, 4)},
		{"hash type 0", azure.TEESNP, edit(1228, 0)},
		{"hash type 4", azure.TEESNP, edit(1228, 4)},
		{"leaf with a TD quote and an SNP report", azure.TEESNP, func() []byte {
			var m map[string]any
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			delete(m, "vcek")
			m["td_quote"] = "AAAA"
			return must(json.Marshal(m))
		}()},
		{"leaf of the other TEE", azure.TEETDX, raw},
		{"no TEE", "", raw},
	} {
		if m, f := Open(c.raw, c.tee); f == nil || f.Code != verdict.ReasonMalformed {
			t.Errorf("%s: %v %v", c.name, m, f)
		}
	}
	if _, f := Open(raw, azure.TEESNP); f != nil {
		t.Error(f)
	}
}

// judge has the rows of measured boot and nothing else.
func judge(tb testing.TB) measuredboot.Judge {
	tb.Helper()
	d := appraisal.Defaults{Scheme: "test", Findings: measuredboot.Findings("vtpm-"), Parameters: measuredboot.Defaults()}
	return measuredboot.Judge{Policy: must(d.Policy()), Prefix: "vtpm-", Parameters: measuredboot.Defaults()}
}

func references(tb testing.TB) *corim.Index {
	tb.Helper()
	return must(must(refvalues.NewAuthor("author", now)).Index(now, refvalues.Document{
		ID: "guest", TagID: "guest", Profile: refvalues.Profile, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0),
		Entries: []refvalues.Entry{must(refvalues.TPM(own().Measurements()))},
	}))
}

// TestGuest: the guest is known by registers, and not secure by the word of the
// paravisor where that says it is not.
func TestGuest(t *testing.T) {
	for _, c := range []struct {
		name          string
		off           bool
		index         *corim.Index
		executables   verdict.Claim
		configuration verdict.Claim
	}{
		{"known", false, references(t), verdict.ClaimApprovedBoot, verdict.ClaimApproved},
		{"no reference values", false, nil, verdict.ClaimUnrecognized, verdict.ClaimNoVisibility},
		{"Secure Boot off by the paravisor", true, references(t), verdict.ClaimApprovedBoot, verdict.ClaimUnsafe},
	} {
		m, data := machine(t)
		if c.off {
			rewrite(runtimeWith(func(m map[string]any) { m["vm-configuration"].(map[string]any)["secure-boot"] = false }))(m, &data)
		}
		a := appraised()
		if f := m.Bind(a, data, challenge); f != nil {
			t.Fatal(f)
		}
		m.Guest(a, judge(t), verifiers.Input{References: c.index, Time: now})
		if a.Vector[verdict.Executables] != c.executables || a.Vector[verdict.Configuration] != c.configuration || len(a.Facts.Measured) == 0 {
			t.Errorf("%s: %v %v", c.name, a.Vector, a.Reasons)
		}
		rest := maps.Collect(func(yield func(verdict.ClaimName, verdict.Claim) bool) {
			for i, v := range a.Vector {
				if n := verdict.ClaimName(i); v != 0 && n != verdict.Executables && n != verdict.Configuration && !yield(n, v) {
					return
				}
			}
		})
		if len(rest) != 0 {
			t.Errorf("%s: a TPM says nothing of %v", c.name, rest)
		}
		if (c.index != nil) != (a.Claims["guest_reference_values"] != nil) {
			t.Errorf("%s: claims %v", c.name, a.Claims)
		}
	}
}

// FuzzBind: no leaf panics, and none is bound to report data that are not the hash
// of its runtime data.
func FuzzBind(f *testing.F) {
	f.Add(leaf(vm.Options{}))
	f.Add(leaf(vm.Options{EventLog: true, Hash: crypto.SHA512}))
	f.Add(leaf(vm.Options{Quoting: other()}))
	j := judge(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, fail := Open(raw, azure.TEESNP)
		if fail != nil {
			return
		}
		if fail := m.Bind(appraised(), make([]byte, 64), challenge); fail == nil {
			t.Fatal("bound to zeros")
		}
		a := appraised()
		if m.Bind(a, dataOf(m.HCL), challenge) != nil {
			return
		}
		m.Guest(a, j, verifiers.Input{Time: now})
		if a.Vector.Status() == verdict.TierAffirming || a.Facts.Keys[0].SPKI != spki(own()) && a.Facts.Keys[0].SPKI != spki(other()) {
			t.Fatalf("%v %v", a.Vector, a.Facts.Keys)
		}
	})
}
