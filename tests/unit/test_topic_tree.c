/*
 * tests/unit/test_topic_tree.c: matching row by row (MQTT 5 section 4.7), shared and plain subscriptions of one filter, great depth, memory, and
 * random operations beside a plain list. HELIOGRAF_SEED sets the seed of those.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/clock.h"
#include "tests/support/topic_tree_model.h"

enum { OPERATIONS = 100000 };

static const struct subscription_terms terms_0, terms_1 = { .qos = 1, .identifier = 7 };

static char alice, bob, carol;

/* Matching, row by row. */

static struct row {
    const char *name, *filter, *topic;
    bool want;
} rows[] = {
    { "matches itself", "a/b", "a/b", true },
    { "minds case", "a/B", "a/b", false },
    { "does not match above", "a/b", "a", false },
    { "does not match below", "a/b", "a/b/c", false },
    { "does not match a name that begins alike", "a/b", "a/bc", false },
    { "plus matches one level", "a/+/c", "a/b/c", true },
    { "plus matches an empty level", "a/+/c", "a//c", true },
    { "plus does not match two levels", "a/+", "a/b/c", false },
    { "plus does not match a missing level", "a/+", "a", false },
    { "plus matches a last empty level", "a/+", "a/", true },
    { "plus in the first level", "+/b", "a/b", true },
    { "plus twice", "+/+", "/", true },
    { "plus thrice is too deep", "+/+/+", "a/b", false },
    { "a lone plus", "+", "a", true },
    { "a lone plus does not match two levels", "+", "/a", false },
    { "hash matches all below", "a/#", "a/b/c", true },
    { "hash matches the parent", "a/#", "a", true },
    { "hash matches an empty level below", "a/#", "a/", true },
    { "hash matches no sibling that begins alike", "a/#", "ab", false },
    { "hash behind plus matches the parent", "+/#", "a", true },
    { "a lone hash matches all", "#", "a/b/c", true },
    { "a lone hash matches a leading slash", "#", "/", true },
    { "a leading slash counts", "a/b", "/a/b", false },
    { "a trailing slash counts", "a/b", "a/b/", false },
    { "empty levels are levels", "a//b", "a//b", true },
    { "empty levels are not left out", "a/b", "a//b", false },
    { "a lone slash", "/", "/", true },
    { "hash below an empty level", "/#", "/a", true },
    { "hash below an empty level, the parent", "//#", "/", true },
    { "hash below an empty level does not match a name", "/#", "a", false },
    { "hash keeps off $SYS", "#", "$SYS/uptime", false },
    { "plus keeps off $SYS", "+/uptime", "$SYS/uptime", false },
    { "plus hash keeps off $SYS", "+/#", "$SYS/uptime", false },
    { "a lone plus keeps off $SYS", "+", "$SYS", false },
    { "a written $SYS matches", "$SYS/#", "$SYS/uptime", true },
    { "a written $SYS matches the parent", "$SYS/#", "$SYS", true },
    { "plus below $SYS matches", "$SYS/+", "$SYS/uptime", true },
    { "a written $ matches", "$/a", "$/a", true },
    { "a dollar deeper is a letter", "a/#", "a/$b", true },
    { "plus matches a dollar deeper", "a/+", "a/$b", true },
    { "a plus in a topic's level is only a letter", "a/b+", "a/b+", true },
    { "an empty topic matches nothing", "#", "", false },
};

struct tally {
    unsigned matched, shared;
    const void *subscribers[64];
    struct subscription_terms terms[64];
    struct topic_group *group;
};

static void on_matched(void *ctx, void *subscriber, const struct subscription_terms *terms) {
    struct tally *tally = ctx;

    assert_true(tally->matched < 64);
    tally->terms[tally->matched] = *terms;
    tally->subscribers[tally->matched++] = subscriber;
}

static void on_shared(void *ctx, struct topic_group *group) {
    struct tally *tally = ctx;

    tally->shared++;
    tally->group = group;
}

static struct tally match(const struct topic_tree *tree, struct str topic) {
    struct tally tally = { 0 };

    topic_tree_match(tree, topic, &(struct topic_match){ &tally, on_matched, on_shared });
    return tally;
}

