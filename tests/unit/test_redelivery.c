/* tests/unit/test_redelivery.c: what comes again is known only when it cannot be anything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/mqtt_client/redelivery.h"

enum { WINDOW = 1000 };

static uint64_t content_of(unsigned n) {
    return 1000003u * (uint64_t)n + 7;
}

static int prepare(void **state) {
    struct redelivery *redelivery = malloc(sizeof *redelivery);

    redelivery_init(redelivery, WINDOW);
    *state = redelivery;
    return 0;
}

static int finish(void **state) {
    redelivery_release(*state);
    free(*state);
    return 0;
}

/* The n-th message from 1 of a broker that counts its identifiers through. */
static uint16_t id_of(unsigned n) {
    return (uint16_t)((n - 1) % 65535 + 1);
}

static void deliver(struct redelivery *redelivery, unsigned from, unsigned to) {
    for (unsigned n = from; n <= to; n++)
        redelivery_note(redelivery, id_of(n), content_of(n), n, false);
}

static bool known(const struct redelivery *redelivery, uint16_t id, uint64_t content) {
    uint64_t sequence;

    return redelivery_find(redelivery, id, content, &sequence);
}

static void nothing_is_known_at_first(void **state) {
    assert_false(known(*state, 1, content_of(1)));
    redelivery_lost_begin(*state);
    redelivery_lost_held(*state, 1);
    assert_false(known(*state, 1, content_of(1)));
}

static void what_was_held_at_the_loss_is_known(void **state) {
    struct redelivery *redelivery = *state;
    uint64_t sequence = 0;

    deliver(redelivery, 1, 3);
    assert_false(known(redelivery, 3, content_of(3))); /* the connection is the same: it cannot come again */
    redelivery_lost_begin(redelivery);
    redelivery_lost_held(redelivery, 2);
    redelivery_lost_held(redelivery, 3);
    assert_true(redelivery_find(redelivery, 3, content_of(3), &sequence));
    assert_int_equal(sequence, 3);
    assert_true(known(redelivery, 2, content_of(2)));
    assert_false(known(redelivery, 3, content_of(2)));  /* another message under that identifier */
    assert_false(known(redelivery, 1, content_of(1)));  /* acknowledged: maybe an equal one that was lost */
}

static void what_was_acknowledged_after_the_loss_is_in_doubt_again(void **state) {
    struct redelivery *redelivery = *state;

    deliver(redelivery, 1, 3);
    redelivery_lost_begin(redelivery);
    redelivery_lost_held(redelivery, 3);
    assert_true(known(redelivery, 3, content_of(3)));
    redelivery_note(redelivery, 3, content_of(3), 3, true);
    redelivery_lost_begin(redelivery); /* this time its acknowledgement had been sent */
    assert_false(known(redelivery, 3, content_of(3)));
}

/* A second loss in the midst of what the broker sends again: the rest has not been acknowledged either. */
static void what_was_held_stays_known_until_it_comes_again(void **state) {
    struct redelivery *redelivery = *state;

    deliver(redelivery, 1, 3);
    redelivery_lost_begin(redelivery);
    redelivery_lost_held(redelivery, 1);
    redelivery_lost_held(redelivery, 2);
    redelivery_lost_held(redelivery, 3);
    redelivery_note(redelivery, 1, content_of(1), 1, true); /* and its acknowledgement is sent */
    redelivery_note(redelivery, 2, content_of(2), 2, true);
    redelivery_lost_begin(redelivery);
    redelivery_lost_held(redelivery, 2);
    assert_false(known(redelivery, 1, content_of(1)));
    assert_true(known(redelivery, 2, content_of(2)));
    assert_true(known(redelivery, 3, content_of(3)));
    deliver(redelivery, 4, 4); /* the broker is through: it has given up the others */
    redelivery_lost_begin(redelivery);
    assert_false(known(redelivery, 2, content_of(2)));
    assert_false(known(redelivery, 3, content_of(3)));
}

