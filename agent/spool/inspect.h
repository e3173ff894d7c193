/*
 * agent/spool/inspect.h: a spool's directory for people and scripts: what is in it, what of it is damaged, its lines. It is read
 * as a start would read it, by the start's own code, over file operations that change nothing; no lock is taken. So it may run beside
 * an agent, and on a copy on another machine. Blocking; one thread.
 *
 * Beside an agent: what waits is what waits as of the checkpoint, which lags a second at most; messages that are in memory only are not
 * seen; segments that are let go meanwhile are passed over; damage is reported when it is there at every one of several looks.
 */
#ifndef HELIOGRAF_SPOOL_INSPECT_H
#define HELIOGRAF_SPOOL_INSPECT_H

#include "agent/spool/format.h"
#include "agent/spool/spool.h"

enum inspect_state {
    INSPECT_PENDING,    /* something in it waits for an output */
    INSPECT_SETTLED,    /* nothing does */
    INSPECT_FOREIGN,    /* of another spool, or of another version of the format: left alone */
    INSPECT_UNREADABLE, /* neither a header nor a frame in it */
};

struct inspect_segment {
    uint64_t number, generation, file_bytes;
    uint64_t first_sequence, last_sequence; /* 0: no record */
    uint64_t frames, records;
    int64_t oldest_ns, newest_ns;
    uint64_t pending_outputs; /* bit i: outputs[i] */
    unsigned thinned, version; /* version 0: it has no header */
    enum inspect_state state;
};

struct inspect_output {
    char name[OUTPUT_NAME_MAX + 1]; /* a longer name is cut */
    uint64_t hash;                  /* format_hash of the whole name */
    uint64_t settled;               /* sequence */
    uint64_t messages, lines, bytes; /* that wait */
    int64_t oldest_ns;              /* when the oldest of them came; 0: nothing waits */
};

struct inspect_range {
    uint64_t number, from, to; /* bytes [from, to) of segment `number` */
};

struct inspection {
    bool in_use; /* an agent, or a drop, has the directory's lock */
    struct inspect_output outputs[SPOOL_OUTPUTS_MAX];
    unsigned output_count;
    struct inspect_segment *segments; /* by number */
    size_t segment_count, segment_cap;
    struct inspect_range *damaged;
    size_t damaged_count, damaged_cap;
    uint64_t bytes;        /* of all segment files */
    uint64_t frames, records;
    uint64_t lost_records; /* acknowledged once, and gone: as many as can be proven, as recovery counts them */
    uint64_t torn_bytes;   /* a write that was cut off at the end: never acknowledged, no damage */
    bool without_checkpoint, out_of_memory;
};

struct inspect_options {
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t all_bytes); /* may be NULL */
    void *ctx;
};

/* False with `err`: the directory cannot be read at all. `inspection` is good for inspection_release either way. */
bool spool_inspect(const char *directory, const struct inspect_options *options, struct inspection *inspection, struct err *err);
void inspection_release(struct inspection *inspection);
bool inspection_is_damaged(const struct inspection *inspection);

/* Lines of the spool, in the order in which they were appended. */
struct export_options {
    const char *output;        /* lines for this one; NULL: for any, a line that several share once */
    int64_t since_ns, until_ns; /* of the message's arrival in the spool, [since, until); 0: no bound */
    bool pending_only;         /* what an output still waits for (or, with `output`, that one) */
    bool (*write)(void *ctx, struct str lines); /* false: enough */
    void *ctx;
};

struct exported {
    uint64_t records, lines;
    uint64_t lost_records, damaged_bytes; /* that were passed over */
};

/*
 * Only what is on disk is given out: beside an agent, each file is synced before its last lines are. False with `err`: the directory
 * cannot be read, or there is no such output. Ended early by `write`: true.
 */
bool spool_export(const char *directory, const struct export_options *options, struct exported *exported, struct err *err);

/* Throwing away, for good, what waits. */
struct drop_options {
    const char *output; /* NULL: for all */
    int64_t before_ns;  /* only up to the first record that came at or after that time; 0: all */
};

struct dropped {
    struct inspect_output outputs[SPOOL_OUTPUTS_MAX]; /* what was thrown away of each */
    unsigned output_count;
    uint64_t segments, bytes; /* files that are gone with it */
};

/* Takes the lock. ERR_FULL: an agent has it. False with `err`: nothing was dropped, or the files could not be removed yet. */
bool spool_drop(const char *directory, const struct drop_options *options, struct dropped *dropped, struct err *err);

#endif
