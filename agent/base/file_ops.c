/* agent/base/file_ops.c: see file_ops.h. */
#define _DEFAULT_SOURCE /* flock */
#include "agent/base/file_ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATIENCE = 100 }; /* interruptions in a row; more is not a signal but a fault */

static int result(int returned) {
    return returned < 0 ? -errno : returned;
}

static int system_open_directory(void *ctx, const char *path) {
    (void)ctx;
    return result(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int system_lock(void *ctx, int directory) {
    (void)ctx;
    return result(flock(directory, LOCK_EX | LOCK_NB));
}

static int system_open(void *ctx, int directory, const char *name, int flags) {
    (void)ctx;
    return result(openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600));
}

static void system_close(void *ctx, int handle) {
    (void)ctx;
    close(handle);
}

static ssize_t system_pread(void *ctx, int file, void *bytes, size_t len, uint64_t offset) {
    (void)ctx;
    ssize_t got = pread(file, bytes, len, (off_t)offset);
    return got < 0 ? -errno : got;
}

static ssize_t system_pwrite(void *ctx, int file, const void *bytes, size_t len, uint64_t offset) {
    (void)ctx;
    ssize_t put = pwrite(file, bytes, len, (off_t)offset);
    return put < 0 ? -errno : put;
}

static int system_sync(void *ctx, int file) {
    (void)ctx;
    return result(fdatasync(file));
}

static int system_allocate(void *ctx, int file, uint64_t size) {
    (void)ctx;
    int error = posix_fallocate(file, 0, (off_t)size);
    if (error == EOPNOTSUPP || error == EINVAL) /* the filesystem cannot: then a full disk shows up when writing */
        return result(ftruncate(file, (off_t)size));
    return -error;
}

static int system_truncate(void *ctx, int file, uint64_t size) {
    (void)ctx;
    return result(ftruncate(file, (off_t)size));
}

static int64_t system_size(void *ctx, int file) {
    struct stat info;

    (void)ctx;
    return fstat(file, &info) == 0 ? (int64_t)info.st_size : -errno;
}

static int system_rename(void *ctx, int directory, const char *from, const char *to) {
    (void)ctx;
    return result(renameat(directory, from, directory, to));
}

static int system_unlink(void *ctx, int directory, const char *name) {
    (void)ctx;
    return result(unlinkat(directory, name, 0));
}

static int system_sync_directory(void *ctx, int directory) {
    (void)ctx;
    return result(fsync(directory));
}

static int system_list(void *ctx, int directory, void (*each)(void *each_ctx, const char *name), void *each_ctx) {
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;
    int error;

    (void)ctx;
    if (stream == NULL) {
        error = -errno;
        if (copy >= 0)
            close(copy);
        return error;
    }
    errno = 0;
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL; errno = 0)
        each(each_ctx, entry->d_name);
    error = -errno;
    closedir(stream);
    return error;
}

static int64_t system_free_bytes(void *ctx, int directory) {
    struct statvfs info;

    (void)ctx;
    if (fstatvfs(directory, &info) != 0)
        return -errno;
    return (int64_t)((uint64_t)info.f_bavail * info.f_frsize);
}

const struct file_ops file_ops_system = {
    .open_directory = system_open_directory,
    .lock = system_lock,
    .open = system_open,
    .close = system_close,
    .pread = system_pread,
    .pwrite = system_pwrite,
    .sync = system_sync,
    .allocate = system_allocate,
    .truncate = system_truncate,
    .size = system_size,
    .rename = system_rename,
    .unlink = system_unlink,
    .sync_directory = system_sync_directory,
    .list = system_list,
    .free_bytes = system_free_bytes,
};

int file_write(const struct file_ops *ops, int file, const void *bytes, size_t len, uint64_t offset) {
    const char *at = bytes;
    int patience = PATIENCE;

    while (len > 0) {
        ssize_t put = ops->pwrite(ops->ctx, file, at, len, offset);
        if (put == -EINTR && patience-- > 0)
            continue;
        if (put <= 0)
            return put == 0 ? -ENOSPC : (int)put;
        at += put;
        len -= (size_t)put;
        offset += (uint64_t)put;
        patience = PATIENCE;
    }
    return 0;
}

ssize_t file_read(const struct file_ops *ops, int file, void *bytes, size_t len, uint64_t offset) {
    int patience = PATIENCE;
    size_t done = 0;

    while (done < len) {
        ssize_t got = ops->pread(ops->ctx, file, (char *)bytes + done, len - done, offset + done);
        if (got == -EINTR && patience-- > 0)
            continue;
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
        patience = PATIENCE;
    }
    return (ssize_t)done;
}

int file_sync(const struct file_ops *ops, int file) {
    return ops->sync(ops->ctx, file);
}

int file_open(const struct file_ops *ops, int directory, const char *name, int flags) {
    int file = -EINTR;

    for (int patience = PATIENCE; file == -EINTR && patience > 0; patience--)
        file = ops->open(ops->ctx, directory, name, flags);
    return file;
}
