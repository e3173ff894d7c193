/*
 * agent/spool/spool_internal.h: what the spool's files share: the spool itself. Nobody else includes this.
 *   spool.c    birth, death, figures           log.c      segments and chunks: room, appending, dropping, letting go
 *   lane.c     how far an output has read      take.c     batches: taking, settling
 *   commit.c   the commit thread               disk.c     its writing: groups, failures    recover.c  the start
 */
#ifndef HELIOGRAF_SPOOL_SPOOL_INTERNAL_H
#define HELIOGRAF_SPOOL_SPOOL_INTERNAL_H

#include <pthread.h>

#include "agent/base/clock.h"
#include "agent/spool/ledger.h"
#include "agent/spool/scan.h"

enum {
    IN_FLIGHT_MAX = 64, /* batches per output: one per sender thread */
    RANGES_MAX = 16,    /* stretches of backlog per output, with live_first */
    RUNS_MAX = 64,      /* writes per group at most */
    RECORD_MAX = 1 << 30,
    ORIGINS_KEPT = 8192, /* more than a broker has in flight to one client */
};

/* Where an output reads: in a chunk, or in a frame that was read from a file. */
struct lane {
    struct segment *segment; /* NULL: the lane is not in use */
    struct chunk *chunk;     /* NULL: from the file */
    const struct frame_header *frame; /* from the file; NULL: to be read */
    uint64_t position, frame_position; /* in the file: of what comes next, and of the frame */
    size_t offset;           /* in the chunk, or in the frame */
    uint64_t at;         /* sequence of the last record walked over, read or not */
    uint64_t sequence;   /* all up to here is read, or not for this output */
    uint64_t limit;      /* records from here on are another lane's */
    struct scan scan;    /* belongs to the thread that is loading, while one is */
    bool loading;        /* a thread reads the file for it, without the lock */
    bool moved;          /* what was read ahead is of another place */
    unsigned moves;      /* so that this thread sees that the lane went elsewhere meanwhile */
};

/* A stretch of backlog: read later. */
struct range {
    struct segment *segment;
    uint64_t position, sequence, limit;
};

enum { LANE_MAIN, LANE_BACKLOG, LANES };

struct in_flight {
    uint64_t ticket; /* 0: free */
    struct {
        uint64_t first, last; /* sequences; UINT64_MAX and 0: nothing */
    } part[LANES];            /* what of it came from which lane */
    int64_t oldest_ns;
    bool kept; /* ended by the shutdown: stays unsettled */
};

struct cursor {
    struct lane lanes[LANES];
    struct range ranges[RANGES_MAX]; /* [0] is what the backlog lane reads, when has_backlog */
    unsigned range_count;
    bool backlog_owed; /* the last batch had no room for any of it */
    uint64_t unread_messages, unread_lines, unread_bytes;
    unsigned waiting, waiting_for_disk; /* readers; the second ones for the commit thread */
    uint32_t wake_lines; /* of the waiting reader with the smallest threshold */
    pthread_cond_t ready;
    struct in_flight in_flight[IN_FLIGHT_MAX];
};

/* The open frame, when an earlier state of it is on disk: its states go to two pages in turn, so that the last good one is never touched. */
struct slot {
    bool active;
    uint64_t base;             /* in the file: the first of the two pages */
    uint64_t synced_at;        /* page of the last synced state; 0: none */
    uint64_t latest_at;        /* page of the last written state */
    uint64_t safe;             /* as the frame's first state had it */
    uint32_t count;            /* records in the last written state */
};

/* Of the commit thread. The position and the slot change under the lock only. */
struct committer {
    struct chunk *chunk; /* first frame that is not wholly written: NULL: none was ever appended */
    size_t offset;
    struct slot slot;
    uint64_t written_last, synced_last; /* last sequence that is in a file, and that is safe there */
    uint64_t write_offset;     /* in the segment's file, for the next frame */
    struct segment *segment;   /* that `file` belongs to */
    int file;                  /* -1: none is open */
    uint64_t files;            /* made in this run */
    uint64_t unsynced_bytes;
    struct segment *suspect;   /* a write to its file failed, and where its records go now is not settled yet */
    int64_t synced_ns, checkpoint_ns, retry_ns, aged_ns;
    uint64_t checkpointed_batches; /* of spool.settled_batches */
    bool checkpoint_failed, retire_failed;
    unsigned failures;         /* in a row */
    char *page;                /* two: copies of open frames */
};

