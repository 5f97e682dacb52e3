// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/measuredboot"
)

// Parameters are the numbers and lists of the appraisal policy.
type Parameters struct {
	dcap.Parameters `yaml:",inline"`
	// AllowedTDAttributes names flags of TDATTRIBUTES that cost nothing: LASS, PKS,
	// KL, PERFMON, MIGRATABLE.
	AllowedTDAttributes []string `yaml:"allowed_td_attributes"`
	// AllowedServiceTDs are values of MRSERVICETD, 48 bytes in hexadecimal, that
	// cost nothing.
	AllowedServiceTDs []string `yaml:"allowed_service_tds"`
	// ReportData is what the 64 bytes of REPORTDATA have to be: by-leaf (raw64, or
	// hash-runtime-data for a leaf with runtime data), raw64, padded,
	// hash-runtime-data, sha384-jcs-padded, sha512-nonce-data or
	// nonce32-sha256-data. See README.md.
	ReportData string `yaml:"report_data"`
	// PCRs are the registers of a virtual TPM that have to be proven, for machines
	// whose quote measures a paravisor (Azure).
	PCRs measuredboot.Parameters `yaml:"pcrs"`
}

// Check says what is wrong with parameters.
func (p Parameters) Check() error {
	if err := p.Parameters.Check(); err != nil {
		return err
	}
	for _, name := range p.AllowedTDAttributes {
		if !slices.ContainsFunc(optional, func(f flag) bool { return f.name == name }) {
			return fmt.Errorf("allowed_td_attributes: %q is no flag that can be allowed", name)
		}
	}
	for _, s := range p.AllowedServiceTDs {
		if b, err := hex.DecodeString(s); err != nil || len(b) != 48 {
			return fmt.Errorf("allowed_service_tds: %q is not 48 bytes in hexadecimal", s)
		}
	}
	if err := p.PCRs.Check(); err != nil {
		return fmt.Errorf("pcrs: %w", err)
	}
	if !slices.Contains(conventions, p.ReportData) {
		return fmt.Errorf("report_data: %q is none of %v", p.ReportData, conventions)
	}
	return nil
}

// defaults is the appraisal policy of this build. LASS and PKS are allowed: they
// let a TD protect its own kernel from its own programs and open nothing to the
// host.
func defaults() appraisal.Defaults {
	return appraisal.Defaults{
		Scheme:     Name,
		Findings:   slices.Concat(dcap.Findings(dcap.TDX), attributeFindings(), measurementFindings(), logFindings(), measuredboot.Findings(vtpmPrefix)),
		Parameters: Parameters{AllowedTDAttributes: []string{"LASS", "PKS"}, ReportData: byLeaf, PCRs: measuredboot.Defaults()},
	}
}

func attributeFindings() []appraisal.Finding {
	type effect = appraisal.Effect
	open := effect{verdict.Configuration: verdict.ClaimContraindicate, verdict.RuntimeOpaque: verdict.ClaimContraindicate}
	bad, odd := effect{verdict.Configuration: verdict.ClaimContraindicate}, effect{verdict.Configuration: verdict.ClaimUnsafe}
	return []appraisal.Finding{
		{Name: "td-closed", Effect: effect{verdict.Configuration: verdict.ClaimApproved, verdict.RuntimeOpaque: verdict.ClaimApproved},
			Text: "Where the attributes start from: nothing of what follows was found."},
		{Name: "td-debug", Code: verdict.ReasonDebug, Effect: open, Floor: open, Text: "The TD runs with DEBUG: the host can read and write its memory."},
		{Name: "qe-debug", Code: verdict.ReasonDebug, Effect: open, Floor: open, Text: "The quoting enclave runs with DEBUG: its key is not secret."},
		{Name: "td-reserved-bits", Code: verdict.ReasonConfiguration, Effect: bad, Floor: odd, Text: "TDATTRIBUTES has bits set that nobody has defined."},
		{Name: "seam-attributes", Code: verdict.ReasonConfiguration, Effect: bad, Floor: bad, Text: "The TDX module is not a production one."},
		{Name: "sept-ve-disable-clear", Code: verdict.ReasonConfiguration, Effect: odd,
			Text: "SEPT_VE_DISABLE is clear: the host can inject faults on memory accesses. Azure's TDs have it clear."},
		{Name: "td-migratable", Code: verdict.ReasonConfiguration, Effect: odd, Text: "A migration TD may move the TD to another platform."},
		{Name: "service-td", Code: verdict.ReasonConfiguration, Effect: odd, Text: "A service TD is bound that is not in allowed_service_tds."},
		{Name: "td-key-locker", Code: verdict.ReasonConfiguration, Effect: odd, Text: "The TD may use key locker."},
		{Name: "td-perfmon", Code: verdict.ReasonConfiguration, Effect: odd, Text: "The TD may use performance counters, a side channel."},
		{Name: "td-flag-not-allowed", Code: verdict.ReasonConfiguration, Effect: odd,
			Text: "A flag is set that is harmless by itself and not in allowed_td_attributes."},
		{Name: "xfam", Code: verdict.ReasonConfiguration, Effect: odd, Text: "XFAM has unknown bits, or lacks x87 and SSE."},
	}
}

