// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// at is a time at which every recorded chain and every fake one is valid.
var at = time.Date(2025, 1, 15, 0, 0, 0, 0, time.UTC)

// fake is a simulated GPU with its own root.
type fake struct{ *nvidiatest.Device }

var fakePDI = []byte{0xFF, 0xEE, 0xB2, 0, 9, 0xE0, 0xBE, 0x49}

func newFake(tb testing.TB) *fake { return newFakeOf(tb, "HOPPER", "GH100", "GSP", 0x41) }

func newFakeOf(tb testing.TB, arch, chip, engine string, prefix byte) *fake {
	tb.Helper()
	d := nvidiatest.New(tb, rand.Reader, at, nvidiatest.Model{Arch: arch, Chip: chip, Engine: engine, Prefix: prefix, PDI: fakePDI})
	d.Fields = []nvidiatest.Field{
		{Type: nvidia.OpaqueVBIOS, Value: []byte{0, 0x9f, 0, 0x96, 1, 0, 0, 0}}, {Type: nvidia.OpaqueDriver, Value: []byte("590.12\x00")},
		{Type: nvidia.OpaqueFWID, Value: d.FWID}, {Type: opaqueProject, Value: []byte("1010\x00")}, {Type: opaqueProtectedPCIe, Value: []byte{0x55}},
		{Type: nvidia.OpaqueVersion, Value: []byte{1, 0}}, {Type: opaqueFeature, Value: []byte{0, 0}},
	}
	if engine == engineFSP {
		d.Fields, d.Blocks = nil, fspBlocks()
	}
	return &fake{d}
}

func (f *fake) roots() verifiers.Deps {
	return verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: f.Root()}}
}

// with replaces or adds one opaque field.
func (f *fake) with(typ uint16, v []byte) *fake {
	f.With(typ, v)
	return f
}
