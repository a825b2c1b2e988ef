#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# libFuzzer on each of the given fuzzers, for so many seconds each:
#
#   tests/fuzz/run.sh SECONDS build/fuzz/fuzz_X...
#
# Starts from tests/data/fuzz_X and keeps what it finds in build/fuzz/corpus/fuzz_X;
# an input that breaks the parser is left in build/fuzz/found/.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

if [[ $# -lt 2 || ! $1 =~ ^[0-9]+$ ]]; then
	echo "usage: tests/fuzz/run.sh SECONDS FUZZER..." >&2
	exit 2
fi
seconds=$1
shift
found=build/fuzz/found
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' INT TERM
failed=0

for fuzzer in "$@"; do
	name=$(basename "$fuzzer")
	corpus=build/fuzz/corpus/$name
	mkdir -p "$corpus" "$found"
	seeds=()
	[[ -d tests/data/$name ]] && seeds=("tests/data/$name")
	printf '%-32s' "$name"
	if "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix="$found/$name-" "$corpus" "${seeds[@]}" >"$log" 2>&1 </dev/null; then
		sed -n 's/^stat::number_of_executed_units: */ok, runs: /p' "$log"
	else
		echo "FAILED"
		tail -n 40 "$log" | sed 's/^/    | /'
		failed=$((failed + 1))
	fi
done
echo "$# fuzzers, $failed failed"
((failed == 0))
