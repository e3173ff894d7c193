/*
 * tests/unit/test_spool_disk.c: the form on disk, on a real directory: what a restart gives back and to whom, limits and policies,
 * memory, order, a full filesystem.
 */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/spool/spool.h"
#include "tests/support/fake_disk.h"

static const struct spool_flush at_once = { 5000, 1 << 20, 1, 0 };
static const char *const one_name[] = { "influxdb" };
static const char *const two_names[] = { "influxdb", "archive" };
static char directory[64];

static void remove_tree(void) {
    char path[512];
    DIR *stream = opendir(directory);

    for (const struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (stream != NULL)
        closedir(stream);
    rmdir(directory);
}

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_spool_disk.XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_directory(void **state) {
    (void)state;
    remove_tree();
    return 0;
}

static uint64_t directory_bytes(void) {
    struct stat info;
    uint64_t bytes = 0;
    char path[512];
    DIR *stream = opendir(directory);

    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode))
            bytes += (uint64_t)info.st_size;
    }
    closedir(stream);
    return bytes;
}

static struct spool_options on_disk(unsigned outputs) {
    return (struct spool_options){
        .max_bytes = 64 << 20, .outputs = outputs, .sync = SPOOL_COMMIT, .directory = directory,
        .output_names = outputs == 1 ? one_name : two_names,
    };
}

static struct spool *open_spool(const struct spool_options *options) {
    struct err err = ERR_INIT;
    struct spool *spool = spool_new(options, &err);

    if (spool == NULL)
        fail_msg("%s", err.text);
    return spool;
}

static enum spool_result put(struct spool *spool, uint64_t outputs, unsigned id, size_t padding, uint64_t *sequence) {
    static _Thread_local char text[4 << 20];
    int len = sprintf(text, "m,s=%u id=%ui,v=\"", id % 4, id);
    struct spool_record record = { .outputs = outputs, .lines = 1, .topic = STR("plant/a") };

    memset(text + len, 'x', padding);
    len += (int)padding;
    len += sprintf(text + len, "\" %u\n", id + 1);
    record.text = str_make(text, (size_t)len);
    return spool_append(spool, &record, 1, true, sequence);
}

static void wait_durable(struct spool *spool, uint64_t sequence) {
    for (int i = 0; i < 100000 && spool_durable(spool) < sequence; i++)
        nanosleep(&(struct timespec){ 0, 100000 }, NULL);
    assert_true(spool_durable(spool) >= sequence);
}

static void put_many(struct spool *spool, uint64_t outputs, unsigned from, unsigned to, size_t padding) {
    uint64_t sequence = 0;

    for (unsigned id = from; id < to;) {
        if (put(spool, outputs, id, padding, &sequence) == SPOOL_REFUSED)
            nanosleep(&(struct timespec){ 0, 100000 }, NULL); /* memory is full of what goes to the disk */
        else
            id++;
    }
    wait_durable(spool, sequence);
}

static unsigned id_of(const struct spool_batch *batch, size_t line) {
    const char *at = batch->lines.data + (line > 0 ? batch->line_ends[line - 1] : 0);
    unsigned id = 0;

    assert_int_equal(sscanf(strchr(at, ' '), " id=%ui,", &id), 1);
    return id;
}

static void settle_all(struct spool *spool, unsigned output, struct spool_batch *batch, enum spool_fate fate) {
    struct spool_settlement how = { .messages = { 0 } };

    how.messages[fate] = batch->record_count;
    how.lines[fate] = batch->line_count;
    spool_settle(spool, output, batch, &how);
}

static uint64_t pending(struct spool *spool, unsigned output) {
    struct spool_figures figures;

    spool_figures(spool, &figures);
    return figures.output[output].pending_messages;
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

/* Reads everything there is for an output; checks that ids rise; how many there were, and the first and last of them. */
static unsigned drain(struct spool *spool, unsigned output, unsigned *first, unsigned *last) {
    struct spool_batch batch;
    unsigned count = 0, before = 0;

    spool_batch_init(&batch);
    while (pending(spool, output) > 0 && spool_take(spool, output, &at_once, &batch)) {
        for (size_t i = 0; i < batch.line_count; i++) {
            unsigned id = id_of(&batch, i);
            assert_true(count == 0 || id > before);
            if (count++ == 0 && first != NULL)
                *first = id;
            before = id;
        }
        settle_all(spool, output, &batch, FATE_STORED);
    }
    if (last != NULL)
        *last = before;
    spool_batch_release(&batch);
    assert_identity(spool);
    return count;
}

static void a_restart_gives_back_what_was_not_settled(void **state) {
    struct spool_options options = on_disk(1);
    struct spool *spool = open_spool(&options);
    struct spool_figures figures;
    struct spool_recovery found;
    struct spool_batch batch;
    unsigned first, last;

    (void)state;
    spool_batch_init(&batch);
    put_many(spool, 1, 0, 100, 10);
    assert_true(spool_take(spool, 0, &(struct spool_flush){ 40, 1 << 20, 1, 0 }, &batch));
    settle_all(spool, 0, &batch, FATE_STORED);
    assert_true(spool_take(spool, 0, &(struct spool_flush){ 10, 1 << 20, 1, 0 }, &batch));
    settle_all(spool, 0, &batch, FATE_DROPPED_SHUTDOWN); /* as a sender does when the time is up */
    assert_int_equal(pending(spool, 0), 60);
    spool_interrupt(spool);
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[0].messages[FATE_DROPPED_SHUTDOWN], 0);
    spool_free(spool);

    spool = open_spool(&options);
    spool_recovered(spool, &found);
    assert_int_equal(found.messages, 60);
    spool_figures(spool, &figures);
    assert_int_equal(figures.received, 60);
    assert_int_equal(figures.recovered, 60);
    assert_int_equal(drain(spool, 0, &first, &last), 60);
    assert_int_equal(first, 40);
    assert_int_equal(last, 99);
    spool_free(spool);

    spool = open_spool(&options);
    assert_int_equal(pending(spool, 0), 0);
    put_many(spool, 1, 100, 110, 10); /* sequences go on where they were */
    assert_int_equal(drain(spool, 0, &first, &last), 10);
    spool_free(spool);
    spool_batch_release(&batch);
}

