/* SPDX-License-Identifier: Apache-2.0 */
/* What the intake says about each event, in every shape that we read. */
#include "output/intake_answer.h"

#include <errno.h>

#include "tests/lib/test.h"

struct got {
	char text[512];
	size_t len;
};

static void on_refused(void *arg, uint64_t index, unsigned status)
{
	struct got *g = arg;

	if (g->len < sizeof(g->text) - 40)
		g->len += (size_t)sprintf(g->text + g->len, "%llu=%u ", (unsigned long long)index,
					  status);
}

static const struct {
	const char *text;
	int err;
	uint64_t entries;
	const char *refused;
} cases[] = {
	{ "{\"event_ids\":[\"a\",\"b\"]}", 0, 2, "" },
	{ "{\"event_ids\":[]}", 0, 0, "" },
	{ "{\"event_id\":\"a\"}", 0, 0, "" },
	{ "{}", 0, 0, "" },
	{ " \r\n{ \"event_ids\" : [ \"a\" , null ,\t\"c\" ] } \n", 0, 3, "1=0 " },
	{ "{\"event_ids\":[\"a\",null],\"errors\":[{\"index\":1,\"status\":413}]}", 0, 2,
	  "1=0 1=413 " },
	{ "{\"errors\":[{\"status\":413,\"index\":1,\"reason\":{\"index\":9}}],\"event_ids\":[\"a\",null]}",
	  0, 2, "1=413 1=0 " },
	{ "{\"errors\":[{\"index\":0},{\"index\":1,\"status\":200},{\"status\":413},7,null]}", 0, 0,
	  "0=0 " },
	{ "{\"event_ids\":[{\"status\":413},{\"error\":400},{\"error\":\"too large\"},{\"status\":200},"
	  "{\"error\":null},{\"id\":\"x\",\"error\":false},{\"error\":{\"status\":1}},{\"error\":0}]}",
	  0, 8, "0=413 1=400 2=0 6=0 " },
	{ "{\"event_ids\":[[null,{\"status\":500}],true,12,-1.5e+3]}", 0, 4, "" },
	{ "{\"x\":{\"event_ids\":[null]},\"event_ids\":[\"\\\"]\\\\\",\"\\u005d\",null]}", 0, 3,
	  "2=0 " },
	{ "{\"event_ids_and_more\":[null],\"a\":[[[[]]]],\"b\":null}", 0, 0, "" },
	{ "{\"event_ids\":[{\"status\":4130000000}]}", 0, 1, "" },
	{ "", -EBADMSG, 0, "" },
	{ "OK", -EBADMSG, 0, "" },
	{ "[]", -EBADMSG, 0, "" },
	{ "<html></html>", -EBADMSG, 0, "" },
	{ "{\"event_ids\":[\"a\"]", -EBADMSG, 1, "" },
	{ "{\"event_ids\":[\"a\",", -EBADMSG, 1, "" },
	{ "{\"event_ids\":[\"a\"}}", -EBADMSG, 1, "" },
	{ "{\"event_ids\":[\"a\"]]", -EBADMSG, 1, "" },
	{ "{\"event_ids\":[nul]}", -EBADMSG, 0, "" },
	{ "{\"event_ids\":[\"a\n\"]}", -EBADMSG, 0, "" },
	{ "{\"a\" 1}", -EBADMSG, 0, "" },
	{ "{a:1}", -EBADMSG, 0, "" },
	{ "{\"a\":1,}", -EBADMSG, 0, "" },
	{ "{} {}", -EBADMSG, 0, "" },
	{ "{\"a\":[1 2]}", -EBADMSG, 0, "" },
};

TEST(answers_cut_at_every_byte)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].text);

		for (size_t cut = 0; cut <= len; cut++) {
			struct got g = { 0 };
			struct intake_answer a = { .refused = on_refused, .arg = &g };
			int err = intake_answer_feed(&a, (struct slice){ cases[i].text, cut });

			if (!err)
				err = intake_answer_feed(
					&a, (struct slice){ cases[i].text + cut, len - cut });
			if (!err)
				err = intake_answer_end(&a);
			if (err != cases[i].err)
				printf("# case %zu, cut at %zu: %s\n", i, cut, cases[i].text);
			CHECK_INT(err, cases[i].err);
			CHECK_INT(a.entries, cases[i].entries);
			CHECK_MEM(g.text, g.len, cases[i].refused);
		}
	}
}

TEST(depth_has_a_ceiling)
{
	char text[128] = "{\"a\":";
	struct intake_answer a = { .refused = on_refused };

	memset(text + 5, '[', 31);
	CHECK_INT(intake_answer_feed(&a, (struct slice){ text, 5 + 31 }), 0);
	CHECK_INT(intake_answer_feed(&a, SLICE("[")), -EBADMSG);
}

TEST(a_long_answer_needs_no_memory)
{
	struct got g = { 0 };
	struct intake_answer a = { .refused = on_refused, .arg = &g };

	CHECK_INT(intake_answer_feed(&a, SLICE("{\"event_ids\":[\"\"")), 0);
	for (int i = 1; i < 100000; i++)
		CHECK_INT(intake_answer_feed(&a, i == 77777 ? SLICE(",null")
							    : SLICE(",\"12345678-abcd\"")),
			  0);
	CHECK_INT(intake_answer_feed(&a, SLICE("]}")), 0);
	CHECK_INT(intake_answer_end(&a), 0);
	CHECK_INT(a.entries, 100000);
	CHECK_MEM(g.text, g.len, "77777=0 ");
}
