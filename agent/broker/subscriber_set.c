/*
 * agent/broker/subscriber_set.c: see subscriber_set.h. The index is an open-addressing table of positions, plus one, in the same block as the
 * items: twice as many places as there is capacity, so that at least half of them are free.
 */
#include "agent/broker/subscriber_set.h"

#include <stdlib.h>
#include <string.h>

enum { INDEXED_FROM = 32 /* capacity */ };

static bool is_indexed(uint32_t capacity) {
    return capacity >= INDEXED_FROM;
}

static size_t set_size(uint32_t capacity) {
    size_t index = is_indexed(capacity) ? (size_t)capacity * 2 * sizeof(uint32_t) : 0;

    return sizeof(struct subscriber_set) + capacity * sizeof(struct subscriber) + index;
}

static uint32_t *index_of(struct subscriber_set *set) {
    return (uint32_t *)(void *)(set->items + set->capacity);
}

/* Where the search for a subscriber begins. Pointers are not chosen by strangers: no key is needed. */
static uint32_t home_of(const struct subscriber_set *set, const void *who) {
    uint64_t mixed = (uint64_t)(uintptr_t)who * 0x9E3779B97F4A7C15ULL;

    return (uint32_t)(mixed >> 32) & (set->capacity * 2 - 1);
}

static void index_put(struct subscriber_set *set, uint32_t position) {
    uint32_t *index = index_of(set), mask = set->capacity * 2 - 1;
    uint32_t place = home_of(set, set->items[position].who);

    while (index[place] != 0)
        place = (place + 1) & mask;
    index[place] = position + 1;
}

/* The place that points to a position. */
static uint32_t index_place(struct subscriber_set *set, uint32_t position) {
    uint32_t *index = index_of(set), mask = set->capacity * 2 - 1;
    uint32_t place = home_of(set, set->items[position].who);

    while (index[place] != position + 1)
        place = (place + 1) & mask;
    return place;
}

/* Leaves no mark: whoever stands behind the gap and would rather stand in it, or before it, moves up. */
static void index_take(struct subscriber_set *set, uint32_t position) {
    uint32_t *index = index_of(set), mask = set->capacity * 2 - 1;
    uint32_t gap = index_place(set, position);

    for (uint32_t place = (gap + 1) & mask; index[place] != 0; place = (place + 1) & mask) {
        uint32_t home = home_of(set, set->items[index[place] - 1].who);
        if (((place - home) & mask) < ((place - gap) & mask))
            continue;
        index[gap] = index[place];
        gap = place;
    }
    index[gap] = 0;
}

/* `count` when there is none. */
static uint32_t find(struct subscriber_set *set, const void *who) {
    uint32_t position = 0;

    if (is_indexed(set->capacity)) {
        const uint32_t *index = index_of(set), mask = set->capacity * 2 - 1;
        for (uint32_t place = home_of(set, who); index[place] != 0; place = (place + 1) & mask)
            if (set->items[index[place] - 1].who == who)
                return index[place] - 1;
        return set->count;
    }
    while (position < set->count && set->items[position].who != who)
        position++;
    return position;
}

/* False without memory: nothing has changed. */
static bool set_resize(struct subscriber_set **set, uint32_t capacity) {
    struct subscriber_set *wanted = realloc(*set, set_size(capacity));

    if (wanted == NULL)
        return false;
    if (*set == NULL)
        wanted->count = 0;
    wanted->capacity = capacity;
    *set = wanted;
    if (is_indexed(capacity)) {
        memset(index_of(wanted), 0, (size_t)capacity * 2 * sizeof(uint32_t));
        for (uint32_t position = 0; position < wanted->count; position++)
            index_put(wanted, position);
    }
    return true;
}

enum topic_tree_result subscriber_set_put(struct subscriber_set **set, void *who, const struct subscription_terms *terms) {
    uint32_t position = *set != NULL ? find(*set, who) : 0;

    if (*set != NULL && position < (*set)->count) {
        (*set)->items[position].terms = *terms;
        return TOPIC_TREE_REPLACED;
    }
    if (*set == NULL ? !set_resize(set, 1) : (*set)->count == (*set)->capacity && !set_resize(set, (*set)->capacity * 2))
        return TOPIC_TREE_NO_MEMORY;
    (*set)->items[position] = (struct subscriber){ who, *terms };
    (*set)->count++;
    if (is_indexed((*set)->capacity))
        index_put(*set, position);
    return TOPIC_TREE_ADDED;
}

/* Of a position that the index does not know any more. */
static void close_in_order(struct subscriber_set *set, uint32_t position) {
    uint32_t behind = set->count - position - 1;

    memmove(&set->items[position], &set->items[position + 1], behind * sizeof set->items[0]);
    if (behind > 0 && is_indexed(set->capacity)) {
        uint32_t *index = index_of(set);
        for (uint32_t place = 0; place < set->capacity * 2; place++)
            index[place] -= index[place] > position + 1;
    }
}

static void close_with_last(struct subscriber_set *set, uint32_t position) {
    uint32_t last = set->count - 1;

    if (position == last)
        return;
    if (is_indexed(set->capacity))
        index_of(set)[index_place(set, last)] = position + 1;
    set->items[position] = set->items[last];
}

bool subscriber_set_remove(struct subscriber_set **set, const void *who, bool keep_order) {
    uint32_t position = *set != NULL ? find(*set, who) : 0;

    if (*set == NULL || position == (*set)->count)
        return false;
    if ((*set)->count == 1) {
        free(*set);
        *set = NULL;
        return true;
    }
    if (is_indexed((*set)->capacity))
        index_take(*set, position);
    if (keep_order)
        close_in_order(*set, position);
    else
        close_with_last(*set, position);
    (*set)->count--;
    if ((*set)->count <= (*set)->capacity / 4)
        (void)set_resize(set, (*set)->capacity / 2);
    return true;
}

size_t subscriber_set_bytes(const struct subscriber_set *set) {
    return set != NULL ? set_size(set->capacity) : 0;
}
