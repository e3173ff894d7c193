/* tests/unit/test_topic_parsing.c: Telegraf's topic_parsing, and the two places where we do better. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "agent/ingest/topic_parsing.h"

static struct row {
    const char *name;
    const char *topic, *measurement, *tags, *fields, *type_key, *type;
    const char *given; /* the topic of a message */
    const char *want;  /* `measurement|tag=value|...|field:value`; NULL: does not match */
    const char *err;   /* in the error's text; of the block, or with `given` of the message */
} rows[] = {
    { "names levels as tags", "plant/+/+/+", NULL, "_/line/machine/_", NULL, NULL, NULL, "plant/a/press/temperature",
      "|line=a|machine=press", NULL },
    { "names the measurement", "+/+/+", "_/_/measurement", "site/_/_", NULL, NULL, NULL, "x/y/climate",
      "climate|site=x", NULL },
    { "makes fields, strings without a type", "+/+", NULL, NULL, "_/channel", NULL, NULL, "a/7", "|channel:s7", NULL },
    { "makes int fields", "+/+", NULL, NULL, "_/channel", "channel", "int", "a/-7", "|channel:i-7", NULL },
    { "makes uint fields", "+/+", NULL, NULL, "_/channel", "channel", "uint", "a/7", "|channel:u7", NULL },
    { "makes float fields", "+/+", NULL, NULL, "_/channel", "channel", "float", "a/7.5", "|channel:f7.5", NULL },
    { "fails on a level that is no int", "+/+", NULL, NULL, "_/channel", "channel", "int", "a/b", NULL,
      "topic level 'b' of field 'channel' is not of type int" },
    { "minds literals", "plant/+", NULL, "_/line", NULL, NULL, NULL, "office/a", NULL, NULL },
    { "minds the same literal twice", "site/+/site/+", NULL, "_/a/_/b", NULL, NULL, NULL, "hall/1/site/2", NULL, NULL },
    { "takes the same literal twice", "site/+/site/+", NULL, "_/a/_/b", NULL, NULL, NULL, "site/1/site/2", "|a=1|b=2",
      NULL },
    { "minds the length", "plant/+", NULL, "_/line", NULL, NULL, NULL, "plant/a/b", NULL, NULL },
    { "an underscore in topic is a literal", "_/+", NULL, "_/line", NULL, NULL, NULL, "x/a", NULL, NULL },
    { "hash is any number of levels", "plant/#/+", NULL, "_/#/last", NULL, NULL, NULL, "plant/a/b/c", "|last=c", NULL },
    { "hash is no level too", "plant/#/+", NULL, "_/#/last", NULL, NULL, NULL, "plant/c", "|last=c", NULL },
    { "hash with too few levels", "plant/#/+", NULL, "_/#/last", NULL, NULL, NULL, "plant", NULL, NULL },
    { "literals behind a hash", "#/raw/+", NULL, "#/_/last", NULL, NULL, NULL, "a/b/raw/c", "|last=c", NULL },
    { "literals behind a hash that differ", "#/raw/+", NULL, "#/_/last", NULL, NULL, NULL, "a/b/cooked/c", NULL, NULL },
    { "measurement behind a hash", "#/+/+", "#/measurement/_", NULL, NULL, NULL, NULL, "a/b/c/d", "c", NULL },
    { "a leading slash is an empty level", "/+/+", NULL, "/a/b", NULL, NULL, NULL, "/x/y", "|a=x|b=y", NULL },
    { "without topic the length decides", NULL, NULL, "_/line/machine", NULL, NULL, NULL, "p/a/b", "|line=a|machine=b",
      NULL },
    { "without topic another length does not match", NULL, NULL, "_/line/machine", NULL, NULL, NULL, "p/a", NULL,
      NULL },
    { "the last of equal tags", "+/+", NULL, "a/a", NULL, NULL, NULL, "x/y", "|a=y", NULL },
    { "refuses two hashes", "#/a/#", NULL, "_/x/_", NULL, NULL, NULL, NULL, NULL, "one #" },
    { "refuses other lengths of tags", "a/+", NULL, "_/x/y", NULL, NULL, NULL, NULL, NULL,
      "tags has 3 levels and topic has 2" },
    { "refuses other lengths of fields", "a/+", NULL, NULL, "x", NULL, NULL, NULL, NULL, "fields has 1 levels" },
    { "refuses other lengths of measurement", "a/+", "m", NULL, NULL, NULL, NULL, NULL, NULL,
      "measurement has 1 levels" },
    { "refuses two measurements", "a/+", "m/n", NULL, NULL, NULL, NULL, NULL, NULL, "only name one level" },
    { "refuses an unknown type", "+/+", NULL, NULL, "_/c", "c", "bool", NULL, NULL,
      "type 'bool' of field 'c' is unknown" },
    { "refuses a type of nothing", "+/+", NULL, NULL, "_/c", "d", "int", NULL, NULL, "'d', which is no field" },
    { "refuses a block that does nothing", "+/+", NULL, NULL, NULL, NULL, NULL, NULL, NULL, "must be given" },
};

