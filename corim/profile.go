// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"fmt"
	"slices"
)

// Profiles whose rules are known. A document with any other one is refused as a
// whole, because a profile may change what values mean.
const (
	// ProfileAssize is that of the reference values of this project's simulated
	// machines.
	ProfileAssize = "tag:assize.dev,2026:corim#1"
	// ProfileSNP and ProfileSNP2024 are AMD's, as in the draft and as deployed;
	// ProfileARK is for AMD's roots.
	ProfileSNP     = "tag:amd.com,2025:snp-corim-profile"
	ProfileSNP2024 = "tag:amd.com,2024:snp-corim-profile"
	ProfileARK     = "https://amd.com/ark"
	// ProfileIntel is Intel's for TDX and SGX.
	ProfileIntel = "2.16.840.1.113741.1.16.1"
	// ProfileCCAPlatform, ProfileCCARealm and ProfilePSA are Arm's;
	// ProfileCCALegacy is of an early draft.
	ProfileCCAPlatform = "tag:arm.com,2025:cca_platform#1.0.0"
	ProfileCCARealm    = "tag:arm.com,2025:cca_realm#1.0.0"
	ProfileCCALegacy   = "http://arm.com/cca/ssd/1"
	ProfilePSA         = "tag:arm.com,2025:psa#1.0.0"
)

// Profile is a profile and its rules.
type Profile struct {
	// ID is a URI, or an OID in dotted form.
	ID string
	// Check returns what is wrong with a tag, or nil. A nil Check has no rules
	// beyond those of the draft.
	Check func(*Comid) error
}

// Profiles lists the profiles that Load knows without being told.
func Profiles() []Profile {
	return []Profile{
		{ID: ProfileAssize},
		{ID: ProfileSNP, Check: checkSNP}, {ID: ProfileSNP2024, Check: checkSNP}, {ID: ProfileARK, Check: checkSNP},
		{ID: ProfileIntel},
		{ID: ProfileCCAPlatform, Check: checkCCAPlatform}, {ID: ProfileCCALegacy, Check: checkCCAPlatform},
		{ID: ProfileCCARealm, Check: checkCCARealm},
		{ID: ProfilePSA, Check: checkPSA},
	}
}

func (d *Document) keepsProfile(more []Profile) error {
	if d.Profile == "" {
		return nil
	}
	for _, p := range append(Profiles(), more...) {
		if p.ID != d.Profile {
			continue
		}
		if p.Check == nil {
			return nil
		}
		for i, t := range d.Tags {
			if t.Comid == nil {
				continue
			}
			if err := p.Check(t.Comid); err != nil {
				return fmt.Errorf("corim: %s: tags[%d]: profile %s: %w: %w", d.ID, i, p.ID, ErrRule, err)
			}
		}
		return nil
	}
	return fmt.Errorf("corim: %s: %q: %w", d.ID, d.Profile, ErrProfile)
}

// Measurement keys of Arm's profiles.
const (
	keyCCAComponent = "cca.software-component"
	keyCCAConfig    = "cca.platform-config"
	keyCCARIM       = "cca.rim"
	keyCCARPV       = "cca.rpv"
	keyPSAComponent = "psa.software-component"
)

// eachValue runs check over the measurements of reference triples.
func eachValue(m *Comid, environment func(Environment) error, check func(key string, v *Values) error) error {
	for i, t := range m.Reference {
		if err := environment(t.Environment); err != nil {
			return fmt.Errorf("reference value %d: %w", i, err)
		}
		for j := range t.Measurements {
			key, ok := t.Measurements[j].Key.Text()
			if !ok {
				return fmt.Errorf("reference value %d: measurement %d: measurement key %s is not a text", i, j, t.Measurements[j].Key)
			}
			if err := check(key, &t.Measurements[j].Value); err != nil {
				return fmt.Errorf("reference value %d: measurement %d: %w", i, j, err)
			}
		}
	}
	return nil
}

// platformValue is the environment of Arm's reference values: a class by its
// implementation id, and no single device.
func platformValue(e Environment) error {
	if e.Instance.Set() || e.Group.Set() {
		return fmt.Errorf("reference value names an instance or a group")
	}
	return implementation(e)
}

func implementation(e Environment) error {
	if id := e.Class.ID; !id.Set() || id.Tag != TagBytes || len(id.Data) != 32 {
		return fmt.Errorf("class has no implementation id of 32 bytes")
	}
	return nil
}

