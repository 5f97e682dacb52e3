// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

func TestForged(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	raw := f.sign(content("GH100", "GPU", "96.00.5E.00.01", resource(2, value(2), value(3)), resource(0, value(0)),
		strings.Replace(resource(1, value(1)), `active="True"`, `active="False"`, 1)), nil)
	m, err := f.verifier().Verify(raw)
	if err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	want := []rim.Golden{
		{Index: 0, Name: "Measurement_0", Active: true, Values: [][]byte{unhex(value(0))}},
		{Index: 1, Name: "Measurement_1", Values: [][]byte{unhex(value(1))}},
		{Index: 2, Name: "Measurement_2", Active: true, Values: [][]byte{unhex(value(2)), unhex(value(3))}},
	}
	if !reflect.DeepEqual(m.Measurements, want) {
		t.Errorf("%+v", m.Measurements)
	}
	if m.Kind != rim.VBIOS || m.Product != "GH100" || m.Version != "96.00.5E.00.01" || m.Revision != "r1" || m.Manufacturer != "NVIDIA Corporation" ||
		m.TagID != "abc123" || m.TagVersion != 0 || m.Digest != sha256.Sum256(raw) || m.SignerSPKI != sha256.Sum256(f.chain[0].RawSubjectPublicKeyInfo) ||
		m.Root != sha256.Sum256(f.root.Raw) || m.Signer() != "Test L4" || len(m.Chain()) != 3 || !m.Issued().Equal(start) {
		t.Errorf("%+v", m)
	}
	if a, b := m.Window(); !a.Equal(start) || !b.Equal(end) {
		t.Errorf("window %s to %s", a, b)
	}
	for when, want := range map[time.Time]string{
		start: "", end: "", start.Add(-time.Second): verdict.ReasonExpired, end.Add(time.Second): verdict.ReasonExpired, {}: verdict.ReasonExpired,
	} {
		if got := code(t, m.ValidAt(when)); got != want {
			t.Errorf("at %s: %q, expected %q", when, got, want)
		}
	}
}

func TestRoots(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	good := f.sign(content("GH100", "GPU", "545.00", resource(7, value(7))), nil)
	if _, err := newVerifier(t).Verify(good); code(t, err) != verdict.ReasonUnknownRoot {
		t.Errorf("without the root: %v", err)
	}
	other := newForger(t, elliptic.P384(), nil) // its root has the same name
	if _, err := other.verifier().Verify(good); code(t, err) != verdict.ReasonUnknownRoot {
		t.Errorf("with another root of the same name: %v", err)
	}
	// The key of a trusted root alone does not make a chain.
	chain := f.chain
	f.chain = append(append([]*x509.Certificate{}, chain[:2]...), other.root)
	if _, err := other.verifier().Verify(f.sign(content("GH100", "GPU", "545.00", resource(7, value(7))), nil)); code(t, err) != verdict.ReasonChainInvalid {
		t.Errorf("chain to another root: %v", err)
	}
	// Of the root in the document only the key counts: ours is used.
	rootKey := newKey(t, elliptic.P384())
	late := authority("Test Root")
	late.NotBefore, late.NotAfter = start, end.AddDate(50, 0, 0)
	f.chain = []*x509.Certificate{chain[0], chain[1], issue(t, late, f.root.PublicKey, authority("Test Root"), rootKey)}
	m, err := f.verifier().Verify(f.sign(content("GH100", "GPU", "545.00", resource(7, value(7))), nil))
	if err != nil || m.Root != sha256.Sum256(f.root.Raw) || m.ValidAt(end.Add(time.Second)) == nil {
		t.Errorf("root of the document believed: %v %+v", err, m)
	}
	for _, bad := range []*x509.Certificate{nil, chain[0]} {
		if _, err := rim.New([]*x509.Certificate{bad}); err == nil {
			t.Error("an extra root that is none was accepted")
		}
	}
	if list, err := rim.Roots(); err != nil || len(list) != 2 {
		t.Errorf("%d roots, %v", len(list), err)
	}
}

