/*
 * agent/mqtt_client/redelivery.h: which messages of a session were taken already. A broker that did not see our acknowledgement
 * delivers a message again, flagged DUP, under its old packet identifier and with the same content (MQTT 3.1.1 and 5.0, 3.3.1.1
 * and 4.4); without a time of its own it would become a second point.
 *
 * The flag, the identifier and the content are all there is to go by, and they can lie: when our acknowledgement did arrive, the
 * broker may have used the identifier again for an equal message that was lost on its way to us, and sends that one again. So a
 * message counts as known only
 *   - when its acknowledgement was still held as the connection ended, or an earlier one and it did not come again since: then the broker
 *     cannot have seen it; or
 *   - when the broker counts its identifiers upwards and far: then the one in question comes up again only after many others.
 * When in doubt it is new: a point too many can be told from the others, one that is missing cannot. One owner; the caller locks.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_REDELIVERY_H
#define HELIOGRAF_MQTT_CLIENT_REDELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redelivery_entry {
    uint64_t content, sequence;
    uint64_t arrival; /* of `arrivals`; 0: free */
    uint32_t lost;    /* of `losses`, when its acknowledgement was held at that one */
    uint16_t id;
};

struct redelivery {
    struct redelivery_entry *entries; /* by identifier; allocated with the first */
    size_t cap;                       /* a power of two */
    unsigned window;                  /* messages that the broker may have under way */
    uint64_t arrivals;                /* first deliveries noted */
    unsigned run;                     /* of identifiers that went up, each by a little */
    uint16_t last_id, highest_id;
    uint32_t losses;                  /* connections that got as far as a first delivery */
    bool resent;                      /* this one did: what the broker sends again comes before (MQTT-4.4.0-1, 4.6.0-1) */
};

/* `window`: the receive maximum that the broker was told. Allocates nothing. */
void redelivery_init(struct redelivery *redelivery, unsigned window);
void redelivery_release(struct redelivery *redelivery); /* safe on a zeroed one */

/* The broker has a new session: nothing of the old one comes again. */
void redelivery_forget(struct redelivery *redelivery);

/* A message was taken; `sequence` is what the spool must make durable before it is acknowledged. Without memory it is not known later. */
void redelivery_note(struct redelivery *redelivery, uint16_t id, uint64_t content, uint64_t sequence, bool dup);

/* True: a message flagged DUP is known, and `*sequence` is what was noted. */
bool redelivery_find(const struct redelivery *redelivery, uint16_t id, uint64_t content, uint64_t *sequence);

/* The connection ended, and the acknowledgements of these messages were not sent on it: call begin once, then held for each. */
void redelivery_lost_begin(struct redelivery *redelivery);
void redelivery_lost_held(struct redelivery *redelivery, uint16_t id);

#endif
