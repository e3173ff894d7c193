/* tests/unit/test_wheel.c: deadlines are never early, late by a slot at most, and may be moved and taken away at any time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/broker/wheel.h"

enum { MANY = 2000 };
static const int64_t ms = 1000000, slot = WHEEL_SLOT_MS * INT64_C(1000000), start = 1234567890123;

static void a_deadline_comes_after_its_time_and_soon(void **state) {
    struct wheel wheel;
    struct wheel_entry entry = { NULL, NULL, 0 };

    (void)state;
    wheel_init(&wheel, start);
    for (int64_t delay = 0; delay < 200 * slot; delay += 37 * ms) {
        int64_t now = start + delay * 3, due = now + delay;
        wheel_set(&wheel, &entry, due);
        assert_null(delay > 0 ? wheel_take_due(&wheel, due - 1) : NULL);
        int64_t at = due - 1;
        while (wheel_take_due(&wheel, at) == NULL)
            at += ms;
        assert_in_range(at - due, 0, slot + ms);
        assert_null(entry.link);
        wheel_init(&wheel, start + (delay + 37 * ms) * 3);
    }
}

static void a_moved_deadline_counts_from_its_last_place(void **state) {
    struct wheel wheel;
    struct wheel_entry entry = { NULL, NULL, 0 };

    (void)state;
    wheel_init(&wheel, start);
    wheel_set(&wheel, &entry, start + slot);
    wheel_set(&wheel, &entry, start + 10 * slot);
    assert_int_equal(wheel.count, 1);
    assert_null(wheel_take_due(&wheel, start + 9 * slot));
    assert_ptr_equal(wheel_take_due(&wheel, start + 12 * slot), &entry);
    wheel_set(&wheel, &entry, start + 20 * slot);
    wheel_clear(&wheel, &entry);
    wheel_clear(&wheel, &entry);
    assert_null(wheel_take_due(&wheel, start + 40 * slot));
}

static void one_further_away_than_the_wheel_waits_for_its_turn(void **state) {
    struct wheel wheel;
    struct wheel_entry entry = { NULL, NULL, 0 };
    int64_t due = start + 5 * WHEEL_SLOTS * slot + 3 * slot;

    (void)state;
    wheel_init(&wheel, start);
    wheel_set(&wheel, &entry, due);
    for (int64_t now = start; now < due; now += slot)
        assert_null(wheel_take_due(&wheel, now));
    assert_ptr_equal(wheel_take_due(&wheel, due + slot), &entry);
}

static void a_long_sleep_loses_none(void **state) {
    static struct wheel_entry entries[MANY];
    struct wheel wheel;
    size_t taken = 0;

    (void)state;
    wheel_init(&wheel, start);
    srand(7);
    for (size_t i = 0; i < MANY; i++)
        wheel_set(&wheel, &entries[i], start + (int64_t)(rand() % 100000) * ms);
    while (wheel_take_due(&wheel, start + 100001 * ms) != NULL)
        taken++;
    assert_int_equal(taken, MANY);
    assert_int_equal(wheel.count, 0);
}

static void each_is_taken_once_whatever_the_order(void **state) {
    static struct wheel_entry entries[MANY];
    struct wheel wheel;
    struct wheel_entry *entry;
    int64_t now = start;
    size_t taken = 0;

    (void)state;
    wheel_init(&wheel, start);
    srand(11);
    for (size_t i = 0; i < MANY; i++) {
        entries[i].link = NULL;
        wheel_set(&wheel, &entries[i], start + (int64_t)(rand() % 90000) * ms);
    }
    while (now < start + 91000 * ms) {
        now += (rand() % 400) * ms;
        while ((entry = wheel_take_due(&wheel, now)) != NULL) {
            assert_true(entry->due_ns <= now);
            taken++;
        }
    }
    assert_int_equal(taken, MANY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_comes_after_its_time_and_soon),
        cmocka_unit_test(a_moved_deadline_counts_from_its_last_place),
        cmocka_unit_test(one_further_away_than_the_wheel_waits_for_its_turn),
        cmocka_unit_test(a_long_sleep_loses_none),
        cmocka_unit_test(each_is_taken_once_whatever_the_order),
    };

    return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
