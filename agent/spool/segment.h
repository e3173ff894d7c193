/*
 * agent/spool/segment.h: what the log is made of. A segment is what goes at once: its share of max_bytes, on disk one file, and
 * how much of it each output has and has read. A chunk is a stretch of the log in memory: frames of records, as they stand on
 * disk too. In memory only, a segment is one chunk; on disk the newest chunks are in memory and the rest is read from the file.
 * Nothing here is thread-safe: the spool's lock guards it.
 */
#ifndef HELIOGRAF_SPOOL_SEGMENT_H
#define HELIOGRAF_SPOOL_SEGMENT_H

#include "agent/spool/frame.h"

struct share {
    uint64_t messages, lines, bytes;
};

struct segment {
    struct segment *next;
    uint64_t number, generation, size;
    uint64_t first_sequence, last_sequence; /* 0: holds nothing yet */
    int64_t oldest_ns, newest_ns;           /* real time of its records */
    uint64_t reserved;  /* of the file, by closed frames; never less than they will take */
    uint64_t file_used; /* of the file: good frames end here */
    bool filed;         /* the file is there */
    bool mapped;        /* from an earlier run: `bit` says which bit of a record is which output's */
    unsigned thinned;
    int64_t retired_ns; /* monotonic: when it was taken out of the log */
    unsigned pins;      /* reads of the file that go on now; it must not be given to somebody else meanwhile */
    int8_t bit[SPOOL_OUTPUTS_MAX]; /* -1: not in it */
    struct share *total, *passed;  /* per output: what it has in here, and what of it was read, dropped or lost */
};

struct segment *segment_new(uint64_t size, unsigned outputs);
void segment_free(struct segment *segment); /* NULL is fine */

static inline uint64_t segment_set(const struct segment *segment, const struct record_head *head, unsigned outputs) {
    uint64_t set = 0;

    if (!segment->mapped)
        return head->outputs;
    for (unsigned i = 0; i < outputs; i++)
        if (segment->bit[i] >= 0 && head->outputs >> segment->bit[i] & 1)
            set |= UINT64_C(1) << i;
    return set;
}

static inline bool segment_is_for(const struct segment *segment, const struct record_head *head, unsigned output) {
    int bit = segment->mapped ? segment->bit[output] : (int)output;
    return bit >= 0 && head->outputs >> bit & 1;
}

#define NO_FRAME ((size_t)-1)

struct chunk {
    struct chunk *next;
    struct segment *segment;
    size_t size, used, open; /* open: where the frame begins that is being filled; NO_FRAME */
    bool open_written;       /* an earlier state of the open frame is on disk: it may fill its page and no more */
    uint64_t first_sequence, last_sequence; /* 0: empty */
    uint64_t file_start;     /* where its first frame is in the file; 0: not known yet */
    char *bytes;             /* mapped apart, so that freeing it gives the memory back at once */
};

struct chunk *chunk_new(size_t size);
void chunk_free(struct chunk *chunk); /* NULL is fine */
void chunk_reset(struct chunk *chunk, struct segment *segment);

static inline struct frame_header *chunk_frame(const struct chunk *chunk, size_t offset) {
    return (struct frame_header *)(void *)(chunk->bytes + offset);
}

/* Bytes of the open frame so far, its header included; 0 without one. */
static inline size_t chunk_open_len(const struct chunk *chunk) {
    return chunk->open != NO_FRAME ? chunk->used - chunk->open : 0;
}

/* The caller has checked that there is room. Opens a frame where none is open. */
void chunk_append(struct chunk *chunk, const struct spool_record *record, uint64_t sequence, bool same_message, int64_t now_ns);

/* Ends the open frame, if any: the next one begins on a page of its own. */
void chunk_close_frame(struct chunk *chunk);

#endif
