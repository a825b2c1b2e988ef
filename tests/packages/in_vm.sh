#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs inside the machine, as a unit of its systemd: installs, starts, upgrades, hurts and
# removes the package. Each finding is a line "ok WHAT" or "not ok WHAT" on the console,
# "# ..." explains, "vm: done" is the last one.
# shellcheck disable=SC2016 # wait_for evaluates its command
exec >/dev/console 2>&1 </dev/null
cd /test || exit 1
unit=sekoia-ebpf
key=0123456789abcdefABCDEF0123456789
emitted=0
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

finish() {
	echo "vm: done"
	sleep 0.5
	systemctl poweroff -ff
}
trap finish EXIT

check() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@"; then
		echo "ok $what"
	else
		echo "not ok $what"
		false
	fi
}

same() { # GOT WANT
	[ "$1" = "$2" ] || {
		echo "# got \"$1\", not \"$2\""
		false
	}
}

wait_for() { # SECONDS COMMAND
	local end=$((SECONDS + $1))
	until eval "$2"; do
		[ "$SECONDS" -lt "$end" ] || {
			echo "# not so after $1 s: $2"
			return 1
		}
		sleep 0.2
	done
}

property() {
	systemctl show -p "$1" --value $unit
}

active() {
	systemctl -q is-active $unit
}

main_status() { # FIELD, of the main process
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$(property MainPID)/status"
}

logged() {
	journalctl -q -u $unit -o cat --no-pager | grep -qE -- "$1"
}

install_version() {
	dpkg -i "/test/$1.deb" >/tmp/dpkg.log 2>&1 || {
		sed 's/^/# /' /tmp/dpkg.log
		false
	}
}

emit() { # N [RATE]
	/test/emit --net 77 --first $((emitted + 1)) --count "$1" --rate "${2:-0}"
}

# "ADDRESS DIRECTION ID" of each that arrived.
received() {
	kill -USR1 "$(cat intake.pid)" 2>/dev/null
	sed -n 's/.*"sourceIPv4Address":"\(127\.77\.[0-9.]*\)".*"flowDirection":\([01]\).*"event":{"id":"\([^"]*\)".*/\1 \2 \3/p' received
}

flows() {
	received | cut -d' ' -f1,2 | sort -u | wc -l
}

all_flows() { # WHAT: each one's two records have arrived, each with one id
	wait_for 60 '[ "$(flows)" -eq $((2 * emitted)) ]'
	check "$1: no flow is missing" same "$(flows)" $((2 * emitted))
	check "$1: none has two ids" same "$(received | sort -u | wc -l)" $((2 * emitted))
}

echo "vm: $(uname -r), $(systemctl --version | head -n 1)"
mount | grep -q ' /sys/fs/bpf ' || echo "# no bpffs: systemd did not mount one"

# ------------------------------------------------------------------ installed
check "install" install_version old
check "install: the user is there" getent passwd sekoia-ebpf
check "install: no key, so not started" same "$(property ActiveState)/$(systemctl is-enabled $unit)" inactive/disabled
check "install: the configuration is closed to others" same "$(stat -c %a:%U /etc/sekoia-ebpf/sekoia-ebpf.conf)" 640:root
systemctl start $unit 2>/dev/null
check "no key: told" wait_for 10 'logged "the intake key is missing"'
check "no key: not tried again and again" same "$(property ActiveState) $(property NRestarts) $(property ExecMainStatus)" "failed 0 2"

/test/intake --https 8443 --cert certs/server.pem --tls-key certs/server.key --key $key \
	--write received --summary summary >/tmp/intake.log 2>&1 &
echo $! >intake.pid
(umask 077 && echo $key >/etc/sekoia-ebpf/intake-key)
cp certs/ca.pem /etc/sekoia-ebpf/ca.pem
cat >>/etc/sekoia-ebpf/sekoia-ebpf.conf <<-END
	[output]
	host = localhost
	port = 8443
	retry_max = 500ms
	requests_per_second = 0
	[tls]
	ca = /etc/sekoia-ebpf/ca.pem
	[flows]
	loopback = yes
END

# ------------------------------------------------------------------ started
if ! check "start" systemctl start $unit; then
	journalctl -q -u $unit -o cat --no-pager | sed 's/^/# /'
	exit 1
