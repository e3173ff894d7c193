/*
 * tests/unit/test_store_damage.c: a damaged database: what is whole in it is kept, the file is set aside and named, and the store starts. Damage is tried at
 * many places of the database and of its log; nothing that was not put ever comes out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "tests/support/store_fixture.h"

enum { MESSAGES = 400, LONG_EVERY = 40, SESSIONS = 10 };

struct file {
    char *bytes;
    size_t size;
};

/* A state as files: all in the database, or some of it in the log only. */
struct reference {
    struct file database, log;
    char *text; /* what is read from it */
    size_t lines;
};

static struct store_fixture fixture;
static struct reference in_database, in_log;

/* ---- files --------------------------------------------------------------------------------------------------------- */

static const char *path_of(const char *name) {
    static char path[400];

    snprintf(path, sizeof path, "%s/%s", fixture.directory, name);
    return path;
}

static struct file read_file(const char *name) {
    struct file file = { NULL, 0 };
    FILE *from = fopen(path_of(name), "rb");
    struct stat found;

    if (from == NULL)
        return file;
    assert_int_equal(fstat(fileno(from), &found), 0);
    file.size = (size_t)found.st_size;
    file.bytes = malloc(file.size + 1);
    assert_int_equal(fread(file.bytes, 1, file.size, from), file.size);
    fclose(from);
    return file;
}

static void write_file(const char *name, const void *bytes, size_t size) {
    FILE *to = fopen(path_of(name), "wb");

    assert_non_null(to);
    assert_int_equal(fwrite(bytes, 1, size, to), size);
    fclose(to);
}

static void clear_directory(void) {
    DIR *directory = opendir(fixture.directory);

    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.')
            remove(path_of(entry->d_name));
    closedir(directory);
}

static void lay_out(const struct reference *reference) {
    clear_directory();
    write_file("broker.db", reference->database.bytes, reference->database.size);
    if (reference->log.bytes != NULL)
        write_file("broker.db-wal", reference->log.bytes, reference->log.size);
}

/* ---- the reference ------------------------------------------------------------------------------------------------- */

static void put_messages(unsigned from, unsigned to) {
    static char long_text[9001];

    memset(long_text, 'y', sizeof long_text - 1);
    for (unsigned i = from; i < to; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "plant/%u", i);
        struct publication *publication = make_publication(topic, i % LONG_EVERY == 0 ? long_text : "21.5");
        store_put_publication(fixture.store, publication);
        const struct stored_delivery delivery = { .session = 1 + i % SESSIONS, .publication = publication->number, .qos = 1 };
        store_put_delivery(fixture.store, &delivery);
        if (i % 5 == 0)
            store_put_retained(fixture.store, publication->number);
        if (i % 7 == 0)
            store_put_delayed(fixture.store, publication->number, i);
        publication_unref(publication);
        if (i % 20 == 19)
            assert_true(fixture_write(&fixture));
    }
}

static void put_sessions(void) {
    const struct subscription_terms terms = { .qos = 1 };

    for (uint64_t i = 1; i <= SESSIONS; i++) {
        const struct stored_session session = { .number = i, .client_id = STR("client"), .user = STR("user"), .version = 4, .expiry_s = 5 };
        store_put_session(fixture.store, &session);
        for (int j = 0; j < 20; j++) {
            char filter[32];
            int len = snprintf(filter, sizeof filter, "plant/%d/+", j);
            store_put_subscription(fixture.store, i, str_make(filter, (size_t)len), &terms);
            store_put_received(fixture.store, i, (uint16_t)(j + 1));
        }
    }
}

static size_t count_lines(const char *text) {
    size_t count = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++)
        count++;
    return count;
}

static void take_reference(struct reference *reference, const struct file *database, const struct file *log) {
    *reference = (struct reference){ .database = *database, .log = *log };
    lay_out(reference);
    assert_true(fixture_open(&fixture));
    assert_false(fixture.recovery.damaged);
    reference->text = strdup(buf_cstr(&fixture.text));
    reference->lines = count_lines(reference->text);
    fixture_close(&fixture);
}

