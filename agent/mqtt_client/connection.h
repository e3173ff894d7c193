/*
 * agent/mqtt_client/connection.h: one Paho client for one server in one MQTT version, used again for every connect to
 * it. The connection*.c files behind it are the only ones that include Paho. Connecting, subscribing, publishing and
 * disconnecting are asked for from any thread but Paho's; what comes of it is told through hooks.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_CONNECTION_H
#define HELIOGRAF_MQTT_CLIENT_CONNECTION_H

#include "agent/base/message.h"
#include "agent/mqtt_client/failure.h"
#include "agent/mqtt_client/properties.h"
#include "agent/mqtt_client/source_options.h"

struct connection;

struct connection_failure {
    enum connection_failure_kind kind;
    char text[200];
};

/* What the broker said when it accepted. */
struct connection_accepted {
    bool session_present;
    bool identifiers;     /* it knows subscription identifiers */
    unsigned keepalive_s; /* it wants this keep alive; 0: ours is fine */
    unsigned receive_maximum; /* publishes that may wait for an answer; 0: it did not say */
    unsigned alias_maximum;   /* topic aliases that we may use; MQTT 5 */
};

enum { MESSAGE_PROPERTIES_MAX = 64, MESSAGE_IDENTIFIERS_MAX = 32, CONNECTION_ADDRESSES_MAX = 8 };

/* A message and what the sink does not need to know of it. */
struct inbound {
    struct message message;
    uint16_t id;                                   /* packet identifier; QoS 1 and 2 */
    bool early;                                    /* Paho acknowledges it by itself: the seam does not work */
    uint32_t identifiers[MESSAGE_IDENTIFIERS_MAX]; /* of the subscriptions that it came for */
    size_t identifier_count;
    const void *properties; /* all of MQTT 5, for connection_properties_*; NULL without */
};

#define SUBSCRIBE_ABANDONED (-1)

/*
 * Called on Paho's threads, one at a time in the whole process and with Paho's lock held: they must not wait for
 * anything that waits for that lock, and must not call the functions below.
 */
struct connection_hooks {
    void *ctx;
    void (*accepted)(void *ctx, struct connection *connection, const struct connection_accepted *how);
    void (*failed)(void *ctx, struct connection *connection, const struct connection_failure *why);
    /* After `accepted`. `code`: of the broker's DISCONNECT in MQTT 5, 0 without one. */
    void (*lost)(void *ctx, struct connection *connection, const char *why, int code);
    void (*closed)(void *ctx, struct connection *connection);                /* connection_close has come to its end */
    /* SUBACK's code for one filter; SUBSCRIBE_ABANDONED when the connection ended before. */
    void (*subscribed)(void *ctx, struct connection *connection, uint64_t tag, int code);
    void (*message)(void *ctx, struct connection *connection, const struct inbound *inbound);
    /* The code that ends an unsubscribe or a publish: 0 in MQTT 3, SUBSCRIBE_ABANDONED when the connection ended before. */
    void (*answered)(void *ctx, struct connection *connection, uint64_t tag, int code);
};

/* What the command line's client wants beyond a source's settings. Borrowed until connection_free. */
struct connection_extras {
    const char *bind_address; /* numeric; NULL: any */
    const char *will_topic;   /* NULL: no will */
    struct str will_payload;
    int will_qos;
    bool will_retain;
    struct mqtt_properties connect, will, disconnect; /* MQTT 5 */
    uint32_t session_expiry_s;                        /* MQTT 5 */
    const char *tls_ca_directory, *tls_alpn;
    bool tls_any_name; /* of the certificate: only the chain is checked */
    int buffered;      /* publishes that Paho may hold before it sends them */
    uint8_t *held;     /* 8192 bytes: bits of QoS 2 messages whose PUBREC is held in MQTT 5 */
};

struct connection_terms {
    int version; /* 3: MQTT 3.1; 4: 3.1.1; 5 */
    const char *client_id;
    bool clean; /* no session from before, and, without extras, none kept */
    const struct connection_extras *extras; /* NULL: none */
};

