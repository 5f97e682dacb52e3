// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/evidence"
)

// FaultKind is one thing that can be wrong with a part of a machine.
type FaultKind string

// The closed list of faults. Unless said otherwise the evidence is signed as
// if nothing were wrong.
const (
	// StaleNonce: the part answers the challenge of an earlier session.
	StaleNonce FaultKind = "stale-nonce"
	// ForeignNonce: the part answers somebody else's challenge.
	ForeignNonce FaultKind = "foreign-nonce"
	// Debug: the part runs in a debug mode.
	Debug FaultKind = "debug"
	// OutdatedTCB: the part runs old firmware.
	OutdatedTCB FaultKind = "outdated-tcb"
	// Revoked: the certificate that names the part is revoked.
	Revoked FaultKind = "revoked"
	// Expired: a certificate of the part has ended.
	Expired FaultKind = "expired"
	// WrongSigner: a key signs that no certificate names.
	WrongSigner FaultKind = "wrong-signer"
	// MeasurementFault: one bit of one measurement is another.
	MeasurementFault FaultKind = "measurement"
	// Missing: the part was not there when evidence was collected.
	Missing FaultKind = "missing"
	// Extra: one more part of the kind was there, genuine.
	Extra FaultKind = "extra"
	// Duplicate: the part answers under the label of its neighbour as well, or
	// under a further one where it has none.
	Duplicate FaultKind = "duplicate"
	// ForeignMachine: on the way, the evidence was replaced with that of a
	// genuine part of another machine, made for the same challenge.
	ForeignMachine FaultKind = "foreign-machine"
	// Relayed: on the way, the evidence was replaced with what the same part
	// answered in an earlier session.
	Relayed FaultKind = "relayed"
	// Unbound: the CPU commits to nothing but the challenge.
	Unbound FaultKind = "unbound"
	// ReportSwapped: the TDISP interface report is that of another interface.
	ReportSwapped FaultKind = "report-swapped"
	// Truncated: on the way, the second half of the leaf was lost.
	Truncated FaultKind = "truncated"
	// Oversized: on the way, the leaf grew beyond 1 MiB.
	Oversized FaultKind = "oversized"
	// Slow: the part takes SlowDelay to answer.
	Slow FaultKind = "slow"
	// Held: the certificate that names the part is revoked for the time being.
	Held FaultKind = "held"
	// StatusStale: the answer about that certificate ended an hour ago.
	StatusStale FaultKind = "status-stale"
	// StatusUnknown: its service does not know that certificate.
	StatusUnknown FaultKind = "status-unknown"
	// StatusMissing: there is no answer about that certificate.
	StatusMissing FaultKind = "status-missing"
	// RIMMissing: there is no manifest of the firmware of the part.
	RIMMissing FaultKind = "rim-missing"
	// RIMWrongSigner: a key signed that manifest that no certificate names.
	RIMWrongSigner FaultKind = "rim-wrong-signer"
	// RIMAltered: that manifest was changed behind its signature.
	RIMAltered FaultKind = "rim-altered"
	// RIMExpired: the certificate of its signer ended a day ago.
	RIMExpired FaultKind = "rim-expired"
	// RIMRevoked: the certificate of its signer is revoked.
	RIMRevoked FaultKind = "rim-revoked"
	// RIMOtherVersion: it is the genuine manifest of an older firmware.
	RIMOtherVersion FaultKind = "rim-other-version"
	// RIMVintage: it is another issue, with another value at index 9.
	RIMVintage FaultKind = "rim-vintage"
	// RIMConflict: it speaks of an index of the driver's manifest.
	RIMConflict FaultKind = "rim-conflict"
	// OtherMode: a GPU beside switches does without them, or the other way round.
	OtherMode FaultKind = "other-mode"
	// OneSidedLink: the part leaves one out of the devices that are linked to it.
	OneSidedLink FaultKind = "one-sided-link"
	// RepeatedLink: the part has one device twice and leaves another one out.
	RepeatedLink FaultKind = "repeated-link"
	// ForeignLinks: the part says that it is linked to the devices of another board.
	ForeignLinks FaultKind = "foreign-links"
)

// FaultKinds is the whole list, in the order of its documentation.
func FaultKinds() []FaultKind {
	return append([]FaultKind{
		StaleNonce, ForeignNonce, Debug, OutdatedTCB, Revoked, Expired, WrongSigner, MeasurementFault, Missing,
		Extra, Duplicate, ForeignMachine, Relayed, Unbound, ReportSwapped, Truncated, Oversized, Slow,
		Held, StatusStale, StatusUnknown, StatusMissing,
		RIMMissing, RIMWrongSigner, RIMAltered, RIMExpired, RIMRevoked, RIMOtherVersion, RIMVintage, RIMConflict,
		OtherMode, OneSidedLink, RepeatedLink, ForeignLinks, Unlocked,
	}, spdmFaults()...)
}

