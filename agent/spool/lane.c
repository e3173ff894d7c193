/*
 * agent/spool/lane.c: how far an output has read. A lane stands in memory as long as the log there reaches back to it, and else
 * in its segment's file; which of both is decided by sequence numbers, so changing over is never an event of its own. With live_first
 * an output has a second lane, for what it left behind when it went to the fresh data.
 */
#include "agent/spool/spool_internal.h"

#include <errno.h>

void lane_to_chunk(struct lane *lane, struct chunk *chunk) {
    lane->moves++;
    lane->chunk = chunk;
    lane->segment = chunk->segment;
    lane->frame = NULL;
    lane->offset = 0;
}

void lane_to_file(struct lane *lane, struct segment *segment, uint64_t position) {
    lane->moves++;
    lane->chunk = NULL;
    lane->segment = segment;
    lane->frame = NULL;
    lane->offset = 0;
    lane->position = position;
    lane->moved = true;
}

/* Where a lane that reads files has to stop: what comes then is in memory, or was not written yet. */
static uint64_t file_end(const struct spool *spool, const struct segment *segment) {
    const struct chunk *chunk = spool->first_chunk;

    if (chunk->segment == segment && chunk->file_start != 0)
        return chunk->file_start;
    return segment->file_used;
}

static bool somebody_behind(const struct cursor *cursor, const struct lane *lane, const struct segment *segment) {
    for (int i = 0; i < LANES; i++) {
        const struct lane *other = &cursor->lanes[i];
        if (other != lane && other->segment != NULL && other->sequence < segment->last_sequence)
            return true;
    }
    for (unsigned i = 1; i < cursor->range_count; i++)
        if (cursor->ranges[i].sequence < segment->last_sequence)
            return true;
    return false;
}

/* What was in the segment for this output and was not met when reading it: gone on disk. */
static void leave_segment(struct spool *spool, unsigned output, struct lane *lane) {
    struct segment *segment = lane->segment;

    if (segment->total[output].messages != segment->passed[output].messages &&
        !somebody_behind(&spool->cursors[output], lane, segment) && lane->limit > segment->last_sequence)
        lane_abandon(spool, output, segment, FATE_DAMAGED);
    if (lane->sequence < segment->last_sequence)
        lane->sequence = segment->last_sequence;
}

/* The next record of `bytes` for this output, or NULL behind the last. */
static const struct record_head *walk(struct lane *lane, unsigned output, const char *bytes, size_t used) {
    while (lane->offset < used) {
        const char *at = bytes + lane->offset;
        const struct record_head *head = (const struct record_head *)(const void *)at;
        if (head->size == FRAME_MAGIC) { /* both begin with 32 bits that tell them apart */
            lane->at = ((const struct frame_header *)(const void *)at)->first_sequence - 1;
            lane->offset += sizeof(struct frame_header);
            continue;
        }
        if (head->size == 0) { /* the rest of a frame's last page */
            lane->offset = page_round(lane->offset);
            continue;
        }
        uint64_t sequence = lane->at + 1 + record_gap(head);
        if (sequence >= lane->limit)
            return head;
        if (sequence > lane->sequence && segment_is_for(lane->segment, head, output))
            return head;
        lane->at = sequence;
        if (sequence > lane->sequence)
            lane->sequence = sequence;
        lane->offset += head->size;
    }
    return NULL;
}

/* A lane on a file whose next record is in memory. */
static bool go_to_memory(struct spool *spool, struct lane *lane) {
    struct chunk *chunk = spool->first_chunk;

    if (chunk->first_sequence == 0 ? lane->sequence < spool->appended : lane->sequence + 1 < chunk->first_sequence)
        return false;
    lane_to_chunk(lane, chunk);
    return true;
}

/* The lane goes on to what follows where it stands. False: it must load, or there is nothing. */
static bool go_on(struct spool *spool, unsigned output, struct lane *lane, enum lane_state *state) {
    if (lane->chunk != NULL) {
        struct chunk *next = lane->chunk->next;
        *state = LANE_EMPTY;
        if (next == NULL)
            return false;
        if (next->segment != lane->segment)
            leave_segment(spool, output, lane);
        lane_to_chunk(lane, next);
        return true;
    }
    lane->frame = NULL;
    if (go_to_memory(spool, lane))
        return true;
    *state = LANE_MUST_LOAD;
    if (lane->loading || lane->position < file_end(spool, lane->segment))
        return false;
    if (lane->segment == spool->first_chunk->segment || lane->segment->next == NULL) {
        lane_to_chunk(lane, spool->first_chunk);
        return true;
    }
    leave_segment(spool, output, lane);
    lane_to_file(lane, lane->segment->next, SEGMENT_DATA);
    return true;
}

enum lane_state lane_next(struct spool *spool, unsigned output, struct lane *lane, const struct record_head **head) {
    enum lane_state state = LANE_EMPTY;

