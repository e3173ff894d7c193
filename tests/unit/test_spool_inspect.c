/*
 * tests/unit/test_spool_inspect.c: what the commands see of a spool's directory: the same as a start, and without a trace; beside an
 * agent that writes, without holes; and what is dropped is gone, and nothing else.
 */
#define _XOPEN_SOURCE 700 /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fs.h"
#include "agent/spool/inspect.h"

static const struct spool_flush at_once = { 5000, 1 << 20, 1, 0 };
static const struct inspect_options quiet = { NULL, NULL };
static const char *const two_names[] = { "influxdb", "an archive whose name is longer than the forty-eight bytes of a header" };
static char directory[64];

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_spool_inspect.XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
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

static struct spool *open_spool(unsigned outputs, uint64_t max_bytes) {
    struct spool_options options = {
        .max_bytes = max_bytes,
        .outputs = outputs,
        .sync = SPOOL_COMMIT,
        .directory = directory,
        .output_names = two_names,
        .segment_bytes = 64 << 10,
        .chunk_bytes = 16 << 10,
        .when_full = SPOOL_BLOCK,
    };
    struct err err = ERR_INIT;
    struct spool *spool = spool_new(&options, &err);

    if (spool == NULL)
        fail_msg("%s", err.text);
    return spool;
}

/* What is not to be acknowledged is written with what comes next: so a group becomes one frame. */
static uint64_t put(struct spool *spool, uint64_t outputs, unsigned id, bool acknowledged) {
    char text[400];
    uint64_t sequence = 0;
    int len = snprintf(text, sizeof text, "m id=%ui,v=\"%0200u\" 1\n", id, id);
    struct spool_record record = { .outputs = outputs, .lines = 1, .topic = STR("plant/a"), .text = str_make(text, (size_t)len) };

    while (spool_append(spool, &record, 1, acknowledged, &sequence) != SPOOL_APPENDED)
        nanosleep(&(struct timespec){ 0, 100000 }, NULL);
    return sequence;
}

static void wait_durable(struct spool *spool, uint64_t sequence) {
    int64_t hopeless = clock_mono_ns() + 30 * NS_PER_S;

    while (spool_durable(spool) < sequence) {
        assert_true(clock_mono_ns() < hopeless);
        nanosleep(&(struct timespec){ 0, 100000 }, NULL);
    }
}

static void put_many(struct spool *spool, uint64_t outputs, unsigned from, unsigned to) {
    uint64_t sequence = 0;

    for (unsigned id = from; id < to; id++)
        sequence = put(spool, outputs, id, id + 1 == to);
    wait_durable(spool, sequence);
}

/* Stores at least so many messages of the output; returns how many it were. */
static uint64_t store(struct spool *spool, unsigned output, uint64_t wanted) {
    struct spool_batch batch;
    uint64_t stored = 0;

    spool_batch_init(&batch);
    while (stored < wanted) {
        struct spool_flush flush = at_once;
        struct spool_settlement how = { .messages = { 0 } };
        flush.max_lines = (uint32_t)(wanted - stored < 100 ? wanted - stored : 100);
        assert_true(spool_take(spool, output, &flush, &batch));
        stored += how.messages[FATE_STORED] = batch.record_count;
        how.lines[FATE_STORED] = batch.line_count;
        spool_settle(spool, output, &batch, &how);
    }
    spool_batch_release(&batch);
    return stored;
}

static struct inspection inspect(void) {
    struct inspection inspection;
    struct err err = ERR_INIT;

    if (!spool_inspect(directory, &quiet, &inspection, &err))
        fail_msg("%s", err.text);
    return inspection;
}

/* Names, sizes, bytes and times of all that is there. */
static uint64_t fingerprint(void) {
    DIR *stream = opendir(directory);
    uint64_t sum = 0;

    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        struct buf bytes = BUF_INIT(64 << 20);
        struct stat info;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &info) != 0)
            continue;
        assert_true(fs_read_file(path, &bytes, NULL));
        sum += str_hash(buf_str(&bytes)) ^ str_hash(str_of(entry->d_name)) ^ (uint64_t)info.st_mtim.tv_nsec ^ (uint64_t)info.st_size;
        buf_release(&bytes);
    }
    closedir(stream);
    return sum;
}

