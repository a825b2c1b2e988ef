# shellcheck shell=bash disable=SC2016,SC1003,SC2119,SC2120,SC2034,SC2153
# SPDX-License-Identifier: Apache-2.0
# A real rsyslogd as the receiver: its own folder, port and certificate. What it
# receives is in $T/raw, message for message as it came, and in $T/parsed, as it
# understood it. Load it after common and journal.

RECORD_END=$'\036'

free_port() {
	local port

	while port=$((20000 + RANDOM)); do
		[ -n "$(ss -ltnH "sport = :$port")" ] || { echo "$port"; return; }
	done
}

# rsyslog_conf INPUT [ossl|gtls]: imtcp or imrelp with TLS by this library. Queues
# are direct, so that what is acknowledged is written.
rsyslog_conf() {
	local input=$1 driver=${2:-ossl} certs=$T/certs

	certs
	mkdir -p "$T/rsyslog"
	PEER_PORT=$(free_port)
	cat <<-END
		global(
			workDirectory="$T/rsyslog" maxMessageSize="300k"
			parser.escapeControlCharactersOnReceive="off"
			defaultNetstreamDriver="$driver"
			defaultNetstreamDriverCAFile="$certs/ca.pem"
			defaultNetstreamDriverCertFile="$certs/server.pem"
			defaultNetstreamDriverKeyFile="$certs/server.key"
		)
		main_queue(queue.type="Direct")
		template(name="raw" type="string" string="%rawmsg%\\036\n")
		template(name="parsed" type="string" string="%pri% %app-name% %msgid% %msg%\n")
	END
	if [ "$input" = imtcp ]; then
		cat <<-END
			module(load="imtcp" streamDriver.name="$driver" streamDriver.mode="1" streamDriver.authMode="anon")
			input(type="imtcp" port="$PEER_PORT" address="127.0.0.1" ruleset="keep")
		END
	else
		cat <<-END
			module(load="imrelp" tls.tlslib="$([ "$driver" = gtls ] && echo gnutls || echo openssl)")
			input(type="imrelp" port="$PEER_PORT" address="127.0.0.1" ruleset="keep" maxDataSize="300k"
				tls="on" tls.caCert="$certs/ca.pem" tls.myCert="$certs/server.pem" tls.myPrivKey="$certs/server.key"
				$([ "$driver" = ossl ] || echo 'tls.authMode="name" tls.permittedPeer="client.test"'))
		END
	fi
	cat <<-END
		ruleset(name="keep") {
			action(type="omfile" file="$T/raw" template="raw")
			action(type="omfile" file="$T/parsed" template="parsed")
		}
		action(type="omfile" file="$T/rsyslog/log")
	END
}

