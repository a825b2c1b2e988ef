# shellcheck shell=bash disable=SC2016,SC2034,SC1091,SC2153,SC2119,SC2120
# SPDX-License-Identifier: Apache-2.0
# What the cases of the fault laboratory share: the senders, ours and rsyslog's,
# behind one set of words; a generator that knows the truth; and the count of
# what became of each event. The end-to-end tests' own library does the rest.
#
#   sender_start, sender_stop, sender_kill     of $SENDER
#   generate N RATE, generated                 in the background, until it is over
#   intake_kill, intake_start                  what it had written stays
#   drain, settle_accounts                     wait for the last, count, check the books
#
# Each case runs in a process of its own, with set -e: see lab.sh.

# What common.bash wants from bats.
bats_require_minimum_version() { :; }
skip() { row_skip "$1"; exit 0; }

# shellcheck source=tests/lib/common.bash
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.bash"
# shellcheck source=tests/lib/faults.bash
source "$TOP/tests/lib/faults.bash"
# shellcheck source=tests/lib/journal.bash
source "$TOP/tests/lib/journal.bash"

# The long forms hold it for minutes; whoever waits here has the time.
journal_alone() {
	exec 8>/tmp/sekoia-test.journal.lock
	flock -w 900 8
}

LAB=$O/lab
TAG=lab

say() {
	printf '    %(%H:%M:%S)T %s\n' -1 "$*" >&2
}

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# short|long: what a number is in each of the two forms.
of() {
	if [ "$FORM" = long ]; then echo "$2"; else echo "$1"; fi
}

# random_ms MOST: sleeps for less than that.
random_ms() {
	local ms=$((RANDOM % $1))

	sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

is_ours() {
	case $SENDER in https | relp | syslog) true ;; *) false ;; esac
}

# The intake's side of a sender.
transport() {
	case $SENDER in
	omrelp*) echo relp ;;
	omfwd*) echo syslog ;;
	*) echo "$SENDER" ;;
	esac
}

# ------------------------------------------------------------------ the senders

