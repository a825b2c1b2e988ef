#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [KERNEL...|all]: boots each kernel of tests/vm/kernels under qemu with
# an initramfs that holds busybox, tests/vm/init, the static daemon and the
# static tests of the kernel side, and tells what init found, as TAP. The
# console of each machine stays in build/vm/KERNEL.log. As many machines as
# there are CPUs run at once. Those of arm64 take what "deploy/deps.sh arm64" installs
# and ARCH=arm64 builds.
#
# Three traps of the emulation. On a busy host the kernel may find that its timer
# does not tick (seen on 5.10): it is told not to look. And with qemu 7.2 one boot
# of 6.12 in seven died before init: threads see code that the kernel patches too
# late, so one thread runs both CPUs of a machine; and an interrupt behind
# cmpxchg16b finds garbage in the flags, so there is no such instruction.
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
vm=${VM_DIR:-$top/build/vm}
seconds=${VM_SECONDS:-900}
jobs=${VM_JOBS:-$(nproc)}
rows=$top/tests/vm/kernels

die() {
	echo "tests/vm: $*" >&2
	exit 1
}

command -v cpio >/dev/null || die "no cpio: apt-get install cpio"
busybox=$(command -v busybox) || die "no busybox: apt-get install busybox-static"
readelf -l "$busybox" 2>/dev/null | grep -q INTERP &&
	die "$busybox is not static: apt-get install busybox-static"

names() { # WORD: default, all, or any, those that only run when named among them
	awk -v which="$1" '$1 !~ /^#/ && NF && (which == "any" || $2 == which ||
		(which == "all" && $2 != "named")) { print $1 }' "$rows"
}

kernels=()
for word in "${@:-default}"; do
	case $word in
	all | default) mapfile -t -O "${#kernels[@]}" kernels < <(names "$word") ;;
	*)
		names any | grep -qxF "$word" || die "$word: not in tests/vm/kernels: $(names any | xargs)"
		kernels+=("$word")
		;;
	esac
done

mkdir -p "$vm"
work=$(mktemp -d "$vm/run.XXXXXX")
trap 'rm -rf "$work"; trap - EXIT; kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit 1' INT TERM

arch_of() { # KERNEL
	awk -v name="$1" '$1 == name { print $4 }' "$rows"
}

initrd() { # ARCH BUSYBOX STATIC
	local root=$work/$1
	[[ -x $3/sekoia-ebpf ]] || die "no $3/sekoia-ebpf: make static${1/amd64/}"
	mkdir -p "$root/bin"
	cp "$2" "$root/bin/busybox"
	cp "$top/tests/vm/init" "$root/init"
	cp "$3/sekoia-ebpf" "$3"/tests/unit/test_{capture*,sandbox} \
		"$3"/tests/peers/acts "$root/bin/"
	if [[ $1 == arm64 ]]; then
		aarch64-linux-gnu-strip "$root"/bin/{test_*,acts}
	else
		strip "$root"/bin/{test_*,acts}
	fi
	(cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/$1.gz"
}

# The same for all, and behind it a module of this kernel's.
with_module() { # KERNEL ARCH
	mkdir -p "$work/$1/lib"
	[[ ! -s $vm/$1.dummy.ko ]] || cp "$vm/$1.dummy.ko" "$work/$1/lib/dummy.ko"
	{
		cat "$work/$2.gz"
		(cd "$work/$1" && find . | cpio -o -H newc --quiet) | gzip -1
	} >"$work/$1.initrd"
}

boot() { # KERNEL
	local vmlinuz arch qemu
	arch=$(arch_of "$1")
	vmlinuz=$("$top/tests/vm/fetch.sh" "$1" 2>"$work/$1.why") || return
	case $arch in
	arm64)
		initrd arm64 "$vm/$1.busybox" "$top/build/arm64/static" 2>"$work/$1.why" || return
		qemu=(qemu-system-aarch64 -M virt -accel "tcg,thread=single" -cpu cortex-a72)
		;;
	*)
		qemu=(qemu-system-x86_64 -accel "tcg,thread=single" -cpu "max,cx16=off")
		;;
	esac
	with_module "$1" "$arch"
	command -v "${qemu[0]}" >/dev/null || {
		echo "no ${qemu[0]}: deploy/deps.sh ${arch/amd64/test}" >"$work/$1.why"
		return
	}
	timeout -k 5 "$seconds" "${qemu[@]}" -smp 2 -m 1024 \
		-nic none -nographic -no-reboot -kernel "$vmlinuz" -initrd "$work/$1.initrd" \
		-append "panic=-1 quiet $([[ $arch == arm64 ]] || echo console=ttyS0 no_timer_check)" \
		</dev/null >"$vm/$1.log" 2>&1
	[[ $? != 124 ]] || echo "longer than $seconds s" >"$work/$1.why"
}

