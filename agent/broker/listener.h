/*
 * agent/broker/listener.h: where clients come in: a TCP port (IPv4, IPv6, both), a Unix socket; plain, TLS, WebSocket or both.
 * Accepts, limits, and hands transports over when handshake and upgrade are through. All on the loop's thread but listener_new's
 * checks. libevent's events and OpenSSL are used here and in transport*.c, tls.c and nowhere else in the broker.
 */
#ifndef HELIOGRAF_BROKER_LISTENER_H
#define HELIOGRAF_BROKER_LISTENER_H

#include "agent/base/err.h"
#include "agent/broker/transport.h"
#include "config/schema.h"

struct event_base;
struct listener;

enum listener_protocol { LISTENER_MQTT, LISTENER_WEBSOCKET };

struct tls_settings {
    char *certificate, *key, *key_password; /* PEM files; a certificate chain */
    char *client_ca;                        /* file or directory; "" or NULL: no client certificate is asked for */
    char *crl;                              /* file */
    bool require_client_certificate;
    bool use_identity_as_username, use_subject_as_username; /* common name, or whole subject, becomes the user name */
    char *min_version;                      /* "1.2", "1.3" */
    char *ciphers, *cipher_suites;          /* of TLS 1.2; of TLS 1.3 */
};

/* One entry of `broker.listeners`, filled through listener_options. */
struct listener_options {
    char *address; /* "127.0.0.1:1883", "[::1]:1883", ":1883" (all), "unix:/run/heliograf.sock" */
    int protocol;  /* enum listener_protocol */
    bool has_tls;
    struct tls_settings tls;
    int64_t max_connections;    /* 0: no limit */
    int64_t handshake_timeout_ns;
    bool allow_anonymous;       /* written out; see broker options */
    char *websocket_path, *websocket_origin; /* "": any */
    char *socket_mode;          /* of a Unix socket, octal; "0660" */
};
extern const struct cfg_field listener_options[];

/* Called on the loop's thread for every transport that is ready for MQTT; the callee calls transport_own, or closes it. */
struct listener_hooks {
    void *ctx;
    void (*accepted)(void *ctx, const struct listener_options *options, struct transport *transport);
};

/*
 * Reads and checks certificates, binds and listens; options are borrowed for the listener's life. NULL with words that name the address, the file and
 * the remedy. Accepting begins when the loop runs.
 */
struct listener *listener_new(const struct listener_options *options, struct event_base *base, const struct listener_hooks *hooks,
                              struct err *err);
/* Closes the port; transports that were handed over go on. NULL is fine. */
void listener_free(struct listener *listener);
/* Stops accepting, e.g. at the limit of file descriptors, or at the end; and goes on. */
void listener_pause(struct listener *listener, bool paused);

/* Reads certificate, key, CA and CRL again; new connections use them, old ones go on. False: the old ones stay, `err` says why. */
bool listener_reload(struct listener *listener, struct err *err);

uint16_t listener_port(const struct listener *listener); /* the one really bound; 0 for a Unix socket */
size_t listener_connections(const struct listener *listener);
bool listener_is_loopback(const struct listener_options *options); /* loopback address or Unix socket */

struct listener_figures {
    uint64_t accepted, refused_limit, failed_handshakes, failed_upgrades, timed_out;
};
void listener_figures(const struct listener *listener, struct listener_figures *figures);

#endif
