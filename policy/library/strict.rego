# Nothing on anybody's word: a challenge of the session, commitments that hardware or
# measured software wrote, revocation known, reference values signed, the set of
# components named, and no component that may be missing.
package assize

composite contains {"tier": "none", "detail": "no session nonce was given"} if not input.session.nonce_given

composite contains {"tier": "warning", "detail": "judged as of another time than now"} if input.session.time_overridden

composite contains {"tier": "warning", "detail": "a verifier trusts roots that are not the vendor's"} if input.session.simulated

composite contains {"tier": "warning", "detail": "what has to be there is named neither by the topology nor by a requirement"} if {
	some cap in input.caps
	cap.code == "completeness-as-submitted"
	not named
}

named if {
	some q in input.requirements
	not q.optional
	not q.exactly == 0
	not q.at_least == 0
}

composite contains {"tier": "warning", "detail": sprintf("bound to the CPU by nothing that hardware or measured software wrote: %d component(s), the first is %s", [sum([count(l) | some l in weak]), substring(min([min(l) | some l in weak]), 0, 200)])} if count(weak) > 0

weak := [labels |
	some how, labels in input.ways
	not how in {"strong measured", "strong hardware"}
]

composite contains {"tier": "none", "detail": sprintf("%s may lack a verdict and does", [substring(label, 0, 200)])} if {
	some label in input.tiers.none
	label in input.optional
}

component contains {"label": label, "tier": "warning", "detail": "the reference values of what was measured are in a document that nobody has signed"} if {
	some label in input.reasons["unsigned-reference-values"]
}

component contains {"label": label, "tier": "warning", "detail": "whether its certificates are revoked is not known"} if some label in unknown_revocation

unknown_revocation contains label if some label in input.reasons["revocation-unknown"]

# These schemes look at revocation lists where there are some, and say in their
# claims what came of it.
unknown_revocation contains label if {
	some label in input.schemes["amd-snp"]
	not input.components[label].claims.revocation.checked
}

unknown_revocation contains label if {
	some label in input.schemes["dmtf-spdm"]
	not input.components[label].claims.revocation.checked
}

unknown_revocation contains label if {
	some label in input.schemes["aws-nitro"]
	not all_known(label)
}

all_known(label) if {
	status := input.components[label].claims.revocation
	count(status) > 0
	every s in status {
		s != "unknown"
	}
}

# NVIDIA's claims have the status of the chain of the device.
unknown_revocation contains label if {
	some label in input.schemes["nvidia-gpu"]
	not input.components[label].claims["x-nvidia-gpu-attestation-report-cert-chain"]["x-nvidia-cert-ocsp-status"] == "good"
}

unknown_revocation contains label if {
	some label in input.schemes["nvidia-nvswitch"]
	not input.components[label].claims["x-nvidia-switch-attestation-report-cert-chain"]["x-nvidia-cert-ocsp-status"] == "good"
}
