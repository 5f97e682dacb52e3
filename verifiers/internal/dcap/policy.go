// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// Parameters are those of the appraisal policy that both TEEs have; a scheme embeds
// them in its own with `yaml:",inline"`.
type Parameters struct {
	// CollateralGraceDays is how many days after its next update collateral may
	// still count if there is nothing better. The hardware is then at best a
	// warning.
	CollateralGraceDays int `yaml:"collateral_grace_days"`
	// MinimumEvaluationNumber is the lowest TCB evaluation data number that costs
	// nothing; 0 asks for none.
	MinimumEvaluationNumber int `yaml:"minimum_evaluation_number"`
	// OutOfDateDays is for how many days something may be out of date, counted from
	// the date of the first level above the one it has, before it is
	// contraindicated; 0 is any number. Intel's sample policy has 90.
	OutOfDateDays int `yaml:"out_of_date_days"`
	// MinimumTCBDate is the oldest date, YYYY-MM-DD, that a level which is out of
	// date may have before it is contraindicated; empty asks for none.
	MinimumTCBDate string `yaml:"minimum_tcb_date"`
	// AllowedAdvisories are ids of which somebody knows that the software in the
	// TEE is hardened against them: "software hardening needed" for these alone
	// costs nothing.
	AllowedAdvisories []string `yaml:"allowed_advisories"`
}

// advisoryID is the form of Intel's advisories.
var advisoryID = regexp.MustCompile(`^[A-Z0-9-]{1,64}$`)

// maxDays is a hundred years, far from overflowing a time.Duration.
const maxDays = 36500

// Check says what is wrong with parameters.
func (p Parameters) Check() error {
	for name, n := range map[string]int{
		"collateral_grace_days": p.CollateralGraceDays, "out_of_date_days": p.OutOfDateDays,
	} {
		if n < 0 || n > maxDays {
			return fmt.Errorf("%s is %d, expected 0 to %d", name, n, maxDays)
		}
	}
	if p.MinimumEvaluationNumber < 0 {
		return errors.New("minimum_evaluation_number is below zero")
	}
	if _, err := p.floor(); err != nil {
		return fmt.Errorf("minimum_tcb_date: %w", err)
	}
	for _, id := range p.AllowedAdvisories {
		if !advisoryID.MatchString(id) {
			return fmt.Errorf("allowed_advisories: %q is no id", id)
		}
	}
	return nil
}

func (p Parameters) floor() (time.Time, error) {
	if p.MinimumTCBDate == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.DateOnly, p.MinimumTCBDate)
}

