// SPDX-License-Identifier: Apache-2.0

// Package fabric carries requests between the nodes of a verifier system over
// NATS. It is the only package that knows NATS; package embed beside it starts
// a server inside the process.
//
// Begin with Connect, which gives a Bus. A component verifier calls Bus.Serve
// once per scheme and then answers appraisal requests until Service.Stop. A
// lead calls Bus.Caller for the scatter and gather of one component at a time
// (Caller.Appraise), Bus.Directory to learn at which sites a scheme is served,
// and Bus.Spender to use a nonce exactly once.
//
// A node that takes whole messages from other nodes, as in a cascade, calls
// Bus.ServeRelay with its name; the other side is RelayCaller.Relay, which asks
// exactly the node it is told. Message and answer are opaque to the fabric.
//
// What holds everywhere (the wire contract itself is in contract.go):
//
//   - One component is one request on one subject. An answer is a signed
//     result; an error header only ever means "no verdict" and is never a
//     statement about the component.
//   - Discovery and headers are not authenticated. They route; they never
//     decide. Everything that matters for a verdict is in the signed answer and
//     is checked by verifiers.Call.Verify.
//   - No request without a deadline, none that is replayed after a reconnect,
//     none that waits for an answer which can no longer come.
//   - Evidence and nonces appear in no subject, header, log line or span.
//   - Bodies may be sealed to a node, and then so are its answers: whoever
//     carries the messages sees who asks for which scheme, and when, and not what.
package fabric
