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
