/*
 * tests/support/http_server.h: a small HTTP server inside a test. It answers the n-th request with the n-th step of a
 * script (the last one again and again), misbehaves as told, and keeps what it was sent. Header-only, so that a test
 * stays one file.
 */
#ifndef HELIOGRAF_TESTS_HTTP_SERVER_H
#define HELIOGRAF_TESTS_HTTP_SERVER_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum server_action {
    ANSWER,         /* headers and body as given, connection stays */
    ANSWER_CLOSE,   /* the same, then closes */
    ANSWER_EARLY,   /* without reading the body, then closes its sending side and drains */
    STALL,          /* reads the request and says nothing until the server stops */
    RESET,          /* reads the head, then resets the connection */
    ANSWER_INTERIM, /* a 100 with headers of its own first */
    CUT_BODY,       /* promises a longer body than it sends, then closes */
};

struct server_step {
    enum server_action action;
    int status;
    const char *headers; /* whole lines with \r\n; NULL: none */
    const char *body;    /* NULL: none */
    size_t body_len;     /* 0: strlen(body) */
};

struct server_request {
    char *head, *body;
    size_t body_len;
};

#define SERVER_REQUESTS_MAX    64
#define SERVER_CONNECTIONS_MAX 64

struct http_server {
    int listener;
    int port;
    const struct server_step *steps;
    size_t step_count;
    pthread_t acceptor, workers[SERVER_CONNECTIONS_MAX];
    atomic_size_t connections;
    pthread_mutex_t lock;
    struct server_request requests[SERVER_REQUESTS_MAX];
    size_t request_count;
    atomic_bool stop;
};

struct server_connection {
    struct http_server *server;
    int fd;
};

/* Readable within 20 ms, or false once the server stops. */
static inline bool server_wait(struct http_server *server, int fd) {
    struct pollfd readable = { .fd = fd, .events = POLLIN };

    while (!atomic_load(&server->stop))
        if (poll(&readable, 1, 20) != 0)
            return true;
    return false;
}

