/*
 * agent/spool/thin.c: `when_full: thin`: instead of losing the oldest hours altogether, two old segments become one that
 * holds every second point of each series. Of those that are equally thin, the two are joined whose time is the smallest share of their age,
 * so that resolution falls with age and no more than it has to: half, then a quarter, and so on. On the commit thread; what is read and written goes without the lock, and is thrown away when
 * somebody began to read there meanwhile.
 */
#include <errno.h>
#include <stdlib.h>

#include "agent/spool/spool_internal.h"

/* How often each series was seen, by hash. */
struct series {
    uint64_t *keys;
    uint8_t *odd;
    size_t count, cap;
};

struct thinner {
    struct series series;
    struct chunk *out; /* one frame */
    struct buf text;
    uint64_t last;         /* sequence of the last record kept */
    bool message_kept;     /* a record of the message at hand was kept */
    struct segment *to;
    struct share dropped[SPOOL_OUTPUTS_MAX];
    int file;              /* -1: in memory */
    uint64_t at;           /* in the file */
    const struct file_ops *ops;
    bool failed;
};

/* Series. */

static bool series_grow(struct series *series) {
    size_t cap = series->cap == 0 ? 1024 : series->cap * 2;
    uint64_t *keys = calloc(cap, sizeof *keys);
    uint8_t *odd = calloc(cap, 1);

    if (keys == NULL || odd == NULL) {
        free(keys);
        free(odd);
        return false;
    }
    for (size_t i = 0; i < series->cap; i++) {
        size_t place = series->keys[i] & (cap - 1);
        if (series->keys[i] == 0)
            continue;
        while (keys[place] != 0)
            place = (place + 1) & (cap - 1);
        keys[place] = series->keys[i];
        odd[place] = series->odd[i];
    }
    free(series->keys);
    free(series->odd);
    series->keys = keys;
    series->odd = odd;
    series->cap = cap;
    return true;
}

/* Measurement and tags: up to the first blank that is not escaped. */
static struct str series_of(struct str line) {
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] == '\\')
            i++;
        else if (line.data[i] == ' ')
            return str_make(line.data, i);
    }
    return line;
}

/* True for the first, third, fifth ... line of a series. */
static bool series_keeps(struct thinner *thinner, struct str line) {
    struct series *series = &thinner->series;
    uint64_t key = str_hash(series_of(line)) | 1;
    size_t place;

    if (series->count * 2 >= series->cap && !series_grow(series)) {
        thinner->failed = true;
        return true;
    }
    place = (key >> 1) & (series->cap - 1);
    while (series->keys[place] != 0 && series->keys[place] != key)
        place = (place + 1) & (series->cap - 1);
    if (series->keys[place] == 0) {
        series->keys[place] = key;
        series->count++;
    }
    series->odd[place] ^= 1;
    return series->odd[place] == 1;
}

/* Records. */

static void flush_frame(struct thinner *thinner) {
    struct chunk *out = thinner->out;
    size_t len = page_round(out->used);

    if (out->used == 0 || thinner->file < 0)
        return;
    chunk_close_frame(out);
    frame_seal(chunk_frame(out, 0), thinner->to->generation, 0, clock_real_ns());
    if (file_write(thinner->ops, thinner->file, out->bytes, len, thinner->at) < 0)
        thinner->failed = true;
    thinner->at += len;
    chunk_reset(out, thinner->to);
}

/* Two halves may be a little more than one whole: then the last few points go as well. */
static bool fits_segment(const struct thinner *thinner, size_t size) {
    size_t wanted = thinner->out->used + 2 * sizeof(struct frame_header) + size;

    return thinner->file < 0 ? wanted <= thinner->out->size : thinner->at + page_round(wanted) + PAGE <= thinner->to->size;
}

static bool make_room(struct thinner *thinner, size_t size) {
    struct chunk *larger;

    if (thinner->out->used + 2 * sizeof(struct frame_header) + size <= thinner->out->size)
        return true;
    flush_frame(thinner);
    if (sizeof(struct frame_header) + size <= thinner->out->size)
        return true;
    larger = chunk_new(page_round(sizeof(struct frame_header) + size));
    if (larger == NULL)
        return false;
    chunk_free(thinner->out);
    thinner->out = larger;
    chunk_reset(larger, thinner->to);
    return true;
}

