// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// withPolicy is deps with an edited policy.
func withPolicy(tb testing.TB, d verifiers.Deps, text string) verifiers.Deps {
	tb.Helper()
	if text == "" {
		return d
	}
	p, err := policyDefaults().Parse([]byte("scheme: " + Name + "\n" + text))
	if err != nil {
		tb.Fatal(err)
	}
	d.Policies = map[string]*appraisal.Policy{Name: p}
	return d
}

func edit(at int, values ...byte) func(*machine) {
	return func(m *machine) {
		before := m.edit
		m.edit = func(b []byte) {
			if before != nil {
				before(b)
			}
			copy(b[at:], values)
		}
	}
}

// policyBits sets bits of POLICY, from bit 16 on.
func policyBits(bits byte, more ...byte) func(*machine) {
	return edit(0x0a, append([]byte{3 | bits}, more...)...)
}

// tcbOf gives the whole machine another TCB.
func tcbOf(t TCB) func(*machine) { return func(m *machine) { m.tcb = t } }

// caseOf is one guest and what is found about it.
type caseOf struct {
	name    string
	change  []func(*machine)
	policy  string
	finding string
	claims  map[verdict.ClaimName]verdict.Claim
	code    string
	words   string
	more    int // reasons about something else
}

func findingCases() []caseOf {
	type claims = map[verdict.ClaimName]verdict.Claim
	const (
		hw, cf, op, id, ex = verdict.Hardware, verdict.Configuration, verdict.RuntimeOpaque, verdict.InstanceIdentity, verdict.Executables
		conf               = verdict.ReasonConfiguration
		old                = verdict.ReasonTCBOutOfDate
	)
	list := func(c ...func(*machine)) []func(*machine) { return c }
	params := func(format string, a ...any) string { return "parameters: {" + fmt.Sprintf(format, a...) + "}\n" }
	digest := bytes.Repeat([]byte{0x1d}, 48)
	other := hex.EncodeToString(bytes.Repeat([]byte{0xee}, 48))
	return []caseOf{
		{name: "as it should be", finding: findGenuine, claims: claims{hw: 2, cf: 2, op: 2, id: 2, ex: 33}},
		{name: "encrypted", finding: findEncrypted, claims: claims{op: 2}},
		{name: "accepted", finding: findPolicyGood, claims: claims{cf: 2}},
		{name: "chip", finding: findChip, claims: claims{id: 2}},
		{name: "recommended", finding: findTCBGood, claims: claims{hw: 2}},
		{name: "hidden chip", change: list(edit(0x1a0, make([]byte, 64)...)), finding: findMasked, claims: claims{hw: 2, id: 0}},
		{name: "VLEK", change: list(vlek), finding: findVLEK, claims: claims{hw: 2, id: 0}},
		{name: "other provider", change: list(vlek), policy: params(`csp_ids: ["CN=other"]`), finding: findProvider, claims: claims{hw: 97}, code: verdict.ReasonIdentityMismatch, words: "CN=cc-test.example.com"},
		{name: "accepted provider", change: list(vlek), policy: params(`csp_ids: ["CN=cc-test.example.com"]`), finding: findVLEK, claims: claims{hw: 2}},
		{name: "product", policy: params("products: [Turin]"), finding: findProduct, claims: claims{hw: 97}, code: verdict.ReasonPolicy, words: "Genoa"},
		{name: "no product", policy: params("products: []"), finding: findProduct, claims: claims{hw: 97}, code: verdict.ReasonPolicy},
		{name: "unknown CPUID", change: list(edit(0x189, 0x60)), finding: findUnknownProduct, claims: claims{hw: 97}, code: verdict.ReasonUnsupported, words: "model 0x60"},

		{name: "old", change: list(tcbOf(TCB{BootLoader: 10, SNP: 22, Microcode: 84})), finding: findTCBOld, claims: claims{hw: 32}, code: old, words: "REPORTED_TCB, COMMITTED_TCB, LAUNCH_TCB of Genoa, below what the levels of 2026-11-22 recommend: SNP 22 < 23"},
		{name: "old boot loader", change: list(tcbOf(TCB{BootLoader: 9, SNP: 99, Microcode: 99})), finding: findTCBOld, claims: claims{hw: 32}, code: old, words: "boot loader 9 < 10"},
		{name: "old microcode", change: list(tcbOf(TCB{BootLoader: 99, SNP: 99, Microcode: 83})), finding: findTCBOld, claims: claims{hw: 32}, code: old, words: "microcode 83 < 84"},
		{name: "old TEE", change: list(turin, tcbOf(TCB{FMC: 1, BootLoader: 1, TEE: 0, SNP: 4, Microcode: 81})), finding: findTCBOld, claims: claims{hw: 32}, code: old, words: "TEE 0 < 1"},
		{name: "old FMC", change: list(turin, tcbOf(TCB{FMC: 0, BootLoader: 1, TEE: 1, SNP: 4, Microcode: 81})), finding: findTCBOld, claims: claims{hw: 32}, code: old, words: "FMC 0 < 1"},
		{name: "old commitment", change: list(edit(0x1e6, 22)), finding: findTCBOld, claims: claims{hw: 32}, code: old, words: "COMMITTED_TCB of Genoa", more: 1},
		{name: "old launch", change: list(edit(0x1f6, 22)), finding: findTCBOld, claims: claims{hw: 32}, code: old, words: "LAUNCH_TCB of Genoa"},
		{name: "launch is not compared", change: list(edit(0x1f6, 22)), policy: params("tcb_fields: [reported]"), finding: findTCBGood, claims: claims{hw: 2}},
		{name: "below the floor", policy: params("tcb: {genoa: {recommended: {snp: 30}, floor: {snp: 25}}}"), finding: findTCBFloor, claims: claims{hw: 96}, code: old, words: "not tolerated"},
		{name: "below and above", policy: params("tcb: {genoa: {recommended: {snp: 30}, floor: {snp: 24}}}"), finding: findTCBOld, claims: claims{hw: 32}, code: old, words: "SNP 24 < 30"},
		{name: "no recommendation", policy: params("tcb: {genoa: {recommended: {boot_loader: 0, snp: 0, microcode: 0}}}"), finding: findTCBUnknown, claims: claims{hw: 32}, code: verdict.ReasonNoCollateral, words: "Genoa"},
		{name: "above the current", change: list(edit(0x1f6, 99)), finding: findTCBInconsistent, claims: claims{hw: 96}, code: verdict.ReasonTCBNotSupported, words: "LAUNCH_TCB"},
		{name: "provisional TCB", change: list(edit(0x3e, 99)), finding: findProvisional, claims: claims{hw: 32}, code: verdict.ReasonTCBConfiguration, words: "SNP 24 < 99"},
		{name: "provisional build", change: list(edit(0x1e8, 41)), finding: findProvisional, claims: claims{hw: 32}, code: verdict.ReasonTCBConfiguration, words: "firmware 1.55.41 runs and 1.55.40 is committed"},
		{name: "mitigation at launch", change: list(turin), policy: params("mitigations: {launch: 0x40}"), finding: findMitigation, claims: claims{hw: 32}, code: verdict.ReasonTCBHardening, words: "LAUNCH_MIT_VECTOR"},
		{name: "mitigation now", change: list(turin), policy: params("mitigations: {current: 0x41}"), finding: findMitigation, claims: claims{hw: 32}, code: verdict.ReasonTCBHardening, words: "CURRENT_MIT_VECTOR"},
		{name: "mitigations before version 5", policy: params("mitigations: {current: 1}"), finding: findMitigation, claims: claims{hw: 32}, code: verdict.ReasonTCBHardening},
		{name: "mitigations", change: list(turin), policy: params("mitigations: {current: 0x3f, launch: 0x21}"), finding: findGenuine, claims: claims{hw: 2}},

		{name: "debug", change: list(policyBits(1 << 3)), finding: findDebug, claims: claims{cf: 96, op: 96, ex: 33}, code: verdict.ReasonDebug},
		{name: "bit 17", change: list(edit(0x0a, 1)), finding: findPolicyReserved, claims: claims{cf: 96}, code: conf, words: "bit 17"},
		{name: "bit 26", change: list(edit(0x0b, 4)), finding: findPolicyReserved, claims: claims{cf: 96}, code: conf, words: "0000000004000000"},
		{name: "bit 63", change: list(edit(0x0f, 0x80)), finding: findPolicyReserved, claims: claims{cf: 96}, code: conf},
		{name: "migration", change: list(policyBits(1 << 2)), finding: findMigration, claims: claims{cf: 32}, code: conf, words: "MIGRATE_MA"},
		{name: "migration allowed", change: list(policyBits(1 << 2)), policy: params("guest_policy: {allow_migration_agent: true}"), finding: findPolicyGood, claims: claims{cf: 2}},
		{name: "SMT in the policy", policy: params("guest_policy: {allow_smt: false}"), finding: findPolicySMT, claims: claims{cf: 32}, code: conf},
		{name: "CXL", change: list(policyBits(1 << 5)), finding: findPolicyCXL, claims: claims{cf: 32}, code: conf},
		{name: "sockets", policy: params("guest_policy: {require_single_socket: true}"), finding: findPolicySocket, claims: claims{cf: 32}, code: conf},
		{name: "AES", policy: params("guest_policy: {require_aes_256_xts: true}"), finding: findPolicyAES, claims: claims{cf: 32}, code: conf},
		{name: "RAPL in the policy", policy: params("guest_policy: {require_rapl_disabled: true}"), finding: findPolicyRAPL, claims: claims{cf: 32}, code: conf},
		{name: "ciphertext in the policy", policy: params("guest_policy: {require_ciphertext_hiding: true}"), finding: findPolicyCiphertext, claims: claims{cf: 32}, code: conf},
		{name: "swap", policy: params("guest_policy: {require_page_swap_disabled: true}"), finding: findPolicySwap, claims: claims{cf: 32}, code: conf},
		{
			name: "all demanded bits", change: list(policyBits(0xd0, 3)),
			policy:  params("guest_policy: {require_single_socket: true, require_aes_256_xts: true, require_rapl_disabled: true, require_ciphertext_hiding: true, require_page_swap_disabled: true}"),
			finding: findPolicyGood, claims: claims{cf: 2},
		},
		{name: "ABI", policy: params("guest_policy: {minimum_abi: [1, 51]}"), finding: findPolicyABI, claims: claims{cf: 32}, code: conf, words: "ABI 0.31, and at least 1.51"},
		{name: "ABI is enough", policy: params("guest_policy: {minimum_abi: [0, 31]}"), finding: findPolicyGood, claims: claims{cf: 2}},

		{name: "SMT", policy: params("platform: {allow_smt: false}"), finding: findPlatformSMT, claims: claims{cf: 32}, code: conf},
		{name: "TSME", policy: params("platform: {require_tsme: true}"), finding: findPlatformTSME, claims: claims{cf: 32}, code: conf},
		{name: "ECC", change: list(edit(0x40, 0x21)), policy: params("platform: {require_ecc: true}"), finding: findPlatformECC, claims: claims{cf: 32}, code: conf},
		{name: "RAPL", policy: params("platform: {require_rapl_disabled: true}"), finding: findPlatformRAPL, claims: claims{cf: 32}, code: conf},
		{name: "ciphertext", policy: params("platform: {require_ciphertext_hiding: true}"), finding: findPlatformCipher, claims: claims{cf: 32}, code: conf},
		{name: "alias", change: list(edit(0x40, 0x05)), finding: findPlatformAlias, claims: claims{cf: 32}, code: conf, words: "aliases"},
		{name: "alias tolerated", change: list(edit(0x40, 0x05)), policy: params("platform: {require_alias_check: false}"), finding: findPolicyGood, claims: claims{cf: 2}},
		{name: "unknown platform bits", change: list(edit(0x40, 0xff, 0x80)), finding: findPolicyGood, claims: claims{cf: 2}},
		{
			name: "demanded platform", change: list(edit(0x40, 0x3e)),
			policy:  params("platform: {allow_smt: false, require_tsme: true, require_ecc: true, require_rapl_disabled: true, require_ciphertext_hiding: true}"),
			finding: findPolicyGood, claims: claims{cf: 2},
		},

		{name: "VMPL", change: list(edit(0x30, 1)), finding: findVMPL, claims: claims{cf: 96, id: 97}, code: conf, words: "VMPL is 1, expected 0"},
		{name: "expected VMPL", change: list(edit(0x30, 2)), policy: params("vmpl: 2"), finding: findPolicyGood, claims: claims{cf: 2, id: 2}},
		{name: "VMPL 0 where 2 is expected", policy: params("vmpl: 2"), finding: findVMPL, claims: claims{cf: 96}, code: conf},
		{name: "no identity block", policy: params("require_id_block: true"), finding: findIDBlock, claims: claims{cf: 96}, code: conf},
		{name: "identity block", change: list(edit(0xe0, digest...)), policy: params("require_id_block: true, id_keys: [%x]", digest), finding: findPolicyGood, claims: claims{cf: 2}},
		{name: "id key", change: list(edit(0xe0, digest...)), policy: params("id_keys: [%s]", other), finding: findIDKey, claims: claims{cf: 96}, code: conf},
		{name: "no id key", policy: params("id_keys: [%x]", digest), finding: findIDKey, claims: claims{cf: 96}, code: conf},
		{name: "author key", change: list(edit(0x110, digest...), edit(0x48, 1)), policy: params("author_keys: [%s]", other), finding: findAuthorKey, claims: claims{cf: 96}, code: conf},
		{name: "author key that is off", change: list(edit(0x110, digest...)), policy: params("author_keys: [%x]", digest), finding: findAuthorKey, claims: claims{cf: 96}, code: conf},
		{name: "author key accepted", change: list(edit(0x110, digest...), edit(0x48, 1)), policy: params("author_keys: [%x]", digest), finding: findPolicyGood, claims: claims{cf: 2}},
		{name: "guest SVN", change: list(edit(0x04, 4)), policy: params("minimum_guest_svn: 5"), finding: findGuestSVN, claims: claims{ex: 96}, code: conf, words: "GUEST_SVN is 4"},
		{name: "guest SVN is enough", change: list(edit(0x04, 0, 1)), policy: params("minimum_guest_svn: 256"), finding: findGenuine, claims: claims{ex: 33}},
		{name: "host data", change: list(edit(0xc0, 1)), finding: findConfigUnproven, claims: claims{cf: 36}, code: verdict.ReasonNoReferenceValues, words: "HOST_DATA"},
	}
}

