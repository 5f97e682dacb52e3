// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

func TestAffirming(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	a := appraise(t, verifierOf(t, s, "nvidia-gpu", "HOPPER", nil), input(gpu(t, nil)))
	want := verdict.Vector{}
	want[verdict.Hardware], want[verdict.Configuration], want[verdict.Executables] = verdict.ClaimApproved, verdict.ClaimApprovedBoot, verdict.ClaimApprovedBoot
	if a.Status() != verdict.TierAffirming || a.Vector != want || a.Freshness != verdict.FreshnessFresh || len(a.Reasons) != 0 || !bytes.Equal(a.NonceSeen, nonce) {
		t.Fatalf("%+v", a)
	}
	if !reflect.DeepEqual(a.Facts, verdict.Facts{Device: []string{"nvidia-ueid:1000"}, ReportData: hex.EncodeToString(nonce)}) {
		t.Errorf("facts %+v", a.Facts)
	}
	backend, _ := a.Claims["backend"].(map[string]any)
	if backend["name"] != Name || backend["issuer"] != s.Issuer || backend["kid"] != "kid-0" || backend["overall-result"] != true || a.PolicyID != "nvidia-gpu-nras" {
		t.Errorf("%v under %s", backend, a.PolicyID)
	}
	if a.Claims["measres"] != "success" || a.Claims["ueid"] != "1000" || a.Claims["iss"] != nil || a.Claims["exp"] != nil {
		t.Errorf("claims %v", a.Claims)
	}
}

// What the service is asked: exactly the report and the chain of the evidence.
func TestRequest(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	var body []byte
	s.Answer = func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		http.Error(w, "no", http.StatusTeapot)
	}
	leaf := gpu(t, nil)
	v := verifierOf(t, s, "nvidia-gpu", "HOPPER", nil)
	if _, err := v.Appraise(t.Context(), input(leaf)); !errors.Is(err, ErrUnavailable) || !errors.Is(err, verifiers.ErrMalfunction) {
		t.Fatal(err)
	}
	var sent map[string]any
	var collected []map[string]string
	if json.Unmarshal(body, &sent) != nil || json.Unmarshal(leaf, &collected) != nil {
		t.Fatalf("%s", body)
	}
	want := map[string]any{
		"nonce": hex.EncodeToString(nonce), "arch": "HOPPER", "claims_version": "3.0",
		"evidence_list": []any{map[string]any{"evidence": collected[0]["evidence"], "certificate": collected[0]["certificate"]}},
	}
	if !reflect.DeepEqual(sent, want) || s.Asked()[0].URL.Path != "/v3/attest/gpu" {
		t.Errorf("%s %s", s.Asked()[0].URL.Path, body)
	}
}

// Recorded claims about recorded devices, signed again.
func TestRecorded(t *testing.T) {
	for _, c := range []struct{ scheme, arch, report, chain, claims, name, ueid string }{
		{
			"nvidia-gpu", "HOPPER", "nvidia/nvtrust/samples/hopperAttestationReport.txt", "nvidia/nvtrust/samples/hopperCertChain.txt",
			"hopperClaimsv3_decoded.json", "GPU-0", "478176379286082186618948445787393647364802107249",
		},
		{
			"nvidia-nvswitch", "LS10", "nvidia/attestation-sdk/testdata/switchAttestationReport.txt", "nvidia/attestation-sdk/testdata/switchCertChain.txt",
			"switch_decoded.json", "SWITCH-0", "694931143880983876767046803400974855445978836716",
		},
	} {
		leaf, asked := recorded(t, c.arch, c.report, c.chain)
		s := nrastest.New(t, rand.Reader, clock)
		s.Device = recordedClaims(t, c.claims, c.name)
		said := s.Device["ueid"]
		s.Edit = func(_, device nrastest.Claims) { device["ueid"] = said }
		v := verifierOf(t, s, c.scheme, c.arch, nil)
		in := verifiers.Input{MediaType: containerType, Evidence: leaf, Nonce: asked, Time: at}
		a := appraise(t, v, in)
		if a.Vector[verdict.Hardware] != verdict.ClaimApproved || a.Vector[verdict.Executables] != verdict.ClaimApprovedBoot || a.Freshness != verdict.FreshnessFresh {
			t.Errorf("%s: %v %s %v", c.scheme, a.Vector, a.Freshness, a.Reasons)
		}
		if f := a.Facts; len(f.Device) != 2 || f.Device[0] != "nvidia-ueid:"+c.ueid || !strings.HasPrefix(f.Device[1], "nvidia-pdi:") || len(f.SignerSPKI) != 64 {
			t.Errorf("%s: %v %v", c.scheme, a.Facts, a.Claims["backend"])
		}
		// The mode is what the report says: driver 550.90.07 does not, the switch is locked.
		if got := a.Vector[verdict.Configuration]; c.arch == "HOPPER" && got != verdict.ClaimNoVisibility || c.arch == "LS10" && got != verdict.ClaimApprovedBoot {
			t.Errorf("%s: configuration %d: %v", c.scheme, got, a.Reasons)
		}
	}
}