    if (lane->segment == NULL || lane->sequence + 1 >= lane->limit)
        return LANE_EMPTY;
    for (;;) {
        *head = NULL;
        if (lane->chunk != NULL)
            *head = walk(lane, output, lane->chunk->bytes, lane->chunk->used);
        else if (lane->frame != NULL)
            *head = walk(lane, output, (const char *)lane->frame, sizeof *lane->frame + lane->frame->body_len);
        if (*head != NULL) {
            if (lane->at + 1 + record_gap(*head) < lane->limit)
                return LANE_RECORD;
            lane->sequence = lane->limit - 1;
            return LANE_EMPTY;
        }
        if (!go_on(spool, output, lane, &state))
            return state;
    }
}

static void pass(struct spool *spool, unsigned output, struct segment *segment, uint64_t messages, uint64_t lines,
                 uint64_t bytes) {
    struct cursor *cursor = &spool->cursors[output];

    segment->passed[output].messages += messages;
    segment->passed[output].lines += lines;
    segment->passed[output].bytes += bytes;
    cursor->unread_messages -= messages;
    cursor->unread_lines -= lines;
    cursor->unread_bytes -= bytes;
}

void lane_pass(struct spool *spool, unsigned output, struct lane *lane, const struct record_head *head) {
    pass(spool, output, lane->segment, 1, head->lines, head->text_len);
    lane->at += 1 + record_gap(head);
    lane->sequence = lane->at;
    lane->offset += head->size;
}

void lane_abandon(struct spool *spool, unsigned output, struct segment *segment, enum spool_fate fate) {
    const struct share *total = &segment->total[output], *passed = &segment->passed[output];
    struct spool_settlement how = { .messages = { 0 } };
    uint64_t bytes = total->bytes - passed->bytes;

    how.messages[fate] = total->messages - passed->messages;
    how.lines[fate] = total->lines - passed->lines;
    ledger_settle(&spool->ledger, output, &how, bytes);
    pass(spool, output, segment, how.messages[fate], how.lines[fate], bytes);
}

static struct chunk *chunk_behind(const struct spool *spool, const struct segment *segment) {
    struct chunk *chunk = spool->first_chunk;

    while (chunk != NULL && (chunk->segment == segment || chunk->last_sequence == 0 || chunk->last_sequence <= segment->last_sequence) &&
           chunk != spool->last_chunk)
        chunk = chunk->next;
    return chunk;
}

static void skip_range(struct cursor *cursor, unsigned index) {
    memmove(&cursor->ranges[index], &cursor->ranges[index + 1], (cursor->range_count - index - 1) * sizeof cursor->ranges[0]);
    cursor->range_count--;
    if (index == 0)
        cursor->lanes[LANE_BACKLOG].segment = NULL;
}

static void range_leave(struct cursor *cursor, struct segment *segment) {
    for (unsigned i = cursor->range_count; i-- > 1;) {
        struct range *range = &cursor->ranges[i];
        if (range->segment != segment)
            continue;
        range->segment = segment->next;
        range->position = SEGMENT_DATA;
        range->sequence = segment->last_sequence;
        if (range->sequence + 1 >= range->limit)
            skip_range(cursor, i);
    }
}

void lane_leave(struct spool *spool, unsigned output, struct segment *segment) {
    struct cursor *cursor = &spool->cursors[output];

    range_leave(cursor, segment);
    for (int i = 0; i < LANES; i++) {
        struct lane *lane = &cursor->lanes[i];
        if (lane->segment != segment)
            continue;
        if (lane->sequence < segment->last_sequence)
            lane->sequence = segment->last_sequence;
        if (lane->chunk != NULL)
            lane_to_chunk(lane, chunk_behind(spool, segment));
        else
            lane_to_file(lane, segment->next, SEGMENT_DATA);
    }
}

void lane_to_end(struct spool *spool, unsigned output) {
    struct cursor *cursor = &spool->cursors[output];
    struct lane *lane = &cursor->lanes[LANE_MAIN];

    cursor->range_count = 0;
    cursor->lanes[LANE_BACKLOG].segment = NULL;
    if (lane->chunk != spool->last_chunk)
        lane_to_chunk(lane, spool->last_chunk);
    lane->offset = spool->last_chunk->used;
    lane->at = lane->sequence = spool->appended;
}

uint64_t lane_settled(const struct spool *spool, unsigned output) {
    const struct cursor *cursor = &spool->cursors[output];
    uint64_t settled = cursor->unread_messages > 0 ? cursor->lanes[LANE_MAIN].sequence : spool->appended;

    if (cursor->unread_messages > 0 && cursor->range_count > 0 && cursor->lanes[LANE_BACKLOG].sequence < settled)
        settled = cursor->lanes[LANE_BACKLOG].sequence;
    for (unsigned i = 1; i < cursor->range_count; i++)
        if (cursor->ranges[i].sequence < settled)
            settled = cursor->ranges[i].sequence;
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        for (int j = 0; j < LANES && cursor->in_flight[i].ticket != 0; j++)
            if (cursor->in_flight[i].part[j].first <= settled)
                settled = cursor->in_flight[i].part[j].first - 1;
    return settled;
}

