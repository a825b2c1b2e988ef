#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Kernel events: each process that was, with its arguments, its parent and its
# end; each class from a real cause; off is off; and nothing lost or twice when
# the collector is killed.

# shellcheck disable=SC2016,SC2034,SC2030,SC2031

load ../lib/common

setup() {
	common_setup
	need_root
	EVENTS=yes
	DAEMON_ARGS=(--flows-enable no --journal-enable no --kernel-log no --ring-events 32M)
	# Of this test alone, whatever else runs on the host.
	TOKEN=run$RANDOM$RANDOM
}

teardown() {
	common_teardown
}

# told FILTER: the events that arrived, each once, that jq's FILTER selects.
told() {
	jq -c "select(.event.provider == \"sekoia-ebpf\") | select($1)" "$T/received" | sort -u
}

# ours FILTER: of those, the ones whose arguments name this run.
ours() {
	grep -F "$TOKEN" "$T/received" | jq -c "select(.event.provider == \"sekoia-ebpf\") | select($1)" | sort -u
}

# arrives FILTER: it does, soon.
arrives() {
	WANT=$1
	wait_until '[ -n "$(ours "$WANT")" ]'
}

# Each process of procgen's has one exec and one exit, as it was.
check_processes() {
	sort -u "$T"/truth.* >"$T/want"
	ours '.event.action == "exec" and .process.args[0] == "sh"' |
		jq -r '[.process.args[4], .process.pid, .process.parent.pid, .process.args[5]] | map(tostring) | join(" ")' |
		sort >"$T/execs"
	ours '.event.action == "exit" and .process.args[0] == "sh"' |
		jq -r '[.process.args[4], .process.pid, .process.parent.pid, .process.exit_code] | map(tostring) | join(" ")' |
		sort >"$T/exits"
	diff "$T/want" "$T/execs"
	diff "$T/want" "$T/exits"
}

assert_nothing_lost() {
	assert_all_delivered
	[ "$(books kernel.events ring_full)" -eq 0 ]
	[ "$(books kernel.events no_room)" -eq 0 ]
	[ "$(books kernel.events skipped)" -eq 0 ]
	[ "$(books kernel.events truncated)" -eq 0 ]
	[ "$(books source.events bad)" -eq 0 ]
	[ "$(books source.events too_large)" -eq 0 ]
}

@test "2,000 short processes on all CPUs: each exec and each exit, once, with arguments and parent" {
	peer_start https
	daemon_start https
	"$PEERS/procgen" "$TOKEN" "${PROCESSES:-2000}" "$T/truth"
	daemon_stop
	assert_nothing_lost
	[ "$(books source.events samples)" -eq "$(books kernel.events submitted)" ]
	[ "$(books source.events samples)" -eq $(($(books source.events records) + $(books source.events own))) ]
	[ "$(books source.events own)" -ge 2 ] # starter and shipper
	peer_stop
	check_processes
	# The parent is procgen, by its name; the program is the shell's file.
	[ "$(ours '.event.action == "exec" and .process.args[0] == "sh"' | jq -r '.process.parent.name + " " + .process.executable' | sort -u)" = \
		"procgen $(readlink -f /bin/sh)" ]
}

@test "the collector is killed again and again: nothing is lost, nothing twice" {
	peer_start https
	daemon_start https
	"$PEERS/procgen" "$TOKEN" "${PROCESSES:-2000}" "$T/truth" &
	KEEP_PIDS+=($!)
	for i in 1 2 3 4 5; do
		sleep 0."$i"
		daemon_kill
		[ $((i % 2)) -ne 0 ] || sleep 0.3
		daemon_start https
	done
	wait "${KEEP_PIDS[0]}"
	daemon_stop
	assert_accounts_balance
	[ "$(books kernel.events ring_full)" -eq 0 ]
	peer_stop
	check_processes
}

