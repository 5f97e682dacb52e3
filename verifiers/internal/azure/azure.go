// SPDX-License-Identifier: Apache-2.0

// Package azure reads the leaf in which confidential VMs of Azure bring their
// evidence: the paravisor's report, which holds the CPU's, and a quote of the
// virtual TPM. Both are one leaf because neither is enough: the CPU's report
// names the TPM's key and no challenge, and the quote answers the challenge.
//
//	{"version": 1, "hcl_report": b64url, "vcek": b64url DER or PEM,
//	 "tpm_quote": {"message": hex, "signature": hex, "pcrs": [24 × hex]}}
//
// With td_quote in place of vcek it is a TDX machine. Begin with Parse. Of the
// three forms that attesters write (kata-containers guest components, versions 0
// to 2) all are read; version 0 writes arrays of numbers and calls its members
// report and quote. event_log, the firmware's log, may stand beside them.
//
// The package knows form only; nothing in a Leaf is verified.
package azure

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/internal/strictjson"
)

const (
	// MediaType is the type of the leaf.
	MediaType = "application/vnd.assize.azure-cvm+json"
	// TEEParam is the parameter that the type is refined with to choose the
	// scheme: TEESNP or TEETDX, as TEE returns it.
	TEEParam = "tee"
	// TEESNP is an AMD SEV-SNP machine.
	TEESNP = "snp"
	// TEETDX is an Intel TDX machine.
	TEETDX = "tdx"

	// MaxLeaf is the largest leaf in bytes: one of version 0 spells every byte as
	// a number and has room for an event log.
	MaxLeaf = 1 << 20
	// PCRs is how many registers a leaf holds: the SHA-256 bank.
	PCRs = 24

	maxReport    = 64 << 10
	maxCert      = 16 << 10
	maxTDQuote   = 16 << 10
	maxMessage   = 4 << 10
	maxSignature = 1 << 10
	maxEventLog  = 512 << 10
	pcrSize      = 32
)

// Leaf is one machine's evidence, taken apart.
type Leaf struct {
	// Version is 0, 1 or 2.
	Version int
	// TEE is TEESNP or TEETDX.
	TEE string
	// Report is the paravisor's report as it lies in the TPM (NV 0x01400001).
	Report []byte
	// VCEK is the certificate of the chip's key, PEM or DER; nil on TDX, and
	// where the verifier has to find it.
	VCEK []byte
	// TDQuote is the quote over the TD report; nil on SNP.
	TDQuote []byte
	// Message is the TPMS_ATTEST, Signature the bare signature over it
	// (RSASSA: as long as the modulus).
	Message, Signature []byte
	// PCRs are the registers 0 to 23 of the SHA-256 bank, 32 bytes each.
	PCRs [PCRs][]byte
	// EventLog is the firmware's log, nil without.
	EventLog []byte
}

// TEE says which kind of machine a leaf is from, to route it; what it says is
// not verified.
func TEE(raw []byte) (string, error) {
	l, err := Parse(raw)
	if err != nil {
		return "", err
	}
	return l.TEE, nil
}

// Parse reads a leaf: every member once, none that is unknown.
func Parse(raw []byte) (*Leaf, error) {
	if len(raw) > MaxLeaf {
		return nil, fmt.Errorf("azure: leaf of %d bytes, at most %d", len(raw), MaxLeaf)
	}
	m, err := strictjson.Members(raw)
	if err != nil {
		return nil, fmt.Errorf("azure: %w", err)
	}
	l := &Leaf{}
	if v, ok := m["version"]; ok {
		if l.Version, err = version(v); err != nil {
			return nil, err
		}
		delete(m, "version")
	}
	if l.Version == 0 {
		err = l.numbers(m)
	} else {
		err = l.texts(m)
	}
	if err != nil {
		return nil, fmt.Errorf("azure: version %d: %w", l.Version, err)
	}
	if len(m) > 0 {
		return nil, fmt.Errorf("azure: unknown members %q", names(m))
	}
	return l, l.kind()
}

func version(raw json.RawMessage) (int, error) {
	switch string(raw) {
	case "1":
		return 1, nil
	case "2":
		return 2, nil
	}
	return 0, fmt.Errorf("azure: version %.16s, expected none, 1 or 2", raw)
}

