/*
 * outputs/influxdb_common.h: what the outputs for the three generations of InfluxDB share: options, several `urls`,
 * connections, and how a request is sent until there is an outcome. Each generation adds its path, its query string
 * and its way to log in.
 */
#ifndef HELIOGRAF_OUTPUTS_INFLUXDB_COMMON_H
#define HELIOGRAF_OUTPUTS_INFLUXDB_COMMON_H

#include "outputs/gzip.h"
#include "outputs/influxdb_outcome.h"
#include "outputs/influxdb_route.h"
#include "outputs/secret.h"

struct influxdb;
struct influxdb_connection;

/* One generation's own part. `self` is the output's state, which begins with its struct influxdb. */
struct influxdb_api {
    enum influxdb_generation generation;
    const struct server_profile *own; /* until a server says who it is */
    const char *write_path;           /* behind the prefix of URL and profile */
    const char *secret_name;          /* "token" or "password" */
    bool (*write_query)(const void *self, struct str target, struct buf *query); /* what stands behind '?' */
    bool (*may_create)(const void *self); /* whether create_target is allowed; NULL: there is none */
    /* After 404 for the database: creates it; true when the write may be tried again. */
    bool (*create_target)(void *self, struct influxdb_connection *connection, struct str target, struct reply *reply);
    /* For people, behind the address: ` database telegraf`. */
    void (*describe_target)(const void *self, struct buf *out);
};

struct influxdb_target { /* one of `urls` */
    struct http_endpoint endpoint;
    _Atomic(const struct server_profile *) server; /* NULL: not known yet */
};

enum influxdb_encoding { ENCODING_AUTO, ENCODING_GZIP, ENCODING_IDENTITY };

struct influxdb {
    /* options */
    struct http_options http;
    struct cfg_strings urls;
    struct cfg_map http_headers;
    int content_encoding, server;
    int64_t concurrent_writes;
    char *username;
    struct secret secret;
    char *ignored; /* where options without effect go */
    /* made by influxdb_init */
    const struct influxdb_api *api;
    struct influxdb_target *targets;
    size_t target_count;
    struct buf *header_lines; /* http_headers, `Name: value` each */
    atomic_size_t preferred;  /* the target that answered last */
    atomic_bool no_gzip;      /* a server has said 415 */
};

struct influxdb_connection {
    struct influxdb *influxdb;
    struct http *http;
    struct gzip *gzip;     /* NULL: without memory for it, plain */
    struct buf compressed; /* of the request at hand, when it has been made */
    struct buf path, secret, authorization;
    const char **headers;
};

#define INFLUXDB_FIELD(member) offsetof(struct influxdb, member) /* it comes first in each output's state */

extern const char *const influxdb_encoding_names[], *const influxdb_tls_names[];

