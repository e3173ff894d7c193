/*
 * agent/spool/disk.c: what the commit thread does to the disk: one write and one fdatasync per group; when that fails, the same
 * records once more into another file, because nothing is known about the first one any more; checkpoints; removing.
 */
#include "agent/spool/spool_internal.h"

#include <errno.h>

enum {
    GROUP_BYTES = 8 * 1024 * 1024, /* of one group, so that an acknowledgement waits for no more */
    FAILURES_TRIED = 2,            /* in a row: then it is not the file but the disk */
};

/* A group: what is written next, as it was under the lock. */
struct run {
    char *bytes;
    size_t len;
    uint64_t at, safe;
};

struct job {
    struct run runs[RUNS_MAX];
    unsigned count, copies;
    size_t bytes;
    uint64_t end, last_sequence; /* file_used and sequence when it is done */
    struct committer after;
};

/* Trouble. */

static void note_trouble(struct spool *spool, int error, const char *what) {
    spool->disk_errors++;
    err_clear(&spool->trouble);
    if (error == -EDQUOT && spool->store.min_free > 0)
        err_set(&spool->trouble, ERR_FULL, "less than agent.spool.min_free would be left on the filesystem of %s", spool->store.path);
    else
        err_set_errno(&spool->trouble, -error, "cannot %s in %s", what, spool->store.path);
}

static void close_file(struct spool *spool) {
    struct committer *committer = &spool->committer;

    if (committer->file >= 0)
        spool->store.ops->close(spool->store.ops->ctx, committer->file);
    committer->file = -1;
}

static void move_share(struct share *from, struct share *to, const struct record_head *head) {
    from->messages--;
    from->lines -= head->lines;
    from->bytes -= head->text_len;
    to->messages++;
    to->lines += head->lines;
    to->bytes += head->text_len;
}

static void move_record(struct spool *spool, struct segment *from, struct segment *to, const struct record_head *head,
                        uint64_t sequence) {
    for (uint64_t left = head->outputs; left != 0; left &= left - 1) {
        unsigned output = (unsigned)__builtin_ctzll(left);
        move_share(&from->total[output], &to->total[output], head);
        if (sequence <= spool->cursors[output].lanes[LANE_MAIN].sequence)
            move_share(&from->passed[output], &to->passed[output], head);
    }
    if (to->first_sequence == 0) {
        to->first_sequence = sequence;
        to->oldest_ns = head->appended_ns;
    }
    to->last_sequence = sequence;
    to->newest_ns = head->appended_ns;
}

/* Calls `each` for the records of a chunk; `each` sees where the record stands. */
struct walk {
    size_t offset;
    uint64_t sequence;
};

static const struct record_head *walk_next(const struct chunk *chunk, struct walk *walk) {
    while (walk->offset < chunk->used) {
        const struct record_head *head = (const struct record_head *)(const void *)(chunk->bytes + walk->offset);
        if (head->size == FRAME_MAGIC) {
            walk->sequence = chunk_frame(chunk, walk->offset)->first_sequence - 1;
            walk->offset += sizeof(struct frame_header);
        } else if (head->size == 0) {
            walk->offset = page_round(walk->offset);
        } else {
            walk->sequence += 1 + record_gap(head);
            return head;
        }
    }
    return NULL;
}

/* Splits the chunk behind the last synced record: what follows is copied into a chunk of its own. */
static struct chunk *split_chunk(struct spool *spool, struct chunk *chunk) {
    struct chunk *rest = log_new_chunk(spool, chunk->size, chunk->segment);
    struct walk walk = { 0, 0 };
    const struct record_head *head;
    uint64_t last = 0;
    size_t cut = 0;

    if (rest == NULL)
        return NULL;
    for (; (head = walk_next(chunk, &walk)) != NULL; walk.offset += head->size) {
        if (walk.sequence <= spool->synced) {
            last = walk.sequence;
            cut = walk.offset + head->size;
            continue;
        }
        struct spool_record record = { head->outputs, head->lines, record_topic(head), record_text(head), record_origin(head) };
        chunk_append(rest, &record, walk.sequence, (head->step & RECORD_SAME_MESSAGE) != 0, head->appended_ns);
    }
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        struct lane *lane = &spool->cursors[i].lanes[LANE_MAIN];
        if (lane->chunk == chunk && lane->offset > cut)
            lane_to_chunk(lane, rest);
    }
    chunk->used = cut;
    chunk->open = NO_FRAME;
    chunk->open_written = false;
    chunk->last_sequence = last;
    rest->next = chunk->next;
    chunk->next = rest;
    if (spool->last_chunk == chunk)
        spool->last_chunk = rest;
    else
        chunk_close_frame(rest);
    return rest;
}

