// SPDX-License-Identifier: Apache-2.0

package dcap_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-tdx-guest/testing/testdata"

	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// FuzzParse looks for input that panics, that is taken for more than it has, or
// that verifies although nobody signed it.
func FuzzParse(f *testing.F) {
	f.Add(testdata.RawQuote)
	f.Add(testdata.RawQuoteV5)
	f.Add([]byte{0x81})
	for _, form := range forms {
		m := form.machine(f)
		f.Add(m.Quote())
	}
	own := map[dcap.TEE]*dcap.Verifier{}
	for _, tee := range []dcap.TEE{dcap.SGX, dcap.TDX} {
		v, err := dcap.NewVerifier(nil, nil, tee)
		if err != nil {
			f.Fatal(err)
		}
		own[tee] = v
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		q, err := dcap.Parse(raw)
		if err != nil {
			return
		}
		if tee, ok := dcap.Peek(raw); !ok || tee != q.TEE {
			t.Fatalf("peeked %s", tee)
		}
		if (q.TD() == nil) == (q.Enclave() == nil) || len(q.Signed)+4+q.Padding > len(raw) || len(q.QEReport) != dcap.SizeSGX ||
			len(q.Signature) != 64 || len(q.AttestationKey) != 64 || len(q.QESignature) != 64 || len(q.Chain) == 0 {
			t.Fatalf("parsed something else: %+v", q)
		}
		if td := q.TD(); td != nil {
			_, _, _ = td.ReportData(), td.TEETCBSVN2(), td.MRServiceTD()
		}
		_ = dcap.Needs(raw, q.TEE)
		// Only quotes of real platforms, which are among the seeds, verify.
		_, _, _ = own[q.TEE].VerifyQuote(q)
	})
}

// FuzzSplitPEM looks for text that panics, or that is taken for certificates
// although there is something else in it: what was decoded, encoded again, must
// be the text without its white space.
func FuzzSplitPEM(f *testing.F) {
	m := tdx(f)
	f.Add(dcaptest.PEM(m.CA.Cert, m.Root.Cert))
	f.Add([]byte(dcap.PEMBegin + "\n!!!\n" + dcap.PEMEnd + "\n"))
	f.Add([]byte(dcap.PEMBegin + "\nAAAA\n" + dcap.PEMEnd + "\r\n\x00"))
	bare := func(text []byte) string {
		return strings.Join(strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(dcap.PEMBlank, r) }), "")
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ders, err := dcap.SplitPEM(raw)
		if err != nil {
			return
		}
		var again []byte
		for _, d := range ders {
			again = append(again, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d})...)
		}
		if got, want := bare(bytes.TrimRight(raw, "\x00")), bare(again); got != want {
			t.Fatalf("%q was taken for %q", got, want)
		}
	})
}

// FuzzMembers looks for signed JSON that panics, or that is accepted although a
// member occurs twice.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"id":"TDX","tcbLevels":[{"tcb":{"pcesvn":1}}]}`))
	f.Add([]byte(`{"id":"a","ID":"b"}`))
	f.Add([]byte(`[[[[{"x":1,"x":2}]]]]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, err := dcap.DecodeTCBInfo(raw)
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) == nil && members["id"] == nil && id != "" {
			t.Fatalf("id %q was read from another member", id)
		}
	})
}
