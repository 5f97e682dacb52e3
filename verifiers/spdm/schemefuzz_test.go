// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// FuzzAppraise: whatever the bytes are, there is a verdict with a reason, never a
// panic, and what has no nonce is never affirmed.
func FuzzAppraise(f *testing.F) {
	d := newDevice(f, p256, versionOf(Version13), func(d *device) { d.multi = true })
	fullBlocks(d)
	e := d.evidence(f)
	e.Digests, e.Report = d.digests(), interfaceReport(goodInfo, "abc", goodRanges...)
	state, flags := StateRun, goodLock
	e.TSM = &TSM{Kind: TSMSEVTIO, Raw: make([]byte, sizeTDIInfo), State: &state, LockFlags: &flags}
	bare := *e
	bare.Challenge, bare.Report, bare.TSM = nil, nil, nil
	for _, seed := range []*Evidence{e, &bare, {VCA: d.vca, Chains: map[uint8][]byte{0: d.chain}, Challenge: e.Challenge}, {VCA: d.vca, Chains: map[uint8][]byte{1: d.chain}}} {
		raw, err := seed.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte{})
	for _, raw := range recordedSeeds(f) {
		f.Add(raw)
	}
	v := newTest(f, trusting(f, d.anchor, 0, "", "", ""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := v.Appraise(context.Background(), verifiers.Input{MediaType: evidence.MediaType{Base: MediaType}, Evidence: raw, Time: at})
		if err != nil {
			t.Fatal(err)
		}
		if a.Status() == verdict.TierAffirming || len(a.Reasons) == 0 || a.Status() == verdict.TierNone {
			t.Fatalf("%s %v", a.Status(), a.Reasons)
		}
		if strings.Contains(details(a), "parser panic") {
			t.Fatal(details(a))
		}
	})
}

// recordedSeeds are containers made of recorded files, if there are any.
func recordedSeeds(f *testing.F) (out [][]byte) {
	dir := os.Getenv("ASSIZE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "evidence")
	}
	folders, _ := filepath.Glob(filepath.Join(dir, "spdm", "*", "vca.bin"))
	for _, file := range folders {
		read := func(name string) []byte {
			b, _ := os.ReadFile(filepath.Join(filepath.Dir(file), name))
			return b
		}
		e := &Evidence{VCA: read("vca.bin"), Chains: map[uint8][]byte{0: read("certchain-slot0.bin")},
			Measurements: append(read("measurements-req.bin"), read("measurements-rsp.bin")...), Report: read("tdisp/interface-report.bin")}
		if raw, err := e.Encode(); err == nil {
			out = append(out, raw)
		}
	}
	return out
}
