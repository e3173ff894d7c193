/*
 * agent/broker/store_database.h: the database of the store: the only file that knows SQLite is store_database.c. Rows go in and come out as struct row.
 * Blocking; used by one thread at a time.
 */
#ifndef HELIOGRAF_BROKER_STORE_DATABASE_H
#define HELIOGRAF_BROKER_STORE_DATABASE_H

#include "agent/broker/store_row.h"

#define DATABASE_NAME "broker.db"
#define DATABASE_WAL  DATABASE_NAME "-wal"

enum {
    DATABASE_PAGE = 4096,
    DATABASE_VERSION = 1,              /* PRAGMA user_version */
    DATABASE_APPLICATION = 0x486c4772, /* PRAGMA application_id: "HlGr" */
    DATABASE_CHECKPOINT_PAGES = 1000,  /* of WAL: how often pages are copied into the database, and how large the WAL stays */
};

enum database_fault {
    DATABASE_FINE,
    DATABASE_DAMAGED, /* not a database, not ours, or not whole */
    DATABASE_BUSY,    /* another process has it */
    DATABASE_NEWER,   /* of a version that we do not know */
    DATABASE_REFUSED, /* by the system: I/O error, no room, no permission */
};

struct database;

struct database_options {
    const char *path;
    const char *vfs; /* NULL: SQLite's own */
    bool sync;       /* synchronous=FULL, else NORMAL */
    bool temporary;  /* to be filled once and renamed: no WAL, synced when it is closed */
};

/* Makes the tables where there are none. NULL with `fault` and words. */
struct database *database_open(const struct database_options *options, enum database_fault *fault, struct err *err);
/* False: what was committed may be in the WAL only (which is fine), or, of a temporary one, not on disk. NULL is fine. */
bool database_close(struct database *database, struct err *err);
/* What is closed after this stays as it is, its log beside it: for whoever looks for what is wrong with it. */
void database_leave_as_is(struct database *database);

/* Whether pages, lists and trees are sound; what is wrong with them goes to `err`. Takes a second for 1 GB. */
bool database_check(struct database *database, enum database_fault *fault, struct err *err);

enum database_scan { SCAN_SESSIONS, SCAN_SUBSCRIPTIONS, SCAN_RECEIVED, SCAN_MESSAGES, SCAN_PUBLICATIONS, SCAN_OTHERS };
/* All rows in the order of their keys, until `each` returns false. SCAN_OTHERS: what of the messages is no publication. False: damaged, or refused. */
bool database_scan(struct database *database, enum database_scan what, bool (*each)(void *ctx, const struct row *row), void *ctx,
                   enum database_fault *fault, struct err *err);

/*
 * A group: begin, changes, commit. After a false anything but database_rollback is wrong; `err` names what failed. A row that is to be deleted
 * may not be there.
 */
bool database_begin(struct database *database, struct err *err);
bool database_put(struct database *database, const struct row *row, struct err *err);
/* By the key cells of the row; of a session with its subscriptions and identifiers. */
bool database_erase(struct database *database, const struct row *row, struct err *err);
bool database_commit(struct database *database, struct err *err);
void database_rollback(struct database *database);
/* What the last false was. */
enum database_fault database_fault(const struct database *database);

struct database_size {
    uint64_t pages, free_pages; /* of the file; free ones are used again */
    uint64_t wal_pages;
};
bool database_size(struct database *database, struct database_size *size, struct err *err);
/* Pages of the WAL into the database; then the WAL begins anew. */
bool database_checkpoint(struct database *database, struct err *err);
/* Gives up to so many free pages back to the filesystem. A group of its own. */
bool database_shrink(struct database *database, unsigned pages, struct err *err);

#endif
