/* agent/status/status.c: see status.h. Which path gives what; how it travels is http.c, how it looks prometheus.c and
 * page.c. */
#include "agent/status/status.h"

#include <stddef.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/loop/loop.h"
#include "agent/status/http.h"
#include "agent/status/page.h"
#include "agent/status/prometheus.h"

#define REQUEST_SECONDS 10
#define WHY_MAX_BYTES   65536

const struct cfg_field status_options[] = {
    { .key = "address",
      .type = CFG_STRING,
      .offset = offsetof(struct status_options, address),
      .fallback = "\"127.0.0.1:9884\"",
      .help = "Where /metrics, /-/healthy, /-/ready and the status page are served: host:port, [IPv6]:port, or :port "
              "for all "
              "interfaces; empty turns it off. There is no password, so keep it on loopback or behind a proxy." },
    CFG_END,
};

struct status {
    struct http_server *server;
    struct status_hooks hooks;
    bool is_local; /* nobody from another machine can reach it */
};

static bool is_ready(const struct status *status, struct buf *why) {
    return status->hooks.ready == NULL || status->hooks.ready(status->hooks.ctx, why);
}

static void get_metrics(const struct status *status, struct http_reply *reply) {
    reply->type = "text/plain; version=0.0.4; charset=utf-8";
    status_prometheus(status->hooks.metrics, &reply->body);
}

static void get_healthy(const struct status *status, struct http_reply *reply) {
    (void)status;
    buf_append_c(&reply->body, "heliograf is alive\n");
}

static void get_ready(const struct status *status, struct http_reply *reply) {
    struct buf why = BUF_INIT(WHY_MAX_BYTES);
    bool ready = is_ready(status, &why);

    reply->status = ready ? 200 : 503;
    buf_append_c(&reply->body, ready ? "ready\n" : "not ready\n");
    buf_append_str(&reply->body, buf_str(&why));
    buf_release(&why);
}

static void get_page(const struct status *status, struct http_reply *reply) {
    struct buf why = BUF_INIT(WHY_MAX_BYTES);
    struct snapshot snapshot;
    struct page page = { .snapshot = &snapshot, .now_ns = clock_real_ns() };

    page.ready = is_ready(status, &why);
    page.why = buf_str(&why);
    snapshot_take(&snapshot, status->hooks.metrics);
    reply->type = "text/html; charset=utf-8";
    page_write(&page, &reply->body);
    snapshot_release(&snapshot);
    buf_release(&why);
}

static void get_clients(const struct status *status, struct http_reply *reply) {
    if (status->hooks.list_clients == NULL) {
        reply->status = 404;
        buf_append_c(&reply->body, "There is no broker in this agent.\n");
        return;
    }
    reply->type = "application/json";
    status->hooks.list_clients(status->hooks.ctx, &reply->body);
}

static const struct resource {
    const char *path;
    void (*get)(const struct status *status, struct http_reply *reply);
} resources[] = {
    { "/", get_page },
    { "/metrics", get_metrics },
    { "/-/healthy", get_healthy },
    { "/-/ready", get_ready },
    { "/clients", get_clients },
};

static void handle(void *ctx, struct str path, struct http_reply *reply) {
    for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++)
        if (str_eq_c(path, resources[i].path)) {
            resources[i].get(ctx, reply);
            return;
        }
    reply->status = 404;
    buf_append_c(&reply->body, "Nothing is here. There is /, /metrics, /-/healthy, /-/ready and /clients.\n");
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %2F and so on; anything else stays as it is. */
static void decode(struct str from, struct buf *to) {
    for (size_t i = 0; i < from.len; i++) {
        int high = from.data[i] == '%' && i + 2 < from.len ? hex_digit(from.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(from.data[i + 2]) : -1;
        if (low >= 0) {
            buf_append_char(to, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_append_char(to, from.data[i]);
        }
    }
}

static void kick_client(const struct status *status, struct str path, struct http_reply *reply) {
    struct buf id = BUF_INIT(HTTP_MAX_HEAD_BYTES);
    bool known;

    decode(path, &id);
    known = status->hooks.kick_client(status->hooks.ctx, buf_str(&id));
    reply->status = known ? 200 : 404;
    buf_append_c(&reply->body, known ? "disconnected\n" : "no client of that name is connected\n");
    buf_release(&id);
}

static void remove_resource(void *ctx, struct str path, struct http_reply *reply) {
    const struct str clients = STR_INIT("/clients/");
    const struct status *status = ctx;

    if (!str_starts_with(path, clients) || status->hooks.kick_client == NULL) {
        reply->status = 404;
        buf_append_c(&reply->body, "Nothing can be removed here but /clients/<client id>, in an agent with a broker.\n");
    } else if (!status->is_local) {
        reply->status = 403;
        buf_append_c(&reply->body, "Clients are disconnected only through a status address on loopback, as there is no password.\n");
    } else {
        kick_client(status, str_make(path.data + clients.len, path.len - clients.len), reply);
    }
}

static bool is_local(const char *address) {
    struct str host, port;

    return http_split_address(address, &host, &port) &&
           (str_starts_with(host, STR("127.")) || str_eq_c(host, "::1") || str_eq_c(host, "localhost"));
}

struct status *status_open(const struct status_options *options, struct loop *loop, const struct status_hooks *hooks,
                           struct err *err) {
    struct status *status = malloc(sizeof *status);
    const struct http_options http = { .handle = handle, .remove = remove_resource, .ctx = status, .deadline_ns = REQUEST_SECONDS * NS_PER_S };

    if (status == NULL) {
        err_set(err, ERR_LIMIT, "no memory for the status server");
        return NULL;
    }
    *status = (struct status){ .hooks = *hooks, .is_local = is_local(options->address) };
    status->server = http_server_new(loop_base(loop), &http, err);
    if (status->server == NULL || !http_server_listen(status->server, options->address, err)) {
        status_close(status);
        return NULL;
    }
    return status;
}

unsigned status_port(const struct status *status) {
    return http_server_port(status->server);
}

void status_close(struct status *status) {
    if (status == NULL)
        return;
    http_server_free(status->server);
    free(status);
}

bool status_check_address(const char *address, struct err *err) {
    struct str host, port;

    if (address[0] == '\0' || http_split_address(address, &host, &port))
        return true;
    return err_set(err, ERR_SYNTAX, "address '%s' is not host:port, as 127.0.0.1:9884, [::1]:9884 or :9884", address);
}
