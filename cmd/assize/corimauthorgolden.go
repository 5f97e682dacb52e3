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
	"github.com/assize/assize/verifiers/amdsnp"
	"github.com/assize/assize/verifiers/armcca"
	"github.com/assize/assize/verifiers/awsnitro"
	"github.com/assize/assize/verifiers/intelsgx"
	"github.com/assize/assize/verifiers/inteltdx"
	"github.com/assize/assize/verifiers/nvidiagpu"
	"github.com/assize/assize/verifiers/nvidianvswitch"
	"github.com/assize/assize/verifiers/psa"
	"github.com/assize/assize/verifiers/spdm"
	"github.com/assize/assize/verifiers/tcgtpm"
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

// goldenTriples makes reference values of what a verifier found in evidence whose
// signature holds, under the keys by which it compares: of most components one
// triple, of those that have several authors one for each.
func goldenTriples(scheme string, a verdict.Appraisal, s *selection) ([]goldenTriple, error) {
	envs, err := environmentsOf(a)
	if err != nil {
		return nil, err
	}
	var out []goldenTriple
	one := func(profile string, e corim.Environment, list []corim.Measurement, err error) error {
		if err == nil && len(list) > 0 {
			out = append(out, goldenTriple{profile, corim.ValueTriple{Environment: e, Measurements: list}})
		}
		return err
	}
	values, known := map[string]func(map[string]any, *selection) ([]corim.Measurement, error){
		inteltdx.Name: tdxValues, nvidiagpu.Name: nvidiaValues, nvidianvswitch.Name: nvidiaValues, intelsgx.Name: sgxValues, amdsnp.Name: snpValues, psa.Name: psaValues,
		spdm.Name: spdmValues,
	}[scheme]
	switch {
	case scheme == armcca.Name && len(envs) == 2:
		list, e := ccaPlatformValues(a.Claims, s)
		if err = one(corim.ProfileCCAPlatform, anyOf(envs[0]), list, e); err == nil {
			list, e = ccaRealmValues(a.Claims, s)
			err = one(corim.ProfileCCARealm, envs[1], list, e)
		}
	case scheme == awsnitro.Name:
		list, e := registerValues(a.Facts.Registers, nitroRegister, s)
		err = one(corim.ProfileAssize, envs[0], list, e)
	case scheme == tcgtpm.Name:
		list, e := registerValues(a.Facts.Registers, bootRegister, s)
		err = one(corim.ProfileAssize, envs[0], list, e)
	case known:
		profile := map[string]string{amdsnp.Name: corim.ProfileSNP, psa.Name: corim.ProfilePSA}[scheme]
		if profile == "" {
			profile = corim.ProfileAssize
		}
		list, e := values(a.Claims, s)
		if err = one(profile, anyOf(envs[0]), list, e); err == nil && a.Claims["paravisor"] != nil {
			list, e = registerValues(a.Facts.Registers, bootRegister, s) // the guest, by its virtual TPM
			err = one(corim.ProfileAssize, envs[len(envs)-1], list, e)
		}
	default:
		return nil, errNoTemplate
	}
	if err == nil && len(out) == 0 {
		err = errors.New("nothing that was measured is left")
	}
	return out, err
}

// goldenTriple are values and the profile that their scheme has for them.
type goldenTriple struct {
	profile string
	values  corim.ValueTriple
}

// environmentsOf are the names that the verifier looked up, the first one first.
func environmentsOf(a verdict.Appraisal) ([]corim.Environment, error) {
	if len(a.Facts.Environments) == 0 {
		return nil, errors.New("the verifier names no environment")
	}
	var out []corim.Environment
	for _, name := range a.Facts.Environments {
		raw, err := base64.RawURLEncoding.DecodeString(name)
		if err != nil {
			return nil, err
		}
		e, err := corim.ParseEnvironment(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// anyOf is every device of a class: a chip or a UEID is of one machine, and its
// software of all that are like it.
func anyOf(e corim.Environment) corim.Environment { return corim.Environment{Class: e.Class} }

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
