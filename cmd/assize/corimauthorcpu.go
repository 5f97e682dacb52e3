// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/assize/assize/corim"
)

// value is one field that may go into reference values: by which key people name
// it, and what it is.
type value struct {
	name  string
	key   corim.Key
	value corim.Values
	usual bool
}

// chosen are the measurements that are wanted of a list of fields.
func chosen(s *selection, list []value) []corim.Measurement {
	var out []corim.Measurement
	for _, v := range list {
		if s.takes(v.name, v.usual) {
			out = append(out, corim.Measurement{Key: v.key, Value: v.value})
		}
	}
	return out
}

func rawOf(b []byte) corim.Values {
	return corim.Values{Raw: &corim.RawValue{Tag: corim.TagBytes, Value: b}}
}

func leastSVN(n uint64) corim.Values { return corim.Values{SVN: &corim.SVN{Value: n, Minimum: true}} }

// digestOf is a digest by an algorithm of SHA-2, which follows from its size.
func digestOf(b []byte) (corim.Values, error) {
	for _, alg := range []corim.Algorithm{corim.SHA256, corim.SHA384, corim.SHA512} {
		if alg.Size() == len(b) {
			return corim.Values{Digests: []corim.Digest{{Alg: alg, Value: b}}}, nil
		}
	}
	return corim.Values{}, fmt.Errorf("a measurement has %d bytes, which no digest of SHA-2 has", len(b))
}

// part is a claim that is an object.
func part(claims map[string]any, name string) map[string]any {
	m, _ := claims[name].(map[string]any)
	return m
}

// numberClaim reads a claim that is a number that is not negative.
func numberClaim(claims map[string]any, name string) (uint64, error) {
	switch n := claims[name].(type) {
	case int:
		if n >= 0 {
			return uint64(n), nil
		}
	case int64:
		if n >= 0 {
			return uint64(n), nil
		}
	}
	return 0, fmt.Errorf("the verifier shows no number %s", name)
}

// snpValues are MEASUREMENT, guest policy, VMPL, and what owner and host chose if
// it is not zero. REPORTED_TCB is a least one and, as the platform, left to the
// policy of the scheme unless wanted.
func snpValues(claims map[string]any, s *selection) ([]corim.Measurement, error) {
	var out []value
	for _, f := range []struct {
		name   string
		key    uint64
		claims map[string]any
		claim  string
		form   string
		usual  string // "always", "set" (if it is not zero), or ""
	}{
		{"measurement", 641, claims, "measurement", "digest", "always"},
		{"policy", 2, part(claims, "policy"), "hex", "reversed", "always"},
		{"family-id", 3, claims, "family_id", "", "set"},
		{"image-id", 4, claims, "image_id", "", "set"},
		{"host-data", 642, claims, "host_data", "", "set"},
		{"id-key-digest", 643, claims, "id_key_digest", "digest", "set"},
		{"author-key-digest", 644, claims, "author_key_digest", "digest", "set"},
		{"reported-tcb", 647, part(part(claims, "tcb"), "reported"), "hex", "least", ""},
		{"platform-info", 7, part(claims, "platform_info"), "hex", "reversed", ""},
		{"report-data", 640, claims, "report_data", "", ""},
	} {
		b, err := hexClaim(f.claims, f.claim)
		if err != nil {
			return nil, err
		}
		v := rawOf(b)
		switch f.form {
		case "digest":
			v, err = digestOf(b)
		case "reversed": // shown as a number, and in the report little-endian
			slices.Reverse(b)
		case "least":
			if len(b) != 8 {
				return nil, fmt.Errorf("TCB has %d bytes, not 8", len(b))
			}
			v = leastSVN(binary.LittleEndian.Uint64(b))
		}
		if err != nil {
			return nil, err
		}
		out = append(out, value{f.name, corim.NumberKey(f.key), v, f.usual == "always" || f.usual == "set" && !isZero(b)})
	}
	for _, f := range []struct {
		name  string
		key   uint64
		usual func(uint64) bool
		value func(uint64) corim.Values
	}{
		{"vmpl", 5, func(uint64) bool { return true }, func(n uint64) corim.Values { return rawOf(binary.LittleEndian.AppendUint32(nil, uint32(n))) }},
		{"guest-svn", 1, func(n uint64) bool { return n > 0 }, leastSVN},
	} {
		n, err := numberClaim(claims, strings.ReplaceAll(f.name, "-", "_"))
		if err != nil {
			return nil, err
		}
		out = append(out, value{f.name, corim.NumberKey(f.key), f.value(n), f.usual(n)})
	}
	return chosen(s, out), nil
}

