#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Whatever protocol a program speaks to the log daemon, and whichever log daemon
# it is: the line arrives with its text, priority, name and pid, and with what
# the kernel knows of its sender. All is said once over https and once over
# syslog; each test then looks at one thing.

# shellcheck disable=SC2016,SC2034

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/journal

SSHD='Accepted publickey for alice from 192.0.2.7 port 50022 ssh2: ED25519 SHA256:uNiVztksCsDhcc0u9e8BgrJXVGQbV4m9'
SUDO='   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id -u'
PAM='pam_unix(sshd:session): session opened for user alice(uid=1000) by (uid=0)'

native() {
	in_room "$PEERS/journal_sender" datagram /run/systemd/journal/socket
}

syslog() {
	in_room "$PEERS/journal_sender" datagram /dev/log
}

say_to_journald() {
	# syslog(3) and what else comes through /dev/log
	in_room logger -t plain 'said by logger'
	in_room logger -t prio -p auth.crit 'a critical line'
	in_room logger -t id --id=4242 -p local7.debug 'with an id'
	in_room logger --rfc5424 -t five -p local3.warning --sd-id x@1 --sd-param 'a="b\]c"' 'in the new form'
	in_room logger --rfc3164 -t three -p cron.alert 'in the old form'
	in_room logger --udp -n 127.0.0.1 -P 9 -t udp 'over UDP, so to no journal'
	in_room logger -p authpriv.info -t 'sshd[811]' "$SSHD"
	in_room logger -p authpriv.notice -t sudo "$SUDO"
	in_room logger -p authpriv.info -t 'sshd[811]' "$PAM"
	in_room setpriv --reuid 65534 --regid 65534 --clear-groups logger -t nobodys 'from another user'
	printf '<86>Nov 23 01:02:03 sshd[77]: as glibc writes it\n\0' | syslog
	printf '<13>no name here' | syslog
	printf 'no priority, no name' | syslog
	printf '<30>tagged: trailing blanks  \n' | syslog
	printf '<13>' | syslog
	printf '<13>latin: caf\351 \377\376 end' | syslog
	printf '<13>nul: before\0after' | syslog
	in_room logger --size 300000 -t big <"$T/big"

	# the native protocol
	in_room logger --journald <<-END
		MESSAGE=by its own protocol
		PRIORITY=2
		SYSLOG_FACILITY=10
		SYSLOG_IDENTIFIER=natived
		MESSAGE_ID=8d45620c1a4348dbb17410da57c60c66
	END
	printf 'MESSAGE\n\027\0\0\0\0\0\0\0first line\nsecond line\n\nPRIORITY=4\nSYSLOG_IDENTIFIER=multi\nSYSLOG_PID=99\n' | native
	printf 'PRIORITY=3\nBLOB\n\04\0\0\0\0\0\0\0\0\n=\1\nMESSAGE=behind a binary field\nSYSLOG_IDENTIFIER=blob\n' | native
	printf 'MESSAGE=with fields of its own\nUNIT=a.service\nCODE_LINE=7\nN=1\nN=2\n_PID=1\nBIN\n\03\0\0\0\0\0\0\0a\nb\n' | native
	printf 'MESSAGE=\nSYSLOG_IDENTIFIER=empty\n' | native
	printf 'SYSLOG_IDENTIFIER=bytes\nMESSAGE=caf\351 native\n' | native
	{ printf 'SYSLOG_IDENTIFIER=bignative\nMESSAGE=' && cat "$T/big"; } | native
	[ -z "$AUDIT" ] || in_room "$PEERS/journal_sender" audit "op=test $T"
	printf 'SYSLOG_IDENTIFIER=file\nMESSAGE=in a file\n' | in_room "$PEERS/journal_sender" memfd

	# standard output
	echo 'an ordinary line' | in_room systemd-cat -t cat
	echo 'with a priority' | in_room systemd-cat -t cat -p warning
	printf '<3>prefixed\n\n<7>prefixed too\nnot prefixed\n' | in_room systemd-cat -t prefix -p notice
	echo '<3>left as it is' | in_room systemd-cat -t noprefix --level-prefix=false
	in_room systemd-cat -t pieces sh -c 'printf "one li"; sleep .1; printf "ne, three wri"; sleep .1; printf "tes\nthe next"; sleep .1; printf " one\n"'
	printf 'caf\351 on stdout\n' | in_room systemd-cat -t bytes
	in_room systemd-cat -t bigcat cat "$T/big"
	in_room systemd-cat -t unfinished printf 'the end is missing'
	in_room systemd-cat -t last echo 'the last one'
}

