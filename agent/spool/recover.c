/*
 * agent/spool/recover.c: the start on disk. What is in the directory is read in the order of segment numbers, frame by frame; what is
 * damaged is passed over, copied aside and counted. Every run begins a segment of its own, so an old tail is never written behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "agent/spool/spool_internal.h"

struct found_file {
    uint64_t number;
    struct segment_header header;
    bool good;       /* the header can be trusted */
    uint64_t size;
};

struct recovery {
    const struct recovery_watch *watch; /* NULL: it is the start */
    struct spool *spool;
    struct store *store;
    struct spool_recovery *report;
    struct checkpoint_slot checkpoint;
    bool has_checkpoint;
    uint64_t settled[SPOOL_OUTPUTS_MAX]; /* by the checkpoint */
    struct found_file *files;
    size_t count, cap;
    bool out_of_memory;
    uint64_t last_sequence, highest; /* met so far in frames; and anywhere */
    uint64_t last_number;
    /* Bytes at the end of the segment before, of which the next frame will tell whether anything is missing. */
    struct segment *tail_of;
    uint64_t tail_from, tail_to;
};

/* Listing. */

static bool is_ours(const char *name) {
    struct str text = str_of(name);
    return str_eq_c(text, ".") || str_eq_c(text, "..") || str_eq_c(text, "checkpoint") || str_eq_c(text, "spare.free") ||
           str_eq_c(text, "new.tmp") || (str_starts_with(text, STR("damaged-")) && str_ends_with(text, STR(".bin")));
}

static void note_name(void *ctx, const char *name) {
    struct recovery *recovery = ctx;
    uint64_t number;

    if (!segment_file_number(name, &number)) {
        recovery->report->foreign_files += !is_ours(name);
        return;
    }
    if (recovery->count == recovery->cap) {
        size_t cap = recovery->cap == 0 ? 64 : recovery->cap * 2;
        struct found_file *larger = realloc(recovery->files, cap * sizeof *larger);
        if (larger == NULL) {
            recovery->out_of_memory = true;
            return;
        }
        recovery->files = larger;
        recovery->cap = cap;
    }
    recovery->files[recovery->count++] = (struct found_file){ .number = number };
}

