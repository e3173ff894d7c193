/*
 * outputs/gzip.h: compresses request bodies. The only user of libdeflate. Level 1: 5.5 times smaller at 400 MB/s on
 * line protocol. One owner, one thread.
 */
#ifndef HELIOGRAF_OUTPUTS_GZIP_H
#define HELIOGRAF_OUTPUTS_GZIP_H

#include "agent/base/buf.h"

struct gzip;

struct gzip *gzip_new(void);      /* NULL without memory */
void gzip_free(struct gzip *gzip); /* NULL is fine */

/* Replaces the content of `out` by one gzip member; false, with `out` empty, when its maximum or memory does not do. */
bool gzip_compress(struct gzip *gzip, struct str text, struct buf *out);

#endif
