// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/assize/assize/verdict"
)

// buckets are in seconds: from a cached CPU quote to a verifier that hangs.
var buckets = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10}

// instruments count verdicts and time them. Their attributes are closed sets:
// scheme names, tiers and error classes; never a label, nonce or digest.
type instruments struct {
	appraisals metric.Float64Histogram
	components metric.Float64Histogram
	failures   metric.Int64Counter
}

func newInstruments(p metric.MeterProvider) (instruments, error) {
	m := p.Meter("github.com/assize/assize/orchestrator")
	var i instruments
	var err error
	if i.appraisals, err = m.Float64Histogram("assize.composite.duration", metric.WithUnit("s"),
		metric.WithDescription("Time to a signed verdict on one composite, by tier"), metric.WithExplicitBucketBoundaries(buckets...)); err != nil {
		return i, err
	}
	if i.components, err = m.Float64Histogram("assize.component.duration", metric.WithUnit("s"),
		metric.WithDescription("Time to the result for one component, by scheme and tier"), metric.WithExplicitBucketBoundaries(buckets...)); err != nil {
		return i, err
	}
	i.failures, err = m.Int64Counter("assize.composite.failures", metric.WithDescription("Appraisals that ended without a verdict, by class of error"))
	return i, err
}

func (i instruments) verdict(ctx context.Context, r *verdict.Result, took time.Duration) {
	i.appraisals.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("tier", r.Outcome.Tier.String())))
	for _, c := range r.Components {
		scheme := c.Scheme
		if scheme == "" {
			scheme = "none"
		}
		i.components.Record(ctx, c.Duration.Seconds(), metric.WithAttributes(
			attribute.String("scheme", scheme), attribute.String("tier", c.Tier().String())))
	}
}

func (i instruments) failure(ctx context.Context, err error) {
	i.failures.Add(ctx, 1, metric.WithAttributes(attribute.String("error.type", errorClass(err))))
}
