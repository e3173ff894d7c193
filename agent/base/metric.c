/* agent/base/metric.c: see metric.h. */
#include "agent/base/metric.h"

#include "agent/base/clock.h"

const double metric_bucket_bounds[METRIC_BUCKETS] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                      0.25,  0.5,    1,     2.5,  5,     10,   60 };

void metric_observe(struct metric_histogram *histogram, int64_t duration_ns) {
    double seconds = (double)duration_ns / NS_PER_S;
    size_t i = 0;

    while (i < METRIC_BUCKETS && seconds > metric_bucket_bounds[i])
        i++;
    metric_add(&histogram->buckets[i], 1);
    metric_add(&histogram->sum_us, (uint64_t)(duration_ns / NS_PER_US));
}

void metric_sample(const struct metric_writer *writer, const struct metric_desc *desc, const char *key1,
                   const char *value1, const char *key2, const char *value2, double value) {
    struct metric_label labels[2];
    size_t count = 0;

    if (key1 != NULL)
        labels[count++] = (struct metric_label){ key1, value1 };
    if (key2 != NULL)
        labels[count++] = (struct metric_label){ key2, value2 };
    writer->sample(writer->ctx, desc, labels, count, value);
}

bool metric_register(struct metric_registry *registry, struct metric_source source) {
    if (registry->count == METRIC_SOURCES_MAX)
        return false;
    registry->sources[registry->count++] = source;
    return true;
}

void metric_collect(const struct metric_registry *registry, const struct metric_writer *writer) {
    for (size_t i = 0; i < registry->count; i++)
        registry->sources[i].collect(registry->sources[i].ctx, writer);
}
