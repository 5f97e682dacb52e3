// SPDX-License-Identifier: Apache-2.0

// Package store keeps reference-value documents (package corim) as they were
// received, each under the SHA-256 of its bytes, and the index of them that
// appraisals use.
//
//	s, err := store.New(store.Options{Bucket: bucket, Trust: trust, Clock: time.Now, StaleAfter: time.Minute})
//	go s.Run(ctx)
//	err = s.Ready(ctx)            // the first set is complete
//	info, err := s.Add(ctx, raw)  // verified, then written, then acknowledged
//	index, err := s.Snapshot(now) // one pointer; never waits
//
// A Bucket is where the documents are: a folder (package folder) or a bucket of
// NATS (package fabric). It carries documents and is not trusted: every document
// is verified here before it counts, whoever has put it there.
//
// # What is never half applied
//
// A document counts as a whole or not at all. A set is one that the bucket had at
// one moment: changes are gathered until the bucket says that there are no more
// (Watcher.Confirm), made into an Index beside the one in use, and put in its
// place by one store of a pointer. The revision of an index is the digest of the
// digests of exactly the documents in it. What has to appear together belongs
// into one document, with several tags.
//
// # What does not count
//
// A document that cannot be read, is not signed by a trusted authority, says more
// than its authority may, has a name that is not its digest, closes a circle of
// dependencies, or exceeds the limits is kept out of the index and listed as Bad
// with the reason. Which of several documents closes a circle or exceeds a limit
// is decided by when they came, so that all who read one bucket agree. With
// Options.RefuseBad nothing counts while there is one.
//
// A document that holds only later is Pending, and taken in when its time comes.
// One that has expired stays in the index, where it matches nothing: what it has
// replaced must not come back.
//
// # Staleness
//
// The bucket confirms from time to time that nothing has changed. When it was
// last confirmed longer ago than StaleAfter, Snapshot is an error that wraps
// ErrStale: a document that was withdrawn might still be in the index. With
// WarnStale the old index is given, and State and Info say how old it is.
package store
