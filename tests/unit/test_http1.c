/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP answers, whole, cut at every byte, and broken. */
#include "output/http1.h"

#include <errno.h>

#include "tests/lib/test.h"

struct got {
	struct http1_response r;
	char body[4096];
	size_t body_len;
	size_t used; /* of the input */
	int err;
};

/* Feeds text in two parts; what is left of the first is given again, as a buffer would. */
static void feed(struct got *g, const char *text, size_t len, size_t cut)
{
	*g = (struct got){ 0 };
	for (int part = 0; part < 2; part++) {
		size_t end = part ? len : cut;

		for (;;) {
			struct slice body;
			ssize_t n = http1_parse(
				&g->r, (struct slice){ text + g->used, end - g->used }, &body);

			if (n < 0) {
				g->err = (int)n;
				return;
			}
			if (body.len) {
				memcpy(g->body + g->body_len, body.p, body.len);
				g->body_len += body.len;
			}
			g->used += (size_t)n;
			if (!n || g->r.state == HTTP1_DONE)
				break;
		}
	}
}

struct answer_case {
	const char *text;
	int err, status;
	const char *body;
	bool keep_alive;
	uint64_t retry_after_s;
	const char *rest; /* what is left in the buffer */
	bool eof;	  /* the body ends with the connection */
};

static const struct answer_case cases[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1", 0, 200, "hello", true, 0,
	  "HTTP/1.1" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, 200, "", true },
	{ "HTTP/1.1 204 \r\nConnection: foo, Close\r\n\r\n", 0, 204, "", false },
	{ "HTTP/1.0 200 OK\nContent-length:2\n\nok", 0, 200, "ok", false },
	{ "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2 \r\n\r\nok", 0, 200, "ok",
	  true },
	{ "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n"
	  "0\r\nTrailer: x\r\n\r\nrest",
	  0, 200, "abc0123456789", true, 0, "rest" },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
	  0, 200, "x", true },
	{ "HTTP/1.1 200 OK\r\nServer: x\r\n\r\nuntil the end", 0, 200, "until the end", false, 0,
	  NULL, true },
	{ "HTTP/1.1 429 Too Many\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n", 0, 429, "", true,
	  17 },
	{ "HTTP/1.1 503 x\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n"
	  "Retry-After: Sun, 06 Nov 1994 08:50:00 GMT\r\n\r\n",
	  0, 503, "", true, 23 },
	{ "HTTP/1.1 503 x\r\nRetry-After: Sun, 06 Nov 1994 08:50:00 GMT\r\nContent-Length: 0\r\n\r\n",
	  0, 503, "", true, 0 },
	{ "HTTP/1.1 503 x\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 0, 503, "", true, 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 0, 200, "x", true },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nX : a\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\n: a\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 101 Switching\r\n\r\n", -EBADMSG },
	{ "HTTP/2 200\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 20x OK\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 600 OK\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 2000 OK\r\n\r\n", -EBADMSG },
	{ "220 mail.example ESMTP\r\n", -EBADMSG },
	{ "\r\n", -EBADMSG },
};

TEST(answers_cut_at_every_byte)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct answer_case *c = &cases[i];
		size_t len = strlen(c->text);

		for (size_t cut = 0; cut <= len; cut++) {
			struct got g;

			feed(&g, c->text, len, cut);
			if (g.err != c->err)
				printf("# case %zu, cut at %zu\n", i, cut);
			CHECK_INT(g.err, c->err);
			if (c->err)
				continue;
			if (c->eof) {
				CHECK_INT(g.r.state, HTTP1_BODY_TO_EOF);
				CHECK_INT(http1_parse_eof(&g.r), 0);
			}
			CHECK_INT(g.r.state, HTTP1_DONE);
			CHECK_INT(g.r.status, c->status);
			CHECK_INT(g.r.keep_alive, c->keep_alive);
			CHECK_INT(g.r.retry_after_s, c->retry_after_s);
			CHECK_MEM(g.body, g.body_len, c->body);
			CHECK_MEM(c->text + g.used, len - g.used, c->rest ? c->rest : "");
		}
	}
}

TEST(a_cut_answer_is_no_answer)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct got g;

		feed(&g, text, len, len);
		CHECK_INT(g.err, 0);
		CHECK_INT(http1_parse_eof(&g.r), -EBADMSG);
	}
}