# rsyslog_start [CONF...]: on the same port when it is started again without CONF.
rsyslog_start() {
	[ $# -eq 0 ] || rsyslog_conf "$@" >"$T/rsyslog.conf"
	rsyslogd -n -i NONE -f "$T/rsyslog.conf" >>"$T/peer.log" 2>&1 3>&- &
	PEER_PID=$!
	wait_until '[ -n "$(ss -ltnH "sport = :$PEER_PORT")" ] || ! kill -0 $PEER_PID 2>/dev/null' 10
	kill -0 "$PEER_PID" || { cat "$T/rsyslog.conf"; return 1; }
}

rsyslog_count() {
	tr -cd "$RECORD_END" 2>/dev/null <"$T/raw" | wc -c
}

# What arrived, a message on a line, as the file output writes it: #012 for a
# line feed, no intake key, and JSON without a header.
rsyslog_messages() {
	LC_ALL=C sed -e ':a' -e "/$RECORD_END\$/!{N;ba}" -e 's/\n/#012/g' -e "s/$RECORD_END\$//" \
		-e "s/intake_key=\"$TEST_KEY\"/intake_key=\"***\"/" \
		-e 's/^<[0-9]*>1\( [^ ]*\)\{4\} LOG \[SEKOIA@53288 intake_key="\*\*\*"\] {/{/' "$T/raw"
}

# More than 5,000 events, among them whatever is awkward in a message.
say_awkward_things() {
	local i

	in_room "$PEERS/journal_sender" native native 1 4000
	"$PEERS/journal_sender" lines logger 1 1000 >"$T/lines"
	in_room logger -t logger -p local7.notice --size 4096 -f "$T/lines"
	printf '<13>bits: caf\351 \377\200 end ] "x" \\' | in_room "$PEERS/journal_sender" datagram /dev/log
	printf 'SYSLOG_IDENTIFIER=lines\nMESSAGE\n\017\0\0\0\0\0\0\0one\n two\n#012 x\n' |
		in_room "$PEERS/journal_sender" datagram /run/systemd/journal/socket
	{ head -c 60000 /dev/zero | tr '\0' x && echo ' the end'; } >"$T/long"
	in_room logger --size 70000 -t long -f "$T/long"
	in_room logger -t 'odd]"name' -p user.info 'an odd name'
	for ((i = 0; i < 20; i++)); do
		(: </dev/tcp/127.0.0.1/1) 2>/dev/null || true # a flow: refused
	done
	in_room logger -t last 'the last one'
}

# rsyslog_compare TRANSPORT [ARG...]: what is sent, what a second output writes
# and what was said are the same.
rsyslog_compare() {
	local transport=$1 n

	shift
	mkdir "$T/out"
	chmod 777 "$T/out"
	journald_start
	daemon_start "$transport" --output "$transport,file" --output-file "$T/out/sent" --flows-loopback yes "$@"
	say_awkward_things
	wait_until 'grep -qa "the last one" "$T/raw"' 30
	daemon_stop
	assert_all_delivered
	peer_stop
	n=$(books spool appended)
	[ "$n" -ge 5000 ]
	rsyslog_messages >"$T/received"
	[ "$(wc -l <"$T/received")" -eq "$n" ]
	cmp "$T/received" "$T/out/sent"
	# And without our own word for it.
	"$PEERS/journal_sender" lines native 1 4000 | awk '{ print (1 + $2 % 23) * 8 + $2 % 8, "native LOG", $0 }' >"$T/want"
	grep -a '^[0-9]* native ' "$T/parsed" | cmp - "$T/want"
	sed 's/^/189 logger LOG /' "$T/lines" >"$T/want"
	grep -a '^189 logger ' "$T/parsed" | cmp - "$T/want"
	[ "$(LC_ALL=C grep -a '^13 bits LOG ' "$T/parsed")" = $'13 bits LOG caf\351 \377\200 end ] "x" \\' ]
	[ "$(grep -a -A 2 '^14 lines LOG ' "$T/parsed")" = $'14 lines LOG one\n two\n#012 x' ]
	[ "$(sed -n 's/^13 long LOG //p' "$T/parsed" | cksum)" = "$(cksum <"$T/long")" ]
	grep -qaE '^14 odd[^ ]*name LOG an odd name$' "$T/parsed"
	[ "$(grep -ac '"destinationTransportPort":1,' "$T/raw")" -ge 20 ]
}

# rsyslog_restarts TRANSPORT SIGNAL: rsyslogd ends in mid-stream, five times.
rsyslog_restarts() {
	local transport=$1 i repeats

	journald_start
	daemon_start "$transport" --flows-enable no --kernel-log no --output-retry-max 200ms
	start_in_room systemd-cat -t pieces "$PEERS/journal_sender" pieces pieces "$T/count"
	for i in 1 2 3 4 5; do
		sleep 0.5
		peer_stop "$2"
		[ "$i" -ne 3 ] || sleep 1
		rsyslog_start
	done
	sleep 0.5
	kill "$STARTED"
	wait_until '[ -s "$T/count" ]' 10
	in_room logger -t last 'the last one'
	wait_until 'grep -qa "the last one" "$T/raw"' 30
	daemon_stop
	assert_all_delivered
	peer_stop
	rsyslog_messages | grep -a ' pieces ' >"$T/received"
	# By number, each once: what was written, in its order.
	sed -n 's/.*\[meta sequenceId="\([0-9]*\)"\] \(.*\)/\1 \2/p' "$T/received" | sort -n | uniq >"$T/numbered"
	[ "$(cut -d ' ' -f 1 "$T/numbered" | uniq -d | wc -l)" -eq 0 ]
	"$PEERS/journal_sender" lines pieces 1 "$(cat "$T/count")" >"$T/want"
	cut -d ' ' -f 2- "$T/numbered" | cmp - "$T/want"
	repeats=$(($(wc -l <"$T/received") - $(wc -l <"$T/numbered")))
	echo "$(cat "$T/count") lines, $repeats repeats"
	[ "$repeats" -le $((5 * 16384)) ] # a window each time
}