@test "an exec: script, memfd, deleted file, setuid program, long arguments, another folder" {
	mkdir "$T/a folder"
	printf '#!/bin/sh\nexit 3\n' >"$T/a folder/script"
	cp /bin/true "$T/gone"
	cp /bin/true "$T/setuid"
	chown root: "$T/setuid"
	chmod 4755 "$T/setuid"
	chmod 755 "$T/a folder/script"
	peer_start https
	daemon_start https
	(cd "$T/a folder" && ! ./script "$TOKEN-script" 'two words' '')
	"$PEERS/acts" memfd "$TOKEN-memfd" /bin/true
	"$PEERS/acts" deleted "$TOKEN-deleted" "$T/gone"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$T/setuid" "$TOKEN-setuid"
	/bin/true "$TOKEN-long" "$(head -c 20000 /dev/zero | tr '\0' x)"
	/bin/true "$TOKEN-bytes" $'\x01"\\\n\xff\xc3\xa9'
	/bin/true "$TOKEN-secret" "--intake-key=$TEST_KEY"
	arrives '.process.args[1] == "'"$TOKEN"'-secret"'
	daemon_stop
	assert_all_delivered
	peer_stop

	[ "$(ours '.event.action == "exec" and .sekoia_ebpf.exec.script' |
		jq -c '[.process.executable, .process.args, .process.working_directory, .sekoia_ebpf.exec.file]')" = \
		"[\"$(readlink -f /bin/sh)\",[\"/bin/sh\",\"./script\",\"$TOKEN-script\",\"two words\",\"\"],\"$T/a folder\",\"./script\"]" ]
	[ "$(ours '.event.action == "exit" and .process.exit_code == 3' | jq -r '.process.args[1]')" = ./script ]
	[ "$(ours '.event.action == "exec" and .sekoia_ebpf.exec.memfd and .process.args[0] == "x"' |
		jq -c '[.process.executable, .process.args[1], .sekoia_ebpf.exec.deleted]')" = "[\"memfd:hidden\",\"$TOKEN-memfd\",true]" ]
	[ "$(ours '.event.action == "exec" and .sekoia_ebpf.exec.deleted and (.sekoia_ebpf.exec.memfd | not)' |
		jq -r '.process.executable')" = "$T/gone" ]
	[ "$(ours '.event.action == "exec" and .sekoia_ebpf.exec.privileged' |
		jq -c '[.process.executable, .user.id, .user.effective.id, .user.effective.name]')" = "[\"$T/setuid\",\"65534\",\"0\",\"root\"]" ]
	[ "$(ours '.event.action == "exec" and .sekoia_ebpf.exec.args_cut' |
		jq -c '[.process.args[1], .sekoia_ebpf.exec.args_cut, (.process.command_line | length)]')" = \
		"[\"$TOKEN-long\",$((10 + ${#TOKEN} + 6 + 20001 - 8192)),8192]" ]
	[ "$(ours '.event.action == "exec" and .process.args[1] == "'"$TOKEN"'-bytes"' | jq -r '.process.args[2] | @json')" = \
		'"\u0001\"\\\n�é"' ]
	# Our own key is nobody's argument.
	[ "$(ours '.event.action == "exec" and .process.args[1] == "'"$TOKEN"'-secret"' | jq -r '.process.args[2]')" = \
		"--intake-key=$(printf '%*s' ${#TEST_KEY} '' | tr ' ' '*')" ]
	run ! grep -q "$TEST_KEY" "$T/received"
}

# environment TOKEN: what the exec with it has of its environment.
environment() {
	ours '.event.action == "exec" and .process.args[0] == "/bin/true" and .process.args[1] == "'"$TOKEN-$1"'"' |
		jq -c '[.sekoia_ebpf.exec.environment, .sekoia_ebpf.exec.environment_cut]'
}

@test "names of the environment, on request: never a value" {
	local i

	peer_start https
	daemon_start https --events-environment yes
	! grep -q 'this kernel can not give.*\bexec' "$T/daemon.log" || skip "$(grep 'can not give' "$T/daemon.log")"
	env -i A=1 'WITH_=in=its=value' EMPTY= "PASSWORD=hunter2-$TOKEN" /bin/true "$TOKEN-some"
	env -i /bin/true "$TOKEN-none"
	env -i "BIG=$(head -c 9000 /dev/zero | tr '\0' x)" BEHIND=1 /bin/true "$TOKEN-big"
	env -i FIRST=1 "$(head -c 64 /dev/zero | tr '\0' N)=1" LAST=2 /bin/true "$TOKEN-long"
	# shellcheck disable=SC2046 # words
	env -i $(for i in {1..200}; do echo "NUMBER_$i=$i"; done) /bin/true "$TOKEN-many"
	/bin/true "$TOKEN-last"
	arrives '.event.action == "exec" and .process.args[1] == "'"$TOKEN"'-last"'
	daemon_stop
	daemon_start https
	env -i SECOND=1 /bin/true "$TOKEN-off"
	arrives '.event.action == "exec" and .process.args[1] == "'"$TOKEN"'-off"'
	daemon_stop
	assert_all_delivered
	peer_stop
	is "$(environment some)" '[["A","WITH_","EMPTY","PASSWORD"],null]'
	is "$(environment none)" '[null,null]'
	is "$(environment big)" '[["BIG"],true]'
	is "$(environment long)" '[["FIRST","LAST"],true]'
	is "$(environment many | jq -c '[(.[0] | length), .[0][0], .[1]]')" '[128,"NUMBER_1",true]'
	is "$(environment off)" '[null,null]'
	# It was an argument of env, and nowhere else.
	is "$(ours '.event.action == "exec" and (tostring | contains("hunter2"))' | jq -r .process.name)" env
}

