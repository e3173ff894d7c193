/* agent/ingest/ingest_metrics.c: the figures of one input. */
#include "agent/base/clock.h"
#include "agent/ingest/ingest_parts.h"

static const char *const filtered_names[FILTERED_COUNT] = { "rules", "no_fields", "time", "unmatched" };

static const struct metric_desc parse_failures = { "parse_failures_total",
                                                   "Messages that could not be made into points.", "gather",
                                                   METRIC_COUNTER };
static const struct metric_desc points_produced = { "points_produced_total", "Points that became lines.", "gather",
                                                    METRIC_COUNTER };
static const struct metric_desc points_filtered = { "points_filtered_total",
                                                    "Points (unmatched: messages) that the configuration left out.",
                                                    "gather", METRIC_COUNTER };
static const struct metric_desc values_omitted = { "values_omitted_total",
                                                   "Values left out because no server would take them.", "gather",
                                                   METRIC_COUNTER };
static const struct metric_desc values_renamed = { "values_renamed_total",
                                                   "Names changed because servers would refuse them.", "gather",
                                                   METRIC_COUNTER };
static const struct metric_desc values_clipped = { "values_clipped_total", "Unsigned values cut at int64's end.",
                                                   "gather", METRIC_COUNTER };
static const struct metric_desc time_replaced = { "time_replaced_total",
                                                  "Points with an implausible time that got the arrival time.",
                                                  "gather", METRIC_COUNTER };
static const struct metric_desc cache_hits = { "topic_cache_hits_total", "Messages whose topic was known.", "gather",
                                               METRIC_COUNTER };
static const struct metric_desc cache_misses = { "topic_cache_misses_total",
                                                 "Messages whose topic was not in the cache.", "gather",
                                                 METRIC_COUNTER };
static const struct metric_desc cache_evictions = { "topic_cache_evictions_total", "Topics that made room for others.",
                                                    "gather", METRIC_COUNTER };
static const struct metric_desc cache_entries = { "topic_cache_entries", "Topics in the cache.", "gather",
                                                  METRIC_GAUGE };
static const struct metric_desc cache_bytes = { "topic_cache_bytes", "Bytes of them.", "gather", METRIC_GAUGE };
static const struct metric_desc last_message = { "messages_last_timestamp_seconds",
                                                 "When the last message arrived, since 1970.", "gather", METRIC_GAUGE };

static void sample(const struct ingest *ingest, const struct metric_writer *writer, const struct metric_desc *desc,
                   const char *reason, uint64_t value) {
    metric_sample(writer, desc, "input", ingest->name, reason != NULL ? "reason" : NULL, reason, (double)value);
}

void ingest_collect(void *ctx, const struct metric_writer *writer) {
    const struct ingest *ingest = ctx;
    const struct ingest_figures *figures = &ingest->own_figures;
    const struct line_counters *lines = &figures->lines;

    for (int code = ERR_SYNTAX; code <= ERR_UNSUPPORTED; code++)
        sample(ingest, writer, &parse_failures, err_code_name((enum err_code)code),
               metric_get(&figures->failures[code]));
    sample(ingest, writer, &points_produced, NULL, metric_get(&figures->points));
    for (size_t i = 0; i < FILTERED_COUNT; i++)
        sample(ingest, writer, &points_filtered, filtered_names[i], metric_get(&figures->filtered[i]));
    sample(ingest, writer, &values_omitted, "parser", metric_get(&figures->parser_omitted));
    for (size_t i = 0; i < OMIT_COUNT; i++)
        sample(ingest, writer, &values_omitted, line_omission_name((enum line_omission)i),
               metric_get(&lines->omitted[i]));
    sample(ingest, writer, &values_renamed, NULL, metric_get(&lines->renamed));
    sample(ingest, writer, &values_clipped, NULL, metric_get(&lines->clipped));
    sample(ingest, writer, &time_replaced, NULL, metric_get(&figures->time_replaced));
    sample(ingest, writer, &cache_hits, NULL, metric_get(&ingest->cache.hits));
    sample(ingest, writer, &cache_misses, NULL, metric_get(&ingest->cache.misses));
    sample(ingest, writer, &cache_evictions, NULL, metric_get(&ingest->cache.evictions));
    sample(ingest, writer, &cache_entries, NULL, metric_get(&ingest->cache.entries));
    sample(ingest, writer, &cache_bytes, NULL, metric_get(&ingest->cache.entry_bytes));
    metric_sample(writer, &last_message, "input", ingest->name, NULL, NULL,
                  (double)metric_get(&figures->last_message_ns) / NS_PER_S);
}
