/*
 * tests/fuzz/fuzz_parsers.c: every parser of the registry with several sets of options. The first byte picks the set. Whatever comes
 * in: a refusal has words and leaves nothing behind; what is accepted is clean; a parser that has seen other messages answers as a new one.
 */
#include "tests/support/parser_fixture.h"

static const struct {
    const char *format, *options;
} sets[] = {
    { "json", "" },
    { "json", "json_strings=all json_booleans=keep json_integers=exact" },
    { "json", "json_lenient=true json_strings=all json_booleans=integer json_canonical_numbers=true" },
    { "json", "tag_keys=a*,t json_name_key=n json_time_key=time json_time_format=auto json_strict=false json_string_fields=s*" },
    { "json", "json_time_key=time json_time_format=2006-01-02T15:04:05Z07:00" },
    { "json", "json_time_key=t json_time_format=UnixDate json_timezone=Europe/Berlin json_strict=false" },
    { "json", "json_time_key=t json_time_format=Jan~_2~3:04:05.000~pm~002 json_lenient=true" },
    { "json", "json_query=a.#.b json_strings=all" },
    { "json", "json_query=?a*.0 json_lenient=true" },
    { "json", "json_query=#.a\\.b.#.c tag_keys=*x" },
    { "influx", "" },
    { "influx", "influx_skip_bad_lines=true influx_timestamp_precision=1s" },
    { "value", "" },
    { "value", "data_type=float" },
    { "value", "data_type=auto_float value_strict=true" },
    { "value", "data_type=string" },
    { "value", "data_type=base64" },
    { "value", "data_type=boolean" },
};
enum { SETS = sizeof sets / sizeof sets[0], RECEIVED_S = 1793000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool fine, const char *what) {
    if (!fine) {
        fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

static void check_value(const struct value *value) {
    double d;

    switch (value->type) {
    case VALUE_NUMBER:
        check(value->as.text.len > 0 && (value->as.text.data[0] == '-' || value->as.text.data[0] >= '0'), "number begins as one");
        check(value->as.text.data[0] != '+' && str_to_double(value->as.text, &d), "number is one, in range");
        return;
    case VALUE_STRING:
        check(str_is_utf8(value->as.text), "string is UTF-8");
        return;
    case VALUE_FLOAT:
        check(value->as.f - value->as.f == 0, "float is finite");
        return;
    default:
        return;
    }
}

/* Also that no key comes twice; quadratic, so only in small points. */
static void check_point(struct points *points, const struct point *point) {
    check(point->field_count > 0, "a point has fields");
    check(point->first_field + point->field_count <= points->field_count, "fields are inside");
    check(point->first_tag + point->tag_count <= points->tag_count, "tags are inside");
    for (uint32_t i = 0; i < point->field_count; i++) {
        const struct field *field = point_fields(points, point) + i;
        check(field->key.len > 0 && str_is_utf8(field->key), "field key");
        check_value(&field->value);
        for (uint32_t j = 0; j < i && i < 64; j++)
            check(!str_eq(field->key, point_fields(points, point)[j].key), "a field comes once");
    }
    for (uint32_t i = 0; i < point->tag_count; i++) {
        const struct tag *tag = point_tags(points, point) + i;
        check(tag->key.len > 0 && str_is_utf8(tag->key) && str_is_utf8(tag->value), "tag");
        for (uint32_t j = 0; j < i && i < 64; j++)
            check(!str_eq(tag->key, point_tags(points, point)[j].key), "a tag comes once");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct parser_fixture warm[SETS];
    static struct buf texts[2] = { BUF_INIT(64 << 20), BUF_INIT(64 << 20) };
    struct parser_fixture fresh;
    unsigned set = size > 0 ? data[0] % SETS : 0;
    const struct parser_type *type = parser_find(sets[set].format);
    struct str payload = { (const char *)data + (size > 0), size - (size > 0) };
    bool fine;

    if (warm[set].type == NULL)
        check(fixture_init(&warm[set], type, sets[set].options), "init");
    check(fixture_init(&fresh, type, sets[set].options), "init");
    fine = fixture_parse(&warm[set], payload, RECEIVED_S * 1000000000LL);
    check(fixture_parse(&fresh, payload, RECEIVED_S * 1000000000LL) == fine, "the same answer from a new parser");
    if (fine) {
        for (size_t i = 0; i < fresh.out.count; i++)
            check_point(&fresh.out, &fresh.out.items[i]);
        check(strcmp(fixture_print(&warm[set].out, &texts[0]), fixture_print(&fresh.out, &texts[1])) == 0, "the same points");
        check(warm[set].out.omitted == fresh.out.omitted, "the same count");
    } else {
        check(fresh.err.code != ERR_NONE && fresh.err.text[0] != '\0', "words");
        check(strcmp(fresh.err.text, warm[set].err.text) == 0, "the same words");
        check(fresh.out.count + fresh.out.tag_count + fresh.out.field_count + fresh.out.omitted == 0, "nothing left behind");
    }
    fixture_release(&fresh);
    return 0;
}
