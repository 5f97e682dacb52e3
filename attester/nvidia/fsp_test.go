// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

func fsp(tb testing.TB, set ...func(*nvidia.Options)) *nvidia.Device {
	tb.Helper()
	o := options("fsp")
	o.Arch, o.FSP = nvidia.Blackwell, true
	for _, f := range set {
		f(&o)
	}
	return gpu(tb, o)
}

// The transcript against sizes and types of NVIDIA's sample of a real one
// (attestation-sdk, blackwell_fsp_evidence.cmw.json).
func TestFSPTranscript(t *testing.T) {
	d := fsp(t)
	raw := report(t, d)
	if len(raw) != 2017 || raw[41] != 52 || hex.EncodeToString(raw[42:45]) != "320700" {
		t.Fatalf("%d bytes, %d blocks, record %x", len(raw), raw[41], raw[42:45])
	}
	l := read(t, raw)
	if len(l.opaque) != 0 {
		t.Errorf("opaque data %v", l.shape())
	}
	var shape []string
	for _, b := range l.blocks {
		head, err := hex.DecodeString(b)
		if err != nil || head[2] != head[5]+3 {
			t.Fatalf("block %s", b)
		}
		shape = append(shape, fmt.Sprintf("%x:%d", head[4], head[5]))
	}
	want := "83:4 82:1 2:48 1:48 1:48 1:48 3:48 1:48 1:48 1:48 3:48 3:48 2:48 2:48 2:48 2:48 2:48 82:1 82:1 82:1 82:1 82:1 82:1 82:1 82:1 82:8 " +
		"1:48 1:48 1:48 1:48 1:48 1:48 1:48 1:48 83:1 83:1 83:1 83:1 83:1 83:1 83:1 83:1 83:1 83:16 81:1 81:1 3:48 3:48 3:48 83:108 81:1 81:73"
	if got := strings.Join(shape, " "); got != want {
		t.Errorf("blocks\n%s\nrecorded\n%s", got, want)
	}
	pdi := d.PDI()
	if !bytes.Equal(l.values[25], pdi[:]) || !bytes.Equal(d.Chain()[1].SerialNumber.Bytes(), append([]byte{0x40}, pdi[:]...)) {
		t.Errorf("device %x, certificate %x", l.values[25], d.Chain()[1].SerialNumber.Bytes())
	}
	if !bytes.Contains(l.values[51], []byte("\x01\x05APSKU\x5c\x06\x00\x00")) {
		t.Errorf("identifiers %x", l.values[51])
	}
	sum := sha512.Sum384(l.message)
	if !ecdsa.Verify(d.Chain()[0].PublicKey.(*ecdsa.PublicKey), sum[:], l.r, l.s) || l.r.Cmp(big.NewInt(0)) == 0 {
		t.Error("signature")
	}
	names := []string{"GB100 A01 FSP FMC LF", "GB100 A01 FSP BROM", "NVIDIA GB100 Provisioner ICA 00000", "NVIDIA GB100 Identity"}
	for i, name := range names {
		if got := d.Chain()[i].Subject.CommonName; got != name {
			t.Errorf("certificate %d is %q", i, got)
		}
	}
}

