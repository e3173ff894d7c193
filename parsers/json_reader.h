/*
 * parsers/json_reader.h: reads JSON (RFC 8259) in one pass over a private copy of the text, eight bytes at a time, without a
 * tree. Each function takes a place in the copy and returns the place behind what it read, or NULL after filling in the
 * error. The copy ends in zeros, so that an eight-byte load at any place is safe, and a zero byte always stops a scan.
 */
#ifndef HELIOGRAF_PARSERS_JSON_READER_H
#define HELIOGRAF_PARSERS_JSON_READER_H

#include "agent/base/arena.h"
#include "agent/base/err.h"

enum {
    JSON_SLACK = 16,    /* zero bytes behind the copy */
    JSON_DEPTH_MAX = 64 /* arrays and objects inside each other */
};

struct json_text {
    const char *start;   /* of the payload as it arrived, for offsets in errors: start + offset */
    char *copy, *end;    /* the copy without byte-order mark, outer blanks and trailing NULs; end[0..JSON_SLACK) is 0 */
    size_t stripped;     /* bytes left out before `copy` */
    bool lenient;        /* NaN, Infinity, 'single quotes', 25. .5 +1, trailing commas, raw control bytes, True False None */
    struct err *err;
};

enum json_number {
    JSON_NUMBER,      /* text in JSON's grammar, without an exponent */
    JSON_EXPONENT,    /* the same with one: its value may be past a double's range */
    JSON_LOOSE,       /* a number that only the lenient grammar knows: `25.` `.5` `+1` `007` */
    JSON_NOT_FINITE,  /* NaN, Infinity */
};

struct json_string {
    struct str raw; /* between the quotes, as written; in the copy */
    bool escaped;   /* has backslashes */
};

/* Copies `payload` into `arena`; false at the arena's cap. `err` and `lenient` are set by the caller afterwards. */
bool json_text_init(struct json_text *text, struct arena *arena, struct str payload);

/* Fails with ERR_SYNTAX "<wanted> at byte N, found 'x'"; always NULL. */
char *json_fail(const struct json_text *text, const char *at, const char *wanted);

/* Slow halves of the inline functions below. */
char *json_string_slow(const struct json_text *text, char *at, char quote, struct json_string *out);
char *json_number_slow(const struct json_text *text, char *at, enum json_number *kind, struct str *out);

/* `true`, `false`, `null` at `at`, whose first letter has been seen; NULL with the error when it is another word. */
char *json_word(const struct json_text *text, char *at, const char *word, size_t len);

/*
 * Lenient only: a word of Python's or JavaScript's at `at`: True, False, None, NaN, Infinity. *kind is 't', 'f', 'n' (null) or
 * 'N' (not finite); NULL without an error when there is none.
 */
char *json_lenient_word(char *at, char *kind);

/* Reads over one value of any kind, checking all of it. `depth` is the number of containers around it. */
char *json_skip(const struct json_text *text, char *at, unsigned depth);

/*
 * The text of a string, escapes resolved in place (it never grows; an unpaired surrogate becomes U+FFFD, as in Go). False with
 * ERR_SYNTAX when the bytes are not UTF-8. Call once per string: the raw text is gone afterwards.
 */
bool json_unescape(const struct json_text *text, const struct json_string *string, struct str *out);

/* --- eight bytes at a time --- */

#define SWAR_ONES 0x0101010101010101ULL
#define SWAR_HIGH 0x8080808080808080ULL

static inline uint64_t swar_load(const char *at) {
    uint64_t word;

    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Index of the lowest byte whose high bit is set in `mask`, which is not 0. */
static inline unsigned swar_first(uint64_t mask) {
    return (unsigned)__builtin_ctzll(mask) >> 3;
}

/*
 * High bit set in each byte of `word` that is `c`. A borrow may also mark bytes above the lowest hit, so only the lowest counts;
 * the same holds for swar_below.
 */
static inline uint64_t swar_equal(uint64_t word, char c) {
    uint64_t diff = word ^ (SWAR_ONES * (unsigned char)c);

    return (diff - SWAR_ONES) & ~diff & SWAR_HIGH;
}

static inline uint64_t swar_below(uint64_t word, unsigned char limit) {
    return (word - SWAR_ONES * limit) & ~word & SWAR_HIGH;
}

/* How many of the eight bytes, from the lowest, are decimal digits. */
static inline unsigned swar_digits(uint64_t word) {
    uint64_t value = word ^ (SWAR_ONES * '0'), other = ((value + SWAR_ONES * 0x76) | value) & SWAR_HIGH;

    return other != 0 ? swar_first(other) : 8;
}

/* The first quote, backslash or byte below 0x20 at or after `at`. */
static inline char *json_scan(char *at, char quote) {
    for (;; at += 8) {
        uint64_t word = swar_load(at);
        uint64_t hit = swar_equal(word, quote) | swar_equal(word, '\\') | swar_below(word, 0x20);
        if (hit != 0)
            return at + swar_first(hit);
    }
}

static inline char *json_space(char *at) {
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')
        at++;
    return at;
}

/* A string; `at` stands behind its opening quote. */
static inline char *json_string(const struct json_text *text, char *at, struct json_string *out) {
    char *end = json_scan(at, '"');

    if (__builtin_expect(*end != '"', 0))
        return json_string_slow(text, at, '"', out);
    *out = (struct json_string){ { at, (size_t)(end - at) }, false };
    return end + 1;
}

/* All digits at `at`. */
static inline char *json_digits(char *at) {
    unsigned run;

    do {
        run = swar_digits(swar_load(at));
        at += run;
    } while (run == 8);
    return at;
}

/* A number; `at` stands on its first byte. What follows it is the caller's to check. */
static inline char *json_number(const struct json_text *text, char *at, enum json_number *kind, struct str *out) {
    char *whole = at + (*at == '-'), *p = json_digits(whole);

    if (__builtin_expect(p == whole || (*whole == '0' && p > whole + 1), 0))
        return json_number_slow(text, at, kind, out);
    if (*p == '.') {
        char *fraction = p + 1;
        p = json_digits(fraction);
        if (__builtin_expect(p == fraction, 0))
            return json_number_slow(text, at, kind, out);
    }
    if (__builtin_expect((*p | 0x20) == 'e', 0))
        return json_number_slow(text, at, kind, out);
    *kind = JSON_NUMBER;
    *out = (struct str){ at, (size_t)(p - at) };
    return p;
}

#endif
