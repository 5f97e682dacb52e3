// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-sev-guest/verify/trust"
)

// pinned are AMD's chains as the KDS serves them under vcek/v1/<line>/cert_chain
// and vlek/v1/<line>/cert_chain, by the SHA-256 of the certificates (DER). The
// bytes come with go-sev-guest; without these digests they would be trusted for
// what a dependency happens to contain.
var pinned = []struct {
	product    product
	kind       keyKind
	intermed   string
	root       string
	chainBytes func() []byte
}{
	{
		productMilan, kindVCEK,
		"67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b", arkMilan,
		func() []byte { return trust.AskArkMilanVcekBytes },
	},
	{
		productMilan, kindVLEK,
		"c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5", arkMilan,
		func() []byte { return trust.AskArkMilanVlekBytes },
	},
	{
		productGenoa, kindVCEK,
		"5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521", arkGenoa,
		func() []byte { return trust.AskArkGenoaVcekBytes },
	},
	{
		productGenoa, kindVLEK,
		"197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372", arkGenoa,
		func() []byte { return trust.AskArkGenoaVlekBytes },
	},
	{
		productTurin, kindVCEK,
		"5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185", arkTurin,
		func() []byte { return trust.AskArkTurinVcekBytes },
	},
	{
		productTurin, kindVLEK,
		"104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c", arkTurin,
		func() []byte { return trust.AskArkTurinVlekBytes },
	},
}

// SHA-256 of ARK-Milan (serial 0x10000), ARK-Genoa (0x20000), ARK-Turin (0x30000).
const (
	arkMilan = "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"
	arkGenoa = "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"
	arkTurin = "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"
)

// authority is a root (ARK) or what it certifies: the issuer of VCEKs (ASK) or of
// VLEKs (ASVK) of one line.
type authority struct {
	cert    *x509.Certificate
	digest  [32]byte
	product product
	// kind is what an intermediate issues; of a root it means nothing.
	kind keyKind
	// root has signed an intermediate; nil of a root.
	root *authority
}

// Subject names: AMD writes the line behind these.
const (
	commonRoot = "ARK-"
	commonASVK = "SEV-VLEK-"
	commonASK  = "SEV-"
)

// roots are what is trusted, immutable: AMD's, and extra ones for simulated
// machines.
type roots struct {
	arks  []*authority
	chain []*authority // pinned intermediates
}

// newRoots checks AMD's chains against the pins and adds extra roots, each of
// which has to be named as an ARK is, because the name says for which line it is.
func newRoots(extra []*x509.Certificate) (*roots, error) {
	rs := &roots{}
	for _, p := range pinned {
		list, err := certificatesOf(p.chainBytes())
		if err != nil || len(list) != 2 {
			return nil, fmt.Errorf("amdsnp: chain of %s for %s: %d certificates: %v", p.product, p.kind, len(list), err)
		}
		ask, ark := newAuthority(list[0]), newAuthority(list[1])
		if hex.EncodeToString(ask.digest[:]) != p.intermed || hex.EncodeToString(ark.digest[:]) != p.root {
			return nil, fmt.Errorf("amdsnp: chain of %s for %s is not the pinned one", p.product, p.kind)
		}
		if have := rs.find(ark.digest); have != nil {
			ark = have
		} else {
			ark.product = p.product
			rs.arks = append(rs.arks, ark)
		}
		ask.product, ask.kind, ask.root = p.product, p.kind, ark
		rs.chain = append(rs.chain, ask)
	}
	for _, c := range extra {
		if c == nil {
			return nil, errors.New("amdsnp: extra root is nil")
		}
		a := newAuthority(c)
		line, ok := strings.CutPrefix(c.Subject.CommonName, commonRoot)
		if a.product = productOf(line); !ok || a.product.String() != line {
			return nil, fmt.Errorf("amdsnp: extra root %.64q is not named as an AMD root key (ARK-Milan, ARK-Genoa, ARK-Turin)", c.Subject.CommonName)
		}
		if err := certifies(c, c, true); err != nil {
			return nil, fmt.Errorf("amdsnp: extra root %.64q: %w", c.Subject.CommonName, err)
		}
		if rs.find(a.digest) == nil {
			rs.arks = append(rs.arks, a)
		}
	}
	return rs, nil
}

// find returns the root with that digest, nil if there is none.
func (rs *roots) find(digest [32]byte) *authority {
	for _, a := range rs.arks {
		if a.digest == digest {
			return a
		}
	}
	return nil
}

// pinned returns the pinned intermediate with that digest, nil if there is none.
func (rs *roots) pinned(digest [32]byte) *authority {
	for _, a := range rs.chain {
		if a.digest == digest {
			return a
		}
	}
	return nil
}

func newAuthority(c *x509.Certificate) *authority {
	return &authority{cert: c, digest: sha256.Sum256(c.Raw)}
}

func certificatesOf(raw []byte) (out []*x509.Certificate, err error) {
	for {
		block, rest := pem.Decode(raw)
		if block == nil {
			return out, nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, raw = append(out, c), rest
	}
}
