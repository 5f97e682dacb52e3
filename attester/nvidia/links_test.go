// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"slices"
	"testing"

	"github.com/assize/assize/attester/nvidia"
)

// What the last part of a node says wrongly about its links, and that nothing else
// in its report changes.
func TestLinkFaults(t *testing.T) {
	gpus, switches := node(t)
	names := map[nvidia.PDI]string{{}: "none"}
	var gpuPDIs, switchPDIs []nvidia.PDI
	for _, d := range gpus {
		names[d.PDI()] = "gpu"
		gpuPDIs = append(gpuPDIs, d.PDI())
	}
	for _, d := range switches {
		names[d.PDI()] = "switch"
		switchPDIs = append(switchPDIs, d.PDI())
	}
	distinct := func(list []string) map[string]int {
		out := map[string]int{}
		for _, s := range list {
			out[s]++
		}
		return out
	}
	for _, fault := range []nvidia.LinkFault{nvidia.LinkMissing, nvidia.LinkRepeated, nvidia.LinksForeign} {
		g := gpu(t, nvidia.Options{Vendor: vendor, Device: vendor.Sub("gpu", "7"), Now: now, Position: 7, Peers: switchPDIs, Links: fault})
		s := nvswitch(t, nvidia.Options{Vendor: vendor, Device: vendor.Sub("switch", "3"), Now: now, Position: 3, Peers: gpuPDIs, Links: fault})
		if g.PDI() != gpus[7].PDI() || s.PDI() != switches[3].PDI() || !sameChain(g, gpus[7]) || !sameChain(s, switches[3]) {
			t.Errorf("fault %d: another device", fault)
		}
		gl, sl := read(t, report(t, g)), read(t, report(t, s))
		if !slices.Equal(gl.shape(), read(t, report(t, gpus[7])).shape()) || !slices.Equal(sl.shape(), read(t, report(t, switches[3])).shape()) {
			t.Errorf("fault %d: other fields", fault)
		}
		links, listed := distinct(behind(gl.field(t, 22), names)), distinct(pdis(sl.field(t, 26), names))
		want := map[nvidia.LinkFault][2]map[string]int{
			nvidia.LinkMissing:  {{"switch": 14, "none": 4}, {"gpu": 7, "none": 1}},
			nvidia.LinkRepeated: {{"switch": 18}, {"gpu": 8}},
			nvidia.LinksForeign: {{"": 18}, {"": 8}},
		}[fault]
		if got := [2]map[string]int{links, listed}; !same2(got, want) {
			t.Errorf("fault %d: %v, expected %v", fault, got, want)
		}
		if twice := gpuCount(sl.field(t, 26)); fault == nvidia.LinkRepeated && twice != 7 {
			t.Errorf("repeated: %d GPUs", twice)
		}
	}
	o := options("alone")
	o.Links = nvidia.LinkMissing
	if _, err := nvidia.NewGPU(o); err == nil {
		t.Error("a fault of links without any")
	}
}

func same2(a, b [2]map[string]int) bool {
	for i := range a {
		if len(a[i]) != len(b[i]) {
			return false
		}
		for k, n := range a[i] {
			if b[i][k] != n {
				return false
			}
		}
	}
	return true
}

// pdis names the owners of eight big-endian PDIs.
func pdis(v []byte, names map[nvidia.PDI]string) (out []string) {
	for p := range slices.Chunk(v[:64], 8) {
		out = append(out, names[nvidia.PDI(p)])
	}
	return out
}

func gpuCount(v []byte) int {
	seen := map[nvidia.PDI]bool{}
	for p := range slices.Chunk(v[:64], 8) {
		seen[nvidia.PDI(p)] = true
	}
	return len(seen)
}

// The mode that a GPU says it is in: by its peers, and by its fault.
func TestModes(t *testing.T) {
	peers := []nvidia.PDI{nvidia.PDIOf(vendor.Sub("switch", "0"))}
	for _, c := range []struct {
		peers    []nvidia.PDI
		other    bool
		status   byte
		feature  byte
		hasLinks bool
	}{{nil, false, 0x55, 0, false}, {nil, true, 0xAA, 2, true}, {peers, false, 0xAA, 2, true}, {peers, true, 0x55, 0, false}} {
		o := options("mode")
		o.Peers, o.OtherMode = c.peers, c.other
		l := read(t, report(t, gpu(t, o)))
		links := slices.ContainsFunc(l.opaque, func(f tlv) bool { return f.typ == 22 })
		if l.field(t, 21)[0] != c.status || l.field(t, 36)[0] != c.feature || links != c.hasLinks {
			t.Errorf("%+v: %v", c, l.shape())
		}
	}
	o := options("mode")
	o.Arch, o.OtherMode = nvidia.Blackwell, true
	if _, err := nvidia.NewGPU(o); err == nil {
		t.Error("another mode of Blackwell")
	}
}
