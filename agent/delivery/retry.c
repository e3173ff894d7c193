/* agent/delivery/retry.c: see retry.h. */
#include "agent/delivery/retry.h"

#include "agent/base/clock.h"

static const int64_t first_ns = 250 * NS_PER_MS, longest_ns = 30 * NS_PER_S;

/* What needs a person. It begins fast, so that a password that was mended at once is noticed at once. */
static const int64_t slow_ns[] = { 1 * NS_PER_S,  5 * NS_PER_S,   30 * NS_PER_S,
                                   60 * NS_PER_S, 120 * NS_PER_S, 300 * NS_PER_S };
enum { SLOW_STEPS = sizeof slow_ns / sizeof slow_ns[0] };

int64_t retry_ceiling_ns(enum retry_class retry, unsigned failures) {
    int64_t ceiling = first_ns;

    if (failures == 0)
        return 0;
    if (retry == RETRY_SLOWLY)
        return slow_ns[failures < SLOW_STEPS ? failures - 1 : SLOW_STEPS - 1];
    for (unsigned i = 1; i < failures && ceiling < longest_ns; i++)
        ceiling *= 2;
    return ceiling < longest_ns ? ceiling : longest_ns;
}

int64_t retry_delay_ns(enum retry_class retry, unsigned failures, int64_t retry_after_ns, uint64_t random) {
    int64_t ceiling = retry_ceiling_ns(retry, failures), spread = retry == RETRY_SLOWLY ? ceiling / 5 : ceiling;
    int64_t delay = ceiling - (int64_t)(random % (uint64_t)(spread + 1));

    if (retry_after_ns > RETRY_AFTER_MAX_NS)
        retry_after_ns = RETRY_AFTER_MAX_NS;
    return delay > retry_after_ns ? delay : retry_after_ns;
}
