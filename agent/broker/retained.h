/*
 * agent/broker/retained.h: the retained messages, by topic; found by a filter with wildcards in time that depends on what
 * matches, and walked in pieces, so that a `#` over a million of them holds up nobody. Same rules for `$` and wildcards as the
 * topic tree. 32 bytes per topic beside the publication. No recursion. Not thread-safe.
 */
#ifndef HELIOGRAF_BROKER_RETAINED_H
#define HELIOGRAF_BROKER_RETAINED_H

#include "agent/broker/publication.h"

struct retained;

struct retained_limits {
    size_t count;   /* 0: no limit */
    uint64_t bytes; /* of publication_size; 0: no limit */
};

struct retained *retained_new(const struct retained_limits *limits); /* NULL without memory */
void retained_free(struct retained *retained); /* after all of its walks; NULL is fine */
void retained_set_limits(struct retained *retained, const struct retained_limits *limits); /* what is over them stays */

enum retained_result { RETAINED_SET, RETAINED_REPLACED, RETAINED_CLEARED, RETAINED_NOTHING, RETAINED_FULL, RETAINED_NO_MEMORY };
/*
 * Keeps the publication as its topic's retained message (with a reference of its own); an empty payload clears the topic ([MQTT-3.3.1-6],
 * [MQTT-3.3.1-7]): RETAINED_CLEARED, or RETAINED_NOTHING when there was none. RETAINED_FULL: a new topic, or a larger message, and a limit is
 * reached: nothing has changed (the old message is still there: who wants it gone removes it). RETAINED_NO_MEMORY: the same.
 */
enum retained_result retained_set(struct retained *retained, struct publication *publication);
/* NULL: none. Borrowed until the next change. It may have expired. */
struct publication *retained_get(const struct retained *retained, struct str topic);
bool retained_remove(struct retained *retained, struct str topic);

/*
 * A walk over all retained messages that match a filter (valid, without `$share/`), each topic before those below it. It may be left and
 * taken up again at any time, whatever was set or removed meanwhile: a topic that was there all the time is met exactly once, one that came
 * or went meanwhile at most once, with the message it has when it is met. Any number of walks at a time. The filter is copied; what has
 * expired is passed over. `steps`: topics to look at, at most, so that a call takes bounded time (a step is a microsecond or so; a topic of many
 * hundred bytes counts for more than one); what was used is taken from it.
 */
struct retained_walk;
struct retained_walk *retained_walk_new(struct retained *retained, struct str filter); /* NULL without memory */
void retained_walk_free(struct retained_walk *walk); /* NULL is fine */
enum retained_step { RETAINED_FOUND, RETAINED_LATER, RETAINED_END };
/*
 * RETAINED_FOUND: `*found` is borrowed until the next change. RETAINED_LATER: the steps are used up, or there is no memory to go on; call
 * again another time (not at once). With no steps nothing happens, with one it always goes on.
 */
enum retained_step retained_walk_next(struct retained_walk *walk, int64_t now_ns, size_t *steps, struct publication **found);

/*
 * Removes what has expired, looking at `steps` topics at most and going on there next time; at the end of all it stops, to begin again next
 * time. Costs nothing while no message has a time at which it expires. `removed` (may be NULL) is told each before it goes, and must change
 * nothing.
 */
void retained_sweep(struct retained *retained, int64_t now_ns, size_t steps,
                    void (*removed)(void *ctx, const struct publication *publication), void *ctx);

size_t retained_count(const struct retained *retained);
uint64_t retained_bytes(const struct retained *retained); /* of publication_size */

#endif
