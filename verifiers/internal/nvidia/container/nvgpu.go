// SPDX-License-Identifier: Apache-2.0

package container

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// What the client of Intel Trust Authority collects (trustauthority-client-for-go,
// go-nvgpu), as it is or as the only member nvgpu of an object:
//
//	{"gpu_nonce": "<64 hex digits>", "arch": "hopper",
//	 "verifier_nonce": {"val": b64, "iat": b64, "signature": b64},
//	 "evidence_list": [{"evidence": b64, "certificate": b64, "firmware_version": "…"}]}
//
// gpu_nonce is what the devices were asked with. With verifier_nonce it is the
// SHA-256 of val and iat, else of random bytes that are not told. Whose the
// verifier_nonce is, by its signature, is for Intel's service to ask.
const (
	memberNVGPU    = "nvgpu"
	memberGPUNonce = "gpu_nonce"
	memberVerifier = "verifier_nonce"
	memberArch     = "arch"
	memberList     = "evidence_list"
	memberKey      = "nras_apikey"
)

// errCredential refuses a leaf with a service key: it would be digested,
// recorded, handed on and kept with the evidence. It cannot be dropped either,
// since everything is about the bytes as they were submitted.
var errCredential = fmt.Errorf("nvidia: member %q is a credential, which has no place in evidence: configure the collector without it", memberKey)

// splitNVGPU makes arrays of one device: architecture and nonce of all, and the
// element's own members. A device that names them again has a member twice.
func splitNVGPU(raw []byte) ([][]byte, error) {
	r := &reader{b: raw}
	members, err := r.object(memberNVGPU, memberGPUNonce, memberVerifier, memberArch, memberList, memberKey)
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if inner, ok := members[memberNVGPU]; ok {
		if len(members) != 1 {
			return nil, fmt.Errorf("nvidia: member %q beside others", memberNVGPU)
		}
		if members, err = (&reader{b: inner}).object(memberGPUNonce, memberVerifier, memberArch, memberList, memberKey); err != nil {
			return nil, err
		}
	}
	if _, ok := members[memberKey]; ok {
		return nil, errCredential
	}
	for _, name := range []string{memberGPUNonce, memberArch, memberList} {
		if members[name] == nil {
			return nil, fmt.Errorf("nvidia: no member %q", name)
		}
	}
	if err := checkGPUNonce(members[memberGPUNonce], members[memberVerifier]); err != nil {
		return nil, err
	}
	if text, err := (&reader{b: members[memberArch]}).text(); err != nil || len(text) == 0 || len(text) > maxArch {
		return nil, fmt.Errorf("nvidia: member %q is not a text of 1 to %d bytes", memberArch, maxArch)
	}
	all, err := elements(members[memberList])
	if err != nil {
		return nil, fmt.Errorf("member %q: %w", memberList, err)
	}
	head := slices.Concat([]byte(`[{"arch":`), members[memberArch], []byte(`,"nonce":`), members[memberGPUNonce])
	out := make([][]byte, len(all))
	for i, e := range all {
		out[i] = slices.Concat(head, rest(e), []byte{']'})
	}
	return out, nil
}

// rest is an object to be continued: without its brace, and behind a comma if it
// has members. What is no object becomes what no reader takes for a device.
func rest(object []byte) []byte {
	if object[0] != '{' {
		return slices.Concat([]byte(`},`), object)
	}
	r := &reader{b: object, at: 1}
	if r.peek() == '}' {
		return object[1:]
	}
	return slices.Concat([]byte{','}, object[1:])
}

// checkGPUNonce wants 64 hexadecimal digits, and the SHA-256 of val and iat where
// there are such.
func checkGPUNonce(quoted, verifier []byte) error {
	text, err := (&reader{b: quoted}).text()
	if err != nil {
		return err
	}
	nonce := make([]byte, NonceSize)
	if len(text) != 2*NonceSize {
		return fmt.Errorf("nvidia: member %q has %d characters, expected %d hexadecimal digits", memberGPUNonce, len(text), 2*NonceSize)
	}
	if _, err := hex.Decode(nonce, text); err != nil {
		return fmt.Errorf("nvidia: member %q is not hexadecimal", memberGPUNonce)
	}
	if verifier == nil {
		return nil
	}
	members, err := (&reader{b: verifier}).object("val", "iat", "signature")
	if err != nil {
		return fmt.Errorf("member %q: %w", memberVerifier, err)
	}
	var parts [3][]byte
	for i, name := range []string{"val", "iat", "signature"} {
		if members[name] == nil {
			return fmt.Errorf("nvidia: %s without %q", memberVerifier, name)
		}
		if text, err = (&reader{b: members[name]}).text(); err != nil {
			return err
		}
		if parts[i], err = decodeBase64(text, MaxReport); err != nil {
			return fmt.Errorf("nvidia: %s, member %q: %w", memberVerifier, name, err)
		}
	}
	if len(parts[0]) == 0 || len(parts[1]) == 0 {
		return nil // the client draws a nonce of its own then
	}
	want := sha256.Sum256(slices.Concat(parts[0], parts[1]))
	if subtle.ConstantTimeCompare(nonce, want[:]) != 1 {
		return errors.New("nvidia: member \"gpu_nonce\" is not the SHA-256 of val and iat in \"verifier_nonce\"")
	}
	return nil
}
