# SPDX-License-Identifier: Apache-2.0
# What containers are called: real processes in real cgroups, as kubelet and containerd make
# them, and a node's files of the same shape in a folder of the test's own.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/journal

setup() {
	common_setup
	need_root
	take_net
	V2=$(findmnt -nt cgroup2 -o TARGET | head -n 1)
	[ -n "$V2" ] || skip "needs cgroup v2"
	UID_OF_POD=$(printf '%08d' "$NET")-3d4e-4f60-8182-93a4b5c6d7e8
	SLICE=$V2/kubepods-burstable-pod${UID_OF_POD//-/_}.slice
	ID=$(printf '%064d' "$NET")
	ID2=$(printf 'f%063d' "$NET")
	NODE=$T/node
	mkdir -p "$NODE/var/log/containers" "$NODE/var/log/pods/shop-${NET}_web-5d8f_$UID_OF_POD/web" "$NODE/run"
	EVENTS=yes
	DAEMON_ARGS=(--containers-root "$NODE" --flows-loopback yes --flows-networks "127.$NET.0.0/16" --flows-dns no
		--flows-tls no --kernel-log no --events-bpf no --events-mounts no --events-namespaces no)
}

teardown() {
	if [ -n "${SLICE:-}" ]; then
		rmdir "$SLICE"/*/ "$SLICE" 2>/dev/null || true
	fi
	common_teardown
}

# config ID NAME: what containerd's shim is given for a container of this pod.
config() {
	mkdir -p "$NODE/run/containerd/io.containerd.runtime.v2.task/k8s.io/$1"
	jq -n --arg name "$2" --arg namespace "shop-$NET" '{ociVersion: "1.1.0",
		process: {args: ["/bin/sh"], env: ["A=\"annotations\":{"]}, root: {path: "rootfs"},
		annotations: {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": $name,
			"io.kubernetes.cri.image-name": "registry.local:5000/shop/web:1.25", "io.kubernetes.cri.sandbox-name": "web-5d8f",
			"io.kubernetes.cri.sandbox-namespace": $namespace}}' \
		>"$NODE/run/containerd/io.containerd.runtime.v2.task/k8s.io/$1/config.json"
}

# in_container ID COMMAND...: as its process.
in_container() {
	local cgroup=$SLICE/cri-containerd-$1.scope

	shift
	mkdir -p "$cgroup"
	sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh "$cgroup" "$@"
}

# told FILTER: of the records of our pod that match, what is said of container and pod.
told() {
	jq -r "select(.orchestrator.resource.id == \"$UID_OF_POD\") | select($1) | [.container.id // \"-\", .container.name // \"-\",
		.container.runtime // \"-\", .container.image.name // \"-\", (.container.image.tag // [\"-\"])[0],
		.orchestrator.namespace // \"-\", .orchestrator.resource.name // \"-\"] | join(\" \")" "$T/received" | sort -u
}

finish() {
	daemon_stop
	peer_stop
	assert_all_delivered
}

@test "a flow, an exec and a journal line of a container have pod, namespace, container and image" {
	need_journald
	journal_alone
	journald_start
	ln -s "/var/log/pods/x/web/0.log" "$NODE/var/log/containers/web-5d8f_shop-${NET}_web-$ID.log"
	config "$ID" web
	peer_start https
	daemon_start https --journal-schema ecs
	nc -l -s "127.$NET.0.1" -p 4321 >/dev/null &
	KEEP_PIDS+=($!)
	wait_until '[ -n "$(ss -Hltn src 127.$NET.0.1:4321)" ]' 5
	in_container "$ID" nc -z -s "127.$NET.0.2" "127.$NET.0.1" 4321
	in_container "$ID" nsenter -m -t "$ROOM_PID" -- systemd-cat -t "names-$NET" sh -c 'echo hello; exec sleep 60' &
	LOGGER=$!
	KEEP_PIDS+=("$LOGGER")
	# Its sandbox has neither a log nor a name.
	in_container "$ID2" true
	wait_until 'grep -q "\"appname\":\"names-$NET\"" "$T/received"' 15
	kill "$LOGGER"
	finish
	local all="$ID web containerd registry.local:5000/shop/web 1.25 shop-$NET web-5d8f"
	[ "$(told '.event.action == "network_flow" and .flowDirection == 1')" = "$all" ]
	[ "$(told ".event.action == \"exec\" and .container.id == \"$ID\"")" = "$all" ]
	[ "$(told ".log.syslog.appname == \"names-$NET\"")" = "$all" ]
	[ "$(told ".container.id == \"$ID2\"")" = "$ID2 - containerd - - shop-$NET web-5d8f" ]
	[ "$(books containers found)" -ge 2 ]
	[ "$(books containers malformed)" -eq 0 ]
}

@test "one that is gone, cgroup and all, before anybody looked is told with its names" {
	config "$ID" job
	config "$ID2" older
	# The cgroup of one was there before the capture: it is opened by its number.
	mkdir -p "$SLICE/cri-containerd-$ID2.scope"
	peer_start https
	daemon_start https --journal-enable no
	kill -STOP "$DAEMON_PID"
	in_container "$ID2" true
	in_container "$ID" "$PEERS/emit" --net "$NET" --count 1
	rmdir "$SLICE/cri-containerd-$ID.scope"
	kill -CONT "$DAEMON_PID"
	wait_until 'grep "\"action\":\"exit\"" "$T/received" | grep -q "$ID"' 15
	finish
	local all="$ID job containerd registry.local:5000/shop/web 1.25 shop-$NET web-5d8f"
	[ "$(told '.event.action == "exec" and .process.name == "emit"')" = "$all" ]
	[ "$(told '.event.action == "exit" and .process.name == "emit"')" = "$all" ]
	[ "$(told '.event.action == "network_flow"')" = "$all" ]
	[ "$(told '.event.action == "exit" and .process.name == "true"')" = "${all/$ID job/$ID2 older}" ]
}

@test "hostile files: links and pipes are not followed, names that are none are left out" {
	ln -s /nowhere "$NODE/var/log/containers/"$'we"b\n_shop_{}'"-$ID.log"
	mkdir -p "$NODE/run/containerd/io.containerd.runtime.v2.task/k8s.io" "$NODE/var/lib/docker/containers/$ID" "$T/elsewhere"
	config elsewhere stolen
	mv "$NODE/run/containerd/io.containerd.runtime.v2.task/k8s.io/elsewhere/config.json" "$T/elsewhere/"
	ln -s "$T/elsewhere" "$NODE/run/containerd/io.containerd.runtime.v2.task/k8s.io/$ID"
	mkfifo "$NODE/var/lib/docker/containers/$ID/config.v2.json"
	peer_start https
	daemon_start https --journal-enable no
	in_container "$ID" true
	wait_until 'grep "\"action\":\"exit\"" "$T/received" | grep -q "$ID"' 15
	finish
	jq -e . "$T/received" >/dev/null
	[ "$(told '.event.action == "exec"')" = "$ID - containerd - - shop web-5d8f" ] ||
		[ "$(told '.event.action == "exec"')" = "$ID - containerd - - shop-$NET web-5d8f" ]
	[ "$(books containers malformed)" -ge 2 ]
	run ! grep -q stolen "$T/received"
}

@test "off: ids, as ever, and no file is looked at" {
	config "$ID" web
	peer_start https
	daemon_start https --journal-enable no --containers-names no
	in_container "$ID" true
	wait_until 'grep "\"action\":\"exit\"" "$T/received" | grep -q "$ID"' 15
	finish
	[ "$(told '.event.action == "exec"')" = "$ID - containerd - - - -" ]
	run ! grep -q '^books: containers' "$T/daemon.log"
}
