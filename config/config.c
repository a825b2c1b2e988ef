/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where values come from, and in which order: file, environment, flags. Takes
 * secrets out of argv and the environment before it does anything that could
 * take time. How a value is read is for config_value.c, the file's text for
 * config_file.c.
 */
#define _GNU_SOURCE
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "config/private.h"
#include "config/routes.h"

#define KEY_FILE_MAX 4096 /* a key and the blanks around it */

/* A value on its way: argv and the environment are read before the file, and count after it. */
struct given {
	const struct config_option *o;
	char *value; /* a copy */
	char where[CONFIG_NAME_SIZE];
};

struct config_sources {
	struct given *list; /* environment, then flags */
	int n;
	char *file;		/* --config; a copy */
	char *proxy;		/* from https_proxy and its kin; a copy */
	const char *proxy_from; /* the name of that variable */
	const char *no_proxy;	/* borrowed from the environment */
	enum config_action action;
	unsigned command_flags;
};

void config_sources_free(struct config_sources *s)
{
	if (!s)
		return;
	for (int i = 0; i < s->n; i++)
		config_wipe_string(s->list[i].value);
	free(s->list);
	free(s->file);
	config_wipe_string(s->proxy);
	free(s);
}

/* Takes a copy of value. */
static void give(struct config_sources *s, const struct config_option *o, const char *value,
		 const char *where, struct config_errors *e)
{
	struct given *list = reallocarray(s->list, (size_t)s->n + 1, sizeof(*list));
	struct given *g;

	if (!list) {
		config_error(e, "%s: out of memory", where);
		return;
	}
	s->list = list;
	g = &list[s->n];
	*g = (struct given){ .o = o, .value = strdup(value) };
	if (!g->value) {
		config_error(e, "%s: out of memory", where);
		return;
	}
	snprintf(g->where, sizeof(g->where), "%s", where);
	s->n++;
}

static void set_file(struct config_sources *s, const char *value, const char *where,
		     struct config_errors *e)
{
	free(s->file);
	s->file = *value ? strdup(value) : NULL;
	if (!s->file)
		config_error(e, "%s: needs a file name", where);
}

/* ------------------------------------------------------------------ environment */

/*
 * Kubernetes puts the address of each service of a namespace into the
 * environment; a service named sekoia-… makes names that begin like ours.
 */
static bool is_service_link(const char *name, const char *value)
{
	return strstr(name, "_SERVICE_") || strstr(name, "_PORT_") ||
	       strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0;
}

static void unknown_variable(const char *name, struct config_errors *e)
{
	char near[CONFIG_NAME_SIZE] = "", shown[CONFIG_SHOWN_SIZE];
	unsigned best = UINT_MAX;

	for (const struct config_option *o = config_options; o->key; o++) {
		char env[CONFIG_NAME_SIZE];
		unsigned distance = config_distance(config_env_name(o, env), name);

		if (distance < best) {
			best = distance;
			strcpy(near, env);
		}
	}
	/* What all names begin with says nothing. */
	if (config_is_near(best, name + strlen("SEKOIA_")))
		config_error(e, "%s: there is no such variable; did you mean %s?",
			     config_shown(name, shown), near);
	else
		config_error(e, "%s: there is no such variable; --help lists the options",
			     config_shown(name, shown));
}

/* One "SEKOIA_NAME=value". True when it is a secret and must leave the environment. */
static bool take_variable(struct config_sources *s, const char *name, const char *value,
			  struct config_errors *e)
{
	if (strcmp(name, "SEKOIA_CONFIG") == 0) {
		if (*value)
			set_file(s, value, name, e);
		return false;
	}
	for (const struct config_option *o = config_options; o->key; o++) {
		char env[CONFIG_NAME_SIZE];

		if (strcmp(config_env_name(o, env), name) != 0)
			continue;
		/* Empty is how many tools say "not set"; for a text it also means "none". */
		if (*value || (config_is_string(o) && !o->initial))
			give(s, o, value, name, e);
		return o->type == CONFIG_SECRET;
	}
	if (!is_service_link(name, value))
		unknown_variable(name, e);
	return false;
}

