/* agent/spool/log.c: the log as segments and chunks: making room, appending, dropping, letting go. All under the lock, no file I/O. */
#include "agent/spool/spool_internal.h"

#include <stdlib.h>

/* Chunks. */

struct chunk *log_new_chunk(struct spool *spool, size_t size, struct segment *segment) {
    struct chunk *chunk = spool->spare;

    if (chunk != NULL && chunk->size == size)
        spool->spare = NULL;
    else
        chunk = chunk_new(size);
    if (chunk == NULL)
        return NULL;
    chunk_reset(chunk, segment);
    spool->resident += size;
    return chunk;
}

static void drop_first_chunk(struct spool *spool) {
    struct chunk *chunk = spool->first_chunk;

    spool->first_chunk = chunk->next;
    spool->resident -= chunk->size;
    if (spool->spare == NULL && chunk->size == spool->chunk_size)
        spool->spare = chunk;
    else
        chunk_free(chunk);
}

static bool add_chunk(struct spool *spool, size_t size, struct segment *segment) {
    struct chunk *chunk = log_new_chunk(spool, size, segment);

    if (chunk == NULL)
        return false;
    chunk_close_frame(spool->last_chunk);
    spool->last_chunk->next = chunk;
    spool->last_chunk = chunk;
    return true;
}

/* Segments. */

void log_add_segment(struct spool *spool, struct segment *segment) {
    if (spool->last != NULL)
        spool->last->next = segment;
    else
        spool->first = segment;
    spool->last = segment;
    spool->bytes += segment->size;
    spool->segments++;
}

bool log_begin(struct spool *spool, uint64_t next_sequence) {
    struct segment *segment = segment_new(spool->segment_size, spool->options.outputs);
    struct chunk *chunk = segment != NULL ? log_new_chunk(spool, spool->chunk_size, segment) : NULL;

    if (chunk == NULL) {
        segment_free(segment);
        return false;
    }
    spool->appended = spool->written = spool->synced = spool->durable = spool->wanted = next_sequence - 1;
    spool->first_chunk = spool->last_chunk = chunk;
    log_add_segment(spool, segment);
    return true;
}

static bool add_segment(struct spool *spool, uint64_t size, size_t chunk_size) {
    struct segment *segment = segment_new(size, spool->options.outputs);

    if (segment == NULL || !add_chunk(spool, chunk_size, segment)) {
        segment_free(segment);
        return false;
    }
    log_add_segment(spool, segment);
    return true;
}

/* Nobody stands in it any more, and nothing of it is on its way. */
static void remove_segment(struct spool *spool, struct segment *segment, struct segment *before) {
    if (before != NULL)
        before->next = segment->next;
    else
        spool->first = segment->next;
    spool->bytes -= segment->size;
    spool->segments--;
    if (!spool->disk) {
        drop_first_chunk(spool);
        segment_free(segment);
        return;
    }
    segment->retired_ns = clock_mono_ns();
    segment->next = spool->retired;
    spool->retired = segment;
    if (spool->committer_waiting)
        pthread_cond_signal(&spool->commit);
}

static bool has_chunks(const struct spool *spool, const struct segment *segment) {
    for (const struct chunk *chunk = spool->first_chunk; chunk != NULL; chunk = chunk->next)
        if (chunk->segment == segment)
            return true;
    return false;
}

/* On disk a segment goes when it is settled, not when it is read: until then it is what a crash leaves us. */
static bool is_in_flight(const struct spool *spool, const struct segment *segment) {
    for (unsigned i = 0; i < spool->options.outputs; i++)
        if (lane_in_flight(spool, i, segment))
            return true;
    return false;
}

static bool is_read(const struct spool *spool, const struct segment *segment) {
    for (unsigned i = 0; i < spool->options.outputs; i++)
        if (segment->total[i].messages != segment->passed[i].messages)
            return false;
    return true;
}

static bool is_occupied(const struct spool *spool, const struct segment *segment) {
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        const struct cursor *cursor = &spool->cursors[i];
        for (int j = 0; j < LANES; j++)
            if (cursor->lanes[j].segment == segment)
                return true;
        for (unsigned j = 0; j < cursor->range_count; j++)
            if (cursor->ranges[j].segment == segment)
                return true;
    }
    return false;
}

static void vacate(struct spool *spool, struct segment *segment) {
    for (unsigned i = 0; i < spool->options.outputs; i++)
        lane_leave(spool, i, segment);
}

/* On disk: a chunk stays while somebody will come by, unless memory gets short (log_evict). */
static bool chunk_is_needed(const struct spool *spool, const struct chunk *chunk) {
    bool unread = !is_read(spool, chunk->segment);

    if (chunk == spool->last_chunk || chunk == spool->committer.chunk || chunk->last_sequence > spool->synced)
        return true;
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        const struct cursor *cursor = &spool->cursors[i];
        for (int j = 0; j < LANES; j++)
            if (cursor->lanes[j].chunk == chunk)
                return true;
        if (unread && cursor->lanes[LANE_MAIN].sequence < chunk->last_sequence)
            return true;
    }
    return false;
}

