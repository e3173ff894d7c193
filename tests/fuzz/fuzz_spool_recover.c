/*
 * tests/fuzz/fuzz_spool_recover.c: a directory whose segment and checkpoint are random bytes is taken over without harm, whatever
 * is in it is read to its end, and the spool goes on behind it. The first byte says what of the bytes is made to pass its checksums first, so
 * that what stands behind them is reached as well.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/base/crc32c.h"
#include "agent/spool/frame.h"
#include "agent/spool/spool.h"
#include "tests/support/fake_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEAL_HEADER = 1, SEAL_FRAMES = 2, SEAL_CHECKPOINT = 4, AS_CHECKPOINT = 8 };

static const char *const names[] = { "influxdb", "archive" };

static void put_file(struct fake_disk *disk, const char *name, const void *bytes, size_t size) {
    struct fake_inode *inode = fake_new_inode(disk);

    fake_resize(inode, size);
    if (size > 0)
        memcpy(inode->now, bytes, size);
    fake_put(&disk->now, name, inode);
}

static void seal_header(char *bytes, size_t size) {
    struct segment_header header;

    if (size < SEGMENT_DATA)
        return;
    memcpy(&header, bytes, sizeof header);
    header.outputs %= FORMAT_OUTPUTS + 1;
    for (uint32_t i = 0; i < 2 && i < header.outputs; i++)
        header.names[i].hash = format_hash(names[i]);
    segment_header_seal(&header);
    memcpy(bytes, &header, sizeof header);
}

static void seal_frames(char *bytes, size_t size) {
    const struct segment_header *header = (const struct segment_header *)(const void *)bytes;

    for (size_t at = SEGMENT_DATA; at + sizeof(struct frame_header) < size; at += PAGE) {
        struct frame_header *frame = (struct frame_header *)(void *)(bytes + at);
        frame->magic = FRAME_MAGIC;
        if (at + sizeof *frame + frame->body_len > size || frame->body_len == 0)
            frame->body_len = (uint32_t)((size - at - sizeof *frame) & ~(size_t)7);
        if (frame->body_len > 0)
            frame_seal(frame, header->generation, frame->safe, 1);
    }
}

static void seal_checkpoint(char *bytes, size_t size) {
    struct checkpoint_slot slot;

    if (size < sizeof slot)
        return;
    memcpy(&slot, bytes, sizeof slot);
    slot.count %= FORMAT_OUTPUTS + 1;
    checkpoint_slot_seal(&slot);
    memcpy(bytes, &slot, sizeof slot);
}

static void read_all(struct spool *spool, unsigned output) {
    struct spool_flush flush = { 100, 1 << 20, 1, 0 };
    struct spool_figures figures;
    struct spool_batch batch;

    spool_batch_init(&batch);
    for (;;) {
        spool_figures(spool, &figures);
        if (figures.output[output].pending_messages == 0 || !spool_take(spool, output, &flush, &batch))
            break;
        struct spool_settlement how = { .messages = { 0 } };
        how.messages[FATE_STORED] = batch.record_count;
        how.lines[FATE_STORED] = batch.line_count;
        spool_settle(spool, output, &batch, &how);
    }
    spool_batch_release(&batch);
}

static void take_over(struct fake_disk *disk) {
    struct spool_options options = {
        .max_bytes = 4 << 20, .outputs = 2, .sync = SPOOL_COMMIT, .directory = "/fake", .output_names = names,
        .file_ops = &disk->ops, .segment_bytes = 64 << 10, .chunk_bytes = 16 << 10, .retry_ns = NS_PER_MS,
    };
    struct spool_record record = { .outputs = 3, .lines = 1, .topic = STR("t"), .text = STR("m v=1 1\n") };
    struct spool_figures figures;
    struct err err = ERR_INIT;
    struct spool *spool = spool_new(&options, &err);
    uint64_t sequence;

    if (spool == NULL) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    if (spool_append(spool, &record, 1, true, &sequence) != SPOOL_APPENDED)
        abort();
    read_all(spool, 0);
    read_all(spool, 1);
    spool_figures(spool, &figures);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t sum = 0;
        for (int fate = 0; fate < FATE_COUNT; fate++)
            sum += figures.output[i].messages[fate];
        if (sum != figures.received || figures.output[i].messages[FATE_STORED] == 0)
            abort();
    }
    spool_free(spool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fake_disk *disk;
    char *bytes;
    uint8_t how;

    if (size < 2 || size > 1 << 18)
        return 0;
    how = data[0];
    bytes = malloc(size - 1);
    memcpy(bytes, data + 1, size - 1);
    disk = fake_disk_new();
    if (how & SEAL_HEADER)
        seal_header(bytes, size - 1);
    if (how & SEAL_FRAMES && size > SEGMENT_DATA)
        seal_frames(bytes, size - 1);
    if (how & SEAL_CHECKPOINT)
        seal_checkpoint(bytes, size - 1);
    put_file(disk, how & AS_CHECKPOINT ? "checkpoint" : "00000000000000000003.seg", bytes, size - 1);
    take_over(disk);
    fake_disk_free(disk);
    free(bytes);
    return 0;
}