struct spool {
    pthread_mutex_t lock;
    struct spool_options options;
    bool disk;
    size_t segment_size, chunk_size;
    uint64_t limit;        /* of `bytes` */
    uint64_t memory_keep, memory_max; /* of `resident`: what is kept for readers, and what may wait for the disk */
    struct segment *first, *last, *retired;
    struct chunk *first_chunk, *last_chunk, *spare;
    uint64_t bytes, segments; /* of live segments */
    uint64_t resident;        /* bytes of chunks, the spare one not counted */
    uint64_t appended, wanted; /* sequences: given, and the last one that somebody waits for */
    uint64_t written, synced;  /* on their way to the disk, and there; in memory both follow `appended` */
    uint64_t durable;          /* told to everybody */
    uint64_t unwritten_bytes;
    int64_t first_unwritten_ns, first_wanted_ns; /* 0: none; monotonic */
    int64_t clock_offset_ns;   /* real minus monotonic time, at the start: records carry this sort of real time */
    uint64_t next_ticket, settled_batches;
    bool closing, interrupted, flushing, stopping, degraded, stalled, starved, thin_wanted, thinning;
    struct err trouble;
    uint64_t disk_errors, commits, committed_bytes;
    struct ledger ledger;
    struct cursor cursors[SPOOL_OUTPUTS_MAX];
    struct store store;
    struct committer committer;
    struct spool_recovery recovery;
    struct message_origin *origins; /* met at the start, until somebody has asked for them */
    size_t origin_count;
    pthread_t thread;
    pthread_cond_t commit;
    bool committer_waiting;
    void (*notify)(void *ctx, uint64_t sequence);
    void *notify_ctx;
    void (*make_safe)(void *ctx); /* NULL: nothing else counts */
    void *make_safe_ctx;
    uint64_t resting; /* the last sequence that stands for something that is kept elsewhere */
};

static inline int64_t spool_now_ns(const struct spool *spool) {
    return clock_mono_ns() + spool->clock_offset_ns;
}

/* A record from before 2020 was stamped by a machine that did not know the time: its age is not known either. */
static inline bool spool_is_expired(const struct spool *spool, int64_t appended_ns, int64_t now_ns) {
    const int64_t year_2020_ns = 1577836800 * NS_PER_S;
    return spool->options.max_age_ns > 0 && appended_ns >= year_2020_ns && now_ns - appended_ns > spool->options.max_age_ns;
}

/* With `thin`, joining begins while there is still room for what a source has in flight: nothing is acknowledged meanwhile. */
static inline bool is_short_of_room(const struct spool *spool) {
    uint64_t room = spool->limit / 8 < 4 << 20 ? spool->limit / 8 : 4 << 20;
    return spool->bytes + (room > 2 * spool->segment_size ? room : 2 * spool->segment_size) > spool->limit;
}

/*
 * What may be read now: records behind this sequence that somebody waits for (`wanted`) may still be lost, and their messages come again. A
 * disk that fails, or says nothing for seconds, holds nobody up.
 */
static inline uint64_t spool_safe(const struct spool *spool) {
    if (!spool->disk || spool->degraded || spool->stalled)
        return UINT64_MAX;
    return spool->options.sync == SPOOL_INTERVAL ? spool->written : spool->synced;
}

