// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// encoding is how CBOR is written: deterministic (RFC 8949, section 4.2.1).
func encoding() (cbor.EncMode, error) {
	o := cbor.CoreDetEncOptions()
	o.Time, o.TimeTag = cbor.TimeUnixDynamic, cbor.EncTagRequired
	return o.EncMode()
}

// Encode writes the content of a document as an unsigned CoRIM in deterministic
// CBOR, as the draft prefers it: digest algorithms as numbers where there are
// any (decision D-63), security version numbers tagged (decision D-64), a
// profile that is a URI with tag 32. Raw and Signature are not used; CoMIDs are
// written anew, tags of other kinds as they came. The result is something that
// Parse reads.
func Encode(d *Document) ([]byte, error) {
	enc, err := encoding()
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	m := members{0: idItem(d.ID)}
	var tags []any
	for i, t := range d.Tags {
		raw := t.Raw
		if t.Comid != nil {
			if raw, err = enc.Marshal(comidItem(t.Comid)); err != nil {
				return nil, fmt.Errorf("corim: tags[%d]: %w", i, err)
			}
		}
		tags = append(tags, cbor.Tag{Number: t.Number, Content: raw})
	}
	m[1] = tags
	if d.Dependents != nil {
		m[2] = each(d.Dependents, locatorItem)
	}
	if d.Profile != "" {
		m[3] = profileItem(d.Profile)
	}
	if d.Validity != (Period{}) {
		m[4] = periodItem(d.Validity)
	}
	if d.Entities != nil {
		m[5] = each(d.Entities, entityItem)
	}
	m.extend(d.Extensions)
	out, err := enc.Marshal(cbor.Tag{Number: TagCorim, Content: m})
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	if _, err := Parse(out); err != nil {
		return nil, fmt.Errorf("corim: what was to be written is no CoRIM: %w", err)
	}
	return out, nil
}

// members is a map with integer keys.
type members map[int64]any

func (m members) extend(list []Extension) {
	for _, e := range list {
		m[e.Key] = cbor.RawMessage(e.Raw)
	}
}

func each[T any](list []T, f func(T) any) []any {
	out := make([]any, 0, len(list))
	for _, v := range list {
		out = append(out, f(v))
	}
	return out
}

func idItem(id ID) any {
	if id.Text != "" {
		return id.Text
	}
	return id.UUID[:]
}

func typedItem(t Typed) any {
	switch t.Form {
	case Bytes:
		return cbor.Tag{Number: t.Tag, Content: []byte(t.Data)}
	case Text:
		return cbor.Tag{Number: t.Tag, Content: t.Data}
	}
	return cbor.Tag{Number: t.Tag, Content: cbor.RawMessage(t.Data)}
}

func keyItem(k Key) any {
	switch k.kind {
	case keyNumber:
		return k.num
	case keyText:
		return k.data
	}
	return typedItem(k.typed())
}

func profileItem(p string) any {
	if oid, ok := encodeOID(p); ok {
		return cbor.Tag{Number: TagOID, Content: oid}
	}
	return cbor.Tag{Number: TagURI, Content: p}
}

// encodeOID is the reverse of dotted.
func encodeOID(s string) ([]byte, bool) {
	var arcs []uint64
	n, digits := uint64(0), 0
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == '.':
			if digits == 0 {
				return nil, false
			}
			arcs, n, digits = append(arcs, n), 0, 0
		case s[i] < '0' || s[i] > '9' || n > 1<<56:
			return nil, false
		default:
			n, digits = n*10+uint64(s[i]-'0'), digits+1
		}
	}
	if len(arcs) < 2 || arcs[0] > 2 || arcs[0] < 2 && arcs[1] > 39 {
		return nil, false
	}
	arcs[1] += 40 * arcs[0]
	var out []byte
	for _, a := range arcs[1:] {
		var b []byte
		for first := true; first || a > 0; first = false {
			d := byte(a & 0x7f)
			if !first {
				d |= 0x80
			}
			b, a = append([]byte{d}, b...), a>>7
		}
		out = append(out, b...)
	}
	return out, true
}

