/*
 * tests/support/fake_disk.h: a directory that only exists in memory, behind struct file_ops. It keeps what was written apart from what
 * was synced, so that a test can pull the plug: each block that was not synced is then kept, lost, zeroed or torn, and each
 * name that was not synced is there or not. It also fails calls on demand. Thread-safe.
 */
#ifndef HELIOGRAF_TESTS_FAKE_DISK_H
#define HELIOGRAF_TESTS_FAKE_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/file_ops.h"

enum { FAKE_FILES = 96, FAKE_HANDLES = 64, FAKE_BLOCK = 512, FAKE_CHANGES = 64, FAKE_INODES = 1024 };

struct fake_inode {
    char *now, *safe;
    size_t size, safe_size, cap;
    unsigned char *dirty; /* per block */
};

struct fake_name {
    char name[64];
    struct fake_inode *inode;
};

struct fake_names {
    struct fake_name items[FAKE_FILES];
    size_t count;
};

/* A change of names: `from` gone (may be ""), `to` there (may be ""). */
struct fake_change {
    char from[64], to[64];
    struct fake_inode *inode;
};

struct fake_disk {
    struct file_ops ops;
    pthread_mutex_t lock;
    struct fake_inode *inodes[FAKE_INODES];
    size_t inode_count;
    struct fake_names now, safe;
    struct fake_change changes[FAKE_CHANGES];
    size_t change_count;
    struct fake_inode *handles[FAKE_HANDLES];
    bool locked;
    uint64_t capacity, used; /* 0: endless */
    uint64_t calls;          /* mutating ones */
    /* Failing: the call with this number (from 1), or all from it on, with this errno; a short write with EAGAIN as its mark. */
    uint64_t fail_at;
    bool fail_always;
    int fail_with;
    uint64_t failures;
    void (*before)(struct fake_disk *disk, void *ctx); /* each mutating call, without the lock */
    void *ctx;
};

enum { FAKE_SHORT_WRITE = EAGAIN, FAKE_DIRECTORY = FAKE_HANDLES };

static struct fake_inode *fake_new_inode(struct fake_disk *disk) {
    struct fake_inode *inode = calloc(1, sizeof *inode);

    if (disk->inode_count == sizeof disk->inodes / sizeof disk->inodes[0])
        abort();
    disk->inodes[disk->inode_count++] = inode;
    return inode;
}

static void fake_resize(struct fake_inode *inode, size_t size) {
    if (size > inode->cap) {
        size_t cap = (size + 65535) & ~(size_t)65535;
        inode->now = realloc(inode->now, cap);
        inode->safe = realloc(inode->safe, cap);
        inode->dirty = realloc(inode->dirty, cap / FAKE_BLOCK);
        memset(inode->now + inode->cap, 0, cap - inode->cap);
        memset(inode->safe + inode->cap, 0, cap - inode->cap);
        memset(inode->dirty + inode->cap / FAKE_BLOCK, 0, (cap - inode->cap) / FAKE_BLOCK);
        inode->cap = cap;
    }
    if (size < inode->size)
        memset(inode->now + size, 0, inode->size - size);
    inode->size = size;
}

static struct fake_name *fake_find(struct fake_names *names, const char *name) {
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i].name, name) == 0)
            return &names->items[i];
    return NULL;
}

static void fake_remove(struct fake_names *names, const char *name) {
    struct fake_name *found = fake_find(names, name);

    if (found != NULL)
        *found = names->items[--names->count];
}

static void fake_put(struct fake_names *names, const char *name, struct fake_inode *inode) {
    struct fake_name *found = fake_find(names, name);

    if (found == NULL) {
        if (names->count == FAKE_FILES)
            abort();
        found = &names->items[names->count++];
        memset(found->name, 0, sizeof found->name);
        snprintf(found->name, sizeof found->name, "%s", name);
    }
    found->inode = inode;
}

static void fake_apply(struct fake_names *names, const struct fake_change *change) {
    if (change->from[0] != '\0')
        fake_remove(names, change->from);
    if (change->to[0] != '\0')
        fake_put(names, change->to, change->inode);
}

