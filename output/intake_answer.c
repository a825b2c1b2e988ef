/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/intake_answer.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

enum state {
	S_START, /* before the object; zero, as every answer begins */
	S_VALUE, /* a value is due */
	S_VALUE_OR_END,
	S_KEY_OR_END,
	S_KEY_DUE,
	S_KEY,
	S_COLON,
	S_STRING,
	S_WORD, /* a number, true, false, null */
	S_AFTER,
	S_DONE,
};

#define ESCAPE_START 5 /* behind the backslash; 4 to 1: digits of \\u that are due */

enum list { LIST_NONE, LIST_IDS, LIST_ERRORS };
enum key { KEY_OTHER, KEY_IDS, KEY_ERRORS, KEY_STATUS, KEY_ERROR, KEY_INDEX };

static bool in_array(const struct intake_answer *a)
{
	return a->depth && (a->arrays >> (a->depth - 1) & 1);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* 1 to 9 digits; a fraction or an exponent is no status and no index. */
static bool word_number(const struct intake_answer *a, uint32_t *ret)
{
	uint32_t value = 0;

	if (!a->word_len || a->word_len > 9)
		return false;
	for (unsigned i = 0; i < a->word_len; i++) {
		if (a->word[i] < '0' || a->word[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(a->word[i] - '0');
	}
	*ret = value;
	return true;
}

static struct slice word_of(const struct intake_answer *a)
{
	return (struct slice){ a->word, a->word_len };
}

/* Length and first characters are enough to tell broken JSON from ours. */
static bool word_is_json(const struct intake_answer *a)
{
	struct slice w = word_of(a);
	char c = a->word[0];

	return c == '-' || (c >= '0' && c <= '9') || slice_is(w, "null") || slice_is(w, "true") ||
	       slice_is(w, "false");
}

static void on_key(struct intake_answer *a)
{
	struct slice w = word_of(a);

	a->key = KEY_OTHER;
	if (a->depth == 1) {
		if (slice_is(w, "event_ids"))
			a->key = KEY_IDS;
		else if (slice_is(w, "errors"))
			a->key = KEY_ERRORS;
	} else if (a->depth == 3 && a->list) {
		if (slice_is(w, "status"))
			a->key = KEY_STATUS;
		else if (slice_is(w, "error"))
			a->key = KEY_ERROR;
		else if (slice_is(w, "index"))
			a->key = KEY_INDEX;
	}
}

/* A value that is no object or array has ended; a string has no word. */
static void on_scalar(struct intake_answer *a, bool string)
{
	uint32_t number = 0;
	bool is_number = !string && word_number(a, &number);

	if (a->depth == 2 && a->list == LIST_IDS) {
		if (!string && slice_is(word_of(a), "null"))
			a->refused(a->arg, a->entries, 0);
		a->entries++;
		return;
	}
	if (a->depth != 3 || !a->list)
		return;
	switch (a->key) {
	case KEY_STATUS:
		if (is_number)
			a->status = number;
		break;
	case KEY_ERROR:
		if (is_number && (number == 0 || (number >= 100 && number <= 599)))
			a->status = number;
		else if (string ||
			 (!slice_is(word_of(a), "null") && !slice_is(word_of(a), "false")))
			a->failed = true;
		break;
	case KEY_INDEX:
		if (is_number) {
			a->index = number;
			a->has_index = true;
		}
		break;
	default:
		break;
	}
}

static void on_open(struct intake_answer *a, bool array)
{
	if (a->depth == 1 && array) {
		a->list = a->key == KEY_IDS	 ? LIST_IDS
			  : a->key == KEY_ERRORS ? LIST_ERRORS
						 : LIST_NONE;
		a->has_ids |= a->list == LIST_IDS;
	} else if (a->depth == 2) {
		a->index = 0;
		a->status = 0;
		a->has_index = false;
		a->failed = false;
	} else if (a->depth == 3 && a->list && a->key == KEY_ERROR) {
		a->failed = true; /* an object that describes it */
	}
	if (array)
		a->arrays |= 1u << a->depth;
	else
		a->arrays &= ~(1u << a->depth);
	a->depth++;
}

static void on_close(struct intake_answer *a)
{
	a->depth--;
	if (a->depth == 2 && a->list == LIST_IDS) {
		if (a->status >= 400 || (a->failed && !a->status))
			a->refused(a->arg, a->entries, a->status);
		a->entries++;
	} else if (a->depth == 2 && a->list == LIST_ERRORS) {
		/* Listed among the errors: only a good status says otherwise. */
		if (a->has_index && (!a->status || a->status >= 400))
			a->refused(a->arg, a->index, a->status);
	} else if (a->depth == 1) {
		a->list = LIST_NONE;
	}
	a->state = a->depth ? S_AFTER : S_DONE;
}

static void word_start(struct intake_answer *a, enum state state)
{
	a->state = state;
	a->word_len = 0;
	a->escape = 0;
}

static void word_add(struct intake_answer *a, char c)
{
	if (a->word_len < sizeof(a->word))
		a->word[a->word_len] = c;
	if (a->word_len < 255)
		a->word_len++;
}

static void word_end(struct intake_answer *a)
{
	if (a->word_len > sizeof(a->word))
		a->word_len = 0; /* too long to be one of ours */
}

static int on_value(struct intake_answer *a, char c)
{
	if (c == '"') {
		word_start(a, S_STRING);
	} else if (c == '{' || c == '[') {
		if (a->depth >= INTAKE_ANSWER_DEPTH)
			return -EBADMSG;
		on_open(a, c == '[');
		a->state = c == '[' ? S_VALUE_OR_END : S_KEY_OR_END;
	} else if (c == '-' || (c >= '0' && c <= '9') || c == 't' || c == 'f' || c == 'n') {
		word_start(a, S_WORD);
		word_add(a, c);
	} else {
		return -EBADMSG;
	}
	return 0;
}

/* The bytes of a string; most of an answer. Returns how many it took. */
static ssize_t in_string(struct intake_answer *a, const char *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		unsigned char c;

		/* What a value says, matters to nobody; a key may be one of ours. */
		if (a->state == S_STRING && !a->escape)
			while (i < n && p[i] != '"' && p[i] != '\\' && (unsigned char)p[i] >= 0x20)
				i++;
		if (i == n)
			break;
		c = (unsigned char)p[i++];

		if (a->escape) {
			/* Which characters, matters for none of ours: only where it ends. */
			a->escape = a->escape == ESCAPE_START ? (c == 'u' ? 4 : 0) : a->escape - 1;
		} else if (c == '"') {
			word_end(a);
			if (a->state == S_KEY) {
				on_key(a);
				a->state = S_COLON;
			} else {
				on_scalar(a, true);
				a->state = S_AFTER;
			}
			return (ssize_t)i;
		} else if (c == '\\') {
			a->escape = ESCAPE_START;
			word_add(a, '\\');
		} else if (c < 0x20) {
			return -EBADMSG;
		} else {
			word_add(a, (char)c);
		}
	}
	return (ssize_t)i;
}

static int on_char(struct intake_answer *a, char c)
{
	if (a->state == S_WORD) {
		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '+' ||
		    c == '-' || c == 'E') {
			word_add(a, c);
			return 0;
		}
		if (!word_is_json(a))
			return -EBADMSG;
		word_end(a);
		on_scalar(a, false);
		a->state = S_AFTER;
	}
	if (is_space(c))
		return 0;
	switch (a->state) {
	case S_START:
		if (c != '{')
			return -EBADMSG;
		return on_value(a, c);
	case S_VALUE_OR_END:
		if (c == ']') {
			on_close(a);
			return 0;
		}
		return on_value(a, c);
	case S_VALUE:
		return on_value(a, c);
	case S_KEY_OR_END:
		if (c == '}') {
			on_close(a);
			return 0;
		}
		/* fall through */
	case S_KEY_DUE:
		if (c != '"')
			return -EBADMSG;
		word_start(a, S_KEY);
		return 0;
	case S_COLON:
		if (c != ':')
			return -EBADMSG;
		a->state = S_VALUE;
		return 0;
	case S_AFTER:
		if (c == ',') {
			a->state = in_array(a) ? S_VALUE : S_KEY_DUE;
			return 0;
		}
		if (c != (in_array(a) ? ']' : '}'))
			return -EBADMSG;
		on_close(a);
		return 0;
	default: /* S_DONE: one object, and nothing behind it */
		return -EBADMSG;
	}
}

int intake_answer_feed(struct intake_answer *a, struct slice in)
{
	while (in.len) {
		ssize_t n = 1;

		if (a->state == S_STRING || a->state == S_KEY)
			n = in_string(a, in.p, in.len);
		else if (on_char(a, in.p[0]) < 0)
			n = -EBADMSG;
		if (n < 0)
			return -EBADMSG;
		in.p += n;
		in.len -= (size_t)n;
	}
	return 0;
}

int intake_answer_end(const struct intake_answer *a)
{
	return a->state == S_DONE ? 0 : -EBADMSG;
}