static void outputs_are_known_by_name(void **state) {
    static const char *const swapped[] = { "archive", "influxdb" }, *const others[] = { "archive", "new" };
    struct spool_options options = on_disk(2);
    struct spool *spool = open_spool(&options);
    struct spool_recovery found;
    unsigned first;

    (void)state;
    put_many(spool, 1, 0, 10, 10);  /* influxdb */
    put_many(spool, 2, 10, 30, 10); /* archive */
    put_many(spool, 3, 30, 35, 10);
    spool_free(spool);
    options.output_names = swapped;
    spool = open_spool(&options);
    assert_int_equal(pending(spool, 0), 25);
    assert_int_equal(pending(spool, 1), 15);
    assert_identity(spool);
    assert_int_equal(drain(spool, 1, &first, NULL), 15);
    assert_int_equal(first, 0);
    spool_free(spool);
    options.output_names = others;
    spool = open_spool(&options);
    spool_recovered(spool, &found);
    assert_int_equal(found.orphans, 10);
    assert_int_equal(pending(spool, 0), 25);
    assert_int_equal(pending(spool, 1), 0);
    assert_int_equal(drain(spool, 0, &first, NULL), 25);
    assert_int_equal(first, 10);
    spool_free(spool);
}

static void a_message_of_several_records_is_counted_once(void **state) {
    struct spool_options options = on_disk(2);
    struct spool *spool = open_spool(&options);
    struct spool_record records[] = {
        { .outputs = 1, .lines = 1, .topic = STR_INIT("t"), .text = STR_INIT("a id=1i,v=1 1\n") },
        { .outputs = 2, .lines = 2, .topic = STR_INIT("t"), .text = STR_INIT("b id=1i,v=1 1\nb id=2i,v=2 2\n") },
    };
    struct spool_figures figures;
    uint64_t sequence;

    (void)state;
    assert_int_equal(spool_append(spool, records, 2, true, &sequence), SPOOL_APPENDED);
    wait_durable(spool, sequence);
    drain(spool, 0, NULL, NULL);
    spool_free(spool);
    spool = open_spool(&options);
    spool_figures(spool, &figures);
    assert_int_equal(figures.received, 1);
    assert_int_equal(figures.output[0].messages[FATE_EARLIER], 1);
    assert_int_equal(figures.output[1].pending_messages, 1);
    assert_int_equal(figures.output[1].pending_lines, 2);
    assert_identity(spool);
    spool_free(spool);
}

static void a_backlog_stands_on_disk_and_not_in_memory(void **state) {
    struct spool_options options = on_disk(2);
    struct spool_figures figures;
    struct spool *spool;
    unsigned first, last;

    (void)state;
    options.max_bytes = 512 << 20;
    spool = open_spool(&options);
    for (unsigned from = 0; from < 60000; from += 5000) {
        put_many(spool, 3, from, from + 5000, 1000);
        assert_int_equal(drain(spool, 1, &first, &last), 5000); /* keeps up, whatever the other one does */
        assert_int_equal(first, from);
        spool_figures(spool, &figures);
        assert_true(figures.memory_bytes <= 5 << 20);
    }
    assert_true(figures.bytes > 50 << 20);
    assert_int_equal(drain(spool, 0, &first, &last), 60000);
    assert_int_equal(first, 0);
    spool_free(spool);
}

static void the_limit_is_hard_and_the_oldest_go(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_figures figures;
    struct spool *spool;
    unsigned first, last, left;

    (void)state;
    options.max_bytes = 1 << 20;
    spool = open_spool(&options);
    for (unsigned from = 0; from < 10000; from += 500) {
        put_many(spool, 1, from, from + 500, 400);
        assert_true(directory_bytes() <= 1 << 20);
    }
    spool_figures(spool, &figures);
    left = (unsigned)figures.output[0].pending_messages;
    assert_int_equal(figures.output[0].messages[FATE_DROPPED_FULL], 10000 - left);
    assert_int_equal(figures.output[0].lines[FATE_DROPPED_FULL], 10000 - left);
    assert_true(left > 1000);
    spool_free(spool);
    spool = open_spool(&options);
    assert_int_equal(drain(spool, 0, &first, &last), left);
    assert_int_equal(last, 9999);
    assert_int_equal(first, 10000 - left); /* exactly the policy's points are missing */
    spool_free(spool);
}

/* The oldest segment is what a sender holds all through an outage. All of so small a spool is in memory, too. */
static void with_the_oldest_in_flight_the_next_ones_go(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_flush flush = { 100, 1 << 20, 1, 0 };
    struct spool *spool;
    struct spool_batch batch;
    unsigned first, last, count;

    (void)state;
    options.max_bytes = 1 << 20;
    spool = open_spool(&options);
    put_many(spool, 1, 0, 200, 100);
    spool_batch_init(&batch);
    assert_true(spool_take(spool, 0, &flush, &batch));
    put_many(spool, 1, 200, 20000, 100);
    settle_all(spool, 0, &batch, FATE_STORED);
    spool_batch_release(&batch);
    count = drain(spool, 0, &first, &last);
    assert_int_equal(first, 100);
    assert_int_equal(last, 19999);
    assert_in_range(count, 2000, 6000);
    spool_free(spool);
}

static void drop_newest_and_block_turn_away(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_figures figures;
    struct spool *spool;
    uint64_t sequence = 0;
    unsigned appended = 0, first, last;

    (void)state;
    options.max_bytes = 1 << 20;
    options.when_full = SPOOL_DROP_NEWEST;
    spool = open_spool(&options);
    for (unsigned id = 0; id < 5000; id++)
        appended += put(spool, 1, id, 400, &sequence) == SPOOL_APPENDED;
    assert_true(appended > 1000 && appended < 2500);
    wait_durable(spool, sequence);
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[0].messages[FATE_DROPPED_FULL], 5000 - appended);
    assert_int_equal(drain(spool, 0, &first, &last), appended);
    spool_free(spool);

    options.when_full = SPOOL_BLOCK;
    spool = open_spool(&options);
    for (unsigned id = 0; id < 5000; id++)
        if (put(spool, 1, id, 400, &sequence) == SPOOL_REFUSED)
            break;
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[0].messages[FATE_RETURNED], 1);
    for (int i = 0; i < 200; i++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    assert_true(spool_durable(spool) < sequence); /* held back */
    drain(spool, 0, &first, &last);
    wait_durable(spool, sequence);
    spool_free(spool);
}