static uint32_t thin_text(struct thinner *thinner, struct str text) {
    uint32_t kept = 0;

    buf_reset(&thinner->text);
    while (text.len > 0) {
        const char *end = memchr(text.data, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.data) + 1 : text.len;
        struct str line = str_make(text.data, len);
        if (series_keeps(thinner, line)) {
            buf_append_str(&thinner->text, line);
            kept++;
        }
        text = str_make(text.data + len, text.len - len);
    }
    return kept;
}

static void count_record(struct thinner *thinner, uint64_t set, const struct record_head *head, uint32_t kept) {
    for (uint64_t left = set; left != 0; left &= left - 1) {
        unsigned output = (unsigned)__builtin_ctzll(left);
        struct share *stays = &thinner->to->total[output], *goes = &thinner->dropped[output];
        goes->messages += kept == 0;
        goes->lines += head->lines - kept;
        goes->bytes += head->text_len - thinner->text.len;
        stays->messages += kept > 0;
        stays->lines += kept;
        stays->bytes += thinner->text.len;
    }
}

static void thin_record(struct thinner *thinner, const struct record_head *head, uint64_t sequence, uint64_t set) {
    uint32_t kept;

    if (!(head->step & RECORD_SAME_MESSAGE))
        thinner->message_kept = false;
    if (set == 0)
        return;
    kept = thin_text(thinner, record_text(head));
    struct spool_record record = { .outputs = set, .lines = kept, .topic = record_topic(head), .text = buf_str(&thinner->text) };
    if (kept > 0 && !fits_segment(thinner, record_size(&record))) {
        kept = 0;
        buf_reset(&thinner->text);
    }
    if (thinner->text.failed || (kept > 0 && !make_room(thinner, record_size(&record)))) {
        thinner->failed = true;
        return;
    }
    count_record(thinner, set, head, kept);
    if (kept == 0)
        return;
    if (thinner->out->used > 0 && sequence - thinner->last - 1 > RECORD_GAP_MAX) {
        if (thinner->file < 0)
            chunk_close_frame(thinner->out);
        flush_frame(thinner);
        if (!make_room(thinner, record_size(&record))) {
            thinner->failed = true;
            return;
        }
    }
    chunk_append(thinner->out, &record, sequence, thinner->message_kept, head->appended_ns);
    thinner->last = sequence;
    thinner->message_kept = true;
}

/* Choosing: under the lock. */

static bool is_held(const struct spool *spool, const struct segment *segment) {
    for (unsigned i = 0; i < spool->options.outputs; i++) {
        const struct cursor *cursor = &spool->cursors[i];
        if (segment->passed[i].messages != 0 && segment->passed[i].messages != segment->total[i].messages)
            return true;
        for (int j = 0; j < LANES; j++)
            if (cursor->lanes[j].segment == segment)
                return true;
        for (unsigned j = 0; j < cursor->range_count; j++)
            if (cursor->ranges[j].segment == segment)
                return true;
        if (spool->disk && lane_in_flight(spool, i, segment))
            return true;
    }
    return spool->disk && segment->last_sequence > spool->synced;
}

static bool can_join(const struct spool *spool, const struct segment *segment) {
    const struct segment *next = segment->next;
    return next != NULL && next != spool->last && segment->size <= spool->segment_size && next->size <= spool->segment_size &&
           !is_held(spool, segment) && !is_held(spool, next);
}

/* Time, in segments of today's resolution. */
static double covers(const struct segment *segment) {
    return (double)(UINT64_C(1) << (segment->thinned < 60 ? segment->thinned : 60));
}

static struct segment *choose_pair(const struct spool *spool) {
    struct segment *equal = NULL, *any = NULL;
    double age = 0, least_equal = 2, least = 2;

    for (const struct segment *segment = spool->first; segment != NULL; segment = segment->next)
        age += covers(segment);
    for (struct segment *segment = spool->first; segment != NULL; age -= covers(segment), segment = segment->next) {
        if (!can_join(spool, segment))
            continue;
        double share = (covers(segment) + covers(segment->next)) / age;
        if (share < least) {
            least = share;
            any = segment;
        }
        if (segment->thinned == segment->next->thinned && share < least_equal) {
            least_equal = share;
            equal = segment;
        }
    }
    return equal != NULL ? equal : any;
}

