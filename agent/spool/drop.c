/*
 * agent/spool/drop.c: throwing away what waits. The checkpoint of an output moves on over it, which is the one commit point; after that,
 * segments in which nothing waits for anybody go, as they would at a start.
 */
#include "agent/spool/inspect.h"

#include <errno.h>
#include <stdio.h>

#include "agent/base/fs.h"
#include "agent/spool/inspect_internal.h"

struct drop {
    const struct drop_options *options;
    struct dropped *dropped;
    uint64_t settled[SPOOL_OUTPUTS_MAX], keeps; /* what will be settled; and for whom a record was met that stays */
    uint64_t chosen, highest;
    unsigned outputs;
    struct format_output names[FORMAT_OUTPUTS];
    uint8_t uuid[16];
};

static bool begin(void *ctx, const struct spool *spool, const uint64_t *settled, uint64_t bytes, struct err *err) {
    struct drop *drop = ctx;
    int output;

    (void)bytes;
    drop->outputs = spool->store.outputs;
    memcpy(drop->names, spool->store.names, sizeof drop->names);
    memcpy(drop->uuid, spool->store.uuid, sizeof drop->uuid);
    drop->dropped->output_count = drop->outputs;
    for (unsigned i = 0; i < drop->outputs; i++) {
        struct inspect_output *mine = &drop->dropped->outputs[i];
        *mine = (struct inspect_output){ .hash = drop->names[i].hash };
        memcpy(mine->name, drop->names[i].name, OUTPUT_NAME_MAX);
        drop->settled[i] = settled[i];
        if (settled[i] > drop->highest)
            drop->highest = settled[i];
    }
    drop->chosen = UINT64_MAX;
    if (drop->options->output == NULL)
        return true;
    output = look_output(spool, drop->options->output, err);
    drop->chosen = output >= 0 ? UINT64_C(1) << output : 0;
    return output >= 0;
}

static void count(struct drop *drop, uint64_t set, const struct record_head *head, uint64_t sequence) {
    for (uint64_t left = set; left != 0; left &= left - 1) {
        unsigned output = (unsigned)__builtin_ctzll(left);
        struct inspect_output *mine = &drop->dropped->outputs[output];
        if (mine->messages++ == 0)
            mine->oldest_ns = head->appended_ns;
        mine->lines += head->lines;
        mine->bytes += head->text_len;
        drop->settled[output] = sequence;
    }
}

static void note_frame(void *ctx, const struct segment *segment, const struct frame_header *frame, uint64_t seen) {
    struct drop *drop = ctx;
    struct look_walk walk = { .frame = frame };
    const struct record_head *head;

    while ((head = look_next(&walk, seen)) != NULL) {
        uint64_t set = look_pending(segment_set(segment, head, drop->outputs) & drop->chosen & ~drop->keeps, walk.sequence, drop->settled);
        drop->highest = walk.sequence;
        if (drop->options->before_ns != 0 && head->appended_ns >= drop->options->before_ns)
            drop->keeps |= set;
        else
            count(drop, set, head, walk.sequence);
    }
}

/* Of whom nothing is kept, everything is settled: then segments can go in which there was never anything for it, too. */
static void settle_all(struct drop *drop) {
    for (unsigned i = 0; i < drop->outputs; i++)
        if ((drop->chosen & ~drop->keeps) >> i & 1)
            drop->settled[i] = drop->highest;
}

static bool write_checkpoint(struct drop *drop, struct store *store, struct err *err) {
    static const struct checkpoint_slot none;
    struct checkpoint_slot slot = none;
    int error;

    store_read_checkpoint(store, &slot);
    slot = none;
    memcpy(store->uuid, drop->uuid, sizeof store->uuid);
    slot.count = drop->outputs;
    for (unsigned i = 0; i < drop->outputs; i++) {
        slot.entries[i].hash = drop->names[i].hash;
        slot.entries[i].sequence = drop->settled[i];
        memcpy(slot.entries[i].name, drop->names[i].name, OUTPUT_NAME_MAX);
    }
    error = store_write_checkpoint(store, &slot, true);
    if (store->checkpoint >= 0) /* root may be at work here */
        fs_adopt(store->checkpoint, store->directory);
    if (error < 0)
        return err_set_errno(err, -error, "cannot write the checkpoint in %s: nothing was dropped", store->path);
    return true;
}

/* A start keeps a copy of the bad bytes before it lets such a one go. */
static bool is_damaged(const struct inspection *inspection, uint64_t number) {
    for (size_t i = 0; i < inspection->damaged_count; i++)
        if (inspection->damaged[i].number == number)
            return true;
    return false;
}

static bool remove_settled(const char *directory, struct store *store, struct dropped *dropped, struct err *err) {
    const struct inspect_options quiet = { NULL, NULL };
    struct inspection inspection;
    char name[FILE_NAME_SIZE];
    bool fine = spool_inspect(directory, &quiet, &inspection, err);

    for (size_t i = 0; fine && i < inspection.segment_count; i++) {
        const struct inspect_segment *segment = &inspection.segments[i];
        if (segment->state != INSPECT_SETTLED || is_damaged(&inspection, segment->number))
            continue;
        segment_file_name(name, segment->number);
        int error = store->ops->unlink(store->ops->ctx, store->directory, name);
        if (error < 0 && error != -ENOENT) {
            fine = err_set_errno(err, -error, "it is dropped, but %s/%s cannot be removed: the next start will", directory, name);
            break;
        }
        dropped->segments++;
        dropped->bytes += segment->file_bytes;
    }
    store->ops->sync_directory(store->ops->ctx, store->directory);
    inspection_release(&inspection);
    return fine;
}

static bool drop_all(struct drop *drop, const char *directory, struct store *store, struct err *err) {
    const struct recovery_watch watch = { drop, begin, NULL, note_frame, NULL };
    struct looker looker;
    uint64_t messages = 0;
    bool fine = look_read(&looker, directory, &watch, err);

    look_end(&looker);
    if (!fine)
        return false;
    settle_all(drop);
    for (unsigned i = 0; i < drop->outputs; i++)
        messages += drop->dropped->outputs[i].messages;
    if (messages == 0)
        return true;
    return write_checkpoint(drop, store, err) && remove_settled(directory, store, drop->dropped, err);
}

bool spool_drop(const char *directory, const struct drop_options *options, struct dropped *dropped, struct err *err) {
    struct drop drop = { .options = options, .dropped = dropped };
    struct store store;
    bool fine;

    *dropped = (struct dropped){ .output_count = 0 };
    if (fs_is_locked(directory))
        return err_set(err, ERR_FULL, "an agent is running on %s", directory);
    if (!store_open(&store, directory, &file_ops_system, err))
        return false;
    fine = drop_all(&drop, directory, &store, err);
    store_close(&store);
    return fine;
}
