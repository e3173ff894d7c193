/*
 * agent/spool/segment.h: a run of records in memory. Records never move and never change once appended; who holds a segment
 * decides when it goes. Not thread-safe: the spool's lock guards it.
 */
#ifndef HELIOGRAF_SPOOL_SEGMENT_H
#define HELIOGRAF_SPOOL_SEGMENT_H

#include "agent/spool/spool.h"

struct segment {
    struct segment *next;
    uint64_t first_sequence;
    size_t size, used; /* bytes of `bytes` */
    char *bytes;       /* mapped apart, so that freeing it gives the memory back at once */
};

/* What stands before each record's topic and text. */
struct record_head {
    uint64_t outputs, sequence;
    int64_t appended_ns; /* monotonic */
    uint32_t lines, text_len;
    uint32_t topic_len, size; /* size: of the whole record, head included, a multiple of 8 */
};

size_t record_size(const struct spool_record *record);

struct segment *segment_new(size_t size);
void segment_free(struct segment *segment); /* NULL is fine */

/* The caller has checked that there is room. */
void segment_append(struct segment *segment, const struct spool_record *record, uint64_t sequence, int64_t now_ns);

static inline const struct record_head *segment_record(const struct segment *segment, size_t offset) {
    return (const struct record_head *)(const void *)(segment->bytes + offset);
}

static inline struct str record_topic(const struct record_head *head) {
    return str_make((const char *)(head + 1), head->topic_len);
}

static inline struct str record_text(const struct record_head *head) {
    return str_make((const char *)(head + 1) + head->topic_len, head->text_len);
}

#endif
