/* tests/unit/test_inbox.c: what a command hands over is read as it was written, or not at all. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/crc32c.h"
#include "agent/base/fs.h"
#include "agent/delivery/inbox.h"

static const char *const outputs[] = { "influxdb", "archive", "c\xC3\xA9" };
static char directory[64];

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_inbox.XXXXXX");
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

static void open_inbox(struct inbox_writer *writer) {
    struct err err = ERR_INIT;

    if (!inbox_open(writer, directory, &err))
        fail_msg("%s", err.text);
}

static void add(struct inbox_writer *writer, uint64_t id, uint64_t set, struct str lines) {
    struct spool_record record = { .outputs = set, .lines = 1, .topic = STR("plant/a"), .text = lines };
    struct err err = ERR_INIT;

    if (!inbox_add(writer, id, &record, 1, outputs, &err))
        fail_msg("%s", err.text);
}

static size_t files(struct inbox_names *names) {
    assert_true(inbox_list(directory, names, NULL));
    return names->count;
}

static size_t entries_in_folder(void) {
    char path[128];
    size_t count = 0;

    snprintf(path, sizeof path, "%s/inbox", directory);
    DIR *stream = opendir(path);
    assert_non_null(stream);
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(stream);
    return count;
}

static void what_is_handed_over_comes_back(void **state) {
    const struct spool_record records[] = {
        { .outputs = 5, .lines = 2, .topic = STR("plant/a"), .text = STR("m v=1 1\nm v=\"\xE2\x82\xAC \\\" \\n\" 2\n") },
        /* Not UTF-8: to the byte all the same. */
        { .outputs = 2, .lines = 1, .topic = STR("plant/a"), .text = STR("n v=\"\xFF\x00\x01\" 3\n") },
    };
    struct inbox_writer writer;
    struct inbox_names names = { 0 };
    struct inbox_request request;
    struct letter_ids ids = { 0 };
    struct arena arena;

    (void)state;
    open_inbox(&writer);
    assert_true(inbox_add(&writer, UINT64_MAX, records, 2, outputs, NULL));
    assert_true(inbox_add_purge(&writer, 7, NULL));
    assert_int_equal(files(&names), 0); /* nothing is seen of it before it is complete */
    assert_true(inbox_finish(&writer, NULL));
    assert_int_equal(writer.handed_over, 2);
    inbox_close(&writer);

    assert_int_equal(files(&names), 1);
    arena_init(&arena, 1 << 20);
    assert_true(inbox_read(directory, names.items[0], &arena, &request, NULL));
    assert_int_equal(request.count, 2);
    const struct inbox_entry *entry = &request.entries[0];
    assert_true(entry->id == UINT64_MAX && !entry->purge && str_eq_c(entry->topic, "plant/a"));
    assert_int_equal(entry->record_count, 2);
    assert_int_equal(entry->records[0].output_count, 2);
    assert_true(str_eq_c(entry->records[0].outputs[0], "influxdb") && str_eq_c(entry->records[0].outputs[1], outputs[2]));
    assert_true(str_eq_c(entry->records[1].outputs[0], "archive"));
    for (size_t i = 0; i < 2; i++) {
        assert_true(str_eq(entry->records[i].lines, records[i].text));
        assert_int_equal(entry->records[i].line_count, records[i].lines);
    }
    assert_true(request.entries[1].purge && request.entries[1].id == 7);
    assert_true(inbox_ids(directory, &ids, NULL));
    assert_true(ids.count == 2 && letter_ids_has(&ids, 7) && letter_ids_has(&ids, UINT64_MAX) && !letter_ids_has(&ids, 8));
    assert_true(inbox_remove(directory, names.items[0], NULL));
    assert_int_equal(files(&names), 0);
    letter_ids_release(&ids);
    arena_release(&arena);
    inbox_names_release(&names);
}

static void much_becomes_several_files_in_order(void **state) {
    enum { MANY = 2 * INBOX_ENTRIES_USUAL + 5 };
    struct inbox_writer writer;
    struct inbox_names names = { 0 };
    struct arena arena;
    uint64_t next = 0;

    (void)state;
    open_inbox(&writer);
    for (uint64_t i = 0; i < MANY; i++)
        add(&writer, i, 1, STR("m v=1 1\n"));
    assert_true(inbox_finish(&writer, NULL));
    assert_true(inbox_finish(&writer, NULL)); /* nothing more: no empty file */
    assert_int_equal(writer.handed_over, MANY);
    inbox_close(&writer);
    assert_int_equal(files(&names), 3);
    arena_init(&arena, 64 << 20);
    for (size_t i = 0; i < names.count; i++) {
        struct inbox_request request;
        arena_reset(&arena);
        assert_true(inbox_read(directory, names.items[i], &arena, &request, NULL));
        for (size_t j = 0; j < request.count; j++)
            assert_int_equal(request.entries[j].id, next++);
    }
    assert_int_equal(next, MANY);
    arena_release(&arena);
    inbox_names_release(&names);
}

/* A file of two entries, as it stands on disk. */
static struct buf sample(void) {
    struct buf text = BUF_INIT(1 << 16);
    struct inbox_names names = { 0 };
    struct inbox_writer writer;
    char path[256];