func TestChainRules(t *testing.T) {
	body := content("GH100", "GPU", "545.00", resource(7, value(7)))
	for _, c := range []struct {
		name  string
		curve elliptic.Curve
		leaf  func(*x509.Certificate)
		chain func(f *forger)
		want  string
	}{
		{name: "good"},
		{name: "P-256 key", curve: elliptic.P256(), want: verdict.ReasonUnsupported}, // r||s is too short already
		{name: "leaf is a CA", leaf: func(c *x509.Certificate) { c.IsCA = true }, want: verdict.ReasonChainInvalid},
		{name: "leaf may do more", leaf: func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyAgreement }, want: verdict.ReasonChainInvalid},
		{name: "leaf may not sign", leaf: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, want: verdict.ReasonChainInvalid},
		{name: "never valid at once", leaf: func(c *x509.Certificate) { c.NotBefore, c.NotAfter = end.AddDate(1, 0, 0), end.AddDate(2, 0, 0) }, want: verdict.ReasonChainInvalid},
		{name: "out of order", chain: func(f *forger) { f.chain = []*x509.Certificate{f.chain[1], f.chain[0], f.chain[2]} }, want: verdict.ReasonChainInvalid},
		{name: "an L3 twice", chain: func(f *forger) { f.chain = []*x509.Certificate{f.chain[0], f.chain[1], f.chain[1], f.chain[2]} }, want: verdict.ReasonChainInvalid},
		{name: "without the L3", chain: func(f *forger) { f.chain = []*x509.Certificate{f.chain[0], f.chain[2]} }, want: verdict.ReasonChainInvalid},
		{name: "without the root", chain: func(f *forger) { f.chain = f.chain[:2] }, want: verdict.ReasonUnknownRoot},
		{name: "leaf alone", chain: func(f *forger) { f.chain = f.chain[:1] }, want: verdict.ReasonUnsupported},
		{name: "of another key", chain: func(f *forger) { f.key = newKey(t, elliptic.P384()) }, want: verdict.ReasonSignatureInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.curve == nil {
				c.curve = elliptic.P384()
			}
			f := newForger(t, c.curve, c.leaf)
			if c.chain != nil {
				c.chain(f)
			}
			if _, err := f.verifier().Verify(f.sign(body, nil)); code(t, err) != c.want {
				t.Errorf("%v, expected %q", err, c.want)
			}
		})
	}
	// A P-256 leaf whose numbers were padded to the form.
	f := newForger(t, elliptic.P256(), nil)
	g := newForger(t, elliptic.P384(), nil)
	g.chain, g.root = f.chain, f.root
	if _, err := g.verifier().Verify(g.sign(body, nil)); code(t, err) != verdict.ReasonChainInvalid || !strings.Contains(err.Error(), "P-384") {
		t.Errorf("P-256 leaf: %v", err)
	}
}

