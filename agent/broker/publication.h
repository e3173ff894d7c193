/*
 * agent/broker/publication.h: an application message inside the broker: immutable, one allocation, counted references. Whoever
 * keeps it longer than a call (retained, queued, delayed, a connection's output) holds a reference. All on the loop's thread.
 */
#ifndef HELIOGRAF_BROKER_PUBLICATION_H
#define HELIOGRAF_BROKER_PUBLICATION_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/str.h"

struct publication {
    unsigned references;
    uint8_t qos;     /* as published */
    bool retain;     /* as published */
    int64_t expires_ns;   /* real time, ns since 1970; 0: never ([MQTT-3.3.2-5]); a will that waits: -1 minus the ns that it has from its publication on */
    int64_t published_ns; /* real time */
    uint64_t number;      /* of its row in the store; 0: it has none */
    unsigned rows;        /* in the store that refer to it: with the last one its own goes */
    struct str topic, payload;
    struct str properties; /* what MQTT 5 has a server forward unaltered (mqtt_forwarded_properties), encoded */
    struct str client_id, user; /* of the publisher; empty: the broker itself, or nobody in particular */
};

/* What a publication is made from; copied. */
struct publication_parts {
    struct str topic, payload, properties, client_id, user;
    uint8_t qos;
    bool retain;
    int64_t expires_ns, published_ns;
};

/* One reference, the caller's; NULL without memory. `number` is 0. */
struct publication *publication_new(const struct publication_parts *parts);
struct publication *publication_ref(struct publication *publication);
void publication_unref(struct publication *publication); /* NULL is fine */

/* Bytes of its block in memory, without what the allocator adds. */
size_t publication_size(const struct publication *publication);

static inline bool publication_is_expired(const struct publication *publication, int64_t now_ns) {
    return publication->expires_ns != 0 && publication->expires_ns <= now_ns;
}

#endif
