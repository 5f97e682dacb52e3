// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"encoding/hex"
	"encoding/xml"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Names of a SWID tag as NVIDIA writes it, with the attributes of the TCG's RIM
// information model.
const (
	nsSWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	nsTCG  = "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/"
	nsHash = "http://www.w3.org/2001/04/xmlenc#sha384"

	elIdentity = "SoftwareIdentity"

	manufacturer   = "NVIDIA Corporation"
	manufacturerID = "5703" // IANA private enterprise number
)

const (
	// MaxIndex is the largest index of a measurement, NVIDIA's index from 0.
	MaxIndex = 63
	// MaxAlternatives is the largest number of golden values of one index.
	MaxAlternatives = 16
	// DigestSize is the length of a golden value, a SHA-384, in bytes.
	DigestSize = 48

	maxText = 128
)

// Kind is what a manifest has the golden values of.
type Kind string

// Kinds. A GPU needs the first two, a switch the third.
const (
	Driver Kind = "driver"
	VBIOS  Kind = "vbios"
	BIOS   Kind = "switch-bios"
)

// Golden is what a manifest says about one index.
type Golden struct {
	// Index is NVIDIA's, 0..MaxIndex: the SPDM index less one.
	Index int
	// Name is the manifest's, "Measurement_9" for example.
	Name string
	// Active: the values count. Another index has no reference values here.
	Active bool
	// Values are alternatives of DigestSize bytes each, at least one.
	Values [][]byte
}

