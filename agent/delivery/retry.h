/*
 * agent/delivery/retry.h: how long to wait before the next try. Pure arithmetic; gate.h does the waiting.
 */
#ifndef HELIOGRAF_DELIVERY_RETRY_H
#define HELIOGRAF_DELIVERY_RETRY_H

#include "outputs/output.h"

#define RETRY_AFTER_MAX_NS (600 * INT64_C(1000000000)) /* a server's wish is honoured up to here */

/* The longest pause after `failures` failures in a row (from 1 on), before jitter. */
int64_t retry_ceiling_ns(enum retry_class retry, unsigned failures);

/*
 * The pause itself; `random` is any 64 bits. Transient troubles get full jitter (0 to the ceiling), so that many agents
 * do not return in step; slow ones the upper fifth of their ceiling. Never shorter than the server's wish (0: none).
 */
int64_t retry_delay_ns(enum retry_class retry, unsigned failures, int64_t retry_after_ns, uint64_t random);

#endif
