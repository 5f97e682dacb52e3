// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"testing"
)

func TestFaults(t *testing.T) {
	type state struct{ signed, replays, chained, revoked, honest bool }
	good := state{true, true, true, false, true}
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   func(*state)
	}{
		{"none", func(*Options) {}, func(*state) {}},
		{"measurement", func(o *Options) { o.Measurement = true }, func(s *state) { s.honest = false }},
		{"secure boot off", func(o *Options) { o.SecureBootOff = true }, func(s *state) { s.honest = false }},
		{"log tampered", func(o *Options) { o.LogTampered = true }, func(s *state) { s.replays = false }},
		{"wrong signer", func(o *Options) { o.WrongSigner = true }, func(s *state) { s.signed = false }},
		{"expired", func(o *Options) { o.Expired = true }, func(s *state) { s.chained = false }},
		{"revoked", func(o *Options) { o.Revoked = true }, func(s *state) { s.revoked = true }},
	} {
		for _, key := range []KeyType{P256, RSA2048} {
			t.Run(c.name, func(t *testing.T) {
				d := device(t, func(o *Options) { o.Key = key; c.change(o) })
				l := leafOf(t, d)
				want := good
				c.want(&want)
				got := state{signed(t, l) == nil, replays(t, l), chained(t, d, l) == nil, revoked(t, d, l), asMeasured(d, l)}
				if got != want {
					t.Errorf("key %d: got %+v, want %+v", key, got, want)
				}
				// Whatever the fault, each digest in the log is that of its data.
				events, err := walk(l.EventLog)
				if err != nil {
					t.Fatal(err)
				}
				follows(t, events)
			})
		}
	}
}

func TestFaultsTouchOneRegister(t *testing.T) {
	honest := device(t, nil)
	for touched, change := range map[int]func(*Options){
		9: func(o *Options) { o.Measurement = true }, 7: func(o *Options) { o.SecureBootOff = true }, -1: func(o *Options) { o.Uncertified = true },
	} {
		for pcr, value := range device(t, change).PCRs() {
			if bytes.Equal(value, honest.PCRs()[pcr]) == (pcr == touched) {
				t.Errorf("PCR %d, touched is %d", pcr, touched)
			}
		}
	}
	a, _ := walk(honest.log)
	b, _ := walk(device(t, func(o *Options) { o.LogTampered = true }).log)
	if len(a) == 0 || len(a) != len(b) {
		t.Fatalf("%d and %d events", len(a), len(b))
	}
	for i := range a {
		if a[i].pcr != 8 && !bytes.Equal(a[i].digests[0x0b], b[i].digests[0x0b]) {
			t.Errorf("event %d of PCR %d differs", i, a[i].pcr)
		}
	}
}

// A TPM without a certificate says the same in both forms, but for that member.
func TestUncertified(t *testing.T) {
	d := device(t, func(o *Options) { o.Uncertified = true })
	if l := leafOf(t, d); l.AKCertificates != nil || signed(t, l) != nil {
		t.Errorf("%d certificates", len(l.AKCertificates))
	}
	for name, encode := range map[string]func([]byte) ([]byte, error){"CBOR": d.Evidence, "JSON": d.EvidenceJSON} {
		raw, err := encode(nonce())
		if err != nil || bytes.Contains(raw, []byte("ak_certificate")) || !bytes.Contains(raw, []byte("ak_public")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
