/*
 * tests/unit/test_retained.c: retained messages set and cleared, limits, walks by filter that are interrupted, expiry, and random operations beside
 * a plain list. HELIOGRAF_SEED sets the seed of those.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/clock.h"
#include "tests/support/retained_model.h"

enum { OPERATIONS = 100000 };

static const struct retained_limits no_limits;

static enum retained_result set_until(struct retained *retained, struct str topic, struct str payload, int64_t expires_ns) {
    struct publication *publication =
        publication_new(&(struct publication_parts){ .topic = topic, .payload = payload, .expires_ns = expires_ns });
    enum retained_result result = retained_set(retained, publication);

    publication_unref(publication);
    return result;
}

static enum retained_result set(struct retained *retained, const char *topic, const char *payload) {
    return set_until(retained, str_of(topic), str_of(payload), 0);
}

/* Walks, row by row: what of the topics a filter meets, in order. */

static const char *const topics[] = {
    "$SYS", "$SYS/up", "/", "/a", "a", "a/", "a//", "a/b", "a/b/c", "a/b/c/d", "a/c", "a/c/c", "a!", "a!/b", "ab", "ab/b", "b", "b/b", "b/b/c",
};
enum { TOPICS = sizeof topics / sizeof topics[0] };

static struct row {
    const char *name, *filter;
    const char *want[TOPICS + 1];
} rows[] = {
    { "a topic", "a/b", { "a/b" } },
    { "a topic that is not there", "a/bc", { NULL } },
    { "a topic behind all others", "c", { NULL } },
    { "a topic before all others", "\x01", { NULL } },
    { "a lone slash", "/", { "/" } },
    { "plus", "+", { "a", "a!", "ab", "b" } },
    { "plus last", "a/+", { "a/", "a/b", "a/c" } },
    { "plus first", "+/b", { "a/b", "a!/b", "ab/b", "b/b" } },
    { "plus in the middle", "a/+/c", { "a/b/c", "a/c/c" } },
    { "plus twice", "+/+", { "/", "/a", "a/", "a/b", "a/c", "a!/b", "ab/b", "b/b" } },
    { "plus around a level", "+/b/+", { "a/b/c", "b/b/c" } },
    { "plus deeper than all", "+/+/+/+/+", { NULL } },
    { "plus with empty levels", "+//", { "a//" } },
    { "hash", "a/#", { "a", "a/", "a//", "a/b", "a/b/c", "a/b/c/d", "a/c", "a/c/c" } },
    { "hash behind plus", "+/b/#", { "a/b", "a/b/c", "a/b/c/d", "a!/b", "ab/b", "b/b", "b/b/c" } },
    { "hash below nothing", "x/#", { NULL } },
    { "hash below an empty level", "/#", { "/", "/a" } },
    { "hash alone keeps off $SYS", "#",
      { "/", "/a", "a", "a/", "a//", "a/b", "a/b/c", "a/b/c/d", "a/c", "a/c/c", "a!", "a!/b", "ab", "ab/b", "b", "b/b", "b/b/c" } },
    { "plus hash keeps off $SYS", "+/#",
      { "/", "/a", "a", "a/", "a//", "a/b", "a/b/c", "a/b/c/d", "a/c", "a/c/c", "a!", "a!/b", "ab", "ab/b", "b", "b/b", "b/b/c" } },
    { "plus keeps off $SYS", "+/up", { NULL } },
    { "$SYS and below", "$SYS/#", { "$SYS", "$SYS/up" } },
    { "plus below $SYS", "$SYS/+", { "$SYS/up" } },
};

static struct retained *with_topics(void) {
    struct retained *retained = retained_new(&no_limits);

    for (size_t i = 0; i < TOPICS; i++)
        assert_int_equal(set(retained, topics[i * 11 % TOPICS], "x"), RETAINED_SET);
    return retained;
}

