/* SPDX-License-Identifier: Apache-2.0 */
/* A string inside a string: one pass gives what two passes give. */
#include <errno.h>

#include "tests/lib/test.h"
#include "user/util/json_writer.h"

static void check_same(struct slice text)
{
	char once[256], twice[1024], at_once[1024], *end = NULL, *end2 = NULL, *end3 = NULL;

	CHECK_INT(json_escape(once, sizeof(once), text, &end), 0);
	CHECK_INT(json_escape(twice, sizeof(twice), (struct slice){ once, (size_t)(end - once) },
			      &end2),
		  0);
	CHECK_INT(json_escape_twice(at_once, sizeof(at_once), text, &end3), 0);
	CHECK_INT(end3 - at_once, end2 - twice);
	CHECK(memcmp(at_once, twice, (size_t)(end3 - at_once)) == 0);
	CHECK((size_t)(end3 - at_once) <= JSON_ESCAPE_TWICE_MAX * text.len);
}

TEST(every_byte)
{
	for (int c = 0; c < 256; c++) {
		char text[3] = { 'a', (char)c, 'b' };

		check_same((struct slice){ text, 3 });
		check_same((struct slice){ text + 1, 1 });
	}
}

/* The slow and obvious way. */
static size_t plainly(char *dst, struct slice text)
{
	static const char *const two[256] = {
		['"'] = "\\\"", ['\\'] = "\\\\", ['\b'] = "\\b", ['\f'] = "\\f",
		['\n'] = "\\n", ['\r'] = "\\r",	 ['\t'] = "\\t"
	};
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (two[c])
			n += (size_t)sprintf(dst + n, "%s", two[c]);
		else if (c < 0x20 || c == 0x7f)
			n += (size_t)sprintf(dst + n, "\\u%04x", c);
		else
			dst[n++] = (char)c;
	}
	return n;
}

/* Each byte in each lane of a word, beside each other, at each length. */
TEST(bytes_beside_each_other)
{
	static const unsigned char seeds[] = { 0,   1,	 0x1f, 0x20, '!',  '"',
					       '#', '[', '\\', ']',  0x7e, 0x7f };
	char text[32], want[256], got[256], *end;

	for (int a = 0; a < 128; a++) {
		for (size_t k = 0; k < sizeof(seeds); k++) {
			for (size_t at = 0; at < 17; at++) {
				size_t len = at + 8 + (at + k) % 6, n;

				memset(text, 'x', sizeof(text));
				text[at] = (char)seeds[k];
				text[at + 1] = (char)a;
				n = plainly(want, (struct slice){ text, len });
				CHECK_INT(json_escape(got, sizeof(got), (struct slice){ text, len },
						      &end),
					  0);
				if ((size_t)(end - got) != n || memcmp(got, want, n) != 0)
					CHECK(!"as the slow way has it");
				/* Exactly enough is enough, where the text ends in plain bytes. */
				CHECK_INT(json_escape(got, n, (struct slice){ text, len }, &end),
					  0);
				CHECK_INT(
					json_escape(got, n - 1, (struct slice){ text, len }, &end),
					-ENOBUFS);
			}
		}
	}
}

TEST(texts)
{
	static const char *const texts[] = { "",
					     "\"\\\"",
					     "\xc3\xa9t\xc3\xa9",
					     "\xf0\x9f\x98\x80\xf0\x9f",
					     "a\tb\r\nc\b\f",
					     "\xed\xa0\x80",
					     "{\"a\":\"b\\nc\"}" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check_same(slice_of(texts[i]));
}

TEST(too_small)
{
	char small[6], *end;

	CHECK_INT(json_escape_twice(small, sizeof(small), SLICE("\n"), &end), -ENOBUFS);
	CHECK_INT(json_escape_twice(small, sizeof(small), SLICE("1234567"), &end), -ENOBUFS);
}
