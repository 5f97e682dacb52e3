// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// routed finds the one device of a message that the scheme accepts, as a lead does.
func routed(tb testing.TB, message []byte) verifiers.Part {
	tb.Helper()
	tree, err := evidence.Parse(message, evidence.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	set, err := verifiers.NewSet(Scheme())
	if err != nil {
		tb.Fatal(err)
	}
	var found []verifiers.Part
	for _, leaf := range tree.Leaves() {
		parts, _, err := set.Parts(leaf.MediaType(), leaf.Value())
		if err == nil && parts[0].Err == nil {
			found = append(found, parts...)
		}
	}
	if len(found) != 1 || found[0].Scheme.Name != Name {
		tb.Fatalf("%d devices for the scheme", len(found))
	}
	return found[0]
}

func (f *fake) message(form string) []byte {
	f.Leaf()
	return nvidiatest.Composites(f.TB, f.Arch, f.Report(), nvidiatest.PEM(f.Certs[:]))[form]
}

func appraisePart(tb testing.TB, v verifiers.Verifier, p verifiers.Part, nonce []byte) verdict.Appraisal {
	tb.Helper()
	a, err := v.Appraise(context.Background(), verifiers.Input{MediaType: p.MediaType, Evidence: p.Evidence, Nonce: nonce, Time: at})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// checkForms appraises one device in every form: the appraisals do not differ.
func checkForms(t *testing.T, v verifiers.Verifier, arch string, report, chain []byte) {
	t.Helper()
	nonce := report[4 : 4+NonceSize]
	all := nvidiatest.Composites(t, arch, report, chain)
	want := appraisePart(t, v, routed(t, all["array"]), nonce)
	if want.Freshness != verdict.FreshnessFresh || want.Claims["hwmodel"] == nil {
		t.Fatalf("%v %v", want.Vector, want.Reasons)
	}
	for name, message := range all {
		if got := appraisePart(t, v, routed(t, message), nonce); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: vector %v, reasons %v, claims %v; expected %v, %v, %v", name, got.Vector, got.Reasons, got.Claims, want.Vector, want.Reasons, want.Claims)
		}
	}
}

// The same real device gives the same appraisal in whatever form it comes.
func TestRecordedFormsAgree(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	t.Run("H100", func(t *testing.T) {
		checkForms(t, v, "HOPPER", unhex(t, string(mocks.AttestationReportData)), mocks.ValidCertChainData)
	})
	for file, arch := range map[string]string{
		"nvidia/attestation-sdk/testdata/evidence_hopper_590_12.json": "HOPPER", "nvidia/veraison-services/blackwell-evidence.json": "BLACKWELL",
	} {
		t.Run(file, func(t *testing.T) {
			values, err := container.Split(MediaType, vectors.Read(t, file))
			if err != nil {
				t.Fatal(err)
			}
			d, err := container.Decode(values[0])
			if err != nil {
				t.Fatal(err)
			}
			checkForms(t, v, arch, d.Report, d.Chain)
		})
	}
}

func TestSimulatedFormsAgree(t *testing.T) {
	for name, f := range map[string]*fake{"GSP": newFake(t), "FSP": newFSP(t)} {
		t.Run(name, func(t *testing.T) {
			f.Leaf()
			checkForms(t, newTest(t, f.roots()), f.Arch, f.Report(), nvidiatest.PEM(f.Certs[:]))
		})
	}
}

// In every form a nonce beside the report has to be the signed one.
func TestNonceBesideReport(t *testing.T) {
	f := newFake(t)
	part := routed(t, f.message("item"))
	bare := routed(t, dropNonce(t, f.message("item")))
	v := newTest(t, f.roots())
	if a := appraisePart(t, v, bare, f.Nonce); a.Vector[verdict.Hardware] == verdict.ClaimCryptoFailed || a.Freshness != verdict.FreshnessFresh {
		t.Errorf("an item without a nonce: %v %v", a.Vector, a.Reasons)
	}
	record := []byte(`"nonce":["application/octet-stream","Bw`)
	other := bytes.Replace(part.Evidence, record, append(record[:len(record)-2:len(record)-2], "CA"...), 1)
	if bytes.Equal(other, part.Evidence) {
		t.Fatal("no nonce to change")
	}
	part.Evidence = other
	a := appraisePart(t, v, part, f.Nonce)
	if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || !strings.Contains(fmt.Sprint(a.Reasons), verdict.ReasonNonceMismatch) {
		t.Errorf("another nonce beside the report: %v %v", a.Vector, a.Reasons)
	}
	nvgpu := routed(t, f.message("nvgpu"))
	nvgpu.Evidence = bytes.Replace(nvgpu.Evidence, []byte(`"nonce":"07`), []byte(`"nonce":"08`), 1)
	if a := appraisePart(t, v, nvgpu, f.Nonce); a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) {
		t.Errorf("another nonce in Intel's form: %v %v", a.Vector, a.Reasons)
	}
}

func dropNonce(tb testing.TB, message []byte) []byte {
	tb.Helper()
	var m map[string]json.RawMessage
	var item map[string]json.RawMessage
	if err := json.Unmarshal(message, &m); err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(m["device"], &item); err != nil {
		tb.Fatal(err)
	}
	delete(item, "nonce")
	m["device"], _ = json.Marshal(item)
	out, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// The chip of the certificates is what an item is routed by, and what the scheme
// compares with: an item cannot name another.
func TestItemHasTheArchitectureOfItsChip(t *testing.T) {
	f := newFSP(t)
	p := routed(t, f.message("item"))
	if a := appraisePart(t, newTest(t, f.roots()), p, f.Nonce); a.Claims["arch"] != "BLACKWELL" || a.Claims["engine"] != engineFSP {
		t.Errorf("claims %v", a.Claims)
	}
	other := newFakeOf(t, "HOPPER", "GR100", "GSP", 0x41)
	other.Leaf()
	set, err := verifiers.NewSet(Scheme())
	if err != nil {
		t.Fatal(err)
	}
	raw := nvidiatest.Item(other.Report(), nvidiatest.PEM(other.Certs[:]), "")
	if _, _, err := set.Route(evidence.MediaType{Base: container.ItemType}, []byte(raw)); err == nil || !strings.Contains(err.Error(), "GR100") {
		t.Errorf("a chip that nobody knows: %v", err)
	}
}

// The hint of an item reaches the name of the manifest, in the FSP's form alone.
func TestHintOfItem(t *testing.T) {
	f := newFSP(t)
	f.Leaf()
	chain := nvidiatest.PEM(f.Certs[:])
	v := newTest(t, f.roots())
	raw := nvidiatest.Item(f.Report(), chain, "97.00.F3.00.07")
	p := routed(t, []byte(raw))
	if a := appraisePart(t, v, p, f.Nonce); a.Claims["firmware-hint"] != "97.00.F3.00.07" || a.Claims["apsku"] != "065C" {
		t.Errorf("claims %v", a.Claims)
	}
	g := newFake(t)
	g.Leaf()
	p = routed(t, []byte(nvidiatest.Item(g.Report(), nvidiatest.PEM(g.Certs[:]), "97.00.F3.00.07")))
	if a := appraisePart(t, newTest(t, g.roots()), p, g.Nonce); a.Claims["firmware-hint"] != nil || a.Claims[gpuClaim+"vbios-version"] != "96.00.9F.00.01" {
		t.Errorf("GSP: claims %v", a.Claims)
	}
}
