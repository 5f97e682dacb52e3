#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo: recorded evidence of real hardware in, one signed verdict out, and
# the relying party's check of it. Usage: demo.sh PATH-TO-ASSIZE
set -eu
assize=$1
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

go run ./samples/write "$dir/composite.cmw"

say "inspect: an Intel TDX quote and an NVIDIA H100 report in one CMW collection"
"$assize" inspect "$dir/composite.cmw"

gpu_nonce=4cff7f5380ead8fad8ec2c531c110aca4302a88f603792801a8ca29ee151af2e

say "appraise: split, sent over embedded NATS to two verifiers, combined and signed"
run "$assize" appraise "$dir/composite.cmw" --component-nonce gpu="$gpu_nonce"

say "verdict verify: a relying party checks the lead's and both verifiers' signatures"
"$assize" appraise "$dir/composite.cmw" --component-nonce gpu="$gpu_nonce" -o bundle >"$dir/bundle.json" || test $? -eq 3
"$assize" keys jwks >"$dir/jwks.json"
run "$assize" verdict verify "$dir/bundle.json" --trust "$dir/jwks.json"

cat <<'END'

What this does not establish: the recordings answer old challenges, so freshness
of the CPU is open; no collateral, revocation answers or reference values were
given; and nothing binds this GPU to this CPU – they never shared a machine.
A warning is the right verdict, and it says why.
END
