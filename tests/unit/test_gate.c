/* tests/unit/test_gate.c: what senders share, under a clock that the test sets: nothing here waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/delivery/gate.h"

static int64_t now_ns, step_ns; /* each look at the clock moves it on by a step, so that whoever waits gets there */

static int64_t mono(void) {
    return now_ns += step_ns;
}

static struct gate gate;
static const struct pace_request any = { .lines = 1, .bytes = 100, .body_bytes = 100 };

static int open_with(double points_per_s, double bytes_per_s) {
    const struct pace_options options = { .senders = 4, .points_per_s = points_per_s, .bytes_per_s = bytes_per_s };

    now_ns = 1 * NS_PER_S; /* long past for the system's clock: nothing waits in truth */
    step_ns = 0;
    clock_override(NULL, mono);
    return gate_init(&gate, &options, 1 << 20) ? 0 : -1;
}

static int open_gate(void **state) {
    (void)state;
    return open_with(0, 0);
}

static int open_limited(void **state) {
    (void)state;
    return open_with(1000, 1 << 20);
}

static int close_gate(void **state) {
    (void)state;
    gate_release(&gate);
    clock_override(NULL, NULL);
    return 0;
}

static struct pace_news leave(enum outcome outcome, enum retry_class retry, int status, int64_t after_s) {
    struct reply reply = { .outcome = outcome, .retry = retry, .status = status, .retry_after_ns = after_s * NS_PER_S };

    return gate_leave(&gate, &any, &reply, now_ns, false);
}

static void enter(void) {
    now_ns += gate_state(&gate).pause_ns; /* the pause is over */
    assert_true(gate_enter(&gate, &any));
}

static struct pace_news fails(enum retry_class retry, int status) {
    enter();
    return leave(RETRY_LATER, retry, status, 0);
}

static struct pace_news succeeds(void) {
    enter();
    return leave(DELIVERED, RETRY_BACKOFF, 204, 0);
}

static void failures_in_a_row_lengthen_the_pause(void **state) {
    (void)state;
    for (unsigned i = 1; i <= 20; i++) {
        struct pace_news news = fails(RETRY_BACKOFF, 502);
        assert_int_equal(news.failures, i);
        assert_in_range(news.pause_ns, 0, 30 * NS_PER_S);
        assert_false(gate_state(&gate).up);
        now_ns += NS_PER_US;
    }
    assert_int_equal(succeeds().failures, 0);
    assert_true(gate_state(&gate).up);
    assert_int_equal(fails(RETRY_BACKOFF, 502).failures, 1);
}

static void senders_that_fail_together_count_once(void **state) {
    struct reply reply = { .outcome = RETRY_LATER, .status = 502 };
    int64_t entered = now_ns;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_true(gate_enter(&gate, &any));
    now_ns += NS_PER_MS;
    for (int i = 0; i < 4; i++)
        assert_int_equal(gate_leave(&gate, &any, &reply, entered, false).failures, 1);
    now_ns += 30 * NS_PER_S;
    assert_int_equal(fails(RETRY_BACKOFF, 502).failures, 2);
}

static void a_wish_of_the_server_counts_even_from_the_same_round(void **state) {
    struct reply reply = { .outcome = RETRY_LATER, .status = 429, .retry_after_ns = 77 * NS_PER_S };
    int64_t entered = now_ns;

    (void)state;
    assert_true(gate_enter(&gate, &any));
    assert_true(gate_enter(&gate, &any));
    now_ns += NS_PER_MS;
    leave(RETRY_LATER, RETRY_BACKOFF, 502, 0);
    gate_leave(&gate, &any, &reply, entered, false);
    assert_int_equal(gate_state(&gate).pause_ns, 77 * NS_PER_S);
}

static void a_new_kind_of_trouble_begins_with_short_pauses(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++)
        fails(RETRY_BACKOFF, 502);
    struct pace_news news = fails(RETRY_SLOWLY, 401);
    assert_int_equal(news.failures, 1);
    assert_in_range(news.pause_ns, 1, NS_PER_S);
}

