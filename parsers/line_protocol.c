/*
 * parsers/line_protocol.c: the payload is InfluxDB line protocol: `m,t=a f=1i,g="x" 1700000000000000000`, one point a line. Names
 * and values come out raw (unescaped); the line encoder escapes them again. As in Telegraf one bad line fails the whole payload;
 * influx_skip_bad_lines keeps the good ones and counts the bad.
 */
#include "parsers/parser.h"

struct influx_parser {
    int64_t precision_ns;
    int type; /* Telegraf's choice between two readers: no effect */
    bool skip_bad_lines;
};

static const char *const reader_names[] = { "internal", "upstream", NULL };

#define AT(member) offsetof(struct influx_parser, member)

static const struct cfg_field influx_options[] = {
    { .key = "influx_timestamp_precision", .type = CFG_DURATION, .offset = AT(precision_ns), .fallback = "1ns",
      .help = "Unit of the timestamps in the payload: 1ns, 1us, 1ms or 1s." },
    { .key = "influx_skip_bad_lines", .type = CFG_BOOL, .offset = AT(skip_bad_lines), .fallback = "false",
      .help = "Leave out and count lines that cannot be read; false: one bad line makes the whole payload a dead letter, as in "
              "Telegraf." },
    { .key = "influx_parser_type", .type = CFG_ENUM, .offset = AT(type), .fallback = "internal", .names = reader_names,
      .flags = CFG_IGNORED, .help = "there is one reader here, faster than both of Telegraf's" },
    CFG_END,
};

struct line_reader {
    const char *at, *end;     /* what is left of the payload */
    const char *line_start;
    size_t line;              /* from 1 */
    int64_t precision_ns;
    struct points *out;
    struct err *err;
};

static bool fail(const struct line_reader *reader, const char *wanted) {
    size_t column = (size_t)(reader->at - reader->line_start) + 1;

    if (reader->at == reader->end || *reader->at == '\n')
        return err_set(reader->err, ERR_SYNTAX, "expected %s at line %zu:%zu, found the end of the line", wanted, reader->line,
                       column);
    if (*reader->at < 0x20 || *reader->at == 0x7F)
        return err_set(reader->err, ERR_SYNTAX, "expected %s at line %zu:%zu, found byte 0x%02x", wanted, reader->line, column,
                       (unsigned char)*reader->at);
    return err_set(reader->err, ERR_SYNTAX, "expected %s at line %zu:%zu, found '%c'", wanted, reader->line, column, *reader->at);
}

static bool fail_full(const struct line_reader *reader) {
    return err_set(reader->err, ERR_LIMIT, "the payload makes too many points or values");
}

/* --- reading --- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}

static void skip_blanks(struct line_reader *reader) {
    while (reader->at < reader->end && is_blank(*reader->at))
        reader->at++;
}

static bool is_at(const struct line_reader *reader, char c) {
    return reader->at < reader->end && *reader->at == c;
}

/* At a line feed (CR before it included) or at the end of the payload. */
static bool is_line_end(const struct line_reader *reader) {
    size_t left = (size_t)(reader->end - reader->at);

    return left == 0 || *reader->at == '\n' || (*reader->at == '\r' && (left == 1 || reader->at[1] == '\n'));
}

static bool is_one_of(char c, const char *set) {
    return c != '\0' && strchr(set, c) != NULL;
}

/* `text` without the backslashes that stand before one of `escapable`; every other backslash is a plain byte. */
static bool unescape(struct line_reader *reader, struct str text, const char *escapable, struct str *out) {
    char *copy = arena_alloc(&reader->out->arena, text.len), *to = copy;

    if (copy == NULL)
        return fail_full(reader);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\\' && i + 1 < text.len && is_one_of(text.data[i + 1], escapable))
            i++;
        *to++ = text.data[i];
    }
    *out = str_make(copy, (size_t)(to - copy));
    return true;
}

