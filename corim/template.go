// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/veraison/corim/comid"
	"github.com/veraison/corim/extensions"
)

// Templates writes a document as the JSON templates that FromTemplates and cocli
// read: one of the CoRIM and one of each CoMID, for people to look through and
// change. Signature, Raw and Digest of d are not used. It is an error if the
// templates would not give the same document again, as for one with entities,
// dependents or tags that are no CoMIDs.
func Templates(d *Document) (document []byte, comids [][]byte, err error) {
	enc, err := encoding()
	if err != nil {
		return nil, nil, fmt.Errorf("corim: %w", err)
	}
	head := map[string]any{"corim-id": d.ID.String()}
	if d.Profile != "" {
		head["profile"] = d.Profile
	}
	if d.Validity != (Period{}) {
		v := map[string]any{"not-after": d.Validity.NotAfter.UTC().Format(time.RFC3339)}
		if !d.Validity.NotBefore.IsZero() {
			v["not-before"] = d.Validity.NotBefore.UTC().Format(time.RFC3339)
		}
		head["validity"] = v
	}
	if document, err = json.Marshal(head); err != nil {
		return nil, nil, fmt.Errorf("corim: %w", err)
	}
	for i, t := range d.Tags {
		if t.Comid == nil {
			return nil, nil, fmt.Errorf("corim: tags[%d] is no CoMID, for which there is no template", i)
		}
		raw, err := enc.Marshal(comidItem(t.Comid))
		if err != nil {
			return nil, nil, fmt.Errorf("corim: tags[%d]: %w", i, err)
		}
		one := comid.NewComid()
		if err := one.RegisterExtensions(extensions.NewMap().Add(comid.ExtTriples, &templateTriples{})); err != nil {
			return nil, nil, fmt.Errorf("corim: %w", err)
		}
		if err := one.FromCBOR(raw); err != nil {
			return nil, nil, fmt.Errorf("corim: tags[%d]: %w", i, err)
		}
		if raw, err = one.ToJSON(); err != nil {
			return nil, nil, fmt.Errorf("corim: tags[%d]: %w", i, err)
		}
		comids = append(comids, raw)
	}
	want, err := Encode(d)
	if err != nil {
		return nil, nil, err
	}
	again, err := FromTemplates(document, comids...)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(again, want) {
		return nil, nil, errors.New("corim: the document has parts that a template cannot have")
	}
	return document, comids, nil
}
