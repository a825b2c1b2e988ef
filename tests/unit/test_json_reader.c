/* SPDX-License-Identifier: Apache-2.0 */
/* Values are found by their path, in whole objects and in those that are cut off, and in nothing
 * else. */
#include "user/util/json_reader.h"

#include "tests/lib/test.h"

static const char record[] =
	"{\"a\":\"x\\\"y\",\"process\":{\"pid\":42,\"name\":\"cu{rl\",\"args\":[\"a}\",\"b\"],"
	"\"parent\":{\"pid\":1}},\"n\":null,\"t\":true, \"list\" : [ 1 , 2 ] ,\"empty\":[],"
	"\"event\":{\"kind\":\"event\",\"reason\":";

TEST(paths)
{
	static const struct {
		const char *path, *want; /* NULL: not there */
	} cases[] = {
		{ "a", "x\"y" },
		{ "process.pid", "42" },
		{ "process.name", "cu{rl" },
		{ "process.args", "a}" },
		{ "process.parent.pid", "1" },
		{ "n", "null" },
		{ "t", "true" },
		{ "list", "1" },
		{ "empty", "" },
		{ "event.kind", "event" },
		{ "event.reason", NULL },
		{ "event.none", NULL },
		{ "pid", NULL },
		{ "process.pid.x", NULL },
		{ "", NULL },
		{ "a.", NULL },
	};
	char text[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice value;
		bool found = json_find(slice_of(record), cases[i].path, &value);

		if (found != (cases[i].want != NULL))
			printf("# %s\n", cases[i].path);
		CHECK_INT(found, cases[i].want != NULL);
		if (found)
			CHECK_MEM(text, json_text(value, text, sizeof(text)), cases[i].want);
	}
	CHECK(!json_find((struct slice){ 0 }, "a", &(struct slice){ 0 }));
}

TEST(escapes)
{
	static const struct {
		const char *json, *want;
	} cases[] = {
		{ "\"\\u00e9\\n\\t\\/\\\\\"", "\xc3\xa9\n\t/\\" },
		{ "\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!" },
		{ "\"\\ud83d!\"", "\xef\xbf\xbd!" },
		{ "\"\\ude00\"", "\xef\xbf\xbd" },
		{ "\"\\uzz\"", "\xef\xbf\xbdzz" },
		{ "\"\\q\"", "q" },
		{ "\"open", "open" },
		{ "\"open\\", "open" },
		{ "[\"x\",1]", "x" },
		{ "[[1]]", "" },
		{ "[ ]", "" },
		{ "", "" },
	};
	char text[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK_MEM(text, json_text(slice_of(cases[i].json), text, sizeof(text)),
			  cases[i].want);
}

TEST(cut_between_characters)
{
	char text[4];

	CHECK_MEM(text, json_text(SLICE("\"ab\xc3\xa9z\""), text, sizeof(text)), "ab");
	CHECK_STR(text, "ab");
	CHECK_MEM(text, json_text(SLICE("\"\\u00e9\\u00e9\""), text, sizeof(text)), "\xc3\xa9");
	CHECK_INT(json_text(SLICE("\"ab\""), text, 1), 0);
	CHECK_INT(json_text(SLICE("\"ab\""), text, 0), 0);
}

TEST(numbers)
{
	uint64_t v = 7;

	CHECK(json_find_u64(SLICE("{\"a\":18446744073709551615}"), "a", &v));
	CHECK(v == UINT64_MAX);
	CHECK(!json_find_u64(SLICE("{\"a\":18446744073709551616}"), "a", &v));
	CHECK(!json_find_u64(SLICE("{\"a\":-1}"), "a", &v));
	CHECK(!json_find_u64(SLICE("{\"a\":1.5}"), "a", &v));
	CHECK(!json_find_u64(SLICE("{\"a\":\"1\"}"), "a", &v));
	CHECK(!json_find_u64(SLICE("{}"), "a", &v));
}

TEST(what_is_no_json)
{
	static const char *const texts[] = {
		"",	    "{",	 "}",	 "[",	      "{\"a\"",
		"{\"a\":",  "{a:1}",	 "null", "{\"b\":]}", "{\"b\":1 \"a\":2}",
		"{\"b\":{", "{\"b\":\"", "{,}"
	};
	struct slice value;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		CHECK(!json_find(slice_of(texts[i]), "a", &value));
}

TEST(members_and_items)
{
	struct slice value, rest = SLICE(" [ {\"a.b\":1} , \"]\" ,[2], 3 ] x");
	static const char *const items[] = { "{\"a.b\":1}", "\"]\"", "[2]", "3" };
	static const char *const none[] = { "", "[]", "{}", "1", "[", "[ ", "[1", "[\"", "]" };

	CHECK(json_member(SLICE("{\"a\":{\"b\":0},\"a.b\":1}"), "a.b", &value));
	CHECK(slice_is(value, "1"));
	CHECK(!json_member(SLICE("[]"), "a", &value));
	CHECK(!json_member((struct slice){ 0 }, "a", &value));
	for (size_t i = 0; i < sizeof(items) / sizeof(*items); i++) {
		CHECK(json_next_item(&rest, &value));
		CHECK(slice_is(value, items[i]));
	}
	CHECK(!json_next_item(&rest, &value));
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		rest = slice_of(none[i]);
		/* A number that is cut off is not seen to be; nothing else is an item. */
		if (json_next_item(&rest, &value))
			CHECK_STR(none[i], "[1");
	}
	rest = (struct slice){ 0 };
	CHECK(!json_next_item(&rest, &value));
}
