# A board with eight NVIDIA GPUs and four switches in protected PCIe, and one CPU
# TEE: all of them there, linked with one another, and nothing else but a virtual TPM.
package assize

require contains {"scheme": "nvidia-gpu", "exactly": 8}

require contains {"scheme": "nvidia-nvswitch", "exactly": 4}

require contains {"scheme": scheme, "optional": true} if some scheme in {"intel-tdx", "intel-sgx", "amd-snp", "arm-cca", "aws-nitro", "tcg-tpm"}

composite contains {"tier": "none", "detail": "there is no CPU TEE"} if count(present) == 0

composite contains {"tier": "warning", "detail": sprintf("there are %d CPU TEEs, and a machine has one", [count(cpus)])} if count(cpus) > 1

cpus := {label | some label in input.classes["cpu-tee"]}

# One that may lack a verdict and does is not there.
present := cpus - missing

missing contains label if {
	some label in input.tiers.none
	label in input.optional
}

# In protected PCIe what the devices exchange is in clear, so the board is judged as
# one (docs/architecture.md, "One machine").
composite contains {"tier": "none", "detail": "no eight GPUs and four switches say that they work with one another"} if count(boards) == 0

composite contains {"tier": i.tier, "detail": "a board of GPUs and switches is not affirming"} if {
	some i in input.interconnects
	i.tier != "affirming"
}

boards contains i if {
	some i in input.interconnects
	count(i.devices) == 8
	count(i.switches) == 4
	count(i.unattested) == 0
}
