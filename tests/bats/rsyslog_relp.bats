#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# RELP over TLS to a real rsyslogd, with both of its TLS libraries: every message
# arrives byte for byte; and when rsyslogd is killed in mid-stream nothing is
# lost, and what comes twice can be told by its number.

load ../lib/common
load ../lib/journal
load ../lib/rsyslog

setup() {
	need_root
	need_journald
	common_setup
	journal_alone
}

teardown() {
	common_teardown
}

@test "rsyslogd's imrelp with OpenSSL: byte for byte" {
	need_rsyslogd imrelp
	rsyslog_start imrelp ossl
	rsyslog_compare relp
}

@test "rsyslogd's imrelp with GnuTLS and our certificate: byte for byte" {
	need_rsyslogd imrelp
	rsyslog_start imrelp gtls
	rsyslog_compare relp --tls-cert "$T/certs/client.pem" --tls-key "$T/certs/client.key"
}

@test "rsyslogd is killed in mid-stream: nothing is lost, repeats have their numbers" {
	need_rsyslogd imrelp
	rsyslog_start imrelp ossl
	rsyslog_restarts relp KILL
}
