/*
 * agent/delivery/sender.h: one thread with one connection, that takes batches from the spool and sends them until each
 * line's fate is known. delivery.c starts and stops them; this header is for the two and for delivery_metrics.c.
 */
#ifndef HELIOGRAF_DELIVERY_SENDER_H
#define HELIOGRAF_DELIVERY_SENDER_H

#include <pthread.h>

#include "agent/base/log.h"
#include "agent/delivery/delivery.h"
#include "agent/delivery/gate.h"
#include "agent/delivery/grouping.h"
#include "agent/delivery/reject_reason.h"
#include "agent/delivery/settle.h"

enum { OUTCOMES = REJECTED + 1, STATUS_CLASSES = 20, SENDERS_MAX = 64 };

struct delivery_figures {
    metric_counter requests[OUTCOMES], statuses[STATUS_CLASSES], rejected[REJECT_REASON_COUNT];
    metric_counter retries, splits, wire_bytes;
    struct metric_histogram duration;
};
/* Counts one answered, or unanswered, request. */
void delivery_figures_add(struct delivery_figures *figures, const struct reply *reply);

struct sender {
    struct delivery *delivery;
    pthread_t thread;
    bool stand_in; /* works only while all others hold a request that fails, perhaps alone */
    bool suspects; /* it holds such a one itself */
    void *connection;
    struct spool_flush flush;
    uint32_t max_lines; /* per request */

    /* Of the batch in hand; memory is kept. */
    struct spool_batch batch;
    struct pace_grant paid; /* of the batch, and not sent yet */
    struct grouping grouping;
    struct tally tally;
    struct split split;
    struct reply reply;
    uint32_t *line_ends; /* of a request that does not begin with the body */
    size_t line_ends_cap;
};

struct delivery {
    struct delivery_options options;
    const struct output_type *type;
    void *output;
    struct spool *spool;
    struct dead_letter_sink dead_letters;
    char address[256]; /* the output in its own words */

    struct gate gate;
    struct delivery_figures figures;
    struct complaint unreachable, refused, target_refused, slow, rejected[REJECT_REASON_COUNT];

    pthread_mutex_t lock; /* for the rest */
    pthread_cond_t ended;
    unsigned running;
    char reason[REPLY_REASON_MAX];

    unsigned sender_count; /* with the stand-in */
    struct sender senders[SENDERS_MAX + 1];
};

void sender_init(struct sender *sender, struct delivery *delivery, bool stand_in);
void sender_release(struct sender *sender);
/* The thread: until the spool is closed and empty, or the time is up. Nothing is left in hand when it returns. */
void sender_run(struct sender *sender);

#endif
