# SPDX-License-Identifier: Apache-2.0
# How the binaries were built, both the one that uses shared libraries and the
# static one: what makes a fault in memory hard to exploit.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	command -v readelf >/dev/null || skip "needs readelf (binutils)"
	BINARIES=("$SEKOIA")
	[ ! -e "$TOP/build/static/sekoia-ebpf" ] || BINARIES+=("$TOP/build/static/sekoia-ebpf")
}

# Is it built with the sanitizers? Then it is for tests, and has checks of its own.
is_sanitized() {
	readelf -sW "$1" 2>/dev/null | grep -q __asan_
}

# each CHECK: CHECK FILE is true for every binary; the one that is not is named.
each() {
	local binary

	for binary in "${BINARIES[@]}"; do
		"$@" "$binary" || {
			echo "$binary: $*"
			return 1
		}
	done
}

is_pie() {
	readelf -hW "$1" | grep -Eq 'Type: +DYN' && readelf -dW "$1" | grep -Eq 'FLAGS_1.*PIE'
}

is_full_relro() {
	readelf -lW "$1" | grep -q GNU_RELRO && readelf -dW "$1" | grep -Eq 'FLAGS_1?\).*NOW'
}

# The stack segment is there and not executable; no segment is writable and executable.
is_nx() {
	readelf -lW "$1" | grep -Eq 'GNU_STACK .* RW +0x' && ! readelf -lW "$1" | grep -q ' RWE '
}

has_no_path() {
	! readelf -dW "$1" | grep -Eq 'RPATH|RUNPATH'
}

has_no_textrel() {
	! readelf -dW "$1" | grep -q TEXTREL
}

@test "hardening: position-independent, so that its addresses are random" {
	each is_pie
}

@test "hardening: RELRO with all symbols bound at start" {
	each is_full_relro
}

@test "hardening: no executable stack, no segment that is writable and executable" {
	each is_nx
}

@test "hardening: libraries come from the system's folders alone" {
	each has_no_path
}

@test "hardening: no text relocations" {
	each has_no_textrel
}

@test "hardening: the static binary needs no interpreter and no library" {
	[ -e "$TOP/build/static/sekoia-ebpf" ] || skip "needs make static"
	refute_output() { ! "$@" | grep -q .; }
	refute_output sh -c "readelf -lW '$TOP/build/static/sekoia-ebpf' | grep INTERP"
	refute_output sh -c "readelf -dW '$TOP/build/static/sekoia-ebpf' | grep NEEDED"
}

@test "hardening: stack protector and checked functions of the C library" {
	is_sanitized "$SEKOIA" && skip "a build with the sanitizers"
	readelf -sW "$SEKOIA" | grep -q ' __stack_chk_fail'
	readelf -sW "$SEKOIA" | grep -Eq ' __(memcpy|snprintf|vsnprintf|fprintf|printf)_chk'
	# What the static one is made of, which has no names left.
	readelf -sW "$O"/obj/user/collector.o | grep -q ' __stack_chk_fail'
}

# The binary has the mark only if the C library's own start-up code has it;
# that is the distribution's. Ours has it in every object.
@test "hardening: control-flow protection (CET) in each of our objects" {
	[ "$(uname -m)" = x86_64 ] || skip "x86-64 has it"
	local object objects=0

	for object in "$O"/obj/user/*.o "$O"/obj/user/util/*.o "$O"/obj/output/*.o "$O"/obj/config/*.o; do
		readelf -nW "$object" 2>/dev/null | grep -q 'x86 feature: IBT, SHSTK' || {
			echo "$object has not"
			return 1
		}
		objects=$((objects + 1))
	done
	[ "$objects" -gt 50 ]
}

@test "hardening: what systemd misses in the unit has its reason in the documentation" {
	LC_ALL=C.UTF-8 systemd-analyze security --offline=true --no-pager "$TOP"/deploy/systemd/sekoia-ebpf.service >"$BATS_TEST_TMPDIR/rating"
	sed -n 's/^✗ \([^ ]*\) .*/\1/p' "$BATS_TEST_TMPDIR/rating" >"$BATS_TEST_TMPDIR/missed"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/missed")" -gt 10 ]
	sed 's,\\|,|,g' "$TOP"/docs/SECURITY.md >"$BATS_TEST_TMPDIR/documentation"
	while read -r name; do
		grep -qF "| \`$name\` |" "$BATS_TEST_TMPDIR/documentation" || {
			echo "not in docs/SECURITY.md: $name"
			return 1
		}
	done <"$BATS_TEST_TMPDIR/missed"
	# And not more than it says.
	rating=$(sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p' "$BATS_TEST_TMPDIR/rating")
	grep -q "^$rating, where 0 is" "$TOP/docs/SECURITY.md"
}
