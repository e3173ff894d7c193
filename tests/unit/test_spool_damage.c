/*
 * tests/unit/test_spool_damage.c: a small spool with every byte flipped and every length cut. It always starts; what stands before
 * and behind the damage is delivered; and what else may stand in such a directory is left alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/base/crc32c.h"
#include "agent/spool/format.h"
#include "agent/spool/frame.h"
#include "agent/spool/spool.h"
#include "tests/support/fake_disk.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 13 };
#else
enum { STRIDE = 1 };
#endif
enum { MESSAGES = 24, PER_FRAME = 4, FRAMES = MESSAGES / PER_FRAME };

static const char *const names[] = { "influxdb" };

static struct spool_options options_on(struct fake_disk *disk) {
    return (struct spool_options){
        .max_bytes = 8 << 20, .outputs = 1,           .sync = SPOOL_COMMIT,       .directory = "/fake", .output_names = names,
        .file_ops = &disk->ops, .segment_bytes = 64 << 10, .chunk_bytes = 16 << 10,
    };
}

/* Groups of messages of more than a page each, so that each is one frame that nothing is added to. */
static struct fake_disk *make_spool(void) {
    struct fake_disk *disk = fake_disk_new(), *copy;
    struct spool_options options = options_on(disk);
    struct spool *spool = spool_new(&options, NULL);
    uint64_t sequence = 0;

    for (unsigned frame = 0; frame < FRAMES; frame++) {
        struct spool_record records[PER_FRAME];
        static char texts[PER_FRAME][2048];
        for (unsigned i = 0; i < PER_FRAME; i++) {
            int len = sprintf(texts[i], "m,id=%u v=\"%01100d\" 1\n", frame * PER_FRAME + i, 7);
            records[i] = (struct spool_record){ .outputs = 1, .lines = 1, .topic = STR("plant/a"), .text = str_make(texts[i], (size_t)len) };
        }
        for (unsigned i = 0; i < PER_FRAME; i++)
            assert_int_equal(spool_append(spool, &records[i], 1, i == PER_FRAME - 1, &sequence), SPOOL_APPENDED);
        for (int wait = 0; wait < 20000 && spool_durable(spool) < sequence; wait++)
            nanosleep(&(struct timespec){ 0, 50000 }, NULL);
    }
    copy = fake_disk_kill(disk);
    spool_free(spool);
    fake_disk_free(disk);
    return copy;
}

static struct fake_inode *segment_of(struct fake_disk *disk) {
    struct fake_name *name = fake_find(&disk->now, "00000000000000000001.seg");
    assert_non_null(name);
    return name->inode;
}

/* Everything the disk still gives: which messages; order and bytes are checked on the way. */
static unsigned read_all(struct fake_disk *disk, bool *seen, struct spool_recovery *recovery) {
    struct spool_options options = options_on(disk);
    struct spool_flush flush = { 5000, 1 << 20, 1, 0 };
    struct spool_settlement how = { .messages = { 0 } };
    struct err err = ERR_INIT;
    struct spool *spool = spool_new(&options, &err);
    struct spool_batch batch;
    unsigned id, count = 0;
    int last = -1;

    if (spool == NULL)
        fail_msg("refused: %s", err.text);
    spool_recovered(spool, recovery);
    spool_batch_init(&batch);
    spool_close(spool);
    while (spool_take(spool, 0, &flush, &batch)) {
        for (size_t i = 0; i < batch.line_count; i++) {
            const char *line = batch.lines.data + (i > 0 ? batch.line_ends[i - 1] : 0);
            assert_int_equal(sscanf(line, "m,id=%u ", &id), 1);
            assert_true(id < MESSAGES && (int)id > last);
            last = (int)id;
            seen[id] = true;
            count++;
        }
        how.messages[FATE_STORED] = batch.record_count;
        how.lines[FATE_STORED] = batch.line_count;
        spool_settle(spool, 0, &batch, &how);
    }
    spool_batch_release(&batch);
    spool_free(spool);
    return count;
}

