# SPDX-License-Identifier: Apache-2.0
# A disk that is full, gone or read-only under the spool: it is said once, the
# events wait in the kernel, and all of them arrive, once, when it is mended.

load ../lib/common
load ../lib/faults
load ../lib/journal

setup() {
	faults_setup
	mkdir "$T/disk"
	LOOPS=()
}

teardown() {
	common_teardown
	local loop
	for loop in "${LOOPS[@]}"; do
		losetup -d "$loop" 2>/dev/null || true
	done
}

small_disk() {
	mount -t tmpfs -o "size=$1,mode=755" tmpfs "$T/disk"
	DAEMON_ARGS+=(--spool-dir "$T/disk/spool")
}

# Everything that is free goes to another file.
fill_disk() {
	dd if=/dev/zero of="$T/disk/filler" bs=16k oflag=append conv=notrunc 2>/dev/null || true
	[ "$(stat -f -c %a "$T/disk")" -eq 0 ]
}

stuck='can not be written|events wait in the kernel'

@test "disk full: said once, the kernel keeps the events, all arrive when there is room" {
	small_disk 64m
	peer_start https
	daemon_start https
	emit 20
	wait_for_flows
	# While nothing is acknowledged nothing makes room, whatever else this host does.
	peer_stop KILL
	fill_disk
	emit 1000
	wait_until '[ "$(log_count "No space left on device; events wait in the kernel")" -eq 1 ]'
	# Thirty more attempts, and not a word about them.
	sleep 3
	[ "$(log_count "No space left")" -eq 1 ]
	[ "$(log_count 'written again')" -eq 0 ]
	kill -0 "$DAEMON_PID"
	[ -n "$(shipper_pid)" ]
	emit 20
	rm "$T/disk/filler"
	peer_start https
	wait_for_flows
	[ "$(log_count 'spool .*: written again after [0-9]+ s')" -eq 1 ]
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
	[ "$(books kernel.flows ring_full)" -eq 0 ]
	[ "$(books spool commit_errors)" -gt 0 ]
}

