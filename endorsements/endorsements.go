// SPDX-License-Identifier: Apache-2.0

// Package endorsements holds collateral of the vendors: signed statements that
// schemes check themselves, loaded once and immutable afterwards.
//
// Begin with LoadDir, or with Load for any fs.FS. Files are recognised by
// content, never by name. Loading checks form only: whether a signature holds
// and whether a date is right is the business of the scheme that uses the
// collateral, at the time for which it appraises. A file that is not
// understood is a Warning with its name and is not used.
//
// What is known, with its validity, is listed by Bundle.Statements. What is
// missing is said by schemes as a Need, which is one or several Items, each one
// document that a vendor publishes. The packages below fetch: pcs, kds and nvidia
// know the services of Intel, AMD and NVIDIA, source decides what is fetched when
// and keeps it. Schemes never do: they get a Bundle.
//
// Forms of files: a set of Intel collateral as one JSON object, or one part of
// it; responses of Intel's service to a request for TCB info or a QE identity,
// whose signers are found among the certificates of the folder; certificates
// and revocation lists in PEM or DER; OCSP responses in DER; NVIDIA's reference
// integrity manifests as SWID tags, as signed CoRIMs or as replies of its RIM
// service.
package endorsements

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"iter"
	"slices"
)

// Bundle is an immutable set of collateral. The zero value and nil are empty.
// It is safe for concurrent use.
type Bundle struct {
	intel      []IntelCollateral
	certs      []Certificate
	crls       []RevocationList
	ocsp       []Document
	manifests  []Manifest
	statements []Statement
	// seen are the digests of all of them, only while a bundle is being made.
	seen map[[32]byte]bool
}

// IntelCollateral is one set of Intel DCAP collateral, each part byte for byte
// as Intel signed it. There are four parts, each for itself: TCB info, QE
// identity, PCK CRL (each with the chain of its issuer) and root CA CRL. A set
// has all of them or exactly one; the fields of the others are empty then. A
// reader takes the parts that are there and passes over the rest.
type IntelCollateral struct {
	// Name is where it came from, for messages.
	Name string
	// TCBInfo and QEIdentity are the exact signed JSON values; the signatures
	// are hexadecimal r||s.
	TCBInfo             []byte
	TCBInfoSignature    string
	TCBInfoIssuerChain  []byte // PEM
	QEIdentity          []byte
	QEIdentitySignature string
	QEIdentityChain     []byte // PEM
	PCKCRL              []byte // DER
	PCKCRLIssuerChain   []byte // PEM
	RootCACRL           []byte // DER
	// FMSPC is taken from TCBInfo, lower-case hexadecimal, to find the set; empty
	// in a set without TCB info.
	FMSPC string
	// Digest is the SHA-256 over all parts; a bundle holds each digest once.
	Digest [32]byte
}

// IntelTDX returns the sets for one FMSPC (lower-case hexadecimal) in the
// order in which they were loaded. The sets are the caller's own copies.
func (b *Bundle) IntelTDX(fmspc string) []IntelCollateral {
	if b == nil {
		return nil
	}
	var out []IntelCollateral
	for _, c := range b.intel {
		if c.FMSPC == fmspc {
			out = append(out, c.clone())
		}
	}
	return out
}

// AllIntelTDX yields every set in the order in which they were loaded, each as
// the caller's own copy. QE identity and revocation lists in a set are not bound
// to its FMSPC, so a scheme that wants all of them must look at every set; it
// does so once and not per appraisal, since copies cost and bundles never change.
func (b *Bundle) AllIntelTDX() iter.Seq[IntelCollateral] {
	return func(yield func(IntelCollateral) bool) {
		if b == nil {
			return
		}
		for _, c := range b.intel {
			if !yield(c.clone()) {
				return
			}
		}
	}
}

// Len is the number of collateral sets, certificates, revocation lists, OCSP
// responses and manifests of all vendors.
func (b *Bundle) Len() int {
	if b == nil {
		return 0
	}
	return len(b.intel) + len(b.certs) + len(b.crls) + len(b.ocsp) + len(b.manifests)
}

// Certificate is one certificate that lay in a bundle. It proves nothing by
// itself: it is not a trust anchor, and nobody has checked its signature.
type Certificate struct {
	// Name is where it came from, for messages.
	Name string
	// Certificate is shared and must not be changed.
	*x509.Certificate
	// Digest is the SHA-256 of the DER encoding.
	Digest [32]byte
}

