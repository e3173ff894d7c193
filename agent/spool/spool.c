/*
 * agent/spool/spool.c: the spool's face: birth, appending, ending, figures. One lock; appending copies into the newest chunk, taking
 * copies out, both are short and do no I/O. spool_internal.h says which file does what.
 */
#include "agent/spool/spool.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/spool/spool_internal.h"

enum {
    MEMORY_SEGMENT_MAX = 1024 * 1024,
    FILE_SEGMENT_MAX = 16 * 1024 * 1024,
    SEGMENTS_MIN = 8,    /* the limit is shared by at least so many, so that drop_oldest drops an eighth at most */
    THIN_SEGMENTS_MIN = 32, /* with fewer there are no two of equal thinness to join, and the oldest is halved again and again */
    THIN_SEGMENT_MIN = 64 * 1024,
    CHUNK_MAX = 256 * 1024, /* on disk: what one flipped bit can cost, and what a reader of the backlog holds */
    MEMORY_KEPT = 4 * 1024 * 1024,
    MEMORY_MAX = 64 * 1024 * 1024,
    OVERHEAD = 64 * 1024, /* of max_bytes: checkpoint, rounding, and what else stands in the directory */
    DEFAULT_LIVE_PERCENT = 80,
};

/* Appending. */

static size_t total_size(const struct spool_record *records, size_t count) {
    size_t size = 0;

    for (size_t i = 0; i < count && size < RECORD_MAX; i++) {
        if (records[i].text.len >= RECORD_MAX || records[i].topic.len > UINT16_MAX)
            return RECORD_MAX;
        size += record_size(&records[i]);
    }
    return size;
}

/* What the broker still has may come again when there is room, or when the disk works again. */
static bool is_returned(const struct spool *spool, enum spool_claim claim) {
    if (claim == SPOOL_SENDER_CAN_WAIT)
        return spool->starved && !spool->degraded && !spool->closing;
    return claim == SPOOL_ACKNOWLEDGED && (spool->options.when_full == SPOOL_BLOCK || spool->closing || spool->starved);
}

static enum spool_result turn_away(struct spool *spool, const struct spool_record *records, size_t count, enum spool_claim claim) {
    if (is_returned(spool, claim)) {
        spool->ledger.received++;
        spool->ledger.common[FATE_RETURNED]++;
        return SPOOL_REFUSED;
    }
    ledger_dropped(&spool->ledger, records, count);
    return SPOOL_DROPPED;
}

/* In memory only what will be acknowledged needs the commit thread's word; without a waiter in front it is durable as it stands. */
static void want_in_memory(struct spool *spool, bool acknowledged) {
    if (acknowledged) {
        spool->wanted = spool->appended;
        commit_wake(spool);
    } else if (spool->wanted <= spool->durable) {
        spool->durable = spool->written = spool->synced = spool->appended;
    }
}

static void want_on_disk(struct spool *spool, bool acknowledged, size_t size, int64_t now_ns) {
    const uint64_t eager = 1024 * 1024;
    bool wake = spool->unwritten_bytes == 0 || (spool->unwritten_bytes < eager && spool->unwritten_bytes + size >= eager);

    if (spool->unwritten_bytes == 0)
        spool->first_unwritten_ns = now_ns;
    spool->unwritten_bytes += size;
    if (acknowledged) {
        if (spool->first_wanted_ns == 0) {
            spool->first_wanted_ns = now_ns;
            wake = true;
        }
        spool->wanted = spool->appended;
    }
    if (wake)
        commit_wake(spool);
}

static void keep(struct spool *spool, const struct spool_record *records, size_t count, bool acknowledged, size_t size,
                 int64_t now_ns, uint64_t *sequence) {
    for (size_t i = 0; i < count; i++)
        log_append(spool, &records[i], i > 0, now_ns + spool->clock_offset_ns);
    *sequence = spool->appended;
    if (spool->disk)
        want_on_disk(spool, acknowledged, size, now_ns);
    else
        want_in_memory(spool, acknowledged);
}