static int by_number(const void *a, const void *b) {
    const struct found_file *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static bool list_files(struct recovery *recovery, struct err *err) {
    const struct file_ops *ops = recovery->store->ops;
    int error = ops->list(ops->ctx, recovery->store->directory, note_name, recovery);

    if (error < 0)
        return err_set_errno(err, -error, "cannot list %s", recovery->store->path);
    if (recovery->out_of_memory)
        return err_set(err, ERR_LIMIT, "no memory to list %s", recovery->store->path);
    if (recovery->count > 0)
        qsort(recovery->files, recovery->count, sizeof recovery->files[0], by_number);
    ops->unlink(ops->ctx, recovery->store->directory, "spare.free");
    ops->unlink(ops->ctx, recovery->store->directory, "new.tmp");
    return true;
}

/* Headers. */

static bool is_foreign_format(const struct segment_header *header) {
    return memcmp(header->magic, SEGMENT_MAGIC, sizeof header->magic) == 0 && header->version != FORMAT_VERSION &&
           segment_header_good(header);
}

/* Either copy will do. */
static void read_header(const struct file_ops *ops, int file, struct found_file *found) {
    struct segment_header header;

    for (uint64_t copy = 0; copy < 2 && !found->good; copy++) {
        memset(&header, 0, sizeof header);
        if (file_read(ops, file, &header, sizeof header, copy * PAGE) == (ssize_t)sizeof header && segment_header_good(&header)) {
            found->header = header;
            found->good = true;
        }
    }
}

static bool read_headers(struct recovery *recovery, struct err *err) {
    const struct file_ops *ops = recovery->store->ops;

    for (size_t i = 0; i < recovery->count; i++) {
        struct found_file *found = &recovery->files[i];
        char name[FILE_NAME_SIZE];
        segment_file_name(name, found->number);
        int file = file_open(ops, recovery->store->directory, name, O_RDWR);
        if (file == -EACCES || file == -EPERM)
            return err_set(err, ERR_IO, "may not read %s/%s: give the directory's files to the user who runs heliograf (chown -R)",
                           recovery->store->path, name);
        if (file < 0)
            continue; /* not readable now; what it holds stays there */
        int64_t size = ops->size(ops->ctx, file);
        found->size = size > 0 ? (uint64_t)size : 0;
        read_header(ops, file, found);
        ops->close(ops->ctx, file);
    }
    return true;
}

/* Whose spool this is: the checkpoint says, or the newest segment. */
static void choose_uuid(struct recovery *recovery) {
    uint8_t *uuid = recovery->store->uuid;

    if (recovery->has_checkpoint) {
        memcpy(uuid, recovery->checkpoint.uuid, 16);
        return;
    }
    for (size_t i = recovery->count; i-- > 0;) {
        if (!recovery->files[i].good)
            continue;
        memcpy(uuid, recovery->files[i].header.uuid, 16);
        return;
    }
    for (int half = 0; half < 2; half++) {
        uint64_t bits = store_random();
        memcpy(uuid + half * 8, &bits, sizeof bits);
    }
}

static void add_output(struct store *store, uint64_t hash, const char *name) {
    for (unsigned i = 0; i < store->outputs; i++)
        if (store->names[i].hash == hash)
            return;
    if (store->outputs == SPOOL_OUTPUTS_MAX)
        return;
    store->names[store->outputs].hash = hash;
    memcpy(store->names[store->outputs++].name, name, OUTPUT_NAME_MAX);
}

/* For who has no configuration: everybody that the directory knows. */
static void adopt_outputs(struct recovery *recovery) {
    struct spool *spool = recovery->spool;

    for (uint32_t i = 0; i < recovery->checkpoint.count; i++)
        add_output(recovery->store, recovery->checkpoint.entries[i].hash, recovery->checkpoint.entries[i].name);
    for (size_t i = recovery->count; i-- > 0;) /* a file without a header says 0 */
        for (uint32_t j = 0; j < recovery->files[i].header.outputs; j++)
            add_output(recovery->store, recovery->files[i].header.names[j].hash, recovery->files[i].header.names[j].name);
    spool->options.outputs = spool->ledger.outputs = recovery->store->outputs;
}

static void read_checkpoint(struct recovery *recovery) {
    struct store *store = recovery->store;

    recovery->has_checkpoint = store_read_checkpoint(store, &recovery->checkpoint);
    if (recovery->watch != NULL)
        adopt_outputs(recovery);
    for (uint32_t i = 0; i < recovery->checkpoint.count; i++) {
        const struct checkpoint_entry *entry = &recovery->checkpoint.entries[i];
        if (entry->sequence >= SEQUENCE_MAX)
            continue;
        if (recovery->highest < entry->sequence)
            recovery->highest = entry->sequence;
        for (unsigned j = 0; j < store->outputs; j++)
            if (store->names[j].hash == entry->hash)
                recovery->settled[j] = entry->sequence;
    }
}

/* Which bit of the file is which output of today. */
static void map_outputs(const struct recovery *recovery, struct segment *segment, const struct segment_header *header) {
    segment->mapped = true;
    for (unsigned i = 0; i < SPOOL_OUTPUTS_MAX; i++)
        segment->bit[i] = -1;
    for (unsigned i = 0; i < recovery->store->outputs; i++)
        for (uint32_t j = 0; j < header->outputs; j++)
            if (header->names[j].hash == recovery->store->names[i].hash)
                segment->bit[i] = (int8_t)j;
}

/* Frames. */

static void add_share(struct recovery *recovery, struct segment *segment, uint64_t set, const struct record_head *head) {
    for (uint64_t left = set; left != 0; left &= left - 1) {
        unsigned output = (unsigned)__builtin_ctzll(left);
        struct cursor *cursor = &recovery->spool->cursors[output];
        segment->total[output].messages++;
        segment->total[output].lines += head->lines;
        segment->total[output].bytes += head->text_len;
        cursor->unread_messages++;
        cursor->unread_lines += head->lines;
        cursor->unread_bytes += head->text_len;
    }
    ledger_recovered_record(&recovery->spool->ledger, set, head->lines, head->text_len);
}

static uint64_t still_pending(const struct recovery *recovery, uint64_t set, uint64_t sequence) {
    for (uint64_t left = set; left != 0; left &= left - 1) {
        unsigned output = (unsigned)__builtin_ctzll(left);
        if (sequence <= recovery->settled[output])
            set &= ~(UINT64_C(1) << output);
    }
    return set;
}

static void end_message(struct recovery *recovery, uint64_t *pending) {
    if (*pending != 0) {
        ledger_recovered_message(&recovery->spool->ledger, *pending);
        recovery->report->messages++;
    }
    *pending = 0;
}

/* The newest ones, in order: when the room is full, the older half goes. */
static void note_origin(struct recovery *recovery, struct message_origin origin) {
    struct spool *spool = recovery->spool;
    struct message_origin *origins = spool->origins;

    if (origins == NULL)
        origins = spool->origins = malloc(2 * ORIGINS_KEPT * sizeof *origins);
    if (origins == NULL)
        return; /* then a redelivery is a second point */
    if (spool->origin_count == 2 * ORIGINS_KEPT) {
        memcpy(origins, origins + ORIGINS_KEPT, ORIGINS_KEPT * sizeof *origins);
        spool->origin_count = ORIGINS_KEPT;
    }
    origins[spool->origin_count++] = origin;
}

static void note_segment_record(struct segment *segment, const struct record_head *head, uint64_t sequence) {
    if (segment->first_sequence == 0) {
        segment->first_sequence = sequence;
        segment->oldest_ns = head->appended_ns;
    }
    segment->last_sequence = sequence;
    segment->newest_ns = head->appended_ns;
}

/* What of the frame was not seen before: a later state of a frame repeats the earlier one's records. */
static void take_frame(struct recovery *recovery, struct segment *segment, const struct frame_header *frame) {
    const char *at = (const char *)(frame + 1), *end = at + frame->body_len;
    uint64_t sequence = frame->first_sequence - 1, message_pending = 0;

    while (at < end) {
        const struct record_head *head = (const struct record_head *)(const void *)at;
        at += head->size;
        sequence += 1 + record_gap(head);
        if (sequence <= recovery->last_sequence)
            continue;
        uint64_t set = segment_set(segment, head, recovery->store->outputs);
        uint64_t pending = still_pending(recovery, set, sequence);
        if (!(head->step & RECORD_SAME_MESSAGE) || (message_pending & pending) != 0) /* an output has one record of a message */
            end_message(recovery, &message_pending);
        message_pending |= pending;
        note_segment_record(segment, head, sequence);
        if (head->step & RECORD_HAS_ORIGIN)
            note_origin(recovery, record_origin(head));
        if (pending != 0) {
            add_share(recovery, segment, pending, head);
            recovery->report->records++;
        }
        recovery->report->orphans += set == 0 && head->outputs != 0;
    }
    end_message(recovery, &message_pending);
    if (frame->last_sequence > recovery->last_sequence)
        recovery->last_sequence = frame->last_sequence;
}

static void note_damage(struct recovery *recovery, uint64_t number, uint64_t from, uint64_t to) {
    recovery->report->damaged_bytes += to - from;
    if (recovery->watch != NULL && recovery->watch->damage != NULL)
        recovery->watch->damage(recovery->watch->ctx, number, from, to);
}

static void set_aside(struct recovery *recovery, struct segment *segment, int file, uint64_t from, uint64_t to) {
    int own = file >= 0 ? file : store_open_segment(recovery->store, segment);

    note_damage(recovery, segment->number, from, to);
    if (own < 0)
        return;
    store_quarantine(recovery->store, segment, own, from, to);
    if (file < 0)
        recovery->store->ops->close(recovery->store->ops->ctx, own);
}

/* Each frame says what was safe before it: a hole in that is damage, any other was a write that nobody had word of yet. */
static void judge_gap(struct recovery *recovery, struct segment *segment, int file, const struct scan *scan) {
    const struct frame_header *frame = scan->frame;
    bool first = recovery->tail_of == NULL && segment->first_sequence == 0;
    uint64_t safe = frame->safe < frame->first_sequence ? frame->safe : frame->first_sequence - 1;

    if (!first && safe > recovery->last_sequence) {
        recovery->report->lost_records += safe - recovery->last_sequence;
        if (segment->first_sequence == 0 && recovery->tail_of != NULL && recovery->tail_to > recovery->tail_from)
            set_aside(recovery, recovery->tail_of, -1, recovery->tail_from, recovery->tail_to);
        if (scan->bad > 0)
            set_aside(recovery, segment, file, scan->bad_from, scan->bad_from + scan->bad);
    } else if (first && scan->bad > 0) {
        set_aside(recovery, segment, file, scan->bad_from, scan->bad_from + scan->bad);
    }
}

/* Behind the last good frame: a write that was cut off bears our generation; anything else is of an earlier use of the blocks. */
static void note_tail(struct recovery *recovery, struct segment *segment, int file) {
    struct frame_header frame = { 0 };

    recovery->tail_of = segment;
    recovery->tail_from = recovery->tail_to = segment->file_used;
    if (file_read(recovery->store->ops, file, &frame, sizeof frame, segment->file_used) != (ssize_t)sizeof frame ||
        frame.magic != FRAME_MAGIC || frame.generation != segment->generation)
        return;
    recovery->tail_to += frame_header_good(&frame, segment->generation) ? page_round(sizeof frame + frame.body_len) : PAGE;
    if (recovery->tail_to > segment->size)
        recovery->tail_to = segment->size > recovery->tail_from ? segment->size : recovery->tail_from;
}

/* A segment without a header still says in every frame which generation it is of; the first one is of the last use. */
static bool guess_generation(const struct recovery *recovery, int file, uint64_t size, uint64_t *generation) {
    struct frame_header frame;

    for (uint64_t at = SEGMENT_DATA; at + sizeof frame <= size; at += PAGE) {
        if (file_read(recovery->store->ops, file, &frame, sizeof frame, at) == (ssize_t)sizeof frame &&
            frame_header_good(&frame, frame.generation)) {
            *generation = frame.generation;
            return true;
        }
    }
    return false;
}

static bool scan_segment(struct recovery *recovery, struct segment *segment, int file) {
    struct scan scan = { 0 };
    enum scan_result result;

    scan_begin(&scan, SEGMENT_DATA);
    while ((result = scan_next(&scan, recovery->store->ops, file, segment->generation, segment->size)) == SCAN_FRAME) {
        if (segment->number != recovery->last_number + 1 && segment->first_sequence == 0)
            recovery->tail_of = NULL; /* segments between were let go, or are missing: no telling */
        judge_gap(recovery, segment, file, &scan);
        recovery->last_number = segment->number;
        if (recovery->watch != NULL)
            recovery->watch->frame(recovery->watch->ctx, segment, scan.frame, recovery->last_sequence);
        take_frame(recovery, segment, scan.frame);
        segment->file_used = scan.position;
        if (segment->first_sequence == 0) /* all of it was there before: still a place where sequences were */
            recovery->tail_of = segment;
    }
    scan_release(&scan);
    if (result == SCAN_END)
        note_tail(recovery, segment, file);
    return result == SCAN_END;
}

/* The names of the outputs as the checkpoint has them, or as they are today. */
static struct segment_header assumed_header(const struct recovery *recovery) {
    const struct checkpoint_slot *slot = &recovery->checkpoint;
    struct segment_header header = { .outputs = recovery->has_checkpoint ? slot->count : recovery->store->outputs };

    for (uint32_t i = 0; i < header.outputs; i++)
        header.names[i].hash = recovery->has_checkpoint ? slot->entries[i].hash : recovery->store->names[i].hash;
    return header;
}

/* A segment without a header of its own had the same outputs as its neighbour, most likely. */
static struct segment_header header_of(const struct recovery *recovery, size_t index) {
    for (size_t i = index; i < recovery->count; i++)
        if (recovery->files[i].good)
            return recovery->files[i].header;
    for (size_t i = index; i-- > 0;)
        if (recovery->files[i].good)
            return recovery->files[i].header;
    return assumed_header(recovery);
}

/* NULL: left alone. */
static struct segment *begin_segment(struct recovery *recovery, size_t index, int file) {
    const struct found_file *found = &recovery->files[index];
    const struct segment_header header = header_of(recovery, index);
    uint64_t generation = found->header.generation;
    struct segment *segment;

    if (found->good && (is_foreign_format(&found->header) || memcmp(found->header.uuid, recovery->store->uuid, 16) != 0)) {
        recovery->report->foreign_segments++;
        return NULL;
    }
    if (!found->good && !guess_generation(recovery, file, found->size, &generation)) {
        note_damage(recovery, found->number, 0, found->size);
        return NULL;
    }
    segment = segment_new(found->size, recovery->store->outputs);
    if (segment == NULL) {
        recovery->out_of_memory = true;
        return NULL;
    }
    segment->number = found->number;
    segment->generation = generation;
    segment->filed = true;
    segment->thinned = found->header.thinned;
    map_outputs(recovery, segment, &header);
    if (!found->good)
        note_damage(recovery, found->number, 0, SEGMENT_DATA);
    return segment;
}

static void read_segment(struct recovery *recovery, size_t index) {
    const struct file_ops *ops = recovery->store->ops;
    char name[FILE_NAME_SIZE];
    struct segment *segment;
    int file;

    segment_file_name(name, recovery->files[index].number);
    file = file_open(ops, recovery->store->directory, name, O_RDONLY);
    if (file < 0)
        return;
    segment = begin_segment(recovery, index, file);
    if (recovery->watch != NULL && recovery->watch->file != NULL)
        recovery->watch->file(recovery->watch->ctx, recovery->files[index].number, recovery->files[index].size,
                              recovery->files[index].good ? &recovery->files[index].header : NULL, segment);
    if (segment != NULL) {
        if (!scan_segment(recovery, segment, file))
            recovery->out_of_memory = true;
        log_add_segment(recovery->spool, segment);
    }
    ops->close(ops->ctx, file);
}

/* A file takes no more than what it holds: a program that restarts often must not fill the disk with nothing. */
static void shrink(struct recovery *recovery, struct segment *segment) {
    const struct file_ops *ops = recovery->store->ops;
    char name[FILE_NAME_SIZE];
    int file;

    recovery->spool->bytes -= segment->size;
    if (segment->size > segment->file_used) {
        segment_file_name(name, segment->number);
        file = file_open(ops, recovery->store->directory, name, O_RDWR);
        if (file >= 0) {
            if (ops->truncate(ops->ctx, file, segment->file_used) >= 0)
                segment->size = segment->file_used;
            ops->close(ops->ctx, file);
        }
    }
    recovery->spool->bytes += segment->size;
}

static void place_lanes(struct recovery *recovery) {
    struct spool *spool = recovery->spool;

    for (unsigned i = 0; i < spool->options.outputs; i++) {
        struct lane *lane = &spool->cursors[i].lanes[LANE_MAIN];
        lane->sequence = recovery->settled[i];
        for (struct segment *segment = spool->first; segment != NULL && lane->segment == NULL; segment = segment->next)
            if (segment->total[i].messages > 0)
                lane_to_file(lane, segment, SEGMENT_DATA);
    }
}

static bool tell_watch(struct recovery *recovery, struct err *err) {
    const struct recovery_watch *watch = recovery->watch;
    uint64_t bytes = 0;

    if (watch == NULL)
        return true;
    for (size_t i = 0; i < recovery->count; i++)
        bytes += recovery->files[i].size;
    return watch->begin(watch->ctx, recovery->spool, recovery->settled, bytes, err);
}

static bool read_all(struct recovery *recovery, struct err *err) {
    struct spool *spool = recovery->spool;

    if (!list_files(recovery, err) || !read_headers(recovery, err))
        return false;
    read_checkpoint(recovery);
    choose_uuid(recovery);
    if (!tell_watch(recovery, err))
        return false;
    recovery->report->without_checkpoint = !recovery->has_checkpoint && recovery->count > 0;
    for (size_t i = 0; i < recovery->count; i++) {
        recovery->report->bytes += recovery->files[i].size;
        read_segment(recovery, i);
        if (recovery->store->next_number <= recovery->files[i].number)
            recovery->store->next_number = recovery->files[i].number + 1;
    }
    if (recovery->out_of_memory)
        return err_set(err, ERR_LIMIT, "no memory to read %s", recovery->store->path);
    if (recovery->tail_of != NULL)
        recovery->report->torn_bytes = recovery->tail_to - recovery->tail_from;
    for (struct segment *segment = spool->first; segment != NULL; segment = segment->next)
        shrink(recovery, segment);
    recovery->report->segments = spool->segments;
    return true;
}

bool recover(struct spool *spool, const struct recovery_watch *watch, struct err *err) {
    struct recovery recovery = { .watch = watch, .spool = spool, .store = &spool->store, .report = &spool->recovery };
    int64_t began_ns = clock_mono_ns();
    bool fine = read_all(&recovery, err);

    free(recovery.files);
    if (!fine)
        return false;
    place_lanes(&recovery);
    spool->committer.written_last = spool->committer.synced_last = recovery.last_sequence;
    spool->appended = recovery.last_sequence > recovery.highest ? recovery.last_sequence : recovery.highest;
    if (store_create_checkpoint(&spool->store) < 0)
        spool->committer.checkpoint_failed = true;
    spool->recovery.duration_ns = clock_mono_ns() - began_ns;
    return true;
}