static void fake_change(struct fake_disk *disk, const char *from, const char *to, struct fake_inode *inode) {
    struct fake_change *change;

    if (disk->change_count == FAKE_CHANGES) { /* long ago enough to be on the disk */
        fake_apply(&disk->safe, &disk->changes[0]);
        memmove(&disk->changes[0], &disk->changes[1], (FAKE_CHANGES - 1) * sizeof disk->changes[0]);
        disk->change_count--;
    }
    change = &disk->changes[disk->change_count++];
    memset(change, 0, sizeof *change);
    snprintf(change->from, sizeof change->from, "%s", from);
    snprintf(change->to, sizeof change->to, "%s", to);
    change->inode = inode;
    fake_apply(&disk->now, change);
}

/* Counts the call; what it is to fail with, or 0. Returns with the lock held. */
static int fake_enter(struct fake_disk *disk, bool mutating) {
    int error = 0;

    if (mutating && disk->before != NULL)
        disk->before(disk, disk->ctx);
    pthread_mutex_lock(&disk->lock);
    disk->calls++;
    if (disk->fail_at != 0 && (disk->calls == disk->fail_at || (disk->fail_always && disk->calls > disk->fail_at))) {
        disk->failures++;
        error = -disk->fail_with;
    }
    return error;
}

static int fake_leave(struct fake_disk *disk, int result) {
    pthread_mutex_unlock(&disk->lock);
    return result;
}

static int fake_open_directory(void *ctx, const char *path) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, false);

    (void)path;
    return fake_leave(disk, error < 0 && error != -FAKE_SHORT_WRITE ? error : FAKE_DIRECTORY);
}

static int fake_lock(void *ctx, int directory) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, false);

    (void)directory;
    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    if (disk->locked)
        return fake_leave(disk, -EWOULDBLOCK);
    disk->locked = true;
    return fake_leave(disk, 0);
}

static int fake_open(void *ctx, int directory, const char *name, int flags) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, (flags & O_CREAT) != 0);
    struct fake_name *found = fake_find(&disk->now, name);
    int handle = 0;

    (void)directory;
    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    if (found != NULL && (flags & O_EXCL))
        return fake_leave(disk, -EEXIST);
    if (found == NULL && !(flags & O_CREAT))
        return fake_leave(disk, -ENOENT);
    if (found == NULL) {
        fake_change(disk, "", name, fake_new_inode(disk));
        found = fake_find(&disk->now, name);
    }
    while (handle < FAKE_HANDLES && disk->handles[handle] != NULL)
        handle++;
    if (handle == FAKE_HANDLES)
        return fake_leave(disk, -EMFILE);
    disk->handles[handle] = found->inode;
    return fake_leave(disk, handle);
}

static void fake_close(void *ctx, int handle) {
    struct fake_disk *disk = ctx;

    pthread_mutex_lock(&disk->lock);
    if (handle == FAKE_DIRECTORY)
        disk->locked = false;
    else
        disk->handles[handle] = NULL;
    pthread_mutex_unlock(&disk->lock);
}

static ssize_t fake_pread(void *ctx, int file, void *bytes, size_t len, uint64_t offset) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, false);
    struct fake_inode *inode = disk->handles[file];
    size_t left = offset < inode->size ? inode->size - (size_t)offset : 0;

    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    if (len > left)
        len = left;
    if (error == -FAKE_SHORT_WRITE && len > 1)
        len /= 2;
    if (len > 0)
        memcpy(bytes, inode->now + offset, len);
    return fake_leave(disk, (int)len);
}

static ssize_t fake_pwrite(void *ctx, int file, const void *bytes, size_t len, uint64_t offset) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, true);
    struct fake_inode *inode = disk->handles[file];

    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    if (error == -FAKE_SHORT_WRITE && len > 1)
        len /= 2;
    if (offset + len > inode->size) {
        if (disk->capacity != 0 && disk->used + (offset + len - inode->size) > disk->capacity)
            return fake_leave(disk, -ENOSPC);
        disk->used += offset + len - inode->size;
        fake_resize(inode, (size_t)offset + len);
    }
    memcpy(inode->now + offset, bytes, len);
    for (size_t block = (size_t)offset / FAKE_BLOCK; block * FAKE_BLOCK < offset + len; block++)
        inode->dirty[block] = 1;
    return fake_leave(disk, (int)len);
}

