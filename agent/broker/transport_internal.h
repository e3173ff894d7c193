/*
 * agent/broker/transport_internal.h: the parts of a transport, for transport*.c, and what the listener tells them. Nobody else
 * includes it.
 *
 *   transport.c            life: set-up, owner, ending, lingering; the events of its socket
 *   transport_input.c      from the socket to the owner; what is kept of a cut packet
 *   transport_output.c     from the owner to the socket
 *   transport_tls.c        between socket and stream, with TLS
 *   transport_websocket.c  between stream and packets, with WebSocket
 */
#ifndef HELIOGRAF_BROKER_TRANSPORT_INTERNAL_H
#define HELIOGRAF_BROKER_TRANSPORT_INTERNAL_H

#include "agent/broker/output_queue.h"
#include "agent/broker/tls.h"
#include "agent/broker/transport.h"
#include "agent/broker/websocket.h"

struct event;

/* One read takes so much at most, and a transport has one read in a round of the loop: no peer starves the others. */
enum { INPUT_BYTES = 64 * 1024 };
/* Before what is read there is room for so much of an earlier read: cut packets up to this are put together in place. */
enum { INPUT_HEADROOM = 4096 };
/* A large packet is read straight to where it is kept, so much at a time. */
enum { INPUT_LARGE_BYTES = 256 * 1024 };
/* Transports that linger; over it, the oldest ends. */
enum { LINGER_MAX = 1024 };
/* What a peer gets of our last words when it is the one that ends. */
enum { LINGER_AFTER_END_MS = 2000 };

struct transport_list {
    struct transport *first, *last;
    size_t count;
};

/* A listener, as its transports see it. Lives until `freed` was called for each of them. */
struct transport_origin {
    void *ctx;
    struct tls_context *tls;                 /* NULL: none */
    const struct websocket_rules *websocket; /* NULL: none */
    struct transport_list setup;             /* in handshake or upgrade, the oldest first */
    /* It is through: the callee finds an owner. */
    void (*ready)(void *ctx, struct transport *transport);
    /* It has ended before it was ready. */
    void (*failed)(void *ctx, const struct transport *transport, enum transport_end why, const char *words);
    void (*left)(void *ctx);  /* it is no longer anybody's connection */
    void (*freed)(void *ctx); /* and no longer refers to its origin */
};

struct transports {
    struct event_base *base;
    struct event *round_end; /* what was touched in a round is looked at once, at its end */
    struct event *next_round; /* and what has to be looked at again, in the next one */
    struct event *linger_timer;
    struct transport *touched_first, *touched_last;
    struct transport *resumed_first, *resumed_last;
    bool settling; /* within round_end */
    struct transport_list open, lingering; /* the latter by deadline */
    struct output_pool pool;
    char *input;       /* INPUT_HEADROOM + INPUT_BYTES: what is read from sockets */
    char *plain;       /* the same, for what was decrypted */
    char *scratch;     /* TLS_RECORD_BYTES: what is about to be encrypted */
    struct buf cipher; /* what was encrypted; empty between calls */
    size_t event_size;
};

enum transport_state {
    TRANSPORT_SETUP,     /* handshake, upgrade: in its origin's list */
    TRANSPORT_OPEN,      /* has an owner, or is about to */
    TRANSPORT_LINGERING, /* sends, says goodbye, reads to the end */
    TRANSPORT_DEAD,      /* the socket is closed; freed at the end of the round */
};

/* TLS of one transport. Ciphertext that the kernel did not take waits here; nothing more is encrypted until it is gone. */
struct transport_tls {
    struct tls_stream *stream;
    char *pending;
    size_t pending_len, pending_done;
    size_t in_flight; /* bytes of the output queue that are in there */
    bool open;        /* the handshake is through */
    bool said_goodbye;
};

struct transport_websocket {
    struct websocket_reader reader;
    bool upgraded, said_goodbye;
    bool in_frame;           /* a frame is begun: `head`, then `frame_left` bytes of the queue */
    uint8_t head[10], head_len, head_done;
    uint32_t frame_left;
    unsigned close_code;     /* to say goodbye with */
    struct buf urgent;       /* goes before the next frame: the answer to the upgrade, control frames */
    size_t urgent_done;
};

