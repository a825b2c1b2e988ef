/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shipper gives up, in three layers that do not rely on each other: the file
 * tree (mounts of its own), what it may do in it (Landlock), and system calls
 * (seccomp). Which kernels have them, and why each rule is there, is in
 * docs/SECURITY.md.
 */
#pragma once

struct config;

/*
 * Before the privileges go: from here on only the spool, the output's file, /etc
 * and two devices are there. Best effort: what can not be had is logged and left out.
 */
void shipper_sandbox_view(const struct config *config);

/*
 * After they went, and before anything of a peer or the spool is read: the rest.
 * Best effort where the kernel has none of it. 0; -errno, logged: it was to be
 * had and failed.
 */
int shipper_sandbox_enter(const struct config *config);
