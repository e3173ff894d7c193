/* tests/unit/test_fs.c: whole files: read to their end whatever their size, and replaced so that the old or the new one is there. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/fs.h"

static char directory[64], path[80], other[80];

static int make_directory(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_fs.XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/file", directory);
    snprintf(other, sizeof other, "%s/other", directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(directory); /* fails when something was left behind */
}

static void write_bytes(const char *to, size_t len) {
    FILE *file = fopen(to, "w");

    assert_non_null(file);
    for (size_t i = 0; i < len; i++)
        fputc('a' + (int)(i % 26), file);
    assert_int_equal(fclose(file), 0);
}

static void assert_holds(const char *of, const char *want) {
    struct buf text = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;

    assert_true(fs_read_file(of, &text, &err));
    assert_string_equal(buf_cstr(&text), want);
    buf_release(&text);
}

static struct size_row {
    const char *name;
    size_t size, max;
    bool ok;
} sizes[] = {
    { "an empty file", 0, 10, true },
    { "an empty file, and no room", 0, 0, true },
    { "one byte, and no room", 1, 0, false },
    { "exactly the maximum", 1000, 1000, true },
    { "one byte too many", 1001, 1000, false },
    { "less than the maximum", 999, 1000, true },
    { "several reads", 300000, 1 << 20, true },
};

static void reads_row(void **state) {
    const struct size_row *row = *state;
    struct buf text = BUF_INIT(row->max);
    struct err err = ERR_INIT;

    write_bytes(path, row->size);
    assert_int_equal(fs_read_file(path, &text, &err), row->ok);
    if (row->ok) {
        assert_int_equal(text.len, row->size);
        for (size_t i = 0; i < row->size; i++)
            assert_int_equal(text.data[i], 'a' + (int)(i % 26));
    } else {
        assert_non_null(strstr(err.text, "is larger than"));
    }
    buf_release(&text);
}

/* A pipe has no size, and gives what it has in pieces. */
static void reads_a_pipe(void **state) {
    struct buf text = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;
    FILE *from = popen("printf one; sleep 0.05; printf two", "r");

    (void)state;
    assert_non_null(from);
    assert_true(fs_read_fd(fileno(from), "pipe", &text, &err));
    assert_string_equal(buf_cstr(&text), "onetwo");
    pclose(from);
    buf_release(&text);
}

static void appends_to_what_is_there(void **state) {
    struct buf text = BUF_INIT(100);
    struct err err = ERR_INIT;

    (void)state;
    write_bytes(path, 3);
    buf_append_c(&text, "x:");
    assert_true(fs_read_file(path, &text, &err));
    assert_string_equal(buf_cstr(&text), "x:abc");
    buf_release(&text);
}

static void a_new_file_is_for_its_owner_only(void **state) {
    struct err err = ERR_INIT;
    struct stat info;
    mode_t usual = umask(0);

    (void)state;
    assert_true(fs_replace_file(path, STR("new\n"), &err));
    umask(usual);
    assert_holds(path, "new\n");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

static void owner_and_permissions_stay(void **state) {
    struct err err = ERR_INIT;
    struct stat before, after;

    (void)state;
    write_bytes(path, 100);
    assert_int_equal(chmod(path, 0640), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(path, 12345, 54321), 0);
    assert_int_equal(stat(path, &before), 0);
    assert_true(fs_replace_file(path, STR("new\n"), &err));
    assert_holds(path, "new\n");
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mode, before.st_mode);
    assert_int_equal(after.st_uid, before.st_uid);
    assert_int_equal(after.st_gid, before.st_gid);
    assert_int_not_equal(after.st_ino, before.st_ino);
}

static void who_had_the_old_one_open_still_has_it(void **state) {
    struct err err = ERR_INIT;
    char byte = 0;
    int fd;

    (void)state;
    write_bytes(path, 1);
    fd = open(path, O_RDONLY);
    assert_true(fs_replace_file(path, STR("new\n"), &err));
    assert_int_equal(read(fd, &byte, 1), 1);
    assert_int_equal(byte, 'a');
    close(fd);
}

static void a_link_is_replaced_and_its_target_is_not(void **state) {
    struct err err = ERR_INIT;
    struct stat info;

    (void)state;
    write_bytes(other, 3);
    assert_int_equal(symlink(other, path), 0);
    assert_true(fs_replace_file(path, STR("new\n"), &err));
    assert_holds(path, "new\n");
    assert_holds(other, "abc");
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
}

/* Only root can change owners, so this one needs somebody else: it is done in a child that has stopped being root. */
static void a_foreign_owner_cannot_be_kept(void **state) {
    pid_t child;
    int status;

    (void)state;
    if (geteuid() != 0)
        skip();
    write_bytes(path, 3);
    assert_int_equal(chown(path, 12345, 12345), 0);
    assert_int_equal(chmod(directory, 0777), 0);
    child = fork();
    if (child == 0) {
        struct err err = ERR_INIT;
        bool refused = setgid(54321) == 0 && setuid(54321) == 0 && !fs_replace_file(path, STR("new\n"), &err) &&
                       strstr(err.text, "cannot keep the owner") != NULL;
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_holds(path, "abc");
}

static void a_directory_that_is_not_there(void **state) {
    struct err err = ERR_INIT;

    (void)state;
    assert_false(fs_replace_file("/nowhere/file", STR("new\n"), &err));
    assert_non_null(strstr(err.text, "cannot make a new file beside /nowhere/file: No such file"));
}

static void a_name_without_a_directory(void **state) {
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(chdir(directory), 0);
    assert_true(fs_replace_file("file", STR("new\n"), &err));
    assert_int_equal(chdir("/"), 0);
    assert_holds(path, "new\n");
}

/* The old file stays, and nothing beside it. */
static void a_full_disk_changes_nothing(void **state) {
    pid_t child;
    int status;

    (void)state;
    write_bytes(path, 3);
    child = fork();
    if (child == 0) {
        const struct rlimit none = { 2, 2 };
        struct err err = ERR_INIT;
        signal(SIGXFSZ, SIG_IGN);
        bool refused = setrlimit(RLIMIT_FSIZE, &none) == 0 && !fs_replace_file(path, STR("new\n"), &err) &&
                       strstr(err.text, "cannot write the new") != NULL;
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_holds(path, "abc");
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

int main(void) {
    static struct CMUnitTest tests[COUNT(sizes) + 20];
    static void (*const more[])(void **) = {
        reads_a_pipe, appends_to_what_is_there, a_new_file_is_for_its_owner_only, owner_and_permissions_stay,
        who_had_the_old_one_open_still_has_it, a_link_is_replaced_and_its_target_is_not, a_foreign_owner_cannot_be_kept,
        a_directory_that_is_not_there, a_name_without_a_directory, a_full_disk_changes_nothing,
    };
    static const char *const names[] = {
        "reads a pipe", "appends to what is there", "a new file is for its owner only", "owner and permissions stay",
        "who had the old one open still has it", "a link is replaced and its target is not", "a foreign owner cannot be kept",
        "a directory that is not there", "a name without a directory", "a full disk changes nothing",
    };
    size_t count = 0;

    for (size_t i = 0; i < COUNT(sizes); i++)
        tests[count++] = (struct CMUnitTest){ sizes[i].name, reads_row, make_directory, remove_directory, &sizes[i] };
    for (size_t i = 0; i < COUNT(more); i++)
        tests[count++] = (struct CMUnitTest){ names[i], more[i], make_directory, remove_directory, NULL };
    return _cmocka_run_group_tests("fs", tests, count, NULL, NULL);
}
