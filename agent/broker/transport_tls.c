/*
 * agent/broker/transport_tls.c: TLS between the socket and the stream. Ciphertext goes through buffers that all transports share;
 * one has memory of its own only for what the kernel did not take, and encrypts nothing more until that is gone.
 */
#include "agent/broker/transport_internal.h"

#include <stdlib.h>

enum {
    TLS_RECORD_BYTES = 16 * 1024, /* the largest record's plaintext (RFC 8446, 5.1) */
    TLS_BATCH_BYTES = 4 * TLS_RECORD_BYTES,
    TLS_BATCHES = 4,
    TLS_VECTORS = 64,
    TLS_CIPHER_MAX = 256 * 1024, /* of the shared buffer: a batch, or what a handshake says */
    TLS_PENDING_MAX = 256 * 1024, /* alerts and key updates add to it for a peer that does not read */
};

static bool make_shared(struct transports *shared) {
    if (shared->plain == NULL)
        shared->plain = malloc(INPUT_HEADROOM + INPUT_BYTES);
    if (shared->scratch == NULL)
        shared->scratch = malloc(TLS_RECORD_BYTES);
    shared->cipher.max = TLS_CIPHER_MAX;
    return shared->plain != NULL && shared->scratch != NULL;
}

bool transport_tls_start(struct transport *transport) {
    struct transport_tls *tls = calloc(1, sizeof *tls);

    transport->tls = tls;
    if (tls == NULL || !make_shared(transport->shared))
        return false;
    tls->stream = tls_stream_new(transport->origin->tls, &transport->shared->cipher);
    transport->peer.encrypted = true;
    return tls->stream != NULL;
}

void transport_tls_free(struct transport *transport) {
    struct transport_tls *tls = transport->tls;

    if (tls == NULL)
        return;
    tls_stream_free(tls->stream);
    free(tls->pending);
    free(tls);
    transport->tls = NULL;
}

/* ---- ciphertext to the socket ----------------------------------------------------------------------------------- */

static void drop_pending(struct transport_tls *tls) {
    free(tls->pending);
    tls->pending = NULL;
    tls->pending_len = tls->pending_done = 0;
    tls->in_flight = 0;
}

static bool send_pending(struct transport *transport) {
    struct transport_tls *tls = transport->tls;
    const struct iovec rest = { tls->pending + tls->pending_done, tls->pending_len - tls->pending_done };

    if (tls->pending_len == 0)
        return true;
    tls->pending_done += transport_put(transport, &rest, 1, rest.iov_len);
    if (tls->pending_done < tls->pending_len && !transport->write_failed)
        return false;
    drop_pending(tls);
    return !transport->write_failed;
}

static void keep_pending(struct transport *transport, const char *data, size_t len) {
    struct transport_tls *tls = transport->tls;
    char *pending = tls->pending_len + len <= TLS_PENDING_MAX ? realloc(tls->pending, tls->pending_len + len) : NULL;

    if (pending == NULL) {
        transport_doom(transport, TRANSPORT_NO_MEMORY);
        return;
    }
    memcpy(pending + tls->pending_len, data, len);
    tls->pending = pending;
    tls->pending_len += len;
}

