/*
 * agent/mqtt_client/source_parts.h: the inside of a source, shared by the files that make it up: source.c (life),
 * keeper.c and reach.c (the thread that connects, subscribes and acknowledges), inbox.c (messages, on Paho's receive
 * thread), source_metrics.c and probe.c. Locks are taken in this order: Paho's, then `lock`; Paho is never called with
 * `lock` held.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_SOURCE_PARTS_H
#define HELIOGRAF_MQTT_CLIENT_SOURCE_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/base/log.h"
#include "agent/mqtt_client/connection.h"
#include "agent/mqtt_client/held_acks.h"
#include "agent/mqtt_client/redelivery.h"
#include "agent/mqtt_client/source.h"
#include "agent/mqtt_client/subscription.h"

enum phase { PHASE_DOWN, PHASE_CONNECTING, PHASE_UP };

/* What is remembered of a server while the source lives. */
struct server_memory {
    struct connection *v5, *v311;
    bool refuses_v5;      /* it said so */
    unsigned closed;      /* in a row: closed without a word when asked for MQTT 5 */
    unsigned keepalive_s; /* what it wants; 0: ours */
};

struct source_figures {
    metric_counter connects, disconnects, malformed, failures[FAILED_KINDS];
    metric_counter received, bytes, duplicates, known, retained_skipped, overlap_copies, refused, too_large, dropped;
    metric_counter acks_sent, acks_discarded, early_acks;
    _Atomic int64_t last_message_ns;
};

struct mqtt_source {
    char *name;
    struct mqtt_settings settings;
    struct message_sink sink;
    struct connection_hooks hooks;
    bool late;  /* acknowledge when durable; false: a dry run */
    bool clean; /* no session is kept */
    char client_id[256];
    struct server_memory *servers;
    pthread_t keeper;
    bool started;

    _Atomic uint64_t durable; /* may be acknowledged */
    _Atomic bool nudged;      /* the keeper has been told and has not looked yet */
    _Atomic bool taking;      /* messages go to the sink */
    _Atomic bool was_ready;
    _Atomic bool refusing; /* a message of this connection stays unacknowledged, so none behind it is taken */
    _Atomic(struct connection *) current;
    uint32_t session; /* of the current connection; on Paho's threads, under its lock */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    enum phase phase;
    bool wake, stopping, closed, finished;
    int64_t stop_deadline_ns; /* monotonic */
    struct connection_accepted accepted;
    struct connection_failure failure;
    char lost_why[120];
    uint64_t epoch; /* of the connection; rises with every one */
    struct subscriptions subscriptions;
    struct held_acks held;
    struct redelivery redelivery;
    struct message_origin *remembered; /* of an earlier run, until the first session is resumed */
    size_t remembered_count;
    int64_t reconnect_at_ns; /* monotonic; to have refused messages sent again. 0: no need */
    uint64_t durable_at_refusal;

    struct complaint connect_trouble, refuse_trouble, early_trouble, large_trouble, answer_trouble, hold_trouble;
    struct source_figures figures;
};

/* The connection is gone, and with it the acknowledgements that were not sent on it. With the lock held. */
void source_forget_acks(struct mqtt_source *source);

/* Wakes the keeper. Any thread; not with `lock` held. */
void source_nudge(struct mqtt_source *source);

/* The keeper's: waits until it is woken or `deadline_ns` (monotonic) is past; with the lock held. */
void source_wait(struct mqtt_source *source, int64_t deadline_ns);
bool source_is_stopping(struct mqtt_source *source);

void *keeper_main(void *source);
/* True when a server has accepted us: the phase is up, `current` its connection. Otherwise `failure` is the last one.
 */
bool reach_server(struct mqtt_source *source, size_t server, struct connection_failure *failure);
/* Replaces a connection by a new one to the same server; `current` is nobody then. */
void reach_renew(struct mqtt_source *source, struct connection *connection);
/* In seconds: the broker's wish counts when it is below ours. */
unsigned reach_keepalive(const struct mqtt_source *source, size_t server);

/* Hooks of the connection; on Paho's threads. */
void inbox_message(void *source, struct connection *connection, const struct inbound *inbound);

/* A default or given client id, fit for the session that is wanted; `probing`: one that takes over nobody's session. */
void source_client_id(const struct mqtt_source *source, bool probing, char *out, size_t size);

#endif
