/*
 * agent/spool/spool.c: the memory form. Segments in a list, one cursor per output, one lock. Appending copies into the last
 * segment; taking copies out of the first ones; both are short. The commit thread publishes the durable sequence in groups, as the
 * form on disk must, so that acknowledgements cost a wake-up per group and not per message.
 */
#include "agent/spool/spool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/spool/ledger.h"
#include "agent/spool/segment.h"

enum {
    SEGMENT_MAX = 1024 * 1024,
    SEGMENTS_MIN = 8,      /* the limit is shared by at least so many, so that drop_oldest drops an eighth at most */
    IN_FLIGHT_MAX = 64,    /* batches per output: one per sender thread */
    GROUP_WAIT_US = 500,   /* what one wake-up gathers: a window of 20 still makes 40,000 messages/s */
    RECORD_MAX = 1 << 30,
};

struct in_flight {
    uint64_t ticket;      /* 0: free */
    int64_t oldest_ns;
    uint64_t bytes;
};

struct cursor {
    struct segment *segment;
    size_t offset;
    uint64_t unread_messages, unread_lines, unread_bytes;
    unsigned waiting;
    uint32_t wake_lines; /* of the waiting reader with the smallest threshold */
    pthread_cond_t ready;
    struct in_flight in_flight[IN_FLIGHT_MAX];
};

struct spool {
    pthread_mutex_t lock;
    struct spool_options options;
    size_t segment_size;
    struct segment *first, *last, *spare;
    uint64_t bytes, segments; /* of live segments */
    uint64_t appended, durable, wanted; /* sequences: given, published, and the last one that somebody waits for */
    uint64_t next_ticket;
    bool closing, interrupted, flushing;
    struct ledger ledger;
    struct cursor cursors[SPOOL_OUTPUTS_MAX];
    pthread_t committer;
    pthread_cond_t commit;
    bool committer_waiting;
    void (*notify)(void *ctx, uint64_t sequence);
    void *notify_ctx;
};

/* Segments. */

static bool add_segment(struct spool *spool, size_t size) {
    struct segment *segment = spool->spare;

    if (segment != NULL && segment->size == size) {
        spool->spare = NULL;
        segment->used = 0;
        segment->next = NULL;
    } else {
        segment = segment_new(size);
        if (segment == NULL)
            return false;
    }
    spool->last->next = segment;
    spool->last = segment;
    spool->bytes += size;
    spool->segments++;
    return true;
}

static void drop_first_segment(struct spool *spool) {
    struct segment *segment = spool->first;

    spool->first = segment->next;
    spool->bytes -= segment->size;
    spool->segments--;
    if (spool->spare == NULL && segment->size == spool->segment_size)
        spool->spare = segment;
    else
        segment_free(segment);
}

/* The next record for `output` at or behind the cursor; NULL when there is none. */
static const struct record_head *next_record(struct cursor *cursor, unsigned output) {
    for (;;) {
        if (cursor->offset == cursor->segment->used) {
            if (cursor->segment->next == NULL)
                return NULL;
            cursor->segment = cursor->segment->next;
            cursor->offset = 0;
            continue;
        }
        const struct record_head *head = segment_record(cursor->segment, cursor->offset);
        if (head->outputs >> output & 1)
            return head;
        cursor->offset += head->size;
    }
}

static void pass_record(struct cursor *cursor, const struct record_head *head) {
    cursor->offset += head->size;
    cursor->unread_messages--;
    cursor->unread_lines -= head->lines;
    cursor->unread_bytes -= head->text_len;
}

