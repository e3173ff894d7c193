/* agent/base/arena.c: blocks in a chain; alloc moves a mark, rewind moves it back. */
#include "agent/base/arena.h"

#include <stdlib.h>

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

enum { ALIGNMENT = 16, BLOCK_MIN = 4096 };

void arena_init(struct arena *arena, size_t max) {
    *arena = (struct arena){ .max = max };
}

void arena_release(struct arena *arena) {
    struct arena_block *block = arena->first;

    while (block != NULL) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    *arena = (struct arena){ .max = arena->max };
}

void arena_reset(struct arena *arena) {
    arena->current = arena->first;
    if (arena->current != NULL)
        arena->current->used = 0;
}

static bool is_empty(const struct arena *arena) {
    return arena->current == NULL || (arena->current == arena->first && arena->current->used == 0);
}

/* The mark of an empty arena names no block: the first one may be given back for a larger one. */
struct arena_mark arena_mark(const struct arena *arena) {
    if (is_empty(arena))
        return (struct arena_mark){ NULL, 0 };
    return (struct arena_mark){ arena->current, arena->current->used };
}

void arena_rewind(struct arena *arena, struct arena_mark to) {
    if (to.block == NULL) {
        arena_reset(arena);
        return;
    }
    arena->current = to.block;
    arena->current->used = to.used;
}

/* Where the chain of free blocks begins: those behind the current one. */
static struct arena_block **kept_blocks(struct arena *arena) {
    return arena->current != NULL ? &arena->current->next : &arena->first;
}

/* A kept block with room for `size`, moved to the front of the kept ones. */
static struct arena_block *take_kept(struct arena *arena, size_t size) {
    struct arena_block **head = kept_blocks(arena), **link = head, *block;

    while (*link != NULL && (*link)->size < size)
        link = &(*link)->next;
    block = *link;
    if (block == NULL || link == head)
        return block;
    *link = block->next;
    block->next = *head;
    *head = block;
    return block;
}

/* Gives back the kept blocks when they are too small for what is wanted, and in its way. */
static void free_kept(struct arena *arena) {
    struct arena_block **head = kept_blocks(arena);

    while (*head != NULL) {
        struct arena_block *block = *head;
        *head = block->next;
        arena->total -= block->size;
        free(block);
    }
}

static struct arena_block *add_block(struct arena *arena, size_t size) {
    size_t want = arena->current != NULL ? arena->current->size * 2 : BLOCK_MIN;
    struct arena_block **head, *block;

    if (size > arena->max - arena->total)
        free_kept(arena);
    if (size > arena->max - arena->total)
        return NULL;
    if (want > arena->max - arena->total)
        want = arena->max - arena->total;
    if (want < size)
        want = size;
    block = malloc(sizeof *block + want);
    if (block == NULL)
        return NULL;
    head = kept_blocks(arena);
    *block = (struct arena_block){ .next = *head, .size = want };
    *head = block;
    arena->total += want;
    return block;
}

/* The next block that has room for `size`: a kept one, or a new one. */
static struct arena_block *block_for(struct arena *arena, size_t size) {
    struct arena_block *block;

    if (is_empty(arena))
        arena->current = NULL; /* then every block is a kept one */
    block = take_kept(arena, size);
    if (block == NULL)
        block = add_block(arena, size);
    if (block == NULL)
        return NULL;
    block->used = 0;
    arena->current = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size) {
    struct arena_block *block = arena->current;
    void *memory;

    if (size > arena->max)
        return NULL;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (block == NULL || block->size - block->used < size) {
        block = block_for(arena, size);
        if (block == NULL)
            return NULL;
    }
    memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

void *arena_zalloc(struct arena *arena, size_t size) {
    void *memory = arena_alloc(arena, size);

    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

char *arena_strdup(struct arena *arena, struct str text) {
    char *copy = arena_alloc(arena, text.len + 1);

    if (copy == NULL)
        return NULL;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

struct str arena_copy(struct arena *arena, struct str text) {
    char *copy = arena_strdup(arena, text);

    return (struct str){ copy, copy != NULL ? text.len : 0 };
}
