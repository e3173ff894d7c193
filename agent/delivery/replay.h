/*
 * agent/delivery/replay.h: the agent's side of the inbox, on a thread of its own that may wait for disks: once a second
 * it looks for files, appends their messages to the spool, waits until they are safe there, takes the letters out of the
 * ring, and only then removes the file. After a crash anywhere in between the same messages go once more, with the same
 * bytes and stamps. A message for an output that the agent does not have waits, with its whole file, for an agent that has.
 */
#ifndef HELIOGRAF_DELIVERY_REPLAY_H
#define HELIOGRAF_DELIVERY_REPLAY_H

#include "agent/delivery/dead_letters.h"
#include "agent/spool/spool.h"

struct replay;

struct replay_options {
    const char *directory;           /* of the dead letters */
    const char *const *output_names; /* output i of the spool */
    unsigned outputs;
    bool spool_on_disk; /* safe is what is durable; in memory, what every output has done with */
};

/* Borrows everything. NULL without memory. */
struct replay *replay_new(const struct replay_options *options, struct dead_letters *letters, struct spool *spool);
bool replay_start(struct replay *replay, struct err *err);
/*
 * Ends the thread, and with it what is half done: the rest is done at the next start. Before spool_close, as what a closing
 * spool gives up looks like an end.
 */
void replay_stop(struct replay *replay);
void replay_free(struct replay *replay); /* stops first; NULL is fine */

void replay_collect(void *replay, const struct metric_writer *writer); /* also with NULL: then there is nothing to say */

#endif
