#!/bin/sh
# Usage: fuzzpackage.sh DURATION WORKERS DIRECTORY
#
# Runs every fuzz target of the package in DIRECTORY for DURATION, one after the
# other. The package is linked once for all of them, which `go test -fuzz` would
# do for each one anew; the rest is as there: coverage is instrumented, the
# cache of interesting inputs is that of the go command, and a failing input is
# written below testdata/fuzz of the package.
set -eu

duration=$1
workers=$2
cd "$3"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log

pkg=$(go list .)
cache=$(go env GOCACHE)/fuzz/$pkg
go test -c -fuzz=. -o "$scratch/fuzz" .
targets=$("$scratch/fuzz" -test.list '^Fuzz')
[ -n "$targets" ] || { echo "FAIL $pkg: no fuzz target found"; exit 1; }

# The default minute of minimising every interesting input is time in which seeds
# of several kilobytes are not fuzzed at all; twenty tries are enough.

# once NAME: the coordinator ends the workers by cancelling their context, and
# on a busy machine reports that as a failure of the target. Such an end, and
# only such an end (no failing input was written), is tried a second time.
once() {
	for attempt in 1 2; do
		if "$scratch/fuzz" -test.paniconexit0 -test.run '^$' -test.fuzz "^$1\$" -test.fuzztime "$duration" \
			-test.fuzzminimizetime 20x -test.fuzzcachedir "$cache" -test.parallel "$workers" >"$log" 2>&1; then
			return 0
		fi
		if [ "$attempt" = 2 ] || grep -q 'Failing input written' "$log" ||
			! grep -q '^ *context deadline exceeded$' "$log"; then
			return 1
		fi
	done
}

failed=0
for name in $targets; do
	if once "$name"; then
		echo "ok   $name ($pkg)"
	else
		cat "$log"
		echo "FAIL $name ($pkg)"
		failed=1
	fi
done
exit $failed
