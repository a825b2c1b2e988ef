#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Changes of files: what was done to which file by whom; folders that come later;
# what changed while nobody watched; a queue of the kernel's that is full.

# shellcheck disable=SC2016,SC2034,SC2030,SC2031,SC2120

load ../lib/common

setup() {
	common_setup
	need_root
	EVENTS=yes
	W=$T/watched
	mkdir "$W"
	DAEMON_ARGS=(--flows-enable no --journal-enable no --kernel-log no --ring-events 32M
		--events-paths "$W/list,$W/tree/,$W/home/*/.ssh/keys,!$W/tree/not_this")
}

teardown() {
	common_teardown
}

# told [FILTER]: the changes that arrived, each once, that jq's FILTER selects, in their order.
told() {
	jq -c 'select(.event.category == ["file"]) | select('"${1:-true}"')' "$T/received" 2>/dev/null |
		sort -u | sort -t - -k 2 -n -s
}

# short [FILTER]: of those "ACTION PATH", without this test's folder.
short() {
	told "${1:-true}" | jq -r '.event.action + " " + .file.path' | sed "s,$W/,,"
}

arrives() {
	WANT=$1
	wait_until '[ -n "$(told "$WANT")" ]'
}

is() {
	[ "$1" = "$2" ] || { echo "got:  $1"; echo "want: $2"; return 1; }
}

assert_nothing_lost() {
	assert_all_delivered
	[ "$(books source.files lost)" -eq 0 ]
	[ "$(books source.files too_large)" -eq 0 ]
}

start() {
	peer_start https
	daemon_start https "$@"
	! grep -q 'files: ' "$T/daemon.log" || skip "$(grep 'files: ' "$T/daemon.log")"
}

@test "a file is written, replaced, given other attributes, deleted: each by whom" {
	local tick='sleep 1.2'

	echo old >"$W/list"
	start
	# A process that is gone before anybody could look at it; another user's; one that stays.
	sh -c 'echo more >>"$1/list"' sh "$W"
	$tick
	echo new >"$W/list.tmp"
	mv "$W/list.tmp" "$W/list"
	$tick
	chown 65534 "$W/list"
	setpriv --reuid 65534 --regid 65534 --clear-groups chmod 640 "$W/list"
	$tick
	# Read, and opened to be written, which changes nothing.
	cat "$W/list" >/dev/null
	exec 9<>"$W/list"
	exec 9>&-
	rm "$W/list"
	arrives '.event.action == "file-delete"'
	daemon_stop
	assert_nothing_lost
	[ "$(books source.files filtered)" -ge 1 ]
	peer_stop

	is "$(short)" "$(printf '%s list\n' file-write file-replace file-attributes file-attributes file-delete)"
	is "$(told '.event.action == "file-write"' | jq -c '[.event.type, .process.name, .process.args[3], .user.name, .sekoia_ebpf.file.changes]')" \
		"[[\"change\"],\"$(basename "$(readlink -f /bin/sh)")\",\"sh\",\"root\",[\"write\"]]"
	is "$(told '.event.action == "file-replace"' | jq -c '[.event.type, .process.name, .process.args[0], .file.size, .file.type, .file.mode, .file.owner]')" \
		'[["change"],"mv","mv",4,"file","0644","root"]'
	is "$(told '.event.action == "file-attributes"' | jq -c '[.process.name, .user.id, .file.uid, .file.mode]')" \
		"$(printf '["chown","0","65534","0640"]\n["chmod","65534","65534","0640"]')"
	is "$(told '.event.action == "file-delete"' | jq -c '[.event.type, .process.name, .file.size]')" '[["deletion"],"rm",null]'
	is "$(told '.process.parent.pid and .process.start' | wc -l)" 5
	told '.event.action == "file-delete"' | jq -e '.event.reason | test("/list deleted by rm \\(pid [0-9]+\\)$")'
}

@test "folders: what is in them, what comes later, what is not wanted" {
	start
	mkdir -p "$W/tree/deeper" "$W/elsewhere"
	wait_until 'arrives ".file.path == \"$W/tree/deeper\""'
	echo 1 >"$W/tree/one"
	echo 2 >"$W/tree/deeper/two"
	echo 3 >"$W/tree/not_this"
	echo 4 >"$W/elsewhere/four"
	# All at once: it is there before we can look.
	mkdir -p "$W/home/mia/.ssh" && echo 5 >"$W/home/mia/.ssh/keys"
	echo 6 >"$W/home/mia/.ssh/other"
	# A folder with a history, moved to its place; then it goes and comes again.
	mkdir -p "$W/elsewhere/.ssh" "$W/home/leo"
	echo 7 >"$W/elsewhere/.ssh/keys"
	mv "$W/elsewhere/.ssh" "$W/home/leo/"
	arrives ".file.path == \"$W/home/leo/.ssh/keys\""
	rm -r "$W/tree"
	arrives ".event.action == \"file-delete\" and .file.path == \"$W/tree\""
	mkdir "$W/tree"
	ln -s /nowhere "$W/tree/link"
	arrives ".file.path == \"$W/tree/link\""
	daemon_stop
	assert_nothing_lost
	peer_stop
	is "$(short | grep -v -e delete -e attributes | sort -u)" "$(sort <<-END
		file-create home/leo/.ssh/keys
		file-create home/mia/.ssh/keys
		file-create tree
		file-create tree/deeper
		file-create tree/deeper/two
		file-create tree/link
		file-create tree/one
	END
	)"
	is "$(told '.file.name == "link"' | jq -r .file.type)" symlink
	is "$(short | grep delete | sort -u)" "$(printf 'file-delete %s\n' tree tree/deeper tree/deeper/two tree/one)"
}