func TestFindings(t *testing.T) {
	for _, c := range findingCases() {
		v := newTest(t, withPolicy(t, deps(nil), c.policy))
		found := map[string]bool{}
		v.trace = func(name string) { found[name] = true }
		a := appraise(t, v, newMachine(c.change...).input())
		if !found[c.finding] {
			t.Errorf("%s: %s is not found, but %v: %v", c.name, c.finding, slices.Sorted(maps.Keys(found)), a.Reasons)
		}
		for name, want := range c.claims {
			if a.Vector[name] != want {
				t.Errorf("%s: %s is %d, want %d: %v", c.name, name, a.Vector[name], want, a.Reasons)
			}
		}
		has := slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == c.code && strings.Contains(r.Detail, c.words) })
		if c.code != "" && !has {
			t.Errorf("%s: no reason %s with %q in %v", c.name, c.code, c.words, a.Reasons)
		}
		// Nothing but what the row is about is wrong.
		if n := len(a.Reasons); c.code == "" && n != 1 || c.code != "" && n != 2+c.more {
			t.Errorf("%s: %d reasons %v", c.name, n, a.Reasons)
		}
	}
}

// Every row of the policy is made by something.
func TestEveryFindingIsReached(t *testing.T) {
	found := map[string]bool{}
	trace := func(name string) { found[name] = true }
	for _, c := range findingCases() {
		v := newTest(t, withPolicy(t, deps(nil), c.policy))
		v.trace = trace
		appraise(t, v, newMachine(c.change...).input())
	}
	for _, c := range revocationCases() {
		v := newTest(t, withPolicy(t, deps(bundle(t, c.files()...)), c.policy))
		v.trace = trace
		appraise(t, v, newMachine(c.change...).input())
	}
	for _, c := range referenceCases() {
		c.run(t, trace)
	}
	v := newTest(t, deps(nil))
	v.trace = trace
	in := newMachine().input()
	in.Evidence = in.Evidence[:reportSize]
	appraise(t, v, in)
	for _, f := range policyDefaults().Findings {
		if strings.HasPrefix(f.Name, "vtpm-") { // about a guest behind a paravisor
			continue
		}
		if !found[f.Name] {
			t.Errorf("nothing makes the finding %s", f.Name)
		}
		delete(found, f.Name)
	}
	for name := range found {
		t.Errorf("the finding %s is in no row", name)
	}
}

