#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo: a simulated machine, honest and with a foreign GPU, and a board of GPUs
# and switches; then recorded evidence of real hardware, and the relying party's
# check of its verdict.
# Usage: demo.sh PATH-TO-ASSIZE
set -eu
case $1 in /*) assize=$1 ;; *) assize=$PWD/$1 ;; esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ASSIZE_STATE_DIR=$dir/state
export ASSIZE_STATE_DIR

say() { printf '\n== %s\n\n' "$*"; }

# run CMD…: the exit status of a verdict is 0, 3, 4 or 5; anything else is an error.
run() {
	status=0
	"$@" || status=$?
	case $status in 0 | 3 | 4 | 5) printf '(exit status %s)\n' "$status" ;; *) exit "$status" ;; esac
}

nonce=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')

say "simulate: a machine with a CPU TEE and a GPU answers a fresh challenge"
(cd "$dir" && "$assize" simulate --machine cpu-gpu --nonce "$nonce" -o honest)

say "appraise: both are genuine and fresh, and the CPU commits to the GPU's evidence"
run "$assize" appraise "$dir/honest/evidence.cmw" --nonce "$nonce" --topology 'lead(cpu, gpu/0)' \
	--trust "$dir/honest/trust.json" --endorsements "$dir/honest/endorsements" \
	--corim "$dir/honest" --corim-trust "$dir/honest/corim-trust.json" --log-level error

say "the same with the GPU of another machine: genuine, fresh, and refused"
"$assize" simulate --machine cpu-gpu --nonce "$nonce" --fault gpu/0:foreign-machine -o "$dir/foreign" >/dev/null
run "$assize" appraise "$dir/foreign/evidence.cmw" --nonce "$nonce" --topology 'lead(cpu, gpu/0)' \
	--trust "$dir/foreign/trust.json" --endorsements "$dir/foreign/endorsements" \
	--corim "$dir/foreign" --corim-trust "$dir/foreign/corim-trust.json" --log-level error

say "explain: what was expected, what was seen, and what would mend it"
"$assize" appraise "$dir/foreign/evidence.cmw" --nonce "$nonce" --topology 'lead(cpu, gpu/0)' \
	--trust "$dir/foreign/trust.json" --endorsements "$dir/foreign/endorsements" \
	--corim "$dir/foreign" --corim-trust "$dir/foreign/corim-trust.json" --log-level error -o bundle >"$dir/foreign.json" || test $? -eq 4
"$assize" keys jwks >"$dir/jwks.json"
"$assize" explain "$dir/foreign.json" --trust "$dir/jwks.json" --nonce "$nonce"

# board FAULT…: the verdict about a whole board, of which the parts are left out.
board() {
	rm -rf "$dir/board"
	"$assize" simulate --machine hgx --nonce "$nonce" "$@" -o "$dir/board" >/dev/null
	run "$assize" appraise "$dir/board/evidence.cmw" --nonce "$nonce" \
		--topology 'lead(cpu, gpu/0, gpu/1, gpu/2, gpu/3, gpu/4, gpu/5, gpu/6, gpu/7, switch/0, switch/1, switch/2, switch/3)' \
		--trust "$dir/board/trust.json" --endorsements "$dir/board/endorsements" \
		--corim "$dir/board" --corim-trust "$dir/board/corim-trust.json" --log-level error >"$dir/board.txt"
	sed -n -e '1,/^├/{/^├/!p;}' -e '/ interconnect /,/binding/{/binding/!p;}' -e '/exit status/p' "$dir/board.txt"
}

say "eight GPUs and four switches in protected-PCIe mode: each names the others, and all agree"
board

say "the same with a switch that is of another board by what it says"
board --fault switch/3:foreign-links

go run ./samples/write "$dir/composite.cmw"

say "real hardware; inspect: an Intel TDX quote and an NVIDIA H100 report in one CMW collection"
"$assize" inspect "$dir/composite.cmw"

gpu_nonce=4cff7f5380ead8fad8ec2c531c110aca4302a88f603792801a8ca29ee151af2e

say "appraise: split, sent over embedded NATS to two verifiers, combined and signed"
run "$assize" appraise "$dir/composite.cmw" --component-nonce gpu="$gpu_nonce"

say "verdict verify: a relying party checks the lead's and both verifiers' signatures"
"$assize" appraise "$dir/composite.cmw" --component-nonce gpu="$gpu_nonce" -o bundle >"$dir/bundle.json" || test $? -eq 3
"$assize" keys jwks >"$dir/jwks.json"
run "$assize" verdict verify "$dir/bundle.json" --trust "$dir/jwks.json"

cat <<'END'

What the last one does not establish: the recordings answer old challenges, so freshness
of the CPU is open; no collateral, revocation answers or reference values were
given; and nothing binds this GPU to this CPU – they never shared a machine.
A warning is the right verdict, and it says why. The simulated machines are better off:
collateral, a challenge, NVIDIA's signed manifests and revocation answers, reference
values for the software of the CPU, and a commitment of that software to the evidence
of the others. CPU and GPU are affirming, and so is the board as a whole. Of the memory
of these GPUs nothing is said: that of a Hopper is closed to the host and not encrypted,
and in protected PCIe it depends on the board. All of it holds for who trusts simulated
roots, and for nobody else.
END
