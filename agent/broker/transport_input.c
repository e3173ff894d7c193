/*
 * agent/broker/transport_input.c: from the socket to the owner. All transports read into one buffer, and the owner takes packets
 * straight out of it; what is left of a cut one is kept apart until the rest comes. A large one is read to where it is kept,
 * which grows with what has arrived.
 */
#include "agent/broker/passwords.h"
#include "agent/broker/transport_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- what is kept ----------------------------------------------------------------------------------------------- */

static void free_kept(char *kept, size_t len, bool secret) {
    if (secret && kept != NULL)
        password_wipe(kept, len);
    free(kept);
}

/* As realloc, which leaves behind what was there. */
static char *move_secret(char *old, size_t len, size_t size) {
    char *copy = malloc(size);

    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, old, len);
    free_kept(old, len, true);
    return copy;
}

static bool resize_kept(struct transport *transport, size_t size) {
    char *kept = transport->secret ? move_secret(transport->kept, transport->kept_len, size) : realloc(transport->kept, size);

    if (kept == NULL) {
        transport_doom(transport, TRANSPORT_NO_MEMORY);
        return false;
    }
    transport->kept = kept;
    transport->kept_size = size;
    return true;
}

/* For `arrived` bytes: room for what is expected, but no more than double. */
static size_t kept_size_for(const struct transport *transport, size_t arrived) {
    if (transport->expected <= arrived)
        return arrived;
    return transport->expected / 2 < arrived ? transport->expected : 2 * arrived;
}

bool transport_keep(struct transport *transport, const char *data, size_t len) {
    size_t need = transport->kept_len + len;

    if (len == 0)
        return true;
    if (need > transport->kept_size && !resize_kept(transport, kept_size_for(transport, need)))
        return false;
    memcpy(transport->kept + transport->kept_len, data, len);
    transport->kept_len = need;
    return true;
}

void transport_drop_kept(struct transport *transport) {
    free_kept(transport->kept, transport->kept_len, transport->secret);
    transport->kept = NULL;
    transport->kept_len = transport->kept_size = 0;
}

/* ---- to the owner ----------------------------------------------------------------------------------------------- */

static bool may_offer(const struct transport *transport, size_t len) {
    return transport->state == TRANSPORT_OPEN && !transport->paused && transport->doom == 0 && len > 0 &&
           len >= transport->expected;
}

static size_t offer(struct transport *transport, const char *data, size_t len) {
    size_t used = transport->events->received(transport->owner, str_make(data, len));

    assert(used <= len);
    return used;
}

void transport_offer_kept(struct transport *transport) {
    char *kept = transport->kept;
    size_t len = transport->kept_len, used;
    bool secret = transport->secret;

    if (!may_offer(transport, len))
        return;
    transport->kept = NULL; /* what happens in the call does not touch it */
    transport->kept_len = transport->kept_size = 0;
    used = offer(transport, kept, len);
    if (used == 0 && transport->state == TRANSPORT_OPEN) {
        transport->kept = kept;
        transport->kept_len = transport->kept_size = len;
        return;
    }
    if (transport->state == TRANSPORT_OPEN)
        transport_keep(transport, kept + used, len - used);
    free_kept(kept, len, secret);
}

/* Put together where `data` stands, if that is worth it: the owner will see all of it, and it is not much. */
static bool can_join_in_place(const struct transport *transport, size_t len) {
    return transport->kept_len > 0 && transport->kept_len <= INPUT_HEADROOM && may_offer(transport, transport->kept_len + len);
}

void transport_deliver(struct transport *transport, char *data, size_t len) {
    size_t used;

    if (len == 0 || !transport_is_alive(transport))
        return;
    if (can_join_in_place(transport, len)) {
        data -= transport->kept_len;
        len += transport->kept_len;
        memcpy(data, transport->kept, transport->kept_len);
        transport_drop_kept(transport);
    }
    if (transport->kept_len > 0 || !may_offer(transport, len)) {
        if (transport_keep(transport, data, len))
            transport_offer_kept(transport);
        return;
    }
    used = offer(transport, data, len);
    if (transport->state == TRANSPORT_OPEN)
        transport_keep(transport, data + used, len - used);
}

/* ---- what does not belong here ---------------------------------------------------------------------------------- */

enum { TLS_HANDSHAKE = 0x16, MQTT_CONNECT = 0x10 };