/* The first that is set wins, as in curl. True when the value holds a password. */
static bool take_proxy(struct config_sources *s, const char *name, const char *value)
{
	static const char *const names[] = { "https_proxy", "HTTPS_PROXY", "all_proxy",
					     "ALL_PROXY" };
	const char *scheme = strstr(value, "://") ? "" : "http://";
	char *text;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(names[i], name) != 0)
			continue;
		/* An earlier name may come later in the environment. */
		for (size_t k = 0; s->proxy && k <= i; k++)
			if (strcmp(s->proxy_from, names[k]) == 0)
				return strchr(value, '@');
		if (*value && asprintf(&text, "%s%s", scheme, value) >= 0) {
			config_wipe_string(s->proxy);
			s->proxy = text;
			s->proxy_from = names[i];
		}
		return strchr(value, '@');
	}
	return false;
}

static void read_environment(struct config_sources *s, char **envp, struct config_errors *e)
{
	char **to = envp;

	for (char **from = envp; *from; from++) {
		char *eq = strchr(*from, '='), *entry = *from;
		bool secret = false;

		*to++ = entry;
		if (!eq)
			continue;
		*eq = '\0';
		if (strncmp(entry, "SEKOIA_", 7) == 0)
			secret = take_variable(s, entry, eq + 1, e);
		else if (strcmp(entry, "no_proxy") == 0 ||
			 (strcmp(entry, "NO_PROXY") == 0 && !s->no_proxy))
			s->no_proxy = eq + 1;
		else
			secret = take_proxy(s, entry, eq + 1);
		*eq = '=';
		if (secret) {
			/* The bytes are what /proc/PID/environ shows; the entry is what children
			 * inherit. */
			explicit_bzero(entry, strlen(entry));
			to--;
		}
	}
	*to = NULL;
}

/* ------------------------------------------------------------------ flags */

struct args {
	int argc;
	char **argv;
	int at;	      /* the word being read */
	char **words; /* what is left to the caller */
	int n_words;
	bool only_words; /* behind -- */
};

/* The next word, if it can be the value of an option; takes it. */
static char *next_value(struct args *a)
{
	char *next = a->at + 1 < a->argc ? a->argv[a->at + 1] : NULL;

	if (!next || (next[0] == '-' && next[1]))
		return NULL;
	a->at++;
	return next;
}

static void take_flag(struct config_sources *s, struct args *a, const struct config_option *o,
		      char *value, const char *where, struct config_errors *e)
{
	if (!value)
		value = next_value(a);
	if (!value && o->type == CONFIG_BOOL) {
		give(s, o, "yes", where, e);
	} else if (!value) {
		config_error(e, "%s: needs a value: %s %s", where, where, o->metavar);
	} else {
		give(s, o, value, where, e);
		/* For ps and /proc/PID/cmdline. */
		if (o->type == CONFIG_SECRET)
			memset(value, '*', strlen(value));
	}
}

/*
 * The word behind an option that we do not know: its value, most likely, and
 * perhaps a key behind a slip of the finger. It is not to be told as a command.
 */
static void drop_value(struct args *a)
{
	char *value = next_value(a);

	if (value)
		memset(value, '*', strlen(value));
}

static void unknown_flag(const char *name, struct config_errors *e)
{
	char near[CONFIG_NAME_SIZE] = "", shown[CONFIG_SHOWN_SIZE];
	unsigned best = UINT_MAX;

	for (const struct config_option *o = config_options; o->key; o++) {
		char flag[CONFIG_NAME_SIZE], by_key[CONFIG_NAME_SIZE];
		unsigned distance = config_distance(config_flag_name(o, flag), name), other;

		/* The name that the flag would have, had it none of its own. */
		config_flag_of_key(o->key, by_key);
		other = config_distance(by_key, name);
		if (other < distance)
			distance = other;
		if (distance < best) {
			best = distance;
			strcpy(near, flag);
		}
	}
	if (config_is_near(best, name))
		config_error(e, "--%s: there is no such option; did you mean --%s?",
			     config_shown(name, shown), near);
	else
		config_error(e, "--%s: there is no such option; --help lists them",
			     config_shown(name, shown));
}

