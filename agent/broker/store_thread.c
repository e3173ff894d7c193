/*
 * agent/broker/store_thread.c: the store's thread: a group into the database in one transaction; and between groups, so that no ticket waits for
 * it, what was logged into its place, and what is free back to the filesystem. Also the alarm clock of the loop's side.
 */
#include "agent/broker/store_internal.h"

#include <stdlib.h>

enum { SHRINK_STEP = 256, SHRINK_FROM = 4096 }; /* pages: of free ones so many are left alone, and a quarter of all */
static const int64_t shrink_pause_ns = 20 * NS_PER_MS, upkeep_retry_ns = NS_PER_S, post_retry_ns = 10 * NS_PER_MS;

/* ---- a group ------------------------------------------------------------------------------------------------------- */

/* In the order of the tables' keys, so that each page is visited once. */
struct ordered {
    uint64_t order;
    const struct change *change;
};

enum rank { RANK_SESSION, RANK_SUBSCRIPTION, RANK_RECEIVED, RANK_MESSAGE, RANK_SESSION_GONE, RANK_AT = 61 };

static uint64_t order_of(const struct change *change) {
    static const enum message_kind kinds[] = {
        [CHANGE_PUBLICATION] = MESSAGE_IS_PUBLICATION,
        [CHANGE_RETAINED] = MESSAGE_IS_RETAINED,
        [CHANGE_DELAYED] = MESSAGE_IS_DELAYED,
        [CHANGE_DELIVERY] = MESSAGE_IS_DELIVERY,
    };

    switch (change->kind) {
    case CHANGE_SESSION: /* the deletion last: what was put beside it goes with it */
        return (uint64_t)(change->erase ? RANK_SESSION_GONE : RANK_SESSION) << RANK_AT | change->number;
    case CHANGE_SUBSCRIPTION:
        return (uint64_t)RANK_SUBSCRIPTION << RANK_AT | change->number;
    case CHANGE_RECEIVED:
        return (uint64_t)RANK_RECEIVED << RANK_AT | (change->number << 16 | change->packet_id);
    default:
        return (uint64_t)RANK_MESSAGE << RANK_AT | (uint64_t)message_key(change->number, kinds[change->kind]);
    }
}

static int by_order(const void *a, const void *b) {
    const struct ordered *x = a, *y = b;

    return x->order < y->order ? -1 : x->order > y->order;
}

static struct ordered *in_order(const struct group *group) {
    struct ordered *list = malloc((group->count + 1) * sizeof *list);
    size_t count = 0;
    bool sorted = true;

    if (list == NULL)
        return NULL;
    for (const struct change_block *block = group->blocks; block != NULL; block = block->next)
        for (size_t i = 0; i < block->used; i++) {
            if (!block->changes[i].live)
                continue;
            list[count] = (struct ordered){ order_of(&block->changes[i]), &block->changes[i] };
            sorted = sorted && (count == 0 || list[count - 1].order <= list[count].order);
            count++;
        }
    if (!sorted)
        qsort(list, count, sizeof *list, by_order);
    return list;
}

static void to_row(struct row *row, const struct change *change) {
    switch (change->kind) {
    case CHANGE_SESSION:
        row_of_session(row, change->as.session);
        break;
    case CHANGE_SUBSCRIPTION:
        row_of_subscription(row, change->number, change->as.subscription.filter, &change->as.subscription.terms);
        break;
    case CHANGE_RECEIVED:
        row_of_received(row, change->number, change->packet_id);
        break;
    case CHANGE_PUBLICATION:
        row_of_publication(row, change->number, change->as.publication);
        break;
    case CHANGE_RETAINED:
        row_of_retained(row, change->number);
        break;
    case CHANGE_DELAYED:
        row_of_delayed(row, change->number, change->as.due_ns);
        break;
    default:
        row_of_delivery(row, &change->as.delivery);
    }
}

/* Its key alone. */
static void to_key(struct row *row, const struct change *change) {
    const struct stored_session session = { .number = change->number };
    const struct subscription_terms terms = { .qos = 0 };
    const struct stored_delivery delivery = { .number = change->number };

    switch (change->kind) {
    case CHANGE_SESSION:
        row_of_session(row, &session);
        break;
    case CHANGE_SUBSCRIPTION:
        row_of_subscription(row, change->number, change->as.subscription.filter, &terms);
        break;
    case CHANGE_PUBLICATION:
        row->table = TABLE_MESSAGE;
        row->cells[MESSAGE_KEY] = (struct cell){ .type = CELL_INTEGER, .integer = message_key(change->number, MESSAGE_IS_PUBLICATION) };
        break;
    case CHANGE_DELIVERY:
        row_of_delivery(row, &delivery);
        break;
    default:
        to_row(row, change);
    }
}

static bool goes_with_session(const struct group *group, const struct change *change) {
    return (change->kind == CHANGE_SUBSCRIPTION || change->kind == CHANGE_RECEIVED) && group_erases_session(group, change->number);
}

