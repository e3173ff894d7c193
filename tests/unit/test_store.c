/* tests/unit/test_store.c: what the store is told comes back after it was written, and only then; what undid itself is never written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/store_fixture.h"

static int set_up(void **state) {
    static struct store_fixture fixture;

    fixture_new(&fixture);
    *state = &fixture;
    return fixture_open(&fixture) && fixture_start(&fixture) ? 0 : -1;
}

static int tear_down(void **state) {
    fixture_end(*state);
    return 0;
}

static void reopen(struct store_fixture *fixture) {
    fixture_close(fixture);
    if (!fixture_open(fixture) || !fixture_start(fixture))
        fail_msg("%s", fixture->err.text);
    assert_false(fixture->recovery.damaged);
}

static void expect_text(struct store_fixture *fixture, const char *want) {
    if (strcmp(buf_cstr(&fixture->text), want) != 0)
        fail_msg("read\n%s\ninstead of\n%s", buf_cstr(&fixture->text), want);
}

static struct stored_session make_session(uint64_t number, const char *client_id) {
    return (struct stored_session){ .number = number, .client_id = str_of(client_id), .user = STR("bert"), .version = 5, .expiry_s = UINT32_MAX,
                                    .ended_ns = 12 };
}

static void everything_comes_back(void **state) {
    struct store_fixture *fixture = *state;
    const struct subscription_terms terms = { 2, true, true, 2, 268435455 }, plain = { .qos = 0 };
    struct stored_session session = make_session(7, "a"), other = make_session(8, "b");
    struct publication *publication = make_publication("t/1", "21.5"), *will = make_publication("t/2", "");
    struct stored_delivery delivery = { .session = 7, .qos = 2, .retain = true, .packet_id = 65535, .state = DELIVERY_RECEIVED,
                                        .subscription_ids = STR("ids") };

    store_put_publication(fixture->store, publication);
    store_put_publication(fixture->store, will);
    session.has_will = true;
    session.will = will->number;
    session.will_delay_s = 30;
    store_put_session(fixture->store, &session);
    store_put_session(fixture->store, &other);
    store_put_subscription(fixture->store, 7, STR("plant/+/#"), &terms);
    store_put_subscription(fixture->store, 8, STR("$share/g/x"), &plain);
    store_put_received(fixture->store, 8, 1);
    store_put_received(fixture->store, 8, 65535);
    delivery.publication = publication->number;
    assert_int_equal(store_put_delivery(fixture->store, &delivery), 3);
    delivery = (struct stored_delivery){ .session = 8, .publication = publication->number, .qos = 1 };
    assert_int_equal(store_put_delivery(fixture->store, &delivery), 4);
    store_put_retained(fixture->store, publication->number);
    store_put_delayed(fixture->store, publication->number, 1234567890123456789);
    assert_int_equal(publication->number, 1);
    publication_unref(publication); /* held by the group */
    publication_unref(will);
    assert_true(fixture_write(fixture));
    reopen(fixture);
    expect_text(fixture, "publication 1 t/1=21.5 properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n"
                         "publication 2 t/2= properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n"
                         "session 7 a user=bert version=5 expiry=4294967295 ended=12 will=1,30,2\n"
                         "session 8 b user=bert version=5 expiry=4294967295 ended=12 will=0,0,0\n"
                         "subscription 7 plant/+/# qos=2 nl=1 rap=1 rh=2 id=268435455\n"
                         "subscription 8 $share/g/x qos=0 nl=0 rap=0 rh=0 id=0\n"
                         "received 8 1\n"
                         "received 8 65535\n"
                         "retained 1\n"
                         "delayed 1 due=1234567890123456789\n"
                         "delivery 3 to=7 of=1 qos=2 retain=1 id=65535 state=2 ids=ids\n"
                         "delivery 4 to=8 of=1 qos=1 retain=0 id=0 state=0 ids=\n");
    assert_int_equal(fixture->recovery.publications, 2);
    assert_int_equal(fixture->recovery.sessions, 2);
    assert_int_equal(fixture->recovery.subscriptions, 2);
    assert_int_equal(fixture->recovery.received, 2);
    assert_int_equal(fixture->recovery.deliveries, 2);
    assert_int_equal(fixture->recovery.retained, 1);
    assert_int_equal(fixture->recovery.delayed, 1);
    assert_int_equal(fixture->recovery.orphans, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_comes_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
