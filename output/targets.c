/* SPDX-License-Identifier: Apache-2.0 */
#include "output/targets.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "user/util/clock.h"

void targets_init(struct targets *t, const char *hosts, const char *host, uint64_t failback_ms)
{
	*t = (struct targets){ .failback_ms = failback_ms, .back_wait_ms = failback_ms };
	while (hosts && *hosts && t->n < TARGETS_MAX) {
		struct target *x = &t->list[t->n];

		if (config_parse_target(&hosts, x->host, sizeof(x->host), &x->port) == 0)
			t->n++;
	}
	if (!t->n) {
		snprintf(t->list[0].host, sizeof(t->list[0].host), "%s", host);
		t->n = 1;
	}
}

static void leave(struct targets *t, int to, const char *why, uint64_t now_ms)
{
	struct target *x = &t->list[t->present];

	x->out_ms = now_ms ? now_ms : 1;
	snprintf(x->why, sizeof(x->why), "%s", why);
	t->present = to;
	t->since_ms = 0;
	t->returned = false;
	t->cuts = 0;
	t->back_due_ms = 0;
}

/* The first one had not been well for long: it comes and goes. */
static void wait_longer(struct targets *t, uint64_t now_ms)
{
	bool stood = t->since_ms && now_ms - t->since_ms >= t->back_wait_ms;

	if (stood || !t->list[0].out_ms) {
		t->back_wait_ms = t->failback_ms;
		return;
	}
	if (t->back_wait_ms < t->failback_ms * TARGETS_BACK_MOST)
		t->back_wait_ms *= 2;
}

enum targets_next targets_failed(struct targets *t, bool worked, bool stay, const char *why,
				 uint64_t now_ms)
{
	int next = 0;

	if (t->n == 1 || stay)
		return TARGETS_SAME;
	if (worked) {
		t->tried = 0;
		if (!t->cuts || now_ms - t->cuts_ms >= TARGETS_CUTS_MS) {
			t->cuts = 0;
			t->cuts_ms = now_ms;
		}
		if (++t->cuts < TARGETS_CUTS_MAX)
			return TARGETS_SAME;
	}
	t->tried |= 1u << t->present;
	while (next < t->n && t->tried & 1u << next)
		next++;
	if (t->present == 0 && (t->since_ms || t->returned))
		wait_longer(t, now_ms);
	if (next == t->n) {
		t->tried = 0;
		leave(t, 0, why, now_ms);
		return TARGETS_ROUND;
	}
	leave(t, next, why, now_ms);
	return TARGETS_NEXT;
}

void targets_worked(struct targets *t, uint64_t now_ms)
{
	t->tried = 0;
	if (t->since_ms)
		return;
	t->since_ms = now_ms ? now_ms : 1;
	if (t->present)
		t->back_due_ms = now_ms + t->back_wait_ms;
}

bool targets_is_back_due(const struct targets *t, uint64_t now_ms)
{
	return t->present && t->back_due_ms && now_ms >= t->back_due_ms;
}

void targets_return(struct targets *t, uint64_t now_ms)
{
	leave(t, 0, "", now_ms);
	t->returned = true;
	t->list[0].why[0] = '\0';
}

void targets_not_yet(struct targets *t, const char *why, uint64_t now_ms)
{
	snprintf(t->list[0].why, sizeof(t->list[0].why), "%s", why);
	t->back_due_ms = now_ms + t->back_wait_ms;
}

const char *target_text(const struct target *x, char *text, size_t size)
{
	if (!x->port)
		snprintf(text, size, "%s", x->host);
	else
		snprintf(text, size, strchr(x->host, ':') ? "[%s]:%u" : "%s:%u", x->host, x->port);
	return text;
}

bool targets_has_untried(const struct targets *t)
{
	for (int i = 0; i < t->n; i++)
		if (i != t->present && !(t->tried & 1u << i))
			return true;
	return false;
}

void targets_describe_out(const struct targets *t, uint64_t now_ms, uint64_t real_us, char *text,
			  size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (int i = 0; i < t->n && at < size; i++) {
		const struct target *x = &t->list[i];
		char name[TARGET_HOST_MAX + 16], since[CLOCK_RFC3339_SIZE];

		/* One without a reason was left in favour of the first one. */
		if (i == t->present || !x->out_ms || !x->why[0])
			continue;
		clock_format_rfc3339(real_us - (now_ms - x->out_ms) * 1000, since);
		since[strcspn(since, ".")] = '\0';
		at += (size_t)snprintf(text + at, size - at, "%s%s since %sZ: %s", at ? "; " : "",
				       target_text(x, name, sizeof(name)), since, x->why);
	}
}