// attestKeys is Arm's rule for trust anchors: one public key of one device.
func attestKeys(m *Comid) error {
	for i, t := range m.AttestKeys {
		e := t.Environment
		switch {
		case implementation(e) != nil:
			return fmt.Errorf("attest key %d: %w", i, implementation(e))
		case e.Instance.Tag != TagUEID || len(e.Instance.Data) != 33 || e.Instance.Data[0] != 1:
			return fmt.Errorf("attest key %d: instance is not a UEID of 33 bytes that begins with 1", i)
		case len(t.Keys) != 1:
			return fmt.Errorf("attest key %d: %d keys, not one", i, len(t.Keys))
		case t.Keys[0].Tag != TagPKIXKey:
			return fmt.Errorf("attest key %d: tag %d is not a public key (%d)", i, t.Keys[0].Tag, TagPKIXKey)
		}
	}
	return nil
}

// signedComponent is a digest and who signed it.
func signedComponent(v *Values) error {
	if len(v.Digests) == 0 {
		return fmt.Errorf("no digests of a software component")
	}
	if len(v.Keys) != 1 || v.Keys[0].Tag != TagBytes || !slices.Contains([]int{32, 48, 64}, len(v.Keys[0].Data)) {
		return fmt.Errorf("cryptokeys are not one signer id of 32, 48 or 64 bytes")
	}
	return nil
}

func checkCCAPlatform(m *Comid) error {
	configs := 0
	err := eachValue(m, platformValue, func(key string, v *Values) error {
		switch key {
		case keyCCAComponent:
			return signedComponent(v)
		case keyCCAConfig:
			if configs++; configs > 1 {
				return fmt.Errorf("second platform configuration")
			}
			if v.Raw == nil {
				return fmt.Errorf("no raw value of the platform configuration")
			}
			return nil
		}
		return fmt.Errorf("measurement key %q is not %q or %q", key, keyCCAComponent, keyCCAConfig)
	})
	if err != nil {
		return err
	}
	return attestKeys(m)
}

func checkPSA(m *Comid) error {
	err := eachValue(m, platformValue, func(key string, v *Values) error {
		if key != keyPSAComponent {
			return fmt.Errorf("measurement key %q is not %q", key, keyPSAComponent)
		}
		return signedComponent(v)
	})
	if err != nil {
		return err
	}
	return attestKeys(m)
}

func checkCCARealm(m *Comid) error {
	for i, t := range m.Reference {
		rim := false
		one := &Comid{Reference: []ValueTriple{t}}
		err := eachValue(one, realm, func(key string, v *Values) error {
			switch key {
			case keyCCARIM, "cca.rem0", "cca.rem1", "cca.rem2", "cca.rem3":
				rim = rim || key == keyCCARIM
				if len(v.Digests) != 1 {
					return fmt.Errorf("%s has %d digests, not one", key, len(v.Digests))
				}
				return nil
			case keyCCARPV:
				if v.Raw == nil {
					return fmt.Errorf("no raw value of %s", key)
				}
				return nil
			}
			return fmt.Errorf("measurement key %q is not of a realm", key)
		})
		if err != nil {
			return err
		}
		if !rim {
			return fmt.Errorf("reference value %d: no %s", i, keyCCARIM)
		}
	}
	return nil
}

func realm(e Environment) error {
	id := e.Class.ID
	if id.Tag != TagBytes || !slices.Contains([]int{32, 48, 64}, len(id.Data)) {
		return fmt.Errorf("realm is not identified by its initial measurement: class id %s", id)
	}
	return nil
}

// checkSNP is AMD's: measurement keys are numbers, and a root has a vendor and
// a model.
func checkSNP(m *Comid) error {
	for i, t := range m.Reference {
		for j, v := range t.Measurements {
			if _, ok := v.Key.Number(); !ok {
				return fmt.Errorf("reference value %d: measurement %d: measurement key %s is not a number", i, j, v.Key)
			}
		}
	}
	for i, t := range m.AttestKeys {
		if t.Environment.Class.Vendor == "" {
			return fmt.Errorf("attest key %d: class without a vendor", i)
		}
		if t.Environment.Class.Model == "" {
			return fmt.Errorf("attest key %d: class without a model", i)
		}
	}
	return nil
}
