# SPDX-License-Identifier: Apache-2.0
# The short form of the fault laboratory: what no other file here has. Its table
# is in build/lab/table.txt; `make lab` runs all of it, and rsyslog beside us.

load ../lib/common

setup() {
	common_setup
	need_root
}

teardown() {
	common_teardown
}

@test "lab: each fault of the short form: none lost, none twice in the spool, repeats known by their id" {
	LAB_JOBS=3 O=$O "$TOP/tests/lab/lab.sh" short 3>&-
}