/* Frees what every output has passed. With nothing unread at all the last segment starts over, warm in the cache. */
static void release_passed(struct spool *spool) {
    bool idle = true;

    for (unsigned i = 0; i < spool->options.outputs; i++) {
        struct cursor *cursor = &spool->cursors[i];
        if (cursor->unread_messages == 0) {
            cursor->segment = spool->last;
            cursor->offset = spool->last->used;
        } else {
            idle = false;
        }
    }
    while (spool->first != spool->last) {
        for (unsigned i = 0; i < spool->options.outputs; i++)
            if (spool->cursors[i].segment == spool->first)
                return;
        drop_first_segment(spool);
    }
    if (idle) {
        spool->last->used = 0;
        for (unsigned i = 0; i < spool->options.outputs; i++)
            spool->cursors[i].offset = 0;
    }
}

/* What `output` has not read in the segment its cursor stands in ends as `fate`. */
static void abandon_segment(struct spool *spool, unsigned output, enum spool_fate fate) {
    struct cursor *cursor = &spool->cursors[output];
    struct segment *segment = cursor->segment;
    struct spool_settlement how = { 0 };
    uint64_t bytes = 0;
    const struct record_head *head;

    while (cursor->unread_messages > 0 && (head = next_record(cursor, output)) != NULL && cursor->segment == segment) {
        how.messages[fate]++;
        how.lines[fate] += head->lines;
        bytes += head->text_len;
        pass_record(cursor, head);
    }
    ledger_settle(&spool->ledger, output, &how, bytes);
}

static void drop_oldest(struct spool *spool) {
    struct segment *oldest = spool->first;

    for (unsigned i = 0; i < spool->options.outputs; i++) {
        if (spool->cursors[i].segment != oldest)
            continue;
        abandon_segment(spool, i, FATE_DROPPED_FULL);
        if (spool->cursors[i].segment == oldest) {
            spool->cursors[i].segment = oldest->next;
            spool->cursors[i].offset = 0;
        }
    }
    drop_first_segment(spool);
}

/* Room for `size` more bytes in the last segment, under the limit. */
static bool make_room(struct spool *spool, size_t size) {
    size_t wanted = size > spool->segment_size ? size : spool->segment_size;

    if (spool->last->size - spool->last->used >= size)
        return true;
    release_passed(spool);
    if (spool->last->size - spool->last->used >= size)
        return true;
    if (wanted > spool->options.max_bytes)
        return false;
    if (spool->options.when_full == SPOOL_DROP_OLDEST) {
        /* The last one cannot go, as it is where appending happens; unless it is empty there is always one before it or room. */
        while (spool->bytes + wanted > spool->options.max_bytes && spool->first != spool->last)
            drop_oldest(spool);
    }
    return spool->bytes + wanted <= spool->options.max_bytes && add_segment(spool, wanted);
}

/* Appending. */

static void wake_reader(struct cursor *cursor, bool was_empty) {
    if (cursor->waiting > 0 && (was_empty || cursor->unread_lines >= cursor->wake_lines))
        pthread_cond_signal(&cursor->ready);
}

static void append_record(struct spool *spool, const struct spool_record *record, int64_t now_ns) {
    segment_append(spool->last, record, ++spool->appended, now_ns);
    for (uint64_t left = record->outputs; left != 0; left &= left - 1) {
        struct cursor *cursor = &spool->cursors[__builtin_ctzll(left)];
        bool was_empty = cursor->unread_messages == 0;
        cursor->unread_messages++;
        cursor->unread_lines += record->lines;
        cursor->unread_bytes += record->text.len;
        wake_reader(cursor, was_empty);
    }
}

static size_t total_size(const struct spool_record *records, size_t count) {
    size_t size = 0;

    for (size_t i = 0; i < count && size < RECORD_MAX; i++)
        size += record_size(&records[i]);
    return size;
}

static enum spool_result turn_away(struct spool *spool, bool may_refuse) {
    bool returned = may_refuse && (spool->options.when_full == SPOOL_BLOCK || spool->closing);

    spool->ledger.received++;
    spool->ledger.common[returned ? FATE_RETURNED : FATE_DROPPED_FULL]++;
    return returned ? SPOOL_REFUSED : SPOOL_DROPPED;
}

