#!/bin/sh
# Usage: fuzz.sh DURATION [PACKAGE...]
#
# Runs every fuzz target of the packages (default ./...) for DURATION, one after
# the other, and fails if any of them fails, or if there is none at all.
set -eu

duration=$1
shift
[ $# -gt 0 ] || set -- ./...
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# `go test -list` prints the names of a package and then "ok <package> <time>".
go test -run '^$' -list '^Fuzz' "$@" >"$log"
targets=$(awk '/^Fuzz/ { names = names " " $1; next }
	$1 == "ok" { n = split(names, a, " "); for (i = 1; i <= n; i++) print $2 ":" a[i]; names = "" }' "$log")
[ -n "$targets" ] || { echo "fuzz: no fuzz target found" >&2; exit 1; }

# The default minute of minimising every interesting input is time in which seeds
# of several kilobytes are not fuzzed at all; twenty tries are enough.

# once PACKAGE NAME: go test ends the workers by cancelling their context, and
# on a busy machine reports that as a failure of the target. Such an end, and
# only such an end (no failing input was written), is tried a second time.
once() {
	for attempt in 1 2; do
		if go test -run '^$' -fuzz "^$2\$" -fuzztime "$duration" -fuzzminimizetime 20x "$1" >"$log" 2>&1; then
			return 0
		fi
		if [ "$attempt" = 2 ] || grep -q 'Failing input written' "$log" ||
			! grep -q '^ *context deadline exceeded$' "$log"; then
			cat "$log"
			return 1
		fi
	done
}

failed=0
for target in $targets; do
	pkg=${target%%:*}
	name=${target##*:}
	if once "$pkg" "$name"; then
		echo "ok   $name ($pkg)"
	else
		echo "FAIL $name ($pkg)"
		failed=1
	fi
done
exit $failed
