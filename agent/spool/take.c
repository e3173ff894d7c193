/* agent/spool/take.c: an output's batches: waiting for one, filling it, and its end. */
#include "agent/spool/spool_internal.h"

#include <errno.h>
#include <stdlib.h>

/* Batches. */

static bool batch_grow(void **array, size_t *cap, size_t needed, size_t size) {
    size_t wanted = *cap == 0 ? 256 : *cap;
    void *larger;

    if (needed <= *cap)
        return true;
    while (wanted < needed)
        wanted *= 2;
    larger = realloc(*array, wanted * size);
    if (larger == NULL)
        return false;
    *array = larger;
    *cap = wanted;
    return true;
}

void spool_batch_init(struct spool_batch *batch) {
    *batch = (struct spool_batch){ .lines = BUF_INIT(RECORD_MAX), .topics = BUF_INIT(RECORD_MAX) };
}

void spool_batch_release(struct spool_batch *batch) {
    buf_release(&batch->lines);
    buf_release(&batch->topics);
    free(batch->records);
    free(batch->line_ends);
    spool_batch_init(batch);
}

static void batch_reset(struct spool_batch *batch) {
    buf_reset(&batch->lines);
    buf_reset(&batch->topics);
    batch->record_count = batch->line_count = 0;
    batch->more = false;
}

static bool batch_add(struct spool_batch *batch, const struct record_head *head, int64_t clock_offset_ns) {
    struct str topic = record_topic(head), text = record_text(head);

    if (!batch_grow((void **)&batch->records, &batch->record_cap, batch->record_count + 1, sizeof *batch->records) ||
        !batch_grow((void **)&batch->line_ends, &batch->line_cap, batch->line_count + head->lines, sizeof *batch->line_ends) ||
        !buf_reserve(&batch->topics, topic.len) || !buf_reserve(&batch->lines, text.len))
        return false;
    batch->records[batch->record_count++] = (struct spool_batch_record){
        .first_line = (uint32_t)batch->line_count,
        .lines = head->lines,
        .topic_offset = (uint32_t)batch->topics.len,
        .topic_len = (uint32_t)topic.len,
        .appended_ns = head->appended_ns - clock_offset_ns,
    };
    buf_append_str(&batch->topics, topic);
    buf_append_str(&batch->lines, text);
    batch->line_count += head->lines;
    return true;
}

/* Outside the lock: the batch is the reader's own by now. Every record's text has as many newlines as it says. */
static void find_line_ends(struct spool_batch *batch) {
    size_t offset = 0;

    for (size_t line = 0; line < batch->line_count; line++) {
        const char *end = memchr(batch->lines.data + offset, '\n', batch->lines.len - offset);
        assert(end != NULL);
        offset = (size_t)(end - batch->lines.data) + 1;
        batch->line_ends[line] = (uint32_t)offset;
    }
    assert(offset == batch->lines.len);
}

/* Filling. */

static struct in_flight *free_slot(struct cursor *cursor) {
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        if (cursor->in_flight[i].ticket == 0)
            return &cursor->in_flight[i];
    return NULL;
}

static void expire(struct spool *spool, unsigned output, struct lane *lane, const struct record_head *head) {
    struct spool_settlement how = { .messages = { [FATE_EXPIRED] = 1 }, .lines = { [FATE_EXPIRED] = head->lines } };

    ledger_settle(&spool->ledger, output, &how, head->text_len);
    lane_pass(spool, output, lane, head);
}

static void note_in_flight(struct in_flight *slot, unsigned which, uint64_t sequence, int64_t appended_ns) {
    if (slot->part[which].first == UINT64_MAX)
        slot->part[which].first = sequence;
    slot->part[which].last = sequence;
    if (appended_ns < slot->oldest_ns)
        slot->oldest_ns = appended_ns;
}

static bool is_unsafe(const struct spool *spool, uint64_t sequence) {
    return sequence > spool_safe(spool) && sequence <= spool->wanted;
}

/* Copies whole records of one lane into the batch, until it is full or the lane cannot go on at once. */
static enum lane_state fill(struct spool *spool, unsigned output, unsigned which, const struct spool_flush *flush,
                            struct in_flight *slot, struct spool_batch *batch) {
    struct lane *lane = &spool->cursors[output].lanes[which];
    int64_t now_ns = spool_now_ns(spool);
    const struct record_head *head;
    enum lane_state state;

    while ((state = lane_next(spool, output, lane, &head)) == LANE_RECORD) {
        uint64_t sequence = lane->at + 1 + record_gap(head);
        if (is_unsafe(spool, sequence))
            return LANE_EMPTY;
        if (spool_is_expired(spool, head->appended_ns, now_ns)) {
            expire(spool, output, lane, head);
            continue;
        }
        bool fits = batch->line_count + head->lines <= flush->max_lines &&
                    batch->lines.len + head->text_len <= flush->max_bytes;
        if ((batch->record_count > 0 && !fits) || !batch_add(batch, head, spool->clock_offset_ns))
            break;
        lane_pass(spool, output, lane, head);
        note_in_flight(slot, which, lane->at, batch->records[batch->record_count - 1].appended_ns);
    }
    return state;
}