static void matches_row(void **state) {
    const struct row *row = *state;
    struct topic_tree *tree = topic_tree_new();
    struct str filter = str_of(row->filter), topic = str_of(row->topic);

    assert_int_equal(topic_tree_add(tree, filter, STR_EMPTY, &alice, &terms_0), TOPIC_TREE_ADDED);
    assert_int_equal(match(tree, topic).matched, row->want);
    assert_int_equal(match(tree, topic).shared, 0);
    assert_int_equal(topic_tree_add(tree, filter, STR("g"), &alice, &terms_0), TOPIC_TREE_ADDED);
    assert_int_equal(match(tree, topic).matched, row->want);
    assert_int_equal(match(tree, topic).shared, row->want);
    assert_true(topic_tree_remove(tree, filter, STR_EMPTY, &alice));
    assert_int_equal(match(tree, topic).matched, 0);
    assert_int_equal(match(tree, topic).shared, row->want);
    topic_tree_free(tree);
}

/* What a subscription is. */

static void a_second_one_replaces_the_terms(void **state) {
    struct topic_tree *tree = topic_tree_new();
    struct tally tally;
    (void)state;

    assert_int_equal(topic_tree_add(tree, STR("a"), STR_EMPTY, &alice, &terms_0), TOPIC_TREE_ADDED);
    assert_int_equal(topic_tree_add(tree, STR("a"), STR_EMPTY, &alice, &terms_1), TOPIC_TREE_REPLACED);
    tally = match(tree, STR("a"));
    assert_int_equal(tally.matched, 1);
    assert_ptr_equal(tally.subscribers[0], &alice);
    assert_int_equal(tally.terms[0].qos, 1);
    assert_int_equal(tally.terms[0].identifier, 7);
    assert_int_equal(topic_tree_count(tree), 1);
    topic_tree_free(tree);
}

static void overlapping_filters_are_met_once_each(void **state) {
    static const char *const filters[] = { "a/b", "a/+", "+/b", "+/+", "a/#", "+/#", "#", "a/b/#", "a/+/#", "+/b/#", "+/+/#" };
    enum { FILTERS = sizeof filters / sizeof filters[0] };
    struct topic_tree *tree = topic_tree_new();
    struct tally tally;
    uint32_t seen = 0;
    (void)state;

    for (uint32_t i = 0; i < FILTERS; i++) {
        struct subscription_terms terms = { .identifier = i };
        topic_tree_add(tree, str_of(filters[i]), STR_EMPTY, &alice, &terms);
        topic_tree_add(tree, str_of(filters[i]), STR("g"), &alice, &terms);
    }
    tally = match(tree, STR("a/b"));
    assert_int_equal(tally.matched, FILTERS);
    assert_int_equal(tally.shared, FILTERS);
    for (uint32_t i = 0; i < FILTERS; i++)
        seen |= UINT32_C(1) << tally.terms[i].identifier;
    assert_int_equal(seen, (1 << FILTERS) - 1);
    topic_tree_free(tree);
}

static void a_group_keeps_its_members_in_order(void **state) {
    struct topic_tree *tree = topic_tree_new();
    const struct subscription_terms *terms;
    struct topic_group *group;
    (void)state;

    topic_tree_add(tree, STR("a/+"), STR("g"), &carol, &terms_0);
    topic_tree_add(tree, STR("a/+"), STR("g"), &alice, &terms_0);
    topic_tree_add(tree, STR("a/+"), STR("g"), &bob, &terms_0);
    assert_int_equal(topic_tree_add(tree, STR("a/+"), STR("g"), &carol, &terms_1), TOPIC_TREE_REPLACED);
    group = match(tree, STR("a/b")).group;
    assert_int_equal(topic_group_count(group), 3);
    assert_ptr_equal(topic_group_member(group, 0, &terms), &carol);
    assert_int_equal(terms->qos, 1);
    assert_ptr_equal(topic_group_member(group, 1, &terms), &alice);
    assert_ptr_equal(topic_group_member(group, 2, &terms), &bob);
    assert_true(str_eq_c(topic_group_share(group), "g"));
    assert_true(str_eq_c(topic_group_topics(group), "a/+"));
    assert_true(topic_tree_remove(tree, STR("a/+"), STR("g"), &carol));
    assert_ptr_equal(topic_group_member(group, 0, &terms), &alice);
    assert_int_equal(topic_tree_shared_count(tree), 2);
    topic_tree_free(tree);
}