/* The rows that all three tables share. */
#define INFLUXDB_OPTIONS(default_urls, default_timeout, default_writes)                                                \
    { .key = "urls", .type = CFG_STRINGS, .offset = INFLUXDB_FIELD(urls), .fallback = default_urls,                    \
      .help = "Servers that hold the same data: http, https, or unix:///path; the next one is tried when one fails." },\
    { .key = "timeout", .type = CFG_DURATION, .offset = INFLUXDB_FIELD(http.timeout_ns),                               \
      .fallback = default_timeout, .help = "For one request, connecting included." },                                  \
    { .key = "content_encoding", .type = CFG_ENUM, .offset = INFLUXDB_FIELD(content_encoding),                         \
      .fallback = "auto", .names = influxdb_encoding_names,                                                            \
      .help = "gzip, identity, or auto: gzip except on loopback and Unix sockets." },                                  \
    { .key = "server", .type = CFG_ENUM, .offset = INFLUXDB_FIELD(server), .fallback = "auto",                         \
      .names = influxdb_server_names, .help = "Which server it is: path, log-in and error style; auto asks it." },     \
    { .key = "concurrent_writes", .type = CFG_INTEGER, .offset = INFLUXDB_FIELD(concurrent_writes),                    \
      .fallback = default_writes, .min = 1, .max = 64, .help = "Requests at the same time, 1-64." },                   \
    { .key = "user_agent", .type = CFG_STRING, .offset = INFLUXDB_FIELD(http.user_agent),                              \
      .fallback = "Heliograf/" HELIOGRAF_VERSION, .help = "The User-Agent header.", .flags = CFG_EXPERT },             \
    { .key = "http_headers", .type = CFG_MAP, .offset = INFLUXDB_FIELD(http_headers),                                  \
      .help = "More headers for every request.", .flags = CFG_EXPERT, .example = "{ X-Site: plant-7 }" },              \
    { .key = "http_proxy", .type = CFG_STRING, .offset = INFLUXDB_FIELD(http.proxy),                                   \
      .help = "Proxy for this output; without it http_proxy and https_proxy of the environment, except on loopback.",  \
      .flags = CFG_EXPERT, .example = "http://proxy:3128" },                                                           \
    { .key = "local_address", .type = CFG_STRING, .offset = INFLUXDB_FIELD(http.local_address),                        \
      .help = "Address or interface to connect from.", .flags = CFG_EXPERT, .example = "10.0.0.2" },                   \
    { .key = "tls_ca", .type = CFG_STRING, .offset = INFLUXDB_FIELD(http.tls_ca),                                      \
      .help = "File of trusted authorities instead of the system's.", .example = "/etc/heliograf/ca.pem" },            \
    { .key = "tls_cert", .type = CFG_STRING, .offset = INFLUXDB_FIELD(http.tls_cert),                                  \
      .help = "Our certificate.", .flags = CFG_EXPERT, .example = "/etc/heliograf/client.pem" },                       \
    { .key = "tls_key", .type = CFG_STRING, .offset = INFLUXDB_FIELD(http.tls_key),                                    \
      .help = "Its key.", .flags = CFG_EXPERT, .example = "/etc/heliograf/client.key" },                               \
    { .key = "tls_key_pwd", .type = CFG_SECRET, .offset = INFLUXDB_FIELD(http.tls_key_password),                       \
      .help = "The key's password.", .flags = CFG_EXPERT, .example = "\"${TLS_KEY_PASSWORD}\"" },                      \
    { .key = "tls_server_name", .type = CFG_STRING, .offset = INFLUXDB_FIELD(http.tls_server_name),                    \
      .help = "The name to expect in the certificate, when it is not the URL's host.", .flags = CFG_EXPERT,            \
      .example = "influx.plant.example" },                                                                             \
    { .key = "tls_min_version", .type = CFG_ENUM, .offset = INFLUXDB_FIELD(http.tls_min_version),                      \
      .fallback = "TLS12", .names = influxdb_tls_names, .help = "The oldest TLS version to accept.",                   \
      .flags = CFG_EXPERT },                                                                                           \
    { .key = "insecure_skip_verify", .type = CFG_BOOL, .offset = INFLUXDB_FIELD(http.insecure_skip_verify),            \
      .fallback = "false", .help = "Accept any certificate. Never in production.", .flags = CFG_EXPERT },              \
    { .key = "ping_timeout", .type = CFG_STRING, .offset = INFLUXDB_FIELD(ignored), .flags = CFG_IGNORED,              \
      .help = "HTTP/1.1 connections are used" },                                                                       \
    { .key = "read_idle_timeout", .type = CFG_STRING, .offset = INFLUXDB_FIELD(ignored), .flags = CFG_IGNORED,         \
      .help = "HTTP/1.1 connections are used" }

/* The log-in rows of generation 2 and 3. */
#define INFLUXDB_TOKEN_OPTIONS                                                                                         \
    { .key = "token", .type = CFG_SECRET, .offset = INFLUXDB_FIELD(secret.value),                                      \
      .help = "API token with the right to write.", .example = "\"${INFLUX_TOKEN}\"" },                                \
    { .key = "token_file", .type = CFG_STRING, .offset = INFLUXDB_FIELD(secret.file),                                  \
      .help = "File with the token; read again whenever it changes.", .example = "/etc/heliograf/token" }

/* Checks options; no network. `influxdb` is the first member of the output's state. */
bool influxdb_init(struct influxdb *influxdb, const struct influxdb_api *api, struct err *err);

/* These fit into struct output_type as they are: their `self` begins with a struct influxdb. */
void influxdb_fini(void *self);
void *influxdb_open(void *self, const atomic_bool *cancel, struct err *err);
void influxdb_close(void *self, void *connection);
void influxdb_send(void *self, void *connection, const struct request *request, struct reply *reply);
/*
 * Pings every one of `urls`, then writes a comment line to the default target: the log-in and the target are checked,
 * nothing is stored.
 */
bool influxdb_probe(void *self, void *connection, struct err *err);
unsigned influxdb_concurrency(void *self);
void influxdb_describe(void *self, struct buf *out);

/*
 * One more request to the target in use, logged in like a write: for create_target. `path` stands behind the prefix;
 * `form` is posted as application/x-www-form-urlencoded.
 */
void influxdb_post_form(struct influxdb_connection *connection, const char *path, struct str form,
                        struct http_answer *answer);

#endif
