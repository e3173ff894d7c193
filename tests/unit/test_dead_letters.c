/* tests/unit/test_dead_letters.c: what goes into the ring comes out again, whatever its bytes and whatever broke in
 * between. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fs.h"
#include "agent/base/log.h"
#include "agent/delivery/dead_letter_json.h"
#include "agent/delivery/dead_letter_ring.h"
#include "agent/delivery/dead_letters.h"

static char directory[64];

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_dead_letters.XXXXXX");
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

/* One letter there and back. */

static struct json_row {
    const char *name;
    struct str data, topic, want_topic;
} jsons[] = {
    { "a line", STR_INIT("m,a=b v=1 1"), STR_INIT("plant/a"), STR_INIT("plant/a") },
    { "nothing", STR_INIT(""), STR_INIT(""), STR_INIT("") },
    { "quotes, backslashes and newlines", STR_INIT("{\"a\":\"\\n\"}\n\t\x01"), STR_INIT("\"\\"), STR_INIT("\"\\") },
    { "UTF-8", STR_INIT("m v=\"\xE2\x82\xAC\""), STR_INIT("caf\xC3\xA9"), STR_INIT("caf\xC3\xA9") },
    { "bytes that are no UTF-8", STR_INIT("\xFF\xFE"), STR_INIT("a\xFF"), STR_INIT("a\xEF\xBF\xBD") },
    { "a NUL", STR_INIT("a\0b"), STR_INIT("a\0b"),
      STR_INIT("a\xEF\xBF\xBD"
               "b") },
    { "a cut character", STR_INIT("ab\xE2\x82"), STR_INIT("\xE2\x82"), STR_INIT("\xEF\xBF\xBD\xEF\xBF\xBD") },
    { "one byte of base64", STR_INIT("\x80"), STR_INIT("t"), STR_INIT("t") },
    { "two bytes of base64", STR_INIT("\x80\x00"), STR_INIT("t"), STR_INIT("t") },
    { "three bytes of base64", STR_INIT("\x80\x00\xFF"), STR_INIT("t"), STR_INIT("t") },
    { "four bytes of base64", STR_INIT("\x80\x00\xFF\x7F"), STR_INIT("t"), STR_INIT("t") },
};

static void there_and_back(void **state) {
    const struct json_row *row = *state;
    const struct dead_letter letter = {
        .time_ns = 1795383000123456789,
        .stage = STR("ingest"),
        .input = STR("in"),
        .output = STR("out"),
        .topic = row->topic,
        .reason = STR("syntax"),
        .detail = STR("words \"here\""),
        .data = row->data,
        .status = 422,
        .full_bytes = 1234567890123,
    };
    struct dead_letter again;
    struct buf line = BUF_INIT(4096);
    struct arena arena;

    arena_init(&arena, 4096);
    assert_true(dead_letter_encode(&letter, &line));
    assert_ptr_equal(memchr(line.data, '\n', line.len), line.data + line.len - 1); /* one line, whatever is in it */
    assert_true(dead_letter_decode(str_make(line.data, line.len - 1), &arena, &again));
    assert_int_equal(again.time_ns, letter.time_ns);
    assert_true(str_eq(again.data, letter.data));
    assert_true(str_eq(again.topic, row->want_topic));
    assert_true(str_eq(again.detail, letter.detail));
    assert_true(str_eq_c(again.stage, "ingest") && str_eq_c(again.reason, "syntax"));
    assert_true(str_eq_c(again.input, "in") && str_eq_c(again.output, "out"));
    assert_int_equal(again.status, 422);
    assert_int_equal(again.full_bytes, 1234567890123);
    assert_int_equal(again.id, 0);
    buf_release(&line);
    arena_release(&arena);
}

static void has_the_documented_form(void **state) {
    const struct dead_letter letter = {
        .time_ns = 1795383000000000007,
        .stage = STR("delivery"),
        .input = STR("plant"),
        .output = STR("influxdb-1"),
        .topic = STR("plant/a"),
        .reason = STR("type_conflict"),
        .detail = STR("words"),
        .data = STR("m v=1 1"),
        .status = 400,
    };
    struct buf line = BUF_INIT(4096);

    (void)state;
    assert_true(dead_letter_encode(&letter, &line));
    assert_string_equal(
        buf_cstr(&line),
        "{\"time\":\"2026-11-22T21:30:00.000000007Z\",\"stage\":\"delivery\",\"input\":\"plant\",\"output\":\"influxdb-1\","
        "\"topic\":\"plant/a\",\"reason\":\"type_conflict\",\"detail\":\"words\",\"status\":400,\"data\":\"m v=1 1\"}\n");
    buf_release(&line);
}

