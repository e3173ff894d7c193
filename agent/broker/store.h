/*
 * agent/broker/store.h: what of the broker survives its process: sessions, subscriptions, queued and in-flight messages, QoS 2
 * identifiers, retained and delayed messages, wills. The broker has all of it in memory and tells the store every change; the
 * store writes changes to an SQLite database (WAL) in groups, on a thread of its own, and says when a group is on disk. What is
 * acknowledged to a client waits for that. Bytes written follow the changes, not the size of the database.
 *
 * All functions on the loop's thread (before it runs, on the one that starts it). A change costs some copying here and no I/O. A change that undoes one
 * of the same group (a delivery that was acknowledged before it was written) takes both away. Nothing of a group is on disk without all of it.
 */
#ifndef HELIOGRAF_BROKER_STORE_H
#define HELIOGRAF_BROKER_STORE_H

#include "agent/base/err.h"
#include "agent/base/metric.h"
#include "agent/broker/publication.h"
#include "agent/broker/topic_tree.h"
#include "agent/loop/loop.h"

struct store;

struct store_options {
    const char *directory; /* exists; the database is broker.db in it, mode 0600 */
    bool sync;             /* true: a group is durable after fsync (synchronous=FULL); false: after the write, fsynced by SQLite's checkpoints (NORMAL) */
    int64_t group_ns;      /* a group waits so long for more changes; 0: until the thread is free */
    uint64_t max_bytes;    /* of the database; 0: no limit. At it the store is full (store_is_full) */
    const char *vfs;       /* tests only: SQLite's name of what stands in for the system's files; NULL: its own */
};

/*
 * A session as it is kept; or, with expiry_s 0, a client that is connected: such a row tells the next process whose connections have ended with this one.
 * Strings are borrowed.
 */
struct stored_session {
    uint64_t number; /* the broker's; > 0, never used again */
    struct str client_id, user;
    uint8_t version;        /* of MQTT: 3, 4, 5 */
    uint32_t expiry_s;      /* UINT32_MAX: never */
    int64_t ended_ns;       /* real time when its connection ended; 0: it was connected */
    bool has_will;
    uint32_t will_delay_s;
    uint64_t will;          /* number of its publication */
};

enum delivery_state {
    DELIVERY_QUEUED,   /* never sent: packet_id is 0 */
    DELIVERY_SENT,     /* PUBLISH sent: to be sent again with DUP */
    DELIVERY_RECEIVED, /* QoS 2: PUBREC has come: PUBREL is to be sent again */
};

/* A message that is owed to a session. */
struct stored_delivery {
    uint64_t session, number; /* the second: the store's, rising from put to put, so that it is the order of delivery, too */
    uint64_t publication;     /* its number */
    uint8_t qos;
    bool retain;
    uint16_t packet_id;
    enum delivery_state state;
    struct str subscription_ids; /* encoded for the PUBLISH */
};

/*
 * What is read at the start, in this order: publications, sessions, subscriptions, received identifiers, then deliveries, retained and delayed, mixed, in the
 * order in which they were put. A row that refers to what is not there is left out, counted and deleted; a will that is not there is none.
 */
struct store_reader {
    void *ctx;
    void (*publication)(void *ctx, struct publication *publication); /* the reader's reference; `number` is set, the next is larger */
    void (*session)(void *ctx, const struct stored_session *session);
    void (*subscription)(void *ctx, uint64_t session, struct str filter, const struct subscription_terms *terms);
    void (*received)(void *ctx, uint64_t session, uint16_t packet_id);
    void (*delivery)(void *ctx, const struct stored_delivery *delivery);
    void (*retained)(void *ctx, uint64_t publication);
    void (*delayed)(void *ctx, uint64_t publication, int64_t due_ns);
};

struct store_recovery {
    uint64_t publications, sessions, connected, subscriptions, received, deliveries, retained, delayed, orphans;
    uint64_t salvaged; /* rows that were read from a damaged database, some perhaps twice */
    bool damaged;        /* the database was not whole: what could be read is in a new one, the old one is kept as broker.db.damaged-<time> (with its log) */
    char set_aside[600]; /* its path */
    char damage[240];    /* what was found, in words */
    int64_t duration_ns;
};

