// SPDX-License-Identifier: Apache-2.0

package corim

// typed reads a tagged value of a type choice. Thumbprints get one spelling of
// their algorithm. plain tells that a byte string without a tag will do.
func (c *cursor) typed(plain bool) (Typed, error) {
	if plain && c.peek() == majorBytes {
		b, err := c.bytes()
		return TaggedBytes(TagBytes, b), err
	}
	tag, err := c.expect(majorTag)
	if err != nil {
		return Typed{}, err
	}
	return c.content(tag)
}

// content reads what stands under a tag that has been read.
func (c *cursor) content(tag uint64) (Typed, error) {
	start := c.pos
	var out Typed
	switch c.peek() {
	case majorBytes:
		b, err := c.bytes()
		if err != nil {
			return out, err
		}
		out = TaggedBytes(tag, b)
	case majorText:
		s, err := c.text()
		if err != nil {
			return out, err
		}
		out = TaggedText(tag, s)
	default:
		item, err := c.untypedContent(tag)
		if err != nil {
			return out, err
		}
		out = Typed{Tag: tag, Form: Item, Data: item}
	}
	if reason := wrongContent(out); reason != "" {
		c.pos = start
		return out, c.errorf("%s", reason)
	}
	return out, nil
}

func (c *cursor) untypedContent(tag uint64) (string, error) {
	switch tag {
	case TagThumbprint, TagCertThumbprint, TagCertPathThumbprint:
		d, err := c.digest()
		if err != nil {
			return "", err
		}
		enc, err := encoding()
		if err != nil {
			return "", err
		}
		raw, err := enc.Marshal(digestItem(d))
		return string(raw), err
	}
	return c.canonical()
}

// wrongContent says why t cannot stand under its tag, "" if it can.
func wrongContent(t Typed) string {
	want, n := Absent, 0
	switch t.Tag {
	case TagUUID:
		want, n = Bytes, 16
	case TagOID, TagBytes, TagUEID, TagDERCert:
		want = Bytes
	case TagURI, TagPKIXKey, TagPKIXCert, TagPKIXCertPath:
		want = Text
	case TagThumbprint, TagCertThumbprint, TagCertPathThumbprint, TagCOSEKey:
		want = Item
	}
	switch {
	case t.Tag == TagCOSEKey && t.Form == Bytes: // deployed, wrapped once more
	case want != Absent && t.Form != want:
		return "value does not have the type that its tag says"
	case t.Data == "":
		return "empty value"
	case n != 0 && len(t.Data) != n:
		return "UUID does not have 16 bytes"
	case t.Tag == TagUEID && (len(t.Data) < 7 || len(t.Data) > 33):
		return "UEID does not have 7 to 33 bytes"
	case t.Tag == TagOID && t.Data[len(t.Data)-1]&0x80 != 0:
		return "OID ends within an arc"
	}
	return ""
}

func (c *cursor) environment() (Environment, error) {
	var e Environment
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			e.Class, err = c.class()
			return true, at("class", err)
		case 1:
			e.Instance, err = c.typed(false)
			return true, at("instance", err)
		case 2:
			e.Group, err = c.typed(false)
			return true, at("group", err)
		}
		return true, c.errorf("environment member %d, of which nobody could tell whether it matches", key)
	})
	return e, err
}

func (c *cursor) class() (Class, error) {
	var k Class
	start := c.pos
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			k.ID, err = c.typed(false)
		case 1:
			k.Vendor, err = c.name()
		case 2:
			k.Model, err = c.name()
		case 3:
			k.Layer.Set = true
			k.Layer.Value, err = c.uint()
		case 4:
			k.Index.Set = true
			k.Index.Value, err = c.uint()
		default:
			return true, c.errorf("class member %d, of which nobody could tell whether it matches", key)
		}
		return true, err
	})
	if err == nil && k.Model != "" && k.Vendor == "" {
		c.pos = start
		return k, c.errorf("model %q without a vendor", k.Model)
	}
	return k, err
}

// mkey reads a measurement key.
func (c *cursor) mkey() (Key, error) {
	switch c.peek() {
	case majorUint:
		n, err := c.uint()
		return NumberKey(n), err
	case majorText:
		s, err := c.name()
		return TextKey(s), err
	}
	t, err := c.typed(false)
	return TypedKey(t), err
}

func (c *cursor) keys() ([]Typed, error) {
	var out []Typed
	err := c.each(1, func(int) error {
		t, err := c.typed(false)
		out = append(out, t)
		return err
	})
	return out, err
}

