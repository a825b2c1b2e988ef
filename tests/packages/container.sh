#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# container.sh: builds the image, and runs it with the mounts and capabilities of
# deploy/kubernetes/sekoia-ebpf.yaml, unprivileged (no /dev/kmsg): by runc, in its own
# mount namespace with a read-only root; flows of this host come out of it. TAP lines
# without numbers. A capability that this machine has itself lost is left out, and told.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d /tmp/sekoia-test.XXXXXX)
pins=/sys/fs/bpf/sekoia-test-${work##*.}
name=$(tr "[:upper:]" "[:lower:]" <<<"sekoia-test-${work##*.}")
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
made=
cleanup() {
	runc --root "$work/state" delete --force "$name" >/dev/null 2>&1 || true
	[[ -z $made ]] || buildah rm "$made" >/dev/null 2>&1 || true
	buildah rmi "localhost/$name" >/dev/null 2>&1 || true
	"$top/build/static/sekoia-ebpf" --config /dev/null --collector-bpf-dir "$pins" cleanup >/dev/null 2>&1 || true
	rmdir "$pins" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

check() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@" >"$work/check" 2>&1; then
		echo "ok - container: $what"
	else
		echo "not ok - container: $what"
		sed 's/^/# /' "$work/check"
		[[ ! -e $work/err ]] || tail -n 5 "$work/err" | sed 's/^/# /'
	fi
}

wait_for() { # SECONDS COMMAND
	local end=$((SECONDS + $1))
	until eval "$2"; do
		((SECONDS < end)) || return 1
		sleep 0.2
	done
}

check "the image is built" "$top/deploy/container/build.sh" "$top/build/static/sekoia-ebpf" "$name"
made=$(buildah from "localhost/$name")
rootfs=$(buildah mount "$made")
check "it holds two files" test "$(cd "$rootfs" && find . -type f | sort | xargs)" = "./etc/ssl/certs/ca-certificates.crt ./sekoia-ebpf"
mkdir "$work/bundle" "$work/spool" "$work/run"
chmod 755 "$work"
mkdir -p "$rootfs"/{proc,sys,dev,run/sekoia-ebpf,var/lib/sekoia-ebpf}
touch "$rootfs/etc/passwd" "$rootfs/etc/os-release" "$rootfs/etc/machine-id"

# What of the list this machine has to give.
caps=()
bounding=$((16#$(sed -n 's/^CapBnd:\t//p' /proc/self/status)))
for cap in CHOWN:0 DAC_OVERRIDE:1 DAC_READ_SEARCH:2 FOWNER:3 KILL:5 SETGID:6 SETUID:7 SETPCAP:8 \
	NET_ADMIN:12 SYS_PTRACE:19 SYS_ADMIN:21 SYS_RESOURCE:24 SYSLOG:34 PERFMON:38 BPF:39; do
	if ((bounding >> ${cap#*:} & 1)); then
		caps+=("CAP_${cap%:*}")
	else
		echo "# this machine has no CAP_${cap%:*} to give"
	fi
done

# config ARG...: a bundle that runs the image with these arguments.
config() {
	printf '%s\n' "$@" | jq -Rn --arg rootfs "$rootfs" --arg spool "$work/spool" --arg run "$work/run" --arg caps "${caps[*]}" '
		($caps | split(" ")) as $caps |
		def bind($from; $to; $mode): {destination: $to, type: "bind", source: $from, options: ["rbind", $mode]};
		{ ociVersion: "1.0.0",
		  process: { user: {uid: 0, gid: 0}, cwd: "/", args: (["/sekoia-ebpf"] + [inputs]),
			noNewPrivileges: true,
			capabilities: {bounding: $caps, effective: $caps, permitted: $caps} },
		  root: {path: $rootfs, readonly: true},
		  mounts: [
			{destination: "/proc", type: "proc", source: "proc"},
			{destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"]},
			bind("/sys"; "/sys"; "ro"),
			bind("/sys/fs/bpf"; "/sys/fs/bpf"; "rw"),
			bind("/sys/fs/cgroup"; "/sys/fs/cgroup"; "ro"),
			bind($spool; "/var/lib/sekoia-ebpf"; "rw"),
			bind($run; "/run/sekoia-ebpf"; "rw"),
			bind("/etc/passwd"; "/etc/passwd"; "ro"),
			bind("/etc/os-release"; "/etc/os-release"; "ro"),
			bind("/etc/machine-id"; "/etc/machine-id"; "ro") ],
		  linux: {namespaces: [{type: "mount"}]} }' >"$work/bundle/config.json"
}

run() {
	runc --root "$work/state" run --bundle "$work/bundle" "$name"
}

config --version
check "it tells its version" test "$(run)" = "sekoia-ebpf $(sed -n 's/^VERSION := //p' "$top/Makefile")"
net=$((RANDOM % 230 + 20))
config --config /dev/null -o stdout --collector-bpf-dir "$pins" --flows-loopback yes --journal-enable no --kernel-log no
run >"$work/out" 2>"$work/err" &
pid=$!
check "it starts" wait_for 30 "grep -q ': ready' '$work/err'"
"$top/build/static/tests/peers/emit" --net $net --count 50
check "it sees the host's flows" wait_for 30 "[ \$(grep -c '\"sourceIPv4Address\":\"127\\.$net\\.' '$work/out') -eq 100 ]"
check "it names their process" grep -q "\"sourceIPv4Address\":\"127\\.$net\\..*\"name\":\"emit\"" "$work/out"
runc --root "$work/state" kill "$name" INT 2>/dev/null || true
status=0
wait $pid || status=$?
check "it stops cleanly" test $status = 0
check "its books balance" grep -q '^books: output.stdout .*waiting=0' "$work/err"
