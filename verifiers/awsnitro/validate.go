// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"fmt"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// PCRs with a meaning of their own.
const (
	// imagePCRs are image file, kernel and bootstrap, application: PCR0 to PCR2.
	imagePCRs = 3
	rolePCR   = 3 // IAM role of the parent instance
	parentPCR = 4 // identifier of the parent instance
	signerPCR = 8 // certificate that signed the image file
)

// validate judges what a genuine document says of itself.
func validate(a *verdict.Appraisal, p *appraisal.Policy, d *document, c chain) {
	for _, n := range []verdict.ClaimName{verdict.Hardware, verdict.InstanceIdentity, verdict.Configuration, verdict.RuntimeOpaque} {
		appraisal.Lower(a, n, verdict.ClaimApproved)
	}
	var zero []string
	for i := range uint64(imagePCRs) {
		if allZero(d.pcrs[i]) {
			zero = append(zero, fmt.Sprintf("PCR%d", i))
		}
	}
	// No image measures as zero; one such register is as telling as three.
	if len(zero) > 0 {
		p.Apply(a, findDebug, strings.Join(zero, ", ")+" zero: the enclave was started in debug mode, and the parent instance can read its console and measure nothing").
			Against(verdict.Comparison{Expected: "PCR0 to PCR2 that are not zero", Observed: strings.Join(zero, ", ") + " zero", Source: verdict.SourceSignedEvidence})
	}
	if name := c.leaf().Subject.CommonName; !strings.HasPrefix(name, d.moduleID+".") {
		p.Apply(a, findIdentity, fmt.Sprintf("the document is of module %q, and its certificate names %q", d.moduleID, name)).
			Against(verdict.Comparison{Expected: name, Observed: d.moduleID, Source: "certificate of the enclave"})
	}
	if allZero(d.pcrs[signerPCR]) {
		p.Apply(a, findImageUnsigned, "PCR8 is zero or missing: the enclave image is not signed")
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