func (c *cursor) measurement() (Measurement, error) {
	var m Measurement
	have := false
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			m.Key, err = c.mkey()
			return true, at("mkey", err)
		case 1:
			have = true
			m.Value, err = c.values()
			return true, at("mval", err)
		case 2:
			m.AuthorizedBy, err = c.keys()
			return true, at("authorized-by", err)
		}
		return true, c.errorf("measurement member %d, of which nobody could tell whether it matches", key)
	})
	if err == nil && !have {
		return m, c.errorf("measurement without values")
	}
	return m, err
}

func (c *cursor) measurements(low int) ([]Measurement, error) {
	var out []Measurement
	err := c.each(low, func(int) error {
		m, err := c.measurement()
		out = append(out, m)
		return err
	})
	return out, err
}

// values reads a measurement-values-map.
func (c *cursor) values() (Values, error) {
	var v Values
	var mask []byte
	start := c.pos
	ext, err := c.fields(func(key int64) (bool, error) {
		if key == 5 {
			var err error
			mask, err = c.bytes()
			return true, at("raw-value-mask", err)
		}
		return c.value(&v, key)
	})
	if err != nil {
		return v, err
	}
	v.Extensions = ext
	if mask == nil {
		return v, nil
	}
	if v.Raw == nil || v.Raw.Mask != nil || len(mask) != len(v.Raw.Value) {
		c.pos = start
		return v, c.errorf("mask of %d bytes does not belong to a raw value of as many", len(mask))
	}
	v.Raw.Mask, v.Raw.split = mask, true
	return v, nil
}

// value reads the member key of a measurement-values-map, if it is one.
func (c *cursor) value(v *Values, key int64) (known bool, err error) {
	switch key {
	case 0:
		v.Version, err = c.version()
		return true, at("version", err)
	case 1:
		v.SVN, err = c.svn()
		return true, at("svn", err)
	case 2:
		v.Digests, err = c.digests()
		return true, at("digests", err)
	case 3:
		v.Flags, err = c.flags()
		return true, at("flags", err)
	case 4:
		v.Raw, err = c.rawValue()
		return true, at("raw-value", err)
	case 6, 7, 8, 9, 10:
		if v.Identity == nil {
			v.Identity = new(Identity)
		}
		return true, c.identity(v.Identity, key)
	case 11:
		var s string
		s, err = c.text()
		v.Name = &s
		return true, at("name", err)
	case 13:
		v.Keys, err = c.keys()
		return true, at("cryptokeys", err)
	case 14:
		v.Registers, err = c.registers()
		return true, at("integrity-registers", err)
	case 15:
		v.Range, err = c.intRange()
		return true, at("int-range", err)
	}
	return false, nil
}

func (c *cursor) identity(i *Identity, key int64) (err error) {
	start := c.pos
	var b []byte
	if key == 8 {
		i.Serial, err = c.name()
		return at("serial-number", err)
	}
	if c.peek() == majorTag { // deployed: UEID under 550, UUID under 37
		tag := map[int64]uint64{9: TagUEID, 10: TagUUID}[key]
		if tag == 0 {
			tag = 48 // RFC 9542, MAC address
			if key == 7 {
				return c.errorf("tag where an address is expected")
			}
		}
		if err := c.tag(tag); err != nil {
			return err
		}
	}
	if b, err = c.bytes(); err != nil {
		return err
	}
	ok := false
	switch n := len(b); key {
	case 6:
		i.MAC, ok = b, n == 6 || n == 8
	case 7:
		i.IP, ok = b, n == 4 || n == 16
	case 9:
		i.UEID, ok = b, n >= 7 && n <= 33
	case 10:
		i.UUID, ok = b, n == 16
	}
	if !ok {
		c.pos = start
		return c.errorf("member %d of measurement values has %d bytes", key, len(b))
	}
	return nil
}

func (c *cursor) version() (*Version, error) {
	v := new(Version)
	have := false
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			have = true
			v.Text, err = c.text()
		case 1:
			if c.peek() == majorText {
				v.SchemeText, err = c.name()
			} else {
				v.Scheme, err = c.int()
			}
		default:
			err = c.errorf("version member %d", key)
		}
		return true, err
	})
	if err == nil && !have {
		return nil, c.errorf("version without a text")
	}
	return v, err
}

// svn reads a security version number; a bare number is exact (decision D-64).
func (c *cursor) svn() (*SVN, error) {
	s := new(SVN)
	if c.peek() == majorTag {
		start := c.pos
		tag, err := c.expect(majorTag)
		switch {
		case err != nil:
			return nil, err
		case tag == TagMinSVN:
			s.Minimum = true
		case tag != TagSVN:
			c.pos = start
			return nil, c.errorf("tag %d where %d or %d is expected", tag, TagSVN, TagMinSVN)
		}
	}
	var err error
	s.Value, err = c.uint()
	return s, err
}

