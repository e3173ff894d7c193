/*
 * tests/unit/test_spool_fault.c: every file operation of a run fails, once and for good, with each of the errors that disks give. What was
 * reported durable is there afterwards, or was delivered; the run neither hangs nor crashes; and when the disk works again, so does
 * the spool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/spool/spool.h"
#include "tests/support/fake_disk.h"

enum { MESSAGES = 60 };

struct run {
    struct fake_disk *disk;
    struct spool *spool;
    bool appended[MESSAGES], durable[MESSAGES], delivered[MESSAGES];
    uint64_t sequence[MESSAGES];
    bool crash; /* the plug is pulled at its end, or it ends in order */
};

static struct spool_options options_on(struct fake_disk *disk) {
    static const char *const names[] = { "influxdb" };
    return (struct spool_options){
        .max_bytes = 8 << 20,
        .outputs = 1,
        .sync = SPOOL_COMMIT,
        .directory = "/fake",
        .output_names = names,
        .file_ops = &disk->ops,
        .segment_bytes = 20 << 10,
        .chunk_bytes = 8 << 10,
        .memory_bytes = 256 << 10,
        .retry_ns = NS_PER_MS,
    };
}

static void append(struct run *run, unsigned id) {
    char text[2048];
    int len = sprintf(text, "m,id=%u v=\"%0*d\" 1\n", id, id % 3 == 0 ? 1500 : 60, 7);
    struct spool_record record = { .outputs = 1, .lines = 1, .topic = STR("plant/a"), .text = str_make(text, (size_t)len) };

    run->appended[id] = spool_append(run->spool, &record, 1, true, &run->sequence[id]) == SPOOL_APPENDED;
}

static void note_durable(struct run *run) {
    uint64_t durable = spool_durable(run->spool);

    for (unsigned id = 0; id < MESSAGES; id++)
        run->durable[id] = run->durable[id] || (run->appended[id] && run->sequence[id] <= durable);
}

static void deliver(struct run *run, struct spool *spool, uint32_t lines, bool *seen) {
    struct spool_flush flush = { lines, 1 << 20, 1, 0 };
    struct spool_settlement how = { .messages = { 0 } };
    struct spool_figures figures;
    struct spool_batch batch;
    unsigned id;

    (void)run;
    spool_figures(spool, &figures);
    if (figures.output[0].pending_messages == 0)
        return;
    spool_batch_init(&batch);
    if (spool_take(spool, 0, &flush, &batch)) {
        for (size_t i = 0; i < batch.line_count; i++) {
            if (sscanf(batch.lines.data + (i > 0 ? batch.line_ends[i - 1] : 0), "m,id=%u ", &id) != 1 || id >= MESSAGES)
                abort();
            seen[id] = true;
        }
        how.messages[FATE_STORED] = batch.record_count;
        how.lines[FATE_STORED] = batch.line_count;
        spool_settle(spool, 0, &batch, &how);
    }
    spool_batch_release(&batch);
}

/* A moment for the commit thread; how long it takes does not matter for what must be true. */
static void wait_a_little(struct run *run, unsigned id) {
    for (int i = 0; i < 40 && !run->durable[id]; i++) {
        note_durable(run);
        nanosleep(&(struct timespec){ 0, 20000 }, NULL);
    }
}

static void first_life(struct run *run) {
    struct spool_options options = options_on(run->disk);
    struct err err = ERR_INIT;

    run->spool = spool_new(&options, &err);
    if (run->spool == NULL) { /* a directory that cannot be used at all: said in words */
        assert_true(err.text[0] != '\0');
        return;
    }
    for (unsigned id = 0; id < MESSAGES; id++) {
        append(run, id);
        if (id % 4 == 3)
            wait_a_little(run, id);
        if (id % 10 == 9)
            deliver(run, run->spool, 6, run->delivered);
    }
    wait_a_little(run, MESSAGES - 1);
}

static void report(const struct run *run, const char *what, unsigned id, uint64_t at) {
    fprintf(stderr, "operation %llu%s failing with %s: %s: message %u\n", (unsigned long long)at,
            run->disk->fail_always ? " and all after it" : "", strerror(run->disk->fail_with), what, id);
    abort();
}

static void second_life(struct run *run, struct fake_disk *disk, uint64_t at) {
    struct spool_options options = options_on(disk);
    struct spool *spool = spool_new(&options, NULL);
    bool found[MESSAGES] = { false };

    if (spool == NULL)
        report(run, "no second start", 0, at);
    for (int i = 0; i < 20; i++)
        deliver(run, spool, 5000, found);
    for (unsigned id = 0; id < MESSAGES; id++)
        if (run->durable[id] && !run->delivered[id] && !found[id])
            report(run, "lost", id, at);
    spool_free(spool);
}

