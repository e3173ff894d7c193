/*
 * agent/ingest/ingest.h: from a message to finished lines: route, parse, transform, encode. One instance per input
 * block, only ever called by that input's thread. No I/O; no allocation once warm; nothing from outside can make it
 * fail in another way than a counted dead letter.
 */
#ifndef HELIOGRAF_INGEST_INGEST_H
#define HELIOGRAF_INGEST_INGEST_H

#include "agent/base/arena.h"
#include "agent/base/dead_letter.h"
#include "agent/base/message.h"
#include "agent/base/metric.h"
#include "config/schema.h"
#include "config/yaml_tree.h"

struct spool;
struct ingest;

/* What the agent as a whole gives to every input. Borrowed for the ingest's life. */
struct ingest_context {
    const struct cfg_map *global_tags;
    const char *hostname; /* tag `host`; NULL: none (omit_hostname) */
    struct spool *spool;  /* NULL: dry (`explain`, `test`, `run --test`): nothing is appended */
    struct dead_letter_sink dead_letters;
    /* Per output: its filters and renames, or NULL when it takes everything as it is. */
    const struct ingest_filter *const *output_filters;
    unsigned outputs;
    bool influx_uint; /* write unsigned integers with the suffix `u`; otherwise as integers, clipped at int64's end */
    uint64_t max_message_points_bytes; /* cap of struct points; 0: 8 MiB */
};

/*
 * Filters and modifiers with Telegraf's names: namepass, namedrop, tagpass, tagdrop, fieldinclude, fieldexclude (also
 * fieldpass, fielddrop), taginclude, tagexclude, name_override, name_prefix, name_suffix, tags. Used for inputs and for
 * outputs.
 */
struct ingest_filter;
extern const struct cfg_field ingest_filter_options[];
/* From a filled option struct of ingest_filter_size() bytes; false with `err` on a bad glob. */
size_t ingest_filter_size(void);
bool ingest_filter_init(struct ingest_filter *filter, struct err *err);
void ingest_filter_fini(struct ingest_filter *filter); /* safe on a zeroed one */
bool ingest_filter_is_empty(const struct ingest_filter *filter);

/*
 * Reads an input block's map: data_format and that parser's options, routes, topic_tag, topic_parsing, filters, tags,
 * time sanity. `own` are the source's own options in the same map (servers, qos, ...), filled in the same pass, so that
 * an unknown key is reported once. `what` names the block: "input TYPE ...", and TYPE is the measurement of points that
 * have none: "input mqtt_consumer 'plant'". The context is borrowed for the ingest's life; its spool may still be set
 * later. NULL with diags when something is wrong.
 */
struct ingest *ingest_new(const struct yaml_node *map, const char *what, const char *alias,
                          const struct cfg_binding *own, size_t own_count, const struct ingest_context *context,
                          struct arena *arena, struct diags *diags);
void ingest_free(struct ingest *ingest); /* NULL is fine */

/* The options that every input has beside its own, for the sample configuration and for documentation. */
extern const struct cfg_field ingest_options[];

/* message_sink.deliver with ctx = struct ingest *. */
enum message_fate ingest_deliver(void *ingest, const struct message *message, uint64_t *sequence);

/*
 * The same without spool, dead letters and counters: appends the line protocol to `lines` and, when `trace` is not
 * NULL, every decision in words, one per line. Returns how the message ended; `reason` says why there are no lines.
 */
enum ingest_end { INGEST_LINES, INGEST_FILTERED, INGEST_DEAD };
enum ingest_end ingest_explain(struct ingest *ingest, const struct message *message, struct buf *lines,
                               struct buf *trace, struct err *reason);

/*
 * The same again, as records for the spool, which stay here until the next call: for whoever sends a message by another
 * way. A point without a time of its own gets the message's arrival, whatever came before it. No record is left when no
 * output takes any of it: INGEST_FILTERED.
 */
struct spool_record;
enum ingest_end ingest_records(struct ingest *ingest, const struct message *message, const struct spool_record **records,
                               size_t *count, struct err *reason);

void ingest_collect(void *ingest, const struct metric_writer *writer); /* metric_source.collect */

#endif
