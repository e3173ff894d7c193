/*
 * tests/support/store_disk.h: a disk for SQLite in memory, as a VFS: it keeps what was written apart from what was synced, so that a test can pull the
 * plug at any write or sync: each block that was not synced is then kept, lost or torn (zeroed where it was behind the end), and a file's length and
 * name are old or new. It also refuses on demand, and is as full as it is told. Thread-safe. Files are known by the last part of their path.
 */
#ifndef HELIOGRAF_TESTS_STORE_DISK_H
#define HELIOGRAF_TESTS_STORE_DISK_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DISK_FILES = 8, DISK_BLOCK = 512 };

struct disk_file {
    char name[48];
    bool exists, exists_safe; /* names: now, and after the plug was pulled */
    unsigned char *now, *safe, *dirty; /* `dirty`: per block */
    size_t size, safe_size, cap;
};

struct store_disk {
    sqlite3_vfs vfs;
    pthread_mutex_t lock;
    struct disk_file files[DISK_FILES];
    uint64_t steps;   /* writes, truncations, syncs and deletions so far */
    uint64_t stop_at; /* from this one on nothing happens any more: the power is off; 0: never */
    int refuse;       /* what writes and syncs return: 0, SQLITE_FULL, SQLITE_IOERR_WRITE, ... */
    bool refuse_syncs_only;
    uint64_t syncs;
};

struct disk_handle {
    sqlite3_file base;
    struct store_disk *disk;
    struct disk_file *file;
};

static void disk_grow(struct disk_file *file, size_t size) {
    size_t cap = (size + 65535) & ~(size_t)65535;

    if (cap <= file->cap)
        return;
    file->now = realloc(file->now, cap);
    file->safe = realloc(file->safe, cap);
    file->dirty = realloc(file->dirty, cap / DISK_BLOCK);
    memset(file->now + file->cap, 0, cap - file->cap);
    memset(file->safe + file->cap, 0, cap - file->cap);
    memset(file->dirty + file->cap / DISK_BLOCK, 0, (cap - file->cap) / DISK_BLOCK);
    file->cap = cap;
}

static struct disk_file *disk_find(struct store_disk *disk, const char *path) {
    const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    struct disk_file *unused = NULL;

    for (int i = 0; i < DISK_FILES; i++) {
        if (disk->files[i].name[0] == '\0' && unused == NULL)
            unused = &disk->files[i];
        if (strcmp(disk->files[i].name, name) == 0)
            return &disk->files[i];
    }
    if (unused == NULL || strlen(name) >= sizeof unused->name)
        abort();
    memcpy(unused->name, name, strlen(name));
    return unused;
}

/* With the lock. What the step is refused with; *off: the power is, and it has no effect. */
static int disk_step(struct store_disk *disk, bool sync, bool *off) {
    disk->steps++;
    *off = disk->stop_at != 0 && disk->steps >= disk->stop_at;
    return *off ? SQLITE_IOERR : disk->refuse_syncs_only && !sync ? SQLITE_OK : disk->refuse;
}

static int disk_close(sqlite3_file *file) {
    (void)file;
    return SQLITE_OK;
}

static int disk_read(sqlite3_file *base, void *bytes, int len, sqlite3_int64 offset) {
    struct disk_handle *handle = (struct disk_handle *)base;
    struct disk_file *file = handle->file;
    int code = SQLITE_OK;

    pthread_mutex_lock(&handle->disk->lock);
    size_t left = (size_t)offset < file->size ? file->size - (size_t)offset : 0;
    if (left < (size_t)len) {
        memset((char *)bytes + left, 0, (size_t)len - left);
        code = SQLITE_IOERR_SHORT_READ;
    }
    size_t part = left < (size_t)len ? left : (size_t)len;
    if (part > 0)
        memcpy(bytes, file->now + offset, part);
    pthread_mutex_unlock(&handle->disk->lock);
    return code;
}

static int disk_write(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 offset) {
    struct disk_handle *handle = (struct disk_handle *)base;
    struct disk_file *file = handle->file;
    size_t end = (size_t)offset + (size_t)len;
    bool off;

    pthread_mutex_lock(&handle->disk->lock);
    int code = disk_step(handle->disk, false, &off);
    if (code == SQLITE_OK) {
        disk_grow(file, end);
        memcpy(file->now + offset, bytes, (size_t)len);
        memset(file->dirty + (size_t)offset / DISK_BLOCK, 1, (end - 1) / DISK_BLOCK - (size_t)offset / DISK_BLOCK + 1);
        file->size = end > file->size ? end : file->size;
    }
    pthread_mutex_unlock(&handle->disk->lock);
    return code;
}

