/*
 * tests/unit/test_spool_model.c: the spool on a disk that loses power before each of its operations, with any subset of the
 * unsynced blocks kept, lost, zeroed or torn. Whatever comes back must hold every message that was reported durable and not settled, in
 * order, to the byte, and nothing else. HELIOGRAF_CRASHES sets the number of crash states.
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

enum { OUTPUTS = 2, MESSAGES_MAX = 400, PER_CALL = 3 };

static const struct spool_flush at_once = { 5000, 1 << 20, 1, 0 };

/* What is true about a run, whoever looks. Settled and appended are noted before the call, durable in the spool's own callback. */
struct model {
    pthread_mutex_t lock;
    uint64_t random, crash_random;
    struct {
        uint64_t outputs, sequence;
        bool durable;
        bool settled[OUTPUTS];
        uint32_t size;
    } messages[MESSAGES_MAX];
    unsigned count, acknowledged;
    uint64_t durable;
    struct fake_disk *disk;
    struct spool *spool;
    struct spool_options options;
    uint64_t crashes;
    struct spool_batch held[OUTPUTS]; /* taken and not settled yet, when it has records: in flight, for some steps */
};

static const char *const names[] = { "influxdb", "archive" };

static void options_for(struct model *model, enum spool_sync sync) {
    model->options = (struct spool_options){
        .max_bytes = 8 << 20,
        .outputs = OUTPUTS,
        .sync = sync,
        .directory = "/fake",
        .output_names = names,
        .segment_bytes = 32 << 10,
        .chunk_bytes = 8 << 10,
        .memory_bytes = 64 << 10,
        .interval_ns = NS_PER_MS,
        .retry_ns = NS_PER_MS,
    };
}

/* The text of message `id`: reproducible, so that a byte out of place shows. */
static size_t make_text(char *text, unsigned id, uint32_t size) {
    size_t len = (size_t)sprintf(text, "m,id=%u v=\"", id);

    while (len < size) {
        text[len] = (char)('a' + (id * 7 + len) % 26);
        len++;
    }
    return len + (size_t)sprintf(text + len, "\" %u\n", id);
}

static void fail_loudly(const struct model *model, const char *what, unsigned output, unsigned id) {
    fprintf(stderr, "after %llu crashes: %s: output %u, message %u of %u\n", (unsigned long long)model->crashes, what, output,
            id, model->count);
    abort();
}

static unsigned id_of(struct str line) {
    unsigned id = 0;

    if (sscanf(line.data, "m,id=%u v=", &id) != 1)
        abort();
    return id;
}

static void settle(struct spool *spool, unsigned output, struct spool_batch *batch) {
    struct spool_settlement how = { .messages = { 0 } };

    how.messages[FATE_STORED] = batch->record_count;
    how.lines[FATE_STORED] = batch->line_count;
    spool_settle(spool, output, batch, &how);
}

/* Everything an output gets from a spool, each message checked to the byte; seen[] says which. */
static void read_output(const struct model *model, struct spool *spool, unsigned output, bool *seen) {
    struct spool_figures figures;
    struct spool_batch batch;
    char text[8192];
    int64_t last = -1;

    spool_batch_init(&batch);
    for (;;) {
        spool_figures(spool, &figures);
        if (figures.output[output].pending_messages == 0 || !spool_take(spool, output, &at_once, &batch))
            break;
        for (size_t i = 0; i < batch.line_count; i++) {
            size_t from = i > 0 ? batch.line_ends[i - 1] : 0;
            struct str line = str_make(batch.lines.data + from, batch.line_ends[i] - from);
            unsigned id = id_of(line);
            if (id >= model->count || !(model->messages[id].outputs >> output & 1))
                fail_loudly(model, "invented", output, id);
            if ((int64_t)id <= last)
                fail_loudly(model, "out of order, or twice", output, id);
            if (!str_eq(line, str_make(text, make_text(text, id, model->messages[id].size))))
                fail_loudly(model, "changed", output, id);
            last = id;
            seen[id] = true;
        }
        settle(spool, output, &batch);
    }
    spool_batch_release(&batch);
}

