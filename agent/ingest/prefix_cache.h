/*
 * agent/ingest/prefix_cache.h: plans by topic, bounded in number and bytes. Four places per topic; a plan that was used
 * since the last look is spared, so topics seen once, however many, do not push out those that come again. One thread.
 */
#ifndef HELIOGRAF_INGEST_PREFIX_CACHE_H
#define HELIOGRAF_INGEST_PREFIX_CACHE_H

#include "agent/base/metric.h"
#include "agent/ingest/topic_plan.h"

enum { CACHE_WAYS = 4 };

struct cache_slot {
    uint64_t hash;
    struct topic_plan *plan; /* NULL: free */
    bool used;               /* since this place was last looked at for room */
};

struct prefix_cache {
    struct cache_slot *slots;
    size_t slot_count; /* a power of two */
    size_t bytes, max_bytes, hand;
    uint8_t turn; /* which of equals goes, so that it is not always the first */
    metric_counter hits, misses, evictions;
    metric_counter entries, entry_bytes; /* gauges */
};

/* Room for about `entries` plans (at least 4) and `max_bytes` of them; false without memory. */
bool prefix_cache_init(struct prefix_cache *cache, size_t entries, size_t max_bytes);
void prefix_cache_release(struct prefix_cache *cache); /* safe on a zeroed one */

/* The plan of a topic, or NULL. Valid until the next insert. */
static inline const struct topic_plan *prefix_cache_find(struct prefix_cache *cache, struct str topic, uint64_t hash) {
    struct cache_slot *set = cache->slots + (size_t)(hash & (cache->slot_count / CACHE_WAYS - 1)) * CACHE_WAYS;

    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (set[i].hash == hash && set[i].plan != NULL && str_eq(set[i].plan->topic, topic)) {
            set[i].used = true;
            return set[i].plan;
        }
    }
    return NULL;
}

/* Keeps a packed plan, which the cache then owns. A plan that is too large for it is freed: false. */
bool prefix_cache_insert(struct prefix_cache *cache, struct topic_plan *plan);

#endif
