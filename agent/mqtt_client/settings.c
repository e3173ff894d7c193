/* agent/mqtt_client/settings.c: see source_options.h. What the options come to, and what is wrong with them. */
#include "agent/mqtt_client/source_options.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/topic_filter.h"

enum { DEFAULT_RECEIVE_MAXIMUM = 1000 };

/* ---- servers ---------------------------------------------------------------------------------------------------- */

static const struct scheme {
    const char *name, *paho;
    unsigned port;
    bool tls, websocket;
} schemes[] = {
    { "tcp", "tcp", 1883, false, false }, { "mqtt", "tcp", 1883, false, false }, { "ssl", "ssl", 8883, true, false },
    { "tls", "ssl", 8883, true, false },  { "mqtts", "ssl", 8883, true, false }, { "ws", "ws", 80, false, true },
    { "wss", "wss", 443, true, true },
};

static const struct scheme *find_scheme(struct str name) {
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (str_eq_c(name, schemes[i].name))
            return &schemes[i];
    return NULL;
}

/* tls_enable: true makes tcp:// what ssl:// is, and ws:// what wss:// is. */
static const struct scheme *with_tls(const struct scheme *scheme) {
    if (scheme->tls)
        return scheme;
    return find_scheme(scheme->websocket ? STR("wss") : STR("ssl"));
}

static bool split_scheme(struct str *text, const struct scheme **scheme, struct err *err) {
    struct str name = STR("tcp");

    for (size_t i = 0; i + 2 < text->len; i++)
        if (memcmp(text->data + i, "://", 3) == 0) {
            name = str_make(text->data, i);
            *text = str_make(text->data + i + 3, text->len - i - 3);
            break;
        }
    *scheme = find_scheme(name);
    return *scheme != NULL ||
           err_set(err, ERR_SYNTAX, "unknown scheme '%.*s://'; known: tcp, mqtt, ssl, tls, mqtts, ws, wss",
                   STR_ARGS(name));
}

/* Takes "host", "host:port", "[v6]" or "[v6]:port" apart. */
static bool split_host(struct str text, struct str *host, unsigned *port, struct err *err) {
    uint64_t number = *port;
    struct str rest = text;

    if (text.len > 0 && text.data[0] == '[') {
        const char *close = memchr(text.data, ']', text.len);
        if (close == NULL)
            return err_set(err, ERR_SYNTAX, "'[' without ']' in the address");
        *host = str_make(text.data + 1, (size_t)(close - text.data) - 1);
        rest = str_make(close + 1, text.len - host->len - 2);
        if (rest.len > 0 && rest.data[0] != ':')
            return err_set(err, ERR_SYNTAX, "no ':' between address and port");
    } else {
        *host = str_split(&rest, ':');
        rest = rest.data != NULL ? str_make(rest.data - 1, rest.len + 1) : STR_EMPTY;
    }
    if (host->len == 0 || host->len > 253)
        return err_set(err, ERR_SYNTAX, "no host name");
    if (rest.len > 0 &&
        (!str_to_uint64(str_make(rest.data + 1, rest.len - 1), &number) || number == 0 || number > 65535))
        return err_set(err, ERR_SYNTAX, "port '%.*s' is not 1 to 65535", (int)rest.len - 1, rest.data + 1);
    *port = (unsigned)number;
    return true;
}

static char *print_uri(const char *scheme, const char *host, unsigned port, struct str path) {
    struct buf out = BUF_INIT(4096);
    bool v6 = strchr(host, ':') != NULL;

    buf_printf(&out, "%s://%s%s%s:%u%.*s", scheme, v6 ? "[" : "", host, v6 ? "]" : "", port, STR_ARGS(path));
    char *copy = out.failed ? NULL : strdup(buf_cstr(&out));
    buf_release(&out);
    return copy;
}

