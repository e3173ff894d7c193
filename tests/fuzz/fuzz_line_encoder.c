/*
 * tests/fuzz/fuzz_line_encoder.c: random names and values; whatever comes out is read back by an independent reader and
 * must be what went in, after the replacements that line_encoder.h promises. The model here is the slow and plain way
 * to say them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/ingest/line_encoder.h"
#include "tests/support/lp_reader.c"

enum { TAGS_MAX = 12, FIELDS_MAX = 48, TEXT_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

static uint8_t next(struct input *input) {
    return input->at < input->end ? *input->at++ : 0;
}

/* Copied to a block of its exact size, so that a read past the end is seen. */
static struct str text(struct input *input, struct str *owned, size_t *owned_count) {
    size_t len = next(input) % TEXT_MAX, left = (size_t)(input->end - input->at);
    char *copy;

    if (len > left)
        len = left;
    copy = malloc(len > 0 ? len : 1);
    memcpy(copy, input->at, len);
    input->at += len;
    owned[(*owned_count)++] = str_make(copy, len);
    return str_make(copy, len);
}

static void check(bool truth, const char *what) {
    if (!truth) {
        fprintf(stderr, "failed: %s\n", what);
        abort();
    }
}

struct model_name {
    char text[TEXT_MAX * 2 + 64];
    size_t len;
};

static bool escaped(char c, bool equals) {
    return c == ',' || c == ' ' || (equals && c == '=');
}

static struct model_name model_name(struct str raw, bool is_key, bool is_measurement) {
    struct model_name name = { .len = 0 };

    if (is_measurement && raw.len > 0 && raw.data[0] == '#')
        name.text[name.len++] = '_';
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.data[i];
        if ((unsigned char)c < 32 || c == 127)
            c = '_';
        else if (c == '\\' && (i + 1 == raw.len || escaped(raw.data[i + 1], !is_measurement)))
            c = '/';
        name.text[name.len++] = c;
    }
    if (is_key) {
        static const char *const reserved[] = { "time", "_time", "_field", "_measurement" };
        for (size_t i = 0; i < 4; i++) {
            if (name.len == strlen(reserved[i]) && memcmp(name.text, reserved[i], name.len) == 0) {
                name.text[name.len++] = '_';
                break;
            }
        }
    }
    return name;
}

static bool same(struct lp_text text, const struct model_name *name) {
    return text.len == name->len && memcmp(text.data, name->text, text.len) == 0;
}

static struct value value_of(struct input *input, struct str *owned, size_t *owned_count) {
    struct value value = { .type = VALUE_BOOLEAN };
    uint64_t bits = 0;

    switch (next(input) % 6) {
    case 0:
        return value_number(text(input, owned, owned_count));
    case 1:
        return value_string(text(input, owned, owned_count));
    case 2:
        value.as.b = next(input) & 1;
        return value;
    default:
        break;
    }
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | next(input);
    switch (bits % 3) {
    case 0:
        return value_integer((int64_t)bits);
    case 1:
        return value_unsigned(bits);
    default:
        memcpy(&value.as.f, &bits, sizeof bits);
        value.type = VALUE_FLOAT;
        return value;
    }
}

static bool number_ok(struct str raw) {
    char copy[TEXT_MAX + 1], *end;
    size_t i = 0, digits = 0;

    memcpy(copy, raw.data, raw.len);
    copy[raw.len] = '\0';
    i += copy[i] == '-';
    for (; copy[i] >= '0' && copy[i] <= '9'; i++)
        digits++;
    if (digits == 0)
        return false;
    if (copy[i] == '.') {
        i++;
        if (copy[i] < '0' || copy[i] > '9')
            return false;
        while (copy[i] >= '0' && copy[i] <= '9')
            i++;
    }
    if (copy[i] == 'e' || copy[i] == 'E') {
        i++;
        i += copy[i] == '-' || copy[i] == '+';
        if (copy[i] < '0' || copy[i] > '9')
            return false;
        while (copy[i] >= '0' && copy[i] <= '9')
            i++;
    }
    return i == raw.len && isfinite(strtod(copy, &end));
}

static bool value_goes_out(const struct value *value) {
    switch (value->type) {
    case VALUE_NUMBER:
        return number_ok(value->as.text);
    case VALUE_FLOAT:
        return isfinite(value->as.f);
    default:
        return true;
    }
}

static void check_string(const struct lp_field *got, struct str raw) {
    char want[TEXT_MAX * 2];
    size_t len = 0;

    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.data[i], word = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\0' ? '0' : 0;
        if (word != 0) {
            want[len++] = '\\';
            want[len++] = word;
        } else {
            want[len++] = c;
        }
    }
    check(got->type == LP_STRING && got->text.len == len && memcmp(got->text.data, want, len) == 0, "string");
}

static void check_value(const struct lp_field *got, const struct value *value, bool influx_uint) {
    switch (value->type) {
    case VALUE_NUMBER:
        check(got->type == LP_FLOAT && got->text.len == value->as.text.len &&
                  memcmp(got->text.data, value->as.text.data, got->text.len) == 0,
              "number text");
        break;
    case VALUE_FLOAT:
        check(got->type == LP_FLOAT && memcmp(&got->f, &value->as.f, sizeof got->f) == 0, "float");
        break;
    case VALUE_INTEGER:
        check(got->type == LP_INTEGER && got->i == value->as.i, "integer");
        break;
    case VALUE_UNSIGNED:
        if (influx_uint)
            check(got->type == LP_UNSIGNED && got->u == value->as.u, "unsigned");
        else
            check(got->type == LP_INTEGER && got->i == (value->as.u > INT64_MAX ? INT64_MAX : (int64_t)value->as.u),
                  "clipped");
        break;
    case VALUE_BOOLEAN:
        check(got->type == LP_BOOLEAN && got->b == value->as.b, "boolean");
        break;
    case VALUE_STRING:
        check_string(got, value->as.text);
        break;
    }
}