/* log.c; under the lock. */
bool log_begin(struct spool *spool, uint64_t next_sequence);
bool log_make_room(struct spool *spool, size_t size);
void log_append(struct spool *spool, const struct spool_record *record, bool same_message, int64_t now_ns);
void log_add_segment(struct spool *spool, struct segment *segment); /* at the end */
void log_release(struct spool *spool);  /* lets go what every output has done with */
void log_evict(struct spool *spool);    /* and from memory, what is on disk */
bool log_evict_segment(struct spool *spool, const struct segment *segment); /* true: none of it is in memory any more */
void log_drop_first(struct spool *spool, enum spool_fate fate);
void log_expire(struct spool *spool);
void log_close_frame(struct spool *spool);
struct chunk *log_new_chunk(struct spool *spool, size_t size, struct segment *segment);
void log_free_all(struct spool *spool);

/* lane.c; under the lock. */
enum lane_state { LANE_RECORD, LANE_EMPTY, LANE_MUST_LOAD };
enum lane_state lane_next(struct spool *spool, unsigned output, struct lane *lane, const struct record_head **head);
void lane_pass(struct spool *spool, unsigned output, struct lane *lane, const struct record_head *head);
void lane_to_chunk(struct lane *lane, struct chunk *chunk);
void lane_to_file(struct lane *lane, struct segment *segment, uint64_t position);
/* Unlocks while it reads. False: there was no memory. */
bool lane_load(struct spool *spool, struct lane *lane);
/* Every lane and range of the output that stands in the segment goes to what follows it. */
void lane_leave(struct spool *spool, unsigned output, struct segment *segment);
void lane_to_end(struct spool *spool, unsigned output);
/* What this output has not settled begins behind this sequence. */
uint64_t lane_settled(const struct spool *spool, unsigned output);
/* True while an output has backlog to be taken beside the live data. */
bool lane_has_backlog(struct spool *spool, unsigned output);
/* Some of the segment is in a batch that is not settled. */
bool lane_in_flight(const struct spool *spool, unsigned output, const struct segment *segment);
/* The unread of an output in a segment ends as `fate`. */
void lane_abandon(struct spool *spool, unsigned output, struct segment *segment, enum spool_fate fate);
/* With nothing left to read, what still counts as unread was lost on disk. */
void lane_give_up_lost(struct spool *spool, unsigned output);

/* commit.c */
void commit_make_safe(struct spool *spool); /* with the lock held; lets go of it meanwhile */
void *commit_thread(void *spool);
void commit_wake(struct spool *spool); /* under the lock */

/* disk.c: with the lock held; they let go of it for their I/O. */
void disk_commit(struct spool *spool, bool sync);
bool disk_sync(struct spool *spool);
void disk_retire(struct spool *spool, bool all);
/* Monotonic: when the segment's file may go. The last one stays a while: a crash may want to know whose messages were in it. */
int64_t disk_removable_ns(const struct spool *spool, const struct segment *segment);
void disk_checkpoint(struct spool *spool, bool sync);
void disk_skip_settled(struct spool *spool);

/* take.c: more of the log may be read than before; under the lock. */
void take_wake(struct spool *spool);

/*
 * recover.c: the start. With a watch it is a command that reads: the outputs are then those that the directory knows, and its
 * file_ops change nothing (inspect.c).
 */
struct recovery_watch {
    void *ctx;
    /* The outputs are known, up to where each is settled, and how many bytes will be read; false with `err`: enough. */
    bool (*begin)(void *ctx, const struct spool *spool, const uint64_t *settled, uint64_t bytes, struct err *err);
    /* A file's turn. `header` NULL: it has none that can be read; `segment` NULL: it is left alone. May be NULL. */
    void (*file)(void *ctx, uint64_t number, uint64_t size, const struct segment_header *header, const struct segment *segment);
    /* A good frame of the segment; its records up to sequence `seen` were met before. */
    void (*frame)(void *ctx, const struct segment *segment, const struct frame_header *frame, uint64_t seen);
    /* Bytes of a file that should be frames, and are not. May be NULL. */
    void (*damage)(void *ctx, uint64_t number, uint64_t from, uint64_t to);
};
bool recover(struct spool *spool, const struct recovery_watch *watch, struct err *err);

/* thin.c */
void thin_oldest(struct spool *spool);

#endif