static void what_waits_is_told_without_a_trace(void **state) {
    struct spool *spool = open_spool(2, 8 << 20);
    struct inspection inspection;
    uint64_t records = 0;

    (void)state;
    put_many(spool, 3, 0, 500);
    put_many(spool, 1, 500, 600);
    assert_int_equal(store(spool, 1, 500), 500);
    assert_int_equal(store(spool, 0, 120), 120);
    spool_free(spool);
    uint64_t before = fingerprint();
    inspection = inspect();
    assert_true(fingerprint() == before);
    assert_false(inspection.in_use);
    assert_false(inspection_is_damaged(&inspection));
    assert_int_equal(inspection.output_count, 2);
    assert_string_equal(inspection.outputs[0].name, "influxdb");
    assert_int_equal(strlen(inspection.outputs[1].name), OUTPUT_NAME_MAX);
    assert_int_equal(inspection.outputs[0].messages, 480);
    assert_int_equal(inspection.outputs[0].lines, 480);
    assert_true(inspection.outputs[0].bytes > 480 * 200 && inspection.outputs[0].oldest_ns > 0);
    assert_int_equal(inspection.outputs[1].messages, 0);
    assert_int_equal(inspection.outputs[1].oldest_ns, 0);
    assert_true(inspection.segment_count > 1);
    for (size_t i = 0; i < inspection.segment_count; i++) {
        const struct inspect_segment *segment = &inspection.segments[i];
        records += segment->records;
        assert_int_equal(segment->version, FORMAT_VERSION);
        assert_true(i == 0 || segment->number > segment[-1].number);
        assert_true(i == 0 || segment->records == 0 || segment->first_sequence == segment[-1].last_sequence + 1);
        assert_true(segment->newest_ns >= segment->oldest_ns);
    }
    assert_int_equal(inspection.segments[0].pending_outputs, 1);
    assert_int_equal(records, inspection.records);
    assert_int_equal(inspection.segments[inspection.segment_count - 1].last_sequence, 600);
    inspection_release(&inspection);
}

static void a_running_agent_is_noticed_and_not_disturbed(void **state) {
    struct spool *spool = open_spool(1, 8 << 20);
    struct inspection inspection;

    (void)state;
    put_many(spool, 1, 0, 50);
    inspection = inspect();
    assert_true(inspection.in_use);
    assert_int_equal(inspection.outputs[0].messages, 50);
    inspection_release(&inspection);
    put_many(spool, 1, 50, 60);
    assert_int_equal(store(spool, 0, 60), 60);
    spool_free(spool);
    inspection = inspect();
    assert_false(inspection.in_use);
    assert_int_equal(inspection.outputs[0].messages, 0);
    inspection_release(&inspection);
}

static void an_empty_or_missing_directory_is_told(void **state) {
    struct inspection inspection = inspect();
    struct err err = ERR_INIT;

    (void)state;
    assert_true(inspection.segment_count == 0 && inspection.output_count == 0 && !inspection_is_damaged(&inspection));
    inspection_release(&inspection);
    assert_false(spool_inspect("/nonexistent/spool", &quiet, &inspection, &err));
    assert_non_null(strstr(err.text, "/nonexistent/spool"));
    inspection_release(&inspection);
}

