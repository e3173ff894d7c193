/*
 * agent/broker/transport.c: the life of a transport. It is in the list of its state; functions that an owner calls only note
 * what is wanted, and the end of the loop's round does it, so that nothing is freed or called under anybody's feet.
 */
#include "agent/broker/transport_internal.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/base/clock.h"

static struct event *event_of(const struct transport *transport) {
    return (struct event *)(void *)(transport + 1);
}

/* ---- lists ------------------------------------------------------------------------------------------------------ */

static struct transport_list *list_of(struct transport *transport) {
    switch ((enum transport_state)transport->state) {
    case TRANSPORT_SETUP:
        return &transport->origin->setup;
    case TRANSPORT_OPEN:
        return &transport->shared->open;
    case TRANSPORT_LINGERING:
        return &transport->shared->lingering;
    case TRANSPORT_DEAD:
        break;
    }
    return NULL;
}

/* Behind those whose deadline is not later: at the end, nearly always. */
static void list_add(struct transport_list *list, struct transport *transport) {
    struct transport *before = list->last;

    while (before != NULL && before->deadline_ns > transport->deadline_ns)
        before = before->previous;
    transport->previous = before;
    transport->next = before != NULL ? before->next : list->first;
    *(before != NULL ? &before->next : &list->first) = transport;
    *(transport->next != NULL ? &transport->next->previous : &list->last) = transport;
    list->count++;
}

static void list_remove(struct transport_list *list, struct transport *transport) {
    *(transport->previous != NULL ? &transport->previous->next : &list->first) = transport->next;
    *(transport->next != NULL ? &transport->next->previous : &list->last) = transport->previous;
    transport->previous = transport->next = NULL;
    list->count--;
}

/* Those without a deadline say 0. */
static void enter(struct transport *transport, enum transport_state state, int64_t deadline_ns) {
    list_remove(list_of(transport), transport);
    transport->state = (uint8_t)state;
    transport->deadline_ns = deadline_ns;
    if (state != TRANSPORT_DEAD)
        list_add(list_of(transport), transport);
}

/* ---- events of the socket --------------------------------------------------------------------------------------- */

static void say_drained(struct transport *transport) {
    if (transport->state != TRANSPORT_OPEN || !transport->watching || transport_queued(transport) > transport->watched)
        return;
    transport->watching = false;
    transport->events->drained(transport->owner);
}

/* One step at a time, each when what came before is with the kernel. */
static void go_on_leaving(struct transport *transport) {
    while (transport->state == TRANSPORT_LINGERING && !transport->write_failed && !transport_has_output(transport)) {
        if (transport->websocket != NULL && transport->websocket->upgraded && !transport->websocket->said_goodbye) {
            transport_websocket_goodbye(transport);
            transport_send(transport);
        } else if (transport->tls != NULL && !transport->tls->said_goodbye) {
            transport_tls_goodbye(transport);
        } else if (!transport->half_closed) {
            transport->half_closed = true;
            shutdown(transport->fd, SHUT_WR);
        } else {
            break;
        }
    }
    if (transport->state == TRANSPORT_LINGERING &&
        (transport->write_failed || (transport->half_closed && transport->at_end)))
        transport_kill(transport);
}

static void on_event(evutil_socket_t fd, short what, void *ctx) {
    struct transport *transport = ctx;

    (void)fd;
    if (what & EV_WRITE) {
        transport->blocked = false;
        transport_send(transport);
        say_drained(transport);
    }
    if ((what & EV_READ) && transport->state != TRANSPORT_DEAD && !transport->paused)
        transport_read(transport);
    go_on_leaving(transport);
    transport_rearm(transport);
}

void transport_rearm(struct transport *transport) {
    uint8_t wanted = 0;

    if (transport->state == TRANSPORT_DEAD)
        return;
    if (!transport->at_end && !transport->paused)
        wanted |= EV_READ;
    if (transport->blocked && !transport->write_failed)
        wanted |= EV_WRITE;
    if (wanted == transport->armed)
        return;
    if (transport->armed != 0)
        event_del(event_of(transport));
    transport->armed = wanted;
    if (wanted == 0)
        return;
    event_assign(event_of(transport), transport->shared->base, transport->fd, (short)(wanted | EV_PERSIST), on_event, transport);
    if (event_add(event_of(transport), NULL) != 0) {
        transport->armed = 0;
        transport_doom(transport, TRANSPORT_NO_MEMORY);
    }
}