/* Fills from one lane, reading files as needed: the lock is given up meanwhile, so what was taken is noted before. True: more is there. */
static bool gather(struct spool *spool, unsigned output, unsigned which, const struct spool_flush *flush,
                   struct in_flight *slot, struct spool_batch *batch) {
    struct lane *lane = &spool->cursors[output].lanes[which];

    for (;;) {
        enum lane_state state = lane->loading ? LANE_EMPTY : fill(spool, output, which, flush, slot, batch);
        if (state != LANE_MUST_LOAD || lane->loading || !lane_load(spool, lane))
            return lane->loading || state != LANE_EMPTY;
    }
}

static struct spool_flush share_of(const struct spool_flush *flush, unsigned percent) {
    struct spool_flush share = *flush;

    share.max_lines = (uint32_t)((uint64_t)flush->max_lines * percent / 100);
    share.max_bytes = flush->max_bytes / 100 * percent;
    return share;
}

/*
 * Live data first, up to its share, and the rest of the request is the backlog's: a database that takes a while for each request must not
 * get requests of a few live lines while the backlog waits.
 */
static void gather_both(struct spool *spool, unsigned output, const struct spool_flush *flush, struct in_flight *slot,
                        struct spool_batch *batch) {
    struct cursor *cursor = &spool->cursors[output];
    unsigned live = spool->options.live_percent, first = cursor->backlog_owed ? LANE_BACKLOG : LANE_MAIN;
    struct spool_flush share = share_of(flush, first == LANE_MAIN ? live : 100 - live);
    bool more_of_first, more_of_second;

    if (clock_mono_ns() < batch->live_only_until_ns && !spool->flushing && !spool->closing) {
        batch->more = gather(spool, output, LANE_MAIN, flush, slot, batch);
        return;
    }
    gather(spool, output, first, &share, slot, batch);
    more_of_second = gather(spool, output, first == LANE_MAIN ? LANE_BACKLOG : LANE_MAIN, flush, slot, batch);
    cursor->backlog_owed = slot->part[LANE_BACKLOG].last == 0; /* one live record took it all */
    more_of_first = gather(spool, output, first, flush, slot, batch);
    batch->more = slot->part[LANE_BACKLOG].last > 0 || (first == LANE_MAIN ? more_of_first : more_of_second);
}

static bool nothing_is_loading(const struct cursor *cursor) {
    return !cursor->lanes[LANE_MAIN].loading && !cursor->lanes[LANE_BACKLOG].loading;
}

/* False when nothing could be taken at this moment. */
static bool take(struct spool *spool, unsigned output, const struct spool_flush *flush, struct spool_batch *batch) {
    struct cursor *cursor = &spool->cursors[output];
    struct in_flight *slot = free_slot(cursor);
    const struct record_head *head;

    if (slot == NULL)
        return false;
    batch->ticket = ++spool->next_ticket;
    *slot = (struct in_flight){ .ticket = batch->ticket, .part = { { UINT64_MAX, 0 }, { UINT64_MAX, 0 } }, .oldest_ns = INT64_MAX };
    if (lane_has_backlog(spool, output))
        gather_both(spool, output, flush, slot, batch);
    else
        batch->more = gather(spool, output, LANE_MAIN, flush, slot, batch);
    if (batch->record_count == 0) {
        slot->ticket = 0;
        if (cursor->unread_messages > 0 && cursor->range_count == 0 && nothing_is_loading(cursor) &&
            lane_next(spool, output, &cursor->lanes[LANE_MAIN], &head) == LANE_EMPTY)
            lane_give_up_lost(spool, output);
        return false;
    }
    log_release(spool);
    commit_wake(spool);
    if (cursor->waiting > 0 && cursor->unread_lines >= cursor->wake_lines)
        pthread_cond_signal(&cursor->ready);
    return true;
}

/* Waiting. */

/* When the oldest unread record was appended, as far as that is known without reading; monotonic. */
static int64_t oldest_unread_ns(struct spool *spool, unsigned output) {
    struct cursor *cursor = &spool->cursors[output];
    struct lane *lane = &cursor->lanes[cursor->range_count > 0 ? LANE_BACKLOG : LANE_MAIN];
    const struct record_head *head;
    int64_t real_ns;

    if (lane->loading || lane_next(spool, output, lane, &head) != LANE_RECORD)
        real_ns = lane->segment != NULL ? lane->segment->oldest_ns : spool_now_ns(spool);
    else
        real_ns = head->appended_ns;
    return real_ns - spool->clock_offset_ns;
}

static bool is_ready(const struct spool *spool, const struct cursor *cursor, const struct spool_flush *flush,
                     int64_t oldest_ns) {
    return spool->closing || spool->flushing || cursor->unread_lines >= flush->early_lines ||
           cursor->unread_lines >= flush->max_lines || cursor->unread_bytes >= flush->max_bytes ||
           clock_mono_ns() - oldest_ns >= flush->max_age_ns;
}

