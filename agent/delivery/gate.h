/*
 * agent/delivery/gate.h: what the senders of one output share: a common pause after a failure, how many may send at
 * once, the request size that the server takes, and the order to stop. A sender enters before each request and leaves
 * with the answer. Thread-safe, except init and release.
 */
#ifndef HELIOGRAF_DELIVERY_GATE_H
#define HELIOGRAF_DELIVERY_GATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "outputs/output.h"

enum { GATE_REFUSED_TARGETS = 16 };

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool cancel; /* given to output_type.open: a running send must end */

    unsigned most, limit, in_flight; /* senders: configured, allowed now (lowered by overload), sending now */
    int64_t clean_since_ns;          /* since the last sign of overload */

    int64_t paused_until_ns, pause_set_ns;
    unsigned failures;     /* in a row; failures of one round of senders count once */
    bool slow;             /* the last failure needs a person */
    int64_t down_since_ns; /* 0: the last answer was not RETRY_LATER */
    bool answered;         /* there was an outcome of any kind */
    _Atomic uint64_t stored_requests;

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
    unsigned divisor; /* of every pause; 1 but in tests */
};

bool gate_init(struct gate *gate, unsigned senders, uint64_t max_bytes, unsigned divisor);
void gate_release(struct gate *gate);

/* Waits for the end of the pause and for a free place. False: the time is up, send nothing more. */
bool gate_enter(struct gate *gate);

/* What an answer changed, for the log. */
struct gate_news {
    unsigned failures;   /* in a row, 0 after a success */
    int64_t pause_ns;    /* until the next try */
    int64_t was_down_ns; /* > 0: this is the first success after so long */
};

/*
 * Ends what gate_enter began at `entered_ns`. RETRY_LATER pauses every sender of the output, unless `data_to_blame`:
 * then the server is known to work, and it is the request that will change.
 */
struct gate_news gate_leave(struct gate *gate, const struct reply *reply, int64_t entered_ns, bool data_to_blame);

/* Requests stored so far: when it rises while one request keeps failing, that request is the reason. */
uint64_t gate_stored_requests(const struct gate *gate);

/* A sender holds, or no longer holds, a request that fails while the server may well work: poison, or a bad target. */
void gate_suspect(struct gate *gate, int change);
/* A pause of the calling sender alone, cut short when the output is to stop. */
void gate_nap(struct gate *gate, int64_t pause_ns);

/* Waits until all senders hold one, so that a stand-in is needed to tell poison from a dead server. False: stopping. */
bool gate_wait_stand_in(struct gate *gate);

/* A request of so many bytes was too large: stay below. */
void gate_too_large(struct gate *gate, uint64_t bytes);
/* The most bytes for a new request; after five minutes without trouble it grows by an eighth. */
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
};
struct gate_state gate_state(struct gate *gate);

#endif
