// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// recordedReport is one row of the table "Reports: key values" beside the
// recordings. nonce may be its beginning.
type recordedReport struct {
	file                                string
	devices                             int
	arch, hwmodel, driver, vbios, board string // board is project/SKU/chip SKU
	nonce                               string
	bad                                 bool // the signature does not hold
}

var recordedReports = []recordedReport{
	{"nvidia/go-nvtrust/attestationReport.txt", 1, "HOPPER", "GH100 A01 GSP BROM", "545.00", "96.00.5E.00.01", "1010/0200/882", recordedNonce, false},
	{nvtrust + "hopperAttestationReport.txt", 1, "HOPPER", "GH100 A01 GSP BROM", "550.90.07", "96.00.9F.00.01", "1010/0200/882", "931d8dd0", false},
	{sampled + "hopperAttestationReport.txt", 1, "HOPPER", "GH100 A01 GSP BROM", "535.86.09", "96.00.5E.00.01", "1010/0200/882",
		"27a328247bf7935c993341cf587be6f05986ccce4fe7ba2c54100bd616a58f66", false},
	{sampled + "hopperAttestationReportExpired.txt", 1, "HOPPER", "GH100 A01 GSP BROM", "570.124.03", "96.00.5E.00.04", "1010/0205/862", "931d8dd0", false},
	{sampled + "hopperAttestationReportInvalidSignature.txt", 1, "HOPPER", "GH100 A01 GSP BROM", "560.00", "96.00.A5.00.01", "G520/0200/885", "931d8dd0", true},
	{sampled + "blackwellAttestationReport.txt", 1, "BLACKWELL", "GB100 A01 GSP BROM", "575.32", "97.00.88.00.0F", "G525/0220/886", "931d8dd0", false},
	{sdkDir + "testdata/evidence_hopper_590_12.json", 1, "HOPPER", "GH100 A01 GSP BROM", "590.12", "96.00.A5.00.01", "G520/0200/885",
		"e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576", false},
	{serial + "hopper_evidence.json", 1, "HOPPER", "GH100 A01 GSP BROM", "590.12", "96.00.A5.00.01", "G520/0200/885",
		"e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576", false},
	{serial + "multi_gpu_hopper.json", 4, "HOPPER", "GH100 A01 GSP BROM", "590.12", "96.00.A5.00.01", "G520/0200/885",
		"e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576", false},
	{serial + "hopper_evidence_cert_hold.json", 1, "HOPPER", "GH100 A01 GSP BROM", "570.86.10", "96.00.AF.00.01", "1010/0200/882", "931d8dd0", false},
	{ppcieDir + "gpu_evidence.json", 8, "HOPPER", "GH100 A01 GSP BROM", "590.12", "96.00.A5.00.01", "G520/0200/885",
		"4760e30534a0621357d458b1a7936551b5dc4cd1e69718adf7ed9fb0252a537e", false},
	{"nvidia/veraison-services/blackwell-evidence.json", 1, "BLACKWELL", "GB100 A01 GSP BROM", "590.48.01", "97.00.E4.00.11", "G525/0220/886",
		"cb86922a772181d54971ccc584bbc96b717c32b7087fff9aaf52832dd3f697a1", false},
}

// leaves are the components in the file of a row, each with the nonce that its
// device signed.
func (r recordedReport) leaves(tb testing.TB) (parts [][]byte, nonces [][]byte) {
	tb.Helper()
	raw := vectors.Read(tb, r.file)
	if path.Ext(r.file) == ".txt" {
		chain := strings.NewReplacer("hopperAttestationReport", "hopperCertChain", "blackwellAttestationReport", "blackwellCertChain",
			"attestationReport", "gpuAkCertChain", "InvalidSignature", "").Replace(r.file)
		leaf, nonce := wrapText(tb, r.arch, raw, vectors.Read(tb, chain))
		return [][]byte{leaf}, [][]byte{nonce}
	}
	parts, err := Scheme().Components(evidence.MediaType{Base: MediaType}, raw)
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range parts {
		var d []struct{ Evidence []byte }
		if err := json.Unmarshal(p, &d); err != nil || len(d) != 1 {
			tb.Fatal(err)
		}
		nonces = append(nonces, d[0].Evidence[4:4+NonceSize])
	}
	return parts, nonces
}

// TestRecordedKeyValues has every recorded report of a GPU: what it says about
// itself, and whether its signature holds.
func TestRecordedKeyValues(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	for _, r := range recordedReports {
		t.Run(r.file, func(t *testing.T) {
			parts, nonces := r.leaves(t)
			if len(parts) != r.devices {
				t.Fatalf("%d devices", len(parts))
			}
			seen := map[string]bool{}
			for i, p := range parts {
				if got := hex.EncodeToString(nonces[i]); !strings.HasPrefix(got, r.nonce) {
					t.Errorf("device %d: nonce %s", i, got)
				}
				a := appraise(t, v, p, nonces[i], at)
				if r.bad {
					wantRefused(t, a, verdict.ReasonSignatureInvalid)
					continue
				}
				wantGood(t, a, nonces[i])
				c := a.Claims
				if c["hwmodel"] != r.hwmodel || c[gpuClaim+"driver-version"] != r.driver || c[gpuClaim+"vbios-version"] != r.vbios || c["root_sha256"] != pinnedRoot {
					t.Errorf("device %d: claims %v", i, c)
				}
				if board := fmt.Sprintf("%v/%v/%v", c["project"], c["project-sku"], c["chip-sku"]); board != r.board {
					t.Errorf("device %d: board %s", i, board)
				}
				if id := a.Facts.Device[0]; seen[id] {
					t.Errorf("device %d: %s is there twice", i, id)
				} else {
					seen[id] = true
				}
			}
		})
	}
}
