/* tests/unit/test_filter.c: Telegraf's selectors and modifiers, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agent/ingest/filter.h"

/* One point: measurement `cpu`, tags host=a1 and zone=west, asked for field or tag keys as named. */
static struct row {
    const char *name, *yaml;
    bool selected;
    const char *field; /* asked for when given */
    bool field_kept;
    const char *tag;
    bool tag_kept;
} rows[] = {
    { "nothing given lets all through", "{}", true, "x", true, "host", true },
    { "namepass literal", "namepass: [cpu]", true, NULL, 0, NULL, 0 },
    { "namepass is a whole match", "namepass: [cp]", false, NULL, 0, NULL, 0 },
    { "namepass one of several", "namepass: [mem, 'c?u']", true, NULL, 0, NULL, 0 },
    { "namepass alternatives", "namepass: ['{mem,cpu}']", true, NULL, 0, NULL, 0 },
    { "namepass class", "namepass: ['[a-d]pu']", true, NULL, 0, NULL, 0 },
    { "namedrop", "namedrop: ['c*']", false, NULL, 0, NULL, 0 },
    { "namedrop of others", "namedrop: ['m*']", true, NULL, 0, NULL, 0 },
    { "drop wins over pass", "{namepass: ['c*'], namedrop: [cpu]}", false, NULL, 0, NULL, 0 },
    { "tagpass", "tagpass: {host: ['a*']}", true, NULL, 0, NULL, 0 },
    { "tagpass other value", "tagpass: {host: ['b*']}", false, NULL, 0, NULL, 0 },
    { "tagpass of a tag that is not there", "tagpass: {rack: ['*']}", false, NULL, 0, NULL, 0 },
    { "tagpass: one of the keys is enough", "tagpass: {host: [b], zone: [west]}", true, NULL, 0, NULL, 0 },
    { "tagdrop", "tagdrop: {zone: [west]}", false, NULL, 0, NULL, 0 },
    { "tagdrop other value", "tagdrop: {zone: [east]}", true, NULL, 0, NULL, 0 },
    { "tagdrop wins over tagpass", "{tagpass: {host: [a1]}, tagdrop: {zone: [west]}}", false, NULL, 0, NULL, 0 },
    { "fieldinclude keeps", "fieldinclude: ['usage_*']", true, "usage_user", true, NULL, 0 },
    { "fieldinclude removes others", "fieldinclude: ['usage_*']", true, "time_user", false, NULL, 0 },
    { "fieldpass is the same", "fieldpass: ['usage_*']", true, "time_user", false, NULL, 0 },
    { "both names together", "{fieldpass: [a], fieldinclude: [b]}", true, "a", true, NULL, 0 },
    { "fieldexclude removes", "fieldexclude: ['time_*']", true, "time_user", false, NULL, 0 },
    { "fielddrop is the same", "fielddrop: ['time_*']", true, "time_user", false, NULL, 0 },
    { "fieldexclude wins", "{fieldinclude: ['*'], fieldexclude: [a]}", true, "a", false, NULL, 0 },
    { "taginclude", "taginclude: [host]", true, NULL, 0, "zone", false },
    { "tagexclude", "tagexclude: ['z*']", true, NULL, 0, "zone", false },
    { "tagexclude of others", "tagexclude: ['z*']", true, NULL, 0, "host", true },
};

static struct name_row {
    const char *name, *yaml, *want;
} name_rows[] = {
    { "name as it is", "{}", "cpu" },
    { "name_override", "name_override: x", "x" },
    { "name_prefix", "name_prefix: p_", "p_cpu" },
    { "name_suffix", "name_suffix: _s", "cpu_s" },
    { "all three", "{name_override: x, name_prefix: p_, name_suffix: _s}", "p_x_s" },
    { "an empty override is none", "name_override: ''", "cpu" },
};

static struct bad_row {
    const char *name, *yaml, *text;
} bad_rows[] = {
    { "unclosed bracket", "namepass: ['a[b']", "[ without ]" },
    { "unclosed brace", "fieldexclude: ['a{b,c']", "{ without }" },
    { "trailing backslash", "taginclude: ['a\\']", "ends in a backslash" },
    { "in tagpass too", "tagpass: {x: ['[']}", "[ without ]" },
};

struct site {
    struct arena arena;
    struct diags diags;
    struct ingest_filter filter;
};

static bool site_open(struct site *site, const char *yaml, struct err *err) {
    struct cfg_binding binding = { ingest_filter_options, &site->filter };

    memset(site, 0, sizeof *site);
    arena_init(&site->arena, 1 << 20);
    assert_true(cfg_read(yaml_parse("f.yaml", str_of(yaml), &site->arena, &site->diags), "filter", &binding, 1,
                         &site->arena, &site->diags));
    return ingest_filter_init(&site->filter, err);
}

static void site_close(struct site *site) {
    ingest_filter_fini(&site->filter);
    diags_release(&site->diags);
    arena_release(&site->arena);
}

static void filters_row(void **state) {
    const struct tag tags[] = { { STR("host"), STR("a1") }, { STR("zone"), STR("west") } };
    const struct row *row = *state;
    struct err err = ERR_INIT;
    struct site site;

    assert_true(site_open(&site, row->yaml, &err));
    assert_int_equal(filter_selects(&site.filter, STR("cpu"), tags, 2), row->selected);
    if (row->field != NULL)
        assert_int_equal(filter_keeps_field(&site.filter, str_of(row->field)), row->field_kept);
    if (row->tag != NULL)
        assert_int_equal(filter_keeps_tag(&site.filter, str_of(row->tag)), row->tag_kept);
    assert_int_equal(ingest_filter_is_empty(&site.filter), strcmp(row->yaml, "{}") == 0);
    site_close(&site);
}

static void renames_row(void **state) {
    const struct name_row *row = *state;
    struct err err = ERR_INIT;
    struct site site;
    struct str name;

    assert_true(site_open(&site, row->yaml, &err));
    name = filter_rename(&site.filter, STR("cpu"), &site.arena);
    assert_int_equal(name.len, strlen(row->want));
    assert_memory_equal(name.data, row->want, name.len);
    site_close(&site);
}

static void refuses_row(void **state) {
    const struct bad_row *row = *state;
    struct err err = ERR_INIT;
    struct site site;

    assert_false(site_open(&site, row->yaml, &err));
    assert_non_null(strstr(err.text, row->text));
    site_close(&site);
}

#define ROW_TESTS(table, function)                                                                                     \
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)                                                        \
        tests[count++] = (struct CMUnitTest) {                                                                         \
            .name = table[i].name, .test_func = function, .initial_state = &table[i]                                   \
        }

int main(void) {
    struct CMUnitTest tests[64];
    size_t count = 0;

    ROW_TESTS(rows, filters_row);
    ROW_TESTS(name_rows, renames_row);
    ROW_TESTS(bad_rows, refuses_row);
    return _cmocka_run_group_tests("filter", tests, count, NULL, NULL);
}
