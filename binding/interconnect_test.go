// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// device is what one verifier says about one device of a board.
type device struct {
	label    string
	ids      []string
	peers    []string
	required bool
	claim    verdict.Claim
}

func pdi(n int) string { return fmt.Sprintf("nvidia-pdi:%016x", n) }

// gpuPDI and switchPDI number the devices of board n.
func gpuPDI(board, i int) string    { return pdi(board*256 + i) }
func switchPDI(board, i int) string { return pdi(board*256 + 128 + i) }

// board is a board of GPUs and switches that name one another.
func board(n, gpus, switches int) []device {
	var g, s []string
	for i := range gpus {
		g = append(g, gpuPDI(n, i))
	}
	for i := range switches {
		s = append(s, switchPDI(n, i))
	}
	var out []device
	for i, id := range g {
		out = append(out, device{fmt.Sprintf("gpu/%d", i), []string{"nvidia-ueid:" + id, id}, s, true, verdict.ClaimApproved})
	}
	for i, id := range s {
		out = append(out, device{fmt.Sprintf("switch/%d", i), []string{id}, g, true, verdict.ClaimApproved})
	}
	return out
}

// judged are the components that verifiers of these devices make of them.
func judged(t *testing.T, devices ...device) []verdict.Component {
	t.Helper()
	var out []verdict.Component
	for _, d := range devices {
		out = append(out, d.judged(t))
	}
	slices.SortFunc(out, func(a, b verdict.Component) int { return strings.Compare(string(a.Label), string(b.Label)) })
	return out
}

func (d device) judged(t testing.TB) verdict.Component {
	t.Helper()
	c := partWith(t, d.label, "device", "same", isFresh, func(a *verdict.Appraisal) {
		a.Vector[verdict.Hardware] = d.claim
		a.Facts.Device, a.Facts.Peers, a.Facts.PeersRequired = d.ids, d.peers, d.required
	})
	c.Scheme = d.scheme()
	return c
}

func (d device) scheme() string {
	if strings.HasPrefix(d.label, "switch") {
		return schemeSwitch
	}
	return schemeGPU
}

// unanswered is a component that was submitted and about which nobody answered.
func unanswered(label, class, scheme string) verdict.Component {
	return verdict.Component{Label: evidence.Path(label), Class: class, Scheme: scheme, Required: true, Evidence: [32]byte{1}}
}

// linkCaps are the caps that this check adds, and those of the duplicates.
func linkCaps(t *testing.T, parts []verdict.Component) string {
	t.Helper()
	_, list := Check(Input{Components: parts})
	return caps(slices.DeleteFunc(list, func(c verdict.Cap) bool { return c.Reason.Code == verdict.ReasonUnboundComponent }))
}

// in changes one device of a board.
func in(all []device, label string, change func(*device)) []device {
	all = slices.Clone(all)
	for i := range all {
		if all[i].label == label {
			change(&all[i])
		}
	}
	return all
}

func without(all []device, label string) []device {
	return slices.DeleteFunc(slices.Clone(all), func(d device) bool { return d.label == label })
}

const (
	linkBroken = "contraindicated:binding-broken"
	linkBad    = "contraindicated:interconnect-incomplete"
	linkOpen   = "none:interconnect-incomplete"
	linkOdd    = "warning:interconnect-incomplete"
	same       = "contraindicated:duplicate-identity"
)

