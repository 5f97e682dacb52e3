// SPDX-License-Identifier: Apache-2.0

// Package awsnitro simulates an AWS Nitro enclave: the attestation document that
// the Nitro hypervisor would sign, under a chain of the depth and the lifetimes
// that AWS uses (root, region 20 days, zone 6 days, instance 1 day, enclave
// 3 hours), and the revocation lists of root and region. Form and field order
// are those of recorded documents; the keys are worth nothing.
//
//	e, err := awsnitro.New(awsnitro.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("enclave"), Now: now})
//	leaf, err := e.Evidence(nonce) // application/vnd.assize.nitro-document
//
// Everything follows from the options: the same options and nonce give the same
// bytes. A fault changes the one thing that it names and is made before the
// document is signed, so that only WrongSigner has a bad signature.
package awsnitro
