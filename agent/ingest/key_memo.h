/*
 * agent/ingest/key_memo.h: most messages of a device have the keys of its last one, in the same order. A memo keeps the
 * keys of a line that was found to be good (no key needs a change, none twice, none a tag's), so that the next line
 * only compares and copies them. A line that differs is checked in full and then takes the memo's place.
 */
#ifndef HELIOGRAF_INGEST_KEY_MEMO_H
#define HELIOGRAF_INGEST_KEY_MEMO_H

#include "agent/base/points.h"
#include "agent/ingest/text_words.h"

enum { MEMO_KEYS = 128, MEMO_TEXT = 4096, MEMO_TAGS = 256, MEMO_COUNT = 64, MEMO_SLACK = 8 };

struct key_memo {
    uint16_t count, tags_len;
    struct {
        uint16_t at, len; /* of the key; its text is one byte longer, the `=` */
    } keys[MEMO_KEYS];
    char tags[MEMO_TAGS]; /* the tag keys of the line, as line_prefix.tag_names */
    char text[MEMO_TEXT + MEMO_SLACK];
};

/* The place where a line of this shape would be remembered. */
static inline size_t key_memo_place(const struct field *fields, size_t count) {
    struct str first = fields[0].key, middle = fields[count / 2].key, last = fields[count - 1].key;
    uint64_t mixed = count << 48 ^ first.len << 32 ^ middle.len << 16 ^ last.len;

    if (first.len > 0)
        mixed = word_mix(mixed, (uint64_t)(uint8_t)first.data[0] << 8 ^ (uint8_t)first.data[first.len - 1]);
    if (last.len > 0)
        mixed ^= (uint64_t)(uint8_t)last.data[0] << 8 ^ (uint8_t)last.data[last.len - 1];
    return (size_t)((mixed * 0x9E3779B97F4A7C15ULL) >> 58) & (MEMO_COUNT - 1);
}

/* True when the memo is of a line with so many fields and these tag keys. */
static inline bool key_memo_fits(const struct key_memo *memo, size_t count, struct str tags) {
    return memo->count == count && memo->tags_len == tags.len && memcmp(memo->tags, tags.data, tags.len) == 0;
}

/* Copies key number `i` with its `=` to `out` when it is `key`; may write up to 8 bytes behind. */
static inline bool key_memo_copy(const struct key_memo *memo, size_t i, struct str key, char *out) {
    const char *text = memo->text + memo->keys[i].at;
    size_t at = 0;

    if (memo->keys[i].len != key.len)
        return false;
    if (key.len < 8) {
        uint64_t word = word_load(text);
        memcpy(out, &word, sizeof word);
        return word_load_short(text, key.len) == word_load_short(key.data, key.len);
    }
    for (; at + 8 <= key.len; at += 8) {
        uint64_t word = word_load(text + at);
        if (word != word_load(key.data + at))
            return false;
        memcpy(out + at, &word, sizeof word);
    }
    memcpy(out + at, text + at, 8);
    return word_load(text + key.len - 8) == word_load(key.data + key.len - 8);
}

/* Remembers the keys of a good line; of one that is too large, nothing. */
void key_memo_fill(struct key_memo *memo, const struct field *fields, size_t count, struct str tags);

#endif
