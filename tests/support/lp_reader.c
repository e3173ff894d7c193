/* tests/support/lp_reader.c: see lp_reader.h. */
#include "tests/support/lp_reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct lp_cursor {
    const char *at, *end;
    char *memory; /* where unescaped text goes */
    const char *why;
};

static bool lp_fail(struct lp_cursor *cursor, const char *why) {
    if (cursor->why == NULL)
        cursor->why = why;
    return false;
}

static bool lp_is_utf8(const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        uint32_t rune;
        size_t more;
        if (c < 0x80) {
            i++;
            continue;
        }
        if (c >= 0xF0 && c <= 0xF4) {
            more = 3;
            rune = c & 7u;
        } else if (c >= 0xE0 && c < 0xF0) {
            more = 2;
            rune = c & 15u;
        } else if (c >= 0xC2 && c < 0xE0) {
            more = 1;
            rune = c & 31u;
        } else {
            return false;
        }
        if (len - i <= more)
            return false;
        for (size_t k = 1; k <= more; k++) {
            unsigned char next = (unsigned char)text[i + k];
            if (next < 0x80 || next > 0xBF)
                return false;
            rune = rune << 6 | (next & 63u);
        }
        if ((more == 2 && rune < 0x800) || (more == 3 && rune < 0x10000) || rune > 0x10FFFF ||
            (rune >= 0xD800 && rune < 0xE000))
            return false;
        i += more + 1;
    }
    return true;
}

/* Where a name ends, as each of the three kinds of reader in the field sees it. */
static const char *lp_end_by_previous(const char *at, const char *end, const char *stops) {
    for (const char *p = at; p < end; p++)
        if (*p != '\0' && strchr(stops, *p) != NULL && (p == at || p[-1] != '\\'))
            return p;
    return end;
}

static const char *lp_end_by_skipping(const char *at, const char *end, const char *stops) {
    for (const char *p = at; p < end; p++) {
        if (*p == '\\' && p + 1 < end) {
            p++;
            continue;
        }
        if (*p != '\0' && strchr(stops, *p) != NULL)
            return p;
    }
    return end;
}

static const char *lp_end_by_folding(const char *at, const char *end, const char *stops) {
    for (const char *p = at; p < end; p++) {
        if (*p == '\\' && p + 1 < end && (p[1] == '\\' || (p[1] != '\0' && strchr(stops, p[1]) != NULL))) {
            p++;
            continue;
        }
        if (*p != '\0' && strchr(stops, *p) != NULL)
            return p;
    }
    return end;
}

/* A name up to an unescaped byte of `stops`, unescaped into memory. */
static bool lp_name(struct lp_cursor *cursor, const char *stops, struct lp_text *out) {
    const char *stop = lp_end_by_previous(cursor->at, cursor->end, stops);
    char *to = cursor->memory;

    if (stop != lp_end_by_skipping(cursor->at, cursor->end, stops) ||
        stop != lp_end_by_folding(cursor->at, cursor->end, stops))
        return lp_fail(cursor, "readers disagree about where a name ends");
    if (stop == cursor->at)
        return lp_fail(cursor, "empty name");
    if (stop == cursor->end)
        return lp_fail(cursor, "line ends in a name");
    if (stop[-1] == '\\')
        return lp_fail(cursor, "name ends in a backslash");
    out->data = to;
    for (const char *p = cursor->at; p < stop; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return lp_fail(cursor, "control byte in a name");
        if (*p == '\\' && strchr(stops, p[1]) != NULL)
            p++;
        *to++ = *p;
    }
    out->len = (size_t)(to - out->data);
    cursor->memory = to;
    cursor->at = stop;
    return true;
}

