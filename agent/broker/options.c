/* agent/broker/options.c: the option table of `broker:`, with Mosquitto's names where it has the option. */
#include "agent/broker/options.h"

#include <limits.h>

#include "agent/broker/broker.h"
#include "config/yaml_tree.h"

static const char *const queue_full_words[] = { "drop_newest", "drop_oldest", "disconnect", NULL };
static const char *const share_words[] = { "round_robin", "sender_hash", "sticky", NULL };


/* clang-format off */
#define AT(member) offsetof(struct persistence_settings, member)
static const struct cfg_field persistence_options[] = {
    { .key = "enabled", .type = CFG_BOOL, .offset = AT(enabled), .fallback = "true",
      .help = "false: nothing survives a restart, for flash memory that must not be written." },
    { .key = "directory", .type = CFG_STRING, .offset = AT(directory), .fallback = "/var/lib/heliograf",
      .help = "Sessions, retained, queued and delayed messages, in an SQLite database." },
    { .key = "sync", .type = CFG_BOOL, .offset = AT(sync), .fallback = "true",
      .help = "Acknowledge after fsync; false: after the write, which survives a crash of the program and not a power cut." },
    { .key = "group", .type = CFG_DURATION, .offset = AT(group_ns), .fallback = "0s", .min = 0, .max = 10 * INT64_C(1000000000), .flags = CFG_EXPERT,
      .help = "Wait so long for more changes before writing: fewer writes, later acknowledgements." },
    { .key = "max_bytes", .type = CFG_SIZE, .offset = AT(max_bytes), .fallback = "1GiB", .help = "Of the database." },
    CFG_END,
};
#undef AT

