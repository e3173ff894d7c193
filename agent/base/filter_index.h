/*
 * agent/base/filter_index.h: many topic filters as a tree of their levels, so that a question about one of them and all others costs a
 * few steps and not a walk over all. Filters are valid ones; behind `$share/group/` they are what they share. Texts are borrowed. One
 * owner; questions change nothing but the count of steps and scratch memory.
 */
#ifndef HELIOGRAF_BASE_FILTER_INDEX_H
#define HELIOGRAF_BASE_FILTER_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/str.h"

struct filter_node;
struct filter_place;

struct filter_index {
    struct filter_node *nodes; /* [0] is the root */
    uint32_t count, cap;
    uint32_t *table; /* children by parent and level: open addressing, 0 is free */
    uint32_t table_size;
    struct filter_place *stack;
    uint32_t stack_cap;
    uint64_t steps; /* nodes looked at by all questions: what they cost */
};

void filter_index_init(struct filter_index *index);
void filter_index_release(struct filter_index *index);

/* Of filters with the same text the first one's number stays. False without memory. */
bool filter_index_add(struct filter_index *index, struct str filter, uint32_t number);

/*
 * Calls `visit` with the number of every filter in the index that covers this one (topic_filter_covers), in no order; with a topic:
 * of every filter that matches it. Stops when `visit` returns false. False without memory.
 */
bool filter_index_covering(struct filter_index *index, struct str filter, bool (*visit)(void *ctx, uint32_t number), void *ctx);

/* True when some topic matches both this filter and one in the index. Without memory, true. */
bool filter_index_intersects(struct filter_index *index, struct str filter);

#endif