static uint64_t wanted_set(const struct spool *spool, const struct segment *segment) {
    uint64_t set = 0;

    for (unsigned i = 0; i < spool->options.outputs; i++)
        if (segment->total[i].messages != segment->passed[i].messages)
            set |= UINT64_C(1) << i;
    return set;
}

/* Ending: under the lock. */

static void count_dropped(struct spool *spool, unsigned output, const struct share *from, const struct share *stays,
                          const struct share *goes) {
    struct cursor *cursor = &spool->cursors[output];
    struct spool_settlement how = { .messages = { 0 } };

    how.messages[FATE_DROPPED_FULL] = goes->messages;
    how.lines[FATE_DROPPED_FULL] = goes->lines;
    how.messages[FATE_DAMAGED] = from->messages - stays->messages - goes->messages;
    how.lines[FATE_DAMAGED] = from->lines - stays->lines - goes->lines;
    ledger_settle(&spool->ledger, output, &how, from->bytes - stays->bytes);
    cursor->unread_messages -= from->messages - stays->messages;
    cursor->unread_lines -= from->lines - stays->lines;
    cursor->unread_bytes -= from->bytes - stays->bytes;
}

/* `to` takes the place of `first` and what follows it. */
static void replace(struct spool *spool, struct segment *first, struct thinner *thinner) {
    struct segment *second = first->next, *to = thinner->to;

    for (unsigned i = 0; i < spool->options.outputs; i++) {
        struct share from = { 0 };
        for (const struct segment *old = first; old != second->next; old = old->next) {
            from.messages += old->total[i].messages - old->passed[i].messages;
            from.lines += old->total[i].lines - old->passed[i].lines;
            from.bytes += old->total[i].bytes - old->passed[i].bytes;
        }
        count_dropped(spool, i, &from, &to->total[i], &thinner->dropped[i]);
    }
    to->first_sequence = first->first_sequence;
    to->last_sequence = second->last_sequence;
    to->oldest_ns = first->oldest_ns;
    to->newest_ns = second->newest_ns;
    to->next = second->next;
    if (spool->first == first) {
        spool->first = to;
    } else {
        struct segment *before = spool->first;
        while (before->next != first)
            before = before->next;
        before->next = to;
    }
    spool->bytes += to->size;
    spool->bytes -= first->size + second->size;
    spool->segments--;
}

static bool begin_thinner(struct spool *spool, struct thinner *thinner, const struct segment *first) {
    unsigned level = first->thinned > first->next->thinned ? first->thinned : first->next->thinned;

    *thinner = (struct thinner){ .file = -1, .text = BUF_INIT(RECORD_MAX), .ops = spool->store.ops };
    thinner->to = segment_new(spool->segment_size, spool->options.outputs);
    thinner->out = chunk_new(spool->chunk_size);
    if (thinner->to == NULL || thinner->out == NULL || !series_grow(&thinner->series))
        return false;
    chunk_reset(thinner->out, thinner->to);
    thinner->to->thinned = level + 1;
    return true;
}

static void end_thinner(struct thinner *thinner) {
    free(thinner->series.keys);
    free(thinner->series.odd);
    buf_release(&thinner->text);
    chunk_free(thinner->out);
    segment_free(thinner->to);
}

/* In memory: two chunks become one, under the lock. */

static void thin_chunk(struct spool *spool, struct thinner *thinner, const struct segment *segment) {
    const struct chunk *chunk = spool->first_chunk;
    uint64_t wanted = wanted_set(spool, segment), sequence = 0;

    while (chunk->segment != segment)
        chunk = chunk->next;
    for (size_t offset = 0; offset < chunk->used && !thinner->failed;) {
        const struct record_head *head = (const struct record_head *)(const void *)(chunk->bytes + offset);
        if (head->size == FRAME_MAGIC) {
            sequence = chunk_frame(chunk, offset)->first_sequence - 1;
            offset += sizeof(struct frame_header);
        } else if (head->size == 0) {
            offset = page_round(offset);
        } else {
            sequence += 1 + record_gap(head);
            thin_record(thinner, head, sequence, head->outputs & wanted);
            offset += head->size;
        }
    }
}

