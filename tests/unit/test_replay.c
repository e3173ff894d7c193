/*
 * tests/unit/test_replay.c: what is handed over reaches the spool, and only then is a letter no more; whatever breaks on the
 * way, it is in the ring, in the inbox or in the spool.
 */
#define _XOPEN_SOURCE 700 /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/delivery/inbox.h"
#include "agent/delivery/replay.h"

static const char *const both[] = { "influxdb", "archive" };
static const struct spool_flush at_once = { 5000, 1 << 20, 1, 0 };
static char directory[64], letters_directory[96], spool_directory[96];

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_replay.XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(letters_directory, sizeof letters_directory, "%s/letters", directory);
    snprintf(spool_directory, sizeof spool_directory, "%s/spool", directory);
    return mkdir(spool_directory, 0700);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int remove_directory(void **state) {
    (void)state;
    return nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* An agent's part of it. */
struct rig {
    struct dead_letters *letters;
    struct spool *spool;
    struct replay *replay;
};

static struct rig start(bool on_disk, unsigned outputs) {
    struct dead_letters_options letters_options = { letters_directory, 16 << 20 };
    struct spool_options spool_options = {
        .max_bytes = 4 << 20,
        .when_full = SPOOL_DROP_OLDEST,
        .outputs = outputs,
        .sync = on_disk ? SPOOL_COMMIT : SPOOL_MEMORY,
        .directory = spool_directory,
        .output_names = both,
    };
    struct replay_options options = { letters_directory, both, outputs, on_disk };
    struct err err = ERR_INIT;
    struct rig rig = { .letters = dead_letters_open(&letters_options, &err), .spool = spool_new(&spool_options, &err) };

    if (rig.letters == NULL || rig.spool == NULL)
        fail_msg("%s", err.text);
    rig.replay = replay_new(&options, rig.letters, rig.spool);
    assert_non_null(rig.replay);
    assert_true(replay_start(rig.replay, &err));
    return rig;
}

static void stop(struct rig *rig) {
    replay_free(rig->replay);
    spool_free(rig->spool);
    dead_letters_close(rig->letters);
}

static void put(struct rig *rig, unsigned number) {
    struct dead_letter_sink sink = dead_letters_sink(rig->letters);
    char line[32];

    snprintf(line, sizeof line, "m v=%u 1", number);
    const struct dead_letter letter = {
        .time_ns = 1,
        .stage = STR("delivery"),
        .input = STR_EMPTY,
        .output = STR("influxdb"),
        .topic = STR("plant/a"),
        .reason = STR("type_conflict"),
        .detail = STR("no"),
        .data = str_of(line),
    };
    sink.put(sink.ctx, &letter);
}

struct found {
    struct letter_ids ids;
    struct inbox_writer *writer; /* every letter is handed over at once */
    uint64_t set;
    bool purge;
};

static bool see(void *ctx, const struct dead_letter *letter) {
    struct found *found = ctx;
    char line[64];
    int len = snprintf(line, sizeof line, "%.*s\n", STR_ARGS(letter->data));
    const struct spool_record record = {
        .outputs = found->set,
        .lines = 1,
        .topic = letter->topic,
        .text = str_make(line, (size_t)len),
    };

    assert_true(letter_ids_add(&found->ids, letter->id));
    if (found->writer != NULL && found->purge)
        assert_true(inbox_add_purge(found->writer, letter->id, NULL));
    else if (found->writer != NULL)
        assert_true(inbox_add(found->writer, letter->id, &record, 1, both, NULL));
    return true;
}

static size_t in_ring(void) {
    struct dead_letters_found how;
    struct found found = { 0 };

    assert_true(dead_letters_read(letters_directory, see, &found, &how, NULL));
    letter_ids_release(&found.ids);
    return how.letters;
}

static size_t in_inbox(void) {
    struct inbox_names names = { 0 };
    size_t count;

    assert_true(inbox_list(letters_directory, &names, NULL));
    count = names.count;
    inbox_names_release(&names);
    return count;
}

static void hand_over(uint64_t set, bool purge) {
    struct dead_letters_found how;
    struct inbox_writer writer;
    struct found found = { .writer = &writer, .set = set, .purge = purge };
    struct err err = ERR_INIT;

    if (!inbox_open(&writer, letters_directory, &err))
        fail_msg("%s", err.text);
    assert_true(dead_letters_read(letters_directory, see, &found, &how, NULL));
    if (!inbox_finish(&writer, &err))
        fail_msg("%s", err.text);
    inbox_close(&writer);
    letter_ids_release(&found.ids);
}

static struct spool_figures figures_of(struct rig *rig) {
    struct spool_figures figures;

    spool_figures(rig->spool, &figures);
    for (unsigned i = 0; i < figures.outputs; i++) {
        uint64_t sum = figures.output[i].pending_messages;
        for (int fate = 0; fate < FATE_COUNT; fate++)
            sum += figures.output[i].messages[fate];
        assert_int_equal(sum, figures.received); /* at every look */
    }
    return figures;
}

#define wait_until(condition)                                                                                          \
    do {                                                                                                               \
        int64_t hopeless_ = clock_mono_ns() + 30 * NS_PER_S;                                                           \
        while (!(condition)) {                                                                                         \
            if (clock_mono_ns() > hopeless_)                                                                           \
                fail_msg("waited for %s", #condition);                                                                 \
            nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);                                                       \
        }                                                                                                              \
    } while (0)

/* Returns when every file that is in the inbox now was worked on, behind which another one was done: files go in order. */
static void wait_worked_on(void) {
    size_t before = in_inbox();
    struct inbox_writer writer;

    assert_true(inbox_open(&writer, letters_directory, NULL));
    assert_true(inbox_add_purge(&writer, 12345, NULL)); /* nobody's id */
    assert_true(inbox_finish(&writer, NULL));
    inbox_close(&writer);
    wait_until(in_inbox() == before);
}

/* Takes and stores what is there for an output; how many lines. */
static size_t store(struct rig *rig, unsigned output) {
    struct spool_settlement how = { 0 };
    struct spool_batch batch;
    size_t lines = 0;

    spool_batch_init(&batch);
    if (figures_of(rig).output[output].pending_messages > 0 && spool_take(rig->spool, output, &at_once, &batch)) {
        how.messages[FATE_STORED] = batch.record_count;
        how.lines[FATE_STORED] = lines = batch.line_count;
        spool_settle(rig->spool, output, &batch, &how);
    }
    spool_batch_release(&batch);
    return lines;
}

static void a_letter_goes_once_it_is_durable(void **state) {
    struct rig rig = start(true, 2);
    struct spool_figures figures;

    (void)state;
    for (unsigned i = 0; i < 3000; i++)
        put(&rig, i);
    wait_until(in_ring() == 3000);
    hand_over(1, false);
    wait_until(in_ring() == 0 && in_inbox() == 0);
    figures = figures_of(&rig);
    assert_int_equal(figures.received, 3000);
    assert_int_equal(figures.output[0].pending_messages, 3000);
    assert_int_equal(figures.output[1].messages[FATE_FILTERED], 3000);
    assert_true(figures.durable_sequence >= 3000);
    stop(&rig);
    rig = start(true, 2); /* and they are there after a restart, none twice */
    assert_int_equal(figures_of(&rig).received, 3000);
    stop(&rig);
}

static void in_memory_a_letter_goes_once_every_output_has_done_with_it(void **state) {
    struct rig rig = start(false, 2);

    (void)state;
    put(&rig, 1);
    wait_until(in_ring() == 1);
    hand_over(3, false);
    wait_until(figures_of(&rig).received == 1);
    assert_int_equal(store(&rig, 0), 1);
    assert_int_equal(in_ring(), 1); /* the other output may never get it */
    replay_stop(rig.replay);
    assert_true(in_ring() == 1 && in_inbox() == 1);
    stop(&rig);

    rig = start(false, 2);
    wait_until(figures_of(&rig).received == 1); /* once more: nobody knows whether it came */
    assert_int_equal(store(&rig, 0), 1);
    assert_int_equal(store(&rig, 1), 1);
    wait_until(in_ring() == 0 && in_inbox() == 0);
    stop(&rig);
}

static void what_was_handed_over_while_no_agent_ran_is_taken_at_the_start(void **state) {
    struct rig rig = start(true, 1);

    (void)state;
    put(&rig, 1);
    wait_until(in_ring() == 1);
    stop(&rig);
    hand_over(1, false);
    rig = start(true, 1);
    wait_until(in_ring() == 0 && in_inbox() == 0);
    assert_int_equal(figures_of(&rig).received, 1);
    stop(&rig);
}

/* The states that a crash can leave behind: letters gone and the file not, or some of the letters. */
static void a_crash_between_the_letters_and_the_file_costs_a_repetition(void **state) {
    struct rig rig = start(true, 1);
    struct letter_ids ids = { 0 };

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        put(&rig, i);
    wait_until(in_ring() == 10);
    replay_stop(rig.replay);
    hand_over(1, false);
    assert_true(inbox_ids(letters_directory, &ids, NULL));
    ids.count = 6;
    assert_true(dead_letters_remove(rig.letters, &ids, NULL, NULL));
    letter_ids_release(&ids);
    stop(&rig);
    rig = start(true, 1);
    wait_until(in_inbox() == 0);
    assert_int_equal(in_ring(), 0);
    assert_int_equal(figures_of(&rig).received, 10);
    stop(&rig);
}

/* The ring has dropped the letters meanwhile: what was handed over is not lost with them. */
static void the_file_is_enough(void **state) {
    struct rig rig = start(true, 1);
    char path[160];

    (void)state;
    put(&rig, 1);
    wait_until(in_ring() == 1);
    stop(&rig);
    hand_over(1, false);
    snprintf(path, sizeof path, "%s/dead-letters-00000001.jsonl", letters_directory);
    assert_int_equal(unlink(path), 0);
    rig = start(true, 1);
    wait_until(in_inbox() == 0);
    assert_int_equal(figures_of(&rig).received, 1);
    stop(&rig);
}

static void a_file_for_an_unknown_output_waits_for_an_agent_that_has_it(void **state) {
    struct rig rig = start(true, 1);

    (void)state;
    put(&rig, 1);
    wait_until(in_ring() == 1);
    hand_over(3, false);
    hand_over(1, true); /* nobody waits behind it */
    wait_until(in_inbox() == 1 && in_ring() == 0);
    assert_int_equal(figures_of(&rig).received, 0);
    stop(&rig);
    rig = start(true, 2);
    wait_until(in_inbox() == 0);
    assert_int_equal(figures_of(&rig).output[1].pending_messages, 1);
    stop(&rig);
}

static void tear(size_t keep) {
    struct inbox_names names = { 0 };
    char path[256];

    assert_true(inbox_list(letters_directory, &names, NULL));
    assert_int_equal(names.count, 1);
    snprintf(path, sizeof path, "%s/inbox/%s", letters_directory, names.items[0]);
    assert_int_equal(truncate(path, (off_t)keep), 0);
    inbox_names_release(&names);
}

static void a_torn_file_is_set_aside_and_its_letters_stay(void **state) {
    struct rig rig = start(true, 1);

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        put(&rig, i);
    wait_until(in_ring() == 5);
    stop(&rig);
    hand_over(1, false);
    tear(300);
    rig = start(true, 1);
    wait_until(in_inbox() == 0);
    assert_int_equal(in_ring(), 5);
    assert_int_equal(figures_of(&rig).received, 0);
    hand_over(1, false);
    wait_until(in_ring() == 0 && in_inbox() == 0);
    assert_int_equal(figures_of(&rig).received, 5);
    stop(&rig);
}

static bool fill(struct rig *rig) {
    static char line[8192];
    struct spool_record record = { .outputs = 1, .lines = 1, .topic = STR("t"), .text = { line, sizeof line } };
    uint64_t sequence;

    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    return spool_offer(rig->spool, &record, 1, &sequence);
}

static void without_room_to_spare_everything_waits_and_nothing_is_counted(void **state) {
    struct rig rig = start(false, 1);
    uint64_t before;

    (void)state;
    put(&rig, 1);
    wait_until(in_ring() == 1);
    while (fill(&rig))
        continue;
    before = figures_of(&rig).received;
    hand_over(1, false);
    wait_worked_on();
    replay_free(rig.replay);
    assert_true(in_ring() == 1 && in_inbox() == 1);
    assert_int_equal(figures_of(&rig).received, before);
    while (store(&rig, 0) > 0)
        continue;
    struct replay_options options = { letters_directory, both, 1, false };
    rig.replay = replay_new(&options, rig.letters, rig.spool);
    assert_true(replay_start(rig.replay, NULL));
    wait_until(figures_of(&rig).received == before + 1);
    while (store(&rig, 0) > 0)
        continue;
    wait_until(in_ring() == 0 && in_inbox() == 0);
    stop(&rig);
}

static void purged_letters_are_gone_and_leave_no_trace_in_the_ledger(void **state) {
    struct rig rig = start(true, 1);

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        put(&rig, i);
    wait_until(in_ring() == 100);
    hand_over(0, true);
    put(&rig, 100);
    wait_until(in_inbox() == 0);
    wait_until(in_ring() == 1);
    assert_int_equal(figures_of(&rig).received, 0);
    stop(&rig);
}

/* No room for the ring's new file: what was sent stays in the inbox, and goes from the ring when there is room again. */
static void a_full_disk_delays_the_end_and_loses_nothing(void **state) {
    struct rlimit before, low = { 4096, 4096 };
    struct rig rig = start(false, 1);

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    for (unsigned i = 0; i < 100; i++)
        put(&rig, i);
    wait_until(in_ring() == 100);
    hand_over(1, false);
    put(&rig, 100); /* stays, so the file has to be written anew */
    for (unsigned i = 101; i < 140; i++)
        put(&rig, i);
    wait_until(in_ring() == 140);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    for (size_t stored = 0; stored < 100;) /* nothing can be taken out before it is stored */
        stored += store(&rig, 0);
    wait_worked_on();
    replay_stop(rig.replay);
    assert_true(in_ring() == 140 && in_inbox() == 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    stop(&rig);
    rig = start(true, 1);
    wait_until(in_ring() == 40 && in_inbox() == 0);
    stop(&rig);
}

#define in_place(function) cmocka_unit_test_setup_teardown(function, make_directory, remove_directory)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_place(a_letter_goes_once_it_is_durable),
        in_place(in_memory_a_letter_goes_once_every_output_has_done_with_it),
        in_place(what_was_handed_over_while_no_agent_ran_is_taken_at_the_start),
        in_place(a_crash_between_the_letters_and_the_file_costs_a_repetition),
        in_place(the_file_is_enough),
        in_place(a_file_for_an_unknown_output_waits_for_an_agent_that_has_it),
        in_place(a_torn_file_is_set_aside_and_its_letters_stay),
        in_place(without_room_to_spare_everything_waits_and_nothing_is_counted),
        in_place(purged_letters_are_gone_and_leave_no_trace_in_the_ledger),
        in_place(a_full_disk_delays_the_end_and_loses_nothing),
    };

    log_set(getenv("TEST_LOG") != NULL ? LOG_DEBUG : (enum log_level) - 1, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
