/* tests/unit/test_publication.c: what a publication copies, and when it goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "agent/broker/publication.h"

static const struct publication_parts full = {
    .topic = STR_INIT("plant/a"),
    .payload = STR_INIT("21.5\0after a NUL"),
    .properties = STR_INIT("\x03\x00\x02r1"),
    .client_id = STR_INIT("press-4"),
    .user = STR_INIT("line"),
    .qos = 2,
    .retain = true,
    .expires_ns = 1764000000000000000,
    .published_ns = 1763000000000000000,
};

static void keeps_all_parts(void **state) {
    struct publication *publication = publication_new(&full);
    (void)state;

    assert_true(str_eq(publication->topic, full.topic));
    assert_true(str_eq(publication->payload, full.payload));
    assert_int_equal(publication->payload.len, 16);
    assert_true(str_eq(publication->properties, full.properties));
    assert_true(str_eq(publication->client_id, full.client_id));
    assert_true(str_eq(publication->user, full.user));
    assert_int_equal(publication->qos, 2);
    assert_true(publication->retain);
    assert_int_equal(publication->expires_ns, full.expires_ns);
    assert_int_equal(publication->published_ns, full.published_ns);
    assert_int_equal(publication->number, 0);
    publication_unref(publication);
}

static void copies_what_it_keeps(void **state) {
    char payload[] = "before";
    struct publication_parts parts = { .topic = STR("t"), .payload = str_of(payload) };
    struct publication *publication = publication_new(&parts);
    (void)state;

    memset(payload, 'x', 6);
    assert_true(str_eq_c(publication->payload, "before"));
    publication_unref(publication);
}

static void takes_parts_that_are_not_there(void **state) {
    struct publication *publication = publication_new(&(struct publication_parts){ .topic = STR("t") });
    (void)state;

    assert_int_equal(publication->payload.len, 0);
    assert_int_equal(publication->user.len, 0);
    assert_int_equal(publication_size(publication), sizeof *publication + 1);
    publication_unref(publication);
}

static void lives_until_the_last_reference(void **state) {
    struct publication *publication = publication_new(&full);
    (void)state;

    assert_ptr_equal(publication_ref(publication), publication);
    publication_unref(publication);
    assert_true(str_eq(publication->topic, full.topic));
    publication_unref(publication); /* the leak checker speaks up if it stays */
    publication_unref(NULL);
}

static void size_is_that_of_all_texts(void **state) {
    struct publication *publication = publication_new(&full);
    (void)state;

    assert_int_equal(publication_size(publication), sizeof *publication + 7 + 16 + 5 + 7 + 4);
    publication_unref(publication);
}

static void expires_at_its_time(void **state) {
    struct publication publication = { .expires_ns = 100 };
    (void)state;

    assert_false(publication_is_expired(&publication, 99));
    assert_true(publication_is_expired(&publication, 100));
    publication.expires_ns = 0;
    assert_false(publication_is_expired(&publication, INT64_MAX));
}

static void refuses_what_no_memory_can_hold(void **state) {
    struct publication_parts parts = { .topic = { "t", 1 }, .payload = { "p", SIZE_MAX - 100 } };
    (void)state;

    assert_null(publication_new(&parts));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_all_parts),
        cmocka_unit_test(copies_what_it_keeps),
        cmocka_unit_test(takes_parts_that_are_not_there),
        cmocka_unit_test(lives_until_the_last_reference),
        cmocka_unit_test(size_is_that_of_all_texts),
        cmocka_unit_test(expires_at_its_time),
        cmocka_unit_test(refuses_what_no_memory_can_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
