// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Vendor is who publishes a document.
type Vendor string

// Vendors.
const (
	VendorIntel  Vendor = "intel"
	VendorAMD    Vendor = "amd"
	VendorNVIDIA Vendor = "nvidia"
)

// ItemKind says what sort of document an item is.
type ItemKind string

// Kinds of documents. Intel's are those of the Provisioning Certification
// Service, version 4; AMD's those of the Key Distribution Service (AMD 57230);
// NVIDIA's those of its RIM and OCSP services.
const (
	// ItemTDXTCB and ItemSGXTCB: TCB info of one FMSPC.
	ItemTDXTCB ItemKind = "intel-tdx-tcb"
	// ItemSGXTCB is the same for SGX.
	ItemSGXTCB ItemKind = "intel-sgx-tcb"
	// ItemTDXQE and ItemSGXQE: identity of the quoting enclave.
	ItemTDXQE ItemKind = "intel-tdx-qe"
	// ItemSGXQE is the same for SGX.
	ItemSGXQE ItemKind = "intel-sgx-qe"
	// ItemPCKCRL: revocation list of one PCK CA.
	ItemPCKCRL ItemKind = "intel-pck-crl"
	// ItemRootCRL: revocation list of the root CA.
	ItemRootCRL ItemKind = "intel-root-crl"
	// ItemVCEK: certificate of one chip at one TCB.
	ItemVCEK ItemKind = "amd-vcek"
	// ItemAMDCRL: revocation list of one product line.
	ItemAMDCRL ItemKind = "amd-crl"
	// ItemNVRIM: reference integrity manifest, by its identifier.
	ItemNVRIM ItemKind = "nvidia-rim"
	// ItemNVOCSP: OCSP response about one certificate.
	ItemNVOCSP ItemKind = "nvidia-ocsp"
)

// Item names one document that a vendor publishes. Of the fields only those of
// its kind are set, so two items are the same document exactly if they are equal.
type Item struct {
	Kind ItemKind
	// FMSPC is 12 lower-case hexadecimal digits (TCB info).
	FMSPC string
	// CA is "platform" or "processor" (PCK CRL).
	CA string
	// Product is "Milan", "Genoa" or "Turin" (AMD).
	Product string
	// ChipID is 128 lower-case hexadecimal digits, on Turin 16 (VCEK).
	ChipID string
	// TCB is the TCB_VERSION of a report as a little-endian number, whose reserved
	// bytes are zero (VCEK).
	TCB uint64
	// RIM is the identifier (manifest). In a Statement it is empty where nobody says
	// it; such a manifest answers no need.
	RIM string
	// IssuerName, IssuerKey and Serial are as in Need (OCSP response). In a
	// Statement the digests may be SHA-1 or SHA-256; such a response answers no need.
	IssuerName, IssuerKey, Serial string
}

// Check says whether the item has the form of its kind: only then may its fields
// stand in an address.
func (i Item) Check() error {
	var n Need
	if i.Kind == ItemVCEK && i.Product == "" {
		return fmt.Errorf("%w: %s without a product", ErrNeed, i.Kind)
	}
	switch i.Kind {
	case ItemTDXTCB, ItemSGXTCB:
		n = Need{Kind: NeedIntelTDX, FMSPC: i.FMSPC, CA: "platform"}
	case ItemTDXQE, ItemSGXQE, ItemRootCRL:
		return nil
	case ItemPCKCRL:
		n = Need{Kind: NeedIntelTDX, FMSPC: "000000000000", CA: i.CA}
	case ItemVCEK:
		n = Need{Kind: NeedAMDVCEK, Product: i.Product, ChipID: i.ChipID, TCB: i.TCB}
	case ItemAMDCRL:
		n = Need{Kind: NeedAMDCRL, Product: i.Product}
	case ItemNVRIM:
		n = Need{Kind: NeedNVIDIARIM, RIM: i.RIM}
	case ItemNVOCSP:
		n = Need{Kind: NeedNVIDIAOCSP, IssuerName: i.IssuerName, IssuerKey: i.IssuerKey, Serial: i.Serial}
	}
	return n.check()
}

// Vendor is who publishes the document.
func (i Item) Vendor() Vendor {
	switch i.Kind {
	case ItemVCEK, ItemAMDCRL:
		return VendorAMD
	case ItemNVRIM, ItemNVOCSP:
		return VendorNVIDIA
	}
	return VendorIntel
}

// String is the item in letters of file names, at most 200 bytes; equal only for
// equal items.
func (i Item) String() string {
	parts := []string{string(i.Kind)}
	issuer := ""
	if i.Kind == ItemNVOCSP { // the two digests would be too long for a name
		sum := sha256.Sum256([]byte(i.IssuerName + "." + i.IssuerKey))
		issuer = hex.EncodeToString(sum[:])
	}
	for _, s := range []string{i.FMSPC, i.CA, strings.ToLower(i.Product), i.ChipID, i.RIM, issuer, i.Serial} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if i.Kind == ItemVCEK {
		parts = append(parts, fmt.Sprintf("%016x", i.TCB))
	}
	return strings.Join(parts, "-")
}

