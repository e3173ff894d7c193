/*
 * agent/mqtt_client/inbox.c: what becomes of a message that arrives, on Paho's receive thread and with Paho's lock
 * held. No I/O here and nothing that waits for the keeper or for the spool's disk.
 */
#include "agent/mqtt_client/source_parts.h"

static const int64_t refusal_pause_ns = 5 * NS_PER_S;

/* What to tell the broker in the end; QoS 0 messages are not acknowledged in any case. */
enum verdict {
    ACKNOWLEDGE,
    LEAVE, /* unacknowledged: the broker keeps it and sends it again after a reconnect */
};

bool mqtt_source_wants(const struct mqtt_source *source, const struct message *message) {
    switch ((enum mqtt_retained)source->settings.options->retained) {
    case MQTT_RETAINED_SKIP:
        return !message->retain;
    case MQTT_RETAINED_ONLY:
        return message->retain;
    case MQTT_RETAINED_STORE:
        break;
    }
    return true;
}

uint64_t mqtt_source_max_bytes(const struct mqtt_source *source) {
    return source->settings.options->max_message_bytes;
}

static bool is_too_large(struct mqtt_source *source, const struct message *message) {
    uint64_t max = source->settings.options->max_message_bytes;

    if (max == 0 || message->payload.len <= max)
        return false;
    metric_add(&source->figures.too_large, 1);
    complain(&source->large_trouble, LOG_WARN, "MQTT-TOO-LARGE",
             "input %s: a message of %zu bytes on topic %.*s is too large for max_message_bytes (%llu): a dead letter", source->name,
             message->payload.len, STR_ARGS(message->topic), (unsigned long long)max);
    return true;
}

/* Only the receive thread touches the memory of recent copies, so no lock. */
static bool is_copy(struct mqtt_source *source, const struct inbound *in) {
    if (!subscriptions_is_copy(&source->subscriptions, &in->message, in->identifiers, in->identifier_count))
        return false;
    metric_add(&source->figures.overlap_copies, 1);
    return true;
}

/*
 * The sink has no room: nothing behind this message is taken from this connection, or the broker's second try would
 * come out of order. The keeper reconnects when there may be room again.
 */
static void note_refusal(struct mqtt_source *source, const struct message *message) {
    metric_add(&source->figures.refused, 1);
    if (message->qos == 0)
        return;
    pthread_mutex_lock(&source->lock);
    if (!source->refusing) {
        source->refusing = true;
        source->durable_at_refusal = atomic_load(&source->durable);
        source->reconnect_at_ns = clock_mono_ns() + refusal_pause_ns;
    }
    pthread_mutex_unlock(&source->lock);
    source_nudge(source);
}

static enum verdict give_to_sink(struct mqtt_source *source, const struct message *message, uint64_t *sequence) {
    if (source->sink.deliver(source->sink.ctx, message, sequence) == MESSAGE_TAKEN)
        return ACKNOWLEDGE;
    note_refusal(source, message);
    return LEAVE;
}

/* Taken before, over a connection that ended before the broker had seen our acknowledgement. */
static bool is_known(struct mqtt_source *source, const struct message *message, uint64_t *sequence) {
    bool known;

    if (!message->dup || message->origin.id == 0)
        return false;
    pthread_mutex_lock(&source->lock);
    known = redelivery_find(&source->redelivery, message->origin.id, message->origin.content, sequence);
    pthread_mutex_unlock(&source->lock);
    if (known)
        metric_add(&source->figures.known, 1);
    return known;
}

static enum verdict judge(struct mqtt_source *source, const struct message *message, const struct inbound *in,
                          uint64_t *sequence) {

    if (!atomic_load_explicit(&source->taking, memory_order_acquire)) {
        if (message->qos == 0)
            metric_add(&source->figures.dropped, 1);
        return LEAVE;
    }
    if (message->qos > 0 && source->refusing) {
        metric_add(&source->figures.refused, 1);
        return LEAVE;
    }
    if (is_known(source, message, sequence))
        return ACKNOWLEDGE;
    if (!mqtt_source_wants(source, message)) {
        metric_add(&source->figures.retained_skipped, 1);
        return ACKNOWLEDGE;
    }
    if (is_copy(source, in))
        return ACKNOWLEDGE;
    if (is_too_large(source, message)) {
        struct message oversized = *message;
        oversized.too_large = true;
        return give_to_sink(source, &oversized, sequence);
    }
    return give_to_sink(source, message, sequence);
}

static void hold(struct mqtt_source *source, const struct message *message, uint16_t id, uint64_t sequence) {
    bool held;

    if (!source->late)
        sequence = 0;
    pthread_mutex_lock(&source->lock);
    held = held_acks_add(&source->held, id, sequence, message->received_ns);
    if (message->origin.id != 0)
        redelivery_note(&source->redelivery, id, message->origin.content, sequence, message->dup);
    pthread_mutex_unlock(&source->lock);
    if (!held)
        complain(&source->hold_trouble, LOG_ERROR, "MQTT-ACKS",
                 "input %s: more than %d messages wait for their acknowledgement; the broker will send this one again",
                 source->name, HELD_ACKS_MAX);
    /* Durable by now: the notice of it may have come before there was anything to release. */
    if (sequence <= atomic_load(&source->durable))
        source_nudge(source);
}

static void note_early(struct mqtt_source *source) {
    metric_add(&source->figures.early_acks, 1);
    complain(
        &source->early_trouble, LOG_ERROR, "EARLY-ACK",
        "input %s: the MQTT library acknowledges messages before they are safe; the program is linked wrongly or the "
        "broker sends QoS 2 unasked",
        source->name);
}

static struct message_origin origin_of(const struct mqtt_source *source, const struct inbound *in) {
    uint64_t topic = str_hash(in->message.topic), payload = str_hash(in->message.payload);

    return (struct message_origin){ .content = (topic << 1 | topic >> 63) ^ payload, .session = source->session, .id = in->id };
}

void inbox_message(void *ctx, struct connection *connection, const struct inbound *in) {
    struct mqtt_source *source = ctx;
    struct message message = in->message;
    uint64_t sequence = 0;

    if (atomic_load_explicit(&source->current, memory_order_acquire) != connection)
        return; /* left behind by a connection that was given up */
    metric_add(&source->figures.received, 1);
    metric_add(&source->figures.bytes, message.payload.len);
    if (message.dup)
        metric_add(&source->figures.duplicates, 1);
    atomic_store_explicit(&source->figures.last_message_ns, message.received_ns, memory_order_relaxed);
    if (message.qos > 0 && !source->clean)
        message.origin = origin_of(source, in);
    if (judge(source, &message, in, &sequence) == LEAVE || message.qos == 0)
        return;
    if (in->early)
        note_early(source);
    else
        hold(source, &message, in->id, sequence);
}
