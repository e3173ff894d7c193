/*
 * agent/base/message.h: one MQTT message on its way in. Everything is borrowed from the source and valid during the
 * delivering call only.
 */
#ifndef HELIOGRAF_BASE_MESSAGE_H
#define HELIOGRAF_BASE_MESSAGE_H

#include "agent/base/str.h"

struct message_property {
    struct str key, value;
};

/*
 * How a message is known again when the broker delivers it a second time: MQTT repeats the packet identifier within the session
 * (MQTT 3.1.1 and 5.0, 4.4), and the content. `id` 0: not at all.
 */
struct message_origin {
    uint64_t content; /* hash of topic and payload */
    uint32_t session; /* hash of client id and server */
    uint16_t id;
};

struct message {
    struct str topic, payload;
    int64_t received_ns; /* arrival, ns since 1970 UTC, unique and rising within the process (clock_unique_ns) */
    uint8_t qos;         /* 0-2, as it arrived */
    bool retain, dup;
    bool sender_can_wait; /* may be refused at QoS 0 as well, when there will be room in a moment */
    bool too_large; /* over the source's limit: to be accounted for as a dead letter, not parsed */
    struct str content_type;                   /* MQTT 5; empty without */
    const struct message_property *properties; /* MQTT 5 user properties */
    size_t property_count;
    struct message_origin origin; /* QoS 1 and 2 within a session that is kept */
};

/* What has become of a message when the sink returns. */
enum message_fate {
    MESSAGE_TAKEN,   /* accounted for; acknowledge it when the spool has made `sequence` durable (0: at once) */
    MESSAGE_REFUSED, /* no room and not accounted as kept: do not acknowledge, so that the broker keeps it; or offer it again */
};

/* Where a source puts its messages; wiring fills it in. Called on the source's own thread, one call at a time per source. */
struct message_sink {
    void *ctx;
    enum message_fate (*deliver)(void *ctx, const struct message *message, uint64_t *sequence);
};

#endif