// What is signed and still refused, because it is not what the comparison
// understands.
func TestContentRules(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	base := content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)), resource(9, value(9), value(8)))
	first := resource(0, value(0))
	for _, c := range []struct{ name, old, by, want string }{
		{name: "good", want: ""},
		{"patch", `patch="false"`, `patch="true"`, verdict.ReasonUnsupported},
		{"supplemental", `supplemental="false"`, `supplemental="true"`, verdict.ReasonUnsupported},
		{"corpus", ` corpus="false"`, ``, verdict.ReasonUnsupported},
		{"version", ` version="1.0"`, ` version="1.1"`, verdict.ReasonUnsupported},
		{"tag version", `tagVersion="0"`, `tagVersion="-1"`, verdict.ReasonMalformed},
		{"later tag version", `tagVersion="0"`, `tagVersion="12"`, ""},
		{"tagId", `tagId="abc123"`, `tagId=""`, verdict.ReasonMalformed},
		{"product", `name="GH100"`, `name="gh 100"`, verdict.ReasonMalformed},
		{"two products", ` name="GH100"`, ` name="GB100"`, verdict.ReasonUnsupported},
		{"manufacturer", `Entity name="NVIDIA Corporation"`, `Entity name="ACME"`, verdict.ReasonUnsupported},
		{"role", `role="softwareCreator tagCreator"`, `role="tagCreator"`, verdict.ReasonUnsupported},
		{"payload type", `PayloadType="direct"`, `PayloadType="indirect"`, verdict.ReasonUnsupported},
		{"binding", `BindingSpec="RIMIM"`, `BindingSpec="PCClient"`, verdict.ReasonUnsupported},
		{"binding version", `"1.01"`, `"2.00"`, verdict.ReasonUnsupported},
		{"firmware manufacturer", `FirmwareManufacturerId="5703"`, `FirmwareManufacturerId="5704"`, verdict.ReasonUnsupported},
		{"platform manufacturer", `PlatformManufacturerId="5703"`, `PlatformManufacturerId="5704"`, verdict.ReasonUnsupported},
		{"other TCG namespace", `model/" Pay`, `model2/" Pay`, verdict.ReasonUnsupported},
		{"colloquial version", `"96.00.5E.00.01"`, `"96.00.5E.00"`, verdict.ReasonUnsupported},
		{"edition", `edition="GPU"`, `edition="NIC"`, verdict.ReasonUnsupported},
		{"driver of a switch", `"96.00.5E.00.01" edition="GPU"`, `"545.00" edition="SWITCH"`, verdict.ReasonUnsupported},
		{"index", `index="9"`, `index="64"`, verdict.ReasonMalformed},
		{"negative index", `index="9"`, `index="-9"`, verdict.ReasonMalformed},
		{"index in another form", `index="9"`, `index="09"`, verdict.ReasonMalformed},
		{"index twice", `index="9"`, `index="0"`, verdict.ReasonMalformed},
		{"neither active nor not", first, strings.Replace(first, "True", "true", 1), verdict.ReasonMalformed},
		{"active missing", first, strings.Replace(first, ` active="True"`, ``, 1), verdict.ReasonMalformed},
		{"fewer values than alternatives", `alternatives="2"`, `alternatives="3"`, verdict.ReasonMalformed},
		{"more values than alternatives", `alternatives="2"`, `alternatives="1"`, verdict.ReasonMalformed},
		{"no alternatives", `alternatives="2"`, `alternatives="0"`, verdict.ReasonMalformed},
		{"values with a gap", `ns2:Hash1=`, `ns2:Hash2=`, verdict.ReasonMalformed},
		{"value in no namespace", first, strings.NewReplacer(` ns2:Hash0="`+value(0)+`"`, "", ` active`, ` Hash0="`+value(0)+`" active`).Replace(first), verdict.ReasonMalformed},
		{"short value", value(8), value(8)[2:], verdict.ReasonMalformed},
		{"value not hexadecimal", value(8), "x" + value(8)[1:], verdict.ReasonMalformed},
		{"size", first, strings.Replace(first, `"48"`, `"32"`, 1), verdict.ReasonUnsupported},
		{"type", first, strings.Replace(first, `"Measurement"`, `"Register"`, 1), verdict.ReasonUnsupported},
		{"unknown attribute of a value", first, strings.Replace(first, ` ns2:Hash0`, ` zmask="00" ns2:Hash0`, 1), verdict.ReasonMalformed},
		{"resource name", `"Measurement_9"`, `"Measurement	9"`, verdict.ReasonSignatureInvalid}, // a tab is not canonical
		{"no resource name", `"Measurement_9"`, `""`, verdict.ReasonMalformed},
		{"element in a resource", first, strings.Replace(first, "></", "><ns0:Mask></ns0:Mask></", 1), verdict.ReasonUnsupported},
		{"text in a resource", first, strings.Replace(first, "></", ">text</", 1), verdict.ReasonMalformed},
		{"text in the payload", first, first + "text", verdict.ReasonMalformed},
		{"text in the document", "</ns0:Payload>", "</ns0:Payload>text", verdict.ReasonMalformed},
		{"another element in the payload", first, first + "<ns0:File></ns0:File>", verdict.ReasonUnsupported},
		{"resource of another namespace", first, strings.ReplaceAll(first, "ns0:", "ns2:"), verdict.ReasonUnsupported},
		{"payload attribute", "<ns0:Payload>", `<ns0:Payload base="x">`, verdict.ReasonUnsupported},
		{"element in the entity", "></ns0:Entity>", "><ns0:Link></ns0:Link></ns0:Entity>", verdict.ReasonUnsupported},
		{"element in the meta data", "></ns0:Meta>", "><ns0:Link></ns0:Link></ns0:Meta>", verdict.ReasonUnsupported},
		{"second payload", "</ns0:Payload>", "</ns0:Payload><ns0:Payload></ns0:Payload>", verdict.ReasonUnsupported},
		{"evidence, no payload", "", "", verdict.ReasonUnsupported},
		{"nothing active", "", "", verdict.ReasonMalformed},
		{"no resource", "", "", verdict.ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := base
			switch c.name {
			case "good":
			case "evidence, no payload":
				body = strings.ReplaceAll(base, "ns0:Payload", "ns0:Evidence")
			case "nothing active":
				body = strings.ReplaceAll(base, `active="True"`, `active="False"`)
			case "no resource":
				body = content("GH100", "GPU", "96.00.5E.00.01")
			default:
				body = once(t, base, c.old, c.by)
			}
			if _, err := v.Verify(f.sign(body, nil)); code(t, err) != c.want {
				t.Errorf("%v, expected %q", err, c.want)
			}
		})
	}
}