/* Which frame the byte belongs to; -1: none. */
static int frame_at(const struct fake_inode *inode, size_t offset) {
    size_t at = SEGMENT_DATA;

    for (int frame = 0; frame < FRAMES; frame++) {
        const struct frame_header *header = (const struct frame_header *)(const void *)(inode->now + at);
        size_t end = at + sizeof *header + header->body_len;
        if (offset >= at && offset < end)
            return frame;
        at = page_round(end);
    }
    return -1;
}

static void flips_cost_one_frame_at_most(void **state) {
    struct fake_disk *whole = make_spool();
    const struct fake_inode *inode = segment_of(whole);
    unsigned flips = 0;

    (void)state;
    for (size_t offset = 0; offset < inode->size; offset += STRIDE) {
        struct fake_disk *disk = fake_disk_kill(whole);
        bool seen[MESSAGES] = { false };
        struct spool_recovery recovery;
        int hit = frame_at(inode, offset);
        segment_of(disk)->now[offset] ^= (char)(1 << offset % 8);
        read_all(disk, seen, &recovery);
        for (int id = 0; id < MESSAGES; id++)
            if (!seen[id] && id / PER_FRAME != hit)
                fail_msg("byte %zu flipped: message %d of frame %d is gone, the byte is of frame %d", offset, id, id / PER_FRAME, hit);
        if (hit >= 0 && hit < FRAMES - 1 && !seen[hit * PER_FRAME] && recovery.lost_records != PER_FRAME && hit > 0)
            fail_msg("byte %zu flipped: %llu records counted as lost", offset, (unsigned long long)recovery.lost_records);
        if (hit > 0 && hit < FRAMES - 1 && !seen[hit * PER_FRAME])
            assert_true(recovery.damaged_bytes > 0);
        fake_disk_free(disk);
        flips++;
    }
    print_message("%u bytes flipped\n", flips);
    fake_disk_free(whole);
}

/* A header and its copy both gone: the frames still say which generation they are of. */
static void a_segment_without_a_header_is_read(void **state) {
    struct fake_disk *disk = make_spool();
    bool seen[MESSAGES] = { false };
    struct spool_recovery recovery;

    (void)state;
    memset(segment_of(disk)->now, 0xa5, SEGMENT_DATA);
    assert_int_equal(read_all(disk, seen, &recovery), MESSAGES);
    assert_int_equal(recovery.damaged_bytes, SEGMENT_DATA);
    fake_disk_free(disk);
    disk = make_spool();
    memset(segment_of(disk)->now, 0xa5, SEGMENT_DATA);
    fake_remove(&disk->now, "checkpoint");
    assert_int_equal(read_all(disk, seen, &recovery), MESSAGES);
    assert_true(recovery.without_checkpoint);
    fake_disk_free(disk);
    disk = make_spool();
    memset(segment_of(disk)->now, 0xa5, PAGE);
    assert_int_equal(read_all(disk, seen, &recovery), MESSAGES);
    assert_int_equal(recovery.damaged_bytes, 0);
    fake_disk_free(disk);
}

static void every_length_gives_what_is_whole(void **state) {
    struct fake_disk *whole = make_spool();
    const struct fake_inode *inode = segment_of(whole);

    (void)state;
    for (size_t size = 0; size < inode->size; size += size < SEGMENT_DATA ? 97 : 5 * STRIDE) {
        struct fake_disk *disk = fake_disk_kill(whole);
        bool seen[MESSAGES] = { false };
        struct spool_recovery recovery;
        int cut = frame_at(inode, size);
        fake_resize(segment_of(disk), size);
        read_all(disk, seen, &recovery);
        for (int id = 0; id < MESSAGES && size > SEGMENT_DATA; id++)
            if (!seen[id] && cut >= 0 && id / PER_FRAME < cut)
                fail_msg("cut to %zu: message %d is gone", size, id);
        fake_disk_free(disk);
    }
    fake_disk_free(whole);
}

