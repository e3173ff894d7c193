/*
 * agent/spool/spool.h: what stands between sources and outputs. Sources append finished lines, each output reads them at
 * its own pace, and a segment is freed when every output has passed it. Appending gives a sequence number; when the spool
 * says that sequence is durable, the acknowledgement of the message may go out.
 *
 * The spool also keeps the ledger: every message that a source received is accounted for here, under one lock, so that at
 * any moment and for each output
 *     received = stored + dead-lettered + filtered + dropped + pending          (in messages)
 * A record is what one message became for a set of outputs; a batch holds whole records, so it can be counted in messages.
 */
#ifndef HELIOGRAF_SPOOL_SPOOL_H
#define HELIOGRAF_SPOOL_SPOOL_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/message.h"
#include "agent/base/metric.h"

#define SPOOL_OUTPUTS_MAX 64

enum spool_when_full { SPOOL_DROP_OLDEST, SPOOL_DROP_NEWEST, SPOOL_BLOCK, SPOOL_THIN };
/* When a message is durable: never on disk at all; once fdatasync returned; once write returned, synced every `interval_ns`. */
enum spool_sync { SPOOL_MEMORY, SPOOL_COMMIT, SPOOL_INTERVAL };
enum spool_order { SPOOL_OLDEST_FIRST, SPOOL_LIVE_FIRST };

struct file_ops;

/* Zeroed is fine for everything that is not explained otherwise. Nothing is kept of it but copies. */
struct spool_options {
    uint64_t max_bytes; /* hard, of everything in the directory; 1 MiB and up */
    enum spool_when_full when_full;
    unsigned outputs; /* 1..SPOOL_OUTPUTS_MAX */
    enum spool_sync sync;
    const char *directory;           /* on disk: exists, and is nobody else's */
    const char *const *output_names; /* on disk: who is who when the outputs have changed; all different */
    int64_t commit_delay_ns;         /* a commit waits so long for more, to write less often */
    int64_t interval_ns;             /* SPOOL_INTERVAL; 0: 1 s */
    int64_t max_age_ns;              /* older records are dropped; 0: none */
    uint64_t min_free;               /* bytes of the filesystem that stay free of us */
    enum spool_order order;
    unsigned live_percent;           /* SPOOL_LIVE_FIRST: of a batch, at most, while a backlog waits too; 0: 80 */
    /* For tests: 0 and NULL take the ordinary ones. */
    const struct file_ops *file_ops;
    size_t segment_bytes, chunk_bytes;
    uint64_t memory_bytes;           /* what may wait for the disk, at most */
    int64_t retry_ns;                /* between tries of a disk that fails */
    int64_t patience_ns;             /* readers' with a disk that says nothing */
};

struct spool;

/*
 * On disk: takes the directory over from its last user, with everything in it that can be read, in the order it was appended; damage is
 * counted and set aside, never a reason to refuse. NULL when the directory cannot be used at all, with words that say what to do.
 */
struct spool *spool_new(const struct spool_options *options, struct err *err);
/* After all readers have returned: makes the last of it durable, tells so, and ends the commit thread; nobody is told anything after that. NULL and again are fine. */
void spool_stop(struct spool *spool);
/* Stops it first; NULL is fine. On disk, what was not settled stays there for the next run. */
void spool_free(struct spool *spool);

/* Memory that a spool with these options takes at most. */
uint64_t spool_memory_max(const struct spool_options *options);

/* What the directory held at the start. */
struct spool_recovery {
    uint64_t messages, records; /* that wait again */
    uint64_t bytes, segments;
    uint64_t damaged_bytes;     /* neither frames nor blank, in the middle: copied to damaged-*.bin files */
    uint64_t lost_records;      /* sequence numbers that a frame was written for, and that are not there any more */
    uint64_t torn_bytes;        /* behind the last frame: never acknowledged */
    uint64_t foreign_files, foreign_segments; /* left alone: not ours by name; of another spool or another format */
    uint64_t orphans;           /* records for outputs that the configuration does not have any more: dropped */
    bool without_checkpoint;    /* what was settled is not known: all of it is sent again */
    int64_t duration_ns;
};
void spool_recovered(const struct spool *spool, struct spool_recovery *recovery);
/*
 * Where the newest messages in the directory came from, in their order, whether they wait or were delivered before: the broker may not
 * have seen our acknowledgement for them and may send them again. How many; 0 in memory. Valid until spool_forget_origins.
 */
