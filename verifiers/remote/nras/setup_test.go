// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return at }

var containerType = evidence.MediaType{Base: container.MediaType}

// native describes a scheme as the native ones are described.
func native(name, arch string) verifiers.Scheme {
	return verifiers.Scheme{
		Name: name, Class: verifiers.ClassDevice, Version: "9.9.9", Signed: true,
		Accepts:     []evidence.MediaType{containerType.With(container.ArchParam, arch), {Base: "application/vnd.assize.other"}},
		MaxEvidence: 64 << 10, NonceSize: 32, Required: []verdict.ClaimName{verdict.Hardware},
		Split: func(mt evidence.MediaType, raw []byte) ([][]byte, error) { return container.Split(mt.Base, raw) },
		New:   func(verifiers.Deps) (verifiers.Verifier, error) { panic("the native scheme is not asked") },
	}
}

// gpu is a simulated GPU in single passthrough mode; change sees it before it is
// made.
func gpu(tb testing.TB, change func(*nvidiatest.Device)) []byte {
	tb.Helper()
	d := nvidiatest.New(tb, rand.Reader, at, nvidiatest.Model{Arch: "HOPPER", Chip: "GH100", Engine: "GSP", Prefix: 0x41, PDI: []byte("\x01\x02\x03\x04\x05\x06\x07\x08")})
	d.With(34, []byte{1, 0}).With(21, []byte{0x55}).With(36, []byte{0, 0})
	if change != nil {
		change(d)
	}
	return d.Leaf()
}

var nonce = bytes.Repeat([]byte{7}, 32) // that of nvidiatest

// verifierOf is the backend of a scheme that asks a service.
func verifierOf(tb testing.TB, s *nrastest.Service, scheme, arch string, change func(*ClientOptions)) verifiers.Verifier {
	tb.Helper()
	o := ClientOptions{URL: s.URL, HTTP: http.DefaultClient, Now: clock}
	if change != nil {
		change(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		tb.Fatal(err)
	}
	sc, err := Backend(native(scheme, arch), Options{Service: c, Issuer: s.Issuer})
	if err != nil {
		tb.Fatal(err)
	}
	v, err := sc.New(verifiers.Deps{})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func input(leaf []byte) verifiers.Input {
	return verifiers.Input{MediaType: containerType, Evidence: leaf, Nonce: nonce, Time: at}
}

// recorded is evidence of a recorded device, of its report and chain.
func recorded(tb testing.TB, arch, report, chain string) ([]byte, []byte) {
	tb.Helper()
	raw, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(tb, report))))
	if err != nil {
		tb.Fatal(err)
	}
	return nvidiatest.Array(tb, nvidiatest.Object(arch, raw, vectors.Read(tb, chain))), raw[4:36]
}

const recordedFolder = "nvidia/attestation-sdk/testdata/sample_attestation_data/"

// recordedClaims are the decoded claims of a recorded device token, without those
// that the stand-in makes anew.
func recordedClaims(tb testing.TB, file, name string) nrastest.Claims {
	tb.Helper()
	var all map[string]nrastest.Claims
	if err := json.Unmarshal(vectors.Read(tb, recordedFolder+file), &all); err != nil {
		tb.Fatal(err)
	}
	c := all[name]
	for _, name := range []string{"iss", "iat", "nbf", "exp", "jti", "eat_nonce"} {
		delete(c, name)
	}
	return c
}

func appraise(tb testing.TB, v verifiers.Verifier, in verifiers.Input) verdict.Appraisal {
	tb.Helper()
	a, err := v.Appraise(context.Background(), in)
	if err != nil {
		tb.Fatalf("no verdict: %v", err)
	}
	return a
}

func has(a verdict.Appraisal, code string) bool {
	for _, r := range a.Reasons {
		if r.Code == code {
			return true
		}
	}
	return false
}
