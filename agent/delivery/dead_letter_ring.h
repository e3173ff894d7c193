/*
 * agent/delivery/dead_letter_ring.h: the files of the ring: numbered, appended to, the oldest deleted so that all
 * together stay below a limit. What is in the files is what there is: a letter that was replayed or purged is taken out
 * of its file. Only the owner of the directory's lock writes; one owner, one thread. Anybody may read meanwhile.
 */
#ifndef HELIOGRAF_DELIVERY_DEAD_LETTER_RING_H
#define HELIOGRAF_DELIVERY_DEAD_LETTER_RING_H

#include "agent/base/err.h"
#include "agent/base/str.h"

enum { RING_LINE_MAX = 8 << 20 }; /* longer lines are no letters */

struct ring_file {
    uint64_t number, bytes;
};

struct ring_list {
    struct ring_file *items; /* by number */
    size_t count, cap;
};

struct ring {
    char *directory;
    uint64_t max_bytes, file_max, bytes; /* of all files, of one, and held now */
    struct ring_list files;
    uint64_t next_number; /* of the next file, as long as the ring is open */
    int lock;  /* the directory, locked; -1: not yet, or its filesystem knows no locks */
    int fd;    /* of the newest file; -1: opened when needed */
    bool torn; /* the newest file does not end with a newline */
    bool unsynced;
};

/* Creates the directory, mode 0700, locks it, and finds the ring's files in it. ERR_FULL: somebody else has the lock. */
bool ring_open(struct ring *ring, const char *directory, uint64_t max_bytes, struct err *err);
void ring_close(struct ring *ring);

/* Whether somebody has the ring open for writing now: an agent, or a purge. False also when that cannot be known. */
bool ring_in_use(const char *directory);

/* Appends one line, with its newline, to the newest file, or nothing. ERR_LIMIT: longer than a file may be. */
bool ring_write(struct ring *ring, struct str line, struct err *err);
/* What was written survives a power cut after this. */
bool ring_sync(struct ring *ring, struct err *err);

/* How a letter is known, from its line without the newline: two letters have the same id when they are the same, to the byte. */
uint64_t ring_letter_id(struct str line);

/*
 * Takes letters out, those that `gone` says so of: their files are written anew beside the old ones and then renamed,
 * so that at any moment all that stay are there. Torn and foreign lines stay. What was done before a failure is done:
 * `removed` counts it.
 */
bool ring_remove(struct ring *ring, bool (*gone)(void *ctx, uint64_t id), void *ctx, uint64_t *removed, struct err *err);

/* The files of a ring, oldest first. Released with free(list->items). */
bool ring_list_files(const char *directory, struct ring_list *list, struct err *err);
/* False when the path does not fit. */
bool ring_path(char *path, size_t size, const char *directory, uint64_t number);

#endif
