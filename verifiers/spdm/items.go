// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verifiers/internal/reference"
)

// The keys of reference values that are no measurement index.
const (
	keySummary   = "spdm.summary.tcb"
	keyVersion   = "spdm.version"
	keyAsym      = "spdm.base-asym"
	keyHash      = "spdm.base-hash"
	keyInfo      = "tdisp.interface-info"
	keyNonTEE    = "tdisp.non-tee-range-count"
	keyUpdatable = "tdisp.updatable-range-count"
	keyRange     = "tdisp.range."
	keyMSIX      = "tdisp.msix"
	keyLNR       = "tdisp.lnr"
	keyTPH       = "tdisp.tph"
	keySpecific  = "tdisp.device-specific"
	keyReport    = "tdisp.report"
)

// group says which claim an item belongs to.
type group byte

const (
	groupFirmware group = iota // ROM and mutable firmware: has to be proven
	groupLevel                 // versions
	groupLoaded                // hash-extend, summary
	groupHardware
	groupConfig // has to be proven
	groupMode
	groupOther
	groupConnection
	groupInterface
	groupSpecific
)

// item is one measurement of a device.
type item struct {
	reference.Item
	group group
	index uint8 // of a block, else 0
}

func raw(b []byte) *corim.RawValue { return &corim.RawValue{Tag: corim.TagBytes, Value: b} }

