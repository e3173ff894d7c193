/*
 * agent/broker/store_database.c: see store_database.h.
 *
 * The lock is exclusive for as long as the database is open, so there is no shared memory file. A page is as large as what a disk may tear, and the WAL
 * pads each commit to such a boundary (SQLITE_FCNTL_POWERSAFE_OVERWRITE off): a commit never rewrites a sector that an earlier one needs.
 * Checkpoints are the caller's, between groups, so that no commit waits for one.
 */
#include "agent/broker/store_database.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum statement {
    PUT_SESSION, PUT_SUBSCRIPTION, PUT_RECEIVED, PUT_MESSAGE, /* in the order of enum store_table */
    ERASE_SESSION, ERASE_SUBSCRIPTION, ERASE_RECEIVED, ERASE_MESSAGE,
    ERASE_SUBSCRIPTIONS, ERASE_ALL_RECEIVED,
    BEGIN, COMMIT, PAGE_COUNT, FREE_COUNT,
    STATEMENTS
};

static const char *const texts[STATEMENTS] = {
    [PUT_SESSION] = "INSERT OR REPLACE INTO session VALUES (?,?,?,?,?,?,?,?,?,?)",
    [PUT_SUBSCRIPTION] = "INSERT OR REPLACE INTO subscription VALUES (?,?,?,?,?)",
    [PUT_RECEIVED] = "INSERT OR REPLACE INTO received VALUES (?,?,?)",
    [PUT_MESSAGE] = "INSERT OR REPLACE INTO message VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [ERASE_SESSION] = "DELETE FROM session WHERE number = ?",
    [ERASE_SUBSCRIPTION] = "DELETE FROM subscription WHERE session = ? AND filter = ?",
    [ERASE_RECEIVED] = "DELETE FROM received WHERE session = ? AND packet_id = ?",
    [ERASE_MESSAGE] = "DELETE FROM message WHERE key = ?",
    [ERASE_SUBSCRIPTIONS] = "DELETE FROM subscription WHERE session = ?",
    [ERASE_ALL_RECEIVED] = "DELETE FROM received WHERE session = ?",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [PAGE_COUNT] = "PRAGMA page_count",
    [FREE_COUNT] = "PRAGMA freelist_count",
};

static const unsigned key_cells[STORE_TABLES] = { 1, 2, 2, 1 };

static const char *const scans[] = {
    [SCAN_SESSIONS] = "SELECT * FROM session ORDER BY number",
    [SCAN_SUBSCRIPTIONS] = "SELECT * FROM subscription ORDER BY session, filter",
    [SCAN_RECEIVED] = "SELECT * FROM received ORDER BY session, packet_id",
    [SCAN_MESSAGES] = "SELECT * FROM message ORDER BY key",
    [SCAN_PUBLICATIONS] = "SELECT * FROM message WHERE key & 3 = 0 ORDER BY key",
    [SCAN_OTHERS] = "SELECT * FROM message WHERE key & 3 <> 0 ORDER BY key",
};
static const enum store_table scanned[] = { TABLE_SESSION, TABLE_SUBSCRIPTION, TABLE_RECEIVED, TABLE_MESSAGE, TABLE_MESSAGE, TABLE_MESSAGE };

/* As they stand in sqlite_schema: what differs is not ours. The views are for whoever looks into the database with SQLite's shell. */
static const char *const schema[] = {
    "CREATE TABLE session (number INTEGER PRIMARY KEY, client_id TEXT, user TEXT, version INTEGER, expiry_s INTEGER, ended_ns INTEGER, "
    "has_will INTEGER, will_delay_s INTEGER, will INTEGER, sum INTEGER)",
    "CREATE TABLE subscription (session INTEGER, filter TEXT, options INTEGER, identifier INTEGER, sum INTEGER, "
    "PRIMARY KEY (session, filter)) WITHOUT ROWID",
    "CREATE TABLE received (session INTEGER, packet_id INTEGER, sum INTEGER, PRIMARY KEY (session, packet_id)) WITHOUT ROWID",
    "CREATE TABLE message (key INTEGER PRIMARY KEY, flags INTEGER, session INTEGER, publication INTEGER, packet_id INTEGER, at_ns INTEGER, "
    "expires_ns INTEGER, topic TEXT, payload BLOB, properties BLOB, client_id TEXT, user TEXT, sum INTEGER)",
    "CREATE VIEW publication AS SELECT key >> 2 AS number, flags & 3 AS qos, flags >> 2 AS retain, at_ns AS published_ns, expires_ns, topic, payload, "
    "properties, client_id, user FROM message WHERE key & 3 = 0",
    "CREATE VIEW retained AS SELECT key >> 2 AS publication FROM message WHERE key & 3 = 1",
    "CREATE VIEW delayed AS SELECT key >> 2 AS publication, at_ns AS due_ns FROM message WHERE key & 3 = 2",
    "CREATE VIEW delivery AS SELECT key >> 2 AS number, session, publication, flags & 3 AS qos, flags >> 2 & 1 AS retain, flags >> 3 AS state, "
    "packet_id, properties AS subscription_ids FROM message WHERE key & 3 = 3",
};
enum { SCHEMA_ITEMS = sizeof schema / sizeof schema[0] };

