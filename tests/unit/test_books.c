/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books in their forms, from invented numbers; and that each of them is
 * documented: UPDATE=1 writes that part of docs/OPERATIONS.md.
 */
#define _GNU_SOURCE
#include "user/books.h"

#include <regex.h>

#include "tests/lib/test.h"

#include "tests/lib/json.h"
#include "user/losses.h"
#include "user/record.h"
#include "user/self_record.h"

#define DOCUMENT "docs/OPERATIONS.md"
#define BEGIN	 "<!-- books: begin; written by UPDATE=1 build/tests/unit/test_books -->\n"
#define END	 "<!-- books: end -->\n"

static struct books books;
static char json[128 << 10];

static struct books_item *add(enum books_scope scope, const char *name)
{
	struct books_item *item = &books.items[books.n_items++];

	*item = (struct books_item){ .scope = scope };
	snprintf(item->name, sizeof(item->name), "%s", name);
	return item;
}

/* Each counter has a number of its own, so that none can stand for another. */
static void fill(void)
{
	static const char *const names[BOOKS_SCOPES] = {
		[BOOKS_DAEMON] = "",
		[BOOKS_KERNEL] = "flows",
		[BOOKS_RING] = "flows",
		[BOOKS_SOURCE] = "self",
		[BOOKS_NAMES] = "",
		[BOOKS_CONTAINERS] = "",
		[BOOKS_NAT] = "",
		[BOOKS_UNOWNED] = "udp",
		[BOOKS_SPOOL] = "",
		[BOOKS_OUTPUT] = "https",
		[BOOKS_LOSS] = "kernel.flows.ring_full",
		[BOOKS_PROCESS] = "collector",
		[BOOKS_PROGRAM] = "tcp_set_state",
	};
	uint64_t n = 1000;

	books = (struct books){ .version = "1.2.3",
				.hostname = "web-1",
				.real_us = 1700000000000000 };
	for (int scope = 0; scope < BOOKS_SCOPES; scope++) {
		struct books_item *item = add((enum books_scope)scope, names[scope]);

		for (const struct books_row *row = books_rows; row->key; row++)
			if (row->scope == (enum books_scope)scope)
				memcpy((char *)&item->daemon + row->offset, &(uint64_t){ n++ },
				       sizeof(uint64_t));
	}
}

TEST(rows_are_in_the_order_of_scopes_and_have_all)
{
	enum books_scope last = 0;

	for (const struct books_row *row = books_rows; row->key; row++) {
		CHECK(row->scope >= last);
		last = row->scope;
		CHECK(row->help && row->help[strlen(row->help) - 1] != '.');
		CHECK(!row->lost == !row->cause);
		CHECK(row->offset % 8 == 0);
		/* One place for each name. */
		for (const struct books_row *b = row + 1; b->key; b++)
			CHECK(b->scope != row->scope || strcmp(b->key, row->key) != 0);
	}
}

TEST(a_row_of_each_loss_fits_into_its_name)
{
	for (const struct books_row *row = books_rows; row->key; row++) {
		CHECK(!row->lost || strlen(row->key) <= 13);
		CHECK(strlen(books_scopes[row->scope].name) <= 10);
	}
}

TEST(json)
{
	struct json_c_object *o, *scope, *value;
	struct json_writer w;

	fill();
	snprintf(books.wrongs[0], sizeof(books.wrongs[0]), "a \"quoted\" \x1b thing");
	books.n_wrongs = 1;
	json_init(&w, json, sizeof(json) - 1);
	json_object(&w, NULL);
	books_put_json(&books, false, &w);
	json_object_end(&w);
	o = json_of(json, json_len(&w));
	CHECK(o != NULL);
	for (int i = 0; i < books.n_items; i++) {
		const struct books_item *item = &books.items[i];

		CHECK(json_object_object_get_ex(o, books_scopes[item->scope].name, &scope));
		if (item->name[0])
			CHECK(json_object_object_get_ex(scope, item->name, &scope));
		for (const struct books_row *row = books_rows; row->key; row++) {
			char key[64];

			if (row->scope != item->scope)
				continue;
			snprintf(key, sizeof(key), "%s%s", row->key,
				 row->unit == BOOKS_NS ? "_ns" : "");
			CHECK(json_object_object_get_ex(scope, key, &value));
			CHECK_INT(json_object_get_int64(value), books_value(item, row));
		}
	}
	json_object_put(o);
}

