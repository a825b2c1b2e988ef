#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bench_capture with a journald of its own, as the tests have one, to write lines to.
#
#   capture.sh LOAD|all ROUNDS MS
#
# What stands in single quotes is for another shell.
# shellcheck disable=SC2016
set -euo pipefail
cd "$(dirname "$0")/../.."
T=$(mktemp -d /tmp/sekoia-bench.XXXXXX)
KEEP_PIDS=()
wait_until() {
	for _ in $(seq 100); do
		eval "$1" && return
		sleep 0.1
	done
	return 1
}
clean_up() {
	kill "${KEEP_PIDS[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf --one-file-system "$T"
}
trap clean_up EXIT
# shellcheck source=tests/lib/journal.bash
. tests/lib/journal.bash
bench=$(realpath "${O:-build}")/tests/bench/bench_capture
if [ -x /lib/systemd/systemd-journald ]; then
	journald_start
	in_room "$bench" "$@"
else
	"$bench" "$@"
fi