    open_inbox(&writer);
    add(&writer, 1, 1, STR("m v=1 1\n"));
    assert_true(inbox_add_purge(&writer, 2, NULL));
    assert_true(inbox_finish(&writer, NULL));
    inbox_close(&writer);
    assert_int_equal(files(&names), 1);
    snprintf(path, sizeof path, "%s/inbox/%s", directory, names.items[0]);
    assert_true(fs_read_file(path, &text, NULL));
    inbox_names_release(&names);
    return text;
}

static void a_cut_or_changed_file_is_refused_whole(void **state) {
    struct buf text = sample();
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t len = 0; len <= text.len; len++) {
        struct inbox_request request = { 0 };
        struct err err = ERR_INIT;
        arena_reset(&arena);
        assert_int_equal(inbox_decode(str_make(text.data, len), &arena, &request, &err), len == text.len);
        assert_true(len == text.len || (err.code == ERR_SYNTAX && request.count == 0));
    }
    size_t head = (size_t)((char *)memchr(text.data, '\n', text.len) - text.data);
    for (size_t i = 0; i < text.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct inbox_request request = { 0 };
            arena_reset(&arena);
            text.data[i] = (char)(text.data[i] ^ 1 << bit);
            bool taken = inbox_decode(buf_str(&text), &arena, &request, NULL);
            text.data[i] = (char)(text.data[i] ^ 1 << bit);
            /* Of the head some bits do not matter (the case of a digit); then all is as it was. */
            assert_true(!taken || (i < head && request.count == 2 && request.entries[0].id == 1));
        }
    }
    buf_release(&text);
    arena_release(&arena);
}

static struct bad_row {
    const char *name, *body;
    unsigned entries, version;
    enum err_code code;
} bads[] = {
    { "a later version", "{\"id\":\"0000000000000001\",\"purge\":true}\n", 1, 2, ERR_UNSUPPORTED },
    { "more entries than it says", "{\"id\":\"0000000000000001\",\"purge\":true}\n{\"id\":\"0000000000000002\",\"purge\":true}\n", 1, 1, ERR_SYNTAX },
    { "fewer entries than it says", "{\"id\":\"0000000000000001\",\"purge\":true}\n{}\n{}", 3, 1, ERR_SYNTAX },
    { "an impossible number of entries", "{\"id\":\"0000000000000001\",\"purge\":true}\n", 4000000000u, 1, ERR_SYNTAX },
    { "no entry", "", 0, 1, ERR_SYNTAX },
    { "an id that is none", "{\"id\":\"1\",\"purge\":true,\"padding\":1}\n", 1, 1, ERR_SYNTAX },
    { "neither records nor purge", "{\"id\":\"0000000000000001\",\"topic\":\"t\"}\n", 1, 1, ERR_SYNTAX },
    { "no records", "{\"id\":\"0000000000000001\",\"topic\":\"t\",\"records\":[]}\n", 1, 1, ERR_SYNTAX },
    { "a record for nobody", "{\"id\":\"0000000000000001\",\"topic\":\"t\",\"records\":[{\"outputs\":[],\"lines\":\"m v=1\\n\"}]}\n", 1, 1, ERR_SYNTAX },
    { "an output that is a number", "{\"id\":\"0000000000000001\",\"topic\":\"t\",\"records\":[{\"outputs\":[1],\"lines\":\"m v=1\\n\"}]}\n", 1, 1, ERR_SYNTAX },
    { "a line without its end", "{\"id\":\"0000000000000001\",\"topic\":\"t\",\"records\":[{\"outputs\":[\"a\"],\"lines\":\"m v=1\"}]}\n", 1, 1, ERR_SYNTAX },
    { "no lines", "{\"id\":\"0000000000000001\",\"topic\":\"t\",\"records\":[{\"outputs\":[\"a\"],\"lines\":\"\"}]}\n", 1, 1, ERR_SYNTAX },
    { "a list", "[\"0000000000000001 and some more\"]\n", 1, 1, ERR_SYNTAX },
};

static void refuses_row(void **state) {
    const struct bad_row *row = *state;
    struct buf text = BUF_INIT(1 << 16);
    struct inbox_request request = { 0 };
    struct err err = ERR_INIT;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    buf_printf(&text, "{\"heliograf_inbox\":%u,\"entries\":%u,\"bytes\":%zu,\"crc32c\":\"%08x\"}\n%s", row->version, row->entries,
               strlen(row->body), (unsigned)crc32c(0, row->body, strlen(row->body)), row->body);
    assert_false(inbox_decode(buf_str(&text), &arena, &request, &err));
    assert_int_equal(err.code, row->code);
    assert_int_equal(request.count, 0);
    buf_release(&text);
    arena_release(&arena);
}