#define LETTER(time, data)                                                                                             \
    "{\"time\":\"" time                                                                                                \
    "\",\"stage\":\"s\",\"input\":\"\",\"output\":\"\",\"topic\":\"t\",\"reason\":\"r\",\"detail\":\"\"," data "}"

static struct decode_row {
    const char *name, *line;
    bool ok;
    int64_t time_ns;
} decodes[] = {
    { "the epoch", LETTER("1970-01-01T00:00:00.000000000Z", "\"data\":\"\""), true, 0 },
    { "a leap day", LETTER("2024-02-29T12:00:00.000000001Z", "\"data\":\"\""), true, 1709208000000000001 },
    { "the day after a leap day", LETTER("2024-03-01T00:00:00.000000000Z", "\"data\":\"\""), true,
      1709251200000000000 },
    { "a century without leap day", LETTER("2100-03-01T00:00:00.000000000Z", "\"data\":\"\""), true,
      4107542400000000000 },
    { "no fraction", LETTER("2024-02-29T12:00:00Z", "\"data\":\"\""), false, 0 },
    { "month 13", LETTER("2024-13-01T12:00:00.000000000Z", "\"data\":\"\""), false, 0 },
    { "a time of letters", LETTER("2024-xx-01T12:00:00.000000000Z", "\"data\":\"\""), false, 0 },
    { "no data", LETTER("1970-01-01T00:00:00.000000000Z", "\"x\":1"), false, 0 },
    { "data that is a number", LETTER("1970-01-01T00:00:00.000000000Z", "\"data\":1"), false, 0 },
    { "base64 of a wrong length", LETTER("1970-01-01T00:00:00.000000000Z", "\"data_base64\":\"YQ=\""), false, 0 },
    { "base64 of wrong letters", LETTER("1970-01-01T00:00:00.000000000Z", "\"data_base64\":\"Y*==\""), false, 0 },
    { "base64 with padding inside", LETTER("1970-01-01T00:00:00.000000000Z", "\"data_base64\":\"Y=Q=\""), false, 0 },
    { "nothing but padding", LETTER("1970-01-01T00:00:00.000000000Z", "\"data_base64\":\"====\""), false, 0 },
    { "empty base64", LETTER("1970-01-01T00:00:00.000000000Z", "\"data_base64\":\"\""), true, 0 },
    { "an empty line", "", false, 0 },
    { "a list", "[]", false, 0 },
    { "a string", "\"time\"", false, 0 },
    { "half a letter", "{\"time\":\"1970-01-01T00:00:00.0", false, 0 },
    { "numbers that are none", LETTER("1970-01-01T00:00:00.000000000Z", "\"data\":\"\",\"status\":\"x\",\"full_bytes\":-1e300"),
      true, 0 },
    { "no topic", "{\"time\":\"1970-01-01T00:00:00.000000000Z\",\"stage\":\"s\",\"data\":\"\"}", false, 0 },
};

static void decodes_row(void **state) {
    const struct decode_row *row = *state;
    struct dead_letter letter = { .time_ns = -1 };
    struct arena arena;

    arena_init(&arena, 4096);
    assert_int_equal(dead_letter_decode(str_of(row->line), &arena, &letter), row->ok);
    assert_int_equal(letter.time_ns, row->ok ? row->time_ns : -1);
    arena_release(&arena);
}

/* The ring. */

static struct dead_letters *open_letters(const char *path, uint64_t max_bytes) {
    char copy[128];
    struct dead_letters_options options = { copy, max_bytes };
    struct err err = ERR_INIT;

    snprintf(copy, sizeof copy, "%s", path);
    struct dead_letters *letters = dead_letters_open(&options, &err);
    if (letters == NULL)
        fail_msg("%s", err.text);
    return letters;
}

