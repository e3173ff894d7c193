/*
 * agent/mqtt_client/subscription.h: the topic filters of one source: which of them are subscribed to, what the broker
 * said, and which messages are copies that came only because two filters overlap. Pure; the caller locks.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_SUBSCRIPTION_H
#define HELIOGRAF_MQTT_CLIENT_SUBSCRIPTION_H

#include "agent/base/filter_index.h"
#include "agent/base/message.h"
#include "config/schema.h"

enum subscription_state { SUBSCRIPTION_ASKED, SUBSCRIPTION_GRANTED, SUBSCRIPTION_REFUSED };

struct subscription {
    const char *filter; /* borrowed from the configuration */
    bool shared;        /* `$share/...`: left alone, as whoever writes one wants his own copy */
    int covered_by; /* index of a filter that brings everything this one would, so that it is not asked for; -1: none */
    uint32_t identifier;
    enum subscription_state state;
    int code;            /* SUBACK's */
    unsigned refusals;   /* in a row */
    int64_t deadline_ns; /* monotonic: of the answer when asked, of the next try when refused */
};

/* What came lately for more than one filter. */
enum { OVERLAP_RECENT = 64 };
struct overlap_entry {
    uint64_t hash;
    uint64_t seen; /* bit i: the copy for filter i has come */
    int64_t at_ns;
};

struct subscriptions {
    struct subscription *items;
    size_t count;
    bool overlapping; /* some topic may match two of the filters; identifiers are worth their bytes */
    struct overlap_entry recent[OVERLAP_RECENT];
    size_t next;
    struct filter_index asked; /* neither shared nor covered */
    uint64_t steps;            /* that subscriptions_init took, see filter_index.h */
};

/* False without memory; release it then, too. */
bool subscriptions_init(struct subscriptions *subs, const struct cfg_strings *filters);
void subscriptions_release(struct subscriptions *subs); /* safe on a zeroed one */

/*
 * True when this message has come before for another filter, by its MQTT 5 subscription identifiers. A copy is known by
 * its bytes and by another filter's identifier within a few seconds, not by the identifier alone: after a change of the
 * filters a kept session may hold messages that came for one of them only. Without identifiers nothing is taken for a
 * copy.
 */
bool subscriptions_is_copy(struct subscriptions *subs, const struct message *message, const uint32_t *identifiers,
                           size_t count);

size_t subscriptions_in(const struct subscriptions *subs, enum subscription_state state);

#endif
