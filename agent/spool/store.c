/* agent/spool/store.c: see store.h. */
#define _DEFAULT_SOURCE /* getentropy */
#include "agent/spool/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"

#define SPARE_NAME      "spare.free"
#define NEW_NAME        "new.tmp"
#define CHECKPOINT_NAME "checkpoint"

enum { QUARANTINE_MAX = 1024 * 1024, NUMBER_DIGITS = 20 };

uint64_t store_random(void) {
    uint64_t number;

    if (getentropy(&number, sizeof number) != 0)
        number = (uint64_t)clock_unique_ns() * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid() << 32;
    return number != 0 ? number : 1;
}

static bool refuse(struct err *err, const char *path, int error) {
    switch (-error) {
    case ENOENT:
        return err_set(err, ERR_IO, "there is no directory %s: create it, or set agent.spool.directory to another one", path);
    case EACCES:
    case EPERM:
        return err_set(err, ERR_IO, "may not write in %s: give the directory to the user who runs heliograf (chown -R), or set "
                                    "agent.spool.directory", path);
    case EROFS:
        return err_set(err, ERR_IO, "%s is on a filesystem that is mounted read-only: remount it, or set agent.spool.directory", path);
    case EWOULDBLOCK:
        return err_set(err, ERR_IO, "%s is in use by another heliograf: stop that one, or set agent.spool.directory", path);
    default:
        return err_set_errno(err, -error, "cannot use %s as the spool's directory", path);
    }
}

/* Who looks whether an agent runs has the lock for a moment. */
static int take_lock(const struct store *store) {
    const struct file_ops *ops = store->ops;
    int error;

    for (int tries = 10; (error = ops->lock(ops->ctx, store->directory)) == -EWOULDBLOCK && tries > 1; tries--)
        nanosleep(&(struct timespec){ 0, 20 * NS_PER_MS }, NULL);
    return error;
}

bool store_open(struct store *store, const char *path, const struct file_ops *ops, struct err *err) {
    int error;

    *store = (struct store){ .ops = ops, .directory = -1, .checkpoint = -1, .next_number = 1 };
    snprintf(store->path, sizeof store->path, "%s", path);
    store->directory = ops->open_directory(ops->ctx, path);
    if (store->directory < 0)
        return refuse(err, path, store->directory);
    error = take_lock(store);
    if (error < 0) {
        store_close(store);
        return refuse(err, path, error);
    }
    /* Whether we may write shows now, and not when the first message waits. */
    int probe = file_open(ops, store->directory, NEW_NAME, O_RDWR | O_CREAT);
    if (probe < 0 && probe != -ENOSPC && probe != -EIO && probe != -EINTR) {
        store_close(store);
        return refuse(err, path, probe);
    }
    if (probe >= 0) {
        ops->close(ops->ctx, probe);
        ops->unlink(ops->ctx, store->directory, NEW_NAME);
    }
    return true;
}

void store_close(struct store *store) {
    if (store->ops == NULL)
        return;
    if (store->checkpoint >= 0)
        store->ops->close(store->ops->ctx, store->checkpoint);
    if (store->directory >= 0)
        store->ops->close(store->ops->ctx, store->directory);
    store->checkpoint = store->directory = -1;
}

void segment_file_name(char name[FILE_NAME_SIZE], uint64_t number) {
    snprintf(name, FILE_NAME_SIZE, "%020" PRIu64 ".seg", number);
}

bool segment_file_number(const char *name, uint64_t *number) {
    struct str text = str_of(name);

    return text.len == NUMBER_DIGITS + 4 && str_ends_with(text, STR(".seg")) && name[0] >= '0' && name[0] <= '9' &&
           str_to_uint64(str_make(name, NUMBER_DIGITS), number) && *number > 0;
}

/* Segment files: made under another name, complete on disk, and only then named. */

