// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// usual is what a requester does: digests, chains, challenge, all measurements.
func (p *tape) usual() *tape {
	slots := slices.Sorted(maps.Keys(p.slots))
	p.read(true, slots...)
	p.challenge(p.d.slot, 0xFF, 0)
	p.read(true, slots...)
	p.measure("", p.d.slot, 1, 0xFF, p.d.blocks)
	return p
}

// blockOf is the block of one index.
func (d *device) blockOf(index byte) []byte {
	for at := 0; at < len(d.blocks); {
		n := 4 + (int(d.blocks[at+2]) | int(d.blocks[at+3])<<8)
		if d.blocks[at] == index {
			return d.blocks[at : at+n]
		}
		at += n
	}
	return nil
}

// offers adds a version to those that VERSION offers.
func (d *device) offers(v Version) {
	d.vca[9]++
	d.vca = slices.Insert(d.vca, 10, 0, byte(v))
}

// withAlgorithms puts the block of algorithms into CAPABILITIES (1.3).
func (d *device) withAlgorithms() {
	i := bytes.Index(d.vca, []byte{byte(d.version), 0xE1})
	j := i + bytes.Index(d.vca[i:], []byte{byte(d.version), 0x61})
	d.vca[i+2], d.vca[j+2] = 1, 1
	d.vca = slices.Insert(d.vca, j+20, slices.Concat([]byte{2, 0}, le16(4+8), bytes.Repeat([]byte{0x11}, 8))...)
}

func with(v Version, asym BaseAsym, hash BaseHash, meas MeasurementHash) func(*device) {
	return func(d *device) { d.version, d.asym, d.hash, d.meas = v, asym, hash, meas }
}

func element(data string) []byte {
	out := slices.Concat([]byte{1, 0, 0, 0, 3, 2, 0xF4, 0x1A}, le16(len(data)), []byte(data))
	return append(out, make([]byte, -len(out)&3)...)
}

// folders are recordings of every version, algorithm and habit of requesters that
// this test can make.
func folders(t *testing.T, root string) (names []string) {
	add := func(name string, p *tape) {
		p.write(filepath.Join(root, name))
		names = append(names, name)
	}
	for _, c := range []struct {
		v    Version
		asym BaseAsym
		hash BaseHash
		meas MeasurementHash
	}{
		{Version10, ECDSAP256, BaseSHA256, MeasurementSHA256},
		{Version11, RSASSA2048, BaseSHA256, MeasurementSHA256}, {Version11, ECDSAP384, BaseSHA384, MeasurementSHA512},
		{Version12, ECDSAP256, BaseSHA384, MeasurementSHA256}, {Version12, ECDSAP521, BaseSHA512, MeasurementSHA512}, {Version12, RSAPSS2048, BaseSHA256, MeasurementSHA384},
		{Version12, Ed25519, BaseSHA512, MeasurementSHA384}, {Version13, RSAPSS3072, BaseSHA384, MeasurementSHA384}, {Version13, ECDSAP256, BaseSHA256, MeasurementSHA512},
		{Version13, ECDSAP521, BaseSHA256, MeasurementSHA384}, {Version14, ECDSAP384, BaseSHA384, MeasurementSHA384}, {Version14, ECDSAP521, BaseSHA512, MeasurementSHA256},
		{Version14, Ed25519, BaseSHA256, MeasurementSHA256}, {Version14, RSASSA3072, BaseSHA512, MeasurementSHA384},
		{Version13, ECDSAP384, BaseSHA384, MeasurementSHA3384}, {Version14, ECDSAP521, BaseSHA3512, MeasurementSHA3256},
	} {
		name := fmt.Sprintf("a%02x-%s-%s-%s", byte(c.v), c.asym, c.hash, c.meas)
		add(name, newTape(t, newDevice(t, with(c.v, c.asym, c.hash, c.meas), func(d *device) { d.large = c.v >= Version14 })).usual())
	}
	if !testing.Short() {
		for _, asym := range []BaseAsym{RSASSA4096, RSAPSS4096} {
			add("b-"+asym.String(), newTape(t, newDevice(t, with(Version14, asym, BaseSHA512, MeasurementSHA512))).usual())
		}
	}
	for slot := uint8(1); slot < MaxSlots; slot++ {
		multi := func(d *device) { d.multi, d.version = slot%2 == 0, Version13 }
		zero, other := newDevice(t, multi), newDevice(t, multi, slotOf(slot))
		p := newTape(t, zero, other)
		p.read(true, 0, slot)
		p.challenge(0, 0xFF, 0)
		p.read(true, slot)
		p.challenge(slot, 0, 0)
		p.measure("", slot, 1, 0xFF, other.blocks)
		p.measure("", 0, 1, 0xFF, zero.blocks)
		add(fmt.Sprintf("c-slot%d", slot), p)
		add(fmt.Sprintf("c-slot%d-alone", slot), newTape(t, newDevice(t, slotOf(slot), versionOf(Version12))).usual())
	}
	for name, of := range map[string]func(*device){ // two chains, the usual requester
		"p521": with(Version12, ECDSAP521, BaseSHA512, MeasurementSHA512), "p256": with(Version13, ECDSAP256, BaseSHA256, MeasurementSHA256),
		"pss": with(Version13, RSAPSS3072, BaseSHA384, MeasurementSHA384), "large": with(Version14, ECDSAP384, BaseSHA384, MeasurementSHA384),
	} {
		both := func(d *device) { of(d); d.multi, d.large = d.version >= Version13, d.version >= Version14 }
		add("c-two-"+name, newTape(t, newDevice(t, both), newDevice(t, both, slotOf(4))).usual())
	}
	habits(t, root, add)
	return names
}

