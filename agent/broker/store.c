/* agent/broker/store.c: the loop's side of the store; see store.h and store_internal.h. */
#include "agent/broker/store_internal.h"

#include <signal.h>
#include <stdlib.h>

/* ---- changes ------------------------------------------------------------------------------------------------------- */

static void note_change(struct store *store) {
    metric_add(&store->changes_count, 1);
    store->touched = true;
    if (store->open->failed)
        store->lacks_memory = true;
}

static void put(struct store *store, const struct change *change) {
    group_put(store->open, change);
    note_change(store);
}

static void erase(struct store *store, const struct change *key) {
    if (group_erase(store->open, key))
        metric_add(&store->undone_count, 2);
    note_change(store);
}

void store_put_session(struct store *store, const struct stored_session *session) {
    struct stored_session copy = *session;

    put(store, &(struct change){ .kind = CHANGE_SESSION, .number = session->number, .as.session = &copy });
}

void store_delete_session(struct store *store, uint64_t session) {
    erase(store, &(struct change){ .kind = CHANGE_SESSION, .number = session });
}

void store_put_subscription(struct store *store, uint64_t session, struct str filter, const struct subscription_terms *terms) {
    put(store, &(struct change){ .kind = CHANGE_SUBSCRIPTION, .number = session, .as.subscription = { filter, *terms } });
}

void store_delete_subscription(struct store *store, uint64_t session, struct str filter) {
    erase(store, &(struct change){ .kind = CHANGE_SUBSCRIPTION, .number = session, .as.subscription.filter = filter });
}

void store_put_received(struct store *store, uint64_t session, uint16_t packet_id) {
    put(store, &(struct change){ .kind = CHANGE_RECEIVED, .fresh = true, .number = session, .packet_id = packet_id });
}

void store_delete_received(struct store *store, uint64_t session, uint16_t packet_id) {
    erase(store, &(struct change){ .kind = CHANGE_RECEIVED, .number = session, .packet_id = packet_id });
}

void store_put_publication(struct store *store, struct publication *publication) {
    publication->number = store->next_number++;
    put(store, &(struct change){ .kind = CHANGE_PUBLICATION, .fresh = true, .number = publication->number, .as.publication = publication });
}

void store_delete_publication(struct store *store, uint64_t publication) {
    erase(store, &(struct change){ .kind = CHANGE_PUBLICATION, .number = publication });
}

uint64_t store_put_delivery(struct store *store, const struct stored_delivery *delivery) {
    struct change change = { .kind = CHANGE_DELIVERY, .fresh = true, .number = store->next_number++, .as.delivery = *delivery };

    change.as.delivery.number = change.number;
    put(store, &change);
    return change.number;
}

void store_update_delivery(struct store *store, const struct stored_delivery *delivery) {
    put(store, &(struct change){ .kind = CHANGE_DELIVERY, .number = delivery->number, .as.delivery = *delivery });
}

void store_delete_delivery(struct store *store, uint64_t number) {
    erase(store, &(struct change){ .kind = CHANGE_DELIVERY, .number = number });
}

void store_put_retained(struct store *store, uint64_t publication) {
    put(store, &(struct change){ .kind = CHANGE_RETAINED, .fresh = true, .number = publication });
}

void store_delete_retained(struct store *store, uint64_t publication) {
    erase(store, &(struct change){ .kind = CHANGE_RETAINED, .number = publication });
}

void store_put_delayed(struct store *store, uint64_t publication, int64_t due_ns) {
    put(store, &(struct change){ .kind = CHANGE_DELAYED, .fresh = true, .number = publication, .as.due_ns = due_ns });
}

void store_delete_delayed(struct store *store, uint64_t publication) {
    erase(store, &(struct change){ .kind = CHANGE_DELAYED, .number = publication });
}

/* ---- groups and tickets -------------------------------------------------------------------------------------------- */

uint64_t store_ticket(const struct store *store) {
    return store->ticket;
}

uint64_t store_durable(const struct store *store) {
    return store->durable;
}

bool store_has_changes(const struct store *store) {
    return store->touched;
}

static size_t waiting(const struct store *store) {
    return group_bytes(store->open) + group_bytes(store->other);
}

static enum writer_state writer_state(struct store *store) {
    enum writer_state state;

    pthread_mutex_lock(&store->lock);
    state = store->state;
    pthread_mutex_unlock(&store->lock);
    return state;
}

static void set_writer_free(struct store *store) {
    pthread_mutex_lock(&store->lock);
    store->state = WRITER_FREE;
    pthread_mutex_unlock(&store->lock);
}

static void next_group(struct store *store) {
    store->handed = store->ticket++;
    store->touched = store->wanted = false;
}

static void swap_groups(struct store *store) {
    struct group *open = store->open;

    store->open = store->other;
    store->other = open;
}

/* The thread is free. */
static void give(struct store *store) {
    swap_groups(store);
    next_group(store);
    pthread_mutex_lock(&store->lock);
    store->state = WRITER_BUSY;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
}

static void tell(struct store *store) {
    store->durable = store->handed;
    store->told(store->told_ctx, store->durable);
}

/* All its changes undid each other: then it is as good as written. */
static bool is_undone(const struct store *store) {
    return store->touched && store->open->count == 0 && !store->lacks_memory;
}

/* What the thread has done. False: it failed, and its group is the open one again. */
static bool take_back(struct store *store) {
    enum writer_state state = writer_state(store);

    if (state == WRITER_WRITTEN) {
        group_reset(store->other);
        set_writer_free(store);
        tell(store);
    } else if (state == WRITER_FAILED) {
        group_absorb(store->other, store->open);
        swap_groups(store);
        set_writer_free(store);
        store->touched = true;
        if (store->open->failed)
            store->lacks_memory = true;
    }
    return state != WRITER_FAILED;
}