static void print_facts(const struct topic_facts *facts, char *out, size_t size) {
    size_t used = (size_t)snprintf(out, size, "%.*s", STR_ARGS(facts->measurement));

    for (size_t i = 0; i < facts->tag_count; i++)
        used += (size_t)snprintf(out + used, size - used, "|%.*s=%.*s", STR_ARGS(facts->tags[i].key),
                                 STR_ARGS(facts->tags[i].value));
    for (size_t i = 0; i < facts->field_count; i++) {
        struct value value = facts->fields[i].value;
        used += (size_t)snprintf(out + used, size - used, "|%.*s:", STR_ARGS(facts->fields[i].key));
        switch (value.type) {
        case VALUE_STRING:
            used += (size_t)snprintf(out + used, size - used, "s%.*s", STR_ARGS(value.as.text));
            break;
        case VALUE_INTEGER:
            used += (size_t)snprintf(out + used, size - used, "i%lld", (long long)value.as.i);
            break;
        case VALUE_UNSIGNED:
            used += (size_t)snprintf(out + used, size - used, "u%llu", (unsigned long long)value.as.u);
            break;
        default:
            used += (size_t)snprintf(out + used, size - used, "f%g", value.as.f);
        }
    }
}

static void applies_row(void **state) {
    const struct row *row = *state;
    char *type_key = (char *)(uintptr_t)row->type_key, *type = (char *)(uintptr_t)row->type;
    struct topic_parsing_options options = {
        .topic = (char *)(uintptr_t)row->topic,
        .measurement = (char *)(uintptr_t)row->measurement,
        .tags = (char *)(uintptr_t)row->tags,
        .fields = (char *)(uintptr_t)row->fields,
        .types = { .keys = &type_key, .values = &type, .count = type != NULL },
    };
    struct err err = ERR_INIT;
    struct topic_pattern pattern;
    struct topic_levels levels;
    struct topic_facts facts;
    struct arena arena;
    char got[256];
    bool matches;

    arena_init(&arena, 1 << 20);
    if (!topic_pattern_make(&options, &arena, &pattern, &err)) {
        assert_null(row->given);
        assert_non_null(strstr(err.text, row->err));
        arena_release(&arena);
        return;
    }
    assert_non_null(row->given);
    levels = topic_levels_split(str_of(row->given), &arena);
    matches = topic_pattern_matches(&pattern, &levels);
    assert_int_equal(matches, row->want != NULL || row->err != NULL);
    if (matches) {
        assert_true(topic_facts_init(&facts, &pattern, 1, &arena));
        if (topic_pattern_apply(&pattern, &levels, &facts, &err)) {
            print_facts(&facts, got, sizeof got);
            assert_string_equal(got, row->want);
        } else {
            assert_int_equal(err.code, ERR_TYPE);
            assert_non_null(strstr(err.text, row->err));
        }
    }
    arena_release(&arena);
}

int main(void) {
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct CMUnitTest tests[ROWS];

    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = applies_row, .initial_state = &rows[i] };
    return cmocka_run_group_tests_name("topic_parsing", tests, NULL, NULL);
}
