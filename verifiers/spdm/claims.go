// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"cmp"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/assize/assize/verdict"
)

const (
	// maxShown is how many bytes of a raw value claims show.
	maxShown = 64
	// maxShownRanges is how many MMIO ranges.
	maxShownRanges = 64
)

// facts are what the lead binds with. Only names and nonce are signed; what rests
// on the report is marked.
func (p *proof) facts(a *verdict.Appraisal) {
	list := p.nonces()
	a.Facts = verdict.Facts{Device: identities(p.Identity), SignerSPKI: spkiDigest(p.Identity.Leaf), ReportData: hex.EncodeToString(list[len(list)-1]),
		Objects: p.BindingObjects(p.evidence.TSM), ChainKeys: p.Identity.deviceKeys()}
	if t := p.evidence.TSM; t != nil {
		a.Facts.Host = hosts[t.Kind]
	}
}

// hosts are the schemes of the CPU TEEs whose security managers have these
// structures.
var hosts = map[string]string{TSMCCA: "arm-cca", TSMSEVTIO: "amd-snp", TSMTDX: "intel-tdx"}

// deviceKeys are the keys between the leaf of an alias chain and the device
// certificate, that with the hardware identity (DSP0274, alias certificate model):
// the device made the one, and has the other alone. None without such a
// certificate: where the CAs of the maker begin is not known then.
func (id *Identity) deviceKeys() []string {
	if id.Model != ModelAlias {
		return nil
	}
	var out []string
	for _, x := range id.Path[1 : len(id.Path)-1] {
		out = append(out, spkiDigest(x))
		oids, _, err := spdmExtension(x)
		if err == nil && slices.ContainsFunc(oids, oidHardwareIdentity.Equal) {
			return out[:min(len(out), verdict.MaxChainKeys)]
		}
	}
	return nil
}

// claims are the readable contents of evidence whose signatures hold.
func (p *proof) claims() map[string]any {
	c := map[string]any{"container": p.container, "connection": p.connection(), "device": p.device()}
	if len(p.defects) > 0 {
		c["draft_defects"] = texts(p.defects)
	}
	if len(p.Segments) > 0 {
		c["measurements"] = p.measured()
		c["collection"] = map[string]any{
			"signatures": len(p.Segments), "recomputed": p.Recomputed, "content_change": p.Change.String(),
			"on_request": p.VCA.Responder&CapabilityFresh != 0,
		}
	}
	if m, ok := p.deviceMode(); ok {
		c["device_mode"] = map[string]any{
			"operational": texts(m.Operational.words()), "debug": texts(m.Debug.words()), "reportable": fmt.Sprintf("0x%x", uint32(m.DebugCapabilities)),
		}
	}
	if p.Challenge != nil {
		c["challenge"] = map[string]any{"summary": string(p.Challenge.Summary), "digests": p.DigestsSigned}
	}
	if p.Log != nil {
		c["extension_log"] = map[string]any{"entries": len(p.Log)}
	}
	if p.Report != nil {
		c["interface_report"] = p.Report.claims()
	}
	if t := p.evidence.TSM; t != nil {
		c["tsm"] = t.claims()
	}
	return c
}

func (p *proof) connection() map[string]any {
	v := p.VCA
	offered := make([]string, 0, len(v.Versions))
	for _, n := range v.Versions {
		offered = append(offered, Version(n>>8).String())
	}
	out := map[string]any{
		"version": v.Version.String(), "offered": texts(offered[:min(len(offered), 16)]), "base_asym": v.BaseAsym.String(), "base_hash": v.BaseHash.String(),
		"capabilities": fmt.Sprintf("0x%08x", uint32(v.Responder)), "multi_key": v.MultiKey,
	}
	if v.MeasurementHash != 0 {
		out["measurement_hash"] = v.MeasurementHash.String()
	}
	return out
}

