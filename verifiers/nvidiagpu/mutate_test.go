// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"context"
	"encoding/base64"
	"reflect"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"
)

// No byte of a recorded leaf can be changed to any advantage: either nothing
// that was signed changes (the case of a hexadecimal digit), or the device is
// contraindicated.
func TestEveryByteFlip(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	v := newTest(t, verifiers.Deps{})
	base := appraise(t, v, leaf, nonce, at)
	wantGood(t, base, nonce)
	step := 1
	if testing.Short() {
		step = 16
	}
	evidenceAt := bytes.Index(leaf, []byte(`"evidence":"`)) + len(`"evidence":"`)
	evidenceEnd := evidenceAt + base64.StdEncoding.EncodedLen(len(recorded(t)))
	same := 0
	for i := 0; i < len(leaf); i += step {
		bad := bytes.Clone(leaf)
		bad[i] ^= 1 << (i % 8)
		a := appraise(t, v, bad, nonce, at)
		if a.Status() == verdict.TierContraindicated {
			continue
		}
		same++
		if i >= evidenceAt && i < evidenceEnd {
			t.Fatalf("byte %d of the report is not covered: %v", i-evidenceAt, a.Status())
		}
		if a.Status() != base.Status() || a.Vector != base.Vector || !reflect.DeepEqual(a.Facts, base.Facts) || !bytes.Equal(a.NonceSeen, nonce) {
			t.Fatalf("byte %d: status %v, vector %v, reasons %v", i, a.Status(), a.Vector, a.Reasons)
		}
	}
	if same > 64 {
		t.Errorf("%d flips change nothing", same)
	}
	t.Logf("%d flips change nothing", same)
}

// The same for the bits below the encodings: the report itself and the DER of
// leaf and device certificate.
func TestEveryReportByteFlip(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	d, err := container.Decode(leaf)
	if err != nil {
		t.Fatal(err)
	}
	v := newTest(t, verifiers.Deps{})
	wantGood(t, appraise(t, v, leaf, nonce, at), nonce)
	step := 8
	if testing.Short() {
		step = 64
	}
	for i := 0; i < len(d.Report); i += step {
		bad := bytes.Clone(d.Report)
		bad[i] ^= 1 << (i / step % 8)
		l, _ := wrapBytes(t, bad, mocks.ValidCertChainData)
		if a := appraise(t, v, l, nonce, at); a.Status() != verdict.TierContraindicated {
			t.Fatalf("byte %d: %v", i, a.Status())
		}
	}
}

func wrapBytes(tb testing.TB, report, chain []byte) (leaf, nonce []byte) {
	tb.Helper()
	return nvidiatest.Array(tb, map[string]any{
		"arch": "HOPPER", "nonce": recordedNonce,
		"evidence": base64.StdEncoding.EncodeToString(report), "certificate": base64.StdEncoding.EncodeToString(chain),
	}), report[4 : 4+NonceSize]
}

func TestEveryTruncation(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	v := newTest(t, verifiers.Deps{})
	for n := range leaf {
		if n%7 != 0 && testing.Short() {
			continue
		}
		wantRefused(t, appraise(t, v, leaf[:n], nonce, at), verdict.ReasonMalformed)
	}
	for n := 0; n < len(mocks.ValidCertChainData); n += 11 {
		l, _ := wrapBytes(t, recorded(t), mocks.ValidCertChainData[:n])
		if a := appraise(t, v, l, nonce, at); a.Status() != verdict.TierContraindicated {
			t.Fatalf("chain cut to %d bytes: %v", n, a.Status())
		}
	}
}

func FuzzEvidence(f *testing.F) {
	leaf, nonce := mockLeaf(f)
	f.Add(leaf)
	f.Add([]byte(`[{"arch":"LS10","nonce":"","evidence":"","certificate":"","version":"1.0"}]`))
	f.Add([]byte(`[{"arch":"HOPPER"},[1],null]`))
	v := newTest(f, verifiers.Deps{})
	mt := evidence.MediaType{Base: MediaType}
	want := appraise(f, v, leaf, nonce, at).Facts
	f.Fuzz(func(t *testing.T, raw []byte) {
		parts, err := Scheme().Components(mt, raw)
		if err != nil {
			parts = [][]byte{raw}
		}
		for _, p := range parts {
			a, err := v.Appraise(context.Background(), verifiers.Input{MediaType: mt, Evidence: p, Nonce: nonce, Time: at})
			if err != nil {
				t.Fatal(err)
			}
			switch a.Status() {
			case verdict.TierContraindicated:
			case verdict.TierWarning:
				if !reflect.DeepEqual(a.Facts, want) {
					t.Fatalf("facts out of nothing: %+v", a.Facts)
				}
			default:
				t.Fatalf("status %v", a.Status())
			}
		}
	})
}
