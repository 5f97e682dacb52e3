// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// Newer firmware of Blackwell GPUs lets the FSP answer instead of the GSP. Such
// a transcript has no opaque data: what the device says about itself stands among
// the measurements, digests and raw values mixed, under the SPDM indices below.
const (
	engineFSP = "FSP"

	// blockDevice is the device's own PDI: 8 bytes raw, big-endian as in its
	// certificate.
	blockDevice = 26
	// blockIdentifiers is what the device answers to QueryDeviceIdentifiers (PLDM
	// for Firmware Update, DSP0267): descriptors of type, length and value, among
	// them one with the title APSKU.
	blockIdentifiers = 52
	// blockManifest is the SPDM measurement manifest (DSP0274; TCG Concise
	// Evidence Binding for SPDM, section 6): a table of what the other blocks are.
	// It is one of the measurements like any other, and not read: what blocks mean
	// is for reference values to say.
	blockManifest = 0xFD

	// rawBit of a block's type says that the value is no digest.
	rawBit = 0x80
	// apskuTag stands before the SKU: 16 bits, little-endian.
	apskuTag = "APSKU"
)

// firmwareVersion is the only form of version that manifests are named after.
var firmwareVersion = regexp.MustCompile(`^[0-9A-Fa-f]{2}(\.[0-9A-Fa-f]{2}){4}$`)

// describe reads what a GPU says about itself: opaque data, and with it, where
// the certificates are of an FSP, the blocks of its transcript. What engine it is
// decides, and not the look of the report, because the certificates are signed by
// another party. It does not fail: the device has signed what is there.
func describe(p *nvidia.Proof) *details {
	d := readDetails(p.Report.Opaque)
	if p.Chain.ID.Engine != engineFSP {
		return d
	}
	d.fsp = true
	d.transcript(p.Report.Blocks, p.Chain.ID.PDI)
	d.hint(p.Device.Hints.Firmware, p.Device.VBIOS)
	return d
}

// transcript reads the blocks of an FSP. pdi is that of the certificate, 16
// hexadecimal digits.
func (d *details) transcript(blocks []nvidia.Block, pdi string) {
	if v, err := rawBlock(blocks, blockDevice); err != nil {
		d.odd = append(d.odd, err.Error())
	} else if len(v) != nvidia.PDISize {
		d.odd = append(d.odd, fmt.Sprintf("block %d, the device id, has %d bytes, expected %d", blockDevice, len(v), nvidia.PDISize))
	} else if got := hex.EncodeToString(v); got != pdi {
		d.impostor = fmt.Sprintf("the certificates are of device %s, the transcript is of device %s (block %d)", pdi, got, blockDevice)
	}
	v, err := rawBlock(blocks, blockIdentifiers)
	if err == nil {
		d.apsku, err = apsku(v)
	}
	if err != nil {
		d.odd = append(d.odd, err.Error())
	}
	for _, b := range blocks {
		if b.Type&rawBit != 0 {
			d.raw = append(d.raw, int(b.Index))
		}
	}
	d.manifest = slices.ContainsFunc(blocks, func(b nvidia.Block) bool { return b.Index == blockManifest })
}

// rawBlock is the value of a block that is no digest.
func rawBlock(blocks []nvidia.Block, index uint8) ([]byte, error) {
	i := slices.IndexFunc(blocks, func(b nvidia.Block) bool { return b.Index == index })
	if i < 0 {
		return nil, fmt.Errorf("block %d is missing", index)
	}
	if b := blocks[i]; b.Type&rawBit == 0 {
		return nil, fmt.Errorf("block %d is a digest (type 0x%02x), expected a raw value", index, b.Type)
	}
	return blocks[i].Value, nil
}

// apsku is the SKU behind the only tag, four hexadecimal digits in upper case as
// in names of manifests. Its descriptor has room for 32 bits, of which NVIDIA's
// own verifier reads 16.
func apsku(v []byte) (string, error) {
	before, after, ok := bytes.Cut(v, []byte(apskuTag))
	switch {
	case !ok:
		return "", fmt.Errorf("block %d of %d bytes has no %s", blockIdentifiers, len(v), apskuTag)
	case bytes.Contains(after, []byte(apskuTag)):
		return "", fmt.Errorf("block %d has more than one %s", blockIdentifiers, apskuTag)
	case len(after) < 2:
		return "", fmt.Errorf("block %d ends %d bytes behind %s at offset %d, expected 2", blockIdentifiers, len(after), apskuTag, len(before))
	}
	return fmt.Sprintf("%04X", binary.LittleEndian.Uint16(after)), nil
}

// hint takes the version of the firmware that the collector names, which nothing
// in a transcript repeats. So it may only choose which manifest is looked for: the
// measurements in that have to match, and a wrong hint finds none or one that does
// not. Where the device reports a version after all, the hint has to be that, else
// it does not count. What the SDK's array calls VBIOS is the same version.
func (d *details) hint(firmware, vbios string) {
	if firmware == "" {
		firmware = vbios
	}
	switch {
	case d.vbios != "" && firmware != "" && !strings.EqualFold(firmware, d.vbios):
		d.hinted = fmt.Sprintf("the hint says firmware %q, the device %s", container.Clip(firmware), d.vbios)
	case d.vbios != "":
		d.firmware = d.vbios
	case firmwareVersion.MatchString(firmware):
		d.firmware = strings.ToUpper(firmware)
	case firmware != "":
		d.hinted = fmt.Sprintf("the hint says firmware %q, which is not five groups of two hexadecimal digits", container.Clip(firmware))
	}
}

// fspManifest is the identifier of the manifest for the firmware of a GPU with an
// FSP, "" if its SKU or firmware is not known. chip is the name in its
// certificates, as GB100.
func (d *details) fspManifest(chip string) string {
	if !d.fsp || d.apsku == "" || d.firmware == "" {
		return ""
	}
	return strings.Join([]string{"NV_GPU_VBIOS", chip, d.apsku, strings.ReplaceAll(d.firmware, ".", "")}, "_")
}
