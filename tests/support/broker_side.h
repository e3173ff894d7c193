/*
 * tests/support/broker_side.h: both ends of the broker's connections in one thread: a listener on the test's own loop, owners that keep what
 * they are told, and clients on non-blocking sockets (plain, TLS, WebSocket, both), which let the loop run whenever they wait. Header-only,
 * so that a test stays one file.
 */
#ifndef HELIOGRAF_TESTS_BROKER_SIDE_H
#define HELIOGRAF_TESTS_BROKER_SIDE_H

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/broker/listener.h"
#include "agent/broker/websocket.h"
#include "agent/loop/loop.h"
#include "tests/support/certificates.h"

enum carrier { CARRIER_PLAIN, CARRIER_UNIX, CARRIER_TLS, CARRIER_WEBSOCKET, CARRIER_BOTH, CARRIERS };
static const char *const carrier_names[] = { "plain", "unix", "tls", "websocket", "websocket over tls" };

static inline bool carrier_has_tls(enum carrier carrier) {
    return carrier == CARRIER_TLS || carrier == CARRIER_BOTH;
}

static inline bool carrier_has_websocket(enum carrier carrier) {
    return carrier == CARRIER_WEBSOCKET || carrier == CARRIER_BOTH;
}

/* ---- the broker's end ------------------------------------------------------------------------------------------- */

struct side;

/* The owner of one transport. */
struct owner {
    struct side *side;
    struct transport *transport; /* NULL once it is over */
    struct buf received;
    size_t calls, largest_call;
    size_t packet; /* takes whole packets of so many bytes only, and expects the next; 0: takes everything */
    size_t drained;
    bool ended;
    enum transport_end why;
    char words[240];
    void (*on_received)(struct owner *owner); /* may be NULL; after each call, the transport may be closed there */
};

enum { SIDE_OWNERS = 12000 };

struct side {
    struct loop *loop;
    struct event_base *base;
    struct transports *transports;
    struct listener *listener;
    struct listener_options options;
    struct certificates files;
    struct certificate ca, server;
    SSL_CTX *client_context;
    struct owner *owners[SIDE_OWNERS];
    size_t accepted;
    void (*on_accepted)(struct side *side, struct owner *owner); /* may be NULL */
};

static inline size_t owner_received(void *ctx, struct str bytes) {
    struct owner *owner = ctx;
    size_t used = owner->packet > 0 ? bytes.len - bytes.len % owner->packet : bytes.len;

    owner->calls++;
    if (bytes.len > owner->largest_call)
        owner->largest_call = bytes.len;
    buf_append(&owner->received, bytes.data, used);
    if (owner->on_received != NULL)
        owner->on_received(owner);
    return used;
}

static inline void owner_drained(void *ctx) {
    struct owner *owner = ctx;

    owner->drained++;
}

static inline void owner_ended(void *ctx, enum transport_end why, const char *words) {
    struct owner *owner = ctx;

    owner->ended = true;
    owner->why = why;
    owner->transport = NULL;
    snprintf(owner->words, sizeof owner->words, "%s", words);
}

static const struct transport_events owner_events = { owner_received, owner_drained, owner_ended };

static inline void owner_close(struct owner *owner, unsigned linger_ms) {
    transport_close(owner->transport, linger_ms);
    owner->transport = NULL;
}

static inline bool owner_write(struct owner *owner, const char *data, size_t len) {
    const struct transport_piece piece = { str_make(data, len), NULL };

    return transport_write(owner->transport, &piece, 1, NULL);
}

static inline void side_accepted(void *ctx, const struct listener_options *options, struct transport *transport) {
    struct side *side = ctx;
    struct owner *owner = calloc(1, sizeof *owner);

    certificates_need(options == &side->options && side->accepted < SIDE_OWNERS);
    side->owners[side->accepted++] = owner;
    owner->side = side;
    owner->transport = transport;
    buf_init(&owner->received, 64 << 20);
    transport_own(transport, &owner_events, owner);
    if (side->on_accepted != NULL)
        side->on_accepted(side, owner);
}

