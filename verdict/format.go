// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// Format is a form in which a result is signed. All are made from one Result;
// none says more than another about what was found.
type Format string

// Formats of signed results (decisions D-17, D-89 to D-92).
const (
	// FormatP23JWT is profile ProfileP23 as a compact JWT, which existing relying
	// parties read.
	FormatP23JWT Format = "ear"
	// FormatP04JWT and FormatP04CWT are profile ProfileP04, with the results of the
	// component verifiers nested as they were signed.
	FormatP04JWT Format = "ear-p04"
	FormatP04CWT Format = "cwt"
	// FormatTDXGPU is profile ProfileTDXGPU, for machines of one TDX guest and
	// NVIDIA devices. VerifyResult does not read it: what component verifiers signed
	// is not in it.
	FormatTDXGPU Format = "tdx-gpu"
)

// Profiles beside ProfileP23.
const (
	// ProfileP04 is the EAR profile of draft-ietf-rats-ear-04.
	ProfileP04 = "tag:ietf.org,2026:rats/ear#04"
	// ProfileTDXGPU follows draft-kykdxy-rats-tdx-cgpu-ear-profile-02. The name is
	// our own: see decision D-91.
	ProfileTDXGPU = "tag:github.com,2026:assize/ear-tdx-gpu"
)

// Formats lists all formats; the first one of a media type is the one that is
// meant where no profile is named.
func Formats() []Format {
	return []Format{FormatP23JWT, FormatP04JWT, FormatP04CWT, FormatTDXGPU}
}

// ParseFormat reads the name of a format.
func ParseFormat(name string) (Format, error) {
	if f := Format(name); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("verdict: unknown format %.32q: want one of %v", name, Formats())
}

// Profile is the eat_profile of a format, "" for an unknown one.
func (f Format) Profile() string {
	switch f {
	case FormatP23JWT:
		return ProfileP23
	case FormatP04JWT, FormatP04CWT:
		return ProfileP04
	case FormatTDXGPU:
		return ProfileTDXGPU
	}
	return ""
}

// MediaType is the media type of a format with its profile (RFC 9782).
func (f Format) MediaType() evidence.MediaType {
	base := "application/eat+jwt"
	if f.Binary() {
		base = "application/eat+cwt"
	}
	return evidence.MediaType{Base: base}.With("eat_profile", f.Profile())
}

// Binary reports whether the format is bytes and not text.
func (f Format) Binary() bool { return f == FormatP04CWT }

// Verifiable reports whether VerifyResult reads the format.
func (f Format) Verifiable() bool { return f != FormatTDXGPU && f.Profile() != "" }

// FormatError is why a result cannot be had in a format: the format has no place
// for what the machine is.
type FormatError struct {
	Format Format
	Detail string
}

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("verdict: no result in format %s: %s", e.Format, e.Detail)
}

// SignFormat signs a result in any format. For FormatP23JWT it is SignResult; for
// the others r.Token stays what it is. lifetime sets exp; zero means five minutes.
// Everything that SignResult refuses is an error here. A *FormatError means that
// the format does not fit the machine.
func SignFormat(s *trust.Signer, r *Result, f Format, lifetime time.Duration) ([]byte, error) {
	if f == FormatP23JWT {
		return SignResult(s, r, lifetime)
	}
	token, err := signOther(s, r, f, lifetime)
	var unfit *FormatError
	switch {
	case errors.As(err, &unfit):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("verdict: result in format %.32q: %w", f, err)
	case len(token) > limits.AggregateResult:
		return nil, fmt.Errorf("verdict: result in format %s of %d bytes, at most %d", f, len(token), limits.AggregateResult)
	}
	return token, nil
}

func signOther(s *trust.Signer, r *Result, f Format, lifetime time.Duration) ([]byte, error) {
	if lifetime == 0 {
		lifetime = defaultLifetime
	}
	if lifetime < time.Second {
		return nil, errors.New("it would live less than a second")
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	switch f {
	case FormatP04JWT:
		claims, err := r.claimsP04(lifetime)
		if err != nil {
			return nil, err
		}
		return s.SignJWT(claims)
	case FormatP04CWT:
		claims, err := r.claimsP04CBOR(lifetime)
		if err != nil {
			return nil, err
		}
		// Without the profile, which has a slash in it: common libraries refuse a
		// content type with two. The claims have the profile.
		return s.SignCWT(claims, f.MediaType().Base)
	case FormatTDXGPU:
		claims, err := r.claimsTDXGPU(lifetime)
		if err != nil {
			return nil, err
		}
		return s.SignJWT(claims)
	}
	return nil, errors.New("unknown")
}

// verifyToken checks the signature of a result, a compact JWT or a CWT.
func verifyToken(token []byte, find func(kid string) (trust.Key, bool)) ([]byte, trust.Key, error) {
	if trust.IsCWT(token) {
		return trust.VerifyCWT(token, find)
	}
	return trust.VerifyJWT(token, find)
}