/*
 * The spool has a store_open and a store_close of its own, hence the names of this pair.
 *
 * Opens or makes the database and reads it. Damage is set aside and reported, never a reason to refuse; NULL with words when the directory cannot be
 * used, another process has it, or the file is of a newer version. `recovery` is filled in either case.
 */
struct store *broker_store_open(const struct store_options *options, const struct store_reader *reader, struct store_recovery *recovery, struct err *err);
/*
 * Starts the thread; `durable` is called on the loop's thread (loop_post) when groups are on disk: everything up to `ticket`. Changes may be
 * told before; they are the first group.
 */
bool store_start(struct store *store, struct loop *loop, void (*durable)(void *ctx, uint64_t ticket), void *ctx, struct err *err);
/*
 * Writes what is left, handed over or not, within `timeout_ns`, and ends the thread; `durable` may be called from within. False: some of it is not on
 * disk. No changes after it.
 */
bool store_stop(struct store *store, int64_t timeout_ns);
/*
 * Waits for the thread, without writing what is left, which store_stop does. After loop_stop, because word from the thread may wait there, and before
 * loop_free. NULL is fine.
 */
void broker_store_close(struct store *store);

/*
 * Changes. `put` adds; of a session or a subscription it also replaces. A change that there is no memory for makes the store useless: it says so
 * (store_degraded, store_is_full), and no ticket comes any more.
 */
void store_put_session(struct store *store, const struct stored_session *session);
void store_delete_session(struct store *store, uint64_t session); /* with its subscriptions and identifiers; its deliveries go one by one */
void store_put_subscription(struct store *store, uint64_t session, struct str filter, const struct subscription_terms *terms);
void store_delete_subscription(struct store *store, uint64_t session, struct str filter);
void store_put_received(struct store *store, uint64_t session, uint16_t packet_id); /* QoS 2, from PUBLISH to PUBREL */
void store_delete_received(struct store *store, uint64_t session, uint16_t packet_id);
/*
 * Gives the publication its number and its row; it must have none. A reference is held until it is written. The broker counts what refers to it
 * (publication.rows) and deletes it with the last.
 */
void store_put_publication(struct store *store, struct publication *publication);
void store_delete_publication(struct store *store, uint64_t publication);
/* Its number is given here, whatever stands there. */
uint64_t store_put_delivery(struct store *store, const struct stored_delivery *delivery);
void store_update_delivery(struct store *store, const struct stored_delivery *delivery); /* all of it, as it is now */
void store_delete_delivery(struct store *store, uint64_t number);
void store_put_retained(struct store *store, uint64_t publication); /* the one of its topic: whatever was retained there is deleted by the broker */
void store_delete_retained(struct store *store, uint64_t publication);
void store_put_delayed(struct store *store, uint64_t publication, int64_t due_ns);
void store_delete_delayed(struct store *store, uint64_t publication);

/* The group that changes of now belong to: what is acknowledged because of them waits for this ticket. */
uint64_t store_ticket(const struct store *store);
/* Whether the open group has changes. */
bool store_has_changes(const struct store *store);
/*
 * Lets the open group go to the thread, when it is free and group_ns have passed: until then the group stays open, and takes more. Once per round of
 * the loop. Nothing happens without changes.
 */
void store_hand_over(struct store *store);
uint64_t store_durable(const struct store *store); /* the last ticket that `durable` was told */

/* True while the disk refuses: tickets stand still, the thread tries again every second. `why` (may be NULL) gets the words. */
bool store_degraded(struct store *store, struct err *why);
/*
 * The broker is to take no message that needs a new row: the database has reached max_bytes, or what waits for the disk STORE_WAITING_MAX bytes of
 * memory. Changes that free something are always fine, and whatever is told all the same is kept.
 */
enum { STORE_WAITING_MAX = 64 << 20 };
bool store_is_full(const struct store *store);

/* Figures: heliograf_broker_store_*: groups, changes, changes that undid each other, bytes of database and WAL, seconds of the last group, errors. Any thread. */
void store_collect(void *store, const struct metric_writer *writer);

#endif
