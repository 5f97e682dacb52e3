// SPDX-License-Identifier: Apache-2.0

// Package nras appraises NVIDIA GPUs and NVSwitches by asking NVIDIA's Remote
// Attestation Service instead of verifying here. Begin with NewClient and
// Backend: the Backend of a native scheme has its name, media types and limits
// and takes its place in a set, so that the rest of the program cannot tell the
// two apart but by what the results say.
//
// What is checked here: before anything is sent, that the evidence has the form
// that the service reads, is signed by the key of its first certificate and
// answers the challenge; of the reply, that it is a detached EAT bundle
// (RFC 9711) of exactly the device that was sent, whose tokens are all signed with ES384 under a key of the service, by
// the right issuer, in time and for the challenge, that the digest of the device
// token is the one in the overall token, and that the device in it is the one in
// the evidence. Only then claims are read, and an appraisal policy of its own
// (Policy) says what each costs.
//
// A reply that fails any of this is no statement about the device: it gives no
// verdict, and neither does a service that cannot be reached or has no capacity.
// The service saying no is a verdict.
//
// Facts are what the service signs: the device by its ueid, and the challenge.
// What it does not sign – PDI, links, the key of the device – is a fact only if
// chain and signature in the evidence are verified here as well. The mode of the
// device, about which the service has no claim, is read from the report, whose
// signature was checked with the key of the certificate that the service names.
//
// The core is pure. Client is the edge: it makes the requests, keeps the keys of
// the service, and bounds both.
package nras
