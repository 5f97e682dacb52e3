// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"errors"
	"fmt"
	"time"

	"github.com/assize/assize/attester/pki"
)

// MediaType is the media type of Evidence.
const MediaType = "application/vnd.assize.nitro-document"

// Sizes in bytes.
const (
	// MaxField is the longest nonce, user data and public key.
	MaxField = 1024
	// RegisterSize is the size of a PCR: documents use SHA-384.
	RegisterSize = 48

	registers = 16
)

// Options describe one enclave. Vendor, Device and Now are mandatory; every
// other zero value is an honest enclave.
type Options struct {
	// Vendor is the seed of root, region and zone: enclaves with one vendor run
	// in one zone.
	Vendor pki.Seed
	// Device is the seed of the instance and of the enclave on it.
	Device pki.Seed
	// Now is when documents are made, between 2020 and 2048.
	Now time.Time

	// Image names what the enclave was started from. Enclaves of one image have
	// the same PCR0, PCR1, PCR2 and PCR8, whatever instance they run on.
	Image string
	// Unsigned leaves PCR8 zero: nobody signed the image.
	Unsigned bool
	// UserData and PublicKey are what the application puts beside the nonce, at
	// most 1024 bytes each; nil: null, as in documents without.
	UserData, PublicKey []byte

	// Debug starts the enclave in debug mode: PCR0, PCR1 and PCR2 are zero.
	Debug bool
	// Revoked puts the certificate of the zone on the region's revocation list.
	Revoked bool
	// Expired signs with a key whose certificate ended an hour before Now.
	Expired bool
	// WrongSigner signs with a key that the certificate does not name.
	WrongSigner bool
	// Measurement flips the lowest bit of the first byte of PCR2.
	Measurement bool
}

func (o *Options) check() error {
	switch {
	case o.Now.Year() < 2020 || o.Now.Year() > 2048:
		return fmt.Errorf("awsnitro: simulated time %s is not between 2020 and 2048", o.Now.UTC().Format(time.RFC3339))
	case len(o.UserData) > MaxField, len(o.PublicKey) > MaxField:
		return errors.New("awsnitro: user data and public key have at most 1024 bytes")
	}
	return nil
}
