/*
 * agent/broker/subscriber_set.h: the subscribers of one filter, or the members of one group, each once: an array, since it is read for every
 * message, and beyond 16 of them an index behind it, so that the hundred-thousandth comes and goes as fast as the first. A part of the topic tree.
 */
#ifndef HELIOGRAF_BROKER_SUBSCRIBER_SET_H
#define HELIOGRAF_BROKER_SUBSCRIBER_SET_H

#include "agent/broker/topic_tree.h"

struct subscriber {
    void *who;
    struct subscription_terms terms;
};

struct subscriber_set {
    uint32_t count, capacity; /* the second: a power of two */
    struct subscriber items[];
};

/* Adds, or replaces the terms. `*set` NULL is an empty set; it moves when it grows. */
enum topic_tree_result subscriber_set_put(struct subscriber_set **set, void *who, const struct subscription_terms *terms);

/*
 * False: was not in it. The last one going frees the set: `*set` is NULL. With `keep_order` the others stay in the order in which they came,
 * which takes time in proportion to their number; without, the last one takes the free place.
 */
bool subscriber_set_remove(struct subscriber_set **set, const void *who, bool keep_order);

size_t subscriber_set_bytes(const struct subscriber_set *set); /* 0 for NULL */

#endif
