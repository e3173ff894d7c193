/*
 * agent/broker/transport.h: one accepted peer as a stream of bytes in both directions, whatever carries them: TCP, a Unix
 * socket, TLS, WebSocket, WebSocket over TLS. All on the loop's thread. An idle one costs a few hundred bytes: buffers exist
 * while there is something in them.
 *
 * Owners are called from the loop only: never from within a function of this header.
 */
#ifndef HELIOGRAF_BROKER_TRANSPORT_H
#define HELIOGRAF_BROKER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/err.h"
#include "agent/base/str.h"

struct event_base;
struct transport;
struct transports;

/* What all transports of one loop share: the buffer that they read into, what waits for the end of the round, who lingers. */
struct transports *transports_new(struct event_base *base, struct err *err);
/* Ends at once what is still there, without a word to owners. After the listeners, before the base. NULL is fine. */
void transports_free(struct transports *transports);
/* Closed ones that still send or wait for their peer; a stop may wait for them. Each ends by itself within its linger time. */
size_t transports_lingering(const struct transports *transports);

/* Why a stream has ended. */
enum transport_end {
    TRANSPORT_CLOSED,    /* the peer closed it, or its sending half; what was written still goes out */
    TRANSPORT_RESET,     /* the network did: reset, unreachable, timed out */
    TRANSPORT_TLS,       /* no agreement on TLS, a broken record, or TLS where none is spoken */
    TRANSPORT_WEBSOCKET, /* a bad upgrade or frame, or HTTP where MQTT is spoken */
    TRANSPORT_DEADLINE,  /* handshake or upgrade took too long */
    TRANSPORT_FULL,      /* its output went over transport_set_output_limit */
    TRANSPORT_NO_MEMORY,
};

/* Told to the owner. Each may call transport_close from within, and must not touch the transport afterwards. */
struct transport_events {
    /*
     * Bytes have come; returns how many of them are done with. The rest is kept and comes again once there is more behind
     * it: at least as much in all as `transport_expect` said. The bytes are borrowed for the call.
     */
    size_t (*received)(void *owner, struct str bytes);
    /* The output has fallen to what transport_watch_output asked for, or below. */
    void (*drained)(void *owner);
    /* It is over, and the transport is freed when this returns. `words` name no peer. Not after transport_close. */
    void (*ended)(void *owner, enum transport_end why, const char *words);
};

/* Who is there: set by the listener, valid as long as the transport. */
struct transport_peer {
    char address[64];          /* numeric, without the port; "unix" for a Unix socket */
    uint16_t port, local_port; /* 0: none */
    bool encrypted, websocket, loopback;
    /* Common name or whole subject of the client's certificate, if the listener uses it as the user name. Well-formed UTF-8
     * without control characters; empty: no certificate, or it is not used. */
    struct str certificate_name;
};
const struct transport_peer *transport_peer(const struct transport *transport);

/* The owner of an accepted transport, before its first event. */
void transport_own(struct transport *transport, const struct transport_events *events, void *owner);

/*
 * So many bytes must be there before `received` is called again, if the peer sends on; 0: any more. It holds until it is set
 * again. At most what the caller would keep: memory follows what has arrived (twice that at most), up to this.
 */
void transport_expect(struct transport *transport, size_t bytes);
/* A password may be in what comes, and is wiped from our buffers when it is done with: until now. */
void transport_end_secrecy(struct transport *transport);
/* Reads no more (the peer's TCP fills up) until resumed; on resuming, bytes kept back are offered again, in the next round. */
void transport_pause(struct transport *transport);
void transport_resume(struct transport *transport);

/*
 * Appends a packet made of pieces to the output; nothing is sent before the end of the loop's round (transport_flush does it
 * at once), so that what happens in one round goes out in one system call. Pieces below some size are copied; a larger one
 * that has an owner is kept by reference: `hold(owner)` now, `release(owner)` when it is written or given up. False: no
 * memory, or over the output limit: nothing more will be sent, and `ended` will say TRANSPORT_FULL or _NO_MEMORY. True, and
 * the bytes are dropped, when the peer is known to be gone: what it has sent is still received before `ended`.
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
void transport_set_output_limit(struct transport *transport, size_t bytes); /* of transport_queued; 0: none */
/* `drained` is called once, from the loop, when transport_queued is `bytes` or less; at the end of this round if it is now. */
void transport_watch_output(struct transport *transport, size_t bytes);
void transport_flush(struct transport *transport);

/*
 * Ends it: what was written is still sent for `linger_ms` at most (WebSocket and TLS say goodbye, the reading side is drained,
 * so that the last packet is not lost in a reset), 0: at once, and what was not sent is lost. The owner hears no more of it.
 */
void transport_close(struct transport *transport, unsigned linger_ms);

/* Bytes of memory, about; without what is kept by reference. */
size_t transport_memory(const struct transport *transport);

#endif
