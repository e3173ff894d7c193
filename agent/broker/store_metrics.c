/* agent/broker/store_metrics.c: the store's figures. */
#include "agent/broker/store_internal.h"

#define BROKER "broker"

static const struct metric_desc changes = { "broker_store_changes_total", "Changes of the broker's state that the store was told.", BROKER, METRIC_COUNTER };
static const struct metric_desc undone = { "broker_store_undone_changes_total", "Changes that undid each other before they were written.", BROKER,
                                           METRIC_COUNTER };
static const struct metric_desc groups = { "broker_store_groups_total", "Groups of changes written to disk.", BROKER, METRIC_COUNTER };
static const struct metric_desc written = { "broker_store_written_changes_total", "Rows written or deleted in them.", BROKER, METRIC_COUNTER };
static const struct metric_desc errors = { "broker_store_errors_total", "Groups and other work on the database that the disk refused.", BROKER,
                                           METRIC_COUNTER };
static const struct metric_desc last = { "broker_store_last_group_seconds", "Time that the last group took to be written.", BROKER, METRIC_GAUGE };
static const struct metric_desc bytes = { "broker_store_bytes", "Bytes of the database.", BROKER, METRIC_GAUGE };
static const struct metric_desc used = { "broker_store_used_bytes", "Bytes of it that are in use; the limit is about these.", BROKER, METRIC_GAUGE };
static const struct metric_desc limit = { "broker_store_limit_bytes", "The store's max_bytes; 0: none.", BROKER, METRIC_GAUGE };
static const struct metric_desc wal = { "broker_store_wal_bytes", "Bytes of the write-ahead log that are not yet in the database.", BROKER, METRIC_GAUGE };
static const struct metric_desc waiting = { "broker_store_waiting_bytes", "Memory held by changes that wait for the disk.", BROKER, METRIC_GAUGE };
static const struct metric_desc degraded = { "broker_store_degraded", "1 while the disk refuses and nothing new is acknowledged.", BROKER, METRIC_GAUGE };

static void sample(const struct metric_writer *writer, const struct metric_desc *desc, double value) {
    metric_sample(writer, desc, NULL, NULL, NULL, NULL, value);
}

void store_collect(void *ctx, const struct metric_writer *writer) {
    struct store *store = ctx;
    uint64_t pages = metric_get(&store->page_count), free_pages = metric_get(&store->free_page_count);

    sample(writer, &changes, (double)metric_get(&store->changes_count));
    sample(writer, &undone, (double)metric_get(&store->undone_count));
    sample(writer, &groups, (double)metric_get(&store->groups_count));
    sample(writer, &written, (double)metric_get(&store->written_count));
    sample(writer, &errors, (double)metric_get(&store->errors_count));
    sample(writer, &last, (double)metric_get(&store->last_group_ns) / NS_PER_S);
    sample(writer, &bytes, (double)(pages * DATABASE_PAGE));
    sample(writer, &used, (double)((pages - free_pages) * DATABASE_PAGE));
    sample(writer, &limit, (double)store->options.max_bytes);
    sample(writer, &wal, (double)(metric_get(&store->wal_page_count) * DATABASE_PAGE));
    sample(writer, &waiting, (double)metric_get(&store->waiting_bytes));
    sample(writer, &degraded, store_degraded(store, NULL) ? 1 : 0);
}
