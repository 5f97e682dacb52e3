// SPDX-License-Identifier: Apache-2.0

// Package refvalues writes the reference values of simulated machines as CoRIM
// (draft-ietf-rats-corim): the file that a vendor would publish, and a verifier
// compares evidence with.
//
//	entry, err := refvalues.IntelTDX(cpu.Measurements())
//	doc := refvalues.Document{
//		ID: "simulated-cpu", TagID: "simulated-cpu-1", Profile: refvalues.Profile,
//		NotAfter: now.AddDate(1, 0, 0), Entries: []refvalues.Entry{entry},
//	}
//	plain, err := refvalues.Unsigned(doc)
//	signed, err := refvalues.Signed(doc, refvalues.Signer{Key: key, Chain: chain, Name: "Simulated Vendor"})
//
// One Document is one CoRIM with one CoMID, and the CoMID has one
// reference-value triple per Entry. The same Document gives the same bytes:
// deterministic CBOR (RFC 8949, section 4.2.1) and deterministic ECDSA
// (RFC 6979). Two entries for the same environment are alternatives; an entry
// that repeats another one byte for byte is written once, so that eight GPUs of
// one kind may each bring theirs.
//
// # Environments and measurement keys
//
// A verifier finds a value by environment and measurement key (mkey). These are
// the conventions of the constructors. Where nobody has defined any, they are
// ours, and stand under the profile identifier Profile; AMD's own stand under
// ProfileAMD, Arm's under ProfileCCAPlatform, ProfileCCARealm and ProfilePSA.
//
//	IntelTDX   class: id bytes(560) ClassTDX, vendor "Intel Corporation", model "TDX"
//	           "mrtd", "mrseam"                          digests
//	           "mrconfigid", "mrowner", "mrownerconfig",
//	           "mrsignerseam"                            raw value, 48 bytes
//	           no mkey                                   integrity registers 0..3 = RTMR0..RTMR3
//	IntelSGX   class: id bytes(560) ClassSGX, vendor "Intel Corporation", model "SGX"
//	           "mrenclave", "mrsigner"                   digests, sha-256
//	           "isvsvn", "configsvn"                     lowest svn
//	           "isvprodid", "attributes", "miscselect",
//	           "configid", "isvextprodid", "isvfamilyid" raw value, as in the report
//	AWSNitro   class: id bytes(560) ClassNitro
//	           no mkey                                   integrity registers by PCR index
//	AMDSNP     class: id OID 1.3.6.1.4.1.3704.3.1; instance: bytes CHIP_ID, optional
//	AMDSNPByProvider
//	           class: id OID 1.3.6.1.4.1.3704.3.2; instance: bytes CSP_ID, optional
//	           641 MEASUREMENT                           digests
//	           642 HOST_DATA                             raw value, 32 bytes
//	           647 REPORTED_TCB                          lowest svn: the 8 bytes of the field as a
//	                                                     little-endian number
//	NVIDIAGPU  class: vendor "NVIDIA", model "GH100" or "GB100"
//	NVSwitch   class: vendor "NVIDIA", model "LS10"
//	           uint 0..63                                digests; the key is NVIDIA's index, from 0,
//	                                                     which is the SPDM index less one
//	SPDM       class: vendor and model, instance: bytes of the serial number, from the
//	           otherName VENDOR:MODEL:SERIAL of the device
//	           uint 1..254                               the key is the SPDM index: digests, lowest svn,
//	                                                     or raw value
//	           254                                       flag is-debug = false, and a masked raw value
//	           "tdisp.interface-info"                    masked raw value, u16 little endian
//	           "tdisp.non-tee-range-count",
//	           "tdisp.updatable-range-count"             raw value, u32 little endian
//	           "tdisp.range.<id>"                        raw value: u32 pages, u16 attributes, little endian
//	TPM        class: id bytes(560) ClassTPM
//	           no mkey                                   integrity registers by PCR index
//	ArmCCAPlatform, PSA
//	           class: id bytes(560) implementation id; the key of a device has as
//	           instance its UEID(550), and is an attest-key triple with PEM(554)
//	           "cca.software-component",
//	           "psa.software-component"                  digests, name, version and one signer id as key
//	           "cca.platform-config"                     raw value
//	ArmCCARealm
//	           class: id bytes(560) initial measurement
//	           "cca.rim", "cca.rem0".."cca.rem3"         digests
//	           "cca.rpv"                                 raw value
//
// The TCB of SNP is eight version numbers in one integer. It must be compared
// byte by byte, never as the integer. TEE_TCB_SVN of TDX is left out on purpose:
// whether a platform is up to date is what Intel's collateral says, and an exact
// reference value would refuse a newer one.
//
// A masked raw value is written as raw value (4) and mask (5). The draft prefers
// tag 563 and keeps this form for what exists; deployed readers know only this
// one. For the same reason counts are raw values and not ranges (15), and no
// value carries a name (11): a name in a reference value is one more thing that
// evidence would have to match. Security version numbers are always tagged
// (decision D-64) and digest algorithms are numbers (decision D-63). A profile is
// a URI with tag 32, as in the draft and in published CoRIMs; readers that
// expect a bare text there exist.
package refvalues
