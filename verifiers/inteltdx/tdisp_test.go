// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/verdict"
)

func digestOf(letter string) string { return strings.Repeat(letter, 96) }

// taken is the data of the event about a device.
func taken(name string, members ...string) string {
	out := fmt.Sprintf(`{"assize.tdisp":%q,"certificates":%q,"measurements":%q`, name, digestOf("a"), digestOf("b"))
	for _, m := range members {
		out += "," + m
	}
	return out + "}"
}

func logged(subject, object, digest string) verdict.Commitment {
	return verdict.Commitment{Subject: subject, Object: object, Alg: "sha-384", Digest: digest, Via: "event-log", Origin: "measured"}
}

// TestDevicesTakenIn: which events commit to a device, and that nothing else does.
func TestDevicesTakenIn(t *testing.T) {
	certs := logged("nic/0", verdict.ObjectCertificates, digestOf("a"))
	report := func(letter string) string { return `"report":"` + digestOf(letter) + `"` }
	event := func(index, data string) [2]string { return [2]string{index, data} }
	var many [][2]string
	for i := range verdict.MaxCommitments + 1 {
		many = append(many, event("4", taken(fmt.Sprint("nic/", i))))
	}
	for _, c := range []struct {
		name    string
		events  [][2]string
		want    []verdict.Commitment
		refused string
	}{
		{"a device", [][2]string{event("4", taken("nic/0", report("c"), `"tsm":"`+digestOf("d")+`"`, `"vca":"`+digestOf("e")+`"`, `"other":7`))}, []verdict.Commitment{
			certs, logged("nic/0", verdict.ObjectVCA, digestOf("e")), logged("nic/0", verdict.ObjectReport, digestOf("c")), logged("nic/0", verdict.ObjectTSM, digestOf("d"))}, ""},
		{"two devices", [][2]string{event("4", taken("nic/0")), event("4", taken("nic/1"))}, []verdict.Commitment{
			certs, logged("nic/1", verdict.ObjectCertificates, digestOf("a"))}, ""},
		{"taken in again", [][2]string{event("4", taken("nic/0", report("c"))), event("4", taken("nic/0", report("d")))}, []verdict.Commitment{
			certs, logged("nic/0", verdict.ObjectReport, digestOf("d"))}, ""},
		{"taken in again without report", [][2]string{event("4", taken("nic/0", report("c"))), event("4", taken("nic/0"))}, []verdict.Commitment{certs}, ""},
		{"taken in again, and out of form", [][2]string{event("4", taken("nic/0")), event("4", taken("nic/0", `"report":"00"`))}, nil, `"report"`},
		{"measured by the firmware", [][2]string{event("3", taken("nic/0"))}, nil, ""},
		{"text before it", [][2]string{event("4", " "+taken("nic/0"))}, nil, ""},
		{"data behind it", [][2]string{event("4", taken("nic/0")+"x")}, nil, "data behind"},
		{"a member twice", [][2]string{event("4", taken("nic/0", report("c"), report("c")))}, nil, "duplicate"},
		{"no name", [][2]string{event("4", taken(""))}, nil, "name of 0"},
		{"a long name", [][2]string{event("4", taken(strings.Repeat("x", 257)))}, nil, "name of 257"},
		{"a name that is none", [][2]string{event("4", strings.Replace(taken("x"), `"x"`, "7", 1))}, nil, "no text"},
		{"a name that is null", [][2]string{event("4", strings.Replace(taken("x"), `"x"`, "null", 1))}, nil, "no text"},
		{"no certificates", [][2]string{event("4", strings.Replace(taken("x"), "certificates", "y", 1))}, nil, `"certificates"`},
		{"no measurements", [][2]string{event("4", strings.Replace(taken("x"), "measurements", "y", 1))}, nil, `"measurements"`},
		{"odd measurements", [][2]string{event("4", strings.Replace(taken("x"), "bb", "b", 1))}, nil, "SHA-384"},
		{"upper case", [][2]string{event("4", taken("x", `"report":"`+digestOf("C")+`"`))}, nil, "SHA-384"},
		{"a digest that is null", [][2]string{event("4", taken("x", `"report":null`))}, nil, "no text"},
		{"too many", many, nil, "at most"},
	} {
		m, log := crafted(t, c.events...)
		a := appraiseLeaf(t, newTest(t, m.deps(nil)), leaf(m.Quote(), log, ""), m.Body[520:584], m.Now)
		claims := eventLogClaim(t, a)
		if !reflect.DeepEqual(a.Facts.Commitments, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, a.Facts.Commitments, c.want)
		}
		if got := claims["tdisp_devices_refused"]; (got != nil) != (c.refused != "") || !strings.Contains(fmt.Sprint(got), c.refused) && got != nil {
			t.Errorf("%s: refused %v, want %q", c.name, got, c.refused)
		}
	}
}

// TestDevicesOnlyOfAProvenLog: data that the log merely claims bind nothing.
func TestDevicesOnlyOfAProvenLog(t *testing.T) {
	m, log := crafted(t, [2]string{"4", taken("nic/0")})
	forged := bytes.Replace(log, []byte(digestOf("a")), []byte(digestOf("f")), 1)
	if bytes.Equal(forged, log) {
		t.Fatal("nothing was forged")
	}
	a := appraiseLeaf(t, newTest(t, m.deps(nil)), leaf(m.Quote(), forged, ""), m.Body[520:584], m.Now)
	if a.Facts.Commitments != nil {
		t.Errorf("%+v", a.Facts.Commitments)
	}
}

// TestMachineCommitsToDevices: what the software of a simulated TD measures of its
// devices arrives as facts, every object of each.
func TestMachineCommitsToDevices(t *testing.T) {
	a := wholeMachine(t, attester.Description{Name: "tdisp", Devices: attester.Devices{Count: 2, TDISP: true}}, bytes.Repeat([]byte{7}, 32))
	var got []string
	for _, c := range a.Facts.Commitments {
		got = append(got, c.Subject+" "+c.Object)
	}
	var want []string
	for _, nic := range []string{"nic/0 ", "nic/1 "} {
		want = append(want, nic+"spdm-certificates", nic+"tdisp-report", nic+"tsm-info", nic+"tsm-state")
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if bare := wholeMachine(t, attester.Description{Name: "spdm", Devices: attester.Devices{Count: 2}}, bytes.Repeat([]byte{7}, 32)); bare.Facts.Commitments != nil {
		t.Errorf("%+v", bare.Facts.Commitments)
	}
}

// FuzzReadDevice: what is accepted has a name, and digests that facts may hold.
func FuzzReadDevice(f *testing.F) {
	f.Add([]byte(taken("nic/0", `"report":"`+digestOf("c")+`"`, `"tsm":"`+digestOf("d")+`"`)))
	f.Add([]byte(taken("nic/0", `"report":null`)))
	f.Add([]byte(devicePrefix))
	f.Fuzz(func(t *testing.T, data []byte) {
		name, list, err := readDevice(data)
		if err != nil {
			if list != nil {
				t.Fatal("digests beside an error")
			}
			return
		}
		if name == "" || len(list) == 0 {
			t.Fatalf("%q with %d digests", name, len(list))
		}
		seen := map[string]bool{}
		for _, c := range list {
			if c.Subject != name || len(c.Digest) != 96 || seen[c.Object] {
				t.Fatalf("%+v", c)
			}
			seen[c.Object] = true
		}
	})
}
