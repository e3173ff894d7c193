/*
 * agent/status/snapshot.h: all figures of one moment, copied and grouped by name, so that a view can walk them in its
 * own order: the Prometheus text, the page, the internal input. Everything lives in the snapshot's arena. One owner,
 * one thread.
 */
#ifndef HELIOGRAF_STATUS_SNAPSHOT_H
#define HELIOGRAF_STATUS_SNAPSHOT_H

#include "agent/base/arena.h"
#include "agent/base/metric.h"

struct snapshot_histogram {
    uint64_t cumulative[METRIC_BUCKETS + 1]; /* the last one is the count */
    double sum_seconds;
};

struct snapshot_sample {
    const struct metric_label *labels;
    size_t label_count;
    double value;
    const struct snapshot_histogram *histogram; /* METRIC_HISTOGRAM only */
    struct snapshot_sample *next;               /* of the same family */
};

struct snapshot_family {
    const struct metric_desc *desc; /* of the first sample with this name */
    struct snapshot_sample *first, **tail;
    struct snapshot_family *next; /* in the order in which the names came up */
};

struct snapshot {
    struct arena arena;
    struct snapshot_family *first, **tail, *last_used;
    bool truncated; /* a cap was hit: not everything is here */
};

void snapshot_take(struct snapshot *snapshot, const struct metric_registry *metrics);
void snapshot_release(struct snapshot *snapshot); /* safe on a zeroed one */

const struct snapshot_family *snapshot_find(const struct snapshot *snapshot, const char *name); /* NULL when absent */

/* The value of a label of this sample; NULL when it has none of that key. */
const char *snapshot_label(const struct snapshot_sample *sample, const char *key);

/* The sum of the family's samples whose label `key` has this value; key NULL: of all. 0 for a NULL family. */
double snapshot_sum(const struct snapshot_family *family, const char *key, const char *value);

#endif