static void foreign_files_and_pipes_are_left_alone(void **state) {
    const char *const foreign[] = { "notes.txt", ".hidden.jsonl", "x.jsonl.bad", "x.bad" };
    struct inbox_names names = { 0 };
    char path[256];

    (void)state;
    assert_int_equal(files(&names), 0); /* no folder yet */
    struct buf text = sample();
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        snprintf(path, sizeof path, "%s/inbox/%s", directory, foreign[i]);
        fclose(fopen(path, "w"));
    }
    snprintf(path, sizeof path, "%s/inbox/pipe.jsonl", directory);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/inbox/folder.jsonl", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(files(&names), 1);
    assert_true(inbox_set_aside(directory, names.items[0], NULL));
    assert_int_equal(files(&names), 0);
    assert_int_equal(entries_in_folder(), 6);
    inbox_names_release(&names);
    buf_release(&text);
}

/* A limit on file size stands for a full disk. */
static void a_full_disk_hands_nothing_over_and_says_so(void **state) {
    struct rlimit before, low = { 1000, 1000 };
    struct inbox_names names = { 0 };
    struct inbox_writer writer;
    struct err err = ERR_INIT;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low.rlim_max = before.rlim_max;
    open_inbox(&writer);
    for (uint64_t i = 0; i < 100; i++)
        add(&writer, i, 1, STR("m v=1 1\n"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_false(inbox_finish(&writer, &err));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(err.text, directory));
    assert_int_equal(writer.handed_over, 0);
    assert_int_equal(files(&names), 0);
    assert_int_equal(entries_in_folder(), 0);
    assert_true(inbox_finish(&writer, NULL)); /* once there is room */
    assert_int_equal(writer.handed_over, 100);
    inbox_close(&writer);
    inbox_names_release(&names);
}

static void what_a_cut_off_command_left_is_removed(void **state) {
    struct inbox_writer writer;
    char path[256];

    (void)state;
    open_inbox(&writer);
    inbox_close(&writer);
    snprintf(path, sizeof path, "%s/inbox/00000000000000000001-1.tmp", directory);
    fclose(fopen(path, "w"));
    assert_int_equal(entries_in_folder(), 1);
    open_inbox(&writer);
    inbox_close(&writer);
    assert_int_equal(entries_in_folder(), 0);
}

static void no_directory_of_letters_is_an_error(void **state) {
    struct inbox_writer writer;
    struct err err = ERR_INIT;

    (void)state;
    assert_false(inbox_open(&writer, "/nonexistent/letters", &err));
    assert_non_null(strstr(err.text, "/nonexistent/letters"));
    inbox_close(&writer);
}

static void *enter(void *entered) {
    struct inbox_writer writer;

    open_inbox(&writer);
    atomic_store((atomic_bool *)entered, true);
    inbox_close(&writer);
    return NULL;
}

static void one_command_at_a_time(void **state) {
    atomic_bool entered = false;
    struct inbox_writer writer;
    pthread_t thread;

    (void)state;
    open_inbox(&writer);
    assert_int_equal(pthread_create(&thread, NULL, enter, &entered), 0);
    nanosleep(&(struct timespec){ 0, 50 * NS_PER_MS }, NULL);
    assert_false(atomic_load(&entered));
    inbox_close(&writer);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&entered));
}

static struct prefix_row {
    const char *name, *text;
    bool ok;
    uint64_t first, last;
} prefixes[] = {
    { "a whole id", "00f3a2c17b9e4d5a", true, 0x00f3a2c17b9e4d5a, 0x00f3a2c17b9e4d5a },
    { "four digits", "ABcd", true, 0xabcd000000000000, 0xabcdffffffffffff },
    { "three digits are too few", "abc", false, 0, 0 },
    { "seventeen are too many", "00f3a2c17b9e4d5a0", false, 0, 0 },
    { "other letters", "abcg", false, 0, 0 },
    { "nothing", "", false, 0, 0 },
};

static void reads_prefix(void **state) {
    const struct prefix_row *row = *state;
    uint64_t first = 0, last = 0;

    assert_int_equal(letter_id_parse_prefix(str_of(row->text), &first, &last), row->ok);
    assert_true(first == row->first && last == row->last);
}

#define ROWS(table)        (sizeof(table) / sizeof(table)[0])
#define in_place(function) cmocka_unit_test_setup_teardown(function, make_directory, remove_directory)

int main(void) {
    const struct CMUnitTest plain[] = {
        in_place(what_is_handed_over_comes_back),
        in_place(much_becomes_several_files_in_order),
        in_place(a_cut_or_changed_file_is_refused_whole),
        in_place(foreign_files_and_pipes_are_left_alone),
        in_place(a_full_disk_hands_nothing_over_and_says_so),
        in_place(what_a_cut_off_command_left_is_removed),
        in_place(one_command_at_a_time),
        cmocka_unit_test(no_directory_of_letters_is_an_error),
    };
    struct CMUnitTest tests[ROWS(plain) + ROWS(bads) + ROWS(prefixes)];
    size_t count = ROWS(plain);

    memcpy(tests, plain, sizeof plain);
    for (size_t i = 0; i < ROWS(bads); i++)
        tests[count++] = (struct CMUnitTest){ bads[i].name, refuses_row, NULL, NULL, &bads[i] };
    for (size_t i = 0; i < ROWS(prefixes); i++)
        tests[count++] = (struct CMUnitTest){ prefixes[i].name, reads_prefix, NULL, NULL, &prefixes[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
