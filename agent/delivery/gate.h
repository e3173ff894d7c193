/*
 * agent/delivery/gate.h: what the senders of one output share: when the next request may start (pace.h), the request size
 * that the server takes, and the order to stop. A sender enters before each request and leaves with the answer.
 * Thread-safe, except init and release.
 */
#ifndef HELIOGRAF_DELIVERY_GATE_H
#define HELIOGRAF_DELIVERY_GATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/base/metric.h"
#include "agent/delivery/pace.h"

enum { GATE_REFUSED_TARGETS = 16 };

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool cancel; /* given to output_type.open: a running send must end */

    struct pace pace;
    bool answered; /* there was an outcome of any kind */
    bool taking;   /* under a rate limit one sender at a time takes from the spool */
    _Atomic uint64_t stored_requests;
    metric_counter waited_ns[PACE_REASONS]; /* what requests waited for, all senders together */

    unsigned suspects; /* senders that hold a request which the server seems to choke on */

    uint64_t max_bytes, ceiling_bytes; /* per request: configured, and what the server takes */
    int64_t ceiling_set_ns;

    struct gate_target {
        uint64_t hash;
        int64_t until_ns;
    } refused[GATE_REFUSED_TARGETS]; /* targets given up for a while */

    bool stopping;
    int64_t deadline_ns;
    uint64_t random;
};

bool gate_init(struct gate *gate, const struct pace_options *options, uint64_t max_bytes);
void gate_release(struct gate *gate);

/* Waits until this request may start. False: the time is up, send nothing more. */
bool gate_enter(struct gate *gate, const struct pace_request *request);

/* Ends what gate_enter began at `entered_ns`; see pace_end. */
struct pace_news gate_leave(struct gate *gate, const struct pace_request *request, const struct reply *reply, int64_t entered_ns,
                            bool data_to_blame);

/*
 * Around taking a batch from the spool: waits until the rate limit allows one, then says how large it may be. False: the time is up, and
 * there is nothing to end. Without a limit it never waits.
 */
struct gate_turn {
    struct pace_grant most;
    int64_t waited_ns, began_ns; /* until then, for tokens */
};
bool gate_begin_take(struct gate *gate, struct gate_turn *turn);
/* So much was taken, perhaps nothing; its oldest point is from `oldest_ns`. Returns what is paid for by that: the rest pays as it is sent. */
struct pace_grant gate_end_take(struct gate *gate, const struct gate_turn *turn, uint64_t lines, uint64_t bytes, int64_t oldest_ns);

/* Requests stored so far: when it rises while one request keeps failing, that request is the reason. */
uint64_t gate_stored_requests(const struct gate *gate);
/* Monotonic: until then the backlog leaves a slow server alone, see pace.h. In the past when nothing rests. */
int64_t gate_rests_until_ns(struct gate *gate);

/* A sender holds, or no longer holds, a request that fails while the server may well work: poison, or a bad target. */
void gate_suspect(struct gate *gate, int change);
/* A pause of the calling sender alone, cut short when the output is to stop. */
void gate_nap(struct gate *gate, int64_t pause_ns);

/* Waits until all senders hold one, so that a stand-in is needed to tell poison from a dead server. False: stopping. */
bool gate_wait_stand_in(struct gate *gate);

/* A request of so many bytes was too large: stay below. */
void gate_too_large(struct gate *gate, uint64_t bytes);
/* The most bytes for a new request, at most what the rate limit lets through at once; after five minutes without trouble it grows by an eighth. */
uint64_t gate_ceiling(struct gate *gate);

/* A target (bucket, database) is given up for five minutes; its lines need no further patience meanwhile. */
void gate_refuse_target(struct gate *gate, struct str target);
bool gate_target_refused(struct gate *gate, struct str target);

/* From now on: no pause, one more try at once, short pauses after that, and nothing new from `deadline_ns` on. */
void gate_stop(struct gate *gate, int64_t deadline_ns);
/* The deadline has come: a running send ends, every wait is over. */
void gate_cancel(struct gate *gate);
uint64_t gate_random(struct gate *gate);
/* True while a sender may take another batch. */
bool gate_open(struct gate *gate);

struct gate_state {
    bool answered, up;
    int64_t down_ns, pause_ns; /* how long it has been down, and until the next try */
    unsigned limit, in_flight;
    double latency_limit;      /* see limiter.h */
    double points_per_s, bytes_per_s; /* 0: no limit */
};
struct gate_state gate_state(struct gate *gate);

#endif