say_to_rsyslogd() {
	in_room logger -t rsys -p mail.err 'to rsyslogd itself'
	in_room logger --size 300000 -t rbig <"$T/big"
	printf '<86>Nov 23 01:02:03 sshd[78]: a second reader' | syslog
}

# say_all TRANSPORT: leaves $T/TRANSPORT, an event on each line.
say_all() {
	PEER_PORT=
	ROOM_PID=
	rm -rf "$T/received" "$T/full" "$T/spool" "$T/room"
	journald_start
	peer_start "$1" --write-full "$T/full"
	daemon_start "$1" --flows-enable no --kernel-log no
	say_to_journald
	logd_stop
	in_room rm -f /dev/log
	printf 'global(workDirectory="%s/room")\nmodule(load="imuxsock" SysSock.RateLimit.Interval="0")\naction(type="omfile" file="%s/room/out")\n' \
		"$T" "$T" >"$T/room/rsyslog.conf"
	logd_start rsyslogd -n -i NONE -f "$T/room/rsyslog.conf"
	wait_until 'in_room [ -S /dev/log ]' 10
	say_to_rsyslogd
	wait_until 'in_room grep -q "a second reader" "$T/room/out"' 10
	# The unfinished line is told when its writer is gone, not when we stop.
	wait_until 'grep -q "the end is missing" "$T/full"' 10
	in_room journalctl --sync 2>/dev/null || true
	logd_stop
	kill "$ROOM_PID"
	daemon_stop
	assert_all_delivered
	[ "$(books kernel.journal ring_full)" -eq 0 ]
	if [ "$FILES" = no ]; then
		[ "$(books kernel.journal truncated)" -ge 1 ] # the one in a memfd
	fi
	peer_stop
	cp "$T/received" "$T/$1"
	cp "$T/full" "$T/$1.full"
}

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	need_journald
	need_rsyslogd imuxsock
	common_setup
	journal_alone
	export T
	# Can the tap find what is in a file? And is this where the kernel sends audit records?
	export FILES=no AUDIT=
	grep -q "^0*[1-9a-f][0-9a-f]* .* page_offset_base\$" /proc/kallsyms && FILES=yes
	[ "$(readlink /proc/self/ns/user)" = 'user:[4026531837]' ] && AUDIT=yes
	JOURNAL_AUDIT=
	{ head -c 102300 /dev/zero | tr '\0' x && printf 'the end of a long line\n'; } >"$T/big"
	say_all https
	say_all syslog
}

teardown_file() {
	BATS_TEST_COMPLETED=yes common_teardown
}

# https TEXT FILTER...: one event has this text, and all filters hold for it.
https() {
	local text=$1 filter
	shift

	jq -c --arg text "$text" 'select(.event.reason == $text)' "$T/https" >"$T/found"
	[ "$(wc -l <"$T/found")" -eq 1 ] || { echo "$(wc -l <"$T/found") events have the text: $text"; return 1; }
	for filter; do
		[ "$(jq "$filter" "$T/found")" = true ] || { echo "not so: $filter"; jq -c . "$T/found"; return 1; }
	done
}

# syslog_line TEXT HEADER: one line ends in this text, and it starts with this header.
syslog_line() {
	grep -aF -- "] $1" "$T/syslog.full" | grep -aF -c -- "$1" >"$T/found" || true
	[ "$(cat "$T/found")" -eq 1 ] || { echo "$(cat "$T/found") lines have the text: $1"; return 1; }
	grep -aF -- "] $1" "$T/syslog.full" >"$T/found"
	grep -qaE -- "^$2" "$T/found" || { echo "is not: $2"; cut -c1-300 "$T/found"; return 1; }
	[ "$(wc -c <"$T/found")" -lt 2000 ] || return 0
	# behind the structured data is the text, and nothing else
	[ "$(LC_ALL=C sed 's/.*sequenceId="[0-9]*"\] //' "$T/found")" = "$1" ]
}

H='[0-9T:.-]+Z [^ ]+'