@test "an exit: code, signal, core, threads, forks" {
	peer_start https
	daemon_start https
	sh -c 'exit 42' "$TOKEN-code" || true
	sh -c 'kill -TERM $$' "$TOKEN-term" || true
	sh -c 'ulimit -c 0; kill -SEGV $$' "$TOKEN-segv" || true
	# Many threads that end at once are one process.
	"$PEERS/acts" threads "$TOKEN-threads"
	# Who is forked and has executed nothing: told when it is killed, filtered when it ends.
	"$PEERS/acts" forks "$TOKEN-forks"
	/bin/true "$TOKEN-last"
	arrives '.event.action == "exit" and .process.args[1] == "'"$TOKEN"'-last"'
	daemon_stop
	assert_nothing_lost
	peer_stop
	[ "$(ours '.event.action == "exit" and .process.args[3] == "'"$TOKEN"'-code"' | jq -r .process.exit_code)" -eq 42 ]
	[ "$(ours '.event.action == "exit" and .process.args[3] == "'"$TOKEN"'-term"' |
		jq -c '[.process.exit_code, .sekoia_ebpf.exit.signal.name]')" = '[143,"SIGTERM"]' ]
	[ "$(ours '.event.action == "exit" and .process.args[3] == "'"$TOKEN"'-segv"' |
		jq -c '[.process.exit_code, .sekoia_ebpf.exit.signal.number]')" = '[139,11]' ]
	[ "$(ours '.event.action == "exit" and .process.args[2] == "'"$TOKEN"'-threads"' | wc -l)" -eq 1 ]
	ours '.event.action == "exit" and .process.args[2] == "'"$TOKEN"'-threads"' |
		jq -e '.event.duration > 900000000 and .sekoia_ebpf.exit.cpu_ns > 100000 and .sekoia_ebpf.exit.max_memory_bytes > 1000000'
	local parent
	parent=$(ours '.event.action == "exit" and .process.args[2] == "'"$TOKEN"'-forks"' | jq .process.pid)
	[ "$(told '.event.action == "exit" and .process.parent.pid == '"$parent" |
		jq -c '[.sekoia_ebpf.exit.no_exec, .sekoia_ebpf.exit.signal.name]')" = '[true,"SIGKILL"]' ]
	[ "$(books kernel.events filtered)" -ge 1 ]
}

# acted ACTION FILTER: what "acts" did, as jq's FILTER shows it.
acted() {
	ours '.event.action == "'"$1"'" and .process.name == "acts"' | jq -c "$2"
}

is() {
	[ "$1" = "$2" ] || { echo "got:  $1"; echo "want: $2"; return 1; }
}