static void meets_row(void **state) {
    const struct row *row = *state;
    struct retained *retained = with_topics();

    for (size_t at_once = 1; at_once < 100; at_once += 98) { /* interrupted after each step, and never */
        struct retained_walk *walk = retained_walk_new(retained, str_of(row->filter));
        enum retained_step step = RETAINED_LATER;
        struct publication *found;
        size_t met = 0;
        while (step != RETAINED_END) {
            size_t steps = at_once;
            while ((step = retained_walk_next(walk, 0, &steps, &found)) == RETAINED_FOUND) {
                assert_non_null(row->want[met]);
                assert_true(str_eq_c(found->topic, row->want[met]));
                met++;
            }
        }
        assert_null(row->want[met]);
        size_t steps = 10;
        assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_END); /* and stays there */
        retained_walk_free(walk);
    }
    retained_free(retained);
}

/* Setting. */

static void an_empty_payload_clears(void **state) {
    struct retained *retained = retained_new(&no_limits);
    (void)state;

    assert_int_equal(set(retained, "a", ""), RETAINED_NOTHING);
    assert_int_equal(set(retained, "a", "1"), RETAINED_SET);
    assert_int_equal(set(retained, "a", "2"), RETAINED_REPLACED);
    assert_true(str_eq_c(retained_get(retained, STR("a"))->payload, "2"));
    assert_int_equal(retained_count(retained), 1);
    assert_int_equal(set(retained, "a", ""), RETAINED_CLEARED);
    assert_null(retained_get(retained, STR("a")));
    assert_int_equal(retained_count(retained), 0);
    assert_int_equal(retained_bytes(retained), 0);
    assert_false(retained_remove(retained, STR("a")));
    retained_free(retained);
}

static void keeps_a_reference_of_its_own(void **state) {
    struct retained *retained = retained_new(&no_limits);
    struct publication *publication = publication_new(&(struct publication_parts){ .topic = STR("a"), .payload = STR("1") });
    (void)state;

    assert_int_equal(retained_set(retained, publication), RETAINED_SET);
    assert_int_equal(publication->references, 2);
    assert_int_equal(retained_set(retained, publication), RETAINED_REPLACED); /* by itself */
    assert_int_equal(publication->references, 2);
    assert_int_equal(retained_bytes(retained), publication_size(publication));
    set(retained, "a", "2");
    assert_int_equal(publication->references, 1);
    publication_unref(publication);
    retained_free(retained);
}

static void a_limit_of_messages_is_kept(void **state) {
    struct retained *retained = retained_new(&(struct retained_limits){ .count = 2 });
    (void)state;

    assert_int_equal(set(retained, "a", "1"), RETAINED_SET);
    assert_int_equal(set(retained, "b", "1"), RETAINED_SET);
    assert_int_equal(set(retained, "c", "1"), RETAINED_FULL);
    assert_null(retained_get(retained, STR("c")));
    assert_int_equal(set(retained, "b", "a longer one"), RETAINED_REPLACED);
    assert_int_equal(set(retained, "c", ""), RETAINED_NOTHING);
    assert_int_equal(set(retained, "a", ""), RETAINED_CLEARED);
    assert_int_equal(set(retained, "c", "1"), RETAINED_SET);
    retained_free(retained);
}

static void a_limit_of_bytes_is_kept(void **state) {
    const uint64_t each = sizeof(struct publication) + 2;
    struct retained *retained = retained_new(&(struct retained_limits){ .bytes = 2 * each });
    (void)state;

    assert_int_equal(set(retained, "a", "1"), RETAINED_SET);
    assert_int_equal(set(retained, "b", "12"), RETAINED_FULL);
    assert_int_equal(set(retained, "b", "1"), RETAINED_SET);
    assert_int_equal(retained_bytes(retained), 2 * each);
    assert_int_equal(set(retained, "b", "12"), RETAINED_FULL);
    assert_true(str_eq_c(retained_get(retained, STR("b"))->payload, "1")); /* nothing has changed */
    assert_int_equal(set(retained, "b", "2"), RETAINED_REPLACED);
    retained_set_limits(retained, &(struct retained_limits){ .bytes = 1 });
    assert_int_equal(retained_count(retained), 2); /* what is over them stays */
    assert_int_equal(set(retained, "b", "3"), RETAINED_REPLACED);
    assert_int_equal(set(retained, "b", "34"), RETAINED_FULL);
    retained_free(retained);
}

/* Walks. */

