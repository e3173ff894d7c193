/* outputs/influxdb_common.c: see influxdb_common.h. How a request is sent is in influxdb_send.c. */
#include "outputs/influxdb_common.h"

#include <stdlib.h>

enum { PATH_MAX_BYTES = 16384, HEADER_LINE_MAX = 16384, FIXED_HEADERS = 4, COMPRESSED_MAX = 64 * 1024 * 1024 };

const char *const influxdb_encoding_names[] = { "auto", "gzip", "identity", NULL };
const char *const influxdb_tls_names[] = { "TLS10", "TLS11", "TLS12", "TLS13", NULL };

static bool init_targets(struct influxdb *influxdb, struct err *err) {
    size_t count = influxdb->urls.count;

    if (count == 0)
        return err_set(err, ERR_MISSING, "urls is empty");
    influxdb->targets = calloc(count, sizeof *influxdb->targets);
    if (influxdb->targets == NULL)
        return err_set(err, ERR_FULL, "out of memory");
    for (size_t i = 0; i < count; i++) {
        struct err why = ERR_INIT;
        influxdb->target_count = i + 1;
        if (!http_endpoint_init(&influxdb->targets[i].endpoint, influxdb->urls.items[i], influxdb->http.tls_server_name,
                                &why))
            return err_set(err, why.code, "urls: number %zu: %s", i + 1, why.text);
        atomic_init(&influxdb->targets[i].server, influxdb_server(influxdb->server));
    }
    return true;
}

static bool init_headers(struct influxdb *influxdb, struct err *err) {
    const struct cfg_map *map = &influxdb->http_headers;

    influxdb->header_lines = calloc(map->count + 1, sizeof *influxdb->header_lines);
    if (influxdb->header_lines == NULL)
        return err_set(err, ERR_FULL, "out of memory");
    for (size_t i = 0; i < map->count; i++) {
        struct buf *line = &influxdb->header_lines[i];
        if (map->keys[i][0] == '\0' || strpbrk(map->keys[i], ": ") != NULL || !http_header_safe(map->keys[i]) ||
            !http_header_safe(map->values[i]))
            return err_set(err, ERR_SYNTAX, "http_headers: '%.60s' cannot be a header", map->keys[i]);
        buf_init(line, HEADER_LINE_MAX);
        buf_printf(line, "%s: %s", map->keys[i], map->values[i]);
        if (line->failed || buf_cstr(line)[0] == '\0')
            return err_set(err, ERR_LIMIT, "http_headers: '%.60s' is too long", map->keys[i]);
    }
    return true;
}

bool influxdb_init(struct influxdb *influxdb, const struct influxdb_api *api, struct err *err) {
    const struct server_profile *server = influxdb_server(influxdb->server);

    influxdb->api = api;
    if (server != NULL && (server->generations & api->generation) == 0)
        return err_set(err, ERR_UNSUPPORTED, "server: %s has no %s; use another influxdb output", server->name,
                       api->write_path);
    return http_options_check(&influxdb->http, err) && init_targets(influxdb, err) && init_headers(influxdb, err) &&
           secret_init(&influxdb->secret, api->secret_name, err);
}

void influxdb_fini(void *self) {
    struct influxdb *influxdb = self;

    for (size_t i = 0; i < influxdb->target_count; i++)
        http_endpoint_release(&influxdb->targets[i].endpoint);
    free(influxdb->targets);
    for (size_t i = 0; influxdb->header_lines != NULL && i < influxdb->http_headers.count; i++)
        buf_release(&influxdb->header_lines[i]);
    free(influxdb->header_lines);
    secret_fini(&influxdb->secret);
    influxdb->targets = NULL;
    influxdb->header_lines = NULL;
    influxdb->target_count = 0;
}

void *influxdb_open(void *self, const atomic_bool *cancel, struct err *err) {
    struct influxdb *influxdb = self;
    struct influxdb_connection *connection = calloc(1, sizeof *connection);
    size_t headers = influxdb->http_headers.count + FIXED_HEADERS;

    if (connection == NULL || (connection->headers = calloc(headers, sizeof *connection->headers)) == NULL) {
        free(connection);
        err_set(err, ERR_FULL, "out of memory for a connection");
        return NULL;
    }
    connection->influxdb = influxdb;
    buf_init(&connection->compressed, COMPRESSED_MAX);
    buf_init(&connection->path, PATH_MAX_BYTES);
    buf_init(&connection->secret, SECRET_MAX);
    buf_init(&connection->authorization, SECRET_MAX + 1024);
    connection->http = http_open(&influxdb->http, cancel, err);
    if (connection->http == NULL) {
        influxdb_close(self, connection);
        return NULL;
    }
    return connection;
}

void influxdb_close(void *self, void *connection) {
    struct influxdb_connection *given = connection;

    (void)self;
    if (given == NULL)
        return;
    http_close(given->http);
    gzip_free(given->gzip);
    buf_release(&given->compressed);
    buf_release(&given->path);
    buf_release(&given->secret);
    buf_release(&given->authorization);
    free(given->headers);
    free(given);
}

unsigned influxdb_concurrency(void *self) {
    const struct influxdb *influxdb = self;

    return (unsigned)influxdb->concurrent_writes;
}

void influxdb_describe(void *self, struct buf *out) {
    const struct influxdb *influxdb = self;

    for (size_t i = 0; i < influxdb->target_count; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", influxdb->targets[i].endpoint.display);
    influxdb->api->describe_target(self, out);
}
