// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/assize/assize/internal/limits"
)

// Media types of CoRIM.
const (
	MediaTypeUnsigned = "application/rim+cbor"
	MediaTypeSigned   = "application/rim+cose"
)

// ErrLimit is wrapped by the error for a document that is too large.
var ErrLimit = errors.New("too large")

const (
	tagEpoch  = 1
	tagSign1  = 18
	tagAny500 = 500
	tagSigned = 502
)

// Parse reads a document, tagged 501, or signed (COSE_Sign1, tag 18), and checks
// that it is consistent in itself. It asks nobody whether to believe it: what it
// returns has no Authority, and NewIndex refuses it. Use it to show a document,
// and Load for everything else.
//
// It reads definite lengths only, refuses duplicate keys, trailing bytes,
// digests of the wrong length, domains that contain or trust themselves, and
// what exceeds internal/limits. Errors are a *SyntaxError, a *CycleError or wrap
// ErrLimit.
func Parse(raw []byte) (*Document, error) {
	if len(raw) > limits.CorimDocument {
		return nil, fmt.Errorf("corim: document of %d bytes, at most %d: %w", len(raw), limits.CorimDocument, ErrLimit)
	}
	mode, err := decoding()
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	raw = append([]byte(nil), raw...) // the caller may reuse its buffer
	all := &cursor{buf: raw, end: len(raw), mode: mode}
	c, err := all.open(0, len(raw))
	if err != nil {
		return nil, err
	}
	number, err := c.outerTag()
	if err != nil {
		return nil, err
	}
	d := &Document{Raw: raw, Digest: sha256.Sum256(raw)}
	switch number {
	case TagCorim:
	case tagSign1:
		c.pos = 0
		if d.Signature, c, err = c.signature(); err != nil {
			return nil, err
		}
		if err := c.tag(TagCorim); err != nil {
			return nil, at("payload", err)
		}
	default:
		c.pos = 0
		return nil, c.errorf("tag %d is not that of a CoRIM (%d, or %d if signed)", number, TagCorim, tagSign1)
	}
	if err := c.document(d); err != nil {
		return nil, err
	}
	if err := d.acyclic(); err != nil {
		return nil, err
	}
	return d, nil
}

// outerTag reads the outermost tags; 500 and 502 are of older drafts and say
// nothing more.
func (c *cursor) outerTag() (uint64, error) {
	for range 3 {
		number, err := c.expect(majorTag)
		if err != nil {
			return 0, err
		}
		switch number {
		case tagAny500, tagSigned:
			c.buf = c.buf[c.pos:] // offsets count from the message itself
			c.end -= c.pos
			c.pos = 0
		default:
			return number, nil
		}
	}
	return 0, c.errorf("tags of older drafts more than twice")
}

// document reads a corim-map.
func (c *cursor) document(d *Document) error {
	var id bool
	ext, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			id = true
			d.ID, err = c.id()
			return true, at("id", err)
		case 1:
			d.Tags, err = c.tags()
			return true, at("tags", err)
		case 2:
			d.Dependents, err = list(c, 1, c.locator)
			return true, at("dependent-rims", err)
		case 3:
			d.Profile, err = c.profile()
			return true, at("profile", err)
		case 4:
			d.Validity, err = c.period()
			return true, at("rim-validity", err)
		case 5:
			d.Entities, err = c.entities()
			return true, at("entities", err)
		}
		return false, nil
	})
	switch {
	case err != nil:
		return err
	case !id:
		return c.errorf("document without an identifier")
	case d.Tags == nil:
		return c.errorf("document without tags")
	case c.pos != c.end:
		return c.errorf("%d bytes after the document", c.end-c.pos)
	}
	d.Extensions = ext
	return nil
}

func (c *cursor) tags() ([]Tag, error) {
	var out []Tag
	err := c.each(1, func(i int) error {
		if i == limits.CorimTags {
			return fmt.Errorf("corim: more than %d tags: %w", limits.CorimTags, ErrLimit)
		}
		number, err := c.expect(majorTag)
		if err != nil {
			return err
		}
		t := Tag{Number: number}
		// The content is wrapped in a byte string; not so in early drafts.
		n, err := c.expect(majorBytes)
		if err != nil {
			return err
		}
		from := c.pos
		if t.Raw, err = c.span(n, limits.CorimDocument); err != nil {
			return err
		}
		inner, err := c.open(from, c.pos)
		if err != nil {
			return err
		}
		if err := inner.readTag(&t); err != nil {
			return err
		}
		out = append(out, t)
		return nil
	})
	return out, err
}