// Grace is CollateralGraceDays, for Verifier.Judge.
func (p Parameters) Grace() time.Duration { return days(p.CollateralGraceDays) }

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// Findings are the rows of the appraisal policy that Judgement.Apply can report
// about a TEE. Values are those of AR4SI; where Intel's status does not say which,
// configuration that is needed costs the configuration, and what is outdated or
// open to an attack the hardware.
func Findings(t TEE) []appraisal.Finding {
	hw, conf := verdict.Hardware, verdict.Configuration
	type effect = appraisal.Effect
	worst, unknown, unsafe := effect{hw: verdict.ClaimContraindicate}, effect{hw: verdict.ClaimUnknownDevice}, effect{hw: verdict.ClaimUnsafe}
	both := effect{hw: verdict.ClaimUnsafe, conf: verdict.ClaimUnsafe}
	out := []appraisal.Finding{
		{Name: "tcb-up-to-date", Effect: effect{hw: verdict.ClaimApproved}, Text: "Platform and quoting enclave are at a current level."},
		{Name: "tcb-sw-hardening-needed", Code: verdict.ReasonTCBHardening, Effect: unsafe,
			Text: "The platform is current, but software has to be hardened against advisories that are not on the list of allowed ones."},
		{Name: "tcb-sw-hardening-allowed", Effect: effect{hw: verdict.ClaimApproved},
			Text: "The platform is current, and all advisories against which software has to be hardened are on the list of allowed ones."},
		{Name: "tcb-configuration-needed", Code: verdict.ReasonTCBConfiguration,
			Effect: effect{hw: verdict.ClaimApproved, conf: verdict.ClaimUnsafe}, Text: "The platform is current, but has to be configured otherwise."},
		{Name: "tcb-configuration-and-sw-hardening-needed", Code: verdict.ReasonTCBConfiguration, Effect: both,
			Text: "The platform has to be configured otherwise, and software to be hardened."},
		{Name: "tcb-out-of-date", Code: verdict.ReasonTCBOutOfDate, Effect: unsafe, Text: "Platform, TDX module or quoting enclave is out of date."},
		{Name: "tcb-out-of-date-configuration-needed", Code: verdict.ReasonTCBOutOfDate, Effect: both,
			Text: "Something is out of date, and the platform has to be configured otherwise."},
		{Name: "tcb-out-of-date-too-long", Code: verdict.ReasonTCBOutOfDate, Effect: worst, Floor: unsafe,
			Text: "Something is out of date for longer than out_of_date_days, or from before minimum_tcb_date."},
		{Name: "tcb-revoked", Code: verdict.ReasonTCBRevoked, Effect: worst, Floor: worst, Text: "A level that was reached is revoked."},
		{Name: "tcb-not-supported", Code: verdict.ReasonTCBNotSupported, Effect: unknown, Floor: worst,
			Text: "No level is reached, or the collateral does not know the module."},
		{Name: "identity-mismatch", Code: verdict.ReasonIdentityMismatch, Effect: unknown, Floor: worst,
			Text: "Quoting enclave or TDX module is not Intel's."},
		{Name: "pck-revoked", Code: verdict.ReasonRevoked, Effect: worst, Floor: worst, Text: "The PCK certificate or its CA is revoked."},
		{Name: "no-collateral", Code: verdict.ReasonNoCollateral, Effect: unsafe, Floor: unsafe, Text: "There is no collateral for the platform."},
		{Name: "collateral-invalid", Code: verdict.ReasonCollateralInvalid, Effect: unsafe, Floor: unsafe,
			Text: "There is collateral, but it does not verify, or is not valid at the time of the appraisal."},
		{Name: "collateral-in-grace", Code: verdict.ReasonCollateralInvalid, Effect: unsafe, Floor: unsafe,
			Text: "Collateral is past its next update, within collateral_grace_days."},
		{Name: "evaluation-number-too-low", Code: verdict.ReasonCollateralInvalid, Effect: unsafe,
			Text: "The TCB evaluation data number of the collateral is below minimum_evaluation_number."},
	}
	if t == TDX {
		out = append(out,
			appraisal.Finding{Name: "tcb-relaunch-advised", Code: verdict.ReasonTCBOutOfDate, Effect: unsafe,
				Text: "The TDX module was updated since the TD started: starting the TD anew mends it."},
			appraisal.Finding{Name: "tcb-relaunch-advised-configuration-needed", Code: verdict.ReasonTCBOutOfDate, Effect: both,
				Text: "As tcb-relaunch-advised, and the platform has to be configured otherwise."})
	}
	return out
}

// Apply reports a judgement by the rows of Findings and adds the claim "tcb" if
// there is one. By the default rows the hardware claim has a value afterwards in
// every case.
func (j *Judgement) Apply(pol *appraisal.Policy, params Parameters, a *verdict.Appraisal, p *PCK, now time.Time) {
	if j.Revoked != "" {
		pol.Apply(a, "pck-revoked", j.Revoked)
	}
	if j.TCB == nil {
		j.without(pol, a, p)
		return
	}
	r := j.TCB
	if a.Claims == nil {
		a.Claims = map[string]any{}
	}
	a.Claims["tcb"] = r.Claims()
	for _, f := range r.Failures {
		name := "tcb-not-supported"
		if f.Code == verdict.ReasonIdentityMismatch {
			name = "identity-mismatch"
		}
		pol.Apply(a, name, f.Detail).Against(f.Compared)
	}
	if len(r.Failures) == 0 {
		pol.Apply(a, r.finding(params), r.Describe(p)).Against(r.compared())
	}
	if r.tooLong(params, now) {
		pol.Apply(a, "tcb-out-of-date-too-long", r.Describe(p)+"; a newer level came on "+r.Superseded.UTC().Format(time.DateOnly)).Against(r.compared())
	}
	for _, late := range r.Grace {
		pol.Apply(a, "collateral-in-grace", late)
	}
	if n := r.EvaluationNumber(); n < params.MinimumEvaluationNumber {
		pol.Apply(a, "evaluation-number-too-low", fmt.Sprintf("TCB evaluation data number is %d, expected at least %d", n, params.MinimumEvaluationNumber)).Against(verdict.Comparison{
			Expected: fmt.Sprintf("at least %d", params.MinimumEvaluationNumber), Observed: fmt.Sprint(n), Source: verdict.SourceAppraisalPolicy})
	}
}