static inline bool server_send(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

static inline size_t server_content_length(const char *head) {
    for (const char *at = head; (at = strchr(at, '\n')) != NULL;)
        if (strncasecmp(++at, "Content-Length:", 15) == 0)
            return (size_t)strtoul(at + 15, NULL, 10);
    return 0;
}

static inline const struct server_step *server_keep(struct http_server *server, char *head, char *body, size_t len) {
    const struct server_step *step;

    pthread_mutex_lock(&server->lock);
    size_t number = server->request_count;
    if (number < SERVER_REQUESTS_MAX) {
        server->requests[server->request_count++] = (struct server_request){ head, body, len };
    } else {
        free(head);
        free(body);
    }
    step = &server->steps[number < server->step_count ? number : server->step_count - 1];
    pthread_mutex_unlock(&server->lock);
    return step;
}

/* What has come so far; what the server keeps does not move. */
static inline size_t server_count(struct http_server *server) {
    pthread_mutex_lock(&server->lock);
    size_t count = server->request_count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* Aborts when there is no such request. */
static inline struct server_request server_request(struct http_server *server, size_t number) {
    pthread_mutex_lock(&server->lock);
    if (number >= server->request_count)
        abort();
    struct server_request request = server->requests[number];
    pthread_mutex_unlock(&server->lock);
    return request;
}

static inline const struct server_step *server_peek(struct http_server *server) {
    pthread_mutex_lock(&server->lock);
    size_t number = server->request_count;
    const struct server_step *step = &server->steps[number < server->step_count ? number : server->step_count - 1];
    pthread_mutex_unlock(&server->lock);
    return step;
}

/* One byte at a time up to the empty line: slow, and simple. */
static inline char *server_read_head(struct http_server *server, int fd) {
    size_t len = 0, cap = 32768;
    char *head = malloc(cap);

    while (len < cap - 1 && server_wait(server, fd) && recv(fd, head + len, 1, 0) == 1) {
        head[++len] = '\0';
        if (len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0)
            return head;
    }
    free(head);
    return NULL;
}

static inline char *server_read_body(struct http_server *server, int fd, size_t wanted, size_t *len) {
    char *body = malloc(wanted + 1);

    *len = 0;
    while (*len < wanted && server_wait(server, fd)) {
        ssize_t got = recv(fd, body + *len, wanted - *len, 0);
        if (got <= 0)
            break;
        *len += (size_t)got;
    }
    body[*len] = '\0';
    return body;
}

static inline bool server_answer(int fd, const struct server_step *step) {
    size_t len = step->body == NULL ? 0 : step->body_len > 0 ? step->body_len : strlen(step->body);
    size_t promised = step->action == CUT_BODY ? len + 1000 : len;
    char head[2048];
    int head_len;

    if (step->status == 204)
        head_len = snprintf(head, sizeof head, "HTTP/1.1 204 No Content\r\n%s\r\n", step->headers ? step->headers : "");
    else
        head_len = snprintf(head, sizeof head, "HTTP/1.1 %d Scripted\r\nContent-Length: %zu\r\n%s\r\n", step->status,
                            promised, step->headers ? step->headers : "");
    return server_send(fd, head, (size_t)head_len) && server_send(fd, step->body, len);
}

static inline void server_drain(struct http_server *server, int fd) {
    char rest[65536];

    shutdown(fd, SHUT_WR);
    while (server_wait(server, fd) && recv(fd, rest, sizeof rest, 0) > 0)
        ;
}

static inline bool server_one_request(struct http_server *server, int fd) {
    const struct server_step *step = server_peek(server);
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    char *head = server_read_head(server, fd), *body;
    size_t len = 0;

    if (head == NULL)
        return false;
    if (step->action == RESET || step->action == ANSWER_EARLY) {
        server_keep(server, head, calloc(1, 1), 0);
        if (step->action == RESET) {
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        } else if (server_answer(fd, step)) {
            server_drain(server, fd);
        }
        return false;
    }
    body = server_read_body(server, fd, server_content_length(head), &len);
    step = server_keep(server, head, body, len);
    if (step->action == STALL) {
        while (!atomic_load(&server->stop))
            poll(NULL, 0, 5);
        return false;
    }
    static const char interim[] = "HTTP/1.1 100 Continue\r\nRetry-After: 99\r\n\r\n";
    if (step->action == ANSWER_INTERIM && !server_send(fd, interim, sizeof interim - 1))
        return false;
    return server_answer(fd, step) && (step->action == ANSWER || step->action == ANSWER_INTERIM);
}

static inline void *server_work(void *arg) {
    struct server_connection connection = *(struct server_connection *)arg;

    free(arg);
    while (server_one_request(connection.server, connection.fd))
        ;
    close(connection.fd);
    return NULL;
}

static inline void *server_accept(void *arg) {
    struct http_server *server = arg;

    while (server_wait(server, server->listener)) {
        struct server_connection *connection = malloc(sizeof *connection);
        size_t number = atomic_load(&server->connections);
        connection->server = server;
        connection->fd = accept(server->listener, NULL, NULL);
        if (connection->fd < 0 || number == SERVER_CONNECTIONS_MAX) {
            free(connection);
            break;
        }
        atomic_store(&server->connections, number + 1);
        pthread_create(&server->workers[number], NULL, server_work, connection);
    }
    return NULL;
}

static inline void server_begin(struct http_server *server, int listener, const struct server_step *steps,
                                size_t count) {
    server->listener = listener;
    server->steps = steps;
    server->step_count = count;
    server->request_count = 0;
    atomic_store(&server->connections, 0);
    atomic_store(&server->stop, false);
    pthread_mutex_init(&server->lock, NULL);
    listen(listener, 16);
    pthread_create(&server->acceptor, NULL, server_accept, server);
}

/* On a free port of 127.0.0.1. */
static inline void server_start(struct http_server *server, const struct server_step *steps, size_t count) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    bind(fd, (struct sockaddr *)&address, sizeof address);
    getsockname(fd, (struct sockaddr *)&address, &len);
    server->port = ntohs(address.sin_port);
    server_begin(server, fd, steps, count);
}

static inline void server_start_unix(struct http_server *server, const char *path, const struct server_step *steps,
                                     size_t count) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    bind(fd, (struct sockaddr *)&address, sizeof address);
    server_begin(server, fd, steps, count);
}

static inline void server_stop(struct http_server *server) {
    atomic_store(&server->stop, true);
    pthread_join(server->acceptor, NULL);
    for (size_t i = 0; i < atomic_load(&server->connections); i++)
        pthread_join(server->workers[i], NULL);
    close(server->listener);
    for (size_t i = 0; i < server->request_count; i++) {
        free(server->requests[i].head);
        free(server->requests[i].body);
    }
    pthread_mutex_destroy(&server->lock);
}

#endif