static size_t segment_path(char *path, size_t size, uint64_t number) {
    struct stat info;

    snprintf(path, size, "%s/%020llu.seg", directory, (unsigned long long)number);
    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

static void flip(const char *path, size_t at) {
    int file = open(path, O_RDWR);
    char byte;

    assert_int_equal(pread(file, &byte, 1, (off_t)at), 1);
    byte = (char)(byte ^ 0x10);
    assert_int_equal(pwrite(file, &byte, 1, (off_t)at), 1);
    close(file);
}

static uint64_t damaged_bytes(const struct inspection *inspection) {
    uint64_t bytes = 0;

    for (size_t i = 0; i < inspection->damaged_count; i++)
        bytes += inspection->damaged[i].to - inspection->damaged[i].from;
    return bytes;
}

/* The look comes first, as a start leaves its traces. */
static void assert_as_a_start_sees_it(void) {
    struct inspection inspection = inspect();
    struct spool *spool = open_spool(1, 8 << 20);
    struct spool_recovery recovery;
    struct spool_figures figures;

    spool_recovered(spool, &recovery);
    spool_figures(spool, &figures);
    assert_int_equal(damaged_bytes(&inspection), recovery.damaged_bytes);
    assert_int_equal(inspection.lost_records, recovery.lost_records);
    assert_int_equal(inspection.torn_bytes, recovery.torn_bytes);
    assert_int_equal(inspection.without_checkpoint, recovery.without_checkpoint);
    assert_int_equal(inspection.output_count > 0 ? inspection.outputs[0].messages : 0, figures.output[0].pending_messages);
    assert_int_equal(inspection.output_count > 0 ? inspection.outputs[0].bytes : 0, figures.output[0].pending_bytes);
    spool_free(spool);
    inspection_release(&inspection);
}

static void make_small_spool(void) {
    struct spool *spool = open_spool(1, 8 << 20);

    for (unsigned id = 0; id < 600; id += 30)
        put_many(spool, 1, id, id + 30);
    assert_int_equal(store(spool, 0, 200), 200);
    spool_free(spool);
}

static void damage_is_judged_as_a_start_judges_it(void **state) {
    const struct {
        uint64_t number;
        size_t at;
    } places[] = { { 1, 100 },     { 1, 4096 + 20 }, { 1, 8192 },      { 1, 8192 + 700 }, { 1, 20000 }, { 1, 30000 },
                   { 2, 8192 + 8 }, { 2, 33000 },     { 2, 12288 + 70 }, { 3, 9000 },      { 3, 15000 } };
    unsigned damaged = 0;

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char path[512];
        make_small_spool();
        if (places[i].at < segment_path(path, sizeof path, places[i].number))
            flip(path, places[i].at);
        struct inspection inspection = inspect();
        damaged += inspection_is_damaged(&inspection);
        inspection_release(&inspection);
        assert_as_a_start_sees_it();
        remove_directory(NULL);
        make_directory(NULL);
    }
    assert_true(damaged >= 4);
    for (size_t cut = 0; cut < 60000; cut += 5000) {
        char path[512];
        make_small_spool();
        segment_path(path, sizeof path, 2);
        assert_int_equal(truncate(path, (off_t)cut), 0);
        assert_as_a_start_sees_it();
        remove_directory(NULL);
        make_directory(NULL);
    }
}

static void foreign_and_unreadable_segments_are_told(void **state) {
    struct inspection inspection;
    char from[512], to[512];

    (void)state;
    make_small_spool(); /* another spool's segment among ours */
    segment_path(from, sizeof from, 2);
    snprintf(to, sizeof to, "/tmp/test_spool_inspect.%ld.seg", (long)getpid());
    assert_int_equal(rename(from, to), 0);
    remove_directory(NULL);
    make_directory(NULL);
    make_small_spool();
    segment_path(from, sizeof from, 77);
    assert_int_equal(rename(to, from), 0);
    segment_path(from, sizeof from, 78);
    FILE *file = fopen(from, "w");
    for (int i = 0; i < 20000; i++)
        fputc('x', file);
    fclose(file);
    inspection = inspect();
    const struct inspect_segment *last = &inspection.segments[inspection.segment_count - 1];
    assert_int_equal(last[-1].number, 77);
    assert_int_equal(last[-1].state, INSPECT_FOREIGN);
    assert_int_equal(last[0].state, INSPECT_UNREADABLE);
    assert_int_equal(inspection.damaged[inspection.damaged_count - 1].number, 78);
    assert_int_equal(inspection.outputs[0].messages, 400);
    inspection_release(&inspection);
}

/* Export. */

struct lines {
    unsigned first, last, count, stop_after;
    bool holes, disorder;
};

enum { SEEN_MAX = 1 << 20 };
static bool seen[SEEN_MAX];

