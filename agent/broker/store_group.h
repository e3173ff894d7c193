/*
 * agent/broker/store_group.h: the changes of one group: at most one per row, the last word. What was put and deleted within the group is gone from
 * it. References of publications are held, and given back by group_reset; texts are copied. One owner at a time.
 */
#ifndef HELIOGRAF_BROKER_STORE_GROUP_H
#define HELIOGRAF_BROKER_STORE_GROUP_H

#include "agent/base/arena.h"
#include "agent/base/hash_index.h"
#include "agent/base/sip_hash.h"
#include "agent/broker/store.h"

enum change_kind { CHANGE_SESSION, CHANGE_SUBSCRIPTION, CHANGE_RECEIVED, CHANGE_PUBLICATION, CHANGE_RETAINED, CHANGE_DELAYED, CHANGE_DELIVERY };

struct change {
    uint8_t kind;
    bool live;         /* else its place is free */
    bool erase;        /* the row is to go; else to be as `as` says */
    bool fresh;        /* a put of what was not there when the group began: to delete it leaves nothing */
    uint16_t packet_id; /* of CHANGE_RECEIVED, part of its key */
    uint32_t hash;
    uint64_t number; /* the key: of the session (three kinds), the publication (three), the delivery */
    union {
        struct stored_session *session;
        struct {
            struct str filter; /* part of the key */
            struct subscription_terms terms;
        } subscription;
        struct publication *publication;
        int64_t due_ns;
        struct stored_delivery delivery;
        struct change *next_free;
    } as;
};

enum { CHANGES_PER_BLOCK = 128 };
struct change_block {
    struct change_block *next;
    size_t used;
    struct change changes[CHANGES_PER_BLOCK];
};

struct group {
    struct change_block *blocks, *last;
    struct change *free;
    struct hash_index index;
    struct arena texts;
    struct sip_key key; /* for filters, which strangers choose */
    size_t block_count, count; /* live changes */
    size_t text_bytes, text_waste, publication_bytes;
    bool failed; /* without memory: a change is missing, for good */
};

void group_init(struct group *group, struct sip_key key);
void group_release(struct group *group);
/* Empty again; a modest amount of memory is kept. */
void group_reset(struct group *group);

/* Takes copies and a reference. `fresh` of the change counts if the group knows nothing of the row. */
void group_put(struct group *group, const struct change *change);
/* True: it undid a put of this group, and nothing is left of both. */
bool group_erase(struct group *group, const struct change *key);
/* Whether the group deletes this session. */
bool group_erases_session(const struct group *group, uint64_t session);
/* The changes of `newer` on top; it is empty then. */
void group_absorb(struct group *group, struct group *newer);

/* Of memory: what waits here. */
size_t group_bytes(const struct group *group);

#endif