// Fault is one fault of one part, which is named by its label.
type Fault struct {
	Label evidence.Path
	Kind  FaultKind
}

// ParseFault reads "LABEL:KIND".
func ParseFault(text string) (Fault, error) {
	i := strings.LastIndexByte(text, ':')
	if i <= 0 {
		return Fault{}, fmt.Errorf("attester: fault %q: want LABEL:KIND", text)
	}
	f := Fault{Label: evidence.Path(text[:i]), Kind: FaultKind(text[i+1:])}
	if !slices.Contains(FaultKinds(), f.Kind) {
		return Fault{}, fmt.Errorf("attester: fault %q: unknown kind, want one of %v", text, FaultKinds())
	}
	return f, nil
}

// String is what ParseFault reads.
func (f Fault) String() string { return string(f.Label) + ":" + string(f.Kind) }

// Applies reports whether a fault makes sense for a kind of part.
func Applies(f FaultKind, k Kind) bool {
	switch f {
	case Debug:
		return k != KindTPM
	case OutdatedTCB: // AWS names no version of what runs below an enclave
		return k != KindTPM && k != KindNitro
	case Revoked, Expired: // Arm's tokens come without certificates
		return k != KindCCA && k != KindPSA
	case Duplicate:
		return k == KindGPU || k == KindSwitch || k == KindSPDM || k == KindPSA
	case Unbound:
		return k.cpu()
	case ReportSwapped, Unlocked:
		return k == KindSPDM
	case Held, StatusStale, StatusUnknown, StatusMissing, RIMMissing, RIMWrongSigner, RIMAltered, RIMExpired, RIMRevoked, RIMOtherVersion,
		OneSidedLink, RepeatedLink, ForeignLinks:
		return k == KindGPU || k == KindSwitch
	case RIMVintage, RIMConflict, OtherMode:
		return k == KindGPU
	}
	if _, ok := spdmFault(f); ok {
		return k == KindSPDM
	}
	return slices.Contains(FaultKinds(), f)
}

// knobs are the faults that a device makes itself.
type knobs struct {
	debug, outdated, revoked, expired, wrongSigner, measurement, reportSwapped, unlocked, otherMode bool

	status nvidia.OCSPFault
	rim    nvidia.RIMFault
	links  nvidia.LinkFault
	spdm   []spdm.Fault
}

// nvidiaFaults are those that only NVIDIA's devices have.
var nvidiaFaults = map[FaultKind]knobs{
	Held:            {status: nvidia.OCSPHold},
	StatusStale:     {status: nvidia.OCSPStale},
	StatusUnknown:   {status: nvidia.OCSPUnknown},
	StatusMissing:   {status: nvidia.OCSPRefused},
	RIMMissing:      {rim: nvidia.RIMMissing},
	RIMWrongSigner:  {rim: nvidia.RIMWrongSigner},
	RIMAltered:      {rim: nvidia.RIMAltered},
	RIMExpired:      {rim: nvidia.RIMExpired},
	RIMRevoked:      {rim: nvidia.RIMRevoked},
	RIMOtherVersion: {rim: nvidia.RIMOtherVersion},
	RIMVintage:      {rim: nvidia.RIMVintage},
	RIMConflict:     {rim: nvidia.RIMConflict},
	OtherMode:       {otherMode: true},
	OneSidedLink:    {links: nvidia.LinkMissing},
	RepeatedLink:    {links: nvidia.LinkRepeated},
	ForeignLinks:    {links: nvidia.LinksForeign},
}

// set turns a fault on and reports whether a device makes it itself.
func (k *knobs) set(f FaultKind) bool {
	switch f {
	case Debug:
		k.debug = true
	case OutdatedTCB:
		k.outdated = true
	case Revoked:
		k.revoked = true
	case Expired:
		k.expired = true
	case WrongSigner:
		k.wrongSigner = true
	case MeasurementFault:
		k.measurement = true
	case ReportSwapped:
		k.reportSwapped = true
	case Unlocked:
		k.unlocked = true
	default:
		if own, ok := spdmFault(f); ok {
			k.spdm = append(k.spdm, own)
			return true
		}
		own, ok := nvidiaFaults[f]
		if !ok {
			return false
		}
		k.status, k.rim, k.links = max(k.status, own.status), max(k.rim, own.rim), max(k.links, own.links)
		k.otherMode = k.otherMode || own.otherMode
	}
	return true
}
