# SPDX-License-Identifier: Apache-2.0
# Mistakes in the file, the environment and the flags: all of them at once, each
# with its place and what is allowed; nothing is started, and the status is 2.

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/faults

setup() {
	common_setup
	EMPTY=(--config /dev/null --spool-dir "$T/spool" --collector-bpf-dir "$T/bpf")
	KEYED=("${EMPTY[@]}" --intake-key-file "$T/key")
}

teardown() {
	common_teardown
}

# mistakes N LINE...: the last run told exactly N, among them each LINE, as a whole line.
mistakes() {
	local n=$1 line

	shift
	printf '%s\n' "$output"
	[ "$status" -eq 2 ]
	[ "${lines[-1]}" = "sekoia-ebpf: $n mistake$([ "$n" = 1 ] || echo s); try --help" ]
	[ "${#lines[@]}" -eq $((n + 1)) ]
	for line; do
		grep -qxF -- "$line" <<<"$output"
	done
	# Nothing was begun.
	[ ! -e "$T/spool" ]
	[ ! -e "$T/bpf" ]
}

@test "config: everything that is wrong in a file, with its lines" {
	cat >"$T/conf" <<-'END'
		[intake]
		kye = abc
		region = fra9

		[output]
		type = https, relpp
		port = 70000
		gzip = maybe
		host = https://intake.example/
		proxy = socks5://127.0.0.1:1080
		connect_timeout = 0s
		[spool]
		max_bytes = 10k
		nonsense
		sync = sometimes
		[flows]
		active_timeout = 60 parsecs
		[nowhere]
		x = 1
	END
	run -2 "$SEKOIA" --config "$T/conf" --intake-key-file "$T/key"
	mistakes 13 \
		"$T/conf:2: [intake] has no kye; did you mean key?" \
		"$T/conf:3: intake.region: \"fra9\" is not known; allowed: fra1, fra2, mco1, uae1, usa1, sgp1" \
		"$T/conf:7: output.port: \"70000\" is too large; allowed: 0 to 65535" \
		"$T/conf:8: output.gzip: \"maybe\" is neither yes nor no; allowed: yes, no, true, false, on, off, 1, 0" \
		"$T/conf:13: spool.max_bytes: \"10k\" is too small; allowed: 1M to 16T" \
		"$T/conf:14: neither a [section] nor name = value" \
		"$T/conf:15: spool.sync: \"sometimes\" is not known; allowed: none, interval, batch" \
		"$T/conf:18: there is no section [nowhere]"
	grep -q "^$T/conf:6: output.type: \"https, relpp\" is not an output; allowed: https, relp" <<<"$output"
	grep -q "^$T/conf:9: output.host: .*is not a host; allowed: a name or an address" <<<"$output"
	grep -q "^$T/conf:10: output.proxy: .*SOCKS.*not supported; allowed: http://" <<<"$output"
	grep -q "^$T/conf:17: flows.active_timeout: \"60 parsecs\" is not a time .*allowed: 1s to 24h" <<<"$output"
	grep -q "^$T/conf:11: output.connect_timeout: \"0s\" is too small; allowed: 1s to 1h" <<<"$output"
}

@test "config: the environment" {
	SEKOIA_OUTPUT_PORT=abc SEKOIA_SPOOL_DIRR=/x SEKOIA_FLOWS_ENABLE=perhaps run -2 "$SEKOIA" "${KEYED[@]}"
	mistakes 3 \
		'SEKOIA_OUTPUT_PORT: "abc" is not a number; allowed: 0 to 65535' \
		'SEKOIA_SPOOL_DIRR: there is no such variable; did you mean SEKOIA_SPOOL_DIR?' \
		'SEKOIA_FLOWS_ENABLE: "perhaps" is neither yes nor no; allowed: yes, no, true, false, on, off, 1, 0'
}

@test "config: the flags" {
	run -2 "$SEKOIA" "${KEYED[@]}" --region mars --flows-max=1 --flow-max 5 -Z --journal-schema
	mistakes 5 \
		'--region: "mars" is not known; allowed: fra1, fra2, mco1, uae1, usa1, sgp1' \
		'--flows-max: "1" is too small; allowed: 1024 to 4194304' \
		'--flow-max: there is no such option; did you mean --flows-max?' \
		'-Z: there is no such option; --help lists them' \
		'--journal-schema: needs a value: --journal-schema WHICH'
}

