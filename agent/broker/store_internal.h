/*
 * agent/broker/store_internal.h: the parts of the store.
 *
 *   store.c           the loop's side: changes, tickets, what the thread has done
 *   store_thread.c    the thread: a group into the database, and what is to be done between groups
 *   store_open.c      the start: directory, database
 *   store_salvage.c   a damaged database set aside        store_carve.c     its rows, from bytes
 *   store_read.c      what is in it, to the broker
 *   store_group.c     the changes of one group            store_row.c       rows, their cells and sums
 *   store_database.c  SQLite                              store_metrics.c   figures
 *
 * Two groups go back and forth: one is open on the loop's side, the other with the thread, or empty. What the thread could not write comes back,
 * takes what was told meanwhile on top, and is the open one again: so nothing is lost, what was put and acknowledged meanwhile vanishes, and memory
 * holds one change per row at most.
 */
#ifndef HELIOGRAF_BROKER_STORE_INTERNAL_H
#define HELIOGRAF_BROKER_STORE_INTERNAL_H

#include <pthread.h>

#include "agent/base/clock.h"
#include "agent/base/file_ops.h"
#include "agent/base/log.h"
#include "agent/broker/store_database.h"
#include "agent/broker/store_group.h"

enum { STORE_PATH_SIZE = 512 };

enum writer_state {
    WRITER_FREE,    /* the other group is empty */
    WRITER_BUSY,    /* has a group, and nobody else may touch it */
    WRITER_WRITTEN, /* it is on disk */
    WRITER_FAILED,  /* it is not */
};

struct store {
    struct store_options options;
    char directory_path[STORE_PATH_SIZE], path[STORE_PATH_SIZE];
    const struct file_ops *ops;
    int directory;
    struct database *database; /* the thread's, while it runs */
    uint32_t identity;         /* of the database: the salt of its rows' sums */

    /* The loop's side. */
    struct group groups[2], *open, *other;
    uint64_t ticket; /* of the open group */
    uint64_t handed; /* of the one that the thread has */
    uint64_t durable, next_number;
    bool touched;    /* the open group was told a change, undone or not: somebody may wait for its ticket */
    bool wanted;     /* the open group was handed over, and waits until the thread is free and its time has come */
    int64_t due_ns;  /* when that is */
    _Atomic bool lacks_memory; /* a change is missing, for good */
    void (*told)(void *ctx, uint64_t ticket);
    void *told_ctx;

    /* Both sides. */
    struct loop *loop;
    pthread_t thread;
    bool started; /* and not joined */
    pthread_mutex_t lock; /* guards the ones below */
    pthread_cond_t wake, done;
    enum writer_state state;
    int64_t alarm_ns; /* the loop's side wants to be called then; 0: no */
    bool notify;      /* the loop's side is to be called */
    bool posted;      /* and will be */
    bool ending;      /* the thread is to end; nothing is posted any more */
    struct err trouble, upkeep_trouble; /* why the last group, or the last upkeep, was refused; code ERR_NONE: it was not */

    /* Figures. */
    metric_counter changes_count, undone_count, groups_count, written_count, errors_count;
    metric_counter page_count, free_page_count, wal_page_count, waiting_bytes, last_group_ns;
};

/* store_read.c */
/* Whether every row is whole and of the same database; sets store->identity. */
bool store_verify(struct store *store, enum database_fault *fault, struct err *err);
/* What was verified, to the reader; sets store->next_number, and deletes what refers to nothing. */
bool store_read(struct store *store, const struct store_reader *reader, struct store_recovery *recovery, struct err *err);

/* store_salvage.c */
/* The rest of a salvage that a crash has ended. */
bool store_finish_salvage(struct store *store, struct err *err);
/* A new database with what can be read of the damaged one, which is set aside; none may be open. Fills damaged, set_aside and salvaged. */
bool store_salvage(struct store *store, struct store_recovery *recovery, struct err *err);
bool store_is_log_broken(struct store *store);

/* store.c: has the loop's side called. False: no memory. */
bool store_post(struct store *store);

/* store_thread.c */
void *store_thread(void *store);

#endif