static void the_first_success_tells_how_long_it_was_down(void **state) {
    (void)state;
    assert_int_equal(succeeds().was_down_ns, 0);
    fails(RETRY_BACKOFF, 502);
    now_ns += 60 * NS_PER_S;
    assert_true(succeeds().was_down_ns >= 60 * NS_PER_S);
    assert_int_equal(succeeds().was_down_ns, 0);
}

static void blamed_data_pauses_nobody(void **state) {
    struct reply reply = { .outcome = RETRY_LATER, .retry = RETRY_SUSPECT, .status = 500 };

    (void)state;
    enter();
    gate_leave(&gate, &any, &reply, now_ns, true);
    assert_int_equal(gate_state(&gate).pause_ns, 0);
    assert_true(gate_state(&gate).up);
}

static void overload_lowers_the_senders_and_clean_time_raises_them(void **state) {
    (void)state;
    for (unsigned want = 3; want >= 1; want--) {
        fails(RETRY_BACKOFF, 503);
        assert_int_equal(gate_state(&gate).limit, want);
    }
    fails(RETRY_BACKOFF, 503);
    assert_int_equal(gate_state(&gate).limit, 1);
    now_ns += 29 * NS_PER_S;
    succeeds();
    assert_int_equal(gate_state(&gate).limit, 1);
    for (unsigned want = 2; want <= 4; want++) {
        now_ns += 30 * NS_PER_S;
        succeeds();
        assert_int_equal(gate_state(&gate).limit, want);
    }
    now_ns += 300 * NS_PER_S;
    succeeds();
    assert_int_equal(gate_state(&gate).limit, 4);
}

static void a_refused_connection_is_no_overload_but_a_timeout_is(void **state) {
    struct reply reply = { .outcome = RETRY_LATER, .duration_ns = NS_PER_MS };

    (void)state;
    enter();
    gate_leave(&gate, &any, &reply, now_ns, false);
    assert_int_equal(gate_state(&gate).limit, 4);
    reply.duration_ns = 10 * NS_PER_S;
    enter();
    gate_leave(&gate, &any, &reply, now_ns, false);
    assert_int_equal(gate_state(&gate).limit, 3);
}

static void the_request_size_shrinks_at_once_and_grows_slowly(void **state) {
    (void)state;
    assert_int_equal(gate_ceiling(&gate), 1 << 20);
    gate_too_large(&gate, 800000);
    assert_int_equal(gate_ceiling(&gate), 400000);
    gate_too_large(&gate, 1 << 20); /* an older, larger request: teaches nothing new */
    assert_int_equal(gate_ceiling(&gate), 400000);
    now_ns += 300 * NS_PER_S;
    assert_int_equal(gate_ceiling(&gate), 450000);
    assert_int_equal(gate_ceiling(&gate), 450000);
    for (int i = 0; i < 20; i++) {
        now_ns += 300 * NS_PER_S;
        gate_ceiling(&gate);
    }
    assert_int_equal(gate_ceiling(&gate), 1 << 20);
    gate_too_large(&gate, 10);
    assert_int_equal(gate_ceiling(&gate), 4096); /* one tiny line must not cut all others to pieces */
}

static void a_refused_target_is_remembered_for_five_minutes(void **state) {
    (void)state;
    assert_false(gate_target_refused(&gate, STR("a")));
    gate_refuse_target(&gate, STR("a"));
    assert_true(gate_target_refused(&gate, STR("a")));
    assert_false(gate_target_refused(&gate, STR("b")));
    now_ns += 301 * NS_PER_S;
    assert_false(gate_target_refused(&gate, STR("a")));
}

