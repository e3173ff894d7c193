/*
 * tests/unit/test_filter_index.c: the index says what a look at every filter would say. Its answers are compared with
 * topic_filter_covers and with the definition of overlapping: there is a topic that both match.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/base/filter_index.h"
#include "agent/base/topic_filter.h"

static struct intersect_row {
    const char *name, *a, *b;
    bool want;
} intersect_rows[] = {
    { "same level by + and by name", "+/press", "plant/+", true },
    { "same filter", "a/b", "a/b", true },
    { "other names", "a/b", "a/c", false },
    { "other depths", "a/+", "a/b/c", false },
    { "# meets anything below", "a/#", "a/b/c", true },
    { "# meets its own level", "a/#", "a", true },
    { "# behind a + one deeper", "+/b/#", "a/b", true },
    { "# elsewhere", "a/#", "b/#", false },
    { "leading wildcard and $SYS", "#", "$SYS/#", false },
    { "leading plus and $SYS", "+/a", "$SYS/a", false },
    { "two of $SYS", "$SYS/+", "$SYS/a", true },
    { "empty levels count", "a//b", "a/+/b", true },
    { "an empty level is not none", "a/", "a", false },
    { "behind $share", "$share/g/a/+", "a/b", true },
};

static bool meets(const char *one, const char *other) {
    struct filter_index index;

    filter_index_init(&index);
    assert_true(filter_index_add(&index, str_of(one), 0));
    bool found = filter_index_intersects(&index, str_of(other));
    filter_index_release(&index);
    return found;
}

static void intersects_row(void **state) {
    const struct intersect_row *row = *state;

    assert_int_equal(meets(row->a, row->b), row->want);
    assert_int_equal(meets(row->b, row->a), row->want);
}

/* Random filters of at most three levels over few names, and all topics over them: a topic that shows an overlap is among these. */
enum { FILTERS = 40, ROUNDS = 400, FILTER_BYTES = 16 };
static const char *const names[] = { "a", "b", "", "$x" };

static uint64_t seed = 88172645463325252ULL;

static unsigned pick(unsigned below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % below);
}

static void random_filter(char *out) {
    do {
        unsigned levels = 1 + pick(3);
        out[0] = '\0';
        for (unsigned i = 0; i < levels; i++) {
            unsigned kind = pick(6);
            const char *level = kind < 4 ? names[kind] : kind == 4 || i + 1 < levels ? "+" : "#";
            snprintf(out + strlen(out), FILTER_BYTES - strlen(out), "%s%s", i > 0 ? "/" : "", level);
        }
    } while (!topic_filter_valid(str_of(out), NULL));
}

static bool some_topic_matches(const char *a, const char *b) {
    char topic[FILTER_BYTES];

    for (unsigned levels = 1; levels <= 3; levels++)
        for (unsigned code = 0; code < (1u << (2 * levels)); code++) {
            topic[0] = '\0';
            for (unsigned i = 0; i < levels; i++)
                snprintf(topic + strlen(topic), sizeof topic - strlen(topic), "%s%s", i > 0 ? "/" : "", names[code >> (2 * i) & 3]);
            if (topic_filter_match(str_of(a), str_of(topic)) && topic_filter_match(str_of(b), str_of(topic)))
                return true;
        }
    return false;
}

static bool note(void *ctx, uint32_t number) {
    unsigned *seen = ctx;

    assert_in_range(number, 0, FILTERS - 1);
    seen[number]++;
    return true;
}

