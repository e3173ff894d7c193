/*
 * agent/base/fs.h: small whole-file helpers. Errors name the path.
 */
#ifndef HELIOGRAF_BASE_FS_H
#define HELIOGRAF_BASE_FS_H

#include "agent/base/buf.h"
#include "agent/base/err.h"

/* Appends the file's bytes to `out`; fails on more than the buffer's maximum. */
bool fs_read_file(const char *path, struct buf *out, struct err *err);

/* The same of what is open. Of a regular file no copy stays behind in memory that was given back. */
bool fs_read_fd(int fd, const char *path, struct buf *out, struct err *err);

/* A secret from a file: as fs_read_file, then one trailing newline (or CRLF) is removed. */
bool fs_read_secret(const char *path, struct buf *out, struct err *err);

/* All of it, over short writes and interruptions. False: errno says why. */
bool fs_write_all(int file, struct str bytes);

/* Creates the directory and its parents with `mode`; fine when it is there already. */
bool fs_make_directories(const char *path, unsigned mode, struct err *err);

/*
 * Puts `content` in the place of the file, or makes it: written beside it with mode 0600, given the old one's owner, group and
 * permissions, synced, renamed, and the directory synced, so that at any moment the old or the new one is there whole. A file that is new
 * stays at 0600. A symbolic link at `path` is replaced, not followed. On failure nothing has changed, but for the last step: then `err`
 * says that the new file is there and may not survive a power cut.
 */
bool fs_replace_file(const char *path, struct str content, struct err *err);
/* Whether somebody holds the directory's flock now. False also when that cannot be known. Holds it for a moment itself. */
bool fs_is_locked(const char *directory);

/* Run by root, for somebody else's directory: the file is given to whoever owns the directory. */
void fs_adopt(int file, int directory);

#endif
