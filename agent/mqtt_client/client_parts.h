/*
 * agent/mqtt_client/client_parts.h: the inside of a client, shared by client.c (life and requests), client_connect.c (how it
 * gets and keeps a connection) and client_queue.c (what Paho's threads bring). Locks are taken in this order: Paho's, then
 * `lock`; Paho is never called with `lock` held.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_CLIENT_PARTS_H
#define HELIOGRAF_MQTT_CLIENT_CLIENT_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/mqtt_client/client.h"
#include "agent/mqtt_client/connection.h"
#include "agent/mqtt_client/held_acks.h"
#include "agent/mqtt_client/lookup.h"

enum client_phase {
    CLIENT_RESTING, /* until `due_ns` */
    CLIENT_LOOKING_UP,
    CLIENT_OPENING,
    CLIENT_UP,
    CLIENT_CLOSING, /* to connect anew with the keep alive that the broker wants */
};

enum queued_kind { QUEUED_ACCEPTED, QUEUED_FAILED, QUEUED_LOST, QUEUED_CLOSED, QUEUED_SUBSCRIBED, QUEUED_ANSWERED, QUEUED_MESSAGE };

/* One thing that a Paho thread has told; in one allocation with what it points to. */
struct queued {
    struct queued *next;
    enum queued_kind kind;
    const struct connection *connection; /* only to be compared: it may be gone */
    size_t bytes;
    union {
        struct connection_accepted accepted;
        struct connection_failure failure;
        struct {
            char why[120];
            int code;
        } lost;
        struct {
            uint64_t tag;
            int code;
        } answer;
        struct {
            struct mqtt_client_message message;
            uint64_t sequence;
        } arrived;
    } as;
};

struct client_queue {
    _Atomic bool starved; /* something could not be told for want of memory */
    pthread_mutex_t lock; /* guards what follows */
    struct queued *first, **tail;
    size_t bytes;  /* of messages */
    bool paused;   /* the connection is not read */
    bool up;       /* accepted, and neither lost nor closed since */
    bool dropping; /* the client is about to go: messages are left to the broker */
    uint64_t sequence; /* of the last message */
    struct held_acks held[2]; /* of QoS 1 and 2 */
    int wake_fd;
    /* Paho's threads alone: topics of MQTT 5's aliases, by number less one; `alias_max` of them. */
    char **aliases;
    size_t alias_max, longest_alias;
};

/* A publish without an answer yet. In the order in which they were asked for. */
struct pending_publish {
    struct pending_publish *previous, *next;
    uint64_t tag;
    uint32_t generation; /* of the request that is under way; 0: none, to be sent when there is a connection */
    uint32_t slot;
    int qos;
    bool retain;
    const struct mqtt_properties *properties;
    struct str payload;
    char topic[]; /* terminated, then the payload */
};

struct mqtt_client {
    const struct mqtt_client_options *options;
    struct mqtt_options source_options;
    struct mqtt_settings settings;
    struct connection_extras extras;
    struct connection_hooks hooks;
    uint8_t held_bits[65536 / 8];

    struct connection *connection;
    enum client_phase phase;
    size_t server, address, address_count; /* being tried, or connected to */
    int version;
    unsigned keepalive_s;
    struct lookup *lookup;
    int64_t due_ns;      /* monotonic: end of the rest, of the patience with a connect or a close */
    int64_t up_since_ns; /* monotonic */
    unsigned failures;   /* rounds in a row */
    struct connection_accepted accepted;
    struct connection_failure failure; /* the last one */
    char why[1024];                    /* one round's, with servers */
    char lost[200];

    struct client_queue queue;
    struct queued *given; /* what the last event points to */
    uint64_t given_sequence, written_sequence;
    bool acks_waiting; /* the socket took less than was due */

    uint32_t generation, connection_number;
    struct pending_publish *first, *last; /* publishes without an answer */
    struct pending_publish **slots;       /* options->in_flight of them, NULL where free */
    size_t in_flight, next_slot, unsent;
    bool alias_known; /* the broker has the topic of our alias on this connection */
};

/* client_queue.c */
bool client_queue_init(struct client_queue *queue, size_t alias_max, struct err *err);
void client_queue_release(struct client_queue *queue); /* after the connection is gone */
struct connection_hooks client_queue_hooks(struct client_queue *queue);
/* NULL when there is nothing. The caller frees it. */
struct queued *client_queue_take(struct client_queue *queue);
/* True when there is room again and the connection is still unread: connection_pause it. */
bool client_queue_should_resume(struct client_queue *queue);
/* Sends the acknowledgements up to `sequence`; false when some are left. */
bool client_queue_acknowledge(struct client_queue *queue, struct connection *connection, uint64_t sequence);

/* client_connect.c */
/* Moves on whatever waits for time or for the name server; true with an event. */
bool client_advance(struct mqtt_client *client, struct mqtt_client_event *event);
/* What the connection told; true with an event. */
bool client_note(struct mqtt_client *client, const struct queued *queued, struct mqtt_client_event *event);
void client_disconnect(struct mqtt_client *client);

/* client.c */
/* Of the connection that is gone, to be sent again. */
void client_forget_requests(struct mqtt_client *client);
void client_send_pending(struct mqtt_client *client);

#endif