fi
check "start: ready was told" same "$(property StatusText)" "flows journal events kernel-log to https"
check "sandbox: capabilities" same "$(main_status CapBnd | tr -d 0)" "$(main_status CapEff | tr -d 0)"
echo "# CapBnd $(main_status CapBnd), CapEff $(main_status CapEff)"
check "sandbox: seccomp and no_new_privs" same "$(main_status Seccomp)/$(main_status NoNewPrivs)" 2/1
# Whoever of the unit's processes is not root.
shippers() {
	local pid
	while read -r pid; do
		grep -qs '^Uid:	0	' "/proc/$pid/status" || echo "$pid"
	done <"/sys/fs/cgroup/system.slice/$unit.service/cgroup.procs"
}
check "sandbox: a shipper that is not root" wait_for 10 '[ "$(shippers | wc -l)" -ge 1 ]'
for pid in $(shippers); do
	check "sandbox: shipper: user, no capability" same \
		"$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p; s/^CapEff:\t0*\([0-9a-f]\)/\1/p' "/proc/$pid/status" | xargs)" "$(id -u sekoia-ebpf) 0"
done
check "start: the key is in no environment" same "$(cat /sys/fs/cgroup/system.slice/$unit.service/cgroup.procs |
	xargs -I{} grep -lac $key /proc/{}/environ /proc/{}/cmdline 2>/dev/null)" ""
emit 200 || echo "# emit failed"
emitted=200
echo "from a service" | systemd-cat -t vmtest
echo "<4>a line of the kernel" >/dev/kmsg
all_flows "start"
check "start: journald's line" wait_for 20 'received >/dev/null; grep -q "from a service" received'
check "start: the kernel's line" wait_for 20 'received >/dev/null; grep -q "a line of the kernel" received'
check "start: nothing was refused to it" same "$(journalctl -q -u $unit -o cat --no-pager | grep -E 'error:|not permitted|denied' | grep -v 'intake key' | head -n 3)" ""
systemd-analyze security $unit --no-pager | tail -n 1 | sed 's/[^ -~]//g; s/^/# /'

# ------------------------------------------------------------------ upgraded
before=$(property MainPID)
install_version new &
upgrade=$!
# Events before, during and after it.
rounds=0
while kill -0 $upgrade 2>/dev/null || [ $rounds -lt 10 ]; do
	emit 50 50 || echo "# emit failed"
	emitted=$((emitted + 50))
	rounds=$((rounds + 1))
done
check "upgrade" wait $upgrade
check "upgrade: the new version is there" same "$(dpkg-query -W -f '${Version}' $unit)" "$(dpkg-deb -f /test/new.deb Version)"
check "upgrade: another process" test "$before" != "$(property MainPID)"
check "upgrade: it runs" active
check "upgrade: the configuration is as it was" grep -q '^port = 8443' /etc/sekoia-ebpf/sekoia-ebpf.conf
check "upgrade: the capture was taken over" same "$(property StatusText)" "flows journal events kernel-log to https; resumed from the kernel's rings"
all_flows "upgrade"

# ------------------------------------------------------------------ hurt
mkdir -p /etc/systemd/system/$unit.service.d
printf '[Service]\nWatchdogSec=4s\n' >/etc/systemd/system/$unit.service.d/test.conf
/usr/lib/sekoia-ebpf/handover
check "watchdog: it runs" wait_for 20 active
before=$(property MainPID)
sleep 6
check "watchdog: one that is well is left alone" same "$(property MainPID)" "$before"
kill -STOP "$before"
emit 100
emitted=$((emitted + 100))
check "watchdog: one that hangs is started again" wait_for 40 '[ "$(property MainPID)" != $before ] && active'
check "watchdog: told" wait_for 10 'journalctl -q --no-pager | grep -q "Watchdog timeout"'
all_flows "watchdog"
before=$(property MainPID)
kill -KILL "$before"
emit 100
emitted=$((emitted + 100))
check "kill -9: started again" wait_for 40 '[ "$(property MainPID)" != $before ] && active'
all_flows "kill -9"

# ------------------------------------------------------------------ removed
check "remove" dpkg -r $unit >/dev/null
check "remove: stopped" same "$(systemctl is-active $unit)" inactive
books=$(journalctl -q -o cat --no-pager -t $unit | grep 'books: output.https' | tail -n 1)
echo "# $books"
check "remove: a clean stop, with its books" grep -q 'waiting=0' <<<"$books"
check "remove: nothing is left in the kernel" same "$(ls /sys/fs/bpf/sekoia-ebpf 2>/dev/null)" ""
check "remove: the configuration stays" test -e /etc/sekoia-ebpf/sekoia-ebpf.conf
check "remove: the spool stays" test -d /var/lib/sekoia-ebpf/spool
rm -f /etc/sekoia-ebpf/ca.pem
check "purge" dpkg -P $unit >/dev/null
check "purge: nothing is left" same "$(ls -d /etc/sekoia-ebpf /var/lib/sekoia-ebpf /var/log/sekoia-ebpf 2>/dev/null)" ""