// readTag reads what is under the tag, if it is of a kind that is understood.
func (c *cursor) readTag(t *Tag) (err error) {
	switch t.Number {
	case TagComid:
		t.Comid, err = c.comid()
	case TagCoswid:
		t.Coswid, err = c.coswid()
	case TagCotl:
		t.List, err = c.tagList()
	case TagCots:
		_, err = c.item()
	default:
		return c.errorf("tag %d is not that of a CoMID, CoSWID, CoTL or CoTS", t.Number)
	}
	if err == nil && c.pos != c.end {
		return c.errorf("%d bytes after the tag", c.end-c.pos)
	}
	return err
}

// coswid reads identity, name and version of a software tag (RFC 9393, keys 0,
// 1, 12, 13); the rest is kept in Tag.Raw.
func (c *cursor) coswid() (*Coswid, error) {
	s := new(Coswid)
	have := false
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			have = true
			s.Identity.ID, err = c.id()
		case 1:
			s.Name, err = c.text()
		case 12:
			s.Identity.Version, err = c.uint()
		case 13:
			s.Version, err = c.text()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && !have {
		return nil, c.errorf("software tag without an identifier")
	}
	return s, err
}

// tagList reads a concise-tl-tag.
func (c *cursor) tagList() (*List, error) {
	l := new(List)
	var have [3]bool
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			l.Identity, err = c.tagIdentity()
		case 1:
			l.Tags, err = list(c, 1, c.tagIdentity)
		case 2:
			l.Validity, err = c.period()
		default:
			return false, nil
		}
		have[key] = true
		return true, err
	})
	if err == nil && have != [3]bool{true, true, true} {
		return nil, c.errorf("list without identity, tags or validity")
	}
	return l, err
}

func (c *cursor) locator() (Locator, error) {
	var l Locator
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch {
		case key == 0 && c.peek() == majorArray:
			l.Hrefs, err = list(c, 1, c.uri)
		case key == 0:
			var s string
			s, err = c.uri()
			l.Hrefs = []string{s}
		case key == 1:
			l.Thumbprints, err = c.thumbprints()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && l.Hrefs == nil {
		return l, c.errorf("locator without an address")
	}
	return l, err
}

// thumbprints reads one digest or an array of them.
func (c *cursor) thumbprints() ([]Digest, error) {
	probe := *c
	if n, err := probe.array(1, limits.CorimItems); err == nil && n == 2 && probe.peek() != majorArray {
		d, err := c.digest()
		return []Digest{d}, err
	}
	return c.digests()
}

// profile reads a URI, with tag 32 or as a bare text, or an OID.
func (c *cursor) profile() (string, error) {
	if c.peek() == majorTag {
		probe := *c
		if tag, err := probe.expect(majorTag); err == nil && tag == TagOID {
			t, err := c.typed(false)
			if err != nil {
				return "", err
			}
			return dotted(t.Data), nil
		}
	}
	return c.uri()
}

func (c *cursor) period() (Period, error) {
	var p Period
	start := c.pos
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			p.NotBefore, err = c.time()
		case 1:
			p.NotAfter, err = c.time()
		default:
			err = c.errorf("validity member %d", key)
		}
		return true, err
	})
	switch {
	case err != nil:
		return p, err
	case p.NotAfter.IsZero():
		c.pos = start
		return p, c.errorf("validity without an end")
	case !p.NotBefore.IsZero() && p.NotAfter.Before(p.NotBefore):
		c.pos = start
		return p, c.errorf("validity ends before it begins: %s", p)
	}
	return p, nil
}

// time reads seconds since 1970 with tag 1; fractions are cut off.
func (c *cursor) time() (time.Time, error) {
	if err := c.tag(tagEpoch); err != nil {
		return time.Time{}, err
	}
	return c.epoch()
}

// lastSecond is the end of the year 9999.
const lastSecond = 253402300799

func (c *cursor) epoch() (time.Time, error) {
	start := c.pos
	var n int64
	var err error
	if c.peek() == majorOther {
		n, err = c.float()
	} else {
		n, err = c.int()
	}
	if err == nil && (n < -lastSecond || n > lastSecond) {
		c.pos = start
		return time.Time{}, c.errorf("time out of range")
	}
	return time.Unix(n, 0).UTC(), err
}

func (c *cursor) float() (int64, error) {
	raw, err := c.item()
	if err != nil {
		return 0, err
	}
	var f float64
	if err := c.mode.Unmarshal(raw, &f); err != nil {
		return 0, c.errorf("%v", err)
	}
	if math.IsNaN(f) || math.Abs(f) > lastSecond {
		return 0, c.errorf("time out of range")
	}
	return int64(math.Floor(f)), nil
}
