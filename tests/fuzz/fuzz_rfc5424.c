/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a message and as a counted stream; and any bytes as the fields
 * of a message that we write: it must be read back as what went in.
 */
#include <stdlib.h>
#include <string.h>

#include "output/rfc5424.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int cond)
{
	if (!cond)
		abort();
}

static struct slice take(struct slice *in)
{
	struct slice s = { in->p, 0 };

	if (!in->len)
		return s;
	s.len = (unsigned char)in->p[0] * 2;
	in->p++;
	in->len--;
	s.p = in->p;
	if (s.len > in->len)
		s.len = in->len;
	in->p += s.len;
	in->len -= s.len;
	return s;
}

static void check_field(struct slice in, struct slice out, size_t max)
{
	if (!in.len || (in.len == 1 && in.p[0] == '-')) {
		must(out.len == 0);
		return;
	}
	must(out.len == (in.len > max ? max : in.len));
	for (size_t i = 0; i < out.len; i++)
		must(out.p[i] == in.p[i] || (out.p[i] == '_' && (in.p[i] < 33 || in.p[i] > 126)));
}

static void write_and_read(struct slice in)
{
	struct slice frame, value, key = take(&in);
	struct rfc5424_sd sd = { 0 };
	struct msg m = { .seq = 1 };
	struct rfc5424 r;
	char back[RFC5424_KEY_MAX * 2];
	size_t bytes;
	struct buf b;

	if (rfc5424_sd_init(&sd, key) < 0)
		return;
	m.host = take(&in);
	m.app = take(&in);
	m.procid = take(&in);
	m.text = take(&in);
	m.json = in;
	m.pri = key.len ? (uint8_t)key.p[0] : 0;
	m.time_us = in.len * 1000003ull * 77777777;
	buf_init(&b, 1 << 20);
	must(rfc5424_append_counted(&b, &sd, &m, &bytes) == 0);
	must(rfc5424_parse_counted(buf_slice(&b), 1 << 20, &frame) == (ssize_t)bytes);
	must(rfc5424_parse(frame, &r) == 0);
	check_field(m.host, r.host, RFC5424_HOST_MAX);
	check_field(m.app, r.app, RFC5424_APP_MAX);
	check_field(m.procid, r.procid, RFC5424_PROCID_MAX);
	must(rfc5424_param(r.sd, "SEKOIA@53288", "intake_key", &value) == 0);
	must(rfc5424_unescape(back, value) == key.len && memcmp(back, key.p, key.len) == 0);
	if (m.text.len)
		must(r.msg.len == m.text.len && memcmp(r.msg.p, m.text.p, m.text.len) == 0);
	else
		must(r.msg.len == m.json.len &&
		     (!r.msg.len || memcmp(r.msg.p, m.json.p, m.json.len) == 0));
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size }, rest = in, frame, value;
	struct rfc5424 r;
	ssize_t n;

	if (rfc5424_parse(in, &r) == 0)
		rfc5424_param(r.sd, "meta", "sequenceId", &value);
	while ((n = rfc5424_parse_counted(rest, 4096, &frame)) > 0) {
		must((size_t)n <= rest.len && frame.p + frame.len == rest.p + n);
		rfc5424_parse(frame, &r);
		rest.p += n;
		rest.len -= (size_t)n;
	}
	write_and_read(in);
	return 0;
}