func measurementFindings() []appraisal.Finding {
	type effect = appraisal.Effect
	warn := func(c verdict.ClaimName) effect { return effect{c: verdict.ClaimUnsafe} }
	return []appraisal.Finding{
		{Name: "executables-match", Effect: effect{verdict.Executables: verdict.ClaimApproved},
			Text: "Reference values prove MRTD and all registers that measure something."},
		{Name: "executables-unproven", Code: verdict.ReasonNoReferenceValues, Effect: effect{verdict.Executables: verdict.ClaimUnrecognized},
			Floor: warn(verdict.Executables), Text: "Reference values do not prove all of MRTD and registers, or the host can change what runs."},
		{Name: "executables-mismatch", Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.Executables: verdict.ClaimContraindicate},
			Floor: warn(verdict.Executables), Text: "MRTD or a register is as in no reference value."},
		{Name: "module-mismatch", Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.Hardware: verdict.ClaimUnknownDevice},
			Floor: warn(verdict.Hardware), Text: "MRSEAM or MRSIGNERSEAM is as in no reference value."},
		{Name: "configuration-mismatch", Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.Configuration: verdict.ClaimContraindicate},
			Floor: warn(verdict.Configuration), Text: "A field that who starts the TD chooses, a flag or XFAM is as in no reference value."},
		{Name: "configuration-unproven", Code: verdict.ReasonNoReferenceValues, Effect: effect{verdict.Configuration: verdict.ClaimNoVisibility},
			Text: "MRCONFIGID, MROWNER or MROWNERCONFIG was chosen and is not proven."},
	}
}

// logFindings are about what lies beside a quote. An event log that does not replay
// says nothing about the registers, so only what it would have shown is missing.
func logFindings() []appraisal.Finding {
	type effect = appraisal.Effect
	none := effect{verdict.Executables: verdict.ClaimUnrecognized}
	broken := effect{}
	for name, c := range verdict.AllClaims(verdict.ClaimCryptoFailed) {
		broken[verdict.ClaimName(name)] = c
	}
	return []appraisal.Finding{
		{Name: "event-log-mismatch", Code: verdict.ReasonEventLogMismatch, Effect: none, Text: "The event log does not replay to the registers."},
		{Name: "event-log-malformed", Code: verdict.ReasonEventLogMismatch, Effect: none, Text: "The event log cannot be read."},
		{Name: "secure-boot-off", Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: verdict.ClaimUnsafe},
			Text: "The event log shows that the TD was started without secure boot."},
		{Name: "secure-boot-unknown", Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: verdict.ClaimNoVisibility},
			Text: "The event log is the one of the registers, but whether secure boot was on cannot be told, for example because there are two separators."},
		{Name: "no-event-log", Text: "No event log came with the quote. It costs nothing unless it is given a value here."},
		{Name: "runtime-data-mismatch", Code: verdict.ReasonBindingBroken, Effect: broken, Floor: broken,
			Text: "REPORTDATA does not commit to the runtime data beside the quote: they are not those of this TD."},
	}
}
