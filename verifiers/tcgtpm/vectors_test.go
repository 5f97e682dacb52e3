// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"encoding/binary"
	"testing"
	"time"

	fx "github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/eventlog"
)

// protobuf calls f for every field of a message: number, value of a varint, or
// bytes.
func protobuf(tb testing.TB, raw []byte, f func(field, number uint64, value []byte)) {
	tb.Helper()
	varint := func() uint64 {
		v, n := binary.Uvarint(raw)
		if n <= 0 {
			tb.Fatal("not a protobuf message")
		}
		raw = raw[n:]
		return v
	}
	for len(raw) > 0 {
		switch tag := varint(); tag & 7 {
		case 0:
			f(tag>>3, varint(), nil)
		case 2:
			n := varint()
			f(tag>>3, 0, raw[:n])
			raw = raw[n:]
		default:
			tb.Fatalf("wire type %d", tag&7)
		}
	}
}

// gceBanks are the banks of Google's attestations by TPM_ALG_ID.
var gceBanks = map[uint64]string{4: "sha1", 0x0b: "sha256", 0x0c: "sha384"}

// gce turns one quote of Google's attestation (go-tpm-tools, attest.proto) into
// evidence of this scheme.
func gce(tb testing.TB, name, bank string) []byte {
	tb.Helper()
	out := map[string]any{}
	protobuf(tb, vectors.Read(tb, "vtpm/go-tpm-tools/attestations/"+name), func(field, _ uint64, v []byte) {
		switch field {
		case 1:
			out["ak_public"] = v
		case 2:
			gceQuote(tb, out, bank, v)
		case 3:
			out["event_log"] = v
		case 6:
			out["ak_certificate"] = [][]byte{v}
		}
	})
	raw, err := fx.Marshal(out)
	if err != nil || out["quote"] == nil {
		tb.Fatalf("no quote of %s: %v", bank, err)
	}
	return raw
}

func gceQuote(tb testing.TB, out map[string]any, bank string, raw []byte) {
	var quote, signature []byte
	var found string
	pcrs := map[uint64][]byte{}
	protobuf(tb, raw, func(field, _ uint64, v []byte) {
		switch field {
		case 1:
			quote = v
		case 2:
			signature = v
		case 3:
			protobuf(tb, v, func(field, number uint64, v []byte) {
				if field == 1 {
					found = gceBanks[number]
					return
				}
				var pcr uint64
				var value []byte
				protobuf(tb, v, func(field, number uint64, v []byte) {
					if field == 1 {
						pcr = number
					} else {
						value = v
					}
				})
				pcrs[pcr] = value
			})
		}
	})
	if found == bank {
		out["quote"], out["signature"], out["pcrs"] = quote, signature, map[string]any{bank: pcrs}
	}
}

// Google's virtual TPMs, by certificates of Google: what is known without lists of
// revocations and reference values, and what is not.
func TestGoogleCloud(t *testing.T) {
	const noNonce, withNonce = "gce-cos-85-no-nonce.pb", "gce-cos-85-nonce9009.pb"
	nonce9009 := []byte{0x90, 0x09}
	day := func(y int) time.Time { return time.Date(y, 9, 1, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name, file, bank string
		nonce            []byte
		at               time.Time
		tier             verdict.Tier
		fresh            verdict.Freshness
		identity         verdict.Claim
		reason           string
	}{
		{"SHA-256", withNonce, "sha256", nonce9009, day(2021), verdict.TierWarning, verdict.FreshnessFresh, 32, verdict.ReasonRevocationUnknown},
		{"SHA-384", withNonce, "sha384", nonce9009, day(2021), verdict.TierWarning, verdict.FreshnessFresh, 32, verdict.ReasonRevocationUnknown},
		{"as long as the certificate", withNonce, "sha256", nonce9009, day(2050), verdict.TierWarning, verdict.FreshnessFresh, 32, verdict.ReasonRevocationUnknown},
		{"longer", withNonce, "sha256", nonce9009, day(2051), verdict.TierContraindicated, verdict.FreshnessNotEstablished, 99, verdict.ReasonExpired},
		{"before", withNonce, "sha256", nonce9009, day(2020), verdict.TierContraindicated, verdict.FreshnessNotEstablished, 99, verdict.ReasonExpired},
		{"SHA-1 is not read", withNonce, "sha1", nonce9009, day(2021), verdict.TierContraindicated, verdict.FreshnessNotEstablished, 99, verdict.ReasonMalformed},
		{"half of the nonce", withNonce, "sha256", nonce9009[:1], day(2021), verdict.TierContraindicated, verdict.FreshnessMismatch, 32, verdict.ReasonNonceMismatch},
		{"no nonce", noNonce, "sha256", nil, day(2021), verdict.TierWarning, verdict.FreshnessNotEstablished, 32, verdict.ReasonNonceNotEstablished},
		{"no nonce, one expected", noNonce, "sha384", nonce9009, day(2021), verdict.TierContraindicated, verdict.FreshnessMismatch, 32, verdict.ReasonNonceMismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := gce(t, c.file, c.bank)
			a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: raw, Nonce: c.nonce, Time: c.at})
			if a.Status() != c.tier || a.Freshness != c.fresh || a.Vector[identity] != c.identity || !has(a, c.reason, "") {
				t.Fatalf("%s %s %d: %v", a.Status(), a.Freshness, a.Vector[identity], a.Reasons)
			}
			if c.identity == 99 {
				return
			}
			if a.Vector[executables] != 33 || a.Vector[configuration] != 36 || a.Vector[verdict.Hardware] != 0 {
				t.Errorf("%v", a.Vector)
			}
			said, ok := a.Claims["event_log"].(map[string]any)
			if !ok || said["secure_boot"] != true || a.Claims["ak"].(map[string]any)["root_sha256"] != googleRoot2018Sum || len(a.Facts.Measured) < 40 {
				t.Errorf("%v, %d events: %v", said, len(a.Facts.Measured), a.Reasons)
			}
		})
	}
	raw := gce(t, withNonce, "sha256")
	v := newTest(t, withPolicy(t, verifiers.Deps{}, "parameters: {pinned_roots: false}"))
	a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: nonce9009, Time: day(2021)})
	wants(t, a, 32, 33, 36, "unknown-root", "no-reference-values")
}

