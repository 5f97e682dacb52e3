// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// recordedSet is recorded evidence and the documents that were published for it.
type recordedSet struct {
	name, evidence, mediaType string
	nonce                     func(raw []byte) []byte
	folder                    string
	valid                     []string
	// policy is the appraisal policy of Veraison, which does not compare signer ids.
	policy string
}

func behind(head string, n int) func([]byte) []byte {
	return func(raw []byte) []byte {
		_, rest, _ := bytes.Cut(raw, []byte(head))
		return rest[:n]
	}
}

var recordedSets = []recordedSet{
	{
		"cca", "cca/veraison-services/cca-good.cbor", typeCCA, behind("\x0a\x58\x40", 64),
		"cca/veraison-services", []string{"corim-cca-platform-valid.cbor", "corim-cca-realm-valid.cbor"}, "scheme: arm-cca\nparameters: {signer_ids: ignore}\n",
	},
	{
		"psa", "cca/psa/psa-evidence.cbor", typePSA, behind("\x0a\x58\x20", 32),
		"psa/veraison-services/corim", []string{"corim-psa-valid.cbor"}, "scheme: psa\nparameters: {signer_ids: ignore}\n",
	},
	{
		"snp", "snp/veraison-services/sevsnp-tsm-report.json", typeTSM, func([]byte) []byte { return []byte(veraisonNonce) },
		"snp/veraison-services", []string{"corim-sevsnp-valid.cbor"}, "",
	},
}