static void put(struct dead_letters *letters, uint32_t number, struct str data) {
    struct dead_letter_sink sink = dead_letters_sink(letters);
    char topic[32];

    snprintf(topic, sizeof topic, "%u", number);
    const struct dead_letter letter = {
        .time_ns = 1,
        .stage = STR("delivery"),
        .input = STR_EMPTY,
        .output = STR("out"),
        .topic = str_of(topic),
        .reason = STR("rejected"),
        .detail = STR("words"),
        .data = data,
    };
    sink.put(sink.ctx, &letter);
}

struct seen {
    uint64_t count, first, last, stop_after;
    bool in_order;
};

static bool see(void *ctx, const struct dead_letter *letter) {
    struct seen *seen = ctx;
    uint64_t number;

    assert_true(str_to_uint64(letter->topic, &number));
    if (seen->count == 0)
        seen->first = number;
    else if (number <= seen->last)
        seen->in_order = false;
    seen->last = number;
    return ++seen->count != seen->stop_after;
}

static struct seen read_all(struct dead_letters_found *found) {
    struct seen seen = { .in_order = true };
    struct err err = ERR_INIT;

    if (!dead_letters_read(directory, see, &seen, found, &err))
        fail_msg("%s", err.text);
    assert_int_equal(found->letters, seen.count);
    return seen;
}

struct figures {
    double total, lost, bytes;
};

static void see_sample(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t count,
                       double value) {
    struct figures *figures = ctx;

    if (strcmp(desc->name, "dead_letters_total") == 0) {
        assert_int_equal(count, 2);
        assert_string_equal(labels[0].key, "stage");
        assert_string_equal(labels[1].key, "reason");
        figures->total += value;
    } else if (strcmp(desc->name, "dead_letters_lost_total") == 0) {
        figures->lost = value;
    } else {
        assert_string_equal(desc->name, "dead_letters_bytes");
        figures->bytes = value;
    }
}

static struct figures figures_of(struct dead_letters *letters) {
    struct figures figures = { 0 };
    struct metric_writer writer = { &figures, see_sample, NULL };

    dead_letters_collect(letters, &writer);
    return figures;
}

/* Until the writer has done something with all that was put: `lost` or on disk. */
static void wait_written(struct dead_letters *letters, uint64_t written) {
    int64_t hopeless = clock_mono_ns() + 20 * NS_PER_S;
    struct dead_letters_found found;

    while (read_all(&found).count + (uint64_t)figures_of(letters).lost < written) {
        assert_true(clock_mono_ns() < hopeless);
        nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    }
}

/* Until letter `number` is in the ring. */
static void wait_for(uint32_t number) {
    int64_t hopeless = clock_mono_ns() + 20 * NS_PER_S;
    struct dead_letters_found found;
    struct seen seen;

    while (seen = read_all(&found), seen.count == 0 || seen.last != number) {
        assert_true(clock_mono_ns() < hopeless);
        nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    }
}

static uint64_t bytes_on_disk(void) {
    struct ring_list list = { .items = NULL };
    uint64_t sum = 0;

    assert_true(ring_list_files(directory, &list, NULL));
    for (size_t i = 0; i < list.count; i++)
        sum += list.items[i].bytes;
    free(list.items);
    return sum;
}

static void letters_are_read_back_in_order(void **state) {
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    struct dead_letters_found found;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        put(letters, i, i % 2 == 0 ? STR("m v=1 1") : STR("\xFF\x00"));
    struct figures figures = figures_of(letters);
    dead_letters_close(letters);
    struct seen seen = read_all(&found);
    assert_int_equal(seen.count, 1000);
    assert_true(seen.in_order);
    assert_int_equal(found.skipped_lines, 0);
    assert_float_equal(figures.total, 1000, 0);
    assert_float_equal(figures.lost, 0, 0);
}

