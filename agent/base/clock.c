/* agent/base/clock.c: see clock.h. */
#include "agent/base/clock.h"

#include <stdatomic.h>
#include <stddef.h>

static int64_t system_ns(clockid_t id) {
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int64_t system_real_ns(void) {
    return system_ns(CLOCK_REALTIME);
}

static int64_t system_mono_ns(void) {
    return system_ns(CLOCK_MONOTONIC);
}

static int64_t (*real_clock)(void) = system_real_ns;
static int64_t (*mono_clock)(void) = system_mono_ns;

int64_t clock_real_ns(void) {
    return real_clock();
}

int64_t clock_mono_ns(void) {
    return mono_clock();
}

int64_t clock_unique_ns(void) {
    static _Atomic int64_t last_ns;
    int64_t now = clock_real_ns(), last = atomic_load_explicit(&last_ns, memory_order_relaxed);

    do {
        if (now <= last)
            now = last + 1;
    } while (!atomic_compare_exchange_weak_explicit(&last_ns, &last, now, memory_order_relaxed, memory_order_relaxed));
    return now;
}

void clock_override(int64_t (*real_ns)(void), int64_t (*mono_ns)(void)) {
    real_clock = real_ns != NULL ? real_ns : system_real_ns;
    mono_clock = mono_ns != NULL ? mono_ns : system_mono_ns;
}

struct timespec clock_timespec(int64_t ns) {
    return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
}