@test "syslog(3): priority, name, pid, and the sender as the kernel knows it" {
	https 'said by logger' '.log.syslog.appname == "plain"' '.log.syslog.facility.code == 1' \
		'.log.syslog.severity.code == 5' '.log.level == "notice"' '.log.logger == "journal"' \
		'.event.provider == "syslog"' '.process.name == "logger"' '.process.executable | endswith("/logger")' \
		'.process.command_line == "logger -t plain said by logger"' '.user.id == "0"' '.user.name == "root"' \
		'.log.syslog.procid == (.process.pid | tostring)' '.host.hostname != null'
	https 'a critical line' '.log.syslog.facility.name == "auth"' '.log.syslog.severity.code == 2' '.log.level == "critical"'
	https 'with an id' '.log.syslog.procid == "4242"' '.process.pid != 4242' \
		'.log.syslog.facility.code == 23' '.log.syslog.severity.code == 7'
	syslog_line 'said by logger' "<13>1 $H plain [0-9]+ LOG \[SEKOIA@53288 intake_key=\"$TEST_KEY\"\]"
	syslog_line 'a critical line' "<34>1 $H prio [0-9]+ LOG "
	syslog_line 'with an id' "<191>1 $H id 4242 LOG "
}

@test "RFC 5424 and RFC 3164 lines" {
	https 'in the new form' '.log.syslog.appname == "five"' '.log.syslog.facility.code == 19' '.log.syslog.severity.code == 4'
	# A host name on a local socket: part of the text, as for journald.
	https "$(uname -n) three: in the old form" '.log.syslog.facility.code == 9' '.log.syslog.severity.code == 1'
	https 'as glibc writes it' '.log.syslog.appname == "sshd"' '.log.syslog.procid == "77"' '.log.syslog.facility.code == 10'
	https 'trailing blanks' '.log.syslog.appname == "tagged"' '.log.syslog.facility.code == 3'
	syslog_line 'in the new form' "<156>1 $H five [0-9]+ LOG "
	syslog_line "$(uname -n) three: in the old form" "<73>1 $H logger [0-9]+ LOG "
	syslog_line 'as glibc writes it' "<86>1 $H sshd 77 LOG "
}

@test "a line without name or priority" {
	https 'no name here' '.log.syslog.severity.code == 5' '.log.syslog.appname == "journal_sender"'
	https 'no priority, no name' '.log.syslog.facility.code == 1'
	syslog_line 'no name here' "<13>1 $H journal_sender [0-9]+ LOG "
}

@test "what goes over UDP is not the journal's" {
	run ! grep -qa 'over UDP' "$T/https" "$T/syslog"
}

@test "sshd, pam and sudo: the text that detection rules know" {
	https "$SSHD" '.log.syslog.appname == "sshd"' '.log.syslog.procid == "811"' '.log.syslog.facility.name == "authpriv"' \
		'.log.syslog.severity.code == 6'
	https "$SUDO" '.log.syslog.appname == "sudo"' '.log.syslog.severity.code == 5'
	https "$PAM" '.log.syslog.appname == "sshd"'
	syslog_line "$SSHD" "<86>1 $H sshd 811 LOG "
	syslog_line "$SUDO" "<85>1 $H sudo [0-9]+ LOG "
	syslog_line "$PAM" "<86>1 $H sshd 811 LOG "
}

@test "another user's line names that user" {
	https 'from another user' '.user.id == "65534"' '.user.name == "nobody"' '.process.name == "logger"'
}

@test "the native protocol: fields, MESSAGE_ID, lines within a message, binary fields" {
	https 'by its own protocol' '.log.syslog.appname == "natived"' '.log.syslog.severity.code == 2' \
		'.log.syslog.facility.code == 10' '.event.code == "8d45620c1a4348dbb17410da57c60c66"' '.event.provider == "journal"'
	https $'first line\nsecond line' '.log.syslog.appname == "multi"' '.log.syslog.procid == "99"' '.log.syslog.severity.code == 4'
	https 'behind a binary field' '.log.syslog.appname == "blob"' '.log.syslog.severity.code == 3'
	syslog_line 'by its own protocol' "<82>1 $H natived [0-9]+ LOG "
	syslog_line 'first line\nsecond line' "<12>1 $H multi 99 LOG " # as the intake writes a line feed
}

@test "standard output: name, priority, prefixes, lines in pieces" {
	https 'an ordinary line' '.log.syslog.appname == "cat"' '.log.level == "info"' '.event.provider == "stdout"' '.process.name == "cat"'
	https 'with a priority' '.log.level == "warning"'
	https 'prefixed' '.log.level == "error"' '.log.syslog.appname == "prefix"'
	https 'prefixed too' '.log.level == "debug"'
	https 'not prefixed' '.log.level == "notice"'
	https '<3>left as it is' '.log.level == "info"'
	https 'one line, three writes' '.log.syslog.appname == "pieces"'
	https 'the next one'
	https 'the last one'
	syslog_line 'with a priority' "<12>1 $H cat [0-9]+ LOG "
	syslog_line 'one line, three writes' "<14>1 $H pieces [0-9]+ LOG "
}