@test "config: mistakes of all three together" {
	printf '[output]\nport = x\n' >"$T/conf"
	SEKOIA_SPOOL_SYNC=never run -2 "$SEKOIA" --config "$T/conf" --flows-enable 7
	mistakes 4 "$T/conf:2: output.port: \"x\" is not a number; allowed: 0 to 65535" \
		'SEKOIA_SPOOL_SYNC: "never" is not known; allowed: none, interval, batch' \
		'--flows-enable: "7" is neither yes nor no; allowed: yes, no, true, false, on, off, 1, 0'
	grep -q '^the intake key is missing; give it with --intake-key KEY' <<<"$output"
}

@test "config: what must hold between options" {
	run -2 "$SEKOIA" "${KEYED[@]}" --output file --tls-cert "$T/cert.pem"
	mistakes 2 \
		'output.type: the file output needs output.file (--output-file FILE)' \
		'tls.cert: needs its private key in tls.key (--tls-key FILE)'
}

@test "config: a file that is not there, or a folder" {
	run -2 "$SEKOIA" --config "$T/none" --intake-key-file "$T/key"
	mistakes 1 "$T/none: can not be opened: No such file or directory"
	run -2 "$SEKOIA" --config "$T" --intake-key-file "$T/key"
	printf '%s\n' "$output"
	grep -q "^$T: .*[Ii]s a directory" <<<"$output"
}

@test "config: a key file that is not there, or holds no key" {
	run -2 "$SEKOIA" "${EMPTY[@]}" --intake-key-file "$T/none"
	mistakes 1 "intake.key_file: $T/none: No such file or directory"
	printf 'two words\n' >"$T/key"
	run -2 "$SEKOIA" "${KEYED[@]}"
	mistakes 1 "intake.key_file: $T/key: what it holds is not an intake key; allowed: 16 to 128 letters and digits"
	: >"$T/key"
	run -2 "$SEKOIA" "${KEYED[@]}"
	mistakes 1 "intake.key_file: $T/key: what it holds is not an intake key; allowed: 16 to 128 letters and digits"
}

@test "config: an unknown command" {
	run -2 "$SEKOIA" "${KEYED[@]}" frobnicate
	printf '%s\n' "$output"
	grep -q '^"frobnicate" is not a command; allowed: run, ' <<<"$output"
	run -2 "$SEKOIA" "${KEYED[@]}" run along
	grep -q '^"along" is not a command' <<<"$output"
}

@test "config: the sample file loads, as it is and with all of its defaults" {
	cp "$TOP/config/sekoia-ebpf.conf" "$T/sample"
	chmod 600 "$T/sample"
	run -0 "$SEKOIA" --config "$T/sample" --collector-bpf-dir "$T/bpf" cleanup
	# What stands there in capitals is for people to fill in.
	sed -n '/^\[/p; s/^#\([a-z_]* = .*\)/\1/p' "$T/sample" | grep -vE '= [A-Z]+$' >"$T/all"
	[ "$(grep -c ' = ' "$T/all")" -ge 20 ]
	run -0 "$SEKOIA" --config "$T/all" --collector-bpf-dir "$T/bpf" cleanup
	[ "${#lines[@]}" -eq 1 ]
	# It has each option that --help has, but for --config, --help and --version.
	[ "$(grep -cE '^#[a-z_]+ =' "$T/sample")" -eq \
		$(($("$SEKOIA" --help | grep -cE '^  (-[a-zA-Z],|   ) --[a-z]') - 3)) ]
}

@test "config: --help fits a terminal, and wins over mistakes" {
	run -0 "$SEKOIA" --no-such-option --help
	[ "${lines[0]}" = "Usage: sekoia-ebpf [OPTION]..." ] || [[ "${lines[0]}" = "Usage: sekoia-ebpf "* ]]
	for line in "${lines[@]}"; do
		[ "${#line}" -le 80 ]
	done
	run -0 "$SEKOIA" -h
	run -0 "$SEKOIA" --version
	[[ "$output" =~ ^sekoia-ebpf\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
	run -0 "$SEKOIA" -V
}