static bool take_lines(void *ctx, struct str text) {
    struct lines *lines = ctx;

    assert_true(text.len > 0 && text.data[text.len - 1] == '\n');
    while (text.len > 0) {
        unsigned id;
        assert_int_equal(sscanf(text.data, "m id=%ui,", &id), 1);
        if (lines->count == 0)
            lines->first = id;
        else if (id <= lines->last)
            lines->disorder = true;
        else if (id != lines->last + 1)
            lines->holes = true;
        lines->last = id;
        lines->count++;
        if (id < SEEN_MAX)
            seen[id] = true;
        const char *end = memchr(text.data, '\n', text.len);
        text = str_make(end + 1, text.len - (size_t)(end + 1 - text.data));
    }
    return lines->stop_after == 0 || lines->count < lines->stop_after;
}

static struct lines export(struct export_options options) {
    struct lines lines = { .stop_after = options.ctx != NULL ? *(unsigned *)options.ctx : 0 };
    struct exported exported;
    struct err err = ERR_INIT;

    options.write = take_lines;
    options.ctx = &lines;
    if (!spool_export(directory, &options, &exported, &err))
        fail_msg("%s", err.text);
    if (lines.stop_after == 0)
        assert_true(exported.lines == lines.count && exported.records == lines.count);
    assert_false(lines.disorder);
    return lines;
}

static void lines_come_out_as_they_are_wanted(void **state) {
    struct spool *spool = open_spool(2, 8 << 20);
    struct exported exported;
    struct err err = ERR_INIT;
    struct lines lines;
    unsigned few = 10;

    (void)state;
    put_many(spool, 3, 0, 300);
    put_many(spool, 1, 300, 400);
    assert_int_equal(store(spool, 0, 50), 50);
    assert_int_equal(store(spool, 1, 200), 200);
    spool_free(spool);
    uint64_t before = fingerprint();
    lines = export((struct export_options){ .output = NULL });
    assert_true(lines.last == 399 && !lines.holes && lines.first < 50);
    lines = export((struct export_options){ .pending_only = true });
    assert_true(lines.first == 50 && lines.last == 399 && !lines.holes);
    lines = export((struct export_options){ .pending_only = true, .output = two_names[1] });
    assert_true(lines.first == 200 && lines.last == 299 && !lines.holes);
    lines = export((struct export_options){ .output = two_names[1] });
    assert_true(lines.last == 299 && lines.first < 50);
    lines = export((struct export_options){ .ctx = &few });
    assert_in_range(lines.count, 10, 2000); /* a buffer more, not all that follows */
    assert_true(fingerprint() == before);
    assert_false(spool_export(directory, &(struct export_options){ .output = "nobody", .write = take_lines, .ctx = &lines }, &exported, &err));
    assert_non_null(strstr(err.text, "influxdb"));
}

static _Atomic int64_t now_ns;

static int64_t test_clock(void) {
    return now_ns;
}

static void lines_are_chosen_by_arrival(void **state) {
    const int64_t start = 1795383000 * NS_PER_S;
    struct spool *spool;
    struct lines lines;

    (void)state;
    now_ns = start;
    clock_override(test_clock, test_clock);
    spool = open_spool(1, 8 << 20);
    for (unsigned id = 0; id < 10; id++) {
        now_ns = start + id * 60 * NS_PER_S;
        put(spool, 1, id, true);
    }
    spool_free(spool);
    clock_override(NULL, NULL);
    lines = export((struct export_options){ .since_ns = start + 120 * NS_PER_S, .until_ns = start + 300 * NS_PER_S });
    assert_true(lines.first == 2 && lines.last == 4 && lines.count == 3);
    lines = export((struct export_options){ .since_ns = start + 530 * NS_PER_S });
    assert_true(lines.first == 9 && lines.count == 1);
    lines = export((struct export_options){ .until_ns = start });
    assert_int_equal(lines.count, 0);
}

/* Beside an agent. */

struct writer {
    struct spool *spool;
    atomic_bool stop;
    atomic_uint next;    /* everything below is durable */
    atomic_uint storing; /* nothing from here on is stored yet */
    atomic_uint allowed; /* so far it may write: the directory shall not grow faster than it is read */
    pthread_t thread;
};