func periodItem(p Period) any {
	at := func(t time.Time) any { return cbor.Tag{Number: tagEpoch, Content: t.Unix()} }
	m := members{1: at(p.NotAfter)}
	if !p.NotBefore.IsZero() {
		m[0] = at(p.NotBefore)
	}
	return m
}

func entityItem(e Entity) any {
	m := members{0: e.Name, 2: e.Roles}
	if e.RegID != "" {
		m[1] = cbor.Tag{Number: TagURI, Content: e.RegID}
	}
	m.extend(e.Extensions)
	return m
}

func locatorItem(l Locator) any {
	uri := func(s string) any { return cbor.Tag{Number: TagURI, Content: s} }
	m := members{}
	if len(l.Hrefs) == 1 {
		m[0] = uri(l.Hrefs[0])
	} else {
		m[0] = each(l.Hrefs, uri)
	}
	switch len(l.Thumbprints) {
	case 0:
	case 1:
		m[1] = digestItem(l.Thumbprints[0])
	default:
		m[1] = each(l.Thumbprints, digestItem)
	}
	return m
}

func identityItem(t TagIdentity) any {
	m := members{0: idItem(t.ID)}
	if t.Version != 0 {
		m[1] = t.Version
	}
	return m
}

func comidItem(c *Comid) any {
	m := members{1: identityItem(c.Identity), 4: triplesItem(c)}
	if c.Language != "" {
		m[0] = c.Language
	}
	if c.Entities != nil {
		m[2] = each(c.Entities, entityItem)
	}
	if c.Links != nil {
		m[3] = each(c.Links, func(l Link) any { return members{0: idItem(l.Tag), 1: l.Relation} })
	}
	m.extend(c.Extensions)
	return m
}

func triplesItem(c *Comid) any {
	m := members{}
	add := func(k Kind, list []any) {
		if len(list) > 0 {
			m[int64(k)] = list
		}
	}
	add(Reference, each(c.Reference, valueTripleItem))
	add(Endorsed, each(c.Endorsed, valueTripleItem))
	add(IdentityKey, each(c.Identities, keyTripleItem))
	add(AttestKey, each(c.AttestKeys, keyTripleItem))
	add(Dependency, each(c.Dependency, domainTripleItem))
	add(Membership, each(c.Membership, domainTripleItem))
	add(Software, each(c.Software, func(t SoftwareTriple) any {
		return []any{environmentItem(t.Environment), each(t.Tags, idItem)}
	}))
	add(ConditionalSeries, each(c.Series, seriesItem))
	add(ConditionalEndorsed, each(c.Conditional, func(t ConditionalTriple) any {
		return []any{each(t.Conditions, valueTripleItem), each(t.Endorsements, valueTripleItem)}
	}))
	m.extend(c.Unknown)
	return m
}

func valueTripleItem(t ValueTriple) any {
	return []any{environmentItem(t.Environment), each(t.Measurements, measurementItem)}
}

func keyTripleItem(t KeyTriple) any {
	out := []any{environmentItem(t.Environment), each(t.Keys, typedItem)}
	m := members{}
	if t.Element.Set() {
		m[0] = keyItem(t.Element)
	}
	if t.AuthorizedBy != nil {
		m[1] = each(t.AuthorizedBy, typedItem)
	}
	if len(m) > 0 {
		out = append(out, m)
	}
	return out
}

func domainTripleItem(t DomainTriple) any {
	return []any{environmentItem(t.Domain), each(t.Members, environmentItem)}
}

func seriesItem(t SeriesTriple) any {
	condition := []any{environmentItem(t.Condition.Environment), each(t.Condition.Measurements, measurementItem)}
	if t.AuthorizedBy != nil {
		condition = append(condition, each(t.AuthorizedBy, typedItem))
	}
	return []any{condition, each(t.Series, func(e SeriesEntry) any {
		return []any{each(e.Selection, measurementItem), each(e.Addition, measurementItem)}
	})}
}

