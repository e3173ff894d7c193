/*
 * agent/broker/topic_index.h: publications by topic, one each, in an order that keeps families together: level by level, each level by
 * its bytes, a topic before those below it: a, a/, a/b, a/b/c, a/c, a!, b. What begins with `a/` stands in one piece, and so does what begins with
 * `$`. A part of the retained messages. One owner, one thread.
 *
 * It is a crit-bit tree: 24 bytes per topic in one block, nothing to rebalance or to rehash. A search looks at one branch per bit that tells
 * topics apart: at most 9 per byte of the topic that is searched for, however many there are. No recursion.
 */
#ifndef HELIOGRAF_BROKER_TOPIC_INDEX_H
#define HELIOGRAF_BROKER_TOPIC_INDEX_H

#include "agent/broker/publication.h"

/* Zeroed: empty. */
struct topic_index {
    struct publication *root; /* NULL, or a publication, or, with its lowest bit set, a branch */
    size_t count;
};

void topic_index_release(struct topic_index *index); /* gives up its references */

/* NULL: none. Borrowed. */
struct publication *topic_index_find(const struct topic_index *index, struct str topic);

/*
 * Where the topic's publication stands, until the next addition or removal; NULL: there is none. Another one of the same topic may be put there: the
 * index's reference goes to the caller and the caller's to the index.
 */
struct publication **topic_index_place(struct topic_index *index, struct str topic);

/* Adds a publication whose topic is not in the index yet, with a reference of its own. False: no memory, nothing has changed. */
bool topic_index_add(struct topic_index *index, struct publication *publication);

/* Out of the index; the reference is the caller's. NULL: there was none. */
struct publication *topic_index_take(struct topic_index *index, struct str topic);

/*
 * The first publication whose topic is `bound` or stands behind it; NULL: there is none. `bound` is any bytes, and these are of use: what
 * follows a topic at once is that topic and `/`; what follows it and all below it is that topic and a NUL byte. `branches` (may be NULL) is
 * raised by those looked at.
 */
struct publication *topic_index_seek(const struct topic_index *index, struct str bound, size_t *branches);

#endif
