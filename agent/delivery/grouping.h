/*
 * agent/delivery/grouping.h: a batch laid out as requests, one per target. Without routing that is the batch as it is;
 * with it, the output's hook names each line's target, and lines of one target are put together in their order. Memory
 * is kept from batch to batch. One owner, one thread.
 */
#ifndef HELIOGRAF_DELIVERY_GROUPING_H
#define HELIOGRAF_DELIVERY_GROUPING_H

#include "agent/base/arena.h"
#include "agent/spool/spool.h"
#include "outputs/output.h"

struct group {
    struct str target;
    uint64_t hash;
    uint32_t first, count;    /* places in the layout that are still to be sent */
    int64_t refused_since_ns; /* the server refuses this target, and perhaps no other; 0: it does not */
    uint64_t stored_before;   /* gate_stored_requests at that time */
};

struct grouping {
    /* The layout: borrowed from the batch, or from the buffers below. */
    const char *body;
    const uint32_t *line_ends;
    const uint32_t *lines; /* place to line of the batch; NULL: they are the same */
    struct group *groups;
    size_t group_count;

    size_t group_cap, line_cap;
    struct arena names;
    struct buf scratch, routed, sorted;
    uint32_t *group_of, *routed_ends, *sorted_ends, *sorted_lines;
};

void grouping_init(struct grouping *grouping);
void grouping_release(struct grouping *grouping);

/* Valid until the next call and while the batch is. False: no memory. `type` with its instance decides on routing. */
bool grouping_make(struct grouping *grouping, const struct spool_batch *batch, const struct output_type *type,
                   void *output);

static inline uint32_t grouping_line(const struct grouping *grouping, uint32_t place) {
    return grouping->lines != NULL ? grouping->lines[place] : place;
}

#endif