static void a_walk_goes_on_whatever_changes(void **state) {
    struct retained *retained = with_topics();
    struct retained_walk *walk = retained_walk_new(retained, STR("a/#"));
    struct publication *found;
    size_t steps = 100;
    (void)state;

    assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_FOUND);
    assert_true(str_eq_c(found->topic, "a"));
    assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_FOUND);
    assert_true(str_eq_c(found->topic, "a/"));
    for (size_t i = 0; i < TOPICS; i++) /* where it stands and where it would go next */
        if (strcmp(topics[i], "a/b/c/d") != 0)
            retained_remove(retained, str_of(topics[i]));
    set(retained, "a", "again"); /* met already: not once more */
    set(retained, "a/a", "new"); /* still to come */
    assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_FOUND);
    assert_true(str_eq_c(found->topic, "a/a"));
    assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_FOUND);
    assert_true(str_eq_c(found->topic, "a/b/c/d"));
    assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_END);
    retained_walk_free(walk);
    retained_free(retained);
}

static struct str numbered(char *text, unsigned line, unsigned machine) {
    return str_make(text, (size_t)sprintf(text, "line/%u/machine/%u", line, machine));
}

/* 200 lines with 200 machines each: a filter that wants one machine of each line looks at a few topics per line. */
static void looks_at_what_can_match_only(void **state) {
    struct retained *retained = retained_new(&no_limits);
    struct retained_walk *walk;
    struct publication *found;
    size_t steps, met = 0;
    char text[64];
    (void)state;

    for (unsigned i = 0; i < 40000; i++)
        set_until(retained, numbered(text, i / 200, i % 200), STR("x"), 0);
    walk = retained_walk_new(retained, STR("line/+/machine/77"));
    for (steps = 100000; retained_walk_next(walk, 0, &steps, &found) == RETAINED_FOUND;)
        met++;
    assert_int_equal(met, 200);
    print_message("%zu steps for 200 of 40000\n", 100000 - steps);
    assert_true(100000 - steps <= 3 * 200 + 2);
    retained_walk_free(walk);
    walk = retained_walk_new(retained, STR("line/77/#"));
    for (steps = 100000, met = 0; retained_walk_next(walk, 0, &steps, &found) == RETAINED_FOUND;)
        met++;
    assert_int_equal(met, 200);
    assert_true(100000 - steps <= 200 + 2);
    retained_walk_free(walk);
    retained_free(retained);
}

static void many_steps_are_charged_for_a_long_topic(void **state) {
    struct retained *retained = retained_new(&no_limits);
    struct retained_walk *walk = retained_walk_new(retained, STR("#"));
    char *topic = malloc(65535);
    struct publication *found;
    size_t steps = 100;
    (void)state;

    memset(topic, '/', 65535); /* as many levels as there can be */
    set_until(retained, str_make(topic, 65535), STR("x"), 0);
    set_until(retained, str_make(topic, 65534), STR("x"), 0);
    assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_FOUND);
    assert_int_equal(steps, 0);
    assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_LATER);
    steps = 1;
    assert_int_equal(retained_walk_next(walk, 0, &steps, &found), RETAINED_FOUND); /* goes on with one step, too */
    assert_int_equal(found->topic.len, 65535);
    retained_walk_free(walk);
    memset(topic, '+', 65535);
    for (size_t i = 1; i < 65535; i += 2)
        topic[i] = '/';
    walk = retained_walk_new(retained, str_make(topic, 65535));
    for (steps = 10000; retained_walk_next(walk, 0, &steps, &found) == RETAINED_FOUND;)
        fail(); /* half as many levels */
    assert_int_not_equal(steps, 0);
    retained_walk_free(walk);
    free(topic);
    retained_free(retained);
}

/* Expiry. */

static void what_has_expired_is_passed_over(void **state) {
    struct retained *retained = retained_new(&no_limits);
    struct retained_walk *walk;
    struct publication *found;
    size_t steps = 100;
    (void)state;

    set_until(retained, STR("a"), STR("x"), 10);
    set_until(retained, STR("b"), STR("x"), 11);
    set_until(retained, STR("c"), STR("x"), 0);
    walk = retained_walk_new(retained, STR("#"));
    assert_int_equal(retained_walk_next(walk, 10, &steps, &found), RETAINED_FOUND);
    assert_true(str_eq_c(found->topic, "b"));
    assert_int_equal(retained_walk_next(walk, 10, &steps, &found), RETAINED_FOUND);
    assert_true(str_eq_c(found->topic, "c"));
    assert_int_equal(retained_walk_next(walk, 10, &steps, &found), RETAINED_END);
    retained_walk_free(walk);
    walk = retained_walk_new(retained, STR("a"));
    assert_int_equal(retained_walk_next(walk, 10, &steps, &found), RETAINED_END);
    retained_walk_free(walk);
    retained_free(retained);
}