struct database {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    const char *path;
    uint64_t wal_pages;
    enum database_fault fault;
    bool opening;
};

/* ---- errors -------------------------------------------------------------------------------------------------------- */

static enum database_fault fault_of(const struct database *database, int code) {
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return DATABASE_DAMAGED;
    case SQLITE_ERROR: /* our statements are right: the file is not */
        return database->opening ? DATABASE_DAMAGED : DATABASE_REFUSED;
    case SQLITE_BUSY:
        return DATABASE_BUSY;
    default:
        return DATABASE_REFUSED;
    }
}

/* Always false. */
static bool fail(struct database *database, int code, const char *doing, struct err *err) {
    int system = database->db != NULL ? sqlite3_system_errno(database->db) : 0;

    database->fault = fault_of(database, code);
    if ((code & 0xff) == SQLITE_FULL)
        return err_set(err, ERR_FULL, "cannot %s %s: no space left on its disk", doing, database->path);
    if ((code & 0xff) == SQLITE_BUSY)
        return err_set(err, ERR_IO, "cannot %s %s: another process has it open", doing, database->path);
    if (database->fault == DATABASE_REFUSED && system != 0)
        return err_set_errno(err, system, "cannot %s %s: %s", doing, database->path, sqlite3_errstr(code));
    return err_set(err, database->fault == DATABASE_DAMAGED ? ERR_SYNTAX : ERR_IO, "cannot %s %s: %s", doing, database->path,
                   database->db != NULL ? sqlite3_errmsg(database->db) : sqlite3_errstr(code));
}

/* ---- statements ---------------------------------------------------------------------------------------------------- */

static bool exec(struct database *database, const char *text, const char *doing, struct err *err) {
    int code = sqlite3_exec(database->db, text, NULL, NULL, NULL);

    return code == SQLITE_OK || fail(database, code, doing, err);
}

/* The first number of the first row. */
static bool ask(struct database *database, sqlite3_stmt *statement, int64_t *answer, struct err *err) {
    int code = sqlite3_step(statement);

    if (code == SQLITE_ROW)
        *answer = sqlite3_column_int64(statement, 0);
    int reset = sqlite3_reset(statement);
    return code == SQLITE_ROW || fail(database, reset != SQLITE_OK ? reset : SQLITE_CORRUPT, "read", err);
}

static bool ask_text(struct database *database, const char *text, int64_t *answer, struct err *err) {
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(database->db, text, -1, &statement, NULL);
    bool fine;

    if (code != SQLITE_OK)
        return fail(database, code, "read", err);
    fine = ask(database, statement, answer, err);
    sqlite3_finalize(statement);
    return fine;
}

static bool run(struct database *database, enum statement which, const char *doing, struct err *err) {
    sqlite3_stmt *statement = database->statements[which];
    int code = sqlite3_step(statement), reset = sqlite3_reset(statement);

    return code == SQLITE_DONE || fail(database, reset != SQLITE_OK ? reset : code, doing, err);
}