static int lp_compare(struct lp_text a, struct lp_text b) {
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static bool lp_is(struct lp_text text, const char *word) {
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static bool lp_key_allowed(struct lp_cursor *cursor, struct lp_text key) {
    if (lp_is(key, "time") || lp_is(key, "_time") || lp_is(key, "_field") || lp_is(key, "_measurement"))
        return lp_fail(cursor, "reserved key");
    return true;
}

static void *lp_grow(void *items, size_t count, size_t size) {
    void *larger = items;

    if (count == 0 || (count >= 8 && (count & (count - 1)) == 0))
        larger = realloc(items, (count == 0 ? 8 : count * 2) * size);
    if (larger == NULL)
        abort();
    return larger;
}

static bool lp_tags(struct lp_cursor *cursor, struct lp_point *point) {
    while (*cursor->at == ',') {
        struct lp_tag tag;
        cursor->at++;
        if (!lp_name(cursor, ",= ", &tag.key))
            return false;
        if (*cursor->at != '=')
            return lp_fail(cursor, "tag without value");
        cursor->at++;
        if (!lp_name(cursor, ",= ", &tag.value))
            return false;
        if (*cursor->at == '=')
            return lp_fail(cursor, "unescaped = in a tag value");
        if (!lp_key_allowed(cursor, tag.key))
            return false;
        if (point->tag_count > 0 && lp_compare(point->tags[point->tag_count - 1].key, tag.key) >= 0)
            return lp_fail(cursor, "tags are not sorted, or twice the same key");
        point->tags = lp_grow(point->tags, point->tag_count, sizeof *point->tags);
        point->tags[point->tag_count++] = tag;
    }
    return true;
}

static bool lp_string(struct lp_cursor *cursor, struct lp_field *field) {
    char *to = cursor->memory;

    field->type = LP_STRING;
    field->text.data = to;
    for (cursor->at++; cursor->at < cursor->end && *cursor->at != '"'; cursor->at++) {
        if (*cursor->at == '\\') {
            cursor->at++;
            if (cursor->at == cursor->end || (*cursor->at != '"' && *cursor->at != '\\'))
                return lp_fail(cursor, "backslash in a string before something else than \" and \\");
        }
        if (*cursor->at == '\n' || *cursor->at == '\r' || *cursor->at == '\0')
            return lp_fail(cursor, "line feed, CR or NUL in a string");
        *to++ = *cursor->at;
    }
    if (cursor->at == cursor->end)
        return lp_fail(cursor, "string without end");
    cursor->at++;
    field->text.len = (size_t)(to - field->text.data);
    cursor->memory = to;
    if (field->text.len > 2 * 65536)
        return lp_fail(cursor, "string too long");
    return true;
}

static bool lp_digits(const char **at, const char *end) {
    const char *start = *at;

    while (*at < end && **at >= '0' && **at <= '9')
        ++*at;
    return *at > start;
}

static bool lp_integer(struct lp_cursor *cursor, const char *start, const char *stop, struct lp_field *field) {
    bool negative = *start == '-';
    uint64_t value = 0;

    for (const char *p = start + negative; p < stop; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return lp_fail(cursor, "integer too large");
        value = value * 10 + digit;
    }
    if (*stop == 'u') {
        field->type = LP_UNSIGNED;
        field->u = value;
        return !negative || lp_fail(cursor, "negative unsigned");
    }
    if (value > (uint64_t)INT64_MAX + negative)
        return lp_fail(cursor, "integer too large");
    field->type = LP_INTEGER;
    field->i = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* -?digits[.digits][e[+-]digits], or -?digits[iu] */
static bool lp_number(struct lp_cursor *cursor, struct lp_field *field) {
    const char *p = cursor->at, *start = p, *end = cursor->end;
    char *copy;

    if (*p == '-')
        p++;
    if (!lp_digits(&p, end))
        return lp_fail(cursor, "neither number nor string nor boolean");
    if (p < end && (*p == 'i' || *p == 'u')) {
        cursor->at = p + 1;
        return lp_integer(cursor, start, p, field);
    }
    if (p < end && *p == '.' && (p++, !lp_digits(&p, end)))
        return lp_fail(cursor, "no digit behind the point");
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '-' || *p == '+'))
            p++;
        if (!lp_digits(&p, end))
            return lp_fail(cursor, "no digit in the exponent");
    }
    field->type = LP_FLOAT;
    field->text = (struct lp_text){ start, (size_t)(p - start) };
    copy = malloc(field->text.len + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, start, field->text.len);
    copy[field->text.len] = '\0';
    field->f = strtod(copy, NULL);
    free(copy);
    cursor->at = p;
    return isfinite(field->f) || lp_fail(cursor, "float too large");
}

