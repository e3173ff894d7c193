/* agent/status/http.c: see http.h. A connection reads one head, writes one answer, then lingers until the client is
 * gone. */
#include "agent/status/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"

#define BACKLOG              128
#define LINGER_BYTES         (1 << 20) /* what a client may still send while it is being told to go away */
#define ACCEPT_RETRY_SECONDS 1

enum connection_state { READING, WRITING, LINGERING };

struct connection {
    struct http_server *server;
    struct bufferevent *stream;
    struct event *deadline;
    enum connection_state state;
    size_t lingered;
    bool half_closed; /* the client has said all it will say */
    struct connection *older, *newer;
};

struct http_server {
    struct event_base *base;
    struct http_options options;
    struct evconnlistener *listener;
    struct event *accept_again;
    struct connection *oldest, *newest;
    size_t connections;
    unsigned port;
};

static void connection_close(struct connection *connection) {
    struct http_server *server = connection->server;

    *(connection->older != NULL ? &connection->older->newer : &server->oldest) = connection->newer;
    *(connection->newer != NULL ? &connection->newer->older : &server->newest) = connection->older;
    server->connections--;
    if (connection->deadline != NULL)
        event_free(connection->deadline);
    bufferevent_free(connection->stream);
    free(connection);
}

static const char *status_words(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 403:
        return "Forbidden";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    }
    return "Internal Server Error";
}

static void refuse(struct http_reply *reply, int status) {
    reply->status = status;
    reply->type = "text/plain; charset=utf-8";
    buf_reset(&reply->body);
    if (status == 405)
        buf_append_c(&reply->body, "Everything here is read with GET or HEAD.\n");
    else
        buf_printf(&reply->body, "%s.\n", status_words(status));
}

static void put_head(struct evbuffer *out, const struct http_reply *reply) {
    time_t now = (time_t)(clock_real_ns() / NS_PER_S);
    char date[64];
    struct tm tm;

    gmtime_r(&now, &tm);
    evutil_date_rfc1123(date, sizeof date, &tm);
    evbuffer_add_printf(out,
                        "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n"
                        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\n"
                        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n%s\r\n",
                        reply->status, status_words(reply->status), date, reply->type, reply->body.len,
                        reply->status == 405 ? "Allow: GET, HEAD\r\n" : "");
}

static void answer(struct connection *connection, int status, const struct http_request *request) {
    const struct http_options *options = &connection->server->options;
    struct http_reply reply = { .status = 200,
                                .type = "text/plain; charset=utf-8",
                                .body = BUF_INIT(HTTP_MAX_BODY_BYTES) };
    struct evbuffer *out = bufferevent_get_output(connection->stream);

    if (status == 200 && request->remove && options->remove == NULL)
        status = 405;
    if (status == 200)
        (request->remove ? options->remove : options->handle)(options->ctx, request->path, &reply);
    else
        refuse(&reply, status);
    if (reply.body.failed)
        refuse(&reply, 500);
    connection->state = WRITING;
    put_head(out, &reply);
    if (!request->head)
        evbuffer_add(out, reply.body.data, reply.body.len);
    buf_release(&reply.body);
}

/* Reads on and forgets, because closing with unread bytes would make the system take back the answer (RFC 9112, 9.6).
 */
static void linger(struct connection *connection) {
    struct evbuffer *in = bufferevent_get_input(connection->stream);
    size_t len = evbuffer_get_length(in);

    connection->lingered += len;
    evbuffer_drain(in, len);
    if (connection->lingered > LINGER_BYTES)
        connection_close(connection);
}

static void on_read(struct bufferevent *stream, void *ctx) {
    struct connection *connection = ctx;
    struct evbuffer *in = bufferevent_get_input(stream);
    struct http_request request;
    size_t len = evbuffer_get_length(in);
    int status;

    if (connection->state != READING) {
        linger(connection);
        return;
    }
    status = http_parse_request(str_make((const char *)evbuffer_pullup(in, -1), len), &request);
    if (status == 0)
        return;
    answer(connection, status, &request);
    linger(connection);
}

static void on_written(struct bufferevent *stream, void *ctx) {
    struct connection *connection = ctx;

    if (connection->state != WRITING)
        return;
    if (connection->half_closed) {
        connection_close(connection);
        return;
    }
    connection->state = LINGERING;
    shutdown(bufferevent_getfd(stream), SHUT_WR);
}

static void on_event(struct bufferevent *stream, short what, void *ctx) {
    struct connection *connection = ctx;

    (void)stream;
    /* A client may close its sending half and still wait for the answer. */
    if ((what & BEV_EVENT_EOF) && connection->state == WRITING)
        connection->half_closed = true;
    else
        connection_close(connection);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx) {
    (void)fd;
    (void)what;
    connection_close(ctx);
}

static void append(struct http_server *server, struct connection *connection) {
    connection->older = server->newest;
    *(server->newest != NULL ? &server->newest->newer : &server->oldest) = connection;
    server->newest = connection;
    server->connections++;
}