/* "--name" or "--name=value"; word is behind the dashes. */
static void read_long(struct config_sources *s, struct args *a, char *word, struct config_errors *e)
{
	char *eq = strchrnul(word, '='), *value = *eq ? eq + 1 : NULL;
	_cleanup_free_ char *name = strndup(word, (size_t)(eq - word));

	if (!name) {
		config_error(e, "out of memory");
		return;
	}
	if (strcmp(name, "config") == 0) {
		if (!value)
			value = next_value(a);
		set_file(s, value ? value : "", "--config", e);
		return;
	}
	if (strcmp(name, "help") == 0 || strcmp(name, "version") == 0) {
		if (value)
			config_error(e, "--%s: takes no value", name);
		s->action = name[0] == 'h' ? CONFIG_HELP : CONFIG_VERSION;
		return;
	}
	for (const struct config_command_flag_row *f = config_command_flags; f->name; f++) {
		if (strcmp(name, f->name) != 0)
			continue;
		if (value)
			config_error(e, "--%s: takes no value", name);
		s->command_flags |= f->bit;
		return;
	}
	for (const struct config_option *o = config_options; o->key; o++) {
		char flag[CONFIG_NAME_SIZE], where[CONFIG_NAME_SIZE + 2];

		if (strcmp(config_flag_name(o, flag), name) != 0)
			continue;
		snprintf(where, sizeof(where), "--%s", flag);
		take_flag(s, a, o, value, where, e);
		return;
	}
	unknown_flag(name, e);
	if (!value)
		drop_value(a);
}

/* "-k", "-kVALUE"; word is behind the dash and not empty. */
static void read_short(struct config_sources *s, struct args *a, char *word,
		       struct config_errors *e)
{
	char *value = word[1] ? word + 1 : NULL;
	char where[3] = { '-', word[0], '\0' };

	if (word[0] == 'c') {
		if (!value)
			value = next_value(a);
		set_file(s, value ? value : "", where, e);
		return;
	}
	if (!value && (word[0] == 'h' || word[0] == 'V')) {
		s->action = word[0] == 'h' ? CONFIG_HELP : CONFIG_VERSION;
		return;
	}
	for (const struct config_option *o = config_options; o->key; o++) {
		if (o->letter != word[0])
			continue;
		take_flag(s, a, o, value, where, e);
		return;
	}
	/* Not more than the letter: the rest may be a secret behind a slip of the finger. */
	config_error(e, "-%c: there is no such option; --help lists them",
		     isprint((unsigned char)word[0]) ? word[0] : '?');
	if (!value)
		drop_value(a);
}

/* Moves the words behind the options, as getopt_long() does; *rest is the first of them. */
static int read_flags(struct config_sources *s, int argc, char **argv, int *rest,
		      struct config_errors *e)
{
	_cleanup_free_ char **words = calloc((size_t)argc + 1, sizeof(*words));
	struct args a = { .argc = argc, .argv = argv, .words = words };
	int n_options = 1;

	if (!words)
		return -ENOMEM;
	for (a.at = 1; a.at < argc; a.at++) {
		char *word = argv[a.at];
		int first = a.at;

		if (a.only_words || word[0] != '-' || !word[1]) {
			words[a.n_words++] = word;
			continue;
		}
		if (strcmp(word, "--") == 0)
			a.only_words = true;
		else if (word[1] == '-')
			read_long(s, &a, word + 2, e);
		else
			read_short(s, &a, word + 1, e);
		/* Words only ever move back, so nothing unread is overwritten. */
		for (int i = first; i <= a.at; i++)
			argv[n_options++] = argv[i];
	}
	*rest = n_options < argc ? n_options : argc;
	for (int i = 0; i < a.n_words; i++)
		argv[n_options++] = words[i];
	return 0;
}

