/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value at a time: from text into its field, and back. Where text comes
 * from is for config.c and config_file.c; what a value must look like beyond
 * its type is for config_check.c.
 */
#define _GNU_SOURCE
#include "config/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "config/private.h"

/* A configuration that is wrong in more places is wrong as a whole. */
#define ERRORS_MAX	 100
#define ERRORS_MAX_BYTES (64 * 1024)

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit number_units[] = { { "", 1 }, { NULL } };
static const struct unit bytes_units[] = {
	{ "", 1 },
	{ "k", 1ull << 10 },
	{ "kib", 1ull << 10 },
	{ "m", 1ull << 20 },
	{ "mib", 1ull << 20 },
	{ "g", 1ull << 30 },
	{ "gib", 1ull << 30 },
	{ "t", 1ull << 40 },
	{ "tib", 1ull << 40 },
	{ NULL },
};
static const struct unit duration_units[] = {
	{ "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { NULL },
};

/* ------------------------------------------------------------------ mistakes */

void config_errors_init(struct config_errors *e)
{
	buf_init(&e->text, ERRORS_MAX_BYTES);
	e->n = 0;
}

void config_errors_done(struct config_errors *e)
{
	buf_done(&e->text);
	e->n = 0;
}

void config_error(struct config_errors *e, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	if (++e->n > ERRORS_MAX)
		return;
	if (e->n == ERRORS_MAX) {
		buf_puts(&e->text, "there are more mistakes than are worth telling\n");
		return;
	}
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		buf_puts(&e->text, "out of memory\n");
		return;
	}
	/* The ceiling of the text is far above what ERRORS_MAX mistakes need. */
	buf_printf(&e->text, "%s\n", text);
}

const char *config_shown(const char *value, char ret[static CONFIG_SHOWN_SIZE])
{
	size_t room = CONFIG_SHOWN_SIZE - sizeof("..."), len = strlen(value);
	bool cut = len > room;

	if (cut) {
		len = room;
		/* Not in the middle of a UTF-8 character. */
		while (len && ((unsigned char)value[len] & 0xc0) == 0x80)
			len--;
	}
	for (size_t i = 0; i < len; i++)
		ret[i] = (unsigned char)value[i] < 0x20 || value[i] == 0x7f ? '?' : value[i];
	strcpy(ret + len, cut ? "..." : "");
	return ret;
}

/* ------------------------------------------------------------------ the object */

void config_wipe_string(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

int config_new(struct config **ret)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct config_errors e;
	int n;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	config_errors_init(&e);
	for (const struct config_option *o = config_options; o->key; o++)
		if (o->initial)
			config_set(c, o, o->initial, o->key, &e);
	n = e.n;
	config_errors_done(&e);
	/* The table is ours and a test holds it against its own rules: memory is what failed. */
	if (n)
		return -ENOMEM;
	*ret = TAKE_PTR(c);
	return 0;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (const struct config_option *o = config_options; o->key; o++) {
		if (o->type == CONFIG_SECRET)
			config_wipe_string(*config_string(c, o));
		else if (o->type == CONFIG_STRING)
			free(*config_string(c, o));
	}
	config_sources_free(c->sources);
	free(c);
}

const struct config_option *config_find(const char *key)
{
	for (const struct config_option *o = config_options; o->key; o++)
		if (strcmp(o->key, key) == 0)
			return o;
	return NULL;
}

/* ------------------------------------------------------------------ names */

void config_flag_of_key(const char *key, char ret[static CONFIG_NAME_SIZE])
{
	size_t i;

	for (i = 0; i < CONFIG_NAME_SIZE - 1 && key[i]; i++)
		ret[i] = key[i] == '.' || key[i] == '_' ? '-' : key[i];
	ret[i] = '\0';
}

const char *config_flag_name(const struct config_option *o, char ret[static CONFIG_NAME_SIZE])
{
	config_flag_of_key(o->flag ? o->flag : o->key, ret);
	return ret;
}

const char *config_env_name(const struct config_option *o, char ret[static CONFIG_NAME_SIZE])
{
	char flag[CONFIG_NAME_SIZE];

	snprintf(ret, CONFIG_NAME_SIZE, "SEKOIA_%.56s", config_flag_name(o, flag));
	for (char *p = ret; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return ret;
}

/* ------------------------------------------------------------------ numbers */

static const struct unit *units_of(const struct config_option *o)
{
	switch (o->type) {
	case CONFIG_BYTES:
		return bytes_units;
	case CONFIG_DURATION:
		return duration_units;
	default:
		return number_units;
	}
}

/* 0; -EINVAL: no number, or no such unit; -ERANGE: more than 64 bits hold. */
static int parse_number(const struct config_option *o, const char *text, uint64_t *ret)
{
	const struct unit *u;
	bool overflow = false;
	uint64_t value = 0;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	for (; isdigit((unsigned char)*text); text++)
		overflow |= __builtin_mul_overflow(value, 10, &value) ||
			    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value);
	for (u = units_of(o); u->name; u++)
		if (o->type == CONFIG_BYTES ? strcasecmp(u->name, text) == 0
					    : strcmp(u->name, text) == 0)
			break;
	if (!u->name)
		return -EINVAL;
	if (overflow || __builtin_mul_overflow(value, u->factor, &value))
		return -ERANGE;
	*ret = value;
	return 0;
}