@test "many writes of one process are one event" {
	echo >"$W/list"
	start
	python3 -c '
import sys
for i in range(20000):
    with open(sys.argv[1], "a") as f:
        f.write("x")
' "$W/list"
	arrives '.event.action == "file-write"'
	daemon_stop
	assert_nothing_lost
	peer_stop
	# Told after five seconds at the latest.
	[ "$(told | wc -l)" -le 8 ]
	[ "$(told | wc -l)" -lt "$(books source.files samples)" ] || [ "$(books source.files samples)" -lt 8 ]
	is "$(told | jq -r .process.name | sort -u | sed 's/[0-9.]*$//')" python
}

@test "nobody watched: what changed meanwhile is told, without a process" {
	mkdir "$W/tree"
	for f in a b c; do
		echo >"$W/tree/$f"
	done
	start
	sleep 0.1
	echo 1 >"$W/tree/a"
	arrives '.file.name == "a"'
	daemon_kill
	sleep 0.1
	echo 2 >"$W/tree/b"
	daemon_start https
	arrives '.file.name == "b"'
	grep -q 'files: not watched from .* to now; 1 have changed meanwhile' "$T/daemon.log"
	daemon_hand_over
	echo 3 >"$W/tree/c"
	daemon_start https
	arrives '.file.name == "c"'
	daemon_stop
	daemon_start https
	daemon_stop
	assert_nothing_lost
	peer_stop
	is "$(short)" "$(printf '%s\n' 'file-write tree/a' 'file-change tree/b' 'file-change tree/c')"
	is "$(told '.file.name == "b"' | jq -c '[.process, .user, (.event.reason | endswith(" while nobody watched")), (.sekoia_ebpf.file.not_watched_since < .["@timestamp"])]')" \
		'[null,null,true,true]'
}

@test "the kernel's queue is full: counted, told, and what changed is told" {
	mkdir "$W/tree"
	start
	max=$(cat /proc/sys/fs/fanotify/max_queued_events 2>/dev/null || echo 16384)
	[ "$max" -le 20000 ] || skip "the kernel's queue takes $max"
	echo 1 >"$W/tree/first"
	arrives '.file.name == "first"'
	kill -STOP "$DAEMON_PID"
	python3 -c '
import os, sys
for i in range(int(sys.argv[2])):
    os.close(os.open("%s/%d" % (sys.argv[1], i % 25000), os.O_CREAT | os.O_WRONLY))
' "$W/tree" $((max + 5000))
	echo last >"$W/list"
	kill -CONT "$DAEMON_PID"
	arrives ".file.path == \"$W/list\""
	daemon_stop
	assert_accounts_balance
	peer_stop
	[ "$(books source.files lost)" -ge 1 ]
	[ "$(jq -s 'map(select(.sekoia_ebpf.loss.name == "source.files.lost") | .sekoia_ebpf.loss.events) | add' "$T/received")" -eq \
		"$(books source.files lost)" ]
	# Each file is told, but for those that there was no room to hold.
	[ "$(($(told | wc -l) + $(books source.files lost)))" -ge $((max + 5000 + 2)) ]
	# The last one came behind the end of the queue.
	is "$(told ".file.path == \"$W/list\"" | jq -r .event.action)" file-change
}

@test "off is off; a list that is none is refused" {
	run "$SEKOIA" --config /dev/null --output stdout --events-paths 'etc/passwd' check
	[ "$status" -ne 0 ]
	[[ $output == *"is not a list of paths"* ]]
	peer_start https
	daemon_start https --events-files no
	[ -z "$(find "/proc/$DAEMON_PID/fd" -lname 'anon_inode:\[fanotify\]')" ]
	daemon_stop
	daemon_start https
	[ -n "$(find "/proc/$DAEMON_PID/fd" -lname 'anon_inode:\[fanotify\]')" ]
	daemon_stop
	peer_stop
}
