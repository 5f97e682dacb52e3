// SPDX-License-Identifier: Apache-2.0

// Package audit keeps a record of what a node did, so that somebody else can
// find out afterwards who was asked what, by whom and with which result, and
// would notice if the record had been changed.
//
// A log is one chain of records, one JSON line each (Record). Every record
// carries the SHA-256 of the bytes of the one before it, the random id of its
// log and its place in it. Checkpoints are records with a JWS over the place
// and digest of the record before them, signed with the node's key: what stands
// before a checkpoint cannot be changed, dropped or moved without that key.
//
// Open continues the log that is in a Store, or begins one. Log.Record adds an
// Event, Log.Checkpoint signs what was added since, Log.Close ends with both.
// Check reads a log and says what is in it, or which record is the first that
// cannot be right. Package file below keeps a log in files.
//
// A record has digests of evidence, challenges and tokens, never these
// themselves, and codes of reasons, never their texts. What a log proves and
// what not is in docs/audit.md.
package audit