// files puts evidence and documents into the folder: as they were published, which
// is unsigned, and signed by ACME.
func (r *recordedSet) files(w *workshop) (args []string) {
	w.t.Helper()
	raw := vectors.Read(w.t, r.evidence)
	w.write("evidence.cmw", one(w.t, r.mediaType, raw))
	for _, dir := range []string{"unsigned", "signed"} {
		if err := os.Mkdir(w.path(dir), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, name := range r.valid {
		w.write("unsigned/"+name+".corim", vectors.Read(w.t, r.folder+"/"+name))
		w.sign("signed/"+name+".corim", "unsigned/"+name+".corim")
	}
	return []string{"appraise", w.path("evidence.cmw"), "--component-nonce", "part=" + hex.EncodeToString(r.nonce(raw)), "-o", "json"}
}

// Documents that others have published, for evidence that others have recorded:
// with a signature they count, without one they do not, and in neither case is
// more believed than what fits.
func TestRecordedDocuments(t *testing.T) {
	for _, c := range []struct {
		set    string
		args   []string // w.path of what begins with "@"
		tier   string
		claims string // hardware, configuration, executables, runtime-opaque, instance-identity
		codes  string
	}{
		// Veraison's documents have other signer ids than its token.
		{"cca", []string{"--corim", "@signed", "--corim-trust", "@authorities.json"}, "warning", "2 36 33 2 2", "measurement-mismatch reference-values-partial"},
		{"cca", []string{"--corim", "@signed", "--corim-trust", "@authorities.json", "--evidence-policy", "@policy.yaml"}, "affirming", "2 2 2 2 2", ""},
		{"cca", []string{"--corim", "@signed/corim-cca-platform-valid.cbor.corim", "--corim-trust", "@authorities.json", "--evidence-policy", "@policy.yaml"},
			"warning", "2 2 33 2 2", "no-reference-values"},
		{"cca", []string{"--corim", "@signed/corim-cca-realm-valid.cbor.corim", "--corim-trust", "@authorities.json", "--evidence-policy", "@policy.yaml"},
			"contraindicated", "97 36 33 32 97", "claim-not-asserted no-collateral"},
		{"cca", []string{"--corim", "@unsigned", "--corim-unsigned", "--evidence-policy", "@policy.yaml"}, "contraindicated", "97 36 33 32 97", "claim-not-asserted unsigned-reference-values"},
		{"psa", []string{"--corim", "@signed", "--corim-trust", "@authorities.json"}, "warning", "2 2 33 2 2", "measurement-mismatch"},
		{"psa", []string{"--corim", "@signed", "--corim-trust", "@authorities.json", "--evidence-policy", "@policy.yaml"}, "affirming", "2 2 2 2 2", ""},
		{"psa", []string{"--corim", "@unsigned", "--corim-unsigned", "--evidence-policy", "@policy.yaml"}, "contraindicated", "97 36 33 32 97", "claim-not-asserted unsigned-reference-values"},
		{"snp", []string{"--corim", "@signed", "--corim-trust", "@authorities.json"}, "affirming", "2 2 3 2 2", ""},
		{"snp", []string{"--corim", "@unsigned", "--corim-unsigned"}, "warning", "32 36 33 2 2", "unsigned-reference-values"},
	} {
		t.Run(c.set+" "+strings.Join(c.args, " "), func(t *testing.T) {
			w := newWorkshop(t)
			set := &recordedSets[slices.IndexFunc(recordedSets, func(r recordedSet) bool { return r.name == c.set })]
			args := set.files(w)
			if set.policy != "" {
				w.write("policy.yaml", []byte(set.policy))
			}
			for _, a := range c.args {
				if name, ok := strings.CutPrefix(a, "@"); ok {
					a = w.path(name)
				}
				args = append(args, a)
			}
			part := parse(t, assize(t, w.state, args...)).Components["part"]
			var codes []string
			for _, why := range part.Reasons {
				codes = append(codes, why.Code)
			}
			slices.Sort(codes)
			v := part.TrustVector
			got := fmt.Sprintf("%s, %d %d %d %d %d, %s", part.Tier, v["hardware"], v["configuration"], v["executables"], v["runtime-opaque"], v["instance-identity"],
				strings.Join(slices.Compact(codes), " "))
			if want := fmt.Sprintf("%s, %s, %s", c.tier, c.claims, c.codes); got != want || part.Freshness != "fresh" && c.tier != "contraindicated" {
				t.Errorf("%s %s\nwant %s\n%v", part.Freshness, got, want, part.Reasons)
			}
		})
	}
}

// Documents that break a rule of their profile are refused for the reason in
// their names, signed or not, and never become half of a set.
func TestRecordedDocumentsRefused(t *testing.T) {
	reasons := map[string]string{
		"cca-platform-bad-no-class":            "attest key 0: class has no implementation id of 32 bytes",
		"cca-platform-bad-refval-cryptokeys":   "reference value 0: measurement 0: cryptokeys are not one signer id",
		"cca-platform-bad-refval-instance":     "reference value 0: reference value names an instance",
		"cca-platform-bad-refval-mkey-string":  "measurement key \"cca.bad-component\" is not",
		"cca-platform-bad-refval-mkey":         "measurement key 7 is not a text",
		"cca-platform-bad-refval-no-digests":   "no digests of a software component",
		"cca-platform-bad-refval-no-mkey":      "measurement key anonymous is not a text",
		"cca-platform-bad-refval-no-raw-value": "no raw value of the platform configuration",
		"cca-platform-bad-ta-cert":             "attest key 0: tag 555 is not a public key",
		"cca-platform-bad-ta-instance":         "attest key 0: instance is not a UEID",
		"cca-platform-bad-ta-no-instance":      "attest key 0: instance is not a UEID",
		"cca-realm-bad-instance":               "realm is not identified by its initial measurement: class id 37(",
		"cca-realm-bad-no-instance":            "realm is not identified by its initial measurement: class id none",
		"cca-realm-bad-no-integ-regs":          "cca.rim has 0 digests",
		"cca-realm-bad-no-raw-value":           "no raw value of cca.rpv",
		"cca-realm-bad-no-rim":                 "no cca.rim",
		"psa-bad-class":                        "attest key 0: class has no implementation id of 32 bytes",
		"psa-bad-instance":                     "attest key 0: instance is not a UEID",
		"psa-bad-refval-instance":              "reference value 0: reference value names an instance",
		"psa-bad-refval-mkey":                  "measurement key 6 is not a text",
		"psa-bad-refval-mval":                  "no digests of a software component",
		"psa-bad-ta-cert":                      "attest key 0: tag 555 is not a public key",
		"psa-bad-ta-no-instance":               "attest key 0: instance is not a UEID",
		"sevsnp-bad-refval-key":                "measurement key 1.3.6.1.4.1.3704.3.1 is not a number",
		"sevsnp-bad-refval-no-key":             "measurement key anonymous is not a number",
		"sevsnp-bad-ta-no-model":               "attest key 0: class without a model",
		"sevsnp-bad-ta-no-vendor":              "model \"ARK-Genoa\" without a vendor",
	}
	for i := range recordedSets {
		set := &recordedSets[i]
		w := newWorkshop(t)
		args := set.files(w)
		bad, err := filepath.Glob(filepath.Join(vectors.Dir(t), set.folder, "corim-*-bad-*.cbor"))
		if err != nil || len(bad) == 0 {
			t.Fatal(len(bad), err)
		}
		refused := map[string]bool{}
		for _, path := range bad {
			name := filepath.Base(path)
			w.write(name, vectors.Read(t, set.folder+"/"+name))
			o := assize(t, w.state, append(args, "--corim", w.path(name), "--corim-unsigned")...)
			why := reasons[strings.TrimSuffix(strings.TrimPrefix(name, "corim-"), ".cbor")]
			if o.code != exitFailed || why == "" || !strings.Contains(o.err, why) || o.out != "" {
				t.Errorf("%s: %d %s", name, o.code, o.err)
			}
			// A signature makes it no better, and is not given to what cannot be read.
			o = assize(t, w.state, "corim", "sign", "--key", w.path("acme.pem"), "--name", "ACME", "-o", w.path("signed/"+name+".corim"), w.path(name))
			if o.code != 0 && !strings.Contains(o.err, why) {
				t.Errorf("%s is not signed: %s", name, o.err)
			}
			refused[name+".corim"] = o.code == 0
		}
		// In a folder they are named and left out, and the others say what they said.
		o := assize(t, w.state, append(args, "--corim", w.path("signed"), "--corim-trust", w.path("authorities.json"))...)
		for name, signed := range refused {
			if signed != strings.Contains(o.err, name) {
				t.Errorf("%s: signed %t, log %s", name, signed, o.err)
			}
		}
		if part := parse(t, o).Components["part"]; part.TrustVector["hardware"] != 2 {
			t.Errorf("%s: %+v", set.name, part)
		}
	}
}
