/*
 * agent/delivery/lines.h: a file line by line, whatever is in it, in bounded memory.
 */
#ifndef HELIOGRAF_DELIVERY_LINES_H
#define HELIOGRAF_DELIVERY_LINES_H

#include "agent/base/buf.h"

enum line_piece {
    LINE_WHOLE,    /* without its newline; may be empty */
    LINE_TORN,     /* the last one, whose newline is missing; never empty */
    LINE_PART,     /* of one that is longer than `max`: more of it follows */
    LINE_PART_END, /* the last of it, with a newline behind it; may be empty */
    LINE_PART_TORN,
};

enum lines_end { LINES_ALL, LINES_ENOUGH, LINES_FAILED /* errno says why */ };

/* Reads `file` from where it stands; `each` returns false when it has seen enough. */
enum lines_end lines_read(int file, size_t max, bool (*each)(void *ctx, struct str text, enum line_piece piece), void *ctx);

#endif