// Recorded replies of the real service: form and digest are right, and without
// its keys of that day nothing in them is believed.
func TestRecordedReplies(t *testing.T) {
	for _, c := range []struct{ file, name string }{{"hopperClaimsv3_detached_eat.json", "GPU-0"}, {"switch_detached_eat.json", "SWITCH-0"}} {
		raw := vectors.Read(t, recordedFolder+c.file)
		b, err := readBundle(raw, c.name)
		if err != nil {
			t.Fatal(err)
		}
		claims := func(token string) (m map[string]any) {
			payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
			if err != nil || json.Unmarshal(payload, &m) != nil {
				t.Fatal(err)
			}
			return m
		}
		if err := b.digest(claims(b.overall)["submods"], c.name); err != nil {
			t.Errorf("%s: %v", c.file, err)
		}
		s := nrastest.New(t, rand.Reader, clock)
		keys, err := ParseKeys(s.KeySet())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.verify(finder(keys), expected{issuer: "https://nras.attestation.nvidia.com", name: c.name, nonce: nonce, time: at}); !errors.Is(err, ErrReply) || !strings.Contains(err.Error(), "unknown signing key") {
			t.Errorf("%s: %v", c.file, err)
		}
		// Nor under a key of another with the right id.
		k := s.Key("")
		if k.KID = headerKID(t, b.overall); k.KID == "" {
			t.Fatal("no kid")
		}
		s.Published = []nrastest.Key{k}
		if keys, err = ParseKeys(s.KeySet()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.verify(finder(keys), expected{}); !errors.Is(err, ErrReply) || !strings.Contains(err.Error(), "signature") {
			t.Errorf("%s: %v", c.file, err)
		}
	}
}

func headerKID(t *testing.T, token string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	var h struct{ Kid string }
	if err != nil || json.Unmarshal(raw, &h) != nil {
		t.Fatal(err)
	}
	return h.Kid
}

// A reply about another device says nothing about this one.
func TestOtherDevice(t *testing.T) {
	leaf := gpu(t, nil)
	for name, edit := range map[string]func(overall, device nrastest.Claims){
		"ueid":        func(_, d nrastest.Claims) { d["ueid"] = "1001" },
		"no ueid":     func(_, d nrastest.Claims) { delete(d, "ueid") },
		"ueid null":   func(_, d nrastest.Claims) { d["ueid"] = nil },
		"ueid number": func(_, d nrastest.Claims) { d["ueid"] = 1000 },
		"model":       func(_, d nrastest.Claims) { d["hwmodel"] = "GB100 A01 GSP BROM" },
		"model null":  func(_, d nrastest.Claims) { d["hwmodel"] = nil },
		"refused ueid": func(_, d nrastest.Claims) {
			d["ueid"], d["x-nvidia-error-details"] = "1001", nrastest.Claims{"code": 4013}
		},
	} {
		s := nrastest.New(t, rand.Reader, clock)
		s.Edit = edit
		a, err := verifierOf(t, s, "nvidia-gpu", "HOPPER", nil).Appraise(t.Context(), input(leaf))
		if !errors.Is(err, ErrReply) || !errors.Is(err, verifiers.ErrMalfunction) {
			t.Errorf("%s: %v, %v", name, a.Vector, err)
		}
	}
}

// Evidence that is no good is not sent, and the result says why.
func TestNotSent(t *testing.T) {
	good := gpu(t, nil)
	flip := func(leaf []byte) []byte {
		var m []map[string]string
		if err := json.Unmarshal(leaf, &m); err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(m[0]["evidence"])
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)-150] ^= 1 // in the responder's nonce
		m[0]["evidence"] = base64.StdEncoding.EncodeToString(raw)
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, c := range []struct {
		name string
		in   verifiers.Input
		code string
	}{
		{"not JSON", input([]byte("x")), verdict.ReasonMalformed},
		{"two devices", input(append(append(bytes.TrimSuffix(bytes.Clone(good), []byte("]")), ','), good[1:]...)), verdict.ReasonMalformed},
		{"too large", input(append(bytes.Clone(good), bytes.Repeat([]byte(" "), 64<<10)...)), verdict.ReasonTooLarge},
		{"flipped", input(flip(good)), verdict.ReasonSignatureInvalid},
		{"another arch", input(gpu(t, func(d *nvidiatest.Device) { d.Arch = "LS10" })), verdict.ReasonUnsupported},
		{"copied nonce", input(gpu(t, func(d *nvidiatest.Device) { d.Members = map[string]any{"nonce": strings.Repeat("08", 32)} })), verdict.ReasonNonceMismatch},
		{"no chain", input(gpu(t, func(d *nvidiatest.Device) { d.Members = map[string]any{"certificate": ""} })), verdict.ReasonMalformed},
		{"another nonce", verifiers.Input{Evidence: good, Nonce: bytes.Repeat([]byte{8}, 32), Time: at}, verdict.ReasonNonceMismatch},
		{"31 bytes", verifiers.Input{Evidence: good, Nonce: nonce[:31], Time: at}, verdict.ReasonNonceMismatch},
		{"33 bytes", verifiers.Input{Evidence: good, Nonce: append(bytes.Clone(nonce), 7), Time: at}, verdict.ReasonNonceMismatch},
	} {
		s := nrastest.New(t, rand.Reader, clock)
		a := appraise(t, verifierOf(t, s, "nvidia-gpu", "HOPPER", nil), c.in)
		if a.Status() != verdict.TierContraindicated || !has(a, c.code) || len(s.Asked()) != 0 || !reflect.DeepEqual(a.Facts, verdict.Facts{}) || a.NonceSeen != nil {
			t.Errorf("%s: %s %v, %d requests", c.name, a.Status(), a.Reasons, len(s.Asked()))
		}
	}
}