static void the_ring_never_exceeds_its_limit_and_keeps_the_newest(void **state) {
    const uint64_t limits[] = { 64 << 10, 100000, 512 << 10, 1 << 20 };
    static char data[1000];
    uint32_t number = 0;

    (void)state;
    memset(data, 'x', sizeof data);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct dead_letters *letters = open_letters(directory, limits[i]);
        for (int round = 0; round < 10; round++) {
            for (uint32_t until = number + 200; number < until; number++)
                put(letters, number, str_make(data, number % sizeof data));
            wait_for(number - 1);
            assert_in_range(bytes_on_disk(), 0, limits[i]);
        }
        dead_letters_close(letters);
        struct dead_letters_found found;
        struct seen seen = read_all(&found);
        assert_in_range(bytes_on_disk(), limits[i] / 4, limits[i]);
        assert_int_equal(seen.last, number - 1);
        assert_true(seen.in_order);
        assert_int_equal(seen.count, seen.last - seen.first + 1); /* no gap */
    }
}

static void files_and_directory_are_for_the_owner_only(void **state) {
    char path[128];
    struct stat info;

    (void)state;
    snprintf(path, sizeof path, "%s/a/b", directory);
    struct dead_letters *letters = open_letters(path, 1 << 20);
    put(letters, 1, STR("secret"));
    dead_letters_close(letters);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/a/b/dead-letters-00000001.jsonl", directory);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void write_file(const char *name, const char *text) {
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool exists(const char *name) {
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

static void nothing_is_appended_to_a_torn_line(void **state) {
    (void)state;
    write_file("dead-letters-00000007.jsonl",
               LETTER("1970-01-01T00:00:00.000000000Z", "\"data\":\"\"") "\n{\"time\":\"19");
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    put(letters, 1, STR("a"));
    put(letters, 2, STR("b"));
    dead_letters_close(letters);
    struct buf text = BUF_INIT(4096);
    char path[128];
    snprintf(path, sizeof path, "%s/dead-letters-00000007.jsonl", directory);
    assert_true(fs_read_file(path, &text, NULL));
    assert_non_null(strstr(buf_cstr(&text), "{\"time\":\"19\n{\"time\":\"1970-01-01T00:00:00.000000001Z\""));
    buf_release(&text);
}

static void torn_and_foreign_lines_are_skipped_and_counted(void **state) {
    struct dead_letters_found found;

    (void)state;
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    put(letters, 1, STR("a"));
    dead_letters_close(letters);
    write_file("dead-letters-00000002.jsonl", "hello\n\n{}\n{\"time\":\"19");
    letters = open_letters(directory, 1 << 20);
    put(letters, 2, STR("b"));
    dead_letters_close(letters);
    struct seen seen = read_all(&found);
    assert_int_equal(seen.count, 2);
    assert_int_equal(found.skipped_lines, 3);
    assert_int_equal(found.files, 2);
}

static void a_last_letter_without_its_newline_is_read(void **state) {
    struct dead_letters_found found;

    (void)state;
    write_file("dead-letters-00000001.jsonl",
               "{\"time\":\"1970-01-01T00:00:00.000000000Z\",\"stage\":\"s\",\"input\":\"\",\"output\":\"\","
               "\"topic\":\"5\",\"reason\":\"r\",\"detail\":\"\",\"data\":\"\"}");
    assert_int_equal(read_all(&found).last, 5);
}

static void a_missing_directory_is_an_error(void **state) {
    struct dead_letters_found found;
    struct err err = ERR_INIT;
    struct seen seen = { 0 };

    (void)state;
    assert_false(dead_letters_read("/nonexistent", see, &seen, &found, &err));
    assert_non_null(strstr(err.text, "/nonexistent"));
}

static void a_reader_may_stop_early(void **state) {
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    struct seen seen = { .stop_after = 3 };
    struct dead_letters_found found;

    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        put(letters, i, STR("a"));
    dead_letters_close(letters);
    assert_true(dead_letters_read(directory, see, &seen, &found, NULL));
    assert_int_equal(seen.count, 3);
}

static void numbering_goes_on_and_foreign_files_stay(void **state) {
    static char data[60000];
    const char *const foreign[] = { "dead-letters-1.jsonl",
                                    "dead-letters-00000003.json",
                                    "dead-letters-0000000x.jsonl",
                                    "notes.txt",
                                    "dead-letters--0000004.jsonl",
                                    "dead-letters-.jsonl",
                                    "dead-letters-99999999999999999999.jsonl" };

    (void)state;
    memset(data, 'x', sizeof data);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        write_file(foreign[i], "mine\n");
    write_file("dead-letters-00000041.jsonl", "full\n");
    assert_int_equal(bytes_on_disk(), sizeof "full\n" - 1);
    struct dead_letters *letters = open_letters(directory, 128 << 10);
    for (uint32_t i = 0; i < 20; i++) {
        put(letters, i, str_make(data, sizeof data));
        wait_for(i);
    }
    dead_letters_close(letters);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        assert_true(exists(foreign[i]));
    assert_false(exists("dead-letters-00000041.jsonl"));
    assert_in_range(bytes_on_disk(), 60000, 128 << 10);
}

static void letters_are_appended_after_a_restart(void **state) {
    struct dead_letters_found found;

    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        struct dead_letters *letters = open_letters(directory, 1 << 20);
        put(letters, i, STR("a"));
        dead_letters_close(letters);
    }
    assert_int_equal(read_all(&found).count, 5);
    assert_int_equal(found.files, 1);
}

static void a_letter_larger_than_the_ring_is_lost_and_counted(void **state) {
    static char data[2 << 20];
    struct dead_letters *letters = open_letters(directory, 64 << 10);
    struct dead_letters_found found;

    (void)state;
    memset(data, 'x', sizeof data);
    put(letters, 1, str_make(data, sizeof data)); /* longer than the queue */
    put(letters, 2, str_make(data, 40000));       /* longer than a file */
    put(letters, 3, STR("a"));
    wait_written(letters, 3);
    assert_float_equal(figures_of(letters).lost, 2, 0);
    assert_float_equal(figures_of(letters).total, 3, 0);
    assert_int_equal(read_all(&found).last, 3);
    assert_float_equal(figures_of(letters).bytes, bytes_on_disk(), 0);
    dead_letters_close(letters);
}

/* More at once than the queue takes: what is kept and what is lost add up. */
static void a_full_queue_loses_with_a_count(void **state) {
    struct dead_letters *letters = open_letters(directory, 64 << 20);
    struct dead_letters_found found;

    (void)state;
    for (uint32_t i = 0; i < 50000; i++)
        put(letters, i, STR("m v=1 1"));
    wait_written(letters, 50000);
    assert_int_equal(read_all(&found).count + (uint64_t)figures_of(letters).lost, 50000);
    assert_float_equal(figures_of(letters).total, 50000, 0);
    dead_letters_close(letters);
}

/* A limit on file size stands for a full disk: write() is cut short, then fails; later there is room again. */
static void a_full_disk_loses_with_a_count_and_recovers(void **state) {
    static char data[3000];
    struct rlimit before, low = { 10000, 10000 };
    struct dead_letters_found found;

    (void)state;
    memset(data, 'x', sizeof data);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low.rlim_max = before.rlim_max;
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    for (uint32_t i = 0; i < 10; i++)
        put(letters, i, str_make(data, sizeof data));
    wait_written(letters, 10);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_float_equal(figures_of(letters).lost, 7, 0);
    put(letters, 10, STR("a"));
    dead_letters_close(letters);
    struct seen seen = read_all(&found);
    assert_int_equal(seen.count, 4);
    assert_int_equal(seen.last, 10);
    assert_int_equal(found.skipped_lines, 0);
}

static void a_deleted_directory_comes_back(void **state) {
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    struct dead_letters_found found;

    put(letters, 1, STR("a"));
    wait_written(letters, 1);
    assert_int_equal(remove_directory(state), 0);
    put(letters, 2, STR("b"));
    dead_letters_close(letters);
    assert_int_equal(read_all(&found).last, 2);
}

static void without_a_directory_letters_are_counted(void **state) {
    struct dead_letters *letters = open_letters("", 1 << 20);

    (void)state;
    put(letters, 1, STR("a"));
    assert_float_equal(figures_of(letters).total, 1, 0);
    assert_float_equal(figures_of(letters).lost, 0, 0);
    dead_letters_close(letters);
}

static void what_was_synced_is_there(void **state) {
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    struct dead_letters_found found;

    (void)state;
    dead_letters_sync(letters);
    for (uint32_t i = 0; i < 300; i++) {
        put(letters, i, STR("m v=1 1"));
        dead_letters_sync(letters);
        assert_int_equal(read_all(&found).count, i + 1);
    }
    int64_t began_ns = clock_mono_ns();
    for (uint32_t i = 0; i < 1000; i++)
        dead_letters_sync(letters); /* costs nothing */
    assert_true(clock_mono_ns() - began_ns < NS_PER_S);
    dead_letters_close(letters);
}

static void nobody_waits_for_letters_that_are_not_kept(void **state) {
    struct dead_letters *letters = open_letters("", 1 << 20);

    (void)state;
    put(letters, 1, STR("a"));
    dead_letters_sync(letters);
    dead_letters_close(letters);
}

static void a_directory_that_cannot_be_made_is_an_error(void **state) {
    char path[128];
    struct dead_letters_options options = { path, 1 << 20 };
    struct err err = ERR_INIT;

    (void)state;
    write_file("file", "");
    snprintf(path, sizeof path, "%s/file/letters", directory);
    assert_null(dead_letters_open(&options, &err));
    assert_non_null(strstr(err.text, "/file"));
}

static void reasons_stay_bounded(void **state) {
    struct dead_letters *letters = open_letters("", 1 << 20);
    struct dead_letter_sink sink = dead_letters_sink(letters);
    struct figures figures;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        char reason[64];
        snprintf(reason, sizeof reason, "reason-%u-with-a-name-that-is-rather-long", i);
        sink.put(sink.ctx, &(struct dead_letter){ .stage = STR("ingest"), .reason = str_of(reason) });
    }
    figures = figures_of(letters);
    assert_float_equal(figures.total, 1000, 0);
    dead_letters_close(letters);
}