static void check_identity(const struct model *model, struct spool *spool) {
    struct spool_figures figures;

    spool_figures(spool, &figures);
    for (unsigned i = 0; i < figures.outputs; i++) {
        uint64_t sum = figures.output[i].pending_messages;
        for (int fate = 0; fate < FATE_COUNT; fate++)
            sum += figures.output[i].messages[fate];
        if (sum != figures.received)
            fail_loudly(model, "the ledger does not add up", i, 0);
        if (figures.output[i].messages[FATE_DAMAGED] != 0)
            fail_loudly(model, "damage where there is none", i, 0);
    }
}

/* `crashed` must hold what this moment's model says. */
static void check_recovery(struct model *model, struct fake_disk *crashed) {
    struct spool_options options = model->options;
    struct spool_recovery recovery;
    struct err err = ERR_INIT;
    struct spool *spool;

    options.file_ops = &crashed->ops;
    options.order = SPOOL_OLDEST_FIRST;
    spool = spool_new(&options, &err);
    if (spool == NULL) {
        fprintf(stderr, "%s\n", err.text);
        fail_loudly(model, "refused to start", 0, 0);
    }
    spool_recovered(spool, &recovery);
    if (recovery.lost_records != 0)
        fail_loudly(model, "a hole was found", 0, (unsigned)recovery.lost_records);
    for (unsigned output = 0; output < OUTPUTS; output++) {
        bool seen[MESSAGES_MAX] = { false };
        read_output(model, spool, output, seen);
        for (unsigned id = 0; id < model->count; id++)
            if (model->messages[id].durable && (model->messages[id].outputs >> output & 1) &&
                !model->messages[id].settled[output] && !seen[id])
                fail_loudly(model, "lost", output, id);
    }
    check_identity(model, spool);
    spool_free(spool);
}

static void crash(struct fake_disk *disk, void *ctx) {
    struct model *model = ctx;

    for (int i = 0; i < PER_CALL; i++) {
        pthread_mutex_lock(&model->lock);
        struct fake_disk *crashed =
            model->options.sync == SPOOL_COMMIT ? fake_disk_crash(disk, &model->crash_random) : fake_disk_kill(disk);
        check_recovery(model, crashed);
        model->crashes++;
        pthread_mutex_unlock(&model->lock);
        fake_disk_free(crashed);
    }
}

static void note_durable(void *ctx, uint64_t sequence) {
    struct model *model = ctx;

    pthread_mutex_lock(&model->lock);
    for (unsigned id = 0; id < model->count; id++)
        if (model->messages[id].sequence != 0 && model->messages[id].sequence <= sequence)
            model->messages[id].durable = true;
    model->durable = sequence;
    pthread_mutex_unlock(&model->lock);
}

static void open_spool(struct model *model) {
    struct err err = ERR_INIT;

    model->options.file_ops = &model->disk->ops;
    model->spool = spool_new(&model->options, &err);
    assert_non_null(model->spool);
    spool_on_durable(model->spool, note_durable, model);
}

static void wait_durable(struct model *model, uint64_t sequence) {
    for (int i = 0; i < 20000 && spool_durable(model->spool) < sequence; i++)
        nanosleep(&(struct timespec){ 0, 50000 }, NULL);
    assert_true(spool_durable(model->spool) >= sequence);
}

static void append(struct model *model) {
    bool acknowledged = fake_random(&model->random) % 4 != 0, small = fake_random(&model->random) % 3 != 0;
    uint64_t outputs = 1 + fake_random(&model->random) % 3, sequence = 0;
    char text[8192];
    unsigned id = model->count;

    if (id == MESSAGES_MAX)
        return;
    pthread_mutex_lock(&model->lock);
    model->messages[id].outputs = outputs;
    model->messages[id].size = (uint32_t)(30 + fake_random(&model->random) % (small ? 300 : 6000));
    model->count++;
    pthread_mutex_unlock(&model->lock);
    struct spool_record record = { .outputs = outputs, .lines = 1, .topic = STR("plant/a"), .text = str_make(text, make_text(text, id, model->messages[id].size)) };
    assert_int_equal(spool_append(model->spool, &record, 1, acknowledged, &sequence), SPOOL_APPENDED);
    pthread_mutex_lock(&model->lock);
    model->messages[id].sequence = sequence;
    if (model->durable >= sequence)
        model->messages[id].durable = true;
    pthread_mutex_unlock(&model->lock);
    if (acknowledged && fake_random(&model->random) % 2 == 0)
        wait_durable(model, sequence);
}

