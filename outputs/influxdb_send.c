/*
 * outputs/influxdb_send.c: one request, until there is an outcome: who is it, log in, compress, post, read the answer,
 * and do at once what can be done at once (another server, plain instead of gzip, new credentials, a missing database,
 * named lines).
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "outputs/influxdb_common.h"

enum { GZIP_FROM = 1024, TRIES_MAX = 6 };

/* What has been tried for the request at hand, so that nothing is tried twice. */
struct attempt {
    struct influxdb_connection *connection;
    struct influxdb_target *target;
    const struct request *request;
    struct reply *reply;
    bool compressed_ready, sent_compressed, plain_once;
    bool credentials_read, database_made;
};

/* ---- log in and headers ---- */

static bool is_set(const char *text) {
    return text != NULL && text[0] != '\0';
}

static const struct server_profile *profile_of(const struct influxdb *influxdb, const struct influxdb_target *target) {
    const struct server_profile *server = atomic_load_explicit(&target->server, memory_order_relaxed);

    return server != NULL ? server : influxdb->api->own;
}

/* The URL's own user stands in where the options name none. */
static void log_in(struct influxdb_connection *connection, const struct influxdb_target *target,
                   struct http_request *request, size_t *headers) {
    const struct influxdb *influxdb = connection->influxdb;
    const struct server_profile *server = profile_of(influxdb, target);
    bool has_user = is_set(influxdb->username);
    const char *user = has_user ? influxdb->username : target->endpoint.user;
    const char *secret = buf_cstr(&connection->secret);

    if (user != NULL && !has_user)
        secret = target->endpoint.password != NULL ? target->endpoint.password : "";
    buf_reset(&connection->authorization);
    if (user != NULL && !server->login_as_token) {
        request->user = user;
        request->password = secret;
        return;
    }
    if (user != NULL)
        buf_printf(&connection->authorization, "Authorization: %s %s:%s", server->token_scheme, user, secret);
    else if (secret[0] != '\0')
        buf_printf(&connection->authorization, "Authorization: %s %s", server->token_scheme, secret);
    if (connection->authorization.len > 0)
        connection->headers[(*headers)++] = buf_cstr(&connection->authorization);
}

static void perform(struct influxdb_connection *connection, const struct influxdb_target *target,
                    struct http_request *request, const char *content_type, bool compressed,
                    struct http_answer *answer) {
    const struct influxdb *influxdb = connection->influxdb;
    size_t headers = 0;

    if (request->post)
        connection->headers[headers++] = content_type;
    if (compressed)
        connection->headers[headers++] = "Content-Encoding: gzip";
    log_in(connection, target, request, &headers);
    for (size_t i = 0; i < influxdb->http_headers.count; i++)
        connection->headers[headers++] = influxdb->header_lines[i].data;
    connection->headers[headers] = NULL;
    request->headers = connection->headers;
    request->endpoint = &target->endpoint;
    http_perform(connection->http, request, answer);
}

/* A URL may already end with the profile's prefix, as people write it for Telegraf. */
static void begin_path(struct influxdb_connection *connection, const struct influxdb_target *target, const char *path) {
    const char *prefix = profile_of(connection->influxdb, target)->path_prefix;

    buf_reset(&connection->path);
    if (!str_ends_with(str_of(target->endpoint.base), str_of(prefix)))
        buf_append_c(&connection->path, prefix);
    buf_append_c(&connection->path, path);
}

void influxdb_post_form(struct influxdb_connection *connection, const char *path, struct str form,
                        struct http_answer *answer) {
    struct influxdb *influxdb = connection->influxdb;
    struct influxdb_target *target = &influxdb->targets[atomic_load(&influxdb->preferred) % influxdb->target_count];
    struct http_request request = { .post = true, .body = form };

    begin_path(connection, target, path);
    request.path = buf_cstr(&connection->path);
    perform(connection, target, &request, "Content-Type: application/x-www-form-urlencoded", false, answer);
}

/* ---- who is it ---- */

static void ping(struct influxdb_connection *connection, const struct influxdb_target *target,
                 struct http_answer *answer) {
    struct http_request request = { .post = false };

    begin_path(connection, target, "/ping");
    request.path = buf_cstr(&connection->path);
    perform(connection, target, &request, NULL, false, answer);
}

/* False without an answer; with one, the target's server is known from then on, unless it is in trouble just now. */
static bool recognise(struct influxdb_connection *connection, struct influxdb_target *target,
                      struct http_answer *answer) {
    const struct influxdb_api *api = connection->influxdb->api;
    const struct server_profile *server;

    ping(connection, target, answer);
    if (answer->status == 0)
        return false;
    server = influxdb_recognise(answer);
    if (server == NULL && answer->status >= 500)
        return true;
    if (server == NULL || (server->generations & api->generation) == 0)
        server = api->own;
    atomic_store_explicit(&target->server, server, memory_order_relaxed);
    return true;
}

static void forget_server(struct influxdb *influxdb, struct influxdb_target *target) {
    atomic_store_explicit(&target->server, influxdb_server(influxdb->server), memory_order_relaxed);
}

