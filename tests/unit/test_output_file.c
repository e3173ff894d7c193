/* tests/unit/test_output_file.c: lines into files: never half a line, never one twice, never one lost. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fs.h"
#include "outputs/output.h"
#include "outputs/rotate.h"
#include "tests/support/options.h"

extern const struct output_type output_file;

#define LINES "m,d=a v=1 1\nm,d=b v=2 2\nm,d=c v=3 3\n"
#define MORE  "n v=4 4\n"

static const uint32_t ends[] = { 12, 24, 36 };
static const struct request lines = { STR_INIT(LINES), 3, ends, STR_INIT("") };
static const uint32_t more_end[] = { sizeof MORE - 1 };
static const struct request more = { STR_INIT(MORE), 1, more_end, STR_INIT("") };

struct fixture {
    char directory[64], paths[2][96];
    char *files[2];
    void *output, *connection;
    atomic_bool cancel;
    struct reply reply;
};

static void begin_with(struct fixture *f, size_t count) {
    memset(f, 0, sizeof *f);
    strcpy(f->directory, "/tmp/heliograf-file-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->output = output_new(&output_file);
    for (size_t i = 0; i < 2; i++) {
        snprintf(f->paths[i], sizeof f->paths[i], "%s/metrics%zu.out", f->directory, i);
        f->files[i] = f->paths[i];
    }
    option_strings(output_file.options, f->output, "files", f->files, count);
    option_integer(output_file.options, f->output, "rotation_max_archives", 5);
    option_bool(output_file.options, f->output, "sync", true);
    reply_init(&f->reply);
}

static void open_it(struct fixture *f) {
    assert_true(output_file.init(f->output, NULL));
    f->connection = output_file.open(f->output, &f->cancel, NULL);
    assert_non_null(f->connection);
}

static void begin(struct fixture *f) {
    begin_with(f, 1);
    open_it(f);
}

static void end(struct fixture *f) {
    char path[400];
    struct dirent *entry;
    DIR *directory = opendir(f->directory);

    output_file.close(f->output, f->connection);
    output_free(&output_file, f->output);
    reply_release(&f->reply);
    while ((entry = readdir(directory)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", f->directory, entry->d_name);
        unlink(path);
    }
    closedir(directory);
    rmdir(f->directory);
}

static enum outcome put(struct fixture *f, const struct request *request) {
    output_file.send(f->output, f->connection, request, &f->reply);
    return f->reply.outcome;
}

static void holds(const char *path, const char *wanted) {
    struct buf text = BUF_INIT(1 << 20);

    assert_true(fs_read_file(path, &text, NULL));
    assert_string_equal(buf_cstr(&text), wanted);
    buf_release(&text);
}

static unsigned archives(const struct fixture *f) {
    DIR *directory = opendir(f->directory);
    struct dirent *entry;
    unsigned count = 0;

    while ((entry = readdir(directory)) != NULL)
        count += strncmp(entry->d_name, "metrics0.2", 10) == 0;
    closedir(directory);
    return count;
}

static void appends(void **state) {
    struct fixture f;

    (void)state;
    begin(&f);
    assert_int_equal(put(&f, &lines), DELIVERED);
    assert_int_equal(put(&f, &more), DELIVERED);
    assert_int_equal(put(&f, &more), DELIVERED); /* the same bytes again are a new batch */
    holds(f.paths[0], LINES MORE MORE);
    assert_int_equal(f.reply.wire_bytes, sizeof MORE - 1);
    end(&f);
}

