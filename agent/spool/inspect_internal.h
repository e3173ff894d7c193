/* agent/spool/inspect_internal.h: what inspect.c, export.c and drop.c share. */
#ifndef HELIOGRAF_SPOOL_INSPECT_INTERNAL_H
#define HELIOGRAF_SPOOL_INSPECT_INTERNAL_H

#include "agent/spool/inspect.h"
#include "agent/spool/spool_internal.h"

/* A directory as a start would find it, without a thread and without a trace. */
struct looker {
    struct spool *spool; /* after look_read: its segments, its report, its names */
    struct file_ops ops;
};

/* Reads all of it. False with `err`. look_end in any case. */
bool look_read(struct looker *looker, const char *directory, const struct recovery_watch *watch, struct err *err);
void look_end(struct looker *looker);

/* The number of the output with this name; -1 with `err`, which lists those that there are. */
int look_output(const struct spool *spool, const char *name, struct err *err);
/* Of a record: bit i, output i of the directory. */
static inline uint64_t look_pending(uint64_t set, uint64_t sequence, const uint64_t *settled) {
    for (uint64_t left = set; left != 0; left &= left - 1) {
        unsigned output = (unsigned)__builtin_ctzll(left);
        if (sequence <= settled[output])
            set &= ~(UINT64_C(1) << output);
    }
    return set;
}

/* The next record of a frame that was not seen before; NULL behind the last. `walk` begins as { frame }. */
struct look_walk {
    const struct frame_header *frame;
    size_t offset;
    uint64_t sequence;
};
const struct record_head *look_next(struct look_walk *walk, uint64_t seen);

#endif
