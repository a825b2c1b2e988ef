/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for the spool comes back whole, in its order, and not beyond the ceiling. */
#include "user/held.h"

#include <errno.h>

#include "tests/lib/test.h"

TEST(copies_come_back_in_order)
{
	struct held h = { 0 };
	char text[32];

	CHECK(!held_first(&h));
	held_drop_first(&h);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 1000; i++) {
			struct msg m = { .time_us = (uint64_t)i,
					 .class = MSG_JOURNAL,
					 .pri = 13,
					 .host = SLICE("host"),
					 .app = SLICE("app"),
					 .procid = SLICE("7"),
					 .json = SLICE("{}") };

			m.text = (struct slice){ text, (size_t)snprintf(text, sizeof(text),
									"line %d", i) };
			CHECK_INT(held_add(&h, &m), 0);
			memset(text, 'x', sizeof(text));
		}
		CHECK_INT(held_count(&h), 1000);
		for (int i = 0; i < 1000; i++) {
			const struct msg *m = held_first(&h);

			snprintf(text, sizeof(text), "line %d", i);
			CHECK_INT(m->time_us, i);
			CHECK_INT(m->pri, 13);
			CHECK_MEM(m->host.p, m->host.len, "host");
			CHECK_MEM(m->app.p, m->app.len, "app");
			CHECK_MEM(m->procid.p, m->procid.len, "7");
			CHECK_MEM(m->route.p, m->route.len, "");
			CHECK_MEM(m->text.p, m->text.len, text);
			CHECK_MEM(m->json.p, m->json.len, "{}");
			held_drop_first(&h);
		}
		CHECK_INT(held_count(&h), 0);
		CHECK_INT(h.bytes, 0);
		CHECK(!held_first(&h));
	}
	held_done(&h);
}

TEST(the_ceiling)
{
	static char json[MSG_MAX_BYTES];
	struct msg m = { .json = { json, sizeof(json) } };
	struct held h = { 0 };
	size_t n = 0;
	int err;

	while ((err = held_add(&h, &m)) == 0)
		n++;
	CHECK_INT(err, -ENOBUFS);
	CHECK_INT(held_count(&h), n);
	CHECK(h.bytes <= HELD_MAX_BYTES);
	CHECK(h.bytes + sizeof(json) + sizeof(m) > HELD_MAX_BYTES);
	held_drop_first(&h);
	CHECK_INT(held_add(&h, &m), 0);
	held_done(&h);
	CHECK_INT(held_count(&h), 0);
}
