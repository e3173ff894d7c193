/*
 * agent/delivery/dead_letter_ring.h: the files of the ring: numbered, appended to, the oldest deleted so that all
 * together stay below a limit. One owner, one thread.
 */
#ifndef HELIOGRAF_DELIVERY_DEAD_LETTER_RING_H
#define HELIOGRAF_DELIVERY_DEAD_LETTER_RING_H

#include "agent/base/err.h"
#include "agent/base/str.h"

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
    int fd;    /* of the newest file; -1: opened when needed */
    bool torn; /* the newest file does not end with a newline */
    bool unsynced;
};

/* Creates the directory, mode 0700, and finds the ring's files in it. */
bool ring_open(struct ring *ring, const char *directory, uint64_t max_bytes, struct err *err);
void ring_close(struct ring *ring);

/* Appends one line, with its newline, to the newest file, or nothing. ERR_LIMIT: longer than a file may be. */
bool ring_write(struct ring *ring, struct str line, struct err *err);
/* What was written survives a power cut after this. */
bool ring_sync(struct ring *ring, struct err *err);

/* The files of a ring, oldest first. Released with free(list->items). */
bool ring_list_files(const char *directory, struct ring_list *list, struct err *err);
/* False when the path does not fit. */
bool ring_path(char *path, size_t size, const char *directory, uint64_t number);

#endif