/* ------------------------------------------------------------------ files */

/* Is the secret in this file open to everyone? If so, says how to mend that. */
static bool is_exposed(int fd, const char *path, const char *what, struct config_errors *e)
{
	struct stat st;

	/* A pipe, as in <(pass show intake), has nobody else at its end. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0007))
		return false;
	config_error(e, "%s: %s is open to every user (mode %04o); to mend it: chmod 600 %s", path,
		     what, st.st_mode & 07777, path);
	return true;
}

static unsigned line_of(const struct config_file_facts *facts, const char *key)
{
	const struct config_option *o = config_find(key);

	return o ? facts->line[o - config_options] : 0;
}

/* -errno when the file can not be opened. */
static int read_path(struct config *c, const char *path, struct config_errors *e,
		     struct config_file_facts *ret)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	/* Ours, so that what the file says can be wiped. */
	char io[4096];

	if (!f)
		return -errno;
	setvbuf(f, io, _IOFBF, sizeof(io));
	config_parse_file(c, f, path, e, ret);
	if (line_of(ret, "intake.key"))
		is_exposed(fileno(f), path, "the intake key in it", e);
	else if (line_of(ret, "output.proxy") && c->output_proxy && strchr(c->output_proxy, '@'))
		is_exposed(fileno(f), path, "the proxy's password in it", e);
	fclose(TAKE_PTR(f));
	explicit_bzero(io, sizeof(io));
	return 0;
}

