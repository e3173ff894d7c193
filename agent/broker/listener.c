/*
 * agent/broker/listener.c: accepts, in batches, and sees set-ups through. A listener is referred to by its transports: the struct
 * lives until the last of them is gone, the port closes at once.
 */
#define _GNU_SOURCE /* accept4 */
#include "agent/broker/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/broker/listener_internal.h"
#include "agent/broker/transport_internal.h"

enum {
    ACCEPT_BATCH = 64,     /* in a row, then others have their turn */
    ACCEPT_PAUSE_MS = 200, /* when there are no descriptors left */
    EXPIRY_WARNING_DAYS = 14,
    QUIET_S = 600, /* a trouble that was away for so long is a new one */
};

struct trouble {
    struct complaint complaint;
    int64_t last_ns;
};

struct listener {
    const struct listener_options *options;
    struct transports *transports;
    struct listener_hooks hooks;
    struct listener_socket socket;
    struct transport_origin origin;
    struct websocket_rules websocket;
    struct event *acceptable, *accept_again, *setup_timer;
    int reserve; /* a descriptor to be given up when there are no others: to tell those who wait */
    bool paused, out_of_descriptors;
    size_t references; /* one of the owner, one of each transport */
    size_t connections;
    struct listener_figures figures;
    struct trouble descriptors, full, setups;
};

static void unref(struct listener *listener) {
    if (--listener->references > 0)
        return;
    tls_context_free(listener->origin.tls);
    free(listener);
}

/* The complaint for this occurrence. */
static struct complaint *again(struct trouble *trouble) {
    int64_t now = clock_mono_ns();

    if (trouble->last_ns != 0 && now - trouble->last_ns > QUIET_S * NS_PER_S)
        complaint_end(&trouble->complaint);
    trouble->last_ns = now;
    return &trouble->complaint;
}

/* ---- set-up: what transports say -------------------------------------------------------------------------------- */

static struct timeval timeval_of(int64_t ns) {
    if (ns < 0)
        ns = 0;
    return (struct timeval){ .tv_sec = ns / NS_PER_S, .tv_usec = ns % NS_PER_S / NS_PER_US };
}

/* For the oldest set-up; all have the same time. Fires early when that one is through, and looks at the next. */
static void watch_setups(struct listener *listener) {
    const struct transport *oldest = listener->origin.setup.first;
    struct timeval delay;

    if (oldest == NULL || event_pending(listener->setup_timer, EV_TIMEOUT, NULL))
        return;
    delay = timeval_of(oldest->deadline_ns - clock_mono_ns() + NS_PER_MS);
    event_add(listener->setup_timer, &delay);
}

static void on_setup_timer(evutil_socket_t fd, short what, void *ctx) {
    struct listener *listener = ctx;
    struct transport_list *setup = &listener->origin.setup;
    int64_t now = clock_mono_ns();

    (void)fd;
    (void)what;
    while (setup->first != NULL && setup->first->deadline_ns <= now)
        transport_fail(setup->first, TRANSPORT_DEADLINE, "TLS handshake and WebSocket upgrade took too long");
    watch_setups(listener);
}

static void on_ready(void *ctx, struct transport *transport) {
    struct listener *listener = ctx;

    listener->hooks.accepted(listener->hooks.ctx, listener->options, transport);
}

static const char *address_of(const struct listener *listener) {
    return listener->options->address;
}

static void on_failed(void *ctx, const struct transport *transport, enum transport_end why, const char *words) {
    struct listener *listener = ctx;
    const struct transport_peer *peer = &transport->peer;

    /* Whoever connects and says nothing is looking whether the port is open, as monitoring and port scanners do. */
    if (why == TRANSPORT_CLOSED && !transport->heard)
        return;
    if (why == TRANSPORT_DEADLINE)
        listener->figures.timed_out++;
    else if (transport->tls != NULL && !transport->tls->open)
        listener->figures.failed_handshakes++;
    else
        listener->figures.failed_upgrades++;
    complain(again(&listener->setups), LOG_WARN, "BROKER-HANDSHAKE", "listener %s: refused a client at %s: %s", address_of(listener),
             peer->address, words);
}

