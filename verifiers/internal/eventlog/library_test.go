// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-eventlog/ccel"
	"github.com/google/go-eventlog/extract"
	pb "github.com/google/go-eventlog/proto/state"
	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"
	"github.com/google/go-eventlog/tpmeventlog"
)

// banks puts registers into the form of the second reader.
func banks(kind Kind, alg Alg, values map[uint32][]byte) []register.MR {
	var out []register.MR
	for i, v := range values {
		if kind == CC {
			out = append(out, register.RTMR{Index: int(i) - 1, Digest: v})
		} else {
			h, err := pb.HashAlgo(alg).CryptoHash()
			if err != nil {
				panic(err)
			}
			out = append(out, register.PCR{Index: int(i), Digest: v, DigestAlg: h})
		}
	}
	return out
}

// second lets the other reader replay; a panic of it is an error.
func second(raw []byte, mrs []register.MR) (events []tcg.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return tcg.ParseAndReplay(raw, mrs, tcg.ParseOpts{AllowPadding: true})
}

func extracted(raw []byte, kind Kind, alg Alg, mrs []register.MR) (s *pb.FirmwareLogState, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	opts := extract.Opts{Loader: extract.GRUB, SkipACPITableCheck: true, AllowEmptySBVar: true, AllowEFIAppBeforeCallingEvent: true}
	if kind == CC {
		var b register.RTMRBank
		for _, m := range mrs {
			b.RTMRs = append(b.RTMRs, m.(register.RTMR))
		}
		return ccel.ReplayAndExtract(nil, raw, b, opts)
	}
	b := register.PCRBank{TCGHashAlgo: pb.HashAlgo(alg)}
	for _, m := range mrs {
		b.PCRs = append(b.PCRs, m.(register.PCR))
	}
	return tpmeventlog.ReplayAndExtract(raw, b, opts)
}

// padded cuts zeros off, which the second reader does not take for padding.
func padded(raw []byte, l *Log) []byte { return raw[:len(raw)-l.Padding] }

func TestSecondReader(t *testing.T) {
	states := 0
	for _, v := range recordedLogs {
		t.Run(v.name+"/"+v.alg.String(), func(t *testing.T) {
			raw := recorded(t, v.name)
			m := matched(t, raw, v.kind, v.alg)
			values, _ := m.log.Replay(v.alg)
			mrs := banks(v.kind, v.alg, values)
			events, err := second(padded(raw, m.log), mrs)
			if err != nil {
				t.Fatalf("the second reader refuses: %v", err)
			}
			for i, p := range m.Events() {
				if e := events[i]; e.Index != int(p.Index) || !bytes.Equal(e.Digest, p.Digest) || !bytes.Equal(e.Data, p.Data) || e.DigestVerified() != p.Whole {
					t.Fatalf("event %d is read differently", p.Number)
				}
			}
			if len(events) != len(m.Events()) {
				t.Errorf("%d events, the second reader has %d", len(m.Events()), len(events))
			}
			for i := range values {
				values[i][0] ^= 1
				if _, err := second(padded(raw, m.log), mrs); err == nil || m.log.Compare(v.alg, values) == nil {
					t.Errorf("register %d altered, and somebody accepts it", i)
				}
				values[i][0] ^= 1
			}
			if sameState(t, raw, m, v, mrs) {
				states++
			}
		})
	}
	if states < 10 {
		t.Errorf("only %d states could be compared", states)
	}
}

// sameState compares what both say about firmware and kernel, where the second
// reader says something at all.
func sameState(t *testing.T, raw []byte, m *Matched, v vector, mrs []register.MR) bool {
	t.Helper()
	theirs, err := extracted(padded(raw, m.log), v.kind, v.alg, mrs)
	if theirs == nil || theirs.GetSecureBoot() == nil {
		t.Logf("the second reader has no state: %v", err)
		return false
	}
	ours, oerr := m.State()
	if oerr != nil {
		if v.name == "module/tpm/host-gmes.bin" { // has no PCR 7, which the other takes for secure boot off
			return false
		}
		t.Errorf("state refused here only: %v", oerr)
		return false
	}
	sb := theirs.GetSecureBoot()
	if ours.SecureBoot != sb.GetEnabled() {
		t.Errorf("secure boot %t, the second reader says %t", ours.SecureBoot, sb.GetEnabled())
	}
	if line, _ := m.CommandLine(); line != trimZero(theirs.GetLinuxKernel().GetCommandLine()) {
		t.Errorf("command line %q, the second reader has %q", line, theirs.GetLinuxKernel().GetCommandLine())
	}
	if g := theirs.GetGrub(); g != nil && len(g.GetCommands()) != len(m.Texts()) {
		t.Errorf("%d texts, the second reader has %d", len(m.Texts()), len(g.GetCommands()))
	}
	return true
}

func trimZero(s string) string { return string(bytes.TrimSuffix([]byte(s), []byte{0})) }

// The second reader is laxer. When one of these begins to fail, read again what
// doc.go says about it.
func TestSecondReaderIsLax(t *testing.T) {
	raw := build([]Alg{SHA384}, entry{1, 4, make([]byte, 4), nil})
	values, err := parse(t, raw, CC).Replay(SHA384)
	if err != nil {
		t.Fatal(err)
	}
	mrs := banks(CC, SHA384, values)
	hidden := append(bytes.Clone(raw), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 'h', 'i', 'd', 'd', 'e', 'n')
	if _, err := second(hidden, mrs); err != nil {
		t.Errorf("bytes behind the log: %v", err)
	}
	if _, err := Parse(hidden, CC); err == nil {
		t.Error("bytes behind the log were accepted")
	}
	device := build([]Alg{SHA384}, entry{1, firstSPDM, []byte("SPDM Device Sec2"), nil})
	values, err = parse(t, device, CC).Replay(SHA384)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := extracted(device, CC, SHA384, banks(CC, SHA384, values)); err == nil {
		t.Error("the second reader knows the events of SPDM devices now")
	}
}