/* ---- the end of the round --------------------------------------------------------------------------------------- */

void transport_touch(struct transport *transport) {
    struct transports *shared = transport->shared;
    const struct timeval at_once = { 0 };

    if (transport->touched)
        return;
    transport->touched = true;
    transport->next_touched = NULL;
    if (shared->touched_first != NULL) {
        shared->touched_last->next_touched = transport;
    } else {
        shared->touched_first = transport;
        /* What is touched while the touched are looked at has its turn after others were read from. */
        if (shared->settling)
            event_add(shared->round_end, &at_once);
        else
            event_active(shared->round_end, EV_TIMEOUT, 0);
    }
    shared->touched_last = transport;
}

static void free_if_dead(struct transport *transport) {
    struct transport_origin *origin = transport->origin;

    if (transport->state != TRANSPORT_DEAD || transport->touched || transport->resumed)
        return;
    transport_tls_free(transport);
    transport_websocket_free(transport);
    transport_drop_kept(transport);
    if (transport->peer.certificate_name.len > 0)
        free((char *)transport->peer.certificate_name.data);
    free(transport);
    origin->freed(origin->ctx);
}

static const char *doom_words(enum transport_end why) {
    if (why == TRANSPORT_FULL)
        return "it does not read what it is sent: its output has reached the limit";
    return why == TRANSPORT_TLS ? "TLS has failed" : "no memory for its buffers";
}

static void settle(struct transport *transport) {
    if (transport->doom != 0)
        transport_fail(transport, transport->doom - 1, doom_words(transport->doom - 1));
    if (transport->state == TRANSPORT_DEAD) {
        free_if_dead(transport);
        return;
    }
    if (!transport->blocked)
        transport_send(transport);
    say_drained(transport);
    go_on_leaving(transport);
    transport_rearm(transport);
}

static void on_round_end(evutil_socket_t fd, short what, void *ctx) {
    struct transports *shared = ctx;
    struct transport *next;

    (void)fd;
    (void)what;
    next = shared->touched_first;
    shared->touched_first = shared->touched_last = NULL;
    shared->settling = true;
    while (next != NULL) {
        struct transport *transport = next;
        next = transport->next_touched;
        transport->touched = false;
        settle(transport);
    }
    shared->settling = false;
}

static void on_next_round(evutil_socket_t fd, short what, void *ctx) {
    struct transports *shared = ctx;
    struct transport *next;

    (void)fd;
    (void)what;
    next = shared->resumed_first;
    shared->resumed_first = shared->resumed_last = NULL;
    while (next != NULL) {
        struct transport *transport = next;
        next = transport->next_resumed;
        transport->resumed = false;
        if (transport->state == TRANSPORT_OPEN && !transport->paused)
            transport_offer_kept(transport);
        transport_rearm(transport);
        free_if_dead(transport);
    }
}

/* ---- endings ---------------------------------------------------------------------------------------------------- */

void transport_doom(struct transport *transport, enum transport_end why) {
    if (transport->doom == 0)
        transport->doom = (uint8_t)(why + 1);
    transport_touch(transport);
}

void transport_kill(struct transport *transport) {
    bool counted = transport_is_alive(transport);

    if (transport->state == TRANSPORT_DEAD)
        return;
    if (transport->armed != 0)
        event_del(event_of(transport));
    transport->armed = 0;
    transport->events = NULL;
    enter(transport, TRANSPORT_DEAD, 0);
    close(transport->fd);
    transport_drop_output(transport);
    transport_touch(transport);
    if (counted)
        transport->origin->left(transport->origin->ctx);
}

