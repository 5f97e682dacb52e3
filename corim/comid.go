// SPDX-License-Identifier: Apache-2.0

package corim

// comid reads a concise-mid-tag.
func (c *cursor) comid() (*Comid, error) {
	m := new(Comid)
	var identity, triples bool
	ext, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			m.Language, err = c.name()
			return true, at("language", err)
		case 1:
			identity = true
			m.Identity, err = c.tagIdentity()
			return true, at("tag-identity", err)
		case 2:
			m.Entities, err = c.entities()
			return true, at("entities", err)
		case 3:
			m.Links, err = c.links()
			return true, at("linked-tags", err)
		case 4:
			triples = true
			return true, at("triples", c.triples(m))
		}
		return false, nil
	})
	switch {
	case err != nil:
		return nil, err
	case !identity:
		return nil, c.errorf("tag without an identity")
	case !triples:
		return nil, c.errorf("tag without triples")
	}
	m.Extensions = ext
	return m, nil
}

// id reads the identifier of a document or a tag.
func (c *cursor) id() (ID, error) {
	if c.peek() == majorText {
		s, err := c.name()
		return ID{Text: s}, err
	}
	var id ID
	if c.peek() == majorTag { // corim-id may be a tagged UUID
		if err := c.tag(TagUUID); err != nil {
			return id, err
		}
	}
	start := c.pos
	b, err := c.bytes()
	if err != nil {
		return id, err
	}
	if len(b) != len(id.UUID) {
		c.pos = start
		return id, c.errorf("identifier has %d bytes, and a UUID has 16", len(b))
	}
	copy(id.UUID[:], b)
	return id, nil
}

func (c *cursor) tagIdentity() (TagIdentity, error) {
	var t TagIdentity
	have := false
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			have = true
			t.ID, err = c.id()
		case 1:
			t.Version, err = c.uint()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && !have {
		return t, c.errorf("identity without an identifier")
	}
	return t, err
}

func (c *cursor) uri() (string, error) {
	if c.peek() == majorTag {
		if err := c.tag(TagURI); err != nil {
			return "", err
		}
	}
	return c.name()
}

func (c *cursor) entities() ([]Entity, error) {
	var out []Entity
	err := c.each(1, func(int) error {
		var e Entity
		ext, err := c.fields(func(key int64) (bool, error) {
			var err error
			switch key {
			case 0:
				e.Name, err = c.name()
			case 1:
				e.RegID, err = c.uri()
			case 2:
				err = c.each(1, func(int) error {
					role, err := c.int()
					e.Roles = append(e.Roles, role)
					return err
				})
			default:
				return false, nil
			}
			return true, err
		})
		if err == nil && (e.Name == "" || e.Roles == nil) {
			err = c.errorf("entity without a name or a role")
		}
		e.Extensions = ext
		out = append(out, e)
		return err
	})
	return out, err
}

func (c *cursor) links() ([]Link, error) {
	var out []Link
	err := c.each(1, func(int) error {
		var l Link
		var have [2]bool
		_, err := c.fields(func(key int64) (bool, error) {
			var err error
			switch key {
			case 0:
				l.Tag, err = c.id()
			case 1:
				l.Relation, err = c.int()
			default:
				return true, c.errorf("link member %d", key)
			}
			have[key] = true
			return true, err
		})
		if err == nil && have != [2]bool{true, true} {
			err = c.errorf("link without a tag or a relation")
		}
		out = append(out, l)
		return err
	})
	return out, err
}

// list reads each element of an array of at least low by read.
func list[T any](c *cursor, low int, read func() (T, error)) ([]T, error) {
	var out []T
	err := c.each(low, func(int) error {
		v, err := read()
		out = append(out, v)
		return err
	})
	return out, err
}