static void a_groups_word_lives_as_long_as_the_group(void **state) {
    struct topic_tree *tree = topic_tree_new();
    (void)state;

    topic_tree_add(tree, STR("a"), STR("g"), &alice, &terms_0);
    assert_int_equal(*topic_group_state(match(tree, STR("a")).group), 0);
    *topic_group_state(match(tree, STR("a")).group) = 42;
    topic_tree_add(tree, STR("a"), STR("g"), &bob, &terms_0);
    topic_tree_remove(tree, STR("a"), STR("g"), &alice);
    assert_int_equal(*topic_group_state(match(tree, STR("a")).group), 42);
    topic_tree_remove(tree, STR("a"), STR("g"), &bob);
    topic_tree_add(tree, STR("a"), STR("g"), &bob, &terms_0);
    assert_int_equal(*topic_group_state(match(tree, STR("a")).group), 0);
    topic_tree_free(tree);
}

static void groups_differ_by_name_and_by_filter(void **state) {
    struct topic_tree *tree = topic_tree_new();
    (void)state;

    topic_tree_add(tree, STR("a"), STR("g"), &alice, &terms_0);
    topic_tree_add(tree, STR("a"), STR("h"), &alice, &terms_0);
    topic_tree_add(tree, STR("a/#"), STR("g"), &alice, &terms_0);
    topic_tree_add(tree, STR("+"), STR("g"), &alice, &terms_0);
    assert_int_equal(match(tree, STR("a")).shared, 4);
    assert_int_equal(match(tree, STR("a/b")).shared, 1);
    topic_tree_remove(tree, STR("a"), STR("g"), &alice);
    assert_int_equal(match(tree, STR("a")).shared, 3);
    assert_int_equal(match(tree, STR("a/b")).shared, 1);
    topic_tree_remove(tree, STR("a/#"), STR("g"), &alice);
    assert_int_equal(match(tree, STR("a")).shared, 2);
    assert_int_equal(match(tree, STR("a/b")).shared, 0);
    topic_tree_free(tree);
}

/* CVE-2024-8376: what is shared is never taken for what is not, and nothing is freed that still serves somebody. */
static void shared_and_plain_ones_are_removed_crosswise(void **state) {
    static const char *const filters[] = { "a", "a/#", "a/+", "a/b", "#", "+", "$SYS/a", "$SYS/#" };
    static const char *const shares[] = { "", "g", "h" };
    enum { FILTERS = 8, SHARES = 3, ALL = FILTERS * SHARES };
    struct topic_tree *tree = topic_tree_new();
    size_t empty = topic_tree_bytes(tree);
    (void)state;

    for (int first = 0; first < ALL; first++) {
        for (int second = 0; second < ALL; second++) {
            struct str a = str_of(filters[first / SHARES]), b = str_of(filters[second / SHARES]);
            struct str share_a = str_of(shares[first % SHARES]), share_b = str_of(shares[second % SHARES]);
            size_t alone;
            topic_tree_add(tree, a, share_a, &alice, &terms_0);
            alone = topic_tree_bytes(tree);
            assert_int_equal(topic_tree_remove(tree, b, share_b, &alice), first == second); /* not the other one's */
            assert_int_equal(topic_tree_count(tree), first != second);
            topic_tree_add(tree, a, share_a, &alice, &terms_0);
            topic_tree_add(tree, b, share_b, &bob, &terms_0);
            assert_false(topic_tree_remove(tree, a, share_a, &carol));
            assert_true(topic_tree_remove(tree, b, share_b, &bob));
            assert_false(topic_tree_remove(tree, b, share_b, &bob));
            if (first != second) /* the same filter's set may keep its second place */
                assert_int_equal(topic_tree_bytes(tree), alone);
            topic_tree_add(tree, b, share_b, &bob, &terms_0);
            assert_true(topic_tree_remove(tree, a, share_a, &alice));
            struct tally tally = match(tree, first / SHARES < 6 ? STR("a") : STR("$SYS/a"));
            assert_true(tally.matched + tally.shared <= 1);
            assert_true(topic_tree_remove(tree, b, share_b, &bob));
            assert_int_equal(topic_tree_bytes(tree), empty);
        }
    }
    assert_int_equal(topic_tree_count(tree), 0);
    assert_int_equal(topic_tree_shared_count(tree), 0);
    topic_tree_free(tree);
}

