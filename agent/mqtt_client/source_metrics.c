/* agent/mqtt_client/source_metrics.c: the figures of a source. */
#include "agent/mqtt_client/source_parts.h"

#define DESC(variable, text, words, type)                                                                              \
    static const struct metric_desc variable = { .name = text, .help = words, .measurement = "mqtt", .kind = type }

DESC(connected, "mqtt_connected", "1 while the broker has accepted the connection.", METRIC_GAUGE);
DESC(connects, "mqtt_connects_total", "Connections that a broker accepted.", METRIC_COUNTER);
DESC(disconnects, "mqtt_disconnects_total", "Connections that came to an end before the agent did.", METRIC_COUNTER);
DESC(malformed, "mqtt_malformed_packets_total", "Connections that ended because the broker sent a malformed packet.",
     METRIC_COUNTER);
DESC(failures, "mqtt_connect_failures_total", "Attempts to connect that failed.", METRIC_COUNTER);
DESC(received, "mqtt_messages_received_total", "Messages that arrived, whatever became of them.", METRIC_COUNTER);
DESC(bytes, "mqtt_bytes_received_total", "Bytes of payload that arrived.", METRIC_COUNTER);
DESC(duplicates, "mqtt_duplicates_flagged_total", "Messages that the broker flagged as sent again.", METRIC_COUNTER);
DESC(known, "mqtt_redeliveries_suppressed_total", "Messages that came again though they were taken before: acknowledged, and nothing else.",
     METRIC_COUNTER);
DESC(retained_skipped, "mqtt_retained_skipped_total", "Messages left out by the option `retained`.", METRIC_COUNTER);
DESC(overlap_copies, "mqtt_overlap_copies_total", "Copies that came only because topic filters overlap.",
     METRIC_COUNTER);
DESC(refused, "mqtt_messages_refused_total", "Messages left with the broker because there was no room.",
     METRIC_COUNTER);
DESC(too_large, "mqtt_messages_too_large_total", "Messages above max_message_bytes, dropped.", METRIC_COUNTER);
DESC(dropped, "mqtt_messages_dropped_total", "QoS 0 messages that came while the agent was stopping.", METRIC_COUNTER);
DESC(subscriptions, "mqtt_subscriptions", "Topic filters by what the broker said to them.", METRIC_GAUGE);
DESC(acks_held, "mqtt_acks_held", "Messages that wait for the spool before they are acknowledged.", METRIC_GAUGE);
DESC(acks_oldest, "mqtt_acks_oldest_seconds", "For how long the first of them has waited.", METRIC_GAUGE);
DESC(acks_sent, "mqtt_acks_sent_total", "Acknowledgements sent.", METRIC_COUNTER);
DESC(acks_discarded, "mqtt_acks_discarded_total", "Acknowledgements void because their connection ended first.",
     METRIC_COUNTER);
DESC(early_acks, "mqtt_early_acks_total", "Messages acknowledged before they were safe; must stay 0.", METRIC_COUNTER);
DESC(last_message, "mqtt_last_message_timestamp_seconds", "When the last message arrived; 0: none has.", METRIC_GAUGE);

static void number(const struct metric_writer *writer, const struct metric_desc *desc, const struct mqtt_source *source,
                   double value) {
    metric_sample(writer, desc, "input", source->name, NULL, NULL, value);
}

static void collect_state(struct mqtt_source *source, const struct metric_writer *writer) {
    size_t granted, refused_filters, held;
    int64_t oldest;
    bool up;

    pthread_mutex_lock(&source->lock);
    up = source->phase == PHASE_UP;
    granted = subscriptions_in(&source->subscriptions, SUBSCRIPTION_GRANTED);
    refused_filters = subscriptions_in(&source->subscriptions, SUBSCRIPTION_REFUSED);
    held = source->held.count;
    oldest = held_acks_oldest_ns(&source->held);
    pthread_mutex_unlock(&source->lock);
    int64_t age = oldest > 0 ? clock_real_ns() - oldest : 0;
    number(writer, &connected, source, up);
    metric_sample(writer, &subscriptions, "input", source->name, "state", "granted", (double)granted);
    metric_sample(writer, &subscriptions, "input", source->name, "state", "refused", (double)refused_filters);
    number(writer, &acks_held, source, (double)held);
    number(writer, &acks_oldest, source, age > 0 ? (double)age / NS_PER_S : 0);
}

void mqtt_source_collect(void *ctx, const struct metric_writer *writer) {
    struct mqtt_source *source = ctx;
    const struct source_figures *figures = &source->figures;
    const struct {
        const struct metric_desc *desc;
        const metric_counter *counter;
    } counters[] = {
        { &connects, &figures->connects },
        { &disconnects, &figures->disconnects },
        { &malformed, &figures->malformed },
        { &received, &figures->received },
        { &bytes, &figures->bytes },
        { &duplicates, &figures->duplicates },
        { &known, &figures->known },
        { &retained_skipped, &figures->retained_skipped },
        { &overlap_copies, &figures->overlap_copies },
        { &refused, &figures->refused },
        { &too_large, &figures->too_large },
        { &dropped, &figures->dropped },
        { &acks_sent, &figures->acks_sent },
        { &acks_discarded, &figures->acks_discarded },
        { &early_acks, &figures->early_acks },
    };

    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        number(writer, counters[i].desc, source, (double)metric_get(counters[i].counter));
    for (int kind = 0; kind < FAILED_KINDS; kind++)
        metric_sample(writer, &failures, "input", source->name, "reason",
                      connection_failure_name((enum connection_failure_kind)kind),
                      (double)metric_get(&figures->failures[kind]));
    number(writer, &last_message, source, (double)atomic_load(&source->figures.last_message_ns) / NS_PER_S);
    collect_state(source, writer);
}
