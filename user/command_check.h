/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct config;

/*
 * "check": EXIT_SUCCESS when nothing failed, EXIT_FAILURE otherwise. Twins and
 * warnings are no failures. With COMMAND_JSON it prints one JSON object.
 */
int command_check(const struct config *c, int argc, char **argv);
