// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// Tags and labels of the collection (DEN0137, "CCA attestation token").
const (
	tagCollection = 399
	// tagCMW is that of the newer form, whose members are CMW records.
	tagCMW        = 907
	labelPlatform = 44234
	labelRealm    = 44241

	// formatEATCWT is the CoAP content format of application/eat+cwt.
	formatEATCWT = 263
	typeEATCWT   = "application/eat+cwt"
)

// Profiles of the halves. A realm token of the first kind has none.
const (
	platformProfileLegacy = "http://arm.com/CCA-SSD/1.0.0"
	platformProfile       = "tag:arm.com,2023:cca_platform#1.0.0"
	realmProfile          = "tag:arm.com,2023:realm#1.0.0"
)

// Claims of the platform token.
const (
	claimNonce          = 10
	claimInstance       = 256
	claimProfile        = 265
	claimLifecycle      = 2395
	claimImplementation = 2396
	claimComponents     = 2399
	claimService        = 2400
	claimConfig         = 2401
	claimHash           = 2402
)

// Claims of the realm token.
const (
	claimRPV       = 44235
	claimRealmHash = 44236
	claimRAK       = 44237
	claimRIM       = 44238
	claimREM       = 44239
	claimRAKHash   = 44240
)

const (
	remCount      = 4
	challengeSize = 64
	rpvSize       = 64
	maxConfig     = 4096
)

// platform is a platform token.
type platform struct {
	message        *armtoken.Sign1
	profile        string
	challenge      []byte
	implementation []byte
	instance       []byte
	config         []byte
	lifecycle      armtoken.Lifecycle
	components     []armtoken.Component
	service        string
	hash           string
	unread         []int64
}

// realm is a realm token.
type realm struct {
	message   *armtoken.Sign1
	profile   string // "" for the first kind
	challenge []byte
	rpv       []byte
	rim       []byte
	rem       [][]byte
	hash      string
	// rawRAK is the key as it stands there, which is what the platform hashes.
	rawRAK  []byte
	rakHash string
	rak     *ecdsa.PublicKey
	unread  []int64
}

// token is both halves, of which nothing is verified yet.
type token struct {
	tag      uint64
	platform platform
	realm    realm
	// unevaluated are names of what a TSM report had besides.
	unevaluated []string
}

// open takes the token out of its container by media type.
func open(d *armtoken.Decoder, in verifiers.Input) (*token, *armtoken.Failure) {
	if len(in.Evidence) > maxEvidence {
		return nil, armtoken.Failf(verdict.ReasonTooLarge, "evidence has %d bytes, at most %d", len(in.Evidence), maxEvidence)
	}
	raw := in.Evidence
	var unevaluated []string
	switch in.MediaType.Base {
	case typeCollection:
	case tsm.TypeJSON, tsm.TypeCBOR:
		var err error
		if raw, unevaluated, err = openTSM(in); err != nil {
			return nil, armtoken.Failf(verdict.ReasonMalformed, "%v", err)
		}
	default:
		return nil, armtoken.Failf(verdict.ReasonMalformed, "media type %s is not one of this scheme", in.MediaType.Base)
	}
	if len(raw) > armtoken.MaxToken {
		return nil, armtoken.Failf(verdict.ReasonTooLarge, "CCA token has %d bytes, at most %d", len(raw), armtoken.MaxToken)
	}
	t, err := parse(d, raw)
	switch {
	case errors.Is(err, armtoken.ErrAlgorithm), errors.Is(err, errProfile):
		return nil, armtoken.Failf(verdict.ReasonUnsupported, "CCA token: %v", err)
	case err != nil:
		return nil, armtoken.Failf(verdict.ReasonMalformed, "CCA token: %v", err)
	}
	t.unevaluated = unevaluated
	return t, nil
}

// openTSM reads a configfs-TSM report, whose outblob is the token.
func openTSM(in verifiers.Input) (raw []byte, unevaluated []string, err error) {
	r, err := tsm.Decode(in.MediaType, in.Evidence)
	if err != nil {
		return nil, nil, err
	}
	if r.Provider != tsmProvider {
		return nil, nil, fmt.Errorf("TSM report is of provider %q, expected %q", r.Provider, tsmProvider)
	}
	if len(r.AuxBlob) != 0 {
		unevaluated = append(unevaluated, "tsm_auxblob")
	}
	if r.ServiceProvider != "" {
		unevaluated = append(unevaluated, "tsm_service_provider")
	}
	if len(r.ManifestBlob) != 0 {
		unevaluated = append(unevaluated, "tsm_manifestblob")
	}
	return r.OutBlob, unevaluated, nil
}

var errProfile = errors.New("unknown profile")

// parse reads a whole token.
func parse(d *armtoken.Decoder, raw []byte) (*token, error) {
	t := &token{}
	members, err := collection(d, raw, &t.tag)
	if err != nil {
		return nil, err
	}
	if t.platform.message, err = d.Sign1(members[0]); err != nil {
		return nil, fmt.Errorf("platform token: %w", err)
	}
	if t.realm.message, err = d.Sign1(members[1]); err != nil {
		return nil, fmt.Errorf("realm token: %w", err)
	}
	if err := t.platform.read(d); err != nil {
		return nil, fmt.Errorf("platform token: %w", err)
	}
	if err := t.realm.read(d); err != nil {
		return nil, fmt.Errorf("realm token: %w", err)
	}
	return t, nil
}

