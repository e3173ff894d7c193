/*
 * agent/commands/client_flags.h: the command line of `pub` and `sub`: mosquitto_pub's and mosquitto_sub's flags with their letters
 * and meanings, and a few of ours.
 */
#ifndef HELIOGRAF_COMMANDS_CLIENT_FLAGS_H
#define HELIOGRAF_COMMANDS_CLIENT_FLAGS_H

#include "agent/base/arena.h"
#include "agent/commands/broker_url.h"
#include "agent/commands/command.h"
#include "agent/mqtt_client/client.h"

enum client_role { CLIENT_PUBLISHES = 1, CLIENT_SUBSCRIBES = 2 };

enum publish_source { PUBLISH_NOTHING_GIVEN, PUBLISH_MESSAGE, PUBLISH_FILE, PUBLISH_STDIN, PUBLISH_LINES, PUBLISH_EMPTY };

struct word_list {
    const char **items;
    size_t count;
};

/* What was given, and what it comes to. Strings are those of argv, or live in `arena`. */
struct client_flags {
    enum client_role role;
    const struct command *command;
    struct arena arena;

    /* As given. */
    const char *host, *id, *id_prefix, *username, *password, *password_file, *url, *version, *session_expiry, *bind_address;
    int64_t port, keepalive_s, qos, will_qos, in_flight, timeout_s;
    bool keep_session, nodelay, debug, quiet, websocket;
    const char *will_topic, *will_payload;
    bool will_retain;
    const char *ca, *ca_directory, *certificate, *key, *key_form, *ciphers, *alpn, *tls_version;
    bool insecure, use_system_ca;
    struct word_list configs;
    const char *input;
    struct { /* MQTT 5, of each packet */
        struct mqtt_property *items;
        size_t count;
    } connect, publish, subscribe, unsubscribe, disconnect, will;

    /* sub */
    struct word_list topics, filtered_out, unsubscribed; /* topics: pub has one */
    int64_t count;
    double random_percent;
    const char *format;
    bool exit_after_subscribe, verbose, no_end_of_line, no_retained, retained_only, remove_retained, retain_as_published, pretty, json;

    /* pub */
    enum publish_source source;
    const char *message, *file;
    bool retain;
    int64_t repeat;
    double repeat_delay_s;

    /* What it comes to. */
    struct broker_url broker;
    struct agent *agent; /* of --config */
    struct mqtt_client_options options;
    const char *server; /* when there is one */
    char random_id[80], numeric_address[64];
};

/*
 * Reads the words behind the command's name. EXIT_FINE; -1 when --help was printed; otherwise an exit code, with words on stderr. The
 * password is wiped from `argv`, where every user of the machine sees it. `flags` is to be released in any case.
 */
int client_flags_read(struct client_flags *flags, enum client_role role, const struct command *command, int argc, char **argv);
void client_flags_release(struct client_flags *flags);

/* The flags of that role, for --help. */
void client_flags_print(enum client_role role);

/* One line on stderr, after the command's name; nothing with --quiet. */
void client_complain(const struct client_flags *flags, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
