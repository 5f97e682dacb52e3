// SPDX-License-Identifier: Apache-2.0

// Package ocsp says whether certificates of NVIDIA's chains are revoked, by
// responses of the Online Certificate Status Protocol (OCSP, RFC 6960) that
// somebody else has fetched. It has no network and no clock.
//
//	r, err := ocsp.Parse(der)                  // one response, nothing is verified yet
//	set, err := ocsp.NewSet(all)               // once per bundle
//	c := ocsp.NewChecker(1024)                 // once per verifier, remembers signatures
//	for _, s := range c.Check(set, chain, in.Time, nil, ocsp.Policy{From: ocsp.DeviceFrom, MaxAge: day}) { … }
//	ocsp.AllGood(results)                      // nothing else is good
//
// The chain, leaf first and root last, must have been verified. Every certificate
// from Policy.From up to the one below the root has a Result: good, revoked, hold,
// unknown, missing, stale or invalid, with the times and the responder behind it.
//
// # Which responses count
//
// A response is about a certificate if its CertID has the digests (SHA-1, SHA-256
// or SHA-384) of the issuer's name and key and the serial number. It is authorised
// if it was signed by the issuer itself, or by the holder of a certificate that
// the issuer signed directly, which is no CA and has the extended key usage
// id-kp-OCSPSigning (RFC 6960, section 4.2.2.2); any other usage, anyExtendedKeyUsage
// included, does not do. There are no other responders. Signatures are ECDSA on
// P-256 or P-384, or RSA (PKCS #1 v1.5) of 2048 to 8192 bits, with SHA-256 or better. Two
// readers, that of this package and golang.org/x/crypto/ocsp, must find the same in it.
//
// A response is usable if, beyond that, it has the nonce that was asked for, the
// time lies between thisUpdate and nextUpdate, it is not older than
// Policy.MaxAge, and its responder's certificate is valid at that time. One without
// nextUpdate is usable only with the nonce, or while a MaxAge holds. The
// responder's certificate must have id-pkix-ocsp-nocheck; without it, its own
// status must be good, or Policy.UncheckedResponder set. If there is a response by
// which it is revoked or on hold it counts for nothing, with nocheck or without.
//
// Of several responses:
//
//   - Revoked counts in any authorised response, also if it is out of date or has
//     another nonce: a revocation does not lapse (as with revocation lists).
//   - Hold (reason certificateHold) can be lifted. It counts like revoked, but only as
//     long as no usable response is newer.
//   - Of usable responses the newest thisUpdate decides; of two alike, the worse.
//
// NVIDIA's service says good, too, about serial numbers below a device issuer that
// it does not know; below an issuer of reference values it says unknown. Good for a
// device hence means: not listed as revoked.
//
// Files: der.go and response.go read, certid.go names certificates, set.go collects,
// verify.go decides who may answer, check.go which answer holds, request.go asks.
package ocsp
