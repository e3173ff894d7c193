/* agent/ingest/count.h: counters with one writer: no locked instruction on the hot path; readers see whole values. */
#ifndef HELIOGRAF_INGEST_COUNT_H
#define HELIOGRAF_INGEST_COUNT_H

#include "agent/base/metric.h"

static inline void count_add(metric_counter *counter, uint64_t n) {
    if (n > 0)
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
