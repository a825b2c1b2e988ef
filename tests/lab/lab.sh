#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# lab.sh short|long [CASE[:SENDER]...]: the fault laboratory. Each case does one
# thing to a sender (ours over https, relp and syslog; rsyslog's omfwd and
# omrelp) while a generator that knows the truth goes on, prints one line about
# it with exact counts, and ends with an error when ours lost or doubled
# anything. The table stays in build/lab/table.txt. "list" names the
# cases, "markdown" prints the table of the last run for docs/FAULTS.md.
#
# A case is a function of cases*.bash in a process of its own, which cleans up
# whatever happens. LAB_COUNT=N overrides how often the kills are done, LAB_JOBS
# is how many cases run at once (1); with LAB_APPEND the table of an earlier run grows.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cd "$top"
export LC_ALL=C.UTF-8

# What is run: NAME SENDERS TITLE; a sender with * is left out in the short form.
cases() {
	cat <<-'END'
		kills	https relp* syslog*	SIGKILL at random instants
		kill_sender	omfwd* omrelp* omfwd-disk* omrelp-disk*	SIGKILL of rsyslogd
		intake_killed	https* relp* syslog* omfwd* omrelp*	intake killed in mid-stream
		net_cut	https relp* syslog* omfwd* omrelp*	network cut: silence
		net_down	https* relp* syslog* omfwd* omrelp*	network cut: link down
		net_reset	https* relp* syslog omfwd* omrelp*	RST from a middlebox
		net_half_open	https* relp syslog* omfwd* omrelp*	peer gone without FIN
		net_nat	https* relp* syslog omfwd* omrelp*	NAT forgets the connection
		trickle	https relp* syslog* omfwd* omrelp*	intake reads 1 byte/s
		stall	https* relp* syslog* omfwd* omrelp*	intake stalls
		ack_late	https* relp* omrelp*	intake answers late
		ack_reorder	relp* omrelp*	intake answers in reverse
		ack_never	https* relp* omrelp*	intake never answers
		cert_expires	https relp* syslog* omfwd* omrelp*	certificate expires in mid-run
		disk_full	https* relp* syslog* omfwd* omrelp*	disk full
		spool_limit	https* relp* syslog*	spool at its limit
		spool_damage	https relp* syslog*	random blocks overwritten
		journal_flood	https*	journal flood beside flows
		upgrade	bats*	upgrade to another layout
	END
}

one() { # CASE SENDER TITLE
	set +o pipefail
	export CASE=$1 SENDER=$2 TITLE=$3
	# shellcheck source=/dev/null
	source "$here/lib.bash"
	for cases in "$here"/cases*.bash; do
		# shellcheck source=/dev/null
		source "$cases"
	done
	lab_setup
	trap lab_teardown EXIT
	trap 'exit 1' INT TERM
	"case_$CASE"
}

# One row of the table; what is known of it goes behind the numbers.
put() {
	printf '%-30s %-12s %7s %6s %6s %7s %6s  %s\n' "$@"
}

row_head() {
	put fault sender sent lost told repeats by-id note
}

# In the order of the cases. Each run is there, also one that was done again.
table() {
	local name title row

	row_head
	while IFS=$'\t' read -r name _ title; do
		while IFS='|' read -r -a row; do
			put "${row[@]}"
		done < <(awk -F'|' -v title="$title" 'index($1, title) == 1' "$lab/rows")
	done < <(cases)
}

# The same for docs/FAULTS.md: a line for the fault, then one for each sender.
markdown() {
	local name title row last=

	echo '| | sent | lost | told | repeats | by id |'
	echo '| --- | ---: | ---: | ---: | ---: | ---: |'
	while IFS=$'\t' read -r name _ title; do
		while IFS='|' read -r -a row; do
			[[ ${row[0]} = "$last" ]] || echo "| **${row[0]}** | | | | | |"
			last=${row[0]}
			echo "| ${row[1]}${row[7]:+; ${row[7]}} | ${row[2]} | ${row[3]} | ${row[4]} | ${row[5]} | ${row[6]} |"
		done < <(awk -F'|' -v title="$title" 'index($1, title) == 1' "$lab/rows")
	done < <(cases)
}

O=${O:-build}
[[ $O = /* ]] || O=$top/$O
lab=$O/lab

FORM=${1:-}
case $FORM in
one)
	shift
	FORM=$LAB_FORM
	one "$@"
	exit
	;;
list)
	cases
	exit
	;;
markdown)
	markdown
	exit
	;;
short | long) shift ;;
*)
	echo "usage: tests/lab/lab.sh short|long [CASE[:SENDER]...] | list | markdown" >&2
	exit 2
	;;
esac

mkdir -p "$lab"
[[ -n ${LAB_APPEND:-} ]] || : >"$lab/rows"
failed=()
# Certificates are made once for all cases.
export BATS_FILE_TMPDIR
BATS_FILE_TMPDIR=$(mktemp -d /tmp/sekoia-lab.XXXXXX)
chmod 755 "$BATS_FILE_TMPDIR"
trap 'rm -rf "$BATS_FILE_TMPDIR"' EXIT
trap 'exit 1' INT TERM
export LAB_FORM=$FORM O

wanted() { # CASE SENDER
	local word

	[[ ${#words[@]} -gt 0 ]] || return 0
	for word in "${words[@]}"; do
		[[ $word = "$1" || $word = "$1:$2" ]] && return 0
	done
	return 1
}

"$top/tests/lib/certs.sh" "$BATS_FILE_TMPDIR/certs" >/dev/null 2>&1

words=("$@")
row_head
while IFS=$'\t' read -r name senders title; do
	for sender in $senders; do
		# Named: it is run in any form.
		[[ $sender != *'*' || $FORM = long || ${#words[@]} -gt 0 ]] || continue
		sender=${sender%'*'}
		wanted "$name" "$sender" || continue
		echo "--- $name, $sender: $title" >&2
		while (($(jobs -rp | wc -l) >= ${LAB_JOBS:-1})); do
			wait -n || true
		done
		{ "$0" one "$name" "$sender" "$title" </dev/null || echo "$name:$sender" >>"$BATS_FILE_TMPDIR/failed"; } &
	done
done < <(cases)
wait
table >"$lab/table.txt"
if [[ -e $BATS_FILE_TMPDIR/failed ]]; then mapfile -t failed <"$BATS_FILE_TMPDIR/failed"; fi
if [[ ${#failed[@]} -gt 0 ]]; then
	echo "failed: ${failed[*]}"
	exit 1
fi
echo "lab: every case as it must be; the table is in ${lab#"$top"/}/table.txt"