/* Small commits and large ones, so that open frames, full ones and new segments all come about. */
static void *write_on(void *arg) {
    struct writer *writer = arg;
    unsigned next = 0, burst = 1;

    while (!atomic_load(&writer->stop)) {
        if (next >= atomic_load(&writer->allowed)) {
            nanosleep(&(struct timespec){ 0, 100000 }, NULL);
            continue;
        }
        put_many(writer->spool, 1, next, next + burst);
        next += burst;
        atomic_store(&writer->next, next);
        burst = burst % 37 + 1;
    }
    return NULL;
}

/* Always a thousand behind. */
static void *store_on(void *arg) {
    struct writer *writer = arg;

    while (!atomic_load(&writer->stop)) {
        if (atomic_load(&writer->next) > atomic_load(&writer->storing) + 1000) {
            atomic_fetch_add(&writer->storing, 50);
            store(writer->spool, 0, 50);
        } else {
            nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
        }
    }
    return NULL;
}

/* Whatever the agent does meanwhile: all that was durable and waits is there, in order, without a hole. */
static void an_export_beside_a_writer_has_no_holes(void **state) {
    struct writer writer = { .spool = open_spool(1, 64 << 20), .allowed = 3000 };

    (void)state;
    assert_int_equal(pthread_create(&writer.thread, NULL, write_on, &writer), 0);
    while (atomic_load(&writer.next) < 100)
        nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    for (int i = 0; i < 200; i++) {
        unsigned durable = atomic_load(&writer.next);
        atomic_fetch_add(&writer.allowed, 200);
        struct lines lines = export((struct export_options){ .pending_only = i % 2 == 0 });
        assert_int_equal(lines.first, 0);
        assert_false(lines.holes);
        assert_true(lines.count >= durable);
        struct inspection inspection = inspect();
        assert_false(inspection_is_damaged(&inspection));
        inspection_release(&inspection);
    }
    atomic_store(&writer.stop, true);
    pthread_join(writer.thread, NULL);
    spool_free(writer.spool);
}

/* What was settled meanwhile may be there or not; all else is. */
static void segments_may_vanish_while_they_are_read(void **state) {
    struct writer writer = { .spool = open_spool(1, 64 << 20), .allowed = 3000 };
    pthread_t reader;
    unsigned checked = 0;

    (void)state;
    assert_int_equal(pthread_create(&writer.thread, NULL, write_on, &writer), 0);
    assert_int_equal(pthread_create(&reader, NULL, store_on, &writer), 0);
    while (atomic_load(&writer.next) < 2000)
        nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    for (int i = 0; i < 200; i++) {
        unsigned durable = atomic_load(&writer.next);
        atomic_fetch_add(&writer.allowed, 200);
        memset(seen, 0, sizeof seen);
        export((struct export_options){ .pending_only = i % 2 == 0 });
        for (unsigned id = atomic_load(&writer.storing); id < durable && id < SEEN_MAX; id++, checked++)
            if (!seen[id])
                fail_msg("%u of [%u, %u) is missing", id, atomic_load(&writer.storing), durable);
        struct inspection inspection = inspect();
        assert_false(inspection_is_damaged(&inspection));
        inspection_release(&inspection);
    }
    assert_true(checked > 10000);
    atomic_store(&writer.stop, true);
    pthread_join(writer.thread, NULL);
    pthread_join(reader, NULL);
    spool_free(writer.spool);
}

/* An agent whose second and third segment become one, thinned, while the second is read. */
struct thinner {
    struct spool *spool;
    unsigned next, from;
    struct lines lines;
};

static bool thin_meanwhile(void *ctx, struct str text) {
    struct thinner *thinner = ctx;
    int64_t hopeless = clock_mono_ns() + 30 * NS_PER_S;
    char path[512];

    take_lines(&thinner->lines, text);
    while (thinner->lines.last > thinner->from && segment_path(path, sizeof path, 3) > 0) {
        assert_true(clock_mono_ns() < hopeless);
        put_many(thinner->spool, 1, thinner->next, thinner->next + 500);
        thinner->next += 500;
    }
    return true;
}

