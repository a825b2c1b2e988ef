/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share with each other and with nobody else. */
#pragma once

#include "config/config.h"

#define CONFIG_OPTIONS_MAX 128	     /* rows of the table; asserted beside it */
#define CONFIG_VALUE_MAX   4096	     /* bytes of one value: a path fits */
#define CONFIG_LINE_MAX	   8192	     /* what we ask inih to hold; older ones hold 200 */
#define CONFIG_FILE_MAX	   (1 << 20) /* bytes of a configuration file */
#define CONFIG_NAME_SIZE   64	     /* flags, variables and keys, with their NUL */
#define CONFIG_SHOWN_SIZE  72	     /* as much of a wrong value as a message repeats */

/* ------------------------------------------------------------- config_value.c */

static inline void *config_field(const struct config *c, const struct config_option *o)
{
	return (char *)c + o->offset;
}

static inline char **config_string(const struct config *c, const struct config_option *o)
{
	return config_field(c, o);
}

static inline bool config_is_string(const struct config_option *o)
{
	return o->type == CONFIG_STRING || o->type == CONFIG_SECRET;
}

/* value, cut to a decent length and without control characters, for a message. */
const char *config_shown(const char *value, char ret[static CONFIG_SHOWN_SIZE]);

/* A BYTES, DURATION or NUMBER as one would write it: "64k", "1h". */
const char *config_format_number(const struct config_option *o, uint64_t value, char *ret,
				 size_t size);

/* "tls-server-name": what stands behind the two dashes. */
const char *config_flag_name(const struct config_option *o, char ret[static CONFIG_NAME_SIZE]);
/* The same by the rule alone, even if the row names another flag. */
void config_flag_of_key(const char *key, char ret[static CONFIG_NAME_SIZE]);
/* "SEKOIA_TLS_SERVER_NAME" */
const char *config_env_name(const struct config_option *o, char ret[static CONFIG_NAME_SIZE]);

/* Frees text that may be secret. NULL is fine. */
void config_wipe_string(char *s);

/* ------------------------------------------------------------------- config.c */

/* Wipes what is secret. NULL is fine. */
void config_sources_free(struct config_sources *s);

/* -------------------------------------------------------------- config_file.c */

/* What a file gave, besides the values. */
struct config_file_facts {
	unsigned line[CONFIG_OPTIONS_MAX]; /* where each option stands, by its row; 0: nowhere */
};
void config_parse_file(struct config *c, FILE *f, const char *name, struct config_errors *e,
		       struct config_file_facts *ret);

/* --------------------------------------------------------------- config_near.c */

/* Edits that lead from a to b, in whatever case; a large number for long words. */
unsigned config_distance(const char *a, const char *b);
/* Is that few enough to say "did you mean"? */
bool config_is_near(unsigned distance, const char *given);

/* -------------------------------------------------------------- config_print.c */

/* "1s to 1h", "yes or no", "fra1, fra2"; empty for texts. */
void config_format_allowed(const struct config_option *o, char *ret, size_t size);
/* "FILE", "yes|no": what a flag's value is called. */
const char *config_metavar(const struct config_option *o);

/* -------------------------------------------------------------- config_check.c */

/*
 * For struct config_option.check: NULL, or what is wrong with the value and
 * what is allowed, to follow the value in a message. May tidy the value in
 * place; never makes it longer.
 */
const char *config_check_intake_key(char *value);
const char *config_check_outputs(char *value);
/* In routes.c. */
const char *config_check_routes(char *value);
/* In config_check.c again. */
const char *config_check_drop_order(char *value);
const char *config_check_host(char *value);
const char *config_check_targets(char *value);
const char *config_check_listen(char *value);
const char *config_check_hostname(char *value);
const char *config_check_path(char *value);
const char *config_check_proxy(char *value);
/* In flow_filter.c. */
const char *config_check_networks(char *value);
const char *config_check_ports(char *value);
const char *config_check_protocols(char *value);
const char *config_check_users(char *value);
const char *config_check_commands(char *value);
const char *config_check_cgroups(char *value);
const char *config_check_units(char *value);
const char *config_check_identifiers(char *value);
/* Of paths: config/watch_paths.h. */
const char *config_check_paths(char *value);

bool config_is_name(const char *s, size_t len);
bool config_is_ipv6(const char *s, size_t len);

/* Does any output go to an intake, and so need a key? */
bool config_has_intake_output(const struct config *c);

/* What holds between values. */
void config_check_all(const struct config *c, struct config_errors *e);

/* Does a comma list like $no_proxy exempt this host? */
bool config_no_proxy_has(const char *list, const char *host);
