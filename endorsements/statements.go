// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/internal/strictjson"
)

// Statements yields the documents of Intel, AMD and NVIDIA in a bundle, in the
// order in which they were loaded; each of Intel's sets has the parts that it has.
// What no Item names (a certificate of a CA, say) is not among them.
func (b *Bundle) Statements() iter.Seq[Statement] {
	if b == nil {
		return func(func(Statement) bool) {}
	}
	return slices.Values(b.statements)
}

// intelStatements reads what a set says about itself. A part whose form is not
// the expected one is passed over: the scheme says what is wrong with it.
func intelStatements(c IntelCollateral) []Statement {
	var out []Statement
	add := func(i Item, from, until time.Time, chain []byte) {
		s := Statement{Item: i, Name: c.Name, From: from, Until: until, Digest: c.Digest}
		for _, cert := range pemCertificates(chain) {
			s.From, s.Until = later(s.From, cert.NotBefore), earlier(s.Until, cert.NotAfter)
		}
		out = append(out, s)
	}
	if h, ok := readHead(c.TCBInfo); ok && c.FMSPC != "" {
		kinds := map[string]ItemKind{"TDX": ItemTDXTCB, "SGX": ItemSGXTCB}
		if k := kinds[h.ID]; k != "" {
			add(Item{Kind: k, FMSPC: c.FMSPC}, h.IssueDate, h.NextUpdate, c.TCBInfoIssuerChain)
		}
	}
	if h, ok := readHead(c.QEIdentity); ok {
		kinds := map[string]ItemKind{"TD_QE": ItemTDXQE, "QE": ItemSGXQE}
		if k := kinds[h.ID]; k != "" {
			add(Item{Kind: k}, h.IssueDate, h.NextUpdate, c.QEIdentityChain)
		}
	}
	for _, part := range []struct{ der, chain []byte }{{c.PCKCRL, c.PCKCRLIssuerChain}, {c.RootCACRL, nil}} {
		list, err := ParseRevocationList(part.der)
		if err != nil {
			continue
		}
		if i, ok := crlItem(list); ok {
			add(i, list.ThisUpdate, list.NextUpdate, part.chain)
		}
	}
	return out
}

// head is what TCB info and QE identities have in common.
type head struct {
	ID         string    `json:"id"`
	IssueDate  time.Time `json:"issueDate"`
	NextUpdate time.Time `json:"nextUpdate"`
}

func readHead(raw []byte) (h head, ok bool) {
	members, err := strictjson.Members(raw)
	if err != nil {
		return h, false
	}
	for name, to := range map[string]any{"id": &h.ID, "issueDate": &h.IssueDate, "nextUpdate": &h.NextUpdate} {
		if json.Unmarshal(members[name], to) != nil {
			return h, false
		}
	}
	return h, true
}

// Common names of those who sign (Intel SGX PCK Certificate and CRL Profile
// Specification; AMD 57230).
const (
	cnIntelRoot      = "Intel SGX Root CA"
	cnIntelPlatform  = "Intel SGX PCK Platform CA"
	cnIntelProcessor = "Intel SGX PCK Processor CA"
	cnIntelSigning   = "Intel SGX TCB Signing"
	arkPrefix        = "ARK-"
	askPrefix        = "SEV-"
	cnVCEK           = "SEV-VCEK"
)

// crlItem is what a revocation list answers, by the name of its issuer.
func crlItem(l *x509.RevocationList) (Item, bool) {
	switch cn := l.Issuer.CommonName; cn {
	case cnIntelRoot:
		return Item{Kind: ItemRootCRL}, true
	case cnIntelPlatform:
		return Item{Kind: ItemPCKCRL, CA: "platform"}, true
	case cnIntelProcessor:
		return Item{Kind: ItemPCKCRL, CA: "processor"}, true
	default:
		product := strings.TrimPrefix(cn, arkPrefix)
		_, ok := tcbLayouts[product]
		return Item{Kind: ItemAMDCRL, Product: product}, ok && product != cn
	}
}

// tcbLayout says where the levels of a product line stand in TCB_VERSION (AMD
// 56860): bytes[k] is the place of the level with the extension arcs[k] below
// 1.3.6.1.4.1.3704.1.3 (AMD 57230). chip is the size of the hardware id.
type tcbLayout struct {
	bytes, arcs []int
	chip        int
}

var (
	oldLayout  = tcbLayout{bytes: []int{0, 1, 6, 7}, arcs: []int{1, 2, 3, 8}, chip: 64}
	tcbLayouts = map[string]tcbLayout{
		"Milan": oldLayout, "Genoa": oldLayout,
		"Turin": {bytes: []int{0, 1, 2, 3, 7}, arcs: []int{9, 1, 2, 3, 8}, chip: 8},
	}
	oidLevels   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 3}
	oidHardware = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 4}
)

// vcekItem is what the certificate of an endorsement key answers; false for
// every other certificate.
func vcekItem(c *x509.Certificate) (Item, bool) {
	product := strings.TrimPrefix(c.Issuer.CommonName, askPrefix)
	layout, ok := tcbLayouts[product]
	if !ok || product == c.Issuer.CommonName || c.Subject.CommonName != cnVCEK {
		return Item{}, false
	}
	i := Item{Kind: ItemVCEK, Product: product}
	levels := map[int]uint64{}
	for _, e := range c.Extensions {
		switch n := len(oidLevels); {
		case e.Id.Equal(oidHardware):
			i.ChipID = hex.EncodeToString(hardwareID(e.Value, layout.chip))
		case len(e.Id) == n+1 && e.Id[:n].Equal(oidLevels):
			var v int
			if rest, err := asn1.Unmarshal(e.Value, &v); err != nil || len(rest) > 0 || v < 0 || v > 255 {
				return Item{}, false
			}
			levels[e.Id[n]] = uint64(v)
		}
	}
	for k, arc := range layout.arcs {
		v, ok := levels[arc]
		if !ok {
			return Item{}, false
		}
		i.TCB |= v << (8 * layout.bytes[k])
	}
	return i, i.ChipID != ""
}

// hardwareID reads the identifier, which stands in the extension raw or as an
// OCTET STRING.
func hardwareID(raw []byte, size int) []byte {
	if len(raw) == size {
		return raw
	}
	var inner []byte
	if rest, err := asn1.Unmarshal(raw, &inner); err == nil && len(rest) == 0 && len(inner) == size {
		return inner
	}
	return nil
}

// pemCertificates reads what can be read of a chain.
func pemCertificates(raw []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for range maxBlocks {
		block, rest := pem.Decode(raw)
		if block == nil {
			break
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			out = append(out, c)
		}
		raw = rest
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