/* A window of messages that found no room, and come again: as if they came for the first time. */
static void messages_taken_at_the_second_try_do_not_end_the_counting(void **state) {
    struct redelivery *redelivery = *state;

    deliver(redelivery, 1, 2000);
    for (unsigned n = 1991; n <= 2000; n++) /* what was taken goes back, and says nothing */
        redelivery_note(redelivery, id_of(n), content_of(n), n, true);
    for (unsigned n = 2001; n <= 2000 + WINDOW; n++)
        redelivery_note(redelivery, id_of(n), content_of(n), n, true);
    deliver(redelivery, 2001 + WINDOW, 2001 + WINDOW);
    redelivery_lost_begin(redelivery);
    assert_true(known(redelivery, id_of(2000 + WINDOW), content_of(2000 + WINDOW)));
}

static void a_broker_that_counts_far_makes_acknowledged_ones_known(void **state) {
    struct redelivery *redelivery = *state;

    deliver(redelivery, 1, WINDOW);
    redelivery_lost_begin(redelivery);
    assert_false(known(redelivery, WINDOW, content_of(WINDOW))); /* it may still turn out to go round within the window */
    deliver(redelivery, WINDOW + 1, WINDOW + 1);
    redelivery_lost_begin(redelivery);
    assert_true(known(redelivery, WINDOW + 1, content_of(WINDOW + 1)));
    assert_true(known(redelivery, 1, content_of(1)));
}

static void counting_goes_on_behind_the_last_identifier(void **state) {
    struct redelivery *redelivery = *state;

    deliver(redelivery, 65000, 66000);
    assert_true(known(redelivery, id_of(66000), content_of(66000)));
    assert_int_equal(id_of(66000), 465);
    assert_true(known(redelivery, 65500, content_of(65500)));
    assert_false(known(redelivery, id_of(66000), content_of(465)));
}

static void gaps_do_not_end_the_counting(void **state) {
    struct redelivery *redelivery = *state;

    for (unsigned n = 1; n <= 2000; n += 7)
        deliver(redelivery, n, n);
    redelivery_lost_begin(redelivery);
    assert_true(known(redelivery, 1996, content_of(1996)));
}

static void an_identifier_of_long_ago_is_not_known(void **state) {
    struct redelivery *redelivery = *state;

    deliver(redelivery, 1, 20000); /* far more than can be under way */
    assert_true(known(redelivery, 20000, content_of(20000)));
    assert_false(known(redelivery, 5, content_of(5)));
}

static void a_broker_that_takes_the_lowest_free_identifier_is_not_trusted(void **state) {
    struct redelivery *redelivery = *state;

    for (unsigned n = 0; n < 5000; n++)
        redelivery_note(redelivery, (uint16_t)(1 + n % 3), content_of(9), n, false);
    redelivery_lost_begin(redelivery);
    assert_false(known(redelivery, 1, content_of(9)));
    redelivery_lost_held(redelivery, 1);
    assert_true(known(redelivery, 1, content_of(9)));
}

static void a_broker_that_goes_round_within_its_window_is_not_trusted(void **state) {
    struct redelivery *redelivery = *state;

    for (unsigned n = 0; n < 5000; n++)
        redelivery_note(redelivery, (uint16_t)(1 + n % 100), content_of(9), n, false);
    redelivery_lost_begin(redelivery);
    assert_false(known(redelivery, 50, content_of(9)));
}

static void a_new_session_begins_empty(void **state) {
    struct redelivery *redelivery = *state;

    deliver(redelivery, 1, 2000);
    redelivery_lost_begin(redelivery);
    redelivery_lost_held(redelivery, 2000);
    redelivery_forget(redelivery);
    assert_false(known(redelivery, 2000, content_of(2000)));
    assert_int_equal(redelivery->window, WINDOW);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, prepare, finish)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(nothing_is_known_at_first),
        CASE(what_was_held_at_the_loss_is_known),
        CASE(what_was_acknowledged_after_the_loss_is_in_doubt_again),
        CASE(what_was_held_stays_known_until_it_comes_again),
        CASE(messages_taken_at_the_second_try_do_not_end_the_counting),
        CASE(a_broker_that_counts_far_makes_acknowledged_ones_known),
        CASE(counting_goes_on_behind_the_last_identifier),
        CASE(gaps_do_not_end_the_counting),
        CASE(an_identifier_of_long_ago_is_not_known),
        CASE(a_broker_that_takes_the_lowest_free_identifier_is_not_trusted),
        CASE(a_broker_that_goes_round_within_its_window_is_not_trusted),
        CASE(a_new_session_begins_empty),
    };

    return cmocka_run_group_tests_name("redelivery", tests, NULL, NULL);
}