#define AT(member) offsetof(struct broker_settings, member)
const struct cfg_field broker_options[] = {
    { .key = "listeners", .type = CFG_OBJECTS, .offset = AT(listeners), .fields = listener_options, .size = sizeof(struct listener_options),
      .flags = CFG_REQUIRED, .help = "Where clients connect.", .example = "[ { address: \"127.0.0.1:1883\" } ]" },
    { .key = "allow_anonymous", .type = CFG_BOOL, .offset = AT(allow_anonymous), .fallback = "false",
      .help = "Let clients in without user name and password, from other machines too; on loopback they are let in as long as there is no password_file." },
    { .key = "password_file", .type = CFG_STRING, .offset = AT(password_file), .fallback = "\"\"",
      .help = "Users in Mosquitto's format; `heliograf passwd` edits it. Read again at SIGHUP.", .example = "/etc/heliograf/passwords" },
    { .key = "acl_file", .type = CFG_STRING, .offset = AT(acl_file), .fallback = "\"\"",
      .help = "Who may publish and subscribe to what, in Mosquitto's format. Read again at SIGHUP.", .example = "/etc/heliograf/acl" },
    { .key = "acl", .type = CFG_OBJECTS, .offset = AT(acl), .fields = acl_rule_options, .size = sizeof(struct acl_rule_options),
      .help = "The same rules written here, instead of acl_file." },
    { .key = "persistence", .type = CFG_OBJECT, .offset = AT(persistence), .fields = persistence_options, .flags = CFG_SWITCH,
      .help = "What survives a restart. `persistence: false` is short for `enabled: false`." },
    { .key = "max_connections", .type = CFG_INTEGER, .offset = AT(max_connections), .fallback = "10000", .min = 0, .max = 1000000,
      .help = "Clients at a time, 0: no limit but the system's." },
    { .key = "max_connect_rate", .type = CFG_INTEGER, .offset = AT(max_connect_rate), .fallback = "0", .min = 0, .max = 1000000, .flags = CFG_EXPERT,
      .help = "New connections per second that are taken, 0: no limit." },
    { .key = "max_sessions", .type = CFG_INTEGER, .offset = AT(max_sessions), .fallback = "20000", .min = 0, .max = 10000000,
      .help = "Sessions, of clients that are away included, 0: no limit." },
    { .key = "max_session_expiry", .type = CFG_DURATION, .offset = AT(max_session_expiry_ns), .fallback = "30d", .min = 0, .max = INT64_C(4294967294) * INT64_C(1000000000),
      .help = "Longest time for which a session is kept without its client (Mosquitto: persistent_client_expiration), 0: for ever." },
    { .key = "connect_timeout", .type = CFG_DURATION, .offset = AT(connect_timeout_ns), .fallback = "10s", .min = INT64_C(1000000000), .max = INT64_C(3600000000000),
      .help = "A connection that has sent no CONNECT after this is closed." },
    { .key = "packet_timeout", .type = CFG_DURATION, .offset = AT(packet_timeout_ns), .fallback = "60s", .min = INT64_C(1000000000), .max = INT64_C(3600000000000), .flags = CFG_EXPERT,
      .help = "A packet that has begun and not ended after this closes its connection." },
    { .key = "max_keepalive", .type = CFG_INTEGER, .offset = AT(max_keepalive_s), .fallback = "65535", .min = 0, .max = 65535,
      .help = "Longest keep alive, in seconds; an MQTT 5 client that wants more, or none, is told this one, an older client is refused. 65535: an older one may have none. 0: whatever it wants." },
    { .key = "max_packet_size", .type = CFG_SIZE, .offset = AT(max_packet_size), .fallback = "1MiB", .min = 1024, .max = 256 * 1024 * 1024,
      .help = "Largest packet from a client." },
    { .key = "max_topic_levels", .type = CFG_INTEGER, .offset = AT(max_topic_levels), .fallback = "128", .min = 1, .max = 65535, .flags = CFG_EXPERT,
      .help = "Levels of a topic or filter." },
    { .key = "max_topic_alias", .type = CFG_INTEGER, .offset = AT(max_topic_alias), .fallback = "10", .min = 0, .max = 65535, .flags = CFG_EXPERT,
      .help = "Topic aliases per client, in each direction (MQTT 5)." },
    { .key = "max_subscriptions", .type = CFG_INTEGER, .offset = AT(max_subscriptions), .fallback = "1000", .min = 0, .max = 1000000,
      .help = "Of one client, 0: no limit." },
    { .key = "max_qos", .type = CFG_INTEGER, .offset = AT(max_qos), .fallback = "2", .min = 0, .max = 2, .flags = CFG_EXPERT, .help = "Highest QoS that is offered." },
    { .key = "receive_maximum", .type = CFG_INTEGER, .offset = AT(receive_maximum), .fallback = "1000", .min = 1, .max = 65535,
      .help = "QoS 1 and 2 messages that a client may have under way to us (MQTT 5 tells it)." },
    { .key = "max_inflight_messages", .type = CFG_INTEGER, .offset = AT(max_inflight_messages), .fallback = "100", .min = 1, .max = 65535,
      .help = "QoS 1 and 2 messages under way to a client; it may ask for fewer." },
    { .key = "max_queued_messages", .type = CFG_INTEGER, .offset = AT(max_queued_messages), .fallback = "1000", .min = 0, .max = 100000000,
      .help = "QoS 1 and 2 messages that wait for a client, 0: no limit but bytes." },
    { .key = "max_queued_bytes", .type = CFG_SIZE, .offset = AT(max_queued_bytes), .fallback = "4MiB", .help = "The same in bytes, 0: no limit but the number." },
    { .key = "max_output_bytes", .type = CFG_SIZE, .offset = AT(max_output_bytes), .fallback = "1MiB", .min = 4096, .max = 1 << 30,
      .help = "Bytes on their way to a client; above, QoS 0 messages for it are dropped and counted." },
    { .key = "when_queue_full", .type = CFG_ENUM, .offset = AT(queue_full), .fallback = "drop_newest", .names = queue_full_words,
      .help = "What happens to a client whose queue is full." },
    { .key = "shared_subscriptions", .type = CFG_ENUM, .offset = AT(share_strategy), .fallback = "round_robin", .names = share_words,
      .help = "Which member of `$share/group/filter` gets a message; members that are connected come first." },
    { .key = "retain_available", .type = CFG_BOOL, .offset = AT(retain_available), .fallback = "true", .flags = CFG_EXPERT, .help = "false: no retained messages." },
    { .key = "max_retained_messages", .type = CFG_INTEGER, .offset = AT(max_retained_messages), .fallback = "10000", .min = 0, .max = 100000000,
      .help = "Of clients, 0: no limit." },
    { .key = "max_retained_bytes", .type = CFG_SIZE, .offset = AT(max_retained_bytes), .fallback = "16MiB", .help = "0: no limit." },
    { .key = "max_delayed_messages", .type = CFG_INTEGER, .offset = AT(max_delayed_messages), .fallback = "10000", .min = 0, .max = 100000000,
      .help = "Messages that wait as `$delayed/seconds/topic`, 0: no limit." },
    { .key = "max_delayed_bytes", .type = CFG_SIZE, .offset = AT(max_delayed_bytes), .fallback = "4MiB", .help = "0: no limit." },
    { .key = "max_delay", .type = CFG_DURATION, .offset = AT(max_delay_ns), .fallback = "30d", .min = 0, .max = INT64_C(42949670000000000), .help = "Longest delay, 0: 497 days." },
    { .key = "memory_limit", .type = CFG_SIZE, .offset = AT(memory_limit), .fallback = "32MiB",
      .help = "Of queued, retained and delayed messages of all clients together, 0: no limit." },
    { .key = "sys_interval", .type = CFG_DURATION, .offset = AT(sys_interval_ns), .fallback = "10s", .min = 0, .max = INT64_C(3600000000000),
      .help = "How often `$SYS/broker/...` is published, 0: never." },
    { .key = "client_events", .type = CFG_BOOL, .offset = AT(client_events), .fallback = "true",
      .help = "Publish `$SYS/brokers/<node>/clients/<client>/connected` and `disconnected`, as EMQX does." },
    { .key = "subscription_events", .type = CFG_BOOL, .offset = AT(subscription_events), .fallback = "false", .flags = CFG_EXPERT,
      .help = "`subscribed` and `unsubscribed` as well." },
    { .key = "node", .type = CFG_STRING, .offset = AT(node), .fallback = "heliograf", .flags = CFG_EXPERT, .help = "The node in those topics." },
    { .key = "presence", .type = CFG_BOOL, .offset = AT(presence), .fallback = "true",
      .help = "Write a point of the measurement mqtt_client whenever a client comes or goes." },
    { .key = "check_payload_format", .type = CFG_BOOL, .offset = AT(check_payload_format), .fallback = "false", .flags = CFG_EXPERT,
      .help = "Refuse a payload that says it is UTF-8 and is not (MQTT 5)." },
    { .key = "mosquitto_compat", .type = CFG_BOOL, .offset = AT(mosquitto_compat), .fallback = "false", .flags = CFG_EXPERT,
      .help = "Answer broken packets, and CONNECT, byte for byte as Mosquitto 2.1 does." },
    CFG_END,
};
#undef AT
/* clang-format on */
const size_t broker_options_size = sizeof(struct broker_settings);

