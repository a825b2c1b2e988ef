/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector: owns the kernel side, the sources and the spool, and starts
 * the shipper. One thread; never a network socket but, if it is asked to, one on loopback that
 * listens for Prometheus (monitor.listen).
 */
#pragma once

struct config;

/* Runs until SIGINT, SIGTERM or SIGHUP, then prints the books. Returns the exit code. */
int collector_run(const struct config *config);
