#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs what was built and ends with "N passed, N failed, N skipped":
#
#   tests/run.sh [unit] [fuzz] [bats] [all]
#
# unit  every program of tests/unit, as built in build/ and in build/san/
# fuzz  every corpus through its parser, with the sanitizers if they were built
# bats  every file of tests/bats
#
# O=DIR takes the programs from DIR alone. BATS="a.bats b.bats" runs these files.
# Programs run beside each other, one on each CPU, and so do three bats files (JOBS=N),
# those with a line "# long: WHY" first; one with the line "# alone: WHY" runs by itself,
# after those. A file that fails is run once more, by itself; the end of the report names it.
# No test ran, a program that was not built, or a file that takes longer than
# UNIT_SECONDS or BATS_SECONDS: each is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

unit_seconds=${UNIT_SECONDS:-120}
bats_seconds=${BATS_SECONDS:-600}
jobs=${JOBS:-3}
passed=0 failed=0 skipped=0
failures=() reasons=() again=()

# What the machine is set to must not reach the tests.
unset https_proxy HTTPS_PROXY http_proxy HTTP_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
for name in "${!SEKOIA_@}"; do
	unset "$name"
done
unset CREDENTIALS_DIRECTORY NOTIFY_SOCKET
export LC_ALL=C.UTF-8 UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

if [[ -n ${O:-} ]]; then
	trees=("$O")
else
	trees=(build)
	[[ -d build/san ]] && trees+=(build/san)
fi

