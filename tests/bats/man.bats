#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What is said of options and commands in different places is the same: --help,
# the manual page, the sample file, the completions, README and docs. And the
# completions complete, in a bash and a zsh.

load ../lib/common

setup() {
	common_setup
	MAN=$O/man/sekoia-ebpf.8
	BASH_COMPLETION=$O/completions/sekoia-ebpf.bash
	ZSH_COMPLETION=$O/completions/_sekoia-ebpf
	"$SEKOIA" --help >"$T/help"
}

teardown() {
	common_teardown
}

# same WHAT A B: two files of sorted lines.
same() {
	diff -u "$2" "$3" || { echo "$1 differ"; return 1; }
	[ -s "$2" ]
}

help_flags() {
	grep -oE '^  (-.,|   ) --[a-z0-9-]+' "$T/help" | grep -oE -- '--[a-z0-9-]+' | sort -u
}

help_commands() {
	sed -n '/^$/,/^\[/p' "$T/help" | grep -oE '^  [a-z][a-z0-9-]*' | grep -v sudo | tr -d ' ' | sort -u
}

# "section.key" of every line of the sample file.
sample_keys() {
	awk '/^\[/ { section = substr($1, 2, length($1) - 2) }
		/^#[a-z_0-9]+ = / { print section "." substr($1, 2) }' "$TOP/config/sekoia-ebpf.conf" | sort -u
}

# Of every option: SEKOIA_ and the name of the flag.
variables() {
	help_flags | grep -vxE -- '--(config|help|version|json|once)' | sed 's/^--/SEKOIA_/' | tr 'a-z-' 'A-Z_' | sort -u
}

# The man page as troff's input has it, with plain hyphens.
man_text() {
	sed 's/\\-/-/g; s/\\f[BIR]//g' "$MAN"
}

@test "texts: the flags of the help, the manual and the completions are the same" {
	help_flags >"$T/of-help"
	[ "$(wc -l <"$T/of-help")" -ge 40 ]
	man_text | grep -A1 '^\.TP$' | grep -oE -- '--[a-z0-9-]+' | sort -u >"$T/of-man"
	same "help and manual" "$T/of-help" "$T/of-man"
	sed -n "/^_sekoia_ebpf_flags='/,/'\$/p" "$BASH_COMPLETION" | grep -oE -- '--[a-z0-9-]+' | sort -u >"$T/of-bash"
	same "help and bash" "$T/of-help" "$T/of-bash"
	grep -oE -- "^[[:space:]]+'(\(|--)[^[]*" "$ZSH_COMPLETION" | grep -oE -- '--[a-z0-9-]+' | sort -u >"$T/of-zsh"
	same "help and zsh" "$T/of-help" "$T/of-zsh"
}

@test "texts: the commands of the help, the manual and the completions are the same" {
	local command

	help_commands >"$T/of-help"
	[ "$(wc -l <"$T/of-help")" -ge 3 ]
	man_text | sed -n '/^\.SH COMMANDS/,/^\.SH CONF/p' | grep -A1 '^\.TP$' | grep -oE '^[a-z][a-z0-9-]*' |
		sort -u >"$T/of-man"
	same "help and manual" "$T/of-help" "$T/of-man"
	sed -n "s/^_sekoia_ebpf_commands='\(.*\)'/\1/p" "$BASH_COMPLETION" | tr ' ' '\n' | sort -u >"$T/of-bash"
	same "help and bash" "$T/of-help" "$T/of-bash"
	sed -n '/^_sekoia_ebpf_commands()/,/^}/p' "$ZSH_COMPLETION" | sed -n "s/^[[:space:]]*'\([a-z0-9-]*\):.*/\1/p" |
		sort -u >"$T/of-zsh"
	same "help and zsh" "$T/of-help" "$T/of-zsh"
	# And the README knows them.
	while read -r command; do
		grep -q "sekoia-ebpf .*$command\|\`$command\`" "$TOP/README.md" || { echo "README: no $command"; return 1; }
	done <"$T/of-help"
}