/* How many operations the run made, or 0 when the failing one was never reached. */
static bool one_run(uint64_t at, bool always, int error, bool crash) {
    uint64_t random = at * 7919 + (uint64_t)error;
    struct run run = { .disk = fake_disk_new(), .crash = crash };
    struct fake_disk *after;
    bool reached = true;

    run.disk->fail_at = at;
    run.disk->fail_always = always;
    run.disk->fail_with = error;
    first_life(&run);
    if (run.spool != NULL) {
        note_durable(&run);
        after = crash ? fake_disk_crash(run.disk, &random) : NULL;
        spool_free(run.spool);
        reached = run.disk->failures > 0;
        run.disk->fail_at = 0;
        second_life(&run, crash ? after : run.disk, at);
        if (crash)
            fake_disk_free(after);
    }
    fake_disk_free(run.disk);
    return reached;
}

static struct row {
    const char *name;
    int error;
    bool always;
} rows[] = {
    { "one operation finds the disk full", ENOSPC, false }, { "the disk is full from some operation on", ENOSPC, true },
    { "one operation has an I/O error", EIO, false },       { "the disk is dead from some operation on", EIO, true },
    { "one operation is interrupted", EINTR, false },       { "every operation from some on is interrupted", EINTR, true },
    { "one write is short", FAKE_SHORT_WRITE, false },      { "every write is short", FAKE_SHORT_WRITE, true },
};

/* On a busy machine the commit thread makes larger groups, and so fewer operations: one run that ends before proves nothing. */
static bool reached(uint64_t at, const struct row *row) {
    for (int tries = 0; tries < 5; tries++)
        if (one_run(at, row->always, row->error, at % 2 == 0))
            return true;
    return false;
}

static void nothing_durable_is_lost(void **state) {
    const struct row *row = *state;
    uint64_t at = 1;

    while (reached(at, row))
        at++;
    assert_true(at > 60);
    print_message("%llu operations failed in turn\n", (unsigned long long)at - 1);
}

/* Degraded: nothing is acknowledged, readers are served, and when the disk works again all of it is made good. */
static void recovers_by_itself(void **state) {
    struct run run = { .disk = fake_disk_new() };
    struct spool_options options = options_on(run.disk);
    struct err why = ERR_INIT;

    (void)state;
    run.spool = spool_new(&options, NULL);
    append(&run, 0);
    for (int i = 0; i < 2000 && !run.durable[0]; i++)
        wait_a_little(&run, 0);
    assert_true(run.durable[0]);
    fake_disk_fail(run.disk, ENOSPC);
    for (unsigned id = 1; id < 20; id++)
        append(&run, id);
    for (int i = 0; i < 2000 && !spool_degraded(run.spool, &why); i++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    assert_true(spool_degraded(run.spool, &why));
    assert_non_null(strstr(why.text, "No space left"));
    note_durable(&run);
    assert_false(run.durable[1]);
    deliver(&run, run.spool, 5, run.delivered); /* from memory */
    assert_true(run.delivered[0] && run.delivered[4]);
    fake_disk_fail(run.disk, 0);
    for (int i = 0; i < 2000 && !run.durable[19]; i++)
        wait_a_little(&run, 19);
    assert_true(run.durable[19]);
    assert_false(spool_degraded(run.spool, &why));
    uint64_t random = 99;
    struct fake_disk *after = fake_disk_crash(run.disk, &random);
    second_life(&run, after, 0);
    fake_disk_free(after);
    spool_free(run.spool);
    fake_disk_free(run.disk);
}

/* What the database has needs no disk: acknowledgements go on even while the disk is dead, as far as everything is delivered. */
static void a_dead_disk_still_lets_delivered_messages_go(void **state) {
    struct run run = { .disk = fake_disk_new() };
    struct spool_options options = options_on(run.disk);

    (void)state;
    run.spool = spool_new(&options, NULL);
    fake_disk_fail(run.disk, EIO);
    for (unsigned id = 0; id < 20; id++)
        append(&run, id);
    wait_a_little(&run, 19);
    assert_false(run.durable[0]);
    deliver(&run, run.spool, 5000, run.delivered);
    for (int i = 0; i < 2000 && !run.durable[19]; i++)
        wait_a_little(&run, 19);
    assert_true(run.durable[19]);
    spool_free(run.spool);
    fake_disk_free(run.disk);
}

int main(void) {
    struct CMUnitTest tests[sizeof rows / sizeof rows[0] + 2];
    size_t count = 0;

    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        tests[count++] = (struct CMUnitTest){ rows[i].name, nothing_durable_is_lost, NULL, NULL, &rows[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(recovers_by_itself);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(a_dead_disk_still_lets_delivered_messages_go);
    return _cmocka_run_group_tests("spool_fault", tests, count, NULL, NULL);
}
