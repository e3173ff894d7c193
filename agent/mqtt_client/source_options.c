/* agent/mqtt_client/source_options.c: the option table. Names, meanings and defaults are Telegraf's where it has the
 * option. */
#include "agent/mqtt_client/source_options.h"

#include "agent/mqtt_client/source.h"

static const char *const yes_no[] = { "auto", "true", "yes", "on", "false", "no", "off", NULL };
static const char *const protocols[] = { "auto", "5", "3.1.1", NULL };
static const char *const retained_words[] = { "store", "skip", "only", NULL };
static const char *const tls_versions[] = { "TLS12", "TLS13", NULL };

#define AT(member) offsetof(struct mqtt_options, member)

/* clang-format off */
const struct cfg_field mqtt_source_options[] = {
    { .key = "servers", .type = CFG_STRINGS, .offset = AT(servers), .fallback = "[\"tcp://127.0.0.1:1883\"]",
      .help = "Servers of one broker or cluster, tried in order: tcp://, ssl://, ws://, wss:// (also mqtt://, mqtts://, tls://)." },
    { .key = "topics", .type = CFG_STRINGS, .offset = AT(topics), .flags = CFG_REQUIRED,
      .help = "Topic filters to subscribe to: `+` is one level, `#` the rest, `$share/group/filter` a shared subscription.",
      .example = "[\"sensors/#\"]" },
    { .key = "qos", .type = CFG_INTEGER, .offset = AT(qos), .fallback = "0", .min = 0, .max = 2,
      .help = "0 to 2. From 1 on a message is acknowledged when it is safe in the spool; 2 is subscribed as 1 and counts once at the database. From the embedded broker a message comes with its own QoS, whatever stands here." },
    { .key = "persistent_session", .type = CFG_ENUM, .offset = AT(persistent_session), .fallback = "auto", .names = yes_no,
      .help = "Let the broker keep the session, and messages for it, while we are away; auto: when qos is 1 or 2." },
    { .key = "client_id", .type = CFG_STRING, .offset = AT(client_id),
      .help = "MQTT client id; by default heliograf-<host>-<input>, with a random end when the session is not kept.",
      .example = "heliograf-plant-7" },
    { .key = "protocol", .type = CFG_ENUM, .offset = AT(protocol), .fallback = "auto", .names = protocols,
      .help = "MQTT version: auto tries 5, then 3.1.1 with a broker that refuses it." },
    { .key = "retained", .type = CFG_ENUM, .offset = AT(retained), .fallback = "store", .names = retained_words,
      .help = "Retained messages that the broker sends when we subscribe: store or skip them, or take only them." },
    { .key = "username", .type = CFG_STRING, .offset = AT(username), .help = "User name for the broker.",
      .example = "telemetry" },
    { .key = "password", .type = CFG_SECRET, .offset = AT(password),
      .help = "Password for the broker; password_file is read again at every connect.", .example = "\"${MQTT_PASSWORD}\"" },
    { .key = "keepalive", .type = CFG_DURATION, .offset = AT(keepalive_ns), .fallback = "30s", .min = NS_PER_S,
      .max = 65535 * NS_PER_S, .help = "Longest silence before a ping; a dead link is noticed after about that and ping_timeout." },
    { .key = "ping_timeout", .type = CFG_DURATION, .offset = AT(ping_timeout_ns), .fallback = "10s", .min = NS_PER_S,
      .max = 3600 * NS_PER_S, .help = "How long a ping may stay unanswered." },
    { .key = "connection_timeout", .type = CFG_DURATION, .offset = AT(connection_timeout_ns), .fallback = "30s",
      .min = NS_PER_S, .max = 3600 * NS_PER_S, .help = "For connecting until the broker has accepted, at least 1s." },
    { .key = "max_reconnect_interval", .type = CFG_DURATION, .offset = AT(max_reconnect_interval_ns), .fallback = "30s",
      .min = NS_PER_S / 10, .max = 24 * 3600 * NS_PER_S, .help = "Longest pause between two attempts to connect." },
    { .key = "max_undelivered_messages", .type = CFG_INTEGER, .offset = AT(max_undelivered_messages), .fallback = "1000",
      .min = 1, .max = 65535, .flags = CFG_EXPERT,
      .help = "Messages that the broker may send before the first of them is acknowledged (MQTT 5), 1 to 65535." },
    { .key = "receive_maximum", .type = CFG_INTEGER, .offset = AT(receive_maximum), .fallback = "0", .min = 0,
      .max = 65535, .flags = CFG_EXPERT, .help = "The same by MQTT 5's name; 0: as max_undelivered_messages." },
    { .key = "session_expiry", .type = CFG_DURATION, .offset = AT(session_expiry_ns), .fallback = "7d", .min = NS_PER_S,
      .max = 4294967295 * NS_PER_S, .help = "How long the broker keeps a persistent session without us (MQTT 5)." },
    { .key = "max_message_bytes", .type = CFG_SIZE, .offset = AT(max_message_bytes), .fallback = "1MiB", .min = 1,
      .max = 256 * 1024 * 1024, .help = "A message with a larger payload becomes a dead letter." },
    { .key = "client_trace", .type = CFG_BOOL, .offset = AT(client_trace), .fallback = "false", .flags = CFG_EXPERT,
      .help = "Write the MQTT library's trace to the log at debug level; for the whole process." },
    { .key = "tls_ca", .type = CFG_STRING, .offset = AT(tls_ca),
      .help = "File with the CA certificates (PEM) that the broker's must come from; by default the system's.",
      .example = "/etc/heliograf/ca.pem" },
    { .key = "tls_cert", .type = CFG_STRING, .offset = AT(tls_cert), .help = "File with the client certificate (PEM).",
      .example = "/etc/heliograf/client.pem" },
    { .key = "tls_key", .type = CFG_STRING, .offset = AT(tls_key), .help = "File with its private key (PEM).",
      .example = "/etc/heliograf/client.key" },
    { .key = "tls_key_pwd", .type = CFG_SECRET, .offset = AT(tls_key_password), .help = "Password of the private key.",
      .example = "\"${TLS_KEY_PASSWORD}\"" },
    { .key = "tls_server_name", .type = CFG_STRING, .offset = AT(tls_server_name),
      .help = "Name that the broker's certificate must have, when it is not the host in `servers`.",
      .example = "broker.example.com" },
    { .key = "tls_min_version", .type = CFG_ENUM, .offset = AT(tls_min_version), .fallback = "TLS12",
      .names = tls_versions, .help = "Lowest TLS version." },
    { .key = "tls_cipher_suites", .type = CFG_STRINGS, .offset = AT(tls_cipher_suites), .flags = CFG_EXPERT,
      .help = "Cipher suites by their IANA or OpenSSL names; by default the TLS library's.",
      .example = "[\"TLS_AES_128_GCM_SHA256\"]" },
    { .key = "tls_enable", .type = CFG_ENUM, .offset = AT(tls_enable), .fallback = "auto", .names = yes_no,
      .flags = CFG_EXPERT, .help = "true: TLS for tcp:// and ws:// servers too; auto: as the scheme says." },
    { .key = "insecure_skip_verify", .type = CFG_BOOL, .offset = AT(insecure_skip_verify), .fallback = "false",
      .help = "Do not check who the broker is: its certificate may be anybody's." },
    CFG_END,
};
/* clang-format on */

const size_t mqtt_source_options_size = sizeof(struct mqtt_options);
