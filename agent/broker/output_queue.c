/*
 * agent/broker/output_queue.c: see output_queue.h. An entry is a head, then either the bytes or a reference to them. Copies
 * that follow each other become one entry.
 */
#include "agent/broker/output_queue.h"

#include <assert.h>
#include <stdlib.h>

/* A chunk is one of malloc's round sizes; larger ones are made for one piece and not kept. */
enum { CHUNK_BYTES = 1008, POOL_CHUNKS = 256 };

struct output_chunk {
    struct output_chunk *next;
    uint32_t used, size; /* of bytes[] */
    uint32_t last;       /* where the last entry begins */
    _Alignas(8) char bytes[];
};

enum { CHUNK_ROOM = CHUNK_BYTES - (int)sizeof(struct output_chunk) };

struct entry {
    uint32_t len;
    uint32_t by_reference;
};

struct reference {
    const struct transport_references *calls;
    void *owner;
    const char *data;
};

static size_t aligned(size_t at) {
    return (at + 7) & ~(size_t)7;
}

static struct entry *entry_at(const struct output_chunk *chunk, size_t at) {
    return (struct entry *)(void *)((char *)chunk->bytes + at);
}

static struct reference *entry_reference(struct entry *entry) {
    return (struct reference *)(void *)(entry + 1);
}

static size_t entry_size(const struct entry *entry) {
    return sizeof *entry + (entry->by_reference ? sizeof(struct reference) : entry->len);
}

static const char *entry_data(struct entry *entry) {
    return entry->by_reference ? entry_reference(entry)->data : (const char *)(entry + 1);
}

