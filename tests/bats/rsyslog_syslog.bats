#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Syslog over TLS to a real rsyslogd, with both of its TLS libraries: every
# message arrives byte for byte, and is parsed into what it was meant to be.

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

@test "rsyslogd's imtcp with OpenSSL: TLS 1.3, byte for byte" {
	need_rsyslogd lmnsd_ossl
	rsyslog_start imtcp ossl
	rsyslog_compare syslog
	grep -q 'TLSv1.3' "$T/daemon.log"
}

@test "rsyslogd's imtcp with GnuTLS: TLS 1.2 alone, byte for byte" {
	need_rsyslogd lmnsd_gtls
	rsyslog_start imtcp gtls
	rsyslog_compare syslog
	grep -q 'TLSv1.2' "$T/daemon.log"
}

@test "rsyslogd is restarted in mid-stream: nothing is lost" {
	need_rsyslogd lmnsd_ossl
	rsyslog_start imtcp ossl
	rsyslog_restarts syslog TERM
}

@test "rsyslogd is killed in mid-stream: nothing is lost" {
	need_rsyslogd lmnsd_ossl
	rsyslog_start imtcp ossl
	rsyslog_restarts syslog KILL
}

@test "rsyslogd with TLS 1.2 alone is restarted in mid-stream: nothing is lost" {
	need_rsyslogd lmnsd_gtls
	rsyslog_start imtcp gtls
	rsyslog_restarts syslog TERM
}