// kind settles what machine it is.
func (l *Leaf) kind() error {
	switch {
	case l.TDQuote != nil && l.VCEK != nil:
		return errors.New("azure: both vcek and td_quote")
	case l.TDQuote != nil:
		l.TEE = TEETDX
	default:
		l.TEE = TEESNP
	}
	return nil
}

// field is one member and where it goes.
type field struct {
	name     string
	to       *[]byte
	most     int
	optional bool
	decode   func(json.RawMessage) ([]byte, error)
}

func take(m map[string]json.RawMessage, fields ...field) error {
	for _, f := range fields {
		raw, ok := m[f.name]
		delete(m, f.name)
		if !ok && f.optional {
			continue
		}
		if !ok {
			return fmt.Errorf("member %s is missing", f.name)
		}
		v, err := f.decode(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if len(v) == 0 || len(v) > f.most {
			return fmt.Errorf("%s has %d bytes, expected 1 to %d", f.name, len(v), f.most)
		}
		*f.to = v
	}
	return nil
}

// texts reads versions 1 and 2.
func (l *Leaf) texts(m map[string]json.RawMessage) error {
	err := take(m,
		field{"hcl_report", &l.Report, maxReport, false, base64URL},
		field{"vcek", &l.VCEK, maxCert, true, base64URL},
		field{"td_quote", &l.TDQuote, maxTDQuote, true, base64URL},
		field{"event_log", &l.EventLog, maxEventLog, true, base64URL},
	)
	if err != nil {
		return err
	}
	return l.quote(m, "tpm_quote", hexText)
}

// numbers reads version 0.
func (l *Leaf) numbers(m map[string]json.RawMessage) error {
	err := take(m,
		field{"report", &l.Report, maxReport, false, byteArray},
		field{"vcek", &l.VCEK, maxCert, true, plainText},
		field{"td_quote", &l.TDQuote, maxTDQuote, true, byteArray},
		field{"event_log", &l.EventLog, maxEventLog, true, byteArray},
	)
	if err != nil {
		return err
	}
	return l.quote(m, "quote", byteArray)
}

// quote reads the TPM's part.
func (l *Leaf) quote(m map[string]json.RawMessage, name string, decode func(json.RawMessage) ([]byte, error)) error {
	raw, ok := m[name]
	if !ok {
		return fmt.Errorf("member %s is missing", name)
	}
	delete(m, name)
	q, err := strictjson.Members(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(q["pcrs"], &list); err != nil || len(list) != PCRs {
		return fmt.Errorf("%s: pcrs is not a list of %d registers", name, PCRs)
	}
	delete(q, "pcrs")
	for i, v := range list {
		if l.PCRs[i], err = decode(v); err != nil || len(l.PCRs[i]) != pcrSize {
			return fmt.Errorf("%s: PCR %d is not %d bytes", name, i, pcrSize)
		}
	}
	err = take(q,
		field{"message", &l.Message, maxMessage, false, decode},
		field{"signature", &l.Signature, maxSignature, false, decode},
	)
	if err == nil && len(q) > 0 {
		err = fmt.Errorf("unknown members %q", names(q))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func names(m map[string]json.RawMessage) []string {
	var out []string
	for n := range m {
		out = append(out, n)
	}
	slices.Sort(out)
	return out[:min(len(out), 8)]
}

func text(raw json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", errors.New("not a text")
	}
	return *s, nil
}

func plainText(raw json.RawMessage) ([]byte, error) {
	s, err := text(raw)
	return []byte(s), err
}

func base64URL(raw json.RawMessage) ([]byte, error) {
	s, err := text(raw)
	if err != nil {
		return nil, err
	}
	encoding := base64.RawURLEncoding
	if strings.HasSuffix(s, "=") { // attesters write both
		encoding = base64.URLEncoding
	}
	out, err := encoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("not base64url")
	}
	return out, nil
}

func hexText(raw json.RawMessage) ([]byte, error) {
	s, err := text(raw)
	if err != nil {
		return nil, err
	}
	out, err := hex.DecodeString(s)
	if err != nil {
		return nil, errors.New("not hexadecimal")
	}
	return out, nil
}

// byteArray reads a list of numbers, each one byte.
func byteArray(raw json.RawMessage) ([]byte, error) {
	var list []*uint8
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, errors.New("not a list of bytes")
	}
	out := make([]byte, len(list))
	for i, n := range list {
		if n == nil {
			return nil, errors.New("not a list of bytes")
		}
		out[i] = *n
	}
	return out, nil
}
