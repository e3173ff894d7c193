/*
 * agent/mqtt_client/source_options.h: the options of `mqtt_consumer` as they are written, and what they come to once
 * checked: servers, filters, client id, TLS files. Internal to the MQTT client.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_SOURCE_OPTIONS_H
#define HELIOGRAF_MQTT_CLIENT_SOURCE_OPTIONS_H

#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/mqtt_client/paho_tls.h"
#include "config/schema.h"
#include "config/yaml_tree.h"

enum mqtt_protocol { MQTT_PROTOCOL_AUTO, MQTT_PROTOCOL_5, MQTT_PROTOCOL_311 };
/* "auto" and words for yes and no, as they stand in the option table. */
enum mqtt_choice { CHOICE_AUTO, CHOICE_FIRST_YES = 1, CHOICE_FIRST_NO = 4 };
enum mqtt_retained { MQTT_RETAINED_STORE, MQTT_RETAINED_SKIP, MQTT_RETAINED_ONLY };

/* Filled by cfg_read through mqtt_source_options. Strings live in the configuration's arena. */
struct mqtt_options {
    struct cfg_strings servers, topics;
    int64_t qos;
    int persistent_session; /* enum mqtt_choice */
    int protocol, retained; /* enums above */
    char *client_id, *username, *password;
    int64_t keepalive_ns, ping_timeout_ns, connection_timeout_ns, max_reconnect_interval_ns, session_expiry_ns;
    int64_t max_undelivered_messages, receive_maximum;
    uint64_t max_message_bytes;
    bool client_trace;
    char *tls_ca, *tls_cert, *tls_key, *tls_key_password, *tls_server_name;
    int tls_min_version; /* enum tls_version */
    struct cfg_strings tls_cipher_suites;
    int tls_enable; /* enum mqtt_choice */
    bool insecure_skip_verify;
};

struct mqtt_server {
    char *shown; /* scheme://host:port, for logs */
    char *uri;   /* for Paho: its schemes, and the name that the certificate must have as the host */
    char *host;  /* to look up */
    char *name;  /* the host in `uri` */
    bool tls, websocket;
};

/* What the options come to. Owns what it points to, except `options`. */
struct mqtt_settings {
    const struct mqtt_options *options;
    const char *password_file; /* read again at every connect; NULL: none */
    struct mqtt_server *servers;
    size_t server_count;
    bool persistent; /* session kept by the broker while we are away */
    int qos;         /* to subscribe with: 0 or 1 */
    char *client_id; /* stable; for persistent sessions and when given */
    bool client_id_given;
    char *tls_ciphers; /* see paho_tls.h; NULL without TLS */
    unsigned receive_maximum;
};

/* Reports everything that is wrong; false when there was an error. `settings` is to be released in any case. */
bool mqtt_settings_init(struct mqtt_settings *settings, const struct mqtt_options *options, const struct yaml_node *map,
                        const char *name, struct diags *diags);
void mqtt_settings_release(struct mqtt_settings *settings); /* safe on a zeroed one */

/* Parses `scheme://host[:port][/path]`; false with `err`. Owned by the caller, to be released. */
bool mqtt_server_parse(struct mqtt_server *server, const char *text, const char *server_name, int tls_enable,
                       struct err *err);
void mqtt_server_release(struct mqtt_server *server); /* safe on a zeroed one */

/* `heliograf-<host>-<name>` in letters that every broker takes, at most 64 bytes; a hash stands for what was cut. */
void mqtt_client_id(const char *host, const char *name, char out[65]);
/* The same with 8 random hexadecimal digits behind it, for sessions that are not kept. */
void mqtt_client_id_random(const char *base, char out[80]);

#endif