enum spool_result spool_append(struct spool *spool, const struct spool_record *records, size_t count, enum spool_claim claim,
                               uint64_t *sequence) {
    size_t size = total_size(records, count);
    int64_t now_ns = clock_mono_ns();
    enum spool_result result = SPOOL_APPENDED;

    pthread_mutex_lock(&spool->lock);
    if (spool->closing || size >= RECORD_MAX || !log_make_room(spool, size)) {
        result = turn_away(spool, records, count, claim);
    } else {
        ledger_message(&spool->ledger, records, count);
        keep(spool, records, count, claim == SPOOL_ACKNOWLEDGED, size, now_ns, sequence);
    }
    pthread_mutex_unlock(&spool->lock);
    return result;
}

/* So that what is offered drives out nothing and brings nobody near the limit; into an empty spool goes what fits at all. */
static bool has_room_to_spare(struct spool *spool, size_t size) {
    uint64_t pending = 0;

    log_release(spool);
    for (unsigned i = 0; i < spool->options.outputs; i++)
        pending += spool->ledger.output[i].pending_messages;
    return pending == 0 || spool->bytes + 2 * (uint64_t)spool->segment_size + page_round(size) <= spool->limit;
}

bool spool_offer(struct spool *spool, const struct spool_record *records, size_t count, uint64_t *sequence) {
    size_t size = total_size(records, count);
    int64_t now_ns = clock_mono_ns();
    bool taken;

    pthread_mutex_lock(&spool->lock);
    taken = !spool->closing && size < RECORD_MAX && has_room_to_spare(spool, size) && log_make_room(spool, size);
    if (taken) {
        ledger_message(&spool->ledger, records, count);
        keep(spool, records, count, true, size, now_ns, sequence);
    }
    pthread_mutex_unlock(&spool->lock);
    return taken;
}

bool spool_is_settled(struct spool *spool, uint64_t outputs, uint64_t sequence) {
    bool settled = true;

    pthread_mutex_lock(&spool->lock);
    for (unsigned i = 0; i < spool->options.outputs; i++)
        if (outputs >> i & 1)
            settled = settled && lane_settled(spool, i) >= sequence;
    pthread_mutex_unlock(&spool->lock);
    return settled;
}

void spool_account(struct spool *spool, enum spool_fate fate) {
    pthread_mutex_lock(&spool->lock);
    spool->ledger.received++;
    spool->ledger.common[fate]++;
    pthread_mutex_unlock(&spool->lock);
}

void spool_account_safely(struct spool *spool, enum spool_fate fate, const struct message_origin *origin, uint64_t *sequence) {
    const struct spool_record nothing = { .topic = STR(""), .text = STR(""), .origin = *origin };
    size_t size = record_size(&nothing);
    int64_t now_ns = clock_mono_ns();

    *sequence = 0;
    pthread_mutex_lock(&spool->lock);
    spool->ledger.received++;
    spool->ledger.common[fate]++;
    if (!spool->closing && log_make_room(spool, size)) {
        keep(spool, &nothing, 1, true, size, now_ns, sequence);
        spool->resting = *sequence;
    } else {
        commit_make_safe(spool);
    }
    pthread_mutex_unlock(&spool->lock);
}

uint64_t spool_durable(struct spool *spool) {
    uint64_t durable;

    pthread_mutex_lock(&spool->lock);
    durable = spool->durable;
    pthread_mutex_unlock(&spool->lock);
    return durable;
}

void spool_on_durable(struct spool *spool, void (*notify)(void *ctx, uint64_t sequence), void *ctx) {
    pthread_mutex_lock(&spool->lock);
    spool->notify = notify;
    spool->notify_ctx = ctx;
    pthread_mutex_unlock(&spool->lock);
}

