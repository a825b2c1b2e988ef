/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own secrets in what others do: who calls "sekoia-ebpf --intake-key KEY check", or
 * curl with it, does not want the key in the next event, nor in the spool.
 */
#pragma once

#include <stddef.h>

struct config;

/* Overwrites each with as many asterisks. config may be NULL. */
void secrets_mask(const struct config *config, char *text, size_t len);
