// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// leaf is one with the right form and nothing behind it.
func leaf(change func(m, quote map[string]any)) []byte {
	pcrs := make([]any, PCRs)
	for i := range pcrs {
		pcrs[i] = strings.Repeat("0a", pcrSize)
	}
	quote := map[string]any{"message": "ff54", "signature": "0102", "pcrs": pcrs}
	m := map[string]any{"version": 2, "hcl_report": "SENM", "vcek": "MIIF", "tpm_quote": quote}
	if change != nil {
		change(m, quote)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return raw
}

func TestParse(t *testing.T) {
	l, err := Parse(leaf(nil))
	if err != nil || l.Version != 2 || l.TEE != TEESNP || string(l.Report) != "HCL" || len(l.PCRs[23]) != 32 || l.EventLog != nil {
		t.Fatalf("%+v, %v", l, err)
	}
	l, err = Parse(leaf(func(m, _ map[string]any) {
		delete(m, "vcek")
		m["td_quote"], m["event_log"], m["version"] = "BAAC", "AAAA", 1
	}))
	if err != nil || l.Version != 1 || l.TEE != TEETDX || !bytes.Equal(l.TDQuote, []byte{4, 0, 2}) || len(l.EventLog) != 3 {
		t.Fatalf("%+v, %v", l, err)
	}
	if tee, err := TEE(leaf(func(m, _ map[string]any) { delete(m, "vcek") })); err != nil || tee != TEESNP {
		t.Errorf("without a certificate: %s, %v", tee, err)
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("0a", maxMessage+1)
	for name, raw := range map[string][]byte{
		"empty":            nil,
		"no object":        []byte("[]"),
		"too large":        append(leaf(nil), bytes.Repeat([]byte(" "), MaxLeaf)...),
		"behind it":        append(leaf(nil), "x"...),
		"twice":            bytes.Replace(leaf(nil), []byte(`"version"`), []byte(`"vcek":"MIIF","version"`), 1),
		"twice in quote":   bytes.Replace(leaf(nil), []byte(`"message"`), []byte(`"message":"ff","message"`), 1),
		"version 3":        leaf(func(m, _ map[string]any) { m["version"] = 3 }),
		"version text":     leaf(func(m, _ map[string]any) { m["version"] = "1" }),
		"no report":        leaf(func(m, _ map[string]any) { delete(m, "hcl_report") }),
		"empty report":     leaf(func(m, _ map[string]any) { m["hcl_report"] = "" }),
		"padded too much":  leaf(func(m, _ map[string]any) { m["hcl_report"] = "SENM==" }),
		"loose bits":       leaf(func(m, _ map[string]any) { m["hcl_report"] = "SEN=" }),
		"other base64":     leaf(func(m, _ map[string]any) { m["hcl_report"] = "++//" }),
		"newline":          leaf(func(m, _ map[string]any) { m["hcl_report"] = "SE\nNM" }),
		"null report":      leaf(func(m, _ map[string]any) { m["hcl_report"] = nil }),
		"unknown":          leaf(func(m, _ map[string]any) { m["more"] = 1 }),
		"both":             leaf(func(m, _ map[string]any) { m["td_quote"] = "AAAA" }),
		"no quote":         leaf(func(m, _ map[string]any) { delete(m, "tpm_quote") }),
		"quote a list":     leaf(func(m, _ map[string]any) { m["tpm_quote"] = []any{} }),
		"no message":       leaf(func(_, q map[string]any) { delete(q, "message") }),
		"no hex":           leaf(func(_, q map[string]any) { q["message"] = "xx" }),
		"long message":     leaf(func(_, q map[string]any) { q["message"] = long }),
		"no signature":     leaf(func(_, q map[string]any) { delete(q, "signature") }),
		"23 registers":     leaf(func(_, q map[string]any) { q["pcrs"] = q["pcrs"].([]any)[1:] }),
		"no registers":     leaf(func(_, q map[string]any) { delete(q, "pcrs") }),
		"short register":   leaf(func(_, q map[string]any) { q["pcrs"].([]any)[3] = "0a" }),
		"unknown in quote": leaf(func(_, q map[string]any) { q["nonce"] = "" }),
		"numbers as texts": leaf(func(m, _ map[string]any) { delete(m, "version") }),
	} {
		if _, err := Parse(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, text := range []string{"[256]", "[-1]", "[1.5]", `"AA"`, "null", "[null]"} {
		if v, err := byteArray(json.RawMessage(text)); err == nil {
			t.Errorf("%s is read as %v", text, v)
		}
	}
}

// recorded are real leaves of all three versions.
func recorded(tb testing.TB) map[string][]byte {
	out := map[string][]byte{}
	for _, name := range []string{"evidence-v0.json", "evidence-v1.json", "evidence-v2.json"} {
		out[name] = vectors.Read(tb, "vtpm/trustee/az-snp-vtpm/"+name)
	}
	return out
}

func TestRecorded(t *testing.T) {
	for name, raw := range recorded(t) {
		l, err := Parse(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if l.TEE != TEESNP || !bytes.HasPrefix(l.Report, []byte("HCLA")) || len(l.Report) != 2600 || len(l.Signature) != 256 ||
			!bytes.HasPrefix(l.Message, []byte("\xffTCG")) || len(l.VCEK) < 1000 {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(leaf(nil))
	f.Add([]byte(`{"report":[1,2],"quote":{"message":[1],"signature":[2],"pcrs":[]},"vcek":"x"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := Parse(raw)
		if err == nil && (l.TEE == "" || len(l.Report) == 0 || len(l.Message) == 0) {
			t.Fatal("accepted without its parts")
		}
	})
}