static int fake_sync(void *ctx, int file) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, true);
    struct fake_inode *inode = disk->handles[file];

    if (error < 0 && error != -FAKE_SHORT_WRITE) {
        /* As Linux does: the pages count as clean now, and are not on the disk. */
        if (inode->cap > 0)
            for (size_t block = 0; block < inode->cap / FAKE_BLOCK; block++)
                inode->dirty[block] = inode->dirty[block] ? 2 : 0;
        return fake_leave(disk, error);
    }
    for (size_t block = 0; inode->cap > 0 && block < inode->cap / FAKE_BLOCK; block++)
        if (inode->dirty[block] == 1) {
            memcpy(inode->safe + block * FAKE_BLOCK, inode->now + block * FAKE_BLOCK, FAKE_BLOCK);
            inode->dirty[block] = 0;
        }
    inode->safe_size = inode->size;
    return fake_leave(disk, 0);
}

static int fake_set_size(struct fake_disk *disk, int file, uint64_t size, bool only_grow) {
    int error = fake_enter(disk, true);
    struct fake_inode *inode = disk->handles[file];

    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    if (only_grow && size <= inode->size)
        return fake_leave(disk, 0);
    if (size > inode->size && disk->capacity != 0 && disk->used + (size - inode->size) > disk->capacity)
        return fake_leave(disk, -ENOSPC);
    disk->used += size - inode->size;
    fake_resize(inode, (size_t)size);
    return fake_leave(disk, 0);
}

static int fake_allocate(void *ctx, int file, uint64_t size) {
    return fake_set_size(ctx, file, size, true);
}

static int fake_truncate(void *ctx, int file, uint64_t size) {
    return fake_set_size(ctx, file, size, false);
}

static int64_t fake_size(void *ctx, int file) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, false);

    return fake_leave(disk, error < 0 && error != -FAKE_SHORT_WRITE ? error : (int)disk->handles[file]->size);
}

static int fake_rename(void *ctx, int directory, const char *from, const char *to) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, true);
    struct fake_name *found = fake_find(&disk->now, from);

    (void)directory;
    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    if (found == NULL)
        return fake_leave(disk, -ENOENT);
    fake_change(disk, from, to, found->inode);
    return fake_leave(disk, 0);
}

static int fake_unlink(void *ctx, int directory, const char *name) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, true);
    struct fake_name *found = fake_find(&disk->now, name);

    (void)directory;
    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    if (found == NULL)
        return fake_leave(disk, -ENOENT);
    disk->used -= found->inode->size;
    fake_change(disk, name, "", NULL);
    return fake_leave(disk, 0);
}

static int fake_sync_directory(void *ctx, int directory) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, true);

    (void)directory;
    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    disk->safe = disk->now;
    disk->change_count = 0;
    return fake_leave(disk, 0);
}

static int fake_list(void *ctx, int directory, void (*each)(void *each_ctx, const char *name), void *each_ctx) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, false);

    (void)directory;
    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    for (size_t i = 0; i < disk->now.count; i++)
        each(each_ctx, disk->now.items[i].name);
    return fake_leave(disk, 0);
}

static int64_t fake_free_bytes(void *ctx, int directory) {
    struct fake_disk *disk = ctx;
    int error = fake_enter(disk, false);

    (void)directory;
    if (error < 0 && error != -FAKE_SHORT_WRITE)
        return fake_leave(disk, error);
    int64_t left = disk->capacity != 0 ? (int64_t)(disk->capacity - disk->used) : INT64_MAX / 2;
    pthread_mutex_unlock(&disk->lock);
    return left;
}

/* From the next call on, or never again with error 0. */
static inline void fake_disk_fail(struct fake_disk *disk, int error) {
    pthread_mutex_lock(&disk->lock);
    disk->fail_always = true;
    disk->fail_with = error;
    disk->fail_at = error != 0 ? disk->calls + 1 : 0;
    pthread_mutex_unlock(&disk->lock);
}

static inline struct fake_disk *fake_disk_new(void) {
    struct fake_disk *disk = calloc(1, sizeof *disk);

    pthread_mutex_init(&disk->lock, NULL);
    disk->ops = (struct file_ops){ disk,          fake_open_directory, fake_lock,     fake_open,   fake_close,          fake_pread,
                                   fake_pwrite,   fake_sync,           fake_allocate, fake_truncate, fake_size,         fake_rename,
                                   fake_unlink,   fake_sync_directory, fake_list,     fake_free_bytes };
    return disk;
}