static void call_at(struct store *store, int64_t at_ns) {
    pthread_mutex_lock(&store->lock);
    store->alarm_ns = at_ns;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
}

/* The open group goes to the thread, now or when that is possible; `may_tell`: we are in a call of our own, not in one of the broker's. */
static void give_when_due(struct store *store, bool may_tell) {
    int64_t now_ns;

    if (!store->wanted || !store->started || store->lacks_memory || writer_state(store) != WRITER_FREE)
        return;
    now_ns = store->due_ns > 0 ? clock_mono_ns() : 0;
    if (store->due_ns > now_ns || (is_undone(store) && !may_tell)) {
        call_at(store, store->due_ns > now_ns ? store->due_ns : 1);
    } else if (is_undone(store)) {
        next_group(store);
        tell(store);
    } else {
        give(store);
    }
}

void store_hand_over(struct store *store) {
    if (store->touched && !store->wanted) {
        store->wanted = true;
        store->due_ns = store->options.group_ns > 0 ? clock_mono_ns() + store->options.group_ns : 0;
    }
    atomic_store_explicit(&store->waiting_bytes, waiting(store), memory_order_relaxed);
    give_when_due(store, false);
}

/* On the loop's thread, when the thread wants it. */
static void on_notice(struct store *store) {
    if (!take_back(store)) {
        store->wanted = true;
        store->due_ns = clock_mono_ns() + NS_PER_S;
    }
    give_when_due(store, true);
}

static void on_post(void *ctx) {
    struct store *store = ctx;

    pthread_mutex_lock(&store->lock);
    store->posted = false;
    pthread_mutex_unlock(&store->lock);
    on_notice(store);
}

bool store_post(struct store *store) {
    return loop_post(store->loop, on_post, store);
}

/* ---- trouble ------------------------------------------------------------------------------------------------------- */

bool store_degraded(struct store *store, struct err *why) {
    struct err trouble;

    if (store->lacks_memory) {
        err_set(why, ERR_LIMIT, "no memory for the changes of the broker's state: what is on disk has fallen behind for good; restart the program");
        return true;
    }
    pthread_mutex_lock(&store->lock);
    trouble = store->trouble.code != ERR_NONE ? store->trouble : store->upkeep_trouble;
    pthread_mutex_unlock(&store->lock);
    if (trouble.code != ERR_NONE)
        err_set(why, trouble.code, "%s", trouble.text);
    return trouble.code != ERR_NONE;
}

bool store_is_full(const struct store *store) {
    const uint64_t wal_max = 256 << 20; /* only when checkpoints fail */
    uint64_t wal = metric_get(&store->wal_page_count) * DATABASE_PAGE, used = (metric_get(&store->page_count) - metric_get(&store->free_page_count)) * DATABASE_PAGE;
    size_t memory = waiting(store);

    return memory >= STORE_WAITING_MAX || wal >= wal_max || store->lacks_memory ||
           (store->options.max_bytes > 0 && used + memory >= store->options.max_bytes);
}

/* ---- start and end ------------------------------------------------------------------------------------------------- */

bool store_start(struct store *store, struct loop *loop, void (*durable)(void *ctx, uint64_t ticket), void *ctx, struct err *err) {
    sigset_t all, before;
    int error;

    store->loop = loop;
    store->told = durable;
    store->told_ctx = ctx;
    /* Signals are the main thread's business. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&store->thread, NULL, store_thread, store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return err_set_errno(err, error, "cannot start the thread of the broker's database");
    store->started = true;
    return true;
}

/* Until the thread has done with what it has; false: not in time. */
static bool wait_for_writer(struct store *store, int64_t deadline_ns) {
    struct timespec until = clock_timespec(deadline_ns);
    bool done;

    pthread_mutex_lock(&store->lock);
    while (store->state == WRITER_BUSY && pthread_cond_timedwait(&store->done, &store->lock, &until) == 0)
        continue;
    done = store->state != WRITER_BUSY;
    pthread_mutex_unlock(&store->lock);
    return done;
}

static bool write_the_rest(struct store *store, int64_t deadline_ns) {
    const int64_t pause_ns = 50 * NS_PER_MS;

    for (;;) {
        if (!wait_for_writer(store, deadline_ns))
            return false;
        if (!take_back(store)) {
            if (clock_mono_ns() + pause_ns > deadline_ns)
                return false;
            nanosleep(&(struct timespec){ 0, (long)pause_ns }, NULL);
        }
        if (store->lacks_memory)
            return false;
        if (store->open->count == 0)
            break;
        give(store);
    }
    if (store->touched) {
        next_group(store);
        tell(store);
    }
    return true;
}

static void end_thread(struct store *store) {
    pthread_mutex_lock(&store->lock);
    store->ending = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
}

bool store_stop(struct store *store, int64_t timeout_ns) {
    bool fine;

    if (!store->started)
        return store->open->count == 0;
    fine = write_the_rest(store, clock_mono_ns() + timeout_ns);
    end_thread(store);
    if (writer_state(store) != WRITER_BUSY) {
        pthread_join(store->thread, NULL);
        store->started = false;
    }
    return fine;
}

void broker_store_close(struct store *store) {
    if (store == NULL)
        return;
    if (store->started) {
        end_thread(store);
        pthread_join(store->thread, NULL);
    }
    database_close(store->database, NULL);
    group_release(&store->groups[0]);
    group_release(&store->groups[1]);
    if (store->directory >= 0)
        store->ops->close(store->ops->ctx, store->directory);
    pthread_cond_destroy(&store->wake);
    pthread_cond_destroy(&store->done);
    pthread_mutex_destroy(&store->lock);
    free(store);
}