static void wait_for_records(struct spool *spool, struct cursor *cursor, const struct spool_flush *flush, bool some,
                             int64_t oldest_ns) {
    uint32_t threshold = flush->early_lines < flush->max_lines ? flush->early_lines : flush->max_lines;

    if (cursor->waiting++ == 0 || threshold < cursor->wake_lines)
        cursor->wake_lines = threshold;
    if (!some) {
        pthread_cond_wait(&cursor->ready, &spool->lock);
    } else {
        struct timespec until = clock_timespec(oldest_ns + flush->max_age_ns);
        pthread_cond_timedwait(&cursor->ready, &spool->lock, &until);
    }
    cursor->waiting--;
}

/* A batch that is as large as it would be if all of it could be taken, or all that is there. Estimated: outputs share the sequence. */
static bool enough_is_safe(const struct spool *spool, const struct cursor *cursor, const struct spool_flush *flush) {
    const struct lane *lane = &cursor->lanes[LANE_MAIN];
    uint64_t safe = spool_safe(spool), wanted = flush->early_lines < flush->max_lines ? flush->early_lines : flush->max_lines;

    if (safe >= spool->wanted || cursor->range_count > 0)
        return true;
    uint64_t records = safe > lane->sequence ? safe - lane->sequence : 0;
    return records > 0 && (records >= cursor->unread_messages ||
                           records * cursor->unread_lines / cursor->unread_messages >= wanted);
}

/* A disk that says nothing for that long (flash cards do) is no reason to keep fresh data from the database. */
static void wait_for_disk(struct spool *spool, struct cursor *cursor) {
    struct timespec until = clock_timespec(clock_mono_ns() + spool->options.patience_ns);

    cursor->waiting_for_disk++;
    if (pthread_cond_timedwait(&cursor->ready, &spool->lock, &until) == ETIMEDOUT)
        spool->stalled = true;
    cursor->waiting_for_disk--;
}

void take_wake(struct spool *spool) {
    spool->stalled = false;
    for (unsigned i = 0; i < spool->options.outputs; i++)
        if (spool->cursors[i].waiting_for_disk > 0)
            pthread_cond_broadcast(&spool->cursors[i].ready);
}

/* No memory, no handle, or another thread reads the file for this output: nothing is lost, it is tried again a little later. */
static void pause_a_moment(struct spool *spool) {
    pthread_mutex_unlock(&spool->lock);
    nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    pthread_mutex_lock(&spool->lock);
}

bool spool_take(struct spool *spool, unsigned output, const struct spool_flush *flush, struct spool_batch *batch) {
    struct cursor *cursor = &spool->cursors[output];
    bool taken = false;

    batch_reset(batch);
    pthread_mutex_lock(&spool->lock);
    while (!spool->interrupted) {
        bool some = cursor->unread_messages > 0;
        int64_t oldest_ns = some ? oldest_unread_ns(spool, output) : 0;
        if (!some && spool->closing)
            break;
        if (!some || !is_ready(spool, cursor, flush, oldest_ns)) {
            wait_for_records(spool, cursor, flush, some, oldest_ns);
            continue;
        }
        if (!enough_is_safe(spool, cursor, flush)) {
            wait_for_disk(spool, cursor);
            continue;
        }
        taken = take(spool, output, flush, batch);
        if (taken)
            break;
        if (cursor->unread_messages > 0)
            pause_a_moment(spool);
    }
    pthread_mutex_unlock(&spool->lock);
    if (taken)
        find_line_ends(batch);
    return taken;
}

/* The end. */

void spool_settle(struct spool *spool, unsigned output, struct spool_batch *batch, const struct spool_settlement *how) {
    struct cursor *cursor = &spool->cursors[output];
    struct spool_settlement ended = *how;
    uint64_t bytes = batch->lines.len;
    bool kept = spool->disk && how->messages[FATE_DROPPED_SHUTDOWN] > 0;

    if (kept) {
        if (batch->line_count > 0) /* which bytes those are is not known; the figure is approximate, and only at the end */
            bytes = bytes * (batch->line_count - how->lines[FATE_DROPPED_SHUTDOWN]) / batch->line_count;
        ended.messages[FATE_DROPPED_SHUTDOWN] = ended.lines[FATE_DROPPED_SHUTDOWN] = 0;
    }
    pthread_mutex_lock(&spool->lock);
    ledger_settle(&spool->ledger, output, &ended, bytes);
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++) {
        struct in_flight *slot = &cursor->in_flight[i];
        if (slot->ticket == batch->ticket && kept)
            slot->kept = true;
        else if (slot->ticket == batch->ticket)
            slot->ticket = 0;
    }
    spool->settled_batches++;
    if (spool->disk) {
        log_release(spool);
        commit_wake(spool);
    }
    pthread_mutex_unlock(&spool->lock);
    batch->ticket = 0;
}
