// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Architectures, as the member arch of the evidence spells them.
const (
	Hopper    = "HOPPER"
	Blackwell = "BLACKWELL"
	LS10      = "LS10"
)

// model is what all devices of a kind have in common. Names, dates and numbers
// are those of recorded devices.
type model struct {
	arch, chip, engine string
	// prefix stands in front of the PDI in the serial number of certificate 1.
	prefix byte
	// family and provisioner are common names, crl the list of the family.
	family, provisioner, crl string
	// began, familyBegan and deviceBegan are the starts of validity of the
	// provisioner, the family CA, and the two certificates below.
	began, familyBegan, deviceBegan time.Time
	// ocspOnDevice: certificate 1 names the OCSP service, too.
	ocspOnDevice bool
	// tcbInfo: the leaf carries DiceTcbInfo rather than CompositeDeviceID.
	tcbInfo bool
	blocks  int // measurement blocks of a report
	// forms are the forms of the blocks where they are not all digests of mutable
	// firmware.
	forms []block
	// tcbVersion is in DiceTcbInfo.
	tcbVersion string
	// project, sku and chipSKU name the board in RIM identifiers.
	project, sku, chipSKU string
	driverRIM             string // prefix of the driver's RIM identifier
	rim                   rimNames
	manifests
	current, outdated firmware
	// debugBlocks are the indices that debug firmware changes where nothing in
	// the certificate says debug.
	debugBlocks []int
	// board is BOARD_ID, GPU_INFO, CPRINFO, PROJECT_SKU_MOD of GPUs.
	board, info, cpr, skuMod []byte
}

// manifests are what the manifests of a model look like. early are the indices in
// that of the VBIOS or BIOS, late those in that of the driver: no index is in both.
// The maps have the number of values where there is more than one, and the formats
// of names other than Measurement_%d.
type manifests struct {
	early, late                         []int
	earlyAlternatives, lateAlternatives map[int]int
	earlyNames, lateNames               map[int]string
}

// each gives a list of indices one value.
func each[T any](v T, indices ...[]int) map[int]T {
	out := map[int]T{}
	for _, i := range slices.Concat(indices...) {
		out[i] = v
	}
	return out
}

// rimNames are the subjects of the chain that signs reference values.
type rimNames struct{ signer, issuer, family string }