static void says_what_a_look_at_all_filters_says(void **state) {
    char filters[FILTERS][FILTER_BYTES], asked[FILTER_BYTES];

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct filter_index index;
        unsigned count = 1 + pick(FILTERS), seen[FILTERS] = { 0 };
        bool meets_any = false;
        filter_index_init(&index);
        random_filter(asked);
        for (uint32_t i = 0; i < count; i++) {
            random_filter(filters[i]);
            assert_true(filter_index_add(&index, str_of(filters[i]), i));
            meets_any = meets_any || some_topic_matches(filters[i], asked);
        }
        assert_int_equal(filter_index_intersects(&index, str_of(asked)), meets_any);
        assert_true(filter_index_covering(&index, str_of(asked), note, seen));
        for (unsigned i = 0; i < count; i++) {
            bool first = true; /* of those with this text */
            for (unsigned j = 0; j < i; j++)
                first = first && strcmp(filters[i], filters[j]) != 0;
            assert_int_equal(seen[i], first && topic_filter_covers(str_of(filters[i]), str_of(asked)));
        }
        filter_index_release(&index);
    }
}

static bool stop(void *ctx, uint32_t number) {
    (void)number;
    ++*(unsigned *)ctx;
    return false;
}

static void a_visitor_ends_the_walk(void **state) {
    struct filter_index index;
    unsigned calls = 0;

    (void)state;
    filter_index_init(&index);
    assert_true(filter_index_covering(&index, STR("a"), stop, &calls)); /* nothing in it yet */
    assert_false(filter_index_intersects(&index, STR("#")));
    assert_true(filter_index_add(&index, STR("#"), 0) && filter_index_add(&index, STR("a/#"), 1) && filter_index_add(&index, STR("a"), 2));
    assert_true(filter_index_covering(&index, STR("a"), stop, &calls));
    assert_int_equal(calls, 1);
    filter_index_release(&index);
}

/* 65,536 levels: a walk that calls itself would run out of stack. */
static void the_longest_filters_are_walked(void **state) {
    static char deep[TOPIC_MAX_BYTES + 1];
    struct filter_index index;
    unsigned calls = 0;

    (void)state;
    memset(deep, '/', TOPIC_MAX_BYTES);
    filter_index_init(&index);
    assert_true(filter_index_add(&index, str_of(deep), 0));
    assert_true(filter_index_covering(&index, str_of(deep), stop, &calls));
    assert_int_equal(calls, 1);
    assert_true(filter_index_intersects(&index, str_of(deep)));
    filter_index_release(&index);
}

/* The steps of asking about every filter, each before it is added. */
static uint64_t cost(const char *before, const char *behind, uint32_t count) {
    struct filter_index index;
    char (*texts)[48] = calloc(count, sizeof *texts);
    unsigned calls = 0;

    filter_index_init(&index);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%s%u%s", before, i, behind);
        assert_false(filter_index_intersects(&index, str_of(texts[i])));
        assert_true(filter_index_covering(&index, str_of(texts[i]), stop, &calls));
        assert_true(filter_index_add(&index, str_of(texts[i]), i));
    }
    assert_int_equal(calls, 0);
    uint64_t steps = index.steps;
    filter_index_release(&index);
    free(texts);
    return steps;
}

static void twice_as_many_filters_cost_twice_as_much(void **state) {
    const char *const shapes[][2] = { { "plant/", "/+" }, { "plant/+/", "/temperature" }, { "", "" }, { "", "/#" }, { "a/b/c/d/+/", "" } };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        uint64_t few = cost(shapes[i][0], shapes[i][1], 10000), many = cost(shapes[i][0], shapes[i][1], 20000);
        assert_true(few <= 10000 * 2 * 8);
        assert_true(many <= few * 2 + few / 10);
    }
}

enum { ROWS = sizeof intersect_rows / sizeof intersect_rows[0], PLAIN = 4 };

int main(void) {
    struct CMUnitTest tests[ROWS + PLAIN] = {
        cmocka_unit_test(says_what_a_look_at_all_filters_says),
        cmocka_unit_test(a_visitor_ends_the_walk),
        cmocka_unit_test(the_longest_filters_are_walked),
        cmocka_unit_test(twice_as_many_filters_cost_twice_as_much),
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[PLAIN + i] = (struct CMUnitTest){ intersect_rows[i].name, intersects_row, NULL, NULL, &intersect_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
