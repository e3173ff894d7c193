/* tests/unit/test_loop.c: the loop's thread runs what it is given, in order, and ends when told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/loop/loop.h"

#define POSTS   1000
#define POSTERS 4

struct record {
    struct loop *loop;
    sem_t done;
    pthread_t thread; /* that ran the last call */
    unsigned count;
    bool ordered;
};

struct numbered {
    struct record *record;
    unsigned number;
};

static int set_up(void **state) {
    struct record *record = calloc(1, sizeof *record);
    struct err err = ERR_INIT;

    record->loop = loop_new(&err);
    record->ordered = true;
    sem_init(&record->done, 0, 0);
    *state = record;
    return record->loop == NULL;
}

static int tear_down(void **state) {
    struct record *record = *state;

    loop_free(record->loop);
    sem_destroy(&record->done);
    free(record);
    return 0;
}

static void start(struct record *record) {
    struct err err = ERR_INIT;

    assert_true(loop_start(record->loop, &err));
}

static void count_call(void *ctx) {
    struct record *record = ctx;

    record->thread = pthread_self();
    record->count++;
    sem_post(&record->done);
}

static void wait_for(struct record *record, unsigned count) {
    while (count-- > 0)
        while (sem_wait(&record->done) != 0)
            continue;
}

static void runs_a_post_on_its_own_thread(void **state) {
    struct record *record = *state;

    start(record);
    assert_true(loop_post(record->loop, count_call, record));
    wait_for(record, 1);
    loop_stop(record->loop);
    assert_false(pthread_equal(record->thread, pthread_self()));
}

static void runs_what_was_posted_before_the_start(void **state) {
    struct record *record = *state;

    assert_true(loop_post(record->loop, count_call, record));
    start(record);
    wait_for(record, 1);
}

static void check_order(void *ctx) {
    struct numbered *item = ctx;

    if (item->record->count++ != item->number)
        item->record->ordered = false;
}

static void keeps_the_order_and_runs_all_before_a_stop(void **state) {
    static struct numbered items[POSTS];
    struct record *record = *state;

    start(record);
    for (unsigned i = 0; i < POSTS; i++) {
        items[i] = (struct numbered){ record, i };
        assert_true(loop_post(record->loop, check_order, &items[i]));
    }
    loop_stop(record->loop);
    assert_int_equal(record->count, POSTS);
    assert_true(record->ordered);
}

static void *post_many(void *ctx) {
    struct record *record = ctx;

    for (unsigned i = 0; i < POSTS; i++)
        loop_post(record->loop, count_call, record);
    return NULL;
}

static void takes_posts_from_many_threads(void **state) {
    struct record *record = *state;
    pthread_t posters[POSTERS];

    start(record);
    for (unsigned i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i], NULL, post_many, record), 0);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(posters[i], NULL);
    loop_stop(record->loop);
    assert_int_equal(record->count, POSTS * POSTERS);
}

static void drops_a_post_that_comes_after_the_stop(void **state) {
    struct record *record = *state;

    start(record);
    loop_stop(record->loop);
    assert_true(loop_post(record->loop, count_call, record));
    loop_free(record->loop); /* and does not leak it: the leak checker looks on */
    record->loop = NULL;
    assert_int_equal(record->count, 0);
}

static void calls_a_timer_again_and_again(void **state) {
    struct record *record = *state;
    int64_t began = clock_mono_ns();
    struct loop_timer *timer = loop_every(record->loop, 5 * NS_PER_MS, count_call, record);

    assert_non_null(timer);
    start(record);
    wait_for(record, 3);
    loop_stop(record->loop);
    loop_cancel(timer);
    assert_true(clock_mono_ns() - began >= 10 * NS_PER_MS);
}

struct once {
    struct record *record;
    struct loop_timer *timer;
};

static void cancel_itself(void *ctx) {
    struct once *once = ctx;

    once->record->count++;
    loop_cancel(once->timer);
}

static void lets_a_timer_cancel_itself(void **state) {
    struct record *record = *state;
    struct once once = { .record = record };
    struct loop_timer *later = loop_every(record->loop, 20 * NS_PER_MS, count_call, record);

    once.timer = loop_every(record->loop, NS_PER_MS, cancel_itself, &once);
    start(record);
    wait_for(record, 1); /* the later one, after twenty more chances for the cancelled one */
    loop_stop(record->loop);
    loop_cancel(later);
    assert_int_equal(record->count, 2);
}

static void stops_twice_and_without_a_start(void **state) {
    struct record *record = *state;

    loop_stop(record->loop);
    start(record);
    loop_stop(record->loop);
    loop_stop(record->loop);
}

static void read_mask(void *ctx) {
    struct record *record = ctx;
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    record->count = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGHUP) ? 1 : 0;
    sem_post(&record->done);
}

static void leaves_signals_to_the_main_thread(void **state) {
    struct record *record = *state;
    sigset_t mine;

    start(record);
    assert_true(loop_post(record->loop, read_mask, record));
    wait_for(record, 1);
    assert_int_equal(record->count, 1);
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    assert_false(sigismember(&mine, SIGTERM));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_a_post_on_its_own_thread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(runs_what_was_posted_before_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_the_order_and_runs_all_before_a_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_posts_from_many_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drops_a_post_that_comes_after_the_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(calls_a_timer_again_and_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lets_a_timer_cancel_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stops_twice_and_without_a_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_signals_to_the_main_thread, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