/* Of a steady stream, old times are still there, thinner with age; the counts are exact. */
static void check_thinned(enum spool_sync sync) {
    struct spool_options options = on_disk(1);
    struct spool_figures figures;
    unsigned first, last, oldest_third = 0, newest_third = 0, count = 0, total = 12000, before = 0;
    struct spool_batch batch;
    struct spool *spool;
    bool any = false;

    options.max_bytes = 1 << 20;
    options.when_full = SPOOL_THIN;
    options.sync = sync;
    spool = open_spool(&options);
    put_many(spool, 1, 0, total, 100);
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[0].messages[FATE_DROPPED_FULL] + figures.output[0].pending_messages, total);
    assert_true(figures.bytes <= 1 << 20);
    if (sync != SPOOL_MEMORY) {
        spool_free(spool);
        spool = open_spool(&options);
    }
    spool_batch_init(&batch);
    while (pending(spool, 0) > 0 && spool_take(spool, 0, &at_once, &batch)) {
        for (size_t i = 0; i < batch.line_count; i++) {
            unsigned id = id_of(&batch, i);
            assert_true(!any || id > before);
            any = true;
            before = id;
            count++;
            oldest_third += id < total / 3;
            newest_third += id >= total / 3 * 2;
        }
        settle_all(spool, 0, &batch, FATE_STORED);
    }
    first = count;
    last = before;
    assert_int_equal(last, total - 1);
    assert_true(first == figures.output[0].pending_messages);
    assert_true(oldest_third > 20);
    assert_true(newest_third > oldest_third);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

