/*
 * agent/mqtt_client/client.h: an MQTT client for the command line: connects and comes back, subscribes, publishes, and
 * hands over what happens as events. One thread uses it. What Paho's threads bring waits in a queue that has a limit: when it
 * is full the connection is not read any more, so that TCP holds the broker back.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_CLIENT_H
#define HELIOGRAF_MQTT_CLIENT_CLIENT_H

#include "agent/base/err.h"
#include "agent/mqtt_client/failure.h"
#include "agent/mqtt_client/properties.h"

struct mqtt_client;

enum mqtt_client_tls { MQTT_CLIENT_TLS_AS_URL, MQTT_CLIENT_TLS_ALWAYS };
enum mqtt_client_verify {
    MQTT_CLIENT_VERIFY_ALL,
    MQTT_CLIENT_VERIFY_CHAIN, /* any name on the certificate will do */
    MQTT_CLIENT_VERIFY_NONE,
};

/* Strings and lists are borrowed for the client's life. NULL, 0 and false mean: not given. */
struct mqtt_client_options {
    const char *const *servers; /* scheme://host[:port][/path]: tcp, mqtt, ssl, tls, mqtts, ws, wss; tried in order */
    size_t server_count;
    int version; /* 3: MQTT 3.1, 4: 3.1.1, 5; 0: 5, and 3.1.1 with a broker that does not know it */
    const char *client_id;
    bool keep_session;         /* no clean start; in MQTT 3 the broker then keeps the session, too */
    uint32_t session_expiry_s; /* MQTT 5 */
    unsigned keepalive_s;
    const char *username, *password;
    const char *password_file; /* read at every connect, before `password` */
    const char *bind_address;  /* numeric */
    struct {
        const char *topic; /* NULL: no will */
        struct str payload;
        int qos;
        bool retain;
    } will;
    struct mqtt_properties connect_properties, will_properties, disconnect_properties; /* MQTT 5 */
    enum mqtt_client_tls tls;
    enum mqtt_client_verify verify;
    const char *tls_ca, *tls_ca_directory, *tls_cert, *tls_key, *tls_key_password, *tls_server_name;
    const char *tls_ciphers;  /* as OpenSSL writes lists, for TLS 1.2 */
    const char *tls_suites;   /* from mqtt_source_client_options; before `tls_ciphers` and `tls_13` */
    const char *tls_alpn;    /* one protocol's name */
    bool tls_13;             /* nothing below TLS 1.3 */
    unsigned in_flight;       /* publishes without an answer at most, 1 to 65535 */
    unsigned receive_maximum; /* messages that the broker may send without an acknowledgement (MQTT 5); 0: 1000 */
    bool trace;              /* the library's trace to the log, at debug level */
};

/* Borrowed from the event. */
struct mqtt_client_message {
    struct str topic, payload;
    int64_t received_ns; /* since 1970 UTC */
    uint16_t id;         /* packet identifier; 0 at QoS 0 */
    uint8_t qos;
    bool retain, dup;
    struct mqtt_properties properties;
};

enum mqtt_client_event_kind {
    MQTT_CLIENT_CONNECTED, /* also after every reconnect: subscriptions are to be made again */
    MQTT_CLIENT_FAILED,    /* no server would do. `final`: nor will one later; else it is tried again */
    MQTT_CLIENT_LOST,      /* connects again by itself; `final`: but the broker will not have what we send then either */
    MQTT_CLIENT_ANSWER,    /* to a subscribe, an unsubscribe or a publish */
    MQTT_CLIENT_MESSAGE,
};

/* What an answer's code says when the connection ended before the broker's did. Publishes are sent again by themselves. */
#define MQTT_CLIENT_ABANDONED (-1)

struct mqtt_client_event {
    enum mqtt_client_event_kind kind;
    const char *server;   /* CONNECTED, LOST: its URL */
    const char *text;     /* LOST: why; FAILED: why, with the URL of every server that was tried */
    bool final;           /* FAILED, LOST */
    enum connection_failure_kind failure; /* FAILED: of the last server */
    bool session_present; /* CONNECTED */
    unsigned alias_maximum; /* CONNECTED: topic aliases that the broker takes */
    int version;          /* CONNECTED, ANSWER */
    uint64_t tag;         /* ANSWER: the request's */
    int code;             /* ANSWER: the broker's, or MQTT_CLIENT_ABANDONED */
    bool publish;         /* ANSWER: to a publish */
    struct mqtt_client_message message;
};

struct mqtt_client_subscription {
    const char *filter;
    int qos;
    bool retain_as_published, retain_never;    /* MQTT 5 */
    const struct mqtt_properties *properties; /* MQTT 5; may be NULL */
};

struct mqtt_client_publish {
    struct str topic, payload;
    int qos;
    bool retain;
    const struct mqtt_properties *properties; /* MQTT 5; may be NULL; borrowed until the answer */
};

/* `base`, up to 64 letters, and 8 random hexadecimal digits. */
void mqtt_client_random_id(const char *base, char out[80]);

/* True when the URL of a server is one. */
bool mqtt_client_check_server(const char *url, struct err *err);

/* Checks the options and begins to connect. NULL with `err`. mqtt_client_setup comes first (source.h). */
struct mqtt_client *mqtt_client_new(const struct mqtt_client_options *options, struct err *err);
/* Disconnects as options.disconnect_properties say, and waits for at most a few seconds until the broker has read
 * everything; NULL is fine. */
void mqtt_client_free(struct mqtt_client *client);

/* Readable when mqtt_client_event may have something to tell. */
int mqtt_client_fd(const struct mqtt_client *client);
/* Monotonic: when mqtt_client_event wants to be called in any case. */
int64_t mqtt_client_due_ns(const struct mqtt_client *client);
/* The next event, which is valid until the next call; false when there is none now. Never waits. */
bool mqtt_client_event(struct mqtt_client *client, struct mqtt_client_event *event);

/*
 * The messages that were handed over by now are written: those of QoS 1, and of QoS 2 in MQTT 5, are acknowledged. (In MQTT 3
 * the library acknowledges QoS 2 before it hands the message over.)
 */
void mqtt_client_acknowledge(struct mqtt_client *client);

/* Answered with `tag`. False when there is no connection now. */
bool mqtt_client_subscribe(struct mqtt_client *client, const struct mqtt_client_subscription *subscription, uint64_t tag);
bool mqtt_client_unsubscribe(struct mqtt_client *client, const char *filter, const struct mqtt_properties *properties,
                             uint64_t tag);

/* How many publishes may be begun now: there is a connection, and fewer than options.in_flight wait for an answer. */
size_t mqtt_client_room(const struct mqtt_client *client);
/* How many wait for an answer. */
size_t mqtt_client_in_flight(const struct mqtt_client *client);
/*
 * Copies the message and sends it, at once or after the next connect. Answered with `tag`, at QoS 0 when it is written to the
 * socket. What has no answer when a connection ends is sent again over the next one (QoS 0 too: nobody knows what became of it).
 */
bool mqtt_client_publish(struct mqtt_client *client, const struct mqtt_client_publish *publish, uint64_t tag,
                         struct err *err);

/* A code of an answer in words. */
const char *mqtt_client_reason(int version, int code);

#endif
