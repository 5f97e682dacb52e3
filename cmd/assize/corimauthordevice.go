// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assize/assize/corim"
)

// spdmValues are the measurement blocks of a PCIe device under their index: digests
// of ROM, firmware, configurations and what was loaded, versions, and at least these
// security version numbers. Manifests and other information may be one device's
// own. The device mode is for the policy of the scheme, and the interface report is
// under no signature.
func spdmValues(claims map[string]any, s *selection) ([]corim.Measurement, error) {
	all := part(claims, "measurements")
	hash, _ := part(claims, "connection")["measurement_hash"].(string)
	if len(all) == 0 {
		return nil, errors.New("the verifier shows no measurements")
	}
	var list []value
	var indices []int
	for name := range all {
		n, err := strconv.ParseUint(name, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("measurement index %q: %w", name, err)
		}
		indices = append(indices, int(n))
	}
	slices.Sort(indices)
	for _, n := range indices {
		name := strconv.Itoa(n)
		block := part(all, name)
		v := value{name: name, key: corim.NumberKey(uint64(n)), usual: true}
		switch block["type"] {
		case "device-mode":
			continue
		case "manifest", "structured-manifest", "informational":
			v.usual = false
		}
		if text, ok := block["svn"].(string); ok {
			least, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("measurement %s: %w", name, err)
			}
			v.value = leastSVN(least)
			list = append(list, v)
			continue
		}
		b, err := hexClaim(block, "digest")
		if err != nil {
			return nil, fmt.Errorf("measurement %s: %w", name, err)
		}
		if !strings.HasPrefix(hash, "SHA-") { // of SHA-2; others have digests of the same size
			return nil, fmt.Errorf("measurement %s: no reference value is made of digests by %q", name, hash)
		}
		if v.value, err = digestOf(b); err != nil {
			return nil, fmt.Errorf("measurement %s: %w", name, err)
		}
		list = append(list, v)
	}
	return chosen(s, list), nil
}