/* ---- one try ---- */

static bool wants_gzip(const struct attempt *attempt) {
    const struct influxdb *influxdb = attempt->connection->influxdb;

    if (influxdb->content_encoding == ENCODING_IDENTITY || attempt->request->body.len < GZIP_FROM ||
        attempt->plain_once || !profile_of(influxdb, attempt->target)->gzip ||
        atomic_load_explicit(&influxdb->no_gzip, memory_order_relaxed))
        return false;
    return influxdb->content_encoding == ENCODING_GZIP || !attempt->target->endpoint.loopback;
}

static struct str encode(struct attempt *attempt) {
    struct influxdb_connection *connection = attempt->connection;

    attempt->sent_compressed = false;
    if (!wants_gzip(attempt))
        return attempt->request->body;
    if (connection->gzip == NULL)
        connection->gzip = gzip_new();
    if (!attempt->compressed_ready && connection->gzip != NULL)
        attempt->compressed_ready = gzip_compress(connection->gzip, attempt->request->body, &connection->compressed);
    if (!attempt->compressed_ready)
        return attempt->request->body;
    attempt->sent_compressed = true;
    return buf_str(&connection->compressed);
}

static enum influxdb_advice try_once(struct attempt *attempt) {
    struct influxdb_connection *connection = attempt->connection;
    const struct influxdb *influxdb = connection->influxdb;
    struct http_request request = { .post = true };
    struct http_answer answer;

    if (atomic_load_explicit(&attempt->target->server, memory_order_relaxed) == NULL &&
        !recognise(connection, attempt->target, &answer))
        return influxdb_outcome(&answer, influxdb->api->own, attempt->request, attempt->reply);
    begin_path(connection, attempt->target, influxdb->api->write_path);
    buf_append_char(&connection->path, '?');
    influxdb->api->write_query(influxdb, attempt->request->target, &connection->path);
    request.path = buf_cstr(&connection->path);
    request.body = encode(attempt);
    attempt->reply->wire_bytes += request.body.len;
    perform(connection, attempt->target, &request, "Content-Type: text/plain; charset=utf-8", attempt->sent_compressed,
            &answer);
    return influxdb_outcome(&answer, profile_of(influxdb, attempt->target), attempt->request, attempt->reply);
}

static bool has_new_credentials(struct attempt *attempt) {
    struct influxdb_connection *connection = attempt->connection;
    uint64_t before = str_hash(buf_str(&connection->secret));

    if (attempt->credentials_read)
        return false;
    attempt->credentials_read = true;
    secret_get(&connection->influxdb->secret, true, &connection->secret);
    return str_hash(buf_str(&connection->secret)) != before;
}

static bool may_create(const struct influxdb *influxdb, const struct influxdb_target *target) {
    const struct influxdb_api *api = influxdb->api;

    return profile_of(influxdb, target)->databases && api->may_create != NULL && api->may_create(influxdb);
}

static bool make_database(struct attempt *attempt) {
    struct influxdb *influxdb = attempt->connection->influxdb;

    if (attempt->database_made || !may_create(influxdb, attempt->target))
        return false;
    attempt->database_made = true;
    atomic_store(&influxdb->preferred, (size_t)(attempt->target - influxdb->targets));
    return influxdb->api->create_target(influxdb, attempt->connection, attempt->request->target, attempt->reply);
}

/* Does what an answer advises; true when the request is to be sent again to the same server. */
static bool follow(struct attempt *attempt, enum influxdb_advice advice) {
    struct influxdb *influxdb = attempt->connection->influxdb;

    switch (advice) {
    case ADVICE_NO_GZIP:
        if (attempt->sent_compressed)
            atomic_store(&influxdb->no_gzip, true);
        return attempt->sent_compressed;
    case ADVICE_RESEND_PLAIN:
        attempt->plain_once = true;
        return attempt->sent_compressed;
    case ADVICE_CREDENTIALS:
        return has_new_credentials(attempt);
    case ADVICE_DATABASE:
        return make_database(attempt);
    case ADVICE_OTHER_API:
        forget_server(influxdb, attempt->target);
        return false;
    case ADVICE_NONE:
    case ADVICE_WITHOUT_NAMED:
    case ADVICE_OTHER_SERVER:
        return false;
    }
    return false;
}

static enum influxdb_advice try_target(struct attempt *attempt) {
    enum influxdb_advice advice = try_once(attempt);

    for (int tries = 1; tries < TRIES_MAX && follow(attempt, advice); tries++)
        advice = try_once(attempt);
    return advice;
}

/* ---- several servers ---- */

/* What one server said, beside which the silence of another one tells nothing. */
struct said {
    enum outcome outcome;
    enum retry_class retry;
    int status;
    int64_t retry_after_ns;
    char reason[REPLY_REASON_MAX];
};

static struct said keep(const struct reply *reply) {
    struct said said = { reply->outcome, reply->retry, reply->status, reply->retry_after_ns, "" };

    memcpy(said.reason, reply->reason, sizeof said.reason);
    return said;
}

