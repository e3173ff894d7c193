/*
 * agent/mqtt_client/held_acks.h: acknowledgements that wait for the spool: packet identifiers in the order of arrival,
 * each with the sequence that must be durable first. They leave in that order (MQTT-4.6.0-2), and die with their
 * connection: the broker sends what was not acknowledged again. One owner; the caller locks.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_HELD_ACKS_H
#define HELIOGRAF_MQTT_CLIENT_HELD_ACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* There are 65535 packet identifiers, so no broker has more under way. */
#define HELD_ACKS_MAX 65535

struct held_ack {
    uint64_t sequence;
    int64_t arrived_ns;
    uint16_t id;
};

struct held_acks {
    struct held_ack *ring; /* `cap` is a power of two, or 0 */
    size_t cap, head, count;
};

void held_acks_release(struct held_acks *held); /* safe on a zeroed one */

/* False past HELD_ACKS_MAX (the broker uses identifiers twice) and without memory: nothing is held, so nothing is sent.
 */
bool held_acks_add(struct held_acks *held, uint16_t id, uint64_t sequence, int64_t arrived_ns);

/* The first acknowledgements that may go out, at most `max`, and none behind one that must wait. They stay held. */
size_t held_acks_due(const struct held_acks *held, uint64_t durable, uint16_t *ids, size_t max);

/* The first `count` have been sent. */
void held_acks_sent(struct held_acks *held, size_t count);

/* Packet identifier of the n-th one held, n < count. */
uint16_t held_acks_id(const struct held_acks *held, size_t n);

/* The connection is gone: forgets all and says how many. */
size_t held_acks_discard(struct held_acks *held);

/* Arrival of the oldest, 0 when none is held. */
int64_t held_acks_oldest_ns(const struct held_acks *held);

#endif