// sgxValues are MRENCLAVE, MRSIGNER, ISVPRODID, at least this ISVSVN, attributes,
// and what was chosen under key separation and sharing if it is not zero. Without
// mrenclave they are of every release of the product.
func sgxValues(claims map[string]any, s *selection) ([]corim.Measurement, error) {
	var out []value
	for _, f := range []struct {
		name   string
		claims map[string]any
		claim  string
		digest bool
		kss    bool
	}{
		{"mrenclave", claims, "mrenclave", true, false},
		{"mrsigner", claims, "mrsigner", true, false},
		{"attributes", part(claims, "attributes"), "hex", false, false},
		{"miscselect", claims, "miscselect", false, false},
		{"configid", claims, "configid", false, true},
		{"isvextprodid", claims, "isvextprodid", false, true},
		{"isvfamilyid", claims, "isvfamilyid", false, true},
	} {
		if _, there := f.claims[f.claim]; f.kss && !there {
			continue
		}
		b, err := hexClaim(f.claims, f.claim)
		if err != nil {
			return nil, err
		}
		v := rawOf(b)
		if f.digest {
			if v, err = digestOf(b); err != nil {
				return nil, err
			}
		}
		out = append(out, value{f.name, corim.TextKey(f.name), v, !f.kss || !isZero(b)})
	}
	for _, name := range []string{"isvprodid", "isvsvn", "configsvn"} {
		if _, there := claims[name]; name == "configsvn" && !there {
			continue
		}
		n, err := numberClaim(claims, name)
		if err != nil {
			return nil, err
		}
		v := leastSVN(n)
		if name == "isvprodid" {
			v = rawOf(binary.LittleEndian.AppendUint16(nil, uint16(n)))
		}
		out = append(out, value{name, corim.TextKey(name), v, name != "configsvn" || n != 0})
	}
	return chosen(s, out), nil
}

// components are the software components of an Arm token, each with its digest and
// signer, and with type and version where the token has them.
func components(list any, key string, s *selection) ([]corim.Measurement, error) {
	all, ok := list.([]any)
	if !ok {
		return nil, errors.New("the verifier shows no software")
	}
	var out []corim.Measurement
	for i, item := range all {
		c, _ := item.(map[string]any)
		digest, err := hexClaim(c, "measurement_value")
		if err != nil {
			return nil, fmt.Errorf("component %d: %w", i, err)
		}
		signer, err := hexClaim(c, "signer_id")
		if err != nil {
			return nil, fmt.Errorf("component %d: %w", i, err)
		}
		v, err := digestOf(digest)
		if err != nil {
			return nil, fmt.Errorf("component %d: %w", i, err)
		}
		v.Keys = []corim.Typed{corim.TaggedBytes(corim.TagBytes, signer)}
		if name, ok := c["measurement_type"].(string); ok {
			v.Name = &name
		}
		if text, ok := c["version"].(string); ok {
			v.Version = &corim.Version{Text: text}
		}
		out = append(out, corim.Measurement{Key: corim.TextKey(key), Value: v})
	}
	if !s.takes(key, true) {
		return nil, nil
	}
	return out, nil
}

func psaValues(claims map[string]any, s *selection) ([]corim.Measurement, error) {
	return components(claims["software"], "psa.software-component", s)
}

// ccaPlatformValues are the software of the platform and its configuration, which
// its vendor states.
func ccaPlatformValues(claims map[string]any, s *selection) ([]corim.Measurement, error) {
	platform := part(claims, "platform")
	out, err := components(platform["software"], "cca.software-component", s)
	if err != nil {
		return nil, err
	}
	config, err := hexClaim(platform, "config")
	if err != nil {
		return nil, err
	}
	return append(out, chosen(s, []value{{"cca.platform-config", corim.TextKey("cca.platform-config"), rawOf(config), true}})...), nil
}

// ccaRealmValues are the initial measurement of the realm, its extensible ones and
// the personalization value, which its owner states: of these the ones that are
// not zero.
func ccaRealmValues(claims map[string]any, s *selection) ([]corim.Measurement, error) {
	realm := part(claims, "realm")
	var out []value
	for _, name := range []string{"rim", "rem0", "rem1", "rem2", "rem3"} {
		b, err := hexClaim(realm, name)
		if err != nil {
			return nil, err
		}
		v, err := digestOf(b)
		if err != nil {
			return nil, err
		}
		out = append(out, value{"cca." + name, corim.TextKey("cca." + name), v, name == "rim" || !isZero(b)})
	}
	rpv, err := hexClaim(realm, "rpv")
	if err != nil {
		return nil, err
	}
	return chosen(s, append(out, value{"cca.rpv", corim.TextKey("cca.rpv"), rawOf(rpv), !isZero(rpv)})), nil
}

// nitroRegister tells which PCRs of an enclave are its image, and who signed it.
// PCR3 and PCR4 are of one role and one parent instance, and zero in some places.
func nitroRegister(pcr int, zero bool) bool { return pcr <= 2 || pcr == 8 && !zero }

// bootRegister tells which PCRs of a boot have to be proven for executables and
// configuration. The others change with the hardware, with the disk, or at run time.
func bootRegister(pcr int, zero bool) bool {
	return slices.Contains([]int{0, 2, 4, 7}, pcr) || !zero && slices.Contains([]int{8, 9, 11, 12, 13, 14}, pcr)
}

// registerValues are registers "pcr<n>" as one bank.
func registerValues(registers map[string]string, usual func(pcr int, zero bool) bool, s *selection) ([]corim.Measurement, error) {
	all := map[int][]byte{}
	for name, text := range registers {
		number, ok := strings.CutPrefix(name, "pcr")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("register %q: %w", name, err)
		}
		if all[int(n)], err = hex.DecodeString(text); err != nil {
			return nil, fmt.Errorf("register %q: %w", name, err)
		}
	}
	var bank []corim.Register
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if !s.takes("pcr"+strconv.Itoa(n), usual(n, isZero(all[n]))) {
			continue
		}
		v, err := digestOf(all[n])
		if err != nil {
			return nil, err
		}
		bank = append(bank, corim.Register{ID: corim.NumberKey(uint64(n)), Digests: v.Digests})
	}
	if bank == nil {
		return nil, nil
	}
	return []corim.Measurement{{Value: corim.Values{Registers: bank}}}, nil
}
