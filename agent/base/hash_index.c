/* agent/base/hash_index.c: see hash_index.h. Linear probing; a removal closes the gap, so that there are no marks of the dead. */
#include "agent/base/hash_index.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES_MIN = 16 };

void hash_index_release(struct hash_index *index) {
    free(index->items);
    *index = (struct hash_index){ .items = NULL };
}

static bool index_alloc(struct hash_index *index, size_t places) {
    const size_t place_bytes = sizeof *index->items + sizeof *index->hashes;

    if (places > SIZE_MAX / place_bytes)
        return false;
    *index = (struct hash_index){ .items = malloc(places * place_bytes), .places = places };
    if (index->items == NULL)
        return false;
    index->hashes = (uint32_t *)(void *)(index->items + places);
    memset(index->hashes, 0, places * sizeof *index->hashes);
    return true;
}

void hash_index_put(struct hash_index *index, uint32_t hash, void *item) {
    struct hash_probe at = hash_index_probe(index, hash);

    while (index->hashes[at.place] != 0)
        at.place = (at.place + 1) & (index->places - 1);
    index->hashes[at.place] = at.hash;
    index->items[at.place] = item;
    index->count++;
}

static bool move_to(struct hash_index *index, size_t places) {
    struct hash_index wanted;

    if (!index_alloc(&wanted, places))
        return false;
    for (size_t place = 0; place < index->places; place++)
        if (index->hashes[place] != 0)
            hash_index_put(&wanted, index->hashes[place], index->items[place]);
    free(index->items);
    *index = wanted;
    return true;
}

bool hash_index_reserve(struct hash_index *index) {
    if (index->count + 1 <= index->places / 4 * 3)
        return true;
    return move_to(index, index->places > 0 ? index->places * 2 : PLACES_MIN);
}

/* Whoever stands behind the gap and would rather stand in it, or before it, moves up. */
static void close_gap(struct hash_index *index, size_t gap) {
    const size_t mask = index->places - 1;

    for (size_t place = (gap + 1) & mask; index->hashes[place] != 0; place = (place + 1) & mask) {
        size_t home = index->hashes[place] & mask;
        if (((place - home) & mask) < ((place - gap) & mask))
            continue;
        index->hashes[gap] = index->hashes[place];
        index->items[gap] = index->items[place];
        gap = place;
    }
    index->hashes[gap] = 0;
}

void hash_index_take(struct hash_index *index, uint32_t hash, const void *item) {
    struct hash_probe at = hash_index_probe(index, hash);

    while (index->items[at.place] != item || index->hashes[at.place] != at.hash)
        at.place = (at.place + 1) & (index->places - 1);
    close_gap(index, at.place);
    index->count--;
    if (index->count == 0)
        hash_index_release(index);
    else if (index->places > PLACES_MIN && index->count <= index->places / 8)
        (void)move_to(index, index->places / 4);
}