outs=$(mktemp -d)
out=$outs/now
cleanup() {
	local left
	left=$(jobs -p)
	# Words: process ids.
	# shellcheck disable=SC2086
	[[ -z $left ]] || kill $left 2>/dev/null
	rm -rf "$outs"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

now_ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# run_into FILE SECONDS COMMAND...: its output goes to FILE. Sets status and took.
run_into() {
	local start out=$1 limit=$2
	shift 2
	start=$(now_ms)
	timeout -k 10 "$limit" "$@" >"$out" 2>&1 </dev/null
	status=$?
	took=$(($(now_ms) - start))
	if ((took >= limit * 1000)); then
		echo "# took longer than $limit s" >>"$out"
	elif ((status != 0)); then
		echo "# ended with status $status" >>"$out"
	fi
	return 0
}

# run NAME SECONDS COMMAND...: the name is shown while it runs; its output goes to $out.
run() {
	printf '%-52s' "$1"
	shift
	run_into "$out" "$@"
}

# tell PASSED FAILED SKIPPED: the end of the line that run began, and why it failed.
tell() {
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	printf '%4d passed' "$1"
	[[ $2 == 0 ]] || printf ', %d FAILED' "$2"
	[[ $3 == 0 ]] || printf ', %d skipped' "$3"
	printf '  (%d.%d s)\n' $((took / 1000)) $((took % 1000 / 100))
	[[ $2 == 0 ]] || sed 's/^/    | /' "$out"
}

# Counts the TAP in $out. A program that ends before its plan is done has failed as well.
count_tap() {
	local ok not_ok skip plan missing
	ok=$(grep -c '^ok ' "$out")
	not_ok=$(grep -c '^not ok ' "$out")
	skip=$(grep -ciE '^ok .*# skip' "$out")
	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$out" | head -n 1)
	missing=$((${plan:-1} - ok - not_ok))
	((missing > 0)) && not_ok=$((not_ok + missing))
	((status != 0 && not_ok == 0)) && not_ok=1
	((not_ok > 0)) && failures+=("$1")
	while IFS= read -r reason; do
		reasons+=("${reason:-no reason given}")
	done < <(sed -nE 's/^ok .*# [sS][kK][iI][pP] *\(?([^)]*)\)?.*/\1/p' "$out")
	tell $((ok - skip)) "$not_ok" "$skip"
}

not_built() {
	echo "not built; make programs" >"$out"
	status=1 took=0
}

# One kind of test, each a file: the command that runs one, and its time.
unit_of() {
	[[ -x $1 ]] || { not_built; return; }
	run_into "$2" "$unit_seconds" "$1"
}

# The sanitizers see what a plain run does not: the last tree is theirs, if there is one.
fuzz_of() {
	local name
	name=$(basename "$1" .c)
	local program=${trees[-1]}/tests/fuzz/$name
	[[ -x $program ]] || { not_built; return; }
	run_into "$2" "$unit_seconds" "$program" "tests/data/$name"
	((status != 0)) || printf '1..1\nok 1 %s\n' "$name" >>"$2"
}

bats_of() {
	run_into "$2" "$bats_seconds" bats --tap "$1"
}

# together KIND JOBS FILE...: so many beside each other; each is told when it is done.
together() {
	local kind=$1 jobs=$2 file pid
	shift 2
	local left=("$@")
	local -A names=()

	while ((${#left[@]} + ${#names[@]} > 0)); do
		while ((${#left[@]} > 0 && ${#names[@]} < jobs)); do
			file=${left[0]}
			left=("${left[@]:1}")
			(
				out=$outs/${file//\//+}
				"${kind}_of" "$file" "$out"
				echo "$status $took" >"$out.end"
			) &
			names[$!]=$file
		done
		wait -n -p pid "${!names[@]}"
		file=${names[$pid]}
		unset "names[$pid]"
		out=$outs/${file//\//+}
		read -r status took <"$out.end"
		printf '%-52s' "$file"
		"told_$kind" "$file"
	done
	out=$outs/now
}

told_unit() {
	count_tap "$1"
}

told_fuzz() {
	count_tap "$1"
}

run_unit() {
	local tree source programs=()
	for tree in "${trees[@]}"; do
		for source in tests/unit/*.c; do
			[[ -e $source ]] && programs+=("$tree/tests/unit/$(basename "$source" .c)")
		done
	done
	together unit "$(nproc)" "${programs[@]}"
}

run_fuzz() {
	together fuzz "$(nproc)" tests/fuzz/fuzz_*.c
}

# told_bats FILE: the end of what run_into() left in $out.
told_bats() {
	local file=$1
	if [[ $status != 0 ]]; then
		# The capture sees the whole host, and so do these tests: what else
		# happens here can upset one. It gets a second chance, and is told.
		again+=("$file: $(grep -m 1 '^not ok ' "$out" || echo "status $status")")
		printf 'failed\n'
		grep -A12 '^not ok ' "$out" | sed 's/^/    | /'
		retries+=("$file")
	else
		count_tap "$file"
	fi
}

run_bats() {
	local file long=() short=() alone=() retries=()
	# Words, not a path with blanks: names of our own files.
	# shellcheck disable=SC2206
	local files=(${BATS:-tests/bats/*.bats})
	if ! command -v bats >/dev/null; then
		status=1 took=0
		printf '%-52s' "bats"
		echo "bats is not installed; deploy/deps.sh test" >"$out"
		failures+=("bats")
		tell 0 1 0
		return
	fi
	for file in "${files[@]}"; do
		[[ -e $file ]] || continue
		if grep -q '^# alone: ' "$file"; then
			alone+=("$file")
		elif grep -q '^# long: ' "$file"; then
			long+=("$file")
		else
			short+=("$file")
		fi
	done
	together bats "$jobs" "${long[@]}" "${short[@]}"
	for file in "${alone[@]}"; do
		run "$file" "$bats_seconds" bats --tap "$file"
		told_bats "$file"
	done
	for file in "${retries[@]}"; do
		run "$file, again" "$bats_seconds" bats --tap "$file"
		count_tap "$file"
	done
}

kinds=("$@")
[[ $# -gt 0 ]] || kinds=(all)
for kind in "${kinds[@]}"; do
	case $kind in
	unit) run_unit ;;
	fuzz) run_fuzz ;;
	bats) run_bats ;;
	all)
		run_unit
		run_fuzz
		run_bats
		;;
	*)
		echo "usage: tests/run.sh [unit] [fuzz] [bats] [all]" >&2
		exit 2
		;;
	esac
done

if ((skipped > 0)); then
	echo
	echo "skipped:"
	printf '%s\n' "${reasons[@]}" | sort | uniq -c | sort -rn
fi
if [[ ${#again[@]} -gt 0 ]]; then
	echo
	echo "not at the first attempt:"
	printf '  %s\n' "${again[@]}"
fi
if ((failed > 0)); then
	echo
	echo "failed:"
	printf '  %s\n' "${failures[@]}"
fi
if ((passed + failed + skipped == 0)); then
	echo "no test ran" >&2
	failed=1
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
