// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
)

// TSMCheck names what is wrong with TSM information, or missing in it.
type TSMCheck string

// The checks. What each costs is for the scheme's policy.
const (
	// TSMAbsent: there is an interface report and no TSM information.
	TSMAbsent TSMCheck = "tsm-absent"
	// TSMMalformed and TSMUnknownKind: it cannot be read, so it says nothing.
	TSMMalformed   TSMCheck = "tsm-malformed"
	TSMUnknownKind TSMCheck = "tsm-unknown-kind"
	// TSMReport, TSMCertificates, TSMVCA, TSMMeasurements, TSMPublicKey: the TSM saw
	// another interface report, chain, negotiation, reading of measurements or key.
	TSMReport       TSMCheck = "tsm-report-mismatch"
	TSMCertificates TSMCheck = "tsm-certificates-mismatch"
	TSMVCA          TSMCheck = "tsm-vca-mismatch"
	TSMMeasurements TSMCheck = "tsm-measurements-mismatch"
	TSMPublicKey    TSMCheck = "tsm-public-key-mismatch"
	// TSMUnbound: the interface does not belong to this machine.
	TSMUnbound TSMCheck = "tsm-unbound"
	// TSMNotValid and TSMNotFresh: it has no digest of measurements, or an old one.
	TSMNotValid TSMCheck = "tsm-digests-not-valid"
	TSMNotFresh TSMCheck = "tsm-digests-not-fresh"
	// TSMState: the interface is neither locked nor running. TSMStateUnknown: nobody
	// says which it is.
	TSMState        TSMCheck = "tsm-state"
	TSMStateUnknown TSMCheck = "tsm-state-unknown"
	// TSMFirmwareUpdate and TSMMSIX: it was locked without the flags against update
	// of firmware, or for the MSI-X table that the report has.
	TSMFirmwareUpdate TSMCheck = "tsm-firmware-update"
	TSMMSIX           TSMCheck = "tsm-msix-unlocked"
	// TSMContradiction: the collector's words beside it are not what it says.
	TSMContradiction TSMCheck = "tsm-contradiction"
	// TSMNonce: a nonce of the lock or of a reading is zero.
	TSMNonce TSMCheck = "tsm-nonce"
	// TSMPartial: it leaves something open, which only the machine's software vouches
	// for.
	TSMPartial TSMCheck = "tsm-partial"
)

// TSMFinding is one check that did not hold.
type TSMFinding struct {
	Check TSMCheck
	// Detail is a sentence for people, with what was expected and seen.
	Detail string
}

// CheckTSM compares what a TEE security manager says with the objects of a
// verified device. That it finds nothing proves nothing by itself: neither is
// signed (decision D-80). With t nil it says only that nothing is known of the
// interface, if there is a report of one.
func CheckTSM(t *TSM, r *Result) []TSMFinding {
	if t == nil {
		if r.Report == nil && r.Objects.Report == nil {
			return nil
		}
		return []TSMFinding{{TSMAbsent, "there is an interface report, and nothing from a TEE security manager about the state and the locks of the interface"}}
	}
	info, err := ParseTSM(t)
	switch {
	case KindOf(err) == KindUnsupported && !slices.Contains([]string{TSMCCA, TSMSEVTIO, TSMTDX}, t.Kind):
		return []TSMFinding{{TSMUnknownKind, err.Error()}}
	case err != nil:
		return []TSMFinding{{TSMMalformed, err.Error()}}
	}
	c := &tsmCheck{t: t, info: info, r: r}
	for _, check := range []func(){c.digests, c.algorithms, c.device, c.binding, c.state, c.locks, c.nonces} {
		check()
	}
	if c.open != nil {
		c.add(TSMPartial, "%s does not tell: %s", t.Kind, strings.Join(c.open, ", "))
	}
	return c.found
}

// tsmCheck is one comparison.
type tsmCheck struct {
	t     *TSM
	info  *TSMInfo
	r     *Result
	found []TSMFinding
	open  []string
}

func (c *tsmCheck) add(check TSMCheck, format string, args ...any) {
	c.found = append(c.found, TSMFinding{check, fmt.Sprintf(format, args...)})
}

