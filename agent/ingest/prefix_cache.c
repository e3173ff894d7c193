/* agent/ingest/prefix_cache.c: see prefix_cache.h. */
#include "agent/ingest/prefix_cache.h"

#include <stdlib.h>

#include "agent/ingest/count.h"

bool prefix_cache_init(struct prefix_cache *cache, size_t entries, size_t max_bytes) {
    *cache = (struct prefix_cache){ .slot_count = CACHE_WAYS, .max_bytes = max_bytes };
    while (cache->slot_count < entries)
        cache->slot_count *= 2;
    cache->slots = calloc(cache->slot_count, sizeof *cache->slots);
    return cache->slots != NULL;
}

static void set_gauge(metric_counter *gauge, uint64_t value) {
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

static void drop(struct prefix_cache *cache, struct cache_slot *slot) {
    cache->bytes -= slot->plan->bytes;
    free(slot->plan);
    *slot = (struct cache_slot){ 0 };
    count_add(&cache->evictions, 1);
    set_gauge(&cache->entries, metric_get(&cache->entries) - 1);
    set_gauge(&cache->entry_bytes, cache->bytes);
}

void prefix_cache_release(struct prefix_cache *cache) {
    for (size_t i = 0; i < cache->slot_count && cache->slots != NULL; i++)
        free(cache->slots[i].plan);
    free(cache->slots);
    *cache = (struct prefix_cache){ 0 };
}

/* A free place of the set; else one not used since the last time; else any, and all others have a new chance. */
static struct cache_slot *place_for(struct prefix_cache *cache, struct cache_slot *set) {
    struct cache_slot *victim;

    for (size_t i = 0; i < CACHE_WAYS; i++)
        if (set[i].plan == NULL)
            return &set[i];
    cache->turn++;
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        victim = &set[(cache->turn + i) % CACHE_WAYS];
        if (!victim->used)
            return victim;
    }
    for (size_t i = 0; i < CACHE_WAYS; i++)
        set[i].used = false;
    return &set[cache->turn % CACHE_WAYS];
}

/* Walks on until `bytes` more fit, two rounds at most: the first takes the marks away. */
static void make_room(struct prefix_cache *cache, size_t bytes) {
    for (size_t steps = 0; cache->bytes + bytes > cache->max_bytes && steps < 2 * cache->slot_count; steps++) {
        struct cache_slot *slot = &cache->slots[cache->hand];
        cache->hand = (cache->hand + 1) % cache->slot_count;
        if (slot->plan == NULL)
            continue;
        if (slot->used)
            slot->used = false;
        else
            drop(cache, slot);
    }
}

bool prefix_cache_insert(struct prefix_cache *cache, struct topic_plan *plan) {
    struct cache_slot *set = cache->slots + (size_t)(plan->hash & (cache->slot_count / CACHE_WAYS - 1)) * CACHE_WAYS;
    struct cache_slot *slot;

    if (plan->bytes > cache->max_bytes / 8) {
        free(plan);
        return false;
    }
    make_room(cache, plan->bytes);
    slot = place_for(cache, set);
    if (slot->plan != NULL)
        drop(cache, slot);
    *slot = (struct cache_slot){ .hash = plan->hash, .plan = plan };
    cache->bytes += plan->bytes;
    set_gauge(&cache->entries, metric_get(&cache->entries) + 1);
    set_gauge(&cache->entry_bytes, cache->bytes);
    return true;
}