// collection splits the collection into platform and realm token.
func collection(d *armtoken.Decoder, raw []byte, tag *uint64) (members [2][]byte, err error) {
	var outer cbor.RawTag
	if len(raw) == 0 || raw[0]>>5 != 6 {
		return members, fmt.Errorf("no CBOR tag %d or %d", tagCollection, tagCMW)
	}
	if err := d.Item(raw, &outer); err != nil {
		return members, err
	}
	if *tag = outer.Number; *tag != tagCollection && *tag != tagCMW {
		return members, fmt.Errorf("CBOR tag %d, expected %d or %d", *tag, tagCollection, tagCMW)
	}
	m, err := d.Map(outer.Content)
	if err != nil {
		return members, err
	}
	if len(m) != 2 || m[labelPlatform] == nil || m[labelRealm] == nil {
		return members, fmt.Errorf("collection of %d members, expected exactly platform token (%d) and realm token (%d)", len(m), labelPlatform, labelRealm)
	}
	for i, label := range []int64{labelPlatform, labelRealm} {
		item := []byte(m[label])
		if *tag == tagCMW {
			if item, err = record(d, item); err != nil {
				return members, fmt.Errorf("member %d: %w", label, err)
			}
		}
		if item[0]>>5 != 2 {
			return members, fmt.Errorf("member %d is not a byte string", label)
		}
		if err := d.Item(item, &members[i]); err != nil {
			return members, fmt.Errorf("member %d: %w", label, err)
		}
	}
	return members, nil
}

// record takes the value out of a CMW record: type and value, no indicator.
func record(d *armtoken.Decoder, raw []byte) ([]byte, error) {
	var parts []cbor.RawMessage
	if raw[0]>>5 != 4 || d.Item(raw, &parts) != nil || len(parts) != 2 {
		return nil, errors.New("not a CMW record of type and value")
	}
	var format any
	if err := d.Item(parts[0], &format); err != nil {
		return nil, err
	}
	if format != uint64(formatEATCWT) && format != typeEATCWT {
		return nil, fmt.Errorf("CMW record of type %s, expected %d (%s)", short(fmt.Sprint(format)), formatEATCWT, typeEATCWT)
	}
	return parts[1], nil
}

func short(s string) string { return s[:min(64, len(s))] }

// read reads the claims of the platform.
func (p *platform) read(d *armtoken.Decoder) error {
	c := d.Claims(p.message.Payload)
	p.profile = c.Text(claimProfile, "profile", true)
	if c.Err() == nil && p.profile != platformProfileLegacy && p.profile != platformProfile {
		return fmt.Errorf("%w %.64q", errProfile, p.profile)
	}
	p.challenge = c.Bytes(claimNonce, "challenge", armtoken.HashSizes()...)
	p.implementation = c.Bytes(claimImplementation, "implementation id", 32)
	p.instance = c.Instance(claimInstance)
	p.config = c.Bytes(claimConfig, "platform config")
	if len(p.config) == 0 || len(p.config) > maxConfig {
		c.Fail("platform config has %d bytes, not 1 to %d", len(p.config), maxConfig)
	}
	p.lifecycle = armtoken.Lifecycle(c.Uint(claimLifecycle, "lifecycle", true, 0xffff))
	p.components = c.Components(claimComponents, true)
	p.service = c.Text(claimService, "verification service", false)
	p.hash = c.Text(claimHash, "hash algorithm", true)
	p.unread = c.Unread()
	if c.Err() != nil {
		return c.Err()
	}
	return hashName("hash algorithm", p.hash)
}

// read reads the claims of the realm.
func (r *realm) read(d *armtoken.Decoder) error {
	c := d.Claims(r.message.Payload)
	r.profile = c.Text(claimProfile, "profile", false)
	if c.Err() == nil && r.profile != "" && r.profile != realmProfile {
		return fmt.Errorf("%w %.64q", errProfile, r.profile)
	}
	r.challenge = c.Bytes(claimNonce, "challenge", challengeSize)
	r.rpv = c.Bytes(claimRPV, "personalization value", rpvSize)
	r.rim = c.Bytes(claimRIM, "initial measurement", armtoken.HashSizes()...)
	r.rem = c.List(claimREM, "extensible measurements")
	if c.Err() == nil && len(r.rem) != remCount {
		c.Fail("%d extensible measurements, expected %d", len(r.rem), remCount)
	}
	for i, m := range r.rem {
		if len(m) != len(r.rim) {
			c.Fail("extensible measurement %d has %d bytes, the initial one %d", i, len(m), len(r.rim))
		}
	}
	r.hash = c.Text(claimRealmHash, "hash algorithm", true)
	r.rakHash = c.Text(claimRAKHash, "public key hash algorithm", true)
	r.rawRAK = c.Bytes(claimRAK, "public key")
	r.unread = c.Unread()
	if c.Err() != nil {
		return c.Err()
	}
	if err := errors.Join(hashName("hash algorithm", r.hash), hashName("public key hash algorithm", r.rakHash)); err != nil {
		return err
	}
	var err error
	if r.profile == "" {
		r.rak, err = armtoken.RawPoint(r.rawRAK)
	} else {
		r.rak, err = d.COSEKey(r.rawRAK)
	}
	if err != nil {
		return fmt.Errorf("claim %d (public key): %w", claimRAK, err)
	}
	return nil
}

// hashName refuses what is weaker than SHA-256, or not SHA-2: the token chooses
// its hash algorithms itself.
func hashName(what, name string) error {
	switch corim.Algorithm(strings.ToLower(name)) {
	case corim.SHA256, corim.SHA384, corim.SHA512:
		return nil
	}
	return fmt.Errorf("%s %.32q, expected sha-256, sha-384 or sha-512: %w", what, name, armtoken.ErrAlgorithm)
}
