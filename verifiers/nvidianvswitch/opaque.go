// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/assize/assize/verifiers/internal/nvidia"
)

// opaqueDisabledPorts is the one field that only switches have and that says
// nothing about what kind of device it is.
const opaqueDisabledPorts = 23

const (
	// maxGPUs is the length of the list of GPUs, portCount that of the map
	// from ports to its entries; unusedPort is a port without a GPU.
	maxGPUs    = 8
	portCount  = 64
	unusedPort = 0xFF
	// maxCounters bounds the measurement counters, in bytes.
	maxCounters = 256
)

// details is what a switch says about itself in the opaque data of its report.
type details struct {
	bios string
	// pdi is the switch's own PDI, 16 hexadecimal digits, "" without one.
	pdi string
	// gpus are the PDIs of the GPUs behind the ports, 16 hex digits, without
	// empty places and repetitions.
	gpus []string
	// position within the board, -1 if it is not said.
	position int
	// lock is "locked", "unlocked" or "unknown (…)", "" if it is not said.
	lock          string
	disabledPorts string // hexadecimal
	counter       string // hexadecimal
	fwid          []byte
	// unknown are the field types without a known meaning in a switch report.
	unknown []int
	// odd says which fields of a known type cannot be read, and why.
	odd []string
	// driver says that the report has the version of a driver, which runs GPUs.
	driver bool
	// versioned says that the report has the field OPAQUE_DATA_VERSION, which
	// no known switch writes: the others may mean something else then.
	versioned bool
}

// readDetails gives the opaque fields of a signed report their meaning. It does
// not fail: the device has signed what is there. A field of an unknown type is
// listed only; one of a known type that cannot be read counts as not there and
// is named in odd.
func readDetails(fields []nvidia.Field) *details {
	d := &details{position: -1}
	_, d.versioned = nvidia.Find(fields, nvidia.OpaqueVersion)
	for _, f := range fields {
		if d.versioned && !stays(f) {
			d.unknown = append(d.unknown, int(f.Type))
			continue
		}
		if err := d.read(f); err != nil {
			d.odd = append(d.odd, nvidia.Misread(f, err))
		}
	}
	return d
}

// stays reports what is taken to mean the same in a report whose opaque data
// have a version: what identifies device and firmware, in its known form.
func stays(f nvidia.Field) bool {
	switch f.Type {
	case nvidia.OpaqueVBIOS, nvidia.OpaquePDI, nvidia.OpaqueFWID:
		return (&details{}).read(f) == nil
	}
	return false
}

func (d *details) read(f nvidia.Field) (err error) {
	v := f.Value
	switch f.Type {
	case nvidia.OpaqueVBIOS:
		d.bios, err = nvidia.Text(v, true)
	case nvidia.OpaquePDI:
		d.pdi, err = nvidia.Octets(v, nvidia.PDISize)
	case nvidia.OpaqueMSRSCNT:
		if len(v) == 0 || len(v)%4 != 0 || len(v) > maxCounters {
			return fmt.Errorf("counters of %d bytes", len(v))
		}
		d.counter = hex.EncodeToString(v)
	case nvidia.OpaqueGPUs:
		d.gpus, err = gpuPDIs(v)
	case opaqueDisabledPorts:
		d.disabledPorts, err = nvidia.Octets(v, 2)
	case nvidia.OpaquePosition:
		if len(v) != 2 {
			return fmt.Errorf("position of %d bytes, expected 2", len(v))
		}
		d.position = int(binary.LittleEndian.Uint16(v))
	case nvidia.OpaqueLock:
		d.lock, err = lock(v)
	case nvidia.OpaqueFWID:
		// Also of another size it is there, and differs from the certificate's.
		if d.fwid = v; len(v) != nvidia.FWIDSize {
			err = fmt.Errorf("FWID of %d bytes, expected %d", len(v), nvidia.FWIDSize)
		}
	case nvidia.OpaqueDriver:
		d.driver = true
	default:
		d.unknown = append(d.unknown, int(f.Type))
	}
	return err
}

// lockLocked is the state in which partitions and ports cannot be changed.
const lockLocked = "locked"

func lock(v []byte) (string, error) {
	if len(v) != 2 {
		return "", fmt.Errorf("lock status of %d bytes, expected 2", len(v))
	}
	switch n := binary.LittleEndian.Uint16(v); n {
	case 0:
		return "unlocked", nil
	case 1:
		return lockLocked, nil
	default:
		return fmt.Sprintf("unknown (%d)", n), nil
	}
}

// gpuPDIs reads eight big-endian PDIs, all zero for an empty place, and the map
// from ports to them. A port that leads to no place of the list, or to an empty
// one, makes the whole field unreadable.
func gpuPDIs(v []byte) ([]string, error) {
	if len(v) != maxGPUs*nvidia.PDISize+portCount {
		return nil, fmt.Errorf("list of GPUs of %d bytes, expected %d", len(v), maxGPUs*nvidia.PDISize+portCount)
	}
	var out []string
	var taken [maxGPUs]bool
	for i := range maxGPUs {
		pdi := v[i*nvidia.PDISize:][:nvidia.PDISize]
		if bytes.Equal(pdi, make([]byte, nvidia.PDISize)) {
			continue
		}
		taken[i] = true
		if s := hex.EncodeToString(pdi); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for port, gpu := range v[maxGPUs*nvidia.PDISize:] {
		if gpu != unusedPort && (int(gpu) >= maxGPUs || !taken[gpu]) {
			return nil, fmt.Errorf("port %d leads to GPU %d, which is not in the list", port, gpu)
		}
	}
	return out, nil
}
