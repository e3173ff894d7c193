/*
 * agent/spool/scan.h: the frames of a segment file, one after the other, over whatever is damaged in between. One owner; memory of
 * one read-ahead, or of the largest frame met.
 */
#ifndef HELIOGRAF_SPOOL_SCAN_H
#define HELIOGRAF_SPOOL_SCAN_H

#include "agent/spool/store.h"

struct scan {
    uint64_t position; /* in the file: what comes next */
    const struct frame_header *frame; /* the last one found; valid until the next call */
    uint64_t bad;      /* bytes passed since then that were neither frames nor blank */
    uint64_t bad_from; /* where they began */
    bool failed;       /* the system could not read some of them */
    char *bytes;       /* read ahead: the file's [start, start + len) */
    size_t cap, len;
    uint64_t start;
};

void scan_begin(struct scan *scan, uint64_t position);
void scan_release(struct scan *scan); /* safe on a zeroed one */

enum scan_result { SCAN_FRAME, SCAN_END, SCAN_NO_MEMORY };
/* The next good frame that begins before `end`. */
enum scan_result scan_next(struct scan *scan, const struct file_ops *ops, int file, uint64_t generation, uint64_t end);

#endif
