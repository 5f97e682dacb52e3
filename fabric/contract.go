// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"fmt"
	"regexp"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Version is the version of the message contract, the second token of every
// subject. It is not the version of the software.
const Version = "v1"

// AnySite is the site token that every instance of a scheme listens on; the
// server prefers near instances.
const AnySite = "any"

// DefaultTenant is the tenant token inside a single account.
const DefaultTenant = "local"

// queueGroup is the queue group of all appraisal endpoints: one member of the
// group gets a request.
const queueGroup = "q"

// relayScheme stands where a scheme stands, in subjects, headers, events and
// telemetry, when a whole composite is handed to another node.
const relayScheme = "composite"

// Names of micro services and their endpoints.
const (
	servicePrefix      = "att-"
	endpointAppraise   = "appraise"
	endpointAppraiseAt = "appraise-site"
	endpointCascade    = "cascade"
	endpointCancel     = "cancel"
	endpointCancelAt   = "cancel-site"
	// relayService is the name of the services of all nodes. The underscore
	// keeps it apart from every scheme, and from directories that do not know
	// nodes.
	relayService = "att_node"
)

// Headers of a request. Everything in them is a hint: the body is what counts,
// and a header that disagrees with the body makes the request malformed.
const (
	// HeaderRequest is the request id, 32 lower-case hexadecimal digits; the
	// same for every retry and hedge of one component (idempotency key).
	HeaderRequest = "Att-Request"
	// HeaderSession is the attestation session id.
	HeaderSession = "Att-Session"
	// HeaderScheme is the slug of the scheme.
	HeaderScheme = "Att-Scheme"
	// HeaderContentType is the media type of the body.
	HeaderContentType = "Content-Type"
	// HeaderTimeout is the remaining budget in milliseconds, relative, so that
	// no two clocks have to agree.
	HeaderTimeout = "Att-Timeout-Ms"
	// HeaderAttempt is 1, 2, … or "h" for a hedge.
	HeaderAttempt = "Att-Attempt"
	// HeaderDigest is the SHA-256 of the body, lower-case hexadecimal.
	HeaderDigest = "Att-Digest"
	// HeaderSeal says that the body is sealed (trust.SealKey.SealRequest): the id
	// of the key, 43 characters of base64url. Att-Digest then is that of the
	// sealed body, Content-Type that of the body inside, and the answer is sealed
	// as well, unless it is an error. A key that the receiver does not have, and a
	// body that does not open, are CodeUnauthorized.
	HeaderSeal = "Att-Seal"
	// HeaderRetryAfter, in an error answer, is a hint in milliseconds.
	HeaderRetryAfter = "Att-Retry-After-Ms"
)

// ContentType is the media type of a request body: the CMW collection of
// verifiers.EncodeRequest.
const ContentType = "application/cmw+cbor"

// SignedContentType is the media type of a request body that a node has signed
// (verifiers.SignRequest).
const SignedContentType = verifiers.SignedType

// RelayType is the media type of a message to a node. The fabric does not look
// into it; what is in it, and who signed it, is checked by who receives it.
const RelayType = "application/octet-stream"

// ResultType is the media type of an answer to an appraisal request.
const ResultType = `application/eat+jwt; eat_profile="` + verdict.ProfileP23 + `"`

// Metadata keys of a service (all values are text).
const (
	metaWire      = "att.wire"
	metaVendor    = "att.vendor"
	metaDeveloper = "att.dev"
	metaBuild     = "att.build"
	metaSite      = "att.site"
	metaKID       = "att.ear.kid"
	metaKind      = "att.kind" // kindNode, or absent for a component verifier
	metaNode      = "att.node" // name of a node
	metaResult    = "att.result"
	metaAccepts   = "accepts"   // of the endpoint: JSON array of media type patterns
	metaMaxBytes  = "max-bytes" // of the endpoint: largest component or message in bytes
	metaNonce     = "nonce"     // of the endpoint: challenge size in bytes
	metaBudget    = "budget-ms" // of the endpoint: longest time for a request in milliseconds
)

// kindNode is the kind of a service that takes relayed messages.
const kindNode = "node"

// Code is the code of an error answer. The list is closed.
type Code int

// Codes and what a lead does about them.
const (
	CodeMalformed    Code = 400 // no retry, no other candidate
	CodeUnauthorized Code = 401 // no retry, alert
	CodeForbidden    Code = 403 // no retry, alert
	CodeConflict     Code = 409 // same id, other digest: no retry, alert
	CodeTooLarge     Code = 413 // next candidate
	CodeMediaType    Code = 415 // next candidate
	CodeThrottled    Code = 429 // next candidate, else one retry after the hint
	CodeInternal     Code = 500 // next candidate once
	CodeBusy         Code = 503 // next candidate, else one retry after the hint
	CodeBudget       Code = 504 // next candidate if the budget allows
)

// Text is the only text that goes with a code: an error answer must not leak
// why a verifier said no. Empty for a number that is not in the list.
func (c Code) Text() string {
	switch c {
	case CodeMalformed:
		return "malformed request"
	case CodeUnauthorized:
		return "seal not accepted"
	case CodeForbidden:
		return "not allowed"
	case CodeConflict:
		return "request id was used for other content"
	case CodeTooLarge:
		return "too large"
	case CodeMediaType:
		return "media type not accepted"
	case CodeThrottled:
		return "too many requests"
	case CodeInternal:
		return "internal error"
	case CodeBusy:
		return "busy"
	case CodeBudget:
		return "out of budget"
	}
	return ""
}

// final reports whether a lead stops asking further candidates.
func (c Code) final() bool {
	switch c {
	case CodeMalformed, CodeUnauthorized, CodeForbidden, CodeConflict:
		return true
	}
	return false
}

var (
	slug      = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	requestID = regexp.MustCompile(`^[0-9a-f]{32}$`)
	// tenantToken is wider than a slug: across accounts the server puts the
	// importer's account id there.
	tenantToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// subjects renders the subjects of one tenant.
type subjects struct{ tenant string }

// appraise is att.v1.<tenant>.appraise.<scheme>.<site>.
func (s subjects) appraise(scheme, site string) string {
	return fmt.Sprintf("att.%s.%s.appraise.%s.%s", Version, s.tenant, scheme, site)
}

// cancel is att.v1.<tenant>.cancel.<scheme>.<site>; the body is a request id. It
// names the site that was asked, because no other one has to learn the id.
func (s subjects) cancel(scheme, site string) string {
	return fmt.Sprintf("att.%s.%s.cancel.%s.%s", Version, s.tenant, scheme, site)
}

// cascade is att.v1.<tenant>.cascade.composite.<node>.
func (s subjects) cascade(node string) string {
	return fmt.Sprintf("att.%s.%s.cascade.%s.%s", Version, s.tenant, relayScheme, node)
}

// cancelRelay is att.v1.<tenant>.cancel.composite.<node>.
func (s subjects) cancelRelay(node string) string {
	return s.cancel(relayScheme, node)
}

// events is att.v1.<tenant>.event.verifier; the body is an event in JSON.
func (s subjects) events() string {
	return fmt.Sprintf("att.%s.%s.event.verifier", Version, s.tenant)
}

// Subject patterns for spans: low cardinality.
const (
	appraiseTemplate = "att." + Version + ".{tenant}.appraise.{scheme}.{site}"
	cascadeTemplate  = "att." + Version + ".{tenant}.cascade." + relayScheme + ".{node}"
)
