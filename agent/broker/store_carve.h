/*
 * agent/broker/store_carve.h: rows out of the bytes of a damaged database, without SQLite: from every page that still looks like one of a table, from the
 * database and from the write-ahead log on top of it, whatever the pages that should lead there say. Nothing is written, nothing is believed: a row
 * counts when its own sum says so (store_row.h). The format: https://sqlite.org/fileformat2.html.
 */
#ifndef HELIOGRAF_BROKER_STORE_CARVE_H
#define HELIOGRAF_BROKER_STORE_CARVE_H

#include "agent/base/file_ops.h"
#include "agent/broker/store_row.h"

struct carve {
    const struct file_ops *ops;
    int database, wal; /* files; negative: there is none */
};

/*
 * Every row that is whole and has the identity that most of them have, until `each` returns false; some may come more than once, then the later ones are
 * no older. `*identity` is that one; unchanged when there are no rows. False: no memory, or `each` was. What cannot be read is as if it were not there.
 */
bool carve_rows(const struct carve *carve, bool (*each)(void *ctx, const struct row *row), void *ctx, uint32_t *identity);

/*
 * Whether the log breaks off before changes that were on disk: SQLite takes that for the end, as it must where the last group was written when the
 * power failed. But no group begins before the one before it is synced, so a second whole one behind the break proves damage. The same when
 * the database that it belongs to is empty: SQLite would throw the log away.
 */
bool carve_is_wal_broken(const struct carve *carve);

#endif
