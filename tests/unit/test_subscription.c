/* tests/unit/test_subscription.c: which filters are asked for, and which messages are copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/mqtt_client/subscription.h"

static struct cfg_strings list_of(char **items, size_t count) {
    return (struct cfg_strings){ .items = items, .count = count };
}

static char text_press[] = "+/press", text_plant[] = "plant/+", text_all[] = "plant/#", text_deep[] = "plant/a/b",
            text_share[] = "$share/g/plant/#", text_other[] = "office/#";

static void asks_for_no_filter_that_another_one_covers(void **state) {
    char *items[] = { text_deep, text_all, text_share, text_all, text_other };
    struct cfg_strings list = list_of(items, 5);
    struct subscriptions subs;

    (void)state;
    assert_true(subscriptions_init(&subs, &list));
    assert_int_equal(subs.items[0].covered_by, 1);
    assert_int_equal(subs.items[1].covered_by, -1);
    assert_int_equal(subs.items[2].covered_by, -1); /* shared: left alone */
    assert_int_equal(subs.items[3].covered_by, 1);  /* of two that are the same the first one stays */
    assert_int_equal(subs.items[4].covered_by, -1);
    assert_false(subs.overlapping);
    assert_int_equal(subscriptions_in(&subs, SUBSCRIPTION_ASKED), 3);
    subscriptions_release(&subs);
}

static void identifiers_stay_the_same_from_run_to_run(void **state) {
    char *before[] = { text_press, text_plant }, *after[] = { text_other, text_plant, text_press };
    struct cfg_strings first = list_of(before, 2), second = list_of(after, 3);
    struct subscriptions a, b;

    (void)state;
    assert_true(subscriptions_init(&a, &first));
    assert_true(subscriptions_init(&b, &second));
    assert_int_equal(a.items[0].identifier, b.items[2].identifier);
    assert_int_equal(a.items[1].identifier, b.items[1].identifier);
    assert_true(a.items[0].identifier > 0 && a.items[0].identifier <= 268435455);
    assert_true(a.overlapping);
    subscriptions_release(&a);
    subscriptions_release(&b);
}

/* ---- copies: a row is a sequence of arrivals for the filters X = +/press and Y = plant/+ --------------------------
 */

static struct copy_row {
    const char *name;
    const char
        *arrivals; /* X, Y, B: both identifiers at once, U: an unknown one, N: none; a small letter: another payload */
    const char *want; /* d: delivered, c: a copy */
} copy_rows[] = {
    { "two copies of one message", "XY", "dc" },
    { "in the other order", "YX", "dc" },
    { "the same value published twice", "XYXY", "dcdc" },
    { "two publishers in between each other", "XXYY", "ddcc" },
    { "one copy that names both", "BB", "dd" },
    { "kept from a time when only one filter was there", "YYYXYXY", "dddcdcd" },
    { "another value is another message", "XyxY", "ddcc" },
    { "an identifier that is not ours", "XUU", "ddd" },
    { "a broker without identifiers", "NN", "dd" },
};

static char judged(struct subscriptions *subs, char arrival, int64_t at_ns) {
    bool lower = arrival >= 'a';
    char upper = (char)(lower ? arrival - 'a' + 'A' : arrival);
    struct message message = { .topic = STR("plant/press"),
                               .payload = lower ? STR("2") : STR("1"),
                               .received_ns = at_ns };
    uint32_t ids[2];
    size_t count = 0;

    if (upper == 'X' || upper == 'B')
        ids[count++] = subs->items[0].identifier;
    if (upper == 'Y' || upper == 'B')
        ids[count++] = subs->items[1].identifier;
    if (upper == 'U')
        ids[count++] = 4711;
    return subscriptions_is_copy(subs, &message, ids, count) ? 'c' : 'd';
}

static void tells_copies_row(void **state) {
    const struct copy_row *row = *state;
    char *items[] = { text_press, text_plant };
    struct cfg_strings list = list_of(items, 2);
    struct subscriptions subs;

    assert_true(subscriptions_init(&subs, &list));
    for (size_t i = 0; row->arrivals[i] != '\0'; i++)
        assert_int_equal(judged(&subs, row->arrivals[i], (int64_t)i + 1), row->want[i]);
    subscriptions_release(&subs);
}

static void an_old_message_has_no_copies(void **state) {
    char *items[] = { text_press, text_plant };
    struct cfg_strings list = list_of(items, 2);
    struct subscriptions subs;

    (void)state;
    assert_true(subscriptions_init(&subs, &list));
    assert_int_equal(judged(&subs, 'X', 1), 'd');
    assert_int_equal(judged(&subs, 'Y', 1 + 6 * NS_PER_S), 'd');
    subscriptions_release(&subs);
}

/* Work, not time: a list that is twice as long takes twice as many steps. */
static uint64_t steps_for(unsigned count, bool cover_all) {
    char (*texts)[32] = calloc(count, sizeof *texts), **items = calloc(count, sizeof *items);
    struct cfg_strings list = list_of(items, count);
    struct subscriptions subs;

    for (unsigned i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], cover_all && i == count / 2 ? "plant/#" : "plant/%u/+", i);
        items[i] = texts[i];
    }
    assert_true(subscriptions_init(&subs, &list));
    assert_false(subs.overlapping);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(subs.items[i].covered_by, cover_all && i != count / 2 ? (int)(count / 2) : -1);
    uint64_t steps = subs.steps;
    subscriptions_release(&subs);
    free(items);
    free(texts);
    return steps;
}

static void many_filters_cost_a_few_steps_each(void **state) {
    (void)state;
    for (int cover_all = 0; cover_all < 2; cover_all++) {
        uint64_t few = steps_for(10000, cover_all), many = steps_for(20000, cover_all);
        assert_true(few <= 10000 * 16);
        assert_true(many <= 2 * few + 100);
    }
}

int main(void) {
    enum { ROWS = 64 };
    struct CMUnitTest tests[ROWS] = {
        cmocka_unit_test(asks_for_no_filter_that_another_one_covers),
        cmocka_unit_test(identifiers_stay_the_same_from_run_to_run),
        cmocka_unit_test(an_old_message_has_no_copies),
        cmocka_unit_test(many_filters_cost_a_few_steps_each),
    };
    size_t count = 4;

    for (size_t i = 0; i < sizeof copy_rows / sizeof *copy_rows; i++)
        tests[count++] = (struct CMUnitTest){ copy_rows[i].name, tells_copies_row, NULL, NULL, &copy_rows[i] };
    return _cmocka_run_group_tests("subscription", tests, count, NULL, NULL);
}
