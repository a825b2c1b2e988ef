/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: an INI text, parsed by inih.
 *
 * inih is made of few rules, some of them surprising, and it stops telling
 * after its first mistake. So it gets its lines from our reader, which counts
 * them, answers for what inih would cut or guess, and leaves to inih what is
 * plain: sections, names, values, comments. In particular:
 *
 * - a value ends with its line: leading blanks are taken away, so inih never
 *   sees the continuation of a value;
 * - " ;" begins a comment behind a value, as inih does it; config_set() refuses
 *   " #" and other texts that could not be written here;
 * - a line that is longer than inih's buffer is a mistake, not two lines.
 */
#define _GNU_SOURCE
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <string.h>

#include "config/private.h"

/* Debian's inih can be told to take longer lines than 200 bytes; others do not have these. */
extern int ini_max_line __attribute__((weak));
extern int ini_initial_alloc __attribute__((weak));
extern bool ini_use_stack __attribute__((weak));

struct ini_file {
	struct config *c;
	FILE *f;
	const char *name;
	struct config_errors *e;
	struct config_file_facts *facts;
	unsigned line;
	size_t bytes;
	bool ended;
	bool skip;    /* the section is not known: nothing in it can be judged */
	bool waiting; /* inih has a line that must become a call of on_pair() */
};

static void mistake(struct ini_file *f, const char *text)
{
	config_error(f->e, "%s:%u: %s", f->name, f->line, text);
}

/* Does the table have a section of this name? If not, *ret is the nearest one. */
static bool find_section(const char *name, size_t len, char ret[static CONFIG_NAME_SIZE])
{
	char given[CONFIG_NAME_SIZE];
	unsigned best = UINT_MAX;

	*ret = '\0';
	snprintf(given, sizeof(given), "%.*s", (int)len, name);
	for (const struct config_option *o = config_options; o->key; o++) {
		char section[CONFIG_NAME_SIZE];
		unsigned distance;

		snprintf(section, sizeof(section), "%.*s", (int)strcspn(o->key, "."), o->key);
		if (len < sizeof(given) && strcmp(section, given) == 0)
			return true;
		distance = config_distance(section, given);
		if (distance < best && config_is_near(distance, given)) {
			best = distance;
			strcpy(ret, section);
		}
	}
	return false;
}

/* True when inih may see the line. */
static bool on_section(struct ini_file *f, const char *s)
{
	const char *end = strchr(s, ']'), *comment = strstr(s, " ;");
	char near[CONFIG_NAME_SIZE], shown[CONFIG_SHOWN_SIZE], name[CONFIG_NAME_SIZE];
	const char *after;

	f->skip = true;
	if (!end || (comment && comment < end)) {
		mistake(f, "a section without its ]; allowed: [section]");
		return false;
	}
	for (after = end + 1; isspace((unsigned char)*after); after++)
		;
	if (*after && *after != ';' && *after != '#') {
		mistake(f, "text behind a section; allowed: [section], and its options in lines of "
			   "their own");
		return false;
	}
	if (find_section(s + 1, (size_t)(end - s - 1), near)) {
		f->skip = false;
		return true;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(end - s - 1), s + 1);
	config_error(f->e, "%s:%u: there is no section [%s]%s%s%s", f->name, f->line,
		     config_shown(name, shown), *near ? "; did you mean [" : "", near,
		     *near ? "]?" : "");
	return false;
}

/* Reads a line into str, or as much as fits. False: there is none. */
static bool read_line(struct ini_file *f, char *str, size_t size, bool *ret_nul, bool *ret_long)
{
	size_t len = 0;
	bool any = false;
	int ch;

	*ret_nul = false;
	*ret_long = false;
	while ((ch = getc_unlocked(f->f)) != EOF) {
		any = true;
		if (++f->bytes > CONFIG_FILE_MAX) {
			f->line++;
			mistake(f, "the file is larger than 1 MiB; is it a configuration?");
			return false;
		}
		if (ch == '\n')
			break;
		if (!ch)
			*ret_nul = true;
		if (len < size - 1)
			str[len++] = (char)ch;
		else
			*ret_long = true;
	}
	str[len] = '\0';
	f->line += any;
	if (ch == EOF && ferror(f->f)) {
		config_error(f->e, "%s: can not be read: %s", f->name, log_strerror(errno));
		return false;
	}
	return any;
}

static void trim(struct ini_file *f, char *str)
{
	char *start = str;
	size_t len;

	if (f->line == 1 && strncmp(start, "\xef\xbb\xbf", 3) == 0)
		start += 3;
	while (isspace((unsigned char)*start))
		start++;
	len = strlen(start);
	while (len && isspace((unsigned char)start[len - 1]))
		len--;
	memmove(str, start, len);
	str[len] = '\0';
}

