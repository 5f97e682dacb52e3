// SPDX-License-Identifier: Apache-2.0

// Package eventlog reads the event logs by which firmware and boot loader say
// what they measured: TCG crypto-agile logs (TCG PC Client Platform Firmware
// Profile) of TPMs, and those of confidential guests (ACPI table CCEL). Begin
// with Parse, then Log.Match.
//
// A log is not signed. Signed are the registers, and a log that replays to them
// tells the digests that made them, in their order. Nothing else:
//
//   - The type of an event is in no digest, so nothing here is decided by a type.
//     What an event is follows from its digest, if there are few things that it
//     can be (secure boot on or off, separators), or from data of which the
//     digest is one.
//   - The data of an event are as certain as its digest only where they hash to
//     it. Many events log something else than was measured: a file name, or a
//     memory range.
//   - Events of registers that nobody signed, or that were not compared, count
//     for nothing. Matched leaves them out.
//   - What software measures after the firmware has handed over is what that
//     software chose. What the state of the firmware is (Matched.State) is read
//     before the first separator only, and refused where separators or
//     variables come twice.
//
// # Why not go-eventlog alone
//
// github.com/google/go-eventlog is the second reader, in tests: whatever it
// replays has to replay here to the same registers, and both have to find the
// same secure boot state and kernel command line. It is not used for verdicts,
// because it is made to get through logs: it accepts any bytes behind a record
// that begins with 0xffffffff, events without the digest of a bank, and unknown
// digests; it invents events (ExitBootServices) where a log does not match; it
// goes by event types, and panics on one that it does not know, those of SPDM
// devices among them; and it does not say which register differs from what.
package eventlog