static int write_header(struct store *store, int file, struct segment *segment) {
    static const char zeros[PAGE];
    struct segment_header header = {
        .number = segment->number,
        .generation = segment->generation,
        .size = segment->size,
        .created_ns = clock_real_ns(),
        .outputs = store->outputs,
        .thinned = segment->thinned,
    };
    char pages[2 * PAGE];
    int error;

    memcpy(header.uuid, store->uuid, sizeof header.uuid);
    memcpy(header.names, store->names, sizeof header.names);
    segment_header_seal(&header);
    for (int copy = 0; copy < 2; copy++) {
        memcpy(pages + copy * PAGE, zeros, PAGE);
        memcpy(pages + copy * PAGE, &header, sizeof header);
    }
    error = file_write(store->ops, file, pages, sizeof pages, 0);
    return error < 0 ? error : file_sync(store->ops, file);
}

static int make_file(struct store *store, const struct segment *segment) {
    const struct file_ops *ops = store->ops;
    int64_t free_bytes = store->min_free > 0 ? ops->free_bytes(ops->ctx, store->directory) : INT64_MAX;
    int file, error;

    if (free_bytes >= 0 && (uint64_t)free_bytes < store->min_free + segment->size)
        return -EDQUOT;
    ops->unlink(ops->ctx, store->directory, NEW_NAME);
    file = file_open(ops, store->directory, NEW_NAME, O_RDWR | O_CREAT | O_EXCL);
    if (file < 0)
        return file;
    error = -EINTR;
    for (int patience = 100; error == -EINTR && patience > 0; patience--)
        error = ops->allocate(ops->ctx, file, segment->size);
    if (error < 0) {
        ops->close(ops->ctx, file);
        ops->unlink(ops->ctx, store->directory, NEW_NAME);
        return error;
    }
    return file;
}

static int name_file(struct store *store, const char *from, const struct segment *segment) {
    const struct file_ops *ops = store->ops;
    char name[FILE_NAME_SIZE];
    int error;

    segment_file_name(name, segment->number);
    error = ops->rename(ops->ctx, store->directory, from, name);
    if (error < 0)
        return error;
    error = ops->sync_directory(ops->ctx, store->directory);
    if (error < 0)
        ops->unlink(ops->ctx, store->directory, name); /* whether the name stays is not known: it must not matter */
    return error;
}

int store_create_segment(struct store *store, struct segment *segment) {
    const struct file_ops *ops = store->ops;
    bool recycled = store->spare && segment->size == store->file_size;
    const char *from = recycled ? SPARE_NAME : NEW_NAME;
    int file, error;

    segment->number = store->next_number++;
    segment->generation = store_random();
    file = recycled ? file_open(ops, store->directory, SPARE_NAME, O_RDWR) : make_file(store, segment);
    if (recycled)
        store->spare = false;
    if (file < 0)
        return file;
    error = write_header(store, file, segment);
    if (error >= 0)
        error = name_file(store, from, segment);
    if (error < 0) {
        ops->close(ops->ctx, file);
        ops->unlink(ops->ctx, store->directory, from);
        return error;
    }
    return file;
}

int store_retire_segment(struct store *store, const struct segment *segment) {
    const struct file_ops *ops = store->ops;
    char name[FILE_NAME_SIZE];
    int error;

    segment_file_name(name, segment->number);
    if (!store->spare && segment->size == store->file_size &&
        ops->rename(ops->ctx, store->directory, name, SPARE_NAME) >= 0) {
        /* Only when the old name is gone for good may the blocks be written again. */
        store->spare = ops->sync_directory(ops->ctx, store->directory) >= 0;
        if (!store->spare)
            ops->unlink(ops->ctx, store->directory, SPARE_NAME);
        return 0;
    }
    error = ops->unlink(ops->ctx, store->directory, name);
    return error == -ENOENT ? 0 : error;
}

int store_begin_replacement(struct store *store, struct segment *segment) {
    const struct file_ops *ops = store->ops;
    int file, error;

    if (store->spare) /* its place is needed */
        ops->unlink(ops->ctx, store->directory, SPARE_NAME);
    store->spare = false;
    segment->generation = store_random();
    file = make_file(store, segment);
    if (file < 0)
        return file;
    error = write_header(store, file, segment);
    if (error >= 0)
        return file;
    ops->close(ops->ctx, file);
    store_abandon_replacement(store);
    return error;
}

