/*
 * agent/broker/listener.h: where clients come in: a TCP port (IPv4, IPv6, both), a Unix socket; plain, TLS, WebSocket or both.
 * Accepts, limits, and hands transports over when handshake and upgrade are through. All on the loop's thread; listener_new
 * also before the loop runs. libevent is used here and in transport*.c, OpenSSL in tls*.c and websocket_upgrade.c.
 */
#ifndef HELIOGRAF_BROKER_LISTENER_H
#define HELIOGRAF_BROKER_LISTENER_H

#include "agent/base/err.h"
#include "agent/broker/tls.h"
#include "agent/broker/transport.h"
#include "config/schema.h"

struct listener;

enum listener_protocol { LISTENER_MQTT, LISTENER_WEBSOCKET };

/* One entry of `broker.listeners`, filled through listener_options. */
struct listener_options {
    char *address; /* "127.0.0.1:1883", "[::1]:1883", ":1883" (all), "unix:/run/heliograf.sock" */
    int protocol;  /* enum listener_protocol */
    bool has_tls;  /* set by listener_options_check: `tls` is given */
    struct tls_settings tls;
    int64_t max_connections; /* 0: no limit */
    int64_t handshake_timeout_ns; /* for TLS handshake and upgrade together */
    bool allow_anonymous;         /* written out; see broker options */
    char *websocket_path, *websocket_origin; /* "" or NULL: any */
    char *socket_mode;                       /* of a Unix socket, octal; "0660" */
};
extern const struct cfg_field listener_options[];

/* What the table cannot say: the form of the address, options that need each other. False when there was an error. */
bool listener_options_check(struct listener_options *options, const struct yaml_node *map, struct diags *diags);
/* A loopback address or a Unix socket. */
bool listener_is_loopback(const struct listener_options *options);

/* Called on the loop's thread for every transport that is ready for MQTT; the callee calls transport_own, or closes it. */
struct listener_hooks {
    void *ctx;
    void (*accepted)(void *ctx, const struct listener_options *options, struct transport *transport);
};

/*
 * Reads and checks certificates, binds and listens; options and `transports` are borrowed for the listener's life. NULL with
 * words that name the address, the file and the remedy. Accepting begins when the loop runs. A Unix socket that nobody
 * listens on any more is replaced, one in use is an error.
 */
struct listener *listener_new(const struct listener_options *options, struct transports *transports,
                              const struct listener_hooks *hooks, struct err *err);
/* Closes the port and ends handshakes; transports that were handed over go on. NULL is fine. */
void listener_free(struct listener *listener);
/* Stops accepting, e.g. at the end; and goes on. At the limit of file descriptors it does so by itself. */
void listener_pause(struct listener *listener, bool paused);

/* Reads certificate, key, CA and CRL again; new connections use them, old ones go on. False: the old ones stay, `err` says
 * why. True without TLS. */
bool listener_reload(struct listener *listener, struct err *err);

uint16_t listener_port(const struct listener *listener); /* the one really bound; 0 for a Unix socket */
size_t listener_connections(const struct listener *listener); /* in handshake or handed over, and not ended or closed */

/* Since the start. Every accepted connection was handed over, or is one of the last three, or left (or is) before it was. */
struct listener_figures {
    uint64_t accepted; /* from the kernel, those over a limit left out */
    uint64_t refused_limit; /* over max_connections, or without a file descriptor */
    uint64_t failed_handshakes, failed_upgrades, timed_out;
};
void listener_figures(const struct listener *listener, struct listener_figures *figures);

#endif
