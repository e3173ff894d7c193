/*
 * agent/delivery/delivery_metrics.c: the figures of one output. Messages, lines and what is pending are the spool's
 * figures.
 */
#include "agent/delivery/sender.h"

/* Single codes that mean something different to an operator, then their classes. The first match counts. */
static const struct {
    const char *name;
    int low, high;
} statuses[] = {
    { "none", 0, 0 },    { "2xx", 200, 299 }, { "3xx", 300, 399 }, { "400", 400, 400 }, { "401", 401, 401 },
    { "403", 403, 403 }, { "404", 404, 404 }, { "408", 408, 408 }, { "413", 413, 413 }, { "422", 422, 422 },
    { "429", 429, 429 }, { "4xx", 400, 499 }, { "500", 500, 500 }, { "502", 502, 502 }, { "503", 503, 503 },
    { "504", 504, 504 }, { "5xx", 500, 599 }, { "other", 1, 0 },
};
enum { STATUSES = sizeof statuses / sizeof statuses[0] };
_Static_assert((int)STATUSES <= (int)STATUS_CLASSES, "room for each class");

static size_t status_class(int status) {
    size_t i = 0;

    while (i < STATUSES - 1 && (status < statuses[i].low || status > statuses[i].high))
        i++;
    return i;
}

void delivery_figures_add(struct delivery_figures *figures, const struct reply *reply) {
    metric_add(&figures->requests[reply->outcome], 1);
    if (reply->status != 0 || reply->outcome == RETRY_LATER) /* a file is stored to without any status */
        metric_add(&figures->statuses[status_class(reply->status)], 1);
    metric_add(&figures->wire_bytes, reply->wire_bytes);
    metric_observe(&figures->duration, reply->duration_ns);
}

static const struct metric_desc requests_desc = { "output_requests_total", "Requests by what became of them.", "write",
                                                  METRIC_COUNTER };
static const struct metric_desc statuses_desc = { "output_http_status_total",
                                                  "Answers by HTTP status; none: no answer.", "write", METRIC_COUNTER };
static const struct metric_desc duration_desc = { "output_request_duration_seconds", "Time from request to answer.",
                                                  "write", METRIC_HISTOGRAM };
static const struct metric_desc up_desc = { "output_up",
                                            "1: the last request was answered with something other than 'later'.",
                                            "write", METRIC_GAUGE };
static const struct metric_desc retries_desc = { "output_retries_total", "Requests that must be sent again unchanged.",
                                                 "write", METRIC_COUNTER };
static const struct metric_desc splits_desc = { "output_splits_total", "Requests that were halved.", "write",
                                                METRIC_COUNTER };
static const struct metric_desc wire_desc = { "output_wire_bytes_total", "Bytes of request bodies, after compression.",
                                              "write", METRIC_COUNTER };
static const struct metric_desc rejected_desc = { "output_lines_rejected_total", "Lines that can never be stored.",
                                                  "write", METRIC_COUNTER };
static const struct metric_desc backoff_desc = { "output_backoff_seconds", "Time until the next try; 0: no pause.",
                                                 "write", METRIC_GAUGE };
static const struct metric_desc senders_desc = { "output_senders",
                                                 "Requests that may run at once; fewer under overload and when the server is slow.", "write",
                                                 METRIC_GAUGE };

static const struct metric_desc throttled_desc = {
    "output_throttled_seconds_total",
    "Time that waiting points were held back, all senders together: by rate_limit, by the server's latency, after failures.",
    "write", METRIC_COUNTER
};
static const struct metric_desc latency_limit_desc = {
    "output_latency_limit", "Requests at once that the server's latency allows; below 1: the share of time for what waits.",
    "write", METRIC_GAUGE
};
static const struct metric_desc points_limit_desc = { "output_rate_limit_points", "Points per second at most, when limited.",
                                                      "write", METRIC_GAUGE };
static const struct metric_desc bytes_limit_desc = {
    "output_rate_limit_bytes", "Bytes of line protocol per second at most, when limited.", "write", METRIC_GAUGE
};
static const struct {
    enum pace_reason reason;
    const char *name;
} throttles[] = { { PACE_RATE, "rate_limit" }, { PACE_LATENCY, "latency" }, { PACE_BACKOFF, "backoff" } };

static void counted(const struct metric_writer *writer, const struct metric_desc *desc, const struct delivery *delivery,
                    const char *key, const char *value, const metric_counter *counter) {
    metric_sample(writer, desc, "output", delivery->options.name, key, value, (double)metric_get(counter));
}

static void plain(const struct metric_writer *writer, const struct metric_desc *desc, const struct delivery *delivery,
                  double value) {
    metric_sample(writer, desc, "output", delivery->options.name, NULL, NULL, value);
}

static void collect_pace(const struct delivery *delivery, const struct gate_state *state, const struct metric_writer *writer) {
    for (size_t i = 0; i < sizeof throttles / sizeof throttles[0]; i++)
        metric_sample(writer, &throttled_desc, "output", delivery->options.name, "reason", throttles[i].name,
                      (double)metric_get(&delivery->gate.waited_ns[throttles[i].reason]) / 1e9);
    plain(writer, &latency_limit_desc, delivery, state->latency_limit);
    if (state->points_per_s > 0)
        plain(writer, &points_limit_desc, delivery, state->points_per_s);
    if (state->bytes_per_s > 0)
        plain(writer, &bytes_limit_desc, delivery, state->bytes_per_s);
}

void delivery_collect(void *ctx, const struct metric_writer *writer) {
    struct delivery *delivery = ctx;
    const struct delivery_figures *figures = &delivery->figures;
    struct metric_label output = { "output", delivery->options.name };
    struct gate_state state = gate_state(&delivery->gate);

    for (int i = 0; i < OUTCOMES; i++)
        counted(writer, &requests_desc, delivery, "outcome", outcome_name((enum outcome)i), &figures->requests[i]);
    for (size_t i = 0; i < STATUSES; i++)
        if (metric_get(&figures->statuses[i]) > 0)
            counted(writer, &statuses_desc, delivery, "status", statuses[i].name, &figures->statuses[i]);
    for (int i = 0; i < REJECT_REASON_COUNT; i++)
        counted(writer, &rejected_desc, delivery, "reason", reject_reason_name((enum reject_reason)i),
                &figures->rejected[i]);
    counted(writer, &retries_desc, delivery, NULL, NULL, &figures->retries);
    counted(writer, &splits_desc, delivery, NULL, NULL, &figures->splits);
    counted(writer, &wire_desc, delivery, NULL, NULL, &figures->wire_bytes);
    writer->histogram(writer->ctx, &duration_desc, &output, 1, &figures->duration);
    if (state.answered)
        plain(writer, &up_desc, delivery, state.up);
    plain(writer, &backoff_desc, delivery, (double)state.pause_ns / 1e9);
    plain(writer, &senders_desc, delivery, state.limit);
    collect_pace(delivery, &state, writer);
}