enum { THREADS = 4, EACH = 500 };

static void *put_many(void *letters) {
    for (uint32_t i = 0; i < EACH; i++)
        put(letters, i, STR("a"));
    return NULL;
}

static bool count_one(void *ctx, const struct dead_letter *letter) {
    (void)letter;
    ++*(uint64_t *)ctx;
    return true;
}

/* Taking letters out. */

struct ids {
    struct letter_ids set;
    uint32_t modulus; /* only of letters whose number it divides */
};

static bool note_id(void *ctx, const struct dead_letter *letter) {
    struct ids *ids = ctx;
    uint64_t number;

    assert_true(str_to_uint64(letter->topic, &number));
    assert_int_not_equal(letter->id, 0);
    if (number % ids->modulus == 0)
        assert_true(letter_ids_add(&ids->set, letter->id));
    return true;
}

static struct letter_ids ids_of(uint32_t modulus) {
    struct dead_letters_found found;
    struct ids ids = { .modulus = modulus };

    assert_true(dead_letters_read(directory, note_id, &ids, &found, NULL));
    letter_ids_sort(&ids.set);
    return ids.set;
}

static uint64_t take_out(struct dead_letters *letters, const struct letter_ids *ids) {
    struct err err = ERR_INIT;
    uint64_t removed;

    if (!dead_letters_remove(letters, ids, &removed, &err))
        fail_msg("%s", err.text);
    return removed;
}