static void segments_may_become_one_while_they_are_read(void **state) {
    struct spool_options options = {
        .max_bytes = 12 << 20,
        .outputs = 1,
        .sync = SPOOL_COMMIT,
        .directory = directory,
        .output_names = two_names,
        .segment_bytes = 1 << 20,
        .when_full = SPOOL_THIN,
    };
    struct thinner thinner = { .spool = spool_new(&options, NULL) };
    static bool first[SEEN_MAX];
    struct exported exported;
    char path[512];
    unsigned before, both = 0;

    (void)state;
    assert_non_null(thinner.spool);
    while (segment_path(path, sizeof path, 6) == 0) {
        put_many(thinner.spool, 1, thinner.next, thinner.next + 500);
        thinner.next += 500;
    }
    before = thinner.next;
    struct inspection inspection = inspect();
    thinner.from = (unsigned)inspection.segments[1].first_sequence;
    inspection_release(&inspection);
    memset(seen, 0, sizeof seen);
    struct export_options export_options = { .write = thin_meanwhile, .ctx = &thinner };
    assert_true(spool_export(directory, &export_options, &exported, NULL));
    assert_false(thinner.lines.disorder);
    memcpy(first, seen, sizeof first);
    memset(seen, 0, sizeof seen);
    export((struct export_options){ .pending_only = true });
    for (unsigned id = 0; id < before; id++) {
        both += seen[id];
        if (seen[id] && !first[id])
            fail_msg("%u is there, and was passed over", id);
    }
    assert_in_range(both, before / 2, before - 1000); /* some were thinned away */
    assert_int_equal(segment_path(path, sizeof path, 3), 0);
    spool_free(thinner.spool);
}

/* Dropping. */

static struct dropped drop(const char *output, int64_t before_ns) {
    const struct drop_options options = { output, before_ns };
    struct dropped dropped;
    struct err err = ERR_INIT;

    if (!spool_drop(directory, &options, &dropped, &err))
        fail_msg("%s", err.text);
    return dropped;
}

static uint64_t pending(struct spool *spool, unsigned output) {
    struct spool_figures figures;

    spool_figures(spool, &figures);
    return figures.output[output].pending_messages;
}

static void what_is_dropped_is_gone_and_what_comes_then_is_not(void **state) {
    struct spool *spool = open_spool(2, 8 << 20);

    (void)state;
    put_many(spool, 3, 0, 300);
    put_many(spool, 1, 300, 400);
    assert_int_equal(store(spool, 0, 50), 50);
    spool_free(spool);
    struct dropped dropped = drop(NULL, 0);
    assert_int_equal(dropped.output_count, 2);
    assert_int_equal(dropped.outputs[0].messages, 350);
    assert_int_equal(dropped.outputs[1].messages, 300);
    assert_int_equal(dropped.outputs[1].lines, 300);
    assert_true(dropped.segments > 0 && dropped.bytes > 0);
    struct inspection inspection = inspect();
    assert_int_equal(inspection.segment_count, 0);
    assert_false(inspection_is_damaged(&inspection));
    inspection_release(&inspection);
    spool = open_spool(2, 8 << 20);
    assert_int_equal(pending(spool, 0), 0);
    put_many(spool, 3, 400, 420);
    spool_free(spool);
    spool = open_spool(2, 8 << 20); /* numbers went on: the new ones are not taken for settled ones */
    assert_int_equal(pending(spool, 0), 20);
    assert_int_equal(pending(spool, 1), 20);
    spool_free(spool);
    assert_int_equal(drop(NULL, 0).outputs[0].messages, 20);
    assert_int_equal(drop(NULL, 0).outputs[0].messages, 0);
}

