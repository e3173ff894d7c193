/* agent/broker/store_open.c: the start of the store: its directory, its database, and what is done when that is damaged. */
#include "agent/broker/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool init_threads(struct store *store) {
    pthread_condattr_t monotonic;

    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->wake, &monotonic);
    pthread_cond_init(&store->done, &monotonic);
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_destroy(&monotonic);
    return true;
}

static struct store *new_store(const struct store_options *options) {
    struct store *store = calloc(1, sizeof *store);

    if (store == NULL)
        return NULL;
    store->options = *options;
    store->ops = &file_ops_system;
    store->directory = -1;
    if (!init_threads(store)) {
        free(store);
        return NULL;
    }
    group_init(&store->groups[0], sip_key_random());
    group_init(&store->groups[1], sip_key_random());
    store->open = &store->groups[0];
    store->other = &store->groups[1];
    store->ticket = store->next_number = 1;
    return store;
}

static bool set_paths(struct store *store, const char *directory, struct err *err) {
    int a = snprintf(store->directory_path, sizeof store->directory_path, "%s", directory);
    int b = snprintf(store->path, sizeof store->path, "%s/" DATABASE_NAME, directory);

    if (a < 0 || b < 0 || (size_t)b >= sizeof store->path)
        return err_set(err, ERR_LIMIT, "the path of the broker's directory is too long: %.60s...", directory);
    return true;
}

static bool lock_directory(struct store *store, struct err *err) {
    const struct file_ops *ops = store->ops;
    int error;

    store->directory = ops->open_directory(ops->ctx, store->directory_path);
    if (store->directory < 0)
        return err_set_errno(err, -store->directory, "cannot open the broker's directory %s", store->directory_path);
    error = ops->lock(ops->ctx, store->directory);
    if (error == -EWOULDBLOCK)
        return err_set(err, ERR_IO, "%s is in use, by another heliograf or by a spool: each needs a directory of its own", store->directory_path);
    return error == 0 || err_set_errno(err, -error, "cannot lock the broker's directory %s", store->directory_path);
}

/* SQLite would make it for everybody to read; it gives the WAL the same mode. */
static bool make_private(struct store *store, struct err *err) {
    int file = file_open(store->ops, store->directory, DATABASE_NAME, O_RDWR | O_CREAT);

    if (file < 0)
        return err_set_errno(err, -file, "cannot open %s", store->path);
    fchmod(file, 0600); /* of a copy that somebody put there */
    store->ops->close(store->ops->ctx, file);
    return true;
}

static bool open_database(struct store *store, enum database_fault *fault, struct err *err) {
    const struct database_options options = { .path = store->path, .vfs = store->options.vfs, .sync = store->options.sync };

    *fault = DATABASE_REFUSED;
    if (!make_private(store, err))
        return false;
    if (store_is_log_broken(store)) {
        *fault = DATABASE_DAMAGED;
        return err_set(err, ERR_SYNTAX, "%s-wal does not fit its database, or is damaged before its end", store->path);
    }
    store->database = database_open(&options, fault, err);
    return store->database != NULL && store_verify(store, fault, err);
}

static bool open_or_salvage(struct store *store, struct store_recovery *recovery, struct err *err) {
    struct err damage = ERR_INIT;
    enum database_fault fault;

    if (!store_finish_salvage(store, err))
        return false;
    if (open_database(store, &fault, &damage))
        return true;
    if (fault != DATABASE_DAMAGED)
        return err_set(err, damage.code, "%s", damage.text);
    if (store->database != NULL)
        database_leave_as_is(store->database);
    database_close(store->database, NULL);
    store->database = NULL;
    snprintf(recovery->damage, sizeof recovery->damage, "%s", damage.text);
    return store_salvage(store, recovery, err) && open_database(store, &fault, err);
}

struct store *broker_store_open(const struct store_options *options, const struct store_reader *reader, struct store_recovery *recovery, struct err *err) {
    int64_t began_ns = clock_mono_ns();
    struct store *store = new_store(options);

    *recovery = (struct store_recovery){ .damaged = false };
    if (store == NULL) {
        err_set(err, ERR_LIMIT, "no memory for the broker's store");
        return NULL;
    }
    if (!set_paths(store, options->directory, err) || !lock_directory(store, err) || !open_or_salvage(store, recovery, err) ||
        !store_read(store, reader, recovery, err)) {
        broker_store_close(store);
        return NULL;
    }
    recovery->duration_ns = clock_mono_ns() - began_ns;
    return store;
}