TEST(heads_have_a_ceiling)
{
	static char text[64 * 1024];
	struct got g;
	size_t len;

	/* One endless line. */
	len = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nX: ");
	memset(text + len, 'a', HTTP1_LINE_MAX + 10);
	feed(&g, text, len + HTTP1_LINE_MAX + 10, 0);
	CHECK_INT(g.err, -EBADMSG);

	/* Endless lines. */
	len = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\n");
	while (len < 2 * HTTP1_HEAD_MAX)
		len += (size_t)sprintf(text + len, "X: abcdefghijklmnopqrstuvwxyz\r\n");
	feed(&g, text, len, 0);
	CHECK_INT(g.err, -EBADMSG);

	/* Endless interim answers. */
	len = 0;
	while (len < 2 * HTTP1_HEAD_MAX)
		len += (size_t)sprintf(text + len, "HTTP/1.1 100 Continue\r\n\r\n");
	feed(&g, text, len, 0);
	CHECK_INT(g.err, -EBADMSG);

	/* Endless trailers. */
	len = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
	while (len < 2 * HTTP1_HEAD_MAX)
		len += (size_t)sprintf(text + len, "X: abcdefghijklmnopqrstuvwxyz\r\n");
	feed(&g, text, len, 0);
	CHECK_INT(g.err, -EBADMSG);
}

TEST(dates)
{
	static const struct {
		const char *text;
		int err;
		uint64_t want;
	} dates[] = {
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 0, 784111777 },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", 0, 784111777 },
		{ "Sun Nov  6 08:49:37 1994", 0, 784111777 },
		{ "Thu, 01 Jan 1970 00:00:00 GMT", 0, 0 },
		{ "Mon, 23 Nov 2026 05:33:21 GMT", 0, 1795412001 },
		{ "Thu, 29 Feb 2024 23:59:60 GMT", 0, 1709251200 },
		{ "Monday, 23-Nov-26 05:33:21 GMT", 0, 1795412001 },
		{ "", -EBADMSG, 0 },
		{ "tomorrow", -EBADMSG, 0 },
		{ "Sun, 06 Nov 1994 08:49 GMT", -EBADMSG, 0 },
		{ "Sun, 06 Nov 08:49:37 GMT", -EBADMSG, 0 },
		{ "Sun, 32 Nov 1994 08:49:37 GMT", -EBADMSG, 0 },
		{ "Sun, 06 Nov 1994 25:49:37 GMT", -EBADMSG, 0 },
		{ "Sun, 06 Nov 1994 1995 08:49:37 GMT", -EBADMSG, 0 },
		{ "Sun, 06 Nov 1969 08:49:37 GMT", -EBADMSG, 0 },
	};

	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		uint64_t got = 0;

		CHECK_INT(http1_parse_date(slice_of(dates[i].text), &got), dates[i].err);
		CHECK_INT(got, dates[i].want);
	}
}

TEST(requests)
{
	struct http1_request r = { .method = "POST",
				   .host = "intake.example",
				   .port = 443,
				   .default_port = 443,
				   .path = "/a/array",
				   .content_type = "application/json",
				   .content_encoding = "gzip",
				   .content_length = 12 };
	struct buf b;

	buf_init(&b, 4096);
	CHECK_INT(http1_append_request(&b, &r), 0);
	CHECK_MEM(
		buf_data(&b), b.len,
		"POST /a/array HTTP/1.1\r\nHost: intake.example\r\nUser-Agent: sekoia-ebpf/" SEKOIA_VERSION
		"\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
		"Content-Length: 12\r\n\r\n");
	buf_clear(&b);
	r.host = "2001:db8::1";
	r.port = 8443;
	r.content_encoding = NULL;
	CHECK_INT(http1_append_request(&b, &r), 0);
	CHECK_MEM(buf_data(&b), b.len,
		  "POST /a/array HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n"
		  "User-Agent: sekoia-ebpf/" SEKOIA_VERSION
		  "\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n");
	buf_done(&b);

	CHECK(http1_is_clean("/api/v1"));
	CHECK(!http1_is_clean("/a b"));
	CHECK(!http1_is_clean("/a\r\nX: y"));
	CHECK(!http1_is_clean("/\xc3\xa9"));
}