lab_setup() {
	faults_setup
	mkdir "$T/all"
	: >"$T/daemon.log"
	TAG=lab${T##*.}
	IN_NET=()
	WANT_LINES=0
	SAID_FILE=
	RSYSLOG_QUEUE=${RSYSLOG_QUEUE:-assisted}
	PEER_HOST=localhost
	PEER_ARGS=()
	SENDER_ARGS=()
	GENERATOR=
	# The generator's own socket, for rsyslog.
	LOG_SOCKET=$T/log.sock
}

lab_teardown() {
	local status=$? p

	[ "$status" = 0 ] && BATS_TEST_COMPLETED=1
	exec 2>/dev/null # bash tells of each process that was killed
	for p in $GENERATOR ${SENDER_PID:-}; do
		kill -KILL "$p" 2>/dev/null || true
	done
	[ "$status" = 0 ] || [ ! -s "$T/rsyslog.log" ] || tail -n 20 "$T/rsyslog.log"
	common_teardown || status=1
	exit "$status"
}

# A sender or an intake in a namespace of the network: $T/bin/NAME runs it there.
# (nsenter, as "ip netns exec" would hide /sys/fs/bpf.)
in_netns() { # NETNS PROGRAM
	mkdir -p "$T/bin"
	printf '#!/bin/sh\nexec nsenter --net=/run/netns/%s %s "$@"\n' "$1" "$2" >"$T/bin/${2##*/}"
	chmod 755 "$T/bin/${2##*/}"
	echo "$T/bin/${2##*/}"
}

# rsyslog at its best: a disk-assisted queue that is saved, retried for ever,
# each second; nothing between the socket and that queue. "disk" is the one
# that writes everything through, with its pointers at every message.
rsyslog_sender_conf() {
	local action queue

	case $SENDER in
	omrelp*)
		action='type="omrelp" target="'$PEER_HOST'" port="'$PEER_PORT'" tls="on" tls.authmode="name"
			tls.cacert="'$T'/certs/ca.pem" tls.permittedpeer=["localhost"] timeout="10" conn.timeout="5"' ;;
	*)
		action='type="omfwd" protocol="tcp" target="'$PEER_HOST'" port="'$PEER_PORT'" tcp_framing="octet-counted"
			keepalive="on" keepalive.probes="2" keepalive.interval="1" keepalive.time="2"
			streamdriver="ossl" streamdrivermode="1" streamdriverauthmode="x509/name"
			streamdriverpermittedpeers="localhost"' ;;
	esac
	case $RSYSLOG_QUEUE in
	disk) queue='queue.type="Disk" queue.syncqueuefiles="on" queue.checkpointinterval="1"' ;;
	*) queue='queue.type="LinkedList" queue.size="100000" queue.checkpointinterval="100"' ;;
	esac
	cat <<-END
		global(workDirectory="$T/work" defaultNetstreamDriverCAFile="$T/certs/ca.pem"
			maxMessageSize="64k" net.enableDNS="off")
		module(load="imuxsock" SysSock.Use="off")
		$([[ $SENDER != omrelp* ]] || echo 'module(load="omrelp" tls.tlslib="openssl")')
		main_queue(queue.type="Direct")
		template(name="t" type="string" string="<%pri%>1 %timestamp:::date-rfc3339% %hostname% %app-name% %procid% LOG [SEKOIA@53288 intake_key=\"$TEST_KEY\"] %msg%\n")
		input(type="imuxsock" socket="$LOG_SOCKET" ratelimit.interval="0" ruleset="r")
		ruleset(name="r") {
			action($action template="t" $queue queue.filename="q" queue.maxdiskspace="2g"
				queue.saveonshutdown="on" queue.timeoutenqueue="60000" queue.timeoutshutdown="10000"
				action.resumeretrycount="-1" action.resumeinterval="1" ${RSYSLOG_MORE:-})
		}
	END
}

sender_start() {
	if is_ours; then
		daemon_start "$SENDER" --output-host "$PEER_HOST" --tls-server-name localhost \
			--output-retry-max 200ms "${SENDER_ARGS[@]}"
		SENDER_PID=$DAEMON_PID
		return
	fi
	need_rsyslogd "$([[ $SENDER != omrelp* ]] || echo omrelp)"
	mkdir -p "$T/work"
	[ -e "$T/sender.conf" ] || rsyslog_sender_conf >"$T/sender.conf"
	rm -f "$LOG_SOCKET"
	"${RSYSLOGD:-rsyslogd}" -n -i NONE -f "$T/sender.conf" >>"$T/rsyslog.log" 2>&1 3>&- &
	SENDER_PID=$!
	wait_until '[ -S "$LOG_SOCKET" ] || ! kill -0 $SENDER_PID 2>/dev/null' 15
	kill -0 "$SENDER_PID"
}

# Cleanly; rsyslogd has 20 s, and is killed then.
sender_stop() {
	local pid=$SENDER_PID

	SENDER_PID=
	if is_ours; then
		daemon_stop || say "it ended with status $?"
		return
	fi
	kill "$pid"
	if ! wait_until "! kill -0 $pid 2>/dev/null" 20 >/dev/null; then
		kill -KILL "$pid"
		NOTE="${NOTE:+$NOTE; }does not stop"
	fi
	wait "$pid" 2>/dev/null || true
}

sender_kill() {
	if is_ours; then
		daemon_kill
	else
		kill -KILL "$SENDER_PID"
		wait "$SENDER_PID" 2>/dev/null || true
	fi
	SENDER_PID=
}

# ------------------------------------------------------------------ the intake

# Its port may be another's connection's for the moment, if it was away.
intake_start() {
	peer_start "$(transport)" "$@" || { sleep 5; peer_start "$(transport)" "$@"; }
}