bool http_server_adopt(struct http_server *server, int fd) {
    int64_t deadline_ns = server->options.deadline_ns;
    struct timeval deadline = { .tv_sec = deadline_ns / NS_PER_S, .tv_usec = deadline_ns % NS_PER_S / NS_PER_US };
    struct bufferevent *stream = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
    struct connection *connection = stream != NULL ? calloc(1, sizeof *connection) : NULL;

    if (connection == NULL) {
        if (stream != NULL)
            bufferevent_free(stream);
        else
            close(fd);
        return false;
    }
    if (server->connections == HTTP_MAX_CONNECTIONS)
        connection_close(server->oldest);
    *connection = (struct connection){ .server = server, .stream = stream };
    append(server, connection);
    connection->deadline = evtimer_new(server->base, on_deadline, connection);
    if (connection->deadline == NULL || evtimer_add(connection->deadline, &deadline) != 0) {
        connection_close(connection);
        return false;
    }
    bufferevent_setcb(stream, on_read, on_written, on_event, connection);
    bufferevent_setwatermark(stream, EV_READ, 0, HTTP_MAX_HEAD_BYTES);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
    return true;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len, void *ctx) {
    (void)listener;
    (void)from;
    (void)len;
    http_server_adopt(ctx, fd);
}

/* Out of descriptors, most likely: the pending connection stays readable, so look again a little later, not at once. */
static void on_accept_error(struct evconnlistener *listener, void *ctx) {
    const struct timeval later = { .tv_sec = ACCEPT_RETRY_SECONDS };
    struct http_server *server = ctx;

    evconnlistener_disable(listener);
    evtimer_add(server->accept_again, &later);
}

static void on_accept_again(evutil_socket_t fd, short what, void *ctx) {
    struct http_server *server = ctx;

    (void)fd;
    (void)what;
    evconnlistener_enable(server->listener);
}

struct http_server *http_server_new(struct event_base *base, const struct http_options *options, struct err *err) {
    struct http_server *server = calloc(1, sizeof *server);

    if (server != NULL) {
        *server = (struct http_server){ .base = base, .options = *options };
        server->accept_again = evtimer_new(base, on_accept_again, server);
    }
    if (server == NULL || server->accept_again == NULL) {
        http_server_free(server);
        err_set(err, ERR_LIMIT, "no memory for the HTTP server");
        return NULL;
    }
    return server;
}

void http_server_free(struct http_server *server) {
    if (server == NULL)
        return;
    while (server->oldest != NULL)
        connection_close(server->oldest);
    if (server->listener != NULL)
        evconnlistener_free(server->listener);
    if (server->accept_again != NULL)
        event_free(server->accept_again);
    free(server);
}

/* A listening socket, or -1 with errno. An empty host means IPv6 and, through it, IPv4. */
static int listen_on(const struct addrinfo *info, bool both) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, only6 = !both, error;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof only6);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int listen_on_any(const struct addrinfo *list, bool both) {
    int fd = -1;

    for (const struct addrinfo *info = list; both && fd < 0 && info != NULL; info = info->ai_next)
        if (info->ai_family == AF_INET6)
            fd = listen_on(info, true);
    for (const struct addrinfo *info = list; fd < 0 && info != NULL; info = info->ai_next)
        fd = listen_on(info, false);
    return fd;
}

static int open_address(const char *address, struct err *err) {
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *list;
    struct str host, port;
    char name[256];
    int fd, error;

    if (!http_split_address(address, &host, &port) || host.len >= sizeof name) {
        err_set(err, ERR_SYNTAX, "address '%s' is not host:port, as 127.0.0.1:9884, [::1]:9884 or :9884", address);
        return -1;
    }
    memcpy(name, host.data, host.len);
    name[host.len] = '\0';
    error = getaddrinfo(host.len > 0 ? name : NULL, port.data, &hints, &list);
    if (error != 0) {
        err_set(err, ERR_IO, "address '%s': %s", address, gai_strerror(error));
        return -1;
    }
    fd = listen_on_any(list, host.len == 0);
    if (fd < 0)
        err_set_errno(err, errno, "cannot listen on '%s'", address);
    freeaddrinfo(list);
    return fd;
}

static unsigned bound_port(int fd) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;

    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    if (at.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&at)->sin6_port);
    return ntohs(((struct sockaddr_in *)&at)->sin_port);
}

bool http_server_listen(struct http_server *server, const char *address, struct err *err) {
    int fd = open_address(address, err);

    if (fd < 0)
        return false;
    server->port = bound_port(fd);
    server->listener =
        evconnlistener_new(server->base, on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (server->listener == NULL) {
        close(fd);
        return err_set(err, ERR_LIMIT, "no memory to listen on '%s'", address);
    }
    evconnlistener_set_error_cb(server->listener, on_accept_error);
    return true;
}

unsigned http_server_port(const struct http_server *server) {
    return server->port;
}

size_t http_server_connections(const struct http_server *server) {
    return server->connections;
}
