/*
 * tests/bench/mqtt_load/histogram.h: how often which duration was seen, with an error below 1 % (64 steps per power of two) and in constant
 * space. Durations in nanoseconds; negative ones count as 0.
 */
#ifndef MQTT_LOAD_HISTOGRAM_H
#define MQTT_LOAD_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_ROWS = 58 }; /* rows: values below 64, then one per power of two up to 2^63 */

/* Zeroed: empty. */
struct histogram {
    uint64_t counts[HISTOGRAM_ROWS][HISTOGRAM_STEPS];
    uint64_t count;
    int64_t max;
};

void histogram_add(struct histogram *histogram, int64_t ns);
/* The duration that `share` (0 to 1) of all do not exceed, at most the largest one seen; 0 when nothing was seen. */
int64_t histogram_at(const struct histogram *histogram, double share);

#endif