// RevocationList is one CRL that lay in a bundle; nobody has checked its
// signature.
type RevocationList struct {
	// Name is where it came from, for messages.
	Name string
	// RevocationList is shared and must not be changed.
	*x509.RevocationList
	// Digest is the SHA-256 of the DER encoding.
	Digest [32]byte
}

// Certificates yields the loose certificates (files in PEM or DER) in the order
// in which they were loaded, each once. Those inside Intel's sets are not among
// them.
func (b *Bundle) Certificates() iter.Seq[Certificate] {
	if b == nil {
		return func(func(Certificate) bool) {}
	}
	return slices.Values(b.certs)
}

// RevocationLists yields the loose CRLs (files in PEM or DER) in the order in
// which they were loaded, each once. Those inside Intel's sets are not among them.
func (b *Bundle) RevocationLists() iter.Seq[RevocationList] {
	if b == nil {
		return func(func(RevocationList) bool) {}
	}
	return slices.Values(b.crls)
}

// Merge unites bundles: everything in the order of the arguments, each digest
// once. Nil bundles are empty ones.
func Merge(bundles ...*Bundle) *Bundle {
	type key struct {
		item   Item
		digest [32]byte
	}
	out, said := new(Bundle), map[key]bool{}
	for _, b := range bundles {
		if b == nil {
			continue
		}
		for _, c := range b.intel {
			if out.isNew(c.Digest) {
				out.intel = append(out.intel, c)
			}
		}
		for _, c := range b.certs {
			if out.isNew(c.Digest) {
				out.certs = append(out.certs, c)
			}
		}
		for _, l := range b.crls {
			if out.isNew(l.Digest) {
				out.crls = append(out.crls, l)
			}
		}
		for _, d := range b.ocsp {
			if out.isNew(d.Digest) {
				out.ocsp = append(out.ocsp, d)
			}
		}
		for _, m := range b.manifests {
			out.addManifest(m) // with its statement
		}
		for _, st := range b.statements {
			if st.Item.Kind == ItemNVRIM {
				continue
			}
			if k := (key{st.Item, st.Digest}); !said[k] {
				said[k] = true
				out.statements = append(out.statements, st)
			}
		}
	}
	out.seen = nil
	return out
}

// isNew is called only while a bundle is being made.
func (b *Bundle) isNew(d [32]byte) bool {
	if b.seen == nil {
		b.seen = map[[32]byte]bool{}
	}
	if b.seen[d] {
		return false
	}
	b.seen[d] = true
	return true
}

func (b *Bundle) addCertificate(name string, c *x509.Certificate) {
	d := sha256.Sum256(c.Raw)
	if !b.isNew(d) {
		return
	}
	b.certs = append(b.certs, Certificate{Name: name, Certificate: c, Digest: d})
	if i, ok := vcekItem(c); ok {
		b.statements = append(b.statements, Statement{i, name, c.NotBefore, c.NotAfter, d})
	}
}

func (b *Bundle) addCRL(name string, l *x509.RevocationList) {
	d := sha256.Sum256(l.Raw)
	if !b.isNew(d) {
		return
	}
	b.crls = append(b.crls, RevocationList{Name: name, RevocationList: l, Digest: d})
	if i, ok := crlItem(l); ok && i.Vendor() == VendorAMD { // Intel's become sets
		b.statements = append(b.statements, Statement{i, name, l.ThisUpdate, l.NextUpdate, d})
	}
}

// addIntel appends a set unless one with the same digest is there already; it
// is called only while a bundle is being made.
func (b *Bundle) addIntel(c IntelCollateral) {
	if b.isNew(c.Digest) {
		b.intel = append(b.intel, c)
		b.statements = append(b.statements, intelStatements(c)...)
	}
}

// clone keeps callers from changing a bundle that others share.
func (c IntelCollateral) clone() IntelCollateral {
	for _, p := range []*[]byte{
		&c.TCBInfo, &c.TCBInfoIssuerChain, &c.QEIdentity, &c.QEIdentityChain,
		&c.PCKCRL, &c.PCKCRLIssuerChain, &c.RootCACRL,
	} {
		*p = bytes.Clone(*p)
	}
	return c
}
