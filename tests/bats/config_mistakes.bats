# SPDX-License-Identifier: Apache-2.0
# A configuration with mistakes: all of them at once, each with its place, what
# was given and what is allowed; nothing is started. Needs no privilege.

load ../lib/common

setup() {
	common_setup
}

teardown() {
	common_teardown
	# No mistake is so bad that something is captured.
	[ ! -e "$BPF_DIR" ]
}

# refused ARG...: ends with status 2, and what it said is in $T/out.
refused() {
	local status=0

	"$SEKOIA" --spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR" "$@" >"$T/stdout" 2>"$T/out" || status=$?
	cat "$T/out"
	[ "$status" -eq 2 ]
	[ ! -s "$T/stdout" ]
	[ ! -e "$T/spool" ]
}

# The lines of the answer, but for the last one, which counts them.
assert_said() {
	cat >"$T/want"
	echo "sekoia-ebpf: $(wc -l <"$T/want") $([ "$(wc -l <"$T/want")" -eq 1 ] && echo mistake || echo mistakes); try --help" >>"$T/want"
	diff -u "$T/want" "$T/out"
}

@test "file, environment and flags: all mistakes at once" {
	cat >"$T/conf" <<-END
		[output]
		typ = relp
		type = carrier-pigeon
		port = 70000
		retry_max = 1ms
		[spol]
		dir = /x
		[spool]
		max_bytes = 10k
		sync = sometimes
		max_bytes = 5M
		nonsense
		[flows]
		enable = maybe
		max = 12
	END
	chmod 600 "$T/conf"
	SEKOIA_OUTPUT_TIMEOUT=0 SEKOIA_LOG_LEVEL=loud SEKOIA_INTAKE_KYE=$TEST_KEY \
		refused --config "$T/conf" --region mars --nope --output-prot 5 -k short frobnicate
	sort -o "$T/out" "$T/out"
	sort >"$T/want" <<-END
		SEKOIA_INTAKE_KYE: there is no such variable; did you mean SEKOIA_INTAKE_KEY?
		--nope: there is no such option; --help lists them
		--output-prot: there is no such option; did you mean --output-port?
		$T/conf:2: [output] has no typ; did you mean type?
		$T/conf:3: output.type: "carrier-pigeon" is not an output; allowed: https, relp, syslog, ipfix, netflow9, stdout, file, or several of them with commas
		$T/conf:4: output.port: "70000" is too large; allowed: 0 to 65535
		$T/conf:5: output.retry_max: "1ms" is too small; allowed: 100ms to 1h
		$T/conf:6: there is no section [spol]; did you mean [spool]?
		$T/conf:9: spool.max_bytes: "10k" is too small; allowed: 1M to 16T
		$T/conf:10: spool.sync: "sometimes" is not known; allowed: none, interval, batch
		$T/conf:11: spool.max_bytes is given twice; first in line 9
		$T/conf:12: neither a [section] nor name = value
		$T/conf:14: flows.enable: "maybe" is neither yes nor no; allowed: yes, no, true, false, on, off, 1, 0
		$T/conf:15: flows.max: "12" is too small; allowed: 1024 to 4194304
		SEKOIA_LOG_LEVEL: "loud" is not known; allowed: error, warning, info, debug
		SEKOIA_OUTPUT_TIMEOUT: "0" is too small; allowed: 1s to 1h
		--region: "mars" is not known; allowed: fra1, fra2, mco1, uae1, usa1, sgp1
		-k: the value is not an intake key; allowed: 16 to 128 letters and digits
		"frobnicate" is not a command; allowed: run, 
		sekoia-ebpf: 19 mistakes; try --help
	END
	# A newer version may know more commands.
	sed -i 's/\(is not a command; allowed: run, \).*/\1/' "$T/out"
	diff -u "$T/want" "$T/out"
}

@test "a secret that was mistyped is not repeated" {
	printf '[intake]\nkey = not+a+key+%s\n' "$TEST_KEY" >"$T/conf"
	chmod 600 "$T/conf"
	refused --config "$T/conf" --output-proxy "ftp://user:$TEST_KEY@proxy:1"
	! grep -q "$TEST_KEY" "$T/out" || false
	refused --config /dev/null "-x$TEST_KEY"
	! grep -q "$TEST_KEY" "$T/out" || false
	SEKOIA_INTAKE_KEY=+$TEST_KEY refused --config /dev/null
	! grep -q "$TEST_KEY" "$T/out" || false
	[ "$(grep -c 'SEKOIA_INTAKE_KEY: the value is not an intake key' "$T/out")" -eq 1 ]
}

@test "no key: said, with every way to give one" {
	refused --config /dev/null
	assert_said <<-END
		the intake key is missing; give it with --intake-key KEY, SEKOIA_INTAKE_KEY, --intake-key-file FILE, the systemd credential intake-key, or key in [intake] of /etc/sekoia-ebpf/sekoia-ebpf.conf
	END
	refused --config /dev/null --output relp,file --output-file "$T/file"
	[ "$(grep -c 'the intake key is missing' "$T/out")" -eq 1 ]
}

@test "a key file that is missing, open to all, empty, or no key" {
	refused --config /dev/null --intake-key-file "$T/none"
	assert_said <<-END
		intake.key_file: $T/none: No such file or directory
	END
	chmod 644 "$T/key"
	refused --config /dev/null --intake-key-file "$T/key"
	assert_said <<-END
		$T/key: the intake key in it is open to every user (mode 0644); to mend it: chmod 600 $T/key
	END
	chmod 600 "$T/key"
	: >"$T/key"
	refused --config /dev/null --intake-key-file "$T/key"
	assert_said <<-END
		intake.key_file: $T/key: what it holds is not an intake key; allowed: 16 to 128 letters and digits
	END
	printf '[intake]\nkey = %s\n' "$TEST_KEY" >"$T/conf"
	chmod 644 "$T/conf"
	refused --config "$T/conf"
	[ "$(grep -c "$T/conf: the intake key in it is open to every user (mode 0644); to mend it: chmod 600 $T/conf" "$T/out")" -eq 1 ]
}

