// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"errors"
	"slices"
	"testing"

	"github.com/assize/assize/internal/limits"
)

// Whatever the bytes: no panic, only typed errors, and nothing is read that the
// second reader would not replay to the same registers.
func FuzzParse(f *testing.F) {
	for _, name := range []string{ccelCOS113, "module/tpm/rhel8-uefi.bin", "module/ccel/cos-113-intel-tdx-dupe-separator-unpadded.bin", "module/tpm/host-gmes.bin"} {
		f.Add(recorded(f, name)[:min(len(recorded(f, name)), 40<<10)], name[7] == 'c')
	}
	f.Add(build(both, with(policyOf(1, 1), separator)...), true)
	f.Add(build([]Alg{SHA1, SHA512}, entry{0, evHCRTM, []byte("x"), nil}), false)
	f.Fuzz(func(t *testing.T, raw []byte, cc bool) {
		kind := TPM
		if cc {
			kind = CC
		}
		l, err := Parse(raw, kind)
		if err != nil {
			var m *Malformed
			if l != nil || !errors.As(err, &m) || m.Offset < 0 || m.Offset > max(len(raw), limits.EventLog) {
				t.Fatalf("error %#v", err)
			}
			return
		}
		for _, alg := range l.Banks() {
			if alg.Size() == 0 {
				continue
			}
			values, err := l.Replay(alg)
			if err != nil {
				t.Fatal(err)
			}
			m, err := l.Match(alg, values)
			if err != nil {
				t.Fatal(err)
			}
			if s, err := m.State(); (err == nil) == (s == nil) {
				t.Fatal("a state and an error, or neither")
			}
			m.CommandLine()
			if facts, omitted := m.Facts(3); len(facts)+omitted != len(m.Events()) || len(facts) > 3 {
				t.Fatal("facts are lost")
			}
			if _, ok := values[0]; alg != SHA384 && cc || ok && !cc {
				continue // the second reader knows RTMRs in SHA-384 only, and another PCR 0 of HCRTM events
			}
			if alg == SHA512 || slices.ContainsFunc(l.Events, func(e Event) bool { return e.Type == evHCRTM }) {
				continue // of HCRTM events the second reader has its own idea in every register
			}
			if _, err := second(padded(raw, l), banks(kind, alg, values)); err != nil {
				t.Fatalf("the second reader refuses: %v", err)
			}
		}
	})
}