TEST(metrics)
{
	struct buf b;
	regex_t line;
	int samples = 0, helps = 0, types = 0, rows = 0;

	fill();
	buf_init(&b, 256 << 10);
	CHECK_INT(books_put_metrics(&books, &b), 0);
	CHECK_INT(buf_append(&b, "", 1), 0);
	CHECK_INT(regcomp(&line,
			  "^(# HELP [a-z_:]+ .+|# TYPE [a-z_:]+ (counter|gauge)|"
			  "[a-z_:]+(\\{[a-z_]+=\"[^\"]*\"\\})? [0-9]+(\\.[0-9]{9})?)$",
			  REG_EXTENDED | REG_NOSUB),
		  0);
	for (char *save = NULL, *l = strtok_r(buf_data(&b), "\n", &save); l;
	     l = strtok_r(NULL, "\n", &save)) {
		if (regexec(&line, l, 0, NULL, 0))
			printf("# not so: %s\n", l), test_failed = true;
		helps += !strncmp(l, "# HELP", 6);
		types += !strncmp(l, "# TYPE", 6);
		samples += l[0] != '#';
	}
	for (const struct books_row *row = books_rows; row->key; row++)
		rows++;
	CHECK_INT(helps, rows + 2);
	CHECK_INT(types, rows + 2);
	CHECK_INT(samples, rows + 2);
	regfree(&line);
	buf_done(&b);
}

TEST(names_of_metrics)
{
	char name[BOOKS_METRIC_SIZE];

	for (const struct books_row *row = books_rows; row->key; row++) {
		size_t n;

		books_metric_name(row, name);
		n = strlen(name);
		CHECK((n > 6 && !strcmp(name + n - 6, "_total")) == (row->kind == BOOKS_COUNTER));
		CHECK(strstr(name, "bytes_bytes") == NULL);
		CHECK((strstr(name, "_seconds") != NULL) == (row->unit == BOOKS_NS));
		CHECK((strstr(name, "_bytes") != NULL) == (row->unit == BOOKS_BYTES));
	}
}

TEST(a_full_buffer_is_an_error)
{
	struct buf b;

	fill();
	buf_init(&b, 100);
	CHECK(books_put_metrics(&books, &b) < 0);
	CHECK(books_put_page(&books, &b) < 0);
	buf_done(&b);
}

/* As many digits as there can be: the columns shift, but never touch. */
TEST(page_of_large_numbers)
{
	struct buf b;

	fill();
	for (int i = 0; i < books.n_items; i++)
		for (const struct books_row *row = books_rows; row->key; row++)
			if (row->scope == books.items[i].scope)
				memset((char *)&books.items[i].daemon + row->offset, 0xff, 8);
	buf_init(&b, 65536);
	CHECK_INT(books_put_page(&books, &b), 0);
	CHECK_INT(buf_append(&b, "", 1), 0);
	CHECK(strstr(buf_data(&b), "1844674407370955161518446744073709551615") == NULL);
	CHECK(strstr(buf_data(&b), " 18446744073709551615 18446744073709551615") != NULL);
	buf_done(&b);
}

TEST(bytes_for_people)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} cases[] = {
		{ 0, "0 bytes" },	   { 1023, "1023 bytes" },   { 1024, "1 KiB" },
		{ 1536, "1.5 KiB" },	   { 65536, "64 KiB" },	     { 8 << 20, "8 MiB" },
		{ 3ull << 29, "1.5 GiB" }, { UINT64_MAX, "15 EiB" },
	};
	char text[SELF_SIZE_TEXT];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_STR(self_format_bytes(cases[i].bytes, text), cases[i].want);
}

/* ------------------------------------------------------------------ records */

static const char *string_at(struct json_c_object *o, const char *a, const char *b)
{
	struct json_c_object *x, *y;

	if (!json_object_object_get_ex(o, a, &x) || !json_object_object_get_ex(x, b, &y))
		return NULL;
	return json_object_get_string(y);
}

static struct record *make_record(void)
{
	struct record_opts opts = { .hostname = SLICE("web-1"),
				    .version = SLICE("1.2.3"),
				    .epoch = 0xab,
				    .journal_schema = JOURNAL_SCHEMA_RAW,
				    .flow_schema = FLOW_SCHEMA_IPFIX };
	struct record *r = NULL;

	CHECK_INT(record_new(&opts, &r), 0);
	r->seq = 7;
	return r;
}

static struct json_c_object *parse(const struct msg *m)
{
	return json_of(m->json.p, m->json.len);
}