static void settle_held(struct model *model, unsigned output) {
    struct spool_batch *batch = &model->held[output];

    if (batch->record_count == 0)
        return;
    pthread_mutex_lock(&model->lock);
    for (size_t i = 0; i < batch->line_count; i++)
        model->messages[id_of(str_make(batch->lines.data + (i > 0 ? batch->line_ends[i - 1] : 0), 64))].settled[output] = true;
    pthread_mutex_unlock(&model->lock);
    settle(model->spool, output, batch);
    batch->record_count = 0;
}

static void take_and_settle(struct model *model, unsigned output) {
    struct spool_flush flush = { (uint32_t)(1 + fake_random(&model->random) % 12), 1 << 20, 1, 0 };
    bool hold = fake_random(&model->random) % 2 == 0;
    struct spool_figures figures;
    struct spool_batch batch;

    spool_figures(model->spool, &figures);
    if (figures.output[output].pending_messages == model->held[output].record_count)
        return;
    spool_batch_init(&batch);
    assert_true(spool_take(model->spool, output, &flush, &batch));
    settle_held(model, output);
    spool_batch_release(&model->held[output]);
    model->held[output] = batch;
    if (!hold)
        settle_held(model, output);
}

static void restart(struct model *model) {
    for (unsigned output = 0; output < OUTPUTS; output++)
        settle_held(model, output);
    spool_free(model->spool);
    /* A clean end leaves everything on disk, acknowledged or not. */
    pthread_mutex_lock(&model->lock);
    for (unsigned id = 0; id < model->count; id++)
        model->messages[id].durable = true;
    pthread_mutex_unlock(&model->lock);
    open_spool(model);
    pthread_mutex_lock(&model->lock);
    model->durable = 0;
    pthread_mutex_unlock(&model->lock);
}

static void step(struct model *model) {
    switch (fake_random(&model->random) % 10) {
    case 0:
    case 1:
        take_and_settle(model, 0);
        break;
    case 2:
        take_and_settle(model, 1);
        break;
    case 3:
        if (fake_random(&model->random) % 6 == 0)
            restart(model);
        break;
    default:
        append(model);
    }
}

static uint64_t run(uint64_t seed, enum spool_sync sync) {
    static struct model model;

    memset(&model, 0, sizeof model);
    pthread_mutex_init(&model.lock, NULL);
    model.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    model.crash_random = model.random ^ 0x5555;
    model.disk = fake_disk_new();
    model.disk->before = crash;
    model.disk->ctx = &model;
    options_for(&model, sync);
    model.options.order = seed % 2 == 0 ? SPOOL_LIVE_FIRST : SPOOL_OLDEST_FIRST;
    for (unsigned output = 0; output < OUTPUTS; output++)
        spool_batch_init(&model.held[output]);
    open_spool(&model);
    for (int i = 0; i < 120; i++)
        step(&model);
    for (unsigned output = 0; output < OUTPUTS; output++) {
        settle_held(&model, output);
        spool_batch_release(&model.held[output]);
    }
    spool_free(model.spool);
    crash(model.disk, &model);
    fake_disk_free(model.disk);
    pthread_mutex_destroy(&model.lock);
    return model.crashes;
}

static uint64_t crashes_wanted(uint64_t ordinary) {
    const char *set = getenv("HELIOGRAF_CRASHES");
    return set != NULL ? strtoull(set, NULL, 10) : ordinary;
}

static void run_many(enum spool_sync sync, uint64_t wanted) {
    uint64_t crashes = 0, seed = 1;

    while (crashes < wanted)
        crashes += run(seed++, sync);
    print_message("%llu crash states in %llu runs\n", (unsigned long long)crashes, (unsigned long long)seed - 1);
}

static void a_power_cut_loses_nothing_that_was_durable(void **state) {
    (void)state;
    run_many(SPOOL_COMMIT, crashes_wanted(100000));
}

static void a_kill_loses_nothing_that_was_durable_with_interval(void **state) {
    (void)state;
    run_many(SPOOL_INTERVAL, crashes_wanted(100000) / 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_loses_nothing_that_was_durable),
        cmocka_unit_test(a_kill_loses_nothing_that_was_durable_with_interval),
    };

    /* A hundred thousand disks come and go: their memory need not go back to the system in between. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