int store_end_replacement(struct store *store, const struct segment *segment, const struct segment *second) {
    const struct file_ops *ops = store->ops;
    char first_name[FILE_NAME_SIZE], second_name[FILE_NAME_SIZE];
    int error;

    segment_file_name(first_name, segment->number);
    segment_file_name(second_name, second->number);
    error = ops->rename(ops->ctx, store->directory, NEW_NAME, first_name);
    if (error < 0) {
        store_abandon_replacement(store);
        return error;
    }
    /* From here on there is no way back, and none is needed: if the name is lost, the old file is still there under it. */
    if (ops->sync_directory(ops->ctx, store->directory) >= 0)
        ops->unlink(ops->ctx, store->directory, second_name);
    return 0;
}

void store_abandon_replacement(struct store *store) {
    store->ops->unlink(store->ops->ctx, store->directory, NEW_NAME);
}

int store_open_segment(const struct store *store, const struct segment *segment) {
    char name[FILE_NAME_SIZE];

    segment_file_name(name, segment->number);
    return file_open(store->ops, store->directory, name, O_RDONLY);
}

/* The checkpoint: two slots, written in turn, so that one is always whole. */

bool store_read_checkpoint(struct store *store, struct checkpoint_slot *slot) {
    static const struct checkpoint_slot none;
    struct checkpoint_slot found;
    bool good = false;
    int file = file_open(store->ops, store->directory, CHECKPOINT_NAME, O_RDWR);

    *slot = none;
    if (file < 0)
        return false;
    store->checkpoint = file;
    for (int i = 0; i < 2; i++) {
        memset(&found, 0, sizeof found);
        if (file_read(store->ops, file, &found, sizeof found, (uint64_t)i * CHECKPOINT_SLOT) <= 0 ||
            !checkpoint_slot_good(&found) || (good && found.generation < slot->generation))
            continue;
        *slot = found;
        good = true;
    }
    store->checkpoint_generation = slot->generation;
    return good;
}

int store_create_checkpoint(struct store *store) {
    const struct file_ops *ops = store->ops;
    int error, file = store->checkpoint;

    if (file < 0)
        file = file_open(ops, store->directory, CHECKPOINT_NAME, O_RDWR | O_CREAT);
    if (file < 0)
        return file;
    store->checkpoint = file;
    error = ops->allocate(ops->ctx, file, 2 * CHECKPOINT_SLOT);
    return error < 0 ? error : ops->sync_directory(ops->ctx, store->directory);
}

int store_write_checkpoint(struct store *store, struct checkpoint_slot *slot, bool sync) {
    int error;

    if (store->checkpoint < 0 && (error = store_create_checkpoint(store)) < 0)
        return error;
    memcpy(slot->uuid, store->uuid, sizeof slot->uuid);
    slot->generation = store->checkpoint_generation + 1;
    checkpoint_slot_seal(slot);
    error = file_write(store->ops, store->checkpoint, slot, checkpoint_slot_len(slot), slot->generation % 2 * CHECKPOINT_SLOT);
    if (error >= 0 && sync)
        error = file_sync(store->ops, store->checkpoint);
    /* After a failure the same slot is written again: the other one may be the only good one. */
    if (error >= 0)
        store->checkpoint_generation = slot->generation;
    return error;
}

void store_quarantine(struct store *store, const struct segment *segment, int file, uint64_t from, uint64_t to) {
    const struct file_ops *ops = store->ops;
    char name[FILE_NAME_SIZE], page[PAGE];
    int copy;

    snprintf(name, sizeof name, "damaged-%020" PRIu64 "-%" PRIu64 ".bin", segment->number, from);
    if (store->quarantined + (to - from) > QUARANTINE_MAX)
        return;
    store->quarantined += to - from;
    copy = file_open(ops, store->directory, name, O_RDWR | O_CREAT);
    if (copy < 0)
        return;
    for (uint64_t at = from; at < to; at += PAGE) {
        ssize_t got = file_read(ops, file, page, to - at < PAGE ? (size_t)(to - at) : PAGE, at);
        if (got <= 0 || file_write(ops, copy, page, (size_t)got, at - from) < 0)
            break;
    }
    ops->close(ops->ctx, copy);
}
