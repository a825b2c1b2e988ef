# shellcheck shell=bash disable=SC2016,SC2034
# SPDX-License-Identifier: Apache-2.0
# A journald or an rsyslogd of the test's own: in a mount namespace with its own
# /dev, /run/systemd and /run/log, so that it meets neither the host's nor
# another test's. Load it after common.
#
# What stands in single quotes is for another shell, or for wait_until.
# shellcheck disable=SC2016

# The tap and the kernel's log are of the whole host: two of these tests at once
# would find each other's lines among their own. What is started keeps the lock, too.
journal_alone() {
	exec 8>/tmp/sekoia-test.journal.lock
	flock -w 180 8
}

# journal_room: the namespace; $ROOM_PID lives in it. in_room runs what logs.
journal_room() {
	mkdir -p "$T/room/dev"
	cat >"$T/room/journald.conf" <<-END
		[Journal]
		Storage=volatile
		ReadKMsg=no
		Audit=${JOURNAL_AUDIT-no}
		ForwardToSyslog=${JOURNAL_FORWARD:-no}
		ForwardToWall=no
		RateLimitIntervalSec=${JOURNAL_RATE_INTERVAL:-0}
		RateLimitBurst=${JOURNAL_RATE_BURST:-0}
		RuntimeMaxUse=64M
	END
	unshare -m --propagation private sh -c '
		set -e
		mount -t tmpfs -o mode=755 tmpfs "$1/room/dev"
		for f in null zero full random urandom tty kmsg; do
			[ -e /dev/$f ] || continue
			: >"$1/room/dev/$f"
			mount --bind /dev/$f "$1/room/dev/$f"
		done
		mkdir "$1/room/dev/shm"
		ln -s /proc/self/fd "$1/room/dev/fd"
		mount --rbind "$1/room/dev" /dev
		mount -t tmpfs -o mode=755 tmpfs /run/systemd
		mkdir -p /run/systemd/journal
		mkdir -p /run/log
		mount -t tmpfs -o mode=755 tmpfs /run/log
		[ -e /etc/systemd/journald.conf ] && mount --bind "$1/room/journald.conf" /etc/systemd/journald.conf
		: >"$1/room/ready"
		exec sleep infinity
	' sh "$T" >>"$T/room/log" 2>&1 3>&- &
	ROOM_PID=$!
	KEEP_PIDS+=("$ROOM_PID")
	wait_until '[ -e "$T/room/ready" ]' 10 || { cat "$T/room/log"; return 1; }
}

in_room() {
	nsenter -m -t "$ROOM_PID" -- "$@"
}

# The same in the background; STARTED is its pid, as the kernel will tell it.
start_in_room() {
	nsenter -m -t "$ROOM_PID" -- "$@" <&0 3>&- &
	STARTED=$!
	KEEP_PIDS+=("$STARTED")
}

# A daemon in the room; its pid is LOGD_PID.
logd_start() {
	nsenter -m -t "$ROOM_PID" -- "$@" >>"$T/logd.log" 2>&1 3>&- &
	LOGD_PID=$!
	KEEP_PIDS+=("$LOGD_PID")
}

logd_stop() {
	kill "-${1:-TERM}" "$LOGD_PID"
	wait "$LOGD_PID" 2>/dev/null || true
}

journald_start() {
	[ -n "${ROOM_PID:-}" ] || journal_room
	in_room ln -sfn /run/systemd/journal/dev-log /dev/log
	in_room rm -f /run/systemd/journal/socket /run/systemd/journal/stdout /run/systemd/journal/dev-log
	logd_start /lib/systemd/systemd-journald
	wait_until 'in_room [ -S /run/systemd/journal/stdout ]' 10
}

# journal_lines: what arrived over https, in the order in which it was captured,
# each event once: "name pid severity text".
journal_lines() {
	jq -r 'select(.log.logger == "journal") |
		"\(.event.id | split("-")[1]) \(.log.syslog.appname) \(.log.syslog.procid) \(.log.syslog.severity.code) \(.event.reason)"' \
		"$T/received" | sort -n -s -u -k1,1 | cut -d ' ' -f 2-
}

# stream TAG: test lines through systemd-cat until stream_end.
stream() {
	start_in_room systemd-cat -t "$1" "$PEERS/journal_sender" pieces "$1" "$T/$1.count"
	wait_until 'grep -qa "^'"$1"' " /proc/'"$STARTED"'/comm || grep -qa pieces /proc/'"$STARTED"'/cmdline' 5
}

# stream_end PID TAG: what it wrote is what arrived.
stream_end() {
	kill "$1"
	wait_until '[ -s "$T/'"$2"'.count" ]' 10
}

stream_check() {
	"$PEERS/journal_sender" lines "$1" 1 "$(cat "$T/$1.count")" >"$T/want"
	grep -a "^$1 " "$T/flat" | cut -d ' ' -f 4- >"$T/got"
	cmp "$T/want" "$T/got" || { diff -a "$T/want" "$T/got" | head -n 6; return 1; }
	echo "$1: $(wc -l <"$T/got") lines"
}

# What needs a real journald to be there at all.
need_journald() {
	[ -x /lib/systemd/systemd-journald ] || skip "needs systemd-journald"
	command -v systemd-cat >/dev/null || skip "needs systemd-cat"
}

need_rsyslogd() {
	command -v rsyslogd >/dev/null || skip "needs rsyslogd"
	[ -z "${1:-}" ] || [ -e "$(rsyslog_modules)/$1.so" ] || skip "needs rsyslog's $1"
}

rsyslog_modules() {
	local d

	for d in /usr/lib/*/rsyslog /usr/lib64/rsyslog /usr/lib/rsyslog; do
		[ -d "$d" ] && echo "$d" && return
	done
}

# Debian's syslog-ng, unpacked beside what is built: installed it would take rsyslog's place.
# SYSLOG_NG is the command.
need_syslog_ng() {
	local root=$O/syslog-ng lib

	if command -v syslog-ng >/dev/null; then
		SYSLOG_NG=(syslog-ng)
		return
	fi
	"$TOP/tests/lib/syslog_ng.sh" "$root" || skip "needs syslog-ng, installed or to download"
	lib=$(echo "$root"/usr/lib/*-linux-gnu)
	SYSLOG_NG=(env "LD_LIBRARY_PATH=$root/usr/lib/syslog-ng:$lib" "$root/usr/sbin/syslog-ng"
		"--module-path=$root/usr/lib/syslog-ng/3.38")
}
