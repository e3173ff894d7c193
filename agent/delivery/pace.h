/*
 * agent/delivery/pace.h: when the next request of an output may start. Three things slow it down: the configured rate, trouble (a
 * pause after a failure, at least as long as the server wishes, and one request less at once under overload), and the server's
 * latency (limiter.h). Pure: time and chance come in, so that a test plays any server; gate.h adds the lock and the waiting.
 */
#ifndef HELIOGRAF_DELIVERY_PACE_H
#define HELIOGRAF_DELIVERY_PACE_H

#include "agent/delivery/bucket.h"
#include "agent/delivery/limiter.h"
#include "outputs/output.h"

struct pace_options {
    unsigned senders;                    /* requests at once, 1 at least */
    double points_per_s, bytes_per_s;    /* of line protocol before compression; 0: no limit */
    unsigned divisor;                    /* of every pause after a failure; 0: 1. For tests, which cannot wait */
};

struct pace {
    unsigned most, limit, in_flight; /* requests: configured, allowed now (lowered by overload), running now */
    int64_t clean_since_ns;          /* since the last sign of overload */

    int64_t paused_until_ns, pause_set_ns;
    unsigned failures;     /* in a row; failures of one round of senders count once */
    bool slow;             /* the last failure needs a person */
    int64_t down_since_ns; /* 0: the last answer was not RETRY_LATER */
    unsigned divisor;

    struct limiter limiter;
    int64_t rest_until_ns; /* the backlog's, while the limiter is below one */
    bool crawling;         /* news of it was given, and none of its end */

    struct bucket points, bytes;
    bool open; /* enough tokens came together for a request worth its while, and they are not used up */
};

void pace_init(struct pace *pace, const struct pace_options *options, int64_t now_ns);

/* A request that wants to start. */
struct pace_request {
    uint32_t lines;      /* of these, and bytes, so many were not paid for when the batch was taken */
    uint64_t bytes;
    uint64_t body_bytes; /* all of it */
    bool backlog;        /* of a batch behind which more waits: it can wait longer than fresh points */
};

/* What a request waits for. */
enum pace_reason { PACE_FREE, PACE_BUSY, PACE_BACKOFF, PACE_LATENCY, PACE_RATE, PACE_REASONS };
struct pace_wait {
    enum pace_reason reason; /* PACE_FREE: start it with pace_begin. PACE_BUSY: all requests that the configuration allows are running */
    int64_t until_ns;        /* ask again then, or after any answer; INT64_MAX: only then */
};

/* `hurry`: the agent is to stop, so latency is no reason to wait any more. */
struct pace_wait pace_ready(struct pace *pace, const struct pace_request *request, bool hurry, int64_t now_ns);
void pace_begin(struct pace *pace, const struct pace_request *request);

/* What an answer changed, for the log. */
struct pace_news {
    unsigned failures;         /* in a row, 0 after a success */
    int64_t pause_ns;          /* until the next try */
    int64_t was_down_ns;       /* > 0: this is the first success after so long */
    bool crawls, walks;        /* the backlog is slowed down for the server's latency from now on; that is over */
    int64_t latency_ns, usual_ns; /* with `crawls` */
};

/*
 * Ends what began at `began_ns`. RETRY_LATER pauses every sender of the output, unless `data_to_blame`: then the server is known to
 * work, and it is the request that will change. `random` is any 64 bits. `longest_pause_ns` is for pauses of our own.
 */
struct pace_news pace_end(struct pace *pace, const struct pace_request *request, const struct reply *reply, int64_t began_ns,
                          bool data_to_blame, int64_t longest_pause_ns, uint64_t random, int64_t now_ns);

/* Requests that may run at once now. */
unsigned pace_slots(const struct pace *pace);

/*
 * What may be taken from the spool at once. The result is when to ask again; `now_ns`: now, so much, and what is taken is paid for with
 * pace_pay at once. So nothing waits in a sender's hand for tokens, and what is freshest at the moment of sending can go first.
 */
struct pace_grant {
    uint32_t lines;
    uint64_t bytes;
};
bool pace_is_limited(const struct pace *pace);
/* Until then requests of a backlog wait; 0: they do not. */
int64_t pace_rests_until_ns(const struct pace *pace);
int64_t pace_grant(struct pace *pace, struct pace_grant *grant, int64_t now_ns);
void pace_pay(struct pace *pace, uint64_t lines, uint64_t bytes);

/* The most lines and bytes for one request, so that it fits into the buckets. */
struct pace_grant pace_largest(const struct pace *pace);

#endif
