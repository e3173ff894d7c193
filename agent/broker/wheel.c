/* agent/broker/wheel.c: see wheel.h. */
#include "agent/broker/wheel.h"

static const int64_t slot_ns = WHEEL_SLOT_MS * INT64_C(1000000);

void wheel_init(struct wheel *wheel, int64_t now_ns) {
    *wheel = (struct wheel){ .turned = now_ns / slot_ns };
}

void wheel_clear(struct wheel *wheel, struct wheel_entry *entry) {
    if (entry->link == NULL)
        return;
    *entry->link = entry->next;
    if (entry->next != NULL)
        entry->next->link = entry->link;
    entry->link = NULL;
    wheel->count--;
}

/* The slot after the one in which the deadline lies: when that one begins, the deadline is past. */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, int64_t due_ns) {
    int64_t slot = due_ns / slot_ns + 1;

    wheel_clear(wheel, entry);
    if (slot <= wheel->turned)
        slot = wheel->turned + 1;
    struct wheel_entry **head = &wheel->slots[slot % WHEEL_SLOTS];
    entry->due_ns = due_ns;
    entry->next = *head;
    entry->link = head;
    if (*head != NULL)
        (*head)->link = &entry->next;
    *head = entry;
    wheel->count++;
}

struct wheel_entry *wheel_take_due(struct wheel *wheel, int64_t now_ns) {
    int64_t now = now_ns / slot_ns;

    /* After a long sleep one turn meets everybody. */
    if (now - wheel->turned > WHEEL_SLOTS)
        wheel->turned = now - WHEEL_SLOTS;
    for (;; wheel->turned++) {
        for (struct wheel_entry *entry = wheel->slots[wheel->turned % WHEEL_SLOTS]; entry != NULL; entry = entry->next)
            if (entry->due_ns <= now_ns) {
                wheel_clear(wheel, entry);
                return entry;
            }
        if (wheel->turned >= now)
            return NULL;
    }
}