// ErrNeed says that a need is not one that any vendor could answer.
var ErrNeed = errors.New("endorsements: malformed need")

// Items are the documents that answer a need, the most wanted first. A need that
// is out of form has none and is an error: nothing of it goes into an address.
func (n Need) Items() ([]Item, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	tcb, qe := ItemTDXTCB, ItemTDXQE
	switch n.Kind {
	case NeedAMDVCEK:
		var out []Item
		for _, p := range n.products() {
			out = append(out, Item{Kind: ItemVCEK, Product: p, ChipID: n.ChipID, TCB: n.TCB})
		}
		return out, nil
	case NeedAMDCRL:
		return []Item{{Kind: ItemAMDCRL, Product: n.Product}}, nil
	case NeedNVIDIARIM:
		return []Item{{Kind: ItemNVRIM, RIM: n.RIM}}, nil
	case NeedNVIDIAOCSP:
		return []Item{n.ocspItem()}, nil
	case NeedIntelSGX:
		tcb, qe = ItemSGXTCB, ItemSGXQE
	}
	return []Item{{Kind: tcb, FMSPC: n.FMSPC}, {Kind: qe}, {Kind: ItemPCKCRL, CA: n.CA}, {Kind: ItemRootCRL}}, nil
}

// check compares a need with the forms that its kind has. The bytes are from
// unverified evidence.
func (n Need) check() error {
	switch n.Kind {
	case NeedIntelTDX, NeedIntelSGX:
		if !lowerHex(n.FMSPC, fmspcHex) {
			return fmt.Errorf("%w: FMSPC %.32q is not %d lower-case hexadecimal digits", ErrNeed, n.FMSPC, fmspcHex)
		}
		if n.CA != "platform" && n.CA != "processor" {
			return fmt.Errorf("%w: PCK CA %.32q, expected platform or processor", ErrNeed, n.CA)
		}
	case NeedAMDVCEK:
		return n.checkVCEK()
	case NeedAMDCRL:
		if _, ok := tcbLayouts[n.Product]; !ok {
			return fmt.Errorf("%w: product %.32q, expected Milan, Genoa or Turin", ErrNeed, n.Product)
		}
	case NeedNVIDIARIM:
		return checkRIM(n.RIM)
	case NeedNVIDIAOCSP:
		return n.checkOCSP()
	default:
		return fmt.Errorf("%w: kind %.32q", ErrNeed, n.Kind)
	}
	return nil
}

// products are the lines that a need may be about: reports before version 3, which
// only Milan and Genoa make, do not say.
func (n Need) products() []string {
	if n.Product == "" && n.Kind == NeedAMDVCEK {
		return []string{"Milan", "Genoa"}
	}
	return []string{n.Product}
}

func (n Need) checkVCEK() error {
	n.Product = n.products()[0]
	layout, ok := tcbLayouts[n.Product]
	if !ok {
		return fmt.Errorf("%w: product %.32q, expected Milan, Genoa or Turin", ErrNeed, n.Product)
	}
	if !lowerHex(n.ChipID, 2*layout.chip) || strings.Trim(n.ChipID, "0") == "" {
		return fmt.Errorf("%w: chip id %.32q… is not %d lower-case hexadecimal digits, or is masked", ErrNeed, n.ChipID, 2*layout.chip)
	}
	for i := range 8 {
		if !slices.Contains(layout.bytes, i) && byte(n.TCB>>(8*i)) != 0 {
			return fmt.Errorf("%w: byte %d of TCB %016x is reserved on %s", ErrNeed, i, n.TCB, n.Product)
		}
	}
	return nil
}

func lowerHex(s string, digits int) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == digits && strings.ToLower(s) == s
}

// Statement is one document in a bundle: which item it answers, and from when to
// when it says that it holds. Nobody has checked a signature.
type Statement struct {
	Item Item
	// Name is where it came from, for messages.
	Name string
	// From and Until include both ends. They are the narrowest of the document
	// itself and the certificates that came with it.
	From, Until time.Time
	// Digest is that of the set, certificate or revocation list it stands in.
	Digest [32]byte
}

// FetchError is why a fetcher has no document.
type FetchError struct {
	// Status is that of HTTP, 0 if there was no answer.
	Status int
	// RetryAfter is how long the service wants to be left alone; 0 if it does not say.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *FetchError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *FetchError) Unwrap() error { return e.Err }

// Temporary says that the same request may have an answer later: there was none,
// or the service said too many, not now, or that it failed.
func (e *FetchError) Temporary() bool {
	return e.Status == 0 || e.Status == 429 || e.Status == 408 || e.Status >= 500
}

// Unknown says that the service has no such document.
func (e *FetchError) Unknown() bool { return e.Status == 400 || e.Status == 404 || e.Status == 410 }