static void match_again(void *ctx, void *subscriber, const struct subscription_terms *terms) {
    struct topic_tree *tree = ctx;
    (void)subscriber;
    (void)terms;

    assert_int_equal(match(tree, STR("b/c")).matched, 1);
}

static void matches_within_a_match(void **state) {
    struct topic_tree *tree = topic_tree_new();
    (void)state;

    topic_tree_add(tree, STR("a/b"), STR_EMPTY, &alice, &terms_0);
    topic_tree_add(tree, STR("a/+"), STR_EMPTY, &alice, &terms_0);
    topic_tree_add(tree, STR("b/+"), STR_EMPTY, &alice, &terms_0);
    topic_tree_match(tree, STR("a/b"), &(struct topic_match){ tree, match_again, NULL });
    topic_tree_free(tree);
}

/* Advisories of several brokers: 65,535 slashes. */
static void is_as_deep_as_a_topic_can_be(void **state) {
    enum { LEN = 65535 };
    static const char patterns[][3] = { "/", "+/", "a/", "/+" };
    char *topic = malloc(LEN), *filter = malloc(LEN);
    struct topic_tree *tree = topic_tree_new();
    size_t empty = topic_tree_bytes(tree);
    (void)state;

    for (size_t p = 0; p < 4; p++) {
        size_t len = strlen(patterns[p]), whole = LEN / len * len;
        for (size_t i = 0; i < whole; i++) {
            filter[i] = patterns[p][i % len];
            topic[i] = filter[i] == '+' ? 'x' : filter[i];
        }
        struct str deep = str_make(filter, whole), name = str_make(topic, whole);
        assert_int_equal(topic_tree_add(tree, deep, STR_EMPTY, &alice, &terms_0), TOPIC_TREE_ADDED);
        assert_int_equal(topic_tree_add(tree, deep, STR("g"), &bob, &terms_0), TOPIC_TREE_ADDED);
        assert_int_equal(topic_tree_add(tree, STR("#"), STR_EMPTY, &carol, &terms_0), TOPIC_TREE_ADDED);
        assert_int_equal(match(tree, name).matched, 2);
        assert_int_equal(match(tree, name).shared, 1);
        assert_int_equal(match(tree, str_make(topic, whole - len)).matched, 1);
        assert_true(topic_tree_remove(tree, deep, STR_EMPTY, &alice));
        assert_true(topic_tree_remove(tree, deep, STR("g"), &bob));
        assert_true(topic_tree_remove(tree, STR("#"), STR_EMPTY, &carol));
        assert_int_equal(topic_tree_bytes(tree), empty);
        topic_tree_add(tree, deep, STR_EMPTY, &alice, &terms_0); /* for topic_tree_free, and the next pattern */
        topic_tree_remove(tree, deep, STR_EMPTY, &alice);
    }
    topic_tree_add(tree, str_make(filter, LEN - 1), STR_EMPTY, &alice, &terms_0);
    topic_tree_free(tree);
    free(topic);
    free(filter);
}

/* Memory. */

static void fill(struct topic_tree *tree, unsigned count, bool add) {
    char text[64];

    for (unsigned i = 0; i < count; i++) {
        struct str filter = str_make(text, (size_t)sprintf(text, "site/%u/line/%u/temp", i / 1000, i % 1000));
        if (add)
            assert_int_equal(topic_tree_add(tree, filter, STR_EMPTY, &alice, &terms_0), TOPIC_TREE_ADDED);
        else
            assert_true(topic_tree_remove(tree, filter, STR_EMPTY, &alice));
    }
}

