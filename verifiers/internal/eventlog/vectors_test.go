// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// moduleLogs is the folder of recorded logs in the module cache: go-eventlog is
// a dependency, so its files are there wherever the tests are built.
var moduleLogs = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-eventlog").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "testdata", "eventlogs"), err
})

// recorded reads a log: "module/…" is one of go-eventlog's test data, anything
// else one of the folder of recorded evidence.
func recorded(tb testing.TB, name string) []byte {
	tb.Helper()
	path, ok := strings.CutPrefix(name, "module/")
	if !ok {
		return vectors.Read(tb, name)
	}
	dir, err := moduleLogs()
	if err != nil {
		tb.Skipf("no module cache: %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
	if err != nil {
		tb.Skipf("no recorded log: %v", err)
	}
	return raw
}

const (
	ccelCOS113 = "module/ccel/cos-113-intel-tdx.bin"
	ccelDupe   = "vtpm/go-eventlog/ccel/cos-113-intel-tdx-dupe-separator-unpadded.bin"
)

// vector is a recorded log and what has to be read in it.
type vector struct {
	name    string
	kind    Kind
	alg     Alg
	events  int
	padding int
	// registers is the SHA-256 of index (one byte) and value of every register
	// with events, in ascending order, as their publisher gives the values; ""
	// where nobody does.
	registers string
	// state is "on", "off" or a part of the error.
	state string
	line  string // how the kernel's command line begins
}

var recordedLogs = []vector{
	{"module/tpm/rhel8-uefi.bin", TPM, SHA1, 82, 0, "3ca74470cb0d8bfa7599f67a7b8c7eea56e2bfe7248a6d85e68c9a95d76707d5", "on", "(hd0,gpt2)/boot/vmlinuz-4.18.0"},
	{"module/tpm/rhel8-uefi.bin", TPM, SHA256, 82, 0, "64a93f788b86034e4f8d5eb63b43dd41ece5c37007342bbb01d2381093387ef1", "on", "(hd0,gpt2)/boot/vmlinuz-4.18.0"},
	{"module/tpm/ubuntu-1804-amd-sev.bin", TPM, SHA256, 87, 0, "d10d2e011cec3250a44bc22b5e30e56288f05e579a972bc3ea311af9987f126c", "off", "/boot/vmlinuz-5.4.0-1046-gcp"},
	{"module/tpm/ubuntu-2104-no-dbx.bin", TPM, SHA256, 111, 0, "a3a2e3b735d9a5aab4b985f7baccc6d3fb184a2b4e5fdf032428c22bef6effb8", "off", "/boot/vmlinuz-5.11.0-1008"},
	{"module/tpm/ubuntu-2104-no-secure-boot.bin", TPM, SHA1, 105, 0, "7e49e81f7f63a9459a31fb3912242aaae81b55f41931a1b96447b0cae85a82df", "off", "/boot/vmlinuz-5.11.0-1006"},
	{"module/tpm/ubuntu-2404-amd-sevsnp.bin", TPM, SHA256, 116, 0, "d8546b7aaf0e1134bf820601de20ab680d765f3802cbaeae860a68cd8869ec7e", "off", "/vmlinuz-6.8.0-1010-gcp"},
	{"module/tpm/glinux-alex.bin", TPM, SHA256, 28, 0, "06a22ca370b8bbc9052bec0b626d83728b036a380121a902dfb16d63ac94551e", "off", ""},
	{"module/tpm/arch-linux-workstation.bin", TPM, SHA256, 24, 0, "0c69dd3f4fba448189317cbfdda3f351b74317154571ba8612fa5280b0a4acb2", "off", ""},
	{"module/tpm/cos-85-amd-sev.bin", TPM, SHA256, 45, 0, "02718befb0182c0c598d010c2ba52d96c2b34dd38727424b341c90c3ef53913f", "on", "/syslinux/vmlinuz.A"},
	{"module/tpm/cos-93-amd-sev.bin", TPM, SHA256, 45, 0, "c00e760b1e12712f1448a763b4a04c059265df4b7c1ec61580aaf79e682bc66d", "on", "/syslinux/vmlinuz.A"},
	{"module/tpm/cos-101-amd-sev.bin", TPM, SHA256, 48, 0, "d6b51e6d8dcb0845655c14b3910e1f3c552d1a766dac88ea3c005e34af7efe4f", "on", "/syslinux/vmlinuz.A"},
	{"module/tpm/cos-121-amd-sev.bin", TPM, SHA256, 52, 0, "f109e1fb21e96ce51c8ab3187ed5057e9445bca38ff6da17db575df9e6941a6b", "on", "/syslinux/vmlinuz.A"},
	{"module/tpm/gdc-host.bin", TPM, SHA256, 158, 0, "0407920b8c59f3a935771f10558431eaf1e3aa6fb2e4a0f91bfe54de33e6b6e5", "off", "/vmlinuz-6.9.0-rc7+"},
	{"module/tpm/cos-125-intel-tdx-secure-boot.bin", TPM, SHA384, 102, 0, "", "on", "/syslinux/vmlinuz.A"},
	{"module/tpm/host-gmes.bin", TPM, SHA256, 11, 0, "", "pcr7: the register is not signed", ""},
	{"vtpm/go-tpm-tools/eventlogs/cos-85-amd-sev.bin", TPM, SHA256, 45, 0, "02718befb0182c0c598d010c2ba52d96c2b34dd38727424b341c90c3ef53913f", "on", "/syslinux/vmlinuz.A"},
	{"vtpm/go-tpm-tools/eventlogs/rhel8-uefi.bin", TPM, SHA1, 82, 0, "3ca74470cb0d8bfa7599f67a7b8c7eea56e2bfe7248a6d85e68c9a95d76707d5", "on", "(hd0,gpt2)/boot/vmlinuz-4.18.0"},
	{"vtpm/go-tpm-tools/eventlogs/ubuntu-2104-no-secure-boot.bin", TPM, SHA1, 105, 0, "7e49e81f7f63a9459a31fb3912242aaae81b55f41931a1b96447b0cae85a82df", "off", "/boot/vmlinuz-5.11.0-1006"},
	{"vtpm/go-tpm-tools/eventlogs/ubuntu-2404-amd-sevsnp.bin", TPM, SHA256, 116, 0, "d8546b7aaf0e1134bf820601de20ab680d765f3802cbaeae860a68cd8869ec7e", "off", "/vmlinuz-6.8.0-1010-gcp"},
	{"vtpm/go-tpm-tools/eventlogs/confidential-gke-debug-251000_eventlog.bin", TPM, SHA256, 54, 0, "", "on", "/syslinux/vmlinuz.B"},
	{"vtpm/go-tpm-tools/eventlogs/eventlogwithsp800155.bin", TPM, SHA256, 53, 0, "", "on", "/syslinux/vmlinuz.B"},
	{"vtpm/dstack/tpm_eventlog.bin", TPM, SHA256, 45, 0, "", "off", ""},
	{"vtpm/dstack/ccel.bin", CC, SHA384, 18, 63603, "", "off", ""},
	{ccelCOS113, CC, SHA384, 43, 244043, "", "off", "/syslinux/vmlinuz.A init=/usr/lib/systemd/systemd rootwait"},
	{"tdx/go-tdx-guest/ccel/ccel_data.dat", CC, SHA384, 43, 244043, "", "off", "/syslinux/vmlinuz.A init=/usr/lib/systemd/systemd rootwait"},
	{ccelDupe, CC, SHA384, 43, 0, "", "event 16 in rtmr0: a second separator", "/syslinux/vmlinuz.A"},
	{"module/ccel/cos-113-intel-tdx-dupe-separator.bin", CC, SHA384, 43, 244043, "", "event 16 in rtmr0: a second separator", "/syslinux/vmlinuz.A"},
	{"vtpm/go-eventlog/ccel/CCEL_unpadded.data.bin", CC, SHA384, 19, 0, "", "event 16 in rtmr0: a second separator", ""},
	{"vtpm/go-eventlog/ccel/event_log.bin", CC, SHA384, 27, 62833, "", "event 19 in rtmr0: a second separator", ""},
	{"module/ccel/gdc-tdx.bin", CC, SHA384, 109, 49937, "", "off", "/vmlinuz-6.11.0-21-generic"},
	{"module/ccel/ubuntu-2404-intel-tdx.bin", CC, SHA384, 159, 211830, "", "off", "/vmlinuz-6.17.0-1008-gcp"},
	{"module/ccel/cs251200CCEL", CC, SHA384, 45, 240807, "", "off", "/syslinux/vmlinuz.B"},
	{"tdx/trustee/CCEL_data_ovmf", CC, SHA384, 20, 63416, "", "event 16 in rtmr0: a second separator", ""},
}

func TestRecordedLogs(t *testing.T) {
	for _, v := range recordedLogs {
		t.Run(v.name+"/"+v.alg.String(), func(t *testing.T) {
			l, err := Parse(recorded(t, v.name), v.kind)
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Events) != v.events || l.Padding != v.padding {
				t.Errorf("%d events and %d bytes of padding, want %d and %d", len(l.Events), l.Padding, v.events, v.padding)
			}
			values, err := l.Replay(v.alg)
			if err != nil {
				t.Fatal(err)
			}
			if got := bankDigest(values); v.registers != "" && got != v.registers {
				t.Errorf("registers %s, want %s", got, v.registers)
			}
			m, err := l.Match(v.alg, values)
			if err != nil {
				t.Fatal(err)
			}
			checkState(t, m, v)
		})
	}
}

func checkState(t *testing.T, m *Matched, v vector) {
	t.Helper()
	s, err := m.State()
	var why *StateError
	switch {
	case err != nil:
		if !errors.As(err, &why) || !strings.Contains(err.Error(), v.state) {
			t.Errorf("state: %v, want %s", err, v.state)
		}
	case map[bool]string{true: "on", false: "off"}[s.SecureBoot] != v.state:
		t.Errorf("secure boot %t, want %s", s.SecureBoot, v.state)
	case s.SecureBoot && (s.Variable("db") == nil || len(s.Authorities) == 0):
		t.Errorf("secure boot without db or authority: %d variables", len(s.Variables))
	}
	line, ok := m.CommandLine()
	if ok != (v.line != "") || !strings.HasPrefix(line, v.line) {
		t.Errorf("command line %q, want %q", line, v.line)
	}
}

func bankDigest(values map[uint32][]byte) string {
	h := sha256.New()
	for _, i := range slices.Sorted(maps.Keys(values)) {
		h.Write([]byte{byte(i)})
		h.Write(values[i])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// quoteRTMRs are the registers of a TDX quote, version 4, by their index in a log.
func quoteRTMRs(quote []byte) map[uint32][]byte {
	const body, rtmr0 = 48, 328
	out := map[uint32][]byte{}
	for i := range uint32(3) {
		at := body + rtmr0 + 48*int(i)
		out[i+1] = bytes.Clone(quote[at : at+48])
	}
	return out
}

func TestRecordedQuoteAndLog(t *testing.T) {
	quote := recorded(t, "tdx/go-tdx-guest/ccel/cos-113-tdx-quote.dat")
	l, err := Parse(recorded(t, "tdx/go-tdx-guest/ccel/ccel_data.dat"), CC)
	if err != nil {
		t.Fatal(err)
	}
	signed := quoteRTMRs(quote)
	m, err := l.Match(SHA384, signed)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Events()); n != 43 {
		t.Errorf("%d events, want 43", n)
	}
	signed[2][17] ^= 1
	err = l.Compare(SHA384, signed)
	var mm *Mismatch
	if !errors.As(err, &mm) || mm.Index != 2 || mm.Register != "rtmr1" || !bytes.Equal(mm.Want, signed[2]) {
		t.Errorf("RTMR1 altered: %v, want register 2", err)
	}
}

// The log of one machine is that of no other.
func TestLogOfAnotherMachine(t *testing.T) {
	for _, log := range []string{"tdx/trustee/CCEL_data_ovmf", ccelDupe, "vtpm/dstack/ccel.bin"} {
		l, err := Parse(recorded(t, log), CC)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{"go-tdx-guest/ccel/cos-113-tdx-quote.dat", "dcap-qvl/tdx_quote"} {
			var mm *Mismatch
			if err := l.Compare(SHA384, quoteRTMRs(recorded(t, "tdx/"+q))); !errors.As(err, &mm) || mm.Index != 1 {
				t.Errorf("%s for %s: %v, want a mismatch of register 1", log, q, err)
			}
		}
	}
}

// The registers that the publisher of the log with two separators gives.
func TestDuplicateSeparatorReplays(t *testing.T) {
	l, err := Parse(recorded(t, ccelDupe), CC)
	if err != nil {
		t.Fatal(err)
	}
	m, err := l.Match(SHA384, map[uint32][]byte{
		1: unhex(t, "a4de2df23e9611299123ba4359c42a5e578b0f8488bf1bba8ef5606d9ea5d81c97c064b482a5eac537d166bd0f0f752d"),
		2: unhex(t, "0ee9366c928a77092f55e9e114c7394181fd264699155f0df77d23577618d5f650568a17d379355a07bd846e552f4e20"),
		3: unhex(t, "4969684dc87381fc3b3134176c8d8806eaf0a901859f5f70cfae8d17714b46c10a8de219048c9fc09f11f381a6fbe7c1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.State(); err == nil || !strings.Contains(err.Error(), "second separator") {
		t.Errorf("state: %v, want a second separator", err)
	}
}

// A log in the format of TCG 1.2, which has no header, is not read.
func TestOldFormat(t *testing.T) {
	for _, name := range []string{"module/tpm/debian-10.bin", "vtpm/go-tpm-tools/eventlogs/debian-10.bin"} {
		_, err := Parse(recorded(t, name), TPM)
		var m *Malformed
		if !errors.As(err, &m) || m.Offset != 0 {
			t.Errorf("%s: %v, want malformed at byte 0", name, err)
		}
	}
}

// Any log that ends in the middle of an event is refused, wherever it ends.
func TestTruncated(t *testing.T) {
	raw := recorded(t, ccelDupe)
	l, err := Parse(raw, CC)
	if err != nil {
		t.Fatal(err)
	}
	whole := map[int]bool{len(raw): true}
	for _, e := range l.Events {
		whole[e.Offset] = true
	}
	for n := range raw {
		if _, err := Parse(raw[:n], CC); (err == nil) != whole[n] {
			t.Fatalf("%d of %d bytes: %v", n, len(raw), err)
		}
	}
	// An area of 1 MiB that the event runs out of.
	area := append(bytes.Clone(raw[:len(raw)-60]), bytes.Repeat([]byte{0xff}, 1<<20-len(raw)+60)...)
	if _, err := Parse(area, CC); err == nil {
		t.Error("an area that ends in an event was accepted")
	}
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
