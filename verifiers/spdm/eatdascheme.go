// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/x509"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verifiers/spdm/eatda"
)

// tokenTypes are the media types of Device Assignment Tokens. The base types
// alone are those of any EAT, so the profile belongs to the patterns.
func tokenTypes() []evidence.MediaType {
	profile := map[string]string{eatda.ParamProfile: eatda.Profile}
	return []evidence.MediaType{{Base: eatda.TypeCWT, Params: profile}, {Base: eatda.TypeUCS, Params: profile}}
}

// isToken tells tokens, which hold several devices, from containers of one.
func isToken(mt evidence.MediaType) bool { return mt.Base == eatda.TypeCWT || mt.Base == eatda.TypeUCS }

// splitToken makes one component of each device of a token.
func splitToken(mt evidence.MediaType, raw []byte) ([][]byte, error) {
	return eatda.Split(mt.Base, raw)
}

// takesDevice leaves devices to nobody that this scheme can say nothing about: a
// verdict would have to be better or worse than none, and none is what there is.
func takesDevice(_ evidence.MediaType, part []byte) error {
	t, err := eatda.Decode(part)
	if err != nil || len(t.Devices) != 1 {
		return nil // Appraise says what is wrong
	}
	d := &t.Devices[0]
	switch {
	case d.Legacy != nil:
		return fmt.Errorf("device %.128q has no SPDM and proves nothing about itself", d.Name)
	case eatda.RuleOf(d.Err) == eatda.RuleNamespace:
		return fmt.Errorf("device %.128q: unknown-namespace: neither %s nor %s", d.Name, eatda.NamespaceSPDM, eatda.NamespaceLegacy)
	}
	return nil
}

// read takes a component out of the container that it came in.
func (v *verifier) read(mt evidence.MediaType, raw []byte) subject {
	if isToken(mt) {
		return v.readToken(raw)
	}
	return read(mt, raw)
}

// readToken takes the device out of a component, a token of one device. Whether
// somebody signed the token it is from makes no difference (decision D-79).
func (v *verifier) readToken(raw []byte) subject {
	s := subject{container: eatda.Profile}
	roots := make([]*x509.Certificate, len(v.anchors))
	for i, a := range v.anchors {
		roots[i] = a.Certificate
	}
	all, err := ConvertToken(raw, eatda.Options{Ranges: v.params.Interface.RangeArrays}, roots...)
	switch {
	case err != nil:
		s.err = err
	case len(all) != 1:
		s.err = refuse(StageContainer, KindMalformed, "token", "%d devices in one component", len(all))
	default:
		d := all[0]
		s.err, s.evidence, s.defects = d.Err, d.Evidence, d.defects()
		if d.Evidence != nil {
			s.name = d.Evidence.Device
		}
		s.restated = func(*Result) []string { return d.Contradictions }
	}
	return s
}
