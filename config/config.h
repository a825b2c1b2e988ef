/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: one struct, filled from one table (options.c) by the
 * file, then the environment, then the flags; the later one wins.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "user/util/buf.h"
#include "user/util/cleanup.h"
#include "user/util/log.h"

enum config_region { REGION_FRA1, REGION_FRA2, REGION_MCO1, REGION_UAE1, REGION_USA1, REGION_SGP1 };
enum config_flow_schema { FLOW_SCHEMA_BOTH, FLOW_SCHEMA_IPFIX, FLOW_SCHEMA_ECS };
enum config_direction { DIRECTION_BOTH, DIRECTION_IN, DIRECTION_OUT };
enum config_ipfix_transport { IPFIX_OVER_UDP, IPFIX_OVER_TCP, IPFIX_OVER_TLS };
enum config_journal_schema { JOURNAL_SCHEMA_AUTO, JOURNAL_SCHEMA_RAW, JOURNAL_SCHEMA_ECS };

/* Units are in the names. Strings are owned; NULL means "not given". */
struct config {
	/* [intake] */
	char *intake_key; /* a secret: only config.c prints it, and never does */
	char *intake_key_file;
	int region;		 /* enum config_region */
	char *intake_routes;	 /* for config_route_next(); NULL: none */
	char *intake_route_keys; /* a secret: the same with the keys that the files hold */

	/* [output] */
	char *output;	   /* a name of output_types[], or several with commas */
	char *output_host; /* "host[:port],…": for config_parse_target() */
	uint64_t output_port;
	char *output_path;
	char *output_proxy; /* a secret: may hold a password */
	char *output_file;
	bool output_gzip;
	uint64_t output_connect_timeout_ms;
	uint64_t output_timeout_ms;
	uint64_t output_retry_max_ms;
	uint64_t output_batch_bytes;
	uint64_t output_requests_per_second;
	uint64_t output_requests_in_flight; /* CONFIG_REQUESTS_IN_FLIGHT_MAX at the most */
	uint64_t output_failback_ms;
	uint64_t output_dead_letter_max_bytes; /* 0: none are kept */

	/* [ipfix], [netflow9] */
	char *ipfix_host, *netflow9_host; /* like output_host */
	uint64_t ipfix_port, netflow9_port;
	int ipfix_transport; /* enum config_ipfix_transport */
	uint64_t ipfix_domain;
	uint64_t ipfix_template_interval_ms;
	uint64_t ipfix_template_messages; /* 0: by time alone */
	uint64_t ipfix_message_bytes;

	/* [tls] */
	char *tls_ca;
	char *tls_cert;
	char *tls_key;
	char *tls_server_name;

	/* [spool] */
	char *spool_dir;
	uint64_t spool_max_bytes;
	char *spool_drop_order;	   /* of "journal", "flows", "kernel", with commas; or "oldest" */
	uint64_t spool_max_age_ms; /* 0: none */
	uint64_t spool_segment_bytes;
	int spool_sync; /* enum spool_sync */
	uint64_t spool_sync_interval_ms;

	/* [flows] */
	bool flows;
	bool flows_loopback;
	bool flows_dns, flows_tls, flows_quic, flows_nat;
	uint64_t flows_active_timeout_ms;
	uint64_t flows_idle_timeout_ms;
	uint64_t flows_max;
	int flows_schema; /* enum config_flow_schema */
	/* Which flows: lists as in config/flow_filter.h; NULL: all. */
	char *flows_networks, *flows_ports, *flows_protocols;
	char *flows_users, *flows_processes, *flows_cgroups;
	int flows_direction; /* enum config_direction */
	bool flows_private;
	uint64_t flows_sample;

	/* [journal] */
	bool journal;
	uint64_t journal_rate_limit; /* 0: none */
	uint64_t journal_rate_interval_ms;
	int journal_schema; /* enum config_journal_schema */
	/* Which lines: lists as in config/flow_filter.h; NULL: all. */
	char *journal_units, *journal_identifiers;
	uint64_t journal_backfill_ms, journal_backfill_first_ms, journal_backfill_max;
	int journal_max_severity; /* RFC 5424: 0 emergency to 7 debug */

	/* [kernel] */
	bool kernel_log;

	/* [events] */
	bool events;
	bool events_exec, events_exit, events_modules, events_oom, events_signals, events_ptrace;
	bool events_bpf, events_mounts, events_namespaces, events_credentials, events_listen;
	bool events_files, events_environment;
	char *events_paths;

