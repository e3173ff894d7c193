/* tests/unit/test_topic_filter.c: MQTT 5 section 4.7 and 4.8.2, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "agent/base/topic_filter.h"

enum ask { VALID, MATCH, COVERS };

static struct row {
    const char *name;
    enum ask ask;
    const char *filter, *other;
    bool want;
} rows[] = {
    { "accepts a plain filter", VALID, "a/b/c", NULL, true },
    { "accepts empty levels", VALID, "/a//b/", NULL, true },
    { "accepts a lone hash", VALID, "#", NULL, true },
    { "accepts a lone plus", VALID, "+", NULL, true },
    { "accepts plus in the middle", VALID, "a/+/c/#", NULL, true },
    { "accepts a shared filter", VALID, "$share/g/a/+", NULL, true },
    { "accepts a shared filter with leading slash", VALID, "$share/g//a", NULL, true },
    { "accepts UTF-8", VALID, "w\xC3\xA4rme/#", NULL, true },
    { "refuses nothing", VALID, "", NULL, false },
    { "refuses a hash that is not last", VALID, "a/#/b", NULL, false },
    { "refuses a hash glued to a word", VALID, "a/b#", NULL, false },
    { "refuses a plus glued to a word", VALID, "a+/b", NULL, false },
    { "refuses two wildcards in one level", VALID, "a/++", NULL, false },
    { "refuses broken UTF-8", VALID, "a/\xC3/b", NULL, false },
    { "refuses a share without filter", VALID, "$share/g", NULL, false },
    { "refuses a share with empty filter", VALID, "$share/g/", NULL, false },
    { "refuses a share with empty group", VALID, "$share//a", NULL, false },
    { "refuses a share with wildcard group", VALID, "$share/+/a", NULL, false },
    { "refuses a bad filter behind a share", VALID, "$share/g/a/#/b", NULL, false },

    { "matches itself", MATCH, "a/b", "a/b", true },
    { "minds case", MATCH, "a/B", "a/b", false },
    { "plus matches one level", MATCH, "a/+/c", "a/b/c", true },
    { "plus matches an empty level", MATCH, "a/+/c", "a//c", true },
    { "plus does not match two levels", MATCH, "a/+", "a/b/c", false },
    { "plus does not match a missing level", MATCH, "a/+", "a", false },
    { "hash matches all below", MATCH, "a/#", "a/b/c", true },
    { "hash matches the parent", MATCH, "a/#", "a", true },
    { "hash matches an empty level below", MATCH, "a/#", "a/", true },
    { "hash matches no sibling with the same start", MATCH, "a/#", "ab", false },
    { "lone hash matches a leading slash", MATCH, "#", "/a", true },
    { "plus plus matches a leading slash", MATCH, "+/+", "/a", true },
    { "a leading slash counts", MATCH, "a/b", "/a/b", false },
    { "a trailing slash counts", MATCH, "a/b", "a/b/", false },
    { "hash keeps off $SYS", MATCH, "#", "$SYS/uptime", false },
    { "plus keeps off $SYS", MATCH, "+/uptime", "$SYS/uptime", false },
    { "a written $SYS matches", MATCH, "$SYS/#", "$SYS/uptime", true },
    { "a dollar deeper is a letter", MATCH, "a/#", "a/$b", true },
    { "a share matches what its filter does", MATCH, "$share/g/a/+", "a/b", true },
    { "a share matches only that", MATCH, "$share/g/a/+", "b/b", false },
    { "a share keeps off $SYS", MATCH, "$share/g/#", "$SYS/uptime", false },
    { "hash after plus", MATCH, "+/b/#", "a/b", true },
    { "an empty topic matches nothing", MATCH, "#", "", false },

    { "covers itself", COVERS, "a/b", "a/b", true },
    { "hash covers all", COVERS, "#", "+/b/#", true },
    { "hash covers the parent", COVERS, "a/#", "a", true },
    { "hash covers hash below", COVERS, "a/#", "a/b/#", true },
    { "plus covers a word", COVERS, "a/+", "a/b", true },
    { "plus covers plus", COVERS, "a/+", "a/+", true },
    { "plus does not cover hash", COVERS, "a/+", "a/#", false },
    { "a word does not cover plus", COVERS, "a/b", "a/+", false },
    { "plus hash is hash", COVERS, "+/#", "#", true },
    { "plus hash below does not cover the parent", COVERS, "a/+/#", "a/#", false },
    { "hash does not cover $SYS", COVERS, "#", "$SYS/#", false },
    { "plus hash does not cover $SYS", COVERS, "+/#", "$SYS/#", false },
    { "shorter does not cover longer", COVERS, "a", "a/b", false },
    { "longer does not cover shorter", COVERS, "a/b", "a", false },
    { "looks through shares", COVERS, "$share/x/a/#", "$share/y/a/b", true },
};

static struct fault_row {
    const char *name, *filter;
    enum topic_filter_fault want;
} faults[] = {
    { "names nothing for a good filter", "a/+/#", TOPIC_FILTER_FINE },
    { "names nothing for a good share", "$share/g/+/a/#", TOPIC_FILTER_FINE },
    { "names an empty filter", "", TOPIC_FILTER_EMPTY },
    { "names a hash that is not last", "a/#/b", TOPIC_FILTER_BAD_HASH },
    { "names a hash before an empty level", "#/", TOPIC_FILTER_BAD_HASH },
    { "names a hash glued to a plus", "a/+#", TOPIC_FILTER_BAD_HASH },
    { "names a plus glued to a word", "a/b+", TOPIC_FILTER_BAD_PLUS },
    { "names a plus with a plus", "++", TOPIC_FILTER_BAD_PLUS },
    { "names a share without a group", "$share//a", TOPIC_FILTER_NO_GROUP },
    { "names a share whose group is a wildcard", "$share/#/a", TOPIC_FILTER_NO_GROUP },
    { "names a share without a filter", "$share/g", TOPIC_FILTER_NO_SHARED_FILTER },
    { "names a share with an empty filter", "$share/g/", TOPIC_FILTER_NO_SHARED_FILTER },
    { "names a bad filter behind a share", "$share/g/a+", TOPIC_FILTER_BAD_PLUS },
    { "takes $share alone as a word", "$share", TOPIC_FILTER_FINE },
};

static void names_fault_row(void **state) {
    const struct fault_row *row = *state;

    assert_int_equal(topic_filter_fault(str_of(row->filter)), row->want);
}

static void group_and_filter_of_a_share(void **state) {
    (void)state;
    assert_true(str_eq_c(topic_filter_group(STR("$share/line 4//a")), "line 4"));
    assert_true(str_eq_c(topic_filter_strip_share(STR("$share/line 4//a")), "/a"));
    assert_null(topic_filter_group(STR("a/$share/b")).data);
    assert_null(topic_filter_group(STR("$share")).data);
}

static void answers_row(void **state) {
    const struct row *row = *state;
    struct str filter = str_of(row->filter);
    struct err err = ERR_INIT;
    bool got = false;

    switch (row->ask) {
    case VALID:
        got = topic_filter_valid(filter, &err);
        assert_int_equal(got, err.code == ERR_NONE);
        break;
    case MATCH:
        got = topic_filter_match(filter, str_of(row->other));
        break;
    case COVERS:
        got = topic_filter_covers(filter, str_of(row->other));
        break;
    }
    assert_int_equal(got, row->want);
}

/* What "covers" promises, against every topic and filter that can be made from few levels. */
static void covers_means_matches(void **state) {
    static const char *const words[] = { "+", "#", "a", "" };
    static const char *const levels[] = { "a", "b", "" };
    char filters[128][8], topics[64][8];
    size_t filter_count = 0, topic_count = 0;
    (void)state;

    for (int i = 0; i < 4; i++) {
        snprintf(filters[filter_count++], 8, "%s", words[i]);
        for (int j = 0; j < 4; j++) {
            snprintf(filters[filter_count++], 8, "%s/%s", words[i], words[j]);
            for (int k = 0; k < 4; k++)
                snprintf(filters[filter_count++], 8, "%s/%s/%s", words[i], words[j], words[k]);
        }
    }
    for (int i = 0; i < 3; i++) {
        snprintf(topics[topic_count++], 8, "%s", levels[i]);
        for (int j = 0; j < 3; j++) {
            snprintf(topics[topic_count++], 8, "%s/%s", levels[i], levels[j]);
            for (int k = 0; k < 3; k++)
                snprintf(topics[topic_count++], 8, "%s/%s/%s", levels[i], levels[j], levels[k]);
        }
    }
    for (size_t a = 0; a < filter_count; a++) {
        for (size_t b = 0; b < filter_count; b++) {
            struct str wide = str_of(filters[a]), narrow = str_of(filters[b]);
            if (!topic_filter_valid(wide, NULL) || !topic_filter_valid(narrow, NULL) ||
                !topic_filter_covers(wide, narrow))
                continue;
            for (size_t t = 0; t < topic_count; t++)
                if (topic_filter_match(narrow, str_of(topics[t])))
                    assert_true(topic_filter_match(wide, str_of(topics[t])));
        }
    }
}

int main(void) {
    enum { ROWS = sizeof rows / sizeof rows[0], FAULTS = sizeof faults / sizeof faults[0] };
    struct CMUnitTest tests[ROWS + FAULTS + 2];

    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = answers_row, .initial_state = &rows[i] };
    for (size_t i = 0; i < FAULTS; i++)
        tests[ROWS + i] =
            (struct CMUnitTest){ .name = faults[i].name, .test_func = names_fault_row, .initial_state = &faults[i] };
    tests[ROWS + FAULTS] = (struct CMUnitTest)cmocka_unit_test(covers_means_matches);
    tests[ROWS + FAULTS + 1] = (struct CMUnitTest)cmocka_unit_test(group_and_filter_of_a_share);
    return cmocka_run_group_tests_name("topic_filter", tests, NULL, NULL);
}