static void release_on_disk(struct spool *spool) {
    struct segment *before = NULL;

    while (!chunk_is_needed(spool, spool->first_chunk))
        drop_first_chunk(spool);
    for (struct segment *segment = spool->first, *next; segment != spool->last; segment = next) {
        next = segment->next;
        if (is_read(spool, segment) && !is_in_flight(spool, segment) && segment->last_sequence <= spool->synced) {
            vacate(spool, segment);
            while (!chunk_is_needed(spool, spool->first_chunk))
                drop_first_chunk(spool);
            if (!has_chunks(spool, segment)) {
                remove_segment(spool, segment, before);
                continue;
            }
        }
        before = segment;
    }
}

/* In memory, with nothing unread at all, the last chunk starts over, warm in the cache. */
static void start_over(struct spool *spool) {
    for (unsigned i = 0; i < spool->options.outputs; i++)
        if (spool->cursors[i].unread_messages > 0)
            return;
    memset(spool->last->total, 0, 2 * spool->options.outputs * sizeof *spool->last->total);
    chunk_reset(spool->last_chunk, spool->last);
    for (unsigned i = 0; i < spool->options.outputs; i++)
        lane_to_end(spool, i);
}

void log_release(struct spool *spool) {
    for (unsigned i = 0; i < spool->options.outputs; i++)
        if (spool->cursors[i].unread_messages == 0)
            lane_to_end(spool, i);
    if (spool->disk) {
        release_on_disk(spool);
        return;
    }
    while (spool->first != spool->last && !is_occupied(spool, spool->first))
        remove_segment(spool, spool->first, NULL);
    start_over(spool);
}

/* Whoever stands in the first chunk goes on from the file. False: it is not there, or not safely. */
static bool evict_first(struct spool *spool) {
    struct chunk *chunk = spool->first_chunk;

    if (chunk == spool->last_chunk || chunk == spool->committer.chunk || chunk->last_sequence > spool->synced ||
        chunk->file_start == 0)
        return false;
    for (unsigned i = 0; i < spool->options.outputs; i++)
        for (int j = 0; j < LANES; j++)
            if (spool->cursors[i].lanes[j].chunk == chunk)
                lane_to_file(&spool->cursors[i].lanes[j], chunk->segment, chunk->file_start);
    drop_first_chunk(spool);
    return true;
}

void log_evict(struct spool *spool) {
    while (spool->resident > spool->memory_keep && evict_first(spool))
        continue;
}

bool log_evict_segment(struct spool *spool, const struct segment *segment) {
    while (has_chunks(spool, segment)) {
        if (!chunk_is_needed(spool, spool->first_chunk))
            drop_first_chunk(spool);
        else if (!evict_first(spool))
            return false;
    }
    return true;
}

/* Dropping. */

static bool can_go(const struct spool *spool, const struct segment *segment) {
    return !spool->disk || (!is_in_flight(spool, segment) && segment->last_sequence <= spool->synced);
}

/* The oldest segment that nobody holds a batch of: such a one stays, because until the batch is settled a crash must leave it to us. */
void log_drop_first(struct spool *spool, enum spool_fate fate) {
    struct segment *before = NULL, *segment = spool->first;

    while (segment != spool->last && !can_go(spool, segment)) {
        before = segment;
        segment = segment->next;
    }
    if (segment == spool->last)
        return;
    for (unsigned i = 0; i < spool->options.outputs; i++)
        lane_abandon(spool, i, segment, fate);
    vacate(spool, segment);
    /* In front of it may stand chunks of a segment that is in flight: the file has those. */
    if (!spool->disk || log_evict_segment(spool, segment))
        remove_segment(spool, segment, before);
}

void log_expire(struct spool *spool) {
    int64_t now_ns = spool_now_ns(spool);

    if (spool->options.max_age_ns == 0)
        return;
    for (struct segment *segment = spool->first; segment != spool->last; segment = segment->next) {
        if (!spool_is_expired(spool, segment->newest_ns, now_ns))
            break;
        for (unsigned i = 0; i < spool->options.outputs; i++)
            lane_abandon(spool, i, segment, FATE_EXPIRED);
    }
    log_release(spool);
}

/* Room. */

/* A frame that is partly on disk already stays within its page. */
static bool frame_takes(const struct chunk *chunk, size_t size) {
    return !chunk->open_written || chunk_open_len(chunk) + size <= PAGE;
}

void log_close_frame(struct spool *spool) {
    struct chunk *chunk = spool->last_chunk;

    if (chunk->open == NO_FRAME)
        return;
    chunk->segment->reserved += page_round(chunk_open_len(chunk)) + (chunk->open_written ? PAGE : 0);
    chunk_close_frame(chunk);
}

