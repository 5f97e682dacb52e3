// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"fmt"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Sizes in bytes.
const (
	// ReportDataSize is the size of the data that a quote carries for its
	// caller; Evidence takes no other.
	ReportDataSize = 64
	// RegisterSize is the size of MRTD, RTMR0 to RTMR3 and of every other
	// measurement field of a TD report.
	RegisterSize = 48

	registers = 4 // RTMR0 to RTMR3
)

// Quote selects a format of quotes and a TD report body.
type Quote int

// Forms of quotes. The zero value is what current platforms make.
const (
	// V5TDX15 is format 5 with the body of TDX 1.5 (type 3, 648 bytes).
	V5TDX15 Quote = iota
	// V5TDX10 is format 5 with the body of TDX 1.0 (type 2, 584 bytes).
	V5TDX10
	// V4 is format 4, which has the body of TDX 1.0 without a descriptor.
	V4
)

// Event is one measurement of a caller: it extends a register and stands in
// the event log behind what firmware and boot loader measured there.
type Event struct {
	// RTMR is the register, 0 to 3.
	RTMR int
	// Type is the event type (TCG PC Client Platform Firmware Profile, section
	// 10.4.1).
	Type uint32
	// Data is what the log shows.
	Data []byte
	// Measured are the bytes whose SHA-384 extends the register, for event
	// types that show something else; nil means Data.
	Measured []byte
}

// Options describe one machine. Vendor, Device and Now are mandatory; every
// other zero value is an honest machine.
type Options struct {
	// Vendor is the seed of the authorities: machines with one vendor have one
	// root, one PCK CA, one TDX module and one quoting enclave.
	Vendor pki.Seed
	// Device is the seed of the platform (PPID, PCK key, attestation key) and
	// of what was booted on it.
	Device pki.Seed
	// Now is when the evidence is made, between 2020 and 2048: certificates and
	// collateral are valid then.
	Now time.Time

	// Quote is the form of the quotes.
	Quote Quote
	// MRTD is the build-time measurement, 48 bytes; nil: it follows from Device.
	MRTD []byte
	// MRConfigID, MROwner and MROwnerConfig are fields that the host sets at
	// the TD's creation, 48 bytes each; nil: zero, as on most real machines.
	MRConfigID, MROwner, MROwnerConfig []byte
	// RTMR sets registers outright, 48 bytes each; nil: the value that the
	// event log gives. See Device.EventLog.
	RTMR [registers][]byte
	// Events are measured after the boot, in their order.
	Events []Event

	// Debug sets TDATTRIBUTES.DEBUG.
	Debug bool
	// OutdatedTCB gives the platform the microcode and the TDX module of the
	// second TCB level in its collateral.
	OutdatedTCB bool
	// Revoked puts the PCK certificate on the revocation list of its CA.
	Revoked bool
	// Expired lets the PCK certificate end one day before Now.
	Expired bool
	// WrongSigner signs quotes with a key, and shows that key, which the report
	// of the quoting enclave does not commit to.
	WrongSigner bool
	// Measurement flips the lowest bit of RTMR2 in quotes. Event log and
	// Measurements stay honest.
	Measurement bool
}

// field returns a 48-byte value, or what stands for an absent one.
func field(name string, v, otherwise []byte) ([]byte, error) {
	switch len(v) {
	case 0:
		return otherwise, nil
	case RegisterSize:
		return append([]byte(nil), v...), nil
	}
	return nil, fmt.Errorf("inteltdx: %s has %d bytes, expected %d", name, len(v), RegisterSize)
}

func (o *Options) check() error {
	if y := o.Now.UTC().Year(); y < 2020 || y > 2048 {
		return fmt.Errorf("inteltdx: simulated time %s is not between 2020 and 2048", o.Now.UTC().Format(time.RFC3339))
	}
	if o.Quote < V5TDX15 || o.Quote > V4 {
		return fmt.Errorf("inteltdx: unknown form of quotes %d", o.Quote)
	}
	size := 0
	for i, e := range o.Events {
		if e.RTMR < 0 || e.RTMR >= registers {
			return fmt.Errorf("inteltdx: event %d is for RTMR%d, expected 0 to %d", i, e.RTMR, registers-1)
		}
		if e.Type == evNoAction {
			return fmt.Errorf("inteltdx: event %d is of type EV_NO_ACTION, which extends no register", i)
		}
		size += len(e.Data)
	}
	if size > maxEventData {
		return fmt.Errorf("inteltdx: events have %d bytes, at most %d", size, maxEventData)
	}
	return nil
}
