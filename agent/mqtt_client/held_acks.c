/* agent/mqtt_client/held_acks.c: see held_acks.h. */
#include "agent/mqtt_client/held_acks.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 1024 };

static struct held_ack *entry(const struct held_acks *held, size_t index) {
    return &held->ring[(held->head + index) & (held->cap - 1)];
}

static bool grow(struct held_acks *held) {
    size_t cap = held->cap > 0 ? held->cap * 2 : FIRST_CAP;
    struct held_ack *ring = malloc(cap * sizeof *ring);

    if (ring == NULL)
        return false;
    for (size_t i = 0; i < held->count; i++)
        ring[i] = *entry(held, i);
    free(held->ring);
    held->ring = ring;
    held->cap = cap;
    held->head = 0;
    return true;
}

void held_acks_release(struct held_acks *held) {
    free(held->ring);
    memset(held, 0, sizeof *held);
}

bool held_acks_add(struct held_acks *held, uint16_t id, uint64_t sequence, int64_t arrived_ns) {
    if (held->count == HELD_ACKS_MAX || (held->count == held->cap && !grow(held)))
        return false;
    *entry(held, held->count++) = (struct held_ack){ .sequence = sequence, .arrived_ns = arrived_ns, .id = id };
    return true;
}

size_t held_acks_due(const struct held_acks *held, uint64_t durable, uint16_t *ids, size_t max) {
    size_t due = 0;

    while (due < max && due < held->count && entry(held, due)->sequence <= durable) {
        ids[due] = entry(held, due)->id;
        due++;
    }
    return due;
}

void held_acks_sent(struct held_acks *held, size_t count) {
    if (count > held->count)
        count = held->count;
    if (count == 0)
        return;
    held->head = (held->head + count) & (held->cap - 1);
    held->count -= count;
}

uint16_t held_acks_id(const struct held_acks *held, size_t n) {
    return entry(held, n)->id;
}

size_t held_acks_discard(struct held_acks *held) {
    size_t count = held->count;

    held->head = held->count = 0;
    return count;
}

int64_t held_acks_oldest_ns(const struct held_acks *held) {
    return held->count > 0 ? entry(held, 0)->arrived_ns : 0;
}
