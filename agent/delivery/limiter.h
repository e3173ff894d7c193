/*
 * agent/delivery/limiter.h: how many requests at once a server's latency allows. Pure: times come in.
 *
 * A database that becomes slow, by a compaction or by our own backlog, gets less until it is quick again; a link that has always
 * been slow is not held against it. Each answer is compared with what is usual for requests of its size:
 *
 *   usual   an average of the durations, that falls within half a minute and rises within five, and is 20 ms at least
 *   slow    an answer that took more than three times as long as usual
 *
 * A quick answer adds one request per round (additive increase, as in TCP). A round of nothing but slow answers, as many as may run at
 * once and two at least, multiplies the limit by 3 * usual / best of them, by a half at least (the gradient of Netflix's
 * concurrency-limits). The best of a round counts, so a hiccup changes nothing, and a server that answers once a second, as InfluxDB 3
 * does with each flush of its log, is as usual. Below one, the limit is the share of time in which one request may run.
 */
#ifndef HELIOGRAF_DELIVERY_LIMITER_H
#define HELIOGRAF_DELIVERY_LIMITER_H

#include <stdint.h>

#define LIMITER_LOWEST 0.25

enum { LIMITER_CLASSES = 16 };

struct limiter {
    double most, limit; /* requests at once: configured, and allowed now */
    unsigned slow;      /* answers in a row */
    double best;        /* of those: the smallest of duration / (3 * usual) */
    int64_t lowered_ns; /* what began before this was sent under the old limit */
    int64_t duration_ns, usual_ns; /* of the last slow answer, for people */
    struct limiter_class {
        double usual_ns; /* 0: not known yet */
        int64_t learned_ns;
    } classes[LIMITER_CLASSES]; /* by size of the request, each twice the one before */
};

void limiter_init(struct limiter *limiter, unsigned most);

/* A request of `bytes` that began at `began_ns` was stored after `duration_ns`. Refusals do not belong here. */
void limiter_answer(struct limiter *limiter, int64_t began_ns, int64_t duration_ns, uint64_t bytes);

/* Requests that may run at once: one at least. */
unsigned limiter_slots(const struct limiter *limiter);

/* How long the backlog rests after a request of that duration, so that the share of time is kept; 0 with a limit of one or more. */
int64_t limiter_rest_ns(const struct limiter *limiter, int64_t duration_ns);

#endif