// A recorded machine can be affirming, where somebody says what it should be and
// the policy lives without lists of revocations.
func TestGoogleCloudWithReferenceValues(t *testing.T) {
	raw := gce(t, "gce-cos-85-nonce9009.pb", "sha256")
	l, f := open(inputOf(asCBOR, raw))
	if f != nil {
		t.Fatal(f)
	}
	registers := map[uint64][]refvalues.Digest{}
	for _, pcr := range []int{0, 2, 4, 7, 8, 9, 14} {
		registers[uint64(pcr)] = []refvalues.Digest{{Alg: "sha-256", Value: l.pcrs[pcr]}}
	}
	e := refvalues.Entry{Environment: refvalues.Environment{ClassID: refvalues.ClassTPM}, Values: []refvalues.Value{{Registers: registers}}}
	v := newTest(t, withPolicy(t, verifiers.Deps{}, "findings: {key-revocation-unknown: {instance-identity: 2}}"))
	a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: []byte{0x90, 0x09}, References: indexOf(t, e), Time: now})
	wants(t, a, 2, 3, 2, "revocation-unknown")
	if a.Status() != verdict.TierAffirming {
		t.Errorf("%v", a.Reasons)
	}
}

// Every log that was recorded can be read and replayed as far as it goes, or is
// refused with a reason.
func TestRecordedLogs(t *testing.T) {
	for _, c := range []struct {
		name string
		alg  eventlog.Alg
		good bool
		boot string // what the firmware says of Secure Boot
	}{
		{"go-tpm-tools/eventlogs/confidential-gke-debug-251000_eventlog.bin", eventlog.SHA256, true, "on"},
		{"go-tpm-tools/eventlogs/cos-85-amd-sev.bin", eventlog.SHA256, true, "on"},
		{"go-tpm-tools/eventlogs/eventlogwithsp800155.bin", eventlog.SHA256, true, "on"},
		{"go-tpm-tools/eventlogs/rhel8-uefi.bin", eventlog.SHA256, true, "on"},
		{"go-tpm-tools/eventlogs/ubuntu-2104-no-secure-boot.bin", eventlog.SHA256, true, "off"},
		{"go-tpm-tools/eventlogs/ubuntu-2404-amd-sevsnp.bin", eventlog.SHA256, true, "off"},
		{"go-tpm-tools/eventlogs/debian-10.bin", eventlog.SHA256, false, ""}, // SHA-1 only, of before crypto agility
		{"dstack/tpm_eventlog.bin", eventlog.SHA256, true, "off"},
	} {
		log, err := eventlog.Parse(vectors.Read(t, "vtpm/"+c.name), eventlog.TPM)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err != nil {
			continue
		}
		values, err := log.Replay(c.alg)
		if err != nil || len(values) < 8 {
			t.Errorf("%s: %d registers, %v", c.name, len(values), err)
		}
		m, err := log.Match(c.alg, values)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		state, err := m.State()
		got := "unclear"
		switch {
		case err == nil && state.SecureBoot:
			got = "on"
		case err == nil:
			got = "off"
		}
		if got != c.boot {
			t.Errorf("%s: secure boot is %s, want %s (%v)", c.name, got, c.boot, err)
		}
	}
}