func TestPolicyDefaults(t *testing.T) {
	d := policyDefaults()
	if err := d.Check(); err != nil {
		t.Error(err)
	}
	if err := defaultParameters().Check(); err != nil {
		t.Error(err)
	}
	raw, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Parse(raw)
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	if got := appraisal.Parameters[Parameters](p); fmt.Sprint(got) != fmt.Sprint(defaultParameters()) {
		t.Errorf("%+v", got)
	}
	l := defaultParameters().TCB
	if l.Date == "" || l.Milan.Recommended.SNP != 24 || l.Genoa.Recommended.SNP != 23 || l.Turin.Recommended.FMC != 1 || l.Milan.Source == "" {
		t.Errorf("levels %+v", l)
	}
	if _, err := readLevels([]byte("date: x\nrome: {}\n")); err == nil {
		t.Error("an unknown line is read")
	}
	// The floor holds, whatever an operator writes.
	for _, row := range []string{"debug: {configuration: 32, runtime-opaque: 96}", "debug: {configuration: 96}", "revoked: {hardware: 32}", "no-endorsement-key: {hardware: 32}", "no-endorsement-key: {}", "tcb-below-floor: {}", "tcb-below-floor: {hardware: 2}"} {
		if _, err := d.Parse([]byte("scheme: " + Name + "\nfindings: {" + row + "}\n")); err == nil {
			t.Errorf("%s: accepted", row)
		}
	}
	for _, bad := range []string{
		"revocation: sometimes", "vmpl: 4", "vmpl: -1", "tcb: {date: \"\"}", "tcb_fields: [committed]", "tcb_fields: [reported, other]", "tcb: {milan: {floor: {fmc: 1}}}",
		"tcb: {genoa: {floor: {snp: 24}}}", "id_keys: [ab]", "products: [Rome]", "products: [unknown]", "products: [Milan-B0]", "author_keys: [" + strings.Repeat("AB", 48) + "]", "unknown: 1", "tcb: {milan: {recommended: {snp: 256}}}",
	} {
		if _, err := d.Parse([]byte("scheme: " + Name + "\nparameters: {" + bad + "}\n")); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
	// A part of the levels replaces that part alone.
	p, err = d.Parse([]byte("scheme: " + Name + "\nparameters: {tcb: {milan: {recommended: {snp: 25}}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m := appraisal.Parameters[Parameters](p).TCB.Milan; m.Recommended.SNP != 25 || m.Recommended.Microcode != 219 || m.Floor.SNP != 5 {
		t.Errorf("%+v", m)
	}
	if _, err := newVerifier(verifiers.Deps{Policies: map[string]*appraisal.Policy{Name: must(appraisal.Defaults{Scheme: "other", Findings: d.Findings}.Policy())}}); err == nil {
		t.Error("a policy of another scheme is taken")
	}
	edited := newTest(t, withPolicy(t, deps(nil), "findings: {genuine: {hardware: 32}}\n"))
	if a := appraise(t, edited, newMachine().input()); a.Vector[verdict.Hardware] != 32 || !strings.HasPrefix(a.PolicyID, Name+":sha-256:") {
		t.Errorf("%v %s", a.Vector, a.PolicyID)
	}
}
