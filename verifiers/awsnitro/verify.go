// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"fmt"
	"time"

	"github.com/veraison/go-cose"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
)

// authenticate checks signature and chain of a document. The signature is first,
// so that nobody without a key makes this node verify chains.
func (v *verifier) authenticate(m *cose.UntaggedSign1Message, d *document) (chain, *failure) {
	c, f := v.open(d)
	if f != nil {
		return nil, f
	}
	check, err := cose.NewVerifier(cose.AlgorithmES384, c.leaf().PublicKey)
	if err != nil {
		return nil, failf(verdict.ReasonChainInvalid, "key of the enclave: %v", err)
	}
	if err := m.Verify(nil, check); err != nil {
		return nil, failf(verdict.ReasonSignatureInvalid, "the document is not signed by the key in its certificate %q: %v", c.leaf().Subject.CommonName, err)
	}
	if f := v.verify(c); f != nil {
		return nil, f
	}
	return c, nil
}

// inTime compares the three times of a document: its own, that of the appraisal,
// and those between which its certificates are valid.
//
// A document is verified as of the time in it, because the enclave's certificate
// lives three hours and may end a second after the document was made. The time
// of the appraisal is bounded on both sides: by the age of the document, and by
// the end of each certificate and a grace. Without that a key of AWS that leaks
// after years could sign documents of its time.
func (p Parameters) inTime(c chain, d *document, now time.Time) *failure {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	expired := func(expected string, observed time.Time, source, format string, args ...any) *failure {
		f := failf(verdict.ReasonExpired, format, args...)
		f.compared = verdict.Comparison{Expected: expected, Observed: stamp(observed), Source: source}
		return f
	}
	const certificate = "validity of the certificate chain"
	for _, l := range c {
		if d.timestamp.Before(l.cert.NotBefore) || d.timestamp.After(l.cert.NotAfter) {
			return expired("from "+stamp(l.cert.NotBefore)+" to "+stamp(l.cert.NotAfter), d.timestamp, certificate,
				"certificate %q is valid from %s to %s, and the document is of %s",
				l.cert.Subject.CommonName, stamp(l.cert.NotBefore), stamp(l.cert.NotAfter), stamp(d.timestamp))
		}
	}
	age := now.Sub(d.timestamp)
	most, grace := time.Duration(p.MaxAgeMinutes)*time.Minute, time.Duration(p.GraceMinutes)*time.Minute
	switch {
	case age < -limits.ClockSkew:
		return expired("at most "+stamp(now), d.timestamp, verdict.SourceVerifyTime, "the document is of %s, which is after %s", stamp(d.timestamp), stamp(now))
	case age > most:
		return expired("at least "+stamp(now.Add(-most)), d.timestamp, verdict.SourceAppraisalPolicy+", max_age_minutes",
			"the document is of %s, more than %s before %s", stamp(d.timestamp), minutes(most), stamp(now))
	}
	for _, l := range c {
		if now.After(l.cert.NotAfter.Add(grace)) {
			return expired("at most "+stamp(l.cert.NotAfter.Add(grace)), now, certificate,
				"certificate %q expired at %s, more than %s before %s",
				l.cert.Subject.CommonName, stamp(l.cert.NotAfter), minutes(grace), stamp(now))
		}
	}
	return nil
}

func minutes(d time.Duration) string { return fmt.Sprintf("%d minutes", int(d/time.Minute)) }
