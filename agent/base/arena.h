/*
 * agent/base/arena.h: memory that lives and dies together, with a cap. Nothing is freed alone. Blocks are kept across
 * arena_reset and arena_rewind, so a steady load allocates nothing. One owner, one thread.
 */
#ifndef HELIOGRAF_BASE_ARENA_H
#define HELIOGRAF_BASE_ARENA_H

#include "agent/base/str.h"

struct arena_block;

struct arena {
    struct arena_block *first, *current;
    size_t max, total; /* bytes: cap, and held in blocks now */
};

struct arena_mark {
    struct arena_block *block;
    size_t used;
};

void arena_init(struct arena *arena, size_t max);
void arena_release(struct arena *arena); /* safe on a zeroed one */
void arena_reset(struct arena *arena);   /* drops everything, keeps the blocks */

struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark to);

/* `size` bytes aligned to 16, contents unspecified; NULL at the cap or without memory. */
void *arena_alloc(struct arena *arena, size_t size);
/* As arena_alloc, filled with zeros. */
void *arena_zalloc(struct arena *arena, size_t size);
/* A copy with a terminating NUL; NULL at the cap. */
char *arena_strdup(struct arena *arena, struct str text);
/* The same as struct str; data == NULL at the cap. */
struct str arena_copy(struct arena *arena, struct str text);

#endif
