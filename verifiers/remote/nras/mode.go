// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"encoding/binary"
	"fmt"

	"github.com/assize/assize/verifiers/internal/nvidia"
)

// Fields of the opaque data by which a device says what mode it is in, besides
// those that package nvidia names.
const (
	opaqueProtectedPCIe = 21
	opaqueFeature       = 36
	engineOn, engineOff = 0xAA, 0x55
	versionKnown        = 1
	lockClosed          = 1
)

// mode is the finding about the mode that the report states, "" if it is one in
// which data are protected, and what to say of it.
func (k kind) mode(r *nvidia.Report) (finding, detail string) {
	if k.path == "switch" {
		return lockOf(r.Opaque)
	}
	pcie, hasPCIe := nvidia.Find(r.Opaque, opaqueProtectedPCIe)
	version, hasVersion := number(r.Opaque, nvidia.OpaqueVersion)
	feature, hasFeature := number(r.Opaque, opaqueFeature)
	switch {
	case hasPCIe && (len(pcie.Value) != 1 || pcie.Value[0] != engineOff && pcie.Value[0] != engineOn):
		return findModeUnknown, fmt.Sprintf("the state of protected PCIe is %x, which is not known", pcie.Value)
	case !hasVersion && hasOpaque(r.Opaque, nvidia.OpaqueVersion) || version > versionKnown:
		return findModeNotStated, fmt.Sprintf("opaque data of version %d, known up to %d: the mode is not read", version, versionKnown)
	case hasPCIe && pcie.Value[0] == engineOn:
		return findProtectedPCIe, "protected PCIe is on: traffic between GPUs is in clear on NVLink"
	case version < versionKnown || !hasFeature:
		return findModeNotStated, "the report does not say in which mode of confidential computing the GPU is, and neither does the service"
	case feature == 0 || feature == 1: // single and multi GPU passthrough
		return "", ""
	case feature == 2:
		return findProtectedPCIe, "the mode is protected PCIe: traffic between GPUs is in clear on NVLink"
	}
	return findModeUnknown, fmt.Sprintf("the mode of confidential computing is number %d, which is not known", feature)
}

func lockOf(fields []nvidia.Field) (finding, detail string) {
	if hasOpaque(fields, nvidia.OpaqueVersion) {
		return findModeNotStated, "opaque data with a version, which no known switch has: the lock status is not read"
	}
	lock, ok := number(fields, nvidia.OpaqueLock)
	switch {
	case !ok:
		return findModeNotStated, "the report does not say whether partitions and ports are locked, and neither does the service"
	case lock != lockClosed:
		return findUnlocked, fmt.Sprintf("the switch says that its lock status is %d: its partitions and ports may be changed", lock)
	}
	return "", ""
}

func hasOpaque(fields []nvidia.Field, typ uint16) bool {
	_, ok := nvidia.Find(fields, typ)
	return ok
}

// number reads a field of 16 bits, little-endian.
func number(fields []nvidia.Field, typ uint16) (int, bool) {
	f, ok := nvidia.Find(fields, typ)
	if !ok || len(f.Value) != 2 {
		return 0, false
	}
	return int(binary.LittleEndian.Uint16(f.Value)), true
}
