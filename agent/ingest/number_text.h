/*
 * agent/ingest/number_text.h: numbers as text, fast. Writers return the end of what they wrote; the caller gives
 * NUMBER_TEXT_MAX bytes. Pure, thread-safe, independent of the locale.
 */
#ifndef HELIOGRAF_INGEST_NUMBER_TEXT_H
#define HELIOGRAF_INGEST_NUMBER_TEXT_H

#include "agent/ingest/text_words.h"

#define NUMBER_TEXT_MAX 32

char *number_write_unsigned(char *out, uint64_t value);
char *number_write_integer(char *out, int64_t value);

/*
 * The shortest decimal that reads back as `value`, which is finite: positional (`0.1`, `-12500`) from 1e-7 up to 1e21,
 * else `1.5e-9`. Never `1e+30`, `.5` or `1.`, which some servers refuse.
 */
char *number_write_float(char *out, double value);

/*
 * True when `text` is a number in JSON's grammar (leading zeros are let through: every server reads them) whose value
 * fits a double. Only text with an exponent or with very many digits costs more than a scan.
 */
bool number_text_valid(struct str text);

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* 1 to 8 bytes as one word, first byte lowest, filled up with '0'. */
static inline uint64_t number_load_short(struct str text) {
    uint64_t word, fill = WORD_ONES * '0';
    unsigned shift = (unsigned)text.len * 8;

    if (text.len == 8)
        return word_load(text.data);
    if (text.len >= 4)
        word = half_load(text.data) | (uint64_t)half_load(text.data + text.len - 4) << (shift - 32);
    else if (text.len >= 2)
        word = quarter_load(text.data) | (uint64_t)quarter_load(text.data + text.len - 2) << (shift - 16);
    else
        word = (uint8_t)text.data[0];
    return word | fill << shift;
}

/* True for `-?digits` and `-?digits.digits` in a word of `len` bytes; other numbers may be good ones too. */
static inline bool number_word_plain(uint64_t word, size_t len) {
    uint64_t x = word ^ (WORD_ONES * '0'), first = (word & 0xff) == '-', others;
    size_t at;

    others = (((x & ~WORD_HIGH) + WORD_ONES * 0x76) | x) & WORD_HIGH; /* one bit per byte that is no digit */
    others &= ~(first << 7);
    if (others == 0)
        return len > first;
    at = (size_t)__builtin_ctzll(others) / 8;
    return (others & (others - 1)) == 0 && (uint8_t)(word >> at * 8) == '.' && at > first && at + 1 < len;
}
#endif

/* Copies a number's text when it is valid; up to 8 bytes behind its end may be written too. */
static inline bool number_text_copy(char *out, struct str text) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (text.len - 1 < 8) {
        uint64_t word = number_load_short(text);
        memcpy(out, &word, sizeof word);
        return number_word_plain(word, text.len) || number_text_valid(text);
    }
#endif
    memcpy(out, text.data, text.len);
    return number_text_valid(text);
}

/* Nanosecond stamps in a row mostly share their second: its digits are kept. Zeroed is ready. */
struct stamp_writer {
    int64_t second;
    uint8_t len; /* of `digits`; 0: none yet */
    char digits[20];
};
char *number_write_stamp(struct stamp_writer *writer, char *out, int64_t time_ns);

#endif
