#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The long runs: the fault laboratory and the runs of tests/soak once, then the
# end-to-end tests that kill, cut and count, again and again with other random
# instants, for SOAK_MINUTES (60) in all. Stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
end=$((SECONDS + ${SOAK_MINUTES:-60} * 60))
round=0
files=(tests/bats/kills.bats tests/bats/flows_10000.bats tests/bats/journal_*.bats)

tests/lab/lab.sh long
bats tests/soak/*.bats
while ((SECONDS < end)); do
	round=$((round + 1))
	echo "round $round, $(((end - SECONDS) / 60)) minutes left"
	bats "${files[@]}"
	UPGRADE_ROUNDS=200 bats tests/bats/upgrade.bats
	PROCESSES=100000 bats -f 'processes|killed' tests/bats/kernel_events.bats
done
echo "the laboratory, and $round rounds without a failure"