static void check_answered(struct ini_file *f)
{
	/* The line is not repeated: it may be a key that lost its name. */
	if (f->waiting && !f->skip)
		mistake(f, "neither a [section] nor name = value");
	f->waiting = false;
}

/* ini_reader: like fgets(), with one line at each call. */
static char *next_line(char *str, int num, void *stream)
{
	struct ini_file *f = stream;
	bool nul, too_long;

	check_answered(f);
	if (f->ended || num < 2 || !read_line(f, str, (size_t)num, &nul, &too_long)) {
		f->ended = true;
		/* inih gives its buffer back as it is, and a line may hold a secret. */
		if (num > 0)
			explicit_bzero(str, (size_t)num);
		return NULL;
	}
	if (nul) {
		mistake(f, "a NUL byte; is this a text file?");
		*str = '\0';
		/* One such line is enough: the others are no text either. */
		f->ended = true;
		return str;
	}
	trim(f, str);
	if (!*str || *str == ';' || *str == '#') {
		*str = '\0';
	} else if (too_long) {
		config_error(f->e, "%s:%u: the line is too long; allowed: %d bytes", f->name,
			     f->line, num - 1);
		*str = '\0';
	} else if (*str == '[') {
		if (!on_section(f, str))
			*str = '\0';
	} else {
		f->waiting = true;
	}
	return str;
}

static void unknown_name(struct ini_file *f, const char *section, const char *name)
{
	char key[2 * CONFIG_NAME_SIZE], shown[CONFIG_SHOWN_SIZE];
	const struct config_option *near = NULL;
	unsigned best = UINT_MAX;

	snprintf(key, sizeof(key), "%s.%.63s", section, name);
	for (const struct config_option *o = config_options; o->key; o++) {
		unsigned distance = config_distance(o->key, key);

		/* The right name in the wrong section is a near miss as well. */
		if (strcmp(strchr(o->key, '.') + 1, name) == 0)
			distance = 1;
		if (distance < best) {
			best = distance;
			near = o;
		}
	}
	if (near && config_is_near(best, name)) {
		int len = (int)strcspn(near->key, ".");
		bool here = strncmp(near->key, section, (size_t)len) == 0 && !section[len];

		config_error(f->e, "%s:%u: [%s] has no %s; did you mean %s%s%.*s%s?", f->name,
			     f->line, section, config_shown(name, shown), near->key + len + 1,
			     here ? "" : " in [", here ? 0 : len, near->key, here ? "" : "]");
	} else {
		config_error(f->e, "%s:%u: [%s] has no %s", f->name, f->line, section,
			     config_shown(name, shown));
	}
}

/* ini_handler */
static int on_pair(void *user, const char *section, const char *name, const char *value)
{
	struct ini_file *f = user;
	_cleanup_free_ char *where = NULL;
	char key[2 * CONFIG_NAME_SIZE];
	const struct config_option *o;
	unsigned *line;

	f->waiting = false;
	if (f->skip)
		return 1;
	if (!*section) {
		mistake(f, "stands before any [section]");
		return 1;
	}
	if (snprintf(key, sizeof(key), "%s.%s", section, name) >= (int)sizeof(key))
		o = NULL;
	else
		o = config_find(key);
	if (!o) {
		unknown_name(f, section, name);
		return 1;
	}
	line = &f->facts->line[o - config_options];
	if (*line) {
		config_error(f->e, "%s:%u: %s is given twice; first in line %u", f->name, f->line,
			     key, *line);
		return 1;
	}
	*line = f->line;
	if (asprintf(&where, "%s:%u", f->name, f->line) < 0) {
		where = NULL;
		mistake(f, "out of memory");
		return 1;
	}
	config_set(f->c, o, value, where, f->e);
	return 1;
}

void config_parse_file(struct config *c, FILE *file, const char *name, struct config_errors *e,
		       struct config_file_facts *ret)
{
	struct ini_file f = { .c = c, .f = file, .name = name, .e = e, .facts = ret };

	*ret = (struct config_file_facts){ 0 };
	if (&ini_max_line && &ini_initial_alloc && &ini_use_stack) {
		ini_use_stack = false;
		ini_max_line = CONFIG_LINE_MAX;
		ini_initial_alloc = CONFIG_LINE_MAX;
	}
	if (ini_parse_stream(next_line, &f, on_pair, &f) == -2)
		config_error(e, "%s: out of memory", name);
}

void config_read_file(struct config *c, FILE *f, const char *name, struct config_errors *e)
{
	struct config_file_facts facts;

	config_parse_file(c, f, name, e, &facts);
}