func habits(t *testing.T, root string, add func(string, *tape)) {
	for _, v := range []Version{Version11, Version12, Version13, Version14} {
		name := func(s string) string { return fmt.Sprintf("d%02x-%s", byte(v), s) }
		of := func(opts ...func(*device)) *tape {
			return newTape(t, newDevice(t, append([]func(*device){versionOf(v)}, opts...)...))
		}

		p := of() // nobody measures
		p.read(true, 0)
		p.challenge(0, 0, 0)
		add(name("challenge-alone"), p)

		p = of() // what was read before is not read again
		p.challenge(0, 0xFF, 0)
		p.read(false, 0)
		p.challenge(0, 1, 0)
		p.read(true)
		p.challenge(0, 0xFF, 0)
		p.measure("", 0, 1, 0xFF, p.d.blocks)
		add(name("cached"), p)

		p = of() // measurements alone
		p.measure("", 0, 1, 0xFF, p.d.blocks)
		add(name("measurements-alone"), p)

		p = of() // one by one, the last one signed, with what resets and what does not
		p.read(true, 0)
		p.measure("", 0, 0, 0, nil)
		p.refused("", p.d.getMeasurements(0, 9, nil))
		p.measure("", 0, 0, 1, p.d.blockOf(1))
		p.read(true, 0)
		p.measure("", 0, 0, 0, nil)
		for _, i := range []byte{1, 2, 0x10} {
			p.measure("", 0, 0, i, p.d.blockOf(i))
		}
		p.measure("", 0, 1, 0xFE, p.d.blockOf(0xFE))
		p.measure("", 0, 1, 2, p.d.blockOf(2))
		p.measure("", 0, 0, 1, p.d.blockOf(1)) // and no signature
		add(name("last-signed"), p)

		p = of(func(d *device) { d.flags = 1<<1 | 1<<2 | 1<<3 }) // MEAS_CAP 1
		p.read(true, 0)
		p.challenge(0, 0xFF, 0)
		p.measure("", 0, 0, 0xFF, p.d.blocks)
		add(name("unsigned"), p)

		p = of()
		p.read(true, 0)
		add(name("chains-alone"), p)

		p = of() // two sessions at once, and measurements in them alone
		p.measure("fffe0001", 0, 0, 0, nil)
		p.measure("fffe0002", 0, 0, 1, p.d.blockOf(1))
		p.measure("fffe0001", 0, 1, 0xFF, p.d.blocks)
		p.measure("fffe0002", 0, 1, 0xFF, p.d.blocks)
		add(name("sessions"), p)

		p = of(func(d *device) { d.noRoot = true }).usual()
		add(name("no-root"), p)
		if err := os.MkdirAll(filepath.Join(root, "roots"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "roots", name("no-root")+".der"), p.d.anchor.Raw, 0o644); err != nil {
			t.Fatal(err)
		}

		p = of()
		p.d.rawBlock(0xFD, 0x84, bytes.Repeat([]byte("manifest"), 6000))
		p.d.blocks = slices.Concat(p.d.blockOf(1), p.d.blockOf(2), p.d.blockOf(0x10), p.d.blockOf(0xFD), p.d.blockOf(0xFE))
		add(name("big-manifest"), p.usual())

		p = of(func(d *device) {
			d.leaf = func(x *x509.Certificate) {
				x.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidRequesterAuth, oidResponderAuth, {1, 2, 3}}
			}
		})
		add(name("other-usages"), p.usual())

		p = of()
		p.d.offers(v + 1)
		add(name("offers-more"), newTape(t, p.d).usual())

		p = of(func(d *device) { d.opaque = 1; d.data = []byte("the maker's own") })
		add(name("opaque-0"), p.usual())

		p = of()
		p.d.blocks[len(p.d.blocks)-4] = 1 // debugging
		p.report = slices.Concat([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, le32(1), []byte{0, 1, 0, 0, 0, 0, 0, 0}, le32(4), []byte{0, 0, 0, 0}, le32(0))
		p.usual()
		add(name("debug-and-report"), p)

		if v == Version11 { // with mutual authentication, the responder asks in turn
			p = of(func(d *device) { d.flags |= 1<<8 | 1<<12 })
			p.read(true, 0)
			p.challenge(0, 0xFF, 0x80)
			p.say("", p.d.msg(0xEA, 0, 0), p.d.msg(0x6A, 1, 0, p.d.msg(0x81, 0, 0)))
			p.measure("", 0, 1, 0xFF, p.d.blocks)
			add(name("mutual"), p)
			continue
		}
		p = of(func(d *device) { d.data = element("of a registry") })
		add(name("opaque-1"), p.usual())

		p = of(func(d *device) { d.opaque = 0 })
		add(name("opaque-none"), p.usual())

		p = of(func(d *device) { d.model = ModelAlias; d.flags |= 1 << 18 })
		add(name("alias"), p.usual())

		p = of()
		p.d.blocks = slices.Concat(block(1, 0x80, []byte("rom")), block(2, 0x81, []byte("firmware")), p.d.blockOf(0x10), p.d.blockOf(0xFE))
		p.read(true, 0)
		p.measure("", 0, 7, 0xFF, p.d.blocks)
		p.challenge(0, 1, 0)
		add(name("raw"), p)

		p = of(func(d *device) { d.model = ModelAlias; d.flags |= 1 << 18 }, leafWith(func(x *x509.Certificate) {
			x.ExtraExtensions = append(x.ExtraExtensions, spdmExt(t, oidHardwareIdentity))
		}))
		p.read(true, 0)
		add(name("alias-refused"), p)
		if v < Version13 {
			continue
		}
		p = of()
		p.d.withAlgorithms()
		add(name("algorithms"), newTape(t, p.d).usual())

		p = of(func(d *device) { d.multi = true })
		p.d.rawBlock(0xFD, 0x8A, []byte{3, 2, 0xF4, 0x1A, 1, 2, 3})
		p.d.blocks = slices.Concat(p.d.blockOf(1), p.d.blockOf(2), p.d.blockOf(0x10), block(0x11, 0x08, p.d.sum([]byte("log"))), p.d.blockOf(0xFD), p.d.blockOf(0xFE))
		p.d.count++
		add(name("multi-key"), p.usual())
	}
}