/* Many times what fits: whatever the age, a series has a point in every so many, and no more are left out than there have to be. */
static void check_resolution_falls_with_age(enum spool_sync sync) {
    enum { POINTS = 200000, PARTS = 10 };
    struct spool_options options = on_disk(1);
    struct spool_batch batch;
    struct spool *spool;
    unsigned before = 0, gaps[PARTS] = { 0 };

    options.max_bytes = 4 << 20;
    options.when_full = SPOOL_THIN;
    options.sync = sync;
    spool = open_spool(&options);
    for (unsigned id = 0; id < POINTS; id += 1000) /* no faster than the disk: only what is there can be joined */
        put_many(spool, 1, id, id + 1000, 60);
    spool_batch_init(&batch);
    while (pending(spool, 0) > 0 && spool_take(spool, 0, &at_once, &batch)) {
        for (size_t i = 0; i < batch.line_count; i++) {
            unsigned id = id_of(&batch, i), part = id / (POINTS / PARTS);
            if (id % 4 != 0)
                continue;
            if ((id - before) / 4 > gaps[part])
                gaps[part] = (id - before) / 4;
            before = id;
        }
        settle_all(spool, 0, &batch, FATE_STORED);
    }
    assert_in_range(gaps[0], 8, 64);
    for (unsigned i = 1; i < PARTS; i++)
        assert_in_range(gaps[i], 1, gaps[i - 1] + gaps[i - 1] / 8 + 2); /* where two segments meet, counting begins anew */
    assert_in_range(gaps[PARTS - 1], 1, 8);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

static void resolution_falls_with_age_on_disk(void **state) {
    (void)state;
    check_resolution_falls_with_age(SPOOL_COMMIT);
}

static void resolution_falls_with_age_in_memory(void **state) {
    (void)state;
    check_resolution_falls_with_age(SPOOL_MEMORY);
}

static void thinning_keeps_every_second_point_on_disk(void **state) {
    (void)state;
    check_thinned(SPOOL_COMMIT);
}

static void thinning_keeps_every_second_point_in_memory(void **state) {
    (void)state;
    check_thinned(SPOOL_MEMORY);
}

static void what_is_too_old_is_dropped_and_counted(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_figures figures;
    struct spool_batch batch;
    struct spool *spool;
    unsigned first, last;

    (void)state;
    spool = open_spool(&options);
    put_many(spool, 1, 0, 10, 10);
    spool_free(spool);
    nanosleep(&(struct timespec){ 0, 300 * NS_PER_MS }, NULL);
    options.max_age_ns = 250 * NS_PER_MS;
    spool = open_spool(&options);
    put_many(spool, 1, 10, 15, 10);
    spool_batch_init(&batch);
    assert_true(spool_take(spool, 0, &at_once, &batch));
    first = id_of(&batch, 0);
    last = id_of(&batch, batch.line_count - 1);
    assert_int_equal(first, 10);
    assert_int_equal(last, 14);
    settle_all(spool, 0, &batch, FATE_STORED);
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[0].messages[FATE_EXPIRED], 10);
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

/* A spool whose output has 5000 records of an earlier run before it, `first` of which it has taken. */
static struct spool *with_a_backlog(const struct spool_options *options, const struct spool_flush *flush, unsigned first) {
    struct spool *spool = open_spool(options);
    struct spool_batch batch;

    put_many(spool, 1, 0, 5000, 100);
    spool_free(spool);
    spool = open_spool(options);
    spool_batch_init(&batch);
    assert_true(spool_take(spool, 0, flush, &batch));
    assert_int_equal(batch.line_count, first);
    assert_int_equal(id_of(&batch, 0), 0);
    settle_all(spool, 0, &batch, FATE_STORED);
    spool_batch_release(&batch);
    return spool;
}

static void live_data_goes_first_and_the_backlog_beside_it(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_flush flush = { 100, 1 << 20, 1, 0 };
    struct spool_batch batch;
    struct spool *spool;
    unsigned fresh = 0, old = 0, next_fresh = 5000, next_old = 100;

    (void)state;
    options.order = SPOOL_LIVE_FIRST;
    options.live_percent = 75;
    spool = with_a_backlog(&options, &flush, 100);
    put_many(spool, 1, 5000, 8000, 100);
    spool_batch_init(&batch);
    assert_true(spool_take(spool, 0, &flush, &batch));
    assert_int_equal(id_of(&batch, 0), 5000);
    while (true) {
        unsigned old_before = next_old;
        for (size_t i = 0; i < batch.line_count; i++) {
            unsigned id = id_of(&batch, i);
            if (id >= 5000)
                assert_int_equal(id, next_fresh++);
            else
                assert_int_equal(id, next_old++);
        }
        assert_int_equal(batch.more, next_old > old_before || next_fresh < 8000); /* backlog can wait, and what is behind a full batch does */
        settle_all(spool, 0, &batch, FATE_STORED);
        if (fresh == 0 && next_fresh >= 7000) {
            fresh = next_fresh - 5000;
            old = next_old - 100;
        }
        if (pending(spool, 0) == 0)
            break;
        assert_true(spool_take(spool, 0, &flush, &batch));
    }
    assert_int_equal(next_fresh, 8000);
    assert_int_equal(next_old, 5000);
    assert_in_range(old, fresh * 32 / 100, fresh * 34 / 100); /* a quarter of all is a third of the fresh ones */
    assert_identity(spool);
    spool_batch_release(&batch);
    spool_free(spool);
}

/* While a slow server rests from the backlog, fresh records go alone, and with the agent's end nothing rests. */
static void a_reader_can_leave_the_backlog_alone_for_a_while(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_flush flush = { 100, 1 << 20, 1, 0 };
    struct spool_batch batch;
    struct spool *spool;
    int64_t until_ns;

    (void)state;
    options.order = SPOOL_LIVE_FIRST;
    spool = with_a_backlog(&options, &flush, 100);
    put_many(spool, 1, 5000, 5003, 100);
    spool_batch_init(&batch);
    batch.live_only_until_ns = INT64_MAX;
    assert_true(spool_take(spool, 0, &flush, &batch));
    assert_int_equal(batch.line_count, 3);
    assert_int_equal(id_of(&batch, 0), 5000);
    assert_false(batch.more);
    settle_all(spool, 0, &batch, FATE_STORED);
    batch.live_only_until_ns = until_ns = clock_mono_ns() + NS_PER_S / 10;
    assert_true(spool_take(spool, 0, &flush, &batch)); /* nothing fresh comes */
    assert_true(clock_mono_ns() >= until_ns);
    assert_int_equal(batch.line_count, 100);
    assert_int_equal(id_of(&batch, 0), 100);
    assert_true(batch.more);
    settle_all(spool, 0, &batch, FATE_STORED);
    batch.live_only_until_ns = INT64_MAX;
    spool_flush_now(spool);
    assert_true(spool_take(spool, 0, &flush, &batch));
    assert_int_equal(id_of(&batch, 0), 200);
    settle_all(spool, 0, &batch, FATE_STORED);
    spool_batch_release(&batch);
    spool_free(spool);
}

/* A trickle of live data must not cost the backlog its requests. */
static void a_batch_with_few_live_lines_is_filled_from_the_backlog(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_flush flush = { 100, 1 << 20, 1, 0 };
    struct spool_batch batch;
    struct spool *spool;

    (void)state;
    options.order = SPOOL_LIVE_FIRST;
    spool = with_a_backlog(&options, &flush, 100);
    spool_batch_init(&batch);
    for (unsigned i = 0; i < 10; i++) {
        put_many(spool, 1, 5000 + 3 * i, 5003 + 3 * i, 100);
        assert_true(spool_take(spool, 0, &flush, &batch));
        assert_int_equal(batch.line_count, 100);
        assert_int_equal(id_of(&batch, 0), 5000 + 3 * i);
        assert_int_equal(id_of(&batch, 3), 100 + 97 * i);
        settle_all(spool, 0, &batch, FATE_STORED);
    }
    spool_batch_release(&batch);
    spool_free(spool);
}

/* Live records of which one fills a batch leave the backlog every other batch. */
static void large_live_records_do_not_starve_the_backlog(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_flush flush = { 100, 1000, 1, 0 };
    struct spool_batch batch;
    struct spool *spool;
    unsigned old = 0;

    (void)state;
    options.order = SPOOL_LIVE_FIRST;
    spool = with_a_backlog(&options, &flush, 8);
    put_many(spool, 1, 5000, 5020, 2000);
    spool_batch_init(&batch);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(spool_take(spool, 0, &flush, &batch));
        old += id_of(&batch, 0) < 5000;
        settle_all(spool, 0, &batch, FATE_STORED);
    }
    assert_int_equal(old, 10);
    spool_batch_release(&batch);
    spool_free(spool);
}

/* What is on its way is not what lies between it: that may be dropped, and a crash leaves both parts. */
static void a_batch_of_live_and_backlog_holds_both_and_nothing_between(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_flush flush = { 100, 1 << 20, 1, 0 };
    struct spool_figures figures;
    struct spool_batch batch;
    struct spool *spool;
    unsigned first, last;

    (void)state;
    options.max_bytes = 3 << 20;
    options.order = SPOOL_LIVE_FIRST;
    spool = with_a_backlog(&options, &flush, 100);
    put_many(spool, 1, 5000, 5003, 100);
    spool_batch_init(&batch);
    assert_true(spool_take(spool, 0, &flush, &batch));
    assert_int_equal(id_of(&batch, 0), 5000);
    assert_int_equal(id_of(&batch, 3), 100);
    put_many(spool, 1, 5003, 20000, 100);
    spool_figures(spool, &figures);
    assert_in_range(figures.output[0].messages[FATE_DROPPED_FULL], 4000, 10000);
    struct spool_settlement how = { .messages = { [FATE_DROPPED_SHUTDOWN] = 100 }, .lines = { [FATE_DROPPED_SHUTDOWN] = 100 } };
    spool_settle(spool, 0, &batch, &how);
    spool_batch_release(&batch);
    spool_free(spool);
    options.order = SPOOL_OLDEST_FIRST;
    spool = open_spool(&options);
    drain(spool, 0, &first, &last);
    assert_int_equal(first, 100);
    assert_int_equal(last, 19999);
    spool_free(spool);
}

