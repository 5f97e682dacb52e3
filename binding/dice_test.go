// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"testing"

	"github.com/assize/assize/verdict"
)

// TestKeyChain: layers of one device are joined by the keys of that device, as all
// verifiers found them; nothing else is.
func TestKeyChain(t *testing.T) {
	of := func(label, signer string, chain ...string) verdict.Component {
		return partWith(t, label, "device", "same", isFresh, func(a *verdict.Appraisal) {
			a.Facts.SignerSPKI, a.Facts.ChainKeys = signer, chain
		})
	}
	foreign := func(c verdict.Component) verdict.Component { c.Scheme = "another"; return c }
	a, b, c := spki("aa"), spki("bb"), spki("cc")
	for _, x := range []struct {
		name, edges string
		parts       []verdict.Component
	}{
		{"the parent signed too", "nic:rot:key-chain:strong:bound", []verdict.Component{of("nic", b, a), of("rot", a)}},
		{"the parent stands first", "nic:a:key-chain:strong:bound", []verdict.Component{of("a", a), of("nic", b, a)}},
		{"both below one device", "f0:f1:key-chain:strong:bound", []verdict.Component{of("f0", b, a), of("f1", c, a)}},
		{"strangers", "", []verdict.Component{of("f0", b, a), of("f1", c, spki("dd"))}},
		{"another signer", "", []verdict.Component{of("nic", b, a), of("rot", c)}},
		{"no chain", "", []verdict.Component{of("nic", b), of("rot", a)}},
		{"nobody says who signed", "", []verdict.Component{of("nic", b, a), of("rot", "")}},
		{"one of two verifiers found the key", "", []verdict.Component{together(of("nic", b, a), of("nic", b)), of("rot", a)}},
		{"both found it", "nic:rot:key-chain:strong:bound", []verdict.Component{together(of("nic", b, a), of("nic", b, c, a)), of("rot", a)}},
		{"the parent is of another scheme", "", []verdict.Component{of("nic", b, a), foreign(of("rot", a))}},
		{"both below one device, by another scheme", "", []verdict.Component{of("f0", b, a), foreign(of("f1", c, a))}},
		{"one of two found another signer", "", []verdict.Component{of("nic", b, a), together(of("rot", a), of("rot", c))}},
	} {
		list, k := Check(Input{Components: x.parts})
		if edges(list) != x.edges || caps(k) != "warning:unbound-component" {
			t.Errorf("%s: %s | %s", x.name, edges(list), caps(k))
		}
	}
	holder := func(key string) verdict.Component {
		return partWith(t, "cpu", "cpu-tee", "same", isFresh, func(x *verdict.Appraisal) {
			x.Facts.Keys = []verdict.CommittedKey{committedTo(key, "public-key", OriginHardware)}
		})
	}
	if _, k := Check(Input{Components: []verdict.Component{holder("aa"), of("nic", b, a), of("rot", a)}}); caps(k) != "" {
		t.Errorf("a commitment to the key of the device: %s", caps(k))
	}
	if _, k := Check(Input{Components: []verdict.Component{holder("bb"), of("nic", b, a), of("rot", a)}}); caps(k) != "" {
		t.Errorf("a commitment to the key of one layer: %s", caps(k))
	}
	if _, k := Check(Input{Components: []verdict.Component{holder("cc"), of("nic", b, a), of("rot", a)}}); caps(k) != "warning:unbound-component" {
		t.Errorf("a commitment to another key: %s", caps(k))
	}
}

// TestKeysOfOthers: not only the root commits to keys; but who is bound to nothing
// vouches for nobody, and nobody vouches for who vouches for him.
func TestKeysOfOthers(t *testing.T) {
	of := func(label, class, signer string, keys ...verdict.CommittedKey) verdict.Component {
		c := partWith(t, label, class, "same", isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables] = verdict.ClaimApproved
			a.Facts.SignerSPKI, a.Facts.Keys = signer, keys
		})
		if label == "tpm" || label == "alien" {
			c.Scheme = schemeTPM
		}
		return c
	}
	cpu := of("cpu", "cpu-tee", spki("01"), committedTo("aa", "public-key", OriginHardware))
	for _, c := range []struct {
		name, edges, caps string
		parts             []verdict.Component
	}{
		{"a TPM attests the key of an application", "app:tpm:attested-key:strong:bound tpm:cpu:attested-key:strong:bound", "",
			[]verdict.Component{of("app", "", spki("bb")), cpu, of("tpm", "device", spki("aa"), committedTo("bb", "creation", OriginHardware))}},
		{"a TPM of nobody attests it", "app:tpm:attested-key:strong:bound tpm:cpu:attested-key:none:absent", "warning:unbound-component",
			[]verdict.Component{of("app", "", spki("bb")), cpu, of("tpm", "device", spki("cc"), committedTo("bb", "creation", OriginHardware))}},
		{"a stranger attests the key of what is bound", "alien:cpu:attested-key:none:absent tpm:alien:attested-key:strong:bound tpm:cpu:attested-key:strong:bound", "warning:unbound-component",
			[]verdict.Component{of("alien", "device", spki("ee"), committedTo("aa", "creation", OriginHardware)), cpu, of("tpm", "device", spki("aa"))}},
		{"a GPU attests the key of an application", "gpu:cpu:attested-key:strong:bound", "warning:unbound-component",
			[]verdict.Component{of("app", "", spki("bb")), cpu, of("gpu", "device", spki("aa"), committedTo("bb", "creation", OriginHardware))}},
		{"a stranger attests the key of the root", "alien:cpu:attested-key:none:absent", "warning:unbound-component",
			[]verdict.Component{of("alien", "device", spki("ee"), committedTo("01", "creation", OriginHardware)), cpu}},
	} {
		list, k := Check(Input{Components: c.parts})
		if got := edges(ofKind(list, KindAttestedKey)); got != c.edges || caps(k) != c.caps {
			t.Errorf("%s: %s | %s", c.name, got, caps(k))
		}
	}
}
