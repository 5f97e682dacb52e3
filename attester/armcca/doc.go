// SPDX-License-Identifier: Apache-2.0

// Package armcca simulates an Arm CCA platform with one realm: the attestation
// token that its realm manager would hand out (Realm Management Monitor
// specification, DEN0137). The keys are worth nothing.
//
//	realm, err := armcca.New(armcca.Options{Device: pki.NewSeed("realm"), Now: now, Image: "app"})
//	leaf, err := realm.Evidence(challenge) // armcca.MediaType
//	leaf, err = realm.TSMReport(challenge) // application/vnd.veraison.tsm-report+json
//
// Everything follows from the options: the same options and challenge give the
// same bytes. A fault changes the one thing that it names and is made before the
// token is signed, so that only WrongSigner has a bad signature, and only Unbound
// a realm that the platform does not vouch for.
//
// There are no certificates, so there is no root and nothing to put into the
// endorsements: a verifier gets the platform's key out of a reference document.
// Package attester/refvalues makes that of Platform and Realm.
package armcca