/* The system's own way to make a write end early: the file may not grow past `bytes`. */
static void limit_files(rlim_t bytes) {
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_short_write_goes_on_where_it_stopped(void **state) {
    struct fixture f;

    (void)state;
    for (rlim_t room = 0; room <= sizeof LINES - 1; room++) {
        begin(&f);
        limit_files(room);
        enum outcome first = put(&f, &lines);
        limit_files(RLIM_INFINITY);
        assert_int_equal(first, room < sizeof LINES - 1 ? RETRY_LATER : DELIVERED);
        if (first == RETRY_LATER) {
            assert_non_null(strstr(f.reply.reason, "cannot write to"));
            assert_int_equal(put(&f, &lines), DELIVERED);
        }
        holds(f.paths[0], LINES);
        end(&f);
    }
}

static void other_bytes_come_after_a_whole_line(void **state) {
    struct fixture f;
    char wanted[128];

    (void)state;
    for (rlim_t room = 0; room < sizeof LINES - 1; room++) {
        size_t whole = (room + 11) / 12 * 12; /* the line that was begun is finished, the others are not */
        begin(&f);
        limit_files(room);
        assert_int_equal(put(&f, &lines), RETRY_LATER);
        limit_files(RLIM_INFINITY);
        assert_int_equal(put(&f, &more), DELIVERED);
        snprintf(wanted, sizeof wanted, "%.*s%s", (int)whole, LINES, MORE);
        holds(f.paths[0], wanted);
        end(&f);
    }
}

static void a_file_that_failed_does_not_repeat_the_other(void **state) {
    struct fixture f;

    (void)state;
    begin_with(&f, 2);
    assert_int_equal(mkdir(f.paths[1], 0755), 0); /* a directory cannot be written to */
    open_it(&f);
    assert_int_equal(put(&f, &lines), RETRY_LATER);
    assert_int_equal(put(&f, &lines), RETRY_LATER);
    assert_int_equal(rmdir(f.paths[1]), 0);
    assert_int_equal(put(&f, &lines), DELIVERED);
    assert_int_equal(put(&f, &lines), DELIVERED);
    holds(f.paths[0], LINES LINES);
    holds(f.paths[1], LINES LINES);
    end(&f);
}

static void half_a_line_of_a_crash_stays_alone(void **state) {
    struct fixture f;
    FILE *file;

    (void)state;
    begin(&f);
    file = fopen(f.paths[0], "w");
    fputs("m,d=x v=1", file);
    fclose(file);
    assert_int_equal(put(&f, &more), DELIVERED);
    holds(f.paths[0], "m,d=x v=1\n" MORE);
    end(&f);
}

static void a_file_that_was_moved_is_made_again(void **state) {
    struct fixture f;
    char moved[128];

    (void)state;
    begin(&f);
    assert_int_equal(put(&f, &lines), DELIVERED);
    snprintf(moved, sizeof moved, "%s.1", f.paths[0]);
    assert_int_equal(rename(f.paths[0], moved), 0);
    assert_int_equal(put(&f, &more), DELIVERED);
    holds(f.paths[0], MORE);
    holds(moved, LINES);
    end(&f);
}

static void half_a_line_begins_anew_in_a_new_file(void **state) {
    struct fixture f;
    char moved[128];

    (void)state;
    begin(&f);
    limit_files(17); /* in the middle of the second line */
    assert_int_equal(put(&f, &lines), RETRY_LATER);
    limit_files(RLIM_INFINITY);
    snprintf(moved, sizeof moved, "%s.1", f.paths[0]);
    assert_int_equal(rename(f.paths[0], moved), 0);
    assert_int_equal(put(&f, &lines), DELIVERED);
    holds(f.paths[0], "m,d=b v=2 2\nm,d=c v=3 3\n");
    end(&f);
}

static void a_directory_that_is_missing_is_told(void **state) {
    struct fixture f;

    (void)state;
    begin_with(&f, 1);
    strcpy(f.paths[0], "/tmp/heliograf-nowhere/metrics.out");
    open_it(&f);
    assert_int_equal(put(&f, &lines), RETRY_LATER);
    assert_non_null(strstr(f.reply.reason, "cannot open /tmp/heliograf-nowhere/metrics.out: No such file"));
    end(&f);
}

static int64_t fake_now_ns;

static int64_t fake_now(void) {
    return fake_now_ns;
}

static void a_full_file_is_archived_and_old_archives_go(void **state) {
    struct fixture f;

    (void)state;
    begin_with(&f, 1);
    option_size(output_file.options, f.output, "rotation_max_size", 40);
    option_integer(output_file.options, f.output, "rotation_max_archives", 2);
    open_it(&f);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(put(&f, &lines), DELIVERED);
        assert_int_equal(archives(&f), i < 2 ? i : 2);
    }
    holds(f.paths[0], LINES);
    end(&f);
}

static void an_old_file_is_archived(void **state) {
    struct fixture f;
    char archive[128];

    (void)state;
    fake_now_ns = 1795384800LL * NS_PER_S; /* 2026-11-22T22:00:00Z */
    clock_override(fake_now, NULL);
    begin_with(&f, 1);
    option_duration(output_file.options, f.output, "rotation_interval", 60 * NS_PER_S);
    open_it(&f);
    assert_int_equal(put(&f, &lines), DELIVERED);
    fake_now_ns += 59 * NS_PER_S;
    assert_int_equal(put(&f, &lines), DELIVERED);
    fake_now_ns += 1 * NS_PER_S;
    assert_int_equal(put(&f, &more), DELIVERED);
    clock_override(NULL, NULL);
    holds(f.paths[0], MORE);
    snprintf(archive, sizeof archive, "%s/metrics0.2026-11-22-1795384860.out", f.directory);
    holds(archive, LINES LINES);
    end(&f);
}

static void purging_touches_archives_only(void **state) {
    static const char *const others[] = { "metrics0.out.bak", "metrics0.2026-11-22.out", "metrics0.2026-11-22-x1.out",
                                          "other.2026-11-22-1795384860.out" };
    char path[160];
    struct fixture f;

    (void)state;
    begin(&f);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", f.directory, others[i]);
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    snprintf(path, sizeof path, "%s/metrics0.2026-11-22-1795384860.out", f.directory);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_true(rotate_purge(f.paths[0], -1, NULL));
    assert_int_equal(access(path, F_OK), 0);
    assert_true(rotate_purge(f.paths[0], 0, NULL));
    assert_int_not_equal(access(path, F_OK), 0);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", f.directory, others[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
    end(&f);
}

