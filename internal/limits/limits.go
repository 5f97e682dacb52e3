// SPDX-License-Identifier: Apache-2.0

// Package limits holds the numeric bounds that parsers, verifiers and the
// fabric share, so that no two of them disagree about what is too large.
package limits

import "time"

// Evidence bounds one composite message. A zero field is not "unlimited":
// use Default and change what must differ.
type Evidence struct {
	// Composite is the size of the whole message in bytes.
	Composite int
	// Leaf is the size of one decoded leaf value in bytes.
	Leaf int
	// Depth counts nested collections and embedded CMWs; the root is 0 (D-11).
	Depth int
	// Leaves is the number of leaves in the whole tree.
	Leaves int
	// Labels is the number of entries of one collection.
	Labels int
	// Label is the length of one text label in bytes.
	Label int
	// MediaType is the length of one Content-Type text in bytes.
	MediaType int
}

// Default returns the limits that hold when nothing is configured.
func Default() Evidence {
	return Evidence{
		Composite: 10 << 20,
		Leaf:      1 << 20,
		Depth:     8,
		Leaves:    256,
		Labels:    256,
		Label:     255,
		MediaType: 512,
	}
}

const (
	// FabricPayload is the largest NATS message in bytes, headers included.
	FabricPayload = 1 << 20
	// FabricHeaderReserve is kept free for headers, so a body may have
	// FabricPayload-FabricHeaderReserve bytes.
	FabricHeaderReserve = 16 << 10
	// Result is the largest signed result (EAR) in bytes that is parsed.
	Result = 1 << 20
	// AggregateResult is the largest aggregate (AAR with PARs inside) in bytes.
	AggregateResult = 16 << 20
	// NonceMin and NonceMax bound a challenge in bytes (RFC 9711, eat_nonce).
	NonceMin = 8
	// NonceMax is the longest challenge in bytes.
	NonceMax = 64
)

const (
	// Bundle is the largest bundle (a verdict with what it was made from) in bytes.
	Bundle = 64 << 20
	// BundleItems is the number of things that the manifest of a bundle lists.
	BundleItems = 4096
	// BundleManifest is the largest manifest of a bundle in bytes.
	BundleManifest = 4 << 20
	// BundleName is the longest name of a thing in a bundle in bytes.
	BundleName = 1024
)

const (
	// Session is how long a challenge, and so every result made for it, lives.
	Session = 150 * time.Second
	// ClockSkew is tolerated between two nodes.
	ClockSkew = 60 * time.Second
)

const (
	// EventLog is the largest boot event log in bytes, padding included.
	EventLog = 1 << 20
	// EventLogEvents is the number of events of one log.
	EventLogEvents = 10_000
	// EventLogAlgorithms is the number of digests of one event.
	EventLogAlgorithms = 8
)

const (
	// CorimDocument is the largest CoRIM in bytes, signed or not.
	CorimDocument = 16 << 20
	// CorimDepth is how deep CBOR items of a CoRIM, or of one tag in it, nest.
	CorimDepth = 24
	// CorimTags is the number of tags (CoMID, CoSWID, CoTL …) of one CoRIM.
	CorimTags = 1024
	// CorimItems is the number of elements of one array or map of a CoRIM: so
	// many triples of one kind one CoMID may have, and so many measurements one
	// triple.
	CorimItems = 1 << 17
	// CorimText is the longest text of a CoRIM in bytes: a certification path
	// in PEM is the longest that there is.
	CorimText = 64 << 10
	// CorimBytes is the longest byte string of a value in bytes.
	CorimBytes = 1 << 20
	// CorimRounds is how often endorsements may lead to further ones (phase 4 of
	// draft-ietf-rats-corim) before the set is refused as running away.
	CorimRounds = 64
)

const (
	// CoservQuery is the largest CoSERV query in bytes, before base64url.
	CoservQuery = 16 << 10
	// CoservSelectors is the number of environments or identifiers of a query.
	CoservSelectors = 256
	// CoservResult is the largest CoSERV result in bytes, signed or not.
	CoservResult = 16 << 20
	// CoservQuads is the number of statements of one kind in a result.
	CoservQuads = 1 << 14
	// CoservSources is the number of documents in a result.
	CoservSources = 256
)
