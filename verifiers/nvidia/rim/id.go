// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/assize/assize/verdict"
)

// Identifiers of NVIDIA's RIM service. What they are made of comes from a
// device, which has signed it; it is still held to these characters, because an
// identifier becomes part of a path.
var (
	idPart  = regexp.MustCompile(`^[A-Za-z0-9.]{1,32}$`)
	vbiosID = regexp.MustCompile(`^NV_GPU_VBIOS_[A-Z0-9.]{1,32}_[A-Z0-9.]{1,32}_[A-Z0-9.]{1,32}_([0-9A-F]{10})$`)
	ccID    = regexp.MustCompile(`^NV_GPU_CC_DRIVER_GB[A-Z0-9]{1,30}_([0-9.]{1,32})$`)
)

const (
	hopper       = "GH100"
	hopperDriver = "NV_GPU_DRIVER_" + hopper + "_"
	ccDriver     = "NV_GPU_CC_DRIVER_"
	vbiosPrefix  = "NV_GPU_VBIOS_"
	// switchPrefix has the project, project SKU and chip SKU of the LS10, which
	// that does not report.
	switchPrefix = "NV_SWITCH_BIOS_5612_0002_890_"
	blackwell    = "GB100"
)

// DriverID is the identifier of the manifest of a driver. chip is the one in the
// certificates of the GPU, chipInfo the field of the report, "" without it.
func DriverID(chip, chipInfo, version string) (string, error) {
	if err := checkParts(chip, cmp.Or(chipInfo, blackwell), version); err != nil {
		return "", err
	}
	if chip == hopper {
		return hopperDriver + version, nil
	}
	return ccDriver + cmp.Or(chipInfo, blackwell) + "_" + version, nil
}

// VBIOSID is the identifier of the manifest of a VBIOS: project, its SKU and the
// SKU of the chip are fields of the report.
func VBIOSID(project, projectSKU, chipSKU, version string) (string, error) {
	if err := checkParts(project, projectSKU, chipSKU, version); err != nil {
		return "", err
	}
	return strings.ToUpper(vbiosPrefix + strings.Join([]string{project, projectSKU, chipSKU, undotted(version)}, "_")), nil
}

// SwitchID is the identifier of the manifest of the BIOS of an LS10.
func SwitchID(version string) (string, error) {
	if err := checkParts(version); err != nil {
		return "", err
	}
	return strings.ToUpper(switchPrefix + undotted(version)), nil
}

func undotted(version string) string { return strings.ReplaceAll(version, ".", "") }

func checkParts(parts ...string) error {
	for _, p := range parts {
		if !idPart.MatchString(p) {
			return malformed("%q cannot be part of an identifier", clip(p))
		}
	}
	return nil
}

// Answers tells whether the manifest can be the one with this identifier, as far
// as that is signed: kind, version, and the chip where the identifier names it.
// That a VBIOS manifest is of the board in the identifier is signed nowhere; one
// of another board with the same version has other golden values. Otherwise it
// is an *Error with ReasonIdentityMismatch.
func (m *Manifest) Answers(id string) error {
	upper := strings.ToUpper(id)
	ok := false
	switch m.Kind {
	case Driver:
		cc := ccID.FindStringSubmatch(upper)
		ok = m.Product == hopper && upper == hopperDriver+m.Version ||
			strings.HasPrefix(m.Product, "GB") && cc != nil && cc[1] == m.Version
	case VBIOS:
		vbios := vbiosID.FindStringSubmatch(upper)
		ok = vbios != nil && strings.EqualFold(vbios[1], undotted(m.Version))
	case BIOS:
		ok = m.Product == switchProduct && strings.EqualFold(upper, switchPrefix+undotted(m.Version))
	}
	if !ok {
		return refuse(verdict.ReasonIdentityMismatch, "%s cannot be %q", m, clip(id))
	}
	return nil
}

const switchProduct = "LS10"