// walk runs TestVectors over the folders below dir, as the command line does.
func walk(t *testing.T, dir string) (output string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=Vectors$", "-test.v")
	cmd.Env = append(os.Environ(), "ASSIZE_VECTORS="+dir)
	raw, err := cmd.CombinedOutput()
	return string(raw), err
}

// TestFolders: recordings that nobody has published are walked like those that are
// there, from what they say of themselves, and fail if one octet is another.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	names := folders(t, filepath.Join(dir, "spdm"))
	out, err := walk(t, dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, n := range names {
		if !strings.Contains(out, "--- PASS: TestVectors/"+n+" ") {
			t.Errorf("%s was not walked", n)
		}
	}
	checkElsewhere(t)
	if !testing.Short() {
		checkTampered(t, filepath.Join(dir, "spdm", "d13-multi-key"))
	}
}

// checkElsewhere: a folder may lie deeper, hold its root as a file of its own, and
// lack what the messages say as well; one of an algorithm that cannot be computed says
// so. A root that is nowhere, and a refusal that the folder has no reason for, fail.
func checkElsewhere(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, "spdm", "made [by] others", "X-V12")
	d := newDevice(t, with(Version12, Ed25519, BaseSHA512, MeasurementSHA384), func(d *device) { d.noRoot = true })
	newTape(t, d).usual().write(folder)
	read := func(file string) []byte {
		raw, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	put := func(file string, raw []byte) {
		if err := os.WriteFile(filepath.Join(folder, file), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	walks := func(what string, good bool) {
		if out, err := walk(t, dir); (err == nil) != good || !strings.Contains(out, "TestVectors/made_[by]_others/X-V12") || strings.Contains(out, "SKIP: TestVectors/") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
	expected := read("expected.json")
	put("expected.json", bytes.Replace(expected, []byte(`"base_asym":"Ed25519"`), []byte(`"base_asym":"EDDSA_25519"`), 1))
	for _, file := range []string{"vca.bin", "m1.bin", "l1.bin", "slot0-cert0.der", "slot0-cert1.der"} {
		if err := os.Remove(filepath.Join(folder, file)); err != nil {
			t.Fatal(err)
		}
	}
	walks("root nowhere", false)
	put("ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.anchor.Raw}))
	walks("root in the folder", true)

	messages := read("messages.bin") // Ed448 in place of Ed25519
	for code, offset := range map[byte]int{0xE3: 8, 0x63: 12} {
		copy(messages[bytes.Index(messages, []byte{byte(Version12), code})+offset:], le32(0x800))
	}
	put("messages.bin", messages)
	walks("another algorithm than expected", false)
	put("expected.json", bytes.Replace(expected, []byte(`"base_asym":"Ed25519"`), []byte(`"base_asym":"EDDSA_ED448"`), 1))
	walks("unsupported", true)
}

// checkTampered changes what a folder holds or says of itself: the walk notices.
func checkTampered(t *testing.T, folder string) {
	t.Helper()
	flip := func(file string, at int) func(string) {
		return func(to string) {
			path := filepath.Join(to, file)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			raw[(at+len(raw))%len(raw)] ^= 1
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	word := func(old, by string) func(string) {
		return func(to string) {
			path := filepath.Join(to, "expected.json")
			raw, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(raw, []byte(old)) {
				t.Fatal(old, err)
			}
			if err := os.WriteFile(path, bytes.Replace(raw, []byte(old), []byte(by), 1), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	to := filepath.Join(dir, "spdm", "any name")
	for name, change := range map[string]func(string){
		"untouched": nil, "negotiation": flip("vca.bin", 40), "m1": flip("m1.bin", -1), "l1": flip("l1.bin", 0), "chain": flip("certchain-slot0.bin", -1),
		"certificate": flip("slot0-cert1.der", -1), "last signature": flip("messages.bin", -1), "first message": flip("messages.bin", 12),
		"no expectation": func(to string) {
			if err := os.Remove(filepath.Join(to, "expected.json")); err != nil {
				t.Fatal(err)
			}
		},
		"version": word(`"spdm_version":"1.3"`, `"spdm_version":"1.2"`), "algorithm": word("ECDSA_P384", "ECDSA_P256"), "measurement hash": word(`"measurement_hash":"sha-384"`, `"measurement_hash":"sha-512"`),
		"slot": word(`"slot":0`, `"slot":1`), "kind": word(`"type":"measurements"`, `"type":"key-exchange"`), "value of a block": word(`"value":"`, `"value":"00`),
		"summary": word(`"summary_equals_hash_all_blocks":true`, `"summary_equals_hash_all_blocks":false`),
	} {
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(to)
		}
		if out, err := walk(t, dir); (err == nil) != (change == nil) || !strings.Contains(out, "TestVectors") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
