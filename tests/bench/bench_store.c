/*
 * tests/bench/bench_store.c: the broker's state on disk: what a change costs the loop, what becomes durable per second, how many bytes are
 * written for a message of 200 bytes, and how long a million takes to be read; beside a bare write + fdatasync and a plain SQLite loop on the same
 * disk. In the current directory's filesystem, or that of HELIOGRAF_BENCH_DIRECTORY. "disk" bytes are what reaches the block device (/proc/self/io).
 */
#define _XOPEN_SOURCE 700
#include <event2/event.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/broker/store.h"

enum { PAYLOAD = 200, WINDOW = 64 };

static char directory[512];

struct bench {
    struct store *store;
    struct loop *loop;
    uint64_t durable, outstanding_from;
    uint64_t publications, deliveries;
};

/* ---- the disk ------------------------------------------------------------------------------------------------------ */

static void remove_files(void) {
    static const char *const names[] = { "broker.db", "broker.db-wal", "plain.db", "plain.db-wal", "plain.db-shm", "bare" };
    char path[600];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
}

static void remove_directory(void) {
    remove_files();
    rmdir(directory);
}

struct written {
    double asked, disk; /* bytes: given to write(), and to the block device */
};

static struct written written_so_far(void) {
    struct written so_far = { 0, 0 };
    FILE *io = fopen("/proc/self/io", "r");
    char line[128];

    while (io != NULL && fgets(line, sizeof line, io) != NULL) {
        sscanf(line, "wchar: %lf", &so_far.asked);
        sscanf(line, "write_bytes: %lf", &so_far.disk);
    }
    if (io != NULL)
        fclose(io);
    return so_far;
}

static double seconds_since(int64_t began_ns) {
    return (double)(clock_mono_ns() - began_ns) / NS_PER_S;
}

/* ---- the store ----------------------------------------------------------------------------------------------------- */

static void on_durable(void *ctx, uint64_t ticket) {
    struct bench *bench = ctx;

    bench->durable = ticket;
}

static void count_publication(void *ctx, struct publication *publication) {
    struct bench *bench = ctx;

    bench->publications++;
    publication_unref(publication);
}

static void count_delivery(void *ctx, const struct stored_delivery *delivery) {
    struct bench *bench = ctx;

    bench->deliveries += delivery->number != 0;
}

static void ignore_session(void *ctx, const struct stored_session *session) {
    (void)ctx;
    (void)session;
}

static void open_store(struct bench *bench, int64_t *read_ns) {
    const struct store_options options = { .directory = directory, .sync = true };
    const struct store_reader reader = { .ctx = bench, .publication = count_publication, .session = ignore_session, .delivery = count_delivery };
    struct store_recovery found;
    struct err err = ERR_INIT;

    *bench = (struct bench){ .durable = 0 };
    bench->store = broker_store_open(&options, &reader, &found, &err);
    bench->loop = loop_new(&err);
    if (bench->store == NULL || bench->loop == NULL) {
        fprintf(stderr, "bench_store: %s\n", err.text);
        exit(1);
    }
    if (read_ns != NULL)
        *read_ns = found.duration_ns;
}

static void start_store(struct bench *bench) {
    struct err err = ERR_INIT;
    const struct stored_session session = { .number = 1, .client_id = STR("client"), .user = STR(""), .version = 5 };

    store_put_session(bench->store, &session);
    if (!store_start(bench->store, bench->loop, on_durable, bench, &err))
        exit(1);
}

static void close_store(struct bench *bench) {
    store_stop(bench->store, 60 * NS_PER_S);
    broker_store_close(bench->store);
    loop_free(bench->loop);
}

static void turn(struct bench *bench) {
    event_base_loop(loop_base(bench->loop), EVLOOP_NONBLOCK);
}