	/* [ring] */
	uint64_t ring_flows_bytes;
	uint64_t ring_journal_bytes;
	uint64_t ring_events_bytes;
	uint64_t ring_names_bytes;

	/* [collector] */
	bool containers_names;
	char *containers_root;

	char *bpf_dir;
	char *btf;
	char *hostname;
	uint64_t stop_timeout_ms;

	/* [monitor] */
	char *monitor_socket; /* "off": none */
	char *monitor_listen; /* a loopback address and port; NULL: none */

	/* [heartbeat] */
	uint64_t heartbeat_ms; /* 0: none */

	/* [shipper] */
	char *shipper_user;

	/* [sandbox] */
	bool sandbox;

	/* [log] */
	int log_level; /* enum log_level */

	/* What flags and environment said, for config_reload(); config.c's alone. */
	struct config_sources *sources;

	/* Of the command line alone: enum config_command_flag, ored. */
	unsigned command_flags;
	/* For a command that bears mistakes: those that were made. Borrowed. */
	const struct config_errors *mistakes;
};

/* Where an option's value may come from; what was set last is told in errors. */
enum config_type {
	CONFIG_STRING,	 /* char * */
	CONFIG_SECRET,	 /* char *, wiped when freed, "***" wherever it would be shown */
	CONFIG_BOOL,	 /* bool: yes, no, true, false, on, off, 1, 0 */
	CONFIG_NUMBER,	 /* uint64_t, min to max */
	CONFIG_BYTES,	 /* uint64_t, min to max; k, M, G are powers of 1024 */
	CONFIG_DURATION, /* uint64_t milliseconds, min to max; ms, s, m, h; bare: seconds */
	CONFIG_ENUM,	 /* int, an index into values */
};

/* Who takes a new value at SIGHUP. */
enum config_live {
	CONFIG_FROZEN,	       /* nobody: it counts at the next start */
	CONFIG_LIVE_COLLECTOR, /* the collector, at once */
	CONFIG_LIVE_SHIPPER,   /* the shipper, which is started again */
};

struct config_option {
	const char *key;  /* "section.name"; the flag is --section-name, unless flag is set */
	const char *flag; /* without the dashes */
	char letter;	  /* -k, or 0 */
	enum config_type type;
	size_t offset;		   /* in struct config */
	const char *initial;	   /* as one would write it; NULL: not given */
	uint64_t min, max;	   /* CONFIG_NUMBER; BYTES in bytes; DURATION in ms */
	const char *const *values; /* CONFIG_ENUM, ended by NULL; STRING: what shells offer */
	const char *metavar;	   /* in the help: KEY, FILE, HOST */
	const char *help;	   /* one sentence, no stop at its end */
	/*
	 * For strings: NULL, or what is wrong with the value and what is allowed. May
	 * tidy the value in place, never make it longer.
	 */
	const char *(*check)(char *value);
	enum config_live live;
	bool internal; /* not for users: not shown in help and sample */
};

/* Ended by a NULL key; in the order of the sample file. */
extern const struct config_option config_options[];

#define CONFIG_DEFAULT_FILE "/etc/sekoia-ebpf/sekoia-ebpf.conf"

/*
 * Mistakes are collected, not reported one by one: each is a line "file:line:
 * what was given, what is allowed".
 */
struct config_errors {
	struct buf text;
	int n;
};
void config_errors_init(struct config_errors *e);
void config_errors_done(struct config_errors *e);
void config_error(struct config_errors *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* All defaults. The caller owns *ret. */
int config_new(struct config **ret);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free);

/*
 * Flags that belong to commands: they stand anywhere on the command line, like
 * options, but no variable and no file sets them. A command takes those that
 * its row names; the others are mistakes.
 */
enum config_command_flag {
	COMMAND_JSON = 1 << 0,
	COMMAND_ONCE = 1 << 1,
};

struct config_command_flag_row {
	unsigned bit;
	const char *name; /* without the dashes */
	const char *help; /* one sentence without its full stop */
};

/* Ended by a zeroed row. */
extern const struct config_command_flag_row config_command_flags[];