static void fake_disk_free(struct fake_disk *disk) {
    for (size_t i = 0; i < disk->inode_count; i++) {
        free(disk->inodes[i]->now);
        free(disk->inodes[i]->safe);
        free(disk->inodes[i]->dirty);
        free(disk->inodes[i]);
    }
    pthread_mutex_destroy(&disk->lock);
    free(disk);
}

/* A small fast generator: the same seed makes the same crash. */
static uint64_t fake_random(uint64_t *state) {
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* One block after the crash: one of the states that a disk may leave behind. */
static void fake_crash_block(char *to, const char *now, const char *safe, size_t len, uint64_t *random) {
    uint64_t choice = fake_random(random);
    size_t cut = (size_t)(choice >> 8) % (len + 1);

    switch (choice % 6) {
    case 0:
        memset(to, 0, len);
        break;
    case 1:
        memcpy(to, now, cut);
        memcpy(to + cut, safe + cut, len - cut);
        break;
    case 2:
    case 3:
        memcpy(to, safe, len);
        break;
    default:
        memcpy(to, now, len);
    }
}

static struct fake_inode *fake_crash_inode(struct fake_disk *to, const struct fake_inode *inode, uint64_t *random) {
    struct fake_inode *copy = fake_new_inode(to);
    size_t size = fake_random(random) % 2 == 0 ? inode->size : inode->safe_size;
    size_t step = fake_random(random) % 2 == 0 ? FAKE_BLOCK : 8 * FAKE_BLOCK;

    fake_resize(copy, inode->size > inode->safe_size ? inode->size : inode->safe_size);
    for (size_t at = 0; at < copy->cap && at < inode->cap; at += step) {
        bool dirty = false;
        for (size_t block = at / FAKE_BLOCK; block < (at + step) / FAKE_BLOCK; block++)
            dirty = dirty || inode->dirty[block] != 0;
        if (dirty)
            fake_crash_block(copy->now + at, inode->now + at, inode->safe + at, step, random);
        else
            memcpy(copy->now + at, inode->safe + at, step);
    }
    fake_resize(copy, size);
    if (copy->cap > 0)
        memcpy(copy->safe, copy->now, copy->cap);
    copy->safe_size = copy->size;
    return copy;
}

/* The disk as it may be found after the plug was pulled now. */
static inline struct fake_disk *fake_disk_crash(struct fake_disk *disk, uint64_t *random) {
    struct fake_disk *to = fake_disk_new();
    bool in_order = fake_random(random) % 4 != 0;
    struct fake_names names;

    pthread_mutex_lock(&disk->lock);
    names = disk->safe;
    size_t kept = (size_t)(fake_random(random) % (disk->change_count + 1));
    for (size_t i = 0; i < disk->change_count; i++)
        if (in_order ? i < kept : fake_random(random) % 2 == 0)
            fake_apply(&names, &disk->changes[i]);
    for (size_t i = 0; i < names.count; i++)
        fake_put(&to->now, names.items[i].name, fake_crash_inode(to, names.items[i].inode, random));
    pthread_mutex_unlock(&disk->lock);
    to->safe = to->now;
    return to;
}

/* The disk as another process finds it: everything written is there. */
static inline struct fake_disk *fake_disk_kill(struct fake_disk *disk) {
    struct fake_disk *to = fake_disk_new();

    pthread_mutex_lock(&disk->lock);
    for (size_t i = 0; i < disk->now.count; i++) {
        const struct fake_inode *inode = disk->now.items[i].inode;
        struct fake_inode *copy = fake_new_inode(to);
        fake_resize(copy, inode->size);
        if (inode->size > 0)
            memcpy(copy->now, inode->now, inode->size);
        if (copy->cap > 0)
            memcpy(copy->safe, copy->now, copy->cap);
        copy->safe_size = copy->size;
        fake_put(&to->now, disk->now.items[i].name, copy);
    }
    pthread_mutex_unlock(&disk->lock);
    to->safe = to->now;
    return to;
}

#endif
