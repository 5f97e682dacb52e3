// SPDX-License-Identifier: Apache-2.0

package endorsements

// NeedKind says what sort of collateral is asked for.
type NeedKind string

// Kinds of needs.
const (
	// NeedIntelTDX and NeedIntelSGX: TCB info, QE identity and CRLs for one FMSPC.
	NeedIntelTDX NeedKind = "intel-tdx"
	// NeedIntelSGX is the same for SGX.
	NeedIntelSGX NeedKind = "intel-sgx"
	// NeedAMDVCEK: the certificate of one chip at one TCB.
	NeedAMDVCEK NeedKind = "amd-vcek"
	// NeedAMDCRL: the revocation list of one product.
	NeedAMDCRL NeedKind = "amd-crl"
	// NeedNVIDIARIM: the manifest of one driver, VBIOS or BIOS.
	NeedNVIDIARIM NeedKind = "nvidia-rim"
	// NeedNVIDIAOCSP: the status of one certificate, see OCSPNeed.
	NeedNVIDIAOCSP NeedKind = "nvidia-ocsp"
)

// Need is collateral that the appraisal of one component can use. It is read from
// evidence that nobody has verified, so it is a wish and never more: a Source
// bounds what it fetches, and a scheme checks what it gets.
type Need struct {
	Kind NeedKind
	// FMSPC of the platform, 6 bytes as lower-case hexadecimal (Intel).
	FMSPC string
	// CA is the PCK CA, "platform" or "processor" (Intel).
	CA string
	// Product is "Milan", "Genoa" or "Turin" (AMD); for a VCEK also empty, where a
	// report does not say its line: then Milan and Genoa are tried.
	Product string
	// ChipID is what KDS knows the chip by, lower-case hexadecimal: 64 bytes, on
	// Turin 8 (AMD).
	ChipID string
	// TCB is the reported TCB as it stands in the report, little-endian (AMD).
	TCB uint64
	// RIM is an identifier of NVIDIA's RIM service, at most 128 bytes (NVIDIA).
	RIM string
	// IssuerName and IssuerKey are the SHA-384 of the issuer's name and public key
	// as in a CertID, 96 lower-case hexadecimal digits each, and Serial is the
	// serial number, lower-case hexadecimal of whole bytes, the first not zero
	// (NVIDIA).
	IssuerName, IssuerKey, Serial string
}