/* Reads a key from path into *ret, which is then NULL or the caller's to wipe. */
static void read_key_file(const char *path, const char *what, bool may_be_empty, char **ret,
			  struct config_errors *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char text[KEY_FILE_MAX + 1];
	const char *wrong;
	size_t len = 0;
	ssize_t n = 0;
	char *start;

	if (fd < 0) {
		config_error(e, "%s: %s: %s", what, path, log_strerror(errno));
		return;
	}
	if (is_exposed(fd, path, "the intake key in it", e))
		return;
	while (len < KEY_FILE_MAX && (n = read(fd, text + len, KEY_FILE_MAX - len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		len += (size_t)n;
	}
	if (n < 0) {
		config_error(e, "%s: %s: %s", what, path, log_strerror(errno));
	} else {
		/* A NUL inside ends the text before len, and then it is no key. */
		while (len && isspace((unsigned char)text[len - 1]))
			len--;
		text[len] = '\0';
		for (start = text; isspace((unsigned char)*start); start++)
			;
		wrong = strlen(text) == len ? config_check_intake_key(start) : "is not a text";
		if (may_be_empty && !len)
			; /* none is there */
		else if (wrong)
			config_error(e, "%s: %s: what it holds %s", what, path, wrong);
		else
			*ret = strdup(start);
	}
	explicit_bzero(text, sizeof(text));
}

static void load_default_key(struct config *c, struct config_errors *e)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	_cleanup_free_ char *path = NULL;

	if (c->intake_key)
		return;
	if (c->intake_key_file) {
		read_key_file(c->intake_key_file, "intake.key_file", false, &c->intake_key, e);
		return;
	}
	if (credentials && *credentials) {
		if (asprintf(&path, "%s/intake-key", credentials) < 0) {
			path = NULL;
			config_error(e, "out of memory");
			return;
		}
		/* A unit gives an empty one (SetCredential=) when nobody has set another. */
		if (access(path, F_OK) == 0) {
			int mistakes = e->n;

			read_key_file(path, "systemd credential", true, &c->intake_key, e);
			if (c->intake_key || e->n > mistakes)
				return;
		}
	}
	if (config_has_intake_output(c))
		config_error(e, "the intake key is missing; give it with --intake-key KEY, "
				"SEKOIA_INTAKE_KEY, --intake-key-file FILE, the systemd credential "
				"intake-key, or key in [intake] of " CONFIG_DEFAULT_FILE);
}

/* One text for the shipper, as intake.routes has it, with keys in place of files. */
static void load_route_keys(struct config *c, struct config_errors *e)
{
	const char *list = c->intake_routes;
	struct config_route route;
	size_t len = 0;
	char *text;

	config_wipe_string(TAKE_PTR(c->intake_route_keys));
	if (!list)
		return;
	text = malloc(CONFIG_VALUE_MAX);
	if (!text) {
		config_error(e, "out of memory");
		return;
	}
	text[0] = '\0';
	while (config_route_next(&list, &route)) {
		_cleanup_free_ char *path = strndup(route.value.p, route.value.len);
		char *key = NULL;

		if (path)
			read_key_file(path, "intake.routes", false, &key, e);
		/* 16 of 64 and 128 characters fit. */
		if (key)
			len += (size_t)snprintf(text + len, CONFIG_VALUE_MAX - len, "%s%.*s:%s",
						len ? "," : "", (int)route.name.len, route.name.p,
						key);
		config_wipe_string(key);
	}
	if (len)
		c->intake_route_keys = strdup(text);
	explicit_bzero(text, CONFIG_VALUE_MAX);
	free(text);
}

void config_load_key(struct config *c, struct config_errors *e)
{
	load_route_keys(c, e);
	load_default_key(c, e);
}

/* ------------------------------------------------------------------ all of it */

static void apply_proxy(struct config *c, const struct config_sources *s,
			const struct config_file_facts *facts, struct config_errors *e)
{
	const struct config_option *o = config_find("output.proxy");
	const char *hosts = c->output_host ? c->output_host : config_endpoints[c->region].host;
	char host[256];
	uint16_t port;

	if (!s->proxy || !o || facts->line[o - config_options] || !config_has_intake_output(c))
		return;
	for (int i = 0; i < s->n; i++)
		if (s->list[i].o == o)
			return;
	/* One proxy for all targets: none where no_proxy has one of them. */
	while (s->no_proxy && *hosts)
		if (config_parse_target(&hosts, host, sizeof(host), &port) == 0 &&
		    config_no_proxy_has(s->no_proxy, host))
			return;
	config_set(c, o, s->proxy, s->proxy_from, e);
}

static int load(struct config *c, struct config_sources *s, struct config_errors *e)
{
	const char *path = s->file ? s->file : CONFIG_DEFAULT_FILE;
	struct config_file_facts facts = { 0 };
	int err;

	err = read_path(c, path, e, &facts);
	if (err == -ENOENT && !s->file)
		err = 0;
	if (err)
		config_error(e, "%s: can not be opened: %s", path, log_strerror(err));
	for (int i = 0; i < s->n; i++)
		config_set(c, s->list[i].o, s->list[i].value, s->list[i].where, e);
	apply_proxy(c, s, &facts, e);
	config_check_all(c, e);
	return err;
}

int config_load(struct config *c, int argc, char **argv, char **envp, enum config_action *action,
		int *rest, struct config_errors *e)
{
	struct config_sources *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		config_error(e, "out of memory");
		return -ENOMEM;
	}
	config_sources_free(c->sources);
	c->sources = s;
	s->action = CONFIG_RUN;
	/* Both before the file, which may be slow: a secret must not stand there meanwhile. */
	read_environment(s, envp, e);
	err = read_flags(s, argc, argv, rest, e);
	if (err) {
		config_error(e, "out of memory");
		return err;
	}
	*action = s->action;
	c->command_flags = s->command_flags;
	if (s->action != CONFIG_RUN) {
		/* Who asks for help gets help, whatever else is wrong. */
		config_errors_done(e);
		config_errors_init(e);
		return 0;
	}
	err = load(c, s, e);
	if (err)
		return err;
	return e->n ? -EINVAL : 0;
}

int config_reload(const struct config *c, struct config **ret, struct config_errors *e)
{
	_cleanup_(config_freep) struct config *next = NULL;
	int err;

	err = config_new(&next);
	if (err)
		return err;
	err = load(next, c->sources, e);
	if (err)
		return err;
	config_load_key(next, e);
	if (e->n)
		return -EINVAL;
	*ret = TAKE_PTR(next);
	return 0;
}