static void wait_for(struct bench *bench, uint64_t ticket) {
    while (bench->durable < ticket)
        event_base_loop(loop_base(bench->loop), EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
}

struct stored {
    uint64_t publication, delivery;
};

static struct publication *make_publication(void) {
    char payload[PAYLOAD];
    const struct publication_parts parts = { .topic = STR("plant/line-a/press-1/temperature"), .payload = { payload, sizeof payload },
                                             .client_id = STR("press-1"), .qos = 1, .published_ns = 1234567890123456789 };

    memset(payload, 'x', sizeof payload);
    return publication_new(&parts);
}

static struct stored put_message(struct bench *bench, struct publication *publication) {
    struct stored_delivery delivery = { .session = 1, .qos = 1 };
    struct stored stored;

    store_put_publication(bench->store, publication);
    delivery.publication = stored.publication = publication->number;
    stored.delivery = store_put_delivery(bench->store, &delivery);
    return stored;
}

static void delete_message(struct bench *bench, struct stored stored) {
    store_delete_delivery(bench->store, stored.delivery);
    store_delete_publication(bench->store, stored.publication);
}

/* ---- what a change costs the loop ---------------------------------------------------------------------------------- */

static void cost_on_the_loop(void) {
    enum { ROUND = 1000, ROUNDS = 1000 };
    static struct publication *publications[ROUND];
    static struct stored stored[ROUND];
    struct bench bench;
    int64_t began_ns, undone_ns = 0, put_ns = 0;

    open_store(&bench, NULL);
    for (int i = 0; i < ROUND; i++)
        publications[i] = make_publication();
    for (int round = 0; round < ROUNDS; round++) {
        began_ns = clock_mono_ns();
        for (int i = 0; i < ROUND; i++)
            stored[i] = put_message(&bench, publications[i]);
        put_ns += clock_mono_ns() - began_ns;
        began_ns = clock_mono_ns();
        for (int i = 0; i < ROUND; i++)
            delete_message(&bench, stored[i]);
        undone_ns += clock_mono_ns() - began_ns;
    }
    printf("store_put %.1f ns/change\n", (double)put_ns / (2.0 * ROUND * ROUNDS));
    printf("store_undo %.1f ns/change\n", (double)undone_ns / (2.0 * ROUND * ROUNDS));
    began_ns = clock_mono_ns();
    for (int i = 0; i < ROUND * ROUNDS; i++)
        delete_message(&bench, put_message(&bench, publications[0]));
    printf("store_put_and_undo_at_once %.1f ns/change\n", (double)(clock_mono_ns() - began_ns) / (4.0 * ROUND * ROUNDS));
    for (int i = 0; i < ROUND; i++)
        publication_unref(publications[i]);
    close_store(&bench);
    remove_files();
}

/* ---- what becomes durable ------------------------------------------------------------------------------------------ */

enum life { STAYS, GOES_AT_ONCE, GOES_LATER };

/* `per_round` messages per round of the loop; each goes `lag` messages after it came, if it does. */
static void durable(const char *name, enum life life, unsigned per_round, unsigned lag, unsigned count) {
    struct stored *stored = malloc(count * sizeof *stored);
    struct bench bench;
    int64_t began_ns;
    unsigned gone = 0;
    uint64_t round_tickets[WINDOW] = { 0 };
    double seconds;

    open_store(&bench, NULL);
    start_store(&bench);
    began_ns = clock_mono_ns();
    for (unsigned i = 0, round = 0; i < count; round++) {
        for (unsigned j = 0; j < per_round && i < count; j++, i++) {
            struct publication *publication = make_publication();
            stored[i] = put_message(&bench, publication);
            publication_unref(publication);
            if (life == GOES_AT_ONCE)
                delete_message(&bench, stored[i]);
            if (life == GOES_LATER && i >= lag)
                delete_message(&bench, stored[gone++]);
        }
        round_tickets[round % WINDOW] = store_ticket(bench.store);
        store_hand_over(bench.store);
        turn(&bench);
        wait_for(&bench, round_tickets[(round + 1) % WINDOW]); /* that many rounds may be on their way */
    }
    uint64_t last = store_ticket(bench.store);
    store_hand_over(bench.store);
    if (store_has_changes(bench.store))
        wait_for(&bench, last);
    seconds = seconds_since(began_ns);
    printf("store_durable_%s %.0f messages/s\n", name, count / seconds);
    close_store(&bench);
    remove_files();
    free(stored);
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

static void bytes_per_message(const char *name, unsigned per_group, unsigned lag, unsigned count) {
    struct stored *stored = malloc(count * sizeof *stored);
    struct bench bench;
    struct written before, after;
    unsigned gone = 0;

    open_store(&bench, NULL);
    start_store(&bench);
    before = written_so_far();
    for (unsigned i = 0; i < count + lag; i += per_group) {
        for (unsigned j = i; j < i + per_group; j++) {
            if (j < count) {
                struct publication *publication = make_publication();
                stored[j] = put_message(&bench, publication);
                publication_unref(publication);
            }
            if (j >= lag && gone < count)
                delete_message(&bench, stored[gone++]);
        }
        uint64_t ticket = store_ticket(bench.store);
        store_hand_over(bench.store);
        wait_for(&bench, ticket);
    }
    close_store(&bench);
    after = written_so_far();
    printf("store_written_per_message_%s %.0f bytes\n", name, (after.asked - before.asked) / count);
    printf("store_written_per_message_%s_disk %.0f bytes\n", name, (after.disk - before.disk) / count);
    remove_files();
    free(stored);
}

/* ---- references ---------------------------------------------------------------------------------------------------- */

static void bare_writes(unsigned per_group, unsigned count) {
    char path[600], *data = malloc(per_group * PAYLOAD);
    int file;
    int64_t began_ns;

    snprintf(path, sizeof path, "%s/bare", directory);
    file = open(path, O_RDWR | O_CREAT, 0600);
    memset(data, 'x', per_group * PAYLOAD);
    if (file < 0)
        exit(1);
    began_ns = clock_mono_ns();
    for (unsigned i = 0; i < count; i += per_group)
        if (write(file, data, per_group * PAYLOAD) != (ssize_t)(per_group * PAYLOAD) || fdatasync(file) != 0)
            exit(1);
    printf("bare_write_and_fdatasync_%u %.0f messages/s\n", per_group, count / seconds_since(began_ns));
    close(file);
    free(data);
    remove_files();
}

/* As one would write it: a table for publications and one for deliveries, WAL, synchronous=FULL. */
static void plain_sqlite(unsigned per_group, unsigned count) {
    char path[600], payload[PAYLOAD];
    sqlite3 *db;
    sqlite3_stmt *publication, *delivery;
    int64_t began_ns;
    struct written before;

    memset(payload, 'x', sizeof payload);
    snprintf(path, sizeof path, "%s/plain.db", directory);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE p (number INTEGER PRIMARY KEY, topic TEXT, payload BLOB);"
                     "CREATE TABLE d (session INTEGER, number INTEGER, publication INTEGER, state INTEGER, PRIMARY KEY (session, number)) WITHOUT ROWID",
                     NULL, NULL, NULL) != SQLITE_OK)
        exit(1);
    sqlite3_prepare_v2(db, "INSERT INTO p VALUES (?,?,?)", -1, &publication, NULL);
    sqlite3_prepare_v2(db, "INSERT INTO d VALUES (1,?,?,0)", -1, &delivery, NULL);
    before = written_so_far();
    began_ns = clock_mono_ns();
    for (unsigned i = 0; i < count; i++) {
        if (i % per_group == 0)
            sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
        sqlite3_bind_int64(publication, 1, i + 1);
        sqlite3_bind_text(publication, 2, "plant/line-a/press-1/temperature", -1, SQLITE_STATIC);
        sqlite3_bind_blob(publication, 3, payload, sizeof payload, SQLITE_STATIC);
        sqlite3_bind_int64(delivery, 1, i + 1);
        sqlite3_bind_int64(delivery, 2, i + 1);
        if (sqlite3_step(publication) != SQLITE_DONE || sqlite3_step(delivery) != SQLITE_DONE)
            exit(1);
        sqlite3_reset(publication);
        sqlite3_reset(delivery);
        if ((i + 1) % per_group == 0)
            sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    }
    printf("plain_sqlite_%u %.0f messages/s\n", per_group, count / seconds_since(began_ns));
    sqlite3_finalize(publication);
    sqlite3_finalize(delivery);
    sqlite3_close(db);
    printf("plain_sqlite_%u_written_per_message %.0f bytes\n", per_group, (written_so_far().asked - before.asked) / count);
    remove_files();
}