void spool_before_promise(struct spool *spool, void (*make_safe)(void *ctx), void *ctx) {
    pthread_mutex_lock(&spool->lock);
    spool->make_safe = make_safe;
    spool->make_safe_ctx = ctx;
    pthread_mutex_unlock(&spool->lock);
}

/* Ending. */

static void wake_everybody(struct spool *spool) {
    for (unsigned i = 0; i < spool->options.outputs; i++)
        pthread_cond_broadcast(&spool->cursors[i].ready);
    pthread_cond_signal(&spool->commit);
}

void spool_flush_now(struct spool *spool) {
    pthread_mutex_lock(&spool->lock);
    spool->flushing = true;
    wake_everybody(spool);
    pthread_mutex_unlock(&spool->lock);
}

void spool_close(struct spool *spool) {
    pthread_mutex_lock(&spool->lock);
    spool->closing = true;
    wake_everybody(spool);
    pthread_mutex_unlock(&spool->lock);
}

void spool_interrupt(struct spool *spool) {
    pthread_mutex_lock(&spool->lock);
    spool->closing = spool->interrupted = true;
    if (!spool->disk) {
        for (struct segment *segment = spool->first; segment != NULL; segment = segment->next)
            for (unsigned i = 0; i < spool->options.outputs; i++)
                lane_abandon(spool, i, segment, FATE_DROPPED_SHUTDOWN);
        log_release(spool);
    }
    wake_everybody(spool);
    pthread_mutex_unlock(&spool->lock);
}

/* Figures. */

static int64_t oldest_pending_ns(struct spool *spool, unsigned output) {
    struct cursor *cursor = &spool->cursors[output];
    struct lane *lane = &cursor->lanes[cursor->range_count > 0 ? LANE_BACKLOG : LANE_MAIN];
    const struct record_head *head;
    int64_t oldest_ns = INT64_MAX;

    if (cursor->unread_messages > 0) {
        bool known = !lane->loading && lane_next(spool, output, lane, &head) == LANE_RECORD;
        oldest_ns = (known ? head->appended_ns : lane->segment->oldest_ns) - spool->clock_offset_ns;
    }
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        if (cursor->in_flight[i].ticket != 0 && cursor->in_flight[i].oldest_ns < oldest_ns)
            oldest_ns = cursor->in_flight[i].oldest_ns;
    return oldest_ns;
}

void spool_figures(struct spool *spool, struct spool_figures *figures) {
    int64_t real_ns = clock_real_ns(), mono_ns = clock_mono_ns();

    pthread_mutex_lock(&spool->lock);
    *figures = (struct spool_figures){ .max_bytes = spool->options.max_bytes, .segments = spool->segments };
    ledger_figures(&spool->ledger, figures);
    figures->bytes = spool->bytes - spool->last->size;
    figures->bytes += spool->disk ? spool->last->reserved + chunk_open_len(spool->last_chunk) : spool->last_chunk->used;
    figures->memory_bytes = spool->resident;
    figures->appended_sequence = spool->appended;
    figures->durable_sequence = spool->durable;
    figures->commits = spool->commits;
    figures->committed_bytes = spool->committed_bytes;
    figures->disk_errors = spool->disk_errors;
    figures->on_disk = spool->disk;
    figures->degraded = spool->degraded;
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        int64_t oldest_ns = oldest_pending_ns(spool, i);
        figures->output[i].oldest_ns = oldest_ns != INT64_MAX ? real_ns - (mono_ns - oldest_ns) : 0;
    }
    pthread_mutex_unlock(&spool->lock);
}

bool spool_degraded(struct spool *spool, struct err *why) {
    bool degraded;

    pthread_mutex_lock(&spool->lock);
    degraded = spool->degraded;
    if (why != NULL)
        *why = spool->trouble;
    pthread_mutex_unlock(&spool->lock);
    return degraded;
}

void spool_recovered(const struct spool *spool, struct spool_recovery *recovery) {
    *recovery = spool->recovery;
}