@test "a file that is not there is a mistake when it was named" {
	refused --config "$T/none" --intake-key-file "$T/key"
	assert_said <<-END
		$T/none: can not be opened: No such file or directory
	END
	SEKOIA_CONFIG=$T/none refused --intake-key-file "$T/key"
	[ "$(head -n 1 "$T/out")" = "$T/none: can not be opened: No such file or directory" ]
}

@test "values that do not go together" {
	refused --config /dev/null --output file --tls-cert /x
	assert_said <<-END
		output.type: the file output needs output.file (--output-file FILE)
		tls.cert: needs its private key in tls.key (--tls-key FILE)
	END
}

@test "a command that is none, or a word too many" {
	refused --config /dev/null --intake-key-file "$T/key" frobnicate
	grep -q '^"frobnicate" is not a command; allowed: run, .*cleanup' "$T/out"
	refused --config /dev/null --intake-key-file "$T/key" run extra
	grep -q '^"extra": run takes no arguments$' "$T/out"
	refused --config /dev/null --intake-key-file "$T/key" --output
	grep -q '^--output: needs a value: --output TYPE$' "$T/out"
}

@test "not a text file" {
	head -c 4096 /dev/urandom >"$T/conf"
	refused --config "$T/conf" --intake-key-file "$T/key"
	[ "$(wc -l <"$T/out")" -le 50 ]
	[ "$(LC_ALL=C tr -d '\n\040-\176' <"$T/out" | wc -c)" -eq 0 ]
}

@test "the sample file loads, as it is and with every line switched on that has a default" {
	local sample=$TOP/config/sekoia-ebpf.conf
	[ "$(grep -vc '^#\|^$\|^\[' "$sample")" -eq 0 ]
	"$SEKOIA" --config "$sample" --collector-bpf-dir "$BPF_DIR" cleanup
	sed '/ = [A-Z:]*$/!s/^#\([a-z_]* = \)/\1/' "$sample" >"$T/conf"
	[ "$(grep -c '^[a-z_]* = ' "$T/conf")" -ge 25 ]
	"$SEKOIA" --config "$T/conf" --collector-bpf-dir "$BPF_DIR" cleanup
	# What has no default is shown as a word in capitals, which is no valid value everywhere.
	sed 's/^#\([a-z_]* = \)/\1/' "$sample" >"$T/conf"
	chmod 600 "$T/conf"
	refused --config "$T/conf"
	grep -q "^$T/conf:[0-9]*: intake.key: the value is not an intake key" "$T/out"
}

@test "--help fits 80 columns, and names every option of the sample file" {
	local section="" line flag
	"$SEKOIA" --help >"$T/help"
	[ "$(awk 'length > 80' "$T/help" | wc -l)" -eq 0 ]
	"$SEKOIA" -h | cmp - "$T/help"
	while read -r line; do
		case $line in
		\[*) section=${line#[}; section=${section%]}; continue ;;
		esac
		flag=--$section-${line%% =*}
		flag=${flag//_/-}
		case $flag in
		--intake-region) flag=--region ;;
		--output-type) flag=--output ;;
		--collector-btf) flag=--btf ;;
		--collector-hostname) flag=--hostname ;;
		esac
		grep -Eq -- "^ +(-[a-z], )?$flag( |\$)" "$T/help" || { echo "missing: $flag"; false; }
	done < <(sed -n 's/^#\([a-z_]* = .*\)/\1/p; /^\[/p' "$TOP/config/sekoia-ebpf.conf")
	grep -q '^  run ' "$T/help"
	grep -q '^  cleanup ' "$T/help"
	# Help is wanted above all when something is wrong.
	"$SEKOIA" --nonsense --help | cmp - "$T/help"
	if "$SEKOIA" --help >/dev/full; then false; fi
}

@test "--version" {
	[ "$("$SEKOIA" --version)" = "sekoia-ebpf $(sed -n 's/^VERSION := //p' "$TOP/Makefile")" ]
	[ "$("$SEKOIA" -V)" = "$("$SEKOIA" --version)" ]
}

@test "a flag counts before the environment, and that before the file" {
	local status=0
	printf '[output]\nport = 99999\n' >"$T/conf"
	# The file's mistake is told even when it does not count in the end.
	refused --config "$T/conf" --output-port 5 --intake-key-file "$T/key"
	printf '[log]\nlevel = error\n[spool]\ndir = /proc/from-file\n' >"$T/conf"
	SEKOIA_SPOOL_DIR=/proc/from-environment "$SEKOIA" --config "$T/conf" --output stdout 2>"$T/out" || status=$?
	[ "$status" -eq 1 ]
	[ "$(id -u)" -ne 0 ] || grep -q 'spool /proc/from-environment: ' "$T/out"
	SEKOIA_SPOOL_DIR=/proc/from-environment "$SEKOIA" --config "$T/conf" --output stdout \
		--spool-dir /proc/from-flag 2>"$T/out" || status=$?
	[ "$status" -eq 1 ]
	[ "$(id -u)" -ne 0 ] || grep -q 'spool /proc/from-flag: ' "$T/out"
	"$SEKOIA" --config "$T/conf" --output stdout 2>"$T/out" || status=$?
	[ "$(id -u)" -ne 0 ] || grep -q 'spool /proc/from-file: ' "$T/out"
}
