/* tests/unit/test_remembered.c: a message that comes again is known when it cannot be another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/broker/remembered.h"

static struct message_origin origin(uint32_t session, uint16_t id, uint64_t content) {
    return (struct message_origin){ .content = content, .session = session, .id = id };
}

static void nothing_is_known_at_first(void **state) {
    struct remembered remembered = { .entries = NULL };

    (void)state;
    assert_false(remembered_take(&remembered, origin(1, 1, 1)));
    remembered_add(&remembered, origin(1, 0, 1), true); /* QoS 0 has no identifier */
    assert_int_equal(remembered.count, 0);
}

static void what_was_certainly_not_acknowledged_is_known_once(void **state) {
    struct remembered remembered = { .entries = NULL };

    (void)state;
    remembered_add(&remembered, origin(1, 5, 55), true);
    assert_false(remembered_take(&remembered, origin(2, 5, 55)));
    assert_false(remembered_take(&remembered, origin(1, 6, 55)));
    assert_false(remembered_take(&remembered, origin(1, 5, 56)));
    assert_true(remembered_take(&remembered, origin(1, 5, 55)));
    assert_false(remembered_take(&remembered, origin(1, 5, 55)));
    remembered_release(&remembered);
}

static void a_client_that_counts_upwards_is_trusted(void **state) {
    struct remembered remembered = { .entries = NULL };

    (void)state;
    for (uint16_t id = 65530; id != 5; id = (uint16_t)(id == UINT16_MAX ? 1 : id + 1)) {
        remembered_add(&remembered, origin(1, id, 9), false);
        remembered_add(&remembered, origin(2, 1, 9), false); /* another client between */
    }
    assert_true(remembered_take(&remembered, origin(1, 4, 9)));
    assert_true(remembered_take(&remembered, origin(1, 65535, 9)));
    assert_false(remembered_take(&remembered, origin(1, 5, 9)));
    remembered_release(&remembered);
}

static void one_that_uses_an_identifier_again_at_once_is_not(void **state) {
    struct remembered remembered = { .entries = NULL };

    (void)state;
    for (int i = 0; i < 10; i++)
        remembered_add(&remembered, origin(1, 1, 9), false);
    assert_false(remembered_take(&remembered, origin(1, 1, 9)));
    remembered_add(&remembered, origin(3, 7, 9), false); /* a single one proves nothing */
    assert_false(remembered_take(&remembered, origin(3, 7, 9)));
    remembered_release(&remembered);
}

static void the_oldest_go(void **state) {
    struct remembered remembered = { .entries = NULL };

    (void)state;
    for (unsigned i = 0; i < REMEMBERED_MAX + 10; i++)
        remembered_add(&remembered, origin(i, 1, i), true);
    assert_int_equal(remembered.count, REMEMBERED_MAX);
    assert_false(remembered_take(&remembered, origin(9, 1, 9)));
    assert_true(remembered_take(&remembered, origin(10, 1, 10)));
    assert_true(remembered_take(&remembered, origin(REMEMBERED_MAX + 9, 1, REMEMBERED_MAX + 9)));
    remembered_release(&remembered);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(what_was_certainly_not_acknowledged_is_known_once),
        cmocka_unit_test(a_client_that_counts_upwards_is_trusted),
        cmocka_unit_test(one_that_uses_an_identifier_again_at_once_is_not),
        cmocka_unit_test(the_oldest_go),
    };

    return cmocka_run_group_tests_name("remembered", tests, NULL, NULL);
}
