// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/nvidiagpu"
	"github.com/assize/assize/verifiers/nvidianvswitch"
)

// deviceCase is a simulated GPU or switch, what is changed about it or about what
// its verifier has, and what has to come out.
type deviceCase struct {
	name   string
	device func(o *nvidia.Options)
	// files changes the collateral, by the names of files.
	files func(files map[string][]byte)
	// parameters are those of the policy, if not those of the kind.
	parameters string
	// later is how much after the evidence is appraised.
	later time.Duration
	// claims are hardware, configuration and executables, codes those of all
	// reasons, sorted, each once.
	claims, codes string
	freshness     verdict.Freshness // "" for fresh
	tier          verdict.Tier
}

// without removes files whose name has a part.
func without(part string) func(map[string][]byte) {
	return func(files map[string][]byte) {
		maps.DeleteFunc(files, func(name string, _ []byte) bool { return strings.Contains(name, part) })
	}
}

// withoutSigners removes the status of those who sign manifests: the responders of
// their issuers have these in their certificates.
func withoutSigners(files map[string][]byte) {
	maps.DeleteFunc(files, func(name string, raw []byte) bool {
		return strings.Contains(name, "ocsp") && (bytes.Contains(raw, []byte("Reference Value")) || bytes.Contains(raw, []byte("CoRIM")))
	})
}

func (c *deviceCase) run(t *testing.T, sc verifiers.Scheme, make func(nvidia.Options) (*nvidia.Device, error), opts nvidia.Options, parameters string) {
	t.Helper()
	if c.device != nil {
		c.device(&opts)
	}
	d, err := make(opts)
	must(t, err)
	files, err := d.Endorsements()
	must(t, err)
	maps.DeleteFunc(files, func(_ string, raw []byte) bool { return raw == nil })
	if c.files != nil {
		before := len(files)
		if c.files(files); len(files) == before {
			t.Fatal("no file is left out")
		}
	}
	bundle, err := load(files)
	must(t, err)
	roots, err := d.Roots()
	must(t, err)
	deps := verifiers.Deps{Endorsements: bundle, ExtraRoots: map[string][]*x509.Certificate{sc.Name: roots}}
	if c.parameters != "" {
		parameters = c.parameters
	}
	p, err := sc.Policy.Parse([]byte("scheme: " + sc.Name + "\nparameters: {" + parameters + "}\n"))
	must(t, err)
	deps.Policies = map[string]*appraisal.Policy{sc.Name: p}
	v, err := sc.New(deps)
	must(t, err)
	object, err := d.Evidence(machineNonce)
	must(t, err)
	in := verifiers.Input{
		MediaType: evidence.MediaType{Base: nvidia.MediaType}, Evidence: nvidia.Array(object), Nonce: machineNonce, Time: machineTime.Add(c.later),
	}
	for _, state := range []string{"cold", "warm"} {
		a, err := v.Appraise(t.Context(), in)
		must(t, err)
		var codes []string
		for _, r := range a.Reasons {
			codes = append(codes, r.Code)
		}
		slices.Sort(codes)
		got := fmt.Sprintf("%s: %d %d %d %s", a.Status(), a.Vector[verdict.Hardware], a.Vector[verdict.Configuration], a.Vector[verdict.Executables], strings.Join(slices.Compact(codes), " "))
		want := fmt.Sprintf("%s: %s %s", c.tier, c.claims, c.codes)
		fresh := c.freshness
		if fresh == "" {
			fresh = verdict.FreshnessFresh
		}
		if strings.TrimSpace(got) != strings.TrimSpace(want) || a.Freshness != fresh {
			t.Errorf("%s: %s, %s\nwant %s, %s\n%v", state, got, a.Freshness, want, fresh, a.Reasons)
		}
	}
}

