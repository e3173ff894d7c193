/* parsers/json_reader.c: see json_reader.h. Here stands what is rare: escapes, exponents, lenient forms, errors. */
#include "parsers/json_reader.h"

#include <stdio.h>
#include <strings.h>

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool json_text_init(struct json_text *text, struct arena *arena, struct str payload) {
    const char *from = payload.data, *to = from + payload.len;
    char *copy;

    while (to > from && (is_space(to[-1]) || to[-1] == '\0'))
        to--;
    while (to > from && is_space(*from))
        from++;
    if (to - from >= 3 && memcmp(from, "\xEF\xBB\xBF", 3) == 0)
        for (from += 3; to > from && is_space(*from);)
            from++;
    copy = arena_alloc(arena, (size_t)(to - from) + JSON_SLACK);
    if (copy == NULL)
        return false;
    *text = (struct json_text){
        .start = payload.data, .copy = copy, .end = copy + (to - from), .stripped = (size_t)(from - payload.data)
    };
    if (to > from)
        memcpy(copy, from, (size_t)(to - from));
    memset(text->end, 0, JSON_SLACK);
    return true;
}

char *json_fail(const struct json_text *text, const char *at, const char *wanted) {
    size_t offset = text->stripped + (size_t)(at - text->copy);
    unsigned char found = (unsigned char)*at;

    if (at >= text->end)
        err_set(text->err, ERR_SYNTAX, "expected %s at byte %zu, found the end of the payload", wanted, offset);
    else if (found < 0x20 || found >= 0x7F)
        err_set(text->err, ERR_SYNTAX, "expected %s at byte %zu, found byte 0x%02x", wanted, offset, found);
    else
        err_set(text->err, ERR_SYNTAX, "expected %s at byte %zu, found '%c'", wanted, offset, found);
    return NULL;
}