static void a_subscription_is_small_and_gives_its_memory_back(void **state) {
    enum { COUNT = 20000 };
    struct topic_tree *tree = topic_tree_new();
    size_t empty = topic_tree_bytes(tree), each;
    (void)state;

    fill(tree, COUNT, true);
    each = (topic_tree_bytes(tree) - empty) / COUNT;
    print_message("%zu bytes per subscription with two levels of its own\n", each);
    assert_true(each <= 232);
    for (int i = 0; i < 3; i++) {
        fill(tree, COUNT, false);
        assert_int_equal(topic_tree_bytes(tree), empty);
        fill(tree, COUNT, true);
    }
    fill(tree, COUNT, false);
    topic_tree_free(tree);
}

static void a_hundred_thousand_subscribers_of_one_filter_come_and_go(void **state) {
    enum { COUNT = 100000 };
    struct topic_tree *tree = topic_tree_new();
    size_t empty = topic_tree_bytes(tree);
    char *subscribers = malloc(COUNT);
    int64_t began_ns = clock_mono_ns();
    (void)state;

    for (int i = 0; i < COUNT; i++)
        assert_int_equal(topic_tree_add(tree, STR("a/#"), STR_EMPTY, &subscribers[i], &terms_0), TOPIC_TREE_ADDED);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(topic_tree_add(tree, STR("a/#"), STR_EMPTY, &subscribers[i], &terms_1), TOPIC_TREE_REPLACED);
    assert_true((topic_tree_bytes(tree) - empty) / COUNT < 50);
    for (int i = 0; i < COUNT; i++)
        assert_true(topic_tree_remove(tree, STR("a/#"), STR_EMPTY, &subscribers[i]));
    assert_int_equal(topic_tree_bytes(tree), empty);
    print_message("%.3f s\n", (double)(clock_mono_ns() - began_ns) / NS_PER_S);
    assert_true(clock_mono_ns() - began_ns < 5 * NS_PER_S); /* by a search through all of them it would be minutes */
    free(subscribers);
    topic_tree_free(tree);
}

/* Random operations beside a plain list. */

static uint64_t seed(void) {
    const char *set = getenv("HELIOGRAF_SEED");

    return set != NULL ? strtoull(set, NULL, 10) : (uint64_t)clock_real_ns();
}

static void agrees_with_a_plain_list(void **state) {
    enum { BYTES = OPERATIONS * 14 };
    static struct tree_model model;
    uint8_t *bytes = malloc(BYTES);
    uint64_t random = seed(), operations = 0, met = 0, matches = 0;
    (void)state;

    print_message("HELIOGRAF_SEED=%llu\n", (unsigned long long)random);
    random = random * 2 + 1;
    for (unsigned run = 0; operations < OPERATIONS; run++) {
        size_t len = run % 2 == 0 ? BYTES / 4 : 400; /* long runs that fill the list, and short ones with few filters */
        for (size_t i = 0; i < len; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[i] = (uint8_t)(random >> 24);
        }
        tree_model_run(&model, (struct words){ bytes, bytes + len });
        operations += model.operations;
        matches += model.matches;
        met += model.met;
    }
    print_message("%llu operations, %llu matches, %.1f subscriptions and groups met per match\n", (unsigned long long)operations,
                  (unsigned long long)matches, (double)met / (double)matches);
    assert_true(matches > OPERATIONS / 8 && met > 5 * matches);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest more[] = {
        cmocka_unit_test(a_second_one_replaces_the_terms),
        cmocka_unit_test(overlapping_filters_are_met_once_each),
        cmocka_unit_test(a_group_keeps_its_members_in_order),
        cmocka_unit_test(a_groups_word_lives_as_long_as_the_group),
        cmocka_unit_test(groups_differ_by_name_and_by_filter),
        cmocka_unit_test(shared_and_plain_ones_are_removed_crosswise),
        cmocka_unit_test(matches_within_a_match),
        cmocka_unit_test(is_as_deep_as_a_topic_can_be),
        cmocka_unit_test(a_subscription_is_small_and_gives_its_memory_back),
        cmocka_unit_test(a_hundred_thousand_subscribers_of_one_filter_come_and_go),
        cmocka_unit_test(agrees_with_a_plain_list),
    };
    enum { ROWS = sizeof rows / sizeof rows[0], MORE = sizeof more / sizeof more[0] };
    struct CMUnitTest tests[ROWS + MORE];

    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = matches_row, .initial_state = &rows[i] };
    memcpy(tests + ROWS, more, sizeof more);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