/* What the segment's file has to hold when the open frame, or a new one, takes so much more; its page may be wanted twice. */
static bool file_takes(const struct segment *segment, size_t frame_len) {
    return segment->reserved + page_round(frame_len) + PAGE <= segment->size;
}

static bool fits_chunk(struct spool *spool, size_t size) {
    struct chunk *chunk = spool->last_chunk;

    if (spool->disk && chunk->open != NO_FRAME && !frame_takes(chunk, size))
        log_close_frame(spool);
    size_t opening = chunk->open == NO_FRAME ? sizeof(struct frame_header) : 0;
    if (chunk->used + opening + size > chunk->size)
        return false;
    return !spool->disk || file_takes(chunk->segment, chunk_open_len(chunk) + opening + size);
}

static bool has_memory(struct spool *spool, size_t size) {
    if (!spool->disk || spool->resident + size <= spool->memory_keep)
        return true;
    log_evict(spool);
    return spool->resident + size <= spool->memory_max;
}

static void drop_for(struct spool *spool, uint64_t size) {
    while (spool->bytes + size > spool->limit && spool->first != spool->last) {
        uint64_t before = spool->segments;
        log_drop_first(spool, FATE_DROPPED_FULL);
        if (spool->segments == before)
            return;
    }
}

static bool make_segment(struct spool *spool, size_t size, size_t chunk_size) {
    size_t overhead = spool->disk ? SEGMENT_DATA + PAGE : 0;
    uint64_t wanted = chunk_size + overhead > spool->segment_size ? chunk_size + overhead : spool->segment_size;

    log_release(spool);
    if (fits_chunk(spool, size))
        return true;
    if (wanted > spool->limit)
        return false;
    if (spool->options.when_full == SPOOL_THIN && spool->bytes + wanted > spool->limit &&
        (spool->thin_wanted || spool->thinning)) {
        spool->starved = true; /* there will be room in a moment */
        return false;
    }
    if (spool->options.when_full == SPOOL_DROP_OLDEST || spool->options.when_full == SPOOL_THIN) {
        drop_for(spool, wanted);
        /* What is not on disk yet cannot go; in a moment it can, and until then it is not the newest that is dropped instead. */
        spool->starved = spool->bytes + wanted > spool->limit && spool->disk && spool->synced < spool->appended;
    }
    if (spool->bytes + wanted > spool->limit || !add_segment(spool, wanted, chunk_size))
        return false;
    if (spool->options.when_full == SPOOL_THIN && is_short_of_room(spool))
        spool->thin_wanted = true;
    if (spool->thin_wanted)
        commit_wake(spool);
    return true;
}

bool log_make_room(struct spool *spool, size_t size) {
    size_t alone = page_round(sizeof(struct frame_header) + size);
    size_t chunk_size = alone > spool->chunk_size ? alone : spool->chunk_size;

    spool->starved = false;
    if (fits_chunk(spool, size))
        return true;
    if (!has_memory(spool, chunk_size)) {
        spool->starved = true;
        return false;
    }
    log_close_frame(spool);
    if (spool->disk && file_takes(spool->last, alone))
        return add_chunk(spool, chunk_size, spool->last);
    return make_segment(spool, size, chunk_size);
}

/* Appending. */

static void wake_reader(struct cursor *cursor, bool was_empty) {
    if (cursor->waiting > 0 && (was_empty || cursor->unread_lines >= cursor->wake_lines))
        pthread_cond_signal(&cursor->ready);
}

void log_append(struct spool *spool, const struct spool_record *record, bool same_message, int64_t now_ns) {
    struct segment *segment = spool->last;
    uint64_t sequence = ++spool->appended;

    chunk_append(spool->last_chunk, record, sequence, same_message, now_ns);
    if (segment->first_sequence == 0) {
        segment->first_sequence = sequence;
        segment->oldest_ns = now_ns;
    }
    segment->last_sequence = sequence;
    segment->newest_ns = now_ns;
    for (uint64_t left = record->outputs; left != 0; left &= left - 1) {
        unsigned output = (unsigned)__builtin_ctzll(left);
        struct cursor *cursor = &spool->cursors[output];
        bool was_empty = cursor->unread_messages == 0;
        segment->total[output].messages++;
        segment->total[output].lines += record->lines;
        segment->total[output].bytes += record->text.len;
        cursor->unread_messages++;
        cursor->unread_lines += record->lines;
        cursor->unread_bytes += record->text.len;
        wake_reader(cursor, was_empty);
    }
}

void log_free_all(struct spool *spool) {
    while (spool->first_chunk != NULL) {
        struct chunk *next = spool->first_chunk->next;
        chunk_free(spool->first_chunk);
        spool->first_chunk = next;
    }
    chunk_free(spool->spare);
    for (int list = 0; list < 2; list++) {
        struct segment *segment = list == 0 ? spool->first : spool->retired;
        while (segment != NULL) {
            struct segment *next = segment->next;
            segment_free(segment);
            segment = next;
        }
    }
}