static int make_references(void **state) {
    struct file database, log, none = { NULL, 0 };

    (void)state;
    fixture_new(&fixture);
    assert_true(fixture_open(&fixture) && fixture_start(&fixture));
    put_sessions();
    put_messages(0, MESSAGES / 2);
    fixture_close(&fixture);
    assert_true(fixture_open(&fixture) && fixture_start(&fixture));
    put_messages(MESSAGES / 2, MESSAGES);
    database = read_file("broker.db"); /* as a crash leaves them */
    log = read_file("broker.db-wal");
    fixture_close(&fixture);
    assert_true(database.size > 0 && log.size > 100000);
    take_reference(&in_log, &database, &log);
    fixture_close(&fixture);
    lay_out(&in_log);
    assert_true(fixture_open(&fixture) && fixture_start(&fixture));
    fixture_close(&fixture);
    database = read_file("broker.db");
    take_reference(&in_database, &database, &none);
    assert_string_equal(in_database.text, in_log.text);
    return 0;
}

static int free_references(void **state) {
    (void)state;
    free(in_database.database.bytes);
    free(in_database.text);
    free(in_log.database.bytes);
    free(in_log.log.bytes);
    free(in_log.text);
    fixture_end(&fixture);
    return 0;
}

/* ---- opening what is damaged --------------------------------------------------------------------------------------- */

/* Lines of the reference that are gone; a line that it does not have is a failure. */
static size_t lost_lines(const struct reference *reference, const char *what) {
    const char *at = reference->text, *line = buf_cstr(&fixture.text);
    size_t found = 0;

    /* Both in the same order, so one pass will do. */
    while (*line != '\0') {
        size_t len = (size_t)(strchr(line, '\n') - line) + 1;
        while (*at != '\0' && strncmp(at, line, len) != 0)
            at = strchr(at, '\n') + 1;
        if (*at == '\0')
            fail_msg("%s: nobody has put: %.*s", what, (int)len, line);
        at += len;
        line += len;
        found++;
    }
    return reference->lines - found;
}

/* It is there, under the name that was given. */
static void expect_set_aside(const char *what) {
    struct stat found;

    if (fixture.recovery.damage[0] == '\0' || stat(fixture.recovery.set_aside, &found) != 0)
        fail_msg("%s: '%s' is kept as '%s'", what, fixture.recovery.damage, fixture.recovery.set_aside);
    assert_int_equal(found.st_mode & 0777, 0600);
}

/* Opens; returns the lines that are lost. The store works, and the next start finds nothing wrong. */
static size_t open_damaged(const struct reference *reference, const char *what) {
    struct store_recovery found;
    size_t lost;

    if (!fixture_open(&fixture))
        fail_msg("%s: %s", what, fixture.err.text);
    found = fixture.recovery;
    lost = lost_lines(reference, what);
    if (!fixture.recovery.damaged)
        return lost;
    expect_set_aside(what);
    assert_true(fixture_start(&fixture));
    put_sessions();
    assert_true(fixture_write(&fixture));
    fixture_close(&fixture);
    if (!fixture_open(&fixture))
        fail_msg("%s: again: %s", what, fixture.err.text);
    assert_false(fixture.recovery.damaged);
    assert_int_equal(fixture.recovery.sessions, SESSIONS);
    fixture.recovery = found;
    return lost;
}

/* ---- tests --------------------------------------------------------------------------------------------------------- */

static unsigned step_for_all(size_t size, unsigned places) {
    const char *scale = getenv("HELIOGRAF_SCALE");

    return (unsigned)(size / (scale != NULL && atof(scale) < 1 ? places / 8 : places)) | 1;
}