/* A name or tag value: up to an unescaped byte of `stops`, a blank, or the end of the line. */
static bool take_element(struct line_reader *reader, const char *what, const char *stops, const char *escapable, struct str *out) {
    const char *start = reader->at;
    struct str text;
    bool escaped = false;

    for (; reader->at < reader->end; reader->at++) {
        char c = *reader->at;
        if (c == '\\' && reader->at + 1 < reader->end && is_one_of(reader->at[1], escapable)) {
            escaped = true;
            reader->at++;
        } else if (is_blank(c) || c == '\n' || c == '\r' || is_one_of(c, stops)) {
            break;
        }
    }
    text = str_make(start, (size_t)(reader->at - start));
    if (text.len == 0)
        return fail(reader, what);
    if (!str_is_utf8(text))
        return err_set(reader->err, ERR_SYNTAX, "%s at line %zu is not valid UTF-8", what, reader->line);
    if (escaped)
        return unescape(reader, text, escapable, out);
    *out = text;
    return true;
}

static bool take_tags(struct line_reader *reader) {
    struct str key, value;

    while (is_at(reader, ',')) {
        reader->at++;
        if (!take_element(reader, "a tag key", ",=", ",= ", &key))
            return false;
        if (!is_at(reader, '='))
            return fail(reader, "'=' after a tag key");
        reader->at++;
        if (!take_element(reader, "a tag value", ",=", ",= ", &value))
            return false;
        if (is_at(reader, '='))
            return fail(reader, "',' or a blank after a tag value");
        if (!points_add_tag(reader->out, key, value))
            return fail_full(reader);
    }
    return true;
}

/* `at` stands behind the opening quote. Line feeds are part of the string. */
static bool take_string(struct line_reader *reader, struct value *out) {
    const char *start = reader->at;
    bool escaped = false;
    struct str text;

    for (; reader->at < reader->end && *reader->at != '"'; reader->at++) {
        if (*reader->at == '\\' && reader->at + 1 < reader->end && is_one_of(reader->at[1], "\"\\")) {
            escaped = true;
            reader->at++;
        }
        if (*reader->at == '\n') {
            reader->line++;
            reader->line_start = reader->at + 1;
        }
    }
    if (reader->at == reader->end)
        return fail(reader, "the closing quote of a string");
    text = str_make(start, (size_t)(reader->at++ - start));
    if (!str_is_utf8(text))
        return err_set(reader->err, ERR_SYNTAX, "a string at line %zu is not valid UTF-8", reader->line);
    if (escaped && !unescape(reader, text, "\"\\", &text))
        return false;
    *out = value_string(text);
    return true;
}

/* JSON's grammar, so that the text can go out as it came in. */
static bool is_plain_number(struct str text) {
    size_t i = text.data[0] == '-', start = i;

    while (i < text.len && text.data[i] >= '0' && text.data[i] <= '9')
        i++;
    if (i == start || (text.data[start] == '0' && i > start + 1))
        return false;
    if (i < text.len && text.data[i] == '.') {
        start = ++i;
        while (i < text.len && text.data[i] >= '0' && text.data[i] <= '9')
            i++;
        return i > start && i == text.len && text.len < 300;
    }
    return i == text.len && text.len < 300;
}

static bool to_boolean(struct str word, struct value *out) {
    static const char *const words[] = { "f", "F", "false", "False", "FALSE", "t", "T", "true", "True", "TRUE" };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_eq_c(word, words[i])) {
            *out = value_boolean(i >= 5);
            return true;
        }
    return false;
}

/* A number or a boolean, by its last byte. */
static bool to_value(struct str word, struct value *out) {
    struct str body = { word.data, word.len - 1 };
    double d;

    if (word.data[0] == '+')
        return false;
    switch (word.data[word.len - 1]) {
    case 'i':
        out->type = VALUE_INTEGER;
        return body.len > 0 && str_to_int64(body, &out->as.i);
    case 'u':
        out->type = VALUE_UNSIGNED;
        return body.len > 0 && str_to_uint64(body, &out->as.u);
    }
    if (is_plain_number(word)) {
        *out = value_number(word);
        return true;
    }
    if (str_to_double(word, &d)) {
        *out = value_float(d);
        return true;
    }
    return to_boolean(word, out);
}

static bool take_value(struct line_reader *reader, struct value *out) {
    const char *start = reader->at;
    struct str word;

    if (is_at(reader, '"')) {
        reader->at++;
        return take_string(reader, out);
    }
    while (!is_line_end(reader) && !is_blank(*reader->at) && *reader->at != ',')
        reader->at++;
    word = str_make(start, (size_t)(reader->at - start));
    if (word.len > 0 && to_value(word, out))
        return true;
    reader->at = start;
    return fail(reader, "a number, an integer with i or u in range, a boolean or a string in quotes");
}

