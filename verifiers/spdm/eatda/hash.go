// SPDX-License-Identifier: Apache-2.0

package eatda

import (
	"encoding/binary"
	"strings"
)

// hashes are the algorithms of digests with a number in the Named Information
// registry (RFC 6920).
var hashes = [...]struct {
	number uint64
	name   string
	size   int
}{
	{1, "SHA-256", 32}, {7, "SHA-384", 48}, {8, "SHA-512", 64}, {10, "SHA3-256", 32}, {11, "SHA3-384", 48}, {12, "SHA3-512", 64},
}

// HashName is the algorithm of a digest in the spelling of SPDM ("SHA-384",
// "SHA3-256"), "" for a number or name that the registry of RFC 6920 does not
// have. Names are read without regard to case and dashes.
func HashName(number uint64, named string) string {
	for _, h := range hashes {
		if named == "" && h.number == number || named != "" && plain(h.name) == plain(named) {
			return h.name
		}
	}
	return ""
}

// HashNumber is the number of an algorithm by its name, 0 if it has none.
func HashNumber(name string) uint64 {
	for _, h := range hashes {
		if plain(h.name) == plain(name) {
			return h.number
		}
	}
	return 0
}

// HashSize is the length of such a digest in bytes, 0 if it is not known.
func HashSize(number uint64, named string) int {
	name := HashName(number, named)
	for _, h := range hashes {
		if h.name == name {
			return h.size
		}
	}
	return 0
}

func plain(name string) string { return strings.ToLower(strings.ReplaceAll(name, "-", "")) }

// bareDER tells a chain of certificates from the structure of SPDM, whose first
// byte is the low half of a length.
func bareDER(chain []byte) bool { return len(chain) > 1 && chain[0] == 0x30 && chain[1] >= 0x80 }

const chainHeader = 4

// der returns the certificates of a chain in either form, nil if there are none.
func der(chain []byte) []byte {
	if bareDER(chain) {
		return chain
	}
	if len(chain) < chainHeader || int(binary.LittleEndian.Uint16(chain)) != len(chain)&0xFFFF {
		return nil
	}
	for _, hash := range []int{32, 48, 64} {
		if rest := chain[min(chainHeader+hash, len(chain)):]; whole(rest) {
			return rest
		}
	}
	return nil
}

// whole tells whether b is a row of DER SEQUENCEs and nothing else.
func whole(b []byte) bool {
	for len(b) > 0 {
		n := sequence(b)
		if n == 0 {
			return false
		}
		if b = b[n:]; len(b) == 0 {
			return true
		}
	}
	return false
}

// sequence is the length of the DER SEQUENCE at the start of b, 0 if there is none.
func sequence(b []byte) int {
	if len(b) < 2 || b[0] != 0x30 {
		return 0
	}
	n, at := int(b[1]), 2
	if n >= 0x80 {
		wide := n - 0x80
		if wide < 1 || wide > 3 || len(b) < 2+wide {
			return 0
		}
		n = 0
		for _, c := range b[2 : 2+wide] {
			n = n<<8 | int(c)
		}
		at += wide
	}
	if n > len(b)-at {
		return 0
	}
	return at + n
}
