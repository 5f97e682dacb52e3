package assize_test

import data.assize

cpu := {"class": "cpu-tee", "scheme": "amd-snp", "required": true, "tier": "affirming"}

gpu := {"class": "device", "scheme": "nvidia-gpu", "required": true, "tier": "affirming"}

indexed(components) := {
	"components": components,
	"classes": {c.class: [label | some label, d in components; d.class == c.class] | some c in components},
	"schemes": {c.scheme: [label | some label, d in components; d.scheme == c.scheme] | some c in components},
	"tiers": {c.tier: [label | some label, d in components; d.tier == c.tier] | some c in components},
	"optional": [label | some label, c in components; not c.required],
}

tiers(components) := found if {
	found := {f.tier | some f in assize.composite} with input as indexed(components)
}

test_wants_a_gpu if {"scheme": "nvidia-gpu", "at_least": 1} in assize.require

test_expects_every_kind_of_cpu_and_no_other_device if {
	expected := {q.scheme | some q in assize.require; q.optional}
	expected == {"intel-tdx", "intel-sgx", "amd-snp", "arm-cca", "aws-nitro", "tcg-tpm", "nvidia-nvswitch"}
}

test_one_cpu_is_right if tiers({"cpu": cpu, "gpu/0": gpu}) == set()

test_a_cpu_without_verdict_is_for_others_to_judge if tiers({"cpu": object.union(cpu, {"tier": "none"}), "gpu/0": gpu}) == set()

test_no_cpu_is_no_verdict if tiers({"gpu/0": gpu}) == {"none"}

test_a_cpu_that_may_lack_a_verdict_and_does_is_no_cpu if {
	tiers({"cpu": object.union(cpu, {"tier": "none", "required": false}), "gpu/0": gpu}) == {"none"}
}

test_two_cpus_are_one_too_many if tiers({"cpu": cpu, "other": cpu, "gpu/0": gpu}) == {"warning"}
