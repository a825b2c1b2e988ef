/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row for each option. The flag, the environment variable, the line in the
 * file, --help, the sample file and the manual page all follow from it.
 */
#include "config/config.h"

#include <stddef.h>

#include "config/private.h"

#define AT(field) .offset = offsetof(struct config, field)
#define KIB	  1024ull
#define MIB	  (1024 * KIB)
#define GIB	  (1024 * MIB)
#define TIB	  (1024 * GIB)
#define SECOND	  1000ull
#define HOUR	  (3600 * SECOND)

static const char *const region_values[] = { "fra1", "fra2", "mco1", "uae1", "usa1", "sgp1", NULL };
static const char *const output_values[] = { "https", "relp", "syslog", "stdout", "file", NULL };
static const char *const sync_values[] = { "none", "interval", "batch", NULL };
static const char *const flow_schema_values[] = { "both", "ipfix", "ecs", NULL };
static const char *const direction_values[] = { "both", "in", "out", NULL };
static const char *const journal_schema_values[] = { "auto", "raw", "ecs", NULL };
/* By number: RFC 5424, table 2. */
static const char *const severity_values[] = { "emergency", "alert", "critical", "error", "warning",
					       "notice",    "info",  "debug",	 NULL };
static const char *const log_level_values[] = { "error", "warning", "info", "debug", NULL };