static void move_chunk(struct spool *spool, struct chunk *chunk, struct segment *to) {
    struct segment *from = chunk->segment;
    struct walk walk = { 0, 0 };
    const struct record_head *head;

    for (; (head = walk_next(chunk, &walk)) != NULL; walk.offset += head->size)
        move_record(spool, from, to, head, walk.sequence);
    chunk->segment = to;
    chunk->file_start = 0;
    chunk->open_written = false;
    to->reserved += page_round(chunk->used - chunk_open_len(chunk));
    for (unsigned i = 0; i < spool->options.outputs; i++)
        if (spool->cursors[i].lanes[LANE_MAIN].chunk == chunk)
            spool->cursors[i].lanes[LANE_MAIN].segment = to;
}

static void insert_behind(struct spool *spool, struct segment *segment, struct segment *added) {
    added->next = segment->next;
    segment->next = added;
    if (spool->last == segment)
        spool->last = added;
    spool->bytes += added->size;
    spool->segments++;
}

/*
 * The file of `suspect` takes no more writes. What it holds safely stays in it; the rest, all still in memory, becomes a segment of its own
 * behind it. False: no memory for that now.
 */
static bool rehome(struct spool *spool, struct segment *suspect) {
    struct committer *committer = &spool->committer;
    struct segment *added = segment_new(suspect->size, spool->options.outputs);
    struct chunk *chunk = spool->first_chunk;

    if (added == NULL)
        return false;
    while (chunk != NULL && (chunk->segment != suspect || chunk->last_sequence <= spool->synced))
        chunk = chunk->next;
    if (chunk == NULL) { /* all of it is safe: only what comes next needs a place */
        if (spool->last != suspect) {
            segment_free(added);
            return true;
        }
        chunk = log_new_chunk(spool, spool->chunk_size, added);
        if (chunk == NULL) {
            segment_free(added);
            return false;
        }
        chunk_close_frame(spool->last_chunk);
        spool->last_chunk->next = chunk;
        spool->last_chunk = chunk;
    } else if (chunk->first_sequence <= spool->synced) {
        chunk = split_chunk(spool, chunk);
        if (chunk == NULL) {
            segment_free(added);
            return false;
        }
    }
    committer->chunk = chunk;
    committer->offset = 0;
    for (; chunk != NULL && (chunk->segment == suspect || chunk->segment == added); chunk = chunk->next)
        move_chunk(spool, chunk, added);
    if (suspect->last_sequence > spool->synced)
        suspect->last_sequence = spool->synced;
    if (added->reserved + spool->chunk_size > added->size)
        added->size = page_round(added->reserved + spool->chunk_size);
    insert_behind(spool, suspect, added);
    return true;
}

/* Nothing of the segment is safe: it gets another file. */
static void start_again(struct spool *spool, struct segment *segment) {
    struct committer *committer = &spool->committer;
    struct chunk *chunk = spool->first_chunk;

    if (segment->filed) {
        struct store *store = &spool->store;
        char name[FILE_NAME_SIZE];
        segment_file_name(name, segment->number);
        store->ops->unlink(store->ops->ctx, store->directory, name);
    }
    segment->filed = false;
    segment->file_used = SEGMENT_DATA;
    while (chunk->segment != segment || chunk->last_sequence <= spool->synced) {
        if (chunk->next == NULL)
            break;
        chunk = chunk->next;
    }
    committer->chunk = chunk;
    committer->offset = 0;
    for (; chunk != NULL && chunk->segment == segment; chunk = chunk->next) {
        chunk->file_start = 0;
        chunk->open_written = false;
    }
}

/* The last write, or making the file for it, failed. Back to what is safe, and on in another file. */
static bool recover_from_failure(struct spool *spool) {
    struct committer *committer = &spool->committer;
    struct segment *segment = committer->suspect;

    if (segment->filed && segment->first_sequence != 0 && segment->first_sequence <= spool->synced) {
        if (!rehome(spool, segment))
            return false;
    } else {
        start_again(spool, segment);
    }
    committer->suspect = NULL;
    committer->segment = NULL;
    committer->slot.active = false;
    committer->written_last = committer->synced_last;
    committer->unsynced_bytes = 0;
    spool->written = spool->synced;
    return true;
}