const char *config_format_number(const struct config_option *o, uint64_t value, char *ret,
				 size_t size)
{
	const char *const bytes_names[] = { "", "k", "M", "G", "T" };
	const char *unit = "";

	if (o->type == CONFIG_BYTES) {
		int i = 0;

		for (; value && value % 1024 == 0 && i < 4; i++)
			value /= 1024;
		unit = bytes_names[i];
	} else if (o->type == CONFIG_DURATION) {
		unit = "ms";
		if (value % 1000 == 0) {
			value /= 1000;
			unit = "s";
			if (value && value % 3600 == 0) {
				value /= 3600;
				unit = "h";
			}
		}
	}
	snprintf(ret, size, "%" PRIu64 "%s", value, unit);
	return ret;
}

/* ------------------------------------------------------------------ from text */

/* One mistake about one value; text follows the value. */
static void refuse(const struct config_option *o, const char *value, const char *where,
		   struct config_errors *e, const char *text)
{
	/* "--flag" and "SEKOIA_NAME" say which option it is; "file:line" does not. */
	bool named =
		where[0] == '-' || strncmp(where, "SEKOIA_", 7) == 0 || strcmp(where, o->key) == 0;
	char shown[CONFIG_SHOWN_SIZE];

	if (o->type == CONFIG_SECRET)
		config_error(e, "%s: %s%sthe value %s", where, named ? "" : o->key,
			     named ? "" : ": ", text);
	else
		config_error(e, "%s: %s%s\"%s\" %s", where, named ? "" : o->key, named ? "" : ": ",
			     config_shown(value, shown), text);
}

static void set_number(struct config *c, const struct config_option *o, const char *value,
		       const char *where, struct config_errors *e)
{
	static const char *const what[] = {
		[CONFIG_NUMBER] = "is not a number",
		[CONFIG_BYTES] = "is not a size (a number, with k, M, G or T)",
		[CONFIG_DURATION] = "is not a time (a number with ms, s, m or h)",
	};
	char min[32], max[32], text[192];
	const char *wrong = NULL;
	uint64_t n = 0;
	int err;

	err = parse_number(o, value, &n);
	if (err == -ERANGE || (!err && n > o->max))
		wrong = "is too large";
	else if (err)
		wrong = what[o->type];
	else if (n < o->min)
		wrong = "is too small";
	if (!wrong) {
		*(uint64_t *)config_field(c, o) = n;
		return;
	}
	snprintf(text, sizeof(text), "%s; allowed: %s to %s", wrong,
		 config_format_number(o, o->min, min, sizeof(min)),
		 config_format_number(o, o->max, max, sizeof(max)));
	refuse(o, value, where, e, text);
}

static void set_bool(struct config *c, const struct config_option *o, const char *value,
		     const char *where, struct config_errors *e)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcasecmp(words[i], value) == 0) {
			*(bool *)config_field(c, o) = i % 2;
			return;
		}
	}
	refuse(o, value, where, e,
	       "is neither yes nor no; allowed: yes, no, true, false, on, off, 1, 0");
}

static void set_enum(struct config *c, const struct config_option *o, const char *value,
		     const char *where, struct config_errors *e)
{
	char text[256] = "is not known; allowed:";
	size_t len = strlen(text);

	for (int i = 0; o->values[i]; i++) {
		if (strcasecmp(o->values[i], value) == 0) {
			*(int *)config_field(c, o) = i;
			return;
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s", i ? "," : "",
					o->values[i]);
		assert(len < sizeof(text));
	}
	refuse(o, value, where, e, text);
}

/*
 * What no text may be, so that every value can be written as a line of the
 * file and read again: inih trims blanks, and " ;" begins a comment there.
 */
static const char *text_wrong(const char *s)
{
	size_t len = strlen(s);

	if (len > CONFIG_VALUE_MAX)
		return "is too long; allowed: 4096 bytes";
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return "has a control character in it";
		if ((s[i] == ';' || s[i] == '#') && (!i || s[i - 1] == ' '))
			return "has a comment in it; a comment needs a line of its own, or \" ;\" in "
			       "the file";
	}
	if (s[0] == ' ' || s[len - 1] == ' ')
		return "begins or ends with a blank";
	if (s[0] == '"' || s[0] == '\'')
		return "is in quotes; write it without them";
	return NULL;
}

static void set_string(struct config *c, const struct config_option *o, const char *value,
		       const char *where, struct config_errors *e)
{
	char **at = config_string(c, o), *copy = NULL;
	const char *wrong = NULL;

	if (*value) {
		copy = strdup(value);
		if (!copy) {
			config_error(e, "%s: out of memory", where);
			return;
		}
		wrong = text_wrong(copy);
		if (!wrong && o->check)
			wrong = o->check(copy);
	} else if (o->initial) {
		wrong = "is empty";
	}
	if (wrong) {
		refuse(o, value, where, e, wrong);
		config_wipe_string(copy);
		return;
	}
	config_wipe_string(*at);
	*at = copy;
}

