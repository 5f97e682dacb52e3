// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/attester/internal/cwt"
)

// MediaType is the media type of what Evidence returns.
const MediaType = `application/eat-collection; profile="http://arm.com/CCA-SSD/1.0.0"`

// TypeTSMReport is the media type of what TSMReport returns.
const TypeTSMReport = "application/vnd.veraison.tsm-report+json"

// Labels and values of DEN0137.
const (
	tagCollection = 399
	tagRecords    = 907
	labelPlatform = 44234
	labelRealm    = 44241
	formatEATCWT  = 263

	lifecycleSecured = 0x3000
	lifecycleDebug   = 0x5000
)

// boot makes the platform token, which vouches for the realm manager's key.
func (d *Device) boot() error {
	point, err := d.rak.PublicKey.Bytes()
	if err != nil {
		return fmt.Errorf("armcca: %w", err)
	}
	if d.rawRAK = point; !d.o.Legacy {
		if d.rawRAK, err = cwt.Encode(map[int64]any{1: 2, -1: 2, -2: point[1:49], -3: point[49:]}); err != nil {
			return err
		}
	}
	vouched := d.rawRAK
	if d.o.Unbound {
		vouched = append(slices.Clone(vouched), 0)
	}
	challenge := sha256.Sum256(vouched)
	claims := map[int64]any{
		265: "tag:arm.com,2023:cca_platform#1.0.0", 10: challenge[:], 2396: d.implementation, 256: d.instance, 2401: d.config(),
		2395: lifecycleSecured, 2399: d.software(d.o.OutdatedTCB), 2400: "https://verifier.example/", 2402: "sha-256",
	}
	if d.o.Legacy {
		claims[265] = "http://arm.com/CCA-SSD/1.0.0"
	}
	if d.o.Debug {
		claims[2395] = lifecycleDebug
	}
	key := d.iak
	if d.o.WrongSigner {
		if key, err = d.o.Device.Sub("wrong signer").ECDSA(d.iak.Curve); err != nil {
			return fmt.Errorf("armcca: wrong signer: %w", err)
		}
	}
	d.platform, err = cwt.Sign(key, claims)
	return err
}

// Evidence is the token with the challenge of 64 bytes: a leaf of type MediaType.
func (d *Device) Evidence(challenge []byte) ([]byte, error) {
	if len(challenge) != ChallengeSize {
		return nil, fmt.Errorf("armcca: challenge has %d bytes, not %d", len(challenge), ChallengeSize)
	}
	rem := d.rem
	if d.o.Measurement {
		rem[0] = slices.Clone(rem[0])
		rem[0][0] ^= 1
	}
	claims := map[int64]any{
		10: challenge, 44235: d.rpv, 44238: d.rim, 44239: rem[:], 44236: "sha-512", 44237: d.rawRAK, 44240: "sha-256",
	}
	if !d.o.Legacy {
		claims[265] = "tag:arm.com,2023:realm#1.0.0"
	}
	realm, err := cwt.Sign(d.rak, claims)
	if err != nil {
		return nil, err
	}
	if d.o.Form == Records {
		return cwt.Encode(cbor.Tag{Number: tagRecords, Content: map[int64]any{
			labelPlatform: []any{formatEATCWT, d.platform}, labelRealm: []any{formatEATCWT, realm},
		}})
	}
	return cwt.Encode(cbor.Tag{Number: tagCollection, Content: map[int64]any{labelPlatform: d.platform, labelRealm: realm}})
}

// TSMReport is the same as a configfs-TSM report: a leaf of type TypeTSMReport.
// The provider ends in the newline that the kernel writes.
func (d *Device) TSMReport(challenge []byte) ([]byte, error) {
	raw, err := d.Evidence(challenge)
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(struct {
		OutBlob  string `json:"outblob"`
		Provider string `json:"provider"`
	}{base64.RawURLEncoding.EncodeToString(raw), "arm_cca_guest\n"})
	if err != nil {
		return nil, fmt.Errorf("armcca: %w", err)
	}
	return out, nil
}
