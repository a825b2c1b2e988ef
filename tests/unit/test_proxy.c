/* SPDX-License-Identifier: Apache-2.0 */
#include "output/proxy.h"

#include <errno.h>

#include "tests/lib/test.h"

static const struct {
	const char *url, *host;
	uint16_t port;
	const char *credentials; /* NULL: none */
	const char *why;	 /* what the refusal speaks of; NULL: it is fine */
} urls[] = {
	{ "http://proxy.example:3128", "proxy.example", 3128 },
	{ "HTTP://proxy.example:80/", "proxy.example", 80 },
	{ "http://[2001:db8::1]:8080", "2001:db8::1", 8080 },
	{ "http://[fe80::1%eth0]:8080", "fe80::1%eth0", 8080 },
	/* RFC 7617, 2: the example of the standard. */
	{ "http://Aladdin:open%20sesame@p:1", "p", 1, "QWxhZGRpbjpvcGVuIHNlc2FtZQ==" },
	{ "http://u:@p:1", "p", 1, "dTo=" },
	{ "http://u:p%40ss:word@p:65535", "p", 65535, "dTpwQHNzOndvcmQ=" },
	{ "http://u:p@ss@p:1", "p", 1, "dTpwQHNz" },
	{ "http://u:a%2Fb@p:1", "p", 1, "dTphL2I=" },
	{ "https://proxy:1", .why = "begin with http://" },
	{ "proxy:1", .why = "begin with http://" },
	{ "", .why = "begin with http://" },
	{ "http://", .why = "no host" },
	{ "http://:1", .why = "no host" },
	{ "http://a b:1", .why = "no host" },
	{ "http://a\r\nX: y:1", .why = "no host" },
	{ "http://[]:1", .why = "no host" },
	{ "http://[::1:1", .why = "bracket" },
	{ "http://p", .why = "port is missing" },
	{ "http://[::1]", .why = "port is missing" },
	{ "http://[::1]x:1", .why = "port is missing" },
	{ "http://p:", .why = "number" },
	{ "http://p:0", .why = "number" },
	{ "http://p:65536", .why = "number" },
	{ "http://p:99999999999999999999", .why = "number" },
	{ "http://p:1x", .why = "number" },
	{ "http://p:1/path", .why = "nothing behind" },
	{ "http://user@p:1", .why = "user:password" },
	{ "http://u:%4@p:1", .why = "hex" },
	{ "http://u:%zz@p:1", .why = "hex" },
	{ "http://u%3Av:w@p:1", .why = "colon" },
};

TEST(urls)
{
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct proxy p = { 0 };
		const char *why = NULL;
		int err = proxy_parse(urls[i].url, &p, &why);

		if (urls[i].why) {
			CHECK_INT(err, -EINVAL);
			CHECK(why && strstr(why, urls[i].why));
			CHECK(!p.host && !p.credentials);
			continue;
		}
		CHECK_INT(err, 0);
		CHECK_STR(p.host, urls[i].host);
		CHECK_INT(p.port, urls[i].port);
		if (urls[i].credentials)
			CHECK_STR(p.credentials, urls[i].credentials);
		else
			CHECK(!p.credentials);
		proxy_done(&p);
	}
}

TEST(long_credentials_are_refused)
{
	char url[2048] = "http://u:";
	struct proxy p;
	const char *why;

	memset(url + strlen(url), 'x', 600);
	strcat(url, "@p:1");
	CHECK_INT(proxy_parse(url, &p, &why), -EINVAL);
	CHECK(strstr(why, "too long"));
}