TEST(a_loss_as_a_record)
{
	static const struct {
		const char *scope, *item, *key;
		enum books_scope in;
		uint64_t n, size;
		const char *reason;
	} cases[] = {
		{ "kernel", "flows", "ring_full", BOOKS_KERNEL, 2, 16 << 20,
		  "2 flow events lost between 2023-11-14T22:13:20.000000Z and "
		  "2023-11-14T22:13:21.000000Z: the ring was full; ring.flows is 16 MiB, a larger "
		  "one holds more" },
		{ "kernel", "journal", "no_room", BOOKS_KERNEL, 3, 0,
		  "3 journal messages lost between 2023-11-14T22:13:20.000000Z and "
		  "2023-11-14T22:13:21.000000Z: no room" },
		{ "kernel", "flows", "no_room", BOOKS_KERNEL, 3, 0,
		  "3 flow events lost between 2023-11-14T22:13:20.000000Z and "
		  "2023-11-14T22:13:21.000000Z: no room; a larger flows.max follows more flows at "
		  "once" },
		{ "kernel", "journal", "truncated", BOOKS_KERNEL, 1, 0,
		  "1 journal message cut short between 2023-11-14T22:13:20.000000Z and "
		  "2023-11-14T22:13:21.000000Z: not all of their bytes could be copied" },
		{ "output", "relp", "dropped", BOOKS_OUTPUT, 5, 0,
		  "5 events lost between 2023-11-14T22:13:20.000000Z and "
		  "2023-11-14T22:13:21.000000Z: the spool was at its limit; a larger "
		  "spool.max_bytes holds more" },
		{ "source", "kernel_log", "lost", BOOKS_SOURCE, 1, 0,
		  "1 line of the kernel's log lost between 2023-11-14T22:13:20.000000Z and "
		  "2023-11-14T22:13:21.000000Z: gone before they could be read" },
	};
	struct record *r = make_record();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct books_row *row = books_rows;
		struct json_c_object *o;
		struct losses *l;
		struct msg m;

		while (row->scope != cases[i].in || strcmp(row->key, cases[i].key) != 0)
			row++;
		CHECK_INT(losses_new(&l), 0);
		CHECK(losses_note(l, row, cases[i].scope, cases[i].item, 1, cases[i].n, cases[i].n,
				  1700000000000000, 1700000001000000));
		self_record_loss(r, losses_get(l, 0), 1700000002000000, cases[i].size, &m);
		CHECK_INT(m.class, MSG_SELF);
		CHECK_INT(m.pri, 3 * 8 + 4);
		CHECK_INT(m.text.len, 0);
		o = parse(&m);
		CHECK(o != NULL);
		CHECK_STR(string_at(o, "event", "reason"), cases[i].reason);
		CHECK_STR(string_at(o, "event", "kind"), "event");
		CHECK_STR(string_at(o, "event", "action"), "events-lost");
		CHECK_STR(string_at(o, "event", "id"), "00000000000000ab-7");
		CHECK_STR(string_at(o, "event", "start"), "2023-11-14T22:13:20.000000Z");
		CHECK_STR(string_at(o, "host", "hostname"), "web-1");
		json_object_put(o);
		losses_free(l);
	}
	record_free(r);
}

TEST(a_heartbeat_as_a_record)
{
	struct record *r = make_record();
	struct json_c_object *o;
	struct msg m;

	fill();
	CHECK_INT(self_record_heartbeat(r, &books, &m), 0);
	CHECK_INT(m.class, MSG_SELF);
	CHECK_INT(m.text.len, 0);
	CHECK(m.json.len < 8192);
	o = parse(&m);
	CHECK(o != NULL);
	CHECK_STR(string_at(o, "event", "action"), "heartbeat");
	CHECK_STR(string_at(o, "event", "outcome"), "success");
	CHECK_STR(string_at(o, "sekoia_ebpf", "version"), "1.2.3");
	json_object_put(o);
	record_free(r);
}

/* ------------------------------------------------------------------ documentation */

static char *read_all(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = calloc(1, 1 << 20);

	if (f) {
		if (!fread(text, 1, (1 << 20) - 1, f))
			printf("# %s is empty\n", path);
		fclose(f);
	}
	return text;
}

TEST(each_counter_is_documented)
{
	char *doc = read_all(DOCUMENT), *begin = strstr(doc, BEGIN), *end = strstr(doc, END);
	char *want = NULL;
	size_t size;
	FILE *f = open_memstream(&want, &size);

	books_put_reference(f);
	fclose(f);
	CHECK(begin && end && begin < end);
	if (begin && end) {
		begin += strlen(BEGIN);
		if (getenv("UPDATE")) {
			f = fopen(DOCUMENT, "we");
			fprintf(f, "%.*s\n%s%s", (int)(begin - doc), doc, want, end);
			fclose(f);
		} else {
			CHECK((size_t)(end - begin) == size + 1 && !memcmp(begin + 1, want, size));
		}
	}
	free(want);
	free(doc);
}
