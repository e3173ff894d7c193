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

struct arena_mark arena_mark(const struct arena *arena) {
    return (struct arena_mark){ arena->current, arena->current != NULL ? arena->current->used : 0 };
}

void arena_rewind(struct arena *arena, struct arena_mark to) {
    if (to.block == NULL) {
        arena_reset(arena);
        return;
    }
    arena->current = to.block;
    arena->current->used = to.used;
}

/* The next block that has room: a kept one, or a new one behind the current. */
static struct arena_block *block_for(struct arena *arena, size_t size) {
    struct arena_block *current = arena->current, *block = current != NULL ? current->next : arena->first;
    size_t want;

    if (block != NULL && block->size >= size) {
        block->used = 0;
        arena->current = block;
        return block;
    }
    want = current != NULL ? current->size * 2 : BLOCK_MIN;
    if (arena->total >= arena->max)
        return NULL;
    if (want > arena->max - arena->total)
        want = arena->max - arena->total;
    if (want < size)
        want = size;
    if (want > arena->max - arena->total)
        return NULL;
    block = malloc(sizeof *block + want);
    if (block == NULL)
        return NULL;
    block->used = 0;
    block->size = want;
    if (current != NULL) {
        block->next = current->next;
        current->next = block;
    } else {
        block->next = arena->first;
        arena->first = block;
    }
    arena->current = block;
    arena->total += want;
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
