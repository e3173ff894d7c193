/* agent/spool/frame.c: see frame.h. */
#include "agent/spool/frame.h"

#include <stddef.h>

#include "agent/base/crc32c.h"

uint64_t format_hash(const char *name) {
    return str_hash_stable(str_of(name));
}

void format_name(char to[OUTPUT_NAME_MAX], const char *name) {
    size_t len = strlen(name);

    memset(to, 0, OUTPUT_NAME_MAX);
    memcpy(to, name, len < OUTPUT_NAME_MAX ? len : OUTPUT_NAME_MAX);
}

/* Up to where the origin begins, or the end. */
static size_t body_size(size_t topic_len, size_t text_len) {
    return (sizeof(struct record_head) + topic_len + text_len + 7) & ~(size_t)7;
}

size_t record_size(const struct spool_record *record) {
    return body_size(record->topic.len, record->text.len) + (record->origin.id != 0 ? sizeof(struct record_origin) : 0);
}

void record_write(char *at, const struct spool_record *record, uint64_t gap, bool same_message, int64_t now_ns) {
    size_t body = body_size(record->topic.len, record->text.len), size = record_size(record);
    size_t used = sizeof(struct record_head) + record->topic.len + record->text.len;
    unsigned flags = (same_message ? RECORD_SAME_MESSAGE : 0) | (record->origin.id != 0 ? RECORD_HAS_ORIGIN : 0);
    struct record_origin origin = { record->origin.content, record->origin.session, record->origin.id, 0 };
    struct record_head head = {
        .size = (uint32_t)size,
        .text_len = (uint32_t)record->text.len,
        .outputs = record->outputs,
        .appended_ns = now_ns > 0 ? now_ns : 0,
        .lines = record->lines,
        .topic_len = (uint16_t)record->topic.len,
        .step = (uint16_t)(gap | flags),
    };

    memset(at + body - 8, 0, 8);
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, record->topic.data, record->topic.len);
    memcpy(at + sizeof head + record->topic.len, record->text.data, record->text.len);
    memset(at + used, 0, body - used);
    if (size > body)
        memcpy(at + body, &origin, sizeof origin);
}

/* The salt of both sums. */
static uint32_t salt_of(uint64_t generation) {
    return crc32c(0, &generation, sizeof generation);
}

static uint32_t header_sum(const struct frame_header *frame) {
    const size_t from = offsetof(struct frame_header, body_len);
    return crc32c(salt_of(frame->generation), (const char *)frame + from, sizeof *frame - from);
}

void frame_seal(struct frame_header *frame, uint64_t generation, uint64_t safe, int64_t now_ns) {
    frame->generation = generation;
    frame->safe = safe;
    frame->written_ns = now_ns;
    frame->body_crc = crc32c(salt_of(generation), frame + 1, frame->body_len);
    frame->crc = header_sum(frame);
}

bool frame_header_good(const struct frame_header *frame, uint64_t generation) {
    return frame->magic == FRAME_MAGIC && frame->generation == generation && frame->body_len % 8 == 0 &&
           frame->body_len > 0 && frame->count > 0 && frame->first_sequence > 0 && frame->last_sequence < SEQUENCE_MAX &&
           frame->crc == header_sum(frame);
}

static uint32_t count_lines(struct str text) {
    const char *at = text.data, *end = at + text.len;
    uint32_t lines = 0;

    for (; at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        lines++;
    return lines;
}

static bool record_good(const char *at, size_t left) {
    const struct record_head *head = (const struct record_head *)(const void *)at;
    size_t origin = 0;

    if (left >= sizeof *head && (head->step & RECORD_HAS_ORIGIN))
        origin = sizeof(struct record_origin);
    if (left < sizeof *head || head->size > left || head->text_len > head->size ||
        head->size != body_size(head->topic_len, head->text_len) + origin)
        return false;
    if (head->appended_ns < 0 || head->appended_ns > INT64_MAX / 2) /* so that nobody's arithmetic overflows */
        return false;
    struct str text = record_text(head);
    return (text.len == 0 || text.data[text.len - 1] == '\n') && count_lines(text) == head->lines;
}

/* A sum that fits says that the bytes are those that were written; this, that we may walk over them. */
static bool records_good(const struct frame_header *frame) {
    const char *at = (const char *)(frame + 1);
    size_t left = frame->body_len;
    uint64_t sequence = frame->first_sequence - 1;
    uint32_t count = 0;

    for (; left > 0; count++) {
        const struct record_head *head = (const struct record_head *)(const void *)at;
        if (!record_good(at, left))
            return false;
        sequence += 1 + record_gap(head);
        at += head->size;
        left -= head->size;
    }
    return count == frame->count && sequence == frame->last_sequence;
}

bool frame_body_good(const struct frame_header *frame) {
    return frame->body_crc == crc32c(salt_of(frame->generation), frame + 1, frame->body_len) && records_good(frame);
}

/* A page's sum leaves out the magic and itself. */
static uint32_t page_sum(const void *page, size_t len) {
    return crc32c(0, (const char *)page + 12, len - 12);
}

bool segment_header_good(const struct segment_header *header) {
    return memcmp(header->magic, SEGMENT_MAGIC, sizeof header->magic) == 0 &&
           header->crc == page_sum(header, sizeof *header) && header->outputs <= FORMAT_OUTPUTS;
}

void segment_header_seal(struct segment_header *header) {
    memcpy(header->magic, SEGMENT_MAGIC, sizeof header->magic);
    header->version = FORMAT_VERSION;
    header->crc = page_sum(header, sizeof *header);
}

size_t checkpoint_slot_len(const struct checkpoint_slot *slot) {
    return offsetof(struct checkpoint_slot, entries) + slot->count * sizeof slot->entries[0];
}

bool checkpoint_slot_good(const struct checkpoint_slot *slot) {
    return memcmp(slot->magic, CHECKPOINT_MAGIC, sizeof slot->magic) == 0 && slot->count <= FORMAT_OUTPUTS &&
           slot->version == FORMAT_VERSION && slot->crc == page_sum(slot, checkpoint_slot_len(slot));
}

void checkpoint_slot_seal(struct checkpoint_slot *slot) {
    memcpy(slot->magic, CHECKPOINT_MAGIC, sizeof slot->magic);
    slot->version = FORMAT_VERSION;
    slot->crc = page_sum(slot, checkpoint_slot_len(slot));
}
