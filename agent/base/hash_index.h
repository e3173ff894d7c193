/*
 * agent/base/hash_index.h: from 32-bit hashes to pointers, by open addressing. What the pointers mean, and whether a key is the one
 * that was looked for, is the caller's business. 12 bytes per place, at most three of four places taken. Growing
 * moves all at once: of a million items that is 20 ms or so, once. One owner, one thread.
 *
 * A search:  for (struct hash_probe at = hash_index_probe(index, hash); (item = hash_index_next(index, &at)) != NULL;)
 *                if (item has the key) ...
 */
#ifndef HELIOGRAF_BASE_HASH_INDEX_H
#define HELIOGRAF_BASE_HASH_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: empty. */
struct hash_index {
    void **items;     /* `places` of them, and behind them, in the same block: */
    uint32_t *hashes; /* 0: free */
    size_t places;    /* a power of two, or 0 */
    size_t count;
};

struct hash_probe {
    uint32_t hash;
    size_t place;
};

void hash_index_release(struct hash_index *index); /* safe on a zeroed one; the items are not touched */

/* Makes room for one more item, so that the next hash_index_put cannot fail. False: no memory, nothing has changed. */
bool hash_index_reserve(struct hash_index *index);
/* After hash_index_reserve. The item must not be in it already, nor be NULL. */
void hash_index_put(struct hash_index *index, uint32_t hash, void *item);
/* The item must be in it. Gives memory back when little is left; without memory to move to it stays large. */
void hash_index_take(struct hash_index *index, uint32_t hash, const void *item);

/* For a walk over all items: `place` from 0 to `places`; NULL where there is none. */
static inline void *hash_index_at(const struct hash_index *index, size_t place) {
    return index->hashes[place] != 0 ? index->items[place] : NULL;
}

static inline size_t hash_index_bytes(const struct hash_index *index) {
    return index->places * (sizeof *index->items + sizeof *index->hashes);
}

static inline struct hash_probe hash_index_probe(const struct hash_index *index, uint32_t hash) {
    hash = hash != 0 ? hash : 1;
    return (struct hash_probe){ hash, index->places > 0 ? hash & (index->places - 1) : 0 };
}

/* The next item whose hash is the same; NULL: there is no more. */
static inline void *hash_index_next(const struct hash_index *index, struct hash_probe *at) {
    if (index->places == 0)
        return NULL;
    while (index->hashes[at->place] != 0) {
        size_t place = at->place;
        at->place = (place + 1) & (index->places - 1);
        if (index->hashes[place] == at->hash)
            return index->items[place];
    }
    return NULL;
}

#endif