// without reports that nothing could be judged.
func (j *Judgement) without(pol *appraisal.Policy, a *verdict.Appraisal, p *PCK) {
	if len(j.Complaints) == 0 {
		pol.Apply(a, "no-collateral", fmt.Sprintf("no Intel collateral for FMSPC %s was given, so the TCB cannot be judged", p.FMSPC)).Against(verdict.Comparison{
			Expected: "TCB info, QE identity and CRLs of FMSPC " + p.FMSPC, Observed: "none", Source: "endorsements"})
	}
	for _, c := range j.Complaints {
		pol.Apply(a, "collateral-invalid", c)
	}
	for _, f := range j.Pinned {
		pol.Apply(a, "identity-mismatch", f.Detail)
	}
}

// finding is the row for the status. NotSupported without a failure does not
// occur; it is reported all the same.
func (r *TCB) finding(params Parameters) string {
	allowed := len(r.Advisories) > 0 && !slices.ContainsFunc(r.Advisories, func(id string) bool {
		return !slices.Contains(params.AllowedAdvisories, id)
	})
	switch r.Status {
	case UpToDate:
		return "tcb-up-to-date"
	case SWHardeningNeeded:
		if allowed {
			return "tcb-sw-hardening-allowed"
		}
		return "tcb-sw-hardening-needed"
	case ConfigurationNeeded:
		return "tcb-configuration-needed"
	case ConfigurationAndSWHardeningNeeded:
		if allowed {
			return "tcb-configuration-needed"
		}
		return "tcb-configuration-and-sw-hardening-needed"
	case OutOfDate:
		return "tcb-out-of-date"
	case OutOfDateConfigurationNeeded:
		return "tcb-out-of-date-configuration-needed"
	case TDRelaunchAdvised:
		return "tcb-relaunch-advised"
	case TDRelaunchAdvisedConfigurationNeeded:
		return "tcb-relaunch-advised-configuration-needed"
	case Revoked:
		return "tcb-revoked"
	}
	return "tcb-not-supported"
}

// compared is what the collateral wants of the platform and what it has: SVNs that
// are too low where they are known, levels otherwise.
func (r *TCB) compared() verdict.Comparison {
	c := verdict.Comparison{
		Expected: UpToDate.String(), Observed: r.Status.String(),
		Source: fmt.Sprintf("Intel TCB info of %s, evaluation data %d", stamp(r.set.tcb.own.from), r.set.tcb.number),
	}
	names, levels := r.Levels()
	for i, l := range levels {
		if l.Status != UpToDate {
			c.Observed += fmt.Sprintf("; %s level of %s", names[i], l.Date.UTC().Format(time.DateOnly))
		}
	}
	if len(r.Lacking) > 0 {
		c.Observed += "; " + strings.Join(r.Lacking, ", ")
	}
	return c
}

// tooLong is about what is out of date, not about what a relaunch mends.
func (r *TCB) tooLong(params Parameters, now time.Time) bool {
	if !r.Status.OutOfDate() || r.Superseded.IsZero() {
		return false
	}
	if n := params.OutOfDateDays; n > 0 && now.Sub(r.Superseded) > days(n) {
		return true
	}
	floor, err := params.floor()
	_, levels := r.Levels()
	return err != nil || slices.ContainsFunc(levels, func(l *Level) bool { return l.Status.OutOfDate() && l.Date.Before(floor) })
}

// String is the status or why there is none, for messages.
func (j *Judgement) String() string {
	if j.TCB == nil {
		return "no judgement: " + strings.Join(j.Complaints, "; ")
	}
	return fmt.Sprintf("%s %v", j.TCB.Status, j.TCB.Failures)
}