size_t spool_origins(const struct spool *spool, const struct message_origin **origins);
void spool_forget_origins(struct spool *spool);

/* True while the disk refuses: nothing new is acknowledged, outputs are served from memory. `why` (may be NULL) gets the words. */
bool spool_degraded(struct spool *spool, struct err *why);

/* One message's lines for the outputs in the bit set. */
struct spool_record {
    uint64_t outputs; /* bit i: output i */
    uint32_t lines;   /* in `text`, each ended by '\n' */
    struct str topic, text;
    struct message_origin origin; /* of the message; in its first record only */
};

/* What else can become of a message that a source received; reasons are the ledger's columns. */
enum spool_fate {
    FATE_STORED,        /* per output */
    FATE_DEAD_LETTERED, /* at ingest, or per output */
    FATE_FILTERED,      /* the configuration wants none of it (there, or for this output) */
    FATE_DROPPED_FULL,  /* the spool's limit was reached */
    FATE_DROPPED_SHUTDOWN, /* left when shutdown_timeout ended: only without a durable spool */
    FATE_RETURNED,      /* not taken and not acknowledged: the broker keeps it */
    FATE_EXPIRED,       /* older than max_age */
    FATE_DAMAGED,       /* was on disk, and cannot be read any more */
    FATE_EARLIER,       /* recovered, and had ended for this output before the restart */
    FATE_COUNT,
};
const char *spool_fate_name(enum spool_fate fate);

enum spool_result { SPOOL_APPENDED, SPOOL_DROPPED, SPOOL_REFUSED };

/* What becomes of a message that there is no room for. */
enum spool_claim {
    SPOOL_LAST_CHANCE,    /* it is gone */
    SPOOL_ACKNOWLEDGED,   /* its sender waits for the acknowledgement, and has it until then */
    SPOOL_SENDER_CAN_WAIT, /* nobody waits for word of it, but its sender can be held up for a moment, not for long */
};

/*
 * Accounts for one received message and keeps its records, all or none. The output sets of one message's records are disjoint: an output
 * gets one record of a message, or none, so that its messages can be counted. Any thread; no I/O. `*sequence` becomes what must be
 * durable before the acknowledgement. SPOOL_DROPPED: no room under drop_newest, or not SPOOL_ACKNOWLEDGED under block; counted as
 * dropped. SPOOL_REFUSED, counted as returned: no room under block and SPOOL_ACKNOWLEDGED; or there is room on a disk that works, but the
 * disk is behind by all the memory there is, and it is not the last chance. Outputs in no record count as filtered.
 */
enum spool_result spool_append(struct spool *spool, const struct spool_record *records, size_t count, enum spool_claim claim,
                               uint64_t *sequence);

/*
 * As spool_append, for a message that can wait where it is: without room to spare nothing is dropped for it, and nothing accounted.
 * False: come again later.
 */
bool spool_offer(struct spool *spool, const struct spool_record *records, size_t count, uint64_t *sequence);

/* Whether everything up to `sequence` has ended for these outputs (a bit set). */
bool spool_is_settled(struct spool *spool, uint64_t outputs, uint64_t sequence);

/* Accounts for one received message that leaves nothing: dead-lettered or filtered at ingest, for every output. */
void spool_account(struct spool *spool, enum spool_fate fate);

/*
 * The same for one that is to be acknowledged when what it became is safe elsewhere (spool_before_promise; it is there already): an empty
 * record holds its place, with its origin. `*sequence` as for spool_append. Without room for the record it waits for safety itself, and
 * the sequence is 0.
 */
void spool_account_safely(struct spool *spool, enum spool_fate fate, const struct message_origin *origin, uint64_t *sequence);

/*
 * What else the spool's promises rest on: dead letters. `make_safe` is called before a message of spool_account_safely may be acknowledged,
 * and before the disk learns that outputs have done with something; it returns when all that was put there before the call is as safe as it
 * will be. Mostly on the commit thread, from several at once, never under the lock. Set once, before the first append; valid until
 * spool_free has returned.
 */