@test "a last line without its end arrives when its writer is gone" {
	https 'the end is missing' '.log.syslog.appname == "unfinished"'
	syslog_line 'the end is missing' "<14>1 $H unfinished [0-9]+ LOG "
}

@test "an empty line is none" {
	[ "$(jq -c 'select(.event.reason == "")' "$T/https" | wc -l)" -eq 0 ]
	run ! grep -qaE 'sequenceId="[0-9]+"\] ?$' "$T/syslog.full"
}

@test "bytes that are not UTF-8: as they are in syslog, marked in JSON" {
	local bad=$'\xef\xbf\xbd'

	https "caf$bad $bad$bad end" '.log.syslog.appname == "latin"'
	https "caf$bad native"
	https "caf$bad on stdout"
	[ "$(jq 'select(.log.syslog.appname == "nul").event.reason' "$T/https")" = '"before\u0000after"' ]
	LC_ALL=C grep -qaF $'] caf\351 \377\376 end' "$T/syslog.full"
	LC_ALL=C grep -qaF $'] caf\351 native' "$T/syslog.full"
	LC_ALL=C grep -qaF $'] caf\351 on stdout' "$T/syslog.full"
}

@test "100 KB in one line: whole in a datagram, in journald's pieces on standard output" {
	local all tag

	all=$(cat "$T/big")
	for tag in big bignative rbig; do
		[ "$(jq -r "select(.log.syslog.appname == \"$tag\") | .event.reason" "$T/https" | cksum)" = "$(echo "$all" | cksum)" ]
		[ "$(LC_ALL=C sed -n "s/^<[0-9]*>1 [^ ]* [^ ]* $tag .*sequenceId=\"[0-9]*\"\] //p" "$T/syslog.full" | cksum)" = "$(echo "$all" | cksum)" ]
	done
	[ "$(jq -r 'select(.log.syslog.appname == "bigcat") | .event.reason' "$T/https" | tr -d '\n')" = "$all" ]
	[ "$(jq -r 'select(.log.syslog.appname == "bigcat") | .event.reason' "$T/https" | wc -l)" -eq 3 ]
}

@test "the native protocol: all other fields, in JSON" {
	https 'with fields of its own' '.sekoia_ebpf.journal == {"UNIT":"a.service","CODE_LINE":"7","N":["1","2"],"BIN":"a\nb"}'
	https 'by its own protocol' '.sekoia_ebpf == null'
}

@test "an audit record" {
	[ -n "$AUDIT" ] || skip "the kernel sends audit records to the first user namespace alone"
	jq -r 'select(.event.provider == "audit") | .event.reason' "$T/https" | grep "op=test $T" >"$T/found" || true

	[ -s "$T/found" ] || skip "the kernel gives none to journald here"
	cat "$T/found"
	[[ $(cat "$T/found") =~ ^type=USER_AVC\ msg=audit\([0-9.:]+\):\ pid=([0-9]+)\ uid=0\ .*msg=\'op=test ]]
	[ "$(jq -r 'select(.event.provider == "audit" and (.event.reason | contains("op=test"))) | .log.syslog.procid' "$T/https")" = "${BASH_REMATCH[1]}" ]
	https "$(cat "$T/found")" '.event.code == "1107"' '.log.syslog.appname == "audit"' '.log.syslog.facility.name == "auth"' '.process == null' '.user == null'
}

@test "a message that came as a file: with its bytes where they can be had, else it says so" {
	if [ "$FILES" = yes ]; then
		https 'in a file' '.process.name == "journal_sender"' '.log.syslog.appname == "file"'
		syslog_line 'in a file' "<14>1 $H file [0-9]+ LOG "
	else
		https '… [41 bytes cut]' '.process.name == "journal_sender"' '.log.syslog.appname == "journal_sender"'
		syslog_line '… [41 bytes cut]' "<14>1 $H journal_sender [0-9]+ LOG "
	fi
}

@test "rsyslogd on /dev/log, without a journald" {
	https 'to rsyslogd itself' '.log.syslog.appname == "rsys"' '.log.syslog.facility.name == "mail"' '.log.level == "error"' '.user.id == "0"'
	https 'a second reader' '.log.syslog.appname == "sshd"' '.log.syslog.procid == "78"'
	syslog_line 'to rsyslogd itself' "<19>1 $H rsys [0-9]+ LOG "
}