@test "texts: the keys of the sample file and of the manual are the same, and so are the variables" {
	sample_keys >"$T/of-sample"
	[ "$(wc -l <"$T/of-sample")" -ge 35 ]
	man_text | sed -n 's/^SEKOIA_[A-Z_0-9]*, or \([a-z_0-9]*\) in \[\([a-z0-9]*\)\]$/\2.\1/p' | sort -u >"$T/of-man"
	same "sample and manual" "$T/of-sample" "$T/of-man"
	# A variable is named after its flag.
	variables >"$T/of-help"
	man_text | sed -n 's/^\(SEKOIA_[A-Z_0-9]*\), or.*/\1/p' | sort -u >"$T/of-man"
	same "flags and variables" "$T/of-help" "$T/of-man"
}

# Lines that speak of other programs have flags of theirs.
OTHERS='docker|podman|kubectl|helm|systemctl|journalctl|curl|git |qemu|setpriv|openssl|apt|rpm|dpkg|bpftool|mandoc|clang|tests/|--cap-add|intake '

@test "texts: each flag, variable and key that README and docs mention exists" {
	local word

	help_flags >"$T/flags"
	sample_keys >"$T/keys"
	# --spool-max-bytes and the like, where sekoia-ebpf is spoken of.
	grep -hvE "$OTHERS" "$TOP/README.md" "$TOP"/docs/*.md | grep -oE -- '(^|[^a-zA-Z0-9-])--[a-z][a-z0-9-]+' |
		grep -oE -- '--[a-z0-9-]+' | sort -u >"$T/mentioned"
	[ "$(wc -l <"$T/mentioned")" -ge 8 ]
	comm -23 "$T/mentioned" "$T/flags" | diff /dev/null - || { echo "no such flags"; return 1; }

	{
		variables
		echo SEKOIA_CONFIG
	} | sort -u >"$T/variables"
	grep -ohE 'SEKOIA_[A-Z_]+' "$TOP/README.md" "$TOP"/docs/*.md | sort -u >"$T/mentioned"
	[ -s "$T/mentioned" ]
	comm -23 "$T/mentioned" "$T/variables" | diff /dev/null - || { echo "no such variables"; return 1; }

	# `spool.max_bytes`: in code, of a section that there is.
	for word in $(grep -ohE '`[a-z][a-z0-9]*\.[a-z_]+`' "$TOP/README.md" "$TOP"/docs/*.md | tr -d '`' | sort -u); do
		grep -q "^${word%%.*}\." "$T/keys" || continue
		[[ $word == *.c || $word == *.h || $word == *.md ]] && continue
		grep -qx "$word" "$T/keys" || [[ $word =~ ^(kernel|output)\.(flows|journal|https|relp|syslog|release|btf|bpffs|cgroup|lockdown|memlock)$|^collector\.running$ ]] ||
			{ echo "no such key: $word"; return 1; }
	done
}

@test "texts: each make target and each file that README and docs link to exists" {
	local word file

	while IFS= read -r word; do
		grep -qE "^$word:" "$TOP/Makefile" || { echo "no such target: $word"; return 1; }
	done < <(grep -ohE '`make [a-z-]+' "$TOP/README.md" "$TOP"/docs/*.md | sed 's/.make //' | sort -u)
	for file in "$TOP/README.md" "$TOP"/docs/*.md; do
		while IFS= read -r word; do
			[ -e "$(dirname "$file")/$word" ] || { echo "$file: no such file: $word"; return 1; }
		done < <(grep -oE '\]\([^)#]+' "$file" | cut -c3- | grep -v '^http')
	done
}

@test "man: sekoia-ebpf(8) is good troff, in both readers" {
	command -v mandoc >/dev/null || skip "no mandoc"
	mandoc -T lint -W warning "$MAN"
	LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$MAN" >"$T/page" 2>"$T/warnings"
	[ ! -s "$T/warnings" ]
	# One page of 80 columns that says how to leave and what it means.
	[ "$(LC_ALL=C.UTF-8 grep -cE '^.{81}' "$T/page")" -eq 0 ]
	grep -q '^EXIT STATUS' "$T/page"
	grep -q -- '--flows-active-timeout TIME' "$T/page"
	[ "$(man_text | grep -c 'GENERATED\|(null)')" -eq 0 ]
}

# complete WORD...: what bash would offer for the last word.
complete_bash() {
	bash --norc --noprofile -c '
		source "$1"
		shift
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		COMPREPLY=()
		_sekoia_ebpf
		printf "%s\n" "${COMPREPLY[@]}"' bash "$BASH_COMPLETION" "$@"
}

@test "completion: bash: options, values, files, commands" {
	shellcheck -s bash "$BASH_COMPLETION" || ! command -v shellcheck
	[ "$(complete_bash sekoia-ebpf --output-po)" = --output-port ]
	[ "$(complete_bash sekoia-ebpf --region fr | xargs)" = "fra1 fra2" ]
	[ "$(complete_bash sekoia-ebpf --region = fr | xargs)" = "fra1 fra2" ]
	[ "$(complete_bash sekoia-ebpf --region = | xargs)" = "fra1 fra2 mco1 uae1 usa1 sgp1" ]
	[ "$(complete_bash sekoia-ebpf -o s | xargs)" = "syslog stdout" ]
	[ "$(complete_bash sekoia-ebpf --flows-loopback y)" = yes ]
	[ "$(complete_bash sekoia-ebpf ch)" = check ]
	[ "$(complete_bash sekoia-ebpf check --js)" = --json ]
	[ "$(complete_bash sekoia-ebpf --region fra1 ch)" = check ]
	[ -z "$(complete_bash sekoia-ebpf check ch)" ]
	[ "$(complete_bash sekoia-ebpf spool v)" = verify ]
	[ -z "$(complete_bash sekoia-ebpf --intake-key a)" ]
	[ "$(complete_bash sekoia-ebpf --shipper-user nobo)" = nobody ]
	mkdir "$T/a folder"
	touch "$T/a file"
	[ "$(complete_bash sekoia-ebpf --tls-ca "$T/a f" | wc -l)" -eq 2 ]
	[ "$(complete_bash sekoia-ebpf --spool-dir "$T/a f")" = "$T/a folder" ]
}

# type_into SHELL SETUP KEYS WANT: a real one, on a terminal of its own.
type_into() {
	local i

	mkfifo "$T/keys"
	script -qfec "$1" "$T/screen" <"$T/keys" >/dev/null 2>&1 3>&- &
	KEEP_PIDS+=($!)
	exec 9>"$T/keys"
	printf '%s; echo rea""dy\n' "$2" >&9
	wait_until 'grep -q ready "$T/screen"'
	printf '%b' "$3" >&9
	for ((i = 0; i < 100; i++)); do
		grep -qF -- "$4" "$T/screen" && break
		sleep 0.1
	done
	printf '\003exit\n' >&9
	exec 9>&-
	cat -v "$T/screen"
	grep -qF -- "$4" "$T/screen"
	rm "$T/keys"
}

@test "completion: bash: with the Tab key" {
	type_into 'bash --norc --noprofile -i' "source '$BASH_COMPLETION'; PS1='> '" \
		'sekoia-ebpf --flows-act\t1s cle\t' 'sekoia-ebpf --flows-active-timeout 1s cleanup '
}

@test "completion: zsh: with the Tab key" {
	command -v zsh >/dev/null || skip "no zsh"
	zsh -n "$ZSH_COMPLETION"
	type_into 'env TERM=dumb zsh -f -i' \
		"fpath=('${ZSH_COMPLETION%/*}' \$fpath); autoload -Uz compinit; compinit -u -d '$T/dump'; unsetopt prompt_cr; PS1='> '" \
		'sekoia-ebpf --flows-act\t1s cle\t' '=1s cleanup '
}

@test "install: everything is where it is looked for" {
	local file

	make -C "$TOP" -s install O="$O" DESTDIR="$T/root" PREFIX=/usr >/dev/null
	for file in usr/sbin/sekoia-ebpf usr/share/man/man8/sekoia-ebpf.8 \
		usr/share/bash-completion/completions/sekoia-ebpf \
		usr/share/zsh/site-functions/_sekoia-ebpf etc/sekoia-ebpf/sekoia-ebpf.conf; do
		[ -s "$T/root/$file" ]
	done
	[ "$(stat -c %a "$T/root/etc/sekoia-ebpf/sekoia-ebpf.conf")" = 600 ]
	man -M "$T/root/usr/share/man" -w sekoia-ebpf
	"$T/root/usr/sbin/sekoia-ebpf" --version
}
