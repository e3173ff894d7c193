/*
 * agent/status/http.h: a very small HTTP/1.1 server on libevent's listener and bufferevents, for things that are mostly
 * read: GET and HEAD, and DELETE where somebody handles it, one request per connection. Everything has a bound: the head's size, the number of connections
 * (the newest pushes the oldest out), and the time from accept to close, so that no client, however slow, can hold
 * anything for long. libevent's evhttp bounds neither connections nor a request's whole time, which is why it is not
 * used. All on the loop's thread.
 */
#ifndef HELIOGRAF_STATUS_HTTP_H
#define HELIOGRAF_STATUS_HTTP_H

#include "agent/base/buf.h"
#include "agent/base/err.h"

#define HTTP_MAX_HEAD_BYTES  8192
#define HTTP_MAX_BODY_BYTES  (16 << 20)
#define HTTP_MAX_CONNECTIONS 32

struct event_base;
struct http_server;

struct http_reply {
    int status;       /* 200 at first */
    const char *type; /* text/plain at first; static */
    struct buf body;  /* a failed one makes a 500 */
};

/* Fills in the reply for `path`, which has no query and is not decoded. */
typedef void http_handler(void *ctx, struct str path, struct http_reply *reply);

struct http_options {
    http_handler *handle;
    http_handler *remove; /* DELETE; NULL: a 405. No web page can send one from another place unless we say so (CORS) */
    void *ctx;
    int64_t deadline_ns; /* from accept to close */
};

struct http_server *http_server_new(struct event_base *base, const struct http_options *options, struct err *err);
void http_server_free(struct http_server *server); /* closes all; NULL is fine */

/* "127.0.0.1:9884", "[::1]:9884", "name:9884", ":9884" (all interfaces); port 0: a free one. Once per server. */
bool http_server_listen(struct http_server *server, const char *address, struct err *err);
unsigned http_server_port(const struct http_server *server);

/* Serves a connected, non-blocking socket as if it had been accepted; owns it from here on. */
bool http_server_adopt(struct http_server *server, int fd);
size_t http_server_connections(const struct http_server *server);

struct http_request {
    struct str path;
    bool head; /* HEAD: headers only */
    bool remove; /* DELETE */
};

/*
 * Pure: reads a request's head. 0: more bytes are needed; 200: `out` is filled, borrowed from `bytes`; otherwise the
 * status to refuse it with. A refused HEAD still sets out->head.
 */
int http_parse_request(struct str bytes, struct http_request *out);

/* "host:port" apart, brackets taken off; false when it is not that. `host` is empty for all interfaces. */
bool http_split_address(const char *address, struct str *host, struct str *port);

#endif