static void check_tags(const struct lp_point *point, const struct tag *tags, size_t count) {
    size_t matched = 0;

    for (size_t i = 0; i < count; i++) {
        struct model_name key = model_name(tags[i].key, true, false), value = model_name(tags[i].value, false, false);
        bool first = key.len > 0 && value.len > 0;
        for (size_t j = 0; j < i && first; j++) {
            struct model_name earlier = model_name(tags[j].key, true, false);
            if (tags[j].value.len > 0 && earlier.len == key.len && memcmp(earlier.text, key.text, key.len) == 0)
                first = false;
        }
        if (!first)
            continue;
        for (size_t t = 0; t < point->tag_count; t++)
            if (same(point->tags[t].key, &key)) {
                check(same(point->tags[t].value, &value), "tag value");
                matched++;
            }
    }
    check(matched == point->tag_count, "tags");
}

/* The key that a field must have in the line. */
static struct model_name model_key(const struct lp_point *point, struct str raw) {
    struct model_name key = model_name(raw, true, false);

    for (size_t t = 0; t < point->tag_count; t++) {
        if (same(point->tags[t].key, &key)) {
            memcpy(key.text + key.len, "_field", 6);
            key.len += 6;
            t = (size_t)-1; /* from the start again */
        }
    }
    return key;
}

static void check_fields(const struct lp_point *point, const struct field *fields, size_t count, bool influx_uint) {
    size_t matched = 0;

    for (size_t i = 0; i < count; i++) {
        struct model_name key = model_key(point, fields[i].key);
        bool last = fields[i].key.len > 0;
        for (size_t j = i + 1; j < count && last; j++) {
            struct model_name later = model_key(point, fields[j].key);
            if (fields[j].key.len > 0 && later.len == key.len && memcmp(later.text, key.text, key.len) == 0)
                last = false;
        }
        if (!last || !value_goes_out(&fields[i].value))
            continue;
        for (size_t f = 0; f < point->field_count; f++)
            if (same(point->fields[f].key, &key)) {
                check_value(&point->fields[f], &fields[i].value, influx_uint);
                matched++;
            }
    }
    check(matched == point->field_count, "fields");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct line_encoder encoder;
    struct line_counters counters = { 0 };
    struct input input = { data, data + size };
    struct str owned[2 * TAGS_MAX + 2 * FIELDS_MAX + 1];
    size_t owned_count = 0, tag_count, field_count;
    struct tag tags[TAGS_MAX];
    struct field fields[FIELDS_MAX];
    struct line_prefix prefix;
    struct buf out = BUF_INIT(1 << 20);
    struct arena arena;
    struct err err = ERR_INIT;
    int64_t time_ns = 1764000000000000000 + (int64_t)size * 1234567;
    bool influx_uint = next(&input) & 1;

    line_encoder_init(&encoder, influx_uint, &counters);
    arena_init(&arena, 1 << 20);
    struct str measurement = text(&input, owned, &owned_count);
    tag_count = next(&input) % TAGS_MAX;
    field_count = next(&input) % FIELDS_MAX;
    for (size_t i = 0; i < tag_count; i++) {
        tags[i].key = text(&input, owned, &owned_count);
        tags[i].value = text(&input, owned, &owned_count);
    }
    for (size_t i = 0; i < field_count; i++) {
        fields[i].key = text(&input, owned, &owned_count);
        fields[i].value = value_of(&input, owned, &owned_count);
    }
    if (line_prefix_build(&encoder, measurement, tags, tag_count, &arena, &prefix, &err)) {
        struct model_name name = model_name(measurement, false, true);
        size_t first_len = 0;
        for (int round = 0; round < 2; round++) { /* the second time through the memo, when there is one */
            struct lp_point point;
            const char *why;
            size_t begin = out.len;
            enum line_end end = line_encode(&encoder, &prefix, fields, field_count, time_ns, &out, &arena, &err);
            check((end == LINE_WRITTEN) == (out.len > begin), "length");
            check((end == LINE_REFUSED) == (err.code != ERR_NONE), "reason");
            if (end != LINE_WRITTEN)
                break;
            check(round == 0 || out.len - begin == first_len, "the same twice");
            first_len = out.len - begin;
            check(out.data[out.len - 1] == '\n', "newline");
            why = lp_read(out.data + begin, first_len - 1, &point);
            if (why != NULL)
                fprintf(stderr, "%.*s", (int)first_len, out.data + begin);
            check(why == NULL, why);
            check(same(point.measurement, &name), "measurement");
            check(point.time_ns == time_ns, "time");
            check_tags(&point, tags, tag_count);
            check_fields(&point, fields, field_count, influx_uint);
            lp_free(&point);
        }
    }
    for (size_t i = 0; i < owned_count; i++)
        free((char *)(uintptr_t)owned[i].data);
    arena_release(&arena);
    buf_release(&out);
    return 0;
}
