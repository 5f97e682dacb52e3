// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// ErrDocuments says that a bundle cannot be written as documents.
var ErrDocuments = errors.New("endorsements: collateral cannot be written down")

// Documents are everything that a bundle holds, each as a file that Load reads, in
// an order in which LoadDocuments makes the same bundle of them. What a vendor has
// signed is byte for byte as it was loaded; certificates and revocation lists are in
// DER, each for itself, and Intel's are in the form of IntelCollateral.Encode. Names
// are those under which they were loaded, so several documents can have the same.
// The values are shared and must not be changed.
func (b *Bundle) Documents() ([]Document, error) {
	if b == nil {
		return nil, nil
	}
	out := make([]Document, 0, b.Len())
	add := func(name string, raw []byte) {
		out = append(out, Document{Name: name, Raw: raw, Digest: sha256.Sum256(raw)})
	}
	for _, c := range b.intel {
		raw, err := c.Encode()
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrDocuments, c.Name, err)
		}
		add(c.Name, raw)
	}
	for _, c := range b.certs {
		add(c.Name, c.Raw)
	}
	for _, l := range b.crls {
		add(l.Name, l.Raw)
	}
	for _, d := range b.ocsp {
		add(d.Name, d.Raw)
	}
	for _, m := range b.manifests {
		raw := m.Raw
		if m.ID != rimOfFile(m.Name) {
			var err error
			if raw, err = m.EncodeReply(); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrDocuments, m.Name, err)
			}
		}
		add(m.Name, raw)
	}
	return out, nil
}

// LoadDocuments loads documents that lie in no folder, in their order, by the rules
// of Load: content says what they are, and a name is for messages only. The limits
// of a load hold.
func LoadDocuments(docs []Document) (*Bundle, []Warning, error) {
	if len(docs) > MaxFiles {
		return nil, nil, fmt.Errorf("%w: more than %d documents", ErrLimit, MaxFiles)
	}
	l := loader{bundle: new(Bundle)}
	for _, d := range docs {
		if len(d.Raw) > MaxFile {
			l.warn(d.Name, WarnTooLarge, errTooLarge.Error())
			continue
		}
		if l.total += len(d.Raw); l.total > MaxTotal {
			return nil, nil, fmt.Errorf("%w: more than %d bytes", ErrLimit, MaxTotal)
		}
		l.recognise(d.Name, d.Raw)
	}
	l.finish()
	return l.bundle, l.warnings, nil
}
