// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"slices"
	"strings"

	"github.com/assize/assize/corim"
)

// namePrefix begins the names of devices (draft-poirier-rats-eat-da, name of a
// submodule), pciPrefix the vendor and model of a device that only has a PCIe
// name, keyPrefix the name of the key.
const (
	namePrefix = "spdm:"
	pciPrefix  = "pci:"
	keyPrefix  = "spdm-key:"
)

// deviceNames are the names by which a policy can list a device: its name, else
// the subject of its leaf, and its key.
func deviceNames(id *Identity) []string {
	name := id.DeviceInfo
	if name == "" {
		name = subjectName(id)
	}
	key := keyPrefix + spkiDigest(id.Leaf)
	if name == "" || len(name) > maxName {
		return []string{key}
	}
	return []string{namePrefix + name, key}
}

// identities are those of the names that one device has and no other: a DMTF name
// without serial number is that of a model, and a subject may be anybody's.
func identities(id *Identity) []string {
	key := keyPrefix + spkiDigest(id.Leaf)
	if part := strings.SplitN(id.DeviceInfo, ":", 3); len(part) == 3 && !slices.Contains(part, "") {
		return []string{namePrefix + id.DeviceInfo, key}
	}
	return []string{key}
}

func subjectName(id *Identity) string { return id.Leaf.Subject.String() }

// certifiedNames are the names that a container may have for a device: those of a
// Device Assignment Token, the proper one first, and the subject in the order of
// crypto/x509, which is not always that of the certificate.
func certifiedNames(id *Identity) []string {
	out, err := TokenNames(id.Leaf)
	if err != nil {
		out = nil
	}
	return append(out, namePrefix+subjectName(id))
}

// manufacturer is the first part of the DMTF name, or "pci:" and the PCI vendor
// id in lower case, or "".
func (id *Identity) manufacturer() string {
	if c, ok := environment(id); ok {
		return c.Class.Vendor
	}
	return ""
}

// environment is the name of a device in reference values: vendor, model and
// serial number of the DMTF name, else of the PCIe name. ok is false for a leaf
// without either.
func environment(id *Identity) (e corim.Environment, ok bool) {
	if part := strings.SplitN(id.DeviceInfo, ":", 3); len(part) >= 2 && part[0] != "" && part[1] != "" {
		e.Class = corim.Class{Vendor: part[0], Model: part[1]}
		if len(part) == 3 && part[2] != "" {
			e.Instance = corim.TaggedBytes(corim.TagBytes, []byte(part[2]))
		}
		return e, true
	}
	fields := map[string]string{}
	serial := ""
	for _, f := range strings.Split(id.CMA, ":") {
		name, value, named := strings.Cut(f, "=")
		if !named {
			serial = f
			continue
		}
		if _, twice := fields[name]; twice {
			return e, false
		}
		fields[name] = strings.ToLower(value)
	}
	if len(fields["Vendor"]) != 4 || len(fields["Device"]) != 4 {
		return e, false
	}
	e.Class = corim.Class{Vendor: pciPrefix + fields["Vendor"], Model: pciPrefix + fields["Device"]}
	if serial != "" {
		e.Instance = corim.TaggedBytes(corim.TagBytes, []byte(strings.ToLower(serial)))
	}
	return e, true
}