// TestInterconnectRules: each rule for devices that work with one another in
// clear, alone where that can be.
func TestInterconnectRules(t *testing.T) {
	whole := board(1, 8, 4)
	names := func(ids ...string) func(*device) { return func(d *device) { d.peers = ids } }
	not := func(id string) func(*device) {
		return func(d *device) {
			d.peers = slices.DeleteFunc(slices.Clone(d.peers), func(p string) bool { return p == id })
		}
	}
	also := func(id string) func(*device) { return func(d *device) { d.peers = append(slices.Clone(d.peers), id) } }
	foreign := board(2, 8, 4)
	foreignGPU, foreignSwitch := foreign[3], foreign[8+2]
	for _, c := range []struct {
		name    string
		devices []device
		others  []verdict.Component
		caps    string
	}{
		{"a whole board", whole, nil, ""},
		{"a device that is on no list", append(board(1, 8, 4), device{label: "gpu/8", ids: []string{pdi(9999)}, claim: 2}), nil, ""},

		{"a switch is missing", without(whole, "switch/2"), nil, linkBad + " " + linkOdd},
		{"a GPU is missing", without(whole, "gpu/7"), nil, linkBad + " " + linkOdd},
		{"no switch at all", whole[:8], nil, linkBad + " " + linkOdd},
		{"a switch has no verdict", without(whole, "switch/2"), []verdict.Component{unanswered("switch/2", "device", schemeSwitch)}, linkOpen + " " + linkOdd},
		{"a leaf that nobody could take apart", whole[:8], []verdict.Component{unanswered("switch", "", "")}, linkOpen + " " + linkOdd},
		{"two switches are missing and one has no verdict", whole[:10], []verdict.Component{unanswered("switch/2", "device", schemeSwitch)}, linkBad + " " + linkOdd},
		{"a GPU without verdict is no switch", without(whole, "switch/2"), []verdict.Component{unanswered("x", "device", schemeGPU)}, linkBad + " " + linkOdd},
		{"a CPU without verdict is no switch", without(whole, "switch/2"), []verdict.Component{unanswered("x", "cpu-tee", "")}, linkBad + " " + linkOdd},
		{"a missing component is no switch", without(whole, "switch/2"), []verdict.Component{{Label: "switch/*", Scheme: schemeSwitch, Required: true}}, linkBad + " " + linkOdd},

		{"a switch that is known and has no verdict is another one", without(whole, "switch/2"),
			judged(t, device{"switch/9", []string{pdi(9)}, nil, false, verdict.ClaimMalfunction}), linkBad + " " + linkOdd},
		{"a switch that says nothing of itself is judged", without(whole, "switch/2"),
			judged(t, device{"switch/9", nil, nil, false, verdict.ClaimApproved}), linkBad + " " + linkOdd},

		{"another switch in place of one", in(whole, "switch/2", func(d *device) { *d = foreignSwitch }), nil,
			linkBad + " " + linkBad + " " + linkOdd + " " + linkOdd},
		{"a GPU of another board in place of one", in(whole, "gpu/3", func(d *device) { *d = foreignGPU }), nil,
			linkBad + " " + linkBad + " " + linkOdd + " " + linkOdd},
		{"a GPU of another board besides", append(board(1, 8, 4), device{"gpu/8", foreignGPU.ids, foreignGPU.peers, true, 2}), nil, linkBad + " " + linkOdd},
		{"a GPU in the mode that the switches do not name", append(board(1, 8, 4), device{"gpu/8", foreignGPU.ids, whole[0].peers, true, 2}), nil, linkBroken + " " + linkOdd},
		{"a GPU in the mode that names nobody", append(board(1, 8, 4), device{"gpu/8", foreignGPU.ids, nil, true, 2}), nil, linkBad + " " + linkOdd},
		{"the same, and a switch without verdict", append(board(1, 8, 4), device{"gpu/8", foreignGPU.ids, nil, true, 2}),
			[]verdict.Component{unanswered("switch/4", "device", schemeSwitch)}, linkOpen + " " + linkOdd},

		{"one GPU twice", append(board(1, 8, 4), device{"gpu/8", whole[0].ids, whole[0].peers, true, 2}), nil, same + " " + same + " " + linkOdd},
		{"one switch twice", in(whole, "switch/3", func(d *device) { *d = whole[8]; d.label = "switch/3" }), nil, same + " " + same + " " + linkBad},

		{"a switch does not name a GPU that names it", in(whole, "switch/1", not(gpuPDI(1, 5))), nil, linkBroken},
		{"a GPU does not name a switch that names it", in(whole, "gpu/5", not(switchPDI(1, 1))), nil, linkBroken},
		{"neither names the other", in(in(whole, "gpu/5", not(switchPDI(1, 1))), "switch/1", not(gpuPDI(1, 5))), nil, linkBad},
		{"a GPU that does not speak", in(whole, "gpu/5", names()), nil, linkOpen},
		{"a switch that does not speak", in(whole, "switch/1", names()), nil, linkOpen},
		{"a GPU that is not in the mode", in(whole, "gpu/5", func(d *device) { d.required = false }), nil, linkOpen},
		{"switches do not have to say it", in(in(in(in(whole, "switch/0", func(d *device) { d.required = false }), "switch/1", func(d *device) { d.required = false }),
			"switch/2", func(d *device) { d.required = false }), "switch/3", func(d *device) { d.required = false }), nil, ""},
		{"a GPU names itself", in(whole, "gpu/5", also(gpuPDI(1, 5))), nil, linkBroken + " " + linkBad},
		{"two GPUs name each other", in(in(whole, "gpu/5", also(gpuPDI(1, 6))), "gpu/6", also(gpuPDI(1, 5))), nil, linkBad},
		{"a GPU names one that nobody is", in(whole, "gpu/5", also(pdi(77))), nil, linkBad},
		{"two GPUs and two switches", board(1, 2, 2), nil, linkOdd},
		{"four GPUs less on every list", board(1, 4, 4), nil, linkOdd},
		{"three switches on every list", board(1, 8, 3), nil, linkOdd},

		{"a member that is a warning", in(whole, "switch/1", func(d *device) { d.claim = verdict.ClaimUnsafe }), nil, "warning:depends-on-warning"},
		{"a member that is contraindicated", in(whole, "gpu/1", func(d *device) { d.claim = verdict.ClaimContraindicate }), nil, "contraindicated:depends-on-contraindicated"},
		{"a member that is none", in(whole, "gpu/1", func(d *device) { d.claim = verdict.ClaimMalfunction }), nil, "none:depends-on-none"},
	} {
		parts := append(judged(t, c.devices...), c.others...)
		slices.SortFunc(parts, func(a, b verdict.Component) int { return strings.Compare(string(a.Label), string(b.Label)) })
		want := strings.Fields(c.caps)
		slices.Sort(want)
		if got := linkCaps(t, parts); got != strings.Join(want, " ") {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, strings.Join(want, " "))
		}
		checkSummaries(t, c.name, parts)
	}
}

