/*
 * agent/base/file_ops.h: the file operations of whoever must survive their failing, as a table, so that a test can stand in for
 * the system: fail the nth call, or forget what was not synced. Everything returns a negative errno when it fails. Names are
 * relative to a directory that was opened before.
 */
#ifndef HELIOGRAF_BASE_FILE_OPS_H
#define HELIOGRAF_BASE_FILE_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct file_ops {
    void *ctx;
    int (*open_directory)(void *ctx, const char *path);
    int (*lock)(void *ctx, int directory); /* exclusively, until it is closed; -EWOULDBLOCK when somebody else has it */
    int (*open)(void *ctx, int directory, const char *name, int flags); /* O_RDONLY, O_RDWR, O_CREAT, O_EXCL */
    void (*close)(void *ctx, int handle);
    ssize_t (*pread)(void *ctx, int file, void *bytes, size_t len, uint64_t offset);
    ssize_t (*pwrite)(void *ctx, int file, const void *bytes, size_t len, uint64_t offset);
    int (*sync)(void *ctx, int file); /* the data, and what is needed to find it; after a failure nothing is known about the file */
    int (*allocate)(void *ctx, int file, uint64_t size); /* so that writing below `size` cannot meet a full disk */
    int (*truncate)(void *ctx, int file, uint64_t size);
    int64_t (*size)(void *ctx, int file);
    int (*rename)(void *ctx, int directory, const char *from, const char *to);
    int (*unlink)(void *ctx, int directory, const char *name);
    int (*sync_directory)(void *ctx, int directory);
    int (*list)(void *ctx, int directory, void (*each)(void *each_ctx, const char *name), void *each_ctx);
    int64_t (*free_bytes)(void *ctx, int directory); /* on its filesystem, for somebody who is not root */
};

extern const struct file_ops file_ops_system;

/*
 * All of it, over short writes and interruptions, as long as something moves; 0 or a negative errno. What a failed write left behind
 * is not known.
 */
int file_write(const struct file_ops *ops, int file, const void *bytes, size_t len, uint64_t offset);
/* As much as there is, up to `len`; fewer only at the end of the file. */
ssize_t file_read(const struct file_ops *ops, int file, void *bytes, size_t len, uint64_t offset);
/* Once only, interrupted or not: a second try may succeed without the data being on disk. */
int file_sync(const struct file_ops *ops, int file);
/* Over interruptions. */
int file_open(const struct file_ops *ops, int directory, const char *name, int flags);

#endif
