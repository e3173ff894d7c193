/*
 * agent/base/clock.h: time comes through here, so that a test can set it. Thread-safe.
 */
#ifndef HELIOGRAF_BASE_CLOCK_H
#define HELIOGRAF_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000LL
#define NS_PER_MS 1000000LL
#define NS_PER_S  1000000000LL

int64_t clock_real_ns(void); /* since 1970-01-01 UTC */
int64_t clock_mono_ns(void); /* since some start, never goes back */

/*
 * The real time, but strictly rising within the process: two messages of one series never share a stamp. After a step
 * back of the system clock it goes on from the last stamp, 1 ns at a time, until the clock has caught up.
 */
int64_t clock_unique_ns(void);

/* Tests only: both clocks come from these functions (NULL restores the system's). Not while other threads run. */
void clock_override(int64_t (*real_ns)(void), int64_t (*mono_ns)(void));

struct timespec clock_timespec(int64_t ns);

#endif
