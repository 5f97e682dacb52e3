#!/bin/sh
# Usage: fuzz.sh DURATION [PACKAGE...]
#
# Runs every fuzz target of the packages (default ./...) for DURATION and fails
# if any of them fails, or if there is none at all. FUZZJOBS packages (default
# 1) are fuzzed at a time; their targets one after the other, with an equal
# share of the processors.
set -eu

duration=$1
shift
[ $# -gt 0 ] || set -- ./...
jobs=${FUZZJOBS:-1}
workers=$(($(getconf _NPROCESSORS_ONLN) / jobs))
[ "$workers" -gt 0 ] || workers=1

# Only finds the packages; the names of the targets come from the test binary.
# Those with the most targets go first, so that all jobs end together.
files=$(go list -f '{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}
{{end}}' "$@")
packages=$(printf '%s\n' "$files" | grep . | tr '\n' '\0' | xargs -0 grep -c '^func Fuzz' /dev/null |
	awk -F: '$2 > 0 { sub("/[^/]*$", "", $1); n[$1] += $2 } END { for (d in n) print n[d] "\t" d }' |
	sort -rn | cut -f 2)
[ -n "$packages" ] || { echo "fuzz: no fuzz target found" >&2; exit 1; }

printf '%s\n' "$packages" |
	xargs -P "$jobs" -I '{}' sh "$(dirname "$0")/fuzzpackage.sh" "$duration" "$workers" '{}'