static void the_oldest_refused_target_makes_room(void **state) {
    char name = 'a';

    (void)state;
    for (int i = 0; i < GATE_REFUSED_TARGETS + 1; i++, name++) {
        now_ns += NS_PER_S;
        gate_refuse_target(&gate, str_make(&name, 1));
    }
    assert_false(gate_target_refused(&gate, STR("a")));
    assert_true(gate_target_refused(&gate, STR("b")));
    assert_true(gate_target_refused(&gate, STR("q")));
}

static void stopping_ends_the_pause_and_the_deadline_ends_all(void **state) {
    (void)state;
    enter();
    leave(RETRY_LATER, RETRY_BACKOFF, 429, 300);
    gate_stop(&gate, now_ns + 5 * NS_PER_S);
    assert_true(gate_enter(&gate, &any)); /* once more, at once */
    assert_in_range(leave(RETRY_LATER, RETRY_SLOWLY, 401, 0).pause_ns, 1, NS_PER_S);
    assert_true(gate_open(&gate));
    now_ns += 5 * NS_PER_S;
    assert_false(gate_open(&gate));
    assert_false(gate_enter(&gate, &any));
}

static void a_wish_past_the_deadline_ends_it_now(void **state) {
    (void)state;
    gate_stop(&gate, now_ns + 5 * NS_PER_S);
    assert_true(gate_enter(&gate, &any));
    leave(RETRY_LATER, RETRY_BACKOFF, 429, 60);
    assert_false(gate_enter(&gate, &any));
}

static void the_earlier_deadline_counts(void **state) {
    (void)state;
    gate_stop(&gate, now_ns + 5 * NS_PER_S);
    gate_stop(&gate, now_ns + 1 * NS_PER_S);
    gate_stop(&gate, now_ns + 9 * NS_PER_S);
    now_ns += 1 * NS_PER_S;
    assert_false(gate_open(&gate));
}

static void without_a_limit_taking_is_bounded_by_the_request_size_alone(void **state) {
    struct gate_turn turn;

    (void)state;
    for (int i = 0; i < 3; i++) { /* several at once */
        assert_true(gate_begin_take(&gate, &turn));
        assert_int_equal(turn.most.lines, UINT32_MAX);
        assert_int_equal(turn.most.bytes, 1 << 20);
        assert_int_equal(turn.waited_ns, 0);
    }
    assert_int_equal(gate_end_take(&gate, &turn, 5000, 1 << 20, 0).lines, UINT32_MAX);
}

static void what_is_taken_is_paid_for_and_the_next_taker_waits(void **state) {
    struct gate_turn turn;
    struct pace_grant paid;

    (void)state;
    assert_true(gate_begin_take(&gate, &turn));
    assert_int_equal(turn.most.lines, 1000);
    assert_int_equal(turn.most.bytes, 1 << 20);
    paid = gate_end_take(&gate, &turn, 1000, 1000, now_ns);
    assert_int_equal(paid.lines, 1000);
    assert_int_equal(paid.bytes, 1000);
    step_ns = NS_PER_MS;
    int64_t begun = now_ns;
    assert_true(gate_begin_take(&gate, &turn));
    assert_in_range(now_ns - begun, 500 * NS_PER_MS, 510 * NS_PER_MS); /* half a bucket */
    assert_in_range(turn.most.lines, 500, 510);
    gate_end_take(&gate, &turn, 1, 1, begun);
    assert_in_range(metric_get(&gate.waited_ns[PACE_RATE]), 490 * NS_PER_MS, 510 * NS_PER_MS);
}

static void a_wait_that_held_nothing_back_is_not_counted(void **state) {
    struct gate_turn turn;

    (void)state;
    assert_true(gate_begin_take(&gate, &turn));
    gate_end_take(&gate, &turn, 1000, 1000, now_ns);
    step_ns = NS_PER_MS;
    assert_true(gate_begin_take(&gate, &turn));
    assert_true(turn.waited_ns > 0);
    gate_end_take(&gate, &turn, 5, 500, now_ns); /* younger than the end of the wait */
    assert_int_equal(metric_get(&gate.waited_ns[PACE_RATE]), 0);
}

