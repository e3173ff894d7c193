/* agent/mqtt_client/redelivery.c: see redelivery.h. */
#include "agent/mqtt_client/redelivery.h"

#include <stdlib.h>
#include <string.h>

enum {
    CAP_MIN = 8192,
    CAP_MAX = 65536,
    IDENTIFIERS = 65535, /* 1 to 65535 */
    RUN_TRUSTED = 64,
    STEP_MAX = 1000,
};

void redelivery_init(struct redelivery *redelivery, unsigned window) {
    *redelivery = (struct redelivery){ .cap = CAP_MIN, .window = window };
    while (redelivery->cap < 4 * (size_t)window && redelivery->cap < CAP_MAX)
        redelivery->cap *= 2;
}

void redelivery_release(struct redelivery *redelivery) {
    free(redelivery->entries);
    memset(redelivery, 0, sizeof *redelivery);
}

void redelivery_forget(struct redelivery *redelivery) {
    unsigned window = redelivery->window;

    free(redelivery->entries);
    redelivery_init(redelivery, window);
}

static struct redelivery_entry *entry_of(const struct redelivery *redelivery, uint16_t id) {
    return &redelivery->entries[id & (redelivery->cap - 1)];
}

/*
 * How the broker chooses its identifiers shows in those of first deliveries, and in those of messages that it sent before and that were not
 * taken then: they go on where the others ended. What was taken and comes again steps back, and says nothing.
 */
static void watch_identifier(struct redelivery *redelivery, uint16_t id, bool dup) {
    unsigned step = ((unsigned)id + IDENTIFIERS - redelivery->last_id) % IDENTIFIERS;
    bool goes_on = step > 0 && step <= STEP_MAX;

    if (dup && !goes_on)
        return;
    redelivery->run = goes_on ? redelivery->run + 1 : 0;
    redelivery->last_id = id;
    if (id > redelivery->highest_id)
        redelivery->highest_id = id;
}

void redelivery_note(struct redelivery *redelivery, uint16_t id, uint64_t content, uint64_t sequence, bool dup) {
    if (redelivery->entries == NULL)
        redelivery->entries = calloc(redelivery->cap, sizeof *redelivery->entries);
    if (redelivery->entries == NULL)
        return;
    watch_identifier(redelivery, id, dup);
    redelivery->resent = redelivery->resent || !dup;
    *entry_of(redelivery, id) =
        (struct redelivery_entry){ .content = content, .sequence = sequence, .arrival = ++redelivery->arrivals, .id = id };
}

/*
 * A broker that takes the lowest free identifier, or goes round within its window, never comes above the window. One that counts
 * through all of them has as many other messages under way between two uses of one.
 */
static bool counts_far(const struct redelivery *redelivery) {
    return redelivery->run >= RUN_TRUSTED && redelivery->highest_id > redelivery->window;
}

bool redelivery_find(const struct redelivery *redelivery, uint16_t id, uint64_t content, uint64_t *sequence) {
    const struct redelivery_entry *entry = redelivery->entries != NULL ? entry_of(redelivery, id) : NULL;

    if (entry == NULL || entry->arrival == 0 || entry->id != id || entry->content != content)
        return false;
    bool was_held = redelivery->losses > 0 && entry->lost == redelivery->losses;
    bool recent = redelivery->arrivals - entry->arrival < IDENTIFIERS / 2;
    if (!was_held && !(recent && counts_far(redelivery)))
        return false;
    *sequence = entry->sequence;
    return true;
}

void redelivery_lost_begin(struct redelivery *redelivery) {
    /* Lost again before the broker was through with what it sends again: the rest of that is still as it was. */
    if (redelivery->resent || redelivery->losses == 0)
        redelivery->losses++;
    redelivery->resent = false;
}

void redelivery_lost_held(struct redelivery *redelivery, uint16_t id) {
    struct redelivery_entry *entry = redelivery->entries != NULL ? entry_of(redelivery, id) : NULL;

    if (entry != NULL && entry->id == id)
        entry->lost = redelivery->losses;
}