/* A row is read as a row. */
/* clang-format off */
const struct config_option config_options[] = {
	{ .key = "intake.key", .flag = "intake-key", .letter = 'k', .type = CONFIG_SECRET,
	  AT(intake_key), .metavar = "KEY",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "The intake key that Sekoia.io gave to this intake",
	  .check = config_check_intake_key },
	{ .key = "intake.key_file", .flag = "intake-key-file", .type = CONFIG_STRING,
	  AT(intake_key_file), .metavar = "FILE",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "A file that holds the intake key and nothing else" },
	{ .key = "intake.region", .flag = "region", .letter = 'r', .type = CONFIG_ENUM, AT(region),
	  .initial = "fra1", .values = region_values, .metavar = "REGION",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "The Sekoia.io region of the intake" },
	{ .key = "intake.routes", .type = CONFIG_STRING, AT(intake_routes), .metavar = "LIST",
	  .help = "Send to other intakes: NAME:KEYFILE; flows, kernel, or names or units of the journal",
	  .check = config_check_routes },
	{ .key = "intake.route_keys", .type = CONFIG_SECRET, AT(intake_route_keys), .internal = true,
	  .live = CONFIG_LIVE_SHIPPER, .metavar = "LIST",
	  .help = "What is in the files of intake.routes" },

	{ .key = "output.type", .flag = "output", .letter = 'o', .type = CONFIG_STRING, AT(output),
	  .initial = "https", .values = output_values, .metavar = "TYPE",
	  .help = "How events leave: https, relp, syslog, stdout or file; several with commas",
	  .check = config_check_outputs },
	{ .key = "output.host", .type = CONFIG_STRING, AT(output_host), .metavar = "HOST",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Send to this host[:port] instead of the region's; several with commas, the best first",
	  .check = config_check_targets },
	{ .key = "output.port", .type = CONFIG_NUMBER, AT(output_port), .initial = "0", .max = 65535,
	  .metavar = "PORT",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Send to this port; 0: 443 for https, 11514 for relp, 10514 for syslog" },
	{ .key = "output.failback", .type = CONFIG_DURATION, AT(output_failback_ms), .initial = "5m",
	  .min = 1 * SECOND, .max = 24 * HOUR, .metavar = "TIME",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Return to the first host of several when it is well again, after this time" },
	{ .key = "output.path", .type = CONFIG_STRING, AT(output_path), .metavar = "PATH",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "What comes before /array in the https address, instead of the region's",
	  .check = config_check_path },
	{ .key = "output.proxy", .type = CONFIG_SECRET, AT(output_proxy), .metavar = "URL",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "An HTTP proxy, http://[user:password@]host:port, for all three transports",
	  .check = config_check_proxy },
	{ .key = "output.file", .type = CONFIG_STRING, AT(output_file), .metavar = "FILE",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Where the file output appends, one record a line" },
	{ .key = "output.gzip", .type = CONFIG_BOOL, AT(output_gzip), .initial = "yes",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Compress https requests" },
	{ .key = "output.connect_timeout", .type = CONFIG_DURATION, AT(output_connect_timeout_ms),
	  .initial = "30s", .min = 1 * SECOND, .max = HOUR, .metavar = "TIME",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Give up a connection that is not ready after this time" },
	{ .key = "output.timeout", .type = CONFIG_DURATION, AT(output_timeout_ms), .initial = "60s",
	  .min = 1 * SECOND, .max = HOUR, .metavar = "TIME",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Give up a connection on which nothing was acknowledged for this time" },
	{ .key = "output.retry_max", .type = CONFIG_DURATION, AT(output_retry_max_ms), .initial = "60s",
	  .min = 100, .max = HOUR, .metavar = "TIME",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "The longest pause between two attempts to connect" },
	{ .key = "output.batch_bytes", .type = CONFIG_BYTES, AT(output_batch_bytes), .initial = "2M",
	  .min = 64 * KIB, .max = 9 * MIB, .metavar = "SIZE",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "The size of an https request before compression" },
	{ .key = "output.requests_per_second", .type = CONFIG_NUMBER, AT(output_requests_per_second),
	  .initial = "5", .min = 0, .max = 1000, .metavar = "N",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "At most this many https requests a second; 0: no limit" },

	{ .key = "output.dead_letter_max_bytes", .type = CONFIG_BYTES, AT(output_dead_letter_max_bytes),
	  .initial = "16M", .max = 1 * GIB, .metavar = "SIZE",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Set events aside that the intake refuses, up to this size for each output; 0: don't" },

	{ .key = "tls.ca", .type = CONFIG_STRING, AT(tls_ca), .metavar = "FILE",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "Trust the CAs in this PEM file or folder instead of the system's" },
	{ .key = "tls.cert", .type = CONFIG_STRING, AT(tls_cert), .metavar = "FILE",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "A client certificate with its chain, PEM" },
	{ .key = "tls.key", .type = CONFIG_STRING, AT(tls_key), .metavar = "FILE",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "The private key of tls.cert, PEM" },
	{ .key = "tls.server_name", .type = CONFIG_STRING, AT(tls_server_name), .metavar = "NAME",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "The name that the server's certificate must have, if it is not the host",
	  .check = config_check_host },

	{ .key = "spool.dir", .type = CONFIG_STRING, AT(spool_dir),
	  .initial = "/var/lib/sekoia-ebpf/spool", .metavar = "DIR",
	  .help = "Where events wait until the intake has them" },
	{ .key = "spool.max_bytes", .type = CONFIG_BYTES, AT(spool_max_bytes), .initial = "1G",
	  .min = 1 * MIB, .max = 16 * TIB, .metavar = "SIZE",
	  .help = "The spool's limit; above it events are dropped and counted" },
	{ .key = "spool.drop_order", .type = CONFIG_STRING, AT(spool_drop_order),
	  .initial = "journal,flows,kernel", .metavar = "LIST",
	  .help = "What a full spool drops first; oldest: the oldest events, whatever they are",
	  .check = config_check_drop_order },
	{ .key = "spool.max_age", .type = CONFIG_DURATION, AT(spool_max_age_ms), .initial = "0s",
	  .min = 0, .max = 10 * 366 * 24 * HOUR, .metavar = "TIME",
	  .help = "Drop events that have waited for so long; 0: however old they are" },
	{ .key = "spool.segment_bytes", .type = CONFIG_BYTES, AT(spool_segment_bytes),
	  .initial = "16M", .min = 64 * KIB, .max = 1 * GIB, .metavar = "SIZE",
	  .help = "The size of one spool file; at most a quarter of spool.max_bytes is used" },
	{ .key = "spool.sync", .type = CONFIG_ENUM, AT(spool_sync), .initial = "interval",
	  .values = sync_values, .metavar = "WHEN",
	  .help = "When events are forced to the disk, for the case of a power failure" },
	{ .key = "spool.sync_interval", .type = CONFIG_DURATION, AT(spool_sync_interval_ms),
	  .initial = "1s", .min = 10, .max = HOUR, .metavar = "TIME",
	  .help = "The interval of spool.sync = interval" },

	{ .key = "flows.enable", .type = CONFIG_BOOL, AT(flows), .initial = "yes",
	  .help = "Capture network flows" },
	{ .key = "flows.loopback", .type = CONFIG_BOOL, AT(flows_loopback), .initial = "no",
	  .live = CONFIG_LIVE_COLLECTOR,
	  .help = "Capture flows from this host to itself, too" },
	{ .key = "flows.active_timeout", .type = CONFIG_DURATION, AT(flows_active_timeout_ms),
	  .initial = "60s", .min = 1 * SECOND, .max = 24 * HOUR, .metavar = "TIME",
	  .live = CONFIG_LIVE_COLLECTOR,
	  .help = "Report a flow that goes on each time it has lasted this long" },
	{ .key = "flows.idle_timeout", .type = CONFIG_DURATION, AT(flows_idle_timeout_ms),
	  .initial = "15s", .min = 1 * SECOND, .max = HOUR, .metavar = "TIME",
	  .live = CONFIG_LIVE_COLLECTOR,
	  .help = "End a UDP or ICMP flow that has been silent for this long" },
	{ .key = "flows.max", .type = CONFIG_NUMBER, AT(flows_max), .initial = "65536", .min = 1024,
	  .max = 4194304, .metavar = "N",
	  .help = "How many TCP connections, and other flows, are followed at once" },
	{ .key = "flows.schema", .type = CONFIG_ENUM, AT(flows_schema), .initial = "both",
	  .values = flow_schema_values, .metavar = "WHICH",
	  .help = "The keys of a flow record: IPFIX names, ECS objects, or both" },
	{ .key = "flows.networks", .type = CONFIG_STRING, AT(flows_networks), .metavar = "LIST",
	  .help = "Only flows with an end in one of these networks; with a !, none with an end there",
	  .check = config_check_networks },
	{ .key = "flows.ports", .type = CONFIG_STRING, AT(flows_ports), .metavar = "LIST",
	  .help = "Only flows from or to these ports, or ranges of ports; with a !, none of them",
	  .check = config_check_ports },
	{ .key = "flows.protocols", .type = CONFIG_STRING, AT(flows_protocols), .metavar = "LIST",
	  .help = "Only these protocols, by name or number; with a !, all others",
	  .check = config_check_protocols },
	{ .key = "flows.users", .type = CONFIG_STRING, AT(flows_users), .metavar = "LIST",
	  .help = "Only flows of these users' processes; with a !, none of them",
	  .check = config_check_users },
	{ .key = "flows.processes", .type = CONFIG_STRING, AT(flows_processes), .metavar = "LIST",
	  .help = "Only flows of processes of these names; with a !, none of them",
	  .check = config_check_commands },
	{ .key = "flows.cgroups", .type = CONFIG_STRING, AT(flows_cgroups), .metavar = "LIST",
	  .help = "Only flows of processes in just these cgroups; with a !, none of them",
	  .check = config_check_cgroups },
	{ .key = "flows.direction", .type = CONFIG_ENUM, AT(flows_direction), .initial = "both",
	  .values = direction_values, .metavar = "WHICH",
	  .help = "Only flows that others began (in), or that this host began (out)" },
	{ .key = "flows.private", .type = CONFIG_BOOL, AT(flows_private), .initial = "yes",
	  .help = "Capture flows from one private address to another, too" },
	{ .key = "flows.sample", .type = CONFIG_NUMBER, AT(flows_sample), .initial = "1", .min = 1,
	  .max = 1000000, .metavar = "N",
	  .help = "Capture one flow in N; the others are counted as filtered" },

	{ .key = "journal.enable", .type = CONFIG_BOOL, AT(journal), .initial = "yes",
	  .help = "Capture what journald, rsyslogd or syslog-ng read" },
	{ .key = "journal.units", .type = CONFIG_STRING, AT(journal_units), .metavar = "LIST",
	  .help = "Only lines of these units, such as ssh, user@*.service; with a !, none of theirs",
	  .check = config_check_units },
	{ .key = "journal.identifiers", .type = CONFIG_STRING, AT(journal_identifiers),
	  .metavar = "LIST",
	  .help = "Only lines of these names, such as sshd, postfix/*; with a !, none of theirs",
	  .check = config_check_identifiers },
	{ .key = "journal.max_severity", .type = CONFIG_ENUM, AT(journal_max_severity),
	  .initial = "debug", .values = severity_values, .metavar = "SEVERITY",
	  .help = "Leave out lines that are less urgent than this" },
	{ .key = "journal.rate_limit", .type = CONFIG_NUMBER, AT(journal_rate_limit), .initial = "0",
	  .max = 1000000000, .metavar = "N",
	  .help = "Send at most N lines of a unit at once, and N more in each rate_interval; 0: all of them" },
	{ .key = "journal.rate_interval", .type = CONFIG_DURATION, AT(journal_rate_interval_ms),
	  .initial = "30s", .min = 1 * SECOND, .max = HOUR, .metavar = "TIME",
	  .help = "The time in which journal.rate_limit is earned again" },
	{ .key = "journal.schema", .type = CONFIG_ENUM, AT(journal_schema), .initial = "auto",
	  .values = journal_schema_values, .metavar = "WHICH",
	  .help = "Journal lines as raw text, ECS JSON, or raw for relp and syslog and ECS for https" },

	{ .key = "kernel.log", .type = CONFIG_BOOL, AT(kernel_log), .initial = "yes",
	  .help = "Capture the kernel's log" },

	{ .key = "ring.flows", .type = CONFIG_BYTES, AT(ring_flows_bytes), .initial = "8M",
	  .min = 64 * KIB, .max = 1 * GIB, .metavar = "SIZE",
	  .help = "The flow ring between kernel and collector, rounded up to a power of two" },
	{ .key = "ring.journal", .type = CONFIG_BYTES, AT(ring_journal_bytes), .initial = "8M",
	  .min = 256 * KIB, .max = 1 * GIB, .metavar = "SIZE",
	  .help = "The journal ring between kernel and collector, rounded up to a power of two" },

	{ .key = "collector.bpf_dir", .type = CONFIG_STRING, AT(bpf_dir),
	  .initial = "/sys/fs/bpf/sekoia-ebpf", .metavar = "DIR",
	  .help = "Where rings and links are pinned, so that they outlive the collector" },
	{ .key = "collector.btf", .flag = "btf", .type = CONFIG_STRING, AT(btf), .metavar = "FILE",
	  .help = "The kernel's BTF, for a kernel that does not carry its own" },
	{ .key = "collector.hostname", .flag = "hostname", .type = CONFIG_STRING, AT(hostname),
	  .metavar = "NAME", .help = "The host name in the records, instead of the system's",
	  .check = config_check_hostname },
	{ .key = "collector.stop_timeout", .type = CONFIG_DURATION, AT(stop_timeout_ms),
	  .initial = "5s", .min = 0, .max = HOUR, .metavar = "TIME",
	  .live = CONFIG_LIVE_COLLECTOR,
	  .help = "How long a clean stop waits for acknowledgements; the rest stays in the spool" },

	{ .key = "monitor.socket", .type = CONFIG_STRING, AT(monitor_socket),
	  .initial = "/run/sekoia-ebpf/monitor", .metavar = "FILE",
	  .help = "A Unix socket for \"status\" and Prometheus, root's alone; off: none" },
	{ .key = "heartbeat.interval", .type = CONFIG_DURATION, AT(heartbeat_ms), .initial = "5m",
	  .min = 0, .max = 600 * SECOND, .metavar = "TIME",
	  .help = "Send the books as an event this often, so that a silent host is seen; 0: never" },

	{ .key = "shipper.user", .type = CONFIG_STRING, AT(shipper_user), .initial = "sekoia-ebpf",
	  .metavar = "USER",
	  .help = "The user that the shipper runs as; nobody, if there is no such user" },

	{ .key = "sandbox.enable", .type = CONFIG_BOOL, AT(sandbox), .initial = "yes",
	  .help = "Filter system calls and hide the file tree; no: only to find a fault in that" },

	{ .key = "log.level", .type = CONFIG_ENUM, AT(log_level), .initial = "info",
	  .values = log_level_values, .metavar = "LEVEL",
	  .live = CONFIG_LIVE_SHIPPER,
	  .help = "How much is told on standard error" },
	{ 0 },
};
/* clang-format on */
_Static_assert(sizeof(config_options) / sizeof(*config_options) <= CONFIG_OPTIONS_MAX, "more rows");

const struct config_command_flag_row config_command_flags[] = {
	{ COMMAND_JSON, "json", "Print JSON, for programs: with the commands that say so" },
	{ 0 },
};

const struct config_endpoint config_endpoints[] = {
	[REGION_FRA1] = { "fra1", "intake.sekoia.io", "" },
	[REGION_FRA2] = { "fra2", "intake.fra2.sekoia.io", "/api/v1/intake-http" },
	[REGION_MCO1] = { "mco1", "intake.mco1.sekoia.io", "/api/v1/intake-http" },
	[REGION_UAE1] = { "uae1", "intake.uae1.sekoia.io", "/api/v1/intake-http" },
	[REGION_USA1] = { "usa1", "intake.usa1.sekoia.io", "/api/v1/intake-http" },
	[REGION_SGP1] = { "sgp1", "intake.sgp1.sekoia.io", "/api/v1/intake-http" },
};