// mismatches are the checks of objects.
var mismatches = map[string]TSMCheck{
	verdict.ObjectVCA: TSMVCA, verdict.ObjectCertificates: TSMCertificates, verdict.ObjectPublicKey: TSMPublicKey,
	verdict.ObjectMeasurements: TSMMeasurements, verdict.ObjectReport: TSMReport,
}

// digests compares the digests with every form in which security managers and
// kernels carry an object. All forms hold the same signed bytes.
func (c *tsmCheck) digests() {
	told := map[string]bool{}
	for _, d := range c.info.Digests {
		if d.Object == verdict.ObjectMeasurements && c.info.Valid != nil && !*c.info.Valid {
			continue
		}
		told[d.Object] = true
		forms := c.r.forms(d.Object)
		if len(forms) == 0 {
			continue // the evidence has none: there is nothing to be wrong about
		}
		if !slices.ContainsFunc(forms, func(f []byte) bool { return bytes.Equal(hashOf(d.Hash, f), d.Value) }) {
			if d.Object == verdict.ObjectPublicKey && c.has(verdict.ObjectCertificates) {
				// The chain has the key; which encoding of it was hashed nobody says.
				c.open = append(c.open, "over which encoding its digest of the public key is")
				continue
			}
			c.add(mismatches[d.Object], "the digest that the TEE security manager has of %s (%s) is %x, that of the evidence is %x",
				d.Object, d.Hash, d.Value, hashOf(d.Hash, forms[0]))
		}
	}
	if c.info.Device == nil { // it has objects, not digests
		for _, o := range []string{verdict.ObjectCertificates, verdict.ObjectVCA, verdict.ObjectMeasurements, verdict.ObjectReport} {
			if !told[o] {
				c.open = append(c.open, "a digest of "+o)
			}
		}
	}
}

func (c *tsmCheck) has(object string) bool {
	return slices.ContainsFunc(c.info.Digests, func(d TSMDigest) bool { return d.Object == object })
}

