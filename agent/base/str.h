/*
 * agent/base/str.h: borrowed text: bytes with a length and no terminator. Payloads, topics and slices of both are
 * `struct str`; whoever made one says how long its bytes live. All functions are pure and thread-safe.
 */
#ifndef HELIOGRAF_BASE_STR_H
#define HELIOGRAF_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *data;
    size_t len;
};

#define STR(literal)   ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_INIT(literal) { (literal), sizeof(literal) - 1 }
#define STR_EMPTY      ((struct str){ "", 0 })
#define STR_ARGS(text) (int)(text).len, (text).data /* for "%.*s" */

static inline struct str str_of(const char *text) {
    return (struct str){ text, strlen(text) };
}

static inline struct str str_make(const char *data, size_t len) {
    return (struct str){ data, len };
}

static inline bool str_eq(struct str a, struct str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool str_eq_c(struct str a, const char *b) {
    return str_eq(a, str_of(b));
}

/* Byte order, shorter first on a tie: <0, 0, >0 as memcmp. The order InfluxDB sorts tag keys in. */
int str_cmp(struct str a, struct str b);

bool str_starts_with(struct str text, struct str prefix);
bool str_ends_with(struct str text, struct str suffix);

/* Without the ASCII blanks (space, tab, CR, LF, VT, FF) at both ends. */
struct str str_trim(struct str text);

/* The part before the first `separator`; `rest` becomes what follows it, with data == NULL when there is no more. */
struct str str_split(struct str *rest, char separator);

/* Whole text or false: optional '-' or '+', decimal digits. `out` stays untouched on failure and overflow. */
bool str_to_int64(struct str text, int64_t *out);
bool str_to_uint64(struct str text, uint64_t *out);

/*
 * Whole text or false: a decimal number as JSON writes it, also `+1`, `.5` and `1.`; no hex, no Inf, no NaN, and nothing
 * whose value is past the range of a double. Independent of the locale.
 */
bool str_to_double(struct str text, double *out);

/* RFC 3629: no surrogates, no overlong forms, nothing past U+10FFFF. */
bool str_is_utf8(struct str text);

/* Bytes of the code point that `text` begins with, by the same rules; 0 when there is none. `code_point` becomes it. */
size_t str_utf8_first(struct str text, uint32_t *code_point);

/* Shell-style glob as Telegraf's filters know it: `*`, `?`, `[a-z]`, `[!a]`, `{a,b}`, `\x`. Linear in time for `*`. */
bool str_glob(struct str pattern, struct str text);

/* Edits (insert, delete, replace, swap of neighbours) between two names, for "did you mean"; names of up to 64 bytes. */
size_t str_distance(struct str a, struct str b);

/* 64-bit hash for tables and filters; not for secrets. It stands in the spool's files, too, so it stays as it is. */
uint64_t str_hash(struct str text);

/* FNV-1a, 64 bits: the same in every version, for what is written down. Not for secrets. */
uint64_t str_hash_stable(struct str text);

#endif