static void flipped_bytes_in_the_database(void **state) {
    enum { HEADER = 100, VERSION = 60, VERSION_END = 64, PAGE_LINES = 150 };
    unsigned damaged = 0, tried = 0, step = step_for_all(in_database.database.size, 800);
    size_t worst = 0;

    (void)state;
    for (size_t at = 0; at < in_database.database.size; at += at < HEADER ? 1 : step) {
        char what[64];
        snprintf(what, sizeof what, "byte %zu flipped", at);
        if (at >= VERSION && at < VERSION_END) /* a version of its own: refused, see test_store.c */
            continue;
        in_database.database.bytes[at] ^= 0x55;
        lay_out(&in_database);
        in_database.database.bytes[at] ^= 0x55;
        size_t lost = open_damaged(&in_database, what);
        if (!fixture.recovery.damaged && lost > 0)
            fail_msg("%s: %zu rows are lost and nobody says so", what, lost);
        if (lost > PAGE_LINES)
            fail_msg("%s: %zu of %zu rows are lost", what, lost, in_database.lines);
        worst = lost > worst ? lost : worst;
        damaged += fixture.recovery.damaged;
        tried++;
        fixture_close(&fixture);
    }
    print_message("             %u of %u places are damage; %zu of %zu rows lost at most\n", damaged, tried, worst, in_database.lines);
    assert_true(damaged > tried / 2);
}

/* What is lost without a word can only be what a power failure may have taken: the last group. */
static void flipped_bytes_in_the_log(void **state) {
    enum { LAST_GROUP = 50, PAGE_LINES = 150 };
    unsigned damaged = 0, tried = 0, step = step_for_all(in_log.log.size, 400);

    (void)state;
    for (size_t at = 0; at < in_log.log.size; at += at < 60 ? 1 : step) {
        char what[64];
        snprintf(what, sizeof what, "byte %zu of the log flipped", at);
        in_log.log.bytes[at] ^= 0x55;
        lay_out(&in_log);
        in_log.log.bytes[at] ^= 0x55;
        size_t lost = open_damaged(&in_log, what);
        if (!fixture.recovery.damaged && lost > LAST_GROUP)
            fail_msg("%s: %zu rows are lost and nobody says so", what, lost);
        if (lost > PAGE_LINES)
            fail_msg("%s: %zu of %zu rows are lost", what, lost, in_log.lines);
        damaged += fixture.recovery.damaged;
        tried++;
        fixture_close(&fixture);
    }
    print_message("             %u of %u places are damage\n", damaged, tried);
    assert_true(damaged > tried / 2);
}

/* Header and first frames are gone, and with them what names the log's other frames. */
static void the_beginning_of_the_log_overwritten(void **state) {
    static const struct {
        const char *name;
        size_t size;
        unsigned char filler;
    } rows[] = { { "64 bytes", 64, 0xa7 }, { "64 zeros", 64, 0 }, { "8 KiB", 8192, 0xa7 }, { "8 KiB of zeros", 8192, 0 } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *kept = malloc(rows[i].size);
        assert_non_null(kept);
        memcpy(kept, in_log.log.bytes, rows[i].size);
        for (size_t at = 0; at < rows[i].size; at++)
            in_log.log.bytes[at] = (char)(rows[i].filler == 0 ? 0 : rows[i].filler * (at + 1) + at / 7);
        lay_out(&in_log);
        memcpy(in_log.log.bytes, kept, rows[i].size);
        free(kept);
        size_t lost = open_damaged(&in_log, rows[i].name);
        if (!fixture.recovery.damaged)
            fail_msg("%s: %zu of %zu rows are lost and nobody says so", rows[i].name, lost, in_log.lines);
        if (lost > 300)
            fail_msg("%s: %zu of %zu rows are lost", rows[i].name, lost, in_log.lines);
        fixture_close(&fixture);
    }
}

static void truncated_files(void **state) {
    size_t size = in_database.database.size;

    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        char what[64];
        size_t keep = i == 0 ? 0 : i == 1 ? 50 : size * (i - 1) / 12 + i % 3;
        in_database.database.size = keep;
        lay_out(&in_database);
        in_database.database.size = size;
        snprintf(what, sizeof what, "%zu of %zu bytes", keep, size);
        size_t lost = open_damaged(&in_database, what);
        assert_true(fixture.recovery.damaged || keep == 0); /* an empty one may be new */
        assert_true(lost > 0);
        if (i >= 4)
            assert_true(lost < in_database.lines);
        fixture_close(&fixture);
    }
}