func environmentItem(e Environment) any {
	m := members{}
	if e.Class != (Class{}) {
		k := members{}
		if e.Class.ID.Set() {
			k[0] = typedItem(e.Class.ID)
		}
		if e.Class.Vendor != "" {
			k[1] = e.Class.Vendor
		}
		if e.Class.Model != "" {
			k[2] = e.Class.Model
		}
		if e.Class.Layer.Set {
			k[3] = e.Class.Layer.Value
		}
		if e.Class.Index.Set {
			k[4] = e.Class.Index.Value
		}
		m[0] = k
	}
	if e.Instance.Set() {
		m[1] = typedItem(e.Instance)
	}
	if e.Group.Set() {
		m[2] = typedItem(e.Group)
	}
	return m
}

func measurementItem(v Measurement) any {
	m := members{1: valuesItem(&v.Value)}
	if v.Key.Set() {
		m[0] = keyItem(v.Key)
	}
	if v.AuthorizedBy != nil {
		m[2] = each(v.AuthorizedBy, typedItem)
	}
	return m
}

func digestItem(d Digest) any {
	if n := d.Alg.Number(); n != 0 {
		return []any{n, d.Value}
	}
	if d.Alg != "" && d.Alg[0] == '#' {
		var n int64
		if _, err := fmt.Sscanf(string(d.Alg), "#%d", &n); err == nil {
			return []any{n, d.Value}
		}
	}
	return []any{string(d.Alg), d.Value}
}

func valuesItem(v *Values) any {
	m := members{}
	if v.Version != nil {
		ver := members{0: v.Version.Text}
		switch {
		case v.Version.SchemeText != "":
			ver[1] = v.Version.SchemeText
		case v.Version.Scheme != 0:
			ver[1] = v.Version.Scheme
		}
		m[0] = ver
	}
	if v.SVN != nil {
		tag := uint64(TagSVN)
		if v.SVN.Minimum {
			tag = TagMinSVN
		}
		m[1] = cbor.Tag{Number: tag, Content: v.SVN.Value}
	}
	if v.Digests != nil {
		m[2] = each(v.Digests, digestItem)
	}
	if v.Flags != nil {
		f := members{}
		for i := range uint(64) {
			if b, known := v.Flags.Get(i); known {
				f[int64(i)] = b
			}
		}
		f.extend(v.Flags.Extensions)
		m[3] = f
	}
	rawItem(m, v.Raw)
	identityItems(m, v.Identity)
	if v.Name != nil {
		m[11] = *v.Name
	}
	if v.Keys != nil {
		m[13] = each(v.Keys, typedItem)
	}
	if v.Registers != nil {
		r := map[any]any{}
		for _, reg := range v.Registers {
			r[keyItem(reg.ID)] = each(reg.Digests, digestItem)
		}
		m[14] = r
	}
	if v.Range != nil {
		m[15] = rangeItem(v.Range)
	}
	m.extend(v.Extensions)
	return m
}

func rawItem(m members, r *RawValue) {
	switch {
	case r == nil:
	case r.Mask == nil:
		m[4] = cbor.Tag{Number: r.Tag, Content: r.Value}
	case r.split:
		m[4], m[5] = cbor.Tag{Number: r.Tag, Content: r.Value}, r.Mask
	default:
		m[4] = cbor.Tag{Number: TagMaskedRawValue, Content: []any{r.Value, r.Mask}}
	}
}

func identityItems(m members, i *Identity) {
	if i == nil {
		return
	}
	for key, b := range map[int64][]byte{6: i.MAC, 7: i.IP} {
		if b != nil {
			m[key] = b
		}
	}
	if i.Serial != "" {
		m[8] = i.Serial
	}
	if i.UEID != nil {
		m[9] = i.UEID
	}
	if i.UUID != nil {
		m[10] = i.UUID
	}
}

func rangeItem(r *Range) any {
	if r.single {
		return *r.Min
	}
	end := func(n *int64) any {
		if n == nil {
			return nil
		}
		return *n
	}
	return cbor.Tag{Number: TagIntRange, Content: []any{end(r.Min), end(r.Max)}}
}