static void an_archive_is_never_replaced(void **state) {
    struct fixture f;
    char first[160], second[160];

    (void)state;
    begin(&f);
    assert_int_equal(put(&f, &lines), DELIVERED);
    assert_true(rotate_file(f.paths[0], 1795384800LL * NS_PER_S, NULL));
    assert_int_equal(put(&f, &more), DELIVERED);
    assert_true(rotate_file(f.paths[0], 1795384800LL * NS_PER_S, NULL));
    snprintf(first, sizeof first, "%s/metrics0.2026-11-22-1795384800.out", f.directory);
    snprintf(second, sizeof second, "%s/metrics0.2026-11-22-1795384801.out", f.directory);
    holds(first, LINES);
    holds(second, MORE);
    end(&f);
}

struct reader {
    const char *path;
    struct buf text;
};

static void *read_all(void *arg) {
    struct reader *reader = arg;

    fs_read_file(reader->path, &reader->text, NULL);
    return NULL;
}

static void a_pipe_takes_more_than_it_holds(void **state) {
    struct buf body = BUF_INIT(1 << 20);
    struct reader reader;
    struct fixture f;
    pthread_t thread;
    uint32_t end_of_line[1];

    (void)state;
    begin(&f);
    for (int i = 0; i < 20000; i++)
        buf_printf(&body, "m v=%d %d\n", i, i);
    end_of_line[0] = (uint32_t)body.len;
    assert_int_equal(mkfifo(f.paths[0], 0600), 0);
    const struct request request = { buf_str(&body), 1, end_of_line, STR_INIT("") };
    assert_int_equal(put(&f, &request), RETRY_LATER); /* nobody reads yet */
    reader = (struct reader){ f.paths[0], BUF_INIT(1 << 20) };
    pthread_create(&thread, NULL, read_all, &reader);
    while (put(&f, &request) != DELIVERED)
        ;
    output_file.close(f.output, f.connection);
    f.connection = NULL;
    pthread_join(thread, NULL);
    assert_int_equal(reader.text.len, body.len);
    assert_memory_equal(reader.text.data, body.data, body.len);
    buf_release(&reader.text);
    buf_release(&body);
    end(&f);
}

static void a_cancelled_write_to_a_full_pipe_ends(void **state) {
    static char big[1 << 20];
    const uint32_t big_end = sizeof big;
    const struct request request = { { big, sizeof big }, 1, &big_end, STR_INIT("") };
    struct fixture f;

    (void)state;
    begin(&f);
    memset(big, 'x', sizeof big);
    assert_int_equal(mkfifo(f.paths[0], 0600), 0);
    int reader = open(f.paths[0], O_RDONLY | O_NONBLOCK);
    atomic_store(&f.cancel, true);
    assert_int_equal(put(&f, &request), RETRY_LATER);
    close(reader);
    end(&f);
}

static void stdout_is_standard_output(void **state) {
    struct fixture f;
    char copy[128], name[] = "stdout";
    int kept, file;

    (void)state;
    begin_with(&f, 1);
    f.files[0] = name;
    open_it(&f);
    snprintf(copy, sizeof copy, "%s/copy", f.directory);
    fflush(stdout);
    kept = dup(STDOUT_FILENO);
    file = open(copy, O_CREAT | O_WRONLY, 0600);
    dup2(file, STDOUT_FILENO);
    enum outcome first = put(&f, &lines), second = put(&f, &more);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    close(file);
    assert_int_equal(first, DELIVERED);
    assert_int_equal(second, DELIVERED);
    holds(copy, LINES MORE);
    end(&f);
}

static void no_files_is_an_error(void **state) {
    struct fixture f;
    struct err err = ERR_INIT;

    (void)state;
    begin_with(&f, 0);
    assert_false(output_file.init(f.output, &err));
    assert_string_equal(err.text, "files is empty");
    f.connection = NULL;
    end(&f);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),
        cmocka_unit_test(a_short_write_goes_on_where_it_stopped),
        cmocka_unit_test(other_bytes_come_after_a_whole_line),
        cmocka_unit_test(a_file_that_failed_does_not_repeat_the_other),
        cmocka_unit_test(half_a_line_of_a_crash_stays_alone),
        cmocka_unit_test(a_file_that_was_moved_is_made_again),
        cmocka_unit_test(half_a_line_begins_anew_in_a_new_file),
        cmocka_unit_test(a_directory_that_is_missing_is_told),
        cmocka_unit_test(a_full_file_is_archived_and_old_archives_go),
        cmocka_unit_test(an_old_file_is_archived),
        cmocka_unit_test(purging_touches_archives_only),
        cmocka_unit_test(an_archive_is_never_replaced),
        cmocka_unit_test(a_pipe_takes_more_than_it_holds),
        cmocka_unit_test(a_cancelled_write_to_a_full_pipe_ends),
        cmocka_unit_test(stdout_is_standard_output),
        cmocka_unit_test(no_files_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
