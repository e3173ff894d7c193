/* tests/unit/test_held_acks.c: acknowledgements leave in order, when they are due, and never twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/mqtt_client/held_acks.h"

enum { MANY = 4096 };

static void add(struct held_acks *held, uint16_t id, uint64_t sequence) {
    assert_true(held_acks_add(held, id, sequence, id));
}

static void nothing_is_due_before_its_sequence(void **state) {
    struct held_acks held = { 0 };
    uint16_t ids[8];

    (void)state;
    assert_int_equal(held_acks_due(&held, UINT64_MAX, ids, 8), 0);
    assert_int_equal(held_acks_oldest_ns(&held), 0);
    add(&held, 7, 10);
    add(&held, 8, 11);
    assert_int_equal(held_acks_due(&held, 9, ids, 8), 0);
    assert_int_equal(held_acks_due(&held, 10, ids, 8), 1);
    assert_int_equal(ids[0], 7);
    assert_int_equal(held_acks_due(&held, 11, ids, 8), 2); /* still held until said to be sent */
    assert_int_equal(held_acks_oldest_ns(&held), 7);
    held_acks_release(&held);
}

static void none_overtakes_one_that_waits(void **state) {
    struct held_acks held = { 0 };
    uint16_t ids[8];

    (void)state;
    add(&held, 1, 5);
    add(&held, 2, 0); /* needs no disk, but waits for its turn */
    add(&held, 3, 6);
    assert_int_equal(held_acks_due(&held, 4, ids, 8), 0);
    assert_int_equal(held_acks_due(&held, 5, ids, 8), 2);
    assert_int_equal(ids[1], 2);
    held_acks_release(&held);
}

static void what_was_sent_does_not_come_again(void **state) {
    struct held_acks held = { 0 };
    uint16_t ids[8];

    (void)state;
    for (uint16_t i = 1; i <= 5; i++)
        add(&held, i, i);
    assert_int_equal(held_acks_due(&held, 5, ids, 2), 2); /* at most as many as asked for */
    held_acks_sent(&held, 2);
    assert_int_equal(held_acks_due(&held, 5, ids, 8), 3);
    assert_int_equal(ids[0], 3);
    held_acks_sent(&held, 99);
    assert_int_equal(held.count, 0);
    held_acks_sent(&held, 1);
    assert_int_equal(held.count, 0);
    held_acks_release(&held);
}

static void order_survives_growing_and_wrapping(void **state) {
    struct held_acks held = { 0 };
    uint16_t ids[MANY], next_in = 1, next_out = 1;

    (void)state;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 700 + round * 30; i++)
            add(&held, next_in++, 1);
        size_t due = held_acks_due(&held, 1, ids, 600);
        for (size_t i = 0; i < due; i++)
            assert_int_equal(ids[i], next_out++);
        held_acks_sent(&held, due);
    }
    assert_true(held.count > 1024);
    held_acks_release(&held);
}

static void there_is_room_for_every_identifier_and_no_more(void **state) {
    struct held_acks held = { 0 };

    (void)state;
    for (size_t i = 0; i < HELD_ACKS_MAX; i++)
        assert_true(held_acks_add(&held, (uint16_t)i, 1, 1));
    assert_false(held_acks_add(&held, 1, 1, 1));
    assert_int_equal(held_acks_discard(&held), HELD_ACKS_MAX);
    assert_true(held_acks_add(&held, 1, 1, 1));
    held_acks_release(&held);
}

static void a_lost_connection_leaves_nothing_due(void **state) {
    struct held_acks held = { 0 };
    uint16_t ids[8];

    (void)state;
    add(&held, 1, 1);
    add(&held, 2, 2);
    assert_int_equal(held_acks_discard(&held), 2);
    assert_int_equal(held_acks_due(&held, 2, ids, 8), 0);
    assert_int_equal(held_acks_discard(&held), 0);
    held_acks_release(&held);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_due_before_its_sequence),
        cmocka_unit_test(none_overtakes_one_that_waits),
        cmocka_unit_test(what_was_sent_does_not_come_again),
        cmocka_unit_test(order_survives_growing_and_wrapping),
        cmocka_unit_test(there_is_room_for_every_identifier_and_no_more),
        cmocka_unit_test(a_lost_connection_leaves_nothing_due),
    };

    return cmocka_run_group_tests_name("held_acks", tests, NULL, NULL);
}