TEST(requests)
{
	struct proxy p = { .host = "p", .port = 1, .credentials = "dTpw" };
	struct buf b;

	buf_init(&b, 4096);
	CHECK_INT(proxy_format_request(&p, "intake.example", 443, &b), 0);
	CHECK_MEM(buf_data(&b), b.len,
		  "CONNECT intake.example:443 HTTP/1.1\r\n"
		  "Host: intake.example:443\r\n"
		  "User-Agent: sekoia-ebpf/" SEKOIA_VERSION "\r\n"
		  "Proxy-Authorization: Basic dTpw\r\n\r\n");
	buf_clear(&b);
	p.credentials = NULL;
	CHECK_INT(proxy_format_request(&p, "::1", 443, &b), 0);
	CHECK_MEM(buf_data(&b), b.len,
		  "CONNECT [::1]:443 HTTP/1.1\r\n"
		  "Host: [::1]:443\r\n"
		  "User-Agent: sekoia-ebpf/" SEKOIA_VERSION "\r\n\r\n");
	buf_clear(&b);
	CHECK_INT(proxy_format_request(&p, "a\r\nX: y", 443, &b), -EINVAL);
	CHECK_INT(proxy_format_request(&p, "", 443, &b), -EINVAL);
	CHECK_INT(b.len, 0);
	buf_done(&b);
}

static const struct {
	const char *bytes;
	int status; /* 0: more is needed; negative: the error */
	const char *reason;
	size_t left; /* for the tunnel */
} answers[] = {
	{ "HTTP/1.1 200 Connection established\r\n\r\n", 200, "Connection established", 0 },
	{ "HTTP/1.0 200 OK\r\nA: b\r\n\r\n", 200, "OK", 0 },
	{ "HTTP/1.1 200\r\n\r\n", 200, "", 0 },
	{ "HTTP/1.1 200 \r\n\r\n", 200, "", 0 },
	{ "HTTP/1.1 200 OK\n\n", 200, "OK", 0 },
	{ "HTTP/1.1 204 OK\r\n\r\n220 hello", 204, "OK", 9 },
	{ "HTTP/1.1 407 Need \x1b[31m\xff\r\n\r\nbody", 407, "Need ?[31m?", 4 },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, "OK", 0 },
	{ "HTTP/1.1 101 Switching\r\n\r\n", 101, "Switching", 0 },
	{ "", 0 },
	{ "HTTP/1.1 200 OK\r\n", 0 },
	{ "HTTP/1.1 200 OK\r\nA: b\r\n", 0 },
	{ "HTTP/1.1 100 Continue\r\n\r\n", 0 },
	{ "HTTP/2 200\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 2000 OK\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 20 OK\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1 020 OK\r\n\r\n", -EBADMSG },
	{ "HTTP/1.1  200 OK\r\n\r\n", -EBADMSG },
	{ "\r\n", -EBADMSG },
	{ "SSH-2.0-x", -EBADMSG },
	{ "HTTX", -EBADMSG },
	{ "HTTP/1.1 100 Continue\r\n\r\nx", -EBADMSG },
};

/* In pieces of each size: the outcome must not depend on how the bytes come. */
TEST(answers)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		size_t len = strlen(answers[i].bytes);

		for (size_t piece = 1; piece <= len + 1; piece++) {
			struct proxy_answer a = { 0 };
			size_t at = 0;
			ssize_t n = 0;

			while (at < len && !a.done) {
				size_t want = len - at < piece ? len - at : piece;

				n = proxy_parse_answer(&a, answers[i].bytes + at, want);
				if (n < 0)
					break;
				CHECK(a.done || (size_t)n == want);
				at += (size_t)n;
			}
			if (answers[i].status < 0) {
				CHECK_INT(n, answers[i].status);
				continue;
			}
			CHECK(n >= 0);
			CHECK_INT(a.done, answers[i].status != 0);
			if (!a.done)
				continue;
			CHECK_INT(a.status, answers[i].status);
			CHECK_STR(a.reason, answers[i].reason);
			CHECK_INT(len - at, answers[i].left);
		}
	}
}

TEST(an_answer_without_end_is_cut_off)
{
	static const char *const starts[] = { "HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nA: b\r\n" };

	for (int i = 0; i < 2; i++) {
		struct proxy_answer a = { 0 };
		size_t total = strlen(starts[i]);
		ssize_t n = proxy_parse_answer(&a, starts[i], total);

		while (n >= 0 && total < 2 * PROXY_ANSWER_MAX) {
			n = proxy_parse_answer(&a, "xxxxxxxx", 8);
			total += 8;
		}
		CHECK_INT(n, -EMSGSIZE);
		CHECK(total <= PROXY_ANSWER_MAX + 8);
	}
}
