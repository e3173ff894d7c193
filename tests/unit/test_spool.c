/* tests/unit/test_spool.c: the memory form of the spool: order, batches, limits, and the identity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/spool/spool.h"

static const struct spool_flush at_once = { 5000, 1 << 20, 1, 0 };

static struct spool *make(uint64_t max_bytes, enum spool_when_full when_full, unsigned outputs) {
    struct spool_options options = { .max_bytes = max_bytes, .when_full = when_full, .outputs = outputs };
    struct spool *spool = spool_new(&options, NULL);

    assert_non_null(spool);
    return spool;
}

static enum spool_result put(struct spool *spool, uint64_t outputs, const char *text, uint32_t lines, bool may_refuse) {
    struct spool_record record = { .outputs = outputs, .lines = lines, .topic = STR("plant/a"), .text = str_of(text) };
    uint64_t sequence;

    return spool_append(spool, &record, 1, may_refuse, &sequence);
}

static void settle_all(struct spool *spool, unsigned output, struct spool_batch *batch, enum spool_fate fate) {
    struct spool_settlement how = { 0 };

    how.messages[fate] = batch->record_count;
    how.lines[fate] = batch->line_count;
    spool_settle(spool, output, batch, &how);
}

static void assert_identity(struct spool *spool) {
    struct spool_figures figures;

    spool_figures(spool, &figures);
    for (unsigned i = 0; i < figures.outputs; i++) {
        uint64_t sum = figures.output[i].pending_messages;
        for (int fate = 0; fate < FATE_COUNT; fate++)
            sum += figures.output[i].messages[fate];
        assert_int_equal(sum, figures.received);
    }
}

static void gives_back_what_was_appended_in_order(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 1);
    struct spool_batch batch;

    (void)state;
    spool_batch_init(&batch);
    put(spool, 1, "a v=1 1\n", 1, true);
    put(spool, 1, "b v=1 2\nb v=2 3\n", 2, true);
    assert_true(spool_take(spool, 0, &at_once, &batch));
    assert_int_equal(batch.record_count, 2);
    assert_int_equal(batch.line_count, 3);
    assert_true(str_eq_c(buf_str(&batch.lines), "a v=1 1\nb v=1 2\nb v=2 3\n"));
    assert_int_equal(batch.line_ends[0], 8);
    assert_int_equal(batch.line_ends[2], 24);
    assert_int_equal(batch.records[1].first_line, 1);
    assert_memory_equal(batch.topics.data + batch.records[1].topic_offset, "plant/a", 7);
    assert_identity(spool);
    settle_all(spool, 0, &batch, FATE_STORED);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

static void an_output_gets_only_its_records(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 3);
    struct spool_figures figures;
    struct spool_batch batch;

    (void)state;
    spool_batch_init(&batch);
    put(spool, 1, "zero v=1 1\n", 1, false);
    put(spool, 2, "one v=1 1\n", 1, false);
    put(spool, 3, "both v=1 1\n", 1, false);
    assert_true(spool_take(spool, 1, &at_once, &batch));
    assert_true(str_eq_c(buf_str(&batch.lines), "one v=1 1\nboth v=1 1\n"));
    settle_all(spool, 1, &batch, FATE_STORED);
    spool_figures(spool, &figures);
    assert_int_equal(figures.received, 3);
    assert_int_equal(figures.output[0].pending_messages, 2);
    assert_int_equal(figures.output[0].messages[FATE_FILTERED], 1);
    assert_int_equal(figures.output[1].messages[FATE_STORED], 2);
    assert_int_equal(figures.output[2].messages[FATE_FILTERED], 3);
    assert_identity(spool);
    spool_close(spool);
    assert_false(spool_take(spool, 2, &at_once, &batch));
    spool_batch_release(&batch);
    spool_free(spool);
}

static void a_batch_ends_at_a_record_not_inside_one(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 1);
    struct spool_flush flush = { 3, 1 << 20, 1, 0 };
    struct spool_batch batch;

    (void)state;
    spool_batch_init(&batch);
    put(spool, 1, "a v=1 1\na v=1 2\n", 2, false);
    put(spool, 1, "b v=1 1\nb v=1 2\n", 2, false);
    put(spool, 1, "c v=1 1\nc v=1 2\nc v=1 3\nc v=1 4\n", 4, false);
    assert_true(spool_take(spool, 0, &flush, &batch));
    assert_int_equal(batch.line_count, 2);
    assert_true(batch.more);
    settle_all(spool, 0, &batch, FATE_STORED);
    assert_true(spool_take(spool, 0, &flush, &batch));
    assert_int_equal(batch.line_count, 2);
    assert_true(batch.more);
    settle_all(spool, 0, &batch, FATE_STORED);
    assert_true(spool_take(spool, 0, &flush, &batch)); /* larger than the batch: goes alone */
    assert_int_equal(batch.line_count, 4);
    assert_false(batch.more);
    settle_all(spool, 0, &batch, FATE_DEAD_LETTERED);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