static int disk_truncate(sqlite3_file *base, sqlite3_int64 size) {
    struct disk_handle *handle = (struct disk_handle *)base;
    struct disk_file *file = handle->file;
    bool off;

    pthread_mutex_lock(&handle->disk->lock);
    int code = disk_step(handle->disk, false, &off);
    if (code == SQLITE_OK && (size_t)size < file->size) {
        memset(file->now + size, 0, file->size - (size_t)size);
        memset(file->dirty + (size_t)size / DISK_BLOCK, 1, (file->size - 1) / DISK_BLOCK - (size_t)size / DISK_BLOCK + 1);
        file->size = (size_t)size;
    }
    pthread_mutex_unlock(&handle->disk->lock);
    return code;
}

static int disk_sync(sqlite3_file *base, int flags) {
    struct disk_handle *handle = (struct disk_handle *)base;
    struct disk_file *file = handle->file;
    bool off;

    (void)flags;
    pthread_mutex_lock(&handle->disk->lock);
    int code = disk_step(handle->disk, true, &off);
    if (code == SQLITE_OK) {
        for (size_t block = 0; block < file->cap / DISK_BLOCK; block++)
            if (file->dirty[block])
                memcpy(file->safe + block * DISK_BLOCK, file->now + block * DISK_BLOCK, DISK_BLOCK);
        if (file->cap > 0)
            memset(file->dirty, 0, file->cap / DISK_BLOCK);
        file->safe_size = file->size;
        file->exists_safe = true;
        handle->disk->syncs++;
    }
    pthread_mutex_unlock(&handle->disk->lock);
    return code;
}

static int disk_file_size(sqlite3_file *base, sqlite3_int64 *size) {
    struct disk_handle *handle = (struct disk_handle *)base;

    pthread_mutex_lock(&handle->disk->lock);
    *size = (sqlite3_int64)handle->file->size;
    pthread_mutex_unlock(&handle->disk->lock);
    return SQLITE_OK;
}

static int disk_lock(sqlite3_file *base, int how) {
    (void)base;
    (void)how;
    return SQLITE_OK;
}

static int disk_check_lock(sqlite3_file *base, int *locked) {
    (void)base;
    *locked = 0;
    return SQLITE_OK;
}

static int disk_control(sqlite3_file *base, int what, void *argument) {
    (void)base;
    (void)what;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int disk_sector(sqlite3_file *base) {
    (void)base;
    return 4096;
}

static int disk_traits(sqlite3_file *base) {
    (void)base;
    return 0;
}

static const sqlite3_io_methods disk_methods = {
    1, disk_close, disk_read, disk_write, disk_truncate, disk_sync, disk_file_size, disk_lock, disk_lock, disk_check_lock, disk_control, disk_sector, disk_traits,
    NULL, NULL, NULL, NULL, NULL, NULL,
};

static int disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *out) {
    struct store_disk *disk = vfs->pAppData;
    struct disk_handle *handle = (struct disk_handle *)base;
    int code = SQLITE_OK;

    base->pMethods = NULL;
    pthread_mutex_lock(&disk->lock);
    handle->disk = disk;
    handle->file = disk_find(disk, path != NULL ? path : "temporary");
    if (!handle->file->exists && !(flags & SQLITE_OPEN_CREATE))
        code = SQLITE_CANTOPEN;
    else
        handle->file->exists = true;
    pthread_mutex_unlock(&disk->lock);
    if (code != SQLITE_OK)
        return code;
    if (out != NULL)
        *out = flags;
    base->pMethods = &disk_methods;
    return SQLITE_OK;
}

static int disk_delete(sqlite3_vfs *vfs, const char *path, int sync_directory) {
    struct store_disk *disk = vfs->pAppData;
    bool off;

    pthread_mutex_lock(&disk->lock);
    int code = disk_step(disk, false, &off);
    struct disk_file *file = disk_find(disk, path);
    if (code == SQLITE_OK && file->exists) {
        file->exists = false;
        file->size = 0;
        if (file->cap > 0)
            memset(file->now, 0, file->cap);
        if (sync_directory) {
            file->exists_safe = false;
            file->safe_size = 0;
        }
    }
    pthread_mutex_unlock(&disk->lock);
    return code;
}

