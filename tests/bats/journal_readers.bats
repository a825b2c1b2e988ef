# SPDX-License-Identifier: Apache-2.0
# Whoever reads the log sockets, and however many of them: each line arrives, and
# it arrives once.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/journal

setup() {
	need_root
	need_journald
	common_setup
	journal_alone
	DAEMON_ARGS=(--flows-enable no --kernel-log no)
}

teardown() {
	common_teardown
}

# texts: what arrived of ours, each line with the number of its events.
texts() {
	journal_lines | cut -d ' ' -f 4- | grep -a "^$T" | sort | uniq -c | sed 's/^ *//; s| '"$T"' | |'
}

# rsyslogd_on SOCKET FILE
rsyslogd_on() {
	cat >"$2.conf" <<-END
		global(workDirectory="$T/room")
		module(load="imuxsock" SysSock.Use="off")
		input(type="imuxsock" Socket="$1" CreatePath="on" RateLimit.Interval="0" UseSpecialParser="on")
		action(type="omfile" file="$2")
	END
	logd_start rsyslogd -n -i NONE -f "$2.conf"
	wait_until 'in_room [ -S "'"$1"'" ]' 10
}

@test "journald that passes everything on to rsyslogd: once" {
	need_rsyslogd imuxsock
	JOURNAL_FORWARD=yes
	journal_room
	rsyslogd_on /run/systemd/journal/syslog "$T/room/out"
	journald_start
	peer_start https
	daemon_start https
	in_room logger "$T by syslog"
	printf 'MESSAGE=%s by the native protocol\n' "$T" | in_room "$PEERS/journal_sender" datagram /run/systemd/journal/socket
	in_room systemd-cat echo "$T by stdout"
	wait_until '[ "$(in_room grep -c "$T by" "$T/room/out")" -eq 3 ]'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(texts)" = $'1 by stdout\n1 by syslog\n1 by the native protocol' ]
	# What rsyslogd read was ours before.
	[ "$(books source.journal filtered)" -ge 3 ]
}

@test "journald, and rsyslogd on a socket of its own: both" {
	need_rsyslogd imuxsock
	journald_start
	mkdir "$T/room/own"
	rsyslogd_on "$T/room/own/log" "$T/room/out"
	peer_start https
	daemon_start https
	in_room logger "$T to journald"
	in_room logger -u "$T/room/own/log" "$T to rsyslogd"
	wait_until 'in_room grep -q "$T to rsyslogd" "$T/room/out"'
	wait_until 'in_room journalctl -q -o cat | grep -q "$T to journald"'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(texts)" = $'1 to journald\n1 to rsyslogd' ]
}

# namespace NAME: what is said to a journald of this namespace, and passed on by it.
namespace() {
	local dir=/run/systemd/journal.$1

	in_room touch "$T/room/out"
	rsyslogd_on "$dir/syslog" "$T/room/out"
	logd_start /lib/systemd/systemd-journald "$1"
	wait_until 'in_room [ -S "'"$dir/stdout"'" ]' 10
	peer_start https
	daemon_start https
	in_room logger -u "$dir/dev-log" -t spoken "$T by syslog"
	printf 'MESSAGE=%s by the native protocol\nPRIORITY=3\n' "$T" | in_room "$PEERS/journal_sender" datagram "$dir/socket"
	printf 'streamed\n\n30\n0\n0\n0\n0\n%s by stdout\n' "$T" | in_room "$PEERS/journal_sender" stream "$dir/stdout"
	wait_until '[ "$(in_room grep -c "$T by" "$T/room/out")" -eq 3 ]'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(texts)" = $'1 by stdout\n1 by syslog\n1 by the native protocol' ]
	[ "$(books source.journal filtered)" -ge 3 ]
	journal_lines | grep -qa "^spoken .* $T by syslog"
	journal_lines | grep -qa "^streamed .* $T by stdout"
	journal_lines | grep -qa "^journal_sender [0-9]* 3 $T by the native protocol"
}

@test "a namespace's journald" {
	need_rsyslogd imuxsock
	JOURNAL_FORWARD=yes
	journal_room
	in_room cp "$T/room/journald.conf" /run/systemd/journald@tenant.conf
	namespace tenant
}

@test "a namespace whose name is longer than what the tap keeps of a path" {
	local name=a-tenant-with-a-name-that-nobody-would-like-to-type

	need_rsyslogd imuxsock
	JOURNAL_FORWARD=yes
	journal_room
	in_room cp "$T/room/journald.conf" "/run/systemd/journald@$name.conf"
	namespace "$name"
}

@test "syslog-ng on /dev/log, restarted in between" {
	local i

	need_syslog_ng
	journal_room
	cat >"$T/room/ng.conf" <<-END
		@version: 3.35
		options { stats_freq(0); };
		source s { unix-dgram("/dev/log"); };
		destination d { file("$T/room/out"); };
		log { source(s); destination(d); };
	END
	peer_start https
	daemon_start https
	for i in 1 2; do
		logd_start "${SYSLOG_NG[@]}" -F -f "$T/room/ng.conf" -R "$T/room/ng.persist" -c "$T/room/ng.ctl" -p "$T/room/ng.pid"
		wait_until 'in_room [ -S /dev/log ]' 10
		in_room logger -t ng -p mail.err "$T line $i"
		in_room logger --rfc5424 -t ng5 "$T new form $i"
		wait_until 'in_room grep -q "$T new form '$i'" "$T/room/out"'
		logd_stop
		in_room rm -f /dev/log
	done
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(texts)" = $'1 line 1\n1 line 2\n1 new form 1\n1 new form 2' ]
	# Its structured data, of which logger writes some by itself.
	[ "$(jq -r 'select(.log.syslog.appname == "ng5") | .log.syslog.structured_data.timeQuality.tzKnown' "$T/received" | sort -u)" = 1 ]
	[ "$(jq -r 'select(.log.syslog.appname == "ng") | .log.syslog.facility.name + .log.level' "$T/received" | sort -u)" = mailerror ]
}

@test "/dev/log that nobody reads: it is said, no line is there, and a daemon that comes is heard" {
	need_rsyslogd imuxsock
	! pgrep -x 'systemd-journal|rsyslogd|syslog-ng|syslogd' >/dev/null || skip "needs a host without a log daemon"
	journal_room
	# A socket with nobody behind it, as a daemon that died leaves it.
	in_room "$PEERS/journal_sender" unread /dev/log
	peer_start https
	daemon_start https
	grep -q 'no log daemon runs' "$T/daemon.log"
	run in_room logger -t nobody "$T to nobody"
	in_room rm /dev/log
	rsyslogd_on /dev/log "$T/room/out"
	in_room logger -t somebody "$T to somebody"
	wait_until 'grep -q "to somebody" "$T/received"'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(texts)" = '1 to somebody' ]
	# Neither do the books know of it: a line that is not read is none.
	[ "$(books kernel.journal seen)" -eq "$(books source.journal samples)" ]
	[ "$(books kernel.journal ring_full)" -eq 0 ]
}