// The manifest is a CoRIM that the authority of manifests loads, with the numbers
// of NVIDIA's: thirteen measurements by SPDM index in layer 1, and what the
// certificates say in layer 0.
func TestFSPManifest(t *testing.T) {
	d := fsp(t)
	all := manifests(t, d)
	if len(all) != 1 || all[0].ID != "NV_GPU_VBIOS_GB100_065C_0100000001" || all[0].File() != all[0].ID+".corim" {
		t.Fatalf("%d manifests, %s", len(all), all[0].ID)
	}
	trusted := corimTrust(t, d)
	doc, err := corim.Load(all[0].Raw, corim.Options{Trust: trusted, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	refs := doc.Tags[0].Comid.Reference
	if len(refs) != 2 || len(refs[0].Measurements) != 1 || len(refs[1].Measurements) != 13 {
		t.Fatalf("%d triples", len(refs))
	}
	l := read(t, report(t, d))
	for layer, r := range refs {
		if c := r.Environment.Class; c.Vendor != "NVIDIA" || c.Model != "GB100 A01 FSP" || !c.Layer.Set || c.Layer.Value != uint64(layer) {
			t.Errorf("environment %v", r.Environment)
		}
	}
	var keys []uint64
	for i, v := range l.values {
		for _, m := range refs[1].Measurements {
			if m.Key != corim.NumberKey(uint64(i+1)) {
				continue
			}
			keys = append(keys, uint64(i+1))
			switch {
			case m.Value.Raw != nil && bytes.Equal(m.Value.Raw.Value, v):
			case len(m.Value.Digests) == 1 && bytes.Equal(m.Value.Digests[0].Value, v):
			default:
				t.Errorf("block %d is %x, stated %+v", i+1, v, m.Value)
			}
		}
	}
	if want := []uint64{1, 3, 4, 5, 6, 7, 8, 11, 12, 13, 18, 51, 52}; !slices.Equal(keys, want) {
		t.Errorf("blocks %v, NVIDIA's manifest has %v", keys, want)
	}
	if again := manifests(t, fsp(t)); !bytes.Equal(again[0].Raw, all[0].Raw) {
		t.Error("other bytes")
	}
}

func corimTrust(t *testing.T, d *nvidia.Device) *corim.Trust {
	t.Helper()
	roots, err := d.Roots()
	if err != nil {
		t.Fatal(err)
	}
	a, err := rim.Authority(roots)
	if err != nil {
		t.Fatal(err)
	}
	out, err := corim.NewTrust([]corim.Authority{a})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFSPManifestFaults(t *testing.T) {
	for fault, want := range map[nvidia.RIMFault]error{
		nvidia.RIMWrongSigner: corim.ErrSignature, nvidia.RIMAltered: corim.ErrSignature, nvidia.RIMExpired: corim.ErrUntrusted,
		nvidia.RIMOtherVersion: nil, nvidia.RIMRevoked: nil,
	} {
		d := fsp(t, func(o *nvidia.Options) { o.RIM = fault })
		_, err := corim.Load(manifests(t, d)[0].Raw, corim.Options{Trust: corimTrust(t, d), Now: now})
		if (err == nil) != (want == nil) || want != nil && !errors.Is(err, want) {
			t.Errorf("fault %d: %v, expected %v", fault, err, want)
		}
	}
	for _, fault := range []nvidia.RIMFault{nvidia.RIMVintage, nvidia.RIMConflict} {
		o := options("fsp")
		o.Arch, o.FSP, o.RIM = nvidia.Blackwell, true, fault
		if _, err := nvidia.NewGPU(o); err == nil {
			t.Errorf("fault %d", fault)
		}
	}
	debug := fsp(t, func(o *nvidia.Options) { o.Debug = true })
	if sameChain(debug, fsp(t)) {
		t.Error("debug firmware with the certificates of another")
	}
}

// NVIDIA's collection: the records of its sample, in the same order of names.
func TestItem(t *testing.T) {
	d := fsp(t)
	item, err := d.Item(nonce)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Type string                     `json:"__cmwc_t"`
		GPU  map[string]json.RawMessage `json:"gpu_0"`
	}
	if err := json.Unmarshal(nvidia.Input(nonce, item), &all); err != nil {
		t.Fatal(err)
	}
	for name, media := range map[string]string{
		"evidence": "application/vnd.nvidia.spdm-measurement-transcript", "certificate": "application/vnd.nvidia.pem-cert-chain",
		"hints": "application/json", "nonce": "application/octet-stream",
	} {
		var record []string
		if err := json.Unmarshal(all.GPU[name], &record); err != nil || len(record) != 2 || record[0] != media {
			t.Errorf("%s: %s, %v", name, all.GPU[name], err)
		}
	}
	if all.Type != "tag:nvidia.com,2026:verifier-input/profiles/base/pre-1.0.0" || len(all.GPU) != 5 {
		t.Errorf("%s, %d members", all.Type, len(all.GPU))
	}
}

// An H200 is a Hopper with other names on its board.
func TestH200(t *testing.T) {
	o := options("h200")
	o.H200 = true
	d := gpu(t, o)
	if ids := manifests(t, d); ids[0].ID != "NV_GPU_DRIVER_GH100_590.12" || ids[1].ID != "NV_GPU_VBIOS_G520_0280_895_9600A50003" {
		t.Errorf("%s, %s", ids[0].ID, ids[1].ID)
	}
	got, want := read(t, report(t, d)), read(t, report(t, gpu(t, options("h200"))))
	if got.size != want.size || !slices.Equal(got.shape(), want.shape()) || string(got.field(t, 18)) != "0280\x00" {
		t.Errorf("%v, a Hopper has %v", got.shape(), want.shape())
	}
	for _, set := range []func(*nvidia.Options){
		func(o *nvidia.Options) { o.FSP = true }, func(o *nvidia.Options) { o.Arch, o.H200 = nvidia.Blackwell, true },
	} {
		o := options("x")
		set(&o)
		if _, err := nvidia.NewGPU(o); err == nil {
			t.Errorf("%+v is made", o)
		}
	}
}
