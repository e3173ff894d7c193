/*
 * agent/base/metric.h: figures, pulled. A module keeps plain or atomic counters next to what it counts and writes them out
 * as samples when asked; who asks (the Prometheus page, the internal input) hands in the writer. Names are given without
 * the "heliograf_" prefix, in Prometheus style: base units, `_total` on counters. Labels must be bounded: input, output,
 * reason, outcome, never a topic.
 */
#ifndef HELIOGRAF_BASE_METRIC_H
#define HELIOGRAF_BASE_METRIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Static, next to what it counts. `measurement` groups it for `internal_<measurement>` points: "gather", "write", ... */
struct metric_desc {
    const char *name, *help, *measurement;
    enum metric_kind kind;
};

struct metric_label {
    const char *key, *value;
};

/* A counter that any thread may add to; relaxed, because it orders nothing. */
typedef _Atomic uint64_t metric_counter;

static inline void metric_add(metric_counter *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t metric_get(const metric_counter *counter) {
    return atomic_load_explicit((metric_counter *)counter, memory_order_relaxed);
}

/* Durations in fixed buckets from 1 ms to 60 s, as Prometheus counts them. */
#define METRIC_BUCKETS 14
struct metric_histogram {
    metric_counter buckets[METRIC_BUCKETS + 1]; /* the last one is +Inf; not cumulative here */
    metric_counter sum_us;
};
extern const double metric_bucket_bounds[METRIC_BUCKETS]; /* seconds */
void metric_observe(struct metric_histogram *histogram, int64_t duration_ns);

/* One visitor per walk over all figures. Pointers are valid during the call only. */
struct metric_writer {
    void *ctx;
    void (*sample)(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t label_count,
                   double value);
    void (*histogram)(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t label_count,
                      const struct metric_histogram *histogram);
};

/* Shorthand for a sample with up to two labels; pass NULL keys for fewer. */
void metric_sample(const struct metric_writer *writer, const struct metric_desc *desc, const char *key1,
                   const char *value1, const char *key2, const char *value2, double value);

/* Something that has figures. `collect` may be called from any thread, at any time between start and stop. */
struct metric_source {
    void *ctx;
    void (*collect)(void *ctx, const struct metric_writer *writer);
};

/* The list of all of them: filled by wiring before anything runs, constant after. */
#define METRIC_SOURCES_MAX 256
struct metric_registry {
    struct metric_source sources[METRIC_SOURCES_MAX];
    size_t count;
};
bool metric_register(struct metric_registry *registry, struct metric_source source); /* false when full */
void metric_collect(const struct metric_registry *registry, const struct metric_writer *writer);

#endif
