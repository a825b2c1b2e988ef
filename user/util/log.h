/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own messages, one line each on standard error:
 *
 *   relp collector.example:2514: handshake: certificate expired; retrying in 8 s
 *
 * Object, cause, consequence. Low layers return errors; the function that
 * decides what happens next logs, once. The per-event path counts and never
 * logs. No key and no message content ever goes through here.
 */
#pragma once

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Who speaks: "sekoia-ebpf" by default, "sekoia-ebpf[shipper]" in the shipper. */
void log_set_name(const char *name);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* strerror() for a value that may be negative, as our functions return them. */
const char *log_strerror(int err);