static bool take_fields(struct line_reader *reader) {
    struct str key;
    struct value value;

    for (;; reader->at++) {
        if (!take_element(reader, "a field key", ",=", ",= ", &key))
            return false;
        if (!is_at(reader, '='))
            return fail(reader, "'=' after a field key");
        reader->at++;
        if (!take_value(reader, &value))
            return false;
        if (!points_add_field(reader->out, key, value))
            return fail_full(reader);
        if (!is_at(reader, ','))
            return true;
    }
}

/* The timestamp, if there is one. */
static bool take_time(struct line_reader *reader, struct point *point) {
    const char *start = reader->at;
    struct str digits;
    int64_t value;

    if (is_line_end(reader))
        return true;
    while (!is_line_end(reader) && !is_blank(*reader->at))
        reader->at++;
    digits = str_make(start, (size_t)(reader->at - start));
    if (digits.data[0] == '+' || !str_to_int64(digits, &value) || value > INT64_MAX / reader->precision_ns ||
        value < INT64_MIN / reader->precision_ns) {
        reader->at = start;
        return fail(reader, "a timestamp that fits 64 bits of nanoseconds");
    }
    point->time_ns = value * reader->precision_ns;
    point->has_time = true;
    return true;
}

/* --- a key that comes twice: the last value counts, as in Telegraf --- */

enum { FEW = 24 };

/* One array of keys, tags or fields, `stride` bytes apart. */
static struct str *key_at(void *first, size_t stride, size_t i) {
    return (struct str *)(void *)((char *)first + i * stride);
}

/* Marks with data == NULL every key that comes again later. `seen` has a power of two of slots, more than `count`. */
static size_t mark_repeated(void *first, size_t stride, size_t count, uint32_t *seen, size_t slots) {
    size_t marked = 0;

    memset(seen, 0xFF, slots * sizeof *seen);
    for (size_t i = count; i-- > 0;) {
        struct str *key = key_at(first, stride, i);
        size_t slot = str_hash(*key) & (slots - 1);
        while (seen[slot] != UINT32_MAX && !str_eq(*key_at(first, stride, seen[slot]), *key))
            slot = (slot + 1) & (slots - 1);
        if (seen[slot] == UINT32_MAX) {
            seen[slot] = (uint32_t)i;
        } else {
            key->data = NULL;
            marked++;
        }
    }
    return marked;
}

static bool has_repeated_few(void *first, size_t stride, size_t count) {
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(*key_at(first, stride, i), *key_at(first, stride, j)))
                return true;
    return false;
}

/* Drops all but the last element of each key; the new count, or SIZE_MAX without memory. Tags and fields begin with their key. */
static size_t drop_repeated(struct arena *arena, void *first, size_t stride, size_t count) {
    struct arena_mark mark = arena_mark(arena);
    size_t slots = 2 * FEW, kept = 0;
    uint32_t *seen;

    if (count <= FEW && !has_repeated_few(first, stride, count))
        return count;
    for (slots = 64; slots < 2 * count;)
        slots *= 2;
    seen = arena_alloc(arena, slots * sizeof *seen);
    if (seen == NULL)
        return SIZE_MAX;
    if (mark_repeated(first, stride, count, seen, slots) == 0)
        kept = count;
    else
        for (size_t i = 0; i < count; i++)
            if (key_at(first, stride, i)->data != NULL)
                memmove(key_at(first, stride, kept++), key_at(first, stride, i), stride);
    arena_rewind(arena, mark);
    return kept;
}

static bool drop_duplicates(struct line_reader *reader, struct point *point) {
    struct points *out = reader->out;
    size_t tags = point->tag_count, fields = point->field_count;

    if (tags > 1)
        tags = drop_repeated(&out->arena, point_tags(out, point), sizeof *out->tags, tags);
    if (fields > 1)
        fields = drop_repeated(&out->arena, point_fields(out, point), sizeof *out->fields, fields);
    if (tags == SIZE_MAX || fields == SIZE_MAX)
        return fail_full(reader);
    out->omitted += point->tag_count - tags + point->field_count - fields;
    out->tag_count = point->first_tag + tags;
    out->field_count = point->first_field + fields;
    point->tag_count = (uint32_t)tags;
    point->field_count = (uint32_t)fields;
    return true;
}