static void failed(struct spool *spool, struct segment *segment, int error, const char *what) {
    struct committer *committer = &spool->committer;

    note_trouble(spool, error, what);
    close_file(spool);
    committer->suspect = segment;
    committer->failures++;
    if (!recover_from_failure(spool) || committer->failures >= FAILURES_TRIED) {
        spool->degraded = true;
        take_wake(spool);
        committer->retry_ns = clock_mono_ns() + spool->options.retry_ns;
    }
}

/* Collecting: under the lock. */

static uint64_t slot_end(const struct slot *slot) {
    bool second = slot->synced_at > slot->base || slot->latest_at > slot->base;
    return slot->base + (second ? 2 : 1) * (uint64_t)PAGE;
}

static bool add_run(struct job *job, char *bytes, size_t len, uint64_t at, uint64_t safe) {
    struct run *last = job->count > 0 ? &job->runs[job->count - 1] : NULL;

    if (last != NULL && last->bytes + last->len == bytes && last->at + last->len == at && last->safe == safe) {
        last->len += len;
    } else {
        if (job->count == RUNS_MAX)
            return false;
        job->runs[job->count++] = (struct run){ bytes, len, at, safe };
    }
    job->bytes += len;
    if (job->end < at + len)
        job->end = at + len;
    return true;
}

/* A frame that fits one page is written from a copy: the appender may go on in it. */
static bool add_copy(struct spool *spool, struct job *job, const struct frame_header *frame, uint64_t at, uint64_t safe) {
    char *page = spool->committer.page + job->copies * (size_t)PAGE;
    size_t len = sizeof *frame + frame->body_len;

    memset(page + len, 0, PAGE - len);
    memcpy(page, frame, len);
    job->copies++;
    return add_run(job, page, PAGE, at, safe);
}

static bool add_slot_state(struct spool *spool, struct job *job, const struct frame_header *frame) {
    struct slot *slot = &job->after.slot;
    uint64_t at = slot->latest_at; /* may be written again as long as it is not synced */

    if (slot->synced_at == slot->latest_at)
        at = slot->synced_at == slot->base ? slot->base + PAGE : slot->base;
    if (!add_copy(spool, job, frame, at, slot->safe))
        return false;
    slot->latest_at = at;
    slot->count = frame->count;
    job->last_sequence = frame->last_sequence;
    return true;
}

/* The frame at the position, which is the open one. False: the group ends with it. */
static bool add_open_frame(struct spool *spool, struct job *job, struct chunk *chunk, struct frame_header *frame) {
    struct committer *after = &job->after;

    if (sizeof *frame + frame->body_len > PAGE) {
        log_close_frame(spool);
        return true;
    }
    if (frame->count == 0)
        return false;
    after->slot = (struct slot){ true, after->write_offset, 0, after->write_offset, after->synced_last, 0 };
    chunk->open_written = add_slot_state(spool, job, frame);
    return false;
}

static bool next_chunk(struct committer *at, const struct segment *segment) {
    if (at->chunk->next == NULL || at->chunk->next->segment != segment)
        return false;
    at->chunk = at->chunk->next;
    at->offset = 0;
    return true;
}

static void collect(struct spool *spool, struct job *job) {
    struct committer *after = &job->after;
    struct segment *segment = spool->committer.segment;

    *job = (struct job){ .after = spool->committer, .last_sequence = spool->written, .end = segment->file_used };
    while (job->bytes < GROUP_BYTES && job->copies < 2) {
        struct chunk *chunk = after->chunk;
        if (after->offset >= chunk->used) {
            if (!next_chunk(after, segment))
                return;
            continue;
        }
        struct frame_header *frame = chunk_frame(chunk, after->offset);
        bool open = chunk->open == after->offset;
        if (chunk->file_start == 0)
            chunk->file_start = after->write_offset;
        if (after->slot.active) {
            if (frame->count != after->slot.count && !add_slot_state(spool, job, frame))
                return;
            if (open)
                return;
            after->write_offset = slot_end(&after->slot);
            after->slot.active = false;
        } else if (open) {
            if (!add_open_frame(spool, job, chunk, frame))
                return;
            continue;
        } else {
            size_t len = page_round(sizeof *frame + frame->body_len);
            if (!add_run(job, chunk->bytes + after->offset, len, after->write_offset, after->synced_last))
                return;
            after->write_offset += len;
            job->last_sequence = frame->last_sequence;
        }
        after->offset += page_round(sizeof *frame + frame->body_len);
    }
}

/* Writing: without the lock. */

