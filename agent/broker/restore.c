/* agent/broker/restore.c: the state at the start: what the store has becomes sessions, debts, retained and delayed messages again. */
#include <stdlib.h>
#include <string.h>

#include "agent/base/fs.h"
#include "agent/broker/parts.h"

/* By number, while the store is read. */
struct index {
    struct entry {
        uint64_t number;
        void *what;
    } *entries;
    size_t count, cap;
    bool sorted, failed;
};

struct restoring {
    struct broker *broker;
    struct index publications, sessions, connected;
    struct index retained_left, delayed_left; /* for which there is no room any more */
};

static void index_add(struct index *index, uint64_t number, void *what) {
    if (index->count == index->cap) {
        size_t cap = index->cap > 0 ? index->cap * 2 : 256;
        struct entry *larger = realloc(index->entries, cap * sizeof *larger);
        if (larger == NULL) {
            index->failed = true;
            return;
        }
        index->entries = larger;
        index->cap = cap;
    }
    index->entries[index->count++] = (struct entry){ number, what };
    index->sorted = false;
}

static int by_number(const void *a, const void *b) {
    const struct entry *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

static void *index_find(struct index *index, uint64_t number) {
    const struct entry key = { .number = number };
    const struct entry *found;

    if (index->count == 0)
        return NULL;
    if (!index->sorted)
        qsort(index->entries, index->count, sizeof *index->entries, by_number);
    index->sorted = true;
    found = bsearch(&key, index->entries, index->count, sizeof *index->entries, by_number);
    return found != NULL ? found->what : NULL;
}

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

static void on_publication(void *ctx, struct publication *publication) {
    struct restoring *restoring = ctx;

    publication->rows = 0;
    index_add(&restoring->publications, publication->number, publication);
}

/*
 * A client that was connected when we ended, or one whose will was waiting: it has time to come back before it is declared dead.
 */
static void restore_will(struct session *session, const struct stored_session *row, struct publication *publication) {
    session->will = (struct will){ .publication = publication_ref(publication), .delay_s = row->will_delay_s, .stored = true };
    publication->rows++;
}

/* Whoever was connected then. */
struct lost_client {
    struct str client_id, user;
    char texts[];
};

static void on_connected(struct restoring *restoring, const struct stored_session *row) {
    struct broker *broker = restoring->broker;
    struct lost_client *lost = malloc(sizeof *lost + row->client_id.len + row->user.len);

    if (row->number >= broker->next_session)
        broker->next_session = row->number + 1;
    if (lost == NULL)
        return;
    lost->client_id = str_make(lost->texts, row->client_id.len);
    lost->user = str_make(lost->texts + row->client_id.len, row->user.len);
    memcpy(lost->texts, row->client_id.data, row->client_id.len);
    memcpy(lost->texts + row->client_id.len, row->user.data, row->user.len);
    index_add(&restoring->connected, row->number, lost);
    if (restoring->connected.failed)
        free(lost);
}

static void on_session(void *ctx, const struct stored_session *row) {
    struct restoring *restoring = ctx;
    struct broker *broker = restoring->broker;

    if (row->expiry_s == 0) {
        on_connected(restoring, row);
        return;
    }
    struct publication *will = row->has_will ? index_find(&restoring->publications, row->will) : NULL;
    struct session *session = session_find(broker, row->client_id) == NULL ? session_new(broker, row->client_id, row->user, row->number) : NULL;

    if (session == NULL)
        return;
    session->version = (enum mqtt_version)row->version;
    session->expiry_s = row->expiry_s;
    session->ended_ns = row->ended_ns != 0 ? row->ended_ns : clock_real_ns();
    session->stored = true;
    if (will != NULL)
        restore_will(session, row, will);
    index_add(&restoring->sessions, row->number, session);
}

static void on_subscription(void *ctx, uint64_t number, struct str filter, const struct subscription_terms *terms) {
    struct restoring *restoring = ctx;
    struct session *session = index_find(&restoring->sessions, number);
    struct mqtt_subscription subscription = { .filter = filter, .topics = filter, .share = { NULL, 0 } };

    if (session == NULL)
        return;
    if (str_starts_with(filter, STR("$share/"))) {
        subscription.topics = str_make(filter.data + strlen("$share/"), filter.len - strlen("$share/"));
        subscription.share = str_split(&subscription.topics, '/');
    }
    session->stored = false; /* it is there already */
    session_subscribe(session, &subscription, terms);
    session->stored = true;
}

static void on_received_id(void *ctx, uint64_t number, uint16_t packet_id) {
    struct restoring *restoring = ctx;
    struct session *session = index_find(&restoring->sessions, number);

    if (session == NULL)
        return;
    session->stored = false;
    session_add_received(session, packet_id);
    session->restored_count = session->received_count;
    session->stored = true;
}

static void on_delivery(void *ctx, const struct stored_delivery *row) {
    struct restoring *restoring = ctx;
    struct session *session = index_find(&restoring->sessions, row->session);
    struct publication *publication = index_find(&restoring->publications, row->publication);

    if (session != NULL && publication != NULL)
        outbox_restore(session, row, publication);
}

static void on_retained(void *ctx, uint64_t number) {
    struct restoring *restoring = ctx;
    struct publication *publication = index_find(&restoring->publications, number);

    if (publication == NULL)
        return;
    if (retained_set(restoring->broker->retained, publication) == RETAINED_SET)
        publication->rows++;
    else
        index_add(&restoring->retained_left, number, NULL);
}

static void on_delayed(void *ctx, uint64_t number, int64_t due_ns) {
    struct restoring *restoring = ctx;
    struct publication *publication = index_find(&restoring->publications, number);

    if (publication == NULL)
        return;
    if (delayed_restore(restoring->broker, publication, due_ns))
        publication->rows++;
    else
        index_add(&restoring->delayed_left, number, NULL);
}

/* ---- afterwards ---------------------------------------------------------------------------------------------------- */

/* Away since it left, by the real clock; its will gets a grace from now on. */
static void put_offline(struct broker *broker) {
    const int64_t grace_s = 30;
    int64_t mono_ns = clock_mono_ns(), real_ns = clock_real_ns();

    for (size_t i = 0; i < broker->bucket_count; i++)
        for (struct session *session = broker->buckets[i]; session != NULL; session = session->next_in_bucket) {
            int64_t away_ns = real_ns - session->ended_ns;
            session->connection = NULL;
            session_wait(session, mono_ns - (away_ns > 0 ? away_ns : 0),
                         mono_ns + (session->will.delay_s > grace_s ? session->will.delay_s : grace_s) * NS_PER_S);
        }
}

static void let_left_ones_go(struct restoring *restoring) {
    struct store *store = restoring->broker->store;

    for (size_t i = 0; i < restoring->retained_left.count; i++)
        store_delete_retained(store, restoring->retained_left.entries[i].number);
    for (size_t i = 0; i < restoring->delayed_left.count; i++)
        store_delete_delayed(store, restoring->delayed_left.entries[i].number);
}

/* What nothing refers to any more. */
static void let_orphans_go(struct broker *broker, struct index *publications) {
    for (size_t i = 0; i < publications->count; i++) {
        struct publication *publication = publications->entries[i].what;
        if (publication->rows == 0)
            store_delete_publication(broker->store, publication->number);
        publication_unref(publication);
    }
}

/* Their connections ended with the process before this one: the points that say so come now. */
static void close_presence(struct broker *broker, const struct index *connected) {
    for (size_t i = 0; i < connected->count; i++) {
        const struct lost_client *lost = connected->entries[i].what;
        presence_was_lost(broker, lost->client_id, lost->user);
        store_delete_session(broker->store, connected->entries[i].number);
    }
}

static void release_connected(struct index *connected) {
    for (size_t i = 0; i < connected->count; i++)
        free(connected->entries[i].what);
    free(connected->entries);
}

static void report(const struct restoring *restoring, const struct store_recovery *found, const char *directory) {
    if (found->damaged)
        log_warn("BROKER-STATE-DAMAGED", "the broker's state was damaged (%s): the %llu rows that could be read are in use, the damaged file is kept as %s",
                 found->damage, (unsigned long long)found->salvaged, found->set_aside);
    if (found->connected > 0)
        log_info("BROKER-UNCLEAN", "%llu clients were connected when the program ended without having closed their connections", (unsigned long long)found->connected);
    if (found->orphans > 0)
        log_warn("BROKER-STATE-ORPHANS", "%llu rows of the broker's state in %s refer to what is not there, and are deleted",
                 (unsigned long long)found->orphans, directory);
    if (restoring->retained_left.count > 0 || restoring->delayed_left.count > 0)
        log_warn("BROKER-STATE-LEFT", "%zu retained and %zu delayed messages of %s are dropped: there is no room for them within broker.max_retained_*, "
                 "max_delayed_* and memory_limit any more", restoring->retained_left.count, restoring->delayed_left.count, directory);
    if (found->sessions > 0 || found->retained > 0 || found->delayed > 0)
        log_info("BROKER-STATE", "%llu sessions with %llu messages, %llu retained and %llu delayed messages from %s, read in %lld ms",
                 (unsigned long long)found->sessions, (unsigned long long)found->deliveries, (unsigned long long)found->retained,
                 (unsigned long long)found->delayed, directory, (long long)(found->duration_ns / NS_PER_MS));
}

bool restore_state(struct broker *broker, struct err *err) {
    const struct persistence_settings *settings = &broker->settings->persistence;
    const struct store_options options = { .directory = settings->directory, .sync = settings->sync, .group_ns = settings->group_ns,
                                           .max_bytes = settings->max_bytes };
    struct restoring restoring = { .broker = broker };
    const struct store_reader reader = { &restoring, on_publication, on_session, on_subscription, on_received_id, on_delivery, on_retained, on_delayed };
    struct store_recovery found = { .damaged = false };
    struct err trouble = ERR_INIT;

    if (!settings->enabled)
        return true;
    if (!fs_make_directories(settings->directory, 0700, &trouble))
        return err_set(err, ERR_IO, "%s; set broker.persistence.directory to a directory that this user may write to, or broker.persistence to false",
                       trouble.text);
    broker->store = broker_store_open(&options, &reader, &found, err);
    if (broker->store != NULL) {
        let_left_ones_go(&restoring);
        let_orphans_go(broker, &restoring.publications);
        put_offline(broker);
        close_presence(broker, &restoring.connected);
        report(&restoring, &found, settings->directory);
    }
    free(restoring.publications.entries);
    free(restoring.sessions.entries);
    release_connected(&restoring.connected);
    free(restoring.retained_left.entries);
    free(restoring.delayed_left.entries);
    return broker->store != NULL;
}
