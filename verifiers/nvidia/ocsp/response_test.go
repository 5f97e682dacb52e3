// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"bytes"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"
)

// What makes a response unreadable. Each row breaks one rule of the form.
func TestParseIsStrict(t *testing.T) {
	w := newWorld(t)
	unknownExtension := func(critical []byte) []byte {
		return tlv(0xA1, tlv(0x30, tlv(0x30, oidOf(1, 2, 3, 4), critical, tlv(4, derNull))))
	}
	critical := []byte{1, 1, 0xFF}
	honest := w.honest()
	serial := func(in ...byte) func(*parts) {
		return func(p *parts) {
			p.cert = tlv(0x30, tlv(0x30, oidOf(1, 3, 14, 3, 2, 26)), tlv(4, make([]byte, 20)), tlv(4, make([]byte, 20)), tlv(2, in))
		}
	}
	extensions := func(n int) []byte {
		var all [][]byte
		for i := range n {
			all = append(all, tlv(0x30, oidOf(1, 2, 3, i), tlv(4, derNull)))
		}
		return tlv(0xA1, tlv(0x30, all...))
	}
	for _, c := range []struct {
		name   string
		change func(*parts)
		why    string // empty: it is read
	}{
		{"honest", nil, ""},
		{"explicit version 1", func(p *parts) { p.version = tlv(0xA0, []byte{2, 1, 0}) }, ""},
		{"nonce", func(p *parts) { p.extend = nonceExtension(nil, nonce) }, ""},
		{"critical nonce", func(p *parts) { p.extend = nonceExtension(critical, nonce) }, ""},
		{"unknown extensions", func(p *parts) { p.single, p.extend = unknownExtension(nil), unknownExtension(nil) }, ""},
		{"hash without parameters", serial(1), ""},
		{"longest serial number", serial(append([]byte{0}, bytes.Repeat([]byte{0xFF}, 20)...)...), ""},
		{"odd reason", func(p *parts) { p.certStatus = revoked(now, 7) }, ""},
		{"negative reason", func(p *parts) { p.certStatus = revoked(now, 0xFF) }, ""},
		{"not signed with anything known", func(p *parts) { p.algorithm = tlv(0x30, oidOf(1, 2, 3)) }, ""},
		{"no certificates", func(p *parts) { p.certs = nil }, ""},

		{"version 2", func(p *parts) { p.version = tlv(0xA0, []byte{2, 1, 1}) }, "version"},
		{"another type", func(p *parts) { p.kind = oidOf(1, 3, 6, 1, 5, 5, 7, 48, 1, 2) }, "responseType"},
		{"no responder", func(p *parts) { p.id = nil }, "responderID"},
		{"responder by a third way", func(p *parts) { p.id = tlv(0xA3, tlv(4, make([]byte, 20))) }, "responderID"},
		{"responder with an empty name", func(p *parts) { p.id = tlv(0xA1, tlv(0x30)) }, "empty name"},
		{"responder with two names", func(p *parts) { p.id = tlv(0xA1, w.ca.Cert.RawSubject, w.ca.Cert.RawSubject) }, "responderID"},
		{"responder with SHA-256", func(p *parts) { p.id = tlv(0xA2, tlv(4, make([]byte, 32))) }, "expected 20"},
		{"no producedAt", func(p *parts) { p.produced = nil }, "producedAt"},
		{"two statuses", func(p *parts) { p.more = tlv(0x30, p.cert, p.certStatus, p.this, p.next) }, "exactly one"},
		{"good and revoked", func(p *parts) { p.certStatus = append([]byte{0x80, 0}, revoked(now, 1)...) }, "thisUpdate"},
		{"no status", func(p *parts) { p.certStatus = nil }, "certStatus"},
		{"good that is not NULL", func(p *parts) { p.certStatus = []byte{0x80, 1, 0} }, "not NULL"},
		{"unknown that is not NULL", func(p *parts) { p.certStatus = []byte{0x82, 1, 0} }, "not NULL"},
		{"revoked without a time", func(p *parts) { p.certStatus = tlv(0xA1) }, "revocationTime"},
		{"revoked for two reasons", func(p *parts) {
			p.certStatus = tlv(0xA1, at(now), tlv(0xA0, []byte{10, 1, 1, 10, 1, 6}))
		}, "revocationReason"},
		{"revoked with more behind it", func(p *parts) {
			p.certStatus = tlv(0xA1, at(now), tlv(0xA0, []byte{10, 1, 1}), derNull)
		}, "revocationReason"},
		{"hold in two bytes", func(p *parts) { p.certStatus = tlv(0xA1, at(now), tlv(0xA0, []byte{10, 2, 0, 6})) }, "revocationReason"},
		{"reason of nine bytes", func(p *parts) {
			p.certStatus = tlv(0xA1, at(now), tlv(0xA0, append([]byte{10, 9, 1}, make([]byte, 8)...)))
		}, "revocationReason"},
		{"good in a constructed form", func(p *parts) { p.certStatus = []byte{0xA0, 0} }, "certStatus"},
		{"good in a long form of length", func(p *parts) { p.certStatus = []byte{0x80, 0x81, 0} }, "certStatus"},
		{"revoked in a primitive form", func(p *parts) { p.certStatus = tlv(0x81, at(now)) }, "certStatus"},
		{"responder in a primitive form", func(p *parts) { p.id = tlv(0x82, tlv(4, make([]byte, 20))) }, "responderID"},
		{"version of nine bytes", func(p *parts) { p.version = tlv(0xA0, append([]byte{2, 9, 1}, make([]byte, 8)...)) }, "version"},
		{"UTCTime", func(p *parts) { p.this = tlv(0x17, []byte("260601120000Z")) }, "thisUpdate"},
		{"fraction of a second", func(p *parts) { p.this = tlv(0x18, []byte("20260601120000.5Z")) }, "thisUpdate"},
		{"another time zone", func(p *parts) { p.this = tlv(0x18, []byte("20260601120000+0100")) }, "thisUpdate"},
		{"the 32nd", func(p *parts) { p.this = tlv(0x18, []byte("20260532120000Z")) }, "thisUpdate"},
		{"ends before it begins", func(p *parts) { p.next = tlv(0xA0, at(now.Add(-time.Second))) }, "nextUpdate"},
		{"two ends", func(p *parts) { p.next = tlv(0xA0, at(now), at(now)) }, "nextUpdate"},
		{"critical extension about the certificate", func(p *parts) { p.single = unknownExtension(critical) }, "singleExtensions"},
		{"critical extension", func(p *parts) { p.extend = unknownExtension(critical) }, "responseExtensions"},
		{"mark that is no boolean", func(p *parts) { p.extend = unknownExtension([]byte{1, 1, 1}) }, "criticality"},
		{"two nonces", func(p *parts) {
			one := tlv(0x30, oidOf(oidNonce...), tlv(4, tlv(4, nonce)))
			p.extend = tlv(0xA1, tlv(0x30, one, one))
		}, "twice"},
		{"nonce without its own form", func(p *parts) {
			p.extend = tlv(0xA1, tlv(0x30, tlv(0x30, oidOf(oidNonce...), tlv(4, nonce))))
		}, "nonce"},
		{"empty nonce", func(p *parts) { p.extend = nonceExtension(nil, nil) }, "0 bytes"},
		{"long nonce", func(p *parts) { p.extend = nonceExtension(nil, make([]byte, MaxNonce+1)) }, "129 bytes"},
		{"many extensions", func(p *parts) { p.extend = extensions(maxExtensions + 1) }, "more than 16"},
		{"elements behind the extensions", func(p *parts) { p.extend = append(extensions(1), derNull...) }, "responseExtensions"},
		{"SHA-512 names the issuer", func(p *parts) {
			p.cert = tlv(0x30, tlv(0x30, oidOf(2, 16, 840, 1, 101, 3, 4, 2, 3)), tlv(4, make([]byte, 64)), tlv(4, make([]byte, 64)), []byte{2, 1, 1})
		}, "hash algorithm"},
		{"short digests", func(p *parts) {
			p.cert = tlv(0x30, tlv(0x30, oidOf(1, 3, 14, 3, 2, 26)), tlv(4, make([]byte, 19)), tlv(4, make([]byte, 20)), []byte{2, 1, 1})
		}, "20 bytes"},
		{"negative serial number", serial(0x80), "negative"},
		{"no serial number", serial(), "empty"},
		{"serial number with a zero in front", serial(0, 1), "not in DER"},
		{"long serial number", serial(append([]byte{1}, make([]byte, 20)...)...), "at most 20"},
		{"two parameters", func(p *parts) { p.algorithm = tlv(0x30, oidOf(1, 2, 3), derNull, derNull) }, "signatureAlgorithm"},
		{"certificates that are none", func(p *parts) { p.certs = tlv(0xA0, tlv(0x30)) }, "empty"},
		{"certificate that is none", func(p *parts) { p.certs = tlv(0xA0, tlv(0x30, tlv(0x30, derNull))) }, "certificate of the responder"},
		{"many certificates", func(p *parts) {
			p.certs = tlv(0xA0, tlv(0x30, bytes.Repeat(w.responder.Cert.Raw, maxCertificates+1)))
		}, "more than 4"},
		{"elements behind the certificates", func(p *parts) { p.certs = append(bytes.Clone(honest.certs), derNull...) }, "certs"},
		{"elements instead of certificates", func(p *parts) { p.certs = derNull }, "certs"},
		{"too large", func(p *parts) {
			p.extend = tlv(0xA1, tlv(0x30, tlv(0x30, oidOf(1, 2, 3), tlv(4, make([]byte, MaxResponse)))))
		}, "at most"},
	} {
		p := w.honest()
		if c.change != nil {
			c.change(p)
		}
		r, err := Parse(p.der(t))
		switch {
		case c.why == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.why != "" && (err == nil || r != nil || !strings.Contains(err.Error(), c.why) || !strings.HasPrefix(err.Error(), "ocsp: ")):
			t.Errorf("%s: %v, expected … %s …", c.name, err, c.why)
		}
	}
}

