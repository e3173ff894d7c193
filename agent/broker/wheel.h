/*
 * agent/broker/wheel.h: many coarse deadlines for little: a wheel of slots of a quarter of a second. Setting, moving and taking
 * away one costs a few pointers; a turn looks only at what is due. Deadlines further away than the wheel's 64 s go round more
 * than once. Never early, late by a slot at most. Not thread-safe.
 */
#ifndef HELIOGRAF_BROKER_WHEEL_H
#define HELIOGRAF_BROKER_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WHEEL_SLOTS = 256, WHEEL_SLOT_MS = 250 };

/* Embedded in whoever waits; zeroed is idle. */
struct wheel_entry {
    struct wheel_entry *next, **link; /* link == NULL: idle */
    int64_t due_ns;
};

struct wheel {
    struct wheel_entry *slots[WHEEL_SLOTS];
    int64_t turned; /* slots passed, since monotonic 0 */
    size_t count;
};

void wheel_init(struct wheel *wheel, int64_t now_ns);
/* Again is fine: the new deadline counts. */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, int64_t due_ns);
void wheel_clear(struct wheel *wheel, struct wheel_entry *entry); /* idle is fine */

/* One that is due, taken off the wheel, or NULL: call until then, at least every slot's length. */
struct wheel_entry *wheel_take_due(struct wheel *wheel, int64_t now_ns);

#endif
