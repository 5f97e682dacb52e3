// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// Profiles. The second has the same claims as that of RFC 9783, the legacy one
// private claim numbers.
const (
	profileTFM    = "tag:psacertified.org,2023:psa#tfm"
	profile2      = "http://arm.com/psa/2.0.0"
	profileLegacy = "PSA_IOT_PROFILE_1"
	// mediaLegacy is the legacy profile as the parameter of a media type (RFC 9783,
	// section 10.2).
	mediaLegacy = "tag:psacertified.org,2019:psa#legacy"
)

// form is where the claims of a profile stand.
type form struct {
	nonce, instance, profile, client, lifecycle, implementation, seed, reference, components, service int64
	// none says instead of components that there is no measured software; 0 if
	// the form has no such claim.
	none int64
}

func formTFM() form {
	return form{
		nonce: 10, instance: 256, profile: 265, client: 2394, lifecycle: 2395, implementation: 2396,
		seed: 2397, reference: 2398, components: 2399, service: 2400,
	}
}

func formLegacy() form {
	return form{
		nonce: -75008, instance: -75009, profile: -75000, client: -75001, lifecycle: -75002, implementation: -75003,
		seed: -75004, reference: -75005, components: -75006, service: -75010, none: -75007,
	}
}

// token is one token, of which nothing is verified yet.
type token struct {
	message        *armtoken.Sign1
	profile        string
	nonce          []byte
	instance       []byte
	client         int32
	lifecycle      armtoken.Lifecycle
	implementation []byte
	seed           []byte // nil if absent
	reference      string // "" if absent
	components     []armtoken.Component
	service        string // "" if absent
	unread         []int64
}

var errProfile = errors.New("unknown profile")

// open reads the token by media type.
func open(d *armtoken.Decoder, in verifiers.Input) (*token, *armtoken.Failure) {
	if len(in.Evidence) > armtoken.MaxToken {
		return nil, armtoken.Failf(verdict.ReasonTooLarge, "PSA token has %d bytes, at most %d", len(in.Evidence), armtoken.MaxToken)
	}
	said := in.MediaType.Params["eat_profile"]
	if in.MediaType.Base != typeToken && (in.MediaType.Base != typeCWT || said == "") {
		return nil, armtoken.Failf(verdict.ReasonMalformed, "media type %s is not one of this scheme", in.MediaType)
	}
	t, err := parse(d, in.Evidence)
	switch {
	case errors.Is(err, armtoken.ErrAlgorithm), errors.Is(err, errProfile):
		return nil, armtoken.Failf(verdict.ReasonUnsupported, "PSA token: %v", err)
	case err != nil:
		return nil, armtoken.Failf(verdict.ReasonMalformed, "PSA token: %v", err)
	case said != "" && !t.is(said):
		return nil, armtoken.Failf(verdict.ReasonMalformed, "PSA token has the profile %q, its media type says %.64q", t.profile, said)
	}
	return t, nil
}

// is tells whether the profile of a media type is that of the token. What has the
// form of RFC 9783 travels under its name in deployed systems, whatever the token
// says.
func (t *token) is(said string) bool {
	switch said {
	case mediaLegacy:
		return t.profile == profileLegacy
	case profileTFM:
		return t.profile != profileLegacy
	}
	return said == t.profile
}

// parse reads a whole token.
func parse(d *armtoken.Decoder, raw []byte) (*token, error) {
	m, err := d.Sign1(raw)
	if err != nil {
		return nil, err
	}
	c := d.Claims(m.Payload)
	t := &token{message: m}
	f := formTFM()
	if c.Has(f.profile) {
		t.profile = c.Text(f.profile, "profile", true)
	} else {
		// The profile claim is optional in the legacy profile, and nowhere else.
		f = formLegacy()
		if t.profile = c.Text(f.profile, "profile", false); t.profile == "" {
			t.profile = profileLegacy
		}
	}
	legacy := f.none != 0
	switch {
	case c.Err() != nil:
		return nil, c.Err()
	case legacy && t.profile != profileLegacy, !legacy && t.profile != profileTFM && t.profile != profile2:
		return nil, fmt.Errorf("%w %.64q", errProfile, t.profile)
	}
	t.read(c, f)
	return t, c.Err()
}

func (t *token) read(c *armtoken.Claims, f form) {
	t.nonce = c.Bytes(f.nonce, "nonce", armtoken.HashSizes()...)
	t.instance = c.Instance(f.instance)
	t.client = c.Int32(f.client, "client id")
	t.lifecycle = armtoken.Lifecycle(c.Uint(f.lifecycle, "security lifecycle", true, 0xffff))
	t.implementation = c.Bytes(f.implementation, "implementation id", 32)
	switch {
	case f.none != 0:
		t.seed = c.Bytes(f.seed, "boot seed", 32)
	case t.profile == profileTFM:
		t.seed = c.OptionalBytes(f.seed, "boot seed")
		if t.seed != nil && (len(t.seed) < 8 || len(t.seed) > 32) {
			c.Fail("boot seed has %d bytes, not 8 to 32", len(t.seed))
		}
	default:
		t.seed = c.OptionalBytes(f.seed, "boot seed", 32)
	}
	t.reference = c.Text(f.reference, "certification reference", false)
	if t.reference != "" && !certified(t.reference, f.none != 0) {
		c.Fail("certification reference %.32q is no article number", t.reference)
	}
	none := f.none != 0 && c.Has(f.none)
	t.components = c.Components(f.components, !none)
	if none {
		if n := c.Uint(f.none, "no software measurements", true, 1); n != 1 || t.components != nil {
			c.Fail("claim %d says that there are no software measurements, and is %d beside %d of them", f.none, n, len(t.components))
		}
	}
	t.service = c.Text(f.service, "verification service", false)
	t.unread = c.Unread()
}

// certified tells whether s is an EAN-13 with a dash and five digits (RFC 9783,
// section 4.2.3); older tokens have the EAN-13 alone.
func certified(s string, legacy bool) bool {
	if legacy && len(s) == 13 {
		s += "-00000"
	}
	ok, err := regexp.MatchString(`^[0-9]{13}-[0-9]{5}$`, s)
	return ok && err == nil
}

// environment is the device: implementation id and instance id.
func (t *token) environment() corim.Environment {
	return armtoken.Device(t.implementation, t.instance)
}
