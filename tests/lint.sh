#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Format, cppcheck, clang-tidy, shellcheck and the edges between the rooms. Each
# is run even if the one before found something; the exit status is of all.
# "make lint" builds the skeletons first, which some sources include.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
shopt -s nullglob

failed=()
step() {
	local name=$1
	shift
	printf '%-14s' "$name"
	if "$@" >"$log" 2>&1 </dev/null; then
		echo ok
	else
		echo FAILED
		sed 's/^/    | /' "$log"
		failed+=("$name")
	fi
}

c_all=(bpf/*.[ch] user/*.[ch] user/util/*.[ch] output/*.[ch] config/*.[ch]
	tests/unit/*.[ch] tests/fuzz/*.[ch] tests/peers/*.[ch] tests/bench/*.[ch] tests/lib/*.[ch] deploy/*.c)
c_ours=(user/*.c user/util/*.c output/*.c config/*.c)
c_tests=(tests/fuzz/*.c tests/peers/*.c)
shell=(.ci/run deploy/*.sh tests/*.sh tests/*/*.sh tests/*/*.bash)
bats=(tests/bats/*.bats tests/soak/*.bats)
include=(-I. -Ibuild/gen)
version=$(sed -n 's/^VERSION := //p' Makefile)

# cppcheck does not read the system's headers: it is told what the macros of
# libbpf say that look like no C.
run_cppcheck() {
	cppcheck --quiet --enable=warning,performance,portability --std=c11 --inline-suppr \
		--error-exitcode=1 --cppcheck-build-dir=build/lint/cppcheck --suppressions-list=tests/cppcheck.txt -j "$(nproc)" \
		"-DLIBBPF_OPTS(TYPE,NAME,...)=struct TYPE NAME = { .sz = sizeof(struct TYPE), __VA_ARGS__ }" \
		-D__x86_64__ -DSEKOIA_VERSION="\"$version\"" "${include[@]}" "${c_ours[@]}" "${c_tests[@]}"
}

# One file. What was found clean is not read again until it, a header of it, the
# checks or clang-tidy itself are others: all that is in the name of its mark.
check_tidy() {
	local flags=(-std=gnu11 -I. -Ibuild/gen "-DSEKOIA_VERSION=\"$version\"") text mark status
	text=$(cc -E -CC "${flags[@]}" "$1") || return 1
	mark=build/lint/tidy-$(printf '%s\n' "$1" "$text" "$tidy_is" | sha256sum | cut -d' ' -f1)
	[[ -e $mark ]] && return
	clang-tidy --quiet "$1" -- "${flags[@]}" 2>&1 |
		grep -vE "^[0-9]+ warnings? |^Suppressed |^Use -header-filter"
	status=${PIPESTATUS[0]}
	((status != 0)) || touch "$mark"
	return "$status"
}

run_tidy() {
	tidy_is=$(clang-tidy --version && cat .clang-tidy) || return 1
	export -f check_tidy
	export version tidy_is
	find build/lint -name 'tidy-*' -mtime +7 -delete
	printf '%s\n' "${c_ours[@]}" | xargs -P "$(nproc)" -I{} bash -c "check_tidy {}"
}

# With what they load, which shellcheck follows where it is called source. Not
# told: that wait_until's commands stand in single quotes (2016), that what a
# test sets is lost with its process (2030, 2031), that arguments of the
# library's functions may be left out (2119).
check_bats() {
	sed -E 's|^load \.\./lib/(.*)$|source tests/lib/\1.bash|' "$1" |
		shellcheck -s bats -x -P . -e SC2016,SC2030,SC2031,SC2119 -f gcc - | sed "s|^-:|$1:|"
	((PIPESTATUS[1] == 0))
}
export -f check_bats

run_shellcheck() {
	local status=0
	shellcheck "${shell[@]}" || status=1
	printf '%s\n' "${bats[@]}" | xargs -P "$(nproc)" -I{} bash -c "check_bats {}" || status=1
	return "$status"
}

mkdir -p build/lint/cppcheck
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' INT TERM
step format clang-format --dry-run -Werror "${c_all[@]}"
step shellcheck run_shellcheck
step rooms bats tests/bats/rooms.bats
step cppcheck run_cppcheck
step clang-tidy run_tidy

if [[ ${#failed[@]} -gt 0 ]]; then
	echo "lint: failed: ${failed[*]}"
	exit 1
fi
echo "lint: clean"