static void every_byte_of_the_checkpoint(void **state) {
    struct fake_disk *whole = make_spool();
    const struct fake_inode *inode = fake_find(&whole->now, "checkpoint")->inode;

    (void)state;
    for (size_t offset = 0; offset < inode->size; offset += STRIDE) {
        struct fake_disk *disk = fake_disk_kill(whole);
        bool seen[MESSAGES] = { false };
        struct spool_recovery recovery;
        fake_find(&disk->now, "checkpoint")->inode->now[offset] ^= 0x10;
        assert_int_equal(read_all(disk, seen, &recovery), MESSAGES);
        fake_disk_free(disk);
    }
    fake_disk_free(whole);
}

static void put_file(struct fake_disk *disk, const char *name, const void *bytes, size_t size) {
    struct fake_inode *inode = fake_new_inode(disk);

    fake_resize(inode, size);
    if (size > 0)
        memcpy(inode->now, bytes, size);
    fake_put(&disk->now, name, inode);
}

static void other_files_are_left_alone(void **state) {
    struct fake_disk *disk = make_spool();
    const struct fake_inode *inode = segment_of(disk);
    struct segment_header header;
    struct spool_recovery recovery;
    bool seen[MESSAGES] = { false };
    char *other = malloc(inode->size);

    (void)state;
    put_file(disk, "notes.txt", "hello", 5);
    put_file(disk, "00000000000000000001.seg.bak", inode->now, inode->size);
    memcpy(other, inode->now, inode->size); /* a later version's, by its header */
    memcpy(&header, other, sizeof header);
    header.version = 9;
    header.crc = crc32c(0, (const char *)&header + 12, sizeof header - 12);
    memcpy(other, &header, sizeof header);
    memcpy(other + PAGE, &header, sizeof header);
    put_file(disk, "00000000000000000007.seg", other, inode->size);
    put_file(disk, "00000000000000000008.seg", "", 0);
    assert_int_equal(read_all(disk, seen, &recovery), MESSAGES);
    assert_int_equal(recovery.foreign_files, 2);
    assert_int_equal(recovery.foreign_segments, 1);
    assert_non_null(fake_find(&disk->now, "notes.txt"));
    assert_non_null(fake_find(&disk->now, "00000000000000000007.seg"));
    free(other);
    fake_disk_free(disk);
}

static void a_copy_of_a_segment_is_not_sent_twice(void **state) {
    struct fake_disk *disk = make_spool();
    const struct fake_inode *inode = segment_of(disk);
    struct spool_recovery recovery;
    bool seen[MESSAGES] = { false };

    (void)state;
    put_file(disk, "00000000000000000005.seg", inode->now, inode->size);
    assert_int_equal(read_all(disk, seen, &recovery), MESSAGES);
    fake_disk_free(disk);
}

static void two_agents_do_not_share_a_directory(void **state) {
    struct fake_disk *disk = make_spool();
    struct spool_options options = options_on(disk);
    struct spool *first = spool_new(&options, NULL);
    struct err err = ERR_INIT;

    (void)state;
    assert_non_null(first);
    assert_null(spool_new(&options, &err));
    assert_non_null(strstr(err.text, "in use by another heliograf"));
    spool_free(first);
    fake_disk_free(disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flips_cost_one_frame_at_most),
        cmocka_unit_test(a_segment_without_a_header_is_read),
        cmocka_unit_test(every_length_gives_what_is_whole),
        cmocka_unit_test(every_byte_of_the_checkpoint),
        cmocka_unit_test(other_files_are_left_alone),
        cmocka_unit_test(a_copy_of_a_segment_is_not_sent_twice),
        cmocka_unit_test(two_agents_do_not_share_a_directory),
    };

    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