static int bind(sqlite3_stmt *statement, int at, const struct cell *cell) {
    switch (cell->type) {
    case CELL_INTEGER:
        return sqlite3_bind_int64(statement, at, cell->integer);
    case CELL_TEXT:
        return sqlite3_bind_text64(statement, at, cell->bytes.data, cell->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
    case CELL_BLOB:
        return sqlite3_bind_blob64(statement, at, cell->bytes.data, cell->bytes.len, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(statement, at);
    }
}

static bool run_with(struct database *database, enum statement which, const struct row *row, unsigned cells, struct err *err) {
    for (unsigned i = 0; i < cells; i++) {
        int code = bind(database->statements[which], (int)i + 1, &row->cells[i]);
        if (code != SQLITE_OK)
            return fail(database, code, "write to", err);
    }
    return run(database, which, "write to", err);
}

bool database_put(struct database *database, const struct row *row, struct err *err) {
    return run_with(database, (enum statement)(PUT_SESSION + row->table), row, row_cells(row->table), err);
}

bool database_erase(struct database *database, const struct row *row, struct err *err) {
    if (!run_with(database, (enum statement)(ERASE_SESSION + row->table), row, key_cells[row->table], err))
        return false;
    return row->table != TABLE_SESSION ||
           (run_with(database, ERASE_SUBSCRIPTIONS, row, 1, err) && run_with(database, ERASE_ALL_RECEIVED, row, 1, err));
}

bool database_begin(struct database *database, struct err *err) {
    return run(database, BEGIN, "write to", err);
}

bool database_commit(struct database *database, struct err *err) {
    return run(database, COMMIT, "write to", err);
}

void database_rollback(struct database *database) {
    for (unsigned i = 0; i < STATEMENTS; i++)
        if (database->statements[i] != NULL)
            sqlite3_clear_bindings(database->statements[i]);
    if (!sqlite3_get_autocommit(database->db))
        sqlite3_exec(database->db, "ROLLBACK", NULL, NULL, NULL);
}

enum database_fault database_fault(const struct database *database) {
    return database->fault;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static struct cell cell_of(sqlite3_stmt *statement, int at) {
    int type = sqlite3_column_type(statement, at);
    struct cell cell = { .type = CELL_NULL };

    if (type == SQLITE_INTEGER) {
        cell = (struct cell){ .type = CELL_INTEGER, .integer = sqlite3_column_int64(statement, at) };
    } else if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
        const char *bytes = sqlite3_column_blob(statement, at);
        cell.type = type == SQLITE_TEXT ? CELL_TEXT : CELL_BLOB;
        cell.bytes = bytes != NULL ? str_make(bytes, (size_t)sqlite3_column_bytes(statement, at)) : STR_EMPTY;
    }
    return cell;
}

bool database_scan(struct database *database, enum database_scan what, bool (*each)(void *ctx, const struct row *row), void *ctx,
                   enum database_fault *fault, struct err *err) {
    struct row row = { .table = scanned[what] };
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(database->db, scans[what], -1, &statement, NULL);

    *fault = DATABASE_FINE;
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        for (unsigned i = 0; i < row_cells(row.table); i++)
            row.cells[i] = cell_of(statement, (int)i);
        code = each(ctx, &row) ? SQLITE_OK : SQLITE_DONE;
    }
    if (code != SQLITE_DONE) {
        fail(database, code, "read", err);
        *fault = database->fault;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE;
}

static int on_check(void *ctx, int columns, char **values, char **names) {
    struct err *found = ctx;

    (void)names;
    if (columns > 0 && values[0] != NULL && strcmp(values[0], "ok") != 0)
        err_set(found, ERR_SYNTAX, "%s", values[0]);
    return 0;
}

bool database_check(struct database *database, enum database_fault *fault, struct err *err) {
    struct err found = ERR_INIT;
    int code = sqlite3_exec(database->db, "PRAGMA quick_check(1)", on_check, &found, NULL);

    *fault = DATABASE_FINE;
    if (code == SQLITE_OK && found.code == ERR_NONE)
        return true;
    if (code != SQLITE_OK)
        fail(database, code, "read", err);
    else
        err_set(err, ERR_SYNTAX, "%s: %s", database->path, found.text);
    *fault = code != SQLITE_OK ? database->fault : DATABASE_DAMAGED;
    return false;
}

/* ---- size ---------------------------------------------------------------------------------------------------------- */

bool database_size(struct database *database, struct database_size *size, struct err *err) {
    int64_t pages, free_pages;

    if (!ask(database, database->statements[PAGE_COUNT], &pages, err) || !ask(database, database->statements[FREE_COUNT], &free_pages, err))
        return false;
    *size = (struct database_size){ .pages = (uint64_t)pages, .free_pages = (uint64_t)free_pages, .wal_pages = database->wal_pages };
    return true;
}

static int on_commit(void *ctx, sqlite3 *db, const char *name, int pages) {
    struct database *database = ctx;

    (void)db;
    (void)name;
    database->wal_pages = (uint64_t)pages;
    return SQLITE_OK;
}

bool database_checkpoint(struct database *database, struct err *err) {
    int code = sqlite3_wal_checkpoint_v2(database->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

    if (code != SQLITE_OK)
        return fail(database, code, "write to", err);
    database->wal_pages = 0;
    return true;
}

bool database_shrink(struct database *database, unsigned pages, struct err *err) {
    char text[48];

    snprintf(text, sizeof text, "PRAGMA incremental_vacuum(%u)", pages);
    return exec(database, text, "shrink", err);
}

/* ---- opening ------------------------------------------------------------------------------------------------------- */

static bool is_schema_ours(struct database *database, bool *empty, struct err *err) {
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(database->db, "SELECT sql FROM sqlite_schema ORDER BY rowid", -1, &statement, NULL);
    unsigned items = 0;
    bool ours = true;

    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *sql = (const char *)sqlite3_column_text(statement, 0);
        ours = ours && items < SCHEMA_ITEMS && sql != NULL && strcmp(sql, schema[items]) == 0;
        items++;
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE)
        return fail(database, code, "read", err);
    *empty = items == 0;
    if (*empty || (ours && items == SCHEMA_ITEMS))
        return true;
    database->fault = DATABASE_DAMAGED;
    return err_set(err, ERR_SYNTAX, "%s has other tables than a broker's database", database->path);
}

static bool make_schema(struct database *database, struct err *err) {
    char versions[96];

    snprintf(versions, sizeof versions, "PRAGMA user_version=%d; PRAGMA application_id=%d", DATABASE_VERSION, DATABASE_APPLICATION);
    if (!exec(database, "BEGIN IMMEDIATE", "write to", err))
        return false;
    for (unsigned i = 0; i < SCHEMA_ITEMS; i++)
        if (!exec(database, schema[i], "write to", err))
            return false;
    return exec(database, versions, "write to", err) && exec(database, "COMMIT", "write to", err);
}

/* Refuses what is newer before anything is changed. */
static bool check_version(struct database *database, bool *empty, struct err *err) {
    int64_t version, application;

    if (!ask_text(database, "PRAGMA user_version", &version, err) || !ask_text(database, "PRAGMA application_id", &application, err))
        return false;
    if (version > DATABASE_VERSION && application == DATABASE_APPLICATION) {
        database->fault = DATABASE_NEWER;
        return err_set(err, ERR_UNSUPPORTED, "%s is of version %lld, this program knows %d: start the program that wrote it, or move the file away",
                       database->path, (long long)version, DATABASE_VERSION);
    }
    if (!is_schema_ours(database, empty, err))
        return false;
    if (*empty || (version == DATABASE_VERSION && application == DATABASE_APPLICATION))
        return true;
    database->fault = DATABASE_DAMAGED;
    return err_set(err, ERR_SYNTAX, "%s has version %lld of application %#llx", database->path, (long long)version, (unsigned long long)application);
}

static bool prepare_all(struct database *database, struct err *err) {
    for (unsigned i = 0; i < STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(database->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &database->statements[i], NULL);
        if (code != SQLITE_OK)
            return fail(database, code, "read", err);
    }
    return true;
}

/* SQLite keeps another mode without an error where it cannot do what it is asked. */
static bool set_journal(struct database *database, bool wal, struct err *err) {
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(database->db, wal ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=MEMORY", -1, &statement, NULL);
    const char *mode = code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    bool fine = mode != NULL && strcmp(mode, wal ? "wal" : "memory") == 0;

    sqlite3_finalize(statement);
    if (fine)
        return true;
    return fail(database, code == SQLITE_ROW ? SQLITE_CANTOPEN : code, "use a write-ahead log for", err);
}

/*
 * Until the log is in use, a rollback journal is: it must be gone for good before anything is told to be durable, or a power failure could bring it back,
 * and SQLite would roll back to the empty database. EXTRA syncs the directory too.
 */
static bool set_up(struct database *database, const struct database_options *options, struct err *err) {
    char settings[256];
    bool empty = false;

    snprintf(settings, sizeof settings, "PRAGMA synchronous=%s; PRAGMA journal_size_limit=%d; PRAGMA cache_size=-2000", options->sync ? "FULL" : "NORMAL",
             DATABASE_CHECKPOINT_PAGES * DATABASE_PAGE);
    if (!exec(database,
              "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=EXTRA; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON",
              "open", err) ||
        !check_version(database, &empty, err))
        return false;
    if (empty && !exec(database, "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL", "open", err))
        return false;
    if (!set_journal(database, !options->temporary, err) || !exec(database, settings, "open", err) || (empty && !make_schema(database, err)))
        return false;
    sqlite3_wal_hook(database->db, on_commit, database);
    return prepare_all(database, err);
}

struct database *database_open(const struct database_options *options, enum database_fault *fault, struct err *err) {
    struct database *database = calloc(1, sizeof *database);
    int code, off = 0;
    bool fine;

    *fault = DATABASE_REFUSED;
    if (database == NULL) {
        err_set(err, ERR_LIMIT, "no memory for the broker's database");
        return NULL;
    }
    database->path = options->path;
    database->opening = true;
    code = sqlite3_open_v2(options->path, &database->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                           options->vfs);
    fine = code == SQLITE_OK || fail(database, code, "open", err);
    if (fine)
        sqlite3_file_control(database->db, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE, &off);
    if (fine && set_up(database, options, err)) {
        *fault = DATABASE_FINE;
        database->opening = false;
        return database;
    }
    *fault = database->fault;
    database_leave_as_is(database);
    database_close(database, NULL);
    return NULL;
}

void database_leave_as_is(struct database *database) {
    if (database->db != NULL)
        sqlite3_db_config(database->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

bool database_close(struct database *database, struct err *err) {
    int code;

    if (database == NULL)
        return true;
    for (unsigned i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(database->statements[i]);
    code = sqlite3_close(database->db);
    if (code != SQLITE_OK)
        fail(database, code, "close", err);
    free(database);
    return code == SQLITE_OK;
}
