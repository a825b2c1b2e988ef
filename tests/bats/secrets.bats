# SPDX-License-Identifier: Apache-2.0
# The intake key and the proxy's password: taken from wherever they are given,
# used, and seen nowhere: no log line, no argument, no environment, no file.

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/faults

KEY=Z9secretKey8secretKey7secretKey6
PASSWORD=h1dden-password

setup() {
	faults_setup
	secret_file "$T/intake-key" "$KEY"
}

teardown() {
	common_teardown
}

secret_file() {
	(umask 077 && printf '%s\n' "$2" >"$1")
}

# secret_daemon TRANSPORT [ARG...]: without a key, and at its most talkative.
# Variables that are set for it reach it; the flags that daemon_start gives
# would hide where the key is from.
secret_daemon() {
	local transport=$1

	shift
	DAEMON_TRANSPORT=$transport
	"$SEKOIA" --output "$transport" --spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR" \
		--output-host localhost --output-port "$PEER_PORT" --tls-ca "$T/certs/ca.pem" \
		--flows-loopback yes --journal-enable no --events-enable no --kernel-log no --log-level debug "$@" >>"$T/stdout" 2>>"$T/daemon.log" 3>&- &
	DAEMON_PID=$!
	wait_until 'grep -q ": ready" "$T/daemon.log" || ! kill -0 $DAEMON_PID 2>/dev/null' 15
	kill -0 "$DAEMON_PID"
	wait_until '[ -n "$(shipper_pid)" ]'
}

# The intake is not told the key, so that its own arguments don't hold it: it
# writes what it gets, whole.
secret_peer() {
	certs
	rm -f "$T/ports"
	"$PEERS/intake" "--$1" 0 --ports-file "$T/ports" --cert "$T/certs/server.pem" \
		--tls-key "$T/certs/server.key" --write "$T/received" --write-full "$T/full" \
		--summary "$T/summary" >>"$T/peer.log" 2>&1 3>&- &
	PEER_PID=$!
	wait_until '[ -s "$T/ports" ]' 10
	PEER_PORT=$(sed -n "s/.*$1=\([0-9]*\).*/\1/p" "$T/ports")
}

assert_unseen() {
	assert_secrets_unseen "$KEY" "$PASSWORD"
	# What was captured does not tell, either: the key is beside an event, not in it.
	refute secret_in "$KEY" "$T/received"
	refute secret_in "$PASSWORD" "$T/received" "$T/full"
}

# The key that was given is the one that arrives, and all that it says is there.
assert_used_and_unseen() {
	emit 20
	wait_for_flows
	assert_unseen
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(grep -caF "$KEY" "$T/full")" -eq "$(wc -l <"$T/full")" ]
	assert_unseen
}

@test "secrets: --intake-key is wiped from the process list at once" {
	for transport in https relp syslog; do
		rm -rf "$T/spool" "$T/received" "$T/full" "$T/daemon.log"
		EMITTED=0
		secret_peer $transport
		secret_daemon $transport --config /dev/null --intake-key "$KEY"
		tr '\0' '\n' <"/proc/$DAEMON_PID/cmdline" | grep -qxF "$(printf '%*s' ${#KEY} '' | tr ' ' '*')"
		assert_used_and_unseen
	done
}

@test "secrets: -kKEY and --intake-key=KEY are wiped, too" {
	secret_peer https
	secret_daemon https --config /dev/null "-k$KEY"
	assert_used_and_unseen
	rm -rf "$T/spool" "$T/received" "$T/full" "$T/daemon.log"
	EMITTED=0
	secret_peer https
	secret_daemon https --config /dev/null "--intake-key=$KEY"
	assert_used_and_unseen
}

@test "secrets: --intake-key is wiped although something else is wrong" {
	run -2 "$SEKOIA" --config /dev/null --intake-key "$KEY!" --no-such-option "$PASSWORD"
	[[ "$output" = *"--intake-key: "*"is not an intake key"* ]]
	[[ "$output" != *"$KEY"* ]]
	[[ "$output" != *"$PASSWORD"* ]]
}

@test "secrets: --intake-key-file" {
	secret_peer relp
	secret_daemon relp --config /dev/null --intake-key-file "$T/intake-key"
	assert_used_and_unseen
}

@test "secrets: SEKOIA_INTAKE_KEY is taken out of the environment" {
	secret_peer relp
	SEKOIA_INTAKE_KEY=$KEY secret_daemon relp --config /dev/null
	assert_used_and_unseen
}

@test "secrets: the configuration file, and one that all may read is refused" {
	secret_peer relp
	printf '[intake]\nkey = %s\n' "$KEY" >"$T/sekoia.conf"
	chmod 644 "$T/sekoia.conf"
	run -2 "$SEKOIA" --config "$T/sekoia.conf" --spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR"
	[[ "$output" = *"$T/sekoia.conf: the intake key in it is open to every user (mode 0644); to mend it: chmod 600 $T/sekoia.conf"* ]]
	[[ "$output" != *"$KEY"* ]]
	[ ! -e "$T/spool" ]

	chmod 600 "$T/sekoia.conf"
	secret_daemon relp --config "$T/sekoia.conf"
	assert_used_and_unseen
}