/* Only what will be acknowledged needs the commit thread's word; without a waiter in front it is durable as it stands. */
static void want_durable(struct spool *spool, bool acknowledged) {
    if (acknowledged) {
        spool->wanted = spool->appended;
        if (spool->committer_waiting)
            pthread_cond_signal(&spool->commit);
    } else if (spool->wanted <= spool->durable) {
        spool->durable = spool->appended;
    }
}

enum spool_result spool_append(struct spool *spool, const struct spool_record *records, size_t count, bool may_refuse,
                               uint64_t *sequence) {
    size_t size = total_size(records, count);
    int64_t now_ns = clock_mono_ns();
    enum spool_result result = SPOOL_APPENDED;

    pthread_mutex_lock(&spool->lock);
    if (spool->closing || size >= RECORD_MAX || !make_room(spool, size)) {
        result = turn_away(spool, may_refuse);
    } else {
        ledger_message(&spool->ledger, records, count);
        for (size_t i = 0; i < count; i++)
            append_record(spool, &records[i], now_ns);
        *sequence = spool->appended;
        want_durable(spool, may_refuse);
    }
    pthread_mutex_unlock(&spool->lock);
    return result;
}

void spool_account(struct spool *spool, enum spool_fate fate) {
    pthread_mutex_lock(&spool->lock);
    spool->ledger.received++;
    spool->ledger.common[fate]++;
    pthread_mutex_unlock(&spool->lock);
}

/* The commit thread. */

/* Under `block` acknowledgements stop while an eighth or less of the limit is free: that eighth takes what is in flight. */
static bool is_holding_back(const struct spool *spool) {
    return spool->options.when_full == SPOOL_BLOCK && !spool->closing &&
           spool->bytes > spool->options.max_bytes - spool->options.max_bytes / 8;
}

static void *commit_thread(void *arg) {
    struct spool *spool = arg;

    pthread_mutex_lock(&spool->lock);
    for (;;) {
        while ((spool->wanted <= spool->durable || is_holding_back(spool)) && !spool->closing) {
            spool->committer_waiting = true;
            pthread_cond_wait(&spool->commit, &spool->lock);
            spool->committer_waiting = false;
        }
        if (spool->wanted <= spool->durable && spool->closing)
            break;
        if (!spool->closing) {
            struct timespec pause = { 0, GROUP_WAIT_US * 1000L };
            pthread_mutex_unlock(&spool->lock);
            nanosleep(&pause, NULL);
            pthread_mutex_lock(&spool->lock);
        }
        spool->durable = spool->appended;
        uint64_t durable = spool->durable;
        pthread_mutex_unlock(&spool->lock);
        if (spool->notify != NULL)
            spool->notify(spool->notify_ctx, durable);
        pthread_mutex_lock(&spool->lock);
    }
    pthread_mutex_unlock(&spool->lock);
    return NULL;
}

static void wake_committer(struct spool *spool) {
    if (spool->committer_waiting)
        pthread_cond_signal(&spool->commit);
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

/* Taking. */

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

static bool batch_add(struct spool_batch *batch, const struct record_head *head) {
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
        .appended_ns = head->appended_ns,
    };
    buf_append_str(&batch->topics, topic);
    buf_append_str(&batch->lines, text);
    batch->line_count += head->lines;
    if (batch->first_sequence == 0)
        batch->first_sequence = head->sequence;
    batch->last_sequence = head->sequence;
    return true;
}

static struct in_flight *free_slot(struct cursor *cursor) {
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        if (cursor->in_flight[i].ticket == 0)
            return &cursor->in_flight[i];
    return NULL;
}

