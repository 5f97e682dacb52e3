// SPDX-License-Identifier: Apache-2.0

package rim

// ReadContent reads canonical octets as if they were signed.
func ReadContent(octets []byte) (*Manifest, error) { return readContent(octets) }