/* One round, without waiting. */
static inline void side_spin(struct side *side) {
    event_base_loop(side->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* Lets the loop run until it holds; false after ten seconds. */
#define side_until(side, condition)                                                                                    \
    ({                                                                                                                 \
        int64_t until_ns_ = clock_mono_ns() + 10 * NS_PER_S;                                                           \
        bool holds_;                                                                                                   \
        for (int spins_ = 0; !(holds_ = (condition)) && clock_mono_ns() < until_ns_; spins_++) {                       \
            side_spin(side);                                                                                           \
            if (spins_ > 20)                                                                                           \
                poll(NULL, 0, 1);                                                                                      \
        }                                                                                                              \
        holds_;                                                                                                        \
    })

static inline struct side *side_new(void) {
    struct side *side = calloc(1, sizeof *side);
    struct err err = ERR_INIT;

    side->loop = loop_new(&err);
    side->base = loop_base(side->loop);
    side->transports = transports_new(side->base, &err);
    certificates_need(side->transports != NULL);
    certificates_init(&side->files);
    side->options = (struct listener_options){ .address = (char *)"127.0.0.1:0", .handshake_timeout_ns = 10 * NS_PER_S };
    return side;
}

static inline void side_listen(struct side *side) {
    const struct listener_hooks hooks = { side, side_accepted };
    struct err err = ERR_INIT;

    side->listener = listener_new(&side->options, side->transports, &hooks, &err);
    if (side->listener == NULL) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
}

/* A server certificate, and clients that trust it. */
static inline void side_use_tls(struct side *side) {
    side->ca = certificate_named(&side->files, "ca", NULL, 1);
    side->server = certificate_named(&side->files, "server", &side->ca, 0);
    side->options.has_tls = true;
    side->options.tls.certificate = side->server.path;
    side->options.tls.key = side->server.key_path;
    side->client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(side->client_context, SSL_VERIFY_PEER, NULL);
    certificates_need(SSL_CTX_load_verify_file(side->client_context, side->ca.path) == 1);
}

static inline struct side *side_start(enum carrier carrier) {
    static char unix_address[CERTIFICATE_PATH_MAX + 8];
    struct side *side = side_new();

    if (carrier_has_tls(carrier))
        side_use_tls(side);
    if (carrier_has_websocket(carrier))
        side->options.protocol = LISTENER_WEBSOCKET;
    if (carrier == CARRIER_UNIX) {
        snprintf(unix_address, sizeof unix_address, "unix:%s/s", side->files.directory);
        side->options.address = unix_address;
    }
    side_listen(side);
    return side;
}

static inline void side_free(struct side *side) {
    listener_free(side->listener);
    transports_free(side->transports);
    loop_free(side->loop);
    for (size_t i = 0; i < side->accepted; i++) {
        buf_release(&side->owners[i]->received);
        free(side->owners[i]);
    }
    SSL_CTX_free(side->client_context);
    if (side->ca.x509 != NULL) {
        certificate_release(&side->ca);
        certificate_release(&side->server);
    }
    certificates_release(&side->files);
    free(side);
}

/* ---- the client's end ------------------------------------------------------------------------------------------- */

struct client {
    struct side *side;
    int fd;
    enum carrier carrier;
    SSL *tls;
    BIO *incoming, *outgoing; /* ciphertext */
    size_t piece;             /* sends so many bytes at a time, the loop runs in between; 0: as many as there are */
    size_t frame;             /* bytes in a WebSocket frame; 0: all */
    struct buf raw;           /* decrypted, with frames not yet taken apart */
    struct buf in;            /* what the broker has sent */
    size_t frames, pongs;
    unsigned close_code; /* of the close frame that has come; 0: none, 1005: without a code */
    bool upgraded;
    bool at_end;  /* no more will come */
    int error;    /* ... because of this */
};

static inline void client_send_raw(struct client *client, const char *data, size_t len) {
    while (len > 0) {
        ssize_t sent = send(client->fd, data, client->piece > 0 && client->piece < len ? client->piece : len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return; /* the broker is gone; reading will tell */
        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
        }
        if (len > 0 || client->piece > 0)
            side_spin(client->side);
    }
}

static inline void client_push_cipher(struct client *client) {
    char cipher[16384];

    for (int len; (len = BIO_read(client->outgoing, cipher, sizeof cipher)) > 0;)
        client_send_raw(client, cipher, (size_t)len);
}

static inline void client_send_stream(struct client *client, const char *data, size_t len) {
    if (client->tls == NULL) {
        client_send_raw(client, data, len);
        return;
    }
    certificates_need(len == 0 || SSL_write(client->tls, data, (int)len) == (int)len);
    client_push_cipher(client);
}

/* One frame as it is, masked. */
static inline void client_send_frame(struct client *client, unsigned first, const char *payload, size_t len) {
    static const unsigned char mask[] = { 0xa1, 0xb2, 0xc3, 0xd4 };
    uint8_t head[10];
    size_t head_len = websocket_head(head, WEBSOCKET_BINARY, len);
    char *frame = malloc(head_len + 4 + len);

    head[0] = (uint8_t)first;
    head[1] |= 128;
    memcpy(frame, head, head_len);
    memcpy(frame + head_len, mask, 4);
    for (size_t i = 0; i < len; i++)
        frame[head_len + 4 + i] = (char)(payload[i] ^ mask[i % 4]);
    client_send_stream(client, frame, head_len + 4 + len);
    free(frame);
}

static inline void client_send(struct client *client, const char *data, size_t len) {
    if (!carrier_has_websocket(client->carrier)) {
        client_send_stream(client, data, len);
        return;
    }
    for (size_t step; len > 0; data += step, len -= step) {
        step = client->frame > 0 && client->frame < len ? client->frame : len;
        client_send_frame(client, 0x80 | WEBSOCKET_BINARY, data, step);
    }
}

static inline void client_read_plain(struct client *client, size_t limit) {
    char data[16384];
    ssize_t len;

    while (!client->at_end && client->raw.len < limit) {
        len = recv(client->fd, data, limit - client->raw.len < sizeof data ? limit - client->raw.len : sizeof data, 0);
        if (len < 0 && errno == EAGAIN)
            return;
        client->at_end = len <= 0;
        client->error = len < 0 ? errno : 0;
        if (len > 0)
            buf_append(&client->raw, data, (size_t)len);
    }
}

static inline void client_read_tls(struct client *client) {
    char data[16384];
    ssize_t len;

    while (!client->at_end && (len = recv(client->fd, data, sizeof data, 0)) != -1) {
        client->at_end = len == 0;
        if (len > 0)
            BIO_write(client->incoming, data, (int)len);
    }
    if (!client->at_end && errno != EAGAIN) {
        client->at_end = true;
        client->error = errno;
    }
    if (SSL_is_init_finished(client->tls))
        for (int got; (got = SSL_read(client->tls, data, sizeof data)) > 0;)
            buf_append(&client->raw, data, (size_t)got);
}

/* Takes whole frames of the broker apart: not masked, final. */
static inline void client_take_frames(struct client *client) {
    struct buf *raw = &client->raw;
    size_t at = 0;

    while (raw->len - at >= 2) {
        const uint8_t *head = (const uint8_t *)raw->data + at;
        size_t bytes = head[1] == 126 ? 2 : head[1] == 127 ? 8 : 0, len = bytes == 0 ? head[1] : 0;
        if (raw->len - at < 2 + bytes)
            break;
        for (size_t i = 0; i < bytes; i++)
            len = len << 8 | head[2 + i];
        if (raw->len - at < 2 + bytes + len)
            break;
        certificates_need(head[1] < 128 && (head[0] & 0xf0) == 0x80);
        if ((head[0] & 15) == WEBSOCKET_BINARY)
            buf_append(&client->in, head + 2 + bytes, len);
        else if ((head[0] & 15) == WEBSOCKET_OP_CLOSE)
            client->close_code = len >= 2 ? (unsigned)head[2 + bytes] << 8 | head[3 + bytes] : WEBSOCKET_NO_CODE;
        else
            client->pongs += (head[0] & 15) == WEBSOCKET_OP_PONG;
        client->frames += (head[0] & 15) == WEBSOCKET_BINARY;
        at += 2 + bytes + len;
    }
    memmove(raw->data, raw->data + at, raw->len - at);
    raw->len -= at;
}

/* Takes what is there, at most `limit` bytes of a plain connection at a time. */
static inline void client_read_some(struct client *client, size_t limit) {
    if (client->tls != NULL)
        client_read_tls(client);
    else
        client_read_plain(client, limit);
    if (client->raw.len == 0)
        return;
    if (client->upgraded) {
        client_take_frames(client);
    } else {
        buf_append_str(&client->in, buf_str(&client->raw));
        buf_reset(&client->raw);
    }
}

static inline void client_read(struct client *client) {
    client_read_some(client, SIZE_MAX);
}

#define client_until(client, condition) side_until((client)->side, (client_read(client), (condition)))

/* Connected, and nothing said. */
static inline struct client *client_dial(struct side *side, enum carrier carrier) {
    struct sockaddr_in tcp = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(listener_port(side->listener)) };
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    struct client *client = calloc(1, sizeof *client);
    int result;

    client->side = side;
    client->carrier = carrier;
    buf_init(&client->raw, 64 << 20);
    buf_init(&client->in, 64 << 20);
    client->fd = socket(carrier == CARRIER_UNIX ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    certificates_need(client->fd >= 0);
    if (carrier == CARRIER_UNIX) {
        snprintf(local.sun_path, sizeof local.sun_path, "%s", side->options.address + 5);
        result = connect(client->fd, (struct sockaddr *)&local, sizeof local);
    } else {
        result = connect(client->fd, (struct sockaddr *)&tcp, sizeof tcp);
    }
    certificates_need(result == 0 || errno == EINPROGRESS);
    return client;
}

/* For a client that speaks TLS; false when it fails. */
static inline bool client_shake_hands(struct client *client, SSL_CTX *context) {
    int result = 0, error = SSL_ERROR_NONE;

    client->tls = SSL_new(context);
    client->incoming = BIO_new(BIO_s_mem());
    client->outgoing = BIO_new(BIO_s_mem());
    SSL_set_bio(client->tls, client->incoming, client->outgoing);
    SSL_set_connect_state(client->tls);
    bool over = side_until(client->side, ({
                               ERR_clear_error();
                               result = SSL_do_handshake(client->tls);
                               error = SSL_get_error(client->tls, result);
                               client_push_cipher(client);
                               if (result != 1)
                                   client_read_tls(client);
                               result == 1 || error != SSL_ERROR_WANT_READ || client->at_end;
                           }));
    return over && result == 1;
}

#define CLIENT_REQUEST                                                                                                 \
    "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"      \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"

/* Through with everything but the answer to the upgrade. */
static inline struct client *client_open_in_pieces(struct side *side, enum carrier carrier, size_t piece) {
    struct client *client = client_dial(side, carrier);

    client->piece = piece;
    if (carrier_has_tls(carrier))
        certificates_need(client_shake_hands(client, side->client_context));
    if (carrier_has_websocket(carrier))
        client_send_stream(client, CLIENT_REQUEST, sizeof CLIENT_REQUEST - 1);
    return client;
}

/* The answer to the upgrade, out of what has come. */
static inline bool client_take_answer(struct client *client) {
    static const char accept[] = "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    const char *text = buf_cstr(&client->in), *end = strstr(text, "\r\n\r\n");
    size_t len;

    if (end == NULL)
        return false;
    certificates_need(strncmp(text, "HTTP/1.1 101 ", 13) == 0 && strstr(text, accept) != NULL);
    len = (size_t)(end + 4 - text);
    buf_append(&client->raw, client->in.data + len, client->in.len - len);
    buf_reset(&client->in);
    client->upgraded = true;
    return true;
}

/* Ready for MQTT; its owner is the last of side->owners. */
static inline struct client *client_open(struct side *side, enum carrier carrier) {
    size_t before = side->accepted;
    struct client *client = client_open_in_pieces(side, carrier, 0);

    if (carrier_has_websocket(carrier))
        certificates_need(client_until(client, client_take_answer(client)));
    certificates_need(side_until(side, side->accepted == before + 1));
    return client;
}

/* The broker's end of a TCP connection. */
static inline int accepted_end(const struct client *client) {
    struct sockaddr_in mine, theirs;
    socklen_t len = sizeof mine;

    getsockname(client->fd, (struct sockaddr *)&mine, &len);
    for (int fd = 0; fd < 1000; fd++) {
        len = sizeof theirs;
        if (fd != client->fd && getpeername(fd, (struct sockaddr *)&theirs, &len) == 0 && theirs.sin_family == AF_INET &&
            theirs.sin_port == mine.sin_port)
            return fd;
    }
    return -1;
}

static inline void client_close(struct client *client) {
    if (client == NULL)
        return;
    if (client->fd >= 0 && client->tls != NULL)
        client_read_tls(client); /* tickets that nobody has read would make the kernel reset the connection */
    if (client->fd >= 0)
        close(client->fd);
    SSL_free(client->tls);
    buf_release(&client->raw);
    buf_release(&client->in);
    free(client);
}

/* As a cable that is cut and a router that says so. */
static inline void client_reset(struct client *client) {
    const struct linger hard = { .l_onoff = 1 };

    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(client->fd);
    client->fd = -1;
}

#endif
