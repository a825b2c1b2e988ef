#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Which room may include which. Data flows down the list in the style guide, and
# so do includes; each of them names its room.

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	shopt -s nullglob
	ours=(user/*.[ch] user/util/*.[ch] output/*.[ch] config/*.[ch])
}

# "file header" for each include of ours in these files.
edges() {
	[ $# -gt 0 ]
	grep -HE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$@" |
		sed -nE 's/^([^:]*):.*"([^"]*)".*/\1 \2/p'
}

# Of the edges on standard input, all match the pattern "file header".
all_are() {
	local wrong
	wrong=$(grep -vE "^($1)$") || true
	if [ -n "$wrong" ]; then
		echo "these includes cross a wall:"
		echo "$wrong"
		return 1
	fi
}

@test "rooms: user/util includes nothing but itself" {
	edges user/util/*.[ch] | all_are '.* user/util/.*'
}

@test "rooms: config includes itself and user/util" {
	edges config/*.[ch] | all_are '.* (config|user/util)/.*'
}

@test "rooms: output includes itself, config and user/util; it has never heard of a flow" {
	edges output/*.[ch] | all_are '.* (output|config|user/util)/.*'
}

@test "rooms: bpf includes itself and vmlinux" {
	edges bpf/*.[ch] | all_are '.* (bpf/.*|vmlinux/.*|vmlinux\.h)'
}

@test "rooms: user knows of output what a message and the spool are" {
	edges user/*.[ch] | grep ' output/' |
		all_are '.* output/(msg|spool)\.h|user/command_(spool|tail)\.c output/spool_view\.h|user/(main|collector)\.c output/shipper\.h|user/check_network\.c output/diagnose\.h'
}

@test "rooms: the wire structs are seen by event.c, ring.c and the kernel side alone" {
	edges "${ours[@]}" | grep ' bpf/events\.h$' | all_are 'user/((event|ring|probe|capture|kernel_tables|kernel_meters|handover)\.c|flow_rules\.h) .*'
}

@test "rooms: the skeletons are seen by probe.c alone" {
	edges "${ours[@]}" | grep '\.skel\.h$' | all_are 'user/probe\.c .*'
}

@test "rooms: every include names its room" {
	edges "${ours[@]}" tests/unit/*.c | all_are '.* (bpf|user|output|config|tests)/.*'
}

# TLS is the shipper's alone. The collector has AES of it, for the packets that QUIC's clients
# begin with, whose keys are public: no protocol, no certificate, no socket.
@test "rooms: OpenSSL stops at tls.c, and at the ciphers of quic_initial.c" {
	grep -HE '#include <openssl/' "${ours[@]}" | sed -E 's/^([^:]*):.*<(.*)>.*/\1 \2/' |
		all_are 'output/tls\.c .*|user/quic_initial\.c openssl/evp\.h'
}
