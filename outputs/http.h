/*
 * outputs/http.h: HTTP/1.1 for outputs. The only user of libcurl. A `struct http` is one sender's own: one keep-alive
 * connection at a time, used by one thread. Redirects are not followed, because credentials would go along.
 */
#ifndef HELIOGRAF_OUTPUTS_HTTP_H
#define HELIOGRAF_OUTPUTS_HTTP_H

#include <stdatomic.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum {
    HTTP_BODY_KEPT = 64 * 1024,         /* of an answer; the rest is read and dropped, so that keep-alive goes on */
    HTTP_REFUSAL_KEPT = 1024 * 1024,    /* of 400, 422 and 500, which may name thousands of lines */
    HTTP_HEADERS_KEPT = 16 * 1024,
    HTTP_CONNECT_TIMEOUT_MS = 3000,
};

enum http_tls_version { HTTP_TLS_1_0, HTTP_TLS_1_1, HTTP_TLS_1_2, HTTP_TLS_1_3 };

/*
 * The same for every request of one output. Strings may be NULL or empty: not set. Borrowed for the connections'
 * lives.
 */
struct http_options {
    int64_t timeout_ns; /* of one request, everything included */
    char *user_agent;
    char *proxy; /* overrides the environment, also for loopback */
    char *local_address;
    char *tls_ca, *tls_cert, *tls_key, *tls_key_password;
    char *tls_server_name; /* expected in the certificate and sent as SNI instead of the URL's host */
    int tls_min_version;   /* enum http_tls_version */
    bool insecure_skip_verify;
    size_t body_kept; /* of any answer; 0: HTTP_BODY_KEPT, or HTTP_REFUSAL_KEPT of refusals */
};

/* One of an output's `urls`. */
struct http_endpoint {
    char *base;        /* `http://host:8086/prefix`: without user, password and trailing slash */
    char *display;     /* for people; as base, or `unix:///path` */
    char *unix_path;   /* NULL: TCP */
    char *user, *password; /* from the URL; NULL without */
    char *connect_to, *host_header; /* with tls_server_name: where base's host really is */
    bool loopback;     /* 127.0.0.0/8, ::1, localhost, or a Unix socket */
};

/* http, https, and unix:///path. No network. After a failure http_endpoint_release is still fine. */
bool http_endpoint_init(struct http_endpoint *endpoint, const char *url, const char *tls_server_name, struct err *err);
void http_endpoint_release(struct http_endpoint *endpoint); /* safe on a zeroed one */

/* Files that the options name can be read, texts fit into a header. */
bool http_options_check(const struct http_options *options, struct err *err);
/* True when `text` can stand in a header: no control bytes. */
bool http_header_safe(const char *text);

struct http_request {
    const struct http_endpoint *endpoint;
    const char *path;           /* with the query string, from '/' */
    bool post;                  /* else GET */
    bool remove;                /* DELETE, instead of both */
    struct str body;            /* POST; sent as it is */
    const char *const *headers; /* `Name: value`, NULL-ended; NULL: none */
    const char *user, *password; /* Basic; NULL user: none */
};

/* What came back. Borrowed from the connection until its next request. */
struct http_answer {
    int status;          /* 0: no answer */
    struct str headers;  /* lines as they came, status line included */
    struct str body;     /* possibly cut, see HTTP_BODY_KEPT */
    int64_t retry_after_ns; /* 0: not asked for; at most HTTP_RETRY_AFTER_MAX_NS */
    bool cancelled;
    bool upload_broken;  /* the connection broke while the body was on its way: a 413 may have been lost */
    char error[256];     /* why there is no answer, or not all of it; empty: all came */
};
#define HTTP_RETRY_AFTER_MAX_NS (600LL * 1000000000LL)

/* The value of a header, trimmed; empty without. The name's case does not matter. */
struct str http_header(const struct http_answer *answer, const char *name);

struct http;

/* Does not connect. When `cancel` becomes true, a running request ends within 100 ms. NULL with `err`. */
struct http *http_open(const struct http_options *options, const atomic_bool *cancel, struct err *err);
void http_close(struct http *http); /* NULL is fine */
void http_perform(struct http *http, const struct http_request *request, struct http_answer *answer);

/*
 * Appends `key=value` percent-encoded (RFC 3986 unreserved bytes stay), after `&` unless `out` ends with `?` or is
 * empty.
 */
bool http_query_add(struct buf *out, const char *key, struct str value);

#endif