func TestNoChallenge(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	in := input(gpu(t, nil))
	in.Nonce = nil
	a := appraise(t, verifierOf(t, s, "nvidia-gpu", "HOPPER", nil), in)
	if a.Status() != verdict.TierWarning || a.Freshness != verdict.FreshnessNotEstablished || !has(a, verdict.ReasonNonceNotEstablished) {
		t.Errorf("%s %s %v", a.Status(), a.Freshness, a.Reasons)
	}
}

func TestNoVerdict(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	v := verifierOf(t, s, "nvidia-gpu", "HOPPER", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Appraise(ctx, input(gpu(t, nil))); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	in := input(gpu(t, nil))
	in.Time = at.AddDate(0, 0, -1) // of recorded evidence, say: the service judges as of now
	if _, err := v.Appraise(t.Context(), in); !errors.Is(err, ErrReply) {
		t.Error(err)
	}
	in.Time = in.Time.AddDate(-5000, 0, 0)
	if in.Time = in.Time.Truncate(0); in.Time.IsZero() {
		t.Fatal("zero")
	}
	if _, err := v.Appraise(t.Context(), verifiers.Input{Evidence: in.Evidence}); !errors.Is(err, verifiers.ErrMalfunction) {
		t.Error(err)
	}
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*nvidiatest.Device)
		want   verdict.Claim
	}{
		{"single", func(*nvidiatest.Device) {}, verdict.ClaimApprovedBoot},
		{"multi", func(d *nvidiatest.Device) { d.With(36, []byte{1, 0}) }, verdict.ClaimApprovedBoot},
		{"protected PCIe", func(d *nvidiatest.Device) { d.With(36, []byte{2, 0}) }, verdict.ClaimNoVisibility},
		{"protected PCIe is on", func(d *nvidiatest.Device) { d.With(21, []byte{0xAA}) }, verdict.ClaimNoVisibility},
		{"unknown", func(d *nvidiatest.Device) { d.With(36, []byte{3, 0}) }, verdict.ClaimNoVisibility},
		{"another size", func(d *nvidiatest.Device) { d.With(36, []byte{0}) }, verdict.ClaimNoVisibility},
		{"not said", func(d *nvidiatest.Device) { d.Without(36) }, verdict.ClaimNoVisibility},
		{"no version", func(d *nvidiatest.Device) { d.Without(34) }, verdict.ClaimNoVisibility},
		{"newer", func(d *nvidiatest.Device) { d.With(34, []byte{2, 0}) }, verdict.ClaimNoVisibility},
	} {
		s := nrastest.New(t, rand.Reader, clock)
		a := appraise(t, verifierOf(t, s, "nvidia-gpu", "HOPPER", nil), input(gpu(t, c.change)))
		if a.Vector[verdict.Configuration] != c.want || (c.want == verdict.ClaimNoVisibility) != has(a, verdict.ReasonConfiguration) {
			t.Errorf("%s: %v %v", c.name, a.Vector, a.Reasons)
		}
	}
	for lock, want := range map[string]verdict.Claim{"\x01\x00": verdict.ClaimApprovedBoot, "\x00\x00": verdict.ClaimNoVisibility, "\x02\x00": verdict.ClaimNoVisibility, "": verdict.ClaimNoVisibility} {
		s := nrastest.New(t, rand.Reader, clock)
		s.Device = nrastest.Switch()
		d := nvidiatest.New(t, rand.Reader, at, nvidiatest.Model{Arch: "LS10", Chip: "LS_10", Engine: "FSP", Prefix: 0x50, PDI: make([]byte, 8)})
		a := appraise(t, verifierOf(t, s, "nvidia-nvswitch", "LS10", nil), input(d.With(25, []byte(lock)).Leaf()))
		if a.Vector[verdict.Configuration] != want || a.Vector[verdict.Hardware] != verdict.ClaimApproved {
			t.Errorf("lock %x: %v %v", lock, a.Vector, a.Reasons)
		}
		if s.Asked()[0].URL.Path != "/v3/attest/switch" {
			t.Error(s.Asked()[0].URL)
		}
	}
}

func TestBackend(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	c, err := NewClient(ClientOptions{URL: s.URL, HTTP: http.DefaultClient, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	sc, err := Backend(native("nvidia-gpu", "HOPPER"), Options{Service: c, Issuer: "i"})
	if err != nil || sc.Name != "nvidia-gpu" || sc.Version != Version || len(sc.Accepts) != 1 || len(sc.Required) != 3 {
		t.Fatalf("%+v, %v", sc, err)
	}
	if _, err := verifiers.NewSet(sc); err != nil {
		t.Error(err)
	}
	for _, bad := range []struct {
		name string
		o    Options
	}{{"intel-tdx", Options{c, "i"}}, {"nvidia-gpu", Options{c, ""}}, {"nvidia-gpu", Options{nil, "i"}}} {
		if _, err := Backend(native(bad.name, "HOPPER"), bad.o); err == nil {
			t.Errorf("%+v", bad)
		}
	}
}