static void set_linger_timer(struct transports *shared) {
    struct transport *first = shared->lingering.first;
    struct timeval delay = { .tv_usec = 0 };
    int64_t left_ns;

    if (first == NULL) {
        event_del(shared->linger_timer);
        return;
    }
    left_ns = first->deadline_ns - clock_mono_ns();
    if (left_ns > 0) {
        delay.tv_sec = left_ns / NS_PER_S;
        delay.tv_usec = left_ns % NS_PER_S / NS_PER_US + 1;
    }
    event_add(shared->linger_timer, &delay);
}

static void on_linger_timer(evutil_socket_t fd, short what, void *ctx) {
    struct transports *shared = ctx;
    int64_t now = clock_mono_ns();

    (void)fd;
    (void)what;
    while (shared->lingering.first != NULL && shared->lingering.first->deadline_ns <= now)
        transport_kill(shared->lingering.first);
    set_linger_timer(shared);
}

static void linger(struct transport *transport, unsigned linger_ms) {
    struct transports *shared = transport->shared;

    if (shared->lingering.count >= LINGER_MAX)
        transport_kill(shared->lingering.first);
    transport->events = NULL;
    transport->paused = false;
    transport_drop_kept(transport);
    enter(transport, TRANSPORT_LINGERING, clock_mono_ns() + (int64_t)linger_ms * NS_PER_MS);
    if (shared->lingering.first == transport)
        set_linger_timer(shared);
    transport_touch(transport);
    transport->origin->left(transport->origin->ctx);
}

/* An alert, an HTTP error, a close frame, packets: whoever has closed its sending half may still read them. */
static bool has_last_words(const struct transport *transport, enum transport_end why) {
    if (transport->write_failed)
        return false;
    if (why == TRANSPORT_CLOSED)
        return transport_has_output(transport) || !transport->at_end;
    return why == TRANSPORT_TLS || why == TRANSPORT_WEBSOCKET;
}

void transport_fail(struct transport *transport, enum transport_end why, const char *words) {
    const struct transport_events *events = transport->events;
    bool was_ready = transport->state == TRANSPORT_OPEN;

    if (!transport_is_alive(transport)) {
        transport_kill(transport);
        return;
    }
    if (has_last_words(transport, why))
        linger(transport, LINGER_AFTER_END_MS);
    else
        transport_kill(transport);
    if (!was_ready)
        transport->origin->failed(transport->origin->ctx, transport, why, words);
    else if (events != NULL)
        events->ended(transport->owner, why, words);
}

void transport_close(struct transport *transport, unsigned linger_ms) {
    if (!transport_is_alive(transport))
        return;
    if (linger_ms == 0 || transport->write_failed || transport->doom != 0)
        transport_kill(transport);
    else
        linger(transport, linger_ms);
}

/* ---- beginnings ------------------------------------------------------------------------------------------------- */

void transport_ready(struct transport *transport) {
    enter(transport, TRANSPORT_OPEN, 0);
    transport->origin->ready(transport->origin->ctx, transport);
    if (transport->state == TRANSPORT_OPEN && transport->events == NULL)
        transport_kill(transport);
}

static bool start_layers(struct transport *transport) {
    if (transport->origin->tls != NULL && !transport_tls_start(transport))
        return false;
    return transport->origin->websocket == NULL || transport_websocket_start(transport);
}

bool transport_adopt(struct transports *shared, int fd, struct transport_origin *origin, const struct transport_peer *peer,
                     int64_t setup_ns) {
    struct transport *transport = calloc(1, sizeof *transport + shared->event_size);

    if (transport == NULL) {
        close(fd);
        return false;
    }
    transport->shared = shared;
    transport->origin = origin;
    transport->secret = true;
    transport->fd = fd;
    transport->peer = *peer;
    transport->peer.certificate_name = STR_EMPTY;
    transport->state = TRANSPORT_SETUP;
    if (!start_layers(transport)) {
        close(fd);
        transport_tls_free(transport);
        transport_websocket_free(transport);
        free(transport);
        return false;
    }
    transport->deadline_ns = clock_mono_ns() + setup_ns;
    list_add(&origin->setup, transport);
    if (transport->tls == NULL && transport->websocket == NULL)
        transport_ready(transport);
    transport_rearm(transport);
    return true;
}

