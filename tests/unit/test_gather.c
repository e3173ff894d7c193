/* tests/unit/test_gather.c: a loop waits for sockets to come together only while that brings many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/loop/gather.h"

static bool round_with(struct gather *gather, unsigned served) {
    gather->patient += served;
    return gather_is_worth_it(gather);
}

static void never_waits_without_patient_peers(void **state) {
    struct gather gather = { 0 };

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_false(round_with(&gather, 0));
}

static void goes_on_waiting_while_many_come(void **state) {
    struct gather gather = { 0 };

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_true(round_with(&gather, GATHER_WORTH));
}

static void a_lone_client_meets_one_wait_in_many_rounds(void **state) {
    struct gather gather = { 0 };
    int waits = 0;

    (void)state;
    for (int i = 0; i < 1000; i++)
        waits += round_with(&gather, 1);
    assert_in_range(waits, 1, 1000 / GATHER_PAUSE + 1);
}

static void tries_again_after_the_pause(void **state) {
    struct gather gather = { 0 };

    (void)state;
    assert_true(round_with(&gather, 1));
    assert_false(round_with(&gather, GATHER_WORTH - 1)); /* too few: in vain */
    for (int i = 1; i < GATHER_PAUSE; i++)
        assert_false(round_with(&gather, GATHER_WORTH));
    assert_true(round_with(&gather, GATHER_WORTH));
}

static void a_wait_that_brought_nothing_is_in_vain(void **state) {
    struct gather gather = { 0 };

    (void)state;
    assert_true(round_with(&gather, 1));
    assert_false(round_with(&gather, 0));
    assert_false(round_with(&gather, GATHER_WORTH));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_waits_without_patient_peers),
        cmocka_unit_test(goes_on_waiting_while_many_come),
        cmocka_unit_test(a_lone_client_meets_one_wait_in_many_rounds),
        cmocka_unit_test(tries_again_after_the_pause),
        cmocka_unit_test(a_wait_that_brought_nothing_is_in_vain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
