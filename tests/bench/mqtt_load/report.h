/* tests/bench/mqtt_load/report.h: the answer of a run, one JSON object on one line of stdout. */
#ifndef MQTT_LOAD_REPORT_H
#define MQTT_LOAD_REPORT_H

#include "tests/bench/mqtt_load/client.h"
#include "tests/bench/mqtt_load/process.h"

/* When what happened, CLOCK_MONOTONIC in ns (0: never), and what the broker had used by then (all 0 without --pid). */
struct story {
    int64_t began_ns, connected_ns, published_ns, ended_ns;
    struct process_use before, connected, after;
    double own_cpu_s;     /* from connected to ended */
    uint64_t expected;    /* messages that the healthy subscribers should have received; 0: unknown */
    uint64_t behind;      /* most messages that were due at once: 1 when this process always came in time */
    uint64_t bursts;      /* with a rate: times at which it sent something; more than a message each means it came late */
    const char *ended_by; /* "limit", "time", "signal" or "failure" */
};

void report_print(const struct load *load, const struct story *story);

#endif
