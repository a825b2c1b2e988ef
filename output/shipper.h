/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipper: the process that alone talks to the network, and can do nothing
 * else. The collector starts it as "sekoia-ebpf: shipper" and speaks to it
 * over a socket pair (user/util/control.h).
 */
#pragma once

/*
 * The whole life of the process: takes the configuration from control_fd,
 * reads the trust store, gives up all privileges, ships until it is told to
 * stop or the collector is gone. Returns the exit code; has logged why when
 * it is not 0.
 */
int shipper_main(int control_fd);