static void what_is_taken_out_is_gone_and_the_rest_stays(void **state) {
    static char data[500];
    struct dead_letters *letters = open_letters(directory, 512 << 10);
    struct dead_letters_found found;

    (void)state;
    memset(data, 'x', sizeof data);
    for (uint32_t i = 0; i < 600; i++) /* several files */
        put(letters, i, str_make(data, i % sizeof data));
    wait_for(599);
    struct letter_ids third = ids_of(3);
    assert_int_equal(take_out(letters, &third), 200);
    assert_int_equal(take_out(letters, &third), 0); /* once only */
    put(letters, 601, STR("behind"));
    wait_for(601);
    struct seen seen = read_all(&found);
    assert_int_equal(seen.count, 401);
    assert_int_equal(seen.first, 1);
    assert_true(seen.in_order && found.skipped_lines == 0 && found.files > 2);
    letter_ids_release(&third);
    third = ids_of(3);
    assert_int_equal(third.count, 0);
    letter_ids_release(&third);
    assert_float_equal(figures_of(letters).bytes, bytes_on_disk(), 0);
    dead_letters_close(letters);
}

static void files_of_which_nothing_stays_go_and_their_numbers_with_them(void **state) {
    struct dead_letters *letters = open_letters(directory, 64 << 10);
    struct dead_letters_found found;

    (void)state;
    put(letters, 1, STR("a"));
    wait_for(1);
    struct letter_ids all = ids_of(1);
    assert_int_equal(take_out(letters, &all), 1);
    letter_ids_release(&all);
    assert_int_equal(bytes_on_disk(), 0);
    assert_float_equal(figures_of(letters).bytes, 0, 0);
    put(letters, 2, STR("b"));
    wait_for(2);
    assert_false(exists("dead-letters-00000001.jsonl"));
    assert_true(exists("dead-letters-00000002.jsonl"));
    assert_int_equal(read_all(&found).count, 1);
    dead_letters_close(letters);
}