void spool_before_promise(struct spool *spool, void (*make_safe)(void *ctx), void *ctx);

/* Everything up to here may be acknowledged. Under `block` it stays behind while the spool is over its limit. */
uint64_t spool_durable(struct spool *spool);
/* Called on every advance of it, never under the spool's lock; set once, before the first append. Must not block. */
void spool_on_durable(struct spool *spool, void (*notify)(void *ctx, uint64_t sequence), void *ctx);

/* When a batch is ready for a reader. */
struct spool_flush {
    uint32_t max_lines;      /* per batch; a single larger record still goes, alone */
    uint64_t max_bytes;
    uint32_t early_lines;    /* a waiting reader takes as soon as so many are there */
    int64_t max_age_ns;      /* ... or the oldest is this old */
};

/* A reader's piece of the spool: whole records, oldest first, or live ones and then a stretch of backlog. Copied out; reused from call to call. */
struct spool_batch_record {
    uint32_t first_line, lines;
    uint32_t topic_offset, topic_len; /* in `topics` */
    int64_t appended_ns;
};
struct spool_batch {
    struct buf lines;  /* all text, in order */
    struct buf topics;
    struct spool_batch_record *records;
    size_t record_count, record_cap;
    uint32_t *line_ends; /* as struct request's */
    size_t line_count, line_cap;
    bool more; /* behind a full batch more waits already, or with live_first there is backlog in it: it can wait longer than fresh points */
    int64_t live_only_until_ns; /* the reader's wish, monotonic: with live_first no backlog before */
    uint64_t ticket; /* the spool's own */
};
void spool_batch_init(struct spool_batch *batch);
void spool_batch_release(struct spool_batch *batch);

/*
 * Waits until a batch is ready, takes it, returns true. On disk, what somebody waits for is taken only when it is as safe as `sync` says, or
 * the disk fails: what a crash can take from us must not be in the database, or the broker's second try would be a second point. False: the
 * spool is closing and nothing is left for this output, or spool_interrupt was called. What is taken stays pending until it is settled. One
 * or more threads per output.
 */
bool spool_take(struct spool *spool, unsigned output, const struct spool_flush *flush, struct spool_batch *batch);

/*
 * The end of a batch for this output: how its messages and lines ended. messages[] must add up to record_count. On disk, those
 * that are given as dropped_shutdown stay pending, for the next run.
 */
struct spool_settlement {
    uint64_t messages[FATE_COUNT], lines[FATE_COUNT];
};
void spool_settle(struct spool *spool, unsigned output, struct spool_batch *batch, const struct spool_settlement *how);

void spool_flush_now(struct spool *spool);  /* readers take what is there, however little, and go on doing so */
void spool_close(struct spool *spool);      /* no more appends; spool_take returns false when nothing is left */
/* spool_take returns false at once. What is unread counts as dropped_shutdown in memory, and stays pending on disk. */
void spool_interrupt(struct spool *spool);

/* One consistent picture, taken under the lock. */
struct spool_output_figures {
    uint64_t messages[FATE_COUNT], lines[FATE_COUNT];
    uint64_t pending_messages, pending_lines, pending_bytes;
    int64_t oldest_ns; /* when the oldest pending one was appended (real time); 0: nothing is pending */
};
struct spool_figures {
    uint64_t received; /* messages accounted for, those recovered at the start among them */
    uint64_t recovered;
    uint64_t bytes, max_bytes, segments;
    uint64_t memory_bytes;                  /* of the log, that stand in memory */
    uint64_t commits, committed_bytes;      /* writes that made something durable */
    uint64_t disk_errors;
    bool on_disk, degraded;
    uint64_t appended_sequence, durable_sequence;
    unsigned outputs;
    struct spool_output_figures output[SPOOL_OUTPUTS_MAX];
};
void spool_figures(struct spool *spool, struct spool_figures *figures);

/* The ledger as metrics; `names[i]` labels output i. metric_source.collect with ctx = struct spool_metrics *. */
struct spool_metrics {
    struct spool *spool;
    const char *const *names;
};
void spool_collect(void *metrics, const struct metric_writer *writer);

#endif