@test "secrets: a key file that all may read is refused" {
	chmod 644 "$T/intake-key"
	run -2 "$SEKOIA" --config /dev/null --intake-key-file "$T/intake-key" --spool-dir "$T/spool" \
		--collector-bpf-dir "$BPF_DIR"
	[[ "$output" = *"chmod 600 $T/intake-key"* ]]
	[[ "$output" != *"$KEY"* ]]
	[ ! -e "$T/spool" ]
}

@test "secrets: the credential of systemd" {
	mkdir -m 700 "$T/credentials"
	secret_file "$T/credentials/intake-key" "$KEY"
	secret_peer relp
	CREDENTIALS_DIRECTORY=$T/credentials secret_daemon relp --config /dev/null
	assert_used_and_unseen
}

@test "secrets: no key anywhere: all ways to give it are named" {
	run -2 env -u SEKOIA_INTAKE_KEY -u CREDENTIALS_DIRECTORY "$SEKOIA" --config /dev/null \
		--spool-dir "$T/spool"
	for way in --intake-key SEKOIA_INTAKE_KEY --intake-key-file 'systemd credential' '[intake]'; do
		[[ "$output" = *"$way"* ]]
	done
}

@test "secrets: the proxy's password, from the flag, the environment and the file" {
	secret_peer https
	"$PEERS/proxy" --ports-file "$T/proxy-port" 3>&- &
	KEEP_PIDS+=("$!")
	wait_until '[ -s "$T/proxy-port" ]'
	local url

	url=http://user:$PASSWORD@127.0.0.1:$(cat "$T/proxy-port")

	secret_daemon https --config /dev/null --intake-key-file "$T/intake-key" --output-proxy "$url"
	emit 20
	wait_for_flows
	assert_unseen
	daemon_stop
	SEKOIA_OUTPUT_PROXY=$url secret_daemon https --config /dev/null \
		--intake-key-file "$T/intake-key"
	emit 20
	wait_for_flows
	assert_unseen
	daemon_stop
	https_proxy=$url secret_daemon https --config /dev/null --intake-key-file "$T/intake-key"
	emit 20
	wait_for_flows
	assert_unseen
	daemon_stop
	secret_file "$T/sekoia.conf" "$(printf '[output]\nproxy = %s\n' "$url")"
	secret_daemon https --config "$T/sekoia.conf" --intake-key-file "$T/intake-key"
	assert_used_and_unseen
	assert_flows_arrived
}

@test "secrets: a failing run does not tell them, either" {
	secret_peer https
	peer_stop KILL
	secret_daemon https --config /dev/null --intake-key "$KEY" \
		--output-proxy "http://user:$PASSWORD@127.0.0.1:$PEER_PORT"
	emit 20
	wait_until '[ "$(failures https)" -ge 2 ]'
	assert_unseen
	kill -KILL "$(shipper_pid)"
	wait_until '[ "$(log_count "killed by SIGKILL")" -eq 1 ]'
	wait_until '[ -n "$(shipper_pid)" ]'
	assert_unseen
	daemon_stop
	assert_unseen
	assert_accounts_balance
}

@test "secrets: a collector that was killed and started again with --intake-key" {
	secret_peer https
	secret_daemon https --config /dev/null --intake-key "$KEY"
	emit 20
	daemon_kill
	emit 20
	# The programs of the first one are attached, and see the second one's arguments.
	secret_daemon https --config /dev/null --intake-key "$KEY"
	kill -KILL "$(shipper_pid)"
	emit 20
	assert_used_and_unseen
	assert_flows_arrived 200
}

@test "secrets: no core file, and nobody else may look into the memory" {
	secret_peer https
	cd "$T"
	ulimit -c unlimited
	secret_daemon https --config /dev/null --intake-key "$KEY"
	for pid in $DAEMON_PID $(shipper_pid); do
		grep -Eq '^Max core file size +0 +0 ' "/proc/$pid/limits"
		# A process that is not dumpable leaves its files in /proc to root, whoever it runs as.
		[ "$(stat -c %u "/proc/$pid/mem")" = 0 ]
		refute setpriv --reuid 65534 --regid 65534 --clear-groups cat "/proc/$pid/environ"
	done
	emit 20
	kill -SEGV "$(shipper_pid)"
	wait_until '[ "$(log_count "killed by SIGSEGV")" -eq 1 ]'
	[ "$(log_count 'dumped core')" -eq 0 ]
	kill -SEGV "$DAEMON_PID"
	wait "$DAEMON_PID" || [ $? -eq $((128 + 11)) ]
	refute compgen -G "$T/core*"

	secret_daemon https --config /dev/null --intake-key-file "$T/intake-key"
	emit 20
	assert_used_and_unseen
}