static void seal_run(const struct run *run, uint64_t generation, int64_t now_ns) {
    for (size_t offset = 0; offset < run->len;) {
        struct frame_header *frame = (struct frame_header *)(void *)(run->bytes + offset);
        frame_seal(frame, generation, run->safe, now_ns);
        offset += page_round(sizeof *frame + frame->body_len);
    }
}

static int write_job(const struct spool *spool, const struct job *job, int file, uint64_t generation, bool sync) {
    int64_t now_ns = clock_real_ns();

    for (unsigned i = 0; i < job->count; i++) {
        const struct run *run = &job->runs[i];
        seal_run(run, generation, now_ns);
        int error = file_write(spool->store.ops, file, run->bytes, run->len, run->at);
        if (error < 0)
            return error;
    }
    return sync ? file_sync(spool->store.ops, file) : 0;
}

static void succeeded(struct spool *spool) {
    spool->committer.failures = 0;
    spool->degraded = false;
}

static void mark_synced(struct spool *spool) {
    struct committer *committer = &spool->committer;

    spool->synced = spool->written;
    committer->synced_last = committer->written_last;
    committer->unsynced_bytes = 0;
    committer->synced_ns = clock_mono_ns();
    committer->slot.synced_at = committer->slot.active ? committer->slot.latest_at : 0;
    take_wake(spool);
}

bool disk_sync(struct spool *spool) {
    struct committer *committer = &spool->committer;
    struct segment *segment = committer->segment;
    int error;

    if (committer->unsynced_bytes == 0)
        return true;
    pthread_mutex_unlock(&spool->lock);
    error = file_sync(spool->store.ops, committer->file);
    pthread_mutex_lock(&spool->lock);
    if (error < 0) {
        failed(spool, segment, error, "sync the spool");
        return false;
    }
    mark_synced(spool);
    succeeded(spool);
    return true;
}

/* The segment at the position gets its file. */
static bool open_file(struct spool *spool) {
    struct committer *committer = &spool->committer;
    struct segment *segment = committer->chunk->segment;
    int file;

    if (committer->segment == segment && committer->file >= 0)
        return true;
    if (!disk_sync(spool) || committer->chunk->segment != segment)
        return false;
    close_file(spool);
    committer->segment = segment;
    if (spool->retired != NULL)
        disk_retire(spool, committer->files > 0); /* what was retired last is a whole segment behind us */
    pthread_mutex_unlock(&spool->lock);
    file = store_create_segment(&spool->store, segment);
    pthread_mutex_lock(&spool->lock);
    if (file < 0) {
        failed(spool, segment, file, "make a segment");
        return false;
    }
    segment->filed = true;
    committer->files++;
    committer->file = file;
    committer->write_offset = segment->file_used = SEGMENT_DATA;
    committer->slot.active = false;
    return true;
}

/* The next segment's frames come when this one's are all written. */
static void normalize(struct spool *spool) {
    struct committer *committer = &spool->committer;

    while (!committer->slot.active && committer->offset >= committer->chunk->used && committer->chunk->next != NULL) {
        committer->chunk = committer->chunk->next;
        committer->offset = 0;
    }
}

static bool write_group(struct spool *spool, bool sync) {
    struct committer *committer = &spool->committer;
    struct segment *segment;
    struct job job;
    int error;

    normalize(spool);
    if (!open_file(spool))
        return false;
    segment = committer->segment;
    collect(spool, &job);
    if (job.count > 0) {
        int file = committer->file;
        uint64_t generation = segment->generation;
        pthread_mutex_unlock(&spool->lock);
        error = write_job(spool, &job, file, generation, sync);
        pthread_mutex_lock(&spool->lock);
        if (error < 0) {
            failed(spool, segment, error, "write the spool");
            return false;
        }
        spool->commits++;
        spool->committed_bytes += job.bytes;
        succeeded(spool);
    }
    committer->chunk = job.after.chunk;
    committer->offset = job.after.offset;
    committer->slot = job.after.slot;
    committer->write_offset = job.after.write_offset;
    committer->unsynced_bytes += job.bytes;
    segment->file_used = job.end;
    if (job.count > 0)
        committer->written_last = job.last_sequence;
    if (spool->written < job.last_sequence)
        spool->written = job.last_sequence;
    if (sync)
        mark_synced(spool);
    else if (spool->options.sync == SPOOL_INTERVAL)
        take_wake(spool);
    log_evict(spool);
    return true;
}

