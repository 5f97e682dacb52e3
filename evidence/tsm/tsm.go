// SPDX-License-Identifier: Apache-2.0

// Package tsm decodes reports of Linux configfs-TSM (kernel ABI
// configfs-tsm-report) as Veraison's ratsd wraps them: the media types
// application/vnd.veraison.tsm-report+json and +cbor (veraison/ratsd,
// docs/tsm-report.cddl).
//
// The provider decides what the blobs are: "sev_guest" (SNP report, with the
// certificate table as auxblob), "tdx_guest" (DCAP quote), "arm_cca_guest"
// (CCA token). This package checks form only; the meaning belongs to the scheme.
package tsm

import (
	"fmt"
	"math"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/internal/cborscan"
	"github.com/assize/assize/evidence/internal/jsonscan"
)

// The media types of a report.
const (
	TypeJSON = "application/vnd.veraison.tsm-report+json"
	TypeCBOR = "application/vnd.veraison.tsm-report+cbor"
)

// maxName bounds provider and service provider in bytes.
const maxName = 64

// maxMembers is how many members the format knows.
const maxMembers = 5

// Report is one decoded report. Blobs of the CBOR form are slices of the input.
type Report struct {
	// Provider is the kernel's name of the TEE, without the newline that the
	// kernel appends.
	Provider string
	// OutBlob is the evidence itself; never empty.
	OutBlob []byte
	// AuxBlob is provider-specific, for SNP the certificate table; nil if absent or empty.
	AuxBlob []byte
	// ServiceProvider names who made ManifestBlob, for example "svsm"; "" if absent.
	ServiceProvider string
	// ManifestBlob is the manifest of the service provider; nil if absent or empty.
	ManifestBlob []byte
}

// Error is a report that breaks the format.
type Error struct {
	Detail string
	// Offset is in bytes from the start of the report, -1 if unknown.
	Offset int
}

// Error names the offset where it is known.
func (e *Error) Error() string {
	if e.Offset < 0 {
		return "tsm: " + e.Detail
	}
	return fmt.Sprintf("tsm: %s (offset %d)", e.Detail, e.Offset)
}

func fail(at int, format string, a ...any) error {
	return &Error{Detail: fmt.Sprintf(format, a...), Offset: at}
}

// Decode reads a report of the type mt, whose parameters are ignored. Unknown
// and duplicate members, padding, trailing bytes and a manifest without its
// service provider are refused. Every error is an *Error. Time and memory are
// linear in len(raw).
func Decode(mt evidence.MediaType, raw []byte) (Report, error) {
	d := decoder{seen: make(map[string]bool, 5)}
	var err error
	switch mt.Base {
	case TypeJSON:
		err = d.json(raw)
	case TypeCBOR:
		err = d.cbor(raw)
	default:
		return Report{}, fail(-1, "type %.100q is no TSM report", mt.Base)
	}
	if err == nil {
		err = d.complete()
	}
	if err != nil {
		return Report{}, place(err)
	}
	return d.r, nil
}

// place turns a scanner's error into ours.
func place(err error) error {
	switch e := err.(type) {
	case *jsonscan.Error:
		return fail(e.Offset, "%s", e.Detail)
	case *cborscan.Error:
		return fail(e.Offset, "%s", e.Detail)
	}
	return err
}

type decoder struct {
	r    Report
	seen map[string]bool
}

// blob and name return where a member goes; both nil for an unknown one.
func (d *decoder) blob(member string) *[]byte {
	switch member {
	case "outblob":
		return &d.r.OutBlob
	case "auxblob":
		return &d.r.AuxBlob
	case "manifestblob":
		return &d.r.ManifestBlob
	}
	return nil
}

func (d *decoder) name(member string) *string {
	switch member {
	case "provider":
		return &d.r.Provider
	case "service_provider":
		return &d.r.ServiceProvider
	}
	return nil
}

func (d *decoder) json(raw []byte) error {
	s := &jsonscan.Scanner{Buf: raw}
	err := s.Object(maxMembers, func(member string) error {
		d.seen[member] = true
		at := s.Pos
		if dst := d.blob(member); dst != nil {
			out, _, err := s.Base64URL(nil, math.MaxInt)
			*dst = out
			return err
		}
		dst := d.name(member)
		if dst == nil {
			return fail(at, "unknown member %.32q", member)
		}
		text, err := s.Text()
		if err == nil {
			*dst, err = cleanName(text, at)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.End()
}

func (d *decoder) cbor(raw []byte) error {
	r := &cborscan.Reader{Buf: raw}
	h, err := r.Head()
	if err != nil {
		return err
	}
	if h.Major != cborscan.Map {
		return fail(0, "no CBOR map")
	}
	for i := uint64(0); h.Indefinite || i < h.Arg; i++ {
		if h.Indefinite && r.Break() {
			break
		}
		if err := d.cborMember(r); err != nil {
			return err
		}
	}
	return r.End()
}

func (d *decoder) cborMember(r *cborscan.Reader) error {
	at := r.Pos
	key, err := r.String(cborscan.Text)
	if err != nil {
		return err
	}
	member := string(key)
	if d.seen[member] {
		return fail(at, "duplicate member %.32q", member)
	}
	d.seen[member] = true
	at = r.Pos
	if dst := d.blob(member); dst != nil {
		*dst, err = r.String(cborscan.Bytes)
		return err
	}
	dst := d.name(member)
	if dst == nil {
		return fail(at, "unknown member %.32q", member)
	}
	text, err := r.String(cborscan.Text)
	if err == nil {
		*dst, err = cleanName(text, at)
	}
	return err
}

// cleanName cuts the newline of the kernel's attribute files off.
func cleanName(text []byte, at int) (string, error) {
	s := strings.TrimSuffix(string(text), "\n")
	if s == "" || len(s) > maxName {
		return "", fail(at, "name of %d bytes, not 1 to %d", len(s), maxName)
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return "", fail(at, "name %q has other characters than printable ASCII", s)
		}
	}
	return s, nil
}

func (d *decoder) complete() error {
	switch {
	case !d.seen["provider"]:
		return fail(-1, "member provider is missing")
	case len(d.r.OutBlob) == 0:
		return fail(-1, "member outblob is missing or empty")
	case d.seen["manifestblob"] && !d.seen["service_provider"]:
		return fail(-1, "manifestblob without service_provider")
	}
	if len(d.r.AuxBlob) == 0 {
		d.r.AuxBlob = nil
	}
	if len(d.r.ManifestBlob) == 0 {
		d.r.ManifestBlob = nil
	}
	return nil
}
