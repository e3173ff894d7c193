/* agent/delivery/dead_letter_ring_parts.h: what the ring's two files share. */
#ifndef HELIOGRAF_DELIVERY_DEAD_LETTER_RING_PARTS_H
#define HELIOGRAF_DELIVERY_DEAD_LETTER_RING_PARTS_H

#include "agent/delivery/dead_letter_ring.h"

#define RING_NEW_NAME "dead-letters.tmp" /* a file in the making; means nothing */
enum { RING_PATH_SIZE = 4096 };

/* Makes and locks the directory where needed, and lists it. */
bool ring_find_files(struct ring *ring, struct err *err);
/* Of the newest file, synced. */
bool ring_close_file(struct ring *ring, struct err *err);
bool ring_drop_file(struct ring *ring, size_t index, struct err *err);
/* Somebody deleted the open file, perhaps with the directory: what is written to it would vanish. */
bool ring_is_deleted(const struct ring *ring);
void ring_sync_directory(const struct ring *ring);

#endif