/* ---- for owners ------------------------------------------------------------------------------------------------- */

const struct transport_peer *transport_peer(const struct transport *transport) {
    return &transport->peer;
}

void transport_own(struct transport *transport, const struct transport_events *events, void *owner) {
    if (!transport_is_alive(transport))
        return;
    transport->events = events;
    transport->owner = owner;
}

void transport_expect(struct transport *transport, size_t bytes) {
    transport->expected = bytes;
}

void transport_end_secrecy(struct transport *transport) {
    transport->secret = false;
}

void transport_pause(struct transport *transport) {
    if (transport->state != TRANSPORT_OPEN || transport->paused)
        return;
    transport->paused = true;
    transport_rearm(transport);
}

void transport_resume(struct transport *transport) {
    struct transports *shared = transport->shared;
    const struct timeval at_once = { 0 };

    if (transport->state != TRANSPORT_OPEN || !transport->paused)
        return;
    transport->paused = false;
    transport_rearm(transport);
    if (transport->resumed || transport->kept_len == 0)
        return;
    transport->resumed = true;
    transport->next_resumed = NULL;
    if (shared->resumed_first != NULL)
        shared->resumed_last->next_resumed = transport;
    else
        shared->resumed_first = transport;
    shared->resumed_last = transport;
    event_add(shared->next_round, &at_once);
}

size_t transport_memory(const struct transport *transport) {
    size_t bytes = sizeof *transport + transport->shared->event_size + transport->kept_size + output_memory(&transport->output) +
                   transport->peer.certificate_name.len;

    if (transport->tls != NULL)
        bytes += sizeof *transport->tls + TLS_STREAM_BYTES + transport->tls->pending_len;
    if (transport->websocket != NULL)
        bytes += sizeof *transport->websocket + transport->websocket->urgent.cap;
    return bytes;
}

/* ---- all of a loop ---------------------------------------------------------------------------------------------- */

struct transports *transports_new(struct event_base *base, struct err *err) {
    struct transports *shared = calloc(1, sizeof *shared);

    if (shared != NULL) {
        shared->base = base;
        shared->event_size = event_get_struct_event_size();
        shared->input = malloc(INPUT_HEADROOM + INPUT_BYTES);
        shared->round_end = event_new(base, -1, 0, on_round_end, shared);
        shared->next_round = event_new(base, -1, 0, on_next_round, shared);
        shared->linger_timer = event_new(base, -1, 0, on_linger_timer, shared);
    }
    if (shared == NULL || shared->input == NULL || shared->round_end == NULL || shared->next_round == NULL ||
        shared->linger_timer == NULL) {
        transports_free(shared);
        err_set(err, ERR_LIMIT, "no memory for the broker's connections");
        return NULL;
    }
    return shared;
}

/* Frees the dead of both queues; there are no others left. */
static void free_queued(struct transports *shared) {
    for (struct transport *transport = shared->touched_first, *next; transport != NULL; transport = next) {
        next = transport->next_touched;
        transport->touched = false;
        free_if_dead(transport);
    }
    for (struct transport *transport = shared->resumed_first, *next; transport != NULL; transport = next) {
        next = transport->next_resumed;
        transport->resumed = false;
        free_if_dead(transport);
    }
}

static void drop_event(struct event *event) {
    if (event != NULL)
        event_free(event);
}

void transports_free(struct transports *shared) {
    if (shared == NULL)
        return;
    while (shared->open.first != NULL)
        transport_kill(shared->open.first);
    while (shared->lingering.first != NULL)
        transport_kill(shared->lingering.first);
    free_queued(shared);
    drop_event(shared->round_end);
    drop_event(shared->next_round);
    drop_event(shared->linger_timer);
    output_pool_release(&shared->pool);
    buf_release(&shared->cipher);
    free(shared->input);
    free(shared->plain);
    free(shared->scratch);
    free(shared);
}

size_t transports_lingering(const struct transports *shared) {
    return shared->lingering.count;
}