/* ---- checks -------------------------------------------------------------------------------------------------------- */

static struct src_pos listener_at(const struct broker_settings *settings, const struct yaml_node *map, size_t i) {
    return settings->listeners.at != NULL ? settings->listeners.at[i] : cfg_at(map, "listeners");
}

/* Nobody opens a port to the world by not saying anything. */
static void check_listener(const struct broker_settings *settings, const struct yaml_node *map, size_t i, struct diags *diags) {
    const struct listener_options *listener = &((const struct listener_options *)settings->listeners.items)[i];
    bool certified = listener->has_tls && listener->tls.require_client_certificate;

    if (listener_is_loopback(listener) || settings->password_file[0] != '\0' || certified || settings->allow_anonymous ||
        listener->allow_anonymous)
        return;
    diag_add(diags, listener_at(settings, map, i),
             "broker: listener %s takes clients from other machines, and anybody could come in: set password_file, or tls with "
             "require_client_certificate, or allow_anonymous: true if that is what you want",
             listener->address);
}

/* What opening the listener would find, when nobody waits for it to start. */
static void check_certificates(const struct listener_options *listener, const struct yaml_node *map, struct diags *diags) {
    struct tls_findings findings = { .loose_key = false };
    struct err err = ERR_INIT;
    struct tls_context *context;

    if (!listener->has_tls)
        return;
    context = tls_context_new(&listener->tls, &findings, &err);
    if (context == NULL)
        diag_add(diags, cfg_at(map, "tls"), "tls: %s", err.text);
    tls_context_free(context);
}