static int disk_access(sqlite3_vfs *vfs, const char *path, int flags, int *found) {
    struct store_disk *disk = vfs->pAppData;

    pthread_mutex_lock(&disk->lock);
    struct disk_file *file = disk_find(disk, path);
    *found = file->exists && (flags != SQLITE_ACCESS_EXISTS || file->size > 0);
    pthread_mutex_unlock(&disk->lock);
    return SQLITE_OK;
}

static int disk_full_path(sqlite3_vfs *vfs, const char *path, int size, char *out) {
    (void)vfs;
    sqlite3_snprintf(size, out, "%s", path);
    return SQLITE_OK;
}

static inline struct store_disk *store_disk_new(const char *name) {
    struct store_disk *disk = calloc(1, sizeof *disk);
    const sqlite3_vfs *usual = sqlite3_vfs_find(NULL);

    disk->vfs = *usual;
    disk->vfs.iVersion = 1;
    disk->vfs.szOsFile = sizeof(struct disk_handle);
    disk->vfs.zName = name;
    disk->vfs.pNext = NULL;
    disk->vfs.pAppData = disk;
    disk->vfs.xOpen = disk_open;
    disk->vfs.xDelete = disk_delete;
    disk->vfs.xAccess = disk_access;
    disk->vfs.xFullPathname = disk_full_path;
    pthread_mutex_init(&disk->lock, NULL);
    sqlite3_vfs_register(&disk->vfs, 0);
    return disk;
}

static inline void store_disk_free(struct store_disk *disk) {
    sqlite3_vfs_unregister(&disk->vfs);
    for (int i = 0; i < DISK_FILES; i++) {
        free(disk->files[i].now);
        free(disk->files[i].safe);
        free(disk->files[i].dirty);
    }
    pthread_mutex_destroy(&disk->lock);
    free(disk);
}

static inline void store_disk_refuse(struct store_disk *disk, int code, bool syncs_only) {
    pthread_mutex_lock(&disk->lock);
    disk->refuse = code;
    disk->refuse_syncs_only = syncs_only;
    pthread_mutex_unlock(&disk->lock);
}

static uint64_t disk_random(uint64_t *state) {
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* A block that was not synced: old, new, or new up to somewhere. */
static void disk_crash_block(struct disk_file *file, size_t at, uint64_t *random) {
    uint64_t choice = disk_random(random);
    size_t cut = (size_t)(choice >> 8) % (DISK_BLOCK + 1);

    if (choice % 3 == 0)
        memcpy(file->now + at, file->safe + at, DISK_BLOCK);
    else if (choice % 3 == 1)
        memcpy(file->now + at + cut, file->safe + at + cut, DISK_BLOCK - cut);
}

/* The power is back: what is found is one of the states that may be. Nothing may have the disk open. */
static inline void store_disk_crash(struct store_disk *disk, uint64_t *random) {
    for (int i = 0; i < DISK_FILES; i++) {
        struct disk_file *file = &disk->files[i];
        bool lose_all = disk_random(random) % 4 == 0, old_size = disk_random(random) % 2 == 0;
        if (file->cap == 0)
            continue;
        for (size_t block = 0; block < file->cap / DISK_BLOCK; block++) {
            if (file->dirty[block] && lose_all)
                memcpy(file->now + block * DISK_BLOCK, file->safe + block * DISK_BLOCK, DISK_BLOCK);
            else if (file->dirty[block])
                disk_crash_block(file, block * DISK_BLOCK, random);
        }
        if (old_size)
            file->size = file->safe_size;
        if (!file->exists && file->exists_safe) { /* the deletion is undone */
            memcpy(file->now, file->safe, file->cap);
            file->size = file->safe_size;
            file->exists = true;
        } else if (!file->exists_safe && lose_all) {
            file->exists = false;
            file->size = 0;
        }
        memset(file->now + file->size, 0, file->cap - file->size);
        memcpy(file->safe, file->now, file->cap);
        memset(file->dirty, 0, file->cap / DISK_BLOCK);
        file->safe_size = file->size;
        file->exists_safe = file->exists;
    }
    disk->stop_at = disk->steps = 0;
    disk->refuse = 0;
}

#endif