static char big_line[10001];

static const char *ten_kilobytes(void) {
    memset(big_line, 'x', sizeof big_line - 1);
    memcpy(big_line, "m v=\"", 5);
    memcpy(big_line + sizeof big_line - 5, "\" 1\n", 4);
    return big_line;
}

static void drop_oldest_keeps_the_newest_and_counts_the_rest(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 2);
    struct spool_figures figures;
    struct spool_batch batch;

    (void)state;
    spool_batch_init(&batch);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(put(spool, 3, ten_kilobytes(), 1, true), SPOOL_APPENDED);
    spool_figures(spool, &figures);
    assert_true(figures.bytes <= 1 << 20);
    assert_true(figures.output[0].messages[FATE_DROPPED_FULL] > 800);
    assert_true(figures.output[0].pending_messages > 80);
    assert_int_equal(figures.output[0].messages[FATE_DROPPED_FULL], figures.output[0].lines[FATE_DROPPED_FULL]);
    assert_identity(spool);
    assert_true(spool_take(spool, 0, &at_once, &batch));
    settle_all(spool, 0, &batch, FATE_STORED);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

static void what_one_output_has_read_is_not_dropped_for_it(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 2);
    struct spool_figures figures;
    struct spool_batch batch;

    (void)state;
    spool_batch_init(&batch);
    for (int i = 0; i < 1000; i++) {
        put(spool, 3, ten_kilobytes(), 1, true);
        assert_true(spool_take(spool, 1, &at_once, &batch));
        settle_all(spool, 1, &batch, FATE_STORED);
    }
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[1].messages[FATE_STORED], 1000);
    assert_true(figures.output[0].messages[FATE_DROPPED_FULL] > 800);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

static void drop_newest_turns_away_and_counts(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_NEWEST, 2);
    struct spool_figures figures;
    int dropped = 0;

    (void)state;
    for (int i = 0; i < 300; i++)
        dropped += put(spool, 1, ten_kilobytes(), 1, true) == SPOOL_DROPPED;
    spool_figures(spool, &figures);
    assert_true(dropped > 190 && dropped < 230);
    assert_int_equal(figures.output[0].messages[FATE_DROPPED_FULL], dropped);
    assert_int_equal(figures.output[0].lines[FATE_DROPPED_FULL], dropped);
    assert_int_equal(figures.output[1].messages[FATE_FILTERED], 300); /* had nothing to lose */
    assert_identity(spool);
    spool_free(spool);
}

static void block_refuses_what_the_broker_keeps_and_drops_what_it_does_not(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_BLOCK, 1);
    enum spool_result result = SPOOL_APPENDED;
    struct spool_figures figures;

    (void)state;
    for (int i = 0; i < 300 && result == SPOOL_APPENDED; i++)
        result = put(spool, 1, ten_kilobytes(), 1, true);
    assert_int_equal(result, SPOOL_REFUSED);
    assert_int_equal(put(spool, 1, ten_kilobytes(), 1, false), SPOOL_DROPPED);
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[0].messages[FATE_RETURNED], 1);
    assert_int_equal(figures.output[0].messages[FATE_DROPPED_FULL], 1);
    assert_true(figures.durable_sequence < figures.appended_sequence); /* acknowledgements are held back */
    assert_identity(spool);
    spool_free(spool);
}