func (c *cursor) digest() (Digest, error) {
	var d Digest
	if _, err := c.array(2, 2); err != nil {
		return d, err
	}
	start := c.pos
	if c.peek() == majorText {
		s, err := c.name()
		if err != nil {
			return d, err
		}
		if d.Alg = NamedAlgorithm(s); s[0] == '#' {
			c.pos = start
			return d, c.errorf("algorithm %q", s)
		}
	} else {
		n, err := c.int()
		if err != nil {
			return d, err
		}
		d.Alg = NumberedAlgorithm(n)
	}
	b, err := c.bytes()
	if err != nil {
		return d, err
	}
	d.Value = b
	if n := d.Alg.Size(); len(b) == 0 || n != 0 && n != len(b) {
		c.pos = start
		return d, c.errorf("%s digest has %d bytes, not %d", d.Alg, len(b), n)
	}
	return d, nil
}

// digests reads digests of one object. Two by the same algorithm would leave
// open which of them counts.
func (c *cursor) digests() ([]Digest, error) {
	var out []Digest
	err := c.each(1, func(int) error {
		start := c.pos
		d, err := c.digest()
		if err != nil {
			return err
		}
		for _, other := range out {
			if other.Alg == d.Alg {
				c.pos = start
				return c.errorf("two %s digests of one object", d.Alg)
			}
		}
		if len(out) == maxDigests {
			return c.errorf("more than %d digests of one object", maxDigests)
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

const maxDigests = 32

func (c *cursor) flags() (*Flags, error) {
	f := new(Flags)
	ext, err := c.fields(func(key int64) (bool, error) {
		if key < 0 || key > 63 {
			return false, nil
		}
		b, err := c.boolean()
		f.Known |= 1 << key
		if b {
			f.Value |= 1 << key
		}
		return true, err
	})
	f.Extensions = ext
	return f, err
}

func (c *cursor) boolean() (bool, error) {
	start := c.pos
	major, arg, err := c.head()
	if err == nil && (major != majorOther || arg != 20 && arg != 21) {
		c.pos = start
		return false, c.errorf("not true or false")
	}
	return arg == 21, err
}

func (c *cursor) rawValue() (*RawValue, error) {
	start := c.pos
	tag, err := c.expect(majorTag)
	if err != nil {
		return nil, err
	}
	r := &RawValue{Tag: tag}
	if tag != TagMaskedRawValue {
		r.Value, err = c.bytes()
		return r, err
	}
	if _, err = c.array(2, 2); err != nil {
		return nil, err
	}
	if r.Value, err = c.bytes(); err != nil {
		return nil, err
	}
	if r.Mask, err = c.bytes(); err != nil {
		return nil, err
	}
	if len(r.Mask) != len(r.Value) || len(r.Value) == 0 {
		c.pos = start
		return nil, c.errorf("mask of %d bytes for a raw value of %d", len(r.Mask), len(r.Value))
	}
	return r, nil
}

func (c *cursor) registers() ([]Register, error) {
	start := c.pos
	n, err := c.expect(majorMap)
	if err != nil {
		return nil, err
	}
	if n == 0 || n > maxRegisters {
		c.pos = start
		return nil, c.errorf("%d registers, not 1 to %d", n, maxRegisters)
	}
	out := make([]Register, 0, n)
	seen := make(map[Key]bool, n)
	for range n {
		start := c.pos
		if t := c.peek(); t != majorUint && t != majorText {
			return nil, c.errorf("register is not named by a number or a text")
		}
		id, err := c.mkey()
		if err != nil {
			return nil, err
		}
		if seen[id] {
			c.pos = start
			return nil, c.errorf("register %s twice", id)
		}
		seen[id] = true
		d, err := c.digests()
		if err != nil {
			return nil, at("register "+id.String(), err)
		}
		out = append(out, Register{ID: id, Digests: d})
	}
	return out, nil
}

const maxRegisters = 1024

func (c *cursor) intRange() (*Range, error) {
	if c.peek() != majorTag {
		n, err := c.int()
		return &Range{Min: &n, Max: &n, single: true}, err
	}
	start := c.pos
	if err := c.tag(TagIntRange); err != nil {
		return nil, err
	}
	if _, err := c.array(2, 2); err != nil {
		return nil, err
	}
	r := new(Range)
	for _, end := range []**int64{&r.Min, &r.Max} {
		if c.pos < c.end && c.buf[c.pos] == 0xf6 { // null: open
			c.pos++
			continue
		}
		n, err := c.int()
		if err != nil {
			return nil, err
		}
		*end = &n
	}
	if r.Min != nil && r.Max != nil && *r.Min > *r.Max {
		c.pos = start
		return nil, c.errorf("range from %d to %d", *r.Min, *r.Max)
	}
	return r, nil
}
