/* agent/base/str.c: see str.h. */
#include "agent/base/str.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

int str_cmp(struct str a, struct str b) {
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;

    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts_with(struct str text, struct str prefix) {
    return text.len >= prefix.len && (prefix.len == 0 || memcmp(text.data, prefix.data, prefix.len) == 0);
}

bool str_ends_with(struct str text, struct str suffix) {
    return text.len >= suffix.len &&
           (suffix.len == 0 || memcmp(text.data + text.len - suffix.len, suffix.data, suffix.len) == 0);
}

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str text) {
    while (text.len > 0 && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

struct str str_split(struct str *rest, char separator) {
    struct str head = *rest;
    const char *at = head.len > 0 ? memchr(head.data, separator, head.len) : NULL;

    if (at == NULL) {
        *rest = (struct str){ NULL, 0 };
        return head;
    }
    head.len = (size_t)(at - head.data);
    rest->data = at + 1;
    rest->len -= head.len + 1;
    return head;
}

static bool parse_digits(struct str text, size_t from, uint64_t *out) {
    uint64_t value = 0;

    if (from >= text.len)
        return false;
    for (size_t i = from; i < text.len; i++) {
        unsigned digit = (unsigned char)text.data[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool str_to_uint64(struct str text, uint64_t *out) {
    return parse_digits(text, text.len > 0 && text.data[0] == '+', out);
}

bool str_to_int64(struct str text, int64_t *out) {
    bool negative = text.len > 0 && text.data[0] == '-';
    uint64_t magnitude;

    if (!parse_digits(text, text.len > 0 && (negative || text.data[0] == '+'), &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

/* True when the text has the shape of a decimal number: sign, digits with at most one point, exponent. */
static bool is_decimal(struct str text) {
    size_t i = 0, digits = 0;

    if (i < text.len && (text.data[i] == '-' || text.data[i] == '+'))
        i++;
    for (; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        digits++;
    if (i < text.len && text.data[i] == '.')
        for (i++; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
            digits++;
    if (digits == 0)
        return false;
    if (i < text.len && (text.data[i] == 'e' || text.data[i] == 'E')) {
        i++;
        if (i < text.len && (text.data[i] == '-' || text.data[i] == '+'))
            i++;
        if (i == text.len)
            return false;
        while (i < text.len && text.data[i] >= '0' && text.data[i] <= '9')
            i++;
    }
    return i == text.len;
}

static double to_double(const char *text, bool *overflow) {
    /* The program never calls setlocale, so strtod reads a point; a host that embeds us may differ, so ask. */
    const char *point = localeconv()->decimal_point;
    double value;

    if (point[0] != '.' || point[1] != '\0') {
        char *dot = strchr(text, '.');
        if (dot != NULL)
            *dot = point[0];
    }
    errno = 0;
    value = strtod(text, NULL);
    *overflow = errno == ERANGE && isinf(value);
    return value;
}

bool str_to_double(struct str text, double *out) {
    char small[64], *copy = small;
    bool overflow;
    double value;

    if (!is_decimal(text))
        return false;
    if (text.len >= sizeof small && (copy = malloc(text.len + 1)) == NULL)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    value = to_double(copy, &overflow);
    if (copy != small)
        free(copy);
    if (overflow)
        return false;
    *out = value;
    return true;
}

/* Length of the UTF-8 sequence at `at`, 0 when it is none. RFC 3629 section 4. */
static size_t utf8_sequence(const unsigned char *at, size_t left) {
    unsigned char c = at[0];
    unsigned char low = 0x80, high = 0xBF;
    size_t len;

    if (c < 0x80)
        return 1;
    if (c < 0xC2 || c > 0xF4)
        return 0;
    len = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (left < len)
        return 0;
    if (c == 0xE0)
        low = 0xA0;
    else if (c == 0xED)
        high = 0x9F;
    else if (c == 0xF0)
        low = 0x90;
    else if (c == 0xF4)
        high = 0x8F;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

size_t str_utf8_first(struct str text, uint32_t *code_point) {
    static const unsigned char lead_bits[] = { 0, 0x7F, 0x1F, 0x0F, 0x07 };
    const unsigned char *at = (const unsigned char *)text.data;
    size_t len = text.len > 0 ? utf8_sequence(at, text.len) : 0;
    uint32_t code;

    if (len == 0)
        return 0;
    code = at[0] & lead_bits[len];
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (at[i] & 0x3F);
    *code_point = code;
    return len;
}

bool str_is_utf8(struct str text) {
    const unsigned char *at = (const unsigned char *)text.data;
    size_t left = text.len;

    while (left > 0) {
        uint64_t word;
        if (left >= sizeof word) {
            memcpy(&word, at, sizeof word);
            if ((word & 0x8080808080808080ULL) == 0) {
                at += sizeof word;
                left -= sizeof word;
                continue;
            }
        }
        size_t len = utf8_sequence(at, left);
        if (len == 0)
            return false;
        at += len;
        left -= len;
    }
    return true;
}

/* One bracket expression at pattern[*p] == '['. Sets *p behind it; without a closing bracket '[' stands for itself. */
static bool match_class(struct str pattern, size_t *p, unsigned char c) {
    size_t i = *p + 1;
    bool negate = i < pattern.len && (pattern.data[i] == '!' || pattern.data[i] == '^'), found = false, first = true;

    if (negate)
        i++;
    for (; i < pattern.len && (first || pattern.data[i] != ']'); i++, first = false) {
        unsigned char low = (unsigned char)pattern.data[i], high = low;
        if (i + 2 < pattern.len && pattern.data[i + 1] == '-' && pattern.data[i + 2] != ']') {
            high = (unsigned char)pattern.data[i + 2];
            i += 2;
        }
        if (c >= low && c <= high)
            found = true;
    }
    if (i >= pattern.len) {
        *p += 1;
        return c == '[';
    }
    *p = i + 1;
    return found != negate;
}

/* Without braces: `*` backtracks to the latest star only, so the time is at most pattern times text. */
static bool glob_flat(struct str pattern, struct str text) {
    size_t p = 0, t = 0, star_p = (size_t)-1, star_t = 0;

    while (t < text.len) {
        size_t next = p;
        bool hit = false;
        if (p < pattern.len && pattern.data[p] == '*') {
            star_p = ++p;
            star_t = t;
            continue;
        }
        if (p < pattern.len) {
            if (pattern.data[p] == '?') {
                hit = true;
                next = p + 1;
            } else if (pattern.data[p] == '[') {
                hit = match_class(pattern, &next, (unsigned char)text.data[t]);
            } else {
                if (pattern.data[p] == '\\' && p + 1 < pattern.len)
                    next++;
                hit = pattern.data[next] == text.data[t];
                next++;
            }
        }
        if (hit) {
            p = next;
            t++;
        } else if (star_p != (size_t)-1) {
            p = star_p;
            t = ++star_t;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

enum { GLOB_MAX = 1024, GLOB_BRACES_MAX = 16 };

static bool glob_braces(struct str pattern, struct str text, int depth) {
    const char *open = NULL;
    size_t close = 0, level = 0, start;

    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.data[i] == '\\') {
            i++;
        } else if (pattern.data[i] == '{' && level++ == 0) {
            open = pattern.data + i;
        } else if (pattern.data[i] == '}' && level > 0 && --level == 0) {
            close = i;
            break;
        }
    }
    if (open == NULL || close == 0 || depth >= GLOB_BRACES_MAX || pattern.len > GLOB_MAX)
        return glob_flat(pattern, text);
    size_t head = (size_t)(open - pattern.data);
    start = head + 1;
    level = 0;
    for (size_t i = start; i <= close; i++) {
        char c = pattern.data[i], joined[GLOB_MAX];
        if (c == '\\') {
            i++; /* what it escapes is neither comma nor brace; `close` never is escaped */
            continue;
        }
        if (c == '{')
            level++;
        if (level > 0 && c == '}' && i != close) {
            level--;
            continue;
        }
        if (!(i == close || (c == ',' && level == 0)))
            continue;
        size_t middle = i - start, tail = pattern.len - close - 1;
        memcpy(joined, pattern.data, head);
        memcpy(joined + head, pattern.data + start, middle);
        memcpy(joined + head + middle, pattern.data + close + 1, tail);
        if (glob_braces(str_make(joined, head + middle + tail), text, depth + 1))
            return true;
        start = i + 1;
    }
    return false;
}

bool str_glob(struct str pattern, struct str text) {
    if (pattern.len > 0 && memchr(pattern.data, '{', pattern.len) != NULL)
        return glob_braces(pattern, text, 0);
    return glob_flat(pattern, text);
}

static size_t smallest(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

size_t str_distance(struct str a, struct str b) {
    enum { LONGEST = 64 };
    size_t rows[3][LONGEST + 1], *before = rows[0], *last = rows[1], *now = rows[2];

    if (a.len > LONGEST || b.len > LONGEST)
        return a.len > b.len ? a.len : b.len;
    for (size_t j = 0; j <= b.len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = a.data[i - 1] == b.data[j - 1];
            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + !same);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        size_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[b.len];
}

uint64_t str_hash_stable(struct str text) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (uint8_t)text.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t str_hash(struct str text) {
    const uint64_t odd = 0x9E3779B97F4A7C15ULL;
    const char *at = text.data;
    size_t left = text.len;
    uint64_t hash = odd ^ text.len, word;

    while (left >= sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 32;
        at += sizeof word;
        left -= sizeof word;
    }
    if (left > 0) {
        word = 0;
        memcpy(&word, at, left);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 32;
    }
    hash *= odd;
    return hash ^ (hash >> 29);
}
