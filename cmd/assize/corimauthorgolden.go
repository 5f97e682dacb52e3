// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/inteltdx"
	"github.com/assize/assize/verifiers/nvidiagpu"
	"github.com/assize/assize/verifiers/nvidianvswitch"
)

// selection is what goes into reference values, by measurement key.
type selection struct {
	with, without []string
	used          map[string]bool
}

// takes tells whether a key is wanted, usual or not.
func (s *selection) takes(key string, usual bool) bool {
	for _, list := range [][]string{s.with, s.without} {
		if slices.Contains(list, key) {
			s.used[key] = true
		}
	}
	return !slices.Contains(s.without, key) && (usual || slices.Contains(s.with, key))
}

// unused are keys that were asked for or left out, and that no component has.
func (s *selection) unused() []string {
	var out []string
	for _, key := range append(slices.Clone(s.with), s.without...) {
		if !s.used[key] {
			out = append(out, key)
		}
	}
	return out
}

// errNoTemplate: it is not known which claims of a scheme are measurements.
var errNoTemplate = errors.New("no template is known for this scheme yet")

// goldenTriple makes reference values of what a verifier found in evidence whose
// signature holds: in the environment that it looked up first, under the keys by
// which it compares.
func goldenTriple(scheme string, a verdict.Appraisal, s *selection) (corim.ValueTriple, error) {
	var out corim.ValueTriple
	if len(a.Facts.Environments) == 0 {
		return out, errors.New("the verifier names no environment")
	}
	raw, err := base64.RawURLEncoding.DecodeString(a.Facts.Environments[0])
	if err == nil {
		out.Environment, err = corim.ParseEnvironment(raw)
	}
	if err != nil {
		return out, err
	}
	switch scheme {
	case inteltdx.Name:
		out.Measurements, err = tdxValues(a.Claims, s)
	case nvidiagpu.Name, nvidianvswitch.Name:
		out.Measurements, err = nvidiaValues(a.Claims, s)
	default:
		return out, errNoTemplate
	}
	if err == nil && len(out.Measurements) == 0 {
		err = errors.New("nothing that was measured is left")
	}
	return out, err
}

// hexClaim reads a claim that is hexadecimal digits.
func hexClaim(claims map[string]any, name string) ([]byte, error) {
	text, ok := claims[name].(string)
	if !ok {
		return nil, fmt.Errorf("the verifier shows no %s", name)
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("what the verifier shows as %s is not hexadecimal", name)
	}
	return b, nil
}

func isZero(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }

func digestValue(b []byte) corim.Values {
	return corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: b}}}
}

// tdxRegisters is the number of RTMRs, of which the last one is for run time.
const tdxRegisters = 4

// tdxValues are MRTD, RTMR0 to RTMR2, attributes, XFAM, and what the owner chose.
// RTMR3 goes with them if something was measured into it. The TDX module is left
// to Intel's collateral, and the report data to the challenge, unless wanted.
func tdxValues(claims map[string]any, s *selection) ([]corim.Measurement, error) {
	attributes, _ := claims["td_attributes"].(map[string]any)
	var out []corim.Measurement
	for _, f := range []struct {
		key    string
		claims map[string]any
		claim  string
		digest bool
		usual  bool
		chosen bool // zero says that nothing was chosen
	}{
		{"mrtd", claims, "mrtd", true, true, false},
		{"tdattributes", attributes, "hex", false, true, false},
		{"xfam", claims, "xfam", false, true, false},
		{"mrconfigid", claims, "mrconfigid", false, true, true},
		{"mrowner", claims, "mrowner", false, true, true},
		{"mrownerconfig", claims, "mrownerconfig", false, true, true},
		{"mrseam", claims, "mrseam", true, false, false},
		{"mrsignerseam", claims, "mrsignerseam", false, false, false},
		{"reportdata", claims, "report_data", false, false, false},
	} {
		b, err := hexClaim(f.claims, f.claim)
		if err != nil {
			return nil, err
		}
		if !s.takes(f.key, f.usual && !(f.chosen && isZero(b))) {
			continue
		}
		m := corim.Measurement{Key: corim.TextKey(f.key), Value: corim.Values{Raw: &corim.RawValue{Tag: corim.TagBytes, Value: b}}}
		if f.digest {
			m.Value = digestValue(b)
		}
		out = append(out, m)
	}
	var bank []corim.Register
	for i := range uint64(tdxRegisters) {
		name := fmt.Sprintf("rtmr%d", i)
		b, err := hexClaim(claims, name)
		if err != nil {
			return nil, err
		}
		if s.takes(name, i != tdxRegisters-1 || !isZero(b)) {
			bank = append(bank, corim.Register{ID: corim.NumberKey(i), Digests: digestValue(b).Digests})
		}
	}
	if bank != nil {
		out = append(out, corim.Measurement{Value: corim.Values{Registers: bank}})
	}
	return out, nil
}

// nvidiaValues are all measurements that are not zero, by NVIDIA's index.
func nvidiaValues(claims map[string]any, s *selection) ([]corim.Measurement, error) {
	all, ok := claims["measurements"].(map[string]any)
	if !ok {
		return nil, errors.New("the verifier shows no measurements")
	}
	var indices []uint64
	for name := range maps.Keys(all) {
		n, err := strconv.ParseUint(name, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("measurement index %q: %w", name, err)
		}
		indices = append(indices, n)
	}
	slices.Sort(indices)
	var out []corim.Measurement
	for _, n := range indices {
		b, err := hexClaim(all, strconv.FormatUint(n, 10))
		if err != nil {
			return nil, err
		}
		if !s.takes(strconv.FormatUint(n, 10), true) {
			continue
		}
		m := corim.Measurement{Key: corim.NumberKey(n), Value: digestValue(b)}
		if len(b) != corim.SHA384.Size() {
			m.Value = corim.Values{Raw: &corim.RawValue{Tag: corim.TagBytes, Value: b}}
		}
		out = append(out, m)
	}
	return out, nil
}