static void garbage(void **state) {
    static char bytes[40000];
    uint64_t random = 7;

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        for (size_t at = 0; at < sizeof bytes; at++) {
            random = random * 6364136223846793005 + 1442695040888963407;
            bytes[at] = (char)(i == 0 ? 0 : i == 1 ? 'x' : (int)(random >> 56));
        }
        if (i == 4)
            memcpy(bytes, in_database.database.bytes, 100);
        if (i == 5)
            memcpy(bytes, in_database.database.bytes, 4096);
        clear_directory();
        write_file("broker.db", bytes, sizeof bytes);
        write_file("broker.db-wal", bytes, sizeof bytes);
        assert_int_equal(open_damaged(&in_database, "garbage"), in_database.lines);
        assert_true(fixture.recovery.damaged);
        fixture_close(&fixture);
    }
}

static void a_database_of_somebody_else(void **state) {
    sqlite3 *db;

    (void)state;
    clear_directory();
    assert_int_equal(sqlite3_open(path_of("broker.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE session (name TEXT); INSERT INTO session VALUES ('x')", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(open_damaged(&in_database, "another's"), in_database.lines);
    assert_true(fixture.recovery.damaged);
    assert_non_null(strstr(fixture.recovery.damage, "other tables"));
    fixture_close(&fixture);
}

static void a_missing_log_is_an_older_state(void **state) {
    (void)state;
    lay_out(&in_log);
    assert_int_equal(remove(path_of("broker.db-wal")), 0);
    size_t lost = open_damaged(&in_log, "no log");
    assert_true(lost > 0 && lost < in_log.lines);
    assert_int_equal(fixture.recovery.sessions, SESSIONS);
    fixture_close(&fixture);
}

/* SQLite would throw the log away. */
static void a_missing_database_is_in_its_log_as_far_as_it_goes(void **state) {
    (void)state;
    lay_out(&in_log);
    assert_int_equal(remove(path_of("broker.db")), 0);
    assert_true(fixture_open(&fixture));
    assert_true(fixture.recovery.damaged);
    assert_true(fixture.recovery.publications > MESSAGES / 4);
    fixture_close(&fixture);
}

/* A crash between the steps of a salvage. */
static void a_salvage_goes_on_where_it_was_ended(void **state) {
    (void)state;
    lay_out(&in_log);
    write_file("broker.db.new", "half", 4); /* not complete: the old one is still there */
    assert_int_equal(open_damaged(&in_log, "an incomplete new one"), 0);
    assert_int_not_equal(access(path_of("broker.db.new"), F_OK), 0);
    fixture_close(&fixture);

    clear_directory(); /* complete: the old one has its other name already, and its log does not */
    write_file("broker.db.new", in_database.database.bytes, in_database.database.size);
    write_file("broker.db-wal", in_log.log.bytes, in_log.log.size);
    assert_int_equal(open_damaged(&in_database, "a complete new one"), 0);
    assert_int_not_equal(access(path_of("broker.db.new"), F_OK), 0);
    fixture_close(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bytes_in_the_database),
        cmocka_unit_test(flipped_bytes_in_the_log),
        cmocka_unit_test(the_beginning_of_the_log_overwritten),
        cmocka_unit_test(truncated_files),
        cmocka_unit_test(garbage),
        cmocka_unit_test(a_database_of_somebody_else),
        cmocka_unit_test(a_missing_log_is_an_older_state),
        cmocka_unit_test(a_missing_database_is_in_its_log_as_far_as_it_goes),
        cmocka_unit_test(a_salvage_goes_on_where_it_was_ended),
    };
    return cmocka_run_group_tests(tests, make_references, free_references);
}