// firmware is one state of driver and VBIOS (or BIOS) and what a device with
// it reports.
type firmware struct {
	driver string // "" for switches
	vbios  string // as rendered: 96.00.A5.00.01
	// measured are the indices, from 0, of blocks that are not zero.
	measured []int
	// counters are the values of MSRSCNT in hexadecimal, each below 256 and
	// reported in 32 bits.
	counters string
	svn      int // in DiceTcbInfo
	// version is OPAQUE_DATA_VERSION, -1 for none; chipInfo and feature say
	// whether these fields are there.
	version           int
	chipInfo, feature bool
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// span lists the numbers from a to b, both included.
func span(a, b int) []int {
	var out []int
	for ; a <= b; a++ {
		out = append(out, a)
	}
	return out
}

func hopper() model {
	common := slices.Concat(span(1, 7), []int{9, 11}, []int{21, 22, 25, 26, 27}, span(29, 41))
	return model{
		arch: Hopper, chip: "GH100", engine: "GSP", prefix: 0x41,
		family: "NVIDIA GH100 Identity", provisioner: "NVIDIA GH100 Provisioner ICA 1", crl: "l2-gh100.crl",
		began: day(2022, 3, 1), familyBegan: day(2022, 1, 12), deviceBegan: day(2020, 10, 17),
		blocks: 64, project: "G520", sku: "0200", chipSKU: "885", driverRIM: "NV_GPU_DRIVER_GH100_",
		rim: rimNames{"HCC RIM L4 Signer", "NVIDIA Reference Value L3 GH100 002", "NVIDIA Reference Value GH100 CA"},
		current: firmware{
			driver: "590.12", vbios: "96.00.A5.00.01", measured: slices.Concat(common, []int{12}),
			counters: "00010501010101010001008303000000000000000001020000010101000101010101020101010101010100000000000000000000000000000000000000000000",
			version:  1, feature: true,
		},
		outdated: firmware{
			driver: "580.95.05", vbios: "96.00.74.00.0D", measured: common,
			counters: "00010401010101010001008200000000000000000001020000010101000101010101020101010101010100000000000000000000000000000000000000000000",
			version:  1, feature: true,
		},
		debugBlocks: []int{1, 2, 3, 9},
		manifests: manifests{
			early: slices.Concat(span(0, 6), span(8, 12)), late: slices.Concat([]int{7}, span(21, 40)),
			earlyAlternatives: map[int]int{12: 4}, lateAlternatives: map[int]int{23: 2, 24: 2, 32: 2, 33: 2, 34: 2, 35: 4, 36: 3},
			earlyNames: each("HashedMeasurement_%d_FSP", span(1, 6)), lateNames: hopperNames(),
		},
		board: []byte{0x37, 0x04, 0, 0}, info: []byte{0x80, 1, 0, 0, 0, 0, 0, 0}, cpr: []byte{0, 0xC0, 1, 0}, skuMod: []byte{0, 0},
	}
}

// hopperNames are those in the manifest of driver 550.144.03.
func hopperNames() map[int]string {
	out := each("MixedMeasurement_%d", span(21, 27), span(29, 31), span(39, 40))
	maps.Copy(out, each("HashedMeasurement_%d_GSP", span(32, 33), span(36, 38)))
	out[34] = "MixedHashedMeasurement_%d"
	return out
}

func blackwell() model {
	return model{
		arch: Blackwell, chip: "GB100", engine: "GSP", prefix: 0x41,
		family: "NVIDIA GB100 Identity", provisioner: "NVIDIA GB100 Provisioner ICA 00000", crl: "l2-gb100.crl",
		began: day(2023, 6, 20), familyBegan: day(2023, 1, 1), deviceBegan: day(2023, 6, 20), ocspOnDevice: true, tcbInfo: true, tcbVersion: "01",
		blocks: 64, project: "G525", sku: "0220", chipSKU: "886", driverRIM: "NV_GPU_CC_DRIVER_GB100_",
		rim: rimNames{"RIM L4 Signer", "NVIDIA Reference Value L3 GB100-CC 001", "NVIDIA Reference Value GB1XX CA 001"},
		current: firmware{
			driver: "590.48.01", vbios: "97.00.E4.00.11", svn: 1,
			measured: slices.Concat(span(1, 4), []int{6, 8}, span(11, 14), span(17, 20), []int{40, 41}, span(45, 50), span(52, 56), span(58, 60), []int{63}),
			counters: "00030108010001001000000301010100000176020700000000000000000000000000000000000000010100000001010101010100010101010100010101000001",
			version:  1, chipInfo: true, feature: true,
		},
		manifests: manifests{
			early: slices.Concat(span(0, 13), span(15, 20)), late: slices.Concat([]int{14}, span(40, 63)),
			earlyNames: each("HashedMeasurement_%d_FSP", span(1, 6)), lateNames: each("MixedMeasurement_%d", span(40, 63)),
		},
		outdated: firmware{
			driver: "575.32", vbios: "97.00.88.00.0F", svn: 1,
			measured: slices.Concat([]int{2, 3, 4, 6, 8}, span(11, 15), span(17, 22), span(25, 27), span(29, 33), span(35, 41)),
			counters: "00000108010001001000000301010101000176020701010000010101000101010101000101010101010100000000000000000000000000000000000000000000",
		},
		board: []byte{0x6F, 0x06, 0, 0}, info: []byte{0xA0, 1, 0, 0, 0, 0, 0, 0}, cpr: []byte{0, 0, 4, 0}, skuMod: []byte("0\x00"),
	}
}

// h200 is a Hopper on the board of an H200: other names of its VBIOS.
func h200() model {
	m := hopper()
	m.sku, m.chipSKU, m.current.vbios = "0280", "895", "96.00.A5.00.03"
	return m
}

// fsp is a Blackwell whose FSP answers.
func fsp() model {
	m := blackwell()
	m.engine, m.prefix, m.forms, m.tcbVersion = "FSP", 0x40, fspBlocks(), "08"
	m.blocks, m.driverRIM = len(m.forms), ""
	measured := slices.Concat(span(2, 7), span(10, 12))
	m.current = firmware{vbios: "01.00.00.00.01", measured: measured, svn: 3}
	m.outdated = firmware{vbios: "00.09.00.00.04", measured: measured, svn: 2}
	m.manifests = manifests{early: slices.Concat([]int{fspImage}, measured, []int{17, 50, fspIdentifiers})}
	return m
}

func nvswitch() model {
	return model{
		arch: LS10, chip: "LS_10", engine: "FSP", prefix: 0x50,
		family: "NVIDIA GH100 Identity", provisioner: "NVIDIA LS_10 Provisioner ICA 1", crl: "l2-gh100.crl",
		began: day(2022, 3, 1), familyBegan: day(2022, 1, 12), deviceBegan: day(2020, 10, 17),
		blocks: 31, project: "5612", sku: "0002", chipSKU: "890",
		rim: rimNames{"NVIDIA Reference Value L4 LS10", "NVIDIA Reference Value L3 LS10 001", "NVIDIA Reference Value LS10 CA"},
		current: firmware{
			vbios: "96.10.73.00.01", measured: slices.Concat(span(0, 6), []int{8, 10, 11, 14}, span(18, 26)),
			counters: "01050101010101006e000101000001000000010101010101010101", version: -1,
		},
		outdated: firmware{
			vbios: "96.10.55.00.01", measured: slices.Concat(span(0, 4), []int{6}, span(8, 11), []int{14}, span(18, 30)),
			counters: "01040101010001006e0101010000010000000101010101010101", version: -1,
		},
		debugBlocks: []int{1, 2, 3},
		manifests: manifests{
			early: span(0, 30), earlyAlternatives: each(4, span(9, 25)), earlyNames: each("HashedMeasurement_%d_FSP", span(0, 3), []int{27}),
		},
	}
}

// vbiosRIM is the identifier of the reference values of a VBIOS (or BIOS).
func (m model) vbiosRIM(f firmware) string {
	kind := "NV_GPU_VBIOS_"
	switch {
	case m.arch == LS10:
		kind = "NV_SWITCH_BIOS_"
	case m.forms != nil:
		return fmt.Sprintf("%s%s_%04X_%s", kind, m.chip, apsku, strings.ReplaceAll(f.vbios, ".", ""))
	}
	return kind + m.project + "_" + m.sku + "_" + m.chipSKU + "_" + strings.ReplaceAll(f.vbios, ".", "")
}

// rimOf names the reference values that cover an index: the VBIOS measures the
// early firmware, the driver what it loads. No index is in both.
func (m model) rimOf(f firmware, index int) string {
	var early bool
	switch {
	case m.arch == Hopper:
		early = index <= 12 && index != 7
	case m.arch == Blackwell && m.forms == nil:
		early = index <= 20 && index != 14
	default:
		early = true
	}
	if early {
		return m.vbiosRIM(f)
	}
	return m.driverRIM + f.driver
}

// vbiosBytes is the binary form of a VBIOS version a.b.c.d.e: bytes d c b a e
// and three zeros.
func vbiosBytes(s string) ([]byte, error) {
	var v [5]byte
	if _, err := fmt.Sscanf(s, "%02X.%02X.%02X.%02X.%02X", &v[0], &v[1], &v[2], &v[3], &v[4]); err != nil {
		return nil, fmt.Errorf("nvidia: VBIOS version %q: %w", s, err)
	}
	return []byte{v[3], v[2], v[1], v[0], v[4], 0, 0, 0}, nil
}

// Wiring of an eight-GPU board, read off one real machine. gpuLinks[g] gives
// for each of the 18 links of GPU g the position of the switch behind it.
// switchPorts[s] gives for each of the 64 ports of the switch at position s
// the GPU that it reports there, '.' for none.
var (
	gpuLinks = [8]string{
		"113311223312002200", "112233003321002211", "113311332212002200", "223322001121330011",
		"331133220012001122", "110033223321002211", "331133002212002211", "221122110021330033",
	}
	switchPorts = [4]string{
		"................................443344335577557766226622001.....",
		"66777733........................7633556650320055114.............",
		"3344............6603............33741144775515772...............",
		"................................337733772244224411001100665.....",
	}
)