static bool offer(struct spool *spool, uint64_t outputs, const char *text, uint64_t *sequence) {
    struct spool_record record = { .outputs = outputs, .lines = 1, .topic = STR("plant/a"), .text = str_of(text) };

    return spool_offer(spool, &record, 1, sequence);
}

/* Whatever the policy: what is offered pushes nothing out, and when there is no room nobody hears of it. */
static void an_offer_is_taken_only_into_room_to_spare(void **state) {
    const enum spool_when_full policies[] = { SPOOL_DROP_OLDEST, SPOOL_DROP_NEWEST, SPOOL_BLOCK, SPOOL_THIN };
    static char line[1000];

    (void)state;
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        struct spool *spool = make(1 << 20, policies[i], 1);
        struct spool_figures before, after;
        struct spool_batch batch;
        uint64_t sequence = 0, refused = 77;
        spool_batch_init(&batch);
        while (offer(spool, 1, line, &sequence))
            continue;
        spool_figures(spool, &before);
        assert_in_range(before.received, 500, 1000);
        assert_int_equal(before.output[0].pending_messages, before.received);
        assert_int_equal(sequence, before.appended_sequence);
        assert_false(offer(spool, 1, line, &refused));
        assert_int_equal(refused, 77);
        spool_figures(spool, &after);
        assert_int_equal(after.received, before.received);
        assert_int_equal(put(spool, 1, line, 1, false), SPOOL_APPENDED); /* others still have room */
        assert_identity(spool);
        do {
            assert_true(spool_take(spool, 0, &at_once, &batch));
            settle_all(spool, 0, &batch, FATE_STORED);
            spool_figures(spool, &after);
        } while (after.output[0].pending_messages > 0);
        assert_true(offer(spool, 1, line, &sequence));
        spool_close(spool);
        assert_false(offer(spool, 1, line, &sequence));
        assert_identity(spool);
        spool_batch_release(&batch);
        spool_free(spool);
    }
}

static void what_has_ended_for_whom_can_be_asked(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 2);
    struct spool_batch batch;
    uint64_t first, second;

    (void)state;
    spool_batch_init(&batch);
    assert_true(offer(spool, 1, "a v=1 1\n", &first));
    assert_true(offer(spool, 3, "b v=1 1\n", &second));
    assert_false(spool_is_settled(spool, 1, first));
    assert_true(spool_is_settled(spool, 2, first));
    assert_true(spool_take(spool, 0, &at_once, &batch));
    assert_false(spool_is_settled(spool, 1, first)); /* taken is not ended */
    settle_all(spool, 0, &batch, FATE_STORED);
    assert_true(spool_is_settled(spool, 1, second));
    assert_false(spool_is_settled(spool, 3, second));
    assert_true(spool_take(spool, 1, &at_once, &batch));
    settle_all(spool, 1, &batch, FATE_DEAD_LETTERED);
    assert_true(spool_is_settled(spool, 3, second));
    spool_batch_release(&batch);
    spool_free(spool);
}

static void a_record_larger_than_a_segment_still_fits(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 1);
    static char text[400001];
    struct spool_batch batch;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 2] = '\n';
    spool_batch_init(&batch);
    assert_int_equal(put(spool, 1, text, 1, true), SPOOL_APPENDED);
    put(spool, 1, "a v=1 1\n", 1, true);
    assert_true(spool_take(spool, 0, &at_once, &batch));
    assert_int_equal(batch.lines.len, 400000 + 8);
    settle_all(spool, 0, &batch, FATE_STORED);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

