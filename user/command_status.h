/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "sekoia-ebpf status": shows the books of the collector that runs, as its
 * monitor socket gives them: for people, as JSON or for Prometheus.
 */
#pragma once

struct config;

#define STATUS_WELL	   0
#define STATUS_NOT_RUNNING 1 /* or it can not be asked */
#define STATUS_WRONG	   2 /* it runs, and something is to be looked at */

int command_status(const struct config *c, int argc, char **argv);
