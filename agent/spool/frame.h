/*
 * agent/spool/frame.h: frames and records as bytes: making, sealing, checking, walking. Pure: no I/O, no clock, no memory.
 */
#ifndef HELIOGRAF_SPOOL_FRAME_H
#define HELIOGRAF_SPOOL_FRAME_H

#include "agent/base/str.h"
#include "agent/spool/format.h"
#include "agent/spool/spool.h"

static inline size_t page_round(size_t size) {
    return (size + PAGE - 1) & ~(size_t)(PAGE - 1);
}

/* Room that a record takes, head and padding included. */
size_t record_size(const struct spool_record *record);
void record_write(char *at, const struct spool_record *record, uint64_t gap, bool same_message, int64_t now_ns);

static inline struct str record_topic(const struct record_head *head) {
    return str_make((const char *)(head + 1), head->topic_len);
}

static inline struct str record_text(const struct record_head *head) {
    return str_make((const char *)(head + 1) + head->topic_len, head->text_len);
}

static inline struct message_origin record_origin(const struct record_head *head) {
    const struct record_origin *origin = (const struct record_origin *)(const void *)((const char *)head + head->size) - 1;

    if (!(head->step & RECORD_HAS_ORIGIN))
        return (struct message_origin){ 0 };
    return (struct message_origin){ .content = origin->content, .session = origin->session, .id = origin->id };
}

static inline uint64_t record_gap(const struct record_head *head) {
    return head->step & RECORD_GAP_MAX;
}

/* Completes a frame whose records, count, length and sequences are there. */
void frame_seal(struct frame_header *frame, uint64_t generation, uint64_t safe, int64_t now_ns);

/* Whether the page at `at` begins a frame of that generation. Nothing in it may be trusted before this says so. */
bool frame_header_good(const struct frame_header *frame, uint64_t generation);
/* Whether the body is whole, and made of well-formed records. */
bool frame_body_good(const struct frame_header *frame);

bool segment_header_good(const struct segment_header *header);
void segment_header_seal(struct segment_header *header);
bool checkpoint_slot_good(const struct checkpoint_slot *slot);
void checkpoint_slot_seal(struct checkpoint_slot *slot);
size_t checkpoint_slot_len(const struct checkpoint_slot *slot);

#endif