static void on_left(void *ctx) {
    struct listener *listener = ctx;

    listener->connections--;
}

static void on_freed(void *ctx) {
    unref(ctx);
}

/* ---- accepting -------------------------------------------------------------------------------------------------- */

static void set_accepting(struct listener *listener) {
    if (listener->paused || listener->out_of_descriptors)
        event_del(listener->acceptable);
    else
        event_add(listener->acceptable, NULL);
}

static void refuse(struct listener *listener, int fd) {
    close(fd);
    listener->figures.refused_limit++;
}

/* One descriptor, and no other file: for the moment when there are none. */
static int open_reserve(void) {
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/*
 * Those who wait would think that they are connected. The reserve takes them in, one after the other, to be closed; then
 * there is a pause, because the socket stays readable.
 */
static void refuse_waiting(struct listener *listener) {
    const struct timeval pause = timeval_of(ACCEPT_PAUSE_MS * NS_PER_MS);

    if (listener->reserve >= 0)
        close(listener->reserve);
    listener->reserve = -1;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(listener->socket.fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        refuse(listener, fd);
    }
    listener->reserve = open_reserve();
    listener->out_of_descriptors = true;
    set_accepting(listener);
    event_add(listener->accept_again, &pause);
}

static void on_accept_again(evutil_socket_t fd, short what, void *ctx) {
    struct listener *listener = ctx;

    (void)fd;
    (void)what;
    listener->out_of_descriptors = false;
    if (listener->reserve < 0)
        listener->reserve = open_reserve();
    set_accepting(listener);
}

static void accept_failed(struct listener *listener, int error) {
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
        return; /* it was that connection's trouble: aborted, unreachable */
    complain(again(&listener->descriptors), LOG_ERROR, "BROKER-DESCRIPTORS",
             "listener %s: cannot accept more clients than %zu: %s; raise the limit (LimitNOFILE= in the service, ulimit -n)",
             address_of(listener), listener->connections, strerror(error));
    refuse_waiting(listener);
}

static bool is_over_limit(struct listener *listener) {
    int64_t max = listener->options->max_connections;

    if (max <= 0 || listener->connections < (uint64_t)max)
        return false;
    complain(again(&listener->full), LOG_WARN, "BROKER-FULL", "listener %s: refused a client: max_connections (%lld) is reached",
             address_of(listener), (long long)max);
    return true;
}

static void take_in(struct listener *listener, int fd, const struct sockaddr_storage *from) {
    struct transport_peer peer = { .local_port = listener->socket.port };

    if (is_over_limit(listener)) {
        refuse(listener, fd);
        return;
    }
    listener_describe_peer(from, &peer);
    listener->figures.accepted++;
    listener->connections++;
    listener->references++;
    if (transport_adopt(listener->transports, fd, &listener->origin, &peer, listener->options->handshake_timeout_ns))
        return;
    listener->figures.accepted--;
    listener->figures.refused_limit++;
    listener->connections--;
    listener->references--;
}

static void on_acceptable(evutil_socket_t fd, short what, void *ctx) {
    struct listener *listener = ctx;

    (void)fd;
    (void)what;
    for (int i = 0; i < ACCEPT_BATCH && !listener->paused; i++) {
        struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
        socklen_t len = sizeof from;
        int peer = accept4(listener->socket.fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (peer < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (peer < 0) {
            accept_failed(listener, errno);
            if (listener->out_of_descriptors)
                break;
            continue;
        }
        take_in(listener, peer, &from);
    }
    watch_setups(listener);
}

/* ---- certificates ----------------------------------------------------------------------------------------------- */

static void report_findings(const struct listener *listener, const struct tls_findings *findings) {
    const struct tls_settings *tls = &listener->options->tls;

    if (findings->loose_key)
        log_warn("BROKER-KEY", "listener %s: everybody on this machine can read the private key %s; chmod 640 it", address_of(listener),
                 tls->key);
    if (findings->expires_s < 0)
        log_error("BROKER-CERTIFICATE", "listener %s: the certificate %s has expired; clients that check it will not connect",
                  address_of(listener), tls->certificate);
    else if (findings->expires_s < EXPIRY_WARNING_DAYS * 86400)
        log_warn("BROKER-CERTIFICATE", "listener %s: the certificate %s expires in %lld days", address_of(listener), tls->certificate,
                 (long long)(findings->expires_s / 86400));
}

static bool start_tls(struct listener *listener, struct err *err) {
    struct tls_findings findings;
    struct err cause = ERR_INIT;

    listener->origin.tls = tls_context_new(&listener->options->tls, &findings, &cause);
    if (listener->origin.tls == NULL)
        return err_set(err, cause.code, "listener %s: %s", address_of(listener), cause.text);
    report_findings(listener, &findings);
    return true;
}

bool listener_reload(struct listener *listener, struct err *err) {
    struct tls_findings findings;
    struct err cause = ERR_INIT;

    if (listener->origin.tls == NULL)
        return true;
    if (!tls_context_reload(listener->origin.tls, &listener->options->tls, &findings, &cause))
        return err_set(err, cause.code, "listener %s: %s", address_of(listener), cause.text);
    report_findings(listener, &findings);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static const char *text_or_empty(const char *text) {
    return text != NULL ? text : "";
}

static bool start(struct listener *listener, struct event_base *base, struct err *err) {
    const struct listener_options *options = listener->options;

    if (options->has_tls && !start_tls(listener, err))
        return false;
    if (options->protocol == LISTENER_WEBSOCKET) {
        listener->websocket = (struct websocket_rules){ text_or_empty(options->websocket_path), text_or_empty(options->websocket_origin) };
        listener->origin.websocket = &listener->websocket;
    }
    if (!listener_socket_open(&listener->socket, options->address, options->socket_mode, err))
        return false;
    listener->reserve = open_reserve();
    listener->acceptable = event_new(base, listener->socket.fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    listener->accept_again = event_new(base, -1, 0, on_accept_again, listener);
    listener->setup_timer = event_new(base, -1, 0, on_setup_timer, listener);
    if (listener->acceptable == NULL || listener->accept_again == NULL || listener->setup_timer == NULL ||
        event_add(listener->acceptable, NULL) != 0)
        return err_set(err, ERR_LIMIT, "no memory to listen on %s", options->address);
    return true;
}

struct listener *listener_new(const struct listener_options *options, struct transports *transports,
                              const struct listener_hooks *hooks, struct err *err) {
    struct listener *listener = calloc(1, sizeof *listener);

    if (listener == NULL) {
        err_set(err, ERR_LIMIT, "no memory to listen on %s", options->address);
        return NULL;
    }
    *listener = (struct listener){
        .options = options,
        .transports = transports,
        .hooks = *hooks,
        .socket = { .fd = -1 },
        .origin = { .ctx = listener, .ready = on_ready, .failed = on_failed, .left = on_left, .freed = on_freed },
        .reserve = -1,
        .references = 1,
    };
    if (start(listener, transports->base, err))
        return listener;
    listener_free(listener);
    return NULL;
}

static void drop_event(struct event *event) {
    if (event != NULL)
        event_free(event);
}

void listener_free(struct listener *listener) {
    if (listener == NULL)
        return;
    while (listener->origin.setup.first != NULL)
        transport_kill(listener->origin.setup.first);
    drop_event(listener->acceptable);
    drop_event(listener->accept_again);
    drop_event(listener->setup_timer);
    listener_socket_close(&listener->socket);
    if (listener->reserve >= 0)
        close(listener->reserve);
    unref(listener);
}

void listener_pause(struct listener *listener, bool paused) {
    listener->paused = paused;
    set_accepting(listener);
}

uint16_t listener_port(const struct listener *listener) {
    return listener->socket.port;
}

size_t listener_connections(const struct listener *listener) {
    return listener->connections;
}

void listener_figures(const struct listener *listener, struct listener_figures *figures) {
    *figures = listener->figures;
}
