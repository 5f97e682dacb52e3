# A confidential VM with GPUs: exactly one CPU TEE, at least one NVIDIA GPU, and
# beside them nothing but a virtual TPM and what the GPUs are linked by.
package assize

require contains {"scheme": "nvidia-gpu", "at_least": 1}

require contains {"scheme": scheme, "optional": true} if some scheme in cpu_schemes

require contains {"scheme": scheme, "optional": true} if some scheme in {"tcg-tpm", "nvidia-nvswitch"}

cpu_schemes := {"intel-tdx", "intel-sgx", "amd-snp", "arm-cca", "aws-nitro"}

composite contains {"tier": "none", "detail": "there is no CPU TEE"} if count(present) == 0

composite contains {"tier": "warning", "detail": sprintf("there are %d CPU TEEs, and a machine has one", [count(cpus)])} if count(cpus) > 1

cpus := {label | some label in input.classes["cpu-tee"]}

# One that may lack a verdict and does is not there.
present := cpus - missing

missing contains label if {
	some label in input.tiers.none
	label in input.optional
}