/* ---- the start ----------------------------------------------------------------------------------------------------- */

static void read_many(unsigned count) {
    struct bench bench;
    int64_t read_ns;

    open_store(&bench, NULL);
    start_store(&bench);
    for (unsigned i = 0; i < count; i++) {
        struct publication *publication = make_publication();
        put_message(&bench, publication);
        publication_unref(publication);
        if (i % 10000 == 9999 || i + 1 == count) {
            uint64_t ticket = store_ticket(bench.store);
            store_hand_over(bench.store);
            wait_for(&bench, ticket);
        }
    }
    close_store(&bench);
    open_store(&bench, &read_ns);
    if (bench.deliveries != count || bench.publications != count)
        exit(1);
    printf("store_read_%u %.2f s\n", count, (double)read_ns / NS_PER_S);
    close_store(&bench);
    remove_files();
}

int main(void) {
    const char *place = getenv("HELIOGRAF_BENCH_DIRECTORY");

    snprintf(directory, sizeof directory, "%s/bench-store-XXXXXX", place != NULL ? place : ".");
    if (mkdtemp(directory) == NULL) {
        perror("bench_store: a directory");
        return 1;
    }
    atexit(remove_directory);
    cost_on_the_loop();
    durable("put_1", STAYS, 1, 0, 50000);
    durable("put_10", STAYS, 10, 0, 200000);
    durable("put_100", STAYS, 100, 0, 500000);
    durable("put_and_delete_in_group_100", GOES_AT_ONCE, 100, 0, 1000000);
    durable("put_and_delete_later_100", GOES_LATER, 100, 10000, 500000);
    durable("put_and_delete_later_1000", GOES_LATER, 1000, 100000, 1000000);
    bare_writes(1, 20000);
    bare_writes(100, 500000);
    bare_writes(1000, 1000000);
    plain_sqlite(1, 20000);
    plain_sqlite(100, 500000);
    plain_sqlite(1000, 1000000);
    bytes_per_message("group_1_next", 1, 1, 10000);
    bytes_per_message("group_1_later", 1, 100, 10000);
    bytes_per_message("group_10_later", 10, 1000, 50000);
    bytes_per_message("group_100_later", 100, 10000, 200000);
    bytes_per_message("group_1000_later", 1000, 100000, 500000);
    read_many(1000000);
    return 0;
}
