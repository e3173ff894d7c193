/* agent/spool/segment.c: see segment.h. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "agent/spool/segment.h"

#include <stdlib.h>
#include <sys/mman.h>

struct segment *segment_new(uint64_t size, unsigned outputs) {
    struct segment *segment = calloc(1, sizeof *segment);

    if (segment == NULL)
        return NULL;
    segment->total = calloc(2 * outputs, sizeof *segment->total);
    if (segment->total == NULL) {
        free(segment);
        return NULL;
    }
    segment->passed = segment->total + outputs;
    segment->size = size;
    segment->reserved = segment->file_used = SEGMENT_DATA;
    return segment;
}

void segment_free(struct segment *segment) {
    if (segment == NULL)
        return;
    free(segment->total);
    free(segment);
}

struct chunk *chunk_new(size_t size) {
    struct chunk *chunk = calloc(1, sizeof *chunk);

    if (chunk == NULL)
        return NULL;
    chunk->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk->bytes == MAP_FAILED) {
        free(chunk);
        return NULL;
    }
    chunk->size = size;
    chunk->open = NO_FRAME;
    return chunk;
}

void chunk_free(struct chunk *chunk) {
    if (chunk == NULL)
        return;
    munmap(chunk->bytes, chunk->size);
    free(chunk);
}

void chunk_reset(struct chunk *chunk, struct segment *segment) {
    *chunk = (struct chunk){ .bytes = chunk->bytes, .size = chunk->size, .open = NO_FRAME, .segment = segment };
}

static void open_frame(struct chunk *chunk, uint64_t first_sequence) {
    chunk->open = chunk->used;
    chunk->open_written = false;
    *chunk_frame(chunk, chunk->open) = (struct frame_header){
        .magic = FRAME_MAGIC,
        .first_sequence = first_sequence,
        .last_sequence = first_sequence - 1,
    };
    chunk->used += sizeof(struct frame_header);
}

void chunk_append(struct chunk *chunk, const struct spool_record *record, uint64_t sequence, bool same_message,
                  int64_t now_ns) {
    size_t size = record_size(record);

    if (chunk->open == NO_FRAME)
        open_frame(chunk, sequence);
    struct frame_header *frame = chunk_frame(chunk, chunk->open);
    record_write(chunk->bytes + chunk->used, record, sequence - frame->last_sequence - 1, same_message, now_ns);
    frame->last_sequence = sequence;
    frame->body_len += (uint32_t)size;
    frame->count++;
    chunk->used += size;
    if (chunk->first_sequence == 0)
        chunk->first_sequence = sequence;
    chunk->last_sequence = sequence;
}

void chunk_close_frame(struct chunk *chunk) {
    size_t end = page_round(chunk->used);

    if (chunk->open == NO_FRAME)
        return;
    if (end > chunk->size)
        end = chunk->size;
    memset(chunk->bytes + chunk->used, 0, end - chunk->used);
    chunk->used = end;
    chunk->open = NO_FRAME;
    chunk->open_written = false;
}