static void a_record_larger_than_a_segment_survives(void **state) {
    struct spool_options options = on_disk(1);
    struct spool *spool;
    unsigned first, last;

    (void)state;
    options.max_bytes = 16 << 20;
    spool = open_spool(&options);
    put_many(spool, 1, 0, 1, 3 << 20);
    put_many(spool, 1, 1, 5, 10);
    spool_free(spool);
    spool = open_spool(&options);
    assert_int_equal(drain(spool, 0, &first, &last), 5);
    assert_int_equal(first, 0);
    spool_free(spool);
}

static void interval_acknowledges_what_is_written(void **state) {
    struct spool_options options = on_disk(1);
    struct spool *spool;
    unsigned first, last;

    (void)state;
    options.sync = SPOOL_INTERVAL;
    options.interval_ns = 5 * NS_PER_MS;
    spool = open_spool(&options);
    put_many(spool, 1, 0, 20000, 100);
    spool_free(spool);
    spool = open_spool(&options);
    assert_int_equal(drain(spool, 0, &first, &last), 20000);
    spool_free(spool);
}

/* Many starts take no more room than what they hold. */
static void restarting_often_fills_no_disk(void **state) {
    struct spool_options options = on_disk(1);
    unsigned first, last;

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        struct spool *spool = open_spool(&options);
        put_many(spool, 1, i, i + 1, 10);
        spool_free(spool);
    }
    assert_true(directory_bytes() < 50 * 16384 + (16 << 20));
    struct spool *spool = open_spool(&options);
    assert_int_equal(drain(spool, 0, &first, &last), 50);
    spool_free(spool);
}

/* Trouble with the directory: one sentence that says what to do. */
static struct refusal {
    const char *name;
    int error;
    const char *words;
} refusals[] = {
    { "a directory of somebody else", EACCES, "chown" },
    { "a read-only filesystem", EROFS, "read-only" },
    { "no directory", ENOENT, "create it" },
};

static void says_what_to_do(void **state) {
    const struct refusal *refusal = *state;
    struct fake_disk *disk = fake_disk_new();
    struct spool_options options = on_disk(1);
    struct err err = ERR_INIT;

    options.file_ops = &disk->ops;
    fake_disk_fail(disk, refusal->error);
    assert_null(spool_new(&options, &err));
    assert_non_null(strstr(err.text, refusal->words));
    fake_disk_fail(disk, 0);
    disk->fail_at = disk->calls + 3; /* the first file */
    disk->fail_with = refusal->error;
    disk->fail_always = false;
    err_clear(&err);
    assert_null(spool_new(&options, &err));
    assert_non_null(strstr(err.text, refusal->words));
    fake_disk_free(disk);
}

