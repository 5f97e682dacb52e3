// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/assize/assize/verdict"
)

// serviceProvider is what Linux calls the secure VM service module in configfs-tsm.
const serviceProvider = "svsm"

// Identifiers of the services of an SVSM (AMD 58019, section 7), as manifests
// have them: the first three fields little-endian.
var (
	guidManifests = guid{0xbb, 0x9e, 0x84, 0x63, 0x92, 0x3d, 0x70, 0x4d, 0xa1, 0xff, 0x58, 0xf9, 0xc9, 0x4b, 0x87, 0xbb}
	guidVTPM      = guid{0xeb, 0xf1, 0x76, 0xc4, 0x23, 0x01, 0xa5, 0x45, 0x96, 0x41, 0xb4, 0xe7, 0xdd, 0xe5, 0xbf, 0xe3}
)

const (
	manifestHead  = 24
	manifestEntry = 24
	// maxServices is how many services one table of manifests may have.
	maxServices = 16
	// maxManifest bounds a manifest in bytes; a vTPM's is a public key.
	maxManifest = 64 << 10
	// bits of an endorsement key
	minEndorsement, maxEndorsement = 2048, 4096
)

// manifest binds REPORT_DATA of a report that a service module asked for: it is
// SHA-512 of the challenge, 64 bytes, and the manifest of its services. Of a
// mismatch nobody can tell whether the challenge or the manifest is another one.
func manifest(nonce, services []byte) binder {
	return func(a *verdict.Appraisal, data [64]byte) *failure {
		if len(services) == 0 || len(services) > maxManifest {
			return failf(verdict.ReasonMalformed, "service manifest has %d bytes, expected 1 to %d", len(services), maxManifest)
		}
		if f := askedBeneath(a); f != nil {
			return f
		}
		a.Facts.ReportData = hex.EncodeToString(data[:])
		h := sha512.New()
		h.Write(nonce)
		h.Write(services)
		switch {
		case len(nonce) == 0:
			a.Freshness = verdict.FreshnessNotEstablished
			a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, and without one nothing says that the manifest is the one of REPORT_DATA either")
			return nil
		case len(nonce) != nonceSize || subtle.ConstantTimeCompare(h.Sum(nil), data[:]) != 1:
			a.Freshness = verdict.FreshnessMismatch
			a.Fail(verdict.ReasonNonceMismatch, fmt.Sprintf("REPORT_DATA starts with %x, expected SHA-512 of the challenge (%d bytes, %d wanted) and of the service manifest",
				data[:8], len(nonce), nonceSize))
			return nil
		}
		a.Freshness, a.NonceSeen = verdict.FreshnessFresh, append([]byte(nil), nonce...)
		list, err := readManifest(services)
		if err != nil {
			return failf(verdict.ReasonMalformed, "service manifest: %v", err)
		}
		digest := sha256.Sum256(services)
		said := map[string]any{"provider": serviceProvider, "manifest_sha256": hex.EncodeToString(digest[:]), "services": list.names}
		if list.endorsement != "" {
			said["vtpm_ek_spki_sha256"] = list.endorsement
			// Nothing in the report tells a service module from a guest without one, in
			// which any program that may ask for reports writes what it likes.
			a.Facts.Keys = append(a.Facts.Keys, verdict.CommittedKey{SPKI: list.endorsement, Via: "service-manifest", Origin: verdict.OriginApplication})
		}
		a.Claims["service"] = said
		return nil
	}
}

// askedBeneath wants a report that was asked for at VMPL 0, whatever level the
// parameter expects of plain reports: a guest that runs at a higher number, above a
// service module or paravisor, gets reports with REPORT_DATA of its own choice, and
// could so commit to manifests and runtime data that it invented. The claim is that
// of the report, whose signature holds.
func askedBeneath(a *verdict.Appraisal) *failure {
	if level, ok := a.Claims["vmpl"].(int); !ok || level != 0 {
		return failf(verdict.ReasonBindingBroken, "the report was asked for at VMPL %v, where the guest itself can ask; what runs beneath the guest asks at VMPL 0", a.Claims["vmpl"])
	}
	return nil
}

// services is what a manifest says.
type services struct {
	names []any
	// endorsement is the SHA-256 of the SubjectPublicKeyInfo of the vTPM's
	// endorsement key, "" without a vTPM.
	endorsement string
}

// readManifest reads a table of manifests, or the manifest of the vTPM alone.
func readManifest(raw []byte) (services, error) {
	if len(raw) < manifestHead || guid(raw[:16]) != guidManifests {
		s := services{names: []any{guidVTPM.mixed()}}
		return s, s.vtpm(raw)
	}
	size, count := binary.LittleEndian.Uint32(raw[16:]), binary.LittleEndian.Uint32(raw[20:])
	if uint64(size) != uint64(len(raw)) || count > maxServices || manifestHead+uint64(count)*manifestEntry > uint64(size) {
		return services{}, fmt.Errorf("table says %d bytes and %d services, has %d bytes", size, count, len(raw))
	}
	var s services
	seen := map[guid]bool{}
	taken := make([]bool, size)
	for i := range manifestHead + count*manifestEntry {
		taken[i] = true
	}
	for i := range int(count) {
		e := raw[manifestHead+i*manifestEntry:]
		id, at, n := guid(e[:16]), binary.LittleEndian.Uint32(e[16:]), binary.LittleEndian.Uint32(e[20:])
		if seen[id] || uint64(at)+uint64(n) > uint64(size) {
			return services{}, fmt.Errorf("service %s is there twice, or at %d with %d bytes of %d", id.mixed(), at, n, size)
		}
		seen[id] = true
		for j := range n {
			if taken[at+j] {
				return services{}, fmt.Errorf("service %s at %d with %d bytes lies over the head or over another one", id.mixed(), at, n)
			}
			taken[at+j] = true
		}
		s.names = append(s.names, id.mixed())
		if id == guidVTPM {
			if err := s.vtpm(raw[at : at+n]); err != nil {
				return services{}, err
			}
		}
	}
	return s, nil
}

// vtpm reads version 0 of the vTPM's manifest: TPMT_PUBLIC of its endorsement key,
// RSA with 2048 bits or more. It has to be a storage key: one that signs could be
// passed off as the signer of something.
func (s *services) vtpm(raw []byte) error {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](raw)
	if err != nil {
		return fmt.Errorf("endorsement key: %w", err)
	}
	if !bytes.Equal(tpm2.Marshal(*public), raw) {
		return fmt.Errorf("endorsement key: bytes behind TPMT_PUBLIC")
	}
	attr := public.ObjectAttributes
	if public.Type != tpm2.TPMAlgRSA || !attr.FixedTPM || !attr.Restricted || !attr.Decrypt || attr.SignEncrypt {
		return fmt.Errorf("endorsement key: not an RSA key that is fixed to its TPM, restricted, and for decryption alone")
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		return fmt.Errorf("endorsement key: %w", err)
	}
	if k, ok := key.(*rsa.PublicKey); !ok || k.N.BitLen() < minEndorsement || k.N.BitLen() > maxEndorsement {
		return fmt.Errorf("endorsement key: not of %d to %d bits", minEndorsement, maxEndorsement)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return fmt.Errorf("endorsement key: %w", err)
	}
	digest := sha256.Sum256(der)
	s.endorsement = hex.EncodeToString(digest[:])
	return nil
}

// mixed renders an identifier whose first three fields are little-endian.
func (g guid) mixed() string {
	return guid{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}.String()
}