# What it had written counts, but for a line that was cut: nobody acknowledged it.
intake_kill() {
	peer_stop KILL
	intake_keep
}

intake_keep() {
	[ -s "$T/received" ] || return 0
	[ -z "$(tail -c 1 "$T/received")" ] || sed -i '$d' "$T/received"
	mv "$T/received" "$T/all/$(date +%s%N)"
}

# ------------------------------------------------------------------ the truth

# generate N RATE: events, half of the time as connections of two flows each (ours),
# or as lines (rsyslog).
generate() {
	SENT=$1
	if is_ours; then
		"$PEERS/emit" --net "$NET" --count $(($1 / 2)) --rate $(($2 / 2)) 3>&- &
	else
		"$PEERS/syslog_sender" "$LOG_SOCKET" "$TAG" 1 "$1" "$2" >"$T/said" 3>&- &
		WANT_LINES=$1
	fi
	GENERATOR=$!
}

# say_lines N RATE SOCKET: lines beside the flows.
say_lines() {
	WANT_LINES=$1
	SENT=$((${SENT:-0} + $1))
	in_room "$PEERS/syslog_sender" "$3" "$TAG" 1 "$1" "$2" >"$T/said" 3>&- &
	LINES_PID=$!
	KEEP_PIDS+=("$LINES_PID")
}

generated() {
	wait "$GENERATOR" || fail "the generator ended with an error"
	GENERATOR=
}

# Each copy of an event of ours at the intake, a line: "NUMBER-OF-THE-EVENT ID".
# Flows: the address and the direction; lines: their own number.
copies() {
	cat "$T"/all/* "$T/received" 2>/dev/null | LC_ALL=C awk -v from="\"sourceIPv4Address\":\"127.$NET." -v tag=", $TAG " '
		function behind(key) {
			at = index($0, key)
			return at ? substr($0, at + length(key), 64) : ""
		}
		function id(   text) {
			text = behind("\"event\":{\"id\":\"")
			return text == "" ? "-" : substr(text, 1, index(text, "\"") - 1)
		}
		index($0, from) {
			address = behind(from)
			print substr(address, 1, index(address, "\"") - 1) "-" substr(behind("\"flowDirection\":"), 1, 1), id()
			next
		}
		index($0, tag) {
			split(behind(tag), word, " ")
			print "line-" word[1], id()
		}'
}

# arrived: how many distinct ones.
arrived() {
	[ -z "$PEER_PID" ] || peer_summary received >/dev/null
	copies | cut -d ' ' -f 1 | sort -u | wc -l
}

# Until all have arrived, or nothing more does for a while.
drain() { # [PATIENCE]
	local patience=${1:-$(is_ours && echo 30 || echo 10)} before=-1 now=0 since=$SECONDS

	while now=$(arrived) && [ "$now" -lt "$SENT" ]; do
		[ "$now" -le "$before" ] || { before=$now since=$SECONDS; }
		[ $((SECONDS - since)) -lt "$patience" ] || break
		sleep 1
	done
	say "$now of $SENT arrived"
}

# SENT, LOST, REPEATED, KNOWN (repeats whose id tells that they are) and ENTERED
# (events that have two ids: they entered the spool twice), of what arrived.
count() {
	local extra

	copies | LC_ALL=C sort | uniq -c | awk '{ print $2, $3, $1 }' >"$T/copies"
	read -r ARRIVED REPEATED KNOWN ENTERED extra < <(awk '
		{ if (!($1 in n)) distinct++; else if ($2 != "-") entered++
		  n[$1] += $3; all += $3; if ($2 != "-") known += $3 - 1 }
		END { print distinct + 0, all - distinct, known + 0, entered + 0, "" }' "$T/copies")
	LOST=$((SENT - ARRIVED))
}

# given_up: what was in the spool and did not arrive, as our books have it.
given_up() {
	echo $(($(books "output.$SENDER" dropped) + $(books "output.$SENDER" damaged) +
		$(books "output.$SENDER" rejected)))
}

# told: that, and what never came so far.
told() {
	echo $(($(given_up) + $(books kernel.flows ring_full) + $(books kernel.flows no_room) +
		$(books kernel.flows missed)))
}

# Of all that entered the spool, each event has arrived or is in the books. What
# waits may have arrived all the same: its answer has not.
assert_given_up() {
	local ids most

	ids=$(cat "$T"/all/* | LC_ALL=C sed -n 's/.*"event":{"id":"\([^"]*\)".*/\1/p' | LC_ALL=C sort -u | wc -l)
	most=$(($(books spool appended) - $(given_up)))
	((ids <= most && ids >= most - $(books "output.$SENDER" waiting))) ||
		fail "$(books spool appended) entered, $(given_up) were given up, and $ids arrived"
}