static void leaves_min_free_to_others(void **state) {
    struct fake_disk *disk = fake_disk_new();
    struct spool_options options = on_disk(1);
    struct spool_figures figures;
    struct err why = ERR_INIT;
    struct spool *spool;
    uint64_t sequence = 0;

    (void)state;
    disk->capacity = 4 << 20;
    options.file_ops = &disk->ops;
    options.min_free = 3 << 20;
    options.segment_bytes = 256 << 10;
    options.memory_bytes = 1 << 20;
    options.retry_ns = NS_PER_MS;
    spool = open_spool(&options);
    for (unsigned id = 0; id < 20000 && !spool_degraded(spool, &why); id++)
        put(spool, 1, id, 400, &sequence);
    for (int i = 0; i < 2000 && !spool_degraded(spool, &why); i++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    spool_degraded(spool, &why);
    assert_non_null(strstr(why.text, "min_free"));
    assert_true(disk->used <= 1 << 20);
    spool_figures(spool, &figures);
    assert_true(figures.disk_errors > 0);
    assert_identity(spool);
    spool_free(spool);
    fake_disk_free(disk);
}

/* The real thing: a filesystem of 4 MiB that somebody else fills up. */
static void a_full_filesystem_loses_nothing(void **state) {
    struct spool_options options = on_disk(1);
    uint64_t sequence = 0, last_sequence = 0;
    unsigned id = 0, acknowledged, first, last;
    struct err why = ERR_INIT;
    struct spool *spool;
    char path[128];

    (void)state;
    if (mount("tmpfs", directory, "tmpfs", 0, "size=4m") != 0) {
        print_message("skipped: mounting a tmpfs is not permitted here (%s)\n", strerror(errno));
        skip();
    }
    options.max_bytes = 64 << 20;
    options.segment_bytes = 512 << 10;
    options.memory_bytes = 2 << 20;
    options.retry_ns = 20 * NS_PER_MS;
    spool = open_spool(&options);
    while (!spool_degraded(spool, NULL) && id < 100000) {
        if (put(spool, 1, id, 400, &sequence) == SPOOL_APPENDED)
            id++;
        else
            nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    }
    assert_true(spool_degraded(spool, &why));
    assert_non_null(strstr(why.text, "No space left"));
    last_sequence = spool_durable(spool);
    acknowledged = (unsigned)last_sequence;
    assert_true(acknowledged > 1000 && last_sequence < sequence);
    assert_identity(spool);
    /* Room again: all that was taken becomes durable by itself. */
    snprintf(path, sizeof path, "remount,size=16m");
    assert_int_equal(mount("tmpfs", directory, "tmpfs", MS_REMOUNT, "size=16m"), 0);
    wait_durable(spool, sequence);
    assert_false(spool_degraded(spool, NULL));
    spool_free(spool);
    spool = open_spool(&options);
    assert_int_equal(drain(spool, 0, &first, &last), id);
    assert_int_equal(first, 0);
    assert_int_equal(last, id - 1);
    spool_free(spool);
    assert_int_equal(umount(directory), 0);
}

/* Writers, readers and the commit thread at once, with a memory so small that everything goes through the files. */
enum { EACH = 15000 };

static void *write_half(void *arg) {
    uint64_t sequence;

    for (unsigned id = 0; id < EACH;) {
        if (put(arg, id % 3 == 0 ? 1 : 3, id, 50, &sequence) == SPOOL_APPENDED)
            id++;
        else
            nanosleep(&(struct timespec){ 0, 100000 }, NULL);
    }
    return NULL;
}

struct reader {
    struct spool *spool;
    unsigned output;
    uint64_t lines;
};

static void *read_all(void *arg) {
    struct reader *reader = arg;
    struct spool_flush flush = { 300, 1 << 20, 100, 5 * NS_PER_MS };
    struct spool_batch batch;

    spool_batch_init(&batch);
    while (spool_take(reader->spool, reader->output, &flush, &batch)) {
        reader->lines += batch.line_count;
        settle_all(reader->spool, reader->output, &batch, FATE_STORED);
    }
    spool_batch_release(&batch);
    return NULL;
}

static void threads_lose_nothing(void **state) {
    struct spool_options options = on_disk(2);
    pthread_t writers[2], threads[4];
    struct reader readers[4];
    struct spool *spool;

    (void)state;
    options.segment_bytes = 256 << 10;
    options.chunk_bytes = 16 << 10;
    options.memory_bytes = 256 << 10;
    options.order = SPOOL_LIVE_FIRST;
    spool = open_spool(&options);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&writers[i], NULL, write_half, spool);
    for (unsigned i = 0; i < 4; i++) {
        readers[i] = (struct reader){ spool, i % 2, 0 };
        if (i % 2 == 0)
            pthread_create(&threads[i], NULL, read_all, &readers[i]);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    assert_identity(spool);
    for (unsigned i = 1; i < 4; i += 2) /* the second output comes late: all of its data is backlog */
        pthread_create(&threads[i], NULL, read_all, &readers[i]);
    spool_close(spool);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(readers[0].lines + readers[2].lines, 2 * EACH);
    assert_int_equal(readers[1].lines + readers[3].lines, 2 * (EACH - (EACH + 2) / 3));
    assert_identity(spool);
    spool_free(spool);
    spool = open_spool(&options);
    assert_int_equal(pending(spool, 0), 0);
    assert_int_equal(pending(spool, 1), 0);
    spool_free(spool);
}

/* The checkpoint as it stands. */
static size_t read_checkpoint(char *out, size_t size) {
    char path[600];
    snprintf(path, sizeof path, "%s/checkpoint", directory);
    FILE *file = fopen(path, "rb");
    size_t len = file != NULL ? fread(out, 1, size, file) : 0;

    if (file != NULL)
        fclose(file);
    return len;
}

struct rest {
    char seen[64 * 1024]; /* the checkpoint at the last call */
    size_t len;
    unsigned calls;
};

static void look_at_checkpoint(void *ctx) {
    struct rest *rest = ctx;

    rest->len = read_checkpoint(rest->seen, sizeof rest->seen);
    rest->calls++;
}

/* What an output gave up became dead letters: they are safe before the disk learns that it is settled. */
static void a_checkpoint_comes_after_what_it_rests_on(void **state) {
    static struct rest rest;
    static char last[sizeof rest.seen];
    struct spool_options options = on_disk(1);
    struct spool *spool = open_spool(&options);
    struct message_origin origin = { .content = 7, .session = 8, .id = 9 };
    const struct message_origin *origins;
    struct spool_batch batch;
    uint64_t sequence;

    (void)state;
    spool_before_promise(spool, look_at_checkpoint, &rest);
    spool_batch_init(&batch);
    put_many(spool, 1, 0, 10, 10);
    assert_true(spool_take(spool, 0, &at_once, &batch));
    settle_all(spool, 0, &batch, FATE_DEAD_LETTERED);
    put_many(spool, 1, 10, 11, 10);
    spool_account_safely(spool, FATE_DEAD_LETTERED, &origin, &sequence);
    wait_durable(spool, sequence);
    spool_batch_release(&batch);
    spool_close(spool);
    spool_interrupt(spool);
    spool_free(spool);
    assert_true(rest.calls > 1);
    size_t len = read_checkpoint(last, sizeof last);
    assert_true(len > 0);
    assert_false(len == rest.len && memcmp(last, rest.seen, len) == 0); /* it was written after the last call */
    spool = open_spool(&options);
    assert_int_equal(pending(spool, 0), 1);
    assert_int_equal(spool_origins(spool, &origins), 1);
    assert_int_equal(origins[0].id, 9);
    assert_identity(spool);
    spool_close(spool);
    spool_interrupt(spool);
    spool_free(spool);
}

/* The broker may not have read the acknowledgement, and delivers it again after a crash. */
static void a_message_that_became_something_else_is_remembered(void **state) {
    struct spool_options options = on_disk(1);
    struct spool *spool = open_spool(&options);
    struct message_origin origin = { .content = 7, .session = 8, .id = 9 };
    const struct message_origin *origins;
    uint64_t sequence;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        spool_account_safely(spool, FATE_DEAD_LETTERED, &origin, &sequence);
        wait_durable(spool, sequence);
    }
    spool_close(spool);
    spool_free(spool);
    spool = open_spool(&options);
    assert_int_equal(spool_origins(spool, &origins), 3);
    assert_true(origins[0].content == 7 && origins[2].id == 9);
    assert_int_equal(pending(spool, 0), 0);
    assert_identity(spool);
    spool_close(spool);
    spool_free(spool);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_directory, remove_directory)

/* A disk of which each sync takes its time, or fails. */
struct slow_disk {
    struct file_ops ops;
    int64_t sync_ns;
    int error;
    struct spool *_Atomic spool; /* looked at before each sync, when there is one */
    _Atomic unsigned taken, syncs, too_early;
};

static int slow_sync(void *ctx, int file) {
    struct slow_disk *disk = ctx;

    nanosleep(&(struct timespec){ disk->sync_ns / NS_PER_S, disk->sync_ns % NS_PER_S }, NULL);
    disk->syncs++;
    disk->too_early += disk->spool != NULL && disk->taken > spool_durable(disk->spool);
    return disk->error != 0 ? disk->error : file_ops_system.sync(file_ops_system.ctx, file);
}