func TestParseOfBrokenDER(t *testing.T) {
	good := newWorld(t).honest().der(t)
	for name, raw := range map[string][]byte{
		"nothing":             nil,
		"another element":     derNull,
		"long form of length": append([]byte{0x30, 0x83, 0x00}, good[2:]...),
		"indefinite length":   append(append([]byte{0x30, 0x80}, good[4:]...), 0, 0),
		"success of nothing":  {0x30, 3, 10, 1, 0},
		"success, then more":  tlv(0x30, []byte{10, 1, 0}, tlv(0xA0, tlv(0x30, oidOf(oidBasic...), tlv(4, derNull))), derNull),
		"twice":               append(bytes.Clone(good), good...),
	} {
		if _, err := Parse(raw); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// What a response says must not fill a message.
func TestParseErrorsAreShort(t *testing.T) {
	w := newWorld(t)
	long := tlv(6, append([]byte{0x2A}, bytes.Repeat([]byte{1}, 20<<10)...))
	for _, change := range []func(*parts){
		func(p *parts) { p.kind = long },
		func(p *parts) {
			p.cert = tlv(0x30, tlv(0x30, long), tlv(4, make([]byte, 20)), tlv(4, make([]byte, 20)), []byte{2, 1, 1})
		},
		func(p *parts) { p.extend = tlv(0xA1, tlv(0x30, tlv(0x30, long, []byte{1, 1, 0xFF}, tlv(4, derNull)))) },
	} {
		p := w.honest()
		change(p)
		if _, err := Parse(p.der(t)); err == nil || len(err.Error()) > 1<<10 {
			t.Errorf("%.100v", err)
		}
	}
}

func TestParseOfErrors(t *testing.T) {
	for status, text := range map[byte]string{1: "malformed request", 2: "internal error", 3: "try later", 4: "not a status", 5: "signature required", 6: "unauthorized", 9: "not a status"} {
		_, err := Parse([]byte{0x30, 3, 10, 1, status})
		var refused *ResponderError
		if !errors.As(err, &refused) || refused.Status != int(status) || !strings.Contains(err.Error(), text) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	var refused *ResponderError
	if _, err := Parse([]byte{0x30, 5, 10, 1, 6, 5, 0}); err == nil || errors.As(err, &refused) {
		t.Errorf("an error with more behind it: %v", err)
	}
}

func TestParsed(t *testing.T) {
	w := newWorld(t)
	r := w.made(func(p *parts) { p.extend = nonceExtension(nil, nonce) })
	this, next := r.Window()
	if r.Digest() != r.digest || r.Serial() != w.leaf.Cert.SerialNumber.Text(16) || !this.Equal(now) || !next.Equal(now.Add(day)) || !bytes.Equal(r.nonce, nonce) {
		t.Errorf("%+v", r)
	}
}

// Two readers of the same bytes must find the same; each row is one thing that
// they might not.
func TestReadersThatDiffer(t *testing.T) {
	w := newWorld(t)
	other, err := xocsp.ParseResponse(w.honest().der(t), w.ca.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.made(nil).agrees(other); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Response){
		"signed bytes":        func(r *Response) { r.tbs = r.tbs[1:] },
		"status":              func(r *Response) { r.status = Revoked },
		"serial number":       func(r *Response) { r.id.serial = "\x01" },
		"hash algorithm":      func(r *Response) { r.id.hash = crypto.SHA1 },
		"times":               func(r *Response) { r.next = time.Time{} },
		"signature algorithm": func(r *Response) { r.algorithm++ },
		"certificate":         func(r *Response) { r.responder = nil },
		"certificate ":        func(r *Response) { r.responder = w.ca.Cert },
	} {
		r := w.made(nil)
		change(r)
		if err := r.agrees(other); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(what)) {
			t.Errorf("%s: %v", what, err)
		}
		// The whole check uses it.
		if got := w.leafStatus(0, nil, Policy{}, r).Status; got != Invalid && got != Missing {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// FuzzParse looks for input that panics, that is read differently by the other
// reader, or that is good although nobody signed it.
func FuzzParse(f *testing.F) {
	w := newWorld(f)
	f.Add(w.honest().der(f))
	for _, change := range []func(*parts){
		func(p *parts) { p.certStatus = revoked(now, 6) },
		func(p *parts) { p.certStatus, p.next = []byte{0x82, 0}, nil },
		func(p *parts) { p.extend, p.id = nonceExtension(nil, nonce), tlv(0xA1, w.responder.Cert.RawSubject) },
		func(p *parts) { p.certs, p.version = nil, tlv(0xA0, []byte{2, 1, 0}) },
	} {
		p := w.honest()
		change(p)
		f.Add(p.der(f))
	}
	f.Add([]byte{0x30, 3, 10, 1, 6})
	genuine := map[string]bool{string(w.made(nil).tbs): true, string(w.made(func(p *parts) {
		p.extend, p.id = nonceExtension(nil, nonce), tlv(0xA1, w.responder.Cert.RawSubject)
	}).tbs): true}
	c := NewChecker(16)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := Parse(raw)
		if err != nil {
			if r != nil {
				t.Fatal("a response and an error")
			}
			return
		}
		if len(raw) > MaxResponse || len(r.id.serial) > maxSerial || len(r.nonce) > MaxNonce || (r.responderName == nil) == (r.responderKey == nil) || !bytes.Contains(raw, r.tbs) {
			t.Fatalf("%+v", r)
		}
		s, err := NewSet([]*Response{r})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Check(s, w.chain(), now, nil, Policy{UncheckedResponder: true})[0]; got.Status == Good && !genuine[string(r.tbs)] {
			t.Fatalf("good, and nobody signed it: %x", raw)
		}
	})
}