/* --- lines --- */

/* One line that holds a point, up to its end. */
static bool take_point(struct line_reader *reader) {
    struct point *point = points_add(reader->out);

    if (point == NULL)
        return fail_full(reader);
    if (!take_element(reader, "a measurement", ",", ", ", &point->measurement) || !take_tags(reader))
        return false;
    if (reader->at == reader->end || !is_blank(*reader->at))
        return fail(reader, "a blank before the fields");
    skip_blanks(reader);
    if (!take_fields(reader))
        return false;
    if (!is_line_end(reader) && !is_blank(*reader->at))
        return fail(reader, "',' or a blank after a field");
    skip_blanks(reader);
    if (!take_time(reader, point))
        return false;
    skip_blanks(reader);
    if (!is_line_end(reader))
        return fail(reader, "the end of the line");
    return drop_duplicates(reader, point);
}

/* To the first byte of the next line. */
static void next_line(struct line_reader *reader) {
    const char *feed = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));

    reader->at = feed != NULL ? feed + 1 : reader->end;
    reader->line_start = reader->at;
    reader->line++;
}

/* Undoes what a bad line has made, and goes on behind its first line feed. */
static void skip_bad_line(struct line_reader *reader, struct points_mark before, const struct line_reader *start) {
    points_rewind(reader->out, before);
    reader->out->omitted++;
    reader->at = start->at;
    reader->line_start = start->line_start;
    reader->line = start->line;
}

static bool read_lines(struct line_reader *reader, bool skip_bad) {
    for (; reader->at < reader->end; next_line(reader)) {
        struct line_reader start = *reader;
        struct points_mark before = points_mark(reader->out);
        uint64_t omitted = reader->out->omitted;
        struct err own = ERR_INIT, *outer = reader->err;
        skip_blanks(reader);
        if (is_line_end(reader) || is_at(reader, '#'))
            continue;
        if (skip_bad)
            reader->err = &own;
        if (!take_point(reader)) {
            if (!skip_bad)
                return false;
            reader->err = outer;
            if (own.code == ERR_LIMIT)
                return err_set(outer, ERR_LIMIT, "%s", own.text);
            reader->out->omitted = omitted;
            if (reader->out->notes != NULL)
                points_note(reader->out, STR("a line (influx_skip_bad_lines)"), own.text);
            skip_bad_line(reader, before, &start);
        }
        reader->err = outer;
    }
    return true;
}

static bool influx_parse(void *self, const struct message *message, struct points *out, struct err *err) {
    const struct influx_parser *parser = self;
    struct points_mark before = points_mark(out);
    uint64_t omitted = out->omitted;
    struct str payload = message->payload;
    struct line_reader reader;

    while (payload.len > 0 && payload.data[payload.len - 1] == '\0')
        payload.len--;
    if (str_starts_with(payload, STR("\xEF\xBB\xBF")))
        payload = str_make(payload.data + 3, payload.len - 3);
    reader = (struct line_reader){ .at = payload.data, .end = payload.data + payload.len, .line_start = payload.data,
                                   .line = 1, .precision_ns = parser->precision_ns, .out = out, .err = err };
    if (payload.len == 0 || read_lines(&reader, parser->skip_bad_lines))
        return true;
    points_rewind(out, before);
    out->omitted = omitted;
    return false;
}

static bool influx_init(void *self, struct err *err) {
    const struct influx_parser *parser = self;

    if (parser->precision_ns == 1 || parser->precision_ns == 1000 || parser->precision_ns == 1000000 ||
        parser->precision_ns == 1000000000)
        return true;
    return err_set(err, ERR_UNSUPPORTED, "influx_timestamp_precision must be 1ns, 1us, 1ms or 1s");
}

const struct parser_type parser_influx = {
    .name = "influx",
    .summary = "InfluxDB line protocol.",
    .state_size = sizeof(struct influx_parser),
    .options = influx_options,
    .init = influx_init,
    .parse = influx_parse,
};