static const struct yaml_node *listener_node(const struct yaml_node *map, size_t i) {
    const struct yaml_node *list = yaml_get(map, "listeners"), *node = list != NULL ? list->first : NULL;

    while (node != NULL && i-- > 0)
        node = node->next;
    return node;
}

bool broker_settings_check(const struct broker_settings *settings, const struct yaml_node *map, struct diags *diags) {
    size_t errors = diags->errors;

    if (settings->listeners.count == 0)
        diag_add(diags, cfg_at(map, "listeners"), "broker: no listeners: add for example { address: \"127.0.0.1:1883\" }");
    for (size_t i = 0; i < settings->listeners.count; i++)
        if (listener_options_check(&((struct listener_options *)settings->listeners.items)[i], listener_node(map, i), diags)) {
            check_listener(settings, map, i, diags);
            check_certificates(&((const struct listener_options *)settings->listeners.items)[i], listener_node(map, i), diags);
        }
    if (settings->acl_file[0] != '\0' && settings->acl.count > 0)
        diag_add(diags, cfg_at(map, "acl"), "broker: acl and acl_file: one of them, please");
    return diags->errors == errors;
}

/* ---- in words ------------------------------------------------------------------------------------------------------ */

void broker_describe(const void *options, struct buf *out) {
    const struct broker_settings *settings = options;
    const struct listener_options *listeners = settings->listeners.items;

    for (size_t i = 0; i < settings->listeners.count; i++)
        buf_printf(out, "broker: %s%s%s\n", listeners[i].address, listeners[i].protocol == LISTENER_WEBSOCKET ? ", WebSocket" : "",
                   listeners[i].has_tls ? ", TLS" : "");
    buf_printf(out, "broker: up to %lld clients; one that does not read takes up to %llu KiB, one that sends up to %llu KiB\n",
               (long long)settings->max_connections, (unsigned long long)(settings->max_output_bytes >> 10),
               (unsigned long long)(settings->max_packet_size >> 10));
    buf_printf(out, "broker: users from %s, rules from %s, state in %s\n",
               settings->password_file[0] != '\0' ? settings->password_file : "nowhere (anonymous)",
               settings->acl_file[0] != '\0' ? settings->acl_file
               : settings->acl.count > 0     ? "the configuration"
                                             : "nowhere (everything is allowed)",
               settings->persistence.enabled ? settings->persistence.directory : "memory only");
}

bool broker_wants_presence(const void *options) {
    return ((const struct broker_settings *)options)->presence;
}

uint64_t broker_memory_max(const void *options) {
    const struct broker_settings *settings = options;
    const struct listener_options *listeners = settings->listeners.items;
    uint64_t per_client = 4096;

    for (size_t i = 0; i < settings->listeners.count; i++)
        if (listeners[i].has_tls) {
            per_client += TLS_STREAM_BYTES;
            break;
        }
    return settings->memory_limit + (uint64_t)settings->max_connections * per_client;
}