@test "what processes do to the system and to each other: each class, from its cause" {
	local ports

	mkdir "$T/mnt"
	peer_start https
	daemon_start https
	! grep -q 'this kernel can not give.*\(ptrace\|BPF\|mounts\|unshare\|setns\|clone\|setuid\|listen\|signals\)' "$T/daemon.log" ||
		skip "$(grep 'can not give' "$T/daemon.log")"
	"$PEERS/acts" traces "$TOKEN"
	"$PEERS/acts" bpf "$TOKEN"
	"$PEERS/acts" mounts "$TOKEN" "$T/mnt"
	"$PEERS/acts" namespaces "$TOKEN"
	"$PEERS/acts" user "$TOKEN"
	ports=$("$PEERS/acts" listens "$TOKEN")
	sh -c 'kill -SEGV $$' "$TOKEN-self" || true
	/bin/true "$TOKEN-last"
	arrives '.event.action == "exit" and .process.args[1] == "'"$TOKEN"'-last"'
	daemon_stop
	assert_nothing_lost
	peer_stop

	is "$(acted ptrace '[.event.category[0], .event.type[0], .event.outcome, .sekoia_ebpf.ptrace.request, .sekoia_ebpf.target.name]')" \
		'["process","access","success","attach","acts"]'
	is "$(acted signal '[.sekoia_ebpf.signal.name, .sekoia_ebpf.target.name]')" '["SIGKILL","acts"]'
	[ "$(acted signal .sekoia_ebpf.target.pid)" != "$(acted signal .process.pid)" ]
	is "$(ours '.event.action == "signal" and .process.name == "dash"' | jq -c '[.sekoia_ebpf.signal.name, .process.pid == .sekoia_ebpf.target.pid]')" \
		'["SIGSEGV",true]'
	is "$(acted bpf-map-create '[.event.category[0], .sekoia_ebpf.bpf.type, .sekoia_ebpf.bpf.name, .event.reason]')" \
		'["driver","array","acts_map","BPF map acts_map of type array"]'
	is "$(acted bpf-program-load '[.sekoia_ebpf.bpf.type, .sekoia_ebpf.bpf.name]')" '["socket_filter","acts_prog"]'
	is "$(acted unshare .sekoia_ebpf.namespaces)" '["mount","uts"]'
	is "$(acted mount 'select(.event.outcome == "success" and .sekoia_ebpf.mount.type) | [.sekoia_ebpf.mount.source, .sekoia_ebpf.mount.target, .sekoia_ebpf.mount.type, .sekoia_ebpf.mount.flags]')" \
		"[\"$TOKEN\",\"$T/mnt\",\"tmpfs\",[\"nosuid\"]]"
	is "$(acted mount 'select(.event.outcome == "failure") | [.sekoia_ebpf.mount.target, .error.code]')" '["/nowhere/at/all","2"]'
	is "$(acted unmount .sekoia_ebpf.mount.target)" "\"$T/mnt\""
	is "$(acted setns .sekoia_ebpf.namespaces)" '["network"]'
	is "$(acted clone-namespaces .sekoia_ebpf.namespaces)" '["ipc","pid"]'
	is "$(acted set-user '[.sekoia_ebpf.uid, .user.id]')" '[{"real":65534,"effective":65534,"saved":65534},"65534"]'
	is "$(acted set-group .sekoia_ebpf.gid.real)" 65534
	# shellcheck disable=SC2086 # two numbers
	is "$(acted listen '[.destination.ip, .destination.port, .network.transport]' | sort)" \
		"$(printf '["127.0.0.1",%d,"tcp"]\n["::1",%d,"tcp"]' $ports)"
}

@test "a process that the kernel kills for want of memory" {
	local cgroup

	cgroup=$(awk '$3 == "cgroup" && $4 ~ /memory/ || $3 == "cgroup2" { print $2; exit }' /proc/self/mounts)/${T##*/}
	mkdir "$cgroup" 2>/dev/null || skip "no control groups"
	if ! echo 16M >"$cgroup/memory.max" && ! echo 16M >"$cgroup/memory.limit_in_bytes"; then
		rmdir "$cgroup"
		skip "control groups do not count memory here"
	fi 2>/dev/null
	peer_start https
	daemon_start https
	sh -c 'echo $$ >"$1/cgroup.procs"; exec "$2" eat "$3"' sh "$cgroup" "$PEERS/acts" "$TOKEN" || true
	arrives '.event.action == "exit" and .process.name == "acts"'
	daemon_stop
	assert_nothing_lost
	peer_stop
	rmdir "$cgroup"
	is "$(ours '.event.action == "oom-kill"' | jq -c '[.event.type[0], .sekoia_ebpf.target.name, .process.args[2]]')" \
		"[\"end\",\"acts\",\"$TOKEN\"]"
}

# programs: those that are attached below our pins.
programs() {
	ls "$BPF_DIR"/*/events/links 2>/dev/null
}

@test "off is off: what is not wanted is not attached" {
	peer_start https
	daemon_start https --events-exit no --events-modules no --events-oom no --events-signals no \
		--events-ptrace no --events-bpf no --events-mounts no --events-namespaces no \
		--events-credentials no --events-listen no
	[ "$(programs)" = event_exec ]
	/bin/true "$TOKEN-one"
	arrives '.event.action == "exec"'
	daemon_stop
	EVENTS=no daemon_start https --kernel-log yes
	[ -z "$(programs)" ]
	/bin/true "$TOKEN-two"
	daemon_stop
	assert_accounts_balance
	peer_stop
	[ -z "$(ours '.event.action == "exit"')" ]
	run ! grep -q "$TOKEN-two" "$T/received"
}