/* Copies whole records into the batch. False when there is no memory even for the first. */
static bool take_records(struct spool *spool, unsigned output, const struct spool_flush *flush, struct spool_batch *batch) {
    struct cursor *cursor = &spool->cursors[output];
    struct in_flight *slot = free_slot(cursor);
    const struct record_head *head;

    if (slot == NULL)
        return false;
    while (cursor->unread_messages > 0 && (head = next_record(cursor, output)) != NULL) {
        bool fits = batch->line_count + head->lines <= flush->max_lines &&
                    batch->lines.len + head->text_len <= flush->max_bytes;
        if (batch->record_count > 0 && !fits)
            break;
        if (!batch_add(batch, head))
            break;
        pass_record(cursor, head);
    }
    if (batch->record_count == 0)
        return false;
    batch->ticket = ++spool->next_ticket;
    *slot = (struct in_flight){ batch->ticket, batch->records[0].appended_ns, batch->lines.len };
    release_passed(spool);
    wake_committer(spool);
    if (cursor->waiting > 0 && cursor->unread_lines >= cursor->wake_lines)
        pthread_cond_signal(&cursor->ready);
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

static bool is_ready(const struct spool *spool, const struct cursor *cursor, const struct spool_flush *flush,
                     int64_t oldest_ns) {
    return spool->closing || spool->flushing || cursor->unread_lines >= flush->early_lines ||
           cursor->unread_lines >= flush->max_lines || cursor->unread_bytes >= flush->max_bytes ||
           clock_mono_ns() - oldest_ns >= flush->max_age_ns;
}

static void wait_for_records(struct spool *spool, struct cursor *cursor, const struct spool_flush *flush,
                             const struct record_head *oldest) {
    uint32_t threshold = flush->early_lines < flush->max_lines ? flush->early_lines : flush->max_lines;

    if (cursor->waiting++ == 0 || threshold < cursor->wake_lines)
        cursor->wake_lines = threshold;
    if (oldest == NULL) {
        pthread_cond_wait(&cursor->ready, &spool->lock);
    } else {
        struct timespec until = clock_timespec(oldest->appended_ns + flush->max_age_ns);
        pthread_cond_timedwait(&cursor->ready, &spool->lock, &until);
    }
    cursor->waiting--;
}

bool spool_take(struct spool *spool, unsigned output, const struct spool_flush *flush, struct spool_batch *batch) {
    struct cursor *cursor = &spool->cursors[output];
    bool taken = false;

    buf_reset(&batch->lines);
    buf_reset(&batch->topics);
    batch->record_count = batch->line_count = 0;
    batch->first_sequence = 0;
    pthread_mutex_lock(&spool->lock);
    while (!spool->interrupted) {
        const struct record_head *oldest = cursor->unread_messages > 0 ? next_record(cursor, output) : NULL;
        if (oldest == NULL && spool->closing)
            break;
        if (oldest != NULL && is_ready(spool, cursor, flush, oldest->appended_ns)) {
            taken = take_records(spool, output, flush, batch);
            if (taken)
                break;
            /* No memory for a batch now: nothing is lost, it is tried again a little later. */
            pthread_mutex_unlock(&spool->lock);
            nanosleep(&(struct timespec){ 0, 50 * 1000 * 1000 }, NULL);
            pthread_mutex_lock(&spool->lock);
            continue;
        }
        wait_for_records(spool, cursor, flush, oldest);
    }
    pthread_mutex_unlock(&spool->lock);
    if (taken)
        find_line_ends(batch);
    return taken;
}

void spool_settle(struct spool *spool, unsigned output, struct spool_batch *batch, const struct spool_settlement *how) {
    struct cursor *cursor = &spool->cursors[output];

    pthread_mutex_lock(&spool->lock);
    ledger_settle(&spool->ledger, output, how, batch->lines.len);
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        if (cursor->in_flight[i].ticket == batch->ticket)
            cursor->in_flight[i].ticket = 0;
    pthread_mutex_unlock(&spool->lock);
    batch->ticket = 0;
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
    for (unsigned i = 0; i < spool->options.outputs; i++)
        while (spool->cursors[i].unread_messages > 0 && next_record(&spool->cursors[i], i) != NULL)
            abandon_segment(spool, i, FATE_DROPPED_SHUTDOWN);
    release_passed(spool);
    wake_everybody(spool);
    pthread_mutex_unlock(&spool->lock);
}

static int64_t oldest_pending_ns(struct cursor *cursor, unsigned output) {
    const struct record_head *head = cursor->unread_messages > 0 ? next_record(cursor, output) : NULL;
    int64_t oldest = head != NULL ? head->appended_ns : INT64_MAX;

    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        if (cursor->in_flight[i].ticket != 0 && cursor->in_flight[i].oldest_ns < oldest)
            oldest = cursor->in_flight[i].oldest_ns;
    return oldest;
}

void spool_figures(struct spool *spool, struct spool_figures *figures) {
    int64_t real_ns = clock_real_ns(), mono_ns = clock_mono_ns();

    pthread_mutex_lock(&spool->lock);
    *figures = (struct spool_figures){ .max_bytes = spool->options.max_bytes, .segments = spool->segments };
    ledger_figures(&spool->ledger, figures);
    for (const struct segment *segment = spool->first; segment != NULL; segment = segment->next)
        figures->bytes += segment == spool->last ? segment->used : segment->size;
    figures->appended_sequence = spool->appended;
    figures->durable_sequence = spool->durable;
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        int64_t oldest = oldest_pending_ns(&spool->cursors[i], i);
        figures->output[i].oldest_ns = oldest != INT64_MAX ? real_ns - (mono_ns - oldest) : 0;
    }
    pthread_mutex_unlock(&spool->lock);
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
    fine = pthread_cond_init(&spool->commit, NULL) == 0 && fine;
    pthread_condattr_destroy(&monotonic);
    return fine;
}

