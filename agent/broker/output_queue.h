/*
 * agent/broker/output_queue.h: bytes that wait to be sent, in order. Small ones are copied into chunks, large ones that have
 * an owner are kept by reference; a chunk holds a row of both. An empty queue has no memory. Not thread-safe.
 */
#ifndef HELIOGRAF_BROKER_OUTPUT_QUEUE_H
#define HELIOGRAF_BROKER_OUTPUT_QUEUE_H

#include <sys/uio.h>

#include "agent/broker/transport.h"

struct output_chunk;

/* Chunks at rest, shared by the queues of one loop, so that a steady load allocates nothing. Zeroed is ready. */
struct output_pool {
    struct output_chunk *spare;
    size_t count;
};
void output_pool_release(struct output_pool *pool);

/* Zeroed is ready. */
struct output_queue {
    struct output_chunk *first, *last;
    size_t bytes; /* that wait */
    size_t at;    /* in the first chunk: where its first entry begins */
    size_t done;  /* bytes of that entry that are gone */
};

/* Bytes from which on a piece with an owner is kept by reference: below, the copy is cheaper. */
enum { OUTPUT_REFERENCE_BYTES = 512 };

/* Appends one piece. False without memory: part of it may be in the queue, which is of use to be cleared only. */
bool output_append(struct output_queue *queue, struct output_pool *pool, const struct transport_piece *piece,
                   const struct transport_references *references);
/* The next bytes, at most `limit` in `*count` vectors (which is their maximum at first); returns how many bytes that is. */
size_t output_gather(const struct output_queue *queue, struct iovec *vectors, size_t *count, size_t limit);
/* So many are gone, at most queue->bytes. */
void output_advance(struct output_queue *queue, struct output_pool *pool, size_t bytes);
void output_clear(struct output_queue *queue, struct output_pool *pool);
size_t output_memory(const struct output_queue *queue); /* of the chunks */

#endif