static void make_slow(struct slow_disk *disk, int64_t sync_ns, int error) {
    *disk = (struct slow_disk){ .ops = file_ops_system, .sync_ns = sync_ns, .error = error };
    disk->ops.ctx = disk;
    disk->ops.sync = slow_sync;
}

struct taker {
    struct spool *spool;
    struct slow_disk *disk;
    unsigned wanted;
};

static void *take_some(void *arg) {
    struct taker *taker = arg;
    struct spool_batch batch;

    spool_batch_init(&batch);
    while (taker->disk->taken < taker->wanted && spool_take(taker->spool, 0, &at_once, &batch)) {
        taker->disk->taken += (unsigned)batch.record_count;
        settle_all(taker->spool, 0, &batch, FATE_STORED);
    }
    spool_batch_release(&batch);
    return NULL;
}

/* Were it in the database before, and the power went, the broker's second try would be a second point. */
static void readers_get_what_is_safe(void **state) {
    struct spool_options options = on_disk(1);
    struct slow_disk disk;
    pthread_t thread;
    uint64_t sequence = 0;

    (void)state;
    make_slow(&disk, 50 * NS_PER_MS, 0);
    options.file_ops = &disk.ops;
    struct taker taker = { open_spool(&options), &disk, 20 };
    disk.spool = taker.spool;
    unsigned syncs_before = disk.syncs;
    pthread_create(&thread, NULL, take_some, &taker);
    for (unsigned id = 0; id < 20; id++)
        put(taker.spool, 1, id, 0, &sequence);
    wait_durable(taker.spool, sequence);
    assert_true(disk.syncs > syncs_before);
    pthread_join(thread, NULL);
    assert_int_equal(disk.taken, 20);
    assert_int_equal(disk.too_early, 0);
    spool_free(taker.spool);
}

static enum spool_result put_unacknowledged(struct spool *spool, enum spool_claim claim) {
    static const char text[] = "m v=1 1\n";
    struct spool_record record = { .outputs = 1, .lines = 1, .topic = STR("plant/a"), .text = str_make(text, sizeof text - 1) };
    uint64_t sequence;

    return spool_append(spool, &record, 1, claim, &sequence);
}

/* Nothing of it is written for a second, as nobody waits for it, so that the memory is full of it for as long. */
static void memory_that_is_short_holds_up_who_can_wait(void **state) {
    struct spool_options options = on_disk(1);
    struct spool_figures figures;
    unsigned count = 0;

    (void)state;
    options.memory_bytes = 256 << 10;
    options.chunk_bytes = 16 << 10;
    struct spool *spool = open_spool(&options);
    while (put_unacknowledged(spool, SPOOL_SENDER_CAN_WAIT) == SPOOL_APPENDED)
        count++;
    assert_in_range(count, 1, (256 << 10) / 8);
    assert_int_equal(put_unacknowledged(spool, SPOOL_SENDER_CAN_WAIT), SPOOL_REFUSED);
    assert_int_equal(put_unacknowledged(spool, SPOOL_LAST_CHANCE), SPOOL_DROPPED);
    while (put_unacknowledged(spool, SPOOL_SENDER_CAN_WAIT) == SPOOL_REFUSED)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    spool_figures(spool, &figures);
    assert_int_equal(figures.output[0].pending_messages, count + 1);
    spool_free(spool);
}

static void a_disk_that_fails_holds_up_nobody(void **state) {
    struct spool_options options = on_disk(1);
    struct slow_disk disk;
    enum spool_result result;

    (void)state;
    make_slow(&disk, 0, -EIO);
    options.file_ops = &disk.ops;
    options.memory_bytes = 256 << 10;
    options.chunk_bytes = 16 << 10;
    struct spool *spool = open_spool(&options);
    put_unacknowledged(spool, SPOOL_ACKNOWLEDGED); /* this one is written at once, and that fails */
    while (!spool_degraded(spool, NULL))
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    while ((result = put_unacknowledged(spool, SPOOL_SENDER_CAN_WAIT)) == SPOOL_APPENDED)
        continue;
    assert_int_equal(result, SPOOL_DROPPED);
    spool_free(spool);
}

static void a_batch_ends_where_safety_ends(void **state) {
    struct spool_options options = on_disk(1);
    struct slow_disk disk;
    struct spool_batch batch;
    uint64_t sequence = 0;

    (void)state;
    make_slow(&disk, 100 * NS_PER_MS, 0);
    options.file_ops = &disk.ops;
    struct spool *spool = open_spool(&options);
    put_many(spool, 1, 0, 5, 0);
    put(spool, 1, 5, 0, &sequence);
    spool_batch_init(&batch);
    assert_true(spool_take(spool, 0, &at_once, &batch));
    assert_true(batch.record_count <= spool_durable(spool));
    settle_all(spool, 0, &batch, FATE_STORED);
    spool_batch_release(&batch);
    drain(spool, 0, NULL, NULL);
    spool_free(spool);
}

static void what_nobody_waits_for_is_read_at_once(void **state) {
    struct spool_options options = on_disk(1);
    struct slow_disk disk;
    struct spool_record record = { .outputs = 1, .lines = 1, .topic = STR("t"), .text = STR("m v=1 1\n") };
    uint64_t sequence;

    (void)state;
    make_slow(&disk, 0, 0);
    options.file_ops = &disk.ops;
    struct taker taker = { open_spool(&options), &disk, 1 };
    unsigned syncs = disk.syncs;
    assert_int_equal(spool_append(taker.spool, &record, 1, false, &sequence), SPOOL_APPENDED);
    take_some(&taker);
    assert_int_equal(disk.syncs, syncs);
    spool_free(taker.spool);
}

static void readers_do_not_wait_for_a_disk_that_fails(void **state) {
    struct spool_options options = on_disk(1);
    struct slow_disk disk;
    uint64_t sequence = 0;

    (void)state;
    make_slow(&disk, 0, -EIO);
    options.file_ops = &disk.ops;
    struct taker taker = { open_spool(&options), &disk, 1 };
    put(taker.spool, 1, 0, 0, &sequence);
    take_some(&taker);
    assert_int_equal(disk.taken, 1);
    spool_free(taker.spool);
}

