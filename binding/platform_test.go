// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// TestSamePlatform: an enclave beside a TD, or two TDs, on one platform are two
// parts of one machine; one of them twice is not.
func TestSamePlatform(t *testing.T) {
	const here, there = "intel-platform:01", "intel-platform:02"
	rule := "same"
	tee := func(label, scheme, register, value string, devices ...string) verdict.Component {
		c := partWith(t, label, "cpu-tee", rule, isFresh, func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables] = verdict.ClaimApproved
			a.Facts.Device = devices
			if register != "" {
				a.Facts.Registers = map[string]string{register: value, "rtmr3": label}
			}
		})
		c.Scheme = scheme
		return c
	}
	td := func(label, mrtd string, devices ...string) verdict.Component {
		return tee(label, "intel-tdx", "mrtd", mrtd, devices...)
	}
	enclave := func(label string, devices ...string) verdict.Component {
		return tee(label, "intel-sgx", "mrenclave", "e", devices...)
	}
	twice := func(one, two verdict.Component) verdict.Component {
		c := together(one, two)
		c.Scheme = one.Scheme
		return c
	}
	gpu := part(t, "gpu", "device", "same", isFresh)
	const (
		joined    = "td:enclave:same-platform:strong:bound"
		collision = "contraindicated:duplicate-identity"
		loose     = "warning:unbound-component"
	)
	for _, c := range []struct {
		name, edges, caps string
		parts             []verdict.Component
	}{
		{"an enclave and a TD", "td:enclave:common-nonce:nonce:bound " + joined, "", []verdict.Component{enclave("enclave", here), td("td", "m", here)}},
		{"and a GPU of nobody", "gpu:enclave:common-nonce:nonce:bound td:enclave:common-nonce:nonce:bound " + joined, loose, []verdict.Component{enclave("enclave", here), gpu, td("td", "m", here)}},
		{"two TDs", "td:a:common-nonce:nonce:bound td:a:same-platform:strong:bound", "", []verdict.Component{td("a", "m", here), td("td", "n", here)}},
		{"one TD twice", "td:a:identity-collision:none:broken td:a:same-platform:none:absent", collision + " " + loose, []verdict.Component{td("a", "m", here), td("td", "m", here)}},
		{"two TDs of one image, launched for two things", "td:a:common-nonce:nonce:bound td:a:same-platform:strong:bound", "",
			[]verdict.Component{tee("a", "intel-tdx", "mrconfigid", "m", here), tee("td", "intel-tdx", "mrconfigid", "n", here)}},
		{"registers that a TD changes itself", "td:a:identity-collision:none:broken td:a:same-platform:none:absent", collision + " " + loose,
			[]verdict.Component{tee("a", "intel-tdx", "rtmr2", "m", here), tee("td", "intel-tdx", "rtmr2", "n", here)}},
		{"nobody says what was launched", "td:a:identity-collision:none:broken td:a:same-platform:none:absent", collision + " " + loose,
			[]verdict.Component{tee("a", "intel-tdx", "", "", here), td("td", "m", here)}},
		{"two platforms", "td:enclave:same-platform:none:absent", loose, []verdict.Component{enclave("enclave", there), td("td", "m", here)}},
		{"one of two verifiers saw another platform", "td:enclave:identity-collision:none:broken", collision + " " + loose,
			[]verdict.Component{twice(enclave("enclave", here), enclave("enclave", there)), td("td", "m", here)}},
		{"one of two verifiers saw the same launch", "td:a:identity-collision:none:broken td:a:same-platform:none:absent", collision + " " + loose,
			[]verdict.Component{twice(td("a", "m", here), td("a", "n", here)), td("td", "m", here)}},
		{"another identity in common", "td:enclave:common-nonce:nonce:bound td:enclave:identity-collision:none:broken " + joined, collision,
			[]verdict.Component{enclave("enclave", here, "x:1"), td("td", "m", here, "x:1")}},
		{"a third one elsewhere", "td:enclave:same-platform:strong:bound ze:enclave:same-platform:none:absent", loose,
			[]verdict.Component{enclave("enclave", here), td("td", "m", here), td("ze", "n", there)}},
		{"a device says that it is the platform", "gpu:enclave:common-nonce:nonce:bound gpu:enclave:identity-collision:none:broken", collision + " " + loose,
			[]verdict.Component{enclave("enclave", here), part(t, "gpu", "device", "same", isFresh, here)}},
	} {
		list, k := Check(Input{Components: c.parts})
		if edges(list) != c.edges || caps(k) != c.caps {
			t.Errorf("%s:\n got %s | %s\nwant %s | %s", c.name, edges(list), caps(k), c.edges, c.caps)
		}
	}
	rule = evidence.CommitmentRule // the TD commits, and so is the root
	root := td("td", "m", here)
	rule = "same"
	list, k := Check(Input{Components: []verdict.Component{enclave("enclave", here), gpu, root}})
	if got := edges(ofKind(list, KindReportData)); got != "enclave:td:report-data-digest:strong:bound gpu:td:report-data-digest:strong:bound" || caps(k) != "affirming:application-binding-accepted" {
		t.Errorf("%s | %s", got, caps(k))
	}
}