static void a_message_larger_than_the_grant_pays_the_rest_later(void **state) {
    struct gate_turn turn;
    struct pace_grant paid;

    (void)state;
    assert_true(gate_begin_take(&gate, &turn));
    paid = gate_end_take(&gate, &turn, 2500, 3 << 20, now_ns);
    assert_int_equal(paid.lines, 1000);
    assert_int_equal(paid.bytes, 1 << 20);
}

static void a_retry_pays_again(void **state) {
    const struct pace_request retry = { .lines = 700, .bytes = 1000, .body_bytes = 1000 };

    (void)state;
    assert_true(gate_enter(&gate, &retry));
    leave(RETRY_LATER, RETRY_BACKOFF, 500, 0);
    now_ns += gate_state(&gate).pause_ns;
    step_ns = NS_PER_MS;
    int64_t begun = now_ns;
    assert_true(gate_enter(&gate, &retry)); /* 300 and what the pause gave are left */
    assert_in_range(now_ns - begun, 100 * NS_PER_MS, 410 * NS_PER_MS);
    assert_true(metric_get(&gate.waited_ns[PACE_RATE]) > 0);
}

static void stopping_keeps_to_the_limit_and_gives_up_at_the_deadline(void **state) {
    struct gate_turn turn;

    (void)state;
    assert_true(gate_begin_take(&gate, &turn));
    gate_end_take(&gate, &turn, 1000, 1000, now_ns);
    gate_stop(&gate, now_ns + 100 * NS_PER_MS);
    step_ns = NS_PER_MS;
    int64_t begun = now_ns;
    assert_false(gate_begin_take(&gate, &turn));
    assert_in_range(now_ns - begun, 100 * NS_PER_MS, 120 * NS_PER_MS);
}

static void a_request_is_no_larger_than_the_limit_lets_through(void **state) {
    (void)state;
    gate_release(&gate);
    assert_int_equal(open_with(0, 5000), 0);
    assert_int_equal(gate_ceiling(&gate), 5000);
}

#define limited_test(function) cmocka_unit_test_setup_teardown(function, open_limited, close_gate)
#define gate_test(function) cmocka_unit_test_setup_teardown(function, open_gate, close_gate)

int main(void) {
    const struct CMUnitTest tests[] = {
        gate_test(failures_in_a_row_lengthen_the_pause),
        gate_test(senders_that_fail_together_count_once),
        gate_test(a_wish_of_the_server_counts_even_from_the_same_round),
        gate_test(a_new_kind_of_trouble_begins_with_short_pauses),
        gate_test(the_first_success_tells_how_long_it_was_down),
        gate_test(blamed_data_pauses_nobody),
        gate_test(overload_lowers_the_senders_and_clean_time_raises_them),
        gate_test(a_refused_connection_is_no_overload_but_a_timeout_is),
        gate_test(the_request_size_shrinks_at_once_and_grows_slowly),
        gate_test(a_refused_target_is_remembered_for_five_minutes),
        gate_test(the_oldest_refused_target_makes_room),
        gate_test(stopping_ends_the_pause_and_the_deadline_ends_all),
        gate_test(a_wish_past_the_deadline_ends_it_now),
        gate_test(the_earlier_deadline_counts),
        gate_test(without_a_limit_taking_is_bounded_by_the_request_size_alone),
        limited_test(what_is_taken_is_paid_for_and_the_next_taker_waits),
        limited_test(a_wait_that_held_nothing_back_is_not_counted),
        limited_test(a_message_larger_than_the_grant_pays_the_rest_later),
        limited_test(a_retry_pays_again),
        limited_test(stopping_keeps_to_the_limit_and_gives_up_at_the_deadline),
        limited_test(a_request_is_no_larger_than_the_limit_lets_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
