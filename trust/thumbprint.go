// SPDX-License-Identifier: Apache-2.0

package trust

// Thumbprint is the SHA-256 thumbprint of the public key (RFC 7638) in
// base64url without padding, 43 characters. Unlike KID, which a key file may
// choose, it names the key itself.
func (k Key) Thumbprint() (string, error) { return thumbprint(k.Public) }