bool lane_in_flight(const struct spool *spool, unsigned output, const struct segment *segment) {
    const struct cursor *cursor = &spool->cursors[output];

    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        for (int j = 0; j < LANES && cursor->in_flight[i].ticket != 0; j++)
            if (cursor->in_flight[i].part[j].first <= segment->last_sequence &&
                cursor->in_flight[i].part[j].last >= segment->first_sequence)
                return true;
    return false;
}

bool lane_load(struct spool *spool, struct lane *lane) {
    struct segment *segment = lane->segment;
    uint64_t end = file_end(spool, segment), generation = segment->generation;
    enum scan_result found = SCAN_NO_MEMORY; /* no handle now is as good as no memory */
    unsigned moves = lane->moves;

    if (lane->moved)
        scan_begin(&lane->scan, lane->position);
    lane->moved = false;
    lane->loading = true;
    segment->pins++;
    pthread_mutex_unlock(&spool->lock);
    int file = store_open_segment(&spool->store, segment);
    if (file >= 0) {
        found = scan_next(&lane->scan, spool->store.ops, file, generation, end);
        spool->store.ops->close(spool->store.ops->ctx, file);
    } else if (file == -ENOENT) {
        found = SCAN_END;
    }
    pthread_mutex_lock(&spool->lock);
    lane->loading = false;
    if (--segment->pins == 0 && spool->retired != NULL)
        commit_wake(spool);
    if (lane->moves != moves) /* dropped meanwhile, or in memory again */
        return true;
    lane->frame = found == SCAN_FRAME ? lane->scan.frame : NULL;
    lane->offset = 0;
    if (found == SCAN_FRAME)
        lane->frame_position = lane->scan.position - page_round(sizeof *lane->frame + lane->frame->body_len);
    if (found != SCAN_NO_MEMORY)
        lane->position = found == SCAN_END ? end : lane->scan.position;
    return found != SCAN_NO_MEMORY;
}

void lane_give_up_lost(struct spool *spool, unsigned output) {
    for (struct segment *segment = spool->first; segment != NULL; segment = segment->next)
        lane_abandon(spool, output, segment, FATE_DAMAGED);
}

/* Live first. */

static void begin_backlog(struct cursor *cursor) {
    const struct range *range = &cursor->ranges[0];
    struct lane *lane = &cursor->lanes[LANE_BACKLOG];

    if (cursor->range_count == 0) {
        lane->segment = NULL;
        return;
    }
    lane_to_file(lane, range->segment, range->position);
    lane->at = lane->sequence = range->sequence;
    lane->limit = range->limit;
}

/* Fresh is what is not on disk yet: of what is, memory holds some, too, but it waited as long as the rest. */
static struct chunk *first_fresh(const struct spool *spool) {
    struct chunk *chunk = spool->first_chunk;

    while (chunk != spool->last_chunk && chunk->last_sequence <= spool->synced)
        chunk = chunk->next;
    return chunk;
}

/* The main lane lags so far that it has to read files: that stretch becomes backlog, and the lane goes to what is fresh. */
static void leave_backlog(struct spool *spool, struct cursor *cursor) {
    struct lane *lane = &cursor->lanes[LANE_MAIN];
    struct chunk *chunk = first_fresh(spool);
    uint64_t limit = chunk->first_sequence != 0 ? chunk->first_sequence : spool->appended + 1;

    if (lane->chunk != NULL || lane->loading || cursor->range_count == RANGES_MAX || lane->sequence + 1 >= limit)
        return;
    cursor->ranges[cursor->range_count++] = (struct range){
        .segment = lane->segment,
        .position = lane->frame != NULL ? lane->frame_position : lane->position,
        .sequence = lane->sequence,
        .limit = limit,
    };
    lane->sequence = limit - 1;
    lane_to_chunk(lane, chunk);
    if (cursor->range_count == 1)
        begin_backlog(cursor);
}

bool lane_has_backlog(struct spool *spool, unsigned output) {
    struct cursor *cursor = &spool->cursors[output];
    struct lane *backlog = &cursor->lanes[LANE_BACKLOG];
    const struct record_head *head;

    if (spool->options.order != SPOOL_LIVE_FIRST || !spool->disk)
        return false;
    leave_backlog(spool, cursor);
    while (cursor->range_count > 0 && !backlog->loading && lane_next(spool, output, backlog, &head) == LANE_EMPTY) {
        skip_range(cursor, 0);
        begin_backlog(cursor);
    }
    return cursor->range_count > 0;
}