size_t spool_origins(const struct spool *spool, const struct message_origin **origins) {
    *origins = spool->origins;
    return spool->origin_count;
}

void spool_forget_origins(struct spool *spool) {
    free(spool->origins);
    spool->origins = NULL;
    spool->origin_count = 0;
}

/* Birth and death. */

static bool init_conditions(struct spool *spool) {
    pthread_condattr_t monotonic;
    bool fine = true;

    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    for (unsigned i = 0; i < spool->options.outputs; i++)
        fine = pthread_cond_init(&spool->cursors[i].ready, &monotonic) == 0 && fine;
    fine = pthread_cond_init(&spool->commit, &monotonic) == 0 && fine;
    pthread_condattr_destroy(&monotonic);
    return fine;
}

static size_t at_most(uint64_t size, size_t most) {
    return (size_t)(size < most ? size : most) & ~(size_t)(PAGE - 1);
}

static size_t choose_segment_size(const struct spool_options *options, uint64_t room, size_t most) {
    size_t ordinary = at_most(room / SEGMENTS_MIN, most), thin = at_most(room / THIN_SEGMENTS_MIN, most);

    if (options->when_full != SPOOL_THIN)
        return ordinary;
    return thin < THIN_SEGMENT_MIN ? at_most(ordinary, THIN_SEGMENT_MIN) : thin;
}

static void choose_sizes(struct spool *spool) {
    const struct spool_options *options = &spool->options;

    if (!spool->disk) {
        spool->segment_size = spool->chunk_size = choose_segment_size(options, options->max_bytes, MEMORY_SEGMENT_MAX);
        spool->limit = options->max_bytes;
        spool->memory_keep = spool->memory_max = UINT64_MAX;
        return;
    }
    spool->segment_size = options->segment_bytes;
    if (spool->segment_size == 0)
        spool->segment_size = choose_segment_size(options, options->max_bytes - OVERHEAD, FILE_SEGMENT_MAX);
    spool->chunk_size = options->chunk_bytes;
    if (spool->chunk_size == 0)
        spool->chunk_size = at_most(spool->segment_size / 4, CHUNK_MAX);
    /* One segment's worth stays free: for the spare file, and for what has to be written elsewhere. */
    spool->limit = options->max_bytes - OVERHEAD - spool->segment_size;
    spool->memory_max = options->memory_bytes != 0 ? options->memory_bytes : MEMORY_MAX;
    spool->memory_keep = spool->memory_max < MEMORY_KEPT ? spool->memory_max / 2 : MEMORY_KEPT;
}

uint64_t spool_memory_max(const struct spool_options *options) {
    if (options->sync == SPOOL_MEMORY)
        return options->max_bytes;
    uint64_t waiting = options->memory_bytes != 0 ? options->memory_bytes : MEMORY_MAX;
    return (waiting < options->max_bytes ? waiting : options->max_bytes) + options->outputs * 2 * (uint64_t)CHUNK_MAX;
}

static bool check(const struct spool_options *options, struct err *err) {
    if (options->outputs == 0 || options->outputs > SPOOL_OUTPUTS_MAX)
        return err_set(err, ERR_LIMIT, "the spool serves 1 to %d outputs, not %u", SPOOL_OUTPUTS_MAX, options->outputs);
    if (options->max_bytes < 1024 * 1024)
        return err_set(err, ERR_LIMIT, "the spool needs max_bytes of 1MiB or more");
    return true;
}

static void fill_in_defaults(struct spool_options *options) {
    if (options->file_ops == NULL)
        options->file_ops = &file_ops_system;
    if (options->interval_ns == 0)
        options->interval_ns = NS_PER_S;
    if (options->retry_ns == 0)
        options->retry_ns = 10 * NS_PER_S;
    if (options->patience_ns == 0)
        options->patience_ns = 5 * NS_PER_S;
    if (options->live_percent == 0 || options->live_percent > 100)
        options->live_percent = DEFAULT_LIVE_PERCENT;
}

