/*
 * agent/broker/store_salvage.c: a damaged database: its whole rows go into a new one, the old one is kept under another name, and the new one takes its
 * place. In steps that a crash may end anywhere: the new one is complete and synced before the old one's name changes, so whoever finds no
 * database and a new one has only to rename that.
 */
#include "agent/broker/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/broker/store_carve.h"

#define DATABASE_NEW DATABASE_NAME ".new"

static int open_file(const struct store *store, const char *name, int flags) {
    return file_open(store->ops, store->directory, name, flags);
}

static void close_file(const struct store *store, int file) {
    if (file >= 0)
        store->ops->close(store->ops->ctx, file);
}

static bool exists(const struct store *store, const char *name) {
    int file = open_file(store, name, O_RDONLY);

    close_file(store, file);
    return file >= 0;
}

static bool rename_file(struct store *store, const char *from, const char *to, struct err *err) {
    int error = store->ops->rename(store->ops->ctx, store->directory, from, to);

    if (error == 0)
        error = store->ops->sync_directory(store->ops->ctx, store->directory);
    return error == 0 || err_set_errno(err, -error, "cannot rename %s/%s to %s", store->directory_path, from, to);
}

/* ---- the old one --------------------------------------------------------------------------------------------------- */

/* A name that nobody has; its log gets the same with -wal, so that SQLite finds them together. */
static void name_aside(const struct store *store, char *name, size_t size) {
    char when[32];
    time_t now = (time_t)(clock_real_ns() / NS_PER_S);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(name, size, DATABASE_NAME ".damaged-%s", when);
    for (unsigned i = 2; exists(store, name) && i < 1000; i++)
        snprintf(name, size, DATABASE_NAME ".damaged-%s-%u", when, i);
}

static bool move_log(struct store *store, const char *name, struct err *err) {
    char log[96];

    snprintf(log, sizeof log, "%s-wal", name);
    return !exists(store, DATABASE_WAL) || rename_file(store, DATABASE_WAL, log, err);
}

bool store_finish_salvage(struct store *store, struct err *err) {
    char name[80];

    if (!exists(store, DATABASE_NEW))
        return true;
    if (exists(store, DATABASE_NAME)) { /* it was not complete */
        int error = store->ops->unlink(store->ops->ctx, store->directory, DATABASE_NEW);
        return error == 0 || err_set_errno(err, -error, "cannot remove %s.new", store->path);
    }
    name_aside(store, name, sizeof name);
    return move_log(store, name, err) && rename_file(store, DATABASE_NEW, DATABASE_NAME, err);
}

/* ---- the new one --------------------------------------------------------------------------------------------------- */

struct salvage {
    struct database *to;
    uint64_t rows;
    struct err *err;
};

static bool put_row(void *ctx, const struct row *row) {
    struct salvage *salvage = ctx;

    salvage->rows++;
    return database_put(salvage->to, row, salvage->err);
}

static bool fill(struct store *store, struct salvage *salvage) {
    struct carve carve = { store->ops, open_file(store, DATABASE_NAME, O_RDONLY), open_file(store, DATABASE_WAL, O_RDONLY) };
    uint32_t identity;
    bool fine = carve_rows(&carve, put_row, salvage, &identity);

    close_file(store, carve.database);
    close_file(store, carve.wal);
    return fine || err_set(salvage->err, ERR_LIMIT, "no memory for what can be read of %s", store->path); /* unless it was said already */
}

static bool write_new(struct store *store, uint64_t *rows, struct err *err) {
    char path[STORE_PATH_SIZE + 8];
    const struct database_options options = { .path = path, .vfs = store->options.vfs, .sync = true, .temporary = true };
    enum database_fault fault;
    struct salvage salvage = { .err = err };
    int file = open_file(store, DATABASE_NEW, O_RDWR | O_CREAT); /* for its mode */
    bool fine;

    if (file < 0)
        return err_set_errno(err, -file, "cannot make %s.new", store->path);
    close_file(store, file);
    snprintf(path, sizeof path, "%s.new", store->path);
    salvage.to = database_open(&options, &fault, err);
    if (salvage.to == NULL)
        return false;
    fine = database_begin(salvage.to, err) && fill(store, &salvage) && database_commit(salvage.to, err);
    *rows = salvage.rows;
    if (!fine)
        database_rollback(salvage.to);
    return database_close(salvage.to, fine ? err : NULL) && fine;
}

bool store_salvage(struct store *store, struct store_recovery *recovery, struct err *err) {
    char name[80];

    if (!write_new(store, &recovery->salvaged, err))
        return false;
    name_aside(store, name, sizeof name);
    if (!rename_file(store, DATABASE_NAME, name, err) || !move_log(store, name, err) || !rename_file(store, DATABASE_NEW, DATABASE_NAME, err))
        return false;
    snprintf(recovery->set_aside, sizeof recovery->set_aside, "%s/%s", store->directory_path, name);
    recovery->damaged = true;
    return true;
}

bool store_is_log_broken(struct store *store) {
    const struct carve carve = { store->ops, open_file(store, DATABASE_NAME, O_RDONLY), open_file(store, DATABASE_WAL, O_RDONLY) };
    bool broken = store->options.sync && carve_is_wal_broken(&carve);

    close_file(store, carve.database);
    close_file(store, carve.wal);
    return broken;
}
