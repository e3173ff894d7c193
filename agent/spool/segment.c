/* agent/spool/segment.c: see segment.h. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "agent/spool/segment.h"

#include <stdlib.h>
#include <sys/mman.h>

size_t record_size(const struct spool_record *record) {
    return (sizeof(struct record_head) + record->topic.len + record->text.len + 7) & ~(size_t)7;
}

struct segment *segment_new(size_t size) {
    struct segment *segment = calloc(1, sizeof *segment);

    if (segment == NULL)
        return NULL;
    segment->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (segment->bytes == MAP_FAILED) {
        free(segment);
        return NULL;
    }
    segment->size = size;
    return segment;
}

void segment_free(struct segment *segment) {
    if (segment == NULL)
        return;
    munmap(segment->bytes, segment->size);
    free(segment);
}

void segment_append(struct segment *segment, const struct spool_record *record, uint64_t sequence, int64_t now_ns) {
    struct record_head head = {
        .outputs = record->outputs,
        .sequence = sequence,
        .appended_ns = now_ns,
        .lines = record->lines,
        .text_len = (uint32_t)record->text.len,
        .topic_len = (uint32_t)record->topic.len,
        .size = (uint32_t)record_size(record),
    };
    char *at = segment->bytes + segment->used;

    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, record->topic.data, record->topic.len);
    memcpy(at + sizeof head + record->topic.len, record->text.data, record->text.len);
    if (segment->used == 0)
        segment->first_sequence = sequence;
    segment->used += head.size;
}
