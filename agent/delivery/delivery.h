/*
 * agent/delivery/delivery.h: from the spool to one output, and what its answers mean. One `delivery` per output, with
 * its own sender threads: an output that is dead or slow delays no other.
 */
#ifndef HELIOGRAF_DELIVERY_DELIVERY_H
#define HELIOGRAF_DELIVERY_DELIVERY_H

#include "agent/base/dead_letter.h"
#include "agent/base/metric.h"
#include "agent/spool/spool.h"
#include "outputs/output.h"

struct delivery;

struct delivery_options {
    const char *name; /* alias, or the type's name with a number: metrics, logs, dead letters */
    unsigned index;   /* the output's number in the spool */
    int64_t flush_interval_ns, flush_jitter_ns;
    int64_t metric_batch_size; /* lines per request at most */
    uint64_t max_batch_bytes;  /* raw bytes per request at most; 0: 1 MiB */
    double points_per_s;       /* sent at most, retries counted; 0: no limit */
    double bytes_per_s;        /* the same in line protocol before compression */
    /* For dead letters: which inputs take this topic, `a, b`, written to `room`; any thread. NULL: nobody knows. */
    struct str (*inputs_of)(void *ctx, struct str topic, char *room, size_t size);
    void *inputs_ctx;
    unsigned pause_divisor;    /* every pause after a failure is divided by it; 0: 1. For tests, which cannot wait */
};

/* Borrows everything. NULL without memory. */
struct delivery *delivery_new(const struct delivery_options *options, const struct output_type *type, void *output,
                              struct spool *spool, struct dead_letter_sink dead_letters);
bool delivery_start(struct delivery *delivery, struct err *err);

/*
 * Begins to stop and returns at once, so that several outputs stop at the same time: pauses end, a request that waits
 * for its next try gets it now. Follow with delivery_stop.
 */
void delivery_begin_stop(struct delivery *delivery, int64_t deadline_mono_ns);

/*
 * Ends the threads: those with a request running get until `deadline_mono_ns`, then it is cancelled. What a batch still
 * held then is settled as dropped_shutdown, and logged. Call spool_close (or spool_interrupt) first.
 */
void delivery_stop(struct delivery *delivery, int64_t deadline_mono_ns);
void delivery_free(struct delivery *delivery); /* NULL is fine */

/* How the output does, for readiness and the status page. Any thread. */
struct delivery_state {
    bool answered, up;             /* any answer since the start; the last one was not "try later" */
    int64_t down_ns;               /* for how long it has not been up */
    char reason[REPLY_REASON_MAX]; /* of the last failure; empty while up */
};
void delivery_state(struct delivery *delivery, struct delivery_state *state);

void delivery_collect(void *delivery, const struct metric_writer *writer);

#endif
