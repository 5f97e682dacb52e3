package assize_test

import data.assize

session := {"nonce_given": true, "time_overridden": false, "simulated": false}

cpu := {"class": "cpu-tee", "scheme": "intel-tdx", "required": true, "tier": "affirming", "claims": {}}

gpu := {
	"class": "device", "scheme": "nvidia-gpu", "required": true, "tier": "affirming",
	"claims": chain("gpu", "good"),
}

chain(kind, status) := {sprintf("x-nvidia-%s-attestation-report-cert-chain", [kind]): {"x-nvidia-cert-ocsp-status": status}}

good := {
	"session": session, "components": {"cpu": cpu, "gpu/0": gpu}, "caps": [], "requirements": [], "reasons": {},
	"bound": {"gpu/0": {"strength": "strong", "origin": "hardware", "via": ["tsm-digest"]}},
}

indexed(components) := {
	"components": components,
	"classes": {c.class: [label | some label, d in components; d.class == c.class] | some c in components},
	"schemes": {c.scheme: [label | some label, d in components; d.scheme == c.scheme] | some c in components},
	"tiers": {c.tier: [label | some label, d in components; d.tier == c.tier] | some c in components},
	"optional": [label | some label, c in components; not c.required],
}

ways(bound) := {how: [label | some label, v in bound; how == trim_space(sprintf("%s %s", [v.strength, v.origin]))] |
	some w in bound
	how := trim_space(sprintf("%s %s", [w.strength, w.origin]))
}

whole(change) := found if {
	changed := object.union(good, change)
	seen := object.union(object.union(changed, indexed(changed.components)), {"ways": ways(changed.bound)})
	found := {f.tier | some f in assize.composite} with input as seen
}

parts(change) := found if {
	changed := object.union(good, {"components": change})
	found := {f.label: f.tier | some f in assize.component} with input as object.union(changed, indexed(changed.components))
}

test_a_good_machine_is_good if {
	whole({}) == set()
	parts({}) == {}
}

test_a_nonce_is_a_must if whole({"session": {"nonce_given": false}}) == {"none"}

test_another_time_is_a_warning if whole({"session": {"time_overridden": true}}) == {"warning"}

test_extra_roots_are_a_warning if whole({"session": {"simulated": true}}) == {"warning"}

as_submitted := [{"tier": "affirming", "code": "completeness-as-submitted", "detail": "d"}]

test_the_set_has_to_be_named if whole({"caps": as_submitted}) == {"warning"}

test_a_requirement_names_the_set if whole({"caps": as_submitted, "requirements": [{"label": "gpu/*", "at_least": 1, "optional": false}]}) == set()

test_what_may_be_there_names_no_set if {
	whole({"caps": as_submitted, "requirements": [{"label": "gpu/*", "optional": true}]}) == {"warning"}
	whole({"caps": as_submitted, "requirements": [{"label": "gpu/*", "exactly": 0, "optional": false}]}) == {"warning"}
}

test_weaker_paths_are_warnings if {
	every way in [
		{"strength": "strong", "origin": "application"}, {"strength": "strong", "origin": ""},
		{"strength": "nonce", "origin": ""}, {"strength": "none", "origin": ""}, {"strength": "nonce", "origin": "hardware"},
	] {
		whole({"bound": {"gpu/0": way}}) == {"warning"}
	}
}

test_measured_software_will_do if whole({"bound": {"gpu/0": {"origin": "measured"}}}) == set()

test_nothing_may_be_missing if whole({"components": {"gpu/0": {"required": false, "tier": "none"}}}) == {"none"}

test_unsigned_values_are_a_warning if {f.label | some f in assize.component} == {"cpu"} with input as object.union(good, {"reasons": {"unsigned-reference-values": ["cpu"]}})

test_unknown_revocation_is_a_warning if {
	{f.label | some f in assize.component} == {"cpu"} with input as object.union(good, {"reasons": {"revocation-unknown": ["cpu"]}})
	every change in [
		{"scheme": "amd-snp"}, {"scheme": "amd-snp", "claims": {"revocation": {"checked": false}}},
		{"scheme": "dmtf-spdm", "claims": {"revocation": {"checked": false}}},
		{"scheme": "aws-nitro"}, {"scheme": "aws-nitro", "claims": {"revocation": {}}},
		{"scheme": "aws-nitro", "claims": {"revocation": {"root": "not revoked", "zone": "unknown"}}},
	] {
		parts({"cpu": change}) == {"cpu": "warning"}
	}
	parts({"gpu/0": {"claims": chain("gpu", "unknown")}}) == {"gpu/0": "warning"}
	parts({"gpu/0": {"scheme": "nvidia-nvswitch", "claims": chain("switch", "unknown")}}) == {"gpu/0": "warning"}
	parts({"cpu": {"scheme": "nvidia-gpu"}}) == {"cpu": "warning"}
	parts({"cpu": {"scheme": "nvidia-nvswitch"}}) == {"cpu": "warning"}
}

test_known_revocation_is_none if {
	every change in [
		{"scheme": "amd-snp", "claims": {"revocation": {"checked": true}}},
		{"scheme": "aws-nitro", "claims": {"revocation": {"root": "not revoked"}}},
		{"scheme": "nvidia-nvswitch", "claims": chain("switch", "good")},
	] {
		parts({"cpu": change}) == {}
	}
}