/* What is no letter is not ours to delete, to the byte; and the ring goes on behind it. */
static void torn_foreign_and_endless_lines_survive_their_neighbours(void **state) {
    enum { ENDLESS = 9 << 20 };
    struct buf before = BUF_INIT(32 << 20), after = BUF_INIT(32 << 20), endless = BUF_INIT(ENDLESS + 1);
    char path[128];

    (void)state;
    assert_true(buf_reserve(&endless, ENDLESS));
    memset(endless.data, 'e', ENDLESS);
    endless.len = ENDLESS;
    snprintf(path, sizeof path, "%s/dead-letters-00000001.jsonl", directory);
    FILE *file = fopen(path, "w");
    fputs("hello\n\n" LETTER("1970-01-01T00:00:00.000000000Z", "\"data\":\"\"") "\n", file);
    fwrite(endless.data, 1, endless.len, file);
    fputs("\n{\"time\":\"19", file);
    fclose(file);
    assert_true(fs_read_file(path, &before, NULL));
    struct str letter = STR(LETTER("1970-01-01T00:00:00.000000000Z", "\"data\":\"\""));
    uint64_t id = ring_letter_id(letter);
    const struct letter_ids ids = { &id, 1, 1 };
    struct dead_letters *letters = open_letters(directory, 64 << 20);
    uint64_t removed;
    assert_true(dead_letters_remove(letters, &ids, &removed, NULL));
    assert_int_equal(removed, 1);
    dead_letters_close(letters);
    assert_true(fs_read_file(path, &after, NULL));
    size_t gone = letter.len + 1, kept = before.len - gone;
    assert_int_equal(after.len, kept);
    assert_memory_equal(after.data, before.data, 7);
    assert_memory_equal(after.data + 7, before.data + 7 + gone, kept - 7);
    buf_release(&before);
    buf_release(&after);
    buf_release(&endless);
}

static void a_full_disk_takes_nothing_out_and_loses_nothing(void **state) {
    static char data[1000];
    struct rlimit before, low = { 20000, 20000 };
    struct dead_letters_found found;
    struct err err = ERR_INIT;

    (void)state;
    memset(data, 'x', sizeof data);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low.rlim_max = before.rlim_max;
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    for (uint32_t i = 0; i < 100; i++)
        put(letters, i, str_make(data, sizeof data));
    wait_for(99);
    struct letter_ids some = ids_of(5);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_false(dead_letters_remove(letters, &some, NULL, &err));
    assert_non_null(strstr(err.text, "dead-letters.tmp"));
    assert_int_equal(read_all(&found).count, 100);
    assert_false(exists("dead-letters.tmp"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(take_out(letters, &some), 20);
    letter_ids_release(&some);
    put(letters, 100, STR("a"));
    wait_for(100);
    assert_int_equal(read_all(&found).count, 81);
    dead_letters_close(letters);
}

static void what_a_crash_left_half_written_means_nothing(void **state) {
    struct dead_letters_found found;

    (void)state;
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    put(letters, 1, STR("a"));
    dead_letters_close(letters);
    write_file("dead-letters.tmp", "{\"time\":\"19");
    letters = open_letters(directory, 1 << 20);
    assert_false(exists("dead-letters.tmp"));
    assert_int_equal(read_all(&found).count, 1);
    dead_letters_close(letters);
}

static void a_directory_has_one_owner(void **state) {
    struct dead_letters *letters = open_letters(directory, 1 << 20);
    struct dead_letters_options options = { directory, 1 << 20 };
    struct err err = ERR_INIT;

    (void)state;
    assert_true(ring_in_use(directory));
    assert_null(dead_letters_open(&options, &err));
    assert_int_equal(err.code, ERR_FULL);
    assert_non_null(strstr(err.text, directory));
    dead_letters_close(letters);
    assert_false(ring_in_use(directory));
    assert_false(ring_in_use("/nonexistent"));
}

/* Letters keep coming while others are taken out: none is lost, none comes back. */
static void letters_are_taken_out_while_others_are_put(void **state) {
    struct dead_letters *letters = open_letters(directory, 16 << 20);
    struct dead_letters_found found;
    pthread_t thread;
    uint64_t removed = 0;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, put_many, letters), 0);
    for (int i = 0; i < 50; i++) {
        struct letter_ids even = ids_of(2);
        removed += take_out(letters, &even);
        letter_ids_release(&even);
    }
    pthread_join(thread, NULL);
    wait_for(EACH - 1);
    struct letter_ids even = ids_of(2);
    removed += take_out(letters, &even);
    letter_ids_release(&even);
    assert_int_equal(removed, EACH / 2);
    assert_int_equal(read_all(&found).count, EACH / 2);
    assert_int_equal(found.skipped_lines, 0);
    dead_letters_close(letters);
}