# Prints this kernel's lines and adds them up.
n=0 passed=0 failed=0
point() { # ok|not ok, WHAT
	n=$((n + 1))
	if [[ $1 == ok ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	echo "$1 $n - $2"
}

tell() { # KERNEL
	local line before=$failed
	if [[ ! -e $vm/$1.log ]]; then
		point "not ok" "$1: boots"
		sed 's/^/# /' "$work/$1.why"
		return
	fi
	echo "# $1: $(tr -d '\r' <"$vm/$1.log" | sed -n 's/.*vm: kernel /Linux /p')"
	while IFS= read -r line; do
		case $line in
		"ok "*) point ok "$1: ${line#ok }" ;;
		"not ok "*) point "not ok" "$1: ${line#not ok }" ;;
		"#"*) echo "$line" ;;
		esac
	done < <(tr -d '\r' <"$vm/$1.log")
	if tr -d '\r' <"$vm/$1.log" | grep -qx 'vm: done'; then
		point ok "$1: ran to its end"
	else
		point "not ok" "$1: ran to its end"
		sed 's/^/# /' "$work/$1.why"
		tr -d '\r' <"$vm/$1.log" | tail -n 60 | sed 's/^/# | /'
	fi
	[[ $failed == "$before" ]] || echo "# $1: the whole console is in ${vm#"$top"/}/$1.log"
}

# Kernels by programs: ok, twin (another one does its work), spare (works, and
# another one is used), FAIL (something is lost without it).
table() {
	local name kernel state

	printf '#\n# %-24s' program
	printf '%-9s' "${kernels[@]}"
	printf '\n'
	for name in $(for kernel in "${kernels[@]}"; do
		tr -d '\r' <"$vm/$kernel.log" 2>/dev/null | sed -n 's/^hook \([a-z_]*\) .*/\1/p'
	done | awk '!seen[$0]++'); do
		printf '# %-24s' "$name"
		for kernel in "${kernels[@]}"; do
			state=$(tr -d '\r' <"$vm/$kernel.log" 2>/dev/null | sed -n "s/^hook $name //p")
			printf '%-9s' "${state:--}"
		done
		printf '\n'
	done
	echo '#'
}

# Kernels by features: works; twin (by another program, nothing is lost); missing (some of it is).
features() {
	local row name patterns kernel all=

	printf '#\n# %-24s' feature
	printf '%-9s' "${kernels[@]}"
	printf '\n'
	while IFS='|' read -r name patterns; do
		row=
		all+="${all:+|}$patterns"
		for kernel in "${kernels[@]}"; do
			row+=$(printf '%-9s' "$(tr -d '\r' <"$vm/$kernel.log" 2>/dev/null |
				awk -v which="^($patterns)\$" '$1 == "hook" && $2 ~ which { n++; state[$3]++ }
					END {
						word = state["twin"] ? "twin" : "works"
						if (state["FAIL"] + state["warn"]) word = "missing"
						print n ? word : "-"
					}')")
		done
		printf '# %-24s%s\n' "$name" "$row"
	done <<-END
		TCP flows|tcp_(set_state|destroy|reader|sweep)
		UDP and ICMP flows|packet_(egress|ingress|socket|sweep)|flood_sweep
		flows that go on (top)|(tcp|packet)_show
		flows open before us|tcp_find_open
		to the next version|(tcp_take_over_all|packet_take_over)
		names by DNS and TLS|names_.*
		journal|journal_.*
		processes by name|process_.*
		events: exec|event_exec
		events: exit|event_exit(_threads)?
		events: modules|event_module_.*
		events: OOM kills|event_oom
		events: signals|event_signal
		events: ptrace|(event|call)_ptrace
		events: BPF|(event|call)_bpf
		events: mounts|(event|call)_(mount|move_mount|umount)
		events: namespaces|(event|call)_(unshare|setns|clone)
		events: credentials|(event|call)_set(re|res)?[ug]id
		events: listen|(event|call)_listen
	END
	for kernel in "${kernels[@]}"; do
		tr -d '\r' <"$vm/$kernel.log" 2>/dev/null | sed -n 's/^hook \([a-z_]*\) .*/\1/p'
	done | sort -u | grep -vxE "$all" | sed 's/^/# of no feature: /'
	echo '#'
}

for kernel in "${kernels[@]}"; do
	[[ $(arch_of "$kernel") != amd64 || -e $work/amd64.gz ]] || initrd amd64 "$busybox" "$top/build/static"
done
for kernel in "${kernels[@]}"; do
	rm -f "$vm/$kernel.log"
	while (($(jobs -rp | wc -l) >= jobs)); do
		wait -n
	done
	boot "$kernel" &
done
wait
for kernel in "${kernels[@]}"; do
	tell "$kernel"
done
table
echo "1..$n"
features
echo "$passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