static void count_removed(void *ctx, const struct publication *publication) {
    assert_int_not_equal(publication->expires_ns, 0);
    ++*(size_t *)ctx;
}

static void a_sweep_goes_on_where_it_stopped(void **state) {
    struct retained *retained = retained_new(&no_limits);
    char text[64];
    size_t removed = 0;
    (void)state;

    for (unsigned i = 0; i < 1000; i++)
        set_until(retained, numbered(text, i, 0), STR("x"), i % 3 == 0 ? 5 : i % 3 == 1 ? 50 : 0);
    for (int i = 0; i < 10; i++) {
        size_t before = retained_count(retained);
        retained_sweep(retained, 5, 100, count_removed, &removed);
        assert_true(before - retained_count(retained) <= 100);
    }
    assert_int_equal(removed, 334);
    assert_int_equal(retained_count(retained), 666);
    for (int i = 0; i < 10; i++)
        retained_sweep(retained, 50, 100, NULL, NULL);
    assert_int_equal(retained_count(retained), 333);
    retained_sweep(retained, INT64_MAX, 100, count_removed, &removed); /* none can expire: nothing to look at */
    assert_int_equal(removed, 334);
    retained_free(retained);
}

/* Random operations beside a plain list. */

static uint64_t seed(void) {
    const char *set_to = getenv("HELIOGRAF_SEED");

    return set_to != NULL ? strtoull(set_to, NULL, 10) : (uint64_t)clock_real_ns();
}

static void agrees_with_a_plain_list(void **state) {
    enum { BYTES = 400000 };
    static struct retained_model model;
    uint8_t *bytes = malloc(BYTES);
    uint64_t random = seed(), operations = 0, met = 0, ended = 0, swept = 0, changed = 0;
    (void)state;

    print_message("HELIOGRAF_SEED=%llu\n", (unsigned long long)random);
    random = random * 2 + 1;
    for (unsigned run = 0; operations < OPERATIONS; run++) {
        size_t len = run % 2 == 0 ? BYTES : 1000; /* long runs with many topics, and short ones with few */
        for (size_t i = 0; i < len; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[i] = (uint8_t)(random >> 24);
        }
        retained_model_run(&model, (struct words){ bytes, bytes + len });
        operations += model.operations;
        met += model.met;
        ended += model.walks_ended;
        swept += model.swept;
        changed += model.changed_under_walk;
    }
    print_message("%llu operations, %llu walks to the end, %.1f met by each, %llu removals under a walk, %llu swept\n",
                  (unsigned long long)operations, (unsigned long long)ended, (double)met / (double)ended, (unsigned long long)changed,
                  (unsigned long long)swept);
    assert_true(ended > OPERATIONS / 100 && met > 5 * ended && changed > ended && swept > OPERATIONS / 100);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest more[] = {
        cmocka_unit_test(an_empty_payload_clears),
        cmocka_unit_test(keeps_a_reference_of_its_own),
        cmocka_unit_test(a_limit_of_messages_is_kept),
        cmocka_unit_test(a_limit_of_bytes_is_kept),
        cmocka_unit_test(a_walk_goes_on_whatever_changes),
        cmocka_unit_test(looks_at_what_can_match_only),
        cmocka_unit_test(many_steps_are_charged_for_a_long_topic),
        cmocka_unit_test(what_has_expired_is_passed_over),
        cmocka_unit_test(a_sweep_goes_on_where_it_stopped),
        cmocka_unit_test(agrees_with_a_plain_list),
    };
    enum { ROWS = sizeof rows / sizeof rows[0], MORE = sizeof more / sizeof more[0] };
    struct CMUnitTest tests[ROWS + MORE];

    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = meets_row, .initial_state = &rows[i] };
    memcpy(tests + ROWS, more, sizeof more);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