/* A word behind the options. The table of them is the caller's, and ends with a zeroed row. */
struct config_command {
	const char *name;
	const char *args; /* as the help shows them: "ls|cat|verify"; NULL: takes none */
	const char *help; /* one sentence without its full stop */
	int max_args;
	unsigned flags; /* enum config_command_flag, ored: those that it takes */
	bool needs_key; /* it wants the intake key that the options name */
	/* It runs with a configuration that has mistakes, too, and finds them in c->mistakes. */
	bool bears_mistakes;
	/* argv holds the words behind the command. Returns the exit code. */
	int (*run)(const struct config *c, int argc, char **argv);
};

/* What the command line asks for besides options. */
enum config_action { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION };

/*
 * Reads file (--config, else CONFIG_DEFAULT_FILE if it is there), environment
 * and flags into c, checks each value and what must hold between them, and
 * overwrites secrets in argv. *action says what was asked for. Words that are
 * not options are left to the caller: *rest is the index of the first one, or
 * argc. 0, or -EINVAL with e->n mistakes; -errno when the file can not be read
 * (also told in e).
 */
int config_load(struct config *c, int argc, char **argv, char **envp, enum config_action *action,
		int *rest, struct config_errors *e);

/*
 * Reads the file and the key again, under the flags and the environment that c
 * was loaded with, into a new struct, which is the caller's. 0; -EINVAL with
 * mistakes in e, or -errno: *ret is untouched.
 */
int config_reload(const struct config *c, struct config **ret, struct config_errors *e);

/*
 * Where next differs from now: the names of live options go to live, those of
 * frozen ones to frozen, with commas between them, and next gets now's value of
 * the latter. *ret: the highest enum config_live of them. 0 or -ENOMEM.
 */
int config_compare(struct config *next, const struct config *now, struct buf *live,
		   struct buf *frozen, enum config_live *ret);

/* One INI file (inih); name is for messages. Mistakes go to e. */
void config_read_file(struct config *c, FILE *f, const char *name, struct config_errors *e);

/*
 * One value, wherever it comes from. where is "file:line" or "--flag".
 * The value of a secret is never repeated in a message.
 */
void config_set(struct config *c, const struct config_option *o, const char *value,
		const char *where, struct config_errors *e);
const struct config_option *config_find(const char *key);

/*
 * The key, from the first of: intake.key (flag, environment, file), the
 * intake.key_file, the systemd credential "intake-key"
 * ($CREDENTIALS_DIRECTORY), and those of intake.routes. Checks their form.
 * Mistakes go to e.
 */
void config_load_key(struct config *c, struct config_errors *e);

/* What differs from the defaults, as an INI text that config_read_file() takes: for the shipper. */
int config_write(const struct config *c, struct buf *ret);

/*
 * The next entry of output.host, which moves behind it: the host without its
 * brackets, and its port or 0. -EINVAL: it is none, or has no place in size bytes.
 */
#define CONFIG_TARGETS_MAX 8
/* Of output.requests_in_flight. */
#define CONFIG_REQUESTS_IN_FLIGHT_MAX 8
int config_parse_target(const char **list, char *host, size_t size, uint16_t *ret_port);

/*
 * A loopback address and a port, "127.0.0.1:9477" or "[::1]:9477". -EINVAL: it is none.
 */
struct sockaddr_storage;
int config_parse_listen(const char *text, struct sockaddr_storage *ret);

void config_print_help(FILE *f, const struct config_command *commands);
void config_print_sample(FILE *f);
/* sekoia-ebpf(8) in man(7) macros; date is its own, "2026-11-23". */
void config_print_man(FILE *f, const struct config_command *commands, const char *date);
/* What the shells complete, from the same tables. */
void config_print_bash_completion(FILE *f, const struct config_command *commands);
void config_print_zsh_completion(FILE *f, const struct config_command *commands);

/* What a region means. host is for syslog and https; facts of the platform. */
struct config_endpoint {
	const char *name;
	const char *host;
	const char *https_path; /* what comes before /array */
};
extern const struct config_endpoint config_endpoints[]; /* by enum config_region */
#define CONFIG_PORT_SYSLOG   10514
#define CONFIG_PORT_RELP     11514
#define CONFIG_PORT_HTTPS    443
#define CONFIG_PORT_IPFIX    4739 /* UDP and TCP; TLS has the next one */
#define CONFIG_PORT_NETFLOW9 2055

/*
 * Where an output's peers are: its own list of hosts, else output.host; NULL: the
 * region's. And the port for those that name none; 0: the transport's own.
 */
const char *config_hosts(const struct config *c, const char *output);
uint16_t config_port(const struct config *c, const char *output);
