// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

func TestPinnedRoot(t *testing.T) {
	certs, err := readChain(vectors.Read(t, "nvidia/nvtrust/certs/verifier_device_root.pem"))
	if err == nil || len(certs) != 0 { // one certificate is no chain
		t.Errorf("%v", certs)
	}
	raw, err := hex.DecodeString(rootSHA256)
	if err != nil || len(raw) != 32 || len(newRoots(nil)) != 1 || !newRoots(nil)[[32]byte(raw)] {
		t.Fatal(err)
	}
}

// withRoots is the backend with extra roots.
func withRoots(t *testing.T, s *nrastest.Service, scheme, arch string, extra []*x509.Certificate) verifiers.Verifier {
	t.Helper()
	sc, err := Backend(native(scheme, arch), Options{Service: verifierOf(t, s, scheme, arch, nil).(*Verifier).o.Service, Issuer: s.Issuer})
	if err != nil {
		t.Fatal(err)
	}
	v, err := sc.New(verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{scheme: extra}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What the service does not sign is a fact only where chain and signature in the
// evidence say so as well.
func TestOwnFacts(t *testing.T) {
	links := make([]byte, 16)
	links[0], links[8] = 0xAA, 0xAA // one switch at two links
	device := func(change func(*nvidiatest.Device)) (*nvidiatest.Device, []byte) {
		var d *nvidiatest.Device
		leaf := gpu(t, func(made *nvidiatest.Device) {
			d = made
			d.With(22, links).With(36, []byte{2, 0}) // protected PCIe
			if change != nil {
				change(d)
			}
		})
		return d, leaf
	}
	full := []string{"nvidia-ueid:1000", "nvidia-pdi:0102030405060708"}
	for _, c := range []struct {
		name    string
		change  func(*nvidiatest.Device)
		trusted bool
		at      time.Time
		device  []string
	}{
		{"trusted", nil, true, at, full},
		{"another root", nil, false, at, full[:1]},
		{"serial number of a switch", func(d *nvidiatest.Device) {
			d.Templates[1].SerialNumber.SetBytes(append([]byte{0x50}, make([]byte, 8)...))
		}, true, at, full[:1]},
		{"two serial numbers", func(d *nvidiatest.Device) { d.Templates[1].Subject.SerialNumber = "410000000000000000" }, true, at, full[:1]},
		{"certificate 2 has ended", func(d *nvidiatest.Device) { d.Templates[2].NotAfter = at.Add(-time.Hour) }, true, at, full[:1]},
		{"certificate 2 is no CA", func(d *nvidiatest.Device) { d.Templates[2].IsCA = false }, true, at, full[:1]},
	} {
		s := nrastest.New(t, rand.Reader, clock)
		d, leaf := device(c.change)
		var extra []*x509.Certificate
		if c.trusted {
			extra = d.Root()
		}
		a := appraise(t, withRoots(t, s, "nvidia-gpu", "HOPPER", extra), input(leaf))
		whole := len(c.device) == 2
		if !reflect.DeepEqual(a.Facts.Device, c.device) || a.Facts.PeersRequired != whole || (a.Facts.SignerSPKI != "") != whole {
			t.Errorf("%s: %+v %v", c.name, a.Facts, a.Claims["backend"])
		}
		// In protected PCIe a GPU is as good as its switches, which somebody has to
		// be able to look for.
		want, peers := verdict.ClaimNoVisibility, []string(nil)
		if whole {
			want, peers = verdict.ClaimApprovedBoot, []string{"nvidia-pdi:00000000000000aa"}
		}
		if a.Vector[verdict.Configuration] != want || !slices.Equal(a.Facts.Peers, peers) {
			t.Errorf("%s: configuration %d, peers %v", c.name, a.Vector[verdict.Configuration], a.Facts.Peers)
		}
	}
}

// The recorded board of eight GPUs and four switches in protected PCIe: the GPUs
// name the switches and the switches the GPUs, by the numbers in the certificates.
func TestRecordedBoard(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	facts := map[string][]verdict.Facts{}
	for _, c := range []struct{ scheme, arch, file string }{{"nvidia-gpu", "HOPPER", "gpu"}, {"nvidia-nvswitch", "LS10", "switch"}} {
		var devices []map[string]any
		if err := json.Unmarshal(vectors.Read(t, "nvidia/nvtrust/ppcie/"+c.file+"_evidence.json"), &devices); err != nil {
			t.Fatal(err)
		}
		if s.Device = nrastest.GPU(); c.file == "switch" {
			s.Device = nrastest.Switch()
		}
		v := verifierOf(t, s, c.scheme, c.arch, func(o *ClientOptions) { o.Burst = 100 })
		for _, d := range devices {
			d["arch"] = c.arch
			asked, err := hex.DecodeString(d["nonce"].(string))
			if err != nil {
				t.Fatal(err)
			}
			in := verifiers.Input{MediaType: containerType, Evidence: nvidiatest.Array(t, d), Nonce: asked, Time: at}
			a := appraise(t, v, in)
			if a.Facts.PeersRequired != (c.file == "gpu") || len(a.Facts.Device) != 2 {
				t.Fatalf("%s: %+v %v %v", c.file, a.Facts, a.Reasons, a.Claims["backend"])
			}
			facts[c.file] = append(facts[c.file], a.Facts)
		}
	}
	if len(facts["gpu"]) != 8 || len(facts["switch"]) != 4 {
		t.Fatalf("%d and %d", len(facts["gpu"]), len(facts["switch"]))
	}
	for _, g := range facts["gpu"] {
		for _, w := range facts["switch"] {
			if !slices.Contains(g.Peers, w.Device[1]) || !slices.Contains(w.Peers, g.Device[1]) {
				t.Errorf("%v with %v, %v with %v", g.Device, g.Peers, w.Device, w.Peers)
			}
		}
	}
}

// A switch whose report names another one is not that of the certificates.
func TestSwitchNamesItself(t *testing.T) {
	for name, c := range map[string]struct {
		own  []byte
		want verdict.Claim
	}{
		"itself": {bytes.Repeat([]byte{3}, 8), verdict.ClaimApproved}, "another": {bytes.Repeat([]byte{4}, 8), verdict.ClaimUnknownDevice}, "none": {nil, verdict.ClaimUnknownDevice},
	} {
		s := nrastest.New(t, rand.Reader, clock)
		s.Device = nrastest.Switch()
		d := nvidiatest.New(t, rand.Reader, at, nvidiatest.Model{Arch: "LS10", Chip: "LS_10", Engine: "FSP", Prefix: 0x50, PDI: bytes.Repeat([]byte{3}, 8)})
		if d.With(25, []byte{1, 0}); c.own != nil {
			d.With(22, c.own)
		}
		leaf := d.Leaf()
		a := appraise(t, withRoots(t, s, "nvidia-nvswitch", "LS10", d.Root()), input(leaf))
		if a.Vector[verdict.Hardware] != c.want || has(a, verdict.ReasonIdentityMismatch) != (c.want != verdict.ClaimApproved) {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
	}
}