func (c *cursor) triples(m *Comid) error {
	ext, err := c.fields(func(key int64) (bool, error) {
		if key < 0 || key > int64(ConditionalEndorsed) {
			return false, nil
		}
		kind := Kind(key)
		var err error
		switch kind {
		case Reference:
			m.Reference, err = list(c, 1, c.valueTriple)
		case Endorsed:
			m.Endorsed, err = list(c, 1, c.valueTriple)
		case IdentityKey:
			m.Identities, err = list(c, 1, c.keyTriple)
		case AttestKey:
			m.AttestKeys, err = list(c, 1, c.keyTriple)
		case Dependency:
			m.Dependency, err = list(c, 1, c.domainTriple)
		case Membership:
			m.Membership, err = list(c, 1, c.domainTriple)
		case Software:
			m.Software, err = list(c, 1, c.softwareTriple)
		case ConditionalSeries:
			m.Series, err = list(c, 1, c.seriesTriple)
		case ConditionalEndorsed:
			m.Conditional, err = list(c, 1, c.conditionalTriple)
		default:
			return false, nil
		}
		return true, at(kind.String(), err)
	})
	m.Unknown = ext
	return err
}

func (c *cursor) valueTriple() (ValueTriple, error) {
	var t ValueTriple
	_, err := c.array(2, 2)
	if err != nil {
		return t, err
	}
	if t.Environment, err = c.environment(); err != nil {
		return t, at("environment", err)
	}
	t.Measurements, err = c.measurements(1)
	return t, at("measurements", err)
}

func (c *cursor) keyTriple() (KeyTriple, error) {
	var t KeyTriple
	n, err := c.array(2, 3)
	if err != nil {
		return t, err
	}
	if t.Environment, err = c.environment(); err != nil {
		return t, at("environment", err)
	}
	if t.Keys, err = c.keys(); err != nil || n == 2 {
		return t, at("keys", err)
	}
	_, err = c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 0:
			t.Element, err = c.mkey()
		case 1:
			t.AuthorizedBy, err = c.keys()
		default:
			err = c.errorf("condition %d, of which nobody could tell whether it holds", key)
		}
		return true, err
	})
	return t, at("conditions", err)
}

func (c *cursor) domainTriple() (DomainTriple, error) {
	var t DomainTriple
	_, err := c.array(2, 2)
	if err != nil {
		return t, err
	}
	if t.Domain, err = c.environment(); err != nil {
		return t, at("domain", err)
	}
	t.Members, err = list(c, 1, c.environment)
	return t, at("members", err)
}

func (c *cursor) softwareTriple() (SoftwareTriple, error) {
	var t SoftwareTriple
	_, err := c.array(2, 2)
	if err != nil {
		return t, err
	}
	if t.Environment, err = c.environment(); err != nil {
		return t, at("environment", err)
	}
	t.Tags, err = list(c, 1, c.id)
	return t, at("tags", err)
}

// seriesTriple reads [[environment, measurements, ?authorized-by], series].
func (c *cursor) seriesTriple() (SeriesTriple, error) {
	var t SeriesTriple
	_, err := c.array(2, 2)
	if err != nil {
		return t, err
	}
	n, err := c.array(2, 3)
	if err != nil {
		return t, at("condition", err)
	}
	if t.Condition.Environment, err = c.environment(); err != nil {
		return t, at("condition.environment", err)
	}
	if t.Condition.Measurements, err = c.measurements(0); err != nil {
		return t, at("condition.measurements", err)
	}
	if n == 3 {
		if t.AuthorizedBy, err = c.keys(); err != nil {
			return t, at("condition.authorized-by", err)
		}
	}
	t.Series, err = list(c, 1, func() (SeriesEntry, error) {
		var e SeriesEntry
		_, err := c.array(2, 2)
		if err != nil {
			return e, err
		}
		if e.Selection, err = c.measurements(1); err != nil {
			return e, at("selection", err)
		}
		e.Addition, err = c.measurements(1)
		return e, at("addition", err)
	})
	return t, at("series", err)
}

func (c *cursor) conditionalTriple() (ConditionalTriple, error) {
	var t ConditionalTriple
	_, err := c.array(2, 2)
	if err != nil {
		return t, err
	}
	if t.Conditions, err = list(c, 1, c.valueTriple); err != nil {
		return t, at("conditions", err)
	}
	t.Endorsements, err = list(c, 1, c.valueTriple)
	return t, at("endorsements", err)
}
