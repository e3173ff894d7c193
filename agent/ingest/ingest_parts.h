/* agent/ingest/ingest_parts.h: the inside of struct ingest, for ingest's own files. */
#ifndef HELIOGRAF_INGEST_INGEST_PARTS_H
#define HELIOGRAF_INGEST_INGEST_PARTS_H

#include "agent/ingest/ingest.h"
#include "agent/ingest/prefix_cache.h"
#include "agent/ingest/route.h"
#include "agent/spool/spool.h"

enum bad_time { BAD_TIME_RECEIVE, BAD_TIME_DROP, BAD_TIME_KEEP };
enum unmatched { UNMATCHED_PARSE, UNMATCHED_DROP };

/* Why a point, or a whole message, was left out on purpose. */
enum filtered_reason { FILTERED_RULES, FILTERED_NO_FIELDS, FILTERED_TIME, FILTERED_UNMATCHED, FILTERED_COUNT };

/* One writer, the input's thread; any reader. */
struct ingest_figures {
    metric_counter failures[ROUTE_COMPLAINTS]; /* messages, by enum err_code */
    metric_counter points, filtered[FILTERED_COUNT], parser_omitted, time_replaced, last_message_ns;
    struct line_counters lines;
};

struct ingest_block {
    char *alias, *data_format, *topic_tag;
    struct cfg_objects topic_parsing;
    const struct yaml_node *routes;
    int unmatched, bad_time;
    int64_t max_past_ns, max_future_ns, cache_entries;
    uint64_t cache_bytes;
};

/* Lines of one message for one set of outputs. */
struct ingest_lines {
    struct buf text;
    uint32_t count;
    uint64_t outputs;
};

struct ingest {
    const char *what, *name;              /* for people; for metrics and dead letters */
    const struct ingest_context *context; /* wiring may still fill in the spool */
    struct ingest_block block;
    struct route *routes; /* the last one is the input's own, for all that no other wants */
    size_t route_count;
    struct transform transform;
    const struct ingest_filter **filtered; /* of outputs: what transform.filtered points to */
    struct ingest_lines *lines;            /* one per variant */
    struct spool_record *records;
    struct points points;
    struct prefix_cache cache;
    struct ingest_figures *figures, own_figures; /* explain counts elsewhere */
    struct line_counters uncounted;              /* of a line's second and further variants */
    int64_t last_given_ns;                       /* the last stamp that a point without time was moved to */
    struct line_encoder encoder;
};

/*
 * Routes, parses and encodes one message into ingest->lines. `trace` is NULL on the hot path, else takes every decision
 * in words. With `all`, variant 0 is made even when no output takes it.
 */
enum ingest_end ingest_process(struct ingest *ingest, const struct message *message, bool all, struct buf *trace,
                               struct err *err);

/* One line of words, when somebody listens. */
#define say(trace, ...)                                                                                                \
    do {                                                                                                               \
        if ((trace) != NULL) {                                                                                         \
            buf_printf((trace), __VA_ARGS__);                                                                          \
            buf_append_char((trace), '\n');                                                                            \
        }                                                                                                              \
    } while (0)

#endif