func (p *proof) device() map[string]any {
	id := p.Identity
	subjects := make([]string, len(id.Path))
	for i, c := range id.Path {
		subjects[i] = short256(c.Subject.String())
	}
	digest := sha512.Sum384(p.Objects.Chain)
	out := map[string]any{
		"slot": int(id.Slot), "model": id.Model.String(), "path": texts(subjects), "root_spki": spkiDigest(id.Path[len(id.Path)-1]),
		"hardware_identity": id.HardwareIdentity, "mutable": id.Mutable, "expires": stamp(earliest(id)), "chain_sha384": hex.EncodeToString(digest[:]),
	}
	if id.DeviceInfo != "" {
		out["name"] = id.DeviceInfo
	}
	if id.CMA != "" {
		out["pcie_name"] = id.CMA
	}
	return out
}

// measured maps the index to the block.
func (p *proof) measured() map[string]any {
	out := make(map[string]any, len(p.Blocks))
	for i := range p.Blocks {
		b := &p.Blocks[i]
		m := map[string]any{"type": b.Type.String()}
		switch n, isSVN := b.SVN(); {
		case isSVN:
			m["svn"] = strconv.FormatUint(n, 10)
		case b.RawBits:
			m["raw"] = valueText(b)
			if d := p.digestOf(b); d != nil && b.Type != TypeDeviceMode {
				m["digest"] = hex.EncodeToString(d) // that of the digest form
			}
		default:
			m["digest"] = hex.EncodeToString(b.Value)
		}
		out[strconv.Itoa(int(b.Index))] = m
	}
	return out
}

// leftToLead is what claims say of bytes that no device signs: whether anything
// vouches for them is not seen here (decision D-80).
const leftToLead = "left to the lead"

// claims show a report; nobody has authenticated it here.
func (r *InterfaceReport) claims() map[string]any {
	digest := sha512.Sum384(r.Raw)
	var info []string
	for _, b := range []struct {
		bit  InterfaceInfo
		name string
	}{
		{InterfaceNoFirmwareUpdate, "no-firmware-update"}, {InterfaceDMAWithoutPASID, "dma-without-pasid"}, {InterfaceDMAWithPASID, "dma-with-pasid"},
		{InterfaceATS, "ats"}, {InterfacePRS, "prs"}, {InterfaceXT, "xt"},
	} {
		if r.Info&b.bit != 0 {
			info = append(info, b.name)
		}
	}
	var ranges []any
	for _, g := range r.Ranges[:min(len(r.Ranges), maxShownRanges)] {
		ranges = append(ranges, map[string]any{
			"id": int(g.ID), "first_page": fmt.Sprintf("0x%x", g.FirstPage), "pages": int(g.Pages), "tee": g.Attributes&RangeNonTEE == 0,
			"updatable": g.Attributes&RangeUpdatable != 0, "msix": g.Attributes&(RangeMSIXTable|RangeMSIXPBA) != 0,
		})
	}
	return map[string]any{
		"authenticated": leftToLead, "sha384": hex.EncodeToString(digest[:]), "info": texts(info), "ranges": ranges, "range_count": len(r.Ranges),
		"device_specific": hexText(r.Specific),
	}
}

func (t *TSM) claims() map[string]any {
	out := map[string]any{"authenticated": leftToLead, "kind": short256(t.Kind)}
	if t.State != nil {
		out["state"] = t.State.String()
	}
	if t.LockFlags != nil {
		out["lock_flags"] = fmt.Sprintf("0x%04x", uint16(*t.LockFlags))
	}
	return out
}

// valueText shows a value as text if it is one, else in hexadecimal.
func valueText(b *Block) string {
	s := strings.TrimRight(string(b.Value), "\x00")
	readable := s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	if b.RawBits && readable && len(s) <= maxShown {
		return strconv.Quote(s)
	}
	return hexText(b.Value)
}

func hexText(b []byte) string {
	if len(b) > maxShown {
		return fmt.Sprintf("%x… (%d bytes)", b[:maxShown], len(b))
	}
	return hex.EncodeToString(b)
}

func short256(s string) string {
	const most = 256
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

// texts is a list as claims hold it.
func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
