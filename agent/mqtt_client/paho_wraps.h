/*
 * agent/mqtt_client/paho_wraps.h: what stands between Paho's objects and the rest of the world. The archive that is
 * linked (paho.mk) calls paho_recv() where Paho's source says recv(), and so on; the functions are in paho_wraps.c.
 * Through them acknowledgements are held, sockets are read in large pieces, names are looked up outside Paho's lock,
 * and a connection's errors are known by more than "failure".
 */
#ifndef HELIOGRAF_MQTT_CLIENT_PAHO_WRAPS_H
#define HELIOGRAF_MQTT_CLIENT_PAHO_WRAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/err.h"

/*
 * One Paho client of ours. Owned by its connection, known to the wraps from paho_link_add to paho_link_remove. The
 * fields below `own` belong to the wraps and change under Paho's lock.
 */
struct paho_link {
    const char *host;         /* as it stands in the URI that Paho was given */
    bool plain;               /* TCP without TLS or websocket frames: acknowledgements may be written in one piece */
    int version;              /* of MQTT, as Paho numbers them */
    unsigned user_timeout_ms; /* unanswered data after which the kernel gives the connection up; 0: its own default */
    const char *bind_address; /* numeric, where connects come from; NULL: any */
    uint8_t *held; /* 8192 bytes: set bits are packet identifiers whose PUBREC is held; NULL: none is */

    struct {
        struct paho_link *next;
        char address[64]; /* numeric; where `host` is to be found this time */
        bool asked;       /* a connect was asked for, and Paho has not come for the address yet */
        int fd;           /* -1: none */
        bool leaving;     /* the close to come is of our own will */
        int left_fd;      /* closed for Paho and not yet for the kernel; -1: none */
        int error;        /* errno of the last connect; 0: none */
        void *net;        /* Paho's networkHandles */
        uint64_t hits;    /* acknowledgements that Paho wanted to send since the socket was opened */
        bool malformed;   /* since then, a packet was none that MQTT allows; Paho closes the connection for it */
        bool unwritten;   /* the last PUBLISH of QoS 0 could not be written, which Paho was not told */
    } own;
};

/* Once per process, before Paho is used. */
bool paho_wraps_init(struct err *err);

/* Whether Paho has called one of ours by now. If not after a client was made, a stock archive is linked: paho.mk. */
bool paho_wraps_used(void);

void paho_link_add(struct paho_link *link);
/* After Paho's client is gone. */
void paho_link_remove(struct paho_link *link);

/*
 * Says where `host` is for the connect that follows at once. Two links with the same name take turns: false when the
 * other one's connect has not got through to Paho for `timeout_ms`.
 */
bool paho_link_route(struct paho_link *link, const char *address, int timeout_ms);
/* The attempt is over, however it ended: gives the turn back. */
void paho_link_settle(struct paho_link *link);
/* errno of the last connect, 0 when it came through. Any thread. */
int paho_link_error(struct paho_link *link);

/*
 * What Paho closes from here to the next connect is left open for paho_link_linger. Under paho_lock().
 */
void paho_link_leave(struct paho_link *link);
/*
 * Reads and forgets until the broker closes its side, for `timeout_ms` at most, and closes ours. A socket that is closed with unread
 * data in it makes the kernel reset the connection (RFC 1122, 4.2.2.13), and a reset may overtake the acknowledgements and
 * the DISCONNECT that the broker has not read yet: it would deliver again what was acknowledged. Not under paho_lock().
 */
void paho_link_linger(struct paho_link *link, int timeout_ms);

/* What Paho has been asked for and not begun, of a client that is about to be destroyed: destroying it would lose the memory of messages. */
void paho_forget_commands(void *handle);

/* Paho's own lock: held while it runs a callback. Never taken by a thread that a callback may wait for. */
void paho_lock(void);
void paho_unlock(void);

enum paho_ack { PAHO_PUBACK = 0x40, PAHO_PUBREC = 0x50 }; /* the packets' first byte */

/*
 * Sends PUBACK or PUBREC for these packets in this order, as many as the socket takes now; returns how many. Under
 * paho_lock(). 0 when there is no connection or Paho itself has something unsent.
 */
size_t paho_link_acknowledge(struct paho_link *link, enum paho_ack ack, const uint16_t *ids, size_t count);

/* While paused nothing is read: what the broker sends waits in the socket. A new connection begins unpaused. Under paho_lock(). */
void paho_link_pause(struct paho_link *link, bool paused);

#endif