void output_pool_release(struct output_pool *pool) {
    for (struct output_chunk *chunk = pool->spare, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    *pool = (struct output_pool){ .spare = NULL };
}

static struct output_chunk *new_chunk(struct output_pool *pool, size_t room) {
    struct output_chunk *chunk = pool->spare;

    if (room <= CHUNK_ROOM && chunk != NULL) {
        pool->spare = chunk->next;
        pool->count--;
    } else {
        if (room < CHUNK_ROOM)
            room = CHUNK_ROOM;
        if (room > UINT32_MAX)
            return NULL;
        chunk = malloc(sizeof *chunk + room);
        if (chunk == NULL)
            return NULL;
        chunk->size = (uint32_t)room;
    }
    chunk->next = NULL;
    chunk->used = chunk->last = 0;
    return chunk;
}

static void drop_chunk(struct output_pool *pool, struct output_chunk *chunk) {
    if (chunk->size != CHUNK_ROOM || pool->count >= POOL_CHUNKS) {
        free(chunk);
        return;
    }
    chunk->next = pool->spare;
    pool->spare = chunk;
    pool->count++;
}

static bool add_chunk(struct output_queue *queue, struct output_pool *pool, size_t room) {
    struct output_chunk *chunk = new_chunk(pool, room);

    if (chunk == NULL)
        return false;
    if (queue->last == NULL) {
        queue->first = chunk;
        queue->at = queue->done = 0;
    } else {
        queue->last->next = chunk;
    }
    queue->last = chunk;
    return true;
}

/* A new entry with room for `body` bytes in the last chunk, or in a new one. */
static struct entry *add_entry(struct output_queue *queue, struct output_pool *pool, size_t body) {
    struct output_chunk *chunk = queue->last;
    size_t at = chunk != NULL ? aligned(chunk->used) : 0;
    struct entry *entry;

    if (chunk == NULL || at + sizeof *entry + body > chunk->size) {
        if (!add_chunk(queue, pool, sizeof *entry + body))
            return NULL;
        chunk = queue->last;
        at = 0;
    }
    entry = entry_at(chunk, at);
    chunk->last = (uint32_t)at;
    chunk->used = (uint32_t)(at + sizeof *entry + body);
    return entry;
}

static bool append_reference(struct output_queue *queue, struct output_pool *pool, const struct transport_piece *piece,
                             const struct transport_references *references) {
    struct entry *entry = add_entry(queue, pool, sizeof(struct reference));

    if (entry == NULL)
        return false;
    *entry = (struct entry){ .len = (uint32_t)piece->bytes.len, .by_reference = true };
    *entry_reference(entry) = (struct reference){ references, piece->owner, piece->bytes.data };
    references->hold(piece->owner);
    queue->bytes += piece->bytes.len;
    return true;
}

/* Adds to the last entry, as far as there is room; returns how much that was. */
static size_t extend_last(struct output_queue *queue, struct str bytes) {
    struct output_chunk *chunk = queue->last;
    struct entry *entry;
    size_t len;

    if (chunk == NULL || chunk->used == chunk->size)
        return 0;
    entry = entry_at(chunk, chunk->last);
    if (entry->by_reference)
        return 0;
    len = chunk->size - chunk->used;
    if (len > bytes.len)
        len = bytes.len;
    memcpy(chunk->bytes + chunk->used, bytes.data, len);
    chunk->used += (uint32_t)len;
    entry->len += (uint32_t)len;
    queue->bytes += len;
    return len;
}

static bool append_copy(struct output_queue *queue, struct output_pool *pool, struct str bytes) {
    size_t len = extend_last(queue, bytes);
    struct entry *entry;

    bytes = str_make(bytes.data + len, bytes.len - len);
    if (bytes.len == 0)
        return true;
    entry = add_entry(queue, pool, bytes.len);
    if (entry == NULL)
        return false;
    *entry = (struct entry){ .len = (uint32_t)bytes.len };
    memcpy(entry + 1, bytes.data, bytes.len);
    queue->bytes += bytes.len;
    return true;
}

bool output_append(struct output_queue *queue, struct output_pool *pool, const struct transport_piece *piece,
                   const struct transport_references *references) {
    if (piece->bytes.len == 0)
        return true;
    if (piece->bytes.len > UINT32_MAX / 2)
        return false;
    if (piece->owner != NULL && piece->bytes.len >= OUTPUT_REFERENCE_BYTES)
        return append_reference(queue, pool, piece, references);
    return append_copy(queue, pool, piece->bytes);
}

size_t output_gather(const struct output_queue *queue, struct iovec *vectors, size_t *count, size_t limit) {
    size_t max = *count, total = 0, done = queue->done, at = queue->at;

    *count = 0;
    for (const struct output_chunk *chunk = queue->first; chunk != NULL; chunk = chunk->next, at = 0) {
        for (; at < chunk->used; at = aligned(at + entry_size(entry_at(chunk, at))), done = 0) {
            struct entry *entry = entry_at(chunk, at);
            size_t len = entry->len - done;
            if (total == limit || *count == max)
                return total;
            if (len > limit - total)
                len = limit - total;
            vectors[(*count)++] = (struct iovec){ (char *)entry_data(entry) + done, len };
            total += len;
        }
    }
    return total;
}

/* The first entry is gone; so is its chunk, if it was the last one in there. */
static void drop_entry(struct output_queue *queue, struct output_pool *pool) {
    struct output_chunk *chunk = queue->first;
    struct entry *entry = entry_at(chunk, queue->at);

    if (entry->by_reference)
        entry_reference(entry)->calls->release(entry_reference(entry)->owner);
    queue->at = aligned(queue->at + entry_size(entry));
    queue->done = 0;
    if (queue->at < chunk->used)
        return;
    queue->first = chunk->next;
    queue->at = 0;
    if (queue->first == NULL)
        queue->last = NULL;
    drop_chunk(pool, chunk);
}

void output_advance(struct output_queue *queue, struct output_pool *pool, size_t bytes) {
    assert(bytes <= queue->bytes);
    queue->bytes -= bytes;
    while (bytes > 0) {
        size_t left = entry_at(queue->first, queue->at)->len - queue->done;
        if (bytes < left) {
            queue->done += bytes;
            return;
        }
        bytes -= left;
        drop_entry(queue, pool);
    }
}

void output_clear(struct output_queue *queue, struct output_pool *pool) {
    while (queue->first != NULL)
        drop_entry(queue, pool);
    *queue = (struct output_queue){ .first = NULL };
}

size_t output_memory(const struct output_queue *queue) {
    size_t bytes = 0;

    for (const struct output_chunk *chunk = queue->first; chunk != NULL; chunk = chunk->next)
        bytes += sizeof *chunk + chunk->size;
    return bytes;
}