/* The struct event stands behind it, in the size that libevent says it has. */
struct transport {
    struct transports *shared;
    struct transport_origin *origin; /* NULL once it does not count there any more and is dead */
    const struct transport_events *events;
    void *owner;
    struct transport *previous, *next; /* in the list of its state */
    struct transport *next_touched, *next_resumed;
    struct transport_tls *tls;
    struct transport_websocket *websocket;
    char *kept; /* what the owner was not done with, or the head of an upgrade */
    size_t kept_len, kept_size, expected;
    struct output_queue output;
    size_t output_limit, watched;
    int64_t deadline_ns; /* of set-up, of lingering */
    int fd;
    uint8_t state;  /* enum transport_state */
    uint8_t armed;  /* EV_READ, EV_WRITE that the loop waits for */
    uint8_t doom;   /* 0, or the enum transport_end plus one that the end of the round brings */
    bool paused : 1, touched : 1, resumed : 1, watching : 1;
    bool blocked : 1;      /* the kernel takes no more for now */
    bool write_failed : 1; /* the peer is gone; what it sent may still be there to be read */
    bool at_end : 1;       /* read to the end */
    bool half_closed : 1;
    bool secret : 1;       /* what has come is wiped when it is done with */
    bool heard : 1, heard_plain : 1; /* the first byte has come; has been decrypted */
    struct transport_peer peer;
};

/* ---- transport.c ------------------------------------------------------------------------------------------------ */

/*
 * Takes over a connected, non-blocking socket, in every case. Without TLS and WebSocket `origin->ready` is called from within.
 * `peer` is copied.
 */
bool transport_adopt(struct transports *shared, int fd, struct transport_origin *origin, const struct transport_peer *peer,
                     int64_t setup_ns);
/* The set-up is through. */
void transport_ready(struct transport *transport);
/* It is over: tells the owner or the origin, sends what is left if that makes sense. */
void transport_fail(struct transport *transport, enum transport_end why, const char *words);
/* The same at the end of the round, for callers that must not call back. */
void transport_doom(struct transport *transport, enum transport_end why);
void transport_kill(struct transport *transport);
/* It is looked at when the round ends. */
void transport_touch(struct transport *transport);
/* Makes the loop wait for what is wanted of the socket now. */
void transport_rearm(struct transport *transport);

static inline bool transport_is_alive(const struct transport *transport) {
    return transport->state == TRANSPORT_OPEN || transport->state == TRANSPORT_SETUP;
}

/* ---- transport_input.c ------------------------------------------------------------------------------------------ */

void transport_read(struct transport *transport);
/* Decrypted bytes, or those of the socket; INPUT_HEADROOM bytes before `data` may be written to. */
void transport_input(struct transport *transport, char *data, size_t len);
/* MQTT packets' bytes, with the same room before them. */
void transport_deliver(struct transport *transport, char *data, size_t len);
/* Adds to what is kept; false, and doomed, without memory. */
bool transport_keep(struct transport *transport, const char *data, size_t len);
void transport_offer_kept(struct transport *transport);
void transport_drop_kept(struct transport *transport);

/* ---- transport_output.c ----------------------------------------------------------------------------------------- */

/* Sends until nothing is left or the kernel takes no more; a failure is noted. Calls nobody. */
void transport_send(struct transport *transport);
/* Whether anything is left to be sent. */
bool transport_has_output(const struct transport *transport);
/* The next bytes for the socket, or for TLS: packets, or frames with packets in them. */
size_t transport_gather(struct transport *transport, struct iovec *vectors, size_t *count, size_t limit);
void transport_advance(struct transport *transport, size_t bytes);
/* One system call. How many bytes went out, 0 for none; notes that it is blocked, or has failed. */
size_t transport_put(struct transport *transport, const struct iovec *vectors, size_t count, size_t total);
void transport_drop_output(struct transport *transport);

/* ---- transport_tls.c -------------------------------------------------------------------------------------------- */

bool transport_tls_start(struct transport *transport);
void transport_tls_free(struct transport *transport);
void transport_tls_input(struct transport *transport, const char *data, size_t len);
void transport_tls_send(struct transport *transport);
void transport_tls_goodbye(struct transport *transport);

/* ---- transport_websocket.c -------------------------------------------------------------------------------------- */

bool transport_websocket_start(struct transport *transport);
void transport_websocket_free(struct transport *transport);
void transport_websocket_input(struct transport *transport, char *data, size_t len);
size_t transport_websocket_gather(struct transport *transport, struct iovec *vectors, size_t *count, size_t limit);
void transport_websocket_advance(struct transport *transport, size_t bytes);
void transport_websocket_goodbye(struct transport *transport);

#endif