static int hex_value(char c) {
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at `at`, or -1. Stops at the first other byte, so it never reads past the zeros. */
static int32_t hex4(const char *at) {
    int32_t value = 0;

    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

char *json_string_slow(const struct json_text *text, char *at, char quote, struct json_string *out) {
    char *p = at;

    out->escaped = false;
    while (p = json_scan(p, quote), *p != quote) {
        if (*p == '\\') {
            out->escaped = true;
            if (p[1] == 'u' && hex4(p + 2) < 0)
                return json_fail(text, p + 2, "four hexadecimal digits after \\u");
            if (p[1] == '\0' || strchr("\"\\/bfnrtu", p[1]) == NULL)
                if (!(text->lenient && p[1] == '\''))
                    return json_fail(text, p + 1, "one of \"\\/bfnrtu after a backslash");
            p += p[1] == 'u' ? 6 : 2;
        } else if (p >= text->end) {
            return json_fail(text, p, "the closing quote of a string");
        } else if (text->lenient) {
            p++;
        } else {
            return json_fail(text, p, "no raw control byte in a string");
        }
    }
    out->raw = (struct str){ at, (size_t)(p - at) };
    return p + 1;
}

/* The exponent at `at`, if there is one; NULL when it has no digits. */
static char *exponent(char *at) {
    char *digits;

    if ((*at | 0x20) != 'e')
        return at;
    at += at[1] == '+' || at[1] == '-' ? 2 : 1;
    digits = at;
    at = json_digits(at);
    return at == digits ? NULL : at;
}

/* What JavaScript's and Python's printers make of numbers, and some firmware: a sign, digits, a point, an exponent. */
static char *loose_number(char *at) {
    char *whole = at + (*at == '-' || *at == '+'), *p = json_digits(whole);
    size_t digits = (size_t)(p - whole);

    if (*p == '.') {
        char *fraction = p + 1;
        p = json_digits(fraction);
        digits += (size_t)(p - fraction);
    }
    return digits == 0 ? NULL : exponent(p);
}

/* `-Infinity`, `+inf`, `-nan`. */
static char *not_finite(char *at) {
    char word, *behind = json_lenient_word(at + (*at == '-' || *at == '+'), &word);

    return behind != NULL && word == 'N' ? behind : NULL;
}

char *json_number_slow(const struct json_text *text, char *at, enum json_number *kind, struct str *out) {
    char *whole = at + (*at == '-'), *p = json_digits(whole);
    bool strict = p > whole && !(*whole == '0' && p > whole + 1);

    *kind = JSON_NUMBER;
    if (strict && *p == '.') {
        char *fraction = p + 1;
        p = json_digits(fraction);
        strict = p > fraction;
    }
    if (strict && (*p | 0x20) == 'e') {
        *kind = JSON_EXPONENT;
        p = exponent(p);
    }
    if (!strict && text->lenient) {
        *kind = JSON_LOOSE;
        p = loose_number(at);
        if (p == NULL && (p = not_finite(at)) != NULL)
            *kind = JSON_NOT_FINITE;
        if (p == NULL)
            return json_fail(text, at, "a number");
    } else if (p == NULL) {
        return json_fail(text, at, "a number with digits after its exponent");
    } else if (!strict) {
        return json_fail(text, at, "a number without leading zeros, with digits on both sides of a point");
    }
    *out = (struct str){ at, (size_t)(p - at) };
    return p;
}

static bool is_word_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

char *json_word(const struct json_text *text, char *at, const char *word, size_t len) {
    if (memcmp(at, word, len) != 0) /* at most five bytes: inside the slack */
        return json_fail(text, at, "a value");
    return at + len;
}

char *json_lenient_word(char *at, char *kind) {
    static const struct {
        const char *word;
        char kind;
    } words[] = { { "true", 't' }, { "false", 'f' },    { "null", 'n' }, { "none", 'n' },
                  { "nan", 'N' },  { "infinity", 'N' }, { "inf", 'N' } };
    size_t len = 0;

    while (is_word_byte(at[len]))
        len++;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (len == strlen(words[i].word) && strncasecmp(at, words[i].word, len) == 0) {
            *kind = words[i].kind;
            return at + len;
        }
    return NULL;
}

/* A value that is no container. */
static char *skip_scalar(const struct json_text *text, char *at) {
    struct json_string string;
    enum json_number kind;
    struct str number;
    char word, *behind;

    switch (*at) {
    case '"':
        return json_string(text, at + 1, &string);
    case 't':
        return json_word(text, at, "true", 4);
    case 'f':
        return json_word(text, at, "false", 5);
    case 'n':
        if (!text->lenient)
            return json_word(text, at, "null", 4);
        break;
    }
    if (is_digit(*at) || *at == '-' || (text->lenient && (*at == '+' || *at == '.')))
        return json_number(text, at, &kind, &number);
    if (text->lenient && *at == '\'')
        return json_string_slow(text, at + 1, '\'', &string);
    if (text->lenient && (behind = json_lenient_word(at, &word)) != NULL)
        return behind;
    return json_fail(text, at, "a value");
}

/* A key with its colon; `at` stands before the quote. */
static char *skip_key(const struct json_text *text, char *at) {
    struct json_string key;

    if (*at == '"')
        at = json_string(text, at + 1, &key);
    else if (*at == '\'' && text->lenient)
        at = json_string_slow(text, at + 1, '\'', &key);
    else
        return json_fail(text, at, "a key in quotes");
    if (at == NULL)
        return NULL;
    at = json_space(at);
    return *at == ':' ? json_space(at + 1) : json_fail(text, at, "':' after a key");
}

char *json_skip(const struct json_text *text, char *at, unsigned depth) {
    uint64_t objects = 0; /* bit n: the container at depth n is an object */
    unsigned outer = depth;
    bool opened = false; /* the last thing read was an opening bracket: a closing one may follow */

    for (;;) {
        bool object = depth > outer && (objects >> (depth - 1) & 1) != 0;
        if (opened && *at == (object ? '}' : ']')) {
            opened = false;
            depth--;
            at++;
        } else {
            if (object && (at = skip_key(text, at)) == NULL)
                return NULL;
            opened = *at == '{' || *at == '[';
            if (opened) {
                if (depth >= JSON_DEPTH_MAX)
                    return err_set(text->err, ERR_LIMIT, "JSON is nested deeper than %d", JSON_DEPTH_MAX), NULL;
                objects = *at == '{' ? objects | 1ULL << depth : objects & ~(1ULL << depth);
                depth++;
                at = json_space(at + 1);
                continue;
            }
            if ((at = skip_scalar(text, at)) == NULL)
                return NULL;
        }
        /* Behind a value: close what ends here, up to a comma. */
        for (;; depth--, at++) {
            if (depth == outer)
                return at;
            object = (objects >> (depth - 1) & 1) != 0;
            at = json_space(at);
            if (*at == ',') {
                at = json_space(at + 1);
                if (text->lenient && *at == (object ? '}' : ']'))
                    continue;
                break;
            }
            if (*at != (object ? '}' : ']'))
                return json_fail(text, at, object ? "',' or '}'" : "',' or ']'");
        }
    }
}

/* Writes one code point as UTF-8. */
static char *put_utf8(char *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

/* The code point of the \u escape at `*at`, two of them for a surrogate pair; moves `*at` behind. RFC 8259 section 7. */
static uint32_t unicode_escape(const char **at) {
    const char *p = *at;
    uint32_t high = (uint32_t)hex4(p + 2), low;

    *at = p + 6;
    if (high < 0xD800 || high > 0xDFFF)
        return high;
    if (high > 0xDBFF || p[6] != '\\' || p[7] != 'u')
        return 0xFFFD;
    low = (uint32_t)hex4(p + 8);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0xFFFD;
    *at = p + 12;
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

static char plain_escape(char c) {
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

bool json_unescape(const struct json_text *text, const struct json_string *string, struct str *out) {
    const char *from = string->raw.data, *end = from + string->raw.len;
    char *start, *to;

    if (!str_is_utf8(string->raw))
        return err_set(text->err, ERR_SYNTAX, "the string at byte %zu is not valid UTF-8",
                       text->stripped + (size_t)(from - text->copy));
    if (!string->escaped) {
        *out = string->raw;
        return true;
    }
    to = start = text->copy + (from - text->copy);
    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
        } else if (from[1] == 'u') {
            to = put_utf8(to, unicode_escape(&from));
        } else {
            *to++ = plain_escape(from[1]);
            from += 2;
        }
    }
    *out = (struct str){ start, (size_t)(to - start) };
    return true;
}