bool mqtt_server_parse(struct mqtt_server *server, const char *text, const char *server_name, int tls_enable,
                       struct err *err) {
    struct str rest = str_of(text), host = STR_EMPTY, path = STR_EMPTY;
    const struct scheme *written, *used;

    memset(server, 0, sizeof *server);
    if (!split_scheme(&rest, &written, err))
        return false;
    if (tls_enable >= CHOICE_FIRST_NO && written->tls)
        return err_set(err, ERR_SYNTAX, "%s:// is TLS, but tls_enable is false", written->name);
    used = tls_enable != CHOICE_AUTO && tls_enable < CHOICE_FIRST_NO ? with_tls(written) : written;
    if (memchr(rest.data, '@', rest.len) != NULL)
        return err_set(err, ERR_SYNTAX,
                       "user and password belong into `username` and `password`, not into the server's URL");
    const char *slash = memchr(rest.data, '/', rest.len);
    if (slash != NULL) {
        path = str_make(slash, rest.len - (size_t)(slash - rest.data));
        rest.len -= path.len;
    }
    if (!written->websocket && path.len > 1)
        return err_set(err, ERR_SYNTAX, "a path has a meaning for ws:// and wss:// only");
    unsigned port = written->port;
    if (!split_host(rest, &host, &port, err))
        return false;
    if (!written->websocket)
        path = STR_EMPTY;
    server->tls = used->tls;
    server->websocket = used->websocket;
    server->host = strndup(host.data, host.len);
    server->name = strdup(used->tls && server_name != NULL && server_name[0] != '\0' ? server_name : server->host);
    server->shown = print_uri(used->tls != written->tls ? used->name : written->name, server->host, port, path);
    server->uri = print_uri(used->paho, server->name, port, path);
    return (server->uri != NULL && server->shown != NULL) || err_set(err, ERR_LIMIT, "the URL is too long");
}

void mqtt_server_release(struct mqtt_server *server) {
    free(server->shown);
    free(server->uri);
    free(server->host);
    free(server->name);
    memset(server, 0, sizeof *server);
}

/* ---- client id -------------------------------------------------------------------------------------------------- */