func le2(n uint16) []byte { return binary.LittleEndian.AppendUint16(nil, n) }
func le4(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

// items are what reference values may speak about. A block that extends a hash
// can be compared as digest or, banks being true, as integrity register.
func (p *proof) items(banks bool) []item {
	out := make([]item, 0, len(p.Blocks)+16)
	for i := range p.Blocks {
		out = append(out, p.blockItem(&p.Blocks[i], banks))
	}
	if c := p.Challenge; c != nil && c.Transcript.Request.Summary == SummaryTCB && c.Fresh {
		out = append(out, text(keySummary, groupLoaded, corim.Values{Digests: p.digest(baseAlgorithm(p.VCA.BaseHash), c.Transcript.Response.SummaryHash)}))
	}
	number := func(key string, n uint32) {
		out = append(out, text(key, groupConnection, corim.Values{Raw: raw(le4(n)), Range: corim.IntValue(int64(n))}))
	}
	out = append(out, text(keyVersion, groupConnection, corim.Values{
		Raw: raw([]byte{byte(p.VCA.Version)}), Range: corim.IntValue(int64(p.VCA.Version)), Version: &corim.Version{Text: p.VCA.Version.String()},
	}))
	number(keyAsym, uint32(p.VCA.BaseAsym))
	number(keyHash, uint32(p.VCA.BaseHash))
	if p.Report != nil {
		out = append(out, p.Report.items()...)
	}
	return out
}

func text(key string, g group, v corim.Values) item {
	return item{Item: reference.Item{Name: key, Key: corim.TextKey(key), Value: v}, group: g}
}

func (p *proof) digest(alg corim.Algorithm, value []byte) []corim.Digest {
	return []corim.Digest{{Alg: alg, Value: value}}
}

// blockName is what a block is called in reasons.
const blockName = "measurement "

func (p *proof) blockItem(b *Block, banks bool) item {
	it := item{group: groupOf(b.Type), index: b.Index}
	it.Key, it.Name = corim.NumberKey(uint64(b.Index)), fmt.Sprint(blockName, b.Index)
	v := &it.Value
	if d := p.digestOf(b); d != nil && !(b.RawBits && (b.Type == TypeSVN || b.Type == TypeDeviceMode)) {
		v.Digests = p.digest(baseAlgorithm(p.VCA.MeasurementHash.base()), d)
	}
	if b.RawBits {
		v.Raw = raw(b.Value)
	}
	if n, ok := b.SVN(); ok {
		v.SVN = &corim.SVN{Value: n}
	}
	if b.Type == TypeFirmwareVersion && b.RawBits && utf8.Valid(b.Value) {
		v.Version = &corim.Version{Text: string(b.Value)}
	}
	if m, ok := b.DeviceMode(); ok {
		v.Flags = &corim.Flags{Known: 1 << corim.FlagDebug}
		if m.Debug.Active() {
			v.Flags.Value = 1 << corim.FlagDebug
		}
	}
	if b.Type == TypeHashExtend && !b.RawBits && banks {
		it.Name = blockName
		*v = corim.Values{Registers: []corim.Register{{ID: corim.NumberKey(uint64(b.Index)), Digests: v.Digests}}}
	}
	return it
}

func groupOf(t ValueType) group {
	switch t {
	case TypeImmutableROM, TypeMutableFirmware:
		return groupFirmware
	case TypeHardwareConfig:
		return groupHardware
	case TypeFirmwareConfig:
		return groupConfig
	case TypeDeviceMode:
		return groupMode
	case TypeFirmwareVersion, TypeSVN:
		return groupLevel
	case TypeHashExtend:
		return groupLoaded
	}
	return groupOther
}

// baseAlgorithm is the hash as reference values call it.
func baseAlgorithm(h BaseHash) corim.Algorithm {
	switch h {
	case BaseSHA256:
		return corim.SHA256
	case BaseSHA384:
		return corim.SHA384
	case BaseSHA512:
		return corim.SHA512
	case BaseSHA3256:
		return corim.NamedAlgorithm("sha3-256")
	case BaseSHA3384:
		return corim.NamedAlgorithm("sha3-384")
	case BaseSHA3512:
		return corim.NamedAlgorithm("sha3-512")
	}
	return corim.NamedAlgorithm("sm3")
}

// items are the properties of an interface. Addresses differ between machines and
// are none of them.
func (r *InterfaceReport) items() []item {
	count := func(bit RangeAttributes) corim.Values {
		n := 0
		for _, g := range r.Ranges {
			if g.Attributes&bit != 0 {
				n++
			}
		}
		return corim.Values{Raw: raw(le4(uint32(n))), Range: corim.IntValue(int64(n))}
	}
	out := []item{
		text(keyInfo, groupInterface, corim.Values{Raw: raw(le2(uint16(r.Info)))}),
		text(keyNonTEE, groupInterface, count(RangeNonTEE)), text(keyUpdatable, groupInterface, count(RangeUpdatable)),
		text(keyMSIX, groupInterface, corim.Values{Raw: raw(le2(r.MSIX))}), text(keyLNR, groupInterface, corim.Values{Raw: raw(le2(r.LNR))}),
		text(keyTPH, groupInterface, corim.Values{Raw: raw(le4(r.TPH))}),
		text(keySpecific, groupSpecific, corim.Values{Raw: raw(r.Specific), Digests: digests(r.Specific)}),
		text(keyReport, groupInterface, corim.Values{Digests: digests(r.normal())}),
	}
	for _, g := range r.Ranges {
		out = append(out, text(fmt.Sprint(keyRange, g.ID), groupInterface, corim.Values{Raw: raw(append(le4(g.Pages), le2(uint16(g.Attributes))...))}))
	}
	return out
}

// digests are all that reference values may have of an object.
func digests(b []byte) []corim.Digest {
	s256, s384, s512 := sha256.Sum256(b), sha512.Sum384(b), sha512.Sum512(b)
	return []corim.Digest{{Alg: corim.SHA256, Value: s256[:]}, {Alg: corim.SHA384, Value: s384[:]}, {Alg: corim.SHA512, Value: s512[:]}}
}

// normal is the report without the reporting offset of a virtual machine: the
// lowest first page is subtracted from all.
func (r *InterfaceReport) normal() []byte {
	out := slices.Clone(r.Raw)
	if len(r.Ranges) == 0 {
		return out
	}
	low := slices.MinFunc(r.Ranges, func(a, b Range) int { return cmp.Compare(a.FirstPage, b.FirstPage) }).FirstPage
	for i, g := range r.Ranges {
		binary.LittleEndian.PutUint64(out[rangesOffset+i*rangeSize:], g.FirstPage-low)
	}
	return out
}

// rangesOffset is where the ranges stand in a report.
const rangesOffset = 16
