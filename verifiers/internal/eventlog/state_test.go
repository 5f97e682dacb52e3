// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// efi is an event about a UEFI variable that is measured as a whole.
func efi(vendor [16]byte, name string, data ...byte) entry {
	out := le.AppendUint64(le.AppendUint64(vendor[:16:16], uint64(len(name))), uint64(len(data)))
	for _, c := range name {
		out = le.AppendUint16(out, uint16(c))
	}
	return entry{1, 0x80000001, append(out, data...), nil}
}

var separator = entry{1, 4, make([]byte, 4), nil}

func policyOf(on byte, keys ...byte) []entry {
	return []entry{
		efi(guidGlobal, "SecureBoot", on), efi(guidGlobal, "PK", keys...), efi(guidGlobal, "KEK", keys...),
		efi(guidSecurity, "db", keys...), efi(guidSecurity, "dbx"),
	}
}

func with(list []entry, more ...entry) []entry { return append(list[:len(list):len(list)], more...) }

func TestState(t *testing.T) {
	shim := [16]byte{0x50, 0xab, 0x5d, 0x60}
	on, off := policyOf(1, 1, 2, 3), policyOf(0, 1, 2, 3)
	hidden := on[0]
	hidden.data, hidden.measured = []byte("something else"), on[0].data
	oldShim := efi(shim, "MokList", 1)
	oldShim.measured, oldShim.data = oldShim.data, append(bytes.Clone(oldShim.data), 0)
	for _, c := range []struct {
		name   string
		events []entry
		want   string
	}{
		{"on", with(on, separator), "on"},
		{"off", with(off, separator), "off"},
		{"off, empty variable", with(with([]entry{efi(guidGlobal, "SecureBoot")}, off[1:]...), separator), "off"},
		{"off, without keys", with(policyOf(0), separator), "off"},
		{"on, without keys", with(policyOf(1), separator), "PK is empty"},
		{"on, without PK", with(with(on[:1], on[2:]...), separator), "PK is empty or was not measured"},
		{"on, without KEK", with(with(on[:2], on[3:]...), separator), "KEK is empty"},
		{"on, without db", with(with(on[:3], on[4:]...), separator), "db is empty"},
		{"no SecureBoot", with(on[1:], separator), "SecureBoot was not measured"},
		{"SecureBoot is 2", with(with([]entry{efi(guidGlobal, "SecureBoot", 2)}, on[1:]...), separator), "SecureBoot was not measured"},
		{"SecureBoot of somebody else", with(with([]entry{efi(shim, "SecureBoot", 1)}, on[1:]...), separator), "SecureBoot was not measured"},
		{"no separator", on, "no separator"},
		{"two separators", with(on, separator, separator), "second separator"},
		{"SecureBoot behind the separator", with(with(on[1:], separator), on[0]), "behind the separator"},
		{"SecureBoot behind the separator, logged as something else", with(with(on[1:], separator), hidden), "behind the separator"},
		{"off and on", with(with(off, on[0]), separator), "measured twice"},
		{"off, on behind the separator", with(with(off, separator), on[0]), "behind the separator"},
		{"off hidden behind other data", with(with(with([]entry{{1, 1, []byte("?"), off[0].data}}, on[0]), on[1:]...), separator), "measured twice"},
		{"on, logged as something else", with(with([]entry{hidden}, on[1:]...), separator), "on"},
		{"PK twice", with(with(on, on[1]), separator), "PK was measured twice"},
		{"KEK behind the separator", with(with(on[:2], on[3:]...), separator, on[2]), "KEK was measured twice, or behind"},
		{"dbx behind the separator", with(on[:4], separator, on[4]), "dbx was measured twice, or behind"},
		{"PK that was not measured", with(with(on[:1], entry{1, 0x80000001, on[1].data, []byte("other")}), with(on[2:], separator)...), "PK is empty"},
		{"firmware failed", with(on, entry{1, 4, []byte{0xff, 0xff, 0xff, 0xff}, nil}), "firmware that failed"},
		{"firmware failed, the other way", with(on, entry{1, 4, []byte{1, 0, 0, 0}, nil}), "firmware that failed"},
		{"BootOrder behind the separator looks like a failure", with(on, separator, entry{1, 0x80000002, []byte("BootOrder"), []byte{1, 0, 0, 0}}), "on"},
		{"debugger", with([]entry{{1, 5, []byte("UEFI Debug Mode"), nil}}, with(on, separator)...), "debugger"},
		{"separator of RTMR1 twice", with(on, separator, entry{2, 4, make([]byte, 4), nil}, entry{2, 4, make([]byte, 4), nil}), "in rtmr1: a second separator"},
		{"separators of RTMR2", with(on, separator, entry{3, 4, make([]byte, 4), nil}, entry{3, 4, make([]byte, 4), nil}), "on"},
		{"authorities", with(on, separator, efi(guidSecurity, "db", 9), efi(shim, "SbatLevel", 9), oldShim), "on, 3 authorities"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := matched(t, build([]Alg{SHA384}, c.events...), CC, SHA384).State()
			if err != nil {
				var why *StateError
				if !errors.As(err, &why) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %s", err, c.want)
				}
				return
			}
			got := map[bool]string{true: "on", false: "off"}[s.SecureBoot]
			if len(s.Authorities) == 3 {
				got += ", 3 authorities"
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// The state is read from signed registers only.
func TestStateOfUnsignedRegister(t *testing.T) {
	l := parse(t, build([]Alg{SHA384}, with(policyOf(1, 1), separator, entry{3, 13, []byte("kernel_cmdline: ro\x00"), []byte("ro")})...), CC)
	signed, _ := l.Replay(SHA384)
	delete(signed, 1)
	m, err := l.Match(SHA384, signed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.State(); err == nil {
		t.Error("a state from a register that nobody signed")
	}
	if n := len(m.Events()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	if _, ok := m.CommandLine(); !ok {
		t.Error("no command line from a signed register")
	}
	delete(signed, 3)
	if m, err = l.Match(SHA384, signed); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.CommandLine(); ok || len(m.Texts()) != 0 || len(m.Events()) != 0 {
		t.Error("a command line from a register that nobody signed")
	}
}

func TestTexts(t *testing.T) {
	ipl := func(data, measured string) entry { return entry{3, 13, []byte(data), []byte(measured)} }
	for _, c := range []struct {
		name   string
		events []entry
		texts  int
		line   string
	}{
		{"one", []entry{ipl("grub_cmd: linux /vmlinuz ro\x00", "linux /vmlinuz ro"), ipl("kernel_cmdline: /vmlinuz ro\x00", "/vmlinuz ro")}, 2, "/vmlinuz ro"},
		{"old prefix", []entry{ipl("grub_kernel_cmdline /vmlinuz ro", "/vmlinuz ro")}, 1, "/vmlinuz ro"},
		{"zero byte measured", []entry{ipl("kernel_cmdline: a\x00", "a\x00")}, 1, "a"},
		{"two", []entry{ipl("kernel_cmdline: a\x00", "a"), ipl("kernel_cmdline: b\x00", "b")}, 2, ""},
		{"not what was measured", []entry{ipl("kernel_cmdline: quiet\x00", "init=/bin/sh")}, 0, ""},
		{"prefix measured", []entry{ipl("kernel_cmdline: a\x00", "kernel_cmdline: a")}, 0, ""},
		{"not UTF-8", []entry{ipl("kernel_cmdline: \xff\x00", "\xff")}, 0, ""},
		{"zero byte inside", []entry{ipl("kernel_cmdline: a\x00b\x00", "a\x00b")}, 0, ""},
		{"another register", []entry{{2, 13, []byte("kernel_cmdline: a"), []byte("a")}}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := matched(t, build([]Alg{SHA384}, c.events...), CC, SHA384)
			line, ok := m.CommandLine()
			if len(m.Texts()) != c.texts || line != c.line && ok || ok != (c.line != "") {
				t.Errorf("%d texts, command line %q %t, want %d and %q", len(m.Texts()), line, ok, c.texts, c.line)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	spdm := []byte("SPDM Device Sec2 and what follows")
	m := matched(t, build([]Alg{SHA384},
		entry{1, 1, []byte("firmware"), []byte("volume")},
		entry{2, evNoAction, []byte("nothing"), nil},
		entry{4, 6, []byte("run time"), nil},
		entry{2, firstSPDM, []byte("a blob"), []byte("measured otherwise")},
		entry{1, 0x77, spdm, nil},
		entry{1, 0x77, spdm, []byte("not the data")},
	), CC, SHA384)
	facts, omitted := m.Facts(4)
	if omitted != 1 || len(facts) != 4 {
		t.Fatalf("%d facts, %d omitted", len(facts), omitted)
	}
	hash := func(b []byte) string { d := sha256.Sum256(b); return hex.EncodeToString(d[:]) }
	for i, want := range []struct{ register, content string }{
		{"rtmr1", ""}, {"rtmr0", hash(spdm)}, {"rtmr3", hash([]byte("run time"))}, {"rtmr0", ""},
	} {
		if f := facts[i]; f.Register != want.register || f.Content != want.content || len(f.Digest) != 96 {
			t.Errorf("fact %d is %+v, want %+v", i, f, want)
		}
	}
	if d := m.Devices(); len(d) != 2 || d[0].Number != 4 || d[1].Number != 5 || d[0].Whole || !d[1].Whole {
		t.Errorf("devices %+v", d)
	}
	if all, rest := m.Facts(100); len(all) != 5 || rest != 0 {
		t.Errorf("%d facts, %d omitted", len(all), rest)
	}
}
