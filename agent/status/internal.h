/*
 * agent/status/internal.h: the input `internal`: the agent's own figures through its own pipeline, as Telegraf's
 * inputs.internal has it. Every interval one message on the topic `internal` whose payload is line protocol:
 * measurements `internal_<measurement>`, labels as tags, metric names as fields, counters as integers, all with the
 * same stamp. Delivers on the loop's thread.
 */
#ifndef HELIOGRAF_STATUS_INTERNAL_H
#define HELIOGRAF_STATUS_INTERNAL_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/message.h"
#include "agent/base/metric.h"
#include "config/schema.h"

#define INTERNAL_TOPIC "internal" /* of its messages */

struct loop;
struct internal_source;

struct internal_source_options {
    int64_t interval_ns;
};
extern const struct cfg_field internal_source_options[]; /* for struct internal_source_options */

/* Borrows the registry and the loop. NULL without memory. */
struct internal_source *internal_source_new(const struct internal_source_options *options,
                                            const struct metric_registry *metrics, struct loop *loop,
                                            struct message_sink sink);
/* The first message comes one interval after this. Before loop_start or on the loop's thread. */
bool internal_source_start(struct internal_source *source, struct err *err);
/* No message is delivered after this returns. On the loop's thread, or after loop_stop; again is fine. */
void internal_source_stop(struct internal_source *source);
void internal_source_free(struct internal_source *source); /* stops it first; NULL is fine */

/* The lines of one moment; also for tests. False when a cap was hit: then `out` has nothing new. */
bool internal_write(const struct metric_registry *metrics, int64_t time_ns, struct buf *out);

#endif