/*
 * What every output has done with needs no disk any more: the database has it. Only whole frames, and never a lane's place. Not so a message that
 * became something else: that it was taken stands nowhere but here, until the broker has read its acknowledgement.
 */
void disk_skip_settled(struct spool *spool) {
    struct committer *committer = &spool->committer;
    uint64_t settled = spool->appended;

    if (spool->resting > spool->written && !spool->degraded)
        return;
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        uint64_t mine = lane_settled(spool, i);
        settled = mine < settled ? mine : settled;
    }
    for (;;) {
        struct chunk *chunk = committer->chunk;
        normalize(spool);
        if (committer->chunk != chunk)
            continue;
        if (committer->offset >= chunk->used)
            return;
        const struct frame_header *frame = chunk_frame(chunk, committer->offset);
        if (frame->last_sequence > settled || committer->unsynced_bytes > 0)
            return;
        if (chunk->open == committer->offset)
            log_close_frame(spool);
        if (committer->slot.active) {
            committer->write_offset = committer->slot.base + 2 * PAGE;
            committer->slot.active = false;
        }
        committer->offset += page_round(sizeof *frame + frame->body_len);
        spool->written = spool->synced = frame->last_sequence;
    }
}

void disk_commit(struct spool *spool, bool sync) {
    uint64_t until = spool->appended;
    unsigned failures = spool->committer.failures;

    spool->unwritten_bytes = 0;
    spool->first_unwritten_ns = spool->first_wanted_ns = 0;
    if (spool->committer.suspect != NULL && !recover_from_failure(spool)) {
        spool->committer.retry_ns = clock_mono_ns() + spool->options.retry_ns;
        return;
    }
    while (spool->written < until) {
        if (write_group(spool, sync))
            failures = 0;
        else if (spool->degraded || spool->committer.failures > failures + 1)
            return;
    }
}

/* Checkpoints and removing. */

void disk_checkpoint(struct spool *spool, bool sync) {
    static const struct checkpoint_slot none;
    struct checkpoint_slot slot = none;
    int error;

    slot.count = spool->options.outputs;
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        slot.entries[i].hash = spool->store.names[i].hash;
        slot.entries[i].sequence = lane_settled(spool, i);
        memcpy(slot.entries[i].name, spool->store.names[i].name, OUTPUT_NAME_MAX);
    }
    spool->committer.checkpoint_ns = clock_mono_ns();
    spool->committer.checkpointed_batches = spool->settled_batches;
    commit_make_safe(spool); /* lines that an output gave up became dead letters */
    pthread_mutex_unlock(&spool->lock);
    error = store_write_checkpoint(&spool->store, &slot, sync);
    pthread_mutex_lock(&spool->lock);
    spool->committer.checkpoint_failed = error < 0;
    if (error < 0)
        note_trouble(spool, error, "write the checkpoint");
}

int64_t disk_removable_ns(const struct spool *spool, const struct segment *segment) {
    const int64_t linger_ns = 10 * NS_PER_S;

    return segment == spool->retired && segment->filed ? segment->retired_ns + linger_ns : 0;
}

static struct segment *take_retired(struct spool *spool, bool all) {
    int64_t now_ns = clock_mono_ns();

    for (struct segment **link = &spool->retired; *link != NULL; link = &(*link)->next) {
        struct segment *segment = *link;
        if (segment->pins > 0 || segment == spool->committer.segment || (!all && disk_removable_ns(spool, segment) > now_ns))
            continue;
        if (segment->retired_ns > spool->committer.checkpoint_ns) /* behind the checkpoint's back: what became of it may not be safe yet */
            continue;
        *link = segment->next;
        return segment;
    }
    return NULL;
}

void disk_retire(struct spool *spool, bool all) {
    struct segment *segment;
    int error;

    if (spool->committer.segment != NULL && spool->committer.chunk->segment != spool->committer.segment &&
        spool->committer.unsynced_bytes == 0) {
        close_file(spool);
        spool->committer.segment = NULL;
    }
    disk_checkpoint(spool, true);
    spool->committer.retire_failed = false;
    while (!spool->committer.checkpoint_failed && (segment = take_retired(spool, all)) != NULL) {
        pthread_mutex_unlock(&spool->lock);
        error = segment->filed ? store_retire_segment(&spool->store, segment) : 0;
        pthread_mutex_lock(&spool->lock);
        if (error < 0) {
            note_trouble(spool, error, "remove a segment");
            segment->next = spool->retired;
            spool->retired = segment;
            spool->committer.retire_failed = true;
            return;
        }
        segment_free(segment);
    }
}
