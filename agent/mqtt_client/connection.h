/*
 * agent/mqtt_client/connection.h: one Paho client for one server in one MQTT version, used again for every connect to
 * it. The two files behind it are the only ones that include Paho. Connecting, subscribing and disconnecting are asked
 * for from any thread but Paho's; what comes of it is told through hooks.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_CONNECTION_H
#define HELIOGRAF_MQTT_CLIENT_CONNECTION_H

#include "agent/base/message.h"
#include "agent/mqtt_client/source_options.h"

struct connection;

enum connection_failure_kind {
    FAILED_NAME,    /* the name server does not know the host, or does not answer */
    FAILED_NETWORK, /* refused, unreachable */
    FAILED_TLS,     /* no agreement on TLS, or not the certificate that we want */
    FAILED_TIMEOUT,
    FAILED_CREDENTIALS, /* the broker knows us and says no: user, password, authorisation, client id */
    FAILED_VERSION,     /* the broker does not speak this version of MQTT */
    FAILED_CLOSED,      /* the broker ends the connection without a word; old ones do so on MQTT 5 */
    FAILED_BROKER,      /* any other refusal */
    FAILED_KINDS,
};
const char *connection_failure_name(enum connection_failure_kind kind);

struct connection_failure {
    enum connection_failure_kind kind;
    char text[200];
};

/* What the broker said when it accepted. */
struct connection_accepted {
    bool session_present;
    bool identifiers;     /* it knows subscription identifiers */
    unsigned keepalive_s; /* it wants this keep alive; 0: ours is fine */
};

enum { MESSAGE_PROPERTIES_MAX = 64, MESSAGE_IDENTIFIERS_MAX = 32 };

/* A message and what the sink does not need to know of it. */
struct inbound {
    struct message message;
    uint16_t id;                                   /* packet identifier; QoS 1 and 2 */
    bool early;                                    /* Paho acknowledges it by itself: the seam does not work */
    uint32_t identifiers[MESSAGE_IDENTIFIERS_MAX]; /* of the subscriptions that it came for */
    size_t identifier_count;
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
    void (*lost)(void *ctx, struct connection *connection, const char *why); /* after `accepted` */
    void (*closed)(void *ctx, struct connection *connection);                /* connection_close has come to its end */
    /* SUBACK's code for one filter; SUBSCRIBE_ABANDONED when the connection ended before. */
    void (*subscribed)(void *ctx, struct connection *connection, uint64_t tag, int code);
    void (*message)(void *ctx, struct connection *connection, const struct inbound *inbound);
};

struct connection_terms {
    int version; /* 4: MQTT 3.1.1; 5 */
    const char *client_id;
    bool clean; /* no session from before, and none kept */
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

/* Keeps Paho from calling hooks meanwhile, e.g. so that connection_acknowledge meets the connection it expects. */
void connection_lock(void);
void connection_unlock(void);
/* Under connection_lock: PUBACKs in this order; how many were sent, fewer when the socket takes no more now. */
size_t connection_acknowledge(struct connection *connection, const uint16_t *ids, size_t count);

/* Whether it ends, or ended, for a packet that was none that MQTT allows. In a hook. */
bool connection_was_malformed(const struct connection *connection);

/* In words, for SUBACK and CONNACK alike; `version` as in the terms. */
const char *connection_reason(int version, int code);
/* What kind of refusal a code of CONNACK is. */
enum connection_failure_kind connection_refusal_kind(int version, int code);

/* Once per process: as mqtt_client_setup. */
bool connection_setup(struct err *err);

#endif