# settle_accounts [LOST]: stop, count, write the row. Ours may lose nothing (or
# so many), enters nothing twice, and its books balance; what waits are the events
# of others who use this machine. Theirs is what it is.
settle_accounts() {
	local stuck

	# What rsyslogd still holds is not lost: it may come when it is started again.
	if ! is_ours && [ "$(arrived)" -lt "$SENT" ]; then
		stuck=$((SENT - $(arrived)))
		sender_stop
		sender_start
		drain
		stuck=$((stuck - SENT + $(arrived)))
		[ "$stuck" -eq 0 ] || NOTE="${NOTE:+$NOTE; }$stuck after a restart"
	fi
	if [ -n "${SENDER_PID:-}" ]; then sender_stop; fi
	[ -z "$PEER_PID" ] || peer_stop
	intake_keep
	count
	if is_ours; then
		TOLD=$(told)
	else
		TOLD=-
	fi
	row "$SENT" "$LOST" "$TOLD" "$REPEATED" "$(is_ours && echo "$KNOWN" || echo 0)" "${NOTE:-}"
	is_ours || return 0
	assert_accounts_balance || fail "the books do not balance"
	[ "$LOST" -le "${1:-0}" ] || fail "$LOST of $SENT lost"
	[ "$ENTERED" -eq 0 ] || fail "$ENTERED entered the spool twice: $(awk 'n[$1]++' "$T/copies" | head -n 3)"
	[ "$REPEATED" -eq "$KNOWN" ] || fail "$((REPEATED - KNOWN)) repeats can not be told by their id"
}

# ------------------------------------------------------------------ the table

# row SENT LOST TOLD REPEATED KNOWN [NOTE]
row() {
	local name=$SENDER

	if is_ours; then name="ours, $SENDER"; fi
	mkdir -p "$LAB"
	printf '%s|%s|%s|%s|%s|%s|%s|%s\n' "$TITLE" "$name" "$1" "$2" "$3" "$4" "$5" "${6:-}" >>"$LAB/rows"
	row_print "$TITLE" "$name" "$1" "$2" "$3" "$4" "$5" "${6:-}"
}

row_print() {
	printf '%-30s %-12s %7s %6s %6s %7s %6s  %s\n' "$@"
}

row_skip() {
	printf '%-30s %-12s skipped: %s\n' "$TITLE" "$SENDER" "$1"
}

# ------------------------------------------------------------------ memory

# watch_sender: what the processes of the sender hold at the most, in KiB; memory_most tells.
watch_sender() {
	(
		while kill -0 "$SENDER_PID" 2>/dev/null; do
			if is_ours; then
				echo $(($(memory_kb "$SENDER_PID") + $(memory_kb "$(shipper_pid)")))
			else
				memory_kb "$SENDER_PID"
			fi
			sleep 0.2
		done
	) >>"$T/memory" 2>/dev/null 3>&- &
	KEEP_PIDS+=("$!")
}

memory_most() {
	sort -n "$T/memory" | tail -n 1 | awk '{ printf "%.0f", $1 / 1024 }'
}