static void any_thread_may_put(void **state) {
    struct dead_letters *letters = open_letters(directory, 16 << 20);
    pthread_t threads[THREADS];
    struct dead_letters_found found;
    uint64_t count = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, letters), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t lost = (uint64_t)figures_of(letters).lost;
    dead_letters_close(letters);
    assert_true(dead_letters_read(directory, count_one, &count, &found, NULL));
    assert_int_equal(count + lost, THREADS * EACH);
}

#define ROWS(table)         (sizeof(table) / sizeof(table)[0])
#define ring_test(function) cmocka_unit_test_setup_teardown(function, make_directory, remove_directory)

int main(void) {
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(has_the_documented_form),
        ring_test(letters_are_read_back_in_order),
        ring_test(the_ring_never_exceeds_its_limit_and_keeps_the_newest),
        ring_test(files_and_directory_are_for_the_owner_only),
        ring_test(nothing_is_appended_to_a_torn_line),
        ring_test(torn_and_foreign_lines_are_skipped_and_counted),
        ring_test(a_last_letter_without_its_newline_is_read),
        cmocka_unit_test(a_missing_directory_is_an_error),
        ring_test(a_reader_may_stop_early),
        ring_test(numbering_goes_on_and_foreign_files_stay),
        ring_test(letters_are_appended_after_a_restart),
        ring_test(a_letter_larger_than_the_ring_is_lost_and_counted),
        ring_test(a_full_queue_loses_with_a_count),
        ring_test(a_full_disk_loses_with_a_count_and_recovers),
        ring_test(a_deleted_directory_comes_back),
        ring_test(without_a_directory_letters_are_counted),
        ring_test(a_directory_that_cannot_be_made_is_an_error),
        ring_test(any_thread_may_put),
        ring_test(what_is_taken_out_is_gone_and_the_rest_stays),
        ring_test(files_of_which_nothing_stays_go_and_their_numbers_with_them),
        ring_test(torn_foreign_and_endless_lines_survive_their_neighbours),
        ring_test(a_full_disk_takes_nothing_out_and_loses_nothing),
        ring_test(what_a_crash_left_half_written_means_nothing),
        ring_test(a_directory_has_one_owner),
        ring_test(letters_are_taken_out_while_others_are_put),
        ring_test(what_was_synced_is_there),
        cmocka_unit_test(nobody_waits_for_letters_that_are_not_kept),
        cmocka_unit_test(reasons_stay_bounded),
    };
    struct CMUnitTest tests[ROWS(plain) + ROWS(jsons) + ROWS(decodes)];
    size_t count = ROWS(plain);

    log_set(getenv("TEST_LOG") != NULL ? LOG_DEBUG : (enum log_level) - 1, LOG_TEXT);
    memcpy(tests, plain, sizeof plain);
    for (size_t i = 0; i < ROWS(jsons); i++)
        tests[count++] = (struct CMUnitTest){ jsons[i].name, there_and_back, NULL, NULL, &jsons[i] };
    for (size_t i = 0; i < ROWS(decodes); i++)
        tests[count++] = (struct CMUnitTest){ decodes[i].name, decodes_row, NULL, NULL, &decodes[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
