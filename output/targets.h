/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list in output.host: which of its targets is in use, which is next, and
 * when the first one is tried again. Pure: the caller connects, and says how it
 * went. Everything but the address is the same for all of them.
 *
 * The first is the one that is wanted; the others are used in their order, as
 * long as those before them fail. A target that comes and goes is not returned
 * to each time: the time until then doubles.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TARGETS_MAX	8
#define TARGET_HOST_MAX 256
#define TARGET_WHY_MAX	96
/* A connection that had worked and ended is made again there, so often in this time. */
#define TARGETS_CUTS_MAX 3
#define TARGETS_CUTS_MS	 60000
/* The time until a return doubles up to so many times the configured one. */
#define TARGETS_BACK_MOST 16

struct target {
	char host[TARGET_HOST_MAX]; /* without brackets */
	uint16_t port;		    /* 0: the transport's own */
	uint64_t out_ms;	    /* when it was last left; 0: it was not */
	char why[TARGET_WHY_MAX];   /* it was left */
};

struct targets {
	struct target list[TARGETS_MAX];
	int n;
	int present;	       /* the one in use, or being tried */
	uint64_t since_ms;     /* when the present one first worked; 0: not yet */
	bool returned;	       /* the first one is, and has not worked since */
	uint32_t tried;	       /* bit i: failed since one of them last worked */
	uint32_t cuts;	       /* of connections that had worked, … */
	uint64_t cuts_ms;      /* …since then */
	uint64_t failback_ms;  /* as configured */
	uint64_t back_wait_ms; /* now */
	uint64_t back_due_ms;  /* when the first one is looked at; 0: no need */
};

/*
 * hosts is "host[:port],…", checked by the configuration; one that is not
 * understood is left out. host stands in for an empty list.
 */
void targets_init(struct targets *t, const char *hosts, const char *host, uint64_t failback_ms);

static inline const struct target *targets_present(const struct targets *t)
{
	return &t->list[t->present];
}

enum targets_next {
	TARGETS_SAME,  /* the same one again, after a pause */
	TARGETS_NEXT,  /* the present one is another one now: try it at once */
	TARGETS_ROUND, /* all have failed: begin with the first, after a pause */
};

/*
 * The connection, or the attempt, has failed. worked: the peer had taken something on it.
 * stay: it would be the same anywhere (a key that is refused).
 */
enum targets_next targets_failed(struct targets *t, bool worked, bool stay, const char *why,
				 uint64_t now_ms);

/* The peer has taken something. */
void targets_worked(struct targets *t, uint64_t now_ms);

/* Is it time to look whether the first one is well again? */
bool targets_is_back_due(const struct targets *t, uint64_t now_ms);

/* That look has shown: it is, and from now on it is the present one; or it is not. */
void targets_return(struct targets *t, uint64_t now_ms);
void targets_not_yet(struct targets *t, const char *why, uint64_t now_ms);

/* "host", "host:514" or "[::1]:514". */
const char *target_text(const struct target *x, char *text, size_t size);

/* Is there one that has not failed since one of them last worked? */
bool targets_has_untried(const struct targets *t);

/*
 * Why the others are out: "a.example:514 since 2026-11-23T05:33:01Z: connection
 * refused; …"; empty when none is. real_us is the time of day at now_ms.
 */
void targets_describe_out(const struct targets *t, uint64_t now_ms, uint64_t real_us, char *text,
			  size_t size);