static bool thin_in_memory(struct spool *spool, struct segment *first) {
    struct segment *second = first->next;
    struct chunk **link = &spool->first_chunk;
    struct thinner thinner;
    bool fine = begin_thinner(spool, &thinner, first);

    if (fine) {
        thin_chunk(spool, &thinner, first);
        thin_chunk(spool, &thinner, second);
        fine = !thinner.failed;
    }
    if (fine) {
        while ((*link)->segment != first)
            link = &(*link)->next;
        struct chunk *a = *link, *b = a->next;
        chunk_close_frame(thinner.out);
        thinner.out->next = b->next;
        *link = thinner.out;
        spool->resident -= spool->chunk_size;
        replace(spool, first, &thinner);
        chunk_free(a);
        chunk_free(b);
        segment_free(first);
        segment_free(second);
        thinner.out = NULL;
        thinner.to = NULL;
    }
    end_thinner(&thinner);
    return fine;
}

/* On disk. */

static void thin_file(struct spool *spool, struct thinner *thinner, const struct segment *segment, uint64_t wanted) {
    struct scan scan = { 0 };
    int file = store_open_segment(&spool->store, segment);
    uint64_t last = 0;

    if (file < 0) {
        thinner->failed = true;
        return;
    }
    scan_begin(&scan, SEGMENT_DATA);
    while (!thinner->failed &&
           scan_next(&scan, thinner->ops, file, segment->generation, segment->file_used) == SCAN_FRAME) {
        const char *at = (const char *)(scan.frame + 1), *end = at + scan.frame->body_len;
        uint64_t sequence = scan.frame->first_sequence - 1;
        while (at < end && !thinner->failed) {
            const struct record_head *head = (const struct record_head *)(const void *)at;
            at += head->size;
            sequence += 1 + record_gap(head);
            if (sequence > last) /* the states of a frame repeat each other */
                thin_record(thinner, head, sequence, segment_set(segment, head, spool->options.outputs) & wanted);
            last = sequence > last ? sequence : last;
        }
    }
    scan_release(&scan);
    thinner->ops->close(thinner->ops->ctx, file);
}

/* Still there, and untouched since it was chosen. */
static bool is_still_free(const struct spool *spool, const struct segment *first, const struct segment *second) {
    for (const struct segment *segment = spool->first; segment != NULL; segment = segment->next)
        if (segment == first)
            return segment->next == second && can_join(spool, segment);
    return false;
}

static bool thin_on_disk(struct spool *spool, struct segment *first) {
    struct segment *second = first->next;
    uint64_t wanted = wanted_set(spool, first), wanted_second = wanted_set(spool, second);
    struct store *store = &spool->store;
    struct thinner thinner;
    bool fine = begin_thinner(spool, &thinner, first);

    if (!fine || !log_evict_segment(spool, second)) {
        end_thinner(&thinner);
        return false;
    }
    thinner.to->number = first->number;
    thinner.at = SEGMENT_DATA;
    first->pins++;
    second->pins++;
    pthread_mutex_unlock(&spool->lock);
    thinner.file = store_begin_replacement(store, thinner.to);
    if (thinner.file >= 0) {
        thin_file(spool, &thinner, first, wanted);
        thin_file(spool, &thinner, second, wanted_second);
        flush_frame(&thinner);
        thinner.failed = thinner.failed || file_sync(thinner.ops, thinner.file) < 0;
        thinner.ops->close(thinner.ops->ctx, thinner.file);
    }
    pthread_mutex_lock(&spool->lock);
    first->pins--;
    second->pins--;
    fine = thinner.file >= 0 && !thinner.failed && is_still_free(spool, first, second);
    /* The names change under the lock: a reader that comes now must not find the old file with the new generation. */
    if (fine)
        fine = store_end_replacement(store, thinner.to, second) >= 0;
    else
        store_abandon_replacement(store);
    if (fine) {
        thinner.to->filed = true;
        thinner.to->file_used = thinner.at;
        replace(spool, first, &thinner);
        segment_free(first);
        segment_free(second);
        thinner.to = NULL;
    }
    end_thinner(&thinner);
    return fine;
}

void thin_oldest(struct spool *spool) {
    struct segment *first;

    spool->thinning = true;
    while (is_short_of_room(spool) && (first = choose_pair(spool)) != NULL)
        if (!(spool->disk ? thin_on_disk(spool, first) : thin_in_memory(spool, first)))
            break;
    spool->thinning = spool->thin_wanted = false;
}
