/* agent/broker/transport_output.c: from the owner to the socket. */
#include "agent/broker/transport_internal.h"

#include <errno.h>
#include <sys/socket.h>

/* A system call takes so much at most; so many of them in a row for one transport, then others have their turn. */
enum { SEND_VECTORS = 64, SEND_BYTES = 256 * 1024, SEND_CALLS = 4 };

bool transport_write(struct transport *transport, const struct transport_piece *pieces, size_t count,
                     const struct transport_references *references) {
    size_t total = 0;

    if (transport->state != TRANSPORT_OPEN || transport->doom != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].bytes.len;
    if (transport->write_failed)
        return true;
    if (transport->output_limit > 0 && total > transport->output_limit - transport_queued(transport)) {
        transport_doom(transport, TRANSPORT_FULL);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!output_append(&transport->output, &transport->shared->pool, &pieces[i], references)) {
            transport_doom(transport, TRANSPORT_NO_MEMORY);
            return false;
        }
    if (!transport->blocked)
        transport_touch(transport);
    return true;
}

size_t transport_queued(const struct transport *transport) {
    return transport->output.bytes + (transport->tls != NULL ? transport->tls->in_flight : 0);
}

void transport_set_output_limit(struct transport *transport, size_t bytes) {
    transport->output_limit = bytes;
}

void transport_watch_output(struct transport *transport, size_t bytes) {
    transport->watching = true;
    transport->watched = bytes;
    if (transport_queued(transport) <= bytes)
        transport_touch(transport);
}

void transport_flush(struct transport *transport) {
    if (transport->state == TRANSPORT_OPEN && transport->doom == 0 && !transport->blocked)
        transport_send(transport);
    transport_touch(transport);
}

size_t transport_gather(struct transport *transport, struct iovec *vectors, size_t *count, size_t limit) {
    if (transport->websocket != NULL)
        return transport_websocket_gather(transport, vectors, count, limit);
    return output_gather(&transport->output, vectors, count, limit);
}

void transport_advance(struct transport *transport, size_t bytes) {
    if (transport->websocket != NULL)
        transport_websocket_advance(transport, bytes);
    else
        output_advance(&transport->output, &transport->shared->pool, bytes);
}

bool transport_has_output(const struct transport *transport) {
    const struct transport_websocket *websocket = transport->websocket;

    if (transport->tls != NULL && transport->tls->pending_len > 0)
        return true;
    return transport->output.bytes > 0 || (websocket != NULL && (websocket->urgent.len > 0 || websocket->in_frame));
}

void transport_drop_output(struct transport *transport) {
    output_clear(&transport->output, &transport->shared->pool);
    if (transport->tls != NULL)
        transport->tls->in_flight = 0;
}

/* What the peer sent before it left may still be there: it is read to the end before the owner is told. */
static void note_failure(struct transport *transport) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM) {
        transport->blocked = true;
        return;
    }
    transport->write_failed = true;
    transport->blocked = false;
    transport_drop_output(transport);
}

size_t transport_put(struct transport *transport, const struct iovec *vectors, size_t count, size_t total) {
    const struct msghdr message = { .msg_iov = (struct iovec *)vectors, .msg_iovlen = count };
    ssize_t sent;

    do
        sent = sendmsg(transport->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        note_failure(transport);
        return 0;
    }
    if ((size_t)sent < total)
        transport->blocked = true;
    return (size_t)sent;
}

static void send_plain(struct transport *transport) {
    struct iovec vectors[SEND_VECTORS];

    for (int calls = 0; calls < SEND_CALLS; calls++) {
        size_t count = SEND_VECTORS, total = transport_gather(transport, vectors, &count, SEND_BYTES), sent;
        if (total == 0)
            return;
        sent = transport_put(transport, vectors, count, total);
        if (transport->write_failed)
            return;
        transport_advance(transport, sent);
        if (transport->blocked)
            return;
    }
    if (transport_has_output(transport))
        transport->blocked = true; /* the rest when the loop says that it is writable */
}

void transport_send(struct transport *transport) {
    if (transport->write_failed || transport->state == TRANSPORT_DEAD)
        return;
    if (transport->tls != NULL)
        transport_tls_send(transport);
    else
        send_plain(transport);
}
