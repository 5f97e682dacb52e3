// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
)

// Names of objects of a device under TDISP (decision D-80). What each is over is
// exact: the bytes of the device, without transport headers and padding.
const (
	// ObjectCertificates is the SPDM certificate chain structure, length and root
	// hash included, of the slot that signed.
	ObjectCertificates = "spdm-certificates"
	// ObjectVCA are the six messages of the negotiation.
	ObjectVCA = "spdm-vca"
	// ObjectMeasurements are the measurement requests and responses, signatures
	// included, without the negotiation. They answer one challenge: another reading
	// of the same device is another object.
	ObjectMeasurements = "spdm-measurements"
	// ObjectReport is the reassembled DEVICE_INTERFACE_REPORT.
	ObjectReport = "tdisp-report"
	// ObjectPublicKey is the SubjectPublicKeyInfo (DER) of the key that signed.
	ObjectPublicKey = "spdm-public-key"
	// ObjectTSM is the structure of the TEE security manager as the VM got it.
	ObjectTSM = "tsm-info"
	// ObjectTSMState is what its collector says beside a structure that does not tell
	// it: a byte whose bits 0 and 1 say that state and lock flags are there, a byte of
	// the state of the interface, and the lock flags (little-endian, 2 bytes).
	ObjectTSMState = "tsm-state"
	// ObjectEvidence is the whole evidence of a component as it stands in the
	// composite: what Component.Evidence is the SHA-256 of. A component has no such
	// object among its facts, since the lead hashes the evidence itself.
	ObjectEvidence = "evidence"
)

// Digest algorithms of objects and commitments.
const (
	AlgSHA256 = "sha-256"
	AlgSHA384 = "sha-384"
	AlgSHA512 = "sha-512"
)

// Bounds of the lists in Facts: seven objects by three algorithms, and a few
// objects of each of many devices.
const (
	MaxObjects     = 32
	MaxCommitments = 256
	// maxObjectText bounds names in bytes.
	maxObjectText = 256
)

// Object is the digest of something that the component consists of, so that the
// evidence of another one can commit to it. A digest proves nothing by itself:
// some objects (ObjectReport, ObjectTSM) are under no signature of the component.
type Object struct {
	// Name is one of the Object constants.
	Name string `json:"name"`
	// Alg is AlgSHA256, AlgSHA384 or AlgSHA512.
	Alg string `json:"alg"`
	// Digest is lower-case hexadecimal.
	Digest string `json:"digest"`
}

// Commitment is the digest of an object of another component under the signature
// of this evidence.
type Commitment struct {
	// Subject is what whoever committed calls the component: its label in the
	// composite, or any name that is one device's for the evidence. Commitments of
	// one subject belong together, all of them to what it is now.
	Subject string `json:"subject"`
	// Object is the name of the object.
	Object string `json:"object"`
	Alg    string `json:"alg"`
	Digest string `json:"digest"`
	// Via says where the commitment stands: "event-log", ….
	Via string `json:"via"`
	// Origin is who wrote it: OriginApplication, OriginMeasured or OriginHardware.
	Origin string `json:"origin"`
}

// algSize is the size of a digest in bytes, zero for one that is not known.
func algSize(alg string) int {
	switch alg {
	case AlgSHA256:
		return 32
	case AlgSHA384:
		return 48
	case AlgSHA512:
		return 64
	}
	return 0
}

// checkDigest holds for a known algorithm and a digest of its size.
func checkDigest(name, alg, digest string) error {
	size := algSize(alg)
	switch {
	case name == "" || len(name) > maxObjectText:
		return fmt.Errorf("an object with a name of %d bytes", len(name))
	case size == 0:
		return fmt.Errorf("%.64q has a digest by %.32q, which is not known", name, alg)
	case !hexOf(digest, size):
		return fmt.Errorf("%.64q has no digest of %d bytes", name, size)
	}
	return nil
}

// checkObjects: every digest is one, and nothing has two.
func (f Facts) checkObjects() error {
	if len(f.Objects) > MaxObjects || len(f.Commitments) > MaxCommitments {
		return fmt.Errorf("%d objects and %d commitments, at most %d and %d", len(f.Objects), len(f.Commitments), MaxObjects, MaxCommitments)
	}
	type key struct{ subject, object, alg string }
	seen := map[key]bool{}
	for _, o := range f.Objects {
		if err := checkDigest(o.Name, o.Alg, o.Digest); err != nil {
			return err
		}
		k := key{"", o.Name, o.Alg}
		if seen[k] {
			return fmt.Errorf("two digests of %.64q by %s", o.Name, o.Alg)
		}
		seen[k] = true
	}
	seen = map[key]bool{}
	for _, c := range f.Commitments {
		if err := checkDigest(c.Object, c.Alg, c.Digest); err != nil {
			return err
		}
		if c.Subject == "" || len(c.Subject) > maxObjectText || c.Via == "" || len(c.Via) > maxObjectText {
			return errors.New("a commitment without subject or place")
		}
		if c.Origin != OriginApplication && c.Origin != OriginMeasured && c.Origin != OriginHardware {
			return fmt.Errorf("a commitment of origin %.32q", c.Origin)
		}
		k := key{c.Subject, c.Object, c.Alg}
		if seen[k] {
			return fmt.Errorf("two commitments to %.64q of %.64q by %s", c.Object, c.Subject, c.Alg)
		}
		seen[k] = true
	}
	return nil
}

// described reads objects and commitments, and whether a relay is needed.
func (o object) described(f *Facts) (err error) {
	list, err := o.objects("objects", MaxObjects)
	for _, m := range list {
		var x Object
		if err := m.members(map[string]*string{"name": &x.Name, "alg": &x.Alg, "digest": &x.Digest}); err != nil {
			return err
		}
		f.Objects = append(f.Objects, x)
	}
	if err != nil {
		return err
	}
	if list, err = o.objects("commitments", MaxCommitments); err != nil {
		return err
	}
	for _, m := range list {
		var c Commitment
		if err := m.members(map[string]*string{
			"subject": &c.Subject, "object": &c.Object, "alg": &c.Alg, "digest": &c.Digest, "via": &c.Via, "origin": &c.Origin,
		}); err != nil {
			return err
		}
		f.Commitments = append(f.Commitments, c)
	}
	f.RelayRequired, err = o.optionalBool("relay_required")
	return err
}

// members reads members that have to be there and to be texts.
func (o object) members(to map[string]*string) (err error) {
	for name, text := range to {
		if *text, err = o.text(name); err != nil {
			return err
		}
	}
	return nil
}