/* Everything is borrowed until connection_free, except `terms`. NULL with `err`. */
struct connection *connection_new(const struct mqtt_settings *settings, const struct mqtt_server *server,
                                  const struct connection_terms *terms, const struct connection_hooks *hooks,
                                  struct err *err);
/* Closes what is open, without another hook. Waits for a running one. NULL is fine. */
void connection_free(struct connection *connection);

const struct mqtt_server *connection_server(const struct connection *connection);
int connection_version(const struct connection *connection);

/* Looks the host up, which may take long; how many addresses there are to be tried, 0 with `failure`. */
size_t connection_resolve(struct connection *connection, struct connection_failure *failure);
/* For who has looked it up himself: the numeric addresses, at most CONNECTION_ADDRESSES_MAX of them. */
void connection_set_addresses(struct connection *connection, char (*addresses)[64], size_t count);
/*
 * Asks for a connect to one of them. True: `accepted` or `failed` follows, within connection_timeout and some seconds.
 * False with `failure`: nothing follows.
 */
bool connection_open(struct connection *connection, size_t address, unsigned keepalive_s,
                     struct connection_failure *failure);
/* An attempt has ended, by `accepted`, by `failed`, or because its caller has lost patience. */
void connection_opened(struct connection *connection);
/* Sends DISCONNECT and closes. True: `closed` follows. False: there was no connection. */
bool connection_close(struct connection *connection);
/* After `closed`: until the broker has closed its side, too, and so has read all that was sent; for `timeout_ms` at most. */
void connection_linger(struct connection *connection, int timeout_ms);

/* True: `subscribed` follows with `tag`. `identifier` 0: none. MQTT 5's options are ignored in 3.1.1. */
bool connection_subscribe(struct connection *connection, const char *filter, int qos, int retain_handling,
                          uint32_t identifier, uint64_t tag);

/* The same with everything that MQTT 5 has; its properties may be NULL. */
struct connection_subscription {
    const char *filter;
    int qos, retain_handling;
    bool retain_as_published;
    const struct mqtt_properties *properties;
};
bool connection_subscribe_as(struct connection *connection, const struct connection_subscription *how, uint64_t tag);

/* True: `answered` follows with `tag`. Properties may be NULL. */
bool connection_unsubscribe(struct connection *connection, const char *filter, const struct mqtt_properties *properties,
                            uint64_t tag);
struct connection_publish {
    const char *topic;
    struct str payload;
    int qos;
    bool retain;
    const struct mqtt_properties *properties;
};
bool connection_publish(struct connection *connection, const struct connection_publish *publish, uint64_t tag,
                        struct err *err);

/* Of inbound.properties: how many there are, and how many bytes their texts have together; and copies, whose texts stand in `text`. */
size_t connection_properties_count(const void *properties);
size_t connection_properties_bytes(const void *properties);
void connection_properties_copy(const void *properties, struct mqtt_property *out, char *text);

/* Stops and resumes reading: what the broker sends waits in the socket. Under connection_lock, or within `message`. */
void connection_pause(struct connection *connection, bool paused);

/* Keeps Paho from calling hooks meanwhile, e.g. so that connection_acknowledge meets the connection it expects. */
void connection_lock(void);
void connection_unlock(void);
/* Under connection_lock: PUBACKs in this order; how many were sent, fewer when the socket takes no more now. */
size_t connection_acknowledge(struct connection *connection, const uint16_t *ids, size_t count);
/* The same with PUBRECs, for messages of QoS 2 in MQTT 5 that extras.held let be held. */
size_t connection_acknowledge_received(struct connection *connection, const uint16_t *ids, size_t count);

/* Whether it ends, or ended, for a packet that was none that MQTT allows. In a hook. */
bool connection_was_malformed(const struct connection *connection);

/* In words, for SUBACK and CONNACK alike; `version` as in the terms. */
const char *connection_reason(int version, int code);
/* What kind of refusal a code of CONNACK is. */
enum connection_failure_kind connection_refusal_kind(int version, int code);

/* Once per process: as mqtt_client_setup. */
bool connection_setup(struct err *err);

#endif