// checkSummaries: the summaries say what the caps do, and no better.
func checkSummaries(t *testing.T, name string, parts []verdict.Component) {
	t.Helper()
	_, list := Check(Input{Components: parts})
	worst, stated := verdict.TierAffirming, verdict.TierAffirming
	for _, c := range list {
		if c.Reason.Code != verdict.ReasonUnboundComponent {
			worst = verdict.Worst(worst, c.Tier)
		}
	}
	for _, i := range Interconnects(parts) {
		stated = verdict.Worst(stated, i.Tier)
		if i.Configuration.Tier().WorseThan(i.Tier) || i.Tier != verdict.TierAffirming && len(i.Reasons) == 0 {
			t.Errorf("%s: %+v", name, i)
		}
	}
	if stated != worst {
		t.Errorf("%s: the summaries say %s, the caps %s", name, stated, worst)
	}
}

// TestInterconnectEdges: an edge for each pair that one of them speaks of; only
// what both say binds, and it binds on the way to the CPU.
func TestInterconnectEdges(t *testing.T) {
	whole := judged(t, board(1, 8, 4)...)
	e, _ := Check(Input{Components: whole})
	if len(e) != 32 {
		t.Fatalf("%d edges", len(e))
	}
	for _, x := range e {
		if x.Kind != KindInterconnect || x.Strength != StrengthStrong || x.Status != StatusBound || x.Origin != OriginHardware ||
			!strings.HasPrefix(string(x.From), "gpu/") || !strings.HasPrefix(string(x.To), "switch/") {
			t.Errorf("%+v", x)
		}
	}
	key := spki("0a")
	cpu := partWith(t, "cpu", "cpu-tee", "same", isFresh, func(a *verdict.Appraisal) {
		a.Facts.Keys = []verdict.CommittedKey{{SPKI: key, Via: "x", Origin: OriginHardware}}
	})
	first := whole[0]
	whole[0] = partWith(t, "gpu/0", "device", "same", isFresh, func(a *verdict.Appraisal) {
		a.Facts = first.Partial.Appraisal().Facts
		a.Facts.SignerSPKI = key
	})
	whole[0].Scheme = schemeGPU
	if _, k := Check(Input{Components: append([]verdict.Component{cpu}, whole...)}); len(k) != 0 {
		t.Errorf("one GPU is bound to the CPU, and the others are not: %v", k)
	}
	whole[0] = first
	if _, k := Check(Input{Components: append([]verdict.Component{cpu}, whole...)}); caps(k) != "warning:unbound-component" {
		t.Errorf("%v", k)
	}

	one := func(a, b device) string {
		t.Helper()
		e, k := Check(Input{Components: judged(t, a, b)})
		return strings.TrimSpace(edges(e) + " | " + strings.ReplaceAll(caps(k), "warning:unbound-component", ""))
	}
	g := device{"gpu/0", []string{"nvidia-ueid:9", pdi(1)}, []string{pdi(2)}, false, 2}
	s := device{"switch/0", []string{pdi(2)}, []string{pdi(1)}, false, 2}
	names := func(d device, ids ...string) device { d.peers = ids; return d }
	for _, c := range []struct {
		name, want string
		a, b       device
	}{
		{"both", "gpu/0:switch/0:interconnect:strong:bound |", g, s},
		{"neither", "|", names(g), names(s)},
		{"neither, both speak", "|", names(g, pdi(3)), names(s, pdi(4))},
		{"one speaks of another", "gpu/0:switch/0:interconnect:none:broken | " + linkBroken, g, names(s, pdi(4))},
		{"the other does", "gpu/0:switch/0:interconnect:none:broken | " + linkBroken, names(g, pdi(4)), s},
		{"one would be two devices", "gpu/0:switch/0:interconnect:none:broken | " + linkBroken, g, device{"switch/0", []string{pdi(2), pdi(4)}, []string{pdi(1)}, false, 2}},
		{"one is silent", "gpu/0:switch/0:interconnect:none:absent |", g, names(s)},
		{"one speaks of other kinds", "gpu/0:switch/0:interconnect:none:absent |", g, names(s, "x:1")},
	} {
		if got := one(c.a, c.b); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestInterconnectVerifiersAgree: of redundant verifiers every one has to have
// found a link, and what any found against it counts.
func TestInterconnectVerifiersAgree(t *testing.T) {
	g := device{"gpu/0", []string{pdi(1)}, []string{pdi(2)}, true, 2}
	s := judged(t, device{"switch/0", []string{pdi(2)}, []string{pdi(1)}, true, 2})[0]
	change := func(f func(*device)) device { d := g; f(&d); return d }
	for _, c := range []struct {
		name, status, caps string
		second             device
	}{
		{"both", StatusBound, linkOdd, g},
		{"one finds no peers", StatusAbsent, linkOpen + " " + linkOdd, change(func(d *device) { d.peers = nil })},
		{"one finds other peers", StatusBroken, linkBroken + " " + linkBad + " " + linkOdd, change(func(d *device) { d.peers = []string{pdi(3)} })},
		{"one finds another identity", StatusBroken, linkBroken + " " + linkOdd, change(func(d *device) { d.ids = []string{pdi(4)} })},
		{"one finds no identity", StatusAbsent, linkOpen + " " + linkOdd, change(func(d *device) { d.ids = nil })},
		{"one finds nothing", StatusAbsent, linkOpen + " " + linkOpen + " " + linkOdd, change(func(d *device) { d.ids, d.peers, d.required = nil, nil, false })},
		{"one finds another mode", StatusBound, linkOpen + " " + linkOdd, change(func(d *device) { d.required = false })},
		{"one finds a further peer", StatusBound, linkBad + " " + linkOdd, change(func(d *device) { d.peers = []string{pdi(2), pdi(3)} })},
	} {
		for _, parts := range [][]device{{g, c.second}, {c.second, g}} {
			two := together(parts[0].judged(t), parts[1].judged(t))
			e, k := Check(Input{Components: []verdict.Component{two, s}})
			k = slices.DeleteFunc(k, func(c verdict.Cap) bool { return c.Reason.Code == verdict.ReasonUnboundComponent })
			want := strings.Fields(c.caps)
			slices.Sort(want)
			if len(e) != 1 || e[0].Status != c.status || caps(k) != strings.Join(want, " ") {
				t.Errorf("%s: %s | %s, want %s | %s", c.name, edges(e), caps(k), c.status, strings.Join(want, " "))
			}
		}
	}
}

// TestInterconnectOneVerifierSuffices: what one of them found is required.
func TestInterconnectOneVerifierSuffices(t *testing.T) {
	g := device{"gpu/0", []string{pdi(1)}, []string{pdi(2)}, true, 2}
	free := g
	free.required = false
	for _, two := range []verdict.Component{together(g.judged(t), free.judged(t)), together(free.judged(t), g.judged(t))} {
		if got := linkCaps(t, []verdict.Component{two}); !strings.Contains(got, linkBad) {
			t.Errorf("%s", got)
		}
	}
	if got := linkCaps(t, []verdict.Component{free.judged(t)}); got != "" {
		t.Errorf("%s", got)
	}
}

// TestInterconnectSummary: what the verdict says about a board.
func TestInterconnectSummary(t *testing.T) {
	list := func(format string, n int) (out []evidence.Path) {
		for i := range n {
			out = append(out, evidence.Path(fmt.Sprintf(format, i)))
		}
		return out
	}
	whole := board(1, 8, 4)
	want := verdict.Interconnect{Tier: verdict.TierAffirming, Configuration: verdict.ClaimApprovedBoot, Devices: list("gpu/%d", 8), Switches: list("switch/%d", 4)}
	if got := Interconnects(judged(t, whole...)); !reflect.DeepEqual(got, []verdict.Interconnect{want}) {
		t.Errorf("%+v", got)
	}
	got := Interconnects(judged(t, in(whole, "gpu/3", func(d *device) { d.claim = verdict.ClaimUnsafe })...))
	if len(got) != 1 || got[0].Tier != verdict.TierWarning || got[0].Configuration != verdict.ClaimApprovedBoot {
		t.Errorf("how good a member is became a matter of rules: %+v", got)
	}
	got = Interconnects(judged(t, without(whole, "switch/3")...))
	if len(got) != 1 || got[0].Tier != verdict.TierContraindicated || got[0].Configuration != verdict.ClaimContraindicate ||
		!slices.Equal(got[0].Unattested, []string{switchPDI(1, 3)}) || !slices.ContainsFunc(got[0].Reasons, func(r verdict.Reason) bool {
		return strings.Contains(r.Detail, switchPDI(1, 3)) && strings.Contains(r.Detail, "gpu/0, gpu/1, gpu/2")
	}) {
		t.Errorf("%+v", got)
	}
	// Two boards, in one composite, are two.
	two := board(2, 8, 4)
	for i := range two {
		two[i].label = strings.Replace(two[i].label, "/", "/b", 1)
	}
	got = Interconnects(judged(t, append(board(1, 8, 4), two...)...))
	if len(got) != 2 || got[0].Tier != verdict.TierAffirming || got[1].Tier != verdict.TierAffirming || len(got[1].Members()) != 12 {
		t.Errorf("%+v", got)
	}
	// Devices that do not work in clear have edges and no rules.
	free := board(1, 2, 2)
	for i := range free {
		free[i].required = false
	}
	if got := Interconnects(judged(t, free[1:]...)); got != nil || linkCaps(t, judged(t, free[1:]...)) != "" {
		t.Errorf("%+v", got)
	}
}

// TestInterconnectIsMonotone: a board from which something was taken, or of which
// something was made worse, is never better for it: no verdict for a member may
// hide that it contradicts the others, and then it is none; nothing becomes a
// warning or affirming that was worse.
func TestInterconnectIsMonotone(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	worse := []verdict.Claim{verdict.ClaimApproved, verdict.ClaimUnsafe, verdict.ClaimMalfunction, verdict.ClaimContraindicate}
	faults := []func(*device){
		func(*device) {}, func(d *device) { d.peers = nil }, func(d *device) { d.peers = d.peers[1:] },
		func(d *device) { d.peers = append(slices.Clone(d.peers), pdi(7)) }, func(d *device) { d.required = false }, func(d *device) { d.ids = []string{pdi(8)} },
	}
	for range 60 {
		devices := board(1, 8, 4)
		for range rng.IntN(3) {
			i := rng.IntN(len(devices))
			faults[rng.IntN(len(faults))](&devices[i])
			devices[i].claim = worse[rng.IntN(len(worse))]
		}
		before := outcome(judged(t, devices...))
		i := rng.IntN(len(devices))

		bad := slices.Clone(devices)
		bad[i].claim = worse[min(len(worse)-1, slices.Index(worse, bad[i].claim)+1)]
		if after := outcome(judged(t, bad...)); before.WorseThan(after) {
			t.Errorf("a worse %s: %s became %s", bad[i].label, before, after)
		}

		gone := slices.Delete(slices.Clone(devices), i, i+1)
		if after := outcome(judged(t, gone...)); !after.WorseThan(verdict.TierWarning) {
			t.Errorf("without %s: %s became %s", devices[i].label, before, after)
		}
		silent := append(judged(t, gone...), unanswered(devices[i].label, "device", devices[i].scheme()))
		slices.SortFunc(silent, func(a, b verdict.Component) int { return strings.Compare(string(a.Label), string(b.Label)) })
		if after := outcome(silent); !after.WorseThan(verdict.TierWarning) {
			t.Errorf("%s without verdict: %s became %s", devices[i].label, before, after)
		}
		for n := range silent {
			silent[n].Required = false
		}
		if after := outcome(silent); !after.WorseThan(verdict.TierWarning) {
			t.Errorf("%s optional and without verdict: %s became %s", devices[i].label, before, after)
		}
	}
}

// outcome is the verdict on a composite, whatever else it may lack.
func outcome(parts []verdict.Component) verdict.Tier {
	_, list := Check(Input{Components: parts})
	list = slices.DeleteFunc(list, func(c verdict.Cap) bool { return c.Reason.Code == verdict.ReasonUnboundComponent })
	return verdict.Combine(parts, list).Tier
}

// TestInterconnectOfMany: what a composite can hold of one device is bounded in the
// verdict, and no bound makes anything better.
func TestInterconnectOfMany(t *testing.T) {
	var devices []device
	for i := range 70 {
		devices = append(devices, device{fmt.Sprintf("gpu/%03d", i), []string{pdi(1)}, []string{pdi(2)}, false, 2},
			device{fmt.Sprintf("switch/%03d", i), []string{pdi(2)}, []string{pdi(1)}, false, 2})
	}
	of := func(n int) ([]verdict.Binding, []verdict.Cap) {
		return interconnect(newComposite(judged(t, devices[:2*n]...), nil))
	}
	if e, k := of(64); len(e) != maxLinks || len(k) != 0 {
		t.Errorf("%d edges, %s", len(e), caps(k))
	}
	if e, k := of(65); len(e) != maxLinks || caps(k) != linkOpen {
		t.Errorf("%d edges, %s", len(e), caps(k))
	}
	for i := range devices {
		devices[i].required = true
	}
	e, k := of(65)
	if len(e) != maxLinks || len(k) > 2*65+2 || strings.Count(caps(k), same) != 2*64 {
		t.Errorf("%d edges, %d findings: %s", len(e), len(k), caps(k))
	}
	// A reason names some and counts the others.
	devices[0].peers = nil
	for i := range 50 {
		devices[0].peers = append(devices[0].peers, pdi(100+i))
	}
	if got := linkCapsDetail(t, devices[0]); !strings.Contains(got, pdi(131)+", and 18 more, with which") || strings.Contains(got, pdi(132)) {
		t.Errorf("%s", got)
	}
}

// linkCapsDetail are the words about a lone device.
func linkCapsDetail(t *testing.T, d device) string {
	t.Helper()
	_, list := interconnect(newComposite(judged(t, d), nil))
	var out []string
	for _, c := range list {
		out = append(out, c.Reason.Detail)
	}
	return strings.Join(out, "\n")
}

// BenchmarkCheckBoard is the check of a whole board.
func BenchmarkCheckBoard(b *testing.B) {
	var parts []verdict.Component
	for _, d := range board(1, 8, 4) {
		parts = append(parts, d.judged(b))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, list := Check(Input{Components: parts}); len(list) != 1 {
			b.Fatal(list)
		}
	}
}
