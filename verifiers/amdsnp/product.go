// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"fmt"
	"strings"
)

// product is a line of processors with a root of its own. Bergamo and Siena
// have Genoa's, Turin Dense has Turin's.
type product uint8

const (
	productUnknown product = iota
	productMilan
	productGenoa
	productTurin
	numProducts
)

var productNames = [numProducts]string{"unknown", "Milan", "Genoa", "Turin"}

func (p product) String() string { return productNames[min(p, numProducts-1)] }

// productOf reads the name of a line, as it stands in subject names, or that of
// a product of it as certificates have it: "Milan", "Milan-B0".
func productOf(name string) product {
	line, _, _ := strings.Cut(name, "-")
	for p := productMilan; p < numProducts; p++ {
		if line == p.String() {
			return p
		}
	}
	return productUnknown
}

// productOfCPUID reads family and model in combined form (AMD revision guides
// 56683, 57095, 58251).
func productOfCPUID(family, model byte) product {
	switch {
	case family == 0x19 && model <= 0x0f:
		return productMilan
	case family == 0x19 && (model >= 0x10 && model <= 0x1f || model >= 0xa0 && model <= 0xaf):
		return productGenoa
	case family == 0x1a && model <= 0x1f:
		return productTurin
	}
	return productUnknown
}

// product of a report is known from version 3 on.
func (r *report) product() product {
	family, model, _, ok := r.cpuid()
	if !ok {
		return productUnknown
	}
	return productOfCPUID(family, model)
}

// tcbBytes is a TCB_VERSION as it stands in a report. It is eight numbers, whose
// places differ between lines, and never one.
type tcbBytes [8]byte

// component is one number of a TCB.
type component struct {
	name string
	at   int
}

var (
	componentsMilan = []component{{"boot loader", 0}, {"TEE", 1}, {"SNP", 6}, {"microcode", 7}}
	componentsTurin = []component{{"FMC", 0}, {"boot loader", 1}, {"TEE", 2}, {"SNP", 3}, {"microcode", 7}}
)

// components are the numbers of a TCB of the line, in the order of TCB.
func (p product) components() []component {
	if p == productTurin {
		return componentsTurin
	}
	return componentsMilan
}

// TCB are the security patch levels of one platform (AMD 56860, TCB_VERSION).
type TCB struct {
	// FMC exists on Turin only.
	FMC        uint8 `yaml:"fmc"`
	BootLoader uint8 `yaml:"boot_loader"`
	TEE        uint8 `yaml:"tee"`
	SNP        uint8 `yaml:"snp"`
	Microcode  uint8 `yaml:"microcode"`
}

func (t TCB) bytes(p product) tcbBytes {
	if p == productTurin {
		return tcbBytes{t.FMC, t.BootLoader, t.TEE, t.SNP, 0, 0, 0, t.Microcode}
	}
	return tcbBytes{t.BootLoader, t.TEE, 0, 0, 0, 0, t.SNP, t.Microcode}
}

// text names the components of b.
func (p product) text(b tcbBytes) string {
	var out []string
	for _, c := range p.components() {
		out = append(out, fmt.Sprintf("%s %d", c.name, b[c.at]))
	}
	return strings.Join(out, ", ")
}

// claims renders b by component.
func (p product) claims(b tcbBytes) map[string]any {
	m := map[string]any{"hex": fmt.Sprintf("%x", b[:])}
	for _, c := range p.components() {
		m[strings.ToLower(strings.ReplaceAll(c.name, " ", "_"))] = int(b[c.at])
	}
	return m
}

// below names the components in which b is less than least, "" if none is. All
// eight numbers count, those too that have no name.
func (p product) below(b, least tcbBytes) string {
	var out []string
	for i := range b {
		if b[i] < least[i] {
			out = append(out, fmt.Sprintf("%s %d < %d", p.componentAt(i), b[i], least[i]))
		}
	}
	return strings.Join(out, ", ")
}

func (p product) componentAt(i int) string {
	for _, c := range p.components() {
		if c.at == i {
			return c.name
		}
	}
	return fmt.Sprintf("reserved byte %d", i)
}
