// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
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

// The same for the bits below the encodings: every byte of the report.
func TestEveryReportByteFlip(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	leaf, nonce := mockLeaf(t)
	report := recorded(t)
	wantGood(t, appraise(t, v, leaf, nonce, at), nonce) // the chain is known from now on
	flipEach(t, len(report), 1, func(i int, bit byte) {
		bad := bytes.Clone(report)
		bad[i] ^= bit
		l, _ := wrapBytes(t, bad, mocks.ValidCertChainData)
		if a := appraise(t, v, l, nonce, at); a.Status() != verdict.TierContraindicated {
			t.Fatalf("byte %d: %v", i, a.Status())
		}
	})
}

// Every byte of every certificate, the root included, with a cache that knows the
// good chain and its parts.
func TestEveryCertificateByteFlip(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	good := derOf(mocks.ValidCertChainData)
	v := newTest(t, verifiers.Deps{})
	wantGood(t, appraise(t, v, leaf, nonce, at), nonce)
	for pos, der := range good {
		flipEach(t, len(der), 1, func(i int, bit byte) {
			chain := slices.Clone(good)
			chain[pos] = bytes.Clone(der)
			chain[pos][i] ^= bit
			l, _ := wrapBytes(t, recorded(t), pemOf(chain))
			if a := appraise(t, v, l, nonce, at); a.Status() != verdict.TierContraindicated || len(a.Facts.Device) > 0 {
				t.Fatalf("certificate %d, byte %d: %v, facts %v", pos, i, a.Status(), a.Facts)
			}
		})
	}
}

// flipEach calls try for every step-th byte of n, with one bit each, the next one
// every time. With -short it takes larger steps.
func flipEach(t *testing.T, n, step int, try func(i int, bit byte)) {
	t.Helper()
	if testing.Short() {
		step *= 61
	}
	for i := 0; i < n; i += step {
		try(i, 1<<(i/step%8))
	}
}

func derOf(text []byte) (chain [][]byte) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return chain
		}
		chain = append(chain, block.Bytes)
	}
}

func pemOf(chain [][]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
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

// What a device itself has signed in a form that could be read in two ways is
// refused, also where both readings would do.
func TestSignedTwiceIsRefused(t *testing.T) {
	for name, change := range map[string]func(f *fake){
		"opaque field twice":       func(f *fake) { f.Fields = append(f.Fields, f.Fields[1]) },
		"unknown field twice":      func(f *fake) { f.Fields = append(f.Fields, nvidiatest.Field{Type: 77}, nvidiatest.Field{Type: 77}) },
		"opaque field as invalid":  func(f *fake) { f.Fields = append(f.Fields, nvidiatest.Field{Type: 255, Value: []byte{1}}) },
		"measurement block twice":  func(f *fake) { f.Blocks = append(f.Blocks, f.Blocks[1]) },
		"measurement block 0":      func(f *fake) { f.Blocks[0].Index = 0 },
		"no measurement block":     func(f *fake) { f.Blocks = nil },
		"one byte behind":          func(f *fake) { f.Trail = []byte{1} },
		"zeros and a byte behind":  func(f *fake) { f.Trail = []byte{0, 0, 1} },
		"as much as padding and 1": func(f *fake) { f.Trail = make([]byte, MaxPadding+1) },
		"signature twice":          func(f *fake) { f.Trail = make([]byte, SignatureSize) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			change(f)
			wantRefused(t, f.appraise(), verdict.ReasonMalformed)
		})
	}
}

// A recorded report with zeros behind it, as collectors write it that round up, is
// as good as without; with anything else it is none.
func TestRecordedPadding(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	v := newTest(t, verifiers.Deps{})
	want := appraise(t, v, leaf, nonce, at)
	for n := 1; n <= MaxPadding; n++ {
		l, _ := wrapBytes(t, append(recorded(t), make([]byte, n)...), mocks.ValidCertChainData)
		a := appraise(t, v, l, nonce, at)
		wantGood(t, a, nonce)
		if a.Claims["padded"] != n || want.Claims["padded"] != nil || a.Vector != want.Vector || !reflect.DeepEqual(a.Facts, want.Facts) {
			t.Errorf("%d zeros: %v, claims %v", n, a.Vector, a.Claims)
		}
	}
	for _, trail := range [][]byte{{1}, {0x0A}, {0, 0x20}, make([]byte, MaxPadding+1)} {
		l, _ := wrapBytes(t, append(recorded(t), trail...), mocks.ValidCertChainData)
		wantRefused(t, appraise(t, v, l, nonce, at), verdict.ReasonMalformed)
	}
	short := recorded(t)
	l, _ := wrapBytes(t, short[:len(short)-1], mocks.ValidCertChainData)
	wantRefused(t, appraise(t, v, l, nonce, at), verdict.ReasonMalformed)
}

// Certificates of two real GPUs, mixed in every way: only the five that belong
// together, with the report of their device, are accepted.
func TestSwappedCertificates(t *testing.T) {
	type device struct {
		report []byte
		chain  [][]byte
	}
	var devices []device
	for _, name := range []string{nvtrust + "hopperAttestationReport.txt", sampled + "hopperAttestationReport.txt"} {
		text := vectors.Read(t, strings.Replace(name, "AttestationReport", "CertChain", 1))
		devices = append(devices, device{unhex(t, string(vectors.Read(t, name))), derOf(text)})
	}
	v := newTest(t, verifiers.Deps{})
	accepted := 0
	for mix := range 1 << 5 {
		chain := make([][]byte, 5)
		for pos := range chain {
			chain[pos] = devices[mix>>pos&1].chain[pos]
		}
		for i, d := range devices {
			nonce := d.report[4 : 4+NonceSize]
			m := nvidiatest.Object("HOPPER", d.report, pemOf(chain))
			a := appraise(t, v, nvidiatest.Array(t, m), nonce, at)
			whole := slices.EqualFunc(chain, d.chain, bytes.Equal)
			if whole {
				accepted++
				wantGood(t, a, nonce)
				continue
			}
			other := slices.EqualFunc(chain, devices[1-i].chain, bytes.Equal)
			wantRefused(t, a, pick(other, verdict.ReasonSignatureInvalid, verdict.ReasonChainInvalid))
		}
	}
	// Provisioner, family and root may be the same certificates in both chains.
	if accepted < 2 {
		t.Errorf("%d combinations accepted", accepted)
	}
}