static void interrupting_counts_what_is_left(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 1);
    struct spool_figures figures;
    struct spool_batch batch;

    (void)state;
    spool_batch_init(&batch);
    for (int i = 0; i < 5; i++)
        put(spool, 1, "a v=1 1\n", 1, true);
    spool_interrupt(spool);
    assert_false(spool_take(spool, 0, &at_once, &batch));
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[0].messages[FATE_DROPPED_SHUTDOWN], 5);
    assert_int_equal(figures.output[0].pending_messages, 0);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

static void messages_that_leave_nothing_are_accounted_for(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 2);
    struct spool_figures figures;

    (void)state;
    spool_account(spool, FATE_DEAD_LETTERED);
    spool_account(spool, FATE_FILTERED);
    spool_account(spool, FATE_FILTERED);
    spool_figures(spool, &figures);
    assert_int_equal(figures.received, 3);
    assert_int_equal(figures.output[1].messages[FATE_DEAD_LETTERED], 1);
    assert_int_equal(figures.output[1].messages[FATE_FILTERED], 2);
    assert_identity(spool);
    spool_free(spool);
}

static void a_young_small_batch_waits_until_it_is_old(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 1);
    struct spool_flush patient = { 5000, 1 << 20, 1000, 150 * NS_PER_MS };
    struct spool_batch batch;
    int64_t before = clock_mono_ns();

    (void)state;
    spool_batch_init(&batch);
    put(spool, 1, "a v=1 1\n", 1, false);
    assert_true(spool_take(spool, 0, &patient, &batch));
    assert_true(clock_mono_ns() - before >= 140 * NS_PER_MS);
    settle_all(spool, 0, &batch, FATE_STORED);
    spool_batch_release(&batch);
    spool_free(spool);
}

/* The whole at once: two writers, two outputs with two readers each, everything counted. */
enum { WRITERS = 2, EACH = 20000 };

struct reader {
    struct spool *spool;
    unsigned output;
    uint64_t lines;
};

static _Atomic uint64_t last_awaited; /* the largest sequence that an acknowledgement waits for */

static void *write_many(void *arg) {
    for (int i = 0; i < EACH; i++) {
        struct spool_record record = { .outputs = i % 3 == 0 ? 1 : 3, .lines = 1, .topic = STR("plant/a"), .text = STR("a v=1 1\n") };
        bool acknowledged = i % 2 == 0;
        uint64_t sequence = 0, last = last_awaited;
        spool_append(arg, &record, 1, acknowledged, &sequence);
        while (acknowledged && sequence > last && !atomic_compare_exchange_weak(&last_awaited, &last, sequence))
            continue;
    }
    return NULL;
}

static void *read_all(void *arg) {
    struct reader *reader = arg;
    struct spool_flush flush = { 500, 1 << 20, 100, 10 * NS_PER_MS };
    struct spool_batch batch;

    spool_batch_init(&batch);
    while (spool_take(reader->spool, reader->output, &flush, &batch)) {
        reader->lines += batch.line_count;
        settle_all(reader->spool, reader->output, &batch, FATE_STORED);
    }
    spool_batch_release(&batch);
    return NULL;
}

static _Atomic uint64_t last_durable;

static void note_durable(void *ctx, uint64_t sequence) {
    (void)ctx;
    last_durable = sequence;
}