static void one_output_may_lose_what_another_keeps(void **state) {
    struct spool *spool = open_spool(2, 8 << 20);
    struct dropped dropped;
    struct spool_batch batch;
    struct err err = ERR_INIT;

    (void)state;
    put_many(spool, 3, 0, 300);
    spool_free(spool);
    assert_false(spool_drop(directory, &(struct drop_options){ "nobody", 0 }, &dropped, &err));
    assert_int_equal(err.code, ERR_MISSING);
    dropped = drop(two_names[1], 0);
    assert_int_equal(dropped.outputs[0].messages, 0);
    assert_int_equal(dropped.outputs[1].messages, 300);
    assert_int_equal(dropped.segments, 0);
    spool = open_spool(2, 8 << 20);
    assert_int_equal(pending(spool, 0), 300);
    assert_int_equal(pending(spool, 1), 0);
    spool_batch_init(&batch);
    assert_true(spool_take(spool, 0, &at_once, &batch));
    assert_memory_equal(batch.lines.data, "m id=0i,", 8);
    spool_batch_release(&batch);
    spool_free(spool);
}

static void what_came_before_a_time_is_dropped_up_to_the_first_that_did_not(void **state) {
    const int64_t start = 1795383000 * NS_PER_S;
    struct spool *spool;

    (void)state;
    now_ns = start;
    clock_override(test_clock, test_clock);
    spool = open_spool(1, 8 << 20);
    for (unsigned id = 0; id < 10; id++) {
        now_ns = start + id * 60 * NS_PER_S;
        put(spool, 1, id, true);
    }
    spool_free(spool);
    clock_override(NULL, NULL);
    assert_int_equal(drop(NULL, start).outputs[0].messages, 0);
    assert_int_equal(drop(NULL, start + 180 * NS_PER_S).outputs[0].messages, 3);
    struct lines lines = export((struct export_options){ .pending_only = true });
    assert_true(lines.first == 3 && lines.last == 9 && lines.count == 7);
    spool = open_spool(1, 8 << 20);
    assert_int_equal(pending(spool, 0), 7);
    spool_free(spool);
}

static void nothing_is_dropped_beside_an_agent(void **state) {
    struct spool *spool = open_spool(1, 8 << 20);
    struct dropped dropped;
    struct err err = ERR_INIT;

    (void)state;
    put_many(spool, 1, 0, 10);
    assert_false(spool_drop(directory, &(struct drop_options){ NULL, 0 }, &dropped, &err));
    assert_int_equal(err.code, ERR_FULL);
    assert_int_equal(pending(spool, 0), 10);
    spool_free(spool);
    struct inspection inspection = inspect();
    assert_int_equal(inspection.outputs[0].messages, 10);
    inspection_release(&inspection);
}

/* A segment with damage stays for the next start, which keeps a copy of the bad bytes. */
static void damaged_segments_stay(void **state) {
    struct spool_recovery recovery;
    char path[512];

    (void)state;
    make_small_spool();
    segment_path(path, sizeof path, 2);
    flip(path, 20000);
    assert_int_equal(drop(NULL, 0).output_count, 1);
    struct inspection inspection = inspect();
    assert_int_equal(inspection.segment_count, 1);
    assert_int_equal(inspection.segments[0].number, 2);
    assert_int_equal(inspection.outputs[0].messages, 0);
    inspection_release(&inspection);
    struct spool *spool = open_spool(1, 8 << 20);
    spool_recovered(spool, &recovery);
    assert_int_equal(recovery.messages, 0);
    spool_free(spool);
}

#define in_place(function) cmocka_unit_test_setup_teardown(function, make_directory, remove_directory)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_place(what_waits_is_told_without_a_trace),
        in_place(a_running_agent_is_noticed_and_not_disturbed),
        in_place(an_empty_or_missing_directory_is_told),
        in_place(damage_is_judged_as_a_start_judges_it),
        in_place(foreign_and_unreadable_segments_are_told),
        in_place(lines_come_out_as_they_are_wanted),
        in_place(lines_are_chosen_by_arrival),
        in_place(an_export_beside_a_writer_has_no_holes),
        in_place(segments_may_vanish_while_they_are_read),
        in_place(segments_may_become_one_while_they_are_read),
        in_place(what_is_dropped_is_gone_and_what_comes_then_is_not),
        in_place(one_output_may_lose_what_another_keeps),
        in_place(what_came_before_a_time_is_dropped_up_to_the_first_that_did_not),
        in_place(nothing_is_dropped_beside_an_agent),
        in_place(damaged_segments_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
