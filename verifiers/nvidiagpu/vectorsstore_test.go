// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"testing"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// productionVBIOS are the production manifests of NVIDIA's samples: project, SKU,
// chip SKU and version of a VBIOS.
var productionVBIOS = []string{
	"1010_0200_882_96005E0001_PROD.swidtag", "1010_0200_882_96005E0003_PROD.swidtag", "1010_0200_882_960074001A_PROD.swidtag",
	"1010_0200_882_960074001C_PROD.swidtag", "1010_0205_862_96005E0002_PROD.swidtag", "1010_0205_862_96005E0004_PROD.swidtag",
	"1010_0205_862_960074001F_PROD.swidtag", "1010_0205_862_9600740020_PROD.swidtag", "1010_0210_886_9600740011_PROD.swidtag",
	"1010_0215_866_9600740010_PROD.swidtag", "g520_0200_885_9600740001_PROD.swidtag", "g520_0200_885_960074000D_PROD.swidtag",
	"g520_0202_885_96006D0008_PROD.swidtag", "g520_0202_885_96006D0027_PROD.swidtag", "g520_0202_885_9600740014_PROD.swidtag",
	"g520_0202_885_9600740018_PROD.swidtag", "g520_0205_865_9600740006_PROD.swidtag", "g520_0205_865_960074000F_PROD.swidtag",
	"g520_0207_865_9600740015_PROD.swidtag", "g520_0207_865_9600740019_PROD.swidtag", "g520_0213_881_96006D0007_PROD.swidtag",
	"g520_0213_881_96006D0026_PROD.swidtag", "g520_0228_889_96006D000A_PROD.swidtag", "g520_0228_889_96006D0029_PROD.swidtag",
}

// With all of them in one folder, under names that say nothing to us, a device
// finds the one of its VBIOS, and no other is compared with.
func TestWholeStore(t *testing.T) {
	var files []string
	for _, name := range productionVBIOS {
		files = append(files, nvtrust+name)
	}
	bundle := bundleOf(t, files...)
	if n := len(bundle.Manifests()); n != len(productionVBIOS) {
		t.Fatalf("%d manifests", n)
	}
	when := day(t, "2024-01-15")
	for _, c := range []struct {
		report, version string
		executables     verdict.Claim
		differ          []int
	}{
		{h535Report, "96.00.5E.00.01", 33, nil}, {h570Report, "96.00.5E.00.04", 96, []int{9}}, {mockReport, "96.00.5E.00.01", 96, []int{1, 2, 3, 9}},
		{nvtrust + "hopperAttestationReport.txt", "", 33, nil}, {sampled + "blackwellAttestationReport.txt", "", 33, nil},
		{serial + "hopper_evidence_cert_hold.json", "", 33, nil}, {ppcieDir + "gpu_evidence.json", "", 33, nil},
	} {
		row := recordedReports[slices.IndexFunc(recordedReports, func(x recordedReport) bool { return x.file == c.report })]
		parts, nonces := row.leaves(t)
		a := appraiseIn(t, bundle, statusAside, parts[0], nonces[0], when)
		var versions []string
		list, _ := a.Claims["manifests"].([]any)
		for _, m := range list {
			versions = append(versions, m.(map[string]any)["version"].(string))
		}
		one := len(versions) == 1 && versions[0] == c.version
		if a.Vector[verdict.Executables] != c.executables || !slices.Equal(differing(a), c.differ) || !one && (c.version != "" || versions != nil) {
			t.Errorf("%s: executables %d, mismatches %v, manifests %v", c.report, a.Vector[verdict.Executables], differing(a), versions)
		}
	}
}

func certificateOf(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(vectors.Read(t, file))
	if block == nil {
		t.Fatalf("no certificate in %s", file)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The roots as NVIDIA's tools have them are those that are pinned; that of debug
// manifests is not.
func TestRecordedRoots(t *testing.T) {
	const certs = "nvidia/nvtrust/certs/"
	for file, want := range map[string][2]string{
		certs + "verifier_device_root.pem":                         {pinnedRoot, "a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4"},
		certs + "verifier_RIM_root.pem":                            {"12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1", "dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3"},
		"nvidia/attestation-sdk/certs/NVIDIA_CoRIM_Root_CA001.pem": {"35e7a947caff230efc27ba93dd75af135077af4cd244ce465e111e2bae663e5e", "07dce9b11783fc6a7f11f8f4b10c1244ca7840be5d2bfaa640a491324bfe75b9"},
	} {
		c := certificateOf(t, file)
		key := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		if hexSum(c.Raw) != want[0] || hex.EncodeToString(key[:]) != want[1] {
			t.Errorf("%s is %s with key %x", file, hexSum(c.Raw), key)
		}
	}
	v, err := rim.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{mockDriver, mockVBIOS, prodVBIOS, laterVBIOS, driver550} {
		m, err := v.Verify(vectors.Read(t, file))
		if err != nil || hex.EncodeToString(m.Root[:]) != hexSum(certificateOf(t, certs+"verifier_RIM_root.pem").Raw) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := v.Verify(vectors.Read(t, otherRoot)); err == nil {
		t.Error("a manifest below the root of debug manifests is accepted")
	}
	// The certificate that the SDK has as a wrong root is a signer, and no root at all.
	if _, err := rim.New([]*x509.Certificate{certificateOf(t, sdkTest+"incorrect_rim_root.crt")}); err == nil {
		t.Error("a signer is taken for a root")
	}
}