static size_t choose_segment_size(uint64_t max_bytes) {
    const size_t page = 4096;
    uint64_t size = max_bytes / SEGMENTS_MIN;

    if (size > SEGMENT_MAX)
        size = SEGMENT_MAX;
    return (size_t)size & ~(page - 1);
}

struct spool *spool_new(const struct spool_options *options, struct err *err) {
    struct spool *spool;

    if (options->outputs == 0 || options->outputs > SPOOL_OUTPUTS_MAX) {
        err_set(err, ERR_LIMIT, "the spool serves 1 to %d outputs, not %u", SPOOL_OUTPUTS_MAX, options->outputs);
        return NULL;
    }
    if (options->max_bytes < 1024 * 1024) {
        err_set(err, ERR_LIMIT, "the spool needs max_bytes of 1MiB or more");
        return NULL;
    }
    spool = calloc(1, sizeof *spool);
    if (spool == NULL || (spool->options = *options, spool->segment_size = choose_segment_size(options->max_bytes),
                          spool->first = spool->last = segment_new(spool->segment_size)) == NULL) {
        free(spool);
        err_set(err, ERR_LIMIT, "no memory for the spool");
        return NULL;
    }
    spool->bytes = spool->segment_size;
    spool->segments = 1;
    spool->ledger.outputs = options->outputs;
    for (unsigned i = 0; i < options->outputs; i++)
        spool->cursors[i].segment = spool->first;
    if (pthread_mutex_init(&spool->lock, NULL) != 0 || !init_conditions(spool) ||
        pthread_create(&spool->committer, NULL, commit_thread, spool) != 0) {
        segment_free(spool->first);
        free(spool);
        err_set(err, ERR_IO, "cannot start the spool's commit thread");
        return NULL;
    }
    return spool;
}

void spool_free(struct spool *spool) {
    if (spool == NULL)
        return;
    spool_close(spool);
    pthread_join(spool->committer, NULL);
    while (spool->first != NULL) {
        struct segment *next = spool->first->next;
        segment_free(spool->first);
        spool->first = next;
    }
    segment_free(spool->spare);
    for (unsigned i = 0; i < spool->options.outputs; i++)
        pthread_cond_destroy(&spool->cursors[i].ready);
    pthread_cond_destroy(&spool->commit);
    pthread_mutex_destroy(&spool->lock);
    free(spool);
}
