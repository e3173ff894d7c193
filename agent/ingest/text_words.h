/*
 * agent/ingest/text_words.h: text eight bytes at a time. A scan answers "is any byte special" for a whole word; texts
 * shorter than a word are covered by loads that overlap, so nothing is ever read or written past the given bytes.
 */
#ifndef HELIOGRAF_INGEST_TEXT_WORDS_H
#define HELIOGRAF_INGEST_TEXT_WORDS_H

#include "agent/base/str.h"

#define WORD_ONES 0x0101010101010101ULL
#define WORD_HIGH 0x8080808080808080ULL

static inline uint64_t word_load(const char *at) {
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint32_t half_load(const char *at) {
    uint32_t half;

    memcpy(&half, at, sizeof half);
    return half;
}

static inline uint16_t quarter_load(const char *at) {
    uint16_t quarter;

    memcpy(&quarter, at, sizeof quarter);
    return quarter;
}

/* Non-zero when a byte of `word` is `byte` / is below `limit` (at most 0x80). Which one it is, only the lowest hit
 * tells. */
static inline uint64_t word_has(uint64_t word, uint8_t byte) {
    uint64_t x = word ^ (WORD_ONES * byte);

    return (x - WORD_ONES) & ~x & WORD_HIGH;
}

static inline uint64_t word_has_below(uint64_t word, uint8_t limit) {
    return (word - WORD_ONES * limit) & ~word & WORD_HIGH;
}

/* What a name (measurement, key, tag value) may not hold as it is: controls, blank, comma, equals, backslash, DEL,
 * non-ASCII. */
static inline uint64_t word_name_special(uint64_t word) {
    return word_has_below(word, 0x21) | word_has(word, ',') | word_has(word, '=') | word_has(word, '\\') |
           word_has(word, 0x7f) | (word & WORD_HIGH);
}

/* What a string may not hold as it is; non-ASCII is reported because UTF-8 is still to be checked. */
static inline uint64_t word_string_special(uint64_t word) {
    return word_has_below(word, 0x20) | word_has(word, '"') | word_has(word, '\\') | (word & WORD_HIGH);
}

static inline uint64_t word_mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
    return hash ^ (hash >> 32);
}

/*
 * The bytes of a text of 1 to 7 bytes spread over a word: each byte of the result is one of the text's, each of the
 * text's is there. Good for scans and hashes (with the length beside it), not for positions.
 */
static inline uint64_t word_load_short(const char *at, size_t len) {
    uint64_t word;

    if (len >= 4)
        return half_load(at) | (uint64_t)half_load(at + len - 4) << 32;
    if (len >= 2) {
        word = quarter_load(at) | (uint64_t)quarter_load(at + len - 2) << 16;
        return word | word << 32;
    }
    return (uint8_t)at[0] * WORD_ONES;
}

static inline void copy_short(char *out, const char *at, size_t len) {
    if (len >= 4) {
        uint32_t first = half_load(at), last = half_load(at + len - 4);
        memcpy(out, &first, 4);
        memcpy(out + len - 4, &last, 4);
    } else if (len >= 2) {
        uint16_t first = quarter_load(at), last = quarter_load(at + len - 2);
        memcpy(out, &first, 2);
        memcpy(out + len - 2, &last, 2);
    } else if (len == 1) {
        out[0] = at[0];
    }
}

#endif
