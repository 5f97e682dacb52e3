// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"fmt"

	"github.com/assize/assize/attester/armcca"
	"github.com/assize/assize/attester/psa"
)

// Profiles of Arm's documents. A document has one profile, so that platform and
// realm of a CCA machine come in two.
const (
	ProfileCCAPlatform = "tag:arm.com,2025:cca_platform#1.0.0"
	ProfileCCARealm    = "tag:arm.com,2025:cca_realm#1.0.0"
	ProfilePSA         = "tag:arm.com,2025:psa#1.0.0"
)

// ArmCCAPlatform takes armcca.Device.Platform: the values of every platform of the
// model, and the key of this one, for a document with ProfileCCAPlatform.
func ArmCCAPlatform(r armcca.References) (Entry, KeyEntry, error) {
	key := KeyEntry{Environment: Environment{ClassBytes: r.Class, UEID: r.Instance}, Key: r.Key}
	if r.Key == nil || len(r.Instance) == 0 {
		return Entry{}, KeyEntry{}, fmt.Errorf("refvalues: CCA platform without a key")
	}
	e, err := armEntry(r.Class, r.Measurements)
	return e, key, err
}

// ArmCCARealm takes armcca.Device.Realm, for a document with ProfileCCARealm.
func ArmCCARealm(r armcca.References) (Entry, error) { return armEntry(r.Class, r.Measurements) }

func armEntry(class []byte, ms []armcca.Measurement) (Entry, error) {
	out := Entry{Environment: Environment{ClassBytes: class}}
	for _, m := range ms {
		v := Value{Key: m.Key, Raw: m.Raw, Name: m.Name, Version: m.Version, Repeat: m.Signer != nil}
		if m.Digest != nil {
			v.Digests = []Digest{{m.Alg, m.Digest}}
		}
		if m.Signer != nil {
			v.Keys = [][]byte{m.Signer}
		}
		out.Values = append(out.Values, v)
	}
	return out.check()
}

// PSA takes psa.Device.References, for a document with ProfilePSA.
func PSA(r psa.References) (Entry, KeyEntry, error) {
	out := Entry{Environment: Environment{ClassBytes: r.Implementation}}
	for _, m := range r.Measurements {
		out.Values = append(out.Values, Value{
			Key: "psa.software-component", Digests: []Digest{{m.Alg, m.Digest}}, Name: m.Name, Version: m.Version, Keys: [][]byte{m.Signer}, Repeat: true,
		})
	}
	e, err := out.check()
	return e, KeyEntry{Environment: Environment{ClassBytes: r.Implementation, UEID: r.Instance}, Key: r.Key}, err
}
