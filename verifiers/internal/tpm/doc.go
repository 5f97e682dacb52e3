// SPDX-License-Identifier: Apache-2.0

// Package tpm verifies quotes of TPM 2.0 (TCG TPM 2.0 library specification,
// part 2, structures, and part 3, TPM2_Quote). It is what the scheme for TPMs
// and those for machines whose CPU report vouches for a virtual TPM share. It
// makes no scheme.
//
//	sig, err := tpm.ParseSignature(raw)            // or tpm.RSASSA(bare signature)
//	quote, err := tpm.VerifyQuote(ak, message, sig, tpm.Bank{Hash: crypto.SHA256, PCRs: pcrs})
//	fresh := quote.Answers(nonce)
//
// VerifyQuote says that the key signed exactly these registers. It does not say
// whose key that is: who calls it has to know that the key is a restricted one in
// a TPM, from a certificate (Public.Check looks at the form only) or from a report
// that commits to the key. A key that is not restricted signs quotes that no TPM
// made.
//
// Everything is read strictly: lengths are exact, nothing follows, and a structure
// that the specification does not call for where it stands is an error. Slices
// that are returned point into what was given.
package tpm
