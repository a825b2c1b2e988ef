/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What "sekoia-ebpf check" finds out, one thing at a time. Made wherever the
 * knowledge is, in the kernel's room or behind the wall; shown in one place.
 */
#pragma once

enum finding_state {
	FINDING_OK,
	FINDING_TWIN, /* missing, and something else does its work: nothing is lost */
	FINDING_WARN, /* works, but look at it */
	FINDING_FAIL,
	FINDING_STATES
};

/* Fixed in size, without pointers: it crosses a pipe as it stands. */
struct finding {
	enum finding_state state;
	char what[32];	/* "kernel.btf": stable, for programs, too */
	char text[400]; /* one sentence for people */
	char cure[400]; /* what to do next; empty when there is nothing to do */
};

struct finding_sink {
	void (*take)(void *arg, const struct finding *f);
	void *arg;
};

/*
 * Tells the sink. cure may be NULL. What is too long is cut; control
 * characters, whoever sent them, become "?".
 */
void finding_tell(const struct finding_sink *to, enum finding_state state, const char *what,
		  const char *cure, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Of one that came from elsewhere: ends its texts and makes them harmless. */
void finding_tidy(struct finding *f);

/* "ok", "twin", "warn", "FAIL" */
const char *finding_state_name(enum finding_state state);