static void readers_do_not_wait_for_ever_for_a_silent_disk(void **state) {
    struct spool_options options = on_disk(1);
    struct slow_disk disk;
    uint64_t sequence = 0;

    (void)state;
    make_slow(&disk, 2 * NS_PER_S, 0);
    options.file_ops = &disk.ops;
    options.patience_ns = 20 * NS_PER_MS;
    struct taker taker = { open_spool(&options), &disk, 1 };
    put(taker.spool, 1, 0, 0, &sequence);
    take_some(&taker);
    assert_int_equal(disk.taken, 1);
    spool_free(taker.spool);
}

static void put_from(struct spool *spool, unsigned id, size_t padding) {
    char text[4096];
    int len = sprintf(text, "m id=%ui,v=\"%0*u\" 1\n", id, (int)padding, id);
    struct spool_record record = { .outputs = 1, .lines = 1, .topic = STR("t"), .text = str_make(text, (size_t)len),
                                   .origin = { .content = id * UINT64_C(1000003), .session = 77, .id = (uint16_t)id } };
    uint64_t sequence;

    assert_int_equal(spool_append(spool, &record, 1, true, &sequence), SPOOL_APPENDED);
    wait_durable(spool, sequence);
}

static size_t check_origins(struct spool *spool, unsigned last) {
    const struct message_origin *origins;
    size_t count = spool_origins(spool, &origins);

    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        unsigned id = last - (unsigned)(count - 1 - i);
        assert_int_equal(origins[i].id, id);
        assert_int_equal(origins[i].session, 77);
        assert_int_equal(origins[i].content, id * UINT64_C(1000003));
    }
    spool_forget_origins(spool);
    assert_int_equal(spool_origins(spool, &origins), 0);
    return count;
}

static void a_restart_knows_where_messages_came_from(void **state) {
    struct spool_options options = on_disk(1);
    struct spool *spool = open_spool(&options);

    (void)state;
    for (unsigned id = 1; id <= 100; id++)
        put_from(spool, id, id % 60);
    drain(spool, 0, NULL, NULL); /* delivered, and still not acknowledged, perhaps */
    spool_free(spool);
    spool = open_spool(&options);
    assert_int_equal(check_origins(spool, 100), 100);
    assert_int_equal(drain(spool, 0, NULL, NULL), 0);
    spool_free(spool);
    spool = open_spool(&options); /* a crash soon after a start must not cost the knowledge */
    check_origins(spool, 100);
    spool_free(spool);
}

static void a_full_segment_keeps_its_origins_for_a_while(void **state) {
    struct spool_options options = on_disk(1);
    struct spool *spool = open_spool(&options);
    struct spool_figures figures;
    unsigned id = 0;

    (void)state;
    spool_free(spool);
    options.segment_bytes = 64 * 1024;
    options.chunk_bytes = 16 * 1024;
    spool = open_spool(&options);
    do { /* until a segment has just begun */
        put_from(spool, ++id, 1000);
        spool_figures(spool, &figures);
    } while (figures.segments < 3);
    drain(spool, 0, NULL, NULL);
    spool_free(spool);
    assert_true(directory_bytes() < 3 * 64 * 1024 + 64 * 1024);
    spool = open_spool(&options);
    assert_true(check_origins(spool, id) > 20);
    spool_free(spool);
}

int main(void) {
    const struct CMUnitTest fixed[] = {
        TEST(a_checkpoint_comes_after_what_it_rests_on),
        TEST(a_message_that_became_something_else_is_remembered),
        TEST(a_restart_gives_back_what_was_not_settled),
        TEST(outputs_are_known_by_name),
        TEST(a_message_of_several_records_is_counted_once),
        TEST(a_backlog_stands_on_disk_and_not_in_memory),
        TEST(the_limit_is_hard_and_the_oldest_go),
        TEST(with_the_oldest_in_flight_the_next_ones_go),
        TEST(drop_newest_and_block_turn_away),
        TEST(thinning_keeps_every_second_point_on_disk),
        TEST(thinning_keeps_every_second_point_in_memory),
        TEST(resolution_falls_with_age_on_disk),
        TEST(resolution_falls_with_age_in_memory),
        TEST(what_is_too_old_is_dropped_and_counted),
        TEST(live_data_goes_first_and_the_backlog_beside_it),
        TEST(a_batch_with_few_live_lines_is_filled_from_the_backlog),
        TEST(a_reader_can_leave_the_backlog_alone_for_a_while),
        TEST(large_live_records_do_not_starve_the_backlog),
        TEST(a_batch_of_live_and_backlog_holds_both_and_nothing_between),
        TEST(a_record_larger_than_a_segment_survives),
        TEST(interval_acknowledges_what_is_written),
        TEST(restarting_often_fills_no_disk),
        TEST(leaves_min_free_to_others),
        TEST(a_full_filesystem_loses_nothing),
        TEST(threads_lose_nothing),
        TEST(readers_get_what_is_safe),
        TEST(memory_that_is_short_holds_up_who_can_wait),
        TEST(a_disk_that_fails_holds_up_nobody),
        TEST(a_batch_ends_where_safety_ends),
        TEST(what_nobody_waits_for_is_read_at_once),
        TEST(readers_do_not_wait_for_a_disk_that_fails),
        TEST(readers_do_not_wait_for_ever_for_a_silent_disk),
        TEST(a_restart_knows_where_messages_came_from),
        TEST(a_full_segment_keeps_its_origins_for_a_while),
    };
    struct CMUnitTest tests[sizeof fixed / sizeof fixed[0] + sizeof refusals / sizeof refusals[0]];
    size_t count = sizeof fixed / sizeof fixed[0];

    memcpy(tests, fixed, sizeof fixed);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        tests[count++] = (struct CMUnitTest){ refusals[i].name, says_what_to_do, NULL, NULL, &refusals[i] };
    return _cmocka_run_group_tests("spool_disk", tests, count, NULL, NULL);
}