// Faults of a device, of what NVIDIA says about it and of what a verifier has,
// that are the same for GPUs and switches.
var deviceCases = []deviceCase{
	{name: "honest", claims: "2 3 3", tier: verdict.TierAffirming},

	{name: "a measurement changed", device: func(o *nvidia.Options) { o.Measurement = true }, claims: "2 36 96", codes: "claim-not-asserted measurement-mismatch", tier: verdict.TierContraindicated},
	{name: "signed by another key", device: func(o *nvidia.Options) { o.WrongSigner = true }, claims: "99 99 99", codes: "signature-invalid", tier: verdict.TierContraindicated, freshness: verdict.FreshnessNotEstablished},
	{name: "certificate 0 expired", device: func(o *nvidia.Options) { o.Expired = true }, claims: "99 99 99", codes: "expired", tier: verdict.TierContraindicated, freshness: verdict.FreshnessNotEstablished},
	{name: "older firmware", device: func(o *nvidia.Options) { o.OutdatedTCB = true }, claims: "2 36 33", codes: "no-reference-values", tier: verdict.TierWarning},

	{name: "revoked", device: func(o *nvidia.Options) { o.Revoked = true }, claims: "96 3 3", codes: "revoked", tier: verdict.TierContraindicated},
	{name: "on hold", device: func(o *nvidia.Options) { o.OnHold = true }, claims: "96 3 3", codes: "revoked", tier: verdict.TierContraindicated},
	{name: "status unknown", device: answered(nvidia.OCSPUnknown), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status of the past", device: answered(nvidia.OCSPStale), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status of the future", device: answered(nvidia.OCSPEarly), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status without an end", device: answered(nvidia.OCSPEndless), claims: "2 3 3", tier: verdict.TierAffirming},
	{name: "status by somebody else", device: answered(nvidia.OCSPWrongResponder), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status by one who may not", device: answered(nvidia.OCSPNoUsage), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status by one who may be revoked", device: answered(nvidia.OCSPNoCheckMissing), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status by one who expired", device: answered(nvidia.OCSPResponderExpired), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status with a forged signature", device: answered(nvidia.OCSPForged), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status of another certificate", device: answered(nvidia.OCSPOtherCertificate), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status refused", device: answered(nvidia.OCSPRefused), claims: "32 3 3", codes: "no-collateral", tier: verdict.TierWarning},
	{name: "status with a nonce that nobody asked for", device: answered(nvidia.OCSPOtherNonce), claims: "2 3 3", tier: verdict.TierAffirming},

	{name: "manifest missing", device: referred(nvidia.RIMMissing), claims: "2 36 33", codes: "no-reference-values", tier: verdict.TierWarning},
	{name: "manifest signed by another key", device: referred(nvidia.RIMWrongSigner), claims: "2 36 96", codes: "collateral-invalid no-reference-values", tier: verdict.TierContraindicated},
	{name: "manifest altered", device: referred(nvidia.RIMAltered), claims: "2 36 96", codes: "collateral-invalid no-reference-values", tier: verdict.TierContraindicated},
	{name: "manifest expired", device: referred(nvidia.RIMExpired), claims: "2 36 33", codes: "expired no-reference-values", tier: verdict.TierWarning},
	{name: "manifest revoked", device: referred(nvidia.RIMRevoked), claims: "2 36 96", codes: "no-reference-values revoked", tier: verdict.TierContraindicated},
	{name: "manifest of another version", device: referred(nvidia.RIMOtherVersion), claims: "2 36 33", codes: "no-reference-values", tier: verdict.TierWarning},
	{name: "manifest of another vintage", device: referred(nvidia.RIMVintage), claims: "2 36 96", codes: "claim-not-asserted measurement-mismatch", tier: verdict.TierContraindicated},

	{name: "no status of anything", files: without("ocsp"), claims: "32 36 32", codes: "no-collateral no-reference-values revocation-unknown", tier: verdict.TierWarning},
	{name: "no manifests", files: without("NV_"), claims: "2 36 33", codes: "no-reference-values", tier: verdict.TierWarning},
	{name: "two days later", later: 48 * time.Hour, claims: "32 36 32", codes: "no-collateral no-reference-values revocation-unknown", tier: verdict.TierWarning},
}

// gpuCases are those of GPUs with manifests of driver and VBIOS.
var gpuCases = []deviceCase{
	{name: "manifests that contradict each other", device: referred(nvidia.RIMConflict), claims: "2 36 96", codes: "claim-not-asserted reference-values-conflict", tier: verdict.TierContraindicated},
	{name: "no manifest of the driver", files: without("DRIVER"), claims: "2 36 33", codes: "no-reference-values", tier: verdict.TierWarning},
	{name: "no manifest of the VBIOS", files: without("VBIOS"), claims: "2 36 33", codes: "no-reference-values", tier: verdict.TierWarning},
	{name: "no status of the signers", files: withoutSigners, claims: "2 36 32", codes: "no-reference-values revocation-unknown", tier: verdict.TierWarning},
}

// hopperCases are those of Hopper besides. Its memory is isolated and not encrypted,
// so nothing is said about it; nor in protected PCIe, where it has switches.
var hopperCases = append(slices.Clone(gpuCases),
	deviceCase{name: "its memory", parameters: "revocation: required", claims: "2 3 3", tier: verdict.TierAffirming},
	deviceCase{name: "protected PCIe", parameters: "revocation: required", device: peers(4), claims: "2 3 3", tier: verdict.TierAffirming},
	deviceCase{name: "not in the mode that is asked for", parameters: "modes: [ppcie], hopper_memory_encrypted: true", claims: "2 32 3", codes: "policy", tier: verdict.TierWarning},
	deviceCase{name: "in the mode that is asked for", parameters: "modes: [ppcie]", device: peers(4), claims: "2 3 3", tier: verdict.TierAffirming},
)

// peers gives a GPU switches.
func peers(n int) func(*nvidia.Options) {
	return func(o *nvidia.Options) {
		for i := range n {
			o.Peers = append(o.Peers, nvidia.PDIOf(o.Vendor.Sub("switch", fmt.Sprint(i))))
		}
	}
}

func answered(f nvidia.OCSPFault) func(*nvidia.Options) {
	return func(o *nvidia.Options) { o.Status = f }
}

func referred(f nvidia.RIMFault) func(*nvidia.Options) { return func(o *nvidia.Options) { o.RIM = f } }

// TestSimulatedNVIDIADevices: a GPU and a switch of which everything is there and
// good are affirming, and each fault lowers what it is about, cold and with warm caches.
func TestSimulatedNVIDIADevices(t *testing.T) {
	vendor := pki.NewSeed("nvidia acceptance")
	opts := nvidia.Options{Vendor: vendor, Device: vendor.Sub("device"), Now: machineTime, Shared: new(nvidia.Shared)}
	for _, kind := range []struct {
		name   string
		scheme verifiers.Scheme
		make   func(nvidia.Options) (*nvidia.Device, error)
		edit   func(o *nvidia.Options)
		// parameters of the policy: what is set for Hopper is not about firmware, see
		// "its memory" below.
		parameters string
		own        []deviceCase
	}{
		{"hopper", nvidiagpu.Scheme(), nvidia.NewGPU, func(*nvidia.Options) {}, "hopper_memory_encrypted: true", hopperCases},
		{"blackwell", nvidiagpu.Scheme(), nvidia.NewGPU, func(o *nvidia.Options) { o.Arch = nvidia.Blackwell }, "", gpuCases},
		{"switch", nvidianvswitch.Scheme(), nvidia.NewSwitch, func(o *nvidia.Options) {
			for i := range 8 {
				o.Peers = append(o.Peers, nvidia.PDIOf(vendor.Sub("gpu", fmt.Sprint(i))))
			}
		}, "", nil},
	} {
		o := opts
		kind.edit(&o)
		for _, c := range slices.Concat(deviceCases, kind.own) {
			t.Run(kind.name+"/"+c.name, func(t *testing.T) { c.run(t, kind.scheme, kind.make, o, kind.parameters) })
		}
	}
}
