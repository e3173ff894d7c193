/*
 * outputs/influxdb_route.c: see influxdb_route.h. Escapes as in line protocol: `\` before `,`, `=` or space; else
 * itself.
 */
#include "outputs/influxdb_route.h"

struct span {
    size_t start, end; /* in the line; from the comma before the key to the end of the value */
    struct str value;  /* escaped */
    bool found;
};

static bool is_escape(struct str line, size_t at) {
    if (line.data[at] != '\\' || at + 1 >= line.len)
        return false;
    char next = line.data[at + 1];
    return next == ',' || next == '=' || next == ' ';
}

/*
 * Where the element that begins at `at` ends: at an unescaped `,` or space, or `=` when that ends it; or at the line's
 * end.
 */
static size_t element_end(struct str line, size_t at, bool equals_ends) {
    while (at < line.len) {
        char c = line.data[at];
        if (is_escape(line, at))
            at += 2;
        else if (c == ',' || c == ' ' || (equals_ends && c == '='))
            break;
        else
            at++;
    }
    return at;
}

/* True when the escaped `key` reads `wanted`. */
static bool key_is(struct str key, const char *wanted) {
    size_t i = 0;

    for (; i < key.len && *wanted != '\0'; i++, wanted++) {
        if (is_escape(key, i))
            i++;
        if (key.data[i] != *wanted)
            return false;
    }
    return i == key.len && *wanted == '\0';
}

static bool wants(const struct route_tag *tag) {
    return tag->key != NULL && tag->key[0] != '\0';
}

static void find_tags(struct str line, const struct route_tag *const tags[2], struct span spans[2]) {
    size_t at = element_end(line, 0, false); /* the measurement */

    while (at < line.len && line.data[at] == ',') {
        size_t equals = element_end(line, at + 1, true);
        if (equals >= line.len || line.data[equals] != '=')
            return;
        size_t end = element_end(line, equals + 1, false);
        struct str key = str_make(line.data + at + 1, equals - at - 1);
        for (int i = 0; i < 2; i++)
            if (wants(tags[i]) && !spans[i].found && key_is(key, tags[i]->key))
                spans[i] = (struct span){ at, end, str_make(line.data + equals + 1, end - equals - 1), true };
        at = end;
    }
}

/* The caller has reserved the room. */
static void append_unescaped(struct buf *out, struct str value) {
    for (size_t i = 0; i < value.len; i++) {
        if (is_escape(value, i))
            i++;
        buf_append_char(out, value.data[i]);
    }
}

static bool has_escape(struct str value) {
    return value.len > 0 && memchr(value.data, '\\', value.len) != NULL;
}

static struct str make_target(const struct span spans[2], struct buf *scratch) {
    size_t start = scratch->len;

    if (!spans[0].found && !spans[1].found)
        return STR_EMPTY;
    if (!spans[1].found && !has_escape(spans[0].value))
        return spans[0].value;
    append_unescaped(scratch, spans[0].value);
    if (spans[1].found) {
        buf_append_char(scratch, ROUTE_SEPARATOR);
        append_unescaped(scratch, spans[1].value);
    }
    return str_make(scratch->data + start, scratch->len - start);
}

static struct str cut_out(struct str line, const struct span spans[2], const struct route_tag *const tags[2],
                          struct buf *scratch) {
    const struct span *cuts[2] = { NULL, NULL };
    size_t start = scratch->len, from = 0, count = 0;

    for (int i = 0; i < 2; i++)
        if (spans[i].found && tags[i]->exclude)
            cuts[count++] = &spans[i];
    if (count == 0)
        return line;
    if (count == 2 && cuts[0]->start > cuts[1]->start) {
        const struct span *later = cuts[0];
        cuts[0] = cuts[1];
        cuts[1] = later;
    }
    for (size_t i = 0; i < count; i++) {
        if (cuts[i]->start > from)
            buf_append(scratch, line.data + from, cuts[i]->start - from);
        from = cuts[i]->end;
    }
    buf_append(scratch, line.data + from, line.len - from);
    return str_make(scratch->data + start, scratch->len - start);
}

void influxdb_route(const struct route_tag *first, const struct route_tag *second, struct str *line, struct str *target,
                    struct buf *scratch) {
    static const struct route_tag none = { NULL, false };
    const struct route_tag *const tags[2] = { first, second != NULL ? second : &none };
    struct span spans[2] = { { .found = false }, { .found = false } };

    *target = STR_EMPTY;
    find_tags(*line, tags, spans);
    /*
     * Once, so that what points into it stays right: the target and the line are both shorter than the line and a
     * byte.
     */
    if (!buf_reserve(scratch, 2 * line->len + 2))
        return;
    *target = make_target(spans, scratch);
    *line = cut_out(*line, spans, tags, scratch);
}
