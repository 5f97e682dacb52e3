// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Appraiser answers one request with a signed result; *verifiers.Node is one.
// An error is a *verifiers.Refusal, or counts as internal.
type Appraiser interface {
	Appraise(ctx context.Context, r verifiers.Request) ([]byte, verdict.Tier, error)
}

// ServiceOptions describe one scheme to the fabric.
type ServiceOptions struct {
	Scheme   verifiers.Scheme
	KID      string
	Identity verdict.Identity
	// Vendor runs the verifier; default is Identity.Developer.
	Vendor string
	// Workers is the number of appraisals at a time; default 2×GOMAXPROCS.
	Workers int
	// Queue is how many more requests may wait; zero means DefaultQueue, a
	// negative number none.
	Queue int
	// Budget is the upper bound for one request; default DefaultBudget.
	Budget time.Duration
	// Guard says who may ask; nil: everybody.
	Guard *verifiers.Guard
	// Seal are the keys to which requests may be sealed, for the name Node of
	// this node. Without keys a sealed request is refused.
	Node string
	Seal []*trust.SealPrivate
}

// Service is one scheme on the fabric.
type Service struct {
	desk
	appraiser Appraiser
	o         ServiceOptions
}

// Serve offers one scheme as the micro service att-<scheme> and returns when
// requests can find it. Call Stop before Bus.Close.
func (b *Bus) Serve(a Appraiser, o ServiceOptions) (*Service, error) {
	if a == nil || !slug.MatchString(o.Scheme.Name) {
		return nil, errors.New("fabric: a service wants an appraiser and a scheme")
	}
	if len(o.Seal) > 0 && !slug.MatchString(o.Node) {
		return nil, errors.New("fabric: what is sealed to a service is sealed to the name of its node")
	}
	if o.Vendor == "" {
		o.Vendor = o.Identity.Developer
	}
	s := &Service{appraiser: a, o: o, desk: desk{
		bus: b, op: appraising(o.Scheme.Name), what: o.Scheme.Name, kid: o.KID,
		room: capacity{workers: o.Workers, queue: o.Queue, budget: o.Budget},
		seal: unsealer{node: o.Node, keys: o.Seal},
	}}
	s.duty = appraisals{s}
	s.prepare()
	err := s.start(micro.Config{
		Name:        servicePrefix + o.Scheme.Name,
		Version:     o.Scheme.Version,
		Description: "Appraises one component of scheme " + o.Scheme.Name,
		Metadata:    s.metadata(),
	}, s.endpoints)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Service) endpoints() error {
	scheme, site := s.o.Scheme.Name, s.bus.cfg.Site
	withMeta := micro.WithEndpointMetadata(s.endpointMetadata())
	group := micro.WithEndpointQueueGroup(queueGroup)
	// Cancel first: whoever can be asked can be cancelled.
	err := s.endpoint(endpointCancel, s.bus.subj.cancel(scheme, AnySite), s.onCancel, micro.WithEndpointQueueGroupDisabled())
	if err == nil && site != AnySite {
		err = s.endpoint(endpointCancelAt, s.bus.subj.cancel(scheme, site), s.onCancel, micro.WithEndpointQueueGroupDisabled())
	}
	if err == nil {
		err = s.endpoint(endpointAppraise, s.bus.subj.appraise(scheme, AnySite), s.onRequest, withMeta, group)
	}
	if err == nil && site != AnySite {
		err = s.endpoint(endpointAppraiseAt, s.bus.subj.appraise(scheme, site), s.onRequest, withMeta, group)
	}
	return err
}

func (s *Service) metadata() map[string]string {
	return map[string]string{
		metaWire: Version[1:], metaVendor: s.o.Vendor, metaDeveloper: s.o.Identity.Developer,
		metaBuild: s.o.Identity.Build, metaSite: s.bus.cfg.Site, metaKID: s.o.KID, metaResult: ResultType,
	}
}

func (s *Service) endpointMetadata() map[string]string {
	// A JSON array: media types contain commas, quotes, "=" and ";".
	patterns := make([]string, len(s.o.Scheme.Accepts))
	for i, p := range s.o.Scheme.Accepts {
		patterns[i] = p.String()
	}
	accepts, _ := json.Marshal(patterns) // strings always marshal
	return map[string]string{
		metaAccepts:  string(accepts),
		metaMaxBytes: strconv.Itoa(s.o.Scheme.MaxEvidence),
		metaNonce:    strconv.Itoa(s.o.Scheme.NonceSize),
		metaBudget:   strconv.FormatInt(s.room.budget.Milliseconds(), 10),
	}
}

// appraisals is the duty of a Service.
type appraisals struct{ *Service }

func (appraisals) header(h nats.Header) (requestHeader, error) { return parseHeader(h) }

func (a appraisals) open(h requestHeader, body []byte) (work, Code) {
	r, err := h.decodeBody(a.o.Guard, body)
	switch {
	case err != nil:
		return nil, a.unread(h, err)
	case r.Scheme != a.o.Scheme.Name:
		return nil, CodeMediaType
	}
	return func(ctx context.Context) ([]byte, string, error) {
		token, tier, err := a.appraiser.Appraise(ctx, r)
		return token, tier.String(), err
	}, 0
}

// unread is the code for a request that was not let in.
func (a appraisals) unread(h requestHeader, err error) Code {
	if errors.Is(err, errHeaders) {
		return CodeMalformed
	}
	code := a.code(err)
	if code == CodeForbidden {
		a.log.Warn("request not allowed", "request", h.request, "error", errors.Unwrap(err), "security", true)
	}
	return code
}

func (appraisals) code(err error) Code {
	var refusal *verifiers.Refusal
	if errors.As(err, &refusal) && Code(refusal.Code).Text() != "" {
		return Code(refusal.Code)
	}
	return CodeInternal
}
