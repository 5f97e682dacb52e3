// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
)

// leaf is one component, opened: the report, the certificate table as it came,
// and what else was there.
type leaf struct {
	report []byte
	table  []byte
	// service says that a service module (SVSM) asked for the report, with manifest.
	service  bool
	manifest []byte
	// unevaluated are the names of claims that say what this scheme does not
	// evaluate.
	unevaluated []string
}

// open takes report and table out of their container by media type; contents
// never decide which container it is.
func open(mt evidence.MediaType, raw []byte) (leaf, *failure) {
	if len(raw) > maxReportLeaf {
		return leaf{}, failf(verdict.ReasonTooLarge, "evidence has %d bytes, at most %d", len(raw), maxReportLeaf)
	}
	var (
		l   leaf
		err error
	)
	switch mt.Base {
	case typeReport:
		if len(raw) < reportSize {
			return leaf{}, failf(verdict.ReasonMalformed, "%d bytes, an SNP report has %d", len(raw), reportSize)
		}
		l.report, l.table = raw[:reportSize], raw[reportSize:]
	case tsm.TypeJSON, tsm.TypeCBOR:
		l, err = openTSM(mt, raw)
	default:
		err = fmt.Errorf("media type %s is not one of this scheme", mt.Base)
	}
	if err != nil {
		return leaf{}, failf(verdict.ReasonMalformed, "%v", err)
	}
	return l, nil
}

// openTSM reads a configfs-TSM report. The provider in the report counts: the
// parameter of the media type is only what somebody said about it.
func openTSM(mt evidence.MediaType, raw []byte) (leaf, error) {
	r, err := tsm.Decode(mt, raw)
	if err != nil {
		return leaf{}, err
	}
	if r.Provider != tsmProvider {
		return leaf{}, fmt.Errorf("TSM report is of provider %q, expected %q", r.Provider, tsmProvider)
	}
	if r.ServiceProvider != "" && r.ServiceProvider != serviceProvider {
		return leaf{}, fmt.Errorf("TSM report of the service provider %q, expected none or %q", r.ServiceProvider, serviceProvider)
	}
	return leaf{report: r.OutBlob, table: r.AuxBlob, service: r.ServiceProvider != "", manifest: r.ManifestBlob}, nil
}