static void restore(struct reply *reply, const struct said *said) {
    reply->outcome = said->outcome;
    reply->retry = said->retry;
    reply->status = said->status;
    reply->retry_after_ns = said->retry_after_ns;
    memcpy(reply->reason, said->reason, sizeof said->reason);
}

/* Begins with the server that answered last; goes on to the next one as long as servers are in trouble. */
static enum influxdb_advice try_targets(struct attempt *attempt) {
    struct influxdb *influxdb = attempt->connection->influxdb;
    size_t first = atomic_load_explicit(&influxdb->preferred, memory_order_relaxed);
    enum influxdb_advice advice = ADVICE_NONE;
    struct said best = { .status = 0 };

    for (size_t i = 0; i < influxdb->target_count; i++) {
        size_t at = (first + i) % influxdb->target_count;
        attempt->target = &influxdb->targets[at];
        advice = try_target(attempt);
        if (advice != ADVICE_OTHER_SERVER) {
            if (attempt->reply->status != 0)
                atomic_store_explicit(&influxdb->preferred, at, memory_order_relaxed);
            return advice;
        }
        if (i == 0 || (best.status == 0 && attempt->reply->status != 0))
            best = keep(attempt->reply);
    }
    restore(attempt->reply, &best);
    return advice;
}

/* ---- named lines ---- */

static bool without_named(const struct request *request, const struct reply *reply, struct buf *rest) {
    size_t named = 0;

    buf_init(rest, request->body.len + 1);
    if (!buf_reserve(rest, request->body.len))
        return false;
    for (uint32_t line = 0, start = 0; line < request->line_count; start = request->line_ends[line++]) {
        if (named < reply->rejected_count && reply->rejected[named].line == line)
            named++;
        else
            buf_append(rest, request->body.data + start, request->line_ends[line] - start);
    }
    return rest->len > 0;
}

/*
 * Nothing is stored, and the lines at fault are named: the others go again, at once, on their own. Only when they are
 * stored are the named ones given up; else the whole request is to be halved or kept, as if nobody had named any.
 */
static void send_rest(struct attempt *attempt) {
    const struct request *whole = attempt->request;
    struct reply *reply = attempt->reply;
    size_t named = reply->rejected_count;
    struct request rest = { .target = whole->target };
    struct said refusal = keep(reply);
    struct buf body;

    if (without_named(whole, reply, &body)) {
        rest.body = buf_str(&body);
        attempt->request = &rest;
        attempt->compressed_ready = false;
        try_target(attempt); /* with no line ends known, it names no line: the list stays as it is */
        attempt->request = whole;
    }
    reply->rejected_count = 0;
    if (reply->outcome == DELIVERED) {
        restore(reply, &refusal);
        reply->rejected_count = named;
        reply->outcome = PARTIAL;
    } else if (reply->outcome != RETRY_LATER) {
        restore(reply, &refusal);
    }
    buf_release(&body);
}

void influxdb_send(void *self, void *connection, const struct request *request, struct reply *reply) {
    struct influxdb *influxdb = self;
    struct attempt attempt = { .connection = connection, .request = request, .reply = reply };
    int64_t started_ns = clock_mono_ns();

    reply_reset(reply);
    if (request->body.len == 0) {
        reply->outcome = DELIVERED; /* v3 refuses an empty body, and there is nothing to lose */
        return;
    }
    secret_get(&influxdb->secret, false, &attempt.connection->secret);
    if (try_targets(&attempt) == ADVICE_WITHOUT_NAMED)
        send_rest(&attempt);
    reply->duration_ns = clock_mono_ns() - started_ns;
}

/* ---- probe ---- */

static bool probe_target(struct influxdb_connection *connection, struct influxdb_target *target, struct err *err) {
    static const uint32_t line_end = sizeof "# check\n" - 1;
    const struct request request = { STR_INIT("# check\n"), 1, &line_end, STR_INIT("") };
    struct attempt attempt = { .connection = connection, .target = target, .request = &request };
    enum influxdb_advice advice;
    struct reply reply;
    bool ok;

    reply_init(&reply);
    attempt.reply = &reply;
    advice = try_once(&attempt);
    /* A complaint about the body comes after log-in and target were found good. */
    ok = reply.outcome == DELIVERED || reply.outcome == PARTIAL || reply.outcome == SPLIT ||
         (advice == ADVICE_DATABASE && may_create(connection->influxdb, target));
    if (!ok && reply.status == 0)
        err_set(err, ERR_NETWORK, "%s", reply.reason);
    else if (!ok)
        err_set(err, ERR_NETWORK, "%.80s: %d: %s", target->endpoint.display, reply.status, reply.reason);
    reply_release(&reply);
    return ok;
}

bool influxdb_probe(void *self, void *connection, struct err *err) {
    struct influxdb *influxdb = self;
    struct influxdb_connection *given = connection;

    secret_get(&influxdb->secret, true, &given->secret);
    for (size_t i = 0; i < influxdb->target_count; i++)
        if (!probe_target(given, &influxdb->targets[i], err))
            return false;
    return true;
}