// What is signed has to be an identity by itself, whatever was asked before.
func TestContentIsAnIdentity(t *testing.T) {
	good := content("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)))
	if _, err := rim.ReadContent([]byte(good)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{strings.ReplaceAll(good, "SoftwareIdentity", "SoftwareTag"), strings.Replace(good, `xmlns="`+swid, `xmlns="urn:x`, 1)} {
		if _, err := rim.ReadContent([]byte(bad)); code(t, err) != verdict.ReasonUnsupported {
			t.Errorf("%v", err)
		}
	}
	if _, err := rim.ReadContent([]byte(good + good)); code(t, err) != verdict.ReasonMalformed {
		t.Errorf("%v", err)
	}
}

func TestCacheIsByContent(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	old := f.sign(content("GH100", "GPU", "96.00.5E.00.01", resource(9, value(1))), nil)
	now := f.sign(content("GH100", "GPU", "96.00.5E.00.01", resource(9, value(2))), nil)
	first, err := v.Verify(old)
	if err != nil {
		t.Fatal(err)
	}
	again, err := v.Verify(old)
	if err != nil || again != first {
		t.Errorf("not remembered: %v", err)
	}
	// The same identifier, another document.
	second, err := v.Verify(now)
	if err != nil || reflect.DeepEqual(second.Measurements, first.Measurements) {
		t.Errorf("the cache answered for another document: %v", err)
	}
	bad := []byte(once(t, string(now), value(2), value(3)))
	for range 2 {
		if _, err := v.Verify(bad); code(t, err) != verdict.ReasonSignatureInvalid {
			t.Errorf("%v", err)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	manifest := func(product, edition, version string) *rim.Manifest {
		m, err := v.Verify(f.sign(content(product, edition, version, resource(0, value(0))), nil))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	hopper, cc := manifest("GH100", "GPU", "550.144.03"), manifest("GB100", "GPU", "590.48.01")
	vbios, bios := manifest("GH100", "GPU", "96.00.5E.00.0a"), manifest("LS10", "SWITCH", "96.10.55.00.01")
	for _, c := range []struct {
		m    *rim.Manifest
		id   string
		want bool
	}{
		{hopper, "NV_GPU_DRIVER_GH100_550.144.03", true}, {hopper, "NV_GPU_DRIVER_GH100_550.144.04", false},
		{hopper, "NV_GPU_CC_DRIVER_GB100_550.144.03", false}, {hopper, "NV_GPU_VBIOS_1010_0200_882_550.144.03", false},
		{cc, "NV_GPU_CC_DRIVER_GB100_590.48.01", true}, {cc, "NV_GPU_CC_DRIVER_GB100_590.48.02", false}, {cc, "NV_GPU_DRIVER_GH100_590.48.01", false},
		{vbios, "NV_GPU_VBIOS_1010_0200_882_96005E000A", true}, {vbios, "NV_GPU_VBIOS_G520_0200_885_96005E000A", true}, // the board is not signed
		{vbios, "NV_GPU_VBIOS_1010_0200_882_96005E000B", false}, {vbios, "NV_GPU_VBIOS_1010_0200_96005E000A", false},
		{vbios, "NV_SWITCH_BIOS_5612_0002_890_96005E000A", false},
		{bios, "NV_SWITCH_BIOS_5612_0002_890_9610550001", true}, {bios, "NV_GPU_VBIOS_5612_0002_890_9610550001", false}, {bios, "", false},
	} {
		err := c.m.Answers(c.id)
		if (err == nil) != c.want || err != nil && code(t, err) != verdict.ReasonIdentityMismatch {
			t.Errorf("%s, %q: %v", c.m, c.id, err)
		}
	}
	for _, c := range []struct {
		make func() (string, error)
		want string
	}{
		{func() (string, error) { return rim.DriverID("GH100", "", "550.144.03") }, "NV_GPU_DRIVER_GH100_550.144.03"},
		{func() (string, error) { return rim.DriverID("GB100", "", "590.48.01") }, "NV_GPU_CC_DRIVER_GB100_590.48.01"},
		{func() (string, error) { return rim.DriverID("GB100", "GB203", "590.48.01") }, "NV_GPU_CC_DRIVER_GB203_590.48.01"},
		{func() (string, error) { return rim.VBIOSID("g520", "0280", "895", "96.00.A5.00.03") }, "NV_GPU_VBIOS_G520_0280_895_9600A50003"},
		{func() (string, error) { return rim.SwitchID("96.10.55.00.01") }, "NV_SWITCH_BIOS_5612_0002_890_9610550001"},
		{func() (string, error) { return rim.DriverID("GH100", "", "../../x") }, ""},
		{func() (string, error) { return rim.DriverID("GB100", "a?b", "1.0") }, ""},
		{func() (string, error) { return rim.VBIOSID("1010", "", "882", "96.00.5E.00.01") }, ""},
		{func() (string, error) { return rim.SwitchID("96%2e") }, ""},
	} {
		if got, err := c.make(); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q, %v, expected %q", got, err, c.want)
		}
	}
}