static bool write_changes(struct store *store, const struct group *group, const struct ordered *list, struct err *err) {
    struct row row;

    for (size_t i = 0; i < group->count; i++) {
        const struct change *change = list[i].change;
        if (goes_with_session(group, change))
            continue;
        if (change->erase) {
            to_key(&row, change);
            if (!database_erase(store->database, &row, err))
                return false;
            continue;
        }
        to_row(&row, change);
        row_seal(&row, store->identity);
        if (!database_put(store->database, &row, err))
            return false;
    }
    return true;
}

static void note_size(struct store *store, const struct database_size *size) {
    atomic_store_explicit(&store->page_count, size->pages, memory_order_relaxed);
    atomic_store_explicit(&store->free_page_count, size->free_pages, memory_order_relaxed);
    atomic_store_explicit(&store->wal_page_count, size->wal_pages, memory_order_relaxed);
}

static bool write_group(struct store *store, const struct group *group, struct err *err) {
    struct ordered *list = in_order(group);
    bool fine;

    if (list == NULL)
        return err_set(err, ERR_LIMIT, "no memory to write a group of changes to %s", store->path);
    fine = database_begin(store->database, err) && write_changes(store, group, list, err) && database_commit(store->database, err);
    if (!fine)
        database_rollback(store->database);
    free(list);
    return fine;
}

/* ---- upkeep -------------------------------------------------------------------------------------------------------- */

/* False: there is more to do, soon. */
static bool upkeep(struct store *store, struct err *err) {
    struct database_size size;

    if (!database_size(store->database, &size, err))
        return false;
    note_size(store, &size);
    if (size.wal_pages >= DATABASE_CHECKPOINT_PAGES && !database_checkpoint(store->database, err))
        return false;
    if (size.free_pages <= SHRINK_FROM || size.free_pages <= size.pages / 4)
        return true;
    database_shrink(store->database, SHRINK_STEP, err);
    return false;
}

/* When it wants to be called again; 0: after the next group. Without the lock. */
static int64_t look_after(struct store *store) {
    struct err trouble = ERR_INIT;
    bool done = upkeep(store, &trouble);

    if (trouble.code != ERR_NONE)
        metric_add(&store->errors_count, 1);
    pthread_mutex_lock(&store->lock);
    store->upkeep_trouble = trouble;
    pthread_mutex_unlock(&store->lock);
    return done ? 0 : clock_mono_ns() + (trouble.code != ERR_NONE ? upkeep_retry_ns : shrink_pause_ns);
}

/* ---- the thread ---------------------------------------------------------------------------------------------------- */

/* With the lock. */
static void notify(struct store *store) {
    if (!store->posted && !store->ending)
        store->posted = store_post(store);
    store->notify = !store->posted && !store->ending; /* again, a little later */
}

/* With the lock. */
static void work(struct store *store) {
    struct err trouble = ERR_INIT;
    int64_t began_ns = clock_mono_ns();
    uint64_t changes = store->other->count;
    bool fine;

    pthread_mutex_unlock(&store->lock);
    fine = write_group(store, store->other, &trouble);
    pthread_mutex_lock(&store->lock);
    if (fine) {
        metric_add(&store->groups_count, 1);
        metric_add(&store->written_count, changes);
        atomic_store_explicit(&store->last_group_ns, (uint64_t)(clock_mono_ns() - began_ns), memory_order_relaxed);
    } else {
        metric_add(&store->errors_count, 1);
    }
    store->trouble = trouble;
    store->state = fine ? WRITER_WRITTEN : WRITER_FAILED;
    pthread_cond_signal(&store->done);
    notify(store);
}

static int64_t earlier(int64_t a, int64_t b) {
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* With the lock. */
static void wait_until(struct store *store, int64_t at_ns) {
    struct timespec until = clock_timespec(at_ns);

    if (store->notify)
        until = clock_timespec(earlier(at_ns, clock_mono_ns() + post_retry_ns));
    if (at_ns == 0 && !store->notify)
        pthread_cond_wait(&store->wake, &store->lock);
    else
        pthread_cond_timedwait(&store->wake, &store->lock, &until);
}

void *store_thread(void *arg) {
    struct store *store = arg;
    int64_t upkeep_ns = 0;
    bool written = true; /* since the last upkeep: the one at the start */

    pthread_mutex_lock(&store->lock);
    while (!store->ending || store->state == WRITER_BUSY) {
        int64_t now_ns = store->alarm_ns != 0 || upkeep_ns != 0 ? clock_mono_ns() : 0;
        if (store->alarm_ns != 0 && store->alarm_ns <= now_ns) {
            store->alarm_ns = 0;
            notify(store);
        } else if (store->notify && !store->posted) {
            notify(store);
        }
        if (store->state == WRITER_BUSY) {
            work(store);
            written = true;
        } else if ((written && upkeep_ns == 0) || (upkeep_ns != 0 && upkeep_ns <= now_ns)) {
            pthread_mutex_unlock(&store->lock);
            upkeep_ns = look_after(store);
            pthread_mutex_lock(&store->lock);
            written = false;
        } else {
            wait_until(store, earlier(store->alarm_ns, upkeep_ns));
        }
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}
