package assize_test

import data.assize

cpu := {"class": "cpu-tee", "scheme": "intel-tdx", "required": true, "tier": "affirming"}

gpus := ["gpu/0", "gpu/1", "gpu/2", "gpu/3", "gpu/4", "gpu/5", "gpu/6", "gpu/7"]

switches := ["nvswitch/0", "nvswitch/1", "nvswitch/2", "nvswitch/3"]

device(scheme) := {"class": "device", "scheme": scheme, "required": true, "tier": "affirming"}

parts := object.union({"cpu": cpu}, object.union({l: device("nvidia-gpu") | some l in gpus}, {l: device("nvidia-nvswitch") | some l in switches}))

board := {"tier": "affirming", "configuration": 3, "devices": gpus, "switches": switches, "unattested": [], "reasons": []}

indexed(components) := {
	"components": components,
	"classes": {c.class: [label | some label, d in components; d.class == c.class] | some c in components},
	"schemes": {c.scheme: [label | some label, d in components; d.scheme == c.scheme] | some c in components},
	"tiers": {c.tier: [label | some label, d in components; d.tier == c.tier] | some c in components},
	"optional": [label | some label, c in components; not c.required],
}

tiers(components, interconnects) := found if {
	found := {f.tier | some f in assize.composite} with input as object.union(indexed(components), {"interconnects": interconnects})
}

test_counts if {
	{"scheme": "nvidia-gpu", "exactly": 8} in assize.require
	{"scheme": "nvidia-nvswitch", "exactly": 4} in assize.require
}

test_a_whole_board_is_right if tiers(parts, [board]) == set()

test_no_interconnect_is_no_verdict if tiers(parts, []) == {"none"}

test_a_smaller_board_is_no_verdict if tiers(parts, [object.union(board, {"switches": ["nvswitch/0"]})]) == {"none"}

test_a_board_with_strangers_is_no_verdict if tiers(parts, [object.union(board, {"unattested": ["nvidia-pdi:1"]})]) == {"none"}

test_a_board_is_as_good_as_it_is if {
	every tier in ["warning", "none", "contraindicated"] {
		tiers(parts, [object.union(board, {"tier": tier})]) == {tier}
	}
}

test_no_cpu_is_no_verdict if tiers(object.remove(parts, ["cpu"]), [board]) == {"none"}

test_a_cpu_that_may_lack_a_verdict_and_does_is_no_cpu if {
	tiers(object.union(parts, {"cpu": {"tier": "none", "required": false}}), [board]) == {"none"}
}

test_two_cpus_are_one_too_many if tiers(object.union(parts, {"other": cpu}), [board]) == {"warning"}
