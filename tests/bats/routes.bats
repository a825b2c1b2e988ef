# SPDX-License-Identifier: Apache-2.0
# intake.routes: each event with the key of its own intake, and no key where it
# does not belong.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/journal

SSH_KEY=SSHSSHSSHSSHSSHSSHSSHSSHSSHSSHSS
LOG_KEY=KERNKERNKERNKERNKERNKERNKERNKERN

setup() {
	need_root
	need_journald
	common_setup
	journal_alone
	(umask 077 && echo "$SSH_KEY" >"$T/ssh.key" && echo "$LOG_KEY" >"$T/kernel.key")
	DAEMON_ARGS=(--flows-enable no --intake-routes "sshd*:$T/ssh.key,kernel:$T/kernel.key")
}

teardown() {
	common_teardown
}

say() {
	in_room logger -t sshd 'Accepted publickey for root'
	in_room logger -t sshd-session -p auth.err 'another one'
	in_room logger -t sudo 'not routed'
	echo "routes $$: from the kernel" >/dev/kmsg
	wait_until 'in_room journalctl -q -o cat | grep -qx "not routed"'
}

run_with() {
	journald_start
	peer_start "$1" --key "$SSH_KEY" --key "$LOG_KEY" --write-full "$T/full"
	daemon_start "$@"
	say
	wait_until 'grep -q "routes '"$$"': from the kernel" "$T/received"'
	wait_until 'grep -q "not routed" "$T/received"'
	# Wherever one might look for them.
	run ! grep -rqaE "$SSH_KEY|$LOG_KEY|$TEST_KEY" "$T/spool" "$T/daemon.log" /proc/"$DAEMON_PID"/cmdline \
		/proc/"$DAEMON_PID"/environ /proc/"$(shipper_pid)"/cmdline /proc/"$(shipper_pid)"/environ
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(jq .bad_key "$T/summary")" -eq 0 ]
}

@test "over syslog: each line has its intake's key" {
	run_with syslog
	grep -a 'Accepted publickey for root' "$T/full" | grep -qa "intake_key=\"$SSH_KEY\""
	grep -a 'another one' "$T/full" | grep -qa "intake_key=\"$SSH_KEY\""
	grep -a 'not routed' "$T/full" | grep -qa "intake_key=\"$TEST_KEY\""
	grep -a "routes $$: from the kernel" "$T/full" | grep -qa "intake_key=\"$LOG_KEY\""
}

@test "over https: routed lines are raw text, in the same requests" {
	run_with https
	grep -qax 'Accepted publickey for root' "$T/received"
	[ "$(jq -R 'fromjson? | select(.event?.reason == "not routed") | 1' "$T/received")" = 1 ]
}

@test "a route whose key the intake refuses: everything waits, and the log says where to look" {
	journald_start
	peer_start https
	daemon_start https
	in_room logger -t sshd 'Accepted publickey for root'
	wait_until 'grep -q "intake key refused (422): check intake.key and intake.routes" "$T/daemon.log"'
	# The right key is in the file: it is read again.
	cp "$T/key" "$T/ssh.key"
	cp "$T/key" "$T/kernel.key"
	kill -HUP "$DAEMON_PID"
	wait_until 'grep -qax "Accepted publickey for root" "$T/received"'
	daemon_stop
	peer_stop
	assert_all_delivered
}

@test "a key file that is open to all is refused" {
	certs
	chmod 644 "$T/ssh.key"
	daemon_refuses 2 https
	grep -q "ssh.key.*is open to every user" "$T/daemon.log"
	run ! grep -q "$SSH_KEY" "$T/daemon.log"
}