/* What OpenSSL has written is sent, or kept for later. The shared buffer is empty afterwards. */
static void push_cipher(struct transport *transport) {
    struct buf *cipher = &transport->shared->cipher;
    const struct iovec all = { cipher->data, cipher->len };
    size_t sent = 0;

    if (cipher->failed)
        transport_doom(transport, TRANSPORT_NO_MEMORY);
    if (cipher->len > 0 && !transport->write_failed) {
        if (transport->tls->pending_len == 0 && !transport->blocked)
            sent = transport_put(transport, &all, 1, all.iov_len);
        if (sent < cipher->len && !transport->write_failed)
            keep_pending(transport, cipher->data + sent, cipher->len - sent);
    }
    buf_reset(cipher);
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

/* One record's worth of what waits goes into the scratch buffer, so that small pieces share a record. */
static struct str take_record(struct transport *transport) {
    struct iovec vectors[TLS_VECTORS];
    size_t count = TLS_VECTORS, total = transport_gather(transport, vectors, &count, TLS_RECORD_BYTES);
    char *to = transport->shared->scratch;

    for (size_t i = 0; i < count; i++) {
        memcpy(to, vectors[i].iov_base, vectors[i].iov_len);
        to += vectors[i].iov_len;
    }
    return str_make(transport->shared->scratch, total);
}

/* Encrypts a batch into the shared buffer; false when nothing was left. */
static bool encrypt_batch(struct transport *transport) {
    size_t done = 0, before = transport->output.bytes;

    while (done < TLS_BATCH_BYTES) {
        struct str record = take_record(transport);
        if (record.len == 0)
            break;
        if (!tls_stream_write(transport->tls->stream, record)) {
            transport_doom(transport, TRANSPORT_TLS);
            return false;
        }
        transport_advance(transport, record.len);
        done += record.len;
    }
    transport->tls->in_flight += before - transport->output.bytes;
    return done > 0;
}

void transport_tls_send(struct transport *transport) {
    struct transport_tls *tls = transport->tls;

    for (int batch = 0; batch < TLS_BATCHES; batch++) {
        if (!send_pending(transport) || !tls->open || !encrypt_batch(transport))
            return;
        push_cipher(transport);
        if (tls->pending_len > 0 || transport->write_failed)
            return;
        tls->in_flight = 0;
    }
    if (transport_has_output(transport))
        transport->blocked = true; /* the rest when the loop says that it is writable */
}

void transport_tls_goodbye(struct transport *transport) {
    transport->tls->said_goodbye = true;
    tls_stream_goodbye(transport->tls->stream);
    push_cipher(transport);
}

/* ---- receiving -------------------------------------------------------------------------------------------------- */

static bool take_name(struct transport *transport, struct err *err) {
    struct buf name = BUF_INIT(65535);
    bool ok = tls_stream_client_name(transport->tls->stream, &name, err);

    if (!ok || name.len == 0) {
        buf_release(&name);
        return ok;
    }
    transport->peer.certificate_name = str_make(name.data, name.len); /* freed with the transport */
    return true;
}

/* False when it is not through, or has failed. */
static bool shake_hands(struct transport *transport) {
    struct err err = ERR_INIT;
    enum tls_result result = tls_stream_handshake(transport->tls->stream, &err);

    push_cipher(transport);
    if (result == TLS_MORE)
        return false;
    if (result != TLS_DONE || !take_name(transport, &err)) {
        transport_fail(transport, TRANSPORT_TLS, err.text);
        return false;
    }
    transport->tls->open = true;
    if (transport->websocket == NULL)
        transport_ready(transport);
    return transport_is_alive(transport);
}

/* Fills the plaintext buffer as far as the ciphertext goes. */
static enum tls_result decrypt(struct transport *transport, size_t *len, struct err *err) {
    enum tls_result result = TLS_DONE;
    size_t more;

    *len = 0;
    while (*len < INPUT_BYTES && result == TLS_DONE) {
        result = tls_stream_read(transport->tls->stream, transport->shared->plain + INPUT_HEADROOM + *len, INPUT_BYTES - *len,
                                 &more, err);
        *len += more;
    }
    return result;
}

void transport_tls_input(struct transport *transport, const char *data, size_t len) {
    struct tls_stream *stream = transport->tls->stream;
    enum tls_result result = TLS_DONE;
    struct err err = ERR_INIT;
    size_t plain;

    tls_stream_feed(stream, str_make(data, len));
    if (!transport->tls->open && !shake_hands(transport))
        return;
    while (result == TLS_DONE) {
        result = decrypt(transport, &plain, &err);
        push_cipher(transport); /* the buffer is everybody's, and the owner may write to others */
        if (plain > 0)
            transport_input(transport, transport->shared->plain + INPUT_HEADROOM, plain);
        if (!transport_is_alive(transport)) {
            tls_stream_feed(stream, STR_EMPTY);
            return;
        }
    }
    if (result == TLS_END)
        transport_fail(transport, TRANSPORT_CLOSED, "it has closed the connection");
    else if (result == TLS_FAILED)
        transport_fail(transport, TRANSPORT_TLS, err.text);
}