/* The first byte tells TLS, HTTP and MQTT apart: who has come to the wrong port is told so, in words. */
static const char *stranger(const struct transport *transport, unsigned char first) {
    if (transport->tls != NULL && first == TLS_HANDSHAKE)
        return NULL;
    if (transport->tls != NULL)
        return first == MQTT_CONNECT ? "it speaks MQTT without TLS, and this listener wants TLS"
                                     : "it does not speak TLS, and this listener wants TLS";
    return first == TLS_HANDSHAKE ? "it speaks TLS, and this listener has no tls" : NULL;
}

static const char *plain_stranger(const struct transport *transport, unsigned char first) {
    if (transport->websocket != NULL)
        return first == MQTT_CONNECT ? "it speaks MQTT without WebSocket, and this listener's protocol is websocket" : NULL;
    return first == 'G' ? "it speaks HTTP, and this listener's protocol is not websocket" : NULL;
}

void transport_input(struct transport *transport, char *data, size_t len) {
    const char *words = !transport->heard_plain ? plain_stranger(transport, (unsigned char)data[0]) : NULL;
    size_t before = transport->kept_len <= INPUT_HEADROOM ? transport->kept_len : 0; /* may be joined in place */
    bool secret = transport->secret;

    transport->heard_plain = true;
    if (words != NULL)
        transport_fail(transport, TRANSPORT_WEBSOCKET, words);
    else if (transport->websocket != NULL)
        transport_websocket_input(transport, data, len);
    else
        transport_deliver(transport, data, len);
    if (secret)
        password_wipe(data - before, before + len);
}

static void take(struct transport *transport, char *data, size_t len) {
    const char *words = !transport->heard ? stranger(transport, (unsigned char)data[0]) : NULL;

    transport->heard = true;
    if (words != NULL)
        transport_fail(transport, TRANSPORT_TLS, words);
    else if (transport->tls != NULL)
        transport_tls_input(transport, data, len);
    else
        transport_input(transport, data, len);
}

/* ---- from the socket -------------------------------------------------------------------------------------------- */

static void read_nothing(struct transport *transport, ssize_t result) {
    if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    transport->at_end = true;
    if (transport->state == TRANSPORT_LINGERING)
        transport->write_failed |= result < 0; /* go_on_leaving ends it */
    else if (result == 0 && !transport->write_failed)
        transport_fail(transport, TRANSPORT_CLOSED, "it has closed the connection");
    else
        transport_fail(transport, TRANSPORT_RESET, strerror(result < 0 ? errno : ECONNRESET));
}

static void read_shared(struct transport *transport) {
    char *input = transport->shared->input + INPUT_HEADROOM;
    ssize_t len = recv(transport->fd, input, INPUT_BYTES, 0);

    if (len <= 0)
        read_nothing(transport, len);
    else if (transport->state != TRANSPORT_LINGERING)
        take(transport, input, (size_t)len);
}

/* Whether the rest of a packet is so long that it is read to where its beginning is. */
static bool is_large(const struct transport *transport) {
    return transport->state == TRANSPORT_OPEN && transport->tls == NULL && transport->websocket == NULL &&
           transport->expected > transport->kept_len && transport->kept_len > INPUT_HEADROOM;
}

/* The packet's bytes to their place, and what follows it into the shared buffer, in one call. */
static void read_large(struct transport *transport) {
    size_t missing = transport->expected - transport->kept_len, room;
    struct iovec vectors[2] = { { .iov_len = 0 }, { transport->shared->input + INPUT_HEADROOM, INPUT_BYTES } };
    struct msghdr message = { .msg_iov = vectors };
    ssize_t len;

    if (transport->kept_size == transport->kept_len && !resize_kept(transport, kept_size_for(transport, transport->kept_len)))
        return;
    room = transport->kept_size - transport->kept_len;
    if (room > INPUT_LARGE_BYTES)
        room = INPUT_LARGE_BYTES;
    if (room > missing)
        room = missing;
    vectors[0] = (struct iovec){ transport->kept + transport->kept_len, room };
    message.msg_iovlen = room == missing ? 2 : 1;
    len = recvmsg(transport->fd, &message, 0);
    if (len <= 0) {
        read_nothing(transport, len);
        return;
    }
    if ((size_t)len <= room) {
        transport->kept_len += (size_t)len;
        transport_offer_kept(transport);
        return;
    }
    transport->kept_len += room;
    transport_offer_kept(transport);
    transport_deliver(transport, vectors[1].iov_base, (size_t)len - room);
}

void transport_read(struct transport *transport) {
    if (is_large(transport))
        read_large(transport);
    else
        read_shared(transport);
}