static bool open_on_disk(struct spool *spool, struct err *err) {
    struct store *store = &spool->store;
    const struct spool_options *options = &spool->options;

    spool->committer.page = calloc(2, PAGE);
    if (spool->committer.page == NULL)
        return err_set(err, ERR_LIMIT, "no memory for the spool");
    if (!store_open(store, options->directory, options->file_ops, err))
        return false;
    store->file_size = spool->segment_size;
    store->min_free = options->min_free;
    store->outputs = options->outputs;
    for (unsigned i = 0; i < options->outputs; i++) {
        char number[24];
        snprintf(number, sizeof number, "output-%u", i);
        const char *name = options->output_names != NULL ? options->output_names[i] : number;
        store->names[i].hash = format_hash(name);
        format_name(store->names[i].name, name);
    }
    return recover(spool, NULL, err);
}

static void release(struct spool *spool) {
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        pthread_cond_destroy(&spool->cursors[i].ready);
        for (int j = 0; j < LANES; j++)
            scan_release(&spool->cursors[i].lanes[j].scan);
    }
    pthread_cond_destroy(&spool->commit);
    pthread_mutex_destroy(&spool->lock);
    if (spool->committer.file >= 0)
        spool->store.ops->close(spool->store.ops->ctx, spool->committer.file);
    store_close(&spool->store);
    log_free_all(spool);
    free(spool->origins);
    free(spool->committer.page);
    free(spool);
}

static bool begin(struct spool *spool, struct err *err) {
    uint64_t next_sequence = 1;

    if (spool->disk) {
        if (!open_on_disk(spool, err))
            return false;
        next_sequence = spool->appended + 1;
    }
    if (!log_begin(spool, next_sequence))
        return err_set(err, ERR_LIMIT, "no memory for the spool");
    spool->committer.chunk = spool->first_chunk;
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        struct lane *lane = &spool->cursors[i].lanes[LANE_MAIN];
        lane->limit = UINT64_MAX;
        if (lane->segment == NULL)
            lane_to_end(spool, i);
    }
    log_release(spool);
    return true;
}

struct spool *spool_new(const struct spool_options *options, struct err *err) {
    struct spool *spool;

    if (!check(options, err))
        return NULL;
    spool = calloc(1, sizeof *spool);
    if (spool == NULL) {
        err_set(err, ERR_LIMIT, "no memory for the spool");
        return NULL;
    }
    spool->options = *options;
    fill_in_defaults(&spool->options);
    spool->disk = options->sync != SPOOL_MEMORY;
    spool->committer.file = spool->store.directory = spool->store.checkpoint = -1;
    spool->ledger.outputs = options->outputs;
    spool->clock_offset_ns = clock_real_ns() - clock_mono_ns();
    spool->committer.aged_ns = spool->committer.synced_ns = spool->committer.checkpoint_ns = clock_mono_ns();
    choose_sizes(spool);
    if (pthread_mutex_init(&spool->lock, NULL) != 0 || !init_conditions(spool))
        err_set(err, ERR_IO, "cannot make the spool's locks");
    else if (!begin(spool, err))
        ;
    else if (pthread_create(&spool->thread, NULL, commit_thread, spool) != 0)
        err_set(err, ERR_IO, "cannot start the spool's commit thread");
    else
        return spool;
    release(spool);
    return NULL;
}

void spool_stop(struct spool *spool) {
    bool stopped;

    if (spool == NULL)
        return;
    pthread_mutex_lock(&spool->lock);
    stopped = spool->stopping;
    spool->closing = spool->stopping = true;
    wake_everybody(spool);
    pthread_mutex_unlock(&spool->lock);
    if (!stopped)
        pthread_join(spool->thread, NULL);
}

void spool_free(struct spool *spool) {
    if (spool == NULL)
        return;
    spool_stop(spool);
    release(spool);
}