func hashOf(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

// forms are the encodings in which an object is carried, the one that
// verdict.Object describes first; none where the evidence does not have it.
func (r *Result) forms(object string) [][]byte {
	switch object {
	case verdict.ObjectVCA:
		return present(r.Objects.VCA)
	case verdict.ObjectCertificates:
		out := present(r.Objects.Chain)
		if r.VCA == nil {
			return out
		}
		if chain, err := ParseChain(r.Objects.Chain, r.VCA); err == nil {
			out = append(out, bytes.Join(chain.DER, nil)) // without the header
		}
		return out
	case verdict.ObjectPublicKey:
		return r.keyForms()
	case verdict.ObjectMeasurements:
		out := present(r.Objects.Measurements)
		if out != nil && len(r.Segments) > 0 {
			last := r.Segments[len(r.Segments)-1].Last()
			out = append(out, last.Response.Raw, bytes.Join([][]byte{r.Objects.VCA, r.Objects.Measurements}, nil))
		}
		return out
	case verdict.ObjectReport:
		return present(r.Objects.Report)
	}
	return nil
}

func present(b []byte) [][]byte {
	if b == nil {
		return nil
	}
	return [][]byte{b}
}

// keyForms are SubjectPublicKeyInfo and, of an elliptic curve, the point with and
// without its first byte.
func (r *Result) keyForms() [][]byte {
	if r.Identity == nil {
		return nil
	}
	out := present(r.Identity.SPKI)
	if r.Identity.Leaf == nil {
		return out
	}
	if k, ok := r.Identity.Leaf.PublicKey.(*ecdsa.PublicKey); ok {
		if point, err := k.Bytes(); err == nil {
			out = append(out, point, point[1:])
		}
	}
	return out
}

// algorithms: the session was negotiated as the device's evidence says.
func (c *tsmCheck) algorithms() {
	v := c.r.VCA
	if v == nil {
		return
	}
	if (c.info.Asym != 0 || c.info.Device != nil) && (c.info.Asym != v.BaseAsym || c.info.Hash != v.BaseHash) {
		c.add(TSMVCA, "the TEE security manager negotiated %s with %s, the evidence has %s with %s", c.info.Asym, c.info.Hash, v.BaseAsym, v.BaseHash)
	}
	if c.info.Slot != nil && c.r.Identity != nil && *c.info.Slot != c.r.Identity.Slot {
		c.add(TSMCertificates, "the session of the TEE security manager has certificate slot %d, the evidence is signed with slot %d", *c.info.Slot, c.r.Identity.Slot)
	}
	if d := c.info.Device; d != nil && (d.Version != v.Version || d.MeasurementHash != v.MeasurementHash) {
		c.add(TSMVCA, "the TEE security manager negotiated version %s with measurement hash %s, the evidence has %s with %s",
			d.Version, d.MeasurementHash, v.Version, v.MeasurementHash)
	}
}

// device compares the objects in DEVICE_INFO_DATA with those of the evidence.
func (c *tsmCheck) device() {
	d := c.info.Device
	if d == nil {
		return
	}
	c.open = append(c.open, "a digest of "+verdict.ObjectReport)
	if c.r.Identity != nil && !bytes.Equal(d.Chains[c.r.Identity.Slot], c.r.Objects.Chain) {
		c.add(TSMCertificates, "the certificate chain of slot %d in the device information (%d bytes) is not that of the evidence (%d bytes)",
			c.r.Identity.Slot, len(d.Chains[c.r.Identity.Slot]), len(c.r.Objects.Chain))
	}
	if c.r.VCA == nil || len(c.r.Blocks) == 0 {
		return
	}
	rd := newReader(StageTSM, "tsm information, measurement record", d.Record, MaxRecord)
	compared := 0
	for rd.more() {
		b := parseBlock(rd, c.r.VCA)
		if rd.err == nil && c.sameBlock(b) {
			compared++
		}
	}
	switch {
	case rd.err != nil:
		c.add(TSMMalformed, "%v", rd.err)
	case compared == 0:
		c.open = append(c.open, "a measurement that the evidence has")
	}
}

// sameBlock compares a block of the time when the session was set up with the
// signed one of that index, if there is one. What only informs may change.
func (c *tsmCheck) sameBlock(b Block) bool {
	i := slices.IndexFunc(c.r.Blocks, func(s Block) bool { return s.Index == b.Index })
	if i < 0 || b.Type == TypeInformational {
		return false
	}
	s := c.r.Blocks[i]
	same := b.Type == s.Type
	if b.RawBits == s.RawBits {
		same = same && bytes.Equal(b.Value, s.Value)
	} else {
		x, err := b.Digest(c.r.VCA.MeasurementHash)
		y, err2 := s.Digest(c.r.VCA.MeasurementHash)
		if err != nil || err2 != nil {
			return false // cannot be compared
		}
		same = same && bytes.Equal(x, y)
	}
	if !same {
		c.add(TSMMeasurements, "measurement 0x%02x was type %d with %x when the session was set up, and is type %d with %x in the evidence",
			b.Index, b.Type, b.Value, s.Type, s.Value)
	}
	return true
}

// binding: the interface is this machine's, and its digests are there and new.
func (c *tsmCheck) binding() {
	if c.info.Bound != nil && !*c.info.Bound {
		c.add(TSMUnbound, "the interface has status %d (%s)", c.info.Status, map[uint16]string{tdiInvalid: "invalid", tdiUnbound: "unbound"}[c.info.Status])
	}
	if c.info.Valid != nil && !*c.info.Valid {
		c.add(TSMNotValid, "the digest of the measurements is not marked as valid")
	}
	if c.info.Fresh != nil && !*c.info.Fresh {
		c.add(TSMNotFresh, "the digest of the measurements is not marked as fresh")
	}
}

// state: the interface is locked or running, as far as anybody says. What the
// collector says counts where the structure does not tell, and against it.
func (c *tsmCheck) state() {
	told, said := c.info.State, c.t.State
	if c.info.Bound != nil && said != nil && *c.info.Bound != (*said == StateLocked || *said == StateRun) {
		c.add(TSMContradiction, "the interface has status %d, and its state is said to be %d", c.info.Status, *said)
	}
	if told != nil && said != nil && *told != *said {
		c.add(TSMContradiction, "the interface has state %d, and is said to have %d", *told, *said)
	}
	if c.info.StateUncertain && said == nil {
		c.add(TSMStateUnknown, "state 1 means locked or, in older revisions, unlocked, and nothing else says which")
	}
	for _, s := range []*InterfaceState{told, said} {
		if s != nil && *s != StateLocked && *s != StateRun {
			c.add(TSMState, "the state of the interface is %d, neither CONFIG_LOCKED (1) nor RUN (2)", *s)
			return
		}
	}
	if told == nil && said == nil && c.info.Bound == nil {
		c.add(TSMStateUnknown, "nobody says in which state the interface is")
	}
}

// locks: the flags of LOCK_INTERFACE.
func (c *tsmCheck) locks() {
	told, said := c.info.LockFlags, c.t.LockFlags
	if told != nil && said != nil && *told != *said {
		c.add(TSMContradiction, "the interface was locked with flags 0x%04x, and is said to have been with 0x%04x", uint16(*told), uint16(*said))
	}
	if told == nil && said == nil {
		c.open = append(c.open, "the lock flags")
		return
	}
	flags := LockFlags(0xFFFF)
	for _, f := range []*LockFlags{told, said} {
		if f != nil {
			flags &= *f
		}
	}
	if flags&LockNoFirmwareUpdate == 0 {
		c.add(TSMFirmwareUpdate, "the interface was locked with flags 0x%04x, without NO_FW_UPDATE", uint16(flags))
	}
	if flags&LockMSIX == 0 && c.r.Report != nil && slices.ContainsFunc(c.r.Report.Ranges, Range.msix) {
		c.add(TSMMSIX, "the interface has an MSI-X table, and was locked with flags 0x%04x, without LOCK_MSIX", uint16(flags))
	}
}

// msix tells whether the range holds the MSI-X table or its pending bits.
func (g Range) msix() bool { return g.Attributes&(RangeMSIXTable|RangeMSIXPBA) != 0 }

// nonces: there was a lock, and what was read was read since.
func (c *tsmCheck) nonces() {
	for _, n := range []struct {
		name  string
		value *uint64
	}{{"lock", c.info.LockNonce}, {"measurement", c.info.MeasurementNonce}, {"report", c.info.ReportNonce}} {
		if n.value != nil && *n.value == 0 {
			c.add(TSMNonce, "the %s nonce is zero: the generation of what was read is not known", n.name)
		}
	}
}

// BindingObjects are the digests of everything of the device that other evidence
// can commit to, by SHA-256, SHA-384 and SHA-512 each: verdict.Facts.Objects. Of
// these only negotiation, chain, key and measurements are the device's own signed
// words; t may be nil.
func (r *Result) BindingObjects(t *TSM) []verdict.Object {
	var key, info, state []byte
	if r.Identity != nil {
		key = r.Identity.SPKI
	}
	if t != nil {
		info, state = t.Raw, t.beside()
	}
	var out []verdict.Object
	for _, o := range []struct {
		name string
		raw  []byte
	}{
		{verdict.ObjectCertificates, r.Objects.Chain}, {verdict.ObjectVCA, r.Objects.VCA}, {verdict.ObjectMeasurements, r.Objects.Measurements},
		{verdict.ObjectPublicKey, key}, {verdict.ObjectReport, r.Objects.Report}, {verdict.ObjectTSM, info}, {verdict.ObjectTSMState, state},
	} {
		if o.raw == nil {
			continue
		}
		for _, h := range []struct {
			alg  string
			hash crypto.Hash
		}{{verdict.AlgSHA256, crypto.SHA256}, {verdict.AlgSHA384, crypto.SHA384}, {verdict.AlgSHA512, crypto.SHA512}} {
			out = append(out, verdict.Object{Name: o.name, Alg: h.alg, Digest: fmt.Sprintf("%x", hashOf(h.hash, o.raw))})
		}
	}
	return out
}

// beside is what counts of the collector's words: state and flags that nothing in
// the structure tells. Nil where there are none: what the structure tells too, they
// can only make worse. Without them, a digest of the structure would vouch for
// words that anybody can change.
func (t *TSM) beside() []byte {
	info, err := ParseTSM(t)
	if err != nil {
		info = &TSMInfo{}
	}
	out := make([]byte, 4)
	if t.State != nil && (info.StateUncertain || info.State == nil && info.Bound == nil) {
		out[0], out[1] = out[0]|1, byte(*t.State)
	}
	if t.LockFlags != nil && info.LockFlags == nil {
		out[0] |= 2
		binary.LittleEndian.PutUint16(out[2:], uint16(*t.LockFlags))
	}
	if out[0] == 0 {
		return nil
	}
	return out
}