static bool lp_value(struct lp_cursor *cursor, struct lp_field *field) {
    size_t left = (size_t)(cursor->end - cursor->at);

    if (left == 0)
        return lp_fail(cursor, "field without value");
    if (*cursor->at == '"')
        return lp_string(cursor, field);
    if (left >= 4 && memcmp(cursor->at, "true", 4) == 0) {
        *field = (struct lp_field){ .key = field->key, .type = LP_BOOLEAN, .b = true };
        cursor->at += 4;
        return true;
    }
    if (left >= 5 && memcmp(cursor->at, "false", 5) == 0) {
        *field = (struct lp_field){ .key = field->key, .type = LP_BOOLEAN, .b = false };
        cursor->at += 5;
        return true;
    }
    return lp_number(cursor, field);
}

static int lp_by_key(const void *a, const void *b) {
    return lp_compare(*(const struct lp_text *)a, *(const struct lp_text *)b);
}

/* No key twice, and none that is a tag's. */
static bool lp_keys_unique(struct lp_cursor *cursor, const struct lp_point *point) {
    size_t count = point->field_count + point->tag_count;
    struct lp_text *keys = malloc(count * sizeof *keys + 1);
    bool unique = true;

    if (keys == NULL)
        abort();
    for (size_t i = 0; i < point->field_count; i++)
        keys[i] = point->fields[i].key;
    for (size_t i = 0; i < point->tag_count; i++)
        keys[point->field_count + i] = point->tags[i].key;
    qsort(keys, count, sizeof *keys, lp_by_key);
    for (size_t i = 1; i < count; i++)
        if (lp_compare(keys[i - 1], keys[i]) == 0)
            unique = false;
    free(keys);
    return unique || lp_fail(cursor, "one key twice, as field or as field and tag");
}

static bool lp_fields(struct lp_cursor *cursor, struct lp_point *point) {
    do {
        struct lp_field field = { 0 };
        cursor->at++; /* the blank before the first, a comma before the others */
        if (!lp_name(cursor, ",= ", &field.key))
            return false;
        if (*cursor->at != '=')
            return lp_fail(cursor, "field without =");
        cursor->at++;
        if (!lp_key_allowed(cursor, field.key) || !lp_value(cursor, &field))
            return false;
        point->fields = lp_grow(point->fields, point->field_count, sizeof *point->fields);
        point->fields[point->field_count++] = field;
        if (cursor->at == cursor->end)
            return lp_fail(cursor, "no stamp");
    } while (*cursor->at == ',');
    if (*cursor->at != ' ')
        return lp_fail(cursor, "something behind a value");
    return lp_keys_unique(cursor, point);
}

static bool lp_stamp(struct lp_cursor *cursor, struct lp_point *point) {
    const char *start = ++cursor->at;
    struct lp_field number = { 0 };
    const char *digits = start;

    if (digits < cursor->end && *digits == '-')
        digits++;
    cursor->at = digits;
    if (!lp_digits(&cursor->at, cursor->end) || cursor->at != cursor->end)
        return lp_fail(cursor, "bad stamp");
    if (!lp_integer(cursor, start, cursor->end, &number))
        return false;
    point->time_ns = number.i;
    if (number.i < INT64_MIN + 2 || number.i == INT64_MAX)
        return lp_fail(cursor, "stamp out of range");
    return true;
}

const char *lp_read(const char *line, size_t len, struct lp_point *point) {
    struct lp_cursor cursor = { 0 };

    *point = (struct lp_point){ .memory = malloc(len * 2 + 2) };
    if (point->memory == NULL)
        abort();
    /* The line itself is kept beside, closed by a NUL, so that one byte of look-ahead is always there. */
    memcpy(point->memory + len + 1, line, len);
    point->memory[len * 2 + 1] = '\0';
    cursor.at = point->memory + len + 1;
    cursor.end = cursor.at + len;
    cursor.memory = point->memory;
    if (len == 0 || *cursor.at == '#' || *cursor.at == ' ')
        return "empty line, comment or leading blank";
    if (!lp_is_utf8(cursor.at, len))
        return "not UTF-8";
    if (memchr(line, '\n', len) != NULL)
        return "line feed in the line";
    if (lp_name(&cursor, ", ", &point->measurement) && lp_tags(&cursor, point)) {
        if ((size_t)(cursor.at - (point->memory + len + 1)) > 61440)
            return "series key too long";
        if (lp_fields(&cursor, point))
            lp_stamp(&cursor, point);
    }
    return cursor.why;
}

void lp_free(struct lp_point *point) {
    free(point->tags);
    free(point->fields);
    free(point->memory);
    *point = (struct lp_point){ 0 };
}
