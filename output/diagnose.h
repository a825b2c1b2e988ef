/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shipper would meet on its way to the intake, stage by stage: name,
 * TCP, proxy, TLS, key. Sends no event. Parses what peers say, so run it where
 * the shipper runs: in a process without privileges.
 */
#pragma once

#include "user/util/cleanup.h"
#include "user/util/finding.h"

struct config;
struct diagnosis;

/*
 * Reads the files of TLS, which may take privileges, and tells what is wrong
 * with them; that is no error. Borrows config and sink for the life of *ret.
 */
int diagnosis_new(const struct config *config, const struct finding_sink *sink,
		  struct diagnosis **ret);
void diagnosis_free(struct diagnosis *d);
DEFINE_CLEANUP(struct diagnosis *, diagnosis_free);

/* Tries each output, one after the other; takes as long as their peers let it. */
int diagnosis_run(struct diagnosis *d);