@test "disk full: the collector is killed meanwhile; the next one has every event once" {
	small_disk 64m
	peer_start https
	daemon_start https
	emit 20
	wait_for_flows
	peer_stop KILL
	fill_disk
	emit 1000
	wait_until '[ "$(log_count "No space left")" -eq 1 ]'
	daemon_kill
	emit 20
	# Started on the full disk, too.
	daemon_start https
	wait_until '[ "$(log_count "No space left")" -eq 2 ]'
	emit 20
	[ "$(log_count 'written again')" -eq 0 ]
	rm "$T/disk/filler"
	peer_start https
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "disk full: stopped meanwhile, what the spool has not stays in the kernel" {
	small_disk 64m
	peer_start https
	daemon_start https --collector-stop-timeout 1s
	emit 20
	wait_for_flows
	peer_stop KILL
	fill_disk
	emit 1000
	wait_until '[ "$(log_count "No space left")" -eq 1 ]'
	if daemon_stop; then false; fi
	[ "$(log_count 'what is not in it stays in the kernel')" -eq 1 ]
	emit 20
	rm "$T/disk/filler"
	peer_start https
	daemon_start https --collector-stop-timeout 30s
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
	[ ! -e "$BPF_DIR" ] || [ -z "$(ls "$BPF_DIR")" ]
}

lines_arrived() {
	grep -Eo "disk-full-[0-9]+" "$T/received" | sort -u | wc -l
}

lines_in_spool() {
	"$SEKOIA" --config /dev/null spool cat "$T/disk/spool" | grep -Eo "disk-full-[0-9]+" | sort -u | wc -l
}

# One sample of a stream can need more room than a batch has.
@test "disk full: in the midst of the lines of one sample" {
	need_journald
	small_disk 64m
	DAEMON_ARGS+=(--flows-enable no --journal-enable yes)
	peer_start https
	daemon_start https
	journald_start
	in_room systemd-cat -t disk-full seq -f "disk-full-%g" 1 100
	wait_until 'peer_summary received >/dev/null; [ "$(grep -Eo "disk-full-[0-9]+" "$T/received" | sort -u | wc -l)" -eq 100 ]'
	fill_disk
	# One read of journald's, and more than one batch: each line is a kilobyte of JSON.
	seq -f "disk-full-%g" 101 2500 >"$T/lines"
	in_room systemd-cat -t disk-full dd if="$T/lines" bs=64k status=none
	wait_until '[ "$(log_count "No space left")" -eq 1 ]'
	rm "$T/disk/filler"
	wait_until 'peer_summary received >/dev/null; [ "$(grep -Eo "disk-full-[0-9]+" "$T/received" | sort -u | wc -l)" -eq 2500 ]'
	daemon_stop
	peer_stop
	assert_accounts_balance
	[ "$(books output.https damaged)" -eq 0 ]
	[ "$(books output.https dropped)" -eq 0 ]
	[ "$(grep -Eo "disk-full-[0-9]+" "$T/received" | sort | uniq -d | wc -l)" -eq 0 ]
}

# The first batches of the sample are in the spool, and the collector dies before the others.
@test "disk full: killed in the midst of the lines of one sample; each comes once" {
	need_journald
	small_disk 64m
	DAEMON_ARGS+=(--flows-enable no --journal-enable yes)
	peer_start https
	daemon_start https
	journald_start
	in_room systemd-cat -t disk-full seq -f "disk-full-%g" 1 100
	wait_until 'peer_summary received >/dev/null; [ "$(lines_arrived)" -eq 100 ]'
	# Room for a batch, but not for all of the sample, and nobody takes any of it.
	peer_stop KILL
	dd if=/dev/zero of="$T/disk/filler" bs=64k count=$(($(stat -f -c '%a * %S' "$T/disk") / 65536 - 14)) 2>/dev/null
	seq -f "disk-full-%g" 101 2500 >"$T/lines"
	in_room systemd-cat -t disk-full dd if="$T/lines" bs=64k status=none
	wait_until '[ "$(log_count "No space left")" -eq 1 ]'
	echo "$(lines_in_spool) of them are in the spool"
	[ "$(lines_in_spool)" -lt 2400 ]
	daemon_kill
	rm "$T/disk/filler"
	peer_start https
	daemon_start https
	wait_until 'peer_summary received >/dev/null; [ "$(lines_arrived)" -eq 2500 ]'
	daemon_stop
	peer_stop
	assert_accounts_balance
	[ "$(books output.https damaged)" -eq 0 ]
	# Under one number each: its death made none of them twice.
	jq -r 'select(.log.logger == "journal") | "\(.event.id) \(.event.reason)"' "$T/received" |
		sort -u | cut -d' ' -f2 | grep disk-full- | sort | uniq -d >"$T/twice"
	[ ! -s "$T/twice" ]
}

@test "spool directory deleted while running: made again, nothing lost" {
	peer_start https
	DAEMON_ARGS+=(--spool-dir "$T/disk/parent/spool")
	daemon_start https
	emit 50
	wait_for_flows
	rm -r "$T/disk/parent/spool"
	emit 50
	wait_for_flows
	rm -r "$T/disk/parent"
	emit 50
	wait_for_flows
	[ "$(log_count 'spool .*: written again')" -le 2 ]
	[ "$(log_count "$stuck")" -le 2 ]
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
	# Whoever comes next finds it in order.
	peer_start https
	daemon_start https
	emit 10
	daemon_stop
	peer_stop
	assert_all_delivered
}

@test "spool directory deleted while a stream is logging: its state goes to the new one" {
	need_journald
	DAEMON_ARGS+=(--journal-enable yes --spool-dir "$T/disk/parent/spool")
	peer_start https
	daemon_start https
	journald_start
	in_room systemd-cat -t gone echo gone-1
	wait_until 'peer_summary received >/dev/null; grep -q gone-1 "$T/received"'
	rm -r "$T/disk/parent"
	in_room systemd-cat -t gone echo gone-2
	wait_until 'peer_summary received >/dev/null; grep -q gone-2 "$T/received"'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(grep -c gone-2 "$T/received")" -eq 1 ]
}

# mount_image FILE OPTIONS: at $T/disk. LOOP is its device.
mount_image() {
	modprobe -q loop 2>/dev/null || true
	LOOP=$(losetup -f --show "$1") || skip "needs a loop device"
	LOOPS+=("$LOOP")
	mount -o "$2" "$LOOP" "$T/disk" || skip "needs ext4"
}

# What a file system does when its disk fails: nothing can be written any more.
@test "read-only: a disk that failed under the spool" {
	truncate -s 32M "$T/image"
	mkfs.ext4 -q -F "$T/image" 2>/dev/null || skip "needs mkfs.ext4"
	mount_image "$T/image" errors=remount-ro
	DAEMON_ARGS+=(--spool-dir "$T/disk/spool")
	peer_start https
	daemon_start https
	emit 20
	wait_for_flows
	sync -f "$T/disk"
	echo 1 >"/sys/fs/ext4/${LOOP#/dev/}/trigger_fs_error"
	emit 20
	wait_until '[ "$(log_count "$stuck")" -eq 1 ]'
	grep -q 'Read-only file system; events wait in the kernel' "$T/daemon.log"
	sleep 1
	[ "$(log_count "$stuck")" -eq 1 ]
	daemon_kill
	emit 20

	# The disk is changed for another one, with what was on it; not writable yet.
	cp "$T/image" "$T/image2"
	umount -l "$T/disk"
	fsck.ext4 -fp "$T/image2" >/dev/null || [ $? -eq 1 ]
	mount_image "$T/image2" ro
	daemon_refuses 1 https
	[ "$(log_count 'error: spool .*: Read-only file system; choose a folder')" -eq 1 ]
	mount -o remount,rw "$T/disk"
	daemon_start https
	emit 20
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "read-only: remounted between two runs, and back" {
	small_disk 64m
	peer_start https
	daemon_start https
	emit 20
	wait_for_flows
	daemon_kill
	wait_until '[ -z "$(fuser -m "$T/disk" 2>/dev/null)" ]'
	emit 20
	mount -o remount,ro "$T/disk"
	daemon_refuses 1 https
	[ "$(log_count 'error: spool .*: Read-only file system; choose a folder')" -eq 1 ]
	mount -o remount,rw "$T/disk"
	daemon_start https
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "a spool that the shipper's user can not reach: said at start, with the cure" {
	peer_start https
	mkdir -m 700 "$T/disk/closed"
	daemon_refuses 1 https --spool-dir "$T/disk/closed/spool"
	grep -q "error: spool $T/disk/closed/spool: the shipper's user nobody may not enter $T/disk/closed (mode 0700, owner 0:0); to mend it: chmod o+x $T/disk/closed, or choose another spool.dir" \
		"$T/daemon.log" || grep -q "the shipper's user sekoia-ebpf may not enter $T/disk/closed" "$T/daemon.log"
	[ -z "$(find "$BPF_DIR" -name links 2>/dev/null)" ]
	chmod o+x "$T/disk/closed"
	daemon_start https --spool-dir "$T/disk/closed/spool"
	emit 5
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
}
