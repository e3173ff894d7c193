/*
 * agent/broker/remembered.h: messages that inputs of this process have taken and that their clients may send again, because the
 * acknowledgement did not get through: it waited for the disk when the connection ended, or the process died. A client repeats the packet
 * identifier and the content, and says DUP (MQTT 4.4). The newest few thousand are kept. Not thread-safe.
 *
 * After a crash it is not known whether the acknowledgement was sent. A client that counts its identifiers upwards uses one again only after
 * many others, so it means the same message; one that uses the same again at once may mean another one with the same content, and is believed:
 * a point too many can be told from the others, one that is missing cannot.
 */
#ifndef HELIOGRAF_BROKER_REMEMBERED_H
#define HELIOGRAF_BROKER_REMEMBERED_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/message.h"

enum { REMEMBERED_MAX = 8192 };

struct remembered {
    struct remembered_entry {
        struct message_origin origin;
        bool certain; /* the acknowledgement was not sent */
    } *entries; /* a ring, allocated with the first */
    size_t first, count;
};

void remembered_release(struct remembered *remembered); /* safe on a zeroed one */
/* The oldest goes when there is no room. Without memory it is not known later. */
void remembered_add(struct remembered *remembered, struct message_origin origin, bool certain);
/* True: it was taken before; it is forgotten then, as it comes no third time unless it is remembered again. */
bool remembered_take(struct remembered *remembered, struct message_origin origin);

#endif