void config_set(struct config *c, const struct config_option *o, const char *value,
		const char *where, struct config_errors *e)
{
	switch (o->type) {
	case CONFIG_STRING:
	case CONFIG_SECRET:
		set_string(c, o, value, where, e);
		break;
	case CONFIG_BOOL:
		set_bool(c, o, value, where, e);
		break;
	case CONFIG_NUMBER:
	case CONFIG_BYTES:
	case CONFIG_DURATION:
		set_number(c, o, value, where, e);
		break;
	case CONFIG_ENUM:
		set_enum(c, o, value, where, e);
		break;
	}
}

/* ------------------------------------------------------------------ to text */

static bool is_same(const struct config *a, const struct config *b, const struct config_option *o)
{
	const void *x = config_field(a, o), *y = config_field(b, o);
	const char *s, *t;

	switch (o->type) {
	case CONFIG_STRING:
	case CONFIG_SECRET:
		s = *(char *const *)x;
		t = *(char *const *)y;
		return s && t ? strcmp(s, t) == 0 : s == t;
	case CONFIG_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case CONFIG_NUMBER:
	case CONFIG_BYTES:
	case CONFIG_DURATION:
		return *(const uint64_t *)x == *(const uint64_t *)y;
	case CONFIG_ENUM:
		return *(const int *)x == *(const int *)y;
	}
	return false;
}

/* The value as config_set() takes it. A text is borrowed from c, a number is in number. */
static const char *value_text(const struct config *c, const struct config_option *o, char *number,
			      size_t size)
{
	const void *at = config_field(c, o);

	switch (o->type) {
	case CONFIG_STRING:
	case CONFIG_SECRET:
		/* output.path alone can be "", which one writes as "/": see config_check_path(). */
		return **(char *const *)at ? *(char *const *)at : "/";
	case CONFIG_BOOL:
		return *(const bool *)at ? "yes" : "no";
	case CONFIG_NUMBER:
	case CONFIG_BYTES:
	case CONFIG_DURATION:
		return config_format_number(o, *(const uint64_t *)at, number, size);
	case CONFIG_ENUM:
		return o->values[*(const int *)at];
	}
	return "";
}

int config_write(const struct config *c, struct buf *ret)
{
	_cleanup_(config_freep) struct config *initial = NULL;
	const char *section = "";
	int err;

	err = config_new(&initial);
	if (err)
		return err;
	for (const struct config_option *o = config_options; o->key; o++) {
		size_t len = strcspn(o->key, ".") + 1;
		char number[32];

		if (is_same(c, initial, o))
			continue;
		if (strncmp(o->key, section, len) != 0) {
			section = o->key;
			err = buf_printf(ret, "[%.*s]\n", (int)len - 1, section);
			if (err)
				return err;
		}
		err = buf_printf(ret, "%s = %s\n", o->key + len,
				 value_text(c, o, number, sizeof(number)));
		if (err)
			return err;
	}
	return 0;
}

static int add_name(struct buf *b, const char *key)
{
	return buf_printf(b, "%s%s", b->len ? ", " : "", key);
}

/* Both are of the same type: pointers change hands, so that each is freed once. */
static void swap_values(struct config *a, struct config *b, const struct config_option *o)
{
	unsigned char tmp[sizeof(uint64_t)];
	size_t size = config_is_string(o)      ? sizeof(char *)
		      : o->type == CONFIG_BOOL ? sizeof(bool)
		      : o->type == CONFIG_ENUM ? sizeof(int)
					       : sizeof(uint64_t);

	memcpy(tmp, config_field(a, o), size);
	memcpy(config_field(a, o), config_field(b, o), size);
	memcpy(config_field(b, o), tmp, size);
}

/* A copy of all values, without what was said on the command line. */
static int copy_values(const struct config *c, struct config **ret)
{
	_cleanup_(config_freep) struct config *copy = NULL;
	int err;

	err = config_new(&copy);
	if (err)
		return err;
	for (const struct config_option *o = config_options; o->key; o++) {
		char **to = config_string(copy, o);
		const char *from;

		if (!config_is_string(o)) {
			struct config shallow = *c;

			swap_values(copy, &shallow, o);
			continue;
		}
		from = *config_string(c, o);
		config_wipe_string(*to);
		*to = from ? strdup(from) : NULL;
		if (from && !*to)
			return -ENOMEM;
	}
	*ret = TAKE_PTR(copy);
	return 0;
}

int config_compare(struct config *next, const struct config *now, struct buf *live,
		   struct buf *frozen, enum config_live *ret)
{
	_cleanup_(config_freep) struct config *old = NULL;
	int err;

	err = copy_values(now, &old);
	if (err)
		return err;
	*ret = CONFIG_FROZEN;
	for (const struct config_option *o = config_options; o->key && !err; o++) {
		if (is_same(next, old, o))
			continue;
		err = add_name(o->live ? live : frozen, o->key);
		if (!o->live)
			swap_values(next, old, o);
		else if (o->live > *ret)
			*ret = o->live;
	}
	return err;
}
