/*
 * agent/status/page.h: the figures as one page for people: HTML without scripts or anything from elsewhere, with
 * relative links only, so that it works behind a proxy under any path. Says nothing that /metrics does not say.
 */
#ifndef HELIOGRAF_STATUS_PAGE_H
#define HELIOGRAF_STATUS_PAGE_H

#include "agent/base/buf.h"
#include "agent/status/snapshot.h"

struct page {
    const struct snapshot *snapshot;
    bool ready;
    struct str why; /* lines for people about readiness */
    int64_t now_ns; /* real time */
};

void page_write(const struct page *page, struct buf *out);

/* A figure as people read it, by the unit at the end of its metric's name: `1.5 MiB`, `250 ms`, `12 345`. */
void page_number(struct buf *out, const char *name, double value);

#endif
