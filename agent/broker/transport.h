/*
 * agent/broker/transport.h: one accepted peer as a stream of bytes in both directions, whatever carries them: TCP, a Unix socket,
 * TLS, WebSocket, WebSocket over TLS. All on the loop's thread. An idle one costs a few hundred bytes: buffers exist while
 * there is something in them.
 */
#ifndef HELIOGRAF_BROKER_TRANSPORT_H
#define HELIOGRAF_BROKER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/str.h"

struct transport;

/* Why a stream has ended. */
enum transport_end {
    TRANSPORT_CLOSED,    /* the peer closed it */
    TRANSPORT_RESET,     /* the network did: reset, unreachable, timed out */
    TRANSPORT_TLS,       /* no agreement on TLS, or a broken record */
    TRANSPORT_WEBSOCKET, /* a bad upgrade or frame */
    TRANSPORT_DEADLINE,  /* handshake or upgrade took too long */
    TRANSPORT_FULL,      /* its output went over transport_set_output_limit */
    TRANSPORT_NO_MEMORY,
};

/* Told to the owner. Each may call transport_close from within, and must not touch the transport afterwards. */
struct transport_events {
    /*
     * Bytes have come; returns how many of them are done with. The rest is kept and comes again, with more behind it: at least
     * when `transport_expect` said how many are needed. The bytes are borrowed for the call.
     */
    size_t (*received)(void *owner, struct str bytes);
    /* The output has fallen below half of the mark that transport_queued was over; only after transport_watch_output. */
    void (*drained)(void *owner);
    /* It is over, and the transport is freed when this returns. Not after transport_close. */
    void (*ended)(void *owner, enum transport_end why, const char *words);
};

/* Who is there: set by the listener, valid as long as the transport. */
struct transport_peer {
    char address[64];          /* numeric, without the port; "unix" for a Unix socket */
    uint16_t port, local_port; /* 0: none */
    bool encrypted, websocket, loopback;
    struct str certificate_name; /* common name, or the whole subject, as the listener is told; empty: no client certificate */
};
const struct transport_peer *transport_peer(const struct transport *transport);

/* The owner of an accepted transport, before its first event. */
void transport_own(struct transport *transport, const struct transport_events *events, void *owner);

/* So many bytes must be there before `received` is called again, if the peer sends on; 0: any. At most what the caller would keep. */
void transport_expect(struct transport *transport, size_t bytes);
/* Reads no more (the peer's TCP fills up) until resumed; on resuming, bytes kept back are offered again, from the loop. */
void transport_pause(struct transport *transport);
void transport_resume(struct transport *transport);

/*
 * Appends a packet made of pieces to the output; nothing is sent before the loop comes round to it (transport_flush does it at once), so that
 * what happens in one round goes out in one system call. Pieces below some size are copied; a larger one that has an owner is kept by reference: `hold(owner)` now,
 * `release(owner)` when it is written. False: no memory, or over the output limit: the transport will end with TRANSPORT_FULL or _NO_MEMORY.
 */
struct transport_piece {
    struct str bytes;
    void *owner; /* NULL: copy */
};
struct transport_references {
    void (*hold)(void *owner);
    void (*release)(void *owner);
};
bool transport_write(struct transport *transport, const struct transport_piece *pieces, size_t count,
                     const struct transport_references *references);
size_t transport_queued(const struct transport *transport); /* bytes accepted and not yet taken by the kernel, framing left out */
void transport_set_output_limit(struct transport *transport, size_t bytes);
/* `drained` is called once when transport_queued has fallen below `bytes`. */
void transport_watch_output(struct transport *transport, size_t bytes);
void transport_flush(struct transport *transport);

/*
 * Ends it: what was written is still sent for `linger_ms` at most (WebSocket and TLS say goodbye, the reading side is drained, so that the last
 * packet is not lost in a reset), 0: at once. The owner hears no more of it.
 */
void transport_close(struct transport *transport, unsigned linger_ms);

/* Bytes of memory, about. */
size_t transport_memory(const struct transport *transport);

#endif