static void threads_lose_nothing(void **state) {
    struct spool *spool = make(64 << 20, SPOOL_DROP_OLDEST, 2);
    pthread_t writers[WRITERS], threads[4];
    struct reader readers[4];

    (void)state;
    spool_on_durable(spool, note_durable, NULL);
    for (unsigned i = 0; i < 4; i++) {
        readers[i] = (struct reader){ spool, i % 2, 0 };
        pthread_create(&threads[i], NULL, read_all, &readers[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&writers[i], NULL, write_many, spool);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    assert_identity(spool);
    spool_close(spool);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(readers[0].lines + readers[2].lines, WRITERS * EACH);
    assert_int_equal(readers[1].lines + readers[3].lines, WRITERS * (EACH - (EACH + 2) / 3));
    assert_identity(spool);
    spool_free(spool); /* joins the commit thread */
    assert_true(last_awaited > WRITERS * EACH - 10);
    assert_true(last_durable >= last_awaited);
}

struct promise {
    sem_t asked, granted;
};

static void make_safe(void *ctx) {
    struct promise *promise = ctx;

    sem_post(&promise->asked);
    while (sem_wait(&promise->granted) != 0)
        continue;
}

static void what_is_kept_elsewhere_is_safe_before_it_is_promised(void **state) {
    struct spool *spool = make(1 << 20, SPOOL_DROP_OLDEST, 1);
    struct message_origin origin = { .id = 0 };
    struct spool_figures figures;
    struct promise promise;
    uint64_t sequence;

    (void)state;
    sem_init(&promise.asked, 0, 0);
    sem_init(&promise.granted, 0, 0);
    spool_before_promise(spool, make_safe, &promise);
    put(spool, 1, "a v=1 1\n", 1, true); /* asks nobody */
    for (int i = 0; i < 20000 && spool_durable(spool) < 1; i++)
        nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    assert_int_equal(spool_durable(spool), 1);
    spool_account_safely(spool, FATE_DEAD_LETTERED, &origin, &sequence);
    assert_int_equal(sequence, 2);
    while (sem_wait(&promise.asked) != 0)
        continue;
    assert_int_equal(spool_durable(spool), 1);
    sem_post(&promise.granted);
    for (int i = 0; i < 20000 && spool_durable(spool) < 2; i++)
        nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    assert_int_equal(spool_durable(spool), 2);
    spool_figures(spool, &figures);
    assert_int_equal(figures.received, 2);
    assert_int_equal(figures.output[0].messages[FATE_DEAD_LETTERED], 1);
    assert_int_equal(figures.output[0].pending_messages, 1);
    assert_identity(spool);
    spool_close(spool);
    sem_post(&promise.granted); /* closed, there is no place for another one: it waits itself */
    spool_account_safely(spool, FATE_DEAD_LETTERED, &origin, &sequence);
    assert_int_equal(sequence, 0);
    assert_int_equal(sem_trywait(&promise.asked), 0);
    assert_identity(spool);
    spool_free(spool);
    sem_destroy(&promise.asked);
    sem_destroy(&promise.granted);
}

static void refuses_a_limit_below_1_mib(void **state) {
    struct spool_options options = { .max_bytes = 1000, .when_full = SPOOL_BLOCK, .outputs = 1 };
    struct err err = ERR_INIT;

    (void)state;
    assert_null(spool_new(&options, &err));
    assert_int_equal(err.code, ERR_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_appended_in_order),
        cmocka_unit_test(an_output_gets_only_its_records),
        cmocka_unit_test(a_batch_ends_at_a_record_not_inside_one),
        cmocka_unit_test(drop_oldest_keeps_the_newest_and_counts_the_rest),
        cmocka_unit_test(what_one_output_has_read_is_not_dropped_for_it),
        cmocka_unit_test(drop_newest_turns_away_and_counts),
        cmocka_unit_test(block_refuses_what_the_broker_keeps_and_drops_what_it_does_not),
        cmocka_unit_test(an_offer_is_taken_only_into_room_to_spare),
        cmocka_unit_test(what_has_ended_for_whom_can_be_asked),
        cmocka_unit_test(a_record_larger_than_a_segment_still_fits),
        cmocka_unit_test(interrupting_counts_what_is_left),
        cmocka_unit_test(messages_that_leave_nothing_are_accounted_for),
        cmocka_unit_test(a_young_small_batch_waits_until_it_is_old),
        cmocka_unit_test(threads_lose_nothing),
        cmocka_unit_test(what_is_kept_elsewhere_is_safe_before_it_is_promised),
        cmocka_unit_test(refuses_a_limit_below_1_mib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