/* FNV-1a: must give the same id for ever, so not the tables' hash. */
static uint32_t stable_hash(const char *text) {
    uint32_t hash = 2166136261u;

    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

void mqtt_client_id(const char *host, const char *name, char out[65]) {
    char whole[512];
    int len = snprintf(whole, sizeof whole, "heliograf-%s-%s", host, name);

    snprintf(out, 65, "%.64s", whole);
    if (len > 64)
        snprintf(out + 55, 10, "-%08x", (unsigned)stable_hash(whole));
    for (char *at = out; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_')
            *at = '-';
}

void mqtt_client_id_random(const char *base, char out[80]) {
    uint32_t random = (uint32_t)clock_real_ns() ^ (uint32_t)getpid() << 16;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (read(fd, &random, sizeof random) != sizeof random)
            random ^= (uint32_t)clock_mono_ns();
        close(fd);
    }
    snprintf(out, 80, "%.64s-%08x", base, (unsigned)random);
}

/* ---- checks ----------------------------------------------------------------------------------------------------- */

static struct src_pos item_at(const struct cfg_strings *list, size_t index, const struct yaml_node *map,
                              const char *key) {
    return list->at != NULL ? list->at[index] : cfg_at(map, key);
}

static bool is_loopback(const char *host) {
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static bool check_servers(struct mqtt_settings *settings, const struct yaml_node *map, struct diags *diags) {
    const struct mqtt_options *options = settings->options;
    const struct cfg_strings *list = &options->servers;
    bool ok = true;

    if (list->count == 0) {
        diag_add(diags, cfg_at(map, "servers"), "servers: none given");
        return false;
    }
    settings->servers = calloc(list->count, sizeof *settings->servers);
    if (settings->servers == NULL)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        struct err err = ERR_INIT;
        struct mqtt_server *server = &settings->servers[settings->server_count++];
        if (!mqtt_server_parse(server, list->items[i], options->tls_server_name, options->tls_enable, &err)) {
            diag_add(diags, item_at(list, i, map, "servers"), "server '%s': %s", list->items[i], err.text);
            ok = false;
        } else if (!server->tls && options->password != NULL && options->password[0] != '\0' &&
                   !is_loopback(server->host)) {
            diag_warn(diags, item_at(list, i, map, "servers"),
                      "server '%s': the password travels unencrypted; use ssl://", list->items[i]);
        }
    }
    return ok;
}

static bool check_topics(const struct mqtt_options *options, const struct yaml_node *map, struct diags *diags) {
    bool ok = options->topics.count > 0;

    if (!ok)
        diag_add(diags, cfg_at(map, "topics"), "topics: none given");
    for (size_t i = 0; i < options->topics.count; i++) {
        struct err err = ERR_INIT;
        if (!topic_filter_valid(str_of(options->topics.items[i]), &err)) {
            diag_add(diags, item_at(&options->topics, i, map, "topics"), "topic '%s': %s", options->topics.items[i],
                     err.text);
            ok = false;
        }
    }
    return ok;
}

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

/* The files are checked even when no server uses TLS: who names them wants them to be right. */
static bool check_tls_files(const struct mqtt_options *options, const struct yaml_node *map, struct diags *diags) {
    struct err err = ERR_INIT;
    bool ok = true;

    if (is_set(options->tls_ca) && !paho_tls_check_ca(options->tls_ca, &err)) {
        diag_add(diags, cfg_at(map, "tls_ca"), "tls_ca: %s", err.text);
        ok = false;
    }
    err_clear(&err);
    if (is_set(options->tls_cert) != is_set(options->tls_key)) {
        diag_add(diags, cfg_at(map, is_set(options->tls_cert) ? "tls_cert" : "tls_key"),
                 "tls_cert and tls_key belong together: give both or none");
        ok = false;
    } else if (is_set(options->tls_cert) &&
               !paho_tls_check_pair(options->tls_cert, options->tls_key, options->tls_key_password, &err)) {
        diag_add(diags, cfg_at(map, strstr(err.text, "private key") != NULL ? "tls_key" : "tls_cert"), "%s", err.text);
        ok = false;
    }
    return ok;
}

static bool check_tls(struct mqtt_settings *settings, const struct yaml_node *map, struct diags *diags) {
    const struct mqtt_options *options = settings->options;
    struct buf ciphers = BUF_INIT(16384);
    struct err err = ERR_INIT;
    bool ok = check_tls_files(options, map, diags);

    if (paho_tls_ciphers((enum tls_version)options->tls_min_version, options->tls_cipher_suites.items,
                         options->tls_cipher_suites.count, &ciphers, &err)) {
        settings->tls_ciphers = strdup(buf_cstr(&ciphers));
    } else {
        diag_add(diags, cfg_at(map, "tls_cipher_suites"), "tls_cipher_suites: %s", err.text);
        ok = false;
    }
    buf_release(&ciphers);
    return ok && settings->tls_ciphers != NULL;
}

/* [3.1.1: MQTT-3.1.2-22]; MQTT 5 lets a password stand alone. */
static bool check_user(const struct mqtt_options *options, const struct yaml_node *map, struct diags *diags) {
    bool secret = is_set(options->password), file = yaml_get(map, "password_file") != NULL;

    if (is_set(options->username) || (!secret && !file) || options->protocol != MQTT_PROTOCOL_311)
        return true;
    diag_add(diags, cfg_at(map, file ? "password_file" : "password"), "a password without `username`: MQTT 3.1.1 has no such thing; set username, or protocol: \"5\"");
    return false;
}

static bool choose_client_id(struct mqtt_settings *settings, const char *name) {
    char host[256] = "localhost", made[65];

    settings->client_id_given = is_set(settings->options->client_id);
    if (settings->client_id_given) {
        settings->client_id = strdup(settings->options->client_id);
    } else {
        gethostname(host, sizeof host - 1);
        mqtt_client_id(host, name, made);
        settings->client_id = strdup(made);
    }
    return settings->client_id != NULL;
}

static bool wants_persistence(const struct mqtt_options *options) {
    if (options->persistent_session == CHOICE_AUTO)
        return options->qos > 0;
    return options->persistent_session < CHOICE_FIRST_NO;
}

bool mqtt_settings_init(struct mqtt_settings *settings, const struct mqtt_options *options, const struct yaml_node *map,
                        const char *name, struct diags *diags) {
    const struct yaml_node *password_file = yaml_get(map, "password_file");
    bool ok;

    *settings = (struct mqtt_settings){ .options = options, .qos = options->qos > 0 };
    settings->persistent = wants_persistence(options);
    if (password_file != NULL && password_file->kind == YAML_SCALAR && password_file->text.len > 0)
        settings->password_file = password_file->text.data;
    settings->receive_maximum = (unsigned)options->receive_maximum;
    if (settings->receive_maximum == 0)
        settings->receive_maximum = (unsigned)options->max_undelivered_messages;
    if (settings->receive_maximum == 0)
        settings->receive_maximum = DEFAULT_RECEIVE_MAXIMUM;
    ok = check_servers(settings, map, diags);
    ok = check_topics(options, map, diags) && ok;
    ok = check_user(options, map, diags) && ok;
    ok = check_tls(settings, map, diags) && ok;
    return choose_client_id(settings, name) && ok;
}

void mqtt_settings_release(struct mqtt_settings *settings) {
    for (size_t i = 0; i < settings->server_count; i++)
        mqtt_server_release(&settings->servers[i]);
    free(settings->servers);
    free(settings->client_id);
    free(settings->tls_ciphers);
    memset(settings, 0, sizeof *settings);
}
