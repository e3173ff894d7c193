/*
 * agent/spool/export.c: the lines of a spool, for another database, an archive or an eye. Beside an agent the directory changes while
 * it is read; sequence numbers tell what was given out already, and what is missing was moved to a file that was read before: that one is
 * read again.
 */
#include "agent/spool/inspect.h"

#include <errno.h>

#include "agent/base/fs.h"
#include "agent/spool/inspect_internal.h"

enum { OUT_BYTES = 256 * 1024 };

struct export {
    const struct export_options *options;
    struct exported *exported;
    const struct spool *spool;
    const uint64_t *settled;
    uint64_t wanted;   /* set of outputs */
    bool in_use, ended;
    uint64_t number, before; /* of the segment whose lines are in `out`, and of the one before it */
    struct buf out;
    struct err trouble;
};

/* On disk first: what the agent has written, and not synced yet, was not acknowledged yet either. */
static bool sync_segment(struct export *export) {
    const struct store *store = &export->spool->store;
    struct segment segment = { .number = export->number };
    int file = store_open_segment(store, &segment), error;

    if (file < 0)
        return true; /* let go meanwhile: it was synced long ago */
    error = file_sync(store->ops, file);
    store->ops->close(store->ops->ctx, file);
    if (error == 0 || error == -EROFS || error == -EINVAL) /* nothing to sync on a filesystem that nobody writes to */
        return true;
    return err_set_errno(&export->trouble, -error, "segment %llu of %s is not safely on disk, its last lines are not given out",
                         (unsigned long long)export->number, store->path);
}

static void give(struct export *export, struct str text) {
    if (text.len > 0 && !export->ended)
        export->ended = (export->in_use && !sync_segment(export)) || !export->options->write(export->options->ctx, text);
}

static void give_out(struct export *export) {
    give(export, buf_str(&export->out));
    buf_reset(&export->out);
}

static void add_text(struct export *export, struct str text) {
    if (export->out.len + text.len > OUT_BYTES)
        give_out(export);
    if (!buf_append_str(&export->out, text))
        give(export, text); /* larger than the buffer */
}

static bool is_wanted(const struct export *export, uint64_t set, uint64_t sequence, const struct record_head *head) {
    const struct export_options *options = export->options;

    if (options->pending_only)
        set = look_pending(set, sequence, export->settled);
    /* Without `output` also what was for outputs that nobody knows the names of any more. */
    if ((options->output != NULL || options->pending_only) && (set & export->wanted) == 0)
        return false;
    return (options->since_ns == 0 || head->appended_ns >= options->since_ns) &&
           (options->until_ns == 0 || head->appended_ns < options->until_ns);
}

static void add_frame(struct export *export, const struct segment *segment, const struct frame_header *frame, uint64_t seen,
                      uint64_t until) {
    struct look_walk walk = { .frame = frame };
    const struct record_head *head;

    while (!export->ended && (head = look_next(&walk, seen)) != NULL && walk.sequence < until) {
        if (!is_wanted(export, segment_set(segment, head, export->spool->store.outputs), walk.sequence, head))
            continue;
        add_text(export, record_text(head));
        export->exported->records++;
        export->exported->lines += head->lines;
    }
}

/* Which bit of the file is which output of the directory. */
static void map_bits(const struct store *store, const struct segment_header *header, struct segment *segment) {
    segment->mapped = true;
    for (unsigned i = 0; i < SPOOL_OUTPUTS_MAX; i++)
        segment->bit[i] = -1;
    for (unsigned i = 0; i < store->outputs; i++)
        for (uint32_t j = 0; j < header->outputs; j++)
            if (header->names[j].hash == store->names[i].hash)
                segment->bit[i] = (int8_t)j;
}

/* The records in (seen, until) of a segment's file as it is now. Returns the last one met. */
static uint64_t read_again(struct export *export, uint64_t number, uint64_t seen, uint64_t until) {
    const struct store *store = &export->spool->store;
    struct segment segment = { .number = number };
    struct segment_header header;
    struct scan scan = { 0 };
    int file = store_open_segment(store, &segment);

    if (file < 0)
        return seen;
    if (file_read(store->ops, file, &header, sizeof header, 0) == (ssize_t)sizeof header && segment_header_good(&header) &&
        memcmp(header.uuid, store->uuid, sizeof header.uuid) == 0) {
        int64_t size = store->ops->size(store->ops->ctx, file);
        map_bits(store, &header, &segment);
        scan_begin(&scan, SEGMENT_DATA);
        while (!export->ended && size > 0 &&
               scan_next(&scan, store->ops, file, header.generation, (uint64_t)size) == SCAN_FRAME && seen + 1 < until) {
            add_frame(export, &segment, scan.frame, seen, until);
            if (scan.frame->last_sequence > seen)
                seen = scan.frame->last_sequence < until ? scan.frame->last_sequence : until - 1;
        }
        scan_release(&scan);
    }
    store->ops->close(store->ops->ctx, file);
    return seen;
}

/* Something safe is missing before this frame: the agent has thinned it into the segment before, or was writing when we read. */
static void fill_gap(struct export *export, const struct frame_header *frame, uint64_t seen) {
    if (!export->in_use || seen == 0 || frame->safe <= seen || frame->first_sequence <= seen + 1)
        return;
    if (export->before != 0)
        seen = read_again(export, export->before, seen, frame->first_sequence);
    if (export->number != 0 && export->number != export->before)
        read_again(export, export->number, seen, frame->first_sequence);
}

static void note_frame(void *ctx, const struct segment *segment, const struct frame_header *frame, uint64_t seen) {
    struct export *export = ctx;

    if (export->number != segment->number) {
        give_out(export);
        export->before = export->number;
        export->number = segment->number;
    }
    if (export->ended)
        return;
    fill_gap(export, frame, seen);
    add_frame(export, segment, frame, seen, UINT64_MAX);
}

static bool begin(void *ctx, const struct spool *spool, const uint64_t *settled, uint64_t bytes, struct err *err) {
    struct export *export = ctx;
    int output;

    (void)bytes;
    export->spool = spool;
    export->settled = settled;
    export->wanted = UINT64_MAX;
    if (export->options->output == NULL)
        return true;
    output = look_output(spool, export->options->output, err);
    export->wanted = output >= 0 ? UINT64_C(1) << output : 0;
    return output >= 0;
}

bool spool_export(const char *directory, const struct export_options *options, struct exported *exported, struct err *err) {
    struct export export = {
        .options = options,
        .exported = exported,
        .in_use = fs_is_locked(directory),
        .out = BUF_INIT(OUT_BYTES),
        .trouble = ERR_INIT,
    };
    const struct recovery_watch watch = { &export, begin, NULL, note_frame, NULL };
    struct looker looker;
    bool fine;

    *exported = (struct exported){ 0 };
    fine = look_read(&looker, directory, &watch, err);
    if (fine) {
        give_out(&export);
        if (!export.in_use) { /* beside an agent these may be nothing: spool_inspect looks more than once */
            exported->lost_records = looker.spool->recovery.lost_records;
            exported->damaged_bytes = looker.spool->recovery.damaged_bytes;
        }
    }
    look_end(&looker);
    buf_release(&export.out);
    return fine && (export.trouble.code == ERR_NONE || err_set(err, export.trouble.code, "%s", export.trouble.text));
}