var (
	productName    = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,31}$`)
	biosVersion    = regexp.MustCompile(`^[0-9A-Fa-f]{2}(\.[0-9A-Fa-f]{2}){4}$`)
	driverVersion  = regexp.MustCompile(`^[0-9]{1,5}(\.[0-9]{1,5}){1,3}$`)
	tagIdentifier  = regexp.MustCompile(`^[0-9A-Za-z._-]{1,128}$`)
	resourceName   = regexp.MustCompile(`^[0-9A-Za-z._ -]{1,64}$`)
	decimal        = regexp.MustCompile(`^(0|[1-9][0-9]{0,5})$`)
	hashAttributes = regexp.MustCompile(`^Hash(0|[1-9][0-9]{0,2})$`)
)

// readContent reads the canonical octets that the signed digest is of.
func readContent(octets []byte) (*Manifest, error) {
	n, err := readNode(octets)
	if err != nil {
		return nil, err
	}
	if n.name != (xml.Name{Space: nsSWID, Local: elIdentity}) {
		return nil, unsupported("signed is element %q, expected %s", clip(n.name.Local), elIdentity)
	}
	names := []string{"Entity", "Meta", "Payload"}
	if len(n.children) != len(names) {
		return nil, unsupported("%d elements in %s, expected %s", len(n.children), elIdentity, strings.Join(names, ", "))
	}
	for i, c := range n.children {
		if c.name != (xml.Name{Space: nsSWID, Local: names[i]}) {
			return nil, unsupported("element %q of %q in %s, expected %s", clip(c.name.Local), clip(c.name.Space), elIdentity, names[i])
		}
		if err := c.noText(); err != nil {
			return nil, err
		}
	}
	m := new(Manifest)
	for _, step := range []func() error{
		n.noText,
		func() error { return m.readIdentity(n) },
		func() error { return m.readEntity(n.children[0]) },
		func() error { return m.readMeta(n.children[1]) },
		func() error { return m.readPayload(n.children[2]) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// readIdentity wants a primary tag: one of a patch or a supplement would have
// to be read together with others.
func (m *Manifest) readIdentity(n *node) error {
	for _, name := range []string{"corpus", "patch", "supplemental"} {
		if v := n.attrs[xml.Name{Local: name}]; v != "false" {
			return unsupported("%s is %q, expected false", name, clip(v))
		}
	}
	if v := n.attrs[xml.Name{Local: "version"}]; v != "1.0" {
		return unsupported("version %q, expected 1.0", clip(v))
	}
	v := n.attrs[xml.Name{Local: "tagVersion"}]
	if !decimal.MatchString(v) {
		return malformed("tagVersion %q is not a number", clip(v))
	}
	m.TagVersion, _ = strconv.Atoi(v) // decimal bounds it
	if m.TagID = n.attrs[xml.Name{Local: "tagId"}]; !tagIdentifier.MatchString(m.TagID) {
		return malformed("tagId %q", clip(m.TagID))
	}
	if m.Product = n.attrs[xml.Name{Local: "name"}]; !productName.MatchString(m.Product) {
		return malformed("name %q is not that of a product", clip(m.Product))
	}
	return nil
}

func (m *Manifest) readEntity(n *node) error {
	if len(n.children) != 0 {
		return unsupported("Entity has elements")
	}
	if m.Manufacturer = n.attrs[xml.Name{Local: "name"}]; m.Manufacturer != manufacturer {
		return unsupported("manufacturer %q, expected %s", clip(m.Manufacturer), manufacturer)
	}
	role := strings.Fields(n.attrs[xml.Name{Local: "role"}])
	for _, want := range []string{"softwareCreator", "tagCreator"} {
		if !slices.Contains(role, want) {
			return unsupported("the manufacturer is not %s", want)
		}
	}
	return nil
}

func (m *Manifest) readMeta(n *node) error {
	if len(n.children) != 0 {
		return unsupported("Meta has elements")
	}
	for _, c := range []struct{ space, name, want string }{
		{"", "PayloadType", "direct"}, {"", "product", m.Product},
		{nsTCG, "BindingSpec", "RIMIM"}, {nsTCG, "BindingSpecVersion", "1.01"},
		{nsTCG, "PlatformManufacturerId", manufacturerID}, {nsTCG, "FirmwareManufacturerId", manufacturerID},
	} {
		if got := n.attrs[xml.Name{Space: c.space, Local: c.name}]; got != c.want {
			return unsupported("%s is %q, expected %q", c.name, clip(got), c.want)
		}
	}
	m.Version, m.Revision = n.attrs[xml.Name{Local: "colloquialVersion"}], n.attrs[xml.Name{Local: "revision"}]
	if len(m.Revision) > maxText {
		return malformed("revision of %d bytes", len(m.Revision))
	}
	edition := n.attrs[xml.Name{Local: "edition"}]
	switch bios := biosVersion.MatchString(m.Version); {
	case edition == "SWITCH" && bios:
		m.Kind = BIOS
	case edition == "GPU" && bios:
		m.Kind = VBIOS
	case edition == "GPU" && driverVersion.MatchString(m.Version):
		m.Kind = Driver
	default:
		return unsupported("colloquialVersion %q of edition %q is neither that of a driver nor of a VBIOS nor of a switch", clip(m.Version), clip(edition))
	}
	return nil
}

func (m *Manifest) readPayload(n *node) error {
	if len(n.attrs) != 0 {
		return unsupported("Payload has attributes")
	}
	var seen [MaxIndex + 1]bool
	active := false
	for _, c := range n.children {
		if c.name != (xml.Name{Space: nsSWID, Local: "Resource"}) {
			return unsupported("element %q of %q in Payload, expected Resource", clip(c.name.Local), clip(c.name.Space))
		}
		g, err := readResource(c)
		if err != nil {
			return err
		}
		if seen[g.Index] {
			return malformed("index %d occurs twice", g.Index)
		}
		seen[g.Index], active = true, active || g.Active
		m.Measurements = append(m.Measurements, g)
	}
	if !active {
		return malformed("no index is active")
	}
	slices.SortFunc(m.Measurements, func(a, b Golden) int { return a.Index - b.Index })
	return nil
}

// readResource reads one index. An attribute that is not known could change what
// the values mean, so here, other than in Meta, it is refused.
func readResource(n *node) (g Golden, err error) {
	if len(n.children) != 0 {
		return g, unsupported("Resource has elements")
	}
	if err := n.noText(); err != nil {
		return g, err
	}
	index := n.attrs[xml.Name{Local: "index"}]
	if g.Index, err = strconv.Atoi(index); err != nil || !decimal.MatchString(index) || g.Index > MaxIndex {
		return g, malformed("index %q is not 0 to %d", clip(index), MaxIndex)
	}
	if v := n.attrs[xml.Name{Local: "type"}]; v != "Measurement" {
		return g, unsupported("index %d is of type %q, expected Measurement", g.Index, clip(v))
	}
	if v := n.attrs[xml.Name{Local: "size"}]; v != strconv.Itoa(DigestSize) {
		return g, unsupported("index %d is of size %q, expected %d", g.Index, clip(v), DigestSize)
	}
	switch v := n.attrs[xml.Name{Local: "active"}]; v {
	case "True", "False":
		g.Active = v == "True"
	default:
		return g, malformed("index %d: active is %q, expected True or False", g.Index, clip(v))
	}
	if g.Name = n.attrs[xml.Name{Local: "name"}]; !resourceName.MatchString(g.Name) {
		return g, malformed("index %d has name %q", g.Index, clip(g.Name))
	}
	return g, g.readValues(n)
}

// fixedAttributes of a Resource: type, index, size, active, name, alternatives.
const fixedAttributes = 6

func (g *Golden) readValues(n *node) error {
	text := n.attrs[xml.Name{Local: "alternatives"}]
	count, err := strconv.Atoi(text)
	if err != nil || !decimal.MatchString(text) || count < 1 || count > MaxAlternatives {
		return malformed("index %d: alternatives is %q, expected 1 to %d", g.Index, clip(text), MaxAlternatives)
	}
	hashes := 0
	for name := range n.attrs {
		if name.Space == nsHash && hashAttributes.MatchString(name.Local) {
			hashes++
		}
	}
	if hashes != count || len(n.attrs) != fixedAttributes+hashes {
		return malformed("index %d has %d alternatives, %d values and %d other attributes, expected as many values and %d",
			g.Index, count, hashes, len(n.attrs)-hashes, fixedAttributes)
	}
	for i := range count {
		text := n.attrs[xml.Name{Space: nsHash, Local: "Hash" + strconv.Itoa(i)}]
		v, err := hex.DecodeString(text)
		if err != nil || len(v) != DigestSize {
			return malformed("index %d: Hash%d is not the hexadecimal of %d bytes", g.Index, i, DigestSize)
		}
		g.Values = append(g.Values, v)
	}
	return nil
}
